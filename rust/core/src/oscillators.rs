//! Sines and noise for one run of samples, from exact phases.
//!
//! An oscillator that keeps a float phase, or rotates a float vector, drifts: unseeded for 43 s it is wrong by 5 %.
//! Calling `sin` for every sample is exact and slow. Here time is cut into runs of at most [`Sine::run_max`] samples,
//! and each run begins anew from the exact integer phase of the rhythm, so that the last run of a night is as good as
//! its first. Within a run, sample i of Re[m·e^{2πi(p + i·s)}] obeys
//!
//! ```text
//! y[i + L] = 2 cos(2π·L·s) · y[i] − y[i − L]
//! ```
//!
//! for any L: one multiplication and one subtraction a sample. With L = 1 this is known to be noisy at low
//! frequencies; with L = [`LANES`] samples computed side by side it is L times better conditioned, needs few steps (16
//! in the longest run), and is a loop over plain arrays that a compiler or a SIMD crate vectorises. The first 2·L
//! samples are polynomials of integer phases. Errors grow with the square of the number of steps; below 150 Hz, where
//! the recurrence is at its worst, runs are shorter. Measured, the worst sample of a second against float64: below
//! −110 dB of the amplitude almost everywhere, and −100 dB where L samples are within a hertz of a whole half-turn.
//!
//! A coefficient that glides makes y = Re[(m + i·d)·e^…] = Re[m·e^…] + i·Re[d·e^…]: two such recurrences.
//!
//! **Noise** is the same on every platform, whenever it started. Its samples lie on a grid of 48 kHz of node time; the
//! white one is a hash of its index. Coloured noise is white noise through one-pole filters, which remember; so time
//! is cut into blocks of 2¹⁵ samples, each computed from silence with a run-up of 2¹⁴ samples, after which the slowest
//! filter (10 Hz) has forgotten all but 5e-10 of where it began: the seams are far below one bit of a 24-bit file.
//! Starting anywhere costs at most 49,152 filter steps once, passing into another block 16,384.
//!
//! Nothing here allocates. Results do not depend on the platform's mathematical library.
use num_complex::Complex;

use crate::phase::Phase;
use crate::program::NoiseColor;
use crate::units::{NodeTime, NS_PER_S};

/// How many samples the recurrence advances at once.
pub const LANES: usize = 16;
/// The longest run, in samples.
pub const RUN_MAX: usize = 256;
/// The longest run below [`SLOW_HZ`], in samples.
pub const SLOW_RUN_MAX: usize = 64;
/// Below this frequency runs are short.
pub const SLOW_HZ: f64 = 150.0;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64

type Lanes = [f32; LANES];

/// One sine over a run: Re[m(i)·e^{2πi(phase + i·step)}], with m going linearly from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Sine {
    /// The phase at the first sample.
    pub phase: Phase,
    /// What the phase advances a sample, in 2⁻⁶⁴ turn (signed: a frequency may be negative).
    pub step: i64,
    /// The coefficient at the first sample.
    pub from: Complex<f32>,
    /// The coefficient at the sample after the last.
    pub to: Complex<f32>,
}

impl Sine {
    /// The longest run that keeps its accuracy at `hz`.
    pub fn run_max(hz: f64) -> usize {
        if hz.abs() < SLOW_HZ {
            SLOW_RUN_MAX
        } else {
            RUN_MAX
        }
    }

    /// The step that leads from `from` to `to` in `samples`, where about `turns` turns lie between them.
    ///
    /// The phases are exact and only know the fraction of a turn; `turns` need only be right to half a turn.
    pub fn step_between(from: Phase, to: Phase, turns: f64, samples: usize) -> i64 {
        let fraction = (to - from).turns();
        let total = fraction + (turns - fraction).round();
        // Good to 1e-16 turn a sample; below Nyquist's frequency it fits.
        (total / samples.max(1) as f64 * TURN) as i64
    }

    /// Adds this sine to `out`, a run of at most [`RUN_MAX`] samples. Realtime-safe.
    ///
    /// This is the kernel in which a night is spent. It is a function of its arguments only.
    pub fn add_to(&self, out: &mut [f32]) {
        debug_assert!(out.len() <= RUN_MAX);
        let seeds = Seeds::new(self.phase, self.step);
        let mut steady = seeds.recurrence(self.from);
        let glide = (self.to - self.from) / out.len().max(1) as f32;
        let mut whole = out.chunks_exact_mut(LANES);
        if glide == Complex::default() {
            whole.by_ref().for_each(|group| add(group, &steady.next()));
            add(whole.into_remainder(), &steady.next());
            return;
        }
        let count = core::array::from_fn(|lane| lane as f32);
        let mut ramp = Ramp { steady, slope: seeds.recurrence(glide), count };
        whole.by_ref().for_each(|group| add(group, &ramp.next()));
        add(whole.into_remainder(), &ramp.next());
    }
}

#[inline(always)]
fn add(group: &mut [f32], samples: &Lanes) {
    group.iter_mut().zip(samples).for_each(|(out, y)| *out += y);
}

/// cos and sin of the first two groups of phases, and the factor that all later ones follow from.
struct Seeds {
    cos: [Lanes; 2],
    sin: [Lanes; 2],
    twice_cos: f32,
}

impl Seeds {
    #[inline(always)]
    fn new(phase: Phase, step: i64) -> Self {
        // The upper 32 bits suffice for an f32; rounding the step costs at most 31 · 2⁻³³ turn at the last seed.
        let start = (phase.bits() >> 32) as u32;
        let step_32 = ((step as u64).wrapping_add(1 << 31) >> 32) as u32;
        let mut seeds = Self { cos: [[0.0; LANES]; 2], sin: [[0.0; LANES]; 2], twice_cos: 0.0 };
        for group in 0..2 {
            for lane in 0..LANES {
                let i = (group * LANES + lane) as u32;
                let phase = start.wrapping_add(step_32.wrapping_mul(i)) as i32;
                seeds.cos[group][lane] = cos_turn(phase);
                seeds.sin[group][lane] = sin_turn(phase);
            }
        }
        seeds.twice_cos = (2.0 * cos_exact(step.wrapping_mul(LANES as i64))) as f32;
        seeds
    }

    #[inline(always)]
    fn recurrence(&self, m: Complex<f32>) -> Recurrence {
        let mut recurrence = Recurrence { older: [0.0; LANES], newer: [0.0; LANES], twice_cos: self.twice_cos };
        for lane in 0..LANES {
            recurrence.older[lane] = m.re * self.cos[0][lane] - m.im * self.sin[0][lane];
            recurrence.newer[lane] = m.re * self.cos[1][lane] - m.im * self.sin[1][lane];
        }
        recurrence
    }
}

struct Recurrence {
    older: Lanes,
    newer: Lanes,
    twice_cos: f32,
}

impl Recurrence {
    #[inline(always)]
    fn next(&mut self) -> Lanes {
        let now = self.older;
        let mut next = self.newer;
        next.iter_mut().zip(&now).for_each(|(next, now)| *next = self.twice_cos * *next - now);
        (self.older, self.newer) = (self.newer, next);
        now
    }
}

/// A recurrence plus i times another: a sine whose coefficient glides.
struct Ramp {
    steady: Recurrence,
    slope: Recurrence,
    count: Lanes,
}

impl Ramp {
    #[inline(always)]
    fn next(&mut self) -> Lanes {
        let (mut y, slope) = (self.steady.next(), self.slope.next());
        for lane in 0..LANES {
            y[lane] += self.count[lane] * slope[lane];
            self.count[lane] += LANES as f32;
        }
        y
    }
}

/// sin on −¼ … ¼ turn as x·P(x²), minimax on the interval (3e-9 before the coefficients are rounded to f32).
const SIN: [f32; 5] = [1.0, -0.166_666_48, 0.008_332_9, -0.000_198_009, 2.590_488_5e-6];

/// cos of `phase` · 2⁻³² turn, to 1.2e-7.
#[inline(always)]
fn cos_turn(phase: i32) -> f32 {
    // |phase| (one unit less below zero), so that ¼ − |phase| lies in −¼ … ¼ turn, where sin is a polynomial.
    let quarter_less = (1 << 30) - (phase ^ (phase >> 31));
    let x = quarter_less as f32 * (core::f32::consts::TAU / 4_294_967_296.0);
    let u = x * x;
    x * (SIN[0] + u * (SIN[1] + u * (SIN[2] + u * (SIN[3] + u * SIN[4]))))
}

#[inline(always)]
fn sin_turn(phase: i32) -> f32 {
    cos_turn(phase.wrapping_sub(1 << 30))
}

/// cos of `phase` · 2⁻⁶⁴ turn in f64, to 1e-13; arithmetic only, so that it is the same everywhere.
fn cos_exact(phase: i64) -> f64 {
    let quarter_less = (1 << 62) - (phase ^ (phase >> 63));
    let x = quarter_less as f64 * (core::f64::consts::TAU / TURN);
    let u = x * x;
    // Taylor's series of sin, (−1)^k / (2k + 1)!, which ends below 1e-13.
    const TERMS: [f64; 9] = [
        1.0,
        -1.0 / 6.0,
        1.0 / 120.0,
        -1.0 / 5_040.0,
        1.0 / 362_880.0,
        -1.0 / 39_916_800.0,
        1.0 / 6_227_020_800.0,
        -1.0 / 1_307_674_368_000.0,
        1.0 / 355_687_428_096_000.0,
    ];
    x * TERMS.iter().rev().fold(0.0, |sum, term| sum * u + term)
}

/// The samples of noise in a second of node time.
pub const NOISE_RATE: u32 = 48_000;
/// The root mean square of every colour; peaks reach 1 and are clipped there.
pub const NOISE_RMS: f32 = 0.18;

const BLOCK: i64 = 1 << 15;
const RUN_UP: i64 = 1 << 14;
/// e^(−2π·f/48000) for f = 10, 40, 160, 640, 2560, 10240 Hz.
const POLES: [f32; 6] = [0.998_691_86, 0.994_777_7, 0.979_273_85, 0.919_637_4, 0.715_264_26, 0.261_737_58];
/// The partial fractions of Π (1 − z_k/z) / (1 − p_k/z) with the zeros z_k an octave above the poles: −3 dB an octave,
/// within ±0.1 dB from 25 Hz to 5 kHz.
const PINK_GAINS: [f32; 6] = [0.026_132_697, 0.034_808_95, 0.064_718_18, 0.125_352_51, 0.233_758_87, 0.347_730_3];
const PINK_DIRECT: f32 = 0.167_498_51;
/// 1/√(energy of the impulse response), for pink and for a single pole at 10 Hz.
const PINK_NORM: f32 = 0.588_526_3;
const BROWN_NORM: f32 = 0.051_133_24;
const SQRT_3: f32 = 1.732_050_8;

/// A source of noise on the grid of node time. Its samples depend on colour, seed and instant only.
#[derive(Clone, Debug)]
pub struct Noise {
    color: NoiseColor,
    seed: u64,
    /// One-pole filters and the index of the sample that they have just produced.
    poles: [f32; 6],
    index: i64,
    /// The samples at `index` and before it.
    newest: f32,
    before: f32,
    started: bool,
}

impl Noise {
    /// A source of `color`; sources of different seeds have nothing in common.
    pub fn new(color: NoiseColor, seed: u64) -> Self {
        Self { color, seed, poles: [0.0; 6], index: 0, newest: 0.0, before: 0.0, started: false }
    }

    /// Writes the noise from `start` + `fraction`·2⁻³² ns on, each sample `step`·2⁻³² ns after the other.
    ///
    /// At a step of about one grid sample the nearest one is taken (a clock's correction then drops or repeats one now
    /// and again, which nobody hears, where an interpolation would slowly change the colour); otherwise two are
    /// interpolated. Realtime-safe.
    pub fn fill(&mut self, start: NodeTime, fraction: u32, step: u64, out: &mut [f32]) {
        // Positions on the grid in units of 2⁻³² sample.
        let rate = i128::from(NOISE_RATE);
        let at = (i128::from(start.ns()) << 32) + i128::from(fraction);
        let mut position = (at * rate).div_euclid(i128::from(NS_PER_S));
        let stride = i128::from(step) * rate / i128::from(NS_PER_S);
        let nearest = (stride - (1 << 32)).abs() < 1 << 25;
        if nearest {
            position += 1 << 31;
        }
        for out in out {
            let index = (position >> 32) as i64;
            *out = if nearest {
                self.seek(index);
                self.newest
            } else {
                self.seek(index.saturating_add(1));
                let share = (position & 0xffff_ffff) as f32 / 4_294_967_296.0;
                self.before + (self.newest - self.before) * share
            };
            position += stride;
        }
    }

    /// Makes `index` the newest sample, continuing where that is cheaper than starting over.
    fn seek(&mut self, index: i64) {
        if self.started && index == self.index {
            return;
        }
        let ahead = i128::from(index) - i128::from(self.index);
        if !self.started || !(0..=BLOCK as i128).contains(&ahead) {
            // The sample before is needed too, and may lie in the block before.
            self.index = index.saturating_sub(1);
            self.restart();
        }
        while self.index < index {
            self.index += 1;
            self.before = self.newest;
            if self.index.rem_euclid(BLOCK) == 0 {
                self.restart();
            } else {
                self.newest = self.shaped(self.index);
            }
        }
    }

    /// Computes the sample at `self.index` from the silence before the run-up of its block.
    fn restart(&mut self) {
        self.started = true;
        self.poles = [0.0; 6];
        if self.color == NoiseColor::White {
            self.newest = self.shaped(self.index);
            return;
        }
        let begin = self.index.div_euclid(BLOCK).saturating_mul(BLOCK).saturating_sub(RUN_UP);
        for index in begin..=self.index {
            self.newest = self.shaped(index);
        }
    }

    /// The next sample of the filters, fed with the white sample at `index`.
    #[inline(always)]
    fn shaped(&mut self, index: i64) -> f32 {
        let white = white(self.seed, index) * SQRT_3; // variance 1
        let sample = match self.color {
            NoiseColor::White => white,
            NoiseColor::Pink => {
                self.poles.iter_mut().zip(POLES).for_each(|(y, pole)| *y = *y * pole + white);
                let sum: f32 = self.poles.iter().zip(PINK_GAINS).map(|(y, gain)| y * gain).sum();
                (sum + PINK_DIRECT * white) * PINK_NORM
            }
            NoiseColor::Brown => {
                self.poles[0] = self.poles[0] * POLES[0] + white;
                self.poles[0] * BROWN_NORM
            }
        };
        (sample * NOISE_RMS).clamp(-1.0, 1.0)
    }
}

/// A number from −1 to 1 for each index: the finaliser of SplitMix64 over a counter (Steele, Lea and Flood, 2014).
#[inline(always)]
fn white(seed: u64, index: i64) -> f32 {
    let mut x = seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) as i64 >> 40) as f32 / 8_388_608.0
}
