//! What time another server has, and how certain that is: a handful of exchanges, then an answer.
//!
//! Works with any NTP server, with NTS and without. The result compares its UTC with this machine's realtime clock; the
//! clock itself is not touched.
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use harmonia_core::nts::PACKET_MAX;
use harmonia_core::packet::{Answer, Header, PacketError, CIRCLE_PACKET_LEN};
use harmonia_core::session::{SyncConfig, SyncError, SyncSession};
use harmonia_core::stated::Stated;
use harmonia_core::units::{PlatformTime, Span};

use crate::error::IoError;
use crate::node::resolve;
use crate::nts_source::NtsSource;
use crate::os::{self, Bracket};
use crate::socket::{wait_readable, Batch, Socket};

/// Exchanges that are made unless told otherwise.
pub const EXCHANGES: u32 = 8;

/// How a server's time compares with this machine's.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Who answered.
    pub server: SocketAddr,
    /// Whether each answer was authenticated with NTS.
    pub authenticated: bool,
    /// Its clock's identity if it is a sanctuary.
    pub clock_id: Option<u64>,
    /// Its steps from a reference clock.
    pub stratum: u8,
    /// What it follows.
    pub refid: u32,
    /// Leap indicator.
    pub leap: u8,
    /// Its UTC minus this machine's.
    pub offset: Span,
    /// The true offset is certainly no further away than this, whatever the path; the server's own error not counted.
    pub bound: Span,
    /// How wrong the server says that it may be itself.
    pub server_bound: Span,
    /// The shortest round trip, without the server's own part in it.
    pub round_trip_min: Span,
    /// Requests sent.
    pub sent: u32,
    /// Answers used.
    pub used: u32,
}

/// Asks the server at `host:port` some `exchanges` times within `timeout`; with `nts`, the server that its key exchange
/// names is asked, and `host` and `port` are not used. The bound rests on `stated`.
///
/// Errors without a single acceptable answer: with its reason if there was one, else that nobody answered.
pub fn query(
    host: &str,
    port: u16,
    mut nts: Option<NtsSource>,
    exchanges: u32,
    timeout: Duration,
    stated: Stated,
) -> Result<Measured, IoError> {
    let server = match &mut nts {
        Some(source) => source.exchange(os::raw_ns(), timeout)?,
        None => resolve(host, port)?,
    };
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = Socket::bind(any).map_err(|source| IoError::Bind { address: any, source })?;
    let config = SyncConfig { strangers: true, ..SyncConfig::default() }.with(stated);
    let seed = os::random_u64().map_err(|source| IoError::System { what: "a random number", source })?;
    let mut session = SyncSession::new(config, seed);
    let mut seen = Seen::default();
    let deadline = os::raw_ns() + i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX / 2);
    let mut batch = Batch::default();
    let system = |what| move |source| IoError::System { what, source };
    while seen.used < exchanges && os::raw_ns() < deadline {
        let (mut plain, mut sealed) = ([0; CIRCLE_PACKET_LEN], [0; PACKET_MAX]);
        if let Some(len) = session.poll_transmit(PlatformTime::from_ns(os::raw_ns()), &mut plain) {
            let request = match &mut nts {
                // Out of cookies, as each was lost: what has come must do.
                Some(source) => match source.seal(&plain[..len], &mut sealed) {
                    Ok(len) => &sealed[..len],
                    Err(_) => break,
                },
                None => &plain[..len],
            };
            socket.send(request, server).map_err(system("to send a datagram"))?;
            seen.sent += 1;
        }
        let next = session.poll_timeout().ns().min(deadline);
        let wait = Duration::from_nanos((next - os::raw_ns()).max(0) as u64);
        if !wait_readable(&[socket.as_raw_fd()], wait).map_err(system("to wait"))?[0] {
            continue;
        }
        socket.receive(&mut batch).map_err(system("to receive a datagram"))?;
        for datagram in batch.datagrams().filter(|datagram| datagram.from == server) {
            let mut opened = [0; CIRCLE_PACKET_LEN];
            let answer: &[u8] = match &mut nts {
                Some(source) => match source.open(datagram.bytes, &mut opened) {
                    Ok(len) => &opened[..len],
                    Err(error) => {
                        seen.refused = Some(error.to_string());
                        continue;
                    }
                },
                None => datagram.bytes,
            };
            let received = PlatformTime::from_ns(datagram.raw_ns);
            seen.take(&mut session, received, Span::from_ns(datagram.stamp_error_ns), answer);
        }
    }
    seen.conclude(&session, server, nts.is_some())
}

#[derive(Default)]
struct Seen {
    sent: u32,
    used: u32,
    header: Header,
    clock_id: u64,
    tai_minus_utc: Option<Span>,
    round_trip_min: Option<Span>,
    refused: Option<String>,
}

impl Seen {
    fn take(&mut self, session: &mut SyncSession, received: PlatformTime, stamp_error: Span, answer: &[u8]) {
        match session.handle_input(received, stamp_error, answer) {
            Ok(got) => {
                self.used += 1;
                self.clock_id = got.clock_id;
                let round_trip = got.exchange.round_trip();
                self.round_trip_min = Some(self.round_trip_min.map_or(round_trip, |least| least.min(round_trip)));
                if let Ok(answer) = Answer::parse(answer) {
                    self.header = answer.header;
                    self.tai_minus_utc = answer.circle.map(|circle| Span::from_s(i64::from(circle.tai_minus_utc_s)));
                }
            }
            // Not ours to hear: anybody can send such.
            Err(SyncError::Packet(PacketError::NotAsked)) => {}
            Err(error) => self.refused = Some(error.to_string()),
        }
    }

    fn conclude(self, session: &SyncSession, server: SocketAddr, authenticated: bool) -> Result<Measured, IoError> {
        let Some(round_trip_min) = self.round_trip_min else {
            let reason = self.refused.unwrap_or_else(|| {
                format!("no answer to {} requests; check the address, and that UDP is not blocked", self.sent)
            });
            return Err(IoError::NoTime { server: server.to_string(), reason });
        };
        let here = Bracket::take();
        let (raw_ns, realtime_ns, half_width_ns) = here.parts();
        let reading = session.clock().read(PlatformTime::from_ns(raw_ns));
        let tai_minus_utc = self.tai_minus_utc.unwrap_or(session.config().tai_minus_utc);
        let utc = reading.node - tai_minus_utc;
        Ok(Measured {
            server,
            authenticated,
            clock_id: (self.clock_id != 0).then_some(self.clock_id),
            stratum: self.header.stratum,
            refid: self.header.refid,
            leap: self.header.leap,
            offset: Span::from_ns(utc.ns() - realtime_ns),
            bound: reading.bound() + Span::from_ns(half_width_ns),
            server_bound: session.node_bound(),
            round_trip_min,
            sent: self.sent,
            used: self.used,
        })
    }
}
