//! Many sleepers in one call hear what each would hear alone.
use std::sync::Arc;

use harmonia_core::envelope::Envelope;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{
    Beat, Channel, Curve, Ear, Ears, Hiss, Hissing, NoiseColor, Program, Shape, Shaped, Shift, Strike, Wave,
};
use harmonia_core::renderer::{Batch, BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::spectrum::Spectrum;
use harmonia_core::stem::{Pcm, Stem};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use proptest::prelude::*;

const RATE: u32 = 48_000;

/// How long everything glides: so quickly that runs are cut short, or so slowly that none is.
const GLIDES_S: [i64; 2] = [20, 2_000];

fn rhythm(from_hz: f64, to_hz: f64, over_s: i64) -> Rhythm {
    let [from, to] = [from_hz, to_hz].map(|hz| Frequency::from_hz(hz).unwrap());
    let start = NodeTime::from_ns(0);
    Rhythm::new(Segment::ramp(start, Phase::from_bits(99 << 54), from, to, Span::from_s(over_s)).unwrap())
}

fn shift() -> Shift {
    Shift::new(Arc::new(Envelope::shape(Shape::Square)), Arc::new(Envelope::cosine(0.0)))
}

/// Every wave that a program may hold.
fn waves() -> Vec<Wave> {
    let levels: [f64; 32] = core::array::from_fn(|i| 10.0 - i as f64);
    let spectrum = Arc::new(Spectrum::drawn(&levels).unwrap());
    let hiss = |hissing| Wave::Hiss(Arc::new(Hiss { spectrum: Arc::clone(&spectrum), hissing }));
    let shaped = |shape, ears, envelope: Option<Envelope>| {
        Wave::Shaped(Arc::new(Shaped { shape, ears, envelope: envelope.map(Arc::new) }))
    };
    let music: Vec<f32> = (0..6_000).map(|i| (i as f32 / 50.0).sin()).collect();
    let pcm = Arc::new(Pcm::new(44_100, music.clone(), music).unwrap());
    let mut stem = Stem::new(Some(pcm), NodeTime::from_ns(5), Some(Span::from_ms(200)));
    stem.envelope = Some(Arc::new(Envelope::cosine(0.0).above(0.4)));
    let mut shifted = stem.clone();
    shifted.shift_apart(shift());
    let strikes = (0..50).map(|i| Strike { at: NodeTime::from_ns(i * 90_000_000), amplitude: 0.5 }).collect();
    vec![
        Wave::Tone,
        Wave::Binaural { lead: Ear::Left },
        Wave::Binaural { lead: Ear::Right },
        Wave::Isochronic,
        Wave::Noise(NoiseColor::Pink),
        Wave::Spin(NoiseColor::Brown),
        Wave::Bell(strikes),
        shaped(Shape::Sine, Ears::Sum, Some(Envelope::standard())),
        shaped(Shape::Square, Ears::Lead(Ear::Right), None),
        shaped(Shape::Triangle, Ears::Both, None),
        Wave::Stem(Arc::new(stem)),
        Wave::Stem(Arc::new(shifted)),
        hiss(Hissing::Steady),
        hiss(Hissing::Pulse(Arc::new(Envelope::standard()))),
        hiss(Hissing::Swing(Arc::new(Envelope::shape(Shape::Sawtooth)))),
        hiss(Hissing::Shift(shift())),
    ]
}

fn program(over_s: i64) -> Arc<Program> {
    let rhythm = |from_hz, to_hz| rhythm(from_hz, to_hz, over_s);
    let channel =
        |wave, hz, beat| Channel { wave, carrier: rhythm(hz, hz + 30.0), beat, amplitude: Curve::constant(0.1) };
    let fade = Curve::new(vec![(NodeTime::from_ns(0), 0.0), (NodeTime::from_ns(20_000_000), 0.3)]);
    let mut channels = vec![
        channel(Wave::Binaural { lead: Ear::Right }, 200.0, Beat::Locked(1)),
        channel(Wave::Binaural { lead: Ear::Left }, 90.0, Beat::Locked(3)),
        channel(Wave::Tone, 432.0, Beat::Locked(1)),
        channel(Wave::Binaural { lead: Ear::Right }, 700.0, Beat::Free(rhythm(7.0, -2.0))),
        channel(Wave::Isochronic, 300.0, Beat::Locked(2)),
        Channel { amplitude: fade, ..channel(Wave::Noise(NoiseColor::Pink), 1.0, Beat::Locked(1)) },
    ];
    channels.extend(waves().into_iter().zip(0u32..).map(|(wave, k)| {
        let beat = if k.is_multiple_of(3) { Beat::Free(rhythm(3.0, 1.0)) } else { Beat::Locked(1 + k % 2) };
        channel(wave, 250.0 + 41.0 * f64::from(k), beat)
    }));
    Arc::new(Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: rhythm(4.0, 5.0), channels })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_hears_to_the_bit_what_a_renderer_of_their_own_would_give(
        sleepers in 1usize..7, blocks in prop::collection::vec((1usize..700, 0i64..40, any::<bool>()), 1..6),
        seed: u32, offline: bool, over_s in prop::sample::select(&GLIDES_S[..]),
    ) {
        let program = program(over_s);
        let channels = program.channels.len();
        let rhythms: Vec<_> = (0..sleepers).map(|i| rhythm(4.0 + i as f64, 3.0 + 0.1 * i as f64, over_s)).collect();
        let mut batch = if offline { Batch::offline(Arc::clone(&program), RATE, sleepers) }
            else { Batch::new(Arc::clone(&program), RATE, sleepers) }.unwrap();
        let mut alone: Vec<_> = (0..sleepers).map(|_| {
            if offline { Renderer::offline(Arc::clone(&program), RATE) } else { Renderer::new(Arc::clone(&program), RATE) }.unwrap()
        }).collect();
        let mut clock = BlockClock::nominal(NodeTime::from_ns(i64::from(seed)), RATE);
        for (b, (frames, glide_ms, open)) in blocks.into_iter().enumerate() {
            let m = |i: usize| Complex::from_polar(((i * 7 + b) % 5) as f32 / 3.0, (seed >> 8) as f32 * i as f32);
            let own: Vec<_> = (0..sleepers * channels).map(m).collect();
            let others: Vec<_> = (1..=sleepers * channels).map(m).collect();
            let input = |i: usize| {
                let of = |m: &'_ [Complex<f32>]| m[i * channels..(i + 1) * channels].to_vec();
                (of(&own), of(&others), PhaseOffset::from_bits((i as i64 + b as i64) << 58))
            };
            let inputs: Vec<_> = (0..sleepers).map(input).collect();
            let targets = |i: usize| Targets {
                others: &inputs[i].1,
                own: &inputs[i].0,
                others_glide: Span::from_ms(glide_ms),
                offset: inputs[i].2,
                ceiling: 0.5,
                gate_open: open || i.is_multiple_of(2),
                limit: true,
            };
            let mut out = vec![f32::NAN; sleepers * 2 * frames];
            batch.render(clock, frames, |i| (&rhythms[i], targets(i)), &mut out);
            for (i, renderer) in alone.iter_mut().enumerate() {
                let (mut left, mut right) = (vec![0.0; frames], vec![0.0; frames]);
                renderer.render(clock, &rhythms[i], &targets(i), &mut left, &mut right);
                let row = &out[2 * i * frames..2 * (i + 1) * frames];
                prop_assert!(row[..frames] == left && row[frames..] == right, "sleeper {} in block {}", i, b);
            }
            clock = clock.after(frames);
        }
    }
}

#[test]
fn nobody_is_a_batch_too() {
    let mut batch = Batch::new(program(GLIDES_S[0]), RATE, 0).unwrap();
    assert!(batch.is_empty());
    batch.render(BlockClock::nominal(NodeTime::from_ns(0), RATE), 64, |_| unreachable!("nobody is asked"), &mut []);
}
