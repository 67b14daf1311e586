//! A sanctuary's own clock, across crashes.
//!
//! Every phase of a circle is a function of node time, so node time must survive the process that keeps it. A wall
//! clock read again after a restart is not the same clock: at 50 ppm it and the raw clock part by 1.4 s in a night.
//! But the kernel's raw clock runs on while a process dies, so node time is defined as a line over it,
//!
//! ```text
//! node(raw) = node_ns + (raw − raw_ns) + (raw − raw_ns)·rate_ppb / 10⁹
//! ```
//!
//! and the line's [`Anchor`] is written to a file every second. Within the same boot a new process reads it and
//! continues *exactly*: not a nanosecond is lost, however long the process was dead. After a reboot the raw clock has
//! begun anew and nobody knows how long the machine was off: then the clock is a new one, with a new `clock_id`, so
//! that every platform notices and begins anew too.
//!
//! The anchor moves forward by whole seconds only: over those the rate's share is a whole number of nanoseconds, so
//! that re-anchoring rounds nothing, however often it is done.
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::units::{NodeTime, Span, NS_PER_S};

/// TAI minus UTC since 2017, in seconds.
pub const TAI_MINUS_UTC_S: i64 = 37;
/// The fastest that node time may be disciplined, in parts per billion.
pub const RATE_PPB_MAX: i64 = 100_000_000;

const FORMAT: &str = "harmonia-clock-1";

/// Why a written anchor cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AnchorError {
    /// Not one line of six fields in this format.
    #[error("this is not a clock file of format {FORMAT}; remove it to begin a new clock")]
    Format,
    /// The checksum disagrees: a torn write or a damaged disk.
    #[error("the clock file is damaged: its checksum disagrees; remove it to begin a new clock")]
    Checksum,
}

/// A line through (raw, node) with a slope: what node time is, in six numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Which clock this is.
    pub clock_id: u64,
    /// The boot in which `raw_ns` was read; raw clocks of different boots have nothing in common.
    pub boot_id: String,
    /// The raw clock at the anchor, in ns.
    pub raw_ns: i64,
    /// Node time at the anchor, in ns.
    pub node_ns: i64,
    /// How much faster than the raw clock node time runs, in parts per billion.
    pub rate_ppb: i64,
    /// How often this clock was taken up again by a new process.
    pub resumes: u64,
}

impl Anchor {
    /// Node time at `raw_ns`, to the nanosecond (rounded down). Saturates on absurd readings. Realtime-safe.
    pub fn node_at(&self, raw_ns: i64) -> NodeTime {
        let since = i128::from(raw_ns) - i128::from(self.raw_ns);
        let gained = (since * i128::from(self.rate_ppb)).div_euclid(i128::from(NS_PER_S));
        let node = i128::from(self.node_ns) + since + gained;
        NodeTime::from_ns(node.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// One line of text, with a checksum so that a torn write is noticed.
    pub fn to_text(&self) -> String {
        let body = format!(
            "{FORMAT} {:016x} {} {} {} {} {}",
            self.clock_id, self.boot_id, self.raw_ns, self.node_ns, self.rate_ppb, self.resumes
        );
        format!("{body} {}\n", checksum(&body))
    }

    /// Reads what [`Anchor::to_text`] wrote. Errors on anything else.
    pub fn from_text(text: &str) -> Result<Self, AnchorError> {
        let line = text.strip_suffix('\n').ok_or(AnchorError::Format)?;
        let (body, sum) = line.rsplit_once(' ').ok_or(AnchorError::Format)?;
        let fields: Vec<&str> = body.split(' ').collect();
        let [FORMAT, clock_id, boot_id, raw_ns, node_ns, rate_ppb, resumes] = fields[..] else {
            return Err(AnchorError::Format);
        };
        if checksum(body) != sum {
            return Err(AnchorError::Checksum);
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| AnchorError::Format);
        Ok(Self {
            clock_id: u64::from_str_radix(clock_id, 16).map_err(|_| AnchorError::Format)?,
            boot_id: boot_id.to_owned(),
            raw_ns: number(raw_ns)?,
            node_ns: number(node_ns)?,
            rate_ppb: number(rate_ppb)?.clamp(-RATE_PPB_MAX, RATE_PPB_MAX),
            resumes: resumes.parse().map_err(|_| AnchorError::Format)?,
        })
    }
}

fn checksum(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A sanctuary's clock: raw time in, node time out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeClock {
    anchor: Anchor,
}

impl NodeClock {
    /// A new clock: node time is `realtime_ns` (UTC since 1970) plus 37 s at raw time `raw_ns` of boot `boot_id`.
    ///
    /// The `clock_id` follows from the three arguments, which no two clocks share.
    pub fn new(boot_id: &str, raw_ns: i64, realtime_ns: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update(boot_id.as_bytes());
        hash.update(raw_ns.to_be_bytes());
        hash.update(realtime_ns.to_be_bytes());
        let digest = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        // A space would end the field in the file, and an empty field would be none.
        let boot_id = if boot_id.is_empty() { "unknown".to_owned() } else { boot_id.replace(char::is_whitespace, "_") };
        let node = NodeTime::from_ns(realtime_ns) + Span::from_s(TAI_MINUS_UTC_S);
        Self {
            anchor: Anchor {
                clock_id: u64::from_be_bytes(id).max(1), // 0 means a stranger's clock
                boot_id,
                raw_ns,
                node_ns: node.ns(),
                rate_ppb: 0,
                resumes: 0,
            },
        }
    }

    /// Takes up the clock written in `anchor` if it belongs to this boot, else begins a new one.
    ///
    /// Returns the clock and whether it is the former one. `raw_ns` and `realtime_ns` are what the machine's clocks say
    /// now. A resumed clock continues exactly, and counts the resumption.
    pub fn resume(anchor: Anchor, boot_id: &str, raw_ns: i64, realtime_ns: i64) -> (Self, bool) {
        let new = Self::new(boot_id, raw_ns, realtime_ns);
        // A raw clock that stands before its own anchor is another boot's, whatever the name says.
        if anchor.boot_id != new.anchor.boot_id || raw_ns < anchor.raw_ns {
            return (new, false);
        }
        (Self { anchor: Anchor { resumes: anchor.resumes + 1, ..anchor } }, true)
    }

    /// [`NodeClock::resume`] from the text of a clock file. Errors on a damaged file, which the operator must judge.
    pub fn resume_text(text: &str, boot_id: &str, raw_ns: i64, realtime_ns: i64) -> Result<(Self, bool), AnchorError> {
        Ok(Self::resume(Anchor::from_text(text)?, boot_id, raw_ns, realtime_ns))
    }

    /// The line that this clock is.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Which clock this is.
    pub fn clock_id(&self) -> u64 {
        self.anchor.clock_id
    }

    /// Node time at `raw_ns`. Realtime-safe.
    pub fn node_at(&self, raw_ns: i64) -> NodeTime {
        self.anchor.node_at(raw_ns)
    }

    /// Moves the anchor to the last whole second (of the raw clock, since the anchor) up to `raw_ns`.
    ///
    /// Node time stays the same function to the nanosecond. Write the anchor down afterwards.
    pub fn advance(&mut self, raw_ns: i64) {
        let seconds = raw_ns.saturating_sub(self.anchor.raw_ns).max(0) / NS_PER_S;
        let to = self.anchor.raw_ns + seconds * NS_PER_S;
        self.anchor = Anchor { node_ns: self.node_at(to).ns(), raw_ns: to, ..self.anchor.clone() };
    }

    /// From `raw_ns` on, node time runs `rate_ppb` faster than the raw clock (limited to ±10 %). It does not jump.
    pub fn set_rate(&mut self, raw_ns: i64, rate_ppb: i64) {
        let rate_ppb = rate_ppb.clamp(-RATE_PPB_MAX, RATE_PPB_MAX);
        self.anchor = Anchor { node_ns: self.node_at(raw_ns).ns(), raw_ns, rate_ppb, ..self.anchor.clone() };
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn clock()(raw in 0i64..1_000_000_000_000_000, real in 0i64..2_000_000_000_000_000_000,
                   rate in -500_000i64..500_000) -> NodeClock {
            let mut clock = NodeClock::new("b007", raw, real);
            clock.set_rate(raw, rate);
            clock
        }
    }

    proptest! {
        #[test]
        fn an_anchor_survives_its_file(clock in clock(), resumes: u64) {
            let anchor = Anchor { resumes, ..clock.anchor().clone() };
            prop_assert_eq!(Anchor::from_text(&anchor.to_text()), Ok(anchor));
        }

        #[test]
        fn advancing_changes_no_nanosecond(clock in clock(), steps in prop::collection::vec(0i64..5_000_000_000, 1..50),
                                           later in 0i64..100_000_000_000_000) {
            let mut moved = clock.clone();
            let mut raw = clock.anchor().raw_ns;
            for step in steps {
                raw += step;
                moved.advance(raw);
                prop_assert!(raw - moved.anchor().raw_ns < NS_PER_S);
                prop_assert_eq!(moved.node_at(raw), clock.node_at(raw));
                prop_assert_eq!(moved.node_at(raw + later), clock.node_at(raw + later));
            }
        }

        #[test]
        fn a_new_rate_begins_where_the_old_one_ended(clock in clock(), after in 0i64..100_000_000_000_000,
                                                     rate in -500_000i64..500_000) {
            let mut bent = clock.clone();
            let raw = clock.anchor().raw_ns + after;
            bent.set_rate(raw, rate);
            prop_assert_eq!(bent.node_at(raw), clock.node_at(raw));
            let gained = (bent.node_at(raw + NS_PER_S) - bent.node_at(raw)).ns() - NS_PER_S;
            prop_assert_eq!(gained, rate);
        }

        #[test]
        fn within_a_boot_a_restart_resumes_exactly(clock in clock(), lived in 0i64..100_000_000_000_000,
                                                   dead in 0i64..100_000_000_000_000, wall: i32,
                                                   later in 0i64..1_000_000_000_000) {
            let mut running = clock;
            let raw = running.anchor().raw_ns + lived;
            running.advance(raw);
            let text = running.anchor().to_text();
            let now = raw + dead;
            let (resumed, same) = NodeClock::resume_text(&text, "b007", now, i64::from(wall)).unwrap();
            prop_assert!(same);
            prop_assert_eq!(resumed.clock_id(), running.clock_id());
            prop_assert_eq!(resumed.anchor().resumes, 1);
            prop_assert_eq!(resumed.node_at(now + later), running.node_at(now + later));
        }

        #[test]
        fn after_a_reboot_the_clock_is_a_new_one(clock in clock(), up in -1_000_000_000_000i64..1_000_000_000_000,
                                                 real in 0i64..2_000_000_000_000_000_000) {
            let raw = clock.anchor().raw_ns + up; // nothing but the name of the boot tells, if it has been up for long
            let (new, same) = NodeClock::resume(clock.anchor().clone(), "another", raw, real);
            prop_assert!(!same);
            prop_assert!(new.clock_id() != clock.clock_id());
            prop_assert_eq!(new.node_at(raw).ns(), real + 37 * NS_PER_S);
            prop_assert_eq!(new.anchor().rate_ppb, 0);
        }

        #[test]
        fn a_torn_or_flipped_file_is_noticed(clock in clock(), at in 0usize..1000, bit in 0u8..7) {
            let text = clock.anchor().to_text();
            let torn = &text[..at % text.len()];
            prop_assert!(Anchor::from_text(torn).is_err());
            let mut bytes = text.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(bytes) {
                prop_assert!(Anchor::from_text(&flipped).is_err(), "{flipped:?}");
            }
        }
    }

    #[test]
    fn a_raw_clock_before_its_anchor_is_another_boots() {
        let clock = NodeClock::new("b007", 5_000, 0);
        assert!(!NodeClock::resume(clock.anchor().clone(), "b007", 4_999, 0).1);
        assert!(NodeClock::resume(clock.anchor().clone(), "b007", 5_000, 0).1);
    }

    #[test]
    fn a_boot_id_with_spaces_does_not_break_its_file() {
        for boot in ["", "a b", "a\nb"] {
            let clock = NodeClock::new(boot, 1, 2);
            let (_, same) = NodeClock::resume_text(&clock.anchor().to_text(), boot, 3, 4).unwrap();
            assert!(same, "{boot:?}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        for (text, expected) in [("", AnchorError::Format), ("nonsense\n", AnchorError::Format)] {
            assert_eq!(Anchor::from_text(text), Err(expected));
        }
        let text = NodeClock::new("b007", 1, 2).anchor().to_text().replace(" 1 ", " 3 ");
        let refused = Anchor::from_text(&text).unwrap_err();
        assert_eq!(refused, AnchorError::Checksum);
        assert!(refused.to_string().contains("remove it"));
    }
}
