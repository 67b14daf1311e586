//! A stretch of at most 256 samples in which everything moves linearly, for one sleeper.
//!
//! What all share lies in [`Lines`]; here a sleeper's own rhythm, offset and coefficients are added, over all channels at
//! once, and become two banks of sines and the limiter's bound.
// A channel goes through many arrays at once, and reads as one line where its index stands at each of them.
#![allow(clippy::needless_range_loop)]

use num_complex::Complex;
use pulp::{Simd, WithSimd};

use super::course::Course;
use super::glide::{harmless, At, Parts};
use super::lines::Lines;
use crate::oscillators::{Bank, Sine};
use crate::phase::{Phase, PhaseOffset};
use crate::program::CHANNELS_MAX;

/// Bounds are summed in so many lanes, whatever the machine's vectors.
const SUM_LANES: usize = 16;

/// Where a phase is at a run's first sample, and how it goes from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Motion {
    pub(super) phase: Phase,
    /// In 2⁻⁶⁴ turn a sample.
    pub(super) step: i64,
}

/// What a sleeper adds to a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    phase: u64,
    step: i64,
    rate: f64,
}

impl Added {
    /// θ from sample `n` on.
    pub(super) fn theta(theta: &Course, n: usize, samples: usize) -> Self {
        Self { phase: theta.phase_at(n), step: theta.step_over(n, samples), rate: theta.rate }
    }

    /// φ on its way from `from` to `to`.
    pub(super) fn phi(from: PhaseOffset, to: PhaseOffset, samples: usize) -> Self {
        let way = to + -from;
        Self { phase: from.bits() as u64, step: way.bits() / samples as i64, rate: way.turns() / samples as f64 }
    }
}

/// One run of one sleeper, for the waves that are no sines.
pub(super) struct Run<'a> {
    pub(super) samples: usize,
    banks: &'a Banks,
}

impl Run<'_> {
    /// ψ of channel `k`, if it is one that a converter can play.
    pub(super) fn carrier(&self, k: usize) -> Option<Motion> {
        self.banks.motion(0, k)
    }

    /// β + nφ of channel `k`.
    pub(super) fn beat(&self, k: usize) -> Option<Motion> {
        self.banks.motion(1, k)
    }

    /// Adds sin 2π(β + nφ) of channel `k`.
    pub(super) fn swing(&self, k: usize, out: &mut [f32]) {
        // Re[−i·e^{2πix}] = sin 2πx
        let sine = Complex::new(0.0, -1.0);
        self.sine(sine, sine, self.beat(k), out);
    }

    /// Adds the sine of `motion` whose coefficient goes from `from` to `to`.
    pub(super) fn sine(&self, from: Complex<f32>, to: Complex<f32>, motion: Option<Motion>, out: &mut [f32]) {
        if let Some(Motion { phase, step }) = motion {
            Sine { phase, step, from, to }.add_to(out);
        }
    }
}

/// The sines of a run for each ear, and every channel's coefficient at its ends.
#[derive(Clone, Debug)]
pub(super) struct Banks {
    ears: [Bank; 2],
    /// 1 where a converter can play a channel's line on an ear, 0 where it cannot.
    audible: [Parts; 2],
    /// Real and imaginary parts at the run's two ends.
    ends: [[Parts; 2]; 2],
}

impl Default for Banks {
    fn default() -> Self {
        let none = [0.0; CHANNELS_MAX];
        Self { ears: Default::default(), audible: [none; 2], ends: [[none; 2]; 2] }
    }
}

impl Banks {
    /// The run of them that waves are given.
    pub(super) fn run(&self, samples: usize) -> Run<'_> {
        Run { samples, banks: self }
    }

    /// The coefficient of channel `k` at the run's two ends.
    pub(super) fn coefficients(&self, k: usize) -> (Complex<f32>, Complex<f32>) {
        let [from, to] = &self.ends;
        (Complex::new(from[0][k], from[1][k]), Complex::new(to[0][k], to[1][k]))
    }

    /// Adds all sines to the ears.
    pub(super) fn add_to(&mut self, left: &mut [f32], right: &mut [f32]) {
        let [l, r] = &mut self.ears;
        l.add_to(left);
        r.add_to(right);
    }

    fn motion(&self, ear: usize, k: usize) -> Option<Motion> {
        let (phase, step) = self.ears[ear].motion(k);
        (self.audible[ear][k] != 0.0).then_some(Motion { phase: Phase::from_bits(phase), step })
    }
}

/// Fills the banks for the run of `samples` from sample `n` of the lines on; its result is Σ|m_k| at the run's two ends.
pub(super) struct FillBanks<'a> {
    pub(super) lines: &'a Lines,
    pub(super) banks: &'a mut Banks,
    pub(super) channels: usize,
    pub(super) n: usize,
    pub(super) samples: usize,
    pub(super) theta: Added,
    pub(super) phi: Added,
    /// The sleeper's own part and the others', at the run's two ends.
    pub(super) own: [At<'a>; 2],
    pub(super) others: [At<'a>; 2],
}

impl WithSimd for FillBanks<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        let Self { lines, banks, channels, n, samples, theta, phi, own, others } = self;
        let mut bounds = [0.0; 2];
        for end in 0..2 {
            let share = (n + end * samples) as f32 / lines.samples as f32;
            let mut sums = [0.0; SUM_LANES];
            let [re, im] = &mut banks.ends[end];
            let mut norm = [0.0; CHANNELS_MAX];
            for k in 0..channels {
                let amplitude = lines.amplitude[0][k] + (lines.amplitude[1][k] - lines.amplitude[0][k]) * share;
                let part = |part| (own[end].part(part, k) + others[end].part(part, k)) * amplitude;
                (re[k], im[k]) = harmless(part(0), part(1));
                norm[k] = lines.crest[k] * (re[k] * re[k] + im[k] * im[k]).sqrt();
            }
            for norms in norm.chunks_exact(SUM_LANES) {
                for lane in 0..SUM_LANES {
                    sums[lane] += norms[lane];
                }
            }
            bounds[end] = sums.iter().sum();
        }
        let [from, to] = &banks.ends;
        for ear in 0..2 {
            let line = &lines.ears[ear];
            let (bank, audible) = (banks.ears[ear].fill(channels), &mut banks.audible[ear]);
            for k in 0..channels {
                let (thetas, phis) = (line.theta[k], line.phi[k]);
                let along = line.step[k].wrapping_add(line.bend[k].wrapping_mul(n as i64));
                bank.phase[k] = line.phase[k]
                    .wrapping_add((along as u64).wrapping_mul(n as u64))
                    .wrapping_add(theta.phase.wrapping_mul(u64::from(thetas)))
                    .wrapping_add(phi.phase.wrapping_mul(u64::from(phis)));
                bank.step[k] = line.step[k]
                    .wrapping_add(line.bend[k].wrapping_mul((2 * n + samples) as i64))
                    .wrapping_add(theta.step.wrapping_mul(i64::from(thetas)))
                    .wrapping_add(phi.step.wrapping_mul(i64::from(phis)));
                let rate = line.rate[k] + f64::from(thetas) * theta.rate + f64::from(phis) * phi.rate;
                audible[k] = if rate.abs() < 0.5 { 1.0 } else { 0.0 };
            }
            let share = 1.0 / samples as f32;
            for k in 0..channels {
                let heard = lines.sine[k] * audible[k];
                bank.m.re[k] = from[0][k] * heard;
                bank.m.im[k] = from[1][k] * heard;
                bank.slope.re[k] = (to[0][k] - from[0][k]) * share * heard;
                bank.slope.im[k] = (to[1][k] - from[1][k]) * share * heard;
            }
        }
        (bounds[0], bounds[1])
    }
}
