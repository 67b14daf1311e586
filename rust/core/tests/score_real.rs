//! Scores that other people wrote: each plays, or is refused with a true reason at the right line.
//!
//! The files are not part of this project. Set HARMONIA_REAL_DATA to a folder that holds them under `sbg/`.
// A test may read files; the core may not.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use harmonia_core::program::{Channel, Wave};
use harmonia_core::score::{Format, Score};
use harmonia_core::units::{NodeTime, Span};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "sbg" || extension == "sbgf") {
            found.push(entry);
        }
    }
    found.sort();
}

#[test]
fn every_real_score_plays_or_is_refused_with_a_true_reason() {
    let Some(folder) = std::env::var_os("HARMONIA_REAL_DATA") else {
        println!("skipped: set HARMONIA_REAL_DATA to a folder with real scores under sbg/");
        return;
    };
    let mut found = Vec::new();
    files(&Path::new(&folder).join("sbg"), &mut found);
    assert!(found.len() >= 2, "no scores under {folder:?}");
    let (mut played, mut refused) = (0, 0);
    for path in &found {
        let name = path.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(path).unwrap();
        match Score::parse(&text, &name, Format::Sbg) {
            Ok(score) => {
                played += 1;
                let program = score.program(NodeTime::from_ns(1_000), Span::from_s(3600));
                assert_eq!(program.channels.len(), score.channels());
                let heard = NodeTime::from_ns(1_000) + Span::from_s(60);
                // Music is heard if it is there, bells are struck where they are; everything else sounds by now.
                let steady = |channel: &&Channel| !matches!(channel.wave, Wave::Bell(_) | Wave::Stem(_));
                let mut sounds = program.channels.iter().filter(steady);
                assert!(sounds.any(|channel| channel.amplitude.at(heard) > 0.0), "{name} is silent");
                // What plays must be all of the words of its tone-sets.
                let is_set = |line: &&str| line.contains(": ") && !line.starts_with(['-', 'w', 'c']);
                let lines = text.lines().map(|line| line.split('#').next().unwrap()).filter(is_set);
                let words = lines.filter_map(|line| line.split_once(": ")).map(|(_, tones)| tones.split_whitespace());
                let session = text.contains("-p ") || name.ends_with(".sbgf");
                for (slots, summary) in words
                    .take(if session { 0 } else { usize::MAX })
                    .zip(score.summary()["tone_sets"].as_array().unwrap())
                {
                    let written = slots.filter(|word| *word != "-" && *word != "{").count();
                    assert_eq!(summary["channels"].as_array().unwrap().len(), written, "{name}: {summary}");
                }
            }
            Err(error) => {
                refused += 1;
                println!("{error}");
                assert!(error.line >= 1 && error.line <= text.lines().count(), "{error}");
                assert!(error.to_string().starts_with(&format!("{name}:{}: ", error.line)));
            }
        }
    }
    println!("{played} play, {refused} are refused");
    assert!(10 * played >= 9 * found.len(), "fewer than nine in ten play");
}
