//! What channels are made of: sines from exact phases, and noise that is the same everywhere.
mod noise;
mod sine;

pub use noise::{Noise, NOISE_RATE, NOISE_RMS};
pub use sine::{Sine, LANES, RUN_MAX, SLOW_HZ, SLOW_RUN_MAX};
