//! `.sbg` as sound: what is rendered, against the format's own formulas, written down here a second time.
//!
//! Every phase of a program is 0 where it begins, so a formula for the frequency is one for the waveform. For each kind
//! of tone the rendered samples are laid beside the waveform of the formula, window by window: how much of it is in
//! them is the level, and how its phase moves from window to window is the error of the frequency.
use std::f64::consts::TAU;
use std::sync::Arc;

use harmonia_core::program::Program;
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::score::{Format, Score};
use harmonia_core::stem::{Pcm, Stems};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

const EPOCH: NodeTime = NodeTime::from_ns(5_000_000_000);

fn score(text: &str) -> Score {
    Score::parse(text, "night.sbg", Format::Sbg).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn program(text: &str) -> Program {
    score(text).program(EPOCH, Span::from_s(86_400))
}

/// The left and the right ear from `from_s` on, at `rate`.
fn render(program: Program, rate: u32, from_s: f64, seconds: f64) -> [Vec<f64>; 2] {
    let rhythm = program.rhythm.clone();
    let channels = program.channels.len();
    let mut renderer = Renderer::offline(Arc::new(program), rate).unwrap();
    let (own, others) = (vec![Complex::new(1.0, 0.0); channels], vec![Complex::default(); channels]);
    let targets = Targets {
        others: &others,
        own: &own,
        others_glide: Span::ZERO,
        offset: Default::default(),
        ceiling: 1.0,
        gate_open: true,
        limit: false,
    };
    let mut clock = BlockClock::nominal(EPOCH + Span::from_ns((from_s * 1e9) as i64), rate);
    let mut ears = [Vec::new(), Vec::new()];
    let (mut left, mut right) = ([0.0; 480], [0.0; 480]);
    for _ in 0..(seconds * f64::from(rate) / 480.0).ceil() as usize {
        renderer.render(clock, &rhythm, &targets, &mut left, &mut right);
        clock = clock.after(480);
        ears[0].extend(left.iter().map(|x| f64::from(*x)));
        ears[1].extend(right.iter().map(|x| f64::from(*x)));
    }
    ears
}

/// ∫f from 0 to t, of a frequency that goes from `a` to `b` within `s` seconds and stays there.
fn turns(a: f64, b: f64, s: f64, t: f64) -> f64 {
    let u = t.min(s);
    a * u + (b - a) * u * u / (2.0 * s) + b * (t - u)
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// Whether `heard` holds `amplitude(t)`·cos of `turns(t)`: within 0.1 dB and 0.01 Hz in every window of a quarter second.
fn assert_sine(
    what: &str,
    heard: &[f64],
    rate: f64,
    from_s: f64,
    turns: impl Fn(f64) -> f64,
    amplitude: impl Fn(f64) -> f64,
) {
    let window = (rate / 4.0) as usize;
    let mut before: Option<Complex<f64>> = None;
    for (w, part) in heard.chunks_exact(window).enumerate() {
        let (mut sum, mut power) = (Complex::new(0.0, 0.0), 0.0);
        for (i, x) in part.iter().enumerate() {
            let t = from_s + (w * window + i) as f64 / rate;
            let (turn, a) = (turns(t) * TAU, amplitude(t));
            sum += Complex::new(turn.cos(), -turn.sin()) * (a * x);
            power += a * a / 2.0;
        }
        assert!(power > 0.0, "{what}: nothing to hear in window {w}");
        let found = sum / power;
        assert!(db(found.norm()).abs() < 0.1, "{what}: {} dB off in window {w}", db(found.norm()));
        if let Some(before) = before {
            let drift_hz = (found / before).arg() / TAU * 4.0;
            assert!(drift_hz.abs() < 0.01, "{what}: {drift_hz} Hz off in window {w}");
        }
        before = Some(found);
    }
}

/// How much of `formula` is in `heard`, in dB, and what is left over, in dB below it.
fn compare(heard: &[f64], formula: &[f64]) -> (f64, f64) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let share = dot(heard, formula) / dot(formula, formula);
    let rest: Vec<f64> = heard.iter().zip(formula).map(|(x, y)| x - share * y).collect();
    (db(share), db((dot(&rest, &rest) / dot(formula, formula)).sqrt()))
}

#[test]
fn binaural_tones_and_their_slides_are_the_formula() {
    // A minute of 200+4 sliding to 300-6, then held.
    let text = "-F 0\na: 200+4/40\nb: 300-6/10\n0:00 == a ->\n0:01 == b\n0:05 == b";
    let (from_s, rate) = (20.0, 48_000);
    let [left, right] = render(program(text), rate, from_s, 10.0);
    let loud = |t: f64| 0.4 - 0.3 * t / 60.0;
    assert_sine("left", &left, 48e3, from_s, |t| turns(202.0, 297.0, 60.0, t), loud);
    assert_sine("right", &right, 48e3, from_s, |t| turns(198.0, 303.0, 60.0, t), loud);
    let [left, right] = render(program(text), 44_100, 70.0, 5.0);
    assert_sine("left, held", &left, 44.1e3, 70.0, |t| turns(202.0, 297.0, 60.0, t), |_| 0.1);
    assert_sine("right, held", &right, 44.1e3, 70.0, |t| turns(198.0, 303.0, 60.0, t), |_| 0.1);
}

#[test]
fn plain_tones_are_on_both_ears() {
    let ears = render(program("a: 440/25\n0:00 a"), 48_000, 3600.0, 3.0);
    for ear in &ears {
        assert_sine("tone", ear, 48e3, 3600.0, |t| 440.0 * t, |_| 0.25);
    }
}

#[test]
fn monaural_tones_are_both_tones_on_both_ears_at_half_the_amplitude() {
    let ears = render(program("a: 200M10/20\n0:00 a"), 48_000, 10.0, 5.0);
    let formula: Vec<f64> = (0..ears[0].len())
        .map(|i| 10.0 + i as f64 / 48e3)
        .map(|t| 0.1 * ((195.0 * t * TAU).cos() + (205.0 * t * TAU).cos()))
        .collect();
    for ear in &ears {
        let (level, rest) = compare(ear, &formula);
        assert!(level.abs() < 0.1 && rest < -50.0, "{level} {rest}");
    }
}

#[test]
fn isochronic_tones_pulse_as_the_options_say() {
    let standard = |x: f64| {
        let p = (((TAU * x).sin() - 0.3) / 0.7).max(0.0);
        3.0 * p * p - 2.0 * p * p * p
    };
    let window = |x: f64| {
        let u = (x - 0.1).rem_euclid(1.0) / 0.5;
        match u {
            u if u >= 1.0 => 0.0,
            u if u < 0.2 => u / 0.2,
            u if u > 0.6 => (1.0 - u) / 0.4,
            _ => 1.0,
        }
    };
    let cases: [(&str, &dyn Fn(f64) -> f64); 2] = [
        ("a: 300@4/30\nb: 300@8/30\n0:00 == a ->\n0:02 == b", &standard),
        ("-I s=0.1:d=0.5:a=0.2:r=0.4:e=1\na: 300@4/30\nb: 300@8/30\n0:00 == a ->\n0:02 == b", &window),
    ];
    for (text, pulse) in cases {
        let ears = render(program(text), 48_000, 30.0, 5.0);
        let formula: Vec<f64> = (0..ears[0].len())
            .map(|i| 30.0 + i as f64 / 48e3)
            .map(|t| 0.3 * (300.0 * t * TAU).cos() * pulse(turns(4.0, 8.0, 120.0, t)))
            .collect();
        for ear in &ears {
            let (level, rest) = compare(ear, &formula);
            assert!(level.abs() < 0.1 && rest < -50.0, "{level} dB, rest {rest} dB of {text}");
        }
    }
}

#[test]
fn drawn_envelopes_stand_over_both_ears() {
    // customNN: the samples, divided by the largest, with 3u² − 2u³ between them.
    let samples = [0.0, 0.1, 0.9, 1.0, 1.0, 0.9, 0.1, 0.0];
    let custom = |x: f64| {
        let place = x.rem_euclid(1.0) * 8.0;
        let (i, u) = (place as usize % 8, place.fract());
        samples[i] + (samples[(i + 1) % 8] - samples[i]) * (3.0 * u * u - 2.0 * u * u * u)
    };
    let text = "custom00: e=2 0 0.1 0.9 1 1 0.9 0.1 0\na: custom00:400@2/20 custom00:180+5/30\n0:00 a";
    let program = program(text);
    let only = |channel: usize| Program { channels: vec![program.channels[channel].clone()], ..program.clone() };
    let times = |n: usize| (0..n).map(|i| 7.0 + i as f64 / 48e3);
    let ears = render(only(0), 48_000, 7.0, 4.0);
    let formula: Vec<f64> = times(ears[0].len()).map(|t| 0.2 * (400.0 * t * TAU).cos() * custom(2.0 * t)).collect();
    for ear in &ears {
        let (level, rest) = compare(ear, &formula);
        assert!(level.abs() < 0.1 && rest < -50.0, "isochronic {level} {rest}");
    }
    for (ear, hz) in render(only(1), 48_000, 7.0, 4.0).iter().zip([182.5, 177.5]) {
        let formula: Vec<f64> = times(ear.len()).map(|t| 0.3 * (hz * t * TAU).cos() * custom(5.0 * t)).collect();
        let (level, rest) = compare(ear, &formula);
        assert!(level.abs() < 0.1 && rest < -50.0, "binaural {level} {rest}");
    }
}

#[test]
fn wave_tables_are_smoothed_and_stretched_over_the_beat() {
    // Each sample weighs (1 − 4d²)·sin(2πnd)/(2πnd) at a distance of d cycles; then 0 … 1.
    let samples: [f64; 5] = [0.0, 0.2, 1.0, 0.2, 0.0];
    let curve = |x: f64| -> f64 {
        samples
            .iter()
            .enumerate()
            .map(|(k, sample)| {
                let d = (x - (k * 4096 / 5) as f64 / 4096.0).rem_euclid(1.0);
                let d = d.min(1.0 - d);
                let y = TAU * 5.0 * d;
                sample * if y == 0.0 { 1.0 } else { (1.0 - 4.0 * d * d) * y.sin() / y }
            })
            .sum()
    };
    let all: Vec<f64> = (0..4096).map(|i| curve(f64::from(i) / 4096.0)).collect();
    let (low, high) = all.iter().fold((0.0f64, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    for (ear, hz) in render(program("wave00: 0 0.2 1.0 0.2 0\na: wave00:200+4/50\n0:00 a"), 48_000, 2.0, 3.0)
        .iter()
        .zip([202.0, 198.0])
    {
        let formula: Vec<f64> = (0..ear.len())
            .map(|i| 2.0 + i as f64 / 48e3)
            .map(|t| 0.5 * (hz * t * TAU).cos() * (curve((4.0 * t).rem_euclid(1.0)) - low) / (high - low))
            .collect();
        let (level, rest) = compare(ear, &formula);
        assert!(level.abs() < 0.1 && rest < -50.0, "{level} {rest}");
    }
}

#[test]
fn squares_triangles_and_saws_have_their_shape_and_level() {
    type Shape = (&'static str, f64, fn(f64) -> f64);
    // With the amplitude of its fundamental.
    let shapes: [Shape; 3] = [
        ("square", 8.0 / TAU, |x| if x < 0.5 { 1.0 } else { -1.0 }),
        ("triangle", 32.0 / TAU / TAU, |x| match x {
            x if x < 0.25 => 4.0 * x,
            x if x < 0.75 => 2.0 - 4.0 * x,
            x => 4.0 * x - 4.0,
        }),
        ("sawtooth", 4.0 / TAU, |x| 2.0 * x - 1.0),
    ];
    for (name, fundamental, shape) in shapes {
        for text in [format!("a: {name}:200+4/20\n0:00 a"), format!("-w {name}\na: 200+4/20\n0:00 a")] {
            for (ear, hz) in render(program(&text), 48_000, 100.0, 3.0).iter().zip([202.0, 198.0]) {
                let formula: Vec<f64> =
                    (0..ear.len()).map(|i| 0.2 * shape((hz * (100.0 + i as f64 / 48e3)).rem_euclid(1.0))).collect();
                let (level, rest) = compare(ear, &formula);
                // What is left over is what no converter can play.
                assert!(level.abs() < 0.1 && rest < -18.0, "{name} {level} {rest}");
                assert_sine(name, ear, 48e3, 100.0, |t| hz * t, |_| 0.2 * fundamental);
            }
        }
    }
}

fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|x| x * x).sum::<f64>() / samples.len() as f64).sqrt()
}

#[test]
fn noise_is_as_loud_as_the_format_makes_it() {
    // White: even over −1 … 1. Pink: ten such sources of a tenth, nine of them with lines between their numbers.
    let pink = (1.0f64 / 300.0 + 9.0 * 2.0 / 900.0).sqrt();
    for (word, expected) in
        [("white/30", 0.3 / 3f64.sqrt()), ("pink/40", 0.4 * pink), ("wspin:300+2/30", 0.3 / 3f64.sqrt())]
    {
        for ear in render(program(&format!("a: {word}\n0:00 a")), 48_000, 50.0, 20.0) {
            let off = db(rms(&ear) / expected);
            assert!(off.abs() < if word.starts_with("pink") { 0.3 } else { 0.1 }, "{word} is {off} dB off");
        }
    }
    // Brown: a walk by 0.02 of a white sample at 44.1 kHz: 0.02/√3/|1 − e^(−iω)|; in octaves that are heard.
    let ear = &render(program("a: brown/100\n0:00 a"), 44_100, 50.0, 60.0)[0];
    for hz in [100.0, 200.0, 400.0, 800.0] {
        let step = TAU * hz / 44_100.0;
        let density = 0.02 / 3f64.sqrt() / (2.0 * (step / 2.0).sin());
        // The share of a band of 1 Hz, averaged over many of them.
        let mut power = 0.0;
        for k in 0..40 {
            let w = TAU * (hz + f64::from(k) - 20.0) / 44_100.0;
            for second in ear.chunks_exact(44_100).take(30) {
                let mut sum = Complex::new(0.0, 0.0);
                for (i, x) in second.iter().enumerate() {
                    sum += Complex::new((w * i as f64).cos(), (w * i as f64).sin()) * *x;
                }
                power += sum.norm_sqr() / 44_100.0 / (40.0 * 30.0);
            }
        }
        let off = db(power.sqrt() / density);
        assert!(off.abs() < 1.0, "brown noise is {off} dB off at {hz} Hz");
    }
}

#[test]
fn spinning_noise_is_early_on_one_ear_and_late_on_the_other() {
    // One turn in ten seconds, 500 µs wide, sliding to a width of 250 µs within a minute.
    let text = "a: spin:500+0.1/80\nb: spin:250+0.1/80\n0:00 == a ->\n0:01 == b";
    let [left, right] = render(program(text), 48_000, 0.0, 20.0);
    for second in 0..19 {
        let t = f64::from(second) + 0.5;
        let width = 500.0 - 250.0 * t / 60.0;
        let expected = width * 1e-6 * (TAU * 0.1 * t).sin() * 48_000.0;
        // A twentieth of a second, in which the delay hardly moves.
        let at = (t * 48e3) as usize - 1200;
        let likeness = |delay: i64| -> f64 {
            (0..2400).map(|i| left[at + i] * right[(at as i64 + i as i64 + delay) as usize]).sum()
        };
        let best = (-80..=80).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
        assert!((best as f64 - 2.0 * expected).abs() <= 2.5, "{best} samples at {t} s, not {}", 2.0 * expected);
    }
    // Backwards, the other ear leads.
    let [left, right] = render(program("a: spin:500-0.1/80\n0:00 a"), 48_000, 2.0, 1.0);
    let likeness =
        |delay: i64| -> f64 { (0..2400).map(|i| left[24_000 + i] * right[(24_000 + i as i64 + delay) as usize]).sum() };
    let best = (-80..=80).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
    assert!((best + 48).abs() <= 2, "{best}");
}

#[test]
fn a_bell_is_struck_on_its_line_and_dies_by_the_twentieth_of_a_second() {
    // In the middle of the fade, on the second line; and again where a slide ends.
    for (text, strike_s) in [
        ("off: -\na: bell+1000/40\n0:00 off\n0:05 a", 300.0),
        ("off: -\na: bell+1000/40\n0:00 == off ->\n0:05 == a", 300.0),
        ("a: bell+1000/40\n0:00 a", 0.0),
    ] {
        let ears = render(program(text), 48_000, strike_s, 6.0);
        let mut amplitude = 0.4;
        for step in 0..100 {
            let part = &ears[0][step * 2400 + 200..(step + 1) * 2400 - 1];
            let heard = rms(part) * 2f64.sqrt();
            if amplitude > 0.005 {
                assert!(db(heard / amplitude).abs() < 0.1, "{heard} {amplitude} after {step} steps of {text}");
            } else {
                assert!(heard < 0.006);
            }
            amplitude = (amplitude * 11.0 / 12.0 - 1.0 / 4096.0f64).max(0.0);
        }
        assert_eq!(ears[0], ears[1]);
        if strike_s > 0.0 {
            assert!(
                render(program(text), 48_000, strike_s - 1.0, 0.99)[0].iter().all(|x| *x == 0.0),
                "early in {text}"
            );
        }
    }
}

fn river() -> (Stems, impl Fn(f64) -> f64) {
    let wave = |t: f64| 0.5 * (TAU * 330.0 * t).sin();
    let samples: Vec<f32> = (0..44_100 * 60).map(|i| wave(f64::from(i) / 44_100.0) as f32).collect();
    let stems = Stems::from([("river.wav".into(), Arc::new(Pcm::new(44_100, samples.clone(), samples).unwrap()))]);
    (stems, wave)
}

#[test]
fn a_soundtrack_is_as_loud_as_mix_says_and_moves_as_its_effects_say() {
    let (stems, wave) = river();
    let pulse = |x: f64| {
        let p = (((TAU * x).sin() - 0.3) / 0.7).max(0.0);
        3.0 * p * p - 2.0 * p * p * p
    };
    type Gain<'a> = Box<dyn Fn(f64) -> f64 + 'a>;
    let cases: Vec<(&str, Gain<'_>)> = vec![
        ("a: mix/60", Box::new(move |_| 0.6)),
        ("a: 300/0", Box::new(move |_| 1.0)),
        ("-V 50\na: mix/60", Box::new(move |_| 0.3)),
        ("a: mix/60 mixam:2", Box::new(move |t| 0.6 * (0.45 + 0.55 * (0.5 + 0.5 * (TAU * 2.0 * t).cos())))),
        ("a: mix/60 mixam:2:m=cos:f=0", Box::new(move |t| 0.6 * (0.5 + 0.5 * (TAU * 2.0 * t).cos()))),
        ("a: mix/50 mixpulse:3/40", Box::new(move |t| 0.5 + 0.5 * 0.7 * (0.6 + 0.4 * pulse(3.0 * t)))),
    ];
    for (text, gain) in cases {
        let score = score(&format!("-m river.wav\n{text}\n0:00 a").replace("-m river.wav\n-V", "-m river.wav -V"));
        assert_eq!(score.stems()[0].name, "river.wav");
        let ears = render(score.program_with(EPOCH, Span::from_s(3600), &stems), 48_000, 3.0, 5.0);
        for channel in &ears {
            let formula: Vec<f64> =
                (0..channel.len()).map(|i| 3.0 + i as f64 / 48e3).map(|t| wave(t) * gain(t)).collect();
            let (level, rest) = compare(channel, &formula);
            assert!(level.abs() < 0.1 && rest < -50.0, "{text}: {level} {rest}");
        }
    }
    // What is not there is silent, and the rest plays.
    let without = render(program("-m river.wav\na: 200+4/20 mix/60\n0:00 a"), 48_000, 3.0, 2.0);
    assert_sine("without", &without[0], 48e3, 3.0, |t| 202.0 * t, |_| 0.2);
}

#[test]
fn a_spinning_soundtrack_goes_from_ear_to_ear() {
    let (l, r) = (|t: f64| 0.4 * (TAU * 330.0 * t).sin(), |t: f64| 0.4 * (TAU * 470.0 * t).sin());
    let samples =
        |ear: fn(f64) -> f64| -> Vec<f32> { (0..44_100 * 20).map(|i| ear(f64::from(i) / 44_100.0) as f32).collect() };
    let pcm = Pcm::new(44_100, samples(l), samples(r)).unwrap();
    let stems = Stems::from([("river.wav".into(), Arc::new(pcm))]);
    let score = score("-m river.wav\na: mix/50 mixspin:400+0.5/40\n0:00 a");
    let ears = render(score.program_with(EPOCH, Span::from_s(3600), &stems), 48_000, 3.0, 4.0);
    let expected = |t: f64| {
        let turn = (400e-6 * 44_100.0 * (TAU * 0.5 * t).sin() * (0.5 + 3.5 * 0.4) / 128.0).clamp(-1.0, 1.0);
        let (left, right) = if turn >= 0.0 {
            (l(t) * (1.0 - turn), r(t) + l(t) * turn)
        } else {
            (l(t) - r(t) * turn, r(t) * (1.0 + turn))
        };
        [0.5 * (l(t) + 0.7 * left), 0.5 * (r(t) + 0.7 * right)]
    };
    for (ear, heard) in ears.iter().enumerate() {
        let formula: Vec<f64> = (0..heard.len()).map(|i| expected(3.0 + i as f64 / 48e3)[ear]).collect();
        let (level, rest) = compare(heard, &formula);
        assert!(level.abs() < 0.1 && rest < -50.0, "ear {ear}: {level} {rest}");
    }
}

// ---- what authors draw ----

/// 32 levels, and the density that they mean at a frequency: straight in decibels over the logarithm, 20 Hz to 20 kHz.
fn density(levels: &[f64; 32], hz: f64) -> f64 {
    let place = ((hz / 20.0).ln() / 1000f64.ln() * 31.0).clamp(0.0, 31.0);
    let (i, u) = ((place as usize).min(30), place - (place as usize).min(30) as f64);
    10f64.powf((levels[i] * (1.0 - u) + levels[i + 1] * u) / 10.0)
}

/// Straight lines through four samples of a cycle, at `x` turns.
fn through(samples: [f64; 4], x: f64) -> f64 {
    let place = x.rem_euclid(1.0) * 4.0;
    let i = place as usize % 4;
    samples[i] + (samples[(i + 1) % 4] - samples[i]) * place.fract()
}

fn noise_line(levels: &[f64; 32]) -> String {
    format!("noise00: {}\n", levels.map(|db| db.to_string()).join(" "))
}

#[test]
fn drawn_noise_has_its_levels_and_the_power_of_white_noise() {
    use harmonia_core::fourier::Transform;
    const N: usize = 16_384;
    let falling: [f64; 32] = core::array::from_fn(|i| 20.0 - 1.3 * i as f64);
    let rising: [f64; 32] = core::array::from_fn(|i| -15.0 + i as f64);
    let waves: [f64; 32] = core::array::from_fn(|i| 12.0 * (i as f64 * TAU / 8.0).sin());
    let transform = Transform::new(N);
    for (name, levels) in [("falling", falling), ("rising", rising), ("waves", waves), ("level", [3.0; 32])] {
        let ear = &render(program(&format!("{}a: noise00/30\n0:00 a", noise_line(&levels))), 48_000, 50.0, 150.0)[0];
        // The density at each line of the transform, under a sine window.
        let mut powers = vec![0.0; N / 2];
        let parts = ear.chunks_exact(N);
        let count = parts.len() as f64;
        for part in parts {
            let mut x: Vec<Complex<f32>> = part
                .iter()
                .enumerate()
                .map(|(i, x)| Complex::new((x * (TAU * (i as f64 + 0.5) / (2 * N) as f64).sin()) as f32, 0.0))
                .collect();
            transform.sum(&mut x);
            powers.iter_mut().zip(&x).for_each(|(power, x)| *power += f64::from(x.norm_sqr()) / count);
        }
        let hz = |line: usize| line as f64 * 48e3 / N as f64;
        let expected: Vec<f64> = (0..N / 2).map(|line| density(&levels, hz(line))).collect();
        let total: f64 = expected[2..].iter().sum();
        let scale = (0.3f64 / 3f64.sqrt()).powi(2) / total * (N * N) as f64 / 4.0;
        for (i, level) in levels.iter().enumerate() {
            let middle = 20.0 * 1000f64.powf(i as f64 / 31.0);
            let band = |line: &usize| (middle / 1.118..middle * 1.118).contains(&hz(*line));
            let lines: Vec<usize> = (2..N / 2).filter(band).collect();
            let sum = |powers: &[f64]| lines.iter().map(|line| powers[*line]).sum::<f64>();
            let off = db((sum(&powers) / (scale * sum(&expected))).sqrt());
            // The lowest levels lie as close as the lines of a block.
            let most = if middle < 60.0 { 4.0 } else { 0.6 };
            assert!(off.abs() < most, "{name}: level {i} ({level} dB at {middle:.0} Hz) is {off:.2} dB off");
        }
        let off = db(rms(ear) / (0.3 / 3f64.sqrt()));
        assert!(off.abs() < if name == "falling" { 0.3 } else { 0.1 }, "{name} is {off} dB off");
    }
}

/// The steady noise of a first channel: what pulses or is shifted there is this.
fn steady(levels: &[f64; 32], from_s: f64, seconds: f64) -> Vec<f64> {
    let text = format!("{}a: noise00/100\n0:00 a", noise_line(levels));
    render(program(&text), 48_000, from_s, seconds)[0].clone()
}

#[test]
fn noise_pulses_under_its_envelope() {
    let levels: [f64; 32] = core::array::from_fn(|i| 10.0 - 0.7 * i as f64);
    let noise = steady(&levels, 7.0, 4.0);
    let drawn = |x: f64| through([0.0, 0.25, 1.0, 0.5], x);
    let standard = |x: f64| {
        let p = (((TAU * x).sin() - 0.3) / 0.7).max(0.0);
        3.0 * p * p - 2.0 * p * p * p
    };
    let cases: [(&str, &dyn Fn(f64) -> f64); 2] =
        [("custom00:noise00:noisepulse:4/20", &drawn), ("noise00:noisepulse:4/20", &standard)];
    for (word, pulse) in cases {
        let text = format!("custom00: 0 1 4 2\n{}a: {word}\n0:00 a", noise_line(&levels));
        for ear in render(program(&text), 48_000, 7.0, 4.0) {
            let formula: Vec<f64> =
                noise.iter().enumerate().map(|(i, x)| 0.2 * x * pulse(4.0 * (7.0 + i as f64 / 48e3))).collect();
            let (level, rest) = compare(&ear, &formula);
            assert!(level.abs() < 0.1 && rest < -50.0, "{word}: {level} dB, rest {rest} dB");
        }
    }
    // Without a spectrum it is pink, as loud as pink noise is.
    let ear = &render(program("custom00: 1 1\na: custom00:noisepulse:4/40\n0:00 a"), 48_000, 50.0, 60.0)[0];
    let off = db(rms(ear) / (0.4 * (1.0f64 / 300.0 + 9.0 * 2.0 / 900.0).sqrt()));
    assert!(off.abs() < 0.3, "{off} dB off");
}

#[test]
fn a_noisebeat_lies_half_its_beat_lower_on_the_left_and_higher_on_the_right() {
    use harmonia_core::fourier::Transform;
    const N: usize = 1 << 18;
    let levels: [f64; 32] = core::array::from_fn(|i| if i < 6 { -24.0 } else { 10.0 - 0.5 * i as f64 });
    let noise = &steady(&levels, 7.0, 6.0)[..N];
    // The analytic signal by one transform over all of it: what is positive counts twice, what is negative goes.
    let transform = Transform::new(N);
    let mut lines: Vec<Complex<f32>> = noise.iter().map(|x| Complex::new(*x as f32, 0.0)).collect();
    transform.sum(&mut lines);
    for (k, x) in lines.iter_mut().enumerate() {
        *x = if k == 0 || k >= N / 2 { Complex::default() } else { x.conj() * (2.0 / N as f32) };
    }
    transform.sum(&mut lines);
    let opens = |x: f64| through([0.0, 1.0, 1.0, 0.5], x);
    let cases: [(&str, &dyn Fn(f64) -> f64); 2] =
        [("noise00:noisebeat:5/20", &|_| 1.0), ("custom00:sine:noise00:noisebeat:5/20", &opens)];
    for (word, share) in cases {
        let text = format!("custom00: 0 2 2 1\n{}a: {word}\n0:00 a", noise_line(&levels));
        for (ear, by_hz) in render(program(&text), 48_000, 7.0, 6.0).iter().zip([-2.5, 2.5]) {
            let formula: Vec<f64> = (0..N)
                .map(|i| {
                    let t = 7.0 + i as f64 / 48e3;
                    let (turn, share) = (TAU * by_hz * t, share(2.5 * t));
                    let shifted = f64::from(lines[i].re) * turn.cos() - f64::from(lines[i].im) * turn.sin();
                    0.2 * (noise[i] * (1.0 - share) + shifted * share)
                })
                .collect();
            let inner = 10_000..N - 10_000;
            let (level, rest) = compare(&ear[inner.clone()], &formula[inner]);
            assert!(level.abs() < 0.1 && rest < -35.0, "{word} by {by_hz} Hz: {level} dB, rest {rest} dB");
        }
    }
}

#[test]
fn a_drawn_spin_swings_as_it_is_drawn() {
    // Ten seconds a turn, 400 µs wide.
    let drawn = |x: f64| through([-1.0, 1.0, 0.0, 0.5], x);
    let triangle = |x: f64| 1.0 - 4.0 * ((x + 0.25).rem_euclid(1.0) - 0.5).abs();
    let levels = noise_line(&[0.0; 32]);
    let cases: [(String, &dyn Fn(f64) -> f64); 3] = [
        ("spin00: e=1 -100 100 0 50\na: spin00:wspin:400+0.1/60\n0:00 a".into(), &drawn),
        (format!("spin00: -2 2 0 1\n{levels}a: spin00:noise00:spin:400+0.1/60\n0:00 a"), &drawn),
        ("a: triangle:wspin:400+0.1/60\n0:00 a".into(), &triangle),
    ];
    for (text, motion) in cases {
        let [left, right] = render(program(&text), 48_000, 0.0, 10.0);
        assert!(db(rms(&left) / (0.6 / 3f64.sqrt())).abs() < 0.1, "{text}");
        for second in 0..9 {
            let t = f64::from(second) + 0.6;
            let expected = 2.0 * 400e-6 * 48e3 * motion(0.1 * t);
            let at = (t * 48e3) as usize - 1200;
            let likeness = |delay: i64| -> f64 {
                (0..2400).map(|i| left[at + i] * right[(at as i64 + i as i64 + delay) as usize]).sum()
            };
            let best = (-80..=80).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
            assert!((best as f64 - expected).abs() <= 2.5, "{best} samples at {t} s, not {expected}, of {text}");
        }
    }
}

#[test]
fn a_soundtrack_moves_under_drawn_envelopes_and_is_shifted_apart() {
    let (stems, wave) = river();
    let drawn = |x: f64| through([0.0, 0.5, 1.0, 0.25], x);
    let triangle = |x: f64| 1.0 - 4.0 * ((x + 0.25).rem_euclid(1.0) - 0.5).abs();
    let swing = |x: f64| through([-1.0, 1.0, 0.0, 0.5], x);
    let pulse = |y: f64| {
        let p = ((y - 0.3) / 0.7).max(0.0);
        3.0 * p * p - 2.0 * p * p * p
    };
    // What the copy of the soundtrack becomes, before its 0.7, on the left and the right ear.
    type Copy<'a> = Box<dyn Fn(f64) -> [f64; 2] + 'a>;
    let both = |x: f64| [x, x];
    // Both ears of the recording are the same, so that what one loses the other gains.
    let turned = |t: f64, turn: f64| [wave(t) * (1.0 - turn), wave(t) * (1.0 + turn)];
    let width = 350e-6 * 44_100.0 * (0.5 + 3.5 * 0.45) / 128.0;
    let shifted = |t: f64, share: f64| {
        [-2.75, 2.75].map(|by| wave(t) * (1.0 - share) + share * 0.5 * (TAU * (330.0 + by) * t).sin())
    };
    let cases: Vec<(&str, Copy<'_>)> = vec![
        ("custom00:mixpulse:0.8/55", Box::new(|t| both(wave(t) * (0.45 + 0.55 * drawn(0.8 * t))))),
        ("triangle:mixpulse:0.8/55", Box::new(|t| both(wave(t) * (0.45 + 0.55 * pulse(triangle(0.8 * t)))))),
        ("triangle:mixspin:350+0.6/45", Box::new(|t| turned(t, width * triangle(0.6 * t)))),
        ("custom00:triangle:mixspin:350+0.6/45", Box::new(|t| turned(t, width * triangle(0.6 * t) * drawn(0.6 * t)))),
        (
            "custom00:triangle:spin00:mixspin:350+0.6/45",
            Box::new(|t| turned(t, width * swing(0.6 * t) * drawn(0.6 * t))),
        ),
        ("mixbeat:5.5/40", Box::new(|t| shifted(t, 0.4))),
        ("custom00:mixbeat:5.5/40", Box::new(|t| shifted(t, 0.4 * drawn(2.75 * t)))),
    ];
    for (word, copy) in cases {
        let text = format!("-m river.wav\ncustom00: 0 2 4 1\nspin00: -10 10 0 5\na: mix/80 {word}\n0:00 a");
        let ears = render(score(&text).program_with(EPOCH, Span::from_s(3600), &stems), 48_000, 3.0, 5.0);
        for (ear, heard) in ears.iter().enumerate() {
            let formula: Vec<f64> =
                (0..heard.len()).map(|i| 3.0 + i as f64 / 48e3).map(|t| 0.8 * (wave(t) + 0.7 * copy(t)[ear])).collect();
            let (level, rest) = compare(heard, &formula);
            assert!(level.abs() < 0.1 && rest < -45.0, "{word}, ear {ear}: {level} dB, rest {rest} dB");
        }
    }
}

// ---- sessions ----

/// Carrier, beat and amplitude of the first channel `t` seconds after the score begins.
fn heard(program: &Program, t: f64) -> (f64, f64, f64) {
    use harmonia_core::program::{Beat, Ear, Ears, Wave};
    let at = EPOCH + Span::from_ns((t * 1e9) as i64);
    let channel = &program.channels[0];
    let beat = match &channel.beat {
        Beat::Locked(n) => f64::from(*n) * program.rhythm.frequency_at(at).hz(),
        Beat::Free(rhythm) => rhythm.frequency_at(at).hz(),
    };
    let reference = channel.carrier.frequency_at(at).hz();
    let middle = match &channel.wave {
        Wave::Binaural { .. } => reference + beat / 2.0,
        Wave::Shaped(shaped) if shaped.ears != Ears::Both => reference + beat / 2.0,
        _ => reference,
    };
    let beat = match &channel.wave {
        Wave::Binaural { lead: Ear::Right } => -beat,
        _ => beat,
    };
    (middle, beat, f64::from(channel.amplitude.at(at)))
}

#[test]
fn sessions_follow_their_formulas() {
    type Formula = fn(f64) -> (f64, f64, f64);
    let cases: [(&str, f64, Formula); 9] = [
        ("-p drop 00ds+", 60.0, |m| {
            (205.0 - 5.0 * m / 30.0, if m < 30.0 { 10.0 * 0.25f64.powf(m / 30.0) } else { 2.5 }, 0.01)
        }),
        ("-p drop t40,10,5 20.5b.5s/3", 40.0, |m| (164.0 - 5.0 * m / 40.0, 10.0 * 0.34f64.powf(m / 40.0), 0.03)),
        ("-p drop -01-bs@/2:S=8", 30.0, |m| (207.0 - 5.0 * m / 30.0, 8.0 * (5.1f64 / 8.0).powf(m / 30.0), 0.02)),
        ("-p sigmoid 00ls:l=0.2:h=1", 30.0, |m| {
            let curve = |m: f64| (0.2 * (m - 16.0)).tanh();
            (205.0 - m / 6.0, 10.0 - 9.7 * (curve(m) - curve(0.0)) / (curve(30.0) - curve(0.0)), 0.01)
        }),
        ("-p slide 200+10/1", 30.0, |m| (200.0 - 195.0 * m / 30.0, 10.0, 0.01)),
        ("-p slide t10 200-8/2 pink/10", 10.0, |m| (200.0 - 196.0 * m / 10.0, -8.0, 0.02)),
        ("beat = b0 + (b1-b0)*(0.5 + 0.5*tanh(0.125*(m-D/2)))\namp = a0*(1-0.4*ramp(m,0,D))", 30.0, |m| {
            (205.0 - m / 6.0, 10.0 - 9.7 * (0.5 + 0.5 * (0.125 * (m - 15.0)).tanh()), 0.01 * (1.0 - 0.4 * m / 30.0))
        }),
        ("param l = 9s\nsolve A,C : A*exp(-l*0)+C=b0 ; A*exp(-l*D)+C=b1\nbeat = A*exp(-l*m) + C", 30.0, |m| {
            let (first, last) = (1.0, (-0.15f64 * 30.0).exp());
            let a = 9.7 / (first - last);
            (205.0 - m / 6.0, 10.0 - a * (1.0 - (-0.15 * m).exp()), 0.01)
        }),
        (
            "beat<8 = seg(m,0,8,b0,6)\nbeat<18 = seg(m,8,18,6,3)\nbeat>=18 = seg(m,18,D,3,b1)\ncarrier = 200 + m",
            30.0,
            |m| {
                let seg = |x: f64, x0: f64, x1: f64, y0: f64, y1: f64| {
                    y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0)
                };
                let beat = match m {
                    m if m < 8.0 => seg(m, 0.0, 8.0, 10.0, 6.0),
                    m if m < 18.0 => seg(m, 8.0, 18.0, 6.0, 3.0),
                    m => seg(m, 18.0, 30.0, 3.0, 0.3),
                };
                (200.0 + m, beat, 0.01)
            },
        ),
    ];
    for (text, minutes, formula) in cases {
        let score = score(text);
        assert_eq!(score.duration(), Some(Span::from_s(15 + (minutes * 60.0) as i64)), "{text}");
        assert_eq!(score.start_s(), 86_395.0);
        let program = score.program(EPOCH, Span::from_s(86_400));
        for k in 0..=1000 {
            // It comes within five seconds; then the session proper begins.
            let m = minutes * f64::from(k) / 1000.0;
            let ((carrier, beat, level), (c, b, a)) = (heard(&program, 5.0 + m * 60.0), formula(m));
            let near = (carrier - c).abs() < 0.01 && (beat - b).abs() < 0.01 && db(level / a).abs() < 0.1;
            assert!(near, "{text} at {m}: {carrier} {beat} {level}, not {c} {b} {a}");
        }
        assert_eq!(heard(&program, 0.0).2, 0.0);
        assert!(db(heard(&program, 2.5).2 / formula(0.0).2 * 2.0).abs() < 0.1);
    }
}

#[test]
fn a_stepped_session_rests_on_each_step_and_wakes_up() {
    let program = program("-p drop 00d+^");
    // Ten steps of three minutes down, ten more at the depth; each slides to the next in its last ten seconds.
    for step in 0..20 {
        let beat = 10.0 * 0.25f64.powf(f64::from(step.min(9)) / 9.0);
        let carrier = 205.0 - 5.0 * f64::from(step + 1) * 3.0 / 30.0;
        for s in [1.0, 90.0, 169.0] {
            let (c, b, _) = heard(&program, 5.0 + f64::from(step) * 180.0 + s);
            assert!(
                (c - carrier).abs() < 0.01 && (b - beat).abs() < 0.01,
                "step {step}: {c} {b}, not {carrier} {beat}"
            );
        }
    }
    let (carrier, beat, level) = heard(&program, 5.0 + 3590.0 + 180.0);
    assert!((carrier - 205.0).abs() < 0.01 && (beat - 10.0).abs() < 0.01 && (level - 0.01).abs() < 1e-5);
    assert_eq!(program.duration, Some(Span::from_s(5 + 3590 + 180 + 10)));
}

#[test]
fn a_session_takes_its_soundtrack_along() {
    let (stems, wave) = river();
    let score = score("-A d=0.3:e=0.3:k=10:E=0.7 -m river.wav -p drop Nls mix/80 mixam:beat");
    let program = score.program_with(EPOCH, Span::from_s(3600), &stems);
    assert_eq!(program.channels.len(), 1, "the tone itself is silent");
    let [left, _] = render(program.clone(), 48_000, 30.0, 3.0);
    let formula: Vec<f64> = (0..left.len())
        .map(|i| 30.0 + i as f64 / 48e3)
        .map(|t| {
            let m = (t - 5.0) / 60.0;
            let dip = 1.0 - 0.3 * (-0.3 * (m % 20.0 - 10.0).powi(2)).exp();
            let beat = program.rhythm.phase_at(EPOCH + Span::from_ns((t * 1e9) as i64)).turns();
            0.8 * dip * (1.0 - 0.3 / 30.0 * m) * (0.45 + 0.55 * (0.5 + 0.5 * (TAU * beat).cos())) * wave(t)
        })
        .collect();
    let (level, rest) = compare(&left, &formula);
    assert!(level.abs() < 0.1 && rest < -40.0, "{level} {rest}");
}

#[test]
fn a_faster_clock_shortens_times_and_leaves_pitches() {
    let program = program("-q 60 -SE\na: 200+4/40\nb: 300+6/20\n0:00 == a ->\n1:00 == b\n1:30 == b");
    assert_eq!(program.duration, Some(Span::from_s(90)));
    for (t, carrier, beat, level) in [(0.0, 200.0, 4.0, 0.4), (30.0, 250.0, 5.0, 0.3), (70.0, 300.0, 6.0, 0.2)] {
        let (c, b, l) = heard(&program, t);
        assert!(
            (c - carrier).abs() < 1e-3 && (b - beat).abs() < 1e-4 && (l - level).abs() < 1e-4,
            "{c} {b} {l} at {t}"
        );
    }
}

#[test]
fn immediate_tones_play_at_once_and_for_ever() {
    let immediate = score("-i pink/40 200+4/20 spin:300+4/10");
    assert_eq!((immediate.duration(), immediate.channels()), (None, 3));
    let mut program = immediate.program(EPOCH, Span::from_s(60));
    program.channels.truncate(2);
    program.channels.remove(0);
    assert_sine("-i", &render(program, 48_000, 0.0, 2.0)[0], 48e3, 0.0, |t| 202.0 * t, |_| 0.2);
}
