//! `Node`: a sanctuary's data plane.
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harmonia_core::coupling::Strength;
use harmonia_core::nts::Policy;
use harmonia_core::rate_limit::RateConfig;
use harmonia_core::weave::Thread;
use harmonia_io::node::{Node as Core, SleeperStatus, WithdrawEvent};
use harmonia_io::os::raw_ns;
use harmonia_io::tracking::{SourceStatus, Tracking};
use harmonia_io::upstream::{Following, Upstream};
use num_complex::Complex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bench::put_latency;
use crate::errors;
use crate::platform::{hush, TimeKeys};
use crate::rhythm::Rhythm;
use crate::score::coefficients;

#[pyclass(frozen, module = "harmonia._core")]
pub struct NodeEvent(WithdrawEvent);

#[pymethods]
impl NodeEvent {
    #[getter]
    fn kind(&self) -> &'static str {
        "withdraw"
    }
    #[getter]
    fn sleeper(&self) -> u64 {
        self.0.sleeper
    }
    #[getter]
    fn event_id(&self) -> &[u8] {
        &self.0.withdraw.event_id
    }
    #[getter]
    fn purposes(&self) -> u32 {
        self.0.withdraw.purposes
    }
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct PlatformStatus(SleeperStatus);

macro_rules! status_getters {
    ($($name:ident: $type:ty = $unset:expr, |$status:ident| $value:expr;)*) => {
        #[pymethods]
        impl PlatformStatus {
            #[getter]
            fn sleeper(&self) -> u64 {
                self.0.sleeper
            }
            #[getter]
            fn muted(&self) -> bool {
                self.0.muted
            }
            #[getter]
            fn age_ns(&self) -> i64 {
                self.0.last.map_or(-1, |(age, _)| age.ns())
            }
            #[getter]
            fn session_age_ns(&self) -> i64 {
                self.0.session.map_or(-1, |(age, _)| age.ns())
            }
            #[getter]
            fn silent_ns(&self) -> i64 {
                self.0.session.map_or(-1, |(_, silent)| silent.ns())
            }
            $(#[getter]
            fn $name(&self) -> $type {
                self.0.last.map_or($unset, |(_, $status)| $value)
            })*
        }
    };
}

status_getters! {
    lock_state: u8 = 0, |s| s.lock_state;
    bound_ns: i64 = 0, |s| s.bound.ns();
    uncertainty_ns: i64 = 0, |s| s.uncertainty.ns();
    rate_ppb: i64 = 0, |s| s.rate_ppb;
    offset: i64 = 0, |s| s.offset.bits();
    phase: u64 = 0, |s| s.phase.bits();
    level_dbfs: f32 = -120.0, |s| s.level_dbfs;
    platform_time_ns: i64 = 0, |s| s.platform.ns();
    node_time_ns: i64 = 0, |s| s.node.ns();
    gate_open: bool = false, |s| s.gate_open;
    max_drift_ppb: i64 = 0, |s| s.stated.max_drift_ppb;
    max_wander: f64 = 0.0, |s| s.stated.max_wander;
    suspends: u16 = 0, |s| s.suspends;
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct NodeTracking(Tracking);

#[pyclass(frozen, module = "harmonia._core")]
pub struct NodeSource(SourceStatus);

macro_rules! getters {
    ($class:ident, $($name:ident: $type:ty = |$it:ident| $value:expr;)*) => {
        #[pymethods]
        impl $class {
            $(#[getter]
            fn $name(&self) -> $type {
                let $it = &self.0;
                $value
            })*
        }
    };
}

getters! {
    NodeTracking,
    clock_id: u64 = |t| t.clock_id;
    stratum: u8 = |t| t.stratum;
    refid: u32 = |t| t.refid;
    lock_state: u8 = |t| t.state as u8;
    node_time_ns: i64 = |t| t.node.ns();
    offset_ns: i64 = |t| t.offset.ns();
    uncertainty_ns: i64 = |t| t.uncertainty.ns();
    bound_ns: i64 = |t| t.bound.ns();
    rate_ppb: i64 = |t| t.rate_ppb;
    slew_ppb: i64 = |t| t.slew_ppb;
    root_delay_ns: i64 = |t| t.root_delay.ns();
    leap: u8 = |t| t.leap;
    steps_left: u8 = |t| t.steps_left;
    max_drift_ppb: i64 = |t| t.stated.max_drift_ppb;
    max_wander: f64 = |t| t.stated.max_wander;
}

getters! {
    NodeSource,
    name: &str = |s| &s.name;
    address: &str = |s| &s.address;
    state: &'static str = |s| s.state.word();
    clock_id: u64 = |s| s.clock_id;
    stratum: u8 = |s| s.stratum;
    refid: u32 = |s| s.refid;
    offset_ns: i64 = |s| s.offset.ns();
    bound_ns: i64 = |s| s.bound.ns();
    uncertainty_ns: i64 = |s| s.uncertainty.ns();
    delay_ns: i64 = |s| s.delay.ns();
    rate_ppb: i64 = |s| s.rate_ppb;
    reach: u8 = |s| s.reach;
    exchanges: u64 = |s| s.exchanges;
    age_ns: i64 = |s| s.age.ns();
    authenticated: bool = |s| s.authenticated;
    cookies: usize = |s| s.cookies;
    key_exchanges: u64 = |s| s.key_exchanges;
    max_drift_ppb: i64 = |s| s.stated.max_drift_ppb;
    max_wander: f64 = |s| s.stated.max_wander;
    trouble: &str = |s| &s.trouble;
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct WeaveThread(pub Thread);

getters! {
    WeaveThread,
    sleeper: u64 = |t| t.sleeper;
    woven: bool = |t| t.woven;
    phase: u64 = |t| t.phase.bits();
    pulled: i64 = |t| t.pulled.bits();
    own_hz: f64 = |t| t.own_hz;
    achieved_hz: f64 = |t| t.achieved_hz;
    pull: f64 = |t| t.pull;
}

#[pyclass(frozen, module = "harmonia._core")]
pub struct Node(Core);

#[pymethods]
impl Node {
    #[new]
    #[pyo3(signature = (
        host, port, clock_file, upstreams = Vec::new(), *, ca = None, max_drift_ppb = 500_000, max_wander = 1e-7
    ))]
    #[expect(clippy::too_many_arguments, reason = "all but three have names and defaults in Python")]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        clock_file: PathBuf,
        upstreams: Vec<String>,
        ca: Option<Vec<u8>>,
        max_drift_ppb: i64,
        max_wander: f64,
    ) -> PyResult<Self> {
        let upstreams: Result<Vec<Upstream>, _> = upstreams.iter().map(|name| name.parse()).collect();
        let upstreams = upstreams.map_err(errors::io)?;
        let following = Following { upstreams, ca_pem: ca, stated: errors::stated(max_drift_ppb, max_wander)? };
        py.detach(|| Core::start_following(host, port, &clock_file, following)).map(Self).map_err(errors::io)
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port()
    }

    #[getter]
    fn clock_id(&self) -> u64 {
        self.0.clock().clock_id()
    }

    #[getter]
    fn resumes(&self) -> u64 {
        self.0.clock().anchor().resumes
    }

    #[getter]
    fn resumed(&self) -> bool {
        self.0.resumed()
    }

    fn node_time_ns(&self) -> i64 {
        self.0.now().ns()
    }

    fn anchor(&self) -> (i64, i64, i64) {
        // With sources, the line through the present instant: it is the clock until the rate changes.
        let clock = self.0.clock();
        let anchor = clock.anchor();
        if anchor.ramps.is_empty() {
            return (anchor.raw_ns, anchor.node_ns, anchor.rate_ppb);
        }
        let raw_ns = raw_ns();
        (raw_ns, clock.node_at(raw_ns).ns(), anchor.rate_ppb_at(raw_ns))
    }

    fn tracking(&self, py: Python<'_>) -> NodeTracking {
        NodeTracking(py.detach(|| self.0.tracking()))
    }

    fn sources(&self, py: Python<'_>) -> Vec<NodeSource> {
        py.detach(|| self.0.sources()).into_iter().map(NodeSource).collect()
    }

    fn add_circle(&self, py: Python<'_>, circle: u64, channels: usize, voice_weight: f32) -> PyResult<()> {
        py.detach(|| self.0.add_circle(circle, channels, voice_weight)).map_err(errors::io)
    }

    fn remove_circle(&self, py: Python<'_>, circle: u64) {
        py.detach(|| self.0.remove_circle(circle));
    }

    fn set_rhythm(&self, py: Python<'_>, circle: u64, rhythm: &Rhythm) -> PyResult<()> {
        py.detach(|| self.0.set_rhythm(circle, rhythm.0.clone())).map_err(errors::io)
    }

    fn set_strength(&self, py: Python<'_>, circle: u64, strength_rad_s: f64, lag_rad: f64) -> PyResult<()> {
        let strength = Strength::new(strength_rad_s, lag_rad).map_err(|error| errors::io(error.into()))?;
        py.detach(|| self.0.set_strength(circle, strength)).map_err(errors::io)
    }

    #[pyo3(signature = (circle, *, silent, alarm))]
    fn set_hush(&self, py: Python<'_>, circle: u64, silent: bool, alarm: bool) -> PyResult<u64> {
        py.detach(|| self.0.set_hush(circle, hush(silent, alarm))).map_err(errors::io)
    }

    fn set_own_rhythm(&self, py: Python<'_>, sleeper: u64, own: Option<&Rhythm>) -> PyResult<()> {
        let own = own.map(|own| own.0.clone());
        py.detach(|| self.0.set_own_rhythm(sleeper, own)).map_err(errors::io)
    }

    fn set_coupling(&self, py: Python<'_>, sleeper: u64, coupling: f32, weight: f32) -> PyResult<()> {
        py.detach(|| self.0.set_coupling(sleeper, coupling, weight)).map_err(errors::io)
    }

    fn weave(&self, py: Python<'_>, circle: u64) -> PyResult<(f64, Vec<WeaveThread>)> {
        let (unity, threads) = py.detach(|| self.0.weave(circle)).map_err(errors::io)?;
        Ok((unity, threads.into_iter().map(WeaveThread).collect()))
    }

    fn add_sleeper(&self, py: Python<'_>, circle: u64, sleeper: u64) -> PyResult<()> {
        py.detach(|| self.0.add_sleeper(circle, sleeper)).map_err(errors::io)
    }

    fn remove_sleeper(&self, py: Python<'_>, sleeper: u64) {
        py.detach(|| self.0.remove_sleeper(sleeper));
    }

    #[pyo3(signature = (sleeper, session_id, secret, recording, hears_hush = true))]
    fn attach(
        &self,
        py: Python<'_>,
        sleeper: u64,
        session_id: u64,
        secret: &[u8],
        recording: bool,
        hears_hush: bool,
    ) -> PyResult<()> {
        let secret = errors::exactly("a session's secret", secret)?;
        py.detach(|| self.0.attach(sleeper, session_id, &secret, recording, hears_hush)).map_err(errors::io)
    }

    fn time_keys(&self, py: Python<'_>) -> TimeKeys {
        TimeKeys(py.detach(|| self.0.time_keys()))
    }

    fn detach(&self, py: Python<'_>, sleeper: u64) {
        py.detach(|| self.0.detach(sleeper));
    }

    fn set_voice(&self, py: Python<'_>, sleeper: u64, voice: Vec<Complex<f64>>) -> PyResult<()> {
        py.detach(|| self.0.set_voice(sleeper, &coefficients(&voice))).map_err(errors::io)
    }

    fn set_hearing(&self, py: Python<'_>, sleeper: u64, level: f32) -> PyResult<()> {
        py.detach(|| self.0.set_hearing(sleeper, level)).map_err(errors::io)
    }

    fn set_apart(&self, py: Python<'_>, sleeper: u64, unheard: Vec<u64>, unhearing: Vec<u64>) -> PyResult<()> {
        py.detach(|| self.0.set_apart(sleeper, &unheard, &unhearing)).map_err(errors::io)
    }

    #[pyo3(signature = (sleeper, *, voice, hearing, recording))]
    fn set_plan(&self, py: Python<'_>, sleeper: u64, voice: bool, hearing: bool, recording: bool) -> PyResult<()> {
        py.detach(|| self.0.set_plan(sleeper, voice, hearing, recording)).map_err(errors::io)
    }

    #[pyo3(signature = (listener, sleeper, own_level = 1.0))]
    fn set_ear(&self, py: Python<'_>, listener: u64, sleeper: Option<u64>, own_level: f32) -> PyResult<()> {
        py.detach(|| self.0.set_ear(listener, sleeper.map(|sleeper| (sleeper, own_level)))).map_err(errors::io)
    }

    fn mute(&self, py: Python<'_>, sleeper: u64, event_id: &[u8]) -> PyResult<u64> {
        let event_id = errors::exactly("an event id", event_id)?;
        py.detach(|| self.0.mute(sleeper, event_id)).map_err(errors::io)
    }

    fn release(&self, py: Python<'_>, sleeper: u64, withdrawal: &[u8]) -> PyResult<bool> {
        let named = if withdrawal.is_empty() { None } else { Some(errors::exactly("a withdrawal's id", withdrawal)?) };
        py.detach(|| self.0.release(sleeper, named)).map_err(errors::io)
    }

    fn acknowledge(&self, py: Python<'_>, sleeper: u64, event_id: &[u8]) -> PyResult<()> {
        let event_id = errors::exactly("an event id", event_id)?;
        py.detach(|| self.0.acknowledge(sleeper, event_id));
        Ok(())
    }

    fn next_event(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Option<NodeEvent>> {
        let timeout = Duration::try_from_secs_f64(timeout_s).map_err(|_| {
            PyValueError::new_err(format!("a time-out must be a number of seconds from 0 up, not {timeout_s}"))
        })?;
        Ok(py.detach(|| self.0.next_event(timeout)).map(NodeEvent))
    }

    fn status(&self, py: Python<'_>, circle: u64) -> PyResult<Vec<PlatformStatus>> {
        let status = py.detach(|| self.0.status(circle)).map_err(errors::io)?;
        Ok(status.into_iter().map(PlatformStatus).collect())
    }

    fn serve_nts(&self, py: Python<'_>, certificate: &[u8], key: &[u8], port: u16) -> PyResult<u16> {
        py.detach(|| self.0.serve_nts(certificate, key, port)).map_err(errors::io)
    }

    fn answer_only_authenticated(&self, py: Python<'_>, only: bool) {
        let policy = if only { Policy::AuthenticOnly } else { Policy::Everybody };
        py.detach(|| self.0.set_policy(policy));
    }

    #[pyo3(signature = (per_s, burst, *, loopback = false))]
    fn set_rate_limit(&self, py: Python<'_>, per_s: u32, burst: u32, loopback: bool) {
        let config = RateConfig { per_s, burst, loopback, ..RateConfig::default() };
        py.detach(|| self.0.set_rate_limit((per_s > 0).then_some(config)));
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.0.stats();
        let dict = PyDict::new(py);
        for (name, counter) in [
            ("answered", &stats.answered),
            ("malformed", &stats.malformed),
            ("unauthentic", &stats.unauthentic),
            ("frames_sealed", &stats.ticks.frames_sealed),
            ("cut_frames", &stats.ticks.cut_frames),
            ("withdrawals", &stats.withdrawals),
            ("voices_dropped", &stats.voices_dropped),
            ("protected", &stats.answers.protected),
            ("naks", &stats.answers.naks),
            ("limited", &stats.answers.limited),
            ("silent", &stats.answers.silent),
        ] {
            dict.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        let (served, failed) = py.detach(|| self.0.nts_exchanges());
        dict.set_item("nts_exchanges", served)?;
        dict.set_item("nts_failures", failed)?;
        Ok(dict)
    }

    fn cuts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (cuts, dict) = (&self.0.stats().ticks.cuts, PyDict::new(py));
        dict.set_item("optouts", cuts.last.count())?;
        dict.set_item("ticks_max", cuts.ticks_max.load(Ordering::Relaxed))?;
        put_latency(&dict, "first_", &cuts.first)?;
        put_latency(&dict, "last_", &cuts.last)?;
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
