//! Sends a labelled set through routers and keeps every outcome: each request is answered or failed with a reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use glia_protocol::tensor::TensorHeader;
use glia_protocol::{SubnetName, Tensor};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{InferOptions, RouterClient};
use crate::stats::{self, Interval};
use crate::testnet::Interrupted;

/// Labelled inputs of one subnet.
#[derive(Debug, Clone)]
pub struct LabelledSet {
    /// The subnet they belong to.
    pub subnet: SubnetName,
    /// Name, element type and shape of one item, batch dimension 1 first.
    pub header: TensorHeader,
    /// Raw bytes of each input.
    pub inputs: Vec<Vec<u8>>,
    /// The true class of each input.
    pub classes: Vec<usize>,
    /// Names of the classes.
    pub labels: Vec<String>,
}

impl LabelledSet {
    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether it has no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// One item as a batch of 1.
    ///
    /// # Errors
    /// When there is no such item or its bytes do not fit the header.
    pub fn tensor(&self, index: usize) -> Result<Tensor> {
        let input = self.inputs.get(index).with_context(|| format!("there is no item {index} of {}", self.len()))?;
        Ok(Tensor::new(self.header.clone(), input.clone().into())?)
    }
}

/// How to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Experts per request.
    pub k: usize,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// Time for each request.
    pub deadline: Duration,
    /// Whether to ask which experts answered.
    pub explain: bool,
}

impl EvaluateOptions {
    /// 8 requests at a time, 2 s for each.
    #[must_use]
    pub const fn at(k: usize) -> Self {
        Self { k, concurrency: 8, deadline: Duration::from_secs(2), explain: true }
    }
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// The most probable class.
        predicted: usize,
        /// The probability given to the true class.
        true_class: f64,
        /// Time from sending to the whole answer.
        latency: Duration,
        /// Experts whose answer counted.
        experts: Vec<String>,
        /// Everything else the router said.
        detail: Detail,
    },
    /// It was not, for this reason.
    Failed(String),
}

/// An answer in full.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detail {
    /// Probability of each class.
    pub probabilities: Vec<f32>,
    /// The part of each of [`Outcome::Answered::experts`] in it, 0..1.
    pub weights: Vec<f64>,
    /// Calls to experts made for it.
    pub calls: Option<u64>,
    /// The router's own time for it, in microseconds: gate, selection, pooling.
    pub own_us: Option<u64>,
}

/// The outcomes of a whole set, in its order.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Experts per request.
    pub k: usize,
    /// One per item.
    pub outcomes: Vec<Outcome>,
    /// True classes, one per item.
    pub classes: Vec<usize>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// The figures of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Experts per request.
    pub k: usize,
    /// Items sent.
    pub items: usize,
    /// Items that got an answer.
    pub answered: usize,
    /// Items without an answer.
    pub failed: usize,
    /// Why, with counts.
    pub failures: BTreeMap<String, usize>,
    /// Share of right answers with its Wilson interval; an unanswered item is a wrong one.
    pub accuracy: Interval,
    /// Mean `−ln p` of the true class over the answered.
    pub log_loss: f64,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of the latency in milliseconds.
    pub p95_ms: f64,
    /// Slowest answer in milliseconds.
    pub max_ms: f64,
    /// Mean number of experts whose answer counted.
    pub experts_per_answer: f64,
    /// How often each expert's answer counted.
    pub answers_by_expert: BTreeMap<String, usize>,
}

impl Evaluation {
    /// Whether each item was answered right.
    #[must_use]
    pub fn right(&self) -> Vec<bool> {
        let right = |(outcome, &class): (&Outcome, &usize)| matches!(outcome, Outcome::Answered { predicted, .. } if *predicted == class);
        self.outcomes.iter().zip(&self.classes).map(right).collect()
    }

    /// Its figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let right = self.right();
        let (mut latencies, mut given) = (Vec::new(), Vec::new());
        let (mut failures, mut by_expert) = (BTreeMap::new(), BTreeMap::new());
        let mut counted = 0;
        for outcome in &self.outcomes {
            match outcome {
                Outcome::Answered { true_class, latency, experts, .. } => {
                    latencies.push(latency.as_secs_f64() * 1000.0);
                    given.push(*true_class);
                    counted += experts.len();
                    experts.iter().for_each(|expert| *by_expert.entry(expert.clone()).or_insert(0) += 1);
                }
                Outcome::Failed(why) => *failures.entry(why.clone()).or_insert(0) += 1,
            }
        }
        latencies.sort_by(f64::total_cmp);
        let answered = latencies.len();
        let per_second = |n: usize| n as f64 / self.elapsed.as_secs_f64().max(1e-9);
        Figures {
            k: self.k,
            items: self.outcomes.len(),
            answered,
            failed: self.outcomes.len() - answered,
            failures,
            accuracy: stats::wilson(right.iter().filter(|&&right| right).count(), right.len()),
            log_loss: stats::log_loss(&given),
            requests_per_s: per_second(answered),
            p50_ms: stats::percentile(&latencies, 0.5),
            p95_ms: stats::percentile(&latencies, 0.95),
            max_ms: latencies.last().copied().unwrap_or_default(),
            experts_per_answer: counted as f64 / answered.max(1) as f64,
            answers_by_expert: by_expert,
        }
    }
}

/// Sends every item of `set` once, spread over `routers` in turn, at most `concurrency` at a time. `progress` is told
/// how many are done.
///
/// # Errors
/// When there is nobody to ask or nothing to send, an input does not fit the header, or `stop` fires. A request that
/// fails is no error but an [`Outcome::Failed`].
pub async fn evaluate(
    routers: &[RouterClient],
    set: &Arc<LabelledSet>,
    options: &EvaluateOptions,
    progress: &(dyn Fn(usize) + Sync),
    stop: &CancellationToken,
) -> Result<Evaluation> {
    ensure!(!routers.is_empty(), "no router to send the set to");
    ensure!(
        !set.is_empty() && set.inputs.len() == set.classes.len(),
        "the set has no items, or not one class for each"
    );
    let ask = InferOptions { k: Some(options.k), deadline: options.deadline, explain: options.explain };
    let mut outcomes: Vec<Option<Outcome>> = vec![None; set.len()];
    let mut running = JoinSet::new();
    let (mut next, mut done) = (0, 0);
    let started = Instant::now();
    while done < set.len() {
        while next < set.len() && running.len() < options.concurrency.max(1) {
            let (router, set, ask) = (routers[next % routers.len()].clone(), Arc::clone(set), ask.clone());
            let tensor = set.tensor(next)?;
            let index = next;
            running.spawn(async move { (index, one(&router, &set, index, &tensor, &ask).await) });
            next += 1;
        }
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Interrupted.into()),
            ended = running.join_next() => ended,
        };
        let Some(ended) = ended else { break };
        let (index, outcome) = ended.context("a request task failed")?;
        outcomes[index] = Some(outcome);
        done += 1;
        progress(done);
    }
    let outcomes =
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Outcome::Failed("not sent".to_owned())));
    Ok(Evaluation {
        k: options.k,
        outcomes: outcomes.collect(),
        classes: set.classes.clone(),
        elapsed: started.elapsed(),
    })
}

/// Sends one item of `set`.
///
/// # Cancel safety
/// Dropping the future closes the request.
pub async fn one(
    router: &RouterClient,
    set: &LabelledSet,
    index: usize,
    tensor: &Tensor,
    ask: &InferOptions,
) -> Outcome {
    let sent = Instant::now();
    let answer = match router.infer(&set.subnet, tensor, ask).await {
        Ok(answer) => answer,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let latency = sent.elapsed();
    let own_us = answer.route_us.zip(answer.aggregate_us).map(|(route, aggregate)| route.saturating_add(aggregate));
    let calls = answer.calls;
    let Some(row) = answer.probabilities.into_iter().next() else {
        return Outcome::Failed("an empty answer".to_owned());
    };
    let (Some(predicted), Some(&true_class)) = (stats::argmax(&row), row.get(set.classes[index])) else {
        return Outcome::Failed(format!("{} probabilities, too few for the classes of the set", row.len()));
    };
    let shares = answer.experts.into_iter().next().unwrap_or_default();
    let (experts, weights) =
        shares.into_iter().filter(|share| share.weight > 0.0).map(|share| (share.name, share.weight)).unzip();
    let detail = Detail { probabilities: row, weights, calls, own_us };
    Outcome::Answered { predicted, true_class: f64::from(true_class), latency, experts, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_item_counts_as_wrong_and_keeps_its_reason() {
        let answered = |predicted, ms| Outcome::Answered {
            predicted,
            true_class: 0.5,
            latency: Duration::from_millis(ms),
            experts: vec!["expert-1".into(), "expert-2".into()],
            detail: Detail::default(),
        };
        let evaluation = Evaluation {
            k: 2,
            outcomes: vec![answered(1, 10), answered(0, 20), Outcome::Failed("gone".into()), answered(3, 30)],
            classes: vec![1, 1, 2, 3],
            elapsed: Duration::from_secs(1),
        };
        assert_eq!(evaluation.right(), [true, false, false, true]);
        let figures = evaluation.figures();
        assert_eq!((figures.items, figures.failed, figures.failures["gone"]), (4, 1, 1));
        assert!((figures.accuracy.estimate - 0.5).abs() < 1e-12);
        assert!((figures.p50_ms - 20.0).abs() < 1e-9 && (figures.p95_ms - 30.0).abs() < 1e-9);
        assert!((figures.requests_per_s - 3.0).abs() < 1e-9);
        assert_eq!(figures.answers_by_expert["expert-2"], 3);
        assert!((figures.experts_per_answer - 2.0).abs() < 1e-12);
    }
}
