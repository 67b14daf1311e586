//! Noise that swings around the head: early on one ear and as late on the other.
//!
//! The left ear hears the noise of the moment t + w·sin 2π(β + n·φ), the right one that of t − w·sin 2π(β + n·φ): the
//! difference by which ears tell where a sound comes from, turning at the beat. Noise on the grid of node time can be
//! heard ahead as well as behind, since each of its samples depends on its place only.
//!
//! The nearest sample of the grid is taken, not a line between two: a line would take away from the high frequencies,
//! and from the loudness, by how far between two samples the swing happens to be. So the swing moves in steps of
//! 20.8 µs, as it does (of 22.7 µs) in SBaGen, whose effect this is.
//!
//! A ring keeps the last samples, so that each is computed once and nothing is allocated.
use num_complex::Complex;

use super::run::Run;
use super::shaped::follow;
use super::stage::Other;
use super::BlockClock;
use crate::envelope::Envelope;
use crate::oscillators::{Noise, NOISE_RATE, RUN_MAX};
use crate::units::{NodeTime, NS_PER_S};

/// Samples of the ring: the longest run at the lowest rate, and the widest swing to both sides.
const RING: usize = 2_048;
/// The widest swing, in samples of the grid: SBaGen's, 127 samples at 44.1 kHz.
const SWING_MAX: f64 = 138.0;
/// More grid samples a step are never asked for: a run at 8 kHz.
const STRIDE_MAX: i128 = 6 << 32;

/// The noise of one channel, and the part of it that is within reach.
#[derive(Clone, Debug)]
pub(super) struct Spin {
    noise: Noise,
    ring: [f32; RING],
    /// The indices that the ring holds: from `first` up to and without `end`.
    first: i64,
    end: i64,
    /// Where the run begins, and how far its samples lie apart, in 2⁻³² sample of the grid.
    begin: i128,
    stride: i128,
}

impl Spin {
    pub(super) fn new(noise: Noise) -> Self {
        Self { noise, ring: [0.0; RING], first: 0, end: 0, begin: 0, stride: 0 }
    }

    /// Brings the indices from `first` up to and without `end` (at most [`RING`]) into the ring.
    fn reach(&mut self, first: i64, end: i64) {
        if first < self.first || first > self.end {
            (self.first, self.end) = (first, first);
        }
        const STEP: u64 = ((NS_PER_S as u64) << 32) / NOISE_RATE as u64;
        while self.end < end {
            let place = self.end.rem_euclid(RING as i64) as usize;
            let count = (RING - place).min((end - self.end) as usize);
            // The instant of this place of the grid, in 2⁻³² ns.
            let at = ((i128::from(self.end) * i128::from(NS_PER_S)) << 32).div_euclid(i128::from(NOISE_RATE));
            let start = NodeTime::from_ns((at >> 32) as i64);
            self.noise.fill(start, at as u32, STEP, &mut self.ring[place..place + count]);
            self.end += count as i64;
        }
        self.first = self.first.max(self.end - RING as i64);
    }

    fn at(&self, index: i64) -> f32 {
        self.ring[index.rem_euclid(RING as i64) as usize]
    }

    /// Prepares the run of `samples` that `clock` dates: every sample that a swing can reach. Realtime-safe.
    pub(super) fn lay(&mut self, clock: BlockClock, samples: usize) {
        let rate = i128::from(NOISE_RATE);
        let now = (i128::from(clock.start.ns()) << 32) + i128::from(clock.fraction);
        self.stride = (i128::from(clock.step) * rate / i128::from(NS_PER_S)).min(STRIDE_MAX);
        // Half a sample more, so that cutting off rounds to the nearest.
        self.begin = (now * rate).div_euclid(i128::from(NS_PER_S)) + (1 << 31);
        let last = self.begin + self.stride * samples as i128;
        let reach = SWING_MAX as i64 + 1;
        self.reach((self.begin >> 32) as i64 - reach, (last >> 32) as i64 + reach + 1);
    }

    /// Adds the swinging noise of the channel of `other` from sample `n` of what was laid on, while its coefficient goes
    /// from the first of `m` to the second; it swings as `motion` says, or as a sine. Realtime-safe.
    pub(super) fn add(
        &self,
        other: &Other,
        n: usize,
        run: &Run<'_>,
        m: (Complex<f32>, Complex<f32>),
        motion: Option<&Envelope>,
        [left, right]: [&mut [f32]; 2],
    ) {
        let mut swing = [0.0; RUN_MAX];
        match motion {
            Some(motion) => follow(motion, run.beat(other.channel), &mut swing[..run.samples]),
            None => run.swing(other.channel, &mut swing[..run.samples]),
        }
        let (from, to) = (m.0.norm(), m.1.norm());
        let each = (to - from) / run.samples as f32;
        for (i, (left, right)) in left.iter_mut().zip(right).enumerate() {
            let width = (other.width_us(n + i) * 1e-6 * f64::from(NOISE_RATE)).clamp(-SWING_MAX, SWING_MAX);
            let away = (width * f64::from(swing[i]) * 4_294_967_296.0) as i128;
            let at = self.begin + self.stride * (n + i) as i128;
            let loudness = from + each * i as f32;
            *left += loudness * self.at(((at + away) >> 32) as i64);
            *right += loudness * self.at(((at - away) >> 32) as i64);
        }
    }
}
