//! What comes out at the ears, measured as a stranger would: by demodulating PCM.
use std::sync::Arc;

use harmonia_core::gate;
use harmonia_core::limiter::TRUE_PEAK_MAX;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, NoiseColor, Program, Wave};
use harmonia_core::renderer::{BlockClock, Renderer, Targets, LEVEL_MIN_DBFS};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use proptest::prelude::*;

const RATE: u32 = 48_000;
const TAU: f64 = core::f64::consts::TAU;
/// The end of a night.
const LATE: NodeTime = NodeTime::from_ns(8 * 3600 * 1_000_000_000);

fn steady(hz: f64) -> Rhythm {
    Rhythm::new(Segment::constant(
        NodeTime::from_ns(0),
        Phase::from_bits(0x3141_5926 << 32),
        Frequency::from_hz(hz).unwrap(),
    ))
}

fn channel(wave: Wave, carrier_hz: f64, beat: Beat) -> Channel {
    Channel { wave, carrier: steady(carrier_hz), beat, amplitude: Curve::constant(0.25) }
}

fn binaural(carrier_hz: f64, beat: Beat) -> Channel {
    channel(Wave::Binaural { lead: Ear::Right }, carrier_hz, beat)
}

fn program(channels: Vec<Channel>) -> Arc<Program> {
    Arc::new(Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: steady(4.0), channels })
}

fn targets<'a>(own: &'a [Complex<f32>]) -> Targets<'a> {
    Targets {
        others: &[],
        own,
        others_glide: Span::from_ms(250),
        offset: PhaseOffset::ZERO,
        ceiling: 1.0,
        gate_open: true,
        limit: true,
    }
}

/// A renderer, its clock and its rhythm, playing on.
struct Player {
    renderer: Renderer,
    clock: BlockClock,
    rhythm: Rhythm,
    block: usize,
}

impl Player {
    fn offline(channels: Vec<Channel>, start: NodeTime) -> Self {
        let renderer = Renderer::offline(program(channels), RATE).unwrap();
        Self { renderer, clock: BlockClock::nominal(start, RATE), rhythm: steady(4.0), block: 480 }
    }

    fn person(channels: Vec<Channel>) -> Self {
        let mut player = Self::offline(channels.clone(), LATE);
        player.renderer = Renderer::new(program(channels), RATE).unwrap();
        player
    }

    fn play(&mut self, samples: usize, input: &Targets<'_>) -> (Vec<f32>, Vec<f32>) {
        let (mut left, mut right) = (vec![f32::NAN; samples], vec![f32::NAN; samples]);
        for (l, r) in left.chunks_mut(self.block).zip(right.chunks_mut(self.block)) {
            self.renderer.render(self.clock, &self.rhythm, input, l, r);
            self.clock = self.clock.after(l.len());
        }
        (left, right)
    }
}

/// One second: a whole number of turns of every sine that is measured here in whole hertz.
const WINDOW: usize = RATE as usize;

/// The complex amplitude of a sine of `hz` in `x`; Hann-windowed, phase 0 at the first sample.
fn demodulate(x: &[f32], hz: f64) -> Complex<f64> {
    let length = x.len() as f64;
    let sum: Complex<f64> = (0..)
        .zip(x)
        .map(|(i, x)| {
            let i = f64::from(i);
            let window = 1.0 - (TAU * (i + 0.5) / length).cos();
            Complex::from_polar(f64::from(*x) * window, -TAU * hz * i / f64::from(RATE))
        })
        .sum();
    sum * 2.0 / length
}

fn turns(z: Complex<f64>) -> f64 {
    z.arg() / TAU
}

/// The distance of two phases in turns, whole turns aside.
fn apart(a: f64, b: f64) -> f64 {
    (a - b - (a - b).round()).abs()
}

fn voices() -> [Complex<f32>; 4] {
    [Complex::new(1.0, 0.0), Complex::new(0.0, 0.8), Complex::new(-0.3, -0.4), Complex::new(0.6, -1.1)]
}

/// The interaural phase n(θ + φ) for every locked channel: real and complex voices, either ear leading.
#[test]
fn the_interaural_phase_is_n_times_rhythm_and_offset() {
    let offset = PhaseOffset::from_turns(0.27).unwrap();
    for (n, own) in [1, 2, 3].into_iter().flat_map(|n| voices().map(|own| (n, own))) {
        for lead in [Ear::Left, Ear::Right] {
            let mut player = Player::offline(vec![channel(Wave::Binaural { lead }, 200.0, Beat::Locked(n))], LATE);
            let others = [Complex::new(0.2, 0.1)];
            let input = Targets { others: &others, offset, ..targets(core::slice::from_ref(&own)) };
            let (left, right) = player.play(WINDOW, &input);
            let (leading, resting) = if lead == Ear::Left { (left, right) } else { (right, left) };
            let beat_hz = f64::from(n) * 4.0;
            let measured = turns(demodulate(&leading, 200.0 + beat_hz)) - turns(demodulate(&resting, 200.0));
            let theta = player.rhythm.phase_at(LATE);
            let expected = (theta + offset).times(n).turns();
            assert!(apart(measured, expected) < 1e-3, "n {n}, voice {own}: {measured} {expected}");
            // Far better, in fact, than what is promised:
            assert!(apart(measured, expected) < 1e-5, "n {n}, voice {own}: {measured} {expected}");
        }
    }
}

#[test]
fn the_voice_turns_and_scales_the_carrier_of_both_ears() {
    for own in voices() {
        let mut player = Player::offline(vec![binaural(200.0, Beat::Locked(1))], LATE);
        let (left, _) = player.play(WINDOW, &targets(core::slice::from_ref(&own)));
        let z = demodulate(&left, 200.0);
        let carrier = player.renderer.program().channels[0].carrier.phase_at(LATE);
        assert!(apart(turns(z), carrier.turns() + f64::from(own.arg()) / TAU) < 1e-5);
        let level_db = 20.0 * (z.norm() / (0.25 * f64::from(own.norm()))).log10();
        assert!(level_db.abs() < 0.01, "{level_db} dB");
    }
}

#[test]
fn an_offset_is_reached_by_the_shortest_way_within_a_turn_a_second_and_exactly() {
    let own = [Complex::new(1.0, 0.0)];
    for (from, to) in [(0.0, 0.25), (0.4, -0.4), (-0.1, 0.2), (0.0, 0.5)] {
        let [from, to] = [from, to].map(|turns| PhaseOffset::from_turns(turns).unwrap());
        let way = (to + -from).turns().abs();
        let mut player = Player::offline(vec![binaural(200.0, Beat::Locked(3))], LATE);
        player.play(480, &Targets { offset: from, ..targets(&own) });
        assert_eq!(player.renderer.offset(), from);
        let input = Targets { offset: to, ..targets(&own) };
        let mut last = from;
        for block in 1..=101 {
            let (_, right) = player.play(480, &input);
            let now = player.renderer.offset();
            let moved = (now + -last).turns().abs();
            assert!(moved <= 0.01 + 1e-9, "at most a turn a second");
            assert!(((to + -now).turns().abs() - (way - 0.01 * f64::from(block)).max(0.0)).abs() < 1e-6);
            // 215 Hz at most 0.25 loud moves by 0.0071 a sample: no click anywhere.
            assert!(right.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.0075));
            last = now;
        }
        assert_eq!(last, to);
        let start = player.clock.start;
        let (left, right) = player.play(WINDOW, &input);
        let measured = turns(demodulate(&right, 212.0)) - turns(demodulate(&left, 200.0));
        assert!(apart(measured, (player.rhythm.phase_at(start) + to).times(3).turns()) < 1e-3);
    }
}

/// Carrier and beat within 0.01 Hz and level within 0.1 dB of what the score says.
#[test]
fn carrier_beat_and_level_are_as_written() {
    for (carrier_hz, beat_hz, share) in [(200.0, 10.0, 0.2), (97.3, 4.5, 0.05), (432.1, -7.83, 0.8)] {
        let mut tone = binaural(carrier_hz, Beat::Free(steady(beat_hz)));
        tone.amplitude = Curve::constant(share);
        let mut player = Player::offline(vec![tone], LATE);
        let (left, right) = player.play(4 * WINDOW, &targets(&[Complex::new(1.0, 0.0)]));
        for (ear, hz) in [(left, carrier_hz), (right, carrier_hz + beat_hz)] {
            let z: Vec<_> = ear.chunks(WINDOW).map(|second| demodulate(second, hz)).collect();
            // Each second begins anew at phase 0 of the demodulator, that is hz turns later.
            let drift = (turns(z[3]) - turns(z[0]) - 3.0 * hz) / 3.0;
            assert!((drift - (3.0 * drift).round() / 3.0).abs() < 0.001, "{hz} Hz is off by {drift} Hz");
            for z in z {
                assert!((20.0 * (z.norm() / f64::from(share)).log10()).abs() < 0.01);
            }
        }
    }
}

/// Sample by sample against float64, at a night's beginning and its end: a carrier that slides, however fast, and the ear
/// that leads it by a beat that slides too.
#[test]
fn a_sliding_frequency_is_accurate_to_100_db() {
    for (from_hz, hz_per_s) in
        [(20.0, 0.05), (200.0, 0.01), (200.0, 0.3), (1000.0, -1.0), (300.0, 10.0), (8000.0, -40.0)]
    {
        for start in [NodeTime::from_ns(0), LATE] {
            let slide = |from_hz: f64, hz_per_s: f64| {
                let [from, to] = [from_hz, from_hz + 4.0 * hz_per_s].map(|hz| Frequency::from_hz(hz).unwrap());
                Rhythm::new(Segment::ramp(start, Phase::from_bits(5 << 60), from, to, Span::from_s(4)).unwrap())
            };
            let carrier = slide(from_hz, hz_per_s);
            let mut tone = binaural(1.0, Beat::Locked(3));
            (tone.carrier, tone.amplitude) = (carrier.clone(), Curve::constant(0.5));
            let mut player = Player::offline(vec![tone], start);
            player.rhythm = slide(4.0, hz_per_s / 10.0);
            let clock = player.clock;
            let (left, right) = player.play(WINDOW, &Targets { limit: false, ..targets(&[Complex::new(1.0, 0.0)]) });
            let mut worst = 0.0f64;
            for i in 0..WINDOW {
                let at = clock.after(i);
                let theta = player.rhythm.phase_at_fine(at.start, at.fraction).times(3);
                let psi = carrier.phase_at_fine(at.start, at.fraction);
                for (ear, phase) in [(&left, psi.turns()), (&right, psi.turns() + theta.turns())] {
                    worst = worst.max((f64::from(ear[i]) - 0.5 * (TAU * phase).cos()).abs() / 0.5);
                }
            }
            let error = 20.0 * worst.log10();
            assert!(error <= -100.0, "{from_hz} Hz and {hz_per_s} Hz/s from {start:?}: {error:.1} dB");
        }
    }
}

#[test]
fn blocks_of_any_length_give_the_same_sound() {
    let channels = || {
        vec![
            binaural(200.0, Beat::Locked(1)),
            channel(Wave::Isochronic, 300.0, Beat::Locked(2)),
            channel(Wave::Tone, 60.0, Beat::Locked(1)),
            channel(Wave::Noise(NoiseColor::Pink), 1.0, Beat::Locked(1)),
        ]
    };
    let own = [Complex::new(1.0, 0.0); 4];
    let others = [Complex::new(0.3, -0.4); 4];
    let sound = |block: usize, offset: f64| {
        let mut player = Player { block, ..Player::offline(channels(), LATE) };
        player.play(block, &targets(&own));
        player.clock = BlockClock::nominal(LATE, RATE);
        let offset = PhaseOffset::from_turns(offset).unwrap();
        player.play(24_000, &Targets { others: &others, offset, limit: false, ..targets(&own) })
    };
    // An offset that glides arrives on a whole sample: up to 2e-5 turn early or late, which a pulse's edge shows.
    for (offset, tolerance) in [(0.0, 3e-6), (0.1, 2e-4)] {
        let reference = sound(480, offset);
        for block in [1, 17, 64, 255, 256, 4096] {
            let other = sound(block, offset);
            for (a, b) in [(&reference.0, &other.0), (&reference.1, &other.1)] {
                let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < tolerance, "in blocks of {block}: {worst}");
            }
        }
    }
}

#[test]
fn an_isochronic_pulse_follows_beat_and_offset() {
    let offset = PhaseOffset::from_turns(0.125).unwrap();
    let mut player = Player::offline(vec![channel(Wave::Isochronic, 3000.0, Beat::Locked(2))], LATE);
    let own = [Complex::new(1.0, 0.0)];
    let (left, right) = player.play(WINDOW, &Targets { offset, ..targets(&own) });
    assert_eq!(left, right);
    // 16 samples are one turn of the carrier: their largest magnitude is the envelope.
    for (i, turn) in left.chunks(16).enumerate().step_by(7) {
        let t = LATE + Span::from_ns((i as i64 * 16 + 8) * 1_000_000_000 / i64::from(RATE));
        let p = (((player.rhythm.phase_at(t) + offset).times(2).turns() * TAU).sin() - 0.3) / 0.7;
        let p = p.clamp(0.0, 1.0);
        let envelope = 0.25 * (3.0 * p * p - 2.0 * p * p * p);
        let measured = turn.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        assert!((f64::from(measured) - envelope).abs() < 0.01, "at {i}: {measured} {envelope}");
    }
}

#[test]
fn tone_and_noise_are_the_same_on_both_ears() {
    for wave in [Wave::Tone, Wave::Noise(NoiseColor::Brown)] {
        let mut player = Player::offline(vec![channel(wave, 100.0, Beat::Locked(1))], LATE);
        let (left, right) = player.play(4800, &targets(&[Complex::new(0.0, 0.5)]));
        assert_eq!(left, right);
        assert!(left.iter().any(|x| *x != 0.0));
    }
}

#[test]
fn coefficients_glide_without_a_step_and_a_cut_hurries() {
    let (silent, loud) = ([Complex::default()], [Complex::new(1.0, 0.0)]);
    let mut player = Player { block: 64, ..Player::offline(vec![channel(Wave::Tone, 1000.0, Beat::Locked(1))], LATE) };
    let playing = Targets { others: &loud, ..targets(&[]) };
    player.play(4800, &playing);
    // A slow way to silence, then the same target as a cut.
    let leaving = Targets { others: &silent, others_glide: Span::from_s(10), ..playing };
    let (left, _) = player.play(4800, &leaving);
    assert!(left[4700..].iter().any(|x| x.abs() > 0.2), "ten seconds are not over");
    let (left, _) = player.play(960, &Targets { others_glide: Span::from_ms(8), ..leaving });
    assert!(left.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.04), "no click");
    assert!(left[200].abs() + left[212].abs() > 1e-3, "a ramp");
    assert!(left[385..].iter().all(|x| *x == 0.0), "silent after 8 ms");
}

#[test]
fn a_coefficient_that_is_not_finite_counts_as_zero_and_the_rest_sounds_on() {
    let tone = || vec![channel(Wave::Tone, 1000.0, Beat::Locked(1)); 2];
    let own = [Complex::new(1.0, 0.0); 2];
    let reference = Player::offline(tone(), LATE).play(4800, &targets(&own));
    for bad in [Complex::new(f32::NAN, 0.0), Complex::new(0.5, f32::INFINITY)] {
        let others = [bad, Complex::default()];
        let mut player = Player::offline(tone(), LATE);
        assert_eq!(player.play(4800, &Targets { others: &others, ..targets(&own) }), reference);
    }
}

#[test]
fn outside_the_program_there_is_silence() {
    let mut night = (*program(vec![channel(Wave::Tone, 440.0, Beat::Locked(1))])).clone();
    (night.epoch, night.duration) = (LATE, Some(Span::from_ms(100)));
    let mut renderer = Renderer::offline(Arc::new(night), RATE).unwrap();
    let own = [Complex::new(1.0, 0.0)];
    let mut at = |ms: i64| {
        let (mut left, mut right) = ([1.0; 240], [1.0; 240]);
        renderer.render(
            BlockClock::nominal(LATE + Span::from_ms(ms), RATE),
            &steady(4.0),
            &targets(&own),
            &mut left,
            &mut right,
        );
        left.iter().any(|x| *x != 0.0)
    };
    assert_eq!([-50, -10, 10, 80, 110, 5000].map(&mut at), [false, false, true, true, false, false]);
}

#[test]
fn what_a_converter_cannot_play_is_left_out() {
    let mut player = Player::offline(vec![channel(Wave::Tone, 25_000.0, Beat::Locked(1))], LATE);
    assert!(player.play(4800, &targets(&[Complex::new(1.0, 0.0)])).0.iter().all(|x| *x == 0.0));
}

#[test]
fn a_sample_rate_that_no_converter_has_is_refused() {
    for bad in [0, 7_999, 192_001] {
        let refused = Renderer::new(program(vec![]), bad).unwrap_err().to_string();
        assert!(refused.contains("from 8000 to 192000"), "{refused}");
    }
    for good in [8_000, 44_100, 192_000] {
        assert!(Renderer::new(program(vec![]), good).is_ok());
    }
}

#[test]
fn a_closed_gate_is_exact_silence_within_ten_milliseconds_at_any_block_length() {
    let own = [Complex::new(1.0, 0.0); 2];
    for block in [32, 64, 480, 512, 4096] {
        let channels =
            vec![binaural(200.0, Beat::Locked(1)), channel(Wave::Noise(NoiseColor::White), 1.0, Beat::Locked(1))];
        let mut player = Player { block, ..Player::person(channels) };
        assert!(player.play(4800, &Targets { gate_open: false, ..targets(&own) }).0.iter().all(|x| *x == 0.0));
        player.play(6 * RATE as usize, &targets(&own));
        assert_eq!(player.renderer.gate().level(), 1.0);
        let (left, right) = player.play(8192, &Targets { gate_open: false, ..targets(&own) });
        let ramp = (RATE * gate::CLOSE_MS / 1000) as usize;
        assert!(left[..ramp - 8].iter().any(|x| *x != 0.0));
        assert!(left[RATE as usize / 100..].iter().chain(&right[RATE as usize / 100..]).all(|x| *x == 0.0));
        assert!(player.renderer.gate().is_silent());
    }
}

#[test]
fn the_level_is_that_of_a_sine() {
    let mut player = Player::offline(vec![channel(Wave::Tone, 1000.0, Beat::Locked(1))], LATE);
    assert_eq!(player.renderer.level_dbfs(), LEVEL_MIN_DBFS);
    player.play(24_000, &targets(&[Complex::new(1.0, 0.0)]));
    assert!((player.renderer.level_dbfs() - 20.0 * 0.25f32.log10()).abs() < 0.05);
}

/// The largest magnitude of the curve through the samples: 4 times oversampled with a windowed sinc.
fn true_peak(x: &[f32]) -> f32 {
    const REACH: isize = 24;
    let mut peak = 0.0f64;
    for i in REACH..x.len() as isize - REACH {
        for quarter in 0..4 {
            let at = f64::from(quarter) / 4.0;
            let sum: f64 = (-REACH + 1..=REACH)
                .map(|k| {
                    let d = at - k as f64;
                    let sinc = if d == 0.0 { 1.0 } else { (d * TAU / 2.0).sin() / (d * TAU / 2.0) };
                    f64::from(x[(i + k) as usize]) * sinc * (0.5 + 0.5 * (TAU / 2.0 * d / (REACH as f64 + 1.0)).cos())
                })
                .sum();
            peak = peak.max(sum.abs());
        }
    }
    peak as f32
}

#[test]
fn the_curve_between_the_samples_stays_below_minus_one_db() {
    // 12 kHz at an eighth of a turn: its samples lie 3 dB below its crests.
    let mut tone = channel(Wave::Tone, 12_000.0, Beat::Locked(1));
    tone.carrier =
        Rhythm::new(Segment::constant(LATE, Phase::from_bits(1 << 61), Frequency::from_hz(12_000.0).unwrap()));
    let channels = vec![
        tone,
        binaural(7_000.0, Beat::Locked(3)),
        channel(Wave::Isochronic, 500.0, Beat::Locked(9)),
        channel(Wave::Noise(NoiseColor::White), 1.0, Beat::Locked(1)),
    ];
    for only in 0..4 {
        let mut own = [Complex::default(); 4];
        own[only] = Complex::new(40.0, 0.0);
        let mut player = Player::offline(channels.clone(), LATE);
        let (left, right) = player.play(6000, &targets(&own));
        let peak = true_peak(&left).max(true_peak(&right));
        assert!(peak <= 0.8913, "channel {only}: {peak}");
        assert!(only == 3 || peak > 0.85, "channel {only} is turned down too far: {peak}");
    }
}

#[test]
fn the_limiter_leaves_alone_what_cannot_reach_the_ceiling() {
    let channels = vec![binaural(200.0, Beat::Locked(1)), channel(Wave::Tone, 100.0, Beat::Locked(1))];
    let own = [Complex::new(1.7, 0.0), Complex::new(0.0, 1.7)]; // 0.425 + 0.425 < 0.873
    let [with, without] = [true, false]
        .map(|limit| Player::offline(channels.clone(), LATE).play(48_000, &Targets { limit, ..targets(&own) }));
    assert_eq!(with, without);
}

#[test]
fn the_gain_recovers_by_not_quite_three_db_a_second_and_the_ceiling_holds() {
    let (loud, soft) = ([Complex::new(32.0, 0.0)], [Complex::new(1.0, 0.0)]);
    let mut player = Player::offline(vec![channel(Wave::Tone, 1000.0, Beat::Locked(1))], LATE);
    let (left, _) = player.play(4800, &targets(&loud));
    assert!(left.iter().all(|x| x.abs() <= TRUE_PEAK_MAX));
    player.play(4800, &targets(&soft));
    let start = player.renderer.limiter().gain();
    assert!(start < 0.2);
    player.play(RATE as usize, &targets(&soft));
    let risen_db = 20.0 * (player.renderer.limiter().gain() / start).log10();
    assert!((risen_db - 2.85).abs() < 0.01, "{risen_db} dB");
    // A lower ceiling holds after 8 ms and there is no click on the way.
    let (left, _) = player.play(4800, &Targets { ceiling: 0.01, ..targets(&soft) });
    assert!(left[385..].iter().all(|x| x.abs() <= 0.01));
    assert!(left.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.05));
}

fn any_part() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => -4.0f32..4.0,
        1 => any::<f32>(),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MAX, 1e-40, -0.0]),
    ]
}

/// One block's input, from anywhere.
#[derive(Clone, Debug)]
struct Any {
    own: Vec<Complex<f32>>,
    others: Vec<Complex<f32>>,
    ceiling: f32,
    offset: i64,
    glide_ns: i64,
    samples: usize,
    gate_open: bool,
    jump: bool,
}

prop_compose! {
    fn any_input()(
        own in prop::collection::vec((any_part(), any_part()), 4),
        others in prop::collection::vec((any_part(), any_part()), 0..6),
        ceiling in prop_oneof![0.0f32..1.2, any_part()],
        (offset, glide_ns, samples) in (any::<i64>(), 0i64..100_000_000, 1usize..700),
        (closed, jump) in (prop::bool::weighted(0.1), any::<bool>()),
    ) -> Any {
        let complex = |parts: Vec<(f32, f32)>| parts.into_iter().map(|(re, im)| Complex::new(re, im)).collect();
        let (own, others) = (complex(own), complex(others));
        Any { own, others, ceiling, offset, glide_ns, samples, gate_open: !closed, jump }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_in_what_comes_out_is_finite_and_below_the_ceiling(
        inputs in prop::collection::vec(any_input(), 1..12),
        start in any::<i64>(),
        amplitude in prop_oneof![0.0f32..1.0, any_part()],
    ) {
        let waves = [Wave::Tone, Wave::Binaural { lead: Ear::Left }, Wave::Isochronic, Wave::Noise(NoiseColor::White)];
        let channels = waves.map(|wave| {
            Channel { amplitude: Curve::constant(amplitude), ..channel(wave, 150.0, Beat::Locked(2)) }
        });
        let mut player = Player::offline(channels.to_vec(), NodeTime::from_ns(start));
        let mut highest = 0.0f32;
        for any in inputs {
            let input = Targets {
                others: &any.others,
                own: &any.own,
                others_glide: Span::from_ns(any.glide_ns),
                offset: PhaseOffset::from_bits(any.offset),
                ceiling: any.ceiling,
                gate_open: any.gate_open,
                limit: true,
            };
            if any.jump {
                player.clock.start = NodeTime::from_ns(any.offset);
            }
            let (left, right) = player.play(any.samples, &input);
            let allowed = if any.ceiling.is_nan() { 0.0 } else { any.ceiling.clamp(0.0, TRUE_PEAK_MAX) };
            highest = highest.max(allowed);
            for (i, x) in left.iter().enumerate().chain(right.iter().enumerate()) {
                prop_assert!(x.is_finite());
                // A falling ceiling has been reached after 8 ms.
                let ceiling = if i < 385 { highest } else { allowed };
                prop_assert!(x.abs() <= ceiling, "{} at {}: {}", x, i, ceiling);
            }
        }
    }
}
