//! Learning how to read answers once they are there: whose word counts more *given what was said*, and what each expert
//! means by its probabilities.
//!
//! The gate chooses who is asked by the input alone. When the answers are in hand more is known: an expert that says
//! "sandal" may be right nearly always, and one that says "shirt" mostly wrong. So the weights of the members get a
//! second correction that also depends on each member's own answer, and its probabilities are calibrated per class (it
//! may have seen hardly any shirts, and so never says shirt). The pool stays linear: whatever is learned here, one answer
//! moves the pool by at most its weight. Fitted on probe answers, with the penalty and the pool's temperature chosen on
//! items the fit did not see; where it does not help there, nothing of it is used.

use super::climb::{Adam, golden};
use super::softmax;
use super::vector::dot;

/// Probabilities are taken as at least this before a logarithm.
pub(crate) const FLOOR: f32 = 1e-4;
/// Gradient steps of each of the two stages.
const STEPS: usize = 60;
/// Strengths of the penalties that are tried on held-out items.
const STRENGTHS: [f32; 2] = [0.7, 3.0];
/// Penalty on the answer-dependent part of the weights, and on the class calibration, at strength 1.
const LEAN_PENALTY: f32 = 1.0;
const CALIBRATION_PENALTY: f32 = 2.0;
/// Largest push an answer may give to its own weight, logits.
const MAX_LEAN: f32 = 4.0;

/// How one expert's answers are read. All zero: as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Added to its logit once it has answered.
    pub bias: f32,
    /// Slope over φ added to its logit once it has answered; empty: none.
    pub slope: Vec<f32>,
    /// Change of its logit per probability it gives to each class; empty: none.
    pub lean: Vec<f32>,
    /// Change of its logit per largest probability.
    pub confidence: f32,
    /// ln of the exponent on its probabilities.
    pub ln_sharpness: f32,
    /// Added to the logarithm of each probability; empty: nothing.
    pub offsets: Vec<f32>,
}

impl Reading {
    /// What its answer `row` to the input with `features` adds to its logit.
    #[must_use]
    pub fn weigh(&self, features: &[f32], row: &[f32]) -> f32 {
        self.bias + dot(&self.slope, features) + self.lean(row)
    }

    fn lean(&self, row: &[f32]) -> f32 {
        let sum: f32 = self.lean.iter().zip(row).map(|(u, p)| u * p).sum();
        (sum + self.confidence * row.iter().copied().fold(0.0, f32::max)).clamp(-MAX_LEAN, MAX_LEAN)
    }

    /// Its probabilities as they are to be understood; `row` and the result sum to 1.
    #[must_use]
    pub fn calibrate(&self, row: &[f32]) -> Vec<f32> {
        let sharpness = self.ln_sharpness.exp();
        let offset = |c: usize| self.offsets.get(c).copied().unwrap_or(0.0);
        let mut out: Vec<f32> =
            row.iter().enumerate().map(|(c, p)| sharpness * p.max(FLOOR).ln() + offset(c)).collect();
        softmax(&mut out);
        out
    }
}

/// One member of one labelled item.
#[derive(Debug, Clone)]
pub(super) struct Heard<'a> {
    /// Index of the expert.
    pub(super) expert: usize,
    /// Its logit before it had answered.
    pub(super) logit: f32,
    /// What it answered; sums to 1.
    pub(super) row: &'a [f32],
}

/// One labelled item: who was asked and what they said.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) features: &'a [f32],
    pub(super) label: usize,
    pub(super) members: Vec<Heard<'a>>,
}

/// What was learned.
#[derive(Debug, Clone)]
pub(super) struct Combination {
    /// Per expert.
    pub(super) readings: Vec<Reading>,
    /// Exponent on the pool.
    pub(super) pool_sharpness: f32,
    /// Mean −ln p(y) on items the readings were not fitted on.
    pub(super) log_loss: f32,
    /// Share of right first choices on those items.
    pub(super) accuracy: f32,
}

/// Pools one item with these readings, before the pool's own exponent.
fn pool(readings: &[Reading], item: &Item<'_>, classes: usize) -> Vec<f32> {
    let mut weights: Vec<f32> =
        item.members.iter().map(|m| m.logit + readings[m.expert].weigh(item.features, m.row)).collect();
    softmax(&mut weights);
    let mut pool = vec![0.0; classes];
    for (weight, member) in weights.iter().zip(&item.members) {
        let row = readings[member.expert].calibrate(member.row);
        pool.iter_mut().zip(&row).for_each(|(q, p)| *q += weight * p);
    }
    pool
}

/// Parts the items are cut into, in turn.
pub(super) const FOLDS: usize = 2;

/// Learns to read the answers to `items`. `folds[f]` are the same items under a gate that did not see those of part `f`;
/// on them is judged whether what is learned helps. `start` is what is known without it (one exponent per expert), which
/// stays if nothing better is found or there are not `enough` items.
pub(super) fn fit(
    items: &[Item<'_>],
    folds: &[Vec<Item<'_>>],
    start: &[Reading],
    classes: usize,
    features: usize,
    enough: bool,
) -> Combination {
    let held = |readings: &[Vec<Reading>]| -> Vec<(Vec<f32>, usize)> {
        let parts = folds.iter().zip(readings).enumerate();
        parts
            .flat_map(|(part, (items, readings))| {
                let own = items.iter().skip(part).step_by(FOLDS).filter(|item| !item.members.is_empty());
                own.map(|item| (pool(readings, item, classes), item.label))
            })
            .collect()
    };
    let judge = |readings: &[Vec<Reading>]| {
        let pools = held(readings);
        let sharpness = pool_exponent(&pools);
        let (log_loss, accuracy) = score(&pools, sharpness);
        (log_loss, accuracy, sharpness)
    };
    let (log_loss, accuracy, pool_sharpness) = judge(&vec![start.to_vec(); folds.len()]);
    let mut best = Combination { readings: start.to_vec(), pool_sharpness, log_loss, accuracy };
    let mut chosen = None;
    for strength in STRENGTHS.into_iter().filter(|_| enough) {
        let climbed = folds.iter().enumerate().map(|(part, items)| {
            let rest: Vec<usize> = (0..items.len()).filter(|j| j % FOLDS != part).collect();
            climb(items, &rest, start, strength, classes, features)
        });
        let (log_loss, accuracy, pool_sharpness) = judge(&climbed.collect::<Vec<_>>());
        if log_loss < best.log_loss {
            best = Combination { log_loss, accuracy, pool_sharpness, ..best };
            chosen = Some(strength);
        }
    }
    if let Some(strength) = chosen {
        let all: Vec<usize> = (0..items.len()).collect();
        best.readings = climb(items, &all, start, strength, classes, features);
    }
    best
}

/// The exponent on pools that makes their confidence right.
fn pool_exponent(pools: &[(Vec<f32>, usize)]) -> f32 {
    let logs: Vec<(Vec<f32>, usize)> =
        pools.iter().map(|(pool, y)| (pool.iter().map(|p| p.max(FLOOR).ln()).collect(), *y)).collect();
    let loss = |ln_sharpness: f32| {
        let sum: f32 = logs.iter().map(|(logs, y)| negative_log(logs, *y, ln_sharpness.exp())).sum();
        sum + 0.5 * ln_sharpness * ln_sharpness
    };
    golden(loss, 0.25_f32.ln(), 4.0_f32.ln()).exp()
}

/// Mean −ln p(y) and accuracy of pools raised to `sharpness`.
fn score(pools: &[(Vec<f32>, usize)], sharpness: f32) -> (f32, f32) {
    let (mut loss, mut hits) = (0.0, 0);
    for (pool, y) in pools {
        let logs: Vec<f32> = pool.iter().map(|p| p.max(FLOOR).ln()).collect();
        loss += negative_log(&logs, *y, sharpness);
        hits += usize::from(crate::aggregate::top_class(pool) == *y);
    }
    let n = pools.len().max(1) as f32;
    (loss / n, hits as f32 / n)
}

/// −ln of the probability of `y` after raising all to `sharpness` and renormalising.
pub(super) fn negative_log(logs: &[f32], y: usize, sharpness: f32) -> f32 {
    let largest = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logs.iter().map(|l| (sharpness * (l - largest)).exp()).sum();
    sum.ln() - sharpness * (logs.get(y).copied().unwrap_or_else(|| FLOOR.ln()) - largest)
}

/// Both stages on the items `on`: first the weights, then the calibration under those weights.
fn climb(
    items: &[Item<'_>],
    on: &[usize],
    start: &[Reading],
    strength: f32,
    classes: usize,
    features: usize,
) -> Vec<Reading> {
    let mut readings: Vec<Reading> = start
        .iter()
        .map(|r| Reading {
            slope: vec![0.0; features],
            lean: vec![0.0; classes],
            offsets: vec![0.0; classes],
            ..r.clone()
        })
        .collect();
    climb_weights(&mut readings, items, on, strength, classes, features);
    climb_calibration(&mut readings, items, on, strength, classes);
    readings
}

/// Ascends Σ ln Σ_i w_i p_i(y); the gradient per logit is "responsibility − weight".
fn climb_weights(
    readings: &mut [Reading],
    items: &[Item<'_>],
    on: &[usize],
    strength: f32,
    classes: usize,
    features: usize,
) {
    // Per expert: bias, confidence, slope, lean.
    let width = 2 + features + classes;
    let mut adam = Adam::new(readings.len() * width);
    let scale = 1.0 / on.len().max(1) as f32;
    let penalty = 2.0 * strength * LEAN_PENALTY * scale;
    let mut gradient = vec![0.0_f32; readings.len() * width];
    for step in 0..STEPS {
        gradient.fill(0.0);
        for item in on.iter().map(|&j| &items[j]) {
            let mut weights: Vec<f32> =
                item.members.iter().map(|m| m.logit + readings[m.expert].weigh(item.features, m.row)).collect();
            softmax(&mut weights);
            let right = |m: &Heard<'_>| m.row.get(item.label).copied().unwrap_or(0.0);
            let mixed: f32 = weights.iter().zip(&item.members).map(|(w, m)| w * right(m)).sum();
            for (weight, member) in weights.iter().zip(&item.members) {
                let pull = (weight * right(member) / mixed.max(1e-6) - weight) * scale;
                let own = &mut gradient[member.expert * width..][..width];
                own[0] += pull;
                own[1] += pull * member.row.iter().copied().fold(0.0, f32::max);
                own[2..2 + features].iter_mut().zip(item.features).for_each(|(g, x)| *g += pull * x);
                own[2 + features..].iter_mut().zip(member.row).for_each(|(g, p)| *g += pull * p);
            }
        }
        let rate = 0.12 * (1.0 - 0.9 * step as f32 / STEPS as f32);
        for (i, reading) in readings.iter_mut().enumerate() {
            let base = i * width;
            let first = [&mut reading.bias, &mut reading.confidence].into_iter();
            let values = first.chain(&mut reading.slope).chain(&mut reading.lean);
            for (at, value) in values.enumerate() {
                *value += adam.step(base + at, gradient[base + at] - penalty * *value, rate);
            }
        }
        adam.advance();
    }
}

/// Ascends Σ ln q(y), q the pool of calibrated answers, over exponents and class offsets; weights stay.
fn climb_calibration(readings: &mut [Reading], items: &[Item<'_>], on: &[usize], strength: f32, classes: usize) {
    let width = 1 + classes;
    let mut adam = Adam::new(readings.len() * width + 1);
    let scale = 1.0 / on.len().max(1) as f32;
    let penalty = 2.0 * strength * CALIBRATION_PENALTY * scale;
    let start: Vec<f32> = readings.iter().map(|r| r.ln_sharpness).collect();
    let weights: Vec<Vec<f32>> = on
        .iter()
        .map(|&j| {
            let item = &items[j];
            let mut weights: Vec<f32> =
                item.members.iter().map(|m| m.logit + readings[m.expert].weigh(item.features, m.row)).collect();
            softmax(&mut weights);
            weights
        })
        .collect();
    let mut gradient = vec![0.0_f32; readings.len() * width + 1];
    let mut ln_pool = 0.0_f32;
    let last = readings.len() * width;
    for step in 0..STEPS {
        gradient.fill(0.0);
        for (item, weights) in on.iter().map(|&j| &items[j]).zip(&weights).filter(|(_, weights)| !weights.is_empty()) {
            let rows: Vec<Vec<f32>> = item.members.iter().map(|m| readings[m.expert].calibrate(m.row)).collect();
            let mut pool = vec![0.0; classes];
            for (weight, row) in weights.iter().zip(&rows) {
                pool.iter_mut().zip(row).for_each(|(q, p)| *q += weight * p);
            }
            // Through the pool's exponent: q ∝ pool^t, d ln q(y) / d ln pool_c = t (1[c = y] − q_c).
            let exponent = ln_pool.exp();
            let mut sharp: Vec<f32> = pool.iter().map(|p| exponent * p.max(1e-6).ln()).collect();
            softmax(&mut sharp);
            let miss = |c: usize| if c == item.label { 1.0 - sharp[c] } else { -sharp[c] };
            gradient[last] += exponent * scale * (0..classes).map(|c| miss(c) * pool[c].max(1e-6).ln()).sum::<f32>();
            let by_pool: Vec<f32> = (0..classes).map(|c| exponent * miss(c) / pool[c].max(1e-6)).collect();
            for ((weight, row), member) in weights.iter().zip(&rows).zip(&item.members) {
                let mean: f32 = by_pool.iter().zip(row).map(|(g, p)| g * p).sum();
                let sharpness = readings[member.expert].ln_sharpness.exp();
                let own = &mut gradient[member.expert * width..][..width];
                for c in 0..classes {
                    let pull = weight * row[c] * (by_pool[c] - mean) * scale;
                    own[0] += pull * sharpness * member.row[c].max(FLOOR).ln();
                    own[1 + c] += pull;
                }
            }
        }
        let rate = 0.06 * (1.0 - 0.9 * step as f32 / STEPS as f32);
        for (i, reading) in readings.iter_mut().enumerate() {
            let base = i * width;
            let pull = gradient[base] - penalty * (reading.ln_sharpness - start[i]);
            reading.ln_sharpness = (reading.ln_sharpness + adam.step(base, pull, rate)).clamp(-2.5, 1.5);
            for (c, offset) in reading.offsets.iter_mut().enumerate() {
                *offset += adam.step(base + 1 + c, gradient[base + 1 + c] - penalty * *offset, rate);
            }
        }
        ln_pool = (ln_pool + adam.step(last, gradient[last] - penalty * ln_pool, rate)).clamp(-1.5, 1.5);
        adam.advance();
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Two experts, four classes: each is right about two of them and says one of its own two for the others, so that
    /// only what it says tells whether to believe it.
    fn halves(seed: u64, items: usize) -> Vec<(usize, [Vec<f32>; 2])> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..items)
            .map(|_| {
                let y = rng.random_range(0..4_usize);
                let say = |class: usize, p: f32| -> Vec<f32> {
                    (0..4).map(|c| if c == class { p } else { (1.0 - p) / 3.0 }).collect()
                };
                // Confident where it knows, wavering where it guesses.
                let own = |first: usize, rng: &mut ChaCha8Rng| {
                    if y / 2 == first { say(y, 0.9) } else { say(first * 2 + rng.random_range(0..2), 0.6) }
                };
                (y, [own(0, &mut rng), own(1, &mut rng)])
            })
            .collect()
    }

    fn items(drawn: &[(usize, [Vec<f32>; 2])]) -> Vec<Item<'_>> {
        drawn
            .iter()
            .map(|(label, rows)| Item {
                features: &[],
                label: *label,
                members: rows.iter().enumerate().map(|(expert, row)| Heard { expert, logit: 0.0, row }).collect(),
            })
            .collect()
    }

    #[test]
    fn an_expert_is_believed_where_its_confidence_is_deserved() {
        let (train, test) = (halves(1, 300), halves(2, 300));
        let start = vec![Reading::default(); 2];
        let learned = fit(&items(&train), &[items(&train), items(&train)], &start, 4, 0, true);
        let score_of = |readings: &[Reading], sharpness| {
            let pools: Vec<_> = items(&test).iter().map(|item| (pool(readings, item, 4), item.label)).collect();
            score(&pools, sharpness)
        };
        let (plain, _) = score_of(&start, 1.0);
        let (loss, accuracy) = score_of(&learned.readings, learned.pool_sharpness);
        assert!(loss < 0.5 * plain, "{loss} against {plain}");
        assert!(accuracy > 0.99, "{accuracy}");
    }

    #[test]
    fn nothing_is_learned_where_there_is_nothing_to_learn() {
        // Both answer the same, whatever the label: no reading makes that better.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = [vec![0.25_f32; 4], vec![0.25_f32; 4]];
        let drawn: Vec<_> = (0..100).map(|_| (rng.random_range(0..4_usize), rows.clone())).collect();
        let start = vec![Reading::default(); 2];
        let learned = fit(&items(&drawn), &[items(&drawn), items(&drawn)], &start, 4, 0, true);
        let answer = pool(&learned.readings, &items(&drawn)[0], 4);
        assert!(answer.iter().all(|p| (p - 0.25).abs() < 0.1), "{answer:?}");
    }

    #[test]
    fn what_one_answer_says_pushes_its_own_weight_only_so_far() {
        let reading = Reading { lean: vec![100.0, -100.0], ..Reading::default() };
        assert_eq!(reading.weigh(&[], &[1.0, 0.0]), MAX_LEAN);
        assert_eq!(reading.weigh(&[], &[0.0, 1.0]), -MAX_LEAN);
    }

    #[test]
    fn a_default_reading_leaves_an_answer_as_it_is() {
        let row = [0.7_f32, 0.2, 0.1];
        let read = Reading::default().calibrate(&row);
        assert!(read.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(Reading::default().weigh(&[1.0], &row), 0.0);
    }
}
