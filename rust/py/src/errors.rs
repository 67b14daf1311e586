//! Every Rust error on its way to Python, in one place.
use harmonia_core::phase::NotFinite;
use harmonia_core::replay::TraceError;
use harmonia_core::rhythm::RhythmError as CoreRhythmError;
use harmonia_core::score::ScoreError as CoreScoreError;
use harmonia_core::stated::Stated;
use harmonia_io::IoError as CoreIoError;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(harmonia._core, ScoreError, PyValueError, "A score was refused.");
create_exception!(harmonia._core, RhythmError, PyValueError, "A rhythm, segment, frequency or offset was refused.");
create_exception!(harmonia._core, IoError, PyOSError, "A socket or a file could not be opened.");

pub fn rhythm(error: CoreRhythmError) -> PyErr {
    RhythmError::new_err(error.to_string())
}

pub fn offset(error: NotFinite) -> PyErr {
    RhythmError::new_err(error.to_string())
}

/// The limits of two clocks, as Python states them.
pub fn stated(max_drift_ppb: i64, max_wander: f64) -> PyResult<Stated> {
    Stated::new(max_drift_ppb, max_wander).map_err(|error| PyValueError::new_err(error.to_string()))
}

pub fn trace(error: TraceError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

pub fn score(py: Python<'_>, error: CoreScoreError) -> PyErr {
    let raised = ScoreError::new_err(error.to_string());
    let value = raised.value(py);
    let set = || -> PyResult<()> {
        value.setattr("name", &error.name)?;
        value.setattr("line", error.line)?;
        value.setattr("column", error.column)?;
        value.setattr("reason", &error.reason)
    };
    set().err().unwrap_or(raised)
}

pub fn io(error: CoreIoError) -> PyErr {
    let message = error.to_string();
    match error {
        CoreIoError::Bind { .. }
        | CoreIoError::BindTcp { .. }
        | CoreIoError::KeyExchange { .. }
        | CoreIoError::NoTime { .. }
        | CoreIoError::Resolve { .. }
        | CoreIoError::File { .. }
        | CoreIoError::NoAlsa { .. }
        | CoreIoError::Device { .. }
        | CoreIoError::System { .. } => IoError::new_err(message),
        CoreIoError::State(_) => PyRuntimeError::new_err(message),
        CoreIoError::UnknownCircle(_)
        | CoreIoError::UnknownSleeper(_)
        | CoreIoError::Voice(_)
        | CoreIoError::Mixer(_)
        | CoreIoError::Coupling(_)
        | CoreIoError::Channels(_)
        | CoreIoError::Level { .. }
        | CoreIoError::SampleRate(_)
        | CoreIoError::Upstream(_)
        | CoreIoError::Certificate { .. }
        | CoreIoError::Music { .. }
        | CoreIoError::OutputLatency { .. }
        | CoreIoError::DeviceBuffer { .. }
        | CoreIoError::LocalClock { .. } => PyValueError::new_err(message),
    }
}

/// How many frames one call may render: 46 minutes at 48 kHz. More would ask for more memory than the machine may have,
/// and that ends the process.
const FRAMES_MAX: usize = 1 << 27;

/// A number of frames to render in one call, or what is wrong with it.
pub fn frames(given: usize) -> PyResult<usize> {
    if given > FRAMES_MAX {
        return Err(PyValueError::new_err(format!(
            "one call renders at most {FRAMES_MAX} frames, not {given}; render in pieces"
        )));
    }
    Ok(given)
}

/// The fixed-length bytes of an argument, or what is wrong with it.
pub fn exactly<const N: usize>(what: &str, given: &[u8]) -> PyResult<[u8; N]> {
    given.try_into().map_err(|_| PyValueError::new_err(format!("{what} must be {N} bytes, not {}", given.len())))
}
