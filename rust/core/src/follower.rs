//! Where a platform is on a rhythm that others pull, between the frames that say so.
//!
//! A frame tells the sleeper's phase and frequency at one instant. A platform that simply played those would lose the
//! exact timeline that it has itself, and step a little with every frame. So what is followed is the *displacement* from
//! that timeline: integers minus integers, exactly zero for whoever is not pulled, slow for everybody else, and carried on
//! at its own rate until the next frame. Without frames nobody pulls: after [`HOLD_AFTER`] the displacement stays as it is
//! and the sleeper goes on at their own frequency.
//!
//! What sounds approaches what is known by [`CATCH_UP`]; so the small corrections that frames bring are slopes, not steps.
use crate::frame::MixFrame;
use crate::phase::{Phase, PhaseOffset};
use crate::rhythm::{Frequency, Rhythm, Segment};
use crate::units::{NodeTime, Span};

/// How long a displacement is carried on without a new frame.
pub const HOLD_AFTER: Span = Span::from_s(1);
/// The time constant of corrections.
pub const CATCH_UP: Span = Span::from_ms(300);
/// No correction is faster than this, turns a second.
const CATCH_UP_MAX: f64 = 1.0;
/// Closer than this a correction is complete: 2⁻³² turn.
const ARRIVED: u64 = 1 << 32;

/// What a platform knows of its displacement. Pure; time is an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Displacement {
    at: NodeTime,
    pulled: PhaseOffset,
    /// How it changes, in 2⁻¹²⁸ turn/ns.
    rate: i128,
}

impl Default for Displacement {
    fn default() -> Self {
        Self { at: NodeTime::from_ns(0), pulled: PhaseOffset::ZERO, rate: 0 }
    }
}

impl Displacement {
    /// Takes what a frame says, beside the timeline that the sleeper has of their own.
    ///
    /// A frame without phase and frequency is from before there was a rhythm, and says nothing.
    pub fn take(&mut self, frame: &MixFrame, own: &Rhythm) {
        if frame.phase == Phase::ZERO && frame.frequency == 0 {
            return;
        }
        let rate = frame.frequency.wrapping_sub(own.frequency_at(frame.taken).units());
        *self = Self { at: frame.taken, pulled: frame.phase - own.phase_at(frame.taken), rate };
    }

    /// The displacement at `t`. Realtime-safe.
    pub fn at(&self, t: NodeTime) -> PhaseOffset {
        let since = i128::from(t.ns()) - i128::from(self.at.ns());
        let carried = since.clamp(0, i128::from(HOLD_AFTER.ns()));
        self.pulled + PhaseOffset::from_bits((self.rate.wrapping_mul(carried) >> 64) as i64)
    }
}

/// What sounds: a rhythm that is bent to a displacement, block by block.
#[derive(Clone, Debug)]
pub struct Follower {
    pulled: PhaseOffset,
    bent: Rhythm,
    fresh: bool,
}

impl Default for Follower {
    fn default() -> Self {
        let still = Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::ZERO);
        Self { pulled: PhaseOffset::ZERO, bent: Rhythm::new(still), fresh: true }
    }
}

impl Follower {
    /// The displacement at the end of the last block. Realtime-safe.
    pub fn pulled(&self) -> PhaseOffset {
        self.pulled
    }

    /// Nothing sounds: the next block begins wherever it should be.
    pub fn reset(&mut self) {
        self.fresh = true;
    }

    /// The rhythm for a block that lasts `from..to`: `own` itself, unless it is displaced. Realtime-safe.
    pub fn bend<'a>(
        &'a mut self,
        own: &'a Rhythm,
        to_follow: &Displacement,
        from: NodeTime,
        to: NodeTime,
    ) -> &'a Rhythm {
        let (begin, end) = (to_follow.at(from), to_follow.at(to));
        if core::mem::take(&mut self.fresh) {
            self.pulled = begin;
        }
        let before = self.pulled;
        let span = (to - from).ns().max(1);
        self.pulled = before + (end + -begin) + catching_up(begin + -before, span);
        if before == PhaseOffset::ZERO && self.pulled == PhaseOffset::ZERO {
            return own;
        }
        let middle = NodeTime::from_ns(from.ns() + span / 2);
        let bending = (i128::from((self.pulled + -before).bits()) << 64) / i128::from(span);
        let frequency = Frequency::from_units(own.frequency_at(middle).units().wrapping_add(bending));
        self.bent.restart(Segment::constant(from, own.phase_at(from) + before, frequency));
        &self.bent
    }
}

/// How much of `way` is gone in `span_ns`; all of it where it is next to nothing.
fn catching_up(way: PhaseOffset, span_ns: i64) -> PhaseOffset {
    if way.bits().unsigned_abs() <= ARRIVED {
        return way;
    }
    let most = CATCH_UP_MAX * span_ns as f64 / 1e9;
    let share = (span_ns as f64 / CATCH_UP.ns() as f64).min(1.0);
    PhaseOffset::from_turns((way.turns() * share).clamp(-most, most)).unwrap_or_default()
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn at(us: i64) -> NodeTime {
        NodeTime::from_ns(us * 1_000)
    }

    fn own() -> Rhythm {
        Rhythm::new(Segment::constant(at(0), Phase::from_bits(12_345), Frequency::from_hz(4.0).unwrap()))
    }

    fn frame(taken: NodeTime, pulled: f64, rate_hz: f64) -> MixFrame {
        let frequency = own().frequency_at(taken).units() + Frequency::from_hz(rate_hz).unwrap().units();
        let phase = own().phase_at(taken) + PhaseOffset::from_turns(pulled).unwrap();
        MixFrame { gate_epoch: 0, cut: false, hush: None, taken, phase, frequency, others: Vec::new() }
    }

    proptest! {
        #[test]
        fn whoever_is_not_pulled_plays_their_own_rhythm_itself(taken in prop::collection::vec(0i64..1_000_000_000, 1..9)) {
            let (mut known, mut follower) = (Displacement::default(), Follower::default());
            for taken in taken {
                known.take(&frame(at(taken), 0.0, 0.0), &own());
                let own = own();
                let played = follower.bend(&own, &known, at(taken), at(taken + 5_333));
                prop_assert!(core::ptr::eq(played, &own));
            }
        }

        #[test]
        fn blocks_join_and_arrive(jump in -0.5f64..0.5, rate in -0.2f64..0.2) {
            let (mut known, mut follower) = (Displacement::default(), Follower::default());
            let block = 5_333;
            let own = own();
            follower.bend(&own, &known, at(-block), at(0));
            known.take(&frame(at(0), jump, rate), &own);
            let mut last = own.phase_at(at(0));
            for i in 0..560 {
                let (from, to) = (at(i * block), at((i + 1) * block));
                if i % 100 == 99 {
                    known.take(&frame(from, jump + rate * 5.333e-3 * i as f64, rate), &own);
                }
                let played = follower.bend(&own, &known, from, to);
                let step = (played.phase_at(from) - last).turns().abs();
                prop_assert!(step < 1e-12, "a step of {} turn", step);
                last = played.phase_at(to);
                let speed_hz = (played.frequency_at(from).hz() - 4.0).abs();
                prop_assert!(speed_hz <= CATCH_UP_MAX + 0.2 + 1e-6, "{speed_hz}");
            }
            let end = at(560 * block);
            let off = (last - own.phase_at(end) + -known.at(end)).turns();
            prop_assert!(off.abs() < 1e-4, "{off} turn off after 3 s");
        }
    }

    #[test]
    fn without_frames_nobody_pulls_any_more() {
        let mut known = Displacement::default();
        known.take(&frame(at(0), 0.1, 0.05), &own());
        assert!((known.at(at(1_000_000)).turns() - 0.15).abs() < 1e-9);
        assert_eq!(known.at(at(1_000_000)), known.at(at(60_000_000)));
    }

    #[test]
    fn a_frame_from_before_the_rhythm_says_nothing() {
        let mut known = Displacement::default();
        known.take(&MixFrame { phase: Phase::ZERO, frequency: 0, ..frame(at(5), 0.0, 0.0) }, &own());
        assert_eq!(known, Displacement::default());
    }
}
