//! Since when the path has been the one that it is now.
//!
//! When a route becomes longer, the old points stay below the new ones and hold the channel alone, until their last few
//! leave the window; these few say nothing of the slope, and the estimate swings by as much as the route has grown. So
//! the estimate forgets what came before a change of route, but for the rate. (The certificate forgets nothing.) A
//! route that becomes shorter needs no care: the new points are the lowest at once.
use std::collections::VecDeque;

use super::channel::Likely;
use super::exchange::Exchange;
use super::walk::Walk;
use super::FilterConfig;
use crate::units::PlatformTime;

/// What is known of the path.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) from: PlatformTime,
    /// Mean and variance of the rate, as known at `from`.
    rate: f64,
    rate_variance: f64,
    /// As of the last estimate: the rate's, and the mean jitter of both ways together.
    last: (f64, f64),
    jitter: f64,
    /// The least round trip, ns, and of how many exchanges.
    pub(super) floor: (f64, f64),
}

impl Route {
    /// An exchange is high if it is so many mean jitters above the lowest.
    const JITTERS: f64 = 3.0;
    /// At least so many in a row, all high, are a change; more where high ones were common before.
    const EXCHANGES: usize = 8;
    /// And so improbable by chance: once in 10⁹ exchanges.
    const LOG_CHANCE: f64 = -20.7;

    pub(super) fn new(config: &FilterConfig) -> Self {
        let rate_variance = (config.expected_drift_ppb as f64).powi(2);
        let (from, jitter) = (PlatformTime::from_ns(i64::MIN), f64::INFINITY);
        Self { from, rate: 0.0, rate_variance, last: (0.0, rate_variance), jitter, floor: (f64::INFINITY, 0.0) }
    }

    /// Looks for a change of route before the newest exchanges.
    pub(super) fn look(&mut self, window: &VecDeque<Exchange>) {
        let on_route = |exchange: &&Exchange| exchange.t1 >= self.from;
        let lowest = window.iter().filter(on_route).map(|exchange| exchange.round_trip().ns()).min();
        let (Some(lowest), Some(newest)) = (lowest, window.back()) else { return };
        self.floor = (self.floor.0.min(newest.round_trip().ns() as f64), self.floor.1 + 1.0);
        let high = |exchange: &Exchange| (exchange.round_trip().ns() - lowest) as f64 > Self::JITTERS * self.jitter;
        let run = window.iter().rev().take_while(|exchange| high(exchange)).count();
        let split = window.len() - run;
        let before = window.iter().take(split).filter(on_route);
        let (highs, all) = before.fold((0, 0), |(highs, all), exchange| (highs + u32::from(high(exchange)), all + 1));
        // Where one in two is high anyway, as in a delay of two humps, a dozen in a row are nothing new.
        let chance = (f64::from(highs) + 1.0) / (f64::from(all) + 2.0);
        if run >= Self::EXCHANGES && run as f64 * chance.ln() < Self::LOG_CHANCE {
            self.from = window[split].t1;
            (self.rate, self.rate_variance) = self.last;
            let least = window.iter().rev().take(run).map(|exchange| exchange.round_trip().ns()).min();
            self.floor = (least.unwrap_or(lowest) as f64, run as f64);
        }
    }

    pub(super) fn learn(&mut self, likely: &Likely) {
        self.last = (likely.rate, likely.rate_variance);
        self.jitter = likely.jitter;
    }

    /// Mean and standard deviation of the rate at `at`, before any exchange on this route, ppb.
    ///
    /// A guess that the certificate has refuted is worth less by how far it was off.
    pub(super) fn prior_at(&self, at: PlatformTime, certified: [f64; 2], walk: &Walk) -> (f64, f64) {
        let since = (at - self.from).as_s_f64().min(1e9); // `from` may be the beginning of time: then it hardly matters
        let possible = self.rate.clamp(certified[0], certified[1]);
        let off = possible - self.rate;
        (possible, (self.rate_variance + walk.variance * since + off * off).sqrt())
    }
}
