//! The channels' lines over a run: where each phase and each amplitude goes, the same for all who play a program.
//!
//! A channel has two lines, one an ear where it is a sine: ψ on the ear that rests and ψ + β + nφ on the one that leads. A
//! locked β is nθ, and θ may be a sleeper's own; so what a sleeper adds to a line is θ and φ, each a whole number of times.
//! Of any other wave the lines are ψ and β + nφ. Field after field, so that vectors go over channels.
use super::course::Course;
use super::glide::Parts;
use super::near::Near;
use super::{waves, BlockClock};
use crate::loudness::Weights;
use crate::program::{Beat, Ear, Program, Wave, CHANNELS_MAX};

/// One line of each channel.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) phase: [u64; CHANNELS_MAX],
    pub(super) step: [i64; CHANNELS_MAX],
    pub(super) bend: [i64; CHANNELS_MAX],
    /// The same from the first sample straight to the one after the last.
    pub(super) straight: [i64; CHANNELS_MAX],
    pub(super) rate: [f64; CHANNELS_MAX],
    /// How often φ counts, and θ where it counts at all.
    pub(super) count: [u64; CHANNELS_MAX],
    /// All bits where θ counts, none where it does not.
    pub(super) locked: [u64; CHANNELS_MAX],
    /// The sines that sound in this run and count neither, so that they are the same for all, a bit each.
    pub(super) alike: u64,
}

/// All lines over one run.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// Left and right, or carrier and beat.
    pub(super) ears: [Line; 2],
    /// 1 for a channel that is a sine on each ear, 0 for any other.
    pub(super) sine: Parts,
    /// How high a wave of coefficient 1 rises at most.
    pub(super) crest: Parts,
    /// How much the power of a wave of coefficient 1 counts in its loudness, on both ears, at the same two instants.
    pub(super) weight: [Parts; 2],
    /// Those of them whose amplitudes add.
    pub(super) near: Near,
    /// The amplitudes at the first sample and at the sample after the last.
    pub(super) amplitude: [Parts; 2],
    /// Whether no amplitude changes on the way.
    pub(super) is_steady: bool,
    pub(super) samples: usize,
    /// The largest bend and rate of any line, and the most often that any counts θ or φ.
    bend_max: u64,
    pub(super) rate_max: f64,
    pub(super) count_max: u32,
    /// The clock of the run that follows, if it follows.
    next: Option<BlockClock>,
    weights: Weights,
    sample_rate: u32,
}

impl Lines {
    pub(super) fn new(program: &Program, sample_rate: u32) -> Self {
        let line = Line {
            phase: [0; CHANNELS_MAX],
            step: [0; CHANNELS_MAX],
            bend: [0; CHANNELS_MAX],
            rate: [0.0; CHANNELS_MAX],
            straight: [0; CHANNELS_MAX],
            count: [0; CHANNELS_MAX],
            locked: [0; CHANNELS_MAX],
            alike: 0,
        };
        let mut lines = Self {
            ears: [line.clone(), line],
            sine: [0.0; CHANNELS_MAX],
            crest: [0.0; CHANNELS_MAX],
            weight: [[0.0; CHANNELS_MAX]; 2],
            near: Near::new(&program.channels),
            amplitude: [[0.0; CHANNELS_MAX]; 2],
            is_steady: false,
            samples: 0,
            bend_max: 0,
            rate_max: 0.0,
            count_max: 0,
            next: None,
            weights: Weights::new(sample_rate),
            sample_rate,
        };
        for (k, channel) in program.channels.iter().enumerate() {
            lines.sine[k] = if waves::is_sine(&channel.wave) { 1.0 } else { 0.0 };
            lines.crest[k] = waves::crest(&channel.wave);
            if channel.wave != Wave::Tone {
                let line = &mut lines.ears[beat_ear(&channel.wave)];
                line.count[k] = u64::from(channel.beat.multiple());
                line.locked[k] = if let Beat::Locked(_) = channel.beat { u64::MAX } else { 0 };
                lines.count_max = lines.count_max.max(channel.beat.multiple());
            }
        }
        lines
    }

    /// Lays them over the next `samples`. Realtime-safe.
    pub(super) fn lay(&mut self, program: &Program, clock: BlockClock, samples: usize) {
        let follows = self.next == Some(clock);
        let after = clock.after(samples);
        (self.bend_max, self.rate_max) = (0, 0.0);
        self.ears.iter_mut().for_each(|line| line.alike = 0);
        for (k, channel) in program.channels.iter().enumerate() {
            let carrier = Course::new(&channel.carrier, clock, samples);
            let beat = match &channel.beat {
                Beat::Free(timeline) if channel.wave != Wave::Tone => Course::new(timeline, clock, samples),
                _ => Course::default(),
            };
            for (end, weights) in self.weight.iter_mut().enumerate() {
                let hz = carrier.rate_at(end * samples) * f64::from(self.sample_rate);
                weights[k] = waves::weight(&channel.wave, &self.weights, hz);
            }
            let is_sine = self.sine[k] != 0.0;
            for (ear, line) in self.ears.iter_mut().enumerate() {
                let beats = ear == beat_ear(&channel.wave) && channel.wave != Wave::Tone;
                let (a, b) = match (is_sine, beats) {
                    (true, true) => (carrier, beat),
                    (true, false) | (false, false) => (carrier, Course::default()),
                    (false, true) => (Course::default(), beat),
                };
                line.phase[k] = a.phase.wrapping_add(b.phase);
                line.step[k] = a.step.wrapping_add(b.step);
                line.bend[k] = a.bend.wrapping_add(b.bend);
                line.straight[k] = line.step[k].wrapping_add(line.bend[k].wrapping_mul(samples as i64));
                line.rate[k] = a.rate + b.rate;
                self.rate_max = self.rate_max.max(line.rate[k].abs());
                self.bend_max = self.bend_max.max(line.bend[k].unsigned_abs());
            }
            self.amplitude[0][k] =
                if follows { self.amplitude[1][k] } else { waves::amplitude(program, channel, clock.start) };
            self.amplitude[1][k] = waves::amplitude(program, channel, after.start);
            let sounds = is_sine && self.amplitude.iter().any(|amplitudes| amplitudes[k] != 0.0);
            for line in &mut self.ears {
                line.alike |= u64::from(sounds && line.count[k] == 0) << k;
            }
        }
        let theta = Course::new(&program.rhythm, clock, samples);
        self.near.lay(&self.ears, &theta, &self.weight, &self.amplitude, (samples, self.sample_rate));
        self.is_steady = self.amplitude[0] == self.amplitude[1];
        self.samples = samples;
        self.next = Some(after);
    }

    /// The longest run that may take a straight way, where θ goes as `theta` does: a parabola leaves its chord by b·n²/4,
    /// and a millionth of a turn is −104 dB.
    pub(super) fn straight_max(&self, theta: &Course) -> usize {
        const FROM_CHORD_MAX: f64 = 1e-6 * 18_446_744_073_709_551_616.0;
        let bend = self.bend_max as f64 + f64::from(self.count_max) * theta.bend.unsigned_abs() as f64;
        let mut samples = crate::oscillators::RUN_MAX;
        while samples > crate::oscillators::LANES && bend * (samples * samples) as f64 / 4.0 > FROM_CHORD_MAX {
            samples /= 2;
        }
        samples
    }
}

/// Which of the two lines holds the beat.
fn beat_ear(wave: &Wave) -> usize {
    match wave {
        Wave::Binaural { lead: Ear::Left } => 0,
        _ => 1,
    }
}
