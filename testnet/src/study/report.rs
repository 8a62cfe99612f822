//! `report.json`: the figures of a study. Everything shown anywhere is rendered from this alone.
//!
//! Shares and accuracies are 0..1, times are named with their unit, intervals are 95 %.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::Interval;
use crate::stats::calibration::Bin;

/// Version of the schema; a reader refuses others.
pub const SCHEMA: u32 = 1;

/// A whole study, or as much of it as was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where and how it was made.
    pub made: Made,
    /// Each roster that was measured.
    pub rosters: Vec<RosterReport>,
    /// Each attack that was measured, the mesh without liars first.
    pub stress: Vec<StressReport>,
    /// An expert with and without clones.
    pub clones: Option<CloneReport>,
    /// Experts frozen in the middle of the traffic.
    pub frozen: Option<FrozenReport>,
    /// What was promised, and whether it is so.
    pub targets: Vec<Target>,
}

/// Where and how a study was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Version of glia.
    pub version: String,
    /// blake3 of the program that was measured.
    pub program: String,
    /// Seconds since 1970 when it ended.
    pub unix_s: u64,
    /// Seconds it took, without what was there from an earlier start.
    pub seconds: f64,
    /// Operating system and processor architecture.
    pub platform: String,
    /// Processors.
    pub cpus: usize,
    /// Whether this is the short version.
    pub quick: bool,
    /// Runs that were planned.
    pub planned: usize,
    /// Runs that are in this report.
    pub done: usize,
    /// What could not be measured, each with its reason.
    pub left_out: Vec<String>,
    /// Test items.
    pub items: usize,
    /// Experts of a roster.
    pub experts: usize,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// Seconds a mesh routed labelled validation items of its own before it was measured.
    pub warm_up_s: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// The k that stands for the collective.
    pub main_k: usize,
}

/// One roster over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RosterReport {
    /// Its name.
    pub roster: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Test items.
    pub items: usize,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Every way of answering.
    pub methods: Vec<MethodReport>,
    /// The collective against each rival.
    pub comparisons: Vec<Comparison>,
    /// What the collective cost.
    pub costs: Vec<Cost>,
    /// Share of the way from the best single expert to an oracle.
    pub gaps: Vec<Gap>,
    /// Reliability diagrams of the collective at its main k and some rivals.
    pub reliability: Vec<Reliability>,
    /// Accuracy by class, averaged over the seeds.
    pub classes: Vec<ClassRow>,
    /// Experts of every seed.
    pub experts: Vec<ExpertRow>,
}

/// One way of answering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// Its id, see [`super::analyse::method`]; the collective is `collective-K`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Experts asked per request; `None` for what is no ensemble.
    pub k: Option<usize>,
    /// Parameters of a dense rival.
    pub parameters: Option<u64>,
    /// Share of right answers; an unanswered request is a wrong one.
    pub accuracy: Interval,
    /// Accuracy of each seed.
    pub by_seed: Vec<f64>,
    /// Mean `−ln p` of the true class over the answered, p at least 10⁻⁶; `None` where there are no probabilities.
    pub log_loss: Option<Interval>,
    /// Expected calibration error, 15 bins of equal width, the mean of the seeds' own.
    pub ece: Option<Interval>,
}

/// The collective at one k against a rival, on the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The k.
    pub k: usize,
    /// The rival's id.
    pub rival: String,
    /// Accuracy of the collective minus the rival's.
    pub difference: Interval,
    /// Whether the two intervals of the accuracies themselves lie apart, the collective's above.
    pub apart: bool,
    /// Answers only the collective got right, over all seeds.
    pub only_collective: usize,
    /// Answers only the rival got right.
    pub only_rival: usize,
    /// Exact McNemar test of these two (answers of different seeds counted as independent).
    pub p_value: f64,
    /// Seeds in which the collective was more often right.
    pub seeds_won: usize,
}

/// What the collective cost at one k, all seeds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The k.
    pub k: usize,
    /// Calls to experts per request, hedges and retries included.
    pub calls_per_request: Option<f64>,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99th percentile of the router's own time (gate, selection, pooling), microseconds.
    pub own_p99_us: Option<f64>,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Requests without an answer.
    pub failed: usize,
    /// Why, with counts.
    pub failures: BTreeMap<String, usize>,
}

/// Share of the way from the best single expert (of hindsight) to an oracle that the collective goes; 1 is all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// The k.
    pub k: usize,
    /// The oracle's id.
    pub oracle: String,
    /// The share. Above 1 the collective is better than the oracle.
    pub closed: Interval,
}

/// A reliability diagram, all seeds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The method's id.
    pub id: String,
    /// The bins.
    pub bins: Vec<Bin>,
}

/// Accuracy on one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    /// The class.
    pub label: String,
    /// Its test items.
    pub items: usize,
    /// Accuracy by method id.
    pub accuracy: BTreeMap<String, f64>,
}

/// One expert of one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertRow {
    /// The seed.
    pub seed: u64,
    /// Its name.
    pub name: String,
    /// What it was trained on, for people.
    pub trained_on: String,
    /// Training examples.
    pub examples: u64,
    /// Accuracy on the test items.
    pub accuracy: f64,
    /// Accuracy on validation.
    pub validation: f64,
    /// Share of all calls that counted, at the main k.
    pub calls: f64,
    /// Share of all answers' weight, at the main k.
    pub weight: f64,
}

/// One attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StressReport {
    /// The kind of the dishonest experts; `honest` for the mesh without any.
    pub kind: String,
    /// How many.
    pub count: usize,
    /// Honest experts.
    pub honest: usize,
    /// The k of all requests.
    pub k: usize,
    /// Epoch by epoch.
    pub epochs: Vec<EpochRow>,
    /// Accuracy on all items after the last epoch, Wilson's interval.
    pub accuracy: Interval,
    /// Requests of these without an answer.
    pub failed: usize,
    /// Accuracy minus that of the mesh without liars on the same items, paired bootstrap; `None` without such a mesh.
    pub change: Option<Interval>,
}

/// One epoch under attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Counted from 1.
    pub epoch: u64,
    /// Requests since the epoch before.
    pub items: usize,
    /// Accuracy on them, Wilson's interval.
    pub accuracy: Interval,
    /// Requests of these without an answer.
    pub failed: usize,
    /// Incentive of all honest experts together, as a share of all experts' incentive.
    pub honest_incentive: f64,
    /// Incentive of all dishonest ones together.
    pub liar_incentive: f64,
    /// Share of the expert weights on chain that the dishonest ones hold.
    pub liar_weight: f64,
    /// Share of the answers' weight that the dishonest ones have.
    pub liar_share: f64,
    /// Incentive share of each expert.
    pub incentive: BTreeMap<String, f64>,
}

/// What an owner earns with and without clones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloneReport {
    /// The expert.
    pub expert: String,
    /// Clones beside it.
    pub clones: usize,
    /// The owner's share of the incentive alone, epoch by epoch.
    pub alone: Vec<f64>,
    /// The same with the clones.
    pub with_clones: Vec<f64>,
    /// Means over the last half of the epochs.
    pub mean_alone: f64,
    /// With clones.
    pub mean_with: f64,
}

/// Latency around a freeze.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenReport {
    /// Experts of the mesh.
    pub experts: usize,
    /// Those that were frozen.
    pub frozen: Vec<String>,
    /// The k.
    pub k: usize,
    /// Requests in all.
    pub requests: usize,
    /// Requests without an answer.
    pub failed: usize,
    /// Why, with counts.
    pub failures: BTreeMap<String, usize>,
    /// 99th percentile before the freeze, milliseconds.
    pub p99_before_ms: f64,
    /// In the first two seconds after it.
    pub p99_first_ms: f64,
    /// Later than two seconds after it.
    pub p99_after_ms: f64,
    /// By half second: seconds since the freeze, requests, median, 99th percentile.
    pub timeline: Vec<(f64, usize, f64, f64)>,
}

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Measured, and so.
    Met,
    /// Measured, and not so.
    NotMet,
    /// Not measured in this study.
    NotMeasured,
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What was promised.
    pub promise: String,
    /// What was measured.
    pub measured: String,
    /// Whether it is so.
    pub verdict: Verdict,
    /// Why not, as far as the figures tell.
    pub why: Option<String>,
}

impl StudyReport {
    /// Reads a report.
    ///
    /// # Errors
    /// When the text is no report, or one of another schema.
    pub fn from_json(text: &[u8]) -> anyhow::Result<Self> {
        use anyhow::Context;
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_slice(text).context("this is no report of a study")?;
        anyhow::ensure!(
            head.schema == SCHEMA,
            "this report has schema {}, this program reads schema {SCHEMA}; render it with the glia that made it",
            head.schema
        );
        serde_json::from_slice(text).context("this report is damaged")
    }

    /// Whether everything that was planned is in it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.made.done >= self.made.planned
    }
}

impl RosterReport {
    /// The method with this id.
    #[must_use]
    pub fn method(&self, id: &str) -> Option<&MethodReport> {
        self.methods.iter().find(|method| method.id == id)
    }

    /// The collective at `k`.
    #[must_use]
    pub fn collective(&self, k: usize) -> Option<&MethodReport> {
        self.methods.iter().find(|method| method.k == Some(k) && method.id.starts_with("collective"))
    }

    /// The collective at `k` against `rival`.
    #[must_use]
    pub fn comparison(&self, k: usize, rival: &str) -> Option<&Comparison> {
        self.comparisons.iter().find(|comparison| comparison.k == k && comparison.rival == rival)
    }
}
