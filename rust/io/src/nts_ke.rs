//! NTS key establishment on the wire: TLS 1.3 over TCP, both sides.
//!
//! The records and what they mean are in `harmonia_core::nts::ke`; here are the sockets, the certificates and the
//! limits. A key exchange is the one thing that a stranger can make a sanctuary work for, so it is bounded on all sides:
//! so many at once, so many of them from one address, and so many seconds and bytes for each. Whoever is too much is
//! disconnected without a word; a client tries again.
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::ke::{self, Agreement, Choice, KeClient, KeServer};
use harmonia_core::nts::Keys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection};

use crate::error::IoError;
use crate::lock::lock;
use crate::socket::wait_readable;

/// Key exchanges that are served at once.
pub const CONNECTIONS_MAX: usize = 64;
/// Of those, how many may come from one address.
pub const CONNECTIONS_OF_ONE_MAX: usize = 16;
/// How long a key exchange may take, from the first byte to the last.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The certificates that a client trusts unless told which: where Debian and most others keep the public ones.
pub const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
const STOP_CHECK: Duration = Duration::from_millis(100);

fn unusable(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> IoError {
    move |reason| IoError::Certificate { what, reason: reason.to_string() }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, IoError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| unusable(what)(&error))?;
    if all.is_empty() {
        return Err(unusable(what)(&"there is no certificate in it"));
    }
    Ok(all)
}

fn server_config(certificate_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, IoError> {
    let chain = certificates(certificate_pem, "the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| unusable("the private key")(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable("the certificate with its key")(&error))?;
    config.alpn_protocols = vec![ke::ALPN.to_vec()];
    // A client comes back in days, if at all.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What a client trusts: the certificate authorities in `ca_pem`.
pub fn client_config(ca_pem: &[u8]) -> Result<Arc<ClientConfig>, IoError> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates(ca_pem, "the CA's certificate")?);
    if usable == 0 {
        return Err(unusable("the CA's certificate")(&"no certificate in it can sign others"));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("the CA's certificate")(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ke::ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// A stream whose every read and write ends at one deadline, so that nobody can drip bytes for ever.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

/// A blocking socket's time-out says WouldBlock; people read "timed out".
fn as_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::ErrorKind::TimedOut.into()
    } else {
        error
    }
}

impl Read for Timed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(out).map_err(as_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends derive the same keys from their TLS session (RFC 8915, section 5.1).
fn export_keys<S>(tls: &ConnectionCommon<S>, algorithm: Algorithm) -> Result<Keys, rustls::Error> {
    let key = |to_client| {
        let mut key = [0; 32];
        let context = ke::exporter_context(algorithm, to_client);
        tls.export_keying_material(&mut key[..algorithm.key_len()], ke::EXPORTER_LABEL, Some(&context))?;
        Ok::<_, rustls::Error>(key)
    };
    Ok(Keys::new(algorithm, &key(false)?, &key(true)?))
}

/// Makes the first cookies for new keys.
pub type Bake = Arc<dyn Fn(&Keys) -> Vec<Vec<u8>> + Send + Sync>;

/// Key exchanges since the start.
#[derive(Default, Debug)]
pub struct KeStats {
    /// Those that ended with cookies.
    pub served: AtomicU64,
    /// Those that did not: no TLS, no agreement, too slow, too many.
    pub failed: AtomicU64,
}

/// The server: listens in a thread of its own until dropped.
pub struct KeListener {
    port: u16,
    stats: Arc<KeStats>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Who is being served, so that no one address has all places.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// A place that is free again when dropped.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = lock(&self.0);
        let all: usize = taken.values().sum();
        let own = taken.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *own >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *own += 1;
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.0);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

impl KeListener {
    /// Listens on `address` (port 0 for any) with this certificate chain and key (PEM), and sends clients on to the NTP
    /// server at `ntp_port` of the same address.
    ///
    /// Errors if the certificate or its key cannot be used, or the address cannot be bound.
    pub fn start(
        address: SocketAddr,
        certificate_pem: &[u8],
        key_pem: &[u8],
        ntp_port: u16,
        bake: Bake,
    ) -> Result<Self, IoError> {
        let config = Arc::new(server_config(certificate_pem, key_pem)?);
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?.port(), listener))
        };
        let (port, listener) = bind().map_err(|source| IoError::BindTcp { address, source })?;
        let stats = Arc::new(KeStats::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (shared_stats, stop) = (Arc::clone(&stats), Arc::clone(&stopping));
        let thread = std::thread::Builder::new()
            .name("harmonia-nts-ke".into())
            .spawn(move || accept(&listener, &config, ntp_port, &bake, &shared_stats, &stop))
            .map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { port, stats, stopping, thread: Some(thread) })
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The counters.
    pub fn stats(&self) -> &KeStats {
        &self.stats
    }
}

impl Drop for KeListener {
    /// Frees the port. Exchanges that are under way end by themselves.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    ntp_port: u16,
    bake: &Bake,
    stats: &Arc<KeStats>,
    stop: &AtomicBool,
) {
    let places = Arc::new(Places::default());
    while !stop.load(Ordering::SeqCst) {
        if !wait_readable(&[listener.as_raw_fd()], STOP_CHECK).is_ok_and(|ready| ready[0]) {
            continue;
        }
        let Ok((stream, from)) = listener.accept() else {
            // No descriptors left, perhaps: trying again at once would only burn time.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let Some(place) = places.take(from.ip().to_canonical()) else {
            stats.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (config, bake, stats) = (Arc::clone(config), Arc::clone(bake), Arc::clone(stats));
        // Without a thread for it the connection is dropped, and its place with it.
        let _ = std::thread::Builder::new().name("harmonia-nts-ke".into()).spawn(move || {
            let _place = place;
            let counter = match serve(stream, config, ntp_port, &bake) {
                Ok(true) => &stats.served,
                Ok(false) | Err(_) => &stats.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// One key exchange; whether it ended with cookies.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, ntp_port: u16, bake: &Bake) -> io::Result<bool> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let mut timed = Timed { stream, deadline: Instant::now() + EXCHANGE_TIMEOUT };
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut machine = KeServer::default();
    let mut room = [0; 1024];
    let choice = loop {
        let len = rustls::Stream::new(&mut tls, &mut timed).read(&mut room)?;
        if len == 0 || tls.alpn_protocol() != Some(ke::ALPN) {
            return Ok(false);
        }
        match machine.handle_input(&room[..len]) {
            Ok(None) => {}
            Ok(Some(choice)) => break Ok(choice),
            Err(error) => break Err(error),
        }
    };
    let (answer, agreed) = match choice {
        Ok(choice @ Choice::Agreed(algorithm)) => {
            let keys = export_keys(&tls, algorithm).map_err(io::Error::other)?;
            (KeServer::response(choice, &bake(&keys), ntp_port), true)
        }
        Ok(choice) => (KeServer::response(choice, &[], ntp_port), false),
        Err(error) => (KeServer::refusal(error.code()), false),
    };
    rustls::Stream::new(&mut tls, &mut timed).write_all(&answer)?;
    tls.send_close_notify();
    tls.complete_io(&mut timed)?;
    Ok(agreed)
}

/// What a key exchange has given a client.
#[derive(Debug)]
pub struct Exchanged {
    /// The keys.
    pub keys: Keys,
    /// One to eight cookies.
    pub cookies: Vec<Vec<u8>>,
    /// The NTP server to ask.
    pub server: SocketAddr,
}

/// Exchanges keys with the NTS-KE server at `host:port`, which must show a certificate for `host` that `config`
/// trusts. Blocks for `timeout` at most, once for each address that the host has.
///
/// Errors with what to do about it: no address, no connection, a certificate that is not trusted, no agreement.
pub fn exchange(host: &str, port: u16, config: &Arc<ClientConfig>, timeout: Duration) -> Result<Exchanged, IoError> {
    let resolve = |host: &str, port: u16| -> Result<Vec<SocketAddr>, IoError> {
        let failed = |source| IoError::Resolve { host: host.to_owned(), source };
        Ok((host, port).to_socket_addrs().map_err(failed)?.collect())
    };
    let failed = |reason: String| IoError::KeyExchange { host: host.to_owned(), port, reason };
    let mut last = failed("the name has no address".into());
    for address in resolve(host, port)? {
        match exchange_with(host, address, config, timeout) {
            Ok((keys, agreement)) => {
                let server = match &agreement.server {
                    Some(name) => {
                        let all = resolve(name, agreement.port)?;
                        all.first().copied().ok_or_else(|| failed(format!("its NTP server {name} has no address")))?
                    }
                    None => SocketAddr::new(address.ip(), agreement.port),
                };
                return Ok(Exchanged { keys, cookies: agreement.cookies, server });
            }
            Err(error) => last = failed(error.to_string()),
        }
    }
    Err(last)
}

fn exchange_with(
    host: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    timeout: Duration,
) -> io::Result<(Keys, Agreement)> {
    let deadline = Instant::now() + timeout;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    let mut timed = Timed { stream, deadline };
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut machine = KeClient::new(&Algorithm::ALL);
    rustls::Stream::new(&mut tls, &mut timed).write_all(&machine.request())?;
    if tls.alpn_protocol() != Some(ke::ALPN) {
        return Err(io::Error::other("the server speaks TLS, but not NTS-KE; check the port"));
    }
    let mut room = [0; 4096];
    let agreement = loop {
        let len = rustls::Stream::new(&mut tls, &mut timed).read(&mut room)?;
        if len == 0 {
            return Err(io::Error::other("the server closed the connection before its answer was complete"));
        }
        if let Some(agreement) = machine.handle_input(&room[..len]).map_err(io::Error::other)? {
            break agreement;
        }
    };
    let keys = export_keys(&tls, agreement.algorithm).map_err(io::Error::other)?;
    tls.send_close_notify();
    // The answer is here; whether the goodbye arrives is nobody's concern.
    let _ = tls.write_tls(&mut timed);
    Ok((keys, agreement))
}
