//! `Tracker` and `LiveTracker`: the phase of a living rhythm, causally.
use std::sync::{Mutex, MutexGuard, PoisonError};

use harmonia_core::tracker::{Estimate, Estimator, LiveTracker as CoreLive, Tracker as Core, TrackerError};
use harmonia_core::units::PlatformTime;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Columns<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

fn estimator(name: &str) -> PyResult<Estimator> {
    Estimator::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| {
        let names = Estimator::ALL.map(Estimator::name).join(", ");
        PyValueError::new_err(format!("no estimator {name:?}; there are: {names}"))
    })
}

fn refused(error: TrackerError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Each call leaves a tracker whole, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct Tracker(Mutex<Core>);

#[pymethods]
impl Tracker {
    #[new]
    #[pyo3(signature = (lo_hz, hi_hz, rate_hz, estimator = "predictor"))]
    fn new(py: Python<'_>, lo_hz: f64, hi_hz: f64, rate_hz: f64, estimator: &str) -> PyResult<Self> {
        let estimator = self::estimator(estimator)?;
        let core = py.detach(|| Core::new(lo_hz, hi_hz, rate_hz, estimator)).map_err(refused)?;
        Ok(Self(Mutex::new(core)))
    }

    fn feed<'py>(&self, py: Python<'py>, samples: PyReadonlyArray1<'py, f64>) -> PyResult<Columns<'py>> {
        let samples = samples.as_array().to_vec();
        let (phases, frequencies, confidences) = py.detach(|| {
            let mut core = lock(&self.0);
            let mut columns = (Vec::new(), Vec::new(), Vec::new());
            for sample in samples {
                let estimate = core.push(sample);
                columns.0.push(estimate.phase_turns);
                columns.1.push(estimate.frequency_hz);
                columns.2.push(estimate.confidence);
            }
            columns
        });
        let array = |column| PyArray1::from_vec(py, column);
        Ok((array(phases), array(frequencies), array(confidences)))
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct LiveTracker(Mutex<CoreLive>);

#[pymethods]
impl LiveTracker {
    #[new]
    #[pyo3(signature = (lo_hz, hi_hz, rate_hz, estimator = "predictor"))]
    fn new(py: Python<'_>, lo_hz: f64, hi_hz: f64, rate_hz: f64, estimator: &str) -> PyResult<Self> {
        let estimator = self::estimator(estimator)?;
        let core = py.detach(|| CoreLive::new(lo_hz, hi_hz, rate_hz, estimator)).map_err(refused)?;
        Ok(Self(Mutex::new(core)))
    }

    fn push(&self, py: Python<'_>, platform_ns: i64, sample: f64) -> bool {
        py.detach(|| lock(&self.0).push(PlatformTime::from_ns(platform_ns), sample))
    }

    fn at(&self, py: Python<'_>, platform_ns: i64) -> (f64, f64, f64) {
        let Estimate { phase_turns, frequency_hz, confidence } =
            py.detach(|| lock(&self.0).at(PlatformTime::from_ns(platform_ns)));
        (phase_turns, frequency_hz, confidence)
    }
}
