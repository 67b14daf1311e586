//! What a score becomes once it is laid onto node time: channels whose every phase is an exact [`Rhythm`].
//!
//! A score is written in its own time, in hertz, per cent and tone-sets. A program is the same night ready to be
//! played: each channel has a carrier and a beat as integer timelines and an amplitude as a piecewise-linear curve,
//! so that any platform can start rendering at any instant and is in phase with everybody else at once.
use std::sync::Arc;

use crate::envelope::Envelope;
pub use crate::envelope::{Shape, Shift};
use crate::rhythm::Rhythm;
use crate::spectrum::Spectrum;
use crate::stem::Stem;
use crate::units::{NodeTime, Span};

/// The most channels that a score may have.
pub const CHANNELS_MAX: usize = 64;

/// One of the two sides of a pair of headphones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ear {
    /// The left channel of the PCM.
    Left,
    /// The right channel of the PCM.
    Right,
}

/// The spectrum of a noise channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoiseColor {
    /// The same power in every hertz.
    White,
    /// The same power in every octave.
    Pink,
    /// Power falling by 6 dB an octave.
    Brown,
}

/// Which ear gets which of a channel's two phases: ψ, and ψ + β + n·φ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ears {
    /// ψ on both.
    Both,
    /// The ear that leads gets the second, the other the first.
    Lead(Ear),
    /// Each gets both, at half of the amplitude: a beat in the air instead of in the head.
    Sum,
}

/// A tone that is more than a sine: another shape, both phases on one ear, or under an envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct Shaped {
    /// The oscillator.
    pub shape: Shape,
    /// Who hears what.
    pub ears: Ears,
    /// The loudness over the beat's cycle, read at β + n·φ on both ears.
    pub envelope: Option<Arc<Envelope>>,
}

/// What noise of a drawn spectrum does over the cycle of its beat.
#[derive(Clone, PartialEq, Debug)]
pub enum Hissing {
    /// Nothing.
    Steady,
    /// It follows an envelope.
    Pulse(Arc<Envelope>),
    /// As [`Wave::Spin`], by w times this, from −1 to 1, in place of the sine.
    Swing(Arc<Envelope>),
    /// The left ear is shifted down, the right one up.
    Shift(Shift),
}

/// Noise of any spectrum that stands, pulses, swings or is shifted.
#[derive(Clone, PartialEq, Debug)]
pub struct Hiss {
    /// How its power lies over frequencies.
    pub spectrum: Arc<Spectrum>,
    /// What it does.
    pub hissing: Hissing,
}

/// When a bell is struck, and how hard.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Strike {
    /// When.
    pub at: NodeTime,
    /// The amplitude in the first moment, 1.0 = full scale; above 0.
    pub amplitude: f32,
}

/// How a channel sounds.
#[derive(Clone, PartialEq, Debug)]
pub enum Wave {
    /// The same sine on both ears; its beat is not heard.
    Tone,
    /// A sine on each ear. The ear that does not lead plays the carrier's phase ψ, the other ψ + β + n·φ.
    Binaural {
        /// The ear that carries the beat and the sleeper's offset.
        lead: Ear,
    },
    /// The carrier on both ears, switched smoothly by the beat's phase β + n·φ.
    Isochronic,
    /// Noise, the same for every platform at the same node time; it has neither carrier nor beat.
    Noise(NoiseColor),
    /// Noise that is heard early on one ear and as late on the other, by w·sin 2π(β + n·φ). The frequency of the
    /// carrier counts as w, in microseconds, so that it slides as a score's numbers do; its phase is not used.
    Spin(NoiseColor),
    /// Noise of a spectrum of its own, or that moves in a way of its own.
    Hiss(Arc<Hiss>),
    /// A tone of another shape, or with an envelope.
    Shaped(Arc<Shaped>),
    /// A sine on both ears that is struck and rings out. The channel's amplitude is that of the last strike while it
    /// rings; what has died away by then is the wave's own affair.
    Bell(Arc<[Strike]>),
    /// Music at node time; its beat turns its loudness, if it has an envelope.
    Stem(Arc<Stem>),
}

/// Where a channel's beat phase β comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum Beat {
    /// β = n·θ: an exact multiple (n ≥ 1) of the circle's rhythm.
    Locked(u32),
    /// A timeline of its own, integrated in node time from the circle's epoch; the offset enters with n = 1.
    Free(Rhythm),
}

impl Beat {
    /// How often the sleeper's phase offset counts on this channel.
    pub const fn multiple(&self) -> u32 {
        match self {
            Self::Locked(n) => *n,
            Self::Free(_) => 1,
        }
    }
}

/// A piecewise-linear curve over node time, constant before its first and after its last point.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    points: Vec<(NodeTime, f32)>,
}

impl Curve {
    /// The curve through `points`, oldest first. Two points at one instant make a step.
    ///
    /// # Panics
    /// If there is no point, or if they are not in order: a compiler's mistake, not an input's.
    pub fn new(points: Vec<(NodeTime, f32)>) -> Self {
        assert!(!points.is_empty(), "a curve needs a point");
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "a curve's points must be in order");
        Self { points }
    }

    /// The curve that is `value` everywhere.
    pub fn constant(value: f32) -> Self {
        Self { points: vec![(NodeTime::from_ns(0), value)] }
    }

    /// The curve's points, oldest first.
    pub fn points(&self) -> &[(NodeTime, f32)] {
        &self.points
    }

    /// The value at `t`; at a step, the later value. Realtime-safe.
    pub fn at(&self, t: NodeTime) -> f32 {
        let after = self.points.partition_point(|(at, _)| *at <= t);
        let Some(&(to, right)) = self.points.get(after) else { return self.points[self.points.len() - 1].1 };
        let Some(&(from, left)) = after.checked_sub(1).and_then(|i| self.points.get(i)) else { return right };
        let share = (t - from).ns() as f64 / (to - from).ns() as f64;
        left + (right - left) * share as f32
    }
}

/// One line of the score: a wave with its carrier, beat and loudness.
#[derive(Clone, PartialEq, Debug)]
pub struct Channel {
    /// How it sounds.
    pub wave: Wave,
    /// ψ: the phase of the ear that does not lead.
    pub carrier: Rhythm,
    /// β: the phase of the beat.
    pub beat: Beat,
    /// Peak amplitude on each ear, 1.0 = full scale.
    pub amplitude: Curve,
}

/// A night ready to be played, from an epoch in node time on.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    /// When the score begins.
    pub epoch: NodeTime,
    /// How long it lasts; `None` if it has no end.
    pub duration: Option<Span>,
    /// The rhythm that the score proposes for the circle, θ.
    pub rhythm: Rhythm,
    /// At most [`CHANNELS_MAX`] channels, in the order of the score.
    pub channels: Vec<Channel>,
}

impl Program {
    /// The same for a loudspeaker, from which both ears hear both sides. A beat between the ears becomes pulses of the
    /// resting ear's tone, on the same phase; one of another shape, a beat in the air.
    pub fn for_loudspeaker(mut self) -> Self {
        for channel in &mut self.channels {
            match &mut channel.wave {
                Wave::Binaural { .. } => channel.wave = Wave::Isochronic,
                Wave::Shaped(shaped) if matches!(shaped.ears, Ears::Lead(_)) => Arc::make_mut(shaped).ears = Ears::Sum,
                _ => {}
            }
        }
        self
    }
}

#[cfg(test)]
mod laws {
    use super::*;

    #[test]
    fn a_curve_is_linear_between_and_constant_outside_its_points() {
        let curve =
            Curve::new(vec![(NodeTime::from_ns(10), 1.0), (NodeTime::from_ns(20), 3.0), (NodeTime::from_ns(20), 0.0)]);
        for (t, value) in [(0, 1.0), (10, 1.0), (15, 2.0), (20, 0.0), (99, 0.0)] {
            assert_eq!(curve.at(NodeTime::from_ns(t)), value, "at {t}");
        }
    }
}
