//! How often one address is answered: a token bucket each, in a table that never grows.
//!
//! No answer is longer than its request, so a flood with a forged sender gains nothing by us; but it still sends that
//! sender as much as it sends us, and costs the honest their turn. So an address that asks faster than any honest house
//! does is told so once in a while (kiss code RATE, RFC 5905, section 7.4) and otherwise left without an answer.
//!
//! A table that grows with the senders could itself be flooded. This one has [`SLOTS`] slots in sets of [`WAYS`]; an
//! address that finds its set full takes the slot whose bucket is fullest, which has least to lose. The set is chosen
//! by a keyed hash, so that nobody can aim at a neighbour's slot. An IPv6 host has 2⁶⁴ addresses of its own, so there
//! the network of 64 bits counts.
use std::net::IpAddr;

use crate::units::{NodeTime, Span, NS_PER_S};

/// Addresses that are watched at once.
pub const SLOTS: usize = 4096;
/// Slots that an address may have.
pub const WAYS: usize = 4;

/// How much is too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateConfig {
    /// Requests a second that are answered for ever.
    pub per_s: u32,
    /// Requests that are answered at once after a long silence.
    pub burst: u32,
    /// Time between two kisses to one address.
    pub kiss_interval: Span,
    /// Whether this machine's own addresses are limited, too.
    pub loopback: bool,
}

impl Default for RateConfig {
    /// A thousand a second, as a hall with a thousand platforms behind one address asks. Loopback is not limited: who
    /// simulates a thousand platforms on one machine is no flood, and nobody else can use those addresses.
    fn default() -> Self {
        Self { per_s: 1000, burst: 8000, kiss_interval: Span::from_s(1), loopback: false }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Answer it.
    Answer,
    /// Answer with the kiss code RATE.
    Kiss,
    /// Do not answer.
    Drop,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The address's own hash; 0 is a free slot.
    name: u64,
    /// Requests in the bucket, in 2⁻¹⁶.
    tokens: u64,
    at_ns: i64,
    kissed_ns: i64,
}

const TOKEN: u64 = 1 << 16;

/// The table. Its size is fixed: about 130 kB.
pub struct RateLimit {
    config: RateConfig,
    key: [u64; 2],
    slots: Box<[Slot]>,
}

impl RateLimit {
    /// An empty table; `key` must be random and secret.
    pub fn new(config: RateConfig, key: [u64; 2]) -> Self {
        Self { config, key, slots: vec![Slot::default(); SLOTS].into() }
    }

    /// What to do with a request from `from` at `now`. Realtime-safe.
    pub fn admit(&mut self, from: IpAddr, now: NodeTime) -> Admission {
        let from = from.to_canonical();
        if from.is_loopback() && !self.config.loopback {
            return Admission::Answer;
        }
        let address = match from {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 | 1 << 63,
        };
        let full = u64::from(self.config.burst.max(1)) * TOKEN;
        let per_s = u64::from(self.config.per_s) * TOKEN;
        let filled = |slot: &Slot| {
            let since_ns = now.ns().saturating_sub(slot.at_ns).max(0) as u128;
            let gained = since_ns * u128::from(per_s) / NS_PER_S as u128;
            (u128::from(slot.tokens) + gained).min(u128::from(full)) as u64
        };
        let name = mix(address, self.key).max(1);
        let set = name as usize % (SLOTS / WAYS) * WAYS;
        let ways = &mut self.slots[set..set + WAYS];
        let way = ways.iter().position(|slot| slot.name == name).unwrap_or_else(|| {
            let level = |slot: &Slot| if slot.name == 0 { u64::MAX } else { filled(slot) };
            let fullest = (0..WAYS).max_by_key(|&i| level(&ways[i])).expect("a set has ways");
            ways[fullest] = Slot { name, tokens: full, at_ns: now.ns(), kissed_ns: i64::MIN };
            fullest
        });
        let slot = &mut ways[way];
        let tokens = filled(slot);
        // Only whole steps of time are taken, so that many small ones gain what one large one does.
        if tokens != slot.tokens || tokens == full {
            slot.tokens = tokens;
            slot.at_ns = now.ns();
        }
        if slot.tokens >= TOKEN {
            slot.tokens -= TOKEN;
            return Admission::Answer;
        }
        if now.ns().saturating_sub(slot.kissed_ns) >= self.config.kiss_interval.ns() {
            slot.kissed_ns = now.ns();
            return Admission::Kiss;
        }
        Admission::Drop
    }
}

/// A keyed hash of one word: two rounds of multiplying and folding. It need not withstand somebody who sees its results.
fn mix(word: u64, key: [u64; 2]) -> u64 {
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide >> 64) as u64 ^ wide as u64
    };
    fold(fold(word ^ key[0], key[1] | 1) ^ key[1], key[0] | 1)
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const CONFIG: RateConfig = RateConfig { per_s: 10, burst: 20, kiss_interval: Span::from_s(1), loopback: false };

    fn limit() -> RateLimit {
        RateLimit::new(CONFIG, [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03])
    }

    fn v4(bits: u32) -> IpAddr {
        Ipv4Addr::from_bits(bits).into()
    }

    const fn ms(ms: i64) -> NodeTime {
        NodeTime::from_ns(ms * 1_000_000)
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_their_rate_nor_less(gaps_ms in prop::collection::vec(0i64..300, 1..400)) {
            let (mut limit, mut now, mut answered, mut expected) = (limit(), 0, 0u64, 20.0f64);
            for gap in gaps_ms {
                now += gap;
                expected = (expected + gap as f64 / 100.0).min(20.0);
                let admitted = limit.admit(v4(0x0A00_0001), ms(now)) == Admission::Answer;
                if admitted { expected -= 1.0; answered += 1; }
                prop_assert!(answered as f64 <= 20.0 + now as f64 / 100.0, "{answered} in {now} ms");
                prop_assert!(admitted || expected < 1.01, "refused with {expected} in the bucket");
                prop_assert!(expected > -0.01, "answered beyond the rate");
            }
        }

        #[test]
        fn kisses_are_rarer_than_one_an_interval(gaps_ms in prop::collection::vec(0i64..20, 1..2000)) {
            let (mut limit, mut now, mut kisses) = (limit(), 0, 0);
            for gap in gaps_ms {
                now += gap;
                kisses += i64::from(limit.admit(v4(1 << 24), ms(now)) == Admission::Kiss);
            }
            prop_assert!(kisses <= 1 + now / 1000);
        }
    }

    #[test]
    fn small_steps_gain_what_large_ones_do() {
        let mut limit = RateLimit::new(RateConfig { per_s: 1, burst: 1, ..CONFIG }, [1, 2]);
        let answered =
            (0..10_000_000i64).filter(|us| limit.admit(v4(9), NodeTime::from_ns(us * 1000)) == Admission::Answer);
        assert_eq!(answered.count(), 10, "ten seconds, one a second");
    }

    #[test]
    fn one_who_floods_takes_nothing_from_another() {
        let mut limit = limit();
        for i in 0..100_000 {
            limit.admit(v4(0x0A00_0001), ms(i / 100));
            if i % 10_000 == 0 {
                assert_eq!(limit.admit(v4(0x0A00_0002), ms(i / 100)), Admission::Answer);
            }
        }
    }

    #[test]
    fn a_flood_of_addresses_does_not_free_the_one_that_floods() {
        let mut limit = limit();
        let loud = v4(0x0A00_0001);
        let mut answered = 0;
        for i in 0..100_000u32 {
            // Whoever is new takes the fullest bucket of a set, and the loud one's is the emptiest.
            limit.admit(v4(0x0B00_0000 + i), ms(0));
            answered += u32::from(limit.admit(loud, ms(0)) == Admission::Answer);
        }
        assert_eq!(answered, 20);
    }

    #[test]
    fn a_host_of_ipv6_is_one_however_many_addresses_it_uses() {
        let mut limit = limit();
        let host = |i: u128| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | i));
        let answered = (0..100).filter(|&i| limit.admit(host(i), ms(0)) == Admission::Answer).count();
        assert_eq!(answered, 20);
        let mapped = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert_eq!(limit.admit(mapped, ms(0)), Admission::Answer, "another host");
    }

    #[test]
    fn this_machine_is_limited_only_if_asked() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (mut free, mut strict) = (limit(), RateLimit::new(RateConfig { loopback: true, ..CONFIG }, [1, 2]));
        let answered =
            |limit: &mut RateLimit| (0..100).filter(|_| limit.admit(local, ms(0)) == Admission::Answer).count();
        assert_eq!((answered(&mut free), answered(&mut strict)), (100, 20));
    }
}
