//! A stretch of at most 256 samples in which everything moves linearly, for one sleeper.
//!
//! What all share lies in [`Lines`]; here a sleeper's own rhythm, offset and coefficients are added, over all channels at
//! once, and become two banks of sines and what the limiter has to know.
// A channel goes through many arrays at once, and reads as one line where its index stands at each of them.
#![allow(clippy::needless_range_loop)]

use num_complex::Complex;
use pulp::{Arch, Simd, WithSimd};

use super::course::Course;
use super::glide::{harmless, At, Parts};
use super::lines::Lines;
use crate::limiter::Strength;
use crate::oscillators::{Bank, Sine, Starts};
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
        if way == PhaseOffset::ZERO {
            return Self { phase: from.bits() as u64, step: 0, rate: 0.0 };
        }
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
        (self.coefficient(0, k), self.coefficient(1, k))
    }

    /// The coefficient of channel `k` at an end of the run.
    pub(super) fn coefficient(&self, end: usize, k: usize) -> Complex<f32> {
        Complex::new(self.ends[end][0][k], self.ends[end][1][k])
    }

    /// The phase of a line of channel `k` at sample `n` of the run, in 2⁻⁶⁴ turn.
    pub(super) fn phase(&self, line: usize, k: usize, n: usize) -> u64 {
        let (phase, step) = self.ears[line].motion(k);
        phase.wrapping_add((step as u64).wrapping_mul(n as u64))
    }

    /// Writes the sum of all sines to each ear; `starts` holds what is known of them.
    pub(super) fn write_to(&mut self, left: &mut [f32], right: &mut [f32], starts: Option<&[Starts; 2]>) {
        let [l, r] = &mut self.ears;
        l.write_to(left, starts.map(|[starts, _]| starts));
        r.write_to(right, starts.map(|[_, starts]| starts));
    }

    fn motion(&self, ear: usize, k: usize) -> Option<Motion> {
        let (phase, step) = self.ears[ear].motion(k);
        (self.audible[ear][k] != 0.0).then_some(Motion { phase: Phase::from_bits(phase), step })
    }
}

/// Fills the banks for the run of `samples` from sample `n` of the lines on; its result is how strong the run is.
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

impl FillBanks<'_> {
    // By itself: what it becomes on machines without vectors would slow down what calls it on those that have them.
    #[inline(never)]
    pub(super) fn fill(self) -> Strength {
        Arch::new().dispatch(self)
    }
}

impl WithSimd for FillBanks<'_> {
    type Output = Strength;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Strength {
        let Self { lines, banks, channels, n, samples, theta, phi, own, others } = self;
        let channels = channels.min(CHANNELS_MAX);
        let [from, to] = &mut banks.ends;
        let (peak_from, power_from) = end_of(lines, channels, &own[0], &others[0], 0, n, from);
        let still = own[0].left == 0.0 && others[0].left == 0.0 && lines.is_steady;
        let (peak_to, power_to) = if still {
            *to = *from;
            (peak_from, power_of(&lines.weight[1], channels, to))
        } else {
            end_of(lines, channels, &own[1], &others[1], 1, n + samples, to)
        };
        let [from, to] = &banks.ends;
        for ear in 0..2 {
            let line = &lines.ears[ear];
            let (bank, audible) = (banks.ears[ear].fill(channels, !still), &mut banks.audible[ear]);
            let whole = n == 0 && samples == lines.samples;
            for k in 0..if whole { 0 } else { channels } {
                let along = line.step[k].wrapping_add(line.bend[k].wrapping_mul(n as i64));
                bank.phase[k] = line.phase[k].wrapping_add((along as u64).wrapping_mul(n as u64));
                bank.step[k] = line.step[k].wrapping_add(line.bend[k].wrapping_mul((2 * n + samples) as i64));
            }
            for k in 0..channels {
                let (count, locked) = (line.count[k], line.locked[k]);
                let (phase, step) =
                    if whole { (line.phase[k], line.straight[k]) } else { (bank.phase[k], bank.step[k]) };
                let added = (theta.phase & locked).wrapping_add(phi.phase).wrapping_mul(count);
                bank.phase[k] = phase.wrapping_add(added);
                let added = (theta.step as u64 & locked).wrapping_add(phi.step as u64).wrapping_mul(count);
                bank.step[k] = step.wrapping_add(added as i64);
            }
            let rate_max = lines.rate_max + f64::from(lines.count_max) * (theta.rate.abs() + phi.rate.abs());
            if rate_max < 0.5 {
                audible[..channels].fill(1.0);
            } else {
                for k in 0..channels {
                    let theta_rate = if line.locked[k] == 0 { 0.0 } else { theta.rate };
                    let rate = line.rate[k] + line.count[k] as f64 * (theta_rate + phi.rate);
                    audible[k] = if rate.abs() < 0.5 { 1.0 } else { 0.0 };
                }
            }
            let share = 1.0 / samples as f32;
            for k in 0..channels {
                let heard = lines.sine[k] * audible[k];
                bank.m.re[k] = from[0][k] * heard;
                bank.m.im[k] = from[1][k] * heard;
            }
            for k in 0..if still { 0 } else { channels } {
                let heard = lines.sine[k] * audible[k];
                bank.slope.re[k] = (to[0][k] - from[0][k]) * share * heard;
                bank.slope.im[k] = (to[1][k] - from[1][k]) * share * heard;
            }
        }
        let mut power = (power_from, power_to);
        if !lines.near.is_empty() {
            let near = lines.near.power(banks, samples);
            power = (power.0 + near.0, power.1 + near.1);
        }
        Strength { peak: (peak_from, peak_to), power }
    }
}

/// Writes the coefficients at sample `n` of the lines, an end of the run, and returns the sums of their peaks and powers.
#[inline(always)]
fn end_of(
    lines: &Lines,
    channels: usize,
    own: &At<'_>,
    others: &At<'_>,
    end: usize,
    n: usize,
    out: &mut [Parts; 2],
) -> (f32, f32) {
    let share = n as f32 / lines.samples as f32;
    let [re, im] = out;
    sum_of(own, others, 0, re);
    sum_of(own, others, 1, im);
    let mut norm = [0.0; CHANNELS_MAX];
    for k in 0..channels {
        let amplitude = lines.amplitude[0][k] + (lines.amplitude[1][k] - lines.amplitude[0][k]) * share;
        (re[k], im[k]) = harmless(re[k] * amplitude, im[k] * amplitude);
        norm[k] = lines.crest[k] * (re[k] * re[k] + im[k] * im[k]).sqrt();
    }
    (sum(&norm, channels), power_of(&lines.weight[end], channels, out))
}

/// The sum of the coefficients' powers, weighted.
#[inline(always)]
fn power_of(weight: &Parts, channels: usize, [re, im]: &[Parts; 2]) -> f32 {
    let mut power = [0.0; CHANNELS_MAX];
    for k in 0..channels {
        power[k] = weight[k] * (re[k] * re[k] + im[k] * im[k]);
    }
    sum(&power, channels)
}

/// The real (0) or imaginary (1) parts of a sleeper's own coefficients and the others', together.
#[inline(always)]
fn sum_of(own: &At<'_>, others: &At<'_>, part: usize, out: &mut Parts) {
    let (own_to, others_to) = (own.to[part], others.to[part]);
    let channels = own_to.len().min(others_to.len()).min(CHANNELS_MAX);
    for k in 0..channels {
        out[k] = own_to[k] + others_to[k];
    }
    for at in [own, others] {
        if at.left != 0.0 {
            let (from, to) = (at.from[part], at.to[part]);
            for k in 0..from.len().min(to.len()).min(CHANNELS_MAX) {
                out[k] += (from[k] - to[k]) * at.left;
            }
        }
    }
}

/// The sum of the first `channels`, in an order that suits vectors of any width.
#[inline(always)]
fn sum(parts: &Parts, channels: usize) -> f32 {
    let mut sums = [0.0; SUM_LANES];
    for chunk in &parts.as_chunks::<SUM_LANES>().0[..channels.div_ceil(SUM_LANES)] {
        for lane in 0..SUM_LANES {
            sums[lane] += chunk[lane];
        }
    }
    let (mut eight, mut four) = ([0.0; 8], [0.0; 4]);
    for lane in 0..8 {
        eight[lane] = sums[lane] + sums[lane + 8];
    }
    for lane in 0..4 {
        four[lane] = eight[lane] + eight[lane + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}
