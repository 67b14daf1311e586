//! What everybody in a circle hears of the others, and the latch that takes a voice out of it.
//!
//! With N sleepers and K channels the obvious sum over all pairs costs N²·K. Here the field A = Σ w_j·v_j is kept up
//! to date as voices come and go, and each listener's part is a difference:
//!
//! ```text
//! m_i = h_i · (A − own_i − those whom i does not hear or who do not wish to be heard by i)      O(K + exclusions)
//! ```
//!
//! Sums and differences are integers ([`Field`]), so after a mute every listener's coefficients are equal, to the bit,
//! to those of a circle that the sleeper never joined. A voice is in the field only while all of this holds: its
//! latch is down, and the plan (what rules, score and safety allow) has voice. Nothing else can put it there.
//!
//! **The latch.** It is raised by joining and by every withdrawal, and lowered only by a grant that names the newest
//! withdrawal. It outlives [`CircleMixer::remove`]: leaving and coming back is no way round it. Withdrawals are ordered
//! by their first arrival; a repeated one (datagrams are repeated until acknowledged) raises the latch again, which
//! errs on the silent side, but does not become the newest.
//!
//! **The gate epoch** counts the instants at which a voice had to disappear from a mix at once: every mute (each
//! repetition too), and every narrowing of a plan or an exclusion that took away a voice that sounded. Whoever sends
//! mixes marks the first one of a new epoch as cut.
//!
//! The platform adds the sleeper's own part s_i·v_i itself, so that it plays on when no mix arrives.
use std::collections::BTreeMap;

use num_complex::Complex;
use thiserror::Error;

use crate::field::Field;
use crate::voice::Voice;

/// The largest hearing level.
pub const HEARING_MAX: f32 = 4.0;
/// The largest weight of a voice.
pub const WEIGHT_MAX: f32 = 16.0;
/// How many withdrawals of one sleeper a latch remembers, to tell a repetition from a new one.
const WITHDRAWALS_KEPT: usize = 32;

/// The name of a withdrawal: the id of the event that recorded it.
pub type Withdrawal = [u8; 16];

/// Why a change was refused.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum MixerError {
    /// Nobody of that name is in the circle.
    #[error("sleeper {0} is not in this circle; add them first")]
    UnknownSleeper(u64),
    /// A voice for another score.
    #[error("a voice in this circle has {channels} coefficients, one a channel, not {given}")]
    WrongLength {
        /// How many were given.
        given: usize,
        /// How many channels the circle has.
        channels: usize,
    },
    /// A hearing level that is no number or out of range.
    #[error("a hearing level must be a number from 0 to {HEARING_MAX}, not {0}")]
    BadHearing(f32),
    /// A weight that is no number or out of range.
    #[error("a voice's weight must be a number from 0 to {WEIGHT_MAX}, not {0}")]
    BadWeight(f32),
}

/// Raised by joining and by withdrawals; see the module's essay.
#[derive(Clone, Debug, Default)]
struct Latch {
    raised: bool,
    /// The newest withdrawal has been answered by a grant that named it.
    answered: bool,
    /// In order of first arrival, the newest last.
    withdrawals: Vec<Withdrawal>,
}

impl Latch {
    fn raise(&mut self, withdrawal: Withdrawal) {
        if !self.withdrawals.contains(&withdrawal) {
            if self.withdrawals.len() == WITHDRAWALS_KEPT {
                self.withdrawals.remove(0);
            }
            self.withdrawals.push(withdrawal);
        }
        self.raised = true;
        self.answered = false;
    }

    fn release(&mut self, named: Option<Withdrawal>) -> bool {
        let newest = self.withdrawals.last();
        let lowers = match named {
            None => newest.is_none() || self.answered,
            Some(named) => newest == Some(&named),
        };
        if lowers {
            self.raised = false;
            self.answered = true;
        }
        lowers
    }
}

/// What rules, score and safety allow. Only ever AND-ed with the latch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Plan {
    voice: bool,
    hearing: bool,
    recording: bool,
}

#[derive(Clone, Debug)]
struct Sleeper {
    voice: Voice,
    weight: f32,
    /// w·v in fixed point, whether it sounds or not.
    part: Field,
    hearing: f32,
    plan: Plan,
    recorder: bool,
    /// Whether `part` is in the field, and in the field for recorders.
    sounds: Sounds,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sounds {
    live: bool,
    recorded: bool,
}

/// The mixer of one circle. Deterministic; its state depends on who is in, not on how they came.
#[derive(Clone, Debug)]
pub struct CircleMixer {
    channels: usize,
    voice_weight: f32,
    sleepers: BTreeMap<u64, Sleeper>,
    latches: BTreeMap<u64, Latch>,
    /// Whom each sleeper keeps apart from, both ways, as far as they asked for it.
    wishes: BTreeMap<u64, Vec<u64>>,
    /// The same pairs seen from both ends, with how many of the two wish it.
    apart: BTreeMap<u64, BTreeMap<u64, u8>>,
    live: Field,
    recorded: Field,
    scratch: Field,
    gate_epoch: u64,
}

impl CircleMixer {
    /// The mixer of a circle whose score has `channels` channels; a voice counts `voice_weight` times
    /// unless [`CircleMixer::set_weight`] says otherwise.
    ///
    /// # Panics
    /// If `voice_weight` is not a number from 0 to [`WEIGHT_MAX`]: check it where it comes from.
    pub fn new(channels: usize, voice_weight: f32) -> Self {
        assert!((0.0..=WEIGHT_MAX).contains(&voice_weight), "{}", MixerError::BadWeight(voice_weight));
        let silent = Field::silent(channels);
        Self {
            channels,
            voice_weight,
            sleepers: BTreeMap::new(),
            latches: BTreeMap::new(),
            wishes: BTreeMap::new(),
            apart: BTreeMap::new(),
            live: silent.clone(),
            recorded: silent.clone(),
            scratch: silent,
            gate_epoch: 0,
        }
    }

    /// How many channels the circle's score has.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Lets a sleeper in: latched, with nothing planned, a voice of ones and a hearing level of 1.
    ///
    /// Does nothing if they are in already. If their latch remembers a withdrawal that no grant has named, only a
    /// grant that names it will lower it.
    pub fn add(&mut self, sleeper: u64) {
        if self.sleepers.contains_key(&sleeper) {
            return;
        }
        self.latches.entry(sleeper).or_default().raised = true;
        let voice = Voice::ones(self.channels);
        let part = Field::of(&voice, self.voice_weight);
        let weight = self.voice_weight;
        self.sleepers.insert(
            sleeper,
            Sleeper {
                voice,
                weight,
                part,
                hearing: 1.0,
                plan: Plan::default(),
                recorder: false,
                sounds: Sounds::default(),
            },
        );
    }

    /// Lets a sleeper go, with their voice, levels and exclusions. Their latch and others' exclusions of them stay.
    ///
    /// Returns whether they were in. Leaving is not a withdrawal: it does not raise the gate epoch.
    pub fn remove(&mut self, sleeper: u64) -> bool {
        self.wish(sleeper, &[]);
        let Some(gone) = self.sleepers.remove(&sleeper) else { return false };
        if gone.sounds.live {
            self.live.remove(&gone.part);
        }
        if gone.sounds.recorded {
            self.recorded.remove(&gone.part);
        }
        true
    }

    /// Whether `sleeper` is in the circle.
    pub fn contains(&self, sleeper: u64) -> bool {
        self.sleepers.contains_key(&sleeper)
    }

    /// How many sleepers are in.
    pub fn len(&self) -> usize {
        self.sleepers.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.sleepers.is_empty()
    }

    /// Gives a sleeper another voice. Errors if they are not in, or unless it has one coefficient a channel.
    pub fn set_voice(&mut self, sleeper: u64, voice: &Voice) -> Result<(), MixerError> {
        if voice.channels() != self.channels {
            return Err(MixerError::WrongLength { given: voice.channels(), channels: self.channels });
        }
        self.change_part(sleeper, |member| member.voice.clone_from(voice))
    }

    /// Lets a sleeper's voice count `weight` times. Errors if they are not in, or unless 0 ≤ weight ≤ 16.
    pub fn set_weight(&mut self, sleeper: u64, weight: f32) -> Result<(), MixerError> {
        if !(0.0..=WEIGHT_MAX).contains(&weight) {
            return Err(MixerError::BadWeight(weight));
        }
        self.change_part(sleeper, |member| member.weight = weight)
    }

    /// How loud a sleeper hears the others. Errors if they are not in, or unless 0 ≤ level ≤ 4.
    pub fn set_hearing(&mut self, sleeper: u64, level: f32) -> Result<(), MixerError> {
        if !(0.0..=HEARING_MAX).contains(&level) {
            return Err(MixerError::BadHearing(level));
        }
        self.member(sleeper)?.hearing = level;
        Ok(())
    }

    /// What everybody else allows. It is AND-ed with the latch: it can silence a voice but never let one sound that
    /// its sleeper withdrew. Errors if they are not in.
    pub fn set_plan(&mut self, sleeper: u64, voice: bool, hearing: bool, recording: bool) -> Result<(), MixerError> {
        let member = self.member(sleeper)?;
        let before = (member.sounds, member.plan.hearing);
        member.plan = Plan { voice, hearing, recording };
        self.refresh(sleeper);
        let (after, was) = (self.sleepers[&sleeper].sounds, before.0);
        let deafened = before.1 && !hearing;
        if (was.live && !after.live) || (was.recorded && !after.recorded) || deafened {
            self.gate_epoch += 1;
        }
        Ok(())
    }

    /// Whether this listener keeps what it hears: then it gets only voices whose plan has recording.
    ///
    /// Errors if they are not in.
    pub fn set_recorder(&mut self, sleeper: u64, recorder: bool) -> Result<(), MixerError> {
        let member = self.member(sleeper)?;
        let begins = recorder && !member.recorder;
        member.recorder = recorder;
        self.gate_epoch += u64::from(begins);
        Ok(())
    }

    /// Replaces the list of those from whom `sleeper` keeps apart: neither hears the other, whoever asked for it.
    ///
    /// The others need not be in yet. Errors if `sleeper` is not in.
    pub fn set_exclusions(&mut self, sleeper: u64, others: &[u64]) -> Result<(), MixerError> {
        self.member(sleeper)?;
        if self.wish(sleeper, others) {
            self.gate_epoch += 1;
        }
        Ok(())
    }

    /// The latch: takes the voice out at once and holds it out. Returns the gate epoch from which no mix holds it.
    ///
    /// Always succeeds, also for a sleeper who is not in (it then waits for them), also when the latch is up already:
    /// every call raises the epoch, so that the caller always has a frame to wait for.
    pub fn mute(&mut self, sleeper: u64, withdrawal: Withdrawal) -> u64 {
        self.latches.entry(sleeper).or_insert_with(|| Latch { raised: true, ..Latch::default() }).raise(withdrawal);
        self.refresh(sleeper);
        self.gate_epoch += 1;
        self.gate_epoch
    }

    /// Lowers the latch if `withdrawal` names the newest withdrawal; `None` suffices if there never was one, or if all
    /// are answered (only joining raised it). Returns whether it is down now; `false` also for a stranger.
    pub fn release(&mut self, sleeper: u64, withdrawal: Option<Withdrawal>) -> bool {
        let lowered = self.latches.get_mut(&sleeper).is_some_and(|latch| latch.release(withdrawal));
        self.refresh(sleeper);
        lowered
    }

    /// Whether the latch is up. A stranger is muted.
    pub fn is_muted(&self, sleeper: u64) -> bool {
        self.latches.get(&sleeper).is_none_or(|latch| latch.raised)
    }

    /// Whether this sleeper's voice is in the field now: latch down and voice planned.
    pub fn sounds(&self, sleeper: u64) -> bool {
        self.sleepers.get(&sleeper).is_some_and(|member| member.sounds.live)
    }

    /// The number of cuts so far; see the module's essay.
    pub fn gate_epoch(&self) -> u64 {
        self.gate_epoch
    }

    /// What `sleeper` hears of the others, one coefficient a channel: all zero where hearing is not planned, and for
    /// a stranger. No allocation; `&mut self` only for scratch space.
    ///
    /// # Panics
    /// If `out` has not one place a channel.
    pub fn mix_for(&mut self, sleeper: u64, out: &mut [Complex<f32>]) {
        assert_eq!(out.len(), self.channels, "a mix has one coefficient a channel");
        let Some(listener) = self.sleepers.get(&sleeper).filter(|listener| listener.plan.hearing) else {
            out.fill(Complex::default());
            return;
        };
        let recorder = listener.recorder;
        let audible = |member: &Sleeper| if recorder { member.sounds.recorded } else { member.sounds.live };
        self.scratch.copy_from(if recorder { &self.recorded } else { &self.live });
        if audible(listener) {
            self.scratch.remove(&listener.part);
        }
        for other in self.apart.get(&sleeper).into_iter().flat_map(BTreeMap::keys) {
            if let Some(other) = self.sleepers.get(other).filter(|other| audible(other)) {
                self.scratch.remove(&other.part);
            }
        }
        self.scratch.scaled_into(listener.hearing, out);
    }

    /// The whole field as somebody outside would hear it; with `recorded` only of those whose plan has recording.
    ///
    /// # Panics
    /// If `out` has not one place a channel.
    pub fn field_into(&self, recorded: bool, out: &mut [Complex<f32>]) {
        if recorded { &self.recorded } else { &self.live }.scaled_into(1.0, out);
    }

    fn member(&mut self, sleeper: u64) -> Result<&mut Sleeper, MixerError> {
        self.sleepers.get_mut(&sleeper).ok_or(MixerError::UnknownSleeper(sleeper))
    }

    /// Changes voice or weight: the old part leaves the field, exactly, before the new one enters.
    fn change_part(&mut self, sleeper: u64, change: impl FnOnce(&mut Sleeper)) -> Result<(), MixerError> {
        let member = self.sleepers.get_mut(&sleeper).ok_or(MixerError::UnknownSleeper(sleeper))?;
        let Sounds { live, recorded } = member.sounds;
        if live {
            self.live.remove(&member.part);
        }
        if recorded {
            self.recorded.remove(&member.part);
        }
        change(member);
        member.part.set(&member.voice, member.weight);
        if live {
            self.live.add(&member.part);
        }
        if recorded {
            self.recorded.add(&member.part);
        }
        Ok(())
    }

    /// Brings the fields into agreement with latch and plan: the only place that decides who sounds.
    fn refresh(&mut self, sleeper: u64) {
        let muted = self.is_muted(sleeper);
        let Some(member) = self.sleepers.get_mut(&sleeper) else { return };
        let live = !muted && member.plan.voice;
        let wanted = Sounds { live, recorded: live && member.plan.recording };
        let fields = [
            (&mut self.live, member.sounds.live, wanted.live),
            (&mut self.recorded, member.sounds.recorded, wanted.recorded),
        ];
        for (field, is_in, should_be) in fields {
            match (is_in, should_be) {
                (false, true) => field.add(&member.part),
                (true, false) => field.remove(&member.part),
                _ => {}
            }
        }
        member.sounds = wanted;
    }

    /// Replaces what `sleeper` wishes; says whether a pair is newly apart.
    fn wish(&mut self, sleeper: u64, others: &[u64]) -> bool {
        let mut wished: Vec<u64> = others.iter().copied().filter(|other| *other != sleeper).collect();
        wished.sort_unstable();
        wished.dedup();
        let mut cut = false;
        for &other in &wished {
            for (a, b) in [(sleeper, other), (other, sleeper)] {
                let wishes = self.apart.entry(a).or_default().entry(b).or_insert(0);
                cut |= *wishes == 0;
                *wishes += 1;
            }
        }
        let former = if wished.is_empty() { self.wishes.remove(&sleeper) } else { self.wishes.insert(sleeper, wished) };
        for other in former.unwrap_or_default() {
            for (a, b) in [(sleeper, other), (other, sleeper)] {
                let Some(of_a) = self.apart.get_mut(&a) else { continue };
                match of_a.get_mut(&b) {
                    Some(wishes) if *wishes > 1 => *wishes -= 1,
                    _ => drop(of_a.remove(&b)),
                }
                if of_a.is_empty() {
                    self.apart.remove(&a);
                }
            }
        }
        cut
    }
}
