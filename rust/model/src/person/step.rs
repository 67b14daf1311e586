//! What may happen next to one person's consents, and what the engine does about it, function by function.

use crate::bugs::Bug;
use crate::person::state::{
    Door, Entry, Memory, No, Phase, State, Task, Yes, ALL_NOS, LISTENERS, MONITORING, NOS, PURPOSES, SILENT, VOICE,
    YESES,
};
use crate::person::world::Ward;
use crate::standing::bit;

/// One thing that happens. Withdrawals, grants and listeners are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are what their names say
pub enum Step {
    /// A device takes back `purposes`, a bit each: the gate goes up, if the voice is among them.
    Withdraw { purposes: u8 },
    /// One that nobody is busy with comes again.
    Repeat { no: u8 },
    /// It is put in force.
    Narrow { no: u8 },
    /// It is written, and its device told so.
    Write { no: u8 },
    /// The engine hears of that.
    Settle { no: u8 },
    /// A grant comes, and has the lock.
    Grant { purpose: u8, scope: u8, level: u8, until: u8, names: u8 },
    /// The same grant comes again.
    GrantAgain { yes: u8 },
    /// A withdrawal that came before it is written for it.
    Flush { no: u8 },
    /// The engine hears of that.
    Flushed,
    /// Does it name the newest withdrawal?
    Check,
    /// It is written where the journal was seen to end; if it ends elsewhere, that is read and the grant looked at anew.
    Append,
    /// It counts.
    TakeIn,
    /// The gate goes down.
    Release,
    /// The plan is shown, and the device told.
    Show,
    /// An answer of the disk is lost, and with it the grant's.
    Fail,
    /// Something else of the person's is written.
    Set,
    /// The engine hears of that.
    TakeInSetting,
    /// Rules, score or safety let everything go so far.
    Ceiling { party: usize, level: u8 },
    /// The data plane is told.
    ShowPlans,
    /// A listener asks to be let in.
    Ask { listener: u8 },
    /// The person's platform was told who wants to listen in.
    Seen,
    /// Time passes.
    Tick,
    /// The conductor ends what has ended.
    Look,
    /// The process ends.
    Crash,
    /// It starts and reads its journal. `now`: what another clock shows, if it is another.
    Start { now: Option<u8> },
    /// It takes back what has an end on a clock that is gone.
    EndTimed,
    /// It writes which clock it is.
    BeginClock,
    /// It lets people in.
    Open,
}

/// Everything that may happen in `state`.
pub fn steps(ward: &Ward, state: &State, steps: &mut Vec<Step>) {
    match state.phase {
        Phase::Down => {
            steps.push(Step::Start { now: None });
            if state.left.clocks > 0 {
                steps.extend((0..=ward.ticks).map(|now| Step::Start { now: Some(now) }));
            }
        }
        Phase::Starting => steps.push(next_of_start(ward, state)),
        Phase::Open => open_steps(ward, state, steps),
    }
    if state.left.crashes > 0 && state.phase != Phase::Down {
        steps.push(Step::Crash);
    }
    if state.now < ward.ticks && state.phase != Phase::Starting {
        steps.push(Step::Tick);
    }
}

fn next_of_start(ward: &Ward, state: &State) -> Step {
    let timed = state.doubtful && state.timed() != 0;
    let begun = state.clock_on_disk == state.clock;
    match ward.bug {
        Some(Bug::ClockBegunFirst) if !begun => Step::BeginClock,
        _ if timed => Step::EndTimed,
        _ if !begun => Step::BeginClock,
        _ => Step::Open,
    }
}

fn open_steps(ward: &Ward, state: &State, steps: &mut Vec<Step>) {
    let free = state.task == Task::Free;
    if state.left.nos > 0 && state.nos[..NOS].iter().any(|no| !no.sent) {
        steps.extend(ward.masks.iter().map(|purposes| Step::Withdraw { purposes: *purposes }));
    }
    for no in 1..=NOS as u8 {
        match state.nos[no as usize - 1] {
            No { sent: true, door: Door::Idle, .. } => steps.push(Step::Repeat { no }),
            No { door: Door::Muted, .. } => steps.push(Step::Narrow { no }),
            No { door: Door::Narrowed, .. } if may_write(ward, state, no) => steps.push(Step::Write { no }),
            No { door: Door::Written, .. } => steps.push(Step::Settle { no }),
            _ => {}
        }
    }
    if free && state.left.yeses > 0 && state.yeses.iter().any(|yes| !yes.sent) {
        grants(ward, state, steps);
    }
    for yes in (1..=YESES as u8).filter(|_| free) {
        let sent = &state.yeses[yes as usize - 1];
        // Whoever repeats a grant that has an end does so by the clock by which they gave it.
        if sent.sent && !(sent.until > 0 && sent.over) && sent.until.wrapping_sub(1) >= state.now {
            steps.push(Step::GrantAgain { yes });
        }
    }
    match state.task {
        Task::Free if state.left.settings > 0 => steps.push(Step::Set),
        Task::Free => {}
        Task::Flushing { left, .. } if ward.bug == Some(Bug::DecidedBeforeWritten) => {
            steps.extend((1..=NOS as u8).filter(|no| left & bit(*no) != 0).map(|no| Step::Flush { no }));
            if left == 0 {
                steps.push(Step::Check);
            }
        }
        Task::Flushing { .. } => {
            steps.push(match state.memory.unrecorded[0] {
                0 => Step::Check,
                no => Step::Flush { no },
            });
        }
        Task::Flushed { .. } => steps.push(Step::Flushed),
        Task::Checked { .. } => steps.push(Step::Append),
        Task::Appended { .. } => steps.push(Step::TakeIn),
        Task::TakenIn { .. } => steps.push(Step::Release),
        Task::Released { .. } => steps.push(Step::Show),
        Task::Set { .. } => steps.push(Step::TakeInSetting),
    }
    if state.left.failures > 0
        && matches!(state.task, Task::Flushing { .. } | Task::Checked { .. } | Task::Appended { .. })
    {
        steps.push(Step::Fail);
    }
    if state.left.ceilings > 0 {
        for (party, now) in state.ceilings.iter().enumerate() {
            let other = (0..=2).filter(|level| level != now);
            steps.extend(other.map(|level| Step::Ceiling { party, level }));
        }
    }
    if !state.shown {
        steps.push(Step::ShowPlans);
    }
    if ward.purposes as usize > MONITORING && ward.scopes.len() > 1 {
        for listener in (1..=LISTENERS).filter(|one| state.plane.admitted & bit(*one) == 0) {
            if state.allows(ward.bug, MONITORING, listener) > 0 {
                steps.push(Step::Ask { listener });
            }
        }
        if state.plane.admitted & !state.plane.flows != 0 {
            steps.push(Step::Seen);
        }
    }
    if !state.looked {
        steps.push(Step::Look);
    }
}

/// A door writes what came into force before first: so the journal has them in that order.
fn may_write(ward: &Ward, state: &State, no: u8) -> bool {
    let unrecorded = &state.memory.unrecorded;
    let before = unrecorded.iter().take_while(|one| **one != no && **one != 0);
    let own = unrecorded.contains(&no);
    !own || ward.bug == Some(Bug::WrittenInAnyOrder) || {
        let mut before = before.map(|one| state.journal.position(Entry::No(*one)));
        before.all(|position| position.is_some())
    }
}

fn grants(ward: &Ward, state: &State, steps: &mut Vec<Step>) {
    let next = 1 + state.nos[..NOS].iter().filter(|no| no.sent).count() as u8;
    for purpose in 0..ward.purposes {
        let sent = state.sent_nos(purpose);
        // Also one that is on its way, by another thread: it may be there before the grant is looked at.
        let named =
            (0..=ALL_NOS as u8).filter(|no| *no == 0 || sent & bit(*no) != 0 || *no == next && state.left.nos > 0);
        for names in named {
            for (scope, level) in ward.scopes.iter().flat_map(|one| ward.levels.iter().map(move |far| (*one, *far))) {
                let ends = ward.ends.iter().filter(|end| **end == 0 || **end > state.now);
                steps.extend(ends.map(|until| Step::Grant { purpose, scope, level, until: *until, names }));
            }
        }
    }
}

/// The state after `step`, which [`steps`] offered.
pub fn after(ward: &Ward, state: &State, step: Step) -> State {
    let mut next = *state;
    match step {
        Step::Withdraw { purposes } => withdraw(ward, &mut next, purposes),
        Step::Repeat { no } => mute(ward, &mut next, no),
        Step::Narrow { no } => narrow(ward, &mut next, no),
        Step::Write { no } => {
            next.journal.append(Entry::No(no));
            (next.nos[no as usize - 1].acknowledged, next.nos[no as usize - 1].door) = (true, Door::Written);
        }
        Step::Settle { no } => {
            next.nos[no as usize - 1].door = Door::Idle;
            confirm(ward, &mut next, no);
            release(&mut next);
            show_plan(ward, &mut next);
        }
        Step::Grant { purpose, scope, level, until, names } => {
            next.left.yeses -= 1;
            let yes = 1 + next.yeses.iter().filter(|yes| yes.sent).count() as u8;
            let before = next.sent_nos(purpose);
            let said = Yes { sent: true, purpose, scope, level, until, names, before, over: false, told: false };
            next.yeses[yes as usize - 1] = said;
            begin(&mut next, yes);
        }
        Step::GrantAgain { yes } => begin(&mut next, yes),
        Step::Flush { no } => {
            next.journal.append(Entry::No(no));
            if let Task::Flushing { yes, left } = next.task {
                next.task = Task::Flushed { yes, left: left & !bit(no), no };
            }
        }
        Step::Flushed => {
            if let Task::Flushed { yes, left, no } = next.task {
                confirm(ward, &mut next, no);
                next.task = Task::Flushing { yes, left };
            }
        }
        Step::Check => {
            if let Task::Flushing { yes, .. } = next.task {
                check(ward, &mut next, yes);
            }
        }
        Step::Append => {
            if let Task::Checked { yes, seen } = next.task {
                append(ward, &mut next, yes, seen);
            }
        }
        Step::TakeIn => {
            if let Task::Appended { yes, seen, at } = next.task {
                take_in(ward, &mut next, yes, seen, at);
                next.task = Task::TakenIn { yes };
            }
        }
        Step::Release => {
            if let Task::TakenIn { yes } = next.task {
                let purpose = next.yeses[yes as usize - 1].purpose as usize;
                if purpose == VOICE {
                    release(&mut next);
                } else if ward.bug == Some(Bug::AnyGrantLiftsGate) {
                    next.plane.latched = false;
                }
                next.task = Task::Released { yes };
            }
        }
        Step::Show => {
            if let Task::Released { yes } = next.task {
                show_plan(ward, &mut next);
                next.yeses[yes as usize - 1].told = true;
                next.task = Task::Free;
            }
        }
        Step::Fail => {
            next.left.failures -= 1;
            next.task = Task::Free;
        }
        Step::Set => {
            next.left.settings -= 1;
            next.task = Task::Set { at: next.journal.append(Entry::Setting) };
        }
        Step::TakeInSetting => {
            if let Task::Set { at } = next.task {
                next.memory.position = next.memory.position.max(at);
                show_plan(ward, &mut next);
                next.task = Task::Free;
            }
        }
        Step::Ceiling { party, level } => {
            next.left.ceilings -= 1;
            next.ceilings[party] = level;
            next.shown = false;
        }
        Step::ShowPlans => {
            show_plan(ward, &mut next);
            next.shown = true;
        }
        Step::Ask { listener } => next.plane.admitted |= bit(listener),
        Step::Seen => {
            next.plane.flows |= next.plane.admitted;
            show_plan(ward, &mut next);
        }
        Step::Tick => {
            next.now += 1;
            next.looked = false;
            for yes in next.yeses.iter_mut().filter(|yes| yes.until > 0 && yes.until <= next.now) {
                yes.over = true;
            }
        }
        Step::Look => look(ward, &mut next),
        Step::Crash => crash(&mut next),
        Step::Start { now } => start(&mut next, now),
        Step::EndTimed => end_timed(&mut next),
        Step::BeginClock => next.clock_on_disk = next.clock,
        Step::Open => {
            next.phase = Phase::Open;
            (next.ended, next.looked, next.shown) = (next.now, true, true);
            show_plan(ward, &mut next);
            release(&mut next);
        }
    }
    next
}

fn withdraw(ward: &Ward, next: &mut State, purposes: u8) {
    next.left.nos -= 1;
    let no = 1 + next.nos[..NOS].iter().filter(|no| no.sent).count() as u8;
    next.nos[no as usize - 1] = No { sent: true, purposes, ..No::default() };
    mute(ward, next, no);
}

/// `Doors.mute`, before anybody of Python's hears of it.
fn mute(ward: &Ward, next: &mut State, no: u8) {
    next.nos[no as usize - 1].door = Door::Muted;
    raise(ward, next, no);
}

fn raise(ward: &Ward, next: &mut State, no: u8) {
    let No { purposes, .. } = next.nos[no as usize - 1];
    let everything = purposes == (1 << PURPOSES) - 1;
    if purposes & 1 << VOICE != 0 && !(everything && ward.bug == Some(Bug::AllLeavesGate)) {
        let plane = &mut next.plane;
        if plane.heard & bit(no) == 0 {
            (plane.heard, plane.newest) = (plane.heard | bit(no), no);
        }
        (plane.latched, plane.answered) = (true, false);
    }
}

/// `Person.narrow`.
fn narrow(ward: &Ward, next: &mut State, no: u8) {
    next.nos[no as usize - 1].door = Door::Narrowed;
    let unrecorded = &mut next.memory.unrecorded;
    if !unrecorded.contains(&no) {
        if let Some(free) = unrecorded.iter_mut().find(|one| **one == 0) {
            *free = no;
        }
    }
    let (before, mut consent) = (next.memory.consent, next.memory.consent);
    next.absorb(&mut consent, Entry::No(no), true);
    if ward.bug == Some(Bug::OneTakesAll) {
        consent = consent.map(|standing| standing.withdrawn(no));
    }
    next.nos[no as usize - 1].acknowledged |= ward.bug == Some(Bug::ToldBeforeWritten);
    next.memory.consent = consent;
    for yes in next.yeses.iter_mut().filter(|yes| yes.sent && yes.names == no) {
        let purpose = yes.purpose as usize;
        if consent[purpose] != before[purpose] {
            yes.before |= consent[purpose].heard; // who sent both said the yes last, whatever overtook what
        }
    }
    show_plan(ward, next);
    if consent != before && ward.bug != Some(Bug::NotMutedAgain) {
        raise(ward, next, no); // a grant that answers another may have lowered it meanwhile
    }
}

/// `Person._confirm`.
fn confirm(ward: &Ward, next: &mut State, no: u8) {
    let Some(at) = next.journal.position(Entry::No(no)) else { return };
    let Memory { unrecorded, position, consent } = &mut next.memory;
    if let Some(place) = unrecorded.iter().position(|one| *one == no) {
        unrecorded.copy_within(place + 1.., place);
        unrecorded[NOS - 1] = 0;
        if ward.bug == Some(Bug::WrittenInAnyOrder) && at > *position {
            for (purpose, standing) in consent.iter_mut().enumerate() {
                if next.nos[no as usize - 1].purposes & 1 << purpose != 0 && standing.newest != no {
                    (standing.newest, standing.grant) = (no, 0);
                }
            }
        }
    }
    *position = (*position).max(at);
}

/// `Person._release`.
fn release(next: &mut State) {
    let (standing, plane) = (next.memory.consent[VOICE], &mut next.plane);
    let names = plane.newest == 0 || plane.answered || standing.heard & bit(plane.newest) != 0;
    if standing.grant != 0 && names {
        (plane.latched, plane.answered) = (false, true);
    }
}

/// `Person.show_plan`.
fn show_plan(ward: &Ward, next: &mut State) {
    let may = (1..=LISTENERS).filter(|listener| next.allows(ward.bug, MONITORING, *listener) > 0);
    next.plane.admitted &= may.fold(0, |mask, listener| mask | bit(listener));
    next.plane.flows &= next.plane.admitted;
    next.plane.plan = next.allows(ward.bug, VOICE, 0);
}

/// `Person.grant`, as far as its first wait.
fn begin(next: &mut State, yes: u8) {
    let left = next.memory.unrecorded.iter().filter(|no| **no != 0).fold(0, |mask, no| mask | bit(*no));
    next.task = Task::Flushing { yes, left };
}

fn check(ward: &Ward, next: &mut State, yes: u8) {
    let Yes { purpose, names, .. } = next.yeses[yes as usize - 1];
    if next.memory.consent[purpose as usize].granted(yes, names).is_none() {
        next.task = Task::Free; // stale, and its device told so
        return;
    }
    next.task = Task::Checked { yes, seen: next.memory.position };
    if ward.bug == Some(Bug::AnsweredBeforeWritten) {
        next.yeses[yes as usize - 1].told = true;
    }
}

fn append(ward: &Ward, next: &mut State, yes: u8, seen: u8) {
    if let Some(at) = next.journal.position(Entry::Yes(yes)) {
        next.task = Task::Appended { yes, seen, at };
    } else if next.journal.last == seen {
        let at = next.journal.append(Entry::Yes(yes));
        next.task = Task::Appended { yes, seen, at };
    } else {
        for (at, entry) in next.journal.clone().after(seen) {
            if let Entry::No(no) = entry {
                confirm(ward, next, no);
            }
            let mut consent = next.memory.consent;
            next.absorb(&mut consent, entry, true);
            (next.memory.consent, next.memory.position) = (consent, next.memory.position.max(at));
        }
        begin(next, yes);
        if ward.bug == Some(Bug::DecidedBeforeWritten) {
            next.task = Task::Flushing { yes, left: 0 };
        }
    }
}

fn take_in(ward: &Ward, next: &mut State, yes: u8, seen: u8, at: u8) {
    let purpose = next.yeses[yes as usize - 1].purpose as usize;
    let stands = next.replayed()[purpose].grant == yes && ward.bug != Some(Bug::DoubtForgotten);
    if at > seen || stands {
        let mut consent = next.memory.consent;
        next.absorb(&mut consent, Entry::Yes(yes), ward.bug != Some(Bug::NotLookedAtAgain));
        (next.memory.consent, next.memory.position) = (consent, next.memory.position.max(at));
    }
}

/// `Conductor._end_grants`, one round.
fn look(ward: &Ward, next: &mut State) {
    next.looked = true;
    let from = if ward.bug == Some(Bug::EndPassedOver) { next.now - 1 } else { next.ended };
    let ends = next.memory.consent.iter().filter(|standing| standing.grant > 0);
    let mut ends = ends.map(|standing| next.yeses[standing.grant as usize - 1].until);
    if ends.any(|end| end > from && end <= next.now) {
        next.ended = next.now;
        show_plan(ward, next);
    }
}

fn crash(next: &mut State) {
    next.left.crashes -= 1;
    (next.phase, next.memory, next.task, next.plane) = (Phase::Down, Memory::default(), Task::Free, SILENT);
    for no in &mut next.nos {
        no.door = Door::Idle;
    }
}

fn start(next: &mut State, now: Option<u8>) {
    if let Some(now) = now {
        next.left.clocks -= 1;
        (next.clock, next.now) = (next.clock + 1, now);
        for yes in next.yeses.iter_mut().filter(|yes| yes.sent && yes.until > 0) {
            yes.over = true; // whether it has come cannot be told any more
        }
    }
    next.phase = Phase::Starting;
    next.doubtful = next.clock_on_disk != next.clock;
    let (consent, position) = (next.replayed(), next.journal.last);
    next.memory = Memory { consent, position, ..Memory::default() };
}

/// `Sanctuary._begin_clock`, its first half.
fn end_timed(next: &mut State) {
    let Some(index) = (NOS..ALL_NOS).find(|index| !next.nos[*index].sent) else { return };
    let (no, purposes) = (index as u8 + 1, next.timed());
    next.nos[index] = No { sent: true, purposes, ..No::default() };
    let at = next.journal.append(Entry::No(no));
    let mut consent = next.memory.consent;
    next.absorb(&mut consent, Entry::No(no), true);
    (next.memory.consent, next.memory.position) = (consent, at);
}
