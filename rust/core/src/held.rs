//! What a sanctuary knew of the truth, across crashes.
//!
//! A sanctuary that follows others states how wrong its clock may be. [`crate::node_clock`] lets its clock survive the
//! process; without more the statement would not, and a clock that is right to microseconds would have to say "perhaps
//! 16 s" until its sources were measured anew: strangers would refuse it, and platforms would be told a bound that
//! proves nothing.
//!
//! But what was certified was certified about the raw clock, which runs on while the process is dead: a certificate
//! ([`Certified`]) holds for ever, growing by the stated drift and wander. So it is written down once a second, and
//! whoever takes over the clock takes over the certificate, as old as it is. It is in holdover with it until its sources
//! agree again.
//!
//! It is refused where the raw clock is not the same one: after a reboot, and after a suspend, through which the raw
//! clock stands still. And where it is about something else: another clock, or other sources, whose root of time may be
//! another.
use sha2::{Digest, Sha256};

use crate::filter::{Certified, Estimate, NUMBERS};
use crate::units::{PlatformTime, Span};

const FORMAT: &str = "harmonia-held-1";
/// The two clocks that tell how long the machine was suspended are read one after the other.
const SUSPEND_MIN: Span = Span::from_ms(50);
/// Numbers of an estimate besides its certificate's.
const LIKELY: usize = 5;

/// What the last majority of a sanctuary's sources said. [`Copy`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Held {
    /// What is likely and what is certain, over the raw clock.
    pub estimate: Estimate,
    /// One more than that of the source followed.
    pub stratum: u8,
    /// Round trip to the root of the time.
    pub root_delay: Span,
    /// Whom it followed.
    pub refid: u32,
    /// Leap indicator.
    pub leap: u8,
}

/// What a [`Held`] is about; it says nothing to anybody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The clock that follows.
    pub clock_id: u64,
    /// The boot in which it does.
    pub boot_id: String,
    /// How long the machine has been suspended in this boot.
    pub suspended: Span,
    /// [`followed`].
    pub followed: u64,
}

/// A number for a set of sources, by their names; their order does not matter.
pub fn followed<'a>(names: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    let digest = Sha256::digest(names.join("\n").as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

impl About {
    fn fits(&self, other: &Self) -> bool {
        let same_raw_clock = self.boot_id == other.boot_id && (self.suspended - other.suspended).abs() < SUSPEND_MIN;
        same_raw_clock && self.clock_id == other.clock_id && self.followed == other.followed
    }
}

impl Held {
    /// One line of text, with a checksum so that a torn write is noticed. Numbers keep every bit.
    pub fn to_text(&self, about: &About) -> String {
        let Estimate { at, base_ns, offset_ns, rate_ppb, uncertainty_ns, uncertainty_rate_ppb, wander_ppb, certified } =
            self.estimate;
        let ([certified_at, certified_base], numbers) = certified.to_numbers();
        let boot_id = about.boot_id.replace(char::is_whitespace, "_");
        let whole = format!(
            "{FORMAT} {:016x} {boot_id}- {} {:016x} {} {} {} {} {} {base_ns} {certified_at} {certified_base}",
            about.clock_id,
            about.suspended.ns(),
            about.followed,
            self.stratum,
            self.root_delay.ns(),
            self.refid,
            self.leap,
            at.ns(),
        );
        let likely: [f64; LIKELY] = [offset_ns, rate_ppb, uncertainty_ns, uncertainty_rate_ppb, wander_ppb];
        let broken: Vec<String> = likely.iter().chain(&numbers).map(|number| format!("{number:e}")).collect();
        let body = format!("{whole} {}", broken.join(" "));
        format!("{body} {}\n", checksum(&body))
    }

    /// What `text` holds about exactly this; `None` for everything else.
    pub fn from_text(text: &str, about: &About) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if checksum(body) != sum {
            return None;
        }
        let mut fields = body.split(' ');
        let mut next = || fields.next();
        if next()? != FORMAT {
            return None;
        }
        let written = About {
            clock_id: u64::from_str_radix(next()?, 16).ok()?,
            boot_id: next()?.strip_suffix('-')?.to_owned(),
            suspended: Span::from_ns(next()?.parse().ok()?),
            followed: u64::from_str_radix(next()?, 16).ok()?,
        };
        let boot_id = about.boot_id.replace(char::is_whitespace, "_");
        if !written.fits(&About { boot_id, ..about.clone() }) {
            return None;
        }
        let stratum = next()?.parse().ok()?;
        let root_delay = Span::from_ns(next()?.parse().ok()?);
        let refid = next()?.parse().ok()?;
        let leap = next()?.parse().ok()?;
        let at = PlatformTime::from_ns(next()?.parse().ok()?);
        let base_ns = next()?.parse().ok()?;
        let certified = [next()?.parse().ok()?, next()?.parse().ok()?];
        let rest: Vec<f64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
        let (likely, numbers) = rest.split_at_checked(LIKELY)?;
        let [offset_ns, rate_ppb, uncertainty_ns, uncertainty_rate_ppb, wander_ppb] = likely.try_into().ok()?;
        let certified = Certified::from_numbers(certified, <[f64; NUMBERS]>::try_from(numbers).ok()?)?;
        let estimate =
            Estimate { at, base_ns, offset_ns, rate_ppb, uncertainty_ns, uncertainty_rate_ppb, wander_ppb, certified };
        likely.iter().all(|number| number.is_finite()).then_some(Self { estimate, stratum, root_delay, refid, leap })
    }
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::filter::{Exchange, Filter, FilterConfig};
    use crate::units::NodeTime;
    use proptest::prelude::*;

    fn about() -> About {
        About { clock_id: 7, boot_id: "b007".into(), suspended: Span::from_s(3), followed: followed(["a", "b"]) }
    }

    prop_compose! {
        /// What exchanges with a clock say that is `ahead` and gains `drift` parts per billion.
        fn held()(start in 0i64..1_000_000_000_000_000, ahead in -1_000_000_000_000i64..2_000_000_000_000_000_000,
                  drift in -200_000i64..200_000, delays in prop::collection::vec(10_000i64..900_000, 2..40),
                  stratum in 1u8..16, root_delay in 0i64..1_000_000_000, refid in any::<u32>(), leap in 0u8..4)
                 -> (Held, i64, i64, i64) {
            let config = FilterConfig {
                max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 100_000, expected_wander: 3e-9,
            };
            let mut filter = Filter::new(config);
            let gained = |raw: i64| (i128::from(raw - start) * i128::from(drift) / 1_000_000_000) as i64;
            let node = |raw: i64| NodeTime::from_ns(raw + ahead + gained(raw));
            for (second, delay) in (0..).zip(&delays) {
                let t1 = start + second * 1_000_000_000;
                let (arrived, t4) = (t1 + delay, t1 + delay + 77_777);
                let _ = filter.push(Exchange {
                    t1: PlatformTime::from_ns(t1), t2: node(arrived), t3: node(arrived), t4: PlatformTime::from_ns(t4),
                    stamp_error: Span::from_ns(2),
                });
            }
            let estimate = filter.estimate().unwrap();
            (Held { estimate, stratum, root_delay: Span::from_ns(root_delay), refid, leap }, start, ahead, drift)
        }
    }

    proptest! {
        #[test]
        fn it_survives_its_file_to_the_bit((held, ..) in held()) {
            prop_assert_eq!(Held::from_text(&held.to_text(&about()), &about()), Some(held));
        }

        #[test]
        fn what_is_read_holds_the_truth_however_long_nobody_ran(
            (held, start, ahead, drift) in held(), dead in 0i64..100_000_000_000_000) {
            let read = Held::from_text(&held.to_text(&about()), &about()).unwrap();
            let now = read.estimate.at + Span::from_ns(dead);
            let truth = ahead + (i128::from(now.ns() - start) * i128::from(drift) / 1_000_000_000) as i64;
            let (low, high) = read.estimate.certified.offset_at(now);
            prop_assert!(low <= truth && truth <= high, "{} {} {}", low, truth, high);
        }

        #[test]
        fn a_torn_or_flipped_file_is_noticed((held, ..) in held(), at: prop::sample::Index, bit in 0u8..7) {
            let text = held.to_text(&about());
            prop_assert_eq!(Held::from_text(&text[..at.index(text.len())], &about()), None);
            let mut bytes = text.into_bytes();
            let i = at.index(bytes.len());
            bytes[i] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(bytes) {
                prop_assert_eq!(Held::from_text(&flipped, &about()), None);
            }
        }

        #[test]
        fn it_says_nothing_about_anything_else((held, ..) in held(), clock_id in 8u64.., slept in 1i64..100_000) {
            let text = held.to_text(&about());
            for other in [
                About { clock_id, ..about() },
                About { boot_id: "another".into(), ..about() },
                About { suspended: about().suspended + Span::from_ms(50 + slept), ..about() },
                About { followed: followed(["a"]), ..about() },
            ] {
                prop_assert_eq!(Held::from_text(&text, &other), None, "{:?}", other);
            }
            // The clocks that tell a suspend are not read at one instant.
            let noisy = About { suspended: about().suspended + Span::from_us(900), ..about() };
            prop_assert_eq!(Held::from_text(&text, &noisy), Some(held));
        }
    }

    #[test]
    fn sources_are_a_set() {
        assert_eq!(followed(["a", "b"]), followed(["b", "a"]));
        assert_ne!(followed(["a", "b"]), followed(["ab"]));
    }
}
