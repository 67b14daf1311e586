//! A stretch of a block in which everything moves linearly: where each phase begins and ends, and its sines.
use num_complex::Complex;

use super::BlockClock;
use crate::oscillators::Sine;
use crate::phase::{Phase, PhaseOffset};
use crate::program::{Beat, Channel};
use crate::rhythm::Rhythm;

/// Where a phase is, and how fast it goes there.
#[derive(Clone, Copy)]
pub(super) struct Motion {
    pub(super) phase: Phase,
    pub(super) hz: f64,
}

impl core::ops::Add for Motion {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let phase = Phase::from_bits(self.phase.bits().wrapping_add(other.phase.bits()));
        Self { phase, hz: self.hz + other.hz }
    }
}

pub(super) fn motion(rhythm: &Rhythm, clock: BlockClock, sample: usize) -> Motion {
    let (t, fraction) = clock.at(sample);
    Motion { phase: rhythm.phase_at_fine(t, fraction), hz: rhythm.frequency_at(t).hz() }
}

/// A stretch of at most [`RUN_MAX`] samples in which everything moves linearly.
pub(super) struct Run<'a> {
    pub(super) clock: BlockClock,
    pub(super) rhythm: &'a Rhythm,
    /// θ at the first sample and at the sample after the last, which all locked channels need.
    pub(super) theta: [Motion; 2],
    /// φ at the first sample, and its way to the sample after the last.
    pub(super) offset: PhaseOffset,
    pub(super) way: PhaseOffset,
    pub(super) samples: usize,
}

impl Run<'_> {
    /// What is known already of the run's two ends.
    pub(super) fn at_end(&self, ends: &[Motion; 2], sample: usize) -> Option<Motion> {
        match sample {
            0 => Some(ends[0]),
            sample if sample == self.samples => Some(ends[1]),
            _ => None,
        }
    }

    /// ψ
    pub(super) fn carrier(&self, channel: &Channel, sample: usize) -> Motion {
        motion(&channel.carrier, self.clock, sample)
    }

    /// β + nφ
    pub(super) fn beat(&self, channel: &Channel, sample: usize) -> Motion {
        let n = channel.beat.multiple();
        let beat = match &channel.beat {
            Beat::Locked(_) => {
                let theta = self.at_end(&self.theta, sample).unwrap_or_else(|| motion(self.rhythm, self.clock, sample));
                Motion { phase: theta.phase.times(n), hz: theta.hz * f64::from(n) }
            }
            Beat::Free(timeline) => motion(timeline, self.clock, sample),
        };
        let way = match sample {
            0 => 0,
            sample if sample == self.samples => self.way.bits(),
            sample => (i128::from(self.way.bits()) * sample as i128 / self.samples as i128) as i64,
        };
        let offset = (self.offset + PhaseOffset::from_bits(way)).times(n);
        let turning_hz = self.way.turns() * f64::from(n) / self.clock.seconds(self.samples).max(1e-9);
        Motion { phase: beat.phase + offset, hz: beat.hz + turning_hz }
    }

    /// Adds the sine whose coefficient goes from `from` to `to` and whose phase is `motion(sample)`.
    pub(super) fn sine(&self, from: Complex<f32>, to: Complex<f32>, out: &mut [f32], motion: &dyn Fn(usize) -> Motion) {
        let mut start = 0;
        let mut here = motion(0);
        let longest = Sine::run_max(here.hz);
        let nyquist_hz = 0.5 / self.clock.seconds(1).max(1e-9);
        for part in out.chunks_mut(longest) {
            let end = start + part.len();
            let there = motion(end);
            let hz = (here.hz + there.hz) / 2.0;
            if hz.abs() < nyquist_hz {
                let turns = hz * self.clock.seconds(part.len());
                let step = Sine::step_between(here.phase, there.phase, turns, part.len());
                let m = |sample: usize| from + (to - from) * (sample as f32 / self.samples as f32);
                Sine { phase: here.phase, step, from: m(start), to: m(end) }.add_to(part);
            }
            (start, here) = (end, there);
        }
    }
}
