//! What may happen next, and what a house does about it: each step is as small as a crash can tell apart.

use crate::bugs::Bug;
use crate::standing::bit;
use crate::state::{yes_bit, Change, No, Person, Phase, Replica, Ruling, State, Yes, ALL_NOS, RULING, WISH};
use crate::world::{World, NOS, YESES};

/// One thing that happens. People, devices and houses are counted from 0, withdrawals and grants from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are what their names say
pub enum Step {
    /// A withdrawal comes to a house, which mutes in memory. `fresh`: its device knew the newest state.
    Withdraw { who: usize, house: usize, fresh: bool },
    /// A withdrawal that has come before comes again, or once more through the other door.
    Repeat { who: usize, no: u8 },
    /// A house writes a withdrawal that it knows of.
    Write { who: usize, no: u8, house: usize },
    /// A house syncs all that it has written, and says so to whoever waits for it.
    Sync { house: usize },
    /// A house that holds an answered withdrawal for a repetition lowers the latch again.
    Settle { who: usize, house: usize },
    /// A grant comes to a house that knows of no newer withdrawal than it names, and is on its way to the disk.
    Grant { who: usize, house: usize, names: u8 },
    /// One that came before a crash comes again.
    GrantAgain { who: usize, yes: u8 },
    /// That grant is written, unless a withdrawal was written meanwhile.
    Append { who: usize, house: usize },
    /// That grant is on disk and counts, unless a withdrawal came meanwhile.
    TakeIn { who: usize, house: usize },
    /// A withdrawal on one house's disk reaches the other house.
    ShareNo { who: usize, no: u8, to: usize },
    /// A grant on one house's disk reaches the other house, which knows of no withdrawal that it does not answer.
    ShareYes { who: usize, yes: u8, to: usize },
    /// A house's machine loses power: of what was written and not synced, `kept` is on disk.
    Crash { house: usize, kept: u8 },
    /// The house starts again.
    Start { house: usize },
    /// It has read its journal.
    Open { house: usize },
    /// The circle's council rules.
    Rule { ruling: Ruling },
    /// The host leads the rhythm elsewhere, from the next tick on.
    Lead,
    /// The change reaches the other house.
    ShareChange { change: usize },
    /// A sleeper chooses an offset, a ceiling, a wish.
    Set { who: usize },
    /// Time passes.
    Tick,
}

/// The bit of changes of the rhythm among what a crash may keep.
const CHANGES: u8 = 1 << 7;

/// Everything that may happen in `state`.
///
/// A message is not sent before it comes: what a device knew when it sent it is whatever the step says. So a grant may
/// name any withdrawal there ever was, and stands for every device, fresh or stale.
pub fn steps(world: &World, state: &State, steps: &mut Vec<Step>) {
    let open = |house: usize| state.houses[house] == Phase::Open;
    for who in 0..world.sleepers {
        let person = &state.people[who];
        let new_yes = 1 + person.yeses.iter().filter(|yes| yes.sent).count() as u8;
        for house in (0..world.houses).filter(|house| open(*house)) {
            if state.left.nos > 0 && person.nos.iter().any(|no| !no.sent) {
                steps.extend([true, false].map(|fresh| Step::Withdraw { who, house, fresh }));
            }
            let replica = &person.at[house];
            if state.left.yeses > 0 && new_yes <= YESES as u8 && replica.deciding == 0 {
                let known = (0..=NOS as u8).filter(|no| *no == 0 || person.nos[*no as usize - 1].sent);
                let named = known.filter(|names| replica.standing.granted(new_yes, *names).is_some());
                steps.extend(named.map(|names| Step::Grant { who, house, names }));
            }
            replica_steps(world, person, who, house, steps);
        }
        for no in (1..=NOS as u8).filter(|no| person.nos[*no as usize - 1].sent) {
            if open(person.nos[no as usize - 1].house as usize) {
                steps.push(Step::Repeat { who, no });
            }
        }
        for yes in (1..new_yes).filter(|yes| open(person.yeses[*yes as usize - 1].house as usize)) {
            let sent = &person.yeses[yes as usize - 1];
            let replica = &person.at[sent.house as usize];
            let known = (replica.written | replica.synced) & yes_bit(yes) != 0;
            if !known && replica.deciding == 0 && replica.standing.granted(yes, sent.names).is_some() {
                steps.push(Step::GrantAgain { who, yes });
            }
        }
        if open(0) && state.left.wishes > 0 && (person.at[0].written | person.at[0].synced) & WISH == 0 {
            steps.push(Step::Set { who });
        }
    }
    for house in 0..world.houses {
        match state.houses[house] {
            Phase::Down => steps.push(Step::Start { house }),
            Phase::Reading => steps.push(Step::Open { house }),
            Phase::Open => {}
        }
        let written = unsynced(state, house);
        if state.houses[house] == Phase::Open && written != 0 {
            steps.push(Step::Sync { house });
        }
        if state.left.crashes > 0 && state.houses[house] != Phase::Down {
            // Every subset of what is not synced, the empty one last.
            let mut kept = written;
            loop {
                steps.push(Step::Crash { house, kept });
                if kept == 0 {
                    break;
                }
                kept = (kept - 1) & written;
            }
        }
    }
    if state.left.rulings > 0 {
        for ruling in [Ruling::Silent, Ruling::Forbids, Ruling::Imposes] {
            if ruling != state.ruling {
                steps.push(Step::Rule { ruling });
            }
        }
    }
    if open(0) && state.left.changes > 0 {
        steps.push(Step::Lead);
    }
    for (index, change) in state.changes.iter().enumerate() {
        if world.houses > 1 && open(1) && change.synced && !change.plays[1] {
            steps.push(Step::ShareChange { change: index });
        }
    }
    if state.now < world.ticks {
        steps.push(Step::Tick);
    }
}

fn replica_steps(world: &World, person: &Person, who: usize, house: usize, steps: &mut Vec<Step>) {
    let (replica, other) = (&person.at[house], &person.at[1 - house]);
    let held = replica.written | replica.synced;
    for no in 1..=NOS as u8 {
        if replica.standing.heard & bit(no) != 0 && held & bit(no) == 0 {
            steps.push(Step::Write { who, no, house });
        }
        if world.houses > 1 && other.synced & bit(no) != 0 && replica.standing.heard & bit(no) == 0 {
            steps.push(Step::ShareNo { who, no, to: house });
        }
    }
    for yes in 1..=YESES as u8 {
        let answers = person.yeses[yes as usize - 1].answers;
        let answered = replica.standing.heard & !answers == 0 || world.bug == Some(Bug::TieToYes);
        let new = world.houses > 1 && other.synced & yes_bit(yes) != 0 && held & yes_bit(yes) == 0;
        if new && answered && replica.deciding == 0 {
            steps.push(Step::ShareYes { who, yes, to: house });
        }
    }
    if replica.deciding > 0 && held & yes_bit(replica.deciding) == 0 {
        steps.push(Step::Append { who, house });
    }
    if replica.deciding > 0 && replica.synced & yes_bit(replica.deciding) != 0 {
        steps.push(Step::TakeIn { who, house });
    }
    if replica.latched && replica.standing.grant > 0 {
        steps.push(Step::Settle { who, house });
    }
}

/// What `house` has written and not synced.
fn unsynced(state: &State, house: usize) -> u8 {
    let changes = house == 0 && state.changes.iter().any(|change| change.written);
    state.people.iter().fold(if changes { CHANGES } else { 0 }, |bits, person| bits | person.at[house].written)
}

/// The state after `step`, which [`steps`] offered.
pub fn after(world: &World, state: &State, step: Step) -> State {
    let mut next = *state;
    match step {
        Step::Withdraw { who, house, fresh } => {
            next.left.nos -= 1;
            let person = &mut next.people[who];
            let no = 1 + person.nos.iter().filter(|no| no.sent).count() as u8;
            person.nos[no as usize - 1] = No { sent: true, house: house as u8, acknowledged: false };
            if fresh || world.bug != Some(Bug::StaleOptOutDropped) {
                mute(&mut person.at[house], no);
            }
            person.at[house].got |= bit(no);
        }
        Step::Repeat { who, no } => {
            let house = next.people[who].nos[no as usize - 1].house as usize;
            mute(&mut next.people[who].at[house], no);
        }
        Step::Write { who, no, house } => {
            let replica = &mut next.people[who].at[house];
            replica.written |= bit(no);
            replica.last = no;
            if world.bug == Some(Bug::AcknowledgeBeforeSync) {
                acknowledge(&mut next.people[who], house, bit(no));
            }
        }
        Step::Sync { house } => {
            for person in &mut next.people {
                let replica = &mut person.at[house];
                let now = std::mem::take(&mut replica.written);
                replica.synced |= now;
                // As early as can be: whoever is told later is promised less.
                acknowledge(person, house, now);
            }
            for change in next.changes.iter_mut().filter(|change| house == 0 && change.written) {
                *change = Change { written: false, synced: true, acknowledged: true, ..*change };
                change.plays[0] = true;
            }
        }
        Step::Settle { who, house } => next.people[who].at[house].latched = false,
        Step::Grant { who, house, names } => {
            next.left.yeses -= 1;
            let person = &mut next.people[who];
            let yes = 1 + person.yeses.iter().filter(|yes| yes.sent).count() as u8;
            person.yeses[yes as usize - 1] = Yes { sent: true, house: house as u8, names, answers: 0 };
            decide(person, yes);
        }
        Step::GrantAgain { who, yes } => decide(&mut next.people[who], yes),
        Step::Append { who, house } => append(world, &mut next.people[who], house),
        Step::TakeIn { who, house } => take_in(world, &mut next.people[who], house),
        Step::ShareNo { who, no, to } => {
            let replica = &mut next.people[who].at[to];
            replica.standing = replica.standing.withdrawn(no);
            replica.latched = true;
            replica.got |= bit(no);
        }
        Step::ShareYes { who, yes, to } => share_yes(&mut next.people[who], yes, to),
        Step::Crash { house, kept } => crash(&mut next, house, kept),
        Step::Start { house } => {
            next.houses[house] = Phase::Reading;
            if world.bug == Some(Bug::UnmuteBeforeReading) {
                for person in &mut next.people {
                    let replica = &mut person.at[house];
                    let granted = (1..=YESES as u8).rev().find(|yes| replica.synced & yes_bit(*yes) != 0);
                    replica.standing.grant = granted.unwrap_or(0);
                    replica.latched = granted.is_none();
                }
            }
        }
        Step::Open { house } => {
            next.houses[house] = Phase::Open;
            for person in next.people.iter_mut().take(world.sleepers) {
                person.at[house] = person.at[house].replayed(&person.yeses);
            }
            for change in next.changes.iter_mut().filter(|change| house == 0 && change.synced) {
                (change.plays[0], change.acknowledged) = (true, true);
            }
        }
        Step::Rule { ruling } => {
            next.left.rulings -= 1;
            next.ruling = ruling;
            if ruling == Ruling::Imposes && world.bug == Some(Bug::RulingLiftsGate) {
                for replica in next.people.iter_mut().take(world.sleepers).flat_map(|person| &mut person.at) {
                    replica.standing.grant = RULING;
                    replica.latched = false;
                }
            }
        }
        Step::Lead => {
            next.left.changes -= 1;
            let free = next.changes.iter_mut().find(|change| change.effect == 0);
            if let Some(change) = free {
                *change = Change { effect: state.now + 1, decided: state.now, written: true, ..Change::default() };
            }
        }
        Step::ShareChange { change } => next.changes[change].plays[1] = true,
        Step::Set { who } => {
            next.left.wishes -= 1;
            next.people[who].at[0].written |= WISH;
        }
        Step::Tick => next.now += 1,
    }
    next
}

fn mute(replica: &mut Replica, no: u8) {
    replica.got |= bit(no);
    replica.standing = replica.standing.withdrawn(no);
    replica.latched = true; // also for a repetition; if it was answered, it is settled
}

/// Tells everybody who waits for what is `durable` now in `house`.
fn acknowledge(person: &mut Person, house: usize, durable: u8) {
    for no in (1..=NOS as u8).filter(|no| durable & bit(*no) != 0) {
        let sent = &mut person.nos[no as usize - 1];
        sent.acknowledged |= sent.sent && sent.house as usize == house;
    }
    if house == 0 && durable & WISH != 0 {
        (person.wished, person.at[0].wish) = (true, true);
    }
}

fn decide(person: &mut Person, yes: u8) {
    let sent = &mut person.yeses[yes as usize - 1];
    let replica = &mut person.at[sent.house as usize];
    // What is withdrawn and not on its way to the disk goes there first.
    replica.written |= replica.standing.heard & !replica.synced;
    replica.last = replica.standing.newest;
    replica.deciding = yes;
    // By the words of the design and not by what the house concluded: the withdrawal that it names and, if that is the
    // newest, all before.
    sent.answers = match sent.names {
        names if names == replica.standing.newest => replica.standing.heard,
        0 => 0,
        names => replica.standing.heard & bit(names),
    };
}

fn append(world: &World, person: &mut Person, house: usize) {
    let replica = &mut person.at[house];
    let answers = person.yeses[replica.deciding as usize - 1].answers;
    let overtaken = (replica.written | replica.synced) & ALL_NOS & !answers != 0;
    if overtaken && world.bug != Some(Bug::TieToYes) {
        replica.deciding = 0; // refused; it may be decided anew, and is stale then
    } else {
        replica.written |= yes_bit(replica.deciding);
    }
}

fn take_in(world: &World, person: &mut Person, house: usize) {
    let replica = &mut person.at[house];
    let yes = replica.deciding;
    replica.deciding = 0;
    if let Some(standing) = replica.standing.granted(yes, person.yeses[yes as usize - 1].names) {
        (replica.standing, replica.latched) = (standing, false);
    } else if world.bug == Some(Bug::TieToYes) {
        (replica.standing.grant, replica.latched) = (yes, false);
    }
}

fn share_yes(person: &mut Person, yes: u8, to: usize) {
    let Yes { names, answers, .. } = person.yeses[yes as usize - 1];
    let replica = &mut person.at[to];
    let news = answers & !replica.standing.heard;
    if news != 0 {
        replica.standing.grant = 0;
        replica.latched = true;
    }
    replica.standing.heard |= answers;
    replica.standing.newest = names;
    replica.got |= answers;
    replica.written |= yes_bit(yes) | (answers & !replica.synced);
    replica.last = names;
    replica.deciding = yes;
}

fn crash(next: &mut State, house: usize, kept: u8) {
    next.left.crashes -= 1;
    next.houses[house] = Phase::Down;
    for person in &mut next.people {
        let replica = &mut person.at[house];
        *replica = Replica {
            latched: true,
            synced: replica.synced | (replica.written & kept),
            last: replica.last,
            ..Replica::default()
        };
    }
    for change in next.changes.iter_mut().filter(|change| change.effect > 0) {
        if house == 0 && change.written {
            (change.synced, change.written) = (kept & CHANGES != 0, false);
        }
        change.plays[house] = false;
    }
}
