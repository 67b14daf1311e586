//! What client and server keep to together, over a wire that loses, repeats, changes and invents datagrams.
use super::super::cookie::laws::{keys, seeded};
use super::super::cookie::{cookie_len, CookieKeys, Rotation};
use super::super::server::Exchange;
use super::super::{aead::Algorithm, authenticator_text, NtsServer, Policy, Reply, AUTHENTICATOR_FIELD};
use super::*;
use crate::packet::{self, Answer, NodeInfo, NtpTimestamp};
use crate::units::NodeTime;
use proptest::prelude::*;

const AT: NodeTime = NodeTime::from_ns(1_700_000_000_123_456_789);
const SIV: Algorithm = Algorithm::AesSivCmac256;
const INFO: NodeInfo = NodeInfo::root(7);

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(SIV), Just(Algorithm::Aes128GcmSiv)]
}

fn server(seed: u64, policy: Policy) -> NtsServer {
    NtsServer::new(CookieKeys::new(Rotation::default(), AT, &mut seeded(seed)), policy)
}

/// A server, and a client that has exchanged keys with it.
fn pair(algorithm: Algorithm, cookies: usize) -> (NtsServer, NtsClient) {
    let server = server(1, Policy::Everybody);
    let keys = keys(algorithm);
    let mut entropy = seeded(2);
    let given: Vec<_> = (0..cookies)
        .map(|_| {
            let mut cookie = vec![0; cookie_len(algorithm)];
            server.cookies.seal(&keys, &mut entropy, &mut cookie);
            cookie
        })
        .collect();
    (server, NtsClient::new(&keys, given))
}

fn plain(circle: bool) -> Vec<u8> {
    let mut out = [0; CIRCLE_PACKET_LEN];
    let len = packet::write_request(42, &mut out).unwrap();
    out[..if circle { len } else { HEADER_LEN }].to_vec()
}

fn ask(client: &mut NtsClient, circle: bool, seed: u64) -> Result<Vec<u8>, NtsError> {
    let mut out = [0; PACKET_MAX];
    client.seal_request(&plain(circle), &mut seeded(seed), &mut out).map(|len| out[..len].to_vec())
}

fn reply(server: &mut NtsServer, request: &[u8]) -> Result<(Reply, Vec<u8>), NtsError> {
    let mut out = [0; 2048];
    let reply = server.respond(request, AT, AT, &INFO, &mut seeded(3), &mut out)?;
    assert!(reply.len() <= request.len(), "{reply:?} to {} bytes", request.len());
    Ok((reply, out[..reply.len()].to_vec()))
}

fn hear(client: &mut NtsClient, answer: &[u8]) -> Result<Vec<u8>, NtsError> {
    let mut out = [0; CIRCLE_PACKET_LEN];
    client.open_answer(answer, &mut out).map(|len| out[..len].to_vec())
}

fn flipped(bytes: &[u8], at: prop::sample::Index, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let i = at.index(bytes.len());
    bytes[i] ^= 1 << bit;
    bytes
}

proptest! {
    #[test]
    fn a_protected_answer_says_what_a_plain_one_would(algorithm in algorithm(), circle: bool, cookies in 1usize..9) {
        let (mut server, mut client) = pair(algorithm, cookies);
        let request = ask(&mut client, circle, 5).unwrap();
        let (kind, answer) = reply(&mut server, &request).unwrap();
        prop_assert_eq!(kind, Reply::Protected(request.len()), "as long as its request");
        let mut expected = [0; CIRCLE_PACKET_LEN];
        let len = packet::respond(&plain(circle), AT, AT, &INFO, &mut expected).unwrap();
        prop_assert_eq!(hear(&mut client, &answer).unwrap(), &expected[..len]);
        prop_assert_eq!(client.cookies(), COOKIES_MAX, "and the jar is full again");
        prop_assert_eq!(hear(&mut client, &answer), Err(NtsError::NotAsked), "each answer is heard once");
    }

    /// Plain, genuine and spoiled ones of both algorithms side by side: none is answered for its neighbour.
    #[test]
    fn in_a_group_each_gets_the_reply_that_it_would_get_alone(
        kinds in prop::array::uniform8((0usize..4, algorithm(), 1usize..9, any::<bool>())), silent: bool,
        at: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut server = server(1, if silent { Policy::AuthenticOnly } else { Policy::Everybody });
        let mut clients = kinds.map(|(_, algorithm, cookies, _)| pair(algorithm, cookies).1);
        let requests: Vec<_> = kinds.iter().zip(&mut clients).map(|(&(kind, _, _, circle), client)| match kind {
            0 => plain(circle),
            1 => ask(client, circle, 5).unwrap(),
            2 => flipped(&ask(client, circle, 5).unwrap(), at, bit),
            _ => vec![bit; 30],
        }).collect();
        let mut rooms = [[0; 2048]; 8];
        let mut group: [Exchange<'_>; 8] = Default::default();
        for ((exchange, room), request) in group.iter_mut().zip(&mut rooms).zip(&requests) {
            *exchange = Exchange { request, received: AT, out: room };
        }
        let replies = server.respond_group(&mut group, AT, &INFO, &mut seeded(3));
        for (i, got) in replies.into_iter().enumerate() {
            let alone = reply(&mut server, &requests[i]);
            prop_assert_eq!(got, alone.as_ref().map(|(kind, _)| *kind).map_err(|error| *error));
            match (got, alone) {
                // Cookies and nonces are random: what can be compared is what the client makes of it.
                (Ok(Reply::Protected(len)), _) => {
                    let mut expected = [0; CIRCLE_PACKET_LEN];
                    let plain_len = packet::respond(&plain(kinds[i].3), AT, AT, &INFO, &mut expected).unwrap();
                    prop_assert_eq!(hear(&mut clients[i], &rooms[i][..len]).unwrap(), &expected[..plain_len]);
                    prop_assert_eq!(clients[i].cookies(), COOKIES_MAX);
                }
                (Ok(kind), Ok((_, alone))) => prop_assert_eq!(&rooms[i][..kind.len()], &alone[..]),
                _ => {}
            }
        }
    }

    #[test]
    fn a_changed_request_gets_no_time(algorithm in algorithm(), cookies in 1usize..9, circle: bool,
                                      at: prop::sample::Index, bit in 0u8..8) {
        let (mut server, mut client) = pair(algorithm, cookies);
        let request = flipped(&ask(&mut client, circle, 5).unwrap(), at, bit);
        prop_assert!(!matches!(reply(&mut server, &request), Ok((Reply::Plain(_) | Reply::Protected(_), _))));
    }

    #[test]
    fn a_changed_answer_is_refused_and_the_true_one_still_heard(
        algorithm in algorithm(), cookies in 1usize..9, circle: bool, at: prop::sample::Index, bit in 0u8..8,
    ) {
        let (mut server, mut client) = pair(algorithm, cookies);
        let request = ask(&mut client, circle, 5).unwrap();
        let answer = reply(&mut server, &request).unwrap().1;
        prop_assert!(hear(&mut client, &flipped(&answer, at, bit)).is_err());
        prop_assert_eq!(client.cookies(), cookies - 1);
        prop_assert!(hear(&mut client, &answer).is_ok());
    }

    #[test]
    fn no_cookie_is_sent_twice_whatever_is_lost(algorithm in algorithm(), lost in prop::collection::vec(any::<bool>(), 1..60)) {
        let (server, mut client) = pair(algorithm, 8);
        let mut sent = std::collections::BTreeSet::new();
        for (round, lost) in lost.into_iter().enumerate() {
            let before = client.cookies();
            let Ok(request) = ask(&mut client, true, 100 + round as u64) else {
                prop_assert!(before == 0 && client.needs_exchange());
                break;
            };
            let found = NtsFields::find(&request, 4).unwrap();
            prop_assert!(sent.insert(body(&request, found.cookie.unwrap()).to_vec()), "round {round}");
            prop_assert!(request.len() <= PACKET_MAX);
            let mut out = [0; PACKET_MAX];
            let reply = server.respond(&request, AT, AT, &INFO, &mut seeded(9000 + round as u64), &mut out).unwrap();
            if !lost {
                hear(&mut client, &out[..reply.len()]).unwrap();
                prop_assert_eq!(client.cookies(), COOKIES_MAX);
            }
        }
    }

    /// Well-begun requests with fields of every kind, in every order, of every length.
    #[test]
    fn no_answer_is_longer_than_its_request(
        parts in prop::collection::vec((0usize..7, 0usize..40), 0..14), seal: bool, silent: bool,
    ) {
        let policy = if silent { Policy::AuthenticOnly } else { Policy::Everybody };
        let (mut server, mut client) = pair(SIV, 1);
        server.policy = policy;
        let real = ask(&mut client, true, 5).unwrap();
        let found = NtsFields::find(&real, 4).unwrap();
        let mut request = plain(false);
        for (kind, words) in parts {
            let kinds = [UNIQUE_ID_FIELD, COOKIE_FIELD, PLACEHOLDER_FIELD, AUTHENTICATOR_FIELD, CIRCLE_FIELD_TYPE];
            let copied = [found.unique_id.unwrap(), found.cookie.unwrap()];
            match kinds.get(kind) {
                Some(&kind) => {
                    let len = 4 + 4 * words;
                    request.extend(kind.to_be_bytes());
                    request.extend((len as u16).to_be_bytes());
                    request.extend(std::iter::repeat_n(0, len - 4));
                }
                None => request.extend(&real[copied[kind - 5].at..][..copied[kind - 5].len]),
            }
        }
        if seal {
            let at = request.len();
            request.resize(at + authenticator_len(SIV, 0), 0);
            let cipher = Cipher::new(SIV, keys(SIV).c2s());
            seal_authenticator(&cipher, &mut request, at, 0, &mut seeded(4));
        }
        // `reply` asserts the length.
        let got = reply(&mut server, &request);
        prop_assert!(!silent || matches!(got, Err(_) | Ok((Reply::Protected(_), _))));
        let _ = hear(&mut client, &request);
    }

    #[test]
    fn noise_panics_nowhere(mut noise in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(first) = noise.first_mut() { *first = 0x23; }
        let (mut server, mut client) = pair(SIV, 1);
        let _ = reply(&mut server, &noise);
        if let Some(first) = noise.first_mut() { *first = 0x24; }
        let _ = hear(&mut client, &noise);
    }
}

#[test]
fn another_servers_answer_is_refused() {
    let (mut server, mut client) = pair(SIV, 8);
    let request = ask(&mut client, true, 5).unwrap();
    // It knows the cookies' key, so it must be the session's own that it lacks.
    let mut impostor = server.clone();
    let stolen = Cipher::new(SIV, &[9; 32]);
    let mut forged = reply(&mut impostor, &request).unwrap().1;
    let at = NtsFields::find(&forged, 4).unwrap().authenticator.unwrap().at;
    let text_len = forged.len() - authenticator_text(SIV, at) - 16;
    seal_authenticator(&stolen, &mut forged, at, text_len, &mut seeded(6));
    assert_eq!(hear(&mut client, &forged), Err(NtsError::Forged));
    let unprotected = &forged[..at];
    assert_eq!(hear(&mut client, unprotected), Err(NtsError::Unauthenticated));
    assert_eq!(hear(&mut client, &forged[..HEADER_LEN]), Err(NtsError::NotAsked));
    let answer = reply(&mut server, &request).unwrap().1;
    assert!(hear(&mut client, &answer).is_ok());
}

#[test]
fn a_server_that_has_forgotten_its_key_says_so_and_is_believed_only_so_far() {
    let (mut server, mut client) = pair(SIV, 8);
    let request = ask(&mut client, true, 5).unwrap();
    let (kind, nak) = reply(&mut self::server(99, Policy::Everybody), &request).unwrap();
    assert_eq!(kind, Reply::Nak(HEADER_LEN + FIELD_HEAD + UNIQUE_ID_LEN));
    assert_eq!(Answer::parse(&nak), Err(PacketError::Kiss(*b"NTSN")));
    let mut stranger = nak.clone();
    stranger[60] ^= 1;
    assert_eq!(hear(&mut client, &stranger), Err(NtsError::NotAsked));
    assert!(!client.needs_exchange());
    assert_eq!(hear(&mut client, &nak), Err(NtsError::Nak));
    assert!(client.needs_exchange());
    // It may have been anybody's NAK: the true answer is heard all the same, and counts for more.
    let answer = reply(&mut server, &request).unwrap().1;
    assert!(hear(&mut client, &answer).is_ok());
    assert!(!client.needs_exchange());
}

#[test]
fn silence_for_the_unauthenticated_where_the_operator_asks_for_it() {
    let (mut server, mut client) = pair(SIV, 8);
    server.policy = Policy::AuthenticOnly;
    assert_eq!(reply(&mut server, &plain(true)), Err(NtsError::Unauthenticated));
    let request = ask(&mut client, true, 5).unwrap();
    assert_eq!(reply(&mut self::server(99, Policy::AuthenticOnly), &request), Err(NtsError::Forged));
    assert!(matches!(reply(&mut server, &request), Ok((Reply::Protected(_), _))));
    server.policy = Policy::Everybody;
    assert!(matches!(reply(&mut server, &plain(true)), Ok((Reply::Plain(CIRCLE_PACKET_LEN), _))));
}

#[test]
fn what_stands_behind_the_authenticator_is_not_read() {
    let (mut server, mut client) = pair(SIV, 8);
    let mut request = ask(&mut client, false, 5).unwrap();
    let protected = request.len();
    request.extend(&plain(true)[HEADER_LEN..]);
    let (kind, mut answer) = reply(&mut server, &request).unwrap();
    assert_eq!(kind, Reply::Protected(protected), "no circle's field in the answer");
    answer.extend(&plain(true)[HEADER_LEN..]);
    assert_eq!(hear(&mut client, &answer).unwrap().len(), HEADER_LEN);
}

/// A request made by hand: `placeholders` of `placeholder_len` bytes, and a nonce of `nonce_len`.
fn by_hand(
    server: &mut NtsServer,
    placeholders: usize,
    placeholder_len: usize,
    nonce_len: usize,
    padding: usize,
) -> Vec<u8> {
    let keys = keys(SIV);
    let mut cookie = vec![0; cookie_len(SIV)];
    server.cookies.seal(&keys, &mut seeded(2), &mut cookie);
    let mut request = plain(false);
    let mut field = |kind: u16, body: &[u8]| {
        let at = request.len();
        request.resize(at + FIELD_HEAD + body.len(), 0);
        write_field(&mut request, at, kind, body);
    };
    field(UNIQUE_ID_FIELD, &[3; UNIQUE_ID_LEN]);
    field(COOKIE_FIELD, &cookie);
    for _ in 0..placeholders {
        field(PLACEHOLDER_FIELD, &vec![0; placeholder_len - FIELD_HEAD]);
    }
    let mut room = [0; 16];
    let nonce = vec![5; nonce_len];
    Cipher::new(SIV, keys.c2s()).seal(&nonce, &request, &mut room);
    let lens = [(nonce_len as u16).to_be_bytes(), 16u16.to_be_bytes()].concat();
    let body = [lens, nonce, room.to_vec(), vec![0; padding]].concat();
    let at = request.len();
    request.resize(at + FIELD_HEAD + body.len(), 0);
    write_field(&mut request, at, AUTHENTICATOR_FIELD, &body);
    request
}

fn cookies_given(server: &mut NtsServer, request: &[u8]) -> usize {
    let answer = reply(server, request).unwrap().1;
    let at = NtsFields::find(&answer, 4).unwrap().authenticator.unwrap();
    let mut scratch = [0; PACKET_MAX];
    let cipher = Cipher::new(SIV, keys(SIV).s2c());
    let len = open_authenticator(&cipher, &answer, at, &mut scratch).unwrap();
    encrypted_fields(&scratch[..len]).filter(|(kind, _)| *kind == COOKIE_FIELD).count()
}

#[test]
fn a_placeholder_as_long_as_a_cookie_is_worth_one_and_a_shorter_one_nothing() {
    let mut server = server(1, Policy::Everybody);
    let full = FIELD_HEAD + cookie_len(SIV);
    for (placeholders, len, cookies) in
        [(0, full, 1), (3, full, 4), (7, full, 8), (9, full, 8), (9, 28, 1), (3, full - 4, 1)]
    {
        let request = by_hand(&mut server, placeholders, len, 16, 0);
        assert_eq!(cookies_given(&mut server, &request), cookies, "{placeholders} of {len} bytes");
    }
}

#[test]
fn a_nonce_too_short_for_the_answers_needs_padding() {
    let mut server = server(1, Policy::Everybody);
    // The placeholder makes the request long enough for its answer: only the rule is broken.
    let request = by_hand(&mut server, 1, 28, 4, 0);
    assert!(matches!(reply(&mut server, &request), Err(NtsError::Packet(PacketError::BadField(_)))));
    let request = by_hand(&mut server, 1, 28, 4, 12);
    assert_eq!(cookies_given(&mut server, &request), 1);
}

#[test]
fn a_second_cookie_or_unique_id_is_no_request() {
    let mut server = server(1, Policy::Everybody);
    let good = by_hand(&mut server, 0, 28, 16, 0);
    let found = NtsFields::find(&good, 4).unwrap();
    for field in [found.cookie.unwrap(), found.unique_id.unwrap()] {
        let twice = [&good[..field.at], &good[field.at..][..field.len], &good[field.at..]].concat();
        assert!(matches!(reply(&mut server, &twice), Err(NtsError::Packet(PacketError::BadField(_)))));
        let without = [&good[..field.at], &good[field.at + field.len..]].concat();
        assert!(matches!(reply(&mut server, &without), Err(NtsError::Packet(PacketError::BadField(_)))));
    }
}

#[test]
fn a_request_tells_nothing_but_random_numbers() {
    let (_, mut client) = pair(SIV, 8);
    let (a, b) = (ask(&mut client, true, 1).unwrap(), ask(&mut client, true, 2).unwrap());
    let parts = |request: &[u8]| {
        let found = NtsFields::find(request, 4).unwrap();
        (body(request, found.unique_id.unwrap()).to_vec(), body(request, found.cookie.unwrap()).to_vec())
    };
    assert_ne!(parts(&a).0, parts(&b).0);
    assert_ne!(parts(&a).1, parts(&b).1);
    let header = Header::parse(&a).unwrap();
    assert_eq!((header.transmit, header.origin), (NtpTimestamp(42), NtpTimestamp(0)));
}

#[test]
fn cookies_that_fit_no_datagram_are_not_kept() {
    let client = NtsClient::new(&keys(SIV), [vec![], vec![1; 6], vec![1; 516], vec![1; 512], vec![1; 104]]);
    assert_eq!(client.cookies(), 2);
    let generous = NtsClient::new(&keys(SIV), vec![vec![1; 104]; 20]);
    assert_eq!(generous.cookies(), COOKIES_MAX);
}

#[test]
fn a_unique_id_that_could_be_guessed_is_no_request() {
    let mut server = server(1, Policy::Everybody);
    let good = by_hand(&mut server, 0, 28, 16, 0);
    let id = NtsFields::find(&good, 4).unwrap().unique_id.unwrap();
    let mut short = [&good[..id.at + id.len - 4], &good[id.at + id.len..]].concat();
    short[id.at + 3] -= 4;
    assert!(matches!(reply(&mut server, &short), Err(NtsError::Packet(PacketError::BadField(_)))));
    // And what is no request at all is not answered either, not even with a NAK.
    for mode in [0, 1, 2, 4, 5, 6, 7] {
        let mut other = good.clone();
        other[0] = 4 << 3 | mode;
        assert!(reply(&mut server, &other).is_err(), "mode {mode}");
    }
}
