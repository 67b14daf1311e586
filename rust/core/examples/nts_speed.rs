//! How many requests a second one thread answers, plain and with each of NTS's algorithms; no socket is involved.
//!
//! `cargo run --release -p harmonia-core --example nts_speed`
#![allow(clippy::disallowed_methods)] // a measurement reads a clock; the core does not

use std::time::Instant;

use harmonia_core::nts::aead::{Algorithm, GROUP};
use harmonia_core::nts::server::Exchange;
use harmonia_core::nts::{cookie, CookieKeys, Keys, NtsClient, NtsServer, Policy, Rotation, PACKET_MAX};
use harmonia_core::packet::{write_request, NodeInfo, CIRCLE_PACKET_LEN};
use harmonia_core::units::NodeTime;

const ROUNDS: u32 = 200_000;

fn main() {
    let at = NodeTime::from_ns(1_700_000_000_000_000_000);
    let mut state = 1u64;
    // Not random, only as long: what is measured is the ciphers.
    let mut entropy = |out: &mut [u8]| {
        for byte in out {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
    };
    let server = NtsServer::new(CookieKeys::new(Rotation::default(), at, &mut entropy), Policy::Everybody);
    let mut plain = [0; CIRCLE_PACKET_LEN];
    write_request(7, &mut plain).expect("room");
    let mut out = [0; PACKET_MAX];
    let started = Instant::now();
    for _ in 0..ROUNDS {
        server.respond(&plain, at, at, &NodeInfo::root(1), &mut entropy, &mut out).expect("an answer");
    }
    report("plain", started, plain.len());
    for algorithm in Algorithm::ALL {
        let keys = Keys::new(algorithm, &[1; 32], &[2; 32]);
        let mut sealing = |out: &mut [u8]| out.fill(3);
        let cookies = CookieKeys::new(Rotation::default(), at, &mut sealing);
        let mut room = [0; cookie::COOKIE_LEN_MAX];
        let len = cookies.seal(&keys, &mut sealing, &mut room);
        // One cookie of eight is missing after the first request, as in an undisturbed conversation.
        let mut client = NtsClient::new(&keys, vec![room[..len].to_vec(); 8]);
        let mut sealed = [0; PACKET_MAX];
        let len = client.seal_request(&plain, &mut sealing, &mut sealed).expect("a cookie");
        let server = NtsServer::new(cookies, Policy::Everybody);
        let mut out = [0; PACKET_MAX];
        let started = Instant::now();
        for _ in 0..ROUNDS {
            server.respond(&sealed[..len], at, at, &NodeInfo::root(1), &mut sealing, &mut out).expect("an answer");
        }
        report(&format!("{algorithm:?}"), started, len);
        let mut rooms = [[0; PACKET_MAX]; GROUP];
        let started = Instant::now();
        for _ in 0..ROUNDS / GROUP as u32 {
            let mut rooms = rooms.iter_mut();
            let mut group = [(); GROUP].map(|()| Exchange {
                request: &sealed[..len],
                received: at,
                out: rooms.next().expect("room"),
            });
            let replies = server.respond_group(&mut group, at, &NodeInfo::root(1), &mut sealing);
            assert!(replies.iter().all(Result::is_ok), "answers");
        }
        report("  in groups", started, len);
    }
}

fn report(name: &str, started: Instant, len: usize) {
    let each_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("{name:13} {:9.0} a second, {each_us:.2} µs each, {len} bytes", 1e6 / each_us);
}
