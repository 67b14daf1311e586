//! How long something took, over any number of times: a histogram that one thread fills and any may read.
//!
//! A percentile of many waits needs their distribution, not their sum, and a list of them would grow. Here a wait falls into
//! one of a fixed number of classes, eight to each doubling, so that a quantile is known to within an eighth; counting is
//! one relaxed addition, as safe in a tick as anything can be.
use std::sync::atomic::{AtomicU64, Ordering};

/// Classes a doubling.
const SHARES: u64 = 8;
const CLASSES: usize = 64 * SHARES as usize;

/// Counts of durations by size.
#[derive(Debug)]
pub struct Latency {
    counts: Box<[AtomicU64]>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: (0..CLASSES).map(|_| AtomicU64::new(0)).collect() }
    }
}

/// Which class `ns` falls into: below 8 each number has its own, above there are 8 to each power of two.
fn class(ns: u64) -> usize {
    let doubling = ns.max(1).ilog2().saturating_sub(SHARES.ilog2());
    (u64::from(doubling) * SHARES + (ns >> doubling)) as usize
}

/// The largest number of a class.
fn limit(class: usize) -> u64 {
    let class = class as u64;
    let doubling = (class / SHARES).saturating_sub(1);
    ((class - doubling * SHARES + 1) << doubling) - 1
}

impl Latency {
    /// Counts one; less than nothing counts as nothing. Realtime-safe.
    pub fn note(&self, ns: i64) {
        self.counts[class(ns.max(0) as u64)].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The duration that the share `share` of all did not exceed, rounded up to its class; 0 if there were none.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let mut left = (share * self.count() as f64).ceil().max(1.0) as u64;
        for (class, count) in self.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count >= left {
                return limit(class);
            }
            left -= count;
        }
        0
    }
}

#[cfg(test)]
mod laws {
    use super::*;

    #[test]
    fn a_class_holds_its_limit_and_nothing_beyond_and_is_an_eighth_wide() {
        for ns in
            (0..4_096).chain((12..62).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 12_345 % (1 << bit)]))
        {
            let limit = limit(class(ns));
            assert!(limit >= ns && limit - ns <= ns / 8, "{ns} {limit}");
            assert_eq!((class(limit), class(limit + 1)), (class(ns), class(ns) + 1), "{ns}");
        }
        assert!(class(i64::MAX as u64) < CLASSES);
    }

    #[test]
    fn a_quantile_is_that_of_the_sorted_list_to_within_its_class() {
        let latency = Latency::default();
        assert_eq!(latency.quantile_ns(0.5), 0);
        let mut all: Vec<u64> = (0..1_000u64).map(|i| i * i * 7 % 100_003).collect();
        all.iter().for_each(|ns| latency.note(*ns as i64));
        all.sort_unstable();
        for (share, nth) in [(0.5, 499), (0.99, 989), (0.999, 998), (1.0, 999)] {
            let got = latency.quantile_ns(share);
            assert!(all[nth] <= got && got <= all[nth] + all[nth] / 8, "{share}: {got} {}", all[nth]);
        }
    }
}
