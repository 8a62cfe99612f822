//! Which experts are copies of one another, from what they answered to the same probes, whatever they claim.
//!
//! How far two experts are apart is the mean squared Hellinger distance of their answers, as a share of how far both are
//! from the truth: independent experts err on different inputs, a copy errs where its model errs. A plain distance says
//! less, for two good experts are near each other because both are near the truth. Before that, every expert's answers
//! are sharpened to the same mean confidence, so that no temperature and no pinch of uniform noise hides a copy.
//!
//! The threshold (`Policy::alike`, 0.2) was chosen on convolutional networks trained on parts of MNIST and Fashion-MNIST, eight
//! at a time, 800 probes, two seeds. Trained on disjoint parts they are 0.77 and more apart with 300 images each (79 % right),
//! 0.55 and more with 650 and with 3000 images (83 %, 86 %), 0.83 and more with classes dealt by a Dirichlet law. Copies: 0.00 with
//! any temperature or up to 20 % of the uniform answer mixed in, 0.04–0.15 with log-probabilities shaken by 0.6, 0.09–0.25 with
//! one answer in twenty replaced by nonsense. Trained twice on the very same images with another seed: 0.24–0.29, so they
//! remain two, but 0.09 where the images show few classes: these have nothing to add to one another.

use std::collections::HashMap;

use super::climb::golden;
use super::fit::{ExpertProbes, ProbeSet};
use crate::expert::ExpertKey;

/// Probes both must have answered before they are compared, or all there are.
const COMMON: usize = 64;
/// Probes that are compared, evenly spread over all.
const COMPARED: usize = 256;
/// Mean probability of the first choice that all are sharpened to.
const CONFIDENCE: f32 = 0.95;
/// Probabilities are taken as at least this before they are sharpened.
const FLOOR: f32 = 1e-6;
/// Distance from the truth that counts at least: nobody is proven to be perfect.
const LEAST_ERROR: f32 = 0.01;

/// Groups of experts that answer alike.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clusters {
    of: HashMap<ExpertKey, u32>,
}

impl Clusters {
    /// The number of an expert's cluster; `None` until it is measured.
    #[must_use]
    pub fn of(&self, key: &ExpertKey) -> Option<u32> {
        self.of.get(key).copied()
    }

    /// Whether two experts were measured to answer alike.
    #[must_use]
    pub fn alike(&self, a: &ExpertKey, b: &ExpertKey) -> bool {
        self.of(a).is_some_and(|cluster| self.of(b) == Some(cluster))
    }

    /// Experts that were measured.
    #[must_use]
    pub fn measured(&self) -> usize {
        self.of.len()
    }
}

/// Answers of one expert, made comparable.
struct Print {
    /// Square roots of its probabilities, items × classes; zeros where it did not answer.
    roots: Vec<f32>,
    answered: Vec<bool>,
    /// Squared Hellinger distance from the truth per item.
    errors: Vec<f32>,
}

/// Groups `experts` by their answers: average linkage up to the distance `alike`. Deterministic.
///
/// Average linkage, so that neither a bridge answering half like each of two strangers joins them, nor a family of
/// copies, each shaken differently, falls apart.
#[must_use]
pub fn cluster(set: &ProbeSet, experts: &[ExpertProbes], alike: f32) -> Clusters {
    let mut experts: Vec<&ExpertProbes> = experts.iter().collect();
    experts.sort_by_key(|expert| expert.key);
    let prints: Vec<Option<Print>> = experts.iter().map(|expert| print(set, expert)).collect();
    let measured: Vec<usize> = (0..experts.len()).filter(|&i| prints[i].is_some()).collect();
    let n = measured.len();
    let mut apart = vec![f32::INFINITY; n * n];
    for a in 0..n {
        for b in 0..a {
            let (Some(one), Some(other)) = (&prints[measured[a]], &prints[measured[b]]) else { continue };
            let distance = apart_by(one, other, set.classes, items_of(set)).unwrap_or(f32::INFINITY);
            (apart[a * n + b], apart[b * n + a]) = (distance, distance);
        }
    }
    let mut groups: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
    loop {
        let mut nearest: Option<(f32, usize, usize)> = None;
        for a in 0..groups.len() {
            for b in 0..a {
                let sum: f32 = groups[a]
                    .iter()
                    .flat_map(|&i| groups[b].iter().map(move |&j| (i, j)))
                    .map(|(i, j)| apart[i * n + j])
                    .sum();
                let mean = sum / (groups[a].len() * groups[b].len()) as f32;
                if mean <= alike && nearest.is_none_or(|(least, _, _)| mean < least) {
                    nearest = Some((mean, a, b));
                }
            }
        }
        let Some((_, a, b)) = nearest else { break };
        let joined = groups.swap_remove(a);
        groups[b].extend(joined);
    }
    let mut of = HashMap::new();
    for (number, group) in (0..).zip(&groups) {
        of.extend(group.iter().map(|&i| (experts[measured[i]].key, number)));
    }
    Clusters { of }
}

/// How far two experts are apart: 0 for the same answers, about 1 for independent errors. `None` with too few probes in
/// common.
#[must_use]
pub fn distance(set: &ProbeSet, a: &ExpertProbes, b: &ExpertProbes) -> Option<f32> {
    apart_by(&print(set, a)?, &print(set, b)?, set.classes, items_of(set))
}

fn items_of(set: &ProbeSet) -> usize {
    set.features.len().min(set.labels.len())
}

fn apart_by(a: &Print, b: &Print, classes: usize, items: usize) -> Option<f32> {
    let (mut between, mut errors, mut common) = (0.0, 0.0, 0);
    for item in 0..a.answered.len() {
        if !(a.answered[item] && b.answered[item]) {
            continue;
        }
        let row = item * classes..(item + 1) * classes;
        let overlap: f32 = a.roots[row.clone()].iter().zip(&b.roots[row]).map(|(a, b)| a * b).sum();
        between += (1.0 - overlap).max(0.0);
        errors += (a.errors[item] + b.errors[item]) / 2.0;
        common += 1;
    }
    // Of the compared items; of a small set all are needed.
    let wanted = COMMON.min(items).max(1);
    (common >= wanted).then(|| between / errors.max(LEAST_ERROR * common as f32))
}

fn print(set: &ProbeSet, expert: &ExpertProbes) -> Option<Print> {
    let (items, classes) = (items_of(set), set.classes);
    if classes < 2 || items == 0 {
        return None;
    }
    let compared = items.min(COMPARED);
    let chosen: Vec<usize> = (0..compared).map(|i| i * items / compared).collect();
    let logs: Vec<Option<Vec<f32>>> = chosen
        .iter()
        .map(|&item| {
            let row = expert.rows.get(item)?.as_ref().filter(|row| row.len() == classes)?;
            Some(row.iter().map(|p| p.max(FLOOR).ln()).collect())
        })
        .collect();
    let rows: Vec<&Vec<f32>> = logs.iter().flatten().collect();
    if rows.len() < COMMON.min(items) {
        return None;
    }
    let off = |ln_sharpness: f32| {
        let sharpness = ln_sharpness.exp();
        let confidence: f32 = rows.iter().map(|logs| first_choice(logs, sharpness)).sum();
        (confidence / rows.len() as f32 - CONFIDENCE).abs()
    };
    let sharpness = golden(off, 0.1_f32.ln(), 10.0_f32.ln()).exp();
    let mut print = Print {
        roots: vec![0.0; compared * classes],
        answered: logs.iter().map(Option::is_some).collect(),
        errors: vec![0.0; compared],
    };
    for (at, logs) in logs.iter().enumerate() {
        let Some(logs) = logs else { continue };
        let mut row: Vec<f32> = logs.iter().map(|log| sharpness * log).collect();
        super::softmax(&mut row);
        let right = row.get(set.labels[chosen[at]]).copied().unwrap_or(0.0);
        print.errors[at] = 1.0 - right.sqrt();
        print.roots[at * classes..][..classes].iter_mut().zip(&row).for_each(|(root, p)| *root = p.sqrt());
    }
    Some(print)
}

/// Probability of the first choice after sharpening.
fn first_choice(logs: &[f32], sharpness: f32) -> f32 {
    let largest = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    1.0 / logs.iter().map(|l| (sharpness * (l - largest)).exp()).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glia_protocol::{ContentHash, PeerId};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CLASSES: usize = 10;
    const ALIKE: f32 = 0.2;

    fn key(n: usize) -> ExpertKey {
        ExpertKey { peer: PeerId([n as u8; 32]), checkpoint: ContentHash([n as u8; 32]) }
    }

    fn set(items: usize) -> ProbeSet {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        ProbeSet {
            features: vec![vec![1.0]; items],
            labels: (0..items).map(|_| rng.random_range(0..CLASSES)).collect(),
            classes: CLASSES,
        }
    }

    fn normal(rng: &mut ChaCha8Rng) -> f32 {
        // Irwin and Hall: twelve uniforms.
        (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f32>() - 6.0
    }

    fn soft(mut logits: Vec<f32>) -> Vec<f32> {
        crate::gate::softmax(&mut logits);
        logits
    }

    /// An honest expert: `skill` on the right class, half of the noise shared by all (hard items), half its own.
    fn honest(set: &ProbeSet, skill: f32, seed: u64) -> Vec<Vec<f32>> {
        let (mut shared, mut own) = (ChaCha8Rng::seed_from_u64(77), ChaCha8Rng::seed_from_u64(seed));
        let row = |&label: &usize| {
            let noise = (0..CLASSES)
                .map(|class| (if class == label { skill } else { 0.0 }) + normal(&mut shared) + normal(&mut own));
            soft(noise.collect())
        };
        set.labels.iter().map(row).collect()
    }

    fn probes(n: usize, rows: &[Vec<f32>]) -> ExpertProbes {
        let rows = rows.iter().map(|row| Some(Arc::from(row.clone()))).collect();
        ExpertProbes { key: key(n), centroids: Vec::new(), rows }
    }

    fn groups(set: &ProbeSet, all: &[Vec<Vec<f32>>]) -> Vec<u32> {
        let experts: Vec<ExpertProbes> = all.iter().enumerate().map(|(n, rows)| probes(n, rows)).collect();
        let clusters = cluster(set, &experts, ALIKE);
        (0..all.len()).map(|n| clusters.of(&key(n)).unwrap()).collect()
    }

    #[test]
    fn independent_experts_stay_apart_however_good_they_are() {
        let set = set(400);
        for skill in [1.0, 3.0, 5.0, 8.0] {
            let all: Vec<_> = (0..8).map(|seed| honest(&set, skill, seed)).collect();
            let mut numbers = groups(&set, &all);
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 8, "skill {skill}");
        }
    }

    #[test]
    fn a_copy_is_found_however_it_shakes_its_answers() {
        let set = set(400);
        let model = honest(&set, 4.0, 1);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let tempered = |t: f32| model.iter().map(|row| soft(row.iter().map(|p| t * p.ln()).collect())).collect();
        let mixed = |e: f32| model.iter().map(|row| row.iter().map(|p| (1.0 - e) * p + e / 10.0).collect()).collect();
        let shaken: Vec<Vec<f32>> =
            model.iter().map(|row| soft(row.iter().map(|p| p.ln() + 0.2 * normal(&mut rng)).collect())).collect();
        let copies: Vec<Vec<Vec<f32>>> =
            vec![model.clone(), tempered(0.5), tempered(2.0), mixed(0.02), mixed(0.2), shaken];
        let mut all = copies.clone();
        all.extend((2..6).map(|seed| honest(&set, 4.0, seed)));
        let numbers = groups(&set, &all);
        assert!(numbers[..copies.len()].iter().all(|n| *n == numbers[0]), "{numbers:?}");
        assert!(numbers[copies.len()..].iter().all(|n| *n != numbers[0]), "{numbers:?}");
    }

    #[test]
    fn a_bridge_between_two_strangers_joins_one_of_them_at_most() {
        let set = set(400);
        let (a, c) = (honest(&set, 4.0, 1), honest(&set, 4.0, 2));
        let bridge = a.iter().zip(&c).enumerate().map(|(n, (a, c))| if n % 2 == 0 { a.clone() } else { c.clone() });
        let numbers = groups(&set, &[a.clone(), bridge.collect(), c.clone()]);
        assert_ne!(numbers[0], numbers[2]);
    }

    #[test]
    fn few_answers_in_common_say_nothing_and_a_name_says_nothing_at_all() {
        let set = set(400);
        let model = honest(&set, 4.0, 1);
        let (mut a, mut b) = (probes(1, &model), probes(2, &model));
        // The same claimed checkpoint, but answers to different halves.
        b.key.checkpoint = a.key.checkpoint;
        (0..400).for_each(|n| if n < 200 { a.rows[n] = None } else { b.rows[n] = None });
        assert_eq!(distance(&set, &a, &b), None);
        assert!(!cluster(&set, &[a.clone(), b.clone()], ALIKE).alike(&a.key, &b.key));
        let stranger = ExpertProbes { key: b.key, ..probes(2, &honest(&set, 4.0, 2)) };
        let full = probes(1, &model);
        assert!(!cluster(&set, &[full.clone(), stranger], ALIKE).alike(&full.key, &b.key));
        let silent = ExpertProbes { rows: vec![None; 400], ..full };
        assert_eq!(cluster(&set, std::slice::from_ref(&silent), ALIKE).of(&silent.key), None);
    }
}
