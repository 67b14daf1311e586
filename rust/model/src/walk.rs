//! Walking a world to its end, and looking for the shortest way in which a law breaks.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Representative};

/// A model with a name, of which every state is walked.
pub trait World: Model<State: Walkable, Action: Clone + PartialEq + Debug> + Clone + Debug + Send + Sync + 'static {
    /// How it is called.
    fn name(&self) -> &'static str;
}

/// What the walk needs of a state.
pub trait Walkable: Representative + Hash + Clone + PartialEq + Debug + Send + Sync + 'static {}

impl<S: Representative + Hash + Clone + PartialEq + Debug + Send + Sync + 'static> Walkable for S {}

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

/// The shortest way in which a law of `world` breaks.
pub fn shortest<W: World>(world: &W) -> Option<Counterexample<W::Action>> {
    (2..STEPS_MAX).find_map(|depth| {
        let search = world.clone().checker().target_max_depth(depth).finish_when(HasDiscoveries::AnyFailures);
        let checker = search.spawn_bfs().join();
        let laws = world.properties().into_iter();
        let mut broken = laws.filter(|law| law.expectation == Expectation::Always);
        broken.find_map(|law| {
            let steps = checker.discovery(law.name)?.into_actions();
            Some(Counterexample { world: world.name(), law: law.name, steps })
        })
    })
}

/// No counterexample that somebody could read is longer.
const STEPS_MAX: usize = 20;
