//! The channels' lines over a run: where each phase and each amplitude goes, the same for all who play a program.
//!
//! A channel has two lines, one an ear where it is a sine: ψ on the ear that rests and ψ + β + nφ on the one that leads. A
//! locked β is nθ, and θ may be a sleeper's own; so what a sleeper adds to a line is θ and φ, each a whole number of times.
//! Of any other wave the lines are ψ and β + nφ. Field after field, so that vectors go over channels.
use super::course::Course;
use super::glide::Parts;
use super::{waves, BlockClock};
use crate::program::{Beat, Ear, Program, Wave, CHANNELS_MAX};

/// One line of each channel.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) phase: [u64; CHANNELS_MAX],
    pub(super) step: [i64; CHANNELS_MAX],
    pub(super) bend: [i64; CHANNELS_MAX],
    pub(super) rate: [f64; CHANNELS_MAX],
    /// How often θ counts.
    pub(super) theta: [u32; CHANNELS_MAX],
    /// How often φ counts.
    pub(super) phi: [u32; CHANNELS_MAX],
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
    /// The amplitudes at the first sample and at the sample after the last.
    pub(super) amplitude: [Parts; 2],
    pub(super) samples: usize,
    /// The largest bend of any line, and the most often that any counts θ.
    bend_max: u64,
    theta_max: u32,
    /// The clock of the run that follows, if it follows.
    next: Option<BlockClock>,
}

impl Lines {
    pub(super) fn new(program: &Program) -> Self {
        let line = Line {
            phase: [0; CHANNELS_MAX],
            step: [0; CHANNELS_MAX],
            bend: [0; CHANNELS_MAX],
            rate: [0.0; CHANNELS_MAX],
            theta: [0; CHANNELS_MAX],
            phi: [0; CHANNELS_MAX],
        };
        let mut lines = Self {
            ears: [line.clone(), line],
            sine: [0.0; CHANNELS_MAX],
            crest: [0.0; CHANNELS_MAX],
            amplitude: [[0.0; CHANNELS_MAX]; 2],
            samples: 0,
            bend_max: 0,
            theta_max: 0,
            next: None,
        };
        for (k, channel) in program.channels.iter().enumerate() {
            lines.sine[k] = if waves::is_sine(&channel.wave) { 1.0 } else { 0.0 };
            lines.crest[k] = waves::crest(&channel.wave);
            if channel.wave != Wave::Tone {
                let line = &mut lines.ears[beat_ear(&channel.wave)];
                line.phi[k] = channel.beat.multiple();
                line.theta[k] = if let Beat::Locked(n) = channel.beat { n } else { 0 };
                lines.theta_max = lines.theta_max.max(line.theta[k]);
            }
        }
        lines
    }

    /// Lays them over the next `samples`. Realtime-safe.
    pub(super) fn lay(&mut self, program: &Program, clock: BlockClock, samples: usize) {
        let follows = self.next == Some(clock);
        let after = clock.after(samples);
        self.bend_max = 0;
        for (k, channel) in program.channels.iter().enumerate() {
            let carrier = Course::new(&channel.carrier, clock, samples);
            let beat = match &channel.beat {
                Beat::Free(timeline) if channel.wave != Wave::Tone => Course::new(timeline, clock, samples),
                _ => Course::default(),
            };
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
                line.rate[k] = a.rate + b.rate;
                self.bend_max = self.bend_max.max(line.bend[k].unsigned_abs());
            }
            self.amplitude[0][k] =
                if follows { self.amplitude[1][k] } else { waves::amplitude(program, channel, clock.start) };
            self.amplitude[1][k] = waves::amplitude(program, channel, after.start);
        }
        self.samples = samples;
        self.next = Some(after);
    }

    /// The longest run that may take a straight way, where θ goes as `theta` does: a parabola leaves its chord by b·n²/4,
    /// and a millionth of a turn is −104 dB.
    pub(super) fn straight_max(&self, theta: &Course) -> usize {
        const FROM_CHORD_MAX: f64 = 1e-6 * 18_446_744_073_709_551_616.0;
        let bend = self.bend_max as f64 + f64::from(self.theta_max) * theta.bend.unsigned_abs() as f64;
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
