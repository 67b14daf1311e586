//! The shared timeline of a circle: node time in, phase out, the same bits everywhere.
//!
//! Sending ticks would make every platform's phase depend on every packet. Instead the circle publishes a short list
//! of immutable [`Segment`]s and each platform evaluates it against its own disciplined clock; no traffic is needed
//! while nothing changes. Evaluation is integer arithmetic modulo one turn in units of 2⁻¹²⁸:
//!
//! ```text
//! phase(t) = p₀·2⁶⁴ + f·t + h·t²        t in ns since the segment's start, wrapping in u128; the top 64 bits count
//! ```
//!
//! Because a whole turn is the wrap of the integer, `f·t` may overflow freely and is still exact. A frequency has a
//! resolution of 2⁻¹²⁸ turn/ns (3e-30 Hz): a rounding in `f` is worth less than 1e-16 turn after a hundred years.
//!
//! A segment starts in the future, where every platform has time to hear of it, and continuous in phase with the one
//! before it; so nobody ever jumps. A frequency may be negative (a beat whose ears have changed places).
use thiserror::Error;

use crate::phase::{Phase, PhaseOffset};
use crate::units::{NodeTime, Span};

const TWO_POW_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
/// A frequency of 1 Hz in units of 2⁻¹²⁸ turn/ns, for conversion from and to floats.
const UNITS_PER_HZ: f64 = TWO_POW_128 / 1e9;
/// Faster than this nothing is a rhythm or a carrier, and integer conversions have room to spare.
const HZ_MAX: f64 = 1e6;

/// A frequency in units of 2⁻¹²⁸ turn per nanosecond of node time. Realtime-safe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Frequency(i128);

/// Why a rhythm, a segment or a frequency was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum RhythmError {
    /// The frequency is NaN, infinite or out of range.
    #[error("a frequency must be a number of hertz from -{HZ_MAX:.0} to {HZ_MAX:.0}, not {0}")]
    BadFrequency(f64),
    /// A ramp that would take no time, or run backwards.
    #[error("a ramp must last at least 1 ns, not {0} ns")]
    BadRamp(i64),
    /// A segment that would rewrite the past.
    #[error(
        "a new segment must start after {last_ns} ns, where the last one starts; this one starts at {given_ns} ns"
    )]
    NotInOrder {
        /// Start of the newest segment, node time in ns.
        last_ns: i64,
        /// Start of the refused segment, node time in ns.
        given_ns: i64,
    },
    /// A rhythm without a segment.
    #[error("a rhythm needs at least one segment")]
    Empty,
}

impl Frequency {
    /// Standing still.
    pub const ZERO: Self = Self(0);

    /// The frequency of `hz` hertz. Errors if it is not finite or beyond ±1 MHz.
    pub fn from_hz(hz: f64) -> Result<Self, RhythmError> {
        if !hz.is_finite() || hz.abs() > HZ_MAX {
            return Err(RhythmError::BadFrequency(hz));
        }
        Ok(Self((hz * UNITS_PER_HZ) as i128))
    }

    /// This frequency in hertz, rounded to a float.
    pub fn hz(self) -> f64 {
        self.0 as f64 / UNITS_PER_HZ
    }

    /// `units` of 2⁻¹²⁸ turn/ns.
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// This frequency in units of 2⁻¹²⁸ turn/ns.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// `n` times this frequency, exactly.
    pub const fn times(self, n: u32) -> Self {
        Self(self.0.wrapping_mul(n as i128))
    }
}

/// A stretch of the timeline with a constant or steadily changing frequency. Immutable once published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it begins.
    pub start: NodeTime,
    /// The phase there.
    pub phase: Phase,
    /// The frequency there.
    pub frequency: Frequency,
    /// Half of the frequency's change per nanosecond, in 2⁻¹²⁸ turn/ns²; 0 for a constant frequency.
    pub half_ramp: i128,
    /// How long the ramp lasts, in ns; afterwards the frequency reached is held. 0 where there is no ramp.
    pub ramp: Span,
}

impl Segment {
    /// A constant frequency from `start` on.
    pub const fn constant(start: NodeTime, phase: Phase, frequency: Frequency) -> Self {
        Self { start, phase, frequency, half_ramp: 0, ramp: Span::ZERO }
    }

    /// From `frequency` to `target` in `ramp`, then `target` (to within the rounding of the slope). Errors on a ramp without length.
    pub fn ramp(
        start: NodeTime,
        phase: Phase,
        frequency: Frequency,
        target: Frequency,
        ramp: Span,
    ) -> Result<Self, RhythmError> {
        if ramp <= Span::ZERO {
            return Err(RhythmError::BadRamp(ramp.ns()));
        }
        let half_ramp = target.0.wrapping_sub(frequency.0) / (2 * i128::from(ramp.ns()));
        Ok(Self { start, phase, frequency, half_ramp, ramp })
    }

    /// A segment from outside may claim to ramp for less than no time.
    fn check(&self) -> Result<(), RhythmError> {
        if self.ramp < Span::ZERO {
            return Err(RhythmError::BadRamp(self.ramp.ns()));
        }
        Ok(())
    }

    /// The phase in units of 2⁻¹²⁸ turn and the frequency, at `t`.
    fn evaluate(&self, t: NodeTime) -> (u128, Frequency) {
        let since = i128::from(t.ns()) - i128::from(self.start.ns());
        let ramped = since.clamp(0, i128::from(self.ramp.ns()));
        let reached = self.frequency.0.wrapping_add(self.half_ramp.wrapping_mul(2 * ramped));
        let start = u128::from(self.phase.bits()) << 64;
        // Over the ramp, (f + h·r)·r; for the rest, the frequency reached. Before the start `ramped` is 0 and `since`
        // negative: the first segment extends backwards at its own frequency.
        let over_ramp = self.frequency.0.wrapping_add(self.half_ramp.wrapping_mul(ramped)).wrapping_mul(ramped);
        let rest = reached.wrapping_mul(since - ramped);
        (start.wrapping_add(over_ramp as u128).wrapping_add(rest as u128), Frequency(reached))
    }

    /// The phase at `t`. Exact for every `t`, before the start too. Realtime-safe.
    pub fn phase_at(&self, t: NodeTime) -> Phase {
        Phase::from_bits((self.evaluate(t).0 >> 64) as u64)
    }

    /// The frequency at `t`. Realtime-safe.
    pub fn frequency_at(&self, t: NodeTime) -> Frequency {
        self.evaluate(t).1
    }
}

/// How a rhythm goes on from an instant: phase(t) = p + f·t + h·t², until it changes its ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The phase at the instant, p.
    pub phase: Phase,
    /// The frequency there, f.
    pub frequency: Frequency,
    /// Half of the frequency's change per nanosecond from there on, in 2⁻¹²⁸ turn/ns², h.
    pub half_ramp: i128,
    /// When another segment begins, or a ramp does or ends; far in the future if never.
    pub until: NodeTime,
}

/// A list of segments, oldest first: the timeline that a whole circle shares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rhythm {
    segments: Vec<Segment>,
}

impl Rhythm {
    /// A rhythm that begins with `first`.
    pub fn new(first: Segment) -> Self {
        Self { segments: vec![first] }
    }

    /// The rhythm of `segments`, oldest first. Errors if there are none, if they are not in order, and on a ramp that
    /// lasts less than no time.
    pub fn from_segments(segments: impl IntoIterator<Item = Segment>) -> Result<Self, RhythmError> {
        let mut segments = segments.into_iter();
        let first = segments.next().ok_or(RhythmError::Empty)?;
        first.check()?;
        let mut rhythm = Self::new(first);
        segments.try_for_each(|segment| rhythm.push(segment))?;
        Ok(rhythm)
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Becomes the rhythm that begins with `first`. Realtime-safe: it allocates nothing.
    pub fn restart(&mut self, first: Segment) {
        self.segments.truncate(1);
        self.segments[0] = first;
    }

    /// Adds a segment as it is. Errors unless it starts after every other, and if its ramp lasts less than no time.
    pub fn push(&mut self, segment: Segment) -> Result<(), RhythmError> {
        let last = self.segments[self.segments.len() - 1].start;
        if segment.start <= last {
            return Err(RhythmError::NotInOrder { last_ns: last.ns(), given_ns: segment.start.ns() });
        }
        segment.check()?;
        self.segments.push(segment);
        Ok(())
    }

    /// Adds a segment that continues the phase at `start`, reaching `target` within `ramp` (zero: at once).
    ///
    /// Returns the segment. Errors unless it starts after every other, or if the ramp is negative.
    pub fn continue_at(&mut self, start: NodeTime, target: Frequency, ramp: Span) -> Result<Segment, RhythmError> {
        let phase = self.phase_at(start);
        let segment = if ramp == Span::ZERO {
            Segment::constant(start, phase, target)
        } else {
            Segment::ramp(start, phase, self.frequency_at(start), target, ramp)?
        };
        self.push(segment)?;
        Ok(segment)
    }

    /// The segment in force at `t`; the first one for all time before it. Realtime-safe.
    pub fn segment_at(&self, t: NodeTime) -> &Segment {
        let after = self.segments.partition_point(|segment| segment.start <= t);
        &self.segments[after.saturating_sub(1)]
    }

    /// The phase at `t`, the same bits on every machine. Realtime-safe.
    pub fn phase_at(&self, t: NodeTime) -> Phase {
        self.segment_at(t).phase_at(t)
    }

    /// The phase at `t` plus `fraction` · 2⁻³² ns, for samples that fall between nanoseconds. Realtime-safe.
    pub fn phase_at_fine(&self, t: NodeTime, fraction: u32) -> Phase {
        self.piece_at(t, fraction).phase
    }

    /// How the rhythm goes on from `t` plus `fraction` · 2⁻³² ns. Realtime-safe.
    pub fn piece_at(&self, t: NodeTime, fraction: u32) -> Piece {
        let after = self.segments.partition_point(|segment| segment.start <= t);
        let segment = &self.segments[after.saturating_sub(1)];
        let next = self.segments.get(after).map_or(NodeTime::from_ns(i64::MAX), |next| next.start);
        let ramp_end = segment.start + segment.ramp;
        let ramping = segment.start <= t && t < ramp_end;
        let change = if t < segment.start { segment.start } else { ramp_end };
        let (phase, frequency) = segment.evaluate(t);
        let within = (frequency.0 >> 32).wrapping_mul(i128::from(fraction));
        Piece {
            phase: Phase::from_bits((phase.wrapping_add(within as u128) >> 64) as u64),
            frequency,
            half_ramp: if ramping { segment.half_ramp } else { 0 },
            until: if t < change { next.min(change) } else { next },
        }
    }

    /// The frequency at `t`. Realtime-safe.
    pub fn frequency_at(&self, t: NodeTime) -> Frequency {
        self.segment_at(t).frequency_at(t)
    }

    /// How far this rhythm is from `other` at `t`, by the shortest way.
    pub fn difference_at(&self, other: &Self, t: NodeTime) -> PhaseOffset {
        self.phase_at(t) - other.phase_at(t)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    /// The same formula with schoolbook 256-bit integers, sharing nothing with the code above.
    fn reference(segment: &Segment, since: i128) -> u64 {
        fn mul_mod_2_128(a: i128, b: i128) -> u128 {
            // Russian peasants do not overflow silently: doubling and adding modulo 2^128.
            let (mut acc, mut a, mut b) = (0u128, a as u128, b as u128);
            while b != 0 {
                if b & 1 == 1 {
                    acc = acc.wrapping_add(a);
                }
                a = a.wrapping_add(a);
                b >>= 1;
            }
            acc
        }
        let square = mul_mod_2_128(since, since) as i128;
        let bits = (u128::from(segment.phase.bits()) << 64)
            .wrapping_add(mul_mod_2_128(segment.frequency.units(), since))
            .wrapping_add(mul_mod_2_128(segment.half_ramp, square));
        (bits >> 64) as u64
    }

    fn hz() -> impl Strategy<Value = Frequency> {
        (-2000.0f64..2000.0).prop_map(|hz| Frequency::from_hz(hz).unwrap())
    }

    prop_compose! {
        fn segment()(start in -1_000_000_000_000i64..1_000_000_000_000, phase: u64, f in hz(), g in hz(),
                     ramp in 1i64..30_000_000_000_000, flat: bool) -> Segment {
            let (start, phase) = (NodeTime::from_ns(start), Phase::from_bits(phase));
            if flat { Segment::constant(start, phase, f) }
            else { Segment::ramp(start, phase, f, g, Span::from_ns(ramp)).unwrap() }
        }
    }

    proptest! {
        #[test]
        fn a_constant_frequency_is_exact_for_a_century(s in segment(), since in 0i64..3_000_000_000_000_000_000) {
            let s = Segment { half_ramp: 0, ramp: Span::ZERO, ..s };
            prop_assert_eq!(s.phase_at(s.start + Span::from_ns(since)).bits(), reference(&s, i128::from(since)));
        }

        #[test]
        fn a_ramp_is_exact_to_its_end(s in segment(), share in 0.0f64..=1.0) {
            let since = (s.ramp.ns() as f64 * share) as i64;
            prop_assert_eq!(s.phase_at(s.start + Span::from_ns(since)).bits(), reference(&s, i128::from(since)));
        }

        #[test]
        fn a_ramp_reaches_its_target_and_stays(f in hz(), g in hz(), ramp in 1_000i64..30_000_000_000_000, later in 0i64..1_000_000_000_000) {
            let s = Segment::ramp(NodeTime::from_ns(0), Phase::ZERO, f, g, Span::from_ns(ramp)).unwrap();
            prop_assert_eq!(s.frequency_at(NodeTime::from_ns(0)), f);
            let end = s.frequency_at(NodeTime::from_ns(ramp));
            prop_assert!((end.hz() - g.hz()).abs() < 1e-9);
            prop_assert_eq!(s.frequency_at(NodeTime::from_ns(ramp + later)), end);
        }

        #[test]
        fn phase_advances_by_frequency_times_time(s in segment(), since in 0i64..1_000_000_000_000) {
            let t = s.start + Span::from_ns(since);
            let step = s.phase_at(t + Span::from_ns(1000)) - s.phase_at(t);
            let expected = s.frequency_at(t).hz() * 1e-6;
            prop_assert!((step.turns() - expected).abs() < 1e-8, "{} {}", step.turns(), expected);
        }

        #[test]
        fn segments_join_without_a_jump(first in segment(), steps in prop::collection::vec(
            (1i64..10_000_000_000_000, hz(), prop_oneof![Just(0i64), 1i64..10_000_000_000_000]), 1..8)) {
            let mut rhythm = Rhythm::new(first);
            let mut t = first.start;
            for (gap, target, ramp) in steps {
                t += Span::from_ns(gap);
                let before = rhythm.phase_at(t);
                let older = rhythm.clone();
                rhythm.continue_at(t, target, Span::from_ns(ramp)).unwrap();
                prop_assert_eq!(rhythm.phase_at(t), before);
                // What was already published is never rewritten.
                let earlier = t - Span::from_ns(1);
                prop_assert_eq!(rhythm.phase_at(earlier), older.phase_at(earlier));
            }
        }

        #[test]
        fn between_nanoseconds_phase_is_monotonic_and_meets_the_next(s in segment(), since in 0i64..1_000_000_000_000) {
            let rhythm = Rhythm::new(s);
            let t = s.start + Span::from_ns(since);
            prop_assert_eq!(rhythm.phase_at_fine(t, 0), rhythm.phase_at(t));
            let almost = rhythm.phase_at_fine(t, u32::MAX);
            let next = rhythm.phase_at(t + Span::from_ns(1));
            prop_assert!((next - almost).turns().abs() < 1e-14);
        }

        #[test]
        fn the_past_cannot_be_rewritten(s in segment(), back in 0i64..1_000_000_000) {
            let mut rhythm = Rhythm::new(s);
            let refused = rhythm.push(Segment::constant(s.start - Span::from_ns(back), Phase::ZERO, Frequency::ZERO));
            let in_order = matches!(refused, Err(RhythmError::NotInOrder { .. }));
            prop_assert!(in_order);
        }
    }

    #[test]
    fn ten_hertz_for_eight_hours_loses_nothing() {
        let rhythm =
            Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(10.0).unwrap()));
        let night = rhythm.phase_at(NodeTime::from_ns(8 * 3600 * 1_000_000_000));
        assert!((night - Phase::ZERO).turns().abs() < 1e-9);
    }

    #[test]
    fn bad_frequencies_and_ramps_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, 2e6] {
            assert!(Frequency::from_hz(bad).is_err());
        }
        let flat = Segment::ramp(NodeTime::from_ns(0), Phase::ZERO, Frequency::ZERO, Frequency::ZERO, Span::ZERO);
        assert_eq!(flat, Err(RhythmError::BadRamp(0)));
        assert_eq!(Rhythm::from_segments([]), Err(RhythmError::Empty));
        let good = Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::ZERO);
        let bad = Segment { start: NodeTime::from_ns(1), ramp: Span::from_ns(-5), ..good };
        assert_eq!(Rhythm::from_segments([bad]), Err(RhythmError::BadRamp(-5)), "it would have no phase");
        assert_eq!(Rhythm::from_segments([good, bad]), Err(RhythmError::BadRamp(-5)));
    }
}
