//! Coupled rhythms against what is known of them in closed form, and the exactness of those whom nobody pulls.
use std::f64::consts::{PI, TAU};

use harmonia_core::coupling::{Oscillator, Population, Strength};
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::rhythm::{Frequency, Segment};
use harmonia_core::units::{NodeTime, Span};
use proptest::prelude::*;

/// A small generator of its own: the same populations on every machine.
struct Seeded(u64);

impl Seeded {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn oscillator(own: u64, rad_s: f64, coupling: f32, weight: f32) -> Oscillator {
    let frequency = Frequency::from_hz(rad_s / TAU).unwrap();
    Oscillator { own: Phase::from_bits(own), frequency, pulled: PhaseOffset::ZERO, coupling, weight }
}

/// A crowd with random phases whose frequencies in rad/s are the quantiles of a distribution.
fn crowd(n: usize, seed: u64, quantile: impl Fn(f64) -> f64) -> Population {
    let (mut random, mut population) = (Seeded(seed), Population::default());
    for i in 0..n {
        let rad_s = quantile((i as f64 + 0.5) / n as f64);
        population.push(oscillator(random.bits(), rad_s, 1.0, 1.0)).unwrap();
    }
    population
}

fn lorentzian(p: f64) -> f64 {
    (PI * (p - 0.5)).tan()
}

/// The time-averaged order parameter once the beginning is forgotten.
fn order(mut population: Population, k: f64, lag: f64, settle_s: f64) -> f64 {
    let strength = Strength::new(k, lag).unwrap();
    let (step, averaged) = (Span::from_ms(40), 400);
    population.steps(step, (settle_s / step.as_s_f64()) as usize, strength);
    (0..averaged).map(|_| population.steps(step, 2, strength).norm()).sum::<f64>() / f64::from(averaged)
}

fn within_1_percent(measured: f64, law: f64, what: &str) {
    println!("{what}: {measured:.4}, closed form {law:.4}");
    assert!((measured / law - 1.0).abs() < 0.01, "{what}: {measured} instead of {law}");
}

#[test]
fn a_lorentzian_crowd_comes_as_close_as_its_closed_form() {
    for k in [3.0f64, 4.0, 8.0] {
        let r = order(crowd(8_000, 1, lorentzian), k, 0.0, 30.0);
        within_1_percent(r, (1.0 - 2.0 / k).sqrt(), &format!("Lorentzian, γ = 1, K = {k}"));
        // r² = 1 − K_c/K: what the same crowd says of K_c = 2/(π g(0)), where g(0) = 1/(π γ).
        if k < 8.0 {
            within_1_percent(k * (1.0 - r * r), 2.0, "K_c by it");
        }
    }
}

#[test]
fn a_lag_costs_what_sakaguchi_and_kuramoto_say() {
    for lag in [0.5, -0.5] {
        let r = order(crowd(8_000, 2, lorentzian), 4.0, lag, 30.0);
        within_1_percent(r, (1.0f64 - 2.0 / (4.0 * 0.5f64.cos())).sqrt(), "Sakaguchi, α = ±0.5, K = 4");
    }
}

#[test]
fn below_the_critical_strength_a_crowd_stays_at_chance_and_above_it_does_not() {
    // Uniform on ±1 rad/s: g(0) = 1/2, K_c = 4/π, where the order jumps to π/4 (Pazó 2005).
    let k_c = 4.0 / PI;
    let uniform = |p: f64| 2.0 * p - 1.0;
    let n = 4_000;
    let below = order(crowd(n, 3, uniform), 0.97 * k_c, 0.0, 200.0);
    let above = order(crowd(n, 3, uniform), 1.03 * k_c, 0.0, 400.0);
    println!("at 0.97 K_c: {below:.4}; at 1.03 K_c: {above:.4}");
    assert!(below < 8.0 * PI.sqrt() / (2.0 * (n as f64).sqrt()), "{below}");
    assert!(above > PI / 4.0, "{above}");
}

#[test]
fn strangers_are_as_united_as_chance_would_have_them() {
    let (n, nights) = (100, 40_000);
    let (mut random, mut population) = (Seeded(4), crowd(n, 0, |_| 0.0));
    let mut sum = 0.0;
    for _ in 0..nights {
        for i in 0..n {
            population.set(i, oscillator(random.bits(), 0.0, 0.0, 1.0)).unwrap();
        }
        sum += population.mean().norm();
    }
    within_1_percent(sum / f64::from(nights), PI.sqrt() / (2.0 * (n as f64).sqrt()), "N = 100, incoherent");
}

/// Two in one mean: each is half of it. What one is to oneself pulls nobody, as sin 0 = 0.
fn two(difference: f64, c: [f32; 2], k: f64, seconds: usize) -> (Population, f64) {
    let mut pair = Population::default();
    for (rad_s, coupling) in [(6.0 + difference, c[0]), (6.0, c[1])] {
        pair.push(oscillator(0, rad_s, coupling, 1.0)).unwrap();
    }
    let strength = Strength::new(k, 0.0).unwrap();
    pair.steps(Span::from_ms(20), 50 * seconds, strength);
    let before = pair.get(0).phase() - pair.get(1).phase();
    pair.steps(Span::from_ms(20), 50, strength);
    let after = pair.get(0).phase() - pair.get(1).phase();
    let drift = (after + -before).turns().abs();
    (pair, drift)
}

#[test]
fn two_lock_where_they_must_and_nowhere_else() {
    for (c, k) in [([1.0, 1.0], 1.0), ([1.0, 0.0], 2.0), ([0.25, 0.75], 3.0)] {
        let edge = k * f64::from(c[0] + c[1]) / 2.0;
        for share in [0.1, 0.5, 0.9, 0.99] {
            for sign in [-1.0, 1.0] {
                let (pair, drift) = two(sign * share * edge, c, k, 150);
                assert!(drift < 1e-6, "{c:?} at {share} of the edge: still {drift} turn/s");
                let phi = (pair.get(0).phase() - pair.get(1).phase()).turns() * TAU;
                assert!((phi - (sign * share).asin()).abs() < 1e-3 * share, "sin φ = 2Δω/(k₁+k₂): {phi}");
            }
        }
        for share in [1.01, 1.5, 4.0] {
            let (_, drift) = two(share * edge, c, k, 150);
            assert!(drift > 1e-3, "{c:?} at {share} of the edge: locked");
        }
    }
}

#[test]
fn the_error_falls_as_the_fourth_power_and_is_stated() {
    let start = crowd(64, 5, |p| 25.0 + 4.0 * p);
    let strength = Strength::new(3.0, 0.2).unwrap();
    let span = Span::from_ms(1_600);
    let run = |count: usize| {
        let mut population = start.clone();
        population.steps(Span::from_ns(span.ns() / count as i64), count, strength);
        population
    };
    let reference = run(4_096);
    let off = |population: &Population| {
        let off = (0..64).map(|i| (population.get(i).phase() - reference.get(i).phase()).turns().abs());
        off.fold(0.0, f64::max)
    };
    let errors = [8, 16, 32, 64].map(|count| off(&run(count)));
    println!("errors after 1.6 s in 8, 16, 32 and 64 steps, turns: {errors:?}");
    for pair in errors.windows(2) {
        assert!((10.0..24.0).contains(&(pair[0] / pair[1])), "{errors:?}");
    }
    // One doubled step beside the truth of that same step.
    let mut doubled = start.clone();
    let stated = doubled.step_doubled(Span::from_ms(100), strength);
    let mut truth = start.clone();
    truth.steps(Span::from_us(25), 4_000, strength);
    let is = (0..64).map(|i| (doubled.get(i).phase() - truth.get(i).phase()).turns().abs()).fold(0.0, f64::max);
    println!("stated {stated:e}, is {is:e}");
    assert!(is < 1.5 * stated && stated < 3.0 * is, "stated {stated:e}, is {is:e}");
}

#[test]
fn a_common_rotation_changes_nothing_between_people() {
    let run = |common: f64| {
        let mut population = crowd(32, 6, |p| common + p);
        population.steps(Span::from_ms(20), 1_000, Strength::new(2.0, 0.3).unwrap());
        (0..32).map(|i| (population.get(i).phase() - population.get(0).phase()).turns()).collect::<Vec<_>>()
    };
    for (slow, fast) in run(0.0).iter().zip(run(TAU * 8.0)) {
        assert!((slow - fast).abs() < 1e-9, "{slow} {fast}");
    }
}

proptest! {
    #[test]
    fn whoever_has_no_coupling_keeps_their_own_rhythm_to_the_bit(
        own: u64, mhz in -40_000i32..40_000, seed: u64, k in 0.0f64..50.0,
        spans in prop::collection::vec(1i64..300_000_000, 1..40), others in 0usize..20,
    ) {
        let mut population = crowd(others, seed, |p| 30.0 * p);
        let mut free = oscillator(own, 0.0, 0.0, 1.0);
        free.frequency = Frequency::from_hz(f64::from(mhz) / 1e3).unwrap();
        population.push(free).unwrap();
        let segment = Segment::constant(NodeTime::from_ns(0), free.own, free.frequency);
        let mut now = 0;
        for span in spans {
            population.step(Span::from_ns(span), Strength::new(k, 0.1).unwrap());
            now += span;
            let is = population.get(others);
            prop_assert_eq!(is.phase(), segment.phase_at(NodeTime::from_ns(now)));
            prop_assert_eq!(is.pulled, PhaseOffset::ZERO);
        }
    }

    #[test]
    fn whoever_has_no_weight_enters_nobodys_equation(own: u64, seed: u64, steps in 1usize..20) {
        let strength = Strength::new(3.0, 0.0).unwrap();
        let (mut without, mut with) = (crowd(9, seed, |p| 4.0 * p), crowd(9, seed, |p| 4.0 * p));
        with.push(oscillator(own, 11.0, 1.0, 0.0)).unwrap();
        without.steps(Span::from_ms(30), steps, strength);
        with.steps(Span::from_ms(30), steps, strength);
        for i in 0..9 {
            prop_assert_eq!(with.get(i), without.get(i));
        }
    }

    #[test]
    fn a_change_between_steps_moves_nobody(seed: u64, index in 0usize..9, coupling in 0.0f32..=1.0, hz in -9.0f64..9.0) {
        let mut population = crowd(9, seed, |p| 4.0 * p);
        population.steps(Span::from_ms(30), 7, Strength::new(3.0, 0.0).unwrap());
        let before = (0..9).map(|i| population.get(i).phase()).collect::<Vec<_>>();
        let frequency = Frequency::from_hz(hz).unwrap();
        population.set(index, Oscillator { coupling, frequency, weight: 0.5, ..population.get(index) }).unwrap();
        prop_assert_eq!(before, (0..9).map(|i| population.get(i).phase()).collect::<Vec<_>>());
    }
}

#[test]
fn numbers_out_of_range_are_refused_in_words() {
    let mut population = crowd(1, 7, |_| 1.0);
    let fine = population.get(0);
    for coupling in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        let told = population.set(0, Oscillator { coupling, ..fine }).unwrap_err().to_string();
        assert!(told.contains("0 (nobody pulls) to 1"), "{told}");
    }
    for weight in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(population.set(0, Oscillator { weight, ..fine }).unwrap_err().to_string().contains("weight"));
    }
    assert_eq!(population.get(0), fine, "nothing changed");
    for (k, lag) in [(-1.0, 0.0), (f64::NAN, 0.0), (101.0, 0.0), (1.0, 4.0), (1.0, f64::NAN)] {
        assert!(Strength::new(k, lag).is_err(), "{k} {lag}");
    }
}
