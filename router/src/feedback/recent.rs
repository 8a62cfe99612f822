//! Answers that can still be labelled: a bounded ring, oldest out first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glia_protocol::RequestId;
use tokio::time::Instant;

use crate::pipeline::{Member, Routed};

/// How long an answer can be labelled.
pub const KEEP: Duration = Duration::from_secs(600);
/// Answers that are remembered.
const MAX_REQUESTS: usize = 4096;
/// Numbers in them, all together: 4 Mi of 4 bytes are 16 MiB per subnet.
const MAX_NUMBERS: usize = 4 * 1024 * 1024;

/// Why an item cannot be labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The request is not remembered.
    #[error("this request is not known: answers can be labelled for 10 minutes, and only as many as are remembered")]
    Unknown,
    /// It has no such item.
    #[error("the request has {0} items; they are counted from 0")]
    NoItem(usize),
    /// It is labelled.
    #[error("this item was labelled before; each counts once")]
    Again,
}

#[derive(Debug)]
struct Kept {
    routed: Routed,
    numbers: usize,
    at: Instant,
    labelled: Vec<bool>,
}

#[derive(Debug, Default)]
struct Ring {
    kept: HashMap<RequestId, Kept>,
    order: VecDeque<RequestId>,
    numbers: usize,
}

/// Answers of one subnet that can still be labelled.
#[derive(Debug, Default)]
pub struct Recent {
    ring: Mutex<Ring>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an answer; one larger than the whole ring is not remembered.
    pub fn put(&self, routed: Routed, now: Instant) {
        let numbers = size(&routed);
        let mut ring = self.lock();
        ring.forget(now);
        if numbers > MAX_NUMBERS || ring.kept.contains_key(&routed.id) {
            return;
        }
        while ring.order.len() >= MAX_REQUESTS || ring.numbers + numbers > MAX_NUMBERS {
            ring.drop_oldest();
        }
        ring.numbers += numbers;
        ring.order.push_back(routed.id);
        let labelled = vec![false; routed.items.len()];
        ring.kept.insert(routed.id, Kept { numbers, at: now, labelled, routed });
    }

    /// One item of an answer, as an answer of its own; it cannot be claimed again.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(&self, id: &RequestId, item: usize, now: Instant) -> Result<Routed, ClaimError> {
        let mut ring = self.lock();
        ring.forget(now);
        let kept = ring.kept.get_mut(id).ok_or(ClaimError::Unknown)?;
        let items = kept.labelled.len();
        let labelled = kept.labelled.get_mut(item).ok_or(ClaimError::NoItem(items))?;
        if std::mem::replace(labelled, true) {
            return Err(ClaimError::Again);
        }
        only(&kept.routed, item).ok_or(ClaimError::NoItem(items))
    }

    /// Whether an answer can still be labelled.
    #[must_use]
    pub fn knows(&self, id: &RequestId, now: Instant) -> bool {
        let mut ring = self.lock();
        ring.forget(now);
        ring.kept.contains_key(id)
    }

    /// Answers that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(kept) = self.order.pop_front().and_then(|id| self.kept.remove(&id)) {
            self.numbers -= kept.numbers;
        }
    }

    fn forget(&mut self, now: Instant) {
        let old = |kept: &Kept| now.saturating_duration_since(kept.at) >= KEEP;
        while self.order.front().and_then(|id| self.kept.get(id)).is_some_and(old) {
            self.drop_oldest();
        }
    }
}

/// Numbers in an answer, about; everything else is counted as a few of them.
fn size(routed: &Routed) -> usize {
    let member = |member: &Member| member.row.len() + member.given.len() + 32;
    let items = routed.items.iter().map(|item| {
        32 + item.probabilities.len() + item.features.len() + item.members.iter().map(member).sum::<usize>()
    });
    let calls = routed.calls.iter().map(|call| 64 + 2 * call.items.len());
    64 + items.sum::<usize>() + calls.sum::<usize>() + 2 * routed.experts.len()
}

/// The answer to one item, with the calls of its members: what failed was counted when it failed.
fn only(routed: &Routed, item: usize) -> Option<Routed> {
    let mut answer = routed.items.get(item)?.clone();
    let mut calls = Vec::with_capacity(answer.members.len());
    for member in &mut answer.members {
        let mut call = routed.calls.get(member.call)?.clone();
        call.items = vec![0];
        member.call = calls.len();
        calls.push(call);
    }
    Some(Routed {
        id: routed.id,
        items: vec![answer],
        experts: routed.experts.clone(),
        calls,
        routing: routed.routing,
        calling: routed.calling,
        pooling: routed.pooling,
    })
}

#[cfg(test)]
mod tests {
    use crate::dispatch::{Call, Cause};
    use crate::pipeline::RoutedItem;

    use super::*;

    fn routed(n: u32, items: usize, classes: usize) -> Routed {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let member = |call| Member {
            expert: 0,
            call,
            weight: 1.0,
            row: vec![0.5; classes],
            given: vec![0.5; classes],
            propensity: 1.0,
        };
        let call = |items| Call {
            expert: 0,
            items,
            cause: Cause::Chosen,
            latency: Duration::ZERO,
            queue_us: 0,
            compute_us: 0,
            failure: None,
        };
        Routed {
            id: RequestId(id),
            items: (0..items)
                .map(|item| RoutedItem {
                    probabilities: vec![0.1 * item as f32; classes],
                    members: vec![member(1)],
                    features: Vec::new(),
                })
                .collect(),
            experts: Vec::new(),
            calls: vec![call(vec![0]), call((0..items).collect())],
            routing: Duration::ZERO,
            calling: Duration::ZERO,
            pooling: Duration::ZERO,
        }
    }

    #[test]
    fn an_item_is_given_out_once_and_alone() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.put(routed(1, 3, 2), now);
        let id = routed(1, 0, 0).id;
        let one = recent.claim(&id, 2, now).unwrap();
        assert_eq!((one.items.len(), one.calls.len(), one.items[0].members[0].call), (1, 1, 0));
        assert_eq!(one.items[0].probabilities, [0.2, 0.2]);
        assert_eq!(recent.claim(&id, 2, now).unwrap_err(), ClaimError::Again);
        assert_eq!(recent.claim(&id, 3, now).unwrap_err(), ClaimError::NoItem(3));
        assert!(recent.claim(&id, 0, now).is_ok());
        assert_eq!(recent.claim(&RequestId([9; 16]), 0, now).unwrap_err(), ClaimError::Unknown);
        recent.put(routed(1, 3, 2), now);
        assert_eq!(recent.claim(&id, 2, now).unwrap_err(), ClaimError::Again, "the same id does not begin anew");
    }

    #[test]
    fn answers_are_forgotten_after_ten_minutes() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.put(routed(1, 1, 2), now);
        recent.put(routed(2, 1, 2), now + KEEP / 2);
        assert_eq!(recent.claim(&routed(1, 0, 0).id, 0, now + KEEP).unwrap_err(), ClaimError::Unknown);
        assert!(recent.claim(&routed(2, 0, 0).id, 0, now + KEEP).is_ok());
        assert_eq!(recent.len(), 1);
    }

    #[test]
    fn the_ring_is_bounded_in_answers_and_in_numbers() {
        let (recent, now) = (Recent::default(), Instant::now());
        (0..5000).for_each(|n| recent.put(routed(n, 1, 2), now));
        assert_eq!(recent.len(), MAX_REQUESTS);
        assert_eq!(recent.claim(&routed(0, 0, 0).id, 0, now).unwrap_err(), ClaimError::Unknown);
        (5000..5100).for_each(|n| recent.put(routed(n, 1000, 100), now));
        assert!(recent.lock().numbers <= MAX_NUMBERS && recent.len() < 30, "{}", recent.len());
        recent.put(routed(6000, 1, MAX_NUMBERS), now);
        assert_eq!(recent.claim(&routed(6000, 0, 0).id, 0, now).unwrap_err(), ClaimError::Unknown);
    }
}
