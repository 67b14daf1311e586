//! `query_time`: what time another server has.
use std::time::Duration;

use harmonia_io::query::{self, Measured};
use harmonia_io::NtsSource;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

#[pyclass(frozen, module = "harmonia._core")]
pub struct TimeMeasurement(Measured);

macro_rules! getters {
    ($($name:ident: $type:ty = |$measured:ident| $value:expr;)*) => {
        #[pymethods]
        impl TimeMeasurement {
            $(#[getter]
            fn $name(&self) -> $type {
                let $measured = &self.0;
                $value
            })*
        }
    };
}

getters! {
    host: String = |m| m.server.ip().to_string();
    port: u16 = |m| m.server.port();
    authenticated: bool = |m| m.authenticated;
    clock_id: Option<u64> = |m| m.clock_id;
    stratum: u8 = |m| m.stratum;
    refid: u32 = |m| m.refid;
    leap: u8 = |m| m.leap;
    offset_ns: i64 = |m| m.offset.ns();
    bound_ns: i64 = |m| m.bound.ns();
    server_bound_ns: i64 = |m| m.server_bound.ns();
    round_trip_min_ns: i64 = |m| m.round_trip_min.ns();
    sent: u32 = |m| m.sent;
    used: u32 = |m| m.used;
}

#[pyfunction]
#[pyo3(signature = (host, port, *, nts_port = None, ca = None, exchanges = 8, timeout_s = 10.0,
    max_drift_ppb = 500_000, max_wander = 1e-7))]
#[expect(clippy::too_many_arguments, reason = "all but two have names and defaults in Python")]
pub fn query_time(
    py: Python<'_>,
    host: &str,
    port: u16,
    nts_port: Option<u16>,
    ca: Option<&[u8]>,
    exchanges: u32,
    timeout_s: f64,
    max_drift_ppb: i64,
    max_wander: f64,
) -> PyResult<TimeMeasurement> {
    let timeout = Duration::try_from_secs_f64(timeout_s).ok().filter(|timeout| !timeout.is_zero());
    let (Some(timeout), true) = (timeout, exchanges > 0) else {
        return Err(PyValueError::new_err(format!(
            "exchanges and the time-out in seconds must be more than 0, not {exchanges} and {timeout_s}"
        )));
    };
    let stated = errors::stated(max_drift_ppb, max_wander)?;
    py.detach(|| {
        let nts = nts_port.map(|ke_port| NtsSource::new(host, ke_port, ca)).transpose()?;
        query::query(host, port, nts, exchanges, timeout, stated)
    })
    .map(TimeMeasurement)
    .map_err(errors::io)
}
