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
//! block's name, words after `->`). This one refuses those too, because a word that is dropped is a sound that is
//! missing. It knows no sound card, so `NOW` is the moment at which the score begins.
//!
//! Source: the documentation and the behaviour of SBaGen 1.4.4; isochronic tones and white and brown noise as in
//! SBaGen+ and SBaGenX.
use std::collections::BTreeMap;

use super::{check_tone, Entry, How, Kind, ScoreError, Section, Sheet, Tone, ToneSet, Voice, ENTRIES_MAX, FOREVER_NS};
use crate::program::{NoiseColor, CHANNELS_MAX};
use crate::units::NS_PER_S;

const DAY_S: i64 = 86_400;
const DAY_NS: i64 = DAY_S * NS_PER_S;
/// The transition between two tone-sets, unless `-F` says otherwise.
const FADE_DEFAULT_NS: i64 = 60 * NS_PER_S;
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
    slide: bool,
    set: usize,
    line: usize,
}

#[derive(Clone, Debug)]
enum Definition<'a> {
    ToneSet(usize),
    Block(Vec<(usize, &'a str)>),
}

#[derive(Default)]
struct Options {
    to_end: bool,
    start_s: Option<i64>,
    length_s: Option<i64>,
    fade_ns: Option<i64>,
}

type Reason = String;

/// Reads `text`; errors name `name`.
pub(super) fn read(text: &str, name: &str) -> Result<Sheet, ScoreError> {
    let mut reader = Reader::default();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let refuse = |(line, reason): (usize, Reason)| ScoreError { name: name.into(), line, column: None, reason };
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
        if line.starts_with('-') {
            reader.options(line).map_err(|reason| refuse((number, reason)))?;
        } else if let Some((name, rest)) = definition(line) {
            reader.options_over = true;
            if rest == "{" {
                let block = read_block(&mut lines, number).map_err(refuse)?;
                reader.definitions.insert(name, Definition::Block(block));
            } else {
                reader.tone_set(number, name, rest).map_err(|reason| refuse((number, reason)))?;
            }
        } else {
            reader.options_over = true;
            if let Some(reason) = not_a_time_line(line) {
                return Err(refuse((number, reason)));
            }
            reader.time_line(number, line, None, 0).map_err(refuse)?;
        }
    }
    reader.sheet(last_line).map_err(refuse)
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
    if rest.starts_with(['=', '<', '>']) || (matches!(word, "param" | "solve") && rest.contains('=')) {
        return Some(format!(
            "{line:?} is a line of an .sbgf curve, which is not supported; write it out as time lines"
        ));
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
    tone_sets: Vec<ToneSet>,
    definitions: BTreeMap<&'a str, Definition<'a>>,
    time_lines: Vec<TimeLine>,
    last_base: Option<Base>,
}

impl<'a> Reader<'a> {
    /// Options: those that do not change the sound are read and dropped, those that do are obeyed or refused.
    fn options(&mut self, line: &str) -> Result<(), Reason> {
        if self.options_over {
            return Err(format!("options must come before the first tone-set or time line; move {line:?} to the top"));
        }
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let letters = match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => letters,
                _ => return Err(format!("an option such as -SE was expected, not {word:?}")),
            };
            for letter in letters.chars() {
                let mut argument = |what: &str| {
                    words.next().ok_or_else(|| format!("-{letter} needs {what} after it, on the same line"))
                };
                match letter {
                    // The score always begins at its first line unless -T says otherwise, so -S says nothing new.
                    'S' => {}
                    'E' => self.options.to_end = true,
                    'T' => self.options.start_s = Some(whole_time(argument("a time such as 22:00")?)?),
                    'L' => {
                        let given = argument("a length such as 0:30")?;
                        let length_s = whole_time(given)?;
                        if length_s == 0 {
                            return Err(format!("-L {given} plays nothing; give a length from 0:00:01 to 23:59:59"));
                        }
                        self.options.length_s = Some(length_s);
                    }
                    'F' => {
                        let given = argument("a time in milliseconds")?;
                        let ms = given.parse::<u32>().ok().filter(|ms| i64::from(*ms) <= DAY_S * 1000);
                        let ms = ms.ok_or_else(|| {
                            format!("-F needs the fade time in whole milliseconds, at most a day, not {given:?}")
                        })?;
                        self.options.fade_ns = Some(i64::from(ms) * 1_000_000);
                    }
                    // Screen, files and sound cards.
                    'Q' | 'D' | 'O' | 'W' | 'N' => {}
                    'r' | 'b' | 'R' | 'B' | 'o' | 'd' => {
                        argument("a value")?;
                    }
                    'w' => {
                        let given = argument("a waveform")?;
                        if given != "sine" {
                            return Err(format!("-w {given} is not supported; only sine waves are played"));
                        }
                    }
                    'm' | 'M' => {
                        return Err(format!("-{letter} mixes in a soundtrack, which is not supported; remove it"))
                    }
                    'p' => {
                        return Err(
                            "-p plays a built-in sequence, which is not supported; write it out as time lines".into()
                        )
                    }
                    'i' => {
                        return Err("-i plays tones at once, which is not supported; write 'ts: …' and '0:00 ts'".into())
                    }
                    'q' => return Err("-q changes the speed, which is not supported; remove it".into()),
                    'c' => {
                        return Err("-c corrects for one pair of headphones, which is not supported; remove it".into())
                    }
                    'V' => return Err("-V changes the volume, which is not supported; scale the amplitudes".into()),
                    other => {
                        return Err(format!(
                            "option -{other} is not supported; supported are -S -E -T -L -F, and without effect \
                             -Q -D -O -W -N -r -b -R -B -o -d"
                        ))
                    }
                }
            }
        }
        Ok(())
    }

    fn tone_set(&mut self, line: usize, name: &'a str, words: &str) -> Result<(), Reason> {
        for (prefix, what) in [("wave", "a waveform"), ("custom", "an envelope")] {
            if name.strip_prefix(prefix).is_some_and(|digits| digits.len() == 2 && digits.parse::<u8>().is_ok()) {
                return Err(format!("{name} defines {what} of its own, which is not supported; use plain tones"));
            }
        }
        let tones = words.split_whitespace().map(tone).collect::<Result<Vec<_>, _>>()?;
        if tones.len() > CHANNELS_MAX {
            return Err(format!("a tone-set may have {CHANNELS_MAX} tones, not {}", tones.len()));
        }
        self.definitions.insert(name, Definition::ToneSet(self.tone_sets.len()));
        self.tone_sets.push(ToneSet { name: name.into(), line, tones });
        Ok(())
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
        if let Some(word) = words.next_if(|word| !word.starts_with(|c: char| c.is_ascii_alphabetic())) {
            fade = Some(manners(word).map_err(at)?);
        }
        let name =
            words.next().ok_or_else(|| at(format!("{line:?} names no tone-set; write it like '{first} name'")))?;
        let slide = words.next_if(|word| *word == "->").is_some();
        if let Some(word) = words.next() {
            return Err(at(format!("{word:?} is one word too many; a time line is 'time [fade] name [->]'")));
        }

        let definition = self.definitions.get(name).cloned().ok_or_else(|| {
            at(format!("no tone-set or block is called {name:?} up to here; define it above with '{name}: …'"))
        })?;
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
                    slide,
                    set,
                    line: number,
                });
            }
            Definition::Block(_) if fade.is_some() || slide => {
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
    fn sheet(self, last_line: usize) -> Result<Sheet, (usize, Reason)> {
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

        let start_s = self.options.start_s.unwrap_or(first_s);
        let into_day_s = (start_s - first_s).rem_euclid(DAY_S);
        let last_s = starts_s[starts_s.len() - 1];
        // As in the original, -E counts for more than -L, and a score that would end where it begins has no end.
        let to_end_s = Some((last_s - into_day_s).rem_euclid(DAY_S)).filter(|s| self.options.to_end && *s > 0);
        let duration_s = to_end_s.or(self.options.length_s);

        let fade_ns = self.options.fade_ns.unwrap_or(FADE_DEFAULT_NS);
        let starts_ns: Vec<i64> = starts_s.iter().map(|s| s * NS_PER_S).collect();
        let sections = sections(&self.time_lines, &starts_ns, fade_ns);
        let endless = self.time_lines.len() == 1;
        let mut begin_ns = into_day_s * NS_PER_S;
        if endless {
            begin_ns = 0;
        } else if begin_ns < sections[0].start_ns {
            begin_ns += DAY_NS;
        }
        let entries =
            self.time_lines.iter().zip(&starts_ns).map(|(line, at_ns)| Entry { at_ns: *at_ns, set: line.set });
        Ok(Sheet {
            title: self.title,
            entries: entries.collect(),
            tone_sets: self.tone_sets,
            sections,
            period_ns: (!endless).then_some(DAY_NS),
            begin_ns,
            clock_ns: start_s * NS_PER_S,
            duration_ns: duration_s.map(|s| s * NS_PER_S),
            rhythm: Vec::new(),
        })
    }
}

/// One day of holds and transitions, from the moment at which the first tone-set has fully arrived.
fn sections(lines: &[TimeLine], starts_ns: &[i64], fade_ns: i64) -> Vec<Section> {
    let n = lines.len();
    if n == 1 {
        let set = lines[0].set;
        return vec![Section { start_ns: 0, end_ns: FOREVER_NS, from: set, to: set, how: How::Hold, entry: 0 }];
    }
    let next_start = |i: usize| if i + 1 < n { starts_ns[i + 1] } else { DAY_NS };
    // Where each tone-set has arrived, and where it begins to leave.
    let mut arrived = starts_ns.to_vec();
    let mut leaves: Vec<i64> =
        lines.iter().enumerate().map(|(i, line)| if line.slide { starts_ns[i] } else { next_start(i) }).collect();
    for i in 0..n {
        if lines[i].slide {
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
        let arrives = if i + 1 < n { arrived[next] } else { arrived[next] + DAY_NS };
        let how = if line.slide {
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

/// One word of a tone-set.
fn tone(word: &str) -> Result<Option<Tone>, Reason> {
    if word == "-" {
        return Ok(None);
    }
    for (prefix, what) in [
        ("spin:", "spinning noise"),
        ("bspin:", "spinning noise"),
        ("wspin:", "spinning noise"),
        ("bell", "a bell"),
        ("mix", "a mixed-in soundtrack"),
        ("wave", "a waveform of its own"),
        ("custom", "an envelope of its own"),
        ("square:", "a square wave"),
        ("triangle:", "a triangle wave"),
        ("sawtooth:", "a sawtooth wave"),
    ] {
        if word.starts_with(prefix) {
            return Err(format!(
                "{word:?} is {what}, which is not supported; supported are 200+4/20, 200@4/20, 200/20, pink/20, \
                 white/20, brown/20 and -"
            ));
        }
    }
    let bad = || {
        format!(
            "{word:?} is not a tone; write CARRIER+BEAT/AMPLITUDE, CARRIER@PULSE/AMPLITUDE, CARRIER/AMPLITUDE, \
             pink/AMPLITUDE, white/AMPLITUDE, brown/AMPLITUDE or -"
        )
    };
    let (sound, amplitude) = word.split_once('/').ok_or_else(bad)?;
    let (amplitude_pct, "") = number(amplitude).ok_or_else(bad)? else { return Err(bad()) };
    let (kind, carrier_hz, beat_hz) = match sound {
        "pink" => (Kind::Noise(NoiseColor::Pink), 0.0, 0.0),
        "white" => (Kind::Noise(NoiseColor::White), 0.0, 0.0),
        "brown" => (Kind::Noise(NoiseColor::Brown), 0.0, 0.0),
        _ => {
            let (carrier_hz, rest) = number(sound.strip_prefix("sine:").unwrap_or(sound)).ok_or_else(bad)?;
            let (kind, beat) = match rest.strip_prefix('@') {
                Some(pulse) => (Kind::Isochronic, pulse),
                None if rest.starts_with(['M', 'm']) => {
                    return Err(format!("{word:?} is a monaural beat, which is not supported; write two tones"))
                }
                None => (Kind::Binaural, rest),
            };
            let beat_hz = match (number(beat), beat) {
                (_, "") if kind == Kind::Binaural => 0.0,
                (Some((hz, "")), _) => hz,
                _ => return Err(bad()),
            };
            if kind == Kind::Isochronic && beat_hz <= 0.0 {
                return Err(format!("the pulse of {word:?} must be above 0 Hz; write it like 200@4/20"));
            }
            (kind, carrier_hz, beat_hz)
        }
    };
    check_tone(kind, carrier_hz, beat_hz, amplitude_pct).map_err(|reason| format!("in {word:?}, {reason}"))?;
    let voice = Voice { kind, lead: None, lock: None };
    Ok(Some(Tone { voice, carrier_hz, beat_hz, amplitude: amplitude_pct / 100.0 }))
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

fn clock(s: i64) -> String {
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
