//! The statistics of a report. Pure: seeds are arguments, nothing is measured here.

pub mod calibration;
pub mod crossed;
pub mod rivals;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// An estimate with the bounds of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate itself.
    pub estimate: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// Whether the whole interval lies on one side of 0.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The standard normal quantile at 97.5 %.
const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of a share: `hits` of `n`. All of 0..1 when `n` is 0.
#[must_use]
pub fn wilson(hits: usize, n: usize) -> Interval {
    if n == 0 {
        return Interval { estimate: 0.0, low: 0.0, high: 1.0 };
    }
    let (n, p) = (n as f64, hits.min(n) as f64 / n as f64);
    let z2 = Z95 * Z95;
    let centre = p + z2 / (2.0 * n);
    let spread = Z95 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    Interval { estimate: p, low: ((centre - spread) / scale).max(0.0), high: ((centre + spread) / scale).min(1.0) }
}

/// Percentile bootstrap of the mean of `values`, `resamples` times with `seed`.
#[must_use]
pub fn bootstrap_mean(values: &[f64], resamples: usize, seed: u64) -> Interval {
    if values.is_empty() {
        return Interval { estimate: 0.0, low: 0.0, high: 0.0 };
    }
    let n = values.len();
    let estimate = values.iter().sum::<f64>() / n as f64;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> =
        (0..resamples.max(1)).map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    Interval { estimate, low: percentile(&means, 0.025), high: percentile(&means, 0.975) }
}

/// Paired bootstrap of `accuracy(a) − accuracy(b)` over the same items: items are drawn, both answers stay together.
/// `None` when the two are not about the same items, or about none.
#[must_use]
pub fn paired_difference(a: &[bool], b: &[bool], resamples: usize, seed: u64) -> Option<Interval> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let differences: Vec<f64> =
        a.iter().zip(b).map(|(&a, &b)| f64::from(u8::from(a)) - f64::from(u8::from(b))).collect();
    Some(bootstrap_mean(&differences, resamples, seed))
}

/// Exact two-sided McNemar test: how probable a split of the disagreements as uneven as this one is by chance.
/// `only_a` items were right only in `a`, `only_b` only in `b`.
#[must_use]
pub fn mcnemar(only_a: usize, only_b: usize) -> f64 {
    let n = only_a + only_b;
    let fewer = only_a.min(only_b);
    // Binomial(n, 1/2) in logarithms: n may be in the thousands.
    let log_choose = |k: usize| (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum::<f64>();
    let tail: f64 = (0..=fewer).map(|k| (log_choose(k) - n as f64 * std::f64::consts::LN_2).exp()).sum();
    (2.0 * tail).min(1.0)
}

/// The value below which a share `q` (0..1) of the **sorted** `values` lies (nearest rank); 0 when there are none.
#[must_use]
pub fn percentile(values: &[f64], q: f64) -> f64 {
    let rank = (q.clamp(0.0, 1.0) * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Mean of `−ln p` over the probabilities given to the true classes, each at least 10⁻⁶; 0 when there are none.
#[must_use]
pub fn log_loss(true_class: &[f64]) -> f64 {
    if true_class.is_empty() {
        return 0.0;
    }
    true_class.iter().map(|p| -p.clamp(1e-6, 1.0).ln()).sum::<f64>() / true_class.len() as f64
}

/// The index of the largest value, the first of equals; `None` when there are none.
#[must_use]
pub fn argmax(values: &[f32]) -> Option<usize> {
    let mut best = None;
    for (index, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, top)| value > top) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, within: f64) {
        assert!((a - b).abs() <= within, "{a} is not {b}");
    }

    #[test]
    fn wilson_gives_the_textbook_bounds() {
        let eight = wilson(8, 10);
        close(eight.estimate, 0.8, 1e-12);
        close(eight.low, 0.490_162, 1e-6);
        close(eight.high, 0.943_318, 1e-6);
        let none = wilson(0, 10);
        close(none.low, 0.0, 1e-12);
        close(none.high, 0.277_533, 1e-6);
        let half = wilson(500, 1000);
        close(half.low, 0.469_070, 1e-5);
        close(half.high, 0.530_930, 1e-5);
        assert_eq!(wilson(0, 0), Interval { estimate: 0.0, low: 0.0, high: 1.0 });
    }

    #[test]
    fn a_bootstrap_agrees_with_the_normal_approximation() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        let interval = bootstrap_mean(&values, 2000, 7);
        close(interval.estimate, 0.5, 1e-12);
        // 1.96 · sqrt(0.25 / 1000) = 0.031
        close(interval.low, 0.469, 0.004);
        close(interval.high, 0.531, 0.004);
        assert_eq!(interval, bootstrap_mean(&values, 2000, 7), "the same seed gives the same bounds");
    }

    #[test]
    fn a_paired_difference_uses_the_pairing() {
        // b is right on 80 %, a on the same and 5 % more: unpaired bounds would include 0.
        let b: Vec<bool> = (0..400).map(|i| i % 5 != 0).collect();
        let a: Vec<bool> = (0..400).map(|i| i % 5 != 0 || i % 20 == 0).collect();
        let difference = paired_difference(&a, &b, 2000, 1).unwrap();
        close(difference.estimate, 0.05, 1e-12);
        assert!(difference.excludes_zero() && difference.low > 0.025 && difference.high < 0.08, "{difference:?}");
        let same = paired_difference(&a, &a, 100, 1).unwrap();
        assert!(!same.excludes_zero());
        assert_eq!(paired_difference(&a, &b[1..], 100, 1), None);
        assert_eq!(paired_difference(&[], &[], 100, 1), None);
    }

    #[test]
    fn mcnemar_is_the_binomial_test() {
        close(mcnemar(1, 9), 0.021_484_375, 1e-12);
        close(mcnemar(9, 1), 0.021_484_375, 1e-12);
        close(mcnemar(5, 5), 1.0, 1e-12);
        close(mcnemar(0, 0), 1.0, 1e-12);
        assert!(mcnemar(900, 1100) < 1e-4 && mcnemar(900, 1100) > 1e-6);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        close(percentile(&values, 0.5), 50.0, 0.0);
        close(percentile(&values, 0.95), 95.0, 0.0);
        close(percentile(&values, 0.0), 1.0, 0.0);
        close(percentile(&values, 1.0), 100.0, 0.0);
        close(percentile(&[], 0.5), 0.0, 0.0);
    }

    #[test]
    fn log_loss_of_a_coin_is_ln_2_and_never_infinite() {
        close(log_loss(&[0.5, 0.5]), std::f64::consts::LN_2, 1e-12);
        close(log_loss(&[0.0]), 13.815_510_557_964_274, 1e-9);
        close(log_loss(&[]), 0.0, 0.0);
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.1, 0.7, 0.7]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}
