//! How insistently a listener is told that a voice was withdrawn.
//!
//! A lost mix frame costs nothing, with one exception: the frame from which a voice is missing must arrive. Waiting for
//! an acknowledgement before repeating would cost a round trip or a time-out on the one occasion where milliseconds
//! count; so a cut is sent at once, again after 5 ms and 20 ms whatever happens, and then with every regular frame until
//! the platform's status names its epoch.
//!
//! One restless sleeper thus costs every listener three frames, and a thousand would cost a thousand times as much, to each
//! of a thousand. But a frame always holds the newest state: a cut that comes before the repeats of an earlier one is
//! itself a repeat of that, and begins the count anew. How soon after one another cuts may come is not decided here but
//! for all listeners of a circle together, by whoever ticks it.
use crate::units::{NodeTime, Span};

/// When a cut is repeated without being asked, counted from the first frame of its round.
pub const REPEATS: [Span; 2] = [Span::from_ms(5), Span::from_ms(20)];
/// One listener's deliveries. Pure; time is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    epoch: u64,
    acknowledged: u64,
    /// The newest epoch that a frame was sent of.
    told: u64,
    /// When a frame told of `told` for the first time.
    first: NodeTime,
    repeats: usize,
}

impl Delivery {
    /// A listener who has heard nothing yet and need not be told of cuts before `epoch`.
    pub fn from_epoch(epoch: u64) -> Self {
        Self { epoch, acknowledged: epoch, told: epoch, first: NodeTime::from_ns(0), repeats: REPEATS.len() }
    }

    /// The circle's gate epoch rose: a frame is due.
    pub fn raise(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The platform has followed a frame of `epoch`.
    pub fn acknowledge(&mut self, epoch: u64) {
        self.acknowledged = self.acknowledged.max(epoch.min(self.epoch));
    }

    /// Whether frames to this listener are to be marked as a cut. Realtime-safe.
    pub fn is_cut(&self) -> bool {
        self.acknowledged < self.epoch
    }

    /// The newest cut that a frame has told this listener of. Realtime-safe.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Whether no frame has told this listener of the newest cut. Realtime-safe.
    pub fn is_untold(&self) -> bool {
        self.told < self.epoch
    }

    /// When what was told is due again, because it may have been lost; `None` if it was acknowledged, or often enough
    /// said. Realtime-safe.
    pub fn repeat(&self) -> Option<NodeTime> {
        let after = REPEATS.get(self.repeats).filter(|_| self.acknowledged < self.told)?;
        Some(self.first + *after)
    }

    /// A frame of the current epoch was handed to the socket at `now`.
    pub fn sent(&mut self, now: NodeTime) {
        if self.told < self.epoch {
            (self.told, self.first, self.repeats) = (self.epoch, now, 0);
        }
        while self.repeat().is_some_and(|due| now >= due) {
            self.repeats += 1;
        }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> NodeTime {
        NodeTime::from_ns(ms * 1_000_000)
    }

    #[test]
    fn a_cut_is_told_once_and_after_5_and_20_ms() {
        let mut delivery = Delivery::from_epoch(3);
        assert_eq!((delivery.is_untold(), delivery.repeat(), delivery.is_cut()), (false, None, false));
        delivery.raise(4);
        assert!(delivery.is_untold());
        for (now, due) in [(100, Some(105)), (105, Some(120)), (120, None)] {
            delivery.sent(at(now));
            assert_eq!((delivery.is_untold(), delivery.repeat()), (false, due.map(at)));
        }
        assert!(delivery.is_cut(), "from here on with regular frames");
        delivery.acknowledge(4);
        assert!(!delivery.is_cut());
    }

    #[test]
    fn an_acknowledgement_ends_the_repeats() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.raise(1);
        delivery.sent(at(0));
        delivery.acknowledge(1);
        assert_eq!((delivery.is_untold(), delivery.repeat()), (false, None));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_counts_for_nothing() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.acknowledge(u64::MAX);
        delivery.raise(1);
        assert!(delivery.is_cut() && delivery.is_untold(), "a liar still gets the next cut");
    }

    #[test]
    fn a_cut_before_the_repeats_of_another_is_one_of_them() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.raise(1);
        delivery.sent(at(0));
        delivery.raise(2);
        delivery.sent(at(4));
        assert_eq!(delivery.repeat(), Some(at(9)));
        delivery.acknowledge(1);
        assert_eq!(delivery.repeat(), Some(at(9)), "the first was followed, the second may be lost");
        delivery.acknowledge(2);
        assert_eq!(delivery.repeat(), None);
    }

    proptest! {
        #[test]
        fn in_a_storm_each_cut_is_told_by_the_next_tick_and_twice_more(
            raises in prop::collection::vec(0i64..2_000, 1..400), tick in 1i64..7,
        ) {
            let mut raises = raises;
            raises.sort_unstable();
            let mut delivery = Delivery::from_epoch(0);
            let (mut sent, mut next) = (Vec::new(), 0);
            for now in 0..2_200 {
                while raises.get(next).is_some_and(|raise| *raise <= now) {
                    next += 1;
                    delivery.raise(next as u64);
                }
                let due = delivery.is_untold() || delivery.repeat().is_some_and(|due| due <= at(now));
                if now % tick == 0 && due {
                    delivery.sent(at(now));
                    sent.push(now);
                }
            }
            for raise in &raises {
                let after: Vec<i64> = sent.iter().filter(|sent| *sent >= raise).map(|sent| sent - raise).collect();
                prop_assert!(after[0] < tick, "first told after {} ms, a tick is {}", after[0], tick);
                prop_assert!(after.len() >= 3, "told {} times", after.len());
            }
            prop_assert!(sent.len() <= 3 * raises.len(), "{} frames for {} cuts", sent.len(), raises.len());
        }

        #[test]
        fn a_cut_stays_a_cut_until_it_is_acknowledged(steps in prop::collection::vec((0u8..3, 0u64..10), 1..50)) {
            let mut delivery = Delivery::from_epoch(0);
            let (mut raised, mut acknowledged) = (0, 0);
            for (i, (step, epoch)) in steps.into_iter().enumerate() {
                match step {
                    0 => { delivery.raise(epoch); raised = raised.max(epoch); }
                    1 => { delivery.acknowledge(epoch); acknowledged = acknowledged.max(epoch.min(raised)); }
                    _ => delivery.sent(at(i as i64)),
                }
                prop_assert_eq!(delivery.is_cut(), acknowledged < raised);
            }
        }
    }
}
