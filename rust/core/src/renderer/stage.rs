//! What all who play a program share in a run: the channels' lines and their noise.
use std::sync::Arc;

use super::lines::Lines;
use super::spin::Spin;
use super::{BadSampleRate, BlockClock, SAMPLE_RATES};
use crate::bell;
use crate::oscillators::{Noise, Starts, RUN_MAX};
use crate::program::{Channel, Hissing, Program, Strike, Wave, CHANNELS_MAX};
use crate::spectrum::Drawn;
use crate::units::NodeTime;

/// A program and the run of it that is being played.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) program: Arc<Program>,
    pub(super) sample_rate: u32,
    pub(super) lines: Lines,
    /// The channels that are no sines, and what they were made of for this run.
    pub(super) others: Vec<Other>,
    /// What the sines on each ear begin a run with that are the same for all, where many play it.
    pub(super) starts: Option<Box<[Starts; 2]>>,
}

/// A channel that is no sine.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) channel: usize,
    noise: Option<Noise>,
    /// The swinging noise, where it is that.
    pub(super) spin: Option<Box<Spin>>,
    /// Up to three numbers a sample that all share: noise, and the same a quarter of a turn later where it is shifted; a
    /// recording's ears, and their mean that much later; or what is left of a bell. Empty where there is nothing to share.
    pub(super) shared: [Vec<f32>; 3],
    scratch: Vec<f32>,
    /// What the frequency of its carrier counts, where that is a width, at the run's two ends.
    width: [f64; 2],
    samples: usize,
}

impl Other {
    fn new((channel, wave): (usize, &Wave)) -> Self {
        let seed = channel as u64 + 1;
        let (mut noise, mut spin, mut shares, mut scratch) = (None, None, 0, 0);
        match wave {
            Wave::Noise(color) => (noise, shares) = (Some(Noise::new(*color, seed)), 1),
            Wave::Spin(color) => spin = Some(Box::new(Spin::new(Noise::new(*color, seed)))),
            Wave::Hiss(hiss) => {
                let drawn = Noise::drawn(Drawn::new(Arc::clone(&hiss.spectrum), seed));
                match hiss.hissing {
                    Hissing::Swing(_) => spin = Some(Box::new(Spin::new(drawn))),
                    Hissing::Shift(_) => (noise, shares) = (Some(drawn), 2),
                    Hissing::Steady | Hissing::Pulse(_) => (noise, shares) = (Some(drawn), 1),
                }
            }
            Wave::Bell(_) => shares = 1,
            Wave::Stem(stem) if stem.shift().is_some() => (shares, scratch) = (3, RUN_MAX),
            Wave::Stem(_) => shares = 2,
            Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic | Wave::Shaped(_) => {}
        }
        let shared = core::array::from_fn(|i| vec![0.0; if i < shares { RUN_MAX } else { 0 }]);
        Self { channel, noise, spin, shared, scratch: vec![0.0; scratch], width: [0.0; 2], samples: 1 }
    }

    /// The width at sample `n` of the run, in microseconds.
    pub(super) fn width_us(&self, n: usize) -> f64 {
        self.width[0] + (self.width[1] - self.width[0]) * (n as f64 / self.samples as f64)
    }

    /// Prepares what all share of the run of `samples` that `clock` dates.
    fn lay(&mut self, channel: &Channel, clock: BlockClock, samples: usize) {
        let [left, right, later] = &mut self.shared;
        self.samples = samples;
        self.width = [0, samples].map(|at| channel.carrier.frequency_at(clock.at(at).0).hz());
        match &channel.wave {
            Wave::Noise(_) => {
                if let Some(noise) = &mut self.noise {
                    noise.fill(clock.start, clock.fraction, clock.step, &mut left[..samples]);
                }
            }
            Wave::Spin(_) => {
                if let Some(spin) = &mut self.spin {
                    spin.lay(clock, samples);
                }
            }
            Wave::Hiss(_) => match (&mut self.noise, &mut self.spin) {
                (_, Some(spin)) => spin.lay(clock, samples),
                (Some(noise), None) if right.is_empty() => {
                    noise.fill(clock.start, clock.fraction, clock.step, &mut left[..samples]);
                }
                (Some(noise), None) => {
                    let (left, right) = (&mut left[..samples], &mut right[..samples]);
                    noise.fill_both(clock.start, clock.fraction, clock.step, left, right);
                }
                (None, None) => {}
            },
            Wave::Bell(strikes) => ring(strikes, clock, &mut left[..samples]),
            Wave::Stem(stem) => {
                stem.fill(clock.start, clock.fraction, clock.step, &mut left[..samples], &mut right[..samples]);
                if !later.is_empty() {
                    let (later, scratch) = (&mut later[..samples], &mut self.scratch[..samples]);
                    stem.fill_later(clock.start, clock.fraction, clock.step, later, scratch);
                }
            }
            Wave::Tone | Wave::Binaural { .. } | Wave::Isochronic | Wave::Shaped(_) => {}
        }
    }
}

/// Writes what is left of the last of `strikes` at each sample.
fn ring(strikes: &[Strike], clock: BlockClock, out: &mut [f32]) {
    let mut next = strikes.partition_point(|strike| strike.at <= clock.start);
    for (i, out) in out.iter_mut().enumerate() {
        let now = clock.at(i).0;
        while strikes.get(next).is_some_and(|strike| strike.at <= now) {
            next += 1;
        }
        let [before, last] = [2, 1].map(|back| next.checked_sub(back).and_then(|i| strikes.get(i)));
        let left = |strike: Option<&Strike>, now: NodeTime| {
            strike.map_or(0.0, |strike| bell::envelope(f64::from(strike.amplitude), (now - strike.at).as_s_f64()))
        };
        // A bell that is struck again while it rings goes out as softly as the new strike comes in.
        let fresh = last.map_or(1.0, |last| (now - last.at).as_s_f64() / bell::EDGE_S);
        let rest = if fresh < 1.0 { left(before, last.map_or(now, |last| last.at)) * (1.0 - fresh) } else { 0.0 };
        *out = (left(last, now) + rest) as f32;
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
        let waves = program.channels.iter().map(|channel| &channel.wave).enumerate();
        let others = waves.filter(|(k, _)| lines.sine[*k] == 0.0).map(Other::new).collect();
        Ok(Self { sample_rate, lines, others, program, starts: None })
    }

    /// The same for many who play each run.
    pub(super) fn for_many(self) -> Self {
        Self { starts: Some(Box::default()), ..self }
    }

    /// Prepares the run of `samples`, at most [`RUN_MAX`], that `clock` dates. Realtime-safe.
    pub(super) fn lay(&mut self, clock: BlockClock, samples: usize) {
        self.lines.lay(&self.program, clock, samples);
        for (starts, line) in self.starts.iter_mut().flat_map(|starts| starts.iter_mut()).zip(&self.lines.ears) {
            starts.learn(line.alike, &line.phase, &line.straight);
        }
        for other in &mut self.others {
            let k = other.channel;
            if self.lines.amplitude.iter().any(|amplitudes| amplitudes[k] != 0.0) {
                other.lay(&self.program.channels[k], clock, samples);
            }
        }
    }
}
