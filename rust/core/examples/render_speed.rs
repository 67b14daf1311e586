//! How many sine-samples a second one core renders: `cargo run --release -p harmonia-core --example render_speed`.
//!
//! A binaural channel is two sines, one an ear. Three numbers: the kernel alone, the renderer with the gate open and
//! the limiter in its path, and the same while every coefficient and the offset glide.
// An example may look at the clock; the core may not.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use harmonia_core::oscillators::{Bank, RUN_MAX, SINES_MAX};
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, Program, Wave};
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

const RATE: u32 = 48_000;
const CHANNELS: usize = 32;
const BLOCKS: usize = 100;
const BLOCK: usize = 256;

fn steady(hz: f64) -> Rhythm {
    Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz).expect("a frequency")))
}

fn kernel() -> f64 {
    let mut bank = Bank::default();
    for k in 0..SINES_MAX {
        let m = Complex::new(1e-3, 1e-4 * k as f32);
        let step = ((170.0 + 17.0 * k as f64) / f64::from(RATE) * 2f64.powi(64)) as i64;
        bank.push(Phase::from_bits((k as u64) << 57), step, m, m, RUN_MAX);
    }
    let mut out = [0.0f32; RUN_MAX];
    let runs = 500u64;
    let start = Instant::now();
    for _ in 0..runs {
        black_box(&mut bank).add_to(&mut out);
    }
    black_box(&out);
    (runs * (SINES_MAX * RUN_MAX) as u64) as f64 / start.elapsed().as_secs_f64()
}

fn renderer(gliding: bool) -> f64 {
    let channel = |k: usize| Channel {
        wave: Wave::Binaural { lead: Ear::Right },
        carrier: steady(170.0 + 17.0 * k as f64),
        beat: Beat::Locked(1 + k as u32 % 3),
        amplitude: Curve::constant(0.02),
    };
    let rhythm = steady(4.0);
    let channels = (0..CHANNELS).map(channel).collect();
    let program = Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: rhythm.clone(), channels };
    let mut renderer = Renderer::offline(Arc::new(program), RATE).expect("a usual rate");
    let (own, a, b) =
        ([Complex::new(1.0, 0.0); CHANNELS], [Complex::new(0.2, 0.1); CHANNELS], [Complex::default(); CHANNELS]);
    let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
    let mut clock = BlockClock::nominal(NodeTime::from_ns(0), RATE);
    let start = Instant::now();
    for block in 0..BLOCKS {
        let odd = gliding && block % 8 >= 4;
        let input = Targets {
            others: if odd { &a } else { &b },
            own: &own,
            others_glide: Span::from_ms(100),
            offset: PhaseOffset::from_bits(if odd { 1 << 61 } else { 0 }),
            ceiling: 1.0,
            gate_open: true,
            limit: true,
        };
        renderer.render(clock, &rhythm, &input, &mut left, &mut right);
        clock = clock.after(BLOCK);
    }
    black_box((&left, &right));
    (2 * CHANNELS * BLOCK * BLOCKS) as f64 / start.elapsed().as_secs_f64()
}

/// The best of many slices: others use the machine, too.
fn best(slice: impl Fn() -> f64) -> f64 {
    (0..300).map(|_| slice()).fold(0.0, f64::max) / 1e9
}

fn main() {
    if std::env::args().len() > 1 {
        for _ in 0..10 {
            best(|| renderer(false));
        }
        return;
    }
    println!("kernel             {:6.2}e9 sine-samples/s", best(kernel));
    println!("renderer, steady   {:6.2}e9 sine-samples/s", best(|| renderer(false)));
    println!("renderer, gliding  {:6.2}e9 sine-samples/s", best(|| renderer(true)));
}
