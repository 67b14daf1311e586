//! From a sheet to a [`Program`]: who sounds when, at which frequency, and what is locked to the rhythm.
//!
//! A slot of the tone-sets may hold a binaural tone now and noise later, and a channel of a program has one wave for
//! the whole night. So a slot becomes one channel for each voice that ever sounds in it. Each channel is first
//! written as [`Piece`]s: stretches over which its loudness, carrier and beat are all linear. Everything else follows
//! from the pieces:
//!
//! - the loudness curve goes through their ends, and is 0 between them;
//! - the carrier and the beat are ramps over them. Between them nobody hears the channel, so it keeps its last
//!   frequency and, at the next piece, changes to that one's at once. Phases run through without a jump all the same:
//!   a segment begins at the phase that the one before it has reached;
//! - a beat is locked if it is n times the rhythm at both ends of every stretch on which both are linear.
//!
//! The ear that does not lead is the reference: it plays the carrier's frequency minus half of the beat, and the
//! other ear adds the whole beat. So the written carrier lies in the middle, and the beat's phase is in one ear only.
use super::{How, Kind, Ramp, Section, Sheet, Tone, Voice, FOREVER_NS, HORIZON_MAX, RHYTHM_DEFAULT_HZ};
use crate::phase::Phase;
use std::sync::Arc;

use crate::bell;
use crate::envelope::Envelope;
use crate::oscillators;
use crate::program::{
    Beat, Channel, Curve, Ear, Ears, Hiss, Hissing, NoiseColor, Program, Shape, Shaped, Shift, Strike, Wave,
    CHANNELS_MAX,
};
use crate::rhythm::{Frequency, Rhythm, Segment};
use crate::stem::{Stem, Stems};
use crate::units::{NodeTime, Span, NS_PER_S};

/// How exactly a beat must be a multiple of the rhythm to be locked to it, relative to the beat. Far above what
/// rounding does to a frequency, and far below what anybody could have meant: 1e-9 of 4 Hz is a turn in eight years.
const LOCK_TOLERANCE: f64 = 1e-9;
/// How far a repeating score is unrolled to see what is locked: the first day and the wrap into the second.
const LOCK_HORIZON_NS: i64 = 2 * 86_400 * NS_PER_S;

/// How long before the strike of a bell its loudness is there: longer than the longest run of a renderer.
const BEFORE_STRIKE_NS: i64 = NS_PER_S / 25;

/// A channel of the program to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Line {
    pub slot: usize,
    pub voice: Voice,
    /// The ear that carries the beat.
    pub lead: Ear,
    /// Whether its beat is ever anything but 0.
    pub beats: bool,
    /// The multiple of the rhythm that its beat is.
    pub lock: Option<u32>,
}

/// A stretch over which a channel is heard and everything about it is linear. Times from the score's beginning.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Piece {
    start_ns: i64,
    end_ns: i64,
    from: Tone,
    to: Tone,
}

impl Ramp {
    /// The frequency at `t_ns`.
    pub(super) fn at(&self, t_ns: i64) -> f64 {
        between(self.from_hz, self.to_hz, share(t_ns, self.start_ns, self.end_ns))
    }

    fn is_flat(&self) -> bool {
        self.from_hz == self.to_hz
    }
}

impl Piece {
    fn tone_at(&self, t_ns: i64) -> Tone {
        let s = share(t_ns, self.start_ns, self.end_ns);
        Tone {
            voice: self.from.voice,
            carrier_hz: between(self.from.carrier_hz, self.to.carrier_hz, s),
            beat_hz: between(self.from.beat_hz, self.to.beat_hz, s),
            amplitude: between(self.from.amplitude, self.to.amplitude, s),
        }
    }

    /// The part of this piece from `start_ns` to `end_ns`; `None` if nothing is left.
    fn clipped(&self, start_ns: i64, end_ns: i64) -> Option<Self> {
        let (start_ns, end_ns) = (start_ns.max(self.start_ns), end_ns.min(self.end_ns));
        (start_ns < end_ns).then(|| Self {
            start_ns,
            end_ns,
            // Untouched ends keep their numbers to the bit.
            from: if start_ns == self.start_ns { self.from } else { self.tone_at(start_ns) },
            to: if end_ns == self.end_ns { self.to } else { self.tone_at(end_ns) },
        })
    }

    fn ramp(&self, hz: impl Fn(&Tone) -> f64) -> Ramp {
        Ramp { start_ns: self.start_ns, end_ns: self.end_ns, from_hz: hz(&self.from), to_hz: hz(&self.to) }
    }
}

fn share(t_ns: i64, start_ns: i64, end_ns: i64) -> f64 {
    (t_ns - start_ns) as f64 / (end_ns - start_ns) as f64
}

fn between(from: f64, to: f64, share: f64) -> f64 {
    // Exact at both ends, and exactly constant where there is nothing to change.
    if from == to {
        from
    } else {
        from * (1.0 - share) + to * share
    }
}

/// The channels of the sheet's program, slot by slot. Errors with the first tone-set that needs one too many.
pub(super) fn lines(sheet: &Sheet) -> Result<Vec<Line>, usize> {
    let mut lines: Vec<Line> = Vec::new();
    for section in &sheet.sections {
        for set in [section.from, section.to] {
            for (slot, tone) in sheet.tone_sets[set].tones.iter().enumerate() {
                let Some(Tone { voice, beat_hz, .. }) = *tone else { continue };
                let beats = beat_hz != 0.0 || voice.lock.is_some();
                let eared = matches!(voice.kind, Kind::Binaural | Kind::Monaural);
                let by_sign = if beat_hz < 0.0 && eared { Ear::Right } else { Ear::Left };
                let full = lines.len() == CHANNELS_MAX;
                match lines.iter_mut().find(|line| line.slot == slot && line.voice == voice) {
                    Some(line) if !line.beats && beats => {
                        (line.beats, line.lead) = (true, voice.lead.unwrap_or(by_sign))
                    }
                    Some(_) => {}
                    None if full => return Err(set),
                    None => {
                        let lead = voice.lead.unwrap_or(by_sign);
                        lines.push(Line { slot, voice, lead, beats, lock: voice.lock });
                    }
                }
            }
        }
    }
    lines.sort_by_key(|line| line.slot);

    let horizon_ns = sheet.duration_ns.unwrap_or(LOCK_HORIZON_NS);
    let sections = unroll(sheet, horizon_ns);
    let theta = theta(sheet, &lines, horizon_ns);
    for line in &mut lines {
        if line.beats && line.lock.is_none() {
            line.lock = lock(&pieces(sheet, &sections, line), sign(line), &theta);
        }
    }
    Ok(lines)
}

/// 1 if the written beat counts as it is, −1 if it must be turned round to be the lead's excess over the reference.
fn sign(line: &Line) -> f64 {
    if line.voice.lead.is_none() && line.lead == Ear::Right {
        -1.0
    } else {
        1.0
    }
}

/// The sections from the score's beginning (time 0, in the first section) to `horizon_ns`.
fn unroll(sheet: &Sheet, horizon_ns: i64) -> Vec<Section> {
    let mut unrolled = Vec::new();
    let mut shift_ns = -sheet.begin_ns;
    loop {
        for section in &sheet.sections {
            let start_ns = section.start_ns + shift_ns;
            let end_ns = section.end_ns.saturating_add(shift_ns).min(FOREVER_NS);
            if start_ns >= horizon_ns {
                return unrolled;
            }
            if end_ns > 0 && end_ns > start_ns {
                unrolled.push(Section { start_ns, end_ns, ..*section });
            }
        }
        let Some(period_ns) = sheet.period_ns else { return unrolled };
        shift_ns += period_ns;
    }
}

/// Where and how `line` is heard during `sections`, from time 0 on.
///
/// A piece that reaches beyond the horizon stays whole: cut, its slope would round differently, and two platforms with
/// different horizons would differ in the last bits of a phase.
fn pieces(sheet: &Sheet, sections: &[Section], line: &Line) -> Vec<Piece> {
    let end_ns = sheet.duration_ns.unwrap_or(FOREVER_NS);
    if line.voice.kind == Kind::Bell {
        return strikes(sheet, sections, line, end_ns).into_iter().map(|(_, piece)| piece).collect();
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for section in sections {
        for piece in section_pieces(sheet, section, line).into_iter().flatten() {
            let Some(piece) = piece.clipped(0, end_ns) else { continue };
            match pieces.last_mut() {
                // What stays the same over many sections is one piece.
                Some(last)
                    if last.end_ns == piece.start_ns
                        && last.from == last.to
                        && last.to == piece.from
                        && piece.from == piece.to =>
                {
                    last.end_ns = piece.end_ns;
                }
                _ => pieces.push(piece),
            }
        }
    }
    pieces
}

/// Where a bell is struck, and how long it rings.
///
/// It is struck where its tone-set arrives: in the middle of a fade, which is the time on its line; at the end of a
/// glide; where a tone-set begins without either. It is never faded out: what is struck rings until it has died away,
/// or is struck again.
///
/// A piece begins a moment before its strike, so that the loudness is there when the strike comes.
fn strikes(sheet: &Sheet, sections: &[Section], line: &Line, end_ns: i64) -> Vec<(i64, Piece)> {
    let mut strikes: Vec<(i64, Piece)> = Vec::new();
    let mut led_to = None;
    for (i, section) in sections.iter().enumerate() {
        let Section { start_ns, end_ns: arrives_ns, to, how, entry, .. } = *section;
        let at_ns = match how {
            How::Hold if led_to == Some((entry, to)) => continue,
            // Where the score begins in the midst of a tone-set, its bell was struck before.
            How::Hold if i == 0 && start_ns < 0 => continue,
            How::Hold => start_ns,
            How::Glide => arrives_ns,
            How::Fade | How::Slide | How::Ramp | How::Silence => start_ns + (arrives_ns - start_ns) / 2,
        };
        led_to = Some((entry, to));
        let tone = sheet.tone_sets[to].tones.get(line.slot).copied().flatten().filter(|tone| tone.voice == line.voice);
        let Some(tone) = tone.filter(|tone| tone.amplitude > 0.0) else { continue };
        if !(0..end_ns).contains(&at_ns) {
            continue;
        }
        let rings_ns = (bell::rings_s(tone.amplitude) * NS_PER_S as f64) as i64;
        let mut start_ns = (at_ns - BEFORE_STRIKE_NS).max(0);
        if let Some((last_ns, last)) = strikes.last_mut() {
            if *last_ns == at_ns {
                continue;
            }
            last.end_ns = last.end_ns.min(at_ns);
            start_ns = start_ns.max(last.end_ns);
        }
        let piece = Piece { start_ns, end_ns: (at_ns + rings_ns).min(end_ns), from: tone, to: tone };
        strikes.push((at_ns, piece));
    }
    strikes
}

/// What one section brings to `line`: at most its first and its second half.
fn section_pieces(sheet: &Sheet, section: &Section, line: &Line) -> [Option<Piece>; 2] {
    let Section { start_ns, end_ns, from, to, how, .. } = *section;
    let slot = |set: usize| sheet.tone_sets[set].tones.get(line.slot).copied().flatten();
    let (old, new) = (slot(from), slot(to));
    let (mine_old, mine_new) =
        (old.filter(|tone| tone.voice == line.voice), new.filter(|tone| tone.voice == line.voice));
    let whole = |from, to| [Some(Piece { start_ns, end_ns, from, to }), None];
    let silent = |tone| Tone { amplitude: 0.0, ..tone };

    // Music has a loudness everywhere, if only 0.
    let all_of_it = how == How::Glide || (how == How::Ramp && line.voice.kind.stem().is_some());
    match (mine_old, mine_new) {
        (Some(old), Some(new)) => {
            let equal = old.carrier_hz == new.carrier_hz && old.beat_hz == new.beat_hz;
            match how {
                How::Hold | How::Slide | How::Glide => return whole(old, new),
                How::Fade if equal || !line.voice.kind.is_pitched() => return whole(old, new),
                How::Ramp if equal || !matches!(line.voice.kind, Kind::Binaural | Kind::Spin(_)) => {
                    return whole(old, new)
                }
                How::Fade | How::Ramp | How::Silence => {}
            }
        }
        (Some(old), None) if all_of_it && new.is_none() => return whole(old, silent(old)),
        (None, Some(new)) if all_of_it && old.is_none() => return whole(silent(new), new),
        _ => {}
    }
    let middle_ns = start_ns + (end_ns - start_ns) / 2;
    [
        mine_old.map(|tone| Piece { start_ns, end_ns: middle_ns, from: tone, to: silent(tone) }),
        mine_new.map(|tone| Piece { start_ns: middle_ns, end_ns, from: silent(tone), to: tone }),
    ]
}

/// The rhythm in hertz, gapless from time 0 to at least `horizon_ns`.
pub(super) fn theta(sheet: &Sheet, lines: &[Line], horizon_ns: i64) -> Vec<Ramp> {
    if !sheet.rhythm.is_empty() {
        return held(sheet.rhythm.iter().copied(), horizon_ns);
    }
    // The first tone that beats; only if there is none, whatever else turns or pulses.
    let first = |wanted: fn(Kind) -> bool| {
        let mut slots = sheet.entries.iter().flat_map(|entry| sheet.tone_sets[entry.set].tones.iter().enumerate());
        slots.find_map(|(slot, tone)| tone.filter(|t| t.beat_hz != 0.0 && wanted(t.voice.kind)).map(|t| (slot, t)))
    };
    let tone = first(Kind::is_pitched).or_else(|| first(|_| true));
    let line = tone.and_then(|(slot, tone)| {
        let line = lines.iter().find(|line| line.slot == slot && line.voice == tone.voice)?;
        Some((line, if line.voice.kind.is_pitched() { sign(line) } else { tone.beat_hz.signum() }))
    });
    match line {
        None => {
            vec![Ramp { start_ns: 0, end_ns: horizon_ns, from_hz: RHYTHM_DEFAULT_HZ, to_hz: RHYTHM_DEFAULT_HZ }]
        }
        Some((line, sign)) => {
            let pieces = pieces(sheet, &unroll(sheet, horizon_ns), line);
            held(pieces.iter().map(|piece| piece.ramp(|tone| sign * tone.beat_hz)), horizon_ns)
        }
    }
}

/// `ramps` with every gap filled by the frequency before it; the one before the first by the first.
fn held(ramps: impl Iterator<Item = Ramp>, horizon_ns: i64) -> Vec<Ramp> {
    let mut gapless: Vec<Ramp> = Vec::new();
    let mut ramps = ramps.take_while(|ramp| ramp.start_ns < horizon_ns).peekable();
    let mut hz = ramps.peek().map_or(RHYTHM_DEFAULT_HZ, |ramp| ramp.from_hz);
    let mut until_ns = 0;
    for ramp in ramps {
        if ramp.start_ns > until_ns {
            gapless.push(Ramp { start_ns: until_ns, end_ns: ramp.start_ns, from_hz: hz, to_hz: hz });
        }
        gapless.push(ramp);
        (hz, until_ns) = (ramp.to_hz, ramp.end_ns);
    }
    if until_ns < horizon_ns {
        gapless.push(Ramp { start_ns: until_ns, end_ns: horizon_ns, from_hz: hz, to_hz: hz });
    }
    gapless
}

/// The n ≥ 1 for which the beat is n times the rhythm wherever it is heard.
fn lock(pieces: &[Piece], sign: f64, theta: &[Ramp]) -> Option<u32> {
    let mut n = None;
    for piece in pieces {
        let first = theta.partition_point(|ramp| ramp.end_ns <= piece.start_ns);
        for ramp in theta[first..].iter().take_while(|ramp| ramp.start_ns < piece.end_ns) {
            let beat = piece.ramp(|tone| sign * tone.beat_hz);
            let ends = [piece.start_ns.max(ramp.start_ns), piece.end_ns.min(ramp.end_ns)];
            for t in ends {
                let (beat_hz, theta_hz) = (beat.at(t), ramp.at(t));
                if n.is_none() && theta_hz != 0.0 {
                    let ratio = (beat_hz / theta_hz).round();
                    if !(1.0..=f64::from(u16::MAX)).contains(&ratio) {
                        return None;
                    }
                    n = Some(ratio as u32);
                }
                let expected = f64::from(n.unwrap_or(0)) * theta_hz;
                if (beat_hz - expected).abs() > LOCK_TOLERANCE * beat_hz.abs().max(expected.abs()) {
                    return None;
                }
            }
        }
    }
    n
}

/// The rhythm that the sheet proposes.
pub(super) fn rhythm(sheet: &Sheet, lines: &[Line], epoch: NodeTime, horizon: Span) -> Rhythm {
    let horizon_ns = horizon_ns(sheet, epoch, horizon);
    timeline(epoch, theta(sheet, lines, horizon_ns))
}

/// See [`super::Score::program`].
pub(super) fn program(sheet: &Sheet, lines: &[Line], epoch: NodeTime, horizon: Span, stems: &Stems) -> Program {
    let horizon_ns = horizon_ns(sheet, epoch, horizon);
    let sections = unroll(sheet, horizon_ns);
    let theta = theta(sheet, lines, horizon_ns);
    let channels = lines
        .iter()
        .map(|line| {
            let pieces = pieces(sheet, &sections, line);
            let gain = line.voice.kind.color().map_or(1.0, |color| sheet.noise_gains[color as usize]);
            Channel {
                wave: wave(sheet, &sections, line, epoch, stems),
                carrier: timeline(epoch, reference(line, &pieces, &theta)),
                beat: match line.lock {
                    Some(n) => Beat::Locked(n),
                    None => Beat::Free(timeline(
                        epoch,
                        pieces.iter().map(|piece| piece.ramp(|tone| sign(line) * tone.beat_hz)),
                    )),
                },
                amplitude: amplitude(epoch, &pieces, gain, horizon_ns, sheet.duration_ns.is_some()),
            }
        })
        .collect();
    Program {
        epoch,
        duration: sheet.duration_ns.map(Span::from_ns),
        rhythm: timeline(epoch, theta.iter().copied()),
        channels,
    }
}

/// How far to unroll: to the end if there is one, and never beyond the clock.
fn horizon_ns(sheet: &Sheet, epoch: NodeTime, horizon: Span) -> i64 {
    let wanted_ns = sheet.duration_ns.unwrap_or(horizon.ns().clamp(1, HORIZON_MAX.ns()));
    wanted_ns.min(i64::MAX.saturating_sub(epoch.ns().max(0))).max(1)
}

fn wave(sheet: &Sheet, sections: &[Section], line: &Line, epoch: NodeTime, stems: &Stems) -> Wave {
    let Voice { kind, shape, envelope, motion, spectrum, .. } = line.voice;
    let [envelope, motion] = [envelope, motion].map(|place| place.map(|place| Arc::clone(&sheet.envelopes[place])));
    let hiss = |color: NoiseColor, hissing| {
        let spectrum = spectrum.map(|place| Arc::clone(&sheet.spectra[place]));
        Wave::Hiss(Arc::new(Hiss {
            spectrum: spectrum.unwrap_or_else(|| Arc::new(oscillators::spectrum(color))),
            hissing,
        }))
    };
    let sine = || Arc::new(Envelope::shape(Shape::Sine));
    let open = || Arc::new(Envelope::open());
    let shift = |turn: Option<Arc<Envelope>>, share: Option<Arc<Envelope>>| {
        Shift::new(turn.unwrap_or_else(sine), share.unwrap_or_else(open))
    };
    let shaped = |ears, envelope| Wave::Shaped(Arc::new(Shaped { shape, ears, envelope }));
    let plain = shape == Shape::Sine && envelope.is_none();
    match kind {
        Kind::Noise(color) if spectrum.is_none() => Wave::Noise(color),
        Kind::Noise(color) => hiss(color, Hissing::Steady),
        Kind::Spin(color) if spectrum.is_none() && motion.is_none() => Wave::Spin(color),
        Kind::Spin(color) => hiss(color, Hissing::Swing(motion.unwrap_or_else(sine))),
        Kind::PulsedNoise(color) => hiss(color, Hissing::Pulse(envelope.unwrap_or_else(open))),
        Kind::ShiftedNoise(color) => hiss(color, Hissing::Shift(shift(motion, envelope))),
        Kind::Bell => {
            let strikes = strikes(sheet, sections, line, sheet.duration_ns.unwrap_or(FOREVER_NS));
            let strike = |(at_ns, piece): &(i64, Piece)| Strike {
                at: epoch + Span::from_ns(*at_ns),
                amplitude: piece.from.amplitude as f32,
            };
            Wave::Bell(strikes.iter().map(strike).collect())
        }
        Kind::Stem(place) | Kind::TurnedStem(place) | Kind::ShiftedStem(place) => {
            let need = &sheet.stems[place];
            let mut stem = Stem::new(stems.get(&need.name).map(Arc::clone), epoch, need.looped);
            match kind {
                Kind::ShiftedStem(_) => stem.shift_apart(shift(motion, envelope)),
                Kind::TurnedStem(_) => (stem.turned, stem.motion) = (true, motion),
                _ => stem.envelope = envelope,
            }
            Wave::Stem(Arc::new(stem))
        }
        Kind::Isochronic if plain => Wave::Isochronic,
        Kind::Isochronic => shaped(Ears::Both, envelope.or_else(|| Some(Arc::new(Envelope::standard())))),
        Kind::Monaural if line.beats => shaped(Ears::Sum, envelope),
        Kind::Binaural if line.beats && plain => Wave::Binaural { lead: line.lead },
        Kind::Binaural if line.beats => shaped(Ears::Lead(line.lead), envelope),
        // Two ears that never differ are a tone; in .sbg both are written alike.
        Kind::Binaural | Kind::Monaural | Kind::Tone if plain => Wave::Tone,
        Kind::Binaural | Kind::Monaural | Kind::Tone => shaped(Ears::Both, envelope),
    }
}

/// The frequency of the ear that does not lead.
fn reference(line: &Line, pieces: &[Piece], theta: &[Ramp]) -> Vec<Ramp> {
    let carrier = |piece: &Piece| piece.ramp(|tone| tone.carrier_hz);
    match (line.voice.kind, line.voice.lock) {
        (Kind::Binaural | Kind::Monaural, None) => {
            pieces.iter().map(|piece| piece.ramp(|tone| tone.carrier_hz - sign(line) * tone.beat_hz / 2.0)).collect()
        }
        // The beat follows the rhythm, so wherever that bends, so does the ear.
        (Kind::Binaural | Kind::Monaural, Some(n)) => pieces
            .iter()
            .flat_map(|piece| {
                let carrier = carrier(piece);
                let first = theta.partition_point(|ramp| ramp.end_ns <= piece.start_ns);
                theta[first..].iter().take_while(|ramp| ramp.start_ns < piece.end_ns).map(move |ramp| {
                    let (start_ns, end_ns) = (carrier.start_ns.max(ramp.start_ns), carrier.end_ns.min(ramp.end_ns));
                    let hz = |t| carrier.at(t) - f64::from(n) * ramp.at(t) / 2.0;
                    Ramp { start_ns, end_ns, from_hz: hz(start_ns), to_hz: hz(end_ns) }
                })
            })
            .collect(),
        _ => pieces.iter().map(carrier).collect(),
    }
}

/// `ramps` as an exact timeline that is at phase 0 at `epoch` and never jumps.
fn timeline(epoch: NodeTime, ramps: impl IntoIterator<Item = Ramp>) -> Rhythm {
    let mut ramps = ramps.into_iter().peekable();
    let first_hz = ramps.peek().map_or(0.0, |ramp| ramp.from_hz);
    let mut segments = vec![Segment::constant(epoch, Phase::ZERO, frequency(first_hz))];
    for ramp in ramps {
        let start = epoch + Span::from_ns(ramp.start_ns);
        let last = segments[segments.len() - 1];
        let (from, to) = (frequency(ramp.from_hz), frequency(ramp.to_hz));
        if ramp.is_flat() && last.ramp == Span::ZERO && last.frequency == from {
            continue;
        }
        let phase = last.phase_at(start);
        let segment = if ramp.is_flat() {
            Segment::constant(start, phase, from)
        } else {
            Segment::ramp(start, phase, from, to, Span::from_ns(ramp.end_ns - ramp.start_ns))
                .expect("a piece has a length")
        };
        if start == last.start {
            segments.pop();
        }
        segments.push(segment);
    }
    Rhythm::from_segments(segments).expect("pieces are in order")
}

fn frequency(hz: f64) -> Frequency {
    Frequency::from_hz(hz).expect("the readers bound every frequency")
}

/// The loudness through the ends of `pieces`: 0 before `epoch`, between them, and, if the score `ends` at the horizon,
/// from there on.
fn amplitude(epoch: NodeTime, pieces: &[Piece], gain: f64, horizon_ns: i64, ends: bool) -> Curve {
    let mut points = vec![(epoch, 0.0f32)];
    let mut push = |at_ns: i64, value: f64| {
        let point = (epoch + Span::from_ns(at_ns), (gain * value) as f32);
        match points.as_slice() {
            [.., last] if *last == point => return,
            // On a level stretch only its ends count.
            [.., before, last] if before.1 == point.1 && last.1 == point.1 => {
                points.pop();
            }
            _ => {}
        }
        points.push(point);
    };
    let mut until_ns = 0;
    for piece in pieces {
        if piece.start_ns > until_ns {
            push(until_ns, 0.0);
            push(piece.start_ns, 0.0);
        }
        push(piece.start_ns, piece.from.amplitude);
        push(piece.end_ns, piece.to.amplitude);
        until_ns = piece.end_ns;
    }
    if until_ns < horizon_ns || ends {
        push(until_ns, 0.0);
        push(horizon_ns, 0.0);
    }
    Curve::new(points)
}
