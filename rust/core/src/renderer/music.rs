//! Music in a run: a recording at node time, pulsing or turning with its beat where its author says so.
use num_complex::Complex;

use super::run::Run;
use super::shaped::parts;
use crate::oscillators::RUN_MAX;
use crate::phase::Phase;
use crate::program::Channel;
use crate::stem::Stem;

/// How far the stage turns for each microsecond of width: 128 samples at 44.1 kHz are all of it, as in SBaGenX.
const TURN_PER_US: f64 = 44_100.0 / 128.0 / 1e6;

/// Adds a recording, whose coefficient goes from the first of `m` to the second. Realtime-safe.
pub(super) fn add(
    channel: &Channel,
    stem: &Stem,
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let samples = run.samples;
    let (mut l, mut r) = ([0.0; RUN_MAX], [0.0; RUN_MAX]);
    let (l, r) = (&mut l[..samples], &mut r[..samples]);
    let clock = &run.clock;
    stem.fill(clock.start, clock.fraction, clock.step, l, r);
    if let Some(envelope) = &stem.envelope {
        parts(run, &|at| run.beat(channel, at), |start, len, phase, step| {
            let mut phase = phase.bits();
            for i in start..start + len {
                let loudness = envelope.at(Phase::from_bits(phase));
                l[i] *= loudness;
                r[i] *= loudness;
                phase = phase.wrapping_add(step as u64);
            }
        });
    }
    if stem.turned {
        let mut swing = [0.0; RUN_MAX];
        let sine = Complex::new(0.0, -1.0);
        run.sine(sine, sine, &mut swing[..samples], &|at| run.beat(channel, at));
        let width = |sample| (channel.carrier.frequency_at(clock.at(sample).0).hz() * TURN_PER_US) as f32;
        let (from, to) = (width(0), width(samples));
        for (i, (l, r)) in l.iter_mut().zip(r.iter_mut()).enumerate() {
            let width = from + (to - from) * (i as f32 / samples as f32);
            let turn = (width * swing[i]).clamp(-1.0, 1.0);
            let (stays, goes) = (1.0 - turn.abs(), turn.abs());
            (*l, *r) = if turn >= 0.0 { (*l * stays, *r + *l * goes) } else { (*l + *r * goes, *r * stays) };
        }
    }
    let (from, to) = (m.0.norm(), m.1.norm());
    let each = (to - from) / samples as f32;
    for (i, (left, right)) in left.iter_mut().zip(right).enumerate() {
        let loudness = from + each * i as f32;
        *left += loudness * l[i];
        *right += loudness * r[i];
    }
}
