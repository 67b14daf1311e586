//! Rendering what one platform plays, block by block, for the instant at which it will sound.
//!
//! A sound card plays by its own crystal. Its clock ([`ConverterClock`]) says at which of the platform's instants a
//! block's first and last samples leave the converter; the output latency is added, and the disciplined clock says what
//! node time that is. A recording's thread plays the card: it tells of frames played as a driver would.
//!
//! A block's samples are evenly spaced in node time from where the last block ended to where the clock says that this
//! one ends. So a correction of the clock is heard as a rate that is off by parts in a million, never as a jump. Only
//! while the platform is silent may the cursor be set anew.
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use harmonia_core::follower::Follower;
use harmonia_core::limiter::TRUE_PEAK_MAX;
use harmonia_core::listener::{CUT_GLIDE, STALE_GLIDE};
use harmonia_core::loudness::{Meter, LOUDNESS_MIN_LUFS};
use harmonia_core::program::Program;
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::sample::{ConverterClock, ConverterReading, Taken};
use harmonia_core::servo::LockState;
use harmonia_core::units::{NodeTime, PlatformTime, Span, NS_PER_S};
use num_complex::Complex;

use crate::error::IoError;
use crate::os;
use crate::platform::Inner;

/// Samples a block: 5.3 ms at 48 kHz, so that a withdrawal is followed within the next 5 ms.
pub(crate) const BLOCK: usize = 256;
/// How fast the rendering rate may differ from the clock's, in parts of it: 500 ppm.
const RATE_SLACK: i64 = 2_000;
/// Farther from the clock than this, the player falls silent and sets itself anew.
const LOST: Span = Span::from_ms(20);
/// How long the score takes to go out when the clock can no longer be trusted, and to come back.
const PRESENCE_RAMP: Span = Span::from_s(5);
/// A certified bound beyond this is no phase worth playing.
const BOUND_MAX: Span = Span::from_ms(250);
/// After the presence is gone, the others' coefficients may still be on their way to zero for this long.
const REST: Span = STALE_GLIDE;
/// How often a recording's header is brought up to date, in blocks: about a second.
const FLUSH_BLOCKS: u64 = 200;

/// A WAV file says its length in 32 bits of bytes.
const BLOCKS_MAX: u64 = (u32::MAX as u64 - 4096) / (4 * BLOCK as u64);

/// What a platform sounds like now, and what was wrong with it so far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sound {
    /// Momentary loudness of what was last played (ITU-R BS.1770, 400 ms).
    pub momentary_lufs: f32,
    /// The largest sample of these 400 ms, linear.
    pub peak: f32,
    /// What the limiter multiplies by, 0 to 1.
    pub gain: f32,
    /// The ceiling in force, linear.
    pub ceiling: f32,
    /// Coefficients and samples that were no numbers, and were made silence.
    pub dropped: u64,
    /// How often the cursor was set anew while a stream went on.
    pub resets: u64,
    /// Whether nothing is to be heard any more after a fade-out.
    pub faded: bool,
}

/// The same, as the player leaves it for whoever looks: nobody waits for anybody.
pub(crate) struct Told {
    momentary_lufs: AtomicU32,
    peak: AtomicU32,
    gain: AtomicU32,
    dropped: AtomicU64,
    resets: AtomicU64,
    faded: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            momentary_lufs: AtomicU32::new(LOUDNESS_MIN_LUFS.to_bits()),
            peak: AtomicU32::new(0),
            gain: AtomicU32::new(1f32.to_bits()),
            dropped: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            faded: AtomicBool::new(true),
        }
    }
}

impl Told {
    /// Nobody renders any more, so nothing is heard.
    pub(crate) fn rest(&self) {
        self.momentary_lufs.store(LOUDNESS_MIN_LUFS.to_bits(), Ordering::Relaxed);
        self.peak.store(0, Ordering::Relaxed);
        self.faded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn sound(&self, ceiling: f32) -> Sound {
        let float = |bits: &AtomicU32| f32::from_bits(bits.load(Ordering::Relaxed));
        Sound {
            momentary_lufs: float(&self.momentary_lufs),
            peak: float(&self.peak),
            gain: float(&self.gain),
            ceiling: ceiling.min(TRUE_PEAK_MAX),
            dropped: self.dropped.load(Ordering::Relaxed),
            resets: self.resets.load(Ordering::Relaxed),
            faded: self.faded.load(Ordering::Relaxed),
        }
    }
}

/// The state of one platform's rendering.
#[derive(Default)]
pub(crate) struct Player {
    renderer: Option<(Arc<Program>, Renderer)>,
    follower: Follower,
    cursor: Option<Cursor>,
    presence: f32,
    /// Samples since `presence` reached 0.
    rested: u64,
    /// Cut frames that were followed so far, and the samples left in which the last of them is to be heard.
    cuts: u64,
    cutting: u64,
    own: Vec<Complex<f32>>,
    left: Vec<f32>,
    right: Vec<f32>,
    meter: Option<Meter>,
    /// What former renderers dropped.
    dropped: u64,
    resets: u64,
}

/// Where the next sample lies on all three clocks.
#[derive(Clone)]
struct Cursor {
    /// The card on which this run plays.
    converter: ConverterClock,
    /// Samples since the run began.
    rendered: u64,
    /// Node time of the next sample, in 2⁻³² ns.
    node_fine: i128,
}

fn fine(time: (NodeTime, u32)) -> i128 {
    i128::from(time.0.ns()) << 32 | i128::from(time.1)
}

impl Cursor {
    /// A run whose first sample plays at `origin`, as far as is known.
    fn new(sample_rate: u32, origin: PlatformTime) -> Self {
        Self { converter: ConverterClock::new(sample_rate, origin), rendered: 0, node_fine: i128::MIN }
    }

    /// When the sample `ahead` of the next one leaves the converter.
    fn platform_at(&self, ahead: usize) -> PlatformTime {
        self.converter.platform_at(self.rendered + ahead as u64)
    }

    /// Catches up with the clock, which says that a block of `frames` lasts `from..to`, as far as the slack allows.
    fn advance(&mut self, from: i128, to: i128, frames: usize) -> BlockClock {
        let nominal = (to - from).max(1);
        let wanted = to - self.node_fine;
        let slack = nominal / i128::from(RATE_SLACK);
        let advance = wanted.clamp(nominal - slack, nominal + slack);
        let step = (advance / frames as i128) as u64;
        let start = NodeTime::from_ns((self.node_fine >> 32) as i64);
        let clock = BlockClock { start, fraction: self.node_fine as u32, step };
        self.node_fine += i128::from(step) * frames as i128;
        clock
    }
}

impl Player {
    /// Begins anew at `now`, at the next render.
    pub(crate) fn restart(&mut self, sample_rate: u32, now: PlatformTime) {
        // Another stream: nothing of the former one sounds in it.
        let (dropped, resets) = (self.all_dropped(), self.resets);
        *self = Self { cursor: Some(Cursor::new(sample_rate, now)), dropped, resets, ..Self::default() };
    }

    /// How often the cursor was set anew while a stream went on.
    pub(crate) fn resets(&self) -> u64 {
        self.resets
    }

    fn all_dropped(&self) -> u64 {
        self.dropped + self.renderer.as_ref().map_or(0, |(_, renderer)| renderer.dropped())
    }

    /// By `at` the card had played so many frames of this run.
    pub(crate) fn played(&mut self, sample_rate: u32, frames: u64, at: PlatformTime) -> Taken {
        self.cursor.get_or_insert_with(|| Cursor::new(sample_rate, at)).converter.take(frames, at)
    }

    /// What the card's clock is taken to be; `None` before the first sample.
    pub(crate) fn converter(&self) -> Option<ConverterReading> {
        Some(self.cursor.as_ref()?.converter.read())
    }

    /// When the next sample sounds, `latency` after the card played it: on the platform's clock, and in node time as the
    /// renderer has it.
    pub(crate) fn next_sample(&self, latency: Span) -> Option<(PlatformTime, NodeTime)> {
        let cursor = self.cursor.as_ref().filter(|cursor| cursor.node_fine != i128::MIN)?;
        Some((cursor.platform_at(0) + latency, NodeTime::from_ns((cursor.node_fine >> 32) as i64)))
    }

    /// Fills `interleaved` with the next samples, left and right.
    pub(crate) fn render(&mut self, inner: &Inner, interleaved: &mut [f32]) -> Result<(), IoError> {
        if !interleaved.len().is_multiple_of(2) {
            return Err(IoError::State("samples come in pairs, left and right; give room for an even number"));
        }
        for block in interleaved.chunks_mut(2 * BLOCK) {
            let frames = block.len() / 2;
            self.left.resize(BLOCK, 0.0);
            self.right.resize(BLOCK, 0.0);
            self.block(inner, frames)?;
            self.tell(inner, frames);
            for (pair, (left, right)) in block.chunks_exact_mut(2).zip(self.left.iter().zip(&self.right)) {
                (pair[0], pair[1]) = (*left, *right);
            }
        }
        Ok(())
    }

    /// Leaves how the block sounds for whoever looks.
    fn tell(&mut self, inner: &Inner, frames: usize) {
        let meter = self.meter.get_or_insert_with(|| Meter::new(inner.sample_rate));
        meter.take(&self.left[..frames], &self.right[..frames]);
        let (lufs, peak) = (meter.momentary_lufs(), meter.peak());
        let gain = self.renderer.as_ref().map_or(1.0, |(_, renderer)| renderer.limiter().gain());
        for (told, value) in [(&inner.told.momentary_lufs, lufs), (&inner.told.peak, peak), (&inner.told.gain, gain)] {
            told.store(value.to_bits(), Ordering::Relaxed);
        }
        inner.told.dropped.store(self.all_dropped(), Ordering::Relaxed);
        inner.told.resets.store(self.resets, Ordering::Relaxed);
        inner.told.faded.store(self.presence == 0.0 && peak == 0.0, Ordering::Relaxed);
    }

    fn block(&mut self, inner: &Inner, frames: usize) -> Result<(), IoError> {
        let heard = inner.heard.load();
        let wishes = inner.wishes.load();
        let cursor = self.cursor.get_or_insert_with(|| Cursor::new(inner.sample_rate, inner.local.now()));
        let begins = cursor.platform_at(0) + inner.output_latency();
        let ends = cursor.platform_at(frames) + inner.output_latency();
        cursor.rendered += frames as u64;
        let (from, to) = (fine(heard.clock.node_fine(begins)), fine(heard.clock.node_fine(ends)));

        let reading = heard.clock.read(begins);
        let trusted = match reading.state {
            LockState::Locked | LockState::Holdover => reading.bound() <= BOUND_MAX && !inner.has_slept(),
            LockState::Unsynchronised | LockState::Acquiring => false,
        };
        let lost = cursor.node_fine.abs_diff(from) > (LOST.ns() as u128) << 32;
        let samples = |span: Span| span.ns() as u64 * u64::from(inner.sample_rate) / NS_PER_S as u64;
        let silent = self.renderer.is_none() || (self.presence == 0.0 && self.rested >= samples(REST));
        if lost && silent {
            // The first time is no accident, and neither is what happens before anything has sounded.
            self.resets += u64::from(cursor.node_fine != i128::MIN && self.renderer.is_some());
            cursor.node_fine = from;
        }
        let coming = trusted && (silent || !lost) && wishes.program.is_some() && !wishes.fading;
        let ramp = frames as f32 / inner.sample_rate as f32 / PRESENCE_RAMP.as_s_f64() as f32;
        self.presence = (self.presence + if coming { ramp } else { -ramp }).clamp(0.0, 1.0);
        self.rested = if self.presence == 0.0 { self.rested + frames as u64 } else { 0 };

        let playing = self.renderer.as_ref().map(|(program, _)| program);
        let other = !wishes.program.as_ref().is_some_and(|wished| playing.is_some_and(|p| Arc::ptr_eq(p, wished)));
        // What sounds still goes out by its gate before another program comes in by its own.
        let sounding = |renderer: &Renderer| !silent && !renderer.gate().is_silent();
        let leaving = other && coming && self.renderer.as_ref().is_some_and(|(_, renderer)| sounding(renderer));
        if let Some(wished) = wishes.program.as_ref().filter(|_| other && coming && !leaving) {
            let renderer = Renderer::new(Arc::clone(wished), inner.sample_rate)
                .map_err(|_| IoError::SampleRate(inner.sample_rate))?;
            self.dropped += self.renderer.as_ref().map_or(0, |(_, renderer)| renderer.dropped());
            self.renderer = Some((Arc::clone(wished), renderer));
            // A new renderer's gate fades in by itself.
            self.presence = 1.0;
        }
        let (left, right) = (&mut self.left[..frames], &mut self.right[..frames]);
        let Some((program, renderer)) = &mut self.renderer else {
            cursor.node_fine = to;
            left.fill(0.0);
            right.fill(0.0);
            return Ok(());
        };

        let clock = cursor.advance(from, to, frames);

        let channels = program.channels.len();
        self.own.clear();
        let level = self.presence * wishes.own_level;
        self.own.extend((0..channels).map(|k| wishes.voice.get(k).copied().unwrap_or(Complex::new(1.0, 0.0)) * level));
        // The listener's memory is small; a copy of it keeps this block free of the network's locks.
        let mut listener = heard.listener.clone();
        let (others, glide) = listener.target(begins);
        let silence = [Complex::default(); harmonia_core::program::CHANNELS_MAX];
        let hears = wishes.hearing && !wishes.fading && others.len() == channels && self.presence > 0.0;
        let others = if hears { others } else { &silence[..channels] };
        // A cut is heard out even if ordinary frames follow it before the next block, or before its glide is over.
        let cuts = heard.listener.counters().cut;
        if cuts > self.cuts {
            self.cutting = samples(CUT_GLIDE);
        }
        self.cuts = cuts;
        let glide = match self.cutting {
            _ if !wishes.hearing => CUT_GLIDE,
            0 if wishes.fading => PRESENCE_RAMP,
            0 => glide,
            left => Span::from_ns((left * NS_PER_S as u64).div_ceil(u64::from(inner.sample_rate)) as i64),
        };
        self.cutting = self.cutting.saturating_sub(frames as u64);
        let targets = Targets {
            others,
            own: &self.own,
            others_glide: glide,
            offset: wishes.offset,
            ceiling: wishes.ceiling,
            gate_open: heard.listener.opens(wishes.gate_open) && !leaving,
            limit: true,
        };
        if silent {
            self.follower.reset();
        }
        let own = wishes.rhythm.as_deref().unwrap_or(&program.rhythm);
        let rhythm = self.follower.bend(own, &heard.displacement, clock.start, clock.after(frames).start);
        renderer.render(clock, rhythm, &targets, left, right);
        inner.level.store(u64::from(renderer.level_dbfs().to_bits()), Ordering::Relaxed);
        inner.offset_in_use.store(renderer.offset().bits() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// A thread that renders in real time into a file.
pub(crate) struct Recording {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, IoError>>,
}

impl Recording {
    pub(crate) fn start(inner: Arc<Inner>, path: &Path) -> Result<Self, IoError> {
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: inner.sample_rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let writer = hound::WavWriter::create(path, spec).map_err(|error| wav_error(path, error))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("harmonia-render".into())
            .spawn(move || {
                let written = run(&inner, writer, &path, &stop, BLOCKS_MAX);
                inner.told.rest();
                written
            })
            .map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { stopping, thread })
    }

    pub(crate) fn stop(self) -> Result<u64, IoError> {
        self.stopping.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or(Err(IoError::State("the render thread ended early; its file may be incomplete")))
    }
}

/// The sound card of a recording: it plays what is written, at its own crystal's rate.
#[derive(Clone, Copy)]
pub(crate) struct Card {
    pub(crate) sample_rate: u32,
    /// How much faster than the platform's clock, as a simulation wishes it.
    pub(crate) drift_ppb: i64,
}

impl Card {
    const PPB: i128 = 1_000_000_000;

    /// Frames played `since` the start, as a driver counts them: whole ones.
    pub(crate) fn frames(self, since: Span) -> u64 {
        let fine = i128::from(since.ns().max(0)) * (Self::PPB + i128::from(self.drift_ppb));
        (fine * i128::from(self.sample_rate) / (Self::PPB * i128::from(NS_PER_S))) as u64
    }

    /// How long after the start the card plays `frame`.
    pub(crate) fn since(self, frame: u64) -> Span {
        let fine = i128::from(frame) * i128::from(NS_PER_S) * Self::PPB;
        let rate = i128::from(self.sample_rate) * (Self::PPB + i128::from(self.drift_ppb));
        Span::from_ns((fine + rate - 1).div_euclid(rate) as i64)
    }
}

type Writer = hound::WavWriter<std::io::BufWriter<std::fs::File>>;

fn run(inner: &Inner, mut writer: Writer, path: &Path, stopping: &AtomicBool, blocks_max: u64) -> Result<u64, IoError> {
    let mut samples = [0.0f32; 2 * BLOCK];
    let start = inner.local.now();
    let card = Card { sample_rate: inner.sample_rate, drift_ppb: inner.card_drift_ppb() };
    inner.player().restart(inner.sample_rate, start);
    let mut blocks: u64 = 0;
    while !stopping.load(Ordering::SeqCst) {
        if blocks == blocks_max {
            writer.finalize().map_err(|error| wav_error(path, error))?;
            return Err(IoError::State(
                "the recording ended when its WAV file held 4 GiB, all that one can hold; the file is whole",
            ));
        }
        let due = inner.local.to_raw(start + card.since(blocks * BLOCK as u64));
        let wait = due - os::raw_ns();
        if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait as u64));
        }
        let now = inner.local.now();
        let mut player = inner.player();
        player.played(inner.sample_rate, card.frames(now - start), now);
        player.render(inner, &mut samples)?;
        drop(player);
        for sample in samples {
            let scaled = (sample * 32_767.0).round() as i16;
            writer.write_sample(scaled).map_err(|error| wav_error(path, error))?;
        }
        blocks += 1;
        if blocks.is_multiple_of(FLUSH_BLOCKS) {
            // So that a platform that loses its power leaves a file that plays.
            writer.flush().map_err(|error| wav_error(path, error))?;
        }
    }
    writer.finalize().map_err(|error| wav_error(path, error))?;
    Ok(blocks * BLOCK as u64)
}

fn wav_error(path: &Path, error: hound::Error) -> IoError {
    let source = match error {
        hound::Error::IoError(source) => source,
        other => std::io::Error::other(other.to_string()),
    };
    IoError::file(path)(source)
}

#[cfg(test)]
mod tests {
    use harmonia_core::filter::Exchange;
    use harmonia_core::follower::Displacement;
    use harmonia_core::frame::MixFrame;
    use harmonia_core::hush::Hush;
    use harmonia_core::listener::Listener;
    use harmonia_core::phase::{Phase, PhaseOffset};
    use harmonia_core::program::{Beat, Channel, Curve, Ear, Wave};
    use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
    use harmonia_core::session::{SyncConfig, SyncSession};

    use super::*;
    use crate::platform::Heard;
    use crate::Platform;

    const RATE: u32 = 48_000;
    /// More than a 200 Hz sine of amplitude 0.6 moves from sample to sample, and much less than a click.
    const STEP_MAX: f32 = 0.02;

    fn ms(ms: i64) -> PlatformTime {
        PlatformTime::from_ns(ms * 1_000_000)
    }

    /// A platform without a network: what it hears is put into its hands, and time is what was rendered.
    struct Bench {
        platform: Platform,
        listener: Listener,
        displacement: Displacement,
        frames: i64,
        /// What frames say of the room.
        hush: Option<Hush>,
        ahead: Span,
        /// Whether the machine was just suspended, and no answer has come since.
        asleep: bool,
        last: Option<[f32; 2]>,
        step: f32,
    }

    impl Bench {
        fn new(own: f32) -> Self {
            let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
            platform.set_program(Some(program()));
            platform.set_levels(1.0, own).unwrap();
            platform.inner.begin_to_play();
            platform.inner.player().restart(RATE, ms(10_000));
            Self {
                platform,
                listener: Listener::default(),
                displacement: Displacement::default(),
                frames: 0,
                hush: None,
                ahead: Span::ZERO,
                asleep: false,
                last: None,
                step: 0.0,
            }
        }

        fn now(&self) -> PlatformTime {
            self.platform.next_sample().map_or(ms(10_000), |(now, _)| now)
        }

        /// A clock that is locked now, and shows `ahead` more than the platform's.
        fn clock(&self) -> harmonia_core::servo::DisciplinedClock {
            let mut sync = SyncSession::new(SyncConfig::default(), 1);
            for i in (0..10).rev() {
                let t1 = self.now() - Span::from_ms(50 + 100 * i);
                let t2 = NodeTime::from_ns(t1.ns() + self.ahead.ns() + 10_000);
                let t4 = t1 + Span::from_us(20);
                sync.take(Exchange { t1, t2, t3: t2, t4, stamp_error: Span::ZERO });
            }
            if self.asleep {
                sync.note_asleep(Span::ZERO);
                sync.note_asleep(Span::from_s(3_600));
            }
            sync.clock()
        }

        fn hear(&mut self, gate_epoch: u64, cut: bool, level: f32) {
            self.frames += 1;
            let frame = MixFrame {
                gate_epoch,
                cut,
                hush: self.hush,
                taken: NodeTime::from_ns(self.frames),
                phase: Phase::ZERO,
                frequency: 0,
                others: vec![Complex::new(level, 0.0)],
            };
            assert!(self.listener.handle(frame, self.now()));
            self.publish();
        }

        fn publish(&self) {
            self.platform.inner.heard.store(Arc::new(Heard {
                clock: self.clock(),
                listener: self.listener.clone(),
                displacement: self.displacement,
            }));
        }

        /// Renders so many samples; returns the loudest, and notes the largest step on either ear.
        fn render(&mut self, frames: usize) -> f32 {
            let mut out = vec![0.0; 2 * frames];
            self.platform.render(&mut out).unwrap();
            for pair in out.chunks_exact(2) {
                let pair = [pair[0], pair[1]];
                let last = self.last.replace(pair).unwrap_or(pair);
                self.step = self.step.max((pair[0] - last[0]).abs()).max((pair[1] - last[1]).abs());
            }
            out.iter().fold(0.0, |most, x| most.max(x.abs()))
        }

        /// Tenths of a second in which a frame comes every tenth.
        fn tenths(&mut self, count: usize, gate_epoch: u64, level: f32) -> f32 {
            let mut loudest = 0.0;
            for _ in 0..count {
                self.hear(gate_epoch, false, level);
                loudest = self.render(RATE as usize / 10);
            }
            loudest
        }
    }

    fn program() -> Arc<Program> {
        let steady =
            |hz| Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz).unwrap()));
        Arc::new(Program {
            epoch: NodeTime::from_ns(0),
            duration: None,
            rhythm: steady(4.0),
            channels: vec![Channel {
                wave: Wave::Binaural { lead: Ear::Right },
                carrier: steady(200.0),
                beat: Beat::Locked(1),
                amplitude: Curve::constant(0.3),
            }],
        })
    }

    #[test]
    fn a_cut_is_heard_out_although_an_ordinary_frame_follows_it_at_once() {
        let mut bench = Bench::new(0.0);
        assert!(bench.tenths(200, 0, 1.0) > 0.25, "the others sound");
        bench.hear(1, true, 0.0);
        bench.hear(1, false, 0.0);
        bench.render(RATE as usize / 100);
        assert_eq!(bench.render(BLOCK), 0.0, "10 ms after the cut");
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
    }

    #[test]
    fn a_cut_is_heard_out_although_the_rest_of_the_mix_goes_on_changing() {
        let mut bench = Bench::new(0.0);
        bench.tenths(200, 0, 1.0);
        bench.hear(1, true, 0.0);
        bench.render(BLOCK);
        bench.hear(1, false, 1e-3);
        bench.render(RATE as usize / 100 - BLOCK);
        assert!(bench.render(BLOCK) < 1e-3, "10 ms after the cut");
    }

    #[test]
    fn a_silent_room_is_silent_with_its_score_until_a_newer_frame_lifts_it() {
        for hush in [Hush::Silent, Hush::Alarm] {
            let mut bench = Bench::new(1.0);
            bench.hush = Some(Hush::Lifted);
            assert!(bench.tenths(200, 4, 1.0) > 0.5);
            bench.hush = Some(hush);
            bench.hear(5, true, 0.0);
            bench.render(RATE as usize / 100);
            assert_eq!(bench.render(BLOCK), 0.0, "10 ms after the frame");
            assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
            assert_eq!(bench.tenths(50, 5, 0.0), 0.0);
            // What was overtaken comes now: a frame from before the silence, and what was said over gRPC then.
            let late = MixFrame {
                gate_epoch: 4,
                cut: true,
                hush: Some(Hush::Lifted),
                taken: NodeTime::from_ns(i64::MAX),
                phase: Phase::ZERO,
                frequency: 0,
                others: vec![Complex::new(1.0, 0.0)],
            };
            assert!(!bench.listener.handle(late, bench.now()));
            bench.listener.tell_hush(Hush::Lifted, Some(2));
            bench.publish();
            assert_eq!(bench.render(RATE as usize), 0.0);
            assert_eq!(bench.render(10 * RATE as usize), 0.0, "frames that stop say nothing");
            bench.hush = Some(Hush::Lifted);
            assert!(bench.tenths(300, 6, 1.0) > 0.5, "and is back");
            assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
        }
    }

    #[test]
    fn a_lift_is_heard_by_nobody_whose_own_gate_is_closed() {
        let mut bench = Bench::new(1.0);
        bench.hush = Some(Hush::Silent);
        assert_eq!(bench.tenths(100, 1, 0.0), 0.0);
        bench.platform.close_gate();
        bench.hush = Some(Hush::Lifted);
        assert_eq!(bench.tenths(200, 2, 1.0), 0.0, "they have opted out meanwhile");
        bench.platform.open_gate();
        assert!(bench.tenths(200, 2, 1.0) > 0.5, "and sound by their own word");
    }

    #[test]
    fn a_grant_in_a_silent_room_opens_nothing_before_it_is_lifted() {
        let mut bench = Bench::new(1.0);
        bench.platform.close_gate();
        bench.hush = Some(Hush::Silent);
        bench.tenths(100, 1, 0.0);
        bench.platform.open_gate();
        assert_eq!(bench.tenths(100, 1, 0.0), 0.0);
        bench.listener.tell_hush(Hush::Lifted, Some(2));
        bench.hush = None;
        assert!(bench.tenths(200, 1, 1.0) > 0.5, "lifted over gRPC");
    }

    #[test]
    fn what_others_pull_is_followed_without_a_click() {
        let mut bench = Bench::new(1.0);
        bench.tenths(200, 0, 0.0);
        let own = program().rhythm.clone();
        // Pulled for five seconds by a turn every ten; then a frame that is a third of a turn off.
        for (tenth, pulled) in (0..50).map(|i| (i, 0.01 * f64::from(i))).chain([(50, 0.8), (51, 0.8)]) {
            let taken = NodeTime::from_ns(bench.now().ns());
            let rate = if tenth < 50 { Frequency::from_hz(0.1).unwrap().units() } else { 0 };
            let frame = MixFrame {
                gate_epoch: 0,
                cut: false,
                hush: None,
                taken,
                phase: own.phase_at(taken) + PhaseOffset::from_turns(pulled).unwrap(),
                frequency: own.frequency_at(taken).units() + rate,
                others: Vec::new(),
            };
            bench.displacement.take(&frame, &own);
            bench.tenths(1, 0, 0.0);
        }
        bench.tenths(30, 0, 0.0);
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
        let player = bench.platform.inner.player();
        let off = player.follower.pulled() + -PhaseOffset::from_turns(0.8).unwrap();
        assert!(off.turns().abs() < 1e-3, "{off:?} from where the others are");
    }

    #[test]
    fn a_clock_that_was_stepped_is_followed_in_silence() {
        let mut bench = Bench::new(1.0);
        assert!(bench.tenths(200, 0, 1.0) > 0.5);
        // Farther than the player follows by rate. In the 5 s of fading out it follows by 2.5 ms; the other 2.5 ms are
        // half a turn of the carrier.
        bench.ahead = Span::from_us(1_005_000);
        assert!(bench.tenths(45, 0, 1.0) > 0.0);
        bench.tenths(20, 0, 1.0);
        let (platform, node) = bench.platform.next_sample().unwrap();
        assert!(((node.ns() - platform.ns()) - bench.ahead.ns()).abs() < LOST.ns(), "it has followed");
        assert!(bench.tenths(200, 0, 1.0) > 0.5, "and is back");
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
    }

    #[test]
    fn a_suspend_is_faded_out_and_the_step_after_it_is_silent() {
        let mut bench = Bench::new(1.0);
        assert!(bench.tenths(200, 0, 1.0) > 0.5);
        // The clock as the session leaves it after a suspend; then what the first answers say: the node went on.
        bench.asleep = true;
        assert!(bench.tenths(10, 0, 1.0) > 0.4, "fading, on the line on which it was");
        bench.ahead = Span::from_s(3_600);
        bench.asleep = false;
        assert!(bench.tenths(30, 0, 1.0) > 0.0, "a step that is there before the silence waits for it");
        let far = |bench: &Bench| {
            let (platform, node) = bench.platform.next_sample().unwrap();
            ((node.ns() - platform.ns()) - bench.ahead.ns()).abs() > LOST.ns()
        };
        assert!(far(&bench));
        bench.tenths(13, 0, 1.0);
        assert_eq!(bench.render(BLOCK), 0.0, "six seconds after the suspend");
        while far(&bench) {
            // The block that begins with the step is the first of the fade-in.
            assert!(bench.render(BLOCK) < 0.01, "stepped in the silence");
        }
        assert!(bench.tenths(200, 0, 1.0) > 0.5, "and is back");
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
    }

    #[test]
    fn a_suspend_that_the_session_has_not_heard_of_yet_fades_out_too() {
        let mut bench = Bench::new(1.0);
        assert!(bench.tenths(200, 0, 1.0) > 0.5);
        bench.platform.simulate_suspend(Span::from_ms(10));
        bench.tenths(60, 0, 1.0);
        assert_eq!(bench.render(BLOCK), 0.0);
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);
    }

    #[test]
    fn another_program_comes_in_without_a_click() {
        let mut bench = Bench::new(1.0);
        for _ in 0..4 {
            assert!(bench.tenths(200, 0, 0.0) > 0.25);
            bench.platform.set_program(Some(program()));
        }
        assert!(bench.step < STEP_MAX, "{}", bench.step);
    }

    #[test]
    fn a_stream_that_is_begun_anew_sets_its_cursor_at_once() {
        let mut bench = Bench::new(1.0);
        bench.tenths(10, 0, 0.0);
        let now = bench.now() + Span::from_s(1);
        bench.platform.inner.player().restart(RATE, now);
        bench.render(BLOCK);
        let (platform, node) = bench.platform.next_sample().expect("it has begun");
        assert!((node.ns() - platform.ns()).abs() < 1_000_000, "{platform:?} {node:?}");
    }

    #[test]
    fn the_latency_of_the_output_is_rendered_ahead_of() {
        let bench = Bench::new(1.0);
        bench.platform.set_output_latency(Span::from_ms(30)).unwrap();
        bench.platform.render(&mut [0.0; 2 * BLOCK]).unwrap();
        let (platform, node) = bench.platform.next_sample().expect("it has begun");
        let heard = ms(10_030) + Span::from_ns(5_333_333);
        assert!((platform - heard).abs() <= Span::from_ns(1), "{platform:?}");
        assert!((node.ns() - heard.ns()).abs() <= 1, "{node:?}: the node's clock shows the platform's here");
        for refused in [Span::from_ms(-1), Span::from_ms(2_001)] {
            let told = bench.platform.set_output_latency(refused).unwrap_err().to_string();
            assert!(told.contains("0 to 2000 ms"), "{told}");
        }
    }

    /// Eight hours of blocks on a card whose crystal is 100 ppm off: the node time that the renderer is given for each
    /// block's first sample, beside the instant at which the card plays it.
    #[test]
    fn a_card_off_by_100_ppm_keeps_the_phase_for_eight_hours() {
        for drift_ppb in [-100_000, 100_000] {
            let card = Card { sample_rate: RATE, drift_ppb };
            let mut cursor = Cursor::new(RATE, ms(0));
            let (mut worst, mut worst_rate) = (0, 0);
            let fine = |t: PlatformTime| i128::from(t.ns()) << 32;
            let mut state = 1u64;
            for block in 0..8 * 3_600 * u64::from(RATE) / BLOCK as u64 {
                let truth = ms(0) + card.since(cursor.rendered);
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Woken late by up to 2 ms, and told of whole periods.
                let now = truth + Span::from_ns((state >> 43) as i64);
                cursor.converter.take(card.frames(now - ms(0)) / BLOCK as u64 * BLOCK as u64, now);
                let (from, to) = (fine(cursor.platform_at(0)), fine(cursor.platform_at(BLOCK)));
                if cursor.node_fine == i128::MIN {
                    cursor.node_fine = from;
                }
                cursor.rendered += BLOCK as u64;
                let clock = cursor.advance(from, to, BLOCK);
                if block > 60 * u64::from(RATE) / BLOCK as u64 {
                    worst = worst.max((clock.start.ns() - truth.ns()).abs());
                    let nominal = i128::from(clock.step) * i128::from(RATE) * (1_000_000_000 + i128::from(drift_ppb));
                    worst_rate = worst_rate.max((nominal / (1 << 32) - 1_000_000_000_000_000_000).abs());
                }
            }
            println!("{drift_ppb} ppb: {worst} ns at the converter after the first minute");
            assert!(worst <= 20_000, "{drift_ppb} ppb: {worst} ns at the converter");
            assert!(worst_rate <= 501_000_000_000_000, "{drift_ppb} ppb: {worst_rate}e-18 off the rate");
        }
    }

    #[test]
    fn a_card_counts_frames_as_it_plays_them() {
        for drift_ppb in [-100_000, 0, 100_000] {
            let card = Card { sample_rate: 44_100, drift_ppb };
            for frame in [0, 1, 44_100, 1 << 35] {
                assert_eq!(card.frames(card.since(frame)), frame);
            }
        }
    }

    #[test]
    fn whoever_leaves_fades_out_in_seconds_and_whoever_opts_out_meanwhile_is_silent_at_once() {
        let mut bench = Bench::new(1.0);
        assert!(bench.tenths(200, 0, 1.0) > 0.5);
        bench.platform.fade_out();
        assert!(bench.tenths(20, 0, 1.0) > 0.2, "going, not gone");
        assert!(!bench.platform.sound().faded);
        bench.tenths(40, 0, 1.0);
        assert_eq!(bench.render(BLOCK), 0.0);
        assert!(bench.platform.sound().faded);
        assert!(bench.step < STEP_MAX, "no click: {}", bench.step);

        let mut bench = Bench::new(1.0);
        bench.tenths(200, 0, 1.0);
        bench.platform.fade_out();
        bench.tenths(10, 0, 1.0);
        bench.platform.close_gate();
        bench.render(RATE as usize / 100);
        assert_eq!(bench.render(BLOCK), 0.0, "10 ms after the opt-out");
    }

    #[test]
    fn what_is_played_is_measured_and_the_ceiling_is_told() {
        let mut bench = Bench::new(1.0);
        assert!(bench.platform.sound().momentary_lufs < -100.0 && bench.platform.light(1.0) == 0.0);
        bench.platform.set_ceiling(0.1).unwrap();
        bench.tenths(200, 0, 1.0);
        let sound = bench.platform.sound();
        assert!((0.095..=0.1).contains(&sound.peak) && sound.ceiling == 0.1, "{sound:?}");
        assert!((0.16..0.17).contains(&sound.gain), "0.6 is held at 0.098: {sound:?}");
        assert!((-21.5..-19.5).contains(&sound.momentary_lufs), "{sound:?}");
        assert_eq!(sound.dropped, 0);
    }

    #[test]
    fn a_dropped_voice_is_told_to_its_owner_and_counted_at_the_node_without_a_name() {
        let mut bench = Bench::new(1.0);
        bench.tenths(2, 0, 1.0);
        let folder = std::env::temp_dir().join(format!("harmonia-dropped-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let node = crate::Node::start("127.0.0.1", 0, &folder.join("clock")).unwrap();
        node.add_circle(1, 1, 1.0).unwrap();
        node.add_sleeper(1, 1).unwrap();
        node.attach(1, 7, &[3; 32], false, true).unwrap();
        bench.platform.connect("127.0.0.1", node.port(), 7, &[3; 32], None).unwrap();
        // Nobody can wish for this; a mistake of ours could.
        bench.platform.wish(|wishes| wishes.voice = vec![Complex::new(f32::NAN, 0.0)]);
        bench.tenths(2, 0, 1.0);
        assert_eq!(bench.platform.sound().dropped, 1);
        let dropped = || node.stats().voices_dropped.load(Ordering::Relaxed);
        while dropped() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(dropped(), 1);
        // Another session of the same platform: what it has dropped so far is known.
        node.attach(1, 8, &[4; 32], false, true).unwrap();
        bench.platform.connect("127.0.0.1", node.port(), 8, &[4; 32], None).unwrap();
        while node.status(1).unwrap()[0].last.is_none() {
            std::thread::yield_now();
        }
        assert_eq!(dropped(), 1);
        node.close();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_loudspeaker_plays_pulses_alike_on_both_sides() {
        for loudspeaker in [false, true] {
            let mut bench = Bench::new(1.0);
            bench.platform.set_loudspeaker(loudspeaker);
            bench.platform.set_program(Some(program()));
            bench.tenths(100, 0, 0.0);
            let mut out = vec![0.0; 2 * RATE as usize];
            bench.platform.render(&mut out).unwrap();
            let alike = out.chunks_exact(2).all(|pair| pair[0] == pair[1]);
            assert_eq!(alike, loudspeaker, "a beat between the ears differs; a pulse does not");
            assert!(out.iter().any(|x| *x != 0.0));
        }
    }

    #[test]
    fn half_a_pair_is_refused() {
        let bench = Bench::new(1.0);
        assert!(bench.platform.render(&mut [0.0; 3]).is_err());
    }

    #[test]
    fn a_wav_file_that_is_full_ends_whole_and_says_so() {
        let path = std::env::temp_dir().join(format!("harmonia-full-{}.wav", std::process::id()));
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let (bench, writer) = (Bench::new(1.0), hound::WavWriter::create(&path, spec).unwrap());
        let told = run(&bench.platform.inner, writer, &path, &AtomicBool::new(false), 3).unwrap_err().to_string();
        assert!(told.contains("4 GiB"), "{told}");
        assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 3 * BLOCK as u32);
        std::fs::remove_file(&path).unwrap();
        assert!(BLOCKS_MAX * BLOCK as u64 * 4 + 4096 <= u64::from(u32::MAX));
    }
}
