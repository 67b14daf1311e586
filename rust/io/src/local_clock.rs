//! A platform's free-running clock.
//!
//! On a bedside device this is the raw oscillator. In a simulation it is deliberately wrong: displaced by some offset and
//! running too fast or too slow, as if the device had a clock of its own; so that synchronisation on one machine is
//! measured against a truth that the client cannot see.
use harmonia_core::units::{PlatformTime, NS_PER_S};

use crate::error::IoError;
use crate::os;

/// The raw clock, displaced and drifting.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    start_raw_ns: i64,
    offset_ns: i64,
    drift_ppb: i64,
}

/// The largest displacement, either way: ten years.
pub const OFFSET_MAX_NS: i64 = 10 * 366 * 86_400 * NS_PER_S;
/// The largest drift, either way: a tenth.
pub const DRIFT_MAX_PPB: i64 = 100_000_000;

const PPB: i128 = 1_000_000_000;

impl LocalClock {
    /// A clock that reads `raw + offset` now and gains `drift_ppb` nanoseconds a second from here on.
    ///
    /// Errors beyond [`OFFSET_MAX_NS`] and [`DRIFT_MAX_PPB`]: a clock that stands still has no inverse.
    pub fn start(offset_ns: i64, drift_ppb: i64) -> Result<Self, IoError> {
        let (offset_max_ns, drift_max_ppb) = (OFFSET_MAX_NS, DRIFT_MAX_PPB);
        if offset_ns.unsigned_abs() > OFFSET_MAX_NS as u64 || drift_ppb.unsigned_abs() > DRIFT_MAX_PPB as u64 {
            return Err(IoError::LocalClock { offset_ns, drift_ppb, offset_max_ns, drift_max_ppb });
        }
        Ok(Self { start_raw_ns: os::raw_ns(), offset_ns, drift_ppb })
    }

    /// What this clock reads now. Realtime-safe.
    pub fn now(&self) -> PlatformTime {
        self.at_raw(os::raw_ns())
    }

    /// What this clock reads when the raw clock reads `raw_ns`. Realtime-safe.
    pub fn at_raw(&self, raw_ns: i64) -> PlatformTime {
        let since = i128::from(raw_ns) - i128::from(self.start_raw_ns);
        let gained = (since * i128::from(self.drift_ppb)).div_euclid(PPB);
        PlatformTime::from_ns((i128::from(raw_ns) + i128::from(self.offset_ns) + gained) as i64)
    }

    /// What the raw clock reads when this one reads `t`, to the nanosecond. Realtime-safe.
    pub fn to_raw(&self, t: PlatformTime) -> i64 {
        let since = i128::from(t.ns()) - i128::from(self.offset_ns) - i128::from(self.start_raw_ns);
        self.start_raw_ns + (since * PPB).div_euclid(PPB + i128::from(self.drift_ppb)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_wrong_by_what_it_was_told() {
        let clock = LocalClock { start_raw_ns: 1_000, offset_ns: 500_000_000, drift_ppb: 100_000 };
        assert_eq!(clock.at_raw(1_000).ns(), 500_001_000);
        assert_eq!(clock.at_raw(10_000_001_000).ns(), 10_501_001_000, "100 ppm over 10 s are 1 ms");
        let right = LocalClock { start_raw_ns: 77, offset_ns: 0, drift_ppb: 0 };
        assert_eq!(right.at_raw(123_456_789).ns(), 123_456_789);
    }

    #[test]
    fn a_clock_that_stands_still_or_reads_centuries_off_is_refused() {
        for (offset_ns, drift_ppb) in [(0, -1_000_000_000), (0, i64::MIN), (i64::MAX, 0), (i64::MIN, 0)] {
            let refused = LocalClock::start(offset_ns, drift_ppb).unwrap_err().to_string();
            assert!(refused.contains(&drift_ppb.to_string()), "{refused}");
        }
        assert!(LocalClock::start(-OFFSET_MAX_NS, DRIFT_MAX_PPB).is_ok());
    }

    #[test]
    fn there_and_back_is_the_same_nanosecond() {
        for drift_ppb in [-100_000, -1, 0, 7, 100_000] {
            let clock = LocalClock { start_raw_ns: 5_000_000, offset_ns: -499_999_999, drift_ppb };
            for raw in [0, 5_000_000, 12_345_678_901, 28_800_000_000_000] {
                let back = clock.to_raw(clock.at_raw(raw));
                assert!((back - raw).abs() <= 1, "{drift_ppb} {raw} {back}");
            }
        }
    }
}
