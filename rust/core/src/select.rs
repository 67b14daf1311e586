//! Whom to believe, of several sources that each say what time it is.
//!
//! A clock that follows one server goes wherever that server goes. With several, taking the mean lets one liar pull by
//! as much as it likes, and taking the median of the estimates throws away what makes the lie visible: every source
//! states an interval in which the truth certainly lies, as seen from here. Two intervals without a common point prove
//! that one of them is false, whatever the network did.
//!
//! **Intersection first.** With n sources of which fewer than half are false, at least m = ⌊n/2⌋ + 1 intervals hold the
//! truth. So the truth is not above the m-th largest of the upper ends, nor below the m-th smallest of the lower ends:
//! that is what the combination certifies ([`Certified::of_majority`]). The largest group of sources that share a point
//! are the truechimers; without m of them nobody is believed, and nothing is said about who is false.
//!
//! **Combination second.** Truechimers are weighed by the square of how near they are: their expected uncertainty, and
//! a little for every stratum. Their scatter, if larger than they state (lopsided paths), becomes uncertainty. The mean
//! is kept within what all truechimers allow, so no falseticker ever moves it beyond the certified bound.
//!
//! A source counts only once, by its clock; not at all when its time comes from us, when it was not heard for long, or
//! when it is not set itself.
//!
//! Sources: Marzullo and Owicki 1983; Mills 2006, chapter 3 (selection and clustering), RFC 5905 section 11.2.
use crate::filter::{Certified, Estimate};
use crate::session::{SyncSession, STRATUM_UNKNOWN};
use crate::units::{PlatformTime, Span};

/// A source, by a number that the caller chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub u32);

/// What is known of one source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Report {
    /// What the exchanges with it say of its clock.
    pub estimate: Estimate,
    /// How wrong its own time may be, as it said with its newest answer: its bound, or half of its root delay and its
    /// root dispersion.
    pub root_bound: Span,
    /// Its stratum: 1 to 15; anything else is not set.
    pub stratum: u8,
    /// Its clock's identity; 0 for a stranger, who has none.
    pub clock_id: u64,
    /// What it follows: an address or four letters.
    pub refid: u32,
}

impl Report {
    /// What `session` has found out; `None` before the first answer.
    pub fn of(session: &SyncSession) -> Option<Self> {
        Some(Self {
            estimate: session.estimate()?,
            root_bound: session.node_bound(),
            stratum: session.stratum(),
            clock_id: session.clock_id()?,
            refid: session.refid(),
        })
    }
}

/// How a [`Selector`] judges.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SelectConfig {
    /// Our own clock: a source that serves it is ourselves. 0 for none.
    pub own_clock_id: u64,
    /// What our own answers give servers that follow us as their refid (an IPv4 address, or the beginning of a hash of
    /// an IPv6 address): a source with it follows us. 0 for none.
    pub own_refid: u32,
    /// A source that was not heard for so long has no vote.
    pub stale_after: Span,
    /// So many truechimers are needed, however few sources there are.
    pub min_sources: usize,
    /// How much farther away a source counts for every stratum.
    pub stratum_penalty: Span,
    /// By how much (ppb) a source's error may grow after its answer. RFC 5905 says 15 ppm (PHI).
    pub source_drift_ppb: i64,
}

impl Default for SelectConfig {
    fn default() -> Self {
        Self {
            own_clock_id: 0,
            own_refid: 0,
            stale_after: Span::from_s(60),
            min_sources: 1,
            stratum_penalty: Span::from_us(100),
            source_drift_ppb: 15_000,
        }
    }
}

/// What a source is worth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// One of the majority that agrees; it takes part in the combination.
    Truechimer,
    /// It agrees with no majority.
    Falseticker,
    /// There is no majority: it may be right or wrong.
    Disputed,
    /// Not heard for [`SelectConfig::stale_after`].
    Stale,
    /// Its time comes from us.
    Loop,
    /// Its clock has a vote already, through another address that is nearer.
    Duplicate,
    /// It says of itself that it is not set.
    Unsynchronised,
}

/// What the sources say together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// Nobody has a vote.
    Silence,
    /// Too few agree: nobody is believed.
    NoMajority {
        /// The largest group that shares a point.
        agreeing: usize,
        /// How many would be needed.
        needed: usize,
    },
    /// More than half agree.
    Majority {
        /// They left the interval that the last majority had certified: one of the two was wrong, or a clock stepped.
        moved: bool,
    },
}

/// A judgement over all sources at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Selection {
    /// When.
    pub at: PlatformTime,
    /// What the sources say together.
    pub agreement: Agreement,
    /// Every source and its standing, by id.
    pub standings: Vec<(SourceId, Standing)>,
    /// The truechimers' estimate, as of `at`; `None` without a majority.
    pub estimate: Option<Estimate>,
    /// The truechimer with the largest weight.
    pub reference: Option<SourceId>,
    /// One more than the reference's; 16 without a majority.
    pub stratum: u8,
}

/// Judges between sources. Bounded by the number of sources; deterministic.
#[derive(Clone, Debug)]
pub struct Selector {
    config: SelectConfig,
    /// By id.
    reports: Vec<(SourceId, Report)>,
    /// What was said last.
    last: Option<Estimate>,
    at: PlatformTime,
}

/// A source with a vote, as of the instant of judgement; ns relative to a common base.
#[derive(Clone, Copy)]
struct Voter {
    id: SourceId,
    report: Report,
    low: i64,
    high: i64,
    offset: f64,
    uncertainty: f64,
    /// How far away it counts, ns.
    distance: f64,
}

impl Selector {
    /// A selector without sources.
    pub fn new(config: SelectConfig) -> Self {
        Self { config, reports: Vec::new(), last: None, at: PlatformTime::from_ns(i64::MIN) }
    }

    /// Takes what a source says now, in place of what it said before.
    pub fn update(&mut self, id: SourceId, report: Report) {
        self.at = self.at.max(report.estimate.at);
        match self.reports.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(index) => self.reports[index].1 = report,
            Err(index) => self.reports.insert(index, (id, report)),
        }
    }

    /// Forgets a source.
    pub fn remove(&mut self, id: SourceId) {
        self.reports.retain(|(other, _)| *other != id);
    }

    /// Forgets everything but its configuration: for a platform whose own clock was stepped or stood still.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// The newest report of a source.
    pub fn report(&self, id: SourceId) -> Option<&Report> {
        self.reports.iter().find(|(other, _)| *other == id).map(|(_, report)| report)
    }

    /// Judges as of `now`, or of the newest report if that is later. Costs O(n²) for n sources.
    pub fn select(&mut self, now: PlatformTime) -> Selection {
        self.at = self.at.max(now);
        let at = self.at;
        let (mut standings, voters) = self.voters(at);
        let needed = (voters.len() / 2 + 1).max(self.config.min_sources);
        let group = self.largest_group(&voters);
        if voters.is_empty() || group.len() < needed {
            let agreement = match voters.len() {
                0 => Agreement::Silence,
                _ => Agreement::NoMajority { agreeing: group.len(), needed },
            };
            return Selection { at, agreement, standings, estimate: None, reference: None, stratum: STRATUM_UNKNOWN };
        }
        for (id, standing) in &mut standings {
            if *standing == Standing::Disputed {
                let agrees = group.iter().any(|voter| voter.id == *id);
                *standing = if agrees { Standing::Truechimer } else { Standing::Falseticker };
            }
        }
        let given: Vec<_> = voters.iter().map(|voter| self.certificate(at, &voter.report)).collect();
        let honest = voters.len() / 2 + 1;
        let certified = Certified::of_majority(at, honest, &given).expect("a group of this size shares a point");
        let (low, high) = certified.offset_at(at);
        let moved = self.last.is_some_and(|last| {
            let (former_low, former_high) = last.certified.offset_at(at);
            low > former_high || high < former_low
        });
        let estimate = combine(at, &group, certified);
        let nearest = group.iter().min_by(|a, b| a.distance.total_cmp(&b.distance)).expect("a majority is somebody");
        self.last = Some(estimate);
        Selection {
            at,
            agreement: Agreement::Majority { moved },
            standings,
            estimate: Some(estimate),
            reference: Some(nearest.id),
            stratum: nearest.report.stratum.saturating_add(1).min(STRATUM_UNKNOWN),
        }
    }

    /// A source's certificate of the true time: for its own clock, its error then, and how that may have grown.
    fn certificate(&self, at: PlatformTime, report: &Report) -> (Certified, Span, i64) {
        let grown = (at - report.estimate.at).as_s_f64() * self.config.source_drift_ppb as f64;
        (
            report.estimate.certified,
            report.root_bound + Span::from_ns(grown.ceil() as i64),
            self.config.source_drift_ppb,
        )
    }

    /// Everybody's standing before the vote, and who votes.
    fn voters(&self, at: PlatformTime) -> (Vec<(SourceId, Standing)>, Vec<Voter>) {
        let lowest = self.reports.iter().map(|(_, report)| report.stratum).min().unwrap_or(0);
        let mut voters: Vec<Voter> = Vec::with_capacity(self.reports.len());
        let mut standings = Vec::with_capacity(self.reports.len());
        for &(id, report) in &self.reports {
            let ours = |given: u64, own: u64| own != 0 && given == own;
            let standing = if report.stratum == 0 || report.stratum >= STRATUM_UNKNOWN {
                Standing::Unsynchronised
            } else if ours(report.clock_id, self.config.own_clock_id)
                || (report.stratum > 1 && ours(report.refid.into(), self.config.own_refid.into()))
            {
                Standing::Loop
            } else if at - report.estimate.at > self.config.stale_after {
                Standing::Stale
            } else {
                Standing::Disputed
            };
            standings.push((id, standing));
            if standing != Standing::Disputed {
                continue;
            }
            let voter = self.voter(at, id, report, lowest);
            let twin = voters.iter_mut().find(|other| report.clock_id != 0 && other.report.clock_id == report.clock_id);
            match twin {
                None => voters.push(voter),
                Some(twin) => {
                    let farther = if twin.distance <= voter.distance { id } else { twin.id };
                    if farther != id {
                        *twin = voter;
                    }
                    for (_, standing) in standings.iter_mut().filter(|(other, _)| *other == farther) {
                        *standing = Standing::Duplicate;
                    }
                }
            }
        }
        (standings, voters)
    }

    fn voter(&self, at: PlatformTime, id: SourceId, report: Report, lowest: u8) -> Voter {
        let Report { estimate, root_bound, .. } = report;
        let (certified, error, _) = self.certificate(at, &report);
        let (low, high) = certified.offset_at(at);
        let dt = (at - estimate.at).as_s_f64();
        let uncertainty = estimate.uncertainty_after(dt);
        // A source with a wide bound of its own is farther away, too; it is seldom as wrong as it may be.
        let root = root_bound.ns() as f64 / 8.0;
        let strata = f64::from(report.stratum - lowest.min(report.stratum));
        Voter {
            id,
            report,
            low: low.saturating_sub(error.ns()),
            high: high.saturating_add(error.ns()),
            offset: estimate.offset_ns + estimate.rate_ppb * dt,
            uncertainty: uncertainty.hypot(root),
            distance: uncertainty.hypot(root).max(1.0) + strata * self.config.stratum_penalty.ns() as f64,
        }
    }

    /// The most voters that share a point. Of equally many: those nearest to what was said last, or the narrowest.
    fn largest_group(&self, voters: &[Voter]) -> Vec<Voter> {
        let last = self.last.map(|last| {
            let since = (self.at - last.at).as_s_f64();
            last.base_ns.saturating_add((last.offset_ns + last.rate_ppb * since) as i64)
        });
        let mut best: Option<(usize, i64, Vec<Voter>)> = None;
        // The region that the most intervals share begins with the lower end of one of them.
        for begin in voters.iter().map(|voter| voter.low) {
            let group: Vec<Voter> =
                voters.iter().filter(|voter| voter.low <= begin && begin <= voter.high).copied().collect();
            let end = group.iter().map(|voter| voter.high).min().unwrap_or(begin);
            let strangeness = match last {
                Some(last) => (begin.saturating_sub(last)).max(last.saturating_sub(end)).max(0),
                None => end.saturating_sub(begin),
            };
            let better = best
                .as_ref()
                .is_none_or(|(size, least, _)| group.len() > *size || (group.len() == *size && strangeness < *least));
            if better {
                best = Some((group.len(), strangeness, group));
            }
        }
        best.map_or(Vec::new(), |(_, _, group)| group)
    }
}

/// The mean of a group that shares a point, weighed by nearness.
fn combine(at: PlatformTime, group: &[Voter], certified: Certified) -> Estimate {
    let base_ns = group[0].report.estimate.base_ns;
    let relative = |ns: i64| (i128::from(ns) - i128::from(base_ns)) as f64;
    let offset = |voter: &Voter| relative(voter.report.estimate.base_ns) + voter.offset;
    let weights: Vec<f64> = group.iter().map(|voter| voter.distance.powi(-2)).collect();
    let total: f64 = weights.iter().sum();
    let mean = |value: &dyn Fn(&Voter) -> f64| {
        group.iter().zip(&weights).map(|(voter, weight)| weight * value(voter)).sum::<f64>() / total
    };
    let variance = |value: &dyn Fn(&Voter) -> f64| {
        let sum: f64 = group.iter().zip(&weights).map(|(voter, weight)| (weight / total * value(voter)).powi(2)).sum();
        sum.sqrt()
    };
    let middle = mean(&offset);
    let low = group.iter().map(|voter| relative(voter.low)).fold(f64::NEG_INFINITY, f64::max);
    let high = group.iter().map(|voter| relative(voter.high)).fold(f64::INFINITY, f64::min);
    let scatter = mean(&|voter| (offset(voter) - middle).powi(2)).sqrt();
    Estimate {
        at,
        base_ns,
        offset_ns: middle.clamp(low, high),
        rate_ppb: mean(&|voter| voter.report.estimate.rate_ppb),
        uncertainty_ns: variance(&|voter| voter.uncertainty).hypot(scatter),
        uncertainty_rate_ppb: variance(&|voter| voter.report.estimate.uncertainty_rate_ppb),
        wander_ppb: mean(&|voter| voter.report.estimate.wander_ppb),
        certified,
    }
}
