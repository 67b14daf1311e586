//! Music in a run: a recording at node time, pulsing or turning with its beat where its author says so.
use num_complex::Complex;

use super::hiss::Apart;
use super::run::Run;
use super::shaped::{follow, loudness};
use super::stage::Other;
use crate::oscillators::RUN_MAX;
use crate::stem::Stem;

/// How far the stage turns for each microsecond of width: 128 samples at 44.1 kHz are all of it, as in SBaGenX.
const TURN_PER_US: f64 = 44_100.0 / 128.0 / 1e6;

/// Adds a recording, whose coefficient goes from the first of `m` to the second. Realtime-safe.
pub(super) fn add(
    stem: &Stem,
    other: &Other,
    n: usize,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let samples = run.samples;
    let (from, to) = (m.0.norm(), m.1.norm());
    let each = (to - from) / samples as f32;
    let mut loud = [0.0; RUN_MAX];
    loud[..samples].iter_mut().enumerate().for_each(|(i, loud)| *loud = from + each * i as f32);
    if let Some(envelope) = &stem.envelope {
        loudness(envelope, run.beat(other.channel), &mut loud[..samples]);
    }
    let [l, r, later] = &other.shared;
    let recorded = l[n..n + samples].iter().zip(&r[n..n + samples]).zip(&loud);
    let ears = left.iter_mut().zip(right);
    if let Some(shift) = stem.shift() {
        let apart = Apart::new(shift, run, other.channel);
        for (i, ((left, right), (((l, r), loud), later))) in ears.zip(recorded.zip(&later[n..])).enumerate() {
            let [lower, higher] = apart.ears(i, (l + r) * 0.5, *later);
            let stays = 1.0 - apart.share[i];
            *left += loud * (l * stays + lower);
            *right += loud * (r * stays + higher);
        }
        return;
    }
    if !stem.turned {
        for ((left, right), ((l, r), loud)) in ears.zip(recorded) {
            *left += loud * l;
            *right += loud * r;
        }
        return;
    }
    let mut swing = [0.0; RUN_MAX];
    match &stem.motion {
        Some(motion) => follow(motion, run.beat(other.channel), &mut swing[..samples]),
        None => run.swing(other.channel, &mut swing[..samples]),
    }
    for (i, ((left, right), ((l, r), loud))) in ears.zip(recorded).enumerate() {
        let turn = ((other.width_us(n + i) * TURN_PER_US) as f32 * swing[i]).clamp(-1.0, 1.0);
        let (stays, goes) = (1.0 - turn.abs(), turn.abs());
        let (l, r) = if turn >= 0.0 { (l * stays, r + l * goes) } else { (l + r * goes, r * stays) };
        *left += loud * l;
        *right += loud * r;
    }
}
