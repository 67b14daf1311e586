//! Many sleepers at once, for a node that renders for devices too simple to render for themselves.
//!
//! They play one program, so a run's lines are laid once for all, and sines that count neither θ nor φ begin
//! it alike for all; rhythm, offset, coefficients, limiter and gate are
//! everybody's own. Thousands of sleepers fit no cache, and waiting for memory would cost more than their sines. So
//! a few runs are laid at a time, and each sleeper plays them in a row.
//!
//! What each hears is to the bit what a [`super::Renderer`] of their own would have given.
use std::sync::Arc;

use super::ears::Ears;
use super::run::Banks;
use super::stage::Stage;
use super::{BadSampleRate, BlockClock, Targets};
use crate::gate::Gate;
use crate::limiter::Limiter;
use crate::oscillators::RUN_MAX;
use crate::program::Program;
use crate::rhythm::Rhythm;

/// The renderers of some sleepers of one circle. It belongs to one thread.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Runs that follow each other; never empty.
    stages: Vec<Stage>,
    banks: Box<Banks>,
    sleepers: Vec<Ears>,
}

/// How many runs are laid at once.
const RUNS: usize = 4;

impl Batch {
    /// Renderers for `sleepers` persons: their gates are closed. Errors and panics as [`super::Renderer::new`].
    pub fn new(program: Arc<Program>, sample_rate: u32, sleepers: usize) -> Result<Self, BadSampleRate> {
        Self::of(program, sample_rate, sleepers, Gate::new(sample_rate), Limiter::new(sample_rate))
    }

    /// Renderers for as many files: see [`super::Renderer::offline`].
    pub fn offline(program: Arc<Program>, sample_rate: u32, sleepers: usize) -> Result<Self, BadSampleRate> {
        Self::of(program, sample_rate, sleepers, Gate::wide_open(sample_rate), Limiter::unpaced(sample_rate))
    }

    fn of(
        program: Arc<Program>,
        sample_rate: u32,
        sleepers: usize,
        gate: Gate,
        limiter: Limiter,
    ) -> Result<Self, BadSampleRate> {
        let stage = Stage::new(program, sample_rate)?.for_many();
        let ears = Ears::new(&stage, gate, limiter);
        Ok(Self { stages: vec![stage; RUNS], banks: Box::default(), sleepers: vec![ears; sleepers] })
    }

    /// The program being played.
    pub fn program(&self) -> &Arc<Program> {
        &self.stages[0].program
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> u32 {
        self.stages[0].sample_rate
    }

    /// How many sleepers there are.
    pub fn len(&self) -> usize {
        self.sleepers.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.sleepers.is_empty()
    }

    /// Fills `out`, shape (sleepers, 2, frames), with the block that `clock` dates; `input` says each sleeper's rhythm and
    /// targets, as for [`super::Renderer::render`], and is asked more than once. Realtime-safe, as far as `input` is.
    ///
    /// # Panics
    /// If `out` has not `frames` samples for each ear of each sleeper.
    pub fn render<'a>(
        &mut self,
        clock: BlockClock,
        frames: usize,
        input: impl Fn(usize) -> (&'a Rhythm, Targets<'a>),
        out: &mut [f32],
    ) {
        let Self { stages, banks, sleepers } = self;
        assert_eq!(out.len(), 2 * sleepers.len() * frames, "a block for each ear of each sleeper");
        let mut clock = clock;
        for begin in (0..frames).step_by(RUNS * RUN_MAX) {
            let end = frames.min(begin + RUNS * RUN_MAX);
            let mut clocks = [clock; RUNS];
            for (run, n) in (begin..end).step_by(RUN_MAX).enumerate() {
                let samples = RUN_MAX.min(end - n);
                clocks[run] = clock;
                stages[run].lay(clock, samples);
                clock = clock.after(samples);
            }
            for (i, ears) in sleepers.iter_mut().enumerate() {
                let (rhythm, targets) = input(i);
                if begin == 0 {
                    ears.head_for(&targets);
                }
                let (left, right) = out[2 * i * frames..][..2 * frames].split_at_mut(frames);
                let ears_runs = left[begin..end].chunks_mut(RUN_MAX).zip(right[begin..end].chunks_mut(RUN_MAX));
                for (run, (left, right)) in ears_runs.enumerate() {
                    ears.play(&stages[run], banks, clocks[run], rhythm, &targets, [left, right]);
                }
            }
        }
    }
}
