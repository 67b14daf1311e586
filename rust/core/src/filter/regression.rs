//! A line through the exchanges' middles: what serves where the edges are blunt.
use super::walk::Walk;

/// Working memory, kept so that a fit allocates nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Regression {
    /// Age in s, middle in ns, weight.
    points: Vec<(f64, f64, f64)>,
}

/// A regression's answer, as of age 0.
pub(super) struct Line {
    pub(super) offset: f64,
    pub(super) variance: f64,
    pub(super) rate: f64,
}

impl Regression {
    /// Fewer leave too little over to judge the line by.
    const POINTS_MIN: usize = 32;
    const TOGETHER: usize = 16;

    /// Fits a line to (age, middle, round trip); short round trips and young exchanges weigh more.
    pub(super) fn fit(&mut self, middles: impl Iterator<Item = (f64, f64, f64)>, walk: &Walk) -> Option<Line> {
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
