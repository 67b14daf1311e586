//! What a night plays: read from our own TOML or from `.sbg`, checked, and laid onto node time.
//!
//! Both formats say the same thing in different words: tone-sets, and when one gives way to the next. The readers
//! ([`toml`], [`sbg`]) turn their text into one [`Sheet`]: the tone-sets, and a gapless list of sections, each of
//! which holds one tone-set or leads from one to another. [`compile`] knows only the sheet. So the meaning of a fade
//! or a slide is written down once, and a format is only its grammar and its clock.
//!
//! A score is refused as a whole, with the place and the reason, rather than played in part: nobody should have to
//! listen through a night to find out that a line of it was dropped.
//!
//! Nothing here is realtime-safe; all of it happens before the night.
use core::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::program::{Ear, NoiseColor, Program, CHANNELS_MAX};
use crate::rhythm::Rhythm;
use crate::units::{NodeTime, Span, NS_PER_S};

mod compile;
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
    Isochronic,
    Noise(NoiseColor),
}

/// What two tones in the same slot must share for one to slide into the other: they become one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Voice {
    kind: Kind,
    /// The ear that carries the beat; `None` in `.sbg`, where the sign of the beat decides.
    lead: Option<Ear>,
    /// The multiple of the rhythm that the beat is by decree; `None` if the beat has a frequency of its own.
    lock: Option<u32>,
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
    pub fn program(&self, epoch: NodeTime, horizon: Span) -> Program {
        compile::program(&self.sheet, &self.lines, epoch, horizon)
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
    if matches!(kind, Kind::Noise(_)) {
        return Ok(());
    }
    if !(0.0..=CARRIER_HZ_MAX).contains(&carrier_hz) {
        return Err(format!("a carrier must be 0 to {CARRIER_HZ_MAX} Hz, not {carrier_hz}"));
    }
    if !(-BEAT_HZ_MAX..=BEAT_HZ_MAX).contains(&beat_hz) {
        return Err(format!("a beat must be at most {BEAT_HZ_MAX} Hz, not {beat_hz}"));
    }
    Ok(())
}
