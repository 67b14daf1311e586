//! `BatchRenderer`: many sleepers rendered in one call, from and into numpy's own memory.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use harmonia_core::phase::PhaseOffset;
use harmonia_core::program::Program;
use harmonia_core::renderer::{BadSampleRate, Batch, BlockClock, Targets};
use harmonia_core::units::{NodeTime, NS_PER_S};
use num_complex::Complex;
use numpy::prelude::*;
use numpy::{Element, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::errors;
use crate::rhythm::Rhythm;
use crate::score::{self, Score, Stem, OTHERS_GLIDE};

/// More would be no node's, and a number of them that is wrong asks for all memory.
const SLEEPERS_MAX: usize = 1_000_000;

#[pyclass(frozen, module = "harmonia._core")]
pub struct BatchRenderer {
    program: Arc<Program>,
    sample_rate: u32,
    sleepers: usize,
    persons: bool,
    state: Mutex<State>,
}

struct State {
    core: Batch,
    /// Where the last call ended, in 2⁻³² ns of node time.
    cursor: i128,
}

fn batch(program: &Arc<Program>, sample_rate: u32, sleepers: usize, persons: bool) -> Result<Batch, BadSampleRate> {
    let make = if persons { Batch::new } else { Batch::offline };
    make(Arc::clone(program), sample_rate, sleepers)
}

/// `array` as one of `T`, C-contiguous and of `shape`, or what is wrong with it.
fn array<'a, 'py, T: Element>(
    name: &str,
    array: &'a Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<&'a Bound<'py, PyArrayDyn<T>>> {
    let py = array.py();
    let wanted = T::get_dtype(py);
    let untyped = array.cast::<PyUntypedArray>().map_err(|_| {
        let given = array.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
        PyTypeError::new_err(format!("{name} must be a numpy array of {wanted}, not {given}"))
    })?;
    if !untyped.dtype().is_equiv_to(&wanted) {
        let message = format!("{name} must be of {wanted}, not {}; convert it with astype", untyped.dtype());
        return Err(PyTypeError::new_err(message));
    }
    if untyped.shape() != shape {
        return Err(PyValueError::new_err(format!("{name} must have the shape {shape:?}, not {:?}", untyped.shape())));
    }
    if !untyped.is_c_contiguous() {
        return Err(PyValueError::new_err(format!(
            "{name} must be C-contiguous, not a view with gaps or another order; pass numpy.ascontiguousarray of it"
        )));
    }
    Ok(array.cast::<PyArrayDyn<T>>()?)
}

/// The memory of such an array, which nobody writes to meanwhile.
fn readable<'py, T: Element>(
    name: &str,
    given: &Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let busy = |_| PyValueError::new_err(format!("{name} is being written to by another call"));
    array::<T>(name, given, shape)?.try_readonly().map_err(busy)
}

#[pymethods]
impl BatchRenderer {
    #[new]
    #[pyo3(signature = (score, epoch_ns, sample_rate, sleepers, *, persons = false, stems = None))]
    fn new(
        py: Python<'_>,
        score: &Score,
        epoch_ns: i64,
        sample_rate: u32,
        sleepers: usize,
        persons: bool,
        stems: Option<BTreeMap<String, PyRef<'_, Stem>>>,
    ) -> PyResult<Self> {
        if sleepers > SLEEPERS_MAX {
            return Err(PyValueError::new_err(format!("a batch has at most {SLEEPERS_MAX} sleepers, not {sleepers}")));
        }
        let stems = score::stems(stems);
        let program = py.detach(|| score.program(epoch_ns, &stems));
        let core = py
            .detach(|| batch(&program, sample_rate, sleepers, persons))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { program, sample_rate, sleepers, persons, state: Mutex::new(State { core, cursor: i128::MIN }) })
    }

    #[getter]
    fn sleepers(&self) -> usize {
        self.sleepers
    }

    #[getter]
    fn channels(&self) -> usize {
        self.program.channels.len()
    }

    #[pyo3(signature = (
        node_ns, out, own, offsets, *, others = None, rhythms = None, gates = None, ceilings_dbfs = None, limit = true
    ))]
    #[expect(clippy::too_many_arguments, reason = "most have names and defaults in Python")]
    fn render(
        &self,
        py: Python<'_>,
        node_ns: i64,
        out: &Bound<'_, PyAny>,
        own: &Bound<'_, PyAny>,
        offsets: &Bound<'_, PyAny>,
        others: Option<&Bound<'_, PyAny>>,
        rhythms: Option<Vec<Py<Rhythm>>>,
        gates: Option<&Bound<'_, PyAny>>,
        ceilings_dbfs: Option<&Bound<'_, PyAny>>,
        limit: bool,
    ) -> PyResult<()> {
        let (sleepers, channels) = (self.sleepers, self.program.channels.len());
        let frames = out.cast::<PyUntypedArray>().ok().and_then(|out| out.shape().get(2).copied()).unwrap_or(0);
        let frames = errors::frames(frames)?;
        let busy = |_| PyValueError::new_err("out must be writable, and no other call may use it");
        let mut out = array::<f32>("out", out, &[sleepers, 2, frames])?.try_readwrite().map_err(busy)?;
        let own = readable::<Complex<f32>>("own", own, &[sleepers, channels])?;
        let offsets = readable::<f64>("offsets", offsets, &[sleepers])?;
        let others =
            others.map(|given| readable::<Complex<f32>>("others", given, &[sleepers, channels])).transpose()?;
        let gates = gates.map(|given| readable::<bool>("gates", given, &[sleepers])).transpose()?;
        let ceilings = ceilings_dbfs.map(|given| readable::<f32>("ceilings_dbfs", given, &[sleepers])).transpose()?;
        if let Some(rhythms) = rhythms.as_ref().filter(|rhythms| rhythms.len() != sleepers) {
            let message = format!("there must be a rhythm for each of {sleepers} sleepers, not {}", rhythms.len());
            return Err(PyValueError::new_err(message));
        }
        let offsets = offsets.as_slice()?.iter().map(|turns| PhaseOffset::from_turns(*turns));
        let offsets = offsets.collect::<Result<Vec<_>, _>>().map_err(errors::offset)?;
        let linear = |dbfs: &f32| 10f32.powf(dbfs.min(0.0) / 20.0);
        let ceilings: Option<Vec<f32>> =
            ceilings.as_ref().map(|dbfs| dbfs.as_slice().map(|dbfs| dbfs.iter().map(linear).collect())).transpose()?;
        let (own, gates) = (own.as_slice()?, gates.as_ref().map(|gates| gates.as_slice()).transpose()?);
        let others = others.as_ref().map(|others| others.as_slice()).transpose()?;
        let out = out.as_slice_mut()?;
        py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let State { core, cursor } = &mut *state;
            let asked = i128::from(node_ns) << 32;
            let step = ((i128::from(NS_PER_S) << 32) / i128::from(self.sample_rate)) as u64;
            // A new place is a new performance: no glide leads there from the old one.
            if cursor.abs_diff(asked) > u128::from(step) {
                *core = batch(&self.program, self.sample_rate, sleepers, self.persons).expect("the rate was accepted");
                *cursor = asked;
            }
            let targets = |i: usize| {
                let row = i * channels..(i + 1) * channels;
                let targets = Targets {
                    others: others.map_or(&[], |others| &others[row.clone()]),
                    own: &own[row],
                    others_glide: OTHERS_GLIDE,
                    offset: offsets[i],
                    ceiling: ceilings.as_ref().map_or(1.0, |ceilings| ceilings[i]),
                    gate_open: gates.is_none_or(|gates| gates[i]),
                    limit,
                };
                (rhythms.as_ref().map_or(&self.program.rhythm, |rhythms| &rhythms[i].get().0), targets)
            };
            let start = NodeTime::from_ns((*cursor >> 32) as i64);
            core.render(BlockClock { start, fraction: *cursor as u32, step }, frames, targets, out);
            *cursor += i128::from(step) * frames as i128;
        });
        Ok(())
    }
}
