//! A phase-locked loop of second order on the filtered signal: the naive way, kept to compare with.
use num_complex::Complex64;
use std::f64::consts::{FRAC_PI_2, TAU};

use super::band::Band;
use super::predictor::Mean;
use super::taps::Taps;

const DAMPING: f64 = 0.7;
/// The loop's natural frequency as a share of the band's width.
const SPEED: f64 = 0.125;

#[derive(Clone, Debug)]
pub(super) struct Loop {
    band: Band,
    rate_hz: f64,
    filter: Taps,
    level: Mean,
    phase_turns: f64,
    frequency_hz: f64,
}

impl Loop {
    pub(super) fn new(band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        Self {
            band: *band,
            rate_hz,
            filter: Taps::filter(band, rate_hz, delay_s),
            level: Mean::new(8.0 / band.lo_hz * rate_hz),
            phase_turns: 0.0,
            frequency_hz: band.middle_hz(),
        }
    }

    /// Lets go of the level that it measured. Realtime-safe.
    pub(super) fn forget(&mut self) {
        self.level.forget();
    }

    pub(super) fn window(&self) -> usize {
        self.filter.len()
    }

    pub(super) fn follow(&mut self, window: &[f64]) -> Complex64 {
        let value = self.filter.of(window).re;
        self.level.add(FRAC_PI_2 * value.abs());
        let amplitude = self.level.value;
        let ahead = self.phase_turns + self.frequency_hz / self.rate_hz;
        // The product of both sines: half of it is the error's sine, the rest turns twice as fast.
        let error = if amplitude > 0.0 { -2.0 * value / amplitude * (TAU * ahead).sin() } else { 0.0 };
        let natural = TAU * SPEED * self.band.width_hz() / self.rate_hz;
        self.phase_turns = (ahead + 2.0 * DAMPING * natural * error / TAU).rem_euclid(1.0);
        self.frequency_hz = (self.frequency_hz + natural * natural * error / TAU * self.rate_hz)
            .clamp(self.band.lo_hz, self.band.hi_hz);
        Complex64::from_polar(amplitude, TAU * self.phase_turns)
    }
}
