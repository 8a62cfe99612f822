//! What was seen of each expert since the last epoch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use glia_protocol::{ContentHash, Hotkey};

/// Largest factor by which a rarely explored answer is made to stand for those that were not asked.
const MAX_INVERSE: f64 = 10.0;

/// One scored member of one answered item.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Who is paid.
    pub hotkey: Hotkey,
    /// What answered.
    pub checkpoint: ContentHash,
    /// Name for people.
    pub name: String,
    /// Its Shapley value, nats.
    pub value: f64,
    /// Chance with which it had been asked.
    pub propensity: f32,
}

/// Sums of one hotkey.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Name for people.
    pub name: String,
    /// Checkpoint that answered last.
    pub checkpoint: ContentHash,
    /// Σ value / propensity, nats.
    pub sum: f64,
    /// Items it was scored on.
    pub scored: u64,
    /// Calls that brought no answer.
    pub failures: u64,
    /// Looks at the directory that found it there.
    pub present: u64,
}

/// Everything seen since the last epoch.
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
        let sums = self.of(scored.hotkey, &scored.name, scored.checkpoint);
        sums.sum += scored.value * (1.0 / f64::from(scored.propensity).max(1e-9)).min(MAX_INVERSE);
        sums.scored += 1;
    }

    /// Counts a call that brought no answer.
    pub fn failed(&mut self, hotkey: Hotkey, name: &str, checkpoint: ContentHash) {
        self.of(hotkey, name, checkpoint).failures += 1;
    }

    /// One look at the directory, which found these (each hotkey once).
    pub fn look<'a>(&mut self, present: impl IntoIterator<Item = (Hotkey, &'a str, ContentHash)>) {
        self.looks += 1;
        for (hotkey, name, checkpoint) in present {
            self.of(hotkey, name, checkpoint).present += 1;
        }
    }

    /// Share of the time in which a hotkey's expert was there; 0 for somebody never seen.
    #[must_use]
    pub fn availability(&self, hotkey: &Hotkey) -> f64 {
        let present = self.experts.get(hotkey).map_or(0, |sums| sums.present);
        present.min(self.looks) as f64 / self.looks.max(1) as f64
    }

    fn of(&mut self, hotkey: Hotkey, name: &str, checkpoint: ContentHash) -> &mut Sums {
        let sums = self.experts.entry(hotkey).or_insert_with(|| Sums {
            name: name.to_owned(),
            checkpoint,
            sum: 0.0,
            scored: 0,
            failures: 0,
            present: 0,
        });
        sums.checkpoint = checkpoint;
        sums
    }

    /// Mean usefulness per item of each hotkey. Hotkeys with the same checkpoint share what they earned together, so
    /// that a copy earns its owner nothing more.
    #[must_use]
    pub fn usefulness(&self) -> HashMap<Hotkey, f64> {
        let mut clusters: HashMap<ContentHash, (f64, f64)> = HashMap::new();
        for sums in self.experts.values() {
            let cluster = clusters.entry(sums.checkpoint).or_default();
            cluster.0 += sums.sum;
            cluster.1 += 1.0;
        }
        let items = self.items.max(1) as f64;
        let share = |sums: &Sums| clusters.get(&sums.checkpoint).map_or(0.0, |(sum, members)| sum / members / items);
        self.experts.iter().map(|(hotkey, sums)| (*hotkey, share(sums))).collect()
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
    use super::*;

    fn scored(hotkey: u8, checkpoint: u8, value: f64, propensity: f32) -> Scored {
        let (hotkey, checkpoint) = (Hotkey([hotkey; 32]), ContentHash([checkpoint; 32]));
        Scored { hotkey, checkpoint, name: String::new(), value, propensity }
    }

    #[test]
    fn rare_answers_stand_for_those_not_asked_but_tenfold_at_most() {
        let mut tally = Tally { items: 10, ..Tally::default() };
        tally.score(&scored(1, 1, 1.0, 1.0));
        tally.score(&scored(2, 2, 1.0, 0.2));
        tally.score(&scored(3, 3, 1.0, 1e-6));
        let useful = tally.usefulness();
        assert!((useful[&Hotkey([1; 32])] - 0.1).abs() < 1e-9);
        assert!((useful[&Hotkey([2; 32])] - 0.5).abs() < 1e-6);
        assert!((useful[&Hotkey([3; 32])] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_copy_shares_with_its_original() {
        let mut alone = Tally { items: 10, ..Tally::default() };
        alone.score(&scored(1, 1, 4.0, 1.0));
        let mut cloned = Tally { items: 10, ..Tally::default() };
        cloned.score(&scored(1, 1, 3.0, 1.0));
        cloned.score(&scored(2, 1, 1.0, 1.0));
        let (alone, cloned) = (alone.usefulness(), cloned.usefulness());
        assert_eq!(cloned[&Hotkey([1; 32])], cloned[&Hotkey([2; 32])]);
        assert!((cloned.values().sum::<f64>() - alone[&Hotkey([1; 32])]).abs() < 1e-9);
    }
}
