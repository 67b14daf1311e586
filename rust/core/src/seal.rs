//! Sealed datagrams: who sent them, in what order, and that nobody else can make or read one.
//!
//! The data plane runs over plain UDP, so anybody can send to it and repeat what they overheard. A datagram is
//! therefore an AEAD box (ChaCha20-Poly1305, RFC 8439) under a key that only the two ends of one session know: HKDF
//! (RFC 5869) derives one for each direction from a secret that came over TLS. The nonce is a counter that never
//! repeats within a key; the receiver keeps a sliding window of the counters it has seen (RFC 4303, section 3.4.3), so
//! that a repetition is refused and a reordering is not.
//!
//! ```text
//! 0      1     2        4             12            20                    n−16   n
//! | 0xC8 | use | version | session id | counter     | ciphertext …         | tag |      big-endian
//! ```
//!
//! The first byte has NTP mode 0, which no NTP packet has (RFC 5905, figure 10): so both can share a port.
use hkdf::Hkdf;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};
use sha2::Sha256;
use thiserror::Error;

/// The first byte of every sealed datagram.
pub const MAGIC: u8 = 0xC8;
/// The version of the format that this code speaks.
pub const VERSION: u16 = 1;
/// Bytes before the ciphertext.
pub const HEADER_LEN: usize = 20;
/// Bytes that sealing adds to a payload.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// The longest datagram: fits the smallest MTU of IPv6 with its headers (RFC 8200: 1280).
pub const DATAGRAM_MAX: usize = 1232;
const TAG_LEN: usize = 16;

/// The 32 bytes that both ends of a session hold.
pub type Secret = [u8; 32];

/// What a sealed datagram is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Use {
    /// Sanctuary to platform: a mix frame.
    Mix = 1,
    /// Sanctuary to platform: a withdrawal is on disk.
    Acknowledge = 2,
    /// Platform to sanctuary: how it stands; also keeps the path open.
    Status = 16,
    /// Platform to sanctuary: a withdrawal.
    Withdraw = 17,
}

/// Which way a datagram travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the sanctuary to a platform.
    Down,
    /// From a platform to the sanctuary.
    Up,
}

/// Why a datagram was refused. None of these says anything to its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SealError {
    /// Not one of ours, or of another version.
    #[error("not a sealed datagram of version {VERSION}")]
    Format,
    /// Not sealed with this session's key, or changed on the way.
    #[error("a datagram that this session's peer did not seal")]
    Forged,
    /// Seen before, or too old to tell.
    #[error("a datagram that was seen before")]
    Replayed,
    /// Longer than a datagram may be, or than the room given.
    #[error("a payload too long for one datagram")]
    TooLong,
}

impl Use {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Mix, Self::Acknowledge, Self::Status, Self::Withdraw].into_iter().find(|known| *known as u8 == byte)
    }

    const fn direction(self) -> Direction {
        match self {
            Self::Mix | Self::Acknowledge => Direction::Down,
            Self::Status | Self::Withdraw => Direction::Up,
        }
    }
}

/// The session that a datagram claims to belong to; nothing is proven yet. Realtime-safe.
pub fn claimed_session(datagram: &[u8]) -> Option<u64> {
    let head = datagram.first_chunk::<12>()?;
    (head[0] == MAGIC).then(|| u64::from_be_bytes(head[4..12].try_into().expect("eight bytes")))
}

fn key(secret: &Secret, session: u64, direction: Direction) -> LessSafeKey {
    let info: &[u8] = match direction {
        Direction::Down => b"harmonia 1 datagrams down",
        Direction::Up => b"harmonia 1 datagrams up",
    };
    let mut okm = [0u8; 32];
    Hkdf::<Sha256>::new(Some(&session.to_be_bytes()), secret)
        .expand(info, &mut okm)
        .expect("32 bytes are fewer than HKDF's limit of 255 blocks");
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &okm).expect("32 bytes are a key"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The sending end of a session. One owner only: two would repeat nonces, so it cannot be cloned.
pub struct Sealer {
    cipher: LessSafeKey,
    session: u64,
    direction: Direction,
    counter: u64,
}

impl Sealer {
    /// A sealer for `direction` of the session; its counter begins at 1.
    pub fn new(secret: &Secret, session: u64, direction: Direction) -> Self {
        Self { cipher: key(secret, session, direction), session, direction, counter: 0 }
    }

    /// Seals `payload` into `out` and returns the datagram's length. Realtime-safe.
    ///
    /// # Panics
    /// If `kind` travels the other way: our own mistake.
    pub fn seal(&mut self, kind: Use, payload: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        assert_eq!(kind.direction(), self.direction, "a {kind:?} does not travel {:?}", self.direction);
        let len = payload.len() + OVERHEAD;
        if len > DATAGRAM_MAX || len > out.len() {
            return Err(SealError::TooLong);
        }
        // 2^64 datagrams at a million a second are 585,000 years.
        self.counter += 1;
        let (head, rest) = out[..len].split_at_mut(HEADER_LEN);
        head[0] = MAGIC;
        head[1] = kind as u8;
        head[2..4].copy_from_slice(&VERSION.to_be_bytes());
        head[4..12].copy_from_slice(&self.session.to_be_bytes());
        head[12..20].copy_from_slice(&self.counter.to_be_bytes());
        let (text, tag) = rest.split_at_mut(payload.len());
        text.copy_from_slice(payload);
        let made = self
            .cipher
            .seal_in_place_separate_tag(nonce(self.counter), Aad::from(&*head), text)
            .map_err(|_| SealError::TooLong)?;
        tag.copy_from_slice(made.as_ref());
        Ok(len)
    }
}

/// The receiving end of a session.
pub struct Opener {
    cipher: LessSafeKey,
    session: u64,
    direction: Direction,
    window: ReplayWindow,
    newest_opened: bool,
}

impl Opener {
    /// An opener for what arrives from `direction` of the session.
    pub fn new(secret: &Secret, session: u64, direction: Direction) -> Self {
        let cipher = key(secret, session, direction);
        Self { cipher, session, direction, window: ReplayWindow::default(), newest_opened: false }
    }

    /// Opens `datagram` in place; returns what it is for and its payload. Realtime-safe.
    ///
    /// Only an authentic datagram moves the replay window, so a forger cannot close it for the honest.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<(Use, &'a [u8]), SealError> {
        if datagram.len() < OVERHEAD || datagram.len() > DATAGRAM_MAX {
            return Err(SealError::Format);
        }
        let (head, rest) = datagram.split_at_mut(HEADER_LEN);
        let version = u16::from_be_bytes([head[2], head[3]]);
        let kind = Use::from_byte(head[1]).filter(|kind| kind.direction() == self.direction);
        let (Some(kind), true) = (kind, claimed_session(head) == Some(self.session) && version == VERSION) else {
            return Err(SealError::Format);
        };
        let counter = u64::from_be_bytes(head[12..20].try_into().expect("eight bytes"));
        if !self.window.is_new(counter) {
            return Err(SealError::Replayed);
        }
        let text = self.cipher.open_in_place(nonce(counter), Aad::from(&*head), rest).map_err(|_| SealError::Forged)?;
        self.newest_opened = counter > self.window.newest;
        self.window.note(counter);
        Ok((kind, text))
    }

    /// Whether the datagram opened last was sealed after all opened before it. Realtime-safe.
    pub fn newest_opened(&self) -> bool {
        self.newest_opened
    }
}

/// The newest counter and which of the 63 before it were seen. Counter 0 is never valid.
#[derive(Clone, Copy, Default, Debug)]
struct ReplayWindow {
    newest: u64,
    seen: u64, // bit i: newest − i
}

impl ReplayWindow {
    fn is_new(&self, counter: u64) -> bool {
        match self.newest.checked_sub(counter) {
            None => true,
            Some(age) => counter > 0 && age < 64 && self.seen >> age & 1 == 0,
        }
    }

    fn note(&mut self, counter: u64) {
        if counter > self.newest {
            let step = counter - self.newest;
            self.seen = if step < 64 { self.seen << step } else { 0 } | 1;
            self.newest = counter;
        } else {
            self.seen |= 1 << (self.newest - counter);
        }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    const SECRET: Secret = [7; 32];

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(&SECRET, 42, Direction::Up), Opener::new(&SECRET, 42, Direction::Up))
    }

    fn sealed(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; DATAGRAM_MAX];
        let len = sealer.seal(Use::Status, payload, &mut out).unwrap();
        out.truncate(len);
        out
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(payload in prop::collection::vec(any::<u8>(), 0..DATAGRAM_MAX - OVERHEAD)) {
            let (mut sealer, mut opener) = pair();
            let mut datagram = sealed(&mut sealer, &payload);
            let (kind, text) = opener.open(&mut datagram).unwrap();
            prop_assert_eq!((kind, text), (Use::Status, &payload[..]));
        }

        #[test]
        fn one_changed_bit_is_refused(payload in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0u8..8) {
            let (mut sealer, mut opener) = pair();
            let mut datagram = sealed(&mut sealer, &payload);
            let original = datagram.clone();
            let i = at.index(datagram.len());
            datagram[i] ^= 1 << bit;
            prop_assert!(opener.open(&mut datagram).is_err());
            // And the refusal did not close the window for the honest one.
            prop_assert!(opener.open(&mut original.clone()).is_ok());
        }

        #[test]
        fn each_datagram_opens_at_most_once_in_any_order(order in prop::collection::vec(0usize..40, 1..200)) {
            let (mut sealer, mut opener) = pair();
            let datagrams: Vec<_> = (0..40).map(|i| sealed(&mut sealer, &[i])).collect();
            let mut opened = [false; 40];
            for i in order {
                // All 40 lie within the window: order does not matter.
                prop_assert_eq!(opener.open(&mut datagrams[i].clone()).is_ok(), !opened[i]);
                opened[i] = true;
            }
        }

        #[test]
        fn noise_never_opens_and_never_panics(mut noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(pair().1.open(&mut noise).is_err());
        }
    }

    #[test]
    fn far_behind_the_newest_is_refused() {
        let (mut sealer, mut opener) = pair();
        let mut first = sealed(&mut sealer, b"old");
        for _ in 0..64 {
            opener.open(&mut sealed(&mut sealer, b"new")).unwrap();
        }
        assert_eq!(opener.open(&mut first), Err(SealError::Replayed));
    }

    #[test]
    fn an_overtaken_datagram_opens_but_is_not_the_newest() {
        let (mut sealer, mut opener) = pair();
        let [mut first, mut second, mut third] = [b"1", b"2", b"3"].map(|payload| sealed(&mut sealer, payload));
        for (datagram, newest) in [(&mut second, true), (&mut first, false), (&mut third, true)] {
            opener.open(datagram).unwrap();
            assert_eq!(opener.newest_opened(), newest);
        }
    }

    #[test]
    fn another_session_secret_or_direction_is_refused() {
        let mut datagram = sealed(&mut pair().0, b"mine");
        for mut opener in [
            Opener::new(&SECRET, 43, Direction::Up),
            Opener::new(&[8; 32], 42, Direction::Up),
            Opener::new(&SECRET, 42, Direction::Down),
        ] {
            assert!(opener.open(&mut datagram.clone()).is_err());
        }
        assert!(pair().1.open(&mut datagram).is_ok());
    }

    #[test]
    fn the_first_byte_is_no_ntp_packet() {
        assert_eq!(MAGIC & 0b111, 0, "mode 0");
    }
}
