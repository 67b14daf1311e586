//! One clock led by several sources.
//!
//! **The loop, in one sentence:** run one [`SyncSession`](crate::session::SyncSession) for each source and, whenever
//! one of them has used an answer, give its report to [`SourcePool::hear`]; what the clock then is, and whom it
//! believes, are [`SourcePool::clock`] and the [`Selection`] returned.
//!
//! The sessions' own clocks are not used: they only measure. Sources come and go without a step, since whatever the
//! majority says is followed by the same [`Servo`] that follows a single source. Without a majority the clock is in
//! holdover at once, keeps its frequency, and its bound grows. A majority that left what the last one had certified has
//! proven somebody wrong: the clock is unlocked and may step.
use crate::select::{Agreement, Report, SelectConfig, Selection, Selector, SourceId};
use crate::servo::{DisciplinedClock, Servo, ServoConfig};
use crate::session::SyncConfig;
use crate::units::PlatformTime;

/// How a pool behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PoolConfig {
    /// How it judges between sources.
    pub select: SelectConfig,
    /// How its clock follows.
    pub servo: ServoConfig,
    /// Answers, of all sources together, before the clock locks.
    pub lock_after: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let sync = SyncConfig::default();
        Self { select: SelectConfig::default(), servo: sync.servo(), lock_after: sync.lock_after }
    }
}

/// One clock led by several sources. See the module's first sentence for how to drive it.
#[derive(Clone, Debug)]
pub struct SourcePool {
    config: PoolConfig,
    selector: Selector,
    servo: Servo,
    followed: u32,
}

impl SourcePool {
    /// A pool without sources, whose clock knows nothing yet.
    pub fn new(config: PoolConfig) -> Self {
        Self { config, selector: Selector::new(config.select), servo: Servo::new(config.servo), followed: 0 }
    }

    /// Takes what a source has to say after its newest answer, judges all sources, and leads the clock.
    pub fn hear(&mut self, id: SourceId, report: Report) -> Selection {
        self.selector.update(id, report);
        self.judge(report.estimate.at)
    }

    /// Forgets a source, and judges the others as of `now`.
    pub fn remove(&mut self, id: SourceId, now: PlatformTime) -> Selection {
        self.selector.remove(id);
        self.judge(now)
    }

    fn judge(&mut self, now: PlatformTime) -> Selection {
        let selection = self.selector.select(now);
        match (&selection.estimate, selection.agreement) {
            (Some(estimate), agreement) => {
                if agreement == (Agreement::Majority { moved: true }) {
                    self.servo.unlock();
                    self.followed = 0;
                }
                self.servo.follow(estimate);
                self.followed += 1;
                if self.followed >= self.config.lock_after {
                    self.servo.lock();
                }
            }
            (None, _) => self.servo.hold(selection.at),
        }
        selection
    }

    /// The clock as it stands: copy it to whoever needs the time.
    pub fn clock(&self) -> DisciplinedClock {
        self.servo.clock()
    }

    /// Somebody who renders ahead has asked the clock for instants up to `until`: no correction will begin before.
    pub fn promise(&mut self, until: PlatformTime) {
        self.servo.promise(until);
    }

    /// The newest report of a source.
    pub fn report(&self, id: SourceId) -> Option<&Report> {
        self.selector.report(id)
    }

    /// Judges all sources as of `now` without leading the clock: for displays, and to notice who fell silent.
    pub fn selection_at(&self, now: PlatformTime) -> Selection {
        self.selector.clone().select(now)
    }

    /// Forgets everything: for a platform whose own clock was stepped or stood still. Reset the sessions, too.
    pub fn reset(&mut self) {
        self.selector.reset();
        self.servo.reset();
        self.followed = 0;
    }
}
