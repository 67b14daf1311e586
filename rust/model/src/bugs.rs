//! Mistakes that a sanctuary could make, as switches: the laws have to find each.

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
    /// What rules, score and safety allow is taken for what they wish.
    CeilingRaises,
    /// A grant to one is taken for a grant to all.
    ScopeIgnored,
    /// The conductor looks for ends from its last tick on, and not from where all have ended.
    EndPassedOver,
    /// A new clock is written before the grants that end on the old one are taken back.
    ClockBegunFirst,
    /// A withdrawal of everything is not taken for one of the voice by the gate.
    AllLeavesGate,
    /// A grant of something else lowers the gate of the voice.
    AnyGrantLiftsGate,
    /// A grant that is on disk counts, whatever came while it was written.
    NotLookedAtAgain,
    /// A grant is answered when it is decided, and written later.
    AnsweredBeforeWritten,
    /// Each withdrawal is written when its own thread comes to it, and the one that is written last is the newest.
    WrittenInAnyOrder,
    /// A grant may be decided by a withdrawal that is not written yet.
    DecidedBeforeWritten,
    /// A grant whose first answer was lost is taken for outdated when it is repeated behind something else.
    DoubtForgotten,
    /// A withdrawal mutes before anybody knows of it, and not once more when all do.
    NotMutedAgain,
    /// A withdrawal of one purpose takes back the others, too.
    OneTakesAll,
    /// A withdrawal is acknowledged when it is in force.
    ToldBeforeWritten,
}

impl Bug {
    /// Those of many people and houses, in the order in which they are reported.
    pub const OF_HOUSES: [Bug; 5] = [
        Bug::UnmuteBeforeReading,
        Bug::AcknowledgeBeforeSync,
        Bug::TieToYes,
        Bug::RulingLiftsGate,
        Bug::StaleOptOutDropped,
    ];
    /// Those of one person.
    pub const OF_PERSON: [Bug; 14] = [
        Bug::CeilingRaises,
        Bug::ScopeIgnored,
        Bug::EndPassedOver,
        Bug::ClockBegunFirst,
        Bug::AllLeavesGate,
        Bug::AnyGrantLiftsGate,
        Bug::NotLookedAtAgain,
        Bug::AnsweredBeforeWritten,
        Bug::WrittenInAnyOrder,
        Bug::DecidedBeforeWritten,
        Bug::DoubtForgotten,
        Bug::NotMutedAgain,
        Bug::OneTakesAll,
        Bug::ToldBeforeWritten,
    ];

    /// How it is called on the command line, here and in the simulated nights.
    pub fn name(self) -> &'static str {
        match self {
            Bug::UnmuteBeforeReading => "unmute-before-reading",
            Bug::AcknowledgeBeforeSync => "acknowledge-before-sync",
            Bug::TieToYes => "tie-to-yes",
            Bug::RulingLiftsGate => "ruling-lifts-gate",
            Bug::StaleOptOutDropped => "stale-opt-out-dropped",
            Bug::CeilingRaises => "ceiling-raises",
            Bug::ScopeIgnored => "scope-ignored",
            Bug::EndPassedOver => "end-passed-over",
            Bug::ClockBegunFirst => "clock-begun-first",
            Bug::AllLeavesGate => "all-leaves-gate",
            Bug::AnyGrantLiftsGate => "any-grant-lifts-gate",
            Bug::NotLookedAtAgain => "not-looked-at-again",
            Bug::AnsweredBeforeWritten => "answered-before-written",
            Bug::WrittenInAnyOrder => "written-in-any-order",
            Bug::DecidedBeforeWritten => "decided-before-written",
            Bug::DoubtForgotten => "doubt-forgotten",
            Bug::NotMutedAgain => "not-muted-again",
            Bug::OneTakesAll => "one-takes-all",
            Bug::ToldBeforeWritten => "told-before-written",
        }
    }
}
