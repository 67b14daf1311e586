//! One question and answer, and what it says at once.
use crate::units::{NodeTime, PlatformTime, Span};

/// One question and answer between a platform and a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The request left (stamped before it did).
    pub t1: PlatformTime,
    /// The request arrived.
    pub t2: NodeTime,
    /// The answer left.
    pub t3: NodeTime,
    /// The answer arrived.
    pub t4: PlatformTime,
    /// How far the platform's stamps may be off in the harmful direction (t1 late, t4 early).
    pub stamp_error: Span,
}

impl Exchange {
    /// Time on the way, both ways together, by the two clocks' own seconds.
    pub fn round_trip(&self) -> Span {
        (self.t4 - self.t1) - (self.t3 - self.t2)
    }

    /// Node minus platform if both ways took equally long.
    pub fn offset(&self) -> Span {
        let sum = i128::from(self.upper()) + i128::from(self.lower());
        Span::from_ns((sum / 2) as i64)
    }

    pub(super) fn upper(&self) -> i64 {
        self.t2.ns().saturating_sub(self.t1.ns())
    }

    pub(super) fn lower(&self) -> i64 {
        self.t3.ns().saturating_sub(self.t4.ns())
    }
}
