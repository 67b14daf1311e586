//! Instants of three clocks that must never be confused, and the one duration that they share.
//!
//! A sanctuary's clock ([`NodeTime`]), a platform's clock ([`PlatformTime`]) and a sound card's clock
//! ([`SampleTime`]) differ in offset and in rate. Subtracting one from the other is the oldest mistake in
//! synchronisation, so it does not compile:
//!
//! ```compile_fail
//! use harmonia_core::units::{NodeTime, PlatformTime};
//! let _ = NodeTime::from_ns(5) - PlatformTime::from_ns(3);
//! ```
//!
//! Within one clock it does:
//!
//! ```
//! use harmonia_core::units::{NodeTime, Span};
//! assert_eq!(NodeTime::from_ns(5) - NodeTime::from_ns(3), Span::from_ns(2));
//! ```
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Add, AddAssign, Neg, Sub};

/// Nanoseconds in a second.
pub const NS_PER_S: i64 = 1_000_000_000;

/// A clock by name. Implemented by [`Node`], [`Platform`] and [`Sample`] only.
pub trait Timescale: Copy + Eq + Ord + core::hash::Hash + fmt::Debug + Send + Sync + 'static {
    /// The clock's name, for messages.
    const NAME: &'static str;
}

macro_rules! timescales {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name;
        impl Timescale for $name { const NAME: &'static str = $text; }
    )*};
}

timescales! {
    /// The clock of a sanctuary: monotonic, TAI-like, slewed and never stepped while a circle sounds.
    Node = "node";
    /// The free-running clock of a platform: never adjusted, only compared.
    Platform = "platform";
    /// A sound card's converter clock: frames played, in nanoseconds of its nominal rate.
    Sample = "sample";
}

/// An instant on the clock `S`, in integer nanoseconds from that clock's own epoch. Realtime-safe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant<S: Timescale> {
    ns: i64,
    scale: PhantomData<S>,
}

/// An instant of the sanctuary's clock.
pub type NodeTime = Instant<Node>;
/// An instant of a platform's free-running clock.
pub type PlatformTime = Instant<Platform>;
/// An instant of a converter's clock.
pub type SampleTime = Instant<Sample>;

/// A signed length of time in integer nanoseconds. Realtime-safe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    ns: i64,
}

impl<S: Timescale> Instant<S> {
    /// The instant `ns` nanoseconds after this clock's epoch.
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns, scale: PhantomData }
    }

    /// Nanoseconds since this clock's epoch.
    pub const fn ns(self) -> i64 {
        self.ns
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self::from_ns(0);

    /// `ns` nanoseconds.
    pub const fn from_ns(ns: i64) -> Self {
        Self { ns }
    }

    /// `us` microseconds.
    pub const fn from_us(us: i64) -> Self {
        Self::from_ns(us * 1_000)
    }

    /// `ms` milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self::from_ns(ms * 1_000_000)
    }

    /// `s` whole seconds.
    pub const fn from_s(s: i64) -> Self {
        Self::from_ns(s * NS_PER_S)
    }

    /// The nanoseconds of this span.
    pub const fn ns(self) -> i64 {
        self.ns
    }

    /// This span in seconds, rounded to a float.
    pub fn as_s_f64(self) -> f64 {
        self.ns as f64 / NS_PER_S as f64
    }

    /// The length without its sign; saturates at the largest span.
    pub const fn abs(self) -> Self {
        Self::from_ns(self.ns.saturating_abs())
    }
}

// Datagrams carry instants from strangers: arithmetic saturates instead of panicking on absurd ones.
impl<S: Timescale> Sub for Instant<S> {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        Span::from_ns(self.ns.saturating_sub(earlier.ns))
    }
}

impl<S: Timescale> Add<Span> for Instant<S> {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_add(span.ns))
    }
}

impl<S: Timescale> Sub<Span> for Instant<S> {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_ns(self.ns.saturating_sub(span.ns))
    }
}

impl<S: Timescale> AddAssign<Span> for Instant<S> {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_ns(self.ns.saturating_add(other.ns))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::from_ns(self.ns.saturating_sub(other.ns))
    }
}

impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self::from_ns(self.ns.saturating_neg())
    }
}

impl<S: Timescale> fmt::Debug for Instant<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}ns", S::NAME, self.ns)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ns", self.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_instants_saturate_instead_of_panicking() {
        assert_eq!(NodeTime::from_ns(i64::MAX) + Span::from_ns(1), NodeTime::from_ns(i64::MAX));
        assert_eq!((NodeTime::from_ns(i64::MIN) - NodeTime::from_ns(i64::MAX)).ns(), i64::MIN);
        assert_eq!(Span::from_ns(i64::MIN).abs().ns(), i64::MAX);
    }
}
