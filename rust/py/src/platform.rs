//! `Platform`: a sleeper's device.
use std::collections::BTreeMap;
use std::path::PathBuf;

use harmonia_core::frame::Withdraw;
use harmonia_core::hush::Hush;
use harmonia_core::phase::PhaseOffset;
use harmonia_core::renderer::LEVEL_MIN_DBFS;
use harmonia_core::servo::Reading;
use harmonia_core::units::Span;
use harmonia_io::{DeviceReport, Exchanged, Platform as Core, TimeKeys as CoreTimeKeys};
use num_complex::Complex;
use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors;
use crate::rhythm::Rhythm;
use crate::score::{self, coefficients, stereo, Score, Stem};

#[pyclass(frozen, module = "harmonia._core")]
pub struct ClockReading {
    raw_ns: i64,
    reading: Reading,
    exchanges: u64,
}

#[pymethods]
impl ClockReading {
    #[getter]
    fn lock_state(&self) -> u8 {
        self.reading.state as u8
    }
    #[getter]
    fn platform_ns(&self) -> i64 {
        self.reading.platform.ns()
    }
    #[getter]
    fn raw_ns(&self) -> i64 {
        self.raw_ns
    }
    #[getter]
    fn node_ns(&self) -> i64 {
        self.reading.node.ns()
    }
    #[getter]
    fn earliest_ns(&self) -> i64 {
        self.reading.earliest.ns()
    }
    #[getter]
    fn latest_ns(&self) -> i64 {
        self.reading.latest.ns()
    }
    #[getter]
    fn uncertainty_ns(&self) -> i64 {
        self.reading.uncertainty.ns()
    }
    #[getter]
    fn rate_ppb(&self) -> i64 {
        self.reading.rate_ppb
    }
    #[getter]
    fn exchanges(&self) -> u64 {
        self.exchanges
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct ClockExchange(Exchanged);

#[pymethods]
impl ClockExchange {
    #[getter]
    fn number(&self) -> u64 {
        self.0.number
    }
    #[getter]
    fn t1_ns(&self) -> i64 {
        self.0.exchange.t1.ns()
    }
    #[getter]
    fn t2_ns(&self) -> i64 {
        self.0.exchange.t2.ns()
    }
    #[getter]
    fn t3_ns(&self) -> i64 {
        self.0.exchange.t3.ns()
    }
    #[getter]
    fn t4_ns(&self) -> i64 {
        self.0.exchange.t4.ns()
    }
    #[getter]
    fn stamp_error_ns(&self) -> i64 {
        self.0.exchange.stamp_error.ns()
    }
    #[getter]
    fn node_bound_ns(&self) -> i64 {
        self.0.node_bound.ns()
    }
    #[getter]
    fn era(&self) -> u64 {
        self.0.era
    }
    #[getter]
    fn step_ns(&self) -> i64 {
        self.0.step.ns()
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct TimeKeys(pub CoreTimeKeys);

#[pymethods]
impl TimeKeys {
    #[new]
    fn new(algorithm: u16, c2s: Vec<u8>, s2c: Vec<u8>, cookies: Vec<Vec<u8>>) -> Self {
        Self(CoreTimeKeys { algorithm, c2s, s2c, cookies })
    }
    #[getter]
    fn algorithm(&self) -> u16 {
        self.0.algorithm
    }
    #[getter]
    fn c2s<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.c2s)
    }
    #[getter]
    fn s2c<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.s2c)
    }
    #[getter]
    fn cookies<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.cookies.iter().map(|cookie| PyBytes::new(py, cookie)).collect()
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct Platform(Core);

#[pymethods]
impl Platform {
    #[new]
    #[pyo3(signature = (
        *, sample_rate = 48_000, clock_offset_ns = 0, clock_drift_ppb = 0, card_drift_ppb = 0, seed = None,
        max_drift_ppb = 500_000, max_wander = 1e-7
    ))]
    #[expect(clippy::too_many_arguments, reason = "all have names and defaults in Python")]
    fn new(
        py: Python<'_>,
        sample_rate: u32,
        clock_offset_ns: i64,
        clock_drift_ppb: i64,
        card_drift_ppb: i64,
        seed: Option<u64>,
        max_drift_ppb: i64,
        max_wander: f64,
    ) -> PyResult<Self> {
        let stated = errors::stated(max_drift_ppb, max_wander)?;
        let make = || {
            let core = Core::stating(stated, sample_rate, clock_offset_ns, clock_drift_ppb, seed)?;
            core.simulate_card(card_drift_ppb)?;
            Ok(Self(core))
        };
        py.detach(make).map_err(errors::io)
    }

    #[pyo3(signature = (host, port, session_id, secret, time_keys = None))]
    fn connect(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        session_id: u64,
        secret: &[u8],
        time_keys: Option<&TimeKeys>,
    ) -> PyResult<()> {
        let secret = errors::exactly("a session's secret", secret)?;
        let time_keys = time_keys.map(|keys| &keys.0);
        py.detach(|| self.0.connect(host, port, session_id, &secret, time_keys)).map_err(errors::io)
    }

    fn silence<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(silence) = py.detach(|| self.0.silence()) else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("server", silence.server.to_string())?;
        dict.set_item("since_raw_ns", silence.since_raw_ns)?;
        dict.set_item("requests", silence.requests)?;
        dict.set_item("forged", silence.forged)?;
        dict.set_item("keys_refused", silence.keys_refused)?;
        Ok(Some(dict))
    }

    fn suspends(&self, py: Python<'_>) -> (u64, i64, i64) {
        let suspends = py.detach(|| self.0.suspends());
        (suspends.count, suspends.total.ns(), suspends.noticed_raw_ns)
    }

    fn simulate_suspend(&self, seconds: f64) -> PyResult<()> {
        if !(0.0..=1e6).contains(&seconds) {
            return Err(PyValueError::new_err(format!("a simulated suspend lasts 0 to 1000000 s, not {seconds}")));
        }
        self.0.simulate_suspend(Span::from_ns((seconds * 1e9) as i64));
        Ok(())
    }

    fn clock(&self, py: Python<'_>) -> ClockReading {
        let (raw_ns, reading, exchanges) = py.detach(|| self.0.clock());
        ClockReading { raw_ns, reading, exchanges }
    }

    fn exchanges(&self, py: Python<'_>, after: u64) -> Vec<ClockExchange> {
        py.detach(|| self.0.exchanges(after)).into_iter().map(ClockExchange).collect()
    }

    fn assumptions(&self, py: Python<'_>) -> (i64, f64) {
        let stated = py.detach(|| self.0.stated());
        (stated.max_drift_ppb, stated.max_wander)
    }

    fn set_output_latency(&self, ms: f64) -> PyResult<()> {
        if !ms.is_finite() {
            return Err(PyValueError::new_err(format!("an output latency is 0 to 2000 ms, not {ms}")));
        }
        self.0.set_output_latency(Span::from_ns((ms * 1e6).round() as i64)).map_err(errors::io)
    }

    fn played(&self, py: Python<'_>, frames: u64, raw_ns: i64) {
        py.detach(|| self.0.played(frames, raw_ns));
    }

    fn converter<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(reading) = py.detach(|| self.0.converter()) else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("rate_ppb", reading.rate_ppb)?;
        dict.set_item("uncertainty_ns", reading.uncertainty.ns())?;
        dict.set_item("pairs", reading.pairs)?;
        dict.set_item("gaps", reading.gaps)?;
        Ok(Some(dict))
    }

    #[pyo3(signature = (score, epoch_ns, stems = None))]
    fn set_score(
        &self,
        py: Python<'_>,
        score: &Score,
        epoch_ns: i64,
        stems: Option<BTreeMap<String, PyRef<'_, Stem>>>,
    ) {
        let stems = score::stems(stems);
        py.detach(|| self.0.set_program(Some(score.program(epoch_ns, &stems))));
    }

    fn clear_score(&self) {
        self.0.set_program(None);
    }

    fn set_rhythm(&self, rhythm: &Rhythm) {
        self.0.set_rhythm(rhythm.0.clone());
    }

    fn set_offset(&self, turns: f64) -> PyResult<i64> {
        let offset = PhaseOffset::from_turns(turns).map_err(errors::offset)?;
        self.0.set_offset(offset);
        Ok(offset.bits())
    }

    fn set_voice(&self, voice: Vec<Complex<f64>>) -> PyResult<()> {
        self.0.set_voice(&coefficients(&voice)).map_err(errors::io)
    }

    #[pyo3(signature = (*, hearing, own))]
    fn set_levels(&self, hearing: f32, own: f32) -> PyResult<()> {
        self.0.set_levels(hearing, own).map_err(errors::io)
    }

    fn set_ceiling(&self, dbfs: f64) -> PyResult<()> {
        if !dbfs.is_finite() || dbfs > 0.0 {
            return Err(PyValueError::new_err(format!("a ceiling is a level in dBFS, at most 0, not {dbfs}")));
        }
        self.0.set_ceiling(10f64.powf(dbfs / 20.0) as f32).map_err(errors::io)
    }

    fn phase(&self) -> u64 {
        self.0.phase().bits()
    }

    #[getter]
    fn offset(&self) -> i64 {
        self.0.offset().bits()
    }

    fn withdraw(&self, py: Python<'_>, event_id: &[u8], purposes: u32) -> PyResult<()> {
        let withdraw = Withdraw { event_id: errors::exactly("an event id", event_id)?, purposes };
        py.detach(|| self.0.withdraw(withdraw));
        Ok(())
    }

    fn acknowledged(&self, py: Python<'_>, event_id: &[u8]) -> PyResult<bool> {
        let event_id = errors::exactly("an event id", event_id)?;
        Ok(py.detach(|| self.0.acknowledged(&event_id)))
    }

    fn set_acknowledged(&self, py: Python<'_>, event_id: &[u8]) -> PyResult<()> {
        let event_id = errors::exactly("an event id", event_id)?;
        py.detach(|| self.0.set_acknowledged(event_id));
        Ok(())
    }

    fn open_gate(&self) {
        self.0.open_gate();
    }

    fn close_gate(&self) {
        self.0.close_gate();
    }

    #[getter]
    fn gate_open(&self) -> bool {
        self.0.gate_open()
    }

    #[pyo3(signature = (*, silent, alarm, epoch))]
    fn set_hush(&self, py: Python<'_>, silent: bool, alarm: bool, epoch: Option<u64>) {
        py.detach(|| self.0.set_hush(hush(silent, alarm), epoch));
    }

    fn hush(&self, py: Python<'_>) -> (bool, bool, bool) {
        let heard = py.detach(|| self.0.hush());
        (heard.hush().is_silent(), heard.hush() == Hush::Alarm, heard.is_told())
    }

    fn set_loudspeaker(&self, loudspeaker: bool) {
        self.0.set_loudspeaker(loudspeaker);
    }

    fn sound<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let sound = self.0.sound();
        let db = |linear: f32| (20.0 * linear.log10()).max(LEVEL_MIN_DBFS);
        let dict = PyDict::new(py);
        dict.set_item("momentary_lufs", sound.momentary_lufs)?;
        dict.set_item("peak_dbfs", db(sound.peak))?;
        dict.set_item("gain_db", db(sound.gain))?;
        dict.set_item("ceiling_dbfs", db(sound.ceiling))?;
        dict.set_item("dropped", sound.dropped)?;
        dict.set_item("resets", sound.resets)?;
        dict.set_item("faded", sound.faded)?;
        Ok(dict)
    }

    fn light(&self, py: Python<'_>, brightest: f64) -> f64 {
        py.detach(|| self.0.light(brightest))
    }

    fn fade_out(&self) {
        self.0.fade_out();
    }

    #[pyo3(signature = (device, buffer_ms = 40.0))]
    fn play(&self, py: Python<'_>, device: &str, buffer_ms: f64) -> PyResult<()> {
        let buffer = Span::from_ns((buffer_ms * 1e6) as i64);
        py.detach(|| self.0.play(device, buffer)).map_err(errors::io)
    }

    fn device<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        py.detach(|| self.0.device()).map(|report| device_dict(py, &report)).transpose()
    }

    fn stop_playing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = py.detach(|| self.0.stop_playing()).map_err(errors::io)?;
        device_dict(py, &report)
    }

    fn level_dbfs(&self) -> f32 {
        self.0.level_dbfs()
    }

    fn frames<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = py.detach(|| self.0.frames());
        let dict = PyDict::new(py);
        dict.set_item("received", counters.frames.followed)?;
        dict.set_item("cut", counters.frames.cut)?;
        dict.set_item("stale", counters.frames.overtaken)?;
        dict.set_item("replayed", counters.replayed)?;
        dict.set_item("unauthentic", counters.unauthentic)?;
        dict.set_item("gate_epoch", counters.gate_epoch)?;
        dict.set_item("age_ms", counters.age.map_or(-1, |age| age.ns() / 1_000_000))?;
        Ok(dict)
    }

    fn others(&self, py: Python<'_>) -> Vec<Complex<f64>> {
        py.detach(|| self.0.others()).iter().map(|c| Complex::new(c.re.into(), c.im.into())).collect()
    }

    fn render<'py>(&self, py: Python<'py>, frames: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let frames = errors::frames(frames)?;
        let samples = py.detach(|| {
            let mut interleaved = vec![0.0; 2 * frames];
            self.0.render(&mut interleaved).map(|()| interleaved)
        });
        stereo(py, samples.map_err(errors::io)?)
    }

    fn next_sample(&self, py: Python<'_>) -> Option<(i64, i64)> {
        py.detach(|| self.0.next_sample()).map(|(platform, node)| (platform.ns(), node.ns()))
    }

    fn record(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.record(&path)).map_err(errors::io)
    }

    fn stop_recording(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.0.stop_recording()).map_err(errors::io)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

fn device_dict<'py>(py: Python<'py>, report: &DeviceReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &report.name)?;
    dict.set_item("buffer_frames", report.buffer_frames)?;
    dict.set_item("frames", report.frames)?;
    dict.set_item("glitches", report.glitches())?;
    dict.set_item("underruns", report.underruns)?;
    dict.set_item("late", report.late)?;
    dict.set_item("resets", report.resets)?;
    dict.set_item("lost", report.lost)?;
    dict.set_item("keeps_time", report.keeps_time)?;
    dict.set_item("realtime", report.realtime)?;
    dict.set_item("trouble", &report.trouble)?;
    Ok(dict)
}

#[pyfunction]
pub fn sound_devices(py: Python<'_>) -> PyResult<Vec<(String, String)>> {
    let devices = py.detach(harmonia_io::alsa::devices).map_err(errors::io)?;
    Ok(devices.into_iter().map(|device| (device.name, device.description)).collect())
}

#[pyfunction]
pub fn play_samples(
    py: Python<'_>,
    device: &str,
    sample_rate: u32,
    samples: PyReadonlyArray2<'_, f32>,
) -> PyResult<()> {
    let samples: Vec<f32> = samples.as_array().iter().copied().collect();
    py.detach(|| harmonia_io::device::play_samples(device, sample_rate, &samples)).map_err(errors::io)
}

/// Whether a room is silent, of what Python says of it: an alarm is a silence.
pub fn hush(silent: bool, alarm: bool) -> Hush {
    match (silent, alarm) {
        (_, true) => Hush::Alarm,
        (true, false) => Hush::Silent,
        (false, false) => Hush::Lifted,
    }
}
