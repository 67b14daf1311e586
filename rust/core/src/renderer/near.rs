//! Carriers so near to each other on one ear that their amplitudes add, and not their powers.
//!
//! The loudness of a mix is the sum of its channels' powers, for those that lie apart: what they make of each other
//! averages out within the 400 ms over which loudness is a mean. Two of one frequency do not average out: they double
//! or cancel by their phases, and a voice that turns one of them round goes from silence to four times the power. For
//! channels j and k of weighted coefficients a and b, of phases ψ on this ear and a frequency difference Δ,
//!
//! ```text
//! |a|² + |b|² + 2·c(Δ)·((1 − x(Δ))·|a||b| + x(Δ)·Re[a·b̄·e^{2πi(ψ_j − ψ_k)}])
//! ```
//!
//! is the power. c says whether they meet within the mean: wholly below 2.5 Hz, not at all above 3.5. x says whether
//! they stand still: below 1/32 Hz they count as what they add up to, which is exact. From 1/16 Hz on they beat; a beat
//! is a movement of the composition's own, as a pulse is, and counts as loud as at its crest. A limit on the beat
//! itself would leave nothing of it: whatever falls faster than the gain may rise, and must not rise again faster either,
//! sinks at every turn. Between those borders the two go over into each other, so that a glide makes no step.
//!
//! Who is near whom is found once a run for all who play the program: along the frequencies in order, which hardly ever
//! changes, so it takes one comparison a channel. Where nobody is near anybody, a sleeper pays nothing. So θ is the
//! program's there: of two channels that count θ differently, a sleeper with a rhythm of their own may hear others meet.
use std::f64::consts::TAU;

use num_complex::Complex;

use super::course::Course;
use super::glide::Parts;
use super::lines::Line;
use super::run::Banks;
use crate::program::{Channel, Ear, Ears, Wave, CHANNELS_MAX};

/// Up to here amplitudes add; from the second on, powers do.
const TOGETHER_HZ: (f64, f64) = (2.5, 3.5);
/// Up to here they stand still; from the second on, they beat.
const STILL_HZ: (f64, f64) = (1.0 / 32.0, 1.0 / 16.0);

const TURN: f64 = 18_446_744_073_709_551_616.0; // 2^64

/// What a channel gives to an ear: the sum of those of its lines whose bit is set, or nothing that has a carrier.
type Heard = u8;

fn heard(wave: &Wave, ear: usize) -> Heard {
    let leads = |lead: Ear| (lead == Ear::Right) == (ear == 1);
    match wave {
        Wave::Tone | Wave::Binaural { .. } => 1 << ear,
        Wave::Shaped(shaped) => match shaped.ears {
            Ears::Lead(lead) if leads(lead) => 3,
            Ears::Both | Ears::Lead(_) | Ears::Sum => 1,
        },
        Wave::Isochronic | Wave::Bell(_) => 1,
        _ => 0,
    }
}

/// What `of` says of the lines that are heard, together.
fn together(heard: Heard, of: impl Fn(usize) -> f64) -> f64 {
    (0..2).filter(|line| heard >> line & 1 != 0).map(of).sum()
}

/// Two channels that are near each other on an ear.
#[derive(Clone, Copy, Debug)]
struct Pair {
    channels: [u8; 2],
    /// Whether both are sines, and not only under an envelope.
    sines: bool,
    /// What the product of their amplitudes counts at the run's two ends, and how far they beat: 0 where they stand still.
    weight: [f32; 2],
    beating: [f32; 2],
}

/// All such pairs of a run.
#[derive(Clone, Debug)]
pub(super) struct Near {
    /// Of each ear, with all the room that they may ever need.
    pairs: [Vec<Pair>; 2],
    /// The channels that are in any pair there, a bit each.
    paired: [u64; 2],
    heard: [[Heard; CHANNELS_MAX]; 2],
    sine: [bool; CHANNELS_MAX],
    /// The channels that have a carrier, by what they are on each ear, the lowest first.
    order: [Vec<u8>; 2],
    /// What they are there in hertz at the run's two ends, and how often they count θ.
    hz: [[f64; 2]; CHANNELS_MAX],
    count: [f64; CHANNELS_MAX],
}

impl Near {
    pub(super) fn new(channels: &[Channel]) -> Self {
        let order = [0, 1].map(|ear| {
            let carriers = channels.iter().enumerate().filter(|(_, channel)| heard(&channel.wave, ear) != 0);
            carriers.map(|(k, _)| k as u8).collect::<Vec<_>>()
        });
        let mut near = Self {
            pairs: order.each_ref().map(|order| Vec::with_capacity(order.len() * order.len() / 2)),
            paired: [0; 2],
            heard: [[0; CHANNELS_MAX]; 2],
            sine: [false; CHANNELS_MAX],
            order,
            hz: [[0.0; 2]; CHANNELS_MAX],
            count: [0.0; CHANNELS_MAX],
        };
        for (k, channel) in channels.iter().enumerate() {
            near.sine[k] = super::waves::is_sine(&channel.wave);
            (0..2).for_each(|ear| near.heard[ear][k] = heard(&channel.wave, ear));
        }
        near
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.paired == [0; 2]
    }

    /// Finds the pairs among the channels that sound in the run of `samples`, over which θ goes as `theta`. Realtime-safe.
    pub(super) fn lay(
        &mut self,
        lines: &[Line; 2],
        theta: &Course,
        weight: &[Parts; 2],
        amplitude: &[Parts; 2],
        (samples, sample_rate): (usize, u32),
    ) {
        for ear in 0..2 {
            self.pairs[ear].clear();
            self.paired[ear] = 0;
            let order = &mut self.order[ear];
            for &k in &*order {
                let k = usize::from(k);
                let heard = self.heard[ear][k];
                self.count[k] =
                    together(heard, |line| if lines[line].locked[k] == 0 { 0.0 } else { lines[line].count[k] as f64 });
                let rate = together(heard, |line| lines[line].rate[k]);
                let bend = together(heard, |line| lines[line].bend[k] as f64) / TURN;
                self.hz[k] = [0, samples].map(|n| {
                    (rate + bend * (2 * n) as f64 + self.count[k] * theta.rate_at(n)) * f64::from(sample_rate)
                });
            }
            // In an order of its own, whatever it was before: the sum over the pairs must not depend on that.
            for i in 1..order.len() {
                let key = |k: u8| (self.hz[usize::from(k)][0], k);
                let mut at = i;
                while at > 0 && key(order[at - 1]) > key(order[at]) {
                    order.swap(at - 1, at);
                    at -= 1;
                }
            }
            for (i, &j) in order.iter().enumerate() {
                for &k in &order[i + 1..] {
                    let [a, b] = [j, k].map(usize::from);
                    let apart_hz = [0, 1].map(|end| (self.hz[b][end] - self.hz[a][end]).abs());
                    if apart_hz[0] >= TOGETHER_HZ.1 {
                        break;
                    }
                    if [a, b].iter().any(|k| amplitude[0][*k] == 0.0 && amplitude[1][*k] == 0.0) {
                        continue;
                    }
                    let still = self.count[a] == self.count[b];
                    let adds = |end: usize| 1.0 - share(apart_hz[end], TOGETHER_HZ);
                    self.paired[ear] |= 1 << a | 1 << b;
                    self.pairs[ear].push(Pair {
                        channels: [j, k],
                        sines: self.sine[a] && self.sine[b],
                        weight: [0, 1].map(|end| adds(end) * (weight[end][a] * weight[end][b]).sqrt()),
                        beating: apart_hz.map(|hz| if still { share(hz, STILL_HZ) } else { 1.0 }),
                    });
                }
            }
        }
    }

    /// What the pairs add to the power at the ends of the run of `samples` that `banks` hold. Realtime-safe.
    #[inline(never)]
    pub(super) fn power(&self, banks: &Banks, samples: usize) -> (f32, f32) {
        let at = |end: usize| self.power_on(0, banks, end, end * samples) + self.power_on(1, banks, end, end * samples);
        (at(0), at(1))
    }

    /// The same of one ear and end, at sample `n`. Each ear has half of a channel's power, and the product of two
    /// amplitudes counts twice in it.
    fn power_on(&self, ear: usize, banks: &Banks, end: usize, n: usize) -> f32 {
        let mut turned = [Complex::default(); CHANNELS_MAX];
        let mut size = [0.0; CHANNELS_MAX];
        for k in (0..CHANNELS_MAX).filter(|k| self.paired[ear] >> k & 1 != 0) {
            let lines = (0..2).filter(|line| self.heard[ear][k] >> line & 1 != 0);
            let phase = lines.fold(0u64, |phase, line| phase.wrapping_add(banks.phase(line, k, n)));
            let m = banks.coefficient(end, k);
            turned[k] = m * Complex::from_polar(1.0, (TAU * phase as i64 as f64 / TURN) as f32);
            size[k] = m.norm_sqr().sqrt();
        }
        let product = |pair: &Pair| {
            let [j, k] = pair.channels.map(usize::from);
            let (beating, exact) = (size[j] * size[k], turned[j].re * turned[k].re + turned[j].im * turned[k].im);
            // Under envelopes two that cancel need not sound at the same time.
            let exact = if pair.sines { exact } else { exact.max(0.0) };
            pair.weight[end] * (exact + pair.beating[end] * (beating - exact))
        };
        self.pairs[ear].iter().map(product).sum()
    }
}

/// How far `x` is on the way from the first to the second, 0 to 1.
fn share(x: f64, way: (f64, f64)) -> f32 {
    ((x - way.0) / (way.1 - way.0)).clamp(0.0, 1.0) as f32
}
