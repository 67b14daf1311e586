//! Noise that is the same on every platform, whenever it started.
//!
//! Its samples lie on a grid of 48 kHz of node time; the
//! white one is a hash of its index. Coloured noise is white noise through one-pole filters, which remember; so time
//! is cut into blocks of 2¹⁵ samples, each computed from silence with a run-up of 2¹⁴ samples, after which the slowest
//! filter (10 Hz) has forgotten all but 5e-10 of where it began: the seams are far below one bit of a 24-bit file.
//! Starting anywhere costs at most 49,152 filter steps once, passing into another block 16,384.
//!
//! Nothing here allocates.
use num_complex::Complex;

use crate::program::NoiseColor;
use crate::sincos;
use crate::spectrum::{Drawn, Spectrum, NOISE_RATE, NOISE_RMS};
use crate::units::{NodeTime, NS_PER_S};

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
    /// Noise of a spectrum of its own comes from there instead.
    drawn: Option<Box<Drawn>>,
}

impl Noise {
    /// A source of `color`; sources of different seeds have nothing in common.
    pub fn new(color: NoiseColor, seed: u64) -> Self {
        Self { color, seed, poles: [0.0; 6], index: 0, newest: 0.0, before: 0.0, started: false, drawn: None }
    }

    /// A source of noise of a drawn spectrum.
    pub fn drawn(drawn: Drawn) -> Self {
        Self { drawn: Some(Box::new(drawn)), ..Self::new(NoiseColor::White, 0) }
    }

    /// Writes the noise from `start` + `fraction`·2⁻³² ns on, each sample `step`·2⁻³² ns after the other.
    ///
    /// At a step of about one grid sample the nearest one is taken (a clock's correction then drops or repeats one now
    /// and again, which nobody hears, where an interpolation would slowly change the colour); otherwise two are
    /// interpolated. Realtime-safe.
    pub fn fill(&mut self, start: NodeTime, fraction: u32, step: u64, out: &mut [f32]) {
        if let Some(drawn) = &mut self.drawn {
            let places = Places::new(start, fraction, step);
            return out.iter_mut().zip(places).for_each(|(out, place)| *out = place.of(drawn).re);
        }
        for (out, Place { index, share }) in out.iter_mut().zip(Places::new(start, fraction, step)) {
            *out = match share {
                None => {
                    self.seek(index);
                    self.newest
                }
                Some(share) => {
                    self.seek(index.saturating_add(1));
                    self.before + (self.newest - self.before) * share
                }
            };
        }
    }

    /// As [`Self::fill`] for noise of a drawn spectrum, and into `later` the same a quarter of a turn later at every
    /// frequency; silence for any other. Realtime-safe.
    pub fn fill_both(&mut self, start: NodeTime, fraction: u32, step: u64, out: &mut [f32], later: &mut [f32]) {
        let Some(drawn) = &mut self.drawn else {
            out.fill(0.0);
            return later.fill(0.0);
        };
        let places = Places::new(start, fraction, step);
        for ((out, later), place) in out.iter_mut().zip(later).zip(places) {
            Complex { re: *out, im: *later } = place.of(drawn);
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

/// Where samples of the output lie on the grid.
struct Places {
    /// In units of 2⁻³² sample.
    position: i128,
    stride: i128,
    nearest: bool,
}

/// A sample of the grid and, where two are interpolated, how far on the way to the next.
struct Place {
    index: i64,
    share: Option<f32>,
}

impl Places {
    fn new(start: NodeTime, fraction: u32, step: u64) -> Self {
        let rate = i128::from(NOISE_RATE);
        let at = (i128::from(start.ns()) << 32) + i128::from(fraction);
        let position = (at * rate).div_euclid(i128::from(NS_PER_S));
        let stride = i128::from(step) * rate / i128::from(NS_PER_S);
        let nearest = (stride - (1 << 32)).abs() < 1 << 25;
        Self { position: if nearest { position + (1 << 31) } else { position }, stride, nearest }
    }
}

impl Iterator for Places {
    type Item = Place;

    #[inline(always)]
    fn next(&mut self) -> Option<Place> {
        let share = (self.position & 0xffff_ffff) as f32 / 4_294_967_296.0;
        let place = Place { index: (self.position >> 32) as i64, share: (!self.nearest).then_some(share) };
        self.position += self.stride;
        Some(place)
    }
}

impl Place {
    fn of(&self, drawn: &mut Drawn) -> Complex<f32> {
        let here = drawn.at(self.index);
        match self.share {
            None => here,
            Some(share) => here + (drawn.at(self.index.saturating_add(1)) - here) * share,
        }
    }
}

/// The spectrum of a colour.
pub fn spectrum(color: NoiseColor) -> Spectrum {
    Spectrum::of(|hz| response(color, hz / f64::from(NOISE_RATE)))
}

/// The power density of the filter of `color` at `turns` a sample, where white noise is 1.
fn response(color: NoiseColor, turns: f64) -> f64 {
    let (sin, cos) = sincos::sin_cos(&[turns; sincos::LANES]);
    // 1 / (1 − p/z)
    let pole = |pole: f32| {
        let below = Complex::new(1.0 - f64::from(pole) * cos[0], f64::from(pole) * sin[0]);
        below.conj() / below.norm_sqr()
    };
    match color {
        NoiseColor::White => 1.0,
        NoiseColor::Pink => {
            let poles = POLES.iter().zip(PINK_GAINS).map(|(p, gain)| pole(*p) * f64::from(gain));
            (poles.sum::<Complex<f64>>() + f64::from(PINK_DIRECT)).norm_sqr() * f64::from(PINK_NORM).powi(2)
        }
        NoiseColor::Brown => pole(POLES[0]).norm_sqr() * f64::from(BROWN_NORM).powi(2),
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
