//! Many sleepers in one call hear what each would hear alone.
use std::sync::Arc;

use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, NoiseColor, Program, Wave};
use harmonia_core::renderer::{Batch, BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;
use proptest::prelude::*;

const RATE: u32 = 48_000;

fn rhythm(from_hz: f64, to_hz: f64) -> Rhythm {
    let [from, to] = [from_hz, to_hz].map(|hz| Frequency::from_hz(hz).unwrap());
    let start = NodeTime::from_ns(0);
    Rhythm::new(Segment::ramp(start, Phase::from_bits(99 << 54), from, to, Span::from_s(20)).unwrap())
}

fn program() -> Arc<Program> {
    let channel =
        |wave, hz, beat| Channel { wave, carrier: rhythm(hz, hz + 30.0), beat, amplitude: Curve::constant(0.1) };
    let fade = Curve::new(vec![(NodeTime::from_ns(0), 0.0), (NodeTime::from_ns(20_000_000), 0.3)]);
    let channels = vec![
        channel(Wave::Binaural { lead: Ear::Right }, 200.0, Beat::Locked(1)),
        channel(Wave::Binaural { lead: Ear::Left }, 90.0, Beat::Locked(3)),
        channel(Wave::Tone, 432.0, Beat::Locked(1)),
        channel(Wave::Binaural { lead: Ear::Right }, 700.0, Beat::Free(rhythm(7.0, -2.0))),
        channel(Wave::Isochronic, 300.0, Beat::Locked(2)),
        Channel { amplitude: fade, ..channel(Wave::Noise(NoiseColor::Pink), 1.0, Beat::Locked(1)) },
    ];
    Arc::new(Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: rhythm(4.0, 5.0), channels })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_hears_to_the_bit_what_a_renderer_of_their_own_would_give(
        sleepers in 1usize..7, blocks in prop::collection::vec((1usize..700, 0i64..40, any::<bool>()), 1..6),
        seed: u32, offline: bool,
    ) {
        let program = program();
        let channels = program.channels.len();
        let rhythms: Vec<_> = (0..sleepers).map(|i| rhythm(4.0 + i as f64, 3.0 + 0.1 * i as f64)).collect();
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
    let mut batch = Batch::new(program(), RATE, 0).unwrap();
    assert!(batch.is_empty());
    batch.render(BlockClock::nominal(NodeTime::from_ns(0), RATE), 64, |_| unreachable!("nobody is asked"), &mut []);
}
