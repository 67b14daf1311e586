//! NTS over real sockets on loopback: key exchanges, protected answers, limits and silence.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harmonia_core::nts::{NtsError, Policy, PACKET_MAX};
use harmonia_core::packet::{self, Answer, PacketError, CIRCLE_PACKET_LEN};
use harmonia_core::rate_limit::RateConfig;
use harmonia_core::servo::LockState;
use harmonia_core::stated::Stated;
use harmonia_core::units::Span;
use harmonia_io::tracking::SourceState;
use harmonia_io::upstream::Following;
use harmonia_io::{nts_ke, os, query, IoError, Node, NtsSource, Platform};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Far longer than anything here takes: a limit for a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

struct Sanctuary {
    node: Node,
    ke_port: u16,
    ca: String,
    folder: PathBuf,
}

impl Drop for Sanctuary {
    fn drop(&mut self) {
        self.node.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A CA's certificate, and a chain and key that it made for `name`.
fn certificates(name: &str) -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    (ca.pem(), leaf.pem(), key.serialize_pem())
}

fn sanctuary(name: &str) -> Sanctuary {
    let folder = std::env::temp_dir().join(format!("harmonia-nts-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let node = Node::start("127.0.0.1", 0, &folder.join("clock")).unwrap();
    let (ca, chain, key) = certificates("127.0.0.1");
    let ke_port = node.serve_nts(chain.as_bytes(), key.as_bytes(), 0).unwrap();
    Sanctuary { node, ke_port, ca, folder }
}

fn source(sanctuary: &Sanctuary) -> NtsSource {
    NtsSource::new("127.0.0.1", sanctuary.ke_port, Some(sanctuary.ca.as_bytes())).unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn plain() -> Vec<u8> {
    let mut out = vec![0; CIRCLE_PACKET_LEN];
    packet::write_request(os::random_u64().unwrap(), &mut out).unwrap();
    out
}

fn ask(socket: &UdpSocket, to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut out = [0; 2048];
    socket.send_to(request, to).unwrap();
    let (len, from) = socket.recv_from(&mut out).expect("an answer");
    assert_eq!(from, to);
    assert!(len <= request.len());
    out[..len].to_vec()
}

#[test]
fn keys_once_then_protected_answers_without_end() {
    let here = sanctuary("answers");
    let mut source = source(&here);
    assert!(source.exchange_due(0) && source.server().is_none());
    let server = source.exchange(0, PATIENCE).unwrap();
    assert_eq!(server, SocketAddr::from(([127, 0, 0, 1], here.node.port())));
    assert!(!source.exchange_due(i64::MAX));
    let socket = socket();
    for _ in 0..20 {
        let (mut sealed, mut opened) = ([0; PACKET_MAX], [0; CIRCLE_PACKET_LEN]);
        let before = here.node.now();
        let len = source.seal(&plain(), &mut sealed).unwrap();
        let mut answer = ask(&socket, server, &sealed[..len]);
        let after = here.node.now();
        let genuine = answer.clone();
        answer[40] ^= 1;
        assert_eq!(source.open(&answer, &mut opened), Err(NtsError::Forged));
        let len = source.open(&genuine, &mut opened).unwrap();
        let (t2, t3) = Answer::parse(&opened[..len]).unwrap().stamps(Span::ZERO);
        assert!(before <= t2 && t2 <= t3 && t3 <= after, "{before:?} {t2:?} {t3:?} {after:?}");
        assert_eq!(source.cookies(), 8);
    }
    assert_eq!(here.node.nts_exchanges().0, 1);
}

#[test]
fn a_query_is_as_certain_as_its_round_trip() {
    let here = sanctuary("query");
    for nts in [None, Some(source(&here))] {
        let protected = nts.is_some();
        let got = query::query("127.0.0.1", here.node.port(), nts, 8, PATIENCE, Stated::default()).unwrap();
        assert_eq!((got.authenticated, got.stratum, got.used), (protected, 10, 8));
        assert_eq!(got.clock_id, Some(here.node.clock().clock_id()));
        let truth = here.node.now().ns() - 37_000_000_000 - os::realtime_ns();
        // Both clocks run on while this is computed; a millisecond is 500 ppm of two seconds.
        assert!((truth - got.offset.ns()).abs() <= got.bound.ns() + 1_000_000, "{truth} {got:?}");
    }
}

#[test]
fn a_certificate_of_another_ca_or_name_is_refused() {
    let here = sanctuary("refused");
    let (other_ca, chain, key) = certificates("elsewhere.example");
    let mut stranger = NtsSource::new("127.0.0.1", here.ke_port, Some(other_ca.as_bytes())).unwrap();
    let refused = stranger.exchange(0, PATIENCE).unwrap_err();
    assert!(matches!(refused, IoError::KeyExchange { .. }) && refused.to_string().contains("certificate"), "{refused}");
    assert!(!stranger.exchange_due(1_000_000_000) && stranger.exchange_due(9_000_000_000), "not at once again");
    let port = here.node.serve_nts(chain.as_bytes(), key.as_bytes(), 0).unwrap();
    let mut misnamed = NtsSource::new("127.0.0.1", port, Some(other_ca.as_bytes())).unwrap();
    let refused = misnamed.exchange(0, PATIENCE).unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let here = sanctuary("certificates");
    let (_, chain, key) = certificates("127.0.0.1");
    let other_key = certificates("127.0.0.1").2;
    for (chain, key, word) in [("", &key[..], "certificate"), (&chain, "", "private key"), (&chain, &other_key, "key")]
    {
        let refused = here.node.serve_nts(chain.as_bytes(), key.as_bytes(), 0).unwrap_err();
        assert!(matches!(refused, IoError::Certificate { .. }) && refused.to_string().contains(word), "{refused}");
    }
    assert!(matches!(NtsSource::new("x", 1, Some(b"no PEM")), Err(IoError::Certificate { .. })));
}

#[test]
fn a_port_that_speaks_something_else_is_no_key_server_and_nobody_can_hang_one() {
    let here = sanctuary("noise");
    let mut garbage = TcpStream::connect(("127.0.0.1", here.ke_port)).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    garbage.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    // So many open connections that say nothing: no more than their share, and the node goes on answering.
    let quiet: Vec<_> = (0..nts_ke::CONNECTIONS_OF_ONE_MAX + 4)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", here.ke_port)).ok())
        .collect();
    let (mut ended, start) = (0, Instant::now());
    while ended < 4 {
        assert!(start.elapsed() < PATIENCE, "{ended} of 4 were sent away");
        ended = quiet
            .iter()
            .filter(|stream| {
                stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                matches!((&**stream).read(&mut [0; 8]), Ok(0))
            })
            .count();
    }
    drop(quiet);
    let socket = socket();
    assert_eq!(ask(&socket, ([127, 0, 0, 1], here.node.port()).into(), &plain()).len(), CIRCLE_PACKET_LEN);
    let (mut source, start) = (source(&here), Instant::now());
    while source.exchange(0, PATIENCE).is_err() {
        assert!(start.elapsed() < PATIENCE, "the places are free again");
    }
    assert!(here.node.nts_exchanges().1 >= 5);
}

#[test]
fn one_who_asks_too_often_is_told_once_and_then_not_answered() {
    let here = sanctuary("rate");
    let config = RateConfig { per_s: 0, burst: 5, kiss_interval: Span::from_s(3600), loopback: true };
    here.node.set_rate_limit(Some(config));
    let (socket, to) = (socket(), SocketAddr::from(([127, 0, 0, 1], here.node.port())));
    for _ in 0..5 {
        assert!(Answer::parse(&ask(&socket, to, &plain())).is_ok());
    }
    let kiss = ask(&socket, to, &plain());
    assert_eq!(Answer::parse(&kiss), Err(PacketError::Kiss(*b"RATE")));
    for _ in 0..20 {
        socket.send_to(&plain(), to).unwrap();
    }
    let limited = || here.node.stats().answers.limited.load(std::sync::atomic::Ordering::Relaxed);
    let start = Instant::now();
    while limited() < 21 {
        assert!(start.elapsed() < PATIENCE, "{} of 21 were limited", limited());
        std::thread::yield_now();
    }
    here.node.set_rate_limit(None);
    let last = plain();
    let answer = Answer::parse(&ask(&socket, to, &last)).unwrap();
    assert_eq!(answer.header.origin.0.to_be_bytes(), last[40..48], "the first answer since the kiss");
}

#[test]
fn where_silence_is_asked_for_only_the_authenticated_and_the_house_are_heard() {
    let here = sanctuary("silence");
    here.node.set_policy(Policy::AuthenticOnly);
    let (socket, to) = (socket(), SocketAddr::from(([127, 0, 0, 1], here.node.port())));
    socket.send_to(&plain(), to).unwrap();
    let silent = || here.node.stats().answers.silent.load(std::sync::atomic::Ordering::Relaxed);
    let start = Instant::now();
    while silent() < 1 {
        assert!(start.elapsed() < PATIENCE, "the request was dropped, and counted");
        std::thread::yield_now();
    }
    // With NTS, yes; and this is the first thing that the socket hears.
    let mut source = source(&here);
    source.exchange(0, PATIENCE).unwrap();
    let (mut sealed, mut opened) = ([0; PACKET_MAX], [0; CIRCLE_PACKET_LEN]);
    let len = source.seal(&plain(), &mut sealed).unwrap();
    let answer = ask(&socket, to, &sealed[..len]);
    assert!(source.open(&answer, &mut opened).is_ok());
    // A platform of the house asks in plain, and is known by its sealed datagrams.
    here.node.add_circle(1, 1, 1.0).unwrap();
    here.node.add_sleeper(1, 1).unwrap();
    here.node.attach(1, 77, &[5; 32], false, true).unwrap();
    let platform = Platform::new(48_000, 0, 0, Some(1)).unwrap();
    platform.connect("127.0.0.1", here.node.port(), 77, &[5; 32], None).unwrap();
    while platform.clock().1.state != harmonia_core::servo::LockState::Locked {
        assert!(start.elapsed() < PATIENCE, "a platform of the house is in time");
        std::thread::yield_now();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        std::thread::yield_now();
    }
}

fn follow(here: &Sanctuary, name: &str, upstreams: &[String], ca: &str) -> Node {
    let following = Following {
        upstreams: upstreams.iter().map(|name| name.parse().unwrap()).collect(),
        ca_pem: Some(ca.as_bytes().to_vec()),
        ..Following::default()
    };
    Node::start_following("127.0.0.1", 0, &here.folder.join(name), following).unwrap()
}

#[test]
fn a_sanctuary_follows_one_that_proves_its_answers_and_nobody_in_its_place() {
    let mut here = sanctuary("upstream");
    let upstream = format!("nts://127.0.0.1:{}", here.ke_port);
    let node = follow(&here, "follower", std::slice::from_ref(&upstream), &here.ca);
    until("followed", || node.tracking().state == LockState::Locked);
    let source = node.sources().remove(0);
    assert_eq!((source.name, source.state, source.authenticated), (upstream, SourceState::Selected, true));
    assert_eq!(source.address, format!("127.0.0.1:{}", here.node.port()));
    assert_eq!((source.key_exchanges, source.clock_id), (1, here.node.clock().clock_id()));
    assert!(source.cookies > 0, "each answer brings one back");
    // It loses its keys: every cookie gets a NAK, until keys were exchanged anew.
    let (udp_port, ke_port) = (here.node.port(), here.ke_port);
    here.node.close();
    std::fs::remove_file(here.folder.join("clock.cookies")).unwrap();
    here.node = Node::start("127.0.0.1", udp_port, &here.folder.join("clock")).unwrap();
    until("a NAK", || node.sources()[0].trouble.contains("exchange keys"));
    // And then shows a certificate of another CA: nobody who has only taken its place is given anything.
    let (_, chain, key) = certificates("127.0.0.1");
    assert_eq!(here.node.serve_nts(chain.as_bytes(), key.as_bytes(), ke_port).unwrap(), ke_port);
    until("refused", || node.sources()[0].trouble.contains("certificate"));
    assert_eq!(node.sources()[0].key_exchanges, 1);
}

#[test]
fn a_sanctuary_exchanges_keys_anew_when_its_source_has_lost_them() {
    let mut here = sanctuary("anew");
    let (ca, chain, key) = certificates("127.0.0.1");
    here.ke_port = here.node.serve_nts(chain.as_bytes(), key.as_bytes(), 0).unwrap();
    let node = follow(&here, "follower", &[format!("nts://127.0.0.1:{}", here.ke_port)], &ca);
    until("followed", || node.tracking().state == LockState::Locked);
    let (udp_port, clock_file) = (here.node.port(), here.folder.join("clock"));
    here.node.close();
    std::fs::remove_file(here.folder.join("clock.cookies")).unwrap();
    here.node = Node::start("127.0.0.1", udp_port, &clock_file).unwrap();
    here.node.serve_nts(chain.as_bytes(), key.as_bytes(), here.ke_port).unwrap();
    until("new keys", || node.sources()[0].key_exchanges == 2);
    let used = node.sources()[0].exchanges;
    until("answers under them", || node.sources()[0].exchanges > used && node.sources()[0].trouble.is_empty());
    assert_eq!(node.tracking().state, LockState::Locked);
    assert_eq!(node.sources()[0].cookies, 8);
    assert_eq!(here.node.nts_exchanges(), (1, 0));
}

#[test]
fn a_source_whose_keys_do_not_come_holds_up_nobody_and_is_never_asked() {
    let here = sanctuary("keyless");
    // One that takes connections and says nothing, one of another CA, and one that is as it should be.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("nts://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (other_ca, _, _) = certificates("127.0.0.1");
    let foreign = format!("nts://127.0.0.1:{}", here.ke_port);
    let plain = format!("127.0.0.1:{}", here.node.port());
    let node = follow(&here, "follower", &[silent, foreign, plain], &other_ca);
    until("followed", || node.tracking().state == LockState::Locked);
    until("refused", || node.sources()[1].trouble.contains("certificate"));
    for keyless in &node.sources()[..2] {
        assert_eq!((keyless.state, keyless.exchanges), (SourceState::Unresolved, 0), "{keyless:?}");
        assert_eq!((keyless.authenticated, keyless.cookies, keyless.key_exchanges), (false, 0, 0));
    }
    assert!(!node.sources()[2].authenticated);
    // The answers did not stop while the silent one was waited for.
    let used = node.sources()[2].exchanges;
    until("more", || node.sources()[2].exchanges >= used + 3);
}

#[test]
fn cookies_are_good_after_a_restart_of_the_server() {
    let mut here = sanctuary("restart");
    let mut source = source(&here);
    let server = source.exchange(0, PATIENCE).unwrap();
    here.node.close();
    here.node = Node::start("127.0.0.1", server.port(), &here.folder.join("clock")).unwrap();
    let (mut sealed, mut opened) = ([0; PACKET_MAX], [0; CIRCLE_PACKET_LEN]);
    let len = source.seal(&plain(), &mut sealed).unwrap();
    let answer = ask(&socket(), server, &sealed[..len]);
    let len = source.open(&answer, &mut opened).unwrap();
    assert!(Answer::parse(&opened[..len]).unwrap().circle.is_some());
}

#[test]
fn an_answer_without_proof_moves_nothing_however_well_it_fits() {
    let here = sanctuary("unproved");
    // Somebody on the path, who answers in plain: the right number, the right address, a time that looks fine.
    let path = UdpSocket::bind("127.0.0.1:0").unwrap();
    path.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (port, behind) = (path.local_addr().unwrap().port(), here.node.port());
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (ca, chain, key) = certificates("127.0.0.1");
    let bake = Arc::new(|_: &_| vec![vec![7; 104]; 8]);
    let address = "127.0.0.1:0".parse().unwrap();
    let keys = nts_ke::KeListener::start(address, chain.as_bytes(), key.as_bytes(), port, bake).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 2048];
            while !stop.load(Ordering::SeqCst) {
                let Ok((len, from)) = path.recv_from(&mut bytes) else { continue };
                assert!(len > CIRCLE_PACKET_LEN, "it asks for proof");
                let answer = ask(&socket(), SocketAddr::from(([127, 0, 0, 1], behind)), &bytes[..48]);
                path.send_to(&answer, from).unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
        let node = follow(&here, "follower", &[format!("nts://127.0.0.1:{}", keys.port())], &ca);
        until("answers", || answered.load(Ordering::SeqCst) >= 8);
        until("out of cookies, and new ones", || node.sources()[0].key_exchanges >= 2);
        let source = node.sources().remove(0);
        assert_eq!((source.exchanges, source.reach, source.authenticated), (0, 0, false));
        assert_eq!((source.state, node.tracking().state), (SourceState::Silent, LockState::Unsynchronised));
        stop.store(true, Ordering::SeqCst);
    });
}
