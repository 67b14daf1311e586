//! A position in a cycle, exactly.
//!
//! A float phase loses a bit with every doubling of the night: after eight hours at 200 Hz an `f64` that counts turns
//! resolves 1e-9 turn and an `f32` not even one turn. Here a [`Phase`] is an unsigned fraction of a turn in units of
//! 2⁻⁶⁴, so that a whole turn is the wrap of the integer, addition is exact for ever, and the wrapping difference
//! read as a signed integer *is* the shortest way round.
use core::fmt;
use core::ops::{Add, Neg, Sub};

use thiserror::Error;

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64

/// A position in the cycle: `0` to just below one turn, in units of 2⁻⁶⁴ turn. Wraps. Realtime-safe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Phase(u64);

/// A displacement in phase: −½ to just below +½ turn, in units of 2⁻⁶⁴ turn. Wraps. Realtime-safe.
///
/// A sleeper's own displacement from the rhythm is one of these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PhaseOffset(i64);

/// A number of turns that is not a number.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
#[error("a phase offset must be a finite number of turns such as 0.25, not {0}")]
pub struct NotFinite(pub f64);

impl Phase {
    /// The beginning of the cycle.
    pub const ZERO: Self = Self(0);

    /// The phase of `bits` · 2⁻⁶⁴ turn.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// This phase in units of 2⁻⁶⁴ turn.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// This phase in turns, `0.0 ..= 1.0` (the last 2⁻⁵⁴ of a turn round up to `1.0`).
    pub fn turns(self) -> f64 {
        self.0 as f64 / TURN
    }

    /// `n` times this phase, exactly: the phase of the n-th harmonic.
    pub const fn times(self, n: u32) -> Self {
        Self(self.0.wrapping_mul(n as u64))
    }
}

impl PhaseOffset {
    /// No displacement.
    pub const ZERO: Self = Self(0);

    /// The displacement of `bits` · 2⁻⁶⁴ turn.
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// This displacement in units of 2⁻⁶⁴ turn.
    pub const fn bits(self) -> i64 {
        self.0
    }

    /// The displacement of `turns`; whole turns fall away. Errors on NaN and infinities.
    pub fn from_turns(turns: f64) -> Result<Self, NotFinite> {
        if !turns.is_finite() {
            return Err(NotFinite(turns));
        }
        let nearest = turns - turns.round(); // −0.5 ..= 0.5, exact in f64
        Ok(Self((nearest * TURN) as i128 as i64)) // +½ wraps onto −½: the same place
    }

    /// This displacement in turns, −0.5 ≤ x ≤ 0.5.
    pub fn turns(self) -> f64 {
        self.0 as f64 / TURN
    }

    /// `n` times this displacement, exactly, as it appears on the n-th harmonic.
    pub const fn times(self, n: u32) -> Self {
        Self(self.0.wrapping_mul(n as i64))
    }

    /// This displacement moved towards `target` by the shortest way, by at most `step` (2⁻⁶⁴ turn).
    ///
    /// Reaches `target` exactly. Used to glide to a new offset without a click.
    pub const fn towards(self, target: Self, step: u64) -> Self {
        let way = target.0.wrapping_sub(self.0);
        if way.unsigned_abs() <= step {
            target
        } else if way > 0 {
            Self(self.0.wrapping_add(step as i64))
        } else {
            Self(self.0.wrapping_sub(step as i64))
        }
    }
}

/// The shortest signed way from `other` to `self`.
impl Sub for Phase {
    type Output = PhaseOffset;
    fn sub(self, other: Self) -> PhaseOffset {
        PhaseOffset(self.0.wrapping_sub(other.0) as i64)
    }
}

impl Add<PhaseOffset> for Phase {
    type Output = Self;
    fn add(self, offset: PhaseOffset) -> Self {
        Self(self.0.wrapping_add(offset.0 as u64))
    }
}

impl Add for PhaseOffset {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Neg for PhaseOffset {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.wrapping_neg())
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} turn", self.turns())
    }
}

impl fmt::Debug for PhaseOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.6} turn", self.turns())
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_difference_leads_back(a: u64, b: u64) {
            let (a, b) = (Phase::from_bits(a), Phase::from_bits(b));
            prop_assert_eq!(b + (a - b), a);
        }

        #[test]
        fn the_difference_is_at_most_half_a_turn(a: u64, b: u64) {
            prop_assert!((Phase::from_bits(a) - Phase::from_bits(b)).turns().abs() <= 0.5);
        }

        #[test]
        fn there_and_back_cancel(a: u64, b: u64) {
            let (a, b) = (Phase::from_bits(a), Phase::from_bits(b));
            prop_assert_eq!((a - b) + (b - a), PhaseOffset::ZERO);
        }

        #[test]
        fn harmonics_distribute_over_offsets(p: u64, o: i64, n in 1u32..64) {
            let (p, o) = (Phase::from_bits(p), PhaseOffset::from_bits(o));
            prop_assert_eq!((p + o).times(n), p.times(n) + o.times(n));
        }

        #[test]
        fn whole_turns_fall_away(turns in -0.49f64..0.49, whole in -1000i32..1000) {
            let a = PhaseOffset::from_turns(turns).unwrap();
            let b = PhaseOffset::from_turns(turns + f64::from(whole)).unwrap();
            prop_assert!((a + -b).turns().abs() < 1e-12);
        }

        #[test]
        fn towards_arrives_and_never_overshoots(from: i64, to: i64, step in 1u64..u64::MAX / 2) {
            let (from, to) = (PhaseOffset::from_bits(from), PhaseOffset::from_bits(to));
            let moved = from.towards(to, step);
            let (before, after) = ((to + -from).bits().unsigned_abs(), (to + -moved).bits().unsigned_abs());
            prop_assert_eq!(after, before.saturating_sub(step));
        }
    }

    #[test]
    fn a_quarter_turn_is_exact() {
        assert_eq!(PhaseOffset::from_turns(0.25).unwrap().bits(), 1 << 62);
        assert_eq!(PhaseOffset::from_turns(1.25).unwrap().bits(), 1 << 62);
        assert_eq!(PhaseOffset::from_turns(-0.25).unwrap().bits(), -(1 << 62));
        assert_eq!(PhaseOffset::from_turns(0.5).unwrap(), PhaseOffset::from_turns(-0.5).unwrap());
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let message = PhaseOffset::from_turns(bad).unwrap_err().to_string();
            assert!(message.contains("finite"), "{message}");
        }
    }
}
