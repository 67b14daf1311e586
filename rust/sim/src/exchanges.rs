//! Exchanges without packets: thousands of short worlds in a minute, for what depends on the estimate alone.
use harmonia_core::filter::Exchange;
use harmonia_core::replay::{session, ReplayRow};
use harmonia_core::units::{NodeTime, PlatformTime, Span};

use crate::dice::Dice;
use crate::regression::Regression;
use crate::world::{Crystal, Queue, Way, WrongClock, MS, S, US};

/// An exchange, and the true offset (node − platform) at its t4 in ns.
pub type Known = (Exchange, i64);

/// A path, a clock, and how often the platform asks after its burst.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// The way to the server.
    pub up: Way,
    /// And back.
    pub down: Way,
    /// The platform's clock.
    pub crystal: Crystal,
    /// How long it goes on, s.
    pub seconds: i64,
    /// Between requests, ns.
    pub interval_ns: i64,
}

/// What came of a course. Errors and the like in ns, after the first sixth.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    /// Root of the mean square of our errors.
    pub rms_ns: f64,
    /// And of the rival's.
    pub rival_ns: f64,
    /// Share of our errors within the stated uncertainty.
    pub within: f64,
    /// Median uncertainty over our rms.
    pub width: f64,
    /// When the error first stayed below 1 ms for 30 s.
    pub converged_s: f64,
    /// How often the certified bound was broken.
    pub broken: usize,
}

impl Course {
    /// Its exchanges, as they arrive.
    pub fn exchanges(&self, seed: u64) -> Vec<Known> {
        let mut dice = Dice::new(seed);
        let clock = WrongClock::new(&self.crystal, self.seconds, &mut dice);
        let mut queues = [Queue::default(); 2];
        let burst = (0..8).map(|i| i * 250 * MS);
        let steady = (1..).map(|i| 7 * 250 * MS + i * self.interval_ns).take_while(|sent| *sent < self.seconds * S);
        let mut known: Vec<(i64, Known)> = Vec::new();
        for sent in burst.chain(steady) {
            let hold = 20 * US + dice.exponential(5e3) as i64;
            let up = queues[0].delay_ns(&self.up, sent, &mut dice);
            let Some(leaves) = up.map(|up| sent + up + hold) else { continue };
            let Some(back) = queues[1].delay_ns(&self.down, leaves, &mut dice).map(|down| leaves + down) else {
                continue;
            };
            let (t1, t4) = (clock.read(sent), clock.read(back));
            let node = NodeTime::from_ns;
            let exchange = Exchange { t1, t2: node(leaves - hold), t3: node(leaves), t4, stamp_error: Span::ZERO };
            known.push((back, (exchange, back - t4.ns())));
        }
        known.sort_by_key(|(arrives, _)| *arrives);
        known.into_iter().map(|(_, known)| known).collect()
    }

    /// Goes through it once.
    pub fn run(&self, seed: u64) -> Outcome {
        // A normal step of the frequency may exceed any bound; what is stated must be true.
        let wander = (4.5 * self.crystal.wander).max(3e-8);
        outcome(&self.exchanges(seed), wander, self.seconds as f64 / 6.0)
    }
}

/// What comes of exchanges if a wander of at most `max_wander` is stated; the first `skip_s` do not count.
pub fn outcome(known: &[Known], max_wander: f64, skip_s: f64) -> Outcome {
    let (mut session, mut rival) = (session(200_000, max_wander), Regression::default());
    let Some(&(first, _)) = known.first() else { return Outcome::default() };
    let since = |t: PlatformTime| (t - first.t4).as_s_f64();
    let (mut errors, mut broken, mut rivals) = (Vec::new(), 0, (0.0, 0.0));
    for (i, &(exchange, truth)) in known.iter().enumerate() {
        let row = ReplayRow::take(&mut session, exchange);
        let (at_s, error) = (since(exchange.t4), row.offset_before_ns - truth);
        errors.push((at_s, error as f64, row.uncertainty_ns as f64));
        broken += usize::from(i > 0 && error.abs() > row.bound_ns);
        if let Some(offset) = rival.offset_ns(at_s).filter(|_| at_s >= skip_s) {
            rivals = (rivals.0 + (offset - (truth - first.offset().ns()) as f64).powi(2), rivals.1 + 1.0);
        }
        let offset = exchange.offset() - first.offset();
        rival.push(at_s, offset.ns() as f64, exchange.round_trip().ns() as f64);
    }
    let used: Vec<_> = errors.iter().filter(|(at, ..)| *at >= skip_s).collect();
    let n = used.len().max(1) as f64;
    let rms_ns = (used.iter().map(|(_, error, _)| error * error).sum::<f64>() / n).sqrt();
    let late = |(from, ..): &&(f64, f64, f64)| {
        errors.iter().filter(|(at, ..)| (*from..from + 30.0).contains(at)).any(|(_, error, _)| error.abs() >= 1e6)
    };
    Outcome {
        rms_ns,
        rival_ns: (rivals.0 / f64::max(rivals.1, 1.0)).sqrt(),
        within: used.iter().filter(|(_, error, most)| error.abs() <= *most).count() as f64 / n,
        width: crate::measure::median(&used.iter().map(|(.., most)| *most).collect::<Vec<_>>()) / rms_ns,
        converged_s: errors.iter().find(|error| !late(error)).map_or(1e9, |(at, ..)| *at),
        broken,
    }
}
