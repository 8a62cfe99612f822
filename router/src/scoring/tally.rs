//! What was seen of each expert since the last epoch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use glia_protocol::Hotkey;

use crate::expert::ExpertKey;

/// Largest factor by which a rarely explored answer is made to stand for those that were not asked.
const MAX_INVERSE: f64 = 10.0;
/// Experts of one hotkey that are scored in one epoch.
const MAX_EXPERTS: usize = 16;

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
    /// Σ value / propensity, nats.
    pub sum: f64,
    /// Items it was scored on.
    pub scored: u64,
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
    /// Labelled items sent.
    pub items: u64,
    /// Looks at the directory.
    pub looks: u64,
    /// Sums by hotkey.
    pub experts: BTreeMap<Hotkey, Sums>,
}

impl Tally {
    /// Counts one member of one item.
    pub fn score(&mut self, scored: &Scored) {
        let sums = self.of(scored.hotkey, &scored.name);
        if sums.experts.len() >= MAX_EXPERTS && !sums.experts.contains_key(&scored.expert) {
            return;
        }
        let earned = sums.experts.entry(scored.expert).or_default();
        earned.sum += scored.value * (1.0 / f64::from(scored.propensity).max(1e-9)).min(MAX_INVERSE);
        earned.scored += 1;
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

    fn of(&mut self, hotkey: Hotkey, name: &str) -> &mut Sums {
        self.experts.entry(hotkey).or_insert_with(|| Sums { name: name.to_owned(), ..Sums::default() })
    }

    /// Mean usefulness per item of each hotkey; 0 for one that was scored on nothing.
    ///
    /// What an expert earned is divided by the number of hotkeys that served the same thing, so that a copy earns its
    /// owner nothing more. The same thing is the same checkpoint of which `alike` says that it was measured to answer
    /// alike: a name alone, which anybody can claim, takes nothing from anybody.
    #[must_use]
    pub fn usefulness(&self, alike: impl Fn(&ExpertKey, &ExpertKey) -> bool) -> HashMap<Hotkey, f64> {
        let mut served: BTreeMap<_, Vec<(Hotkey, ExpertKey)>> = BTreeMap::new();
        for (hotkey, sums) in &self.experts {
            for key in sums.experts.iter().filter(|(_, earned)| earned.scored > 0).map(|(key, _)| key) {
                served.entry(key.checkpoint).or_default().push((*hotkey, *key));
            }
        }
        let members = |hotkey: &Hotkey, key: &ExpertKey| {
            let named_alike = served.get(&key.checkpoint).map(Vec::as_slice).unwrap_or_default();
            let copies = named_alike.iter().filter(|(other, copy)| other != hotkey && alike(key, copy));
            let mut owners: Vec<Hotkey> = copies.map(|(other, _)| *other).collect();
            owners.sort_unstable();
            owners.dedup();
            1 + owners.len()
        };
        let items = self.items.max(1) as f64;
        let worth = |(hotkey, sums): (&Hotkey, &Sums)| {
            let shares = sums.experts.iter().map(|(key, earned)| earned.sum / members(hotkey, key) as f64);
            (*hotkey, shares.sum::<f64>() / items)
        };
        self.experts.iter().map(worth).collect()
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

    use super::*;

    fn scored(hotkey: u8, checkpoint: u8, value: f64, propensity: f32) -> Scored {
        let expert = ExpertKey { peer: PeerId([hotkey; 32]), checkpoint: ContentHash([checkpoint; 32]) };
        Scored { hotkey: Hotkey([hotkey; 32]), expert, name: String::new(), value, propensity }
    }

    #[test]
    fn rare_answers_stand_for_those_not_asked_but_tenfold_at_most() {
        let mut tally = Tally { items: 10, ..Tally::default() };
        tally.score(&scored(1, 1, 1.0, 1.0));
        tally.score(&scored(2, 2, 1.0, 0.2));
        tally.score(&scored(3, 3, 1.0, 1e-6));
        let useful = tally.usefulness(|_, _| true);
        assert!((useful[&Hotkey([1; 32])] - 0.1).abs() < 1e-9);
        assert!((useful[&Hotkey([2; 32])] - 0.5).abs() < 1e-6);
        assert!((useful[&Hotkey([3; 32])] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_copy_that_answers_alike_halves_what_each_earns() {
        let mut tally = Tally { items: 10, ..Tally::default() };
        tally.score(&scored(1, 1, 3.0, 1.0));
        tally.score(&scored(2, 1, 1.0, 1.0));
        let useful = tally.usefulness(|_, _| true);
        assert!((useful[&Hotkey([1; 32])] - 0.15).abs() < 1e-9);
        assert!((useful[&Hotkey([2; 32])] - 0.05).abs() < 1e-9);
    }

    #[test]
    fn claiming_the_checkpoint_of_the_best_earns_nothing_and_takes_nothing() {
        let mut tally = Tally { items: 10, ..Tally::default() };
        tally.score(&scored(1, 1, 4.0, 1.0));
        // Some that only advertise its checkpoint, one that answers something else under its name.
        for n in 10..20 {
            tally.look([(Hotkey([n; 32]), "copy")]);
            tally.failed(Hotkey([n; 32]), "copy");
        }
        tally.score(&scored(2, 1, -1.0, 1.0));
        let useful = tally.usefulness(|_, _| false);
        assert!((useful[&Hotkey([1; 32])] - 0.4).abs() < 1e-9);
        assert!((useful[&Hotkey([2; 32])] + 0.1).abs() < 1e-9);
        let silent = tally.usefulness(|_, _| true);
        assert!((10..20).all(|n| silent[&Hotkey([n; 32])] == 0.0));
        assert!((silent[&Hotkey([1; 32])] - 0.2).abs() < 1e-9, "only the one that answers counts as a copy");
    }

    #[test]
    fn one_owner_of_two_copies_does_not_share_with_itself() {
        let mut tally = Tally { items: 10, ..Tally::default() };
        tally.score(&scored(1, 1, 2.0, 1.0));
        let other = ExpertKey { peer: PeerId([9; 32]), checkpoint: ContentHash([1; 32]) };
        tally.score(&Scored { expert: other, ..scored(1, 1, 2.0, 1.0) });
        assert!((tally.usefulness(|_, _| true)[&Hotkey([1; 32])] - 0.4).abs() < 1e-9);
    }
}
