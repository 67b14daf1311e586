//! What is one sleeper's own between blocks: coefficients and offset on their way, and the safety chain.
use super::course::Course;
use super::glide::Glide;
use super::meter::Meter;
use super::run::{Added, Banks, FillBanks};
use super::stage::Stage;
use super::{waves, BlockClock, Targets};
use crate::gate::Gate;
use crate::limiter::{Limiter, Strength};
use crate::phase::PhaseOffset;
use crate::rhythm::Rhythm;
use crate::units::{Span, NS_PER_S};

/// How long a new own voice takes to be reached.
const OWN_GLIDE: Span = Span::from_ms(20);

/// One sleeper's state.
#[derive(Clone, Debug)]
pub(super) struct Ears {
    others: Glide,
    own: Glide,
    pub(super) offset: PhaseOffset,
    pub(super) limiter: Limiter,
    pub(super) gate: Gate,
    pub(super) meter: Meter,
    sample_rate: u32,
    /// One turn a second, in 2⁻⁶⁴ turn a sample.
    offset_step: u64,
    started: bool,
    /// Coefficients that became no numbers.
    pub(super) dropped: u64,
}

impl Ears {
    pub(super) fn new(stage: &Stage, gate: Gate, limiter: Limiter) -> Self {
        let (channels, sample_rate) = (stage.program.channels.len(), stage.sample_rate);
        Self {
            others: Glide::new(channels),
            own: Glide::new(channels),
            offset: PhaseOffset::ZERO,
            limiter,
            gate,
            meter: Meter::new(sample_rate),
            sample_rate,
            offset_step: u64::MAX / u64::from(sample_rate),
            started: false,
            dropped: 0,
        }
    }

    /// Heads for a block's targets; the first ones are there at once.
    pub(super) fn head_for(&mut self, input: &Targets<'_>) {
        let first = !self.started;
        // Whole seconds apart, so that 64 bits suffice.
        let samples = |span: Span| {
            let (ns, rate, second) = (span.ns().max(0) as u64, u64::from(self.sample_rate), NS_PER_S as u64);
            if first {
                0
            } else {
                (ns / second).saturating_mul(rate).saturating_add(ns % second * rate / second)
            }
        };
        let (others_samples, own_samples) = (samples(input.others_glide), samples(OWN_GLIDE));
        self.dropped += self.others.head_for(input.others, others_samples);
        self.dropped += self.own.head_for(input.own, own_samples);
        if first {
            self.offset = input.offset;
            self.started = true;
        }
        self.gate.set(input.gate_open);
    }

    /// Plays the run that `stage` was laid for.
    pub(super) fn play(
        &mut self,
        stage: &Stage,
        banks: &mut Banks,
        clock: BlockClock,
        rhythm: &Rhythm,
        input: &Targets<'_>,
        [left, right]: [&mut [f32]; 2],
    ) {
        let total = left.len();
        let theta = Course::new(rhythm, clock, total);
        let straight_max = stage.lines.straight_max(&theta);
        let mut n = 0;
        while n < total {
            let samples = self.run_length((total - n).min(straight_max), input.offset);
            let (l, r) = (&mut left[n..n + samples], &mut right[n..n + samples]);
            let offset = self.offset.towards(input.offset, self.offset_step.saturating_mul(samples as u64));
            if self.gate.is_silent() {
                self.limiter.rest();
            }
            if self.gate.is_shut() {
                l.fill(0.0);
                r.fill(0.0);
            } else {
                let strength = self.mix(stage, banks, &theta, n, offset, [l, r]);
                if input.limit {
                    self.limiter.process(l, r, strength, input.ceiling);
                } else {
                    l.iter_mut().chain(r.iter_mut()).filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
                }
                self.gate.process(l, r);
            }
            self.meter.take(l, r);
            self.offset = offset;
            self.others.advance(samples);
            self.own.advance(samples);
            n += samples;
        }
    }

    /// How far to go before something that glides arrives, so that everything is linear until then.
    fn run_length(&self, longest: usize, offset: PhaseOffset) -> usize {
        let way = (offset + -self.offset).bits().unsigned_abs();
        let mut shortest = longest as u64;
        for left in [self.others.left(), self.own.left()] {
            shortest = if left > 0 { shortest.min(left) } else { shortest };
        }
        if way > 0 {
            shortest = shortest.min(way.div_ceil(self.offset_step));
        }
        shortest as usize
    }

    /// Writes the sum of all channels from sample `n` of the stage's run on, while φ goes to `offset`; returns how
    /// strong that is.
    fn mix(
        &self,
        stage: &Stage,
        banks: &mut Banks,
        theta: &Course,
        n: usize,
        offset: PhaseOffset,
        [left, right]: [&mut [f32]; 2],
    ) -> Strength {
        let samples = left.len();
        let Stage { program, lines, others, starts, .. } = stage;
        let fill = FillBanks {
            lines,
            banks,
            channels: program.channels.len(),
            n,
            samples,
            theta: Added::theta(theta, n, samples),
            phi: Added::phi(self.offset, offset, samples),
            own: [self.own.at(0), self.own.at(samples)],
            others: [self.others.at(0), self.others.at(samples)],
        };
        let strength = fill.fill();
        let whole = n == 0 && samples == lines.samples;
        banks.write_to(left, right, starts.as_deref().filter(|_| whole));
        for other in others {
            let k = other.channel;
            let m = banks.coefficients(k);
            if m != Default::default() {
                waves::add(&program.channels[k], other, n, &banks.run(samples), m, left, right);
            }
        }
        strength
    }
}
