//! What coupled rhythms cost: mean-field evaluations a second of CPU time, of one sleeper each.
//!
//! A step of Runge–Kutta counts four: each of its stages needs everybody's sine and cosine, their mean, and what it does to
//! everybody. The exact integers beside it are part of the step and of its cost.
use std::time::Duration;

use harmonia_core::coupling::{Oscillator, Population, Strength};
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::rhythm::Frequency;
use harmonia_core::units::Span;

use crate::error::IoError;
use crate::os;

/// Stages of the integrator, each a mean of all.
pub const STAGES: u64 = 4;
const STEP: Span = Span::from_ms(20);

/// A population that is stepped for as long as anybody wants.
pub struct RhythmBench {
    population: Population,
    strength: Strength,
}

/// What a slice of the measurement came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Mean-field evaluations, times sleepers.
    pub evaluations: u64,
    /// CPU time of this thread.
    pub cpu_ns: i64,
    /// R at the end: what was computed.
    pub unity: f64,
}

impl RhythmBench {
    /// `sleepers` with all phases and frequencies from 4 to 5 Hz, all coupled.
    pub fn new(sleepers: usize) -> Result<Self, IoError> {
        let refused = |_| IoError::State("a usual population was refused");
        let mut population = Population::default();
        for i in 0..sleepers as u64 {
            let spread = i.wrapping_mul(0x9E37_79B9_7F4A_7C15); // the golden ratio's multiples fill the circle evenly
            let hz = 4.0 + (i % 1_009) as f64 / 1_009.0;
            let frequency = Frequency::from_hz(hz).map_err(|_| IoError::State("a usual frequency was refused"))?;
            let own = Phase::from_bits(spread);
            let one = Oscillator { own, frequency, pulled: PhaseOffset::ZERO, coupling: 0.5, weight: 1.0 };
            population.push(one).map_err(refused)?;
        }
        Ok(Self { population, strength: Strength::new(2.0, 0.1).map_err(refused)? })
    }

    /// Steps for about `duration` of CPU time, at least once.
    pub fn run(&mut self, duration: Duration) -> Stepped {
        let begin = os::this_thread_cpu_ns();
        let (mut evaluations, mut cpu_ns, mut unity) = (0, 0, 0.0);
        while evaluations == 0 || cpu_ns < duration.as_nanos() as i64 {
            let steps = (200_000 / self.population.len().max(1)).max(2);
            unity = self.population.steps(STEP, steps, self.strength).norm();
            evaluations += STAGES * (steps * self.population.len()) as u64;
            cpu_ns = os::this_thread_cpu_ns() - begin;
        }
        Stepped { evaluations, cpu_ns, unity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_was_computed() {
        let mut bench = RhythmBench::new(1_000).unwrap();
        let (first, second) = (bench.run(Duration::ZERO), bench.run(Duration::from_millis(1)));
        assert!(first.evaluations >= 8_000 && second.cpu_ns >= 1_000_000);
        assert!(first.unity > 0.0 && first.unity != second.unity, "{first:?} {second:?}");
    }
}
