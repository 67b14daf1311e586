//! Sine and cosine of many phases at once, in double precision.
//!
//! The library's `sin` takes one number at a time, and most of its time goes into reducing radians by a π that no float
//! holds. Phases here count *turns*, so the reduction is exact: take away the nearest whole turn, then the nearest half
//! turn, which only flips both signs. What is left, |r| ≤ ½ half-turns, is within reach of two polynomials in r² (sin πr
//! = r·P(r²), cos πr = Q(r²)), nine coefficients each, interpolated in 60 digits at the Chebyshev nodes of [0, ¼]; they
//! err by 1e-18 before rounding, and by at most 3e-16 after it.
//!
//! Lanes are independent and without branches, so a compiler makes vectors of them for whichever machine a caller
//! dispatches to. Every operation is rounded as IEEE 754 says, fused ones included, and the order is fixed: the bits
//! are the same with vectors of eight, of four or of one.

/// Phases that are computed side by side.
pub const LANES: usize = 8;

/// One number a lane.
pub type Lanes = [f64; LANES];

const SIN: [f64; 9] = [
    core::f64::consts::PI,
    -5.167712780049969,
    2.5501640398773007,
    -0.5992645293189447,
    0.0821458865731029,
    -0.007370430505916944,
    0.0004662998161898394,
    -2.1903497074626018e-05,
    7.697826768224191e-07,
];
const COS: [f64; 9] = [
    1.0,
    -4.934802200544676,
    4.058712126416497,
    -1.335262768843447,
    0.23533063012953284,
    -0.025806888737002202,
    0.0019295562724817132,
    -0.00010456655338748738,
    4.149564353942586e-06,
];

/// Sine and cosine of `turns`. Realtime-safe; inline it into a function that was dispatched to the machine's vectors.
///
/// Any finite number will do; beyond 2⁵² turns every float is a whole number of turns.
#[inline(always)]
pub fn sin_cos(turns: &Lanes) -> (Lanes, Lanes) {
    let (mut r, mut sign, mut square) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for l in 0..LANES {
        let within = turns[l] - turns[l].round_ties_even();
        let half = (2.0 * within).round_ties_even();
        r[l] = 2.0f64.mul_add(within, -half);
        sign[l] = (-2.0f64).mul_add(half.abs(), 1.0);
        square[l] = r[l] * r[l];
    }
    let (mut sin, mut cos) = (horner(&SIN, &square), horner(&COS, &square));
    for l in 0..LANES {
        sin[l] *= r[l] * sign[l];
        cos[l] *= sign[l];
    }
    (sin, cos)
}

#[inline(always)]
fn horner(coefficients: &[f64; 9], x: &Lanes) -> Lanes {
    let mut sum = [coefficients[8]; LANES];
    for k in (0..8).rev() {
        for l in 0..LANES {
            sum[l] = sum[l].mul_add(x[l], coefficients[k]);
        }
    }
    sum
}

#[cfg(test)]
mod laws {
    use super::*;
    use core::f64::consts::TAU;
    use proptest::prelude::*;
    use pulp::{Simd, WithSimd};

    struct OfLanes(Lanes);

    impl WithSimd for OfLanes {
        type Output = (Lanes, Lanes);

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> (Lanes, Lanes) {
            sin_cos(&self.0)
        }
    }

    #[test]
    fn it_is_the_librarys_to_the_last_bits_over_the_whole_turn() {
        let mut worst = 0.0f64;
        for i in 0..200_000i32 {
            // Radians of a small angle are exact enough to compare with.
            let turns = f64::from(i - 100_000) / 100_000.0 * 0.625;
            let (sin, cos) = sin_cos(&[turns; LANES]);
            worst = worst.max((sin[0] - (turns * TAU).sin()).abs()).max((cos[0] - (turns * TAU).cos()).abs());
        }
        // 5e-16 of this is the rounding of `turns * TAU`, which the library is given.
        assert!(worst < 8e-16, "{worst:e}");
    }

    #[test]
    fn quarters_are_exact() {
        let (sin, cos) = sin_cos(&[0.0, 0.25, 0.5, 0.75, -0.25, 1.0, -1.5, 2.25]);
        assert_eq!(sin.map(|x| (x * 1e15).round() / 1e15), [0.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, 1.0]);
        assert_eq!(cos.map(|x| (x * 1e15).round() / 1e15), [1.0, 0.0, -1.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn whole_turns_change_nothing(turns in -0.5f64..0.5, whole in -1_000i32..1_000) {
            // What the addition rounds away is not this function's to bring back.
            let far = turns + f64::from(whole);
            let near = far - f64::from(whole);
            prop_assert_eq!(sin_cos(&[far; LANES]), sin_cos(&[near; LANES]));
        }

        #[test]
        fn vectors_give_the_same_bits_as_one_at_a_time(turns in prop::array::uniform8(-9.0f64..9.0)) {
            let plain = sin_cos(&turns);
            let dispatched = pulp::Arch::new().dispatch(OfLanes(turns));
            prop_assert_eq!(plain, dispatched);
        }
    }
}
