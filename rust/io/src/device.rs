//! Plays a platform through a sound card, in a thread of its own.
//!
//! The card asks for samples by letting a write wait until there is room, so its own crystal paces the thread; after each
//! write it says how many frames are still queued, and (frames played, instant) is what the converter's clock is learnt
//! from. Some devices keep no time: ALSA's `null` and `file` take whatever they are given at once. They would play a
//! night in a minute; so a device that has room again right after its whole queue was filled is paced by the platform's
//! own clock, as a recording is.
//!
//! The queue is short, since an opt-out is heard only behind it. Whatever can go wrong is counted and told: a card that
//! ran dry, a block that came later than the queue lasts, a cursor that had to be set anew. A device that is lost (a
//! headphone's plug pulled) is said in one line, and opened again until it is back.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use harmonia_core::limiter::TRUE_PEAK_MAX;
use harmonia_core::units::Span;

use crate::alsa::{Pcm, Written};
use crate::error::IoError;
use crate::lock::lock;
use crate::os;
use crate::platform::Inner;
use crate::player::{Card, BLOCK};

/// The queue that is asked for unless somebody says otherwise.
pub const BUFFER_DEFAULT: Span = Span::from_ms(40);
/// The queues that may be asked for.
pub const BUFFERS: core::ops::RangeInclusive<Span> = Span::from_ms(10)..=Span::from_ms(500);
/// How long to wait before a lost device is opened again.
const RETRY: Duration = Duration::from_secs(2);
/// So high that ordinary programs do not come between, and low enough that the kernel's own threads do.
const PRIORITY: i32 = 10;

/// How a device has played so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DeviceReport {
    /// Its name.
    pub name: String,
    /// Frames that it queues at most.
    pub buffer_frames: u64,
    /// Frames given to it.
    pub frames: u64,
    /// How often it ran dry.
    pub underruns: u64,
    /// Blocks that came so late that a card would have run dry, whether or not one is there to say so.
    pub late: u64,
    /// How often the cursor was set anew, but for its first time: each is a silence.
    pub resets: u64,
    /// How often it was lost and opened again.
    pub lost: u64,
    /// Whether it paces the player itself; `null` and `file` do not.
    pub keeps_time: bool,
    /// Whether the system granted real-time priority.
    pub realtime: bool,
    /// Why nothing is played at the moment; empty while all is well.
    pub trouble: String,
}

impl DeviceReport {
    /// Everything that a listener may have heard as a gap.
    pub fn glitches(&self) -> u64 {
        self.underruns + self.late + self.resets + self.lost
    }
}

/// A thread that plays.
pub(crate) struct Device {
    stopping: Arc<AtomicBool>,
    report: Arc<Mutex<DeviceReport>>,
    thread: JoinHandle<()>,
}

impl Device {
    /// Opens `name` and plays. Errors if it cannot be opened now; what is lost later is opened again.
    pub(crate) fn start(inner: Arc<Inner>, name: &str, buffer: Span) -> Result<Self, IoError> {
        if !BUFFERS.contains(&buffer) {
            return Err(IoError::DeviceBuffer { given_ns: buffer.ns() });
        }
        let pcm = open(&inner, name, buffer)?;
        let report = Arc::new(Mutex::new(DeviceReport { name: name.to_owned(), ..DeviceReport::default() }));
        let stopping = Arc::new(AtomicBool::new(false));
        let (told, stop, name) = (Arc::clone(&report), Arc::clone(&stopping), name.to_owned());
        let thread = std::thread::Builder::new()
            .name("harmonia-play".into())
            .spawn(move || {
                lock(&told).realtime = os::be_realtime(PRIORITY).is_ok();
                let mut pcm = Some(pcm);
                while !stop.load(Ordering::SeqCst) {
                    let played = match pcm.take() {
                        Some(pcm) => play(&inner, pcm, &stop, &told),
                        None => open(&inner, &name, buffer).map(|opened| pcm = Some(opened)),
                    };
                    let Err(error) = played else { continue };
                    let mut told = lock(&told);
                    told.lost += u64::from(told.trouble.is_empty());
                    told.trouble = error.to_string();
                    drop(told);
                    // Unparked to stop.
                    std::thread::park_timeout(RETRY);
                }
            })
            .map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { stopping, report, thread })
    }

    pub(crate) fn report(&self) -> DeviceReport {
        lock(&self.report).clone()
    }

    /// Ends it, with a ramp; returns how it has played.
    pub(crate) fn stop(self) -> Result<DeviceReport, IoError> {
        self.stopping.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| IoError::State("the thread that plays ended early"))?;
        let report = lock(&self.report).clone();
        Ok(report)
    }
}

/// Opens it for this platform, with a queue that holds two blocks at least.
fn open(inner: &Inner, name: &str, buffer: Span) -> Result<Pcm, IoError> {
    let pcm = Pcm::open(name, inner.sample_rate, (buffer.ns() / 1_000) as u32)?;
    if pcm.buffer < 2 * BLOCK as u64 {
        let reason = format!("it queues only {} frames; ask for a longer buffer", pcm.buffer);
        return Err(IoError::Device { name: name.to_owned(), reason });
    }
    Ok(pcm)
}

/// Plays until it is told to stop, or the device is lost.
fn play(inner: &Inner, mut pcm: Pcm, stopping: &AtomicBool, told: &Mutex<DeviceReport>) -> Result<(), IoError> {
    let rate = inner.sample_rate;
    let mut samples = [0.0f32; 2 * BLOCK];
    let block = BLOCK as u64;
    let card = Card { sample_rate: rate, drift_ppb: inner.card_drift_ppb() };
    // Fills the queue with silence, which starts a card, and sees whether that took it any time. None can have played
    // half of its queue in a tenth of the time that it takes to play, but this thread may have slept.
    let mut origin = inner.local.now();
    let mut silence = 0;
    while silence + block <= pcm.buffer {
        pcm.write(&samples)?;
        silence += block;
    }
    let keeps_time = pcm.room() <= pcm.buffer / 2 || inner.local.now() - origin >= card.since(pcm.buffer / 10);
    origin = inner.local.now();
    let ahead = if keeps_time { card.since(pcm.delay().unwrap_or(silence)) } else { Span::ZERO };
    inner.player().restart(rate, origin + ahead);
    {
        let mut told = lock(told);
        told.trouble.clear();
        (told.buffer_frames, told.keeps_time) = (pcm.buffer, keeps_time);
    }
    let mut written = 0u64;
    loop {
        let last = stopping.load(Ordering::SeqCst);
        // How many of the player's frames were played by when.
        let (now, played) = if keeps_time {
            let queued = pcm.delay();
            (inner.local.now(), queued.and_then(|queued| written.checked_sub(queued)))
        } else {
            let due = inner.local.to_raw(origin + card.since(written.saturating_sub(pcm.buffer)));
            let wait = due - os::raw_ns();
            if wait > 0 {
                std::thread::sleep(Duration::from_nanos(wait as u64));
            }
            let now = inner.local.now();
            (now, Some(card.frames(now - origin)))
        };
        // ALSA says that a card has run dry; of a device that keeps no time, nobody does.
        let dry = !keeps_time && written > 0 && played.is_some_and(|played| played > written);
        let mut player = inner.player();
        if let Some(played) = played {
            player.played(rate, played.min(written), now);
        }
        player.render(inner, &mut samples)?;
        let resets = player.resets();
        drop(player);
        if last {
            samples.chunks_exact_mut(2).enumerate().for_each(|(i, pair)| {
                let share = 1.0 - (i + 1) as f32 / BLOCK as f32;
                pair.iter_mut().for_each(|x| *x *= share);
            });
        }
        let result = pcm.write(&samples)?;
        written += block;
        if dry {
            // What was missed is not caught up: the card stood still.
            origin = now - card.since(written);
        }
        {
            let mut told = lock(told);
            told.frames += block;
            told.late += u64::from(dry);
            told.underruns += u64::from(result == Written::AfterUnderrun);
            told.resets = resets;
        }
        if last {
            pcm.drain();
            return Ok(());
        }
    }
}

/// Plays interleaved samples to their end, for calibration: no platform, no clock, nothing in between but a clip at −1 dB
/// of full scale. Errors as [`Device::start`], or on half a pair.
pub fn play_samples(name: &str, sample_rate: u32, interleaved: &[f32]) -> Result<(), IoError> {
    if !interleaved.len().is_multiple_of(2) {
        return Err(IoError::State("samples come in pairs, left and right; give an even number"));
    }
    let mut pcm = Pcm::open(name, sample_rate, (BUFFER_DEFAULT.ns() / 1_000) as u32)?;
    for block in interleaved.chunks(2 * BLOCK) {
        let mut samples = [0.0; 2 * BLOCK];
        for (to, from) in samples.iter_mut().zip(block) {
            *to = if from.is_finite() { from.clamp(-TRUE_PEAK_MAX, TRUE_PEAK_MAX) } else { 0.0 };
        }
        pcm.write(&samples)?;
    }
    pcm.drain();
    Ok(())
}
