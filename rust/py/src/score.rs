//! `Score` and the offline `Renderer`.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use harmonia_core::phase::PhaseOffset;
use harmonia_core::program::{Program, Wave};
use harmonia_core::renderer::{BlockClock, Renderer as Core, Targets};
use harmonia_core::score::{Format, Score as CoreScore};
use harmonia_core::stem::Stems;
use harmonia_core::units::{NodeTime, Span, NS_PER_S};
use harmonia_core::voice::Voice;
use harmonia_io::music::{self, Music};
use num_complex::Complex;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::rhythm::Rhythm;

/// How far an endless score is laid out: two nights and the days between.
pub const HORIZON: Span = Span::from_s(48 * 3600);
/// How long a change of what the others contribute takes in a file.
pub const OTHERS_GLIDE: Span = Span::from_ms(50);
/// How far apart two requests may lie and still be one stream.
const BLOCK: usize = 256;

#[pyclass(frozen, module = "harmonia._core")]
pub struct Score {
    pub core: CoreScore,
}

#[pymethods]
impl Score {
    #[staticmethod]
    fn parse(py: Python<'_>, text: &str, name: &str, format: &str) -> PyResult<Self> {
        let read_as = match format {
            "toml" => Format::Toml,
            "sbg" => Format::Sbg,
            other => return Err(PyValueError::new_err(format!("a score's format is toml or sbg, not {other}"))),
        };
        let core = py.detach(|| CoreScore::parse(text, name, read_as)).map_err(|error| errors::score(py, error))?;
        Ok(Self { core })
    }

    #[getter]
    fn name(&self) -> &str {
        self.core.name()
    }

    #[getter]
    fn format(&self) -> &'static str {
        self.core.format().name()
    }

    #[getter]
    fn text(&self) -> &str {
        self.core.text()
    }

    #[getter]
    fn channels(&self) -> usize {
        self.core.channels()
    }

    #[getter]
    fn noises(&self) -> Vec<bool> {
        self.program(0, &BTreeMap::new())
            .channels
            .iter()
            .map(|channel| matches!(channel.wave, Wave::Noise(_) | Wave::Hiss(_)))
            .collect()
    }

    #[getter]
    fn start_s(&self) -> f64 {
        self.core.start_s()
    }

    #[getter]
    fn duration_ns(&self) -> Option<i64> {
        self.core.duration().map(Span::ns)
    }

    fn summary(&self) -> String {
        self.core.summary().to_string()
    }

    fn rhythm(&self, epoch_ns: i64) -> Rhythm {
        Rhythm(self.core.rhythm(NodeTime::from_ns(epoch_ns)))
    }
}

impl Score {
    pub fn program(&self, epoch_ns: i64, stems: &Stems) -> Arc<Program> {
        Arc::new(self.core.program_with(NodeTime::from_ns(epoch_ns), HORIZON, stems))
    }
}

/// A recording from a file.
#[pyclass(frozen, module = "harmonia._core")]
pub struct Stem(Music);

#[pymethods]
impl Stem {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| music::load(&path)).map(Self).map_err(errors::io)
    }

    #[staticmethod]
    fn hash(py: Python<'_>, path: PathBuf) -> PyResult<String> {
        py.detach(|| music::hash(&path)).map(|hash| hexadecimal(&hash)).map_err(errors::io)
    }

    #[getter]
    fn sha256(&self) -> String {
        hexadecimal(&self.0.sha256)
    }

    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.pcm.rate()
    }

    #[getter]
    fn frames(&self) -> usize {
        self.0.pcm.frames()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The recordings that Python gives by the names of a score.
pub fn stems(given: Option<BTreeMap<String, PyRef<'_, Stem>>>) -> Stems {
    given.unwrap_or_default().into_iter().map(|(name, stem)| (name, Arc::clone(&stem.0.pcm))).collect()
}

/// Rows of left and right, as numpy has them.
pub fn stereo(py: Python<'_>, interleaved: Vec<f32>) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let frames = interleaved.len() / 2;
    PyArray1::from_vec(py, interleaved).reshape([frames, 2])
}

pub fn coefficients(given: &[Complex<f64>]) -> Vec<Complex<f32>> {
    given.iter().map(|c| Complex::new(c.re as f32, c.im as f32)).collect()
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct Renderer {
    program: Arc<Program>,
    sample_rate: u32,
    state: Mutex<State>,
}

struct State {
    core: Core,
    /// Where the last call ended, in 2⁻³² ns of node time.
    cursor: i128,
}

#[pymethods]
impl Renderer {
    #[new]
    #[pyo3(signature = (score, epoch_ns, sample_rate, stems = None))]
    fn new(
        py: Python<'_>,
        score: &Score,
        epoch_ns: i64,
        sample_rate: u32,
        stems: Option<BTreeMap<String, PyRef<'_, Stem>>>,
    ) -> PyResult<Self> {
        let stems = self::stems(stems);
        let program = py.detach(|| score.program(epoch_ns, &stems));
        let core = Core::offline(Arc::clone(&program), sample_rate)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { program, sample_rate, state: Mutex::new(State { core, cursor: i128::MIN }) })
    }

    #[pyo3(signature = (node_ns, frames, *, rhythm = None, offset_turns = 0.0, own = None, others = None, limit = true))]
    #[allow(clippy::too_many_arguments)]
    fn render<'py>(
        &self,
        py: Python<'py>,
        node_ns: i64,
        frames: usize,
        rhythm: Option<&Rhythm>,
        offset_turns: f64,
        own: Option<Vec<Complex<f64>>>,
        others: Option<Vec<Complex<f64>>>,
        limit: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let frames = errors::frames(frames)?;
        let offset = PhaseOffset::from_turns(offset_turns).map_err(errors::offset)?;
        let channels = self.program.channels.len();
        let voice = |given: Option<Vec<Complex<f64>>>, unset: f32| -> PyResult<Vec<Complex<f32>>> {
            let given = given.map_or_else(|| vec![Complex::new(unset, 0.0); channels], |given| coefficients(&given));
            if given.len() != channels {
                let message =
                    format!("a voice has one coefficient for each of {channels} channels, not {}", given.len());
                return Err(PyValueError::new_err(message));
            }
            Voice::new(given.clone()).map_err(|error| PyValueError::new_err(error.to_string()))?;
            Ok(given)
        };
        let (own, others) = (voice(own, 1.0)?, voice(others, 0.0)?);
        let rhythm = rhythm.map_or(&self.program.rhythm, |rhythm| &rhythm.0);
        let samples = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let asked = i128::from(node_ns) << 32;
            let step = ((i128::from(NS_PER_S) << 32) / i128::from(self.sample_rate)) as u64;
            // A new place is a new performance: no glide leads there from the old one.
            if state.cursor.abs_diff(asked) > u128::from(step) {
                state.core = Core::offline(Arc::clone(&self.program), self.sample_rate).expect("the rate was accepted");
                state.cursor = asked;
            }
            let targets = Targets {
                others: &others,
                own: &own,
                others_glide: OTHERS_GLIDE,
                offset,
                ceiling: 1.0,
                gate_open: true,
                limit,
            };
            let mut interleaved = Vec::with_capacity(2 * frames);
            let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
            for start in (0..frames).step_by(BLOCK) {
                let n = BLOCK.min(frames - start);
                let clock = BlockClock {
                    start: NodeTime::from_ns((state.cursor >> 32) as i64),
                    fraction: state.cursor as u32,
                    step,
                };
                state.core.render(clock, rhythm, &targets, &mut left[..n], &mut right[..n]);
                state.cursor += i128::from(step) * n as i128;
                interleaved.extend(left[..n].iter().zip(&right[..n]).flat_map(|(l, r)| [*l, *r]));
            }
            interleaved
        });
        stereo(py, samples)
    }
}
