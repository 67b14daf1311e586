//! The pure, deterministic core of Harmonia.
//!
//! Nothing in this crate opens a socket, reads a clock, starts a thread or draws a random number: time, entropy and
//! datagrams are arguments, and everything to be sent or played is a return value. The same calls with the same
//! arguments give the same bits on every machine, which is what lets a night be simulated in milliseconds and lets
//! every platform of a circle compute the same phase.
//!
//! Arrows between the modules point from the bottom of this list to its top.
#![forbid(unsafe_code)]

pub mod units;
pub mod phase;
pub mod rhythm;
pub mod sincos;
pub mod coupling;
pub mod weave;
pub mod packet;
pub mod rate_limit;
pub mod nts;
pub mod filter;
pub mod servo;
pub mod stated;
pub mod session;
pub mod replay;
pub mod select;
pub mod pool;
pub mod node_clock;
pub mod held;
pub mod steering;
pub mod sample;
pub mod seal;
pub mod person_key;
pub mod by_stream;
pub mod hush;
pub mod frame;
pub mod follower;
pub mod listener;
pub mod loudness;
pub mod delivery;
pub mod voice;
pub mod field;
pub mod mix_table;
pub mod mixer;
pub mod envelope;
pub mod fourier;
pub mod spectrum;
pub mod stem;
pub mod bell;
pub mod program;
pub mod score;
pub mod oscillators;
pub mod limiter;
pub mod gate;
pub mod light;
pub mod renderer;
pub mod rehearsal;
pub mod tracker;
