//! The laws of mixing and of opting out, over random lives of a circle.
use std::ops::{Deref, DerefMut};

use harmonia_core::mix_table::MixTable;
use harmonia_core::mixer::{CircleMixer, MixerError};
use harmonia_core::voice::Voice;
use num_complex::Complex;
use proptest::prelude::*;

const CHANNELS: usize = 3;
const LISTENERS: core::ops::Range<u64> = 0..5;
/// The sleeper whose opting out must leave no trace.
const LEAVER: u64 = 9;

type Bits = Vec<(u32, u32)>;

/// The half that decides and the half that mixes, which hears of the other's changes when it is asked.
struct Circle {
    mixer: CircleMixer,
    table: MixTable,
}

impl Deref for Circle {
    type Target = CircleMixer;
    fn deref(&self) -> &CircleMixer {
        &self.mixer
    }
}

impl DerefMut for Circle {
    fn deref_mut(&mut self) -> &mut CircleMixer {
        &mut self.mixer
    }
}

impl Circle {
    fn new(voice_weight: f32) -> Self {
        Self { mixer: CircleMixer::new(CHANNELS, voice_weight), table: MixTable::new(CHANNELS) }
    }

    fn table(&mut self) -> &MixTable {
        self.mixer.changes().for_each(|mut change| self.table.apply(&mut change));
        assert_eq!((self.table.gate_epoch(), self.table.places()), (self.mixer.gate_epoch(), self.mixer.places()));
        &self.table
    }

    /// What somebody who is not in hears is nothing.
    fn mix(&mut self, sleeper: u64) -> Vec<Complex<f32>> {
        let mut out = vec![Complex::default(); CHANNELS];
        if let Some(place) = self.place(sleeper) {
            out.fill(Complex::new(f32::NAN, f32::NAN));
            self.table().mixes(place, &mut out);
        }
        out
    }
}

fn mix(circle: &mut Circle, sleeper: u64) -> Bits {
    circle.mix(sleeper).iter().map(|m| (m.re.to_bits(), m.im.to_bits())).collect()
}

fn silence() -> Bits {
    vec![(0, 0); CHANNELS]
}

fn voice(parts: &[(f32, f32)]) -> Voice {
    Voice::new(parts.iter().map(|(re, im)| Complex::new(*re, *im)).collect::<Vec<_>>()).unwrap()
}

/// A sleeper who is in, may do everything, and is heard.
fn join(mixer: &mut Circle, sleeper: u64) {
    mixer.add(sleeper);
    mixer.set_plan(sleeper, true, true, true).unwrap();
    assert!(mixer.release(sleeper, None));
}

#[derive(Clone, Debug)]
enum Change {
    Join(u64),
    Leave(u64),
    Speak(u64, Vec<(f32, f32)>),
    Weigh(u64, f32),
    Hear(u64, f32),
    Plan(u64, bool, bool, bool),
    Record(u64, bool),
    KeepApart(u64, Vec<u64>, Vec<u64>),
    Mute(u64, u8),
    Release(u64, Option<u8>),
}

impl Change {
    fn apply(&self, mixer: &mut Circle) {
        // Changes for those who are not in are refused, which is part of the random life.
        match self {
            Self::Join(who) => mixer.add(*who),
            Self::Leave(who) => _ = mixer.remove(*who),
            Self::Mute(who, id) => _ = mixer.mute(*who, [*id; 16]),
            Self::Release(who, id) => _ = mixer.release(*who, id.map(|id| [id; 16])),
            Self::Speak(who, parts) => _ = mixer.set_voice(*who, &voice(parts)),
            Self::Weigh(who, weight) => _ = mixer.set_weight(*who, *weight),
            Self::Hear(who, level) => _ = mixer.set_hearing(*who, *level),
            Self::Plan(who, voice, hearing, recording) => _ = mixer.set_plan(*who, *voice, *hearing, *recording),
            Self::Record(who, recorder) => _ = mixer.set_recorder(*who, *recorder),
            Self::KeepApart(who, unheard, unhearing) => _ = mixer.set_apart(*who, unheard, unhearing),
        }
    }

    fn who(&self) -> u64 {
        match self {
            Self::Join(who) | Self::Leave(who) | Self::Speak(who, _) | Self::Weigh(who, _) | Self::Hear(who, _) => *who,
            Self::Plan(who, ..) | Self::Record(who, _) | Self::KeepApart(who, ..) => *who,
            Self::Mute(who, _) | Self::Release(who, _) => *who,
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let who = || prop_oneof![4 => LISTENERS, 2 => Just(LEAVER)];
    let others = || prop::collection::vec(prop_oneof![LISTENERS, Just(LEAVER)], 0..3);
    let parts = || prop::collection::vec((-2.8f32..2.8, -2.8f32..2.8), CHANNELS);
    prop_oneof![
        2 => who().prop_map(Change::Join),
        1 => who().prop_map(Change::Leave),
        3 => (who(), parts()).prop_map(|(who, parts)| Change::Speak(who, parts)),
        2 => (who(), 0.0f32..16.0).prop_map(|(who, weight)| Change::Weigh(who, weight)),
        2 => (who(), 0.0f32..4.0).prop_map(|(who, level)| Change::Hear(who, level)),
        4 => (who(), any::<[bool; 3]>()).prop_map(|(who, p)| Change::Plan(who, p[0], p[1], p[2])),
        1 => (who(), any::<bool>()).prop_map(|(who, recorder)| Change::Record(who, recorder)),
        2 => (who(), others(), others()).prop_map(|(who, a, b)| Change::KeepApart(who, a, b)),
        1 => (who(), 0u8..3).prop_map(|(who, id)| Change::Mute(who, id)),
        3 => (who(), prop::option::of(0u8..3)).prop_map(|(who, id)| Change::Release(who, id)),
    ]
}

fn life() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 0..60)
}

/// A circle in which everybody begins by being heard.
fn circle() -> Circle {
    let mut mixer = Circle::new(0.5);
    LISTENERS.for_each(|sleeper| join(&mut mixer, sleeper));
    mixer
}

/// What a test that knows nothing of the mixer remembers of a sleeper.
#[derive(Clone, Default)]
struct Facts {
    voice: Vec<(f32, f32)>,
    weight: f32,
    hearing: f32,
    plan: [bool; 3],
    recorder: bool,
    unheard: Vec<u64>,
    unhearing: Vec<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The opt-out law: to the bit, as if the sleeper had never joined.
    #[test]
    fn after_a_mute_every_mix_is_that_of_a_circle_never_joined(life in life()) {
        let (mut with, mut without) = (circle(), circle());
        join(&mut with, LEAVER);
        for change in &life {
            change.apply(&mut with);
            if change.who() != LEAVER {
                change.apply(&mut without);
            }
        }
        with.mute(LEAVER, [255; 16]);
        for listener in LISTENERS {
            prop_assert_eq!(mix(&mut with, listener), mix(&mut without, listener), "listener {}", listener);
        }
        // Nothing but a grant that names the withdrawal brings the voice back.
        for change in life.iter().filter(|change| !matches!(change, Change::Mute(..))) {
            change.apply(&mut with);
            change.apply(&mut without);
            without.mute(LEAVER, [255; 16]);
            prop_assert!(with.is_muted(LEAVER));
            prop_assert!(!with.sounds(LEAVER));
        }
        for listener in LISTENERS {
            prop_assert_eq!(mix(&mut with, listener), mix(&mut without, listener), "listener {}", listener);
        }
    }

    /// A mix is the plain sum over the pairs, which nothing of the mixer's bookkeeping enters.
    #[test]
    fn a_mix_is_the_sum_over_those_who_may_be_heard(life in life()) {
        let mut mixer = circle();
        let fresh = || Facts { voice: vec![(1.0, 0.0); CHANNELS], weight: 0.5, hearing: 1.0, ..Facts::default() };
        let mut facts = std::collections::BTreeMap::new();
        for who in LISTENERS {
            facts.insert(who, Facts { plan: [true; 3], ..fresh() });
        }
        for change in &life {
            change.apply(&mut mixer);
            match change {
                Change::Join(who) => { facts.entry(*who).or_insert_with(fresh); }
                Change::Leave(who) => { facts.remove(who); }
                change => if let Some(f) = facts.get_mut(&change.who()) {
                    match change {
                        Change::Speak(_, voice) => f.voice.clone_from(voice),
                        Change::Weigh(_, weight) => f.weight = *weight,
                        Change::Hear(_, hearing) => f.hearing = *hearing,
                        Change::Plan(_, v, h, r) => f.plan = [*v, *h, *r],
                        Change::Record(_, recorder) => f.recorder = *recorder,
                        Change::KeepApart(_, unheard, unhearing) => {
                            f.unheard.clone_from(unheard);
                            f.unhearing.clone_from(unhearing);
                        }
                        _ => {}
                    }
                },
            }
        }
        for (i, listener) in &facts {
            let mut sum = [(0.0f64, 0.0f64); CHANNELS];
            for (j, other) in &facts {
                let heard = i != j && listener.plan[1] && other.plan[0] && !mixer.is_muted(*j)
                    && (!listener.recorder || other.plan[2])
                    && !listener.unheard.contains(j) && !other.unhearing.contains(i);
                if heard {
                    for (sum, v) in sum.iter_mut().zip(&other.voice) {
                        let scale = f64::from(listener.hearing) * f64::from(other.weight);
                        *sum = (sum.0 + scale * f64::from(v.0), sum.1 + scale * f64::from(v.1));
                    }
                }
            }
            let out = mixer.mix(*i);
            for (got, expected) in out.iter().zip(sum) {
                let error = (f64::from(got.re) - expected.0).hypot(f64::from(got.im) - expected.1);
                prop_assert!(error < 1e-4, "listener {}: {} {:?}", i, got, expected);
            }
        }
    }

    #[test]
    fn the_order_of_joining_leaves_no_trace(
        parts in prop::collection::vec(prop::collection::vec((-2.8f32..2.8, -2.8f32..2.8), CHANNELS), 5),
        order in Just(LISTENERS.collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let build = |order: &[u64]| {
            let mut mixer = Circle::new(0.37);
            for &who in order {
                join(&mut mixer, who);
                mixer.set_voice(who, &voice(&parts[who as usize])).unwrap();
            }
            LISTENERS.map(|who| mix(&mut mixer, who)).collect::<Vec<_>>()
        };
        prop_assert_eq!(build(&order), build(&[0, 1, 2, 3, 4]));
    }
}

#[test]
fn a_newcomer_is_neither_heard_nor_hears() {
    let mut mixer = circle();
    mixer.add(LEAVER);
    assert!(mixer.is_muted(LEAVER));
    assert_eq!(mix(&mut mixer, LEAVER), silence());
    let before = mix(&mut mixer, 0);
    mixer.set_plan(LEAVER, true, true, true).unwrap(); // a plan alone lets nobody sound
    assert_eq!(mix(&mut mixer, 0), before);
    assert!(mixer.release(LEAVER, None));
    assert_ne!(mix(&mut mixer, 0), before);
}

#[test]
fn only_a_grant_that_names_the_newest_withdrawal_lowers_the_latch() {
    let (first, second) = ([1; 16], [2; 16]);
    let mut mixer = circle();
    mixer.mute(0, first);
    mixer.mute(0, second);
    mixer.mute(0, first); // a datagram that was late
    for stale in [None, Some(first), Some([7; 16])] {
        assert!(!mixer.release(0, stale), "{stale:?}");
        assert!(mixer.is_muted(0));
    }
    assert!(mixer.release(0, Some(second)));
    assert!(mixer.sounds(0));
}

#[test]
fn leaving_is_no_way_round_the_latch() {
    let mut mixer = circle();
    mixer.mute(0, [1; 16]);
    assert!(mixer.remove(0));
    mixer.add(0);
    mixer.set_plan(0, true, true, true).unwrap();
    assert!(!mixer.release(0, None));
    assert!(mixer.release(0, Some([1; 16])));
    // Once answered, coming back is like joining.
    mixer.remove(0);
    mixer.add(0);
    assert!(mixer.is_muted(0));
    assert!(mixer.release(0, None));
}

#[test]
fn a_withdrawal_that_arrives_before_its_sleeper_waits_for_them() {
    let mut mixer = circle();
    mixer.mute(LEAVER, [1; 16]);
    mixer.add(LEAVER);
    assert!(!mixer.release(LEAVER, None));
    assert!(mixer.release(LEAVER, Some([1; 16])));
}

#[test]
fn every_cut_raises_the_gate_epoch_and_nothing_else_does() {
    let mut mixer = circle();
    let before = mixer.gate_epoch();
    assert_eq!(mixer.mute(0, [1; 16]), before + 1);
    assert_eq!(mixer.mute(0, [1; 16]), before + 2);
    mixer.set_plan(0, false, true, true).unwrap(); // it does not sound: nothing disappears
    mixer.release(0, Some([1; 16]));
    mixer.set_plan(0, true, true, true).unwrap();
    mixer.set_voice(0, &Voice::ones(CHANNELS)).unwrap();
    mixer.remove(4);
    assert_eq!(mixer.gate_epoch(), before + 2);
    mixer.set_plan(0, true, true, false).unwrap(); // recorders must lose it at once
    assert_eq!(mixer.gate_epoch(), before + 3);
    mixer.set_plan(1, false, true, true).unwrap();
    assert_eq!(mixer.gate_epoch(), before + 4);
    mixer.set_apart(2, &[3], &[]).unwrap();
    assert_eq!(mixer.gate_epoch(), before + 5);
    mixer.set_apart(3, &[], &[2]).unwrap(); // 2 did not hear 3 already
    mixer.set_apart(2, &[], &[]).unwrap();
    assert_eq!(mixer.gate_epoch(), before + 5);
    mixer.set_apart(2, &[], &[3]).unwrap(); // the other way
    assert_eq!(mixer.gate_epoch(), before + 6);
}

#[test]
fn each_of_two_directions_is_kept_apart_by_itself_and_outlives_a_leaving() {
    let mut mixer = circle();
    let level = |mixer: &mut Circle, who: u64| mixer.mix(who)[0].re;
    mixer.set_apart(0, &[1], &[]).unwrap();
    assert_eq!((level(&mut mixer, 0), level(&mut mixer, 1)), (1.5, 2.0), "0 does not hear 1, 1 hears 0");
    mixer.set_apart(0, &[], &[1]).unwrap();
    assert_eq!((level(&mut mixer, 0), level(&mut mixer, 1)), (2.0, 1.5), "1 may not hear 0");
    mixer.remove(1);
    join(&mut mixer, LEAVER); // takes the place that was left
    assert_eq!(level(&mut mixer, LEAVER), 2.0);
    join(&mut mixer, 1);
    assert_eq!((level(&mut mixer, 0), level(&mut mixer, 1)), (2.5, 2.0), "still not");
    mixer.set_apart(0, &[], &[]).unwrap();
    assert_eq!(level(&mut mixer, 1), 2.5);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut mixer = circle();
    let before = mix(&mut mixer, 1);
    assert_eq!(mixer.set_voice(0, &Voice::ones(2)), Err(MixerError::WrongLength { given: 2, channels: 3 }));
    assert_eq!(mixer.set_hearing(77, 1.0), Err(MixerError::UnknownSleeper(77)));
    for bad in [f32::NAN, -1.0, 17.0, f32::INFINITY] {
        assert!(mixer.set_weight(0, bad).is_err());
        assert!(mixer.set_hearing(1, bad).unwrap_err().to_string().contains("from 0 to 4"));
    }
    assert_eq!(mix(&mut mixer, 1), before);
    assert_eq!(mix(&mut mixer, 77), silence());
    assert!(!mixer.release(77, None));
}

#[test]
fn the_field_is_everybody_and_the_recorded_field_those_who_allow_it() {
    let mut mixer = circle();
    let mut out = vec![Complex::default(); CHANNELS];
    mixer.table().field_into(false, &mut out);
    assert_eq!(out[0], Complex::new(2.5, 0.0));
    mixer.set_plan(0, true, true, false).unwrap();
    mixer.table().field_into(true, &mut out);
    assert_eq!(out[0], Complex::new(2.0, 0.0));
}

#[test]
fn who_listens_in_hears_what_the_other_hears_and_the_other_and_no_more_than_they_may() {
    let (ear, listener, third, kept) = (1, 2, 3, 4);
    let mut circle = Circle::new(0.5);
    for (sleeper, level) in [(ear, 1.0), (listener, 0.0), (third, 2.0), (kept, 3.0)] {
        join(&mut circle, sleeper);
        circle.set_voice(sleeper, &voice(&[(level, 0.0); CHANNELS])).unwrap();
    }
    circle.set_hearing(ear, 0.5).unwrap();
    let own_mix = mix(&mut circle, listener);
    let level = |circle: &mut Circle| circle.mix(listener)[0].re;
    circle.set_ear(listener, Some((ear, 0.25))).unwrap();
    assert_eq!(level(&mut circle), 0.5 * (0.5 * (2.0 + 3.0)) + 0.25 * 0.5, "theirs, and themself");

    circle.set_apart(kept, &[], &[listener]).unwrap();
    assert_eq!(level(&mut circle), 0.5 * (0.5 * 2.0) + 0.25 * 0.5, "nobody is heard through another's ears");
    circle.set_apart(ear, &[third], &[listener]).unwrap();
    assert_eq!(level(&mut circle), 0.0);
    circle.set_apart(ear, &[], &[]).unwrap();

    circle.set_plan(third, true, true, false).unwrap();
    circle.set_recorder(listener, true).unwrap();
    assert_eq!(level(&mut circle), 0.25 * 0.5, "who records gets what may be recorded");
    circle.set_plan(ear, true, true, false).unwrap();
    assert_eq!(level(&mut circle), 0.0);
    circle.set_recorder(listener, false).unwrap();
    circle.set_plan(third, true, true, true).unwrap();
    circle.set_plan(ear, true, true, true).unwrap();
    circle.set_apart(kept, &[], &[]).unwrap();
    assert_eq!(level(&mut circle), 0.5 * (0.5 * (2.0 + 3.0)) + 0.25 * 0.5);

    circle.mute(ear, [7; 16]);
    assert_eq!(level(&mut circle), 0.5 * (0.5 * (2.0 + 3.0)), "a withdrawn voice is not heard by the back door");
    let epoch = circle.gate_epoch();
    circle.set_ear(listener, None).unwrap();
    assert!(circle.gate_epoch() > epoch, "with a cut");
    circle.release(ear, Some([7; 16]));
    assert_eq!(mix(&mut circle, listener), own_mix, "as if it had never been");

    circle.set_ear(listener, Some((ear, 1.0))).unwrap();
    let epoch = circle.gate_epoch();
    circle.remove(ear);
    assert!(circle.gate_epoch() > epoch);
    let place = circle.place(listener).unwrap();
    assert_eq!(circle.table().ear(place), None);
    assert!(circle.set_ear(listener, Some((ear, 1.0))).is_err(), "gone");
    assert!(circle.set_ear(listener, Some((third, f32::NAN))).is_err());
}
