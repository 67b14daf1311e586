//! The client's side: a layer between a session and its socket.
//!
//! A [`crate::session::SyncSession`] writes plain requests and reads plain answers. This layer wraps each request
//! ([`NtsClient::seal_request`]) and unwraps each answer ([`NtsClient::open_answer`]); what comes out is the plain
//! answer, now known to be the server's. So the session need not know whether it is protected.
//!
//! Each request uses up a cookie, as a cookie that is sent twice would tell an observer that both came from one client.
//! Each answer brings one back, and for every request that was lost the next one asks for one more. A client whose
//! server has forgotten its key, or that has run out, exchanges keys anew ([`NtsClient::needs_exchange`]); until that
//! has succeeded it goes on with what it has, because a NAK is not authentic and may be anybody's.
use std::collections::VecDeque;

use super::aead::Cipher;
use super::{
    authenticator_len, body, open_authenticator, seal_authenticator, write_field, write_field_head, Entropy, Keys,
    NtsError, NtsFields, AUTHENTICATOR_FIELD, COOKIES_MAX, COOKIE_FIELD, FIELD_HEAD, NAK, PACKET_MAX,
    PLACEHOLDER_FIELD, UNIQUE_ID_FIELD, UNIQUE_ID_LEN,
};
use crate::packet::{
    be_u16, fields, Header, PacketError, CIRCLE_FIELD_LEN, CIRCLE_FIELD_TYPE, CIRCLE_PACKET_LEN, HEADER_LEN,
    MODE_SERVER,
};

/// Requests that can wait for answers at once.
const WAITING_MAX: usize = 16;
/// A longer cookie is not kept: a request with it would not fit a datagram.
const COOKIE_LEN_MAX: usize = 512;

type UniqueId = [u8; UNIQUE_ID_LEN];

/// The keys and cookies of one client at one server, and which of its requests wait.
pub struct NtsClient {
    c2s: Cipher,
    s2c: Cipher,
    cookies: VecDeque<Vec<u8>>,
    waiting: VecDeque<UniqueId>,
    nak: bool,
}

impl NtsClient {
    /// A client with the keys and cookies of a key exchange.
    pub fn new(keys: &Keys, cookies: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut client = Self {
            c2s: Cipher::new(keys.algorithm(), keys.c2s()),
            s2c: Cipher::new(keys.algorithm(), keys.s2c()),
            cookies: VecDeque::with_capacity(COOKIES_MAX),
            waiting: VecDeque::with_capacity(WAITING_MAX),
            nak: false,
        };
        client.refill(cookies);
        client
    }

    /// Takes more cookies, as many as there is room for. Former ones may be among them where their owner is known on
    /// the path anyway, and does not mind that a repeated cookie shows it.
    pub fn refill(&mut self, cookies: impl IntoIterator<Item = Vec<u8>>) {
        for cookie in cookies {
            self.keep(cookie);
        }
    }

    fn keep(&mut self, cookie: Vec<u8>) {
        let usable = !cookie.is_empty() && cookie.len().is_multiple_of(4) && cookie.len() <= COOKIE_LEN_MAX;
        if usable && self.cookies.len() < COOKIES_MAX {
            self.cookies.push_back(cookie);
        }
    }

    /// How many requests can be made before keys must be exchanged anew, if no answer comes.
    pub fn cookies(&self) -> usize {
        self.cookies.len()
    }

    /// Whether it is time for a new key exchange: no cookies, or the server says that it cannot use them.
    pub fn needs_exchange(&self) -> bool {
        self.nak || self.cookies.is_empty()
    }

    /// Wraps a plain `request` into `out` and returns the length. Uses up a cookie, the oldest.
    ///
    /// Errors with [`NtsError::NoCookies`] if there is none left. `out` of [`PACKET_MAX`] bytes holds every request.
    pub fn seal_request(&mut self, request: &[u8], entropy: Entropy<'_>, out: &mut [u8]) -> Result<usize, NtsError> {
        let version = Header::parse(request)?.version;
        for field in fields(request, version) {
            field?;
        }
        let cookie = self.cookies.front().ok_or(NtsError::NoCookies)?;
        let cookie_field = FIELD_HEAD + cookie.len();
        let fixed =
            request.len() + FIELD_HEAD + UNIQUE_ID_LEN + cookie_field + authenticator_len(self.c2s.algorithm(), 0);
        let room = out.len().min(PACKET_MAX);
        if fixed > room {
            return Err(PacketError::NoRoom { needed: fixed, given: room }.into());
        }
        // One comes back for the one that goes; a placeholder asks for each that is missing besides.
        let placeholders = (COOKIES_MAX - self.cookies.len()).min((room - fixed) / cookie_field);
        let mut unique_id = [0; UNIQUE_ID_LEN];
        entropy(&mut unique_id);
        let header = &request[..HEADER_LEN];
        out[..HEADER_LEN].copy_from_slice(header);
        let mut at = write_field(out, HEADER_LEN, UNIQUE_ID_FIELD, &unique_id);
        at = write_field(out, at, COOKIE_FIELD, cookie);
        for _ in 0..placeholders {
            let next = write_field_head(out, at, PLACEHOLDER_FIELD, cookie.len());
            out[at + FIELD_HEAD..next].fill(0);
            at = next;
        }
        let own_fields = &request[HEADER_LEN..];
        out[at..at + own_fields.len()].copy_from_slice(own_fields);
        at += own_fields.len();
        self.cookies.pop_front();
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(unique_id);
        Ok(seal_authenticator(&mut self.c2s, out, at, 0, entropy))
    }

    /// Unwraps an answer into `out`: its header, and the circle's field if it has one. Returns the length.
    ///
    /// Each request is answered once; whatever is not authentic changes nothing but, on a NAK with the unique id of a
    /// waiting request, [`NtsClient::needs_exchange`]. `out` must hold [`CIRCLE_PACKET_LEN`] bytes.
    pub fn open_answer(&mut self, answer: &[u8], out: &mut [u8]) -> Result<usize, NtsError> {
        let header = Header::parse(answer)?;
        if header.mode != MODE_SERVER {
            return Err(PacketError::WrongMode { expected: MODE_SERVER, given: header.mode }.into());
        }
        if out.len() < CIRCLE_PACKET_LEN {
            return Err(PacketError::NoRoom { needed: CIRCLE_PACKET_LEN, given: out.len() }.into());
        }
        let found = NtsFields::find(answer, header.version)?;
        let named = found.unique_id.map(|field| body(answer, field));
        let asked = |waiting: &UniqueId| named == Some(waiting.as_slice());
        let index = self.waiting.iter().position(asked).ok_or(NtsError::NotAsked)?;
        let Some(authenticator) = found.authenticator else {
            if header.stratum == 0 && header.refid == u32::from_be_bytes(NAK) {
                self.nak = true;
                return Err(NtsError::Nak);
            }
            return Err(NtsError::Unauthenticated);
        };
        let mut scratch = [0; PACKET_MAX];
        let text_len = open_authenticator(&mut self.s2c, answer, authenticator, false, &mut scratch)?;
        self.waiting.remove(index);
        self.nak = false;
        let mut circle = None;
        for (kind, body) in encrypted_fields(&scratch[..text_len]) {
            if kind == COOKIE_FIELD {
                self.keep(body.to_vec());
            }
        }
        for field in fields(answer, header.version).map_while(Result::ok) {
            match field.kind {
                AUTHENTICATOR_FIELD => break,
                CIRCLE_FIELD_TYPE if field.len == CIRCLE_FIELD_LEN => circle = circle.or(Some(field)),
                _ => {}
            }
        }
        out[..HEADER_LEN].copy_from_slice(&answer[..HEADER_LEN]);
        let Some(circle) = circle else { return Ok(HEADER_LEN) };
        out[HEADER_LEN..CIRCLE_PACKET_LEN].copy_from_slice(&answer[circle.at..circle.at + circle.len]);
        Ok(CIRCLE_PACKET_LEN)
    }
}

/// The fields in an authenticator, up to the first that does not fit. No MAC can follow, so four bytes are enough.
fn encrypted_fields(text: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let len = usize::from(be_u16(rest.get(..FIELD_HEAD)?, 2));
        let field = rest.get(..len).filter(|field| field.len() >= FIELD_HEAD && len % 4 == 0)?;
        rest = &rest[len..];
        Some((be_u16(field, 0), &field[FIELD_HEAD..]))
    })
}

#[cfg(test)]
#[path = "laws.rs"]
mod laws;
