//! What is stated about clocks, and never measured: the two limits on which every certified bound rests.
//!
//! A bound that holds whatever the network does still needs to know how far two crystals can part between two
//! exchanges. That cannot be found out from the exchanges themselves, so it is stated: the largest drift (difference of
//! frequency) and the largest wander (change of that in a second). A bound is true if they are, and is shown with them.
//!
//! Recorded traces of known crystals are judged by 200 ppm and 3e-8/s. Live, [`Stated::default`] is larger: 500 ppm,
//! the most that NTP allows a clock (RFC 5905, MAXFREQ) and that a kernel will correct, since nobody has measured the
//! bedside device; and 1e-7/s, half of which is a sanctuary that corrects its own clock while it is listened to
//! ([`crate::steering::GENTLE`]) and half a crystal of 1 ppm/K in a room that warms by 3 K a minute.
use thiserror::Error;

/// The largest drift that may be stated, parts per billion: 10 %.
pub const MAX_DRIFT_PPB: i64 = 100_000_000;
/// The largest wander that may be stated, 1/s.
pub const MAX_WANDER: f64 = 1e-3;

/// Limits that no pair of clocks can be meant to have.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum StatedError {
    /// The drift is out of range.
    #[error("the largest drift must be 0 to {} ppm, not {}", MAX_DRIFT_PPB / 1000, *.0 as f64 / 1e3)]
    Drift(i64),
    /// The wander is out of range, or no number.
    #[error("the largest wander must be 0 to {MAX_WANDER}/s, not {0}")]
    Wander(f64),
}

/// The limits stated for two clocks. [`Copy`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stated {
    /// Largest difference of their frequencies, parts per billion.
    pub max_drift_ppb: i64,
    /// Largest change of that difference in a second, 1/s (1e-7: 0.1 ppm a second).
    pub max_wander: f64,
}

impl Default for Stated {
    /// For live use; see the module.
    fn default() -> Self {
        Self { max_drift_ppb: 500_000, max_wander: 1e-7 }
    }
}

impl Stated {
    /// Limits within [`MAX_DRIFT_PPB`] and [`MAX_WANDER`].
    pub fn new(max_drift_ppb: i64, max_wander: f64) -> Result<Self, StatedError> {
        if !(0..=MAX_DRIFT_PPB).contains(&max_drift_ppb) {
            return Err(StatedError::Drift(max_drift_ppb));
        }
        if !(0.0..=MAX_WANDER).contains(&max_wander) {
            return Err(StatedError::Wander(max_wander));
        }
        Ok(Self { max_drift_ppb, max_wander })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        assert_eq!(Stated::new(500_000, 1e-7), Ok(Stated::default()));
        assert!(Stated::new(0, 0.0).is_ok() && Stated::new(MAX_DRIFT_PPB, MAX_WANDER).is_ok());
        let refused = Stated::new(100_000_001, 0.0).unwrap_err().to_string();
        assert_eq!(refused, "the largest drift must be 0 to 100000 ppm, not 100000.001");
        assert!(Stated::new(-1, 0.0).is_err());
        for wander in [-1e-9, 2e-3, f64::NAN, f64::INFINITY] {
            let refused = Stated::new(0, wander).unwrap_err().to_string();
            assert_eq!(refused, format!("the largest wander must be 0 to 0.001/s, not {wander}"));
        }
    }

    #[test]
    fn a_sanctuary_that_corrects_itself_leaves_half_of_the_wander_to_crystals() {
        let stated_ppb_per_s = (Stated::default().max_wander * 1e9).round() as i64;
        assert!(2 * crate::steering::GENTLE.ramp_ppb_per_s <= stated_ppb_per_s);
    }
}
