//! How blunt the clouds' edges are.
//!
//! Exponential delays crowd at their floor: the least of n lies within jitter/n of it. Where access to the medium takes
//! a few steps, or several queues follow each other, short delays are rare, and the least of n says less. To see it, the
//! window is dealt out in turn to 4 groups and to 8: how much their least points differ, and how that shrinks from
//! eighths to quarters, tells how little the whole window's will be off. What time does to all of them alike (wander,
//! trends) is not in the differences.
use super::channel::Likely;
use super::side::Side;
use super::walk::Walk;

/// What was seen of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Fuzz {
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

    pub(super) fn look(&mut self, up: &Side, down: &Side, likely: &Likely, walk: &Walk) {
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
    pub(super) fn excess(&self) -> f64 {
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
