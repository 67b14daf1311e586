//! Our own format: TOML, so that editors colour it and people can read it; `docs/scores.md` describes it.
//!
//! The text is walked as a tree that knows where each value stands, not deserialised into structures: so every
//! refusal names the line and column of the very word that is wrong, says what may stand there, and is ours to phrase.
//! Tables are walked in the order of the text, so that the first mistake is the one reported.
use core::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::{
    Entry, How, Kind, Ramp, ScoreError, Section, Sheet, Tone, ToneSet, Voice, BEAT_HZ_MAX, CARRIER_HZ_MAX, ENTRIES_MAX,
    FOREVER_NS, TIME_MAX_NS,
};
use crate::program::{Ear, NoiseColor, CHANNELS_MAX};
use crate::units::NS_PER_S;

/// How long a fade or a slide takes where the score does not say.
const OVER_DEFAULT_S: f64 = 10.0;
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
    let keys = ["title", "end", "rhythm", "tone-sets", "timeline"];
    let top = Fields::of(table.get_ref(), 0..0, "a score", Some(&keys))?;
    let title = top.get("title").map(|node| text(node, "title")).transpose()?.map(Into::into);
    let rhythm = top.get("rhythm").map(rhythm).transpose()?.unwrap_or_default();
    let sets = Fields::from(top.need("tone-sets", "{ name = [ … ] }")?, "tone-sets", None)?;
    let (mut tone_sets, mut locked) = (Vec::new(), None);
    for (name, span, node) in &sets.fields {
        tone_sets.push(ToneSet {
            name: (*name).into(),
            line: place(source, span.start).0,
            tones: tones(node, &mut locked)?,
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
        envelopes: Vec::new(),
        stems: Vec::new(),
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

/// The channels of one tone-set. Leaves in `locked` where the first lock of the score is written.
fn tones(node: &Node<'_>, locked: &mut Option<Range<usize>>) -> Read<Vec<Option<Tone>>> {
    let nodes = list(node, "a tone-set")?;
    if let Some(extra) = nodes.get(CHANNELS_MAX) {
        let given = nodes.len();
        return fault(extra.span(), format!("a tone-set may have {CHANNELS_MAX} channels, not {given}"));
    }
    nodes.iter().map(|node| tone(node, locked)).collect()
}

/// One channel of a tone-set; `{}` leaves its slot empty.
fn tone(node: &Node<'_>, locked: &mut Option<Range<usize>>) -> Read<Option<Tone>> {
    let keys = ["wave", "carrier_hz", "beat_hz", "locked", "lead", "color", "amplitude_pct"];
    let fields = Fields::from(node, "a channel", Some(&keys))?;
    if fields.fields.is_empty() {
        return Ok(None);
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Wave {
        Tone,
        Binaural,
        Isochronic,
        Noise,
    }
    let waves =
        [("binaural", Wave::Binaural), ("isochronic", Wave::Isochronic), ("tone", Wave::Tone), ("noise", Wave::Noise)];
    let wave = choice(fields.need("wave", "\"binaural\"")?, "wave", &waves)?;
    let amplitude = fields.need("amplitude_pct", "10")?;
    let amplitude_pct = number(amplitude, "amplitude_pct", 0.0, 100.0)?;

    let (mut carrier_hz, mut beat_hz, mut lock, mut lead) = (0.0, 0.0, None, None);
    let kind = if wave == Wave::Noise {
        for key in ["carrier_hz", "beat_hz", "locked", "lead"] {
            fields.forbid(key, "noise has neither a carrier nor a beat")?;
        }
        let colors = [("white", NoiseColor::White), ("pink", NoiseColor::Pink), ("brown", NoiseColor::Brown)];
        Kind::Noise(choice(fields.need("color", "\"pink\"")?, "color", &colors)?)
    } else {
        fields.forbid("color", "only noise has a color")?;
        carrier_hz = number(fields.need("carrier_hz", "200")?, "carrier_hz", 0.0, CARRIER_HZ_MAX)?;
        match wave {
            Wave::Tone => {
                for key in ["beat_hz", "locked", "lead"] {
                    fields.forbid(key, "a tone has no beat")?;
                }
                Kind::Tone
            }
            Wave::Binaural | Wave::Isochronic | Wave::Noise => {
                match (fields.get("beat_hz"), fields.get("locked")) {
                    (Some(_), Some(_)) => {
                        fields.forbid("locked", "a channel has either a beat_hz of its own or is locked")?;
                    }
                    (Some(node), None) => beat_hz = number(node, "beat_hz", 0.001, BEAT_HZ_MAX)?,
                    (None, Some(node)) => {
                        let n = number(node, "locked", 1.0, LOCKED_MAX)?;
                        if n.fract() != 0.0 {
                            return fault(
                                node.span(),
                                format!("locked must be a whole number such as 1 or 2, not {n}"),
                            );
                        }
                        locked.get_or_insert_with(|| node.span());
                        lock = Some(n as u32);
                    }
                    (None, None) => {
                        let reason = "a beating channel needs beat_hz or locked; add for example locked = 1";
                        return fault(fields.span.clone(), reason);
                    }
                }
                if wave == Wave::Binaural {
                    let ears = [("left", Ear::Left), ("right", Ear::Right)];
                    let given = fields.get("lead").map(|node| choice(node, "lead", &ears)).transpose()?;
                    lead = Some(given.unwrap_or(Ear::Right));
                    Kind::Binaural
                } else {
                    fields.forbid("lead", "an isochronic channel is the same on both ears")?;
                    Kind::Isochronic
                }
            }
        }
    };
    let voice = Voice { lead, lock, ..Voice::plain(kind) };
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
