//! From a response at every frequency to the taps that give it: the inverse discrete Fourier transform.
use num_complex::Complex64;
use std::f64::consts::TAU;

/// The inverse transform of `spectrum`, in place; its length is a power of two. Radix 2, decimation in time.
pub(super) fn inverse(spectrum: &mut [Complex64]) {
    let len = spectrum.len();
    assert!(len.is_power_of_two());
    let bits = len.trailing_zeros();
    for i in 0..len {
        let j = i.reverse_bits() >> (usize::BITS - bits).min(usize::BITS - 1);
        if bits > 0 && i < j {
            spectrum.swap(i, j);
        }
    }
    let mut half = 1;
    while half < len {
        for k in 0..half {
            let turn = Complex64::from_polar(1.0, TAU * k as f64 / (2 * half) as f64);
            for start in (k..len).step_by(2 * half) {
                let (even, odd) = (spectrum[start], spectrum[start + half] * turn);
                spectrum[start] = even + odd;
                spectrum[start + half] = even - odd;
            }
        }
        half *= 2;
    }
    for value in spectrum {
        *value /= len as f64;
    }
}

/// The impulse response, over `len` lags (a power of two; negative lags at the end), of `response` given at each
/// frequency from 0 up to half of `rate_hz`, and nothing at negative ones.
pub(super) fn one_sided(len: usize, rate_hz: f64, response: impl Fn(f64) -> Complex64) -> Vec<Complex64> {
    let mut spectrum = vec![Complex64::new(0.0, 0.0); len];
    for (i, value) in spectrum.iter_mut().enumerate().take(len / 2 + 1) {
        *value = response(i as f64 * rate_hz / len as f64);
    }
    inverse(&mut spectrum);
    spectrum
}

#[cfg(test)]
mod laws {
    use super::*;

    #[test]
    fn the_inverse_is_the_sum_that_defines_it() {
        for len in [1, 2, 8, 64] {
            let given: Vec<_> = (0..len).map(|i| Complex64::new((i * i % 7) as f64, (i % 5) as f64 - 2.0)).collect();
            let mut found = given.clone();
            inverse(&mut found);
            for (n, value) in found.iter().enumerate() {
                let sum: Complex64 =
                    (0..len).map(|k| given[k] * Complex64::from_polar(1.0, TAU * (k * n) as f64 / len as f64)).sum();
                assert!((sum / len as f64 - value).norm() < 1e-12, "{len} {n}");
            }
        }
    }
}
