//! Replays recorded exchanges through the very session that platforms run.
//!
//!     cargo run --release --example replay -- TRACE.csv > REPLAY.csv
//!
//! TRACE.csv has the columns t1,t2,t3,t4 in integer nanoseconds. Each row written says what the disciplined clock showed at
//! that exchange's t4 just before the exchange was used: `offset_before` (node − platform), `bound_ns` (the largest
//! possible error), `uncertainty_ns` (the expected one), `rate_ppb`. Nothing looks ahead: n rows in give the first n out.
// An example may read files; the core may not.
#![allow(clippy::disallowed_methods)]

use std::io::{BufWriter, Write};

use harmonia_core::filter::Exchange;
use harmonia_core::session::{SyncConfig, SyncSession};
use harmonia_core::units::{NodeTime, PlatformTime, Span};

fn exchange(line: &str) -> Option<Exchange> {
    let mut columns = line.trim().split(',').map(|column| column.trim().parse::<i64>().ok());
    let mut next = || columns.next().flatten();
    Some(Exchange {
        t1: PlatformTime::from_ns(next()?),
        t2: NodeTime::from_ns(next()?),
        t3: NodeTime::from_ns(next()?),
        t4: PlatformTime::from_ns(next()?),
        stamp_error: Span::ZERO,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: replay TRACE.csv > REPLAY.csv")?;
    let trace = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let config = SyncConfig { max_drift_ppb: 200_000, max_wander: 3e-8, lead: Span::ZERO, ..SyncConfig::default() };
    let mut session = SyncSession::new(config, 0);
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "t4,offset_before,bound_ns,uncertainty_ns,rate_ppb")?;
    for (number, line) in trace.lines().enumerate().skip(1) {
        let exchange = exchange(line).ok_or(format!("{path}:{}: four integers are expected: {line:?}", number + 1))?;
        let before = session.clock().read(exchange.t4);
        session.take(exchange);
        let offset = before.node.ns() - exchange.t4.ns();
        let rate_ppb = session.clock().rate_ppb_at(exchange.t4);
        let (bound, uncertainty) = (before.bound().ns(), before.uncertainty.ns());
        writeln!(out, "{},{offset},{bound},{uncertainty},{rate_ppb}", exchange.t4.ns())?;
    }
    Ok(out.flush()?)
}
