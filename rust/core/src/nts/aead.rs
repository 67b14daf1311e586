//! The two ciphers that NTS packets are sealed with here, behind one face.
//!
//! AEAD_AES_SIV_CMAC_256 (RFC 5297) is the one that every NTS implementation must have; its tag stands before the
//! ciphertext, and a repeated nonce costs nothing but showing that a text was repeated. AEAD_AES_128_GCM_SIV (RFC 8452)
//! is faster and has shorter keys, so shorter cookies; its tag stands behind.
use aes_gcm_siv::{AeadInPlace, AesGcmSiv, KeyInit};
use thiserror::Error;

use super::siv::{self, Siv, LANES};

/// Texts that are best sealed or opened at once.
pub const GROUP: usize = LANES;

/// No entries yet. Unlike a constant, it is not copied into place with all the room for what may come.
#[inline]
pub(super) fn empty<T, const L: usize>() -> [Option<T>; L] {
    std::array::from_fn(|_| None)
}
/// Bytes that sealing adds, with either algorithm.
pub const TAG_LEN: usize = 16;

/// An AEAD algorithm; the numbers are IANA's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum Algorithm {
    /// AEAD_AES_SIV_CMAC_256.
    AesSivCmac256 = 15,
    /// AEAD_AES_128_GCM_SIV.
    Aes128GcmSiv = 30,
}

impl Algorithm {
    /// Those that are known here, the preferred one first.
    pub const ALL: [Self; 2] = [Self::AesSivCmac256, Self::Aes128GcmSiv];

    /// IANA's number.
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// The algorithm of that number, if it is known here.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.id() == id)
    }

    /// Bytes of a key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesSivCmac256 => 32,
            Self::Aes128GcmSiv => 16,
        }
    }

    /// Bytes of the nonces that are made here. Multiples of four, so that no padding follows them.
    pub const fn nonce_len(self) -> usize {
        match self {
            Self::AesSivCmac256 => 16,
            Self::Aes128GcmSiv => 12,
        }
    }
}

/// What was opened had not been sealed with this key, nonce and associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not authentic")]
pub struct Forged;

/// The library's own name for it would also lay out every key for decrypting blocks, which this cipher never does.
type Aes128GcmSiv = AesGcmSiv<aes::Aes128Enc>;

#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // a box would be an allocation for every packet
enum Kind {
    Siv(Siv),
    GcmSiv(Aes128GcmSiv),
}

/// An algorithm with a key.
#[derive(Clone)]
pub struct Cipher(Kind);

impl Cipher {
    /// # Panics
    /// If `key` is not [`Algorithm::key_len`] bytes: our own mistake.
    #[inline(always)] // else its schedules are copied more often than made
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        const LEN: &str = "a key of the algorithm's length";
        Self(match algorithm {
            Algorithm::AesSivCmac256 => Kind::Siv(Siv::new(key.try_into().expect(LEN))),
            Algorithm::Aes128GcmSiv => Kind::GcmSiv(Aes128GcmSiv::new_from_slice(key).expect(LEN)),
        })
    }

    /// What the key is for.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Kind::Siv(_) => Algorithm::AesSivCmac256,
            Kind::GcmSiv(_) => Algorithm::Aes128GcmSiv,
        }
    }

    /// Seals all but the last [`TAG_LEN`] bytes of `room`, and fills `room` with the result. `nonce` must have
    /// [`Algorithm::nonce_len`] bytes.
    ///
    /// # Panics
    /// If `room` has no room for the tag or the nonce another length: our own mistakes.
    pub fn seal(&self, nonce: &[u8], associated: &[u8], room: &mut [u8]) {
        seal_group(&mut [Some(Sealing { cipher: self, nonce, associated, room })]);
    }

    /// Opens `sealed` in place; the text is its beginning, and its length is returned.
    pub fn open(&self, nonce: &[u8], associated: &[u8], sealed: &mut [u8]) -> Result<usize, Forged> {
        open_group(&mut [Some(Sealing { cipher: self, nonce, associated, room: sealed })])[0]
    }
}

/// A text to be sealed or opened, as for [`Cipher::seal`] and [`Cipher::open`].
pub struct Sealing<'a> {
    /// Algorithm and key.
    pub cipher: &'a Cipher,
    /// The nonce.
    pub nonce: &'a [u8],
    /// What is authenticated besides.
    pub associated: &'a [u8],
    /// The text and room for its tag, or what was sealed.
    pub room: &'a mut [u8],
}

/// [`Cipher::seal`] of several texts, far faster than one after the other. Realtime-safe.
///
/// # Panics
/// As [`Cipher::seal`].
pub fn seal_group<const L: usize>(group: &mut [Option<Sealing<'_>>; L]) {
    const FITS: &str = "a packet is shorter than any limit of the cipher";
    let mut jobs: [_; L] = empty();
    for (Sealing { cipher, nonce, associated, room }, job) in
        group.iter_mut().zip(&mut jobs).filter_map(|(sealing, job)| sealing.as_mut().zip(Some(job)))
    {
        let text_len = room.len() - TAG_LEN;
        match &cipher.0 {
            Kind::Siv(siv) => {
                room.copy_within(..text_len, TAG_LEN);
                *job = Some(siv::Job {
                    siv,
                    headers: [*associated, *nonce],
                    text: &mut room[TAG_LEN..],
                    tag: [0; TAG_LEN],
                });
            }
            Kind::GcmSiv(gcm_siv) => {
                let (text, tag) = room.split_at_mut(text_len);
                let nonce = <&[u8; 12]>::try_from(*nonce).expect("a nonce of the algorithm's length");
                tag.copy_from_slice(&gcm_siv.encrypt_in_place_detached(nonce.into(), associated, text).expect(FITS));
            }
        }
    }
    siv::seal(&mut jobs);
    let tags = jobs.map(|job| job.map(|job| job.tag));
    for (sealing, tag) in group.iter_mut().zip(tags) {
        if let (Some(sealing), Some(tag)) = (sealing, tag) {
            sealing.room[..TAG_LEN].copy_from_slice(&tag);
        }
    }
}

/// [`Cipher::open`] of several texts, far faster than one after the other. Realtime-safe.
pub fn open_group<const L: usize>(group: &mut [Option<Sealing<'_>>; L]) -> [Result<usize, Forged>; L] {
    let (mut jobs, mut opened): ([_; L], _) = (empty(), [Err(Forged); L]);
    for ((sealing, job), opened) in group.iter_mut().zip(&mut jobs).zip(&mut opened) {
        let Some(Sealing { cipher, nonce, associated, room }) = sealing else { continue };
        let Some(text_len) = room.len().checked_sub(TAG_LEN) else { continue };
        match &cipher.0 {
            Kind::Siv(siv) => {
                let (tag, text) = room.split_first_chunk_mut().expect("a tag");
                *job = Some(siv::Job { siv, headers: [*associated, *nonce], text, tag: *tag });
            }
            Kind::GcmSiv(gcm_siv) => {
                let (text, tag) = room.split_at_mut(text_len);
                let (Ok(nonce), tag) = (<&[u8; 12]>::try_from(*nonce), &*tag) else { continue };
                let done = gcm_siv.decrypt_in_place_detached(nonce.into(), associated, text, tag.into());
                *opened = done.map(|()| text_len).map_err(|_| Forged);
            }
        }
    }
    let verdicts = siv::open(&mut jobs);
    let of_siv = jobs.map(|job| job.is_some());
    for (((sealing, of_siv), verdict), opened) in group.iter_mut().zip(of_siv).zip(verdicts).zip(&mut opened) {
        if let (Some(sealing), true, Ok(())) = (sealing, of_siv, verdict) {
            sealing.room.copy_within(TAG_LEN.., 0);
            *opened = Ok(sealing.room.len() - TAG_LEN);
        }
    }
    opened
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn algorithm() -> impl Strategy<Value = Algorithm> {
        prop_oneof![Just(Algorithm::AesSivCmac256), Just(Algorithm::Aes128GcmSiv)]
    }

    fn sealed(algorithm: Algorithm, key: &[u8; 32], nonce: &[u8; 16], ad: &[u8], text: &[u8]) -> Vec<u8> {
        let mut room = [text, &[0; TAG_LEN]].concat();
        Cipher::new(algorithm, &key[..algorithm.key_len()]).seal(&nonce[..algorithm.nonce_len()], ad, &mut room);
        room
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(
            algorithm in algorithm(), key: [u8; 32], nonce: [u8; 16], ad in prop::collection::vec(any::<u8>(), 0..300),
            text in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let cipher = Cipher::new(algorithm, &key[..algorithm.key_len()]);
            let nonce_used = &nonce[..algorithm.nonce_len()];
            let good = sealed(algorithm, &key, &nonce, &ad, &text);
            let mut opened = good.clone();
            prop_assert_eq!(cipher.open(nonce_used, &ad, &mut opened), Ok(text.len()));
            prop_assert_eq!(&opened[..text.len()], &text[..]);
            let flip = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let i = at.index(bytes.len());
                bytes[i] ^= 1 << bit;
                bytes
            };
            prop_assert_eq!(cipher.open(nonce_used, &ad, &mut flip(&good)), Err(Forged));
            prop_assert_eq!(cipher.open(&flip(nonce_used), &ad, &mut good.clone()), Err(Forged));
            if !ad.is_empty() {
                prop_assert_eq!(cipher.open(nonce_used, &flip(&ad), &mut good.clone()), Err(Forged));
            }
        }

        #[test]
        fn noise_is_forged(algorithm in algorithm(), nonce in prop::collection::vec(any::<u8>(), 0..40),
                           mut noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let cipher = Cipher::new(algorithm, &[1; 32][..algorithm.key_len()]);
            prop_assert_eq!(cipher.open(&nonce, b"", &mut noise), Err(Forged));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// RFC 8452, appendix C.1: eight bytes of text, no associated data.
    #[test]
    fn gcm_siv_gives_the_rfcs_own_example() {
        let mut key = [0; 32];
        key[0] = 1;
        let mut nonce = [0; 16];
        nonce[0] = 3;
        let made = sealed(Algorithm::Aes128GcmSiv, &key, &nonce, b"", &hex("0100000000000000"));
        assert_eq!(made, hex("b5d839330ac7b786578782fff6013b815b287c22493a364c"));
    }

    /// An order of its own would open here and nowhere else: RFC 5297 has associated data, nonce, text, and the tag
    /// first. Appendix A.1 has no nonce, so this takes its key and splits its one header: they must differ.
    #[test]
    fn siv_takes_the_tag_first_and_keeps_nonce_and_data_apart() {
        let key: [u8; 32] = hex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        let (data, nonce) = (hex("1011121314151617"), [0x20; 16]);
        let text = hex("112233445566778899aabbccddee");
        let made = sealed(Algorithm::AesSivCmac256, &key, &nonce, &data, &text);
        let mut peer = <aes_siv::siv::Aes128Siv as aes_siv::KeyInit>::new_from_slice(&key).unwrap();
        let mut other = text.clone();
        let tag = peer.encrypt_inout_detached([&data[..], &nonce[..]], (&mut other[..]).into()).unwrap();
        assert_eq!(made, [tag.to_vec(), other].concat());
    }
}
