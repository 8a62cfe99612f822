//! Canaries: labelled inputs among the requests of users, which is where a router learns who is useful.
//!
//! A canary goes the ordinary way and looks like its surroundings: one input, or as many as users send lately, at random
//! moments (the gaps are exponential), so that nobody can be honest only when it is looked at. How many labelled inputs
//! are sent per second is the policy's `score_batch` per `score_every`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use glia_protocol::RequestId;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::outcome::{Source, record};
use crate::dispatch::inputs::Inputs;
use crate::pipeline::{Inquiry, infer};
use crate::subnet::Subnet;

/// Canaries on their way at the same time; more wait.
const AT_ONCE: usize = 8;
/// Sizes of users' requests that are remembered.
const SIZES: usize = 64;
/// Inputs of the largest canary.
const LARGEST: usize = 64;
/// Longest gap, in mean gaps.
const LONGEST: f64 = 5.0;
/// Between two looks whether there is anybody to ask.
const UNREADY: Duration = Duration::from_millis(100);

/// How many inputs users' requests had lately.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<VecDeque<usize>>);

impl Traffic {
    /// A user sent a request of `items` inputs.
    pub fn seen(&self, items: usize) {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.len() == SIZES {
            sizes.pop_front();
        }
        sizes.push_back(items);
    }

    /// A size drawn from them; 1 before there were any.
    #[must_use]
    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        let sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.is_empty() { 1 } else { sizes[rng.random_range(0..sizes.len())].clamp(1, LARGEST) }
    }
}

/// A random pause with this mean: exponential, but for the longest, which are cut.
#[must_use]
pub fn gap(mean: Duration, rng: &mut impl Rng) -> Duration {
    let draw: f64 = -(1.0 - rng.random_range(0.0..1.0_f64)).ln();
    mean.mul_f64(draw.min(LONGEST))
}

/// Sends and scores until `stop`.
pub async fn run(subnet: Arc<Subnet>, seed: u64, stop: CancellationToken) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5C0E);
    let mut left: Vec<usize> = Vec::new();
    if subnet.probes.scoring().is_empty() {
        tracing::warn!(subnet = %subnet.view.name, "no labelled items to score with: without feedback experts are only compared with each other, at low weight");
        return;
    }
    let each = subnet.policy.score_every.div_f64(subnet.policy.score_batch.max(1) as f64);
    let mut flights = FuturesUnordered::new();
    let mut next = Instant::now() + gap(each, &mut rng);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(()) = flights.next(), if !flights.is_empty() => continue,
            () = sleep_until(next), if flights.len() < AT_ONCE => {}
        }
        let now = Instant::now();
        if !subnet.is_ready() {
            next = now + UNREADY;
            continue;
        }
        if left.is_empty() {
            left = (0..subnet.probes.scoring().len()).collect();
            left.shuffle(&mut rng);
        }
        let size = subnet.traffic.draw(&mut rng);
        let batch = left.split_off(left.len().saturating_sub(size));
        // A late canary does not make the next one hurry.
        next = next.max(now.checked_sub(each).unwrap_or(now)) + gap(each.mul_f64(batch.len() as f64), &mut rng);
        let (explore, id) = (rng.random(), RequestId(rng.random()));
        let subnet = Arc::clone(&subnet);
        flights.push(async move { score(&subnet, &batch, explore, id).await });
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
            record(subnet, &routed, &labels, Source::Canary);
            subnet.metrics.scored(&subnet.view.name, labels.len());
        }
        Err(error) => tracing::debug!(%error, "labelled items were not answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_come_at_random_moments_at_the_rate_that_was_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mean = Duration::from_millis(30);
        let gaps: Vec<f64> = (0..20_000).map(|_| gap(mean, &mut rng).as_secs_f64() / mean.as_secs_f64()).collect();
        let average = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((average - 1.0).abs() < 0.03, "{average}");
        assert!(gaps.iter().all(|gap| *gap <= LONGEST));
        // Memoryless: of those longer than one mean, as many are longer than two as of all are longer than one.
        let longer = |than: f64| gaps.iter().filter(|gap| **gap > than).count() as f64;
        assert!((longer(2.0) / longer(1.0) - longer(1.0) / gaps.len() as f64).abs() < 0.03);
    }

    #[test]
    fn canaries_are_as_large_as_the_requests_of_users() {
        let (traffic, mut rng) = (Traffic::default(), ChaCha8Rng::seed_from_u64(1));
        assert_eq!(traffic.draw(&mut rng), 1);
        (0..SIZES).for_each(|_| traffic.seen(1000));
        assert_eq!(traffic.draw(&mut rng), LARGEST);
        (0..SIZES).for_each(|n| traffic.seen(if n % 4 == 0 { 3 } else { 1 }));
        let drawn: Vec<usize> = (0..4000).map(|_| traffic.draw(&mut rng)).collect();
        let threes = drawn.iter().filter(|size| **size == 3).count();
        assert_eq!(threes + drawn.iter().filter(|size| **size == 1).count(), 4000);
        assert!((900..1100).contains(&threes), "{threes}");
    }
}
