//! Our own format: what it means, and where it says that something is wrong.
use harmonia_core::program::{Beat, Channel, Ear, Ears, NoiseColor, Program, Shape, Wave};
use harmonia_core::score::{Format, Score};
use harmonia_core::units::{NodeTime, Span};
use proptest::prelude::*;

const EPOCH: NodeTime = NodeTime::from_ns(77_000_000_001);

fn score(text: &str) -> Score {
    Score::parse(text, "night.toml", Format::Toml).unwrap_or_else(|error| panic!("{error}\n{text}"))
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

fn pct(channel: &Channel, s: f64) -> f64 {
    f64::from(channel.amplitude.at(at(s))) * 100.0
}

proptest! {
    /// The ear that does not lead and the one that does lie symmetrically about the carrier, whatever the rhythm does.
    #[test]
    fn a_locked_channel_follows_the_rhythm_about_its_carrier(
        points in prop::collection::vec((1u32..40, 1u32..400, 0u32..100), 1..5), n in 1u32..5,
        carriers in (100u32..300, 100u32..300),
        from in 1u32..200, over in 1u32..300, left: bool, shares in prop::collection::vec(0.0f64..1.0, 16),
    ) {
        let mut rhythm = String::from("{ at = 0, hz = 4.0 }");
        let mut t = 0;
        for (gap, tenths, over_s) in points {
            t += gap;
            rhythm += &format!(", {{ at = {t}, hz = {}, over_s = {over_s} }}", f64::from(tenths) / 10.0);
            t += over_s;
        }
        let lead = if left { "left" } else { "right" };
        let channel = |carrier: u32| format!(
            "[{{ wave = \"binaural\", carrier_hz = {carrier}, locked = {n}, lead = \"{lead}\", amplitude_pct = 10 }}]");
        let program = score(&format!(
            "rhythm = [{rhythm}]\n[tone-sets]\na = {}\nb = {}\n\
             [[timeline]]\nat = 0\nplay = \"a\"\ntransition = \"cut\"\n\
             [[timeline]]\nat = {from}\nplay = \"b\"\ntransition = \"slide\"\nover_s = {over}",
            channel(carriers.0), channel(carriers.1))).program(EPOCH, Span::from_s(1000));
        prop_assert_eq!(program.channels.len(), 1);
        let channel = &program.channels[0];
        prop_assert_eq!(channel.wave.clone(), Wave::Binaural { lead: if left { Ear::Left } else { Ear::Right } });
        prop_assert_eq!(&channel.beat, &Beat::Locked(n));
        for pair in channel.carrier.segments().windows(2) {
            prop_assert_eq!(pair[0].phase_at(pair[1].start), pair[1].phase);
        }
        for share in shares {
            let s = 600.0 * share;
            let u = ((s - f64::from(from)) / f64::from(over)).clamp(0.0, 1.0);
            let carrier = f64::from(carriers.0) * (1.0 - u) + f64::from(carriers.1) * u;
            let middle = channel.carrier.frequency_at(at(s)).hz() + beat_hz(&program, channel, at(s)) / 2.0;
            prop_assert!((middle - carrier).abs() < 1e-6, "{middle} instead of {carrier} at {s} s");
        }
    }
}

/// At these seconds: the tone's per cent, its Hz, and the noise's per cent.
type Heard = (f64, f64, f64, f64);

#[test]
fn transitions_cut_fade_and_slide() {
    let sets = "rhythm = 4.0\nend = 100\n[tone-sets]\n\
        a = [{ wave = \"tone\", carrier_hz = 100, amplitude_pct = 40 },\n\
             { wave = \"noise\", color = \"pink\", amplitude_pct = 10 }]\n\
        b = [{ wave = \"tone\", carrier_hz = 200, amplitude_pct = 20 }]\n\
        [[timeline]]\nat = 0\nplay = \"a\"\nover_s = 10\n[[timeline]]\nat = \"00:00:30\"\nplay = \"b\"\n";
    // Channel 0 is the tone, channel 1 the noise that ends.
    let cases: &[(&str, &[Heard])] = &[
        ("transition = \"cut\"", &[(29.9, 40.0, 100.0, 10.0), (30.0, 20.0, 200.0, 0.0)]),
        ("", &[(32.5, 20.0, 100.0, 5.0), (35.0, 0.0, 200.0, 0.0), (37.5, 10.0, 200.0, 0.0), (40.0, 20.0, 200.0, 0.0)]),
        ("transition = \"fade\"\nover_s = 20", &[(35.0, 20.0, 100.0, 5.0), (40.0, 0.0, 200.0, 0.0)]),
        (
            "transition = \"slide\"\nover_s = 20",
            &[(35.0, 35.0, 125.0, 7.5), (40.0, 30.0, 150.0, 5.0), (50.0, 20.0, 200.0, 0.0)],
        ),
    ];
    for (transition, expected) in cases {
        let program = score(&format!("{sets}{transition}\n")).program(EPOCH, Span::ZERO);
        // The first entry comes out of silence.
        assert_eq!(pct(&program.channels[0], 0.0), 0.0);
        assert!((pct(&program.channels[0], 7.5) - 20.0).abs() < 1e-4);
        for (s, tone, hz, noise) in *expected {
            assert!((pct(&program.channels[0], *s) - tone).abs() < 1e-4, "tone at {s} with {transition}");
            assert!((program.channels[0].carrier.frequency_at(at(*s)).hz() - hz).abs() < 1e-6, "{s} {transition}");
            assert!((pct(&program.channels[1], *s) - noise).abs() < 1e-4, "noise at {s} with {transition}");
        }
        assert_eq!(program.duration, Some(Span::from_s(100)));
        assert_eq!(pct(&program.channels[0], 100.0), 0.0);
    }
}

#[test]
fn the_reference_ear_is_the_one_that_does_not_lead() {
    let text = "[tone-sets]\na = [\n\
        { wave = \"binaural\", carrier_hz = 200, beat_hz = 4, amplitude_pct = 1 },\n\
        { wave = \"binaural\", carrier_hz = 200, beat_hz = 8, lead = \"left\", amplitude_pct = 1 },\n\
        { wave = \"isochronic\", carrier_hz = 200, beat_hz = 6, amplitude_pct = 1 },\n\
        {}, { wave = \"isochronic\", carrier_hz = 200, locked = 5, amplitude_pct = 1 }]\n\
        [[timeline]]\nat = 0\nplay = \"a\"";
    let score = score(text);
    let program = score.program(EPOCH, Span::from_s(60));
    let expected = [
        (Wave::Binaural { lead: Ear::Right }, 198.0, 4.0, Some(1)),
        (Wave::Binaural { lead: Ear::Left }, 196.0, 8.0, Some(2)),
        (Wave::Isochronic, 200.0, 6.0, None),
        (Wave::Isochronic, 200.0, 20.0, Some(5)),
    ];
    assert_eq!(program.channels.len(), expected.len());
    for (channel, (wave, reference_hz, hz, lock)) in program.channels.iter().zip(expected) {
        assert_eq!(channel.wave, wave);
        assert_eq!(channel.carrier.frequency_at(EPOCH).hz(), reference_hz);
        assert_eq!(beat_hz(&program, channel, EPOCH), hz);
        assert_eq!(lock, if let Beat::Locked(n) = channel.beat { Some(n) } else { None });
    }
    assert_eq!(program.duration, None);
    assert_eq!(score.summary()["timeline"].as_array().unwrap().len(), 1);
    assert_eq!(score.summary()["tone_sets"].as_array().unwrap().len(), 1);
}

#[test]
fn the_example_scores_play() {
    let first = score(include_str!("../../../examples/scores/first-night.toml"));
    assert_eq!(first.duration(), Some(Span::from_s(60)));
    let program = first.program(EPOCH, Span::ZERO);
    let multiples: Vec<_> = program.channels.iter().map(|channel| channel.beat.multiple()).collect();
    assert_eq!(multiples, [1, 2, 3, 1, 1]);
    assert!((program.rhythm.frequency_at(at(26.0)).hz() - 3.5).abs() < 1e-9);

    let night = score(include_str!("../../../examples/scores/eight-hours.toml"));
    assert_eq!(night.duration(), Some(Span::from_s(8 * 3600)));
    let program = night.program(EPOCH, Span::ZERO);
    assert!(program.channels.iter().filter(|channel| matches!(channel.wave, Wave::Binaural { .. })).count() >= 2);
    for channel in &program.channels {
        assert!(pct(channel, 8.0 * 3600.0 - 0.001) < 0.001, "the night ends with a click");
    }
    for minute in 1..479 {
        let total: f64 = program.channels.iter().map(|channel| pct(channel, f64::from(minute) * 60.0)).sum();
        assert!((1.0..=40.0).contains(&total), "{total} % at minute {minute}");
    }
}

/// Every sound of the format, and what of it reaches the program.
#[test]
fn each_sound_becomes_its_wave() {
    let text = "rhythm = 2\nenvelopes.e = { samples = [0, 1], floor = 0.5 }\nstems.s = { file = \"a\", loop = false }\n\
        [tone-sets]\na = [\n\
        { wave = \"spin\", color = \"brown\", width_us = 250, locked = 2, amplitude_pct = 10 },\n\
        { wave = \"bell\", carrier_hz = 500, amplitude_pct = 20 },\n\
        { wave = \"monaural\", carrier_hz = 200, beat_hz = 4, amplitude_pct = 5 },\n\
        { wave = \"binaural\", carrier_hz = 200, locked = 1, shape = \"square\", envelope = \"e\", amplitude_pct = 5 },\n\
        { wave = \"tone\", carrier_hz = 90, shape = \"triangle\", amplitude_pct = 5 },\n\
        { wave = \"stem\", stem = \"s\", envelope = \"e\", locked = 3, amplitude_pct = 5 },\n\
        { wave = \"stem\", stem = \"s\", amplitude_pct = 5 },\n\
        ]\n[[timeline]]\nat = 5\nplay = \"a\"\ntransition = \"cut\"\n";
    let score = score(text);
    let program = score.program(EPOCH, Span::from_s(60));
    let wave = |k: usize| &program.channels[k].wave;
    let shaped = |k: usize| match wave(k) {
        Wave::Shaped(shaped) => (shaped.shape, shaped.ears, shaped.envelope.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(*wave(0), Wave::Spin(NoiseColor::Brown));
    assert!((program.channels[0].carrier.frequency_at(at(7.0)).hz() - 250.0).abs() < 1e-9);
    let Wave::Bell(strikes) = wave(1) else { panic!("{:?}", wave(1)) };
    assert_eq!(strikes.iter().map(|strike| strike.at).collect::<Vec<_>>(), [at(5.0)]);
    assert_eq!(shaped(2), (Shape::Sine, Ears::Sum, false));
    assert_eq!(shaped(3), (Shape::Square, Ears::Lead(Ear::Right), true));
    assert_eq!(shaped(4), (Shape::Triangle, Ears::Both, false));
    let Wave::Stem(stem) = wave(5) else { panic!("{:?}", wave(5)) };
    assert!(stem.envelope.is_some() && stem.looped.is_none() && stem.pcm.is_none() && stem.start == EPOCH);
    let multiples: Vec<u32> = program.channels.iter().map(|channel| channel.beat.multiple()).collect();
    assert_eq!(multiples, [2, 1, 2, 1, 1, 3, 1]);
    let summary = score.summary();
    let waves: Vec<_> = summary["tone_sets"][0]["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| channel["wave"].as_str().unwrap())
        .collect();
    assert_eq!(waves, ["spin", "bell", "monaural", "binaural", "tone", "stem", "stem"]);
    assert_eq!(summary["stems"][0]["file"], "a");
    assert_eq!(summary["tone_sets"][0]["channels"][0]["width_us"], 250.0);
    assert_eq!(score.stems().len(), 1);
    // The example with such sounds plays, too.
    let rain = self::score(include_str!("../../../examples/scores/rain.toml"));
    assert_eq!(rain.duration(), Some(Span::from_s(120)));
    assert_eq!(rain.channels(), 5);
}

/// `«` marks the place that the error must name.
#[test]
fn refusals_name_line_column_and_reason() {
    let tail = "\n[[timeline]]\nat = 0\nplay = \"a\"\n";
    let a = |channel: &str| format!("rhythm = 4\n[tone-sets]\na = [\n  {channel},\n]{tail}");
    let sets =
        |rest: &str| format!("[tone-sets]\na = [{{ wave = \"tone\", carrier_hz = 9, amplitude_pct = 1 }}]\n{rest}");
    let line = |rest: &str| sets(&format!("[[timeline]]\nat = 0\nplay = \"a\"\nover_s = 10\n[[timeline]]\n{rest}"));
    let mut many = String::from("«");
    for _ in 0..64 {
        many.insert_str(0, "{}, ");
    }
    let cases: Vec<(String, &str)> = vec![
        ("title = «".into(), "not TOML"),
        ("title = \"a\"\n«title = \"b\"".into(), "not TOML"),
        ("«".into(), "needs tone-sets"),
        (sets("").replace("[tone", "«[tone"), "needs timeline"),
        (format!("«tempo = 3\n{}", sets(tail)), "no key \"tempo\""),
        (format!("title = «3\n{}", sets(tail)), "text in quotes"),
        (format!("rhythm = «-4\n{}", sets(tail)), "from 0.001 to 1000, not -4"),
        (format!("rhythm = «nan\n{}", sets(tail)), "not nan"),
        (format!("rhythm = «inf\n{}", sets(tail)), "not inf"),
        (format!("rhythm = «\"4\"\n{}", sets(tail)), "not a string"),
        (format!("rhythm = «[]\n{}", sets(tail)), "empty list"),
        (format!("rhythm = [{{ at = «5, hz = 4 }}]\n{}", sets(tail)), "must be at = 0"),
        (format!("rhythm = [{{ at = 0, hz = 4, «over_s = 4 }}]\n{}", sets(tail)), "come from"),
        (format!("rhythm = [{{ at = 0, hz = 4 }}, {{ at = «0, hz = 5 }}]\n{}", sets(tail)), "come after"),
        (
            format!(
                "rhythm = [{{ at = 0, hz = 4 }}, {{ at = 9, hz = 5, over_s = 9 }}, {{ at = «17, hz = 5 }}]\n{}",
                sets(tail)
            ),
            "reached at 18 s",
        ),
        (format!("rhythm = [{{ at = 0, hz = 4 }}, «{{ at = 9 }}]\n{}", sets(tail)), "needs hz"),
        (format!("end = «0\n{}", sets(tail)), "end must not be before"),
        (format!("end = «\"0:70\"\n{}", sets(tail)), "HH:MM:SS"),
        (format!("end = «07:32:00\n{}", sets(tail)), "in quotes"),
        (format!("end = «true\n{}", sets(tail)), "not a boolean"),
        (format!("end = «9\n{}", sets(tail)), "before 10 s"),
        (format!("tone-sets = «3{tail}"), "tone-sets must be a table"),
        (format!("[tone-sets]\na = «3{tail}"), "must be a list"),
        (format!("[tone-sets]\na = [«3]{tail}"), "a channel must be a table"),
        (format!("[tone-sets]\na = [{many}{{}}]{tail}"), "64 channels, not 65"),
        (a("«{ carrier_hz = 9 }"), "needs wave"),
        (a("{ wave = «\"sine\" }"), "one of \"binaural\", \"isochronic\", \"monaural\""),
        (a("{ wave = \"noise\", color = \"pink\", amplitude_pct = «101 }"), "from 0 to 100, not 101"),
        (a("{ wave = \"noise\", color = \"pink\", amplitude_pct = «-1 }"), "from 0 to 100, not -1"),
        (a("{ wave = \"noise\", color = «\"red\", amplitude_pct = 1 }"), "one of \"white\""),
        (a("{ wave = \"noise\", color = \"pink\", «beat_hz = 1, amplitude_pct = 1 }"), "neither a carrier nor a beat"),
        (a("{ wave = \"tone\", carrier_hz = «20001, amplitude_pct = 1 }"), "from 0 to 20000"),
        (a("{ wave = \"tone\", carrier_hz = 9, «lead = \"left\", amplitude_pct = 1 }"), "no beat"),
        (a("{ wave = \"tone\", carrier_hz = 9, «color = \"pink\", amplitude_pct = 1 }"), "takes carrier_hz and shape"),
        (a("«{ wave = \"binaural\", carrier_hz = 9, amplitude_pct = 1 }"), "beat_hz or locked"),
        (a("{ wave = \"binaural\", carrier_hz = 9, beat_hz = «0, amplitude_pct = 1 }"), "from 0.001 to 1000"),
        (a("{ wave = \"binaural\", carrier_hz = 9, beat_hz = «-4, amplitude_pct = 1 }"), "not -4"),
        (a("{ wave = \"binaural\", carrier_hz = 9, beat_hz = 4, «locked = 1, amplitude_pct = 1 }"), "either"),
        (a("{ wave = \"binaural\", carrier_hz = 9, locked = «1.5, amplitude_pct = 1 }"), "whole number"),
        (a("{ wave = \"binaural\", carrier_hz = 9, locked = «0, amplitude_pct = 1 }"), "from 1 to 1000"),
        (
            a("{ wave = \"binaural\", carrier_hz = 9, locked = 1, lead = «\"both\", amplitude_pct = 1 }"),
            "\"left\", \"right\"",
        ),
        (a("{ wave = \"isochronic\", carrier_hz = 9, locked = 1, «lead = \"left\", amplitude_pct = 1 }"), "both ears"),
        (a("{ wave = \"tone\", «carrier = 9, amplitude_pct = 1 }"), "no key \"carrier\""),
        (a("{ wave = \"tone\", carrier_hz = 9, shape = «\"round\", amplitude_pct = 1 }"), "\"sawtooth\""),
        (a("{ wave = \"tone\", carrier_hz = 9, «envelope = \"e\", amplitude_pct = 1 }"), "takes carrier_hz and shape"),
        (a("{ wave = \"bell\", carrier_hz = 9, «beat_hz = 4, amplitude_pct = 1 }"), "a bell has no beat"),
        (a("«{ wave = \"spin\", width_us = 300, color = \"pink\", amplitude_pct = 1 }"), "beat_hz or locked"),
        (a("{ wave = \"spin\", width_us = «3000, color = \"pink\", locked = 1, amplitude_pct = 1 }"), "from 0 to 2880"),
        (a("{ wave = \"stem\", stem = «\"s\", amplitude_pct = 1 }"), "add a table [stems]"),
        (
            a("{ wave = \"isochronic\", carrier_hz = 9, locked = 1, envelope = «\"e\", amplitude_pct = 1 }"),
            "[envelopes]",
        ),
        (format!("stems.s = «{{ loop = true }}\n{}", sets(tail)), "file or sha256"),
        (format!("stems.s = {{ sha256 = «\"00\" }}\n{}", sets(tail)), "64 hexadecimal"),
        (format!("stems.s = {{ file = \"a\", loop = «1 }}\n{}", sets(tail)), "true or false"),
        (format!("stems.s = {{ file = \"a\", loop = false, «crossfade_s = 1 }}\n{}", sets(tail)), "no crossfade"),
        (format!("envelopes.e = {{ samples = «[1] }}\n{}", sets(tail)), "needs 2 to"),
        (format!("envelopes.e = {{ samples = «[0, 0] }}\n{}", sets(tail)), "one of them above 0"),
        (format!("envelopes.e = {{ curve = «[1, 1] }}\n{}", sets(tail)), "two numbers that differ"),
        (format!("envelopes.e = {{ curve = [1, 0], «edge = \"hard\" }}\n{}", sets(tail)), "smooth all round"),
        (format!("envelopes.e = {{ samples = [1, 0], curve = «[1, 0] }}\n{}", sets(tail)), "either samples or a curve"),
        (format!("envelopes.e = «{{ attack = 0.7, release = 0.7 }}\n{}", sets(tail)), "together"),
        (
            a("{ wave = \"binaural\", carrier_hz = 9, locked = «1, amplitude_pct = 1 }").replace("rhythm = 4\n", ""),
            "the score has none",
        ),
        (sets("timeline = «[]").replace("[tone-sets]\n", "tone-sets.").replace("[[", "["), "empty"),
        (sets("[[timeline]]\nat = 0\nplay = «\"b\""), "no tone-set \"b\"; there are \"a\""),
        (sets("[[timeline]]\nat = «-1\nplay = \"a\""), "from 0 to"),
        (sets("[[timeline]]\nat = «4e9\nplay = \"a\""), "from 0 to"),
        (line("at = «10000000000000000000\nplay = \"a\""), "from 0 to"),
        (line("at = «9.5\nplay = \"a\""), "arrived at 10 s"),
        (line("at = 20\nplay = \"a\"\ntransition = \"cut\"\n«over_s = 1"), "a cut takes no time"),
        (line("at = 20\nplay = \"a\"\ntransition = «\"jump\""), "one of \"cut\", \"fade\", \"slide\""),
        (line("at = 20\nplay = \"é\"").replace("at = 20\nplay = \"é\"", "at = 20\nplay = «\"é\""), "no tone-set"),
        (line("play = \"a\"").replace("0\n[[timeline]]\nplay", "0\n«[[timeline]]\nplay"), "needs at"),
    ];
    for (marked, says) in cases {
        let before = marked.split('«').next().unwrap();
        let (line, column) = (before.lines().count().max(1), before.lines().last().unwrap_or("").chars().count() + 1);
        let (line, column) = if before.ends_with('\n') { (before.lines().count() + 1, 1) } else { (line, column) };
        let text = marked.replace('«', "");
        match Score::parse(&text, "night.toml", Format::Toml) {
            Ok(_) => panic!("this should have been refused ({says}):\n{text}"),
            Err(error) => {
                assert!(error.reason.contains(says), "{error}\nshould say {says} of\n{text}");
                let place = (error.line, error.column);
                assert_eq!(place, (line, Some(column)), "{error}\n{text}");
                assert_eq!(error.to_string(), format!("night.toml:{line}:{column}: {}", error.reason));
            }
        }
    }
}

#[test]
fn each_kind_of_sound_in_a_slot_takes_one_of_64_channels() {
    let set = |n: u32| {
        let channel = format!("{{ wave = \"isochronic\", carrier_hz = 9, locked = {n}, amplitude_pct = 1 }}");
        format!("s{n} = [{}]\n", vec![channel; 16].join(", "))
    };
    let text = |n: u32| {
        let sets: String = (1..=n).map(set).collect();
        let lines: String = (1..=n).map(|i| format!("[[timeline]]\nat = {}\nplay = \"s{i}\"\n", i * 10)).collect();
        format!("rhythm = 1\n[tone-sets]\n{sets}{lines}")
    };
    assert_eq!(score(&text(4)).channels(), 64);
    let error = Score::parse(&text(5), "night.toml", Format::Toml).unwrap_err();
    assert_eq!((error.line, error.column), (7, Some(1)));
    assert!(error.reason.contains("\"s5\" would need channel 65"), "{error}");
}

/// Every example in the manual is read by the reader that it describes.
#[test]
fn the_manual_holds_what_it_says() {
    let manual = include_str!("../../../docs/scores.md");
    let mut examples = 0;
    for block in manual.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        let format = match language {
            "toml" => Format::Toml,
            "sbg" => Format::Sbg,
            _ => continue,
        };
        examples += 1;
        Score::parse(text, "scores.md", format).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    assert_eq!(examples, 3, "two for our own format and one for .sbg");
}
