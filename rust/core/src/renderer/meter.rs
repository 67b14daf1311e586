//! The momentary level of what was rendered: a mean over 400 ms, in bins of 100 ms.

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
        for (left, right) in left.iter().zip(right) {
            self.sum += f64::from(left * left + right * right);
            self.count += 1;
            if self.count == self.bin_samples {
                self.bins.rotate_left(1);
                self.bins[LEVEL_BINS - 1] = self.sum / f64::from(2 * self.count);
                (self.sum, self.count) = (0.0, 0);
            }
        }
    }
}
