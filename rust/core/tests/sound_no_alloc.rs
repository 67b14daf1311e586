//! After they are made, a renderer and a tracker allocate nothing: counted by the allocator itself.
use std::hint::black_box;
use std::sync::Arc;

use harmonia_core::envelope::{Edge, Envelope};
use harmonia_core::mix_table::MixTable;
use harmonia_core::mixer::CircleMixer;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{
    Beat, Channel, Curve, Ear, Ears, Hiss, Hissing, NoiseColor, Program, Shape, Shaped, Shift, Strike, Wave,
};
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::spectrum::Spectrum;
use harmonia_core::stem::{Pcm, Stem};
use harmonia_core::tracker::{Estimator, Tracker};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

mod counting;
use counting::allocations;

fn steady(hz: f64) -> Rhythm {
    Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz).unwrap()))
}

fn shaped(shape: Shape, ears: Ears, envelope: Option<Envelope>) -> Wave {
    Wave::Shaped(Arc::new(Shaped { shape, ears, envelope: envelope.map(Arc::new) }))
}

/// A second and a half of music, looped, pulsing, and turning or not.
fn stem(turned: bool) -> Wave {
    let samples: Vec<f32> = (0..66_150).map(|i| (i as f32 / 50.0).sin()).collect();
    let pcm = Arc::new(Pcm::new(44_100, samples.clone(), samples).unwrap());
    let mut stem = Stem::new(Some(pcm), NodeTime::from_ns(5), Some(Span::from_ms(200)));
    stem.envelope = Some(Arc::new(Envelope::cosine(0.0).above(0.4)));
    stem.turned = turned;
    Wave::Stem(Arc::new(stem))
}

fn shift() -> Shift {
    Shift::new(Arc::new(Envelope::shape(Shape::Square)), Arc::new(Envelope::cosine(0.0)))
}

fn hiss(hissing: Hissing) -> Wave {
    let levels: [f64; 32] = core::array::from_fn(|i| 10.0 - i as f64);
    Wave::Hiss(Arc::new(Hiss { spectrum: Arc::new(Spectrum::drawn(&levels).unwrap()), hissing }))
}

/// The same music, otherwise turned, or shifted apart.
fn moved(shifted: bool) -> Wave {
    let Wave::Stem(mut stem) = stem(!shifted) else { panic!("a stem") };
    let inner = Arc::make_mut(&mut stem);
    if shifted {
        inner.shift_apart(shift());
    } else {
        inner.motion = Some(Arc::new(Envelope::shape(Shape::Triangle)));
    }
    Wave::Stem(stem)
}

#[test]
fn the_allocator_counts() {
    assert!(allocations(|| drop(black_box(vec![1u8; 100]))) >= 2);
}

#[test]
fn rendering_allocates_nothing_whatever_moves() {
    let waves = [
        Wave::Tone,
        Wave::Binaural { lead: Ear::Left },
        Wave::Isochronic,
        Wave::Noise(NoiseColor::White),
        Wave::Noise(NoiseColor::Pink),
        Wave::Noise(NoiseColor::Brown),
        Wave::Spin(NoiseColor::Pink),
        Wave::Spin(NoiseColor::White),
        Wave::Bell((1..9_000).map(|i| Strike { at: NodeTime::from_ns(i * 20_000_000), amplitude: 0.5 }).collect()),
        shaped(Shape::Sine, Ears::Sum, Some(Envelope::standard())),
        shaped(Shape::Square, Ears::Lead(Ear::Right), Some(Envelope::literal(&[0.0, 1.0, 0.5], Edge::Hard).unwrap())),
        shaped(Shape::Triangle, Ears::Both, None),
        shaped(Shape::Sawtooth, Ears::Sum, None),
        stem(false),
        stem(true),
        moved(false),
        moved(true),
        hiss(Hissing::Steady),
        hiss(Hissing::Pulse(Arc::new(Envelope::standard()))),
        hiss(Hissing::Swing(Arc::new(Envelope::shape(Shape::Sawtooth)))),
        hiss(Hissing::Shift(shift())),
    ];
    const COUNT: usize = 21;
    assert_eq!(waves.len(), COUNT);
    let channel = |wave| {
        let fade = Curve::new(vec![(NodeTime::from_ns(0), 0.0), (NodeTime::from_ns(10_000_000_000), 0.3)]);
        Channel { wave, carrier: steady(120.0), beat: Beat::Locked(2), amplitude: fade }
    };
    let channels: Vec<_> = waves.into_iter().map(channel).collect();
    let rhythm = steady(4.0);
    let program = Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: rhythm.clone(), channels };
    let mut renderer = Renderer::new(Arc::new(program), 48_000).unwrap();
    let (mut left, mut right) = ([0.0; 480], [0.0; 480]);
    let mut clock = BlockClock::nominal(NodeTime::from_ns(1), 48_000);
    let counted = allocations(|| {
        for block in 0..1_000_000u32 {
            let x = (block % 97) as f32 / 20.0 - 2.0;
            let (own, others) = ([Complex::new(x, f32::NAN); COUNT], [Complex::new(1.0, x); COUNT]);
            let input = Targets {
                others: &others[..(block % 16) as usize],
                own: &own,
                others_glide: Span::from_ms(i64::from(block % 300)),
                offset: PhaseOffset::from_bits(i64::from(block) << 50),
                ceiling: x,
                gate_open: block % 1000 > 100,
                limit: block % 3 != 0,
            };
            let samples = if block % 97 == 0 { 480 } else { 1 + (block % 64) as usize };
            renderer.render(clock, &rhythm, &input, &mut left[..samples], &mut right[..samples]);
            clock = clock.after(samples);
            if block % 50_000 == 0 {
                clock.start = NodeTime::from_ns(i64::from(block) * 7_000_000); // a jump
            }
            black_box((renderer.level_dbfs(), renderer.offset()));
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn mixing_allocates_nothing_whatever_changes() {
    let (mut mixer, mut table) = (CircleMixer::new(8, 0.5), MixTable::new(8));
    let mut out = vec![Complex::default(); 64 * 8];
    let (mut calls, mut applied) = (0, 0);
    for step in 0..2_000u64 {
        let (sleeper, other) = (step * 7 % 64, step * 11 % 64);
        mixer.add(sleeper);
        mixer.set_plan(sleeper, step % 3 > 0, step % 5 > 0, true).unwrap();
        mixer.release(sleeper, None);
        mixer.set_weight(sleeper, (step % 4) as f32).unwrap();
        mixer.set_apart(sleeper, &[other, 1], &[other / 2]).unwrap();
        if step % 9 == 0 {
            mixer.mute(other, [step as u8; 16]);
            mixer.remove(other / 3);
        }
        let mut changes: Vec<_> = mixer.changes().collect();
        applied += changes.len();
        calls += allocations(|| {
            changes.iter_mut().for_each(|change| table.apply(change));
            table.mixes(0, black_box(&mut out[..table.places() * 8]));
        });
    }
    assert_eq!(calls, 0, "in {applied} changes");
}

#[test]
fn a_tracker_allocates_nothing() {
    for estimator in Estimator::ALL {
        let mut tracker = Tracker::new(0.5, 1.5, 64.0, estimator).unwrap();
        let calls = allocations(|| {
            for i in 0..20_000u32 {
                let sample = if i % 997 < 50 { f64::NAN } else { (f64::from(i) * 0.1).sin() + f64::from(i % 7) };
                black_box(tracker.push(sample));
            }
        });
        assert_eq!(calls, 0, "{}", estimator.name());
    }
}
