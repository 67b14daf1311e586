//! What a run shows, in numbers: how far the disciplined clock was off, and whether anything promised was broken.
use std::collections::BTreeMap;

use harmonia_core::servo::LockState;
use harmonia_core::units::Span;

use crate::net::{Net, TODAY_NS};
use crate::regression::Regression;
use crate::world::{MS, S};

/// Named numbers.
pub type Metrics = BTreeMap<&'static str, f64>;

/// Watches a [`Net`] while it runs.
#[derive(Debug, Default)]
pub struct Watch {
    /// True time in s and error in µs, a second apart.
    errors: Vec<(f64, f64)>,
    bounds_us: Vec<f64>,
    uncertainties_us: Vec<f64>,
    regression: Regression,
    regression_seen: usize,
    regression_squares: (f64, f64),
    bound_broken: u32,
    backwards: u32,
    slew_max_ppm: f64,
    worst_locked_us: f64,
    holdover_s: f64,
    last: Option<(i64, i128, LockState, i64)>,
}

impl Watch {
    /// Lets `net` run until `until_s`, looking at it every millisecond.
    pub fn run(&mut self, net: &mut Net, until_s: f64, skip_s: f64) {
        let until_ns = (until_s * S as f64) as i64;
        while net.now_ns < until_ns {
            net.run((net.now_ns + MS).min(until_ns));
            self.look(net, skip_s);
        }
    }

    /// What comes is not compared with what was: the clock has been unlocked meanwhile.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn look(&mut self, net: &Net, skip_s: f64) {
        let (at, clock) = (net.platform_now(), net.disciplined());
        let reading = clock.read(at);
        if reading.state == LockState::Unsynchronised {
            self.last = None;
            return;
        }
        let truth = net.true_now();
        let error_us = (reading.node - truth).ns() as f64 / 1e3;
        self.bound_broken += u32::from(truth < reading.earliest || truth > reading.latest);
        let (node, fraction) = clock.node_fine(at);
        let fine = (i128::from(node.ns()) << 32) + i128::from(fraction);
        let sounding = matches!(reading.state, LockState::Locked | LockState::Holdover);
        if sounding {
            self.worst_locked_us = self.worst_locked_us.max(error_us.abs());
        }
        if let Some((then, before, state, rate)) = self.last {
            let elapsed = (at.ns() - then) as f64;
            let was_sounding = matches!(state, LockState::Locked | LockState::Holdover);
            if sounding && was_sounding && elapsed > 0.0 {
                let gained = (fine - before) as f64 / 4_294_967_296.0;
                self.backwards += u32::from(gained < 0.0);
                // In a moment in which the estimated rate changes, either is right.
                let slope = (gained / elapsed - 1.0) * 1e9;
                let (low, high) = (rate.min(reading.rate_ppb) as f64, rate.max(reading.rate_ppb) as f64);
                let beyond = (low - slope).max(slope - high).max(0.0);
                self.slew_max_ppm = self.slew_max_ppm.max(beyond / 1e3);
            }
        }
        self.last = Some((at.ns(), fine, reading.state, reading.rate_ppb));
        self.regress(net, skip_s);
        if net.now_ns % S != 0 {
            return;
        }
        let now_s = (net.now_ns / S) as f64;
        self.holdover_s += f64::from(u8::from(reading.state == LockState::Holdover));
        self.errors.push((now_s, error_us));
        if now_s >= skip_s {
            self.bounds_us.push(reading.bound().ns() as f64 / 1e3);
            self.uncertainties_us.push(reading.uncertainty.ns() as f64 / 1e3);
        }
    }

    /// The regression gets the same exchanges, and is asked just before each.
    fn regress(&mut self, net: &Net, skip_s: f64) {
        for (true_ns, received) in &net.heard[self.regression_seen..] {
            let exchange = received.exchange;
            let origin = |ns: i64| (ns - net.heard[0].1.exchange.t4.ns()) as f64;
            let at_s = origin(exchange.t4.ns()) / 1e9;
            let truth = (TODAY_NS + true_ns - exchange.t4.ns() - net.heard[0].1.exchange.offset().ns()) as f64;
            if let Some(offset) = self.regression.offset_ns(at_s).filter(|_| *true_ns as f64 >= skip_s * 1e9) {
                self.regression_squares.0 += (offset - truth).powi(2);
                self.regression_squares.1 += 1.0;
            }
            let offset = exchange.offset() - net.heard[0].1.exchange.offset();
            self.regression.push(at_s, offset.ns() as f64, exchange.round_trip().ns() as f64);
        }
        self.regression_seen = net.heard.len();
    }

    /// The run in numbers; errors of before `skip_s` count only where they should.
    pub fn metrics(&self, net: &Net, skip_s: f64) -> Metrics {
        let used: Vec<f64> = self.errors.iter().filter(|(at, _)| *at >= skip_s).map(|(_, error)| *error).collect();
        let rms = (used.iter().map(|error| error * error).sum::<f64>() / used.len().max(1) as f64).sqrt();
        let max = used.iter().fold(0.0, |most: f64, error| most.max(error.abs()));
        let within =
            used.iter().zip(&self.uncertainties_us).filter(|(error, most)| error.abs() <= **most).count() as f64;
        let floor_us = net.heard.iter().map(|(_, received)| received.exchange.round_trip()).min().unwrap_or(Span::ZERO);
        let (squares, count) = self.regression_squares;
        let regression = (squares / count.max(1.0)).sqrt() / 1e3;
        Metrics::from([
            ("rms_us", rms),
            ("max_us", max),
            ("converged_s", self.converged_s()),
            ("bound_broken", f64::from(self.bound_broken)),
            ("bound_over_floor", median(&self.bounds_us) / (floor_us.ns() as f64 / 2e3).max(1e-3)),
            ("within_uncertainty", within / used.len().max(1) as f64),
            ("uncertainty_over_rms", median(&self.uncertainties_us) / rms.max(1e-6)),
            ("slew_max_ppm", self.slew_max_ppm),
            ("ran_backwards", f64::from(self.backwards)),
            ("worst_locked_us", self.worst_locked_us),
            ("holdover_s", self.holdover_s),
            ("regression_rms_us", regression),
            ("over_regression", rms / regression.max(1e-6)),
        ])
    }

    /// When the error first stayed below 1 ms for 30 s; 10⁹ if never.
    fn converged_s(&self) -> f64 {
        let late = |from: f64| {
            self.errors.iter().filter(|(at, _)| (from..from + 30.0).contains(at)).any(|(_, error)| error.abs() >= 1e3)
        };
        self.errors.iter().map(|(at, _)| *at).find(|at| !late(*at)).unwrap_or(1e9)
    }
}

/// The middle of some numbers; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
