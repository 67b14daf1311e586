//! Sanctuaries that follow others, over real sockets on loopback.
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harmonia_core::node_clock::NodeClock;
use harmonia_core::packet::{self, Answer, Header, HEADER_LEN};
use harmonia_core::servo::LockState;
use harmonia_core::units::Span;
use harmonia_io::tracking::SourceState;
use harmonia_io::upstream::Following;
use harmonia_io::{os, Node};

/// Far longer than anything here takes: a limit for a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("harmonia-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A clock file whose clock is `ahead` of this machine's.
    fn clock(&self, name: &str, ahead: Span) -> PathBuf {
        let path = self.0.join(name);
        let boot = os::boot_id().unwrap();
        let clock = NodeClock::new(&boot, os::raw_ns(), os::realtime_ns() + ahead.ns());
        std::fs::write(&path, clock.anchor().to_text()).unwrap();
        path
    }

    fn new_clock(&self, name: &str) -> PathBuf {
        self.0.join(name)
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

fn root(folder: &Folder, name: &str, ahead: Span) -> Node {
    Node::start("127.0.0.1", 0, &folder.clock(name, ahead)).unwrap()
}

fn follow(clock: PathBuf, port: u16, upstreams: &[u16]) -> Node {
    let upstreams = upstreams.iter().map(|port| format!("127.0.0.1:{port}").parse().unwrap()).collect();
    Node::start_following("127.0.0.1", port, &clock, Following { upstreams, ..Following::default() }).unwrap()
}

fn assert_within_bound(follower: &Node, truth: &Node) {
    // The clock's course may change while we look: look at one and the same, and at the bound that was said with it.
    let (clock, bound) = (follower.clock(), follower.tracking().bound);
    let raw = os::raw_ns();
    let error = clock.node_at(raw) - truth.clock().node_at(raw);
    assert!(error.abs() <= bound, "{error:?} is not within {bound:?}");
    assert!(bound < Span::from_s(1), "{bound:?}");
}

fn ask(node: &Node) -> Answer {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; packet::CIRCLE_PACKET_LEN];
    packet::write_request(7, &mut bytes).unwrap();
    socket.send_to(&bytes, ("127.0.0.1", node.port())).unwrap();
    let len = socket.recv(&mut bytes).unwrap();
    Answer::parse(&bytes[..len]).unwrap()
}

#[test]
fn a_new_clock_begins_at_its_sources_time_and_says_whom_it_follows() {
    let folder = Folder::new("follows");
    let truth = root(&folder, "truth", Span::from_s(3));
    let node = follow(folder.new_clock("node"), 0, &[truth.port()]);
    assert_within_bound(&node, &truth);
    let tracking = node.tracking();
    assert_eq!((tracking.state, tracking.stratum, tracking.steps_left), (LockState::Locked, 11, 0));
    until("selected", || node.sources()[0].state == SourceState::Selected);
    let said = ask(&node);
    let circle = said.circle.unwrap();
    assert_eq!(u64::from(said.header.refid), truth.clock().clock_id() >> 32);
    assert_eq!((said.header.stratum, circle.flags & packet::FLAG_DISCIPLINED), (11, packet::FLAG_DISCIPLINED));
    assert!(circle.bound_ns > 0 && circle.root_delay_ns > 0, "{circle:?}");
    drop(truth);
    until("holdover", || node.tracking().state == LockState::Holdover);
    assert_eq!(node.sources()[0].state, SourceState::Silent);
    let (bound, later) = (node.tracking().bound, Instant::now());
    until("time passes", || later.elapsed() > Duration::from_secs(2));
    assert!(node.tracking().bound > bound, "an honest bound grows");
    assert_eq!(ask(&node).header.stratum, 11);
}

#[test]
fn a_liar_is_seen_through_and_moves_nothing() {
    let folder = Folder::new("liar");
    let roots = [("a", Span::ZERO), ("b", Span::from_us(1)), ("liar", Span::from_ms(700))];
    let roots = roots.map(|(name, ahead)| root(&folder, name, ahead));
    let node = follow(folder.new_clock("node"), 0, &[0, 1, 2].map(|i: usize| roots[i].port()));
    until("seen through", || node.sources()[2].state == SourceState::Falseticker);
    for honest in &node.sources()[..2] {
        assert!(matches!(honest.state, SourceState::Selected | SourceState::Candidate), "{honest:?}");
    }
    assert_within_bound(&node, &roots[0]);
    // Two against one that is gone: as many liars as honest ones decide nothing.
    let [a, b, liar] = roots;
    drop(a);
    until("no majority", || node.tracking().state == LockState::Holdover);
    assert!(node.sources()[1..].iter().all(|source| source.state == SourceState::Undecided), "{:?}", node.sources());
    assert_within_bound(&node, &b);
    drop(liar);
    until("a majority of one", || node.tracking().state == LockState::Locked);
    assert_within_bound(&node, &b);
}

#[test]
fn a_killed_nodes_course_goes_on_to_the_nanosecond() {
    let folder = Folder::new("course");
    let truth = root(&folder, "truth", Span::ZERO);
    // Wrong and resumed: it may not be stepped at once, and is slewed.
    let file = folder.clock("node", Span::from_ms(5));
    let node = follow(file.clone(), 0, &[truth.port()]);
    node.add_circle(1, 1, 1.0).unwrap();
    until("slewing", || node.tracking().slew_ppb != 0);
    let id = node.clock().clock_id();
    // What the file says at any instant is what the node does.
    for _ in 0..3 {
        let before = os::raw_ns();
        until("a second", || os::raw_ns() > before + 1_000_000_000);
        let (said, raw) = (node.clock(), os::raw_ns());
        let text = std::fs::read_to_string(&file).unwrap();
        let (resumed, same) = NodeClock::resume_text(&text, &os::boot_id().unwrap(), raw, 0).unwrap();
        assert!(same);
        // The file may be one change ahead, of a future that has not begun.
        for probe in [raw - 1_000_000, raw, raw + 1_000_000] {
            assert_eq!(resumed.node_at(probe), said.node_at(probe));
        }
    }
    let (file_text, port) = (std::fs::read(&file).unwrap(), node.port());
    drop(node);
    // As after kill -9: the file is what it was, and nobody said good-bye.
    std::fs::write(&file, &file_text).unwrap();
    let former =
        NodeClock::resume_text(&String::from_utf8(file_text).unwrap(), &os::boot_id().unwrap(), os::raw_ns(), 0);
    let former = former.unwrap().0;
    drop(truth);
    let node = follow(file, port, &[9]);
    assert!(node.resumed() && node.clock().clock_id() == id);
    let raw = os::raw_ns();
    assert_eq!(node.clock().node_at(raw), former.node_at(raw));
    assert_eq!(node.clock().anchor().settled_ppb(), former.anchor().settled_ppb());
}

/// A new clock whose source is there only later, 2 s ahead of it.
fn late(folder: &Folder, circle: bool) -> (Node, Node) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let node = follow(folder.new_clock("node"), 0, &[port]);
    if circle {
        node.add_circle(1, 1, 1.0).unwrap();
        node.add_sleeper(1, 1).unwrap();
        node.attach(1, 1, &[1; 32], false, true).unwrap();
    }
    assert_eq!((node.tracking().state, node.tracking().steps_left), (LockState::Unsynchronised, 1));
    let truth = Node::start("127.0.0.1", port, &folder.clock("truth", Span::from_s(2))).unwrap();
    (node, truth)
}

#[test]
fn a_clock_with_a_circle_is_never_stepped() {
    let folder = Folder::new("gentle");
    let (node, _truth) = late(&folder, true);
    let id = node.clock().clock_id();
    until("followed", || node.tracking().slew_ppb > 0);
    for _ in 0..3 {
        let former = node.clock();
        until("another course", || !Arc::ptr_eq(&node.clock(), &former));
        let (next, raw) = (node.clock(), os::raw_ns());
        assert!((next.node_at(raw) - former.node_at(raw)).abs() <= Span::from_us(1));
        let change = next.anchor().rate_ppb_at(raw) - former.anchor().rate_ppb_at(raw - 1_000_000_000);
        assert!(change.abs() <= 200, "{change} ppb in a second or two are more than platforms allow for");
    }
    assert_eq!((node.clock().clock_id(), node.tracking().steps_left), (id, 1));
    let (offset, bound) = (node.tracking().offset, node.tracking().bound);
    assert!(offset > Span::from_ms(1900) && bound >= offset, "it says how wrong it is: {offset:?} {bound:?}");
}

#[test]
fn a_clock_without_a_circle_is_stepped_once_and_is_another_then() {
    let folder = Folder::new("late");
    let (node, truth) = late(&folder, false);
    let id = node.clock().clock_id();
    until("stepped", || node.tracking().steps_left == 0);
    until("said", || node.tracking().state == LockState::Locked);
    assert_ne!(node.clock().clock_id(), id, "platforms can tell");
    assert_within_bound(&node, &truth);
}

#[test]
fn what_was_certain_is_certain_after_a_restart_and_grows() {
    let folder = Folder::new("held");
    let truth = root(&folder, "truth", Span::from_s(1));
    let file = folder.new_clock("node");
    let node = follow(file.clone(), 0, &[truth.port()]);
    until("locked", || node.tracking().state == LockState::Locked);
    let (before, stratum) = (node.tracking(), node.tracking().stratum);
    let from = truth.port();
    drop(node);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Its source is gone, too: nothing that it says from here on is measured anew.
    let truth_clock = truth.clock();
    drop(truth);
    let node = follow(file.clone(), 0, &[from]);
    let after = node.tracking();
    assert_eq!((after.state, after.stratum, after.refid), (LockState::Holdover, stratum, u32::from_be_bytes(*b"LOCL")));
    assert!(after.bound < before.bound + Span::from_ms(100), "{:?} then {:?}", before.bound, after.bound);
    let (clock, raw) = (node.clock(), os::raw_ns());
    assert!((clock.node_at(raw) - truth_clock.node_at(raw)).abs() <= node.tracking().bound);
    let circle = ask(&node).circle.unwrap();
    assert!(Span::from_ns(circle.bound_ns as i64) < Span::from_s(1), "and it is what others are told");
    until("it grows", || node.tracking().bound > after.bound + Span::from_us(1));
    drop(node);
    // Told to follow somebody else, it knows nothing of how far it is from them.
    let node = follow(file.clone(), 0, &[silent]);
    assert_eq!(node.tracking().state, LockState::Unsynchronised);
    assert!(node.tracking().bound >= Span::from_s(16));
    drop(node);
    // And what another boot wrote says nothing, although the clock file itself fits.
    let held = folder.new_clock("node.held");
    let text = std::fs::read_to_string(&held).unwrap();
    std::fs::write(&held, text.replace(&os::boot_id().unwrap(), "another-boot")).unwrap();
    let node = follow(file, 0, &[from]);
    assert!(node.resumed() && node.tracking().bound >= Span::from_s(16));
}

#[test]
fn a_restart_gives_no_new_step() {
    let folder = Folder::new("budget");
    let (file, truth) = (folder.new_clock("node"), root(&folder, "truth", Span::from_s(2)));
    let port = truth.port();
    let node = follow(file.clone(), 0, &[port]);
    assert_eq!(node.tracking().steps_left, 0, "it was stepped as it began");
    let id = node.clock().clock_id();
    drop((node, truth));
    // Its source comes back another second away, and nobody would mind a step: but it was had.
    let truth = Node::start("127.0.0.1", port, &folder.clock("moved", Span::from_s(3))).unwrap();
    let node = follow(file, 0, &[port]);
    assert!(node.resumed());
    until("slewed", || node.tracking().slew_ppb > 100_000);
    let start = os::raw_ns();
    until("settled", || os::raw_ns() > start + 22_000_000_000);
    assert_eq!((node.tracking().steps_left, node.clock().clock_id()), (0, id));
    assert!(node.tracking().slew_ppb > 100_000, "still on its way");
    assert_within_bound_of_seconds(&node, &truth);
}

fn assert_within_bound_of_seconds(follower: &Node, truth: &Node) {
    let (clock, bound, raw) = (follower.clock(), follower.tracking().bound, os::raw_ns());
    let error = clock.node_at(raw) - truth.clock().node_at(raw);
    assert!(error.abs() <= bound && bound < Span::from_s(2), "{error:?} {bound:?}");
}

#[test]
fn of_two_that_follow_each_other_one_lets_go() {
    let folder = Folder::new("mutual");
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (first, second) = (free(), free());
    let a = follow(folder.clock("a", Span::ZERO), first, &[second]);
    let b = follow(folder.clock("b", Span::from_ms(1)), second, &[first]);
    let follows = |node: &Node| node.sources()[0].state == SourceState::Selected;
    let lets_go = |node: &Node| node.sources()[0].state == SourceState::Loop;
    until("one follows, the other sees it", || (follows(&a) && lets_go(&b)) || (follows(&b) && lets_go(&a)));
    let strata = [a.tracking().stratum, b.tracking().stratum];
    assert!(strata.iter().all(|stratum| (10..=12).contains(stratum)), "{strata:?}");
}

#[test]
fn a_node_does_not_follow_itself() {
    let folder = Folder::new("itself");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let node = follow(folder.clock("node", Span::ZERO), port, &[port]);
    until("seen", || node.sources()[0].state == SourceState::Loop);
    assert_eq!((node.tracking().stratum, node.tracking().state), (10, LockState::Unsynchronised));
    assert!(node.tracking().bound >= Span::from_s(16), "told to follow, it does not claim to be the root");
}

/// An NTP server that knows nothing of circles: it lets a sanctuary answer the bare header, as a stranger would.
struct Stranger {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stranger {
    fn start(behind: u16, change: impl Fn(&mut [u8]) + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (port, stop) = (socket.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
            inner.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = [0; 1500];
            while !stopping.load(Ordering::SeqCst) {
                let Ok((_, from)) = socket.recv_from(&mut bytes) else { continue };
                inner.send_to(&bytes[..HEADER_LEN], ("127.0.0.1", behind)).unwrap();
                let len = inner.recv(&mut bytes).unwrap();
                change(&mut bytes[..len]);
                socket.send_to(&bytes[..len], from).unwrap();
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn a_strangers_server_is_followed_by_its_header() {
    let folder = Folder::new("stranger");
    let truth = root(&folder, "truth", Span::from_ms(300));
    let stranger = Stranger::start(truth.port(), |bytes| {
        let mut header = Header::parse(bytes).unwrap();
        (header.stratum, header.root_delay, header.leap) = (2, 1 << 16, 1);
        bytes.copy_from_slice(&header.to_bytes());
    });
    let node = follow(folder.new_clock("node"), 0, &[stranger.port]);
    until("followed", || node.tracking().state == LockState::Locked);
    assert_within_bound(&node, &truth);
    let (tracking, said) = (node.tracking(), ask(&node));
    assert_eq!((tracking.stratum, tracking.leap), (3, 1));
    assert_eq!(said.header.refid, u32::from_be_bytes([127, 0, 0, 1]));
    assert!(tracking.root_delay >= Span::from_s(1), "{:?}", tracking.root_delay);
    assert!(tracking.bound >= Span::from_ms(500), "half of the stranger's root delay is its to be wrong by");
    assert_eq!(node.sources()[0].clock_id, 0);
}
