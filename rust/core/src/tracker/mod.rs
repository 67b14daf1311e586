//! The phase of a living rhythm, at the instant at which it is asked for.
//!
//! A breath or a slow wave of sleep has a phase that anybody can read off a recording: filter it forwards and backwards,
//! take the Hilbert transform. To lead or to follow a sleeper one needs it *now*, when half of what that filter looks at
//! has not happened yet. A causal filter is late, by an amount that depends on a frequency that wanders; the Hilbert
//! transform of a window is worst at its end, the only place that counts; a phase-locked loop takes cycles to notice
//! that a rhythm which is hardly one has slipped.
//!
//! What works here is to ask which weighted sum of the last seconds *has been* nearest to the truth, tonight and for
//! this person: see `predictor.rs`. The truth arrives some seconds late, teaches the predictor, and says
//! how good the estimates were: that is the confidence ([`Estimate::confidence`]).
//!
//! A [`Tracker`] takes samples at one steady rate, a missing one as NaN; [`LiveTracker`] puts time stamps before it.
//! Neither ever looks ahead, so the track of a prefix is the prefix of the track, to the bit. After it is made, a tracker
//! allocates nothing; a sample costs some ten operations, and a node, of which there are 32 to 64 in the shortest cycle,
//! some ten thousand (a few microseconds).
mod artefact;
mod band;
mod confidence;
mod decimate;
mod history;
mod live;
mod pll;
mod predictor;
mod spectrum;
mod taps;

pub use band::Band;
pub use live::LiveTracker;

use artefact::{NodeScreen, SampleScreen, Watch};
use confidence::Errors;
use decimate::Decimator;
use history::History;
use num_complex::Complex64;
use pll::Loop;
use predictor::{Mean, Predictor, MEMORY_S, STRETCHES, STRETCH_MAX};
use std::f64::consts::TAU;
use taps::Taps;

/// How far the truth's filter reaches, in inverse widths of the band: beyond that lies a thousandth of it.
const TRUTH_WIDTHS: f64 = 3.0;
/// Share of the nodes behind a truth that may be missing.
const MISSING_MAX: f64 = 0.05;
/// Inverse widths of the band after which nothing is left of a phase that nobody measures.
const STALE_WIDTHS: f64 = 1.0;
/// Cycles over which the frequency is averaged.
const FREQUENCY_CYCLES: f64 = 2.0;

/// Why there is no such tracker.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TrackerError {
    /// No rate at all.
    #[error("a sampling rate of {rate_hz} Hz; a positive number is needed")]
    Rate {
        /// As it was given.
        rate_hz: f64,
    },
    /// Not two corners in order.
    #[error("a band from {lo_hz} to {hi_hz} Hz; LO must be at least 0.005 Hz and below HI")]
    Order {
        /// As it was given.
        lo_hz: f64,
        /// As it was given.
        hi_hz: f64,
    },
    /// Frequencies that these samples cannot hold.
    #[error("a band up to {hi_hz} Hz in a signal of {rate_hz} samples a second; HI must be below half of that, {} Hz", .rate_hz / 2.0)]
    Nyquist {
        /// As it was given.
        hi_hz: f64,
        /// The signal's.
        rate_hz: f64,
    },
    /// More than one rhythm.
    #[error("a band from {lo_hz} to {hi_hz} Hz is too wide to have one phase; HI may be 10 times LO, {} Hz", .lo_hz * 10.0)]
    Wide {
        /// As it was given.
        lo_hz: f64,
        /// As it was given.
        hi_hz: f64,
    },
    /// Too slow to follow anything.
    #[error("a band from {lo_hz} to {hi_hz} Hz is too narrow to be followed; it must be a tenth of its middle wide, {} Hz", 0.05 * (.lo_hz + .hi_hz))]
    Narrow {
        /// As it was given.
        lo_hz: f64,
        /// As it was given.
        hi_hz: f64,
    },
}

/// What estimates the phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimator {
    /// Learns the best weighted sum from the past: the one to use.
    #[default]
    Predictor,
    /// The end-corrected Hilbert transform.
    EndCorrected,
    /// The Hilbert transform of the causally filtered window, at its end.
    Hilbert,
    /// A phase-locked loop.
    Loop,
}

impl Estimator {
    /// All there are, the default first.
    pub const ALL: [Self; 4] = [Self::Predictor, Self::EndCorrected, Self::Hilbert, Self::Loop];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predictor => "predictor",
            Self::EndCorrected => "end-corrected",
            Self::Hilbert => "hilbert",
            Self::Loop => "pll",
        }
    }
}

/// Where a rhythm stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// In turns, at least 0 and below 1; 0 at the peak of the band-passed signal.
    pub phase_turns: f64,
    /// Averaged over two cycles; always within the band.
    pub frequency_hz: f64,
    /// The resultant length to be expected of the phase's error, 0 (anything is as likely) to 1 (certain). 0 before
    /// anything is known, and through artefacts and drop-outs that last.
    pub confidence: f64,
}

/// Follows one signal. See the module's own text.
#[derive(Clone, Debug)]
pub struct Tracker {
    band: Band,
    rate_hz: f64,
    samples: SampleScreen,
    decimator: Decimator,
    nodes: NodeScreen,
    watch: Watch,
    engine: Engine,
    truth: Taps,
    /// Nodes by which the truth is late.
    reach: usize,
    history: History<f64>,
    /// Room for an example at another pace.
    example: Vec<f64>,
    /// The estimates as they were given, until their truth is known; None where they were coasting.
    given: History<Option<Complex64>>,
    missing: History<bool>,
    missing_count: usize,
    heard: usize,
    errors: Errors,
    power: Mean,
    analytic: Complex64,
    /// What the last value held beside the band.
    rest: f64,
    measured: bool,
    turning: Complex64,
    stale_s: f64,
    since_node: u32,
    node: Estimate,
}

#[derive(Clone, Debug)]
enum Engine {
    Predictor(Box<Predictor>),
    Taps(Taps),
    Loop(Box<Loop>),
}

impl Tracker {
    /// A tracker for samples at `rate_hz`. Allocates all that it will ever use. Errors: the band, see [`Band::new`].
    pub fn new(lo_hz: f64, hi_hz: f64, rate_hz: f64, estimator: Estimator) -> Result<Self, TrackerError> {
        let band = Band::new(lo_hz, hi_hz, rate_hz)?;
        let decimator = Decimator::new(rate_hz, hi_hz);
        let (node_hz, delay_s) = (rate_hz / decimator.step() as f64, decimator.delay_s());
        let reach = (TRUTH_WIDTHS / band.width_hz() * node_hz).ceil() as usize;
        let engine = match estimator {
            Estimator::Predictor => Engine::Predictor(Box::new(Predictor::new(&band, node_hz, delay_s))),
            Estimator::EndCorrected => Engine::Taps(Taps::end_corrected(&band, node_hz, delay_s)),
            Estimator::Hilbert => Engine::Taps(Taps::hilbert(&band, node_hz, delay_s)),
            Estimator::Loop => Engine::Loop(Box::new(Loop::new(&band, node_hz, delay_s))),
        };
        let span = 2 * reach + 1;
        let example = match &engine {
            Engine::Predictor(predictor) => span.max(predictor.window() + reach),
            Engine::Taps(_) | Engine::Loop(_) => 0,
        };
        let window = match &engine {
            Engine::Predictor(_) => (STRETCH_MAX * example as f64) as usize + 2,
            Engine::Taps(taps) => span.max(taps.len()),
            Engine::Loop(one) => span.max(one.window()),
        };
        Ok(Self {
            band,
            rate_hz,
            samples: SampleScreen::new(rate_hz, &band),
            nodes: NodeScreen::new(node_hz, &band),
            watch: Watch::new(node_hz, &band, MEMORY_S),
            engine,
            truth: Taps::truth(&band, node_hz, delay_s, reach),
            reach,
            history: History::new(window, 0.0),
            given: History::new(reach + 1, None),
            example: vec![0.0; example],
            missing: History::new(span, true),
            missing_count: span,
            heard: 0,
            errors: Errors::new(node_hz, band.width_hz()),
            power: Mean::new(200.0 * node_hz),
            analytic: Complex64::new(0.0, 0.0),
            rest: 0.0,
            measured: false,
            turning: Complex64::new(0.0, 0.0),
            stale_s: 2.0 * STALE_WIDTHS / band.width_hz(),
            since_node: 0,
            node: Estimate { phase_turns: 0.0, frequency_hz: band.middle_hz(), confidence: 0.0 },
            decimator,
        })
    }

    /// Samples a second that it was made for.
    pub fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    /// Takes the next sample, NaN if it is missing, and says where the rhythm stands at it. Realtime-safe.
    pub fn push(&mut self, sample: f64) -> Estimate {
        let sample = self.samples.pass(sample);
        if let Some(node) = self.decimator.push(sample) {
            self.step(node);
            self.since_node = 0;
        } else {
            self.since_node += 1;
        }
        self.after(f64::from(self.since_node) / self.rate_hz)
    }

    /// Where the rhythm stands `seconds` after the newest sample, if nothing else happens: confidence falls meanwhile.
    pub fn ahead(&self, seconds: f64) -> Estimate {
        let seconds = seconds.max(0.0);
        let mut estimate = self.after(f64::from(self.since_node) / self.rate_hz + seconds);
        estimate.confidence *= (1.0 - seconds * self.band.width_hz() / STALE_WIDTHS).max(0.0);
        estimate
    }

    /// Samples after which nothing of what was before has any bearing on what comes.
    pub fn memory_samples(&self) -> usize {
        self.history.all().len() * self.decimator.step()
    }

    fn after(&self, seconds: f64) -> Estimate {
        let phase_turns = turns(self.node.phase_turns + self.node.frequency_hz * seconds);
        Estimate { phase_turns, ..self.node }
    }

    fn step(&mut self, value: Option<f64>) {
        let node_s = self.decimator.step() as f64 / self.rate_hz;
        let coast = self.analytic
            * Complex64::from_polar((-node_s * self.band.width_hz()).exp(), TAU * self.node.frequency_hz * node_s);
        self.rest *= (-2.0 * node_s * self.band.hi_hz).exp();
        let expected = coast.re + self.rest;
        let passed = self.nodes.pass(value, expected);
        if self.watch.is_another(value, passed) {
            self.forget(node_s);
            return;
        }
        self.history.push(passed.unwrap_or(expected));
        self.missing_count -= usize::from(self.missing.ago(2 * self.reach));
        self.missing.push(passed.is_none());
        self.missing_count += usize::from(passed.is_none());
        self.heard = self.heard.saturating_add(1);

        let stale_max_s = STALE_WIDTHS / self.band.width_hz();
        if let Some(value) = passed {
            self.stale_s = (self.stale_s - node_s).max(0.0);
            self.measure(value, node_s);
        } else {
            self.stale_s = (self.stale_s + node_s).min(2.0 * stale_max_s);
            self.analytic = coast;
            self.node.phase_turns = turns(self.node.phase_turns + self.node.frequency_hz * node_s);
            self.measured = false;
        }
        let trusted = self.measured && self.stale_s == 0.0;
        self.given.push(trusted.then_some(self.analytic));
        self.learn();
        let expected_error = match &self.engine {
            Engine::Predictor(predictor) => predictor.expected_error(),
            Engine::Taps(_) | Engine::Loop(_) => self.power.value,
        };
        self.node.confidence = self.errors.confidence(self.analytic.norm_sqr(), expected_error)
            * (1.0 - self.stale_s / stale_max_s).max(0.0);
    }

    /// Begins anew from the next node on: nothing is known of this signal but that it is not the one before.
    fn forget(&mut self, node_s: f64) {
        let none = Complex64::new(0.0, 0.0);
        let (node_hz, span) = (1.0 / node_s, 2 * self.reach + 1);
        match &mut self.engine {
            Engine::Predictor(predictor) => predictor.forget(),
            Engine::Taps(_) => {}
            Engine::Loop(one) => one.forget(),
        }
        self.nodes = NodeScreen::new(node_hz, &self.band);
        self.watch = Watch::new(node_hz, &self.band, MEMORY_S);
        self.errors = Errors::new(node_hz, self.band.width_hz());
        self.history.fill(0.0);
        self.given.fill(None);
        self.missing.fill(true);
        (self.missing_count, self.heard) = (span, 0);
        self.power.forget();
        (self.analytic, self.turning, self.rest, self.measured) = (none, none, 0.0, false);
        self.stale_s = 2.0 * STALE_WIDTHS / self.band.width_hz();
        let phase_turns = turns(self.node.phase_turns + self.node.frequency_hz * node_s);
        self.node = Estimate { phase_turns, confidence: 0.0, ..self.node };
    }

    fn measure(&mut self, value: f64, node_s: f64) {
        let analytic = match &mut self.engine {
            Engine::Predictor(predictor) => {
                let window = self.history.all();
                predictor.predict(&window[window.len() - predictor.window()..])
            }
            Engine::Taps(taps) => taps.of(self.history.all()),
            Engine::Loop(one) => one.follow(self.history.all()),
        };
        self.power.add(analytic.norm_sqr());
        let size = (analytic.norm() * self.analytic.norm()).sqrt();
        if self.measured && size > 0.0 {
            // By amplitude, not by power: one sigh is not worth many breaths.
            let turned = analytic * self.analytic.conj() / size;
            self.turning += (turned - self.turning) * (node_s * self.band.middle_hz() / FREQUENCY_CYCLES).min(1.0);
            let hz = self.turning.arg() / (TAU * node_s);
            self.node.frequency_hz = hz.clamp(self.band.lo_hz, self.band.hi_hz);
        }
        self.node.phase_turns = turns(analytic.arg() / TAU);
        self.rest = value - analytic.re;
        self.analytic = analytic;
        self.measured = true;
    }

    /// Compares what was given with the truth that has just become known, and learns from it.
    fn learn(&mut self) {
        let span = 2 * self.reach + 1;
        if self.heard < span || self.missing_count as f64 > MISSING_MAX * span as f64 {
            return;
        }
        let truth = self.truth.of(self.history.all());
        if let Some(given) = self.given.ago(self.reach) {
            self.errors.add(truth, given);
        }
        if let Engine::Predictor(predictor) = &mut self.engine {
            let window = predictor.window();
            let newest = |values: &[f64]| values.len() - window;
            let past = self.history.until(self.reach);
            predictor.learn(&past[newest(past)..], truth);
            for pace in STRETCHES {
                self.history.at_pace(pace, &mut self.example);
                let truth = self.truth.of(&self.example);
                let past = &self.example[..self.example.len() - self.reach];
                predictor.imagine(&past[newest(past)..], truth);
            }
        }
    }
}

/// The same phase, at least 0 and below 1.
fn turns(phase: f64) -> f64 {
    let turns = phase.rem_euclid(1.0);
    if turns < 1.0 {
        turns
    } else {
        0.0
    }
}
