//! Where a phase goes during a run, as integers: p + s·n + b·n² in 2⁻⁶⁴ turn at sample n.
//!
//! Rhythms are exact to 2⁻¹²⁸ turn, and asking one for every run of every sleeper would cost more than the sines. So it
//! is asked once a run, with 128 bits; what follows from that to the run's end keeps 64. A frequency that glides is a
//! parabola, and stays one. Where a rhythm changes its ways within the run, the run is a straight line to the exact phase
//! at its end.
use super::BlockClock;
use crate::oscillators::Sine;
use crate::rhythm::Rhythm;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64

/// A phase over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Course {
    /// The phase at the first sample, in 2⁻⁶⁴ turn.
    pub(super) phase: u64,
    /// What it advances a sample there, in 2⁻⁶⁴ turn; modulo a turn.
    pub(super) step: i64,
    /// Half of what the advance changes by a sample, in 2⁻⁶⁴ turn.
    pub(super) bend: i64,
    /// What it advances a sample in turns, which may be more than the half that a converter can play.
    pub(super) rate: f64,
}

impl Course {
    /// Where `rhythm` goes in the `samples` that `clock` dates. Realtime-safe.
    pub(super) fn new(rhythm: &Rhythm, clock: BlockClock, samples: usize) -> Self {
        let piece = rhythm.piece_at(clock.start, clock.fraction);
        let (end, fraction) = clock.at(samples);
        // In 2⁻⁶⁴ turn/ns: rounded down, it loses less than 1e-12 turn over the longest run.
        let frequency = (piece.frequency.units() >> 64) as i64;
        let step = ((i128::from(frequency) * i128::from(clock.step)) >> 32) as i64;
        let rate = frequency as f64 * clock.step as f64 * (1.0 / TURN / 4_294_967_296.0);
        let start = Self { phase: piece.phase.bits(), step, bend: 0, rate };
        if end <= piece.until {
            if piece.half_ramp == 0 {
                return start;
            }
            let sample = clock.step as f64 / TURN;
            return Self { bend: (piece.half_ramp as f64 * sample * sample) as i64, ..start };
        }
        let last = rhythm.piece_at(end, fraction);
        let rate_there = (last.frequency.units() >> 64) as f64 * clock.step as f64 * (1.0 / TURN / 4_294_967_296.0);
        let rate = (rate + rate_there) / 2.0;
        let step = Sine::step_between(piece.phase, last.phase, rate * samples as f64, samples);
        Self { step, rate, ..start }
    }

    /// The phase at sample `n`, in 2⁻⁶⁴ turn.
    #[inline(always)]
    pub(super) fn phase_at(&self, n: usize) -> u64 {
        let along = self.step.wrapping_add(self.bend.wrapping_mul(n as i64));
        self.phase.wrapping_add((along as u64).wrapping_mul(n as u64))
    }

    /// What the phase advances a sample at sample `n`, in turns.
    pub(super) fn rate_at(&self, n: usize) -> f64 {
        self.rate + self.bend as f64 * (2 * n) as f64 / TURN
    }

    /// What the phase advances a sample on the straight way from sample `n` to `n + samples`.
    #[inline(always)]
    pub(super) fn step_over(&self, n: usize, samples: usize) -> i64 {
        self.step.wrapping_add(self.bend.wrapping_mul((2 * n + samples) as i64))
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::phase::Phase;
    use crate::rhythm::{Frequency, Segment};
    use crate::units::{NodeTime, Span};
    use proptest::prelude::*;

    const NIGHT_NS: i64 = 8 * 3600 * 1_000_000_000;

    fn apart(a: u64, b: Phase) -> f64 {
        (a.wrapping_sub(b.bits()) as i64 as f64 / TURN).abs()
    }

    proptest! {
        /// Whether the frequency stands, glides, begins to glide or arrives.
        #[test]
        fn a_run_begins_and_ends_at_the_rhythms_own_phases(
            from in -2000.0f64..2000.0, to in -2000.0f64..2000.0, ramp_ns in 1i64..NIGHT_NS, at in 0.0f64..1.2,
            fraction: u32, samples in 1usize..=256,
        ) {
            let [from, to] = [from, to].map(|hz| Frequency::from_hz(hz).unwrap());
            let start = NodeTime::from_ns(1_000_000);
            let ramp = Segment::ramp(start, Phase::from_bits(77 << 55), from, to, Span::from_ns(ramp_ns)).unwrap();
            let rhythm = Rhythm::new(ramp);
            let clock = BlockClock { start: NodeTime::from_ns((ramp_ns as f64 * at) as i64), fraction, ..BlockClock::nominal(start, 48_000) };
            let course = Course::new(&rhythm, clock, samples);
            let (end, end_fraction) = clock.at(samples);
            prop_assert_eq!(course.phase_at(0), rhythm.phase_at_fine(clock.start, fraction).bits());
            prop_assert!(apart(course.phase_at(samples), rhythm.phase_at_fine(end, end_fraction)) < 1e-9);
            if end <= rhythm.piece_at(clock.start, fraction).until {
                // In between, too: a gliding frequency is a parabola.
                let (t, fraction) = clock.at(samples / 3);
                prop_assert!(apart(course.phase_at(samples / 3), rhythm.phase_at_fine(t, fraction)) < 1e-9);
            }
            let straight = course.phase_at(0).wrapping_add((course.step_over(0, samples) as u64).wrapping_mul(samples as u64));
            prop_assert!(apart(straight, Phase::from_bits(course.phase_at(samples))) < 1e-12);
        }
    }
}
