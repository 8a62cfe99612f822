//! What an evaluation says, as data (`--json`) and as tables ([`render`]). Losses are shown as plainly as wins.

mod assemble;
mod render;

use serde::{Deserialize, Serialize};

pub use assemble::{Comparison, Dense, Measured, Single, assemble, own_classes};
pub(crate) use render::{Pen, wrapped, wrapped_to};
pub use render::{render, use_colour};

use crate::chain_view::ChainView;
use crate::evaluate::Figures;
use crate::stats::Interval;

/// An evaluated mesh. Accuracies are shares of the whole test set, intervals are 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was evaluated and how.
    pub settings: Settings,
    /// Each expert on its own.
    pub experts: Vec<ExpertRow>,
    /// What the collective is compared with.
    pub baselines: Baselines,
    /// The collective at each k.
    pub collective: Vec<CollectiveRow>,
    /// What the chain made of it.
    pub chain: Option<ChainView>,
    /// Where the time went.
    pub times: Times,
    /// Memory of all processes together at the end of the evaluation, in bytes.
    pub resident_bytes: Option<u64>,
}

impl Report {
    /// What must never be in a report: requests without an answer, weights on chain that no ledger explains.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let unanswered = self.collective.iter().filter(|row| row.figures.failed > 0);
        let mut faults: Vec<String> = unanswered
            .map(|row| format!("at k = {} {} requests got no answer", row.figures.k, row.figures.failed))
            .collect();
        let routers = self.chain.iter().flat_map(|chain| &chain.routers).filter(|router| !router.equal);
        faults.extend(
            routers.map(|router| format!("the weights of {} on chain are not those of its ledger", router.name)),
        );
        faults
    }

    /// Whether the collective at its largest k beats the best single expert, the 95 % interval excluding 0.
    #[must_use]
    pub fn collective_wins(&self) -> bool {
        let largest = self.collective.iter().max_by_key(|row| row.figures.k);
        largest.is_some_and(|row| row.versus_best_single.difference.low > 0.0)
    }
}

/// What was evaluated and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The subnet.
    pub subnet: String,
    /// The roster: a built-in name or a file.
    pub roster: String,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Routers in the mesh.
    pub routers: usize,
    /// Items of the test set.
    pub items: usize,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// Bootstrap resamples.
    pub resamples: usize,
}

/// One expert on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertRow {
    /// Its name.
    pub name: String,
    /// Its uid on chain.
    pub uid: Option<u16>,
    /// What it was trained on, for people.
    pub trained_on: String,
    /// Training examples.
    pub examples: u64,
    /// Accuracy on the whole test set.
    pub accuracy: Interval,
    /// Classes of its own region.
    pub own_classes: Vec<String>,
    /// Test items of its own region.
    pub own_items: usize,
    /// Accuracy on them; `None` when it has no region.
    pub own_accuracy: Option<Interval>,
}

/// What the collective is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// Name of the most accurate expert. It is picked on the test set itself, which favours it.
    pub best_single_name: String,
    /// Its accuracy.
    pub best_single: Interval,
    /// Mean accuracy of the experts.
    pub mean_single: Interval,
    /// All experts' probabilities averaged without weights.
    pub plain_average: Interval,
    /// A gate that always picks an expert that is right, if any is: no choice of one expert can do better.
    pub oracle_gate: Interval,
    /// One model of the same architecture trained on all training data; `None` when it was not trained.
    pub dense: Option<Interval>,
    /// Its training examples.
    pub dense_examples: Option<u64>,
    /// Its passes over them.
    #[serde(default)]
    pub dense_passes: Option<u32>,
    /// Images that all experts together saw in training, repeats counted.
    #[serde(default)]
    pub experts_saw: u64,
}

/// The collective at one k.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectiveRow {
    /// Accuracy, speed, failures.
    pub figures: Figures,
    /// Against the best single expert.
    pub versus_best_single: Comparison,
    /// Against the plain average.
    pub versus_plain_average: Comparison,
    /// Against the dense model.
    pub versus_dense: Option<Comparison>,
}

/// Where the time went, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Times {
    /// Training, or loading what was trained before.
    pub train: f64,
    /// Whether every checkpoint came from the cache.
    pub from_cache: bool,
    /// From the first process to the last probe.
    pub start: f64,
    /// Sending the test set at every k.
    pub evaluate: f64,
    /// Waiting for the epoch.
    pub epoch: f64,
    /// Everything.
    pub total: f64,
}

#[cfg(test)]
mod tests;
