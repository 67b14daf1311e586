//! The fuzzer's command line: `--target NAME|all --iterations N --seed S`.
use std::process::ExitCode;
use std::time::Instant;

use harmonia_fuzz::{run, targets};

const USAGE: &str =
    "usage: harmonia-fuzz [--target packet|fields|ke|session|sealed|score|all] [--iterations N] [--seed S]";

fn main() -> ExitCode {
    let (mut names, mut iterations, mut seed) = (targets::NAMES.to_vec(), 100_000u64, 1u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = value.replace('_', "").parse::<u64>();
        match (name.as_str(), number) {
            ("--target", _) if value == "all" => names = targets::NAMES.to_vec(),
            ("--target", _) if targets::NAMES.contains(&value.as_str()) => {
                names = targets::NAMES.into_iter().filter(|known| *known == value).collect();
            }
            ("--iterations", Ok(number)) => iterations = number,
            ("--seed", Ok(number)) => seed = number,
            _ => {
                eprintln!("error: {name} {value} is not understood\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    // Panics are findings, and are told as such.
    std::panic::set_hook(Box::new(|_| {}));
    for name in names {
        let mut target = targets::by_name(name).expect("a known name");
        let started = Instant::now();
        match run(target.as_mut(), iterations, seed) {
            Ok(report) => {
                let rate = report.iterations as f64 / started.elapsed().as_secs_f64().max(1e-9);
                println!(
                    "{name}: {} inputs, {rate:.0} a second; {} forged or repeated, none believed",
                    report.iterations, report.forged_or_replayed
                );
                for (end, count) in report.ends {
                    println!("  {count:>12}  {end}");
                }
            }
            Err(finding) => {
                let hex: String = finding.input.iter().map(|byte| format!("{byte:02x}")).collect();
                println!("{name}: input {} of seed {seed}: {}\n  {hex}", finding.iteration, finding.law);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
