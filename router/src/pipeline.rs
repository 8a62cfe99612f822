//! The way of a request through the router, on one screen: directory, gate, dispatch, aggregate.

use std::sync::Arc;
use std::time::Duration;

use glia_protocol::RequestId;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::aggregate::{linear_pool, sharpen};
use crate::dispatch::book::Prospect;
use crate::dispatch::inputs::Inputs;
use crate::dispatch::{Answer, Call, ItemPlan, Job, Outcome, dispatch};
use crate::expert::Listed;
use crate::gate::balance::due;
use crate::gate::{Bench, ExpertGate, GateModel, Selection, Slot, select, turn, weigh};
use crate::subnet::Subnet;

/// A question to the mesh.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// The items.
    pub inputs: Inputs,
    /// Experts per item, 1 to 8.
    pub k: usize,
    /// Time for all of it.
    pub deadline: Duration,
    /// Chance that an item's last slot goes to a random expert, and the seed of that chance.
    pub explore: Option<(f64, u64)>,
}

/// One expert's part in one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Index into [`Routed::experts`].
    pub expert: usize,
    /// Index into [`Routed::calls`].
    pub call: usize,
    /// Its share of the pool.
    pub weight: f32,
    /// Its calibrated probabilities.
    pub row: Vec<f32>,
    /// Its probabilities as it gave them.
    pub given: Vec<f32>,
    /// Chance with which it had been asked; 1 for a standby.
    pub propensity: f32,
}

/// The answer to one item.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutedItem {
    /// Probabilities of the collective.
    pub probabilities: Vec<f32>,
    /// Who it is made of, heaviest first.
    pub members: Vec<Member>,
    /// φ of the item.
    pub features: Vec<f32>,
}

/// The answer to an inquiry.
#[derive(Debug)]
pub struct Routed {
    /// Names it in all calls.
    pub id: RequestId,
    /// One answer per item.
    pub items: Vec<RoutedItem>,
    /// Everybody who could have been asked.
    pub experts: Vec<Arc<Listed>>,
    /// Every call made.
    pub calls: Vec<Call>,
    /// Time of gate and selection.
    pub routing: Duration,
    /// Time of calling experts.
    pub calling: Duration,
    /// Time of pooling.
    pub pooling: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// Nobody can be asked.
    #[error("no expert can be asked now: {0}")]
    NoExperts(String),
    /// Too few answered.
    #[error("item {item} has {answered} of at least {k_min} answers; {}", .reasons.join("; "))]
    TooFew {
        /// The item.
        item: usize,
        /// Answers it has.
        answered: usize,
        /// Answers it needs.
        k_min: usize,
        /// A sentence per failed call.
        reasons: Vec<String>,
        /// Whether time ran out.
        late: bool,
    },
}

/// Answers an inquiry.
///
/// # Cancel safety
/// Dropping the future cancels every open call.
pub async fn infer(subnet: &Subnet, inquiry: &Inquiry, id: RequestId) -> Result<Routed, InferError> {
    let start = Instant::now();
    let experts = subnet.callable(start);
    if experts.is_empty() {
        return Err(InferError::NoExperts(why_nobody(subnet)));
    }
    let gate = subnet.gate();
    let (plan, chosen) = route(subnet, &gate, &experts, inquiry);
    let routed = Instant::now();

    let job = Job {
        subnet: &subnet.view.name,
        schema: &subnet.view.schema,
        experts: &experts,
        inputs: &inquiry.inputs,
        plan: &plan,
        deadline: inquiry.deadline.saturating_sub(routed - start),
        fair: inquiry.deadline >= subnet.policy.deadline,
        k_min: subnet.policy.k_min,
        id,
    };
    let outcome = dispatch(&job, subnet.audited.as_ref(), &subnet.book).await;
    let called = Instant::now();

    let items = aggregate(subnet, &gate, &experts, &chosen, &outcome, called - start >= inquiry.deadline)?;
    Ok(Routed {
        id,
        items,
        calls: outcome.calls,
        experts,
        routing: routed - start,
        calling: called - routed,
        pooling: called.elapsed(),
    })
}

/// What the gate decided for one item.
#[derive(Debug)]
pub struct Chosen {
    /// φ of the item.
    pub features: Vec<f32>,
    /// What the answers of each expert are weighed by.
    pub logits: Vec<f32>,
    /// Who is asked.
    pub selection: Selection,
}

/// Gate: a logit per expert and item, members and standbys per item.
pub fn route(
    subnet: &Subnet,
    gate: &GateModel,
    experts: &[Arc<Listed>],
    inquiry: &Inquiry,
) -> (Vec<ItemPlan>, Vec<Chosen>) {
    let known: Vec<_> = experts.iter().map(|listed| gate.experts.get(&listed.key)).collect();
    let (learned, clusters) = (subnet.online.view(), subnet.probes.clusters());
    let capacities = experts.iter().map(|listed| (&listed.key, listed.descriptor.capacity.max_batch));
    let prospects = subnet.book.prospects(capacities, Instant::now());
    let slots = experts.iter().zip(&known).zip(&prospects).map(|((listed, known), prospect)| Slot {
        hotkey: listed.hotkey(),
        cluster: clusters.of(&listed.key),
        proven: known.is_some_and(|gate| gate.proven),
        shut_out: known.is_some_and(|gate| gate.is_shut_out()) || learned.is_shut_out(&listed.key),
        // Where nothing can be probed, a request has to find out.
        slow: prospect.suspect && subnet.probes.goal() > 0,
    });
    let bench = Bench { slots: slots.collect(), least: subnet.policy.k_min };
    // What moves the choice of members, and never how they are weighed.
    let sway: Vec<f32> = {
        let (balance, cost) = (subnet.online.balance(), subnet.policy.latency_cost);
        let latency = |prospect: &Prospect| prospect.latency.min(subnet.policy.deadline).as_secs_f32();
        let swayed = experts.iter().zip(&prospects);
        swayed.map(|(listed, prospect)| balance.bias(&listed.key) - cost * latency(prospect)).collect()
    };
    let mut rng = inquiry.explore.map(|(chance, seed)| (chance, ChaCha8Rng::seed_from_u64(seed)));
    let mut load = vec![(0.0, 0.0); experts.len()];
    let chosen: Vec<Chosen> = (0..inquiry.inputs.len())
        .map(|item| {
            let values = inquiry.inputs.values(&subnet.view.schema, item);
            // The subnet's sizes were checked at start, so φ takes every item.
            let features = subnet.view.feature_map.apply(&values).unwrap_or_default();
            let nearby = gate.place(&features);
            let logit = |(listed, known): (&Arc<Listed>, &Option<&ExpertGate>)| {
                let trust = known.map_or(0.0, |known| known.trust.value);
                // Probes say nothing about somebody who answers them better than traffic.
                let nearby: &[_] = if learned.doubt(&listed.key).is_some() { &[] } else { &nearby };
                gate.logit(*known, &listed.descriptor.centroids, &features, nearby)
                    + learned.shift(&listed.key, trust, &features)
            };
            let logits: Vec<f32> = experts.iter().zip(&known).map(logit).collect();
            let place = short_hash(&inquiry.inputs.item(item));
            let swayed = |((logit, sway), listed): ((&f32, &f32), &Arc<Listed>)| {
                logit + sway + turn(place, short(&listed.key.checkpoint.0), subnet.policy.turns)
            };
            let swayed: Vec<f32> = logits.iter().zip(&sway).zip(experts).map(swayed).collect();
            let chance = rng.as_mut().map(|(chance, rng)| (*chance, rng));
            let selection = select(&bench, &swayed, inquiry.k, subnet.policy.standbys, chance);
            let eligible = |i: usize| !bench.slots[i].shut_out && !bench.slots[i].slow;
            for (at, due) in due(&logits, eligible, inquiry.k).into_iter().enumerate() {
                load[at].0 += due;
            }
            selection.members.iter().for_each(|&member| load[member].1 += 1.0);
            Chosen { features, logits, selection }
        })
        .collect();
    subnet.online.used(experts, &load, chosen.len());
    let plan = chosen.iter().map(|chosen| ItemPlan {
        members: chosen.selection.members.clone(),
        standbys: chosen.selection.standbys.clone(),
    });
    (plan.collect(), chosen)
}

/// A number that stands for an item.
fn short_hash(item: &[u8]) -> u64 {
    short(blake3::hash(item).as_bytes())
}

fn short(bytes: &[u8; 32]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Aggregate: the pool of those who answered, per item.
fn aggregate(
    subnet: &Subnet,
    gate: &GateModel,
    experts: &[Arc<Listed>],
    chosen: &[Chosen],
    outcome: &Outcome,
    late: bool,
) -> Result<Vec<RoutedItem>, InferError> {
    let k_min = subnet.policy.k_min;
    let pool = |(item, (answers, chosen)): (usize, (&Vec<Answer>, &Chosen))| {
        let mut reasons = outcome.reasons(item, experts);
        if answers.len() < k_min {
            if reasons.is_empty() {
                reasons.push(
                    "every expert that fits this input is shut out by its answers or takes too few items at a time"
                        .to_owned(),
                );
            }
            return Err(InferError::TooFew { item, answered: answers.len(), k_min, reasons, late });
        }
        Ok(pool_item(subnet, gate, experts, chosen, answers))
    };
    outcome.answers.iter().zip(chosen).enumerate().map(pool).collect()
}

fn pool_item(
    subnet: &Subnet,
    gate: &GateModel,
    experts: &[Arc<Listed>],
    chosen: &Chosen,
    answers: &[Answer],
) -> RoutedItem {
    let known = |expert: usize| gate.experts.get(&experts[expert].key);
    // What was said counts too: some are to be believed in what they say, some only in a few of the things they say.
    let lean = |answer: &Answer| known(answer.expert).map_or(0.0, |g| g.reading.weigh(&chosen.features, &answer.row));
    let logits: Vec<f32> = answers.iter().map(|answer| chosen.logits[answer.expert] + lean(answer)).collect();
    let proven: Vec<bool> = answers.iter().map(|answer| known(answer.expert).is_some_and(|g| g.proven)).collect();
    let weights = weigh(&logits, &proven);
    let asked = |expert: usize| chosen.selection.propensity.iter().find(|(i, _)| *i == expert).map_or(1.0, |(_, p)| *p);
    let members = answers.iter().zip(&weights).map(|(answer, &weight)| Member {
        expert: answer.expert,
        call: answer.call,
        weight,
        row: known(answer.expert).map_or_else(|| answer.row.clone(), |g| g.reading.calibrate(&answer.row)),
        given: answer.row.clone(),
        propensity: asked(answer.expert),
    });
    let mut members: Vec<Member> = members.collect();
    members.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.expert.cmp(&b.expert)));
    let weights: Vec<f32> = members.iter().map(|m| m.weight).collect();
    let rows: Vec<&[f32]> = members.iter().map(|m| m.row.as_slice()).collect();
    let pool = linear_pool(&weights, &rows, subnet.view.schema.classes().len());
    let features = chosen.features.clone();
    RoutedItem { probabilities: sharpen(&pool, gate.pool_sharpness), members, features }
}

/// Why nobody can be asked, in words for people.
fn why_nobody(subnet: &Subnet) -> String {
    let snapshot = subnet.snapshot();
    if snapshot.experts.is_empty() {
        return "none has been found in the DHT yet".to_owned();
    }
    let candidates = snapshot.experts.iter().filter(|e| e.candidate).count();
    let without_uid = snapshot.experts.iter().filter(|e| e.uid.is_none()).count();
    format!(
        "{} are known, {without_uid} of them without a uid, {candidates} alive and eligible, all of those banned or condemned by audits",
        snapshot.experts.len()
    )
}
