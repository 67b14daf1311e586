//! How a bell dies away.
//!
//! The bells of `.sbg` are a sine that loses a twelfth of its amplitude, and 1/4096 of full scale, every twentieth of a
//! second; that is how SBaGen and SBaGenX do it, and how long their authors let them ring. After k of these steps what
//! is left of an amplitude A is in closed form
//!
//! ```text
//! (11/12)^k · (A + 12/4096) − 12/4096
//! ```
//!
//! so that any moment can be computed without those before it. The steps are played with soft edges of
//! [`EDGE_S`], and so is the first: a sine that jumps clicks, and the strike of a bell should not.

/// Between two steps.
pub const STEP_S: f64 = 0.05;
/// How long the change of a step takes, from its beginning on.
pub const EDGE_S: f64 = 0.002;
/// What every step takes away, in sum.
const FLOOR: f64 = 12.0 / 4096.0;
const LOSS: f64 = 11.0 / 12.0;
/// More steps than the loudest bell rings.
const STEPS_MAX: usize = 128;

/// (11/12)^k.
const POWERS: [f64; STEPS_MAX] = {
    let mut powers = [1.0; STEPS_MAX];
    let mut k = 1;
    while k < STEPS_MAX {
        powers[k] = powers[k - 1] * LOSS;
        k += 1;
    }
    powers
};

/// What is left after `k` steps of a bell that was struck at `amplitude` (above 0), relative to that.
fn left(amplitude: f64, k: usize) -> f64 {
    POWERS.get(k).map_or(0.0, |power| (power * (1.0 + FLOOR / amplitude) - FLOOR / amplitude).max(0.0))
}

/// How long a bell rings, in seconds, that is struck at `amplitude` (0 to 1).
pub fn rings_s(amplitude: f64) -> f64 {
    (0..STEPS_MAX).find(|k| left(amplitude, *k) == 0.0).unwrap_or(STEPS_MAX) as f64 * STEP_S + EDGE_S
}

/// What is left at `since_s` seconds after a strike at `amplitude` (above 0), relative to that; 0 before it.
/// Realtime-safe.
pub fn envelope(amplitude: f64, since_s: f64) -> f64 {
    if since_s < 0.0 {
        return 0.0;
    }
    let k = (since_s / STEP_S) as usize;
    let share = ((since_s - k as f64 * STEP_S) / EDGE_S).min(1.0);
    let before = k.checked_sub(1).map_or(0.0, |before| left(amplitude, before));
    before + (left(amplitude, k) - before) * share
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_loses_a_twelfth_and_a_bit_each_twentieth_of_a_second(amplitude in 0.001f64..1.0) {
            let mut loudness = amplitude;
            for k in 0..200 {
                let heard = amplitude * envelope(amplitude, (f64::from(k) + 0.5) * STEP_S);
                prop_assert!((heard - loudness).abs() < 1e-9, "{heard} {loudness} after {k} steps");
                loudness = (loudness * 11.0 / 12.0 - 1.0 / 4096.0).max(0.0);
            }
            prop_assert!(envelope(amplitude, rings_s(amplitude)) < 1e-12);
            prop_assert!(rings_s(amplitude) < 5.0);
        }

        #[test]
        fn it_never_jumps(amplitude in 0.001f64..1.0, at_s in -0.1f64..6.0) {
            let change = envelope(amplitude, at_s + 1e-5) - envelope(amplitude, at_s);
            prop_assert!(change.abs() <= 1e-5 / EDGE_S + 1e-9, "{change}");
        }
    }
}
