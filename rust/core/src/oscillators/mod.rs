//! What channels are made of: sines from exact phases, and noise that is the same everywhere.
mod bank;
mod noise;
mod sine;

pub use crate::spectrum::{NOISE_RATE, NOISE_RMS};
pub(crate) use bank::Starts;
pub use bank::{Bank, LANES, RUN_MAX, SINES_MAX, SLOW_RUN_MAX, SLOW_TURNS};
pub use noise::{spectrum, Noise};
pub use sine::Sine;
