//! When a sample sounds: a sound card's own clock, on the platform's clock.
//!
//! A phase means sound at the converter. But a card consumes frames at the rate of its own crystal, off by up to some
//! 100 ppm: whoever renders as if 48,000 frames were a second is wrong by 2.9 s at the end of a night. What can be
//! known are pairs (frames played, platform time), from the card's callbacks or its driver's time stamps.
//!
//! Following each pair would be worse than following none. A callback comes when the system gets round to it: late by
//! half a millisecond, now and then by twenty, and by more when the machine is busy; so an average is late, too, and
//! moves with the load. The delay-locked loops that audio servers use are such averages. But a callback is never early:
//! the card had played those frames *by then*. So of each second only the pair that is earliest against the line so far
//! counts (a lower envelope), less what the best of so many exponential delays is still late by; and these few good
//! points lead a two-state Kalman filter (instant and rate), whose measurement noise is learnt from its own surprises
//! and whose process noise is the walk of a crystal's frequency.
//!
//! Gaps are told from lateness by physics. A second that is wholly late may be a busy machine; one more that agrees is
//! an xrun, in which the card stood still. A pair that is much too early cannot be lateness, and is believed at once.
//! Either moves the line; the rate is the crystal's and stays.
//!
//! Lateness that every callback shares, the converter's own delay and the air's cannot be seen from here: they are the
//! output latency, which is set. Sources: Adriaensen 2005 for the loops; Paxson 1998 for envelopes; Kalman 1960.
use crate::units::{PlatformTime, SampleTime, Span, NS_PER_S};

/// The longest time that is told by one pair.
const BUCKET_S: f64 = 1.0;
/// The first times are shorter, so that the line is soon right: this share of what has been seen. But an earliest of
/// fewer pairs than this is none.
const BUCKET_SHARE: f64 = 0.25;
const BUCKET_PAIRS: u32 = 16;
/// So many of the earliest tell how late the very earliest still is: unlike an average, they do not hear of stalls.
const EARLIEST: usize = 8;
/// How late the first pair may be.
const FIRST_NS: f64 = 10e6;
/// How far a card's rate is from its name, ns/s: 100 ppm, as expected; and at most.
const RATE_NS: f64 = 100e3;
const RATE_MAX_NS: f64 = 10e6;
/// How a crystal's frequency walks, ns/s for one second.
const WALK_NS: f64 = 3.0;
/// No pair is better than this: a time stamp's grain.
const GRAIN_NS: f64 = 100.0;
/// The share that a new surprise has in the noise that is learnt.
const LEARNING: f64 = 1.0 / 16.0;
/// A point farther from the line than so many standard deviations, and than the least gap, is none of its kind.
const GATE: f64 = 8.0;
/// The uncertainty that is stated, in standard deviations: the delays' tail is longer than a bell's.
const SIGMAS: f64 = 4.0;
/// No single point pulls the line by more than one of so many standard deviations does.
const PULL: f64 = 2.5;
const GAP_MIN_NS: f64 = 500e3;
/// Two gaps within so many seconds are no gaps, but a rate that was taken for another.
const GAPS_APART_S: f64 = 20.0;
/// After a pause longer than this, the rate is no more uncertain than after this.
const FORGET_S: f64 = 3_600.0;

/// What became of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It waits with its neighbours for the earliest of them.
    Noted,
    /// It ended its neighbours' time, and the line followed the earliest.
    Followed,
    /// It ended its neighbours' time, and they are all too late to be believed yet.
    Late,
    /// The card stood still or skipped: the line moved by so much.
    Gap(Span),
    /// It counts fewer frames than the pair before; it says nothing.
    Backwards,
}

/// What the card's clock is taken to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConverterReading {
    /// How much faster than its name the card plays, in parts per billion of platform time.
    pub rate_ppb: i64,
    /// Expected error of [`ConverterClock::platform_at`] near the newest pair: 99 % lie within it.
    pub uncertainty: Span,
    /// Pairs taken.
    pub pairs: u64,
    /// Gaps followed.
    pub gaps: u64,
}

/// Platform time of a sound card's frames. O(1) a pair, no allocation: realtime-safe.
#[derive(Clone, Debug)]
pub struct ConverterClock {
    sample_rate: u32,
    /// A point of the line, and its slope beyond 1 in platform ns a sample second.
    sample: SampleTime,
    platform: PlatformTime,
    slope_ns: f64,
    /// Covariance of (instant, slope): ns², ns²/s, ns²/s².
    variance: [f64; 3],
    noise: f64,
    began: Option<SampleTime>,
    newest: u64,
    bucket: Bucket,
    /// How late the last bucket was, if it was not believed.
    suspect_ns: Option<f64>,
    pairs: u64,
    gaps: u64,
    gap_at: Option<SampleTime>,
}

/// What is known of a card before its first pairs.
const UNKNOWN: [f64; 3] = [FIRST_NS * FIRST_NS, 0.0, RATE_NS * RATE_NS];

/// Neighbouring pairs, of which the earliest counts.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    from: SampleTime,
    /// When the earliest was, and how late it and the next ones were, in order.
    earliest: SampleTime,
    late_ns: [f64; EARLIEST],
    count: u32,
}

impl ConverterClock {
    /// A card that is said to play `sample_rate` frames a second, and plays its frame 0 at `origin`.
    ///
    /// Until there are pairs, its rate is taken to be what it is said to be.
    pub fn new(sample_rate: u32, origin: PlatformTime) -> Self {
        let sample = SampleTime::from_ns(0);
        Self {
            sample_rate: sample_rate.max(1),
            sample,
            platform: origin,
            slope_ns: 0.0,
            variance: UNKNOWN,
            noise: 0.0,
            began: None,
            newest: 0,
            bucket: Bucket::empty(sample),
            suspect_ns: None,
            pairs: 0,
            gaps: 0,
            gap_at: None,
        }
    }

    /// The instant of the card's own clock at which it plays `frame`: nanoseconds of its nominal rate.
    pub fn sample_time(&self, frame: u64) -> SampleTime {
        let ns = i128::from(frame) * i128::from(NS_PER_S) / i128::from(self.sample_rate);
        SampleTime::from_ns(ns.min(i64::MAX.into()) as i64)
    }

    /// The platform's instant at which the card plays `frame`, without the output latency.
    pub fn platform_at(&self, frame: u64) -> PlatformTime {
        let since = self.sample_time(frame) - self.sample;
        self.platform + since + Span::from_ns((self.slope_ns * since.as_s_f64()).round() as i64)
    }

    /// What the card's clock is taken to be.
    pub fn read(&self) -> ConverterReading {
        ConverterReading {
            rate_ppb: (-self.slope_ns / (1.0 + self.slope_ns * 1e-9)).round() as i64,
            uncertainty: Span::from_ns((SIGMAS * self.variance[0].max(0.0).sqrt()).ceil() as i64),
            pairs: self.pairs,
            gaps: self.gaps,
        }
    }

    /// By the platform's instant `at` the card had played `frames` frames. It may be told late, never early.
    pub fn take(&mut self, frames: u64, at: PlatformTime) -> Taken {
        if self.began.is_some() && frames < self.newest {
            return Taken::Backwards;
        }
        self.newest = frames;
        self.pairs += 1;
        let sample = self.sample_time(frames);
        let Some(began) = self.began else {
            // The first pair sets the line; what was promised before holds for the rate alone.
            (self.began, self.sample, self.platform) = (Some(sample), sample, at);
            self.bucket = Bucket::empty(sample);
            return Taken::Followed;
        };
        let late_ns = (at - self.platform_at(frames)).ns() as f64;
        self.bucket.add(sample, late_ns);
        let length_s = ((sample - began).as_s_f64() * BUCKET_SHARE).min(BUCKET_S);
        if (sample - self.bucket.from).as_s_f64() < length_s || self.bucket.count < BUCKET_PAIRS {
            return Taken::Noted;
        }
        let full = std::mem::replace(&mut self.bucket, Bucket::empty(sample));
        self.follow(&full)
    }

    fn follow(&mut self, bucket: &Bucket) -> Taken {
        let (late_ns, by_itself_ns) = bucket.lateness_ns();
        let surprise = late_ns - by_itself_ns;
        self.advance(bucket.earliest);
        // What this second shows counts at once if it is worse than what was learnt: load comes suddenly.
        let expected = self.variance[0] + self.noise.max(by_itself_ns * by_itself_ns) + GRAIN_NS * GRAIN_NS;
        let gate = (GATE * expected.sqrt()).max(GAP_MIN_NS);
        if surprise.abs() > gate {
            // The card's rate is known well enough for two buckets in a row to agree about a true gap.
            let agreed = self.suspect_ns.is_some_and(|suspect| (suspect - surprise).abs() <= gate);
            if surprise > 0.0 && !agreed {
                self.suspect_ns = Some(surprise);
                return Taken::Late;
            }
            let gap = Span::from_ns(surprise as i64);
            self.platform += gap;
            self.variance[0] += self.noise;
            if self.gap_at.is_some_and(|last| (self.sample - last).as_s_f64() < GAPS_APART_S) {
                self.variance = UNKNOWN;
            }
            (self.gap_at, self.suspect_ns) = (Some(self.sample), None);
            self.gaps += 1;
            return Taken::Gap(gap);
        }
        self.suspect_ns = None;
        let most = PULL * expected.sqrt();
        let pull = surprise.clamp(-most, most);
        let [p, c, q] = self.variance;
        let seen = (surprise * surprise - p).max(0.0);
        let (gain, gain_slope) = (p / expected, c / expected);
        self.platform += Span::from_ns((gain * pull).round() as i64);
        self.slope_ns = (self.slope_ns + gain_slope * pull).clamp(-RATE_MAX_NS, RATE_MAX_NS);
        self.variance = [p * (1.0 - gain), c * (1.0 - gain), (q - gain_slope * c).max(WALK_NS * WALK_NS)];
        self.noise += (seen.min(gate * gate) - self.noise) * LEARNING;
        Taken::Followed
    }

    /// Moves the line's own point to `sample`, a little later; the line stays where it is, and grows less certain.
    fn advance(&mut self, sample: SampleTime) {
        let since = sample - self.sample;
        let dt = since.as_s_f64();
        self.platform += since + Span::from_ns((self.slope_ns * dt).round() as i64);
        self.sample = sample;
        let [p, c, q] = self.variance;
        let dt = dt.clamp(0.0, FORGET_S);
        let walk = WALK_NS * WALK_NS * dt;
        self.variance = [p + 2.0 * c * dt + q * dt * dt + walk * dt * dt / 3.0, c + q * dt + walk * dt / 2.0, q + walk];
    }
}

impl Bucket {
    const fn empty(from: SampleTime) -> Self {
        Self { from, earliest: from, late_ns: [f64::INFINITY; EARLIEST], count: 0 }
    }

    fn add(&mut self, sample: SampleTime, late_ns: f64) {
        self.count = self.count.saturating_add(1);
        if late_ns < self.late_ns[0] {
            self.earliest = sample;
        }
        let place = self.late_ns.partition_point(|&late| late <= late_ns);
        if place < EARLIEST {
            self.late_ns[place..].rotate_right(1);
            self.late_ns[place] = late_ns;
        }
    }

    /// How late the earliest was, and how late the earliest of so many exponential delays is by itself.
    fn lateness_ns(&self) -> (f64, f64) {
        let spread = self.late_ns[EARLIEST - 1] - self.late_ns[0];
        (self.late_ns[0], spread / (EARLIEST - 1) as f64)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn at(ns: i64) -> PlatformTime {
        PlatformTime::from_ns(ns)
    }

    #[test]
    fn without_pairs_a_card_is_what_it_says() {
        let clock = ConverterClock::new(44_100, at(7));
        assert_eq!(clock.platform_at(0), at(7));
        assert_eq!(clock.platform_at(44_100 * 3_600), at(7 + 3_600 * NS_PER_S));
        assert_eq!(clock.read().rate_ppb, 0);
    }

    #[test]
    fn fewer_frames_than_before_say_nothing() {
        let mut clock = ConverterClock::new(48_000, at(0));
        clock.take(4_800, at(100_000_000));
        let before = format!("{clock:?}");
        assert_eq!(clock.take(4_799, at(5_000_000_000)), Taken::Backwards);
        assert_eq!(format!("{clock:?}"), before);
    }

    proptest! {
        /// Whatever a driver says, there is no panic and no frame plays before the one in front of it.
        #[test]
        fn frames_play_in_order_whatever_a_driver_says(
            rate in 1u32..400_000,
            pairs in prop::collection::vec((any::<u64>(), any::<i64>()), 0..40),
            near in prop::collection::vec((0u64..100_000, -1_000_000_000i64..1_000_000_000), 0..200),
            frame in 0u64..(1 << 40),
        ) {
            let mut clock = ConverterClock::new(rate, at(0));
            let mut played = 0u64;
            for (frames, late) in near {
                played += frames;
                clock.take(played, at((played as i64).saturating_mul(20_833).saturating_add(late)));
                prop_assert!(clock.platform_at(frame) <= clock.platform_at(frame + 1));
            }
            for (frames, ns) in pairs {
                clock.take(frames, at(ns));
                prop_assert!(clock.platform_at(frame) <= clock.platform_at(frame + 1));
            }
        }

        /// Exact pairs of any card within 300 ppm are known to two microseconds within a minute.
        #[test]
        fn exact_pairs_are_followed_exactly(ppm in -300.0..300.0f64, origin in -(1i64 << 60)..(1i64 << 60)) {
            let mut clock = ConverterClock::new(48_000, at(0));
            let true_ns = |frame: u64| origin + (frame as f64 / (48_000.0 * (1.0 + ppm * 1e-6)) * 1e9) as i64;
            for block in 0..3_000u64 {
                clock.take(block * 1_024, at(true_ns(block * 1_024)));
            }
            let next = 3_000 * 1_024;
            let error_ns = (clock.platform_at(next).ns() - true_ns(next)).abs();
            prop_assert!(error_ns < 2_000, "{error_ns} ns");
            prop_assert!((clock.read().rate_ppb as f64 * 1e-3 - ppm).abs() < 0.1);
            prop_assert_eq!(clock.read().gaps, 0);
        }

        /// A pair that comes late, alone, moves nothing by more than the others allow.
        #[test]
        fn a_late_callback_is_not_followed(late in 0i64..2_000_000_000, block in 500u64..2_900) {
            let mut clock = ConverterClock::new(48_000, at(0));
            for i in 0..3_000u64 {
                let due = (i * 1_024) as i64 * NS_PER_S / 48_000;
                clock.take(i * 1_024, at(due + if i == block { late } else { 0 }));
            }
            prop_assert!((clock.platform_at(0).ns()).abs() < 1_000);
        }

        /// A card that stood still is found again, however long it stood, and its rate is not forgotten.
        #[test]
        fn a_gap_is_followed_within_three_seconds(
            gap in prop::sample::select(vec![-40_000_000i64, 2_000_000, 21_000_000, 900_000_000]),
            ppm in -100.0..100.0f64) {
            let mut clock = ConverterClock::new(48_000, at(0));
            let true_ns = |frame: u64| (frame as f64 / (48_000.0 * (1.0 + ppm * 1e-6)) * 1e9) as i64;
            let mut gaps = 0;
            for i in 0..3_000u64 {
                let stood = if i >= 2_850 { gap } else { 0 };
                gaps += u32::from(matches!(clock.take(i * 1_024, at(true_ns(i * 1_024) + stood)), Taken::Gap(_)));
            }
            prop_assert_eq!(gaps, 1);
            let next = 3_000 * 1_024;
            prop_assert!((clock.platform_at(next).ns() - true_ns(next) - gap).abs() < 20_000);
            prop_assert!((clock.read().rate_ppb as f64 * 1e-3 - ppm).abs() < 1.0);
        }
    }
}
