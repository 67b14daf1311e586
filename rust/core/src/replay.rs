//! Recorded exchanges, replayed through the very session that platforms run.
//!
//! A trace is CSV with the header `t1,t2,t3,t4` and a row for each exchange, in integer nanoseconds: t1 and t4 on the
//! platform's free-running clock, t2 and t3 on the node's. The replay has a row for each of its rows: what the clock
//! showed at t4 just before the exchange was used. Nothing looks ahead: the first n rows in give the first n rows out.
use std::fmt::Write;

use serde::Serialize;
use thiserror::Error;

use crate::filter::Exchange;
use crate::session::{Reset, SyncConfig, SyncSession};
use crate::units::{NodeTime, PlatformTime, Span};

/// The columns of a trace.
pub const TRACE_HEADER: &str = "t1,t2,t3,t4";
/// The columns of a replay.
pub const REPLAY_HEADER: &str = "t4,offset_before,bound_ns,uncertainty_ns,rate_ppb";

/// The largest magnitude of a stamp: 2⁶² ns is 146 years, and differences of two such numbers still fit.
const STAMP_MAX: i64 = 1 << 62;

/// A trace that cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{name}:{line}: {reason}")]
pub struct TraceError {
    /// The trace's name, as given.
    pub name: String,
    /// Counted from 1.
    pub line: usize,
    /// What was found, and what is allowed.
    pub reason: String,
}

/// What the clock showed at an exchange's t4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayRow {
    /// The exchange's t4.
    pub t4: PlatformTime,
    /// Node − platform just before the exchange was used, in ns.
    pub offset_before_ns: i64,
    /// The largest possible error of that, in ns.
    pub bound_ns: i64,
    /// Its expected error, in ns.
    pub uncertainty_ns: i64,
    /// The rate of the offset from then on, as estimated with this exchange, parts per billion.
    pub rate_ppb: i64,
    /// Why everything before was forgotten, if it was.
    pub reset: Option<Reset>,
    /// By how much the clock was stepped, in ns.
    pub step_ns: i64,
}

impl ReplayRow {
    /// Lets `session` take an exchange, and says what its clock showed.
    pub fn take(session: &mut SyncSession, exchange: Exchange) -> Self {
        let before = session.clock().read(exchange.t4);
        let (reset, step) = session.take(exchange);
        Self {
            t4: exchange.t4,
            offset_before_ns: before.node.ns().saturating_sub(exchange.t4.ns()),
            bound_ns: before.bound().ns(),
            uncertainty_ns: before.uncertainty.ns(),
            rate_ppb: session.clock().rate_ppb_at(exchange.t4),
            reset,
            step_ns: step.ns(),
        }
    }
}

/// A whole replay in numbers, for people and for `--json`. Medians leave out the first tenth of the rows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReplaySummary {
    /// Exchanges.
    pub rows: usize,
    /// From the first t4 to the last, s.
    pub duration_s: f64,
    /// The shortest round trip, ns. Half of it is the least bound that any client can state.
    pub round_trip_min_ns: Option<i64>,
    /// Median bound, ns.
    pub bound_median_ns: Option<i64>,
    /// Median expected uncertainty, ns.
    pub uncertainty_median_ns: Option<i64>,
    /// The last estimated rate, parts per billion.
    pub rate_ppb: Option<i64>,
    /// How often everything before was forgotten, since no clock within the assumptions explains it.
    pub contradictions: usize,
    /// Steps of the clock after its first setting.
    pub steps: usize,
    /// What the bounds rest on.
    pub max_drift_ppm: f64,
    /// What the bounds rest on, 1/s.
    pub max_wander: f64,
}

/// A session for replays: no burst, no lead (nobody renders ahead), and the stated assumptions.
pub fn session(max_drift_ppb: i64, max_wander: f64) -> SyncSession {
    SyncSession::new(SyncConfig { max_drift_ppb, max_wander, lead: Span::ZERO, ..SyncConfig::default() }, 0)
}

/// Replays a trace, called `name` in errors. Returns the replay as CSV, and its summary.
pub fn replay(
    trace: &str,
    name: &str,
    max_drift_ppb: i64,
    max_wander: f64,
) -> Result<(String, ReplaySummary), TraceError> {
    let refuse = |line: usize, reason: String| TraceError { name: name.to_owned(), line, reason };
    let mut lines = trace.lines().zip(1..);
    match lines.next() {
        Some((header, _)) if header.split(',').map(str::trim).eq(TRACE_HEADER.split(',')) => {}
        first => {
            let given = first.map_or("nothing", |(header, _)| header);
            return Err(refuse(1, format!("the first line must be {TRACE_HEADER:?}, not {}", shown(given))));
        }
    }
    let mut session = session(max_drift_ppb, max_wander);
    let mut out = format!("{REPLAY_HEADER}\n");
    let (mut rows, mut round_trip_min_ns) = (Vec::new(), None);
    for (line, number) in lines {
        if line.trim().is_empty() {
            continue;
        }
        let exchange = exchange(line).map_err(|reason| refuse(number, reason))?;
        let row = ReplayRow::take(&mut session, exchange);
        let round_trip = exchange.round_trip().ns();
        round_trip_min_ns = Some(round_trip_min_ns.map_or(round_trip, |least: i64| least.min(round_trip)));
        let ReplayRow { t4, offset_before_ns, bound_ns, uncertainty_ns, rate_ppb, .. } = row;
        let _ = writeln!(out, "{},{offset_before_ns},{bound_ns},{uncertainty_ns},{rate_ppb}", t4.ns()); // into a String
        rows.push(row);
    }
    let settled = &rows[rows.len() / 10..];
    let median = |value: fn(&ReplayRow) -> i64| {
        let mut values: Vec<i64> = settled.iter().map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    let summary = ReplaySummary {
        rows: rows.len(),
        duration_s: rows.first().zip(rows.last()).map_or(0.0, |(first, last)| (last.t4 - first.t4).as_s_f64()),
        round_trip_min_ns,
        bound_median_ns: median(|row| row.bound_ns),
        uncertainty_median_ns: median(|row| row.uncertainty_ns),
        rate_ppb: rows.last().map(|row| row.rate_ppb),
        contradictions: rows.iter().filter(|row| row.reset.is_some()).count(),
        steps: rows.iter().skip(1).filter(|row| row.step_ns != 0).count(),
        max_drift_ppm: max_drift_ppb as f64 / 1e3,
        max_wander,
    };
    Ok((out, summary))
}

fn exchange(line: &str) -> Result<Exchange, String> {
    let mut stamps = [0i64; 4];
    let given = line.split(',').count();
    if given != stamps.len() {
        return Err(format!("four columns are expected, {TRACE_HEADER}; here are {given}: {}", shown(line)));
    }
    for ((stamp, text), name) in stamps.iter_mut().zip(line.split(',')).zip(TRACE_HEADER.split(',')) {
        *stamp = text
            .trim()
            .parse()
            .ok()
            .filter(|ns: &i64| (-STAMP_MAX..=STAMP_MAX).contains(ns))
            .ok_or_else(|| format!("{name} must be whole nanoseconds within ±2^62, not {}", shown(text)))?;
    }
    let [t1, t2, t3, t4] = stamps;
    if t4 < t1 {
        return Err(format!("t4 must not be before t1: the answer arrived {} ns before the request left", t1 - t4));
    }
    if t3 < t2 {
        return Err(format!("t3 must not be before t2: the answer left {} ns before the request arrived", t2 - t3));
    }
    Ok(Exchange {
        t1: PlatformTime::from_ns(t1),
        t2: NodeTime::from_ns(t2),
        t3: NodeTime::from_ns(t3),
        t4: PlatformTime::from_ns(t4),
        stamp_error: Span::ZERO,
    })
}

/// Foreign text in an error: quoted, and no longer than fits into a line.
fn shown(text: &str) -> String {
    let short: String = text.trim().chars().take(60).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    const DRIFT: i64 = 200_000;
    const WANDER: f64 = 3e-8;

    fn trace(delays: &[(i64, i64)]) -> String {
        let mut text = format!("{TRACE_HEADER}\n");
        for (i, (up, down)) in (0i64..).zip(delays) {
            let t1 = i * 1_000_000_000;
            let t2 = t1 + 5_000_000_000 + up;
            let _ = writeln!(text, "{t1},{t2},{},{}", t2 + 1000, t1 + up + 1000 + down);
        }
        text
    }

    proptest! {
        #[test]
        fn nothing_looks_ahead(delays in prop::collection::vec((1_000i64..9_000_000, 1_000i64..9_000_000), 1..60),
                               rows in 0usize..60) {
            let whole = trace(&delays);
            let (all, summary) = replay(&whole, "x", DRIFT, WANDER).unwrap();
            prop_assert_eq!(summary.rows, delays.len());
            let lines = 1 + rows.min(delays.len());
            let first = |text: &str| text.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>();
            let (part, _) = replay(&first(&whole), "x", DRIFT, WANDER).unwrap();
            prop_assert_eq!(part, first(&all));
        }

        #[test]
        fn whatever_is_written_is_replayed_or_refused_with_its_line(text in "[-0-9,a t\n]{0,80}", header: bool) {
            let text = if header { format!("{TRACE_HEADER}\n{text}") } else { text };
            if let Err(error) = replay(&text, "x.csv", DRIFT, WANDER) {
                let place = format!("x.csv:{}: ", error.line);
                prop_assert!(error.to_string().starts_with(&place));
                prop_assert!(error.line == 1 || text.lines().nth(error.line - 1).is_some());
            }
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let refused = |rows: &str| {
            let error = replay(&format!("{TRACE_HEADER}\n0,10,20,30\n{rows}"), "x.csv", DRIFT, WANDER).unwrap_err();
            assert_eq!(error.line, 3);
            error.reason
        };
        assert!(refused("1,2,3").contains("four columns"));
        assert!(refused("1,2,3.5,4").contains("t3 must be whole nanoseconds"));
        assert!(refused("1,2,3,9223372036854775807").contains("2^62"));
        assert!(refused("9,2,3,4").contains("t4 must not be before t1"));
        assert!(refused("1,4,3,9").contains("t3 must not be before t2"));
        assert!(replay("t1,t2\n", "x", DRIFT, WANDER).unwrap_err().reason.contains("first line"));
        assert!(replay("", "x", DRIFT, WANDER).is_err());
    }
}
