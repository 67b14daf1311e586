//! Walking a world to its end, and looking for the shortest way in which a law breaks.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, Model, Representative};

/// A model with a name, of which every state is walked.
pub trait World:
    Model<State: Walkable, Action: Clone + PartialEq + Debug> + Clone + Debug + Send + Sync + 'static
{
    /// How it is called.
    fn name(&self) -> &'static str;
}

/// What the walk needs of a state.
pub trait Walkable: Representative + Hash + Clone + Eq + Debug + Send + Sync + 'static {}

impl<S: Representative + Hash + Clone + Eq + Debug + Send + Sync + 'static> Walkable for S {}

/// Walks every state of `world`; with what was walked, the laws that do not hold and what ought to be reachable and is
/// not.
pub fn walked<W: World>(world: &W) -> (impl Checker<W>, Vec<&'static str>) {
    let checker = world.clone().checker().symmetry().spawn_dfs().join();
    let found = checker.discoveries();
    let laws = world.properties().into_iter();
    let wrong = laws.filter(|law| found.contains_key(law.name) == (law.expectation == Expectation::Always));
    let wrong = wrong.map(|law| law.name).collect();
    (checker, wrong)
}

/// How a law breaks.
pub struct Counterexample<S> {
    /// In which world.
    pub world: &'static str,
    /// Which law.
    pub law: &'static str,
    /// By what: nothing shorter breaks one in that world.
    pub steps: Vec<S>,
}

/// The shortest way in which a law of `world` breaks; of several laws, the one that is listed first.
///
/// Breadth first and by hand: what stateright finds first is not the shortest.
pub fn shortest<W: World>(world: &W) -> Option<Counterexample<W::Action>> {
    let laws: Vec<_> = world.properties().into_iter().filter(|law| law.expectation == Expectation::Always).collect();
    // Every state that was reached, with the one before it and by which step; what is not looked at yet lies at the end.
    let mut reached: Vec<(W::State, usize, Option<W::Action>)> =
        world.init_states().into_iter().map(|state| (state, 0, None)).collect();
    let mut known: HashSet<W::State> = reached.iter().map(|(state, ..)| state.clone()).collect();
    let mut index = 0;
    while index < reached.len() {
        let state = reached[index].0.clone();
        if let Some(law) = laws.iter().find(|law| !(law.condition)(world, &state)) {
            let mut steps = Vec::new();
            while let (_, before, Some(step)) = &reached[index] {
                steps.push(step.clone());
                index = *before;
            }
            steps.reverse();
            return Some(Counterexample { world: world.name(), law: law.name, steps });
        }
        let mut actions = Vec::new();
        world.actions(&state, &mut actions);
        for action in actions {
            if let Some(next) = world.next_state(&state, action.clone()) {
                if known.insert(next.clone()) {
                    reached.push((next, index, Some(action)));
                }
            }
        }
        index += 1;
    }
    None
}
