//! What was seen of each expert since the last epoch.
//!
//! What an expert earns on an item is divided by the chance with which it had been asked (ten times at most), so that
//! somebody who is rarely explored stands for the items it was not asked about; sums are divided by the number of *all*
//! items, not by the sum of those factors. Dividing by the factors (self-normalising) has less variance where every answer
//! is explored, but it is the mean over the items an expert was asked, and an expert asked about few of them would be paid
//! as if it had helped with all: `dividing_by_all_items_is_nearer_to_the_truth_than_by_the_factors` compares the two.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use glia_protocol::Hotkey;

use super::agreement::{Agreement, Answered};
use crate::expert::ExpertKey;

/// Largest factor by which a rarely explored answer is made to stand for those that were not asked.
const MAX_INVERSE: f64 = 10.0;
/// Experts of one hotkey that are scored in one epoch.
const MAX_EXPERTS: usize = 16;
/// Pairs of experts whose common items are counted.
const MAX_PAIRS: usize = 1 << 16;
/// Below this chance somebody was explored, not chosen.
const EXPLORED: f64 = 0.5;

/// One scored member of one answered item.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Who is paid.
    pub hotkey: Hotkey,
    /// What answered.
    pub expert: ExpertKey,
    /// Name for people.
    pub name: String,
    /// Its Shapley value, nats.
    pub value: f64,
    /// Chance with which it had been asked.
    pub propensity: f32,
}

/// What one expert earned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Earned {
    /// Σ value as it was, nats.
    pub plain: f64,
    /// Σ value / propensity over items for which it was chosen, nats.
    pub certain: f64,
    /// Σ value / propensity over items for which it was explored, nats.
    pub explored: f64,
    /// Items it was scored on.
    pub scored: u64,
}

impl Earned {
    /// Σ value / propensity, nats.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.certain + self.explored
    }
}

/// Sums of one hotkey.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// Name for people.
    pub name: String,
    /// Its experts that answered.
    pub experts: BTreeMap<ExpertKey, Earned>,
    /// Calls that brought no answer.
    pub failures: u64,
    /// Looks at the directory that found it there.
    pub present: u64,
}

impl Sums {
    /// Items it was scored on.
    #[must_use]
    pub fn scored(&self) -> u64 {
        self.experts.values().map(|earned| earned.scored).sum()
    }
}

/// Everything seen since the last epoch, of hotkeys that are registered on chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Labelled items.
    pub items: u64,
    /// The same, each counted as much as its source counts: what sums are divided by.
    pub mass: f64,
    /// Looks at the directory.
    pub looks: u64,
    /// Sums by hotkey.
    pub experts: BTreeMap<Hotkey, Sums>,
    /// Items that two experts answered both; the smaller key first.
    pub together: BTreeMap<(ExpertKey, ExpertKey), u64>,
    /// What answers to items without labels have in common.
    pub agreement: Agreement,
}

impl Tally {
    /// Counts one labelled item that counts as `weight`, with its payable members.
    pub fn answered(&mut self, weight: f64, members: &[Scored]) {
        self.items += 1;
        self.mass += weight;
        for (index, scored) in members.iter().enumerate() {
            self.score(scored, weight);
            for other in &members[index + 1..] {
                let pair = (scored.expert.min(other.expert), scored.expert.max(other.expert));
                if self.together.len() < MAX_PAIRS || self.together.contains_key(&pair) {
                    *self.together.entry(pair).or_default() += 1;
                }
            }
        }
    }

    /// Adds the answers to one item without a label.
    pub fn compared(&mut self, answers: &[Answered<'_>]) {
        self.agreement.add(answers);
    }

    fn score(&mut self, scored: &Scored, weight: f64) {
        let Some(earned) = self.earned(scored.hotkey, &scored.name, scored.expert) else { return };
        let propensity = f64::from(scored.propensity);
        let corrected = weight * scored.value * (1.0 / propensity.max(1e-9)).min(MAX_INVERSE);
        earned.plain += weight * scored.value;
        *(if propensity < EXPLORED { &mut earned.explored } else { &mut earned.certain }) += corrected;
        earned.scored += 1;
    }

    /// Enters what an expert earned on `scored` items, nats.
    pub fn enter(&mut self, hotkey: Hotkey, name: &str, expert: ExpertKey, sum: f64, scored: u64) {
        if let Some(earned) = self.earned(hotkey, name, expert) {
            earned.plain += sum;
            earned.certain += sum;
            earned.scored += scored;
        }
    }

    /// Counts a call that brought no answer.
    pub fn failed(&mut self, hotkey: Hotkey, name: &str) {
        self.of(hotkey, name).failures += 1;
    }

    /// One look at the directory, which found these (each hotkey once).
    pub fn look<'a>(&mut self, present: impl IntoIterator<Item = (Hotkey, &'a str)>) {
        self.looks += 1;
        for (hotkey, name) in present {
            self.of(hotkey, name).present += 1;
        }
    }

    /// Share of the time in which a hotkey's expert was there; 0 for somebody never seen.
    #[must_use]
    pub fn availability(&self, hotkey: &Hotkey) -> f64 {
        let present = self.experts.get(hotkey).map_or(0, |sums| sums.present);
        present.min(self.looks) as f64 / self.looks.max(1) as f64
    }

    /// Items that two experts answered both.
    #[must_use]
    pub fn together(&self, a: &ExpertKey, b: &ExpertKey) -> u64 {
        self.together.get(&(*a.min(b), *a.max(b))).copied().unwrap_or_default()
    }

    fn of(&mut self, hotkey: Hotkey, name: &str) -> &mut Sums {
        self.experts.entry(hotkey).or_insert_with(|| Sums { name: name.to_owned(), ..Sums::default() })
    }

    /// Where an expert's income is counted; `None` for one more than is counted of a hotkey.
    fn earned(&mut self, hotkey: Hotkey, name: &str, expert: ExpertKey) -> Option<&mut Earned> {
        let sums = self.of(hotkey, name);
        if sums.experts.len() >= MAX_EXPERTS && !sums.experts.contains_key(&expert) {
            return None;
        }
        Some(sums.experts.entry(expert).or_default())
    }
}

/// A tally that several tasks count into; its lock is never held across an await.
#[derive(Debug, Default)]
pub struct SharedTally(Mutex<Tally>);

impl SharedTally {
    /// Changes the tally.
    pub fn with<T>(&self, act: impl FnOnce(&mut Tally) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the tally if it holds at least `items` items, and begins a new one.
    pub fn take(&self, items: u64) -> Option<Tally> {
        self.with(|tally| (tally.items >= items).then(|| std::mem::take(tally)))
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, PeerId};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn scored(hotkey: u8, value: f64, propensity: f32) -> Scored {
        let expert = ExpertKey { peer: PeerId([hotkey; 32]), checkpoint: ContentHash([hotkey; 32]) };
        Scored { hotkey: Hotkey([hotkey; 32]), expert, name: String::new(), value, propensity }
    }

    fn sum(tally: &Tally, hotkey: u8) -> f64 {
        tally.experts[&Hotkey([hotkey; 32])].experts.values().map(Earned::sum).sum()
    }

    #[test]
    fn rare_answers_stand_for_those_not_asked_but_tenfold_at_most() {
        let mut tally = Tally::default();
        tally.answered(1.0, &[scored(1, 1.0, 1.0), scored(2, 1.0, 0.2), scored(3, 1.0, 1e-6)]);
        assert!((sum(&tally, 1) - 1.0).abs() < 1e-9);
        assert!((sum(&tally, 2) - 5.0).abs() < 1e-6);
        assert!((sum(&tally, 3) - 10.0).abs() < 1e-6);
        assert_eq!(tally.together(&scored(3, 0.0, 1.0).expert, &scored(1, 0.0, 1.0).expert), 1);
    }

    #[test]
    fn a_label_from_the_application_counts_half_as_much() {
        let mut tally = Tally::default();
        tally.answered(1.0, &[scored(1, 1.0, 1.0)]);
        tally.answered(0.5, &[scored(1, -1.0, 1.0)]);
        assert_eq!((tally.items, tally.mass, sum(&tally, 1)), (2, 1.5, 0.5));
    }

    #[test]
    fn a_hotkey_with_too_many_experts_is_paid_for_the_first() {
        let mut tally = Tally::default();
        for n in 0..100 {
            let expert = ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) };
            tally.answered(1.0, &[Scored { expert, ..scored(1, 1.0, 1.0) }]);
        }
        assert_eq!(sum(&tally, 1), MAX_EXPERTS as f64);
    }

    /// Root of the mean squared error of both estimates of what an expert adds per item. It is asked about an eighth of
    /// all items for certain and explored on one in 27 of the others; it earns `inside` and `outside` there, with noise.
    fn errors(inside: f64, outside: f64) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut by_items, mut by_factors) = (0.0, 0.0);
        let truth = inside / 8.0 + outside * 7.0 / 8.0;
        for _ in 0..300 {
            let (mut tally, mut factors) = (Tally::default(), 0.0);
            for item in 0..800 {
                let (value, propensity) = if item % 8 == 0 { (inside, 1.0) } else { (outside, 0.15 / 4.0_f32) };
                let asked = rng.random_bool(f64::from(propensity));
                let noise = rng.random_range(-0.3..0.3);
                let members = if asked { vec![scored(1, value + noise, propensity)] } else { Vec::new() };
                factors += if asked { (1.0 / f64::from(propensity)).min(MAX_INVERSE) } else { 0.0 };
                tally.answered(1.0, &members);
            }
            by_items += (sum(&tally, 1) / tally.mass - truth).powi(2);
            by_factors += (sum(&tally, 1) / factors - truth).powi(2);
        }
        ((by_items / 300.0_f64).sqrt(), (by_factors / 300.0_f64).sqrt())
    }

    #[test]
    fn dividing_by_all_items_is_nearer_to_the_truth_than_by_the_factors() {
        // A specialist outside its region weighs next to nothing in the pool, and so earns next to nothing there.
        for (inside, outside) in [(0.6, 0.0), (0.6, 0.02), (0.3, -0.02)] {
            let (by_items, by_factors) = errors(inside, outside);
            assert!(by_items < 0.5 * by_factors, "{inside} {outside}: {by_items} {by_factors}");
        }
    }
}
