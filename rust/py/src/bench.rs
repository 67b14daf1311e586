//! `bench_clock`: what an answer costs.
use harmonia_io::bench::{self, Cost};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;

#[pyfunction]
pub fn bench_clock(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyDict>> {
    if !(0.0..=600.0).contains(&seconds) {
        return Err(PyValueError::new_err(format!("a measurement takes from 0 to 600 seconds, not {seconds}")));
    }
    let measured = py.detach(|| bench::clock(seconds)).map_err(errors::io)?;
    let dict = PyDict::new(py);
    let echo = measured.echo.per_cpu_s();
    dict.set_item("echo_answers", measured.echo.answers)?;
    dict.set_item("echo_per_cpu_s", echo)?;
    let add = |name: &str, cost: Cost| -> PyResult<()> {
        dict.set_item(format!("{name}_answers"), cost.answers)?;
        dict.set_item(format!("{name}_per_cpu_s"), cost.per_cpu_s())?;
        dict.set_item(format!("{name}_ratio"), cost.per_cpu_s() / echo)
    };
    add("plain", measured.plain)?;
    add("circle", measured.circle)?;
    add("nts", measured.nts)?;
    add("nts_gcm_siv", measured.nts_gcm_siv)?;
    Ok(dict)
}
