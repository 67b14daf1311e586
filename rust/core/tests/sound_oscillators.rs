//! Sines against a float64 reference at the end of a night; noise that is the same wherever one starts.
use harmonia_core::oscillators::{Bank, Noise, Sine, NOISE_RMS, RUN_MAX};
use harmonia_core::phase::Phase;
use harmonia_core::program::NoiseColor;
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use proptest::prelude::*;

const NIGHT_S: i64 = 8 * 3600;

/// Adds a bank's sines to a run: with the machine's vectors, or without any.
type AddTo = fn(&mut Bank, &mut [f32]);

/// The worst error of any sample, in dB of the amplitude, of `seconds` of `hz` from `start` on.
fn worst_error_db(hz: u64, rate: u64, block: usize, seconds: f64, start: Span, add_to: AddTo) -> f64 {
    let rhythm =
        Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz as f64).unwrap()));
    let at = |sample: u64| {
        let ns = u128::from(sample) * 1_000_000_000;
        let (whole, rest) = (ns / u128::from(rate), ns % u128::from(rate));
        let fraction = (rest << 32) / u128::from(rate);
        rhythm.phase_at_fine(NodeTime::from_ns(0) + start + Span::from_ns(whole as i64), fraction as u32)
    };
    let one = Complex::new(1.0, 0.0);
    let mut bank = Bank::default();
    let (mut worst, mut sample, total) = (0.0f64, 0u64, (seconds * rate as f64) as u64);
    while sample < total {
        let mut out = [0.0f32; RUN_MAX];
        let (from, to) = (at(sample), at(sample + block as u64));
        let turns = hz as f64 * block as f64 / rate as f64;
        bank.clear();
        bank.push(from, Sine::step_between(from, to, turns, block), one, one, block);
        add_to(&mut bank, &mut out[..block]);
        for (i, y) in out[..block].iter().enumerate() {
            // A whole number of hertz makes a whole number of turns in a night: the reference needs no long phase.
            let place = (hz * (sample + i as u64)) % rate;
            let reference = (core::f64::consts::TAU * place as f64 / rate as f64).cos();
            worst = worst.max((f64::from(*y) - reference).abs());
        }
        sample += block as u64;
    }
    20.0 * worst.log10()
}

#[test]
fn a_sine_is_accurate_to_100_db_at_both_ends_of_a_night_with_vectors_and_without() {
    let ways: [(&str, AddTo); 2] = [("vectors", Bank::add_to), ("no vectors", Bank::add_to_scalar)];
    for (rate, (way, add_to)) in [44_100, 48_000].into_iter().flat_map(|rate| ways.map(|way| (rate, way))) {
        for hz in [20, 40, 59, 200, 1000, 8000] {
            for (block, start) in [64, 100, 256].into_iter().flat_map(|block| [0, NIGHT_S].map(|s| (block, s))) {
                let error = worst_error_db(hz, rate, block, 1.0, Span::from_s(start), add_to);
                assert!(
                    error <= -100.0,
                    "{hz} Hz at {rate} Hz in runs of {block} from {start} s, {way}: {error:.1} dB"
                );
            }
        }
    }
}

proptest! {
    /// Whatever vectors a machine has, it plays the same bits.
    #[test]
    fn vectors_give_the_same_bits_as_none(
        sines in prop::collection::vec((any::<u64>(), -(1i64 << 62)..1 << 62, -1.0f32..1.0, -1.0f32..1.0, any::<bool>()), 0..=64),
        samples in 1usize..=RUN_MAX, slow in 0i64..40,
    ) {
        let mut bank = Bank::default();
        for (phase, step, re, im, glides) in sines {
            let from = Complex::new(re, im);
            bank.push(Phase::from_bits(phase), step >> (slow % 20), from, if glides { from * 0.3 } else { from }, samples);
        }
        let (mut with, mut without) = ([0.25; RUN_MAX], [0.25; RUN_MAX]);
        bank.clone().add_to(&mut with[..samples]);
        bank.add_to_scalar(&mut without[..samples]);
        prop_assert_eq!(with.map(f32::to_bits), without.map(f32::to_bits));
    }

    #[test]
    fn a_bank_sounds_as_its_sines_do_one_by_one(
        sines in prop::collection::vec((any::<u64>(), 1.0f64..12_000.0, -1.0f32..1.0, -1.0f32..1.0), 1..=64),
        samples in 1usize..=RUN_MAX,
    ) {
        let (mut bank, mut alone) = (Bank::default(), [0.0f64; RUN_MAX]);
        for (phase, hz, re, im) in &sines {
            let (from, to) = (Complex::new(*re, *im), Complex::new(*im, 0.0));
            let (phase, step) = (Phase::from_bits(*phase), (hz / 48_000.0 * 2f64.powi(64)) as i64);
            bank.push(phase, step, from, to, samples);
            let mut out = [0.0; RUN_MAX];
            Sine { phase, step, from, to }.add_to(&mut out[..samples]);
            alone.iter_mut().zip(out).for_each(|(sum, y)| *sum += f64::from(y));
        }
        let mut out = [0.0; RUN_MAX];
        bank.add_to(&mut out[..samples]);
        for (sum, y) in alone.iter().zip(out) {
            prop_assert!((sum - f64::from(y)).abs() < 1e-4, "{} {}", sum, y);
        }
    }
}

#[test]
fn no_frequency_is_much_worse_than_another() {
    // Frequencies where 16 samples are close to half a turn or a whole one are the hardest for the recurrence.
    let hard = [1500, 3000, 4500, 6000, 9000].into_iter().flat_map(|hz| hz - 12..=hz + 12);
    for hz in (1..150).step_by(7).chain((150..12_000).step_by(373)).chain(hard) {
        let error = worst_error_db(hz, 48_000, RUN_MAX, 0.2, Span::from_s(NIGHT_S), Bank::add_to);
        assert!(error <= -98.0, "{hz} Hz: {error:.1} dB");
    }
}

#[test]
fn a_gliding_coefficient_is_linear_sample_by_sample() {
    let (from, to) = (Complex::new(0.2, -0.7), Complex::new(-1.0, 0.5));
    let (phase, step) = (Phase::from_bits(0x1234_5678_9abc_def0), (200.0 / 48_000.0 * 2f64.powi(64)) as i64);
    for samples in [1, 15, 16, 17, 33, 200, RUN_MAX] {
        let mut out = [0.0f32; RUN_MAX];
        Sine { phase, step, from, to }.add_to(&mut out[..samples]);
        for (i, y) in out[..samples].iter().enumerate() {
            let share = i as f64 / samples as f64;
            let m = Complex::new(f64::from(from.re), f64::from(from.im)) * (1.0 - share)
                + Complex::new(f64::from(to.re), f64::from(to.im)) * share;
            let p = core::f64::consts::TAU * (phase.turns() + i as f64 * 200.0 / 48_000.0);
            let reference = m.re * p.cos() - m.im * p.sin();
            assert!((f64::from(*y) - reference).abs() < 1e-5, "{samples}: {i}: {y} {reference}");
        }
        assert!(out[samples..].iter().all(|y| *y == 0.0), "nothing is written beyond the run");
    }
}

const RATE: u32 = 48_000;
const STEP: u64 = (1_000_000_000 << 32) / RATE as u64;

/// `samples` of noise at 48 kHz from grid sample `first` on (placed between two nanoseconds as a converter would).
fn noise(color: NoiseColor, seed: u64, first: i64, samples: usize) -> Vec<f32> {
    let at = (i128::from(first) * 1_000_000_000) << 32;
    let at = at.div_euclid(i128::from(RATE));
    let mut out = vec![0.0; samples];
    Noise::new(color, seed).fill(NodeTime::from_ns((at >> 32) as i64), at as u32, STEP, &mut out);
    out
}

const COLORS: [NoiseColor; 3] = [NoiseColor::White, NoiseColor::Pink, NoiseColor::Brown];

#[test]
fn noise_is_the_same_wherever_one_starts() {
    for color in COLORS {
        for origin in [0i64, -100_000, NIGHT_S * i64::from(RATE)] {
            let whole = noise(color, 7, origin, 100_000); // over several blocks
            for later in [1usize, 777, 32_767, 32_768, 32_769, 65_000] {
                let part = noise(color, 7, origin + later as i64, 1000);
                assert_eq!(part, whole[later..later + 1000], "{color:?} from {origin} + {later}");
            }
        }
    }
}

#[test]
fn noise_goes_on_over_jumps_and_small_blocks() {
    for color in COLORS {
        let whole = noise(color, 3, 0, 200_000);
        let mut source = Noise::new(color, 3);
        for first in [0usize, 64, 128, 40_000, 190_000, 10, 74] {
            let at = ((first as u128 * 1_000_000_000) << 32).div_ceil(u128::from(RATE));
            let mut out = [0.0; 64];
            source.fill(NodeTime::from_ns((at >> 32) as i64), at as u32, STEP, &mut out);
            assert_eq!(out, whole[first..first + 64], "{color:?} at {first}");
        }
    }
}

#[test]
fn seams_between_blocks_are_inaudible() {
    // Had the filters run on from the block before, they would hardly have got anywhere else: without a seam, pink and
    // brown noise move no further there than anywhere else.
    for color in [NoiseColor::Pink, NoiseColor::Brown] {
        let x = noise(color, 5, 0, 8 * 32_768);
        let moves = |at: usize| (x[at] - x[at - 1]).abs();
        let largest = (1..x.len()).filter(|at| at % 32_768 != 0).map(moves).fold(0.0, f32::max);
        for seam in (32_768..x.len()).step_by(32_768) {
            assert!(moves(seam) <= largest, "{color:?} at {seam}");
        }
    }
}

#[test]
fn all_colors_are_equally_strong_and_never_exceed_one() {
    for color in COLORS {
        let x = noise(color, 11, 0, 1_000_000);
        let rms = (x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64).sqrt();
        assert!((20.0 * (rms / f64::from(NOISE_RMS)).log10()).abs() < 0.5, "{color:?}: {rms}");
        assert!(x.iter().all(|x| x.abs() <= 1.0));
    }
}

/// The mean power spectral density around `hz`, from Hann-windowed segments.
fn density(x: &[f32], hz: f64) -> f64 {
    const SEGMENT: usize = 8192;
    let mut power = 0.0;
    let mut count = 0.0;
    for segment in x.chunks_exact(SEGMENT) {
        for bin in -2..=2 {
            let f = hz * (1.0 + 0.03 * f64::from(bin)) / f64::from(RATE);
            let (mut re, mut im) = (0.0, 0.0);
            for (i, x) in segment.iter().enumerate() {
                let window = 0.5 - 0.5 * (core::f64::consts::TAU * i as f64 / SEGMENT as f64).cos();
                let (sin, cos) = (core::f64::consts::TAU * f * i as f64).sin_cos();
                re += window * f64::from(*x) * cos;
                im += window * f64::from(*x) * sin;
            }
            power += re * re + im * im;
            count += 1.0;
        }
    }
    power / count
}

#[test]
fn colors_fall_by_nothing_by_three_and_by_six_db_an_octave() {
    for (color, slope) in [(NoiseColor::White, 0.0), (NoiseColor::Pink, -3.01), (NoiseColor::Brown, -6.02)] {
        let x = noise(color, 1, 0, 64 * 8192);
        let (low, high) = (density(&x, 125.0), density(&x, 4000.0)); // five octaves
        let measured = 10.0 * (high / low).log10() / 5.0;
        assert!((measured - slope).abs() < 0.35, "{color:?}: {measured:.2} dB an octave");
    }
}

#[test]
fn sources_of_other_seeds_have_nothing_in_common() {
    for color in COLORS {
        let (a, b) = (noise(color, 1, 0, 200_000), noise(color, 2, 0, 200_000));
        let product: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / a.len() as f64;
        let correlation = product / f64::from(NOISE_RMS * NOISE_RMS);
        assert!(correlation.abs() < 0.1, "{color:?}: {correlation}");
    }
}

#[test]
fn another_sample_rate_hears_the_same_pink_noise() {
    let reference = noise(NoiseColor::Pink, 9, 0, 48_000);
    let mut other = vec![0.0; 44_100];
    let step = (1_000_000_000u64 << 32) / 44_100;
    Noise::new(NoiseColor::Pink, 9).fill(NodeTime::from_ns(0), 0, step, &mut other);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (i, x) in other.iter().enumerate() {
        let y = reference[(i * 480 + 220) / 441];
        xy += f64::from(x * y);
        xx += f64::from(x * x);
        yy += f64::from(y * y);
    }
    assert!(xy / (xx * yy).sqrt() > 0.9, "{}", xy / (xx * yy).sqrt());
}
