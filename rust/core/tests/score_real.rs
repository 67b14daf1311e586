//! Scores that other people wrote: each plays, or is refused with a true reason at the right line.
//!
//! The files are not part of this project. Set HARMONIA_REAL_DATA to a folder that holds them under `sbg/`.
// A test may read files; the core may not.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use harmonia_core::program::Wave;
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

/// Whether the refused line really holds what the reason says is unsupported.
fn is_true(reason: &str, line: &str) -> bool {
    let facts = [
        ("a bell", "bell+"),
        ("spinning noise", "spin:"),
        ("soundtrack", "-m "),
        ("built-in sequence", "-p "),
        ("a waveform of its own", "wave"),
        ("defines an envelope", "custom"),
        (".sbgf curve", "="),
    ];
    facts.iter().any(|(says, holds)| reason.contains(says) && line.contains(holds))
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
                // What plays must be all of the words of its tone-set.
                let words: usize = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap())
                    .filter_map(|line| line.split_once(": "))
                    .map(|(_, tones)| tones.split_whitespace().count())
                    .sum();
                assert_eq!(program.channels.len(), words, "{name}");
                let heard = NodeTime::from_ns(1_000) + Span::from_s(60);
                assert!(program.channels.iter().any(|channel| channel.amplitude.at(heard) > 0.0), "{name} is silent");
                let mut pitched = program.channels.iter().filter(|channel| !matches!(channel.wave, Wave::Noise(_)));
                assert!(pitched.all(|channel| channel.carrier.frequency_at(heard).hz() >= 0.0), "{name}");
            }
            Err(error) => {
                refused += 1;
                println!("{error}");
                let line = text.lines().nth(error.line - 1).unwrap();
                assert!(is_true(&error.reason, line), "{error}\n  {line}");
                assert!(error.to_string().starts_with(&format!("{name}:{}: ", error.line)));
            }
        }
    }
    println!("{played} play, {refused} are refused");
}
