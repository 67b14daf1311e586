//! A node and its platforms over real sockets on loopback.
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harmonia_core::frame::{Withdraw, PURPOSE_VOICE};
use harmonia_core::hush::Hush;
use harmonia_core::packet::{self, CIRCLE_PACKET_LEN, HEADER_LEN};
use harmonia_core::phase::Phase;
use harmonia_core::program::{Beat, Channel, Curve, Ear, Program, Wave};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::seal::{Direction, Opener, Sealer, Use, DATAGRAM_MAX};
use harmonia_core::servo::LockState;
use harmonia_core::units::Span;
use harmonia_io::{Node, Platform, TimeKeys};
use num_complex::Complex;

/// Far longer than anything here takes: a limit for a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
const CIRCLE: u64 = 1;
const RATE: u32 = 48_000;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("harmonia-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        std::thread::yield_now();
    }
}

fn one() -> Complex<f32> {
    Complex::new(1.0, 0.0)
}

/// Lets a sleeper in, unmuted, and gives them a platform with a clock that is `offset_ns` and `drift_ppb` wrong.
fn join(node: &Node, sleeper: u64, offset_ns: i64, drift_ppb: i64) -> Platform {
    node.add_sleeper(CIRCLE, sleeper).unwrap();
    node.set_voice(sleeper, &[one()]).unwrap();
    node.set_plan(sleeper, true, true, false).unwrap();
    assert!(node.release(sleeper, None).unwrap());
    attach(node, sleeper, offset_ns, drift_ppb)
}

fn attach(node: &Node, sleeper: u64, offset_ns: i64, drift_ppb: i64) -> Platform {
    let platform = Platform::new(RATE, offset_ns, drift_ppb, Some(sleeper)).unwrap();
    let (session, secret) = (sleeper << 32 | u64::from(node.port()), [sleeper as u8; 32]);
    node.attach(sleeper, session, &secret, false, true).unwrap();
    platform.connect("127.0.0.1", node.port(), session, &secret, Some(&node.time_keys())).unwrap();
    platform
}

fn start(folder: &Folder) -> Node {
    let node = Node::start("127.0.0.1", 0, &folder.clock()).unwrap();
    node.add_circle(CIRCLE, 1, 1.0).unwrap();
    node
}

fn locked(platform: &Platform) -> bool {
    platform.clock().1.state == LockState::Locked
}

fn rhythm(node: &Node) -> Rhythm {
    Rhythm::new(Segment::constant(node.now(), Phase::ZERO, Frequency::from_hz(4.0).unwrap()))
}

fn program(node: &Node) -> Arc<Program> {
    let carrier = Segment::constant(node.now(), Phase::ZERO, Frequency::from_hz(200.0).unwrap());
    Arc::new(Program {
        epoch: node.now(),
        duration: None,
        rhythm: rhythm(node),
        channels: vec![Channel {
            wave: Wave::Binaural { lead: Ear::Right },
            carrier: Rhythm::new(carrier),
            beat: Beat::Locked(1),
            amplitude: Curve::constant(0.3),
        }],
    })
}

#[test]
fn wrong_clocks_are_brought_into_their_certified_bound() {
    let folder = Folder::new("clocks");
    let node = start(&folder);
    let platforms: Vec<_> = [(400_000_000, 90_000), (-500_000_000, -100_000), (7, 0)]
        .into_iter()
        .enumerate()
        .map(|(i, (offset, drift))| join(&node, i as u64 + 1, offset, drift))
        .collect();
    for platform in &platforms {
        until("locked", || locked(platform));
        let (raw_ns, reading, exchanges) = platform.clock();
        let truth = node.clock().node_at(raw_ns);
        assert!(exchanges >= 2);
        assert!(reading.earliest <= truth && truth <= reading.latest, "{truth:?} {reading:?}");
        assert!((reading.node - truth).abs() <= reading.bound());
    }
}

#[test]
fn a_withdrawal_by_datagram_mutes_before_it_is_acknowledged_and_is_repeated_until_it_is() {
    let folder = Folder::new("withdraw");
    let node = start(&folder);
    let (ann, ben) = (join(&node, 1, 0, 0), join(&node, 2, 0, 0));
    until("Ben hears Ann", || ben.others() == [one()]);
    let event_id = [9; 16];
    ann.withdraw(Withdraw { event_id, purposes: PURPOSE_VOICE });
    let event = node.next_event(PATIENCE).expect("the withdrawal is told");
    assert_eq!((event.sleeper, event.withdraw.event_id), (1, event_id));
    // By the time that anybody learns of it, it is done.
    assert!(node.status(CIRCLE).unwrap()[0].muted);
    until("Ben no longer hears Ann", || ben.others() == [Complex::default()]);
    assert!(ben.frames().frames.cut > 0, "told by a cut");
    assert!(!ann.acknowledged(&event_id), "nothing is on disk yet");
    // Repetitions reach the node meanwhile, and are told only once.
    assert!(node.next_event(Duration::from_millis(300)).is_none());
    node.acknowledge(1, event_id);
    until("acknowledged", || ann.acknowledged(&event_id));
    assert!(ann.gate_open(), "the voice alone was withdrawn");
    // Only the grant that names the withdrawal lowers the latch.
    assert!(!node.release(1, None).unwrap());
    assert!(!node.release(1, Some([8; 16])).unwrap());
    assert!(node.release(1, Some(event_id)).unwrap());
    until("Ben hears Ann again", || ben.others() == [one()]);
}

#[test]
fn a_whole_withdrawal_silences_the_own_platform_within_10_ms_without_any_network() {
    let folder = Folder::new("gate");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    until("locked", || locked(&ann));
    ann.set_rhythm(rhythm(&node));
    ann.set_program(Some(program(&node)));
    let mut second = vec![0.0; 2 * RATE as usize];
    for _ in 0..20 {
        ann.render(&mut second).unwrap();
    }
    assert!(second.iter().any(|x| x.abs() > 0.2), "the score sounds once it has faded in");
    drop(node);
    ann.withdraw(Withdraw { event_id: [1; 16], purposes: 0 });
    let mut after = vec![0.0; 2 * RATE as usize / 10];
    ann.render(&mut after).unwrap();
    assert!(after[0].abs() + after[1].abs() > 0.0, "a ramp, not a click");
    assert!(after[2 * RATE as usize / 100..].iter().all(|x| *x == 0.0), "exact zero after 10 ms");
    assert!(!ann.gate_open());
}

#[test]
fn frames_alone_silence_a_room_and_lift_it_again() {
    let folder = Folder::new("hush");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    until("frames", || ann.frames().frames.followed > 0);
    let gate = || node.status(CIRCLE).unwrap()[0].last.map(|(_, status)| status.gate_open);
    until("her gate is open", || gate() == Some(true));
    assert_eq!(node.set_hush(CIRCLE, Hush::Alarm).unwrap(), 1);
    until("silent", || ann.hush().hush() == Hush::Alarm);
    assert!(ann.gate_open() && !ann.hush().is_told(), "her own gate is as she left it");
    assert_eq!(ann.light(0.7), 0.7, "a lamp shows an alarm, in silence and without a message");
    ann.set_hush(Hush::Lifted, Some(0));
    assert!(ann.hush().hush().is_silent(), "said before the silence");
    until("the sanctuary sees it", || gate() == Some(false));
    until("acknowledged", || node.status(CIRCLE).unwrap()[0].last.is_some_and(|(_, status)| status.gate_epoch == 1));
    // Another session, of another node or this: silent until one of its frames says otherwise.
    let secret = [77; 32];
    ann.connect("127.0.0.1", node.port(), 77, &secret, None).unwrap();
    assert!(ann.hush().hush().is_silent());
    assert_eq!(node.set_hush(CIRCLE, Hush::Lifted).unwrap(), 2);
    node.attach(1, 77, &secret, false, true).unwrap();
    until("lifted", || !ann.hush().hush().is_silent());
    assert_eq!(ann.light(0.7), 0.0, "it plays nothing");
    // A platform from before frames said so hears its frames as ever.
    node.attach(1, 78, &secret, false, false).unwrap();
    ann.connect("127.0.0.1", node.port(), 78, &secret, None).unwrap();
    node.set_hush(CIRCLE, Hush::Silent).unwrap();
    until("a frame of that epoch", || ann.frames().gate_epoch == 3);
    assert!(!ann.hush().hush().is_silent());
}

#[test]
fn a_restart_continues_node_time_exactly_and_starts_muted() {
    let folder = Folder::new("restart");
    let node = start(&folder);
    let former = node.clock().clone();
    until("the anchor is written", || folder.clock().exists());
    drop(node);
    let node = start(&folder);
    assert!(node.resumed());
    assert_eq!(node.clock().clock_id(), former.clock_id());
    let raw = harmonia_io::os::raw_ns();
    assert_eq!(node.clock().node_at(raw), former.node_at(raw));
    node.add_sleeper(CIRCLE, 1).unwrap();
    assert!(node.status(CIRCLE).unwrap()[0].muted, "nobody sounds before a grant is read");
}

#[test]
fn a_damaged_clock_file_begins_another_clock() {
    let folder = Folder::new("damaged");
    let id = start(&folder).clock().clock_id();
    for damage in [&b"half a li"[..], &[0xff; 80]] {
        std::fs::write(folder.clock(), damage).unwrap();
        let node = start(&folder);
        assert!(!node.resumed());
        assert_ne!(node.clock().clock_id(), id, "platforms can tell");
    }
}

#[test]
fn a_taken_port_and_an_unwritable_folder_are_said_in_one_line() {
    let folder = Folder::new("taken");
    let node = start(&folder);
    let taken = Node::start("127.0.0.1", node.port(), &folder.0.join("other")).err().expect("refused").to_string();
    assert!(taken.contains(&node.port().to_string()) && taken.contains("another port"), "{taken}");
    let nowhere = Node::start("127.0.0.1", 0, &folder.0.join("no/such/clock")).err().expect("refused").to_string();
    assert!(nowhere.contains("no/such") && !nowhere.contains('\n'), "{nowhere}");
}

#[test]
fn strangers_and_forgers_move_nothing() {
    let folder = Folder::new("forger");
    let node = start(&folder);
    let ben = join(&node, 2, 0, 0);
    let _ann = join(&node, 1, 0, 0);
    until("Ben hears Ann", || ben.others() == [one()]);
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut forged = [0u8; 56];
    forged[0] = harmonia_core::seal::MAGIC;
    forged[1] = 17;
    forged[3] = 1;
    forged[4..12].copy_from_slice(&(1u64 << 32 | u64::from(node.port())).to_be_bytes());
    forged[12..20].copy_from_slice(&1000u64.to_be_bytes());
    stranger.send_to(&forged, ("127.0.0.1", node.port())).unwrap();
    stranger.send_to(b"hello", ("127.0.0.1", node.port())).unwrap();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    until("both were counted", || count(&node.stats().unauthentic) == 1 && count(&node.stats().malformed) == 1);
    assert!(!node.status(CIRCLE).unwrap().iter().any(|sleeper| sleeper.muted));
    assert_eq!(ben.others(), [one()]);
}

#[test]
fn a_plain_ntp_client_is_answered_in_as_many_bytes_as_it_sent() {
    let folder = Folder::new("ntp");
    let node = start(&folder);
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = [0u8; 48];
    request[0] = 0x23; // version 4, mode 3
    request[40..48].copy_from_slice(&0xDEAD_BEEF_u64.to_be_bytes());
    client.send_to(&request, ("127.0.0.1", node.port())).unwrap();
    let mut answer = [0u8; 200];
    let len = client.recv(&mut answer).unwrap();
    assert_eq!(len, request.len());
    assert_eq!(answer[0] & 7, 4, "mode 4");
    assert_eq!(answer[24..32], request[40..48], "the origin is what was sent");
    // Seconds since 1900 against node time, which is TAI-like.
    let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
    let expected = node.now().ns() / 1_000_000_000 - 37 + 2_208_988_800;
    assert!((i64::from(seconds) - expected).abs() <= 2, "{seconds} {expected}");
}

#[test]
fn a_recording_is_as_long_as_it_ran_and_in_phase() {
    let folder = Folder::new("record");
    let node = start(&folder);
    let ann = join(&node, 1, 300_000_000, 50_000);
    until("locked", || locked(&ann));
    ann.set_rhythm(rhythm(&node));
    ann.set_program(Some(program(&node)));
    let path = folder.0.join("mix.wav");
    ann.record(&path).unwrap();
    assert!(ann.render(&mut [0.0; 2]).is_err(), "one hand on the cursor");
    until("it sounds", || ann.level_dbfs() > -40.0);
    let frames = ann.stop_recording().unwrap();
    let sound = ann.sound();
    assert!(
        sound.peak == 0.0 && sound.faded && sound.momentary_lufs < -100.0,
        "nobody renders, so nothing is heard: {sound:?}"
    );
    let reader = hound::WavReader::open(&path).unwrap();
    assert_eq!(u64::from(reader.duration()), frames);
    assert!(reader.into_samples::<i16>().any(|sample| sample.unwrap() != 0));
}

#[test]
fn levels_and_voices_out_of_range_are_refused() {
    let folder = Folder::new("range");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    assert!(node.set_voice(1, &[Complex::new(f32::NAN, 0.0)]).is_err());
    assert!(node.set_voice(1, &[one(), one()]).is_err());
    assert!(node.set_voice(99, &[one()]).is_err());
    assert!(node.set_hearing(1, f32::NAN).is_err());
    assert!(node.add_circle(2, 65, 1.0).is_err());
    assert!(ann.set_levels(5.0, 0.5).is_err());
    assert!(ann.set_ceiling(f32::NAN).is_err());
    assert!(Platform::new(7_999, 0, 0, None).is_err());
}

#[test]
fn a_withdrawal_that_nobody_could_write_down_is_told_again() {
    let folder = Folder::new("retell");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    ann.withdraw(Withdraw { event_id: [4; 16], purposes: 0 });
    // The disk is full: whoever takes it does not acknowledge it.
    let lost = node.next_event(PATIENCE).expect("told");
    let again = node.next_event(PATIENCE).expect("told again");
    assert_eq!((lost.sleeper, lost.withdraw), (again.sleeper, again.withdraw));
    node.acknowledge(1, [4; 16]);
    until("acknowledged", || ann.acknowledged(&[4; 16]));
}

#[test]
fn a_sleeper_is_in_one_circle_so_that_a_mute_reaches_all_of_their_voice() {
    let folder = Folder::new("circles");
    let node = start(&folder);
    node.add_circle(2, 1, 1.0).unwrap();
    let (_ann, ben) = (join(&node, 1, 0, 0), join(&node, 2, 0, 0));
    until("Ben hears Ann", || ben.others() == [one()]);
    assert!(node.add_sleeper(2, 1).is_err());
    node.mute(1, [1; 16]).unwrap();
    until("Ben no longer hears Ann", || ben.others() == [Complex::default()]);
    node.remove_sleeper(1);
    node.add_sleeper(2, 1).unwrap();
}

#[test]
fn who_keeps_apart_is_cut_out_of_the_one_mix_and_comes_back_into_it() {
    let folder = Folder::new("apart");
    let node = start(&folder);
    let (ann, ben) = (join(&node, 1, 0, 0), join(&node, 2, 0, 0));
    until("they hear each other", || ann.others() == [one()] && ben.others() == [one()]);
    let cuts = node.stats().ticks.cut_frames.load(Ordering::Relaxed);
    node.set_apart(1, &[2, 77], &[]).unwrap();
    until("Ann does not hear Ben", || ann.others() == [Complex::default()]);
    assert!(node.stats().ticks.cut_frames.load(Ordering::Relaxed) > cuts, "at once, and not interpolated");
    assert_eq!(ben.others(), [one()], "Ben hears Ann");
    node.set_apart(1, &[], &[2]).unwrap();
    until("it is the other way round", || ann.others() == [one()] && ben.others() == [Complex::default()]);
    node.set_apart(1, &[], &[]).unwrap();
    until("they hear each other again", || ann.others() == [one()] && ben.others() == [one()]);
    assert!(node.set_apart(3, &[1], &[]).is_err(), "somebody who is not in");
}

#[test]
fn what_was_decided_holds_in_order_whoever_decides_at_the_same_time() {
    let folder = Folder::new("many");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    let others: Vec<u64> = (2..34).collect();
    for &sleeper in &others {
        node.add_sleeper(CIRCLE, sleeper).unwrap();
        node.set_voice(sleeper, &[one()]).unwrap();
        node.set_plan(sleeper, true, true, false).unwrap();
    }
    std::thread::scope(|scope| {
        for part in others.chunks(8) {
            let node = &node;
            scope.spawn(move || {
                for round in 0..200u8 {
                    for &sleeper in part {
                        node.mute(sleeper, [round; 16]).unwrap();
                        assert!(node.release(sleeper, Some([round; 16])).unwrap());
                    }
                }
            });
        }
        // Circles that come and go meanwhile are no concern of those in another.
        for circle in 0..100 {
            node.add_circle(1_000 + circle, 2, 1.0).unwrap();
            node.add_sleeper(1_000 + circle, 10_000 + circle).unwrap();
            node.remove_circle(1_000 + circle);
        }
    });
    until("all are heard again", || ann.others() == [Complex::new(32.0, 0.0)]);
    for &sleeper in &others[..31] {
        node.mute(sleeper, [201; 16]).unwrap();
    }
    until("one is left", || ann.others() == [one()]);
}

#[test]
fn a_session_id_that_is_open_is_refused_and_the_session_goes_on() {
    let folder = Folder::new("reuse");
    let node = start(&folder);
    let (ann, _ben) = (join(&node, 1, 0, 0), join(&node, 2, 0, 0));
    let session = 1 << 32 | u64::from(node.port());
    assert!(node.attach(1, session, &[1; 32], false, true).is_err(), "its nonces would begin anew");
    assert!(node.attach(2, session, &[2; 32], false, true).is_err(), "it is Ann's");
    let heard = ann.frames().frames.followed;
    until("frames go on", || ann.frames().frames.followed > heard + 1);
    assert_eq!((ann.frames().replayed, ann.frames().unauthentic), (0, 0));
}

/// A platform's end of a session, made by hand.
struct Hand {
    sealer: Sealer,
    to: (&'static str, u16),
}

impl Hand {
    fn new(node: &Node, sleeper: u64, session: u64) -> Self {
        node.attach(sleeper, session, &[7; 32], false, true).unwrap();
        Self { sealer: Sealer::new(&[7; 32], session, Direction::Up), to: ("127.0.0.1", node.port()) }
    }

    fn seal(&mut self, kind: Use, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; DATAGRAM_MAX];
        let len = self.sealer.seal(kind, payload, &mut out).unwrap();
        out.truncate(len);
        out
    }

    fn send(&self, from: &UdpSocket, datagram: &[u8]) {
        from.send_to(datagram, self.to).unwrap();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_datagram_that_was_held_back_does_not_lead_the_frames_away() {
    let folder = Folder::new("held");
    let node = start(&folder);
    node.add_sleeper(CIRCLE, 1).unwrap();
    let mut ann = Hand::new(&node, 1, 77);
    let (home, thief) = (socket(), socket());
    let held = ann.seal(Use::Withdraw, &Withdraw { event_id: [1; 16], purposes: PURPOSE_VOICE }.encode());
    let sent = ann.seal(Use::Withdraw, &Withdraw { event_id: [2; 16], purposes: PURPOSE_VOICE }.encode());
    ann.send(&home, &sent);
    assert_eq!(node.next_event(PATIENCE).unwrap().withdraw.event_id, [2; 16]);
    ann.send(&thief, &held);
    assert_eq!(node.next_event(PATIENCE).unwrap().withdraw.event_id, [1; 16], "still a withdrawal: it counts");
    let mut datagram = [0; DATAGRAM_MAX];
    // More than were under way when the thief stepped in.
    for _ in 0..10 {
        home.recv(&mut datagram).expect("the frames went to whoever held a datagram back");
    }
    thief.set_nonblocking(true).unwrap();
    assert!(thief.recv(&mut datagram).is_err());
}

#[test]
fn a_withdrawal_repeated_in_a_new_session_does_not_override_the_grant_that_answered_it() {
    let folder = Folder::new("late");
    let node = start(&folder);
    node.add_sleeper(CIRCLE, 1).unwrap();
    let (home, withdraw) = (socket(), Withdraw { event_id: [1; 16], purposes: PURPOSE_VOICE });
    let mut ann = Hand::new(&node, 1, 77);
    let datagram = ann.seal(Use::Withdraw, &withdraw.encode());
    ann.send(&home, &datagram);
    node.next_event(PATIENCE).expect("told");
    node.acknowledge(1, [1; 16]);
    assert!(node.release(1, Some([1; 16])).unwrap());
    // The acknowledgement was lost, and the platform has connected again.
    let mut ann = Hand::new(&node, 1, 78);
    let mut opener = Opener::new(&[7; 32], 78, Direction::Down);
    let datagram = ann.seal(Use::Withdraw, &withdraw.encode());
    ann.send(&home, &datagram);
    until("answered", || {
        let mut datagram = [0; DATAGRAM_MAX];
        let len = home.recv(&mut datagram).unwrap();
        matches!(opener.open(&mut datagram[..len]), Ok((Use::Acknowledge, id)) if id == [1; 16])
    });
    assert!(!node.status(CIRCLE).unwrap()[0].muted);
}

#[test]
fn closing_frees_the_port_while_somebody_still_holds_the_node() {
    let folder = Folder::new("port");
    let node = start(&folder);
    node.close();
    let next = Node::start("127.0.0.1", node.port(), &folder.clock()).expect("the port is free");
    assert_eq!(next.port(), node.port());
    node.acknowledge(1, [0; 16]);
    assert!(node.next_event(PATIENCE).is_none());
}

#[test]
fn two_clocks_in_one_folder_do_not_write_into_each_other() {
    let folder = Folder::new("two");
    let node = Node::start("127.0.0.1", 0, &folder.0.join("clock.a")).unwrap();
    // What was half written of the other's must not be taken for this one's.
    std::fs::create_dir(folder.0.join("clock.new")).unwrap();
    assert!(Node::start("127.0.0.1", 0, &folder.0.join("clock.b")).is_ok());
    drop(node);
}

#[test]
fn a_second_recording_is_as_good_as_the_first() {
    let folder = Folder::new("second");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    until("locked", || locked(&ann));
    ann.set_rhythm(rhythm(&node));
    ann.set_program(Some(program(&node)));
    for name in ["first.wav", "second.wav"] {
        ann.record(&folder.0.join(name)).unwrap();
        // Not the last sample of the recording before.
        let before = ann.next_sample();
        until("it plays", || ann.next_sample().is_some_and(|now| Some(now) != before));
        assert!(ann.stop_recording().unwrap() > 0);
    }
}

#[test]
fn a_session_is_opened_once_and_found_again() {
    let folder = Folder::new("again");
    let node = start(&folder);
    let ann = join(&node, 1, 0, 0);
    let (port, secret) = (node.port(), [1; 32]);
    let session = 1 << 32 | u64::from(port);
    until("frames", || ann.frames().frames.followed > 0);
    ann.connect("127.0.0.1", port, session, &secret, None).unwrap();
    let unauthentic = || node.stats().unauthentic.load(std::sync::atomic::Ordering::Relaxed);
    ann.withdraw(Withdraw { event_id: [5; 16], purposes: PURPOSE_VOICE });
    assert!(node.next_event(PATIENCE).is_some());
    assert_eq!(unauthentic(), 0, "nonces began anew");
    node.attach(1, 9, &secret, false, true).unwrap();
    ann.connect("127.0.0.1", port, 9, &secret, None).unwrap();
    assert!(ann.connect("127.0.0.1", port, session, &secret, None).is_err(), "its nonces would begin anew");
    ann.close();
    assert!(ann.connect("127.0.0.1", port, 10, &secret, None).is_err(), "closed");
}

/// Stands on the path between a platform and its node, and does to their datagrams what it is told.
struct Path {
    port: u16,
    deed: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
/// Before each answer about the time come two that say that it is a second later: one made up, one changed.
const FORGE: u8 = 2;

/// What an answer's circle field says of the node's time.
fn a_second_later(answer: &mut [u8]) {
    for at in [HEADER_LEN + 16, HEADER_LEN + 24] {
        let stamp = &mut answer[at..at + 8];
        let later = i64::from_be_bytes((&*stamp).try_into().unwrap()) + 1_000_000_000;
        stamp.copy_from_slice(&later.to_be_bytes());
    }
}

impl Path {
    fn to(node: &Node, deed: u8) -> Self {
        let (front, back) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        back.connect(("127.0.0.1", node.port())).unwrap();
        for socket in [&front, &back] {
            socket.set_nonblocking(true).unwrap();
        }
        let port = front.local_addr().unwrap().port();
        let (deed, stop) = (Arc::new(AtomicU8::new(deed)), Arc::new(AtomicBool::new(false)));
        let (told, stopping) = (Arc::clone(&deed), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut platform, mut room) = (None, [0; 1500]);
            while !stopping.load(Ordering::SeqCst) {
                let deed = told.load(Ordering::SeqCst);
                if let Ok((len, from)) = front.recv_from(&mut room) {
                    platform = Some(from);
                    if deed != SWALLOW {
                        back.send(&room[..len]).unwrap();
                    }
                } else if let Ok(len) = back.recv(&mut room) {
                    let to = platform.expect("who is answered has asked");
                    if deed == FORGE && packet::is_ntp_answer(&room[..len]) {
                        let mut forged = room;
                        a_second_later(&mut forged);
                        front.send_to(&forged[..len], to).unwrap();
                        front.send_to(&forged[..len.min(CIRCLE_PACKET_LEN)], to).unwrap();
                    }
                    if deed != SWALLOW {
                        front.send_to(&room[..len], to).unwrap();
                    }
                } else {
                    std::thread::yield_now();
                }
            }
        });
        Self { port, deed, stop, thread: Some(thread) }
    }

    fn tell(&self, deed: u8) {
        self.deed.store(deed, Ordering::SeqCst);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A platform that reaches its node by `path`, with time keys or without.
fn by(path: &Path, node: &Node, sleeper: u64, keys: bool) -> Platform {
    node.add_sleeper(CIRCLE, sleeper).unwrap();
    let secret = [sleeper as u8; 32];
    let session = sleeper << 32 | u64::from(node.port());
    node.attach(sleeper, session, &secret, false, true).unwrap();
    let platform = Platform::new(RATE, 300_000_000, 20_000, Some(sleeper)).unwrap();
    let keys = keys.then(|| node.time_keys());
    platform.connect("127.0.0.1", path.port, session, &secret, keys.as_ref()).unwrap();
    platform
}

fn error(platform: &Platform, node: &Node) -> Span {
    let (raw_ns, reading, _) = platform.clock();
    (reading.node - node.clock().node_at(raw_ns)).abs()
}

#[test]
fn who_forges_the_time_on_the_way_moves_no_clock_that_has_keys() {
    let folder = Folder::new("forged");
    let node = start(&folder);
    for keys in [true, false] {
        let path = Path::to(&node, FORGE);
        let platform = by(&path, &node, if keys { 1 } else { 2 }, keys);
        until("locked", || locked(&platform));
        let (raw_ns, reading, _) = platform.clock();
        let truth = node.clock().node_at(raw_ns);
        // Without keys the forgery is believed, which shows that it is a good one.
        assert_eq!(reading.earliest <= truth && truth <= reading.latest, keys, "{truth:?} {reading:?}");
        assert_eq!(error(&platform, &node) < Span::from_ms(500), keys);
        let protected = node.stats().answers.protected.load(Ordering::Relaxed);
        assert!(protected >= 6, "{protected} protected answers");
    }
}

#[test]
fn time_keys_that_cannot_be_used_are_refused_in_words() {
    let folder = Folder::new("keys");
    let node = start(&folder);
    let good = node.time_keys();
    let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
    for (bad, word) in [
        (TimeKeys { algorithm: 1, ..good.clone() }, "algorithm"),
        (TimeKeys { c2s: vec![0; 15], ..good.clone() }, "length"),
        (TimeKeys { s2c: Vec::new(), ..good.clone() }, "length"),
        (TimeKeys { cookies: Vec::new(), ..good.clone() }, "cookie"),
    ] {
        let refused = platform.connect("127.0.0.1", node.port(), 1, &[1; 32], Some(&bad)).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    platform.connect("127.0.0.1", node.port(), 1, &[1; 32], Some(&good)).unwrap();
}

#[test]
fn a_loss_of_udp_is_known_at_both_ends_and_costs_no_new_keys() {
    let folder = Folder::new("udp");
    let node = start(&folder);
    let path = Path::to(&node, SWALLOW);
    let platform = by(&path, &node, 1, true);
    // More requests than there are cookies.
    until("asked often", || platform.silence().is_some_and(|silence| silence.requests > 9));
    let silence = platform.silence().unwrap();
    assert_eq!((silence.server.port(), silence.forged, silence.keys_refused), (path.port, 0, false));
    assert_eq!(platform.clock().1.state, LockState::Unsynchronised);
    let (open, silent) = node.status(CIRCLE).unwrap()[0].session.expect("it has a session");
    assert!(open == silent && silent > Span::from_s(1), "{open:?} {silent:?}");
    path.tell(PASS);
    until("locked", || locked(&platform));
    until("answered", || platform.silence().is_none());
    until("heard", || node.status(CIRCLE).unwrap()[0].session.is_some_and(|(open, silent)| silent < open));
    // Lost again, under a clock that is locked; another session to the same address does not make it forget since when.
    path.tell(SWALLOW);
    until("silent", || platform.silence().is_some_and(|silence| silence.requests > 1));
    let since = platform.silence().unwrap().since_raw_ns;
    node.attach(1, 99, &[9; 32], false, true).unwrap();
    platform.connect("127.0.0.1", path.port, 99, &[9; 32], Some(&node.time_keys())).unwrap();
    until("asked", || platform.silence().is_some_and(|silence| silence.requests > 3));
    assert_eq!(platform.silence().unwrap().since_raw_ns, since);
}

#[test]
fn a_node_that_does_not_know_the_keys_is_heard_saying_so() {
    let (folder, other) = (Folder::new("ours"), Folder::new("theirs"));
    let (node, stranger) = (start(&folder), start(&other));
    let platform = Platform::new(RATE, 0, 0, Some(1)).unwrap();
    platform.connect("127.0.0.1", node.port(), 1, &[1; 32], Some(&stranger.time_keys())).unwrap();
    until("refused", || platform.silence().is_some_and(|silence| silence.keys_refused));
    assert_eq!(platform.clock().1.state, LockState::Unsynchronised);
    platform.connect("127.0.0.1", node.port(), 1, &[1; 32], Some(&node.time_keys())).unwrap();
    until("locked", || locked(&platform));
}

#[test]
fn a_suspend_unlocks_at_once_and_is_told() {
    let folder = Folder::new("suspend");
    let node = start(&folder);
    let platform = join(&node, 1, 0, 0);
    until("locked", || locked(&platform));
    let era = platform.exchanges(0).last().unwrap().era;
    platform.simulate_suspend(Span::from_s(3_600));
    // Nobody has to wait for the hub: who reads the clock first finds out.
    let (_, reading, exchanges) = platform.clock();
    assert_eq!((reading.state, reading.earliest.ns()), (LockState::Acquiring, i64::MIN));
    let suspends = platform.suspends();
    assert!(suspends.count == 1 && (suspends.total - Span::from_s(3_600)).abs() < Span::from_ms(5), "{suspends:?}");
    until("locked again", || locked(&platform));
    assert!(error(&platform, &node) <= platform.clock().1.bound());
    assert_eq!(platform.exchanges(exchanges).first().unwrap().era, era + 1);
    until("told", || node.status(CIRCLE).unwrap()[0].last.is_some_and(|(_, status)| status.suspends == 1));
}
