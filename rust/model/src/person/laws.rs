//! What holds of one person's consents in every state, and what has to be reachable.

use stateright::{Model, Property};

use crate::bugs::Bug;
use crate::person::state::{
    Door, Entry, Phase, State, Task, Yes, ALL_NOS, FULL_LEVEL, LISTENERS, MONITORING, NOS, PURPOSES, VOICE, YESES,
};
use crate::person::step::{after, steps, Step};
use crate::person::world::{Ward, SLICE};
use crate::standing::bit;
use crate::walk::{shortest, Counterexample, World};

impl Model for Ward {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        steps(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Step) -> Option<State> {
        let next = after(self, state, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("a grant to one scope opens no other", |_, state: &State| {
                let voice = state.plane.plan == 0 || state.grant(VOICE).is_some_and(|(_, yes)| yes.scope == 0);
                !settled(state)
                    || voice
                        && (1..=LISTENERS).filter(|one| state.plane.flows & bit(*one) != 0).all(|listener| {
                            state.grant(MONITORING).is_some_and(|(_, yes)| [0, listener].contains(&yes.scope))
                        })
            }),
            Property::always("a grant past its end is a no, after a crash and under another clock too", |_, state| {
                open(state).all(|state: &State| {
                    (0..PURPOSES).filter_map(|purpose| Some((purpose, state.grant(purpose)?.1))).all(
                        |(purpose, yes)| {
                            let asked = (0..=LISTENERS).any(|scope| state.allows(None, purpose, scope) > 0);
                            let in_use = if purpose == VOICE { state.sounds() } else { state.plane.flows != 0 };
                            !(yes.over && (asked || in_use && settled(state)))
                        },
                    )
                })
            }),
            Property::always("what sounds is the least that anybody allows", |_, state: &State| {
                !settled(state) || state.plane.plan == least(state)
            }),
            Property::always("the gate is down behind a grant of the voice, and only there", |_, state: &State| {
                let granted = state.grant(VOICE).is_some();
                (state.plane.latched || granted) && (!idle(state) || state.plane.latched != granted)
            }),
            Property::always("a withdrawal takes back what it names and nothing else", |_, state: &State| {
                open(state).all(|state| {
                    (0..PURPOSES).all(|purpose| {
                        let named = (1..=ALL_NOS as u8).filter(|no| {
                            let sent = &state.nos[*no as usize - 1];
                            let there = sent.acknowledged || matches!(sent.door, Door::Narrowed | Door::Written);
                            there && sent.purposes & 1 << purpose != 0
                        });
                        let named = named.fold(0, |mask, no| mask | bit(no));
                        let heard = state.memory.consent[purpose].heard;
                        named & !heard == 0 && heard & !state.sent_nos(purpose as u8) == 0
                    })
                })
            }),
            Property::always("an acknowledged withdrawal is on disk", |_, state: &State| {
                (1..=NOS as u8).all(|no| {
                    !state.nos[no as usize - 1].acknowledged || state.journal.position(Entry::No(no)).is_some()
                })
            }),
            Property::always("an acknowledged grant counts until its person says otherwise", |_, state: &State| {
                open(state).all(|state| (1..=YESES as u8).all(|yes| !lost(state, yes)))
            }),
            Property::always("what is in force is what a restart would find", |_, state: &State| {
                open(state).all(|state| (0..PURPOSES).all(|purpose| found_again(state, purpose)))
            }),
            Property::always("a grant that is under way when a withdrawal comes never wins", |_, state: &State| {
                (0..PURPOSES).all(|purpose| {
                    let heard = state.memory.consent[purpose].heard;
                    state.grant(purpose).is_none_or(|(_, yes)| heard & !yes.before == 0)
                })
            }),
            Property::sometimes("a voice sounds", |_, state: &State| state.sounds()),
        ];
        if self.ceilings > 0 && self.levels.contains(&FULL_LEVEL) {
            properties.push(Property::sometimes("a ceiling makes it softer", |_, state: &State| {
                state.sounds() && state.plane.plan < state.grant(VOICE).map_or(0, |(_, yes)| yes.level)
            }));
        }
        if self.scopes.len() > 1 {
            properties.push(Property::sometimes("one listener hears, and only they may", |_, state: &State| {
                state.plane.flows != 0 && state.grant(MONITORING).is_some_and(|(_, yes)| yes.scope != 0)
            }));
        }
        if self.ticks > 0 {
            properties.push(Property::sometimes("a grant ends by itself", |_, state: &State| {
                state.grant(VOICE).is_some_and(|(_, yes)| yes.over) && settled(state)
            }));
        }
        if self.clocks > 0 {
            properties.push(Property::sometimes("a grant ends with its clock", |_, state: &State| {
                state.phase == Phase::Open && state.nos[NOS..].iter().any(|no| no.sent)
            }));
        }
        if self.purposes > 1 && self.nos > 0 {
            properties.push(Property::sometimes(
                "one purpose is taken back, and the other stays",
                |_, state: &State| {
                    state.memory.consent.iter().any(|one| one.heard != 0 && one.grant == 0)
                        && state.memory.consent.iter().any(|one| one.grant != 0)
                },
            ));
        }
        if self.nos > 0 && self.yeses > 0 {
            properties.push(Property::sometimes("a no is answered by a yes", |_, state: &State| {
                state.memory.consent.iter().any(|one| one.heard != 0 && one.grant != 0)
            }));
        }
        if self.crashes > 0 {
            properties.push(Property::sometimes("a yes outlives all crashes", |_, state: &State| {
                state.left.crashes == 0 && idle(state) && state.memory.consent.iter().any(|one| one.grant != 0)
            }));
        }
        properties
    }
}

impl World for Ward {
    fn name(&self) -> &'static str {
        self.name
    }
}

/// What `bug` does, in the first world of the slice where it does anything.
pub fn counterexample(bug: Bug) -> Option<Counterexample<Step>> {
    SLICE.into_iter().find_map(|ward| shortest(&Ward { bug: Some(bug), ..ward }))
}

/// `state`, if people are in.
fn open(state: &State) -> impl Iterator<Item = &State> {
    Some(state).into_iter().filter(|state| state.phase == Phase::Open)
}

/// Nothing is on its way from what was decided to the data plane, but for what waits for the disk.
fn settled(state: &State) -> bool {
    let showing = matches!(state.task, Task::TakenIn { .. } | Task::Released { .. } | Task::Flushing { .. });
    state.phase == Phase::Open && state.looked && state.shown && !showing
}

/// Nothing is on its way at all.
fn idle(state: &State) -> bool {
    settled(state) && state.task == Task::Free && state.nos.iter().all(|no| no.door == Door::Idle)
}

/// How loud the voice may be: by what was said, and by nothing that the engine concluded.
fn least(state: &State) -> u8 {
    let Some((_, yes)) = state.grant(VOICE) else { return 0 };
    let ended = yes.until > 0 && state.now >= yes.until;
    if ended || yes.scope != 0 {
        return 0;
    }
    state.ceilings.into_iter().min().map_or(0, |least| yes.level.min(least))
}

/// Its device was told that it counts, and nobody has said otherwise, and it does not.
fn lost(state: &State, yes: u8) -> bool {
    let Yes { told, purpose, names, before, .. } = state.yeses[yes as usize - 1];
    let standing = &state.memory.consent[purpose as usize];
    if !told || standing.grant == yes {
        return false;
    }
    let withdrawn = standing.newest != names || standing.heard & !before != 0;
    let at = state.journal.position(Entry::Yes(yes)).unwrap_or(0);
    let replaced = state.journal.after(at).any(|(_, entry)| match entry {
        Entry::Yes(other) => state.yeses[other as usize - 1].purpose == purpose,
        _ => false,
    });
    !withdrawn && !replaced
}

/// The grant in force is on disk, and stands there but for what its person has granted since.
fn found_again(state: &State, purpose: usize) -> bool {
    let Some((yes, _)) = state.grant(purpose) else { return true };
    let found = state.replayed()[purpose].grant;
    let Some(at) = state.journal.position(Entry::Yes(yes)) else { return false };
    found == yes || (found > 0 && state.journal.position(Entry::Yes(found)).is_some_and(|other| other > at))
}
