//! The server's side: a request comes with all that it takes to answer it, and leaves nothing behind.
//!
//! An answer is never longer than its request: it gives as many cookies as the request has a cookie and placeholders
//! of that length, eight at most. What cannot be believed gets a NAK of 48 bytes
//! and its own unique id, so that an honest client whose cookie has become too old learns it; or nothing, where the
//! operator asks for silence.
use super::aead::Cipher;
use super::cookie::cookie_len;
use super::{
    authenticator_len, authenticator_text, body, open_authenticator, seal_authenticator, write_field, Entropy,
    NtsError, NtsFields, COOKIES_MAX, COOKIE_FIELD, FIELD_HEAD, NAK, PACKET_MAX, PLACEHOLDER_FIELD, UNIQUE_ID_LEN,
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

/// What an authentic request entitles to.
struct Request {
    keys: Keys,
    unique_id: Field,
    cookie_len: usize,
    end: usize,
}

impl NtsServer {
    /// A server whose cookies are sealed by `cookies`.
    pub fn new(cookies: CookieKeys, policy: Policy) -> Self {
        Self { cookies, policy }
    }

    /// Answers `request`, which arrived at `received`, with a packet in `out` that leaves at `sent`.
    ///
    /// The answer is never longer than the request. Errors on whatever is to get no answer. `sent` is sealed in: read
    /// the clock just before the call, and send at once. Realtime-safe but for the ciphers' key schedules on the heap.
    pub fn respond(
        &mut self,
        request: &[u8],
        received: NodeTime,
        sent: NodeTime,
        info: &NodeInfo,
        entropy: Entropy<'_>,
        out: &mut [u8],
    ) -> Result<Reply, NtsError> {
        let header = Header::parse(request)?;
        let found = NtsFields::find(request, header.version)?;
        let (Some(cookie), Some(authenticator)) = (found.cookie, found.authenticator) else {
            if found.cookie.is_some() || found.authenticator.is_some() {
                return Err(PacketError::BadField(HEADER_LEN).into());
            }
            return match self.policy {
                Policy::Everybody => Ok(Reply::Plain(packet::respond(request, received, sent, info, out)?)),
                Policy::AuthenticOnly => Err(NtsError::Unauthenticated),
            };
        };
        let unique_id = found
            .unique_id
            .filter(|field| field.len >= FIELD_HEAD + UNIQUE_ID_LEN)
            .ok_or(PacketError::BadField(HEADER_LEN))?;
        match self.open(request, unique_id, cookie, authenticator) {
            Ok(opened) => self.answer(request, &opened, received, sent, info, entropy, out).map(Reply::Protected),
            Err(NtsError::Forged) if self.policy == Policy::Everybody => {
                let len = HEADER_LEN + unique_id.len;
                room(out, len)?;
                packet::write_kiss(request, NAK, out)?;
                out[HEADER_LEN..len].copy_from_slice(&request[unique_id.at..unique_id.at + unique_id.len]);
                Ok(Reply::Nak(len))
            }
            Err(error) => Err(error),
        }
    }

    fn open(
        &mut self,
        request: &[u8],
        unique_id: Field,
        cookie: Field,
        authenticator: Field,
    ) -> Result<Request, NtsError> {
        let keys = self.cookies.open(body(request, cookie)).ok_or(NtsError::Forged)?;
        // Encrypted fields of a request are authentic and may be read by who knows them; nobody here does.
        let mut scratch = [0; PACKET_MAX];
        let mut cipher = Cipher::new(keys.algorithm(), keys.c2s());
        open_authenticator(&mut cipher, request, authenticator, true, &mut scratch)?;
        Ok(Request { keys, unique_id, cookie_len: cookie.len, end: authenticator.at + authenticator.len })
    }

    #[allow(clippy::too_many_arguments)] // those of `respond`, and what it has opened
    fn answer(
        &mut self,
        request: &[u8],
        opened: &Request,
        received: NodeTime,
        sent: NodeTime,
        info: &NodeInfo,
        entropy: Entropy<'_>,
        out: &mut [u8],
    ) -> Result<usize, NtsError> {
        let &Request { ref keys, unique_id, cookie_len: asked_len, end } = opened;
        let request = &request[..end];
        let placeholders = fields(request, 4)
            .map_while(Result::ok)
            .filter(|field| field.kind == PLACEHOLDER_FIELD && field.len >= asked_len)
            .count();
        let algorithm = keys.algorithm();
        let cookie_field = FIELD_HEAD + cookie_len(algorithm);
        // The header, and the circle's field if the request has one; then its unique id.
        let plain = packet::respond(request, received, sent, info, out)?;
        let fixed = plain + unique_id.len;
        let cookies = (1 + placeholders).min(COOKIES_MAX);
        let len = fixed + authenticator_len(algorithm, cookies * cookie_field);
        if len > request.len() {
            // Each part of the answer has its like in the request, so this cannot be; and must not, whatever comes.
            return Err(PacketError::BadField(HEADER_LEN).into());
        }
        room(out, len)?;
        out[plain..fixed].copy_from_slice(&request[unique_id.at..unique_id.at + unique_id.len]);
        let text = authenticator_text(algorithm, fixed);
        let mut at = text;
        for _ in 0..cookies {
            let mut cookie = [0; super::cookie::COOKIE_LEN_MAX];
            let cookie_len = self.cookies.seal(keys, entropy, &mut cookie);
            at = write_field(out, at, COOKIE_FIELD, &cookie[..cookie_len]);
        }
        let mut cipher = Cipher::new(algorithm, keys.s2c());
        Ok(seal_authenticator(&mut cipher, out, fixed, at - text, entropy))
    }
}

fn room(out: &[u8], needed: usize) -> Result<(), PacketError> {
    if out.len() < needed {
        return Err(PacketError::NoRoom { needed, given: out.len() });
    }
    Ok(())
}
