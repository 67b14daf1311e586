//! A platform and its servers on a simulated network, in simulated time.
//!
//! The platform runs the very sessions, selector and servo that it runs over sockets, and every packet is written and
//! read. True time is the servers' common time, in ns; a server may be wrong by a constant that the scenario sets.
use std::collections::BinaryHeap;

use harmonia_core::packet::{self, NodeInfo};
use harmonia_core::pool::{PoolConfig, SourcePool};
use harmonia_core::select::{Report, Selection, SourceId};
use harmonia_core::servo::DisciplinedClock;
use harmonia_core::session::{Received, SyncConfig, SyncSession};
use harmonia_core::units::{NodeTime, PlatformTime, Span};

use crate::dice::Dice;
use crate::world::{Crystal, Queue, Way, WrongClock, S, US};

/// The servers' time at the beginning: a plausible today.
pub const TODAY_NS: i64 = 1_767_225_600 * S;

/// A server and the path to it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The way to it.
    pub up: Way,
    /// And back.
    pub down: Way,
    /// How far its clock is ahead of true time.
    pub wrong_ns: i64,
    /// Which clock it is.
    pub clock_id: u64,
    /// Whether its process is alive.
    pub alive: bool,
    session: SyncSession,
    queues: [Queue; 2],
}

struct Flight {
    arrives_ns: i64,
    order: u64,
    source: usize,
    to_server: bool,
    bytes: Vec<u8>,
}

// The heap's greatest is the earliest arrival; of two at once, the one sent first.
impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.arrives_ns, other.order).cmp(&(self.arrives_ns, self.order))
    }
}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Flight {}

/// The whole of it.
pub struct Net {
    /// True time.
    pub now_ns: i64,
    /// What somebody added to all servers' clocks: from then on that is the truth.
    stepped_ns: i64,
    /// For how long the platform was suspended, in all.
    asleep_ns: i64,
    /// The servers; the scenario may change them under way.
    pub sources: Vec<Source>,
    /// The platform's clock.
    pub clock: WrongClock,
    /// What the pool said last, if there is one.
    pub selection: Option<Selection>,
    /// Exchanges used: true time, and what the session made of it.
    pub heard: Vec<(i64, Received)>,
    pool: Option<SourcePool>,
    flights: BinaryHeap<Flight>,
    order: u64,
    dice: Dice,
}

impl Net {
    /// A platform for so many seconds. With a pool, all servers lead its clock together; without, the first does.
    pub fn new(
        config: SyncConfig,
        pooled: bool,
        ways: &[(Way, Way)],
        crystal: &Crystal,
        seconds: i64,
        seed: u64,
    ) -> Self {
        let mut dice = Dice::new(seed);
        let clock = WrongClock::new(crystal, seconds, &mut dice);
        let source = |(index, &(up, down)): (usize, &(Way, Way))| Source {
            up,
            down,
            wrong_ns: 0,
            clock_id: index as u64 + 1,
            alive: true,
            session: SyncSession::new(config, seed.wrapping_mul(31).wrapping_add(index as u64)),
            queues: [Queue::default(); 2],
        };
        let sources = ways.iter().enumerate().map(source).collect();
        let pool = pooled.then(|| {
            let servo = config.servo();
            SourcePool::new(PoolConfig { servo, lock_after: config.lock_after, ..PoolConfig::default() })
        });
        let mut net = Self {
            now_ns: 0,
            stepped_ns: 0,
            asleep_ns: 0,
            sources,
            clock,
            selection: None,
            heard: Vec::new(),
            pool,
            flights: BinaryHeap::new(),
            order: 0,
            dice,
        };
        net.look_asleep();
        net
    }

    /// What the platform's own clock reads now.
    pub fn platform_now(&self) -> PlatformTime {
        self.clock.read(self.now_ns)
    }

    /// What its disciplined clock should show now.
    pub fn true_now(&self) -> NodeTime {
        NodeTime::from_ns(TODAY_NS + self.now_ns + self.stepped_ns)
    }

    /// Somebody sets all servers' clocks forward.
    pub fn step_servers(&mut self, by_ns: i64) {
        self.stepped_ns += by_ns;
    }

    /// Its disciplined clock.
    pub fn disciplined(&self) -> DisciplinedClock {
        match &self.pool {
            Some(pool) => pool.clock(),
            None => self.sources[0].session.clock(),
        }
    }

    /// The platform is suspended: the servers' time goes on, its own clock stands still. It looks before anybody reads
    /// its clock, as `Platform` does; what is under way arrives nevertheless.
    pub fn suspend(&mut self, asleep_ns: i64) {
        self.stepped_ns += asleep_ns;
        self.asleep_ns += asleep_ns;
        self.look_asleep();
        if let Some(pool) = &mut self.pool {
            pool.reset();
        }
    }

    fn look_asleep(&mut self) {
        for source in &mut self.sources {
            source.session.note_asleep(Span::from_ns(self.asleep_ns));
        }
    }

    fn send(&mut self, index: usize, to_server: bool, at_ns: i64, bytes: Vec<u8>) {
        let source = &mut self.sources[index];
        let (way, queue) =
            if to_server { (&source.up, &mut source.queues[0]) } else { (&source.down, &mut source.queues[1]) };
        if let Some(delay) = queue.delay_ns(way, at_ns, &mut self.dice) {
            self.order += 1;
            let (arrives_ns, order) = (at_ns + delay, self.order);
            self.flights.push(Flight { arrives_ns, order, source: index, to_server, bytes });
        }
    }

    /// When which session wants to ask next.
    fn next_request(&self) -> (i64, usize) {
        let due = |(index, source): (usize, &Source)| {
            let timeout = source.session.poll_timeout();
            (if timeout <= self.platform_now() { self.now_ns } else { self.clock.when(timeout) }, index)
        };
        self.sources.iter().enumerate().map(due).min().expect("a platform without a server has nothing to do")
    }

    /// Lets time pass until `until_ns`.
    pub fn run(&mut self, until_ns: i64) {
        loop {
            let arrival = self.flights.peek().map_or(i64::MAX, |flight| flight.arrives_ns);
            // Sessions ask seldom: most calls only look whether anything is due.
            let (request, index) = self.next_request();
            if arrival.min(request) > until_ns {
                self.now_ns = until_ns;
                return;
            }
            self.now_ns = self.now_ns.max(arrival.min(request));
            if request <= arrival {
                let mut out = [0; packet::CIRCLE_PACKET_LEN];
                let now = self.platform_now();
                if let Some(len) = self.sources[index].session.poll_transmit(now, &mut out) {
                    self.send(index, true, self.now_ns, out[..len].to_vec());
                }
            } else if let Some(flight) = self.flights.pop() {
                self.deliver(&flight);
            }
        }
    }

    fn deliver(&mut self, flight: &Flight) {
        let index = flight.source;
        if flight.to_server {
            let source = &self.sources[index];
            if !source.alive {
                return;
            }
            let hold = 20 * US + self.dice.exponential(5e3) as i64;
            let at = NodeTime::from_ns(TODAY_NS + self.now_ns + self.stepped_ns + source.wrong_ns);
            let info = NodeInfo { stratum: 2, ..NodeInfo::root(source.clock_id) };
            let mut out = [0; packet::CIRCLE_PACKET_LEN];
            let len = packet::respond(&flight.bytes, at, at, &info, &mut out).expect("a session asks well");
            packet::patch_sent(&mut out[..len], at + Span::from_ns(hold), info.tai_minus_utc);
            self.send(index, false, self.now_ns + hold, out[..len].to_vec());
            return;
        }
        let now = self.platform_now();
        let session = &mut self.sources[index].session;
        let Ok(received) = session.handle_input(now, Span::ZERO, &flight.bytes) else { return };
        if index == 0 {
            self.heard.push((self.now_ns, received));
        }
        if let (Some(pool), Some(report)) = (&mut self.pool, Report::of(session)) {
            self.selection = Some(pool.hear(SourceId(index as u32), report));
        }
    }
}
