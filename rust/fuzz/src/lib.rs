//! Seeded mutation fuzzing of everything that Harmonia reads from strangers.
//!
//! Anybody can send a sanctuary or a platform any bytes. Three things must then hold, whatever the bytes: nothing
//! panics, no answer is longer than what it answers, and nothing that was changed, invented or repeated is taken for
//! genuine. A **target** makes a genuine conversation, or a score, and a **mutator** spoils it; bytes at random would never get
//! past the first check. Everything follows from one number, the seed, so whatever is found can be found again.
//!
//! This is not guided by coverage: that needs a nightly compiler, and the project builds with a stable one. Each
//! target counts how often it reached which end instead ([`Report::ends`]), so that one sees whether it gets deep. The
//! body of each target takes bytes ([`targets::Target::check`]), which is the form that `cargo fuzz` wants, too.
//!
//! ```text
//! cargo run --profile fuzz -p harmonia-fuzz -- --target all --iterations 100000 --seed 1
//! ```
#![forbid(unsafe_code)]

pub mod mutate;
pub mod random;
pub mod targets;

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};

use random::Random;
use targets::Target;

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Inputs tried.
    pub iterations: u64,
    /// How often each end was reached, by name.
    pub ends: BTreeMap<&'static str, u64>,
    /// Of those inputs, forged ones and repetitions; none was taken for genuine, or the run would have failed.
    pub forged_or_replayed: u64,
}

/// An input that broke a law, and how to find it again.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which input of the run.
    pub iteration: u64,
    /// The input.
    pub input: Vec<u8>,
    /// The law.
    pub law: String,
}

/// How an input ended, for the count, and whether it was a forgery or a repetition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// A few words for the count.
    pub name: &'static str,
    /// Whether this was a forged or repeated input (and was refused).
    pub forged: bool,
}

/// Tries `iterations` inputs made from `seed`. Stops at the first that breaks a law.
///
/// Errors with the finding: a panic, or what the target says.
pub fn run(target: &mut dyn Target, iterations: u64, seed: u64) -> Result<Report, Finding> {
    let mut random = Random::new(seed);
    let mut report = Report::default();
    let mut input = Vec::with_capacity(2048);
    for iteration in 0..iterations {
        input.clear();
        target.generate(&mut random, &mut input);
        // A panic ends the run, so nobody sees what it may have left half done.
        let ended = catch_unwind(AssertUnwindSafe(|| target.check(&input))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("a panic: {}", text.unwrap_or_default()))
        });
        match ended {
            Ok(end) => {
                report.iterations += 1;
                report.forged_or_replayed += u64::from(end.forged);
                *report.ends.entry(end.name).or_default() += 1;
            }
            Err(law) => return Err(Finding { iteration, input, law }),
        }
    }
    Ok(report)
}
