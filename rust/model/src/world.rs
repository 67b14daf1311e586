//! How large a world is: the bounds within which every order of events is tried.

use crate::bugs::Bug;

/// Most sleepers of a world.
pub const SLEEPERS: usize = 3;
/// Most sanctuaries of a world.
pub const HOUSES: usize = 2;
/// Most withdrawals of one sleeper.
pub const NOS: usize = 3;
/// Most grants of one sleeper, with the one that they begin with.
pub const YESES: usize = 3;

/// Bounds. What is counted is counted for the whole world: any of it may befall anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// How it is called.
    pub name: &'static str,
    /// People.
    pub sleepers: usize,
    /// Sanctuaries, 1 or 2. Anybody's devices may be at any.
    pub houses: usize,
    /// Whether everybody begins with a grant that both houses have on disk; else nobody allows anything yet.
    pub granted: bool,
    /// Withdrawals.
    pub nos: u8,
    /// Grants.
    pub yeses: u8,
    /// Crashes, of either house.
    pub crashes: u8,
    /// Rulings: the voice forbidden, allowed again, or imposed on all.
    pub rulings: u8,
    /// Changes of the rhythm, each with a time in the future at which it takes effect.
    pub changes: u8,
    /// Settings of one's own (an offset, a ceiling, a wish).
    pub wishes: u8,
    /// Ticks of the clock.
    pub ticks: u8,
    /// What is done wrong, if anything.
    pub bug: Option<Bug>,
}

const NOTHING: World = World {
    name: "",
    sleepers: 1,
    houses: 2,
    granted: true,
    nos: 0,
    yeses: 0,
    crashes: 0,
    rulings: 0,
    changes: 0,
    wishes: 0,
    ticks: 0,
    bug: None,
};

/// Seconds: the slice that every run of the tests walks, and where each bug has to be found.
pub const SLICE: [World; 3] = [
    World { name: "one house", houses: 1, nos: 2, yeses: 2, crashes: 2, ..NOTHING },
    World { name: "two houses", nos: 2, yeses: 1, crashes: 1, ..NOTHING },
    World {
        name: "three sleepers",
        sleepers: 3,
        nos: 1,
        yeses: 1,
        crashes: 1,
        rulings: 1,
        changes: 1,
        ticks: 1,
        ..NOTHING
    },
];

/// Minutes: `python3 run.py model --full`.
pub const FULL: [World; 5] = [
    World { name: "one house, from nothing", houses: 1, granted: false, nos: 3, yeses: 3, crashes: 2, ..NOTHING },
    World { name: "two houses", nos: 2, yeses: 2, crashes: 2, ..NOTHING },
    World { name: "three sleepers", sleepers: 3, nos: 2, yeses: 2, crashes: 2, ..NOTHING },
    World {
        name: "three sleepers, a ruling",
        sleepers: 3,
        nos: 2,
        yeses: 1,
        crashes: 2,
        rulings: 1,
        changes: 1,
        ticks: 1,
        ..NOTHING
    },
    World {
        name: "three sleepers, changes",
        sleepers: 3,
        nos: 1,
        yeses: 1,
        crashes: 2,
        rulings: 2,
        changes: 2,
        wishes: 1,
        ticks: 2,
        ..NOTHING
    },
];
