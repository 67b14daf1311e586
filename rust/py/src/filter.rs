//! The filter by itself, for exchanges that were written down.
use harmonia_core::filter::{Exchange, Filter, FilterConfig};
use harmonia_core::session::SyncConfig;
use harmonia_core::units::{NodeTime, PlatformTime, Span};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Stamps = (i64, i64, i64, i64, i64);
type Estimated = (i64, i64, f64, f64, f64, f64);

#[pyfunction]
#[pyo3(signature = (exchanges, *, max_drift_ppb, max_wander))]
pub fn estimates(
    py: Python<'_>,
    exchanges: Vec<Stamps>,
    max_drift_ppb: i64,
    max_wander: f64,
) -> PyResult<Vec<Estimated>> {
    if !(0..=1_000_000_000).contains(&max_drift_ppb) || !max_wander.is_finite() || max_wander < 0.0 {
        return Err(PyValueError::new_err(format!(
            "a largest drift is 0 to 1000000000 ppb and a largest wander finite, not {max_drift_ppb} and {max_wander}"
        )));
    }
    let SyncConfig { expected_drift_ppb, expected_wander, .. } = SyncConfig::default();
    let config = FilterConfig { max_drift_ppb, max_wander, expected_drift_ppb, expected_wander };
    Ok(py.detach(|| {
        let mut filter = Filter::new(config);
        exchanges.into_iter().filter_map(|stamps| estimate(&mut filter, stamps)).collect()
    }))
}

fn estimate(filter: &mut Filter, (t1, t2, t3, t4, stamp_error_ns): Stamps) -> Option<Estimated> {
    filter.push(Exchange {
        t1: PlatformTime::from_ns(t1),
        t2: NodeTime::from_ns(t2),
        t3: NodeTime::from_ns(t3),
        t4: PlatformTime::from_ns(t4),
        stamp_error: Span::from_ns(stamp_error_ns),
    });
    let e = filter.estimate()?;
    let offset_ns = e.base_ns.saturating_add(e.offset_ns.round() as i64);
    Some((e.at.ns(), offset_ns, e.rate_ppb, e.uncertainty_ns, e.uncertainty_rate_ppb, e.wander_ppb))
}
