//! The sum of the consenting voices, exactly.
//!
//! Floating-point addition forgets: (a + b) − b is not a, and a + b + c depends on the order. A field summed in floats
//! would keep a trace of everybody who ever left, and "as if they had never joined" would be a promise that nobody can
//! check. So each weighted voice is rounded once to a multiple of 2⁻³⁶ and from then on only integers are added.
//! Integers modulo 2⁶⁴ are a group: removal is exact, order leaves no trace, and an overflow on the way (it would
//! take a million of the loudest voices) would still cancel.
//!
//! Layout: as the coefficients lie in memory, real and imaginary parts in turn; sums and differences know neither.
use num_complex::Complex;

use crate::voice::Voice;

/// One unit of the fixed-point form is 2⁻³⁶.
const FRACTION_BITS: u32 = 36;
const ONE: f64 = (1u64 << FRACTION_BITS) as f64;

/// What turns fixed point into a float: a power of two, so exact.
pub(crate) const UNIT: f64 = 1.0 / ONE;

/// A weighted voice, or a sum of them: 2·K integers of 2⁻³⁶, real and imaginary parts in turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    sums: Vec<i64>,
}

impl Field {
    /// The empty field of `channels` channels.
    pub fn silent(channels: usize) -> Self {
        Self { sums: vec![0; 2 * channels] }
    }

    /// `weight` times `voice`, each part rounded once, to even, to a multiple of 2⁻³⁶.
    ///
    /// The product of two `f32` is exact in `f64`, so the result is the same on every machine.
    pub fn of(voice: &Voice, weight: f32) -> Self {
        let fixed = |part: f32| (f64::from(part) * f64::from(weight) * ONE).round_ties_even() as i64;
        Self { sums: voice.coefficients().iter().flat_map(|v| [fixed(v.re), fixed(v.im)]).collect() }
    }

    /// How many channels. Realtime-safe.
    pub fn channels(&self) -> usize {
        self.sums.len() / 2
    }

    /// Adds `part`, exactly. Realtime-safe.
    pub fn add(&mut self, part: &Self) {
        self.add_sums(&part.sums);
    }

    /// Takes `part` away, exactly: undoes [`Field::add`] to the bit. Realtime-safe.
    pub fn remove(&mut self, part: &Self) {
        self.remove_sums(&part.sums);
    }

    /// The integers. Realtime-safe.
    pub(crate) fn sums(&self) -> &[i64] {
        &self.sums
    }

    pub(crate) fn sums_mut(&mut self) -> &mut [i64] {
        &mut self.sums
    }

    pub(crate) fn add_sums(&mut self, part: &[i64]) {
        debug_assert_eq!(self.sums.len(), part.len());
        self.sums.iter_mut().zip(part).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
    }

    pub(crate) fn remove_sums(&mut self, part: &[i64]) {
        debug_assert_eq!(self.sums.len(), part.len());
        self.sums.iter_mut().zip(part).for_each(|(sum, x)| *sum = sum.wrapping_sub(*x));
    }

    /// `level` times this field as floats, one coefficient a channel, rounded once each. Realtime-safe.
    ///
    /// # Panics
    /// If `out` has not one place a channel.
    pub fn scaled_into(&self, level: f32, out: &mut [Complex<f32>]) {
        assert_eq!(out.len(), self.channels(), "a mix has one coefficient a channel");
        let scale = f64::from(level) * UNIT;
        for (out, sums) in out.iter_mut().zip(self.sums.chunks_exact(2)) {
            *out = Complex::new((sums[0] as f64 * scale) as f32, (sums[1] as f64 * scale) as f32);
        }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn voice() -> impl Strategy<Value = Voice> {
        prop::collection::vec((-2.8f32..2.8, -2.8f32..2.8), 3)
            .prop_map(|parts| Voice::new(parts.into_iter().map(|(re, im)| Complex::new(re, im)).collect::<Vec<_>>()))
            .prop_map(Result::unwrap)
    }

    proptest! {
        #[test]
        fn removing_undoes_adding_to_the_bit(voices in prop::collection::vec((voice(), 0.0f32..4.0), 1..20)) {
            let parts: Vec<Field> = voices.iter().map(|(voice, weight)| Field::of(voice, *weight)).collect();
            let mut field = Field::silent(3);
            parts.iter().for_each(|part| field.add(part));
            parts.iter().for_each(|part| field.remove(part)); // in the order of joining, not the reverse
            prop_assert_eq!(field, Field::silent(3));
        }

        #[test]
        fn order_leaves_no_trace(a in voice(), b in voice(), c in voice(), w in 0.0f32..4.0) {
            let [a, b, c] = [a, b, c].map(|voice| Field::of(&voice, w));
            let sum = |parts: [&Field; 3]| {
                let mut field = Field::silent(3);
                parts.into_iter().for_each(|part| field.add(part));
                field
            };
            prop_assert_eq!(sum([&a, &b, &c]), sum([&c, &a, &b]));
        }

        #[test]
        fn a_voice_survives_its_fixed_form(v in voice()) {
            let mut out = vec![Complex::default(); 3];
            Field::of(&v, 1.0).scaled_into(1.0, &mut out);
            for (given, got) in v.coefficients().iter().zip(&out) {
                prop_assert!((given - got).norm() <= 3e-7 * given.norm() + 3e-11, "{} {}", given, got);
            }
        }
    }
}
