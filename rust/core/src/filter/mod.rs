//! From exchanges to two statements about the offset of two clocks: what is *certain* and what is *likely*.
//!
//! One exchange tells little: the request takes an unknown time up, the answer another one down, and half of the
//! difference between the two is error. Averaging does not help, since queues only ever add delay: the mean of the
//! delays is as lopsided as the traffic. But causality helps. With offset = node − platform,
//!
//! ```text
//! offset(t1) ≤ t2 − t1      the request did not arrive before it left
//! offset(t4) ≥ t3 − t4      nor did the answer
//! ```
//!
//! whatever the path did. A stamp t1 taken too early, or t4 too late, only weakens these: both errors count as delay.
//!
//! **Certain.** Each inequality is a half-plane of (offset, frequency). The set of all pairs that explain every exchange
//! so far is a convex polygon. It is carried along: as time passes it is sheared by its frequencies and grown by a stated
//! largest wander; a stated largest drift and each new exchange clip it. Its extent along the offset axis is the
//! certified interval, and its extent along oblique directions is how that interval grows with time. Nothing here
//! depends on the path's symmetry or on the servo, and no tighter interval follows from the same assumptions. An empty
//! polygon proves that one of them is broken: the source was stepped, or a clock is worse than stated.
//!
//! **Likely.** If both ways have the same delay floor and queues add exponentially distributed time, the likelihood of
//! a line falls off from the widest channel of its slope that fits between the upper points and the lower ones (the
//! two-sided lower envelope), and only the points of two convex hulls matter. Regressions, as NTP clients use them,
//! average over all points and are worse by √n against n. The *mode* of that likelihood rests on three points and moves
//! in stairs when one of them leaves the window, so the estimate is its *mean*, over slopes numerically and over the
//! rest in closed form; its variance is the expected uncertainty.
//!
//! No clock keeps a straight line, so an old point is handicapped by as much as the frequency may have walked since
//! and its weight shrinks accordingly. That makes the window adaptive: where jitter is large, old points still help;
//! where it is small, they drop out. How restless the clocks are is told by several bending lines through the
//! exchanges' middles (`trend`), as far as each foretells the next exchange. Together these lines are a second
//! estimate, which serves where the edges are blunt; both are weighed by their variances.
//!
//! Sources: Marzullo and Owicki 1983 for intervals; Schweppe 1968 for sets carried through a linear system; Zhang, Liu
//! and Xia 2002 and Paxson 1998 for lines under delay clouds; Sutherland and Hodgman 1974 for clipping.
mod certified;
mod channel;
mod exchange;
mod fuzz;
mod polygon;
mod possible;
mod route;
mod side;
mod trend;
mod walk;

use std::collections::VecDeque;

pub use certified::Certified;
pub(crate) use certified::NUMBERS;
use channel::Channel;
pub use exchange::Exchange;
use fuzz::Fuzz;
use possible::Possible;
use route::Route;
use side::Side;
use trend::Trends;
use walk::Walk;

use crate::units::PlatformTime;

/// Exchanges kept: at one a second, the last four minutes.
pub const WINDOW: usize = 256;
/// Stamps are whole nanoseconds, rounded on both sides: an inequality may be short by this much.
const ROUNDING_NS: f64 = 2.0;
const S_PER_NS: f64 = 1e-9;

/// What is assumed of the two clocks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FilterConfig {
    /// Largest frequency difference of the two clocks, parts per billion. The certificate rests on it.
    pub max_drift_ppb: i64,
    /// Largest change of that difference per second, 1/s (1e-7: 0.1 ppm a second). The certificate rests on it.
    pub max_wander: f64,
    /// Expected size of that difference, parts per billion: a guess before there are exchanges to tell.
    pub expected_drift_ppb: i64,
    /// Expected random walk of the frequency, 1/s for one second (1e-8: 10 ppb after 1 s, 100 ppb after 100 s): a
    /// guess to begin with. The estimate learns better; nothing certain rests on it.
    pub expected_wander: f64,
}

/// What a window of exchanges says about the offset. [`Copy`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// When it holds: the newest exchange's t4.
    pub at: PlatformTime,
    /// The likely offset (node − platform) is `base_ns + offset_ns`.
    pub base_ns: i64,
    /// See `base_ns`.
    pub offset_ns: f64,
    /// The likely change of the offset, ns/s (parts per billion).
    pub rate_ppb: f64,
    /// 99 % of errors lie within this, in ns, if both ways have the same delay floor.
    pub uncertainty_ns: f64,
    /// How fast that grows without another exchange, ns/s.
    pub uncertainty_rate_ppb: f64,
    /// And how much the frequency walks in a second, ppb, as far as learnt: its share grows with the power 1.5 of time.
    pub wander_ppb: f64,
    /// The certified interval.
    pub certified: Certified,
}

impl Estimate {
    /// The uncertainty `seconds` later, without another exchange, in ns. Realtime-safe.
    pub fn uncertainty_after(&self, seconds: f64) -> f64 {
        let dt = seconds.abs();
        self.uncertainty_ns + self.uncertainty_rate_ppb * dt + self.wander_ppb * (dt * dt * dt).sqrt()
    }
}

/// What an exchange did to a [`Filter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It agrees with the window.
    Consistent,
    /// No clock within the stated drift and wander agrees with it and the window; the window was dropped.
    Contradiction,
}

/// A window of exchanges and what follows from it. Bounded memory; deterministic.
#[derive(Clone, Debug)]
pub struct Filter {
    config: FilterConfig,
    window: VecDeque<Exchange>,
    possible: Option<Possible>,
    scratch: Scratch,
    walk: Walk,
    route: Route,
    fuzz: Fuzz,
    trends: Trends,
    estimate: Option<Estimate>,
}

/// Working memory, kept so that an exchange allocates nothing.
#[derive(Clone, Debug, Default)]
struct Scratch {
    up: Side,
    down: Side,
}

impl Filter {
    /// An empty filter.
    pub fn new(config: FilterConfig) -> Self {
        let walk = Walk { variance: 0.0 };
        Self {
            config,
            window: VecDeque::with_capacity(WINDOW),
            possible: None,
            scratch: Scratch::default(),
            walk,
            route: Route::new(&config),
            fuzz: Fuzz::default(),
            trends: Trends::new(&config),
            estimate: None,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.window.clear();
        self.possible = None;
        self.route = Route::new(&self.config);
        self.fuzz = Fuzz::default();
        self.trends = Trends::new(&self.config);
        self.estimate = None;
    }

    /// How many exchanges the window holds.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Whether there has been no exchange yet.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// What the window says, as of its newest exchange; `None` before the first.
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    /// Takes an exchange in. Costs O(window).
    pub fn push(&mut self, exchange: Exchange) -> Verdict {
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(exchange);
        if self.certify() {
            return Verdict::Consistent;
        }
        self.reset();
        self.window.push_back(exchange);
        if !self.certify() {
            // The exchange contradicts itself: the node's clock ran between t2 and t3 as no clock does.
            self.reset();
        }
        Verdict::Contradiction
    }

    /// Takes in the newest exchange of the window; false if no clock explains it and all before.
    fn certify(&mut self) -> bool {
        let Some(&newest) = self.window.back() else { return false };
        let (base_ns, at) = {
            let possible = self.possible.get_or_insert_with(|| Possible::before(&newest, &self.config));
            if !possible.take(&newest, &self.config) {
                return false;
            }
            (possible.base_ns, possible.at)
        };
        let certified = self.possible.as_ref().expect("it was just made").certified(&self.config);
        let age = |t: PlatformTime| (at - t).ns() as f64 * S_PER_NS;
        let relative = |ns: i64| (i128::from(ns) - i128::from(base_ns)) as f64;
        let Scratch { up, down } = &mut self.scratch;
        up.points.clear();
        down.points.clear();
        for exchange in self.window.iter().rev() {
            let margin = exchange.stamp_error.ns() as f64 + ROUNDING_NS;
            up.points.push((age(exchange.t1), relative(exchange.upper()) + margin));
            down.points.push((age(exchange.t4), -relative(exchange.lower()) + margin));
        }
        // Requests may overtake each other; hulls want their points in order.
        for side in [&mut *up, &mut *down] {
            side.points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        }

        self.route.look(&self.window);
        self.trends.take(&newest, self.route.floor, certified.rate);
        let oldest = age(self.route.from);
        for side in [&mut *up, &mut *down] {
            side.points.truncate(side.points.partition_point(|point| point.0 <= oldest));
        }
        let rate = self.estimate.map_or(0.0, |former| former.rate_ppb);
        let trend = self.trends.say();
        self.walk.variance = trend.wander;
        let prior = self.route.prior_at(at, certified.rate, &self.walk);
        let mut likely = Channel::new(up, down, rate, &self.walk, prior).posterior(certified.rate);
        self.fuzz.look(up, down, &likely, &self.walk);
        likely.variance *= self.fuzz.excess() * self.trends.alike().powi(2);
        likely.rate_variance *= self.fuzz.excess();
        likely.weigh_in(&trend);
        likely.rate = likely.rate.clamp(certified.rate[0], certified.rate[1]);
        self.route.learn(&likely);
        self.estimate = Some(Estimate {
            at,
            base_ns,
            offset_ns: likely.offset.clamp(certified.lower[0], certified.upper[0]),
            rate_ppb: likely.rate,
            uncertainty_ns: likely.uncertainty().min(certified.upper[0] - certified.lower[0]),
            uncertainty_rate_ppb: likely.uncertainty_rate(),
            wander_ppb: likely.wander,
            certified,
        });
        true
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;
    use crate::units::{NodeTime, Span};

    const CONFIG: FilterConfig =
        FilterConfig { max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 100_000, expected_wander: 3e-9 };
    const S: i64 = 1_000_000_000;
    /// So many times the wander makes up for two exchanges that were taken in the wrong order, one a second.
    const RESTLESS: f64 = 3.0;

    /// The exchange that leaves at `t1` and takes `up` and `down` ns, if node = (1 + rate)·platform + offset.
    fn exchange(t1: i64, up: i64, down: i64, offset: i64, rate: f64) -> Exchange {
        let node = |t: i64| NodeTime::from_ns(t + offset + (t as f64 * rate).round() as i64);
        let t4 = t1 + up + 10_000 + down;
        Exchange {
            t1: PlatformTime::from_ns(t1),
            t2: node(t1 + up),
            t3: node(t1 + up + 10_000),
            t4: PlatformTime::from_ns(t4),
            stamp_error: Span::ZERO,
        }
    }

    fn each_second(delays: Vec<(i64, i64)>, offset: i64, rate: f64) -> Vec<Exchange> {
        delays.into_iter().zip(0..).map(|((up, down), i)| exchange(i * S, up, down, offset, rate)).collect()
    }

    fn filled(exchanges: impl IntoIterator<Item = Exchange>) -> Filter {
        let mut filter = Filter::new(CONFIG);
        for exchange in exchanges {
            assert_eq!(filter.push(exchange), Verdict::Consistent);
        }
        filter
    }

    prop_compose! {
        fn delays()(delays in prop::collection::vec((1_000i64..20_000_000, 1_000i64..20_000_000), 1..40),
                    offset in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000, rate in -4.9e-4..4.9e-4f64)
                    -> (Vec<(i64, i64)>, i64, f64) { (delays, offset, rate) }
    }

    proptest! {
        #[test]
        fn truth_is_certain_at_every_age((delays, offset, rate) in delays(), later in -5_000_000i64..3000 * S) {
            let n = delays.len() as i64;
            let filter = filled(each_second(delays, offset, rate));
            let t = n * S + later;
            let (low, high) = filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(t));
            let truth = offset + (t as f64 * rate).round() as i64;
            prop_assert!((low..=high).contains(&truth), "{} not in {}..={}", truth, low, high);
        }

        #[test]
        fn more_exchanges_never_tell_less_than_the_last_alone((delays, offset, rate) in delays()) {
            let exchanges = each_second(delays, offset, rate);
            let newest = *exchanges.last().unwrap();
            let width = |filter: &Filter| {
                let (low, high) = filter.estimate().unwrap().certified.offset_at(newest.t4);
                high - low
            };
            prop_assert!(width(&filled(exchanges)) <= width(&filled([newest])) + 2);
        }

        #[test]
        fn the_estimate_lies_in_the_certified_interval((delays, offset, rate) in delays()) {
            let filter = filled(each_second(delays, offset, rate));
            let estimate = filter.estimate().unwrap();
            let (low, high) = estimate.certified.offset_at(estimate.at);
            let likely = estimate.base_ns + estimate.offset_ns.round() as i64;
            prop_assert!((low..=high).contains(&likely));
            prop_assert!(estimate.rate_ppb.abs() <= 500_000.0 && estimate.uncertainty_ns > 0.0);
        }

        #[test]
        fn an_answer_that_was_overtaken_tells_a_little_less_and_nothing_false((delays, offset, rate) in delays()) {
            let inside = |mut exchanges: Vec<Exchange>, swap: bool, restless: f64| {
                let n = exchanges.len();
                if swap && n > 1 { exchanges.swap(n - 1, n - 2); }
                let mut filter = Filter::new(FilterConfig { max_wander: restless * CONFIG.max_wander, ..CONFIG });
                exchanges.into_iter().for_each(|exchange| assert_eq!(filter.push(exchange), Verdict::Consistent));
                filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(n as i64 * S))
            };
            let exchanges = each_second(delays, offset, rate);
            let overtaken = inside(exchanges.clone(), true, 1.0);
            let truth = offset + ((exchanges.len() as i64 * S) as f64 * rate).round() as i64;
            prop_assert!(overtaken.0 - 2 <= truth && truth <= overtaken.1 + 2, "{} not in {:?}", truth, overtaken);
            // What comes late is weakened by a wander of its own, which need not fit that of the others: a course of
            // the frequency that fits all exists for a larger wander. An allowance in nanoseconds would not do, as lines
            // that are nearly parallel make much of a small weakening where they cross.
            let (calmer, wilder) = (inside(exchanges.clone(), false, 0.5), inside(exchanges, false, RESTLESS));
            let within = |(a, b): (i64, i64), (c, d): (i64, i64)| c - 2 <= a && b <= d + 2;
            prop_assert!(within(calmer, overtaken), "{:?} {:?}", calmer, overtaken);
            prop_assert!(within(overtaken, wilder), "{:?} {:?}", overtaken, wilder);
        }
    }

    #[test]
    fn a_symmetric_path_without_jitter_is_measured_to_the_nanosecond() {
        let filter = filled((0..20).map(|i| exchange(i * S, 500_000, 500_000, 123_456_789, 50e-6)));
        let estimate = filter.estimate().unwrap();
        let truth = 123_456_789.0 + estimate.at.ns() as f64 * 50e-6;
        assert!((estimate.base_ns as f64 + estimate.offset_ns - truth).abs() < 100.0, "{estimate:?} {truth}");
        assert!((estimate.rate_ppb - 50_000.0).abs() < 100.0, "{estimate:?}");
    }

    #[test]
    fn a_lopsided_path_misleads_the_estimate_but_not_the_certificate() {
        let filter = filled((0..50).map(|i| exchange(i * S, 1_000_000, 9_000_000, 0, 0.0)));
        let estimate = filter.estimate().unwrap();
        assert!((estimate.base_ns as f64 + estimate.offset_ns + 4e6).abs() < 1e5, "{estimate:?}");
        let (low, high) = estimate.certified.offset_at(estimate.at);
        assert!(low <= 0 && 0 <= high);
    }

    #[test]
    fn a_stepped_clock_is_a_contradiction_and_the_window_begins_anew() {
        let mut filter = filled((0..50).map(|i| exchange(i * S, 100_000, 100_000, 0, 0.0)));
        let stepped = exchange(50 * S, 100_000, 100_000, 5_000_000, 0.0);
        assert_eq!(filter.push(stepped), Verdict::Contradiction);
        assert_eq!(filter.len(), 1);
        let (low, high) = filter.estimate().unwrap().certified.offset_at(stepped.t4);
        assert!((low..=high).contains(&5_000_000));
    }

    #[test]
    fn a_drift_beyond_the_stated_one_is_a_contradiction() {
        let mut filter = Filter::new(CONFIG);
        let verdicts: Vec<_> = (0..10).map(|i| filter.push(exchange(i * S, 10_000, 10_000, 0, 700e-6))).collect();
        assert!(verdicts.contains(&Verdict::Contradiction));
    }

    #[test]
    fn truth_is_certain_even_where_the_frequency_wanders_as_fast_as_stated() {
        // Delays of 1 µs leave no room to hide in: what is certain must come from the wander that is allowed for.
        for sign in [-1.0, 1.0] {
            let offset = |t: i64| (sign * 0.5 * 0.999e-7 * (t as f64 / S as f64).powi(2) * 1e9) as i64;
            let node = |t: i64| NodeTime::from_ns(t + offset(t));
            let mut filter = Filter::new(CONFIG);
            for t in (0..200).map(|i| i * S) {
                let exchange = Exchange {
                    t1: PlatformTime::from_ns(t),
                    t2: node(t + 1000),
                    t3: node(t + 2000),
                    t4: PlatformTime::from_ns(t + 3000),
                    stamp_error: Span::ZERO,
                };
                assert_eq!(filter.push(exchange), Verdict::Consistent, "after {t} ns");
            }
            for later in [0, 1, 10, 100, 1000] {
                let t = 200 * S + later * S;
                let (low, high) = filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(t));
                assert!((low..=high).contains(&offset(t)), "{} not in {low}..={high} after {later} s", offset(t));
            }
        }
    }

    #[test]
    fn a_change_of_route_does_not_cost_the_rate() {
        // Uneven delays from a fixed pattern; eight of them alone would leave the slope open by dozens of ppm.
        let delay = |i: i64, k: i64| 1_000_000 + (i * k % 97) * 20_000;
        let longer = |i: i64| if i < 100 { 0 } else { 20_000_000 };
        let filter =
            filled((0..108).map(|i| exchange(i * S, delay(i, 31) + longer(i), delay(i, 57) + longer(i), 0, 80e-6)));
        let estimate = filter.estimate().unwrap();
        assert!((estimate.rate_ppb - 80_000.0).abs() < 3_000.0, "{}", estimate.rate_ppb);
        assert!(filter.route.from == PlatformTime::from_ns(100 * S), "the change was not noticed");
    }

    #[test]
    fn a_stamp_error_is_allowed_for() {
        // The answer is stamped 50 µs too early: without the allowance the certificate would be wrong.
        let early =
            |exchange: Exchange, stamp_error| Exchange { t4: exchange.t4 - Span::from_us(50), stamp_error, ..exchange };
        let bad = early(exchange(0, 10_000, 10_000, 0, 0.0), Span::ZERO);
        let good = early(exchange(0, 10_000, 10_000, 0, 0.0), Span::from_us(50));
        let certain = |exchange: Exchange| {
            let mut filter = Filter::new(CONFIG);
            filter.push(exchange);
            filter.estimate().is_some_and(|estimate| {
                let (low, high) = estimate.certified.offset_at(exchange.t4);
                (low..=high).contains(&0)
            })
        };
        assert!(!certain(bad) && certain(good));
    }

    #[test]
    fn an_impossible_exchange_leaves_nothing_behind() {
        let mut filter = Filter::new(CONFIG);
        let mut impossible = exchange(0, 10_000, 10_000, 0, 0.0);
        impossible.t3 += Span::from_s(1); // the node waited for a second within 30 µs
        assert_eq!(filter.push(impossible), Verdict::Contradiction);
        assert!(filter.is_empty() && filter.estimate().is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let filter = filled((0..3 * WINDOW as i64).map(|i| exchange(i * S, 10_000, 10_000, 0, 0.0)));
        assert_eq!(filter.len(), WINDOW);
    }
}
