//! What a night plays: read from our own TOML or from `.sbg`, checked, and laid onto node time.
//!
//! Both formats say the same thing in different words: tone-sets, and when one gives way to the next. The readers
//! ([`toml`], [`sbg`]) turn their text into one [`Sheet`]: the tone-sets, and a gapless list of sections, each of
//! which holds one tone-set or leads from one to another. [`compile`] knows only the sheet. So the meaning of a fade
//! or a slide is written down once, and a format is only its grammar and its clock.
//!
//! Music is not in a score, only its name: [`Score::stems`] lists what is wanted, and [`Score::program_with`] takes what
//! could be found. What is missing is silent, and everything else plays.
//!
//! A score is refused as a whole, with the place and the reason, rather than played in part: nobody should have to
//! listen through a night to find out that a line of it was dropped.
//!
//! Nothing here is realtime-safe; all of it happens before the night.
use core::fmt;
use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::envelope::Envelope;
use crate::program::{Ear, NoiseColor, Program, Shape, CHANNELS_MAX};
use crate::rhythm::Rhythm;
use crate::spectrum::Spectrum;
use crate::stem::Stems;
use crate::units::{NodeTime, Span, NS_PER_S};

mod compile;
mod expression;
mod sbg;
mod summary;
mod toml;

/// How far [`Score::rhythm`] unrolls a score that repeats: two days, longer than any night.
pub const RHYTHM_HORIZON: Span = Span::from_s(2 * 86_400);
/// The longest horizon for which an endless score is unrolled; a longer one is cut to this.
pub const HORIZON_MAX: Span = Span::from_s(32 * 86_400);
/// The rhythm of a score in which nothing beats, in Hz: about the pace of slow breathing.
pub const RHYTHM_DEFAULT_HZ: f64 = 0.1;

/// The highest carrier, in Hz; nobody hears more.
const CARRIER_HZ_MAX: f64 = 20_000.0;
/// The widest spin, in microseconds. SBaGen clips what is wider than 127 samples, 2880 µs at its usual rate.
const WIDTH_US_MAX: f64 = 100_000.0;
/// The fastest beat, in Hz: far above anything that is felt as a beat, far below what would alias a carrier.
const BEAT_HZ_MAX: f64 = 1_000.0;
/// The most tone-sets that a timeline may bring, blocks expanded.
const ENTRIES_MAX: usize = 10_000;
/// The longest time that a score may name: a thousand hours.
const TIME_MAX_NS: i64 = 1_000 * 3600 * NS_PER_S;
/// The end of a section that nothing ends. Far below `i64::MAX`, so that sums of two stay in range.
const FOREVER_NS: i64 = i64::MAX / 4;

/// The language that a score is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Our own.
    Toml,
    /// That of SBaGen and its relatives.
    Sbg,
}

impl Format {
    /// `toml` or `sbg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Sbg => "sbg",
        }
    }
}

/// Why a score was refused, and where. Displays as `NAME:LINE: reason`, or `NAME:LINE:COLUMN: reason`.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct ScoreError {
    /// The name that the caller gave the text, such as its file name.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1, where the format allows to say it.
    pub column: Option<usize>,
    /// What was given, what is allowed, what to do.
    pub reason: String,
}

impl fmt::Display for ScoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}:{}:{column}: {}", self.name, self.line, self.reason),
            None => write!(f, "{}:{}: {}", self.name, self.line, self.reason),
        }
    }
}

/// How a tone sounds, as its author wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tone,
    Binaural,
    Monaural,
    Isochronic,
    Bell,
    Noise(NoiseColor),
    /// The carrier is the width in microseconds.
    Spin(NoiseColor),
    /// Noise that follows an envelope over the cycle of its beat.
    PulsedNoise(NoiseColor),
    /// Noise that is shifted by its beat, down on the left ear and up on the right.
    ShiftedNoise(NoiseColor),
    /// The music at this place of [`Sheet::stems`].
    Stem(usize),
    /// The same, turned between the ears; the carrier is the width of the turn in microseconds.
    TurnedStem(usize),
    /// The same, shifted by its beat, down on the left ear and up on the right.
    ShiftedStem(usize),
}

impl Kind {
    /// Whether its carrier is a pitch: what a careful fade does not slide.
    fn is_pitched(self) -> bool {
        matches!(self, Self::Tone | Self::Binaural | Self::Monaural | Self::Isochronic | Self::Bell)
    }

    /// The colour of noise.
    fn color(self) -> Option<NoiseColor> {
        match self {
            Self::Noise(color) | Self::Spin(color) | Self::PulsedNoise(color) | Self::ShiftedNoise(color) => {
                Some(color)
            }
            _ => None,
        }
    }

    /// The place of the music.
    fn stem(self) -> Option<usize> {
        match self {
            Self::Stem(stem) | Self::TurnedStem(stem) | Self::ShiftedStem(stem) => Some(stem),
            _ => None,
        }
    }
}

/// What two tones in the same slot must share for one to slide into the other: they become one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Voice {
    kind: Kind,
    shape: Shape,
    /// The place in [`Sheet::envelopes`].
    envelope: Option<usize>,
    /// The place there of what swings, turns or shifts it, where that is no sine.
    motion: Option<usize>,
    /// The place in [`Sheet::spectra`], where noise has one of its own; its colour then says only how loud it is.
    spectrum: Option<usize>,
    /// The ear that carries the beat; `None` in `.sbg`, where the sign of the beat decides.
    lead: Option<Ear>,
    /// The multiple of the rhythm that the beat is by decree; `None` if the beat has a frequency of its own.
    lock: Option<u32>,
}

impl Voice {
    /// A voice of `kind` without anything special.
    fn plain(kind: Kind) -> Self {
        Self { kind, shape: Shape::Sine, envelope: None, motion: None, spectrum: None, lead: None, lock: None }
    }
}

/// Music that a score wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StemNeed {
    /// What the score calls it: by this name [`Score::program_with`] looks for it. In `.sbg` the name of a file, or
    /// empty for music that the author gave to the player and not to the score.
    pub name: String,
    /// The file that the author had, for people and for looking beside the score.
    pub file: Option<String>,
    /// SHA-256 of that file, if the score says it: then nothing else will do.
    pub sha256: Option<[u8; 32]>,
    /// The line that asks for it, from 1.
    pub line: usize,
    /// Whether it begins again when it ends, and how long the end and the new beginning overlap.
    pub looped: Option<Span>,
}

/// One sound of a tone-set.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Tone {
    voice: Voice,
    carrier_hz: f64,
    /// In `.sbg` a positive beat has the left ear higher. 0 where the voice is locked.
    beat_hz: f64,
    /// 0 to 1.
    amplitude: f64,
}

/// Sounds that play together. The position of a tone is its slot: slides and fades join equal slots.
#[derive(Clone, PartialEq, Debug)]
struct ToneSet {
    name: String,
    line: usize,
    tones: Vec<Option<Tone>>,
}

/// A line of the timeline, for the summary.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Entry {
    /// In the sheet's time.
    at_ns: i64,
    set: usize,
}

/// What happens between two tone-sets during a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// The same tone-set throughout.
    Hold,
    /// Equal tones stay and change their loudness; every other goes through silence in the middle.
    Fade,
    /// Like `Fade`, but tones of one voice slide their frequencies too.
    Slide,
    /// Like `Slide`, and what begins or ends takes the whole section for it.
    Glide,
    /// Equal tones change their loudness, pulses and what has no pitch slide, and binaural tones and spins that differ go
    /// through silence, each over the whole section.
    Ramp,
    /// Everything goes through silence in the middle.
    Silence,
}

/// A stretch of the score.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Section {
    start_ns: i64,
    end_ns: i64,
    from: usize,
    to: usize,
    how: How,
    /// The line of the timeline to which this section leads or which it holds.
    entry: usize,
}

/// A stretch of the score's own rhythm, linear from one frequency to another; also the shape of any frequency.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Ramp {
    start_ns: i64,
    end_ns: i64,
    from_hz: f64,
    to_hz: f64,
}

/// What both readers produce.
#[derive(Clone, PartialEq, Debug)]
struct Sheet {
    title: Option<String>,
    tone_sets: Vec<ToneSet>,
    entries: Vec<Entry>,
    /// Gapless and in order.
    sections: Vec<Section>,
    /// The sections repeat with this period; `None` if they are played once.
    period_ns: Option<i64>,
    /// Where in the sheet's time the score begins.
    begin_ns: i64,
    /// The clock reading at that point.
    clock_ns: i64,
    duration_ns: Option<i64>,
    /// The rhythm that the author wrote, gapless from 0; empty to take the first beat.
    rhythm: Vec<Ramp>,
    /// The shapes that [`Voice::envelope`] counts.
    envelopes: Vec<Arc<Envelope>>,
    /// The spectra that [`Voice::spectrum`] counts.
    spectra: Vec<Arc<Spectrum>>,
    /// What the author should know: the line, and what was not played there as elsewhere.
    notes: Vec<(usize, String)>,
    /// The music that [`Kind::Stem`] counts.
    stems: Vec<StemNeed>,
    /// How loud noise is for its author, relative to ours: white, pink, brown, in the order of [`NoiseColor`].
    noise_gains: [f64; 3],
}

/// A score as its author wrote it, read and validated.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    name: String,
    text: String,
    format: Format,
    sheet: Sheet,
    lines: Vec<compile::Line>,
}

impl Score {
    /// Reads the score `text`, which is called `name` in messages. Errors on anything that cannot be played as written.
    pub fn parse(text: &str, name: &str, format: Format) -> Result<Self, ScoreError> {
        let sheet = match format {
            Format::Toml => toml::read(text, name)?,
            Format::Sbg => sbg::read(text, name)?,
        };
        let lines = compile::lines(&sheet).map_err(|set| ScoreError {
            name: name.into(),
            line: sheet.tone_sets[set].line,
            column: (format == Format::Toml).then_some(1),
            reason: format!(
                "tone-set {:?} would need channel {}, and a score may have {CHANNELS_MAX}: a slot takes a channel for \
                 each different kind of sound in it, so put like sounds into the same place of each tone-set",
                sheet.tone_sets[set].name,
                CHANNELS_MAX + 1,
            ),
        })?;
        Ok(Self { name: name.into(), text: text.into(), format, sheet, lines })
    }

    /// The name that was given to [`Score::parse`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The language that it is written in.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The channels of its [`Program`]; at most [`CHANNELS_MAX`].
    pub fn channels(&self) -> usize {
        self.lines.len()
    }

    /// What the score's own clock reads when it begins, in seconds after midnight.
    ///
    /// For `.sbg` that is `-T`, else its first time line; 0 if that is `NOW`, and for TOML.
    pub fn start_s(&self) -> f64 {
        seconds(self.sheet.clock_ns)
    }

    /// How long it plays; `None` if it has no end.
    pub fn duration(&self) -> Option<Span> {
        self.sheet.duration_ns.map(Span::from_ns)
    }

    /// The rhythm that the score proposes for a circle if it begins at `epoch`: phase 0 there.
    ///
    /// A score that repeats daily is unrolled for [`RHYTHM_HORIZON`]; then the last frequency is held.
    pub fn rhythm(&self, epoch: NodeTime) -> Rhythm {
        compile::rhythm(&self.sheet, &self.lines, epoch, RHYTHM_HORIZON)
    }

    /// The score laid onto node time from `epoch` on: every phase is 0 there, and before it all is silent.
    ///
    /// A score with a duration is compiled whole. An endless one is unrolled for `horizon` (at most [`HORIZON_MAX`]);
    /// beyond that every channel keeps its last frequency and loudness. `.sbg` scores repeat every 24 hours.
    ///
    /// Its music is missing; see [`Score::program_with`].
    pub fn program(&self, epoch: NodeTime, horizon: Span) -> Program {
        self.program_with(epoch, horizon, &Stems::default())
    }

    /// As [`Score::program`], with the music that was found for [`Score::stems`].
    pub fn program_with(&self, epoch: NodeTime, horizon: Span, stems: &Stems) -> Program {
        compile::program(&self.sheet, &self.lines, epoch, horizon, stems)
    }

    /// The music that the score wants, in the order in which it asks for it.
    pub fn stems(&self) -> &[StemNeed] {
        &self.sheet.stems
    }

    /// The score in plain words and numbers; `docs/scores.md` lists the keys.
    pub fn summary(&self) -> Value {
        summary::summary(self)
    }
}

/// Nanoseconds as seconds.
fn seconds(ns: i64) -> f64 {
    Span::from_ns(ns).as_s_f64()
}

/// The first rule that a tone's numbers break: what was given, what is allowed, what to do.
fn check_tone(kind: Kind, carrier_hz: f64, beat_hz: f64, amplitude_pct: f64) -> Result<(), String> {
    if !(0.0..=100.0).contains(&amplitude_pct) {
        return Err(format!("an amplitude must be 0 to 100 (per cent of full scale), not {amplitude_pct}"));
    }
    let width = matches!(kind, Kind::Spin(_) | Kind::TurnedStem(_));
    if width && !(-WIDTH_US_MAX..=WIDTH_US_MAX).contains(&carrier_hz) {
        return Err(format!("a width must be at most {WIDTH_US_MAX} µs, not {carrier_hz}"));
    }
    if !width && !(0.0..=CARRIER_HZ_MAX).contains(&carrier_hz) {
        return Err(format!("a carrier must be 0 to {CARRIER_HZ_MAX} Hz, not {carrier_hz}"));
    }
    if !(-BEAT_HZ_MAX..=BEAT_HZ_MAX).contains(&beat_hz) {
        return Err(format!("a beat must be at most {BEAT_HZ_MAX} Hz, not {beat_hz}"));
    }
    Ok(())
}

/// The decimal number at the beginning of `text`, and what follows. No `inf`, `nan` or hexadecimal.
fn number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut end = digits(sign);
    let mut count = end - sign;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        count += fraction - end - 1;
        end = fraction;
    }
    if count == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if sign <= bytes.len() && digits(sign) > sign {
            end = digits(sign);
        }
    }
    text[..end].parse().ok().filter(|n: &f64| n.is_finite()).map(|n| (n, &text[end..]))
}
