//! What the responder says to whoever asks for the time.
//!
//! Three things come together here and nowhere else: how often an address is answered, NTS, and, where the operator
//! asks for silence, who counts as known. Answers are collected for a batch and sent in two steps. Plain ones are made
//! first and stamped last, all at once. A protected one cannot be stamped after it is sealed, and sealing takes
//! microseconds; so those are sealed in small groups just before they leave.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use harmonia_core::node_clock::NodeClock;
use harmonia_core::nts::{CookieKeys, Keys, NtsError, NtsServer, Policy, Reply, COOKIES_MAX};
use harmonia_core::packet::{self, NodeInfo, CIRCLE_PACKET_LEN};
use harmonia_core::rate_limit::{Admission, RateConfig, RateLimit};
use harmonia_core::units::NodeTime;

use crate::entropy::Entropy;
use crate::error::IoError;
use crate::socket::{Batch, Socket, BATCH};
use crate::time_keys::TimeKeys;

/// Protected answers that are sealed before they are sent: the first waits for the last, some ten microseconds.
const GROUP: usize = 4;
/// Longer requests are nobody's.
const REQUEST_MAX: usize = harmonia_core::nts::PACKET_MAX;
/// A platform whose sealed datagrams come from an address is known there for as long as this.
const KNOWN_FOR_NS: i64 = 60_000_000_000;

/// Counters since the start.
#[derive(Default, Debug)]
pub struct AnswerStats {
    /// Answers sealed with NTS.
    pub protected: AtomicU64,
    /// Requests with a cookie or an authenticator that was not believed, and was told so.
    pub naks: AtomicU64,
    /// Requests that were too many for their address, with or without a kiss.
    pub limited: AtomicU64,
    /// Requests that met silence because they were not authenticated.
    pub silent: AtomicU64,
}

/// Answers for one socket; its owner is the thread that reads it.
pub struct Answering {
    limit: Option<RateLimit>,
    server: NtsServer,
    entropy: Entropy,
    /// Where platforms were heard, and when on the raw clock: asked only where the policy is silence.
    known: HashMap<SocketAddr, i64>,
    /// The batch's plain answers, by the numbers of their datagrams and their lengths.
    plain: Few<(usize, usize)>,
    /// The batch's requests that may be protected, by the numbers of their datagrams, and when they arrived.
    protected: Few<(usize, NodeTime)>,
}

/// At most one entry for each datagram of a batch: never grows, never allocates.
struct Few<T> {
    items: [Option<T>; BATCH],
    len: usize,
}

impl<T: Copy> Few<T> {
    fn new() -> Self {
        Self { items: [None; BATCH], len: 0 }
    }

    fn push(&mut self, item: T) {
        self.items[self.len] = Some(item);
        self.len += 1;
    }

    fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items[..self.len].iter().flatten().copied()
    }
}

impl Answering {
    /// Everybody is answered, at the default rate; `cookies` seals and opens cookies.
    pub fn new(cookies: CookieKeys) -> Result<Self, IoError> {
        let entropy = Entropy::new()?;
        let mut answering = Self {
            limit: None,
            server: NtsServer::new(cookies, Policy::Everybody),
            entropy,
            known: HashMap::new(),
            plain: Few::new(),
            protected: Few::new(),
        };
        answering.set_limit(Some(RateConfig::default()));
        Ok(answering)
    }

    /// How often an address is answered; `None` for as often as it asks.
    pub fn set_limit(&mut self, config: Option<RateConfig>) {
        self.limit = config.map(|config| {
            let mut key = [0; 16];
            self.entropy.fill(&mut key);
            let (a, b) = key.split_at(8);
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            RateLimit::new(config, [word(a), word(b)])
        });
    }

    /// Who is answered.
    pub fn set_policy(&mut self, policy: Policy) {
        self.server.policy = policy;
    }

    /// The keys under which cookies are sealed.
    pub fn cookies(&self) -> &CookieKeys {
        &self.server.cookies
    }

    /// Seals and opens cookies with other keys from here on.
    pub fn set_cookies(&mut self, cookies: CookieKeys) {
        self.server.cookies = cookies;
    }

    /// The first cookies for a client that has just exchanged keys.
    pub fn bake(&mut self, keys: &Keys) -> Vec<Vec<u8>> {
        let mut room = [0; harmonia_core::nts::cookie::COOKIE_LEN_MAX];
        let bake = |_| {
            let len = self.server.cookies.seal(keys, &mut |out| self.entropy.fill(out), &mut room);
            room[..len].to_vec()
        };
        (0..COOKIES_MAX).map(bake).collect()
    }

    /// Fresh keys and cookies for a platform's session.
    pub fn time_keys(&mut self) -> TimeKeys {
        let mut secrets = [[0; 32]; 2];
        secrets.iter_mut().for_each(|secret| self.entropy.fill(secret));
        TimeKeys::new(&secrets, |keys| self.bake(keys))
    }

    /// A platform proved who it is from this address.
    pub fn know(&mut self, from: SocketAddr, raw_ns: i64) {
        if self.server.policy == Policy::Everybody {
            return;
        }
        if self.known.len() > 1000 && !self.known.contains_key(&from) {
            self.known.retain(|_, heard| raw_ns - *heard < KNOWN_FOR_NS);
        }
        self.known.insert(from, raw_ns);
    }

    /// Takes the `i`-th datagram of `batch`, a request. Its answer, if any, is made over it and leaves with
    /// [`Answering::send`]. Says whether the request was well-formed.
    pub fn take(
        &mut self,
        batch: &mut Batch,
        i: usize,
        clock: &NodeClock,
        info: &NodeInfo,
        stats: &AnswerStats,
    ) -> bool {
        let Some(request) = batch.datagram(i) else { return false };
        let (from, len) = (request.from, request.bytes.len());
        let received = clock.node_at(request.latest_raw_ns);
        let mut answer = [0; CIRCLE_PACKET_LEN];
        match self.limit.as_mut().map_or(Admission::Answer, |limit| limit.admit(from.ip(), received)) {
            Admission::Answer => {}
            verdict => {
                stats.limited.fetch_add(1, Ordering::Relaxed);
                if verdict == Admission::Kiss && self.server.policy == Policy::Everybody {
                    if let Ok(len) = packet::write_kiss(request.bytes, *b"RATE", &mut answer) {
                        request.bytes[..len].copy_from_slice(&answer[..len]);
                        batch.answer(i, len);
                    }
                }
                return true;
            }
        }
        // A plain request has the circle's field at most. What is longer may be protected, and is looked at when sealed.
        if len > CIRCLE_PACKET_LEN {
            let fits = len <= REQUEST_MAX;
            if fits {
                self.protected.push((i, received));
            }
            return fits;
        }
        let silent = self.server.policy == Policy::AuthenticOnly;
        let raw_ns = request.raw_ns;
        if silent && self.known.get(&from).is_none_or(|heard| raw_ns - heard >= KNOWN_FOR_NS) {
            stats.silent.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let Ok(len) = packet::respond(request.bytes, received, received, info, &mut answer) else { return false };
        // The answer is no longer than its request.
        request.bytes[..len].copy_from_slice(&answer[..len]);
        batch.answer(i, len);
        self.plain.push((i, len));
        true
    }

    /// Stamps, seals and sends all answers that were taken, each as late as can be. Returns how many left, and how many
    /// requests turned out to be malformed.
    pub fn send(
        &mut self,
        socket: &Socket,
        batch: &mut Batch,
        now: impl Fn() -> NodeTime,
        info: &NodeInfo,
        stats: &AnswerStats,
    ) -> (usize, usize) {
        if self.plain.len > 0 {
            let sent = now();
            for (i, len) in self.plain.iter() {
                packet::patch_sent(&mut batch.room(i)[..len], sent, info.tai_minus_utc);
            }
            self.plain.len = 0;
        }
        let (mut left, mut malformed) = (socket.send_answers(batch), 0);
        if self.protected.len == 0 {
            return (left, malformed);
        }
        let mut room = [0; REQUEST_MAX];
        for (nth, (i, received)) in self.protected.iter().enumerate() {
            let Some(request) = batch.datagram(i) else { continue };
            let entropy = &mut |bytes: &mut [u8]| self.entropy.fill(bytes);
            let reply = self.server.respond(request.bytes, received, now(), info, entropy, &mut room);
            let counter = match reply {
                Ok(Reply::Protected(_)) => Some(&stats.protected),
                Ok(Reply::Nak(_)) => Some(&stats.naks),
                Ok(Reply::Plain(_)) => None,
                Err(NtsError::Unauthenticated | NtsError::Forged) => Some(&stats.silent),
                Err(_) => {
                    malformed += 1;
                    None
                }
            };
            counter.map(|counter| counter.fetch_add(1, Ordering::Relaxed));
            if let Ok(reply) = reply {
                request.bytes[..reply.len()].copy_from_slice(&room[..reply.len()]);
                batch.answer(i, reply.len());
            }
            if nth % GROUP == GROUP - 1 {
                left += socket.send_answers(batch);
            }
        }
        left += socket.send_answers(batch);
        self.protected.len = 0;
        (left, malformed)
    }
}
