//! A node that lies: whatever numbers its answers hold, a session neither panics nor lets its clock run backwards.
use harmonia_core::packet::{respond, NodeInfo, CIRCLE_PACKET_LEN, HEADER_LEN};
use harmonia_core::session::{SyncConfig, SyncSession};
use harmonia_core::units::{NodeTime, PlatformTime, Span};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -3i64..3, Just(i64::MIN), Just(i64::MAX), -2_000_000_000i64..2_000_000_000]
}

proptest! {
    #[test]
    fn no_answer_panics_or_turns_the_clock_back(
        lies in prop::collection::vec((prop::bool::weighted(0.9), number(), number(), any::<u64>(), 0i64..3_000_000_000), 1..60),
        shift in number(),
        start in prop_oneof![Just(0i64), -400_000_000_000_000_000i64..400_000_000_000_000_000],
        probes in prop::collection::vec(number(), 2..8),
    ) {
        let mut session = SyncSession::new(SyncConfig::default(), 7);
        let mut now = PlatformTime::from_ns(start);
        for (plain, t2, stay, bound_ns, wait) in lies {
            now += Span::from_ns(wait);
            let mut request = [0; CIRCLE_PACKET_LEN];
            if session.poll_transmit(now, &mut request).is_none() {
                continue;
            }
            now += Span::from_us(50);
            let mut answer = [0; CIRCLE_PACKET_LEN];
            // Most lies agree with each other, so that the clock locks onto them.
            let (t2, stay) = if plain { (now.ns().saturating_add(shift), 1_000) } else { (t2, stay) };
            let t3 = t2.saturating_add(stay);
            respond(&request, NodeTime::from_ns(t2), NodeTime::from_ns(t3), &NodeInfo::root(if plain || bound_ns % 2 == 0 { 1 } else { 2 }), &mut answer).unwrap();
            answer[HEADER_LEN + 32..HEADER_LEN + 40].copy_from_slice(&bound_ns.to_be_bytes());
            now += Span::from_us(50);
            let _ = session.handle_input(now, Span::from_ns(100), &answer);
            let clock = session.clock();
            let mut times: Vec<_> = probes.iter().map(|p| now + Span::from_ns(*p % 100_000_000_000)).collect();
            times.sort_unstable();
            let readings: Vec<_> = times.iter().map(|t| clock.read(*t).node).collect();
            prop_assert!(readings.windows(2).all(|pair| pair[0] <= pair[1]), "{readings:?}");
            for probe in &probes {
                let _ = (clock.read(PlatformTime::from_ns(*probe)).bound(), clock.platform_at(NodeTime::from_ns(*probe)));
            }
        }
    }
}
