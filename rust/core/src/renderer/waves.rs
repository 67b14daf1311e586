//! How each kind of channel sounds in a run.
use num_complex::Complex;

use super::run::Run;
use super::stage::Other;
use super::{hiss, music, shaped};
use crate::loudness::{noise_power, Weights};
use crate::oscillators::RUN_MAX;
use crate::program::{Channel, Hissing, NoiseColor, Program, Shape, Wave};
use crate::units::NodeTime;

/// What noise counts in the limiter's bound: its curve rises higher between samples than a sine's.
const NOISE_CREST: f32 = 1.5;
/// White noise is even: no sample is above √3 times its RMS, 0.312, and the curve between two hardly above twice that.
const WHITE_CREST: f32 = 2.0 * 0.312;

/// No frequency counts more than this in loudness, +4 dB: what is assumed of frequencies that nobody knows.
const WEIGHT_MAX: f32 = 2.52;

/// Adds what `channel` sounds like in `run` while its coefficient goes linearly from the first of `m` to the second.
///
/// Sines are not added here but with all others of their ear. `other` is what the channel shares with all who play it,
/// and the run begins at sample `n` of that.
pub(super) fn add(
    channel: &Channel,
    other: &Other,
    n: usize,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let ((from, to), samples, k) = (m, run.samples, other.channel);
    match &channel.wave {
        Wave::Tone | Wave::Binaural { .. } => {}
        Wave::Isochronic => {
            let (mut tone, mut beat) = ([0.0; RUN_MAX], [0.0; RUN_MAX]);
            run.sine(from, to, run.carrier(k), &mut tone[..samples]);
            run.swing(k, &mut beat[..samples]);
            tone.iter_mut().zip(&beat).for_each(|(x, sine)| *x *= pulse(*sine));
            sum(&tone, left);
            sum(&tone, right);
        }
        Wave::Bell(_) => {
            let mut tone = [0.0; RUN_MAX];
            run.sine(from, to, run.carrier(k), &mut tone[..samples]);
            tone.iter_mut().zip(&other.shared[0][n..n + samples]).for_each(|(x, left)| *x *= left);
            sum(&tone, left);
            sum(&tone, right);
        }
        Wave::Shaped(shape) => shaped::add(shape, k, run, m, left, right),
        Wave::Stem(stem) => music::add(stem, other, n, run, m, left, right),
        Wave::Spin(_) => {
            if let Some(spin) = &other.spin {
                spin.add(other, n, run, m, None, [left, right]);
            }
        }
        Wave::Hiss(hiss) => hiss::add(hiss, other, n, run, m, left, right),
        Wave::Noise(_) => {
            let mut hiss = [0.0; RUN_MAX];
            let slope = (to.norm() - from.norm()) / samples as f32;
            hiss.iter_mut().zip(&other.shared[0][n..n + samples]).enumerate().for_each(|(i, (x, noise))| {
                *x = noise * (from.norm() + slope * i as f32);
            });
            sum(&hiss, left);
            sum(&hiss, right);
        }
    }
}

/// Whether a wave is one sine on each ear.
pub(super) fn is_sine(wave: &Wave) -> bool {
    matches!(wave, Wave::Tone | Wave::Binaural { .. })
}

/// How high the curve of a wave of coefficient 1 rises at most, between samples too.
pub(super) fn crest(wave: &Wave) -> f32 {
    match wave {
        Wave::Noise(NoiseColor::White) | Wave::Spin(NoiseColor::White) => WHITE_CREST,
        Wave::Noise(_) | Wave::Spin(_) => NOISE_CREST,
        // What is turned may rise by both of its parts.
        Wave::Hiss(hiss) => NOISE_CREST * if matches!(hiss.hissing, Hissing::Shift(_)) { 2.0 } else { 1.0 },
        Wave::Stem(stem) => stem.peak() * if stem.turned { 2.0 } else { 1.0 },
        Wave::Shaped(shape) if shape.shape != Shape::Sine => shaped::CREST,
        Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic | Wave::Shaped(_) | Wave::Bell(_) => 1.0,
    }
}

/// What the power of a wave of coefficient 1 counts in loudness, on both ears, at its crest, with its carrier at `hz`.
pub(super) fn weight(wave: &Wave, weights: &Weights, hz: f64) -> f32 {
    match wave {
        Wave::Noise(color) | Wave::Spin(color) => noise_power(*color),
        Wave::Hiss(hiss) => match &hiss.hissing {
            Hissing::Shift(shift) => hiss.spectrum.power() * shift.power,
            _ => hiss.spectrum.power(),
        },
        Wave::Stem(stem) => stem.peak() * stem.peak() * WEIGHT_MAX,
        Wave::Shaped(shaped) => {
            let (fundamental, rest) = shaped::powers(shaped.shape);
            fundamental * weights.of(hz) + rest * WEIGHT_MAX
        }
        Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic | Wave::Bell(_) => weights.of(hz),
    }
}

/// The channel's amplitude at `t`; 0 outside the program.
pub(super) fn amplitude(program: &Program, channel: &Channel, t: NodeTime) -> f32 {
    let over = program.duration.is_some_and(|duration| t >= program.epoch + duration);
    let amplitude = channel.amplitude.at(t);
    // What is no number is silence already here, so that a line leads from there to what is one.
    if t < program.epoch || over || !amplitude.is_finite() {
        0.0
    } else {
        amplitude
    }
}

/// The shape of an isochronic pulse from the sine of its phase; see the module's essay.
fn pulse(sine: f32) -> f32 {
    let p = ((sine - 0.3) / 0.7).clamp(0.0, 1.0);
    p * p * (3.0 - 2.0 * p)
}

pub(super) fn sum(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to += x);
}
