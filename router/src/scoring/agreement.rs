//! Usefulness without labels: Correlated Agreement (Shnayder and others, 2016, arXiv:1603.03151).
//!
//! An expert is paid for agreeing with another on the *same* item, less what the two agree across *different* items:
//!
//! ```text
//! CA(a, b) = mean over items of p_a·p_b  −  mean over pairs of different items of p_a·p'_b
//! ```
//!
//! Two that always give one answer, whatever the item, agree on the same item exactly as much as across items and get 0,
//! even if the whole mesh does so; plain agreement would pay them best. What it cannot see is a shared error that depends
//! on the item: two copies of a model, or liars who agree on how to lie. So pairs that were measured to be the same or
//! belong to one owner are left out, and an epoch decided by agreement counts little (see [`super::outcome`]).

use std::collections::BTreeMap;

use glia_protocol::Hotkey;

use super::tally::Tally;
use crate::expert::ExpertKey;

/// Numbers kept for pairs of experts, all together: 16 MiB.
const MAX_CELLS: usize = 1 << 21;

/// One answer to one item: who is paid, what answered, its name, its probabilities.
pub type Answered<'a> = (Hotkey, ExpertKey, &'a str, &'a [f32]);

/// Sums over the items that both of a pair answered.
#[derive(Debug, Clone, Default, PartialEq)]
struct Pair {
    items: u64,
    /// Σ p_a·p_b on the same item.
    same: f64,
    /// Σ p_a and Σ p_b, class by class.
    sums: [Vec<f64>; 2],
}

impl Pair {
    fn add(&mut self, rows: [&[f32]; 2]) {
        self.items += 1;
        self.same += rows[0].iter().zip(rows[1]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        for (sum, row) in self.sums.iter_mut().zip(rows) {
            sum.resize(sum.len().max(row.len()), 0.0);
            sum.iter_mut().zip(row).for_each(|(sum, p)| *sum += f64::from(*p));
        }
    }

    /// Agreement on the same item less agreement across different items; 0 for a single item.
    fn correlated(&self) -> f64 {
        if self.items < 2 {
            return 0.0;
        }
        let items = self.items as f64;
        let all: f64 = self.sums[0].iter().zip(&self.sums[1]).map(|(a, b)| a * b).sum();
        self.same / items - (all - self.same) / (items * (items - 1.0))
    }
}

/// What experts' answers to unlabelled items have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agreement {
    /// Items that two or more answered.
    pub items: u64,
    experts: BTreeMap<ExpertKey, (Hotkey, String, u64)>,
    pairs: BTreeMap<(ExpertKey, ExpertKey), Pair>,
    cells: usize,
}

impl Agreement {
    /// Adds the answers to one item.
    pub fn add(&mut self, answers: &[Answered<'_>]) {
        if answers.len() < 2 {
            return;
        }
        self.items += 1;
        for (index, (hotkey, a, name, row)) in answers.iter().enumerate() {
            let known = self.experts.entry(*a).or_insert_with(|| (*hotkey, (*name).to_owned(), 0));
            known.2 += 1;
            for (_, b, _, other) in &answers[index + 1..] {
                let (key, rows) = if a < b { ((*a, *b), [*row, *other]) } else { ((*b, *a), [*other, *row]) };
                if !self.pairs.contains_key(&key) {
                    let cells = row.len() + other.len();
                    if self.cells.saturating_add(cells) > MAX_CELLS {
                        continue;
                    }
                    self.cells += cells;
                }
                self.pairs.entry(key).or_default().add(rows);
            }
        }
    }

    /// A tally as labels would have filled it: each expert's mean agreement with the `independent` others, times the
    /// items it answered, times `scale` (nats for full agreement).
    #[must_use]
    pub fn tally(
        &self,
        scale: f64,
        independent: impl Fn((&Hotkey, &ExpertKey), (&Hotkey, &ExpertKey)) -> bool,
    ) -> Tally {
        let mut tally = Tally { items: self.items, mass: self.items as f64, ..Tally::default() };
        let mut means: BTreeMap<ExpertKey, (f64, u64)> = BTreeMap::new();
        for ((a, b), pair) in &self.pairs {
            let (Some((owner_a, ..)), Some((owner_b, ..))) = (self.experts.get(a), self.experts.get(b)) else {
                continue;
            };
            tally.together.insert((*a, *b), pair.items);
            if owner_a == owner_b || !independent((owner_a, a), (owner_b, b)) {
                continue;
            }
            for key in [a, b] {
                let (sum, items) = means.entry(*key).or_default();
                *sum += pair.correlated() * pair.items as f64;
                *items += pair.items;
            }
        }
        for (key, (hotkey, name, items)) in &self.experts {
            let (sum, pairs) = means.get(key).copied().unwrap_or_default();
            let mean = scale * sum / pairs.max(1) as f64;
            tally.enter(*hotkey, name, *key, mean * *items as f64, *items);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, PeerId};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CLASSES: usize = 5;

    fn key(n: u8) -> ExpertKey {
        ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) }
    }

    fn sure_of(class: usize) -> Vec<f32> {
        (0..CLASSES).map(|c| if c == class { 0.9 } else { 0.1 / (CLASSES - 1) as f32 }).collect()
    }

    /// Answers by the item's class and chance.
    type Manner<'a> = &'a dyn Fn(usize, &mut ChaCha8Rng) -> usize;

    /// Value per item of each of these.
    fn values(answer: &[Manner<'_>]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut agreement = Agreement::default();
        for _ in 0..4000 {
            let class = rng.random_range(0..CLASSES);
            let rows: Vec<Vec<f32>> = answer.iter().map(|answer| sure_of(answer(class, &mut rng))).collect();
            let answers: Vec<Answered<'_>> =
                (0_u8..).zip(&rows).map(|(n, row)| (Hotkey([n; 32]), key(n), "", row.as_slice())).collect();
            agreement.add(&answers);
        }
        let tally = agreement.tally(1.0, |_, _| true);
        (0..answer.len() as u8).map(|n| tally.experts[&Hotkey([n; 32])].experts[&key(n)].certain / tally.mass).collect()
    }

    #[test]
    fn a_consensus_that_never_looks_at_the_item_earns_nothing() {
        let constant = |_: usize, _: &mut ChaCha8Rng| 3;
        assert!(values(&[&constant, &constant, &constant, &constant]).iter().all(|value| value.abs() < 1e-9));
        // Chance with a favourite class is no better.
        let biased =
            |_: usize, rng: &mut ChaCha8Rng| if rng.random_bool(0.8) { 3 } else { rng.random_range(0..CLASSES) };
        assert!(values(&[&biased, &biased, &biased]).iter().all(|value| value.abs() < 0.02));
    }

    #[test]
    fn those_who_look_earn_more_than_those_who_guess_and_a_constant_liar_nothing() {
        let good = |class: usize, rng: &mut ChaCha8Rng| {
            if rng.random_bool(0.9) { class } else { rng.random_range(0..CLASSES) }
        };
        let poor = |class: usize, rng: &mut ChaCha8Rng| {
            if rng.random_bool(0.4) { class } else { rng.random_range(0..CLASSES) }
        };
        let constant = |_: usize, _: &mut ChaCha8Rng| 0;
        let values = values(&[&good, &good, &poor, &constant, &constant]);
        assert!(values[0] > 1.5 * values[2] && values[2] > 0.02, "{values:?}");
        assert!(values[3].abs() < 0.01 && values[4].abs() < 0.01, "{values:?}");
    }

    #[test]
    fn pairs_that_are_not_independent_prove_nothing() {
        let mut agreement = Agreement::default();
        for class in (0..CLASSES).cycle().take(100) {
            let row = sure_of(class);
            agreement.add(&[(Hotkey([1; 32]), key(1), "", &row), (Hotkey([2; 32]), key(2), "", &row)]);
        }
        let worth = |tally: &Tally| tally.experts[&Hotkey([1; 32])].experts[&key(1)].certain;
        assert!(worth(&agreement.tally(1.0, |_, _| true)) > 50.0);
        assert_eq!(worth(&agreement.tally(1.0, |_, _| false)), 0.0);
    }

    #[test]
    fn memory_is_bounded_and_one_answer_alone_is_no_agreement() {
        let mut agreement = Agreement::default();
        let row = vec![0.0; MAX_CELLS / 4];
        for n in 0..10_u8 {
            agreement.add(&[(Hotkey([n; 32]), key(n), "", &row), (Hotkey([50; 32]), key(50), "", &row)]);
        }
        assert_eq!(agreement.pairs.len(), 2);
        agreement.add(&[(Hotkey([1; 32]), key(1), "", &row)]);
        assert_eq!(agreement.items, 10);
    }
}
