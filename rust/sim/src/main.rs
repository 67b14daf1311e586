//! `harmonia-sim [--list] [--seeds N] [--first SEED] [NUMBER...]`: runs scenarios, one line of JSON each.
//! `harmonia-sim --grid [--first SEED]`: the grid, one line of JSON for each point.
//!
//! For programs; people call `python3 run.py sim`.
use harmonia_sim::exchanges::Outcome;
use harmonia_sim::grid::{self, Point};
use harmonia_sim::measure::{median, Metrics};
use harmonia_sim::scenarios::{all, Limit, Scenario};
use serde_json::json;

fn main() {
    let mut numbers = Vec::new();
    let (mut seeds, mut first, mut list, mut grid) = (3u64, 1u64, false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| usage());
        match argument.as_str() {
            "--list" => list = true,
            "--grid" => grid = true,
            "--seeds" => seeds = number(),
            "--first" => first = number(),
            text => numbers.push(text.parse::<u32>().unwrap_or_else(|_| usage())),
        }
    }
    if grid {
        for point in grid::points(first) {
            println!("{}", point_report(&point, &point.course.run(point.seed)));
        }
        return;
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
    eprintln!("usage: harmonia-sim [--list | --grid] [--seeds N] [--first SEED] [NUMBER...]");
    std::process::exit(2)
}

fn point_report(point: &Point, outcome: &Outcome) -> serde_json::Value {
    let course = &point.course;
    json!({
        "kind": point.kind, "scale_us": point.scale_ns / 1e3, "wander": course.crystal.wander,
        "interval_s": course.interval_ns as f64 / 1e9, "base_us": course.up.base_ns as f64 / 1e3, "loss": course.up.loss,
        "rms_us": outcome.rms_ns / 1e3, "over_regression": outcome.rms_ns / outcome.rival_ns,
        "within_uncertainty": outcome.within, "uncertainty_over_rms": outcome.width,
        "converged_s": outcome.converged_s, "bound_broken": outcome.broken,
    })
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
