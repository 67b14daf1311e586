//! Learns, from the past alone, which weighted sum of the last seconds comes closest to the truth.
//!
//! The truth at an instant is known only once the future has come, and by then one knows both it and what was known at
//! that instant. So each node becomes an example as soon as it is old enough, and ridge regression over all examples so
//! far, older ones counting less, gives the weights with which the newest window is read. That is a Wiener filter whose
//! covariances are this person's, tonight.
//!
//! What keeps it well-behaved:
//!
//! - the window is read through few features: single nodes at its newest end, then means over ever longer stretches.
//!   Fine detail matters only near the present, and few weights are learnt from few minutes.
//! - an example counts by the inverse of its power beside the usual one, so that no burst, and no artefact that was
//!   missed, outweighs minutes; and because a phase is as good to have in a quiet cycle as in a loud one.
//! - each example is taken again as if it had happened somewhat faster, and somewhat slower, for a fifth of its worth:
//!   a breath that has kept one pace for minutes says nothing of any other, and the next one may be quicker.
//! - before there are examples, a generic falling spectrum stands in for them; it is worth half a cycle or so of data.
//! - the sums of products are kept and solved anew (Cholesky) every few nodes: unlike the recursive form of least
//!   squares this cannot drift, and a rank that is missing only makes it keep its last weights.
//!
//! Per node: a pass over the window for each example and one more, 2·P² multiplications for each example, and an eighth
//! of P³/6 + 4·P², with P = 32.
use num_complex::Complex64;

use super::band::Band;
use super::taps::expected;

const FEATURES: usize = 32;
/// Features of one node each.
const SINGLE: usize = 8;
/// Length of the window, in inverse widths of the band: what is older has no bearing on the phase.
const WINDOW_WIDTHS: f64 = 4.0;
/// Seconds after which an example counts 1/e.
pub(super) const MEMORY_S: f64 = 300.0;
/// In which the power of a usual example is averaged.
const POWER_MEMORY_S: f64 = 200.0;
const QUIET: f64 = 0.5;
/// How many inverse widths of the band the generic spectrum is worth.
const PRIOR_WIDTHS: f64 = 0.5;
/// The paces at which each example is taken again.
pub(super) const STRETCHES: [f64; 2] = [0.8, 1.25];
pub(super) const STRETCH_MAX: f64 = 1.25;
const STRETCHED_WORTH: f64 = 0.2;
const RIDGE: f64 = 1e-7;
const SOLVE_EVERY: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Predictor {
    /// Feature i is a mean over the nodes that are edges[i] to edges[i + 1] − 1 nodes old.
    edges: Vec<usize>,
    gram: Vec<f64>,
    cross: Vec<Complex64>,
    prior: Prior,
    weights: Vec<Complex64>,
    keep: f64,
    nodes_per_width: f64,
    power: Mean,
    energy: Mean,
    until_solved: u32,
    features: Vec<f64>,
    factor: Vec<f64>,
    right: Vec<Complex64>,
}

/// What a generic spectrum lets one expect, for features of energy 1.
#[derive(Clone, Debug)]
struct Prior {
    gram: Vec<f64>,
    cross: Vec<Complex64>,
    /// The part of the truth's power that remains unexplained.
    unexplained: f64,
}

/// A mean that forgets.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    pub(super) value: f64,
    count: f64,
    count_max: f64,
}

impl Mean {
    pub(super) fn new(count_max: f64) -> Self {
        Self { value: 0.0, count: 0.0, count_max }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(self.count_max.max(1.0));
        self.value += (value - self.value) / self.count;
    }

    pub(super) fn forget(&mut self) {
        (self.value, self.count) = (0.0, 0.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0.0
    }
}

impl Predictor {
    pub(super) fn new(band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        let window_s = (WINDOW_WIDTHS / band.width_hz()).max(1.0 / band.lo_hz);
        let edges = edges((window_s * rate_hz) as usize);
        let count = edges.len() - 1;
        let prior = Prior::new(&edges, band, rate_hz, delay_s);
        Self {
            gram: vec![0.0; count * count],
            cross: vec![Complex64::new(0.0, 0.0); count],
            weights: vec![Complex64::new(0.0, 0.0); count],
            keep: (-1.0 / (MEMORY_S * rate_hz)).exp(),
            nodes_per_width: rate_hz / band.width_hz(),
            power: Mean::new(POWER_MEMORY_S * rate_hz),
            energy: Mean::new(POWER_MEMORY_S * rate_hz),
            until_solved: 0,
            features: vec![0.0; count],
            factor: vec![0.0; count * count],
            right: vec![Complex64::new(0.0, 0.0); count],
            prior,
            edges,
        }
    }

    /// Lets go of all that was learnt. Realtime-safe.
    pub(super) fn forget(&mut self) {
        self.gram.fill(0.0);
        self.cross.fill(Complex64::new(0.0, 0.0));
        self.weights.fill(Complex64::new(0.0, 0.0));
        self.power.forget();
        self.energy.forget();
        self.until_solved = 0;
    }

    /// Nodes that a window holds.
    pub(super) fn window(&self) -> usize {
        self.edges[self.edges.len() - 1]
    }

    /// Takes the window that ends at an instant, oldest first, and what the truth was there. Older examples fade.
    pub(super) fn learn(&mut self, window: &[f64], truth: Complex64) {
        self.power.add(truth.norm_sqr());
        self.gram.iter_mut().for_each(|sum| *sum *= self.keep);
        self.cross.iter_mut().for_each(|sum| *sum *= self.keep);
        self.take(window, truth, 1.0);
    }

    /// Takes an example of how it might have been, had the rhythm been faster or slower: see [`STRETCHES`].
    pub(super) fn imagine(&mut self, window: &[f64], truth: Complex64) {
        self.take(window, truth, STRETCHED_WORTH);
    }

    fn take(&mut self, window: &[f64], truth: Complex64, worth: f64) {
        if self.power.value <= 0.0 {
            return;
        }
        let weight = worth / (truth.norm_sqr() / self.power.value + QUIET);
        self.read(window);
        let count = self.features.len();
        for (row, &feature) in self.features.iter().enumerate() {
            let weighted = weight * feature;
            self.cross[row] += weighted * truth;
            let gram = &mut self.gram[row * count..row * count + row + 1];
            for (sum, &other) in gram.iter_mut().zip(&self.features) {
                *sum += weighted * other;
            }
        }
    }

    /// The analytic signal at the end of a window, oldest first.
    pub(super) fn predict(&mut self, window: &[f64]) -> Complex64 {
        self.read(window);
        let count = self.features.len() as f64;
        self.energy.add(self.features.iter().map(|feature| feature * feature).sum::<f64>() / count);
        if self.until_solved == 0 {
            self.until_solved = SOLVE_EVERY;
            self.solve();
        }
        self.until_solved -= 1;
        self.features.iter().zip(&self.weights).map(|(feature, weight)| weight * feature).sum()
    }

    /// Mean squared error to be expected before any example has shown it.
    pub(super) fn expected_error(&self) -> f64 {
        self.prior.unexplained * self.energy.value
    }

    fn read(&mut self, window: &[f64]) {
        let newest = window.len();
        for (feature, edge) in self.features.iter_mut().zip(self.edges.windows(2)) {
            let part = &window[newest - edge[1]..newest - edge[0]];
            *feature = part.iter().sum::<f64>() / (part.len() as f64).sqrt();
        }
    }

    fn solve(&mut self) {
        let count = self.weights.len();
        let worth = PRIOR_WIDTHS * self.nodes_per_width * self.energy.value;
        let mut trace = 0.0;
        for row in 0..count {
            for i in row * count..=row * count + row {
                self.factor[i] = self.gram[i] + worth * self.prior.gram[i];
            }
            trace += self.factor[row * count + row];
            self.right[row] = self.cross[row] + worth * self.prior.cross[row];
        }
        for row in 0..count {
            self.factor[row * count + row] += RIDGE * trace / count as f64;
        }
        if cholesky(&mut self.factor, &mut self.right) {
            self.weights.copy_from_slice(&self.right);
        }
    }
}

impl Prior {
    fn new(edges: &[usize], band: &Band, rate_hz: f64, delay_s: f64) -> Self {
        let count = edges.len() - 1;
        let (own, with_truth, power) = expected(band, rate_hz, delay_s, edges[count]);
        let norm = |i: usize| ((edges[i + 1] - edges[i]) as f64).sqrt();
        let mut gram = vec![0.0; count * count];
        let mut cross = vec![Complex64::new(0.0, 0.0); count];
        for row in 0..count {
            let ages = edges[row]..edges[row + 1];
            cross[row] = with_truth[ages.clone()].iter().sum::<Complex64>() / norm(row);
            for column in 0..count {
                let pairs = ages.clone().flat_map(|a| (edges[column]..edges[column + 1]).map(move |b| a.abs_diff(b)));
                gram[row * count + column] = pairs.map(|lag| own[lag]).sum::<f64>() / (norm(row) * norm(column));
            }
        }
        let energy = (0..count).map(|i| gram[i * count + i]).sum::<f64>() / count as f64;
        gram.iter_mut().for_each(|value| *value /= energy);
        cross.iter_mut().for_each(|value| *value /= energy);
        let power = power / energy;
        let (mut factor, mut weights) = (gram.clone(), cross.clone());
        (0..count).for_each(|i| factor[i * count + i] += RIDGE);
        let explained = if cholesky(&mut factor, &mut weights) {
            weights.iter().zip(&cross).map(|(w, c)| (w.conj() * c).re).sum::<f64>()
        } else {
            0.0
        };
        Self { gram, cross, unexplained: (power - explained).max(0.01 * power) }
    }
}

/// Ages at which features begin: single nodes first, then stretches that grow by one ratio up to `window` nodes.
fn edges(window: usize) -> Vec<usize> {
    let window = window.max(1);
    let single = SINGLE.min(window);
    let reach = |ratio: f64| {
        let mut edges: Vec<f64> = (0..=single).map(|i| i as f64).collect();
        let mut width = 1.0;
        for _ in single..FEATURES {
            width *= ratio;
            edges.push(edges[edges.len() - 1] + width);
        }
        edges
    };
    let (mut low, mut high) = (1.0, 4.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if reach(middle)[FEATURES] > window as f64 {
            high = middle;
        } else {
            low = middle;
        }
    }
    let mut edges: Vec<usize> = reach(low).iter().map(|edge| edge.round() as usize).collect();
    edges.dedup();
    edges
}

/// Solves A·x = b in place for a symmetric positive definite A, of which the lower triangle is given. False, and no
/// result, if A is not.
fn cholesky(a: &mut [f64], b: &mut [Complex64]) -> bool {
    let count = b.len();
    for row in 0..count {
        for column in 0..=row {
            let (above, below) = a.split_at(row * count);
            let of_column = if column == row { &below[..column] } else { &above[column * count..][..column] };
            let sum = below[column] - below[..column].iter().zip(of_column).map(|(x, y)| x * y).sum::<f64>();
            a[row * count + column] = if column < row {
                sum / a[column * count + column]
            } else if sum > 0.0 {
                sum.sqrt()
            } else {
                return false; // also where it is not a number
            };
        }
    }
    for row in 0..count {
        let known: Complex64 = (0..row).map(|i| a[row * count + i] * b[i]).sum();
        b[row] = (b[row] - known) / a[row * count + row];
    }
    for row in (0..count).rev() {
        let known: Complex64 = (row + 1..count).map(|i| a[i * count + row] * b[i]).sum();
        b[row] = (b[row] - known) / a[row * count + row];
    }
    b.iter().all(|value| value.is_finite())
}
