//! What a platform makes of the mix frames that reach it, or do not.
//!
//! Frames come over UDP: late, twice, out of order, or not at all. Two rules decide what is heard. *Newer wins*: a frame
//! replaces what an older one said and is never added to it. *A cut is never undone*: once a frame of a gate epoch was
//! followed, no frame of a lower epoch is, however late it comes, so that a withdrawn voice cannot flicker back.
//!
//! If frames stop, nobody knows whether a voice was withdrawn meanwhile: after [`STALE_AFTER`] all other voices fade
//! out. When frames come back, so do the voices, slowly, from silence: nothing returns louder than it was.
use num_complex::Complex;

use crate::frame::MixFrame;
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
        self.frame = Some(frame);
        true
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
    use crate::phase::Phase;
    use proptest::prelude::*;

    fn frame(gate_epoch: u64, taken: i64, cut: bool, level: f32) -> MixFrame {
        MixFrame {
            gate_epoch,
            cut,
            taken: NodeTime::from_ns(taken),
            phase: Phase::ZERO,
            frequency: 0,
            others: vec![Complex::new(level, 0.0)],
        }
    }

    fn at(ms: i64) -> PlatformTime {
        PlatformTime::from_ns(ms * 1_000_000)
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
