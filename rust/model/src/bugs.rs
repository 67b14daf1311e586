//! Five mistakes that a sanctuary could make, as switches: the laws have to find each.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Sleepers are unmuted by their old grants before the journal is read to its end.
    UnmuteBeforeReading,
    /// A withdrawal is acknowledged once it is written, and not only once it is synced.
    AcknowledgeBeforeSync,
    /// A grant that raced a withdrawal wins.
    TieToYes,
    /// A ruling that everybody is to sound lowers the latch.
    RulingLiftsGate,
    /// An opt-out of a device that does not know the newest state is taken for outdated.
    StaleOptOutDropped,
}

impl Bug {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Bug; 5] = [
        Bug::UnmuteBeforeReading,
        Bug::AcknowledgeBeforeSync,
        Bug::TieToYes,
        Bug::RulingLiftsGate,
        Bug::StaleOptOutDropped,
    ];

    /// How it is called on the command line, here and in the simulated nights.
    pub fn name(self) -> &'static str {
        match self {
            Bug::UnmuteBeforeReading => "unmute-before-reading",
            Bug::AcknowledgeBeforeSync => "acknowledge-before-sync",
            Bug::TieToYes => "tie-to-yes",
            Bug::RulingLiftsGate => "ruling-lifts-gate",
            Bug::StaleOptOutDropped => "stale-opt-out-dropped",
        }
    }
}
