//! From a batch of requests to the answers on the wire, plain and protected, nothing is allocated.
use harmonia_core::node_clock::NodeClock;
use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::{CookieKeys, Keys, NtsClient, Rotation, PACKET_MAX};
use harmonia_core::packet::{write_request, NodeInfo, CIRCLE_PACKET_LEN};
use harmonia_core::units::NodeTime;
use harmonia_io::answering::{AnswerStats, Answering};
use harmonia_io::os;
use harmonia_io::socket::{Batch, Socket};
use std::sync::atomic::Ordering;

#[path = "../../core/tests/counting/mod.rs"]
mod counting;
use counting::allocations;

fn socket() -> Socket {
    Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

#[test]
fn a_batch_is_answered_without_the_allocator() {
    let (server, client) = (socket(), socket());
    let cookies = CookieKeys::new(Rotation::default(), NodeTime::from_ns(0), &mut |out| out.fill(9));
    let mut answering = Answering::new(cookies).unwrap();
    let clock = NodeClock::new("boot", os::raw_ns(), 1_700_000_000_000_000_000);
    let mut plain = [0; CIRCLE_PACKET_LEN];
    write_request(7, &mut plain).unwrap();
    let mut requests = vec![plain.to_vec(), plain[..48].to_vec(), vec![0x23; 20], vec![0x23; 300]];
    for algorithm in Algorithm::ALL {
        let keys = Keys::new(algorithm, &[1; 32], &[2; 32]);
        let mut client = NtsClient::new(&keys, answering.bake(&keys));
        let mut entropy = |out: &mut [u8]| out.fill(3);
        for _ in 0..8 {
            let mut out = [0; PACKET_MAX];
            let len = client.seal_request(&plain, &mut entropy, &mut out).unwrap();
            requests.push(out[..len].to_vec());
        }
        requests.last_mut().unwrap()[90] ^= 1;
    }
    let to = server.local_addr().unwrap();
    let items: Vec<_> = requests.iter().map(|request| (to, request.as_slice())).collect();
    let (stats, info, mut batch) = (AnswerStats::default(), NodeInfo::root(1), Batch::default());
    assert_eq!(client.send_batch(&items), requests.len());
    let (mut taken, mut left) = (0, 0);
    let counted = allocations(|| {
        // On loopback what was sent is there already.
        while server.receive(&mut batch).unwrap() > 0 {
            for i in 0..batch.len() {
                answering.take(&mut batch, i, &clock, &info, &stats);
                taken += 1;
            }
            let now = || clock.node_at(os::raw_ns());
            left += answering.send(&server, &mut batch, now, &info, &stats).0;
        }
    });
    assert_eq!((taken, left), (requests.len(), requests.len() - 2), "all but the malformed two");
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&stats.protected), count(&stats.naks)), (14, 2));
    assert_eq!(counted, 0);
}
