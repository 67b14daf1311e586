//! Answering allocates nothing, under protection or not, whatever comes: counted by the allocator itself.
use std::hint::black_box;

use harmonia_core::nts::aead::{Algorithm, GROUP};
use harmonia_core::nts::cookie::cookie_len;
use harmonia_core::nts::server::Exchange;
use harmonia_core::nts::{CookieKeys, Keys, NtsClient, NtsServer, Policy, Reply, Rotation, PACKET_MAX};
use harmonia_core::packet::{patch_sent, write_request, NodeInfo, CIRCLE_PACKET_LEN};
use harmonia_core::units::{NodeTime, Span};

mod counting;
use counting::allocations;

const AT: NodeTime = NodeTime::from_ns(1_700_000_000_000_000_000);
const INFO: NodeInfo = NodeInfo::root(1);

fn entropy(out: &mut [u8]) {
    out.fill(3);
}

fn server() -> NtsServer {
    NtsServer::new(CookieKeys::new(Rotation::default(), AT, &mut entropy), Policy::Everybody)
}

fn plain() -> Vec<u8> {
    let mut out = [0; CIRCLE_PACKET_LEN];
    write_request(7, &mut out).unwrap();
    out.to_vec()
}

/// A request of a client that has so many cookies, and so asks for the others.
fn protected(server: &NtsServer, algorithm: Algorithm, cookies: usize) -> Vec<u8> {
    let keys = Keys::new(algorithm, &[1; 32], &[2; 32]);
    let mut cookie = vec![0; cookie_len(algorithm)];
    server.cookies.seal(&keys, &mut entropy, &mut cookie);
    let mut out = [0; PACKET_MAX];
    let len = NtsClient::new(&keys, vec![cookie; cookies]).seal_request(&plain(), &mut entropy, &mut out);
    out[..len.unwrap()].to_vec()
}

#[test]
fn answering_allocates_nothing_whatever_comes() {
    let server = server();
    let mut requests = vec![plain(), plain()[..48].to_vec(), vec![0x23; 30]];
    for algorithm in Algorithm::ALL {
        requests.extend([8, 3, 1].map(|cookies| protected(&server, algorithm, cookies)));
        let mut forged = protected(&server, algorithm, 8);
        *forged.last_mut().unwrap() ^= 1;
        requests.push(forged);
        let mut stale = protected(&server, algorithm, 8);
        stale[90] ^= 1;
        requests.push(stale);
    }
    let mut rooms = [[0; PACKET_MAX]; GROUP];
    let (mut plain, mut protected, mut naks, mut refused) = (0, 0, 0, 0);
    let counted = allocations(|| {
        for first in 0..requests.len() {
            let mut group: [Exchange<'_>; GROUP] = Default::default();
            for (n, (exchange, room)) in group.iter_mut().zip(&mut rooms).enumerate() {
                *exchange = Exchange { request: &requests[(first + n) % requests.len()], received: AT, out: room };
            }
            for reply in server.respond_group(&mut group, AT, &INFO, &mut entropy) {
                match reply {
                    Ok(Reply::Plain(len)) => {
                        patch_sent(&mut group[0].out[..len], AT, Span::ZERO);
                        plain += 1;
                    }
                    Ok(Reply::Protected(_)) => protected += 1,
                    Ok(Reply::Nak(_)) => naks += 1,
                    Err(_) => refused += 1,
                }
            }
            let Exchange { request, out, .. } = &mut group[0];
            let _ = black_box(server.respond(request, AT, AT, &INFO, &mut entropy, out));
        }
    });
    assert!(plain > 0 && protected > 0 && naks > 0 && refused > 0, "{plain} {protected} {naks} {refused}");
    assert_eq!(counted, 0);
}
