//! Built-in sessions: `-p drop 00ds+`, `-p slide 200+10/1`, `-p sigmoid …`, and what an `.sbgf` curve draws.
//!
//! A session is one tone whose carrier and beat follow formulas for half an hour or an hour, while whatever else is
//! written after it (`mix/100`, `pink/20`) plays along. It comes in from silence within five seconds and goes within
//! ten. In between it slides along the formulas, or rests on steps of three minutes (one with `k`) and slides from one
//! to the next in the last seconds of each.
//!
//! A program's frequencies are straight lines between points, so a formula becomes points: as many as it takes for
//! every line to stay within [`CARRIER_NEAR_HZ`], [`BEAT_NEAR_HZ`] and [`LEVEL_NEAR`] of the formula, found by halving.
//!
//! With the level L, the target beat b₁ (a letter from `a` to `l`), the drop D and the hold H in minutes:
//!
//! ```text
//! carrier   205 − 2L − 5·m/D Hz, on into the hold
//! drop      10·(b₁/10)^(m/D) Hz, then b₁
//! sigmoid   a·tanh(l·(m − D/2 − h)) + b Hz, through 10 Hz at 0 and b₁ at D, then b₁
//! slide     the beat as written; the carrier goes down to half of it
//! ```
//!
//! Sources: the manuals of SBaGen (-p drop, -p slide) and of SBaGenX (levels below 0, sigmoid, curve, `-A`); how a
//! session begins, ends and steps is as SBaGen does it.
use std::collections::BTreeMap;

use super::super::{check_tone, number, Entry, How, Kind, Section, Tone, ToneSet, Voice, ENTRIES_MAX};
use super::{Reason, Tones, DAY_S};
use crate::program::Shape;
use crate::units::NS_PER_S;

/// How near the lines stay to the formulas.
const CARRIER_NEAR_HZ: f64 = 0.002;
const BEAT_NEAR_HZ: f64 = 0.001;
/// As a share of full scale, and relative to the level.
const LEVEL_NEAR: f64 = 1e-6;
const LEVEL_RATIO_NEAR: f64 = 1e-3;
/// Lines shorter than this are steps.
const SHORTEST_S: f64 = 0.01;
/// The first points lie this far apart, so that nothing slower than that is missed.
const FIRST_S: f64 = 30.0;
/// How a session comes and goes.
const COMES_NS: i64 = 5 * NS_PER_S;
const GOES_NS: i64 = 10 * NS_PER_S;
/// The most minutes of one part.
const MINUTES_MAX: f64 = 1_000.0;

/// The beats of the letters from `a` to `l`, in Hz, and the one that would follow.
const TARGETS_HZ: [f64; 13] = [4.4, 3.7, 3.1, 2.5, 2.0, 1.5, 1.2, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2];

/// The names that a formula may use, in the order of [`Plan::values`].
pub(super) const NAMES: [&str; 12] = ["t", "m", "D", "H", "T", "U", "b0", "b1", "c0", "c1", "a0", "m0"];

/// Where a session is at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    pub carrier_hz: f64,
    pub beat_hz: f64,
    /// Of the tone, 0 to 1.
    pub level: f64,
    /// Of the soundtrack, as a share of what is written.
    pub mix: f64,
}

/// The dips and the decline of a soundtrack that `-A` asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Wander {
    depth: f64,
    steepness: f64,
    half_period_m: f64,
    end: f64,
}

impl Wander {
    pub(super) fn read(spec: &str) -> Result<Self, Reason> {
        let mut wander = Self { depth: 0.3, steepness: 0.3, half_period_m: 10.0, end: 0.7 };
        for part in spec.split(':').filter(|part| !part.is_empty()) {
            let bad =
                || format!("-A takes d=, e=, k= and E= with numbers, such as -A d=0.3:e=0.3:k=10:E=0.7, not {part:?}");
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            let (value, "") = number(value).ok_or_else(bad)? else { return Err(bad()) };
            let (place, most) = match key {
                "d" => (&mut wander.depth, 1.0),
                "e" => (&mut wander.steepness, 1e3),
                "k" => (&mut wander.half_period_m, 1e3),
                "E" => (&mut wander.end, 1.0),
                _ => return Err(bad()),
            };
            if !(0.0..=most).contains(&value) || (key == "k" && value == 0.0) {
                return Err(format!("in -A, {key} must be a number up to {most}, not {value}"));
            }
            *place = value;
        }
        Ok(wander)
    }

    /// At `m` of `whole_m` minutes.
    fn at(&self, m: f64, whole_m: f64) -> f64 {
        let from_dip = libm::fmod(m, 2.0 * self.half_period_m) - self.half_period_m;
        let dip = 1.0 - self.depth * libm::exp(-self.steepness * from_dip * from_dip);
        dip * (1.0 - (1.0 - self.end) / whole_m * m)
    }
}

/// What a specification such as `00ds+^/2:S=8` says.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    drop_m: f64,
    hold_m: f64,
    wake_m: f64,
    /// The length of a step in minutes; `None` to slide.
    step_m: Option<f64>,
    kind: Kind,
    shape: Shape,
    /// The program's tone is silent and only its beat counts.
    muted: bool,
    level: f64,
    /// The first and the last beat of the drop.
    beats_hz: (f64, f64),
    /// The carrier at the beginning, and where it is when drop and hold are over.
    carriers_hz: (f64, f64),
    /// `name=value` at the end, without S.
    pub given: BTreeMap<String, f64>,
    wander: Option<Wander>,
}

impl Plan {
    fn main_m(&self) -> f64 {
        self.drop_m + self.hold_m
    }

    /// The values of [`NAMES`] at `m` minutes, where the soundtrack is at `mix_pct`.
    pub(super) fn values(&self, m: f64, mix_pct: f64) -> [f64; NAMES.len()] {
        let Self { drop_m, hold_m, wake_m, beats_hz, carriers_hz, level, .. } = self;
        [
            m * 60.0,
            m,
            *drop_m,
            *hold_m,
            self.main_m(),
            *wake_m,
            beats_hz.0,
            beats_hz.1,
            carriers_hz.0,
            carriers_hz.1,
            level * 100.0,
            mix_pct,
        ]
    }

    /// The carrier of a plan without a formula for it.
    pub(super) fn carrier_hz(&self, m: f64) -> f64 {
        self.carriers_hz.0 + (self.carriers_hz.1 - self.carriers_hz.0) * (m / self.main_m())
    }

    /// The level of the tone as written, 0 to 1.
    pub(super) fn level(&self) -> f64 {
        self.level
    }

    /// What `-A` makes of the soundtrack at `m` minutes.
    pub(super) fn mix(&self, m: f64) -> f64 {
        self.wander.map_or(1.0, |wander| wander.at(m, self.main_m()))
    }

    /// Reads `[tD,H,W] SPEC` and leaves the words that follow.
    pub(super) fn read(words: &mut &[&str], shape: Shape, wander: Option<Wander>) -> Result<Self, Reason> {
        let (mut drop_m, mut hold_m, mut wake_m) = (30.0, 30.0, 3.0);
        if let Some(times) = words.first().and_then(|word| word.strip_prefix('t')) {
            let minutes: Option<Vec<f64>> = times.split(',').map(minutes).collect();
            let Some([drop, hold, wake]) = minutes.as_deref() else {
                return Err(format!("{times:?} should be the minutes of drop, hold and wake-up, such as t30,30,3"));
            };
            (drop_m, hold_m, wake_m) = (drop.floor(), hold.floor(), wake.floor());
            *words = &words[1..];
        }
        if drop_m < 1.0 {
            return Err("the drop must last at least one minute".into());
        }
        let (spec, rest) = words.split_first().ok_or("-p needs a level and a depth, such as 00ds+")?;
        *words = rest;
        let bad = |what: &str| format!("{spec:?} is not a level and a depth such as 00ds+ or -01.5gk+^@/2: {what}");

        let (muted, level, after) = match spec.strip_prefix('N') {
            Some(after) => (true, 0.0, after),
            None => {
                let (level, after) = number(spec).ok_or_else(|| bad("it should begin with a number, or N"))?;
                (false, level, after)
            }
        };
        let (target_hz, mut after) = target_hz(after).ok_or_else(|| bad("a letter from a to l should follow"))?;
        let mut take = |sign: &[char]| match after.strip_prefix(sign) {
            Some(rest) => {
                let taken = after.chars().next();
                after = rest;
                taken
            }
            None => None,
        };
        let step_m = match take(&['s', 'k']) {
            Some('s') => None,
            Some(_) => Some(1.0),
            None => Some(3.0),
        };
        let (long, wakes) = (take(&['+']).is_some(), take(&['^']).is_some());
        let kind = match take(&['@', 'M']) {
            Some('@') => Kind::Isochronic,
            Some(_) => Kind::Monaural,
            None => Kind::Binaural,
        };
        let mut parts = after.split(':');
        let mut amplitude_pct = 1.0;
        if let Some(amplitude) = parts.next().filter(|part| !part.is_empty()) {
            amplitude_pct = match amplitude.strip_prefix('/').and_then(number) {
                Some((pct, "")) => pct,
                _ => return Err(bad(&format!("{amplitude:?} was not expected"))),
            };
        }
        let (mut start_hz, mut given) = (10.0, BTreeMap::new());
        for part in parts {
            let pair = part.split_once('=').and_then(|(name, value)| match number(value) {
                Some((value, "")) => Some((name, value)),
                _ => None,
            });
            match pair {
                Some(("S", value)) => start_hz = value,
                Some((name, value)) => drop(given.insert(name.into(), value)),
                None => return Err(bad(&format!("{part:?} should be a name and a number, such as S=8"))),
            }
        }
        if start_hz <= 0.0 {
            return Err(bad("S, the first beat, must be above 0 Hz"));
        }
        let hold_m = if long { hold_m } else { 0.0 };
        let first_hz = 205.0 - 2.0 * level;
        let last_hz = first_hz - 5.0 * (drop_m + hold_m) / drop_m;
        for (carrier_hz, beat_hz) in [(first_hz, start_hz), (last_hz, target_hz)] {
            check_tone(kind, carrier_hz, beat_hz, amplitude_pct).map_err(|reason| bad(&reason))?;
        }
        Ok(Self {
            drop_m,
            hold_m,
            wake_m: if wakes { wake_m } else { 0.0 },
            step_m,
            kind,
            shape,
            muted,
            level: amplitude_pct / 100.0,
            beats_hz: (start_hz, target_hz),
            carriers_hz: (first_hz, last_hz),
            given,
            wander,
        })
    }

    fn drop_point(&self, m: f64) -> Point {
        let (from, to) = self.beats_hz;
        let beat_hz = if m >= self.drop_m { to } else { from * libm::pow(to / from, m / self.drop_m) };
        Point { carrier_hz: self.carrier_hz(m), beat_hz, level: self.level, mix: self.mix(m) }
    }

    /// The beat of a sigmoid. Errors if l and h leave it flat.
    fn sigmoid(&self) -> Result<impl Fn(f64) -> Point + '_, Reason> {
        let given = |name: &str, unset: f64| self.given.get(name).copied().unwrap_or(unset);
        let (l, h) = (given("l", 0.125), given("h", 0.0));
        let tanh = move |m: f64| libm::tanh(l * (m - self.drop_m / 2.0 - h));
        let (from, to) = self.beats_hz;
        let (first, last) = (tanh(0.0), tanh(self.drop_m));
        if (last - first).abs() < 1e-9 {
            return Err(format!("with l={l} and h={h} the sigmoid is flat; try :l=0.125:h=0"));
        }
        let a = (to - from) / (last - first);
        Ok(move |m: f64| {
            let beat_hz = if m >= self.drop_m { to } else { from + a * (tanh(m) - first) };
            Point { carrier_hz: self.carrier_hz(m), beat_hz, level: self.level, mix: self.mix(m) }
        })
    }
}

/// A number of minutes.
fn minutes(text: &str) -> Option<f64> {
    number(text).filter(|(m, rest)| rest.is_empty() && (0.0..=MINUTES_MAX).contains(m)).map(|(m, _)| m)
}

/// The beat that `d`, `d.5`, `+d` or `-d` stand for, and what follows.
fn target_hz(text: &str) -> Option<(f64, &str)> {
    let (mirrored, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let letter = text.chars().next().filter(|c| ('a'..='l').contains(&c.to_ascii_lowercase()))?;
    let i = letter.to_ascii_lowercase() as usize - 'a' as usize;
    let after = &text[1..];
    let digits = after.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (share, after) = match digits {
        0 => (0.0, after),
        digits => (after[..=digits].parse().ok()?, &after[digits + 1..]),
    };
    let hz: f64 = TARGETS_HZ[i] + (TARGETS_HZ[i + 1] - TARGETS_HZ[i]) * share;
    Some((if mirrored { 2.0 * TARGETS_HZ[0] - hz } else { hz }, after))
}

/// A session laid out: its tone-sets, and the sections from silence to silence, from time 0.
pub(super) struct Laid {
    pub tone_sets: Vec<ToneSet>,
    pub entries: Vec<Entry>,
    pub sections: Vec<Section>,
    /// What the clock reads at its beginning: five seconds before midnight, when the session proper begins.
    pub start_s: i64,
    pub duration_ns: i64,
}

/// Reads the words after `-p` in line `line`; `tones` reads tones.
pub(super) fn read(
    words: &[&str],
    line: usize,
    shape: Shape,
    wander: Option<Wander>,
    tones: &mut dyn FnMut(&[&str]) -> Result<Tones, Reason>,
) -> Result<Laid, Reason> {
    let (what, mut rest) = words.split_first().ok_or("-p needs the name of a session, such as drop 00ds+")?;
    match *what {
        "drop" | "sigmoid" => {
            let plan = Plan::read(&mut rest, shape, wander)?;
            let known: &[&str] = if *what == "drop" { &[] } else { &["l", "h"] };
            if let Some(name) = plan.given.keys().find(|name| !known.contains(&name.as_str())) {
                return Err(format!("-p {what} has no {name:?}; S is the first beat, and sigmoid has l and h"));
            }
            let extras = tones(rest)?;
            if *what == "drop" {
                lay(&plan, &extras, line, &|m| Ok(plan.drop_point(m)))
            } else {
                let sigmoid = plan.sigmoid()?;
                lay(&plan, &extras, line, &|m| Ok(sigmoid(m)))
            }
        }
        "slide" => slide(rest, line, tones),
        "curve" => Err("-p curve reads another file, which a score cannot; play that .sbgf file itself".into()),
        other => Err(format!("-p {other} is not known; known are drop, slide and sigmoid")),
    }
}

/// `[tMINUTES] CARRIER+BEAT/AMPLITUDE …`
fn slide(words: &[&str], line: usize, tones: &mut dyn FnMut(&[&str]) -> Result<Tones, Reason>) -> Result<Laid, Reason> {
    let mut words = words;
    let mut drop_m = 30.0;
    if let Some(given) = words.first().and_then(|word| word.strip_prefix('t')) {
        drop_m =
            minutes(given).filter(|m| *m > 0.0).ok_or_else(|| format!("{given:?} should be minutes, such as t60"))?;
        words = &words[1..];
    }
    let all = tones(words)?;
    let bad = "-p slide needs a tone with a beat first, such as -p slide 200+10/1";
    let Some((Some(tone), _)) = all.tones.split_first() else { return Err(bad.into()) };
    let tonal = matches!(tone.voice.kind, Kind::Binaural | Kind::Isochronic | Kind::Monaural) && tone.beat_hz != 0.0;
    if !tonal || tone.voice.envelope.is_some() {
        return Err(bad.into());
    }
    let extras = Tones { tones: all.tones[1..].to_vec(), bound: all.bound.and_then(|slot| slot.checked_sub(1)) };
    let plan = Plan {
        drop_m,
        hold_m: 0.0,
        wake_m: 0.0,
        step_m: None,
        kind: tone.voice.kind,
        shape: tone.voice.shape,
        muted: false,
        level: tone.amplitude,
        beats_hz: (tone.beat_hz, tone.beat_hz),
        carriers_hz: (tone.carrier_hz, tone.beat_hz.abs() / 2.0),
        given: BTreeMap::new(),
        wander: None,
    };
    let beat_hz = tone.beat_hz;
    lay(&plan, &extras, line, &|m| Ok(Point { carrier_hz: plan.carrier_hz(m), beat_hz, level: plan.level, mix: 1.0 }))
}

/// Lays out `plan` along `at`, which says for each minute where the session is.
pub(super) fn lay(
    plan: &Plan,
    extras: &Tones,
    line: usize,
    at: &dyn Fn(f64) -> Result<Point, Reason>,
) -> Result<Laid, Reason> {
    let at = |m: f64| -> Result<Point, Reason> {
        let point = at(m)?;
        check_tone(plan.kind, point.carrier_hz, point.beat_hz, 0.0)
            .map_err(|reason| format!("at {m:.2} min of the session, {reason}"))?;
        let level = point.level.clamp(0.0, 1.0);
        let beat_hz = if plan.kind == Kind::Binaural { point.beat_hz } else { point.beat_hz.abs() };
        if !(level.is_finite() && point.mix.is_finite()) {
            return Err(format!("at {m:.2} min of the session, an amplitude is no number"));
        }
        Ok(Point { level, beat_hz, mix: point.mix.max(0.0), ..point })
    };
    let main_m = plan.main_m();
    let mut points: Vec<(f64, Point)> = Vec::new();
    let mut end_m = main_m;
    match plan.step_m {
        None => {
            let mut marks = vec![0.0, plan.drop_m, main_m];
            marks.dedup();
            points.push((0.0, at(0.0)?));
            for pair in marks.windows(2) {
                let parts = ((pair[1] - pair[0]) * 60.0 / FIRST_S).ceil().max(1.0);
                for part in 0..parts as usize {
                    let mark = |part: usize| pair[0] + (pair[1] - pair[0]) * part as f64 / parts;
                    trace(&at, mark(part), mark(part + 1), &mut points)?;
                }
            }
        }
        Some(step_m) => {
            let steps = (main_m / step_m).ceil() as usize;
            let drops = (plan.drop_m / step_m).ceil().max(1.0) as usize;
            let turn_m = if step_m < 1.5 { 5.0 } else { 10.0 } / 60.0;
            for step in 0..steps {
                let (from_m, to_m) = (step as f64 * step_m, ((step + 1) as f64 * step_m).min(main_m));
                let reached_m = plan.drop_m * step.min(drops - 1) as f64 / (drops.max(2) - 1) as f64;
                // The beat of this step, and the carrier at its end.
                let Point { beat_hz, .. } = at(reached_m)?;
                let point = Point { beat_hz, ..at(to_m)? };
                points.extend([(from_m, point), (to_m - turn_m, point)]);
            }
            end_m = main_m - turn_m;
        }
    }
    if plan.wake_m > 0.0 {
        end_m += plan.wake_m;
        points.push((end_m, Point { mix: 1.0, ..at(0.0)? }));
    }

    let tone = |point: &Point| -> Option<Tone> {
        let voice = Voice { shape: plan.shape, ..Voice::plain(plan.kind) };
        let Point { carrier_hz, beat_hz, level, .. } = *point;
        (!plan.muted).then_some(Tone { voice, carrier_hz, beat_hz, amplitude: level })
    };
    let ns = |m: f64| COMES_NS + (m * 60.0 * NS_PER_S as f64).round() as i64;
    let mut tone_sets = vec![ToneSet { name: "off".into(), line, tones: Vec::new() }];
    let mut entries = vec![Entry { at_ns: 0, set: 0 }];
    for (m, point) in &points {
        let mut tones = vec![tone(point)];
        tones.extend(extras.tones.iter().enumerate().map(|(slot, extra)| {
            extra.map(|extra| Tone {
                amplitude: if extra.voice.kind.stem().is_some() {
                    (extra.amplitude * point.mix).min(1.0)
                } else {
                    extra.amplitude
                },
                beat_hz: if extras.bound == Some(slot) { point.beat_hz.abs() } else { extra.beat_hz },
                ..extra
            })
        }));
        entries.push(Entry { at_ns: ns(*m), set: tone_sets.len() });
        tone_sets.push(ToneSet { name: format!("at {} s", (m * 60e3).round() / 1e3), line, tones });
    }
    let duration_ns = ns(end_m) + GOES_NS;
    entries.push(Entry { at_ns: duration_ns, set: 0 });
    if entries.len() > ENTRIES_MAX {
        return Err(format!(
            "this session would need {} points, and {ENTRIES_MAX} are allowed; draw it calmer",
            entries.len()
        ));
    }
    let mut sections: Vec<Section> = entries
        .windows(2)
        .enumerate()
        .map(|(i, pair)| Section {
            start_ns: pair[0].at_ns,
            end_ns: pair[1].at_ns,
            from: pair[0].set,
            to: pair[1].set,
            how: How::Glide,
            entry: i + 1,
        })
        .collect();
    sections.retain(|section| section.start_ns < section.end_ns);
    let start_s = DAY_S - COMES_NS / NS_PER_S;
    Ok(Laid { tone_sets, entries, sections, start_s, duration_ns })
}

/// Adds points up to `to_m` so that the line between any two of them is near enough; `points` ends at `from_m`.
fn trace(
    at: &impl Fn(f64) -> Result<Point, Reason>,
    from_m: f64,
    to_m: f64,
    points: &mut Vec<(f64, Point)>,
) -> Result<(), Reason> {
    let last = points[points.len() - 1].1;
    let mut stack = vec![(from_m, to_m, last, at(to_m)?)];
    while let Some((from_m, to_m, from, to)) = stack.pop() {
        if points.len() > ENTRIES_MAX {
            return Err(format!("this session needs more than {ENTRIES_MAX} points; draw it calmer"));
        }
        let mut near = (to_m - from_m) * 60.0 <= SHORTEST_S;
        let middle_m = (from_m + to_m) / 2.0;
        if !near {
            near = true;
            for share in [0.25, 0.5, 0.75] {
                let drawn = at(from_m + (to_m - from_m) * share)?;
                let line = |a: f64, b: f64| a + (b - a) * share;
                let level_near =
                    |drawn: f64, line: f64| (drawn - line).abs() <= LEVEL_NEAR + LEVEL_RATIO_NEAR * drawn.abs();
                near &= (drawn.carrier_hz - line(from.carrier_hz, to.carrier_hz)).abs() <= CARRIER_NEAR_HZ
                    && (drawn.beat_hz - line(from.beat_hz, to.beat_hz)).abs() <= BEAT_NEAR_HZ
                    && level_near(drawn.level, line(from.level, to.level))
                    && level_near(drawn.mix, line(from.mix, to.mix));
            }
        }
        if near {
            points.push((to_m, to));
        } else {
            let middle = at(middle_m)?;
            stack.push((middle_m, to_m, middle, to));
            stack.push((from_m, middle_m, from, middle));
        }
    }
    Ok(())
}
