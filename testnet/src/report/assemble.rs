//! From outcomes to figures: pure, with every random choice seeded.

use serde::{Deserialize, Serialize};

use super::{Baselines, CollectiveRow, ExpertRow, Report, Settings, Times};
use crate::chain_view::ChainView;
use crate::evaluate::Evaluation;
use crate::stats::{Interval, argmax, bootstrap_mean, mcnemar, paired_difference, wilson};

/// A class belongs to an expert's own region when at least this share of its training examples is of it.
const OWN_SHARE: f64 = 0.05;

/// One expert's answers to the test set, computed without the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Single {
    /// Its name.
    pub name: String,
    /// Its uid on chain.
    pub uid: Option<u16>,
    /// What it was trained on, for people.
    pub trained_on: String,
    /// Passes over its training examples.
    pub passes: u32,
    /// Training examples per class.
    pub class_counts: Vec<u64>,
    /// Probabilities per test item.
    pub probabilities: Vec<Vec<f32>>,
}

/// The dense model's answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Training examples.
    pub examples: u64,
    /// Passes over them.
    pub passes: u32,
    /// Probabilities per test item.
    pub probabilities: Vec<Vec<f32>>,
}

/// Two ways of answering the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference of the accuracies, first minus second: paired bootstrap.
    pub difference: Interval,
    /// Items only the first answered right.
    pub only_first: usize,
    /// Items only the second answered right.
    pub only_second: usize,
    /// Exact McNemar test of these two.
    pub p_value: f64,
}

impl Comparison {
    fn of(first: &[bool], second: &[bool], settings: &Settings) -> Self {
        let count = |wanted: (bool, bool)| first.iter().zip(second).filter(|&(&a, &b)| (a, b) == wanted).count();
        let (only_first, only_second) = (count((true, false)), count((false, true)));
        let difference = paired_difference(first, second, settings.resamples, settings.seed);
        // Both are about the same, non-empty set here; were they not, nothing would be shown.
        let unknown = Interval { estimate: 0.0, low: -1.0, high: 1.0 };
        Self {
            difference: difference.unwrap_or(unknown),
            only_first,
            only_second,
            p_value: mcnemar(only_first, only_second),
        }
    }
}

/// The classes an expert was trained on most: at least 5 % of its examples each, or else the most frequent one.
/// None for an expert that saw no example.
#[must_use]
pub fn own_classes(counts: &[u64]) -> Vec<usize> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return Vec::new();
    }
    let enough = OWN_SHARE * total as f64;
    let own: Vec<usize> =
        (0..counts.len()).filter(|&class| counts[class] as f64 >= enough && counts[class] > 0).collect();
    if own.is_empty() {
        return (0..counts.len()).max_by_key(|&class| counts[class]).into_iter().collect();
    }
    own
}

fn right(probabilities: &[Vec<f32>], classes: &[usize]) -> Vec<bool> {
    // An item without an answer is wrong, so that every list is as long as the set.
    let says = |item: usize| probabilities.get(item).and_then(|row| argmax(row));
    classes.iter().enumerate().map(|(item, &class)| says(item) == Some(class)).collect()
}

fn accuracy(right: &[bool]) -> Interval {
    wilson(right.iter().filter(|&&right| right).count(), right.len())
}

/// Everything a report is made of.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// What was evaluated and how.
    pub settings: Settings,
    /// Class names.
    pub labels: &'a [String],
    /// The true class of each test item.
    pub classes: &'a [usize],
    /// Each expert's own answers.
    pub singles: &'a [Single],
    /// The dense model's answers.
    pub dense: Option<&'a Dense>,
    /// The collective at each k.
    pub evaluations: &'a [Evaluation],
    /// What the chain made of it.
    pub chain: Option<ChainView>,
    /// Where the time went.
    pub times: Times,
    /// Memory of all processes together, in bytes.
    pub resident_bytes: Option<u64>,
}

/// The figures.
#[must_use]
pub fn assemble(measured: Measured<'_>) -> Report {
    let Measured { settings, labels, classes, singles, dense, evaluations, chain, times, resident_bytes } = measured;
    let rights: Vec<Vec<bool>> = singles.iter().map(|single| right(&single.probabilities, classes)).collect();
    let hits = |right: &[bool]| right.iter().filter(|&&right| right).count();
    // The first of equals, so that the name does not depend on the order of comparison.
    let best = (0..rights.len()).rev().max_by_key(|&i| hits(&rights[i]));
    let items = 0..classes.len();
    let share_right =
        |item: usize| rights.iter().filter(|right| right[item]).count() as f64 / rights.len().max(1) as f64;
    let means: Vec<f64> = items.clone().map(share_right).collect();
    let average = right(&plain_average(singles, classes.len()), classes);
    let oracle: Vec<bool> = items.map(|item| rights.iter().any(|right| right[item])).collect();
    let dense_right = dense.map(|dense| right(&dense.probabilities, classes));
    let nobody = vec![false; classes.len()];
    let best_right = best.map_or(&nobody, |best| &rights[best]);
    let baselines = Baselines {
        best_single_name: best.map_or_else(String::new, |best| singles[best].name.clone()),
        best_single: accuracy(best_right),
        mean_single: bootstrap_mean(&means, settings.resamples, settings.seed),
        plain_average: accuracy(&average),
        oracle_gate: accuracy(&oracle),
        dense: dense_right.as_deref().map(accuracy),
        dense_examples: dense.map(|dense| dense.examples),
        dense_passes: dense.map(|dense| dense.passes),
        experts_saw: singles
            .iter()
            .map(|single| single.class_counts.iter().sum::<u64>() * u64::from(single.passes))
            .sum(),
    };
    let collective = evaluations.iter().map(|evaluation| {
        let right = evaluation.right();
        CollectiveRow {
            figures: evaluation.figures(),
            versus_best_single: Comparison::of(&right, best_right, &settings),
            versus_plain_average: Comparison::of(&right, &average, &settings),
            versus_dense: dense_right.as_ref().map(|dense| Comparison::of(&right, dense, &settings)),
        }
    });
    let experts = singles.iter().zip(&rights).map(|(single, right)| {
        let own = own_classes(&single.class_counts);
        let on_own: Vec<bool> =
            right.iter().zip(classes).filter(|(_, class)| own.contains(class)).map(|(&right, _)| right).collect();
        ExpertRow {
            name: single.name.clone(),
            uid: single.uid,
            trained_on: single.trained_on.clone(),
            examples: single.class_counts.iter().sum(),
            accuracy: accuracy(right),
            own_classes: own.iter().filter_map(|&class| labels.get(class).cloned()).collect(),
            own_items: on_own.len(),
            own_accuracy: (!on_own.is_empty()).then(|| accuracy(&on_own)),
        }
    });
    Report {
        experts: experts.collect(),
        baselines,
        collective: collective.collect(),
        chain,
        times,
        resident_bytes,
        settings,
    }
}

/// Mean of all experts' probabilities per item.
fn plain_average(singles: &[Single], items: usize) -> Vec<Vec<f32>> {
    (0..items)
        .map(|item| {
            let mut sum: Vec<f32> = Vec::new();
            for row in singles.iter().filter_map(|single| single.probabilities.get(item)) {
                sum.resize(sum.len().max(row.len()), 0.0);
                sum.iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
            }
            sum
        })
        .collect()
}
