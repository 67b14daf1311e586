//! What is no signal: missing and absurd numbers, flat lines, pops and whatever is far louder than the night has been.
//!
//! Each test is against this signal's own recent scale, which takes in what is louder only a little at a time: so an
//! artefact cannot raise the bar for the next, and a sleeper whose waves truly grow is believed within seconds. A pop
//! leaves the signal at a new level: once it moves no more, that level is where the signal would have been.
//!
//! What a night begins with has no scale before it: a sensor that is being put on passes at any size, and what was learnt
//! from it would outweigh hours. So a [`Watch`] compares scales and signal over many cycles, and says when they have
//! nothing to do with each other: then all that was learnt is let go of.
use super::band::Band;
use super::predictor::Mean;

/// No sensor's number is larger, and its square can still be added up.
const ABSURD: f64 = 1e15;
/// Cycles at the upper corner for which a living signal cannot stand still.
const FLAT_CYCLES: f64 = 0.5;
const FLAT_MIN: u32 = 4;

/// Looks at samples one by one.
#[derive(Clone, Debug)]
pub(super) struct SampleScreen {
    last: f64,
    equal: u32,
    equal_max: u32,
}

impl SampleScreen {
    pub(super) fn new(rate_hz: f64, band: &Band) -> Self {
        let equal_max = ((FLAT_CYCLES / band.hi_hz * rate_hz) as u32).max(FLAT_MIN);
        Self { last: f64::NAN, equal: 0, equal_max }
    }

    /// The sample, unless it says nothing.
    pub(super) fn pass(&mut self, sample: f64) -> Option<f64> {
        if sample.is_nan() || sample.abs() >= ABSURD {
            return None;
        }
        self.equal = if sample == self.last { self.equal.saturating_add(1) } else { 0 };
        self.last = sample;
        (self.equal < self.equal_max).then_some(sample)
    }
}

/// Steps from one node to the next that are this many times the usual one are pops.
const POP: f64 = 14.0;
/// Distances from the mean that are this many times the usual one are no rhythm.
const LOUD: f64 = 10.0;
/// How far above the usual a value may raise it.
const RAISE: f64 = 3.0;
/// Cycles at the lower corner in which mean and scale are averaged, and after which they are trusted.
const MEAN_CYCLES: f64 = 16.0;
const WARM_CYCLES: f64 = 2.0;

/// Looks at nodes one by one, and takes their slow mean away.
#[derive(Clone, Debug)]
pub(super) struct NodeScreen {
    mean: Mean,
    level: Mean,
    step: Mean,
    last: Option<f64>,
    seen: u32,
    warm: u32,
    /// Nodes for which a pop is waited out, and how many remain.
    settle: u32,
    settling: u32,
    /// Nodes between looks at a pop that has moved the level, until it moves no more; where it was at the last look.
    charging: u32,
    fresh: bool,
    landing: f64,
    /// Nodes for which a value may be loud before it is the new level, and how many were.
    patience: u32,
    loud: u32,
}

impl NodeScreen {
    pub(super) fn new(rate_hz: f64, band: &Band) -> Self {
        let cycle = rate_hz / band.lo_hz;
        Self {
            mean: Mean::new(MEAN_CYCLES * cycle),
            level: Mean::new(MEAN_CYCLES * cycle),
            step: Mean::new(MEAN_CYCLES * cycle),
            last: None,
            seen: 0,
            warm: (WARM_CYCLES * cycle) as u32,
            settle: (0.25 * rate_hz / band.hi_hz) as u32 + 1,
            settling: 0,
            charging: (0.5 * cycle) as u32 + 1,
            fresh: false,
            landing: 0.0,
            patience: cycle as u32,
            loud: 0,
        }
    }

    /// The node's value without its mean, unless it is missing or an artefact. `expected` is where it would have been.
    pub(super) fn pass(&mut self, value: Option<f64>, expected: f64) -> Option<f64> {
        let Some(value) = value else {
            self.last = None;
            self.settling = 0;
            return None;
        };
        if self.mean.is_empty() {
            self.mean.add(value);
        }
        self.seen = self.seen.saturating_add(1);
        let warm = self.seen > self.warm;
        let step = self.last.map_or(0.0, |last| (value - last).abs());
        self.last = Some(value);
        if warm && step > POP * self.step.value {
            self.settling = self.settle;
            self.fresh = true;
        }
        raise(&mut self.step, step, warm);
        let distance = (value - self.mean.value).abs();
        let loud = warm && distance > LOUD * self.level.value;
        raise(&mut self.level, distance, warm);
        self.loud = if loud { self.loud + 1 } else { 0 };
        if self.settling > 0 {
            self.settling -= 1;
            let far = RAISE * self.level.value;
            if self.settling == 0 && (value - self.mean.value - expected).abs() > far {
                if self.fresh || (value - self.landing).abs() > far {
                    self.fresh = false;
                    self.settling = self.charging; // it may well move on: wait, and look again
                    self.landing = value;
                } else {
                    self.mean.value = value - expected;
                }
            }
            return None;
        }
        if self.loud > self.patience {
            self.mean.value = value - expected;
            self.loud = 0;
            return None;
        }
        if loud {
            return None;
        }
        self.mean.add(value);
        Some(value - self.mean.value)
    }
}

/// Cycles at the lower corner in which a signal shows how large it is: more than the longest breath that is held.
const WATCH_CYCLES: f64 = 16.0;
/// A signal that moves by less than the largest value behind what was learnt over this is another signal.
const OUTGROWN: f64 = 30.0;
/// After so many stretches of which less than half has passed, artefacts are what there is.
const REFUSED_MAX: u32 = 3;

/// Sees whether what was learnt still has to do with what is heard.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    nodes_max: u32,
    /// Nodes with a value in this stretch, those of them that passed, and between what the values were.
    nodes: u32,
    passed: u32,
    /// Stretches in a row of which less than half has passed.
    refused: u32,
    low: f64,
    high: f64,
    /// The largest value that passed, which fades as what was learnt from it does.
    largest: f64,
    keep: f64,
}

impl Watch {
    /// Of nodes at `rate_hz`; the power of an example fades to 1/e within `memory_s`.
    pub(super) fn new(rate_hz: f64, band: &Band, memory_s: f64) -> Self {
        Self {
            nodes_max: (WATCH_CYCLES * rate_hz / band.lo_hz) as u32,
            nodes: 0,
            passed: 0,
            refused: 0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            largest: 0.0,
            keep: (-0.5 / (memory_s * rate_hz)).exp(),
        }
    }

    /// Takes a node's value, and what passed of it. True where all that was learnt is to be let go of: because the signal
    /// has become far smaller, or because it has been taken for artefacts for too long.
    pub(super) fn is_another(&mut self, value: Option<f64>, passed: Option<f64>) -> bool {
        self.largest *= self.keep;
        let Some(value) = value else { return false };
        self.nodes += 1;
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
        if let Some(passed) = passed {
            self.passed += 1;
            self.largest = self.largest.max(passed.abs());
        }
        if self.nodes < self.nodes_max {
            return false;
        }
        self.refused = if self.passed < self.nodes / 2 { self.refused + 1 } else { 0 };
        let another = self.high - self.low < self.largest / OUTGROWN || self.refused >= REFUSED_MAX;
        (self.nodes, self.passed, self.low, self.high) = (0, 0, f64::INFINITY, f64::NEG_INFINITY);
        another
    }
}

fn raise(scale: &mut Mean, value: f64, warm: bool) {
    scale.add(if warm { value.min(RAISE * scale.value) } else { value });
}
