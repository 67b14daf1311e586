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

use crate::alsa::{Pcm, Sink, Written};
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
                    if pcm.is_none() {
                        inner.told.rest();
                    }
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
    if pcm.buffer() < 2 * BLOCK as u64 {
        let reason = format!("it queues only {} frames; ask for a longer buffer", pcm.buffer());
        return Err(IoError::Device { name: name.to_owned(), reason });
    }
    Ok(pcm)
}

/// Plays until it is told to stop, or the device is lost.
fn play(inner: &Inner, mut sink: impl Sink, stopping: &AtomicBool, told: &Mutex<DeviceReport>) -> Result<(), IoError> {
    let rate = inner.sample_rate;
    let mut samples = [0.0f32; 2 * BLOCK];
    let block = BLOCK as u64;
    let card = Card { sample_rate: rate, drift_ppb: inner.card_drift_ppb() };
    // Fills the queue with silence, which starts a card, and sees whether that took it any time. None can have played
    // half of its queue in a tenth of the time that it takes to play, but this thread may have slept.
    let mut origin = inner.local.now();
    let mut silence = 0;
    while silence + block <= sink.buffer() {
        sink.write(&samples)?;
        silence += block;
    }
    let keeps_time = sink.room() <= sink.buffer() / 2 || inner.local.now() - origin >= card.since(sink.buffer() / 10);
    origin = inner.local.now();
    let ahead = if keeps_time { card.since(sink.delay().unwrap_or(silence)) } else { Span::ZERO };
    inner.player().restart(rate, origin + ahead);
    {
        let mut told = lock(told);
        told.trouble.clear();
        (told.buffer_frames, told.keeps_time) = (sink.buffer(), keeps_time);
    }
    let mut written = 0u64;
    loop {
        let last = stopping.load(Ordering::SeqCst);
        // How many of the player's frames were played by when.
        let (now, played) = if keeps_time {
            let queued = sink.delay();
            (inner.local.now(), queued.and_then(|queued| written.checked_sub(queued)))
        } else {
            let due = inner.local.to_raw(origin + card.since(written.saturating_sub(sink.buffer())));
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
        let result = sink.write(&samples)?;
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
            sink.drain();
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

#[cfg(test)]
mod tests {
    use harmonia_core::sample::ConverterReading;

    use super::*;
    use crate::Platform;

    const RATE: u32 = 48_000;

    /// A card with a crystal of its own, played by this machine's clock; it waits as a card does, and may be unplugged.
    struct Simulated {
        card: Card,
        buffer: u64,
        started_raw_ns: Option<i64>,
        /// Frames that were written, and those that were lost to silence because it had run dry.
        written: u64,
        silent: u64,
        unplugged_at: u64,
        /// Before so many frames, the player is kept waiting for longer than the queue lasts.
        held_up_at: u64,
    }

    impl Simulated {
        fn new(drift_ppb: i64) -> Self {
            let card = Card { sample_rate: RATE, drift_ppb };
            let (unplugged_at, held_up_at) = (u64::MAX, u64::MAX);
            Self { card, buffer: 1_920, started_raw_ns: None, written: 0, silent: 0, unplugged_at, held_up_at }
        }

        fn played(&self) -> u64 {
            self.started_raw_ns.map_or(0, |started| self.card.frames(Span::from_ns(os::raw_ns() - started)))
        }
    }

    impl Sink for Simulated {
        fn buffer(&self) -> u64 {
            self.buffer
        }
        fn write(&mut self, interleaved: &[f32]) -> Result<Written, IoError> {
            let frames = interleaved.len() as u64 / 2;
            if self.written >= self.unplugged_at {
                return Err(IoError::Device { name: "simulated".into(), reason: "lost: No such device".into() });
            }
            if self.written >= self.held_up_at {
                self.held_up_at = u64::MAX;
                std::thread::sleep(Duration::from_millis(80));
            }
            let mut result = Written::Whole;
            if self.played() > self.written + self.silent {
                self.silent = self.played() - self.written;
                result = Written::AfterUnderrun;
            }
            while self.delay().unwrap_or(0) + frames > self.buffer {
                std::thread::sleep(Duration::from_micros(300));
            }
            self.written += frames;
            if self.started_raw_ns.is_none() && self.written + frames > self.buffer {
                self.started_raw_ns = Some(os::raw_ns());
            }
            Ok(result)
        }
        fn delay(&self) -> Option<u64> {
            Some((self.written + self.silent).saturating_sub(self.played()))
        }
        fn room(&self) -> u64 {
            self.buffer - self.delay().unwrap_or(0).min(self.buffer)
        }
        fn drain(&mut self) {}
    }

    /// Plays so many frames on `sink`; gives what was told, what ended it, and the converter's clock.
    fn played(sink: Simulated, frames: u64) -> (DeviceReport, Result<(), IoError>, Option<ConverterReading>) {
        let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
        let (told, stopping) = (Mutex::new(DeviceReport::default()), AtomicBool::new(false));
        let result = std::thread::scope(|scope| {
            let playing = scope.spawn(|| play(&platform.inner, sink, &stopping, &told));
            while lock(&told).frames < frames && !playing.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            stopping.store(true, Ordering::SeqCst);
            playing.join().unwrap()
        });
        let report = lock(&told).clone();
        (report, result, platform.converter())
    }

    #[test]
    fn a_cards_own_crystal_paces_the_player_and_is_learnt() {
        let (report, result, converter) = played(Simulated::new(500_000), 20 * u64::from(RATE));
        result.unwrap();
        assert!(report.keeps_time);
        let converter = converter.expect("pairs were told");
        assert!((converter.rate_ppb - 500_000).abs() < 100_000, "{converter:?}");
    }

    #[test]
    fn a_card_that_ran_dry_is_counted_and_played_on() {
        let sink = Simulated { held_up_at: 24_000, ..Simulated::new(0) };
        let (report, result, _) = played(sink, 48_000);
        result.unwrap();
        assert!(report.underruns >= 1 && report.glitches() >= report.underruns, "{report:?}");
        assert!(report.frames >= 48_000);
    }

    #[test]
    fn a_card_that_is_unplugged_ends_in_one_line() {
        let sink = Simulated { unplugged_at: 24_000, ..Simulated::new(0) };
        let (_, result, _) = played(sink, u64::MAX);
        let told = result.unwrap_err().to_string();
        assert!(told.contains("lost") && told.contains("platform devices") && !told.contains('\n'), "{told}");
    }

    /// ALSA's own devices that keep no time: nothing is made up here.
    #[test]
    fn alsas_null_and_file_are_paced_by_the_platforms_clock() {
        let path = std::env::temp_dir().join(format!("harmonia-device-{}.raw", std::process::id()));
        for name in ["null".to_owned(), format!("file:{},raw", path.display())] {
            let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
            let began = os::raw_ns();
            platform.play(&name, BUFFER_DEFAULT).unwrap();
            assert!(platform.play(&name, BUFFER_DEFAULT).is_err() && platform.render(&mut [0.0; 2]).is_err());
            while platform.device().unwrap().frames < u64::from(RATE) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let lasted = Span::from_ns(os::raw_ns() - began);
            assert!(lasted > Span::from_ms(900), "a second of sound took {lasted:?}");
            let report = platform.stop_playing().unwrap();
            assert!(!report.keeps_time && report.underruns == 0 && report.lost == 0, "{report:?}");
            assert!(platform.device().is_none() && platform.stop_playing().is_err());
        }
        assert!(std::fs::metadata(&path).unwrap().len() >= 4 * u64::from(RATE), "stereo samples in the file");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_device_that_is_none_is_refused_in_one_line_and_the_list_has_names() {
        let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
        let told = platform.play("no-such-card", BUFFER_DEFAULT).unwrap_err().to_string();
        assert!(told.contains("no-such-card") && told.contains("platform devices") && !told.contains('\n'), "{told}");
        let told = platform.play("null", Span::from_ms(5)).unwrap_err().to_string();
        assert!(told.contains("10 to 500 ms, not 5 ms"), "{told}");
        assert!(crate::alsa::devices().unwrap().iter().any(|device| device.name == "null"));
    }
}
