//! How loud it is, and how slowly it becomes so: against another program's meter, on what a sleeper would hear.
use std::sync::Arc;

use ebur128::{EbuR128, Mode};
use harmonia_core::loudness::Meter;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, NoiseColor, Program, Wave};
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use proptest::prelude::*;

const RATE: u32 = 48_000;
/// A hundredth of a second, in which both meters step.
const STEP: usize = RATE as usize / 100;

fn steady(hz: f64) -> Rhythm {
    Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz).unwrap()))
}

fn channel(wave: Wave, carrier_hz: f64, amplitude: Curve) -> Channel {
    Channel { wave, carrier: steady(carrier_hz), beat: Beat::Locked(1), amplitude }
}

fn person(channels: Vec<Channel>) -> Renderer {
    let program = Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: steady(4.0), channels };
    Renderer::new(Arc::new(program), RATE).unwrap()
}

/// A sleeper's ears: what is rendered, and what a foreign meter reads of it every hundredth of a second.
struct Ears {
    renderer: Renderer,
    clock: BlockClock,
    meter: EbuR128,
    momentary_lufs: Vec<f64>,
}

impl Ears {
    fn new(channels: Vec<Channel>) -> Self {
        let meter = EbuR128::new(2, RATE, Mode::M).unwrap();
        let clock = BlockClock::nominal(NodeTime::from_ns(1), RATE);
        Self { renderer: person(channels), clock, meter, momentary_lufs: Vec::new() }
    }

    /// Hundredths of a second, in which `own` is sung.
    fn hear(&mut self, hundredths: usize, own: &[Complex<f32>], gate_open: bool, ceiling: f32) {
        let targets = Targets {
            others: &[],
            own,
            others_glide: Span::from_ms(50),
            offset: PhaseOffset::ZERO,
            ceiling,
            gate_open,
            limit: true,
        };
        for _ in 0..hundredths {
            let (mut left, mut right) = ([0.0; STEP], [0.0; STEP]);
            self.renderer.render(self.clock, &steady(4.0), &targets, &mut left, &mut right);
            self.clock = self.clock.after(STEP);
            self.meter.add_frames_planar_f32(&[&left, &right]).unwrap();
            self.momentary_lufs.push(self.meter.loudness_momentary().unwrap().max(-200.0));
        }
    }

    /// The steepest rise above −60 LUFS from any hundredth of a second to the one `span` hundredths later, in dB/s.
    fn steepest(&self, span: usize) -> f64 {
        let rise = |pair: &[f64]| pair[span] - pair[0].max(-60.0);
        let rises = self.momentary_lufs.windows(span + 1).filter(|pair| pair[span] > -60.0).map(rise);
        rises.fold(0.0, f64::max) * 100.0 / span as f64
    }

    fn now_lufs(&self) -> f64 {
        *self.momentary_lufs.last().expect("something was heard")
    }
}

fn one(size: f32) -> [Complex<f32>; 1] {
    [Complex::new(size, 0.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Of any tones, louder and softer by turns, at any rate: the momentary loudness is ebur128's to 0.1 LU.
    #[test]
    fn the_meter_reads_what_another_program_reads(
        tones in prop::collection::vec((20.0f64..15_000.0, -70.0f64..-3.0, -70.0f64..-3.0), 1..12),
        sample_rate in prop::sample::select(vec![44_100u32, 48_000, 96_000]),
    ) {
        let (mut ours, mut theirs) = (Meter::new(sample_rate), EbuR128::new(2, sample_rate, Mode::M).unwrap());
        for (hz, left_dbfs, right_dbfs) in tones {
            let part = |dbfs: f64| -> Vec<f32> {
                let (amplitude, turn) = (10f64.powf(dbfs / 20.0), core::f64::consts::TAU * hz / f64::from(sample_rate));
                (0..sample_rate / 5).map(|i| (amplitude * (turn * f64::from(i)).sin()) as f32).collect()
            };
            let (left, right) = (part(left_dbfs), part(right_dbfs));
            ours.take(&left, &right);
            theirs.add_frames_planar_f32(&[&left, &right]).unwrap();
        }
        let (ours, theirs) = (f64::from(ours.momentary_lufs()), theirs.loudness_momentary().unwrap());
        prop_assert!((ours - theirs).abs() < 0.1, "{ours} {theirs}");
    }
}

/// Whoever joins, leaves, comes back, is turned up, opts out and in again: never faster than 3 dB/s above −60 LUFS.
#[test]
fn a_sleepers_momentary_loudness_rises_by_three_db_a_second_at_most() {
    let wave = Wave::Binaural { lead: Ear::Right };
    let swelling = Curve::new(vec![
        (NodeTime::from_ns(0), 0.05),
        (NodeTime::from_ns(30_000_000_000), 0.05),
        (NodeTime::from_ns(30_000_000_001), 0.4),
    ]);
    for wave in [wave, Wave::Tone, Wave::Noise(NoiseColor::White)] {
        let mut ears = Ears::new(vec![channel(wave.clone(), 220.0, swelling.clone())]);
        ears.hear(2_000, &one(1.0), true, 1.0);
        assert!(ears.now_lufs() > -45.0, "it comes up: {}", ears.now_lufs());
        ears.hear(1_000, &one(2.0), true, 1.0); // sings louder
        ears.hear(1_500, &one(1.0), true, 1.0); // the score swells
        ears.hear(150, &one(0.0), true, 1.0);
        ears.hear(500, &one(2.0), true, 1.0); // was silent, and is back
        ears.hear(200, &one(2.0), true, 0.05); // a lower ceiling, and a higher
        ears.hear(1_000, &one(2.0), true, 1.0);
        ears.hear(5, &one(2.0), false, 1.0); // an opt-out, and the gate opens again
        ears.hear(2_000, &one(2.0), true, 1.0);
        // Noise's own mean wavers by a tenth of a decibel.
        let (most, span) = if matches!(wave, Wave::Noise(_)) { (3.5, 100) } else { (3.0, 10) };
        assert!(ears.steepest(span) <= most, "{wave:?}: {} dB/s", ears.steepest(span));
        assert!(ears.steepest(100) > 2.5, "and is not slower than it need be");
    }
}

/// What voices do: for how many hundredths of a second each channel has which size and argument (in turns).
fn doings(channels: usize) -> impl Strategy<Value = Vec<(usize, Vec<(f32, f32)>)>> {
    let size = prop_oneof![Just(0.0f32), Just(1.0f32), 0.0f32..1.0];
    let argument = prop_oneof![Just(0.0f32), Just(0.5f32), 0.0f32..1.0];
    let all = prop::collection::vec((size, argument), channels);
    prop::collection::vec((prop_oneof![20usize..100, 400usize..1_500], all), 3..9)
}

fn do_all(ears: &mut Ears, doings: &[(usize, Vec<(f32, f32)>)]) {
    for (hundredths, all) in doings {
        let own: Vec<_> =
            all.iter().map(|(size, turns)| Complex::from_polar(*size, turns * core::f32::consts::TAU)).collect();
        ears.hear(*hundredths, &own, true, 1.0);
    }
}

/// Channels of the same carrier, or of carriers `apart_hz` apart.
fn neighbours(waves: &[Wave], apart_hz: f64) -> Vec<Channel> {
    let carrier = |i: usize| 220.0 + apart_hz * i as f64;
    waves.iter().enumerate().map(|(i, wave)| channel(wave.clone(), carrier(i), Curve::constant(0.2))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever joins, leaves or turns a carrier round that others have, too: as slowly as everything else.
    #[test]
    fn channels_of_one_carrier_rise_by_three_db_a_second_at_most(
        wave in prop::sample::select(vec![Wave::Tone, Wave::Binaural { lead: Ear::Left }]),
        channels in 2usize..5,
        doings in doings(4),
    ) {
        let mut ears = Ears::new(neighbours(&vec![wave; channels], 0.0));
        do_all(&mut ears, &doings);
        // Over as long as the mean: within a tenth of that it wavers by a few thousandths of a decibel.
        prop_assert!(ears.steepest(40) <= 3.0, "{} dB/s", ears.steepest(40));
    }

    /// One is there, and others join who beat with it: they swell and fall by themselves, but what they swell to rises
    /// slowly, however they turn.
    #[test]
    fn the_crest_of_a_slow_beat_rises_by_three_db_a_second_at_most(
        (apart_hz, channels) in prop::sample::select(vec![(0.5, 4), (0.5, 2), (1.0, 3), (2.5, 2)]),
        turns in prop::collection::vec((10usize..200, prop::collection::vec(0.0f32..1.0, 4)), 1..5),
    ) {
        let mut ears = Ears::new(neighbours(&vec![Wave::Tone; channels], apart_hz));
        ears.hear(2_000, &one(1.0), true, 1.0);
        let (before_lufs, since) = (ears.now_lufs(), ears.momentary_lufs.len());
        do_all(&mut ears, &turns.iter().map(|(time, all)| (*time, all.iter().map(|turns| (1.0, *turns)).collect())).collect::<Vec<_>>());
        for (i, lufs) in ears.momentary_lufs[since..].iter().enumerate() {
            prop_assert!(*lufs <= before_lufs + 0.03 * (i + 1) as f64, "{lufs} from {before_lufs} in {i} hundredths");
        }
    }
}

/// From the quiet to full scale, whatever it is that comes in.
#[test]
fn what_begins_loud_begins_in_the_quiet() {
    for hz in [30.0, 100.0, 1_000.0, 8_000.0] {
        let mut ears = Ears::new(vec![channel(Wave::Tone, hz, Curve::constant(0.8))]);
        ears.hear(50, &one(1.0), true, 1.0);
        assert!((-64.0..-59.0).contains(&ears.now_lufs()), "{hz} Hz: {}", ears.now_lufs());
        ears.hear(2_300, &one(1.0), true, 1.0);
        assert_eq!(ears.renderer.limiter().gain(), 1.0, "{hz} Hz");
    }
}

#[test]
fn a_pulse_is_no_rise() {
    let mut ears = Ears::new(vec![channel(Wave::Isochronic, 200.0, Curve::constant(0.2))]);
    ears.hear(2_000, &one(1.0), true, 1.0);
    assert_eq!(ears.renderer.limiter().gain(), 1.0, "however softly each pulse begins, the limiter rests");
}

#[test]
fn a_dropped_voice_is_counted_once_and_heard_again_when_it_is_a_number() {
    let mut ears = Ears::new(vec![channel(Wave::Tone, 200.0, Curve::constant(0.2))]);
    ears.hear(100, &one(1.0), true, 1.0);
    assert_eq!(ears.renderer.dropped(), 0);
    ears.hear(100, &one(f32::NAN), true, 1.0);
    assert_eq!(ears.renderer.dropped(), 1, "not in every block");
    assert!(ears.now_lufs() < -100.0);
    ears.hear(100, &one(1.0), true, 1.0);
    ears.hear(100, &one(f32::INFINITY), true, 1.0);
    assert_eq!(ears.renderer.dropped(), 2);
}
