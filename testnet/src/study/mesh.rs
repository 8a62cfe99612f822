//! A mesh under measurement: started, calibrated, asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::Study;
use super::answers::Answers;
use super::runs::KRun;
use crate::client::RouterClient;
use crate::evaluate::{EvaluateOptions, Evaluation, LabelledSet, Outcome, evaluate};
use crate::lab;
use crate::spec::{ExpertSpec, TestnetSpec};
use crate::testnet::{Interrupted, Testnet};

/// How long experts may take to be registered, found and probed.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often the router is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(150);

/// What to start.
pub(super) struct Setup {
    pub(super) experts: Vec<ExpertSpec>,
    /// Those that must be probed before the mesh is measured; the others may refuse or crash.
    pub(super) honest: Vec<String>,
    pub(super) subnet: glia_experts::subnet::Subnet,
    pub(super) seed: u64,
    pub(super) tempo: u16,
    pub(super) warm_up: Duration,
}

/// A running mesh with one router.
pub(super) struct Mesh {
    pub(super) testnet: Testnet,
    pub(super) client: RouterClient,
    pub(super) set: Arc<LabelledSet>,
    /// Seconds from the first process until every expert was probed.
    pub(super) start_s: f64,
}

impl Study<'_> {
    /// Starts a mesh and waits until its router has probed every honest expert, fitted its gate and warmed up.
    pub(super) async fn mesh(&self, setup: Setup) -> Result<Mesh> {
        let began = Instant::now();
        let spec = TestnetSpec {
            subnet: setup.subnet.name().clone(),
            netuid: setup.subnet.netuid(),
            experts: setup.experts,
            routers: 1,
            router_seed: setup.seed,
            block_time: self.options.block_time,
            tempo: setup.tempo,
            // Each mesh begins with a chain that knows nobody.
            fresh: true,
            ready_within: READY_WITHIN,
            probed_within: READY_WITHIN,
            ..TestnetSpec::new("eval", &self.options.mesh, self.program)?
        };
        let set = Arc::new(lab::test_set(&setup.subnet, self.options.items)?.0);
        let testnet = Testnet::begin(spec, self.progress, self.stop).await?;
        let Some((_, client)) = testnet.routers().into_iter().next() else {
            testnet.stop().await?;
            anyhow::bail!("the router named no address");
        };
        let mut mesh = Mesh { testnet, client, set, start_s: 0.0 };
        let ready = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Interrupted.into()),
            ready = self.calibrated(&mesh, &setup.honest, setup.warm_up) => ready,
        };
        if let Err(error) = ready {
            mesh.testnet.stop().await?;
            return Err(error);
        }
        mesh.start_s = began.elapsed().as_secs_f64() - setup.warm_up.as_secs_f64();
        Ok(mesh)
    }

    async fn calibrated(&self, mesh: &Mesh, honest: &[String], warm_up: Duration) -> Result<()> {
        let step = self.progress.step("probing experts", honest.len() as u64);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let page = mesh.client.experts().await.context("asking the router for its experts")?;
            let ready = |name: &&String| {
                page.experts.iter().any(|entry| entry.name == **name && entry.calibrated && entry.uid.is_some())
            };
            let missing: Vec<&str> = honest.iter().filter(|name| !ready(name)).map(String::as_str).collect();
            step.set((honest.len() - missing.len()) as u64);
            if missing.is_empty() {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "after {} s the router has not probed {}; the logs are in {}",
                READY_WITHIN.as_secs(),
                missing.join(", "),
                crate::commands::logs_dir(&self.options.mesh).display()
            );
            sleep(ASK_EVERY).await;
        }
        step.message("warming up");
        sleep(warm_up).await;
        step.done(&format!("{} calibrated", honest.len()));
        Ok(())
    }

    /// Sends every item once through `k` experts.
    pub(super) async fn ask(&self, mesh: &Mesh, k: usize) -> Result<Evaluation> {
        let step = self.progress.step(&format!("test set through {k} experts"), mesh.set.len() as u64);
        let ask = EvaluateOptions { concurrency: self.options.concurrency, ..EvaluateOptions::at(k) };
        let routers = [mesh.client.clone()];
        let evaluation = evaluate(&routers, &mesh.set, &ask, &|done| step.set(done as u64), self.stop).await?;
        let figures = evaluation.figures();
        step.done(&format!("{:.1} % right, {} failed", figures.accuracy.estimate * 100.0, figures.failed));
        Ok(evaluation)
    }
}

/// An evaluation as it is kept.
pub(super) fn reduce(evaluation: &Evaluation) -> KRun {
    let figures = evaluation.figures();
    let mut answers = Answers::default();
    let (mut latency_ms, mut own_us) = (Vec::new(), Vec::new());
    let (mut weight, mut answers_by): (BTreeMap<String, f64>, BTreeMap<String, u64>) = Default::default();
    let mut calls = Some(0u64);
    for (outcome, &class) in evaluation.outcomes.iter().zip(&evaluation.classes) {
        let class = u16::try_from(class).unwrap_or(u16::MAX);
        let Outcome::Answered { predicted, latency, experts, detail, .. } = outcome else {
            answers.push(None, None, class);
            latency_ms.push(0.0);
            continue;
        };
        answers.push(Some(&detail.probabilities), Some(*predicted), class);
        latency_ms.push((latency.as_secs_f64() * 1e3) as f32);
        own_us.extend(detail.own_us.and_then(|us| u32::try_from(us).ok()));
        calls = calls.zip(detail.calls).map(|(sum, more)| sum + more);
        for (name, share) in experts.iter().zip(&detail.weights) {
            *weight.entry(name.clone()).or_insert(0.0) += share;
            *answers_by.entry(name.clone()).or_insert(0) += 1;
        }
    }
    KRun {
        k: evaluation.k,
        answers,
        latency_ms,
        calls,
        own_us,
        requests_per_s: figures.requests_per_s,
        failures: figures.failures,
        weight,
        answers_by,
    }
}
