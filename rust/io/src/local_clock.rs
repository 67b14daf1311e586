//! A platform's free-running clock.
//!
//! On a bedside device this is the raw oscillator. In a simulation it is deliberately wrong: displaced by some offset and
//! running too fast or too slow, as if the device had a clock of its own; so that synchronisation on one machine is
//! measured against a truth that the client cannot see.
use harmonia_core::units::PlatformTime;

use crate::os;

/// The raw clock, displaced and drifting.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    start_raw_ns: i64,
    offset_ns: i64,
    drift_ppb: i64,
}

const PPB: i128 = 1_000_000_000;

impl LocalClock {
    /// A clock that reads `raw + offset` now and gains `drift_ppb` nanoseconds a second from here on.
    pub fn start(offset_ns: i64, drift_ppb: i64) -> Self {
        Self { start_raw_ns: os::raw_ns(), offset_ns, drift_ppb }
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
