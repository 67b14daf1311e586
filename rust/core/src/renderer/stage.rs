//! What all who play a program share in a run: the channels' lines and their noise.
use std::sync::Arc;

use super::lines::Lines;
use super::{BadSampleRate, BlockClock, SAMPLE_RATES};
use crate::oscillators::{Noise, RUN_MAX};
use crate::program::{Channel, Program, Wave, CHANNELS_MAX};

/// A program and the run of it that is being played.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) program: Arc<Program>,
    pub(super) sample_rate: u32,
    pub(super) lines: Lines,
    /// The channels that are no sines, and what they were made of for this run.
    pub(super) others: Vec<Other>,
}

/// A channel that is no sine.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) channel: usize,
    noise: Option<Noise>,
    /// The run's noise, empty where the channel is none.
    pub(super) hiss: Vec<f32>,
}

impl Other {
    fn new((channel, wave): (usize, Wave)) -> Self {
        let noise = match wave {
            Wave::Noise(color) => Some(Noise::new(color, channel as u64 + 1)),
            _ => None,
        };
        let hiss = vec![0.0; if noise.is_some() { RUN_MAX } else { 0 }];
        Self { channel, noise, hiss }
    }
}

impl Stage {
    /// Errors and panics as [`super::Renderer::new`].
    pub(super) fn new(program: Arc<Program>, sample_rate: u32) -> Result<Self, BadSampleRate> {
        if !SAMPLE_RATES.contains(&sample_rate) {
            return Err(BadSampleRate(sample_rate));
        }
        let channels = program.channels.len();
        assert!(channels <= CHANNELS_MAX, "a program has at most {CHANNELS_MAX} channels");
        let lines = Lines::new(&program, sample_rate);
        let wave = |(k, channel): (usize, &Channel)| (k, channel.wave);
        let others = program.channels.iter().enumerate().map(wave).filter(|(k, _)| lines.sine[*k] == 0.0);
        let others = others.map(Other::new).collect();
        Ok(Self { sample_rate, lines, others, program })
    }

    /// Prepares the run of `samples`, at most [`RUN_MAX`], that `clock` dates. Realtime-safe.
    pub(super) fn lay(&mut self, clock: BlockClock, samples: usize) {
        self.lines.lay(&self.program, clock, samples);
        for Other { channel, noise, hiss } in &mut self.others {
            let silent = self.lines.amplitude.iter().all(|amplitudes| amplitudes[*channel] == 0.0);
            if let Some(noise) = noise.as_mut().filter(|_| !silent) {
                noise.fill(clock.start, clock.fraction, clock.step, &mut hiss[..samples]);
            }
        }
    }
}
