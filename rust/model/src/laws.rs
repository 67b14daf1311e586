//! What holds in every state, and what has to be reachable so that the laws are not true of an empty world.

use stateright::{Model, Property};

use crate::bugs::Bug;
use crate::standing::bit;
use crate::state::{yes_bit, Phase, State, ALL_NOS};
use crate::step::{after, steps, Step};
use crate::walk::{self, shortest, Counterexample};
use crate::world::{World, NOS, SLICE, YESES};

impl Model for World {
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
            Property::always("nobody but the person turns their no into a yes", |world, state: &State| {
                sounding(world, state).all(|(_, who, yes)| {
                    (1..=YESES as u8).contains(&yes) && state.people[who].yeses[yes as usize - 1].sent
                })
            }),
            Property::always("no frame holds a voice whose newest known word is no", |world, state: &State| {
                sounding(world, state).all(|(house, who, yes)| {
                    let (person, replica) = (&state.people[who], &state.people[who].at[house]);
                    let told = replica.got | (replica.synced & ALL_NOS);
                    let answers = person.yeses.get(yes as usize - 1).map_or(0, |sent| sent.answers);
                    told & !answers == 0
                })
            }),
            Property::always("a yes counts only once it is on disk", |world, state: &State| {
                sounding(world, state).all(|(house, who, yes)| {
                    yes as usize > YESES || state.people[who].at[house].synced & yes_bit(yes) != 0
                })
            }),
            Property::always("after a restart nobody sounds until the journal is read", |world, state: &State| {
                sounding(world, state).all(|(house, _, _)| state.houses[house] == Phase::Open)
            }),
            Property::always("an acknowledged withdrawal survives every crash", |world, state: &State| {
                replicas(world, state).all(|(house, who)| {
                    let person = &state.people[who];
                    (1..=NOS as u8).all(|no| {
                        let sent = &person.nos[no as usize - 1];
                        let told = sent.acknowledged && sent.house as usize == house;
                        !told || person.at[house].standing.heard & bit(no) != 0
                    })
                })
            }),
            Property::always("an opt-out applies whatever its device knew", |world, state: &State| {
                replicas(world, state).all(|(house, who)| {
                    let replica = &state.people[who].at[house];
                    replica.got & !replica.standing.heard == 0
                })
            }),
            Property::always("no other change resets a setting of one's own", |world, state: &State| {
                replicas(world, state).all(|(house, who)| {
                    let person = &state.people[who];
                    house != 0 || !person.wished || person.at[0].wish
                })
            }),
            Property::always(
                "an acknowledged change of rhythm survives, and begins after it was decided",
                |_, state: &State| {
                    state.changes.iter().filter(|change| change.effect > 0).all(|change| {
                        let kept = state.houses[0] != Phase::Open || !change.acknowledged || change.plays[0];
                        kept && change.effect > change.decided
                    })
                },
            ),
            Property::sometimes("a voice sounds", |world, state| sounding(world, state).next().is_some()),
        ];
        if self.nos > 0 && self.yeses > 0 {
            properties.push(Property::sometimes("a no is answered by a yes", |world, state: &State| {
                sounding(world, state).any(|(house, who, _)| state.people[who].at[house].standing.heard != 0)
            }));
        }
        if self.nos > 0 && self.crashes > 0 {
            properties.push(Property::sometimes("a no outlives all crashes", |world, state: &State| {
                state.left.crashes == 0
                    && replicas(world, state).any(|(house, who)| {
                        let person = &state.people[who];
                        person.nos.iter().any(|no| no.acknowledged) && person.at[house].standing.heard != 0
                    })
            }));
        }
        if self.nos > 0 && self.houses > 1 {
            properties.push(Property::sometimes("a no reaches the other house", |world, state: &State| {
                (0..world.sleepers).any(|who| state.people[who].at.iter().all(|replica| replica.synced & ALL_NOS != 0))
            }));
        }
        properties
    }
}

impl walk::World for World {
    fn name(&self) -> &'static str {
        self.name
    }
}

/// What `bug` does, in the first world of the slice where it does anything.
pub fn counterexample(bug: Bug) -> Option<Counterexample<Step>> {
    SLICE.into_iter().find_map(|world| shortest(&World { bug: Some(bug), ..world }))
}

/// Every house that plays somebody's voice: house, person, and by which grant.
fn sounding<'a>(world: &'a World, state: &'a State) -> impl Iterator<Item = (usize, usize, u8)> + 'a {
    let pairs = (0..world.houses).flat_map(|house| (0..world.sleepers).map(move |who| (house, who)));
    pairs
        .filter(|(house, who)| state.sounds(*house, *who))
        .map(|(house, who)| (house, who, state.people[who].at[house].standing.grant))
}

/// Everybody in every house that has read its journal.
fn replicas<'a>(world: &'a World, state: &'a State) -> impl Iterator<Item = (usize, usize)> + 'a {
    let open = (0..world.houses).filter(|house| state.houses[*house] == Phase::Open);
    open.flat_map(|house| (0..world.sleepers).map(move |who| (house, who)))
}
