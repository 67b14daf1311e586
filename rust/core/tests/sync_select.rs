//! Several sources, some of them false: whom the selector believes, and how far anybody can move the clock.
use harmonia_core::filter::{Exchange, Filter, FilterConfig};
use harmonia_core::pool::{PoolConfig, SourcePool};
use harmonia_core::select::{Agreement, Report, SelectConfig, Selection, Selector, SourceId, Standing};
use harmonia_core::servo::LockState;
use harmonia_core::units::{NodeTime, PlatformTime, Span};
use proptest::prelude::*;

const S: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;
const FILTER: FilterConfig =
    FilterConfig { max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 100_000, expected_wander: 3e-9 };

/// A source whose clock is `wrong_ns` ahead of true time, over a path of these delays.
#[derive(Clone, Copy, Debug)]
struct Source {
    wrong_ns: i64,
    up_ns: i64,
    down_ns: i64,
}

/// True time minus platform time at a platform instant: off by 7 s, drifting by `rate`.
fn truth(t: i64, rate: f64) -> i64 {
    7 * S + (t as f64 * rate) as i64
}

fn report(source: Source, from_ns: i64, rate: f64, clock_id: u64) -> Report {
    let mut filter = Filter::new(FILTER);
    let node = |t: i64| NodeTime::from_ns(t + truth(t, rate) + source.wrong_ns);
    for t1 in (0..6).map(|i| from_ns + i * S) {
        let (at, t4) = (t1 + source.up_ns, t1 + source.up_ns + source.down_ns);
        filter.push(Exchange {
            t1: PlatformTime::from_ns(t1),
            t2: node(at),
            t3: node(at),
            t4: PlatformTime::from_ns(t4),
            stamp_error: Span::ZERO,
        });
    }
    Report {
        estimate: filter.estimate().expect("six exchanges"),
        root_bound: Span::ZERO,
        stratum: 2,
        clock_id,
        refid: 0,
    }
}

fn judge(sources: &[Source], rate: f64) -> (Selector, Selection) {
    let mut selector = Selector::new(SelectConfig::default());
    for (id, source) in (0..).zip(sources) {
        selector.update(SourceId(id), report(*source, i64::from(id) * 10 * MS, rate, u64::from(id) + 1));
    }
    let selection = selector.select(PlatformTime::from_ns(6 * S));
    (selector, selection)
}

prop_compose! {
    fn honest()(up_ns in 10_000i64..20 * MS, down_ns in 10_000i64..20 * MS) -> Source {
        Source { wrong_ns: 0, up_ns, down_ns }
    }
}

prop_compose! {
    /// False by anything from less than its own bound to a minute.
    fn liar()(source in honest(), exponent in 3.0..10.8f64, sign in any::<bool>()) -> Source {
        let wrong_ns = 10f64.powf(exponent) as i64;
        Source { wrong_ns: if sign { wrong_ns } else { -wrong_ns }, ..source }
    }
}

prop_compose! {
    /// n = 1 to 9 sources, any number k < n/2 of them false, alone or in league.
    fn electorate()(n in 1usize..10)(k in 0..n.div_ceil(2), n in Just(n),
                    honest in prop::collection::vec(honest(), n), liars in prop::collection::vec(liar(), n),
                    league in any::<bool>(), first in any::<prop::sample::Index>()) -> (Vec<Source>, Vec<bool>) {
        let first = first.index(n);
        let is_false: Vec<bool> = (0..n).map(|i| (i + n - first) % n < k).collect();
        let one_lie = liars[0].wrong_ns;
        let sources = (0..n).map(|i| match is_false[i] {
            false => honest[i],
            true if league => Source { wrong_ns: one_lie, ..liars[i] },
            true => liars[i],
        });
        (sources.collect(), is_false)
    }
}

proptest! {
    #[test]
    fn fewer_than_half_falsetickers_never_move_the_phase_beyond_the_bound((sources, is_false) in electorate(),
                                                                         rate in -4.9e-4..4.9e-4f64,
                                                                         later in 0i64..600 * S) {
        let (_, selection) = judge(&sources, rate);
        prop_assert_eq!(selection.agreement, Agreement::Majority { moved: false });
        let estimate = selection.estimate.unwrap();
        let at = estimate.at.ns();
        let (low, high) = estimate.certified.offset_at(estimate.at);
        let likely = estimate.base_ns + estimate.offset_ns.round() as i64;
        prop_assert!((low..=high).contains(&likely), "{} not in {}..={}", likely, low, high);
        let true_now = truth(at, rate);
        prop_assert!((low..=high).contains(&true_now), "{} not in {}..={}", true_now, low, high);
        // However they lie: never beyond what the widest honest source allows by itself.
        let widest = sources.iter().zip(&is_false).filter(|(_, is_false)| !**is_false)
            .map(|(source, _)| source.up_ns + source.down_ns).max().unwrap();
        prop_assert!((likely - true_now).abs() <= widest + MS, "{} of {}", likely - true_now, widest);
        let (low, high) = estimate.certified.offset_at(PlatformTime::from_ns(at + later));
        let true_later = truth(at + later, rate);
        prop_assert!((low..=high).contains(&true_later), "{} not in {}..={} later", true_later, low, high);
        // Who lies by more than can be explained is named, and nobody honest for the lie of another.
        for ((_, standing), (source, is_false)) in selection.standings.iter().zip(sources.iter().zip(&is_false)) {
            if source.wrong_ns.abs() > 100 * MS {
                prop_assert_eq!(*standing, Standing::Falseticker);
            }
            if !is_false && sources.iter().all(|source| source.wrong_ns.abs() > 100 * MS || source.wrong_ns == 0) {
                prop_assert_eq!(*standing, Standing::Truechimer);
            }
        }
    }

    #[test]
    fn without_a_majority_nobody_is_believed(n in 2usize..10, extra in 0usize..9, honest in prop::collection::vec(honest(), 9),
                                             league: bool) {
        // k ≥ n/2: each false in a way of its own, or exactly half of them in league against the other half.
        let k = if league { n / 2 } else { (n.div_ceil(2) + extra).min(n) };
        prop_assume!(!league || n % 2 == 0);
        let lie = |i: usize| if league { S } else { (i as i64 + 1) * S };
        let sources: Vec<Source> = (0..n)
            .map(|i| Source { wrong_ns: if i < k { lie(i) } else { 0 }, ..honest[i] })
            .collect();
        let agreeing = if league { n / 2 } else { (n - k).max(1) };
        let (mut selector, selection) = judge(&sources, 0.0);
        prop_assert_eq!(selection.agreement, Agreement::NoMajority { agreeing, needed: n / 2 + 1 });
        prop_assert!(selection.estimate.is_none() && selection.stratum == 16);
        prop_assert!(selection.standings.iter().all(|(_, standing)| *standing == Standing::Disputed));
        // When enough liars fall silent, the honest are heard.
        if k < n {
            for id in 0..k as u32 { selector.remove(SourceId(id)); }
            let heard = selector.select(PlatformTime::from_ns(6 * S));
            prop_assert_eq!(heard.agreement, Agreement::Majority { moved: false });
        }
    }
}

const NEAR: Source = Source { wrong_ns: 0, up_ns: 100_000, down_ns: 100_000 };

#[test]
fn a_nearer_source_weighs_more() {
    let far = Source { wrong_ns: 0, up_ns: 30 * MS, down_ns: 10 * MS }; // its floors mislead by 10 ms
    let (_, selection) = judge(&[far, NEAR], 0.0);
    let estimate = selection.estimate.unwrap();
    assert_eq!(selection.reference, Some(SourceId(1)));
    let error = estimate.base_ns - 7 * S + estimate.offset_ns as i64;
    assert!(error.abs() < MS / 10, "{error} ns");
    assert!(estimate.uncertainty_ns.abs() > error.abs() as f64);
}

#[test]
fn a_lower_stratum_is_preferred_among_equals() {
    let mut selector = Selector::new(SelectConfig::default());
    for (id, stratum) in [(0, 3), (1, 1), (2, 2)] {
        selector.update(SourceId(id), Report { stratum, ..report(NEAR, 0, 0.0, u64::from(id) + 1) });
    }
    let selection = selector.select(PlatformTime::from_ns(6 * S));
    assert_eq!((selection.reference, selection.stratum), (Some(SourceId(1)), 2));
}

#[test]
fn who_has_no_vote_is_told_why() {
    let config = SelectConfig { own_clock_id: 77, own_refid: 0x0A00_0001, ..SelectConfig::default() };
    let mut selector = Selector::new(config);
    let good = report(NEAR, 60 * S, 0.0, 1);
    let far = Source { up_ns: 2 * MS, down_ns: 2 * MS, ..NEAR };
    let given = [
        (Report { stratum: 16, clock_id: 2, ..good }, Standing::Unsynchronised),
        (Report { clock_id: 77, ..good }, Standing::Loop),
        (Report { clock_id: 3, refid: 0x0A00_0001, stratum: 3, ..good }, Standing::Loop),
        (report(NEAR, 0, 0.0, 4), Standing::Stale),
        (report(far, 60 * S, 0.0, 1), Standing::Duplicate),
        (good, Standing::Truechimer),
    ];
    for (id, (report, _)) in (0..).zip(given) {
        selector.update(SourceId(id), report);
    }
    let selection = selector.select(PlatformTime::from_ns(70 * S));
    let standings: Vec<_> = selection.standings.iter().map(|(_, standing)| *standing).collect();
    assert_eq!(standings, given.map(|(_, standing)| standing));
    assert_eq!(selection.agreement, Agreement::Majority { moved: false });
    assert_eq!(selector.select(PlatformTime::from_ns(500 * S)).agreement, Agreement::Silence);
}

#[test]
fn a_majority_that_left_its_certificate_is_called_moved() {
    let (mut selector, _) = judge(&[NEAR; 3], 0.0);
    for id in 0..3 {
        let stepped = Source { wrong_ns: S, ..NEAR };
        selector.update(SourceId(id), report(stepped, 10 * S, 0.0, u64::from(id) + 1));
    }
    let at = PlatformTime::from_ns(16 * S);
    assert_eq!(selector.select(at).agreement, Agreement::Majority { moved: true });
    assert_eq!(selector.select(at).agreement, Agreement::Majority { moved: false });
}

#[test]
fn a_fail_over_is_no_step_and_a_dispute_is_holdover_at_once() {
    // Two sources whose floors mislead by 0.4 ms in opposite directions.
    let (late, early) = (Source { up_ns: MS, down_ns: 200_000, ..NEAR }, Source { down_ns: MS, ..NEAR });
    let mut pool = SourcePool::new(PoolConfig::default());
    let hear = |pool: &mut SourcePool, id: u32, source: Source, s: i64| {
        let selection = pool.hear(SourceId(id), report(source, (s - 6) * S, 0.0, u64::from(id) + 1));
        (selection.agreement, selection.at)
    };
    for s in 6..40 {
        hear(&mut pool, 0, late, s);
        hear(&mut pool, 1, early, s);
    }
    // One falls silent; what is left of it grows old and then has no vote.
    let node = |pool: &SourcePool, t| pool.clock().node_at(t);
    for s in 40..200 {
        let at = PlatformTime::from_ns((s - 1) * S);
        let before = node(&pool, at);
        let (agreement, _) = hear(&mut pool, 1, early, s);
        assert_eq!(agreement, Agreement::Majority { moved: false });
        assert_eq!(node(&pool, at), before, "a step at {s} s");
        assert_eq!(pool.clock().state_at(at), LockState::Locked);
    }
    let liar = Source { wrong_ns: 50 * MS, ..NEAR };
    let frequency = pool.clock().rate_ppb_at(PlatformTime::from_ns(199 * S));
    let (agreement, at) = hear(&mut pool, 2, liar, 200);
    assert_eq!(agreement, Agreement::NoMajority { agreeing: 1, needed: 2 });
    assert_eq!(pool.clock().state_at(at), LockState::Holdover);
    assert_eq!(pool.clock().rate_ppb_at(at), frequency);
    let bound = |s: i64| pool.clock().read(at + Span::from_s(s)).bound();
    assert!(bound(10) < bound(20) && bound(20) < bound(400));
    // The liar is removed: the clock is followed again, without a step.
    assert_eq!(pool.remove(SourceId(2), at).agreement, Agreement::Majority { moved: false });
    assert_eq!(pool.clock().state_at(at), LockState::Locked);
}
