//! Labelled inputs sent through the ordinary pipeline at a bounded rate: what a router learns of usefulness.

use std::sync::Arc;

use bytes::BytesMut;
use glia_protocol::RequestId;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::shapley::shapley;
use super::tally::Scored;
use crate::dispatch::inputs::Inputs;
use crate::dispatch::{Call, Failure};
use crate::pipeline::{Inquiry, Routed, infer};
use crate::subnet::Subnet;

/// Sends and scores until `stop`.
pub async fn run(subnet: Arc<Subnet>, seed: u64, stop: CancellationToken) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5C0E);
    let mut tick = interval(subnet.policy.score_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left: Vec<usize> = Vec::new();
    if subnet.probes.scoring().is_empty() {
        tracing::warn!(subnet = %subnet.view.name, "no labelled items to score with: no weights will be set");
        return;
    }
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        if !subnet.is_ready() {
            continue;
        }
        if left.is_empty() {
            left = (0..subnet.probes.scoring().len()).collect();
            left.shuffle(&mut rng);
        }
        let batch = left.split_off(left.len().saturating_sub(subnet.policy.score_batch));
        let (explore, id) = (rng.random(), RequestId(rng.random()));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = score(&subnet, &batch, explore, id) => {}
        }
    }
}

/// Sends `batch` (indices of scoring items) and counts what comes back.
///
/// # Cancel safety
/// A batch cut short is not counted.
pub async fn score(subnet: &Subnet, batch: &[usize], explore: u64, id: RequestId) {
    let items = subnet.probes.scoring();
    let mut data = BytesMut::new();
    let labels: Vec<usize> = batch.iter().filter_map(|&item| items.get(item)).map(|item| item.class).collect();
    batch.iter().filter_map(|&item| items.get(item)).for_each(|item| data.extend_from_slice(&item.input));
    let Some(inputs) = Inputs::new(&subnet.view.schema, data.freeze()) else { return };
    let inquiry = Inquiry {
        inputs,
        k: subnet.policy.k,
        deadline: subnet.policy.deadline,
        explore: Some((subnet.policy.exploration, explore)),
    };
    match infer(subnet, &inquiry, id).await {
        Ok(routed) => {
            count(subnet, &routed, &labels);
            subnet.metrics.scored(&subnet.view.name, labels.len());
        }
        Err(error) => tracing::debug!(%error, "labelled items were not answered"),
    }
}

/// Shapley values of all members of all items into the tally.
pub(crate) fn count(subnet: &Subnet, routed: &Routed, labels: &[usize]) {
    let classes = subnet.view.schema.classes().len();
    subnet.tally.with(|tally| {
        tally.items += labels.len() as u64;
        for (item, &label) in routed.items.iter().zip(labels) {
            let weights: Vec<f32> = item.members.iter().map(|member| member.weight).collect();
            let right: Vec<f32> =
                item.members.iter().map(|member| member.row.get(label).copied().unwrap_or(0.0)).collect();
            for (member, value) in item.members.iter().zip(shapley(&weights, &right, classes)) {
                let listed = &routed.experts[member.expert];
                // Only somebody registered can be paid.
                if !listed.is_registered() {
                    continue;
                }
                tally.score(&Scored {
                    hotkey: listed.hotkey(),
                    expert: listed.key,
                    name: listed.descriptor.name.clone(),
                    value,
                    propensity: member.propensity,
                });
            }
        }
        let nobodys = |call: &&Call| matches!(call.failure, None | Some(Failure::Unfinished | Failure::Own(_)));
        for call in routed.calls.iter().filter(|call| !nobodys(call)) {
            let listed = &routed.experts[call.expert];
            if listed.is_registered() {
                tally.failed(listed.hotkey(), &listed.descriptor.name);
            }
        }
    });
}
