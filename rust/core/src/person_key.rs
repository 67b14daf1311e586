//! What a person said, sealed under that person's key: for the journal, where it lies for years.
//!
//! Whoever forgets somebody throws the key away, and every copy of what they said is noise. The cipher is AES-256-GCM
//! (NIST SP 800-38D), for which machines have instructions. Nonces are drawn at random by the caller: 2³² events of one
//! person's are the most that is safe with them (section 8.3), and nobody says that much. The event's id is
//! authenticated with what is sealed, so that no event passes for another.
//!
//! ```text
//! 0       12             n−16  n
//! | nonce | ciphertext … | tag |
//! ```
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// One person's key, laid out for use.
pub struct PersonKey(LessSafeKey);

impl PersonKey {
    /// The key of these bytes.
    ///
    /// # Panics
    /// Never: every 32 bytes are a key.
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key")))
    }

    /// `data` sealed as the event `id`. A nonce may be used once.
    ///
    /// # Panics
    /// If `data` is longer than 64 GiB.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], id: &[u8], data: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(data.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(data);
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id), &mut sealed[NONCE_LEN..])
            .expect("an event is shorter than 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens in place what was sealed as the event `id`; None if it was not, under this key, or is damaged.
    pub fn open<'a>(&self, id: &[u8], sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(id), rest);
        opened.ok().map(|data| &*data)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
    }

    /// Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)".
    #[test]
    fn the_published_vector_is_met() {
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = hex("cafebabefacedbaddecaf888");
        let data = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ));
        let sealed = hex(concat!(
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ));
        let id = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let key = PersonKey::new(&key.try_into().expect("32 bytes"));
        assert_eq!(key.seal(nonce.try_into().expect("12 bytes"), &id, &data), sealed);
        assert_eq!(opened(&key, &id, &sealed), Some(data));
    }

    fn opened(key: &PersonKey, id: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        key.open(id, &mut sealed.to_vec()).map(<[u8]>::to_vec)
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_what_was_touched_does_not(
            key: [u8; KEY_LEN], nonce: [u8; NONCE_LEN], id: Vec<u8>, data: Vec<u8>, at: prop::sample::Index, bit in 0..8u8
        ) {
            let key = PersonKey::new(&key);
            let sealed = key.seal(nonce, &id, &data);
            prop_assert_eq!(sealed.len(), data.len() + OVERHEAD);
            prop_assert_eq!(opened(&key, &id, &sealed), Some(data));
            let mut touched = sealed.clone();
            touched[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_eq!(opened(&key, &id, &touched), None);
            prop_assert_eq!(opened(&key, &id, &sealed[..at.index(sealed.len())]), None);
            let other = [&id[..], &[0]].concat();
            prop_assert_eq!(opened(&key, &other, &sealed), None);
        }

        #[test]
        fn another_key_opens_nothing(one: [u8; KEY_LEN], other: [u8; KEY_LEN], nonce: [u8; NONCE_LEN], data: Vec<u8>) {
            prop_assume!(one != other);
            let sealed = PersonKey::new(&one).seal(nonce, b"id", &data);
            prop_assert_eq!(opened(&PersonKey::new(&other), b"id", &sealed), None);
        }
    }
}
