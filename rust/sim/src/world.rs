//! What a platform has to put up with: its own clock, and the two ways to a server and back.
use harmonia_core::units::PlatformTime;

use crate::dice::Dice;

/// Nanoseconds in a second, a millisecond, a microsecond.
pub const S: i64 = 1_000_000_000;
/// See [`S`].
pub const MS: i64 = 1_000_000;
/// See [`S`].
pub const US: i64 = 1_000;

/// What queues and media add to a delay. Times in ns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Jitter {
    /// Exponential, of this mean.
    Exponential(f64),
    /// Gamma of so many halves of shape, and this scale: sharp at its floor below a shape of 1, blunt above.
    Gamma(u32, f64),
    /// Log-normal, of this median and shape.
    LogNormal(f64, f64),
    /// Uniform up to this.
    Uniform(f64),
    /// Two humps, as Wi-Fi has them: so large a share waits for so much longer; exponential besides.
    Humps(f64, f64, f64),
    /// A queue whose length has a memory of so many seconds; its size; exponential besides.
    Memory(f64, f64, f64),
    /// A buffer that others fill for half a minute and that drains again; its fill a second; exponential besides.
    Bloat(f64, f64),
}

/// One direction of a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Way {
    /// The least delay.
    pub base_ns: i64,
    /// What comes on top.
    pub jitter: Jitter,
    /// Share of datagrams that wait for a spike, and the spike's mean in ns.
    pub spikes: (f64, f64),
    /// Share of datagrams that get lost.
    pub loss: f64,
}

impl Way {
    /// A fixed delay and exponential jitter of this mean.
    pub const fn exponential(base_ns: i64, mean_ns: f64) -> Self {
        Self { base_ns, jitter: Jitter::Exponential(mean_ns), spikes: (0.0, 0.0), loss: 0.0 }
    }

    /// A fixed delay and some other jitter.
    pub const fn with(base_ns: i64, jitter: Jitter) -> Self {
        Self { base_ns, jitter, spikes: (0.0, 0.0), loss: 0.0 }
    }
}

/// What a way remembers of its queue.
#[derive(Clone, Copy, Default, Debug)]
pub struct Queue {
    at_ns: i64,
    level: f64,
    filling: bool,
}

impl Queue {
    /// How long a datagram takes that enters at `now_ns`; `None` if it is lost.
    pub fn delay_ns(&mut self, way: &Way, now_ns: i64, dice: &mut Dice) -> Option<i64> {
        let elapsed = (now_ns - self.at_ns) as f64 / S as f64;
        self.at_ns = now_ns;
        let jitter = match way.jitter {
            Jitter::Exponential(mean) => dice.exponential(mean),
            Jitter::Gamma(halves, scale) => dice.gamma(halves, scale),
            Jitter::LogNormal(median, shape) => median * (shape * dice.normal()).exp(),
            Jitter::Uniform(most) => most * dice.unit(),
            Jitter::Humps(share, more, mean) => dice.exponential(mean) + if dice.chance(share) { more } else { 0.0 },
            Jitter::Memory(memory_s, size, mean) => {
                let kept = (-elapsed / memory_s).exp();
                self.level = kept * self.level + (1.0 - kept * kept).sqrt() * dice.normal();
                size * self.level.max(0.0) + dice.exponential(mean)
            }
            Jitter::Bloat(fill, mean) => {
                if dice.chance(1.0 - (-elapsed / 30.0).exp()) {
                    self.filling = !self.filling;
                }
                let change = if self.filling { fill * dice.unit() } else { -fill };
                self.level = (self.level + change * elapsed).clamp(0.0, 0.2e9);
                self.level + dice.exponential(mean)
            }
        };
        let spike = if dice.chance(way.spikes.0) { dice.exponential(way.spikes.1) } else { 0.0 };
        let lost = dice.chance(way.loss);
        (!lost).then_some(way.base_ns + (jitter + spike) as i64)
    }
}

/// How a platform's clock is wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Crystal {
    /// Frequency error, as a ratio.
    pub frequency: f64,
    /// Normal step of the frequency each second.
    pub wander: f64,
    /// Amplitude and period in s of a temperature that rises and falls.
    pub thermal: (f64, f64),
    /// Offset at the beginning.
    pub offset_ns: i64,
}

impl Crystal {
    /// A clock of this frequency error and wander that is 100 ms ahead.
    pub const fn new(frequency: f64, wander: f64) -> Self {
        Self { frequency, wander, thermal: (0.0, 1.0), offset_ns: 100 * MS }
    }
}

/// A platform's clock over true time; each second's frequency is constant.
#[derive(Clone, Debug)]
pub struct WrongClock {
    offset_ns: i64,
    /// Frequency error in each second, and the error gained before it, ns.
    pieces: Vec<(f64, f64)>,
}

impl WrongClock {
    /// A clock for so many seconds.
    pub fn new(crystal: &Crystal, seconds: i64, dice: &mut Dice) -> Self {
        let (mut walked, mut gained) = (0.0, 0.0);
        let pieces = (0..seconds + 3)
            .map(|second| {
                walked += crystal.wander * dice.normal();
                let warm = crystal.thermal.0 * (std::f64::consts::TAU * second as f64 / crystal.thermal.1).sin();
                let frequency = crystal.frequency + walked + warm;
                let piece = (frequency, gained);
                gained += frequency * S as f64;
                piece
            })
            .collect();
        Self { offset_ns: crystal.offset_ns, pieces }
    }

    /// Its reading at a true instant.
    pub fn read(&self, true_ns: i64) -> PlatformTime {
        let second = (true_ns / S).clamp(0, self.pieces.len() as i64 - 1);
        let (frequency, gained) = self.pieces[second as usize];
        let error = gained + frequency * (true_ns - second * S) as f64;
        PlatformTime::from_ns(true_ns + self.offset_ns + error.round() as i64)
    }

    /// The first true instant at which it reads `t` or later, to a few ns.
    pub fn when(&self, t: PlatformTime) -> i64 {
        let mut guess = t.ns().saturating_sub(self.offset_ns);
        for _ in 0..12 {
            guess += (t - self.read(guess)).ns();
        }
        while self.read(guess) < t {
            guess += 1;
        }
        guess
    }
}
