//! One direction's exchanges as points over their age, and their lower convex hull.

/// The window's inequalities of one direction, as (age in s, ns): `offset − age·rate ≤ ns` for requests, and for
/// answers the mirror image, `−offset + age·rate ≤ ns`.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) points: Vec<(f64, f64)>,
    pub(super) hull: Vec<(f64, f64)>,
    pub(super) differences: Vec<f64>,
}

impl Side {
    /// The points, raised by `slack` of their age, that are the least of ns + rate·age for some rate: their lower
    /// convex hull (Andrew's monotone chain). All others follow from these.
    pub(super) fn lower_hull(&mut self, slack: impl Fn(f64) -> f64) -> &[(f64, f64)] {
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

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
    }
}
