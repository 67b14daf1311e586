//! A journal taken apart by streams, and unsealed: for reading millions of events.
//!
//! A journal is written in the order in which everybody said something; a person is made of what they alone said. Who
//! folds events in the order of writing touches another person's state with each, and waits for memory most of the
//! time. So a long stretch of the journal is gathered here: as text, which costs the database least to give, one line
//! an event:
//!
//! ```text
//! stream revision id data        id and data in hexadecimal
//! ```
//!
//! and it goes on as one text a stream: its events' data, unsealed where its person's key is known, one line each.
use std::collections::BTreeMap;

use thiserror::Error;

use crate::person_key::PersonKey;

/// One stream's events of a stretch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Strand {
    /// Where each event stands, in the order of writing.
    pub revisions: Vec<i64>,
    /// Each event's data, with a line feed between two. None if an event does not open, is empty, or has a line feed
    /// in it: then somebody has to look at each.
    pub lines: Option<Vec<u8>>,
}

/// A text that is no stretch of a journal.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0:?} is no next row of a journal: a stream, a later revision, an id and data are needed")]
pub struct Ragged(String);

/// A stretch of a journal, by streams.
#[derive(Default)]
pub struct ByStream {
    gathered: Vec<Gathered>,
    /// Where each stream is, by a hash of its name and how many others had that hash before it.
    places: BTreeMap<(u64, usize), usize>,
}

/// What was gathered of one stream.
struct Gathered {
    stream: String,
    /// Of each event its revision, and where its id and its data end.
    rows: Vec<(i64, usize, usize)>,
    bytes: Vec<u8>,
}

impl ByStream {
    /// Gathers more rows.
    pub fn add(&mut self, rows: &str) -> Result<(), Ragged> {
        for row in rows.split('\n') {
            self.add_row(row).ok_or_else(|| Ragged(row.chars().take(80).collect()))?;
        }
        Ok(())
    }

    /// All that was gathered, by streams in the order of their names; `key` is that of a stream, if it is sealed.
    /// Nothing is left.
    pub fn take<'k>(&mut self, key: impl Fn(&str) -> Option<&'k PersonKey>) -> Vec<(String, Strand)> {
        self.places.clear();
        let opened = |one: Gathered| {
            let key = key(&one.stream);
            (one.stream, strand(&one.rows, one.bytes, key))
        };
        let mut strands: Vec<_> = std::mem::take(&mut self.gathered).into_iter().map(opened).collect();
        strands.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        strands
    }

    fn add_row(&mut self, row: &str) -> Option<()> {
        let mut parts = row.rsplitn(4, ' ');
        let (data, id, revision, stream) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let revision = revision.parse().ok()?;
        let gathered = self.gathered(stream);
        if gathered.rows.last().is_some_and(|(before, ..)| *before >= revision) {
            return None;
        }
        unhex(id, &mut gathered.bytes)?;
        let middle = gathered.bytes.len();
        unhex(data, &mut gathered.bytes)?;
        gathered.rows.push((revision, middle, gathered.bytes.len()));
        Some(())
    }

    fn gathered(&mut self, stream: &str) -> &mut Gathered {
        let hash = fnv(stream.as_bytes());
        let mut others = 0;
        let place = loop {
            match self.places.get(&(hash, others)) {
                Some(place) if self.gathered[*place].stream == stream => break *place,
                Some(_) => others += 1,
                None => {
                    self.places.insert((hash, others), self.gathered.len());
                    self.gathered.push(Gathered { stream: stream.to_owned(), rows: Vec::new(), bytes: Vec::new() });
                    break self.gathered.len() - 1;
                }
            }
        };
        &mut self.gathered[place]
    }
}

fn strand(rows: &[(i64, usize, usize)], mut bytes: Vec<u8>, key: Option<&PersonKey>) -> Strand {
    let mut lines = Some(Vec::with_capacity(bytes.len()));
    let mut begin = 0;
    for (row, &(_, middle, end)) in rows.iter().enumerate() {
        let (id, data) = bytes[begin..end].split_at_mut(middle - begin);
        let opened = match key {
            Some(key) => key.open(id, data),
            None => Some(&*data),
        };
        match (&mut lines, opened.filter(|data| !data.is_empty() && !data.contains(&b'\n'))) {
            (Some(lines), Some(data)) => {
                if row > 0 {
                    lines.push(b'\n');
                }
                lines.extend_from_slice(data);
            }
            _ => lines = None,
        }
        begin = end;
    }
    Strand { revisions: rows.iter().map(|(revision, ..)| *revision).collect(), lines }
}

/// FNV-1a of 64 bits (RFC 9923): the same on every machine.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The bytes of `text` to the end of `bytes`; None if it is not hexadecimal.
fn unhex(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    if text.len() % 2 != 0 {
        return None;
    }
    let mut all = 0;
    bytes.extend(text.as_bytes().chunks_exact(2).map(|pair| {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        all |= high | low;
        high << 4 | low
    }));
    (all < 16).then_some(())
}

/// What each character stands for; 255: nothing.
const NIBBLES: [u8; 256] = {
    let mut values = [255; 256];
    let mut n = 0;
    while n < 16 {
        values[b"0123456789abcdef"[n] as usize] = n as u8;
        values[b"0123456789ABCDEF"[n] as usize] = n as u8;
        n += 1;
    }
    values
};

#[cfg(test)]
mod laws {
    use super::*;
    use crate::person_key::{KEY_LEN, NONCE_LEN};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn row(stream: &str, revision: i64, id: &[u8], data: &[u8]) -> String {
        format!("{stream} {revision} {} {}", hex(id), hex(data))
    }

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
        fn each_stream_has_its_events_in_order_and_unsealed(events in events(), cut in 0..40usize) {
            let key = person();
            let mut gathered = ByStream::default();
            let mut wanted = BTreeMap::<String, Strand>::new();
            let mut rows = Vec::new();
            for (revision, (stream, id, data)) in (5..).step_by(3).zip(&events) {
                let sealed = if *stream == "person/a" { key.seal([3; NONCE_LEN], id, data) } else { data.clone() };
                rows.push(row(stream, revision, id, &sealed));
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
            for some in [&rows[..cut.min(rows.len())], &rows[cut.min(rows.len())..]] {
                if !some.is_empty() {
                    gathered.add(&some.join("\n")).unwrap();
                }
            }
            let key_of = |stream: &str| (stream == "person/a").then_some(&key);
            prop_assert_eq!(gathered.take(key_of), wanted.into_iter().collect::<Vec<_>>());
            prop_assert!(gathered.take(key_of).is_empty());
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
                let good = row("person/a", 1, b"id", &key.seal([4; NONCE_LEN], b"id", b"good"));
                gathered.add(&format!("{good}\n{}", row("person/a", 2, id, sealed))).unwrap();
                let left = Strand { revisions: vec![1, 2], lines: None };
                prop_assert_eq!(gathered.take(|_| Some(&key)), vec![("person/a".to_owned(), left)]);
            }
        }

        #[test]
        fn whatever_text_it_is_given_it_answers(text: String) {
            let _ = ByStream::default().add(&text);
        }
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for text in
            ["", "a 1 00", "a b 00 00", "a 1 0 00", "a 1 00 0g", "a 1 00 00\n", "a 1.5 00 00", "a 1 00 00\na 1 01 00"]
        {
            assert!(ByStream::default().add(text).is_err(), "{text:?}");
        }
    }
}
