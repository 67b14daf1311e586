//! A score in plain words and numbers, for people and for `--json`.
use serde_json::{json, Value};

use super::{compile, seconds, How, Kind, Score, Tone, FOREVER_NS};
use crate::program::{Ear, NoiseColor, Shape};
use crate::units::{Span, NS_PER_S};

/// How much of an endless score's rhythm is listed.
const RHYTHM_LISTED_NS: i64 = 86_400 * NS_PER_S;

/// See [`Score::summary`].
pub(super) fn summary(score: &Score) -> Value {
    let sheet = &score.sheet;
    let listed_ns = sheet.duration_ns.unwrap_or(RHYTHM_LISTED_NS).min(RHYTHM_LISTED_NS);
    let theta = compile::theta(sheet, &score.lines, listed_ns);
    json!({
        "name": score.name,
        "title": sheet.title,
        "format": score.format.name(),
        "start_s": seconds(sheet.clock_ns),
        "duration_s": sheet.duration_ns.map(seconds),
        "repeats_s": sheet.period_ns.map(seconds),
        "channels_max": score.channels(),
        "rhythm_hz": theta[0].from_hz,
        "rhythm": theta
            .iter()
            .map(|ramp| json!({
                "at_s": seconds(ramp.start_ns),
                "until_s": (ramp.end_ns < FOREVER_NS).then(|| seconds(ramp.end_ns)),
                "from_hz": ramp.from_hz,
                "to_hz": ramp.to_hz,
            }))
            .collect::<Vec<_>>(),
        "tone_sets": sheet
            .tone_sets
            .iter()
            // The silence before a TOML score's first entry is nobody's tone-set.
            .filter(|set| set.line > 0)
            .map(|set| json!({
                "name": set.name,
                "line": set.line,
                "channels": set
                    .tones
                    .iter()
                    .enumerate()
                    .filter_map(|(slot, tone)| tone.map(|tone| channel(score, slot, &tone)))
                    .collect::<Vec<_>>(),
            }))
            .collect::<Vec<_>>(),
        "timeline": timeline(score),
        "notes": sheet.notes.iter().map(|(line, text)| json!({ "line": line, "text": text })).collect::<Vec<_>>(),
        "stems": sheet
            .stems
            .iter()
            .map(|stem| json!({
                "name": stem.name,
                "line": stem.line,
                "file": stem.file,
                "sha256": stem.sha256.map(|sha256| sha256.iter().map(|b| format!("{b:02x}")).collect::<String>()),
                "loops": stem.looped.is_some(),
                "crossfade_s": stem.looped.map(Span::as_s_f64),
            }))
            .collect::<Vec<_>>(),
    })
}

fn channel(score: &Score, slot: usize, tone: &Tone) -> Value {
    let line = score.lines.iter().find(|line| line.slot == slot && line.voice == tone.voice);
    let beats = tone.beat_hz != 0.0 || tone.voice.lock.is_some();
    let pitched = tone.voice.kind.is_pitched();
    let wave = match tone.voice.kind {
        Kind::Noise(_) => "noise",
        Kind::Spin(_) => "spin",
        Kind::PulsedNoise(_) => "noise pulse",
        Kind::ShiftedNoise(_) => "noise beat",
        Kind::Bell => "bell",
        Kind::Stem(_) | Kind::TurnedStem(_) | Kind::ShiftedStem(_) => "stem",
        Kind::Monaural => "monaural",
        Kind::Isochronic => "isochronic",
        Kind::Binaural if beats => "binaural",
        Kind::Binaural | Kind::Tone => "tone",
    };
    json!({
        "slot": slot,
        "wave": wave,
        "color": tone.voice.kind.color().map(|color| match color {
            _ if tone.voice.spectrum.is_some() => "drawn",
            NoiseColor::White => "white",
            NoiseColor::Pink => "pink",
            NoiseColor::Brown => "brown",
        }),
        "carrier_hz": pitched.then_some(tone.carrier_hz),
        "width_us": matches!(tone.voice.kind, Kind::Spin(_) | Kind::TurnedStem(_)).then_some(tone.carrier_hz),
        "shape": pitched.then_some(match tone.voice.shape {
            Shape::Sine => "sine",
            Shape::Square => "square",
            Shape::Triangle => "triangle",
            Shape::Sawtooth => "sawtooth",
        }),
        "envelope": tone.voice.envelope.is_some(),
        "stem": tone.voice.kind.stem().map(|place| &score.sheet.stems[place].name),
        "beat_hz": (beats && tone.voice.lock.is_none()).then_some(tone.beat_hz),
        "lead": (wave == "binaural").then_some(line).flatten().map(|line| match line.lead {
            Ear::Left => "left",
            Ear::Right => "right",
        }),
        "locked": line.and_then(|line| line.lock).filter(|_| beats),
        "amplitude_pct": tone.amplitude * 100.0,
    })
}

fn timeline(score: &Score) -> Vec<Value> {
    let sheet = &score.sheet;
    let mut led = vec![None; sheet.entries.len()];
    for section in sheet.sections.iter().filter(|section| section.how != How::Hold) {
        led[section.entry] = Some(section);
    }
    let mut lines: Vec<(i64, Value)> = sheet
        .entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            // A daily score that begins in the middle of its day comes to its earlier lines on the next one.
            let at_ns = match sheet.period_ns {
                Some(period_ns) => (entry.at_ns - sheet.begin_ns).rem_euclid(period_ns),
                None => entry.at_ns - sheet.begin_ns,
            };
            let (transition, from_ns, over_ns) = match led[i] {
                None => ("cut", 0, 0),
                Some(section) => {
                    let transition = match section.how {
                        How::Hold => "cut",
                        How::Fade => "fade",
                        How::Slide | How::Glide => "slide",
                        How::Ramp => "ramp",
                        How::Silence => "silence",
                    };
                    let from_ns = section.start_ns - entry.at_ns;
                    // What leads to the first entry of a day begins on the day before.
                    let from_ns = sheet.period_ns.filter(|_| from_ns > 0).map_or(from_ns, |ns| from_ns - ns);
                    (transition, from_ns, section.end_ns - section.start_ns)
                }
            };
            let value = json!({
                "at_s": seconds(at_ns),
                "tone_set": sheet.tone_sets[entry.set].name,
                "transition": transition,
                "transition_from_s": seconds(at_ns + from_ns),
                "transition_s": seconds(over_ns),
            });
            (at_ns, value)
        })
        .collect();
    lines.sort_by_key(|(at_ns, _)| *at_ns);
    lines.into_iter().map(|(_, value)| value).collect()
}
