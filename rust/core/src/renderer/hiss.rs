//! Noise of a drawn spectrum in a run: it stands, pulses, swings, or is shifted down on one ear and up on the other.
//!
//! A shift turns a sound by its own phase: with χ = β + n·φ, and y the sound x a quarter of a turn later, the ears get
//! x·cos 2πχ ± y·sin 2πχ. Between them lies twice the frequency of β, which is what beats. Authors may turn it by other
//! shapes than a sine, and shift only a share of it over the cycle.
use num_complex::Complex;

use super::run::{Motion, Run};
use super::shaped::{follow, loudness};
use super::stage::Other;
use crate::oscillators::RUN_MAX;
use crate::phase::Phase;
use crate::program::{Hiss, Hissing, Shift};

/// How far both ears are shifted apart at each sample of a run.
pub(super) struct Apart {
    sin: [f32; RUN_MAX],
    cos: [f32; RUN_MAX],
    pub(super) share: [f32; RUN_MAX],
}

impl Apart {
    pub(super) fn new(shift: &Shift, run: &Run<'_>, k: usize) -> Self {
        let mut apart = Self { sin: [0.0; RUN_MAX], cos: [0.0; RUN_MAX], share: [0.0; RUN_MAX] };
        let beat = run.beat(k);
        let ahead =
            beat.map(|beat| Motion { phase: Phase::from_bits(beat.phase.bits().wrapping_add(1 << 62)), ..beat });
        follow(&shift.turn, beat, &mut apart.sin[..run.samples]);
        follow(&shift.turn, ahead, &mut apart.cos[..run.samples]);
        follow(&shift.share, beat, &mut apart.share[..run.samples]);
        apart
    }

    /// The shifted share of the sound that is `now` at sample `i`, and `later` a quarter of a turn later.
    pub(super) fn ears(&self, i: usize, now: f32, later: f32) -> [f32; 2] {
        let (even, odd) = (now * self.cos[i], later * self.sin[i]);
        [self.share[i] * (even + odd), self.share[i] * (even - odd)]
    }
}

/// Adds the noise of the channel of `other`, whose coefficient goes from the first of `m` to the second. Realtime-safe.
pub(super) fn add(
    hiss: &Hiss,
    other: &Other,
    n: usize,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    if let (Hissing::Swing(motion), Some(spin)) = (&hiss.hissing, &other.spin) {
        return spin.add(other, n, run, m, Some(motion), [left, right]);
    }
    let (samples, from) = (run.samples, m.0.norm());
    let each = (m.1.norm() - from) / samples as f32;
    let mut loud = [0.0; RUN_MAX];
    loud[..samples].iter_mut().enumerate().for_each(|(i, loud)| *loud = from + each * i as f32);
    if let Hissing::Pulse(envelope) = &hiss.hissing {
        loudness(envelope, run.beat(other.channel), &mut loud[..samples]);
    }
    let [now, later, _] = &other.shared;
    let ears = left.iter_mut().zip(right).zip(&loud).zip(&now[n..n + samples]);
    if let Hissing::Shift(shift) = &hiss.hissing {
        let apart = Apart::new(shift, run, other.channel);
        for (i, ((((left, right), loud), now), later)) in ears.zip(&later[n..]).enumerate() {
            let [lower, higher] = apart.ears(i, *now, *later);
            let stays = now * (1.0 - apart.share[i]);
            *left += loud * (stays + lower);
            *right += loud * (stays + higher);
        }
        return;
    }
    for (((left, right), loud), now) in ears {
        *left += loud * now;
        *right += loud * now;
    }
}
