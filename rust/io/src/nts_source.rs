//! A server that is asked with NTS, over and over: key exchanges, cookies, and when to exchange anew.
//!
//! It wraps and unwraps datagrams and sends none itself. A conversation goes:
//! [`NtsSource::exchange`] whenever [`NtsSource::exchange_due`] says so; [`NtsSource::seal`] what a
//! [`harmonia_core::session::SyncSession`] wants sent, and send it to [`NtsSource::server`]; [`NtsSource::open`] what
//! comes from there, and give that to the session.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harmonia_core::nts::{NtsClient, NtsError};
use rustls::ClientConfig;

use crate::entropy::Entropy;
use crate::error::IoError;
use crate::nts_ke::{self, Exchanged};

/// After a failed exchange, and between two in any case: a server in trouble must not be stormed.
const RETRY_MIN_NS: i64 = 8_000_000_000;
/// The longest wait after many failures.
const RETRY_MAX_NS: i64 = 1_024_000_000_000;

/// What a key exchange led to.
pub type KeyExchange = Result<Exchanged, IoError>;

/// One server that speaks NTS. Not shared: whoever talks to the server owns it.
pub struct NtsSource {
    host: String,
    ke_port: u16,
    config: Arc<ClientConfig>,
    entropy: Entropy,
    client: Option<NtsClient>,
    server: Option<SocketAddr>,
    failures: u32,
    retry_raw_ns: i64,
}

impl NtsSource {
    /// A server that keys have not been exchanged with yet. `ca_pem` is what its certificate must be signed by;
    /// without it the system's certificates are trusted. Does not touch the network.
    pub fn new(host: &str, ke_port: u16, ca_pem: Option<&[u8]>) -> Result<Self, IoError> {
        let config = match ca_pem {
            Some(pem) => nts_ke::client_config(pem)?,
            None => {
                let file = nts_ke::SYSTEM_CA_FILE;
                nts_ke::client_config(&std::fs::read(file).map_err(IoError::file(file))?)?
            }
        };
        Ok(Self {
            host: host.to_owned(),
            ke_port,
            config,
            entropy: Entropy::new()?,
            client: None,
            server: None,
            failures: 0,
            retry_raw_ns: i64::MIN,
        })
    }

    /// Whether it is time for [`NtsSource::exchange`]: no keys, no cookies or a NAK, and long enough since the last.
    pub fn exchange_due(&self, raw_ns: i64) -> bool {
        self.client.as_ref().is_none_or(NtsClient::needs_exchange) && raw_ns >= self.retry_raw_ns
    }

    /// Exchanges keys at `raw_ns` on the raw clock. Blocks for `timeout` at most for each address of the host.
    ///
    /// A failure leaves the former keys in place, and doubles the time until [`NtsSource::exchange_due`].
    pub fn exchange(&mut self, raw_ns: i64, timeout: Duration) -> Result<SocketAddr, IoError> {
        let exchange = self.begin(raw_ns, timeout);
        self.finish(raw_ns, exchange())
    }

    /// The first half of [`NtsSource::exchange`], for those who must not block: returns what does, to be called in
    /// another thread, and its result to be given to [`NtsSource::finish`].
    pub fn begin(&mut self, raw_ns: i64, timeout: Duration) -> impl FnOnce() -> KeyExchange + Send + 'static {
        let pause = RETRY_MIN_NS.saturating_mul(1 << self.failures.min(30)).min(RETRY_MAX_NS);
        self.retry_raw_ns = raw_ns.saturating_add(pause);
        let (host, ke_port, config) = (self.host.clone(), self.ke_port, Arc::clone(&self.config));
        move || nts_ke::exchange(&host, ke_port, &config, timeout)
    }

    /// The second half: takes the keys, and returns the server to ask.
    pub fn finish(&mut self, raw_ns: i64, exchange: KeyExchange) -> Result<SocketAddr, IoError> {
        let exchanged = exchange.inspect_err(|_| self.failures = self.failures.saturating_add(1))?;
        self.failures = 0;
        self.retry_raw_ns = raw_ns.saturating_add(RETRY_MIN_NS);
        self.client = Some(NtsClient::new(&exchanged.keys, exchanged.cookies));
        self.server = Some(exchanged.server);
        Ok(exchanged.server)
    }

    /// Where requests go; `None` before the first exchange.
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// Cookies left.
    pub fn cookies(&self) -> usize {
        self.client.as_ref().map_or(0, NtsClient::cookies)
    }

    /// Wraps a session's `request` into `out` (of [`harmonia_core::nts::PACKET_MAX`] bytes); returns the length.
    ///
    /// Errors with [`NtsError::NoCookies`] before the first exchange and when the cookies are used up.
    pub fn seal(&mut self, request: &[u8], out: &mut [u8]) -> Result<usize, NtsError> {
        let client = self.client.as_mut().ok_or(NtsError::NoCookies)?;
        client.seal_request(request, &mut |bytes| self.entropy.fill(bytes), out)
    }

    /// Unwraps an answer into `out` (of [`harmonia_core::packet::CIRCLE_PACKET_LEN`] bytes) for the session; returns
    /// the length. Errors on whatever the server did not make for one of our requests; drop that.
    pub fn open(&mut self, answer: &[u8], out: &mut [u8]) -> Result<usize, NtsError> {
        self.client.as_mut().ok_or(NtsError::NotAsked)?.open_answer(answer, out)
    }
}
