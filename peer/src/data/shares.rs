//! How much of the common room each peer holds: nobody may hold more than its share, so that others find some.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glia_protocol::PeerId;

use crate::config::Limits;

/// One peer may hold this part of the whole.
const PART: usize = 8;

/// What the peers hold now.
#[derive(Debug)]
pub(super) struct Shares {
    requests: usize,
    bytes: usize,
    held: Mutex<HashMap<PeerId, Held>>,
}

#[derive(Debug, Default)]
struct Held {
    requests: usize,
    bytes: usize,
}

impl Shares {
    /// An eighth of the requests and of the payload bytes for each peer, and at least one request of the largest
    /// size.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { bytes: (limits.payload_bytes / PART).max(limits.request_payload), ..Self::of(limits.requests, 0) }
    }

    /// An eighth of `requests` and of `bytes` for each peer, and at least one request.
    pub(super) fn of(requests: usize, bytes: usize) -> Self {
        Self { requests: (requests / PART).max(1), bytes: bytes / PART, held: Mutex::default() }
    }

    /// Begins a request of `peer`; `None` when it has too many in work.
    pub(super) fn enter(&self, peer: PeerId) -> Option<Share<'_>> {
        let mut all = self.lock();
        let held = all.entry(peer).or_default();
        if held.requests >= self.requests {
            return None;
        }
        held.requests += 1;
        Some(Share { shares: self, peer, bytes: 0 })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of a peer; given back on drop.
#[derive(Debug)]
pub(super) struct Share<'a> {
    shares: &'a Shares,
    peer: PeerId,
    bytes: usize,
}

impl Share<'_> {
    /// Takes room for `bytes` of payload; false when that is more than the peer's share.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        let mut all = self.shares.lock();
        let held = all.entry(self.peer).or_default();
        let fits = held.bytes.checked_add(bytes).is_some_and(|sum| sum <= self.shares.bytes);
        if fits {
            held.bytes += bytes;
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut all = self.shares.lock();
        if let Some(held) = all.get_mut(&self.peer) {
            held.requests = held.requests.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(self.bytes);
            if held.requests == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: PeerId = PeerId([1; 32]);
    const OTHER: PeerId = PeerId([2; 32]);

    fn shares(requests: usize, payload_bytes: usize, request_payload: usize) -> Shares {
        Shares::new(&Limits { requests, payload_bytes, request_payload, ..Limits::default() })
    }

    #[test]
    fn one_peer_gets_an_eighth_of_the_requests() {
        let shares = shares(16, 1000, 10);
        let first = shares.enter(GREEDY).unwrap();
        let _second = shares.enter(GREEDY).unwrap();
        assert!(shares.enter(GREEDY).is_none());
        assert!(shares.enter(OTHER).is_some());
        drop(first);
        assert!(shares.enter(GREEDY).is_some());
    }

    #[test]
    fn one_peer_gets_an_eighth_of_the_memory() {
        let shares = shares(80, 800, 10);
        let (mut first, mut second) = (shares.enter(GREEDY).unwrap(), shares.enter(GREEDY).unwrap());
        assert!(first.hold(60));
        assert!(!second.hold(41) && !second.hold(usize::MAX));
        assert!(second.hold(40));
        assert!(shares.enter(OTHER).unwrap().hold(100));
        drop(first);
        assert!(second.hold(60));
    }

    #[test]
    fn a_share_holds_at_least_one_request_of_the_largest_size() {
        let shares = shares(2, 800, 500);
        assert!(shares.enter(GREEDY).unwrap().hold(500));
    }

    #[test]
    fn peers_that_hold_nothing_are_forgotten() {
        let shares = shares(16, 800, 10);
        drop(shares.enter(GREEDY).unwrap());
        assert!(shares.lock().is_empty());
    }
}
