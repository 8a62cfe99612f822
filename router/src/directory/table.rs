//! What is known of each peer: pure state, moved on by what is heard and by the clock it is given.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use glia_protocol::gossip::{Heartbeat, Presence as Said};
use glia_protocol::limits::MAX_DESCRIPTORS;
use glia_protocol::schema::TaskSchema;
use glia_protocol::{ContentHash, ExpertDescriptor, Hotkey, PeerId};
use tokio::time::Instant;

use super::{Neurons, Snapshot};
use crate::expert::{ExpertKey, Listed, Presence};

/// What every descriptor of the subnet must agree with, and how long silence is borne.
#[derive(Debug, Clone)]
pub struct TableRules {
    /// The subnet's schema.
    pub schema: TaskSchema,
    /// Hash of the subnet's φ.
    pub feature_map: ContentHash,
    /// Dimensions of φ.
    pub features: usize,
    /// Without a sign of life for this long an expert is no candidate.
    pub silence: Duration,
}

/// Peers that are remembered; a DHT full of invented ones must not fill memory.
const MAX_PEERS: usize = 1024;
/// Experts of one hotkey that are listed: an operator has a few, and no more votes by having many.
const MAX_PER_HOTKEY: usize = 4;
/// How long those who said they leave are still shown.
const FAREWELL: Duration = Duration::from_secs(30);
/// Peers that gave no description for this long and are in no DHT answer any more are forgotten.
const OBLIVION: Duration = Duration::from_secs(120);
/// First pause after a description failed.
const RETRY: Duration = Duration::from_millis(500);
/// Longest pause after descriptions failed.
const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Peer {
    /// Last time the DHT named it.
    provided: Instant,
    /// Last heartbeat or description.
    alive: Option<Instant>,
    sequence: u64,
    left: Option<Instant>,
    describing: bool,
    next_describe: Instant,
    failures: u32,
    experts: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    descriptor: Arc<ExpertDescriptor>,
    expires: Instant,
    refresh: Instant,
}

/// The directory of one subnet.
#[derive(Debug)]
pub struct Table {
    rules: TableRules,
    needs_uid: bool,
    peers: BTreeMap<PeerId, Peer>,
    neurons: Arc<Neurons>,
}

impl Table {
    /// An empty table; with `needs_uid` only hotkeys registered on chain are candidates.
    #[must_use]
    pub fn new(rules: TableRules, needs_uid: bool) -> Self {
        Self { rules, needs_uid, peers: BTreeMap::new(), neurons: Arc::default() }
    }

    /// The DHT named `peer`; whether that is news.
    pub fn provider(&mut self, peer: PeerId, now: Instant) -> bool {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.provided = now;
            return false;
        }
        if self.peers.len() >= MAX_PEERS && !self.make_room() {
            return false;
        }
        let fresh = Peer {
            provided: now,
            alive: None,
            sequence: 0,
            left: None,
            describing: false,
            next_describe: now,
            failures: 0,
            experts: Vec::new(),
        };
        self.peers.insert(peer, fresh);
        true
    }

    /// Drops the peer that has failed to describe itself most often; whether there was one.
    fn make_room(&mut self) -> bool {
        let idle = self.peers.iter().filter(|(_, p)| p.experts.is_empty() && !p.describing);
        let Some(worst) = idle.max_by_key(|(_, p)| p.failures).map(|(peer, _)| *peer) else { return false };
        self.peers.remove(&worst).is_some()
    }

    /// A validated heartbeat.
    pub fn heartbeat(&mut self, beat: &Heartbeat, now: Instant) {
        let Some(peer) = self.peers.get_mut(&beat.peer) else { return };
        if beat.sequence <= peer.sequence {
            return;
        }
        peer.sequence = beat.sequence;
        match beat.presence {
            Said::Leaving => peer.left = Some(now),
            Said::Here(_) => {
                if peer.left.take().is_some() || peer.experts.is_empty() {
                    peer.next_describe = now;
                    peer.failures = 0;
                }
                peer.alive = Some(now);
            }
        }
    }

    /// Peers to be described now, at most `room`; each is marked as being asked.
    pub fn due(&mut self, now: Instant, room: usize) -> Vec<PeerId> {
        self.forget(now);
        let silence = self.rules.silence;
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if due.len() == room {
                break;
            }
            // A question is also a sign of life to wait for when heartbeats do not come through.
            let quiet = peer.alive.is_none_or(|at| now.duration_since(at) >= silence / 2);
            let wanted = peer.experts.is_empty() || quiet || peer.experts.iter().any(|known| known.refresh <= now);
            if wanted && peer.left.is_none() && !peer.describing && peer.next_describe <= now {
                peer.describing = true;
                due.push(*id);
            }
        }
        due
    }

    /// The answer to a description, `None` when there was none. Whether the set of experts changed.
    pub fn described(&mut self, id: PeerId, answer: Option<Vec<ExpertDescriptor>>, now: Instant, now_ms: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        peer.describing = false;
        let Some(descriptors) = answer else {
            peer.failures = peer.failures.saturating_add(1);
            // While it was just alive it is asked again soon; its silence is judged by the last sign of life.
            let pause = RETRY.saturating_mul(1 << peer.failures.min(6)).min(RETRY_MAX);
            peer.next_describe = now + pause;
            return false;
        };
        peer.failures = 0;
        peer.alive = Some(now);
        peer.next_describe = now + RETRY;
        let before: Vec<ContentHash> = peer.experts.iter().map(|known| known.descriptor.checkpoint).collect();
        let mut old = std::mem::take(&mut peer.experts);
        for descriptor in descriptors.into_iter().take(MAX_DESCRIPTORS) {
            if let Err(why) = fits(&self.rules, id, &descriptor) {
                tracing::debug!(peer = %id, name = %descriptor.name, why, "descriptor refused");
                continue;
            }
            if peer.experts.iter().any(|known| known.descriptor.checkpoint == descriptor.checkpoint) {
                continue;
            }
            let at = old.iter().position(|known| known.descriptor.checkpoint == descriptor.checkpoint);
            let held = at.map(|at| old.swap_remove(at));
            if let Some(held) = held.filter(|held| held.descriptor.sequence > descriptor.sequence) {
                peer.experts.push(held);
                continue;
            }
            let left = Duration::from_millis(descriptor.expires_at_ms.saturating_sub(now_ms));
            if !left.is_zero() {
                let refresh = now + left * 2 / 3;
                peer.experts.push(Known { descriptor: Arc::new(descriptor), expires: now + left, refresh });
            }
        }
        if peer.experts.is_empty() {
            // It lives but has nothing for us.
            peer.next_describe = now + RETRY_MAX / 6;
        }
        peer.experts.sort_by_key(|known| known.descriptor.checkpoint);
        let after: Vec<ContentHash> = peer.experts.iter().map(|known| known.descriptor.checkpoint).collect();
        before != after
    }

    /// Uids as of the newest metagraph.
    pub fn set_neurons(&mut self, neurons: &Arc<Neurons>) {
        self.neurons = Arc::clone(neurons);
    }

    fn forget(&mut self, now: Instant) {
        self.peers.retain(|_, peer| {
            let gone = peer.left.is_some_and(|at| now.duration_since(at) > FAREWELL);
            if gone {
                // It may come back: the DHT or a heartbeat will name it again.
                return false;
            }
            let since = |at: Instant| now.duration_since(at);
            peer.describing || since(peer.provided) < OBLIVION || peer.alive.is_some_and(|at| since(at) < OBLIVION)
        });
    }

    /// Everybody as of `now`, in the order of their keys; a few experts per hotkey at most.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut experts = Vec::new();
        for (id, peer) in &self.peers {
            let fresh = peer.alive.is_some_and(|at| now.duration_since(at) < self.rules.silence);
            for known in &peer.experts {
                let presence = if peer.left.is_some() {
                    Presence::Leaving
                } else if fresh && known.expires > now {
                    Presence::Here
                } else {
                    Presence::Silent
                };
                let uid = self.neurons.uids.get(&known.descriptor.hotkey).copied();
                experts.push(Arc::new(Listed {
                    key: ExpertKey { peer: *id, checkpoint: known.descriptor.checkpoint },
                    descriptor: Arc::clone(&known.descriptor),
                    uid,
                    presence,
                    candidate: presence == Presence::Here && (uid.is_some() || !self.needs_uid),
                }));
            }
        }
        // Those who are there before those who are not.
        experts.sort_by_key(|listed: &Arc<Listed>| (listed.presence != Presence::Here, listed.key));
        let mut listed_of: HashMap<Hotkey, usize> = HashMap::new();
        experts.retain(|listed| {
            let count = listed_of.entry(listed.hotkey()).or_default();
            *count += 1;
            *count <= MAX_PER_HOTKEY
        });
        experts.sort_by_key(|listed| listed.key);
        Snapshot { block: self.neurons.block, experts }
    }
}

/// Whether a descriptor speaks of this subnet's inputs, outputs and φ.
fn fits(rules: &TableRules, server: PeerId, descriptor: &ExpertDescriptor) -> Result<(), &'static str> {
    if descriptor.peer != server {
        return Err("it is another peer's");
    }
    if descriptor.schema != rules.schema {
        return Err("its schema is not the subnet's");
    }
    if descriptor.feature_map != rules.feature_map {
        return Err("its feature map is not the subnet's");
    }
    if descriptor.centroids.iter().any(|c| c.mean.len() != rules.features) {
        return Err("a centroid does not have the dimensions of the feature map");
    }
    Ok(())
}
