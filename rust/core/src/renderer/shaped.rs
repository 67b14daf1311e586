//! Tones of other shapes in a run, tones under an envelope, and beats in the air.
//!
//! A square or a saw that jumps between two samples holds frequencies that the converter cannot play, and they come back
//! as others. So each jump is spread over the two samples around it, by the parabola that a jump leaves behind when it
//! is averaged over one sample (PolyBLEP: Välimäki and Huovilainen, 2007): at 500 Hz its echoes are 40 to 60 dB down,
//! and the level of the fundamental is right to 0.02 dB. A triangle has corners and no jumps; its harmonics fall fast
//! enough to be left alone.
use num_complex::Complex;

use super::run::{Motion, Run};
use super::waves::sum;
use crate::envelope::Envelope;
use crate::oscillators::RUN_MAX;
use crate::phase::Phase;
use crate::program::{Ear, Ears, Shape, Shaped};

/// How high the curve through the samples of a jumping shape rises at most.
pub(super) const CREST: f32 = 1.3;

const TURN: f32 = 18_446_744_073_709_551_616.0; // 2^64

/// The power of a shape's fundamental and that of all its harmonics, relative to a sine of the same amplitude.
pub(super) fn powers(shape: Shape) -> (f32, f32) {
    const PI_2: f32 = core::f32::consts::PI * core::f32::consts::PI;
    let (fundamental, all) = match shape {
        Shape::Sine => (1.0, 1.0),
        Shape::Square => (16.0 / PI_2, 2.0),
        Shape::Triangle => (64.0 / (PI_2 * PI_2), 2.0 / 3.0),
        Shape::Sawtooth => (4.0 / PI_2, 2.0 / 3.0),
    };
    (fundamental, all - fundamental)
}

/// Adds channel `k`, which is `shaped`, and whose coefficient goes from the first of `m` to the second. Realtime-safe.
pub(super) fn add(
    shaped: &Shaped,
    k: usize,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let samples = run.samples;
    let carrier = run.carrier(k);
    let second = carrier.zip(run.beat(k)).and_then(|(carrier, beat)| {
        let step = carrier.step.checked_add(beat.step)?;
        Some(Motion { phase: Phase::from_bits(carrier.phase.bits().wrapping_add(beat.phase.bits())), step })
    });
    let half = (m.0 * 0.5, m.1 * 0.5);
    let (mut resting, mut leading) = ([0.0; RUN_MAX], [0.0; RUN_MAX]);
    let (resting, leading) = (&mut resting[..samples], &mut leading[..samples]);
    match shaped.ears {
        Ears::Both => oscillate(shaped.shape, run, m, carrier, resting),
        Ears::Lead(_) => {
            oscillate(shaped.shape, run, m, carrier, resting);
            oscillate(shaped.shape, run, m, second, leading);
        }
        Ears::Sum => {
            oscillate(shaped.shape, run, half, carrier, resting);
            oscillate(shaped.shape, run, half, second, resting);
        }
    }
    if let Some(envelope) = &shaped.envelope {
        loudness(envelope, run.beat(k), resting);
        loudness(envelope, run.beat(k), leading);
    }
    match shaped.ears {
        Ears::Both | Ears::Sum => {
            sum(resting, left);
            sum(resting, right);
        }
        Ears::Lead(Ear::Left) => {
            sum(leading, left);
            sum(resting, right);
        }
        Ears::Lead(Ear::Right) => {
            sum(resting, left);
            sum(leading, right);
        }
    }
}

/// Puts `out` under `envelope`; to silence where nobody could follow its beat.
pub(super) fn loudness(envelope: &Envelope, beat: Option<Motion>, out: &mut [f32]) {
    let Some(Motion { phase, step }) = beat else { return out.fill(0.0) };
    let mut bits = phase.bits();
    for x in out {
        *x *= envelope.at(Phase::from_bits(bits));
        bits = bits.wrapping_add(step as u64);
    }
}

/// Writes where `motion` is into `out`; 0 where nobody could follow its beat.
pub(super) fn follow(motion: &Envelope, beat: Option<Motion>, out: &mut [f32]) {
    out.fill(1.0);
    loudness(motion, beat, out);
}

/// Adds one oscillator to `out`; nothing where the converter cannot play its frequency.
fn oscillate(shape: Shape, run: &Run<'_>, m: (Complex<f32>, Complex<f32>), motion: Option<Motion>, out: &mut [f32]) {
    if shape == Shape::Sine {
        return run.sine(m.0, m.1, motion, out);
    }
    let Some(Motion { phase, step }) = motion else { return };
    // Only a sine can be turned by a complex number; of the others that is a size and a beginning. What grows out of
    // nothing has the beginning that it grows to.
    let (from, to) = (m.0.norm(), m.1.norm());
    let (first, last) = (if from > 0.0 { m.0 } else { m.1 }, if to > 0.0 { m.1 } else { m.0 });
    let (first, last) = (turned(first), turned(last));
    let way = (last.wrapping_sub(first) as i64) / run.samples.max(1) as i64;
    let each = (to - from) / run.samples.max(1) as f32;
    let mut bits = phase.bits().wrapping_add(first);
    let jump = step as f32 / TURN;
    for (i, x) in out.iter_mut().enumerate() {
        *x += (from + each * i as f32) * value(shape, bits as f32 / TURN, jump);
        bits = bits.wrapping_add(step as u64).wrapping_add(way as u64);
    }
}

/// The argument of `m`, in 2⁻⁶⁴ turn.
fn turned(m: Complex<f32>) -> u64 {
    let turns = libm::atan2f(m.im, m.re) / core::f32::consts::TAU;
    ((f64::from(turns) * 18_446_744_073_709_551_616.0) as i64) as u64
}

/// A shape at `u` of its cycle, where a sample is `step` of it.
fn value(shape: Shape, u: f32, step: f32) -> f32 {
    // All of them are odd, so that backwards is upside down.
    if step < 0.0 {
        return -value(shape, 1.0 - u, -step);
    }
    match shape {
        Shape::Sine => 0.0,
        Shape::Square if u < 0.5 => 1.0 + spread(u, step) - spread(u + 0.5, step),
        Shape::Square => spread(u, step) - spread(u - 0.5, step) - 1.0,
        Shape::Triangle if u < 0.25 => 4.0 * u,
        Shape::Triangle if u < 0.75 => 2.0 - 4.0 * u,
        Shape::Triangle => 4.0 * u - 4.0,
        Shape::Sawtooth => 2.0 * u - 1.0 - spread(u, step),
    }
}

/// What a jump from −1 to 1 at the beginning of the cycle lacks, to be spread over the sample before and after it.
fn spread(u: f32, step: f32) -> f32 {
    if u < step {
        let x = u / step - 1.0;
        -x * x
    } else if u > 1.0 - step {
        let x = (u - 1.0) / step + 1.0;
        x * x
    } else {
        0.0
    }
}
