//! Seeded networks and clocks that drive the core's own sessions, and numbered scenarios with limits.
//!
//! Nothing here reads a clock: hours pass in milliseconds, and a seed gives the same run on every machine.
#![forbid(unsafe_code)]

pub mod dice;
pub mod world;
pub mod net;
pub mod exchanges;
pub mod grid;
pub mod regression;
pub mod measure;
pub mod scenarios;
