//! Light that follows the rhythm and never flashes.
//!
//! A lamp beside a sleeper, or a page that shows the night, wants to glow with the phase. But light that flashes more
//! than three times a second can cause seizures, and whoever is susceptible may not know. WCAG 2.3.1 calls a *flash* a
//! pair of opposing changes of relative luminance by a tenth or more, the darker below 0.80, and allows three in any
//! second. Rhythms here may be of 10 Hz, jump when an offset is set, and come from anybody.
//!
//! A filter would only make it unlikely, and a counter that forbids the fourth flash would freeze the lamp at some odd
//! brightness. Instead the brightness changes by at most [`CHANGE_PER_S`]: then in any second it travels less than four
//! tenths, which is fewer than four opposing changes, fewer than three flashes, for any input whatever. What breathes
//! keeps its depth (full swings down to 3.4 s each way), what is faster becomes a shimmer, and what is fast becomes
//! steady. Time in which nobody asked counts for at most [`PAUSE_MAX`], so that a lamp that was out of touch jumps by
//! less than a tenth when it is back.
//!
//! Source: W3C, Web Content Accessibility Guidelines 2.2, success criterion 2.3.1 and its definition of general flash.
use crate::phase::Phase;
use crate::units::{PlatformTime, Span};

/// How much of full brightness the light changes in a second at most.
pub const CHANGE_PER_S: f64 = 0.3;
/// The longest pause that counts.
pub const PAUSE_MAX: Span = Span::from_ms(250);

/// The brightness that a phase wishes: 1 at phase 0, where the beat is, and 0 half a turn away.
pub fn glow(phase: Phase) -> f64 {
    (1.0 + (core::f64::consts::TAU * phase.turns()).cos()) / 2.0
}

/// One lamp: what it shows, and since when.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lamp {
    brightness: f64,
    shown: Option<PlatformTime>,
}

impl Lamp {
    /// The relative luminance to show at `now`, from 0 to 1, on its way to `wanted`; a lamp begins dark. What is no
    /// number is taken for dark, and a clock that goes backwards stands still. Realtime-safe.
    pub fn show(&mut self, wanted: f64, now: PlatformTime) -> f64 {
        let wanted = if wanted.is_nan() { 0.0 } else { wanted.clamp(0.0, 1.0) };
        let since = self.shown.map_or(Span::ZERO, |shown| now - shown).min(PAUSE_MAX).max(Span::ZERO);
        let change = CHANGE_PER_S * since.as_s_f64();
        self.brightness = wanted.clamp(self.brightness - change, self.brightness + change);
        self.shown = Some(self.shown.map_or(now, |shown| shown.max(now)));
        self.brightness
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    /// The most flashes in any second: opposing changes by a tenth, the darker below 0.80, each with the one before it.
    fn flashes(shown: &[(i64, f64)]) -> usize {
        let in_second = |from: usize| {
            // The extremes since the last change, and its direction.
            let (mut lowest, mut highest, mut changes, mut direction) = (shown[from].1, shown[from].1, 0usize, 0);
            let second = shown[from..].iter().take_while(|(at_ns, _)| at_ns - shown[from].0 <= 1_000_000_000);
            for &(_, light) in second {
                (lowest, highest) = (lowest.min(light), highest.max(light));
                if direction != 1 && light - lowest >= 0.1 && lowest < 0.8 {
                    (changes, direction, highest, lowest) = (changes + 1, 1, light, light);
                } else if direction != -1 && highest - light >= 0.1 && light < 0.8 {
                    (changes, direction, highest, lowest) = (changes + 1, -1, light, light);
                }
            }
            changes.saturating_sub(1)
        };
        (0..shown.len()).map(in_second).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_there_are_fewer_than_three_flashes_in_any_second(
            asked in prop::collection::vec(
                (prop_oneof![4 => 0i64..60_000_000, 1 => -2_000_000_000i64..5_000_000_000],
                 prop_oneof![4 => prop::sample::select(vec![0.0, 1.0]), 1 => any::<f64>(), 1 => 0.0..1.0]), 1..400),
        ) {
            let (mut lamp, mut now_ns, mut last_ns) = (Lamp::default(), 0i64, i64::MIN);
            let (mut shown, mut wished) = (Vec::new(), Vec::new());
            for (pause_ns, wanted) in asked {
                now_ns += pause_ns;
                let light = lamp.show(wanted, PlatformTime::from_ns(now_ns));
                prop_assert!((0.0..=1.0).contains(&light));
                // A clock that goes backwards shows what it shows at no new instant.
                last_ns = last_ns.max(now_ns);
                shown.push((last_ns, light));
                wished.push((last_ns, wanted));
            }
            prop_assert!(flashes(&shown) < 3, "{} flashes", flashes(&shown));
        }
    }

    #[test]
    fn the_counter_counts() {
        let blinking = |half_period_ns: i64, low: f64, high: f64| -> Vec<_> {
            (0..40).map(|i| (i * half_period_ns, if i % 2 == 0 { low } else { high })).collect()
        };
        assert_eq!(flashes(&blinking(100_000_000, 0.0, 1.0)), 9);
        assert_eq!(flashes(&blinking(100_000_000, 0.5, 0.61)), 9);
        assert_eq!(flashes(&blinking(100_000_000, 0.5, 0.59)), 0, "less than a tenth");
        assert_eq!(flashes(&blinking(100_000_000, 0.81, 1.0)), 0, "the darker is bright");
        assert_eq!(flashes(&blinking(600_000_000, 0.0, 1.0)), 0);
    }

    #[test]
    fn a_breath_keeps_its_depth_and_a_flutter_becomes_steady() {
        for (hz, deepest, shallowest) in [(0.08, 1.01, 0.95), (10.0, 0.04, 0.0)] {
            let mut lamp = Lamp::default();
            let light: Vec<f64> = (0..6_000i64)
                .map(|i| {
                    let wanted = (1.0 + (core::f64::consts::TAU * hz * i as f64 / 100.0).cos()) / 2.0;
                    lamp.show(wanted, PlatformTime::from_ns(i * 10_000_000))
                })
                .collect();
            let later = &light[3_000..];
            let depth = later.iter().fold(0.0f64, |a, b| a.max(*b)) - later.iter().fold(1.0f64, |a, b| a.min(*b));
            assert!(depth <= deepest && depth >= shallowest, "{hz} Hz: {depth}");
        }
    }

    #[test]
    fn it_glows_at_the_beat() {
        assert_eq!(glow(Phase::ZERO), 1.0);
        assert!(glow(Phase::from_bits(1 << 63)) < 1e-12);
    }
}
