//! From samples to the nodes at which a tracker works: some 32 to 64 in the shortest cycle are enough.
//!
//! Each node is a triangular mean of the samples since the node before the last: what lies above half the nodes' rate,
//! mains hum for instance, would fold into the band; a triangle holds it off by 60 dB, a plain mean by 30. It delays by
//! one step less a sample, which the taps and targets know ([`Decimator::delay_s`]).

/// Fewest nodes in the shortest cycle, if the samples are as many.
pub(super) const NODES_PER_CYCLE: f64 = 32.0;

#[derive(Clone, Debug)]
pub(super) struct Decimator {
    step: usize,
    delay_s: f64,
    count: usize,
    /// Sums and weights of the node that is due next, and of the one after it.
    due: (f64, f64),
    after: (f64, f64),
}

impl Decimator {
    pub(super) fn new(rate_hz: f64, hi_hz: f64) -> Self {
        let step = ((rate_hz / (NODES_PER_CYCLE * hi_hz)) as usize).max(1);
        Self { step, delay_s: (step - 1) as f64 / rate_hz, count: 0, due: (0.0, 0.0), after: (0.0, 0.0) }
    }

    /// Samples from one node to the next.
    pub(super) fn step(&self) -> usize {
        self.step
    }

    /// How long before its own instant a node's signal was.
    pub(super) fn delay_s(&self) -> f64 {
        self.delay_s
    }

    /// Takes a sample, or a missing one. With every `step`-th a node is ready: its value, or None where less than half
    /// of it is known.
    pub(super) fn push(&mut self, sample: Option<f64>) -> Option<Option<f64>> {
        self.count += 1;
        if let Some(value) = sample {
            let falling = (self.step - self.count + 1) as f64;
            let rising = (self.count - 1) as f64;
            self.due.0 += falling * value;
            self.due.1 += falling;
            self.after.0 += rising * value;
            self.after.1 += rising;
        }
        if self.count < self.step {
            return None;
        }
        self.count = 0;
        let whole = (self.step * self.step) as f64;
        let (sum, weight) = self.due;
        self.due = self.after;
        self.after = (0.0, 0.0);
        Some((weight > 0.5 * whole).then(|| sum / weight))
    }
}
