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
//! Where many banks hold the same sines and differ in the coefficients alone, cos and sin over the lanes are computed once
//! for all ([`Starts`]).
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

/// The same in 2⁻⁶⁴ turn.
const SLOW_STEP: u64 = (SLOW_TURNS * 18_446_744_073_709_551_616.0) as u64;
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
    sines: Sines,
    work: Work,
}

#[derive(Clone, Debug)]
struct Sines {
    len: usize,
    phase: Each<u64>,
    step: Each<i64>,
    m: Coefficients,
    slope: Coefficients,
    /// Whether any slope is more than nothing.
    gliding: bool,
}

/// Room to work in, so that none has to be cleared for each run.
#[derive(Clone, Debug)]
struct Work {
    turns: Turns,
    turned: Coefficients,
    seeds: Seeds,
}

/// e^{2πi(p + l·s)} over the first lanes of a run, of those sines with which many banks begin it.
#[derive(Clone, Debug)]
pub(crate) struct Starts {
    /// Real and imaginary parts.
    lanes: [[Lanes; 2]; SINES_MAX],
    /// Which sines are known, a bit each.
    known: u64,
}

impl Starts {
    /// Forgets all, and learns those sines that are so chosen. Realtime-safe.
    pub(crate) fn learn(&mut self, chosen: u64, phase: &[u64], step: &[i64]) {
        Arch::new().dispatch(Learn { starts: self, chosen, phase, step });
    }

    /// cos and sin of sine `k`, if they are known.
    #[inline(always)]
    fn of(&self, k: usize) -> Option<&[Lanes; 2]> {
        if k < SINES_MAX && self.known >> k & 1 != 0 {
            Some(&self.lanes[k])
        } else {
            None
        }
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self { lanes: [[[0.0; LANES]; 2]; SINES_MAX], known: 0 }
    }
}

struct Learn<'a> {
    starts: &'a mut Starts,
    chosen: u64,
    phase: &'a [u64],
    step: &'a [i64],
}

impl WithSimd for Learn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { starts, chosen, phase, step } = self;
        starts.known = chosen;
        for k in (0..phase.len().min(step.len()).min(SINES_MAX)).filter(|k| chosen >> k & 1 != 0) {
            for l in 0..LANES {
                [starts.lanes[k][0][l], starts.lanes[k][1][l]] = at_lane(phase[k], whole_step(step[k]), l);
            }
        }
    }
}

/// A step in 2⁻³² turn. Rounding costs at most 15 · 2⁻³³ turn at the last seed.
#[inline(always)]
fn whole_step(step: i64) -> u32 {
    ((step as u64).wrapping_add(1 << 31) >> 32) as u32
}

/// e^{2πi(p + l·s)} of a phase p in 2⁻⁶⁴ turn and a step s in 2⁻³².
#[inline(always)]
fn at_lane(phase: u64, step: u32, l: usize) -> [f32; 2] {
    let (flip, x) = within_quarter(((phase >> 32) as u32).wrapping_add(step.wrapping_mul(l as u32)));
    let x = x as f32 * UNIT as f32;
    let u = x * x;
    [polynomial(&COS, u), polynomial(&SIN, u) * x].map(|part| f32::from_bits(part.to_bits() ^ flip))
}

/// A complex number for each sine.
#[derive(Clone, Debug)]
pub(crate) struct Coefficients {
    pub(crate) re: Each<f32>,
    pub(crate) im: Each<f32>,
}

impl Coefficients {
    const ZERO: Self = Self { re: [0.0; ROOM], im: [0.0; ROOM] };

    fn set(&mut self, index: usize, value: Complex<f32>) {
        (self.re[index], self.im[index]) = (value.re, value.im);
    }
}

impl Default for Bank {
    fn default() -> Self {
        let none = [0.0; ROOM];
        Self {
            sines: Sines {
                len: 0,
                phase: [0; ROOM],
                step: [0; ROOM],
                m: Coefficients::ZERO,
                slope: Coefficients::ZERO,
                gliding: false,
            },
            work: Work {
                turns: Turns { step: [0; ROOM], twice_cos: none, cos: none, sin: none },
                turned: Coefficients::ZERO,
                seeds: Seeds {
                    older: [[0.0; LANES]; TOGETHER],
                    newer: [[0.0; LANES]; TOGETHER],
                    twice_cos: [0.0; TOGETHER],
                },
            },
        }
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
        (self.sines.len, self.sines.gliding) = (0, false);
    }

    /// Adds a sine whose phase goes from `phase` by `step` · 2⁻⁶⁴ turn a sample, and whose coefficient goes from `from` to
    /// `to` in `samples`. Realtime-safe.
    ///
    /// # Panics
    /// If there are [`SINES_MAX`] already.
    pub fn push(&mut self, phase: Phase, step: i64, from: Complex<f32>, to: Complex<f32>, samples: usize) {
        let sines = &mut self.sines;
        let k = sines.len;
        assert!(k < SINES_MAX, "a bank has at most {SINES_MAX} sines");
        (sines.phase[k], sines.step[k]) = (phase.bits(), step);
        sines.m.set(k, from);
        sines.slope.set(k, (to - from) / samples.max(1) as f32);
        sines.gliding |= to != from;
        sines.len += 1;
    }

    /// Makes it a bank of `len` sines, for all of which the caller writes everything; if they are not `gliding`, all but
    /// the slopes.
    pub(crate) fn fill(&mut self, len: usize, gliding: bool) -> Fill<'_> {
        assert!(len <= SINES_MAX, "a bank has at most {SINES_MAX} sines");
        let sines = &mut self.sines;
        (sines.len, sines.gliding) = (len, gliding);
        let Sines { phase, step, m, slope, .. } = sines;
        Fill { phase: &mut phase[..len], step: &mut step[..len], m, slope }
    }

    /// The phase of sine `k` at the first sample and what it advances a sample, in 2⁻⁶⁴ turn.
    pub(crate) fn motion(&self, k: usize) -> (u64, i64) {
        (self.sines.phase[k], self.sines.step[k])
    }

    /// Adds the sum of all sines to `out`, a run of at most [`RUN_MAX`] samples. Realtime-safe.
    #[inline(never)]
    pub fn add_to(&mut self, out: &mut [f32]) {
        Arch::new().dispatch(Sum { bank: self, out, starts: None, fresh: false });
    }

    /// Writes the sum of all sines to `out`; `starts` holds what is known of them. Realtime-safe.
    #[inline(never)]
    pub(crate) fn write_to(&mut self, out: &mut [f32], starts: Option<&Starts>) {
        Arch::new().dispatch(Sum { bank: self, out, starts, fresh: true });
    }

    /// The same without vectors, whatever the machine has. The same bits; for tests, and slow.
    pub fn add_to_scalar(&mut self, out: &mut [f32]) {
        Sum { bank: self, out, starts: None, fresh: false }.with_simd(Scalar);
    }
}

impl Sines {
    /// Whether none begins at nothing and none is slow, as usual.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        let (mut slow, mut silent) = (0, 0);
        for k in 0..self.len.min(ROOM) {
            slow |= u64::from(self.step[k].unsigned_abs() < SLOW_STEP);
        }
        for k in 0..self.len.min(ROOM) {
            silent |= u32::from((self.m.re[k] == 0.0) & (self.m.im[k] == 0.0));
        }
        slow == 0 && silent == 0
    }

    /// Those that come to more than nothing and are slow or not, and some of no amplitude to make fours of them.
    #[inline(always)]
    fn select(&self, slow: bool) -> Selection {
        let mut selection = Selection { len: 0, index: [self.len as u8; ROOM] };
        for k in 0..self.len {
            let slope = if self.gliding { [self.slope.re[k], self.slope.im[k]] } else { [0.0; 2] };
            let heard = [self.m.re[k], self.m.im[k]] != [0.0; 2] || slope != [0.0; 2];
            if heard && (self.step[k].unsigned_abs() < SLOW_STEP) == slow {
                selection.index[selection.len] = k as u8;
                selection.len += 1;
            }
        }
        selection.len = selection.len.next_multiple_of(4);
        selection
    }
}

/// Some of a bank's sines, a multiple of four.
struct Selection {
    len: usize,
    index: Each<u8>,
}

impl Selection {
    #[inline(always)]
    fn indices(&self) -> &[u8] {
        &self.index[..self.len]
    }
}

/// All sines, as a selection.
static EACH: Each<u8> = {
    let (mut index, mut k) = ([0; ROOM], 0);
    while k < ROOM {
        index[k] = k as u8;
        k += 1;
    }
    index
};

struct Sum<'a> {
    bank: &'a mut Bank,
    out: &'a mut [f32],
    starts: Option<&'a Starts>,
    /// Whether `out` is to be cleared first.
    fresh: bool,
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { bank: Bank { sines, work }, out, starts, fresh } = self;
        debug_assert!(out.len() <= RUN_MAX);
        for i in 0..if fresh { out.len() } else { 0 } {
            out[i] = 0.0;
        }
        // Sines of no amplitude, to make fours of the others.
        for k in sines.len..sines.len + 4 {
            sines.m.set(k, Complex::default());
            sines.slope.set(k, Complex::default());
        }
        work.turns.turn(sines);
        if sines.is_plain() {
            work.add_to(simd, sines, starts, &EACH[..sines.len.next_multiple_of(4)], 0, out);
            return;
        }
        let fast = sines.select(false);
        if fast.len > 0 {
            work.add_to(simd, sines, starts, fast.indices(), 0, out);
        }
        let slow = sines.select(true);
        if slow.len > 0 {
            for (i, part) in out.chunks_mut(SLOW_RUN_MAX).enumerate() {
                let starts = if i == 0 { starts } else { None };
                work.add_to(simd, sines, starts, slow.indices(), i * SLOW_RUN_MAX, part);
            }
        }
    }
}

/// e^{2πi·L·s} and what follows from it, sines side by side.
#[derive(Clone, Debug)]
struct Turns {
    step: Each<u32>,
    twice_cos: Each<f32>,
    cos: Each<f32>,
    sin: Each<f32>,
}

impl Turns {
    #[inline(always)]
    fn turn(&mut self, sines: &Sines) {
        for k in 0..sines.len.next_multiple_of(TOGETHER).min(ROOM) {
            let step = sines.step[k] as u64;
            self.step[k] = whole_step(sines.step[k]);
            let (flip, x) = within_quarter((step.wrapping_mul(LANES as u64) >> 32) as u32);
            let (x, sign) = (f64::from(x) * UNIT, f64::from(flip as i32).mul_add(4.0 * UNIT, 1.0));
            let u = x * x;
            let (cos, sin) = (polynomial_64(&COS_64, u) * sign, polynomial_64(&SIN_64, u) * x * sign);
            self.twice_cos[k] = (2.0 * cos) as f32;
            (self.cos[k], self.sin[k]) = (cos as f32, sin as f32);
        }
    }
}

impl Work {
    /// Adds those selected to `out`, which begins `after` samples into the run.
    #[inline(always)]
    fn add_to<S: Simd>(
        &mut self,
        simd: S,
        sines: &Sines,
        starts: Option<&Starts>,
        selection: &[u8],
        after: usize,
        out: &mut [f32],
    ) {
        let (groups, rest) = out.as_chunks_mut::<LANES>();
        if rest.is_empty() {
            self.add_groups(simd, sines, starts, selection, after, groups);
        } else {
            // What is no multiple of the lanes is computed beside, and added.
            let mut beside = [[0.0; LANES]; RUN_MAX / LANES];
            let groups = groups.len() + 1;
            self.add_groups(simd, sines, starts, selection, after, &mut beside[..groups]);
            let beside = beside.as_flattened();
            for i in 0..out.len() {
                out[i] += beside[i];
            }
        }
    }

    #[inline(always)]
    fn add_groups<S: Simd>(
        &mut self,
        simd: S,
        sines: &Sines,
        starts: Option<&Starts>,
        selection: &[u8],
        after: usize,
        groups: &mut [Lanes],
    ) {
        self.advance(simd, sines, starts, &sines.m, selection, after, groups);
        if sines.gliding {
            let mut slopes = [[0.0; LANES]; RUN_MAX / LANES];
            let slopes = &mut slopes[..groups.len()];
            self.advance(simd, sines, starts, &sines.slope, selection, after, slopes);
            let (groups, slopes) = (groups.as_flattened_mut(), slopes.as_flattened());
            for i in 0..groups.len().min(slopes.len()) {
                groups[i] = slopes[i].mul_add((after + i) as i32 as f32, groups[i]);
            }
        }
    }

    // In one struct, some of them cost a sixth of the speed.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn advance<S: Simd>(
        &mut self,
        simd: S,
        sines: &Sines,
        starts: Option<&Starts>,
        m: &Coefficients,
        selection: &[u8],
        after: usize,
        out: &mut [Lanes],
    ) {
        let Self { turns, turned, seeds } = self;
        for k in 0..sines.len.next_multiple_of(TOGETHER).min(ROOM) {
            turned.re[k] = m.re[k].mul_add(turns.cos[k], -(m.im[k] * turns.sin[k]));
            turned.im[k] = m.re[k].mul_add(turns.sin[k], m.im[k] * turns.cos[k]);
        }
        for k in sines.len..sines.len + 4 {
            (turned.re[k], turned.im[k]) = (0.0, 0.0);
        }
        for eight in selection.chunks(TOGETHER) {
            for j in 0..eight.len() {
                let k = usize::from(eight[j]);
                let (re, im, turned_re, turned_im) = (m.re[k], m.im[k], turned.re[k], turned.im[k]);
                seeds.twice_cos[j] = turns.twice_cos[k];
                let (older, newer) = (&mut seeds.older[j], &mut seeds.newer[j]);
                let known = match starts {
                    Some(starts) => starts.of(k),
                    None => None,
                };
                if let Some([cos, sin]) = known {
                    for l in 0..LANES {
                        older[l] = re.mul_add(cos[l], -(im * sin[l]));
                        newer[l] = turned_re.mul_add(cos[l], -(turned_im * sin[l]));
                    }
                } else {
                    let (phase, step) =
                        (sines.phase[k].wrapping_add((sines.step[k] as u64).wrapping_mul(after as u64)), turns.step[k]);
                    for l in 0..LANES {
                        let [cos, sin] = at_lane(phase, step, l);
                        older[l] = re.mul_add(cos, -(im * sin));
                        newer[l] = turned_re.mul_add(cos, -(turned_im * sin));
                    }
                }
            }
            match (S::F32_LANES, eight.len()) {
                (16, 8) => seeds.advance::<S, [S::f32s; 1], 8>(simd, 0, out),
                (16, _) => seeds.advance::<S, [S::f32s; 1], 4>(simd, 0, out),
                (lanes, len) => {
                    for j in (0..len).step_by(4) {
                        match lanes {
                            8 => seeds.advance::<S, [S::f32s; 2], 4>(simd, j, out),
                            4 => seeds.advance::<S, [S::f32s; 4], 4>(simd, j, out),
                            _ => seeds.advance::<S, [S::f32s; 16], 4>(simd, j, out),
                        }
                    }
                }
            }
        }
    }
}

/// The first two groups of samples of [`TOGETHER`] sines, and the factors that all later ones follow from.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Seeds {
    older: [Lanes; TOGETHER],
    newer: [Lanes; TOGETHER],
    twice_cos: [f32; TOGETHER],
}

impl Seeds {
    /// Takes `N` sines from `first` on through all of `out`; `G` is the vectors that make up [`Lanes`].
    #[inline(always)]
    fn advance<S: Simd, G: Pod + AsRef<[S::f32s]> + AsMut<[S::f32s]>, const N: usize>(
        &self,
        simd: S,
        first: usize,
        out: &mut [Lanes],
    ) {
        for v in 0..LANES / S::F32_LANES {
            // Closures would not be inlined into the vectorised function.
            let (mut a, mut b, mut c) =
                ([simd.splat_f32s(0.0); N], [simd.splat_f32s(0.0); N], [simd.splat_f32s(0.0); N]);
            for j in 0..N {
                a[j] = cast::<Lanes, G>(self.older[first + j]).as_ref()[v];
                b[j] = cast::<Lanes, G>(self.newer[first + j]).as_ref()[v];
                c[j] = simd.splat_f32s(self.twice_cos[first + j]);
            }
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
            for group in last {
                add::<S, G, N>(simd, &a, v, group);
            }
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
const SIN: [f32; 5] = [core::f32::consts::TAU, -41.341_68, 81.602_486, -76.581_4, 39.761_616];
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
    let mut sum = coefficients[N - 1];
    for k in (0..N - 1).rev() {
        sum = sum.mul_add(u, coefficients[k]);
    }
    sum
}
