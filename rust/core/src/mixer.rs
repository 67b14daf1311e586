//! Who is heard by whom in a circle, and the latch that takes a voice out of it.
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
//! This is the half that decides: it knows people, and says with [`Change`]s what follows. The half that mixes, in
//! [`crate::mix_table`], may live on another thread; nothing here waits for it, nor it for this.
//!
//! **The latch.** It is raised by joining and by every withdrawal, and lowered only by a grant that names the newest
//! withdrawal. It outlives [`CircleMixer::remove`]: leaving and coming back is no way round it. Withdrawals are ordered
//! by their first arrival; a repeated one (datagrams are repeated until acknowledged) raises the latch again, which
//! errs on the silent side, but does not become the newest.
//!
//! **Keeping apart.** Each sleeper names whom they do not want to hear, and who may not hear them: two lists, of anybody,
//! in the circle or not. The first takes the others out of one's own mix, the second oneself out of theirs.
//!
//! **The gate epoch** counts the instants at which a voice had to disappear from a mix at once: every mute (each
//! repetition too), and every narrowing of a plan or an exclusion that took away a voice that sounded. Whoever sends
//! mixes marks the first one of a new epoch as cut. A room that is silenced, and one that is lifted, has an epoch of its
//! own too, so that of two frames the one of the higher epoch knows better whether it is silent.
//!
//! The platform adds the sleeper's own part s_i·v_i itself, so that it plays on when no mix arrives.
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::field::Field;
use crate::hush::Hush;
use crate::mix_table::{Change, Columns, Row};
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
    place: usize,
    voice: Voice,
    weight: f32,
    hearing: f32,
    plan: Plan,
    recorder: bool,
    /// Through whose ears they hear, and how loud that one's own voice is there.
    ear: Option<(u64, f32)>,
    /// As last said to the table.
    row: Row,
}

/// From whom a sleeper keeps apart; neither list has anybody twice.
#[derive(Clone, Debug, Default)]
struct Apart {
    /// Whom they do not want to hear.
    unheard: Vec<u64>,
    /// Who may not hear them.
    unhearing: Vec<u64>,
}

impl Apart {
    /// The pairs (listener, speaker) that `sleeper` wishes silent.
    fn pairs(&self, sleeper: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let unheard = self.unheard.iter().map(move |other| (sleeper, *other));
        unheard.chain(self.unhearing.iter().map(move |other| (*other, sleeper)))
    }
}

/// The mixer of one circle. Deterministic; what it decides depends on who is in, not on how they came.
#[derive(Clone, Debug)]
pub struct CircleMixer {
    channels: usize,
    voice_weight: f32,
    sleepers: BTreeMap<u64, Sleeper>,
    latches: BTreeMap<u64, Latch>,
    wishes: BTreeMap<u64, Apart>,
    /// Pairs (listener, speaker) that are silent, with how many of the two wish it.
    silent: BTreeMap<(u64, u64), u8>,
    /// The same pairs, (speaker, listener).
    unhearing: BTreeSet<(u64, u64)>,
    /// Places with nobody in them.
    free: Vec<usize>,
    places: usize,
    gate_epoch: u64,
    hush: Hush,
    /// Since which gate epoch.
    hush_epoch: u64,
    changes: Vec<Change>,
}

impl CircleMixer {
    /// The mixer of a circle whose score has `channels` channels; a voice counts `voice_weight` times
    /// unless [`CircleMixer::set_weight`] says otherwise.
    ///
    /// # Panics
    /// If `voice_weight` is not a number from 0 to [`WEIGHT_MAX`]: check it where it comes from.
    pub fn new(channels: usize, voice_weight: f32) -> Self {
        assert!((0.0..=WEIGHT_MAX).contains(&voice_weight), "{}", MixerError::BadWeight(voice_weight));
        Self {
            channels,
            voice_weight,
            sleepers: BTreeMap::new(),
            latches: BTreeMap::new(),
            wishes: BTreeMap::new(),
            silent: BTreeMap::new(),
            unhearing: BTreeSet::new(),
            free: Vec::new(),
            places: 0,
            gate_epoch: 0,
            hush: Hush::default(),
            hush_epoch: 0,
            changes: Vec::new(),
        }
    }

    /// What follows for the table from everything since the last call, in order.
    pub fn changes(&mut self) -> std::vec::Drain<'_, Change> {
        self.changes.drain(..)
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
        let place = self.vacancy();
        let (voice, weight) = (Voice::ones(self.channels), self.voice_weight);
        self.changes.push(Change::Part(place, Field::of(&voice, weight)));
        let (plan, row) = (Plan::default(), Row::default());
        self.sleepers
            .insert(sleeper, Sleeper { place, voice, weight, hearing: 1.0, plan, recorder: false, ear: None, row });
        self.keep_apart(sleeper);
        self.keep_from_others(sleeper);
    }

    /// A place with nobody in it.
    fn vacancy(&mut self) -> usize {
        if self.free.is_empty() {
            let places = (2 * self.places).max(8);
            self.changes.push(Change::Grow(Columns::vacant(places, self.channels)));
            self.free.extend((self.places..places).rev());
            self.places = places;
        }
        self.free.pop().expect("room was made")
    }

    /// Lets a sleeper go, with their voice, levels and wishes. Their latch and others' wishes of them stay.
    ///
    /// Returns whether they were in. Leaving is not a withdrawal: it does not raise the gate epoch.
    pub fn remove(&mut self, sleeper: u64) -> bool {
        self.wish(sleeper, Apart::default());
        let through = |member: &Sleeper| member.ear.is_some_and(|(ear, _)| ear == sleeper);
        let listeners: Vec<u64> = self.sleepers.iter().filter(|(_, one)| through(one)).map(|(name, _)| *name).collect();
        listeners.into_iter().for_each(|listener| self.hear_through(listener, None));
        let Some(gone) = self.sleepers.remove(&sleeper) else { return false };
        self.changes.push(Change::Row(gone.place, Row::default()));
        self.changes.push(Change::Apart(gone.place, Vec::new()));
        self.keep_from_others(sleeper);
        self.free.push(gone.place);
        true
    }

    /// How many places the table has room for.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Where `sleeper` stands in the table, for as long as they are in.
    pub fn place(&self, sleeper: u64) -> Option<usize> {
        self.sleepers.get(&sleeper).map(|member| member.place)
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
        self.refresh(sleeper);
        Ok(())
    }

    /// What everybody else allows. It is AND-ed with the latch: it can silence a voice but never let one sound that
    /// its sleeper withdrew. Errors if they are not in.
    pub fn set_plan(&mut self, sleeper: u64, voice: bool, hearing: bool, recording: bool) -> Result<(), MixerError> {
        let member = self.member(sleeper)?;
        let before = member.row;
        member.plan = Plan { voice, hearing, recording };
        let after = self.refresh(sleeper);
        if before.live && !after.live || before.recorded && !after.recorded || before.hears && !after.hears {
            self.cut();
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
        self.refresh(sleeper);
        if begins {
            self.cut();
        }
        Ok(())
    }

    /// Lets `listener` hear what the sleeper `ear` hears, and `ear` themself at this level; `None` for their own mix.
    ///
    /// Whom the listener does not hear, or may not, they do not hear through another either; and a listener that keeps
    /// what it hears gets only what may be recorded. Whether `ear` allows it is for the caller to know. Errors if either
    /// is not in, or on a level that is no number from 0 to [`HEARING_MAX`].
    pub fn set_ear(&mut self, listener: u64, ear: Option<(u64, f32)>) -> Result<(), MixerError> {
        self.member(listener)?;
        if let Some((ear, level)) = ear {
            self.member(ear)?;
            if !(0.0..=HEARING_MAX).contains(&level) {
                return Err(MixerError::BadHearing(level));
            }
        }
        self.hear_through(listener, ear);
        Ok(())
    }

    fn hear_through(&mut self, listener: u64, ear: Option<(u64, f32)>) {
        let member = self.sleepers.get_mut(&listener).expect("looked for before");
        let former = std::mem::replace(&mut member.ear, ear);
        self.refresh(listener);
        if former.is_some_and(|(former, _)| ear.is_none_or(|(ear, _)| ear != former)) {
            self.cut();
        }
    }

    /// Replaces the lists of those whom `sleeper` does not want to hear, and of those who may not hear `sleeper`.
    ///
    /// The others need not be in yet. Errors if `sleeper` is not in.
    pub fn set_apart(&mut self, sleeper: u64, unheard: &[u64], unhearing: &[u64]) -> Result<(), MixerError> {
        self.member(sleeper)?;
        let others = |given: &[u64]| {
            let others: BTreeSet<u64> = given.iter().copied().filter(|other| *other != sleeper).collect();
            others.into_iter().collect()
        };
        if self.wish(sleeper, Apart { unheard: others(unheard), unhearing: others(unhearing) }) {
            self.cut();
        }
        Ok(())
    }

    /// The latch: takes the voice out at once and holds it out. Returns the gate epoch from which no mix holds it.
    ///
    /// Always succeeds, also for a sleeper who is not in (it then waits for them), also when the latch is up already:
    /// every call raises the epoch, so that the caller always has a frame to wait for.
    pub fn mute(&mut self, sleeper: u64, withdrawal: Withdrawal) -> u64 {
        self.latches.entry(sleeper).or_insert_with(|| Latch { raised: true, ..Latch::default() }).raise(withdrawal);
        if self.contains(sleeper) {
            self.refresh(sleeper);
        }
        self.cut();
        self.gate_epoch
    }

    /// Lowers the latch if `withdrawal` names the newest withdrawal; `None` suffices if there never was one, or if all
    /// are answered (only joining raised it). Returns whether it is down now; `false` also for a stranger.
    pub fn release(&mut self, sleeper: u64, withdrawal: Option<Withdrawal>) -> bool {
        let lowered = self.latches.get_mut(&sleeper).is_some_and(|latch| latch.release(withdrawal));
        if lowered && self.contains(sleeper) {
            self.refresh(sleeper);
        }
        lowered
    }

    /// Says in every mix whether the room is silent. Returns the gate epoch from which mixes say so, or something newer.
    ///
    /// It takes out no voice: that is for plans to do.
    pub fn set_hush(&mut self, hush: Hush) -> u64 {
        if hush != self.hush {
            self.gate_epoch += 1;
            (self.hush, self.hush_epoch) = (hush, self.gate_epoch);
            self.changes.push(Change::Hush(hush, self.gate_epoch));
        }
        self.hush_epoch
    }

    /// Whether the latch is up. A stranger is muted.
    pub fn is_muted(&self, sleeper: u64) -> bool {
        self.latches.get(&sleeper).is_none_or(|latch| latch.raised)
    }

    /// Whether this sleeper's voice is in the field now: latch down and voice planned.
    pub fn sounds(&self, sleeper: u64) -> bool {
        self.sleepers.get(&sleeper).is_some_and(|member| member.row.live)
    }

    /// The number of cuts so far; see the module's essay.
    pub fn gate_epoch(&self) -> u64 {
        self.gate_epoch
    }

    fn member(&mut self, sleeper: u64) -> Result<&mut Sleeper, MixerError> {
        self.sleepers.get_mut(&sleeper).ok_or(MixerError::UnknownSleeper(sleeper))
    }

    fn cut(&mut self) {
        self.gate_epoch += 1;
        self.changes.push(Change::Epoch(self.gate_epoch));
    }

    /// Changes voice or weight, and with them the part.
    fn change_part(&mut self, sleeper: u64, change: impl FnOnce(&mut Sleeper)) -> Result<(), MixerError> {
        let member = self.member(sleeper)?;
        change(member);
        let change = Change::Part(member.place, Field::of(&member.voice, member.weight));
        self.changes.push(change);
        Ok(())
    }

    /// Brings the table into agreement with latch, plan and levels: the only place that decides who sounds.
    fn refresh(&mut self, sleeper: u64) -> Row {
        let muted = self.is_muted(sleeper);
        let ear = self.sleepers.get(&sleeper).and_then(|member| member.ear);
        let ear = ear.and_then(|(ear, level)| Some((self.place(ear)? as u32, level)));
        let member = self.sleepers.get_mut(&sleeper).expect("who is refreshed is in");
        let live = !muted && member.plan.voice;
        let row = Row {
            live,
            recorded: live && member.plan.recording,
            recorder: member.recorder,
            hears: member.plan.hearing,
            level: member.hearing,
            ear,
        };
        if row != std::mem::replace(&mut member.row, row) {
            self.changes.push(Change::Row(member.place, row));
        }
        row
    }

    /// Replaces what `sleeper` wishes; says whether somebody newly does not hear somebody.
    fn wish(&mut self, sleeper: u64, wished: Apart) -> bool {
        let (mut cut, mut listeners) = (false, BTreeSet::new());
        for pair in wished.pairs(sleeper) {
            let wishes = self.silent.entry(pair).or_insert(0);
            if *wishes == 0 {
                (cut, _) = (true, listeners.insert(pair.0));
                self.unhearing.insert((pair.1, pair.0));
            }
            *wishes += 1;
        }
        let former = match wished.unheard.len() + wished.unhearing.len() {
            0 => self.wishes.remove(&sleeper),
            _ => self.wishes.insert(sleeper, wished),
        };
        for pair in former.unwrap_or_default().pairs(sleeper) {
            let wishes = self.silent.get_mut(&pair).expect("counted when it was wished");
            *wishes -= 1;
            if *wishes == 0 {
                self.silent.remove(&pair);
                self.unhearing.remove(&(pair.1, pair.0));
                listeners.insert(pair.0);
            }
        }
        listeners.into_iter().for_each(|listener| self.keep_apart(listener));
        cut
    }

    /// Tells the table whom `listener` does not hear, of those who are in.
    fn keep_apart(&mut self, listener: u64) {
        let Some(place) = self.place(listener) else { return };
        let speakers = self.silent.range((listener, 0)..=(listener, u64::MAX)).map(|((_, speaker), _)| *speaker);
        let places = speakers.filter_map(|speaker| self.place(speaker)).map(|place| place as u32).collect();
        self.changes.push(Change::Apart(place, places));
    }

    /// `speaker` has come or gone: tells the table so of everybody who does not hear them.
    fn keep_from_others(&mut self, speaker: u64) {
        let pairs = self.unhearing.range((speaker, 0)..=(speaker, u64::MAX));
        let listeners: Vec<u64> = pairs.map(|(_, listener)| *listener).collect();
        listeners.into_iter().for_each(|listener| self.keep_apart(listener));
    }
}
