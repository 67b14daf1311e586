//! Network Time Security for NTPv4 (RFC 8915): answers that only the server that was asked can have made.
//!
//! An NTP answer is 48 bytes that anybody on the path can forge. Signing each one with a public key would cost the
//! server more than the time is worth, and a table of clients with their keys would be state to lose and to flood. NTS
//! takes a third way. Client and server agree on two keys over TLS once ([`ke`]); the server seals both into a
//! *cookie* under a key of its own and forgets them ([`cookie`]). A request brings a cookie along, so the server has
//! the keys for as long as it takes to answer ([`server`]). No cookie is sent twice, and new ones come encrypted, so
//! that nobody on the path can tell two requests of one client from those of two ([`client`]).
//!
//! ```text
//! request:  | header | unique id | cookie | placeholders … | circle's field | authenticator |
//! answer:   | header | unique id | circle's field | authenticator, in which: cookie, cookie … |
//! ```
//!
//! A placeholder is as long as a cookie and asks for one more. So the answer has the length of its request, and never
//! more: nothing here can be used to amplify a flood. What stands behind the authenticator is not authentic and is not
//! read. All of it is computed from arguments: time, random bytes and datagrams come in, bytes go out.
pub mod aead;
pub mod client;
pub mod cookie;
pub mod ke;
pub mod server;
mod siv;

use thiserror::Error;

use crate::packet::{be_u16, fields, Field, PacketError};
use aead::{Algorithm, Cipher, Sealing, TAG_LEN};

pub use client::NtsClient;
pub use cookie::{CookieKeys, Rotation};
pub use server::{NtsServer, Policy, Reply};

/// Type of the extension field that names a request, and its answer (RFC 8915, section 5.3).
pub const UNIQUE_ID_FIELD: u16 = 0x0104;
/// Type of the extension field that holds a cookie (section 5.4).
pub const COOKIE_FIELD: u16 = 0x0204;
/// Type of the extension field that asks for one more cookie (section 5.5).
pub const PLACEHOLDER_FIELD: u16 = 0x0304;
/// Type of the extension field that authenticates all before it (section 5.6).
pub const AUTHENTICATOR_FIELD: u16 = 0x0404;
/// Bytes of a unique id, without its field's header: 32 at least.
pub const UNIQUE_ID_LEN: usize = 32;
/// Cookies that a client keeps, and that a server gives at most in one answer.
pub const COOKIES_MAX: usize = 8;
/// The longest packet that is written here: fits the smallest MTU of IPv6 with its headers.
pub const PACKET_MAX: usize = 1232;

const FIELD_HEAD: usize = 4;
/// Bytes of an authenticator before its nonce: field header, length of the nonce, length of the ciphertext.
const AUTHENTICATOR_HEAD: usize = 8;
/// The kiss code of a server that cannot open a cookie or does not believe the request (section 5.7).
const NAK: [u8; 4] = *b"NTSN";

/// Random bytes are an argument: fills what it is given.
pub type Entropy<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Why a datagram was refused, or could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NtsError {
    /// It is no well-formed packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// No authenticator where only authenticated packets are heard.
    #[error("the packet is not authenticated, and only authenticated ones are heard here")]
    Unauthenticated,
    /// The authenticator does not fit: forged, or changed on the way.
    #[error("the packet is not authentic: forged, or changed on the way")]
    Forged,
    /// The answer's unique id belongs to no request that waits: forged, repeated or too late.
    #[error("the answer belongs to no request that is waiting for one")]
    NotAsked,
    /// The server could not use the cookie (kiss code NTSN): exchange keys anew.
    #[error("the server does not accept the cookie; exchange keys with it again")]
    Nak,
    /// Each cookie was used: exchange keys anew.
    #[error("no cookies left; exchange keys with the server again")]
    NoCookies,
}

/// The two keys that one client and one server share, and what they are for.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    algorithm: Algorithm,
    c2s: [u8; 32],
    s2c: [u8; 32],
}

impl Keys {
    /// Keys for `algorithm`: the first [`Algorithm::key_len`] bytes of each are used.
    pub fn new(algorithm: Algorithm, c2s: &[u8; 32], s2c: &[u8; 32]) -> Self {
        let mut keys = Self { algorithm, c2s: [0; 32], s2c: [0; 32] };
        let len = algorithm.key_len();
        keys.c2s[..len].copy_from_slice(&c2s[..len]);
        keys.s2c[..len].copy_from_slice(&s2c[..len]);
        keys
    }

    /// What the keys are for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn c2s(&self) -> &[u8] {
        &self.c2s[..self.algorithm.key_len()]
    }

    fn s2c(&self) -> &[u8] {
        &self.s2c[..self.algorithm.key_len()]
    }
}

impl std::fmt::Debug for Keys {
    /// Keys do not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Where the fields of NTS stand in a packet, up to and with its authenticator.
#[derive(Clone, Copy, Default, Debug)]
struct NtsFields {
    unique_id: Option<Field>,
    cookie: Option<Field>,
    authenticator: Option<Field>,
}

impl NtsFields {
    /// Errors on malformed fields before the authenticator, and on a second unique id or cookie.
    fn find(packet: &[u8], version: u8) -> Result<Self, PacketError> {
        let mut found = Self::default();
        for field in fields(packet, version) {
            let field = field?;
            let place = match field.kind {
                UNIQUE_ID_FIELD => &mut found.unique_id,
                COOKIE_FIELD => &mut found.cookie,
                AUTHENTICATOR_FIELD => {
                    found.authenticator = Some(field);
                    break;
                }
                _ => continue,
            };
            if place.replace(field).is_some() {
                return Err(PacketError::BadField(field.at));
            }
        }
        Ok(found)
    }
}

fn body(packet: &[u8], field: Field) -> &[u8] {
    &packet[field.at + FIELD_HEAD..field.at + field.len]
}

/// Writes a field with a `body_len` of a multiple of four at `at`, its body left as it is. Returns where the next one
/// begins.
fn write_field_head(out: &mut [u8], at: usize, kind: u16, body_len: usize) -> usize {
    let len = FIELD_HEAD + body_len;
    out[at..at + 2].copy_from_slice(&kind.to_be_bytes());
    out[at + 2..at + 4].copy_from_slice(&(len as u16).to_be_bytes());
    at + len
}

fn write_field(out: &mut [u8], at: usize, kind: u16, body: &[u8]) -> usize {
    let end = write_field_head(out, at, kind, body.len());
    out[at + FIELD_HEAD..end].copy_from_slice(body);
    end
}

/// Bytes of an authenticator over `text_len` bytes of encrypted fields.
fn authenticator_len(algorithm: Algorithm, text_len: usize) -> usize {
    AUTHENTICATOR_HEAD + algorithm.nonce_len() + text_len + TAG_LEN
}

/// Where the encrypted fields of an authenticator at `at` are to be put before it is sealed.
fn authenticator_text(algorithm: Algorithm, at: usize) -> usize {
    at + AUTHENTICATOR_HEAD + algorithm.nonce_len()
}

/// Authenticates `out[..at]` and encrypts `text_len` bytes at [`authenticator_text`]. Returns the packet's length.
fn seal_authenticator(cipher: &Cipher, out: &mut [u8], at: usize, text_len: usize, entropy: Entropy<'_>) -> usize {
    let sealing = authenticator(cipher, out, at, text_len, entropy);
    let len = at + authenticator_len(cipher.algorithm(), text_len);
    aead::seal_group(&mut [Some(sealing)]);
    len
}

/// All of [`seal_authenticator`] but the sealing.
fn authenticator<'a>(
    cipher: &'a Cipher,
    out: &'a mut [u8],
    at: usize,
    text_len: usize,
    entropy: Entropy<'_>,
) -> Sealing<'a> {
    let algorithm = cipher.algorithm();
    let text = authenticator_text(algorithm, at);
    let len = authenticator_len(algorithm, text_len);
    let (associated, rest) = out.split_at_mut(at);
    write_field_head(rest, 0, AUTHENTICATOR_FIELD, len - FIELD_HEAD);
    rest[4..6].copy_from_slice(&(algorithm.nonce_len() as u16).to_be_bytes());
    rest[6..8].copy_from_slice(&((text_len + TAG_LEN) as u16).to_be_bytes());
    let (head, room) = rest.split_at_mut(text - at);
    let nonce = &mut head[AUTHENTICATOR_HEAD..];
    entropy(nonce);
    Sealing { cipher, nonce, associated, room: &mut room[..text_len + TAG_LEN] }
}

/// Opens the authenticator `field`; what it held encrypted is left in `scratch`, and its length returned.
fn open_authenticator(cipher: &Cipher, packet: &[u8], field: Field, scratch: &mut [u8]) -> Result<usize, NtsError> {
    let opening = sealed_in(cipher, packet, field, false, scratch)?;
    let [opened] = aead::open_group(&mut [Some(opening)]);
    opened.map_err(|_| NtsError::Forged)
}

/// What the authenticator `field` sealed, copied into `scratch` to be opened there.
///
/// With `padded`, it must be as long as the answer to it may have to be, whatever nonce its sender chose (section 5.6).
fn sealed_in<'a>(
    cipher: &'a Cipher,
    packet: &'a [u8],
    field: Field,
    padded: bool,
    scratch: &'a mut [u8],
) -> Result<Sealing<'a>, NtsError> {
    let malformed = NtsError::Packet(PacketError::BadField(field.at));
    let inside = &packet[field.at..field.at + field.len];
    let nonce_len = usize::from(be_u16(inside, 4));
    let sealed_len = usize::from(be_u16(inside, 6));
    let sealed_at = AUTHENTICATOR_HEAD + nonce_len.next_multiple_of(4);
    let end = sealed_at + sealed_len.next_multiple_of(4);
    if end > inside.len() || sealed_len > scratch.len() {
        return Err(malformed);
    }
    let room_for_nonce = nonce_len.next_multiple_of(4) + (inside.len() - end);
    if padded && room_for_nonce < cipher.algorithm().nonce_len().min(16) {
        return Err(malformed);
    }
    let room = &mut scratch[..sealed_len];
    room.copy_from_slice(&inside[sealed_at..sealed_at + sealed_len]);
    let nonce = &inside[AUTHENTICATOR_HEAD..AUTHENTICATOR_HEAD + nonce_len];
    Ok(Sealing { cipher, nonce, associated: &packet[..field.at], room })
}
