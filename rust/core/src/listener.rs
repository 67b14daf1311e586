//! What a platform makes of the mix frames that reach it, or do not.
//!
//! Frames come over UDP: late, twice, out of order, or not at all. Two rules decide what is heard. *Newer wins*: a frame
//! replaces what an older one said and is never added to it. *A cut is never undone*: once a frame of a gate epoch was
//! followed, no frame of a lower epoch is, however late it comes, so that a withdrawn voice cannot flicker back.
//!
//! If frames stop, nobody knows whether a voice was withdrawn meanwhile: after [`STALE_AFTER`] all other voices fade
//! out. When frames come back, so do the voices, slowly, from silence: nothing returns louder than it was.
//!
//! Frames also say whether the room is silent, beside what is said of that over gRPC: see [`crate::hush`].
use num_complex::Complex;

use crate::frame::MixFrame;
use crate::hush::{HeardHush, Hush};
use crate::units::{NodeTime, PlatformTime, Span};

/// Without a fresh frame for this long, the others are no longer heard.
pub const STALE_AFTER: Span = Span::from_s(1);
/// How fast a cut is followed: well within the 5 to 10 ms in which a stop is neither a click nor a delay.
pub const CUT_GLIDE: Span = Span::from_ms(8);
/// How fast an ordinary change is followed: a frame's interval and some jitter, so that steps become slopes.
pub const FRAME_GLIDE: Span = Span::from_ms(300);
/// How fast the others fade out when frames stop.
pub const STALE_GLIDE: Span = Span::from_ms(500);
/// How long the others take to come back, at the beginning and after a silence.
pub const FADE_IN: Span = Span::from_s(5);

/// One platform's view of the others. Pure; time is an argument.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    frame: Option<MixFrame>,
    hush: HeardHush,
    heard: Option<PlatformTime>,
    returned: Option<PlatformTime>,
    counters: Counters,
    target: Vec<Complex<f32>>,
}

/// How many frames were followed, and why others were not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames followed.
    pub followed: u64,
    /// Of those, frames marked as a cut.
    pub cut: u64,
    /// Frames that a newer one, or a cut, had overtaken.
    pub overtaken: u64,
}

impl Listener {
    /// Takes a frame that arrived at `now`; returns whether it was followed.
    pub fn handle(&mut self, frame: MixFrame, now: PlatformTime) -> bool {
        if let Some(newest) = &self.frame {
            if (frame.gate_epoch, frame.taken) < (newest.gate_epoch, newest.taken) {
                self.counters.overtaken += 1;
                return false;
            }
        }
        if self.is_stale(now) {
            self.returned = Some(now);
        }
        self.counters.followed += 1;
        self.counters.cut += u64::from(frame.cut);
        self.heard = Some(now);
        frame.hush.into_iter().for_each(|hush| self.hush.hear(hush, frame.gate_epoch));
        self.frame = Some(frame);
        true
    }

    /// What is said of the room over gRPC; see [`HeardHush::tell`].
    pub fn tell_hush(&mut self, hush: Hush, epoch: Option<u64>) {
        self.hush.tell(hush, epoch);
    }

    /// Whether the room is silent. Realtime-safe.
    pub fn hush(&self) -> HeardHush {
        self.hush
    }

    /// Whether a platform's gate is to be open whose own one is `own`: none is in a silent room. Realtime-safe.
    pub fn opens(&self, own: bool) -> bool {
        own && !self.hush.hush().is_silent()
    }

    /// What is left of a session's frames in the next one: nothing but whether the room is silent.
    pub fn renewed(&self) -> Self {
        let mut hush = self.hush;
        hush.renew();
        Self { hush, ..Self::default() }
    }

    /// Whether no fresh frame has come for [`STALE_AFTER`], or none ever. Realtime-safe.
    pub fn is_stale(&self, now: PlatformTime) -> bool {
        self.heard.is_none_or(|heard| now - heard >= STALE_AFTER)
    }

    /// The coefficients to glide to and how long to take. Allocates only when the number of channels changes.
    pub fn target(&mut self, now: PlatformTime) -> (&[Complex<f32>], Span) {
        let stale = self.is_stale(now);
        let gain = match self.returned {
            Some(returned) if !stale => ((now - returned).as_s_f64() / FADE_IN.as_s_f64()).clamp(0.0, 1.0) as f32,
            _ => 0.0,
        };
        self.target.clear();
        let Some(frame) = &self.frame else { return (&self.target, STALE_GLIDE) };
        self.target.extend(frame.others.iter().map(|m| m * gain));
        let glide = match (stale, frame.cut) {
            (_, true) => CUT_GLIDE,
            (true, false) => STALE_GLIDE,
            (false, false) => FRAME_GLIDE,
        };
        (&self.target, glide)
    }

    /// The newest frame's coefficients as they came.
    pub fn others(&self) -> &[Complex<f32>] {
        self.frame.as_ref().map_or(&[], |frame| &frame.others)
    }

    /// The highest gate epoch followed: what this platform acknowledges.
    pub fn gate_epoch(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.gate_epoch)
    }

    /// When the newest frame's coefficients were taken.
    pub fn taken(&self) -> Option<NodeTime> {
        self.frame.as_ref().map(|frame| frame.taken)
    }

    /// How long ago a frame was last followed.
    pub fn age(&self, now: PlatformTime) -> Option<Span> {
        self.heard.map(|heard| now - heard)
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::gate::{Gate, CLOSE_MS};
    use crate::phase::Phase;
    use proptest::prelude::*;

    fn frame(gate_epoch: u64, taken: i64, cut: bool, level: f32) -> MixFrame {
        MixFrame {
            gate_epoch,
            cut,
            hush: None,
            taken: NodeTime::from_ns(taken),
            phase: Phase::ZERO,
            frequency: 0,
            others: vec![Complex::new(level, 0.0)],
        }
    }

    fn at(ms: i64) -> PlatformTime {
        PlatformTime::from_ns(ms * 1_000_000)
    }

    const RATE: u32 = 48_000;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Frame,
        Told,
        Own(bool),
        Nothing,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Frame), Just(Step::Told), any::<bool>().prop_map(Step::Own), Just(Step::Nothing)]
    }

    fn hush() -> impl Strategy<Value = Hush> {
        prop_oneof![Just(Hush::Lifted), Just(Hush::Silent), Just(Hush::Alarm)]
    }

    proptest! {
        #[test]
        fn a_cut_is_never_undone_in_whatever_order_frames_come(
            frames in prop::collection::vec((0u64..6, 0i64..50), 1..60)
        ) {
            let mut listener = Listener::default();
            let (mut highest, mut newest) = (0, 0);
            for (i, (epoch, taken)) in frames.into_iter().enumerate() {
                let followed = listener.handle(frame(epoch, taken, epoch > highest, epoch as f32), at(i as i64));
                prop_assert_eq!(followed, (epoch, taken) >= (highest, newest) || i == 0);
                if followed { (highest, newest) = (epoch, taken); }
                prop_assert_eq!(listener.gate_epoch(), highest);
                prop_assert_eq!(listener.others()[0].re, highest as f32);
            }
        }

        #[test]
        fn what_leaves_a_gate_is_what_the_newest_word_and_the_person_let_through(
            hushes in prop::collection::vec(hush(), 1..8),
            steps in prop::collection::vec((step(), any::<prop::sample::Index>(), 1i64..9), 1..60),
        ) {
            let (mut listener, mut gate) = (Listener::default(), Gate::new(RATE));
            let (mut own, mut newest, mut now) = (true, 0, 0);
            let mut shut_ms = 0;
            for (step, at, ms) in steps {
                // A silence and a lift each have an epoch of their own; frames are sealed in between, too.
                let epoch = at.index(hushes.len());
                match step {
                    Step::Frame => {
                        let hush = Some(hushes[epoch]);
                        listener.handle(MixFrame { hush, ..frame(epoch as u64, now, false, 1.0) }, self::at(now));
                        newest = newest.max(epoch);
                    }
                    Step::Told => {
                        listener.tell_hush(hushes[epoch], Some(epoch as u64));
                        newest = newest.max(epoch);
                    }
                    Step::Own(open) => own = open,
                    Step::Nothing => {}
                }
                // Nothing was ever said before the first word.
                let silent = listener.hush() != HeardHush::default() && hushes[newest].is_silent();
                prop_assert_eq!(listener.opens(own), own && !silent, "epoch {} after {}", epoch, newest);
                let (mut left, mut right) = (vec![1.0; 48 * ms as usize], vec![1.0; 48 * ms as usize]);
                gate.set(listener.opens(own));
                gate.process(&mut left, &mut right);
                if own && !silent {
                    shut_ms = 0;
                } else {
                    for (i, sample) in left.iter().enumerate() {
                        prop_assert!(*sample == 0.0 || shut_ms + i as i64 / 48 < i64::from(CLOSE_MS), "{}", sample);
                    }
                    shut_ms += ms;
                }
                now += ms;
            }
        }

        #[test]
        fn a_silence_outlives_frames_that_stop_and_the_session_that_they_came_in(hush in hush(), gap in 0i64..100_000) {
            let mut listener = Listener::default();
            listener.handle(MixFrame { hush: Some(hush), ..frame(9, 0, true, 1.0) }, at(0));
            prop_assert_eq!(listener.target(at(gap + 1000)).0[0].re, 0.0);
            prop_assert_eq!(listener.opens(true), !hush.is_silent());
            let mut listener = listener.renewed();
            prop_assert_eq!(listener.opens(true), !hush.is_silent());
            listener.handle(MixFrame { hush: None, ..frame(0, 0, true, 1.0) }, at(gap));
            prop_assert_eq!(listener.opens(true), !hush.is_silent(), "a frame that does not say lifts nothing");
            listener.handle(MixFrame { hush: Some(Hush::Lifted), ..frame(0, 1, true, 1.0) }, at(gap));
            prop_assert!(listener.opens(true));
        }

        #[test]
        fn nothing_comes_back_louder_than_it_was(gap in 1000i64..20_000, later in 0i64..10_000) {
            let mut listener = Listener::default();
            listener.handle(frame(0, 0, false, 1.0), at(0));
            listener.handle(frame(0, 1, false, 1.0), at(0));
            prop_assert_eq!(listener.target(at(gap)).0[0].re, 0.0, "silent once stale");
            listener.handle(frame(0, 2, false, 1.0), at(gap));
            let level = listener.target(at(gap)).0[0].re;
            prop_assert_eq!(level, 0.0, "back from silence");
            listener.handle(frame(0, 3, false, 1.0), at(gap + later));
            prop_assert!(listener.target(at(gap + later)).0[0].re <= 1.0);
        }
    }

    #[test]
    fn a_cut_glides_in_milliseconds_and_other_changes_slowly() {
        let mut listener = Listener::default();
        listener.handle(frame(0, 0, false, 1.0), at(0));
        assert_eq!(listener.target(at(1)).1, FRAME_GLIDE);
        listener.handle(frame(1, 1, true, 0.0), at(2));
        assert_eq!(listener.target(at(2)).1, CUT_GLIDE);
        listener.handle(frame(1, 2, false, 0.0), at(3));
        assert_eq!(listener.target(at(3)).1, FRAME_GLIDE);
        assert_eq!(listener.target(at(1003)).1, STALE_GLIDE);
        assert_eq!(listener.counters(), Counters { followed: 3, cut: 1, overtaken: 0 });
    }

    #[test]
    fn a_cut_while_fading_in_does_not_jump_up() {
        let mut listener = Listener::default();
        listener.handle(frame(0, 0, false, 1.0), at(0));
        let before = listener.target(at(500)).0[0].re;
        listener.handle(frame(1, 1, true, 1.0), at(500));
        assert_eq!(listener.target(at(500)).0[0].re, before);
    }
}
