//! The batcher: which waiting requests are computed together, and when. Pure; time comes in as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Something that waits to be computed.
pub trait Work {
    /// Only equal keys can share a batch (model, dtype, shape).
    type Key: Eq;

    /// Its key.
    fn key(&self) -> Self::Key;

    /// Inputs it brings.
    fn items(&self) -> u32;

    /// When it came.
    fn arrived(&self) -> Instant;

    /// When nobody needs it any more.
    fn deadline(&self) -> Instant;

    /// Whether whoever asked went away.
    fn abandoned(&self) -> bool;
}

/// When a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Inputs that make a batch full.
    pub max_batch: u32,
    /// Longest the oldest request waits for company.
    pub max_wait: Duration,
}

/// Requests in order of arrival. The number waiting is bounded by admission, before they come here.
#[derive(Debug)]
pub struct Batcher<W> {
    limits: BatchLimits,
    waiting: VecDeque<W>,
}

impl<W: Work> Batcher<W> {
    /// Nothing waits.
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, waiting: VecDeque::new() }
    }

    /// One more waits.
    pub fn push(&mut self, work: W) {
        self.waiting.push_back(work);
    }

    /// Requests waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes what is not worth computing: the abandoned are dropped, those past their deadline returned.
    pub fn sweep(&mut self, now: Instant) -> Vec<W> {
        let mut expired = Vec::new();
        if self.waiting.iter().any(|w| w.abandoned() || w.deadline() <= now) {
            for work in std::mem::take(&mut self.waiting) {
                if work.abandoned() {
                    continue;
                }
                if work.deadline() <= now {
                    expired.push(work);
                } else {
                    self.waiting.push_back(work);
                }
            }
        }
        expired
    }

    /// When the next batch is due: in the past when one is, `None` when nothing waits.
    pub fn due_at(&self) -> Option<Instant> {
        if let Some(full) = self.full_group() {
            return self.waiting.get(full).map(Work::arrived);
        }
        self.waiting.front().map(|oldest| oldest.arrived() + self.limits.max_wait)
    }

    /// The batch that is due at `now`, if one is: the oldest request and those that can go with it, in order of
    /// arrival, up to `max_batch` inputs. A full batch goes before an older one that still waits for company.
    pub fn take(&mut self, now: Instant) -> Option<Vec<W>> {
        let oldest = self.waiting.front()?;
        let lead = if oldest.arrived() + self.limits.max_wait <= now { 0 } else { self.full_group()? };
        let key = self.waiting.get(lead)?.key();
        let mut batch = Vec::new();
        let (mut items, mut closed) = (0u32, false);
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for work in std::mem::take(&mut self.waiting) {
            let fits = batch.is_empty() || items.saturating_add(work.items()) <= self.limits.max_batch;
            if !closed && work.key() == key {
                if fits {
                    items = items.saturating_add(work.items());
                    batch.push(work);
                    continue;
                }
                // Later, smaller ones must not overtake it.
                closed = true;
            }
            rest.push_back(work);
        }
        self.waiting = rest;
        Some(batch)
    }

    /// Everything that still waits.
    pub fn into_waiting(self) -> impl Iterator<Item = W> {
        self.waiting.into_iter()
    }

    /// Index of the oldest request of the first group that fills a batch.
    fn full_group(&self) -> Option<usize> {
        let mut groups: Vec<(usize, W::Key, u32)> = Vec::new();
        for (index, work) in self.waiting.iter().enumerate() {
            let key = work.key();
            let items = match groups.iter_mut().find(|(_, k, _)| *k == key) {
                Some((_, _, items)) => {
                    *items = items.saturating_add(work.items());
                    *items
                }
                None => {
                    groups.push((index, key, work.items()));
                    work.items()
                }
            };
            if items >= self.limits.max_batch {
                let key = work.key();
                return groups.into_iter().find(|(_, k, _)| *k == key).map(|(first, _, _)| first);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Fake {
        id: u32,
        key: &'static str,
        items: u32,
        arrived: Instant,
        deadline: Instant,
        abandoned: bool,
    }

    impl Work for Fake {
        type Key = &'static str;

        fn key(&self) -> &'static str {
            self.key
        }

        fn items(&self) -> u32 {
            self.items
        }

        fn arrived(&self) -> Instant {
            self.arrived
        }

        fn deadline(&self) -> Instant {
            self.deadline
        }

        fn abandoned(&self) -> bool {
            self.abandoned
        }
    }

    const MS: Duration = Duration::from_millis(1);

    fn work(id: u32, key: &'static str, items: u32, arrived: Instant) -> Fake {
        Fake { id, key, items, arrived, deadline: arrived + 100 * MS, abandoned: false }
    }

    fn batcher() -> Batcher<Fake> {
        Batcher::new(BatchLimits { max_batch: 4, max_wait: 2 * MS })
    }

    fn ids(batch: Option<Vec<Fake>>) -> Vec<u32> {
        batch.unwrap_or_default().iter().map(|w| w.id).collect()
    }

    #[test]
    fn a_lone_request_waits_for_company_but_not_longer_than_allowed() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(work(1, "a", 1, start));
        assert_eq!(batcher.take(start + MS), None);
        assert_eq!(batcher.due_at(), Some(start + 2 * MS));
        batcher.push(work(2, "a", 1, start + MS));
        assert_eq!(ids(batcher.take(start + 2 * MS)), [1, 2]);
        assert!(batcher.is_empty());
        assert_eq!(batcher.due_at(), None);
    }

    #[test]
    fn a_full_batch_goes_at_once() {
        let (mut batcher, start) = (batcher(), Instant::now());
        for id in 0..6 {
            batcher.push(work(id, "a", 1, start));
        }
        assert!(batcher.due_at().unwrap() <= start);
        assert_eq!(ids(batcher.take(start)), [0, 1, 2, 3]);
        assert_eq!(batcher.take(start), None);
        assert_eq!(batcher.len(), 2);
    }

    #[test]
    fn different_shapes_never_share_a_batch() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(work(1, "a", 1, start));
        batcher.push(work(2, "b", 1, start));
        batcher.push(work(3, "a", 1, start));
        assert_eq!(ids(batcher.take(start + 2 * MS)), [1, 3]);
        assert_eq!(ids(batcher.take(start + 2 * MS)), [2]);
    }

    #[test]
    fn a_full_batch_of_one_shape_does_not_wait_for_another_shape() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(work(1, "a", 1, start));
        batcher.push(work(2, "b", 4, start));
        assert_eq!(ids(batcher.take(start)), [2]);
        assert_eq!(ids(batcher.take(start + 2 * MS)), [1]);
    }

    #[test]
    fn the_oldest_goes_first_even_when_another_shape_is_full() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(work(1, "a", 1, start));
        batcher.push(work(2, "b", 4, start + MS));
        assert_eq!(ids(batcher.take(start + 2 * MS)), [1]);
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_smaller_ones() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(work(1, "a", 2, start));
        batcher.push(work(2, "a", 3, start));
        batcher.push(work(3, "a", 1, start));
        assert_eq!(ids(batcher.take(start + 2 * MS)), [1]);
        assert_eq!(ids(batcher.take(start + 2 * MS)), [2, 3]);
    }

    #[test]
    fn expired_and_abandoned_work_is_swept_out() {
        let (mut batcher, start) = (batcher(), Instant::now());
        batcher.push(Fake { deadline: start + MS, ..work(1, "a", 1, start) });
        batcher.push(Fake { abandoned: true, ..work(2, "a", 1, start) });
        batcher.push(work(3, "a", 1, start));
        let expired: Vec<u32> = batcher.sweep(start + MS).iter().map(|w| w.id).collect();
        assert_eq!(expired, [1]);
        assert_eq!(ids(batcher.take(start + 2 * MS)), [3]);
    }
}
