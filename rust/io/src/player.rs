//! Rendering what one platform plays, block by block, against its disciplined clock.
//!
//! A block's samples are evenly spaced in node time from where the last block ended to where the clock says that this
//! one ends. So a correction of the clock is heard as a rate that is off by parts in a million, never as a jump. Only
//! while the platform is silent may the cursor be set anew.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use harmonia_core::program::Program;
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::servo::LockState;
use harmonia_core::units::{NodeTime, PlatformTime, Span, NS_PER_S};
use num_complex::Complex;

use crate::error::IoError;
use crate::os;
use crate::platform::Inner;

/// Samples a block: 5.3 ms at 48 kHz, so that a withdrawal is followed within the next 5 ms.
const BLOCK: usize = 256;
/// How fast the rendering rate may differ from the clock's, in parts of it: 500 ppm.
const RATE_SLACK: i64 = 2_000;
/// Farther from the clock than this, the player falls silent and sets itself anew.
const LOST: Span = Span::from_ms(20);
/// How long the score takes to go out when the clock can no longer be trusted, and to come back.
const PRESENCE_RAMP: Span = Span::from_s(5);
/// A certified bound beyond this is no phase worth playing.
const BOUND_MAX: Span = Span::from_ms(250);
/// How often a recording's header is brought up to date, in blocks: about a second.
const FLUSH_BLOCKS: u64 = 200;

/// The state of one platform's rendering.
#[derive(Default)]
pub(crate) struct Player {
    renderer: Option<(Arc<Program>, Renderer)>,
    cursor: Option<Cursor>,
    presence: f32,
    own: Vec<Complex<f32>>,
    left: Vec<f32>,
    right: Vec<f32>,
}

/// Where the next sample lies on both clocks.
#[derive(Clone, Copy)]
struct Cursor {
    /// The platform's instant at which sample 0 of this run played.
    origin: PlatformTime,
    /// Samples since.
    played: u64,
    /// Node time of the next sample, in 2⁻³² ns.
    node_fine: i128,
}

fn fine(time: (NodeTime, u32)) -> i128 {
    i128::from(time.0.ns()) << 32 | i128::from(time.1)
}

impl Cursor {
    fn platform_at(&self, sample_rate: u32, ahead: usize) -> PlatformTime {
        let samples = i128::from(self.played) + ahead as i128;
        self.origin + Span::from_ns((samples * i128::from(NS_PER_S) / i128::from(sample_rate)) as i64)
    }
}

impl Player {
    /// Begins anew at `now`, at the next render.
    pub(crate) fn restart(&mut self, now: PlatformTime) {
        self.cursor = Some(Cursor { origin: now, played: 0, node_fine: i128::MIN });
    }

    /// When the next sample plays: on the platform's clock, and in node time as the renderer has it.
    pub(crate) fn next_sample(&self, sample_rate: u32) -> Option<(PlatformTime, NodeTime)> {
        let cursor = self.cursor.filter(|cursor| cursor.node_fine != i128::MIN)?;
        Some((cursor.platform_at(sample_rate, 0), NodeTime::from_ns((cursor.node_fine >> 32) as i64)))
    }

    /// Fills `interleaved` with the next samples, left and right.
    pub(crate) fn render(&mut self, inner: &Inner, interleaved: &mut [f32]) -> Result<(), IoError> {
        for block in interleaved.chunks_mut(2 * BLOCK) {
            let frames = block.len() / 2;
            self.left.resize(BLOCK, 0.0);
            self.right.resize(BLOCK, 0.0);
            self.block(inner, frames)?;
            for (pair, (left, right)) in block.chunks_exact_mut(2).zip(self.left.iter().zip(&self.right)) {
                (pair[0], pair[1]) = (*left, *right);
            }
        }
        Ok(())
    }

    fn block(&mut self, inner: &Inner, frames: usize) -> Result<(), IoError> {
        let heard = inner.heard.load();
        let wishes = inner.wishes.load();
        let cursor = self.cursor.get_or_insert(Cursor { origin: inner.local.now(), played: 0, node_fine: i128::MIN });
        let begins = cursor.platform_at(inner.sample_rate, 0);
        let ends = cursor.platform_at(inner.sample_rate, frames);
        cursor.played += frames as u64;
        let (from, to) = (fine(heard.clock.node_fine(begins)), fine(heard.clock.node_fine(ends)));

        let reading = heard.clock.read(begins);
        let trusted = match reading.state {
            LockState::Locked | LockState::Holdover => reading.bound() <= BOUND_MAX,
            LockState::Unsynchronised | LockState::Acquiring => false,
        };
        let lost = cursor.node_fine.abs_diff(from) > (LOST.ns() as u128) << 32;
        let silent = self.presence == 0.0;
        if lost && silent {
            cursor.node_fine = from;
        }
        let coming = trusted && (silent || !lost) && wishes.program.is_some();
        let ramp = frames as f32 / inner.sample_rate as f32 / PRESENCE_RAMP.as_s_f64() as f32;
        self.presence = (self.presence + if coming { ramp } else { -ramp }).clamp(0.0, 1.0);

        let playing = self.renderer.as_ref().map(|(program, _)| program);
        let other = !wishes.program.as_ref().is_some_and(|wished| playing.is_some_and(|p| Arc::ptr_eq(p, wished)));
        if let Some(wished) = wishes.program.as_ref().filter(|_| other && coming) {
            let renderer = Renderer::new(Arc::clone(wished), inner.sample_rate)
                .map_err(|_| IoError::SampleRate(inner.sample_rate))?;
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

        // Catch up with the clock within this block, as far as the slack allows.
        let nominal = (to - from).max(1);
        let wanted = to - cursor.node_fine;
        let slack = nominal / i128::from(RATE_SLACK);
        let advance = wanted.clamp(nominal - slack, nominal + slack);
        let step = (advance / frames as i128) as u64;
        let start = NodeTime::from_ns((cursor.node_fine >> 32) as i64);
        let clock = BlockClock { start, fraction: cursor.node_fine as u32, step };
        cursor.node_fine += i128::from(step) * frames as i128;

        let channels = program.channels.len();
        self.own.clear();
        let level = self.presence * wishes.own_level;
        self.own.extend((0..channels).map(|k| wishes.voice.get(k).copied().unwrap_or(Complex::new(1.0, 0.0)) * level));
        // The listener's memory is small; a copy of it keeps this block free of the network's locks.
        let mut listener = heard.listener.clone();
        let (others, glide) = listener.target(begins);
        let silence = [Complex::default(); harmonia_core::program::CHANNELS_MAX];
        let hears = wishes.hearing && others.len() == channels && self.presence > 0.0;
        let others = if hears { others } else { &silence[..channels] };
        let glide = if wishes.hearing { glide } else { harmonia_core::listener::CUT_GLIDE };
        let standing = Rhythm::new(Segment::constant(start, Default::default(), Frequency::ZERO));
        let targets = Targets {
            others,
            own: &self.own,
            others_glide: glide,
            offset: wishes.offset,
            ceiling: wishes.ceiling,
            gate_open: wishes.gate_open,
            limit: true,
        };
        renderer.render(clock, wishes.rhythm.as_deref().unwrap_or(&standing), &targets, left, right);
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
            .spawn(move || run(&inner, writer, &path, &stop))
            .map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { stopping, thread })
    }

    pub(crate) fn stop(self) -> Result<u64, IoError> {
        self.stopping.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or(Err(IoError::State("the render thread ended early; its file may be incomplete")))
    }
}

type Writer = hound::WavWriter<std::io::BufWriter<std::fs::File>>;

fn run(inner: &Inner, mut writer: Writer, path: &Path, stopping: &AtomicBool) -> Result<u64, IoError> {
    let mut samples = [0.0f32; 2 * BLOCK];
    let start = inner.local.now();
    inner.player().restart(start);
    let mut blocks: u64 = 0;
    while !stopping.load(Ordering::SeqCst) {
        let since = i128::from(blocks) * BLOCK as i128 * i128::from(NS_PER_S) / i128::from(inner.sample_rate);
        let due = inner.local.to_raw(start + Span::from_ns(since as i64));
        let wait = due - os::raw_ns();
        if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait as u64));
        }
        inner.player().render(inner, &mut samples)?;
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
