//! What things cost: an answer (`bench_clock`), a platform (`bench_hub`), coupled rhythms (`RhythmBench`), sound
//! (`MixBench`, `bench_mix_kernel`, beside the processor's `bench_mix_peak`), and mixing and opting out (`bench_ticks`,
//! `bench_crowd`, beside how late a `TimerBench` wakes).
use std::sync::Mutex;
use std::time::Duration;

use harmonia_io::bench::{self, Cost};
use harmonia_io::bench_hub::hub;
use harmonia_io::bench_mix::{self, Done, MixBench as CoreMixBench};
use harmonia_io::bench_optout::{self, Crowd, Timer};
use harmonia_io::bench_rhythm::RhythmBench as CoreRhythmBench;
use harmonia_io::latency::Latency;
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
    add("echo_long", measured.echo_long)?;
    add("plain", measured.plain)?;
    add("circle", measured.circle)?;
    add("nts", measured.nts)?;
    add("nts_gcm_siv", measured.nts_gcm_siv)?;
    Ok(dict)
}

/// So much CPU time, or what is wrong with it.
fn duration(seconds: f64) -> PyResult<Duration> {
    if !(0.0..=600.0).contains(&seconds) {
        return Err(PyValueError::new_err(format!("a measurement takes from 0 to 600 seconds, not {seconds}")));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn done(done: Done) -> (u64, f64) {
    (done.count, done.cpu_ns as f64 / 1e9)
}

#[pyfunction]
pub fn bench_mix_peak(py: Python<'_>, seconds: f64) -> PyResult<(u64, f64)> {
    let duration = duration(seconds)?;
    Ok(done(py.detach(|| bench_mix::multiply_add(duration))))
}

#[pyfunction]
pub fn bench_mix_kernel(py: Python<'_>, seconds: f64) -> PyResult<(u64, f64)> {
    let duration = duration(seconds)?;
    Ok(done(py.detach(|| bench_mix::kernel(duration))))
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct MixBench(Mutex<CoreMixBench>);

#[pymethods]
impl MixBench {
    #[new]
    fn new(py: Python<'_>, sleepers: usize) -> PyResult<Self> {
        if !(1..=100_000).contains(&sleepers) {
            return Err(PyValueError::new_err(format!("1 to 100000 sleepers are rendered for, not {sleepers}")));
        }
        py.detach(|| CoreMixBench::new(sleepers)).map(|bench| Self(Mutex::new(bench))).map_err(errors::io)
    }

    #[pyo3(signature = (seconds, *, gliding = false))]
    fn run(&self, py: Python<'_>, seconds: f64, gliding: bool) -> PyResult<(u64, f64)> {
        let duration = duration(seconds)?;
        Ok(done(py.detach(|| {
            let mut bench = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            bench.run(duration, gliding)
        })))
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct RhythmBench(Mutex<CoreRhythmBench>);

#[pymethods]
impl RhythmBench {
    #[new]
    fn new(py: Python<'_>, sleepers: usize) -> PyResult<Self> {
        if !(1..=100_000_000).contains(&sleepers) {
            return Err(PyValueError::new_err(format!(
                "a population has from 1 to 100000000 sleepers, not {sleepers}"
            )));
        }
        py.detach(|| CoreRhythmBench::new(sleepers)).map(|bench| Self(Mutex::new(bench))).map_err(errors::io)
    }

    fn run(&self, py: Python<'_>, seconds: f64) -> PyResult<(u64, f64, f64)> {
        let duration = duration(seconds)?;
        let stepped = py.detach(|| {
            let mut bench = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            bench.run(duration)
        });
        Ok((stepped.evaluations, stepped.cpu_ns as f64 / 1e9, stepped.unity))
    }
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

/// Percentiles under names that begin with `name`, in milliseconds.
pub fn put_latency(dict: &Bound<'_, PyDict>, name: &str, latency: &Latency) -> PyResult<()> {
    for (suffix, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        dict.set_item(format!("{name}{suffix}_ms"), latency.quantile_ns(share) as f64 / 1e6)?;
    }
    Ok(())
}

#[pyfunction]
pub fn bench_ticks(py: Python<'_>, sleepers: usize, channels: usize, seconds: f64) -> PyResult<Bound<'_, PyDict>> {
    if !(1_000..=1_000_000).contains(&sleepers) || !(1..=64).contains(&channels) || !(0.0..=600.0).contains(&seconds) {
        return Err(PyValueError::new_err(format!(
            "1000 to 1000000 sleepers on 1 to 64 channels are mixed for 0 to 600 seconds, not {sleepers} on {channels} \
             for {seconds}"
        )));
    }
    let cost = py.detach(|| bench_optout::mixes(sleepers, channels, Duration::from_secs_f64(seconds)));
    let (cost, dict) = (cost.map_err(errors::io)?, PyDict::new(py));
    dict.set_item("ticks", cost.cpu.count())?;
    put_latency(&dict, "", &cost.cpu)?;
    put_latency(&dict, "elapsed_", &cost.elapsed)?;
    Ok(dict)
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct TimerBench(Mutex<Option<Timer>>);

#[pymethods]
impl TimerBench {
    #[new]
    fn new() -> PyResult<Self> {
        Timer::start().map(|timer| Self(Mutex::new(Some(timer)))).map_err(errors::io)
    }

    fn stop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let timer = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(timer) = timer {
            dict.set_item("deadlines", timer.lateness().count())?;
            put_latency(&dict, "", timer.lateness())?;
        }
        Ok(dict)
    }
}

#[pyfunction]
pub fn bench_session(port: u16, sleeper: u64) -> (u64, [u8; 32]) {
    bench_optout::session(port, sleeper)
}

#[pyfunction]
pub fn bench_crowd(
    py: Python<'_>,
    port: u16,
    circles: usize,
    sleepers: usize,
    optouts: usize,
    per_s: f64,
) -> PyResult<Bound<'_, PyDict>> {
    if circles < 1 || sleepers < 1 || circles.saturating_mul(sleepers) > 20_000 || !(0.1..=1e5).contains(&per_s) {
        return Err(PyValueError::new_err(format!(
            "a crowd has from 1 to 20000 sleepers, who opt out 0.1 to 100000 times a second, not {circles} × {sleepers} \
             and {per_s}"
        )));
    }
    let plan = Crowd { port, circles, sleepers, optouts, per_s };
    let (seen, dict) = (py.detach(|| bench_optout::crowd(plan)).map_err(errors::io)?, PyDict::new(py));
    dict.set_item("optouts", seen.last.count())?;
    dict.set_item("lost", seen.lost)?;
    dict.set_item("frames", seen.frames)?;
    put_latency(&dict, "first_", &seen.first)?;
    put_latency(&dict, "last_", &seen.last)?;
    Ok(dict)
}
