//! A woven circle without a network: everybody's rhythm, the field, and what one of them hears, in simulated time.
//!
//! A composer wants to hear a circle before anybody lies down, and to hear the same one twice. A separate simulation for
//! that would sound like a night only as long as somebody keeps the two alike. So nothing is modelled here: the parts are
//! those of a night ([`Weave`], [`CircleMixer`] and [`MixTable`], [`Listener`], [`Follower`], [`Renderer`]), joined as node and platform
//! join them, less sockets and clocks. A frame is taken every [`FRAME_INTERVAL`], is there at once, and is heard as
//! frames are: interpolated, faded in over five seconds, limited, behind a gate that opens slowly.
//!
//! Voices *breathe*: a sleeper's coefficients swell and ebb with their own phase ([`swell`]), fullest at phase 0, where a
//! tracker puts the peak of a breath. On the node that happens once a frame; a platform does it to its own voice once a
//! block. A noise channel that all sing is then 1 + R·cos Ψ of the circle's mean: it is surf as far as they are united.
use std::sync::Arc;

use num_complex::Complex;
use thiserror::Error;

use crate::coupling::{CouplingError, Strength};
use crate::follower::{Displacement, Follower};
use crate::frame::MixFrame;
use crate::limiter::TRUE_PEAK_MAX;
use crate::listener::Listener;
use crate::mix_table::MixTable;
use crate::mixer::{CircleMixer, MixerError};
use crate::phase::{Phase, PhaseOffset};
use crate::program::Program;
use crate::renderer::{BadSampleRate, BlockClock, Renderer, Targets};
use crate::rhythm::{Frequency, Rhythm, Segment};
use crate::units::{NodeTime, PlatformTime, Span};
use crate::voice::{Voice, VoiceError};
use crate::weave::{Thread, Weave};

/// From frame to frame, as a node sends them.
pub const FRAME_INTERVAL: Span = Span::from_ms(200);
/// How long a sleeper takes to let go, once they do.
pub const LETTING_GO: Span = Span::from_s(10);
/// Samples a block, as a platform renders them.
const BLOCK: usize = 256;

/// One sleeper of a rehearsal.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// ω, hertz.
    pub own_hz: f64,
    /// θ when the score begins.
    pub phase: Phase,
    /// How far they let the circle pull them in the end, 0 to 1.
    pub coupling: f32,
    /// When they begin to, from the score's beginning.
    pub lets_go: Span,
    /// One coefficient a channel, when the breath is fullest.
    pub voice: Vec<Complex<f32>>,
    /// How much of the voice goes with the breath, 0 to 1.
    pub depth: f32,
}

/// Why a rehearsal cannot be held.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum RehearsalError {
    /// Nobody of that number is there.
    #[error("the sleeper who listens must be one of {sleepers}, counted from 0, not {given}")]
    NoSuchSleeper {
        /// Who was to listen.
        given: usize,
        /// How many there are.
        sleepers: usize,
    },
    /// A depth that is no share.
    #[error("a voice's depth must be a number from 0 (steady) to 1 (silent between breaths), not {0}")]
    Depth(f32),
    /// A frequency that no rhythm has.
    #[error("a sleeper's own rhythm must be a finite number of hertz, not {0}")]
    OwnHz(f64),
    /// A voice out of range.
    #[error(transparent)]
    Voice(#[from] VoiceError),
    /// A voice that does not fit the score.
    #[error(transparent)]
    Mixer(#[from] MixerError),
    /// A coupling out of range.
    #[error(transparent)]
    Coupling(#[from] CouplingError),
    /// A sample rate out of range.
    #[error(transparent)]
    SampleRate(#[from] BadSampleRate),
}

/// How full a voice is at a phase: 1 at phase 0, 1 − `depth` half a turn later, a raised cosine between. Realtime-safe.
pub fn swell(phase: Phase, depth: f32) -> f32 {
    let turns = phase.turns();
    1.0 - depth * (0.5 - 0.5 * (turns * core::f64::consts::TAU).cos()) as f32
}

/// A circle and one listener in it. Pure; each [`Rehearsal::tick`] is a frame's time later.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    program: Arc<Program>,
    parts: Vec<Part>,
    timelines: Vec<Arc<Rhythm>>,
    ear: usize,
    weave: Weave,
    mixer: CircleMixer,
    table: MixTable,
    listener: Listener,
    displacement: Displacement,
    follower: Follower,
    renderer: Renderer,
    now: NodeTime,
    clock: BlockClock,
}

impl Rehearsal {
    /// A rehearsal of `program` by `parts`, of whom `ear` listens. Errors on numbers that a circle would refuse, too.
    pub fn new(
        program: Arc<Program>,
        sample_rate: u32,
        strength: Strength,
        parts: Vec<Part>,
        ear: usize,
    ) -> Result<Self, RehearsalError> {
        if ear >= parts.len() {
            return Err(RehearsalError::NoSuchSleeper { given: ear, sleepers: parts.len() });
        }
        let channels = program.channels.len();
        let (mut weave, mut mixer) = (Weave::default(), CircleMixer::new(channels, 1.0));
        weave.set_strength(strength);
        let mut timelines = Vec::new();
        for (sleeper, part) in (0..).zip(&parts) {
            if !(0.0..=1.0).contains(&part.depth) {
                return Err(RehearsalError::Depth(part.depth));
            }
            let frequency = Frequency::from_hz(part.own_hz).map_err(|_| RehearsalError::OwnHz(part.own_hz))?;
            let own = Arc::new(Rhythm::new(Segment::constant(program.epoch, part.phase, frequency)));
            weave.add(sleeper);
            weave.set_own(sleeper, Some(Arc::clone(&own)));
            weave.set_coupling(sleeper, part.coupling, 1.0)?;
            weave.seat(sleeper, program.epoch, part.phase, &own);
            mixer.add(sleeper);
            mixer.release(sleeper, None);
            mixer.set_plan(sleeper, true, true, false)?;
            mixer.set_voice(sleeper, &Voice::new(part.voice.clone())?)?;
            timelines.push(own);
        }
        // Everybody is where they begin, so that the first frame knows them all.
        weave.advance(program.epoch - Span::from_ns(1), &program.rhythm);
        let renderer = Renderer::new(Arc::clone(&program), sample_rate)?;
        let (now, clock) = (program.epoch, BlockClock::nominal(program.epoch, sample_rate));
        let (listener, displacement, follower) = Default::default();
        Ok(Self {
            program,
            parts,
            timelines,
            ear,
            weave,
            mixer,
            table: MixTable::new(channels),
            listener,
            displacement,
            follower,
            renderer,
            now,
            clock,
        })
    }

    /// Takes a frame, and appends what is heard until the next one, left and right in turn.
    pub fn tick(&mut self, interleaved: &mut Vec<f32>) -> Result<(), RehearsalError> {
        let since = self.now - self.program.epoch;
        for (sleeper, part) in (0..).zip(&self.parts) {
            let share = (since - part.lets_go).as_s_f64() / LETTING_GO.as_s_f64();
            self.weave.set_coupling(sleeper, part.coupling * share.clamp(0.0, 1.0) as f32, 1.0)?;
        }
        self.weave.advance(self.now, &self.program.rhythm);
        let mut heard = None;
        for (sleeper, part) in (0..).zip(&self.parts) {
            let course = self.weave.course(sleeper, self.now, &self.program.rhythm).expect("everybody was added");
            let level = swell(course.0, part.depth);
            let voice: Vec<_> = part.voice.iter().map(|m| m * level).collect();
            self.mixer.set_voice(sleeper, &Voice::new(voice)?)?;
            if sleeper == self.ear as u64 {
                heard = Some(course);
            }
        }
        let (phase, frequency) = heard.expect("the ear is one of them");
        self.mixer.changes().for_each(|mut change| self.table.apply(&mut change));
        let mut others = vec![Complex::default(); self.program.channels.len()];
        self.table.mixes(self.mixer.place(self.ear as u64).expect("the ear is one of them"), &mut others);
        let gate_epoch = self.table.gate_epoch();
        let (taken, frequency) = (self.now, frequency.units());
        let frame = MixFrame { gate_epoch, cut: false, hush: None, taken, phase, frequency, others };
        self.displacement.take(&frame, &self.timelines[self.ear]);
        self.listener.handle(frame, PlatformTime::from_ns(self.now.ns()));
        self.now += FRAME_INTERVAL;
        self.render(interleaved);
        Ok(())
    }

    fn render(&mut self, interleaved: &mut Vec<f32>) {
        let (own, part) = (&self.timelines[self.ear], &self.parts[self.ear]);
        let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
        while self.clock.start < self.now {
            let left_ns = (self.now - self.clock.start).ns() as u128;
            let frames = ((left_ns << 32).div_ceil(u128::from(self.clock.step)) as usize).clamp(1, BLOCK);
            let after = self.clock.after(frames);
            let rhythm = self.follower.bend(own, &self.displacement, self.clock.start, after.start);
            let level = swell(rhythm.phase_at(self.clock.start), part.depth);
            let voice: Vec<_> = part.voice.iter().map(|m| m * level).collect();
            let (others, others_glide) = self.listener.target(PlatformTime::from_ns(self.clock.start.ns()));
            let targets = Targets {
                others,
                own: &voice,
                others_glide,
                offset: PhaseOffset::ZERO,
                ceiling: TRUE_PEAK_MAX,
                gate_open: true,
                limit: true,
            };
            self.renderer.render(self.clock, rhythm, &targets, &mut left[..frames], &mut right[..frames]);
            interleaved.extend(left[..frames].iter().zip(&right[..frames]).flat_map(|(l, r)| [*l, *r]));
            self.clock = after;
        }
    }

    /// How long the rehearsal has gone on.
    pub fn elapsed(&self) -> Span {
        self.now - self.program.epoch
    }

    /// R·e^{iΨ} as of the last frame.
    pub fn mean(&self) -> Complex<f64> {
        self.weave.mean()
    }

    /// How everybody stands as of the last frame, in the order in which they were given.
    pub fn threads(&self) -> Vec<Thread> {
        self.weave.threads(&self.program.rhythm)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::score::{Format, Score};
    use proptest::prelude::*;

    const RATE: u32 = 8_000;

    fn program() -> Arc<Program> {
        let text =
            "rhythm = 0.2\n[tone-sets]\na = [{ wave = \"binaural\", carrier_hz = 100, locked = 1, amplitude_pct = \
                    20 }, { wave = \"noise\", color = \"pink\", amplitude_pct = 10 }]\n[[timeline]]\nat = 0\nplay = \
                    \"a\"\ntransition = \"cut\"\n";
        let score = Score::parse(text, "test.toml", Format::Toml).unwrap();
        Arc::new(score.program(NodeTime::from_ns(5_000_000_000), Span::from_s(600)))
    }

    fn part(own_hz: f64, phase: f64, coupling: f32) -> Part {
        let voice = vec![Complex::new(0.3, 0.0), Complex::new(0.0, 0.2)];
        let phase = Phase::ZERO + PhaseOffset::from_turns(phase).unwrap();
        Part { own_hz, phase, coupling, lets_go: Span::from_s(1), voice, depth: 0.8 }
    }

    fn rehearsal(k: f64, parts: Vec<Part>) -> Rehearsal {
        Rehearsal::new(program(), RATE, Strength::new(k, 0.0).unwrap(), parts, 0).unwrap()
    }

    fn run(rehearsal: &mut Rehearsal, seconds: i64) -> Vec<f32> {
        let mut samples = Vec::new();
        for _ in 0..5 * seconds {
            rehearsal.tick(&mut samples).unwrap();
        }
        samples
    }

    #[test]
    fn everybody_is_there_from_the_first_frame_on() {
        let mut rehearsal = rehearsal(1.0, vec![part(0.2, 0.0, 0.5), part(0.3, 0.5, 0.5)]);
        rehearsal.tick(&mut Vec::new()).unwrap();
        assert_eq!(rehearsal.threads().len(), 2);
    }

    #[test]
    fn a_swell_is_full_at_the_peak_and_ebbs_by_its_depth() {
        let at = |turns| swell(Phase::ZERO + PhaseOffset::from_turns(turns).unwrap(), 0.75);
        assert_eq!(at(0.0), 1.0);
        assert!((at(0.5) - 0.25).abs() < 1e-6 && (at(0.25) - 0.625).abs() < 1e-6);
    }

    #[test]
    fn whoever_is_coupled_to_the_others_comes_together_and_whoever_is_not_stays_on_their_own_rhythm() {
        let parts = vec![part(0.2, 0.0, 1.0), part(0.21, 0.3, 1.0), part(0.19, 0.6, 1.0), part(0.27, 0.1, 0.0)];
        let mut rehearsal = rehearsal(1.5, parts);
        run(&mut rehearsal, 90);
        let threads = rehearsal.threads();
        let apart = |a: usize, b: usize| (threads[a].phase - threads[b].phase).turns().abs();
        assert!(apart(0, 1) < 0.1 && apart(0, 2) < 0.1, "{threads:?}");
        assert_eq!(threads[3].pulled, PhaseOffset::ZERO, "to the bit");
    }

    #[test]
    fn the_noise_that_all_sing_is_louder_the_more_united_they_are() {
        let swing = |phases: [f64; 4]| {
            let mut rehearsal = rehearsal(0.0, phases.map(|phase| part(0.2, phase, 0.0)).to_vec());
            let mut crest = (f32::MAX, 0.0f32);
            for tick in 0..100 {
                rehearsal.tick(&mut Vec::new()).unwrap();
                if tick >= 50 {
                    let m = rehearsal.listener.others()[1].norm();
                    crest = (crest.0.min(m), crest.1.max(m));
                }
            }
            crest.1 / crest.0
        };
        assert!(swing([0.0; 4]) > 4.0);
        assert!(swing([0.25, 0.0, 0.33, 0.67]) < 1.1, "three voices a third of a turn apart add up to a steady one");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_same_parts_give_the_same_bits_and_no_click(
            given in prop::collection::vec((0.1f64..0.4, 0.0f64..1.0, 0.0f32..=1.0), 1..8)
        ) {
            let parts: Vec<_> = given.iter().map(|(hz, phase, coupling)| part(*hz, *phase, *coupling)).collect();
            let mut first = rehearsal(1.0, parts.clone());
            let samples = run(&mut first, 8);
            prop_assert_eq!(samples.len(), 2 * 8 * RATE as usize);
            prop_assert_eq!(first.elapsed(), Span::from_s(8));
            prop_assert!(samples.iter().all(|x| x.abs() <= TRUE_PEAK_MAX));
            prop_assert_eq!(samples, run(&mut rehearsal(1.0, parts), 8));
        }
    }

    #[test]
    fn what_a_circle_would_refuse_is_refused() {
        let refused = |part: Part, ear| {
            Rehearsal::new(program(), RATE, Strength::default(), vec![part], ear).unwrap_err().to_string()
        };
        assert!(refused(part(0.2, 0.0, 1.0), 1).contains("one of 1"));
        assert!(refused(Part { depth: 1.5, ..part(0.2, 0.0, 1.0) }, 0).contains("from 0 (steady) to 1"));
        assert!(refused(part(f64::NAN, 0.0, 1.0), 0).contains("hertz"));
        assert!(refused(part(0.2, 0.0, 2.0), 0).contains("coupling"));
        assert!(refused(Part { voice: Vec::new(), ..part(0.2, 0.0, 1.0) }, 0).contains("2 coefficients"));
        assert!(
            refused(Part { voice: vec![Complex::new(9.0, 0.0); 2], ..part(0.2, 0.0, 1.0) }, 0).contains("at most 4")
        );
    }
}
