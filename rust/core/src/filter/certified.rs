//! The certified interval, as it is handed on: a few numbers that bound the offset for ever.
use super::S_PER_NS;
use crate::units::{NodeTime, PlatformTime, Span};

/// The certified interval of the offset as a function of platform time. Plain numbers, [`Copy`], realtime-safe.
///
/// The polygon's support is convex in time, so chords lie above it: a few values and a slope bound it for ever.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Certified {
    pub(super) at: PlatformTime,
    pub(super) base_ns: i64,
    /// Upper bounds at the knots, and the slope after the last; relative to `base_ns`.
    pub(super) upper: [f64; KNOTS],
    pub(super) lower: [f64; KNOTS],
    /// Extent of the frequency, ns/s.
    pub(super) rate: [f64; 2],
    pub(super) max_drift: f64,
    pub(super) max_wander: f64,
}

/// Where the chords of [`Certified`] meet, in seconds after `at`.
pub(super) const KNOTS_S: [f64; KNOTS] = [0.0, 2.0, 16.0];
const KNOTS: usize = 3;
/// How many numbers a [`Certified`] is, besides its instant and base.
pub(crate) const NUMBERS: usize = 2 * KNOTS + 4;

/// One side's bound after `dt` seconds: chords between the knots, then the steepest slope.
fn chord(values: [f64; KNOTS], slope: f64, dt: f64) -> f64 {
    let Some(next) = KNOTS_S[1..].iter().position(|&knot| dt <= knot).map(|before| before + 1) else {
        return values[KNOTS - 1] + slope * (dt - KNOTS_S[KNOTS - 1]);
    };
    let share = (dt - KNOTS_S[next - 1]) / (KNOTS_S[next] - KNOTS_S[next - 1]);
    values[next - 1] + (values[next] - values[next - 1]) * share
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

    /// What follows at `at` from several certificates for the same time, of which at least `honest` are true, each
    /// with the largest error of its source then, and by how much (ppb) that error may grow.
    ///
    /// The truth lies below all true upper ends, so below the `honest`-th largest of all; later it may have risen by
    /// as much as the fastest of them allows. `at` must not be before any certificate's own instant. Returns `None` if
    /// there are fewer than `honest`, or if nothing lies within so many.
    pub fn of_majority(at: PlatformTime, honest: usize, given: &[(Self, Span, i64)]) -> Option<Self> {
        let mut given = given.to_vec();
        loop {
            let (low, high) = Self::majority_at(at, honest, &given)?;
            let before = given.len();
            // Whoever is certainly wrong shall not loosen what the others say.
            given.retain(|(certified, error, _)| {
                let (own_low, own_high) = certified.offset_within(at, *error);
                own_low <= high && own_high >= low
            });
            if given.len() == before {
                return Some(Self::grown(at, (low, high), &given));
            }
        }
    }

    /// All that it is, to be written down: instant and base in ns, then its offsets, rates and limits.
    pub(crate) fn to_numbers(self) -> ([i64; 2], [f64; NUMBERS]) {
        let ([u0, u1, u2], [l0, l1, l2], [slow, fast]) = (self.upper, self.lower, self.rate);
        let numbers = [u0, u1, u2, l0, l1, l2, slow, fast, self.max_drift, self.max_wander];
        ([self.at.ns(), self.base_ns], numbers)
    }

    /// What [`Certified::to_numbers`] gave; `None` if no certificate can look so.
    pub(crate) fn from_numbers([at, base_ns]: [i64; 2], numbers: [f64; NUMBERS]) -> Option<Self> {
        let [u0, u1, u2, l0, l1, l2, slow, fast, max_drift, max_wander] = numbers;
        let (upper, lower, rate) = ([u0, u1, u2], [l0, l1, l2], [slow, fast]);
        let sane = numbers.iter().all(|number| number.is_finite()) && l0 <= u0 && max_drift >= 0.0 && max_wander >= 0.0;
        sane.then_some(Self { at: PlatformTime::from_ns(at), base_ns, upper, lower, rate, max_drift, max_wander })
    }

    pub(super) fn offset_within(&self, t: PlatformTime, error: Span) -> (i64, i64) {
        let (low, high) = self.offset_at(t);
        (low.saturating_sub(error.ns()), high.saturating_add(error.ns()))
    }

    pub(super) fn majority_at(at: PlatformTime, honest: usize, given: &[(Self, Span, i64)]) -> Option<(i64, i64)> {
        let (mut lows, mut highs): (Vec<_>, Vec<_>) =
            given.iter().map(|(certified, error, _)| certified.offset_within(at, *error)).unzip();
        lows.sort_unstable();
        highs.sort_unstable_by(|a, b| b.cmp(a));
        let nth = honest.checked_sub(1)?;
        let (low, high) = (*lows.get(nth)?, *highs.get(nth)?);
        (low <= high).then_some((low, high))
    }

    pub(super) fn grown(at: PlatformTime, (low, high): (i64, i64), given: &[(Self, Span, i64)]) -> Self {
        let base_ns = low + ((i128::from(high) - i128::from(low)) / 2) as i64;
        let most =
            |value: &dyn Fn(&Self) -> f64| given.iter().map(|(c, ..)| value(c)).fold(f64::NEG_INFINITY, f64::max);
        let drift = given.iter().map(|given| given.2).max().unwrap_or(0) as f64;
        let max_wander = most(&|certified| certified.max_wander);
        // Each side of a certificate is convex but for the quadratic part, which `offset_at` adds again.
        let turn = |certified: &Self| certified.max_wander * (at - certified.at).as_s_f64();
        let rise = |certified: &Self, dt: f64, values: [f64; KNOTS], slope: f64| {
            let age = (at - certified.at).as_s_f64();
            chord(values, slope, age + dt) - chord(values, slope, age) + turn(certified) * dt
        };
        let up = |dt: f64| most(&|c| rise(c, dt, c.upper, c.rate[1])) + drift * dt;
        let down = |dt: f64| most(&|c| rise(c, dt, c.lower.map(|ns| -ns), -c.rate[0])) + drift * dt;
        Self {
            at,
            base_ns,
            upper: KNOTS_S.map(|dt| (high - base_ns) as f64 + up(dt)),
            lower: KNOTS_S.map(|dt| (low - base_ns) as f64 - down(dt)),
            rate: [-most(&|c| turn(c) - c.rate[0]) - drift, most(&|c| turn(c) + c.rate[1]) + drift],
            max_drift: most(&|certified| certified.max_drift) + drift,
            max_wander,
        }
    }

    /// Smallest and largest possible node time at `t`. Realtime-safe.
    pub fn interval_at(&self, t: PlatformTime) -> (NodeTime, NodeTime) {
        let (low, high) = self.offset_at(t);
        (NodeTime::from_ns(t.ns().saturating_add(low)), NodeTime::from_ns(t.ns().saturating_add(high)))
    }
}
