//! The sources that a sanctuary follows: other sanctuaries, or any NTP servers.
//!
//! One [`SyncSession`] a source, all over one socket a family, driven by whichever thread calls [`Sources::run_until`].
//! What they say is judged together by the core's [`Selector`]; what follows from that is [`crate::keeper`]'s.
//!
//! Strangers are asked less often than sanctuaries (they are somebody else's machines), and loops are looked for twice:
//! the selector compares identities, which works through any network; here the address that a stranger names as its
//! own source is compared with ours.
//!
//! A source given as `nts://HOST` is heard only where NTS proves that it is the one: nothing that somebody else sends
//! reaches its session. Its keys are exchanged in a thread of their own, which may wait for seconds, whenever cookies
//! run out or the server says that it does not know them any more; until that has succeeded the source goes on with what
//! it has.
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use harmonia_core::nts::{NtsError, PACKET_MAX};
use harmonia_core::packet::{Header, PacketError, CIRCLE_PACKET_LEN};
use harmonia_core::select::{Report, SelectConfig, Selection, Selector, SourceId, Standing};
use harmonia_core::servo::LockState;
use harmonia_core::session::{SyncConfig, SyncError, SyncSession};
use harmonia_core::stated::Stated;
use harmonia_core::units::{PlatformTime, Span, NS_PER_S};
use sha2::{Digest, Sha256};

use crate::error::IoError;
use crate::nts_source::{KeyExchange, NtsSource};
use crate::os;
use crate::socket::{wait_readable, Batch, Socket};
use crate::tracking::{SourceState, SourceStatus};

/// The port of NTP.
pub const NTP_PORT: u16 = 123;
/// The port of NTS key exchanges, TCP.
pub const NTS_KE_PORT: u16 = 4460;
/// How long a key exchange may take, for each address of its host.
const KE_TIMEOUT: Duration = Duration::from_secs(5);
/// How a stranger's server is asked: no more often than its operators are used to.
fn stranger(stated: Stated) -> SyncConfig {
    SyncConfig {
        interval: Span::from_s(8),
        burst: 4,
        burst_spacing: Span::from_s(1),
        lock_after: 3,
        timeout: Span::from_s(4),
        holdover_after: Span::from_s(40),
        strangers: true,
        ..SyncConfig::default()
    }
    .with(stated)
}

/// How a source is asked that may turn out to be a sanctuary.
fn sanctuary(stated: Stated) -> SyncConfig {
    SyncConfig { strangers: true, ..SyncConfig::default() }.with(stated)
}

/// How often a name without an address is looked up again.
const RESOLVE_AGAIN_NS: i64 = 30 * NS_PER_S;
/// Of two sanctuaries that were told to follow each other, one lets go for this long, so that the other can.
const BARRED_NS: i64 = 60 * NS_PER_S;
const STOP_CHECK_NS: i64 = 100_000_000;

/// A source as an operator names it: `HOST`, `HOST:PORT`, `IPV6` or `[IPV6]:PORT`, any of them after `nts://` for one
/// whose key exchange is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// As it was given.
    pub name: String,
    host: String,
    port: u16,
    nts: bool,
}

/// Whom to follow, and what to rely on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Following {
    /// The sources; nobody: the clock is the root of its own time.
    pub upstreams: Vec<Upstream>,
    /// Who must have signed the certificates of those with NTS (PEM); `None` for the system's certificates.
    pub ca_pem: Option<Vec<u8>>,
    /// The limits of this machine's clock against theirs.
    pub stated: Stated,
}

impl FromStr for Upstream {
    type Err = IoError;

    fn from_str(name: &str) -> Result<Self, IoError> {
        let bad = || IoError::Upstream(name.to_owned());
        let (nts, place) = name.strip_prefix("nts://").map_or((false, name), |place| (true, place));
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
            None if place.parse::<IpAddr>().is_ok() => (place, None),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let usual = if nts { NTS_KE_PORT } else { NTP_PORT };
        let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| bad()))?;
        let strange = |c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c);
        let is_v6 = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        if host.is_empty() || port == 0 || host.contains(strange) || (host.contains(':') && !is_v6) {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), host: host.to_owned(), port, nts })
    }
}

/// What the newest answer said beside the time.
#[derive(Clone, Copy, Default)]
struct Facts {
    root_delay: Span,
    leap: u8,
}

struct Source {
    upstream: Upstream,
    stated: Stated,
    nts: Option<NtsSource>,
    exchanging: Option<mpsc::Receiver<KeyExchange>>,
    key_exchanges: u64,
    address: Option<SocketAddr>,
    /// Our own address on the way there.
    local: Option<IpAddr>,
    resolving: Option<mpsc::Receiver<std::io::Result<SocketAddr>>>,
    resolve_again_raw_ns: i64,
    session: SyncSession,
    stranger: bool,
    facts: Facts,
    reach: u8,
    exchanges: u64,
    heard_raw_ns: i64,
    /// Round trips of the last answers, newest last.
    delays: [Span; 8],
    refusing: bool,
    looping: bool,
    barred_until_raw_ns: i64,
    trouble: String,
}

/// All sources of a sanctuary.
pub(crate) struct Sources {
    sockets: Vec<Socket>,
    batch: Batch,
    list: Vec<Source>,
    selector: Selector,
    own_clock_id: u64,
    following: bool,
    stated: Stated,
}

/// How a sanctuary that follows the clock `clock_id` says so: half of a number that is a hash already.
pub(crate) const fn refid_of_clock(clock_id: u64) -> u32 {
    (clock_id >> 32) as u32
}

/// How a server that follows one at `address` says so (RFC 5905); the hash of a longer address is anybody's choice.
fn refid_of_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => {
            let digest = Sha256::digest(v6.octets());
            u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
        }
    }
}

impl Sources {
    pub(crate) fn new(following: Following, own_clock_id: u64) -> Result<Self, IoError> {
        let bind = |address: &str| {
            let address: SocketAddr = address.parse().expect("an address");
            Socket::bind(address).map_err(|source| IoError::Bind { address, source })
        };
        // A machine without IPv6 (or without IPv4) can follow sources of the other kind.
        let sockets = match (bind("0.0.0.0:0"), bind("[::]:0")) {
            (Ok(v4), v6) => std::iter::once(v4).chain(v6.ok()).collect(),
            (Err(_), Ok(v6)) => vec![v6],
            (Err(error), Err(_)) => return Err(error),
        };
        let Following { upstreams, ca_pem, stated } = following;
        let seed = || os::random_u64().map_err(|source| IoError::System { what: "random bytes", source });
        let nts = |upstream: &Upstream| NtsSource::new(&upstream.host, upstream.port, ca_pem.as_deref());
        let list = upstreams.into_iter().map(|upstream| {
            let nts = upstream.nts.then(|| nts(&upstream)).transpose()?;
            Ok(Source::new(upstream, nts, stated, seed()?))
        });
        let list = list.collect::<Result<_, IoError>>()?;
        Ok(Self {
            sockets,
            batch: Batch::default(),
            list,
            selector: selector(own_clock_id),
            own_clock_id,
            following: false,
            stated,
        })
    }

    /// The limits on which all certificates rest.
    pub(crate) fn stated(&self) -> Stated {
        self.stated
    }

    /// The sources as they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|source| source.upstream.name.as_str())
    }

    /// The raw clock stood still: nothing that was measured before says anything now.
    pub(crate) fn forget(&mut self) {
        for source in &mut self.list {
            source.session.reset();
        }
        self.set_own_clock(self.own_clock_id);
    }

    /// Our clock begins anew: what follows it is another's from now on.
    pub(crate) fn set_own_clock(&mut self, clock_id: u64) {
        self.own_clock_id = clock_id;
        self.selector = selector(clock_id);
        self.report_all(os::raw_ns());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether every source has been measured, or has had its chance.
    pub(crate) fn all_measured(&self) -> bool {
        let now = PlatformTime::from_ns(os::raw_ns());
        self.list.iter().all(|source| source.is_measured(now))
    }

    /// Asks and listens until `raw_ns`, or until told to stop.
    pub(crate) fn run_until(&mut self, raw_ns: i64, stopping: &AtomicBool) {
        let fds: Vec<_> = self.sockets.iter().map(AsRawFd::as_raw_fd).collect();
        while !stopping.load(Ordering::SeqCst) {
            let now = os::raw_ns();
            if now >= raw_ns {
                return;
            }
            let next = self.send_due().min(raw_ns).min(now + STOP_CHECK_NS);
            let wait = Duration::from_nanos((next - os::raw_ns()).max(0) as u64);
            let Ok(ready) = wait_readable(&fds, wait) else { continue };
            for (i, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
                if self.sockets[i].receive(&mut self.batch).is_ok() {
                    for datagram in self.batch.datagrams() {
                        let (raw_ns, error_ns) = (datagram.raw_ns, datagram.stamp_error_ns);
                        // Whoever does not know the nonce is refused by the session; the address only finds it.
                        for source in self.list.iter_mut().filter(|source| source.is_at(datagram.from)) {
                            source.handle(datagram.bytes, raw_ns, error_ns);
                        }
                    }
                    self.report_all(os::raw_ns());
                }
            }
        }
    }

    /// Sends the requests that are due; returns when the next one is, on the raw clock.
    fn send_due(&mut self) -> i64 {
        let mut next = i64::MAX;
        for source in &mut self.list {
            if source.nts.is_some() {
                source.exchange_keys();
            } else {
                source.resolve();
            }
            let Some(to) = source.address else { continue };
            let socket = self.sockets.iter().find(|s| s.local_addr().is_ok_and(|at| at.is_ipv4() == to.is_ipv4()));
            let mut out = [0; CIRCLE_PACKET_LEN];
            if let Some(len) = source.session.poll_transmit(PlatformTime::from_ns(os::raw_ns()), &mut out) {
                source.reach <<= 1;
                let mut sealed = [0; PACKET_MAX];
                let request = match &mut source.nts {
                    Some(nts) => nts.seal(&out[..len], &mut sealed).map(|len| &sealed[..len]),
                    None => Ok(&out[..len]),
                };
                match request.map(|request| socket.map(|socket| socket.send(request, to))) {
                    // Why there are no new ones is more useful to know.
                    Err(error) if source.trouble.is_empty() => source.trouble = error.to_string(),
                    Err(_) | Ok(Some(Ok(()))) => {}
                    Ok(None) => "this machine has no address of that family".clone_into(&mut source.trouble),
                    Ok(Some(Err(error))) => source.trouble = error.to_string(),
                }
            }
            next = next.min(source.session.poll_timeout().ns());
        }
        next
    }

    /// Tells the selector what every source has to say by now.
    fn report_all(&mut self, now_raw_ns: i64) {
        let now = PlatformTime::from_ns(now_raw_ns);
        for (id, source) in (0..).map(SourceId).zip(&mut self.list) {
            let follows_us = source.session.refid() == refid_of_clock(self.own_clock_id);
            if follows_us && self.following && source.session.clock_id().is_some_and(|id| id > self.own_clock_id) {
                source.barred_until_raw_ns = now_raw_ns + BARRED_NS;
            }
            // On loopback everybody has the same address, which therefore says nothing.
            let ours = source.local.filter(|ip| !ip.is_loopback()).map(refid_of_address);
            source.looping = source.session.stratum() > 1 && ours == Some(source.session.refid());
            let barred = now_raw_ns < source.barred_until_raw_ns;
            let heard = source.is_measured(now) && !source.looping && !source.refusing && !barred;
            match Report::of(&source.session).filter(|_| heard) {
                Some(report) => self.selector.update(id, report),
                None => self.selector.remove(id),
            }
        }
    }

    /// Judges all sources as of now.
    pub(crate) fn select(&mut self, raw_ns: i64) -> Selection {
        self.report_all(raw_ns);
        let selection = self.selector.select(PlatformTime::from_ns(raw_ns));
        self.following = selection.estimate.is_some();
        selection
    }

    /// What the reference of a selection says of itself: refid for us, root delay through it, leap indicator.
    pub(crate) fn reference(&self, id: SourceId) -> (u32, Span, u8) {
        let source = &self.list[id.0 as usize];
        let refid = match source.session.clock_id() {
            Some(clock_id) if clock_id != 0 => refid_of_clock(clock_id),
            _ => source.address.map_or(0, |address| refid_of_address(address.ip())),
        };
        (refid, source.facts.root_delay + source.delay(), source.facts.leap)
    }

    /// How each source stands; offsets are against `node − raw` now.
    pub(crate) fn status(&self, raw_ns: i64, node_minus_raw_ns: i64, selection: &Selection) -> Vec<SourceStatus> {
        let standing = |id: SourceId| selection.standings.iter().find(|(other, _)| *other == id).map(|(_, s)| *s);
        (0..)
            .map(SourceId)
            .zip(&self.list)
            .map(|(id, source)| source.status(raw_ns, node_minus_raw_ns, standing(id), selection.reference == Some(id)))
            .collect()
    }
}

fn selector(own_clock_id: u64) -> Selector {
    Selector::new(SelectConfig { own_clock_id, own_refid: refid_of_clock(own_clock_id), ..SelectConfig::default() })
}

impl Source {
    fn new(upstream: Upstream, nts: Option<NtsSource>, stated: Stated, seed: u64) -> Self {
        Self {
            upstream,
            stated,
            nts,
            exchanging: None,
            key_exchanges: 0,
            address: None,
            local: None,
            resolving: None,
            resolve_again_raw_ns: i64::MIN,
            session: SyncSession::new(sanctuary(stated), seed),
            stranger: false,
            facts: Facts::default(),
            reach: 0,
            exchanges: 0,
            heard_raw_ns: 0,
            delays: [Span::from_ns(i64::MAX); 8],
            refusing: false,
            looping: false,
            barred_until_raw_ns: i64::MIN,
            trouble: String::new(),
        }
    }

    /// Looks the name up in a thread of its own: resolvers wait for seconds, and other sources must not.
    fn resolve(&mut self) {
        if let Some(answer) = self.resolving.as_ref().and_then(|waiting| waiting.try_recv().ok()) {
            self.resolving = None;
            match answer {
                Ok(address) => {
                    self.trouble.clear();
                    self.local = local_address(address);
                    self.address = Some(address);
                }
                Err(error) => self.trouble = error.to_string(),
            }
        }
        let now = os::raw_ns();
        if self.address.is_none() && self.resolving.is_none() && now >= self.resolve_again_raw_ns {
            self.resolve_again_raw_ns = now + RESOLVE_AGAIN_NS;
            if let Ok(ip) = self.upstream.host.parse::<IpAddr>() {
                let address = SocketAddr::new(ip, self.upstream.port);
                (self.address, self.local) = (Some(address), local_address(address));
                return;
            }
            let (tell, hear) = mpsc::channel();
            let Upstream { host, port, .. } = self.upstream.clone();
            let looking = std::thread::Builder::new().name("harmonia-resolver".into()).spawn(move || {
                let found = crate::node::resolve(&host, port).map_err(|error| std::io::Error::other(error.to_string()));
                let _ = tell.send(found);
            });
            self.resolving = looking.is_ok().then_some(hear);
        }
    }

    /// Exchanges keys when that is due, in a thread of its own: it takes round trips, or waits for seconds in vain.
    fn exchange_keys(&mut self) {
        let Some(nts) = &mut self.nts else { return };
        let now = os::raw_ns();
        match self.exchanging.as_ref().map(mpsc::Receiver::try_recv) {
            None if nts.exchange_due(now) => {
                let exchange = nts.begin(now, KE_TIMEOUT);
                let (tell, hear) = mpsc::channel();
                let asking = std::thread::Builder::new().name("harmonia-keys".into()).spawn(move || {
                    let _ = tell.send(exchange());
                });
                self.exchanging = asking.is_ok().then_some(hear);
            }
            None | Some(Err(mpsc::TryRecvError::Empty)) => {}
            Some(Err(mpsc::TryRecvError::Disconnected)) => self.exchanging = None,
            Some(Ok(exchanged)) => {
                self.exchanging = None;
                match nts.finish(now, exchanged) {
                    Ok(server) => {
                        self.key_exchanges += 1;
                        self.trouble.clear();
                        if self.address.replace(server).is_some_and(|former| former != server) {
                            // Another server, which need not agree with the one before.
                            self.session.reset();
                        }
                        self.local = local_address(server);
                    }
                    Err(error) => self.trouble = error.to_string(),
                }
            }
        }
    }

    fn is_at(&self, from: SocketAddr) -> bool {
        self.address.is_some_and(|at| at.ip() == from.ip() && at.port() == from.port())
    }

    fn is_measured(&self, now: PlatformTime) -> bool {
        let locked = matches!(self.session.clock().state_at(now), LockState::Locked | LockState::Holdover);
        locked && self.reach != 0
    }

    fn delay(&self) -> Span {
        self.delays.into_iter().min().filter(|_| self.exchanges > 0).unwrap_or_default()
    }

    fn handle(&mut self, datagram: &[u8], raw_ns: i64, stamp_error_ns: i64) {
        let mut opened = [0; CIRCLE_PACKET_LEN];
        let datagram = match self.nts.as_mut().map(|nts| nts.open(datagram, &mut opened)) {
            None => datagram,
            Some(Ok(len)) => &opened[..len],
            // These answer a request of ours, whoever sent them; all else says nothing about the source.
            Some(Err(error @ (NtsError::Nak | NtsError::Unauthenticated | NtsError::Forged))) => {
                self.trouble = error.to_string();
                return;
            }
            Some(Err(_)) => return,
        };
        let heard = self.session.handle_input(PlatformTime::from_ns(raw_ns), Span::from_ns(stamp_error_ns), datagram);
        match heard {
            Ok(received) => {
                let Ok(header) = Header::parse(datagram) else { return };
                self.reach |= 1;
                self.exchanges += 1;
                self.heard_raw_ns = raw_ns;
                self.refusing = false;
                self.trouble.clear();
                self.delays.rotate_left(1);
                self.delays[7] = received.exchange.round_trip().max(Span::ZERO);
                self.facts = Facts { root_delay: root_delay(&header), leap: header.leap };
                if received.clock_id == 0 && !self.stranger {
                    // Nothing of what was heard is lost but one answer.
                    self.stranger = true;
                    let seed = os::random_u64().unwrap_or(raw_ns as u64);
                    self.session = SyncSession::new(stranger(self.stated), seed);
                }
            }
            // Anybody can send anything: what was not asked for says nothing about the source.
            Err(SyncError::Packet(PacketError::NotAsked)) => {}
            Err(error) => {
                self.refusing |= matches!(error, SyncError::Packet(PacketError::Kiss(_) | PacketError::Unsynchronised));
                self.trouble = error.to_string();
            }
        }
    }

    fn status(
        &self,
        raw_ns: i64,
        node_minus_raw_ns: i64,
        standing: Option<Standing>,
        is_reference: bool,
    ) -> SourceStatus {
        let now = PlatformTime::from_ns(raw_ns);
        let state = match standing {
            _ if self.address.is_none() => SourceState::Unresolved,
            _ if self.refusing => SourceState::Refusing,
            _ if self.looping || raw_ns < self.barred_until_raw_ns => SourceState::Loop,
            _ if self.reach == 0 => SourceState::Silent,
            None => SourceState::Measuring,
            Some(Standing::Truechimer) if is_reference => SourceState::Selected,
            Some(Standing::Truechimer | Standing::Duplicate) => SourceState::Candidate,
            Some(Standing::Falseticker) => SourceState::Falseticker,
            Some(Standing::Disputed) => SourceState::Undecided,
            Some(Standing::Stale) => SourceState::Silent,
            Some(Standing::Loop) => SourceState::Loop,
            Some(Standing::Unsynchronised) => SourceState::Refusing,
        };
        let estimate = self.session.estimate();
        let (offset, bound, uncertainty, rate_ppb) = estimate.map_or_else(Default::default, |estimate| {
            let dt = (now - estimate.at).as_s_f64();
            let likely = estimate.base_ns + (estimate.offset_ns + estimate.rate_ppb * dt) as i64;
            let (low, high) = estimate.certified.offset_at(now);
            let width = high.saturating_sub(likely).max(likely.saturating_sub(low));
            (
                Span::from_ns(likely.saturating_sub(node_minus_raw_ns)),
                Span::from_ns(width) + self.session.node_bound(),
                Span::from_ns(estimate.uncertainty_after(dt).ceil() as i64),
                estimate.rate_ppb.round() as i64,
            )
        });
        SourceStatus {
            name: self.upstream.name.clone(),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            state,
            clock_id: self.session.clock_id().unwrap_or(0),
            stratum: if self.exchanges > 0 { self.session.stratum() } else { 0 },
            refid: self.session.refid(),
            offset,
            bound,
            uncertainty,
            delay: self.delay(),
            rate_ppb,
            reach: self.reach,
            exchanges: self.exchanges,
            age: Span::from_ns(if self.exchanges > 0 { raw_ns - self.heard_raw_ns } else { -1 }),
            authenticated: self.nts.is_some() && self.exchanges > 0,
            cookies: self.nts.as_ref().map_or(0, NtsSource::cookies),
            key_exchanges: self.key_exchanges,
            stated: self.stated,
            trouble: self.trouble.clone(),
        }
    }
}

/// The header's root delay, 16.16 s.
fn root_delay(header: &Header) -> Span {
    Span::from_ns(((u64::from(header.root_delay) * NS_PER_S as u64) >> 16) as i64)
}

/// Our own address on the way to `to`; nothing is sent for it.
fn local_address(to: SocketAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = std::net::UdpSocket::bind(any).ok()?;
    probe.connect(to).ok()?;
    Some(probe.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_operators_do() {
        let parsed = |name: &str| name.parse::<Upstream>().map(|u| (u.host, u.port)).ok();
        let nts = |name: &str| name.parse::<Upstream>().unwrap().nts;
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("ntp.example.org"), is("ntp.example.org", 123));
        assert_eq!(parsed("ntp.example.org:7117"), is("ntp.example.org", 7117));
        assert_eq!(parsed("192.0.2.1:99"), is("192.0.2.1", 99));
        assert_eq!(parsed("2001:db8::1"), is("2001:db8::1", 123));
        assert_eq!(parsed("[2001:db8::1]"), is("2001:db8::1", 123));
        assert_eq!(parsed("[2001:db8::1]:99"), is("2001:db8::1", 99));
        assert_eq!(parsed("nts://time.example.org"), is("time.example.org", 4460));
        assert_eq!(parsed("nts://time.example.org:99"), is("time.example.org", 99));
        assert_eq!(parsed("nts://[2001:db8::1]:99"), is("2001:db8::1", 99));
        assert!(nts("nts://time.example.org") && !nts("time.example.org"));
        for bad in [
            "nts://",
            "nts://nts://a",
            "NTS://a",
            ":1",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "[::1",
            "[::1]x",
            "a b",
            "a:b:c",
            "http://a",
        ] {
            let refused = bad.parse::<Upstream>().expect_err(bad).to_string();
            assert!(refused.contains(&format!("{bad:?}")) && refused.contains("HOST:PORT"), "{refused}");
        }
    }
}
