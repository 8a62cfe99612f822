//! Exact Shapley values of log-loss reduction over answers already in hand: no further call is made.
//!
//! The worth of a coalition is v(S) = ln(C·q_S(y)) where q_S = Σ_{i∈S} w_i p_i(y) + (1 − Σ_{i∈S} w_i)/C: members outside S
//! leave their weight to ignorance, the uniform answer. So v(∅) = 0, somebody the gate gives no weight is a null player
//! (a specialist called outside its region is not punished for what the gate already knew), and the values sum to the
//! gain of the whole pool over ignorance.

use crate::config::MAX_K;

/// Probabilities count as at least this, so that one blunder costs ln(1000) nats at most.
const CLIP: f64 = 1e-3;

/// Shapley value of each member, nats. `weights` sum to 1, `right[i]` is member i's probability of the right class.
///
/// Members beyond the first [`MAX_K`] get 0 and count as ignorance.
#[must_use]
pub fn shapley(weights: &[f32], right: &[f32], classes: usize) -> Vec<f64> {
    let members = weights.len().min(right.len()).min(MAX_K);
    let mut values = vec![0.0; weights.len()];
    if members == 0 || classes == 0 {
        return values;
    }
    let uniform = 1.0 / classes as f64;
    // What member i adds to q when it joins: its answer in place of ignorance.
    let adds: Vec<f64> =
        (0..members).map(|i| f64::from(weights[i]) * (f64::from(right[i]).clamp(CLIP, 1.0) - uniform)).collect();
    let worth: Vec<f64> = (0..1_usize << members)
        .map(|coalition| {
            let sum: f64 = adds.iter().enumerate().filter(|(i, _)| coalition >> i & 1 == 1).map(|(_, add)| add).sum();
            ((uniform + sum).max(CLIP.min(uniform)) * classes as f64).ln()
        })
        .collect();
    let share = shares(members);
    for (coalition, before) in worth.iter().enumerate() {
        let size = coalition.count_ones() as usize;
        for (i, value) in values.iter_mut().enumerate().take(members) {
            if coalition >> i & 1 == 0 {
                *value += share[size] * (worth[coalition | 1 << i] - before);
            }
        }
    }
    values
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

    #[test]
    fn the_values_sum_to_the_gain_of_the_whole_pool() {
        let right = [0.9, 0.5, 0.01, 0.2];
        let values = shapley(&WEIGHTS, &right, 20);
        let pool: f64 = WEIGHTS.iter().zip(right).map(|(w, p)| f64::from(w * p)).sum();
        assert!((values.iter().sum::<f64>() - (20.0 * pool).ln()).abs() < 1e-6);
    }

    #[test]
    fn equals_get_equal_values() {
        let values = shapley(&[0.3, 0.4, 0.3], &[0.7, 0.2, 0.7], 10);
        assert!((values[0] - values[2]).abs() < 1e-12);
    }

    #[test]
    fn somebody_who_changes_nothing_gets_nothing() {
        assert!(shapley(&[1.0, 0.0], &[0.8, 0.0], 10)[1].abs() < 1e-12);
        // A uniform answer is ignorance, whatever its weight.
        assert!(shapley(&[0.5, 0.5], &[0.8, 0.1], 10)[1].abs() < 1e-6);
    }

    #[test]
    fn the_honest_gain_and_the_liar_loses() {
        let values = shapley(&[0.5, 0.5], &[0.9, 0.0], 10);
        assert!(values[0] > 0.0 && values[1] < 0.0);
    }

    #[test]
    fn one_member_gets_the_whole_gain_and_none_is_no_error() {
        assert!((shapley(&[1.0], &[1.0], 20)[0] - 20.0_f64.ln()).abs() < 1e-9);
        assert!(shapley(&[], &[], 20).is_empty());
    }
}
