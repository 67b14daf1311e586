//! How a sanctuary's clock stands, and each source that it was told to follow: what an operator is shown.
use harmonia_core::servo::LockState;
use harmonia_core::stated::Stated;
use harmonia_core::units::{NodeTime, Span};

/// The sanctuary's own clock at one instant.
#[derive(Clone, Debug)]
pub struct Tracking {
    /// Which clock this is.
    pub clock_id: u64,
    /// Steps from a reference clock; 10 without a source.
    pub stratum: u8,
    /// What is followed, as NTP's reference identifier: `LOCL` without a source.
    pub refid: u32,
    /// [`LockState::Locked`] also for a clock that was told to follow nobody: it is the root of its time.
    pub state: LockState,
    /// Node time.
    pub node: NodeTime,
    /// What the sources say that node time should be, minus what it is: still to be slewed.
    pub offset: Span,
    /// Expected error against the sources.
    pub uncertainty: Span,
    /// Certain error against the root of the time; zero at the root.
    pub bound: Span,
    /// How much faster than the raw clock node time runs, parts per billion, correction included.
    pub rate_ppb: i64,
    /// How much of it is correction, parts per billion.
    pub slew_ppb: i64,
    /// Round trip to the root of the time.
    pub root_delay: Span,
    /// Leap indicator for UTC.
    pub leap: u8,
    /// How often this clock may still be stepped, in this life or a later one.
    pub steps_left: u8,
    /// What `bound` rests on.
    pub stated: Stated,
}

/// What became of a source in the last selection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceState {
    /// Its name has no address yet, or with NTS no keys.
    Unresolved,
    /// It has not answered yet, or not for a while.
    Silent,
    /// It answers, and is still being measured.
    Measuring,
    /// It is followed.
    Selected,
    /// It agrees, and others are better.
    Candidate,
    /// It disagrees with the majority.
    Falseticker,
    /// It answers, and there is no majority to say who is right.
    Undecided,
    /// It follows this very clock.
    Loop,
    /// It says that its own clock is not set, or asks to be left alone.
    Refusing,
}

impl SourceState {
    /// The state as one lower-case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Silent => "silent",
            Self::Measuring => "measuring",
            Self::Selected => "selected",
            Self::Candidate => "candidate",
            Self::Falseticker => "falseticker",
            Self::Undecided => "undecided",
            Self::Loop => "loop",
            Self::Refusing => "refusing",
        }
    }
}

/// One source as it stands.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// As it was given: `HOST` or `HOST:PORT`, or one of these after `nts://`.
    pub name: String,
    /// Where it was found; empty before.
    pub address: String,
    /// What became of it.
    pub state: SourceState,
    /// Which clock it is; 0 for a stranger's, or before the first answer.
    pub clock_id: u64,
    /// Its stratum; 0 before the first answer.
    pub stratum: u8,
    /// What it follows.
    pub refid: u32,
    /// Its time minus node time.
    pub offset: Span,
    /// Certain error of `offset` against the root of the source's time: path and source together.
    pub bound: Span,
    /// Expected error of `offset`.
    pub uncertainty: Span,
    /// Shortest round trip of the last exchanges.
    pub delay: Span,
    /// Its rate against the raw clock, parts per billion.
    pub rate_ppb: i64,
    /// The last eight requests, a bit each, the newest lowest: 1 was answered.
    pub reach: u8,
    /// Answers used.
    pub exchanges: u64,
    /// How long ago the last one came; -1 ns before the first.
    pub age: Span,
    /// Whether each answer used was proved to be the server's with NTS; `false` before the first.
    pub authenticated: bool,
    /// With NTS, how many requests can be made before keys must be exchanged anew, if no answer comes.
    pub cookies: usize,
    /// With NTS, how often keys were exchanged.
    pub key_exchanges: u64,
    /// What `bound` rests on.
    pub stated: Stated,
    /// Why the last answer was refused, or the name or keys were not found; empty if neither.
    pub trouble: String,
}
