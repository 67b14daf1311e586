//! `bench_clock`: what an answer costs; `bench_hub`: what a platform costs.
use harmonia_io::bench::{self, Cost};
use harmonia_io::bench_hub::hub;
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

#[pyfunction]
pub fn bench_hub(py: Python<'_>, platforms: usize, seconds: f64) -> PyResult<Bound<'_, PyDict>> {
    if !(1..=20_000).contains(&platforms) || !(0.0..=600.0).contains(&seconds) {
        return Err(PyValueError::new_err(format!(
            "1 to 20000 platforms are measured for 0 to 600 seconds, not {platforms} for {seconds}"
        )));
    }
    let cost = py.detach(|| hub(platforms, seconds)).map_err(errors::io)?;
    let dict = PyDict::new(py);
    dict.set_item("platforms", cost.platforms)?;
    dict.set_item("locked", cost.locked)?;
    dict.set_item("exchanges", cost.exchanges)?;
    dict.set_item("frames", cost.frames)?;
    dict.set_item("us_per_platform_s", cost.us_per_platform_s())?;
    Ok(dict)
}
