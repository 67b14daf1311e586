//! What an answer costs: the node's responder beside a server that does nothing but send back what it received.
//!
//! A rate on loopback says more about the machine, and about who else is using it, than about the code. So what is
//! measured is CPU time of the answering thread alone, by the kernel's own count; and the measure of all things is a
//! bare echo over the same sockets with the same batches, in the same run, in slices that alternate with the node's:
//! whatever disturbs one disturbs the other. The client that loads them is another thread and is not counted.
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harmonia_core::nts::aead::Algorithm;
use harmonia_core::nts::{Keys, NtsClient, PACKET_MAX};
use harmonia_core::packet::{self, Header, CIRCLE_PACKET_LEN, HEADER_LEN};

use crate::entropy::Entropy;
use crate::error::IoError;
use crate::node::Node;
use crate::os;
use crate::socket::{wait_readable_one, Batch, Socket, BATCH};

/// How long one kind of load lasts before it is the next one's turn.
const SLICE: Duration = Duration::from_millis(50);
/// Batches that are under way at once: a server that is woken by every datagram would be measured for its waking.
const BATCHES: usize = 4;
/// The client sends more when everything was answered, or this has passed.
const LOST_AFTER: Duration = Duration::from_millis(20);
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Answers, and what they cost.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cost {
    /// How many were sent.
    pub answers: u64,
    /// CPU time of the thread that sent them.
    pub cpu_ns: i64,
}

impl Cost {
    /// Answers a second of CPU time.
    pub fn per_cpu_s(&self) -> f64 {
        self.answers as f64 * 1e9 / self.cpu_ns.max(1) as f64
    }
}

/// What a run measured.
#[derive(Clone, Copy, Debug)]
pub struct ClockBench {
    /// The bare echo of a plain request's 48 bytes.
    pub echo: Cost,
    /// Plain NTP requests.
    pub plain: Cost,
    /// Requests with the circle's field.
    pub circle: Cost,
    /// Requests under NTS with AEAD_AES_SIV_CMAC_256, and a fresh cookie in each answer.
    pub nts: Cost,
    /// The same with AEAD_AES_128_GCM_SIV.
    pub nts_gcm_siv: Cost,
}

/// A server that sends back what it receives.
struct Echo {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Result<Self, IoError> {
        let (socket, address) = bind(Socket::bind_bare)?;
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, counter) = (Arc::clone(&stop), Arc::clone(&answered));
        let serve = move || {
            let mut batch = Batch::default();
            while !stopping.load(Ordering::SeqCst) {
                if !socket.receive_unstamped(&mut batch).is_ok_and(|count| count > 0) {
                    let _ = wait_readable_one(socket.as_raw_fd(), STOP_CHECK);
                    continue;
                }
                for i in 0..batch.len() {
                    batch.answer(i, batch.len_of(i));
                }
                counter.fetch_add(socket.send_answers(&mut batch) as u64, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("harmonia-echo".into()).spawn(serve);
        let thread = thread.map_err(|source| IoError::System { what: "a thread", source })?;
        Ok(Self { stop, answered, thread: Some(thread), address })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn bind(how: impl Fn(SocketAddr) -> std::io::Result<Socket>) -> Result<(Socket, SocketAddr), IoError> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let refused = |source| IoError::Bind { address, source };
    let socket = how(address).map_err(refused)?;
    let bound = socket.local_addr().map_err(refused)?;
    Ok((socket, bound))
}

/// A folder of this run's own, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn make(name: &str) -> Result<Self, IoError> {
        let name = format!("harmonia-bench-{name}-{}-{}", std::process::id(), os::raw_ns());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).map_err(IoError::file(&folder.0))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends batches of `requests` for a slice and waits for the answers.
fn load(socket: &Socket, to: SocketAddr, requests: &[Vec<u8>], batch: &mut Batch) {
    let items: Vec<_> = requests.iter().cycle().take(BATCHES * BATCH).map(|request| (to, request.as_slice())).collect();
    let end = Instant::now() + SLICE;
    while Instant::now() < end {
        let sent = socket.send_batch(&items);
        let (mut answered, patience) = (0, Instant::now() + LOST_AFTER);
        while answered < sent {
            let left = patience.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let _ = wait_readable_one(socket.as_raw_fd(), left);
            answered += socket.receive_unstamped(batch).unwrap_or(0);
        }
    }
}

/// Requests as `algorithm`'s clients send them, each with a cookie and wanting one.
fn protected(node: &Node, entropy: &mut Entropy, algorithm: Algorithm) -> Result<Vec<Vec<u8>>, IoError> {
    let (mut c2s, mut s2c) = ([0; 32], [0; 32]);
    entropy.fill(&mut c2s);
    entropy.fill(&mut s2c);
    let keys = Keys::new(algorithm, &c2s, &s2c);
    (0..BATCH)
        .map(|_| {
            // With all its cookies, a client asks for no more than it spends.
            let mut client = NtsClient::new(&keys, node.bake(&keys));
            let mut out = [0; PACKET_MAX];
            let len = client.seal_request(&plain(), &mut |bytes| entropy.fill(bytes), &mut out);
            len.map(|len| out[..len].to_vec()).map_err(|_| IoError::State("a fresh client has cookies"))
        })
        .collect()
}

/// A request as any NTP client sends it.
fn plain() -> [u8; HEADER_LEN] {
    Header { version: 4, mode: 3, transmit: packet::NtpTimestamp(7), ..Header::default() }.to_bytes()
}

/// Measures for about `seconds`. A node of its own answers; nothing else on the machine is touched.
pub fn clock(seconds: f64) -> Result<ClockBench, IoError> {
    let folder = Folder::make("clock")?;
    let node = Node::start("127.0.0.1", 0, &folder.0.join("clock"))?;
    let echo = Echo::start()?;
    let (client, _) = bind(Socket::bind_bare)?;
    let mut entropy = Entropy::new()?;
    let mut circle = [0; CIRCLE_PACKET_LEN];
    packet::write_request(7, &mut circle).map_err(|_| IoError::State("a request fits its buffer"))?;
    let requests = [
        vec![plain().to_vec(); BATCH],
        vec![plain().to_vec(); BATCH],
        vec![circle.to_vec(); BATCH],
        protected(&node, &mut entropy, Algorithm::AesSivCmac256)?,
        protected(&node, &mut entropy, Algorithm::Aes128GcmSiv)?,
    ];
    let to_node = SocketAddr::from(([127, 0, 0, 1], node.port()));
    let count = |kind: usize| -> Result<Cost, IoError> {
        let system = |source| IoError::System { what: "a thread's CPU time", source };
        let thread = echo.thread.as_ref().ok_or(IoError::State("the echo has ended"))?;
        Ok(if kind == 0 {
            Cost { answers: echo.answered.load(Ordering::Relaxed), cpu_ns: os::thread_cpu_ns(thread).map_err(system)? }
        } else {
            let answers = node.stats().answered.load(Ordering::Relaxed);
            Cost { answers, cpu_ns: node.responder_cpu_ns().map_err(system)? }
        })
    };
    let mut costs = [Cost::default(); 5];
    let mut batch = Batch::default();
    let begin = Instant::now();
    // The first round warms caches and frequencies, and does not count.
    let mut round = 0;
    while round < 2 || begin.elapsed().as_secs_f64() < seconds {
        for (kind, requests) in requests.iter().enumerate() {
            let before = count(kind)?;
            load(&client, if kind == 0 { echo.address } else { to_node }, requests, &mut batch);
            let after = count(kind)?;
            if round > 0 {
                costs[kind].answers += after.answers - before.answers;
                costs[kind].cpu_ns += after.cpu_ns - before.cpu_ns;
            }
        }
        round += 1;
    }
    let [echo, plain, circle, nts, nts_gcm_siv] = costs;
    Ok(ClockBench { echo, plain, circle, nts, nts_gcm_siv })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_measured_was_answered() {
        let measured = clock(0.0).unwrap();
        for cost in [measured.echo, measured.plain, measured.circle, measured.nts, measured.nts_gcm_siv] {
            assert!(cost.answers >= BATCH as u64 && cost.cpu_ns > 0, "{measured:?}");
        }
    }

    #[test]
    fn protected_requests_are_answered_under_protection() {
        let folder = Folder::make("nts").unwrap();
        let node = Node::start("127.0.0.1", 0, &folder.0.join("clock")).unwrap();
        let requests = protected(&node, &mut Entropy::new().unwrap(), Algorithm::AesSivCmac256).unwrap();
        let (client, _) = bind(Socket::bind_bare).unwrap();
        load(&client, SocketAddr::from(([127, 0, 0, 1], node.port())), &requests, &mut Batch::default());
        let answers = &node.stats().answers;
        assert!(answers.protected.load(Ordering::Relaxed) > 0);
        assert_eq!(answers.naks.load(Ordering::Relaxed), 0);
    }
}
