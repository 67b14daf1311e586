//! A broad grid of short worlds: kinds of delay × their scale × the clock's wander; interval, base and loss are drawn.
//!
//! Scenarios show what is promised of worlds that are known. The grid looks for those that nobody thought of.
use crate::dice::Dice;
use crate::exchanges::Course;
use crate::world::{Crystal, Jitter, Way, MS};

/// Exchanges that are asked for in each course.
const EXCHANGES: i64 = 1500;
const SCALES_NS: [f64; 5] = [1e3, 1e4, 1e5, 1e6, 1e7];
const WANDERS: [f64; 4] = [1e-10, 1e-9, 1e-8, 3e-8];

/// A kind of delay whose excess is about its argument (ns) in the mean.
type Kind = (&'static str, fn(f64) -> Jitter);

/// The kinds of delay.
pub const KINDS: [Kind; 13] = [
    ("exponential", Jitter::Exponential),
    ("gamma 1/2", |mean| Jitter::Gamma(1, 2.0 * mean)),
    ("gamma 3/2", |mean| Jitter::Gamma(3, mean / 1.5)),
    ("gamma 2", |mean| Jitter::Gamma(4, mean / 2.0)),
    ("gamma 4", |mean| Jitter::Gamma(8, mean / 4.0)),
    ("log-normal 1", |mean| Jitter::LogNormal(0.6 * mean, 1.0)),
    ("log-normal 0.4", |mean| Jitter::LogNormal(0.92 * mean, 0.4)),
    ("uniform", |mean| Jitter::Uniform(2.0 * mean)),
    ("humps", |mean| Jitter::Humps(0.4, 2.0 * mean, 0.25 * mean)),
    ("lower hump rare", |mean| Jitter::Humps(0.85, mean, 0.1 * mean)),
    ("memory of 3 s", |mean| Jitter::Memory(3.0, 2.0 * mean, 0.2 * mean)),
    ("memory of 20 s", |mean| Jitter::Memory(20.0, 2.0 * mean, 0.2 * mean)),
    ("one way", Jitter::Exponential),
];

/// One point of the grid.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The kind of delay.
    pub kind: &'static str,
    /// Its mean excess, ns.
    pub scale_ns: f64,
    /// What was made of it.
    pub course: Course,
    /// The seed that it is gone through with.
    pub seed: u64,
}

/// All points, with what is drawn drawn from `seed`.
pub fn points(seed: u64) -> Vec<Point> {
    let mut points = Vec::new();
    for (k, (kind, jitter)) in KINDS.into_iter().enumerate() {
        for (s, scale_ns) in SCALES_NS.into_iter().enumerate() {
            for (w, wander) in WANDERS.into_iter().enumerate() {
                let seed = seed.wrapping_mul(1000) + (k * 100 + s * 10 + w) as u64;
                let mut dice = Dice::new(seed);
                let mut one_of = |of: &[f64]| of[(dice.bits() % of.len() as u64) as usize];
                let base_ns = (scale_ns * one_of(&[0.3, 3.0, 30.0])) as i64;
                let interval_ns = one_of(&[0.25e9, 1e9, 1e9, 4e9]) as i64;
                let loss = one_of(&[0.0, 0.0, 0.3]);
                let way = |mean| Way { loss, ..Way::with(base_ns, jitter(mean)) };
                let (up, down) = (way(if kind == "one way" { 0.05 * scale_ns } else { scale_ns }), way(scale_ns));
                let crystal = Crystal { offset_ns: 5 * MS, ..Crystal::new(3e-5, wander) };
                let seconds = EXCHANGES * interval_ns / 1_000_000_000;
                points.push(Point { kind, scale_ns, course: Course { up, down, crystal, seconds, interval_ns }, seed });
            }
        }
    }
    points
}
