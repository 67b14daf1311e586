//! NTPv4 on the wire (RFC 5905, extension fields as in RFC 7822), and the one field that a circle adds to it.
//!
//! Any NTP client can ask a sanctuary for the time: the header's timestamps are UTC, as NTP wants them. But UTC has
//! leap seconds and the header has no room for a clock's identity or a bound in nanoseconds. So a platform's request
//! carries one extension field of zeros, and only then does the answer carry one of the *same* length, filled. Equal
//! lengths keep the path symmetric, and an answer that is never longer than its request cannot be used to amplify a
//! flood.
//!
//! ```text
//!  0         2         4    5     6             8
//!  | 0xF4A8  | 48      | version | flags | TAI−UTC s | clock id                 |   big-endian, 48 bytes
//! 16                   24                   32                   40
//!  | t2, node ns       | t3, node ns       | bound of node ns   | root delay ns |
//! ```
//!
//! A request reveals nothing but a random number in its transmit timestamp (data minimisation): the clock that sends it
//! may be wrong, and its error is a fingerprint. The answer must echo that number, so one that was not asked for, or
//! comes twice, is refused.
use thiserror::Error;

use crate::units::{NodeTime, Span, NS_PER_S};

/// Length of the NTP header in bytes.
pub const HEADER_LEN: usize = 48;
/// Type of the circle's extension field, from the experimental range.
pub const CIRCLE_FIELD_TYPE: u16 = 0xF4A8;
/// Length of the circle's extension field in bytes, its own header included.
pub const CIRCLE_FIELD_LEN: usize = 48;
/// Length of a platform's request and of the answer to it.
pub const CIRCLE_PACKET_LEN: usize = HEADER_LEN + CIRCLE_FIELD_LEN;
/// Version of the circle's field that this code writes and reads.
pub const CIRCLE_FIELD_VERSION: u8 = 1;
/// Set in the circle field's flags when the node itself follows a source, clear when it is the root of its time.
pub const FLAG_DISCIPLINED: u8 = 1;

/// Seconds from the NTP epoch, 1900, to the Unix epoch, 1970.
const UNIX_EPOCH_S: u64 = 2_208_988_800;
/// Without a MAC behind it the last field must be at least this long, or it would be taken for one (RFC 7822).
const LAST_FIELD_LEN_MIN: usize = 28;

pub(crate) const MODE_CLIENT: u8 = 3;
pub(crate) const MODE_SERVER: u8 = 4;
const LEAP_UNSYNCHRONISED: u8 = 3;

/// Why a datagram was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PacketError {
    /// Fewer bytes than a header.
    #[error("an NTP packet has at least {HEADER_LEN} bytes, not {0}")]
    TooShort(usize),
    /// The buffer for the result is too small.
    #[error("the buffer must hold {needed} bytes, not {given}")]
    NoRoom {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// A server answers requests only, a client reads answers only.
    #[error("NTP mode {expected} is expected here, not {given}")]
    WrongMode {
        /// The mode that this side reads.
        expected: u8,
        /// The packet's mode.
        given: u8,
    },
    /// Not a version that is spoken here.
    #[error("NTP versions 3 and 4 are spoken here, not {0}")]
    WrongVersion(u8),
    /// The extension fields do not add up to the packet's length.
    #[error("malformed extension field at byte {0}")]
    BadField(usize),
    /// The packet ends in a MAC, and nobody here has the key.
    #[error("the packet is signed with a key that is not known here")]
    UnknownKey,
    /// The answer echoes no request that is waiting: forged, repeated or too late.
    #[error("the answer belongs to no request that is waiting for one")]
    NotAsked,
    /// The server asks to be left alone; the four letters are its reason (RFC 5905, section 7.4).
    #[error("the server refuses service: {}", kiss_text(.0))]
    Kiss([u8; 4]),
    /// The server says that its own clock is not set.
    #[error("the server's clock is not synchronised")]
    Unsynchronised,
    /// A circle's field of a version from the future.
    #[error("the circle's field has version {0}; version {CIRCLE_FIELD_VERSION} is spoken here")]
    WrongFieldVersion(u8),
}

fn kiss_text(code: &[u8; 4]) -> String {
    code.iter().map(|&byte| if byte.is_ascii_graphic() { byte as char } else { '?' }).collect()
}

/// An instant of UTC in NTP's format: seconds since 1900 modulo 2³² and a binary fraction of 2⁻³² s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NtpTimestamp(pub u64);

impl NtpTimestamp {
    /// The timestamp nearest to `unix_ns` nanoseconds since 1970. Realtime-safe.
    pub const fn from_unix_ns(unix_ns: i64) -> Self {
        let s = unix_ns.div_euclid(NS_PER_S) as u64;
        let ns = unix_ns.rem_euclid(NS_PER_S) as u64;
        let fraction = ((ns << 32) + NS_PER_S as u64 / 2) / NS_PER_S as u64;
        Self((s.wrapping_add(UNIX_EPOCH_S) << 32).wrapping_add(fraction))
    }

    /// Nanoseconds since 1970, rounded; the timestamp is taken to lie between 1970 and 2106. Realtime-safe.
    pub const fn unix_ns(self) -> i64 {
        let s = (self.0 >> 32).wrapping_sub(UNIX_EPOCH_S) as u32 as i64;
        let ns = ((self.0 & 0xFFFF_FFFF) * NS_PER_S as u64 + (1 << 31)) >> 32;
        s * NS_PER_S + ns as i64
    }

    /// The UTC reading of `node`, which is ahead of it by `tai_minus_utc`.
    pub fn from_node(node: NodeTime, tai_minus_utc: Span) -> Self {
        Self::from_unix_ns((node - tai_minus_utc).ns())
    }

    /// The node time of this UTC reading.
    pub fn to_node(self, tai_minus_utc: Span) -> NodeTime {
        NodeTime::from_ns(self.unix_ns()) + tai_minus_utc
    }
}

/// A span in NTP's short format, 16.16 s, rounded up so that a bound stays a bound.
fn short_from_span(span: Span) -> u32 {
    let ns = span.ns().max(0) as u128;
    u32::try_from((ns << 16).div_ceil(NS_PER_S as u128)).unwrap_or(u32::MAX)
}

fn span_from_short(short: u32) -> Span {
    Span::from_ns(((u128::from(short) * NS_PER_S as u128).div_ceil(1 << 16)) as i64)
}

/// The 48 bytes that every NTP packet begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Leap indicator: 0 none, 1 a second more, 2 a second less, 3 not synchronised.
    pub leap: u8,
    /// 3 or 4.
    pub version: u8,
    /// 3 for a client's request, 4 for a server's answer.
    pub mode: u8,
    /// Steps from a reference clock; 0 in a kiss-o'-death.
    pub stratum: u8,
    /// log2 of the polling interval in seconds.
    pub poll: i8,
    /// log2 of the clock's precision in seconds.
    pub precision: i8,
    /// Round trip to the reference clock, 16.16 s.
    pub root_delay: u32,
    /// Largest error to the reference clock, 16.16 s.
    pub root_dispersion: u32,
    /// What the server follows.
    pub refid: u32,
    /// When the server's clock was last set.
    pub reference: NtpTimestamp,
    /// The request's transmit timestamp, echoed.
    pub origin: NtpTimestamp,
    /// When the server received the request.
    pub receive: NtpTimestamp,
    /// When the packet left.
    pub transmit: NtpTimestamp,
}

pub(crate) fn be_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be_u32(bytes, at)) << 32 | u64::from(be_u32(bytes, at + 4))
}

impl Header {
    /// Reads the first 48 bytes. Errors if there are fewer; any content is a header. Realtime-safe.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        if bytes.len() < HEADER_LEN {
            return Err(PacketError::TooShort(bytes.len()));
        }
        Ok(Self {
            leap: bytes[0] >> 6,
            version: bytes[0] >> 3 & 7,
            mode: bytes[0] & 7,
            stratum: bytes[1],
            poll: bytes[2] as i8,
            precision: bytes[3] as i8,
            root_delay: be_u32(bytes, 4),
            root_dispersion: be_u32(bytes, 8),
            refid: be_u32(bytes, 12),
            reference: NtpTimestamp(be_u64(bytes, 16)),
            origin: NtpTimestamp(be_u64(bytes, 24)),
            receive: NtpTimestamp(be_u64(bytes, 32)),
            transmit: NtpTimestamp(be_u64(bytes, 40)),
        })
    }

    /// This header as bytes. Leap, version and mode keep their low 2, 3 and 3 bits. Realtime-safe.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.leap << 6 | (self.version & 7) << 3 | self.mode & 7;
        bytes[1] = self.stratum;
        bytes[2] = self.poll as u8;
        bytes[3] = self.precision as u8;
        bytes[4..8].copy_from_slice(&self.root_delay.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.root_dispersion.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.refid.to_be_bytes());
        for (at, stamp) in [(16, self.reference), (24, self.origin), (32, self.receive), (40, self.transmit)] {
            bytes[at..at + 8].copy_from_slice(&stamp.0.to_be_bytes());
        }
        bytes
    }
}

/// What a sanctuary says in the circle's field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CircleField {
    /// Bits `FLAG_…`; unknown ones are ignored.
    pub flags: u8,
    /// Node time minus UTC, in seconds.
    pub tai_minus_utc_s: i16,
    /// Which clock this is; another number means that node time has begun anew.
    pub clock_id: u64,
    /// When the request arrived, node time in ns.
    pub t2_ns: i64,
    /// When the answer left, node time in ns.
    pub t3_ns: i64,
    /// Half of the certified interval of the node's own time, in ns; 0 at the root of its time.
    pub bound_ns: u64,
    /// Round trip from the node to the root of its time, in ns.
    pub root_delay_ns: u64,
}

impl CircleField {
    /// Reads a field of [`CIRCLE_FIELD_LEN`] bytes. Errors on another version. Realtime-safe.
    fn parse(field: &[u8]) -> Result<Self, PacketError> {
        if field[4] != CIRCLE_FIELD_VERSION {
            return Err(PacketError::WrongFieldVersion(field[4]));
        }
        Ok(Self {
            flags: field[5],
            tai_minus_utc_s: be_u16(field, 6) as i16,
            clock_id: be_u64(field, 8),
            t2_ns: be_u64(field, 16) as i64,
            t3_ns: be_u64(field, 24) as i64,
            bound_ns: be_u64(field, 32),
            root_delay_ns: be_u64(field, 40),
        })
    }

    /// This field as bytes, its own header included. Realtime-safe.
    pub fn to_bytes(&self) -> [u8; CIRCLE_FIELD_LEN] {
        let mut field = empty_circle_field();
        field[4] = CIRCLE_FIELD_VERSION;
        field[5] = self.flags;
        field[6..8].copy_from_slice(&self.tai_minus_utc_s.to_be_bytes());
        for (at, value) in [
            (8, self.clock_id),
            (16, self.t2_ns as u64),
            (24, self.t3_ns as u64),
            (32, self.bound_ns),
            (40, self.root_delay_ns),
        ] {
            field[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        field
    }
}

/// The field as a request carries it: type, length and zeros.
fn empty_circle_field() -> [u8; CIRCLE_FIELD_LEN] {
    let mut field = [0; CIRCLE_FIELD_LEN];
    field[0..2].copy_from_slice(&CIRCLE_FIELD_TYPE.to_be_bytes());
    field[2..4].copy_from_slice(&(CIRCLE_FIELD_LEN as u16).to_be_bytes());
    field
}

/// One extension field of a packet; it begins at byte `at` and has `len` bytes, its own header included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) kind: u16,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

/// The extension fields of a packet in their order; the last item is an error unless they fill the packet exactly.
///
/// RFC 7822 tells fields from a MAC by what is left: up to 24 bytes are a MAC, and a last field has at least 28.
/// Version 3 knows no fields.
pub(crate) fn fields(packet: &[u8], version: u8) -> impl Iterator<Item = Result<Field, PacketError>> + '_ {
    let mut at = HEADER_LEN;
    std::iter::from_fn(move || {
        let here = std::mem::replace(&mut at, packet.len());
        let left = packet.len().checked_sub(here).filter(|left| *left > 0)?;
        if version < 4 || matches!(left, 4 | 20 | 24) {
            return Some(Err(PacketError::UnknownKey));
        }
        if left < LAST_FIELD_LEN_MIN {
            return Some(Err(PacketError::BadField(here)));
        }
        let len = usize::from(be_u16(packet, here + 2));
        if len < 16 || len % 4 != 0 || len > left {
            return Some(Err(PacketError::BadField(here)));
        }
        at = here + len;
        Some(Ok(Field { kind: be_u16(packet, here), at: here, len }))
    })
}

/// Where the circle's field stands, if there is one. Errors unless the fields fill the packet exactly.
///
/// Unknown fields are skipped, as RFC 7822 asks.
fn find_circle_field(packet: &[u8], version: u8) -> Result<Option<usize>, PacketError> {
    let mut found = None;
    for field in fields(packet, version) {
        let field = field?;
        if field.kind == CIRCLE_FIELD_TYPE && field.len == CIRCLE_FIELD_LEN {
            found = found.or(Some(field.at));
        }
    }
    Ok(found)
}

/// Whether a datagram is an NTP request (mode 3, version 3 or 4) rather than one of the sealed datagrams that share
/// its port: their first byte has mode 0. Realtime-safe.
pub fn is_ntp_request(datagram: &[u8]) -> bool {
    is_ntp(datagram, MODE_CLIENT)
}

/// Whether a datagram is an NTP answer (mode 4, version 3 or 4). Realtime-safe.
pub fn is_ntp_answer(datagram: &[u8]) -> bool {
    is_ntp(datagram, MODE_SERVER)
}

fn is_ntp(datagram: &[u8], mode: u8) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] & 7 == mode && matches!(datagram[0] >> 3 & 7, 3 | 4)
}

/// What a sanctuary says of its own clock in every answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeInfo {
    /// Which clock this is; changes when node time begins anew.
    pub clock_id: u64,
    /// Steps from a reference clock: 10 for a sanctuary without an upstream.
    pub stratum: u8,
    /// What it follows: an address or four letters.
    pub refid: u32,
    /// Half of the certified interval of its own time; zero at the root.
    pub bound: Span,
    /// Leap indicator for UTC.
    pub leap: u8,
    /// log2 of the clock's precision in seconds.
    pub precision: i8,
    /// Node time minus UTC.
    pub tai_minus_utc: Span,
    /// Round trip to the root of its time.
    pub root_delay: Span,
    /// Bits `FLAG_…` for the circle's field.
    pub flags: u8,
}

impl NodeInfo {
    /// A sanctuary that is the root of its own time: stratum 10, `LOCL`, no bound, TAI−UTC 37 s, precision 2⁻²⁴ s.
    pub const fn root(clock_id: u64) -> Self {
        Self {
            clock_id,
            stratum: 10,
            refid: u32::from_be_bytes(*b"LOCL"),
            bound: Span::ZERO,
            leap: 0,
            precision: -24,
            tai_minus_utc: Span::from_s(37),
            root_delay: Span::ZERO,
            flags: 0,
        }
    }
}

/// Answers `request`, which arrived at `received`, with a packet that leaves at `sent`. Returns the answer's length.
///
/// The answer is never longer than the request. It carries the circle's field if and only if the request does.
/// Errors on anything but a well-formed request of version 3 or 4: such a datagram gets no answer. Realtime-safe.
pub fn respond(
    request: &[u8],
    received: NodeTime,
    sent: NodeTime,
    info: &NodeInfo,
    out: &mut [u8],
) -> Result<usize, PacketError> {
    let header = Header::parse(request)?;
    if !matches!(header.version, 3 | 4) {
        return Err(PacketError::WrongVersion(header.version));
    }
    if header.mode != MODE_CLIENT {
        return Err(PacketError::WrongMode { expected: MODE_CLIENT, given: header.mode });
    }
    let circle = find_circle_field(request, header.version)?.is_some();
    let len = if circle { CIRCLE_PACKET_LEN } else { HEADER_LEN };
    if out.len() < len {
        return Err(PacketError::NoRoom { needed: len, given: out.len() });
    }
    let receive = NtpTimestamp::from_node(received, info.tai_minus_utc);
    let answer = Header {
        leap: info.leap,
        version: header.version,
        mode: MODE_SERVER,
        stratum: info.stratum,
        poll: header.poll,
        precision: info.precision,
        root_delay: short_from_span(info.root_delay),
        root_dispersion: short_from_span(info.bound).max(1),
        refid: info.refid,
        // A clock that is its own reference was set a moment ago; never later than the packet itself.
        reference: NtpTimestamp(receive.0 & !0xFFFF_FFFF),
        origin: header.transmit,
        receive,
        transmit: NtpTimestamp::from_node(sent, info.tai_minus_utc),
    };
    out[..HEADER_LEN].copy_from_slice(&answer.to_bytes());
    if circle {
        let field = CircleField {
            flags: info.flags,
            tai_minus_utc_s: (info.tai_minus_utc.ns() / NS_PER_S) as i16,
            clock_id: info.clock_id,
            t2_ns: received.ns(),
            t3_ns: sent.ns(),
            bound_ns: info.bound.ns().max(0) as u64,
            root_delay_ns: info.root_delay.ns().max(0) as u64,
        };
        out[HEADER_LEN..len].copy_from_slice(&field.to_bytes());
    }
    Ok(len)
}

/// Writes a later `sent` into an answer that [`respond`] made, just before it leaves. Realtime-safe.
///
/// Everything done between the stamp and the wire counts as delay, so a batch of answers is made first and stamped
/// last. Bytes that are no such answer are left alone.
pub fn patch_sent(answer: &mut [u8], sent: NodeTime, tai_minus_utc: Span) {
    if answer.len() != HEADER_LEN && answer.len() != CIRCLE_PACKET_LEN {
        return;
    }
    answer[40..48].copy_from_slice(&NtpTimestamp::from_node(sent, tai_minus_utc).0.to_be_bytes());
    if answer.len() == CIRCLE_PACKET_LEN {
        answer[HEADER_LEN + 24..HEADER_LEN + 32].copy_from_slice(&sent.ns().to_be_bytes());
    }
}

/// Refuses `request` with a kiss-o'-death: a header of stratum 0 whose reference id is `code`. Returns its length.
///
/// Errors as [`respond`] does on what is no request of version 3 or 4. Realtime-safe.
pub fn write_kiss(request: &[u8], code: [u8; 4], out: &mut [u8]) -> Result<usize, PacketError> {
    let header = Header::parse(request)?;
    if !matches!(header.version, 3 | 4) {
        return Err(PacketError::WrongVersion(header.version));
    }
    if header.mode != MODE_CLIENT {
        return Err(PacketError::WrongMode { expected: MODE_CLIENT, given: header.mode });
    }
    if out.len() < HEADER_LEN {
        return Err(PacketError::NoRoom { needed: HEADER_LEN, given: out.len() });
    }
    let kiss = Header {
        leap: LEAP_UNSYNCHRONISED,
        version: header.version,
        mode: MODE_SERVER,
        poll: header.poll,
        refid: u32::from_be_bytes(code),
        origin: header.transmit,
        // A kiss tells no time; some clients drop answers whose stamps are zero before they look at the stratum.
        receive: header.transmit,
        transmit: header.transmit,
        ..Header::default()
    };
    out[..HEADER_LEN].copy_from_slice(&kiss.to_bytes());
    Ok(HEADER_LEN)
}

/// Writes a platform's request into `out` and returns its length, [`CIRCLE_PACKET_LEN`]. Realtime-safe.
///
/// `nonce` is a fresh random number: the only thing that the request tells. Errors if `out` is too small.
pub fn write_request(nonce: u64, out: &mut [u8]) -> Result<usize, PacketError> {
    if out.len() < CIRCLE_PACKET_LEN {
        return Err(PacketError::NoRoom { needed: CIRCLE_PACKET_LEN, given: out.len() });
    }
    // Precision 32 (2^32 s) is what the data-minimisation draft of the NTP working group sends: no clock is that bad.
    let header =
        Header { version: 4, mode: MODE_CLIENT, precision: 32, transmit: NtpTimestamp(nonce), ..Header::default() };
    out[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    out[HEADER_LEN..CIRCLE_PACKET_LEN].copy_from_slice(&empty_circle_field());
    Ok(CIRCLE_PACKET_LEN)
}

/// A server's answer as a client reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The NTP header; its `origin` is the request's nonce, for the caller to compare.
    pub header: Header,
    /// The circle's field; a stranger's NTP server sends none.
    pub circle: Option<CircleField>,
}

impl Answer {
    /// Reads an answer. Errors on anything malformed, on a kiss-o'-death and on a server whose clock is not set.
    ///
    /// Whether it was asked for is the caller's to check, by `header.origin`. Realtime-safe.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        let header = Header::parse(bytes)?;
        if header.mode != MODE_SERVER {
            return Err(PacketError::WrongMode { expected: MODE_SERVER, given: header.mode });
        }
        if !matches!(header.version, 3 | 4) {
            return Err(PacketError::WrongVersion(header.version));
        }
        if header.stratum == 0 {
            return Err(PacketError::Kiss(header.refid.to_be_bytes()));
        }
        if header.leap == LEAP_UNSYNCHRONISED {
            return Err(PacketError::Unsynchronised);
        }
        let circle = match find_circle_field(bytes, header.version)? {
            Some(at) => Some(CircleField::parse(&bytes[at..at + CIRCLE_FIELD_LEN])?),
            None => None,
        };
        Ok(Self { header, circle })
    }

    /// When the request arrived and when the answer left, in node time.
    ///
    /// From the circle's field where there is one, else from the header's UTC, which is `tai_minus_utc` behind.
    pub fn stamps(&self, tai_minus_utc: Span) -> (NodeTime, NodeTime) {
        match &self.circle {
            Some(circle) => (NodeTime::from_ns(circle.t2_ns), NodeTime::from_ns(circle.t3_ns)),
            None => (self.header.receive.to_node(tai_minus_utc), self.header.transmit.to_node(tai_minus_utc)),
        }
    }

    /// How wrong the server's own time may be: its bound, or a stranger's root distance.
    pub fn source_bound(&self) -> Span {
        match &self.circle {
            Some(circle) => Span::from_ns(i64::try_from(circle.bound_ns).unwrap_or(i64::MAX)),
            None => {
                span_from_short(self.header.root_dispersion)
                    + Span::from_ns(span_from_short(self.header.root_delay).ns() / 2)
            }
        }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    const TAI: Span = Span::from_s(37);
    const ANY: NodeTime = NodeTime::from_ns(1_700_000_000_123_456_789);

    fn request(nonce: u64) -> [u8; CIRCLE_PACKET_LEN] {
        let mut bytes = [0; CIRCLE_PACKET_LEN];
        write_request(nonce, &mut bytes).unwrap();
        bytes
    }

    /// A plain client's request, as chrony or ntpd would send it.
    fn plain_request(version: u8) -> Vec<u8> {
        Header { version, mode: 3, poll: 6, transmit: NtpTimestamp(7), ..Header::default() }.to_bytes().to_vec()
    }

    fn answer(request: &[u8], received: NodeTime, sent: NodeTime, info: &NodeInfo) -> Result<Vec<u8>, PacketError> {
        let mut out = [0; 128];
        respond(request, received, sent, info, &mut out).map(|len| out[..len].to_vec())
    }

    proptest! {
        #[test]
        fn a_header_survives_the_wire(leap in 0u8..4, version in 0u8..8, mode in 0u8..8, stratum: u8, poll: i8,
                                      precision: i8, roots: [u32; 3], stamps: [u64; 4]) {
            let [root_delay, root_dispersion, refid] = roots;
            let [reference, origin, receive, transmit] = stamps.map(NtpTimestamp);
            let header = Header { leap, version, mode, stratum, poll, precision, root_delay, root_dispersion, refid,
                                  reference, origin, receive, transmit };
            prop_assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        }

        #[test]
        fn a_circle_field_survives_the_wire(flags: u8, tai_minus_utc_s: i16, clock_id: u64, t2_ns: i64, t3_ns: i64,
                                            bound_ns: u64, root_delay_ns: u64) {
            let field = CircleField { flags, tai_minus_utc_s, clock_id, t2_ns, t3_ns, bound_ns, root_delay_ns };
            prop_assert_eq!(CircleField::parse(&field.to_bytes()), Ok(field));
        }

        #[test]
        fn a_timestamp_gives_back_its_nanosecond(ns in 0i64..(1 << 32) * NS_PER_S) {
            prop_assert_eq!(NtpTimestamp::from_unix_ns(ns).unix_ns(), ns);
        }

        #[test]
        fn a_short_span_is_rounded_up_by_less_than_16_us(ns in 0i64..60_000 * NS_PER_S) {
            let back = span_from_short(short_from_span(Span::from_ns(ns))).ns();
            prop_assert!((ns..ns + 15_260).contains(&back), "{ns} {back}");
        }

        #[test]
        fn an_answer_tells_a_platform_the_nodes_own_nanoseconds(nonce: u64, received: i64, sent: i64, clock_id: u64,
                                                                bound in 0i64..i64::MAX) {
            let (t2, t3) = (NodeTime::from_ns(received), NodeTime::from_ns(sent));
            let info = NodeInfo { bound: Span::from_ns(bound), ..NodeInfo::root(clock_id) };
            let bytes = answer(&request(nonce), t2, t3, &info).unwrap();
            let read = Answer::parse(&bytes).unwrap();
            prop_assert_eq!(read.header.origin.0, nonce);
            prop_assert_eq!(read.stamps(Span::ZERO), (t2, t3));
            prop_assert_eq!(read.circle.unwrap().clock_id, clock_id);
            prop_assert_eq!(read.source_bound().ns(), bound);
        }

        #[test]
        fn a_plain_client_gets_utc(version in 3u8..5, at in 40 * NS_PER_S..4_000_000_000 * NS_PER_S,
                                      hold in 0i64..NS_PER_S) {
            let (t2, t3) = (NodeTime::from_ns(at), NodeTime::from_ns(at + hold));
            let bytes = answer(&plain_request(version), t2, t3, &NodeInfo::root(1)).unwrap();
            let read = Answer::parse(&bytes).unwrap();
            prop_assert_eq!(read.circle, None);
            prop_assert_eq!(read.header.receive.unix_ns(), at - 37 * NS_PER_S);
            prop_assert_eq!(read.stamps(TAI), (t2, t3));
            prop_assert!(read.header.reference.0 <= read.header.receive.0);
            prop_assert_eq!((read.header.version, read.header.origin), (version, NtpTimestamp(7)));
        }

        #[test]
        fn a_late_stamp_is_as_good_as_an_early_one(nonce: u64, at: i64, later: i64, circle: bool) {
            let question = if circle { request(nonce).to_vec() } else { plain_request(4) };
            let (received, sent) = (NodeTime::from_ns(at), NodeTime::from_ns(later));
            let mut patched = answer(&question, received, received, &NodeInfo::root(1)).unwrap();
            patch_sent(&mut patched, sent, TAI);
            prop_assert_eq!(patched, answer(&question, received, sent, &NodeInfo::root(1)).unwrap());
        }

        /// Requests that begin well and go wrong anywhere: the interesting neighbourhood of the valid ones.
        #[test]
        fn no_answer_is_longer_than_its_request(len in 0usize..160, tail: [u8; 32], types: [bool; 4], lens: [u8; 4],
                                                first in prop_oneof![Just(0x23u8), Just(0x1bu8), any::<u8>()]) {
            let mut bytes = vec![0u8; len];
            for (i, byte) in bytes.iter_mut().enumerate() { *byte = tail[i % 32]; }
            if let Some(byte) = bytes.first_mut() { *byte = first; }
            let mut at = HEADER_LEN;
            for (circle, field_len) in types.into_iter().zip(lens) {
                if at + 4 > len { break; }
                if circle { bytes[at..at + 2].copy_from_slice(&CIRCLE_FIELD_TYPE.to_be_bytes()); }
                let field_len = usize::from(field_len % 20) * 4;
                bytes[at + 2..at + 4].copy_from_slice(&(field_len as u16).to_be_bytes());
                at += field_len.max(4);
            }
            let mut out = [0; 256];
            if let Ok(answer_len) = respond(&bytes, ANY, ANY, &NodeInfo::root(1), &mut out) {
                prop_assert!(answer_len <= bytes.len());
                prop_assert!(is_ntp_request(&bytes) && is_ntp_answer(&out[..answer_len]));
            }
            let _ = Answer::parse(&bytes);
        }
    }

    #[test]
    fn a_hundred_thousand_random_datagrams_panic_nowhere() {
        let mut state = 0x9E37_79B9_7F4A_7C15u64; // a small generator; its period is long enough for this
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        let mut answered = 0;
        for round in 0..100_000 {
            let mut bytes: Vec<u8> = (0..usize::from(next()) % 144).map(|_| next()).collect();
            if round % 2 == 0 && !bytes.is_empty() {
                bytes[0] = if round % 4 == 0 { 0x23 } else { 0x24 };
            }
            let mut out = [0; CIRCLE_PACKET_LEN];
            if let Ok(len) = respond(&bytes, ANY, ANY, &NodeInfo::root(1), &mut out) {
                assert!(len <= bytes.len());
                answered += 1;
            }
            let _ = Answer::parse(&bytes);
        }
        assert!(answered > 0, "the generator made no valid request: the test shows nothing");
    }

    #[test]
    fn a_request_tells_nothing_but_its_nonce() {
        let (a, b) = (request(0), request(u64::MAX));
        assert_eq!(a[..40], b[..40]);
        assert_eq!(a[48..], b[48..]);
        assert_eq!(a[40..48], [0; 8]);
        assert!(a[52..].iter().all(|&byte| byte == 0), "the field carries zeros");
    }

    #[test]
    fn question_and_answer_are_equally_long_and_within_the_rules_of_rfc_7822() {
        let bytes = answer(&request(1), ANY, ANY, &NodeInfo::root(1)).unwrap();
        assert_eq!(bytes.len(), request(1).len());
        assert!((28..=52).contains(&CIRCLE_FIELD_LEN) && CIRCLE_FIELD_LEN.is_multiple_of(4));
        assert_eq!(be_u16(&bytes, 48), CIRCLE_FIELD_TYPE);
        assert_eq!(usize::from(be_u16(&bytes, 50)), CIRCLE_FIELD_LEN);
    }

    #[test]
    fn unknown_fields_are_skipped_and_broken_ones_refused() {
        let field = |kind: u16, len: u16, bytes: usize| {
            let mut field = vec![0; bytes];
            field[0..2].copy_from_slice(&kind.to_be_bytes());
            field[2..4].copy_from_slice(&len.to_be_bytes());
            field
        };
        let with = |fields: &[Vec<u8>]| [plain_request(4), fields.concat()].concat();
        let info = NodeInfo::root(1);
        let stranger = with(&[field(0x0104, 36, 36)]);
        assert_eq!(answer(&stranger, ANY, ANY, &info).map(|bytes| bytes.len()), Ok(HEADER_LEN));
        let both = with(&[field(0x0104, 16, 16), field(CIRCLE_FIELD_TYPE, 48, 48)]);
        assert_eq!(answer(&both, ANY, ANY, &info).map(|bytes| bytes.len()), Ok(CIRCLE_PACKET_LEN));
        let other_length = with(&[field(CIRCLE_FIELD_TYPE, 52, 52)]);
        assert_eq!(answer(&other_length, ANY, ANY, &info).map(|bytes| bytes.len()), Ok(HEADER_LEN));
        for (len, bytes) in [(0, 28), (12, 28), (16, 16), (30, 32), (56, 48), (28, 32)] {
            let broken = answer(&with(&[field(1, len, bytes)]), ANY, ANY, &info);
            assert!(matches!(broken, Err(PacketError::BadField(_) | PacketError::UnknownKey)), "{len} {broken:?}");
        }
        let odd = with(&[field(1, 30, 30), field(1, 30, 30)]);
        assert_eq!(answer(&odd, ANY, ANY, &info), Err(PacketError::BadField(HEADER_LEN)));
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        let info = NodeInfo::root(1);
        assert_eq!(answer(&[0x23; 47], ANY, ANY, &info), Err(PacketError::TooShort(47)));
        for version in [0, 1, 2, 5, 6, 7] {
            assert_eq!(answer(&plain_request(version), ANY, ANY, &info), Err(PacketError::WrongVersion(version)));
        }
        for mode in [0, 1, 2, 4, 5, 6, 7] {
            let mut bytes = plain_request(4);
            bytes[0] = 4 << 3 | mode;
            assert!(!is_ntp_request(&bytes));
            let refused = answer(&bytes, ANY, ANY, &info);
            assert_eq!(refused, Err(PacketError::WrongMode { expected: 3, given: mode }));
        }
        for mac in [4, 20, 24] {
            let signed = [plain_request(4), vec![0; mac]].concat();
            assert_eq!(answer(&signed, ANY, ANY, &info), Err(PacketError::UnknownKey));
        }
        assert_eq!(answer(&[plain_request(3), vec![0; 48]].concat(), ANY, ANY, &info), Err(PacketError::UnknownKey));
        let small = respond(&request(1), ANY, ANY, &info, &mut [0; 60]);
        assert_eq!(small, Err(PacketError::NoRoom { needed: 96, given: 60 }));
    }

    #[test]
    fn an_answer_that_says_no_is_no_answer() {
        let good = answer(&request(1), ANY, ANY, &NodeInfo::root(1)).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Answer::parse(&bytes)
        };
        assert!(Answer::parse(&good).is_ok());
        assert_eq!(with(0, 0x23), Err(PacketError::WrongMode { expected: 4, given: 3 }));
        assert_eq!(with(0, 0x2c), Err(PacketError::WrongVersion(5)));
        assert_eq!(with(0, 0xe4), Err(PacketError::Unsynchronised));
        assert_eq!(with(1, 0), Err(PacketError::Kiss(*b"LOCL")));
        assert_eq!(with(52, 2), Err(PacketError::WrongFieldVersion(2)));
        assert_eq!(with(51, 12), Err(PacketError::BadField(48)));
        assert_eq!(PacketError::Kiss(*b"RATE").to_string(), "the server refuses service: RATE");
    }
}
