//! Coefficients on their way to others, linearly.
//!
//! A new mix arrives a few times a second, and a step between two would click. So every coefficient goes to its new
//! value in a straight line over a stated time; sent again with a shorter time, it arrives sooner, never later.
use num_complex::Complex;
use pulp::{Arch, Simd, WithSimd};

use crate::program::CHANNELS_MAX;

/// Larger coefficients are turned down to this (140 dB), so that no sum of them overflows.
const COEFFICIENT_MAX: f32 = 1e7;
/// A target of more than this in all (36 dB above full scale) is turned down as a whole. The limiter would do so anyway;
/// but on the straight line to it, all that sounded before would vanish from one sample to the next.
const SIZE_MAX: f32 = 64.0;
/// Smaller ones (−240 dB) are silence; they would only be slow.
const COEFFICIENT_MIN: f32 = 1e-12;

/// Real or imaginary parts, one a channel.
pub(super) type Parts = [f32; CHANNELS_MAX];

/// K coefficients on their way to others, linearly. Their parts lie side by side, for vectors.
#[derive(Clone, Debug)]
pub(super) struct Glide {
    channels: usize,
    /// `from` and `to`, the real parts and the imaginary ones of each.
    parts: Vec<f32>,
    done: u64,
    total: u64,
    /// The channels whose target is no number.
    broken: u64,
}

/// Where a glide is at an instant: from + share·(to − from), from the far end.
pub(super) struct At<'a> {
    pub(super) from: [&'a [f32]; 2],
    pub(super) to: [&'a [f32]; 2],
    /// How much of the way is left, 0 to 1.
    pub(super) left: f32,
}

impl At<'_> {
    /// The real (0) or imaginary (1) part of channel `k`.
    #[inline(always)]
    pub(super) fn part(&self, part: usize, k: usize) -> f32 {
        self.to[part][k] + (self.from[part][k] - self.to[part][k]) * self.left
    }
}

impl Glide {
    pub(super) fn new(channels: usize) -> Self {
        Self { channels, parts: vec![0.0; 4 * channels], done: 0, total: 0, broken: 0 }
    }

    pub(super) fn left(&self) -> u64 {
        self.total - self.done
    }

    /// The coefficients `ahead` samples from now.
    pub(super) fn at(&self, ahead: usize) -> At<'_> {
        let (from, to) = self.parts.split_at(2 * self.channels);
        let ((from_re, from_im), (to_re, to_im)) = (from.split_at(self.channels), to.split_at(self.channels));
        let left = self.left().saturating_sub(ahead as u64);
        let left = if left == 0 { 0.0 } else { (left as f64 / self.total as f64) as f32 };
        At { from: [from_re, from_im], to: [to_re, to_im], left }
    }

    /// Heads for `target` within `samples`; for the target that it has already, it only ever hurries. Returns how
    /// many channels' targets became no numbers: they head for silence.
    pub(super) fn head_for(&mut self, target: &[Complex<f32>], samples: u64) -> u64 {
        if self.left() <= samples && self.is_target(target) {
            return 0;
        }
        let (mut re, mut im): (Parts, Parts) = ([0.0; CHANNELS_MAX], [0.0; CHANNELS_MAX]);
        for (k, m) in target.iter().take(self.channels).enumerate() {
            (re[k], im[k]) = harmless(m.re, m.im);
        }
        let size = re.iter().zip(&im).map(|(re, im)| re.abs() + im.abs()).sum::<f32>();
        if size > SIZE_MAX {
            re.iter_mut().chain(&mut im).for_each(|part| *part *= SIZE_MAX / size);
        }
        let (re, im) = (&re[..self.channels], &im[..self.channels]);
        let [_, to] = self.halves();
        let differences = to.iter().zip(re.iter().chain(im)).filter(|(to, wanted)| to != wanted).count();
        if differences == 0 && self.left() <= samples {
            return 0;
        }
        if self.left() > 0 {
            let now = self.at(0);
            let (mut from_re, mut from_im): (Parts, Parts) = ([0.0; CHANNELS_MAX], [0.0; CHANNELS_MAX]);
            for k in 0..self.channels {
                (from_re[k], from_im[k]) = (now.part(0, k), now.part(1, k));
            }
            let channels = self.channels;
            let [from, _] = self.halves();
            from[..channels].copy_from_slice(&from_re[..channels]);
            from[channels..].copy_from_slice(&from_im[..channels]);
        } else {
            let [from, to] = self.halves();
            from.copy_from_slice(to);
        }
        let channels = self.channels;
        let [_, to] = self.halves();
        to[..channels].copy_from_slice(re);
        to[channels..].copy_from_slice(im);
        (self.done, self.total) = (0, samples);
        let broken = |bits: u64, (k, m): (usize, &Complex<f32>)| bits | u64::from(!m.is_finite()) << k;
        let before =
            core::mem::replace(&mut self.broken, target.iter().take(self.channels).enumerate().fold(0, broken));
        u64::from((self.broken & !before).count_ones())
    }

    /// Whether it heads for just this, as most of the time.
    fn is_target(&self, target: &[Complex<f32>]) -> bool {
        let (re, im) = self.parts[2 * self.channels..].split_at(self.channels);
        target.len() == self.channels && !Arch::new().dispatch(Differ { re, im, target })
    }

    fn halves(&mut self) -> [&mut [f32]; 2] {
        let (from, to) = self.parts.split_at_mut(2 * self.channels);
        [from, to]
    }

    pub(super) fn advance(&mut self, samples: usize) {
        self.done = (self.done + samples as u64).min(self.total);
    }
}

/// Whether any of as many parts is not its target's.
struct Differ<'a> {
    re: &'a [f32],
    im: &'a [f32],
    target: &'a [Complex<f32>],
}

impl WithSimd for Differ<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Self { re, im, target } = self;
        let mut differ = 0;
        for ((re, im), m) in re.iter().zip(im).zip(target) {
            differ |= u32::from((*re != m.re) | (*im != m.im));
        }
        differ != 0
    }
}

/// A coefficient that cannot do harm: 0 for what is not finite, and within range. Without branches, for vectors.
#[inline(always)]
pub(super) fn harmless(re: f32, im: f32) -> (f32, f32) {
    let finite = (re.abs() < f32::INFINITY) & (im.abs() < f32::INFINITY);
    let part =
        |x: f32| if finite & (x.abs() >= COEFFICIENT_MIN) { x.clamp(-COEFFICIENT_MAX, COEFFICIENT_MAX) } else { 0.0 };
    (part(re), part(im))
}
