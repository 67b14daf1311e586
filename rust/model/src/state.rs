//! One state of a world: what the people have sent, what each house remembers, and what its disk holds.

use std::hash::{Hash, Hasher};

use stateright::Representative;

use crate::standing::{bit, Standing};
use crate::world::{World, HOUSES, NOS, SLEEPERS, YESES};

/// The first bit of grants in [`Replica::written`] and [`Replica::synced`]; withdrawals stand below it.
const YES_BIT: u8 = 3;
/// The bit of a setting of one's own.
pub const WISH: u8 = 1 << 6;
/// The bits of all withdrawals.
pub const ALL_NOS: u8 = (1 << YES_BIT) - 1;
/// What a ruling passes for, where one lifts the gate by mistake: nobody's grant.
pub const RULING: u8 = 7;

/// The bit of the grant `yes` on a disk.
pub fn yes_bit(yes: u8) -> u8 {
    1 << (YES_BIT + yes - 1)
}

/// A withdrawal that has come to a house.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct No {
    /// It exists.
    pub sent: bool,
    /// To which house.
    pub house: u8,
    /// Its device was told that it is on disk.
    pub acknowledged: bool,
}

/// A grant that has come to a house.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Yes {
    /// It exists.
    pub sent: bool,
    /// To which house.
    pub house: u8,
    /// The withdrawal that it names.
    pub names: u8,
    /// Every withdrawal that it answers: the one that it names and those before that, where it was accepted.
    pub answers: u8,
}

/// One person in one house.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// In memory.
    pub standing: Standing,
    /// Muted, whatever is planned.
    pub latched: bool,
    /// A grant on its way to the disk.
    pub deciding: u8,
    /// Written and not synced: lost, or not, in a crash.
    pub written: u8,
    /// On disk.
    pub synced: u8,
    /// The withdrawal that was written last.
    pub last: u8,
    /// The setting in memory.
    pub wish: bool,
    /// Not part of the house: every withdrawal that reached it since it was started.
    pub got: u8,
}

impl Replica {
    /// What the house reads from its disk when it starts.
    pub fn replayed(self, yeses: &[Yes; YESES]) -> Replica {
        let heard = self.synced & ALL_NOS;
        let newest = if self.last > 0 && heard & bit(self.last) != 0 { self.last } else { highest(heard) };
        let mut standing = Standing { heard, newest, grant: 0 };
        for yes in 1..=YESES as u8 {
            let Yes { names, answers, .. } = yeses[yes as usize - 1];
            let known = names == 0 || heard & bit(names) != 0;
            if self.synced & yes_bit(yes) != 0 && known && heard & !answers == 0 {
                standing.grant = yes;
            }
        }
        Replica {
            standing,
            latched: standing.grant == 0,
            deciding: 0,
            last: newest,
            wish: self.synced & WISH != 0,
            got: heard,
            ..self
        }
    }
}

fn highest(heard: u8) -> u8 {
    8 - heard.leading_zeros() as u8
}

/// One person everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Their withdrawals, in the order of sending.
    pub nos: [No; NOS],
    /// Their grants, in the order of sending.
    pub yeses: [Yes; YESES],
    /// Their setting was acknowledged by the first house.
    pub wished: bool,
    /// What each house has of them.
    pub at: [Replica; HOUSES],
}

impl Person {
    /// All of it in one number.
    pub fn packed(&self) -> u128 {
        let mut bits = u128::from(self.wished);
        let mut put = |value: u8, width: u32| bits = bits << width | u128::from(value);
        for no in &self.nos {
            put(u8::from(no.sent), 1);
            put(no.house, 1);
            put(u8::from(no.acknowledged), 1);
        }
        for yes in &self.yeses {
            put(u8::from(yes.sent), 1);
            put(yes.house, 1);
            put(yes.names, 2);
            put(yes.answers, 3);
        }
        for replica in &self.at {
            put(replica.standing.heard, 3);
            put(replica.standing.newest, 2);
            put(replica.standing.grant, 3);
            put(u8::from(replica.latched), 1);
            put(replica.deciding, 2);
            put(replica.written, 7);
            put(replica.synced, 7);
            put(replica.last, 2);
            put(u8::from(replica.wish), 1);
            put(replica.got, 3);
        }
        bits
    }
}

impl Hash for Person {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(self.packed()); // at once, not a hundred fields one by one
    }
}

/// How far a house is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has crashed.
    Down,
    /// It has started and reads its journal.
    Reading,
    /// It has read it.
    Open,
}

/// What the circle's rules say of voices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// Nothing.
    Silent,
    /// Nobody's voice sounds.
    Forbids,
    /// Everybody's voice shall sound: to each of them an offer, and nothing more.
    Imposes,
}

/// A change of the rhythm, decided in the first house.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// When it takes effect; 0: there is none.
    pub effect: u8,
    /// When it was decided.
    pub decided: u8,
    /// In the first house: written and not synced.
    pub written: bool,
    /// On the first house's disk.
    pub synced: bool,
    /// Its host was told that it is on disk.
    pub acknowledged: bool,
    /// Which houses play it.
    pub plays: [bool; HOUSES],
}

/// The whole world at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The people; those beyond the world's number never do anything.
    pub people: [Person; SLEEPERS],
    /// The houses.
    pub houses: [Phase; HOUSES],
    /// The ruling in force.
    pub ruling: Ruling,
    /// The time, in ticks.
    pub now: u8,
    /// Changes of the rhythm, in the order of being decided.
    pub changes: [Change; 2],
    /// What may still happen.
    pub left: Left,
}

/// What is left of the world's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as in World
pub struct Left {
    pub nos: u8,
    pub yeses: u8,
    pub crashes: u8,
    pub rulings: u8,
    pub changes: u8,
    pub wishes: u8,
}

impl State {
    /// The beginning: both houses are open.
    pub fn first(world: &World) -> Self {
        let mut person = Person::default();
        for replica in &mut person.at {
            replica.latched = true;
        }
        if world.granted {
            person.yeses[0] = Yes { sent: true, ..Yes::default() };
            for replica in &mut person.at {
                replica.synced = yes_bit(1);
                replica.latched = false;
                replica.standing.grant = 1;
            }
        }
        let mut people = [Person::default(); SLEEPERS];
        people[..world.sleepers].fill(person);
        State {
            people,
            houses: [Phase::Open; HOUSES],
            ruling: Ruling::Silent,
            now: 0,
            changes: [Change::default(); 2],
            left: Left {
                nos: world.nos,
                yeses: world.yeses,
                crashes: world.crashes,
                rulings: world.rulings,
                changes: world.changes,
                wishes: world.wishes,
            },
        }
    }

    /// Whether the next frame of `house` holds the voice of `sleeper`.
    pub fn sounds(&self, house: usize, sleeper: usize) -> bool {
        let replica = &self.people[sleeper].at[house];
        self.houses[house] != Phase::Down
            && !replica.latched
            && replica.standing.grant != 0
            && self.ruling != Ruling::Forbids
    }
}

impl Representative for State {
    /// Sleepers are alike: states that differ in who is who are one.
    fn representative(&self) -> Self {
        let mut people = self.people;
        people.sort_by_cached_key(Person::packed);
        State { people, ..*self }
    }
}
