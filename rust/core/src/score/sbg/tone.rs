//! One word of a tone-set: `200+4/20`, `square:300@8/15`, `wave00:200+4/50`, `spin:300+4.2/80`, `mix/60`, `bell+2050/20`.
//!
//! A word is prefixes, a sound and an amplitude. The prefixes say of what the sound is made (`square:`, `noise00:`), under
//! which envelope it stands (`wave00:`, `custom00:`), and how it moves (`spin00:`); most sounds are numbers with a sign
//! between them.
//!
//! Sources of the formulas: the manuals of SBaGen and SBaGenX for tones, envelopes and spin; the behaviour of SBaGenX
//! for drawn noise and the mix effects. `mixpulse`, `mixspin` and `mixbeat` add a second copy of the soundtrack, at 0.7 of
//! the first and as strong as `mix/…` in the same tone-set says. `mixam` turns the loudness of the first one. `mixbeat`
//! and `noisebeat` shift each ear by half of their beat, so that half is what turns here.
use crate::envelope::{Edge, Envelope, Window};
use crate::program::{NoiseColor, Shape};

use super::super::{check_tone, number, Kind, Tone, Voice};
use super::Reason;

/// How loud the copy of the soundtrack is that an effect adds.
const EFFECT_LEVEL: f64 = 0.7;

/// What an author may draw and number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Drawing {
    Wave,
    Custom,
    Spin,
    Noise,
}

impl Drawing {
    const ALL: [Self; 4] = [Self::Wave, Self::Custom, Self::Spin, Self::Noise];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wave => "wave",
            Self::Custom => "custom",
            Self::Spin => "spin",
            Self::Noise => "noise",
        }
    }
}

/// The prefixes of a word.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Parts {
    pub shape: Option<Shape>,
    /// `waveNN:` or `customNN:`
    pub envelope: Option<(Drawing, usize)>,
    /// `spinNN:`
    pub motion: Option<usize>,
    /// `noiseNN:`, or the sound itself.
    pub spectrum: Option<usize>,
}

/// What a word means, before its tone-set and the file's definitions are known.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Word {
    /// `-`
    Empty,
    Tone {
        tone: Tone,
        parts: Parts,
    },
    /// `mix/AMP`: as a share of 1.
    Mix(f64),
    /// A second copy of the soundtrack; its amplitude is that of the mix.
    Effect {
        tone: Tone,
        parts: Parts,
        intensity: f32,
    },
    /// The soundtrack's own loudness, at `hz`, or at the session's beat.
    Am {
        hz: Option<f64>,
        envelope: Envelope,
    },
}

/// What the options before it say about words.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub shape: Shape,
    /// `-H`
    pub am: Option<Envelope>,
}

/// Reads one word.
pub(super) fn read(word: &str, defaults: &Defaults) -> Result<Word, Reason> {
    if word == "-" {
        return Ok(Word::Empty);
    }
    let bad = || {
        format!(
            "{word:?} is not a tone; write CARRIER+BEAT/AMPLITUDE, CARRIER@PULSE/AMPLITUDE, CARRIERMBEAT/AMPLITUDE, \
             CARRIER/AMPLITUDE, pink/AMPLITUDE, spin:WIDTH+RATE/AMPLITUDE, bell+CARRIER/AMPLITUDE, mix/AMPLITUDE or -"
        )
    };
    let (mut rest, mut parts) = (word, Parts::default());
    while let Some((prefix, after)) = rest.split_once(':') {
        let twice = match (shape_named(prefix), drawn_named(prefix, 1)) {
            (Some(shape), _) => parts.shape.replace(shape).map(|_| "shapes"),
            (_, Some((Drawing::Spin, n))) => parts.motion.replace(n).map(|_| "motions"),
            (_, Some((Drawing::Noise, n))) => parts.spectrum.replace(n).map(|_| "spectra"),
            (_, Some(envelope)) => parts.envelope.replace(envelope).map(|_| "envelopes"),
            (None, None) => break,
        };
        if let Some(what) = twice {
            return Err(format!("{word:?} names two {what}; keep one of them"));
        }
        rest = after;
    }
    let plain = |what: &str| match parts {
        Parts { shape: None, envelope: None, motion: None, spectrum: None } => Ok(()),
        _ => Err(format!("{what} takes no shape, envelope, motion or spectrum; write {rest:?} instead of {word:?}")),
    };
    let own = |reason: Reason| format!("in {word:?}, {reason}");

    if let Some(am) = rest.strip_prefix("mixam:").or_else(|| rest.strip_prefix("mixpulse:beat").map(|_| &rest[9..])) {
        plain("mixam")?;
        return mixam(am, defaults).map_err(own);
    }
    if rest.contains('~') {
        return Err(format!(
            "{word:?} is a modulated binaural tone, which is not supported; write 440+10/20 or 440@10/20"
        ));
    }
    let (sound, amplitude) = rest.split_once('/').ok_or_else(bad)?;
    let (amplitude_pct, "") = number(amplitude).ok_or_else(bad)? else { return Err(bad()) };
    let amplitude = amplitude_pct / 100.0;
    let two = |text: &str| -> Option<(f64, f64)> {
        let (first, rest) = number(text)?;
        match number(rest) {
            Some((second, "")) => Some((first, second)),
            _ => None,
        }
    };

    let (kind, carrier_hz, beat_hz) = match sound {
        "pink" | "white" | "brown" | "mix" => {
            plain(sound)?;
            let kind = match sound {
                "pink" => Kind::Noise(NoiseColor::Pink),
                "white" => Kind::Noise(NoiseColor::White),
                "brown" => Kind::Noise(NoiseColor::Brown),
                _ => {
                    check_tone(Kind::Stem(0), 0.0, 0.0, amplitude_pct).map_err(own)?;
                    return Ok(Word::Mix(amplitude));
                }
            };
            (kind, 0.0, 0.0)
        }
        _ => {
            if let Some((color, text)) = spin(sound) {
                let (width, rate) = two(text).ok_or_else(bad)?;
                if parts.spectrum.is_some() && color != NoiseColor::Pink {
                    return Err(format!(
                        "in {word:?}, noiseNN says the colour; write noiseNN:spin:WIDTH+RATE/AMPLITUDE"
                    ));
                }
                (Kind::Spin(if parts.spectrum.is_some() { NoiseColor::White } else { color }), width, rate)
            } else if let Some((Drawing::Noise, n)) = drawn_named(sound, 1) {
                plain("drawn noise")?;
                parts.spectrum = Some(n);
                (Kind::Noise(NoiseColor::White), 0.0, 0.0)
            } else if let Some(text) = sound.strip_prefix("noisepulse:").or_else(|| sound.strip_prefix("noisebeat:")) {
                let Some((rate, "")) = number(text) else { return Err(bad()) };
                if rate <= 0.0 {
                    return Err(format!(
                        "the rate of {word:?} must be above 0 Hz; write it like noise00:noisepulse:4/20"
                    ));
                }
                let color = if parts.spectrum.is_some() { NoiseColor::White } else { NoiseColor::Pink };
                match sound.starts_with("noisepulse") {
                    true => (Kind::PulsedNoise(color), 0.0, rate),
                    false => (Kind::ShiftedNoise(color), 0.0, rate / 2.0),
                }
            } else if let Some(text) = sound.strip_prefix("bell") {
                let Some((hz, "")) = number(text) else { return Err(bad()) };
                if parts.shape.is_some_and(|shape| shape != Shape::Sine) || parts.envelope.is_some() {
                    return Err(format!("{word:?} is a bell of another shape than a sine, which is not supported"));
                }
                (Kind::Bell, hz.abs(), 0.0)
            } else if sound.starts_with("mixspin:") || sound.starts_with("mixpulse:") || sound.starts_with("mixbeat:") {
                return effect(sound, parts, amplitude_pct).ok_or_else(bad)?.map_err(own);
            } else {
                let (carrier_hz, rest) = number(sound).ok_or_else(bad)?;
                let (kind, beat) = match rest.chars().next() {
                    Some('@') => (Kind::Isochronic, &rest[1..]),
                    Some('M' | 'm') => (Kind::Monaural, &rest[1..]),
                    _ => (Kind::Binaural, rest),
                };
                let beat_hz = match (number(beat), beat) {
                    (_, "") if kind == Kind::Binaural => 0.0,
                    (Some((hz, "")), _) => hz,
                    _ => return Err(bad()),
                };
                if kind == Kind::Isochronic && beat_hz <= 0.0 {
                    return Err(format!("the pulse of {word:?} must be above 0 Hz; write it like 200@4/20"));
                }
                (kind, carrier_hz, if kind == Kind::Monaural { beat_hz.abs() } else { beat_hz })
            }
        }
    };
    fits(kind, parts).map_err(own)?;
    check_tone(kind, carrier_hz, beat_hz, amplitude_pct).map_err(own)?;
    let tonal = matches!(kind, Kind::Binaural | Kind::Monaural | Kind::Isochronic);
    let shape = if tonal { parts.shape.unwrap_or(defaults.shape) } else { Shape::Sine };
    let voice = Voice { shape, ..Voice::plain(kind) };
    Ok(Word::Tone { tone: Tone { voice, carrier_hz, beat_hz, amplitude }, parts })
}

/// Whether a sound can have what stands before it, shapes aside.
fn fits(kind: Kind, parts: Parts) -> Result<(), Reason> {
    let effect = matches!(kind, Kind::Stem(_) | Kind::TurnedStem(_) | Kind::ShiftedStem(_));
    let pulses = matches!(kind, Kind::Isochronic | Kind::PulsedNoise(_) | Kind::ShiftedNoise(_)) || effect;
    match parts.envelope {
        None => {}
        Some((Drawing::Wave, _)) if kind != Kind::Binaural => {
            return Err("waveNN is for binaural tones, such as wave00:200+4/20".into())
        }
        Some(_) if kind != Kind::Binaural && !pulses => {
            return Err("customNN is for tones such as custom00:200+4/20 and custom00:200@4/20, for noisepulse, \
                        noisebeat, mixpulse, mixspin and mixbeat"
                .into())
        }
        Some(_) => {}
    }
    if parts.motion.is_some() && !matches!(kind, Kind::Spin(_) | Kind::TurnedStem(_)) {
        return Err("spinNN is for what spins, such as spin00:spin:300+0.1/20 and spin00:mixspin:300+0.1/20".into());
    }
    let hisses = matches!(kind, Kind::Noise(_) | Kind::Spin(_) | Kind::PulsedNoise(_) | Kind::ShiftedNoise(_));
    if parts.spectrum.is_some() && !hisses {
        return Err(
            "noiseNN is for noise: noise00/20, noise00:spin:…, noise00:noisepulse:…, noise00:noisebeat:…".into()
        );
    }
    Ok(())
}

/// The shape that `name` is.
pub(super) fn shape_named(name: &str) -> Option<Shape> {
    match name {
        "sine" => Some(Shape::Sine),
        "square" => Some(Shape::Square),
        "triangle" => Some(Shape::Triangle),
        "sawtooth" => Some(Shape::Sawtooth),
        _ => None,
    }
}

/// What `wave00` to `wave99` and `custom`, `spin` and `noise` with a number are; one digit will do where `digits_min` is 1.
pub(super) fn drawn_named(name: &str, digits_min: usize) -> Option<(Drawing, usize)> {
    let (drawing, digits) =
        Drawing::ALL.into_iter().find_map(|drawing| Some((drawing, name.strip_prefix(drawing.name())?)))?;
    let numbered = (digits_min..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    numbered.then(|| digits.parse().ok()).flatten().map(|n| (drawing, n))
}

fn spin(sound: &str) -> Option<(NoiseColor, &str)> {
    [("spin:", NoiseColor::Pink), ("bspin:", NoiseColor::Brown), ("wspin:", NoiseColor::White)]
        .into_iter()
        .find_map(|(prefix, color)| sound.strip_prefix(prefix).map(|rest| (color, rest)))
}

/// `mixspin:WIDTH+RATE`, `mixpulse:RATE` or `mixbeat:RATE`, at an intensity. `None` if it is not written like that.
fn effect(sound: &str, parts: Parts, intensity_pct: f64) -> Option<Result<Word, Reason>> {
    if !(0.0..=100.0).contains(&intensity_pct) {
        return Some(Err(format!("an intensity must be 0 to 100, not {intensity_pct}")));
    }
    let intensity = intensity_pct / 100.0;
    let (name, text) = sound.split_once(':')?;
    let (first, rest) = number(text)?;
    let (kind, carrier_hz, beat_hz) = match (name, number(rest)) {
        ("mixspin", Some((rate, ""))) => (Kind::TurnedStem(0), first * (0.5 + 3.5 * intensity), rate),
        ("mixpulse", None) if rest.is_empty() => (Kind::Stem(0), 0.0, first),
        ("mixbeat", None) if rest.is_empty() => (Kind::ShiftedStem(0), 0.0, first / 2.0),
        _ => return None,
    };
    let checked = fits(kind, parts).and_then(|()| check_tone(kind, carrier_hz, beat_hz, 0.0));
    let tone = Tone { voice: Voice::plain(kind), carrier_hz, beat_hz, amplitude: EFFECT_LEVEL };
    Some(checked.map(|()| Word::Effect { tone, parts, intensity: intensity as f32 }))
}

/// What follows `mixam:`.
fn mixam(text: &str, defaults: &Defaults) -> Result<Word, Reason> {
    let (rate, spec) = text.split_once(':').map_or((text, None), |(rate, spec)| (rate, Some(spec)));
    let hz = match rate {
        "beat" => None,
        _ => match number(rate) {
            Some((hz, "")) if hz > 0.0 => Some(hz),
            _ => return Err(format!("mixam needs a rate above 0 Hz or the word beat, not {rate:?}")),
        },
    };
    if let Some(hz) = hz {
        check_tone(Kind::Stem(0), 0.0, hz, 0.0)?;
    }
    // As in SBaGenX, the option counts for more than what the word says.
    let envelope = match (&defaults.am, spec) {
        (Some(am), _) => am.clone(),
        (None, spec) => am_envelope(spec.unwrap_or_default())?,
    };
    Ok(Word::Am { hz, envelope })
}

/// Each `key=value` of a specification such as `s=0.05:d=0.4`.
fn pairs(spec: &str) -> impl Iterator<Item = Result<(&str, &str), Reason>> {
    spec.split(':')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').ok_or_else(|| format!("{part:?} should be a key and a value, such as d=0.4")))
}

fn share(key: &str, value: &str) -> Result<f64, Reason> {
    match number(value) {
        Some((n, "")) if (0.0..=1.0).contains(&n) => Ok(n),
        _ => Err(format!("{key} must be a number from 0 to 1, not {value:?}")),
    }
}

/// `e=0` … `e=3`.
pub(super) fn edge(value: &str) -> Result<Edge, Reason> {
    value
        .parse::<usize>()
        .ok()
        .and_then(|i| Edge::ALL.get(i).copied())
        .ok_or_else(|| format!("e must be 0 (hard), 1 (linear), 2 (smooth) or 3 (smoother), not {value:?}"))
}

/// Sets one key of a window; `false` if it has no such key.
fn set(window: &mut Window, key: &str, value: &str) -> Result<bool, Reason> {
    match key {
        "s" => window.start = share(key, value)?,
        "d" => window.duty = share(key, value)?.max(0.01),
        "a" => window.attack = share(key, value)?,
        "r" => window.release = share(key, value)?,
        "e" => window.edge = edge(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn whole(window: &Window) -> Result<(), Reason> {
    if window.attack + window.release > 1.0 + 1e-12 {
        return Err(format!("a and r together may be 1, not {}", window.attack + window.release));
    }
    Ok(())
}

/// The pulse that `-I SPEC` says.
pub(super) fn pulse_envelope(spec: &str) -> Result<Envelope, Reason> {
    let mut window = Window { start: 0.0485, duty: 0.4030, attack: 0.5, release: 0.5, edge: Edge::Smooth };
    for pair in pairs(spec) {
        let (key, value) = pair?;
        if !set(&mut window, key, value)? {
            return Err(format!("{key:?} is none of the keys of a pulse, s d a r e"));
        }
    }
    whole(&window)?;
    Ok(Envelope::pulse(&window))
}

/// The loudness that `-H SPEC` says, or what follows the rate of `mixam`.
pub(super) fn am_envelope(spec: &str) -> Result<Envelope, Reason> {
    let mut window = Window { start: 0.0, duty: 0.5, attack: 0.5, release: 0.5, edge: Edge::Smoother };
    let (mut cosine, mut shaped, mut floor) = (None, false, 0.45);
    for pair in pairs(spec) {
        match pair? {
            ("m", "cos") => cosine = Some(true),
            ("m", "pulse") => cosine = Some(false),
            ("f", value) => floor = share("f", value)?,
            (key, value) => {
                if !set(&mut window, key, value)? {
                    return Err(format!("{key}={value} is none of m=cos m=pulse s d a r e f"));
                }
                shaped |= key != "s";
            }
        }
    }
    if cosine.unwrap_or(!shaped) {
        return Ok(Envelope::cosine(window.start).above(floor as f32));
    }
    whole(&window)?;
    Ok(Envelope::pulse(&window).above(floor as f32))
}
