//! `harmonia._core`: each function converts, releases the GIL, calls. The `.pyi` beside the package is the manual.
// PyO3's macros make items that cannot carry documentation, and the manual is the `.pyi`.
#![allow(missing_docs)]

mod batch;
mod bench;
mod by_stream;
mod errors;
mod filter;
mod node;
mod person_key;
mod platform;
mod replay;
mod query;
mod rehearsal;
mod rhythm;
mod score;
mod tracker;

use pyo3::prelude::*;

#[pymodule(name = "_core")]
mod core_module {
    use super::*;

    #[pymodule_export]
    use super::batch::BatchRenderer;
    #[pymodule_export]
    use super::bench::{
        bench_clock, bench_crowd, bench_hub, bench_mix_kernel, bench_mix_peak, bench_session, bench_ticks,
    };
    #[pymodule_export]
    use super::bench::{MixBench, RhythmBench, TimerBench};
    #[pymodule_export]
    use super::by_stream::ByStream;
    #[pymodule_export]
    use super::errors::{IoError, RhythmError, ScoreError};
    #[pymodule_export]
    use super::filter::estimates;
    #[pymodule_export]
    use super::node::{Node, NodeEvent, NodeSource, NodeTracking, PlatformStatus, WeaveThread};
    #[pymodule_export]
    use super::person_key::PersonKey;
    #[pymodule_export]
    use super::platform::{play_samples, sound_devices, ClockExchange, ClockReading, Platform, TimeKeys};
    #[pymodule_export]
    use super::query::{query_time, TimeMeasurement};
    #[pymodule_export]
    use super::rehearsal::Rehearsal;
    #[pymodule_export]
    use super::replay::replay_trace;
    #[pymodule_export]
    use super::rhythm::{offset_from_turns, Rhythm};
    #[pymodule_export]
    use super::score::{Renderer, Score, Stem};
    #[pymodule_export]
    use super::tracker::{LiveTracker, Tracker};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
