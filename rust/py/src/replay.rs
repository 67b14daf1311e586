//! `replay_trace`: recorded exchanges through the session that platforms run.
use harmonia_core::replay::{replay, MAX_DRIFT_PPB, MAX_WANDER};
use pyo3::exceptions::PyValueError;
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
    if !(0..=MAX_DRIFT_PPB).contains(&max_drift_ppb) {
        return Err(PyValueError::new_err(format!(
            "the largest drift must be 0 to {} ppm, not {}",
            MAX_DRIFT_PPB / 1000,
            max_drift_ppb as f64 / 1e3
        )));
    }
    if !(0.0..=MAX_WANDER).contains(&max_wander) {
        return Err(PyValueError::new_err(format!("the largest wander must be 0 to {MAX_WANDER}/s, not {max_wander}")));
    }
    let (csv, summary) = py.detach(|| replay(trace, name, max_drift_ppb, max_wander)).map_err(errors::trace)?;
    let summary = serde_json::to_string(&summary).expect("numbers make JSON");
    Ok((csv, summary))
}
