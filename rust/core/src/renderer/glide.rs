//! Coefficients on their way to others, linearly.
//!
//! A new mix arrives a few times a second, and a step between two would click. So every coefficient goes to its new
//! value in a straight line over a stated time; sent again with a shorter time, it arrives sooner, never later.
use num_complex::Complex;

/// Larger coefficients are turned down to this (140 dB), so that no sum of them overflows.
const COEFFICIENT_MAX: f32 = 1e7;
/// Smaller ones (−240 dB) are silence; they would only be slow.
const COEFFICIENT_MIN: f32 = 1e-12;

/// K coefficients on their way to others, linearly.
#[derive(Clone, Debug)]
pub(super) struct Glide {
    from: Vec<Complex<f32>>,
    to: Vec<Complex<f32>>,
    done: u64,
    total: u64,
}

impl Glide {
    pub(super) fn new(channels: usize) -> Self {
        let rest = vec![Complex::default(); channels];
        Self { from: rest.clone(), to: rest, done: 0, total: 0 }
    }

    pub(super) fn left(&self) -> u64 {
        self.total - self.done
    }

    /// The coefficients `ahead` samples from now.
    pub(super) fn at(&self, channel: usize, ahead: usize) -> Complex<f32> {
        let left = self.left().saturating_sub(ahead as u64);
        if left == 0 {
            return self.to[channel];
        }
        let share = (left as f64 / self.total as f64) as f32;
        self.to[channel] + (self.from[channel] - self.to[channel]) * share
    }

    /// Heads for `target` within `samples`; for the target that it has already, it only ever hurries.
    pub(super) fn head_for(&mut self, target: &[Complex<f32>], samples: u64) {
        let wanted = |channel: usize| target.get(channel).copied().map_or(Complex::default(), harmless);
        let same = (0..self.to.len()).all(|channel| self.to[channel] == wanted(channel));
        if same && self.left() <= samples {
            return;
        }
        for channel in 0..self.to.len() {
            self.from[channel] = self.at(channel, 0);
            self.to[channel] = wanted(channel);
        }
        (self.done, self.total) = (0, samples);
    }

    pub(super) fn advance(&mut self, samples: usize) {
        self.done = (self.done + samples as u64).min(self.total);
    }
}

/// A coefficient that cannot do harm: 0 for what is not finite, and within range.
pub(super) fn harmless(m: Complex<f32>) -> Complex<f32> {
    if !m.is_finite() {
        return Complex::default();
    }
    let part = |x: f32| if x.abs() < COEFFICIENT_MIN { 0.0 } else { x.clamp(-COEFFICIENT_MAX, COEFFICIENT_MAX) };
    Complex::new(part(m.re), part(m.im))
}
