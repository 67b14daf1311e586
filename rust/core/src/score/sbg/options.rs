//! The option lines at the head of an `.sbg` file: those that change the sound are obeyed or refused.
//!
//! They are the command line of the program that the author used, written into the file. Most of them concern a
//! screen, a file or a sound card, and are read past. As on a command line, letters may be put together (`-SEq 1`),
//! and each takes its value from the words that follow.
use crate::envelope::Envelope;
use crate::program::Shape;
use crate::units::NS_PER_S;

use super::session::Wander;
use super::{tone, whole_time, Reason, DAY_S};

/// The fastest that a score may be played, in times its own speed.
const SPEED_MAX: i64 = 10_000;

/// What the options said.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// `-S`
    pub from_start: bool,
    pub to_end: bool,
    pub start_s: Option<i64>,
    pub length_s: Option<i64>,
    pub fade_ns: Option<i64>,
    /// `-q`
    pub speed: i64,
    /// `-V`, as a share of 1.
    pub volume: f64,
    pub words: tone::Defaults,
    /// `-I`
    pub pulse: Option<Envelope>,
    /// `-m`, or an empty name for `-M`.
    pub music: Option<String>,
    /// `-A`
    pub wander: Option<Wander>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            from_start: false,
            to_end: false,
            start_s: None,
            length_s: None,
            fade_ns: None,
            speed: 1,
            volume: 1.0,
            words: tone::Defaults::default(),
            pulse: None,
            music: None,
            wander: None,
        }
    }
}

/// What the rest of an option line is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Rest<'a> {
    Nothing,
    /// The tones after `-i`.
    Immediate(Vec<&'a str>),
    /// The words after `-p`.
    Session(Vec<&'a str>),
}

impl Options {
    /// Reads one line.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Result<Rest<'a>, Reason> {
        let mut words = line.split_whitespace().peekable();
        let (mut immediate, mut session) = (false, false);
        while let Some(word) = words.next_if(|word| (word.starts_with('-') && *word != "-") || !(immediate || session))
        {
            let letters = match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => letters,
                _ => return Err(format!("an option such as -SE was expected, not {word:?}")),
            };
            if letters.starts_with('-') {
                return Err(format!("option {word} is not supported; remove it"));
            }
            for letter in letters.chars() {
                let mut argument = |what: &str| {
                    words.next().ok_or_else(|| format!("-{letter} needs {what} after it, on the same line"))
                };
                match letter {
                    'S' => self.from_start = true,
                    'E' => self.to_end = true,
                    'T' => self.start_s = Some(whole_time(argument("a time such as 22:00")?)?),
                    'L' => {
                        let given = argument("a length such as 0:30")?;
                        let length_s = whole_time(given)?;
                        if length_s == 0 {
                            return Err(format!("-L {given} plays nothing; give a length from 0:00:01 to 23:59:59"));
                        }
                        self.length_s = Some(length_s);
                    }
                    'F' => {
                        let given = argument("a time in milliseconds")?;
                        let ms = given.parse::<u32>().ok().filter(|ms| i64::from(*ms) <= DAY_S * 1000);
                        let ms = ms.ok_or_else(|| {
                            format!("-F needs the fade time in whole milliseconds, at most a day, not {given:?}")
                        })?;
                        self.fade_ns = Some(i64::from(ms) * (NS_PER_S / 1000));
                    }
                    'q' => {
                        let given = argument("a speed such as 60")?;
                        let speed = given.parse::<i64>().ok().filter(|speed| *speed <= SPEED_MAX);
                        self.speed = speed
                            .ok_or_else(|| format!("-q needs a whole number up to {SPEED_MAX}, not {given:?}"))?
                            .max(1);
                    }
                    'V' => {
                        let given = argument("a volume from 0 to 100")?;
                        let volume = given.parse::<u32>().ok().filter(|volume| *volume <= 100);
                        let volume = volume.ok_or_else(|| format!("-V needs a volume from 0 to 100, not {given:?}"))?;
                        self.volume = f64::from(volume) / 100.0;
                    }
                    'w' => {
                        let given = argument("a waveform")?;
                        self.words.shape = tone::shape_named(given)
                            .ok_or_else(|| format!("-w needs sine, square, triangle or sawtooth, not {given:?}"))?;
                    }
                    'I' | 'H' | 'A' => {
                        let spec = words.next_if(|word| word.contains('=')).unwrap_or_default();
                        match letter {
                            'I' => self.pulse = Some(tone::pulse_envelope(spec)?),
                            'H' => self.words.am = Some(tone::am_envelope(spec)?),
                            _ => self.wander = Some(Wander::read(spec)?),
                        }
                    }
                    // The first one counts, as on a command line that is read before the file.
                    'm' => {
                        let file = argument("the name of a sound file")?;
                        self.music.get_or_insert_with(|| file.into());
                    }
                    'M' => drop(self.music.get_or_insert_default()),
                    'i' => immediate = true,
                    'p' => session = true,
                    // Screen, files and sound cards.
                    'Q' | 'D' | 'O' | 'W' | 'N' => {}
                    'r' | 'b' | 'R' | 'B' | 'o' | 'd' | 'K' | 'J' | 'X' | 'U' | 'Z' => {
                        argument("a value")?;
                    }
                    'c' => {
                        return Err("-c corrects for one pair of headphones, which is not supported; remove it".into())
                    }
                    'P' | 'G' => return Err(format!("-{letter} draws a picture instead of playing; remove it")),
                    other => {
                        return Err(format!(
                            "option -{other} is not supported; supported are -S -E -T -L -F -q -V -w -I -H -A -m -M -i \
                             -p, and without effect -Q -D -O -W -N -r -b -R -B -o -d -K -J -X -U -Z"
                        ))
                    }
                }
            }
        }
        let rest: Vec<&str> = words.collect();
        match (immediate, session) {
            (true, true) => Err("-i and -p both say all of what is played; keep one of them".into()),
            (true, false) => Ok(Rest::Immediate(rest)),
            (false, true) => Ok(Rest::Session(rest)),
            (false, false) => Ok(Rest::Nothing),
        }
    }

    /// The shape of a tone that names none.
    pub(super) fn shape(&self) -> Shape {
        self.words.shape
    }
}
