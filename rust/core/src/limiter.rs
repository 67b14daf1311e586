//! Holds the mix below a ceiling, and lets it become louder only slowly: without delay, distortion or surprises.
//!
//! A limiter that waits for a peak must either have it already (look-ahead: latency, which every platform would have
//! to account for in its phase) or cut it off (distortion). It also sees only samples, while a converter plays the
//! curve through them, which may rise 3 dB and more between two. And who measures loudness hears of it up to 400 ms
//! late. But here the mix is not an unknown signal: it is a sum of sines whose coefficients are known. So Σ|m_k| bounds
//! the curve itself, between samples too, and P = Σ|m_k|²·K²(f_k), with what near carriers add, is its loudness (see [`crate::loudness`]), both
//! before the first sample is computed. The gain is
//!
//! ```text
//! g(t) = min(1,  ceiling / Σ|m_k|,  r·g(t−1),  √(max(P₀, r²·g(t−1)²·P(t−1)) / P(t)))
//! ```
//!
//! with r the rise of [`RISE_DB_PER_S`] in one sample and P₀ a loudness below which nobody wakes. The second term is
//! as smooth as the coefficients, has no latency and leaves every sine a sine; the third and the fourth say that
//! neither the gain nor the loudness rises faster, however suddenly the mix does: who joins, what a score begins with
//! and what an opened gate lets out come in alike. A mean over 400 ms of a power that rises no faster than r² rises no
//! faster than r² either, so the law holds for momentary loudness as it is measured. A pulse, a bell and noise count as
//! loud as at their crest: their own movement is theirs. Tones less than some 3 Hz apart on one ear add by their
//! amplitudes: of one frequency as they are, of two as at the crest of their beat (`renderer/near.rs`). Below P₀ the third
//! and fourth terms do not bind.
//!
//! The price of Σ|m_k|: where many channels together exceed the ceiling on paper, it turns down although their crests
//! may never meet (some 5 dB for 32 equal channels). For sleep that is the right side to err on.
//!
//! While Σ|m_k| cannot reach the ceiling and nothing rises too fast, the samples are only looked at. A lower ceiling is
//! reached within 8 ms, a higher one at the speed of the rise. A last stage clips whatever a mistake elsewhere may
//! leave, and makes silence of what is not a number, and counts it.

use pulp::{Arch, Simd, WithSimd};

use crate::loudness::power_at;

/// −1 dB of full scale: no ceiling is higher.
pub const TRUE_PEAK_MAX: f32 = 0.891_250_9;
/// What is kept free below every ceiling for kinks: where a glide begins or ends, the curve between samples is not
/// quite that of a sine. 0.18 dB.
pub const HEADROOM: f32 = 0.98;
/// How fast gain and loudness may rise: 3 dB/s, less what a mean over 400 ms wavers while tones beat and voices turn round.
pub const RISE_DB_PER_S: f64 = 2.85;
/// Up to here they may rise at once: a little below −60 LUFS, so that a mean that has not filled yet is below it too.
pub const AT_ONCE_LUFS: f64 = -62.0;
/// How long a falling ceiling takes, in milliseconds.
const CEILING_MS: u32 = 8;

/// How strong a run of samples is at its first sample and at the sample after its last; between them, on or below the
/// line from one to the other.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Strength {
    /// Σ|m_k|, crests of noise and the like included: no point of the curve is farther from zero.
    pub peak: (f32, f32),
    /// Σ|m_k|²·K², and what near carriers add: the K-weighted power on both ears.
    pub power: (f32, f32),
}

impl Strength {
    /// What is no number counts as the largest there is: nobody knows how loud it is, so nothing of it is heard.
    fn known(self) -> Self {
        let known = |x: f32| if x.is_finite() { x } else { f32::MAX };
        Self { peak: (known(self.peak.0), known(self.peak.1)), power: (known(self.power.0), known(self.power.1)) }
    }
}

/// A gain that follows what is known of the mix. Realtime-safe throughout.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f64,
    /// What gain and power may rise by, a sample.
    rise: f64,
    rise_power: f64,
    /// Whether the loudness is held back, too.
    paced: bool,
    /// The power of what left last.
    heard: f64,
    at_once: f64,
    /// The ceiling in use; `None` before the first block.
    ceiling: Option<f32>,
    /// How far a ceiling falls in one sample, as a share of full scale.
    ceiling_fall: f32,
    dropped: u64,
}

impl Limiter {
    /// A limiter at `sample_rate` samples a second, for a person: after silence.
    pub fn new(sample_rate: u32) -> Self {
        let rise = 10f64.powf(RISE_DB_PER_S / 20.0 / f64::from(sample_rate));
        Self {
            gain: 1.0,
            rise,
            rise_power: rise * rise,
            paced: true,
            heard: 0.0,
            at_once: power_at(AT_ONCE_LUFS),
            ceiling: None,
            ceiling_fall: 1000.0 / (CEILING_MS * sample_rate) as f32,
            dropped: 0,
        }
    }

    /// One for a file that nobody lies next to: it holds the ceiling, and the loudness is the score's.
    pub fn unpaced(sample_rate: u32) -> Self {
        Self { paced: false, ..Self::new(sample_rate) }
    }

    /// What it multiplies by now, 0 to 1.
    pub fn gain(&self) -> f32 {
        self.gain as f32
    }

    /// Samples that were no numbers, since it was made.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Nothing is heard: what comes next comes out of silence.
    pub fn rest(&mut self) {
        (self.gain, self.heard, self.ceiling) = (1.0, 0.0, None);
    }

    /// Holds the next samples below `ceiling` (linear, at most [`TRUE_PEAK_MAX`]; what is no number counts as 0), and
    /// their loudness to what was heard before.
    pub fn process(&mut self, left: &mut [f32], right: &mut [f32], strength: Strength, ceiling: f32) {
        let wanted = HEADROOM * if ceiling.is_nan() { 0.0 } else { ceiling.clamp(0.0, TRUE_PEAK_MAX) };
        let ceiling = self.ceiling.unwrap_or(wanted).max(wanted);
        let strength = strength.known();
        let Strength { peak, power } = strength;
        let samples = left.len().max(1) as f64;
        // To first order: the rise of a whole run is a few hundredths of a decibel.
        let may = self.heard.max(self.at_once) * (1.0 + samples * (self.rise_power - 1.0));
        let loud = self.gain * self.gain * f64::from(power.0.max(power.1));
        let rests = wanted == ceiling && (!self.paced || loud <= may);
        if rests && self.gain == 1.0 && peak.0.max(peak.1) <= ceiling {
            self.untouched(left, right, ceiling);
        } else if rests && peak.0 == peak.1 && power.0 == power.1 && self.gain == f64::from(ceiling / peak.0) {
            let gain = self.gain as f32;
            left.iter_mut().chain(right.iter_mut()).for_each(|x| *x *= gain);
            self.untouched(left, right, ceiling);
        } else {
            self.moving(left, right, strength, (ceiling, wanted));
            return;
        }
        self.heard = self.gain * self.gain * f64::from(power.1);
        self.ceiling = Some(ceiling);
    }

    /// The gain moves from sample to sample; the ceiling falls from the first to the second of `ceilings`.
    fn moving(&mut self, left: &mut [f32], right: &mut [f32], strength: Strength, ceilings: (f32, f32)) {
        let Strength { peak, power } = strength;
        let (mut ceiling, wanted) = ceilings;
        let line = |ends: (f32, f32), samples: usize| (ends.0, (ends.1 - ends.0) / samples.max(1) as f32);
        let ((peak, peak_slope), (power, power_slope)) = (line(peak, left.len()), line(power, left.len()));
        for (i, (left, right)) in left.iter_mut().zip(right.iter_mut()).enumerate() {
            ceiling = (ceiling - self.ceiling_fall).max(wanted);
            let peak = (peak + peak_slope * i as f32).max(f32::MIN_POSITIVE);
            let power = f64::from((power + power_slope * i as f32).max(f32::MIN_POSITIVE));
            let recovered = (self.gain * self.rise).max((self.at_once / power).sqrt());
            let may = (self.heard * self.rise_power).max(self.at_once);
            let paced = if self.paced { (may / power).sqrt() } else { f64::INFINITY };
            self.gain = recovered.min(paced).min(f64::from(ceiling / peak)).min(1.0);
            self.heard = self.gain * self.gain * power;
            for x in [left, right] {
                *x *= self.gain as f32;
                if x.is_finite() {
                    *x = x.clamp(-ceiling, ceiling);
                }
            }
        }
        self.ceiling = Some(ceiling);
        self.untouched(left, right, ceilings.0);
    }

    /// What is right is not touched; what no bound foretold is clipped, or silenced where it is no number.
    fn untouched(&mut self, left: &mut [f32], right: &mut [f32], ceiling: f32) {
        let loudest = |x: &[f32]| Arch::new().dispatch(Loudest(x));
        if loudest(left).max(loudest(right)) <= ceiling.to_bits() {
            return;
        }
        for x in left.iter_mut().chain(right) {
            if x.is_finite() {
                *x = x.clamp(-ceiling, ceiling);
            } else {
                *x = 0.0;
                self.dropped += 1;
            }
        }
    }
}

/// The largest magnitude, as bits. Without their sign, floats are in the order of their bits, and what is not finite is
/// largest.
struct Loudest<'a>(&'a [f32]);

impl WithSimd for Loudest<'_> {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> u32 {
        let mut most = 0;
        for x in self.0 {
            most = u32::max(most, x.to_bits() & 0x7fff_ffff);
        }
        most
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::loudness::lufs;

    const RATE: u32 = 48_000;

    fn steady(size: f32) -> Strength {
        Strength { peak: (size, size), power: (size * size, size * size) }
    }

    fn pass(limiter: &mut Limiter, x: &[f32], strength: Strength, ceiling: f32) -> Vec<f32> {
        let (mut left, mut right) = (x.to_vec(), x.to_vec());
        limiter.process(&mut left, &mut right, strength, ceiling);
        assert_eq!(left, right);
        left
    }

    #[test]
    fn a_mix_of_unknown_strength_is_not_heard() {
        for unknown in [f32::NAN, f32::INFINITY] {
            for strength in [
                Strength { peak: (0.1, 0.1), power: (unknown, unknown) },
                Strength { peak: (0.1, 0.1), power: (0.01, unknown) },
                Strength { peak: (unknown, 0.1), power: (0.01, 0.01) },
            ] {
                let out = pass(&mut Limiter::new(RATE), &[0.1; 256], strength, 1.0);
                assert!(out[..255].iter().all(|x| x.abs() < 1e-3), "{strength:?}: {}", out[254]);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_leaves_as_silence_and_is_counted() {
        for size in [0.5, 5.0] {
            let mut limiter = Limiter::unpaced(RATE);
            let out = pass(&mut limiter, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1], steady(size), 1.0);
            assert_eq!(out[..3], [0.0; 3]);
            assert!(out[3] > 0.0);
            assert_eq!(limiter.dropped(), 6, "on both ears");
        }
    }

    #[test]
    fn the_ceiling_holds_even_if_the_bound_was_wrong() {
        for size in [0.1, 1.0] {
            let out = pass(&mut Limiter::unpaced(RATE), &[3.0, -1e30], steady(size), 0.5);
            assert!(out.iter().all(|x| x.abs() <= 0.5));
        }
        assert_eq!(pass(&mut Limiter::unpaced(RATE), &[0.7], steady(0.7), f32::NAN), [0.0]);
        assert_eq!(pass(&mut Limiter::unpaced(RATE), &[0.7], steady(0.7), -1.0), [0.0]);
    }

    #[test]
    fn a_lower_ceiling_is_reached_smoothly_within_eight_milliseconds() {
        let mut limiter = Limiter::unpaced(RATE);
        let x = [0.8; 400];
        pass(&mut limiter, &x, steady(0.8), 0.85);
        let out = pass(&mut limiter, &x, steady(0.8), 0.1);
        assert!(out[0] > 0.79);
        assert!(out.windows(2).all(|pair| pair[1] <= pair[0] && pair[0] - pair[1] < 0.003));
        assert!(out[384..].iter().all(|x| *x <= 0.1));
    }

    #[test]
    fn below_the_ceiling_no_bit_changes() {
        let x: Vec<f32> = (0..100).map(|i| (i as f32 / 10.0).sin() * 0.87).collect();
        assert_eq!(pass(&mut Limiter::unpaced(RATE), &x, steady(0.87), 1.0), x);
        let mut limiter = Limiter::new(RATE);
        limiter.heard = 1.0;
        assert_eq!(pass(&mut limiter, &x, steady(0.87), 1.0), x, "nor for a person who heard it already");
    }

    #[test]
    fn at_the_ceiling_the_gain_rests() {
        let (mut limiter, x) = (Limiter::unpaced(RATE), [1.0; 64]);
        let first = pass(&mut limiter, &x, steady(2.0), 0.5);
        assert_eq!(pass(&mut limiter, &x, steady(2.0), 0.5)[0], first[63]);
        assert_eq!(limiter.gain(), HEADROOM * 0.25);
    }

    #[test]
    fn after_a_silence_the_gain_is_back_at_once() {
        let mut limiter = Limiter::unpaced(RATE);
        pass(&mut limiter, &[1.0], steady(1000.0), 1.0);
        assert!(limiter.gain() < 0.001);
        pass(&mut limiter, &[0.0], steady(0.0), 1.0);
        assert_eq!(limiter.gain(), 1.0);
    }

    /// Runs of any strength, one after the other: the loudness above the quiet, and the gain, rise by 3 dB/s at most.
    #[test]
    fn neither_gain_nor_loudness_rises_faster_than_it_may() {
        let mut limiter = Limiter::new(RATE);
        let (mut x, mut before, mut gain) = (1u64, limiter.at_once, 1.0);
        let (per_sample, mut highest) = (RISE_DB_PER_S / f64::from(RATE), -200.0f32);
        for run in 0..40_000u32 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Long enough for it to come up; then as many sudden changes as there are runs.
            let size = if run % 10_000 < 8_000 { 0.2 } else { 10f32.powf((x >> 60) as f32 / 3.0 - 4.0) };
            let samples = 1 + (x >> 40) as usize % 256;
            pass(&mut limiter, &vec![size; samples], steady(size), 0.5);
            let rise_db = 10.0 * (limiter.heard.max(limiter.at_once) / before).log10();
            assert!(rise_db <= per_sample * samples as f64 + 1e-9, "run {run}: {rise_db} dB in {samples} samples");
            let free = gain * gain * f64::from(size * size) <= limiter.at_once * 1.000_001;
            assert!(free || limiter.gain <= gain * 10f64.powf(per_sample * samples as f64 / 20.0) + 1e-12);
            (before, gain) = (limiter.heard.max(limiter.at_once), limiter.gain);
            highest = highest.max(lufs(limiter.heard));
        }
        assert!(highest > -18.0, "it came up: {highest}");
    }

    #[test]
    fn what_comes_out_of_silence_begins_in_the_quiet() {
        let mut limiter = Limiter::new(RATE);
        for _ in 0..2 {
            let out = pass(&mut limiter, &vec![0.5; 20 * RATE as usize], steady(0.5), 1.0);
            assert!(lufs(f64::from(out[0]).powi(2)) < -61.9);
            assert_eq!(out.last(), Some(&0.5));
            limiter.rest();
        }
    }
}
