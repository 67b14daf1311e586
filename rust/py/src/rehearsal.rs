//! `Rehearsal`: a woven circle without a network, and what one of its sleepers hears.
use std::collections::BTreeMap;
use std::sync::Mutex;

use harmonia_core::coupling::Strength;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::rehearsal::{Part, Rehearsal as Core};
use harmonia_core::units::Span;
use num_complex::Complex;
use numpy::PyArray2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::node::WeaveThread;
use crate::score::{coefficients, stereo, Score};

type PartTuple = (f64, f64, f32, f64, f32, Vec<Complex<f64>>);

#[pyclass(frozen, module = "harmonia._core")]
pub struct Rehearsal(Mutex<Core>);

fn refused(error: impl core::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl Rehearsal {
    #[new]
    fn new(
        py: Python<'_>,
        score: &Score,
        sample_rate: u32,
        strength_rad_s: f64,
        lag_rad: f64,
        parts: Vec<PartTuple>,
        ear: usize,
    ) -> PyResult<Self> {
        let part = |(own_hz, turns, coupling, lets_go_s, depth, voice): PartTuple| -> PyResult<Part> {
            let phase = Phase::ZERO + PhaseOffset::from_turns(turns).map_err(errors::offset)?;
            let lets_go = Span::from_ns((lets_go_s.clamp(0.0, 1e9) * 1e9) as i64);
            Ok(Part { own_hz, phase, coupling, lets_go, voice: coefficients(&voice), depth })
        };
        let parts = parts.into_iter().map(part).collect::<PyResult<Vec<_>>>()?;
        let strength = Strength::new(strength_rad_s, lag_rad).map_err(refused)?;
        let made = py.detach(|| Core::new(score.program(0, &BTreeMap::new()), sample_rate, strength, parts, ear));
        made.map(|core| Self(Mutex::new(core))).map_err(refused)
    }

    fn tick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let mut samples = Vec::new();
        py.detach(|| self.locked().tick(&mut samples)).map_err(refused)?;
        stereo(py, samples)
    }

    fn weave(&self, py: Python<'_>) -> (Complex<f64>, Vec<WeaveThread>) {
        let (mean, threads) = py.detach(|| {
            let core = self.locked();
            (core.mean(), core.threads())
        });
        (mean, threads.into_iter().map(WeaveThread).collect())
    }

    #[getter]
    fn elapsed_ns(&self) -> i64 {
        self.locked().elapsed().ns()
    }
}

impl Rehearsal {
    fn locked(&self) -> std::sync::MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
