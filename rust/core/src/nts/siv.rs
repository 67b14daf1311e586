//! AEAD_AES_SIV_CMAC_256 (RFC 5297), composed here of the `aes` crate's block cipher, for several texts at once.
//!
//! One NTS answer takes four runs of this cipher: a cookie and a request are opened, a cookie and an answer sealed. Its
//! MAC is a chain in which every block waits for the one before, and a request is a chain of some fifteen. A processor
//! with AES finishes a block in thirty cycles or more, but could begin another in each third or fifth of them: whoever
//! goes through one text after the other leaves most of it idle. The general crates do, and besides lay out a key
//! schedule for every text and buffer bytes that are all there already.
//!
//! Under load, though, a server never has one packet to answer; it has a batch. So the chains of up to [`LANES`] texts
//! are computed in step, each under a key of its own: the first block of each, then the second of each. No block waits
//! for its neighbour, and the processor works on all at once. That is the whole trick, and needs no instruction that
//! the `aes` crate does not hide.
//!
//! The cipher itself is written down as the RFC says it. S2V gives the tag: a CMAC of each header, folded by doubling
//! and exclusive or, then one of the text, in whose last 16 bytes the fold was mixed. AES-CTR from the tag on gives the
//! ciphertext. Nothing is new but the order of the work: every text is sealed as the `aes-siv` crate seals it, bit by
//! bit, which the tests hold against it. No branch and no address depends on a key or on a text, only on lengths and on
//! whether a tag was right.
use std::cell::OnceCell;

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128Enc, Block};
use ctutils::CtEq;

use super::aead::{Forged, TAG_LEN};

/// Texts to work on at once: with more, no block is done sooner.
pub const LANES: usize = 8;
/// Bytes of a block, and of a tag.
const BLOCK: usize = TAG_LEN;
/// Bytes of a key: one half for S2V, one for CTR.
pub const KEY_LEN: usize = 2 * BLOCK;

type Bytes = [u8; BLOCK];
const ZERO: Bytes = [0; BLOCK];

/// A key, laid out: 1440 bytes, as each schedule has room for that of a processor without AES. Nothing on the heap.
#[derive(Clone)]
pub struct Siv {
    mac: Aes128Enc,
    ctr_key: Bytes,
    /// Laid out when there is something to encrypt: an authentic request seldom has anything in it.
    ctr: OnceCell<Aes128Enc>,
}

/// A text with all that it takes to seal or to open it in place.
pub struct Job<'a, const N: usize> {
    /// Its key.
    pub siv: &'a Siv,
    /// What is authenticated with it: associated data, then the nonce.
    pub headers: [&'a [u8]; N],
    /// Plain before sealing and after opening, encrypted otherwise.
    pub text: &'a mut [u8],
    /// Written by [`seal`], read by [`open`].
    pub tag: Bytes,
}

impl Siv {
    /// Lays out a key.
    #[inline(always)] // else its schedules are copied more often than made
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let (mac, ctr) = key.split_at(BLOCK);
        Self { mac: Aes128Enc::new(mac.into()), ctr_key: load(ctr), ctr: OnceCell::new() }
    }

    #[inline]
    fn mac(&self, state: Bytes, block: Bytes) -> Bytes {
        let mut block = Block::from(xor(state, block));
        self.mac.encrypt_block(&mut block);
        block.into()
    }

    /// Section 2.5: encrypts and decrypts.
    fn ctr(&self, tag: Bytes, text: &mut [u8]) {
        if text.is_empty() {
            return;
        }
        let ctr = self.ctr.get_or_init(|| Aes128Enc::new(&self.ctr_key.into()));
        // The RFC clears two bits, so that no carry ever leaves the last 32.
        let mut counter = u128::from_be_bytes(tag) & !((1 << 63) | (1 << 31));
        for chunk in text.chunks_mut(LANES * BLOCK) {
            let mut keystream = [Block::default(); LANES];
            for block in &mut keystream {
                *block = counter.to_be_bytes().into();
                counter += 1;
            }
            // Eight at once take less time than five one by one.
            ctr.encrypt_blocks(&mut keystream);
            let (blocks, rest) = chunk.as_chunks_mut();
            for (block, key) in blocks.iter_mut().zip(keystream) {
                *block = xor(*block, key.into());
            }
            let last = keystream[blocks.len() % LANES];
            rest.iter_mut().zip(last).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// Seals texts in place, and writes their tags. Realtime-safe.
pub fn seal<const N: usize, const L: usize>(jobs: &mut [Option<Job<'_, N>>; L]) {
    let tags = s2v(jobs);
    for (job, tag) in jobs.iter_mut().zip(tags) {
        if let Some(Job { siv, text, tag: made, .. }) = job {
            siv.ctr(tag, text);
            *made = tag;
        }
    }
}

/// Opens texts in place. Says of each whether it is authentic; what is not is wiped. Realtime-safe.
pub fn open<const N: usize, const L: usize>(jobs: &mut [Option<Job<'_, N>>; L]) -> [Result<(), Forged>; L] {
    for job in jobs.iter_mut().flatten() {
        job.siv.ctr(job.tag, job.text);
    }
    let tags = s2v(jobs);
    let mut verdicts = [Err(Forged); L];
    for ((job, tag), verdict) in jobs.iter_mut().zip(tags).zip(&mut verdicts) {
        let Some(job) = job else { continue };
        if bool::from(u128::from_ne_bytes(tag).ct_eq(&u128::from_ne_bytes(job.tag))) {
            *verdict = Ok(());
        } else {
            job.text.fill(0);
        }
    }
    verdicts
}

/// Section 2.4, for each of `jobs`. Every loop over them is one step of all, whose blocks do not wait for each other.
fn s2v<const N: usize, const L: usize>(jobs: &[Option<Job<'_, N>>; L]) -> [Bytes; L] {
    let lanes = || jobs.iter().enumerate().filter_map(|(lane, job)| job.as_ref().map(|job| (lane, job)));
    let (mut wholes, mut bodies): ([[&[Bytes]; N]; L], [&[Bytes]; L]) = ([[&[]; N]; L], [&[]; L]);
    let mut longest = 0;
    for (lane, job) in lanes() {
        (wholes[lane], bodies[lane]) = (job.headers.map(whole), body(job.text));
        longest = wholes[lane].iter().fold(longest.max(bodies[lane].len()), |longest, whole| longest.max(whole.len()));
    }
    let (mut heads, mut texts) = ([[ZERO; N]; L], [ZERO; L]);
    for i in 0..longest {
        for (lane, job) in lanes() {
            for (state, whole) in heads[lane].iter_mut().zip(wholes[lane]) {
                if let Some(block) = whole.get(i) {
                    *state = job.siv.mac(*state, *block);
                }
            }
            if let Some(block) = bodies[lane].get(i) {
                texts[lane] = job.siv.mac(texts[lane], *block);
            }
        }
    }
    let (mut full, mut folds) = ([ZERO; L], [ZERO; L]);
    for (lane, job) in lanes() {
        full[lane] = double(job.siv.mac(ZERO, ZERO));
    }
    for (lane, job) in lanes() {
        folds[lane] = job.siv.mac(ZERO, full[lane]);
        for (state, header) in heads[lane].iter_mut().zip(job.headers) {
            let rest = &header[whole(header).len() * BLOCK..];
            let last = <Bytes>::try_from(rest)
                .map_or_else(|_| xor(pad(rest), double(full[lane])), |rest| xor(rest, full[lane]));
            *state = job.siv.mac(*state, last);
        }
    }
    // What is left of each text, with the fold in its last 16 bytes: a block, or two, of which the second is the end.
    let mut ends = [ZERO; L];
    for (lane, job) in lanes() {
        let fold = heads[lane].iter().fold(folds[lane], |fold, head| xor(double(fold), *head));
        let end = &job.text[body(job.text).len() * BLOCK..];
        let Some((head, tail)) = end.split_last_chunk::<BLOCK>() else {
            ends[lane] = xor(xor(double(fold), pad(end)), full[lane]);
            continue;
        };
        let mixed = xor(*tail, fold);
        if head.is_empty() {
            ends[lane] = xor(mixed, full[lane]);
            continue;
        }
        let mut two = [0; 2 * BLOCK];
        two[..head.len()].copy_from_slice(head);
        two[head.len()..end.len()].copy_from_slice(&mixed);
        two[end.len()] = 0x80;
        let (first, last) = two.split_at(BLOCK);
        texts[lane] = job.siv.mac(texts[lane], load(first));
        ends[lane] = xor(load(last), double(full[lane]));
    }
    for (lane, job) in lanes() {
        texts[lane] = job.siv.mac(texts[lane], ends[lane]);
    }
    texts
}

/// Blocks of a header that are not its last one.
fn whole(header: &[u8]) -> &[Bytes] {
    header[..header.len().saturating_sub(1)].as_chunks().0
}

/// Blocks of a text that the fold does not touch.
fn body(text: &[u8]) -> &[Bytes] {
    text[..text.len().saturating_sub(BLOCK)].as_chunks().0
}

/// Multiplies by x in GF(2^128), as the RFC's `dbl`.
fn double(block: Bytes) -> Bytes {
    let block = u128::from_be_bytes(block);
    ((block << 1) ^ ((block >> 127) * 0x87)).to_be_bytes()
}

fn xor(a: Bytes, b: Bytes) -> Bytes {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}

fn load(bytes: &[u8]) -> Bytes {
    bytes.try_into().expect("a block")
}

/// The beginning of a block, and a one bit and zeros behind it.
fn pad(rest: &[u8]) -> Bytes {
    let mut block = ZERO;
    block[..rest.len()].copy_from_slice(rest);
    block[rest.len()] = 0x80;
    block
}

#[cfg(test)]
mod laws {
    use super::*;
    use aes_siv::siv::Aes128Siv;
    use aes_siv::KeyInit as _;
    use proptest::prelude::*;

    fn seal_one<const N: usize>(siv: &Siv, headers: [&[u8]; N], text: &mut [u8]) -> Bytes {
        let mut job = [Some(Job { siv, headers, text, tag: ZERO })];
        seal(&mut job);
        job[0].as_ref().unwrap().tag
    }

    fn open_one<const N: usize>(siv: &Siv, headers: [&[u8]; N], text: &mut [u8], tag: Bytes) -> Result<(), Forged> {
        open(&mut [Some(Job { siv, headers, text, tag })])[0]
    }

    fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..=len_max)
    }

    fn library(key: &[u8; 32], headers: &[&[u8]], text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut text = text.to_vec();
        let mut siv = Aes128Siv::new_from_slice(key).unwrap();
        let tag = siv.encrypt_inout_detached(headers, text.as_mut_slice().into()).unwrap();
        (tag.to_vec(), text)
    }

    proptest! {
        #[test]
        fn it_seals_as_the_library_does_and_opens_what_that_sealed(
            key: [u8; 32], a in bytes(300), b in bytes(80), text in bytes(300),
        ) {
            let siv = Siv::new(&key);
            let (tag, sealed) = library(&key, &[&a, &b], &text);
            let mut own = text.clone();
            prop_assert_eq!(seal_one(&siv, [&a, &b], &mut own).to_vec(), tag.clone());
            prop_assert_eq!(&own, &sealed);
            prop_assert_eq!(open_one(&siv, [&a, &b], &mut own, tag.try_into().unwrap()), Ok(()));
            prop_assert_eq!(own, text);
        }

        /// Texts of other lengths, keys and verdicts beside it, and empty places, change nothing.
        #[test]
        fn in_a_group_each_is_as_if_alone(
            given in prop::array::uniform8((any::<bool>(), any::<[u8; 32]>(), bytes(200), bytes(150), any::<bool>())),
        ) {
            let sivs = given.each_ref().map(|(_, key, ..)| Siv::new(key));
            let mut texts = given.each_ref().map(|(_, _, _, text, _)| text.clone());
            let mut group: [_; LANES] = std::array::from_fn(|_| None);
            for (i, (text, job)) in texts.iter_mut().zip(&mut group).enumerate() {
                let (there, _, header, ..) = &given[i];
                *job = there.then_some(Job { siv: &sivs[i], headers: [&header[..], b"nonce"], text, tag: ZERO });
            }
            seal(&mut group);
            for ((_, key, header, text, spoil), job) in given.iter().zip(&mut group) {
                let Some(job) = job else { continue };
                prop_assert_eq!((job.tag.to_vec(), job.text.to_vec()), library(key, &[header, b"nonce"], text));
                job.tag[3] ^= u8::from(*spoil);
            }
            let verdicts = open(&mut group);
            for (i, (there, _, _, text, spoil)) in given.iter().enumerate() {
                let good = *there && !spoil;
                prop_assert_eq!(verdicts[i].is_ok(), good);
                prop_assert!(!good || texts[i] == *text);
            }
        }

        #[test]
        fn what_is_not_authentic_leaves_nothing(key: [u8; 32], header in bytes(40), text in bytes(70), bit in 0u32..128) {
            let siv = Siv::new(&key);
            let mut sealed = text.clone();
            let tag = u128::from_be_bytes(seal_one(&siv, [&header], &mut sealed)) ^ 1 << bit;
            prop_assert_eq!(open_one(&siv, [&header], &mut sealed, tag.to_be_bytes()), Err(Forged));
            prop_assert!(sealed.iter().all(|byte| *byte == 0));
        }
    }

    /// Where blocks begin and end, and no length between left out.
    #[test]
    fn every_length_is_the_librarys() {
        let (key, bytes) = ([7; 32], std::array::from_fn::<u8, 120, _>(|i| i as u8));
        for header_len in 0..50 {
            for text_len in 0..=bytes.len() {
                let (header, mut text) = (&bytes[..header_len], bytes[..text_len].to_vec());
                let tag = seal_one(&Siv::new(&key), [header, b"nonce"], &mut text);
                assert_eq!((tag.to_vec(), text), library(&key, &[header, b"nonce"], &bytes[..text_len]));
            }
        }
    }

    /// A counter that would carry out of its last 32 bits, or out of 64, if the RFC did not clear two of them.
    #[test]
    fn the_counter_starts_with_two_bits_cleared() {
        let siv = Siv::new(&[7; 32]);
        for tag in [u128::MAX, 1 << 63 | 1 << 31, u128::MAX >> 64, 0] {
            let (mut with, mut without) = ([0; 64], [0; 64]);
            siv.ctr(tag.to_be_bytes(), &mut with);
            siv.ctr((tag & !((1 << 63) | (1 << 31))).to_be_bytes(), &mut without);
            assert_eq!(with, without);
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// RFC 5297, appendix A.1.
    #[test]
    fn the_rfcs_deterministic_example() {
        let key = hex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        let header = hex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let mut text = hex("112233445566778899aabbccddee");
        let tag = seal_one(&Siv::new(&key), [&header], &mut text);
        assert_eq!(tag.to_vec(), hex("85632d07c6e8f37f950acd320a2ecc93"));
        assert_eq!(text, hex("40c02b9690c4dc04daef7f6afe5c"));
    }

    /// RFC 5297, appendix A.2.
    #[test]
    fn the_rfcs_example_with_a_nonce() {
        let key = hex("7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f").try_into().unwrap();
        let first = hex("00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100");
        let (second, nonce) = (hex("102030405060708090a0"), hex("09f911029d74e35bd84156c5635688c0"));
        let mut text =
            hex("7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553");
        let tag = seal_one(&Siv::new(&key), [&first, &second, &nonce], &mut text);
        assert_eq!(tag.to_vec(), hex("7bdb6e3b432667eb06f4d14bff2fbd0f"));
        let sealed = "cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d";
        assert_eq!(text, hex(sealed));
    }
}
