//! `.sbg` scores: the format's own formulas, written down a second time, against the compiled program.
use harmonia_core::phase::Phase;
use harmonia_core::program::{Beat, Channel, Ear, NoiseColor, Program, Wave, CHANNELS_MAX};
use harmonia_core::rhythm::Rhythm;
use harmonia_core::score::{Format, Score, ScoreError};
use harmonia_core::units::{NodeTime, Span};
use proptest::prelude::*;

const EPOCH: NodeTime = NodeTime::from_ns(1_234_567_890_123);
const DAY: Span = Span::from_s(86_400);
/// The RMS of the format's pink noise, √(1/300 + 9·2/900), relative to ours.
const PINK: f64 = 0.152_752_523 / 0.18;

fn sbg(text: &str) -> Score {
    Score::parse(text, "night.sbg", Format::Sbg).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refusal(text: &str) -> ScoreError {
    match Score::parse(text, "night.sbg", Format::Sbg) {
        Ok(_) => panic!("this should have been refused:\n{text}"),
        Err(error) => error,
    }
}

fn at(s: f64) -> NodeTime {
    EPOCH + Span::from_ns((s * 1e9) as i64)
}

fn beat_hz(program: &Program, channel: &Channel, t: NodeTime) -> f64 {
    match &channel.beat {
        Beat::Locked(n) => f64::from(*n) * program.rhythm.frequency_at(t).hz(),
        Beat::Free(rhythm) => rhythm.frequency_at(t).hz(),
    }
}

/// What the left and the right ear hear of a channel, in Hz.
fn ears(program: &Program, channel: &Channel, t: NodeTime) -> (f64, f64) {
    let (reference, beat) = (channel.carrier.frequency_at(t).hz(), beat_hz(program, channel, t));
    match channel.wave {
        Wave::Binaural { lead: Ear::Left } => (reference + beat, reference),
        Wave::Binaural { lead: Ear::Right } => (reference, reference + beat),
        _ => (reference, reference),
    }
}

fn loudness_pct(program: &Program, channel: usize, s: f64) -> f64 {
    f64::from(program.channels[channel].amplitude.at(at(s))) * 100.0
}

fn rhythms(program: &Program) -> Vec<&Rhythm> {
    let mut all = vec![&program.rhythm];
    for channel in &program.channels {
        all.push(&channel.carrier);
        if let Beat::Free(beat) = &channel.beat {
            all.push(beat);
        }
    }
    all
}

/// Everything that must hold of any program.
fn check(program: &Program) -> Result<(), TestCaseError> {
    prop_assert!(program.channels.len() <= CHANNELS_MAX);
    for rhythm in rhythms(program) {
        prop_assert_eq!(rhythm.phase_at(program.epoch), Phase::ZERO);
        for pair in rhythm.segments().windows(2) {
            prop_assert_eq!(pair[0].phase_at(pair[1].start), pair[1].phase, "a phase jumps at {:?}", pair[1].start);
        }
    }
    for channel in &program.channels {
        for (t, amplitude) in channel.amplitude.points() {
            let most = if matches!(channel.wave, Wave::Noise(_) | Wave::Spin(_)) { 3.21 } else { 1.0 };
            prop_assert!((0.0..=most).contains(amplitude), "{amplitude} at {t:?}");
        }
        prop_assert_eq!(channel.amplitude.at(program.epoch - Span::from_ns(1)), 0.0);
        if let Some(duration) = program.duration {
            prop_assert_eq!(channel.amplitude.at(program.epoch + duration), 0.0);
        }
    }
    Ok(())
}

// ---- a score as data, its text, and its sound by the format's definition ----

#[derive(Clone, Copy, PartialEq, Debug)]
struct Sound {
    carrier: f64,
    beat: f64,
    amplitude: f64,
}

#[derive(Clone, Debug)]
struct Line {
    gap_s: i64,
    fade: (char, char),
    set: usize,
    slide: bool,
}

#[derive(Clone, Debug)]
struct Night {
    /// For each tone-set: a binaural tone, an isochronic tone, pink noise.
    sets: Vec<[Option<Sound>; 3]>,
    lines: Vec<Line>,
}

impl Night {
    fn text(&self) -> String {
        let mut text = String::from("## A night that nobody wrote\n-S\n");
        for (i, set) in self.sets.iter().enumerate() {
            text += &format!("set{i}:");
            for (slot, sound) in set.iter().enumerate() {
                text += &match (slot, sound) {
                    (_, None) => " -".to_string(),
                    (0, Some(s)) => format!(" {}{:+}/{}", s.carrier, s.beat, s.amplitude),
                    (1, Some(s)) => format!(" {}@{}/{}", s.carrier, s.beat, s.amplitude),
                    (_, Some(s)) => format!(" pink/{}", s.amplitude),
                };
            }
            text += "\n";
        }
        for (line, start) in self.lines.iter().zip(self.starts()) {
            let arrow = if line.slide { " ->" } else { "" };
            let (h, m, s) = (start / 3600, start / 60 % 60, start % 60);
            text += &format!("{h}:{m:02}:{s:02} {}{} set{}{arrow}\n", line.fade.0, line.fade.1, line.set);
        }
        text
    }

    fn starts(&self) -> Vec<i64> {
        self.lines.iter().scan(0, |t, line| Some(std::mem::replace(t, *t + line.gap_s))).collect()
    }

    /// What the format says of one slot at `t` seconds, while every tone-set has room for its fades.
    fn sound(&self, slot: usize, t: f64) -> Option<Sound> {
        let starts = self.starts();
        for (i, line) in self.lines.iter().enumerate().take(self.lines.len() - 1) {
            let next = &self.lines[i + 1];
            let (here, there) = (starts[i] as f64, starts[i + 1] as f64);
            let (from, to) =
                if line.slide { (here, there) } else { (there - 30.0, there + if next.slide { 0.0 } else { 30.0 }) };
            let before = self.sets[line.set][slot];
            if t < from {
                return before;
            }
            if t <= to {
                return blend(slot, before, self.sets[next.set][slot], line, next, (t - from) / (to - from));
            }
        }
        self.sets[self.lines[self.lines.len() - 1].set][slot]
    }
}

fn blend(slot: usize, a: Option<Sound>, b: Option<Sound>, line: &Line, next: &Line, u: f64) -> Option<Sound> {
    let mix = |a: f64, b: f64, u: f64| a + (b - a) * u;
    let quiet = |s: Sound, share: f64| Some(Sound { amplitude: s.amplitude * share, ..s });
    let (silence, careful) = (line.fade.1 == '>' || next.fade.0 == '<', line.fade.1 == '-' || next.fade.0 == '-');
    match (a, b) {
        (Some(a), Some(b)) => {
            let same = slot == 2 || (a.carrier == b.carrier && a.beat == b.beat);
            if line.slide || (!silence && (same || !careful)) {
                return Some(Sound {
                    carrier: mix(a.carrier, b.carrier, u),
                    beat: mix(a.beat, b.beat, u),
                    amplitude: mix(a.amplitude, b.amplitude, u),
                });
            }
            if u < 0.5 {
                quiet(a, 1.0 - 2.0 * u)
            } else {
                quiet(b, 2.0 * u - 1.0)
            }
        }
        (Some(a), None) if line.slide => quiet(a, 1.0 - u),
        (None, Some(b)) if line.slide => quiet(b, u),
        (Some(a), None) => quiet(a, (1.0 - 2.0 * u).max(0.0)),
        (None, Some(b)) => quiet(b, (2.0 * u - 1.0).max(0.0)),
        (None, None) => None,
    }
}

prop_compose! {
    /// Frequencies from a small choice, so that equal pitches, multiples and changes of sign all happen.
    fn sound(slot: usize)(carrier in 1u32..40, beat in 1u32..9, negative: bool, amplitude in 0u32..=100) -> Sound {
        let beat = f64::from(beat) * if negative && slot == 0 { -1.5 } else { 1.5 };
        if slot == 2 {
            return Sound { carrier: 0.0, beat: 0.0, amplitude: f64::from(amplitude) };
        }
        Sound { carrier: f64::from(carrier) * 25.0, beat, amplitude: f64::from(amplitude) }
    }
}

prop_compose! {
    fn line(sets: usize)(
        gap_s in 60i64..4000, fade_in in prop::sample::select(vec!['<', '-', '=']),
        fade_out in prop::sample::select(vec!['>', '-', '=']), set in 0..sets, slide: bool,
    ) -> Line {
        Line { gap_s, fade: (fade_in, fade_out), set, slide }
    }
}

fn night() -> impl Strategy<Value = Night> {
    let full = (sound(0), sound(1), sound(2)).prop_map(|(a, b, c)| [Some(a), Some(b), Some(c)]);
    let partial = (prop::option::of(sound(0)), prop::option::of(sound(1)), prop::option::of(sound(2)))
        .prop_map(|(a, b, c)| [a, b, c]);
    (full, prop::collection::vec(partial, 1..4))
        .prop_flat_map(|(first, rest)| {
            let sets: Vec<_> = std::iter::once(first).chain(rest).collect();
            let lines = prop::collection::vec(line(sets.len()), 2..10);
            (Just(sets), lines)
        })
        .prop_map(|(sets, mut lines)| {
            lines[0].set = 0;
            Night { sets, lines }
        })
}

proptest! {
    #[test]
    fn every_ear_hears_what_the_format_says(night in night(), shares in prop::collection::vec(0.0f64..1.0, 24)) {
        let score = sbg(&night.text());
        let program = score.program(EPOCH, DAY);
        check(&program)?;
        prop_assert_eq!(program.channels.len(), 3);
        let starts = night.starts();
        // Not the fade-in from the last tone-set of the day before, of which the formula above knows nothing.
        // Nor the way back to the first line, on which a last line with -> sets out at once.
        let last_s = starts[starts.len() - 1] as f64;
        let (begin, end) = (30.0, if night.lines[night.lines.len() - 1].slide { last_s } else { last_s + 40.0 });
        for share in shares {
            let t = begin + (end - begin) * share;
            for (slot, channel) in program.channels.iter().enumerate() {
                let expected = night.sound(slot, t).filter(|sound| sound.amplitude > 1e-6);
                let gain = if slot == 2 { PINK } else { 1.0 };
                let heard = f64::from(channel.amplitude.at(at(t))) * 100.0 / gain;
                prop_assert!((heard - expected.map_or(0.0, |s| s.amplitude)).abs() < 1e-3,
                    "slot {slot} at {t}: {heard} {expected:?}\n{}", night.text());
                let Some(sound) = expected.filter(|_| slot < 2) else { continue };
                let half = if slot == 0 { sound.beat / 2.0 } else { 0.0 };
                let (left, right) = ears(&program, channel, at(t));
                prop_assert!((left - sound.carrier - half).abs() < 1e-5, "left {left} at {t}: {sound:?}");
                prop_assert!((right - sound.carrier + half).abs() < 1e-5, "right {right} at {t}: {sound:?}");
                if slot == 1 {
                    prop_assert!((beat_hz(&program, channel, at(t)) - sound.beat).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn a_longer_horizon_changes_nothing_that_was_there(night in night(), share in 0.0f64..1.0) {
        let score = sbg(&night.text());
        let (short, long) = (score.program(EPOCH, Span::from_s(5000)), score.program(EPOCH, Span::from_s(200_000)));
        let t = at(5000.0 * share);
        prop_assert_eq!(short.rhythm.phase_at(t), long.rhythm.phase_at(t));
        prop_assert_eq!(score.rhythm(EPOCH).phase_at(t), long.rhythm.phase_at(t));
        for (a, b) in short.channels.iter().zip(&long.channels) {
            prop_assert_eq!(a.carrier.phase_at(t), b.carrier.phase_at(t));
            prop_assert_eq!(a.beat.multiple(), b.beat.multiple());
            prop_assert!((a.amplitude.at(t) - b.amplitude.at(t)).abs() < 1e-5);
        }
    }

    #[test]
    fn a_day_later_it_sounds_the_same(night in night(), share in 0.0f64..1.0) {
        let program = sbg(&night.text()).program(EPOCH, DAY + DAY);
        let t = at(86_400.0 * share);
        for channel in &program.channels {
            let (today, tomorrow) = (channel.amplitude.at(t), channel.amplitude.at(t + DAY));
            prop_assert!((today - tomorrow).abs() < 1e-5, "{today} {tomorrow}");
            if today > 1e-5 {
                let ((left, right), (left1, right1)) = (ears(&program, channel, t), ears(&program, channel, t + DAY));
                prop_assert!((left - left1).abs() < 1e-6 && (right - right1).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_summary_says_what_the_program_does(night in night()) {
        let score = sbg(&night.text());
        let summary = score.summary();
        prop_assert_eq!(&summary["name"], "night.sbg");
        prop_assert_eq!(&summary["format"], "sbg");
        prop_assert_eq!(summary["channels_max"].as_u64().unwrap() as usize, score.channels());
        prop_assert!(summary["duration_s"].is_null() && score.duration().is_none());
        let rhythm_hz = score.rhythm(EPOCH).frequency_at(EPOCH).hz();
        prop_assert!((summary["rhythm_hz"].as_f64().unwrap() - rhythm_hz).abs() < 1e-9);
        prop_assert_eq!(summary["tone_sets"].as_array().unwrap().len(), night.sets.len());
        for (value, set) in summary["tone_sets"].as_array().unwrap().iter().zip(&night.sets) {
            prop_assert_eq!(value["channels"].as_array().unwrap().len(), set.iter().flatten().count());
        }
        let times: Vec<f64> =
            summary["timeline"].as_array().unwrap().iter().map(|line| line["at_s"].as_f64().unwrap()).collect();
        prop_assert_eq!(times, night.starts().iter().map(|s| *s as f64).collect::<Vec<_>>());
        // A lock is claimed exactly where the program has one.
        let program = score.program(EPOCH, DAY);
        for (slot, channel) in program.channels.iter().enumerate().take(2) {
            let claimed = summary["tone_sets"][0]["channels"][slot]["locked"].as_u64();
            let locked = match channel.beat { Beat::Locked(n) => Some(u64::from(n)), Beat::Free(_) => None };
            prop_assert_eq!(claimed, locked);
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number(night in night(), place: prop::sample::Index, bad in prop::sample::select(vec![
        "0:00:60 set0", "bad: 200+4", "bad: 200+4/101", "bad: 200+nan/5", "bad: 30000/5", "0:00 nobody",
        "0:00 =! set0", "0:00 set0 -> set1", "+bad", "bad: bell+500", "bad: 200@0/5", "}", "wave00: 1", "-q 4",
    ])) {
        let text = night.text();
        let mut lines: Vec<&str> = text.lines().collect();
        // Below the definitions: above them, a name may be missing for another reason.
        let definitions = 2 + night.sets.len();
        let place = definitions + place.index(lines.len() - definitions + 1);
        lines.insert(place, bad);
        let error = refusal(&lines.join("\n"));
        prop_assert_eq!(error.line, place + 1, "{}", error);
        prop_assert_eq!(error.to_string(), format!("night.sbg:{}: {}", place + 1, error.reason));
    }

    #[test]
    fn no_text_whatever_makes_it_panic(text in ".{0,200}") {
        for format in [Format::Sbg, Format::Toml] {
            let _ = Score::parse(&text, "x", format);
        }
    }

    #[test]
    fn no_soup_of_its_own_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "\n", "\n", "\n", "a:", "b:", "{", "}", "a", "b", "-", "NOW", "0:00", "+0:01", "23:59:59", "NOW+1:00+23:00",
        "->", "==", "<>", "--", "200+4/20", "100-1e3/5", "0@0/0", "pink/10", "#", "##", "-SE", "-T", "-L", "-F", "1e9",
        "é", " ", "spin:300+4/20", "bell+500/20", "mix/60", "mixam:beat", "mixspin:300+3/35", "square:", "wave00:",
        "custom00:", "e=2", "-p", "drop", "slide", "sigmoid", "00ds+^", "00l:S=8", "t30,30,3", "-i", "-m", "-A", "-I",
        "d=0.4:e=0", "solve", "A:", "A=b0", "beat", "ramp(m,0,D)", "-q",
        "step", "linear", "<>", "spin00:", "noise00:", "noise00/20", "noisebeat:4/20", "noisepulse:4/20", "mixbeat:4/20",
        "9:", ":", "::", "+", "/", "@", "1e308/1", "-0+-0/0", "=", "param",
    ]), 0..60)) {
        let text = words.join(" ");
        if let Ok(score) = Score::parse(&text, "x", Format::Sbg) {
            check(&score.program(EPOCH, DAY))?;
            score.summary();
        }
    }

    #[test]
    fn no_damage_to_a_score_makes_it_panic(cut: prop::sample::Index, len in 0usize..12,
        put in "[-+=<>{}:/@0-9a-z\\[\\]\" \n]{0,4}") {
        let sbg = include_str!("../../../examples/scores/first-night.sbg");
        let toml = include_str!("../../../examples/scores/first-night.toml");
        let rain = include_str!("../../../examples/scores/rain.toml");
        let family = "-SEq 2 -I s=0.1:d=0.4:e=1 -H f=0.2 -m river.flac -V 90\nwave00: 0 1 3 1\ncustom01: e=2 0 1 0.5\n\
            a: wave00:200+4/20 custom01:300@2/10 square:100M3/5 spin:300-2/30 bell+800/10 mix/50 mixam:2:m=pulse\n\
            b: wave00:210+3/20 custom01:310@3/10 square:90M4/5 spin:200+2/20 bell+900/10 mix/70 mixam:4\n\
            c: - - white/3 brown/3 pink/4 mix/10 mixpulse:3/40 mixspin:200+1/30\n\
            0:00 == a ->\n0:01 == b\n+0:02 <> c\n0:05 -- a\n";
        let session = "-A d=0.2:k=5 -m x.wav -p drop t20,10,2 01.5es+^@/2:S=9 mix/60 mixam:beat pink/3\n";
        let curve = "param l = 9s\nsolve A,C : A+C=b0 ; A*exp(-l*D)+C=b1\nbeat<20 = A*exp(-l*m)+C\nbeat>=20 = b1\namp = a0*2\n";
        let all = [
            (sbg, Format::Sbg), (toml, Format::Toml), (rain, Format::Toml), (family, Format::Sbg), (session, Format::Sbg),
            (curve, Format::Sbg),
        ];
        for (text, format) in all {
            let from = cut.index(text.len());
            let to = (from + len).min(text.len());
            let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
            match Score::parse(&damaged, "x", format) {
                Ok(score) => {
                    check(&score.program(EPOCH, DAY))?;
                    score.summary();
                }
                Err(error) => prop_assert!(error.line >= 1 && error.line <= damaged.lines().count().max(1) + 1),
            }
        }
    }
}

// ---- tables ----

/// One tone fading between two lines; the loudness that the format gives at some seconds after the first line.
#[test]
fn fades_take_their_time_and_place() {
    let cases: &[(&str, &[(f64, f64)])] = &[
        // A minute, centred on the change, through silence.
        (
            "a: 200+4/40\nb: 300+5/20\n0:00 a\n0:10 b",
            &[(569.0, 40.0), (585.0, 20.0), (600.0, 0.0), (615.0, 10.0), (631.0, 20.0)],
        ),
        // The same pitch stays and only changes its loudness.
        ("a: 200+4/40\nb: 200+4/20\n0:00 a\n0:10 b", &[(570.0, 40.0), (600.0, 30.0), (630.0, 20.0)]),
        // … unless one of the two wants silence.
        ("a: 200+4/40\nb: 200+4/20\n0:00 -> a\n0:10 b", &[(585.0, 20.0), (600.0, 0.0), (615.0, 10.0)]),
        ("a: 200+4/40\nb: 200+4/20\n0:00 -> a\n0:10 <- b", &[(600.0, 0.0)]),
        ("a: 200+4/40\nb: 200+4/20\n0:00 a\n0:10 <- b", &[(585.0, 20.0), (600.0, 0.0), (615.0, 10.0)]),
        ("a: 200+4/40\nb: 200+4/20\n0:00 => a\n0:10 == b", &[(585.0, 20.0), (600.0, 0.0), (615.0, 10.0)]),
        // Both must want to slide.
        ("a: 200+4/40\nb: 300+5/20\n0:00 == a\n0:10 == b", &[(570.0, 40.0), (600.0, 30.0), (630.0, 20.0)]),
        ("a: 200+4/40\nb: 300+5/20\n0:00 == a\n0:10 -= b", &[(600.0, 0.0)]),
        // What ends fades in the first half and is silent in the second; noise keeps on.
        ("a: 200+4/40\noff: -\n0:00 a\n0:10 off", &[(585.0, 20.0), (600.0, 0.0), (620.0, 0.0)]),
        ("a: pink/40\nb: pink/20\n0:00 a\n0:10 b", &[(600.0, 30.0 * PINK)]),
        // Spinning noise has no pitch that could differ.
        ("a: spin:100+1/40\nb: spin:300+4/20\n0:00 a\n0:10 b", &[(600.0, 30.0 * PINK)]),
        // -> takes all of the time, also for what begins or ends.
        ("a: 200+4/40\noff: -\n0:00 a ->\n0:10 off", &[(60.0, 36.0), (300.0, 20.0), (540.0, 4.0)]),
        ("a: 200+4/40\nb: 300@5/20\n0:00 a ->\n0:10 b", &[(150.0, 20.0), (300.0, 0.0)]),
        // -F is the whole fade in milliseconds; 0 is a cut.
        ("-F 10000\na: 200+4/40\noff: -\n0:00 a\n0:10 off", &[(594.0, 40.0), (597.5, 20.0), (600.0, 0.0)]),
        ("-F 0\na: 200+4/40\noff: -\n0:00 a\n0:10 off", &[(599.999, 40.0), (600.0, 0.0)]),
        // Before a -> the fade may not reach into it: only its first 30 s are there.
        (
            "a: 200+4/40\nb: 300+4/20\n0:00 a\n0:10 b ->\n0:20 b",
            &[(570.0, 40.0), (577.5, 20.0), (585.0, 0.0), (592.5, 10.0), (600.0, 20.0)],
        ),
        // A tone-set of 20 s gives all of them to the fade that leads to it; the next begins at its end.
        (
            "a: 200+4/40\nb: 300+4/20\nc: 200+4/40\n0:00 a\n0:10:00 b\n0:10:20 c",
            &[(570.0, 40.0), (595.0, 0.0), (620.0, 20.0), (627.5, 10.0), (635.0, 0.0), (642.5, 20.0), (650.0, 40.0)],
        ),
    ];
    for (text, expected) in cases {
        let program = sbg(text).program(EPOCH, DAY);
        for (s, pct) in *expected {
            // Slot 1 may be two channels (a tone and a pulse): together they are what is heard of it.
            let heard: f64 = (0..program.channels.len()).map(|i| loudness_pct(&program, i, *s)).sum();
            assert!((heard - pct).abs() < 1e-3, "{heard} instead of {pct} at {s} s of\n{text}");
        }
    }
}

#[test]
fn times_mean_what_the_format_says() {
    let times = |lines: &str| -> Vec<f64> {
        let summary =
            sbg(&format!("a: 200+4/10\nb: {{\n+0:00 a\n+0:05 a\n}}\nc: {{\n+0:00 b\n+1:00 b\n}}\n{lines}")).summary();
        summary["timeline"].as_array().unwrap().iter().map(|line| line["at_s"].as_f64().unwrap()).collect()
    };
    let cases: &[(&str, &[f64])] = &[
        ("22:00 a\n23:30:15 a\n6:00 a", &[0.0, 5415.0, 28_800.0]),
        ("NOW a\n+0:10 a\n+0:20:30 a", &[0.0, 600.0, 1230.0]),
        // What counts from NOW counts from the beginning.
        ("NOW+1:00 a\n+1:30 a", &[3600.0, 5400.0]),
        ("NOW+20:33:00 a\n+20:34 a", &[73_980.0, 74_040.0]),
        ("NOW a\nNOW+4:00+1:12:04 a", &[0.0, 18_724.0]),
        ("12:00+00:00:20 a\n+1:00 a", &[0.0, 3580.0]),
        ("1:00 b\n2:00 b", &[0.0, 300.0, 3600.0, 3900.0]),
        ("NOW c", &[0.0, 300.0, 3600.0, 3900.0]),
        ("NOW a\n+2:00 c", &[0.0, 7200.0, 7500.0, 10_800.0, 11_100.0]),
    ];
    for (lines, expected) in cases {
        assert_eq!(times(lines), *expected, "{lines}");
    }
}

#[test]
fn options_say_where_it_begins_and_ends() {
    let tail = "a: 200+4/10\nb: 300+6/10\n22:00 a\n23:00 b\n";
    let cases = [
        ("", 79_200.0, None),
        ("-S", 79_200.0, None),
        ("-SE", 79_200.0, Some(3600)),
        ("-E -Q -r 8000 -b 8 -o x.raw -W", 79_200.0, Some(3600)),
        ("-SEQo out.wav", 79_200.0, Some(3600)),
        ("-T 22:30", 81_000.0, None),
        ("-T 22:30 -E", 81_000.0, Some(1800)),
        ("-L 8:00", 79_200.0, Some(28_800)),
        ("-T 2:00 -L 0:00:30", 7200.0, Some(30)),
        // The end is tomorrow's, and for more than the length.
        ("-T 23:30 -EL 1:00", 84_600.0, Some(84_600)),
    ];
    for (options, start_s, duration_s) in cases {
        let score = sbg(&format!("{options}\n{tail}"));
        assert_eq!(score.start_s(), start_s, "{options}");
        assert_eq!(score.duration(), duration_s.map(Span::from_s), "{options}");
    }
    // In the middle of an hour of 22:00 → 23:00 with a slide, 22:30 sounds half-way.
    let program = sbg("-T 22:30\na: 200+4/10\nb: 300+6/20\n22:00 a ->\n23:00 b\n").program(EPOCH, DAY);
    let (left, right) = ears(&program, &program.channels[0], EPOCH);
    assert!((left - 252.5).abs() < 1e-9 && (right - 247.5).abs() < 1e-9, "{left} {right}");
    assert!((loudness_pct(&program, 0, 0.0) - 15.0).abs() < 1e-4);
    // A single line that begins and ends at once has no end, as in the original.
    assert_eq!(sbg("-SE\na: 200+4/10\n0:00 a").duration(), None);
}

#[test]
fn a_score_begins_in_the_middle_of_the_fade_from_its_last_line() {
    let program = sbg("a: 200+4/40\noff: -\n0:00 a\n1:00 off").program(EPOCH, DAY);
    for (s, pct) in [(0.0, 0.0), (15.0, 20.0), (30.0, 40.0)] {
        assert!((loudness_pct(&program, 0, s) - pct).abs() < 1e-3, "at {s}");
    }
}

#[test]
fn waves_ears_and_locks_come_from_the_words() {
    let score = sbg("t: 100+4/10 200-8/10 150/5 300@12/10 400+4.1/3 pink/1 white/2 brown/3 - sine:90+6/2\n0:00 t");
    let program = score.program(EPOCH, DAY);
    let waves: Vec<Wave> = program.channels.iter().map(|channel| channel.wave.clone()).collect();
    assert_eq!(
        waves,
        [
            Wave::Binaural { lead: Ear::Left },
            Wave::Binaural { lead: Ear::Right },
            Wave::Tone,
            Wave::Isochronic,
            Wave::Binaural { lead: Ear::Left },
            Wave::Noise(NoiseColor::Pink),
            Wave::Noise(NoiseColor::White),
            Wave::Noise(NoiseColor::Brown),
            Wave::Binaural { lead: Ear::Left },
        ]
    );
    let locks: Vec<Option<u32>> = program
        .channels
        .iter()
        .map(|channel| if let Beat::Locked(n) = channel.beat { Some(n) } else { None })
        .collect();
    // 6 Hz is no multiple of 4 Hz, nor is 4.1.
    assert_eq!(locks, [Some(1), Some(2), None, Some(3), None, None, None, None, None]);
    let heard: Vec<(f64, f64)> = [0, 1, 2, 3].map(|i| ears(&program, &program.channels[i], at(10.0))).into();
    for ((left, right), (l, r)) in
        heard.into_iter().zip([(102.0, 98.0), (196.0, 204.0), (150.0, 150.0), (300.0, 300.0)])
    {
        assert!((left - l).abs() < 1e-9 && (right - r).abs() < 1e-9, "{left} {right}, not {l} {r}");
    }
    assert_eq!(program.rhythm.frequency_at(EPOCH).hz(), 4.0);
}

#[test]
fn a_lock_must_hold_in_every_tone_set_and_through_every_slide() {
    let lock = |text: &str| sbg(text).program(EPOCH, DAY).channels[1].beat.clone();
    let twice = "a: 100+4/9 200+8/9\nb: 100+3/9 200+6/9\n";
    assert_eq!(lock(&format!("{twice}0:00 == a ->\n1:00 == b")), Beat::Locked(2));
    assert_eq!(lock(&format!("{twice}0:00 a\n1:00 b")), Beat::Locked(2));
    // In one tone-set twice, in the other three times the rhythm: free.
    let changing = "a: 100+4/9 200+8/9\nb: 100+3/9 200+9/9\n0:00 a\n1:00 b";
    assert!(matches!(lock(changing), Beat::Free(_)));
    // The ears change places, the rhythm does not: free.
    let swapped = "a: 100+4/9 200+8/9\nb: 100+4/9 200-8/9\n0:00 a\n1:00 b";
    assert!(matches!(lock(swapped), Beat::Free(_)));
    // Nearly is not exactly.
    assert!(matches!(lock("a: 100+4/9 200+8.00001/9\n0:00 a"), Beat::Free(_)));
}

#[test]
fn the_rhythm_is_the_first_beat_and_is_held_through_silence() {
    let hz = |text: &str, s: f64| sbg(text).rhythm(EPOCH).frequency_at(at(s)).hz();
    let text = "-F 0\noff: -\na: 90/5 pink/3 100+4/9\nb: - - 100-3/9\nc: 200@7/5\n";
    assert_eq!(hz(&format!("{text}0:00 off\n1:00 a\n2:00 off\n3:00 c"), 10.0), 4.0);
    assert_eq!(hz(&format!("{text}0:00 off\n1:00 a\n2:00 off\n3:00 c"), 9000.0), 4.0);
    assert_eq!(hz(&format!("{text}0:00 c\n1:00 a\n"), 4000.0), 7.0);
    // The first beat's ears are the rhythm's: where they change places, it runs backwards.
    assert_eq!(hz(&format!("{text}0:00 a\n1:00 b\n"), 4000.0), -3.0);
    assert!((hz(&format!("{text}0:00 a ->\n1:00 b\n"), 1800.0) - 0.5).abs() < 1e-9);
    // Nothing beats.
    assert_eq!(hz("a: 100/5 pink/3\n0:00 a", 0.0), 0.1);
}

#[test]
fn refusals_name_the_line_and_the_reason() {
    let kinds: String = (0..5)
        .map(|i| {
            let tones = ["100/1", "100@4/1", "pink/1", "white/1", "brown/1"][i];
            format!("s{i}: {}\n", [tones; 13].join(" "))
        })
        .collect();
    let each_a_channel = format!("{kinds}0:00 s0\n1:00 s1\n2:00 s2\n3:00 s3\n4:00 s4");
    let loud = format!("noise00:{}", " 25".repeat(32));
    let deep = "a: {\n+0:00 b\n}\nb: {\n+0:00 a\n}\n0:00 a";
    let wide: String = (0..32).map(|i| format!("b{}: {{\n+0:00 b{i}\n+0:00 b{i}\n}}\n", i + 1)).collect();
    let wide = format!("b0: 100/1\n{wide}0:00 b31");
    let cases: &[(&str, usize, &str)] = &[
        ("", 1, "no time line"),
        ("a: 100/1\n\n# only a comment", 3, "no time line"),
        ("a: 100/1\n-SE\n0:00 a", 2, "before the first"),
        ("-p nap 00d", 1, "-p nap is not known"),
        ("-p drop", 1, "level and a depth"),
        ("-p drop 00z", 1, "a letter from a to l"),
        ("-p drop 00d!", 1, "\"!\" was not expected"),
        ("-p drop 00d:q=1", 1, "has no \"q\""),
        ("-p drop t1,2 00d", 1, "t30,30,3"),
        ("-p drop 150d", 1, "0 to 20000 Hz"),
        ("-p drop 00d mixam:beat", 1, "mix/AMPLITUDE"),
        ("-p sigmoid 00ds:l=0", 1, "flat"),
        ("-p slide pink/10", 1, "a tone with a beat"),
        ("-p curve x.sbgf 00ls", 1, "play that .sbgf file"),
        ("-p drop 00d\na: 100/1\n", 2, "says all"),
        ("-T 1:00 -p drop 00d", 1, "remove -T"),
        ("-i", 1, "needs tones"),
        ("-c 80=1", 1, "headphones"),
        ("-q fast", 1, "whole number"),
        ("-V 101", 1, "volume"),
        ("-w round", 1, "sawtooth"),
        ("-I d=2", 1, "from 0 to 1"),
        ("-I a=0.7:r=0.7", 1, "together"),
        ("-A k=0", 1, "k must be"),
        ("-G", 1, "picture"),
        ("--graph-video x.mp4", 1, "--graph-video"),
        ("-Y", 1, "option -Y"),
        ("-T 25:00", 1, "not a time"),
        ("-T", 1, "-T needs"),
        ("-L 0:00", 1, "plays nothing"),
        ("-F soon", 1, "milliseconds"),
        ("-S now", 1, "\"now\""),
        ("a: 100/1\n0:00 a\nb: spin:300/20\n", 3, "not a tone"),
        ("a: spin:300000+1/20\n", 1, "a width must"),
        ("a: mix/101\n", 1, "0 to 100"),
        ("a: mixspin:300+3/35\n", 1, "mix/AMPLITUDE"),
        ("a: mixbeat:6/45\n", 1, "mix/AMPLITUDE"),
        ("a: mix/50 mixbeat:6+1/45\n", 1, "not a tone"),
        ("a: mix/50 mixbeat:6/145\n", 1, "0 to 100"),
        ("a: noise00/20\n", 1, "noise00 is not defined"),
        ("noise00: 1 2 3\n", 1, "needs 32 levels"),
        (&loud, 1, "each from -24 to 24"),
        ("a: noise00:200+4/20\n", 1, "noiseNN is for noise"),
        ("a: noise00:bspin:200+4/20\n", 1, "says the colour"),
        ("a: noise00:noise01:spin:200+4/20\n", 1, "two spectra"),
        ("a: noisebeat:0/20\n", 1, "above 0 Hz"),
        ("spin00: 0 0\n", 1, "not 0"),
        ("a: spin00:200+4/20\n", 1, "spinNN is for what spins"),
        ("a: mix/50 spin00:mixpulse:3/20\n", 1, "spinNN is for what spins"),
        ("custom00: 0 1\na: custom00:spin:300+1/2\n", 2, "customNN is for"),
        ("a: mix/50 mixam:0\n", 1, "above 0 Hz"),
        ("a: mix/50 mixam:beat\n", 1, "there is none"),
        ("a: mix/50 mixam:8 mixpulse:4/20\n", 1, "stands alone"),
        ("a: wave01:100+4/2\n", 1, "wave01 is not defined"),
        ("wave01: 0 1 0\na: wave01:100@4/2\n", 2, "waveNN is for binaural"),
        ("custom00: 0 1\na: custom00:pink/2\n", 2, "takes no shape"),
        ("custom00: 0 0\n", 1, "one above 0"),
        ("custom00: e=4 0 1\n", 1, "e must be"),
        ("custom00: 0 1\ncustom00: 0 1\n", 2, "defined twice"),
        ("wave00: 1 1\n", 1, "two samples that differ"),
        ("wave00: 1\n", 1, "needs 2 to"),
        ("wave00: 1 x\n", 1, "not with \"x\""),
        ("a: square:triangle:100+4/2\n", 1, "two shapes"),
        ("a: square:bell+100/2\n", 1, "another shape"),
        ("a: 440~10/20\n", 1, "modulated"),
        ("a: bell+100/1000\n", 1, "0 to 100"),
        ("a: 100+4/200\n", 1, "0 to 100"),
        ("a: 100+4/-1\n", 1, "0 to 100"),
        ("a: -100+4/1\n", 1, "0 to 20000 Hz"),
        ("a: 100+2000/1\n", 1, "at most 1000 Hz"),
        ("a: 100@-4/1\n", 1, "above 0 Hz"),
        ("a: 1e999/1\n", 1, "not a tone"),
        ("a: inf/1\n", 1, "not a tone"),
        ("a: 0x10/1\n", 1, "not a tone"),
        ("a:100/1\n", 1, "space after the colon"),
        ("a: 100/1\n0:00 b", 2, "\"b\""),
        ("0:00 a\na: 100/1", 1, "\"a\""),
        ("a: 100/1\n+0:10 a", 2, "relative"),
        ("a: 100/1\n0:00", 2, "names no tone-set"),
        ("a: 100/1\n0:00 a b", 2, "one word too many"),
        ("a: 100/1\n0:00 <- a -> b", 2, "one word too many"),
        ("a: 100/1\n0:00 a == ==", 2, "one word too many"),
        ("a: 100/1\n0:00 a step b", 2, "one word too many"),
        ("a: 100/1\n0:00 <=> a", 2, "a fade is"),
        ("a: 100/1\n0:00 200+4 step", 2, "is called \"200+4\""),
        ("a: 100/1\n0:00 200+4/x step", 2, "not a tone"),
        ("a: 100/1\nb: {\n+0:00 a\n}\n0:00 b ==", 5, "takes no fade"),
        ("a: 100/1\n0:60 a", 2, "not a time"),
        ("a: 100/1\n24:00 a", 2, "not a time"),
        ("a: 100/1\n1:00 a\n3:00 a\n2:00 a", 4, "out of order"),
        ("a: 100/1\nNOW a\n22:00 a", 3, "-T 22:00"),
        ("a: 100/1\nb: {\n0:00 a\n}", 3, "relative time"),
        ("a: 100/1\nb: {\n}", 3, "empty"),
        ("a: 100/1\nb: {\n+0:00 a\n", 2, "never closed"),
        ("a: 100/1\nb: {\n+0:00 c\n}\n0:00 b", 3, "\"c\""),
        ("a: 100/1\nb: {\n+0:00 a\n}\n0:00 == b", 5, "takes no fade"),
        ("a: 100/1\nbeat = 4\n", 2, "file of their own"),
        ("carrier = 200\n", 1, "a line for its beat"),
        ("beat = 4\nbeat = 5\n", 2, "drawn twice"),
        ("beat = nobody\n", 1, "\"nobody\" is not known"),
        ("beat = 4\ncarrier = 200 + 1e6*m\n", 2, "carrier must be"),
        ("beat = ln(-1)\n", 1, "no number"),
        ("param m = 4\nbeat = 4\n", 1, "taken"),
        ("param l = x\nbeat = 4\n", 1, "param l = 0.125"),
        ("solve A,C : A+C=b0\nbeat = A\n", 1, "2 unknowns and 1 equations"),
        ("solve A : 0*A=1\nbeat = A\n", 1, "no single solution"),
        ("solve A A=1\nbeat = A\n", 1, "colon"),
        ("solve A : A\nbeat = A\n", 1, "no equation"),
        ("beat = 200*sin(1e6*m)\n", 1, "calmer"),
        (&each_a_channel, 5, "channel 65"),
        (deep, 5, "call itself"),
        (&wide, 3, "10000 time lines"),
    ];
    for (text, line, says) in cases {
        let error = refusal(text);
        let shown: String = text.chars().take(200).collect();
        let right = error.line == *line && error.reason.contains(says);
        assert!(right, "{error}\nshould be {line}: …{says}… of\n{shown}");
        assert_eq!(error.column, None);
        assert!(!error.reason.contains('\n'));
    }
}

#[test]
fn sixty_four_channels_play() {
    let kinds = ["100/1", "100@4/1", "pink/1", "100M4/1"];
    let sets: String = (0..4).map(|i| format!("s{i}:{}\n", format!(" {}", kinds[i]).repeat(16))).collect();
    assert_eq!(sbg(&format!("{sets}0:00 s0\n1:00 s1\n2:00 s2\n3:00 s3")).channels(), 64);
}

#[test]
fn sixteen_words_count_and_the_rest_is_noted() {
    let tones: Vec<String> = (1..=20).map(|i| format!("{}/1", i * 100)).collect();
    let score = sbg(&format!("\na: {} nonsense\n0:00 a", tones.join(" ")));
    assert_eq!(score.channels(), 16);
    let summary = score.summary();
    assert_eq!(summary["notes"].as_array().unwrap().len(), 1);
    assert_eq!(summary["notes"][0]["line"], 2);
    assert!(summary["notes"][0]["text"].as_str().unwrap().starts_with("\"1700/1\" and what follows"), "{summary}");
    assert!(sbg("a: 100/1\n0:00 a").summary()["notes"].as_array().unwrap().is_empty());
}

#[test]
fn an_envelope_may_be_used_with_one_digit_and_names_stay_names() {
    let score =
        sbg("wave01: 0 1 0\nnoise10: pink/10\nspin10: white/10\na: wave1:200+4/10\n0:00 a\n1:00 noise10\n2:00 spin10");
    assert_eq!(score.summary()["tone_sets"][2]["channels"][0]["envelope"], true);
    assert_eq!(score.channels(), 3);
}

/// One tone between two lines that only SBaGenX reads.
#[test]
fn a_line_with_a_last_word_is_one_way_to_the_next() {
    let two = "a: 200+4/40\nb: 300+5/20\n";
    let cases: &[(String, &[(f64, f64)])] = &[
        (format!("{two}0:00 a ==\n0:10 b"), &[(0.0, 40.0), (599.99, 40.0), (600.0, 20.0), (90_000.0, 20.0)]),
        (format!("{two}0:00 a hold\n0:10 b"), &[(599.99, 40.0), (600.0, 20.0)]),
        (format!("{two}0:00 a -=\n0:10 b"), &[(599.99, 40.0), (600.0, 20.0)]),
        ("0:00 200+10/20 step\n0:30 190+8/10".into(), &[(1799.0, 20.0), (1800.0, 10.0), (90_000.0, 10.0)]),
        (format!("{two}0:00 a linear\n0:10 b"), &[(150.0, 20.0), (300.0, 0.0), (450.0, 10.0), (600.0, 20.0)]),
        (format!("{two}0:00 a <>\n0:10 b"), &[(150.0, 20.0), (300.0, 0.0), (450.0, 10.0), (600.0, 20.0)]),
        ("0:00 200@4/40 ramp\n0:10 200@8/20".into(), &[(300.0, 30.0), (600.0, 20.0)]),
        ("0:00 200+4/40 --\n0:10 200+4/20".into(), &[(300.0, 30.0), (600.0, 20.0)]),
        (format!("{two}0:00 a ->\n0:10 b ==\n0:20 a"), &[(300.0, 30.0), (600.0, 20.0), (1199.0, 20.0), (1200.0, 40.0)]),
        // Where one line is written so, the others are read so.
        (format!("{two}0:00 a ==\n0:10 b\n0:20 a"), &[(600.0, 20.0), (750.0, 10.0), (900.0, 0.0), (1050.0, 20.0)]),
        (format!("{two}0:00 == a\n0:10 b step\n0:20 a"), &[(599.0, 40.0), (600.0, 20.0), (1199.0, 20.0)]),
        (
            "p: {\n+0:00 - ==\n+0:01 180/35 ->\n}\nd: {\n+0:00 p\n+0:02 p\n}\nNOW d".into(),
            &[(30.0, 0.0), (60.0, 35.0), (90.0, 17.5), (120.0, 0.0), (179.0, 0.0), (180.0, 35.0), (9e4, 35.0)],
        ),
        // What is first is there from NOW on.
        ("NOW+0:05 200/40 ==\nNOW+0:10 200/20".into(), &[(1.0, 40.0), (599.0, 40.0), (600.0, 20.0)]),
        ("-S\nNOW+0:05 200/40 ==\nNOW+0:10 200/20".into(), &[(1.0, 40.0), (299.0, 40.0), (300.0, 20.0)]),
    ];
    for (text, expected) in cases {
        let program = sbg(text).program(EPOCH, DAY + DAY);
        for (s, pct) in *expected {
            let heard: f64 = (0..program.channels.len()).map(|i| loudness_pct(&program, i, *s)).sum();
            assert!((heard - pct).abs() < 1e-3, "{heard} instead of {pct} at {s} s of\n{text}");
        }
        assert_eq!(sbg(text).summary()["repeats_s"], serde_json::Value::Null, "{text}");
    }
    assert_eq!(sbg("-E\n0:00 200/40 ==\n0:10 200/20").duration(), Some(Span::from_s(600)));
    // A soundtrack has a loudness everywhere.
    let program = sbg("0:00 mix/60 200/1 linear\n0:10 - 200/1").program(EPOCH, DAY);
    assert!((loudness_pct(&program, 0, 450.0) - 15.0).abs() < 1e-3);
}

#[test]
fn a_score_that_counts_from_now_begins_at_now() {
    let text = "a: 200+4/40\nb: 300+5/20\nNOW+0:10 a\n+0:20 b";
    for (options, start_s, heard) in [("", 0.0, 20.0), ("-S\n", 600.0, 0.0), ("-T 22:00\n", 79_200.0, 20.0)] {
        let score = sbg(&format!("{options}{text}"));
        assert_eq!(score.start_s(), start_s, "{options}");
        // As on every day, the last tone-set of the one before is still there; -S begins in the midst of a fade.
        let program = score.program(EPOCH, DAY);
        let loud: f64 = (0..program.channels.len()).map(|i| loudness_pct(&program, i, 0.0)).sum();
        assert!((loud - heard).abs() < 1e-3, "{loud} with {options:?}");
    }
    assert_eq!(sbg(&format!("-SE\n{text}")).duration(), Some(Span::from_s(600)));
    assert_eq!(sbg(&format!("-E\n{text}")).duration(), Some(Span::from_s(1200)));
}

#[test]
fn absurd_epochs_and_horizons_do_no_harm() {
    let score = sbg("a: 100+4/9\nb: 200+5/9\n0:00 a ->\n12:00 b ->");
    for (epoch, horizon) in [(i64::MAX, i64::MAX), (i64::MIN, i64::MAX), (0, -1), (0, i64::MIN), (i64::MAX - 5, 0)] {
        let program = score.program(NodeTime::from_ns(epoch), Span::from_ns(horizon));
        assert_eq!(program.channels.len(), 1);
        score.rhythm(NodeTime::from_ns(epoch));
    }
}

#[test]
fn the_first_night_is_locked_one_two_and_three() {
    let score = sbg(include_str!("../../../examples/scores/first-night.sbg"));
    assert_eq!(score.duration(), Some(Span::from_s(60)));
    let program = score.program(EPOCH, DAY);
    let multiples: Vec<u32> = program.channels.iter().map(|channel| channel.beat.multiple()).collect();
    assert_eq!(multiples, [1, 2, 3, 1, 1]);
    assert!(program.channels[..4].iter().all(|channel| matches!(channel.beat, Beat::Locked(_))));
    for (s, hz) in [(10.0, 4.0), (26.0, 3.5), (39.0, 3.0), (48.0, 3.5)] {
        let rhythm = program.rhythm.frequency_at(at(s)).hz();
        assert!((rhythm - hz).abs() < 0.02, "{rhythm} at {s}");
    }
    for i in 0..5 {
        assert_eq!(loudness_pct(&program, i, 0.0), 0.0);
        assert!(loudness_pct(&program, i, 59.999) < 0.01, "channel {i} ends with a click");
        assert!(loudness_pct(&program, i, 30.0) > 2.0);
    }
}
