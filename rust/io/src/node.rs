//! A sanctuary's data plane: one UDP socket, three threads, no Python.
//!
//! * The *responder* answers sync requests and opens what platforms seal. A withdrawal mutes right there, before anything
//!   else learns of it.
//! * The *ticker* seals mix frames: to everybody at the frame rate, and at once where a voice was cut; see [`crate::ticker`].
//! * The *keeper* writes the clock down every second, so that a restart continues every phase, leads it after its
//!   sources where there are any (see [`crate::upstream`]), and replaces the keys under which NTS cookies are sealed.
//!
//! The invariant that everything here serves: **no frame begun after a mute holds the voice.** Who decides something, the
//! responder or a caller, holds the world's lock for the moment that it takes to decide, and orders what follows from it
//! within the same holding; the ticker looks at its orders before each frame. It never takes that lock, nor waits for
//! anybody who has it; and nobody who decides ever waits for a frame.
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use harmonia_core::coupling::{self, Strength};
use harmonia_core::frame::{Status, Withdraw};
use harmonia_core::hush::Hush;
use harmonia_core::mixer::{CircleMixer, MixerError, WEIGHT_MAX};
use harmonia_core::node_clock::NodeClock;
use harmonia_core::nts::{Keys, Policy};
use harmonia_core::packet;
use harmonia_core::phase::Phase;
use harmonia_core::program::CHANNELS_MAX;
use harmonia_core::rate_limit::RateConfig;
use harmonia_core::rhythm::Rhythm;
use harmonia_core::seal::{self, Direction, Opener, Sealer, Secret, Use};
use harmonia_core::servo::LockState;
use harmonia_core::units::{NodeTime, Span};
use harmonia_core::voice::Voice;
use num_complex::Complex;

use crate::answering::{AnswerStats, Answering};
use crate::cookie_file::CookieFile;
use crate::error::IoError;
use crate::handover::{hand_over, Giver};
use crate::keeper::{self, Audience, Keeper, Published};
use crate::lock::lock;
use crate::nts_ke::{KeListener, KeStats};
use crate::os;
use crate::socket::{wait_readable_one, Batch, Socket};
use crate::ticker::{CircleTick, Heard, Line, Order, TickStats, Ticker, Weaving, What};
use crate::time_keys::TimeKeys;
use crate::tracking::{SourceStatus, Tracking};
use crate::upstream::{Following, Sources};

/// How often the threads look whether they are to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// Acknowledged withdrawals that a session remembers, so that a repetition is answered without asking anybody.
const ACKNOWLEDGED_MAX: usize = 16;
/// A withdrawal that was told and not acknowledged for this long is told again when the platform repeats it.
const RETELL_AFTER: Duration = Duration::from_secs(1);
/// Withdrawals that wait for the journal. A sleeper has one pending at a time; more than this is not people.
const EVENTS_MAX: usize = 100_000;

/// Something that the data plane heard and the journal has to write down.
#[derive(Clone, Debug)]
pub struct WithdrawEvent {
    /// Whose withdrawal.
    pub sleeper: u64,
    /// What was withdrawn, and its name. The voice, if meant, is muted already.
    pub withdraw: Withdraw,
}

/// What is known of one sleeper's platform.
#[derive(Clone, Copy, Debug)]
pub struct SleeperStatus {
    /// Whose.
    pub sleeper: u64,
    /// What the platform last said, and how long ago.
    pub last: Option<(Span, Status)>,
    /// The latch on this sleeper's voice.
    pub muted: bool,
    /// How long the platform's session is open, and how long ago a datagram of it was last authentic; none ever makes
    /// both the same. `None` without a session.
    pub session: Option<(Span, Span)>,
}

/// Counters since the start.
#[derive(Default, Debug)]
pub struct Stats {
    /// Sync requests answered.
    pub answered: AtomicU64,
    /// Datagrams that were neither a sync request nor sealed for a session here.
    pub malformed: AtomicU64,
    /// Datagrams that claimed a session but were not sealed by its platform, or were seen before.
    pub unauthentic: AtomicU64,
    /// Mix frames, and how soon withdrawals were in them.
    pub ticks: TickStats,
    /// Withdrawals heard by datagram, without repetitions.
    pub withdrawals: AtomicU64,
    /// What platforms made silence because it was no number: an alarm, and nobody's name.
    pub voices_dropped: AtomicU64,
    /// How requests were answered, or why not.
    pub answers: AnswerStats,
}

struct Session {
    id: u64,
    opener: Opener,
    opened_raw_ns: i64,
    /// When its newest datagram arrived; when the session was opened, before the first.
    heard_raw_ns: i64,
    status: Option<Status>,
    acknowledged: VecDeque<[u8; 16]>,
}

struct Sleeper {
    circle: u64,
    session: Option<Session>,
    /// How many voices their platform has said that it dropped: what every session's statuses count on from.
    dropped: u32,
}

struct Circle {
    /// What the ticker calls it.
    number: usize,
    mixer: CircleMixer,
    sleepers: Vec<u64>,
    /// How many lines the ticker has room for.
    room: usize,
}

/// What those who decide know. Whoever holds its lock decides, and orders what follows.
struct World {
    circles: HashMap<u64, Circle>,
    sleepers: HashMap<u64, Sleeper>,
    sessions: HashMap<u64, u64>,
    /// Numbers of circles that are gone.
    free: Vec<usize>,
    orders: Giver<Order>,
}

#[derive(Default)]
struct Events {
    queue: VecDeque<WithdrawEvent>,
    /// What nobody has acknowledged yet, and when it was last taken from the queue (`None`: it is still in there).
    pending: HashMap<(u64, [u8; 16]), Option<Instant>>,
}

struct Shared {
    /// `None` once the node is closed, so that the port is free although somebody still holds the node.
    socket: ArcSwapOption<Socket>,
    clock: ArcSwap<NodeClock>,
    /// What is said of the clock, and of its sources.
    published: ArcSwap<Published>,
    world: Mutex<World>,
    /// The responder's; others come to change how it answers, and to bake a client's first cookies.
    answering: Mutex<Answering>,
    /// Whom to wake when there is something to do before its time.
    ticker: OnceLock<Thread>,
    events: Mutex<Events>,
    event: Condvar,
    stopping: AtomicBool,
    stats: Stats,
}

/// A running data plane. Thread-safe; stops when dropped.
pub struct Node {
    shared: Arc<Shared>,
    port: u16,
    resumed: bool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    nts: Mutex<Option<KeListener>>,
}

/// Resolves `host:port` to its first address.
pub fn resolve(host: &str, port: u16) -> Result<SocketAddr, IoError> {
    use std::net::ToSocketAddrs;
    let failed = |source| IoError::Resolve { host: host.to_owned(), source };
    let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "no address");
    (host, port).to_socket_addrs().map_err(failed)?.next().ok_or_else(|| failed(none()))
}

impl Node {
    /// [`Node::start_following`] nobody: the root of its own time.
    pub fn start(host: &str, port: u16, clock_file: &Path) -> Result<Self, IoError> {
        Self::start_following(host, port, clock_file, Following::default())
    }

    /// Binds `host:port` (0 for any), resumes the clock from `clock_file` or makes it, and starts the threads.
    ///
    /// A new clock first asks its upstreams, for at most some seconds. What a successor has to know lies beside the
    /// clock's file: `.held` (what the upstreams certified) and `.cookies` (keys, mode 0600).
    pub fn start_following(host: &str, port: u16, clock_file: &Path, following: Following) -> Result<Self, IoError> {
        let address = resolve(host, port)?;
        let socket = Socket::bind(address).map_err(|source| IoError::Bind { address, source })?;
        let (mut clock, resumed) = keeper::resume(clock_file)?;
        let sources = Sources::new(following, clock.clock_id())?;
        let (keeper, published) = Keeper::start(clock_file, sources, &mut clock, resumed)?;
        let port = socket.local_addr().map_err(|source| IoError::Bind { address, source })?.port();
        let (cookie_file, cookies) = CookieFile::open(clock_file, clock.node_at(os::raw_ns()))?;
        let answering = Answering::new(cookies)?;
        let socket = Arc::new(socket);
        let (giver, taker) = hand_over();
        let shared = Arc::new(Shared {
            socket: ArcSwapOption::new(Some(Arc::clone(&socket))),
            clock: ArcSwap::from_pointee(clock),
            published: ArcSwap::from_pointee(published),
            world: Mutex::new(World::new(giver)),
            answering: Mutex::new(answering),
            ticker: OnceLock::new(),
            events: Mutex::default(),
            event: Condvar::new(),
            stopping: AtomicBool::new(false),
            stats: Stats::default(),
        });
        let ticker = Ticker::new(taker, socket, shared.now());
        let threads = vec![
            spawn("responder", &shared, respond)?,
            spawn("ticker", &shared, move |shared| tick(shared, ticker))?,
            spawn("keeper", &shared, move |shared| keep(shared, keeper, cookie_file))?,
        ];
        Ok(Self { shared, port, resumed, threads: Mutex::new(threads), nts: Mutex::default() })
    }

    /// Listens for NTS key exchanges on TCP `port` (0 for any) of the same address as the UDP socket, with this
    /// certificate chain and key (PEM), in place of a former such listener. Returns the port.
    ///
    /// Protected requests are answered whether or not this was called, but nobody could have cookies.
    pub fn serve_nts(&self, certificate_pem: &[u8], key_pem: &[u8], port: u16) -> Result<u16, IoError> {
        let socket = self.shared.socket.load_full().ok_or(IoError::State("the node is closed"))?;
        let unnamed = |source| IoError::System { what: "the name of a socket", source };
        let address = SocketAddr::new(socket.local_addr().map_err(unnamed)?.ip(), port);
        let mut nts = lock(&self.nts);
        *nts = None; // the port may be the same
        let shared = Arc::clone(&self.shared);
        let bake = Arc::new(move |keys: &_| lock(&shared.answering).bake(keys));
        let listener = KeListener::start(address, certificate_pem, key_pem, self.port, bake)?;
        Ok(nts.insert(listener).port())
    }

    /// Key exchanges since [`Node::serve_nts`]: those that ended with cookies, and those that did not.
    pub fn nts_exchanges(&self) -> (u64, u64) {
        let of = |stats: &KeStats| (stats.served.load(Ordering::Relaxed), stats.failed.load(Ordering::Relaxed));
        lock(&self.nts).as_ref().map_or((0, 0), |listener| of(listener.stats()))
    }

    /// The first cookies for `keys`, as a key exchange gives them.
    pub(crate) fn bake(&self, keys: &Keys) -> Vec<Vec<u8>> {
        lock(&self.shared.answering).bake(keys)
    }

    /// What a platform needs to ask for authentic time: fresh, for one session. Give it over a channel that is secret.
    pub fn time_keys(&self) -> TimeKeys {
        lock(&self.shared.answering).time_keys()
    }

    /// CPU time that the responder has used. Errors once the node is closed.
    pub(crate) fn responder_cpu_ns(&self) -> std::io::Result<i64> {
        let threads = lock(&self.threads);
        let named = threads.iter().find(|thread| thread.thread().name() == Some("harmonia-responder"));
        named.map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), os::thread_cpu_ns)
    }

    /// Whether anybody but the authenticated is answered: those with NTS, and platforms with a session here.
    pub fn set_policy(&self, policy: Policy) {
        lock(&self.shared.answering).set_policy(policy);
    }

    /// How often one address is answered; `None` for as often as it asks.
    pub fn set_rate_limit(&self, config: Option<RateConfig>) {
        lock(&self.shared.answering).set_limit(config);
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The clock as it stands: node time as a function of the raw clock, until its course is changed.
    pub fn clock(&self) -> Arc<NodeClock> {
        self.shared.clock.load_full()
    }

    /// Whether this start continued the former clock exactly.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Node time now.
    pub fn now(&self) -> NodeTime {
        self.shared.now()
    }

    /// How the clock stands.
    pub fn tracking(&self) -> Tracking {
        self.shared.published.load().tracking(&self.shared.clock.load(), os::raw_ns())
    }

    /// How each source stands, in the order in which they were given.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.shared.published.load().sources(os::raw_ns())
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Hosts a circle of `channels` channels whose voices each weigh `voice_weight` in the field.
    pub fn add_circle(&self, circle: u64, channels: usize, voice_weight: f32) -> Result<(), IoError> {
        if channels > CHANNELS_MAX {
            return Err(IoError::Channels(channels));
        }
        if !(voice_weight.is_finite() && (0.0..=WEIGHT_MAX).contains(&voice_weight)) {
            return Err(MixerError::BadWeight(voice_weight).into());
        }
        let mut world = lock(&self.shared.world);
        if !world.circles.contains_key(&circle) {
            let number = world.free.pop().unwrap_or(world.circles.len());
            let mixer = CircleMixer::new(channels, voice_weight);
            world.circles.insert(circle, Circle { number, mixer, sleepers: Vec::new(), room: 0 });
            world.order(number, [What::Open(Some(Box::new(CircleTick::new(channels))))]);
        }
        Ok(())
    }

    /// Forgets a circle with everybody in it.
    pub fn remove_circle(&self, circle: u64) {
        let mut world = lock(&self.shared.world);
        if let Some(gone) = world.circles.remove(&circle) {
            for sleeper in gone.sleepers {
                if let Some(Sleeper { session: Some(session), .. }) = world.sleepers.remove(&sleeper) {
                    world.sessions.remove(&session.id);
                }
            }
            world.order(gone.number, [What::Close(None)]);
            world.free.push(gone.number);
        }
    }

    /// The rhythm of those who have none of their own.
    pub fn set_rhythm(&self, circle: u64, rhythm: Rhythm) -> Result<(), IoError> {
        let mut world = lock(&self.shared.world);
        let number = world.circle(circle)?.number;
        world.order(number, [What::Rhythm(Some(rhythm))]);
        Ok(())
    }

    /// How far the circle pulls the rhythms of those who let it.
    pub fn set_strength(&self, circle: u64, strength: Strength) -> Result<(), IoError> {
        let mut world = lock(&self.shared.world);
        let number = world.circle(circle)?.number;
        world.order(number, [What::Strength(strength)]);
        Ok(())
    }

    /// Says in every frame of a circle whether the room is silent; at once, if that is news. Returns the gate epoch from
    /// which frames say so, or something newer. Plans take out the voices.
    pub fn set_hush(&self, circle: u64, hush: Hush) -> Result<u64, IoError> {
        let mut world = lock(&self.shared.world);
        let epoch = world.circle(circle)?.mixer.set_hush(hush);
        world.mix(circle, []);
        drop(world);
        self.shared.wake();
        Ok(epoch)
    }

    /// A sleeper's own timeline; `None` for the circle's.
    pub fn set_own_rhythm(&self, sleeper: u64, own: Option<Rhythm>) -> Result<(), IoError> {
        let mut world = lock(&self.shared.world);
        let number = world.circle_of(sleeper)?.number;
        world.order(number, [What::Own(sleeper, own.map(Arc::new))]);
        Ok(())
    }

    /// How far a sleeper is pulled, 0 to 1, and what they count in the mean: what they allow, and no more.
    pub fn set_coupling(&self, sleeper: u64, coupling: f32, weight: f32) -> Result<(), IoError> {
        coupling::check(coupling, weight)?;
        let mut world = lock(&self.shared.world);
        let number = world.circle_of(sleeper)?.number;
        world.order(number, [What::Coupling(sleeper, coupling, weight)]);
        Ok(())
    }

    /// R, and how everybody in a circle whose platform is there stands, brought to now.
    pub fn weave(&self, circle: u64) -> Result<Weaving, IoError> {
        let (reply, answer) = sync_channel(1);
        {
            let mut world = lock(&self.shared.world);
            let number = world.circle(circle)?.number;
            world.order(number, [What::Weave(reply)]);
        }
        self.shared.wake();
        loop {
            match answer.recv_timeout(STOP_CHECK) {
                Ok(weaving) => return Ok(weaving),
                Err(RecvTimeoutError::Timeout) if !self.shared.is_stopping() => {}
                Err(_) => return Ok((0.0, Vec::new())),
            }
        }
    }

    /// A sleeper joins, muted. Errors if they are in another circle: a mute reaches one circle's mixer.
    pub fn add_sleeper(&self, circle: u64, sleeper: u64) -> Result<(), IoError> {
        let mut world = lock(&self.shared.world);
        if world.sleepers.get(&sleeper).is_some_and(|known| known.circle != circle) {
            return Err(IoError::State("this sleeper is in another circle; remove them there first"));
        }
        if world.sleepers.contains_key(&sleeper) {
            return Ok(());
        }
        let entry = world.circle(circle)?;
        entry.sleepers.push(sleeper);
        entry.mixer.add(sleeper);
        let room = entry.mixer.places();
        let grows = entry.room < room;
        entry.room = room;
        let room = grows.then(|| What::Room(std::iter::repeat_with(|| None).take(room).collect()));
        world.sleepers.insert(sleeper, Sleeper { circle, session: None, dropped: 0 });
        world.mix(circle, room.into_iter().chain([What::Join(sleeper)]));
        Ok(())
    }

    /// A sleeper is gone, and their voice with them from the next frame on. Who wants a cut mutes first.
    pub fn remove_sleeper(&self, sleeper: u64) {
        let mut world = lock(&self.shared.world);
        let Some(gone) = world.sleepers.remove(&sleeper) else { return };
        if let Some(session) = gone.session {
            world.sessions.remove(&session.id);
        }
        if let Some(circle) = world.circles.get_mut(&gone.circle) {
            let place = circle.mixer.place(sleeper);
            circle.mixer.remove(sleeper);
            circle.sleepers.retain(|other| *other != sleeper);
            let detach = place.map(|place| What::Attach(place, None));
            world.mix(gone.circle, detach.into_iter().chain([What::Leave(sleeper)]));
        }
        drop(world);
        // Whoever heard through their ears is told at once that they no longer do.
        self.shared.wake();
    }

    /// Opens a session for a sleeper's platform, in place of an earlier one. Its id and secret must be fresh: a pair
    /// that was used before would repeat nonces. Frames say whether the room is silent only if the platform `hears_hush`.
    /// Errors if a session of that id is open.
    pub fn attach(
        &self,
        sleeper: u64,
        session: u64,
        secret: &Secret,
        recording: bool,
        hears_hush: bool,
    ) -> Result<(), IoError> {
        let mut world = lock(&self.shared.world);
        let World { circles, sleepers, sessions, .. } = &mut *world;
        let entry = sleepers.get_mut(&sleeper).ok_or(IoError::UnknownSleeper(sleeper))?;
        let circle = circles.get_mut(&entry.circle).ok_or(IoError::UnknownCircle(entry.circle))?;
        if sessions.contains_key(&session) {
            return Err(IoError::State("a session with this id is open already; draw another id and secret at random"));
        }
        circle.mixer.set_recorder(sleeper, recording)?;
        let now = os::raw_ns();
        let former = entry.session.take();
        if let Some(former) = &former {
            sessions.remove(&former.id);
        }
        sessions.insert(session, sleeper);
        entry.session = Some(Session {
            id: session,
            opener: Opener::new(secret, session, Direction::Up),
            opened_raw_ns: now,
            heard_raw_ns: now,
            status: None,
            // A platform whose acknowledgement was lost with the former session repeats its withdrawal in this one: it
            // must be answered, not obeyed again, or it would override the grant that came after it.
            acknowledged: former.map(|former| former.acknowledged).unwrap_or_default(),
        });
        let sealer = Sealer::new(secret, session, Direction::Down);
        let line = Line::new(sleeper, sealer, circle.mixer.gate_epoch(), hears_hush, now);
        let (circle, place) = (entry.circle, circle.mixer.place(sleeper).ok_or(IoError::UnknownSleeper(sleeper))?);
        world.mix(circle, [What::Attach(place, Some(Box::new(line)))]);
        drop(world);
        self.shared.wake();
        Ok(())
    }

    /// Closes a sleeper's session.
    pub fn detach(&self, sleeper: u64) {
        let mut world = lock(&self.shared.world);
        if let Some(session) = world.sleepers.get_mut(&sleeper).and_then(|entry| entry.session.take()) {
            world.sessions.remove(&session.id);
            world.order_line(sleeper, |place| What::Attach(place, None));
        }
    }

    /// What a sleeper contributes once unmuted.
    pub fn set_voice(&self, sleeper: u64, coefficients: &[Complex<f32>]) -> Result<(), IoError> {
        let voice = Voice::new(coefficients)?;
        self.decide(sleeper, |mixer| Ok(mixer.set_voice(sleeper, &voice)?))
    }

    /// How loud a sleeper hears the others.
    pub fn set_hearing(&self, sleeper: u64, level: f32) -> Result<(), IoError> {
        self.decide(sleeper, |mixer| Ok(mixer.set_hearing(sleeper, level)?))
    }

    /// Whom a sleeper does not want to hear, and who may not hear them; of whatever circle, and whether in or not.
    pub fn set_apart(&self, sleeper: u64, unheard: &[u64], unhearing: &[u64]) -> Result<(), IoError> {
        self.decide(sleeper, |mixer| Ok(mixer.set_apart(sleeper, unheard, unhearing)?))
    }

    /// What everybody else allows; AND-ed with the latch.
    pub fn set_plan(&self, sleeper: u64, voice: bool, hearing: bool, recording: bool) -> Result<(), IoError> {
        self.decide(sleeper, |mixer| Ok(mixer.set_plan(sleeper, voice, hearing, recording)?))
    }

    /// Lets `listener`'s platform hear what a sleeper of the same circle hears, and that one themself at this level;
    /// `None` for their own mix, from a cut on. Whether that sleeper allows it is for the caller to know.
    pub fn set_ear(&self, listener: u64, ear: Option<(u64, f32)>) -> Result<(), IoError> {
        self.decide(listener, |mixer| Ok(mixer.set_ear(listener, ear)?))
    }

    /// The latch: from the returned gate epoch on, no frame holds the voice. At once, from any thread.
    pub fn mute(&self, sleeper: u64, withdrawal: [u8; 16]) -> Result<u64, IoError> {
        let epoch = lock(&self.shared.world).mute(sleeper, withdrawal, os::raw_ns())?;
        self.shared.wake();
        Ok(epoch)
    }

    /// Lowers the latch if `withdrawal` names what raised it (`None`: only joining).
    pub fn release(&self, sleeper: u64, withdrawal: Option<[u8; 16]>) -> Result<bool, IoError> {
        self.decide(sleeper, |mixer| Ok(mixer.release(sleeper, withdrawal)))
    }

    /// Changes the mixer of a sleeper's circle, and orders what follows; at once, if something was cut.
    fn decide<T>(
        &self,
        sleeper: u64,
        change: impl FnOnce(&mut CircleMixer) -> Result<T, IoError>,
    ) -> Result<T, IoError> {
        let mut world = lock(&self.shared.world);
        let id = world.sleepers.get(&sleeper).ok_or(IoError::UnknownSleeper(sleeper))?.circle;
        let mixer = &mut world.circle(id)?.mixer;
        let before = mixer.gate_epoch();
        let done = change(mixer);
        let cut = mixer.gate_epoch() != before;
        world.mix(id, []);
        drop(world);
        if cut {
            self.shared.wake();
        }
        done
    }

    /// Tells the platform that a withdrawal is on disk.
    pub fn acknowledge(&self, sleeper: u64, event_id: [u8; 16]) {
        lock(&self.shared.events).pending.remove(&(sleeper, event_id));
        let mut world = lock(&self.shared.world);
        let Some(session) = world.sleepers.get_mut(&sleeper).and_then(|entry| entry.session.as_mut()) else { return };
        session.acknowledged.truncate(ACKNOWLEDGED_MAX - 1);
        session.acknowledged.push_front(event_id);
        world.order_line(sleeper, |place| What::Acknowledge(place, event_id));
        drop(world);
        self.shared.wake();
    }

    /// Waits for the next withdrawal, at most for `timeout`. `None` also once the node is closed.
    ///
    /// One that is not acknowledged is told again, for as long as its platform repeats it.
    pub fn next_event(&self, timeout: Duration) -> Option<WithdrawEvent> {
        let events = lock(&self.shared.events);
        let quiet = |events: &mut Events| events.queue.is_empty() && !self.shared.is_stopping();
        let (mut events, _) = self
            .shared
            .event
            .wait_timeout_while(events, timeout, quiet)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let event = events.queue.pop_front()?;
        if let Some(taken) = events.pending.get_mut(&(event.sleeper, event.withdraw.event_id)) {
            *taken = Some(Instant::now());
        }
        Some(event)
    }

    /// How the sleepers of a circle stand.
    pub fn status(&self, circle: u64) -> Result<Vec<SleeperStatus>, IoError> {
        let now = os::raw_ns();
        let mut world = lock(&self.shared.world);
        let World { circles, sleepers, .. } = &mut *world;
        let circle = circles.get(&circle).ok_or(IoError::UnknownCircle(circle))?;
        Ok(circle
            .sleepers
            .iter()
            .map(|&sleeper| {
                let session = sleepers.get(&sleeper).and_then(|entry| entry.session.as_ref());
                let last = session.and_then(|s| s.status.map(|status| (Span::from_ns(now - s.heard_raw_ns), status)));
                let ages = |s: &Session| [s.opened_raw_ns, s.heard_raw_ns].map(|then| Span::from_ns(now - then));
                SleeperStatus {
                    sleeper,
                    last,
                    muted: circle.mixer.is_muted(sleeper),
                    session: session.map(ages).map(|[open, heard]| (open, heard)),
                }
            })
            .collect())
    }

    /// Stops the threads and frees the port. Later calls change nothing that anybody hears.
    pub fn close(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        *lock(&self.nts) = None;
        self.shared.wake();
        self.shared.event.notify_all();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
        self.shared.socket.store(None);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

impl World {
    fn new(orders: Giver<Order>) -> Self {
        let (circles, sleepers, sessions) = Default::default();
        Self { circles, sleepers, sessions, free: Vec::new(), orders }
    }

    fn audience(&self) -> Audience {
        match (self.circles.is_empty(), self.sessions.is_empty()) {
            (true, _) => Audience::Nobody,
            (false, true) => Audience::Circles,
            (false, false) => Audience::Platforms,
        }
    }

    fn circle(&mut self, circle: u64) -> Result<&mut Circle, IoError> {
        self.circles.get_mut(&circle).ok_or(IoError::UnknownCircle(circle))
    }

    fn circle_of(&mut self, sleeper: u64) -> Result<&mut Circle, IoError> {
        let circle = self.sleepers.get(&sleeper).ok_or(IoError::UnknownSleeper(sleeper))?.circle;
        self.circle(circle)
    }

    /// Orders things of a circle, whole and in order.
    fn order(&mut self, number: usize, orders: impl IntoIterator<Item = What>) {
        self.orders.give(orders.into_iter().map(|what| Order { circle: number, what }));
    }

    /// Orders what follows from what was decided in a circle's mixer, and then `orders`.
    fn mix(&mut self, circle: u64, orders: impl IntoIterator<Item = What>) {
        let Some(Circle { number, mixer, .. }) = self.circles.get_mut(&circle) else { return };
        let all = mixer.changes().map(What::Mix).chain(orders);
        self.orders.give(all.map(|what| Order { circle: *number, what }));
    }

    /// Orders something for a sleeper's line.
    fn order_line(&mut self, sleeper: u64, what: impl FnOnce(usize) -> What) {
        let Ok(circle) = self.circle_of(sleeper) else { return };
        if let (number, Some(place)) = (circle.number, circle.mixer.place(sleeper)) {
            self.order(number, [what(place)]);
        }
    }

    /// The circle pulls this sleeper no more, and does not count them.
    fn unbind(&mut self, sleeper: u64) {
        if let Ok(number) = self.circle_of(sleeper).map(|circle| circle.number) {
            self.order(number, [What::Unbind(sleeper)]);
        }
    }

    fn mute(&mut self, sleeper: u64, withdrawal: [u8; 16], arrived_raw_ns: i64) -> Result<u64, IoError> {
        let id = self.sleepers.get(&sleeper).ok_or(IoError::UnknownSleeper(sleeper))?.circle;
        let epoch = self.circle(id)?.mixer.mute(sleeper, withdrawal);
        self.mix(id, [What::Timed(arrived_raw_ns)]);
        Ok(epoch)
    }
}

/// Where a platform that follows the clock is on its rhythm, its offset not counted.
fn phase(status: &Status) -> Option<(NodeTime, Phase)> {
    let locked = [LockState::Locked as u8, LockState::Holdover as u8].contains(&status.lock_state);
    // The phase of a platform without a rhythm is its offset.
    let phase = status.phase + -status.offset;
    (locked && phase != Phase::ZERO).then_some((status.node, phase))
}

impl Shared {
    fn now(&self) -> NodeTime {
        self.clock.load().node_at(os::raw_ns())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        // One that is not there yet looks at its orders before it waits.
        if let Some(ticker) = self.ticker.get() {
            ticker.unpark();
        }
    }

    /// Opens a sealed datagram and does what it says. Whether it says where its platform is.
    fn open(&self, datagram: &mut [u8], from: SocketAddr, raw_ns: i64) -> bool {
        let mut world = lock(&self.world);
        let Some(&sleeper) = seal::claimed_session(datagram).and_then(|id| world.sessions.get(&id)) else {
            self.stats.malformed.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let Some(Sleeper { session: Some(session), dropped, .. }) = world.sleepers.get_mut(&sleeper) else {
            return false;
        };
        let Ok((kind, payload)) = session.opener.open(datagram) else {
            self.stats.unauthentic.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        // The peer is wherever its newest authentic datagram came from. One that was overtaken says nothing of that:
        // whoever holds a datagram back could send it on from anywhere, and the frames would go there.
        let newest = session.opener.newest_opened();
        let mut heard = Heard { address: from, raw_ns, epoch: None, phase: None };
        let (mut withdrawn, mut again) = (None, None);
        match kind {
            Use::Status if newest => {
                if let Ok(status) = Status::decode(payload) {
                    session.status = Some(status);
                    self.stats
                        .voices_dropped
                        .fetch_add(u64::from(status.dropped.saturating_sub(*dropped)), Ordering::Relaxed);
                    *dropped = status.dropped.max(*dropped);
                    (heard.epoch, heard.phase) = (Some(status.gate_epoch), phase(&status));
                }
            }
            Use::Withdraw => {
                withdrawn = Withdraw::decode(payload).ok();
                again = withdrawn.filter(|withdraw| session.acknowledged.contains(&withdraw.event_id));
            }
            Use::Status | Use::Mix | Use::Acknowledge => {}
        }
        if newest {
            session.heard_raw_ns = raw_ns;
            world.order_line(sleeper, |place| What::Heard(place, heard));
        }
        if let Some(withdraw) = again {
            world.order_line(sleeper, |place| What::Acknowledge(place, withdraw.event_id));
            drop(world);
            self.wake();
        } else if let Some(withdraw) = withdrawn {
            // Mute and unbind first; the journal and the acknowledgement follow.
            if withdraw.unbinds() {
                world.unbind(sleeper);
            }
            let muted = withdraw.mutes() && world.mute(sleeper, withdraw.event_id, raw_ns).is_ok();
            drop(world);
            if muted {
                self.wake();
            }
            self.tell(WithdrawEvent { sleeper, withdraw });
        }
        newest
    }
    fn tell(&self, event: WithdrawEvent) {
        let mut events = lock(&self.events);
        let name = (event.sleeper, event.withdraw.event_id);
        let known = events.pending.get(&name).copied();
        let again = match known {
            None => true,
            Some(None) => false,
            // Whoever took it has not written it down: a full disk, perhaps. The platform relies on being heard again.
            Some(Some(taken)) => taken.elapsed() >= RETELL_AFTER,
        };
        if again && events.queue.len() < EVENTS_MAX {
            events.pending.insert(name, None);
            events.queue.push_back(event);
            self.stats.withdrawals.fetch_add(u64::from(known.is_none()), Ordering::Relaxed);
            self.event.notify_one();
        }
    }
}

fn spawn(
    name: &'static str,
    shared: &Arc<Shared>,
    body: impl FnOnce(Arc<Shared>) + Send + 'static,
) -> Result<JoinHandle<()>, IoError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("harmonia-{name}"))
        .spawn(move || body(shared))
        .map_err(|source| IoError::System { what: "a thread", source })
}

/// The responder's loop. What is asked for the time allocates nothing; what a platform says is an order to the ticker, in a
/// box of its own.
fn respond(shared: Arc<Shared>) {
    // Where it is not permitted, opt-outs are as prompt as the machine has time for them.
    let _ = os::be_prompt();
    let mut batch = Batch::default();
    let Some(socket) = shared.socket.load_full() else { return };
    while !shared.is_stopping() {
        // Under load there is always something: waiting is asked for only when there was not.
        if !socket.receive(&mut batch).is_ok_and(|count| count > 0) {
            let _ = wait_readable_one(socket.as_raw_fd(), STOP_CHECK);
            continue;
        }
        let (clock, info) = (shared.clock.load(), shared.published.load().said.at(os::raw_ns()));
        let mut answering = lock(&shared.answering);
        let mut malformed = 0;
        for i in 0..batch.len() {
            let Some(datagram) = batch.datagram(i) else { continue };
            if packet::is_ntp_request(datagram.bytes) {
                let taken = answering.take(&mut batch, i, &clock, &info, &shared.stats.answers);
                malformed += usize::from(!taken);
            } else {
                let (from, raw_ns) = (datagram.from, datagram.raw_ns);
                if shared.open(datagram.bytes, from, raw_ns) {
                    answering.know(from, raw_ns);
                }
            }
        }
        let now = || clock.node_at(os::raw_ns());
        let (answered, wrong) = answering.send(&socket, &mut batch, now, &info, &shared.stats.answers);
        drop(answering);
        shared.stats.answered.fetch_add(answered as u64, Ordering::Relaxed);
        shared.stats.malformed.fetch_add((malformed + wrong) as u64, Ordering::Relaxed);
    }
}

/// The ticker's loop.
fn tick(shared: Arc<Shared>, mut ticker: Ticker) {
    let _ = os::be_prompt();
    let _ = shared.ticker.set(std::thread::current());
    while !shared.is_stopping() {
        let due = ticker.pass(shared.now(), &shared.stats.ticks);
        let wait = (due - shared.now()).ns().clamp(0, STOP_CHECK.as_nanos() as i64);
        if wait > 0 {
            // Returns at once if somebody woke it since it last did.
            std::thread::park_timeout(Duration::from_nanos(wait as u64));
        }
    }
}

/// The keeper's loop.
fn keep(shared: Arc<Shared>, mut keeper: Keeper, mut cookie_file: CookieFile) {
    while !shared.is_stopping() {
        let clock = shared.clock.load_full();
        cookie_file.keep(&shared.answering, clock.node_at(os::raw_ns()));
        let kept = keeper.run(&clock, &shared.stopping, || lock(&shared.world).audience());
        if let Some(next) = kept.clock {
            let world = lock(&shared.world);
            if next.clock_id() != clock.clock_id() && !world.circles.is_empty() {
                // Somebody opened a circle while the step was written down.
                drop(world);
                keeper.take_back(&clock);
                continue;
            }
            shared.clock.store(Arc::new(next));
        }
        if let Some(published) = kept.published {
            shared.published.store(Arc::new(published));
        }
    }
}
