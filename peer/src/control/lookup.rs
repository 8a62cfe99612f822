//! Searches in the DHT, and the provider records this peer keeps for others.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use glia_protocol::descriptor::shard_of;
use glia_protocol::{PeerId, SubnetName};
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{GetClosestPeersError, GetProvidersOk, ProviderRecord, QueryId, QueryResult, RecordKey};
use tokio::sync::oneshot;

use super::asks::Why;
use super::from_libp2p;
use super::task::Task;

/// Providers one search returns: what Kademlia keeps under one key, and room for disagreement between its keepers.
const MAX_FOUND: usize = 64;
/// Records one peer may leave here: 16 subnets of 16 regions.
const MAX_KEYS_PER_PROVIDER: usize = 256;

struct Search {
    found: BTreeSet<PeerId>,
    reply: Option<oneshot::Sender<Vec<PeerId>>>,
}

/// Searches on their way and records kept for others.
#[derive(Default)]
pub(super) struct Lookups {
    searches: HashMap<QueryId, Search>,
    locating: HashMap<QueryId, (libp2p::PeerId, String)>,
    kept: HashMap<libp2p::PeerId, HashMap<RecordKey, Instant>>,
}

/// Whether `key` is one that `provider` may provide: `/glia/<network>/spec/<subnet>/<region>/<its own shard>`.
fn is_own_key(network: &str, key: &[u8], provider: &PeerId) -> bool {
    let Ok(text) = std::str::from_utf8(key) else { return false };
    let Some(rest) = text.strip_prefix("/glia/").and_then(|t| t.strip_prefix(network)) else { return false };
    let Some(rest) = rest.strip_prefix("/spec/") else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    let [subnet, region, shard] = parts[..] else { return false };
    subnet.parse::<SubnetName>().is_ok()
        && region.parse::<u8>().is_ok_and(|n| n.to_string() == region)
        && shard.parse::<u8>().is_ok_and(|n| n == shard_of(provider) && n.to_string() == shard)
}

impl Task {
    /// Searches the providers of `key`; the query ends at its deadline with what it has.
    pub(super) fn find_providers(&mut self, key: Vec<u8>, reply: oneshot::Sender<Vec<PeerId>>) {
        let id = self.swarm.behaviour_mut().kad.get_providers(RecordKey::from(key));
        self.lookups.searches.insert(id, Search { found: BTreeSet::new(), reply: Some(reply) });
    }

    /// Asks the DHT where a peer is that questions wait for; fails them if that was tried already.
    pub(super) fn locate(&mut self, peer: libp2p::PeerId, why: String) {
        if self.may_locate(&peer) {
            let id = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
            self.lookups.locating.insert(id, (peer, why));
        } else {
            self.fail_waiting(peer, Why::Unreachable(why));
        }
    }

    pub(super) fn on_query(&mut self, id: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::GetProviders(result) => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    self.on_found(id, &providers);
                }
                if last {
                    self.on_search_over(id);
                }
            }
            QueryResult::GetClosestPeers(result) => {
                let Some((peer, why)) = self.lookups.locating.remove(&id) else { return };
                let peers = match result {
                    Ok(ok) => ok.peers,
                    Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                match peers.into_iter().find(|info| info.peer_id == peer) {
                    Some(info) if !info.addrs.is_empty() => self.dial(peer, info.addrs),
                    _ if self.peers.contains_key(&peer) => {}
                    _ => self.fail_waiting(peer, Why::Unreachable(why)),
                }
            }
            _ => {}
        }
    }

    fn on_found<'a>(&mut self, id: QueryId, providers: impl IntoIterator<Item = &'a libp2p::PeerId>) {
        let local = *self.swarm.local_peer_id();
        let Some(search) = self.lookups.searches.get_mut(&id) else { return };
        let others = providers.into_iter().filter(|peer| **peer != local).filter_map(from_libp2p);
        for peer in others {
            if search.found.len() < MAX_FOUND {
                search.found.insert(peer);
            }
        }
        let unwanted = search.reply.as_ref().is_none_or(oneshot::Sender::is_closed);
        if (unwanted || search.found.len() >= MAX_FOUND)
            && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id)
        {
            query.finish();
        }
    }

    fn on_search_over(&mut self, id: QueryId) {
        let Some(mut search) = self.lookups.searches.remove(&id) else { return };
        if let Some(reply) = search.reply.take() {
            // An error says that the asker has given up.
            let _ = reply.send(search.found.into_iter().collect());
        }
    }

    /// Keeps a provider record if its key is well formed, belongs to its sender and fits.
    pub(super) fn on_provider_record(&mut self, mut record: ProviderRecord, now: Instant) {
        let Some(peer) = from_libp2p(&record.provider) else { return };
        if !is_own_key(self.config.network.as_str(), record.key.as_ref(), &peer) {
            self.report(peer, crate::reputation::Misdeed::Malformed);
            return;
        }
        let kept = self.lookups.kept.entry(record.provider).or_default();
        if kept.len() >= MAX_KEYS_PER_PROVIDER && !kept.contains_key(&record.key) {
            return;
        }
        record.addresses = self.routable_of(&record.provider, record.addresses);
        let expires = *record.expires.get_or_insert(now + self.config.timing.provider_ttl);
        let (provider, key) = (record.provider, record.key.clone());
        let store = self.swarm.behaviour_mut().kad.store_mut();
        // A full key takes no new provider, so its dead ones must go first.
        for old in store.providers(&key).iter().filter(|old| old.is_expired(now)) {
            store.remove_provider(&key, &old.provider);
        }
        if store.add_provider(record).is_ok() {
            self.lookups.kept.entry(provider).or_default().insert(key, expires);
        }
    }

    /// Removes expired records; the store only does so when somebody asks for them.
    pub(super) fn sweep_records(&mut self, now: Instant) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        self.lookups.kept.retain(|provider, keys| {
            keys.retain(|key, expires| {
                let alive = *expires > now;
                if !alive {
                    store.remove_provider(key, provider);
                }
                alive
            });
            !keys.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glia_protocol::NetworkId;
    use glia_protocol::descriptor::{SHARDS, dht_key};

    #[test]
    fn a_provider_may_only_use_its_own_shard_of_well_formed_keys() {
        let peer = PeerId([5; 32]);
        let (network, subnet): (NetworkId, SubnetName) = ("net".parse().unwrap(), "vision".parse().unwrap());
        let own = shard_of(&peer);
        assert!(is_own_key("net", &dht_key(&network, &subnet, 3, own), &peer));
        assert!(is_own_key("net", &dht_key(&network, &subnet, 255, own), &peer));
        assert!(!is_own_key("net", &dht_key(&network, &subnet, 3, (own + 1) % SHARDS), &peer));
        assert!(!is_own_key("other", &dht_key(&network, &subnet, 3, own), &peer));
        for odd in [format!("/glia/net/spec/vision/03/{own}"), format!("/glia/net/spec/Vision/3/{own}"), String::new()]
        {
            assert!(!is_own_key("net", odd.as_bytes(), &peer), "{odd}");
        }
        assert!(!is_own_key("net", &[0xff; 300], &peer));
    }
}
