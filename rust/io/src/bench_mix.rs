//! What synthesis costs: sine-samples a second of CPU time, of the kernel alone, of whole personal mixes, and beside the
//! processor's own peak of multiplications and additions.
//!
//! The sleepers are those that a woven circle has: one score, whose carriers glide; a rhythm of everybody's own, which glides
//! too; and offsets, and coefficients of which no two are alike. Limiter and gate are in the path.
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use harmonia_core::oscillators::{Bank, RUN_MAX, SINES_MAX};
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, Program, Wave};
use harmonia_core::renderer::{Batch, BlockClock, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use pulp::{Arch, Simd, WithSimd};

use crate::error::IoError;
use crate::os;

/// The converter's rate.
pub const RATE: u32 = 48_000;
/// Binaural channels of a mix: two sines each.
pub const CHANNELS: usize = 32;
/// Samples that are rendered at once.
pub const BLOCK: usize = 512;
/// Sleepers whose block is rendered, and would be sent off, at once: what they hear fits a core's own cache.
pub const TOGETHER: usize = 100;

/// Work, and its CPU time on this thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Done {
    /// Sine-samples, or multiplications with an addition.
    pub count: u64,
    /// CPU time of this thread.
    pub cpu_ns: i64,
}

/// Repeats `work`, which says how much it did, for about `duration` of CPU time, at least once.
fn repeat(duration: Duration, mut work: impl FnMut() -> u64) -> Done {
    let begin = os::this_thread_cpu_ns();
    let mut done = Done::default();
    while done.count == 0 || done.cpu_ns < duration.as_nanos() as i64 {
        done.count += work();
        done.cpu_ns = os::this_thread_cpu_ns() - begin;
    }
    done
}

/// Independent chains of fused multiplications and additions in registers: what the core can do at most.
pub fn multiply_add(duration: Duration) -> Done {
    struct Chains;
    impl WithSimd for Chains {
        type Output = u64;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> u64 {
            const CHAINS: usize = 12;
            const STEPS: usize = 100_000;
            let mut x = [simd.splat_f32s(0.5); CHAINS];
            let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
            for _ in 0..STEPS {
                for x in &mut x {
                    *x = simd.mul_add_f32s(*x, a, b);
                }
            }
            black_box(&x);
            (CHAINS * STEPS * S::F32_LANES) as u64
        }
    }
    repeat(duration, || Arch::new().dispatch(Chains))
}

/// The kernel alone: 64 sines of 256 samples, re-seeded for each.
pub fn kernel(duration: Duration) -> Done {
    let mut bank = Bank::default();
    for k in 0..SINES_MAX {
        let m = Complex::from_polar(0.01, k as f32);
        let step = ((170.0 + 17.0 * k as f64) / f64::from(RATE) * 2f64.powi(64)) as i64;
        bank.push(Phase::from_bits((k as u64) << 57), step, m, m, RUN_MAX);
    }
    let mut out = [0.0f32; RUN_MAX];
    repeat(duration, || {
        const RUNS: usize = 200;
        for _ in 0..RUNS {
            black_box(&mut bank).add_to(&mut out);
        }
        black_box(&out);
        (RUNS * SINES_MAX * RUN_MAX) as u64
    })
}

/// Sleepers of one circle that are rendered for as long as anybody wants.
pub struct MixBench {
    batches: Vec<Batch>,
    rhythms: Vec<Rhythm>,
    own: Vec<Complex<f32>>,
    others: [Vec<Complex<f32>>; 2],
    offsets: Vec<PhaseOffset>,
    clock: BlockClock,
    out: Vec<f32>,
    blocks: usize,
}

impl MixBench {
    /// `sleepers`, each with a rhythm, offset and coefficients of their own. Errors never, with usual numbers.
    pub fn new(sleepers: usize) -> Result<Self, IoError> {
        let refused = || IoError::State("a usual frequency was refused");
        let glide = |from_hz: f64, to_hz: f64, phase: u64| -> Result<Rhythm, IoError> {
            let [from, to] = [from_hz, to_hz].map(|hz| Frequency::from_hz(hz).map_err(|_| refused()));
            let (start, over) = (NodeTime::from_ns(0), Span::from_s(1800));
            let segment = Segment::ramp(start, Phase::from_bits(phase), from?, to?, over).map_err(|_| refused())?;
            Ok(Rhythm::new(segment))
        };
        let channels = (0..CHANNELS)
            .map(|k| {
                let (hz, lead) = (170.0 + 17.0 * k as f64, if k % 2 == 0 { Ear::Left } else { Ear::Right });
                let carrier = glide(hz, hz + 20.0 + k as f64, (k as u64) << 58)?;
                let (beat, amplitude) = (Beat::Locked(1 + k as u32 % 3), Curve::constant(0.02));
                Ok(Channel { wave: Wave::Binaural { lead }, carrier, beat, amplitude })
            })
            .collect::<Result<_, IoError>>()?;
        let program = Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: glide(4.0, 5.0, 0)?, channels };
        let program = Arc::new(program);
        let batches = (0..sleepers).step_by(TOGETHER).map(|first| {
            let together = TOGETHER.min(sleepers - first);
            Batch::offline(Arc::clone(&program), RATE, together).map_err(|_| IoError::SampleRate(RATE))
        });
        // The golden ratio's multiples fill the circle evenly.
        let spread = |i: usize| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let rhythms = (0..sleepers).map(|i| {
            let hz = 4.0 + (i % 1_009) as f64 / 1_009.0;
            glide(hz, hz + 2.0 - (i % 811) as f64 / 200.0, spread(i))
        });
        let coefficients = |level: f32, salt: usize| -> Vec<Complex<f32>> {
            let angle = |i: usize| (spread(i * 3 + salt) >> 40) as f32;
            (0..sleepers * CHANNELS)
                .map(|i| Complex::from_polar(level * (1.0 + (i % 7) as f32) / 8.0, angle(i)))
                .collect()
        };
        Ok(Self {
            batches: batches.collect::<Result<_, _>>()?,
            rhythms: rhythms.collect::<Result<_, _>>()?,
            own: coefficients(1.0, 0),
            others: [coefficients(0.3, 1), coefficients(0.3, 2)],
            offsets: (0..sleepers).map(|i| PhaseOffset::from_bits(spread(i + 5) as i64)).collect(),
            clock: BlockClock::nominal(NodeTime::from_ns(1_000_000), RATE),
            out: vec![0.0; TOGETHER * 2 * BLOCK],
            blocks: 0,
        })
    }

    /// Renders blocks for about `duration` of CPU time, at least one: sine-samples. `gliding`: every coefficient is on its
    /// way all the time, as when a frame arrives before the last one's glide is over.
    pub fn run(&mut self, duration: Duration, gliding: bool) -> Done {
        let Self { batches, rhythms, own, others, offsets, clock, out, blocks } = self;
        let sleepers = rhythms.len();
        repeat(duration, || {
            let others = if gliding { &others[*blocks % 2] } else { &others[0] };
            for (group, batch) in batches.iter_mut().enumerate() {
                let targets = |i: usize| {
                    let i = group * TOGETHER + i;
                    let channels = i * CHANNELS..(i + 1) * CHANNELS;
                    let targets = Targets {
                        others: &others[channels.clone()],
                        own: &own[channels],
                        others_glide: Span::from_ms(250),
                        offset: offsets[i],
                        ceiling: 1.0,
                        gate_open: true,
                        limit: true,
                    };
                    (&rhythms[i], targets)
                };
                let len = batch.len() * 2 * BLOCK;
                batch.render(*clock, BLOCK, targets, &mut out[..len]);
                black_box(&out);
            }
            *clock = clock.after(BLOCK);
            *blocks += 1;
            (2 * CHANNELS * BLOCK * sleepers) as u64
        })
    }

    /// The last block of those rendered last, ([`TOGETHER`] or fewer, 2, [`BLOCK`]).
    pub fn out(&self) -> &[f32] {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_was_computed() {
        for done in [multiply_add(Duration::ZERO), kernel(Duration::ZERO)] {
            assert!(done.count > 0 && done.cpu_ns > 0, "{done:?}");
        }
        let mut bench = MixBench::new(3).unwrap();
        for gliding in [false, true] {
            let done = bench.run(Duration::ZERO, gliding);
            assert_eq!(done.count, 3 * 64 * BLOCK as u64);
        }
        let ears: Vec<_> = bench.out().chunks(BLOCK).take(6).collect();
        for (i, ear) in ears.iter().enumerate() {
            assert!(ear.iter().any(|x| x.abs() > 1e-3), "ear {i} is silent");
            assert!(ears[..i].iter().all(|other| other != ear), "no two hear the same");
        }
    }
}
