//! A platform's conversation with a node about the time.
//!
//! **The loop, in one sentence:** give it every datagram from the node ([`SyncSession::handle_input`]), send what
//! [`SyncSession::poll_transmit`] returns until it returns `None`, and come back at [`SyncSession::poll_timeout`] or
//! with the next datagram, whichever is first.
//!
//! There is no clock and no socket inside: all time is an argument, so the same code runs over sockets in a platform and
//! in a simulated night. A session opens with a burst, so that a sleeper who has just lain down is in time within two
//! seconds, and then asks once in a while for ever. Whatever is lost is not waited for: requests leave by the clock, not
//! by the answers.
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::filter::{Exchange, Filter, FilterConfig, Verdict};
use crate::packet::{self, Answer, PacketError};
use crate::servo::{DisciplinedClock, LockState, Servo, ServoConfig};
use crate::units::{PlatformTime, Span};

/// Requests that can wait for answers at once: more than a burst with a second of round trip has in flight.
const WAITING_MAX: usize = 16;

/// How a session behaves. [`SyncConfig::default`] is for live use.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SyncConfig {
    /// Time between requests after the burst.
    pub interval: Span,
    /// Requests in the opening burst, and after every reset or holdover.
    pub burst: u32,
    /// Time between the requests of a burst.
    pub burst_spacing: Span,
    /// An answer is taken for as long as this after its request.
    pub timeout: Span,
    /// Exchanges before the clock locks.
    pub lock_after: u32,
    /// Largest frequency difference of the two clocks, parts per billion: the certificate rests on it.
    pub max_drift_ppb: i64,
    /// Largest change of that difference per second, 1/s: the certificate rests on it.
    pub max_wander: f64,
    /// Expected size of the frequency difference, parts per billion: what the estimate begins with.
    pub expected_drift_ppb: i64,
    /// Expected random walk of the frequency, 1/s for one second: what the estimate begins with.
    pub expected_wander: f64,
    /// Largest correction beyond the estimated rate, parts per billion.
    pub max_slew_ppb: i64,
    /// Correction begins this long after its exchange, so that those who render ahead are not overtaken.
    pub lead: Span,
    /// Without an exchange for this long, a locked clock is in holdover.
    pub holdover_after: Span,
    /// Whether to believe an NTP server that sends no circle field. Its clock has the id 0.
    pub strangers: bool,
    /// Node time minus UTC, to read a stranger's time.
    pub tai_minus_utc: Span,
}

impl Default for SyncConfig {
    /// A request a second after a burst of eight; up to 500 ppm of drift (the worst that common crystals and virtual
    /// machines show) and 0.1 ppm/s of wander (a crystal of 1 ppm/K warming by 0.1 K/s).
    fn default() -> Self {
        Self {
            interval: Span::from_s(1),
            burst: 8,
            burst_spacing: Span::from_ms(150),
            timeout: Span::from_s(2),
            lock_after: 6,
            max_drift_ppb: 500_000,
            max_wander: 1e-7,
            expected_drift_ppb: 100_000,
            expected_wander: 3e-9,
            max_slew_ppb: 499_000,
            lead: Span::from_ms(20),
            holdover_after: Span::from_s(5),
            strangers: false,
            tai_minus_utc: Span::from_s(crate::node_clock::TAI_MINUS_UTC_S),
        }
    }
}

/// Why a datagram was not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SyncError {
    /// It is no acceptable answer.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The server's or the platform's stamps are in the wrong order.
    #[error("the answer's time stamps run backwards")]
    Backwards,
    /// An NTP server without the circle's field, where only sanctuaries are believed.
    #[error("the server is no sanctuary: it sent no circle field; set `strangers` to believe any NTP server")]
    Stranger,
}

/// An exchange that was used, and what it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The four stamps.
    pub exchange: Exchange,
    /// Which clock answered; 0 for a stranger's.
    pub clock_id: u64,
    /// How wrong the node's own time may be against its source.
    pub node_bound: Span,
    /// Why everything before was forgotten, if it was.
    pub reset: Option<Reset>,
    /// By how much the clock was stepped; zero when it was slewed.
    pub step: Span,
}

/// Why a session began anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// Another clock answers: node time has begun anew.
    AnotherClock,
    /// No clock within the stated drift and wander agrees with all exchanges: one of the clocks was stepped.
    Contradiction,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    nonce: u64,
    t1: PlatformTime,
}

/// A platform's side of the conversation. See the module's first sentence for how to drive it.
#[derive(Clone, Debug)]
pub struct SyncSession {
    config: SyncConfig,
    filter: Filter,
    servo: Servo,
    seed: u64,
    requests: u64,
    waiting: Vec<Waiting>,
    burst_left: u32,
    next: Option<PlatformTime>,
    used: u32,
    clock_id: Option<u64>,
    node_bound: Span,
}

impl SyncSession {
    /// A session that has not asked yet. `seed` makes the nonces: take it from the operating system's random source.
    pub fn new(config: SyncConfig, seed: u64) -> Self {
        let filter = FilterConfig {
            max_drift_ppb: config.max_drift_ppb,
            max_wander: config.max_wander,
            expected_drift_ppb: config.expected_drift_ppb,
            expected_wander: config.expected_wander,
        };
        let servo = ServoConfig {
            max_slew_ppb: config.max_slew_ppb,
            horizon: config.interval,
            step_threshold: Span::from_ms(1),
            lead: config.lead,
            holdover_after: config.holdover_after,
        };
        Self {
            config,
            filter: Filter::new(filter),
            servo: Servo::new(servo),
            seed,
            requests: 0,
            waiting: Vec::with_capacity(WAITING_MAX),
            burst_left: config.burst,
            next: None,
            used: 0,
            clock_id: None,
            node_bound: Span::ZERO,
        }
    }

    /// When [`SyncSession::poll_transmit`] will next have a request; the beginning of time if at once.
    pub fn poll_timeout(&self) -> PlatformTime {
        self.next.unwrap_or(PlatformTime::from_ns(i64::MIN))
    }

    /// Writes the request that is due at `now`, if any, and returns its length. `now` becomes the request's t1: read
    /// the clock just before the call and send at once. `out` must hold [`packet::CIRCLE_PACKET_LEN`] bytes.
    pub fn poll_transmit(&mut self, now: PlatformTime, out: &mut [u8]) -> Option<usize> {
        if now < self.poll_timeout() {
            return None;
        }
        let nonce = self.nonce();
        let len = packet::write_request(nonce, out).ok()?;
        if self.waiting.len() == WAITING_MAX {
            self.waiting.remove(0);
        }
        let timeout = self.config.timeout;
        self.waiting.retain(|waiting| now - waiting.t1 <= timeout);
        self.waiting.push(Waiting { nonce, t1: now });
        self.burst_left = self.burst_left.saturating_sub(1);
        let pause = if self.burst_left > 0 { self.config.burst_spacing } else { self.config.interval };
        // Up to 6 % early, by the nonce: a thousand platforms that woke together must not keep asking together.
        let early = Span::from_ns(pause.ns() / 16 * (nonce >> 48) as i64 / 65_536);
        self.next = Some(now + pause - early);
        Some(len)
    }

    /// Takes a datagram from the node that arrived at `received`, a stamp that may be `stamp_error` too early.
    ///
    /// Errors on whatever is not the answer to a waiting request; such a datagram changes nothing.
    pub fn handle_input(
        &mut self,
        received: PlatformTime,
        stamp_error: Span,
        datagram: &[u8],
    ) -> Result<Received, SyncError> {
        let header = packet::Header::parse(datagram)?;
        // First of all: who does not know the nonce is not heard, not even a kiss of death.
        let asked =
            |waiting: &Waiting| waiting.nonce == header.origin.0 && received - waiting.t1 <= self.config.timeout;
        let index = self.waiting.iter().position(asked).ok_or(PacketError::NotAsked)?;
        let answer = Answer::parse(datagram)?;
        if answer.circle.is_none() && !self.config.strangers {
            return Err(SyncError::Stranger);
        }
        let t1 = self.waiting.remove(index).t1;
        let (t2, t3) = answer.stamps(self.config.tai_minus_utc);
        if t3 < t2 || received < t1 {
            return Err(SyncError::Backwards);
        }
        let clock_id = answer.circle.map_or(0, |circle| circle.clock_id);
        self.node_bound = answer.source_bound();
        let exchange = Exchange { t1, t2, t3, t4: received, stamp_error };
        let another = self.clock_id.is_some_and(|known| known != clock_id);
        if another {
            self.reset();
        }
        self.clock_id = Some(clock_id);
        let (reset, step) = self.take(exchange);
        Ok(Received {
            exchange,
            clock_id,
            node_bound: self.node_bound,
            reset: another.then_some(Reset::AnotherClock).or(reset),
            step,
        })
    }

    /// Uses an exchange that was made by other means, such as a recorded one. Returns why everything before was
    /// forgotten, if it was, and by how much the clock was stepped.
    pub fn take(&mut self, exchange: Exchange) -> (Option<Reset>, Span) {
        let holdover = self.servo.clock().state_at(exchange.t4) == LockState::Holdover;
        let contradiction = self.filter.push(exchange) == Verdict::Contradiction;
        if contradiction {
            self.servo.unlock();
            self.used = 0;
        }
        if contradiction || holdover {
            self.burst_left = self.config.burst;
        }
        let mut step = Span::ZERO;
        if let Some(estimate) = self.filter.estimate() {
            step = self.servo.follow(&estimate, self.config.expected_wander * 1e9);
            self.used += 1;
            if self.used >= self.config.lock_after {
                self.servo.lock();
            }
        }
        (contradiction.then_some(Reset::Contradiction), step)
    }

    /// The clock as it stands: copy it to whoever needs the time.
    pub fn clock(&self) -> DisciplinedClock {
        self.servo.clock()
    }

    /// Which clock answers; `None` before the first answer, 0 for a stranger's.
    pub fn clock_id(&self) -> Option<u64> {
        self.clock_id
    }

    /// How wrong the node's own time may be against its source, as it last said.
    pub fn node_bound(&self) -> Span {
        self.node_bound
    }

    /// How this session behaves.
    pub fn config(&self) -> &SyncConfig {
        &self.config
    }

    /// Forgets everything but the loop: a new burst begins at once. For a platform whose own clock has been stepped or
    /// has stood still (a suspend), and for a change of node. Answers still under way are refused.
    pub fn reset(&mut self) {
        self.filter.reset();
        self.servo.reset();
        self.waiting.clear();
        self.burst_left = self.config.burst;
        self.next = None;
        self.used = 0;
        self.clock_id = None;
    }

    /// A number that nobody can guess who does not know the seed.
    fn nonce(&mut self) -> u64 {
        self.requests += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.requests.to_be_bytes());
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&hash.finalize()[..8]);
        u64::from_be_bytes(nonce)
    }
}
