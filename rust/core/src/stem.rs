//! Music at node time: any moment of a recording, exactly between its samples, as often as it takes.
//!
//! A recording has a sample rate of its own, and the clock of a circle is corrected all night. A player that hands a
//! file to a sound card drifts away from every other one; one that jumps back into place clicks. Here a sample of the
//! output asks for the recording *at its node time*, to 2⁻³² of a frame, and gets the band-limited curve through the
//! recording's samples: a sum of [`TAPS`] of them, weighted by a sinc under a Kaiser window, from a table of
//! [`STEPS`] fractions with a line between two (errors below −90 dB up to 18 kHz). So a correction of the clock changes
//! the rate a little, as it does for every other wave, and all rooms play the same.
//!
//! What is looped overlaps its end with its new beginning, with weights u and 1 − u: so the sum never rises above what
//! was recorded, which the limiter counts on.
//!
//! Everything is computed from the position alone: no state, no history, any start.
use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::envelope::{Envelope, Shift};
use crate::fourier::quarter_later;
use crate::units::{NodeTime, Span, NS_PER_S};

/// Frames that make one frame of output.
pub const TAPS: usize = 32;
/// 36 dB above full scale: no recording that somebody meant is louder.
pub const SAMPLE_MAX: f32 = 64.0;
/// Fractions of a frame for which weights are kept.
const STEPS: usize = 512;
/// The shape of the Kaiser window: 90 dB down outside the band.
const KAISER_BETA: f64 = 9.0;
/// Where the band ends, as a share of half the sample rate.
const CUTOFF: f64 = 0.95;
/// Samples below this share of the largest one are not next to the highest point of the curve.
const NEAR_PEAK: f32 = 0.7;
/// What a quarter of a sample may miss.
const PEAK_MARGIN: f32 = 1.03;
/// The sample rates that a recording may have, in hertz.
pub const RATES: core::ops::RangeInclusive<u32> = 8_000..=192_000;
/// The longest recording, in frames: four hours at 48 kHz (5.5 GB of floats would be a mistake, not music).
pub const FRAMES_MAX: usize = 4 * 3600 * 48_000;

/// Why samples are no recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PcmError {
    /// A rate that nobody records at.
    #[error("a recording's sample rate must be from {lowest} to {highest} Hz, not {0}", lowest = RATES.start(), highest = RATES.end())]
    BadRate(u32),
    /// Nothing in it, or too much.
    #[error("a recording must have 1 to {FRAMES_MAX} frames, not {0}")]
    BadLength(usize),
    /// Ears of different length.
    #[error("both ears of a recording must have the same length")]
    Uneven,
}

/// A recording: samples of the left and the right ear, 1.0 = full scale.
#[derive(Clone, PartialEq, Debug)]
pub struct Pcm {
    rate: u32,
    left: Box<[f32]>,
    right: Box<[f32]>,
    peak: f32,
}

impl Pcm {
    /// The recording of `left` and `right` at `rate` frames a second. What is not finite becomes silence, and what is larger
    /// than [`SAMPLE_MAX`] that: nobody can foretell the loudness of a number whose square is none.
    pub fn new(rate: u32, mut left: Vec<f32>, mut right: Vec<f32>) -> Result<Self, PcmError> {
        if !RATES.contains(&rate) {
            return Err(PcmError::BadRate(rate));
        }
        if left.len() != right.len() {
            return Err(PcmError::Uneven);
        }
        if left.is_empty() || left.len() > FRAMES_MAX {
            return Err(PcmError::BadLength(left.len()));
        }
        for x in left.iter_mut().chain(&mut right) {
            *x = if x.is_finite() { x.clamp(-SAMPLE_MAX, SAMPLE_MAX) } else { 0.0 };
        }
        let mut pcm = Self { rate, left: left.into(), right: right.into(), peak: 0.0 };
        pcm.peak = pcm.highest();
        Ok(pcm)
    }

    /// How high its curve rises, between samples too.
    pub fn peak(&self) -> f32 {
        self.peak
    }

    /// Looks between two samples only where they are so large that the curve between them could be the highest.
    fn highest(&self) -> f32 {
        let largest = |ear: &[f32]| ear.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let sampled = largest(&self.left).max(largest(&self.right));
        let mut highest = sampled;
        for i in 0..self.frames() {
            if self.left[i].abs().max(self.right[i].abs()) < NEAR_PEAK * sampled {
                continue;
            }
            for quarter in [-3i128, -2, -1, 1, 2, 3] {
                let (left, right) = self.at(weights(), ((i as i128) << 32) + (quarter << 30), false);
                highest = highest.max(left.abs()).max(right.abs());
            }
        }
        highest * PEAK_MARGIN
    }

    /// Frames a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// How many frames it has; never none.
    pub fn frames(&self) -> usize {
        self.left.len()
    }

    /// How long it lasts.
    pub fn duration(&self) -> Span {
        Span::from_ns((self.frames() as i128 * i128::from(NS_PER_S) / i128::from(self.rate)) as i64)
    }

    /// Left and right at `position`, in 2⁻³² frame; outside is silence, or with `round` its own other end.
    /// Realtime-safe.
    fn at(&self, weights: &Weights, position: i128, round: bool) -> (f32, f32) {
        let first = (position >> 32) as i64 - (TAPS as i64 / 2 - 1);
        let frames = self.frames() as i64;
        let place = (position as u32) as f32 * (STEPS as f32 / 4_294_967_296.0);
        let step = (place as usize).min(STEPS - 1);
        let share = place - step as f32;
        let (here, there) = (&weights.0[step], &weights.0[step + 1]);
        let (mut left, mut right) = (0.0, 0.0);
        if round && (first < 0 || first > frames - TAPS as i64) {
            for (tap, (a, b)) in here.iter().zip(there).enumerate() {
                let frame = (first + tap as i64).rem_euclid(frames) as usize;
                let weight = a + (b - a) * share;
                left += weight * self.left[frame];
                right += weight * self.right[frame];
            }
            return (left, right);
        }
        if first <= -(TAPS as i64) || first >= frames {
            return (0.0, 0.0);
        }
        // The taps that fall on frames that exist.
        let skip = (-first).max(0) as usize;
        let from = first.max(0) as usize;
        let count = (TAPS - skip).min(self.frames() - from);
        let frames = self.left[from..from + count].iter().zip(&self.right[from..from + count]);
        for ((l, r), (a, b)) in frames.zip(here[skip..].iter().zip(&there[skip..])) {
            let weight = a + (b - a) * share;
            left += weight * l;
            right += weight * r;
        }
        (left, right)
    }
}

/// The weights of [`TAPS`] frames for each fraction of a frame.
struct Weights(Box<[[f32; TAPS]]>);

/// The table that all recordings share. The first call computes it, so make it before the night.
#[expect(clippy::disallowed_types, reason = "made with the first recording; who renders only looks at it")]
fn weights() -> &'static Weights {
    static WEIGHTS: std::sync::OnceLock<Weights> = std::sync::OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let row = |step: usize| {
            let fraction = step as f64 / STEPS as f64;
            let mut row: [f64; TAPS] = core::array::from_fn(|tap| {
                let distance = tap as f64 - (TAPS / 2 - 1) as f64 - fraction;
                let edge = 2.0 * distance / TAPS as f64;
                let window = bessel(KAISER_BETA * (1.0 - edge * edge).max(0.0).sqrt()) / bessel(KAISER_BETA);
                let x = core::f64::consts::PI * CUTOFF * distance;
                CUTOFF * window * if x == 0.0 { 1.0 } else { libm::sin(x) / x }
            });
            // A constant stays a constant, whatever the fraction.
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
            row.map(|weight| weight as f32)
        };
        Weights((0..=STEPS).map(row).collect())
    })
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// The recordings that were found, by the name that a score calls them.
pub type Stems = BTreeMap<String, Arc<Pcm>>;

/// How a recording's ears are shifted apart.
#[derive(Clone, Debug, PartialEq)]
struct Shifted {
    shift: Shift,
    /// The mean of both ears a quarter of a turn later, if there is a recording.
    later: Option<Arc<Pcm>>,
}

/// A recording in a program.
#[derive(Clone)]
pub struct Stem {
    /// The recording; `None` if it is missing, and then it is silent.
    pub pcm: Option<Arc<Pcm>>,
    /// When its first frame sounds.
    pub start: NodeTime,
    /// Whether it begins again when it ends, and how long the end and the new beginning overlap: 0 for a recording
    /// that was made to meet itself.
    pub looped: Option<Span>,
    /// The loudness over the beat's cycle, read at β + n·φ.
    pub envelope: Option<Arc<Envelope>>,
    /// Whether the beat turns it between the ears; then the frequency of the carrier counts as the width, in µs.
    pub turned: bool,
    /// What it is turned by, from −1 to 1, where that is no sine.
    pub motion: Option<Arc<Envelope>>,
    /// How its ears are shifted apart.
    shift: Option<Shifted>,
    weights: &'static Weights,
}

impl core::fmt::Debug for Stem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let frames = self.pcm.as_ref().map(|pcm| pcm.frames());
        write!(f, "Stem({frames:?} frames from {:?}, {:?}, {})", self.start, self.looped, self.turned)
    }
}

impl PartialEq for Stem {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.looped, self.turned) == (other.start, other.looped, other.turned)
            && self.pcm == other.pcm
            && (&self.envelope, &self.motion, &self.shift) == (&other.envelope, &other.motion, &other.shift)
    }
}

impl Stem {
    /// A recording that begins at `start`.
    pub fn new(pcm: Option<Arc<Pcm>>, start: NodeTime, looped: Option<Span>) -> Self {
        Self { pcm, start, looped, envelope: None, turned: false, motion: None, shift: None, weights: weights() }
    }

    /// Has the ears shifted apart: both get the mean of both, the left one lower and the right one higher. Takes a second
    /// for some minutes of music.
    pub fn shift_apart(&mut self, shift: Shift) {
        let later = self.pcm.as_ref().and_then(|pcm| {
            let mean: Vec<f32> = pcm.left.iter().zip(&pcm.right).map(|(l, r)| (l + r) * 0.5).collect();
            let later = quarter_later(&mean);
            Pcm::new(pcm.rate, later.clone(), later).ok().map(Arc::new)
        });
        self.shift = Some(Shifted { shift, later });
    }

    /// How its ears are shifted apart, if they are. Realtime-safe.
    pub fn shift(&self) -> Option<&Shift> {
        self.shift.as_ref().map(|shifted| &shifted.shift)
    }

    /// How high it rises; 0 if it is missing. Realtime-safe.
    pub fn peak(&self) -> f32 {
        let later = self.shift.as_ref().and_then(|shifted| shifted.later.as_ref());
        [self.pcm.as_ref(), later].into_iter().flatten().map(|pcm| pcm.peak).sum()
    }

    /// As [`Self::fill`], with what [`Self::shift_apart`] turns it by; silence without that. `scratch` is overwritten.
    /// Realtime-safe.
    pub fn fill_later(&self, start: NodeTime, fraction: u32, step: u64, later: &mut [f32], scratch: &mut [f32]) {
        let pcm = self.shift.as_ref().and_then(|shifted| shifted.later.as_deref());
        self.fill_from(pcm, start, fraction, step, later, scratch);
    }

    /// Fills `left` and `right` with the music from `start` + `fraction`·2⁻³² ns on, each sample `step`·2⁻³² ns after
    /// the other. Silent before its start, and after its end unless it is looped. Realtime-safe.
    pub fn fill(&self, start: NodeTime, fraction: u32, step: u64, left: &mut [f32], right: &mut [f32]) {
        self.fill_from(self.pcm.as_deref(), start, fraction, step, left, right);
    }

    fn fill_from(
        &self,
        pcm: Option<&Pcm>,
        start: NodeTime,
        fraction: u32,
        step: u64,
        left: &mut [f32],
        right: &mut [f32],
    ) {
        let Some(pcm) = pcm else {
            left.fill(0.0);
            right.fill(0.0);
            return;
        };
        let rate = i128::from(pcm.rate);
        let since = (i128::from((start - self.start).ns()) << 32) + i128::from(fraction);
        let mut position = (since * rate).div_euclid(i128::from(NS_PER_S));
        let stride = i128::from(step) * rate / i128::from(NS_PER_S);
        let end = (pcm.frames() as i128) << 32;
        // An overlap is at most half of the recording, so that only two voices ever meet.
        let overlap =
            self.looped.map(|span| ((i128::from(span.ns().max(0)) * rate / i128::from(NS_PER_S)) << 32).min(end / 2));
        for (left, right) in left.iter_mut().zip(right) {
            (*left, *right) = match overlap {
                _ if position < 0 => (0.0, 0.0),
                None => pcm.at(self.weights, position, false),
                Some(overlap) => {
                    let period = end - overlap;
                    let within = position % period;
                    let here = pcm.at(self.weights, within, overlap == 0);
                    if within >= overlap || position < period {
                        here
                    } else {
                        let u = within as f32 / overlap as f32;
                        let before = pcm.at(self.weights, within + period, false);
                        (before.0 + (here.0 - before.0) * u, before.1 + (here.1 - before.1) * u)
                    }
                }
            };
            position += stride;
        }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    const START: NodeTime = NodeTime::from_ns(7_000_000_000);
    const STEP_48K: u64 = (1_000_000_000 << 32) / 48_000;

    fn sine(hz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let n = (f64::from(rate) * seconds) as usize;
        (0..n).map(|i| (core::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin() as f32).collect()
    }

    fn play(stem: &Stem, from_s: f64, frames: usize) -> (Vec<f32>, Vec<f32>) {
        let (mut left, mut right) = (vec![9.0; frames], vec![9.0; frames]);
        let start = START + Span::from_ns((from_s * 1e9).round() as i64);
        stem.fill(start, 0, STEP_48K, &mut left, &mut right);
        (left, right)
    }

    proptest! {
        #[test]
        fn between_its_samples_it_is_the_curve_that_was_recorded(
            hz in 20.0f64..15_000.0, rate in prop::sample::select(vec![44_100u32, 48_000, 96_000]), from_s in 0.05f64..0.4
        ) {
            let stem = Stem::new(Some(Arc::new(Pcm::new(rate, sine(hz, rate, 0.6), sine(hz / 2.0, rate, 0.6)).unwrap())), START, None);
            let (left, right) = play(&stem, from_s, 500);
            for i in 0..500 {
                let t = (from_s * 1e9).round() / 1e9 + i as f64 / 48_000.0;
                let turn = core::f64::consts::TAU * t * hz;
                prop_assert!((f64::from(left[i]) - turn.sin()).abs() < 1e-3, "{} {}", left[i], turn.sin());
                prop_assert!((f64::from(right[i]) - (turn / 2.0).sin()).abs() < 1e-3);
            }
        }

        #[test]
        fn a_loop_is_gapless_and_never_louder_than_the_rest(seed in 1u32..1000, overlap_ms in 1i64..400) {
            // Noise, so that the two voices of an overlap are strangers.
            let mut x = seed;
            let mut noise = || { x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (x >> 8) as f32 / 8_388_608.0 - 1.0 };
            let pcm = Pcm::new(48_000, (0..48_000).map(|_| noise()).collect(), (0..48_000).map(|_| noise()).collect()).unwrap();
            let stem = Stem::new(Some(Arc::new(pcm)), START, Some(Span::from_ms(overlap_ms)));
            let (left, _) = play(&stem, 0.1, 48_000 * 4);
            for part in left.chunks_exact(4_800) {
                let power = part.iter().map(|x| x * x).sum::<f32>() / part.len() as f32;
                // Two strangers at a half each have half of the power.
                prop_assert!((0.14..0.40).contains(&power), "{power}");
            }
            prop_assert!(left.iter().all(|x| x.abs() <= stem.peak()), "above {}", stem.peak());
        }
    }

    #[test]
    fn it_is_silent_where_it_is_not() {
        let tone = || sine(440.0, 48_000, 1.0);
        let once = Stem::new(Some(Arc::new(Pcm::new(48_000, tone(), tone()).unwrap())), START, None);
        for from_s in [-100.0, -0.02, 1.01, 1e6] {
            assert!(play(&once, from_s, 100).0.iter().all(|x| *x == 0.0), "{from_s}");
        }
        let missing = Stem::new(None, START, Some(Span::from_s(1)));
        assert!(play(&missing, 0.5, 100).0.iter().all(|x| *x == 0.0));
        let looped = Stem { looped: Some(Span::ZERO), ..once };
        let (later, _) = play(&looped, 7.25, 1000);
        let (first, _) = play(&looped, 0.25, 1000);
        assert!(later.iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        assert_eq!(Pcm::new(7_000, vec![0.0], vec![0.0]), Err(PcmError::BadRate(7_000)));
        assert_eq!(Pcm::new(48_000, vec![], vec![]), Err(PcmError::BadLength(0)));
        assert_eq!(Pcm::new(48_000, vec![0.0], vec![]), Err(PcmError::Uneven));
        let absurd = Pcm::new(48_000, vec![1e20, 0.0, 1.0], vec![0.0, f32::MAX, -f32::MAX]).unwrap();
        assert!((SAMPLE_MAX..3.0 * SAMPLE_MAX).contains(&absurd.peak()), "{}", absurd.peak());
        let pcm = Pcm::new(48_000, vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0]).unwrap();
        assert_eq!((pcm.left[0], pcm.right[0]), (0.0, 0.0));
    }
}
