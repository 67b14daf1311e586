//! Random bytes without a system call each: ChaCha20 keyed by the kernel.
//!
//! A protected answer needs 32 random bytes, and a server gives a hundred thousand answers a second.
use chacha20::rand_core::{Rng, SeedableRng};
use chacha20::ChaCha20Rng;

use crate::error::IoError;
use crate::os;

/// A cryptographic generator with a seed of its own.
pub struct Entropy(ChaCha20Rng);

impl Entropy {
    /// A generator seeded by the kernel.
    pub fn new() -> Result<Self, IoError> {
        let mut seed = [0; 32];
        os::random(&mut seed).map_err(|source| IoError::System { what: "random bytes", source })?;
        Ok(Self(ChaCha20Rng::from_seed(seed)))
    }

    /// Fills `out`. Realtime-safe.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_and_two_draws_differ() {
        let (mut a, mut b) = (Entropy::new().unwrap(), Entropy::new().unwrap());
        let mut draws = [[0u8; 32]; 4];
        for (i, draw) in draws.iter_mut().enumerate() {
            if i % 2 == 0 { &mut a } else { &mut b }.fill(draw);
        }
        draws.sort_unstable();
        assert!(draws.windows(2).all(|pair| pair[0] != pair[1]), "{draws:?}");
    }
}
