//! NTS key establishment: the records that client and server exchange once, over TLS (RFC 8915, section 4).
//!
//! The client says which protocols and AEAD algorithms it can use; the server chooses, and gives it cookies. The keys
//! are not sent at all: both ends derive them from the TLS session ([`exporter_context`]). Here is only what the
//! records mean; bytes go in as they come ([`Reader`]) and whole messages come out.
//!
//! Record 1024 is chrony's: early versions derived the keys of AES-128-GCM-SIV with the context of another algorithm, so
//! a client and a server that both do as the RFC says tell each other. That algorithm is therefore chosen only where
//! the other end has said so, and both ends always mean the same keys.
use thiserror::Error;

use super::aead::Algorithm;
use super::COOKIES_MAX;

/// What TLS's ALPN calls the protocol.
pub const ALPN: &[u8] = b"ntske/1";
/// The label of the keys' derivation (section 5.1).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-network-time-security";
/// The port, unless told otherwise.
pub const PORT: u16 = 4460;
/// The longest request that a server reads; it must read 1024 bytes.
pub const REQUEST_MAX: usize = 4096;
/// The longest answer that a client reads; it must read 65536 bytes.
pub const RESPONSE_MAX: usize = 65_536;

const CRITICAL: u16 = 0x8000;
const END: u16 = 0;
const NEXT_PROTOCOL: u16 = 1;
const ERROR: u16 = 2;
const WARNING: u16 = 3;
const ALGORITHM: u16 = 4;
const COOKIE: u16 = 5;
const SERVER: u16 = 6;
const SERVER_PORT: u16 = 7;
const COMPLIANT_GCM_SIV: u16 = 1024;
const NTPV4: u16 = 0;

/// What a server's error record says (section 4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    /// A critical record that is not known here.
    UnrecognizedCritical = 0,
    /// A message that breaks the rules.
    BadRequest = 1,
    /// The server could not do it.
    Internal = 2,
}

/// Why a key exchange failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KeError {
    /// A critical record that is not known here.
    #[error("the other end sent a critical record of type {0}, which is not known here")]
    UnrecognizedCritical(u16),
    /// A message that breaks the rules.
    #[error("the other end broke the rules of NTS-KE: {0}")]
    BadMessage(&'static str),
    /// More bytes than a message may have.
    #[error("the other end sent more than {0} bytes without an end")]
    TooLong(usize),
    /// The server sent an error.
    #[error("the server refuses: error {0} ({text})", text = error_text(*.0))]
    Refused(u16),
    /// No protocol or algorithm in common.
    #[error("the server offers {0} that is spoken here")]
    NothingInCommon(&'static str),
}

fn error_text(code: u16) -> &'static str {
    match code {
        0 => "it does not know a critical record",
        1 => "a bad request",
        2 => "an error of its own",
        _ => "an unknown one",
    }
}

impl KeError {
    /// What a server tells the client about it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnrecognizedCritical(_) => ErrorCode::UnrecognizedCritical,
            _ => ErrorCode::BadRequest,
        }
    }
}

/// The context of the exporter for one of the two keys (section 5.1): protocol, algorithm, direction.
pub fn exporter_context(algorithm: Algorithm, to_client: bool) -> [u8; 5] {
    let [high, low] = algorithm.id().to_be_bytes();
    let [protocol_high, protocol_low] = NTPV4.to_be_bytes();
    [protocol_high, protocol_low, high, low, u8::from(to_client)]
}

/// A whole message, as either end sends it. Unknown records that are not critical are left out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Message {
    next_protocols: Option<Vec<u16>>,
    algorithms: Option<Vec<u16>>,
    compliant_gcm_siv: bool,
    error: Option<u16>,
    cookies: Vec<Vec<u8>>,
    server: Option<String>,
    port: Option<u16>,
}

/// Collects bytes until a message is whole.
#[derive(Debug)]
struct Reader {
    bytes: Vec<u8>,
    at: usize,
    len_max: usize,
}

impl Reader {
    fn new(len_max: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, len_max }
    }

    /// Takes bytes as they come; returns the message once its end has been seen. What comes after is not read.
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Message>, KeError> {
        let taken = bytes.len().min(self.len_max + 1 - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        while let Some((kind, body)) = record(&self.bytes[self.at..]) {
            self.at += 4 + body.len();
            if kind & !CRITICAL == END {
                return parse(&self.bytes[..self.at]).map(Some);
            }
        }
        if self.bytes.len() > self.len_max {
            return Err(KeError::TooLong(self.len_max));
        }
        Ok(None)
    }
}

/// The first record of `bytes`, if it is whole: its type with the critical bit, and its body.
fn record(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let head = bytes.first_chunk::<4>()?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    Some((u16::from_be_bytes([head[0], head[1]]), bytes.get(4..4 + len)?))
}

fn numbers(body: &[u8]) -> Result<Vec<u16>, KeError> {
    if !body.len().is_multiple_of(2) {
        return Err(KeError::BadMessage("a list of numbers has an odd length"));
    }
    Ok(body.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
}

fn number(body: &[u8]) -> Result<u16, KeError> {
    body.try_into()
        .map(u16::from_be_bytes)
        .map_err(|_| KeError::BadMessage("a number has another length than two bytes"))
}

/// `place` gets `value`, unless it has one already.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), KeError> {
    if place.replace(value).is_some() {
        return Err(KeError::BadMessage("a record that may come once comes twice"));
    }
    Ok(())
}

fn parse(mut bytes: &[u8]) -> Result<Message, KeError> {
    let mut message = Message::default();
    while let Some((kind, body)) = record(bytes) {
        bytes = &bytes[4 + body.len()..];
        match kind & !CRITICAL {
            END if !body.is_empty() => return Err(KeError::BadMessage("the end has a body")),
            END => break,
            NEXT_PROTOCOL => once(&mut message.next_protocols, numbers(body)?)?,
            ERROR => once(&mut message.error, number(body)?)?,
            WARNING => {}
            ALGORITHM => once(&mut message.algorithms, numbers(body)?)?,
            COOKIE => message.cookies.push(body.to_vec()),
            SERVER => once(&mut message.server, server_name(body)?)?,
            SERVER_PORT => once(&mut message.port, number(body)?)?,
            COMPLIANT_GCM_SIV => message.compliant_gcm_siv = true,
            unknown if kind & CRITICAL != 0 => return Err(KeError::UnrecognizedCritical(unknown)),
            _ => {}
        }
    }
    Ok(message)
}

/// A host name or address: printable ASCII without spaces, as it will be looked up and shown to people.
fn server_name(body: &[u8]) -> Result<String, KeError> {
    if body.is_empty() || body.len() > 255 || !body.iter().all(u8::is_ascii_graphic) {
        return Err(KeError::BadMessage("a server's name is no host name"));
    }
    Ok(body.iter().map(|&byte| byte as char).collect())
}

fn push_record(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
}

fn push_end(out: &mut Vec<u8>) {
    push_record(out, CRITICAL | END, &[]);
}

/// What a server makes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Keys for this algorithm, and cookies with them.
    Agreed(Algorithm),
    /// It speaks none of the client's protocols.
    NoProtocol,
    /// It knows none of the client's algorithms.
    NoAlgorithm,
}

/// The server's side: give it what the client sends until it has chosen, then send [`KeServer::response`] or
/// [`KeServer::refusal`], and close.
#[derive(Debug)]
pub struct KeServer {
    reader: Reader,
}

impl Default for KeServer {
    fn default() -> Self {
        Self { reader: Reader::new(REQUEST_MAX) }
    }
}

impl KeServer {
    /// Takes bytes as they come; returns the choice once the request is whole.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<Option<Choice>, KeError> {
        let Some(request) = self.reader.push(bytes)? else { return Ok(None) };
        let protocols = request.next_protocols.ok_or(KeError::BadMessage("no next protocol"))?;
        if request.error.is_some() || !request.cookies.is_empty() {
            return Err(KeError::BadMessage("an error or a cookie in a request"));
        }
        if !protocols.contains(&NTPV4) {
            return Ok(Some(Choice::NoProtocol));
        }
        let offered = request.algorithms.ok_or(KeError::BadMessage("no algorithm for NTPv4"))?;
        let usable = |algorithm: &Algorithm| *algorithm != Algorithm::Aes128GcmSiv || request.compliant_gcm_siv;
        // In the client's order: it knows what is cheap for it.
        let chosen = offered.into_iter().filter_map(Algorithm::from_id).find(usable);
        Ok(Some(chosen.map_or(Choice::NoAlgorithm, Choice::Agreed)))
    }

    /// The answer to a request: with `cookies` if an algorithm was agreed upon. `port` is NTP's, told if it is not 123.
    pub fn response(choice: Choice, cookies: &[Vec<u8>], port: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + cookies.iter().map(|cookie| 4 + cookie.len()).sum::<usize>());
        match choice {
            Choice::NoProtocol => push_record(&mut out, CRITICAL | NEXT_PROTOCOL, &[]),
            Choice::NoAlgorithm => {
                push_record(&mut out, CRITICAL | NEXT_PROTOCOL, &NTPV4.to_be_bytes());
                push_record(&mut out, CRITICAL | ALGORITHM, &[]);
            }
            Choice::Agreed(algorithm) => {
                push_record(&mut out, CRITICAL | NEXT_PROTOCOL, &NTPV4.to_be_bytes());
                push_record(&mut out, CRITICAL | ALGORITHM, &algorithm.id().to_be_bytes());
                if algorithm == Algorithm::Aes128GcmSiv {
                    push_record(&mut out, COMPLIANT_GCM_SIV, &[]);
                }
                if port != 123 {
                    push_record(&mut out, CRITICAL | SERVER_PORT, &port.to_be_bytes());
                }
                for cookie in cookies {
                    push_record(&mut out, COOKIE, cookie);
                }
            }
        }
        push_end(&mut out);
        out
    }

    /// What a client is told whose request failed.
    pub fn refusal(code: ErrorCode) -> Vec<u8> {
        let mut out = Vec::with_capacity(10);
        push_record(&mut out, CRITICAL | ERROR, &(code as u16).to_be_bytes());
        push_end(&mut out);
        out
    }
}

/// What client and server have agreed upon; the keys are derived beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// What the keys are for.
    pub algorithm: Algorithm,
    /// One to eight cookies.
    pub cookies: Vec<Vec<u8>>,
    /// The NTP server's name or address, unless it is the key exchange's own.
    pub server: Option<String>,
    /// The NTP server's port.
    pub port: u16,
}

/// The client's side: send [`KeClient::request`], then give it what the server sends until it has an agreement.
#[derive(Debug)]
pub struct KeClient {
    reader: Reader,
    offered: Vec<Algorithm>,
}

impl KeClient {
    /// A client that can use these algorithms, the preferred one first.
    pub fn new(offered: &[Algorithm]) -> Self {
        Self { reader: Reader::new(RESPONSE_MAX), offered: offered.to_vec() }
    }

    /// The request.
    pub fn request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        push_record(&mut out, CRITICAL | NEXT_PROTOCOL, &NTPV4.to_be_bytes());
        let ids: Vec<u8> = self.offered.iter().flat_map(|algorithm| algorithm.id().to_be_bytes()).collect();
        push_record(&mut out, CRITICAL | ALGORITHM, &ids);
        if self.offered.contains(&Algorithm::Aes128GcmSiv) {
            push_record(&mut out, COMPLIANT_GCM_SIV, &[]);
        }
        push_end(&mut out);
        out
    }

    /// Takes bytes as they come; returns the agreement once the answer is whole.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<Option<Agreement>, KeError> {
        let Some(answer) = self.reader.push(bytes)? else { return Ok(None) };
        if let Some(code) = answer.error {
            return Err(KeError::Refused(code));
        }
        match answer.next_protocols.as_deref() {
            Some([NTPV4]) => {}
            Some([]) => return Err(KeError::NothingInCommon("no protocol")),
            _ => return Err(KeError::BadMessage("another next protocol than was asked for")),
        }
        let algorithm = match answer.algorithms.as_deref() {
            Some([id]) => Algorithm::from_id(*id).filter(|algorithm| self.offered.contains(algorithm)),
            Some([]) => return Err(KeError::NothingInCommon("no algorithm")),
            _ => None,
        };
        let algorithm = algorithm.ok_or(KeError::BadMessage("another algorithm than was offered"))?;
        if algorithm == Algorithm::Aes128GcmSiv && !answer.compliant_gcm_siv {
            return Err(KeError::BadMessage("AES-128-GCM-SIV without saying how its keys are derived (record 1024)"));
        }
        if answer.cookies.is_empty() {
            return Err(KeError::BadMessage("no cookies"));
        }
        let mut cookies = answer.cookies;
        cookies.truncate(COOKIES_MAX);
        Ok(Some(Agreement { algorithm, cookies, server: answer.server, port: answer.port.unwrap_or(123) }))
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn agreed(offer: &[Algorithm], cookies: &[Vec<u8>], port: u16) -> Result<Option<Agreement>, KeError> {
        let mut client = KeClient::new(offer);
        let choice = KeServer::default().handle_input(&client.request())?.expect("a whole request");
        client.handle_input(&KeServer::response(choice, cookies, port))
    }

    fn offers() -> impl Strategy<Value = Vec<Algorithm>> {
        prop_oneof![
            Just(vec![Algorithm::AesSivCmac256]),
            Just(vec![Algorithm::Aes128GcmSiv]),
            Just(vec![Algorithm::AesSivCmac256, Algorithm::Aes128GcmSiv]),
            Just(vec![Algorithm::Aes128GcmSiv, Algorithm::AesSivCmac256]),
        ]
    }

    fn records() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![0u16..9, Just(1024), any::<u16>()];
        let one = (kind, any::<bool>(), prop::collection::vec(any::<u8>(), 0..6));
        prop::collection::vec(one, 0..8).prop_map(|records| {
            let mut out = Vec::new();
            for (kind, critical, body) in records {
                push_record(&mut out, kind & !CRITICAL | if critical { CRITICAL } else { 0 }, &body);
            }
            push_end(&mut out);
            out
        })
    }

    proptest! {
        #[test]
        fn both_ends_agree_on_the_clients_first_choice(
            offer in offers(), port: u16, cookies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..12),
        ) {
            let got = agreed(&offer, &cookies, port).unwrap().unwrap();
            prop_assert_eq!((got.algorithm, got.port, got.server), (offer[0], port, None));
            prop_assert_eq!(&got.cookies[..], &cookies[..cookies.len().min(8)]);
        }

        #[test]
        fn bytes_may_come_in_any_pieces(message in records(), cuts in prop::collection::vec(1usize..9, 0..40)) {
            let whole = (KeServer::default().handle_input(&message), KeClient::new(&Algorithm::ALL).handle_input(&message));
            let (mut server, mut client) = (KeServer::default(), KeClient::new(&Algorithm::ALL));
            let (mut rest, mut pieces) = (&message[..], (Ok(None), Ok(None)));
            for cut in cuts.into_iter().chain([message.len()]) {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                if pieces.0 == Ok(None) { pieces.0 = server.handle_input(piece); }
                if pieces.1 == Ok(None) { pieces.1 = client.handle_input(piece); }
            }
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn noise_never_panics_and_never_agrees(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = KeServer::default().handle_input(&noise);
            let got = KeClient::new(&Algorithm::ALL).handle_input(&noise);
            prop_assert!(!matches!(got, Ok(Some(_))));
        }

        #[test]
        fn an_agreement_is_always_within_the_offer(message in records(), offer in offers()) {
            if let Ok(Some(got)) = KeClient::new(&offer).handle_input(&message) {
                prop_assert!(offer.contains(&got.algorithm) && (1..=8).contains(&got.cookies.len()));
            }
        }
    }

    #[test]
    fn whoever_never_ends_is_cut_off() {
        let mut server = KeServer::default();
        let record = [&[0x7F, 0, 0, 100][..], &[0; 100]].concat();
        let error = (0..100).find_map(|_| server.handle_input(&record).err());
        assert_eq!(error, Some(KeError::TooLong(REQUEST_MAX)));
    }

    fn request(records: &[(u16, &[u8])]) -> Result<Option<Choice>, KeError> {
        let mut out = Vec::new();
        for (kind, body) in records {
            push_record(&mut out, *kind, body);
        }
        push_end(&mut out);
        KeServer::default().handle_input(&out)
    }

    #[test]
    fn a_request_that_breaks_the_rules_is_refused_and_one_with_nothing_in_common_is_told_so() {
        let (ntp, siv) = ((0x8001, &[0, 0][..]), (0x8004, &[0, 15][..]));
        assert_eq!(request(&[ntp, siv]), Ok(Some(Choice::Agreed(Algorithm::AesSivCmac256))));
        assert_eq!(request(&[ntp, siv, (0x1234, b"x")]), Ok(Some(Choice::Agreed(Algorithm::AesSivCmac256))));
        assert_eq!(request(&[ntp, siv, (0x9234, b"x")]), Err(KeError::UnrecognizedCritical(0x1234)));
        assert_eq!(request(&[(0x8001, &[0, 7]), siv]), Ok(Some(Choice::NoProtocol)));
        assert_eq!(request(&[ntp, (0x8004, &[0, 16])]), Ok(Some(Choice::NoAlgorithm)));
        for bad in [&[ntp][..], &[siv], &[ntp, ntp, siv], &[ntp, siv, siv], &[ntp, (0x8004, &[0])], &[]] {
            assert!(matches!(request(bad), Err(KeError::BadMessage(_))), "{bad:?}");
        }
        for bad in [(5, &b"cook"[..]), (0x8002, &[0, 1]), (0x8000, b"x")] {
            assert!(matches!(request(&[ntp, siv, bad]), Err(KeError::BadMessage(_))), "{bad:?}");
        }
    }

    #[test]
    fn gcm_siv_needs_record_1024_on_both_sides() {
        let ntp = (0x8001, &[0, 0][..]);
        let both = (0x8004, &[0, 30, 0, 15][..]);
        assert_eq!(request(&[ntp, both]), Ok(Some(Choice::Agreed(Algorithm::AesSivCmac256))));
        assert_eq!(request(&[ntp, both, (1024, b"")]), Ok(Some(Choice::Agreed(Algorithm::Aes128GcmSiv))));
        assert_eq!(request(&[ntp, (0x8004, &[0, 30])]), Ok(Some(Choice::NoAlgorithm)));
        let answer = KeServer::response(Choice::Agreed(Algorithm::Aes128GcmSiv), &[vec![1; 72]], 123);
        let told = [4, 0, 0, 0];
        let at = answer.windows(4).position(|window| window == told).expect("record 1024");
        let silent = [&answer[..at], &answer[at + 4..]].concat();
        let read = |bytes: &[u8]| KeClient::new(&Algorithm::ALL).handle_input(bytes);
        assert_eq!(read(&answer).unwrap().unwrap().algorithm, Algorithm::Aes128GcmSiv);
        assert!(matches!(read(&silent), Err(KeError::BadMessage(_))));
    }

    #[test]
    fn a_client_takes_no_more_than_it_asked_for() {
        let read = |bytes: &[u8]| KeClient::new(&[Algorithm::AesSivCmac256]).handle_input(bytes);
        let cookies = [vec![7; 104]];
        let good = KeServer::response(Choice::Agreed(Algorithm::AesSivCmac256), &cookies, 1123);
        assert_eq!(read(&good).unwrap().unwrap().port, 1123);
        assert!(read(&KeServer::response(Choice::Agreed(Algorithm::Aes128GcmSiv), &cookies, 123)).is_err());
        assert!(read(&KeServer::response(Choice::Agreed(Algorithm::AesSivCmac256), &[], 123)).is_err());
        for choice in [Choice::NoProtocol, Choice::NoAlgorithm] {
            assert!(matches!(read(&KeServer::response(choice, &[], 123)), Err(KeError::NothingInCommon(_))));
        }
        let refused = read(&KeServer::refusal(ErrorCode::BadRequest));
        assert_eq!(refused, Err(KeError::Refused(1)));
        assert_eq!(refused.unwrap_err().to_string(), "the server refuses: error 1 (a bad request)");
    }

    #[test]
    fn a_servers_name_is_one_that_can_be_shown() {
        let with = |name: &[u8]| {
            let mut out = Vec::new();
            push_record(&mut out, 0x8001, &[0, 0]);
            push_record(&mut out, 0x8004, &[0, 15]);
            push_record(&mut out, 5, &[1; 100]);
            push_record(&mut out, 0x8006, name);
            push_end(&mut out);
            KeClient::new(&Algorithm::ALL).handle_input(&out)
        };
        assert_eq!(with(b"time.example").unwrap().unwrap().server.as_deref(), Some("time.example"));
        for bad in [&b""[..], b"a b", b"a\x1b[2J", &[0xFF; 4], &[b'a'; 256]] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_exporters_context_is_the_rfcs() {
        assert_eq!(exporter_context(Algorithm::AesSivCmac256, false), [0, 0, 0, 15, 0]);
        assert_eq!(exporter_context(Algorithm::Aes128GcmSiv, true), [0, 0, 0, 30, 1]);
    }
}
