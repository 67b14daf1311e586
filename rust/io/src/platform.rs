//! A sleeper's device: a clock kept to its sanctuary, the others' frames, and what the person wishes.
//!
//! Three parties meet here and must not wait for each other. The network (see [`crate::hub`]) brings clock readings and
//! frames, the person brings wishes at any instant, and the player needs both every few milliseconds. So each of the
//! first two publishes an immutable snapshot ([`Heard`], [`Wishes`]) that the player loads without a lock.
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use harmonia_core::filter::Exchange;
use harmonia_core::follower::Displacement;
use harmonia_core::frame::{MixFrame, Status, Withdraw, PURPOSE_HEARING};
use harmonia_core::hush::{HeardHush, Hush};
use harmonia_core::light::{glow, Lamp};
use harmonia_core::listener::{Counters, Listener};
use harmonia_core::nts::NtsError;
use harmonia_core::packet::{PacketError, CIRCLE_PACKET_LEN};
use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::Program;
use harmonia_core::rhythm::Rhythm;
use harmonia_core::sample::{ConverterReading, Taken};
use harmonia_core::seal::{Direction, Opener, SealError, Sealer, Secret, Use, DATAGRAM_MAX};
use harmonia_core::servo::{DisciplinedClock, Reading};
use harmonia_core::session::{Received, SyncConfig, SyncError, SyncSession, SUSPEND_MIN};
use harmonia_core::stated::Stated;
use harmonia_core::units::{NodeTime, PlatformTime, Span};
use harmonia_core::voice::Voice;
use num_complex::Complex;

use crate::device::{Device, DeviceReport};
use crate::entropy::Entropy;
use crate::error::IoError;
use crate::hub::Hub;
use crate::local_clock::LocalClock;
use crate::lock::lock;
use crate::os;
use crate::player::{Player, Recording, Sound, Told};
use crate::time_keys::{TimeKeys, TimeSeal};

/// How often a platform says how it stands; far below the time after which a NAT forgets the path.
const STATUS_INTERVAL_NS: i64 = 1_000_000_000;
/// A status that is due within this goes with a request for the time: one waking and one system call for both.
const STATUS_EARLY_NS: i64 = 250_000_000;
/// When a withdrawal is repeated, counted from the last time; the last one for ever, until acknowledged.
const WITHDRAW_REPEATS_NS: [i64; 5] = [5_000_000, 15_000_000, 80_000_000, 250_000_000, 1_000_000_000];
/// Acknowledged withdrawals that a platform remembers for whoever asks.
const ACKNOWLEDGED_MAX: usize = 64;
const LEVEL_MAX: f32 = 4.0;
/// Exchanges that are kept for whoever writes them down: some minutes.
const EXCHANGES_MAX: usize = 512;
/// No sound takes longer from the card to the ear.
const OUTPUT_LATENCY_MAX: Span = Span::from_s(2);
/// No card's crystal is further off than this.
const CARD_DRIFT_MAX_PPB: i64 = 1_000_000;

/// What the network brought: replaced as a whole, never changed.
#[derive(Clone)]
pub(crate) struct Heard {
    pub clock: DisciplinedClock,
    pub listener: Listener,
    /// How far others have pulled this sleeper from their own rhythm.
    pub displacement: Displacement,
}

/// What the person wishes: replaced as a whole, never changed.
#[derive(Clone)]
pub(crate) struct Wishes {
    pub program: Option<Arc<Program>>,
    pub rhythm: Option<Arc<Rhythm>>,
    pub offset: PhaseOffset,
    pub voice: Vec<Complex<f32>>,
    pub hearing: bool,
    pub own_level: f32,
    pub ceiling: f32,
    pub gate_open: bool,
    /// Going out softly, to go.
    pub fading: bool,
}

struct Session {
    id: u64,
    secret: Secret,
    server: SocketAddr,
    sealer: Sealer,
    opener: Opener,
    /// Protects what is asked and answered of the time; without, it is asked in plain.
    time: Option<TimeSeal>,
    silence: Option<Silence>,
}

/// What platforms have to say, until the hub has sent it: buffers that are kept.
#[derive(Default)]
pub(crate) struct Departures {
    bytes: Vec<u8>,
    items: Vec<(SocketAddr, usize, usize)>,
    /// The random numbers of the requests for the time among them.
    pub nonces: Vec<u64>,
}

impl Departures {
    /// Adds a datagram that `write` writes into the room that it is given, if it does.
    fn put(&mut self, to: SocketAddr, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let start = self.bytes.len();
        self.bytes.resize(start + DATAGRAM_MAX, 0);
        let len = write(&mut self.bytes[start..]).unwrap_or(0);
        self.bytes.truncate(start + len);
        if len > 0 {
            self.items.push((to, start, start + len));
        }
    }

    /// What is to be sent, and to whom.
    pub(crate) fn items(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.items.iter().map(|&(to, start, end)| (to, &self.bytes[start..end]))
    }

    /// Forgets what was sent.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.nonces.clear();
    }
}

struct Pending {
    withdraw: Withdraw,
    repeats: usize,
    due_raw_ns: i64,
}

struct Link {
    sync: SyncSession,
    session: Option<Session>,
    closed: bool,
    /// Sessions before this one: none is opened twice.
    former: HashSet<u64>,
    listener: Listener,
    displacement: Displacement,
    withdrawals: Vec<Pending>,
    acknowledged: VecDeque<[u8; 16]>,
    status_due_raw_ns: i64,
    exchanges: u64,
    history: VecDeque<Exchanged>,
    /// Times that the session forgot everything before.
    resets: u64,
    suspends: Suspends,
    unauthentic: u64,
    replayed: u64,
    entropy: Entropy,
}

/// Requests for the time that nobody has answered, since the last answer or since the session began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Who does not answer.
    pub server: SocketAddr,
    /// When the first of them left, on the raw clock.
    pub since_raw_ns: i64,
    /// How many they are.
    pub requests: u64,
    /// Answers that came and were not the sanctuary's own.
    pub forged: u64,
    /// Whether somebody said that the session's keys are of no use to them: the sanctuary, or anybody on the path.
    pub keys_refused: bool,
}

/// How often this machine was suspended while the platform ran.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Suspends {
    /// Times.
    pub count: u64,
    /// How long in all.
    pub total: Span,
    /// When the last one was noticed, on the raw clock.
    pub noticed_raw_ns: i64,
}

/// One exchange with the sanctuary, as it was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchanged {
    /// Counts from 1.
    pub number: u64,
    /// Its four stamps.
    pub exchange: Exchange,
    /// How far the node's own clock is from its source at most.
    pub node_bound: Span,
    /// Counts the times that everything before was forgotten: only exchanges of one era speak of one relation of clocks.
    pub era: u64,
    /// By how much the clock was stepped then, while nobody listened.
    pub step: Span,
}

pub(crate) struct Inner {
    pub(crate) local: LocalClock,
    pub(crate) sample_rate: u32,
    /// For the player; not kept up before there is one.
    pub(crate) heard: ArcSwap<Heard>,
    plays: AtomicBool,
    pub(crate) wishes: ArcSwap<Wishes>,
    link: Mutex<Link>,
    player: Mutex<Player>,
    /// Level in dBFS as f32 bits (low half), written by the player.
    pub(crate) level: AtomicU64,
    /// What else the player tells of itself.
    pub(crate) told: Told,
    /// φ in use, as the player's glide has it.
    pub(crate) offset_in_use: AtomicU64,
    output_latency_ns: AtomicI64,
    card_drift_ppb: AtomicI64,
    /// For how long the machine had been suspended when the session was last told.
    asleep_told_ns: AtomicI64,
    asleep_simulated_ns: AtomicI64,
}

/// One sleeper's device. Thread-safe.
pub struct Platform {
    pub(crate) inner: Arc<Inner>,
    id: u64,
    hub: Arc<Hub>,
    recording: Mutex<Option<Recording>>,
    device: Mutex<Option<Device>>,
    loudspeaker: AtomicBool,
    lamp: Mutex<Lamp>,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameCounters {
    /// Followed, cut and overtaken frames.
    pub frames: Counters,
    /// Datagrams that this session's sanctuary did not seal.
    pub unauthentic: u64,
    /// Datagrams that were seen before.
    pub replayed: u64,
    /// The highest gate epoch followed.
    pub gate_epoch: u64,
    /// How long ago a frame was last followed.
    pub age: Option<Span>,
}

impl Platform {
    /// [`Platform::stating`] the limits of [`Stated::default`].
    pub fn new(
        sample_rate: u32,
        clock_offset_ns: i64,
        clock_drift_ppb: i64,
        seed: Option<u64>,
    ) -> Result<Self, IoError> {
        Self::stating(Stated::default(), sample_rate, clock_offset_ns, clock_drift_ppb, seed)
    }

    /// A platform with a clock of its own, silent and unsynchronised. Its bounds rest on `stated`.
    pub fn stating(
        stated: Stated,
        sample_rate: u32,
        clock_offset_ns: i64,
        clock_drift_ppb: i64,
        seed: Option<u64>,
    ) -> Result<Self, IoError> {
        if !(8_000..=192_000).contains(&sample_rate) {
            return Err(IoError::SampleRate(sample_rate));
        }
        let local = LocalClock::start(clock_offset_ns, clock_drift_ppb)?;
        let hub = Hub::shared()?;
        let seed = match seed {
            Some(seed) => seed,
            None => os::random_u64().map_err(|source| IoError::System { what: "random bytes", source })?,
        };
        let mut sync = SyncSession::new(SyncConfig::default().with(stated), seed);
        let asleep_ns = os::asleep_ns();
        sync.note_asleep(Span::from_ns(asleep_ns));
        let listener = Listener::default();
        let wishes = Wishes {
            program: None,
            rhythm: None,
            offset: PhaseOffset::ZERO,
            voice: Vec::new(),
            hearing: true,
            own_level: 1.0,
            ceiling: 1.0,
            gate_open: true,
            fading: false,
        };
        let inner = Arc::new(Inner {
            local,
            sample_rate,
            heard: ArcSwap::from_pointee(Heard {
                clock: sync.clock(),
                listener: listener.clone(),
                displacement: Displacement::default(),
            }),
            plays: AtomicBool::new(false),
            wishes: ArcSwap::from_pointee(wishes),
            link: Mutex::new(Link {
                sync,
                session: None,
                closed: false,
                former: HashSet::new(),
                listener,
                displacement: Displacement::default(),
                withdrawals: Vec::new(),
                acknowledged: VecDeque::new(),
                status_due_raw_ns: 0,
                exchanges: 0,
                history: VecDeque::new(),
                resets: 0,
                suspends: Suspends::default(),
                unauthentic: 0,
                replayed: 0,
                entropy: Entropy::new()?,
            }),
            player: Mutex::new(Player::default()),
            level: AtomicU64::new(u64::from((-120.0f32).to_bits())),
            told: Told::default(),
            offset_in_use: AtomicU64::new(0),
            output_latency_ns: AtomicI64::new(0),
            card_drift_ppb: AtomicI64::new(0),
            asleep_told_ns: AtomicI64::new(asleep_ns),
            asleep_simulated_ns: AtomicI64::new(0),
        });
        let id = hub.add(&inner);
        let (loudspeaker, lamp) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { inner, id, hub, recording: Mutex::new(None), device: Mutex::new(None), loudspeaker, lamp })
    }

    /// Opens or re-opens the data plane. The clock estimate and the wishes stay.
    ///
    /// With `time_keys` only answers that the sanctuary itself made move the clock; without, anybody on the path could.
    /// The open session may be given again, to look for its sanctuary anew; it goes on where it was. Errors on a former
    /// one, whose nonces would repeat, on keys that cannot be used, and once the platform is closed.
    pub fn connect(
        &self,
        host: &str,
        port: u16,
        session: u64,
        secret: &Secret,
        time_keys: Option<&TimeKeys>,
    ) -> Result<(), IoError> {
        let server = crate::node::resolve(host, port)?;
        let time = time_keys.map(TimeSeal::new).transpose()?;
        let mut link = lock(&self.inner.link);
        if link.closed {
            return Err(IoError::State("this platform is closed; make another"));
        }
        if let Some(open) = link.session.as_mut().filter(|open| open.id == session && open.secret == *secret) {
            (open.server, open.time) = (server, time);
            open.silence = open.silence.filter(|silence| silence.server == server);
            drop(link);
            self.hub.hurry(self.id);
            return Ok(());
        }
        if link.former.contains(&session) || link.session.as_ref().is_some_and(|open| open.id == session) {
            return Err(IoError::State("a session is opened only once; ask the sanctuary for a new one"));
        }
        let former = link.session.replace(Session {
            id: session,
            secret: *secret,
            server,
            sealer: Sealer::new(secret, session, Direction::Up),
            opener: Opener::new(secret, session, Direction::Down),
            time,
            silence: None,
        });
        // Another session is no answer.
        let silence = former.as_ref().and_then(|former| former.silence).filter(|silence| silence.server == server);
        if let Some(open) = &mut link.session {
            open.silence = silence.map(|silence| Silence { forged: 0, keys_refused: false, ..silence });
        }
        link.former.extend(former.as_ref().map(|former| former.id));
        // What the former session could not deliver is as urgent as on its first day.
        for pending in &mut link.withdrawals {
            (pending.repeats, pending.due_raw_ns) = (0, 0);
        }
        // Gate epochs count within a session; what the former session's frames said is forgotten, and fades in anew. But
        // a silent room stays silent until somebody says otherwise.
        link.listener = link.listener.renewed();
        link.status_due_raw_ns = 0;
        self.inner.publish(&link);
        drop(link);
        self.hub.connected(self.id, former.map(|former| former.id), session);
        Ok(())
    }

    /// One instant, on both clocks, and how many exchanges it rests on.
    pub fn clock(&self) -> (i64, Reading, u64) {
        let mut link = lock(&self.inner.link);
        self.inner.look_asleep(&mut link);
        let raw_ns = os::raw_ns();
        (raw_ns, link.sync.clock().read(self.inner.local.at_raw(raw_ns)), link.exchanges)
    }

    /// Since when the sanctuary has not answered, if a request is waiting. A second or two of it is an answer's way.
    pub fn silence(&self) -> Option<Silence> {
        lock(&self.inner.link).session.as_ref()?.silence
    }

    /// How often this machine was suspended. Afterwards the clock begins anew: the sound fades out, and comes back.
    pub fn suspends(&self) -> Suspends {
        let mut link = lock(&self.inner.link);
        self.inner.look_asleep(&mut link);
        link.suspends
    }

    /// For simulations: the machine says that it was suspended for `asleep`, by and by.
    pub fn simulate_suspend(&self, asleep: Span) {
        self.inner.asleep_simulated_ns.fetch_add(asleep.ns(), Ordering::Relaxed);
    }

    /// The exchanges after number `after`, oldest first; the oldest may be forgotten already.
    pub fn exchanges(&self, after: u64) -> Vec<Exchanged> {
        lock(&self.inner.link).history.iter().filter(|one| one.number > after).copied().collect()
    }

    /// The limits of the two clocks on which every bound rests.
    pub fn stated(&self) -> Stated {
        lock(&self.inner.link).sync.config().stated()
    }

    /// How long after the card has played a sample it is heard. What sounds glides there.
    pub fn set_output_latency(&self, latency: Span) -> Result<(), IoError> {
        if latency < Span::ZERO || latency > OUTPUT_LATENCY_MAX {
            return Err(IoError::OutputLatency { given_ns: latency.ns() });
        }
        self.inner.output_latency_ns.store(latency.ns(), Ordering::Relaxed);
        Ok(())
    }

    /// For simulations: the card that a recording plays is `drift_ppb` faster than this platform's clock.
    pub fn simulate_card(&self, drift_ppb: i64) -> Result<(), IoError> {
        if drift_ppb.abs() > CARD_DRIFT_MAX_PPB {
            return Err(IoError::State("a simulated sound card is at most 1000 ppm wrong"));
        }
        self.inner.card_drift_ppb.store(drift_ppb, Ordering::Relaxed);
        Ok(())
    }

    /// A sound card says that it had played `frames` of what [`Platform::render`] gave when the raw clock read `raw_ns`.
    pub fn played(&self, frames: u64, raw_ns: i64) -> Taken {
        self.inner.player().played(self.inner.sample_rate, frames, self.inner.local.at_raw(raw_ns))
    }

    /// What the sound card's clock is taken to be; `None` before the first sample.
    pub fn converter(&self) -> Option<ConverterReading> {
        self.inner.player().converter()
    }

    /// From the next program on, beats between the ears are pulses, or not: from a loudspeaker, both ears hear both sides.
    pub fn set_loudspeaker(&self, loudspeaker: bool) {
        self.loudspeaker.store(loudspeaker, Ordering::SeqCst);
    }

    /// What to play; `None` for silence.
    pub fn set_program(&self, program: Option<Arc<Program>>) {
        let program = match self.loudspeaker.load(Ordering::SeqCst) {
            true => program.map(|program| Arc::new(Arc::unwrap_or_clone(program).for_loudspeaker())),
            false => program,
        };
        self.wish(|wishes| wishes.program.clone_from(&program));
    }

    /// The sleeper's own rhythm, or the circle's where they have none.
    pub fn set_rhythm(&self, rhythm: Rhythm) {
        let rhythm = Arc::new(rhythm);
        self.wish(|wishes| wishes.rhythm = Some(Arc::clone(&rhythm)));
    }

    /// The sleeper's own displacement; heard from the next block on, gliding there by the shortest way.
    pub fn set_offset(&self, offset: PhaseOffset) {
        self.wish(|wishes| wishes.offset = offset);
    }

    /// The sleeper's own voice, as they hear it themself.
    pub fn set_voice(&self, coefficients: &[Complex<f32>]) -> Result<(), IoError> {
        Voice::new(coefficients)?;
        self.wish(|wishes| wishes.voice = coefficients.to_vec());
        Ok(())
    }

    /// Whether the others are heard at all, and how loud the sleeper's own voice is.
    pub fn set_levels(&self, hearing: f32, own: f32) -> Result<(), IoError> {
        for (given, max) in [(hearing, LEVEL_MAX), (own, 1.0)] {
            if !given.is_finite() || !(0.0..=max).contains(&given) {
                return Err(IoError::Level { given, max });
            }
        }
        // The level itself is applied by the sanctuary, before the frames are sealed.
        self.wish(|wishes| (wishes.hearing, wishes.own_level) = (hearing > 0.0, own));
        Ok(())
    }

    /// The personal ceiling, linear amplitude, at most full scale.
    pub fn set_ceiling(&self, ceiling: f32) -> Result<(), IoError> {
        if !ceiling.is_finite() || !(0.0..=1.0).contains(&ceiling) {
            return Err(IoError::Level { given: ceiling, max: 1.0 });
        }
        self.wish(|wishes| wishes.ceiling = ceiling);
        Ok(())
    }

    /// θ + φ now.
    pub fn phase(&self) -> Phase {
        self.inner.phase_at(self.inner.local.now())
    }

    /// φ as it was wished.
    pub fn offset(&self) -> PhaseOffset {
        self.inner.wishes.load().offset
    }

    /// Takes something back: silences what is silenced here at once, and tells the sanctuary until it acknowledges.
    pub fn withdraw(&self, withdraw: Withdraw) {
        self.wish(|wishes| {
            wishes.gate_open &= !withdraw.is_whole();
            wishes.hearing &= !(withdraw.is_whole() || withdraw.purposes & PURPOSE_HEARING != 0);
        });
        let mut link = lock(&self.inner.link);
        if !link.withdrawals.iter().any(|pending| pending.withdraw.event_id == withdraw.event_id) {
            link.withdrawals.push(Pending { withdraw, repeats: 0, due_raw_ns: 0 });
        }
        drop(link);
        self.hub.hurry(self.id);
    }

    /// Whether the sanctuary has said that this withdrawal is on disk.
    pub fn acknowledged(&self, event_id: &[u8; 16]) -> bool {
        lock(&self.inner.link).acknowledged.contains(event_id)
    }

    /// The withdrawal is on disk, as another channel says: stop repeating it.
    pub fn set_acknowledged(&self, event_id: [u8; 16]) {
        lock(&self.inner.link).note_acknowledged(event_id);
    }

    /// Opens this platform's own gate again. Only a person's own new grant may lead here.
    pub fn open_gate(&self) {
        self.wish(|wishes| wishes.gate_open = true);
    }

    /// Closes this platform's own gate in the next block and tells nobody: the person has withdrawn elsewhere.
    pub fn close_gate(&self) {
        self.wish(|wishes| wishes.gate_open = false);
    }

    /// Whether the own gate is open.
    pub fn gate_open(&self) -> bool {
        self.inner.wishes.load().gate_open
    }

    /// What is said over gRPC of whether the room is silent, and from which gate epoch on frames say so too (`None`: they
    /// do not); heard from the next block on, unless frames have said something newer. See [`HeardHush`].
    pub fn set_hush(&self, hush: Hush, epoch: Option<u64>) {
        let mut link = lock(&self.inner.link);
        link.listener.tell_hush(hush, epoch);
        self.inner.publish(&link);
    }

    /// Whether the room is silent: nothing is played then, however the own gate stands.
    pub fn hush(&self) -> HeardHush {
        lock(&self.inner.link).listener.hush()
    }

    /// Momentary level of what was last played, dBFS.
    pub fn level_dbfs(&self) -> f32 {
        self.inner.level_dbfs()
    }

    /// What it sounds like now, and what was dropped so far.
    pub fn sound(&self) -> Sound {
        self.inner.told.sound(self.inner.wishes.load().ceiling)
    }

    /// Goes out in five seconds, softly: whoever stops abruptly wakes a sleeper. [`Sound::faded`] says when it is done.
    /// A gate that closes meanwhile closes as quickly as ever.
    pub fn fade_out(&self) {
        self.wish(|wishes| wishes.fading = true);
    }

    /// What a lamp of brightness up to `brightest` (0 to 1) is to show now: it glows at this sleeper's beat, is dark while
    /// they hear nothing, and flashes fewer than three times a second whatever happens. In an alarm it is `brightest`.
    pub fn light(&self, brightest: f64) -> f64 {
        let (now, brightest) = (self.inner.local.now(), brightest.clamp(0.0, 1.0));
        if self.hush().hush() == Hush::Alarm {
            return brightest;
        }
        let dark = self.inner.told.sound(1.0).peak == 0.0;
        let wanted = if dark { 0.0 } else { brightest * glow(self.inner.phase_at(now)) };
        lock(&self.lamp).show(wanted, now)
    }

    /// What became of the frames.
    pub fn frames(&self) -> FrameCounters {
        let link = lock(&self.inner.link);
        FrameCounters {
            frames: link.listener.counters(),
            unauthentic: link.unauthentic,
            replayed: link.replayed,
            gate_epoch: link.listener.gate_epoch(),
            age: link.listener.age(self.inner.local.now()),
        }
    }

    /// The newest frame's coefficients.
    pub fn others(&self) -> Vec<Complex<f32>> {
        lock(&self.inner.link).listener.others().to_vec()
    }

    /// The next samples, interleaved left and right; the first call begins now.
    pub fn render(&self, interleaved: &mut [f32]) -> Result<(), IoError> {
        if lock(&self.recording).is_some() {
            return Err(IoError::State("this platform is recording in real time; stop that before rendering by hand"));
        }
        if lock(&self.device).is_some() {
            return Err(IoError::State("this platform plays through a sound card; stop that before rendering by hand"));
        }
        self.inner.begin_to_play();
        lock(&self.inner.player).render(&self.inner, interleaved)
    }

    /// When the next sample to be rendered is heard: on the platform's clock, and in node time as the renderer has it.
    /// `None` before the first.
    pub fn next_sample(&self) -> Option<(PlatformTime, NodeTime)> {
        self.inner.player().next_sample(self.inner.output_latency())
    }

    /// Renders in real time into a WAV file until [`Platform::stop_recording`].
    pub fn record(&self, path: &Path) -> Result<(), IoError> {
        let mut recording = lock(&self.recording);
        if recording.is_some() {
            return Err(IoError::State("this platform is recording already; stop that first"));
        }
        if lock(&self.device).is_some() {
            return Err(IoError::State("this platform plays through a sound card; stop that first"));
        }
        self.inner.begin_to_play();
        *recording = Some(Recording::start(Arc::clone(&self.inner), path)?);
        Ok(())
    }

    /// Ends the recording; returns the frames written.
    pub fn stop_recording(&self) -> Result<u64, IoError> {
        let recording = lock(&self.recording).take();
        recording.map_or(Err(IoError::State("this platform is not recording")), Recording::stop)
    }

    /// Plays through the sound device of that name, queueing about `buffer`, until [`Platform::stop_playing`].
    pub fn play(&self, device: &str, buffer: Span) -> Result<(), IoError> {
        let recording = lock(&self.recording);
        let mut playing = lock(&self.device);
        if recording.is_some() || playing.is_some() {
            return Err(IoError::State("this platform is recording or playing already; stop that first"));
        }
        self.inner.begin_to_play();
        *playing = Some(Device::start(Arc::clone(&self.inner), device, buffer)?);
        Ok(())
    }

    /// How the sound device has played so far; `None` without one.
    pub fn device(&self) -> Option<DeviceReport> {
        lock(&self.device).as_ref().map(Device::report)
    }

    /// Ends playing; returns how the device has played.
    pub fn stop_playing(&self) -> Result<DeviceReport, IoError> {
        let device = lock(&self.device).take();
        device.map_or(Err(IoError::State("this platform plays through no sound card")), Device::stop)
    }

    /// Stops everything that this platform does. Idempotent.
    pub fn close(&self) {
        if let Some(device) = lock(&self.device).take() {
            let _ = device.stop();
        }
        if let Some(recording) = lock(&self.recording).take() {
            let _ = recording.stop();
        }
        let former = {
            let mut link = lock(&self.inner.link);
            link.closed = true;
            link.session.take()
        };
        self.hub.remove(self.id, former.map(|former| former.id));
    }

    pub(crate) fn wish(&self, change: impl Fn(&mut Wishes)) {
        self.inner.wishes.rcu(|wishes| {
            let mut wishes = Wishes::clone(wishes);
            change(&mut wishes);
            wishes
        });
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.close();
    }
}

impl Session {
    /// Writes into `out` what asks for the time by a session's plain `request`; returns its length.
    fn ask(&mut self, request: &[u8], entropy: &mut Entropy, out: &mut [u8]) -> Option<usize> {
        let since =
            Silence { server: self.server, since_raw_ns: os::raw_ns(), requests: 0, forged: 0, keys_refused: false };
        self.silence.get_or_insert(since).requests += 1;
        let Some(time) = &mut self.time else {
            out[..request.len()].copy_from_slice(request);
            return Some(request.len());
        };
        time.seal(request, entropy, out).ok()
    }

    /// The plain answer, if the sanctuary made it; `room` is for that.
    fn believe<'a>(&mut self, answer: &'a [u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
        let Some(time) = &mut self.time else { return Some(answer) };
        match time.open(answer, room) {
            Ok(len) => Some(&room[..len]),
            Err(error) => {
                if let Some(silence) = &mut self.silence {
                    silence.keys_refused |= error == NtsError::Nak;
                    silence.forged += u64::from(error != NtsError::Nak);
                }
                None
            }
        }
    }
}

impl Link {
    fn note_exchange(&mut self, used: &Received) {
        self.exchanges += 1;
        self.resets += u64::from(used.reset.is_some());
        if self.history.len() == EXCHANGES_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Exchanged {
            number: self.exchanges,
            exchange: used.exchange,
            node_bound: used.node_bound,
            era: self.resets,
            step: used.step,
        });
    }

    fn note_acknowledged(&mut self, event_id: [u8; 16]) {
        self.withdrawals.retain(|pending| pending.withdraw.event_id != event_id);
        if !self.acknowledged.contains(&event_id) {
            self.acknowledged.truncate(ACKNOWLEDGED_MAX - 1);
            self.acknowledged.push_front(event_id);
        }
    }
}

impl Inner {
    fn asleep_ns(&self) -> i64 {
        os::asleep_ns().saturating_add(self.asleep_simulated_ns.load(Ordering::Relaxed))
    }

    /// Whether the machine was suspended since anybody looked: what is published is worth nothing. Realtime-safe.
    pub(crate) fn has_slept(&self) -> bool {
        self.asleep_ns() - self.asleep_told_ns.load(Ordering::Relaxed) >= SUSPEND_MIN.ns()
    }

    /// Tells the session whether the machine was suspended. Before it hears anything, and before anybody reads it.
    fn look_asleep(&self, link: &mut Link) {
        let asleep_ns = self.asleep_ns();
        let Some(slept) = link.sync.note_asleep(Span::from_ns(asleep_ns)) else { return };
        let Suspends { count, total, .. } = link.suspends;
        link.suspends = Suspends { count: count + 1, total: total + slept, noticed_raw_ns: os::raw_ns() };
        link.resets += 1;
        link.status_due_raw_ns = 0;
        self.publish(link);
        self.asleep_told_ns.store(asleep_ns, Ordering::Relaxed);
    }

    /// From now on what the network brings is published for a player. A thousand platforms of a simulation play nothing.
    pub(crate) fn begin_to_play(&self) {
        if !self.plays.load(Ordering::Relaxed) {
            let link = lock(&self.link);
            self.plays.store(true, Ordering::Relaxed);
            self.publish(&link);
        }
    }

    /// The link's lock is held, so nothing older can follow.
    fn publish(&self, link: &Link) {
        if !self.plays.load(Ordering::Relaxed) {
            return;
        }
        let (clock, listener) = (link.sync.clock(), link.listener.clone());
        self.heard.store(Arc::new(Heard { clock, listener, displacement: link.displacement }));
    }

    pub(crate) fn player(&self) -> MutexGuard<'_, Player> {
        lock(&self.player)
    }

    pub(crate) fn output_latency(&self) -> Span {
        Span::from_ns(self.output_latency_ns.load(Ordering::Relaxed))
    }

    pub(crate) fn card_drift_ppb(&self) -> i64 {
        self.card_drift_ppb.load(Ordering::Relaxed)
    }

    fn level_dbfs(&self) -> f32 {
        f32::from_bits(self.level.load(Ordering::Relaxed) as u32)
    }

    fn phase_at(&self, now: PlatformTime) -> Phase {
        let link = lock(&self.link);
        self.phase_with(&link.displacement, link.sync.clock().node_at(now))
    }

    /// θ + φ at `node`; φ alone while there is no rhythm.
    fn phase_with(&self, displacement: &Displacement, node: NodeTime) -> Phase {
        let wishes = self.wishes.load();
        let theta = |rhythm: &Arc<Rhythm>| rhythm.phase_at(node) + displacement.at(node);
        wishes.rhythm.as_ref().map_or(Phase::ZERO, theta) + wishes.offset
    }

    fn displacement_after(&self, frame: &MixFrame, mut displacement: Displacement) -> Displacement {
        if let Some(own) = &self.wishes.load().rhythm {
            displacement.take(frame, own);
        }
        displacement
    }

    fn status(&self, link: &Link, now: PlatformTime) -> Status {
        let reading = link.sync.clock().read(now);
        let wishes = self.wishes.load();
        Status {
            gate_epoch: link.listener.gate_epoch(),
            lock_state: reading.state as u8,
            gate_open: link.listener.opens(wishes.gate_open),
            bound: reading.bound(),
            uncertainty: reading.uncertainty,
            rate_ppb: reading.rate_ppb,
            offset: wishes.offset,
            phase: self.phase_with(&link.displacement, reading.node),
            level_dbfs: self.level_dbfs(),
            platform: now,
            node: reading.node,
            suspends: link.suspends.count.try_into().unwrap_or(u16::MAX),
            dropped: self.told.sound(1.0).dropped.try_into().unwrap_or(u32::MAX),
            stated: link.sync.config().stated(),
        }
    }

    /// Puts what is due into `departures`; returns when to come back, on the raw clock. Send at once: requests are stamped.
    pub(crate) fn service(&self, departures: &mut Departures) -> i64 {
        let mut link = lock(&self.link);
        let link = &mut *link;
        self.look_asleep(link);
        let Some(session) = &mut link.session else { return i64::MAX };
        let server = session.server;
        let mut request = [0; CIRCLE_PACKET_LEN];
        let mut early_ns = 0;
        while let Some(len) = link.sync.poll_transmit(self.local.now(), &mut request) {
            departures.nonces.push(u64::from_be_bytes(request[40..48].try_into().expect("eight bytes")));
            departures.put(server, |room| session.ask(&request[..len], &mut link.entropy, room));
            early_ns = STATUS_EARLY_NS;
        }
        let now = os::raw_ns();
        let mut next = self.next_request(&link.sync);
        for pending in &mut link.withdrawals {
            if pending.due_raw_ns <= now {
                departures
                    .put(server, |room| session.sealer.seal(Use::Withdraw, &pending.withdraw.encode(), room).ok());
                pending.due_raw_ns = now + WITHDRAW_REPEATS_NS[pending.repeats.min(WITHDRAW_REPEATS_NS.len() - 1)];
                pending.repeats += 1;
            }
            next = next.min(pending.due_raw_ns);
        }
        if link.status_due_raw_ns <= now + early_ns {
            link.status_due_raw_ns = now + STATUS_INTERVAL_NS;
            let status = self.status(link, self.local.at_raw(now));
            let session = link.session.as_mut().expect("checked above");
            departures.put(server, |room| session.sealer.seal(Use::Status, &status.encode(), room).ok());
        }
        next.min(link.status_due_raw_ns)
    }

    /// When the next request for the time is due, on the raw clock.
    fn next_request(&self, sync: &SyncSession) -> i64 {
        self.local.to_raw(sync.poll_timeout())
    }

    /// An answer to one of this platform's sync requests arrived, or what looks like one. Returns when the hub should
    /// service it at the latest, on the raw clock.
    pub(crate) fn handle_sync(&self, datagram: &[u8], raw_ns: i64, stamp_error_ns: i64) -> i64 {
        let mut link = lock(&self.link);
        let link = &mut *link;
        self.look_asleep(link);
        let Some(session) = &mut link.session else { return i64::MAX };
        let mut plain = [0; CIRCLE_PACKET_LEN];
        let Some(answer) = session.believe(datagram, &mut plain) else { return i64::MAX };
        let received = self.local.at_raw(raw_ns);
        let heard = link.sync.handle_input(received, Span::from_ns(stamp_error_ns), answer);
        if heard != Err(SyncError::Packet(PacketError::NotAsked)) {
            // Even a refusal has come through.
            session.silence = None;
        }
        if let Ok(used) = heard {
            link.note_exchange(&used);
            self.publish(link);
        }
        self.next_request(&link.sync)
    }

    /// A sealed datagram for this platform's session arrived; returns whether the hub should service it soon.
    pub(crate) fn handle_sealed(&self, datagram: &mut [u8], raw_ns: i64) -> bool {
        let mut link = lock(&self.link);
        let link = &mut *link;
        let Some(session) = &mut link.session else { return false };
        match session.opener.open(datagram) {
            Ok((Use::Mix, payload)) => {
                let Ok(frame) = MixFrame::decode(payload) else { return false };
                let cut = frame.cut;
                let displacement = self.displacement_after(&frame, link.displacement);
                if link.listener.handle(frame, self.local.at_raw(raw_ns)) {
                    link.displacement = displacement;
                    self.publish(link);
                }
                if cut {
                    // The status that follows at once is the acknowledgement.
                    link.status_due_raw_ns = 0;
                }
                cut
            }
            Ok((Use::Acknowledge, payload)) => {
                if let Ok(event_id) = payload.try_into() {
                    link.note_acknowledged(event_id);
                }
                false
            }
            Ok(_) => false,
            Err(SealError::Replayed) => {
                link.replayed += 1;
                false
            }
            Err(_) => {
                link.unauthentic += 1;
                false
            }
        }
    }
}
