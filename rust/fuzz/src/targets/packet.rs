//! Plain NTP: a server that answers spoiled requests, and a client that reads spoiled answers.
use harmonia_core::packet::{
    is_ntp_answer, is_ntp_request, patch_sent, respond, write_kiss, write_request, Answer, Header, NodeInfo,
    NtpTimestamp, CIRCLE_FIELD_TYPE, CIRCLE_PACKET_LEN,
};
use harmonia_core::units::{NodeTime, Span};

use super::{refused, Target};
use crate::mutate::{mutate, LEN_MAX};
use crate::random::Random;
use crate::End;

/// Times at the ends of their range, and one in the middle.
const TIMES: [i64; 6] = [i64::MIN, -1, 0, 1_700_000_000_123_456_789, i64::MAX - 1, i64::MAX];

/// See the module.
#[derive(Default)]
pub struct PacketTarget {
    turn: usize,
}

impl Target for PacketTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        let mut circle = [0; CIRCLE_PACKET_LEN];
        write_request(random.next_u64(), &mut circle).expect("room for a request");
        let plain = Header { version: 3 + (random.next_u64() & 1) as u8, mode: 3, poll: 6, ..Header::default() };
        match random.below(4) {
            0 => input.extend(circle),
            1 => input.extend(plain.to_bytes()),
            2 => {
                // An answer, for the reading side.
                let mut out = [0; CIRCLE_PACKET_LEN];
                let at = NodeTime::from_ns(TIMES[3]);
                respond(&circle, at, at, &NodeInfo::root(1), &mut out).expect("a genuine request");
                input.extend(out);
            }
            _ => {
                input.extend(plain.to_bytes());
                for _ in 0..random.below(5) {
                    let words = 4 + random.below(20);
                    let kind = if random.one_in(2) { CIRCLE_FIELD_TYPE } else { random.next_u64() as u16 };
                    input.extend(kind.to_be_bytes());
                    input.extend((words as u16 * 4).to_be_bytes());
                    input.resize(input.len() + words * 4 - 4, random.next_u64() as u8);
                }
            }
        }
        if !random.one_in(8) {
            mutate(random, input);
        }
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        self.turn += 1;
        let time = |step: usize| NodeTime::from_ns(TIMES[(self.turn / step) % TIMES.len()]);
        let (received, sent) = (time(1), time(TIMES.len()));
        let bound = Span::from_ns(TIMES[self.turn % TIMES.len()]);
        let info = NodeInfo { bound, root_delay: bound, ..NodeInfo::root(self.turn as u64) };
        let mut out = [0; LEN_MAX];
        let heard = Answer::parse(input);
        if let Ok(answer) = &heard {
            let _ = (answer.stamps(info.tai_minus_utc), answer.source_bound());
            let _ = NtpTimestamp::from_node(answer.stamps(Span::ZERO).0, Span::ZERO);
        }
        patch_sent(&mut input.to_vec(), sent, info.tai_minus_utc);
        if let Ok(len) = write_kiss(input, *b"RATE", &mut out) {
            if len > input.len() {
                return Err(format!("a kiss of {len} bytes to a request of {}", input.len()));
            }
        }
        match respond(input, received, sent, &info, &mut out) {
            Ok(len) if len > input.len() => Err(format!("an answer of {len} bytes to a request of {}", input.len())),
            Ok(len) if !is_ntp_request(input) || !is_ntp_answer(&out[..len]) => {
                Err("what is no request was answered, or with what is no answer".into())
            }
            Ok(len) => {
                patch_sent(&mut out[..len], sent, info.tai_minus_utc);
                let mut again = [0; LEN_MAX];
                if respond(input, received, sent, &info, &mut again) != Ok(len) || again[..len] != out[..len] {
                    return Err("the same request got another answer".into());
                }
                Ok(refused(if len == CIRCLE_PACKET_LEN { "answered a platform" } else { "answered a stranger" }))
            }
            Err(_) => Ok(refused(if heard.is_ok() { "read as an answer" } else { "refused" })),
        }
    }
}
