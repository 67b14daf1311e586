//! The server's side: a request comes with all that it takes to answer it, and leaves nothing behind.
//!
//! An answer is never longer than its request: it gives as many cookies as the request has a cookie and placeholders
//! of that length, eight at most. What cannot be believed gets a NAK of 48 bytes
//! and its own unique id, so that an honest client whose cookie has become too old learns it; or nothing, where the
//! operator asks for silence.
use super::aead::{empty, open_group, seal_group, Algorithm, Cipher};
use super::cookie::cookie_len;
use super::{
    authenticator, authenticator_len, authenticator_text, body, sealed_in, write_field_head, Entropy, NtsError,
    NtsFields, COOKIES_MAX, COOKIE_FIELD, FIELD_HEAD, NAK, PLACEHOLDER_FIELD, UNIQUE_ID_LEN,
};
use super::{CookieKeys, Keys};
use crate::packet::{self, fields, Field, Header, NodeInfo, PacketError, HEADER_LEN};
use crate::units::NodeTime;

/// Who is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Everybody: plain requests in plain, and what is not authentic with a NAK.
    #[default]
    Everybody,
    /// Only authentic requests; all others meet silence.
    AuthenticOnly,
}

/// What an answer is, and its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Unauthenticated, to a plain request: [`packet::patch_sent`] may still write a later time into it.
    Plain(usize),
    /// Authenticated: a changed byte would make it worthless.
    Protected(usize),
    /// A kiss of death that says that the cookie or the request was not believed.
    Nak(usize),
}

impl Reply {
    /// The answer's length in bytes.
    #[allow(clippy::len_without_is_empty)] // an answer is never empty
    pub fn len(self) -> usize {
        match self {
            Self::Plain(len) | Self::Protected(len) | Self::Nak(len) => len,
        }
    }
}

/// Answers requests, with NTS and without. Keeps nothing of any client.
#[derive(Clone)]
pub struct NtsServer {
    /// The keys under which cookies are sealed. Rotate them, and make the first cookies of a client with them.
    pub cookies: CookieKeys,
    /// Who is answered.
    pub policy: Policy,
}

/// A request, and room for its answer.
pub struct Exchange<'a> {
    /// The datagram.
    pub request: &'a [u8],
    /// When it arrived.
    pub received: NodeTime,
    /// At least as long as the request.
    pub out: &'a mut [u8],
}

impl Default for Exchange<'_> {
    /// For places of an array that stay empty.
    fn default() -> Self {
        Self { request: &[], received: NodeTime::from_ns(0), out: &mut [] }
    }
}

/// A request that may be authentic.
#[derive(Clone, Copy)]
struct Claim {
    unique_id: Field,
    cookie: Field,
    authenticator: Field,
}

/// The keys of a client, laid out.
struct Session {
    keys: Keys,
    c2s: Cipher,
    s2c: Cipher,
}

/// An answer that lacks only its cookies and its seal.
#[derive(Clone, Copy)]
struct Draft {
    /// Where the authenticator begins.
    at: usize,
    cookies: usize,
}

impl NtsServer {
    /// A server whose cookies are sealed by `cookies`.
    pub fn new(cookies: CookieKeys, policy: Policy) -> Self {
        Self { cookies, policy }
    }

    /// Answers `request`, which arrived at `received`, with a packet in `out` that leaves at `sent`.
    ///
    /// The answer is never longer than the request. Errors on whatever is to get no answer. `sent` is sealed in: read
    /// the clock just before the call, and send at once. Realtime-safe.
    pub fn respond(
        &self,
        request: &[u8],
        received: NodeTime,
        sent: NodeTime,
        info: &NodeInfo,
        entropy: Entropy<'_>,
        out: &mut [u8],
    ) -> Result<Reply, NtsError> {
        let [reply] = self.respond_group(&mut [Exchange { request, received, out }], sent, info, entropy);
        reply
    }

    /// [`NtsServer::respond`] for each of several requests, which all leave at `sent`; replies stand in the requests'
    /// order. Eight cost far less than eight times one: see `siv.rs`. Realtime-safe.
    pub fn respond_group<const L: usize>(
        &self,
        group: &mut [Exchange<'_>; L],
        sent: NodeTime,
        info: &NodeInfo,
        entropy: Entropy<'_>,
    ) -> [Result<Reply, NtsError>; L] {
        let (mut replies, mut claims) = ([Err(NtsError::Forged); L], [None; L]);
        for ((exchange, reply), claim) in group.iter_mut().zip(&mut replies).zip(&mut claims) {
            match Claim::find(exchange.request) {
                Ok(Some(found)) => *claim = Some(found),
                Ok(None) if self.policy == Policy::AuthenticOnly => *reply = Err(NtsError::Unauthenticated),
                Ok(None) => {
                    let Exchange { request, received, out } = exchange;
                    let made = packet::respond(request, *received, sent, info, out);
                    *reply = made.map(Reply::Plain).map_err(NtsError::from);
                }
                Err(error) => *reply = Err(error),
            }
        }
        let mut sessions: [_; L] = empty();
        self.authenticate(group, &claims, &mut sessions, &mut replies);
        let mut drafts = [None; L];
        for (i, exchange) in group.iter_mut().enumerate() {
            let Some(claim) = &claims[i] else { continue };
            if let Some(session) = &sessions[i] {
                let drafted = claim.draft(exchange, session.keys.algorithm(), sent, info);
                match drafted {
                    Ok((draft, len)) => (drafts[i], replies[i]) = (Some(draft), Ok(Reply::Protected(len))),
                    Err(error) => replies[i] = Err(error),
                }
            } else if replies[i] == Err(NtsError::Forged) && self.policy == Policy::Everybody {
                replies[i] = claim.nak(exchange).map(Reply::Nak);
            }
        }
        self.fill_cookies(group, &sessions, &drafts, entropy);
        let mut sealings: [_; L] = empty();
        for (((exchange, session), draft), sealing) in group.iter_mut().zip(&sessions).zip(drafts).zip(&mut sealings) {
            let (Some(session), Some(draft)) = (session, draft) else { continue };
            let text_len = draft.cookies * cookie_field_len(session.keys.algorithm());
            *sealing = Some(authenticator(&session.s2c, exchange.out, draft.at, text_len, entropy));
        }
        seal_group(&mut sealings);
        replies
    }

    /// Fills in the sessions of those requests that are authentic; why the others are not stands in `replies`. A session
    /// is laid out where it stays: moved about, its schedules would cost more than its ciphers do.
    fn authenticate<const L: usize>(
        &self,
        group: &mut [Exchange<'_>; L],
        claims: &[Option<Claim>; L],
        sessions: &mut [Option<Session>; L],
        replies: &mut [Result<Reply, NtsError>; L],
    ) {
        let mut cookies = [None; L];
        for ((exchange, claim), cookie) in group.iter().zip(claims).zip(&mut cookies) {
            *cookie = claim.as_ref().map(|claim| body(exchange.request, claim.cookie));
        }
        for (session, keys) in sessions.iter_mut().zip(self.cookies.open_group(&cookies)) {
            *session = keys.map(Session::new);
        }
        // Encrypted fields of a request are authentic and may be read by who knows them; nobody here does. They are opened
        // in the answer's room, and overwritten there.
        let mut openings: [_; L] = empty();
        for (i, Exchange { request, out, .. }) in group.iter_mut().enumerate() {
            let (Some(claim), Some(session)) = (&claims[i], &sessions[i]) else { continue };
            match sealed_in(&session.c2s, request, claim.authenticator, true, out) {
                Ok(opening) => openings[i] = Some(opening),
                Err(error) => replies[i] = Err(error),
            }
        }
        let opened = open_group(&mut openings);
        for (session, opened) in sessions.iter_mut().zip(opened) {
            if opened.is_err() {
                *session = None;
            }
        }
    }

    /// Writes fresh cookies into `drafts`: the first of each, then the second of each that has two.
    fn fill_cookies<const L: usize>(
        &self,
        group: &mut [Exchange<'_>; L],
        sessions: &[Option<Session>; L],
        drafts: &[Option<Draft>; L],
        entropy: Entropy<'_>,
    ) {
        for nth in 0..drafts.iter().flatten().map(|draft| draft.cookies).max().unwrap_or(0) {
            let mut rooms: [_; L] = empty();
            for (((exchange, session), draft), room) in group.iter_mut().zip(sessions).zip(drafts).zip(&mut rooms) {
                let (Some(Session { keys, .. }), Some(draft)) = (session, draft) else { continue };
                if nth < draft.cookies {
                    let algorithm = keys.algorithm();
                    let at = authenticator_text(algorithm, draft.at) + nth * cookie_field_len(algorithm);
                    let end = write_field_head(exchange.out, at, COOKIE_FIELD, cookie_len(algorithm));
                    *room = Some((keys, &mut exchange.out[at + FIELD_HEAD..end]));
                }
            }
            self.cookies.seal_group(&mut rooms, entropy);
        }
    }
}

impl Session {
    #[inline(always)] // else its schedules are copied more often than made
    fn new(keys: Keys) -> Self {
        let (c2s, s2c) = (Cipher::new(keys.algorithm(), keys.c2s()), Cipher::new(keys.algorithm(), keys.s2c()));
        Self { keys, c2s, s2c }
    }
}

impl Claim {
    /// `None` for a plain request.
    fn find(request: &[u8]) -> Result<Option<Self>, NtsError> {
        let header = Header::parse(request)?;
        let found = NtsFields::find(request, header.version)?;
        let malformed = NtsError::Packet(PacketError::BadField(HEADER_LEN));
        let (cookie, authenticator) = match (found.cookie, found.authenticator) {
            (Some(cookie), Some(authenticator)) => (cookie, authenticator),
            (None, None) => return Ok(None),
            _ => return Err(malformed),
        };
        let unique_id = found.unique_id.filter(|field| field.len >= FIELD_HEAD + UNIQUE_ID_LEN).ok_or(malformed)?;
        Ok(Some(Self { unique_id, cookie, authenticator }))
    }

    /// Writes "I do not believe you" into `out`, and returns the length.
    fn nak(&self, exchange: &mut Exchange<'_>) -> Result<usize, NtsError> {
        let Exchange { request, out, .. } = exchange;
        let Field { at, len: id_len, .. } = self.unique_id;
        let len = HEADER_LEN + id_len;
        room(out, len)?;
        packet::write_kiss(request, NAK, out)?;
        out[HEADER_LEN..len].copy_from_slice(&request[at..at + id_len]);
        Ok(len)
    }

    /// Writes all of an answer that stands before its authenticator, and returns the length that it will have.
    fn draft(
        &self,
        exchange: &mut Exchange<'_>,
        algorithm: Algorithm,
        sent: NodeTime,
        info: &NodeInfo,
    ) -> Result<(Draft, usize), NtsError> {
        let Exchange { request, received, out } = exchange;
        let request = &request[..self.authenticator.at + self.authenticator.len];
        let placeholders = fields(request, 4)
            .map_while(Result::ok)
            .filter(|field| field.kind == PLACEHOLDER_FIELD && field.len >= self.cookie.len)
            .count();
        // The header, and the circle's field if the request has one; then its unique id.
        let plain = packet::respond(request, *received, sent, info, out)?;
        let Field { at: id_at, len: id_len, .. } = self.unique_id;
        let at = plain + id_len;
        let cookies = (1 + placeholders).min(COOKIES_MAX);
        let len = at + authenticator_len(algorithm, cookies * cookie_field_len(algorithm));
        if len > request.len() {
            // Each part of the answer has its like in the request, so this cannot be; and must not, whatever comes.
            return Err(PacketError::BadField(HEADER_LEN).into());
        }
        room(out, len)?;
        out[plain..at].copy_from_slice(&request[id_at..id_at + id_len]);
        Ok((Draft { at, cookies }, len))
    }
}

/// Bytes of a field with a cookie for keys of `algorithm`.
const fn cookie_field_len(algorithm: Algorithm) -> usize {
    FIELD_HEAD + cookie_len(algorithm)
}

fn room(out: &[u8], needed: usize) -> Result<(), PacketError> {
    if out.len() < needed {
        return Err(PacketError::NoRoom { needed, given: out.len() });
    }
    Ok(())
}
