//! How far a phase can be trusted: the resultant length that is to be expected of its error.
//!
//! The truth becomes known some seconds later, so the mean squared error of the last minute's estimates is known too. If
//! the truth scatters around the estimate ẑ as a complex Gaussian with that variance σ², the expected cosine of the
//! phase's error depends on s = |ẑ|²/σ² alone: √(πs)/2 · e^(−s/2) · (I₀(s/2) + I₁(s/2)). It is 0 where the band is
//! silent and near 1 where the wave stands far above the error, so a person's quiet cycles are told from their loud ones.
//! Errors in truth grow with the wave: where it is small, the confidence claims less than there is, never more.
use num_complex::Complex64;
use std::f64::consts::PI;

use super::predictor::Mean;

/// Seconds over which errors are averaged.
const MEMORY_S: f64 = 60.0;

/// How estimates and truths have gone together.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    truth: Mean,
    given: Mean,
    both: Mean,
    count: f64,
    /// Nodes that the expectation is worth.
    expected_worth: f64,
}

impl Errors {
    pub(super) fn new(rate_hz: f64, width_hz: f64) -> Self {
        let mean = Mean::new(MEMORY_S * rate_hz);
        let expected_worth = 2.0 * rate_hz / width_hz;
        Self { truth: mean.clone(), given: mean.clone(), both: mean, count: 0.0, expected_worth }
    }

    pub(super) fn add(&mut self, truth: Complex64, given: Complex64) {
        self.truth.add(truth.norm_sqr());
        self.given.add(given.norm_sqr());
        self.both.add((truth * given.conj()).re);
        self.count += 1.0;
    }

    /// The confidence in an estimate of squared magnitude `power`, `expected` being its variance as far as nothing has
    /// shown it.
    pub(super) fn confidence(&self, power: f64, expected: f64) -> f64 {
        let own = self.count / (self.count + self.expected_worth);
        // Estimates that make little of loud cycles are too small by a factor, which says nothing against their phase.
        let factor = if self.given.value > 0.0 { (self.both.value / self.given.value).max(0.0) } else { 1.0 };
        let seen = (self.truth.value - factor * self.both.value).max(0.0);
        let variance = own * seen + (1.0 - own) * expected;
        let factor = own * factor + (1.0 - own);
        if variance > 0.0 && power.is_finite() {
            resultant(factor * factor * power / variance)
        } else {
            0.0
        }
    }
}

/// Expected cosine of the angle between a complex Gaussian of mean 1 and variance 1/`ratio`, and its mean.
fn resultant(ratio: f64) -> f64 {
    let x = 0.5 * ratio;
    (0.5 * (PI * ratio).sqrt() * (scaled_bessel_0(x) + scaled_bessel_1(x))).clamp(0.0, 1.0)
}

/// e^(−x)·I₀(x) for x ≥ 0; relative error below 2e-7 (Abramowitz & Stegun 9.8.1, 9.8.2).
fn scaled_bessel_0(x: f64) -> f64 {
    if x < 3.75 {
        let t = (x / 3.75).powi(2);
        (-x).exp() * horner(t, &[1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813])
    } else {
        let t = 3.75 / x;
        let series = [
            0.39894228,
            0.01328592,
            0.00225319,
            -0.00157565,
            0.00916281,
            -0.02057706,
            0.02635537,
            -0.01647633,
            0.00392377,
        ];
        horner(t, &series) / x.sqrt()
    }
}

/// e^(−x)·I₁(x) for x ≥ 0 (9.8.3, 9.8.4).
fn scaled_bessel_1(x: f64) -> f64 {
    if x < 3.75 {
        let t = (x / 3.75).powi(2);
        (-x).exp() * x * horner(t, &[0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411])
    } else {
        let t = 3.75 / x;
        let series = [
            0.39894228,
            -0.03988024,
            -0.00362018,
            0.00163801,
            -0.01031555,
            0.02282967,
            -0.02895312,
            0.01787654,
            -0.00420059,
        ];
        horner(t, &series) / x.sqrt()
    }
}

fn horner(x: f64, series: &[f64]) -> f64 {
    series.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod laws {
    use super::*;

    #[test]
    fn the_closed_form_is_the_integral_that_defines_it() {
        for ratio in [1e-4, 0.01, 0.3, 1.0, 4.0, 7.4, 7.6, 20.0, 300.0] {
            let sigma = (0.5f64 / ratio).sqrt(); // of each part
            let (mut sum, mut weight) = (0.0, 0.0);
            let steps = 400;
            for i in -steps..=steps {
                for k in -steps..=steps {
                    let (u, v) = (7.0 * f64::from(i) / f64::from(steps), 7.0 * f64::from(k) / f64::from(steps));
                    let density = (-0.5 * (u * u + v * v)).exp();
                    let (re, im) = (1.0 + sigma * u, sigma * v);
                    weight += density;
                    sum += density * re / re.hypot(im).max(1e-300);
                }
            }
            assert!((resultant(ratio) - sum / weight).abs() < 1e-4, "{ratio}");
        }
        assert_eq!(resultant(0.0), 0.0);
        assert!(resultant(1e12) > 0.999_999);
    }
}
