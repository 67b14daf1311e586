//! How insistently a listener is told that a voice was withdrawn.
//!
//! A lost mix frame costs nothing, with one exception: the frame from which a voice is missing must arrive. Waiting for
//! an acknowledgement before repeating would cost a round trip or a time-out on the one occasion where milliseconds
//! count; so a cut is sent at once, again after 5 ms and 20 ms whatever happens, and then with every regular frame until
//! the platform's status names its epoch.
//!
//! One restless sleeper thus costs every listener three frames. A thousand would cost a thousand times as much, to each
//! of a thousand: the square of the crowd. So such rounds begin at least [`ROUND_SPACING`] apart. A frame always holds
//! the newest state, so a cut that comes while a round is under way rides on what repeats that one still needs, and
//! shares a round of its own with all others that came meanwhile. A lone opt-out is as fast as ever; in a storm the others hear it at most that
//! spacing later (their own platform's gate, and what the node seals, never wait).
use crate::units::{NodeTime, Span};

/// When a cut is repeated without being asked, counted from the first frame of its round.
pub const REPEATS: [Span; 2] = [Span::from_ms(5), Span::from_ms(20)];
/// The shortest time between the beginnings of two rounds to one listener.
pub const ROUND_SPACING: Span = Span::from_ms(50);

/// One listener's deliveries. Pure; time is an argument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    epoch: u64,
    acknowledged: u64,
    /// The newest epoch that a round has begun with.
    covered: u64,
    round: Option<NodeTime>,
    repeats: usize,
}

impl Delivery {
    /// A listener who has heard nothing yet and need not be told of cuts before `epoch`.
    pub fn from_epoch(epoch: u64) -> Self {
        Self { epoch, acknowledged: epoch, covered: epoch, round: None, repeats: REPEATS.len() }
    }

    /// The circle's gate epoch rose: a frame is due now, or with the next round.
    pub fn raise(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The platform has followed a frame of `epoch`.
    pub fn acknowledge(&mut self, epoch: u64) {
        self.acknowledged = self.acknowledged.max(epoch.min(self.epoch));
        if !self.is_cut() {
            self.covered = self.epoch;
        }
    }

    /// Whether frames to this listener are to be marked as a cut. Realtime-safe.
    pub fn is_cut(&self) -> bool {
        self.acknowledged < self.epoch
    }

    /// When a frame has to go out beyond the regular ones; `None` if there is no hurry. Realtime-safe.
    pub fn due(&self) -> Option<NodeTime> {
        if !self.is_cut() {
            return None;
        }
        let round = (self.covered < self.epoch).then(|| self.next_round());
        round.into_iter().chain(self.repeat()).min()
    }

    fn next_round(&self) -> NodeTime {
        self.round.map_or(NodeTime::from_ns(i64::MIN), |began| began + ROUND_SPACING)
    }

    /// Repeats are for what may have been lost: a round that was acknowledged has none left.
    fn repeat(&self) -> Option<NodeTime> {
        if self.acknowledged >= self.covered {
            return None;
        }
        Some(self.round? + *REPEATS.get(self.repeats)?)
    }

    /// A frame of the current epoch was handed to the socket at `now`.
    pub fn sent(&mut self, now: NodeTime) {
        if self.covered < self.epoch && now >= self.next_round() {
            (self.covered, self.round, self.repeats) = (self.epoch, Some(now), 0);
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
    fn a_cut_goes_out_at_once_and_after_5_and_20_ms() {
        let mut delivery = Delivery::from_epoch(3);
        assert_eq!((delivery.due(), delivery.is_cut()), (None, false));
        delivery.raise(4);
        assert!(delivery.due().unwrap() <= at(100), "at once");
        delivery.sent(at(100));
        assert_eq!(delivery.due(), Some(at(105)));
        delivery.sent(at(105));
        assert_eq!(delivery.due(), Some(at(120)));
        delivery.sent(at(120));
        assert_eq!((delivery.due(), delivery.is_cut()), (None, true), "from here on with regular frames");
        delivery.acknowledge(4);
        assert!(!delivery.is_cut());
    }

    #[test]
    fn an_acknowledgement_ends_the_repeats() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.raise(1);
        delivery.sent(at(0));
        delivery.acknowledge(1);
        assert_eq!(delivery.due(), None);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_counts_for_nothing() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.acknowledge(u64::MAX);
        delivery.raise(1);
        assert!(delivery.is_cut(), "a liar still gets the next cut");
    }

    #[test]
    fn a_cut_during_a_round_rides_on_its_repeats_and_then_has_a_round_of_its_own() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.raise(1);
        delivery.sent(at(0));
        delivery.raise(2);
        let mut times = Vec::new();
        while let Some(due) = delivery.due() {
            times.push(due.ns() / 1_000_000);
            delivery.sent(due);
        }
        assert_eq!(times, [5, 20, 50, 55, 70]);
        // Once all is acknowledged, the next one is as fast as the first.
        delivery.acknowledge(2);
        delivery.sent(at(100));
        delivery.raise(3);
        assert!(delivery.due().unwrap() <= at(101), "at once");
    }

    #[test]
    fn an_acknowledged_round_is_not_repeated_for_the_sake_of_the_next() {
        let mut delivery = Delivery::from_epoch(0);
        delivery.raise(1);
        delivery.sent(at(0));
        delivery.raise(2);
        delivery.acknowledge(1);
        assert_eq!(delivery.due(), Some(at(50)));
    }

    proptest! {
        #[test]
        fn in_a_storm_everybody_is_told_soon_and_the_cost_does_not_grow(raises in prop::collection::vec(0i64..2_000, 1..400),
                                                                        tick in 1i64..7) {
            let mut raises = raises;
            raises.sort_unstable();
            let mut delivery = Delivery::from_epoch(0);
            let (mut sent, mut next) = (Vec::new(), 0);
            for now in 0..2_200 {
                while raises.get(next).is_some_and(|raise| *raise <= now) {
                    next += 1;
                    delivery.raise(next as u64);
                }
                // The ticker comes now and then, not always to the millisecond.
                if now % tick == 0 && delivery.due().is_some_and(|due| due <= at(now)) {
                    delivery.sent(at(now));
                    sent.push(now);
                }
            }
            for raise in &raises {
                let after: Vec<i64> = sent.iter().filter(|sent| *sent >= raise).map(|sent| sent - raise).collect();
                prop_assert!(after[0] <= ROUND_SPACING.ns() / 1_000_000 + tick, "first told after {} ms", after[0]);
                prop_assert!(after.len() >= 3, "told {} times", after.len());
            }
            for begin in &sent {
                let within = sent.iter().filter(|sent| (*begin..begin + 50).contains(*sent)).count();
                prop_assert!(within <= 5, "{} frames within 50 ms", within);
            }
            prop_assert!(sent.len() <= 3 * (2_200 / 50 + 1), "{} frames", sent.len());
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
