//! The simulator's own laws: its clocks, delays and rival are what they say.
use harmonia_core::units::Span;
use harmonia_sim::dice::Dice;
use harmonia_sim::regression::Regression;
use harmonia_sim::scenarios::all;
use harmonia_sim::world::{Crystal, Jitter, Queue, Way, WrongClock, MS, S};

#[test]
fn a_clock_and_its_inverse_agree() {
    let crystal = Crystal { thermal: (1e-4, 60.0), ..Crystal::new(-0.05, 1e-6) };
    let clock = WrongClock::new(&crystal, 100, &mut Dice::new(3));
    for true_ns in (0..100).map(|i| i * 999_999_937) {
        let back = clock.when(clock.read(true_ns));
        assert!((back - true_ns).abs() <= 3, "{true_ns} {back}");
    }
}

#[test]
fn a_clock_gains_what_its_frequency_says() {
    let clock = WrongClock::new(&Crystal::new(5e-5, 0.0), 100, &mut Dice::new(3));
    let gained = clock.read(80 * S) - clock.read(0) - Span::from_s(80);
    assert!((gained.ns() - 4 * MS).abs() <= 2, "{gained:?}");
}

#[test]
fn delays_have_their_floors_and_means() {
    let mean = |jitter: Jitter| {
        let (mut queue, mut dice) = (Queue::default(), Dice::new(5));
        let way = Way::with(MS, jitter);
        let delays: Vec<i64> = (0..20_000).filter_map(|i| queue.delay_ns(&way, i * S, &mut dice)).collect();
        assert!(delays.iter().all(|delay| *delay >= MS));
        delays.iter().map(|delay| (delay - MS) as f64).sum::<f64>() / delays.len() as f64
    };
    for (jitter, expected) in [
        (Jitter::Exponential(1e6), 1e6),
        (Jitter::Gamma(4, 5e5), 1e6),
        (Jitter::Gamma(1, 2e6), 1e6),
        (Jitter::LogNormal(1e6, 0.4), 1e6 * 0.08f64.exp()),
        (Jitter::Uniform(2e6), 1e6),
        (Jitter::Humps(0.4, 4e6, 5e5), 2.1e6),
        (Jitter::Memory(20.0, 2e6, 2e5), 2e6 * (0.5 / std::f64::consts::PI).sqrt() + 2e5),
    ] {
        let found = mean(jitter);
        assert!((found / expected - 1.0).abs() < 0.12, "{jitter:?}: {found} is not about {expected}");
    }
}

#[test]
fn the_rival_is_a_fair_one() {
    // Over a straight line with normal errors it does as a line through its samples should: 2σ/√64 at its end.
    let (mut regression, mut dice, mut squares) = (Regression::default(), Dice::new(7), 0.0);
    for i in 0..2000 {
        let truth = f64::from(i) * 50_000.0;
        if i >= 100 {
            squares += (regression.offset_ns(f64::from(i)).unwrap() - truth).powi(2);
        }
        regression.push(f64::from(i), truth + 1000.0 * dice.normal(), 1e6);
    }
    let rms = (squares / 1900.0f64).sqrt();
    assert!((200.0..350.0).contains(&rms), "{rms}: about 250 is expected");
}

#[test]
fn numbers_name_scenarios_and_every_one_has_limits() {
    let numbers: Vec<u32> = all().iter().map(|scenario| scenario.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(all().iter().all(|scenario| !scenario.limits.is_empty()));
}
