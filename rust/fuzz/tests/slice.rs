//! A short slice of each target in every test run, and proof that a broken law would be found.
use harmonia_fuzz::random::Random;
use harmonia_fuzz::targets::{by_name, Target, NAMES};
use harmonia_fuzz::{run, End};

const INPUTS: u64 = 100_000;

/// The ends that a slice must reach often enough to mean anything.
fn slice(name: &str, inputs: u64, deep: &[&str]) {
    let report = run(by_name(name).unwrap().as_mut(), inputs, 1).unwrap_or_else(|finding| {
        panic!("{name}: input {}: {} {:02x?}", finding.iteration, finding.law, finding.input)
    });
    assert_eq!(report.iterations, inputs);
    for end in deep {
        let count = report.ends.get(end).copied().unwrap_or(0);
        assert!(count > inputs / 5000, "{name} reached {end:?} only {count} times: {:?}", report.ends);
    }
}

#[test]
fn packets() {
    slice("packet", INPUTS, &["answered a platform", "answered a stranger", "read as an answer", "refused"]);
}

#[test]
fn extension_fields() {
    let deep = [
        "request: genuine",
        "request: NAK",
        "request: refused",
        "request: plain",
        "answer: genuine",
        "answer: repeated",
        "answer: refused",
    ];
    slice("fields", INPUTS, &deep);
}

#[test]
fn key_exchanges() {
    slice("ke", INPUTS, &["the client agrees", "the server agrees", "nothing in common", "incomplete", "refused"]);
}

#[test]
fn sessions() {
    slice(
        "session",
        INPUTS / 4,
        &["believed: genuine", "believed: spoiled, with the nonce", "refused, with the nonce", "refused"],
    );
}

#[test]
fn sealed_datagrams() {
    slice("sealed", INPUTS, &["opened: genuine", "opened: a mix frame", "refused: repeated", "refused: forged"]);
}

#[test]
fn scores() {
    slice("score", INPUTS / 10, &["sbg: played", "sbg: refused", "toml: played", "toml: refused", "heard"]);
}

#[test]
fn one_seed_is_one_run() {
    for name in NAMES {
        let ends = |seed| run(by_name(name).unwrap().as_mut(), 2000, seed).unwrap().ends;
        assert_eq!(ends(5), ends(5), "{name}");
        assert_ne!(ends(5), ends(6), "{name}");
    }
}

/// Panics on one byte in 256 and lies on another.
struct Broken(bool);

impl Target for Broken {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        input.push(random.next_u64() as u8);
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        assert!(self.0 || input[0] != 7, "seven");
        if self.0 && input[0] == 9 {
            Err("nine".into())
        } else {
            Ok(End { name: "fine", forged: false })
        }
    }
}

#[test]
fn a_broken_law_is_found_and_its_input_told() {
    for (lies, law, byte) in [(false, "a panic: seven", 7), (true, "nine", 9)] {
        let finding = run(&mut Broken(lies), 100_000, 3).unwrap_err();
        assert_eq!((finding.law.as_str(), &finding.input[..]), (law, &[byte][..]));
    }
}
