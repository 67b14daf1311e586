//! From exchanges to two statements about the offset of two clocks: what is *certain* and what is *likely*.
//!
//! One exchange tells little: the request takes an unknown time up, the answer another one down, and half of the
//! difference between the two is error. Averaging does not help, since queues only ever add delay: the mean of the
//! delays is as lopsided as the traffic. But causality helps. With offset = node − platform,
//!
//! ```text
//! offset(t1) ≤ t2 − t1      the request did not arrive before it left
//! offset(t4) ≥ t3 − t4      nor did the answer
//! ```
//!
//! whatever the path did. A stamp t1 taken too early, or t4 too late, only weakens these: both errors count as delay.
//!
//! **Certain.** Each inequality is a half-plane of (offset, frequency). The set of all pairs that explain every exchange
//! so far is a convex polygon. It is carried along: as time passes it is sheared by its frequencies and grown by a stated
//! largest wander; a stated largest drift and each new exchange clip it. Its extent along the offset axis is the
//! certified interval, and its extent along oblique directions is how that interval grows with time. Nothing here
//! depends on the path's symmetry or on the servo, and no tighter interval follows from the same assumptions. An empty
//! polygon proves that one of them is broken: the source was stepped, or a clock is worse than stated.
//!
//! **Likely.** If both ways have the same delay floor and queues add exponentially distributed time, the likelihood of
//! a line falls off from the widest channel of its slope that fits between the upper points and the lower ones (the
//! two-sided lower envelope), and only the points of two convex hulls matter. Regressions, as NTP clients use them,
//! average over all points and are worse by √n against n. The *mode* of that likelihood rests on three points and moves
//! in stairs when one of them leaves the window, so the estimate is its *mean*, over slopes numerically and over the
//! rest in closed form; its variance is the expected uncertainty.
//!
//! No clock keeps a straight line, so an old point is handicapped by as much as the frequency may have walked since
//! and its weight shrinks accordingly. That makes the window adaptive: where jitter is large, old points still help;
//! where it is small, they drop out. How restless the clocks are is learnt from the estimates themselves.
//!
//! Sources: Marzullo and Owicki 1983 for intervals; Schweppe 1968 for sets carried through a linear system; Zhang, Liu
//! and Xia 2002 and Paxson 1998 for lines under delay clouds; Sutherland and Hodgman 1974 for clipping.
use std::collections::VecDeque;

use crate::units::{NodeTime, PlatformTime, Span};

/// Exchanges kept: at one a second, the last four minutes.
pub const WINDOW: usize = 256;
/// Stamps are whole nanoseconds, rounded on both sides: an inequality may be short by this much.
const ROUNDING_NS: f64 = 2.0;
const S_PER_NS: f64 = 1e-9;

/// One question and answer between a platform and a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The request left (stamped before it did).
    pub t1: PlatformTime,
    /// The request arrived.
    pub t2: NodeTime,
    /// The answer left.
    pub t3: NodeTime,
    /// The answer arrived.
    pub t4: PlatformTime,
    /// How far the platform's stamps may be off in the harmful direction (t1 late, t4 early).
    pub stamp_error: Span,
}

impl Exchange {
    /// Time on the way, both ways together, by the two clocks' own seconds.
    pub fn round_trip(&self) -> Span {
        (self.t4 - self.t1) - (self.t3 - self.t2)
    }

    /// Node minus platform if both ways took equally long.
    pub fn offset(&self) -> Span {
        let sum = i128::from(self.upper()) + i128::from(self.lower());
        Span::from_ns((sum / 2) as i64)
    }

    fn upper(&self) -> i64 {
        self.t2.ns().saturating_sub(self.t1.ns())
    }

    fn lower(&self) -> i64 {
        self.t3.ns().saturating_sub(self.t4.ns())
    }
}

/// What is assumed of the two clocks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FilterConfig {
    /// Largest frequency difference of the two clocks, parts per billion. The certificate rests on it.
    pub max_drift_ppb: i64,
    /// Largest change of that difference per second, 1/s (1e-7: 0.1 ppm a second). The certificate rests on it.
    pub max_wander: f64,
    /// Expected size of that difference, parts per billion: a guess before there are exchanges to tell.
    pub expected_drift_ppb: i64,
    /// Expected random walk of the frequency, 1/s for one second (1e-8: 10 ppb after 1 s, 100 ppb after 100 s): a
    /// guess to begin with. The estimate learns better; nothing certain rests on it.
    pub expected_wander: f64,
}

/// The certified interval of the offset as a function of platform time. Plain numbers, [`Copy`], realtime-safe.
///
/// The polygon's support is convex in time, so chords lie above it: a few values and a slope bound it for ever.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Certified {
    at: PlatformTime,
    base_ns: i64,
    /// Upper bounds at the knots, and the slope after the last; relative to `base_ns`.
    upper: [f64; KNOTS],
    lower: [f64; KNOTS],
    /// Extent of the frequency, ns/s.
    rate: [f64; 2],
    max_drift: f64,
    max_wander: f64,
}

/// Where the chords of [`Certified`] meet, in seconds after `at`.
const KNOTS_S: [f64; KNOTS] = [0.0, 2.0, 16.0];
const KNOTS: usize = 3;
/// How many numbers a [`Certified`] is, besides its instant and base.
pub(crate) const NUMBERS: usize = 2 * KNOTS + 4;

/// One side's bound after `dt` seconds: chords between the knots, then the steepest slope.
fn chord(values: [f64; KNOTS], slope: f64, dt: f64) -> f64 {
    let Some(next) = KNOTS_S[1..].iter().position(|&knot| dt <= knot).map(|before| before + 1) else {
        return values[KNOTS - 1] + slope * (dt - KNOTS_S[KNOTS - 1]);
    };
    let share = (dt - KNOTS_S[next - 1]) / (KNOTS_S[next] - KNOTS_S[next - 1]);
    values[next - 1] + (values[next] - values[next - 1]) * share
}

impl Certified {
    /// Smallest and largest possible offset (node − platform) at `t`, in ns. Realtime-safe.
    pub fn offset_at(&self, t: PlatformTime) -> (i64, i64) {
        let dt = (t - self.at).ns() as f64 * S_PER_NS;
        let [slowest, fastest] = self.rate;
        // Backwards the slopes change sides; that happens for the few milliseconds between a stamp and its reading.
        let (mut low, mut high) = if dt < 0.0 {
            (self.lower[0] + fastest * dt, self.upper[0] + slowest * dt)
        } else {
            (chord(self.lower, slowest, dt), chord(self.upper, fastest, dt))
        };
        // Wander widens quadratically, but no frequency exceeds the largest drift.
        let wander = 0.5 * self.max_wander * dt * dt;
        let drift = self.max_drift * dt.abs();
        low = (low - wander).max(self.lower[0] - drift);
        high = (high + wander).min(self.upper[0] + drift);
        let absolute = |ns: f64| (i128::from(self.base_ns) + ns as i128).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        (absolute(low.floor()), absolute(high.ceil()))
    }

    /// What follows at `at` from several certificates for the same time, of which at least `honest` are true, each
    /// with the largest error of its source then, and by how much (ppb) that error may grow.
    ///
    /// The truth lies below all true upper ends, so below the `honest`-th largest of all; later it may have risen by
    /// as much as the fastest of them allows. `at` must not be before any certificate's own instant. Returns `None` if
    /// there are fewer than `honest`, or if nothing lies within so many.
    pub fn of_majority(at: PlatformTime, honest: usize, given: &[(Self, Span, i64)]) -> Option<Self> {
        let mut given = given.to_vec();
        loop {
            let (low, high) = Self::majority_at(at, honest, &given)?;
            let before = given.len();
            // Whoever is certainly wrong shall not loosen what the others say.
            given.retain(|(certified, error, _)| {
                let (own_low, own_high) = certified.offset_within(at, *error);
                own_low <= high && own_high >= low
            });
            if given.len() == before {
                return Some(Self::grown(at, (low, high), &given));
            }
        }
    }

    /// All that it is, to be written down: instant and base in ns, then its offsets, rates and limits.
    pub(crate) fn to_numbers(self) -> ([i64; 2], [f64; NUMBERS]) {
        let ([u0, u1, u2], [l0, l1, l2], [slow, fast]) = (self.upper, self.lower, self.rate);
        let numbers = [u0, u1, u2, l0, l1, l2, slow, fast, self.max_drift, self.max_wander];
        ([self.at.ns(), self.base_ns], numbers)
    }

    /// What [`Certified::to_numbers`] gave; `None` if no certificate can look so.
    pub(crate) fn from_numbers([at, base_ns]: [i64; 2], numbers: [f64; NUMBERS]) -> Option<Self> {
        let [u0, u1, u2, l0, l1, l2, slow, fast, max_drift, max_wander] = numbers;
        let (upper, lower, rate) = ([u0, u1, u2], [l0, l1, l2], [slow, fast]);
        let sane = numbers.iter().all(|number| number.is_finite()) && l0 <= u0 && max_drift >= 0.0 && max_wander >= 0.0;
        sane.then_some(Self { at: PlatformTime::from_ns(at), base_ns, upper, lower, rate, max_drift, max_wander })
    }

    fn offset_within(&self, t: PlatformTime, error: Span) -> (i64, i64) {
        let (low, high) = self.offset_at(t);
        (low.saturating_sub(error.ns()), high.saturating_add(error.ns()))
    }

    fn majority_at(at: PlatformTime, honest: usize, given: &[(Self, Span, i64)]) -> Option<(i64, i64)> {
        let (mut lows, mut highs): (Vec<_>, Vec<_>) =
            given.iter().map(|(certified, error, _)| certified.offset_within(at, *error)).unzip();
        lows.sort_unstable();
        highs.sort_unstable_by(|a, b| b.cmp(a));
        let nth = honest.checked_sub(1)?;
        let (low, high) = (*lows.get(nth)?, *highs.get(nth)?);
        (low <= high).then_some((low, high))
    }

    fn grown(at: PlatformTime, (low, high): (i64, i64), given: &[(Self, Span, i64)]) -> Self {
        let base_ns = low + ((i128::from(high) - i128::from(low)) / 2) as i64;
        let most =
            |value: &dyn Fn(&Self) -> f64| given.iter().map(|(c, ..)| value(c)).fold(f64::NEG_INFINITY, f64::max);
        let drift = given.iter().map(|given| given.2).max().unwrap_or(0) as f64;
        let max_wander = most(&|certified| certified.max_wander);
        // Each side of a certificate is convex but for the quadratic part, which `offset_at` adds again.
        let turn = |certified: &Self| certified.max_wander * (at - certified.at).as_s_f64();
        let rise = |certified: &Self, dt: f64, values: [f64; KNOTS], slope: f64| {
            let age = (at - certified.at).as_s_f64();
            chord(values, slope, age + dt) - chord(values, slope, age) + turn(certified) * dt
        };
        let up = |dt: f64| most(&|c| rise(c, dt, c.upper, c.rate[1])) + drift * dt;
        let down = |dt: f64| most(&|c| rise(c, dt, c.lower.map(|ns| -ns), -c.rate[0])) + drift * dt;
        Self {
            at,
            base_ns,
            upper: KNOTS_S.map(|dt| (high - base_ns) as f64 + up(dt)),
            lower: KNOTS_S.map(|dt| (low - base_ns) as f64 - down(dt)),
            rate: [-most(&|c| turn(c) - c.rate[0]) - drift, most(&|c| turn(c) + c.rate[1]) + drift],
            max_drift: most(&|certified| certified.max_drift) + drift,
            max_wander,
        }
    }

    /// Smallest and largest possible node time at `t`. Realtime-safe.
    pub fn interval_at(&self, t: PlatformTime) -> (NodeTime, NodeTime) {
        let (low, high) = self.offset_at(t);
        (NodeTime::from_ns(t.ns().saturating_add(low)), NodeTime::from_ns(t.ns().saturating_add(high)))
    }
}

/// What a window of exchanges says about the offset. [`Copy`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// When it holds: the newest exchange's t4.
    pub at: PlatformTime,
    /// The likely offset (node − platform) is `base_ns + offset_ns`.
    pub base_ns: i64,
    /// See `base_ns`.
    pub offset_ns: f64,
    /// The likely change of the offset, ns/s (parts per billion).
    pub rate_ppb: f64,
    /// 99 % of errors lie within this, in ns, if both ways have the same delay floor.
    pub uncertainty_ns: f64,
    /// How fast that grows without another exchange, ns/s.
    pub uncertainty_rate_ppb: f64,
    /// And how much the frequency walks in a second, ppb, as far as learnt: its share grows with the power 1.5 of time.
    pub wander_ppb: f64,
    /// The certified interval.
    pub certified: Certified,
}

impl Estimate {
    /// The uncertainty `seconds` later, without another exchange, in ns. Realtime-safe.
    pub fn uncertainty_after(&self, seconds: f64) -> f64 {
        let dt = seconds.abs();
        self.uncertainty_ns + self.uncertainty_rate_ppb * dt + self.wander_ppb * (dt * dt * dt).sqrt()
    }
}

/// What an exchange did to a [`Filter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It agrees with the window.
    Consistent,
    /// No clock within the stated drift and wander agrees with it and the window; the window was dropped.
    Contradiction,
}

/// A window of exchanges and what follows from it. Bounded memory; deterministic.
#[derive(Clone, Debug)]
pub struct Filter {
    config: FilterConfig,
    window: VecDeque<Exchange>,
    possible: Option<Possible>,
    scratch: Scratch,
    walk: Walk,
    route: Route,
    fuzz: Fuzz,
    regression: Regression,
    estimate: Option<Estimate>,
}

/// Working memory, kept so that an exchange allocates nothing.
#[derive(Clone, Debug, Default)]
struct Scratch {
    up: Side,
    down: Side,
}

/// The window's inequalities of one direction, as (age in s, ns): `offset − age·rate ≤ ns` for requests, and for
/// answers the mirror image, `−offset + age·rate ≤ ns`.
#[derive(Clone, Debug, Default)]
struct Side {
    points: Vec<(f64, f64)>,
    hull: Vec<(f64, f64)>,
    differences: Vec<f64>,
}

impl Filter {
    /// An empty filter.
    pub fn new(config: FilterConfig) -> Self {
        let walk = Walk::new(config.expected_wander);
        Self {
            config,
            window: VecDeque::with_capacity(WINDOW),
            possible: None,
            scratch: Scratch::default(),
            walk,
            route: Route::new(&config),
            fuzz: Fuzz::default(),
            regression: Regression::default(),
            estimate: None,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.window.clear();
        self.possible = None;
        self.walk = Walk::new(self.config.expected_wander);
        self.route = Route::new(&self.config);
        self.fuzz = Fuzz::default();
        self.estimate = None;
    }

    /// How many exchanges the window holds.
    pub fn len(&self) -> usize {
        self.window.len()
    }

    /// Whether there has been no exchange yet.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// What the window says, as of its newest exchange; `None` before the first.
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    /// Takes an exchange in. Costs O(window).
    pub fn push(&mut self, exchange: Exchange) -> Verdict {
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(exchange);
        if self.certify() {
            return Verdict::Consistent;
        }
        self.reset();
        self.window.push_back(exchange);
        if !self.certify() {
            // The exchange contradicts itself: the node's clock ran between t2 and t3 as no clock does.
            self.reset();
        }
        Verdict::Contradiction
    }

    /// Takes in the newest exchange of the window; false if no clock explains it and all before.
    fn certify(&mut self) -> bool {
        let Some(&newest) = self.window.back() else { return false };
        let (base_ns, at) = {
            let possible = self.possible.get_or_insert_with(|| Possible::before(&newest, &self.config));
            if !possible.take(&newest, &self.config) {
                return false;
            }
            (possible.base_ns, possible.at)
        };
        let certified = self.possible.as_ref().expect("it was just made").certified(&self.config);
        let age = |t: PlatformTime| (at - t).ns() as f64 * S_PER_NS;
        let relative = |ns: i64| (i128::from(ns) - i128::from(base_ns)) as f64;
        let Scratch { up, down } = &mut self.scratch;
        up.points.clear();
        down.points.clear();
        for exchange in self.window.iter().rev() {
            let margin = exchange.stamp_error.ns() as f64 + ROUNDING_NS;
            up.points.push((age(exchange.t1), relative(exchange.upper()) + margin));
            down.points.push((age(exchange.t4), -relative(exchange.lower()) + margin));
        }
        // Requests may overtake each other; hulls want their points in order.
        for side in [&mut *up, &mut *down] {
            side.points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        }

        self.route.look(&self.window);
        let oldest = age(self.route.from);
        for side in [&mut *up, &mut *down] {
            side.points.truncate(side.points.partition_point(|point| point.0 <= oldest));
        }
        let rate = self.estimate.map_or(0.0, |former| former.rate_ppb);
        let prior = self.route.prior_at(at, certified.rate, &self.walk);
        let mut likely = Channel::new(up, down, rate, &self.walk, prior).posterior(certified.rate);
        self.walk.learn(at, &likely);
        self.fuzz.look(up, down, &likely, &self.walk);
        likely.variance *= self.fuzz.excess();
        likely.rate_variance *= self.fuzz.excess();
        let middles = self.window.iter().filter(|exchange| exchange.t1 >= self.route.from);
        let middles = middles.map(|e| (age(e.t4), relative(e.offset().ns()), e.round_trip().ns() as f64));
        if let Some(line) = self.regression.fit(middles, &self.walk) {
            likely.weigh_in(&line);
            likely.rate = likely.rate.clamp(certified.rate[0], certified.rate[1]);
        }
        self.route.learn(&likely);
        self.estimate = Some(Estimate {
            at,
            base_ns,
            offset_ns: likely.offset.clamp(certified.lower[0], certified.upper[0]),
            rate_ppb: likely.rate,
            uncertainty_ns: likely.uncertainty().min(certified.upper[0] - certified.lower[0]),
            uncertainty_rate_ppb: likely.uncertainty_rate(),
            wander_ppb: likely.wander,
            certified,
        });
        true
    }
}

/// All pairs of offset and frequency that explain every exchange so far: exactly, but for what is said below.
///
/// The set is carried from exchange to exchange: it is sheared by the time that passed, grown by what the frequency may
/// have wandered meanwhile, and clipped by the new exchange's two half-planes. Weakening each old half-plane by its own
/// age instead would be simpler and much looser: it lets the frequency have wandered upwards for one of them and
/// downwards for the next.
#[derive(Clone, Debug)]
struct Possible {
    at: PlatformTime,
    base_ns: i64,
    polygon: Polygon,
}

impl Possible {
    /// The growth of one step is taken a little too wide, by w·Δ²/4; long silences are cut into pieces of a second,
    /// but not into more than this many.
    const PIECES_MAX: f64 = 64.0;

    /// What is possible before anything was heard.
    fn before(first: &Exchange, config: &FilterConfig) -> Self {
        let round_trip = first.round_trip().ns().unsigned_abs() as f64;
        let (drift, elapsed) = (config.max_drift_ppb as f64, (first.t4 - first.t1).as_s_f64().abs());
        let margin = first.stamp_error.ns() as f64 + (drift + config.max_wander * 1e9 * elapsed) * elapsed;
        let mut polygon = Polygon::default();
        polygon.start(round_trip + margin + 10.0, drift);
        Self { at: first.t4, base_ns: first.offset().ns(), polygon }
    }

    /// Adds what `exchange` says; false if nothing is left.
    fn take(&mut self, exchange: &Exchange, config: &FilterConfig) -> bool {
        let max_wander = config.max_wander * 1e9;
        self.advance(self.at.max(exchange.t4), max_wander);
        self.polygon.clip(0.0, 1.0, config.max_drift_ppb as f64);
        self.polygon.clip(0.0, -1.0, config.max_drift_ppb as f64);
        let moved = (i128::from(exchange.offset().ns()) - i128::from(self.base_ns)) as f64;
        self.base_ns = exchange.offset().ns();
        self.polygon.shift(-moved);
        let relative = |ns: i64| (i128::from(ns) - i128::from(self.base_ns)) as f64;
        let margin = exchange.stamp_error.ns() as f64 + ROUNDING_NS;
        let age = |t: PlatformTime| (self.at - t).as_s_f64();
        let slack = |age: f64| 0.5 * max_wander * age * age;
        let (sent, received) = (age(exchange.t1), age(exchange.t4));
        self.polygon.clip(1.0, -sent, relative(exchange.upper()) + margin + slack(sent));
        self.polygon.clip(-1.0, received, -relative(exchange.lower()) + margin + slack(received));
        self.polygon.simplify();
        !self.polygon.is_empty()
    }

    fn advance(&mut self, to: PlatformTime, max_wander: f64) {
        let elapsed = (to - self.at).as_s_f64();
        self.at = to;
        if elapsed <= 0.0 {
            return;
        }
        let pieces = elapsed.ceil().clamp(1.0, Self::PIECES_MAX);
        let dt = elapsed / pieces;
        for _ in 0..pieces as u32 {
            self.polygon.shear(dt);
            // Frequency that changes evenly moves both; all other courses lie within a little beside.
            self.polygon.grow((0.5 * max_wander * dt * dt, max_wander * dt), 0.25 * max_wander * dt * dt);
            self.polygon.simplify();
        }
    }

    fn certified(&self, config: &FilterConfig) -> Certified {
        let polygon = &self.polygon;
        Certified {
            at: self.at,
            base_ns: self.base_ns,
            upper: KNOTS_S.map(|dt| polygon.extent(1.0, dt)),
            lower: KNOTS_S.map(|dt| -polygon.extent(-1.0, -dt)),
            rate: [-polygon.extent(0.0, -1.0), polygon.extent(0.0, 1.0)],
            max_drift: config.max_drift_ppb as f64,
            max_wander: config.max_wander * 1e9,
        }
    }
}

/// A convex polygon of (offset in ns, frequency in ns/s), its corners counterclockwise.
#[derive(Clone, Debug, Default)]
struct Polygon {
    corners: Vec<(f64, f64)>,
    spare: Vec<(f64, f64)>,
}

impl Polygon {
    /// More corners than this are too many to carry.
    const CORNERS_MAX: usize = 24;

    /// The rectangle |offset| ≤ `offset`, |frequency| ≤ `rate`.
    fn start(&mut self, offset: f64, rate: f64) {
        self.corners.clear();
        self.corners.extend([(-offset, -rate), (offset, -rate), (offset, rate), (-offset, rate)]);
    }

    fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// Moves all offsets.
    fn shift(&mut self, offset: f64) {
        for corner in &mut self.corners {
            corner.0 += offset;
        }
    }

    /// Lets time pass: each offset moves by its frequency.
    fn shear(&mut self, dt: f64) {
        for corner in &mut self.corners {
            corner.0 += corner.1 * dt;
        }
    }

    /// Adds ±`along` and ±`offset` to every point (a Minkowski sum with a parallelogram).
    fn grow(&mut self, along: (f64, f64), offset: f64) {
        self.spare.clear();
        for &(x, y) in &self.corners {
            for (along_x, along_y) in [along, (-along.0, -along.1)] {
                self.spare.extend([-offset, offset].map(|offset| (x + along_x + offset, y + along_y)));
            }
        }
        self.spare.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        self.corners.clear();
        // Lower chain, then upper chain (Andrew 1979).
        for upper in [false, true] {
            let begin = self.corners.len();
            let count = self.spare.len();
            for i in 0..count {
                let point = self.spare[if upper { count - 1 - i } else { i }];
                while self.corners.len() >= begin + 2 {
                    let [a, b] = [self.corners[self.corners.len() - 2], self.corners[self.corners.len() - 1]];
                    if cross(a, b, point) > 0.0 {
                        break;
                    }
                    self.corners.pop();
                }
                self.corners.push(point);
            }
            self.corners.pop(); // the other chain begins with it
        }
    }

    /// Drops edges, those first that matter least, until there are few corners. The polygon only grows.
    fn simplify(&mut self) {
        while self.corners.len() > Self::CORNERS_MAX {
            let n = self.corners.len();
            let mut best: Option<(f64, usize, (f64, f64))> = None;
            for i in 0..n {
                // Without the edge from b to c, its neighbours meet at a point beyond.
                let [a, b, c, d] = [0, 1, 2, 3].map(|k| self.corners[(i + k) % n]);
                let (ab, dc) = ((b.0 - a.0, b.1 - a.1), (c.0 - d.0, c.1 - d.1));
                let turn = ab.0 * dc.1 - ab.1 * dc.0;
                if turn >= 0.0 {
                    continue; // they do not meet
                }
                let t = ((d.0 - b.0) * dc.1 - (d.1 - b.1) * dc.0) / turn;
                let apex = (b.0 + t * ab.0, b.1 + t * ab.1);
                let area = cross(b, apex, c).abs();
                if t.is_finite() && t >= 0.0 && best.is_none_or(|(least, ..)| area < least) {
                    best = Some((area, i, apex));
                }
            }
            let Some((_, i, apex)) = best else { return };
            self.corners[(i + 1) % n] = apex;
            self.corners.remove((i + 2) % n);
        }
    }

    /// Keeps the part where a·offset + b·rate ≤ c.
    fn clip(&mut self, a: f64, b: f64, c: f64) {
        let excess = |&(offset, rate): &(f64, f64)| a * offset + b * rate - c;
        if self.corners.iter().all(|corner| excess(corner) <= 0.0) {
            return;
        }
        self.spare.clear();
        let n = self.corners.len();
        for i in 0..n {
            let (from, to) = (self.corners[i], self.corners[(i + 1) % n]);
            let (e_from, e_to) = (excess(&from), excess(&to));
            if e_from <= 0.0 {
                self.spare.push(from);
            }
            if (e_from <= 0.0) != (e_to <= 0.0) {
                let share = e_from / (e_from - e_to);
                self.spare.push((from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share));
            }
        }
        std::mem::swap(&mut self.corners, &mut self.spare);
    }

    /// Largest a·offset + b·rate over the polygon.
    fn extent(&self, a: f64, b: f64) -> f64 {
        self.corners.iter().map(|(offset, rate)| a * offset + b * rate).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Twice the area of the triangle, positive if it is counterclockwise.
fn cross(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

impl Side {
    /// The points, raised by `slack` of their age, that are the least of ns + rate·age for some rate: their lower
    /// convex hull (Andrew's monotone chain). All others follow from these.
    fn lower_hull(&mut self, slack: impl Fn(f64) -> f64) -> &[(f64, f64)] {
        self.hull.clear();
        for &(age, ns) in &self.points {
            let point = (age, ns + slack(age));
            while let [.., a, b] = self.hull[..] {
                let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
                if turn > 0.0 {
                    break;
                }
                self.hull.pop();
            }
            self.hull.push(point);
        }
        &self.hull
    }
}

/// How restless the frequency is, learnt from how far the estimate has moved between windows that share no exchange.
///
/// A configured value alone would be wrong for almost every pair of clocks: too large and good exchanges are thrown
/// away, too small and a warming crystal is followed too late.
#[derive(Clone, Debug)]
struct Walk {
    /// Variance that the frequency gains in a second, ppb².
    variance: f64,
    /// How many observations that is worth.
    weight: f64,
    /// Time, rate and rate variance at the end of the last window looked at.
    last: Option<(PlatformTime, f64, f64)>,
}

impl Walk {
    const WEIGHT_MAX: f64 = 8.0;
    /// One surprise may be a change of route.
    const SURPRISE_MAX: f64 = 25.0;

    fn new(expected: f64) -> Self {
        Self { variance: (expected * 1e9).powi(2), weight: 3.0, last: None }
    }

    /// Standard deviation by which a line through the present misses the offset at `age` seconds, ns.
    fn displacement(&self, age: f64) -> f64 {
        let age = age.max(0.0);
        (self.variance * age * age * age / 3.0).sqrt()
    }

    fn learn(&mut self, at: PlatformTime, likely: &Likely) {
        if let Some((then, rate, variance)) = self.last {
            let elapsed = (at - then).as_s_f64();
            if elapsed < (2.0 * likely.past).max(16.0) {
                return; // the windows still overlap
            }
            // Each estimate is a mean over its window, which hides a third of a walk; and the estimates' own errors are
            // no walk. Where they are the larger part, little is learnt.
            let expected = self.variance * elapsed / 1.5;
            let errors = variance + likely.rate_variance;
            let moved = (likely.rate - rate).powi(2) - errors;
            let trust = |walked: f64| (walked / (walked + errors)).powi(2);
            // What stands out of the errors is believed even where little was expected.
            let trust = trust(expected.max(0.5 * moved));
            let seen = (1.5 / elapsed * moved).min(Self::SURPRISE_MAX * self.variance);
            self.variance = ((self.weight * self.variance + trust * seen) / (self.weight + trust)).clamp(0.1, 1e6);
            self.weight = (self.weight + trust).min(Self::WEIGHT_MAX);
        }
        self.last = Some((at, likely.rate, likely.rate_variance));
    }
}

/// Since when the path has been the one that it is now.
///
/// When a route becomes longer, the old points stay below the new ones and hold the channel alone, until their last few
/// leave the window; these few say nothing of the slope, and the estimate swings by as much as the route has grown. So
/// the estimate forgets what came before a change of route, but for the rate. (The certificate forgets nothing.) A
/// route that becomes shorter needs no care: the new points are the lowest at once.
#[derive(Clone, Debug)]
struct Route {
    from: PlatformTime,
    /// Mean and variance of the rate, as known at `from`.
    rate: f64,
    rate_variance: f64,
    /// As of the last estimate: the rate's, and the mean jitter of both ways together.
    last: (f64, f64),
    jitter: f64,
}

impl Route {
    /// An exchange is high if it is so many mean jitters above the lowest.
    const JITTERS: f64 = 3.0;
    /// At least so many in a row, all high, are a change; more where high ones were common before.
    const EXCHANGES: usize = 8;
    /// And so improbable by chance: once in 10⁹ exchanges.
    const LOG_CHANCE: f64 = -20.7;

    fn new(config: &FilterConfig) -> Self {
        let rate_variance = (config.expected_drift_ppb as f64).powi(2);
        let (from, jitter) = (PlatformTime::from_ns(i64::MIN), f64::INFINITY);
        Self { from, rate: 0.0, rate_variance, last: (0.0, rate_variance), jitter }
    }

    /// Looks for a change of route before the newest exchanges.
    fn look(&mut self, window: &VecDeque<Exchange>) {
        let on_route = |exchange: &&Exchange| exchange.t1 >= self.from;
        let lowest = window.iter().filter(on_route).map(|exchange| exchange.round_trip().ns()).min();
        let Some(lowest) = lowest else { return };
        let high = |exchange: &Exchange| (exchange.round_trip().ns() - lowest) as f64 > Self::JITTERS * self.jitter;
        let run = window.iter().rev().take_while(|exchange| high(exchange)).count();
        let split = window.len() - run;
        let before = window.iter().take(split).filter(on_route);
        let (highs, all) = before.fold((0, 0), |(highs, all), exchange| (highs + u32::from(high(exchange)), all + 1));
        // Where one in two is high anyway, as in a delay of two humps, a dozen in a row are nothing new.
        let chance = (f64::from(highs) + 1.0) / (f64::from(all) + 2.0);
        if run >= Self::EXCHANGES && run as f64 * chance.ln() < Self::LOG_CHANCE {
            self.from = window[split].t1;
            (self.rate, self.rate_variance) = self.last;
        }
    }

    fn learn(&mut self, likely: &Likely) {
        self.last = (likely.rate, likely.rate_variance);
        self.jitter = likely.jitter;
    }

    /// Mean and standard deviation of the rate at `at`, before any exchange on this route, ppb.
    ///
    /// A guess that the certificate has refuted is worth less by how far it was off.
    fn prior_at(&self, at: PlatformTime, certified: [f64; 2], walk: &Walk) -> (f64, f64) {
        let since = (at - self.from).as_s_f64().min(1e9); // `from` may be the beginning of time: then it hardly matters
        let possible = self.rate.clamp(certified[0], certified[1]);
        let off = possible - self.rate;
        (possible, (self.rate_variance + walk.variance * since + off * off).sqrt())
    }
}

/// How blunt the clouds' edges are.
///
/// Exponential delays crowd at their floor: the least of n lies within jitter/n of it. Where access to the medium takes
/// a few steps, or several queues follow each other, short delays are rare, and the least of n says less. To see it, the
/// window is dealt out in turn to 4 groups and to 8: how much their least points differ, and how that shrinks from
/// eighths to quarters, tells how little the whole window's will be off. What time does to all of them alike (wander,
/// trends) is not in the differences.
#[derive(Clone, Debug, Default)]
struct Fuzz {
    /// Variance among the groups as a multiple of that among exponential ones, and the weight of what was seen.
    seen: [f64; 2],
    weight: f64,
}

impl Fuzz {
    const GROUPS: [usize; 2] = [4, 8];
    const POINTS_MIN: usize = 32;
    /// Sharp edges may look so blunt by chance.
    const CHANCE: f64 = 1.5;
    /// Windows a second apart have almost the same points; so many are worth remembering.
    const MEMORY: f64 = 64.0;

    fn look(&mut self, up: &Side, down: &Side, likely: &Likely, walk: &Walk) {
        if up.points.len() < Self::POINTS_MIN {
            return;
        }
        let rates = [likely.rate, -likely.rate];
        let mut now = [0.0; 2];
        for (side, (rate, (n, jitter))) in [up, down].into_iter().zip(rates.into_iter().zip(likely.clouds)) {
            for (now, groups) in now.iter_mut().zip(Self::GROUPS) {
                let mut least = [f64::INFINITY; 8];
                for (i, &(age, ns)) in side.points.iter().enumerate() {
                    let least = &mut least[i % groups];
                    *least = least.min(ns + rate * age + walk.displacement(age));
                }
                let least = &least[..groups];
                let mean = least.iter().sum::<f64>() / groups as f64;
                let variance = least.iter().map(|ns| (ns - mean).powi(2)).sum::<f64>() / (groups - 1) as f64;
                *now += 0.5 * variance / (jitter * groups as f64 / n).powi(2);
            }
        }
        self.weight = (self.weight + 1.0).min(Self::MEMORY);
        for (seen, now) in self.seen.iter_mut().zip(now) {
            *seen += (now - *seen) / self.weight;
        }
    }

    /// By how much the variance of the whole window's edge exceeds that of an exponential cloud; 1 if it does not.
    fn excess(&self) -> f64 {
        let [quarters, eighths] = self.seen;
        if self.weight == 0.0 || eighths <= 0.0 {
            return 1.0;
        }
        // From eighths to quarters, to halves, to the whole. Nothing is blunter than an edge that more points do not
        // sharpen at all.
        let doubling = (quarters / eighths).clamp(1.0, 4.0);
        (quarters * doubling * doubling / Self::CHANCE).max(1.0)
    }
}

/// A line through the exchanges' middles: what serves where the edges are blunt.
#[derive(Clone, Debug, Default)]
struct Regression {
    /// Age in s, middle in ns, weight.
    points: Vec<(f64, f64, f64)>,
}

/// A regression's answer, as of age 0.
struct Line {
    offset: f64,
    variance: f64,
    rate: f64,
}

impl Regression {
    /// Fewer leave too little over to judge the line by.
    const POINTS_MIN: usize = 32;
    const TOGETHER: usize = 16;

    /// Fits a line to (age, middle, round trip); short round trips and young exchanges weigh more.
    fn fit(&mut self, middles: impl Iterator<Item = (f64, f64, f64)>, walk: &Walk) -> Option<Line> {
        self.points.clear();
        self.points.extend(middles);
        if self.points.len() < Self::POINTS_MIN {
            return None;
        }
        let n = self.points.len() as f64;
        let least = self.points.iter().map(|point| point.2).fold(f64::INFINITY, f64::min);
        let excess = (self.points.iter().map(|point| point.2 - least).sum::<f64>() / n).max(1.0);
        for (age, _, round_trip) in &mut self.points {
            // A middle is off by about half of its excess.
            let near = 1.0 + (*round_trip - least) / excess;
            let walked = 2.0 * walk.displacement(*age) / excess;
            *round_trip = 1.0 / (near * near + walked * walked);
        }
        let sum = |value: &dyn Fn(f64, f64) -> f64| self.points.iter().map(|&(x, y, w)| w * value(x, y)).sum::<f64>();
        let (w, x, y) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, y| y));
        let (xx, xy) = (sum(&|x, _| x * x), sum(&|x, y| x * y));
        let determinant = w * xx - x * x;
        let (offset, slope) = ((xx * y - x * xy) / determinant, (w * xy - x * y) / determinant);
        // Each point's share in the offset, and with it the variance, whatever the points' own; neighbours are taken
        // together, since a queue has memory (White 1980; Liang and Zeger 1986).
        let share = |age: f64, weight: f64| weight * (xx - x * age) / determinant;
        let variance = self.points.chunks(Self::TOGETHER).map(|chunk| {
            let one = |&(age, middle, weight): &(f64, f64, f64)| share(age, weight) * (middle - offset - slope * age);
            let (sum, squares) = chunk.iter().map(one).fold((0.0, 0.0), |(sum, squares), e| (sum + e, squares + e * e));
            f64::max(sum * sum, squares)
        });
        let walked = self.points.iter().map(|&(age, _, weight)| (share(age, weight) * walk.displacement(age)).abs());
        let variance = variance.sum::<f64>() + 0.25 * walked.sum::<f64>().powi(2);
        let line = Line { offset, variance, rate: -slope };
        (line.offset.is_finite() && line.variance.is_finite()).then_some(line)
    }
}

/// One side of the channel: its cloud of points, in the few numbers that a likelihood needs.
struct Cloud<'a> {
    hull: &'a [(f64, f64)],
    /// Mean excess over the floor, ns.
    jitter: f64,
    /// How many points it is worth, and the weighted sums of their ns and of their ages.
    n: f64,
    sum_ns: f64,
    sum_age: f64,
    /// Points a second, and the oldest one's age in s.
    density: f64,
    oldest: f64,
}

impl<'a> Cloud<'a> {
    /// `rate` is roughly the slope; `prior` the jitter to assume before there is any sign of it.
    fn new(side: &'a mut Side, rate: f64, prior: f64, walk: &Walk) -> Self {
        // Independent exponential delays differ by an exponential of the same mean, whose median is ln 2 of it. Taken
        // from neighbours, this needs no floor: a fit that grades its own residuals ends up believing in one of its
        // points. Taken from the median, it does not mind spikes.
        side.differences.clear();
        side.differences.extend(side.points.windows(2).map(|p| (p[1].1 - p[0].1 + rate * (p[1].0 - p[0].0)).abs()));
        let pairs = side.differences.len();
        let median = match pairs {
            0 => 0.0,
            _ => *side.differences.select_nth_unstable_by(pairs / 2, f64::total_cmp).1,
        };
        let jitter = (pairs as f64 * median / std::f64::consts::LN_2 + prior) / (pairs as f64 + 1.0);
        side.lower_hull(|age| walk.displacement(age));
        let (mut n, mut sum_ns, mut sum_age) = (0.0, 0.0, 0.0);
        for &(age, ns) in &side.points {
            // What the walk blurs by more than the jitter says little.
            let displacement = walk.displacement(age);
            let weight = jitter / (jitter + displacement);
            n += weight;
            sum_ns += weight * (ns + displacement);
            sum_age += weight * age;
        }
        let oldest = side.points.last().map_or(0.0, |point| point.0);
        let density = side.points.len() as f64 / oldest.max(1e-3);
        Self { hull: &side.hull, jitter, n, sum_ns, sum_age, density, oldest }
    }

    /// How far back the points are of use, s.
    ///
    /// To where the walk displaces a point by as much as the least of all younger ones
    /// lies above the floor: w·a³ᐟ²/√3 = jitter/n(a). What the walk does within that past is in the error.
    fn useful_past(&self, walk: &Walk) -> f64 {
        (self.jitter * 3f64.sqrt() / (walk.variance.sqrt() * self.density)).powf(0.4).min(self.oldest)
    }

    /// The side's line at age 0 for a slope.
    fn line(&self, rate: f64) -> f64 {
        self.hull.iter().map(|&(age, ns)| ns + rate * age).fold(f64::INFINITY, f64::min)
    }

    /// Log-likelihood of a slope, up to a constant: exponential excess over the line. Concave.
    fn log_likelihood(&self, rate: f64) -> f64 {
        -(self.sum_ns + rate * self.sum_age - self.n * self.line(rate)) / self.jitter
    }
}

/// Both clouds and the channel between them.
struct Channel<'a> {
    up: Cloud<'a>,
    down: Cloud<'a>,
    /// Mean and standard deviation of the slope before there was any exchange, ppb.
    prior: (f64, f64),
    /// How far back points are of use, s; what the walk adds to the error, ns; and the walk in a second, ppb.
    past: f64,
    blur: f64,
    wander: f64,
}

/// Mean and variance of the posterior.
struct Likely {
    offset: f64,
    variance: f64,
    rate: f64,
    rate_variance: f64,
    /// How far back points are of use, s.
    past: f64,
    /// Both ways together, ns.
    jitter: f64,
    blur: f64,
    wander: f64,
    /// How many points each side is worth, and its mean excess, ns.
    clouds: [(f64, f64); 2],
}

impl<'a> Channel<'a> {
    /// Jitter as a share of the round trip, before there is any sign of it.
    const JITTER_SHARE: f64 = 0.2;

    fn new(up: &'a mut Side, down: &'a mut Side, rate: f64, walk: &Walk, rate_prior: (f64, f64)) -> Self {
        let least = |side: &Side| side.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let prior = (Self::JITTER_SHARE * (least(up) + least(down))).max(1e3);
        let (up, down) = (Cloud::new(up, rate, prior, walk), Cloud::new(down, -rate, prior, walk));
        let pasts = [up.useful_past(walk), down.useful_past(walk)];
        let blur = 0.5 * pasts.iter().map(|&past| walk.displacement(past)).sum::<f64>();
        let past = pasts[0].max(pasts[1]);
        Self { up, down, prior: rate_prior, past, blur, wander: walk.variance.sqrt() }
    }

    fn log_likelihood(&self, rate: f64) -> f64 {
        let prior = (rate - self.prior.0) / self.prior.1;
        self.up.log_likelihood(rate) + self.down.log_likelihood(-rate) - 0.5 * prior * prior
    }

    /// The posterior mean rather than the mode: the mode rests on three points and moves in stairs when one leaves.
    fn posterior(&self, rates: [f64; 2]) -> Likely {
        const STEPS: usize = 32;
        const NEGLIGIBLE: f64 = 12.0;
        let [mut low, mut high] = rates;
        for _ in 0..48 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if self.log_likelihood(a) < self.log_likelihood(b) {
                low = a;
            } else {
                high = b;
            }
        }
        let mode = 0.5 * (low + high);
        let best = self.log_likelihood(mode);
        // How far from the mode towards `end` the slope is still worth a look.
        let reach = |end: f64| {
            let (mut near, mut far) = (0.0, 1.0);
            for _ in 0..24 {
                let middle = 0.5 * (near + far);
                if self.log_likelihood(mode + (end - mode) * middle) > best - NEGLIGIBLE {
                    near = middle;
                } else {
                    far = middle;
                }
            }
            mode + (end - mode) * far
        };
        let (from, to) = (reach(rates[0]), reach(rates[1]));
        // Beyond its least point an exponential cloud of n points begins jitter/n earlier, give or take as much.
        let back = |cloud: &Cloud| cloud.jitter / cloud.n;
        let (back_up, back_down) = (back(&self.up), back(&self.down));
        let (mut mass, mut sums) = (0.0, [0.0; 4]);
        for step in 0..STEPS {
            let rate = from + (to - from) * (step as f64 + 0.5) / STEPS as f64;
            let weight = (self.log_likelihood(rate) - best).exp();
            let offset = 0.5 * ((self.up.line(rate) - back_up) - (self.down.line(-rate) - back_down));
            mass += weight;
            for (sum, term) in sums.iter_mut().zip([offset, offset * offset, rate - mode, (rate - mode).powi(2)]) {
                *sum += weight * term;
            }
        }
        let [offset, offset_2, rate, rate_2] = sums.map(|sum| sum / mass);
        Likely {
            offset,
            variance: (offset_2 - offset * offset).max(0.0) + 0.25 * (back_up * back_up + back_down * back_down),
            rate: mode + rate,
            rate_variance: (rate_2 - rate * rate).max(0.0),
            past: self.past,
            jitter: self.up.jitter + self.down.jitter,
            blur: self.blur,
            wander: self.wander,
            clouds: [(self.up.n, self.up.jitter), (self.down.n, self.down.jitter)],
        }
    }
}

impl Likely {
    /// 99 % of a normal error lie within 2.6 standard deviations. This one has longer tails, and stays for as long as
    /// the exchange that caused it; both numbers are measured, in simulated worlds of 10 µs to 10 ms of jitter.
    const SIGMAS: f64 = 3.1;
    /// How much of a difference between the two ways' jitters a regression turns into an error.
    const LOPSIDED_SHARE: f64 = 0.25;

    /// Takes the mean of this estimate and a regression's, each weighed by its variance.
    fn weigh_in(&mut self, line: &Line) {
        let lopsided = Self::LOPSIDED_SHARE * (self.clouds[0].1 - self.clouds[1].1);
        let theirs = line.variance + lopsided * lopsided;
        let ours = self.variance + self.blur * self.blur;
        let share = ours / (ours + theirs);
        self.offset += share * (line.offset - self.offset);
        self.rate += share * (line.rate - self.rate);
        self.rate_variance *= 1.0 - share;
        // They come from the same points: not as independent as their variances would have it.
        self.variance *= 1.0 - share;
        self.blur *= (1.0 - share).sqrt();
    }

    fn uncertainty(&self) -> f64 {
        Self::SIGMAS * (self.variance + self.blur * self.blur).sqrt() + ROUNDING_NS
    }

    fn uncertainty_rate(&self) -> f64 {
        Self::SIGMAS * (self.rate_variance + self.wander * self.wander * self.past).sqrt()
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: FilterConfig =
        FilterConfig { max_drift_ppb: 500_000, max_wander: 1e-7, expected_drift_ppb: 100_000, expected_wander: 3e-9 };
    const S: i64 = 1_000_000_000;

    /// The exchange that leaves at `t1` and takes `up` and `down` ns, if node = (1 + rate)·platform + offset.
    fn exchange(t1: i64, up: i64, down: i64, offset: i64, rate: f64) -> Exchange {
        let node = |t: i64| NodeTime::from_ns(t + offset + (t as f64 * rate).round() as i64);
        let t4 = t1 + up + 10_000 + down;
        Exchange {
            t1: PlatformTime::from_ns(t1),
            t2: node(t1 + up),
            t3: node(t1 + up + 10_000),
            t4: PlatformTime::from_ns(t4),
            stamp_error: Span::ZERO,
        }
    }

    fn each_second(delays: Vec<(i64, i64)>, offset: i64, rate: f64) -> Vec<Exchange> {
        delays.into_iter().zip(0..).map(|((up, down), i)| exchange(i * S, up, down, offset, rate)).collect()
    }

    fn filled(exchanges: impl IntoIterator<Item = Exchange>) -> Filter {
        let mut filter = Filter::new(CONFIG);
        for exchange in exchanges {
            assert_eq!(filter.push(exchange), Verdict::Consistent);
        }
        filter
    }

    prop_compose! {
        fn delays()(delays in prop::collection::vec((1_000i64..20_000_000, 1_000i64..20_000_000), 1..40),
                    offset in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000, rate in -4.9e-4..4.9e-4f64)
                    -> (Vec<(i64, i64)>, i64, f64) { (delays, offset, rate) }
    }

    proptest! {
        #[test]
        fn truth_is_certain_at_every_age((delays, offset, rate) in delays(), later in -5_000_000i64..3000 * S) {
            let n = delays.len() as i64;
            let filter = filled(each_second(delays, offset, rate));
            let t = n * S + later;
            let (low, high) = filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(t));
            let truth = offset + (t as f64 * rate).round() as i64;
            prop_assert!((low..=high).contains(&truth), "{} not in {}..={}", truth, low, high);
        }

        #[test]
        fn more_exchanges_never_tell_less_than_the_last_alone((delays, offset, rate) in delays()) {
            let exchanges = each_second(delays, offset, rate);
            let newest = *exchanges.last().unwrap();
            let width = |filter: &Filter| {
                let (low, high) = filter.estimate().unwrap().certified.offset_at(newest.t4);
                high - low
            };
            prop_assert!(width(&filled(exchanges)) <= width(&filled([newest])) + 2);
        }

        #[test]
        fn the_estimate_lies_in_the_certified_interval((delays, offset, rate) in delays()) {
            let filter = filled(each_second(delays, offset, rate));
            let estimate = filter.estimate().unwrap();
            let (low, high) = estimate.certified.offset_at(estimate.at);
            let likely = estimate.base_ns + estimate.offset_ns.round() as i64;
            prop_assert!((low..=high).contains(&likely));
            prop_assert!(estimate.rate_ppb.abs() <= 500_000.0 && estimate.uncertainty_ns > 0.0);
        }

        #[test]
        fn the_order_of_overtaking_answers_hardly_matters((delays, offset, rate) in delays()) {
            let inside = |mut exchanges: Vec<Exchange>, swap: bool| {
                let n = exchanges.len();
                if swap && n > 1 { exchanges.swap(n - 1, n - 2); }
                let filter = filled(exchanges);
                filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(n as i64 * S))
            };
            let exchanges = each_second(delays, offset, rate);
            let ((a, b), (c, d)) = (inside(exchanges.clone(), false), inside(exchanges, true));
            // The one that comes late is weakened by what may have happened in the seconds since: w·Δ²/2.
            let weaker = 2 + (0.5e9 * CONFIG.max_wander * 9.0) as i64;
            prop_assert!((a - c).abs() <= weaker && (b - d).abs() <= weaker, "{:?} {:?}", (a, b), (c, d));
        }

        #[test]
        fn the_hull_is_as_low_as_all_points(points in prop::collection::vec((0.0..300.0f64, -1e6..1e6f64), 1..60),
                                            slope in -1e6..1e6f64) {
            let mut points = points;
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let least = |points: &[(f64, f64)]| points.iter().map(|p| p.1 + slope * p.0).fold(f64::INFINITY, f64::min);
            let all = least(&points);
            let mut side = Side { points, ..Side::default() };
            let hull = least(side.lower_hull(|_| 0.0));
            prop_assert!((hull - all).abs() <= 1e-9 * all.abs() + 1e-6, "{} {}", hull, all);
        }

        #[test]
        fn clipping_keeps_exactly_the_points_within(
            cuts in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64, -50.0..100.0f64), 0..12),
                                                   x in -100.0..100.0f64, y in -100.0..100.0f64) {
            let mut polygon = Polygon::default();
            polygon.start(100.0, 100.0);
            for &(a, b, c) in &cuts { polygon.clip(a, b, c); }
            let slack = cuts.iter().map(|&(a, b, c)| c - a * x - b * y).fold(f64::INFINITY, f64::min);
            // A point is in a convex polygon if it lies within its extent in every direction.
            let within = |margin: f64| (0..360).all(|degree| {
                let (sin, cos) = f64::from(degree).to_radians().sin_cos();
                cos * x + sin * y <= polygon.extent(cos, sin) + margin
            });
            if slack > 0.0 { prop_assert!(within(1e-9)); }
            if slack < -4.0 { prop_assert!(!within(-1e-9)); } // 360 directions see a corner to within 100·(1 − cos ½°)
        }
    }

    proptest! {
        #[test]
        fn a_sum_reaches_as_far_as_its_parts(corners in prop::collection::vec((-50.0..50.0f64, -50.0..50.0f64), 0..8),
                                             x in -9.0..9.0f64, y in 0.0..9.0f64, aside in 0.0..9.0f64, dt in 0.0..3.0f64) {
            let mut polygon = Polygon::default();
            polygon.start(100.0, 100.0);
            for &(a, b) in &corners { polygon.clip(a, b, 1000.0); }
            let mut sum = polygon.clone();
            sum.grow((x, y), aside);
            let mut sheared = polygon.clone();
            sheared.shear(dt);
            for degree in 0..360 {
                let (b, a) = f64::from(degree).to_radians().sin_cos();
                let expected = polygon.extent(a, b) + (a * x + b * y).abs() + (a * aside).abs();
                prop_assert!((sum.extent(a, b) - expected).abs() < 1e-9);
                prop_assert!((sheared.extent(a, b) - polygon.extent(a, a * dt + b)).abs() < 1e-9);
            }
        }

        #[test]
        fn a_simpler_polygon_is_never_smaller(cuts in prop::collection::vec(0.0..6.3f64, 30..90)) {
            let mut polygon = Polygon::default();
            polygon.start(100.0, 100.0);
            for angle in cuts { polygon.clip(angle.cos(), angle.sin(), 50.0); }
            let before = polygon.clone();
            polygon.simplify();
            prop_assert!(polygon.corners.len() <= Polygon::CORNERS_MAX);
            for degree in 0..360 {
                let (b, a) = f64::from(degree).to_radians().sin_cos();
                prop_assert!(polygon.extent(a, b) >= before.extent(a, b) - 1e-9);
                prop_assert!(polygon.extent(a, b) <= before.extent(a, b) + 5.0);
            }
        }
    }

    #[test]
    fn a_symmetric_path_without_jitter_is_measured_to_the_nanosecond() {
        let filter = filled((0..20).map(|i| exchange(i * S, 500_000, 500_000, 123_456_789, 50e-6)));
        let estimate = filter.estimate().unwrap();
        let truth = 123_456_789.0 + estimate.at.ns() as f64 * 50e-6;
        assert!((estimate.base_ns as f64 + estimate.offset_ns - truth).abs() < 100.0, "{estimate:?} {truth}");
        assert!((estimate.rate_ppb - 50_000.0).abs() < 100.0, "{estimate:?}");
    }

    #[test]
    fn a_lopsided_path_misleads_the_estimate_but_not_the_certificate() {
        let filter = filled((0..50).map(|i| exchange(i * S, 1_000_000, 9_000_000, 0, 0.0)));
        let estimate = filter.estimate().unwrap();
        assert!((estimate.base_ns as f64 + estimate.offset_ns + 4e6).abs() < 1e5, "{estimate:?}");
        let (low, high) = estimate.certified.offset_at(estimate.at);
        assert!(low <= 0 && 0 <= high);
    }

    #[test]
    fn a_stepped_clock_is_a_contradiction_and_the_window_begins_anew() {
        let mut filter = filled((0..50).map(|i| exchange(i * S, 100_000, 100_000, 0, 0.0)));
        let stepped = exchange(50 * S, 100_000, 100_000, 5_000_000, 0.0);
        assert_eq!(filter.push(stepped), Verdict::Contradiction);
        assert_eq!(filter.len(), 1);
        let (low, high) = filter.estimate().unwrap().certified.offset_at(stepped.t4);
        assert!((low..=high).contains(&5_000_000));
    }

    #[test]
    fn a_drift_beyond_the_stated_one_is_a_contradiction() {
        let mut filter = Filter::new(CONFIG);
        let verdicts: Vec<_> = (0..10).map(|i| filter.push(exchange(i * S, 10_000, 10_000, 0, 700e-6))).collect();
        assert!(verdicts.contains(&Verdict::Contradiction));
    }

    #[test]
    fn truth_is_certain_even_where_the_frequency_wanders_as_fast_as_stated() {
        // Delays of 1 µs leave no room to hide in: what is certain must come from the wander that is allowed for.
        for sign in [-1.0, 1.0] {
            let offset = |t: i64| (sign * 0.5 * 0.999e-7 * (t as f64 / S as f64).powi(2) * 1e9) as i64;
            let node = |t: i64| NodeTime::from_ns(t + offset(t));
            let mut filter = Filter::new(CONFIG);
            for t in (0..200).map(|i| i * S) {
                let exchange = Exchange {
                    t1: PlatformTime::from_ns(t),
                    t2: node(t + 1000),
                    t3: node(t + 2000),
                    t4: PlatformTime::from_ns(t + 3000),
                    stamp_error: Span::ZERO,
                };
                assert_eq!(filter.push(exchange), Verdict::Consistent, "after {t} ns");
            }
            for later in [0, 1, 10, 100, 1000] {
                let t = 200 * S + later * S;
                let (low, high) = filter.estimate().unwrap().certified.offset_at(PlatformTime::from_ns(t));
                assert!((low..=high).contains(&offset(t)), "{} not in {low}..={high} after {later} s", offset(t));
            }
        }
    }

    #[test]
    fn a_change_of_route_does_not_cost_the_rate() {
        // Uneven delays from a fixed pattern; eight of them alone would leave the slope open by dozens of ppm.
        let delay = |i: i64, k: i64| 1_000_000 + (i * k % 97) * 20_000;
        let longer = |i: i64| if i < 100 { 0 } else { 20_000_000 };
        let filter =
            filled((0..108).map(|i| exchange(i * S, delay(i, 31) + longer(i), delay(i, 57) + longer(i), 0, 80e-6)));
        let estimate = filter.estimate().unwrap();
        assert!((estimate.rate_ppb - 80_000.0).abs() < 3_000.0, "{}", estimate.rate_ppb);
        assert!(filter.route.from == PlatformTime::from_ns(100 * S), "the change was not noticed");
    }

    #[test]
    fn a_stamp_error_is_allowed_for() {
        // The answer is stamped 50 µs too early: without the allowance the certificate would be wrong.
        let early =
            |exchange: Exchange, stamp_error| Exchange { t4: exchange.t4 - Span::from_us(50), stamp_error, ..exchange };
        let bad = early(exchange(0, 10_000, 10_000, 0, 0.0), Span::ZERO);
        let good = early(exchange(0, 10_000, 10_000, 0, 0.0), Span::from_us(50));
        let certain = |exchange: Exchange| {
            let mut filter = Filter::new(CONFIG);
            filter.push(exchange);
            filter.estimate().is_some_and(|estimate| {
                let (low, high) = estimate.certified.offset_at(exchange.t4);
                (low..=high).contains(&0)
            })
        };
        assert!(!certain(bad) && certain(good));
    }

    #[test]
    fn an_impossible_exchange_leaves_nothing_behind() {
        let mut filter = Filter::new(CONFIG);
        let mut impossible = exchange(0, 10_000, 10_000, 0, 0.0);
        impossible.t3 += Span::from_s(1); // the node waited for a second within 30 µs
        assert_eq!(filter.push(impossible), Verdict::Contradiction);
        assert!(filter.is_empty() && filter.estimate().is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let filter = filled((0..3 * WINDOW as i64).map(|i| exchange(i * S, 10_000, 10_000, 0, 0.0)));
        assert_eq!(filter.len(), WINDOW);
    }
}
