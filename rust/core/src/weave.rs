//! A circle's sleepers as coupled rhythms, from one node time to the next.
//!
//! [`Population`] knows numbers; here they become people. Each has a timeline of their own, or the circle's where they set
//! none; a coupling and a weight, as far as they consent; and a *seat* while their platform is there with a locked clock.
//! Who has no seat is neither pulled nor counted: a mean over people who have gone would hold those who stay.
//!
//! Displacements live nowhere but here and on the platforms, and need no journal: a platform that hears no frames holds
//! its displacement, says where it is with every status, and is given its seat there. So a node's restart, a lost network
//! and a new platform are one case, and none of them makes a phase jump. Both sides evaluate the same integers at the same
//! instant, so somebody who was never displaced is seated at exactly zero.
use std::collections::BTreeMap;
use std::sync::Arc;

use core::f64::consts::TAU;

use num_complex::Complex;

use crate::coupling::{self, CouplingError, Oscillator, Population, Strength};
use crate::phase::{Phase, PhaseOffset};
use crate::rhythm::{Frequency, Rhythm};
use crate::units::{NodeTime, Span};

/// K and the spread of frequencies come to no more than this in a step, radians: an error of about 1e-6 of the pull.
const STEP_RAD: f64 = 0.2;
/// However far one sleeper's frequency is from the others', an advance costs no more steps. (Who is that far off is pulled
/// both ways in turn, and not at all in the mean; so it hardly matters how exactly.)
const STEPS_MAX: usize = 32;
/// A longer pause was no night: nobody is pulled for it.
const PAUSE_MAX: Span = Span::from_s(2);
/// An achieved frequency is a mean of about this long.
const ACHIEVED_S: f64 = 10.0;
/// Slower than this (about one cycle in 105 s) a rhythm counts as this slow, rad/s, where a pull is weighed against it.
pub const RHYTHM_MIN_RAD_S: f64 = 0.06;

/// The sleepers of one circle. Pure; time is an argument.
#[derive(Clone, Debug, Default)]
pub struct Weave {
    strength: Strength,
    /// Everybody's place in `members` and in `population`.
    places: BTreeMap<u64, usize>,
    members: Vec<Member>,
    population: Population,
    mean: Complex<f64>,
    now: Option<NodeTime>,
}

#[derive(Clone, Debug)]
struct Member {
    sleeper: u64,
    own: Option<Arc<Rhythm>>,
    coupling: f32,
    weight: f32,
    /// Withdrawn, and whoever plans here does not know it yet.
    released: bool,
    seated: bool,
    pulled: PhaseOffset,
    /// How fast the displacement has grown of late, turns a second.
    drift_hz: f64,
}

/// How one sleeper stands in a weave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Thread {
    /// Whose.
    pub sleeper: u64,
    /// Whether they are in the mean.
    pub woven: bool,
    /// θ, before the sleeper's own offset.
    pub phase: Phase,
    /// How far the others have displaced them from their own timeline.
    pub pulled: PhaseOffset,
    /// ω as they set it, hertz.
    pub own_hz: f64,
    /// What it comes to of late, hertz.
    pub achieved_hz: f64,
    /// c·K·R·|sin(Ψ − θ + α)| / max(|ω|, 0.06 rad/s): what the circle puts on this person.
    pub pull: f64,
}

impl Weave {
    /// How the circle pulls from the next step on.
    pub fn set_strength(&mut self, strength: Strength) {
        self.strength = strength;
    }

    /// A sleeper joins: on the circle's rhythm, coupled to nobody, not seated.
    pub fn add(&mut self, sleeper: u64) {
        if self.places.contains_key(&sleeper) {
            return;
        }
        self.places.insert(sleeper, self.members.len());
        self.members.push(Member {
            sleeper,
            own: None,
            coupling: 0.0,
            weight: 0.0,
            released: false,
            seated: false,
            pulled: PhaseOffset::ZERO,
            drift_hz: 0.0,
        });
    }

    /// A sleeper is gone.
    pub fn remove(&mut self, sleeper: u64) {
        let Some(place) = self.places.remove(&sleeper) else { return };
        if self.population.len() == self.members.len() {
            self.population.swap_remove(place);
        } else {
            // Somebody came since the last advance: the next one lays everybody in anew.
            self.population = Population::default();
        }
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.sleeper, place);
        }
    }

    fn member(&mut self, sleeper: u64) -> Option<&mut Member> {
        self.places.get(&sleeper).map(|place| &mut self.members[*place])
    }

    /// The sleeper's own timeline; `None` for the circle's. Nothing else of them changes.
    pub fn set_own(&mut self, sleeper: u64, own: Option<Arc<Rhythm>>) {
        if let Some(member) = self.member(sleeper) {
            member.own = own;
        }
    }

    /// How far the sleeper lets the circle pull them, 0 to 1, and what they count in the mean; from the next step on.
    ///
    /// After a [`Weave::release`], nothing but 0 for both is believed until that was said: a plan that was made before the
    /// withdrawal was known must not undo it.
    pub fn set_coupling(&mut self, sleeper: u64, coupling: f32, weight: f32) -> Result<(), CouplingError> {
        coupling::check(coupling, weight)?;
        if let Some(member) = self.member(sleeper) {
            member.released &= (coupling, weight) != (0.0, 0.0);
            if !member.released {
                (member.coupling, member.weight) = (coupling, weight);
            }
        }
        Ok(())
    }

    /// Out of the mean, and pulled no more: from the next step on. Their phase goes on where it is.
    pub fn release(&mut self, sleeper: u64) {
        if let Some(member) = self.member(sleeper) {
            (member.coupling, member.weight, member.released) = (0.0, 0.0, true);
        }
    }

    /// Whether the sleeper waits for a seat.
    pub fn is_waiting(&self, sleeper: u64) -> bool {
        self.places.get(&sleeper).is_some_and(|place| !self.members[*place].seated)
    }

    /// The sleeper's platform is there: at `at` it had this phase, its offset not counted.
    pub fn seat(&mut self, sleeper: u64, at: NodeTime, phase: Phase, rhythm: &Rhythm) {
        if let Some(member) = self.member(sleeper).filter(|member| !member.seated) {
            let own = member.own.as_deref().unwrap_or(rhythm);
            (member.pulled, member.seated, member.drift_hz) = (phase - own.phase_at(at), true, 0.0);
        }
    }

    /// The sleeper's platform has not been heard for a while.
    pub fn unseat(&mut self, sleeper: u64) {
        if let Some(member) = self.member(sleeper) {
            member.seated = false;
        }
    }

    /// Brings everybody to `to`; what was set before holds for all of the way. Time that runs backwards moves nobody.
    pub fn advance(&mut self, to: NodeTime, rhythm: &Rhythm) {
        let from = *self.now.get_or_insert(to);
        let way = to - from;
        if way <= Span::ZERO {
            return;
        }
        self.now = Some(to);
        self.gather(from, from + Span::from_ns(way.ns() / 2), rhythm);
        if way > PAUSE_MAX || self.strength.k() == 0.0 {
            self.gather(to, to, rhythm);
            self.mean = self.population.mean();
            return;
        }
        let steps = self.steps(way);
        let step = Span::from_ns(way.ns() / steps as i64);
        self.population.steps(step, steps - 1, self.strength);
        self.mean = self.population.steps(way - Span::from_ns(step.ns() * (steps as i64 - 1)), 1, self.strength);
        let share = 1.0 - (-way.as_s_f64() / ACHIEVED_S).exp();
        for (place, member) in self.members.iter_mut().enumerate() {
            let pulled = self.population.get(place).pulled;
            let rate_hz = (pulled + -member.pulled).turns() / way.as_s_f64();
            member.drift_hz += share * (rate_hz - member.drift_hz);
            member.pulled = pulled;
        }
    }

    /// Lays everybody's exact timeline at `at`, with its frequency at `middle`, into the population.
    fn gather(&mut self, at: NodeTime, middle: NodeTime, rhythm: &Rhythm) {
        let population = &mut self.population;
        for (place, member) in self.members.iter().enumerate() {
            let own = member.own.as_deref().unwrap_or(rhythm);
            let (coupling, weight) = if member.seated { (member.coupling, member.weight) } else { (0.0, 0.0) };
            let frequency = own.frequency_at(middle);
            let one = Oscillator { own: own.phase_at(at), frequency, pulled: member.pulled, coupling, weight };
            let taken = if place < population.len() { population.set(place, one) } else { population.push(one) };
            taken.expect("checked when they were set");
        }
    }

    /// How many steps `way` takes: see [`STEP_RAD`].
    fn steps(&self, way: Span) -> usize {
        let woven = (0..self.population.len()).map(|place| self.population.get(place)).filter(|one| one.weight > 0.0);
        let (mut count, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
        for one in woven {
            let rad_s = one.frequency.hz() * TAU;
            (count, sum, squares) = (count + 1.0, sum + rad_s, squares + rad_s * rad_s);
        }
        let mean = sum / count.max(1.0);
        let spread = (squares / count.max(1.0) - mean * mean).max(0.0).sqrt();
        let radians = (self.strength.k() + 2.0 * spread) * way.as_s_f64();
        ((radians / STEP_RAD).ceil() as usize).clamp(1, STEPS_MAX)
    }

    /// Where a sleeper is at `now`, to which everybody was advanced, and how fast they go; `None` for a stranger.
    pub fn course(&self, sleeper: u64, now: NodeTime, rhythm: &Rhythm) -> Option<(Phase, Frequency)> {
        let place = *self.places.get(&sleeper)?;
        let member = &self.members[place];
        let own = member.own.as_deref().unwrap_or(rhythm);
        let frequency = own.frequency_at(now);
        let pulled = member.seated && member.coupling > 0.0 && place < self.population.len();
        let pull = if pulled { self.population.pull(place, self.strength, self.mean) / TAU } else { 0.0 };
        let pull = Frequency::from_hz(pull).unwrap_or_default();
        let frequency = Frequency::from_units(frequency.units().wrapping_add(pull.units()));
        Some((own.phase_at(now) + member.pulled, frequency))
    }

    /// R·e^{iΨ} as of the last advance.
    pub fn mean(&self) -> Complex<f64> {
        self.mean
    }

    /// How everybody with a seat stands, as of the last advance.
    pub fn threads(&self, rhythm: &Rhythm) -> Vec<Thread> {
        let Some(now) = self.now else { return Vec::new() };
        let seated =
            self.members.iter().enumerate().filter(|(place, one)| one.seated && *place < self.population.len());
        seated
            .map(|(place, member)| {
                let own = member.own.as_deref().unwrap_or(rhythm);
                let own_hz = own.frequency_at(now).hz();
                let pull = self.population.pull(place, self.strength, self.mean).abs();
                Thread {
                    sleeper: member.sleeper,
                    woven: member.weight > 0.0,
                    phase: own.phase_at(now) + member.pulled,
                    pulled: member.pulled,
                    own_hz,
                    achieved_hz: own_hz + member.drift_hz,
                    pull: pull / (own_hz * TAU).abs().max(RHYTHM_MIN_RAD_S),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::rhythm::Segment;
    use proptest::prelude::*;

    const TICK: Span = Span::from_ms(200);

    fn at(ms: i64) -> NodeTime {
        NodeTime::from_ns(ms * 1_000_000)
    }

    fn steady(hz: f64) -> Rhythm {
        Rhythm::new(Segment::constant(at(0), Phase::ZERO, Frequency::from_hz(hz).unwrap()))
    }

    /// Everybody coupled wholly, each on a rhythm of their own, beginning at 0.
    fn weave(hz: &[f64], k: f64) -> Weave {
        let mut weave = Weave::default();
        weave.set_strength(Strength::new(k, 0.0).unwrap());
        for (sleeper, hz) in hz.iter().enumerate() {
            weave.add(sleeper as u64);
            weave.set_own(sleeper as u64, Some(Arc::new(steady(*hz))));
            weave.set_coupling(sleeper as u64, 1.0, 1.0).unwrap();
            weave.seat(sleeper as u64, at(0), Phase::ZERO, &steady(4.0));
        }
        weave.advance(at(0), &steady(4.0));
        weave
    }

    fn run(weave: &mut Weave, from: NodeTime, ticks: i64) -> NodeTime {
        let mut now = from;
        for _ in 0..ticks {
            now += TICK;
            weave.advance(now, &steady(4.0));
        }
        now
    }

    fn phase(weave: &Weave, sleeper: u64, now: NodeTime) -> Phase {
        weave.course(sleeper, now, &steady(4.0)).unwrap().0
    }

    #[test]
    fn two_lock_at_the_angle_that_the_law_says() {
        let mut weave = weave(&[4.0, 4.05], 1.0);
        let now = run(&mut weave, at(0), 300);
        let phi = (phase(&weave, 1, now) - phase(&weave, 0, now)).turns() * TAU;
        assert!((phi.sin() - 0.05 * TAU).abs() < 1e-4, "sin φ = 2Δω/(k₁+k₂) = {}: {}", 0.05 * TAU, phi.sin());
        for thread in weave.threads(&steady(4.0)) {
            assert!((thread.achieved_hz - 4.025).abs() < 1e-3, "{thread:?}");
            let pull = 0.025 * TAU / (thread.own_hz * TAU);
            assert!((thread.pull - pull).abs() < 1e-4, "{thread:?} {pull}");
        }
    }

    #[test]
    fn who_is_not_coupled_leads_and_follows_nobody() {
        let mut weave = weave(&[4.0, 4.05], 1.0);
        weave.set_coupling(0, 0.0, 1.0).unwrap();
        let now = run(&mut weave, at(0), 300);
        assert_eq!(
            weave.course(0, now, &steady(1.0)),
            Some((steady(4.0).phase_at(now), Frequency::from_hz(4.0).unwrap()))
        );
        let phi = (phase(&weave, 1, now) - phase(&weave, 0, now)).turns() * TAU;
        assert!((phi.sin() - 2.0 * 0.05 * TAU).abs() < 1e-4, "{}", phi.sin());
    }

    #[test]
    fn a_withdrawal_takes_effect_in_the_very_next_step_and_moves_nobody() {
        let mut weave = weave(&[4.0, 4.05, 3.9], 2.0);
        let now = run(&mut weave, at(0), 50);
        let before = [0, 1, 2].map(|sleeper| phase(&weave, sleeper, now));
        weave.release(2);
        weave.set_coupling(2, 1.0, 1.0).unwrap(); // a plan from before
        assert_eq!(before, [0, 1, 2].map(|sleeper| phase(&weave, sleeper, now)));
        let mut without = weave.clone();
        without.remove(2);
        let own = weave.threads(&steady(4.0))[2].pulled;
        let now = now + Span::from_ms(1);
        weave.advance(now, &steady(4.0));
        without.advance(now, &steady(4.0));
        assert_eq!(weave.threads(&steady(4.0))[2].pulled, own, "pulled no more");
        for sleeper in [0, 1] {
            assert_eq!(phase(&weave, sleeper, now), phase(&without, sleeper, now), "as if they had gone");
        }
        weave.set_coupling(2, 0.0, 0.0).unwrap();
        weave.set_coupling(2, 1.0, 1.0).unwrap();
        weave.advance(now + TICK, &steady(4.0));
        assert_ne!(weave.threads(&steady(4.0))[2].pulled, own, "a new grant is believed");
    }

    #[test]
    fn a_restarted_node_goes_on_where_the_platforms_are() {
        let hz = [4.0, 4.05, 3.9];
        let mut before = weave(&hz, 2.0);
        let now = run(&mut before, at(0), 50);
        let mut after = Weave::default();
        after.set_strength(Strength::new(2.0, 0.0).unwrap());
        for (sleeper, hz) in (0..).zip(hz) {
            after.add(sleeper);
            after.set_own(sleeper, Some(Arc::new(steady(hz))));
            after.set_coupling(sleeper, 1.0, 1.0).unwrap();
            assert!(after.is_waiting(sleeper));
            after.seat(sleeper, now, phase(&before, sleeper, now), &steady(4.0));
        }
        after.advance(now, &steady(4.0));
        for sleeper in 0..3 {
            assert_eq!(phase(&after, sleeper, now), phase(&before, sleeper, now));
        }
        let then = run(&mut after, now, 20);
        run(&mut before, now, 20);
        for sleeper in 0..3 {
            let off = (phase(&after, sleeper, then) - phase(&before, sleeper, then)).turns();
            assert!(off.abs() < 1e-12, "{off}");
        }
    }

    #[test]
    fn nobody_without_a_seat_is_counted() {
        let mut weave = weave(&[4.0, 4.0, 4.0], 2.0);
        weave.unseat(1);
        let now = run(&mut weave, at(0), 1);
        assert_eq!(weave.threads(&steady(4.0)).len(), 2);
        assert!(weave.is_waiting(1));
        weave.seat(1, now, steady(4.0).phase_at(now), &steady(4.0));
        assert_eq!(weave.threads(&steady(4.0))[1].pulled, PhaseOffset::ZERO, "never displaced: exactly");
    }

    #[test]
    fn a_pause_pulls_nobody() {
        let mut weave = weave(&[4.0, 4.4], 2.0);
        let now = run(&mut weave, at(0), 3);
        let before = weave.threads(&steady(4.0)).iter().map(|thread| thread.pulled).collect::<Vec<_>>();
        weave.advance(now + Span::from_s(3), &steady(4.0));
        assert_eq!(before, weave.threads(&steady(4.0)).iter().map(|thread| thread.pulled).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn whatever_the_others_do_an_uncoupled_sleeper_is_on_their_own_rhythm_to_the_bit(
            deeds in prop::collection::vec((0u64..6, 0u8..7, 0.0f32..=1.0, -9.0f64..9.0), 1..60)
        ) {
            let mut weave = weave(&[4.0, 4.1, 4.2, 3.7], 3.0);
            weave.add(99);
            weave.set_own(99, Some(Arc::new(steady(0.25))));
            weave.set_coupling(99, 0.0, 1.0).unwrap();
            weave.seat(99, at(0), Phase::ZERO, &steady(4.0));
            let mut now = at(0);
            for (sleeper, deed, share, hz) in deeds {
                match deed {
                    0 => weave.set_coupling(sleeper, share, 1.0).unwrap(),
                    1 => weave.set_own(sleeper, Some(Arc::new(steady(hz)))),
                    2 => weave.remove(sleeper),
                    3 => weave.add(sleeper),
                    4 => weave.seat(sleeper, now, Phase::from_bits((hz * 1e18) as i64 as u64), &steady(4.0)),
                    5 => weave.set_strength(Strength::new(100.0 * f64::from(share), hz / 9.0).unwrap()),
                    _ => weave.release(sleeper),
                }
                now += Span::from_ms(1 + (share * 300.0) as i64);
                weave.advance(now, &steady(4.0));
                let own = (steady(0.25).phase_at(now), Frequency::from_hz(0.25).unwrap());
                prop_assert_eq!(weave.course(99, now, &steady(4.0)), Some(own));
            }
        }
    }
}
