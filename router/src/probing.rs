//! Probes every expert with labelled inputs, first where it claims to be skilled, and refits the gate on the answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use glia_protocol::{ForwardRequest, RequestId};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::aggregate::read_rows;
use crate::config::{Labelled, Policy, SubnetView};
use crate::dispatch::Failure;
use crate::dispatch::inputs::{Inputs, unit_values};
use crate::expert::{ExpertKey, Listed};
use crate::gate::prior::claim;
use crate::gate::{ExpertProbes, FitPolicy, ProbeSet, fit};
use crate::subnet::Subnet;

/// Time an expert has for a batch of probes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Probe requests at the same time.
const AT_ONCE: usize = 4;
/// How often experts are looked through.
const TICK: Duration = Duration::from_millis(100);
/// Between two fits while first answers come in.
const REFIT: Duration = Duration::from_secs(1);
/// A fit takes at most a share of 1 in this many of the time.
const FIT_SHARE: u32 = 5;
/// Between two fits when only repeated probes came in.
const REFIT_CALM: Duration = Duration::from_secs(30);
/// Probabilities kept per expert; with many classes fewer items are probed.
const MAX_CELLS: usize = 1 << 20;

/// Probabilities closer than this are the same: one model on two backends rounds differently.
const SAME_ANSWER: f32 = 1e-3;
/// Probes that must have been answered by both before two experts are called the same.
const ALIKE: usize = 16;

type Rows = Vec<Option<Arc<[f32]>>>;

/// The labelled items of a subnet, cut into two parts that never meet: three quarters to probe with and fit the gate on,
/// a quarter to score with.
pub struct Probes {
    set: Arc<ProbeSet>,
    items: Vec<Labelled>,
    scoring: Vec<Labelled>,
    rows: Mutex<HashMap<ExpertKey, Rows>>,
}

impl Probes {
    /// Cuts the validation items of `view` by `seed`.
    #[must_use]
    pub fn new(view: &SubnetView, policy: &Policy, seed: u64) -> Self {
        let mut items = view.validation.clone();
        items.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let scoring = items.split_off(items.len().div_ceil(4) * 3);
        let classes = view.schema.classes().len();
        items.truncate(policy.probe_items.min((MAX_CELLS / classes.max(1)).max(1)));
        let features = items.iter().map(|item| {
            let values = unit_values(&view.schema, item.input.clone());
            view.feature_map.apply(&values).unwrap_or_default()
        });
        let set =
            ProbeSet { features: features.collect(), labels: items.iter().map(|item| item.class).collect(), classes };
        Self { set: Arc::new(set), items, scoring, rows: Mutex::default() }
    }

    /// Number of items every expert is probed with.
    #[must_use]
    pub fn goal(&self) -> usize {
        self.items.len()
    }

    /// Labelled items for scoring.
    #[must_use]
    pub fn scoring(&self) -> &[Labelled] {
        &self.scoring
    }

    /// Items `key` has answered.
    #[must_use]
    pub fn answered(&self, key: &ExpertKey) -> usize {
        self.with(|rows| rows.get(key).map_or(0, |rows| rows.iter().filter(|row| row.is_some()).count()))
    }

    /// Whether two experts were measured to be the same: they gave the same answers to enough probes.
    #[must_use]
    pub fn alike(&self, a: &ExpertKey, b: &ExpertKey) -> bool {
        self.with(|rows| {
            let (Some(a), Some(b)) = (rows.get(a), rows.get(b)) else { return false };
            let both = a.iter().zip(b).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
            let mut common = 0;
            for (a, b) in both {
                let same = a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| (a - b).abs() <= SAME_ANSWER);
                if !same {
                    return false;
                }
                common += 1;
            }
            common >= ALIKE.min(self.items.len()).max(1)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<ExpertKey, Rows>) -> T) -> T {
        act(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn store(&self, key: ExpertKey, items: &[usize], answers: Vec<Vec<f32>>) {
        self.with(|rows| {
            let rows = rows.entry(key).or_insert_with(|| vec![None; self.items.len()]);
            for (&item, answer) in items.iter().zip(answers) {
                rows[item] = Some(answer.into());
            }
        });
    }

    /// What experts of `listed` answered, ready to be fitted on.
    fn for_fit(&self, listed: &[Arc<Listed>]) -> Vec<ExpertProbes> {
        self.with(|rows| {
            let answered = listed.iter().filter_map(|listed| {
                let rows = rows.get(&listed.key)?.clone();
                Some(ExpertProbes { key: listed.key, centroids: listed.descriptor.centroids.clone(), rows })
            });
            answered.collect()
        })
    }

    /// In which order an expert is asked: by chance, weighted by its own claim (Efraimidis and Spirakis' keys u^(1/κ)).
    fn order(&self, listed: &Listed, temperature: f32, seed: u64) -> Vec<usize> {
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(&listed.key.peer.0).update(&listed.key.checkpoint.0);
        let mut rng = ChaCha8Rng::from_seed(*hash.finalize().as_bytes());
        let mut keyed: Vec<(f32, usize)> = (self.set.features.iter().enumerate())
            .map(|(item, features)| {
                let kappa = claim(&listed.descriptor.centroids, features, temperature).max(1e-6);
                (rng.random_range(f32::MIN_POSITIVE..1.0).ln() / kappa, item)
            })
            .collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}

/// How far the probing of one expert is.
struct Progress {
    order: Vec<usize>,
    next: usize,
    rounds: u32,
    asked_at: Instant,
}

/// Probes and refits until `stop`.
pub async fn run(subnet: Arc<Subnet>, seed: u64, stop: CancellationToken) {
    let mut progress: HashMap<ExpertKey, Progress> = HashMap::new();
    let mut flying: HashSet<ExpertKey> = HashSet::new();
    let mut flights = FuturesUnordered::new();
    let mut fitting: Option<JoinHandle<crate::gate::GateModel>> = None;
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
                    Some(Ok(model)) => {
                        tracing::debug!(report = ?model.report, scale = model.prior_scale, "gate fitted");
                        subnet.metrics.fitted(&subnet.view.name, &model.report);
                        subnet.set_gate(model);
                    }
                    Some(Err(error)) => tracing::error!(%error, "fitting the gate failed"),
                    None => {}
                }
            }
            Some((key, batch, answer, took)) = flights.next(), if !flights.is_empty() => {
                let (key, batch, answer, took): Probed = (key, batch, answer, took);
                flying.remove(&key);
                match answer {
                    Ok(rows) => {
                        subnet.book.answered(&key, took, batch.len());
                        subnet.probes.store(key, &batch, rows);
                        if let Some(progress) = progress.get_mut(&key) {
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
        subnet.probes.with(|rows| rows.retain(|key, _| progress.contains_key(key)));
        let mut complete = true;
        for listed in &callable {
            let state = progress.entry(listed.key).or_insert_with(|| Progress {
                order: subnet.probes.order(listed, subnet.policy.prior_temperature, seed),
                next: 0,
                rounds: 0,
                asked_at: now,
            });
            complete &= state.rounds > 0;
            let due = state.rounds == 0 || now.duration_since(state.asked_at) >= subnet.policy.reprobe_every;
            if !due || flying.contains(&listed.key) || flights.len() >= AT_ONCE || state.order.is_empty() {
                continue;
            }
            let most = (listed.descriptor.capacity.max_batch as usize).clamp(1, subnet.policy.probe_batch);
            let mut batch: Vec<usize> = state.order[state.next..].iter().copied().take(most).collect();
            batch.sort_unstable();
            state.asked_at = now;
            flying.insert(listed.key);
            flights.push(ask(Arc::clone(&subnet), Arc::clone(listed), batch, RequestId(rng.random())));
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
            fitting = Some(tokio::task::spawn_blocking(move || fit(&set, &experts, &policy)));
        }
    }
}

type Probed = (ExpertKey, Vec<usize>, Result<Vec<Vec<f32>>, Failure>, Duration);

async fn ask(subnet: Arc<Subnet>, listed: Arc<Listed>, batch: Vec<usize>, id: RequestId) -> Probed {
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
            budget_ms: PATIENCE.as_millis() as u32,
            tensors: vec![tensor],
        };
        let addresses = &listed.descriptor.addresses;
        let response = subnet.transport.forward(listed.key.peer, addresses, request, PATIENCE).await?;
        Ok(read_rows(schema, listed.key.checkpoint, batch.len(), &response)?)
    };
    let answer = answer.await;
    (listed.key, batch, answer, start.elapsed())
}
