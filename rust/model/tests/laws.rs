//! The slice: every law holds in every state, and every seeded bug breaks one.

use harmonia_model::bugs::Bug;
use harmonia_model::laws::counterexample;
use harmonia_model::person;
use harmonia_model::standing::transitions;
use harmonia_model::state::{Change, No, Phase, State, RULING};
use harmonia_model::step::Step;
use harmonia_model::walk::{self, walked};
use harmonia_model::world::{World, SLICE};
use stateright::{Checker, Expectation, Model};

fn every_law_holds_in(world: &impl walk::World, states_min: usize) {
    let (checker, wrong) = walked(world);
    assert!(wrong.is_empty(), "{}: {wrong:?}", world.name());
    assert!(checker.unique_state_count() > states_min, "{} is empty", world.name());
}

#[test]
fn every_law_holds_in_every_state_of_the_slice() {
    for world in &SLICE {
        every_law_holds_in(world, 10_000);
    }
    for ward in &person::world::SLICE {
        every_law_holds_in(ward, 1_000);
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
    for (bug, law) in Bug::OF_HOUSES.into_iter().zip(laws) {
        let found = counterexample(bug).unwrap_or_else(|| panic!("{} is not found", bug.name()));
        assert_eq!(found.law, law, "{}: {:?}", bug.name(), found.steps);
    }
}

#[test]
fn every_bug_of_one_persons_consents_is_found_by_the_law_that_it_breaks() {
    let laws = [
        "what sounds is the least that anybody allows",
        "a grant to one scope opens no other",
        "a grant past its end is a no, after a crash and under another clock too",
        "a grant past its end is a no, after a crash and under another clock too",
        "the gate is down behind a grant of the voice, and only there",
        "the gate is down behind a grant of the voice, and only there",
        "a grant that is under way when a withdrawal comes never wins",
        "an acknowledged grant counts until its person says otherwise",
        "a grant that is under way when a withdrawal comes never wins",
        "what is in force is what a restart would find",
        "an acknowledged grant counts until its person says otherwise",
        "the gate is down behind a grant of the voice, and only there",
        "a withdrawal takes back what it names and nothing else",
        "an acknowledged withdrawal is on disk",
    ];
    for (bug, law) in Bug::OF_PERSON.into_iter().zip(laws) {
        let found = person::laws::counterexample(bug).unwrap_or_else(|| panic!("{} is not found", bug.name()));
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
fn the_tables_that_the_domain_is_held_to_are_this_models() {
    let kept = |name: &str| {
        let path = format!("{}/../../tests/model/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    for (name, made) in [("transitions", transitions(2, 2)), ("consents", person::table::tables())] {
        let again = format!("run `python3 run.py model --{name} > tests/model/{name}.json`");
        assert_eq!(kept(name).trim(), made.to_string(), "{again}");
    }
}
