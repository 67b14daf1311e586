//! Mixes that want to hurt: whatever comes, what leaves is finite, below the ceiling, and below −1 dB between samples.
//!
//! Each mix is a few hundred samples of a renderer that goes on from the mix before it, so that whatever one leaves
//! behind meets the next: coefficients that are no numbers, denormal or 10³⁰, offsets that jump, voices that come and
//! go at once, ceilings anywhere, scores with steps, gates that change their mind, in blocks of 64 to 256 samples. The meter is written here and shares
//! nothing with the core: 16 times oversampling by a Kaiser-windowed sinc of 64 taps (−100 dB in the stop band).
//!
//! `HARMONIA_MIXES=1000000 cargo test --release -p harmonia-core --test sound_adversarial` is the whole million; a slice
//! of it, with a seed of its own (`HARMONIA_SEED`), is part of the tests.
use std::sync::Arc;

use harmonia_core::envelope::Envelope;
use harmonia_core::limiter::TRUE_PEAK_MAX;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{
    Beat, Channel, Curve, Ear, Ears, Hiss, Hissing, NoiseColor, Program, Shape, Shaped, Shift, Strike, Wave,
    CHANNELS_MAX,
};
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::spectrum::Spectrum;
use harmonia_core::stem::{Pcm, Stem};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

const RATE: u32 = 48_000;
/// Mixes that one renderer lives for.
const LIFE: u64 = 48;
const OVER: usize = 16;
const REACH: usize = 32;

/// Deep noise, the hardest to keep: few lines that may meet.
fn deep() -> Arc<Spectrum> {
    let levels: [f64; 32] = core::array::from_fn(|i| if i < 4 { 24.0 } else { -24.0 });
    Arc::new(Spectrum::drawn(&levels).unwrap())
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        self.next() as f64 / 2f64.powi(64)
    }

    fn part(&mut self) -> f32 {
        const WILD: [f32; 10] =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MAX, 1e-40, -1e-45, -0.0, 1e7];
        match self.below(10) {
            0 => WILD[self.below(10) as usize],
            1 => f32::from_bits(self.next() as u32),
            2 => 0.0,
            3 => 30.0 * (self.share() as f32 - 0.5),
            _ => 2.0 * self.share() as f32 - 1.0,
        }
    }

    fn voice(&mut self, channels: usize) -> Vec<Complex<f32>> {
        // Now and then too few, or more than there are channels.
        let given = match self.below(8) {
            0 => self.below(channels as u64 + 3) as usize,
            _ => channels,
        };
        (0..given).map(|_| Complex::new(self.part(), self.part())).collect()
    }

    fn rhythm(&mut self, lowest_hz: f64, octaves: f64) -> Rhythm {
        let hz = lowest_hz * (octaves * self.share()).exp2();
        let origin = NodeTime::from_ns(0);
        Rhythm::new(Segment::constant(origin, Phase::from_bits(self.next()), Frequency::from_hz(hz).unwrap()))
    }

    fn shift(&mut self) -> Shift {
        let shape = [Shape::Sine, Shape::Square, Shape::Triangle][self.below(3) as usize];
        Shift::new(Arc::new(Envelope::shape(shape)), Arc::new(Envelope::cosine(self.share())))
    }

    fn channel(&mut self) -> Channel {
        let ears = [Ears::Both, Ears::Sum, Ears::Lead(Ear::Left), Ears::Lead(Ear::Right)][self.below(4) as usize];
        let wave = match self.below(14) {
            0 => Wave::Tone,
            1 => Wave::Binaural { lead: Ear::Left },
            2 => Wave::Binaural { lead: Ear::Right },
            3 => Wave::Isochronic,
            4 => Wave::Noise(NoiseColor::White),
            5 => Wave::Noise(NoiseColor::Pink),
            6 => Wave::Noise(NoiseColor::Brown),
            7 => Wave::Spin(NoiseColor::Pink),
            8 => Wave::Bell((0..3).map(|i| Strike { at: NodeTime::from_ns(i * 40_000_000), amplitude: 0.9 }).collect()),
            9 => {
                // Some recordings hold a number that no microphone ever said.
                let absurd = [0.0, 0.0, 1e20, f32::MAX][self.below(4) as usize];
                let sample = |x: f64, i: usize| if i == 99 { absurd } else { x as f32 - 0.5 };
                let mut music = || (0..4_800).map(|i| sample(self.share(), i)).collect();
                let pcm = Pcm::new(RATE, music(), music()).unwrap();
                let mut stem = Stem::new(Some(Arc::new(pcm)), NodeTime::from_ns(0), Some(Span::from_ms(50)));
                if self.below(2) == 0 {
                    stem.shift_apart(self.shift());
                }
                Wave::Stem(Arc::new(stem))
            }
            10 => Wave::Shaped(Arc::new(Shaped { shape: Shape::Sine, ears, envelope: None })),
            11 | 12 => {
                let hissing = match self.below(4) {
                    0 => Hissing::Steady,
                    1 => Hissing::Pulse(Arc::new(Envelope::standard())),
                    2 => Hissing::Swing(Arc::new(Envelope::shape(Shape::Triangle))),
                    _ => Hissing::Shift(self.shift()),
                };
                Wave::Hiss(Arc::new(Hiss { spectrum: deep(), hissing }))
            }
            _ => {
                let shape = [Shape::Square, Shape::Triangle, Shape::Sawtooth][self.below(3) as usize];
                Wave::Shaped(Arc::new(Shaped { shape, ears, envelope: None }))
            }
        };
        let locked = Beat::Locked(1 + self.below(5) as u32);
        let beat = if self.below(2) == 0 { locked } else { Beat::Free(self.rhythm(0.1, 8.0)) };
        // A score's amplitudes are checked when it is read; but for what is no number, which is silence here, too.
        let amplitude = if self.below(16) == 0 { f32::NAN } else { self.share() as f32 };
        // Steps in the score: from one amplitude to another within a nanosecond.
        let points = (0..4).map(|i| {
            (NodeTime::from_ns(i * 40_000_000 + i % 2), if i / 2 == 0 { amplitude } else { self.share() as f32 })
        });
        let amplitude = Curve::new(points.collect());
        Channel { wave, carrier: self.rhythm(20.0, 9.9), beat, amplitude }
    }
}

/// The kernel for each sixteenth of a sample: a sinc under a Kaiser window of β = 10.
fn kernels() -> Vec<[f32; 2 * REACH]> {
    let bessel = |x: f64| {
        (1..40)
            .fold((1.0, 1.0), |(sum, term), k| {
                let term = term * (x / 2.0 / f64::from(k)).powi(2);
                (sum + term, term)
            })
            .0
    };
    let pi = core::f64::consts::PI;
    (0..OVER)
        .map(|part| {
            core::array::from_fn(|tap| {
                // The tap's distance from the point between samples REACH − 1 and REACH.
                let d = tap as f64 - (REACH as f64 - 1.0) - part as f64 / OVER as f64;
                let sinc = if d == 0.0 { 1.0 } else { (pi * d).sin() / (pi * d) };
                let edge = (1.0 - (d / REACH as f64).powi(2)).max(0.0).sqrt();
                (sinc * bessel(10.0 * edge) / bessel(10.0)) as f32
            })
        })
        .collect()
}

/// The largest magnitude of the curve through `x`, but for its first and last REACH samples.
fn true_peak(x: &[f32], kernels: &[[f32; 2 * REACH]]) -> f32 {
    let mut peak = 0.0f32;
    for window in x.windows(2 * REACH) {
        for kernel in kernels {
            let lanes = window.chunks_exact(8).zip(kernel.chunks_exact(8)).fold([0.0f32; 8], |mut sums, (x, k)| {
                for lane in 0..8 {
                    sums[lane] += x[lane] * k[lane];
                }
                sums
            });
            peak = peak.max(lanes.iter().sum::<f32>().abs());
        }
    }
    peak
}

struct Worst {
    true_peak: f32,
    loud: u64,
    dropped: u64,
}

fn torment(mixes: u64, seed: u64) -> Worst {
    let kernels = kernels();
    let mut worst = Worst { true_peak: 0.0, loud: 0, dropped: 0 };
    let mut done = 0;
    let mut life = 0;
    while done < mixes {
        life += 1;
        let mut chance = Chance(seed.wrapping_add(life << 20));
        let channels = 1 + chance.below(if life.is_multiple_of(64) { CHANNELS_MAX as u64 } else { 7 }) as usize;
        let program = Program {
            epoch: NodeTime::from_ns(0),
            duration: (chance.below(3) == 0).then_some(Span::from_ms(130)),
            rhythm: chance.rhythm(0.1, 8.0),
            channels: (0..channels).map(|_| chance.channel()).collect(),
        };
        let rhythm = program.rhythm.clone();
        // A gate that is open from the first sample lets the loudest through; a person's begins in the quiet.
        let program = Arc::new(program);
        let renderer = if life % 4 == 0 { Renderer::new(program, RATE) } else { Renderer::offline(program, RATE) };
        let mut renderer = renderer.unwrap();
        let mut clock = BlockClock::nominal(NodeTime::from_ns(-1_000_000), RATE);
        // The end of what was heard, for the curve that leads from one mix to the next. The step with which a file
        // begins is the file's.
        let mut heard: [Vec<f32>; 2] = Default::default();
        let (mut own, mut others) = (chance.voice(channels), chance.voice(channels));
        let (mut ceiling, mut offset) = (1.0f32, PhaseOffset::ZERO);
        // The ceilings so far, newest last, and for how many samples each held.
        let mut ceilings: Vec<(f32, usize)> = Vec::new();
        for _ in 0..LIFE.min(mixes - done) {
            done += 1;
            if chance.below(3) == 0 {
                own = chance.voice(channels);
            }
            if chance.below(2) == 0 {
                others = chance.voice(channels);
            }
            if chance.below(4) == 0 {
                offset = PhaseOffset::from_bits(chance.next() as i64);
            }
            if chance.below(12) == 0 {
                ceiling = if chance.below(3) == 0 { chance.part() } else { chance.share() as f32 };
            }
            let samples = 64 + chance.below(193) as usize;
            let input = Targets {
                others: &others,
                own: &own,
                others_glide: Span::from_ns(chance.below(60_000_000) as i64 + 8_000_000),
                offset,
                ceiling,
                gate_open: chance.below(24) != 0,
                limit: true,
            };
            let (mut left, mut right) = ([0.0; 256], [0.0; 256]);
            let (left, right) = (&mut left[..samples], &mut right[..samples]);
            renderer.render(clock, &rhythm, &input, left, right);
            clock = clock.after(samples);
            let allowed = if ceiling.is_nan() { 0.0 } else { ceiling.clamp(0.0, TRUE_PEAK_MAX) };
            // A lower ceiling has 8 ms: until then, those before it hold.
            let mut ago = 0;
            let recent = ceilings.iter().rev().take_while(|(_, samples)| {
                ago += samples;
                ago - samples < 384
            });
            let held = recent.fold(allowed, |most, (ceiling, _)| most.max(*ceiling));
            ceilings.push((allowed, samples));
            for (ear, heard) in [&*left, &*right].into_iter().zip(&mut heard) {
                assert!(ear.iter().all(|x| x.is_finite()), "seed {seed}, life {life}: not finite");
                let loudest = ear.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                worst.loud += u64::from(loudest > 0.3);
                assert!(loudest <= held, "seed {seed}, life {life}: {loudest} above the ceiling {held}");
                heard.extend_from_slice(ear);
                let peak = true_peak(heard, &kernels);
                worst.true_peak = worst.true_peak.max(peak);
                let least_db = 20.0 * peak.log10();
                assert!(least_db <= -1.0, "seed {seed}, life {life}: {least_db} dBTP");
                heard.drain(..heard.len().saturating_sub(2 * REACH - 1));
            }
        }
        worst.dropped += renderer.dropped();
    }
    worst
}

#[test]
fn whatever_is_mixed_it_is_finite_below_the_ceiling_and_below_minus_one_db_between_samples() {
    // How long the campaign is, is its command's to say; the mixes follow from the seed alone.
    #[allow(clippy::disallowed_methods)]
    let of = |name: &str, unset: u64| std::env::var(name).map_or(unset, |text| text.parse().expect("a whole number"));
    let (mixes, seed) = (of("HARMONIA_MIXES", 4_000), of("HARMONIA_SEED", 1));
    let worst = torment(mixes, seed);
    println!(
        "{mixes} mixes, seed {seed}: {:.3} dBTP at most, {} blocks louder than -10 dB, {} voices dropped",
        20.0 * worst.true_peak.log10(),
        worst.loud,
        worst.dropped
    );
    assert!(worst.loud > mixes / 10 && worst.dropped > mixes / 50, "the mixes were harmless");
}

/// The meter itself: crests that lie between samples are found to 0.02 dB, wherever they lie.
#[test]
fn the_meter_finds_crests_between_samples() {
    let kernels = kernels();
    for (hz, turn) in [(997.0, 0.0), (6_000.0, 0.11), (12_000.0, 0.125), (16_000.0, 0.3), (19_000.0, 0.2)] {
        let at = |i: u32| core::f64::consts::TAU * (turn + hz * f64::from(i) / f64::from(RATE));
        let x: Vec<f32> = (0..4_000).map(|i| at(i).cos() as f32).collect();
        let off_db = 20.0 * true_peak(&x, &kernels).log10();
        assert!(off_db.abs() < 0.05, "{hz} Hz: {off_db} dB");
    }
}
