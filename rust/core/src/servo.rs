//! A clock that follows the estimates without ever hurting anybody's ears.
//!
//! Setting the clock to each new estimate would jump, and a jump is a click. So the disciplined clock is a line over
//! platform time with a gentle bend: the estimated rate, plus a correction of at most 500 ppm until the error is made
//! good. At 40 Hz that bends a beat by 0.02 Hz. It never jumps while it is locked, and as all slopes are positive it never
//! runs backwards. Steps are for clocks that nobody listens to yet, and there only for errors too large to slew.
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

    /// From now on, no steps. Without an estimate it means nothing.
    pub fn lock(&mut self) {
        if self.clock.state != LockState::Unsynchronised {
            self.clock.state = LockState::Locked;
        }
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
