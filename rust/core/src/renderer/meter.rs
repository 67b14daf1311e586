//! The momentary level of what was rendered: a mean over 400 ms, in bins of 100 ms.
// A lane goes through two arrays at once.
#![allow(clippy::needless_range_loop)]

use pulp::{Arch, Simd, WithSimd};

const LEVEL_BINS: usize = 4;
/// The level of silence.
pub const LEVEL_MIN_DBFS: f32 = -120.0;

/// The mean power of the last 400 ms.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    bins: [f64; LEVEL_BINS],
    sum: f64,
    count: u32,
    bin_samples: u32,
}

impl Meter {
    pub(super) fn new(sample_rate: u32) -> Self {
        Self { bins: [0.0; LEVEL_BINS], sum: 0.0, count: 0, bin_samples: sample_rate / 10 }
    }

    /// In dB, where a full-scale sine on both ears is 0; at least [`LEVEL_MIN_DBFS`].
    pub(super) fn level_dbfs(&self) -> f32 {
        let power = self.bins.iter().sum::<f64>() / LEVEL_BINS as f64;
        ((10.0 * (2.0 * power).log10()) as f32).max(LEVEL_MIN_DBFS)
    }

    pub(super) fn take(&mut self, left: &[f32], right: &[f32]) {
        let (mut left, mut right) = (left, right);
        while !left.is_empty() {
            let samples = left.len().min((self.bin_samples - self.count) as usize);
            let ((l, left_rest), (r, right_rest)) = (left.split_at(samples), right.split_at(samples));
            (left, right) = (left_rest, right_rest);
            self.sum += f64::from(Arch::new().dispatch(Power(l)) + Arch::new().dispatch(Power(r)));
            self.count += samples as u32;
            if self.count == self.bin_samples {
                self.bins.rotate_left(1);
                self.bins[LEVEL_BINS - 1] = self.sum / f64::from(2 * self.count);
                (self.sum, self.count) = (0.0, 0);
            }
        }
    }
}

/// The sum of squares of a run.
struct Power<'a>(&'a [f32]);

impl WithSimd for Power<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        const SUM_LANES: usize = 16;
        let (chunks, rest) = self.0.as_chunks::<SUM_LANES>();
        let mut sums = [0.0f32; SUM_LANES];
        for chunk in chunks {
            for lane in 0..SUM_LANES {
                sums[lane] = chunk[lane].mul_add(chunk[lane], sums[lane]);
            }
        }
        let mut sum = 0.0;
        for x in sums {
            sum += x;
        }
        for x in rest {
            sum = x.mul_add(*x, sum);
        }
        sum
    }
}
