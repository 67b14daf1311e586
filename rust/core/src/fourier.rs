//! The Fourier transform, and what it takes to shift every frequency of a sound by the same few hertz.
//!
//! A sound is shifted by turning it: x(t)·cos 2πst − y(t)·sin 2πst lies s Hz higher, where y is x a quarter of a turn
//! later at every frequency. A short filter that makes y, as SBaGen's successors have, is right for high frequencies
//! only (31 taps: from about 1.5 kHz up) and late besides, which colours the sum. Recordings are known beforehand, so
//! [`quarter_later`] takes them through the transform: block by block under a sine window, both on the way in and on the
//! way out, its squares adding up to 1.
//!
//! Source of the transform: Cooley and Tukey, 1965.
use num_complex::Complex;

use crate::sincos;

/// Samples that are turned at once: at 44.1 kHz their lines lie 5.4 Hz apart.
const LATER_BLOCK: usize = 8_192;

/// The fast Fourier transform of a fixed length, a power of two.
#[derive(Clone, PartialEq, Debug)]
pub struct Transform {
    /// e^(2πik/n) for the first half of the turn.
    turns: Box<[Complex<f32>]>,
}

impl Transform {
    /// A transform of `n` numbers.
    ///
    /// # Panics
    /// If `n` is no power of two from 2 up: a programmer's mistake.
    pub fn new(n: usize) -> Self {
        assert!(n >= 2 && n.is_power_of_two(), "a transform's length is a power of two");
        let turn = |k: usize| {
            let (sin, cos) = sincos::sin_cos(&[k as f64 / n as f64; sincos::LANES]);
            Complex::new(cos[0] as f32, sin[0] as f32)
        };
        Self { turns: (0..n / 2).map(turn).collect() }
    }

    /// Σ_k `x`[k]·e^(2πikj/n), in place: from lines to samples, not divided by n. Realtime-safe.
    ///
    /// # Panics
    /// If `x` has another length.
    pub fn sum(&self, x: &mut [Complex<f32>]) {
        let n = 2 * self.turns.len();
        assert_eq!(x.len(), n, "as many numbers as the transform was made for");
        for i in 0..n {
            let j = i.reverse_bits() >> (usize::BITS - n.trailing_zeros());
            if i < j {
                x.swap(i, j);
            }
        }
        let mut half = 1;
        while half < n {
            let stride = n / 2 / half;
            for pair in x.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for ((a, b), turn) in low.iter_mut().zip(high).zip(self.turns.iter().step_by(stride)) {
                    let turned = Complex::new(b.re * turn.re - b.im * turn.im, b.re * turn.im + b.im * turn.re);
                    (*a, *b) = (*a + turned, *a - turned);
                }
            }
            half *= 2;
        }
    }

    /// The sine window of this length, at sample `i`: the squares of two that overlap by half add up to 1.
    pub fn window(&self, i: usize) -> f32 {
        let n = 2 * self.turns.len();
        let (sin, _) = sincos::sin_cos(&[(i as f64 + 0.5) / (2 * n) as f64; sincos::LANES]);
        sin[0] as f32
    }
}

/// `samples` a quarter of a turn later at every frequency: sin for cos. Frequencies below 30 Hz are only nearly so.
pub fn quarter_later(samples: &[f32]) -> Vec<f32> {
    const HALF: usize = LATER_BLOCK / 2;
    let transform = Transform::new(LATER_BLOCK);
    let window: Vec<f32> = (0..LATER_BLOCK).map(|i| transform.window(i)).collect();
    let mut later = vec![0.0; samples.len()];
    let at = |place: Option<usize>| place.and_then(|place| samples.get(place)).copied().unwrap_or(0.0);
    // Two blocks at a time, one as the real part and one as the imaginary: what follows treats both alike.
    for first in (0..samples.len() + HALF).step_by(LATER_BLOCK) {
        let mut block: Vec<Complex<f32>> = window
            .iter()
            .enumerate()
            .map(|(i, weight)| Complex::new(weight * at((first + i).checked_sub(HALF)), weight * at(Some(first + i))))
            .collect();
        block.iter_mut().for_each(|x| *x = x.conj());
        transform.sum(&mut block);
        // Now conj(x[k]) stands at k; times −i for positive frequencies, times i for negative ones.
        for (k, x) in block.iter_mut().enumerate() {
            let (re, im) = (x.re, -x.im);
            *x = match k {
                0 | HALF => Complex::new(0.0, 0.0),
                k if k < HALF => Complex::new(im, -re),
                _ => Complex::new(-im, re),
            };
        }
        transform.sum(&mut block);
        for (i, (x, weight)) in block.iter().zip(&window).enumerate() {
            let weight = weight / LATER_BLOCK as f32;
            for (place, part) in [((first + i).checked_sub(HALF), x.re), (Some(first + i), x.im)] {
                if let Some(sum) = place.and_then(|place| later.get_mut(place)) {
                    *sum += weight * part;
                }
            }
        }
    }
    later
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_transform_is_the_sum_that_it_says(
            numbers in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 32), log2 in 1u32..6
        ) {
            let n = 1 << log2;
            let given: Vec<Complex<f32>> = numbers[..n].iter().map(|(re, im)| Complex::new(*re, *im)).collect();
            let mut found = given.clone();
            Transform::new(n).sum(&mut found);
            for (j, found) in found.iter().enumerate() {
                let expected: Complex<f64> = given
                    .iter()
                    .enumerate()
                    .map(|(k, x)| {
                        let turn = core::f64::consts::TAU * (j * k) as f64 / n as f64;
                        Complex::new(f64::from(x.re), f64::from(x.im)) * Complex::new(turn.cos(), turn.sin())
                    })
                    .sum();
                let off = (expected.re - f64::from(found.re)).hypot(expected.im - f64::from(found.im));
                prop_assert!(off < 1e-5, "{off}");
            }
        }

        #[test]
        fn a_cosine_becomes_a_sine(hz in 30.0f64..18_000.0, turns in 0.0f64..1.0) {
            let wave = |late: f64| -> Vec<f32> {
                let turn = |i: i32| core::f64::consts::TAU * (hz * f64::from(i) / 44_100.0 + turns - late);
                (0..40_000).map(|i| turn(i).cos() as f32).collect()
            };
            let (found, expected) = (quarter_later(&wave(0.0)), wave(0.25));
            // Where it begins and ends it is no cosine.
            for i in 10_000..30_000 {
                prop_assert!((found[i] - expected[i]).abs() < 0.01, "{} {} at {i}", found[i], expected[i]);
            }
        }
    }

    #[test]
    fn windows_that_overlap_add_up_to_one() {
        let transform = Transform::new(LATER_BLOCK);
        for i in 0..LATER_BLOCK / 2 {
            let sum = transform.window(i).powi(2) + transform.window(i + LATER_BLOCK / 2).powi(2);
            assert!((sum - 1.0).abs() < 1e-6, "{sum} at {i}");
        }
    }
}
