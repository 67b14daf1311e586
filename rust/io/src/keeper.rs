//! Keeps the node clock: writes it down every second, and leads it after its sources where there are any.
//!
//! Everything that the clock will do is in its file before it does it. A change of course begins at a whole second in
//! the near future; it is written down first, and only then published. So whenever the process is killed, the file
//! tells its successor the very course that this one was on, to the nanosecond. If the disk is too slow for that, the
//! change is taken back; if it is full, the clock keeps its course: being exact after a crash is worth more than being
//! corrected a little sooner.
//!
//! What the sources certified is written down too ([`harmonia_core::held`]), so that a new process can say at once how
//! wrong the clock may be, and need not wait for an agreement.
//!
//! A step is possible only while nobody can be listening: before the node answers anybody, or later while it hosts no
//! circle; and once in a clock's life, restarts included. Everything else is slewed, along
//! [`harmonia_core::steering`]: gently while platforms follow the clock.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use harmonia_core::filter::Estimate;
use harmonia_core::held::{self, About, Held};
use harmonia_core::node_clock::NodeClock;
use harmonia_core::packet::{NodeInfo, FLAG_DISCIPLINED};
use harmonia_core::select::Selection;
use harmonia_core::servo::LockState;
use harmonia_core::stated::Stated;
use harmonia_core::steering::{self, FREE, GENTLE};
use harmonia_core::units::{NodeTime, PlatformTime, Span, NS_PER_S};

use crate::error::IoError;
use crate::os;
use crate::state;
use crate::tracking::{SourceStatus, Tracking};
use crate::upstream::Sources;

/// A change of course begins at least this long after it was decided, so that it can be written down before.
const LEAD_NS: i64 = 250_000_000;
/// What is said of the bound holds for this long; a keeper that is late for longer lets it grow by the second.
const SAID_FOR_NS: i64 = 3 * NS_PER_S;
/// It then grows by what crystals may drift, and by this for the sources' own (RFC 5905, PHI).
const SOURCES_DRIFT_PPB: i64 = 15_000;
/// A machine that was suspended for longer has a raw clock that stood still.
const SUSPEND_MIN_NS: i64 = 50_000_000;
/// The bound of a clock that was told to follow somebody and has not heard them yet: NTP's MAXDISP.
const UNKNOWN: Span = Span::from_s(16);
/// A new clock waits for its sources, but not for ever.
const FIRST_WAIT_NS: i64 = 5 * NS_PER_S;
/// Smaller errors are slewed even where a step is allowed.
const STEP_MIN_NS: i64 = 10_000_000;
/// Whoever resumed a clock may be about to host the circles that it carried: no step before this is clear.
const SETTLING_NS: i64 = 20 * NS_PER_S;
/// Without a source, and in holdover.
const LOCAL_STRATUM: u8 = 10;

/// What the node says of its clock, until the keeper says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    info: NodeInfo,
    /// The bound grows from here on, on the raw clock.
    until_raw_ns: i64,
    growth_ppb: i64,
}

impl Said {
    pub(crate) fn root(clock_id: u64) -> Self {
        Self { info: NodeInfo::root(clock_id), until_raw_ns: i64::MAX, growth_ppb: 0 }
    }

    /// For answers that leave at `raw_ns`. Realtime-safe.
    pub(crate) fn at(&self, raw_ns: i64) -> NodeInfo {
        let late = raw_ns.saturating_sub(self.until_raw_ns).max(0);
        let grown = (i128::from(late) * i128::from(self.growth_ppb) / i128::from(NS_PER_S)) as i64;
        NodeInfo { bound: self.info.bound + Span::from_ns(grown), ..self.info }
    }
}

/// What the keeper publishes.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) said: Said,
    pub(crate) state: LockState,
    /// Sources minus node time when it was published, and the expected error.
    pub(crate) offset: Span,
    pub(crate) uncertainty: Span,
    pub(crate) sources: Vec<SourceStatus>,
    pub(crate) at_raw_ns: i64,
    stated: Stated,
}

impl Published {
    fn new(clock_id: u64, alone: bool, stated: Stated) -> Self {
        let root = Said::root(clock_id);
        let said = if alone { root } else { Said { info: NodeInfo { bound: UNKNOWN, ..root.info }, ..root } };
        let state = if alone { LockState::Locked } else { LockState::Unsynchronised };
        let at_raw_ns = os::raw_ns();
        Self { said, state, offset: Span::ZERO, uncertainty: Span::ZERO, sources: Vec::new(), at_raw_ns, stated }
    }

    /// How `clock` stands at `raw_ns`.
    pub(crate) fn tracking(&self, clock: &NodeClock, raw_ns: i64) -> Tracking {
        let info = self.said.at(raw_ns);
        let anchor = clock.anchor();
        let rate_ppb = anchor.rate_ppb_at(raw_ns);
        Tracking {
            clock_id: info.clock_id,
            stratum: info.stratum,
            refid: info.refid,
            state: self.state,
            node: clock.node_at(raw_ns),
            offset: self.offset,
            uncertainty: self.uncertainty,
            bound: info.bound,
            rate_ppb,
            slew_ppb: rate_ppb - anchor.settled_ppb(),
            root_delay: info.root_delay,
            leap: info.leap,
            steps_left: anchor.steps_left,
            stated: self.stated,
        }
    }

    /// The sources, with their ages as of `raw_ns`.
    pub(crate) fn sources(&self, raw_ns: i64) -> Vec<SourceStatus> {
        let since = Span::from_ns(raw_ns - self.at_raw_ns);
        let aged = |source: &SourceStatus| {
            let age = if source.age.ns() < 0 { source.age } else { source.age + since };
            SourceStatus { age, ..source.clone() }
        };
        self.sources.iter().map(aged).collect()
    }
}

/// The clock's keeper. Owned by one thread; others see what it publishes.
pub(crate) struct Keeper {
    file: PathBuf,
    sources: Sources,
    /// What the last majority certified: the bound in holdover grows out of it.
    held: Option<Held>,
    asleep_ns: i64,
    started_raw_ns: i64,
    resumed: bool,
}

/// Who relies on the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audience {
    /// No circle is hosted: the clock may be stepped.
    Nobody,
    /// Circles are hosted, whose timetable is in node time; no platform follows it yet.
    Circles,
    /// Platforms follow it: every change must be within what they allow for.
    Platforms,
}

/// What a second's work led to.
pub(crate) struct Kept {
    /// The clock to publish.
    pub(crate) clock: Option<NodeClock>,
    pub(crate) published: Option<Published>,
}

/// Sources minus raw clock at `raw_ns`: what is likely.
fn likely(estimate: &Estimate, raw_ns: i64) -> i64 {
    let dt = (PlatformTime::from_ns(raw_ns) - estimate.at).as_s_f64();
    estimate.base_ns.saturating_add((estimate.offset_ns + estimate.rate_ppb * dt).round() as i64)
}

/// The largest possible error of `clock` within the next [`SAID_FOR_NS`].
fn bound(estimate: &Estimate, clock: &NodeClock, raw_ns: i64) -> Span {
    const PROBES: i64 = 6;
    let at = |raw_ns: i64| {
        let (low, high) = estimate.certified.offset_at(PlatformTime::from_ns(raw_ns));
        let node = clock.node_at(raw_ns).ns().saturating_sub(raw_ns);
        high.saturating_sub(node).max(node.saturating_sub(low)).max(0)
    };
    let most = (0..=PROBES).map(|i| at(raw_ns + SAID_FOR_NS / PROBES * i)).max().unwrap_or(i64::MAX);
    Span::from_ns(most)
}

impl Keeper {
    /// Takes over `clock`, writes it down for the first time, and lets a new one ask its sources.
    pub(crate) fn start(
        file: &Path,
        sources: Sources,
        clock: &mut NodeClock,
        resumed: bool,
    ) -> Result<(Self, Published), IoError> {
        let started_raw_ns = os::raw_ns();
        let alone = sources.is_empty();
        let asleep_ns = os::asleep_ns();
        let mut keeper = Self { file: file.to_owned(), sources, held: None, asleep_ns, started_raw_ns, resumed };
        if !alone && resumed {
            // Whatever is wrong with the file, the sources will say it anew.
            let text = state::read(&keeper.held_file()).ok().flatten();
            keeper.held = text.and_then(|text| Held::from_text(&text, &keeper.about(clock)));
        }
        if !alone && !resumed {
            let never = AtomicBool::new(false);
            while !keeper.sources.all_measured() && os::raw_ns() < started_raw_ns + FIRST_WAIT_NS {
                keeper.sources.run_until(os::raw_ns() + 50_000_000, &never);
            }
            let now = os::raw_ns();
            if let Some(estimate) = keeper.sources.select(now).estimate {
                keeper.step(clock, &estimate, now);
            }
        }
        // The first writing down also shows whether the file can be written at all.
        write(&keeper.file, clock)?;
        let mut published = Published::new(clock.clock_id(), alone, keeper.sources.stated());
        if !alone {
            published = keeper.judge(clock, os::raw_ns()).1;
            keeper.write_held(clock);
        }
        Ok((keeper, published))
    }

    fn held_file(&self) -> PathBuf {
        state::beside(&self.file, "held")
    }

    fn about(&self, clock: &NodeClock) -> About {
        let anchor = clock.anchor();
        About {
            clock_id: anchor.clock_id,
            boot_id: anchor.boot_id.clone(),
            suspended: Span::from_ns(self.asleep_ns),
            followed: held::followed(self.sources.names()),
        }
    }

    /// A disk that refuses costs a successor some seconds of knowledge, and nobody else anything.
    fn write_held(&self, clock: &NodeClock) {
        if let Some(held) = &self.held {
            let _ = state::replace(&self.held_file(), &held.to_text(&self.about(clock)));
        }
    }

    /// What was certified is about a raw clock that ran through.
    fn notice_suspend(&mut self) {
        let asleep_ns = os::asleep_ns();
        if asleep_ns - self.asleep_ns > SUSPEND_MIN_NS {
            self.asleep_ns = asleep_ns;
            self.held = None;
            self.sources.forget();
        }
    }

    fn step(&mut self, clock: &mut NodeClock, estimate: &Estimate, now: i64) {
        let node = NodeTime::from_ns(now.saturating_add(likely(estimate, now)));
        if clock.step(now, node, even(estimate.rate_ppb)) {
            self.sources.set_own_clock(clock.clock_id());
        }
    }

    /// Runs for about a second, then keeps the clock. What is returned to be published is on disk.
    pub(crate) fn run(&mut self, clock: &NodeClock, stopping: &AtomicBool, audience: impl Fn() -> Audience) -> Kept {
        let begin = os::raw_ns();
        if self.sources.is_empty() {
            let check = std::time::Duration::from_millis(100);
            while os::raw_ns() < begin + NS_PER_S && !stopping.load(Ordering::SeqCst) {
                std::thread::sleep(check);
            }
        } else {
            self.sources.run_until(begin + NS_PER_S, stopping);
        }
        let now = os::raw_ns();
        let mut next = clock.clone();
        next.advance(now);
        if self.sources.is_empty() {
            // A full disk must not stop the clock. The anchor on disk stays true for as long as this boot lasts.
            let _ = write(&self.file, &next);
            return Kept { clock: None, published: None };
        }
        self.notice_suspend();
        let (selection, _) = self.judge(clock, now);
        let audience = audience();
        let settled = !self.resumed || now - self.started_raw_ns > SETTLING_NS;
        let mut begins = i64::MAX;
        let before = next.clone();
        if let Some(estimate) = &selection.estimate {
            let off = likely(estimate, now).saturating_sub(next.node_at(now).ns() - now);
            if audience == Audience::Nobody && settled && off.abs() > STEP_MIN_NS && next.anchor().steps_left > 0 {
                self.step(&mut next, estimate, now);
            } else {
                begins = next.next_second(now + LEAD_NS);
                let error = likely(estimate, begins).saturating_sub(next.node_at(begins).ns() - begins);
                let excess = next.anchor().rate_ppb_at(begins) - even(estimate.rate_ppb);
                let limits = if audience == Audience::Platforms { GENTLE } else { FREE };
                next.bend(begins, &steering::plan(error, excess / 2 * 2, limits));
            }
        }
        let written = write(&self.file, &next).is_ok();
        if written && os::raw_ns() >= begins {
            // Too late: what is on disk must be what is true.
            let _ = write(&self.file, &before);
        }
        let in_time = written && os::raw_ns() < begins;
        let clock = if in_time { &next } else { clock };
        let (_, published) = self.judge(clock, os::raw_ns());
        self.write_held(clock);
        Kept { clock: in_time.then(|| next.clone()), published: Some(published) }
    }

    /// A step that could not be published after all: `clock` is the clock, as before.
    pub(crate) fn take_back(&mut self, clock: &NodeClock) {
        let _ = write(&self.file, clock);
        self.sources.set_own_clock(clock.clock_id());
    }

    /// What the sources say, and what is to be said of `clock` therefore.
    fn judge(&mut self, clock: &NodeClock, now: i64) -> (Selection, Published) {
        let selection = self.sources.select(now);
        let stated = self.sources.stated();
        let mut published = Published::new(clock.clock_id(), false, stated);
        let node_minus_raw = clock.node_at(now).ns().saturating_sub(now);
        if let (Some(estimate), Some(reference)) = (selection.estimate, selection.reference) {
            let (refid, root_delay, leap) = self.sources.reference(reference);
            self.held = Some(Held { estimate, stratum: selection.stratum.min(15), root_delay, refid, leap });
        }
        if let Some(held) = self.held {
            let follows = selection.estimate.is_some();
            let info = &mut published.said.info;
            *info = NodeInfo {
                bound: bound(&held.estimate, clock, now),
                flags: FLAG_DISCIPLINED,
                leap: held.leap,
                root_delay: held.root_delay,
                // Whoever lost its sources is no better than one that never had any, nor than it was.
                stratum: if follows { held.stratum } else { held.stratum.max(LOCAL_STRATUM) },
                refid: if follows { held.refid } else { info.refid },
                ..*info
            };
            published.said.until_raw_ns = now + SAID_FOR_NS;
            published.said.growth_ppb = stated.max_drift_ppb + SOURCES_DRIFT_PPB;
            published.state = if follows { LockState::Locked } else { LockState::Holdover };
            published.offset = Span::from_ns(likely(&held.estimate, now).saturating_sub(node_minus_raw));
            let dt = (PlatformTime::from_ns(now) - held.estimate.at).as_s_f64();
            published.uncertainty =
                Span::from_ns(held.estimate.uncertainty_after(dt).ceil() as i64) + published.offset.abs();
        }
        published.sources = self.sources.status(now, node_minus_raw, &selection);
        published.at_raw_ns = now;
        (selection, published)
    }
}

/// Rates are even, so that whole seconds gain whole nanoseconds, ramps included.
fn even(rate_ppb: f64) -> i64 {
    2 * (rate_ppb / 2.0).round() as i64
}

fn write(file: &Path, clock: &NodeClock) -> Result<(), IoError> {
    state::replace(file, &clock.anchor().to_text())
}

/// The clock in `file`, and whether it is the former one; a new one if there is none that can be used.
pub(crate) fn resume(file: &Path) -> Result<(NodeClock, bool), IoError> {
    let boot_id = os::boot_id().map_err(|source| IoError::System { what: "its boot id", source })?;
    let text = state::read(file)?;
    let (raw_ns, realtime_ns) = (os::raw_ns(), os::realtime_ns());
    Ok(text
        .and_then(|text| NodeClock::resume_text(&text, &boot_id, raw_ns, realtime_ns).ok())
        // Never written, or torn: a clock of its own, which every platform will recognise as another.
        .unwrap_or_else(|| (NodeClock::new(&boot_id, raw_ns, realtime_ns), false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Following;
    use crate::Node;

    #[test]
    fn what_was_certified_before_a_suspend_is_forgotten() {
        let folder = std::env::temp_dir().join(format!("harmonia-suspend-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let root = Node::start("127.0.0.1", 0, &folder.join("root")).unwrap();
        let file = folder.join("clock");
        let upstreams = vec![format!("127.0.0.1:{}", root.port()).parse().unwrap()];
        let (mut clock, resumed) = resume(&file).unwrap();
        let sources = Sources::new(Following { upstreams, ..Following::default() }, clock.clock_id()).unwrap();
        let (mut keeper, said) = Keeper::start(&file, sources, &mut clock, resumed).unwrap();
        assert!(said.state == LockState::Locked && said.said.info.bound < Span::from_s(1));
        keeper.notice_suspend();
        assert!(keeper.held.is_some(), "nobody slept");
        // As if the machine had slept since it was looked at.
        keeper.asleep_ns -= 2 * SUSPEND_MIN_NS;
        keeper.notice_suspend();
        let (_, said) = keeper.judge(&clock, os::raw_ns());
        assert!(said.state == LockState::Unsynchronised && said.said.info.bound == UNKNOWN);
        drop(root);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
