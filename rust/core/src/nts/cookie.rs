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
//! Nonces are random: two cookies of one client have nothing in common that others could see. (RFC 8915, section 6,
//! suggests such a format; nobody but the server itself reads it.)
use std::collections::VecDeque;

use super::aead::{empty, open_group, seal_group, Algorithm, Cipher, Sealing, TAG_LEN};
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

#[derive(Clone)]
struct SealingKey {
    id: u32,
    cipher: Cipher,
}

/// The server's own keys, the newest first. A clone has the same, for another thread that answers.
#[derive(Clone)]
pub struct CookieKeys {
    rotation: Rotation,
    keys: VecDeque<SealingKey>,
    since: NodeTime,
}

impl CookieKeys {
    /// One key, made at `now` of `entropy`.
    pub fn new(rotation: Rotation, now: NodeTime, entropy: Entropy<'_>) -> Self {
        let mut id = [0; 4];
        entropy(&mut id);
        // Room for one more than are kept, as a new key comes before the oldest goes: rotating allocates nothing.
        let mut keys = Self { rotation, keys: VecDeque::with_capacity(rotation.former + 2), since: now };
        keys.add(u32::from_be_bytes(id), entropy);
        keys
    }

    fn add(&mut self, id: u32, entropy: Entropy<'_>) {
        let mut secret = [0; 32];
        entropy(&mut secret);
        self.keys.push_front(SealingKey { id, cipher: Cipher::new(SEALING, &secret) });
        self.keys.truncate(self.rotation.former + 1);
    }

    /// When [`CookieKeys::rotate_if_due`] will next make a key.
    pub fn due(&self) -> NodeTime {
        self.since + self.rotation.interval
    }

    /// Replaces the sealing key if it has served its time. Call it as often as you like; says whether it did.
    pub fn rotate_if_due(&mut self, now: NodeTime, entropy: Entropy<'_>) -> bool {
        let due = now >= self.due();
        if due {
            self.since = now;
            self.add(self.keys[0].id.wrapping_add(1), entropy);
        }
        due
    }

    /// Seals `keys` into the beginning of `out`, and returns the cookie's length, [`cookie_len`].
    pub fn seal(&self, keys: &Keys, entropy: Entropy<'_>, out: &mut [u8]) -> usize {
        let len = cookie_len(keys.algorithm);
        self.seal_group(&mut [Some((keys, &mut out[..len]))], entropy);
        len
    }

    /// Seals each of several clients' keys into a room of [`cookie_len`] bytes.
    pub fn seal_group<const L: usize>(&self, group: &mut [Option<(&Keys, &mut [u8])>; L], entropy: Entropy<'_>) {
        let sealing = &self.keys[0];
        let mut rooms: [_; L] = empty();
        for (cookie, room) in group.iter_mut().zip(&mut rooms) {
            let Some((keys, out)) = cookie else { continue };
            let key_len = keys.algorithm.key_len();
            let (head, text) = out.split_at_mut(SEALED_AT);
            head[..KEY_ID_LEN].copy_from_slice(&sealing.id.to_be_bytes());
            entropy(&mut head[KEY_ID_LEN..]);
            text[..2].copy_from_slice(&keys.algorithm.id().to_be_bytes());
            text[2..4].fill(0);
            text[4..4 + key_len].copy_from_slice(keys.c2s());
            text[4 + key_len..4 + 2 * key_len].copy_from_slice(keys.s2c());
            let (associated, nonce) = head.split_at(KEY_ID_LEN);
            *room = Some(Sealing { cipher: &sealing.cipher, nonce, associated, room: text });
        }
        seal_group(&mut rooms);
    }

    /// The keys in a cookie of ours; `None` for every other, also for one under a key that is gone.
    pub fn open(&self, cookie: &[u8]) -> Option<Keys> {
        let [keys] = self.open_group(&[Some(cookie)]);
        keys
    }

    /// [`CookieKeys::open`] for each of several cookies.
    pub fn open_group<const L: usize>(&self, cookies: &[Option<&[u8]>; L]) -> [Option<Keys>; L] {
        let mut copies = [[0; COOKIE_LEN_MAX]; L];
        let mut sealed: [_; L] = empty();
        for ((cookie, copy), sealed) in cookies.iter().zip(&mut copies).zip(&mut sealed) {
            *sealed = cookie.and_then(|cookie| {
                let copy = copy.get_mut(..cookie.len())?;
                copy.copy_from_slice(cookie);
                let (head, room) = copy.split_at_mut_checked(SEALED_AT)?;
                let (id, nonce) = head.split_at(KEY_ID_LEN);
                let key = self.keys.iter().find(|key| key.id.to_be_bytes() == *id)?;
                Some(Sealing { cipher: &key.cipher, nonce, associated: id, room })
            });
        }
        let opened = open_group(&mut sealed);
        let mut keys: [_; L] = empty();
        for ((text_len, copy), keys) in opened.iter().zip(&copies).zip(&mut keys) {
            *keys = text_len.ok().and_then(|len| Self::keys(&copy[SEALED_AT..][..len]));
        }
        keys
    }

    /// What an authentic cookie says. So it is ours; a length that does not fit would be another format of ours.
    fn keys(text: &[u8]) -> Option<Keys> {
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
    fn another_server_cannot_open_it() {
        let cookie = sealed(&mut jar(), &keys(Algorithm::AesSivCmac256), 1);
        let mut other = CookieKeys::new(Rotation::default(), START, &mut seeded(77));
        assert_eq!(other.open(&cookie), None);
        // Not even one that happens to use the same key id.
        other.keys[0].id = u32::from_be_bytes(cookie[..4].try_into().unwrap());
        assert_eq!(other.open(&cookie), None);
    }
}
