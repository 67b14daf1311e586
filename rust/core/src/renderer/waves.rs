//! How each kind of channel sounds in a run.
use num_complex::Complex;

use super::run::Run;
use super::source::Source;
use super::{bell, music, shaped};
use crate::oscillators::RUN_MAX;
use crate::program::{Channel, Ear, NoiseColor, Program, Shape, Wave};
use crate::units::NodeTime;

/// What noise counts in the limiter's bound: its curve rises higher between samples than a sine's.
const NOISE_CREST: f32 = 1.5;
/// White noise is even, and has no sample above √3 times its RMS.
const WHITE_CREST: f32 = NOISE_CREST * 0.312;

/// Adds what `channel` sounds like in `run` while its coefficient goes linearly from the first of `m` to the second.
///
/// `source` is the channel's own.
pub(super) fn add(
    channel: &Channel,
    source: &mut Source,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let ((from, to), samples) = (m, run.samples);
    match &channel.wave {
        Wave::Tone => {
            let mut tone = [0.0; RUN_MAX];
            run.sine(from, to, &mut tone[..samples], &|at| run.carrier(channel, at));
            sum(&tone, left);
            sum(&tone, right);
        }
        Wave::Binaural { lead } => {
            let (leading, resting) = match lead {
                Ear::Left => (left, right),
                Ear::Right => (right, left),
            };
            let ends = [run.carrier(channel, 0), run.carrier(channel, samples)];
            let carrier = |at| run.at_end(&ends, at).unwrap_or_else(|| run.carrier(channel, at));
            run.sine(from, to, resting, &carrier);
            run.sine(from, to, leading, &|at| carrier(at) + run.beat(channel, at));
        }
        Wave::Isochronic => {
            let (mut tone, mut beat) = ([0.0; RUN_MAX], [0.0; RUN_MAX]);
            run.sine(from, to, &mut tone[..samples], &|at| run.carrier(channel, at));
            // Re[−i·e^{2πix}] = sin 2πx
            let sine = Complex::new(0.0, -1.0);
            run.sine(sine, sine, &mut beat[..samples], &|at| run.beat(channel, at));
            tone.iter_mut().zip(&beat).for_each(|(x, sine)| *x *= pulse(*sine));
            sum(&tone, left);
            sum(&tone, right);
        }
        Wave::Shaped(shape) => shaped::add(channel, shape, run, m, left, right),
        Wave::Bell(strikes) => bell::add(channel, strikes, run, m, left, right),
        Wave::Stem(stem) => music::add(channel, stem, run, m, left, right),
        Wave::Spin(_) => {
            let Source::Spin(spin) = source else { return };
            spin.add(channel, run, m, left, right);
        }
        Wave::Noise(_) => {
            let Source::Noise(noise) = source else { return };
            let mut hiss = [0.0; RUN_MAX];
            noise.fill(run.clock.start, run.clock.fraction, run.clock.step, &mut hiss[..samples]);
            let slope = (to.norm() - from.norm()) / samples as f32;
            hiss.iter_mut().enumerate().for_each(|(i, x)| *x *= from.norm() + slope * i as f32);
            sum(&hiss, left);
            sum(&hiss, right);
        }
    }
}

/// How high the curve of a wave of coefficient 1 rises at most, between samples too.
pub(super) fn crest(wave: &Wave) -> f32 {
    match wave {
        Wave::Noise(NoiseColor::White) | Wave::Spin(NoiseColor::White) => WHITE_CREST,
        Wave::Noise(_) | Wave::Spin(_) => NOISE_CREST,
        Wave::Stem(stem) => stem.peak() * if stem.turned { 2.0 } else { 1.0 },
        Wave::Shaped(shape) if shape.shape != Shape::Sine => shaped::CREST,
        Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic | Wave::Shaped(_) | Wave::Bell(_) => 1.0,
    }
}

/// The channel's amplitude at `t`; 0 outside the program.
pub(super) fn amplitude(program: &Program, channel: &Channel, t: NodeTime) -> f32 {
    let over = program.duration.is_some_and(|duration| t >= program.epoch + duration);
    if t < program.epoch || over {
        0.0
    } else {
        channel.amplitude.at(t)
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
