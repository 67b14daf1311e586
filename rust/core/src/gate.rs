//! The sleeper's own gate: the last thing that their sound passes, and the first that they can close.
//!
//! Closing must be certain and quick without a click: from the first sample of the next block the level falls linearly
//! to an exact zero within [`CLOSE_MS`]. Opening must not startle: but how fast a sound may become loud is the limiter's
//! law ([`crate::limiter`]), which begins anew, in the quiet, whenever the gate was silent; so opening is a ramp of
//! [`OPEN_MS`] for that quiet sound. Who opens a gate that is still closing waits for those few milliseconds. The gate
//! never amplifies, so nothing comes back louder than it was. It starts closed.

/// How long closing takes, in milliseconds.
pub const CLOSE_MS: u32 = 8;
/// How long opening takes, in milliseconds.
pub const OPEN_MS: u32 = 20;

/// A gate on a stereo signal. Realtime-safe throughout.
#[derive(Clone, Debug)]
pub struct Gate {
    open: bool,
    /// Whether it still has to reach zero, whatever is wished meanwhile.
    closing: bool,
    level: f64,
    /// What closing subtracts a sample.
    fall: f64,
    close_samples: u32,
    /// What opening adds a sample.
    rise: f64,
}

impl Gate {
    /// A closed gate at `sample_rate` samples a second.
    pub fn new(sample_rate: u32) -> Self {
        let rise = 1000.0 / f64::from(OPEN_MS * sample_rate);
        let close_samples = sample_rate * CLOSE_MS / 1000;
        Self { open: false, closing: false, level: 0.0, fall: 0.0, close_samples, rise }
    }

    /// A gate that is open from the first sample, for sound that nobody lies next to.
    pub fn wide_open(sample_rate: u32) -> Self {
        Self { open: true, level: 1.0, ..Self::new(sample_rate) }
    }

    /// Opens or closes from the next sample on. Saying the same twice changes nothing.
    pub fn set(&mut self, open: bool) {
        if self.open && !open && !self.closing {
            self.fall = self.level / f64::from(self.close_samples);
            self.closing = self.level > 0.0;
        }
        self.open = open;
    }

    /// Whether it is open or opening.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// What it multiplies by now, 0 to 1.
    pub fn level(&self) -> f32 {
        self.level as f32
    }

    /// Whether its ramp is over, so that nothing but zeros leave it until it is opened; true just before it opens, too.
    pub fn is_silent(&self) -> bool {
        self.level == 0.0
    }

    /// Whether it is silent and stays so.
    pub fn is_shut(&self) -> bool {
        self.is_silent() && !self.open
    }

    /// Lets the next samples through, as far as it is open.
    pub fn process(&mut self, left: &mut [f32], right: &mut [f32]) {
        if self.open && !self.closing && self.level == 1.0 {
            return;
        }
        for (left, right) in left.iter_mut().zip(right) {
            if self.closing {
                self.level = (self.level - self.fall).max(0.0);
                // It stays at zero until the block ends: the limiter must have seen the silence.
            } else if self.open {
                self.level = (self.level + self.rise).min(1.0);
            }
            let level = self.level as f32;
            *left *= level;
            *right *= level;
        }
        self.closing &= self.level > 0.0;
    }
}

#[cfg(test)]
mod laws {
    use super::*;

    const RATE: u32 = 48_000;

    fn pass(gate: &mut Gate, samples: usize) -> Vec<f32> {
        let (mut left, mut right) = (vec![1.0; samples], vec![-1.0; samples]);
        gate.process(&mut left, &mut right);
        assert!(left.iter().zip(&right).all(|(l, r)| *l == -*r));
        left
    }

    #[test]
    fn it_starts_closed() {
        let mut gate = Gate::new(RATE);
        assert!(gate.is_silent() && !gate.is_open());
        assert!(pass(&mut gate, 100).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn closing_begins_at_once_and_ends_in_exact_zero_within_ten_milliseconds() {
        for rate in [8_000, 44_100, RATE, 192_000] {
            for opened in [1, rate as usize / 100, rate as usize] {
                let mut gate = Gate::new(rate);
                gate.set(true);
                let before = *pass(&mut gate, opened).last().unwrap();
                gate.set(false);
                let out = pass(&mut gate, rate as usize / 100);
                assert!(out[0] < before);
                assert!(out.windows(2).all(|pair| pair[1] <= pair[0]));
                assert!(out[rate as usize / 200 - 1] > 0.0, "a ramp, not a click");
                assert_eq!(*out.last().unwrap(), 0.0);
                assert!(gate.is_silent());
                assert!(pass(&mut gate, 1000).iter().all(|x| *x == 0.0));
            }
        }
    }

    #[test]
    fn opening_is_a_ramp_that_never_amplifies() {
        let mut gate = Gate::new(RATE);
        gate.set(true);
        let out = pass(&mut gate, RATE as usize);
        assert!(out[0] <= 2e-3);
        assert!(out.windows(2).all(|pair| pair[1] >= pair[0] && pair[1] <= 1.0));
        assert_eq!(out[(RATE * OPEN_MS / 1000) as usize + 1], 1.0);
    }

    #[test]
    fn a_gate_that_changes_its_mind_closes_first_and_does_not_jump() {
        let mut gate = Gate::new(RATE);
        gate.set(true);
        pass(&mut gate, 4_000);
        gate.set(false);
        let closing = pass(&mut gate, 100);
        gate.set(true);
        let again = pass(&mut gate, 300);
        assert!((again[0] - closing[99]).abs() < 0.01);
        assert!(again.windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(gate.is_silent() && gate.is_open());
        assert!(pass(&mut gate, 2_000)[1_999] == 1.0);
    }
}
