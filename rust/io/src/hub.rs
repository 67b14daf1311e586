//! One thread and one socket a family for all the platforms of a process.
//!
//! A bedside device has one platform, a simulator or a load test thousands. A thread and a socket each would make the
//! test measure the scheduler; so they share: sealed datagrams name their session, and a sync answer repeats the random
//! number of its request, which is as good a name. A thousand platforms cost a thousand small state machines.
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use harmonia_core::packet;
use harmonia_core::seal;

use crate::error::IoError;
use crate::lock::lock;
use crate::os;
use crate::platform::{Departures, Inner};
use crate::socket::{wait_readable, Batch, Socket};

/// Sync requests of one platform that may be under way at once.
const NONCES_MAX: usize = 8;
/// The longest sleep, so that platforms that were dropped are let go of.
const SLEEP_MAX_NS: i64 = 1_000_000_000;

#[derive(Default)]
struct Entry {
    platform: Weak<Inner>,
    due_raw_ns: i64,
    nonces: VecDeque<u64>,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    timers: BTreeSet<(i64, u64)>,
    sessions: HashMap<u64, u64>,
    nonces: HashMap<u64, u64>,
    next_id: u64,
}

/// The shared thread's handle.
pub struct Hub {
    v4: Socket,
    v6: Option<Socket>,
    state: Mutex<State>,
    waker: UnixStream,
    thread: OnceLock<JoinHandle<()>>,
}

impl State {
    fn schedule(&mut self, id: u64, due_raw_ns: i64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.timers.remove(&(entry.due_raw_ns, id));
            entry.due_raw_ns = due_raw_ns;
            self.timers.insert((due_raw_ns, id));
        }
    }

    /// Services a platform at `due_raw_ns`, if that is before its time.
    fn advance(&mut self, id: u64, due_raw_ns: i64) {
        if self.entries.get(&id).is_some_and(|entry| due_raw_ns < entry.due_raw_ns) {
            self.schedule(id, due_raw_ns);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.timers.remove(&(entry.due_raw_ns, id));
            for nonce in entry.nonces {
                self.nonces.remove(&nonce);
            }
        }
    }

    /// Forgets a platform's session, unless another platform has opened it meanwhile.
    fn forget_session(&mut self, id: u64, session: Option<u64>) {
        if let Some(session) = session.filter(|session| self.sessions.get(session) == Some(&id)) {
            self.sessions.remove(&session);
        }
    }

    fn expect_answer(&mut self, id: u64, nonce: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.nonces.insert(nonce, id);
        entry.nonces.push_back(nonce);
        if entry.nonces.len() > NONCES_MAX {
            if let Some(lost) = entry.nonces.pop_front() {
                self.nonces.remove(&lost);
            }
        }
    }

    fn platform(&self, id: u64) -> Option<Arc<Inner>> {
        self.entries.get(&id)?.platform.upgrade()
    }
}

impl Hub {
    /// The hub of this process, started at the first call.
    pub fn shared() -> Result<Arc<Self>, IoError> {
        static HUB: OnceLock<Arc<Hub>> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = lock(&STARTING);
        if let Some(hub) = HUB.get() {
            return Ok(Arc::clone(hub));
        }
        let bind = |address: &str| {
            let address: SocketAddr = address.parse().expect("an address");
            Socket::bind(address).map_err(|source| IoError::Bind { address, source })
        };
        let pair = || -> std::io::Result<(UnixStream, UnixStream)> {
            let (waker, woken) = UnixStream::pair()?;
            waker.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            Ok((waker, woken))
        };
        let (waker, woken) = pair().map_err(|source| IoError::System { what: "a socket pair", source })?;
        // A machine without IPv6 is no reason to do without a hub.
        let hub = Arc::new(Self {
            v4: bind("0.0.0.0:0")?,
            v6: bind("[::]:0").ok(),
            state: Mutex::default(),
            waker,
            thread: OnceLock::new(),
        });
        let running = Arc::clone(&hub);
        let thread = std::thread::Builder::new()
            .name("harmonia-hub".into())
            .spawn(move || running.run(woken))
            .map_err(|source| IoError::System { what: "a thread", source })?;
        let _ = hub.thread.set(thread);
        Ok(Arc::clone(HUB.get_or_init(|| hub)))
    }

    /// CPU time that the hub's thread has used.
    pub(crate) fn cpu_ns(&self) -> std::io::Result<i64> {
        self.thread.get().map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), os::thread_cpu_ns)
    }

    pub(crate) fn add(&self, platform: &Arc<Inner>) -> u64 {
        let mut state = lock(&self.state);
        let id = state.next_id;
        state.next_id += 1;
        state
            .entries
            .insert(id, Entry { platform: Arc::downgrade(platform), due_raw_ns: i64::MAX, nonces: VecDeque::new() });
        id
    }

    pub(crate) fn connected(&self, id: u64, former: Option<u64>, session: u64) {
        let mut state = lock(&self.state);
        state.forget_session(id, former);
        state.sessions.insert(session, id);
        drop(state);
        self.hurry(id);
    }

    pub(crate) fn remove(&self, id: u64, session: Option<u64>) {
        let mut state = lock(&self.state);
        state.forget_session(id, session);
        state.remove(id);
    }

    /// Services a platform now.
    pub(crate) fn hurry(&self, id: u64) {
        lock(&self.state).schedule(id, 0);
        // A full pipe means that the thread is about to wake anyway.
        let _ = (&self.waker).write(&[0]);
    }

    /// Sends each platform's own at once. What cannot be sent is lost like any datagram: what matters is repeated.
    fn send(&self, departures: &mut Departures) {
        for (socket, v4) in [(Some(&self.v4), true), (self.v6.as_ref(), false)] {
            let items: Vec<_> = departures.items().filter(|(to, _)| to.is_ipv4() == v4).collect();
            match (socket, items.as_slice()) {
                (Some(socket), [(to, bytes)]) => _ = socket.send(bytes, *to),
                (Some(socket), [_, ..]) => _ = socket.send_batch(&items),
                _ => {}
            }
        }
        departures.clear();
    }

    fn run(&self, mut woken: UnixStream) {
        let mut batch = Batch::default();
        let mut fds = vec![woken.as_raw_fd(), self.v4.as_raw_fd()];
        fds.extend(self.v6.as_ref().map(AsRawFd::as_raw_fd));
        loop {
            let next = self.service_due();
            let wait = (next - os::raw_ns()).clamp(0, SLEEP_MAX_NS);
            let Ok(ready) = wait_readable(&fds, Duration::from_nanos(wait as u64)) else { continue };
            if ready[0] {
                let mut drain = [0; 64];
                while woken.read(&mut drain).is_ok_and(|n| n == drain.len()) {}
            }
            for (socket, _) in
                [Some(&self.v4), self.v6.as_ref()].into_iter().flatten().zip(&ready[1..]).filter(|r| *r.1)
            {
                if socket.receive(&mut batch).is_ok() {
                    self.dispatch(&mut batch);
                }
            }
        }
    }

    /// Services every platform whose time has come; returns when the next one's comes.
    fn service_due(&self) -> i64 {
        let mut departures = Departures::default();
        loop {
            let due = {
                let mut state = lock(&self.state);
                match state.timers.first().copied() {
                    Some((due, id)) if due <= os::raw_ns() => match state.platform(id) {
                        Some(platform) => {
                            // Out of the way until it is serviced; a hurry meanwhile puts it back.
                            state.schedule(id, i64::MAX);
                            Some((id, platform))
                        }
                        None => {
                            state.remove(id);
                            continue;
                        }
                    },
                    Some((due, _)) => return due,
                    None => return i64::MAX,
                }
            };
            let Some((id, platform)) = due else { continue };
            let next = platform.service(&mut departures);
            let mut state = lock(&self.state);
            for &nonce in &departures.nonces {
                state.expect_answer(id, nonce);
            }
            let earlier = state.entries.get(&id).map_or(next, |entry| entry.due_raw_ns.min(next));
            state.schedule(id, earlier);
            drop(state);
            self.send(&mut departures);
        }
    }

    fn dispatch(&self, batch: &mut Batch) {
        for datagram in batch.datagrams() {
            let owner = |state: &State, id: Option<&u64>| id.and_then(|id| Some((*id, state.platform(*id)?)));
            if let Some(session) = seal::claimed_session(datagram.bytes) {
                let found = {
                    let state = lock(&self.state);
                    owner(&state, state.sessions.get(&session))
                };
                if let Some((id, platform)) = found {
                    if platform.handle_sealed(datagram.bytes, datagram.raw_ns) {
                        lock(&self.state).schedule(id, 0);
                    }
                }
            } else if let Some(origin) = origin_of_answer(datagram.bytes) {
                let found = {
                    let state = lock(&self.state);
                    owner(&state, state.nonces.get(&origin))
                };
                if let Some((id, platform)) = found {
                    let due = platform.handle_sync(datagram.bytes, datagram.raw_ns, datagram.stamp_error_ns);
                    lock(&self.state).advance(id, due);
                }
            }
        }
    }
}

/// The request's random number that an NTP answer repeats (RFC 5905: the origin timestamp).
fn origin_of_answer(datagram: &[u8]) -> Option<u64> {
    let origin = datagram.get(24..32).filter(|_| packet::is_ntp_answer(datagram))?;
    Some(u64::from_be_bytes(origin.try_into().expect("eight bytes")))
}
