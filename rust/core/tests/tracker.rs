//! The laws of phase tracking, on signals whose phase is known because they were made from it.
use harmonia_core::tracker::{Estimate, Estimator, LiveTracker, Tracker, TrackerError};
use harmonia_core::units::{PlatformTime, Span};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::f64::consts::TAU;

/// A small generator of our own: the same numbers on every machine.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A breath whose pace and depth wander, over noise: its samples, and its phase in turns.
fn breath(seed: u64, rate_hz: f64, seconds: f64) -> (Vec<f64>, Vec<f64>) {
    let mut noise = Noise(seed * 2 + 1);
    let (mut phase, mut pace, mut depth, mut drift) = (0.0, 0.0, 0.0, 0.0);
    let slow = (-1.0 / (8.0 * rate_hz)).exp();
    let kick = (1.0 - slow * slow).sqrt();
    (0..(seconds * rate_hz) as usize)
        .map(|_| {
            pace = slow * pace + kick * noise.normal();
            depth = slow * depth + kick * noise.normal();
            drift += 0.02 * noise.normal() / rate_hz.sqrt();
            phase += 0.25 * (0.12 * pace).exp() / rate_hz;
            let wave = (0.25 * depth).exp() * ((TAU * phase).cos() + 0.1 * (2.0 * TAU * phase).sin());
            (wave + 0.05 * noise.normal() + drift, phase)
        })
        .unzip()
}

fn feed(tracker: &mut Tracker, samples: &[f64]) -> Vec<Estimate> {
    samples.iter().map(|&sample| tracker.push(sample)).collect()
}

fn track(samples: &[f64], rate_hz: f64, estimator: Estimator) -> Vec<Estimate> {
    feed(&mut Tracker::new(0.1, 0.5, rate_hz, estimator).unwrap(), samples)
}

/// Resultant length of the errors.
fn resultant(found: &[Estimate], phases: &[f64]) -> f64 {
    let errors = found.iter().zip(phases).map(|(one, phase)| TAU * (one.phase_turns - phase));
    let (cos, sin) = errors.fold((0.0, 0.0), |(c, s), error| (c + error.cos(), s + error.sin()));
    (cos / found.len() as f64).hypot(sin / found.len() as f64)
}

#[test]
fn a_steady_wave_is_tracked_to_four_degrees_after_a_minute_at_every_rate() {
    for (rate_hz, hz) in [(4.0, 0.21), (25.0, 0.33), (125.0, 0.15), (512.0, 0.25)] {
        let wave: Vec<f64> = (0..(90.0 * rate_hz) as usize).map(|i| (TAU * hz * i as f64 / rate_hz).cos()).collect();
        let found = track(&wave, rate_hz, Estimator::Predictor);
        for (i, one) in found.iter().enumerate().skip((60.0 * rate_hz) as usize) {
            let error = (one.phase_turns - hz * i as f64 / rate_hz + 0.5).rem_euclid(1.0) - 0.5;
            assert!(error.abs() < 4.0 / 360.0, "{rate_hz} Hz, sample {i}: {} degrees", error * 360.0);
            assert!((one.frequency_hz / hz - 1.0).abs() < 0.01, "{rate_hz} Hz, sample {i}: {} Hz", one.frequency_hz);
            assert!(one.confidence > 0.98, "{}", one.confidence);
        }
    }
}

#[test]
fn a_living_wave_is_tracked_better_than_by_every_other_estimator() {
    for seed in 0..3 {
        for rate_hz in [25.0, 128.0] {
            let (samples, phases) = breath(seed, rate_hz, 300.0);
            let since = (60.0 * rate_hz) as usize;
            let score = |estimator| resultant(&track(&samples, rate_hz, estimator)[since..], &phases[since..]);
            let ours = score(Estimator::Predictor);
            assert!(ours > 0.97, "seed {seed}, {rate_hz} Hz: {ours}");
            for other in [Estimator::EndCorrected, Estimator::Hilbert, Estimator::Loop] {
                assert!(score(other) < ours - 0.01, "seed {seed}, {rate_hz} Hz: {}", other.name());
            }
        }
    }
}

#[test]
fn a_drop_out_costs_confidence_and_not_the_phase_behind_it() {
    let (clean, phases) = breath(5, 25.0, 200.0);
    let begin = 100 * 25;
    for (what, fill) in [("missing", f64::NAN), ("flat", clean[begin]), ("absurd", 1e18)] {
        let mut samples = clean.clone();
        samples[begin..begin + 20 * 25].fill(fill);
        let found = track(&samples, 25.0, Estimator::Predictor);
        let at = |second: usize| found[second * 25].confidence;
        assert!(at(99) > 0.8, "{what}: {}", at(99));
        assert!((105..120).all(|second| at(second) == 0.0), "{what}: sure of nothing");
        assert!(at(126) > 0.5, "{what}: {}", at(126));
        // One beat into the gap the phase has gone on as it went; soon after it, it is measured again.
        assert!(resultant(&found[begin..begin + 50], &phases[begin..begin + 50]) > 0.9, "{what}");
        assert!(resultant(&found[124 * 25..], &phases[124 * 25..]) > 0.97, "{what}");
    }
}

#[test]
fn pops_and_bursts_are_no_rhythm() {
    let (clean, phases) = breath(6, 25.0, 300.0);
    let mut samples = clean.clone();
    let mut noise = Noise(3);
    for begin in (80..280).step_by(25) {
        let height = 60.0 * (noise.uniform() + 0.5);
        samples[begin * 25..].iter_mut().for_each(|sample| *sample += height); // it stays there
        samples[(begin + 10) * 25..(begin + 12) * 25].iter_mut().for_each(|sample| *sample += 500.0 * noise.normal());
    }
    let found = track(&samples, 25.0, Estimator::Predictor);
    for begin in (80..280).step_by(25) {
        assert!(found[(begin + 12) * 25 - 1].confidence < 0.4, "sure after two seconds of noise");
    }
    let sure: (Vec<_>, Vec<_>) =
        found.iter().zip(&phases).skip(60 * 25).filter(|(one, _)| one.confidence > 0.8).unzip();
    assert!(sure.0.len() > 80 * 25, "sure of {} samples", sure.0.len());
    assert!(resultant(&sure.0, &sure.1) > 0.95);
}

/// At the beginning, where nothing is known of the signal's scale, or later; one sample, or for a hundred cycles; louder or
/// softer by any factor. In cycles at the lower corner until the estimate is trusted by half, and stays so.
#[test]
fn an_artefact_of_any_size_and_length_is_survived_within_eighty_cycles() {
    for (rate_hz, lo_hz, hi_hz) in [(2.0, 0.05f64, 0.06), (4.0, 0.1, 0.5), (20.0, 0.5, 2.0)] {
        let cycle = rate_hz / lo_hz;
        for (begin, cycles) in
            [(0.0, 0.0), (0.0, 1.0), (0.0, 20.0), (1.0, 0.0), (40.0, 20.0), (40.0, 40.0), (40.0, 100.0)]
        {
            let (begin, len) = ((begin * cycle) as usize, ((cycles * cycle) as usize).max(1));
            for size in [1e-310, 1e-6, 10.0, 100.0, 1e4, 1e14] {
                let (mut tracker, mut noise) =
                    (Tracker::new(lo_hz, hi_hz, rate_hz, Estimator::Predictor).unwrap(), Noise(7));
                let mut doubted = 0;
                for i in 0..begin + len + (80.0 * cycle) as usize {
                    let artefact = (begin..begin + len).contains(&i);
                    let tone = (TAU * (lo_hz * hi_hz).sqrt() * i as f64 / rate_hz).cos();
                    let one = tracker.push(if artefact { size * (1.0 + 0.1 * noise.normal()) } else { tone });
                    doubted = if one.confidence < 0.5 { i } else { doubted };
                }
                let within = (doubted as f64 - (begin + len) as f64) / cycle;
                let may = if size < 1e3 { 79.0 } else { 45.0 };
                assert!(within < may, "{lo_hz}-{hi_hz} Hz, {size} for {cycles} cycles from {begin}: {within} cycles");
            }
        }
    }
}

#[test]
fn neither_gain_nor_offset_matters() {
    let (samples, _) = breath(9, 25.0, 120.0);
    let plain = track(&samples, 25.0, Estimator::Predictor);
    for (gain, offset) in [(1e-6, 0.0), (1e6, 0.0), (1.0, 500.0)] {
        let other: Vec<f64> = samples.iter().map(|sample| gain * sample + offset).collect();
        for (a, b) in plain.iter().zip(track(&other, 25.0, Estimator::Predictor)).skip(30 * 25) {
            let apart = (a.phase_turns - b.phase_turns + 0.5).rem_euclid(1.0) - 0.5;
            assert!(apart.abs() < 1e-3 && (a.confidence - b.confidence).abs() < 1e-2, "{gain} {offset}: {a:?} {b:?}");
        }
    }
}

#[test]
fn late_lost_and_jittered_samples_take_their_own_slots() {
    let (samples, _) = breath(11, 25.0, 100.0);
    let mut noise = Noise(21);
    let mut live = LiveTracker::new(0.1, 0.5, 25.0, Estimator::Predictor).unwrap();
    let began = PlatformTime::from_ns(5_000_000_000);
    let mut steady = Tracker::new(0.1, 0.5, 25.0, Estimator::Predictor).unwrap();
    for (i, &sample) in samples.iter().enumerate() {
        let lost = i > 0 && noise.uniform() < 0.1;
        let expected = steady.push(if lost { f64::NAN } else { sample });
        if lost {
            continue;
        }
        let jitter_ns = if i > 0 { (0.4 * 40e6 * (2.0 * noise.uniform() - 1.0)) as i64 } else { 0 };
        assert!(live.push(began + Span::from_ns(40_000_000 * i as i64 + jitter_ns), sample));
        assert_eq!(live.at(began + Span::from_ns(40_000_000 * i as i64)), expected);
        assert!(!live.push(began + Span::from_ns(40_000_000 * (i as i64 - 1)), 1e9), "too late to be used");
    }
    let end = began + Span::from_ns(40_000_000 * (samples.len() as i64 - 1));
    let (now, soon, later) =
        (live.at(end), live.at(end + Span::from_ns(1_000_000_000)), live.at(end + Span::from_ns(10_000_000_000)));
    assert!(soon.confidence < now.confidence && later.confidence == 0.0);
    let gone = (soon.phase_turns - now.phase_turns).rem_euclid(1.0);
    assert!((gone - now.frequency_hz).abs() < 1e-9);
    // A sensor that comes back after a day.
    assert!(live.push(end + Span::from_ns(86_400_000_000_000), 0.5));
    assert_eq!(live.at(end + Span::from_ns(86_400_000_000_000)).confidence, 0.0);
}

#[test]
fn a_band_that_cannot_be_tracked_is_refused_with_its_limit() {
    let refused = |lo, hi, rate| Tracker::new(lo, hi, rate, Estimator::Predictor).unwrap_err();
    assert!(matches!(refused(0.5, 32.0, 64.0), TrackerError::Nyquist { .. }));
    assert!(matches!(refused(0.5, 6.0, 64.0), TrackerError::Wide { .. }));
    assert!(matches!(refused(0.5, 0.51, 64.0), TrackerError::Narrow { .. }));
    assert!(matches!(refused(1.5, 0.5, 64.0), TrackerError::Order { .. }));
    assert!(matches!(refused(f64::NAN, 0.5, 64.0), TrackerError::Order { .. }));
    assert!(matches!(refused(0.5, f64::NAN, 64.0), TrackerError::Order { .. }));
    assert!(matches!(refused(0.1, 0.5, 0.0), TrackerError::Rate { .. }));
    assert!(refused(0.5, 32.0, 64.0).to_string().contains("below half of that, 32 Hz"));
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1.0..1.0f64,
        1 => prop::num::f64::ANY,
        1 => Just(0.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, 1e14, -1e14, 1e-310, f64::MAX]),
    ]
}

/// Feeds each value so many times, somewhat larger each time; then a steady wave, which has to be recovered.
fn feed_anything(samples: &[(f64, usize)], which: usize, rate_hz: f64, lo_hz: f64, ratio: f64) -> TestCaseResult {
    let Ok(mut tracker) = Tracker::new(lo_hz, lo_hz * ratio, rate_hz, Estimator::ALL[which]) else { return Ok(()) };
    for &(value, times) in samples {
        for i in 0..times {
            let one = tracker.push(value * (1.0 + 0.1 * i as f64));
            prop_assert!((0.0..1.0).contains(&one.phase_turns), "{one:?}");
            prop_assert!((lo_hz..=lo_hz * ratio).contains(&one.frequency_hz), "{one:?}");
            prop_assert!((0.0..=1.0).contains(&one.confidence), "{one:?}");
        }
    }
    // And it recovers: nothing that was fed is kept for ever.
    let mut last = None;
    for i in 0..(120.0 / lo_hz * rate_hz) as usize {
        if rate_hz > 20.0 {
            break;
        }
        last = Some(tracker.push((TAU * lo_hz * ratio.sqrt() * i as f64 / rate_hz).cos()));
    }
    if let (Some(one), 0) = (last, which) {
        prop_assert!(one.confidence > 0.5, "{one:?}");
    }
    Ok(())
}

#[test]
fn a_first_sample_of_1e14_is_no_scale() {
    feed_anything(&[(1e14, 1)], 0, 2.0, 0.05, 1.2).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_fed_the_estimate_is_one(
        samples in prop::collection::vec((anything(), 1..40usize), 1..60),
        which in prop_oneof![Just(0), 1..4usize],
        rate_hz in prop_oneof![2.0..20.0f64, 20.0..600.0f64],
        lo_hz in 0.05..0.2f64,
        ratio in 1.2..5.0f64,
    ) {
        feed_anything(&samples, which, rate_hz, lo_hz, ratio)?;
    }
}
