//! Samples with time stamps, as a sensor delivers them: some late, some lost, at a rate that is nearly what it says.
use super::{Estimate, Estimator, Tracker, TrackerError};
use crate::units::PlatformTime;

/// A [`Tracker`] that is fed by the platform's clock. Each sample takes the slot that is nearest to its time; slots that
/// nobody took are missing samples. Realtime-safe once made.
#[derive(Clone, Debug)]
pub struct LiveTracker {
    tracker: Tracker,
    /// When slot 0 was, and the newest slot.
    began: Option<PlatformTime>,
    slot: i64,
}

impl LiveTracker {
    /// As [`Tracker::new`]; `rate_hz` is what the sensor promises.
    pub fn new(lo_hz: f64, hi_hz: f64, rate_hz: f64, estimator: Estimator) -> Result<Self, TrackerError> {
        Ok(Self { tracker: Tracker::new(lo_hz, hi_hz, rate_hz, estimator)?, began: None, slot: -1 })
    }

    /// Takes what the sensor measured at an instant. False if a later sample is known already: then it is left out.
    pub fn push(&mut self, at: PlatformTime, sample: f64) -> bool {
        let began = *self.began.get_or_insert(at);
        let slot = ((at - began).as_s_f64() * self.tracker.rate_hz()).round() as i64;
        if slot <= self.slot {
            return false;
        }
        // What is longer ago than all that is remembered is one and the same silence.
        let lost = (slot - self.slot - 1).min(self.tracker.memory_samples() as i64);
        for _ in 0..lost {
            self.tracker.push(f64::NAN);
        }
        self.tracker.push(sample);
        self.slot = slot;
        true
    }

    /// Where the rhythm stands at an instant. Before the newest sample: where it stands at that; after it: where it will
    /// have got to, with ever less confidence.
    pub fn at(&self, at: PlatformTime) -> Estimate {
        let since_s = self.began.map_or(0.0, |began| (at - began).as_s_f64());
        self.tracker.ahead(since_s - self.slot.max(0) as f64 / self.tracker.rate_hz())
    }
}
