//! How each kind of channel sounds in a run.
use num_complex::Complex;

use super::run::Run;
use crate::loudness::{noise_power, Weights};
use crate::oscillators::RUN_MAX;
use crate::program::{Channel, Program, Wave};
use crate::units::NodeTime;

/// What noise counts in the limiter's bound: its curve rises higher between samples than a sine's.
const NOISE_CREST: f32 = 1.5;

/// Adds what channel `k` sounds like in `run` while its coefficient goes linearly from the first of `m` to the second.
///
/// Sines are not added here but with all others of their ear. `noise` is the run's part of the channel's own, where it is
/// noise.
pub(super) fn add(
    channel: &Channel,
    k: usize,
    noise: &[f32],
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let ((from, to), samples) = (m, run.samples);
    match channel.wave {
        Wave::Tone | Wave::Binaural { .. } => {}
        Wave::Isochronic => {
            let (mut tone, mut beat) = ([0.0; RUN_MAX], [0.0; RUN_MAX]);
            run.sine(from, to, run.carrier(k), &mut tone[..samples]);
            // Re[−i·e^{2πix}] = sin 2πx
            let sine = Complex::new(0.0, -1.0);
            run.sine(sine, sine, run.beat(k), &mut beat[..samples]);
            tone.iter_mut().zip(&beat).for_each(|(x, sine)| *x *= pulse(*sine));
            sum(&tone, left);
            sum(&tone, right);
        }
        Wave::Noise(_) => {
            let mut hiss = [0.0; RUN_MAX];
            let slope = (to.norm() - from.norm()) / samples as f32;
            hiss.iter_mut().zip(noise).enumerate().for_each(|(i, (x, noise))| {
                *x = noise * (from.norm() + slope * i as f32);
            });
            sum(&hiss, left);
            sum(&hiss, right);
        }
    }
}

/// Whether a wave is one sine on each ear.
pub(super) fn is_sine(wave: Wave) -> bool {
    match wave {
        Wave::Tone | Wave::Binaural { .. } => true,
        Wave::Isochronic | Wave::Noise(_) => false,
    }
}

/// How high the curve of a wave of coefficient 1 rises at most, between samples too.
pub(super) fn crest(wave: Wave) -> f32 {
    match wave {
        Wave::Noise(_) => NOISE_CREST,
        Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic => 1.0,
    }
}

/// What the power of a wave of coefficient 1 counts in loudness, on both ears, at its crest, with its carrier at `hz`.
pub(super) fn weight(wave: Wave, weights: &Weights, hz: f64) -> f32 {
    match wave {
        Wave::Noise(color) => noise_power(color),
        Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic => weights.of(hz),
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

fn sum(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to += x);
}
