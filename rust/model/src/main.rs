//! `python3 run.py model`: walks the worlds, seeds the bugs, and says what was seen.
//!
//! Without arguments the slice, in seconds; `--full` the whole, in minutes. `--json` prints one object a world. Exit
//! code 1 if a law is broken, a bug is not found, or something that has to be reachable is not.

use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Instant;

use harmonia_model::bugs::Bug;
use harmonia_model::laws::counterexample;
use harmonia_model::person;
use harmonia_model::standing::transitions;
use harmonia_model::walk::{walked, Counterexample, World};
use harmonia_model::world::{FULL, SLICE};
use serde_json::json;
use stateright::Checker;

const USAGE: &str = "usage: run.py model [--full] [--json] [--transitions] [--consents]

  --full         the large worlds: minutes, and most of a GB of memory
  --json         one object a world or bug, in place of words
  --transitions  only print the rule of one purpose as a table, for tests/model/transitions.json
  --consents     only print the rule of purposes, levels, scopes and ends, for tests/model/consents.json";

fn main() -> ExitCode {
    let (mut full, mut as_json) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--full" => full = true,
            "--json" => as_json = true,
            "--transitions" => {
                println!("{}", transitions(2, 2));
                return ExitCode::SUCCESS;
            }
            "--consents" => {
                println!("{}", person::table::tables());
                return ExitCode::SUCCESS;
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("error: there is no option {other}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let (worlds, wards): (&[_], &[_]) =
        if full { (&FULL, &person::world::FULL) } else { (&SLICE, &person::world::SLICE) };
    let mut good = true;
    for world in worlds {
        good &= walk(world, as_json);
    }
    for ward in wards {
        good &= walk(ward, as_json);
    }
    for bug in Bug::OF_HOUSES {
        good &= find(bug, counterexample(bug), as_json);
    }
    for bug in Bug::OF_PERSON {
        good &= find(bug, person::laws::counterexample(bug), as_json);
    }
    ExitCode::from(u8::from(!good))
}

/// Walks every state of `world`; true if all laws hold and all is reachable.
fn walk(world: &impl World, as_json: bool) -> bool {
    let began = Instant::now();
    let (checker, wrong) = walked(world);
    let found = checker.discoveries();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let laws = world.properties().len() - wrong.len();
    if as_json {
        println!(
            "{}",
            json!({"world": world.name(), "bounds": format!("{world:?}"), "states": states, "steps": steps,
                   "depth": depth, "properties": laws, "broken": wrong, "seconds": began.elapsed().as_secs_f64()})
        );
    } else {
        println!(
            "{:30} {states:>11} states, {steps:>12} steps, {depth:>3} deep, {laws:>2} properties hold, {:6.1} s",
            world.name(),
            began.elapsed().as_secs_f64()
        );
        for name in &wrong {
            println!("  BROKEN: {name}");
            if let Some(path) = found.get(name) {
                print_path(&path.clone().into_actions());
            }
        }
    }
    wrong.is_empty()
}

/// Says how `bug` was found in the slice; true if some law breaks.
fn find<S: Debug>(bug: Bug, found: Option<Counterexample<S>>, as_json: bool) -> bool {
    let Some(found) = found else {
        println!("{}: NOT FOUND", bug.name());
        return false;
    };
    if as_json {
        let trace: Vec<_> = found.steps.iter().map(|step| format!("{step:?}")).collect();
        println!("{}", json!({"bug": bug.name(), "world": found.world, "breaks": found.law, "trace": trace}));
    } else {
        println!("{}: found in \"{}\": not \"{}\", by", bug.name(), found.world, found.law);
        print_path(&found.steps);
    }
    true
}

fn print_path(steps: &[impl Debug]) {
    for (index, step) in steps.iter().enumerate() {
        println!("  {:>2}. {step:?}", index + 1);
    }
}
