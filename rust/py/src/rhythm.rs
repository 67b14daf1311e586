//! `Rhythm` and phase offsets.
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::rhythm::{Frequency, Rhythm as Core, Segment};
use harmonia_core::units::{NodeTime, Span};
use pyo3::prelude::*;

use crate::errors;

type SegmentTuple = (i64, u64, i128, i128, i64);

#[pyclass(frozen, module = "harmonia._core", skip_from_py_object)]
#[derive(Clone)]
pub struct Rhythm(pub Core);

#[pymethods]
impl Rhythm {
    #[new]
    fn new(segments: Vec<SegmentTuple>) -> PyResult<Self> {
        let segments = segments.into_iter().map(|(start, phase, frequency, half_ramp, ramp)| Segment {
            start: NodeTime::from_ns(start),
            phase: Phase::from_bits(phase),
            frequency: Frequency::from_units(frequency),
            half_ramp,
            ramp: Span::from_ns(ramp),
        });
        Core::from_segments(segments).map(Self).map_err(errors::rhythm)
    }

    #[staticmethod]
    #[pyo3(signature = (start_ns, frequency_hz, phase = 0))]
    fn constant(start_ns: i64, frequency_hz: f64, phase: u64) -> PyResult<Self> {
        let frequency = Frequency::from_hz(frequency_hz).map_err(errors::rhythm)?;
        Ok(Self(Core::new(Segment::constant(NodeTime::from_ns(start_ns), Phase::from_bits(phase), frequency))))
    }

    #[getter]
    fn segments(&self) -> Vec<SegmentTuple> {
        self.0
            .segments()
            .iter()
            .map(|s| (s.start.ns(), s.phase.bits(), s.frequency.units(), s.half_ramp, s.ramp.ns()))
            .collect()
    }

    fn phase_at(&self, node_ns: i64) -> u64 {
        self.0.phase_at(NodeTime::from_ns(node_ns)).bits()
    }

    fn turns_at(&self, node_ns: i64) -> f64 {
        self.0.phase_at(NodeTime::from_ns(node_ns)).turns()
    }

    fn frequency_at(&self, node_ns: i64) -> f64 {
        self.0.frequency_at(NodeTime::from_ns(node_ns)).hz()
    }

    fn continue_at(&self, start_ns: i64, frequency_hz: f64, ramp_ns: i64) -> PyResult<Self> {
        let target = Frequency::from_hz(frequency_hz).map_err(errors::rhythm)?;
        let mut rhythm = self.0.clone();
        rhythm.continue_at(NodeTime::from_ns(start_ns), target, Span::from_ns(ramp_ns)).map_err(errors::rhythm)?;
        Ok(Self(rhythm))
    }
}

#[pyfunction]
pub fn offset_from_turns(turns: f64) -> PyResult<i64> {
    PhaseOffset::from_turns(turns).map(PhaseOffset::bits).map_err(errors::offset)
}
