//! The loudness of a pulsing sound over one cycle of its beat, as a table.
//!
//! An envelope is drawn by its author, or made from a formula with corners in it, and then read hundreds of thousands
//! of times a second from an exact phase. So it is computed once, before the night, at [`POINTS`] places of the cycle,
//! and read with a straight line between two of them: 4096 places lie 0.25 ms apart at one beat a second, closer than
//! a carrier of 2 kHz turns once, and the line errs by less than 1e-4 for anything as smooth as a pulse.
//!
//! Four ways to draw one are known to `.sbg` files. Sources: the manuals of SBaGen (appendix "User-defined
//! waveforms") and of SBaGenX (`-I`, `-H`, `customNN`), and the behaviour of SBaGen+ for the standard pulse.
use std::sync::Arc;

use crate::phase::Phase;
use crate::sincos;

/// Places of the cycle at which an envelope is kept.
pub const POINTS: usize = 4096;
/// The most samples that an author may draw.
pub const SAMPLES_MAX: usize = 2048;

/// How loudness goes from one sample to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Edge {
    /// It stays, then jumps.
    Hard,
    /// A straight line.
    #[default]
    Linear,
    /// 3u² − 2u³.
    Smooth,
    /// 6u⁵ − 15u⁴ + 10u³.
    Smoother,
}

impl Edge {
    /// What `e=0` … `e=3` mean in `.sbg` files.
    pub const ALL: [Self; 4] = [Self::Hard, Self::Linear, Self::Smooth, Self::Smoother];

    /// The way from 0 to 1, for `u` in 0 … 1.
    fn rise(self, u: f64) -> f64 {
        match self {
            Self::Hard => 0.0,
            Self::Linear => u,
            Self::Smooth => u * u * (3.0 - 2.0 * u),
            Self::Smoother => u * u * u * (u * (u * 6.0 - 15.0) + 10.0),
        }
    }
}

/// One cycle of an oscillator, from −1 to 1, beginning at 0 or, where it jumps, at the jump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// sin 2πx.
    #[default]
    Sine,
    /// 1 in the first half of the cycle, −1 in the second.
    Square,
    /// From 0 up to 1 at a quarter, down to −1 at three quarters, and back.
    Triangle,
    /// From −1 to 1.
    Sawtooth,
}

/// The window of a cycle in which a pulse sounds, and how it comes and goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Window {
    /// Where in the cycle it opens, 0 to 1.
    pub start: f64,
    /// What share of the cycle it is open, above 0, at most 1.
    pub duty: f64,
    /// The share of the window in which loudness rises.
    pub attack: f64,
    /// The share of the window in which it falls; `attack + release` is at most 1.
    pub release: f64,
    /// How it rises and falls.
    pub edge: Edge,
}

/// A loudness from 0 to 1 for every phase, or a motion from −1 to 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Envelope {
    /// `POINTS + 1` values: the last is the first again.
    table: Box<[f32]>,
}

impl Envelope {
    /// The envelope that is `loudness(x)` at the share x of the cycle.
    fn tabulated(loudness: impl Fn(f64) -> f64) -> Self {
        let mut table: Vec<f32> = (0..POINTS).map(|i| loudness(i as f64 / POINTS as f64) as f32).collect();
        table.push(table[0]);
        Self { table: table.into() }
    }

    /// The pulse that isochronic files are written for: 3p² − 2p³ with p = max(0, (sin 2πx − 0.3) / 0.7).
    pub fn standard() -> Self {
        Self::shape(Shape::Sine).pulsed()
    }

    /// The motion of one cycle of an oscillator.
    pub fn shape(shape: Shape) -> Self {
        Self::tabulated(|x| match shape {
            Shape::Sine => sine(x),
            Shape::Square if x < 0.5 => 1.0,
            Shape::Square => -1.0,
            Shape::Triangle => 1.0 - 4.0 * ((x + 0.25).rem_euclid(1.0) - 0.5).abs(),
            Shape::Sawtooth => 2.0 * x - 1.0,
        })
    }

    /// The pulse that this motion makes: silence up to 0.3, then 3p² − 2p³ of how far it rises.
    pub fn pulsed(&self) -> Self {
        self.map(|x| Edge::Smooth.rise(((f64::from(x) - 0.3) / 0.7).clamp(0.0, 1.0)) as f32)
    }

    /// This envelope or motion, `share` times as large.
    pub fn scaled(&self, share: f32) -> Self {
        self.map(|x| share * x)
    }

    /// This motion under an envelope.
    pub fn under(&self, envelope: &Self) -> Self {
        Self { table: self.table.iter().zip(&envelope.table).map(|(x, y)| x * y).collect() }
    }

    /// Always 1.
    pub fn open() -> Self {
        Self::tabulated(|_| 1.0)
    }

    /// The mean of its square over the cycle.
    pub fn mean_square(&self) -> f32 {
        self.table[..POINTS].iter().map(|x| x * x).sum::<f32>() / POINTS as f32
    }

    fn map(&self, to: impl Fn(f32) -> f32) -> Self {
        Self { table: self.table.iter().map(|x| to(*x)).collect() }
    }

    /// A single pulse in a window of the cycle; 0 outside it.
    pub fn pulse(window: &Window) -> Self {
        Self::tabulated(|x| {
            let u = (x - window.start).rem_euclid(1.0) / window.duty;
            if u >= 1.0 {
                0.0
            } else if u < window.attack {
                window.edge.rise(u / window.attack)
            } else if 1.0 - u < window.release {
                window.edge.rise((1.0 - u) / window.release)
            } else {
                1.0
            }
        })
    }

    /// What lies `floor` below the loudest part of this one: 0 becomes `floor`, 1 stays.
    pub fn above(&self, floor: f32) -> Self {
        self.map(|x| floor + (1.0 - floor) * x)
    }

    /// ½ + ½ cos 2π(x + start).
    pub fn cosine(start: f64) -> Self {
        Self::tabulated(|x| 0.5 + 0.5 * sine(x + start + 0.25))
    }

    /// The author's samples, evenly over the cycle, as they are: only divided by the largest.
    ///
    /// `None` unless there are 2 to [`SAMPLES_MAX`] of them, none is negative or not finite, and one is above 0.
    pub fn literal(samples: &[f64], edge: Edge) -> Option<Self> {
        let max = samples.iter().copied().fold(0.0, f64::max);
        let drawn = (2..=SAMPLES_MAX).contains(&samples.len()) && max > 0.0 && max.is_finite();
        if !drawn || !samples.iter().all(|x| (0.0..=max).contains(x)) {
            return None;
        }
        Some(Self::through(samples, max, edge))
    }

    /// The author's motion, from −1 to 1: the samples divided by the largest, whichever its sign.
    ///
    /// `None` unless there are 2 to [`SAMPLES_MAX`] of them, all are finite, and one is not 0.
    pub fn motion(samples: &[f64], edge: Edge) -> Option<Self> {
        let max = samples.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let drawn = (2..=SAMPLES_MAX).contains(&samples.len()) && max > 0.0 && samples.iter().all(|x| x.is_finite());
        drawn.then(|| Self::through(samples, max, edge))
    }

    fn through(samples: &[f64], max: f64, edge: Edge) -> Self {
        let n = samples.len();
        Self::tabulated(|x| {
            let place = x * n as f64;
            let i = (place as usize).min(n - 1);
            let (here, there) = (samples[i] / max, samples[(i + 1) % n] / max);
            here + (there - here) * edge.rise(place - i as f64)
        })
    }

    /// The author's samples as a smooth curve, stretched so that it reaches from 0 to 1.
    ///
    /// The curve is the sum of (1 − 4d²)·sin(2πnd)/(2πnd) around each of the n samples, d being the distance in
    /// cycles: nearly the interpolation by a periodic sinc, which SBaGen chose because it is quick to compute.
    /// `None` unless there are 2 to [`SAMPLES_MAX`] finite samples, and two that differ.
    pub fn smoothed(samples: &[f64]) -> Option<Self> {
        let n = samples.len();
        if !(2..=SAMPLES_MAX).contains(&n) || !samples.iter().all(|x| x.is_finite()) {
            return None;
        }
        let (min, max) = extent(samples.iter().copied());
        let span = max - min;
        if !(span > 0.0 && span.is_finite()) {
            return None;
        }
        let kernel: Vec<f64> = (0..POINTS)
            .map(|i| {
                let d = i.min(POINTS - i) as f64 / POINTS as f64;
                let x = core::f64::consts::TAU * n as f64 * d;
                if i == 0 {
                    1.0
                } else {
                    (1.0 - 4.0 * d * d) * sine(n as f64 * d) / x
                }
            })
            .collect();
        let mut curve = vec![0.0; POINTS];
        for (k, sample) in samples.iter().enumerate() {
            let place = k * POINTS / n;
            for (i, weight) in kernel.iter().enumerate() {
                curve[(place + i) % POINTS] += weight * (sample - min) / span;
            }
        }
        // As in the original, 0 belongs to the curve's extent even if the curve nowhere reaches it.
        let (low, high) = extent(curve.iter().copied().chain([0.0]));
        let stretch = |y: f64| ((y - low) / (high - low)).clamp(0.0, 1.0);
        (high > low).then(|| Self::tabulated(|x| stretch(curve[(x * POINTS as f64) as usize % POINTS])))
    }

    /// The loudness or motion at `phase`. Realtime-safe.
    #[inline(always)]
    pub fn at(&self, phase: Phase) -> f32 {
        let bits = phase.bits();
        let i = (bits >> 52) as usize;
        let share = ((bits >> 20) as u32) as f32 / 4_294_967_296.0;
        self.table[i] + (self.table[i + 1] - self.table[i]) * share
    }
}

/// How both ears are shifted apart: one loses the frequency of β + n·φ, the other gains it, so that what is heard beats
/// twice as fast.
#[derive(Clone, PartialEq, Debug)]
pub struct Shift {
    pub(crate) turn: Arc<Envelope>,
    pub(crate) share: Arc<Envelope>,
    pub(crate) power: f32,
}

impl Shift {
    /// A shift by `turn`, from −1 to 1 over the cycle: a sine shifts truly. Its cosine is itself a quarter of a turn
    /// ahead. `share` of the sound is shifted, 0 to 1; the rest stays as it is.
    pub fn new(turn: Arc<Envelope>, share: Arc<Envelope>) -> Self {
        let power = (2.0 * turn.mean_square()).max(1.0);
        Self { turn, share, power }
    }
}

fn sine(turns: f64) -> f64 {
    sincos::sin_cos(&[turns; sincos::LANES]).0[0]
}

fn extent(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn phase(turns: f64) -> Phase {
        Phase::from_bits((turns * 18_446_744_073_709_551_616.0) as u64)
    }

    proptest! {
        #[test]
        fn what_an_author_draws_is_what_sounds(
            samples in prop::collection::vec(0.0f64..10.0, 2..40), edge in 0usize..4, share in 0.0f64..1.0
        ) {
            let max = samples.iter().copied().fold(0.0, f64::max);
            prop_assume!(max > 0.01);
            let edge = Edge::ALL[edge];
            let envelope = Envelope::literal(&samples, edge).unwrap();
            let n = samples.len();
            let place = share * n as f64;
            let i = place as usize;
            let (a, b, u) = (samples[i % n] / max, samples[(i + 1) % n] / max, place - place.floor());
            let u = match edge {
                Edge::Hard => 0.0,
                Edge::Linear => u,
                Edge::Smooth => 3.0 * u.powi(2) - 2.0 * u.powi(3),
                Edge::Smoother => 6.0 * u.powi(5) - 15.0 * u.powi(4) + 10.0 * u.powi(3),
            };
            let expected = a + (b - a) * u;
            // A jump may lie up to one place of the table too late.
            let loose = if edge == Edge::Hard || n > 8 { 1.0 } else { 2e-3 };
            prop_assert!((f64::from(envelope.at(phase(share))) - expected).abs() <= loose);
            let exact = (i * POINTS).is_multiple_of(n).then(|| f64::from(envelope.at(phase(i as f64 / n as f64))));
            prop_assert!(exact.is_none_or(|loudness| (loudness - a).abs() < 1e-6));
        }

        #[test]
        fn a_smoothed_curve_reaches_from_silence_to_full(
            samples in prop::collection::vec(-5.0f64..5.0, 2..40), share in 0.0f64..1.0
        ) {
            prop_assume!(samples.iter().any(|x| (x - samples[0]).abs() > 0.01));
            let envelope = Envelope::smoothed(&samples).unwrap();
            let (low, high) = extent((0..POINTS).map(|i| f64::from(envelope.table[i])));
            prop_assert!(low.abs() < 1e-6 && (high - 1.0).abs() < 1e-6, "{low} {high}");
            prop_assert!((0.0..=1.0).contains(&envelope.at(phase(share))));
            // Units do not matter, nor where their zero lies.
            let others: Vec<f64> = samples.iter().map(|x| 3.0 * x - 7.0).collect();
            let other = Envelope::smoothed(&others).unwrap();
            prop_assert!((envelope.at(phase(share)) - other.at(phase(share))).abs() < 1e-5);
        }

        #[test]
        fn a_pulse_sounds_in_its_window_only(
            start in 0.0f64..1.0, duty in 0.05f64..1.0, attack in 0.0f64..1.0, edge in 1usize..4, share in 0.0f64..1.0
        ) {
            let window = Window { start, duty, attack, release: 1.0 - attack, edge: Edge::ALL[edge] };
            let loudness = f64::from(Envelope::pulse(&window).at(phase(share)));
            let u = (share - start).rem_euclid(1.0) / duty;
            let expected = if u >= 1.0 {
                0.0
            } else if u < attack {
                window.edge.rise(u / attack)
            } else {
                window.edge.rise((1.0 - u) / (1.0 - attack))
            };
            // Where the window opens or closes steeply, the table's line cuts the corner.
            let steep = 4.0 / (POINTS as f64 * duty * attack.min(1.0 - attack).max(1e-3));
            prop_assert!((loudness - expected).abs() <= steep, "{loudness} {expected}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for samples in [&[][..], &[1.0], &[0.0, 0.0], &[1.0, -0.1], &[1.0, f64::NAN], &[1.0, f64::INFINITY]] {
            assert_eq!(Envelope::literal(samples, Edge::Linear), None, "{samples:?}");
        }
        for samples in [&[][..], &[1.0], &[2.0, 2.0], &[1.0, f64::NAN], &[f64::MAX, f64::MIN]] {
            assert_eq!(Envelope::smoothed(samples), None, "{samples:?}");
        }
        assert_eq!(Envelope::literal(&[1.0; SAMPLES_MAX + 1], Edge::Linear), None);
    }

    #[test]
    fn the_standard_pulse_and_the_cosine_are_their_formulas() {
        for i in 0..1000 {
            let x = f64::from(i) / 1000.0;
            let p = (((core::f64::consts::TAU * x).sin() - 0.3) / 0.7).max(0.0);
            let pulse = f64::from(Envelope::standard().at(phase(x)));
            assert!((pulse - (3.0 * p * p - 2.0 * p * p * p)).abs() < 1e-5);
            let cosine = f64::from(Envelope::cosine(0.1).above(0.25).at(phase(x)));
            let expected = 0.25 + 0.75 * (0.5 + 0.5 * (core::f64::consts::TAU * (x + 0.1)).cos());
            assert!((cosine - expected).abs() < 1e-5);
        }
    }
}
