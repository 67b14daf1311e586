//! `.sbg`, the sequence format of SBaGen and its relatives, read as those programs read it.
//!
//! A file is a list of lines: options, `name: tone tone …`, `name: {` … `}`, and `time [fade] name [->]`. Time is a
//! clock of 24 hours that goes round for ever: after the last line comes the first of the next day, and the last
//! tone-set fades into the first as any other into its successor.
//!
//! # How two tone-sets meet
//!
//! Between two time lines lies a transition, whose place and manner follow three rules.
//!
//! 1. It is centred on the later line's time and takes the fade time, a minute unless `-F` says otherwise: half of it
//!    is cut from the earlier tone-set, half from the later. Where a tone-set is too short to give its half it gives
//!    what it has, in the order of the file: its own beginning takes first, then its end. A tone-set that ends in `->`
//!    gives nothing at either side: its transition begins at its own time and lasts until the next line's.
//! 2. What the two lines ask for is decided by the more careful of both: `>` or `<` silences everything in between,
//!    `-` keeps only equal pitches, `=` slides. `->` always slides.
//! 3. Tones are matched by their place in the tone-set, and only like kinds continue. Where one does not continue, the
//!    old fades out in the first half and the new fades in in the second; with `->` a tone that comes from `-` or
//!    goes to `-` takes the whole transition for it.
//!
//! Everything is linear in time: amplitude, carrier and beat.
//!
//! # Where this reader is stricter
//!
//! SBaGen stops at the first thing that it cannot read, and ignores some others (a seventeenth tone, a fade before a
//! block's name, words after `->`). This one notes the first, which authors have got used to, and refuses the others,
//! because a word that is dropped is a sound that is missing. It knows no sound card, so `NOW` is the moment at which the
//! score begins.
//!
//! # Lines that only SBaGenX reads
//!
//! Its library takes a timeline for keyframes: a line's last word says how it goes on to the next line, all of the way
//! (`->` slides, an `=`, `step` and `hold` stay, anything else is a ramp), the first line counts from before its time, and
//! the last one stays. One such word, or sounds in place of a name, make a file one of those. A file without them is
//! read as SBaGen does, though that library would read it as keyframes, too.
//!
//! Source: the documentation and the behaviour of SBaGen 1.4.4; isochronic tones and white and brown noise as in
//! SBaGen+ and SBaGenX; keyframes as in sbagenxlib (2026).
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    number, Entry, How, Kind, ScoreError, Section, Sheet, StemNeed, Tone, ToneSet, Voice, ENTRIES_MAX, FOREVER_NS,
};
use crate::envelope::{Edge, Envelope, SAMPLES_MAX};
use crate::program::Shape;
use crate::spectrum::{Spectrum, LEVELS, LEVEL_DB_MAX};
use crate::units::{Span, NS_PER_S};
use options::{Options, Rest};
use tone::{Drawing, Parts, Word};

mod curve;
mod options;
mod session;
mod tone;

const DAY_S: i64 = 86_400;
/// The transition between two tone-sets, unless `-F` says otherwise.
const FADE_DEFAULT_NS: i64 = 60 * NS_PER_S;
/// How long the end of a soundtrack and its new beginning overlap.
const OVERLAP: Span = Span::from_s(1);
/// The words of a tone-set that count; those programs hear no others.
const WORDS_MAX: usize = 16;
/// How deeply blocks may call blocks; deeper ones call themselves.
const DEPTH_MAX: usize = 32;

/// What a line asks for at one of its ends, from the most to the least careful.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Manner {
    Silence,
    Fade,
    Slide,
}

/// The point to which relative times are added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    Now,
    Clock(i64),
}

/// A time as it is written: `NOW+1:00`, `22:30`, `+0:05+0:01`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct TimeSpec {
    base: Option<Base>,
    plus_s: i64,
}

/// A time line after its block has been expanded, before its clock is known.
#[derive(Clone, Copy, Debug)]
struct TimeLine {
    base: Base,
    plus_s: i64,
    fade_in: Manner,
    fade_out: Manner,
    /// How it goes on to the next line, if the line says so itself.
    then: Option<Then>,
    set: usize,
    line: usize,
}

impl TimeLine {
    fn slides(&self) -> bool {
        self.then == Some(Then::Slide)
    }
}

/// What the last word of a time line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// `->`
    Slide,
    /// `linear`, `ramp`, and two signs without an `=`: all of the way to the next line is one change.
    Ramp,
    /// `step`, `hold`, and two signs with an `=`: nothing changes until the next line.
    Hold,
}

#[derive(Clone, Debug)]
enum Definition<'a> {
    ToneSet(usize),
    Block(Vec<(usize, &'a str)>),
}

type Reason = String;

/// The tones of a tone-set, by their slots.
struct Tones {
    tones: Vec<Option<Tone>>,
    /// The slot of the sound whose beat is that of the session around it.
    bound: Option<usize>,
}

/// How loud noise is for those who write `.sbg`, relative to ours, whose RMS is 0.18: white, pink, brown.
///
/// White is even over −1 … 1: 1/√3. Pink is a sum of ten such sources of a tenth, nine of them with a line from one
/// number to the next at half of the rate of the one before: √(1/300 + 9·2/900). Brown walks by 0.02 of a white sample;
/// above 20 Hz that is ours, louder (0.051133 makes the RMS of a pole at 10 Hz 1).
const NOISE_GAINS: [f64; 3] = [0.577_350_3 / 0.18, 0.152_752_5 / 0.18, 0.011_547 / 0.051_133_24 / 0.18];

/// Reads `text`; errors name `name`.
pub(super) fn read(text: &str, name: &str) -> Result<Sheet, ScoreError> {
    let refuse = |(line, reason): (usize, Reason)| ScoreError { name: name.into(), line, column: None, reason };
    let mut reader = Reader::default();
    let first = text.lines().map(str::trim).find(|line| !(line.is_empty() || line.starts_with(['#', ';'])));
    if name.ends_with(".sbgf") || first.is_some_and(curve::is_line) {
        reader.title = text.lines().find_map(|line| line.trim().strip_prefix('#')).map(|line| line.trim().into());
        let laid = curve::read(text).map_err(refuse)?;
        return reader.session_sheet(laid).map_err(refuse);
    }
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut last_line = 1;
    while let Some((number, line)) = lines.next() {
        last_line = number;
        if reader.title.is_none() {
            reader.title = line.trim().strip_prefix("##").map(str::trim).filter(|t| !t.is_empty()).map(Into::into);
        }
        let line = content(line);
        if line.is_empty() {
            continue;
        }
        let at = |reason: Reason| refuse((number, reason));
        if reader.complete {
            return Err(at(format!("the -i or -p above says all of what is played; remove {line:?}")));
        }
        if line.starts_with('-') {
            reader.options(number, line).map_err(at)?;
        } else if let Some((name, rest)) = definition(line) {
            reader.options_over = true;
            if rest == "{" {
                let block = read_block(&mut lines, number).map_err(refuse)?;
                reader.definitions.insert(name, Definition::Block(block));
            } else {
                reader.define(number, name, rest).map_err(at)?;
            }
        } else {
            reader.options_over = true;
            if let Some(reason) = not_a_time_line(line) {
                return Err(at(reason));
            }
            reader.time_line(number, line, None, 0).map_err(refuse)?;
        }
    }
    match reader.session.take() {
        Some(laid) => reader.session_sheet(laid),
        None => reader.sheet(last_line),
    }
    .map_err(refuse)
}

/// A line without its comment and the white space around it.
fn content(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// The name and the rest of a `name: rest` line.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    (named && rest.starts_with(char::is_whitespace)).then(|| (name, rest.trim()))
}

/// Why a line is certainly not a time line, where that can be said better than by calling its first word no time.
fn not_a_time_line(line: &str) -> Option<Reason> {
    let first = line.split_whitespace().next()?;
    let word = first.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').next()?;
    if !word.starts_with(|c: char| c.is_ascii_alphabetic()) || word == "NOW" {
        return None;
    }
    let rest = line[word.len()..].trim_start();
    if curve::is_line(line) {
        return Some(format!("{line:?} is a line of an .sbgf curve; put curves into a file of their own"));
    }
    (rest.starts_with(':') && first.len() > word.len())
        .then(|| format!("{first:?} needs a space after the colon, and something after it: '{word}: …'"))
}

/// The lines up to the closing brace of the block that opens in line `opened`.
fn read_block<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    opened: usize,
) -> Result<Vec<(usize, &'a str)>, (usize, Reason)> {
    let mut block = Vec::new();
    for (number, line) in lines {
        let line = content(line);
        if line == "}" {
            if block.is_empty() {
                return Err((number, "the block is empty; write at least one line like '+0:00 name' in it".into()));
            }
            return Ok(block);
        }
        if line.is_empty() {
            continue;
        }
        if !line.starts_with('+') {
            let reason = format!("a line in a block must begin with a relative time such as +0:05, not {line:?}");
            return Err((number, reason));
        }
        block.push((number, line));
    }
    Err((opened, "the block that opens here is never closed; add a line with '}'".into()))
}

#[derive(Default)]
struct Reader<'a> {
    title: Option<String>,
    options: Options,
    options_over: bool,
    /// After `-i` or `-p` nothing may follow.
    complete: bool,
    session: Option<session::Laid>,
    tone_sets: Vec<ToneSet>,
    definitions: BTreeMap<&'a str, Definition<'a>>,
    time_lines: Vec<TimeLine>,
    last_base: Option<Base>,
    /// Whether a line is written as only SBaGenX reads it: then its rules hold for all of them.
    keyed: bool,
    envelopes: Vec<Arc<Envelope>>,
    spectra: Vec<Arc<Spectrum>>,
    /// The place of each `waveNN`, `customNN` and `spinNN` among the envelopes, and of each `noiseNN` among the spectra.
    drawn: BTreeMap<(Drawing, usize), usize>,
    notes: Vec<(usize, String)>,
    stems: Vec<StemNeed>,
    /// The line of `-m`, and whether any tone-set says how loud the soundtrack is.
    music_line: usize,
    mixed: bool,
}

impl<'a> Reader<'a> {
    fn options(&mut self, number: usize, line: &'a str) -> Result<(), Reason> {
        if self.options_over {
            return Err(format!("options must come before the first tone-set or time line; move {line:?} to the top"));
        }
        let had_music = self.options.music.is_some();
        let rest = self.options.read(line)?;
        if self.options.music.is_some() && !had_music {
            self.music_line = number;
        }
        match rest {
            Rest::Nothing => {}
            Rest::Immediate(words) => {
                let Tones { tones, bound } = self.tones(number, &words)?;
                if tones.is_empty() || bound.is_some() {
                    return Err("-i needs tones after it, such as -i pink/40 200+4/20".into());
                }
                self.complete = true;
                self.tone_sets.push(ToneSet { name: "immediate".into(), line: number, tones });
                let (fade_in, fade_out) = (Manner::Fade, Manner::Fade);
                let set = self.tone_sets.len() - 1;
                let base = Base::Clock(0);
                self.time_lines.push(TimeLine { base, plus_s: 0, fade_in, fade_out, then: None, set, line: number });
            }
            Rest::Session(words) => {
                if self.options.start_s.is_some() {
                    return Err("a session begins at its beginning; remove -T".into());
                }
                let (shape, wander) = (self.options.shape(), self.options.wander);
                let laid = session::read(&words, number, shape, wander, &mut |words| self.tones(number, words))?;
                self.complete = true;
                self.session = Some(laid);
            }
        }
        Ok(())
    }

    /// A line `name: words`: an envelope, or a tone-set.
    fn define(&mut self, line: usize, name: &'a str, words: &str) -> Result<(), Reason> {
        // The newer two may be names of tone-sets in older files.
        let draws = |drawing| {
            let first = words.split_whitespace().next().unwrap_or_default();
            matches!(drawing, Drawing::Wave | Drawing::Custom)
                || first.starts_with("e=")
                || matches!(number(first), Some((_, "")))
        };
        if let Some((drawing, n)) = tone::drawn_named(name, 2).filter(|(drawing, _)| draws(*drawing)) {
            let named = |reason| format!("{name} {reason}");
            let place = if drawing == Drawing::Noise {
                self.spectra.push(Arc::new(draw_noise(words).map_err(named)?));
                self.spectra.len() - 1
            } else {
                let envelope = draw(drawing, words).map_err(named)?;
                self.envelope(envelope)
            };
            return match self.drawn.insert((drawing, n), place) {
                None => Ok(()),
                Some(_) => Err(format!("{name} is defined twice; give one of them another number")),
            };
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        let set = self.tone_set(line, name, &words)?;
        self.definitions.insert(name, Definition::ToneSet(set));
        Ok(())
    }

    /// The place of a new tone-set of `words`.
    fn tone_set(&mut self, line: usize, name: &str, words: &[&str]) -> Result<usize, Reason> {
        let Tones { tones, bound } = self.tones(line, words)?;
        if bound.is_some() {
            return Err(
                "mixam:beat follows the beat of a session, and there is none; write a rate, such as mixam:8".into()
            );
        }
        self.tone_sets.push(ToneSet { name: name.into(), line, tones });
        Ok(self.tone_sets.len() - 1)
    }

    /// The place of `envelope`; one that is there already is shared.
    fn envelope(&mut self, envelope: Envelope) -> usize {
        match self.envelopes.iter().position(|known| **known == envelope) {
            Some(place) => place,
            None => {
                self.envelopes.push(Arc::new(envelope));
                self.envelopes.len() - 1
            }
        }
    }

    /// The words of a tone-set, or of `-i` and `-p`, as tones.
    fn tones(&mut self, line: usize, words: &[&str]) -> Result<Tones, Reason> {
        if let Some(first) = words.get(WORDS_MAX) {
            let text = format!("{first:?} and what follows it is not played: a tone-set has {WORDS_MAX} sounds");
            self.notes.push((line, text));
        }
        let words = words[..words.len().min(WORDS_MAX)]
            .iter()
            .map(|word| tone::read(word, &self.options.words))
            .collect::<Result<Vec<_>, _>>()?;
        let mix = words.iter().find_map(|word| match word {
            Word::Mix(amplitude) => Some(*amplitude),
            _ => None,
        });
        let of_the_mix = |word: &Word| matches!(word, Word::Effect { .. } | Word::Am { .. });
        if mix.is_none() && words.iter().any(of_the_mix) {
            return Err(
                "mixspin, mixpulse, mixbeat and mixam change the soundtrack; say how loud it is with mix/AMPLITUDE"
                    .into(),
            );
        }
        let ams = words.iter().filter(|word| matches!(word, Word::Am { .. })).count();
        if ams > 1 || (ams == 1 && words.iter().any(|word| matches!(word, Word::Effect { .. }))) {
            return Err("mixam stands alone here; leave out the other effects on the soundtrack".into());
        }
        let mut am = None;
        for word in &words {
            if let Word::Am { hz, envelope } = word {
                am = Some((*hz, self.envelope(envelope.clone())));
            }
        }
        let (mut tones, mut bound) = (Vec::new(), None);
        for (slot, word) in words.into_iter().enumerate() {
            tones.push(match word {
                Word::Empty | Word::Am { .. } => None,
                Word::Mix(amplitude) => {
                    let mut tone = Tone {
                        voice: Voice::plain(Kind::Stem(self.stem(line))),
                        carrier_hz: 0.0,
                        beat_hz: 0.0,
                        amplitude,
                    };
                    if let Some((hz, envelope)) = am {
                        tone.voice.envelope = Some(envelope);
                        tone.beat_hz = hz.unwrap_or(1.0);
                        bound = bound.or(hz.is_none().then_some(slot));
                    }
                    self.mixed = true;
                    Some(tone)
                }
                Word::Effect { mut tone, parts, intensity } => {
                    let stem = self.stem(line);
                    let envelope = self.envelope_of(parts)?;
                    let shape = parts.shape.unwrap_or_default();
                    match tone.voice.kind {
                        Kind::TurnedStem(_) => {
                            tone.voice.kind = Kind::TurnedStem(stem);
                            let motion = self.motion_of(parts)?;
                            tone.voice.motion = match (motion, envelope) {
                                (motion, None) => motion,
                                (motion, Some(envelope)) => {
                                    let motion = motion.map(|place| Arc::clone(&self.envelopes[place]));
                                    let motion = motion.unwrap_or_else(|| Arc::new(Envelope::shape(Shape::Sine)));
                                    Some(self.envelope(motion.under(&self.envelopes[envelope])))
                                }
                            };
                        }
                        Kind::ShiftedStem(_) => {
                            tone.voice.kind = Kind::ShiftedStem(stem);
                            tone.voice.motion = self.motion_of(parts)?;
                            let share = envelope.map_or_else(Envelope::open, |place| (*self.envelopes[place]).clone());
                            tone.voice.envelope = Some(self.envelope(share.scaled(intensity)));
                        }
                        _ => {
                            tone.voice.kind = Kind::Stem(stem);
                            let pulse = match envelope {
                                Some(place) => (*self.envelopes[place]).clone(),
                                None => Envelope::shape(shape).pulsed(),
                            };
                            tone.voice.envelope = Some(self.envelope(pulse.above(1.0 - intensity)));
                        }
                    }
                    tone.amplitude *= mix.unwrap_or(0.0);
                    Some(tone)
                }
                Word::Tone { mut tone, parts } => {
                    tone.voice.spectrum = parts.spectrum.map(|n| self.place(Drawing::Noise, n)).transpose()?;
                    tone.voice.envelope = self.envelope_of(parts)?;
                    if matches!(tone.voice.kind, Kind::Spin(_) | Kind::ShiftedNoise(_)) {
                        tone.voice.motion = self.motion_of(parts)?;
                    }
                    if tone.voice.envelope.is_none() {
                        let pulse = self.options.pulse.clone();
                        let pulse = match tone.voice.kind {
                            Kind::Isochronic => pulse,
                            Kind::PulsedNoise(_) => Some(pulse.unwrap_or_else(Envelope::standard)),
                            _ => None,
                        };
                        tone.voice.envelope = pulse.map(|pulse| self.envelope(pulse));
                    }
                    Some(tone)
                }
            });
        }
        tones.iter_mut().flatten().for_each(|tone| tone.amplitude *= self.options.volume);
        Ok(Tones { tones, bound })
    }

    /// The place of what was drawn as number `n`.
    fn place(&self, drawing: Drawing, n: usize) -> Result<usize, Reason> {
        let name = drawing.name();
        self.drawn
            .get(&(drawing, n))
            .copied()
            .ok_or_else(|| format!("{name}{n:02} is not defined up to here; define it above with '{name}{n:02}: …'"))
    }

    /// The place of a word's `waveNN` or `customNN`.
    fn envelope_of(&self, parts: Parts) -> Result<Option<usize>, Reason> {
        parts.envelope.map(|(drawing, n)| self.place(drawing, n)).transpose()
    }

    /// The place of a word's `spinNN`, or else of its shape unless that is a sine.
    fn motion_of(&mut self, parts: Parts) -> Result<Option<usize>, Reason> {
        match (parts.motion, parts.shape) {
            (Some(n), _) => self.place(Drawing::Spin, n).map(Some),
            (None, None | Some(Shape::Sine)) => Ok(None),
            (None, Some(shape)) => Ok(Some(self.envelope(Envelope::shape(shape)))),
        }
    }

    /// The place of the soundtrack, of which there is one; `line` asks for it if no option does.
    fn stem(&mut self, line: usize) -> usize {
        if self.stems.is_empty() {
            let file = self.options.music.clone().unwrap_or_default();
            let line = if self.options.music.is_some() { self.music_line } else { line };
            // 'river.ogg#1' is the second way to loop river.ogg.
            let path = file.rsplit_once('#').map_or(file.as_str(), |(path, _)| path);
            let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
            // Recordings of waves and MP3 end; those with tags go on for ever.
            let looped = !matches!(extension.as_deref(), Some("wav" | "raw" | "mp3"));
            self.stems.push(StemNeed {
                name: file.clone(),
                file: (!path.is_empty()).then(|| path.into()),
                sha256: None,
                line,
                looped: looped.then_some(OVERLAP),
            });
        }
        0
    }

    /// Where no tone-set says how loud the soundtrack is, it plays throughout as it was recorded.
    fn unmixed(&mut self) {
        if self.options.music.is_none() || self.mixed {
            return;
        }
        let stem = self.stem(self.music_line);
        let slot = self.tone_sets.iter().map(|set| set.tones.len()).max().unwrap_or(0);
        let amplitude = self.options.volume;
        for set in &mut self.tone_sets {
            set.tones.resize(slot, None);
            let voice = Voice::plain(Kind::Stem(stem));
            set.tones.push(Some(Tone { voice, carrier_hz: 0.0, beat_hz: 0.0, amplitude }));
        }
    }

    /// The sheet of a session, which plays once from silence to silence.
    fn session_sheet(mut self, laid: session::Laid) -> Result<Sheet, (usize, Reason)> {
        let speed = self.options.speed;
        self.tone_sets = laid.tone_sets;
        self.unmixed();
        let section = |section: Section| Section {
            start_ns: section.start_ns / speed,
            end_ns: section.end_ns / speed,
            ..section
        };
        Ok(Sheet {
            title: self.title,
            tone_sets: self.tone_sets,
            entries: laid.entries.into_iter().map(|entry| Entry { at_ns: entry.at_ns / speed, ..entry }).collect(),
            sections: laid.sections.into_iter().map(section).filter(|s| s.start_ns < s.end_ns).collect(),
            period_ns: None,
            begin_ns: 0,
            clock_ns: laid.start_s * NS_PER_S,
            duration_ns: Some(self.options.length_s.map_or(laid.duration_ns / speed, |s| s * NS_PER_S)),
            rhythm: Vec::new(),
            envelopes: self.envelopes,
            spectra: self.spectra,
            notes: self.notes,
            stems: self.stems,
            noise_gains: NOISE_GAINS,
        })
    }

    /// A time line, or the line of a block that is called at `caller`. Errors with the line that is at fault.
    fn time_line(
        &mut self,
        number: usize,
        line: &str,
        caller: Option<TimeSpec>,
        depth: usize,
    ) -> Result<(), (usize, Reason)> {
        let at = |reason: Reason| (number, reason);
        let mut words = line.split_whitespace().peekable();
        let first = words.next().unwrap_or_default();
        let own = time_spec(first).map_err(at)?;
        let spec = match caller {
            Some(caller) => TimeSpec { base: caller.base, plus_s: (caller.plus_s + own.plus_s) % DAY_S },
            None => own,
        };

        let mut fade = None;
        if let Some(word) = words.next_if(|word| word.len() > 1 && word.bytes().all(|b| b"<-=>".contains(&b))) {
            fade = Some(manners(word).map_err(at)?);
        }
        let mut words: Vec<&str> = words.collect();
        let last = words.last().filter(|_| words.len() > 1).and_then(|word| then(word));
        if last.is_some() {
            words.pop();
        }
        self.keyed |= matches!(last, Some(Then::Ramp | Then::Hold));
        let Some((name, more)) = words.split_first() else {
            return Err(at(format!("{line:?} names no tone-set; write it like '{first} name'")));
        };

        let definition = match self.definitions.get(name) {
            Some(definition) => match more.first() {
                Some(word) => {
                    let reason = format!("{word:?} is one word too many; a time line is 'time [fade] name [->]'");
                    return Err(at(reason));
                }
                None => definition.clone(),
            },
            None if *name != "-" && !name.contains(['/', ':']) => {
                let reason =
                    format!("no tone-set or block is called {name:?} up to here; define it above with '{name}: …'");
                return Err(at(reason));
            }
            None => {
                self.keyed = true;
                let name = words.join(" ");
                let known = self.tone_sets.iter().position(|set| set.line == number && set.name == name);
                let set = known.map_or_else(|| self.tone_set(number, &name, &words).map_err(at), Ok)?;
                Definition::ToneSet(set)
            }
        };
        match definition {
            Definition::ToneSet(set) => {
                let base = spec.base.or(self.last_base).ok_or_else(|| {
                    at(format!("{first} is relative, and no time before it is absolute; begin with NOW or 22:00"))
                })?;
                self.last_base = Some(base);
                let (fade_in, fade_out) = fade.unwrap_or((Manner::Fade, Manner::Fade));
                if self.time_lines.len() >= ENTRIES_MAX {
                    return Err(at(format!("a score may have {ENTRIES_MAX} time lines, blocks expanded; write fewer")));
                }
                self.time_lines.push(TimeLine {
                    base,
                    plus_s: spec.plus_s,
                    fade_in,
                    fade_out,
                    then: last,
                    set,
                    line: number,
                });
            }
            Definition::Block(_) if fade.is_some() || last.is_some() => {
                return Err(at(format!("{name:?} is a block and takes no fade and no ->; write them on its lines")));
            }
            Definition::Block(_) if depth >= DEPTH_MAX => {
                return Err(at(format!("block {name:?} calls blocks {DEPTH_MAX} deep; does it call itself?")));
            }
            Definition::Block(lines) => {
                for (number, line) in lines {
                    self.time_line(number, line, Some(spec), depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Lays the lines onto a clock and the transitions between them.
    fn sheet(mut self, last_line: usize) -> Result<Sheet, (usize, Reason)> {
        self.unmixed();
        let Some(first) = self.time_lines.first() else {
            return Err((
                last_line,
                "there is no time line, so nothing would play; add one such as '0:00 name'".into(),
            ));
        };
        let relative_to_now = |line: &&TimeLine| line.base == Base::Now;
        let now_s = match self.options.start_s {
            Some(start_s) => start_s,
            None => {
                let other = self.time_lines.iter().find(|line| relative_to_now(line) != relative_to_now(&first));
                if let Some(line) = other {
                    let reason = "NOW and clock times in one score need to know what the clock reads when it begins; \
                                  add an option line such as '-T 22:00', or use only one of them";
                    return Err((line.line, reason.into()));
                }
                0
            }
        };
        let clock_s = |line: &TimeLine| match line.base {
            Base::Now => (now_s + line.plus_s) % DAY_S,
            Base::Clock(s) => (s + line.plus_s) % DAY_S,
        };

        // Hours after the first line, without the wrap at midnight; one day is all there is.
        let first_s = clock_s(first);
        let mut starts_s: Vec<i64> = Vec::with_capacity(self.time_lines.len());
        for pair in std::iter::once(first).chain(&self.time_lines).zip(&self.time_lines) {
            let (before, line) = pair;
            let at_s = starts_s.last().unwrap_or(&0) + (clock_s(line) - clock_s(before)).rem_euclid(DAY_S);
            if at_s > DAY_S {
                let reason = format!(
                    "the time {} is out of order: it comes after {} (line {}) and would fall into a second day; put \
                     the lines in order, within 24 hours",
                    clock(clock_s(line)),
                    clock(clock_s(before)),
                    before.line,
                );
                return Err((line.line, reason));
            }
            starts_s.push(at_s);
        }

        // A time that counts from NOW is that of who plays it; only -S skips what comes before it.
        let begins_now = relative_to_now(&first) && !self.options.from_start;
        let start_s = self.options.start_s.unwrap_or(if begins_now { now_s } else { first_s });
        let mut into_day_s = (start_s - first_s).rem_euclid(DAY_S);
        if self.keyed && begins_now {
            // Its first tone-set is there from the beginning.
            into_day_s = -first.plus_s;
        }
        let last_s = starts_s[starts_s.len() - 1];
        // As in the original, -E counts for more than -L, and a score that would end where it begins has no end.
        let to_end_s = Some((last_s - into_day_s).rem_euclid(DAY_S)).filter(|s| self.options.to_end && *s > 0);
        let duration_ns = to_end_s.map(|s| s * NS_PER_S / self.options.speed);
        let duration_ns = duration_ns.or(self.options.length_s.map(|s| s * NS_PER_S));

        // A faster clock makes everything shorter but the sounds themselves.
        let ns = |s: i64| s * NS_PER_S / self.options.speed;
        let fade_ns = self.options.fade_ns.unwrap_or(FADE_DEFAULT_NS) / self.options.speed;
        let starts_ns: Vec<i64> = starts_s.iter().map(|s| ns(*s)).collect();
        let day_ns = ns(DAY_S);
        let once = self.keyed || self.time_lines.len() == 1;
        let mut begin_ns = ns(into_day_s);
        let sections = match self.keyed {
            true => keyed_sections(&self.time_lines, &starts_ns, begin_ns.min(0)),
            false => sections(&self.time_lines, &starts_ns, fade_ns, day_ns),
        };
        if self.time_lines.len() == 1 {
            begin_ns = 0;
        } else if !once && begin_ns < sections[0].start_ns {
            begin_ns += day_ns;
        }
        let entries =
            self.time_lines.iter().zip(&starts_ns).map(|(line, at_ns)| Entry { at_ns: *at_ns, set: line.set });
        Ok(Sheet {
            title: self.title,
            entries: entries.collect(),
            tone_sets: self.tone_sets,
            sections,
            period_ns: (!once).then_some(day_ns),
            begin_ns,
            clock_ns: start_s * NS_PER_S,
            duration_ns,
            rhythm: Vec::new(),
            envelopes: self.envelopes,
            spectra: self.spectra,
            notes: self.notes,
            stems: self.stems,
            noise_gains: NOISE_GAINS,
        })
    }
}

/// One day of holds and transitions, from the moment at which the first tone-set has fully arrived.
fn sections(lines: &[TimeLine], starts_ns: &[i64], fade_ns: i64, day_ns: i64) -> Vec<Section> {
    let n = lines.len();
    if n == 1 {
        let set = lines[0].set;
        return vec![Section { start_ns: 0, end_ns: FOREVER_NS, from: set, to: set, how: How::Hold, entry: 0 }];
    }
    let next_start = |i: usize| if i + 1 < n { starts_ns[i + 1] } else { day_ns };
    // Where each tone-set has arrived, and where it begins to leave.
    let mut arrived = starts_ns.to_vec();
    let mut leaves: Vec<i64> =
        lines.iter().enumerate().map(|(i, line)| if line.slides() { starts_ns[i] } else { next_start(i) }).collect();
    for i in 0..n {
        if lines[i].slides() {
            continue;
        }
        let next = (i + 1) % n;
        let taken_before = (fade_ns / 2).min(leaves[i] - arrived[i]);
        let taken_after = (fade_ns / 2).min(leaves[next] - arrived[next]);
        leaves[i] -= taken_before;
        arrived[next] += taken_after;
    }
    let mut sections = Vec::with_capacity(2 * n);
    for (i, line) in lines.iter().enumerate() {
        let next = (i + 1) % n;
        let arrives = if i + 1 < n { arrived[next] } else { arrived[next] + day_ns };
        let how = if line.slides() {
            How::Glide
        } else {
            match line.fade_out.min(lines[next].fade_in) {
                Manner::Silence => How::Silence,
                Manner::Fade => How::Fade,
                Manner::Slide => How::Slide,
            }
        };
        let (from, to) = (line.set, lines[next].set);
        sections.push(Section { start_ns: arrived[i], end_ns: leaves[i], from, to: from, how: How::Hold, entry: i });
        sections.push(Section { start_ns: leaves[i], end_ns: arrives, from, to, how, entry: next });
    }
    sections.retain(|section| section.start_ns < section.end_ns);
    sections
}

/// The sections of a timeline as SBaGenX reads it, from `begin_ns` on: each line is one way to the next; the first
/// tone-set is there before its line, and the last one stays.
fn keyed_sections(lines: &[TimeLine], starts_ns: &[i64], begin_ns: i64) -> Vec<Section> {
    let hold = |entry: usize, start_ns: i64, end_ns: i64| {
        let set = lines[entry].set;
        Section { start_ns, end_ns, from: set, to: set, how: How::Hold, entry }
    };
    let mut sections = vec![hold(0, begin_ns, starts_ns[0])];
    for (i, (pair, starts)) in lines.windows(2).zip(starts_ns.windows(2)).enumerate() {
        let [line, next] = [pair[0], pair[1]];
        let stays = line.fade_in == Manner::Slide || line.fade_out == Manner::Slide;
        let how = match line.then {
            Some(Then::Slide) => How::Glide,
            Some(Then::Ramp) => How::Ramp,
            None if !stays => How::Ramp,
            Some(Then::Hold) | None => {
                sections.push(hold(i, starts[0], starts[1]));
                continue;
            }
        };
        sections.push(Section {
            start_ns: starts[0],
            end_ns: starts[1],
            from: line.set,
            to: next.set,
            how,
            entry: i + 1,
        });
    }
    let last = lines.len() - 1;
    sections.push(hold(last, starts_ns[last], FOREVER_NS));
    sections.retain(|section| section.start_ns < section.end_ns);
    sections
}

/// `H:MM` or `H:MM:SS` at the beginning of `text`, in seconds, and what follows.
fn time(text: &str) -> Option<(i64, &str)> {
    let field = |text: &str| -> Option<(i64, usize)> {
        let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
        Some((text[..digits].parse().ok()?, digits))
    };
    let (hours, used) = field(text)?;
    let text = text[used..].strip_prefix(':')?;
    let (minutes, used) = field(text)?;
    let mut text = &text[used..];
    let mut seconds = 0;
    if let Some(rest) = text.strip_prefix(':') {
        let (s, used) = field(rest)?;
        (seconds, text) = (s, &rest[used..]);
    }
    (hours < 24 && minutes < 60 && seconds < 60).then_some(((hours * 60 + minutes) * 60 + seconds, text))
}

fn whole_time(word: &str) -> Result<i64, Reason> {
    match time(word) {
        Some((s, "")) => Ok(s),
        _ => Err(format!("{word:?} is not a time; write HH:MM or HH:MM:SS, from 0:00 to 23:59:59")),
    }
}

fn time_spec(word: &str) -> Result<TimeSpec, Reason> {
    let bad = || {
        format!("{word:?} is not a time; write HH:MM, HH:MM:SS or NOW, and +HH:MM after it or alone to add to a time")
    };
    let mut spec = TimeSpec { base: None, plus_s: 0 };
    let mut rest = word;
    if let Some(after) = rest.strip_prefix("NOW") {
        (spec.base, rest) = (Some(Base::Now), after);
    } else if !rest.starts_with('+') {
        let (s, after) = time(rest).ok_or_else(bad)?;
        (spec.base, rest) = (Some(Base::Clock(s)), after);
    }
    while !rest.is_empty() {
        let (s, after) = rest.strip_prefix('+').and_then(time).ok_or_else(bad)?;
        (spec.plus_s, rest) = ((spec.plus_s + s) % DAY_S, after);
    }
    Ok(spec)
}

fn manners(word: &str) -> Result<(Manner, Manner), Reason> {
    let pair = match word.as_bytes() {
        [fade_in, fade_out] => {
            let manner = |c: u8, silence: u8| match c {
                b'-' => Some(Manner::Fade),
                b'=' => Some(Manner::Slide),
                c if c == silence => Some(Manner::Silence),
                _ => None,
            };
            manner(*fade_in, b'<').zip(manner(*fade_out, b'>'))
        }
        _ => None,
    };
    pair.ok_or_else(|| {
        format!("{word:?} is neither a name nor a fade; a fade is one of < - = and one of > - =, such as == or <>")
    })
}

/// What a last word asks for, if it is one.
fn then(word: &str) -> Option<Then> {
    match word {
        "->" => Some(Then::Slide),
        "linear" | "ramp" => Some(Then::Ramp),
        "step" | "hold" => Some(Then::Hold),
        pair if pair.len() == 2 && pair.bytes().all(|b| b"<-=>".contains(&b)) => {
            Some(if pair.contains('=') { Then::Hold } else { Then::Ramp })
        }
        _ => None,
    }
}

/// The spectrum that the words after `noiseNN:` draw.
fn draw_noise(words: &str) -> Result<Spectrum, Reason> {
    let levels: Option<Vec<f64>> = words
        .split_whitespace()
        .map(|word| number(word).filter(|(_, rest)| rest.is_empty()).map(|(db, _)| db))
        .collect();
    levels.and_then(|levels| Spectrum::drawn(&levels)).ok_or_else(|| {
        format!("needs {LEVELS} levels in decibels, from 20 Hz to 20 kHz, each from -{LEVEL_DB_MAX} to {LEVEL_DB_MAX}")
    })
}

/// The envelope or motion that the words after `waveNN:`, `customNN:` or `spinNN:` draw.
fn draw(drawing: Drawing, words: &str) -> Result<Envelope, Reason> {
    let mut edge = Edge::Linear;
    let mut samples = Vec::new();
    for (i, word) in words.split_whitespace().enumerate() {
        if let Some(given) = word.strip_prefix("e=").filter(|_| drawing != Drawing::Wave && i == 0) {
            edge = tone::edge(given)?;
            continue;
        }
        match number(word) {
            Some((sample, "")) => samples.push(sample),
            _ => return Err(format!("is drawn with numbers, such as 0 0.2 1 0.2 0, not with {word:?}")),
        }
    }
    if !(2..=SAMPLES_MAX).contains(&samples.len()) {
        return Err(format!("needs 2 to {SAMPLES_MAX} samples, not {}", samples.len()));
    }
    let (envelope, needs) = match drawing {
        Drawing::Wave => (Envelope::smoothed(&samples), "needs two samples that differ"),
        Drawing::Spin => (Envelope::motion(&samples, edge), "needs a sample that is not 0"),
        _ => (Envelope::literal(&samples, edge), "needs samples from 0 upwards, and one above 0"),
    };
    envelope.ok_or_else(|| needs.into())
}

fn clock(s: i64) -> String {
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
