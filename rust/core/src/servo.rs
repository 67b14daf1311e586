//! A clock that follows the estimates without ever hurting anybody's ears.
//!
//! Setting the clock to each new estimate would jump, and a jump is a click. So the disciplined clock is a line over
//! platform time with a gentle bend: the estimated rate, plus a correction of at most 500 ppm until the error is made
//! good. At 40 Hz that bends a beat by 0.02 Hz. It never jumps while it is locked, and as all slopes are positive it
//! never runs backwards. Steps are for clocks that nobody listens to yet, and there only for errors too large to slew.
//!
//! A bend begins a little in the future ([`ServoConfig::lead`]): whoever renders ahead has already asked the clock for
//! instants to come, and the answer must not change under their feet. So a clock is two pieces, before and after.
//!
//! All of it is integer arithmetic: nanoseconds with 32 fractional bits, rates in units of 2⁻⁴⁸.
use crate::filter::{Certified, Estimate};
use crate::units::{NodeTime, PlatformTime, Span};

const RATE_BITS: u32 = 48;
const FRACTION_BITS: u32 = 32;
const RATE_UNITS_PER_PPB: f64 = (1u64 << RATE_BITS) as f64 / 1e9;

/// What a clock's reading is worth. Numbers as in `harmonia.v1.LockState`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LockState {
    /// No exchange yet: a reading means nothing.
    Unsynchronised = 1,
    /// Exchanges are under way; the clock may still step.
    Acquiring = 2,
    /// Slewing only.
    Locked = 3,
    /// No exchange for a while; the bound grows.
    Holdover = 4,
}

/// How the servo behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServoConfig {
    /// Largest correction beyond the estimated rate, parts per billion.
    pub max_slew_ppb: i64,
    /// An error is to be made good within this time, if `max_slew_ppb` allows it.
    pub horizon: Span,
    /// Errors up to this are slewed while acquiring too; larger ones are stepped.
    pub step_threshold: Span,
    /// How long after an exchange its correction begins.
    pub lead: Span,
    /// Without an exchange for this long, a locked clock is in holdover.
    pub holdover_after: Span,
}

/// What a disciplined clock says at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// What the reading is worth.
    pub state: LockState,
    /// The instant asked for.
    pub platform: PlatformTime,
    /// The node's time then, as this clock has it.
    pub node: NodeTime,
    /// The node's time is certainly not before this, whatever the path's asymmetry.
    pub earliest: NodeTime,
    /// The node's time is certainly not after this.
    pub latest: NodeTime,
    /// Expected error: 99 % lie within it if the path's delay floors are symmetric.
    pub uncertainty: Span,
    /// Estimated rate of node time against platform time, parts per billion; without the servo's correction.
    pub rate_ppb: i64,
}

impl Reading {
    /// The largest possible error of `node`.
    pub fn bound(&self) -> Span {
        (self.node - self.earliest).max(self.latest - self.node).max(Span::ZERO)
    }
}

/// One piece: a line from `at`, with a correction for its first `slew_ns` nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    at: PlatformTime,
    /// Node − platform at `at`, in 2⁻³² ns.
    offset: i128,
    /// 2⁻⁴⁸.
    rate: i64,
    /// 2⁻⁴⁸.
    slew: i64,
    slew_ns: i64,
}

impl Piece {
    const fn flat(at: PlatformTime) -> Self {
        Self { at, offset: 0, rate: 0, slew: 0, slew_ns: 0 }
    }

    /// Node − platform at `t`, in 2⁻³² ns.
    fn offset_at(&self, t: PlatformTime) -> i128 {
        let since = i128::from(t.ns()) - i128::from(self.at.ns());
        let slewed = since.clamp(0, i128::from(self.slew_ns));
        self.offset + ((i128::from(self.rate) * since + i128::from(self.slew) * slewed) >> (RATE_BITS - FRACTION_BITS))
    }

    /// Node time at `t`, in 2⁻³² ns.
    fn node_at(&self, t: PlatformTime) -> i128 {
        (i128::from(t.ns()) << FRACTION_BITS) + self.offset_at(t)
    }

    /// The platform instant at which this piece shows `node` (2⁻³² ns), rounded down.
    fn platform_at(&self, node: i128) -> PlatformTime {
        let knee = self.at + Span::from_ns(self.slew_ns);
        let begin = self.node_at(self.at);
        let end = self.node_at(knee);
        let (from, value, rate) = if node >= end {
            (knee, end, self.rate)
        } else if node >= begin {
            (self.at, begin, self.rate + self.slew)
        } else {
            (self.at, begin, self.rate)
        };
        let distance = (node - value) >> FRACTION_BITS; // whole ns of node time
        let slope = (1i128 << RATE_BITS) + i128::from(rate);
        // distance·2⁴⁸ would overflow only for spans of centuries; saturate those.
        let ns = distance.clamp(-(1 << 62), 1 << 62).saturating_mul(1 << RATE_BITS).div_euclid(slope);
        from + Span::from_ns(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

/// Node time as a function of platform time: a small value to copy into any thread. Reading it is realtime-safe.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DisciplinedClock {
    state: LockState,
    before: Piece,
    after: Piece,
    holdover_from: PlatformTime,
    certified: Option<Certified>,
    uncertainty_at: PlatformTime,
    uncertainty_ns: f64,
    uncertainty_rate_ppb: f64,
    wander_ppb: f64,
}

impl DisciplinedClock {
    /// A clock that knows nothing: it shows platform time and certifies nothing.
    pub const fn unsynchronised() -> Self {
        let nowhere = Piece::flat(PlatformTime::from_ns(0));
        Self {
            state: LockState::Unsynchronised,
            before: nowhere,
            after: nowhere,
            holdover_from: PlatformTime::from_ns(i64::MAX),
            certified: None,
            uncertainty_at: PlatformTime::from_ns(0),
            uncertainty_ns: f64::INFINITY,
            uncertainty_rate_ppb: 0.0,
            wander_ppb: 0.0,
        }
    }

    fn piece_at(&self, t: PlatformTime) -> &Piece {
        if t < self.after.at {
            &self.before
        } else {
            &self.after
        }
    }

    /// What a reading at `t` is worth. Realtime-safe.
    pub fn state_at(&self, t: PlatformTime) -> LockState {
        match self.state {
            LockState::Locked if t >= self.holdover_from => LockState::Holdover,
            state => state,
        }
    }

    /// Everything that this clock says at `t`. Before the first exchange the interval is all of time. Realtime-safe.
    pub fn read(&self, t: PlatformTime) -> Reading {
        let (earliest, latest) = match &self.certified {
            Some(certified) => certified.interval_at(t),
            None => (NodeTime::from_ns(i64::MIN), NodeTime::from_ns(i64::MAX)),
        };
        let dt = (t - self.uncertainty_at).abs().as_s_f64();
        let likely = self.uncertainty_ns + self.uncertainty_rate_ppb * dt + self.wander_ppb * (dt * dt * dt).sqrt();
        // What the servo has not yet made good is a known error; what is certain limits what is likely.
        let node = self.node_at(t);
        let most = (node - earliest).max(latest - node).max(Span::ZERO);
        Reading {
            state: self.state_at(t),
            platform: t,
            node,
            earliest,
            latest,
            uncertainty: Span::from_ns(likely.ceil() as i64).min(most),
            rate_ppb: self.rate_ppb_at(t),
        }
    }

    /// Estimated rate of node time against platform time at `t`, parts per billion. Realtime-safe.
    pub fn rate_ppb_at(&self, t: PlatformTime) -> i64 {
        (self.piece_at(t).rate as f64 / RATE_UNITS_PER_PPB).round() as i64
    }

    /// Node time at `t`. Never decreases with `t`. Realtime-safe.
    pub fn node_at(&self, t: PlatformTime) -> NodeTime {
        self.node_fine(t).0
    }

    /// Node time at `t`, and 2⁻³² ns beyond it, for samples that fall between nanoseconds. Realtime-safe.
    pub fn node_fine(&self, t: PlatformTime) -> (NodeTime, u32) {
        let node = self.piece_at(t).node_at(t);
        let ns = (node >> FRACTION_BITS).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        (NodeTime::from_ns(ns), node as u32)
    }

    /// The platform instant at which this clock shows `node`, to 1 ns. Realtime-safe.
    pub fn platform_at(&self, node: NodeTime) -> PlatformTime {
        let fine = i128::from(node.ns()) << FRACTION_BITS;
        let piece = if fine < self.after.node_at(self.after.at) { &self.before } else { &self.after };
        piece.platform_at(fine)
    }

    /// The correction in force at `t` beyond the estimated rate, parts per billion. Realtime-safe.
    pub fn slew_ppb_at(&self, t: PlatformTime) -> i64 {
        let piece = self.piece_at(t);
        let within = t >= piece.at && t < piece.at + Span::from_ns(piece.slew_ns);
        if within {
            (piece.slew as f64 / RATE_UNITS_PER_PPB).round() as i64
        } else {
            0
        }
    }
}

/// Leads a [`DisciplinedClock`] after the estimates.
#[derive(Clone, Debug)]
pub struct Servo {
    config: ServoConfig,
    clock: DisciplinedClock,
    promised: PlatformTime,
}

impl Servo {
    /// A servo whose clock knows nothing yet.
    pub fn new(config: ServoConfig) -> Self {
        Self { config, clock: DisciplinedClock::unsynchronised(), promised: PlatformTime::from_ns(i64::MIN) }
    }

    /// The clock as it stands.
    pub fn clock(&self) -> DisciplinedClock {
        self.clock
    }

    /// Forgets everything: the next estimate sets the clock.
    pub fn reset(&mut self) {
        self.clock = DisciplinedClock::unsynchronised();
        self.promised = PlatformTime::from_ns(i64::MIN);
    }

    /// Allows steps again; the clock goes on as it is until the next estimate.
    pub fn unlock(&mut self) {
        if self.clock.state != LockState::Unsynchronised {
            self.clock.state = LockState::Acquiring;
        }
    }

    /// Nothing that was known is certain any more, as the platform's own clock stood still: steps are allowed again, and
    /// the clock goes on along its line until the next estimate, which it does not certify.
    pub fn forget(&mut self) {
        self.unlock();
        self.clock.certified = None;
        self.clock.uncertainty_ns = f64::INFINITY;
    }

    /// From now on, no steps. Without an estimate it means nothing.
    pub fn lock(&mut self) {
        if self.clock.state != LockState::Unsynchronised {
            self.clock.state = LockState::Locked;
        }
    }

    /// Nobody is to be believed at `now`: a locked clock is in holdover from now on, until the next estimate.
    pub fn hold(&mut self, now: PlatformTime) {
        self.clock.holdover_from = self.clock.holdover_from.min(now);
    }

    /// Somebody has already been told the time up to `until`: no correction will begin before.
    pub fn promise(&mut self, until: PlatformTime) {
        self.promised = self.promised.max(until);
    }

    /// Follows `estimate`: bends the clock towards it, or sets the clock if it is not locked and far off.
    ///
    /// Returns the step, zero if there was none. While a bend is still to begin the clock's course is spoken for, and
    /// a further estimate bends nothing: the next one will.
    pub fn follow(&mut self, estimate: &Estimate) -> Span {
        let clock = &mut self.clock;
        let first = clock.state == LockState::Unsynchronised;
        let at = (estimate.at + self.config.lead).max(self.promised);
        let rate = (estimate.rate_ppb * RATE_UNITS_PER_PPB) as i64;
        let within = estimate.offset_ns + estimate.rate_ppb * (at - estimate.at).as_s_f64();
        let target =
            (i128::from(estimate.base_ns) << FRACTION_BITS) + (within * (1u64 << FRACTION_BITS) as f64) as i128;
        let here = clock.piece_at(at).offset_at(at);
        let error = target - here;
        let threshold = i128::from(self.config.step_threshold.ns()) << FRACTION_BITS;
        let mut stepped = Span::ZERO;
        if first || (clock.state == LockState::Acquiring && error.abs() > threshold) {
            // Nobody listens yet: the line holds for all time, the past too.
            clock.after = Piece { at, offset: target, rate, slew: 0, slew_ns: 0 };
            clock.before = clock.after;
            stepped = Span::from_ns((error >> FRACTION_BITS).clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        } else if estimate.at >= clock.after.at {
            let (slew, slew_ns) = self.config.bend(error);
            clock.before = clock.after;
            clock.after = Piece { at, offset: here, rate, slew, slew_ns };
        }
        if first {
            clock.state = LockState::Acquiring;
        }
        clock.holdover_from = estimate.at + self.config.holdover_after;
        clock.certified = Some(estimate.certified);
        clock.uncertainty_at = estimate.at;
        clock.uncertainty_ns = estimate.uncertainty_ns;
        clock.uncertainty_rate_ppb = estimate.uncertainty_rate_ppb;
        clock.wander_ppb = estimate.wander_ppb;
        stepped
    }
}

impl ServoConfig {
    /// The correction (2⁻⁴⁸) and for how many ns it lasts, to make `error` (2⁻³² ns) good.
    fn bend(&self, error: i128) -> (i64, i64) {
        let horizon = i128::from(self.horizon.ns().max(1));
        let most = (self.max_slew_ppb as f64 * RATE_UNITS_PER_PPB) as i128;
        let error = error << (RATE_BITS - FRACTION_BITS);
        let slew = (error / horizon).clamp(-most, most);
        if slew == 0 {
            return (0, 0);
        }
        (slew as i64, (error / slew).clamp(0, i64::MAX.into()) as i64)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::filter::{Exchange, Filter, FilterConfig};
    use proptest::prelude::*;

    const CONFIG: ServoConfig = ServoConfig {
        max_slew_ppb: 499_000,
        horizon: Span::from_s(1),
        step_threshold: Span::from_ms(1),
        lead: Span::from_ms(20),
        holdover_after: Span::from_s(5),
    };
    const FILTER: FilterConfig =
        FilterConfig { max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 100_000, expected_wander: 3e-9 };

    /// Some certificate: the servo only passes it on.
    fn certified() -> Certified {
        let zero = NodeTime::from_ns(0);
        let (t1, t4) = (PlatformTime::from_ns(0), PlatformTime::from_ns(1000));
        let mut filter = Filter::new(FILTER);
        filter.push(Exchange { t1, t2: zero, t3: zero, t4, stamp_error: Span::ZERO });
        filter.estimate().unwrap().certified
    }

    fn estimate(at_ns: i64, base_ns: i64, offset_ns: f64, rate_ppb: f64) -> Estimate {
        Estimate {
            at: PlatformTime::from_ns(at_ns),
            base_ns,
            offset_ns,
            rate_ppb,
            uncertainty_ns: 1000.0,
            uncertainty_rate_ppb: 10.0,
            wander_ppb: 1.0,
            certified: certified(),
        }
    }

    fn fine(clock: &DisciplinedClock, at: i64) -> i128 {
        let (node, fraction) = clock.node_fine(PlatformTime::from_ns(at));
        (i128::from(node.ns()) << 32) + i128::from(fraction)
    }

    prop_compose! {
        /// A locked servo, and estimates that would make it jump.
        fn history()(start in -1_000_000_000_000_000i64..1_000_000_000_000_000,
                     base in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000,
                     steps in prop::collection::vec((1i64..2_000_000_000, -1e8..1e8f64, -5e5..5e5f64), 1..12))
                     -> (i64, Servo, Vec<Estimate>) {
            let mut servo = Servo::new(CONFIG);
            servo.follow(&estimate(start, base, 0.0, 0.0));
            servo.lock();
            let mut at = start;
            let estimates = steps.into_iter().map(|(gap, offset, rate)| {
                at += gap;
                estimate(at, base, offset, rate)
            });
            (start, servo, estimates.collect())
        }
    }

    proptest! {
        #[test]
        fn the_first_estimate_is_taken_as_it_is(at: i32,
                                                base in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000,
                                                offset in -1e9..1e9f64, rate in -5e5..5e5f64) {
            let mut servo = Servo::new(CONFIG);
            let at = i64::from(at);
            servo.follow(&estimate(at, base, offset, rate));
            let clock = servo.clock();
            let shown = clock.node_at(PlatformTime::from_ns(at)).ns() - at - base;
            prop_assert!((shown as f64 - offset).abs() < 2.0, "{} {}", shown, offset);
            let shown = clock.rate_ppb_at(PlatformTime::from_ns(at)) as f64;
            prop_assert!((shown - rate).abs() <= 0.51, "{} {}", shown, rate);
        }

        #[test]
        fn a_locked_clock_neither_jumps_nor_reverses_nor_hurries((start, mut servo, estimates) in history()) {
            let mut read_until = start;
            for next in estimates {
                let before = servo.clock();
                prop_assert_eq!(servo.follow(&next), Span::ZERO);
                let after = servo.clock();
                // Nothing that has been asked changes: the past, back to the last correction, and `lead` ahead of now.
                for at in [read_until, next.at.ns(), next.at.ns() + CONFIG.lead.ns()] {
                    let moved = fine(&after, at) - fine(&before, at);
                    let forgotten = at < next.at.ns() && at < before.after.at.ns();
                    prop_assert!(forgotten || moved == 0, "moved by {} at {}", moved, at);
                }
                read_until = next.at.ns();
                for step in 0..40 {
                    let (from, to) = (read_until + step * 50_000_000, read_until + (step + 1) * 50_000_000);
                    let slope = ((fine(&after, to) - fine(&after, from)) as f64 / 4_294_967_296.0 / 5e7 - 1.0) * 1e9;
                    let rates = [from, to].map(|at| after.rate_ppb_at(PlatformTime::from_ns(at)) as f64);
                    let (low, high) = (rates[0].min(rates[1]) - 500_000.0, rates[0].max(rates[1]) + 500_000.0);
                    prop_assert!((low..=high).contains(&slope), "{} not in {}..={}", slope, low, high);
                }
            }
        }

        #[test]
        fn an_error_is_made_good_and_then_the_correction_ends(error in -400_000.0..400_000.0f64, rate in -5e5..5e5f64) {
            let mut servo = Servo::new(CONFIG);
            servo.follow(&estimate(0, 7, 0.0, rate));
            servo.lock();
            let gained = rate; // in the second until the next exchange
            servo.follow(&estimate(1_000_000_000, 7, gained + error, rate));
            let clock = servo.clock();
            let done = PlatformTime::from_ns(2_100_000_000);
            let expected = 7.0 + gained + error + rate * 1.1;
            let shown = (clock.node_at(done).ns() - done.ns()) as f64;
            prop_assert!((shown - expected).abs() < 3.0, "{} {}", shown, expected);
            prop_assert_eq!(clock.slew_ppb_at(done), 0);
        }

        #[test]
        fn the_inverse_leads_back((start, mut servo, estimates) in history(), ahead in 0i64..3_000_000_000) {
            for next in estimates {
                servo.follow(&next);
                let clock = servo.clock();
                for t in [next.at.ns() + ahead, next.at.ns() - ahead, start] {
                    let t = PlatformTime::from_ns(t);
                    let back = clock.platform_at(clock.node_at(t));
                    prop_assert!((back - t).abs() <= Span::from_ns(2), "{:?} {:?}", t, back);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_was_never_set_certifies_nothing() {
        let reading = Servo::new(CONFIG).clock().read(PlatformTime::from_ns(5));
        assert_eq!(reading.state, LockState::Unsynchronised);
        assert_eq!((reading.earliest.ns(), reading.latest.ns()), (i64::MIN, i64::MAX));
        assert_eq!(reading.bound().ns(), i64::MAX);
    }

    #[test]
    fn steps_end_with_the_lock_and_return_with_the_unlock() {
        let mut servo = Servo::new(CONFIG);
        servo.lock();
        assert_eq!(servo.clock().state_at(PlatformTime::from_ns(0)), LockState::Unsynchronised);
        servo.follow(&estimate(0, 0, 0.0, 0.0));
        let far = |at| estimate(at, 0, 50e6, 0.0);
        assert_eq!(servo.follow(&far(1_000_000_000)).ns(), 50_000_000);
        servo.follow(&estimate(2_000_000_000, 0, 0.0, 0.0));
        servo.lock();
        assert_eq!(servo.follow(&far(3_000_000_000)), Span::ZERO);
        servo.unlock();
        assert!(servo.follow(&far(4_000_000_000)).ns() > 49_000_000);
    }

    #[test]
    fn a_lock_without_exchanges_becomes_holdover() {
        let mut servo = Servo::new(CONFIG);
        servo.follow(&estimate(0, 0, 0.0, 0.0));
        let state = |servo: &Servo, s: i64| servo.clock().state_at(PlatformTime::from_ns(s * 1_000_000_000));
        assert_eq!(state(&servo, 9), LockState::Acquiring);
        servo.lock();
        assert_eq!([state(&servo, 4), state(&servo, 5)], [LockState::Locked, LockState::Holdover]);
        servo.follow(&estimate(9_000_000_000, 0, 0.0, 0.0));
        assert_eq!(state(&servo, 9), LockState::Locked);
    }

    #[test]
    fn a_promise_delays_the_correction() {
        let mut servo = Servo::new(CONFIG);
        servo.follow(&estimate(0, 0, 0.0, 0.0));
        servo.lock();
        servo.promise(PlatformTime::from_ns(2_000_000_000));
        servo.follow(&estimate(1_000_000_000, 0, 1e5, 0.0));
        let slew = |ns| servo.clock().slew_ppb_at(PlatformTime::from_ns(ns));
        assert_eq!([slew(1_999_999_999), slew(2_000_000_000)], [0, 100_000]);
    }
}
