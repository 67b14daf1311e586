//! Holds the mix below a ceiling without delay, without distortion and without surprises.
//!
//! A limiter that waits for a peak must either have it already (look-ahead: latency, which every platform would have
//! to account for in its phase) or cut it off (distortion). It also sees only samples, while a converter plays the
//! curve through them, which may rise 3 dB and more between two. But here the mix is not an unknown signal: it is a
//! sum of sines whose coefficients are known, so Σ|m_k| bounds the curve itself, between samples too, before the first
//! sample is computed. The gain is therefore
//!
//! ```text
//! g = min(1, ceiling / Σ|m_k|)
//! ```
//!
//! which is as smooth as the coefficients, has no latency and leaves every sine a sine. The price: where many
//! channels together exceed the ceiling on paper, it turns down although their crests may never meet (some 5 dB
//! for 32 equal channels). For sleep that is the right side to err on.
//!
//! Upwards the gain moves by at most [`RECOVERY_DB_PER_S`], except where the result stays below −60 dBFS. While Σ|m_k|
//! cannot reach the ceiling and the gain has recovered, the samples are not touched at all. A lower ceiling is
//! reached within 8 ms, a higher one at the speed of recovery.
//!
//! A last stage clips at the ceiling whatever rounding, or a mistake elsewhere, may leave.

/// −1 dB of full scale: no ceiling is higher.
pub const TRUE_PEAK_MAX: f32 = 0.891_250_9;
/// How fast the gain recovers.
pub const RECOVERY_DB_PER_S: f64 = 3.0;
/// Below −60 dBFS the gain may recover at once.
const QUIET: f32 = 1e-3;
/// How long a falling ceiling takes, in milliseconds.
const CEILING_MS: u32 = 8;

/// A gain that follows Σ|m_k|. Realtime-safe throughout.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f64,
    recovery: f64,
    /// The ceiling in use; `None` before the first block.
    ceiling: Option<f32>,
    /// How far a ceiling falls in one sample, as a share of full scale.
    ceiling_fall: f32,
}

impl Limiter {
    /// A limiter at `sample_rate` samples a second, with its gain at 1.
    pub fn new(sample_rate: u32) -> Self {
        Self {
            gain: 1.0,
            recovery: 10f64.powf(RECOVERY_DB_PER_S / 20.0 / f64::from(sample_rate)),
            ceiling: None,
            ceiling_fall: 1000.0 / (CEILING_MS * sample_rate) as f32,
        }
    }

    /// What it multiplies by now, 0 to 1.
    pub fn gain(&self) -> f32 {
        self.gain as f32
    }

    /// Holds the next samples below `ceiling` (linear, at most [`TRUE_PEAK_MAX`]; what is no number counts as 0).
    ///
    /// `bound` is Σ|m_k| at the first sample and at the sample after the last; in between it lies on or below the line
    /// from one to the other. Whatever is not finite leaves as silence.
    pub fn process(&mut self, left: &mut [f32], right: &mut [f32], bound: (f32, f32), ceiling: f32) {
        let wanted = if ceiling.is_nan() { 0.0 } else { ceiling.clamp(0.0, TRUE_PEAK_MAX) };
        let mut ceiling = self.ceiling.unwrap_or(wanted).max(wanted);
        if self.gain < 1.0 || wanted < ceiling || bound.0.max(bound.1) > ceiling {
            let slope = (bound.1 - bound.0) / left.len().max(1) as f32;
            for (i, (left, right)) in left.iter_mut().zip(right.iter_mut()).enumerate() {
                ceiling = (ceiling - self.ceiling_fall).max(wanted);
                let bound = (bound.0 + slope * i as f32).max(f32::MIN_POSITIVE);
                let recovered = (self.gain * self.recovery).max(f64::from(QUIET / bound));
                self.gain = recovered.min(f64::from(ceiling / bound)).min(1.0);
                *left = clip(*left * self.gain as f32, ceiling);
                *right = clip(*right * self.gain as f32, ceiling);
            }
        } else {
            left.iter_mut().chain(right).for_each(|x| *x = clip(*x, ceiling));
        }
        self.ceiling = Some(ceiling);
    }
}

/// `x` between −`ceiling` and `ceiling`; 0 if it is not a number.
fn clip(x: f32, ceiling: f32) -> f32 {
    if x.is_finite() {
        x.clamp(-ceiling, ceiling)
    } else {
        0.0
    }
}

#[cfg(test)]
mod laws {
    use super::*;

    const RATE: u32 = 48_000;

    fn pass(limiter: &mut Limiter, x: &[f32], bound: f32, ceiling: f32) -> Vec<f32> {
        let (mut left, mut right) = (x.to_vec(), x.to_vec());
        limiter.process(&mut left, &mut right, (bound, bound), ceiling);
        assert_eq!(left, right);
        left
    }

    #[test]
    fn what_is_not_a_number_leaves_as_silence() {
        for bound in [0.5, 5.0] {
            let out = pass(&mut Limiter::new(RATE), &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1], bound, 1.0);
            assert_eq!(out[..3], [0.0; 3]);
            assert!(out[3] > 0.0);
        }
    }

    #[test]
    fn the_ceiling_holds_even_if_the_bound_was_wrong() {
        for bound in [0.1, 1.0] {
            let out = pass(&mut Limiter::new(RATE), &[3.0, -1e30], bound, 0.5);
            assert!(out.iter().all(|x| x.abs() <= 0.5));
        }
        assert_eq!(pass(&mut Limiter::new(RATE), &[0.7], 0.7, f32::NAN), [0.0]);
        assert_eq!(pass(&mut Limiter::new(RATE), &[0.7], 0.7, -1.0), [0.0]);
    }

    #[test]
    fn a_lower_ceiling_is_reached_smoothly_within_eight_milliseconds() {
        let mut limiter = Limiter::new(RATE);
        let x = [0.8; 400];
        pass(&mut limiter, &x, 0.8, 0.8);
        let out = pass(&mut limiter, &x, 0.8, 0.1);
        assert!(out[0] > 0.79);
        assert!(out.windows(2).all(|pair| pair[1] <= pair[0] && pair[0] - pair[1] < 0.003));
        assert!(out[384..].iter().all(|x| *x <= 0.1));
    }

    #[test]
    fn below_the_ceiling_no_bit_changes() {
        let x: Vec<f32> = (0..100).map(|i| (i as f32 / 10.0).sin() * 0.89).collect();
        assert_eq!(pass(&mut Limiter::new(RATE), &x, 0.89, 1.0), x);
    }

    #[test]
    fn after_a_silence_the_gain_is_back_at_once() {
        let mut limiter = Limiter::new(RATE);
        pass(&mut limiter, &[1.0], 1000.0, 1.0);
        assert!(limiter.gain() < 0.001);
        pass(&mut limiter, &[0.0], 0.0, 1.0);
        assert_eq!(limiter.gain(), 1.0);
    }
}
