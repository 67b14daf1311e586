//! One sine over a run: a [`Bank`] of one, for those who need a sine by itself.
use num_complex::Complex;

use super::bank::Bank;
use crate::phase::Phase;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64

/// One sine over a run: Re[m(i)·e^{2πi(phase + i·step)}], with m going linearly from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Sine {
    /// The phase at the first sample.
    pub phase: Phase,
    /// What the phase advances a sample, in 2⁻⁶⁴ turn (signed: a frequency may be negative).
    pub step: i64,
    /// The coefficient at the first sample.
    pub from: Complex<f32>,
    /// The coefficient at the sample after the last.
    pub to: Complex<f32>,
}

impl Sine {
    /// The step that leads from `from` to `to` in `samples`, where about `turns` turns lie between them.
    ///
    /// The phases are exact and only know the fraction of a turn; `turns` need only be right to half a turn.
    pub fn step_between(from: Phase, to: Phase, turns: f64, samples: usize) -> i64 {
        let fraction = (to - from).turns();
        let total = fraction + (turns - fraction).round();
        // Good to 1e-16 turn a sample; below Nyquist's frequency it fits.
        (total / samples.max(1) as f64 * TURN) as i64
    }

    /// Adds this sine to `out`, a run of at most [`super::RUN_MAX`] samples. Realtime-safe.
    pub fn add_to(&self, out: &mut [f32]) {
        let mut bank = Bank::default();
        bank.push(self.phase, self.step, self.from, self.to, out.len());
        bank.add_to(out);
    }
}
