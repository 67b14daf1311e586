//! The last values of a signal, always as one slice.

/// A ring that writes everything twice, so that its newest `len` values lie side by side. Realtime-safe once made.
#[derive(Clone, Debug)]
pub(super) struct History<T> {
    twice: Vec<T>,
    len: usize,
    next: usize,
}

impl<T: Copy> History<T> {
    pub(super) fn new(len: usize, fill: T) -> Self {
        Self { twice: vec![fill; 2 * len], len, next: 0 }
    }

    pub(super) fn push(&mut self, value: T) {
        self.twice[self.next] = value;
        self.twice[self.next + self.len] = value;
        self.next = (self.next + 1) % self.len;
    }

    /// As if nothing but `value` had ever been pushed.
    pub(super) fn fill(&mut self, value: T) {
        self.twice.fill(value);
    }

    /// All `len` values, oldest first.
    pub(super) fn all(&self) -> &[T] {
        &self.twice[self.next..self.next + self.len]
    }

    /// The value that was pushed `age` pushes before the newest.
    pub(super) fn ago(&self, age: usize) -> T {
        self.all()[self.len - 1 - age]
    }

    /// The values up to the one `age` pushes before the newest, oldest first.
    pub(super) fn until(&self, age: usize) -> &[T] {
        &self.all()[..self.len - age]
    }
}

impl History<f64> {
    /// The newest values, `pace` apart (linearly between two), into `into`, oldest first. As far back as `into` is long.
    pub(super) fn at_pace(&self, pace: f64, into: &mut [f64]) {
        let values = self.all();
        let newest = values.len() - 1;
        for (i, value) in into.iter_mut().rev().enumerate() {
            let age = (i as f64 * pace).min(newest as f64);
            let (whole, part) = (age as usize, age.fract());
            let (younger, older) = (values[newest - whole], values[newest - (whole + 1).min(newest)]);
            *value = younger + part * (older - younger);
        }
    }
}
