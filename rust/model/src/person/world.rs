//! The small worlds of one person: each exhaustive in one notion.

use crate::bugs::Bug;

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ward {
    /// How it is called.
    pub name: &'static str,
    /// 1: the voice; 2: and listening in to it.
    pub purposes: u8,
    /// Which purposes one withdrawal may name, a bit each.
    pub masks: &'static [u8],
    /// How far a grant may reach: 1 is half, 2 wholly.
    pub levels: &'static [u8],
    /// To whom: 0 is the circle, 1 and 2 are two listeners.
    pub scopes: &'static [u8],
    /// Until when, in ticks; 0: with the circle.
    pub ends: &'static [u8],
    /// Withdrawals.
    pub nos: u8,
    /// Grants.
    pub yeses: u8,
    /// Crashes.
    pub crashes: u8,
    /// Writes whose answer is lost, so that nobody knows whether they happened.
    pub failures: u8,
    /// Settings of one's own, written between the others.
    pub settings: u8,
    /// Changes of what rules, score or safety allow.
    pub ceilings: u8,
    /// How far time may come.
    pub ticks: u8,
    /// Restarts with another clock.
    pub clocks: u8,
    /// What is done wrong, if anything.
    pub bug: Option<Bug>,
}

const NOTHING: Ward = Ward {
    name: "",
    purposes: 1,
    masks: &[1],
    levels: &[2],
    scopes: &[0],
    ends: &[0],
    nos: 0,
    yeses: 0,
    crashes: 0,
    failures: 0,
    settings: 0,
    ceilings: 0,
    ticks: 0,
    clocks: 0,
    bug: None,
};

/// Seconds: in every run of the tests, and where each bug has to be found.
pub const SLICE: [Ward; 5] = [
    Ward { name: "levels", levels: &[0, 1, 2], nos: 1, yeses: 1, ceilings: 2, ..NOTHING },
    Ward { name: "scopes", purposes: 2, masks: &[2, 3], scopes: &[0, 1, 2], nos: 1, yeses: 1, crashes: 1, ..NOTHING },
    Ward { name: "ends", ends: &[0, 1, 2], yeses: 1, crashes: 2, ticks: 2, clocks: 1, ..NOTHING },
    Ward { name: "purposes", purposes: 2, masks: &[1, 2, 3], nos: 1, yeses: 2, ..NOTHING },
    Ward { name: "survival", nos: 2, yeses: 1, failures: 1, settings: 1, ..NOTHING },
];

/// Minutes: `python3 run.py model --full`.
pub const FULL: [Ward; 8] = [
    Ward { name: "levels", levels: &[0, 1, 2], nos: 1, yeses: 2, ceilings: 2, ..NOTHING },
    Ward { name: "scopes", purposes: 2, masks: &[2, 3], scopes: &[0, 1, 2], nos: 1, yeses: 2, crashes: 1, ..NOTHING },
    Ward { name: "ends", ends: &[0, 1, 2], nos: 1, yeses: 2, crashes: 2, ticks: 2, clocks: 1, ..NOTHING },
    Ward { name: "purposes", purposes: 2, masks: &[1, 2, 3], nos: 1, yeses: 2, crashes: 1, ..NOTHING },
    Ward { name: "survival", nos: 2, yeses: 1, crashes: 2, failures: 1, settings: 1, ..NOTHING },
    Ward { name: "survival, two grants", nos: 2, yeses: 2, crashes: 1, ..NOTHING },
    Ward { name: "survival, three withdrawals", nos: 3, yeses: 1, ..NOTHING },
    Ward {
        name: "a timed half to one listener",
        purposes: 2,
        masks: &[3],
        levels: &[1],
        scopes: &[0, 1],
        ends: &[0, 1],
        nos: 1,
        yeses: 1,
        crashes: 1,
        ceilings: 1,
        ticks: 1,
        clocks: 1,
        ..NOTHING
    },
];
