//! Whether the room is silent, for a platform that is told so by two ways.
//!
//! A steward silences a room for a fire, so every platform must hear of it by whatever way still works: over gRPC, and in
//! every mix frame. Either way may be down for an hour, and then bring what was true before it was. Listening to the
//! stricter of the two would keep a room silent for which the way that said so has died; listening to whatever came last
//! would let an old frame lift a silence. So both are numbered alike: every silence and every lift raises the circle's
//! gate epoch, frames carry it, and over gRPC the sanctuary says from which epoch on its frames know what it says. *The
//! higher epoch counts, and none ever makes way for a lower one.*
//!
//! Epochs count within a session. In a new one the first word counts, by either way, and what was heard last holds until
//! then: a platform that hears nothing any more stays as it is. None of this is the person's own gate, which stays closed
//! whatever a room does.

/// Whether a room is silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Hush {
    /// It is not, or not any more.
    #[default]
    Lifted = 1,
    /// Nothing is played.
    Silent = 2,
    /// Nothing is played, and everybody is to wake.
    Alarm = 3,
}

impl Hush {
    /// Whether nothing may be played. Realtime-safe.
    pub const fn is_silent(self) -> bool {
        !matches!(self, Self::Lifted)
    }
}

/// What a platform knows of its room. It begins with a room that sounds. Pure; realtime-safe throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeardHush {
    hush: Hush,
    epoch: Option<u64>,
    told: bool,
}

impl HeardHush {
    /// A frame of gate epoch `epoch` says so.
    pub fn hear(&mut self, hush: Hush, epoch: u64) {
        if self.epoch.is_none_or(|newest| newest <= epoch) {
            self.told &= hush == self.hush;
            (self.hush, self.epoch) = (hush, Some(epoch));
        }
    }

    /// It is said over gRPC, and frames of gate epoch `epoch` and higher ones say the same, or something newer; `None`
    /// where frames say nothing of it.
    pub fn tell(&mut self, hush: Hush, epoch: Option<u64>) {
        match epoch {
            Some(epoch) => self.hear(hush, epoch),
            None => self.hush = hush,
        }
        self.told = hush == self.hush;
    }

    /// From here on epochs count anew.
    pub fn renew(&mut self) {
        self.epoch = None;
    }

    /// Whether the room is silent.
    pub fn hush(&self) -> Hush {
        self.hush
    }

    /// Whether what was told last over gRPC is how the room is: if not, only frames know.
    pub fn is_told(&self) -> bool {
        self.told
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    /// What a circle's hush is from each gate epoch on: all of them, or every few.
    fn history() -> impl Strategy<Value = Vec<Hush>> {
        let hush = prop_oneof![Just(Hush::Lifted), Just(Hush::Silent), Just(Hush::Alarm)];
        prop::collection::vec((hush, 1usize..4), 1..12)
            .prop_map(|spans| spans.into_iter().flat_map(|(hush, len)| std::iter::repeat_n(hush, len)).collect())
    }

    proptest! {
        #[test]
        fn the_newest_word_counts_by_whichever_way_and_in_whatever_order_they_come(
            history in history(), words in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..40),
        ) {
            let mut heard = HeardHush::default();
            let mut newest = None;
            for (at, framed) in words {
                let epoch = at.index(history.len());
                newest = newest.max(Some(epoch));
                if framed {
                    heard.hear(history[epoch], epoch as u64);
                } else {
                    // Over gRPC it has the number of the change that made it so.
                    let since = (0..=epoch).rev().take_while(|at| history[*at] == history[epoch]).last().unwrap();
                    newest = newest.max(Some(since));
                    heard.tell(history[epoch], Some(since as u64));
                }
                prop_assert_eq!(heard.hush(), history[newest.unwrap()]);
            }
        }

        #[test]
        fn a_new_session_changes_nothing_by_itself_and_believes_its_first_word(
            before in 0u64..100, after in 0u64..100, silent: bool,
        ) {
            let mut heard = HeardHush::default();
            heard.hear(if silent { Hush::Silent } else { Hush::Lifted }, before);
            heard.renew();
            prop_assert_eq!(heard.hush().is_silent(), silent);
            heard.hear(if silent { Hush::Lifted } else { Hush::Silent }, after);
            prop_assert_eq!(heard.hush().is_silent(), !silent);
        }
    }

    #[test]
    fn where_frames_say_nothing_what_is_told_counts() {
        let mut heard = HeardHush::default();
        for hush in [Hush::Alarm, Hush::Lifted, Hush::Silent] {
            heard.tell(hush, None);
            assert_eq!((heard.hush(), heard.is_told()), (hush, true));
        }
    }

    #[test]
    fn it_knows_whether_only_frames_know() {
        let mut heard = HeardHush::default();
        heard.tell(Hush::Silent, Some(3));
        heard.hear(Hush::Silent, 7);
        assert!(heard.is_told());
        heard.hear(Hush::Lifted, 8);
        heard.hear(Hush::Silent, 9);
        assert!(!heard.is_told(), "another silence than the one that was told");
        heard.tell(Hush::Silent, Some(9));
        assert!(heard.is_told());
    }
}
