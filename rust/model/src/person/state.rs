//! One state of a ward: what the person said, what the house remembers, what its disk holds, what its gate does.

use stateright::Representative;

use crate::bugs::Bug;
use crate::person::world::Ward;
use crate::standing::{bit, Standing};

/// The voice, and listening in to it.
pub const PURPOSES: usize = 2;
/// The purpose whose gate there is.
pub const VOICE: usize = 0;
/// The purpose that is asked for one listener at a time.
pub const MONITORING: usize = 1;
/// Whom a scope may name.
pub const LISTENERS: u8 = 2;
/// Most withdrawals of the person.
pub const NOS: usize = 3;
/// With those that the house says itself, where a clock is lost.
pub const ALL_NOS: usize = NOS + 2;
/// Most grants.
pub const YESES: usize = 2;
/// Who narrows: rules, score, safety.
pub const PARTIES: usize = 3;
/// Wholly.
pub const FULL_LEVEL: u8 = 2;
/// Most records of the person's stream.
const RECORDS: usize = ALL_NOS + YESES + 1;

/// A withdrawal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct No {
    /// It exists.
    pub sent: bool,
    /// Of which purposes, a bit each.
    pub purposes: u8,
    /// Its device was told that it is on disk.
    pub acknowledged: bool,
    /// How far its door has come with it.
    pub door: Door,
}

/// Where a withdrawal is between its device and the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Door {
    /// Nobody is busy with it.
    #[default]
    Idle,
    /// The gate is up.
    Muted,
    /// It is in force.
    Narrowed,
    /// It is on disk; the engine has not heard of that.
    Written,
}

/// A grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Yes {
    /// It exists.
    pub sent: bool,
    /// Of which purpose.
    pub purpose: u8,
    /// To whom.
    pub scope: u8,
    /// How far.
    pub level: u8,
    /// Until when.
    pub until: u8,
    /// The withdrawal that it names.
    pub names: u8,
    /// Not known to the house: the withdrawals of its purpose that its sender may have known of.
    pub before: u8,
    /// Not known to the house: its end has come, or lies on a clock that is gone.
    pub over: bool,
    /// Its device was told that it counts.
    pub told: bool,
}

/// One record of the person's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Entry {
    /// None.
    #[default]
    Free,
    /// A withdrawal.
    No(u8),
    /// A grant.
    Yes(u8),
    /// Something else of theirs.
    Setting,
}

/// The person's stream: positions are counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Journal {
    entries: [Entry; RECORDS],
    /// The position of the last record.
    pub last: u8,
}

impl Journal {
    /// Appends `entry`, or finds it where it is: its position.
    pub fn append(&mut self, entry: Entry) -> u8 {
        if let Some(known) = self.position(entry) {
            return known;
        }
        self.entries[self.last as usize] = entry;
        self.last += 1;
        self.last
    }

    /// Where `entry` is. Settings are all new.
    pub fn position(&self, entry: Entry) -> Option<u8> {
        if entry == Entry::Setting {
            return None;
        }
        self.entries.iter().position(|one| *one == entry).map(|index| index as u8 + 1)
    }

    /// What is behind `position`, with where it is.
    pub fn after(&self, position: u8) -> impl Iterator<Item = (u8, Entry)> + '_ {
        (position..self.last).map(|index| (index + 1, self.entries[index as usize]))
    }
}

/// Every purpose's standing.
pub type Consent = [Standing; PURPOSES];

/// What the engine has in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// As the newest of it is.
    pub consent: Consent,
    /// The newest record that is known.
    pub position: u8,
    /// Withdrawals in force that are not known to be on disk, in the order in which they came into force.
    pub unrecorded: [u8; NOS],
}

/// The gate and the ears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plane {
    /// The gate is up: nothing sounds, whatever is planned.
    pub latched: bool,
    /// A grant has named the newest withdrawal.
    pub answered: bool,
    /// Which withdrawals raised it.
    pub heard: u8,
    /// The newest of them.
    pub newest: u8,
    /// How loud the voice is planned.
    pub plan: u8,
    /// Who asked to listen in and may, a bit each.
    pub admitted: u8,
    /// Who does.
    pub flows: u8,
}

/// Nobody sounds before anything is known.
pub const SILENT: Plane = Plane { latched: true, answered: false, heard: 0, newest: 0, plan: 0, admitted: 0, flows: 0 };

/// What holds the person's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are what their names say
pub enum Task {
    /// Nothing.
    #[default]
    Free,
    /// A grant that waits until the withdrawals before it are written: those of `left`, by a bit each.
    Flushing { yes: u8, left: u8 },
    /// One of those is written, which the engine has not seen yet.
    Flushed { yes: u8, left: u8, no: u8 },
    /// It names the newest withdrawal, as far as is known at the position `seen`.
    Checked { yes: u8, seen: u8 },
    /// It is in the journal.
    Appended { yes: u8, seen: u8, at: u8 },
    /// It counts, if nothing came in between; the gate does not know.
    TakenIn { yes: u8 },
    /// The gate knows; the plan does not.
    Released { yes: u8 },
    /// Something else is in the journal.
    Set { at: u8 },
}

/// How far the house is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has crashed.
    Down,
    /// It has read its journal and nobody is let in yet.
    Starting,
    /// It works.
    Open,
}

/// The whole ward at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Those of the person, then those of the house.
    pub nos: [No; ALL_NOS],
    /// In the order of sending.
    pub yeses: [Yes; YESES],
    /// The house.
    pub phase: Phase,
    /// What it remembers.
    pub memory: Memory,
    /// What it is busy with.
    pub task: Task,
    /// What sounds.
    pub plane: Plane,
    /// What is on disk.
    pub journal: Journal,
    /// Which clock the disk says it is.
    pub clock_on_disk: u8,
    /// Which it is.
    pub clock: u8,
    /// Grants with an end are from another clock.
    pub doubtful: bool,
    /// What the clock shows.
    pub now: u8,
    /// Up to when the conductor has ended grants.
    pub ended: u8,
    /// It has looked since the clock moved.
    pub looked: bool,
    /// How far rules, score and safety let anything go.
    pub ceilings: [u8; PARTIES],
    /// What they allow has been shown to the data plane.
    pub shown: bool,
    /// What may still happen.
    pub left: Left,
}

/// What is left of the ward's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as in Ward
pub struct Left {
    pub nos: u8,
    pub yeses: u8,
    pub crashes: u8,
    pub failures: u8,
    pub settings: u8,
    pub ceilings: u8,
    pub clocks: u8,
}

impl State {
    /// The beginning: open, and nothing said.
    pub fn first(ward: &Ward) -> Self {
        State {
            nos: Default::default(),
            yeses: Default::default(),
            phase: Phase::Open,
            memory: Memory::default(),
            task: Task::Free,
            plane: SILENT,
            journal: Journal::default(),
            clock_on_disk: 0,
            clock: 0,
            doubtful: false,
            now: 0,
            ended: 0,
            looked: true,
            ceilings: [FULL_LEVEL; PARTIES],
            shown: true,
            left: Left {
                nos: ward.nos,
                yeses: ward.yeses,
                crashes: ward.crashes,
                failures: ward.failures,
                settings: ward.settings,
                ceilings: ward.ceilings,
                clocks: ward.clocks,
            },
        }
    }

    /// The grant in force of a purpose, by its number.
    pub fn grant(&self, purpose: usize) -> Option<(u8, &Yes)> {
        let yes = self.memory.consent[purpose].grant;
        (yes > 0).then(|| (yes, &self.yeses[yes as usize - 1]))
    }

    /// How far the engine lets `purpose` be used now, towards `scope`: the code's `effective`.
    pub fn allows(&self, bug: Option<Bug>, purpose: usize, scope: u8) -> u8 {
        let Some((_, yes)) = self.grant(purpose) else { return 0 };
        let there = yes.scope == 0 || yes.scope == scope || bug == Some(Bug::ScopeIgnored);
        if !there || (yes.until > 0 && self.now >= yes.until) {
            return 0;
        }
        if bug == Some(Bug::CeilingRaises) {
            return self.ceilings.iter().fold(yes.level, |most, ceiling| most.max(*ceiling));
        }
        self.ceilings.iter().fold(yes.level, |least, ceiling| least.min(*ceiling))
    }

    /// The voice is in the next frame.
    pub fn sounds(&self) -> bool {
        !self.plane.latched && self.plane.plan > 0
    }

    /// What a restart would find on the disk as it is.
    pub fn replayed(&self) -> Consent {
        let mut consent = Consent::default();
        for (_, entry) in self.journal.after(0) {
            self.absorb(&mut consent, entry, true);
        }
        consent
    }

    /// What one record makes of `consent`. `checked`: a grant that is stale makes nothing.
    pub fn absorb(&self, consent: &mut Consent, entry: Entry, checked: bool) {
        match entry {
            Entry::No(no) => {
                for (purpose, standing) in consent.iter_mut().enumerate() {
                    if self.nos[no as usize - 1].purposes & 1 << purpose != 0 {
                        *standing = standing.withdrawn(no);
                    }
                }
            }
            Entry::Yes(yes) => {
                let Yes { purpose, names, .. } = self.yeses[yes as usize - 1];
                let standing = &mut consent[purpose as usize];
                match standing.granted(yes, names) {
                    Some(granted) => *standing = granted,
                    None if !checked => standing.grant = yes,
                    None => {}
                }
            }
            Entry::Setting | Entry::Free => {}
        }
    }

    /// Purposes with a grant that has an end, a bit each.
    pub fn timed(&self) -> u8 {
        let timed = |purpose: &usize| self.grant(*purpose).is_some_and(|(_, yes)| yes.until > 0);
        (0..PURPOSES).filter(timed).fold(0, |mask, purpose| mask | 1 << purpose)
    }

    /// The withdrawals of `purpose` that were sent, a bit each.
    pub fn sent_nos(&self, purpose: u8) -> u8 {
        let named = |no: &u8| {
            let sent = &self.nos[*no as usize - 1];
            sent.sent && sent.purposes & 1 << purpose != 0
        };
        (1..=ALL_NOS as u8).filter(named).fold(0, |mask, no| mask | bit(no))
    }
}

impl Representative for State {
    /// There is one person: no two states are alike.
    fn representative(&self) -> Self {
        *self
    }
}
