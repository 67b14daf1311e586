//! The slice: every law holds in every state, and every seeded bug breaks one.

use harmonia_model::bugs::Bug;
use harmonia_model::laws::{counterexample, walked};
use harmonia_model::standing::transitions;
use harmonia_model::state::{Change, No, Phase, State, RULING};
use harmonia_model::step::Step;
use harmonia_model::world::{World, SLICE};
use stateright::{Checker, Expectation, Model};

#[test]
fn every_law_holds_in_every_state_of_the_slice() {
    for world in &SLICE {
        let (checker, wrong) = walked(world);
        assert!(wrong.is_empty(), "{}: {wrong:?}", world.name);
        assert!(checker.unique_state_count() > 10_000, "{} is empty", world.name);
    }
}

#[test]
fn every_bug_is_found_by_the_law_that_it_breaks() {
    let laws = [
        "after a restart nobody sounds until the journal is read",
        "an acknowledged withdrawal survives every crash",
        "no frame holds a voice whose newest known word is no",
        "nobody but the person turns their no into a yes",
        "no frame holds a voice whose newest known word is no",
    ];
    for (bug, law) in Bug::ALL.into_iter().zip(laws) {
        let found = counterexample(bug).unwrap_or_else(|| panic!("{} is not found", bug.name()));
        assert_eq!(found.law, law, "{}: {:?}", bug.name(), found.steps);
    }
}

/// The laws that do not hold where the beginning is changed by hand.
fn broken_by(change: impl Fn(&mut State)) -> Vec<&'static str> {
    let world: World = SLICE[2];
    let mut state = State::first(&world);
    change(&mut state);
    let laws = world.properties().into_iter().filter(|law| law.expectation == Expectation::Always);
    laws.filter(|law| !(law.condition)(&world, &state)).map(|law| law.name).collect()
}

#[test]
fn every_law_can_be_broken() {
    assert!(broken_by(|_| {}).is_empty());
    let told = No { sent: true, house: 0, acknowledged: true };
    let change = Change { effect: 1, ..Change::default() };
    let lost = Change { effect: 1, acknowledged: true, ..Change::default() };
    let broken = [
        broken_by(|state| state.people[0].at[0].standing.grant = RULING),
        broken_by(|state| state.people[0].at[0].synced |= 1),
        broken_by(|state| state.people[0].at[0].synced = 0),
        broken_by(|state| state.houses[0] = Phase::Reading),
        broken_by(|state| state.people[0].nos[0] = told),
        broken_by(|state| (state.people[0].at[0].latched, state.people[0].at[0].got) = (true, 1)),
        broken_by(|state| state.people[0].wished = true),
        broken_by(|state| state.changes[0] = lost),
    ];
    assert!(broken_by(|state| state.changes[0] = change).is_empty());
    let mut seen: Vec<_> = broken.iter().flatten().copied().collect();
    assert!(broken.iter().all(|laws| laws.len() == 1), "{broken:?}");
    seen.sort_unstable();
    let laws = SLICE[2].properties().into_iter().filter(|law| law.expectation == Expectation::Always);
    let mut names: Vec<_> = laws.map(|law| law.name).collect();
    names.sort_unstable();
    assert_eq!(seen, names);
}

#[test]
fn a_counterexample_shows_what_went_wrong_and_nothing_else() {
    let found = counterexample(Bug::AcknowledgeBeforeSync).expect("it is found");
    let steps = [
        Step::Withdraw { who: 0, house: 0, fresh: true },
        Step::Write { who: 0, no: 1, house: 0 },
        Step::Crash { house: 0, kept: 0 },
        Step::Start { house: 0 },
        Step::Open { house: 0 },
    ];
    assert_eq!(found.steps, steps);
}

#[test]
fn the_table_that_the_domain_is_held_to_is_this_models() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/transitions.json");
    let kept = std::fs::read_to_string(path).expect("tests/model/transitions.json is there");
    assert_eq!(kept.trim(), transitions(2, 2).to_string(), "run `python3 run.py model --transitions > {path}`");
}
