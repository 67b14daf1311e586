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
use super::{FilterConfig, ROUNDING_NS};
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
    /// Log-probability before anything came, and log-likelihood of what came, fading.
    prior: f64,
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
    /// The last exchange's t4, and its middle, which all offsets are relative to.
    last: Option<(PlatformTime, i64)>,
    /// How far the floor may lie below the least round trip, ns.
    unsure: f64,
    /// Mean excess, ns, and how many exchanges it comes from.
    excess: f64,
    seen: f64,
    /// Excesses (0 to 1): the last two, their mean, and how they vary together, by lag.
    nears: [f64; 2],
    near: f64,
    moments: [f64; 3],
}

impl Trends {
    /// What is remembered of excesses, and of errors, and of how well each model foretold; in exchanges.
    const MEMORY: f64 = 400.0;
    const SCALED: f64 = 64.0;
    const SCORED: f64 = 1500.0;
    /// Deviation of the wander from what is expected, as a power of e.
    const DOUBT: f64 = 0.5;
    /// Deviation of the lopsidedness.
    const LOPSIDED: f64 = 0.15;
    /// Largest surprise that is believed, in squared deviations.
    const SURPRISE: f64 = 9.0;
    /// Squared error over squared excess: uniform within ± half.
    const SCALE: f64 = 1.0 / 12.0;
    /// Mean excess as a share of the round trip, before there is any sign of it.
    const EXCESS_SHARE: f64 = 0.3;
    /// By how many mean excesses the least of n round trips lies above the floor, times √n, if both ways are
    /// exponential: Γ(3/2)/√2.
    const GAP: f64 = 0.63;
    /// By how much the rate's variance exceeds the covariance's, measured: the first exchanges, which tell most of it,
    /// are weighed before their floor is known.
    const RATE_DOUBT: f64 = 2.5;

    pub(super) fn new(config: &FilterConfig) -> Self {
        let expected = (config.expected_wander * 1e9).ln();
        let variances = [0.0, (config.expected_drift_ppb as f64).powi(2), Self::LOPSIDED * Self::LOPSIDED];
        let model = |(wander, softness): (f64, f64)| Model {
            wander: wander * wander,
            softness,
            mean: [0.0; 3],
            covariance: std::array::from_fn(|i| std::array::from_fn(|j| if i == j { variances[i] } else { 0.0 })),
            scale: Self::SCALE,
            prior: -0.5 * ((wander.ln() - expected) / Self::DOUBT).powi(2),
            score: 0.0,
        };
        let models = WANDERS.into_iter().flat_map(|w| SOFTNESSES.map(|s| (w, s))).map(model).collect();
        let (nears, moments) = ([0.0; 2], [0.0; 3]);
        Self { models, last: None, unsure: 0.0, excess: 0.0, seen: 0.0, nears, near: 0.0, moments }
    }

    /// How many neighbours err alike: the sum of the excesses' correlations, which fade from one lag to the next as
    /// from the first to the second.
    pub(super) fn alike(&self) -> f64 {
        let [all, one, two] = self.moments;
        // Independent ones differ from zero by so much, by chance.
        let chance = 2.5 / self.seen.clamp(1.0, Self::MEMORY).sqrt();
        if one <= chance * all {
            return 1.0;
        }
        1.0 + 2.0 * one / all / (1.0 - (two / one).clamp(0.0, 0.98))
    }

    /// Takes the newest exchange in; `floor` is the least round trip of its route, in ns, and of how many exchanges;
    /// `rates` are those that the certificate leaves, ppb.
    pub(super) fn take(&mut self, exchange: &Exchange, floor: (f64, f64), rates: [f64; 2]) {
        let (round_trip, middle) = (exchange.round_trip().ns() as f64, exchange.offset().ns());
        let (elapsed, moved) = match self.last {
            Some((at, base)) => ((exchange.t4 - at).as_s_f64(), (i128::from(middle) - i128::from(base)) as f64),
            None => {
                for model in &mut self.models {
                    model.covariance[0][0] = (0.5 * round_trip).powi(2);
                }
                (0.0, 0.0)
            }
        };
        self.last = Some((self.last.map_or(exchange.t4, |(at, _)| at.max(exchange.t4)), middle));
        self.seen += 1.0;
        let share = 1.0 / self.seen.min(Self::MEMORY);
        let (floor, of) = floor;
        let excess = (round_trip - floor).max(0.0);
        self.excess += share * (excess - self.excess);
        let mean = (self.excess + Self::EXCESS_SHARE * floor / self.seen).max(10.0 * ROUNDING_NS);
        self.compare(excess / (excess + mean), share);
        let alike = self.alike();
        self.unsure = Self::GAP * mean / (of / alike).sqrt();
        let excess = excess + 0.5 * self.unsure;
        let half = 0.5 * (exchange.t4 - exchange.t1).as_s_f64();
        for model in &mut self.models {
            model.mean[0] -= moved;
            // A guess that has been refuted is worth less by how far it was off.
            let off = model.mean[1].clamp(rates[0], rates[1]) - model.mean[1];
            model.mean[1] += off;
            model.covariance[1][1] += off * off;
            model.advance(elapsed.max(0.0));
            let soft = excess + model.softness * mean;
            model.learn([1.0, -half, excess], soft * soft, alike, share.clamp(1.0 / Self::SCALED, 0.1));
        }
    }

    /// Compares an excess (0 to 1) with the two before.
    fn compare(&mut self, near: f64, share: f64) {
        self.near += share * (near - self.near);
        for (moment, other) in self.moments.iter_mut().zip([near, self.nears[0], self.nears[1]]) {
            *moment += share * ((near - self.near) * (other - self.near) - *moment);
        }
        self.nears = [near, self.nears[0]];
    }

    /// What they say together.
    pub(super) fn say(&self) -> Trend {
        let best = self.models.iter().map(|model| model.prior + model.score).fold(f64::NEG_INFINITY, f64::max);
        let weights = self.models.iter().map(|model| ((model.prior + model.score - best).exp(), model));
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
            rate_variance: Self::RATE_DOUBT * mean(&|m| m.covariance[1][1] + (m.mean[1] - rate).powi(2)),
            wander: mean(&|m| m.wander.sqrt()).powi(2),
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

    /// Learns that `row`·(offset, rate, lopsidedness) is 0 but for a squared error of `noise`·scale that is shared by
    /// so many neighbours. `share` is what this exchange counts for the scale.
    fn learn(&mut self, row: [f64; 3], noise: f64, alike: f64, share: f64) {
        let p = &mut self.covariance;
        let dot = |a: &[f64; 3]| a[0] * row[0] + a[1] * row[1] + a[2] * row[2];
        let reach = p.map(|of| dot(&of));
        let (known, miss) = (dot(&reach), -dot(&self.mean));
        let (own, expected) = (self.scale * noise, dot(&reach) + self.scale * noise);
        let surprise = (miss * miss / expected).min(Trends::SURPRISE);
        self.score -= 0.5 * (surprise + expected.ln()) / alike + self.score / Trends::SCORED;
        let total = (known + alike * own).max(miss * miss / Trends::SURPRISE);
        for i in 0..3 {
            self.mean[i] += reach[i] / total * miss;
            for j in 0..3 {
                p[i][j] -= reach[i] * reach[j] / total;
            }
        }
        // Expectation and maximisation: of the surprise, the error's part.
        self.scale *= 1.0 + share * (surprise - 1.0) * own / expected;
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;
    use crate::units::{NodeTime, Span};

    const CONFIG: FilterConfig =
        FilterConfig { max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 50_000, expected_wander: 3e-9 };
    const MS: f64 = 1e6;

    /// An exchange a second, over 1 ms and what is added each way, with a clock of these offsets at each t1; what
    /// is said at the end, and the last offset as said.
    fn said(exchanges: &[(f64, f64, f64)]) -> (Trends, Trend, f64) {
        let (mut trends, mut floor) = (Trends::new(&CONFIG), (f64::INFINITY, 0.0));
        let mut base = 0;
        for (i, &(up, down, offset)) in (0i64..).zip(exchanges) {
            let t1 = i * 1_000_000_000;
            let t2 = t1 + (MS + up + offset) as i64;
            let t4 = t1 + (MS + up) as i64 + (MS + down) as i64;
            let exchange = Exchange {
                t1: PlatformTime::from_ns(t1),
                t2: NodeTime::from_ns(t2),
                t3: NodeTime::from_ns(t2),
                t4: PlatformTime::from_ns(t4),
                stamp_error: Span::ZERO,
            };
            floor = (f64::min(floor.0, exchange.round_trip().ns() as f64), floor.1 + 1.0);
            trends.take(&exchange, floor, [-5e5, 5e5]);
            base = exchange.offset().ns();
        }
        let trend = trends.say();
        (trends, trend, base as f64 + trend.offset)
    }

    /// Random numbers between 0 and 1 (SplitMix64).
    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mix = |i: u64| {
            let z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (1..=n as u64).map(mix).collect()
    }

    fn exponential(unit: f64, mean: f64) -> f64 {
        -mean * (1.0 - unit).max(1e-9).ln()
    }

    proptest! {
        #[test]
        fn whatever_comes_the_variances_stay_positive_and_finite(
            exchanges in prop::collection::vec((0.0..1e9f64, 0.0..1e9f64, -1e9..1e9f64), 1..100)) {
            let (trends, trend, _) = said(&exchanges);
            for value in [trend.variance, trend.rate_variance, trend.wander] {
                prop_assert!(value.is_finite() && value > 0.0, "{:?}", trend);
            }
            for model in &trends.models {
                for i in 0..3 {
                    prop_assert!(model.covariance[i][i] > 0.0 && model.mean[i].is_finite());
                    prop_assert!((0..3).all(|j| (model.covariance[i][j] - model.covariance[j][i]).abs()
                        <= 1e-6 * (model.covariance[i][i] * model.covariance[j][j]).sqrt()));
                }
            }
        }

        #[test]
        fn jitter_one_way_is_not_taken_for_offset(seed: u64, up: bool) {
            let delays = noise(400, seed).into_iter().map(|unit| exponential(unit, MS));
            let exchanges: Vec<_> = delays.map(|d| if up { (d, 0.0, 0.0) } else { (0.0, d, 0.0) }).collect();
            let (_, _, offset) = said(&exchanges);
            // The mean of the middles is off by half of a millisecond.
            prop_assert!(offset.abs() < 0.05 * MS, "{}", offset);
        }
    }

    #[test]
    fn errors_are_as_large_as_is_stated() {
        const RUNS: usize = 1000;
        let (mut offsets, mut rates) = (Vec::new(), Vec::new());
        for seed in 0..RUNS as u64 {
            let (ups, downs) = (noise(200, 2 * seed + 1), noise(200, 2 * seed + 2));
            let rate = 100.0 * (seed as f64 - 500.0);
            let line = |i: usize| (exponential(ups[i], MS), exponential(downs[i], MS), rate * i as f64);
            let (_, trend, offset) = said(&(0..200).map(line).collect::<Vec<_>>());
            offsets.push((offset - 199.0 * rate).abs() / trend.variance.sqrt());
            rates.push((trend.rate - rate).abs() / trend.rate_variance.sqrt());
        }
        for deviations in [&mut offsets, &mut rates] {
            deviations.sort_unstable_by(f64::total_cmp);
            let [most, nearly_all] = [0.68, 0.99].map(|share| deviations[(RUNS as f64 * share) as usize]);
            assert!((0.7..1.2).contains(&most) && nearly_all < 3.5, "{most} {nearly_all}");
        }
    }

    #[test]
    fn a_restless_clock_is_told_from_a_quiet_one() {
        for (wander, expected) in [(0.0, 0.0..3.0), (30.0, 15.0..60.0), (300.0, 100.0..600.0)] {
            let (ups, downs, walks) = (noise(1000, 1), noise(1000, 2), noise(1000, 3));
            let (mut rate, mut offset) = (0.0, 0.0);
            let exchanges: Vec<_> = (0..1000)
                .map(|i| {
                    rate += wander * 12f64.sqrt() * (walks[i] - 0.5);
                    offset += rate;
                    (exponential(ups[i], 2e3), exponential(downs[i], 2e3), offset)
                })
                .collect();
            let found = said(&exchanges).1.wander.sqrt();
            assert!(expected.contains(&found), "{wander}: {found}");
        }
    }

    #[test]
    fn neighbours_that_wait_in_the_same_queue_count_as_one() {
        let units = noise(400, 5);
        let alike = |block: usize| {
            let waits = (0..400).map(|i| exponential(units[i / block * block], MS));
            said(&waits.map(|wait| (wait, wait, 0.0)).collect::<Vec<_>>()).0.alike()
        };
        assert_eq!(alike(1), 1.0);
        assert!((4.0..40.0).contains(&alike(10)), "{}", alike(10));
    }
}
