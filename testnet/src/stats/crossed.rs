//! Intervals over seeds and items at once.
//!
//! A study asks the *same* items in every seed, so neither answers nor seeds are independent draws of one population.
//! Seeds and items are therefore drawn with replacement separately, and a drawn item is drawn for every drawn seed
//! (the "pigeonhole" bootstrap of crossed designs). It errs on the wide side.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Interval, percentile};

/// How often each seed and each item is in one resample.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Times each seed was drawn.
    pub seeds: &'a [u16],
    /// Times each item was drawn.
    pub items: &'a [u16],
}

/// Resamples shared by all figures of a study, so that two figures are compared on the same draws.
#[derive(Debug, Clone)]
pub struct Draws {
    seeds: Vec<Vec<u16>>,
    items: Vec<Vec<u16>>,
    once: (Vec<u16>, Vec<u16>),
}

impl Draws {
    /// `resamples` draws of `seeds` seeds and `items` items, by a generator seeded with `seed`.
    #[must_use]
    pub fn new(seeds: usize, items: usize, resamples: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |n: usize| {
            let mut times = vec![0u16; n];
            for _ in 0..n {
                times[rng.random_range(0..n)] += 1;
            }
            times
        };
        let (mut all_seeds, mut all_items) = (Vec::new(), Vec::new());
        for _ in 0..resamples {
            all_seeds.push(draw(seeds));
            all_items.push(draw(items));
        }
        Self { seeds: all_seeds, items: all_items, once: (vec![1; seeds], vec![1; items]) }
    }

    /// The estimate of `statistic` (everything drawn once) and the 2.5 and 97.5 % points of its resamples.
    pub fn interval(&self, statistic: impl Fn(Draw<'_>) -> f64) -> Interval {
        let (estimate, values) = self.resampled(&statistic);
        Interval { estimate, low: percentile(&values, 0.025), high: percentile(&values, 0.975) }
    }

    /// As [`Draws::interval`], for a statistic that resampling inflates (a sum of distances): the bounds are moved by
    /// the difference of the resamples' mean and the estimate, and kept at 0 or above.
    pub fn interval_without_bias(&self, statistic: impl Fn(Draw<'_>) -> f64) -> Interval {
        let (estimate, values) = self.resampled(&statistic);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let bias = if values.is_empty() { 0.0 } else { mean - estimate };
        let bound = |q| (percentile(&values, q) - bias).max(0.0);
        Interval { estimate, low: bound(0.025), high: bound(0.975) }
    }

    fn resampled(&self, statistic: &impl Fn(Draw<'_>) -> f64) -> (f64, Vec<f64>) {
        let estimate = statistic(Draw { seeds: &self.once.0, items: &self.once.1 });
        let draws = self.seeds.iter().zip(&self.items);
        let mut values: Vec<f64> =
            draws.map(|(seeds, items)| statistic(Draw { seeds, items })).filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        (estimate, values)
    }

    /// Interval of the mean of `rows[seed][item]`; what is not finite is left out.
    #[must_use]
    pub fn mean(&self, rows: &[Vec<f64>]) -> Interval {
        self.interval(|draw| mean(rows, draw))
    }

    /// Interval of the difference of two means over the same seeds and items.
    #[must_use]
    pub fn difference(&self, a: &[Vec<f64>], b: &[Vec<f64>]) -> Interval {
        self.interval(|draw| mean(a, draw) - mean(b, draw))
    }
}

/// Mean of `rows[seed][item]` in one draw; what is not finite is left out. NaN when nothing is left.
#[must_use]
pub fn mean(rows: &[Vec<f64>], draw: Draw<'_>) -> f64 {
    let (mut sum, mut weight) = (0.0, 0.0);
    for (row, &seed) in rows.iter().zip(draw.seeds) {
        if seed == 0 {
            continue;
        }
        for (&value, &item) in row.iter().zip(draw.items) {
            if value.is_finite() {
                let times = f64::from(seed) * f64::from(item);
                sum += times * value;
                weight += times;
            }
        }
    }
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_ordinary_bootstrap() {
        let rows = vec![(0..1000).map(|i| f64::from(i % 2)).collect::<Vec<f64>>()];
        let interval = Draws::new(1, 1000, 2000, 7).mean(&rows);
        assert!((interval.estimate - 0.5).abs() < 1e-12);
        // 1.96 · sqrt(0.25 / 1000) = 0.031
        assert!((interval.low - 0.469).abs() < 0.004 && (interval.high - 0.531).abs() < 0.004, "{interval:?}");
    }

    #[test]
    fn seeds_that_differ_widen_the_interval_and_items_alone_do_not_hide_it() {
        // Every item is equal; two of four seeds are always right: only the seeds vary.
        let rows: Vec<Vec<f64>> = (0..4).map(|seed| vec![f64::from(seed % 2); 50]).collect();
        let interval = Draws::new(4, 50, 2000, 7).mean(&rows);
        assert!((interval.estimate - 0.5).abs() < 1e-12);
        // The number drawn of the two right seeds is Binomial(4, 1/2): 0 or 4 in 1/16 of the draws each.
        assert!(interval.low < 1e-12 && interval.high > 1.0 - 1e-12, "{interval:?}");
    }

    #[test]
    fn a_difference_is_taken_on_the_same_draws() {
        // a is b plus 0.05 in every seed and item, whatever b is: the interval has no width.
        let b: Vec<Vec<f64>> = (0..3).map(|s| (0..40).map(|i| f64::from((i * 7 + s) % 5)).collect()).collect();
        let a: Vec<Vec<f64>> = b.iter().map(|row| row.iter().map(|v| v + 0.05).collect()).collect();
        let interval = Draws::new(3, 40, 200, 1).difference(&a, &b);
        for bound in [interval.estimate, interval.low, interval.high] {
            assert!((bound - 0.05).abs() < 1e-9, "{interval:?}");
        }
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let rows = vec![vec![1.0, f64::NAN, 3.0]];
        let all = Draw { seeds: &[1], items: &[1, 5, 1] };
        assert!((mean(&rows, all) - 2.0).abs() < 1e-12);
        assert!(mean(&[vec![f64::NAN]], Draw { seeds: &[1], items: &[1] }).is_nan());
    }

    #[test]
    fn an_inflated_statistic_is_moved_back() {
        // The distance of a mean from 0.5 is 0 here, and never below: resamples can only be larger.
        let rows = vec![(0..100).map(|i| f64::from(i % 2)).collect::<Vec<f64>>()];
        let draws = Draws::new(1, 100, 500, 3);
        let distance = |draw: Draw<'_>| (mean(&rows, draw) - 0.5).abs();
        let (plain, moved) = (draws.interval(distance), draws.interval_without_bias(distance));
        assert!(plain.high > moved.high && moved.low.abs() < 1e-12, "{plain:?} {moved:?}");
    }
}
