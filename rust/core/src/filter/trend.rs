//! A line that bends: what serves where the clouds' edges are blunt, and what tells how restless the clocks are.
//!
//! An exchange's middle is off by at most half of its round trip's excess, and by about as much if one way is busier
//! than the other. So a Kalman filter carries offset, rate, and the lopsidedness: how much of the excess is error. It
//! believes short round trips more. How soon it must forget depends on how far the frequency walks, and how much more a
//! short round trip is worth on the kind of delay. Nobody knows either. So several filters run side by side, one for
//! each answer, and are believed as far as they have foretold the exchanges.
//!
//! A queue with a memory makes neighbours err alike; it shows, as the excesses of neighbours are then alike.
use super::exchange::Exchange;
use super::route::Route;
use super::{FilterConfig, S_PER_NS};
use crate::units::PlatformTime;

/// Deviations of the frequency after a second, ppb.
const WANDERS: [f64; 7] = [0.1, 0.4, 1.6, 6.4, 25.0, 100.0, 400.0];
/// Excess at which a round trip is worth half, over the mean.
const SOFTNESSES: [f64; 2] = [0.1, 1.0];

/// One answer, and what follows from it.
#[derive(Clone, Copy, Debug)]
struct Model {
    /// What the frequency's variance gains in a second, ppb².
    wander: f64,
    softness: f64,
    /// Offset in ns, rate in ppb, lopsidedness; and their covariance.
    mean: [f64; 3],
    covariance: [[f64; 3]; 3],
    /// Squared error of a middle over its squared (softened) excess.
    scale: f64,
    /// Log-likelihood of what came, fading.
    score: f64,
}

/// What all models say together, as of the newest exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trend {
    pub(super) offset: f64,
    pub(super) variance: f64,
    pub(super) rate: f64,
    pub(super) rate_variance: f64,
    /// What the frequency's variance gains in a second, ppb².
    pub(super) wander: f64,
}

/// The models, and what they share.
#[derive(Clone, Debug)]
pub(super) struct Trends {
    models: Vec<Model>,
    at: PlatformTime,
    base_ns: i64,
    /// How far the floor may lie below the least round trip, ns.
    unsure: f64,
    /// Mean excess, ns, and how many exchanges it comes from.
    excess: f64,
    seen: f64,
    /// Excesses (0 to 1) of the last two exchanges, and how they vary together: mean, and moments of lag 0 to 2.
    last: [f64; 2],
    mean: f64,
    moments: [f64; 3],
}

impl Trends {
    /// What is remembered of errors and of excesses, in exchanges.
    const MEMORY: f64 = 400.0;
    /// Largest surprise that is believed, in squared deviations.
    const SURPRISE: f64 = 9.0;
    /// Uniform within ± half of the excess.
    const SCALE: f64 = 1.0 / 12.0;

    pub(super) fn new(config: &FilterConfig) -> Self {
        let expected = (config.expected_wander * 1e9).ln();
        let model = |(wander, softness): (f64, f64)| Model {
            wander: wander * wander,
            softness,
            mean: [0.0; 3],
            covariance: [[0.0; 3]; 3],
            scale: Self::SCALE,
            score: -0.5 * ((wander.ln() - expected) / 2.0).powi(2),
        };
        let models = WANDERS.into_iter().flat_map(|w| SOFTNESSES.map(|s| (w, s))).map(model).collect();
        Self {
            models,
            at: PlatformTime::from_ns(0),
            base_ns: 0,
            unsure: 0.0,
            excess: 0.0,
            seen: 0.0,
            last: [0.0; 2],
            mean: 0.0,
            moments: [0.0; 3],
        }
    }

    /// How many neighbours err alike.
    pub(super) fn alike(&self) -> f64 {
        let [all, one, two] = self.moments;
        let (one, two) = (one / all.max(1e-9), two / all.max(1e-9));
        // Independent ones differ from zero by so much, by chance.
        let chance = 2.5 / self.seen.clamp(1.0, Self::MEMORY).sqrt();
        if one < chance {
            return 1.0;
        }
        1.0 + 2.0 * one / (1.0 - (two / one).clamp(0.0, 0.98))
    }

    /// Takes the newest exchange in; `floor` is the least round trip of its route so far.
    pub(super) fn take(&mut self, exchange: &Exchange, route: &Route, config: &FilterConfig) {
        let round_trip = exchange.round_trip().ns() as f64;
        let middle = exchange.offset().ns();
        let first = self.seen == 0.0;
        let elapsed = if first { 0.0 } else { (exchange.t4 - self.at).as_s_f64().max(0.0) };
        let moved = if first { 0.0 } else { (i128::from(middle) - i128::from(self.base_ns)) as f64 };
        (self.at, self.base_ns) = (self.at.max(exchange.t4), middle);
        if first {
            self.at = exchange.t4;
        }
        let (floor, of) = route.floor;
        let excess = (round_trip - floor).max(0.0);
        self.seen += 1.0;
        let share = 1.0 / self.seen.min(Self::MEMORY);
        self.excess += share * (excess - self.excess);
        let mean = (self.excess + 0.3 * floor / self.seen).max(20.0);
        let near = excess / (excess + mean);
        self.mean += share * (near - self.mean);
        for (moment, other) in self.moments.iter_mut().zip([near, self.last[0], self.last[1]]) {
            *moment += share * ((near - self.mean) * (other - self.mean) - *moment);
        }
        self.last = [near, self.last[0]];
        let alike = self.alike();
        self.unsure = 0.63 * mean / (of / alike).sqrt();
        let half = 0.5 * (exchange.t4 - exchange.t1).ns() as f64 * S_PER_NS;
        for model in &mut self.models {
            if first {
                model.covariance = [[0.0; 3]; 3];
                model.covariance[0][0] = (0.5 * round_trip).powi(2);
                model.covariance[1][1] = (config.expected_drift_ppb as f64).powi(2);
                model.covariance[2][2] = 0.15 * 0.15;
            }
            model.mean[0] -= moved;
            model.advance(elapsed);
            let excess = excess + 0.5 * self.unsure;
            let soft = excess + model.softness * mean;
            model.learn([1.0, -half, excess], soft * soft, alike, share);
        }
    }

    pub(super) fn debug(&self) -> String {
        let best = self.models.iter().map(|m| m.score).fold(f64::MIN, f64::max);
        let m = self.models.iter().find(|m| m.score == best).unwrap();
        format!("alike {:.1} unsure {:.0} excess {:.0} best: soft {} off {:.0} b {:.3} scale {:.3} scores {}", self.alike(), self.unsure, self.excess, m.softness, m.mean[0], m.mean[2], m.scale, self.models.iter().map(|m| format!("{:.0}", m.score-best)).collect::<Vec<_>>().join(" "))
    }

    /// What they say together.
    pub(super) fn say(&self) -> Trend {
        let best = self.models.iter().map(|model| model.score).fold(f64::NEG_INFINITY, f64::max);
        let weights = self.models.iter().map(|model| ((model.score - best).exp(), model));
        let mass: f64 = weights.clone().map(|(weight, _)| weight).sum();
        let mean = |value: &dyn Fn(&Model) -> f64| weights.clone().map(|(w, m)| w * value(m)).sum::<f64>() / mass;
        let (offset, rate) = (mean(&|m| m.mean[0]), mean(&|m| m.mean[1]));
        Trend {
            offset,
            variance: mean(&|m| {
                let [offset_variance, lopsided_variance] = [m.covariance[0][0], m.covariance[2][2]];
                let squared = m.mean[2] * m.mean[2];
                let floor = 0.4 * (lopsided_variance + squared) * self.unsure * self.unsure;
                // Of ways of which one is idle, the idle one's mean looks like offset: as large as what is left over.
                let idle = 16.0 * squared * squared * m.scale * ((1.0 + m.softness) * self.excess).powi(2);
                offset_variance + (m.mean[0] - offset).powi(2) + floor + idle
            }),
            rate,
            rate_variance: mean(&|m| m.covariance[1][1] + (m.mean[1] - rate).powi(2)),
            wander: mean(&|m| m.wander.ln()).exp(),
        }
    }
}

impl Model {
    /// Lets time pass: the rate moves the offset, and walks.
    fn advance(&mut self, dt: f64) {
        let p = &mut self.covariance;
        self.mean[0] += dt * self.mean[1];
        p[0][0] += dt * (2.0 * p[0][1] + dt * p[1][1]) + self.wander * dt * dt * dt / 3.0;
        p[0][1] += dt * p[1][1] + 0.5 * self.wander * dt * dt;
        p[0][2] += dt * p[1][2];
        p[1][1] += self.wander * dt;
        (p[1][0], p[2][0]) = (p[0][1], p[0][2]);
    }

    /// Learns that `row`·(offset, rate, lopsidedness) is about 0, by a squared error of `noise`·scale.
    fn learn(&mut self, row: [f64; 3], noise: f64, alike: f64, share: f64) {
        let p = &mut self.covariance;
        let reach: [f64; 3] = std::array::from_fn(|i| (0..3).map(|j| p[i][j] * row[j]).sum());
        let known: f64 = (0..3).map(|i| row[i] * reach[i]).sum();
        let miss = -(0..3).map(|i| row[i] * self.mean[i]).sum::<f64>();
        let expected = known + self.scale * noise;
        let surprise = (miss * miss / expected).min(Trends::SURPRISE);
        self.score += -0.5 * (surprise + expected.ln()) / alike - share.min(1.0 / Trends::MEMORY) * self.score;
        let total = (known + alike * self.scale * noise).max(miss * miss / Trends::SURPRISE);
        for i in 0..3 {
            self.mean[i] += reach[i] / total * miss;
        }
        for i in 0..3 {
            for j in 0..3 {
                p[i][j] -= reach[i] * reach[j] / total;
            }
        }
        self.scale *= 1.0 + share.clamp(1.0 / 64.0, 0.1) * (surprise - 1.0) * self.scale * noise / expected;
    }
}
