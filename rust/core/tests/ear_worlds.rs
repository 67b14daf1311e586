//! A night at the converter: simulated sound cards with wrong crystals, read through late callbacks.
//!
//! The truth is a card whose frames leave at instants that only the world knows; the converter clock is told of them by
//! callbacks that come late by a load that changes, and renders each block for the instant that it expects.
use harmonia_core::sample::{ConverterClock, Taken};
use harmonia_core::units::PlatformTime;

const RATE: u32 = 48_000;
const BLOCK: u64 = 1_024;
const HOURS_8: f64 = 8.0 * 3_600.0;

/// A small generator of our own: the same night in every run.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// How a night went at the converter.
struct Night {
    /// Errors of blocks from the second minute on, µs, sorted. Blocks within 5 s after an xrun are left out.
    errors_us: Vec<f64>,
    gaps: u64,
    rate_error_ppm: f64,
    /// Share of the errors that lie within three sigma as stated.
    within: f64,
}

impl Night {
    fn share(&self, share: f64) -> f64 {
        self.errors_us[((self.errors_us.len() - 1) as f64 * share) as usize]
    }
}

/// Eight hours of a card that is `ppm` fast, warms and cools by `heat_ppm` every two hours, and stands still `xruns`
/// times.
fn night(ppm: f64, heat_ppm: f64, xruns: u64, seed: u64) -> Night {
    let mut dice = Dice(seed);
    let mut clock = ConverterClock::new(RATE, PlatformTime::from_ns(0));
    let (mut truth_ns, mut walk_ppb) = (1e9, 0.0f64);
    let blocks = (HOURS_8 * f64::from(RATE) / BLOCK as f64) as u64;
    let (mut errors, mut within, mut gaps, mut settled_from) = (Vec::new(), 0u64, 0u64, 60e9);
    let mut rate_ppm = ppm;
    for block in 0..blocks {
        let now_s = truth_ns * 1e-9;
        // Every twenty minutes the machine is busy for two.
        let busy = now_s % 1_200.0 > 1_080.0;
        let mut late = dice.exponential(if busy { 2e6 } else { 300e3 });
        if dice.unit() < 0.002 {
            late += dice.unit() * 40e6;
        }
        if clock.read().pairs > 0 && truth_ns > settled_from {
            // What is rendered now leaves two blocks later.
            let period = 1e9 * BLOCK as f64 / (f64::from(RATE) * (1.0 + rate_ppm * 1e-6));
            let error = clock.platform_at((block + 2) * BLOCK).ns() as f64 - (truth_ns + 2.0 * period);
            within += u64::from(error.abs() <= clock.read().uncertainty.ns() as f64);
            errors.push(error.abs() * 1e-3);
        }
        if let Taken::Gap(_) = clock.take(block * BLOCK, PlatformTime::from_ns((truth_ns + late) as i64)) {
            gaps += 1;
        }
        walk_ppb += dice.normal() * 1.0 * (BLOCK as f64 / f64::from(RATE)).sqrt();
        rate_ppm = ppm + walk_ppb * 1e-3 + heat_ppm * (now_s / 7_200.0 * std::f64::consts::TAU).sin();
        truth_ns += 1e9 * BLOCK as f64 / (f64::from(RATE) * (1.0 + rate_ppm * 1e-6));
        if xruns > 0 && block % (blocks / (xruns + 1)) == blocks / (xruns + 1) - 1 {
            truth_ns += 5e6 + dice.unit() * 200e6;
            settled_from = truth_ns + 5e9;
        }
    }
    let count = errors.len() as f64;
    errors.sort_by(f64::total_cmp);
    Night {
        within: within as f64 / count,
        errors_us: errors,
        gaps,
        rate_error_ppm: (clock.read().rate_ppb as f64 * 1e-3 - rate_ppm).abs(),
    }
}

#[test]
fn a_card_off_by_100_ppm_keeps_the_phase_at_the_converter_for_eight_hours() {
    for (seed, ppm) in [(1, 100.0), (2, -100.0), (3, 0.0)] {
        let night = night(ppm, 1.0, 0, seed);
        println!(
            "{ppm:+} ppm: median {:.1} µs, 99 % {:.1} µs, worst {:.1} µs, stated for {:.4}",
            night.share(0.5),
            night.share(0.99),
            night.share(1.0),
            night.within
        );
        assert!(night.share(1.0) <= 20.0, "{ppm} ppm: worst {} µs", night.share(1.0));
        assert!(night.share(0.99) <= 15.0, "{ppm} ppm: 99 % {} µs", night.share(0.99));
        assert!(night.within >= 0.99, "{ppm} ppm: {} within what was stated", night.within);
        assert!(night.rate_error_ppm < 0.3, "{ppm} ppm: {} ppm off", night.rate_error_ppm);
        assert_eq!(night.gaps, 0);
    }
}

#[test]
fn a_card_that_stands_still_now_and_then_is_found_again() {
    let night = night(-100.0, 1.0, 9, 4);
    println!("with xruns: median {:.1} µs, worst {:.1} µs", night.share(0.5), night.share(1.0));
    assert_eq!(night.gaps, 9);
    assert!(night.share(0.99) <= 20.0, "99 % {} µs", night.share(0.99));
    assert!(night.share(1.0) <= 100.0, "worst {} µs", night.share(1.0));
}
