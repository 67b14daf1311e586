//! NTS: a server and a client whose datagrams are spoiled on the way, both ways, and then repeated.
use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::{
    CookieKeys, Keys, NtsClient, NtsServer, Policy, Reply, Rotation, AUTHENTICATOR_FIELD, COOKIE_FIELD, PACKET_MAX,
    PLACEHOLDER_FIELD, UNIQUE_ID_FIELD,
};
use harmonia_core::packet::{write_request, NodeInfo, CIRCLE_FIELD_TYPE, CIRCLE_PACKET_LEN, HEADER_LEN};
use harmonia_core::units::NodeTime;

use super::{refused, Target};
use crate::mutate::{mutate, LEN_MAX};
use crate::random::Random;
use crate::End;

const AT: NodeTime = NodeTime::from_ns(1_700_000_000_123_456_789);
/// A genuine pair of datagrams is spoiled so often before a fresh one is made.
const USES: u32 = 64;

/// See the module.
pub struct FieldsTarget {
    entropy: Random,
    server: NtsServer,
    client: NtsClient,
    request: Vec<u8>,
    answer: Vec<u8>,
    uses: u32,
    /// The genuine answer was heard: from here on it is a repetition.
    heard: bool,
}

impl Default for FieldsTarget {
    fn default() -> Self {
        let mut entropy = Random::new(1);
        let cookies = CookieKeys::new(Rotation::default(), AT, &mut |out| entropy.fill(out));
        let server = NtsServer::new(cookies, Policy::Everybody);
        let client = NtsClient::new(&Keys::new(Algorithm::AesSivCmac256, &[0; 32], &[0; 32]), []);
        Self { entropy, server, client, request: Vec::new(), answer: Vec::new(), uses: USES, heard: false }
    }
}

impl FieldsTarget {
    /// A new client with new keys asks, and is answered.
    fn converse(&mut self, random: &mut Random) {
        let algorithm = random.pick(&Algorithm::ALL);
        let mut secret = [[0; 32]; 2];
        secret.iter_mut().for_each(|key| self.entropy.fill(key));
        let keys = Keys::new(algorithm, &secret[0], &secret[1]);
        let entropy = &mut self.entropy;
        let cookies: Vec<_> = (0..1 + random.below(8))
            .map(|_| {
                let mut room = [0; harmonia_core::nts::cookie::COOKIE_LEN_MAX];
                let len = self.server.cookies.seal(&keys, &mut |out| entropy.fill(out), &mut room);
                room[..len].to_vec()
            })
            .collect();
        self.client = NtsClient::new(&keys, cookies);
        let mut plain = [0; CIRCLE_PACKET_LEN];
        let len = write_request(random.next_u64(), &mut plain).expect("room for a request");
        let len = if random.one_in(2) { len } else { HEADER_LEN };
        let mut out = [0; PACKET_MAX];
        let sealed = self.client.seal_request(&plain[..len], &mut |out| entropy.fill(out), &mut out);
        self.request = out[..sealed.expect("a cookie is left")].to_vec();
        let info = NodeInfo::root(1);
        let reply = self.server.respond(&self.request, AT, AT, &info, &mut |out| entropy.fill(out), &mut out);
        let Ok(Reply::Protected(len)) = reply else { panic!("a genuine request got {reply:?}") };
        self.answer = out[..len].to_vec();
        (self.uses, self.heard) = (0, false);
    }

    /// Fields of all kinds in any order, some of them copies of genuine ones.
    fn invent(&self, random: &mut Random, input: &mut Vec<u8>) {
        input.extend(&self.request[..HEADER_LEN]);
        for _ in 0..random.below(14) {
            if random.one_in(3) {
                let at = HEADER_LEN + random.below((self.request.len() - HEADER_LEN) / 4) * 4;
                let end = at + random.below((self.request.len() - at) / 4 + 1) * 4;
                input.extend(&self.request[at..end]);
                continue;
            }
            let known =
                [UNIQUE_ID_FIELD, COOKIE_FIELD, PLACEHOLDER_FIELD, AUTHENTICATOR_FIELD, CIRCLE_FIELD_TYPE, 0x1234];
            let words = 1 + random.below(40);
            input.extend(random.pick(&known).to_be_bytes());
            input.extend((words as u16 * 4).to_be_bytes());
            input.resize(input.len() + words * 4 - 4, 0);
        }
        input.truncate(LEN_MAX);
    }

    fn serve(&mut self, input: &[u8]) -> Result<End, String> {
        let mut out = [0; 2 * LEN_MAX];
        let entropy = &mut self.entropy;
        let info = NodeInfo::root(1);
        let reply = self.server.respond(input, AT, AT, &info, &mut |out| entropy.fill(out), &mut out);
        let Ok(reply) = reply else { return Ok(End { name: "request: refused", forged: true }) };
        if reply.len() > input.len() {
            return Err(format!("an answer of {} bytes to a request of {}", reply.len(), input.len()));
        }
        match reply {
            Reply::Protected(_) if is_genuine(input, &self.request) => Ok(refused("request: genuine")),
            Reply::Protected(_) => Err("a forged request was believed".into()),
            Reply::Nak(_) => Ok(End { name: "request: NAK", forged: true }),
            Reply::Plain(_) => Ok(refused("request: plain")),
        }
    }

    fn hear(&mut self, input: &[u8]) -> Result<End, String> {
        let genuine = is_genuine(input, &self.answer);
        let mut out = [0; CIRCLE_PACKET_LEN];
        match self.client.open_answer(input, &mut out) {
            Ok(_) if genuine && !self.heard => {
                self.heard = true;
                Ok(refused("answer: genuine"))
            }
            Ok(_) if genuine => Err("a repeated answer was believed".into()),
            Ok(_) => Err("a forged answer was believed".into()),
            Err(_) if genuine && self.heard => Ok(End { name: "answer: repeated", forged: true }),
            Err(error) if input == self.answer => Err(format!("a genuine answer was refused: {error}")),
            Err(_) => Ok(End { name: "answer: refused", forged: true }),
        }
    }
}

/// Whether `input` says what `genuine` does, in the same words.
///
/// Two things may differ, as nobody reads them: what stands behind the authenticator, and the padding at its end. The
/// RFC lets a sender add padding as it likes, and leaves the length of the authenticator itself unauthenticated.
fn is_genuine(input: &[u8], genuine: &[u8]) -> bool {
    let mut at = HEADER_LEN;
    while genuine[at..at + 2] != AUTHENTICATOR_FIELD.to_be_bytes() {
        at += usize::from(u16::from_be_bytes([genuine[at + 2], genuine[at + 3]]));
    }
    let (before_len, after_len) = (at + 2, at + 4);
    input.starts_with(&genuine[..before_len])
        && input.get(after_len..).is_some_and(|rest| rest.starts_with(&genuine[after_len..]))
}

impl Target for FieldsTarget {
    fn generate(&mut self, random: &mut Random, input: &mut Vec<u8>) {
        if self.uses == USES {
            self.converse(random);
        }
        self.uses += 1;
        match random.below(8) {
            0 => self.invent(random, input),
            // As it is: genuine once, repeated after.
            1 => input.extend(&self.answer),
            2..=4 => {
                input.extend(&self.answer);
                mutate(random, input);
            }
            _ => {
                input.extend(&self.request);
                if !random.one_in(16) {
                    mutate(random, input);
                }
            }
        }
    }

    fn check(&mut self, input: &[u8]) -> Result<End, String> {
        if self.request.is_empty() {
            return Ok(refused("no conversation yet"));
        }
        // Whoever reads such a byte decides by its mode; so does this.
        if input.first().is_some_and(|first| first & 7 == 4) {
            let end = self.hear(input)?;
            self.serve(input)?;
            Ok(end)
        } else {
            let end = self.serve(input)?;
            self.hear(input)?;
            Ok(end)
        }
    }
}
