//! A host's score, which everyone in the circle reads and plays: spoiled bytes, and the words of others in its place.
//!
//! It is refused at one of its lines, with a reason, or it is played: described, compiled, and heard for a moment, never
//! louder than full scale.
use std::sync::Arc;

use harmonia_core::phase::PhaseOffset;
use harmonia_core::renderer::{BlockClock, Renderer, Targets};
use harmonia_core::score::{Format, Score};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

use super::{refused, Target};
use crate::mutate::mutate;
use crate::random::Random;
use crate::End;

/// Every construct of both formats, each text shorter than the mutator's longest.
const GENUINE: [(Format, &str); 7] = [
    (
        Format::Sbg,
        "## A night\n-SE -F 20000\n-q 2\nalloff: -\nbase: pink/40 200+8/20 100-4/10\nbell: bell+400/30 mix/60\n\
         iso: 300@6/10 triangle:150+5/5 150M4/5\nturn: spin:300+4/20 wspin:200-2/10 bspin:100+1/5\n\
         all: {\n  +00:00 base\n  +00:01 bell\n  +00:02:30 iso ->\n}\nNOW base\n+00:10 == iso ->\n+00:20 turn\n+00:30 all\n\
         +01:00 alloff\n",
    ),
    (
        Format::Sbg,
        "wave00: 0 1 4 9 16 25 36 49 64\ncustom01: 0 .5 1 .5 0\noff: -\none: wave00:200+8/20 custom01:200@4/10\n\
         two: brown/10 white/5 mixpulse:4/30 mixspin:300+2/20 mix/40\n23:50 off ->\n00:10 one ->\n06:30:15 <> two\n\
         07:00 off\n",
    ),
    (Format::Sbg, "-SE -m music.flac\n-p drop 30bs+/1 pink/30 mix/50\n"),
    (Format::Sbg, "-p slide t20 200+10/20 pink/30\n"),
    (Format::Sbg, "-i pink/40 200+8/20 300@4/10 mix/60\n"),
    (
        Format::Sbg,
        "# A curve\nparam l = 0.15\nsolve A,C : A*exp(-l*0)+C=b0 ; A*exp(-l*D)+C=b1\nbeat<20 = A*exp(-l*m) + C\n\
         beat>=20 = b1\ncarrier = c0 + (c1-c0) * ramp(m,0,T)\namp = a0*2\n",
    ),
    (
        Format::Toml,
        "title = \"Night\"\nend = \"00:02:00\"\n\nrhythm = [\n  { at = 0, hz = 10 },\n  { at = 30, hz = 4, over_s = 60 },\n]\n\n\
         [stems]\nsea = { file = \"sea.flac\" }\n\n[envelopes]\nswell = { samples = [0, 0.5, 1, 0.5], floor = 0.1 }\n\n\
         [tone-sets]\none = [\n  { wave = \"binaural\", carrier_hz = 200, locked = 1, amplitude_pct = 20 },\n  \
         { wave = \"noise\", color = \"pink\", amplitude_pct = 5 },\n  \
         { wave = \"isochronic\", carrier_hz = 110, locked = 1, envelope = \"swell\", shape = \"triangle\", \
         amplitude_pct = 6 },\n]\ntwo = [\n  { wave = \"bell\", carrier_hz = 440, amplitude_pct = 6 },\n  \
         { wave = \"spin\", color = \"brown\", width_us = 700, locked = 1, amplitude_pct = 22 },\n]\n\n\
         [[timeline]]\nat = 0\nplay = \"one\"\n\n[[timeline]]\nat = 60\nplay = \"two\"\ntransition = \"slide\"\n\
         over_s = 10\n",
    ),
];

/// Inputs between two that are heard: hearing costs far more than reading.
const HEARD: u64 = 16;
const RATE: u32 = 8_000;
const FRAMES: usize = 256;

/// See the module. An input's first byte says which format reads the rest.
#[derive(Default)]
pub struct ScoreTarget {
    checked: u64,
}

/// One or two characters become others that mean something.
fn characters(random: &mut Random, input: &mut [u8]) {
    for _ in 0..=random.below(2) {
        let at = random.below(input.len());
        // A digit more often than not: most other changes are no score any more.
        let digit = input.iter().skip(at).position(u8::is_ascii_digit).filter(|_| !random.one_in(4));
        input[at + digit.unwrap_or(0)] = random.pick(b"0123456789.+-/:@*() \n");
    }
}

/// One to three words become words of any text.
fn words(random: &mut Random, input: &mut Vec<u8>) {
    let mut text = String::from_utf8_lossy(input).into_owned();
    for _ in 0..=random.below(3) {
        let other: Vec<&str> = random.pick(&GENUINE).1.split_whitespace().collect();
        let old = text.split_whitespace().nth(random.below(40)).unwrap_or("-").to_owned();
        text = text.replacen(&old, other[random.below(other.len())], 1);
    }
    *input = text.into_bytes();
}

impl Target for ScoreTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        let (format, text) = random.pick(&GENUINE);
        input.extend(text.bytes());
        match random.below(64) {
            0 => {}
            1..32 => characters(random, input),
            32..48 => words(random, input),
            _ => mutate(random, input),
        }
        input.insert(0, u8::from(format == Format::Toml));
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        let Some((format, text)) = input.split_first() else { return Ok(refused("refused: nothing")) };
        let format = if *format == 1 { Format::Toml } else { Format::Sbg };
        let text = String::from_utf8_lossy(text);
        let score = match Score::parse(&text, "score", format) {
            Ok(score) => score,
            Err(error) if error.reason.is_empty() => return Err("refused without a reason".into()),
            Err(error) if error.line == 0 || error.line > text.lines().count() + 1 => {
                return Err(format!("refused at line {}, which is not there", error.line));
            }
            Err(_) if format == Format::Toml => return Ok(refused("toml: refused")),
            Err(_) => return Ok(refused("sbg: refused")),
        };
        if score.summary().to_string().is_empty() {
            return Err("played, but cannot be described".into());
        }
        self.checked += 1;
        if self.checked.is_multiple_of(HEARD) {
            hear(&score)?;
            return Ok(End { name: "heard", forged: false });
        }
        Ok(End { name: if format == Format::Toml { "toml: played" } else { "sbg: played" }, forged: false })
    }
}

fn hear(score: &Score) -> Result<(), String> {
    let program = Arc::new(score.program(NodeTime::from_ns(0), Span::from_ms(60_000)));
    let rhythm = program.rhythm.clone();
    let mut renderer = Renderer::new(program, RATE).map_err(|error| format!("compiled, but not rendered: {error}"))?;
    let own = vec![Complex::new(1.0, 0.0); score.channels()];
    let targets = Targets {
        others: &[],
        own: &own,
        others_glide: Span::from_ms(50),
        offset: PhaseOffset::ZERO,
        ceiling: 1.0,
        gate_open: true,
        limit: true,
    };
    let (mut left, mut right) = ([0.0; FRAMES], [0.0; FRAMES]);
    let at = NodeTime::from_ns(20_000_000_000);
    renderer.render(BlockClock::nominal(at, RATE), &rhythm, &targets, &mut left, &mut right);
    let loud = left.iter().chain(&right).find(|sample| sample.is_nan() || sample.abs() > 1.0);
    loud.map_or(Ok(()), |sample| Err(format!("a sample of {sample}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoiled_was_good() {
        for (format, text) in GENUINE {
            assert!(text.len() < crate::mutate::LEN_MAX);
            Score::parse(text, "genuine", format).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}
