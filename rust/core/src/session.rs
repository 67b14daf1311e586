//! A platform's conversation with a node about the time.
//!
//! **The loop, in one sentence:** give it every datagram from the node ([`SyncSession::handle_input`]), send what
//! [`SyncSession::poll_transmit`] returns until it returns `None`, and come back at [`SyncSession::poll_timeout`] or
//! with the next datagram, whichever is first.
//!
//! There is no clock and no socket inside: all time is an argument, so the same code runs over sockets in a platform
//! and in a simulated night. A session opens with a burst, so that a sleeper who has just lain down is in time within
//! two seconds, and then asks once in a while for ever. Whatever is lost is not waited for: requests leave by the
//! clock, not by the answers.
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::filter::{Estimate, Exchange, Filter, FilterConfig, Verdict};
use crate::packet::{self, Answer, PacketError};
use crate::servo::{DisciplinedClock, LockState, Servo, ServoConfig};
use crate::stated::Stated;
use crate::units::{PlatformTime, Span};

/// Requests that can wait for answers at once: more than a burst with a second of round trip has in flight.
const WAITING_MAX: usize = 16;

/// Intervals of silence after a server has asked for it.
const KISS_PAUSE: i64 = 16;

/// How much longer than before a machine must have slept to have slept again. Two clocks are read one after the other.
pub const SUSPEND_MIN: Span = Span::from_ms(5);

/// The stratum of a clock that nobody has set.
pub const STRATUM_UNKNOWN: u8 = 16;

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
    /// A request a second after a burst of eight; drift and wander as [`Stated::default`] has them.
    fn default() -> Self {
        let Stated { max_drift_ppb, max_wander } = Stated::default();
        Self {
            interval: Span::from_s(1),
            burst: 8,
            burst_spacing: Span::from_ms(150),
            timeout: Span::from_s(2),
            lock_after: 6,
            max_drift_ppb,
            max_wander,
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

impl SyncConfig {
    /// The same with these limits of the two clocks.
    pub const fn with(self, stated: Stated) -> Self {
        Self { max_drift_ppb: stated.max_drift_ppb, max_wander: stated.max_wander, ..self }
    }

    /// The limits of the two clocks on which the certificate rests.
    pub const fn stated(&self) -> Stated {
        Stated { max_drift_ppb: self.max_drift_ppb, max_wander: self.max_wander }
    }

    /// How the servo of such a session behaves.
    pub const fn servo(&self) -> ServoConfig {
        ServoConfig {
            max_slew_ppb: self.max_slew_ppb,
            horizon: self.interval,
            step_threshold: Span::from_ms(2),
            lead: self.lead,
            holdover_after: self.holdover_after,
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
    stratum: u8,
    refid: u32,
    asleep: Option<Span>,
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
        Self {
            config,
            filter: Filter::new(filter),
            servo: Servo::new(config.servo()),
            seed,
            requests: 0,
            waiting: Vec::with_capacity(WAITING_MAX),
            burst_left: config.burst,
            next: None,
            used: 0,
            clock_id: None,
            node_bound: Span::ZERO,
            stratum: STRATUM_UNKNOWN,
            refid: 0,
            asleep: None,
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
        let answer = Answer::parse(datagram);
        if let Err(PacketError::Kiss(_)) = answer {
            self.burst_left = 0;
            self.next = Some(received + Span::from_ns(self.config.interval.ns().saturating_mul(KISS_PAUSE)));
        }
        let answer = answer?;
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
        (self.stratum, self.refid) = (answer.header.stratum, answer.header.refid);
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
            step = self.servo.follow(&estimate);
            self.used += 1;
            if self.used >= self.config.lock_after {
                self.servo.lock();
            }
        }
        (contradiction.then_some(Reset::Contradiction), step)
    }

    /// Somebody who renders ahead has asked the clock for instants up to `until`, further ahead than
    /// [`SyncConfig::lead`]: no correction will begin before.
    pub fn promise(&mut self, until: PlatformTime) {
        self.servo.promise(until);
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

    /// The node's stratum, as it last said; 16 before the first answer.
    pub fn stratum(&self) -> u8 {
        self.stratum
    }

    /// What the node follows, as it last said: an address or four letters.
    pub fn refid(&self) -> u32 {
        self.refid
    }

    /// What the exchanges say of the node's clock; `None` before the first.
    pub fn estimate(&self) -> Option<Estimate> {
        self.filter.estimate()
    }

    /// How this session behaves.
    pub fn config(&self) -> &SyncConfig {
        &self.config
    }

    /// The platform's machine has been suspended for `asleep` in all, since whenever. Say so before everything else: a
    /// request that left before a suspend and its answer after it speak of two different relations of the clocks.
    ///
    /// Returns for how long it was suspended since the last call, if it was. The platform's clock stood still for about
    /// that long, known only as well as some machines' clocks of whole seconds; so nothing is certain until the next
    /// answer. The clock goes on along its line, unlocked, for whoever fades out by it; a new burst begins at once, and
    /// the first answer may step it.
    pub fn note_asleep(&mut self, asleep: Span) -> Option<Span> {
        let slept = asleep - *self.asleep.get_or_insert(asleep);
        if slept.abs() < SUSPEND_MIN {
            return None;
        }
        self.asleep = Some(asleep);
        self.servo.forget();
        self.begin_anew();
        Some(slept)
    }

    /// Forgets everything but the loop: a new burst begins at once. For a platform whose own clock has been stepped,
    /// and for a change of node. Answers still under way are refused.
    pub fn reset(&mut self) {
        self.servo.reset();
        self.begin_anew();
        self.clock_id = None;
        (self.stratum, self.refid) = (STRATUM_UNKNOWN, 0);
    }

    fn begin_anew(&mut self) {
        self.filter.reset();
        self.waiting.clear();
        self.burst_left = self.config.burst;
        self.next = None;
        self.used = 0;
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

#[cfg(test)]
mod laws {
    use super::*;
    use crate::packet::{respond, NodeInfo, CIRCLE_PACKET_LEN};
    use crate::units::NodeTime;
    use proptest::prelude::*;

    const fn ms(ms: i64) -> PlatformTime {
        PlatformTime::from_ns(ms * 1_000_000)
    }

    fn ask(session: &mut SyncSession, now: PlatformTime) -> Option<Vec<u8>> {
        let mut out = [0; CIRCLE_PACKET_LEN];
        session.poll_transmit(now, &mut out).map(|len| out[..len].to_vec())
    }

    /// A node that is 5 s ahead and takes 0.1 ms each way.
    fn answer(request: &[u8], info: &NodeInfo, asked: PlatformTime) -> (PlatformTime, Vec<u8>) {
        let mut out = [0; CIRCLE_PACKET_LEN];
        let at = NodeTime::from_ns(asked.ns()) + Span::from_s(5) + Span::from_us(100);
        let len = respond(request, at, at, info, &mut out).unwrap();
        (asked + Span::from_us(200), out[..len].to_vec())
    }

    fn exchange(session: &mut SyncSession, now: PlatformTime) -> Result<Received, SyncError> {
        let request = ask(session, now).expect("a request is due");
        let (received, bytes) = answer(&request, &NodeInfo::root(1), now);
        session.handle_input(received, Span::ZERO, &bytes)
    }

    #[test]
    fn an_answer_is_used_once() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        let request = ask(&mut session, ms(0)).unwrap();
        let (received, bytes) = answer(&request, &NodeInfo::root(1), ms(0));
        let used = session.handle_input(received, Span::ZERO, &bytes).unwrap();
        assert_eq!((used.clock_id, used.exchange.round_trip()), (1, Span::from_us(200)));
        assert_eq!(session.clock().node_at(ms(0)).ns() / 1000, 5_000_000);
        let repeated = session.handle_input(received, Span::ZERO, &bytes);
        assert_eq!(repeated, Err(PacketError::NotAsked.into()));
    }

    proptest! {
        #[test]
        fn an_answer_to_another_request_is_refused(nonce: u64, seed: u64) {
            let mut session = SyncSession::new(SyncConfig::default(), seed);
            let mut request = ask(&mut session, ms(0)).unwrap();
            request[40..48].copy_from_slice(&nonce.to_be_bytes());
            let (received, bytes) = answer(&request, &NodeInfo::root(1), ms(0));
            let clock = session.clock();
            prop_assert_eq!(session.handle_input(received, Span::ZERO, &bytes), Err(PacketError::NotAsked.into()));
            prop_assert_eq!(session.clock(), clock);
        }

        #[test]
        fn what_is_malformed_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..130), nonce: bool) {
            let mut session = SyncSession::new(SyncConfig::default(), 1);
            let request = ask(&mut session, ms(0)).unwrap();
            let mut bytes = bytes;
            if nonce && bytes.len() >= 48 { bytes[24..32].copy_from_slice(&request[40..48]); }
            if session.handle_input(ms(1), Span::ZERO, &bytes).is_err() {
                prop_assert_eq!(session.clock(), DisciplinedClock::unsynchronised());
            }
        }
    }

    #[test]
    fn a_late_answer_is_refused() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        let request = ask(&mut session, ms(0)).unwrap();
        let (_, bytes) = answer(&request, &NodeInfo::root(1), ms(0));
        let late = session.handle_input(ms(2001), Span::ZERO, &bytes);
        assert_eq!(late, Err(PacketError::NotAsked.into()));
    }

    #[test]
    fn it_opens_with_a_burst_and_goes_on_by_the_second() {
        let config = SyncConfig::default();
        let mut session = SyncSession::new(config, 1);
        assert_eq!(session.poll_timeout().ns(), i64::MIN);
        let (mut now, mut gaps) = (ms(0), Vec::new());
        for _ in 0..20 {
            assert!(ask(&mut session, now).is_some());
            assert!(ask(&mut session, now).is_none(), "one request a wake-up");
            gaps.push((session.poll_timeout() - now).ns() / 1_000_000);
            now = session.poll_timeout();
        }
        let (burst, rest) = gaps.split_at(config.burst as usize - 1);
        assert!(burst.iter().all(|gap| (140..=150).contains(gap)), "{burst:?}");
        assert!(rest.iter().all(|gap| (937..=1000).contains(gap)), "{rest:?}");
    }

    #[test]
    fn nonces_differ_and_depend_on_the_seed() {
        let nonces = |seed| {
            let mut session = SyncSession::new(SyncConfig::default(), seed);
            (0..100).map(|i| ask(&mut session, ms(i * 2000)).unwrap()[40..48].to_vec()).collect::<Vec<_>>()
        };
        let all: std::collections::BTreeSet<_> = [nonces(1), nonces(2)].concat().into_iter().collect();
        assert_eq!(all.len(), 200);
        assert_eq!(nonces(1), nonces(1));
    }

    #[test]
    fn it_locks_after_enough_exchanges_and_not_before() {
        let config = SyncConfig::default();
        let mut session = SyncSession::new(config, 1);
        for i in 1..=config.lock_after {
            exchange(&mut session, ms(i64::from(i) * 200)).unwrap();
            let expected = if i < config.lock_after { LockState::Acquiring } else { LockState::Locked };
            assert_eq!(session.clock().state_at(ms(i64::from(i) * 200)), expected);
        }
    }

    #[test]
    fn another_clock_begins_anew_even_if_it_agrees() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        for i in 0..10 {
            exchange(&mut session, ms(i * 1000)).unwrap();
        }
        assert_eq!(session.clock().state_at(ms(9001)), LockState::Locked);
        let request = ask(&mut session, ms(10_000)).unwrap();
        let (received, bytes) = answer(&request, &NodeInfo::root(2), ms(10_000));
        let used = session.handle_input(received, Span::ZERO, &bytes).unwrap();
        assert_eq!((used.reset, session.clock_id()), (Some(Reset::AnotherClock), Some(2)));
        assert_eq!(session.clock().state_at(received), LockState::Acquiring);
    }

    #[test]
    fn a_kiss_of_death_is_obeyed_only_from_who_was_asked() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        let request = ask(&mut session, ms(0)).unwrap();
        let kiss = NodeInfo { stratum: 0, refid: u32::from_be_bytes(*b"RATE"), ..NodeInfo::root(1) };
        let (received, bytes) = answer(&request, &kiss, ms(0));
        let mut forged = bytes.clone();
        forged[24] ^= 1;
        assert_eq!(session.handle_input(received, Span::ZERO, &forged), Err(PacketError::NotAsked.into()));
        assert!(session.poll_timeout() < ms(200));
        let refused = session.handle_input(received, Span::ZERO, &bytes);
        assert_eq!(refused, Err(PacketError::Kiss(*b"RATE").into()));
        assert!(session.poll_timeout() > ms(15_000));
    }

    #[test]
    fn a_stranger_is_believed_only_if_allowed() {
        for strangers in [false, true] {
            let mut session = SyncSession::new(SyncConfig { strangers, ..SyncConfig::default() }, 1);
            let now = PlatformTime::from_ns(1_700_000_000_000_000_000);
            let request = ask(&mut session, now).unwrap();
            let (received, bytes) = answer(&request, &NodeInfo::root(1), now);
            let heard = session.handle_input(received, Span::ZERO, &bytes[..48]);
            match heard {
                Ok(used) => assert!(strangers && used.clock_id == 0 && used.exchange.offset() == Span::from_s(5)),
                Err(error) => assert!(!strangers && error == SyncError::Stranger),
            }
        }
    }

    #[test]
    fn stamps_that_run_backwards_are_refused() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        let request = ask(&mut session, ms(0)).unwrap();
        let (received, mut bytes) = answer(&request, &NodeInfo::root(1), ms(0));
        packet::patch_sent(&mut bytes, NodeTime::from_ns(0), Span::ZERO);
        assert_eq!(session.handle_input(received, Span::ZERO, &bytes), Err(SyncError::Backwards));
    }

    proptest! {
        #[test]
        fn after_a_suspend_nothing_is_certain_and_nothing_moves_until_an_answer(
            slept_ns in 5_000_000i64..40_000_000_000_000, known in 0i64..1_000_000_000_000, ahead in 0i64..10_000
        ) {
            let mut session = SyncSession::new(SyncConfig::default(), 1);
            prop_assert_eq!(session.note_asleep(Span::from_ns(known)), None, "what was before the first call");
            for i in 0..10 {
                exchange(&mut session, ms(i * 1000)).unwrap();
            }
            let under_way = ask(&mut session, ms(10_000)).unwrap();
            let before = session.clock();
            prop_assert_eq!(session.note_asleep(Span::from_ns(known + slept_ns)), Some(Span::from_ns(slept_ns)));
            prop_assert_eq!(session.note_asleep(Span::from_ns(known + slept_ns)), None, "told once");
            // What sounds fades out along the line on which it was; that line is worth nothing.
            let at = ms(10_000 + ahead);
            let reading = session.clock().read(at);
            prop_assert_eq!((reading.node, reading.state), (before.node_at(at), LockState::Acquiring));
            prop_assert_eq!((reading.earliest.ns(), reading.latest.ns()), (i64::MIN, i64::MAX));
            // An answer to a request from before is heard after: it would mix both times.
            let (received, bytes) = answer(&under_way, &NodeInfo::root(1), ms(10_000));
            let refused = session.handle_input(received, Span::ZERO, &bytes);
            prop_assert_eq!(refused, Err(PacketError::NotAsked.into()));
            // A burst at once; its first answer is certain, and steps. The node went on meanwhile, the platform did not.
            let request = ask(&mut session, ms(10_001)).expect("a burst begins at once");
            let mut out = [0; CIRCLE_PACKET_LEN];
            let truth = |t: PlatformTime| NodeTime::from_ns(t.ns() + slept_ns) + Span::from_s(5);
            let at = truth(ms(10_001)) + Span::from_us(100);
            let len = respond(&request, at, at, &NodeInfo::root(1), &mut out).unwrap();
            let used = session.handle_input(ms(10_001) + Span::from_us(200), Span::ZERO, &out[..len]).unwrap();
            prop_assert!((used.step.ns() - slept_ns).abs() < 1_000_000, "{:?}", used.step);
            let reading = session.clock().read(ms(10_002));
            prop_assert_eq!(reading.state, LockState::Acquiring);
            prop_assert!(reading.earliest <= truth(ms(10_002)) && truth(ms(10_002)) <= reading.latest);
            prop_assert!(reading.bound() < Span::from_ms(1));
        }
    }

    #[test]
    fn two_clocks_read_one_after_the_other_are_no_suspend() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        exchange(&mut session, ms(0)).unwrap();
        let before = session.clock();
        for late_us in [0, 4_999, -4_999, 1_000, 0] {
            assert_eq!(session.note_asleep(Span::from_s(9) + Span::from_us(late_us)), None);
        }
        assert_eq!(session.clock(), before);
        assert_eq!(session.note_asleep(Span::from_s(9) + Span::from_ms(5)), Some(Span::from_ms(5)));
    }

    #[test]
    fn a_reset_forgets_what_is_under_way() {
        let mut session = SyncSession::new(SyncConfig::default(), 1);
        exchange(&mut session, ms(0)).unwrap();
        let request = ask(&mut session, ms(200)).unwrap();
        session.reset();
        assert_eq!(session.clock(), DisciplinedClock::unsynchronised());
        let (received, bytes) = answer(&request, &NodeInfo::root(1), ms(200));
        assert_eq!(session.handle_input(received, Span::ZERO, &bytes), Err(PacketError::NotAsked.into()));
        assert_eq!(session.poll_timeout().ns(), i64::MIN);
    }
}
