//! What a tick of the mixer costs, and how soon an opt-out is out: the parts that `harmonia bench optout` puts together.
//!
//! * [`mixes`]: all mixes of a large circle, ready to be sealed, again and again, with changes between; no socket.
//! * [`Timer`]: how late this machine wakes a thread that sleeps to a deadline. Nobody who waits for anything is served
//!   sooner, so what a node adds is to be seen beside this, taken in the same run.
//! * [`crowd`]: the platforms, from another process: it says where they are, acknowledges what they follow, withdraws, and
//!   sees by the kernel's own stamps when each listener's socket had the first frame without the voice.
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harmonia_core::frame::{MixFrame, Status, Withdraw};
use harmonia_core::mix_table::MixTable;
use harmonia_core::mixer::CircleMixer;
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::seal::{self, Direction, Opener, Sealer, Secret, Use, DATAGRAM_MAX};
use harmonia_core::stated::Stated;
use harmonia_core::units::{NodeTime, PlatformTime, Span};
use harmonia_core::voice::Voice;
use num_complex::Complex;

use crate::error::IoError;
use crate::latency::Latency;
use crate::os;
use crate::socket::{wait_readable, Batch, Socket};

/// Changes of the mixer before each tick.
const CHANGES: u64 = 64;
const DEADLINES_NS: i64 = 1_000_000;
/// A platform says how it stands this often.
const STATUS_NS: i64 = 1_000_000_000;
/// After this, what has not come will not.
const PATIENCE: Duration = Duration::from_secs(10);
const SECOND_NS: f64 = 1e9;

/// How long the ticks of a circle took.
#[derive(Default, Debug)]
pub struct TickCost {
    /// CPU time of the mixing thread.
    pub cpu: Latency,
    /// From beginning to end, whoever else wanted the processor.
    pub elapsed: Latency,
}

fn refused(_: impl std::error::Error) -> IoError {
    IoError::State("a usual circle was refused")
}

/// Mixes for `sleepers` in one circle of `channels` channels for about `duration` of CPU time: everybody hears everybody, but
/// for one in ten, who keeps apart from four.
pub fn mixes(sleepers: usize, channels: usize, duration: Duration) -> Result<TickCost, IoError> {
    let (mut mixer, mut table) = (CircleMixer::new(channels, 1e-2), MixTable::new(channels));
    let count = sleepers as u64;
    for sleeper in 0..count {
        mixer.add(sleeper);
        let coefficients: Vec<_> = (0..channels as u64)
            .map(|k| Complex::from_polar(0.5, ((sleeper * 31 + k * 17) % 628) as f32 * 1e-2))
            .collect();
        mixer.set_voice(sleeper, &Voice::new(coefficients).map_err(refused)?).map_err(refused)?;
        mixer.set_plan(sleeper, true, true, sleeper % 2 == 0).map_err(refused)?;
        mixer.set_recorder(sleeper, sleeper % 50 == 0).map_err(refused)?;
        mixer.release(sleeper, None);
        if sleeper % 10 == 0 {
            let others = [1, 7, 77, 777].map(|step| (sleeper + step) % count);
            mixer.set_apart(sleeper, &others[..2], &others[2..]).map_err(refused)?;
        }
    }
    let cost = TickCost::default();
    let mut out = vec![Complex::default(); sleepers * channels];
    let begin_cpu = os::this_thread_cpu_ns();
    let mut tick = 0;
    while tick < 100 || os::this_thread_cpu_ns() - begin_cpu < duration.as_nanos() as i64 {
        for change in 0..CHANGES {
            let sleeper = (tick * 7_919 + change * 101) % count;
            mixer.mute(sleeper, [1; 16]);
            mixer.release((sleeper * 3 + 1) % count, mixer.is_muted(sleeper).then_some([1; 16]));
        }
        let mut changes: Vec<_> = mixer.changes().collect();
        let (cpu_ns, raw_ns) = (os::this_thread_cpu_ns(), os::raw_ns());
        changes.iter_mut().for_each(|change| table.apply(change));
        table.mixes(0, &mut out);
        let (cpu_ns, raw_ns) = (os::this_thread_cpu_ns() - cpu_ns, os::raw_ns() - raw_ns);
        if tick > 0 {
            // The first finds the memory cold, and the table empty.
            cost.cpu.note(cpu_ns);
            cost.elapsed.note(raw_ns);
        }
        tick += 1;
    }
    std::hint::black_box(out);
    Ok(cost)
}

/// A thread that sleeps to deadlines a millisecond apart, and counts how late it wakes.
pub struct Timer {
    lateness: Arc<Latency>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    /// Starts it.
    pub fn start() -> Result<Self, IoError> {
        let (lateness, stopping) = (Arc::new(Latency::default()), Arc::new(AtomicBool::new(false)));
        let (counts, stop) = (Arc::clone(&lateness), Arc::clone(&stopping));
        let work = move || {
            let mut due_ns = os::raw_ns();
            while !stop.load(Ordering::Relaxed) {
                due_ns = (due_ns + DEADLINES_NS).max(os::raw_ns());
                std::thread::sleep(Duration::from_nanos((due_ns - os::raw_ns()).max(0) as u64));
                counts.note(os::raw_ns() - due_ns);
            }
        };
        let thread = std::thread::Builder::new().name("harmonia-timer".into()).spawn(work);
        let thread = thread.map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { lateness, stopping, thread: Some(thread) })
    }

    /// How late it woke so far.
    pub fn lateness(&self) -> &Latency {
        &self.lateness
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The id and the secret of a session that both processes know without being told: good for nothing but this bench.
pub fn session(port: u16, sleeper: u64) -> (u64, Secret) {
    let mut secret = [0x5A; 32];
    secret[..8].copy_from_slice(&sleeper.to_be_bytes());
    (u64::from(port) << 32 | sleeper, secret)
}

/// What a crowd is to do.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Where the node is, on this machine.
    pub port: u16,
    /// How many circles.
    pub circles: usize,
    /// Sleepers in each, numbered through from 1.
    pub sleepers: usize,
    /// How many withdrawals, all in all; everybody's turn comes round.
    pub optouts: usize,
    /// How many a second, at random times.
    pub per_s: f64,
}

/// What a crowd saw.
#[derive(Default, Debug)]
pub struct Seen {
    /// From a withdrawal's being sent until the first listener's socket had a frame of its epoch.
    pub first: Latency,
    /// Until the last listener's had.
    pub last: Latency,
    /// Withdrawals that not every listener was told of.
    pub lost: usize,
    /// Frames followed.
    pub frames: u64,
}

struct Member {
    sealer: Sealer,
    opener: Opener,
    epoch: u64,
    status_due_ns: i64,
}

/// A withdrawal on its way.
struct Pending {
    epoch: u64,
    sent_ns: i64,
    left: usize,
    first_ns: i64,
    last_ns: i64,
}

struct Platforms {
    plan: Crowd,
    to: SocketAddr,
    /// One a circle.
    sockets: Vec<Socket>,
    members: Vec<Member>,
    /// By circle: the newest epoch that must have come of what was sent, and what of it is not known to all.
    newest: Vec<u64>,
    pending: Vec<Vec<Pending>>,
    batch: Batch,
    seen: Seen,
}

/// Plays the platforms of a node's circles, from a process of its own. Every circle must be at epoch 0.
pub fn crowd(plan: Crowd) -> Result<Seen, IoError> {
    let mut platforms = Platforms::gather(plan)?;
    let begin = Instant::now();
    while platforms.seen.frames == 0 || platforms.members.iter().any(|member| member.epoch == u64::MAX) {
        if begin.elapsed() > PATIENCE {
            return Err(IoError::State("not every platform of the crowd was sent a frame"));
        }
        platforms.serve(Duration::from_millis(5));
    }
    let (mut done, mut due_ns, mut random) = (0, os::raw_ns(), 0x9E37_79B9_7F4A_7C15u64);
    while done < plan.optouts {
        let now_ns = os::raw_ns();
        if now_ns < due_ns {
            platforms.serve(Duration::from_nanos((due_ns - now_ns).min(1_000_000) as u64));
            continue;
        }
        platforms.withdraw(done);
        done += 1;
        // xorshift64 (Marsaglia 2003): good enough for when to opt out.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let share = (random >> 11) as f64 / (1u64 << 53) as f64;
        due_ns = now_ns.max(due_ns) + (-(1.0 - share).ln() * SECOND_NS / plan.per_s) as i64;
    }
    let end = Instant::now();
    while platforms.pending.iter().any(|pending| !pending.is_empty()) && end.elapsed() < PATIENCE {
        platforms.serve(Duration::from_millis(5));
    }
    platforms.seen.lost = platforms.pending.iter().map(Vec::len).sum();
    Ok(platforms.seen)
}

impl Platforms {
    fn gather(plan: Crowd) -> Result<Self, IoError> {
        let to = SocketAddr::from(([127, 0, 0, 1], plan.port));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = |_| Socket::bind(address).map_err(|source| IoError::Bind { address, source });
        let sockets = (0..plan.circles).map(bound).collect::<Result<Vec<_>, _>>()?;
        let (all, now_ns) = (plan.circles * plan.sleepers, os::raw_ns());
        let member = |i: usize| {
            let (id, secret) = session(plan.port, i as u64 + 1);
            Member {
                sealer: Sealer::new(&secret, id, Direction::Up),
                opener: Opener::new(&secret, id, Direction::Down),
                epoch: u64::MAX,
                status_due_ns: now_ns + STATUS_NS * i as i64 / all as i64,
            }
        };
        Ok(Self {
            plan,
            to,
            sockets,
            members: (0..all).map(member).collect(),
            newest: vec![0; plan.circles],
            pending: (0..plan.circles).map(|_| Vec::new()).collect(),
            batch: Batch::default(),
            seen: Seen::default(),
        })
    }

    fn send(&mut self, member: usize, kind: Use, payload: &[u8]) {
        let mut out = [0; DATAGRAM_MAX];
        let sealed = self.members[member].sealer.seal(kind, payload, &mut out);
        let len = sealed.expect("every payload fits a datagram");
        // What the kernel refuses is as lost as on any network: the status comes again, the withdrawal is counted as lost.
        let _ = self.sockets[member / self.plan.sleepers].send(&out[..len], self.to);
    }

    fn withdraw(&mut self, number: usize) {
        // A step that is prime to any usual size: one after the other from circle to circle.
        let member = number * 7_919 % self.members.len();
        let circle = member / self.plan.sleepers;
        let mut event_id = [0; 16];
        event_id[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        self.newest[circle] += 1;
        let (epoch, sent_ns) = (self.newest[circle], os::raw_ns());
        let left = self.plan.sleepers;
        self.pending[circle].push(Pending { epoch, sent_ns, left, first_ns: i64::MAX, last_ns: 0 });
        self.send(member, Use::Withdraw, &Withdraw { event_id, purposes: 0 }.encode());
    }

    /// Says what is due to be said, and follows frames for about `patience`, or until something came.
    fn serve(&mut self, patience: Duration) {
        let now_ns = os::raw_ns();
        for member in 0..self.members.len() {
            if self.members[member].status_due_ns <= now_ns {
                self.say(member, now_ns);
            }
        }
        let fds: Vec<_> = self.sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let ready = wait_readable(&fds, patience).unwrap_or_default();
        for (circle, ready) in ready.into_iter().enumerate() {
            while ready && self.sockets[circle].receive(&mut self.batch).is_ok_and(|count| count > 0) {
                self.follow(circle);
            }
        }
    }

    fn follow(&mut self, circle: usize) {
        let mut told = Vec::new();
        for datagram in self.batch.datagrams() {
            let Some(id) = seal::claimed_session(datagram.bytes) else { continue };
            let number = (id as u32 as usize).wrapping_sub(1);
            let Some(member) = self.members.get_mut(number) else { continue };
            let Ok((Use::Mix, payload)) = member.opener.open(datagram.bytes) else { continue };
            let Ok(frame) = MixFrame::decode(payload) else { continue };
            self.seen.frames += 1;
            let before = if member.epoch == u64::MAX { frame.gate_epoch } else { member.epoch };
            member.epoch = before.max(frame.gate_epoch);
            let news = before + 1..=member.epoch;
            for pending in self.pending[circle].iter_mut().filter(|pending| news.contains(&pending.epoch)) {
                pending.left -= 1;
                pending.first_ns = pending.first_ns.min(datagram.raw_ns);
                pending.last_ns = pending.last_ns.max(datagram.raw_ns);
            }
            if frame.cut {
                told.push(number);
            }
        }
        let seen = &self.seen;
        self.pending[circle].retain(|pending| {
            if pending.left == 0 {
                seen.first.note(pending.first_ns - pending.sent_ns);
                seen.last.note(pending.last_ns - pending.sent_ns);
            }
            pending.left > 0
        });
        // A platform that followed a cut says so at once.
        let now_ns = os::raw_ns();
        told.into_iter().for_each(|member| self.say(member, now_ns));
    }

    fn say(&mut self, member: usize, now_ns: i64) {
        let epoch = self.members[member].epoch;
        let status = Status {
            gate_epoch: if epoch == u64::MAX { 0 } else { epoch },
            lock_state: 1,
            gate_open: true,
            bound: Span::ZERO,
            uncertainty: Span::ZERO,
            rate_ppb: 0,
            offset: PhaseOffset::ZERO,
            phase: Phase::ZERO,
            level_dbfs: -20.0,
            platform: PlatformTime::from_ns(now_ns),
            node: NodeTime::from_ns(now_ns),
            suspends: 0,
            dropped: 0,
            stated: Stated::default(),
        };
        self.send(member, Use::Status, &status.encode());
        self.members[member].status_due_ns = now_ns + STATUS_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Folder;
    use crate::node::Node;

    #[test]
    fn every_tick_that_was_timed_was_mixed() {
        let cost = mixes(100, 4, Duration::ZERO).unwrap();
        assert_eq!((cost.cpu.count(), cost.elapsed.count()), (99, 99));
        assert!(cost.cpu.quantile_ns(0.0) > 0);
    }

    #[test]
    fn a_timer_counts_its_deadlines() {
        let timer = Timer::start().unwrap();
        while timer.lateness().count() < 3 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_withdrawal_of_a_crowd_is_timed_at_both_ends_and_takes_one_tick() {
        let folder = Folder::make("crowd").unwrap();
        let node = Node::start("127.0.0.1", 0, &folder.0.join("clock")).unwrap();
        let plan = Crowd { port: node.port(), circles: 2, sleepers: 30, optouts: 100, per_s: 1_000.0 };
        for sleeper in 1..=60 {
            let circle = (sleeper - 1) / 30;
            node.add_circle(circle, 2, 1.0).unwrap();
            node.add_sleeper(circle, sleeper).unwrap();
            node.set_plan(sleeper, true, true, false).unwrap();
            assert!(node.release(sleeper, None).unwrap());
            let (id, secret) = session(node.port(), sleeper);
            node.attach(sleeper, id, &secret, false, true).unwrap();
        }
        let seen = crowd(plan).unwrap();
        assert_eq!((seen.lost, seen.first.count(), seen.last.count()), (0, 100, 100));
        let cuts = &node.stats().ticks.cuts;
        while cuts.last.count() < 100 {
            std::thread::yield_now();
        }
        assert_eq!((cuts.first.count(), cuts.ticks_max.load(Ordering::Relaxed)), (100, 1));
        assert!(cuts.first.quantile_ns(0.5) <= cuts.last.quantile_ns(0.5));
    }
}
