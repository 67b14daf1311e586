//! The ticker by hand: orders in, sealed frames out, and a clock of the test's own.
use std::sync::atomic::Ordering;
use std::sync::Arc;

use harmonia_core::frame::MixFrame;
use harmonia_core::hush::Hush;
use harmonia_core::mixer::CircleMixer;
use harmonia_core::seal::{claimed_session, Direction, Opener, Sealer, Use};
use harmonia_core::units::{NodeTime, Span};
use harmonia_io::handover::{hand_over, Giver};
use harmonia_io::os;
use harmonia_io::socket::{Batch, Socket, BATCH};
use harmonia_io::ticker::{CircleTick, Heard, Line, Order, TickStats, Ticker, What, FRAME_INTERVAL, TICK_MIN};
use num_complex::Complex;

#[path = "../../core/tests/counting/mod.rs"]
mod counting;
use counting::allocations;

const CHANNELS: usize = 4;

/// Circles whose sleepers are all there, each with a voice of ones; their platforms share a few sockets.
struct House {
    giver: Giver<Order>,
    ticker: Ticker,
    stats: TickStats,
    mixers: Vec<CircleMixer>,
    sockets: Vec<Socket>,
    openers: Vec<Opener>,
    /// What frames said of the room, and to whom.
    hushes: Vec<(usize, Option<Hush>)>,
    now: NodeTime,
}

/// Whether the platform of `who` understands what frames say of the room: one in three is from before they did.
fn hears_hush(who: usize) -> bool {
    !who.is_multiple_of(3)
}

/// What a listener was told: who (from 0, all circles through), the gate epoch, whether marked as a cut, how many heard.
type Told = (usize, u64, bool, f32);

impl House {
    fn new(circles: &[u64]) -> Self {
        let socket = || Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let ((mut giver, taker), sockets) = (hand_over(), (0..4).map(|_| socket()).collect::<Vec<_>>());
        let now = NodeTime::from_ns(1_000_000_000_000);
        let ticker = Ticker::new(taker, Arc::new(socket()), now);
        let (mut mixers, mut openers) = (Vec::new(), Vec::new());
        for (circle, &sleepers) in circles.iter().enumerate() {
            let mut mixer = CircleMixer::new(CHANNELS, 1.0);
            (0..sleepers).for_each(|sleeper| {
                mixer.add(sleeper);
                mixer.set_plan(sleeper, true, true, true).unwrap();
                mixer.release(sleeper, None);
            });
            let room = std::iter::repeat_with(|| None).take(mixer.places()).collect();
            let mut orders = vec![What::Open(Some(Box::new(CircleTick::new(CHANNELS)))), What::Room(room)];
            orders.extend(mixer.changes().map(What::Mix));
            for sleeper in 0..sleepers {
                let (session, secret) = (openers.len() as u64, [openers.len() as u8; 32]);
                let place = mixer.place(sleeper).unwrap();
                let sealer = Sealer::new(&secret, session, Direction::Down);
                let line = Line::new(sleeper, sealer, 0, hears_hush(openers.len()), os::raw_ns());
                let address = sockets[openers.len() % sockets.len()].local_addr().unwrap();
                let heard = Heard { address, raw_ns: os::raw_ns(), epoch: None, phase: None };
                orders.push(What::Join(sleeper));
                orders.push(What::Attach(place, Some(Box::new(line))));
                orders.push(What::Heard(place, heard));
                openers.push(Opener::new(&secret, session, Direction::Down));
            }
            giver.give(orders.into_iter().map(|what| Order { circle, what }));
            mixers.push(mixer);
        }
        Self { giver, ticker, stats: TickStats::default(), mixers, sockets, openers, hushes: Vec::new(), now }
    }

    fn order(&mut self, circle: usize, also: Option<What>) {
        let all = self.mixers[circle].changes().map(What::Mix).chain(also);
        self.giver.give(all.map(|what| Order { circle, what }));
    }

    fn mute(&mut self, circle: usize, sleeper: u64) {
        self.mixers[circle].mute(sleeper, [1; 16]);
        self.order(circle, Some(What::Timed(os::raw_ns())));
    }

    fn pass(&mut self) -> NodeTime {
        self.ticker.pass(self.now, &self.stats)
    }

    /// What has come since the last call; on loopback what was sent is there already.
    fn told(&mut self) -> Vec<Told> {
        let (mut batch, mut told) = (Batch::default(), Vec::new());
        for socket in &self.sockets {
            while socket.receive(&mut batch).unwrap() > 0 {
                for datagram in batch.datagrams() {
                    let who = claimed_session(datagram.bytes).unwrap() as usize;
                    let (kind, payload) = self.openers[who].open(datagram.bytes).unwrap();
                    assert_eq!(kind, Use::Mix);
                    let frame = MixFrame::decode(payload).unwrap();
                    assert!(frame.others.iter().all(|m| *m == Complex::new(frame.others[0].re, 0.0)), "{frame:?}");
                    self.hushes.push((who, frame.hush));
                    told.push((who, frame.gate_epoch, frame.cut, frame.others[0].re));
                }
            }
        }
        told.sort_by_key(|told| told.0);
        told
    }
}

#[test]
fn a_mute_in_the_middle_of_a_tick_is_in_all_that_is_left_of_it_and_in_the_next() {
    let mut house = House::new(&[700]);
    house.pass();
    let before = house.told();
    assert!(
        (1..700).contains(&before.len()) && before.iter().all(|told| (told.1, told.2, told.3) == (0, false, 699.0))
    );
    house.mute(0, 699);
    let mut after = Vec::new();
    while house.pass() <= house.now {
        after.extend(house.told());
    }
    after.extend(house.told());
    // Everybody but 699 now hears one less; who had a frame already has one more, the others only this one.
    after.sort_by_key(|told| told.0);
    let expected: Vec<Told> = (0..700).map(|who| (who, 1, true, if who == 699 { 699.0 } else { 698.0 })).collect();
    assert_eq!(after, expected);
    let cuts = &house.stats.cuts;
    assert_eq!((cuts.last.count(), cuts.ticks_max.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_silence_in_the_middle_of_a_tick_is_in_all_that_is_left_of_it_and_in_the_next_and_so_is_its_lift() {
    let mut house = House::new(&[700]);
    house.pass();
    assert!((1..700).contains(&house.told().len()));
    let mut former = Hush::Lifted;
    for (epoch, hush) in [(1, Hush::Silent), (2, Hush::Alarm), (3, Hush::Lifted)] {
        assert!(house.hushes.drain(..).all(|(who, told)| told == hears_hush(who).then_some(former)));
        assert_eq!((house.mixers[0].set_hush(hush), house.mixers[0].set_hush(hush)), (epoch, epoch));
        house.order(0, None);
        let mut told = Vec::new();
        let mut due = house.pass();
        while due <= house.now + TICK_MIN && told.len() < 700 {
            told.extend(house.told());
            house.now = house.now.max(due);
            due = house.pass();
        }
        told.extend(house.told());
        let mut who: Vec<usize> = told.iter().map(|told| told.0).collect();
        who.sort_unstable();
        who.dedup();
        assert_eq!(who.len(), 700, "everybody is told at once");
        assert!(told.iter().all(|told| (told.1, told.2) == (epoch, true)), "by a cut");
        former = hush;
    }
    assert!(house.hushes.iter().all(|(who, told)| *told == hears_hush(*who).then_some(former)));
}

#[test]
fn a_mute_that_is_ordered_while_frames_are_sealed_is_in_the_next_of_them() {
    let mut house = House::new(&[600]);
    let finish = |house: &mut House| {
        let mut told = Vec::new();
        loop {
            let due = house.pass();
            told.extend(house.told());
            if due > house.now + TICK_MIN {
                return told;
            }
            house.now = house.now.max(due);
        }
    };
    finish(&mut house);
    let mut in_the_middle = 0;
    while in_the_middle < 5 {
        house.mixers[0].release(0, Some([1; 16]));
        house.mute(0, 1); // a tick for all, in passes of hundreds of frames
        let sealed = || house.stats.frames_sealed.load(Ordering::SeqCst);
        let (begin, mixer) = (sealed(), &mut house.mixers[0]);
        mixer.mute(0, [1; 16]);
        let changes: Vec<_> = mixer.changes().map(What::Mix).collect();
        let (giver, ticker, now) = (&mut house.giver, &mut house.ticker, house.now);
        let stats = &house.stats;
        let known = std::thread::scope(|scope| {
            let muting = scope.spawn(|| {
                while stats.frames_sealed.load(Ordering::SeqCst) < begin + 50 {
                    std::hint::spin_loop();
                }
                giver.give(changes.into_iter().map(|what| Order { circle: 0, what }));
                stats.frames_sealed.load(Ordering::SeqCst) - begin
            });
            while !muting.is_finished() {
                ticker.pass(now, stats);
            }
            muting.join().unwrap()
        });
        let told = finish(&mut house);
        // Who hears neither themself nor 1 hears 598 with 0 and 597 without. One frame may have been under way.
        let with = told.iter().filter(|told| told.0 > 1 && told.3 == 598.0).count() as u64;
        assert!(with <= known + 1, "{with} frames held the voice, of which {known} were known when it was muted");
        assert!(told.iter().filter(|told| told.0 > 1).all(|told| told.3 == 598.0 || told.3 == 597.0));
        in_the_middle += u64::from(known < 500);
        house.now += FRAME_INTERVAL;
        finish(&mut house);
    }
}

#[test]
fn a_cut_does_not_wait_for_another_circles_frames() {
    let mut house = House::new(&[2_000, 3]);
    house.pass();
    let told = house.told();
    assert!(told.iter().all(|told| told.0 < 2_000), "the large one is first in turn");
    house.mute(1, 0);
    house.pass();
    assert_eq!(house.told(), [(2_000, 1, true, 2.0), (2_001, 1, true, 1.0), (2_002, 1, true, 1.0)]);
}

#[test]
fn a_cut_goes_on_at_once_when_regular_frames_come_due_in_its_middle_or_have_just() {
    for early in [Span::from_ms(1), Span::ZERO] {
        let mut house = House::new(&[2_000]);
        let regular = house.now + FRAME_INTERVAL;
        loop {
            let due = house.pass();
            house.told();
            if due >= regular {
                break;
            }
            house.now = due;
        }
        house.now = regular - early;
        house.mute(0, 0);
        house.pass();
        house.now = regular;
        let mut told = house.told();
        while house.pass() <= house.now {
            told.extend(house.told());
        }
        told.extend(house.told());
        let listeners: std::collections::BTreeSet<usize> = told.iter().map(|told| told.0).collect();
        assert_eq!(listeners.len(), 2_000, "{early:?} before the regular time");
        assert!(told.iter().all(|told| told.1 == 1 && told.2));
    }
}

#[test]
fn regular_frames_go_on_after_the_clock_was_stepped_back() {
    let mut house = House::new(&[3]);
    house.pass();
    assert_eq!(house.told().len(), 3);
    house.now = house.now - Span::from_s(3600);
    house.pass();
    assert_eq!(house.told().len(), 3);
}

#[test]
fn regular_frames_come_evenly_and_to_everybody_within_their_interval() {
    let mut house = House::new(&[1_500, 1, 499]);
    let (begin, mut counts, mut told) = (house.now, Vec::new(), Vec::new());
    loop {
        let due = house.pass();
        assert!(due > house.now);
        let frames = house.told();
        counts.push(frames.len());
        told.extend(frames);
        if due >= begin + FRAME_INTERVAL {
            break;
        }
        house.now = due;
    }
    told.sort_by_key(|told| told.0);
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), (0..2_000).collect::<Vec<_>>());
    assert!(counts.iter().all(|count| *count <= BATCH), "{counts:?}");
}

#[test]
fn a_lone_cut_has_a_tick_at_once_and_a_storm_one_each_five_milliseconds() {
    let mut house = House::new(&[20]);
    house.pass();
    house.told();
    let ms = |ms: i64| Span::from_ms(ms);
    house.now += ms(50);
    house.mute(0, 0);
    assert!(house.pass() > house.now);
    assert_eq!(house.told().len(), 20, "at once");
    let begun = house.now;
    for sleeper in 1..5 {
        house.now += ms(1);
        house.mute(0, sleeper);
        assert_eq!(house.pass(), begun + TICK_MIN, "together with all that come meanwhile");
        assert_eq!(house.told(), []);
    }
    house.now = begun + TICK_MIN;
    house.pass();
    let told = house.told();
    assert!(told.len() == 20 && told.iter().all(|told| told.1 == 5 && told.2), "{told:?}");
    // Nobody acknowledges: 5 and 20 ms later again, and then with the regular frames.
    let first = house.now;
    for (later, frames) in [(4, 0), (5, 20), (19, 0), (20, 20), (40, 0)] {
        house.now = first + ms(later);
        house.pass();
        assert_eq!(house.told().len(), frames, "after {later} ms");
    }
    house.now += FRAME_INTERVAL;
    house.pass();
    assert!(house.told().iter().all(|told| told.2));
    let (line, address) = (0, house.sockets[0].local_addr().unwrap());
    let heard = Heard { address, raw_ns: os::raw_ns(), epoch: Some(5), phase: None };
    house.order(0, Some(What::Heard(line, heard)));
    house.now += FRAME_INTERVAL;
    house.pass();
    let cut: Vec<bool> = house.told().iter().map(|told| told.2).collect();
    assert_eq!((cut.len(), cut[0], cut[1]), (20, false, true), "who has acknowledged is told no more");
    assert_eq!(house.stats.cuts.ticks_max.load(Ordering::Relaxed), 1);
}

#[test]
fn from_an_order_to_the_socket_the_ticker_allocates_nothing() {
    let mut house = House::new(&[100, 50]);
    house.pass();
    let mut calls = 0;
    for step in 0..500u64 {
        let (circle, sleeper) = ((step % 2) as usize, step * 7 % 50);
        house.now += Span::from_ms(3);
        let mixer = &mut house.mixers[circle];
        match step % 5 {
            0 => _ = mixer.mute(sleeper, [step as u8; 16]),
            1 => mixer.set_apart(sleeper, &[step % 11, 3], &[step % 13]).unwrap(),
            2 => mixer.set_weight(sleeper, (step % 7) as f32).unwrap(),
            3 => mixer.set_plan(sleeper, step % 3 > 0, true, false).unwrap(),
            _ => _ = mixer.release(sleeper, Some([(step - 4) as u8; 16])),
        }
        let acknowledge = What::Acknowledge(step as usize % 20, [3; 16]);
        house.order(circle, Some(if step % 2 == 0 { What::Timed(os::raw_ns()) } else { acknowledge }));
        let House { ticker, stats, now, .. } = &mut house;
        calls += allocations(|| _ = ticker.pass(*now, stats));
    }
    assert_eq!(calls, 0);
    assert!(house.stats.cuts.last.count() > 50 && house.stats.frames_sealed.load(Ordering::Relaxed) > 1_000);
}
