//! `harmonia-sim [--list] [--seeds N] [--first SEED] [NUMBER...]`: runs scenarios, one line of JSON each.
//!
//! For programs; people call `python3 run.py sim`.
use harmonia_sim::measure::{median, Metrics};
use harmonia_sim::scenarios::{all, Limit, Scenario};
use serde_json::json;

fn main() {
    let mut numbers = Vec::new();
    let (mut seeds, mut first, mut list) = (3u64, 1u64, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| usage());
        match argument.as_str() {
            "--list" => list = true,
            "--seeds" => seeds = number(),
            "--first" => first = number(),
            text => numbers.push(text.parse::<u32>().unwrap_or_else(|_| usage())),
        }
    }
    for scenario in all().iter().filter(|scenario| numbers.is_empty() || numbers.contains(&scenario.number)) {
        if list {
            println!("{}", json!({"number": scenario.number, "name": scenario.name}));
        } else {
            let runs: Vec<Metrics> = (first..first + seeds.max(1)).map(|seed| scenario.run(seed)).collect();
            println!("{}", report(scenario, &runs));
        }
    }
}

fn usage() -> ! {
    eprintln!("usage: harmonia-sim [--list] [--seeds N] [--first SEED] [NUMBER...]");
    std::process::exit(2)
}

fn report(scenario: &Scenario, runs: &[Metrics]) -> serde_json::Value {
    let values = |metric: &str| runs.iter().filter_map(|run| run.get(metric).copied()).collect::<Vec<f64>>();
    let kept = |limit: &Limit| {
        let values = values(limit.metric);
        let value = match (limit.every, limit.least) {
            (false, _) => median(&values),
            (true, true) => values.iter().copied().fold(f64::INFINITY, f64::min),
            (true, false) => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        };
        let kept = if limit.least { value >= limit.value } else { value <= limit.value };
        json!({
            "metric": limit.metric, "limit": limit.value, "value": value, "kept": kept,
            "rule": if limit.least { "at least" } else { "at most" },
            "of": if limit.every { "every seed" } else { "the median" },
        })
    };
    let names: Vec<&str> = runs.first().map_or(Vec::new(), |run| run.keys().copied().collect());
    let metrics: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).into(), json!(median(&values(name))))).collect();
    json!({
        "number": scenario.number, "name": scenario.name, "seeds": runs.len(), "metrics": metrics,
        "limits": scenario.limits.iter().map(kept).collect::<Vec<_>>(),
    })
}
