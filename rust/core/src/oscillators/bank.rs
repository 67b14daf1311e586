//! Many sines at once, each re-seeded from an exact phase: the kernel in which a night is spent.
//!
//! An oscillator that keeps a float phase, or rotates a float vector, drifts: unseeded for 43 s it is wrong by 5 %.
//! Calling `sin` for every sample is exact and slow. Here time is cut into runs of at most [`RUN_MAX`] samples, and each
//! run begins anew from the exact integer phase of the rhythm, so that the last run of a night is as good as its first.
//! Within a run, sample i of Re[m·e^{2πi(p + i·s)}] obeys
//!
//! ```text
//! y[i + L] = 2 cos(2π·L·s) · y[i] − y[i − L]
//! ```
//!
//! for any L: one fused multiplication and subtraction a sample. With L = 1 this is known to be noisy at low frequencies;
//! with L = [`LANES`] samples computed side by side it is L times better conditioned and needs few steps (16 in the
//! longest run). Errors grow with the square of the number of steps, so a sine that advances by less than
//! [`SLOW_TURNS`] a sample, where the recurrence is at its worst, is re-seeded every [`SLOW_RUN_MAX`] samples.
//!
//! Left to itself a sum of sines is bound by memory: each would read and write every sample of the output. So eight of
//! them (four on machines of 16 registers) go through time together, all their states in registers, and the output is
//! read and written once for all. The first 2·L samples of each cost as much as the 16 steps after them: a polynomial
//! for cos and one for sin over the lanes, and for the second L the same two with the coefficient turned by L steps.
//! What a sine needs only once (that turn, and the recurrence's factor, in f64: near a whole half-turn its last bits
//! count) is computed with sines side by side instead of samples.
//!
//! A coefficient that glides makes y = Re[(m + i·d)·e^…] = Re[m·e^…] + i·Re[d·e^…]: a second set of recurrences, whose
//! sum is multiplied by i once for all sines.
//!
//! Every operation is rounded as IEEE 754 says, fused ones included, and the order is fixed; so the bits are the same with
//! vectors of sixteen, of eight, of four or of one. Nothing here allocates.
// A lane goes through several arrays at once, and reads as one number where its index stands at each of them.
#![allow(clippy::needless_range_loop)]

use num_complex::Complex;
use pulp::bytemuck::{cast, Pod};
use pulp::{Arch, Scalar, Simd, WithSimd};

use crate::phase::Phase;

/// How many samples the recurrence advances at once.
pub const LANES: usize = 16;
/// The longest run, in samples.
pub const RUN_MAX: usize = 256;
/// The longest run of a slow sine, in samples.
pub const SLOW_RUN_MAX: usize = 64;
/// Below this advance a sample, in turns, a sine is slow: 150 Hz at 44.1 kHz.
pub const SLOW_TURNS: f64 = 150.0 / 44_100.0;
/// The most sines in a bank.
pub const SINES_MAX: usize = 64;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64
/// Sines that go through time together.
const TOGETHER: usize = 8;
/// Room for sines of no amplitude that fill the last eight.
const ROOM: usize = SINES_MAX + TOGETHER;

/// A number for each of [`LANES`] samples.
type Lanes = [f32; LANES];
/// A number for each sine.
type Each<T> = [T; ROOM];

/// Sines over one run, whose coefficients go linearly from one value to another.
#[derive(Clone, Debug)]
pub struct Bank {
    len: usize,
    phase: Each<u64>,
    step: Each<i64>,
    m: Coefficients,
    slope: Coefficients,
}

/// A complex number for each sine.
#[derive(Clone, Debug)]
pub(crate) struct Coefficients {
    pub(crate) re: Each<f32>,
    pub(crate) im: Each<f32>,
}

impl Coefficients {
    const ZERO: Self = Self { re: [0.0; ROOM], im: [0.0; ROOM] };

    pub(crate) fn get(&self, index: usize) -> Complex<f32> {
        Complex::new(self.re[index], self.im[index])
    }

    fn set(&mut self, index: usize, value: Complex<f32>) {
        (self.re[index], self.im[index]) = (value.re, value.im);
    }
}

impl Default for Bank {
    fn default() -> Self {
        Self { len: 0, phase: [0; ROOM], step: [0; ROOM], m: Coefficients::ZERO, slope: Coefficients::ZERO }
    }
}

/// What a renderer writes into a bank for a run: an entry for each of `len` sines.
pub(crate) struct Fill<'a> {
    /// The phase at the first sample, in 2⁻⁶⁴ turn.
    pub(crate) phase: &'a mut [u64],
    /// What the phase advances a sample, in 2⁻⁶⁴ turn.
    pub(crate) step: &'a mut [i64],
    /// The coefficient at the first sample.
    pub(crate) m: &'a mut Coefficients,
    /// What it changes by in a sample.
    pub(crate) slope: &'a mut Coefficients,
}

impl Bank {
    /// Takes out all sines. Realtime-safe.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a sine whose phase goes from `phase` by `step` · 2⁻⁶⁴ turn a sample, and whose coefficient goes from `from` to
    /// `to` in `samples`. Realtime-safe.
    ///
    /// # Panics
    /// If there are [`SINES_MAX`] already.
    pub fn push(&mut self, phase: Phase, step: i64, from: Complex<f32>, to: Complex<f32>, samples: usize) {
        let k = self.len;
        assert!(k < SINES_MAX, "a bank has at most {SINES_MAX} sines");
        (self.phase[k], self.step[k]) = (phase.bits(), step);
        self.m.set(k, from);
        self.slope.set(k, (to - from) / samples.max(1) as f32);
        self.len += 1;
    }

    /// Makes it a bank of `len` sines, for all of which the caller writes everything.
    pub(crate) fn fill(&mut self, len: usize) -> Fill<'_> {
        assert!(len <= SINES_MAX, "a bank has at most {SINES_MAX} sines");
        self.len = len;
        Fill { phase: &mut self.phase[..len], step: &mut self.step[..len], m: &mut self.m, slope: &mut self.slope }
    }

    /// The phase of sine `k` at the first sample and what it advances a sample, in 2⁻⁶⁴ turn.
    pub(crate) fn motion(&self, k: usize) -> (u64, i64) {
        (self.phase[k], self.step[k])
    }

    /// Adds the sum of all sines to `out`, a run of at most [`RUN_MAX`] samples. Realtime-safe.
    pub fn add_to(&mut self, out: &mut [f32]) {
        Arch::new().dispatch(Sum { bank: self, out });
    }

    /// The same without vectors, whatever the machine has. The same bits; for tests, and slow.
    pub fn add_to_scalar(&mut self, out: &mut [f32]) {
        Sum { bank: self, out }.with_simd(Scalar);
    }

    fn is_heard(&self, k: usize) -> bool {
        (self.m.re[k] != 0.0) | (self.m.im[k] != 0.0) | (self.slope.re[k] != 0.0) | (self.slope.im[k] != 0.0)
    }

    fn is_slow(&self, k: usize) -> bool {
        self.step[k].unsigned_abs() < (SLOW_TURNS * TURN) as u64
    }

    /// Those that come to more than nothing and are slow or not, and some of no amplitude to make fours of them.
    #[inline(always)]
    fn select(&self, slow: bool) -> Selection {
        let mut selection = Selection { len: 0, index: [self.len as u8; ROOM] };
        for k in 0..self.len {
            selection.index[selection.len] = k as u8;
            selection.len += usize::from(self.is_heard(k) & (self.is_slow(k) == slow));
        }
        selection.index[selection.len] = self.len as u8;
        selection.len = selection.len.next_multiple_of(4);
        selection
    }
}

/// Some of a bank's sines, a multiple of four.
struct Selection {
    len: usize,
    index: Each<u8>,
}

struct Sum<'a> {
    bank: &'a mut Bank,
    out: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { bank, out } = self;
        debug_assert!(out.len() <= RUN_MAX);
        // The sine of no amplitude.
        bank.m.set(bank.len, Complex::default());
        bank.slope.set(bank.len, Complex::default());
        let gliding = (0..bank.len).fold(0.0f32, |sum, k| sum + bank.slope.re[k].abs() + bank.slope.im[k].abs()) != 0.0;
        let turns = Turns::new(bank);
        let fast = bank.select(false);
        if fast.len > 0 {
            turns.add_to(simd, bank, &fast, 0, gliding, out);
        }
        let slow = bank.select(true);
        if slow.len > 0 {
            for (i, part) in out.chunks_mut(SLOW_RUN_MAX).enumerate() {
                turns.add_to(simd, bank, &slow, i * SLOW_RUN_MAX, gliding, part);
            }
        }
    }
}

/// e^{2πi·L·s} and what follows from it, sines side by side.
#[repr(align(64))]
struct Turns {
    step: Each<u32>,
    twice_cos: Each<f32>,
    cos: Each<f32>,
    sin: Each<f32>,
}

impl Turns {
    #[inline(always)]
    fn new(bank: &Bank) -> Self {
        let mut turns = Self { step: [0; ROOM], twice_cos: [0.0; ROOM], cos: [0.0; ROOM], sin: [0.0; ROOM] };
        for k in 0..(bank.len + 1).next_multiple_of(TOGETHER).min(ROOM) {
            let step = bank.step[k] as u64;
            // Rounding the step costs at most 15 · 2⁻³³ turn at the last seed.
            turns.step[k] = (step.wrapping_add(1 << 31) >> 32) as u32;
            let (flip, x) = within_quarter((step.wrapping_mul(LANES as u64) >> 32) as u32);
            let (x, sign) = (f64::from(x) * UNIT, f64::from(flip as i32).mul_add(4.0 * UNIT, 1.0));
            let u = x * x;
            let (cos, sin) = (polynomial_64(&COS_64, u) * sign, polynomial_64(&SIN_64, u) * x * sign);
            turns.twice_cos[k] = (2.0 * cos) as f32;
            (turns.cos[k], turns.sin[k]) = (cos as f32, sin as f32);
        }
        turns
    }

    /// Adds those selected to `out`, which begins `after` samples into the run.
    #[inline(always)]
    fn add_to<S: Simd>(
        &self,
        simd: S,
        bank: &Bank,
        selection: &Selection,
        after: usize,
        gliding: bool,
        out: &mut [f32],
    ) {
        let (groups, rest) = out.as_chunks_mut::<LANES>();
        let whole = groups.len();
        let mut extra = [[0.0; LANES]; RUN_MAX / LANES];
        // What is no multiple of the lanes is computed beside, and added.
        let groups = if rest.is_empty() { groups } else { &mut extra[..whole + 1] };
        self.advance(simd, bank, &bank.m, selection, after, groups);
        if gliding {
            let mut slopes = [[0.0; LANES]; RUN_MAX / LANES];
            let slopes = &mut slopes[..groups.len()];
            self.advance(simd, bank, &bank.slope, selection, after, slopes);
            for (g, (group, slope)) in groups.iter_mut().zip(slopes).enumerate() {
                for l in 0..LANES {
                    group[l] = slope[l].mul_add((after + g * LANES + l) as f32, group[l]);
                }
            }
        }
        if !rest.is_empty() {
            out.iter_mut().zip(extra.as_flattened()).for_each(|(out, x)| *out += x);
        }
    }

    #[inline(always)]
    fn advance<S: Simd>(
        &self,
        simd: S,
        bank: &Bank,
        m: &Coefficients,
        selection: &Selection,
        after: usize,
        out: &mut [Lanes],
    ) {
        let mut seeds = Seeds::ZERO;
        for eight in selection.index[..selection.len].chunks(TOGETHER) {
            for (j, k) in eight.iter().enumerate() {
                let k = usize::from(*k);
                let phase = bank.phase[k].wrapping_add((bank.step[k] as u64).wrapping_mul(after as u64));
                let turned = Complex::new(
                    m.re[k].mul_add(self.cos[k], -(m.im[k] * self.sin[k])),
                    m.re[k].mul_add(self.sin[k], m.im[k] * self.cos[k]),
                );
                seeds.twice_cos[j] = self.twice_cos[k];
                seed((phase >> 32) as u32, self.step[k], m.get(k), turned, &mut seeds.older[j], &mut seeds.newer[j]);
            }
            match (S::F32_LANES, eight.len()) {
                (16, 8) => seeds.advance::<S, [S::f32s; 1], 8>(simd, 0, out),
                (16, _) => seeds.advance::<S, [S::f32s; 1], 4>(simd, 0, out),
                (8, len) => (0..len).step_by(4).for_each(|j| seeds.advance::<S, [S::f32s; 2], 4>(simd, j, out)),
                (4, len) => (0..len).step_by(4).for_each(|j| seeds.advance::<S, [S::f32s; 4], 4>(simd, j, out)),
                (_, len) => (0..len).step_by(4).for_each(|j| seeds.advance::<S, [S::f32s; 16], 4>(simd, j, out)),
            }
        }
    }
}

/// The first two groups of samples of [`TOGETHER`] sines, and the factors that all later ones follow from.
#[repr(align(64))]
struct Seeds {
    older: [Lanes; TOGETHER],
    newer: [Lanes; TOGETHER],
    twice_cos: [f32; TOGETHER],
}

impl Seeds {
    const ZERO: Self =
        Self { older: [[0.0; LANES]; TOGETHER], newer: [[0.0; LANES]; TOGETHER], twice_cos: [0.0; TOGETHER] };

    /// Takes `N` sines from `first` on through all of `out`; `G` is the vectors that make up [`Lanes`].
    #[inline(always)]
    fn advance<S: Simd, G: Pod + AsRef<[S::f32s]> + AsMut<[S::f32s]>, const N: usize>(
        &self,
        simd: S,
        first: usize,
        out: &mut [Lanes],
    ) {
        for v in 0..LANES / S::F32_LANES {
            let of = |lanes: &Lanes| cast::<Lanes, G>(*lanes).as_ref()[v];
            let mut a: [S::f32s; N] = core::array::from_fn(|j| of(&self.older[first + j]));
            let mut b: [S::f32s; N] = core::array::from_fn(|j| of(&self.newer[first + j]));
            let c: [S::f32s; N] = core::array::from_fn(|j| simd.splat_f32s(self.twice_cos[first + j]));
            let (pairs, last) = out.as_chunks_mut::<2>();
            for [even, odd] in pairs {
                add::<S, G, N>(simd, &a, v, even);
                for j in 0..N {
                    a[j] = simd.mul_add_f32s(c[j], b[j], simd.neg_f32s(a[j]));
                }
                add::<S, G, N>(simd, &b, v, odd);
                for j in 0..N {
                    b[j] = simd.mul_add_f32s(c[j], a[j], simd.neg_f32s(b[j]));
                }
            }
            last.iter_mut().for_each(|group| add::<S, G, N>(simd, &a, v, group));
        }
    }
}

/// Adds the sum of `y` to vector `v` of `group`.
#[inline(always)]
fn add<S: Simd, G: Pod + AsRef<[S::f32s]> + AsMut<[S::f32s]>, const N: usize>(
    simd: S,
    y: &[S::f32s; N],
    v: usize,
    group: &mut Lanes,
) {
    let mut vectors: G = cast(*group);
    let sum = &mut vectors.as_mut()[v];
    // By fours, so that machines that can only hold four sines round alike.
    for j in (0..N).step_by(4) {
        let four = simd.add_f32s(simd.add_f32s(y[j], y[j + 1]), simd.add_f32s(y[j + 2], y[j + 3]));
        *sum = simd.add_f32s(*sum, four);
    }
    *group = cast(vectors);
}

/// Samples 0 to L − 1 of a sine into `older`, and L to 2·L − 1 into `newer`, given m and m·e^{2πi·L·s}.
#[inline(always)]
fn seed(start: u32, step: u32, m: Complex<f32>, turned: Complex<f32>, older: &mut Lanes, newer: &mut Lanes) {
    for l in 0..LANES {
        let (flip, x) = within_quarter(start.wrapping_add(step.wrapping_mul(l as u32)));
        let x = x as f32 * UNIT as f32;
        let u = x * x;
        let (cos, sin) = (polynomial(&COS, u), polynomial(&SIN, u) * x);
        older[l] = f32::from_bits(m.re.mul_add(cos, -(m.im * sin)).to_bits() ^ flip);
        newer[l] = f32::from_bits(turned.re.mul_add(cos, -(turned.im * sin)).to_bits() ^ flip);
    }
}

/// 2⁻³² turn, in turns.
const UNIT: f64 = 1.0 / 4_294_967_296.0;

/// `phase` · 2⁻³² turn as the nearest half turn, which flips the signs of sine and cosine or (0) does not, and the
/// rest, from −¼ to ¼ turn.
#[inline(always)]
fn within_quarter(phase: u32) -> (u32, i32) {
    let flip = phase.wrapping_add(1 << 30) & 0x8000_0000;
    (flip, (phase ^ flip) as i32)
}

/// sin 2πx = x·P(x²) on −¼ … ¼, minimax; errs by 7e-9 before the coefficients are rounded to f32.
const SIN: [f32; 5] = [6.283_185_3, -41.341_68, 81.602_486, -76.581_4, 39.761_616];
/// cos 2πx = Q(x²), by 5e-8.
const COS: [f32; 5] = [0.999_999_95, -19.739_172, 64.934_59, -85.240_33, 56.242_38];
/// The same to 3e-11.
const SIN_64: [f64; 6] = [
    6.283_185_307_072_89,
    -41.341_702_117_247_95,
    81.605_226_238_535_35,
    -76.704_282_765_560_72,
    42.009_832_134_222_81,
    -14.394_304_389_136_588,
];
/// The same to 1e-12.
const COS_64: [f64; 7] = [
    0.999_999_999_999_251_4,
    -19.739_208_801_003_752,
    64.939_393_721_416_27,
    -85.456_788_232_746_03,
    60.243_313_498_235_35,
    -26.394_972_690_586_247,
    7.536_728_437_865_638,
];

#[inline(always)]
fn polynomial(coefficients: &[f32; 5], u: f32) -> f32 {
    let [a, b, c, d, e] = *coefficients;
    e.mul_add(u, d).mul_add(u, c).mul_add(u, b).mul_add(u, a)
}

#[inline(always)]
fn polynomial_64<const N: usize>(coefficients: &[f64; N], u: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum.mul_add(u, *coefficient))
}
