//! Plays a program to one sleeper: coefficients and exact phases in, two ears' samples out.
//!
//! With ψ the carrier's phase, β the beat's, φ the sleeper's offset, n the beat's multiple of the rhythm and
//! m = amplitude·(own + others) the channel's coefficient, each channel adds
//!
//! ```text
//! Tone          both ears      Re[m·e^{2πiψ}]
//! Binaural      resting ear    Re[m·e^{2πiψ}]        leading ear  Re[m·e^{2πi(ψ + β + nφ)}]
//! Isochronic    both ears      Re[m·e^{2πiψ}] · pulse(β + nφ)
//! Noise         both ears      |m| · noise(node time)
//! Spin          left, right    |m| · noise(node time ± width·sin 2π(β + nφ))
//! Bell          both ears      Re[m·e^{2πiψ}] · what is left of the last strike
//! Stem          left, right    |m| · recording(node time) · envelope(β + nφ)
//! ```
//!
//! and a shaped channel is one of the first three with another shape than a sine's, or under another envelope.
//!
//! The argument of m turns the carrier of both ears alike and the offset acts on one ear whole, so the interaural phase
//! of a binaural channel *is* n(θ + φ) for every voice. (Half of the offset on each ear would change sign when φ wraps.)
//! The pulse is that which isochronic files are written for, the crest of a sine above 0.3 with soft edges:
//! 3p² − 2p³ with p = max(0, (sin 2πx − 0.3) / 0.7).
//!
//! A block is cut into runs that end where a glide ends. In a run every phase goes from its exact value at the first
//! sample to its exact value at the sample after the last, and every coefficient linearly: whatever moves, moves
//! without a step. What all who play the program share, the run's [`lines`], is laid first; then a sleeper's own rhythm,
//! offset and coefficients make banks of sines of it. After the mix: what is not finite is dropped, the limiter holds the
//! ceiling and lets nothing become loud suddenly, and the gate comes last. A channel is silent before the program's
//! epoch, after its end, and on an ear whose frequency the converter cannot play.
//!
//! After [`Renderer::new`] nothing allocates, locks or calls the system.
mod batch;
mod course;
mod ears;
mod glide;
mod hiss;
mod lines;
mod meter;
mod music;
mod near;
mod run;
mod shaped;
mod spin;
mod stage;
mod waves;

use std::sync::Arc;

use num_complex::Complex;
use thiserror::Error;

use crate::gate::Gate;
use crate::limiter::Limiter;
use crate::oscillators::RUN_MAX;
use crate::phase::PhaseOffset;
use crate::program::Program;
use crate::rhythm::Rhythm;
use crate::units::{NodeTime, Span, NS_PER_S};
pub use batch::Batch;
use ears::Ears;
pub use meter::LEVEL_MIN_DBFS;
use run::Banks;
use stage::Stage;

/// The sample rates that can be rendered, in hertz.
pub const SAMPLE_RATES: core::ops::RangeInclusive<u32> = 8_000..=192_000;
/// A sample rate that cannot be rendered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "a sample rate must be from {lowest} to {highest} Hz, not {0}; 44100 and 48000 are usual",
    lowest = SAMPLE_RATES.start(),
    highest = SAMPLE_RATES.end()
)]
pub struct BadSampleRate(pub u32);

/// When a block sounds: the node time of each sample at the converter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockClock {
    /// The node time of the first sample, in whole nanoseconds.
    pub start: NodeTime,
    /// What is added to it, in 2⁻³² ns.
    pub fraction: u32,
    /// Node time from one sample to the next, in 2⁻³² ns.
    pub step: u64,
}

impl BlockClock {
    /// The clock of a converter that runs at `sample_rate` by the node's own time.
    pub fn nominal(start: NodeTime, sample_rate: u32) -> Self {
        Self { start, fraction: 0, step: ((NS_PER_S as u64) << 32) / u64::from(sample_rate.max(1)) }
    }

    /// The clock of the block that follows this one of `samples` samples. Realtime-safe.
    pub fn after(self, samples: usize) -> Self {
        let (start, fraction) = self.at(samples);
        Self { start, fraction, ..self }
    }

    fn at(&self, sample: usize) -> (NodeTime, u32) {
        let since = u128::from(self.fraction) + u128::from(self.step) * sample as u128;
        (self.start + Span::from_ns(i64::try_from(since >> 32).unwrap_or(i64::MAX)), since as u32)
    }
}

/// What a block is to become. Coefficients that are missing count as 0, and so does one that is not finite.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// What the others contribute, one coefficient a channel, hearing level included.
    pub others: &'a [Complex<f32>],
    /// The sleeper's own voice, own level included.
    pub own: &'a [Complex<f32>],
    /// How long a change of `others` takes. Sent again with a shorter time, it arrives sooner.
    pub others_glide: Span,
    /// φ. Reached by the shortest way at no more than one turn a second.
    pub offset: PhaseOffset,
    /// The personal ceiling, linear; the limiter's own, −1 dB, holds besides.
    pub ceiling: f32,
    /// Whether the sleeper's gate is to be open.
    pub gate_open: bool,
    /// Whether the limiter is in the path. Without it, samples may exceed full scale: for measurements only.
    pub limit: bool,
}

/// One sleeper's renderer. It belongs to one thread; give it a new program by making a new one.
#[derive(Clone, Debug)]
pub struct Renderer {
    // Large, and a renderer is moved about.
    stage: Box<Stage>,
    banks: Box<Banks>,
    ears: Ears,
}

impl Renderer {
    /// A renderer for a person: its gate is closed. Errors unless the rate is one of [`SAMPLE_RATES`].
    ///
    /// # Panics
    /// If the program has more than [`crate::program::CHANNELS_MAX`] channels.
    pub fn new(program: Arc<Program>, sample_rate: u32) -> Result<Self, BadSampleRate> {
        let stage = Box::new(Stage::new(program, sample_rate)?);
        let (gate, limiter) = (Gate::new(sample_rate), Limiter::new(sample_rate));
        Ok(Self { ears: Ears::new(&stage, gate, limiter), banks: Box::default(), stage })
    }

    /// A renderer for a file: its gate is open from the first sample. Errors as [`Renderer::new`].
    pub fn offline(program: Arc<Program>, sample_rate: u32) -> Result<Self, BadSampleRate> {
        let stage = Box::new(Stage::new(program, sample_rate)?);
        let (gate, limiter) = (Gate::wide_open(sample_rate), Limiter::unpaced(sample_rate));
        Ok(Self { ears: Ears::new(&stage, gate, limiter), banks: Box::default(), stage })
    }

    /// The program being played.
    pub fn program(&self) -> &Arc<Program> {
        &self.stage.program
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> u32 {
        self.stage.sample_rate
    }

    /// φ at the end of what was rendered: on its way to the one wanted. Realtime-safe.
    pub fn offset(&self) -> PhaseOffset {
        self.ears.offset
    }

    /// The gate. Realtime-safe.
    pub fn gate(&self) -> &Gate {
        &self.ears.gate
    }

    /// The limiter. Realtime-safe.
    pub fn limiter(&self) -> &Limiter {
        &self.ears.limiter
    }

    /// Coefficients that became, and samples that were, no numbers: each was made silence. Realtime-safe.
    pub fn dropped(&self) -> u64 {
        self.ears.dropped + self.ears.limiter.dropped()
    }

    /// The level of the last 400 ms in dB, where a full-scale sine on both ears is 0; at least [`LEVEL_MIN_DBFS`].
    /// Realtime-safe.
    pub fn level_dbfs(&self) -> f32 {
        self.ears.meter.level_dbfs()
    }

    /// Fills `left` and `right` with the block that `clock` dates. Realtime-safe.
    ///
    /// The first block starts at the targets; later ones glide to theirs.
    ///
    /// # Panics
    /// If the two ears have not the same length.
    pub fn render(
        &mut self,
        clock: BlockClock,
        rhythm: &Rhythm,
        input: &Targets<'_>,
        left: &mut [f32],
        right: &mut [f32],
    ) {
        assert_eq!(left.len(), right.len(), "both ears need a block of the same length");
        let Self { stage, banks, ears } = self;
        ears.head_for(input);
        let mut clock = clock;
        for (left, right) in left.chunks_mut(RUN_MAX).zip(right.chunks_mut(RUN_MAX)) {
            if !ears.gate.is_shut() {
                stage.lay(clock, left.len());
            }
            ears.play(stage, banks, clock, rhythm, input, [left, right]);
            clock = clock.after(left.len());
        }
    }
}
