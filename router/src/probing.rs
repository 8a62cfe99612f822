//! Probes every expert with labelled inputs, first where it claims to be skilled, and refits the gate on the answers.
//!
//! Somebody who stopped answering is asked a single item until it answers, so that no request has to try it. What was
//! kept over a restart counts at once and is confirmed by a first batch.
//!
//! Modules in flow order: [`mod@probes`] (items and answers), this file (the task).

pub mod probes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use glia_protocol::{ForwardRequest, RequestId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::aggregate::read_rows;
use crate::dispatch::Failure;
use crate::dispatch::inputs::Inputs;
use crate::expert::{ExpertKey, Listed};
use crate::gate::{Clusters, FitPolicy, GateModel, cluster, fit};
use crate::subnet::Subnet;

pub use probes::Probes;

/// Time an expert has for a batch of probes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time an expert that stopped answering has for a single item.
const TRIAL_PATIENCE: Duration = Duration::from_millis(1500);
/// Probe requests at the same time.
const AT_ONCE: usize = 8;
/// How often experts are looked through.
const TICK: Duration = Duration::from_millis(100);
/// Between two fits while first answers come in.
const REFIT: Duration = Duration::from_secs(1);
/// A fit takes at most a share of 1 in this many of the time.
const FIT_SHARE: u32 = 5;
/// Between two fits when only repeated probes came in.
const REFIT_CALM: Duration = Duration::from_secs(30);

/// How far the probing of one expert is.
struct Progress {
    order: Vec<usize>,
    next: usize,
    rounds: u32,
    asked_at: Option<Instant>,
}

/// Probes and refits until `stop`.
pub async fn run(subnet: Arc<Subnet>, seed: u64, stop: CancellationToken) {
    let mut progress: HashMap<ExpertKey, Progress> = HashMap::new();
    // Who is asked now, and whether that is a trial.
    let mut flying: HashMap<ExpertKey, bool> = HashMap::new();
    let mut flights = FuturesUnordered::new();
    let mut fitting: Option<JoinHandle<(GateModel, Clusters)>> = None;
    let (mut fresh, mut repeated) = (false, false);
    let (mut fitted_at, mut fit_time) = (None::<Instant>, Duration::ZERO);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            fitted = async { match fitting.as_mut() { Some(task) => Some(task.await), None => None } },
                if fitting.is_some() =>
            {
                fitting = None;
                fit_time = fitted_at.map_or(Duration::ZERO, |at| at.elapsed());
                match fitted {
                    Some(Ok((model, clusters))) => {
                        tracing::debug!(report = ?model.report, scale = model.prior_scale, "gate fitted");
                        subnet.probes.set_clusters(clusters);
                        subnet.metrics.fitted(&subnet.view.name, &model.report);
                        subnet.set_gate(model);
                    }
                    Some(Err(error)) => tracing::error!(%error, "fitting the gate failed"),
                    None => {}
                }
            }
            Some((key, batch, answer, took)) = flights.next(), if !flights.is_empty() => {
                let (key, batch, answer, took): Probed = (key, batch, answer, took);
                let trial = flying.remove(&key) == Some(true);
                match answer {
                    Ok(rows) => {
                        subnet.book.answered(&key, took, batch.len());
                        let contradicted = subnet.probes.store(key, &batch, rows);
                        if contradicted {
                            tracing::warn!(expert = %key, "its answers are not what was kept of it; it is probed anew");
                        }
                        if let Some(progress) = progress.get_mut(&key).filter(|_| !trial) {
                            if contradicted {
                                (progress.next, progress.rounds) = (0, 0);
                            }
                            fresh |= progress.rounds == 0;
                            repeated = true;
                            progress.next += batch.len();
                            if progress.next >= progress.order.len() {
                                (progress.next, progress.rounds) = (0, progress.rounds.saturating_add(1));
                            }
                        }
                    }
                    Err(failure) => {
                        tracing::debug!(expert = %key, %failure, "probe failed");
                        subnet.book.failed(&key, crate::dispatch::blame(&failure, took, batch.len()), Instant::now());
                    }
                }
            }
            _ = tick.tick() => {}
        }
        let now = Instant::now();
        let snapshot = subnet.snapshot();
        let callable = subnet.callable(now);
        progress.retain(|key, _| snapshot.experts.iter().any(|listed| listed.key == *key));
        subnet.probes.retain(|key| progress.contains_key(key));
        let mut complete = true;
        for listed in &callable {
            let state = progress.entry(listed.key).or_insert_with(|| {
                let order = subnet.probes.order(listed, subnet.policy.prior_temperature, seed);
                let adopted = subnet.probes.adopt(&listed.key);
                fresh |= adopted;
                // One batch confirms what was kept, if nothing is missing.
                let whole = adopted && subnet.probes.answered(&listed.key) >= order.len();
                Progress { order, next: 0, rounds: u32::from(whole), asked_at: None }
            });
            complete &= state.rounds > 0;
            let trial = subnet.book.is_suspect(&listed.key, now);
            let rested = state.asked_at.is_none_or(|at| now.duration_since(at) >= subnet.policy.reprobe_every);
            let due = trial || state.rounds == 0 || rested;
            if !due || flying.contains_key(&listed.key) || flights.len() >= AT_ONCE || state.order.is_empty() {
                continue;
            }
            let most = (listed.descriptor.capacity.max_batch as usize).clamp(1, subnet.policy.probe_batch);
            let (most, patience) = if trial { (1, TRIAL_PATIENCE) } else { (most, PATIENCE) };
            let mut batch: Vec<usize> = state.order[state.next..].iter().copied().take(most).collect();
            batch.sort_unstable();
            if !trial {
                state.asked_at = Some(now);
            }
            flying.insert(listed.key, trial);
            flights.push(ask(Arc::clone(&subnet), Arc::clone(listed), batch, patience, RequestId(rng.random())));
        }
        let since = fitted_at.map_or(Duration::MAX, |at| now.duration_since(at));
        let calm = REFIT.max(fit_time.saturating_mul(FIT_SHARE));
        let due = (fresh && (since >= calm || complete)) || (repeated && since >= REFIT_CALM.max(calm));
        if due && fitting.is_none() {
            (fresh, repeated, fitted_at) = (false, false, Some(now));
            let (set, experts) = (Arc::clone(&subnet.probes.set), subnet.probes.for_fit(&snapshot.experts));
            let policy = FitPolicy {
                prior_temperature: subnet.policy.prior_temperature,
                min_probes: subnet.policy.min_probes,
                k: subnet.policy.k,
            };
            let alike = subnet.policy.alike;
            fitting = Some(tokio::task::spawn_blocking(move || {
                (fit(&set, &experts, &policy), cluster(&set, &experts, alike))
            }));
        }
    }
}

type Probed = (ExpertKey, Vec<usize>, Result<Vec<Vec<f32>>, Failure>, Duration);

async fn ask(subnet: Arc<Subnet>, listed: Arc<Listed>, batch: Vec<usize>, patience: Duration, id: RequestId) -> Probed {
    let schema = &subnet.view.schema;
    let start = Instant::now();
    let answer = async {
        let data: Vec<u8> = batch.iter().flat_map(|&item| subnet.probes.items[item].input.iter().copied()).collect();
        let all: Vec<usize> = (0..batch.len()).collect();
        let inputs = Inputs::new(schema, data.into()).ok_or_else(|| Failure::Own("no probes".to_owned()))?;
        let tensor = inputs.gather(schema, &all).map_err(|error| Failure::Own(error.to_string()))?;
        let request = ForwardRequest {
            id,
            subnet: subnet.view.name.clone(),
            checkpoint: listed.key.checkpoint,
            budget_ms: patience.as_millis() as u32,
            tensors: vec![tensor],
        };
        let addresses = &listed.descriptor.addresses;
        let response = subnet.transport.forward(listed.key.peer, addresses, request, patience).await?;
        Ok(read_rows(schema, listed.key.checkpoint, batch.len(), &response)?)
    };
    let answer = answer.await;
    (listed.key, batch, answer, start.elapsed())
}
