//! What one run leaves behind: raw enough that every figure can be computed again from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answers::Answers;

/// One mesh of one roster and seed, and its rivals on the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectiveRun {
    /// The roster.
    pub roster: String,
    /// The seed its data was divided, its models trained and its router started with.
    pub seed: u64,
    /// True classes of the test items, in the order of all answers.
    pub classes: Vec<u16>,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// The experts, in the order of `singles`.
    pub experts: Vec<ExpertFacts>,
    /// Index of the expert that is best on validation.
    pub best_on_validation: usize,
    /// Index of the expert that is best on the test items.
    pub best_on_test: usize,
    /// Each expert's own answers.
    pub singles: Vec<Answers>,
    /// The unweighted mean of all experts.
    pub average: Answers,
    /// The majority vote of all experts.
    pub vote: Answers,
    /// Whether any expert was right.
    pub any_right: Vec<bool>,
    /// For each item the expert with the best record on its true class.
    pub best_by_class: Answers,
    /// A dense model with the parameters of one expert.
    pub dense: Option<DenseRun>,
    /// A dense model with the parameters of all experts together.
    pub dense_total: Option<DenseRun>,
    /// The collective, one pass over the items per k.
    pub collective: Vec<KRun>,
    /// Seconds from the first process until every expert was probed.
    pub start_s: f64,
    /// Bytes of memory of all processes at the end.
    pub resident_bytes: Option<u64>,
}

/// One expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertFacts {
    /// Its name.
    pub name: String,
    /// What it was trained on, for people.
    pub trained_on: String,
    /// Training examples of each class.
    pub class_counts: Vec<u64>,
    /// Passes over them.
    pub passes: u32,
    /// Accuracy on the validation images.
    pub validation: f64,
}

/// A dense rival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DenseRun {
    /// Parameters of the model.
    pub parameters: u64,
    /// Training examples.
    pub examples: u64,
    /// Passes over them.
    pub passes: u32,
    /// Its answers.
    pub answers: Answers,
}

/// The collective at one k.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KRun {
    /// Experts asked per request.
    pub k: usize,
    /// The answers.
    pub answers: Answers,
    /// Latency of each answer in milliseconds, in the order of the items; 0 where there was none.
    pub latency_ms: Vec<f32>,
    /// Calls to experts, hedges and retries included; `None` when the router does not say.
    pub calls: Option<u64>,
    /// The router's own time for each answer in microseconds: gate, selection, pooling.
    pub own_us: Vec<u32>,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Why requests failed, with counts.
    pub failures: BTreeMap<String, usize>,
    /// Sum of each expert's share of the answers it took part in.
    pub weight: BTreeMap<String, f64>,
    /// Answers each expert took part in.
    pub answers_by: BTreeMap<String, u64>,
}

/// One mesh under attack (or none), watched over epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StressRun {
    /// The kind of the dishonest experts; `honest` for none, `clones` for copies by their owner.
    pub kind: String,
    /// How many.
    pub count: usize,
    /// Honest experts.
    pub honest: usize,
    /// The k of all requests.
    pub k: usize,
    /// What was seen in each epoch.
    pub epochs: Vec<EpochSeen>,
    /// All items, asked again after the last epoch: whether each was answered right.
    pub final_right: Vec<bool>,
    /// How many of these got no answer.
    pub final_failed: usize,
    /// For `clones`: the expert that was cloned.
    pub cloned: Option<String>,
}

/// One epoch of a mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochSeen {
    /// Counted from 1, from the first epoch in which the router had set weights.
    pub epoch: u64,
    /// Its block.
    pub block: u64,
    /// Requests answered or failed since the epoch before.
    pub items: usize,
    /// Of these answered right.
    pub right: usize,
    /// Of these failed.
    pub failed: usize,
    /// Incentive of each expert, its share of all experts' incentive, 0..1.
    pub incentive: BTreeMap<String, f64>,
    /// Expert weight of each expert on chain, its share of all weights, 0..1.
    pub weight: BTreeMap<String, f64>,
    /// Share of the answers given since the epoch before, 0..1.
    pub share: BTreeMap<String, f64>,
}

/// Requests while experts are frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenRun {
    /// Experts of the mesh.
    pub experts: usize,
    /// Those that were frozen.
    pub frozen: Vec<String>,
    /// The k of all requests.
    pub k: usize,
    /// Each request: seconds since the freeze when it was sent, latency in milliseconds, whether it was answered.
    pub requests: Vec<(f64, f64, bool)>,
    /// Why requests failed, with counts.
    pub failures: BTreeMap<String, usize>,
}
