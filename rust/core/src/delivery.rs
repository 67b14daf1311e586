//! How insistently a listener is told that a voice was withdrawn.
//!
//! A lost mix frame costs nothing, with one exception: the frame from which a voice is missing must arrive. Waiting for
//! an acknowledgement before repeating would cost a round trip or a time-out on the one occasion where milliseconds
//! count; so a cut is sent at once, again after 5 ms and 20 ms whatever happens, and then with every regular frame until
//! the platform's status names its epoch.
use crate::units::{NodeTime, Span};

/// When a cut is repeated without being asked, counted from the first frame that carries it.
pub const REPEATS: [Span; 2] = [Span::from_ms(5), Span::from_ms(20)];

/// One listener's deliveries. Pure; time is an argument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    epoch: u64,
    acknowledged: u64,
    first_sent: Option<NodeTime>,
    repeats: usize,
}

impl Delivery {
    /// A listener who has heard nothing yet and need not be told of cuts before `epoch`.
    pub fn from_epoch(epoch: u64) -> Self {
        Self { epoch, acknowledged: epoch, first_sent: None, repeats: REPEATS.len() }
    }

    /// The circle's gate epoch rose: the next frame is due now.
    pub fn raise(&mut self, epoch: u64) {
        if epoch > self.epoch {
            *self = Self { epoch, acknowledged: self.acknowledged, first_sent: None, repeats: 0 };
        }
    }

    /// The platform has followed a frame of `epoch`.
    pub fn acknowledge(&mut self, epoch: u64) {
        self.acknowledged = self.acknowledged.max(epoch.min(self.epoch));
    }

    /// Whether frames to this listener are to be marked as a cut. Realtime-safe.
    pub fn is_cut(&self) -> bool {
        self.acknowledged < self.epoch
    }

    /// When a frame has to go out beyond the regular ones; `None` if there is no hurry. Realtime-safe.
    pub fn due(&self) -> Option<NodeTime> {
        match self.first_sent {
            _ if !self.is_cut() => None,
            None => Some(NodeTime::from_ns(i64::MIN)),
            Some(first) => REPEATS.get(self.repeats).map(|after| first + *after),
        }
    }

    /// A frame of the current epoch was handed to the socket at `now`.
    pub fn sent(&mut self, now: NodeTime) {
        match self.first_sent {
            None => self.first_sent = Some(now),
            Some(first) => self.repeats += REPEATS[self.repeats..].iter().take_while(|r| now >= first + **r).count(),
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

    proptest! {
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
