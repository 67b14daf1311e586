//! How far a line through the present misses the past, since the frequency walks.

/// What is known of it.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Variance that the frequency gains in a second, ppb².
    pub(super) variance: f64,
}

impl Walk {
    /// Standard deviation by which a line through the present misses the offset at `age` seconds, ns.
    pub(super) fn displacement(&self, age: f64) -> f64 {
        let age = age.max(0.0);
        (self.variance * age * age * age / 3.0).sqrt()
    }
}
