//! The one who sends everybody their mix: what was decided comes in as orders, sealed frames go out, and nothing is waited
//! for.
//!
//! A circle's *tick* goes once through its listeners. A regular one, every [`FRAME_INTERVAL`], has a frame for each; a cut
//! has one of its own, at once, for all who have not been told, and for those who may have lost what they were told. A cut
//! that comes while a tick of its circle is under way is in every frame from the next on, and shares the next tick with all
//! others that come meanwhile; and since a thousand restless sleepers must not cost each other a thousand frames each, a
//! tick counts as under way for at least [`TICK_MIN`].
//!
//! Ten thousand frames take tens of milliseconds to seal and hand over, which is too long for a cut elsewhere to wait; and
//! who works for so long at a stretch is made to wait by the kernel's scheduler, too. So ticks are cut into *passes*:
//! of at most [`PASS`] frames a circle where there is a cut, and these come first; regular frames come by the batch,
//! evenly over most of their interval.
//!
//! **No frame that is begun after a mute was ordered holds the voice:** before each frame the orders are looked at, by one
//! load, and followed if there are any. Between two passes too there is neither a lock nor, once everybody is in, a call of
//! the allocator.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::Arc;

use harmonia_core::coupling::Strength;
use harmonia_core::delivery::Delivery;
use harmonia_core::frame::{MixFrame, PAYLOAD_MAX};
use harmonia_core::mix_table::{Change, MixTable};
use harmonia_core::phase::Phase;
use harmonia_core::program::CHANNELS_MAX;
use harmonia_core::rhythm::Rhythm;
use harmonia_core::seal::{Sealer, Use, DATAGRAM_MAX};
use harmonia_core::units::{NodeTime, Span};
use harmonia_core::weave::{Thread, Weave};
use num_complex::Complex;

use crate::handover::Taker;
use crate::latency::Latency;
use crate::os;
use crate::socket::{Socket, BATCH};

/// How often every listener gets a frame. Platforms interpolate; a lost frame costs nothing.
pub const FRAME_INTERVAL: Span = Span::from_ms(200);
/// The shortest time from the beginning of one tick with a cut to that of the next in the same circle.
pub const TICK_MIN: Span = Span::from_ms(5);
/// Frames of one circle with a cut in a pass.
const PASS: usize = 512;
/// Regular frames are all sent within this time.
const REGULAR_WITHIN: Span = Span::from_ms(150);
/// In a tick that lasts longer, phases are taken anew.
const TAKEN_FOR: Span = Span::from_ms(20);
/// A platform that has been silent for this long gets no more frames until it speaks again.
const SILENT_AFTER_NS: i64 = 60_000_000_000;
/// A platform that has been silent for this long has no seat in the weave: it holds its displacement, and says where it is
/// when it comes back.
const SEAT_LOST_AFTER_NS: i64 = 5_000_000_000;
/// Cuts that are timed at once; more than these are obeyed as fast, but not counted.
const TIMED_MAX: usize = 1024;

/// How a weave stands: R, and everybody in it.
pub type Weaving = (f64, Vec<Thread>);

/// Something decided, for one circle.
pub struct Order {
    /// Which: a number that is free until [`What::Open`] and again after [`What::Close`].
    pub circle: usize,
    /// What is to be done. What it replaces is left in it.
    pub what: What,
}

/// What may be ordered.
pub enum What {
    /// A circle begins.
    Open(Option<Box<CircleTick>>),
    /// It ends.
    Close(Option<Box<CircleTick>>),
    /// For the mixes.
    Mix(Change),
    /// Room for as many lines.
    Room(Vec<Option<Box<Line>>>),
    /// The platform of the sleeper at a place is to get frames, or no more.
    Attach(usize, Option<Box<Line>>),
    /// A platform was heard.
    Heard(usize, Heard),
    /// The platform at a place is to be told that a withdrawal is on disk.
    Acknowledge(usize, [u8; 16]),
    /// The voice that a mute is about has just been ordered out: when the withdrawal arrived, on the raw clock.
    Timed(i64),
    /// The rhythm of those who have none of their own.
    Rhythm(Option<Rhythm>),
    /// How far the circle pulls.
    Strength(Strength),
    /// A sleeper is in.
    Join(u64),
    /// A sleeper is out.
    Leave(u64),
    /// A sleeper's own timeline.
    Own(u64, Option<Arc<Rhythm>>),
    /// A sleeper's coupling and weight.
    Coupling(u64, f32, f32),
    /// The circle pulls this sleeper no more, and does not count them.
    Unbind(u64),
    /// Somebody wants to know how the weave stands.
    Weave(SyncSender<Weaving>),
}

/// What an authentic datagram said of its platform.
#[derive(Clone, Copy)]
pub struct Heard {
    /// Where it came from.
    pub address: SocketAddr,
    /// When it arrived.
    pub raw_ns: i64,
    /// The highest gate epoch that the platform has followed, if it said so.
    pub epoch: Option<u64>,
    /// Where it is on its rhythm, if it follows one.
    pub phase: Option<(NodeTime, Phase)>,
}

/// The sending end of a platform's session.
pub struct Line {
    sleeper: u64,
    /// Whether its frames say if the room is silent.
    hears_hush: bool,
    sealer: Sealer,
    delivery: Delivery,
    address: Option<SocketAddr>,
    heard_raw_ns: i64,
}

impl Line {
    /// A line to a sleeper's platform that need not be told of cuts before `epoch`, and understands frames that say
    /// whether the room is silent, or not.
    pub fn new(sleeper: u64, sealer: Sealer, epoch: u64, hears_hush: bool, now_raw_ns: i64) -> Self {
        Self {
            sleeper,
            hears_hush,
            sealer,
            delivery: Delivery::from_epoch(epoch),
            address: None,
            heard_raw_ns: now_raw_ns,
        }
    }
}

/// A withdrawal that not every listener has been told of.
struct Timed {
    epoch: u64,
    arrived_raw_ns: i64,
    /// How many ticks had begun when it came.
    ticks: u64,
    /// When the first frame without the voice was handed to the socket.
    first_raw_ns: Option<i64>,
}

/// One circle as the ticker knows it.
pub struct CircleTick {
    table: MixTable,
    weave: Weave,
    rhythm: Option<Rhythm>,
    /// By place.
    lines: Vec<Option<Box<Line>>>,
    listeners: usize,
    /// The place at which the tick under way goes on.
    next: Option<usize>,
    /// The tick under way, or the next, is for everybody.
    everybody: bool,
    /// The tick under way goes on at once and not at the regular pace: it began with a cut, or repeats one.
    urgent: bool,
    /// There was a cut since the last tick began.
    hurry: bool,
    /// When the last tick with a cut began.
    began: NodeTime,
    /// When something has to be repeated, as far as this tick has seen.
    repeat: Option<NodeTime>,
    /// The instant of the phases, to which the weave was brought.
    taken: NodeTime,
    ticks: u64,
    /// The oldest cut of which the listeners that this tick has passed know.
    told: u64,
    timed: Vec<Timed>,
}

impl CircleTick {
    /// A circle of `channels` channels with nobody in it.
    pub fn new(channels: usize) -> Self {
        let never = NodeTime::from_ns(0);
        Self {
            table: MixTable::new(channels),
            weave: Weave::default(),
            rhythm: None,
            lines: Vec::new(),
            listeners: 0,
            next: None,
            everybody: false,
            urgent: false,
            hurry: false,
            began: never,
            repeat: None,
            taken: never,
            ticks: 0,
            told: u64::MAX,
            timed: Vec::with_capacity(TIMED_MAX),
        }
    }

    fn line(&mut self, place: usize) -> Option<&mut Box<Line>> {
        self.lines.get_mut(place).and_then(Option::as_mut)
    }

    /// When a cut, or the repetition of one, is due, or what is left of it.
    fn cut_due(&self) -> Option<NodeTime> {
        let cut = self.hurry.then(|| self.began + TICK_MIN);
        let tick = if self.next.is_none() { self.repeat } else { Some(self.taken).filter(|_| self.urgent) };
        cut.into_iter().chain(tick).min()
    }

    fn advance(&mut self, now: NodeTime) {
        if let Some(rhythm) = &self.rhythm {
            self.weave.advance(now, rhythm);
            self.taken = now;
        }
    }

    fn begin(&mut self, now: NodeTime, now_raw_ns: i64) {
        (self.next, self.repeat, self.told, self.taken) = (Some(0), None, u64::MAX, now);
        self.ticks += 1;
        let cuts = std::mem::take(&mut self.hurry);
        if cuts {
            self.began = now;
        }
        // Stays so if everybody's next frame comes due meanwhile.
        self.urgent = cuts || !self.everybody;
        for line in self.lines.iter().flatten() {
            if line.heard_raw_ns < now_raw_ns - SEAT_LOST_AFTER_NS {
                self.weave.unseat(line.sleeper);
            }
        }
        self.advance(now);
    }

    /// Seals the next frame that is due in the tick under way, and says whether it is marked as a cut; `None` if there is
    /// none left.
    fn step(&mut self, now: NodeTime, now_raw_ns: i64, frame: &mut MixFrame, out: &mut Outbox) -> Option<bool> {
        let epoch = self.table.gate_epoch();
        while let Some(place) = self.next.filter(|place| *place < self.lines.len()) {
            self.next = Some(place + 1);
            // Who hears through another's ears is played that one's phase.
            let ear = self.table.ear(place).and_then(|ear| self.lines.get(ear)?.as_ref()).map(|line| line.sleeper);
            let Some(line) = &mut self.lines[place] else { continue };
            line.delivery.raise(epoch);
            let Some(to) = line.address.filter(|_| line.heard_raw_ns > now_raw_ns - SILENT_AFTER_NS) else { continue };
            let due =
                self.everybody || line.delivery.is_untold() || line.delivery.repeat().is_some_and(|due| due <= now);
            if due {
                let rhythm = self.rhythm.as_ref();
                let course =
                    rhythm.and_then(|rhythm| self.weave.course(ear.unwrap_or(line.sleeper), self.taken, rhythm));
                (frame.phase, frame.frequency) = course.map_or((Phase::ZERO, 0), |(phase, f)| (phase, f.units()));
                (frame.gate_epoch, frame.cut, frame.taken) = (epoch, line.delivery.is_cut(), self.taken);
                frame.hush = line.hears_hush.then(|| self.table.hush());
                frame.others.resize(self.table.channels(), Complex::default());
                self.table.mixes(place, &mut frame.others);
                out.seal_frame(&mut line.sealer, frame, to);
                line.delivery.sent(now);
            }
            self.told = self.told.min(line.delivery.told());
            self.repeat = line.delivery.repeat().into_iter().chain(self.repeat).min();
            if due {
                return Some(frame.cut);
            }
        }
        None
    }

    /// Frames of this circle were handed to the socket.
    fn handed(&mut self, raw_ns: i64) {
        self.timed.iter_mut().for_each(|cut| _ = cut.first_raw_ns.get_or_insert(raw_ns));
    }

    /// A tick has ended and all its frames were handed over.
    fn end(&mut self, raw_ns: i64, stats: &CutStats) {
        (self.next, self.everybody, self.urgent) = (None, false, false);
        let (ticks, told) = (self.ticks, self.told);
        self.timed.retain(|cut| {
            if told < cut.epoch {
                return true;
            }
            // Without a listener there is nobody to be late for.
            if let (Some(first), true) = (cut.first_raw_ns, told < u64::MAX) {
                stats.first.note(first - cut.arrived_raw_ns);
                stats.last.note(raw_ns - cut.arrived_raw_ns);
                // One that came during a tick may have been in all that was left of it, and need no other.
                stats.ticks_max.fetch_max((ticks - cut.ticks).max(1), Ordering::Relaxed);
            }
            false
        });
    }
}

/// How soon withdrawals reached the socket.
#[derive(Default, Debug)]
pub struct CutStats {
    /// From a withdrawal's arrival until the first frame without the voice was handed to the socket.
    pub first: Latency,
    /// Until that of the last listener was.
    pub last: Latency,
    /// The most ticks that it took until all listeners were told, the one under way at its arrival not counted.
    pub ticks_max: AtomicU64,
}

/// What the ticker counts.
#[derive(Default, Debug)]
pub struct TickStats {
    /// Mix frames sealed.
    pub frames_sealed: AtomicU64,
    /// Of those, frames marked as a cut.
    pub cut_frames: AtomicU64,
    /// How soon withdrawals took effect.
    pub cuts: CutStats,
}

/// The ticker; see the module's essay.
pub struct Ticker {
    orders: Taker<Order>,
    circles: Vec<Option<Box<CircleTick>>>,
    /// When everybody's next frame is due.
    regular: NodeTime,
    /// When the next batch of regular frames is, of those that are left.
    batch: NodeTime,
    /// Where the next pass begins with regular frames.
    cursor: usize,
    frame: MixFrame,
    out: Outbox,
}

impl Ticker {
    /// A ticker that follows `orders` and sends by `socket`, from `now` on.
    pub fn new(orders: Taker<Order>, socket: Arc<Socket>, now: NodeTime) -> Self {
        let frame = MixFrame {
            gate_epoch: 0,
            cut: false,
            hush: None,
            taken: now,
            phase: Phase::ZERO,
            frequency: 0,
            others: Vec::with_capacity(CHANNELS_MAX),
        };
        Self { orders, circles: Vec::new(), regular: now, batch: now, cursor: 0, frame, out: Outbox::new(socket) }
    }

    /// Follows all orders and sends at most [`PASS`] frames of each circle with a cut, and a batch of regular ones. Returns
    /// when it wants to be called again; a call before that is never wrong. Realtime-safe but for the system calls, while nobody
    /// joins or leaves, and no circle opens or closes.
    pub fn pass(&mut self, now: NodeTime, stats: &TickStats) -> NodeTime {
        self.follow(now);
        if self.regular - now > FRAME_INTERVAL {
            // The clock was stepped back. Nobody waits until it is there again.
            (self.regular, self.batch) = (now, now);
        }
        if now >= self.regular {
            self.regular = (self.regular + FRAME_INTERVAL).max(now);
            if !self.circles.iter().flatten().any(|circle| circle.everybody) {
                self.batch = now;
            }
            self.circles.iter_mut().flatten().for_each(|circle| circle.everybody = true);
        }
        let now_raw_ns = os::raw_ns();
        for index in 0..self.circles.len() {
            if self.circles[index].as_ref().is_some_and(|one| one.cut_due().is_some_and(|due| due <= now)) {
                self.run(index, PASS, now, now_raw_ns, stats);
            }
        }
        if now >= self.batch {
            self.regular_batch(now, now_raw_ns, stats);
        }
        self.flush();
        let circles = self.circles.iter().flatten();
        let batch = circles.clone().any(|circle| circle.everybody).then_some(self.batch);
        circles
            .filter_map(|circle| circle.cut_due())
            .chain(batch)
            .min()
            .map_or(self.regular, |due| due.min(self.regular))
    }

    fn regular_batch(&mut self, now: NodeTime, now_raw_ns: i64, stats: &TickStats) {
        let mut left = BATCH;
        for _ in 0..self.circles.len() {
            let index = self.cursor % self.circles.len();
            if self.circles[index].as_ref().is_some_and(|circle| circle.everybody) {
                left -= self.run(index, left, now, now_raw_ns, stats);
                if left == 0 {
                    break;
                }
            }
            self.cursor = index + 1;
        }
        let listeners: usize = self.circles.iter().flatten().map(|circle| circle.listeners).sum();
        let pace = Span::from_ns(REGULAR_WITHIN.ns() * BATCH as i64 / listeners.max(1) as i64);
        // Who was kept from it for a while catches up, but not with all of a night at a stretch.
        self.batch = (self.batch + pace).max(now - REGULAR_WITHIN);
    }

    /// Goes on with a circle's tick, or begins one, for at most `most` frames; returns how many.
    fn run(&mut self, index: usize, most: usize, now: NodeTime, now_raw_ns: i64, stats: &TickStats) -> usize {
        let mut sealed = 0;
        if let Some(circle) = self.circles[index].as_mut().filter(|circle| now - circle.taken >= TAKEN_FOR) {
            circle.advance(now);
        }
        while sealed < most {
            // What is sealed next must lack every voice that was muted before.
            if !self.orders.is_idle() {
                self.follow(now);
            }
            let Some(circle) = &mut self.circles[index] else { break };
            if circle.next.is_none() {
                circle.begin(now, now_raw_ns);
            }
            let Some(cut) = circle.step(now, now_raw_ns, &mut self.frame, &mut self.out) else {
                let is_timed = !circle.timed.is_empty();
                let raw_ns = if is_timed { self.flush() } else { now_raw_ns };
                if let Some(circle) = &mut self.circles[index] {
                    circle.end(raw_ns, &stats.cuts);
                }
                break;
            };
            sealed += 1;
            stats.frames_sealed.fetch_add(1, Ordering::Relaxed);
            stats.cut_frames.fetch_add(u64::from(cut), Ordering::Relaxed);
            self.out.touch(index);
            if self.out.is_full() {
                self.flush();
            }
        }
        sealed
    }

    /// Hands what is sealed to the socket; returns when it was done.
    fn flush(&mut self) -> i64 {
        self.out.send();
        let raw_ns = os::raw_ns();
        for index in self.out.touched.drain(..) {
            if let Some(circle) = self.circles.get_mut(index).and_then(Option::as_mut) {
                circle.handed(raw_ns);
            }
        }
        raw_ns
    }

    fn follow(&mut self, now: NodeTime) {
        let Self { orders, circles, out, .. } = self;
        orders.take(|Order { circle, what }| {
            if let What::Open(fresh) = what {
                if circles.len() <= *circle {
                    circles.resize_with(*circle + 1, || None);
                }
                std::mem::swap(&mut circles[*circle], fresh);
            } else if let What::Close(gone) = what {
                std::mem::swap(&mut circles[*circle], gone);
            } else if let Some(circle) = circles.get_mut(*circle).and_then(Option::as_mut) {
                circle.obey(what, now, out);
            }
        });
    }
}

impl CircleTick {
    fn obey(&mut self, what: &mut What, now: NodeTime, out: &mut Outbox) {
        match what {
            What::Open(_) | What::Close(_) => {}
            What::Mix(change) => {
                self.hurry |= matches!(change, Change::Epoch(_) | Change::Hush(..));
                self.table.apply(change);
            }
            What::Room(room) => {
                self.lines.iter_mut().zip(room.iter_mut()).for_each(|(old, new)| std::mem::swap(old, new));
                std::mem::swap(&mut self.lines, room);
            }
            What::Attach(place, line) => {
                std::mem::swap(&mut self.lines[*place], line);
                self.listeners =
                    self.listeners + usize::from(self.lines[*place].is_some()) - usize::from(line.is_some());
                if let (Some(former), None) = (line, &self.lines[*place]) {
                    self.weave.unseat(former.sleeper);
                }
            }
            What::Heard(place, heard) => {
                let Some(line) = self.line(*place) else { return };
                (line.address, line.heard_raw_ns) = (Some(heard.address), heard.raw_ns);
                heard.epoch.into_iter().for_each(|epoch| line.delivery.acknowledge(epoch));
                let sleeper = line.sleeper;
                if let (Some((at, phase)), Some(rhythm)) = (heard.phase, &self.rhythm) {
                    self.weave.seat(sleeper, at, phase, rhythm);
                }
            }
            What::Acknowledge(place, event_id) => {
                let Some(Line { sealer, address: Some(to), .. }) = self.line(*place).map(Box::as_mut) else { return };
                // If this one is lost the platform repeats its withdrawal, and is answered again.
                out.seal(sealer, Use::Acknowledge, event_id, *to);
            }
            What::Timed(arrived_raw_ns) if self.timed.len() < TIMED_MAX => self.timed.push(Timed {
                epoch: self.table.gate_epoch(),
                arrived_raw_ns: *arrived_raw_ns,
                ticks: self.ticks,
                first_raw_ns: None,
            }),
            What::Timed(_) => {}
            What::Rhythm(rhythm) => std::mem::swap(&mut self.rhythm, rhythm),
            What::Strength(strength) => self.weave.set_strength(*strength),
            What::Join(sleeper) => self.weave.add(*sleeper),
            What::Leave(sleeper) => self.weave.remove(*sleeper),
            What::Own(sleeper, own) => self.weave.set_own(*sleeper, own.take()),
            What::Coupling(sleeper, coupling, weight) => {
                self.weave.set_coupling(*sleeper, *coupling, *weight).expect("checked where it was ordered");
            }
            What::Unbind(sleeper) => self.weave.release(*sleeper),
            What::Weave(reply) => {
                self.advance(now);
                let threads = self.rhythm.as_ref().map_or(Vec::new(), |rhythm| self.weave.threads(rhythm));
                // Who asked may have given up.
                let _ = reply.try_send((self.weave.mean().norm(), threads));
            }
        }
    }
}

/// Sealed datagrams on their way out: room for a batch, made once.
struct Outbox {
    socket: Arc<Socket>,
    bytes: Box<[[u8; DATAGRAM_MAX]; BATCH]>,
    items: Vec<(SocketAddr, usize)>,
    /// Circles with frames among them.
    touched: Vec<usize>,
}

impl Outbox {
    fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            bytes: vec![[0; DATAGRAM_MAX]; BATCH].try_into().expect("BATCH buffers"),
            items: Vec::with_capacity(BATCH),
            touched: Vec::with_capacity(2 * BATCH),
        }
    }

    fn is_full(&self) -> bool {
        self.items.len() == BATCH
    }

    fn touch(&mut self, circle: usize) {
        if self.touched.last() != Some(&circle) {
            self.touched.push(circle);
        }
    }

    fn seal_frame(&mut self, sealer: &mut Sealer, frame: &MixFrame, to: SocketAddr) {
        let mut payload = [0; PAYLOAD_MAX];
        let len = frame.encode(&mut payload);
        self.seal(sealer, Use::Mix, &payload[..len], to);
    }

    fn seal(&mut self, sealer: &mut Sealer, kind: Use, payload: &[u8], to: SocketAddr) {
        if self.is_full() {
            self.send();
        }
        let room = &mut self.bytes[self.items.len()];
        let len = sealer.seal(kind, payload, room).expect("every payload fits a datagram");
        self.items.push((to, len));
    }

    fn send(&mut self) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let items: [(SocketAddr, &[u8]); BATCH] = std::array::from_fn(|i| {
            self.items.get(i).map_or((nowhere, &[][..]), |(to, len)| (*to, &self.bytes[i][..*len]))
        });
        self.socket.send_batch(&items[..self.items.len()]);
        self.items.clear();
    }
}
