//! Sockets, operating-system clocks, time stamps and threads: feeds `harmonia-core` and drains it.
//!
//! All of the project's `unsafe` stands here, in the two files that talk to the kernel, in the one that talks to the
//! sound card and in the one that hands orders from thread to thread; each block says why it is sound.

pub mod os;
pub mod socket;
pub mod error;
mod lock;
mod state;
mod cookie_file;
pub mod answering;
pub mod entropy;
pub mod nts_ke;
pub mod nts_source;
pub mod time_keys;
pub mod query;
pub mod local_clock;
pub mod handover;
pub mod latency;
pub mod ticker;
pub mod node;
pub mod hub;
pub mod platform;
mod player;
pub mod alsa;
pub mod device;
pub mod tracking;
pub mod upstream;
mod keeper;
pub mod music;
pub mod bench;
pub mod bench_rhythm;
pub mod bench_mix;
pub mod bench_optout;
pub mod bench_hub;

pub use device::DeviceReport;
pub use error::IoError;
pub use node::Node;
pub use nts_source::NtsSource;
pub use platform::{Exchanged, Platform, Silence, Suspends};
pub use player::Sound;
pub use time_keys::TimeKeys;
