//! Shapley values of log-loss reduction over answers already in hand: no further call is made.
//!
//! The worth of a coalition is v(S) = ln(C·q_S(y)) where q_S = Σ_{i∈S} w_i p_i(y) + (1 − Σ_{i∈S} w_i)/C: members outside S
//! leave their weight to ignorance, the uniform answer. So v(∅) = 0, somebody the gate gives no weight is a null player
//! (a specialist called outside its region is not punished for what the gate already knew), and the values sum to the
//! gain of the whole pool over ignorance.
//!
//! Up to [`MAX_K`] members the values are exact: 2^k coalitions. Standbys and hedges can make more; then orders in which
//! members join are drawn by chance, each together with its reverse, which halves the work for the same error. The sum,
//! the zero of a null player and the signs stay exact in every order, only the split between members is an estimate.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::MAX_K;

/// Probabilities count as at least this, so that one blunder costs ln(1000) nats at most.
const CLIP: f64 = 1e-3;
/// Pairs of an order and its reverse that are drawn beyond [`MAX_K`] members.
const ORDERS: usize = 128;

/// Shapley value of each member, nats. `weights` sum to 1, `right[i]` is member i's probability of the right class.
/// `seed` is used beyond [`MAX_K`] members only.
#[must_use]
pub fn shapley(weights: &[f32], right: &[f32], classes: usize, seed: u64) -> Vec<f64> {
    let members = weights.len().min(right.len());
    let mut values = vec![0.0; weights.len()];
    if members == 0 || classes == 0 {
        return values;
    }
    let pool = Pool::new(&weights[..members], &right[..members], classes);
    if members <= MAX_K {
        pool.exact(&mut values[..members]);
    } else {
        pool.sampled(&mut values[..members], seed);
    }
    values
}

/// What each member adds to q(y) when it joins: its answer in place of ignorance.
struct Pool {
    adds: Vec<f64>,
    classes: f64,
}

impl Pool {
    fn new(weights: &[f32], right: &[f32], classes: usize) -> Self {
        let classes = classes as f64;
        let add =
            |(weight, right): (&f32, &f32)| f64::from(*weight) * (f64::from(*right).clamp(CLIP, 1.0) - 1.0 / classes);
        Self { adds: weights.iter().zip(right).map(add).collect(), classes }
    }

    /// v(S) from what its members add together.
    fn worth(&self, added: f64) -> f64 {
        let uniform = 1.0 / self.classes;
        ((uniform + added).max(CLIP.min(uniform)) * self.classes).ln()
    }

    fn exact(&self, values: &mut [f64]) {
        let members = self.adds.len();
        // What a coalition adds is what it adds without its last member, plus that member.
        let mut added = vec![0.0; 1 << members];
        let mut worth = vec![0.0; 1 << members];
        for coalition in 1..added.len() {
            added[coalition] = added[coalition & (coalition - 1)] + self.adds[coalition.trailing_zeros() as usize];
            worth[coalition] = self.worth(added[coalition]);
        }
        let share = shares(members);
        for (coalition, before) in worth.iter().enumerate() {
            let size = coalition.count_ones() as usize;
            for (i, value) in values.iter_mut().enumerate() {
                if coalition >> i & 1 == 0 {
                    *value += share[size] * (worth[coalition | 1 << i] - before);
                }
            }
        }
    }

    fn sampled(&self, values: &mut [f64], seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..self.adds.len()).collect();
        for _ in 0..ORDERS {
            order.shuffle(&mut rng);
            for _ in 0..2 {
                order.reverse();
                let (mut added, mut before) = (0.0, 0.0);
                for &member in &order {
                    added += self.adds[member];
                    let after = self.worth(added);
                    values[member] += after - before;
                    before = after;
                }
            }
        }
        values.iter_mut().for_each(|value| *value /= (2 * ORDERS) as f64);
    }
}

/// |S|!·(n−|S|−1)!/n! for |S| = 0..n.
fn shares(members: usize) -> Vec<f64> {
    // 1/n · 1/binomial(n−1, s)
    let mut binomial = 1.0;
    (0..members)
        .map(|s| {
            if s > 0 {
                binomial = binomial * (members - s) as f64 / s as f64;
            }
            1.0 / (members as f64 * binomial)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f32; 4] = [0.4, 0.3, 0.2, 0.1];

    /// Twelve members of which 3 and 7 are equal, 5 has no weight and 11 says nothing.
    fn twelve() -> (Vec<f32>, Vec<f32>) {
        let mut weights = vec![0.1_f32; 12];
        let mut right: Vec<f32> = (0..12).map(|i| 0.9 / (i as f32 + 1.0)).collect();
        (weights[3], weights[7], right[7]) = (0.05, 0.05, right[3]);
        (weights[5], right[11]) = (0.0, 0.1);
        (weights, right)
    }

    fn gain(weights: &[f32], right: &[f32], classes: f64) -> f64 {
        let pool: f64 = weights.iter().zip(right).map(|(w, p)| f64::from(*w) * (f64::from(*p) - 1.0 / classes)).sum();
        (classes * (1.0 / classes + pool)).ln()
    }

    #[test]
    fn the_values_sum_to_the_gain_of_the_whole_pool() {
        let right = [0.9, 0.5, 0.01, 0.2];
        let values = shapley(&WEIGHTS, &right, 20, 0);
        assert!((values.iter().sum::<f64>() - gain(&WEIGHTS, &right, 20.0)).abs() < 1e-6);
        let (weights, right) = twelve();
        let values = shapley(&weights, &right, 10, 7);
        assert!((values.iter().sum::<f64>() - gain(&weights, &right, 10.0)).abs() < 1e-6);
    }

    #[test]
    fn equals_get_equal_values() {
        let values = shapley(&[0.3, 0.4, 0.3], &[0.7, 0.2, 0.7], 10, 0);
        assert!((values[0] - values[2]).abs() < 1e-12);
        let (weights, right) = twelve();
        let values = shapley(&weights, &right, 10, 7);
        assert!((values[3] - values[7]).abs() < 0.05 * values[3].abs(), "{values:?}");
    }

    #[test]
    fn somebody_who_changes_nothing_gets_nothing() {
        assert!(shapley(&[1.0, 0.0], &[0.8, 0.0], 10, 0)[1].abs() < 1e-12);
        // A uniform answer is ignorance, whatever its weight.
        assert!(shapley(&[0.5, 0.5], &[0.8, 0.1], 10, 0)[1].abs() < 1e-6);
        let (weights, right) = twelve();
        let values = shapley(&weights, &right, 10, 7);
        assert!(values[5].abs() < 1e-12 && values[11].abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn sampling_is_close_to_the_exact_values_and_the_same_for_the_same_seed() {
        let weights = [0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05];
        let right = [0.9, 0.8, 0.01, 0.3, 0.05, 0.6, 0.2, 0.1];
        let pool = Pool::new(&weights, &right, 20);
        let exact = shapley(&weights, &right, 20, 0);
        let sampled = |seed| {
            let mut values = vec![0.0; 8];
            pool.sampled(&mut values, seed);
            values
        };
        assert_eq!(sampled(1), sampled(1));
        for seed in 0..20 {
            for (exact, sampled) in exact.iter().zip(sampled(seed)) {
                assert!((exact - sampled).abs() < 0.03 * 20.0_f64.ln(), "{exact} {sampled}");
            }
        }
    }

    #[test]
    fn the_honest_gain_and_the_liar_loses() {
        let values = shapley(&[0.5, 0.5], &[0.9, 0.0], 10, 0);
        assert!(values[0] > 0.0 && values[1] < 0.0);
    }

    #[test]
    fn one_member_gets_the_whole_gain_and_none_is_no_error() {
        assert!((shapley(&[1.0], &[1.0], 20, 0)[0] - 20.0_f64.ln()).abs() < 1e-9);
        assert!(shapley(&[], &[], 20, 0).is_empty());
    }
}
