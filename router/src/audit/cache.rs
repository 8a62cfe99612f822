//! Checkpoints that were fetched, by hash, and for how long one that could not be had is left alone.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use glia_protocol::ContentHash;
use tokio::time::Instant;

use crate::expert::ExpertKey;

/// First pause after a fetch failed.
const PAUSE: Duration = Duration::from_secs(15);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(900);
/// Failures that are remembered.
const FAILURES: usize = 1024;

#[derive(Debug)]
struct Failure {
    again_at: Instant,
    pause: Duration,
    why: String,
}

/// Checkpoints in memory, the one not used for longest given up first.
#[derive(Debug)]
pub struct Cache {
    most: usize,
    held: usize,
    uses: u64,
    entries: HashMap<ContentHash, (Bytes, u64)>,
    failures: HashMap<ExpertKey, Failure>,
}

impl Cache {
    /// A cache of at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, held: 0, uses: 0, entries: HashMap::new(), failures: HashMap::new() }
    }

    /// The checkpoint, if it is here.
    pub fn get(&mut self, hash: &ContentHash) -> Option<Bytes> {
        self.uses += 1;
        let (bytes, used) = self.entries.get_mut(hash)?;
        *used = self.uses;
        Some(bytes.clone())
    }

    /// Keeps a checkpoint; one larger than the whole cache is not kept.
    pub fn put(&mut self, hash: ContentHash, bytes: Bytes) {
        if bytes.len() > self.most || self.entries.contains_key(&hash) {
            return;
        }
        while self.held + bytes.len() > self.most {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(hash, _)| *hash) else {
                break;
            };
            self.held -= self.entries.remove(&oldest).map_or(0, |(bytes, _)| bytes.len());
        }
        self.held += bytes.len();
        self.uses += 1;
        self.entries.insert(hash, (bytes, self.uses));
    }

    /// Bytes that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// A fetch from `key` worked: what failed before is forgotten.
    pub fn worked(&mut self, key: &ExpertKey) {
        self.failures.remove(key);
    }

    /// A fetch from `key` failed: the next try there is due after a pause, twice as long each time. Whoever else has the
    /// same checkpoint is not to blame.
    pub fn failed(&mut self, key: ExpertKey, why: String, now: Instant) {
        if self.failures.len() >= FAILURES && !self.failures.contains_key(&key) {
            self.failures.retain(|_, failure| failure.again_at > now);
            if self.failures.len() >= FAILURES {
                self.failures.clear();
            }
        }
        let pause = self.failures.get(&key).map_or(PAUSE, |failure| (failure.pause * 2).min(PAUSE_MAX));
        self.failures.insert(key, Failure { again_at: now + pause, pause, why });
    }

    /// Why nothing is to be fetched from `key` at `now`.
    #[must_use]
    pub fn paused(&self, key: &ExpertKey, now: Instant) -> Option<&str> {
        self.failures.get(key).filter(|failure| failure.again_at > now).map(|failure| failure.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::PeerId;

    use super::*;

    fn key(n: u8) -> ExpertKey {
        ExpertKey { peer: PeerId([n; 32]), checkpoint: hash(1) }
    }

    fn hash(n: u8) -> ContentHash {
        ContentHash([n; 32])
    }

    #[test]
    fn the_cache_never_holds_more_than_it_may_and_gives_up_what_is_not_used() {
        let mut cache = Cache::new(10);
        cache.put(hash(1), Bytes::from_static(&[0; 4]));
        cache.put(hash(2), Bytes::from_static(&[0; 4]));
        assert!(cache.get(&hash(1)).is_some());
        cache.put(hash(3), Bytes::from_static(&[0; 4]));
        assert!(cache.get(&hash(1)).is_some() && cache.get(&hash(2)).is_none() && cache.get(&hash(3)).is_some());
        assert_eq!(cache.held(), 8);
        cache.put(hash(4), Bytes::from_static(&[0; 11]));
        assert_eq!((cache.get(&hash(4)), cache.held()), (None, 8));
    }

    #[test]
    fn a_failed_fetch_is_tried_again_after_longer_and_longer() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        assert_eq!(cache.paused(&key(1), now), None);
        cache.failed(key(1), "gone".into(), now);
        assert_eq!(cache.paused(&key(1), now), Some("gone"));
        assert_eq!(cache.paused(&key(1), now + PAUSE), None);
        cache.failed(key(1), "gone".into(), now);
        assert!(cache.paused(&key(1), now + PAUSE).is_some());
        assert_eq!(cache.paused(&key(2), now), None);
        cache.worked(&key(1));
        assert_eq!(cache.paused(&key(1), now), None);
        for n in 0..3000_u32 {
            let mut other = [0; 32];
            other[..4].copy_from_slice(&n.to_le_bytes());
            cache.failed(ExpertKey { peer: PeerId(other), checkpoint: hash(1) }, String::new(), now);
        }
        assert!(cache.failures.len() <= FAILURES);
    }
}
