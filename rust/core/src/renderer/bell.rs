//! Bells in a run: a sine under what is left of its last strike.
use num_complex::Complex;

use super::run::Run;
use super::waves::sum;
use crate::bell;
use crate::oscillators::RUN_MAX;
use crate::program::{Channel, Strike};

/// Adds a bell, whose coefficient (what was left aside) goes from the first of `m` to the second. Realtime-safe.
pub(super) fn add(
    channel: &Channel,
    strikes: &[Strike],
    run: &Run<'_>,
    m: (Complex<f32>, Complex<f32>),
    left: &mut [f32],
    right: &mut [f32],
) {
    let samples = run.samples;
    let mut tone = [0.0; RUN_MAX];
    run.sine(m.0, m.1, &mut tone[..samples], &|at| run.carrier(channel, at));
    let start = run.clock.at(0).0;
    let mut next = strikes.partition_point(|strike| strike.at <= start);
    for (i, x) in tone[..samples].iter_mut().enumerate() {
        let now = run.clock.at(i).0;
        while strikes.get(next).is_some_and(|strike| strike.at <= now) {
            next += 1;
        }
        let Some(Strike { at, amplitude }) = next.checked_sub(1).and_then(|last| strikes.get(last)) else {
            *x = 0.0;
            continue;
        };
        *x *= bell::envelope(f64::from(*amplitude), (now - *at).as_s_f64()) as f32;
    }
    sum(&tone, left);
    sum(&tone, right);
}
