//! `replay_trace`: recorded exchanges through the session that platforms run.
use harmonia_core::replay::replay;
use pyo3::prelude::*;

use crate::errors;

#[pyfunction]
pub fn replay_trace(
    py: Python<'_>,
    trace: &str,
    name: &str,
    max_drift_ppb: i64,
    max_wander: f64,
) -> PyResult<(String, String)> {
    errors::stated(max_drift_ppb, max_wander)?;
    let (csv, summary) = py.detach(|| replay(trace, name, max_drift_ppb, max_wander)).map_err(errors::trace)?;
    let summary = serde_json::to_string(&summary).expect("numbers make JSON");
    Ok((csv, summary))
}
