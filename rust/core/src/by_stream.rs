//! A journal taken apart by streams, and unsealed: for reading millions of events.
//!
//! A journal is written in the order in which everybody said something; a person is made of what they alone said. Who
//! folds events in the order of writing touches another person's state with each, and waits for memory most of the
//! time. So a long stretch of the journal is gathered here, and goes on as one text a stream: its events' data,
//! unsealed where its person's key is known, one line each.
//!
//! Most of what a person says are settings that a later one replaces. An event with the head of such a setting, which the
//! seal shows to be as it was written, is left out where another one with that head follows in the same stretch.
use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use crate::person_key::{PersonKey, NONCE_LEN};

/// One stream's events of a stretch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Strand {
    /// Where each event stands, in the order of writing.
    pub revisions: Vec<i64>,
    /// Each event's data, with a line feed between two. None if an event does not open, is empty, or has a line feed
    /// in it: then somebody has to look at each.
    pub lines: Option<Vec<u8>>,
}

/// An event that was not written after the one before it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("event {1} does not come after event {0}: a journal is gathered in the order of writing")]
pub struct OutOfOrder(i64, i64);

/// A stretch of a journal, by streams.
#[derive(Default)]
pub struct ByStream {
    streams: Vec<String>,
    /// The number of each stream, by a hash of its name and how many others had that hash before it.
    numbers: BTreeMap<(u64, usize), usize>,
    rows: Vec<Row>,
    /// Each row's id and data, one after another: whoever adds writes in one place only.
    bytes: Vec<u8>,
}

/// One event.
struct Row {
    stream: usize,
    revision: i64,
    /// Where its id begins, its data begins, and its data ends.
    places: [usize; 3],
}

impl ByStream {
    /// Gathers the next event.
    pub fn add(&mut self, stream: &str, revision: i64, id: &[u8], data: &[u8]) -> Result<(), OutOfOrder> {
        match self.rows.last() {
            Some(before) if before.revision >= revision => return Err(OutOfOrder(before.revision, revision)),
            _ => {}
        }
        let stream = self.number(stream);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(id);
        self.bytes.extend_from_slice(data);
        let places = [begin, begin + id.len(), self.bytes.len()];
        self.rows.push(Row { stream, revision, places });
        Ok(())
    }

    /// All that was gathered, by streams in the order of their names; `key` is that of a stream, if it is sealed, and
    /// `heads` begin the sealed events (at most 64 kinds) that a later one of their kind replaces. Nothing is left.
    pub fn take<'k>(
        &mut self,
        key: impl Fn(&str) -> Option<&'k PersonKey>,
        heads: &[Vec<u8>],
    ) -> Vec<(String, Strand)> {
        let Self { streams, mut rows, mut bytes, .. } = std::mem::take(self);
        rows.sort_by_key(|row| row.stream); // stable: in the order of writing
        let of_each = rows.chunk_by(|one, next| one.stream == next.stream);
        let mut strands: Vec<_> = streams
            .into_iter()
            .zip(of_each)
            .map(|(stream, rows)| {
                let strand = strand(rows, &mut bytes, key(&stream), heads);
                (stream, strand)
            })
            .collect();
        strands.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        strands
    }

    fn number(&mut self, stream: &str) -> usize {
        let hash = fnv(stream.as_bytes());
        let mut others = 0;
        loop {
            match self.numbers.get(&(hash, others)) {
                Some(number) if self.streams[*number] == stream => return *number,
                Some(_) => others += 1,
                None => {
                    self.numbers.insert((hash, others), self.streams.len());
                    self.streams.push(stream.to_owned());
                    return self.streams.len() - 1;
                }
            }
        }
    }
}

fn strand(rows: &[Row], bytes: &mut [u8], key: Option<&PersonKey>, heads: &[Vec<u8>]) -> Strand {
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        match open(row, bytes, key) {
            Some(place) => opened.push((row.revision, place)),
            None => return Strand { revisions: rows.iter().map(|row| row.revision).collect(), lines: None },
        }
    }
    if key.is_some() {
        let mut seen = 0_u64;
        let mut kept = opened.len();
        for at in (0..opened.len()).rev() {
            let data = &bytes[opened[at].1.clone()];
            let kind = heads.iter().take(64).position(|head| data.starts_with(head)).map_or(0, |kind| 1_u64 << kind);
            if kind & seen == 0 {
                kept -= 1;
                opened.swap(at, kept);
            }
            seen |= kind;
        }
        opened.drain(..kept);
    }
    let mut lines = Vec::with_capacity(opened.iter().map(|(_, place)| place.len() + 1).sum());
    for (n, (_, place)) in opened.iter().enumerate() {
        if n > 0 {
            lines.push(b'\n');
        }
        lines.extend_from_slice(&bytes[place.clone()]);
    }
    Strand { revisions: opened.iter().map(|(revision, _)| *revision).collect(), lines: Some(lines) }
}

/// Where an event's data is, once it is opened in place; None if it is nothing that may stand on a line.
fn open(row: &Row, bytes: &mut [u8], key: Option<&PersonKey>) -> Option<Range<usize>> {
    let [begin, middle, end] = row.places;
    let (id, data) = bytes[begin..end].split_at_mut(middle - begin);
    let (data, skipped) = match key {
        Some(key) => (key.open(id, data)?, NONCE_LEN),
        None => (&*data, 0),
    };
    let place = middle + skipped..middle + skipped + data.len();
    (!data.is_empty() && !data.contains(&b'\n')).then_some(place)
}

/// FNV-1a of 64 bits (RFC 9923): the same on every machine.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::person_key::KEY_LEN;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn person() -> PersonKey {
        PersonKey::new(&[7; KEY_LEN])
    }

    /// Events of a few streams, sealed where the stream has a key.
    fn events() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>, Vec<u8>)>> {
        let streams = prop::sample::select(&["circle/a b", "person/a", "person/b"][..]);
        vec((streams, vec(any::<u8>(), 0..20), vec(prop::sample::select(&b"{}x\"\n"[..]), 0..6)), 0..40)
    }

    proptest! {
        #[test]
        fn each_stream_has_its_events_in_order_and_unsealed(events in events()) {
            let key = person();
            let mut gathered = ByStream::default();
            let mut wanted = BTreeMap::<String, Strand>::new();
            for (revision, (stream, id, data)) in (5..).step_by(3).zip(&events) {
                let sealed = if *stream == "person/a" { key.seal([3; NONCE_LEN], id, data) } else { data.clone() };
                gathered.add(stream, revision, id, &sealed).unwrap();
                prop_assert_eq!(gathered.add(stream, revision, id, &sealed), Err(OutOfOrder(revision, revision)));
                let strand = wanted
                    .entry((*stream).to_owned())
                    .or_insert(Strand { revisions: vec![], lines: Some(vec![]) });
                if data.is_empty() || data.contains(&b'\n') {
                    strand.lines = None;
                }
                if let Some(lines) = &mut strand.lines {
                    let between: &[u8] = if strand.revisions.is_empty() { b"" } else { b"\n" };
                    *lines = [lines, between, data].concat();
                }
                strand.revisions.push(revision);
            }
            let key_of = |stream: &str| (stream == "person/a").then_some(&key);
            prop_assert_eq!(gathered.take(key_of, &[]), wanted.into_iter().collect::<Vec<_>>());
            prop_assert!(gathered.take(key_of, &[]).is_empty());
        }

        #[test]
        fn an_event_that_was_touched_or_moved_is_left_to_be_looked_at(
            id: Vec<u8>, data in vec(32..127u8, 1..20), at: prop::sample::Index, bit in 0..8u8
        ) {
            let key = person();
            let sealed = key.seal([3; NONCE_LEN], &id, &data);
            let mut touched = sealed.clone();
            touched[at.index(sealed.len())] ^= 1 << bit;
            for (id, sealed) in [(&id, &touched), (&[&id[..], b"x"].concat(), &sealed)] {
                let mut gathered = ByStream::default();
                gathered.add("person/a", 1, b"id", &key.seal([4; NONCE_LEN], b"id", b"good")).unwrap();
                gathered.add("person/a", 2, id, sealed).unwrap();
                let left = Strand { revisions: vec![1, 2], lines: None };
                prop_assert_eq!(gathered.take(|_| Some(&key), &[]), vec![("person/a".to_owned(), left)]);
            }
        }

        #[test]
        fn of_sealed_events_with_the_same_head_the_last_goes_on_and_all_others_do(
            kinds in vec(prop::sample::select(&["set a", "set b", "say", "set"][..]), 0..30), sealed: bool
        ) {
            let key = person();
            let heads = [b"set a".to_vec(), b"set b".to_vec()];
            let mut gathered = ByStream::default();
            let events: Vec<_> = kinds.iter().zip(1..).map(|(kind, n)| (n, format!("{kind} {n}"))).collect();
            for (n, text) in &events {
                let data = if sealed { key.seal([5; NONCE_LEN], b"id", text.as_bytes()) } else { text.clone().into() };
                gathered.add("person/a", *n, b"id", &data).unwrap();
            }
            let is_last = |n: i64, kind: &str| !kinds[n as usize..].contains(&kind);
            let kept: Vec<_> = kinds.iter().zip(&events)
                .filter(|(kind, (n, _))| !sealed || !["set a", "set b"].contains(kind) || is_last(*n, kind))
                .map(|(_, event)| event)
                .collect();
            let taken = gathered.take(|_| sealed.then_some(&key), &heads);
            prop_assert_eq!(taken.is_empty(), events.is_empty());
            for (_, strand) in taken {
                prop_assert_eq!(strand.revisions, kept.iter().map(|(n, _)| *n).collect::<Vec<_>>());
                let lines = kept.iter().map(|(_, text)| &text[..]).collect::<Vec<_>>().join("\n");
                prop_assert_eq!(strand.lines, Some(lines.into_bytes()));
            }
        }
    }
}
