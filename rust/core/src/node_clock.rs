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
//! A clock that follows others bends: from the anchor on, the rate first changes evenly over a few [`Ramp`]s of whole
//! seconds. The whole course, corrections that are still to come included, is part of the anchor. So a new process
//! bends exactly as the dead one had meant to, and whoever writes the course down *before* it begins can be killed at
//! any instant. See [`crate::steering`] for how a course is chosen.
//!
//! The anchor moves forward by whole seconds only: over those the rate's share is a whole number of nanoseconds (and
//! that of a ramp, whose slope is even, too), so that re-anchoring rounds nothing, however often it is done.
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::units::{NodeTime, Span, NS_PER_S};

/// TAI minus UTC since 2017, in seconds.
pub const TAI_MINUS_UTC_S: i64 = 37;
/// The fastest that node time may be disciplined, in parts per billion.
pub const RATE_PPB_MAX: i64 = 100_000_000;

/// How often a clock may be stepped, all its processes together. Kept in its file: a daemon that is restarted over and
/// over must not step over and over.
pub const STEPS: u8 = 1;
/// The longest ramp.
pub const RAMP_S_MAX: u32 = 10_000_000;
/// The most ramps of a course.
const RAMPS_MAX: usize = 16;
/// The steepest ramp, either way.
pub const RAMP_PPB_PER_S_MAX: i64 = 1_000_000;

const FORMAT: &str = "harmonia-clock-1";
/// Written once a clock has been disciplined.
const FORMAT_2: &str = "harmonia-clock-2";

/// Why a written anchor cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AnchorError {
    /// Not one line of six fields in this format, or of eight in its successor.
    #[error("this is not a clock file of format {FORMAT}; remove it to begin a new clock")]
    Format,
    /// The checksum disagrees: a torn write or a damaged disk.
    #[error("the clock file is damaged: its checksum disagrees; remove it to begin a new clock")]
    Checksum,
}

/// A stretch of whole seconds over which the rate changes evenly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ramp {
    /// How long, in seconds of the raw clock.
    pub seconds: u32,
    /// Change of the rate, parts per billion a second. Even, so that whole seconds gain whole nanoseconds.
    pub ppb_per_s: i64,
}

/// A line through (raw, node) with a slope, and how it bends: what node time is, in a few numbers.
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
    /// How the rate changes from the anchor on, one after the other; after the last it stays.
    pub ramps: Vec<Ramp>,
    /// How often the clock may still be stepped.
    pub steps_left: u8,
}

impl Anchor {
    /// Node time at `raw_ns`, to the nanosecond (rounded down). Saturates on absurd readings. Realtime-safe.
    pub fn node_at(&self, raw_ns: i64) -> NodeTime {
        const NS: i128 = NS_PER_S as i128;
        let since = i128::from(raw_ns) - i128::from(self.raw_ns);
        // Twice the integral of the rate, in ppb·ns²/s: exact integers up to the one division at the end.
        let (mut twice, mut rate, mut rest) = (0, i128::from(self.rate_ppb), since);
        for ramp in &self.ramps {
            if rest <= 0 {
                break;
            }
            let (lasts, slope) = (i128::from(ramp.seconds) * NS, i128::from(ramp.ppb_per_s));
            let within = rest.min(lasts);
            twice += 2 * NS * rate * within + slope * within * within;
            rate += slope * i128::from(ramp.seconds);
            rest -= within;
        }
        twice += 2 * NS * rate * rest;
        let node = i128::from(self.node_ns) + since + twice.div_euclid(2 * NS * NS);
        NodeTime::from_ns(node.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// The rate at `raw_ns`, parts per billion, rounded down. Realtime-safe.
    pub fn rate_ppb_at(&self, raw_ns: i64) -> i64 {
        let (mut rate, mut rest) = (i128::from(self.rate_ppb), i128::from(raw_ns) - i128::from(self.raw_ns));
        for ramp in &self.ramps {
            let within = rest.clamp(0, i128::from(ramp.seconds) * i128::from(NS_PER_S));
            rate += (i128::from(ramp.ppb_per_s) * within).div_euclid(i128::from(NS_PER_S));
            rest -= within;
        }
        rate as i64
    }

    /// The rate that is left when every ramp is over, parts per billion.
    pub fn settled_ppb(&self) -> i64 {
        self.rate_ppb + self.ramps.iter().map(|ramp| i64::from(ramp.seconds) * ramp.ppb_per_s).sum::<i64>()
    }

    /// One line of text, with a checksum so that a torn write is noticed.
    pub fn to_text(&self) -> String {
        let body = format!(
            "{:016x} {} {} {} {} {}",
            self.clock_id, self.boot_id, self.raw_ns, self.node_ns, self.rate_ppb, self.resumes
        );
        let body = if self.ramps.is_empty() && self.steps_left == STEPS {
            format!("{FORMAT} {body}")
        } else {
            let ramps: Vec<String> = self.ramps.iter().map(|r| format!("{}:{}", r.seconds, r.ppb_per_s)).collect();
            let ramps = if ramps.is_empty() { "-".to_owned() } else { ramps.join(",") };
            format!("{FORMAT_2} {body} {} {ramps}", self.steps_left)
        };
        format!("{body} {}\n", checksum(&body))
    }

    /// Reads what [`Anchor::to_text`] wrote. Errors on anything else.
    pub fn from_text(text: &str) -> Result<Self, AnchorError> {
        let line = text.strip_suffix('\n').ok_or(AnchorError::Format)?;
        let (body, sum) = line.rsplit_once(' ').ok_or(AnchorError::Format)?;
        let fields: Vec<&str> = body.split(' ').collect();
        let ([FORMAT, fields @ ..] | [FORMAT_2, fields @ ..]) = &fields[..] else { return Err(AnchorError::Format) };
        let (&[clock_id, boot_id, raw_ns, node_ns, rate_ppb, resumes], more) = fields
            .split_at_checked(6)
            .and_then(|(six, more)| Some((<&[&str; 6]>::try_from(six).ok()?, more)))
            .ok_or(AnchorError::Format)?;
        if checksum(body) != sum {
            return Err(AnchorError::Checksum);
        }
        let number = |text: &str| text.parse::<i64>().map_err(|_| AnchorError::Format);
        let (steps_left, ramps) = match more {
            [] if body.starts_with(FORMAT) => (STEPS, Vec::new()),
            [steps, ramps] if body.starts_with(FORMAT_2) => {
                (steps.parse().map_err(|_| AnchorError::Format)?, ramps_from(ramps)?)
            }
            _ => return Err(AnchorError::Format),
        };
        Ok(Self {
            clock_id: u64::from_str_radix(clock_id, 16).map_err(|_| AnchorError::Format)?,
            boot_id: boot_id.to_owned(),
            raw_ns: number(raw_ns)?,
            node_ns: number(node_ns)?,
            rate_ppb: number(rate_ppb)?.clamp(-RATE_PPB_MAX, RATE_PPB_MAX),
            resumes: resumes.parse().map_err(|_| AnchorError::Format)?,
            ramps,
            steps_left,
        })
    }
}

fn ramps_from(text: &str) -> Result<Vec<Ramp>, AnchorError> {
    let one = |text: &str| {
        let (seconds, slope) = text.split_once(':')?;
        let ramp = Ramp { seconds: seconds.parse().ok()?, ppb_per_s: slope.parse().ok()? };
        ramp.is_valid().then_some(ramp)
    };
    let ramps: Option<Vec<Ramp>> = if text == "-" { Some(Vec::new()) } else { text.split(',').map(one).collect() };
    ramps.filter(|ramps| ramps.len() <= RAMPS_MAX).ok_or(AnchorError::Format)
}

impl Ramp {
    fn is_valid(self) -> bool {
        self.seconds <= RAMP_S_MAX && self.ppb_per_s % 2 == 0 && self.ppb_per_s.abs() <= RAMP_PPB_PER_S_MAX
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
                ramps: Vec::new(),
                steps_left: STEPS,
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
        let (node_ns, rate_ppb) = (self.node_at(to).ns(), self.anchor.rate_ppb_at(to));
        let (mut past, mut ramps) = (seconds, self.anchor.ramps.clone());
        ramps.retain_mut(|ramp| {
            let over = past.min(i64::from(ramp.seconds));
            ramp.seconds -= over as u32;
            past -= over;
            ramp.seconds > 0
        });
        self.anchor = Anchor { node_ns, rate_ppb, raw_ns: to, ramps, ..self.anchor.clone() };
    }

    /// From `raw_ns` on, node time runs `rate_ppb` faster than the raw clock (limited to ±10 %). It does not jump.
    pub fn set_rate(&mut self, raw_ns: i64, rate_ppb: i64) {
        let rate_ppb = rate_ppb.clamp(-RATE_PPB_MAX, RATE_PPB_MAX);
        let node_ns = self.node_at(raw_ns).ns();
        self.anchor = Anchor { node_ns, raw_ns, rate_ppb, ramps: Vec::new(), ..self.anchor.clone() };
    }

    /// The first instant from `raw_ns` on at which [`NodeClock::bend`] may begin: whole seconds after the anchor.
    pub fn next_second(&self, raw_ns: i64) -> i64 {
        let since = raw_ns.saturating_sub(self.anchor.raw_ns).max(0);
        self.anchor.raw_ns + since.saturating_add(NS_PER_S - 1) / NS_PER_S * NS_PER_S
    }

    /// From `at_raw_ns` on the clock follows `course` in place of what it had meant to do. Before, nothing changes, and
    /// it neither jumps nor (as all rates are above −100 %) runs backwards.
    ///
    /// # Panics
    /// If `at_raw_ns` is not from [`NodeClock::next_second`], or a ramp breaks its limits.
    pub fn bend(&mut self, at_raw_ns: i64, course: &[Ramp]) {
        assert_eq!((at_raw_ns - self.anchor.raw_ns).rem_euclid(NS_PER_S), 0, "bends begin at whole seconds");
        assert!(at_raw_ns >= self.anchor.raw_ns && course.iter().all(|ramp| ramp.is_valid()));
        let mut before = (at_raw_ns - self.anchor.raw_ns) / NS_PER_S;
        let mut ramps = Vec::with_capacity(course.len() + 2);
        for ramp in &self.anchor.ramps {
            let kept = before.min(i64::from(ramp.seconds));
            ramps.push(Ramp { seconds: kept as u32, ..*ramp });
            before -= kept;
        }
        while before > 0 {
            let kept = before.min(i64::from(RAMP_S_MAX));
            ramps.push(Ramp { seconds: kept as u32, ppb_per_s: 0 });
            before -= kept;
        }
        ramps.extend_from_slice(course);
        ramps.retain(|ramp| ramp.seconds > 0);
        assert!(ramps.len() <= RAMPS_MAX, "re-anchor first: {} ramps", ramps.len());
        self.anchor.ramps = ramps;
    }

    /// Sets the clock to `node` at `raw_ns`, running at `rate_ppb`, and takes it from the budget. Node time begins anew
    /// with that: the clock has a new `clock_id`, so that everybody who knew it notices. `false` if none is left.
    #[must_use]
    pub fn step(&mut self, raw_ns: i64, node: NodeTime, rate_ppb: i64) -> bool {
        let Some(steps_left) = self.anchor.steps_left.checked_sub(1) else { return false };
        let fresh = Self::new(&format!("{}{:016x}", self.anchor.boot_id, self.anchor.clock_id), raw_ns, node.ns());
        self.anchor = Anchor {
            clock_id: fresh.anchor.clock_id,
            raw_ns,
            node_ns: node.ns(),
            rate_ppb: rate_ppb.clamp(-RATE_PPB_MAX, RATE_PPB_MAX),
            ramps: Vec::new(),
            steps_left,
            ..self.anchor.clone()
        };
        true
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn ramp()(seconds in 0u32..100, half in -5_000i64..5_000) -> Ramp {
            Ramp { seconds, ppb_per_s: 2 * half }
        }
    }

    prop_compose! {
        fn clock()(raw in 0i64..1_000_000_000_000_000, real in 0i64..2_000_000_000_000_000_000,
                   rate in -500_000i64..500_000, ramps in prop::collection::vec(ramp(), 0..5)) -> NodeClock {
            let mut clock = NodeClock::new("b007", raw, real);
            clock.set_rate(raw, rate);
            clock.bend(raw, &ramps);
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
        fn a_bend_changes_nothing_before_it_begins_and_jumps_nowhere(
            clock in clock(), from in 0i64..600_000_000_000, course in prop::collection::vec(ramp(), 0..5),
            probes in prop::collection::vec(0i64..600_000_000_000, 20)) {
            let start = clock.anchor().raw_ns;
            let at = clock.next_second(start + from);
            prop_assert!((from..from + NS_PER_S).contains(&(at - start)));
            let mut bent = clock.clone();
            bent.bend(at, &course);
            for probe in probes.iter().map(|probe| start + probe).filter(|probe| *probe <= at).chain([at, start - 5]) {
                prop_assert_eq!(bent.node_at(probe), clock.node_at(probe));
            }
            for probe in probes {
                let (here, next) = (bent.node_at(start + probe), bent.node_at(start + probe + 1));
                prop_assert!((0..=2).contains(&(next - here).ns()), "{:?} {:?}", here, next);
                let rate = bent.anchor().rate_ppb_at(start + probe);
                let gained = (bent.node_at(start + probe + 1_000_000) - here).ns() - 1_000_000;
                prop_assert!((gained - rate / 1000).abs() <= 13, "{} {}", gained, rate); // 10,000 ppb/s for 1 ms
            }
            let last = course.iter().map(|ramp| i64::from(ramp.seconds)).sum::<i64>() * NS_PER_S;
            prop_assert_eq!(bent.anchor().rate_ppb_at(at + last), bent.anchor().settled_ppb());
        }

        #[test]
        fn a_clock_is_stepped_once_in_its_life_and_then_is_another(clock in clock(), to: i32, rate in -500i64..500) {
            let mut stepped = clock.clone();
            let raw = clock.anchor().raw_ns + 5;
            prop_assert!(stepped.step(raw, NodeTime::from_ns(i64::from(to)), rate));
            prop_assert_eq!(stepped.node_at(raw).ns(), i64::from(to));
            prop_assert!(stepped.clock_id() != clock.clock_id());
            let (mut resumed, same) = NodeClock::resume_text(&stepped.anchor().to_text(), "b007", raw, 7).unwrap();
            prop_assert!(same);
            let before = resumed.clone();
            prop_assert!(!resumed.step(raw, NodeTime::from_ns(0), 0), "a restart gives no new step");
            prop_assert_eq!(resumed, before);
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
