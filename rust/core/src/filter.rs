//! From exchanges to two statements about the offset of two clocks: what is *certain* and what is *likely*.
//!
//! One exchange tells little: the request takes an unknown time up, the answer another one down, and half of the
//! difference between the two is error. Averaging does not help, since queues only ever add delay: the mean of the
//! delays is as lopsided as the traffic. But causality helps. With offset = node − platform,
//!
//! ```text
//! offset(t1) ≤ t2 − t1      the request did not arrive before it left
//! offset(t4) ≥ t3 − t4      nor did the answer
//! ```
//!
//! whatever the path did. A stamp t1 taken too early, or t4 too late, only weakens these: both errors count as delay.
//!
//! **Certain.** Each inequality is a half-plane of (offset, frequency). If the frequency never exceeds a stated largest
//! drift and never changes faster than a stated largest wander w, an inequality of age Δ still holds now, weakened by
//! w·Δ²/2. The half-planes of the window are intersected as a convex polygon; its extent along the offset axis is the
//! certified interval, and its extent along oblique directions is how that interval grows with time. Nothing here
//! depends on the path's symmetry or on the servo. An empty polygon proves that an assumption is broken: the source was
//! stepped, or a clock is worse than stated.
//!
//! **Likely.** If both ways have the same delay floor and queues add exponentially distributed time, the most likely
//! line is the middle of the widest channel of slope b that fits between the upper points and the lower ones (the
//! two-sided lower envelope). The regression that NTP clients use averages over all points and is worse by √n against
//! n. Old points are handicapped by as much as a clock may have wandered since, which makes the window adaptive: where
//! jitter is large, old points still help; where it is small, they drop out.
//!
//! Sources: Marzullo and Owicki 1983 for intervals; Zhang, Liu and Xia 2002 and Paxson 1998 for lines under delay clouds;
//! Sutherland and Hodgman 1974 for clipping.
use std::collections::VecDeque;

use crate::units::{NodeTime, PlatformTime, Span};

/// Exchanges kept: at one a second, the last four minutes.
pub const WINDOW: usize = 256;
/// Stamps are whole nanoseconds, rounded on both sides: an inequality may be short by this much.
const ROUNDING_NS: f64 = 2.0;
const S_PER_NS: f64 = 1e-9;

/// One question and answer between a platform and a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The request left (stamped before it did).
    pub t1: PlatformTime,
    /// The request arrived.
    pub t2: NodeTime,
    /// The answer left.
    pub t3: NodeTime,
    /// The answer arrived.
    pub t4: PlatformTime,
    /// How far the platform's stamps may be off in the harmful direction (t1 late, t4 early).
    pub stamp_error: Span,
}

impl Exchange {
    /// Time on the way, both ways together, by the two clocks' own seconds.
    pub fn round_trip(&self) -> Span {
        (self.t4 - self.t1) - (self.t3 - self.t2)
    }

    /// Node minus platform if both ways took equally long.
    pub fn offset(&self) -> Span {
        let sum = i128::from(self.upper()) + i128::from(self.lower());
        Span::from_ns((sum / 2) as i64)
    }

    fn upper(&self) -> i64 {
        self.t2.ns().saturating_sub(self.t1.ns())
    }

    fn lower(&self) -> i64 {
        self.t3.ns().saturating_sub(self.t4.ns())
    }
}

/// What is assumed of the two clocks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FilterConfig {
    /// Largest frequency difference of the two clocks, parts per billion. The certificate rests on it.
    pub max_drift_ppb: i64,
    /// Largest change of that difference per second, 1/s (1e-7: 0.1 ppm a second). The certificate rests on it.
    pub max_wander: f64,
    /// Expected random walk of the frequency, 1/s for one second (1e-8: 10 ppb after 1 s, 100 ppb after 100 s).
    /// The estimate and its uncertainty rest on it.
    pub expected_wander: f64,
}

/// The certified interval of the offset as a function of platform time. Plain numbers, [`Copy`], realtime-safe.
///
/// The polygon's support is convex in time, so a chord lies above it: three values and a slope bound it for ever.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Certified {
    at: PlatformTime,
    base_ns: i64,
    /// Upper bounds at the knots, and the slope after the last; relative to `base_ns`.
    upper: [f64; 3],
    lower: [f64; 3],
    /// Extent of the frequency, ns/s.
    rate: [f64; 2],
    max_drift: f64,
    max_wander: f64,
}

/// Where the chords of [`Certified`] meet, in seconds after `at`.
const KNOTS_S: [f64; 3] = [0.0, 2.0, 16.0];

/// One side's bound after `dt` seconds: chords between the knots, then the steepest slope.
fn chord(values: [f64; 3], slope: f64, dt: f64) -> f64 {
    if dt <= KNOTS_S[1] {
        values[0] + (values[1] - values[0]) * dt / KNOTS_S[1]
    } else if dt <= KNOTS_S[2] {
        values[1] + (values[2] - values[1]) * (dt - KNOTS_S[1]) / (KNOTS_S[2] - KNOTS_S[1])
    } else {
        values[2] + slope * (dt - KNOTS_S[2])
    }
}

impl Certified {
    /// Smallest and largest possible offset (node − platform) at `t`, in ns. Realtime-safe.
    pub fn offset_at(&self, t: PlatformTime) -> (i64, i64) {
        let dt = (t - self.at).ns() as f64 * S_PER_NS;
        let [slowest, fastest] = self.rate;
        // Backwards the slopes change sides; that happens for the few milliseconds between a stamp and its reading.
        let (mut low, mut high) = if dt < 0.0 {
            (self.lower[0] + fastest * dt, self.upper[0] + slowest * dt)
        } else {
            (chord(self.lower, slowest, dt), chord(self.upper, fastest, dt))
        };
        // Wander widens quadratically, but no frequency exceeds the largest drift.
        let wander = 0.5 * self.max_wander * dt * dt;
        let drift = self.max_drift * dt.abs();
        low = (low - wander).max(self.lower[0] - drift);
        high = (high + wander).min(self.upper[0] + drift);
        let absolute = |ns: f64| (i128::from(self.base_ns) + ns as i128).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        (absolute(low.floor()), absolute(high.ceil()))
    }

    /// Smallest and largest possible node time at `t`. Realtime-safe.
    pub fn interval_at(&self, t: PlatformTime) -> (NodeTime, NodeTime) {
        let (low, high) = self.offset_at(t);
        (NodeTime::from_ns(t.ns().saturating_add(low)), NodeTime::from_ns(t.ns().saturating_add(high)))
    }
}

/// What a window of exchanges says about the offset. [`Copy`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// When it holds: the newest exchange's t4.
    pub at: PlatformTime,
    /// The likely offset (node − platform) is `base_ns + offset_ns`.
    pub base_ns: i64,
    /// See `base_ns`.
    pub offset_ns: f64,
    /// The likely change of the offset, ns/s (parts per billion).
    pub rate_ppb: f64,
    /// 99 % of errors lie within this, in ns, if both ways have the same delay floor.
    pub uncertainty_ns: f64,
    /// How fast that grows without another exchange, ns/s.
    pub uncertainty_rate_ppb: f64,
    /// The certified interval.
    pub certified: Certified,
}

/// What an exchange did to a [`Filter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It agrees with the window.
    Consistent,
    /// No clock within the stated drift and wander agrees with it and the window; the window was dropped.
    Contradiction,
}

/// A window of exchanges and what follows from it. Bounded memory; deterministic.
#[derive(Clone, Debug)]
pub struct Filter {
    config: FilterConfig,
    window: VecDeque<Exchange>,
    scratch: Scratch,
    estimate: Option<Estimate>,
}

/// Working memory, kept so that an exchange allocates nothing.
#[derive(Clone, Debug, Default)]
struct Scratch {
    /// (age in s, upper bound of the offset then, in ns): one a request.
    upper: Vec<(f64, f64)>,
    /// (age in s, lower bound of the offset then, in ns): one an answer.
    lower: Vec<(f64, f64)>,
    polygon: Polygon,
}

impl Filter {
    /// An empty filter.
    pub fn new(config: FilterConfig) -> Self {
        Self { config, window: VecDeque::with_capacity(WINDOW), scratch: Scratch::default(), estimate: None }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.window.clear();
        self.estimate = None;
    }

    /// How many exchanges the window holds.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Whether there has been no exchange yet.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// What the window says, as of its newest exchange; `None` before the first.
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    /// Takes an exchange in. Costs O(window).
    pub fn push(&mut self, exchange: Exchange) -> Verdict {
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(exchange);
        if self.certify() {
            return Verdict::Consistent;
        }
        self.reset();
        self.window.push_back(exchange);
        if !self.certify() {
            // The exchange contradicts itself: the node's clock ran between t2 and t3 as no clock does.
            self.reset();
        }
        Verdict::Contradiction
    }

    /// Computes the estimate from the window; false if the polygon is empty.
    fn certify(&mut self) -> bool {
        let Some(newest) = self.window.back() else { return false };
        let (at, base_ns) = (newest.t4, newest.offset().ns());
        let age = |t: PlatformTime| (at - t).ns() as f64 * S_PER_NS;
        let relative = |ns: i64| (i128::from(ns) - i128::from(base_ns)) as f64;
        let scratch = &mut self.scratch;
        scratch.upper.clear();
        scratch.lower.clear();
        for exchange in self.window.iter().rev() {
            let margin = exchange.stamp_error.ns() as f64 + ROUNDING_NS;
            scratch.upper.push((age(exchange.t1), relative(exchange.upper()) + margin));
            scratch.lower.push((age(exchange.t4), relative(exchange.lower()) - margin));
        }
        let (max_drift, max_wander) = (self.config.max_drift_ppb as f64, self.config.max_wander * 1e9);
        let half = max_drift * scratch.upper[0].0 + scratch.upper[0].1.abs().max(scratch.lower[0].1.abs()) + 1.0;
        scratch.polygon.start(half, max_drift);
        for (&(age_up, upper), &(age_down, lower)) in scratch.upper.iter().zip(&scratch.lower) {
            // offset − age·rate ≤ upper + w·age²/2, and the mirror image.
            scratch.polygon.clip(1.0, -age_up, upper + 0.5 * max_wander * age_up * age_up);
            scratch.polygon.clip(-1.0, age_down, -lower + 0.5 * max_wander * age_down * age_down);
        }
        if scratch.polygon.is_empty() {
            return false;
        }
        let polygon = &scratch.polygon;
        let certified = Certified {
            at,
            base_ns,
            upper: KNOTS_S.map(|dt| polygon.extent(1.0, dt)),
            lower: KNOTS_S.map(|dt| -polygon.extent(-1.0, -dt)),
            rate: [-polygon.extent(0.0, -1.0), polygon.extent(0.0, 1.0)],
            max_drift,
            max_wander,
        };
        let channel =
            Channel::widest(&scratch.upper, &scratch.lower, certified.rate, self.config.expected_wander * 1e9);
        self.estimate = Some(Estimate {
            at,
            base_ns,
            offset_ns: channel.middle.clamp(certified.lower[0], certified.upper[0]),
            rate_ppb: channel.rate,
            uncertainty_ns: channel.uncertainty.min(certified.upper[0] - certified.lower[0]),
            uncertainty_rate_ppb: channel.uncertainty_rate,
            certified,
        });
        true
    }
}

/// A convex polygon of (offset in ns, frequency in ns/s).
#[derive(Clone, Debug, Default)]
struct Polygon {
    corners: Vec<(f64, f64)>,
    spare: Vec<(f64, f64)>,
}

impl Polygon {
    /// The rectangle |offset| ≤ `offset`, |frequency| ≤ `rate`.
    fn start(&mut self, offset: f64, rate: f64) {
        self.corners.clear();
        self.corners.extend([(-offset, -rate), (offset, -rate), (offset, rate), (-offset, rate)]);
    }

    fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// Keeps the part where a·offset + b·rate ≤ c.
    fn clip(&mut self, a: f64, b: f64, c: f64) {
        let excess = |&(offset, rate): &(f64, f64)| a * offset + b * rate - c;
        if self.corners.iter().all(|corner| excess(corner) <= 0.0) {
            return;
        }
        self.spare.clear();
        let n = self.corners.len();
        for i in 0..n {
            let (from, to) = (self.corners[i], self.corners[(i + 1) % n]);
            let (e_from, e_to) = (excess(&from), excess(&to));
            if e_from <= 0.0 {
                self.spare.push(from);
            }
            if (e_from <= 0.0) != (e_to <= 0.0) {
                let share = e_from / (e_from - e_to);
                self.spare.push((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share));
            }
        }
        std::mem::swap(&mut self.corners, &mut self.spare);
    }

    /// Largest a·offset + b·rate over the polygon.
    fn extent(&self, a: f64, b: f64) -> f64 {
        self.corners.iter().map(|(offset, rate)| a * offset + b * rate).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The widest channel between the upper and the lower points.
struct Channel {
    middle: f64,
    rate: f64,
    uncertainty: f64,
    uncertainty_rate: f64,
}

impl Channel {
    /// `points` are (age, bound) newest first; `rates` is where the slope may lie; `wander` in ns/s for one second.
    fn widest(upper: &[(f64, f64)], lower: &[(f64, f64)], rates: [f64; 2], wander: f64) -> Self {
        // A random walk of the frequency displaces a line of age Δ by wander·√(Δ³/3).
        let handicap = |age: f64| wander * (age * age * age / 3.0).sqrt();
        let sides = |rate: f64| {
            let top = upper.iter().map(|&(age, u)| u + rate * age + handicap(age)).fold(f64::INFINITY, f64::min);
            let bottom = lower.iter().map(|&(age, l)| l + rate * age - handicap(age)).fold(f64::NEG_INFINITY, f64::max);
            (top, bottom)
        };
        // The width is concave in the slope: ternary search, to well below a part per billion.
        let [mut low, mut high] = rates;
        for _ in 0..48 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            let width = |(top, bottom): (f64, f64)| top - bottom;
            if width(sides(a)) < width(sides(b)) {
                low = a;
            } else {
                high = b;
            }
        }
        let rate = 0.5 * (low + high);
        let (top, bottom) = sides(rate);
        let n = upper.len() as f64;
        let excess: f64 = upper.iter().map(|&(age, u)| u + rate * age - top).sum::<f64>()
            + lower.iter().map(|&(age, l)| bottom - l - rate * age).sum::<f64>();
        let jitter = (excess / (2.0 * n)).max(0.0);
        let width = (top - bottom).max(0.0);
        // The lines touch the cloud to within its jitter over its number of points; a lone exchange may be all error.
        let uncertainty = if n < 2.0 { 0.5 * width } else { 8.0 * jitter / n + ROUNDING_NS }.max(ROUNDING_NS);
        let reach = upper[upper.len() - 1].0.max(0.1);
        Self {
            middle: 0.5 * (top + bottom),
            rate,
            uncertainty,
            uncertainty_rate: (2.0 * uncertainty / reach).min(rates[1] - rates[0]) + wander,
        }
    }
}
