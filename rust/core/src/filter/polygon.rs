//! Convex polygons: sheared, grown, clipped and simplified.

/// A convex polygon of (offset in ns, frequency in ns/s), its corners counterclockwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Polygon {
    corners: Vec<(f64, f64)>,
    spare: Vec<(f64, f64)>,
}

impl Polygon {
    /// More corners than this are too many to carry.
    const CORNERS_MAX: usize = 24;

    /// The rectangle |offset| ≤ `offset`, |frequency| ≤ `rate`.
    pub(super) fn start(&mut self, offset: f64, rate: f64) {
        self.corners.clear();
        self.corners.extend([(-offset, -rate), (offset, -rate), (offset, rate), (-offset, rate)]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// Moves all offsets.
    pub(super) fn shift(&mut self, offset: f64) {
        for corner in &mut self.corners {
            corner.0 += offset;
        }
    }

    /// Lets time pass: each offset moves by its frequency.
    pub(super) fn shear(&mut self, dt: f64) {
        for corner in &mut self.corners {
            corner.0 += corner.1 * dt;
        }
    }

    /// Adds ±`along` and ±`offset` to every point (a Minkowski sum with a parallelogram).
    pub(super) fn grow(&mut self, along: (f64, f64), offset: f64) {
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
    pub(super) fn simplify(&mut self) {
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
    pub(super) fn clip(&mut self, a: f64, b: f64, c: f64) {
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
    pub(super) fn extent(&self, a: f64, b: f64) -> f64 {
        self.corners.iter().map(|(offset, rate)| a * offset + b * rate).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Twice the area of the triangle, positive if it is counterclockwise.
fn cross(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
}
