//! What others do, to compare with: a weighted regression over up to 64 exchanges.
//!
//! The estimator that NTP clients have used for decades, from its published description: offsets at the middle of each
//! exchange, weighed down by how much longer than the shortest their round trip took, a straight line, and a test of
//! runs (Bradley 1968) that drops the oldest until the residuals look random.
use std::collections::VecDeque;

const SAMPLES: usize = 64;
const SAMPLES_MIN: usize = 8;

/// The estimator.
#[derive(Clone, Debug, Default)]
pub struct Regression {
    /// Time in s, offset in ns, round trip in ns.
    samples: VecDeque<(f64, f64, f64)>,
    line: Option<(f64, f64, f64)>,
}

impl Regression {
    /// Its offset at a time, from what it has taken in so far.
    pub fn offset_ns(&self, at_s: f64) -> Option<f64> {
        self.line.map(|(time, offset, slope)| offset + slope * (at_s - time))
    }

    /// Takes in an exchange.
    pub fn push(&mut self, at_s: f64, offset_ns: f64, round_trip_ns: f64) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((at_s, offset_ns, round_trip_ns));
        loop {
            let (offset, slope, runs) = self.fit(at_s);
            let n = self.samples.len();
            // Random signs make n/2 + 1 runs, give or take √n/2; fewer than two deviations below that is a bend.
            let few = n as f64 / 2.0 + 1.0 - (n as f64).sqrt();
            if n <= SAMPLES_MIN || runs as f64 >= few {
                self.line = Some((at_s, offset, slope));
                return;
            }
            self.samples.pop_front();
        }
    }

    fn fit(&self, at_s: f64) -> (f64, f64, usize) {
        let base = self.samples.back().map_or(0.0, |sample| sample.1);
        let least = self.samples.iter().map(|sample| sample.2).fold(f64::INFINITY, f64::min);
        let n = self.samples.len() as f64;
        let excess = (self.samples.iter().map(|sample| sample.2 - least).sum::<f64>() / n).max(1.0);
        let points: Vec<(f64, f64, f64)> = self
            .samples
            .iter()
            .map(|&(time, offset, trip)| (time - at_s, offset - base, (1.0 + (trip - least) / excess).powi(-2)))
            .collect();
        let sum = |value: fn(f64, f64) -> f64| points.iter().map(|&(x, y, w)| w * value(x, y)).sum::<f64>();
        let (w, x, y, xx, xy) = (sum(|_, _| 1.0), sum(|x, _| x), sum(|_, y| y), sum(|x, _| x * x), sum(|x, y| x * y));
        let determinant = w * xx - x * x;
        if points.len() < 3 || determinant <= 0.0 {
            return (base, 0.0, points.len());
        }
        let (offset, slope) = ((xx * y - x * xy) / determinant, (w * xy - x * y) / determinant);
        let above: Vec<bool> = points.iter().map(|&(x, y, _)| y > offset + slope * x).collect();
        let runs = 1 + above.windows(2).filter(|pair| pair[0] != pair[1]).count();
        (base + offset, slope, runs)
    }
}
