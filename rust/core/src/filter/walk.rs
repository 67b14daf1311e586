//! How restless the frequency is, learnt from how far the estimate has moved between windows that share no exchange.
//!
//! A configured value alone would be wrong for almost every pair of clocks: too large and good exchanges are thrown
//! away, too small and a warming crystal is followed too late.
use super::channel::Likely;
use crate::units::PlatformTime;

/// What is known of it.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Variance that the frequency gains in a second, ppb².
    pub(super) variance: f64,
    /// How many observations that is worth.
    weight: f64,
    /// Time, rate and rate variance at the end of the last window looked at.
    last: Option<(PlatformTime, f64, f64)>,
}

impl Walk {
    const WEIGHT_MAX: f64 = 8.0;
    /// One surprise may be a change of route.
    const SURPRISE_MAX: f64 = 25.0;

    pub(super) fn new(expected: f64) -> Self {
        Self { variance: (expected * 1e9).powi(2), weight: 3.0, last: None }
    }

    /// Standard deviation by which a line through the present misses the offset at `age` seconds, ns.
    pub(super) fn displacement(&self, age: f64) -> f64 {
        let age = age.max(0.0);
        (self.variance * age * age * age / 3.0).sqrt()
    }

    pub(super) fn learn(&mut self, at: PlatformTime, likely: &Likely) {
        if let Some((then, rate, variance)) = self.last {
            let elapsed = (at - then).as_s_f64();
            if elapsed < (2.0 * likely.past).max(16.0) {
                return; // the windows still overlap
            }
            // Each estimate is a mean over its window, which hides a third of a walk; and the estimates' own errors are
            // no walk. Where they are the larger part, little is learnt.
            let expected = self.variance * elapsed / 1.5;
            let errors = variance + likely.rate_variance;
            let moved = (likely.rate - rate).powi(2) - errors;
            let trust = |walked: f64| (walked / (walked + errors)).powi(2);
            // What stands out of the errors is believed even where little was expected.
            let trust = trust(expected.max(0.5 * moved));
            let seen = (1.5 / elapsed * moved).min(Self::SURPRISE_MAX * self.variance);
            self.variance = ((self.weight * self.variance + trust * seen) / (self.weight + trust)).clamp(0.1, 1e6);
            self.weight = (self.weight + trust).min(Self::WEIGHT_MAX);
        }
        self.last = Some((at, likely.rate, likely.rate_variance));
    }
}
