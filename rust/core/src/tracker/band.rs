//! The band whose phase is tracked, and how Butterworth filters of first and second order weigh frequencies around it.
use num_complex::Complex64;
use std::f64::consts::{PI, SQRT_2};

use super::TrackerError;

/// From the lowest to the highest frequency of the rhythm that is looked for, in Hz.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The lower corner, where the filter lets half of the power through.
    pub lo_hz: f64,
    /// The upper corner.
    pub hi_hz: f64,
}

impl Band {
    /// A wider band holds several rhythms at once, and no one phase.
    pub const RATIO_MAX: f64 = 10.0;
    /// A narrower band answers so late that nothing could be learnt within a night's changes.
    pub const WIDTH_MIN: f64 = 0.1;
    /// Slower than any breath.
    pub const LO_MIN_HZ: f64 = 0.005;

    /// A band that can be tracked in a signal of `rate_hz`. Errors name the limit.
    pub fn new(lo_hz: f64, hi_hz: f64, rate_hz: f64) -> Result<Self, TrackerError> {
        if !(rate_hz.is_finite() && rate_hz > 0.0) {
            return Err(TrackerError::Rate { rate_hz });
        }
        if !(lo_hz >= Self::LO_MIN_HZ && hi_hz > lo_hz) {
            return Err(TrackerError::Order { lo_hz, hi_hz });
        }
        if hi_hz >= rate_hz / 2.0 {
            return Err(TrackerError::Nyquist { hi_hz, rate_hz });
        }
        let band = Self { lo_hz, hi_hz };
        if hi_hz > Self::RATIO_MAX * lo_hz {
            return Err(TrackerError::Wide { lo_hz, hi_hz });
        }
        if band.width_hz() < Self::WIDTH_MIN * band.middle_hz() {
            return Err(TrackerError::Narrow { lo_hz, hi_hz });
        }
        Ok(band)
    }

    /// Between its corners.
    pub fn width_hz(&self) -> f64 {
        self.hi_hz - self.lo_hz
    }

    /// Half-way between its corners.
    pub fn middle_hz(&self) -> f64 {
        0.5 * (self.lo_hz + self.hi_hz)
    }

    /// What the causal filter of second order makes of a sine of `hz`, in a signal of `rate_hz` (bilinear transform). Its
    /// squared magnitude is what the same filter makes of it forwards and then backwards, without a shift.
    pub fn response(&self, hz: f64, rate_hz: f64) -> Complex64 {
        self.low_pass(hz, rate_hz, |s| s * s + SQRT_2 * s + 1.0)
    }

    /// The same of first order, which turns a sine less.
    pub(super) fn gentle_response(&self, hz: f64, rate_hz: f64) -> Complex64 {
        self.low_pass(hz, rate_hz, |s| s + 1.0)
    }

    /// One over the polynomial of the low-pass filter that becomes this band's.
    fn low_pass(&self, hz: f64, rate_hz: f64, polynomial: impl Fn(Complex64) -> Complex64) -> Complex64 {
        let warp = |hz: f64| (PI * hz / rate_hz).tan();
        if hz <= 0.0 || hz >= 0.5 * rate_hz {
            return Complex64::new(0.0, 0.0);
        }
        let (lo, hi, at) = (warp(self.lo_hz), warp(self.hi_hz), warp(hz));
        1.0 / polynomial(Complex64::new(0.0, (at * at - lo * hi) / (at * (hi - lo))))
    }
}
