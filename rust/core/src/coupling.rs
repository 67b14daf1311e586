//! Many rhythms in one field: everybody near the crowd's mean, nobody held to it.
//!
//! In a woven circle each sleeper has a rhythm of their own, and lets the mean of all pull it as far as they choose:
//!
//! ```text
//! dθᵢ/dt = ωᵢ + cᵢ·K·R·sin(Ψ − θᵢ + α)        R·e^{iΨ} = Σ wⱼ·e^{iθⱼ} / Σ wⱼ
//! ```
//!
//! with ωᵢ a sleeper's own frequency, cᵢ ∈ [0, 1] their coupling, wⱼ ≥ 0 their weight in the mean, K the circle's strength
//! and α its lag (Kuramoto 1975; Sakaguchi & Kuramoto 1986). The mean is one sum, so a step costs N and not N².
//!
//! The obvious integrator adds all of dθ/dt into a float. Then somebody whom nobody pulls drifts from their own exact
//! timeline by rounding alone. Here the two terms are kept apart. What is one's own is an integer timeline in 2⁻¹²⁸ turn,
//! bit for bit a [`crate::rhythm::Segment`] of constant frequency. What others did is a displacement beside it, in 2⁻⁶⁴
//! turn, of which only each step's small increment is ever a float. With cᵢ = 0 it is not touched at all.
//!
//! The method is the classical Runge–Kutta of order 4. It is equivariant under a common rotation: every stage advances
//! each phase by its own ωᵢ exactly, so the error of a step depends on how far frequencies *differ* and on K, not on how
//! fast everybody goes. [`Population::step_doubled`] states that error by taking the step again in halves.
//!
//! A stage is one pass over memory: with the mean of this stage known, and the sines and cosines at hand from the pass
//! before, it computes the pull by the addition theorem (no atan2, no further sine), goes on to the next stage's phase, takes
//! its sine and cosine, and adds them to the next mean. Data lies in blocks of [`LANES`] sleepers, field after field.
// A lane goes through several arrays at once, and reads as one number where its index stands at each of them.
#![allow(clippy::needless_range_loop)]

use core::f64::consts::TAU;

use num_complex::Complex;
use pulp::{Arch, Simd, WithSimd};
use thiserror::Error;

use crate::phase::{Phase, PhaseOffset};
use crate::rhythm::Frequency;
use crate::sincos::{sin_cos, Lanes, LANES};
use crate::units::Span;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64
/// A stronger circle than this would turn people about within a second.
pub const STRENGTH_MAX: f64 = 100.0;

/// How a circle pulls.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Strength {
    /// K, rad/s.
    k: f64,
    /// sin α and cos α.
    lag: (f64, f64),
}

/// One sleeper's part in a [`Population`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Oscillator {
    /// Where they are on their own timeline.
    pub own: Phase,
    /// Their own frequency, ω.
    pub frequency: Frequency,
    /// How far the others have displaced them from their own timeline.
    pub pulled: PhaseOffset,
    /// c, 0 to 1.
    pub coupling: f32,
    /// w, at least 0.
    pub weight: f32,
}

/// Why a number was refused.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum CouplingError {
    /// The coupling is not from 0 to 1.
    #[error("a coupling must be a number from 0 (nobody pulls) to 1, not {0}")]
    Coupling(f32),
    /// The weight is negative or not finite.
    #[error("a weight must be a number from 0 (not in the mean) to 1000000, not {0}")]
    Weight(f32),
    /// The strength is negative, too large or not finite.
    #[error("a circle's strength must be from 0 to {STRENGTH_MAX} rad/s, not {0}")]
    Strength(f64),
    /// The lag is beyond half a turn or not finite.
    #[error("a circle's lag must be from -π to π rad, not {0}")]
    Lag(f64),
}

/// Weights beyond this could swallow the others in a float's last bits.
const WEIGHT_MAX: f32 = 1e6;

impl Strength {
    /// `k` in rad/s from 0 to [`STRENGTH_MAX`], `lag` in rad from −π to π. Errors otherwise.
    pub fn new(k: f64, lag: f64) -> Result<Self, CouplingError> {
        if !(0.0..=STRENGTH_MAX).contains(&k) {
            return Err(CouplingError::Strength(k));
        }
        if !(-core::f64::consts::PI..=core::f64::consts::PI).contains(&lag) {
            return Err(CouplingError::Lag(lag));
        }
        Ok(Self { k, lag: lag.sin_cos() })
    }

    /// K, rad/s.
    pub const fn k(self) -> f64 {
        self.k
    }

    /// What turns a mean R·e^{iΨ} into X + iY such that K·R·sin(Ψ − θ + α) = Y·cos θ − X·sin θ.
    fn of(self, mean: Complex<f64>) -> Complex<f64> {
        mean * Complex::new(self.lag.1, self.lag.0) * self.k
    }
}

/// Errors on a coupling or weight out of range.
pub fn check(coupling: f32, weight: f32) -> Result<(), CouplingError> {
    if !(0.0..=1.0).contains(&coupling) {
        return Err(CouplingError::Coupling(coupling));
    }
    if !(0.0..=WEIGHT_MAX).contains(&weight) {
        return Err(CouplingError::Weight(weight));
    }
    Ok(())
}

impl Oscillator {
    /// θ, before any offset of the sleeper's.
    pub fn phase(&self) -> Phase {
        self.own + self.pulled
    }
}

/// The floats of [`LANES`] sleepers, 6 cache lines: what a stage costs with a million of them is memory's bandwidth.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block {
    /// θ at the beginning of the step, turns.
    start: Lanes,
    /// ω, turns a second.
    hz: Lanes,
    coupling: [f32; LANES],
    weight: [f32; LANES],
    /// Of θ at the stage under way.
    sin: Lanes,
    cos: Lanes,
    /// The stages' pulls so far, as Runge–Kutta weighs them, turns a second; after a step, the displacement in turns.
    pulled: Lanes,
}

const EMPTY: Block = Block {
    start: [0.0; LANES],
    hz: [0.0; LANES],
    coupling: [0.0; LANES],
    weight: [0.0; LANES],
    sin: [0.0; LANES],
    cos: [1.0; LANES],
    pulled: [0.0; LANES],
};

/// The integers of [`LANES`] sleepers.
#[derive(Clone, Copy, Debug)]
struct Exact {
    /// In 2⁻¹²⁸ turn.
    own: [u128; LANES],
    frequency: [Frequency; LANES],
    pulled: [PhaseOffset; LANES],
}

const NOBODY: Exact =
    Exact { own: [0; LANES], frequency: [Frequency::ZERO; LANES], pulled: [PhaseOffset::ZERO; LANES] };

/// Sleepers who share a field. Pure; time is an argument. Their order is that in which they were pushed.
#[derive(Clone, Debug, Default)]
pub struct Population {
    len: usize,
    exact: Vec<Exact>,
    blocks: Vec<Block>,
}

/// Sums over blocks, a lane each.
#[derive(Clone, Copy)]
struct Sums {
    cos: Lanes,
    sin: Lanes,
    weight: Lanes,
}

const ZERO: Sums = Sums { cos: [0.0; LANES], sin: [0.0; LANES], weight: [0.0; LANES] };

impl Sums {
    /// R·e^{iΨ}; 0 where nobody has weight.
    fn mean(&self) -> Complex<f64> {
        let sum = |lanes: &Lanes| lanes.iter().sum::<f64>();
        match sum(&self.weight) {
            weight if weight > 0.0 => Complex::new(sum(&self.cos), sum(&self.sin)) / weight,
            _ => Complex::default(),
        }
    }
}

impl Block {
    /// A step begins where the integers are.
    #[inline(always)]
    fn begin(&mut self, exact: &Exact, sums: &mut Sums) {
        for l in 0..LANES {
            let phase = ((exact.own[l] >> 64) as u64).wrapping_add(exact.pulled[l].bits() as u64);
            self.start[l] = phase as i64 as f64 * (1.0 / TURN);
        }
        self.pulled = [0.0; LANES];
        self.look(&self.start.clone(), sums);
    }

    #[inline(always)]
    fn stage(&mut self, field: Complex<f64>, share: f64, ahead: f64, sums: &mut Sums) {
        let mut turns = self.pull(field, share);
        for l in 0..LANES {
            turns[l] = (self.hz[l] + turns[l]).mul_add(ahead, self.start[l]);
        }
        self.look(&turns, sums);
    }

    #[inline(always)]
    fn look(&mut self, turns: &Lanes, sums: &mut Sums) {
        (self.sin, self.cos) = sin_cos(turns);
        for l in 0..LANES {
            let weight = f64::from(self.weight[l]);
            sums.cos[l] = weight.mul_add(self.cos[l], sums.cos[l]);
            sums.sin[l] = weight.mul_add(self.sin[l], sums.sin[l]);
            sums.weight[l] += weight;
        }
    }

    /// The slope that others cause here, turns a second; added to the sum of all stages'.
    #[inline(always)]
    fn pull(&mut self, field: Complex<f64>, share: f64) -> Lanes {
        let mut pull = [0.0; LANES];
        for l in 0..LANES {
            pull[l] = f64::from(self.coupling[l]) * field.im.mul_add(self.cos[l], -(field.re * self.sin[l]));
            self.pulled[l] = share.mul_add(pull[l], self.pulled[l]);
        }
        pull
    }
}

impl Population {
    /// Adds a sleeper. Errors on numbers out of range.
    pub fn push(&mut self, oscillator: Oscillator) -> Result<(), CouplingError> {
        check(oscillator.coupling, oscillator.weight)?;
        if self.len.is_multiple_of(LANES) {
            self.blocks.push(EMPTY);
            self.exact.push(NOBODY);
        }
        self.len += 1;
        self.write(self.len - 1, oscillator);
        Ok(())
    }

    /// Changes a sleeper between two steps. Errors on numbers out of range, and then nothing changed.
    ///
    /// Whatever changes but the phases themselves is continuous in phase.
    ///
    /// # Panics
    /// If there is no such sleeper.
    pub fn set(&mut self, index: usize, oscillator: Oscillator) -> Result<(), CouplingError> {
        check(oscillator.coupling, oscillator.weight)?;
        self.write(index, oscillator);
        Ok(())
    }

    fn write(&mut self, index: usize, oscillator: Oscillator) {
        let Oscillator { own, frequency, pulled, coupling, weight } = oscillator;
        let (exact, block, l) = (&mut self.exact[index / LANES], &mut self.blocks[index / LANES], index % LANES);
        // What lies below 2⁻⁶⁴ turn is kept where the phase is the same: it is what makes many small steps exact.
        if (exact.own[l] >> 64) as u64 != own.bits() {
            exact.own[l] = u128::from(own.bits()) << 64;
        }
        (exact.frequency[l], exact.pulled[l]) = (frequency, pulled);
        (block.hz[l], block.coupling[l], block.weight[l]) = (frequency.hz(), coupling, weight);
    }

    /// Removes a sleeper; the last one takes their place.
    ///
    /// # Panics
    /// If there is no such sleeper.
    pub fn swap_remove(&mut self, index: usize) {
        let last = self.get(self.len - 1);
        self.write(index, last);
        self.len -= 1;
        let (block, l) = (self.len / LANES, self.len % LANES);
        (self.blocks[block].coupling[l], self.blocks[block].weight[l]) = (0.0, 0.0);
        self.blocks.truncate(self.len.div_ceil(LANES));
        self.exact.truncate(self.len.div_ceil(LANES));
    }

    /// A sleeper as they stand.
    ///
    /// # Panics
    /// If there is no such sleeper.
    pub fn get(&self, index: usize) -> Oscillator {
        assert!(index < self.len, "there are {} sleepers, and none of number {index}", self.len);
        let (exact, block, l) = (&self.exact[index / LANES], &self.blocks[index / LANES], index % LANES);
        Oscillator {
            own: Phase::from_bits((exact.own[l] >> 64) as u64),
            frequency: exact.frequency[l],
            pulled: exact.pulled[l],
            coupling: block.coupling[l],
            weight: block.weight[l],
        }
    }

    /// How many sleepers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// R·e^{iΨ}: the weighted mean of all, 0 where nobody has weight. (`&mut self` only for scratch space.)
    pub fn mean(&mut self) -> Complex<f64> {
        Arch::new().dispatch(Begin { exact: &self.exact, blocks: &mut self.blocks }).mean()
    }

    /// Advances everybody by `span` in one step of Runge–Kutta: four means, one pass each. Does not allocate.
    ///
    /// Good for spans in which neither K nor the differences of frequencies come to more than about half a radian;
    /// [`Population::step_doubled`] says how good.
    pub fn step(&mut self, span: Span, strength: Strength) {
        self.steps(span, 1, strength);
    }

    /// Advances everybody by `count` steps of `span` each; returns the mean at the end. Does not allocate.
    pub fn steps(&mut self, span: Span, count: usize, strength: Strength) -> Complex<f64> {
        let field = |mean: Complex<f64>| strength.of(mean) / TAU;
        let h = span.as_s_f64();
        let mut mean = self.mean();
        for _ in 0..count {
            for (share, ahead) in [(1.0, h / 2.0), (2.0, h / 2.0), (2.0, h)] {
                let stage = Stage { blocks: &mut self.blocks, field: field(mean), share, ahead };
                mean = Arch::new().dispatch(stage).mean();
            }
            let end = End { exact: &mut self.exact, blocks: &mut self.blocks, span, field: field(mean) };
            mean = Arch::new().dispatch(end).mean();
        }
        mean
    }

    /// Advances everybody by `span` in two steps of half of it, takes the same way in one step, and returns the largest
    /// difference over 15, in turns: what the two steps err by, to leading order (Richardson).
    ///
    /// The halves' result is kept. Costs three steps, and a copy of the integers.
    pub fn step_doubled(&mut self, span: Span, strength: Strength) -> f64 {
        let before = self.exact.clone();
        self.step(span, strength);
        let whole = core::mem::replace(&mut self.exact, before);
        let half = Span::from_ns(span.ns() / 2);
        self.step(half, strength);
        self.step(span - half, strength);
        let pulled = |exact: &[Exact]| exact.iter().flat_map(|eight| eight.pulled).collect::<Vec<_>>();
        let differences =
            pulled(&self.exact).into_iter().zip(pulled(&whole)).map(|(fine, whole)| (fine + -whole).turns());
        differences.fold(0.0, |most, difference| difference.abs().max(most)) / 15.0
    }

    /// What the field does to somebody now, in rad/s: c·K·R·sin(Ψ − θ + α), given the mean of all.
    pub fn pull(&self, index: usize, strength: Strength, mean: Complex<f64>) -> f64 {
        let oscillator = self.get(index);
        let (sin, cos) = (oscillator.phase().turns() * TAU).sin_cos();
        let field = strength.of(mean);
        f64::from(oscillator.coupling) * (field.im * cos - field.re * sin)
    }
}

// The passes over memory. `dispatch` compiles each for every kind of vectors that a machine may have; closures would not
// be inlined into that.

/// Looks at the phases as the integers have them.
struct Begin<'a> {
    exact: &'a [Exact],
    blocks: &'a mut [Block],
}

impl WithSimd for Begin<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let mut sums = ZERO;
        for (block, exact) in self.blocks.iter_mut().zip(self.exact) {
            block.begin(exact, &mut sums);
        }
        sums
    }
}

/// From one stage's field to the next stage's phases, and what they sum to.
struct Stage<'a> {
    blocks: &'a mut [Block],
    /// What pulls, in turns a second: [`Strength::of`] the mean.
    field: Complex<f64>,
    /// What this stage's slope counts in the sum of all.
    share: f64,
    /// How far beyond the step's beginning the next stage lies, seconds.
    ahead: f64,
}

impl WithSimd for Stage<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let Self { blocks, field, share, ahead } = self;
        // Four runs through memory side by side: a processor fetches ahead in each, where one alone would leave it waiting.
        let quarter = blocks.len() / 4;
        let (a, rest) = blocks.split_at_mut(quarter);
        let (b, rest) = rest.split_at_mut(quarter);
        let (c, d) = rest.split_at_mut(quarter);
        let mut sums = ZERO;
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d.iter_mut()) {
            for block in [a, b, c, d] {
                block.stage(field, share, ahead, &mut sums);
            }
        }
        for block in &mut d[quarter..] {
            block.stage(field, share, ahead, &mut sums);
        }
        sums
    }
}

/// What was one's own goes on exactly; what others did is added, where anybody may; and the next step begins.
struct End<'a> {
    exact: &'a mut [Exact],
    blocks: &'a mut [Block],
    span: Span,
    field: Complex<f64>,
}

impl WithSimd for End<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let (span_ns, sixth) = (i128::from(self.span.ns()), self.span.as_s_f64() / 6.0 * TURN);
        let mut sums = ZERO;
        for (block, exact) in self.blocks.iter_mut().zip(self.exact.iter_mut()) {
            block.pull(self.field, 1.0);
            for l in 0..LANES {
                exact.own[l] = exact.own[l].wrapping_add(exact.frequency[l].units().wrapping_mul(span_ns) as u128);
                if block.coupling[l] != 0.0 {
                    exact.pulled[l] = exact.pulled[l] + PhaseOffset::from_bits((block.pulled[l] * sixth) as i64);
                }
            }
            block.begin(exact, &mut sums);
        }
        sums
    }
}
