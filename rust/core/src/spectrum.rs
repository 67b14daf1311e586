//! Noise of a spectrum that its author drew, as it is heard at node time.
//!
//! `.sbg` files draw noise as 32 levels in decibels, from 20 Hz to 20 kHz on a logarithmic scale. A filter that follows
//! them needs thousands of taps at the low end, where the levels lie 5 Hz apart: too much for every sample. SBaGenX takes
//! 129 taps, which blur everything below about 700 Hz into one level. Here the spectrum itself is drawn at random, block by
//! block: every line of a Fourier transform gets the level that its frequency has, times a random number, and the
//! transform back is a block of noise. Blocks overlap by half under a sine window, whose squares add up to 1, so the
//! power is the same everywhere. At 48 kHz a block of [`BLOCK`] samples has lines 5.9 Hz apart.
//!
//! A block depends on its number only, so that noise may begin anywhere and is the same on every platform; the
//! arithmetic is that of IEEE 754 in a fixed order. As only positive frequencies are drawn, a block is complex: its
//! imaginary part is the real one a quarter of a turn later at every frequency, which is what it takes to shift all of
//! them by a few hertz.
//!
//! Source: the behaviour of SBaGenX for the scale and the loudness (`noiseNN` has the power of white noise).
use std::sync::Arc;

use num_complex::Complex;

use crate::fourier::Transform;
use crate::loudness::Weights;

/// The samples of noise in a second of node time.
pub const NOISE_RATE: u32 = 48_000;
/// The root mean square of every noise; peaks reach 1 and are clipped there.
pub const NOISE_RMS: f32 = 0.18;
/// The levels that an author draws.
pub const LEVELS: usize = 32;
/// The lowest and the highest level, in decibels.
pub const LEVEL_DB_MAX: f64 = 24.0;
/// The frequencies of the first and the last level.
pub const LEVELS_HZ: (f64, f64) = (20.0, 20_000.0);
/// Samples of a block; half of them are new.
pub const BLOCK: usize = 8_192;

/// The spectrum of a noise, ready to be drawn.
#[derive(Clone, PartialEq, Debug)]
pub struct Spectrum {
    /// The amplitude of each line from 0 Hz to half the rate, so that the power of all, with what is not drawn, is [`NOISE_RMS`]².
    lines: Box<[f32]>,
    window: Box<[f32]>,
    transform: Transform,
    power: f32,
}

impl Spectrum {
    /// The spectrum through `levels`, in decibels: straight lines between them over the logarithm of the frequency, level
    /// below the first and above the last. Only how they differ counts. `None` unless there are [`LEVELS`] of them, none
    /// beyond ±[`LEVEL_DB_MAX`].
    pub fn drawn(levels: &[f64]) -> Option<Self> {
        if levels.len() != LEVELS || !levels.iter().all(|db| (-LEVEL_DB_MAX..=LEVEL_DB_MAX).contains(db)) {
            return None;
        }
        let (low, high) = LEVELS_HZ;
        let steps = (LEVELS - 1) as f64;
        Some(Self::of(|hz| {
            let place = (steps * libm::log(hz / low) / libm::log(high / low)).clamp(0.0, steps);
            let i = (place as usize).min(LEVELS - 2);
            let db = levels[i] + (levels[i + 1] - levels[i]) * (place - i as f64);
            libm::pow(10.0, db / 10.0)
        }))
    }

    /// The spectrum whose power is as `density` says, in any unit. What lies nearest to 0 Hz, which nobody hears, counts
    /// and is not drawn.
    pub fn of(density: impl Fn(f64) -> f64) -> Self {
        let hz = |line: usize| line as f64 * f64::from(NOISE_RATE) / BLOCK as f64;
        let mut powers: Vec<f64> = (0..=BLOCK / 2).map(|line| density(hz(line))).collect();
        powers[0] /= 2.0;
        let sum: f64 = powers.iter().sum();
        powers.iter_mut().for_each(|power| *power *= f64::from(NOISE_RMS).powi(2) / sum);
        powers[0] = 0.0;
        let weights = Weights::new(NOISE_RATE);
        let heard: f64 = powers.iter().enumerate().map(|(line, power)| power * f64::from(weights.of(hz(line)))).sum();
        let transform = Transform::new(BLOCK);
        Self {
            // Two numbers that are even over −1 … 1 have the power ⅔ together, half of it in the real part.
            lines: powers.iter().map(|power| libm::sqrt(3.0 * power) as f32).collect(),
            window: (0..BLOCK).map(|i| transform.window(i)).collect(),
            transform,
            power: 2.0 * heard as f32,
        }
    }

    /// The K-weighted power on both ears of noise of this spectrum whose coefficient is 1. Realtime-safe.
    pub fn power(&self) -> f32 {
        self.power
    }

    /// Fills `block` with block `number` of the noise of `seed`, under its window. Realtime-safe.
    fn fill(&self, seed: u64, number: i64, block: &mut [Complex<f32>]) {
        block.fill(Complex::new(0.0, 0.0));
        for (line, (x, size)) in block.iter_mut().zip(&self.lines).enumerate() {
            let (a, b) = two(seed, number, line as u64);
            *x = Complex::new(a * size, b * size);
        }
        self.transform.sum(block);
        block.iter_mut().zip(&self.window).for_each(|(x, weight)| *x *= weight);
    }
}

/// Two numbers from −1 to 1 for each line of each block: the finaliser of SplitMix64 over a counter.
#[inline(always)]
fn two(seed: u64, number: i64, line: u64) -> (f32, f32) {
    let counter = (number as u64).wrapping_mul(BLOCK as u64).wrapping_add(line);
    let mut x = seed.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    ((x as i32 >> 8) as f32 / 8_388_608.0, ((x >> 32) as i32 >> 8) as f32 / 8_388_608.0)
}

/// A source of noise of one spectrum on the grid of node time, and the two blocks of it that are being played.
#[derive(Clone, Debug)]
pub struct Drawn {
    spectrum: Arc<Spectrum>,
    seed: u64,
    /// The block whose first half, and the one before it whose second half, make the present samples.
    number: Option<i64>,
    blocks: [Box<[Complex<f32>]>; 2],
}

impl Drawn {
    /// A source of noise of `spectrum`; sources of different seeds have nothing in common.
    pub fn new(spectrum: Arc<Spectrum>, seed: u64) -> Self {
        let silence = || vec![Complex::new(0.0, 0.0); BLOCK].into_boxed_slice();
        Self { spectrum, seed, number: None, blocks: [silence(), silence()] }
    }

    /// The sample at `index` of the grid, and in the imaginary part the same a quarter of a turn later. Realtime-safe;
    /// passing into another half of a block costs one transform, starting two.
    pub fn at(&mut self, index: i64) -> Complex<f32> {
        const HALF: i64 = BLOCK as i64 / 2;
        let number = index.div_euclid(HALF);
        if self.number != Some(number) {
            let [before, now] = &mut self.blocks;
            if self.number == Some(number - 1) {
                core::mem::swap(before, now);
            } else {
                self.spectrum.fill(self.seed, number - 1, before);
            }
            self.spectrum.fill(self.seed, number, now);
            self.number = Some(number);
        }
        let place = index.rem_euclid(HALF) as usize;
        let sum = self.blocks[0][place + HALF as usize] + self.blocks[1][place];
        Complex::new(sum.re.clamp(-1.0, 1.0), sum.im.clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::oscillators::spectrum;
    use crate::program::NoiseColor;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn noise_is_the_same_wherever_it_begins(start in -1_000_000i64..1_000_000, ahead in 0i64..20_000, seed: u64) {
            let pink = Arc::new(spectrum(NoiseColor::Pink));
            let mut running = Drawn::new(Arc::clone(&pink), seed);
            for step in [0, ahead / 3, ahead] {
                running.at(start + step);
            }
            let mut fresh = Drawn::new(pink, seed);
            prop_assert_eq!(running.at(start + ahead), fresh.at(start + ahead));
        }
    }

    #[test]
    fn noise_is_as_loud_as_is_foretold_and_no_louder_than_the_colour_that_it_copies() {
        use crate::loudness::{noise_power, power_at, Meter};
        let tilt: [f64; LEVELS] = core::array::from_fn(|i| i as f64 - 20.0);
        let mut spectra = vec![(Spectrum::drawn(&tilt).unwrap(), None)];
        for color in [NoiseColor::White, NoiseColor::Pink, NoiseColor::Brown] {
            spectra.push((spectrum(color), Some(noise_power(color))));
        }
        for (spectrum, known) in spectra {
            let spectrum = Arc::new(spectrum);
            let (mut drawn, mut meter, mut power) = (Drawn::new(Arc::clone(&spectrum), 7), Meter::new(NOISE_RATE), 0.0);
            for part in 0..100 {
                let x: Vec<f32> = (0..19_200).map(|i| drawn.at(part * 19_200 + i).re).collect();
                meter.take(&x, &x);
                power += power_at(f64::from(meter.momentary_lufs())) / 100.0;
            }
            for foretold in [Some(spectrum.power()), known].into_iter().flatten() {
                let off_db = 10.0 * (power / f64::from(foretold)).log10();
                assert!(off_db.abs() < 0.4, "{foretold}, {known:?}: {off_db} dB off");
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        assert_eq!(Spectrum::drawn(&[0.0; LEVELS - 1]), None);
        assert_eq!(Spectrum::drawn(&[0.0; LEVELS + 1]), None);
        for bad in [24.1, -24.1, f64::NAN, f64::INFINITY] {
            let mut levels = [0.0; LEVELS];
            levels[7] = bad;
            assert_eq!(Spectrum::drawn(&levels), None, "{bad}");
        }
    }
}
