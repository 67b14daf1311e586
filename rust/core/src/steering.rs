//! How a sanctuary's clock comes to where its sources say it should be, without anybody noticing.
//!
//! A clock that is wrong by a millisecond could be corrected at 500 ppm and be right two seconds later. But platforms
//! follow this clock, and what they hold for certain rests on an assumption about it: that its frequency against theirs
//! changes by no more than their `max_wander` (0.1 ppm a second, live). A sanctuary that changed its rate by 500 ppm at
//! once would break every certificate in the house, so that platforms would find a contradiction and begin anew, in
//! the middle of the night. So while somebody may listen the *change of the rate* is what is limited: to half of what
//! platforms assume, which leaves the other half to the crystals.
//!
//! What is left is an old problem: come from one position and velocity to another with bounded acceleration and
//! velocity. The course is: ramp to some velocity `v`, keep it for at least [`COAST_S`], ramp to the target's rate.
//! The distance that it covers grows with `v`, so that bisection finds the `v` that covers the error. Near the target
//! this approaches exponentially with about `COAST_S` as its time constant, which also averages the estimates' noise;
//! far away it is the fastest that the limits allow. It is planned anew every second, and always to the end: a clock
//! whose process dies half way arrives all the same.
//!
//! Everything is integers: rates are even numbers of ppb and times are whole seconds, so that each second gains a whole
//! number of nanoseconds and re-anchoring rounds nothing (see [`crate::node_clock`]).
use crate::node_clock::{Ramp, RAMP_S_MAX};

/// How fast a clock may be corrected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest change of the rate, parts per billion a second. Even.
    pub ramp_ppb_per_s: i64,
    /// Largest correction beyond the estimated rate, parts per billion. Even.
    pub slew_ppb: i64,
}

/// While platforms follow the clock: half of the wander that platforms assume by default, and a tenth of the drift.
pub const GENTLE: Limits = Limits { ramp_ppb_per_s: 50, slew_ppb: 50_000 };
/// While no platform follows it.
pub const FREE: Limits = Limits { ramp_ppb_per_s: 20_000, slew_ppb: 499_000 };
/// The shortest time at the middle velocity.
pub const COAST_S: i64 = 6;

/// The course that makes good `error_ns` (target minus clock, at its beginning) for a clock whose rate is `excess_ppb`
/// above the target's, and that ends at the target's rate. `excess_ppb` must be even. Pure, at most five ramps.
///
/// An error beyond what [`RAMP_S_MAX`] seconds can make good is made good in part.
pub fn plan(error_ns: i64, excess_ppb: i64, limits: Limits) -> Vec<Ramp> {
    debug_assert!(excess_ppb % 2 == 0);
    // Whoever comes from another regime with more speed than this one knows comes home as fast as it came.
    let steep = if excess_ppb.abs() > limits.slew_ppb { FREE.ramp_ppb_per_s } else { limits.ramp_ppb_per_s };
    let most = limits.slew_ppb / 2;
    let covers = |half: i64| {
        let v = i128::from(2 * half);
        gain(excess_ppb, 2 * half, steep) + v * i128::from(COAST_S) + gain(2 * half, 0, limits.ramp_ppb_per_s)
    };
    // The largest speed that does not overshoot; in halves, so that it stays even.
    let error = i128::from(error_ns);
    let (mut low, mut high) = (-most, most);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if covers(middle) <= error {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let v = 2 * low;
    let left = error - covers(low);
    // At full speed the rest takes a longer coast.
    let longer =
        if low.abs() == most && v != 0 { (left / i128::from(v)).clamp(0, i128::from(RAMP_S_MAX) / 2) } else { 0 };
    let mut course = Vec::with_capacity(5);
    go(excess_ppb, v, steep, &mut course);
    course.push(Ramp { seconds: (COAST_S as i128 + longer) as u32, ppb_per_s: 0 });
    go(v, 0, limits.ramp_ppb_per_s, &mut course);
    course
}

/// Whole seconds at full steepness from one rate to another, and the rest of the way, which takes one second more.
fn split(from: i64, to: i64, steep: i64) -> (i64, i64, i64) {
    let slope = if to >= from { steep } else { -steep };
    let full = (to - from) / slope;
    (full, slope, to - from - full * slope)
}

/// What a clock gains, in ns, on its way from one rate (ppb beyond the target's) to another.
fn gain(from: i64, to: i64, steep: i64) -> i128 {
    let (full, slope, rest) = split(from, to, steep);
    let (full, slope) = (i128::from(full), i128::from(slope));
    let ramp = i128::from(from) * full + slope * full * full / 2;
    let last = if rest == 0 { 0 } else { i128::from(to) - i128::from(rest) / 2 };
    ramp + last
}

fn go(from: i64, to: i64, steep: i64, course: &mut Vec<Ramp>) {
    let (full, slope, rest) = split(from, to, steep);
    if full > 0 {
        course.push(Ramp { seconds: full as u32, ppb_per_s: slope });
    }
    if rest != 0 {
        course.push(Ramp { seconds: 1, ppb_per_s: rest });
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::node_clock::NodeClock;
    use crate::units::NS_PER_S;
    use proptest::prelude::*;

    /// A clock at rate `rate` that is to come to rate `target`, and `error` further than a line of that rate.
    fn follow(rate: i64, target: i64, error: i64, limits: Limits) -> (NodeClock, i64) {
        let mut clock = NodeClock::new("b007", 0, 0);
        clock.set_rate(0, rate);
        let course = plan(error, rate - target, limits);
        clock.bend(0, &course);
        let lasts: i64 = course.iter().map(|ramp| i64::from(ramp.seconds)).sum();
        (clock, lasts)
    }

    prop_compose! {
        fn situation()(rate in -50_000i64..50_000, excess in -10_000i64..10_000, error in prop_oneof![
            -1_000i64..1_000, -1_000_000i64..1_000_000, -10_000_000_000i64..10_000_000_000]) -> (i64, i64, i64) {
            (2 * rate, 2 * (rate + excess), error)
        }
    }

    proptest! {
        #[test]
        fn it_arrives_at_the_target_and_its_rate((rate, target, error) in situation(), gentle: bool) {
            let limits = if gentle { GENTLE } else { FREE };
            let (clock, lasts) = follow(rate, target, error, limits);
            prop_assert_eq!(clock.anchor().settled_ppb(), target);
            let start = clock.anchor().node_ns;
            let gained = (clock.node_at(lasts * NS_PER_S).ns() - start) - lasts * NS_PER_S - lasts * target;
            // One unit of speed more would be too much; at full speed, one second more.
            let grain = (2 * lasts).max(limits.slew_ppb);
            prop_assert!((gained - error).abs() <= grain, "{} {} after {} s", gained, error, lasts);
        }

        #[test]
        fn it_never_exceeds_its_limits((rate, target, error) in situation(), gentle: bool) {
            let limits = if gentle { GENTLE } else { FREE };
            let (clock, lasts) = follow(rate, target, error, limits);
            let most = limits.slew_ppb.max((rate - target).abs());
            for second in 0..lasts.min(5_000) {
                let [before, after] =
                    [second, second + 1].map(|second| clock.anchor().rate_ppb_at(second * NS_PER_S) - target);
                prop_assert!(after.abs() <= most, "{} ppb", after);
                prop_assert!((after - before).abs() <= limits.ramp_ppb_per_s, "{} ppb/s", after - before);
            }
        }

        #[test]
        fn planning_anew_every_second_comes_to_rest((rate, target, error) in situation()) {
            let mut clock = NodeClock::new("b007", 0, 0);
            clock.set_rate(0, rate);
            let start = clock.anchor().node_ns;
            let error = error % 1_000_000;
            let mut left = error;
            for second in 0..3_000 {
                let at = second * NS_PER_S;
                clock.advance(at);
                left = start + error + at + second * target - clock.node_at(at).ns();
                clock.bend(at, &plan(left, clock.anchor().rate_ppb - target, GENTLE));
            }
            prop_assert!(left.abs() <= 2 * COAST_S + 2, "{} ns left", left);
            prop_assert!((clock.anchor().rate_ppb - target).abs() <= 2);
        }
    }

    #[test]
    fn a_millisecond_takes_minutes_while_somebody_listens_and_seconds_while_nobody_does() {
        let lasts = |limits| follow(0, 0, 1_000_000, limits).1;
        assert!((200..400).contains(&lasts(GENTLE)), "{} s", lasts(GENTLE));
        assert!(lasts(FREE) < 30, "{} s", lasts(FREE));
    }
}
