//! What is likely: the channel between both clouds of points, its likelihood, and the posterior's mean and variance.
use super::side::Side;
use super::trend::Trend;
use super::walk::Walk;
use super::ROUNDING_NS;

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
pub(super) struct Channel<'a> {
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
pub(super) struct Likely {
    pub(super) offset: f64,
    pub(super) variance: f64,
    pub(super) rate: f64,
    pub(super) rate_variance: f64,
    /// How far back points are of use, s.
    pub(super) past: f64,
    /// Both ways together, ns.
    pub(super) jitter: f64,
    pub(super) blur: f64,
    pub(super) wander: f64,
    /// How many points each side is worth, and its mean excess, ns.
    pub(super) clouds: [(f64, f64); 2],
}

impl<'a> Channel<'a> {
    /// Jitter as a share of the round trip, before there is any sign of it.
    const JITTER_SHARE: f64 = 0.2;
    /// So much of what the walk displaces by at the end of the useful past is error; more where few points are there.
    const BLUR: f64 = 0.55;
    const FEW: f64 = 2.0;

    pub(super) fn new(up: &'a mut Side, down: &'a mut Side, rate: f64, walk: &Walk, rate_prior: (f64, f64)) -> Self {
        let least = |side: &Side| side.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let prior = (Self::JITTER_SHARE * (least(up) + least(down))).max(1e3);
        let (up, down) = (Cloud::new(up, rate, prior, walk), Cloud::new(down, -rate, prior, walk));
        let pasts = [up.useful_past(walk), down.useful_past(walk)];
        let blurred =
            |past: f64, cloud: &Cloud| walk.displacement(past) * (1.0 + Self::FEW / (1.0 + past * cloud.density));
        let blur = Self::BLUR * (blurred(pasts[0], &up) + blurred(pasts[1], &down));
        let past = pasts[0].max(pasts[1]);
        Self { up, down, prior: rate_prior, past, blur, wander: walk.variance.sqrt() }
    }

    fn log_likelihood(&self, rate: f64) -> f64 {
        let prior = (rate - self.prior.0) / self.prior.1;
        self.up.log_likelihood(rate) + self.down.log_likelihood(-rate) - 0.5 * prior * prior
    }

    /// The posterior mean rather than the mode: the mode rests on three points and moves in stairs when one leaves.
    pub(super) fn posterior(&self, rates: [f64; 2]) -> Likely {
        const STEPS: usize = 32;
        const NEGLIGIBLE: f64 = 12.0;
        // Golden section: one look a step, where thirds take two.
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let [mut low, mut high] = rates;
        let at = |low: f64, high: f64| low + GOLDEN * (high - low);
        let mut inner = [at(high, low), at(low, high)].map(|rate| (rate, self.log_likelihood(rate)));
        for _ in 0..40 {
            if inner[0].1 < inner[1].1 {
                low = inner[0].0;
                let next = at(low, high);
                inner = [inner[1], (next, self.log_likelihood(next))];
            } else {
                high = inner[1].0;
                let next = at(high, low);
                inner = [(next, self.log_likelihood(next)), inner[0]];
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
    const SIGMAS: f64 = 3.0;
    /// Of the errors of channel and trend, measured.
    const CORRELATION: f64 = 0.4;

    /// Takes the best mean of this estimate and a trend, each weighed by its variance.
    pub(super) fn weigh_in(&mut self, trend: &Trend) {
        let (ours, theirs) = (self.variance + self.blur * self.blur, trend.variance);
        // They come from the same points.
        let common = Self::CORRELATION * (ours * theirs).sqrt();
        let share = ((ours - common) / (ours + theirs - 2.0 * common)).clamp(0.0, 1.0);
        let apart = trend.offset - self.offset;
        // Where they differ by more than both allow for, one of them is wrong, and nobody knows which.
        let wrong = (apart * apart - ours - theirs).max(0.0);
        let mixed = |ours: f64, theirs: f64, common: f64| {
            let own = 1.0 - share;
            own * own * ours + share * share * theirs + 2.0 * share * own * common
        };
        self.offset += share * apart;
        self.variance = mixed(ours, theirs, common) + share * (1.0 - share) * wrong;
        self.blur = 0.0;
        self.rate += share * (trend.rate - self.rate);
        self.rate_variance = mixed(self.rate_variance, trend.rate_variance, 0.0);
        self.past *= 1.0 - share;
    }

    pub(super) fn uncertainty(&self) -> f64 {
        Self::SIGMAS * (self.variance + self.blur * self.blur).sqrt() + ROUNDING_NS
    }

    pub(super) fn uncertainty_rate(&self) -> f64 {
        Self::SIGMAS * (self.rate_variance + self.wander * self.wander * self.past).sqrt()
    }
}
