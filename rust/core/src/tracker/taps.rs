//! Fixed taps: the analytic signal as a weighted sum of what is known.
//!
//! *The truth*, seen from the future: a Butterworth filter of second order run forwards and backwards, and the Hilbert
//! transform of that. Its taps reach as far ahead as behind, so it is known only after a delay; then it says how good
//! the causal estimate was, and teaches the predictor.
//!
//! *The end-corrected Hilbert transform* (Schreglmann and others, Nature Communications 2021): the last value of the
//! discrete analytic signal of a window, whose spectrum a causal filter has weighed; so the window's wrap-around joins
//! smoothly at its newest end.
//!
//! *The plain one*: a causal filter, and the last value of the window's analytic signal, ripples and all.
//!
//! The causal filters are of first order: of second order they are later, and all that rests on them is worse.
use num_complex::Complex64;
use std::f64::consts::{FRAC_PI_2, TAU};

use super::band::Band;
use super::spectrum::{inverse, one_sided};

/// Cycles at the lower corner that the Hilbert transforms' window holds, at least.
const WINDOW_CYCLES: f64 = 4.0;

/// Weights of a window's values, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Taps(Vec<Complex64>);

impl Taps {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The weighted sum of the last values, oldest first.
    pub(super) fn of(&self, values: &[f64]) -> Complex64 {
        let values = &values[values.len() - self.0.len()..];
        self.0.iter().zip(values).map(|(tap, value)| tap * value).sum()
    }

    /// From half its length ahead to as far behind. `delay_s` is how late its values are, for which it makes up.
    pub(super) fn truth(band: &Band, rate_hz: f64, delay_s: f64, reach: usize) -> Self {
        let len = (16 * reach).next_power_of_two();
        let lags = one_sided(len, rate_hz, |hz| zero_phase(band, hz, rate_hz, delay_s));
        let taper = |lag: i64| (FRAC_PI_2 * lag as f64 / (reach + 1) as f64).cos().sqrt();
        let reach = reach as i64;
        let mut taps: Vec<_> =
            (-reach..=reach).rev().map(|lag| lags[lag.rem_euclid(len as i64) as usize] * taper(lag)).collect();
        // The tapering must let neither a constant nor a drift through.
        let mean = taps.iter().sum::<Complex64>() / taps.len() as f64;
        let squares: f64 = (-reach..=reach).map(|lag| (lag * lag) as f64).sum();
        let slope = (-reach..=reach).zip(&taps).map(|(lag, tap)| lag as f64 * tap).sum::<Complex64>() / squares;
        for (lag, tap) in (-reach..=reach).zip(&mut taps) {
            *tap -= mean + lag as f64 * slope;
        }
        Self(taps)
    }

    pub(super) fn end_corrected(band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        let len = window(band, rate_hz);
        let mut taps = one_sided(len, rate_hz, |hz| 2.0 * band.gentle_response(hz, rate_hz) * advance(hz, delay_s));
        taps.reverse();
        Self(taps)
    }

    pub(super) fn hilbert(band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        let len = window(band, rate_hz);
        let analytic = one_sided(len, rate_hz, |hz| {
            let edge = hz == 0.0 || hz >= 0.5 * rate_hz;
            Complex64::new(if edge { 1.0 } else { 2.0 }, 0.0)
        });
        let filter = Self::filter(band, rate_hz, delay_s).0;
        let mut taps = vec![Complex64::new(0.0, 0.0); len + filter.len() - 1];
        for (lag, weight) in analytic.iter().enumerate() {
            for (tap, response) in taps[lag..].iter_mut().zip(filter.iter().rev()) {
                *tap += weight * response.re;
            }
        }
        taps.reverse();
        Self(taps)
    }

    /// The causal filter's own impulse response: its real part.
    pub(super) fn filter(band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        let len = window(band, rate_hz);
        let mut taps = one_sided(4 * len, rate_hz, |hz| 2.0 * band.gentle_response(hz, rate_hz) * advance(hz, delay_s));
        taps.truncate(len);
        taps.iter_mut().for_each(|tap| tap.im = 0.0);
        taps.reverse();
        Self(taps)
    }
}

fn window(band: &Band, rate_hz: f64) -> usize {
    ((WINDOW_CYCLES / band.lo_hz * rate_hz) as usize).next_power_of_two()
}

fn zero_phase(band: &Band, hz: f64, rate_hz: f64, delay_s: f64) -> Complex64 {
    2.0 * band.response(hz, rate_hz).norm_sqr() * advance(hz, delay_s)
}

fn advance(hz: f64, delay_s: f64) -> Complex64 {
    Complex64::from_polar(1.0, TAU * hz * delay_s)
}

/// What a signal whose power falls with its frequency, as that of living things does, lets one expect: its own
/// covariance, and that of the truth with it, by lag.
pub(super) fn expected(band: &Band, rate_hz: f64, delay_s: f64, lags: usize) -> (Vec<f64>, Vec<Complex64>, f64) {
    let len = (16 * lags).next_power_of_two();
    let knee_hz = 0.5 * band.lo_hz;
    let power = |hz: f64| 1.0 / hz.hypot(knee_hz);
    let mut own = vec![Complex64::new(0.0, 0.0); len];
    for (i, value) in own.iter_mut().enumerate() {
        *value = power(i.min(len - i) as f64 * rate_hz / len as f64).into();
    }
    inverse(&mut own);
    let with_truth = one_sided(len, rate_hz, |hz| power(hz) * zero_phase(band, hz, rate_hz, delay_s));
    let truth =
        one_sided(len, rate_hz, |hz| Complex64::new(power(hz) * zero_phase(band, hz, rate_hz, 0.0).norm_sqr(), 0.0));
    (own[..lags].iter().map(|value| value.re).collect(), with_truth[..lags].to_vec(), truth[0].re)
}
