//! NTPv4 on the wire (RFC 5905, extension fields as in RFC 7822), and the one field that a circle adds to it.
//!
//! Any NTP client can ask a sanctuary for the time: the header's timestamps are UTC, as NTP wants them. But UTC has leap
//! seconds and the header has no room for a clock's identity or a bound in nanoseconds. So a platform's request carries
//! one extension field of zeros, and only then does the answer carry one of the *same* length, filled. Equal lengths
//! keep the path symmetric, and an answer that is never longer than its request cannot be used to amplify a flood.
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

const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
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

fn be_u16(bytes: &[u8], at: usize) -> u16 {
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

/// Where the circle's field stands, if there is one. Errors unless the fields fill the packet exactly.
///
/// Unknown fields are skipped, as RFC 7822 asks. The same RFC tells fields from a MAC by what is left: up to 24 bytes
/// are a MAC, and a last field has at least 28. Version 3 knows no fields.
fn find_circle_field(packet: &[u8], version: u8) -> Result<Option<usize>, PacketError> {
    let (mut at, mut found) = (HEADER_LEN, None);
    while at < packet.len() {
        let left = packet.len() - at;
        if version < 4 || matches!(left, 4 | 20 | 24) {
            return Err(PacketError::UnknownKey);
        }
        if left < LAST_FIELD_LEN_MIN {
            return Err(PacketError::BadField(at));
        }
        let len = usize::from(be_u16(packet, at + 2));
        if len < 16 || len % 4 != 0 || len > left {
            return Err(PacketError::BadField(at));
        }
        if be_u16(packet, at) == CIRCLE_FIELD_TYPE && len == CIRCLE_FIELD_LEN {
            found = found.or(Some(at));
        }
        at += len;
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
/// Everything done between the stamp and the wire counts as delay, so a batch of answers is made first and stamped last.
/// Bytes that are no such answer are left alone.
pub fn patch_sent(answer: &mut [u8], sent: NodeTime, tai_minus_utc: Span) {
    if answer.len() != HEADER_LEN && answer.len() != CIRCLE_PACKET_LEN {
        return;
    }
    answer[40..48].copy_from_slice(&NtpTimestamp::from_node(sent, tai_minus_utc).0.to_be_bytes());
    if answer.len() == CIRCLE_PACKET_LEN {
        answer[HEADER_LEN + 24..HEADER_LEN + 32].copy_from_slice(&sent.ns().to_be_bytes());
    }
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
