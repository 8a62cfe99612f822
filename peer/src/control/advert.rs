//! What this peer advertises: descriptors, DHT records and heartbeats, renewed on time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use glia_protocol::gossip::{Heartbeat, Presence};
use glia_protocol::limits::MAX_DESCRIPTOR_LIFE_MS;
use glia_protocol::{PeerId, SignedDescriptor, SubnetName};
use libp2p::gossipsub::PublishError;
use libp2p::kad::RecordKey;

use super::task::Task;
use crate::errors::AdvertiseError;
use crate::network::now_ms;
use crate::offer::{Describer, ExpertOffer, LoadSource};

/// Subnets one heartbeat names.
const MAX_SUBNETS: usize = 16;
/// First wait before records are provided anew because the peer has new neighbours; doubles each time, for the
/// first neighbours matter most.
const REPROVIDE_MIN: Duration = Duration::from_millis(300);

/// Offers in force.
pub(super) struct Advert {
    offers: Vec<ExpertOffer>,
    load: LoadSource,
    describer: Describer,
    descriptors: Vec<(SubnetName, SignedDescriptor)>,
    keys: Vec<Vec<u8>>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) renew_at: Instant,
    beat_at: Instant,
    provide_at: Instant,
    provided_at: Instant,
    reprovide_wait: Duration,
}

impl Advert {
    /// Signed descriptors of one subnet.
    pub(super) fn descriptors(&self, subnet: &SubnetName) -> Vec<SignedDescriptor> {
        self.descriptors.iter().filter(|(s, _)| s == subnet).map(|(_, d)| d.clone()).collect()
    }

    fn beat(&self, peer: PeerId, sequence: u64, presence: Presence) -> Heartbeat {
        let subnets: BTreeSet<_> = self.offers.iter().map(|offer| offer.subnet.clone()).collect();
        Heartbeat { peer, subnets: subnets.into_iter().take(MAX_SUBNETS).collect(), sequence, presence }
    }
}

impl Task {
    /// A number that grows over restarts too: the clock, or one more than the last.
    fn next_sequence(&mut self) -> u64 {
        self.sequence = now_ms().max(self.sequence + 1);
        self.sequence
    }

    fn descriptor_ttl_ms(&self) -> u64 {
        let ttl = u64::try_from(self.config.timing.descriptor_ttl.as_millis()).unwrap_or(u64::MAX);
        ttl.clamp(1, MAX_DESCRIPTOR_LIFE_MS)
    }

    /// Puts `offers` into force instead of the earlier ones.
    pub(super) fn advertise(
        &mut self,
        offers: Vec<ExpertOffer>,
        load: LoadSource,
        now: Instant,
    ) -> Result<(), AdvertiseError> {
        let signer = self.config.hotkey.clone().ok_or(AdvertiseError::NoHotkey)?;
        let describer = Describer::new(self.config.network.clone(), self.config.identity.clone(), signer);
        let addresses = self.shared.data_addresses(self.data_address);
        let ttl_ms = self.descriptor_ttl_ms();
        let sequence = self.next_sequence();
        let descriptors = describer.describe(&offers, &addresses, sequence, now_ms(), ttl_ms)?;
        let keys = describer.keys(&offers);
        self.stop_providing(&keys);
        self.advert = Some(Advert {
            offers,
            load,
            describer,
            descriptors,
            keys,
            addresses,
            renew_at: now + Duration::from_millis(ttl_ms) / 3,
            beat_at: now,
            provide_at: now,
            provided_at: now,
            reprovide_wait: REPROVIDE_MIN,
        });
        self.provide(now)
    }

    /// Stops providing the keys in force but not in `but`.
    fn stop_providing(&mut self, but: &[Vec<u8>]) {
        let Some(advert) = &self.advert else { return };
        for key in advert.keys.iter().filter(|key| !but.contains(key)) {
            self.swarm.behaviour_mut().kad.stop_providing(&RecordKey::new(key));
        }
    }

    /// Leaves provider records with the peers nearest to each key.
    fn provide(&mut self, now: Instant) -> Result<(), AdvertiseError> {
        let Some(advert) = &mut self.advert else { return Ok(()) };
        advert.provided_at = now;
        advert.provide_at = now + self.config.timing.provider_ttl / 3;
        let kad = &mut self.swarm.behaviour_mut().kad;
        for key in &advert.keys {
            kad.start_providing(RecordKey::new(key)).map_err(|e| AdvertiseError::Store(e.to_string()))?;
        }
        Ok(())
    }

    /// A new neighbour in the routing table may be nearer to our keys: provide again soon, but not all the time.
    pub(super) fn on_new_neighbour(&mut self, now: Instant) {
        let longest = self.config.timing.provider_ttl / 3;
        let Some(advert) = &mut self.advert else { return };
        let soon = (advert.provided_at + advert.reprovide_wait).max(now + REPROVIDE_MIN);
        if soon < advert.provide_at {
            advert.provide_at = soon;
            advert.reprovide_wait = (advert.reprovide_wait * 2).min(longest);
        }
    }

    /// Ends the advertisement and tells everybody.
    pub(super) fn withdraw(&mut self) {
        self.stop_providing(&[]);
        let Some(advert) = self.advert.take() else { return };
        let beat = advert.beat(self.config.identity.peer_id(), self.next_sequence(), Presence::Leaving);
        self.publish(&beat);
    }

    /// Does what is due: heartbeat, new descriptors, DHT records.
    pub(super) fn tend_advert(&mut self, now: Instant) {
        let (peer, ttl_ms) = (self.config.identity.peer_id(), self.descriptor_ttl_ms());
        let heartbeat = self.config.timing.heartbeat;
        let due = |advert: &Advert| now >= advert.renew_at.min(advert.beat_at).min(advert.provide_at);
        if !self.advert.as_ref().is_some_and(due) {
            return;
        }
        let sequence = self.next_sequence();
        let Some(advert) = &mut self.advert else { return };
        if now >= advert.renew_at {
            advert.addresses = self.shared.data_addresses(self.data_address);
            match advert.describer.describe(&advert.offers, &advert.addresses, sequence, now_ms(), ttl_ms) {
                Ok(descriptors) => advert.descriptors = descriptors,
                Err(error) => tracing::warn!(%error, "descriptors could not be renewed"),
            }
            advert.renew_at = now + Duration::from_millis(ttl_ms) / 3;
        }
        let provide = now >= advert.provide_at;
        if now >= advert.beat_at {
            advert.beat_at = now + heartbeat;
            let load = (advert.load)();
            let beat = advert.beat(peer, sequence, Presence::Here(load));
            self.publish(&beat);
        }
        if provide && let Err(error) = self.provide(now) {
            tracing::warn!(%error, "DHT records could not be renewed");
        }
    }

    fn publish(&mut self, beat: &Heartbeat) {
        let topic = self.topic.clone();
        match beat.to_bytes() {
            Ok(bytes) => match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
                Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
                Err(error) => tracing::debug!(%error, "heartbeat not sent"),
            },
            Err(error) => tracing::warn!(%error, "heartbeat does not fit"),
        }
    }
}
