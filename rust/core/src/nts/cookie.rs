//! Cookies: a client's keys, sealed by the server for itself.
//!
//! The server forgets every client, so a cookie has to hold all that it needs, unreadable to everybody else. Whoever
//! steals the sealing key reads the time traffic of all cookies under it; so the key is replaced at intervals, and only
//! a few former ones are kept, for as long as a client may reasonably be silent. A cookie under a key that is gone is
//! answered with a NAK, and the client exchanges keys anew.
//!
//! ```text
//! 0        4             20                                         n
//! | key id | nonce, 16   | sealed: algorithm, 0, C2S key, S2C key   |        104 bytes, or 72 with the shorter keys
//! ```
//!
//! The keys outlive the server's process: [`CookieKeys::to_text`] is kept in a file that nobody else can read, so that
//! clients need not notice a restart. But a key must not live longer because the process did not. So their age is told
//! by node time, and however long nobody asked or nothing ran, a key opens cookies for no longer than it would have.
//!
//! Nonces are random: two cookies of one client have nothing in common that others could see. (RFC 8915, section 6,
//! suggests such a format; nobody but the server itself reads it.)
use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::aead::{Algorithm, Cipher, TAG_LEN};
use super::{Entropy, Keys};
use crate::packet::be_u16;
use crate::units::{NodeTime, Span};

const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 16;
const SEALED_AT: usize = KEY_ID_LEN + NONCE_LEN;
/// The longest cookie.
pub const COOKIE_LEN_MAX: usize = cookie_len(Algorithm::AesSivCmac256);
/// Cookies are always sealed with the algorithm that survives a repeated nonce best.
const SEALING: Algorithm = Algorithm::AesSivCmac256;

/// Bytes of a cookie that holds keys of `algorithm`; a multiple of four.
pub const fn cookie_len(algorithm: Algorithm) -> usize {
    SEALED_AT + 4 + 2 * algorithm.key_len() + TAG_LEN
}

/// How often the sealing key is replaced, and how many former ones still open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// A key seals for this long.
    pub interval: Span,
    /// Former keys that still open cookies.
    pub former: usize,
}

impl Default for Rotation {
    /// A new key a day; a cookie is good for two days at least. RFC 8915, section 6, advises a day or so.
    fn default() -> Self {
        Self { interval: Span::from_s(86_400), former: 2 }
    }
}

const FORMAT: &str = "harmonia-cookies-1";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// So that a torn write is noticed; it keeps nobody from making one up.
fn checksum(body: &str) -> String {
    hex(&Sha256::digest(body.as_bytes())[..8])
}

struct SealingKey {
    id: u32,
    made: NodeTime,
    secret: [u8; 32],
    cipher: Cipher,
}

impl SealingKey {
    fn new(id: u32, made: NodeTime, secret: [u8; 32]) -> Self {
        Self { id, made, secret, cipher: Cipher::new(SEALING, &secret) }
    }
}

/// The server's own keys, the newest first.
pub struct CookieKeys {
    rotation: Rotation,
    keys: VecDeque<SealingKey>,
}

impl Clone for CookieKeys {
    /// The same keys, for another thread that answers.
    fn clone(&self) -> Self {
        let keys = self.keys.iter().map(|key| SealingKey::new(key.id, key.made, key.secret)).collect();
        Self { rotation: self.rotation, keys }
    }
}

impl CookieKeys {
    /// One key, made at `now` of `entropy`.
    pub fn new(rotation: Rotation, now: NodeTime, entropy: Entropy<'_>) -> Self {
        let mut id = [0; 4];
        entropy(&mut id);
        let mut keys = Self { rotation, keys: VecDeque::new() };
        keys.add(u32::from_be_bytes(id), now, entropy);
        keys
    }

    fn add(&mut self, id: u32, now: NodeTime, entropy: Entropy<'_>) {
        let mut secret = [0; 32];
        entropy(&mut secret);
        self.keys.push_front(SealingKey::new(id, now, secret));
        self.keys.truncate(self.rotation.former + 1);
    }

    /// When [`CookieKeys::rotate_if_due`] will next make a key.
    pub fn due(&self) -> NodeTime {
        self.keys[0].made + self.rotation.interval
    }

    /// Whether [`CookieKeys::rotate_if_due`] would make a key at `now`: the newest has served its time, or was made in
    /// the future, so that its age cannot be told.
    pub fn is_due(&self, now: NodeTime) -> bool {
        now >= self.due() || now < self.keys[0].made
    }

    /// Replaces the sealing key if it has served its time. Call it as often as you like; says whether it did.
    ///
    /// Keys that would have been forgotten meanwhile are, however long nobody called.
    pub fn rotate_if_due(&mut self, now: NodeTime, entropy: Entropy<'_>) -> bool {
        let due = self.is_due(now);
        if due {
            let id = self.keys[0].id.wrapping_add(1);
            let oldest = Span::from_ns(self.rotation.interval.ns().saturating_mul(self.rotation.former as i64 + 1));
            // One from the future is as old as can be told: it ages from here on.
            self.keys.iter_mut().for_each(|key| key.made = key.made.min(now));
            self.keys.retain(|key| now - key.made < oldest);
            self.add(id, now, entropy);
        }
        due
    }

    /// The keys as one line of text: whoever can read it can read all cookies.
    ///
    /// `harmonia-cookies-1 ID:MADE_NS:KEY ... CHECKSUM`, the newest first; ids and keys in hexadecimal.
    pub fn to_text(&self) -> String {
        let line = |key: &SealingKey| format!(" {:08x}:{}:{}", key.id, key.made.ns(), hex(&key.secret));
        let body = format!("{FORMAT}{}", self.keys.iter().map(line).collect::<String>());
        format!("{body} {}\n", checksum(&body))
    }

    /// Reads what [`CookieKeys::to_text`] wrote; `None` for everything else. Rotate before the first use: keys that are
    /// too old by then are forgotten.
    pub fn from_text(rotation: Rotation, text: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if checksum(body) != sum {
            return None;
        }
        let key = |text: &str| {
            let &[id, made, secret] = text.split(':').collect::<Vec<_>>().as_slice() else { return None };
            let made = NodeTime::from_ns(made.parse().ok()?);
            Some(SealingKey::new(u32::from_str_radix(id, 16).ok()?, made, unhex(secret)?))
        };
        let mut keys: VecDeque<_> = body.strip_prefix(FORMAT)?.split(' ').skip(1).map(key).collect::<Option<_>>()?;
        keys.truncate(rotation.former + 1);
        (!keys.is_empty()).then_some(Self { rotation, keys })
    }

    /// Seals `keys` into the beginning of `out`, and returns the cookie's length, [`cookie_len`].
    pub fn seal(&mut self, keys: &Keys, entropy: Entropy<'_>, out: &mut [u8]) -> usize {
        let sealing = &mut self.keys[0];
        let (len, key_len) = (cookie_len(keys.algorithm), keys.algorithm.key_len());
        let (head, room) = out[..len].split_at_mut(SEALED_AT);
        head[..KEY_ID_LEN].copy_from_slice(&sealing.id.to_be_bytes());
        entropy(&mut head[KEY_ID_LEN..]);
        room[..2].copy_from_slice(&keys.algorithm.id().to_be_bytes());
        room[2..4].fill(0);
        room[4..4 + key_len].copy_from_slice(keys.c2s());
        room[4 + key_len..4 + 2 * key_len].copy_from_slice(keys.s2c());
        sealing.cipher.seal(&head[KEY_ID_LEN..], &head[..KEY_ID_LEN], room);
        len
    }

    /// The keys in a cookie of ours; `None` for every other, also for one under a key that is gone.
    pub fn open(&mut self, cookie: &[u8]) -> Option<Keys> {
        let mut room = [0; COOKIE_LEN_MAX];
        let cookie_copy = room.get_mut(..cookie.len())?;
        cookie_copy.copy_from_slice(cookie);
        let (head, sealed) = cookie_copy.split_at_mut_checked(SEALED_AT)?;
        let (id, nonce) = head.split_at(KEY_ID_LEN);
        let key = self.keys.iter_mut().find(|key| key.id.to_be_bytes() == *id)?;
        let text_len = key.cipher.open(nonce, id, sealed).ok()?;
        let text = &sealed[..text_len];
        // Authentic, so ours; a length that does not fit would be another format of ours.
        let algorithm = Algorithm::from_id(be_u16(text.get(..4)?, 0))?;
        let key_len = algorithm.key_len();
        if text.len() != 4 + 2 * key_len {
            return None;
        }
        let mut keys = Keys { algorithm, c2s: [0; 32], s2c: [0; 32] };
        keys.c2s[..key_len].copy_from_slice(&text[4..4 + key_len]);
        keys.s2c[..key_len].copy_from_slice(&text[4 + key_len..]);
        Some(keys)
    }
}

#[cfg(test)]
pub(super) mod laws {
    use super::*;
    use proptest::prelude::*;

    /// Random bytes for tests: a counter, hashed.
    pub fn seeded(seed: u64) -> impl FnMut(&mut [u8]) {
        use sha2::{Digest, Sha256};
        let mut count = 0u64;
        move |out| {
            for chunk in out.chunks_mut(32) {
                count += 1;
                let block = Sha256::digest([seed.to_be_bytes(), count.to_be_bytes()].concat());
                chunk.copy_from_slice(&block[..chunk.len()]);
            }
        }
    }

    pub fn keys(algorithm: Algorithm) -> Keys {
        Keys::new(algorithm, &[1; 32], &[2; 32])
    }

    const START: NodeTime = NodeTime::from_ns(0);

    fn jar() -> CookieKeys {
        CookieKeys::new(Rotation::default(), START, &mut seeded(1))
    }

    fn sealed(jar: &mut CookieKeys, keys: &Keys, seed: u64) -> Vec<u8> {
        let mut out = vec![0; COOKIE_LEN_MAX];
        let len = jar.seal(keys, &mut seeded(seed), &mut out);
        out.truncate(len);
        out
    }

    proptest! {
        #[test]
        fn a_cookie_gives_back_its_keys_and_a_changed_one_nothing(
            c2s: [u8; 32], s2c: [u8; 32], short: bool, seed: u64, at: prop::sample::Index, bit in 0u8..8,
        ) {
            let algorithm = if short { Algorithm::Aes128GcmSiv } else { Algorithm::AesSivCmac256 };
            let (mut jar, keys) = (jar(), Keys::new(algorithm, &c2s, &s2c));
            let mut cookie = sealed(&mut jar, &keys, seed);
            prop_assert!(cookie.len() == cookie_len(algorithm) && cookie.len().is_multiple_of(4));
            prop_assert_eq!(jar.open(&cookie), Some(keys.clone()));
            prop_assert_eq!(jar.clone().open(&cookie), Some(keys));
            let i = at.index(cookie.len());
            cookie[i] ^= 1 << bit;
            prop_assert_eq!(jar.open(&cookie), None);
        }

        #[test]
        fn keys_survive_their_file_and_a_torn_or_flipped_one_is_noticed(
            rotations in 0i64..5, at: prop::sample::Index, bit in 0u8..7,
        ) {
            let (mut jar, keys) = (jar(), keys(Algorithm::AesSivCmac256));
            let mut cookies = vec![sealed(&mut jar, &keys, 1)];
            for day in 1..=rotations {
                jar.rotate_if_due(START + Span::from_s(86_400 * day), &mut seeded(day as u64));
                cookies.push(sealed(&mut jar, &keys, 1));
            }
            let text = jar.to_text();
            let mut read = CookieKeys::from_text(Rotation::default(), &text).unwrap();
            prop_assert_eq!(read.due(), jar.due());
            prop_assert_eq!(read.to_text(), text.clone());
            for cookie in cookies {
                prop_assert_eq!(read.open(&cookie), jar.open(&cookie));
            }
            prop_assert!(CookieKeys::from_text(Rotation::default(), &text[..at.index(text.len())]).is_none());
            let mut bytes = text.into_bytes();
            let i = at.index(bytes.len());
            bytes[i] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(bytes) {
                prop_assert!(CookieKeys::from_text(Rotation::default(), &flipped).is_none());
            }
        }

        #[test]
        fn noise_is_no_cookie(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut jar = jar();
            prop_assert_eq!(jar.open(&noise), None);
            let mut named = sealed(&mut jar, &keys(Algorithm::AesSivCmac256), 1)[..4].to_vec();
            named.extend(noise);
            prop_assert_eq!(jar.open(&named), None);
        }
    }

    #[test]
    fn two_cookies_of_one_client_have_nothing_in_common_but_the_key_id() {
        let (mut jar, keys) = (jar(), keys(Algorithm::AesSivCmac256));
        let (a, b) = (sealed(&mut jar, &keys, 1), sealed(&mut jar, &keys, 2));
        assert_eq!(a[..4], b[..4]);
        let same = a[4..].iter().zip(&b[4..]).filter(|(a, b)| a == b).count();
        assert!(same < 8, "{same} of 100 bytes are equal");
    }

    #[test]
    fn a_cookie_outlives_two_rotations_and_not_three() {
        let (mut jar, keys) = (jar(), keys(Algorithm::AesSivCmac256));
        let old = sealed(&mut jar, &keys, 1);
        assert!(!jar.rotate_if_due(START + Span::from_s(86_399), &mut seeded(2)), "not yet");
        for day in 1..=3 {
            assert!(jar.rotate_if_due(START + Span::from_s(86_400 * day), &mut seeded(day as u64)));
            assert_eq!(jar.open(&old), (day < 3).then(|| keys.clone()), "day {day}");
            let fresh = sealed(&mut jar, &keys, 9);
            assert_ne!(fresh[..4], old[..4], "sealed under the newest key");
            assert_eq!(jar.open(&fresh), Some(keys.clone()));
        }
    }

    #[test]
    fn nobody_asking_for_days_makes_no_key_live_longer() {
        for (days, lives) in [(1, true), (2, true), (3, false), (1000, false)] {
            let (mut jar, keys) = (jar(), keys(Algorithm::AesSivCmac256));
            let old = sealed(&mut jar, &keys, 1);
            // As if read from the file after so long.
            let mut jar = CookieKeys::from_text(Rotation::default(), &jar.to_text()).unwrap();
            assert!(jar.rotate_if_due(START + Span::from_s(86_400 * days + 5), &mut seeded(2)));
            assert_eq!(jar.open(&old), lives.then(|| keys.clone()), "{days} days");
            let fresh = sealed(&mut jar, &keys, 3);
            assert_ne!(fresh[..4], old[..4]);
            assert_eq!(jar.open(&fresh), Some(keys.clone()));
            // Nor does a gap give it another day later.
            jar.rotate_if_due(START + Span::from_s(86_400 * (days + 1) + 5), &mut seeded(4));
            assert_eq!(jar.open(&old), (days + 1 < 3).then_some(keys));
        }
    }

    #[test]
    fn a_key_from_the_future_seals_no_longer() {
        let (mut jar, keys) = (jar(), keys(Algorithm::AesSivCmac256));
        let old = sealed(&mut jar, &keys, 1);
        let before = NodeTime::from_ns(START.ns() - 1);
        assert!(jar.is_due(before) && jar.rotate_if_due(before, &mut seeded(2)) && !jar.is_due(before));
        assert_ne!(sealed(&mut jar, &keys, 2)[..4], old[..4]);
        assert_eq!(jar.open(&old), Some(keys));
    }

    #[test]
    fn another_server_cannot_open_it() {
        let cookie = sealed(&mut jar(), &keys(Algorithm::AesSivCmac256), 1);
        let mut other = CookieKeys::new(Rotation::default(), START, &mut seeded(77));
        assert_eq!(other.open(&cookie), None);
        // Not even one that happens to use the same key id.
        other.keys[0].id = u32::from_be_bytes(cookie[..4].try_into().unwrap());
        assert_eq!(other.open(&cookie), None);
    }
}
