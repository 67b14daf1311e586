//! A platform's session: spoiled, repeated and late answers, and time stamps from anywhere.
//!
//! A plain answer is believed if it echoes the random number of a waiting request, whatever else it says: so much only
//! the server and whoever sits on the path can know. The clock that comes of it may be wrong then, but it must be one.
use harmonia_core::packet::{respond, NodeInfo, CIRCLE_PACKET_LEN};
use harmonia_core::session::{SyncConfig, SyncSession};
use harmonia_core::units::{NodeTime, PlatformTime, Span};

use super::{refused, Target};
use crate::mutate::mutate;
use crate::random::Random;
use crate::End;

/// See the module.
pub struct SessionTarget {
    session: SyncSession,
    now: PlatformTime,
    nonce: [u8; 8],
    answer: Vec<u8>,
    /// What was believed, word for word: a second time it is a repetition.
    believed: bool,
    requests: u32,
}

impl Default for SessionTarget {
    fn default() -> Self {
        Self { session: fresh(1), now: START, nonce: [0; 8], answer: Vec::new(), believed: true, requests: 0 }
    }
}

const START: PlatformTime = PlatformTime::from_ns(1_000_000_000);
/// Requests of one session, before the next begins.
const REQUESTS: u32 = 200;

fn fresh(seed: u64) -> SyncSession {
    SyncSession::new(SyncConfig { strangers: true, ..SyncConfig::default() }, seed)
}

impl SessionTarget {
    fn ask(&mut self, random: &mut Random) {
        if self.requests.is_multiple_of(REQUESTS) {
            (self.session, self.now) = (fresh(random.next_u64()), START);
        }
        self.requests += 1;
        let mut out = [0; CIRCLE_PACKET_LEN];
        while self.session.poll_transmit(self.now, &mut out).is_none() {
            self.now = self.session.poll_timeout();
        }
        self.nonce.copy_from_slice(&out[40..48]);
        let at = NodeTime::from_ns(self.now.ns()) + Span::from_ms(5_000) + Span::from_us(random.below(2_000) as i64);
        let mut answer = [0; CIRCLE_PACKET_LEN];
        let len = respond(&out, at, at, &NodeInfo::root(1), &mut answer).expect("a genuine request");
        self.answer = answer[..len].to_vec();
        self.now += Span::from_us(2_000 + random.below(2_000) as i64);
        self.believed = false;
    }
}

impl Target for SessionTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        if self.believed || random.one_in(64) {
            self.ask(random);
        }
        input.extend(&self.answer);
        match random.below(64) {
            0 => {}
            // Spoiled anywhere but in the nonce: the hard case, as it will be believed.
            1 => {
                mutate(random, input);
                input.resize(input.len().max(48), 0);
                input[24..32].copy_from_slice(&self.nonce);
            }
            _ => mutate(random, input),
        }
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        let echoes = input.get(24..32) == Some(&self.nonce);
        let before = self.session.clock();
        let end = match self.session.handle_input(self.now, Span::from_ns(100), input) {
            Ok(_) if self.believed || !echoes => return Err("an answer to no request was believed".into()),
            Ok(_) => {
                self.believed = true;
                // The same again is a repetition.
                if self.session.handle_input(self.now, Span::ZERO, input).is_ok() {
                    return Err("a repeated answer was believed".into());
                }
                End {
                    name: if input == self.answer { "believed: genuine" } else { "believed: spoiled, with the nonce" },
                    forged: false,
                }
            }
            Err(_) if self.session.clock() != before => return Err("a refused answer moved the clock".into()),
            Err(_) if echoes => refused("refused, with the nonce"),
            Err(_) => End { name: "refused", forged: true },
        };
        let reading = self.session.clock().read(self.now);
        let _ = (reading.bound(), reading.rate_ppb, self.session.clock().read(self.now + Span::from_s(3600)));
        Ok(end)
    }
}
