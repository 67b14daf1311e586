//! All pairs of offset and frequency that explain every exchange so far: exactly, but for what is said below.
//!
//! The set is carried from exchange to exchange: it is sheared by the time that passed, grown by what the frequency may
//! have wandered meanwhile, and clipped by the new exchange's two half-planes. Weakening each old half-plane by its own
//! age instead would be simpler and much looser: it lets the frequency have wandered upwards for one of them and
//! downwards for the next.
use super::certified::{Certified, KNOTS_S};
use super::exchange::Exchange;
use super::polygon::Polygon;
use super::{FilterConfig, ROUNDING_NS};
use crate::units::PlatformTime;

/// The set as of `at`.
#[derive(Clone, Debug)]
pub(super) struct Possible {
    pub(super) at: PlatformTime,
    pub(super) base_ns: i64,
    pub(super) polygon: Polygon,
}

impl Possible {
    /// The growth of one step is taken a little too wide, by w·Δ²/4; long silences are cut into pieces of a second,
    /// but not into more than this many.
    const PIECES_MAX: f64 = 64.0;

    /// What is possible before anything was heard.
    pub(super) fn before(first: &Exchange, config: &FilterConfig) -> Self {
        let round_trip = first.round_trip().ns().unsigned_abs() as f64;
        let (drift, elapsed) = (config.max_drift_ppb as f64, (first.t4 - first.t1).as_s_f64().abs());
        let margin = first.stamp_error.ns() as f64 + (drift + config.max_wander * 1e9 * elapsed) * elapsed;
        let mut polygon = Polygon::default();
        polygon.start(round_trip + margin + 10.0, drift);
        Self { at: first.t4, base_ns: first.offset().ns(), polygon }
    }

    /// Adds what `exchange` says; false if nothing is left.
    pub(super) fn take(&mut self, exchange: &Exchange, config: &FilterConfig) -> bool {
        let max_wander = config.max_wander * 1e9;
        self.advance(self.at.max(exchange.t4), max_wander);
        self.polygon.clip(0.0, 1.0, config.max_drift_ppb as f64);
        self.polygon.clip(0.0, -1.0, config.max_drift_ppb as f64);
        let moved = (i128::from(exchange.offset().ns()) - i128::from(self.base_ns)) as f64;
        self.base_ns = exchange.offset().ns();
        self.polygon.shift(-moved);
        let relative = |ns: i64| (i128::from(ns) - i128::from(self.base_ns)) as f64;
        let margin = exchange.stamp_error.ns() as f64 + ROUNDING_NS;
        let age = |t: PlatformTime| (self.at - t).as_s_f64();
        let slack = |age: f64| 0.5 * max_wander * age * age;
        let (sent, received) = (age(exchange.t1), age(exchange.t4));
        self.polygon.clip(1.0, -sent, relative(exchange.upper()) + margin + slack(sent));
        self.polygon.clip(-1.0, received, -relative(exchange.lower()) + margin + slack(received));
        self.polygon.simplify();
        !self.polygon.is_empty()
    }

    pub(super) fn advance(&mut self, to: PlatformTime, max_wander: f64) {
        let elapsed = (to - self.at).as_s_f64();
        self.at = to;
        if elapsed <= 0.0 {
            return;
        }
        let pieces = elapsed.ceil().clamp(1.0, Self::PIECES_MAX);
        let dt = elapsed / pieces;
        for _ in 0..pieces as u32 {
            self.polygon.shear(dt);
            // Frequency that changes evenly moves both; all other courses lie within a little beside.
            self.polygon.grow((0.5 * max_wander * dt * dt, max_wander * dt), 0.25 * max_wander * dt * dt);
            self.polygon.simplify();
        }
    }

    pub(super) fn certified(&self, config: &FilterConfig) -> Certified {
        let polygon = &self.polygon;
        Certified {
            at: self.at,
            base_ns: self.base_ns,
            upper: KNOTS_S.map(|dt| polygon.extent(1.0, dt)),
            lower: KNOTS_S.map(|dt| -polygon.extent(-1.0, -dt)),
            rate: [-polygon.extent(0.0, -1.0), polygon.extent(0.0, 1.0)],
            max_drift: config.max_drift_ppb as f64,
            max_wander: config.max_wander * 1e9,
        }
    }
}
