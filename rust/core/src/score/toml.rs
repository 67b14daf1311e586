//! Our own format: TOML, so that editors colour it and people can read it; `docs/scores.md` describes it.
//!
//! The text is walked as a tree that knows where each value stands, not deserialised into structures: so every
//! refusal names the line and column of the very word that is wrong, says what may stand there, and is ours to phrase.
//! Tables are walked in the order of the text, so that the first mistake is the one reported.
use core::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::{
    Entry, How, Kind, Ramp, ScoreError, Section, Sheet, StemNeed, Tone, ToneSet, Voice, BEAT_HZ_MAX, CARRIER_HZ_MAX,
    ENTRIES_MAX, FOREVER_NS, TIME_MAX_NS,
};
use crate::envelope::{Edge, Envelope, Window, SAMPLES_MAX};
use crate::program::{Ear, NoiseColor, Shape, CHANNELS_MAX};
use crate::units::{Span, NS_PER_S};

/// How long a fade or a slide takes where the score does not say.
const OVER_DEFAULT_S: f64 = 10.0;
/// How long the end of a recording and its new beginning overlap where the score does not say.
const CROSSFADE_DEFAULT_S: f64 = 1.0;
/// The longest overlap.
const CROSSFADE_MAX_S: f64 = 600.0;
/// The widest swing of spinning noise, in microseconds: beyond it the renderer's own limit holds.
const WIDTH_US_MAX: f64 = 2_880.0;
/// The largest multiple of the rhythm to which a channel may be locked.
const LOCKED_MAX: f64 = 1000.0;

/// What is wrong, and where in the text.
struct Fault {
    span: Range<usize>,
    reason: String,
}

type Read<T> = Result<T, Fault>;
type Node<'i> = Spanned<DeValue<'i>>;

fn fault<T>(span: Range<usize>, reason: impl Into<String>) -> Read<T> {
    Err(Fault { span, reason: reason.into() })
}

/// Reads `text`; errors name `name`.
pub(super) fn read(text: &str, name: &str) -> Result<Sheet, ScoreError> {
    let parsed = DeTable::parse(text)
        .map_err(|e| Fault { span: e.span().unwrap_or(0..0), reason: format!("this is not TOML: {}", e.message()) });
    parsed.and_then(|table| sheet(text, &table)).map_err(|Fault { span, reason }| {
        let (line, column) = place(text, span.start);
        ScoreError { name: name.into(), line, column: Some(column), reason: reason.replace('\n', " ") }
    })
}

/// Line and column, in characters and from 1, of the byte at `offset`.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

/// A table whose every key must be one of a few.
struct Fields<'a, 'i> {
    span: Range<usize>,
    what: &'static str,
    fields: Vec<(&'a str, Range<usize>, &'a Node<'i>)>,
}

impl<'a, 'i> Fields<'a, 'i> {
    fn of(table: &'a DeTable<'i>, span: Range<usize>, what: &'static str, allowed: Option<&[&str]>) -> Read<Self> {
        let mut fields: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        fields.sort_by_key(|(_, span, _)| span.start);
        if let Some(allowed) = allowed {
            if let Some((key, span, _)) = fields.iter().find(|(key, ..)| !allowed.contains(key)) {
                let list = allowed.join(", ");
                return fault(span.clone(), format!("{what} has no key {key:?}; it may have {list}"));
            }
        }
        Ok(Self { span, what, fields })
    }

    fn from(node: &'a Node<'i>, what: &'static str, allowed: Option<&[&str]>) -> Read<Self> {
        match node.get_ref().as_table() {
            Some(table) => Self::of(table, node.span(), what, allowed),
            None => {
                let (article, given) = a_type(node);
                fault(node.span(), format!("{what} must be a table such as {{ … }}, not {article} {given}"))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Node<'i>> {
        self.fields.iter().find(|(k, ..)| *k == key).map(|(_, _, node)| *node)
    }

    fn need(&self, key: &str, example: &str) -> Read<&'a Node<'i>> {
        match self.get(key) {
            Some(node) => Ok(node),
            None => fault(self.span.clone(), format!("{} needs {key}; add for example {key} = {example}", self.what)),
        }
    }

    /// Refuses `key`, because of `why`.
    fn forbid(&self, key: &str, why: &str) -> Read<()> {
        match self.fields.iter().find(|(k, ..)| *k == key) {
            Some((_, span, _)) => fault(span.clone(), format!("{why}; remove {key}")),
            None => Ok(()),
        }
    }
}

fn a_type(node: &Node<'_>) -> (&'static str, &'static str) {
    let given = node.get_ref().type_str();
    (if given.starts_with(['a', 'i']) { "an" } else { "a" }, given)
}

fn text<'a>(node: &'a Node<'_>, what: &str) -> Read<&'a str> {
    match node.get_ref().as_str() {
        Some(text) => Ok(text),
        None => {
            let (article, given) = a_type(node);
            fault(node.span(), format!("{what} must be a text in quotes, not {article} {given}"))
        }
    }
}

fn list<'a, 'i>(node: &'a Node<'i>, what: &str) -> Read<&'a [Node<'i>]> {
    match node.get_ref().as_array() {
        Some(array) => Ok(array),
        None => {
            let (article, given) = a_type(node);
            fault(node.span(), format!("{what} must be a list such as [ … ], not {article} {given}"))
        }
    }
}

/// One of `choices` by its name.
fn choice<T: Copy>(node: &Node<'_>, what: &str, choices: &[(&str, T)]) -> Read<T> {
    let given = text(node, what)?;
    match choices.iter().find(|(name, _)| *name == given) {
        Some((_, value)) => Ok(*value),
        None => {
            let names = choices.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            fault(node.span(), format!("{what} must be one of {names}, not {given:?}"))
        }
    }
}

/// A number from `min` to `max`.
fn number(node: &Node<'_>, what: &str, min: f64, max: f64) -> Read<f64> {
    let value = match node.get_ref() {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(f64::NAN, |i| i as f64),
        DeValue::Float(f) => f.as_str().parse().unwrap_or(f64::NAN),
        _ => {
            let (article, given) = a_type(node);
            return fault(node.span(), format!("{what} must be a number from {min} to {max}, not {article} {given}"));
        }
    };
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let given = match node.get_ref() {
        DeValue::Integer(i) => i.to_string(),
        DeValue::Float(f) => f.to_string(),
        _ => unreachable!("refused above"),
    };
    fault(node.span(), format!("{what} must be a number from {min} to {max}, not {given}"))
}

/// A time since the score's beginning: seconds, or `HH:MM:SS`, or `HH:MM`.
fn time_ns(node: &Node<'_>, what: &str) -> Read<i64> {
    let max_s = TIME_MAX_NS / NS_PER_S;
    match node.get_ref() {
        DeValue::String(given) => {
            let parts: Option<Vec<i64>> = given
                .split(':')
                .map(|part| {
                    let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
                    digits.then(|| part.parse().ok()).flatten()
                })
                .collect();
            let s = match parts.as_deref() {
                Some([h, m, s]) if *m < 60 && *s < 60 => Some((h * 60 + m) * 60 + s),
                Some([h, m]) if *m < 60 => Some((h * 60 + m) * 60),
                _ => None,
            };
            match s.filter(|s| *s <= max_s) {
                Some(s) => Ok(s * NS_PER_S),
                None => fault(node.span(), format!("{what} must be \"HH:MM:SS\", \"HH:MM\" or seconds, not {given:?}")),
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) => {
            Ok((number(node, &format!("{what} in seconds"), 0.0, max_s as f64)? * NS_PER_S as f64).round() as i64)
        }
        DeValue::Datetime(given) => fault(node.span(), format!("{what} must stand in quotes: \"{given}\"")),
        _ => {
            let (article, given) = a_type(node);
            fault(node.span(), format!("{what} must be \"HH:MM:SS\" or seconds, not {article} {given}"))
        }
    }
}

fn sheet(source: &str, table: &Spanned<DeTable<'_>>) -> Read<Sheet> {
    let keys = ["title", "end", "rhythm", "envelopes", "stems", "tone-sets", "timeline"];
    let top = Fields::of(table.get_ref(), 0..0, "a score", Some(&keys))?;
    let title = top.get("title").map(|node| text(node, "title")).transpose()?.map(Into::into);
    let rhythm = top.get("rhythm").map(rhythm).transpose()?.unwrap_or_default();
    let sets = Fields::from(top.need("tone-sets", "{ name = [ … ] }")?, "tone-sets", None)?;
    let drawn = top.get("envelopes").map(envelopes).transpose()?.unwrap_or_default();
    let stems = top.get("stems").map(|node| stems(source, node)).transpose()?.unwrap_or_default();
    let names = Names {
        envelopes: drawn.iter().map(|(name, _)| name.as_str()).collect(),
        stems: stems.iter().map(|stem| stem.name.as_str()).collect(),
    };
    let (mut tone_sets, mut locked) = (Vec::new(), None);
    for (name, span, node) in &sets.fields {
        tone_sets.push(ToneSet {
            name: (*name).into(),
            line: place(source, span.start).0,
            tones: tones(node, &names, &mut locked)?,
        });
    }
    let end_ns = top.get("end").map(|node| time_ns(node, "end")).transpose()?;
    let end = end_ns.zip(top.get("end").map(Spanned::span));
    let (entries, sections) = timeline(top.need("timeline", "[{ at = 0, play = \"name\" }]")?, &mut tone_sets, end)?;
    // A beat of its own gives the rhythm where the author gives none; a lock alone would hang in the air.
    let beats = |entry: &Entry| tone_sets[entry.set].tones.iter().flatten().any(|tone| tone.beat_hz != 0.0);
    if let Some(span) = locked.filter(|_| rhythm.is_empty() && !entries.iter().any(beats)) {
        return fault(
            span,
            "this channel is locked to the rhythm, and the score has none; add for example rhythm = 4.0",
        );
    }
    Ok(Sheet {
        title,
        tone_sets,
        entries,
        sections,
        period_ns: None,
        begin_ns: 0,
        clock_ns: 0,
        duration_ns: end_ns,
        rhythm,
        envelopes: drawn.into_iter().map(|(_, envelope)| Arc::new(envelope)).collect(),
        spectra: Vec::new(),
        notes: Vec::new(),
        stems,
        noise_gains: [1.0; 3],
    })
}

/// `rhythm = 4.0`, or a list of `{ at, hz, over_s }`.
fn rhythm(node: &Node<'_>) -> Read<Vec<Ramp>> {
    // Slower than once in a thousand seconds is no rhythm, and would make every multiple of it meaningless.
    let hz_of = |node: &Node<'_>, what: &str| number(node, what, 0.001, BEAT_HZ_MAX);
    if !node.get_ref().is_array() {
        let hz = hz_of(node, "rhythm, in Hz (or a list of { at, hz, over_s }),")?;
        return Ok(vec![Ramp { start_ns: 0, end_ns: FOREVER_NS, from_hz: hz, to_hz: hz }]);
    }
    let (mut ramps, mut before_ns): (Vec<Ramp>, i64) = (Vec::new(), 0);
    for node in list(node, "rhythm")? {
        let fields = Fields::from(node, "a point of the rhythm", Some(&["at", "hz", "over_s"]))?;
        let at = fields.need("at", "\"00:00:30\"")?;
        let at_ns = time_ns(at, "at")?;
        let hz = hz_of(fields.need("hz", "4.0")?, "hz")?;
        let over_ns = fields.get("over_s").map(over_ns).transpose()?.unwrap_or(0);
        // The last ramp is always the one that holds what was reached, until now.
        let from_hz = match ramps.last_mut() {
            None if at_ns != 0 => return fault(at.span(), "the first point of the rhythm must be at = 0"),
            None => {
                fields.forbid("over_s", "the first point of the rhythm has no frequency to come from")?;
                hz
            }
            Some(held) if at_ns < held.start_ns || at_ns == before_ns => {
                let reason = format!(
                    "this point of the rhythm must come after the one before it, which is reached at {} s; order the \
                     points, or shorten over_s",
                    held.start_ns as f64 / NS_PER_S as f64
                );
                return fault(at.span(), reason);
            }
            Some(held) => {
                held.end_ns = at_ns;
                held.to_hz
            }
        };
        before_ns = at_ns;
        ramps.push(Ramp { start_ns: at_ns, end_ns: at_ns + over_ns, from_hz, to_hz: hz });
        ramps.push(Ramp { start_ns: at_ns + over_ns, end_ns: FOREVER_NS, from_hz: hz, to_hz: hz });
        ramps.retain(|ramp| ramp.start_ns < ramp.end_ns);
    }
    if ramps.is_empty() {
        return fault(node.span(), "rhythm is an empty list; write rhythm = 4.0, or leave it out");
    }
    Ok(ramps)
}

/// A length of time in seconds.
fn over_ns(node: &Node<'_>) -> Read<i64> {
    let max_s = (TIME_MAX_NS / NS_PER_S) as f64;
    Ok((number(node, "over_s", 0.0, max_s)? * NS_PER_S as f64).round() as i64)
}

/// `[envelopes]`: the name and the shape of each.
fn envelopes(node: &Node<'_>) -> Read<Vec<(String, Envelope)>> {
    let table = Fields::from(node, "envelopes", None)?;
    let read = |(name, _, node): &(&str, Range<usize>, &Node<'_>)| Ok(((*name).into(), envelope(node)?));
    table.fields.iter().map(read).collect()
}

/// One envelope: `samples` as they are, a `curve` to be smoothed, or the window of a pulse.
fn envelope(node: &Node<'_>) -> Read<Envelope> {
    let keys = ["samples", "curve", "start", "duty", "attack", "release", "edge", "floor"];
    let fields = Fields::from(node, "an envelope", Some(&keys))?;
    let share = |key: &str, min: f64, unset: f64| match fields.get(key) {
        Some(node) => number(node, key, min, 1.0),
        None => Ok(unset),
    };
    let edges =
        [("hard", Edge::Hard), ("linear", Edge::Linear), ("smooth", Edge::Smooth), ("smoother", Edge::Smoother)];
    let edge = fields.get("edge").map(|node| choice(node, "edge", &edges)).transpose()?;
    let samples = |node: &Node<'_>, what: &str| -> Read<Vec<f64>> {
        let nodes = list(node, what)?;
        if !(2..=SAMPLES_MAX).contains(&nodes.len()) {
            return fault(node.span(), format!("{what} needs 2 to {SAMPLES_MAX} numbers, not {}", nodes.len()));
        }
        nodes.iter().map(|node| number(node, what, -1e9, 1e9)).collect()
    };
    let window = ["start", "duty", "attack", "release"];
    let drawn = match (fields.get("samples"), fields.get("curve")) {
        (Some(node), None) => {
            window.iter().try_for_each(|key| fields.forbid(key, "samples draw the whole cycle"))?;
            let drawn = Envelope::literal(&samples(node, "samples")?, edge.unwrap_or_default());
            drawn.ok_or_else(|| Fault {
                span: node.span(),
                reason: "samples must be 0 or above, and one of them above 0".into(),
            })?
        }
        (None, Some(node)) => {
            window.iter().chain(&["edge"]).try_for_each(|key| fields.forbid(key, "a curve is smooth all round"))?;
            let drawn = Envelope::smoothed(&samples(node, "curve")?);
            drawn.ok_or_else(|| Fault { span: node.span(), reason: "a curve needs two numbers that differ".into() })?
        }
        (Some(_), Some(node)) => return fault(node.span(), "an envelope has either samples or a curve; remove one"),
        (None, None) => {
            let (start, duty) = (share("start", 0.0, 0.0)?, share("duty", 0.01, 0.5)?);
            let (attack, release) = (share("attack", 0.0, 0.5)?, share("release", 0.0, 0.5)?);
            if attack + release > 1.0 + 1e-12 {
                let reason = format!("attack and release together may be 1, not {}", attack + release);
                return fault(fields.span.clone(), reason);
            }
            Envelope::pulse(&Window { start, duty, attack, release, edge: edge.unwrap_or(Edge::Smooth) })
        }
    };
    Ok(drawn.above(share("floor", 0.0, 0.0)? as f32))
}

/// `[stems]`: the music that the score wants.
fn stems(source: &str, node: &Node<'_>) -> Read<Vec<StemNeed>> {
    let table = Fields::from(node, "stems", None)?;
    let read = |(name, span, node): &(&str, Range<usize>, &Node<'_>)| {
        let keys = ["file", "sha256", "loop", "crossfade_s"];
        let fields = Fields::from(node, "a stem", Some(&keys))?;
        let file = fields.get("file").map(|node| text(node, "file")).transpose()?;
        let sha256 = match fields.get("sha256") {
            None => None,
            Some(node) => {
                let bad = || Fault {
                    span: node.span(),
                    reason: "sha256 must be 64 hexadecimal digits, as `sha256sum FILE` prints them".into(),
                };
                Some(hexadecimal(text(node, "sha256")?).ok_or_else(bad)?)
            }
        };
        if file.is_none() && sha256.is_none() {
            return fault(fields.span.clone(), "a stem needs file or sha256; add for example file = \"river.flac\"");
        }
        let looped = match fields.get("loop") {
            None => true,
            Some(node) => match node.get_ref().as_bool() {
                Some(looped) => looped,
                None => return fault(node.span(), "loop must be true or false"),
            },
        };
        let crossfade_s = match fields.get("crossfade_s") {
            None => CROSSFADE_DEFAULT_S,
            Some(_) if !looped => {
                fields.forbid("crossfade_s", "what does not loop has no crossfade")?;
                0.0
            }
            Some(node) => number(node, "crossfade_s", 0.0, CROSSFADE_MAX_S)?,
        };
        let overlap = Span::from_ns((crossfade_s * NS_PER_S as f64).round() as i64);
        Ok(StemNeed {
            name: (*name).into(),
            file: file.map(Into::into),
            sha256,
            line: place(source, span.start).0,
            looped: looped.then_some(overlap),
        })
    };
    table.fields.iter().map(read).collect()
}

/// 32 bytes from 64 digits.
fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// What channels may refer to by name, in the order in which voices count it.
struct Names<'a> {
    envelopes: Vec<&'a str>,
    stems: Vec<&'a str>,
}

/// The place of the name in `node`.
fn named(node: &Node<'_>, what: &str, names: &[&str]) -> Read<usize> {
    let name = text(node, what)?;
    names.iter().position(|known| *known == name).ok_or_else(|| {
        let known = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { format!("add a table [{what}s]") } else { format!("there are {known}") };
        Fault { span: node.span(), reason: format!("there is no {what} {name:?}; {known}") }
    })
}

/// The channels of one tone-set. Leaves in `locked` where the first lock of the score is written.
fn tones(node: &Node<'_>, names: &Names<'_>, locked: &mut Option<Range<usize>>) -> Read<Vec<Option<Tone>>> {
    let nodes = list(node, "a tone-set")?;
    if let Some(extra) = nodes.get(CHANNELS_MAX) {
        let given = nodes.len();
        return fault(extra.span(), format!("a tone-set may have {CHANNELS_MAX} channels, not {given}"));
    }
    nodes.iter().map(|node| tone(node, names, locked)).collect()
}

/// One channel of a tone-set; `{}` leaves its slot empty.
fn tone(node: &Node<'_>, names: &Names<'_>, locked: &mut Option<Range<usize>>) -> Read<Option<Tone>> {
    let keys = [
        "wave",
        "carrier_hz",
        "width_us",
        "beat_hz",
        "locked",
        "lead",
        "color",
        "shape",
        "envelope",
        "stem",
        "amplitude_pct",
    ];
    let fields = Fields::from(node, "a channel", Some(&keys))?;
    if fields.fields.is_empty() {
        return Ok(None);
    }
    /// What a wave may have besides its amplitude, and what it is called in a refusal.
    struct Rules {
        kind: Kind,
        has: &'static [&'static str],
        what: &'static str,
    }
    let rules = |kind, has, what| Rules { kind, has, what };
    let pink = NoiseColor::Pink;
    let waves = [
        (
            "binaural",
            rules(
                Kind::Binaural,
                &["carrier_hz", "beat_hz", "locked", "lead", "shape", "envelope"],
                "a binaural channel takes carrier_hz, beat_hz or locked, lead, shape and envelope",
            ),
        ),
        (
            "isochronic",
            rules(
                Kind::Isochronic,
                &["carrier_hz", "beat_hz", "locked", "shape", "envelope"],
                "an isochronic channel is the same on both ears and takes carrier_hz, beat_hz or locked, shape and envelope",
            ),
        ),
        (
            "monaural",
            rules(
                Kind::Monaural,
                &["carrier_hz", "beat_hz", "locked", "shape"],
                "a monaural channel is the same on both ears and takes carrier_hz, beat_hz or locked, and shape",
            ),
        ),
        ("tone", rules(Kind::Tone, &["carrier_hz", "shape"], "a tone has no beat and takes carrier_hz and shape")),
        ("bell", rules(Kind::Bell, &["carrier_hz"], "a bell has no beat and takes carrier_hz")),
        ("noise", rules(Kind::Noise(pink), &["color"], "noise has neither a carrier nor a beat and takes color")),
        (
            "spin",
            rules(
                Kind::Spin(pink),
                &["color", "width_us", "beat_hz", "locked"],
                "spinning noise has no carrier and takes color, width_us, and beat_hz or locked",
            ),
        ),
        (
            "stem",
            rules(
                Kind::Stem(0),
                &["stem", "envelope", "beat_hz", "locked"],
                "a stem has no carrier and takes stem, and envelope with beat_hz or locked",
            ),
        ),
    ];
    let known: Vec<(&str, usize)> = waves.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
    let Rules { mut kind, has, what } = {
        let chosen = choice(fields.need("wave", "\"binaural\"")?, "wave", &known)?;
        let (_, rules) = waves.into_iter().nth(chosen).expect("chosen from these");
        rules
    };
    let amplitude = fields.need("amplitude_pct", "10")?;
    let amplitude_pct = number(amplitude, "amplitude_pct", 0.0, 100.0)?;
    for key in &keys[1..keys.len() - 1] {
        if !has.contains(key) {
            fields.forbid(key, what)?;
        }
    }

    let mut carrier_hz = 0.0;
    if has.contains(&"carrier_hz") {
        carrier_hz = number(fields.need("carrier_hz", "200")?, "carrier_hz", 0.0, CARRIER_HZ_MAX)?;
    }
    if has.contains(&"width_us") {
        carrier_hz = number(fields.need("width_us", "300")?, "width_us", 0.0, WIDTH_US_MAX)?;
    }
    if has.contains(&"color") {
        let colors = [("white", NoiseColor::White), ("pink", NoiseColor::Pink), ("brown", NoiseColor::Brown)];
        let color = choice(fields.need("color", "\"pink\"")?, "color", &colors)?;
        kind = if kind == Kind::Noise(pink) { Kind::Noise(color) } else { Kind::Spin(color) };
    }
    if has.contains(&"stem") {
        kind = Kind::Stem(named(fields.need("stem", "\"river\"")?, "stem", &names.stems)?);
    }
    let envelope = fields.get("envelope").map(|node| named(node, "envelope", &names.envelopes)).transpose()?;
    let shapes = [
        ("sine", Shape::Sine),
        ("square", Shape::Square),
        ("triangle", Shape::Triangle),
        ("sawtooth", Shape::Sawtooth),
    ];
    let shape = fields.get("shape").map(|node| choice(node, "shape", &shapes)).transpose()?.unwrap_or_default();
    let ears = [("left", Ear::Left), ("right", Ear::Right)];
    let lead = fields.get("lead").map(|node| choice(node, "lead", &ears)).transpose()?;
    let eared = matches!(kind, Kind::Binaural | Kind::Monaural);

    let (mut beat_hz, mut lock) = (0.0, None);
    if has.contains(&"beat_hz") && (kind.stem().is_none() || envelope.is_some()) {
        match (fields.get("beat_hz"), fields.get("locked")) {
            (Some(_), Some(_)) => {
                fields.forbid("locked", "a channel has either a beat_hz of its own or is locked")?;
            }
            (Some(node), None) => beat_hz = number(node, "beat_hz", 0.001, BEAT_HZ_MAX)?,
            (None, Some(node)) => {
                let n = number(node, "locked", 1.0, LOCKED_MAX)?;
                if n.fract() != 0.0 {
                    return fault(node.span(), format!("locked must be a whole number such as 1 or 2, not {n}"));
                }
                locked.get_or_insert_with(|| node.span());
                lock = Some(n as u32);
            }
            (None, None) => {
                let reason = "a beating channel needs beat_hz or locked; add for example locked = 1";
                return fault(fields.span.clone(), reason);
            }
        }
    } else {
        for key in ["beat_hz", "locked"] {
            fields.forbid(key, "without an envelope nothing beats")?;
        }
    }
    let lead = eared.then(|| lead.unwrap_or(Ear::Right));
    let voice = Voice { shape, envelope, lead, lock, ..Voice::plain(kind) };
    Ok(Some(Tone { voice, carrier_hz, beat_hz, amplitude: amplitude_pct / 100.0 }))
}

/// The entries, and the holds and transitions that they mean.
fn timeline(
    node: &Node<'_>,
    tone_sets: &mut Vec<ToneSet>,
    end: Option<(i64, Range<usize>)>,
) -> Read<(Vec<Entry>, Vec<Section>)> {
    let nodes = list(node, "timeline")?;
    if nodes.is_empty() {
        return fault(node.span(), "the timeline is empty, so nothing would play; add { at = 0, play = \"name\" }");
    }
    if let Some(extra) = nodes.get(ENTRIES_MAX) {
        return fault(extra.span(), format!("a timeline may have {ENTRIES_MAX} entries, not {}", nodes.len()));
    }
    let named = tone_sets.len();
    // Before the first entry there is silence: a tone-set that nobody wrote, on line 0.
    tone_sets.push(ToneSet { name: String::new(), line: 0, tones: Vec::new() });
    let (mut current, mut until_ns, mut until_entry) = (named, 0, 0);
    let (mut entries, mut sections) = (Vec::new(), Vec::new());
    for (entry, node) in nodes.iter().enumerate() {
        let keys = ["at", "play", "transition", "over_s"];
        let fields = Fields::from(node, "an entry of the timeline", Some(&keys))?;
        let at = fields.need("at", "\"00:10:00\"")?;
        let at_ns = time_ns(at, "at")?;
        let play = fields.need("play", "\"name\"")?;
        let name = text(play, "play")?;
        let Some(set) = tone_sets[..named].iter().position(|set| set.name == name) else {
            let names = tone_sets[..named].iter().map(|set| format!("{:?}", set.name)).collect::<Vec<_>>().join(", ");
            return fault(play.span(), format!("there is no tone-set {name:?}; there are {names}"));
        };
        let hows = [("cut", None), ("fade", Some(How::Fade)), ("slide", Some(How::Glide))];
        let how = fields.get("transition").map(|node| choice(node, "transition", &hows)).transpose()?;
        let how = how.unwrap_or(Some(How::Fade));
        let length_ns = match how {
            None => {
                fields.forbid("over_s", "a cut takes no time")?;
                0
            }
            Some(_) => match fields.get("over_s") {
                Some(node) => over_ns(node)?,
                None => (OVER_DEFAULT_S * NS_PER_S as f64) as i64,
            },
        };
        if at_ns < until_ns || (entry > 0 && at_ns <= entries.last().map_or(0, |entry: &Entry| entry.at_ns)) {
            let reason = format!(
                "this entry must come after the one before it, which has arrived at {} s; order the entries, or give \
                 the one before a shorter over_s",
                until_ns as f64 / NS_PER_S as f64
            );
            return fault(at.span(), reason);
        }
        let hold = Section {
            start_ns: until_ns,
            end_ns: at_ns,
            from: current,
            to: current,
            how: How::Hold,
            entry: until_entry,
        };
        sections.push(hold);
        if let Some(how) = how {
            let end_ns = at_ns + length_ns;
            sections.push(Section { start_ns: at_ns, end_ns, from: current, to: set, how, entry });
        }
        entries.push(Entry { at_ns, set });
        (current, until_ns, until_entry) = (set, at_ns + length_ns, entry);
    }
    let end_ns = match end {
        Some((end_ns, span)) if end_ns < until_ns || end_ns == 0 => {
            let reason = format!(
                "end must not be before {} s, when the last entry has arrived; move it, or give that entry a shorter \
                 over_s",
                (until_ns.max(1)) as f64 / NS_PER_S as f64
            );
            return fault(span, reason);
        }
        Some((end_ns, _)) => end_ns,
        None => FOREVER_NS,
    };
    sections.push(Section {
        start_ns: until_ns,
        end_ns,
        from: current,
        to: current,
        how: How::Hold,
        entry: until_entry,
    });
    sections.retain(|section| section.start_ns < section.end_ns);
    Ok((entries, sections))
}
