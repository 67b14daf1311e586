//! A fake wire with a node at one end and a platform at the other, each with a clock of its own, in simulated time.
//!
//! [`Wire::step`] jumps to the next thing that happens; no test waits for anything. The platform runs the very session
//! that it runs over sockets. True time is the raw clock of the node's machine, in ns.
use std::collections::BinaryHeap;

use harmonia_core::node_clock::NodeClock;
use harmonia_core::packet::{self, NodeInfo};
use harmonia_core::session::{Received, SyncConfig, SyncError, SyncSession};
use harmonia_core::units::{NodeTime, PlatformTime, Span};

pub const S: i64 = 1_000_000_000;
pub const MS: i64 = 1_000_000;
pub const US: i64 = 1_000;

/// SplitMix64: small, seeded, good enough for delays.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0 ≤ x < 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in −1 ≤ x < 1.
    pub fn sign(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// One direction of a path.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub base_ns: i64,
    /// Mean of the exponential jitter.
    pub jitter_ns: f64,
    /// Share of datagrams that wait for a spike, and the spike's mean.
    pub spikes: (f64, f64),
    pub loss: f64,
}

impl Way {
    /// Loopback on a busy machine: 20 µs and jitter, and a scheduler that now and then is 5 ms away.
    pub const LOOPBACK: Self = Self { base_ns: 20 * US, jitter_ns: 60e3, spikes: (0.02, 5e6), loss: 0.0 };

    fn delay(&self, dice: &mut Dice) -> Option<i64> {
        let spike = if dice.unit() < self.spikes.0 { dice.exponential(self.spikes.1) } else { 0.0 };
        let delay = self.base_ns + (dice.exponential(self.jitter_ns) + spike) as i64;
        (dice.unit() >= self.loss).then_some(delay)
    }
}

/// A platform's clock: wrong by an offset and by a frequency that wanders in straight pieces of a second.
#[derive(Clone)]
pub struct WrongClock {
    offset_ns: i64,
    /// Frequency error at each second, ppb, and the error gained up to it, ns.
    pieces: Vec<(f64, f64)>,
}

impl WrongClock {
    /// The frequency never changes faster than `wander` ppb/s and stays within ±`drift_max`.
    pub fn new(offset_ns: i64, drift_ppb: f64, wander: f64, drift_max: f64, seconds: usize, dice: &mut Dice) -> Self {
        let (mut rate, mut gained, mut trend) = (drift_ppb, 0.0, 1.0);
        let pieces = (0..seconds + 2)
            .map(|_| {
                let piece = (rate, gained);
                // Trends are the worst that a bound on the change allows, so let some last.
                if dice.unit() < 0.05 {
                    trend = dice.sign().signum();
                }
                let next = (rate + trend * wander * dice.unit().sqrt()).clamp(-drift_max, drift_max);
                gained += 0.5 * (rate + next);
                rate = next;
                piece
            })
            .collect();
        Self { offset_ns, pieces }
    }

    /// The clock's reading at a true instant.
    pub fn read(&self, true_ns: i64) -> PlatformTime {
        let second = (true_ns / S).clamp(0, self.pieces.len() as i64 - 2) as usize;
        let ((rate, gained), (next, _)) = (self.pieces[second], self.pieces[second + 1]);
        let within = (true_ns - second as i64 * S) as f64 / S as f64;
        let error = gained + rate * within + 0.5 * (next - rate) * within * within;
        PlatformTime::from_ns(true_ns + self.offset_ns + error.round() as i64)
    }

    /// The first true instant at which the clock reads `t` or later, to a few ns.
    fn when(&self, t: PlatformTime) -> i64 {
        let mut guess = t.ns().saturating_sub(self.offset_ns);
        for _ in 0..8 {
            guess += (t - self.read(guess)).ns();
        }
        while self.read(guess) < t {
            guess += 1;
        }
        guess
    }
}

struct Flight {
    arrives_ns: i64,
    order: u64,
    to_node: bool,
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

pub struct Wire {
    pub now_ns: i64,
    /// `None` while the node's process is dead.
    pub node: Option<NodeClock>,
    pub session: SyncSession,
    pub clock: WrongClock,
    pub up: Way,
    pub down: Way,
    /// What came of each datagram that the platform received, with its true arrival.
    pub heard: Vec<(i64, Result<Received, SyncError>)>,
    pub asked: usize,
    flights: BinaryHeap<Flight>,
    order: u64,
    dice: Dice,
}

impl Wire {
    pub fn new(config: SyncConfig, node: NodeClock, clock: WrongClock, up: Way, down: Way, dice: Dice) -> Self {
        let seed = dice.clone().bits();
        let session = SyncSession::new(config, seed);
        Self {
            now_ns: 0,
            node: Some(node),
            session,
            clock,
            up,
            down,
            heard: Vec::new(),
            asked: 0,
            flights: BinaryHeap::new(),
            order: 0,
            dice,
        }
    }

    pub fn platform_now(&self) -> PlatformTime {
        self.clock.read(self.now_ns)
    }

    fn next_wake_ns(&self) -> i64 {
        let timeout = self.session.poll_timeout();
        if timeout <= self.platform_now() {
            self.now_ns
        } else {
            self.clock.when(timeout)
        }
    }

    fn send(&mut self, to_node: bool, at_ns: i64, bytes: Vec<u8>) {
        let way = if to_node { self.up } else { self.down };
        if let Some(delay) = way.delay(&mut self.dice) {
            self.order += 1;
            self.flights.push(Flight { arrives_ns: at_ns + delay, order: self.order, to_node, bytes });
        }
    }

    /// Jumps to the next thing that happens, and lets it; but not beyond `until_ns`. False once there.
    pub fn step(&mut self, until_ns: i64) -> bool {
        let arrival = self.flights.peek().map_or(i64::MAX, |flight| flight.arrives_ns);
        let wake = self.next_wake_ns();
        let next = arrival.min(wake);
        if next > until_ns {
            self.now_ns = until_ns;
            return false;
        }
        self.now_ns = self.now_ns.max(next);
        if wake <= arrival {
            let mut out = [0; packet::CIRCLE_PACKET_LEN];
            while let Some(len) = self.session.poll_transmit(self.platform_now(), &mut out) {
                self.asked += 1;
                self.send(true, self.now_ns, out[..len].to_vec());
            }
        } else if let Some(flight) = self.flights.pop() {
            self.deliver(flight);
        }
        true
    }

    fn deliver(&mut self, flight: Flight) {
        if !flight.to_node {
            let received = self.platform_now();
            let heard = self.session.handle_input(received, Span::ZERO, &flight.bytes);
            self.heard.push((self.now_ns, heard));
        } else if let Some(node) = &self.node {
            let hold = 5 * US + self.dice.exponential(5e3) as i64;
            let (received, sent) = (node.node_at(self.now_ns), node.node_at(self.now_ns + hold));
            let mut out = [0; packet::CIRCLE_PACKET_LEN];
            let info = NodeInfo::root(node.clock_id());
            let len = packet::respond(&flight.bytes, received, received, &info, &mut out).expect("a session asks well");
            packet::patch_sent(&mut out[..len], sent, info.tai_minus_utc);
            self.send(false, self.now_ns + hold, out[..len].to_vec());
        }
    }

    /// Lets time pass until `until_ns`, and calls `look` at every multiple of `every_ns` on the way.
    pub fn run(&mut self, until_ns: i64, every_ns: i64, mut look: impl FnMut(&Self)) {
        while self.now_ns < until_ns {
            let next = ((self.now_ns / every_ns + 1) * every_ns).min(until_ns);
            while self.step(next) {}
            look(self);
        }
    }

    /// When the platform used its first answer, true ns.
    pub fn first_exchange_ns(&self) -> Option<i64> {
        self.heard.iter().find(|(_, heard)| heard.is_ok()).map(|&(at, _)| at)
    }

    /// The error of the platform's idea of node time now. Panics while the node is dead.
    pub fn error(&self) -> Span {
        let truth: NodeTime = self.node.as_ref().expect("a living node").node_at(self.now_ns);
        self.session.clock().node_at(self.platform_now()) - truth
    }
}
