//! From what an expert offers to signed descriptors.

use std::net::SocketAddr;
use std::sync::Arc;

use glia_protocol::descriptor::{Capacity, Centroid, dht_key, shard_of};
use glia_protocol::gossip::Load;
use glia_protocol::limits::MAX_DESCRIPTORS;
use glia_protocol::schema::TaskSchema;
use glia_protocol::signature::Binding;
use glia_protocol::{ContentHash, ExpertDescriptor, NetworkId, SignedDescriptor, SubnetName};

use crate::config::HotkeySigner;
use crate::errors::AdvertiseError;
use crate::identity::Identity;

/// Tells the present load of an expert peer; called at each heartbeat, must not block.
pub type LoadSource = Arc<dyn Fn() -> Load + Send + Sync>;

/// One expert as its owner describes it; the network adds who, where and until when.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertOffer {
    /// Subnet it serves.
    pub subnet: SubnetName,
    /// Name for people.
    pub name: String,
    /// Input and output.
    pub schema: TaskSchema,
    /// Hash of the parameters that answer.
    pub checkpoint: ContentHash,
    /// Bytes of the checkpoint's file, if [`crate::ForwardHandler::checkpoint`] hands it out; `None`: a closed model.
    pub published: Option<u64>,
    /// Hash of the φ its centroids live in.
    pub feature_map: ContentHash,
    /// Claimed specialisation.
    pub centroids: Vec<Centroid>,
    /// Regions of φ space it wants to be found under.
    pub regions: Vec<u8>,
    /// Training examples it saw.
    pub examples: u64,
    /// Compute backend, e.g. `flex`.
    pub backend: String,
    /// Limits it sets itself.
    pub capacity: Capacity,
}

/// Signs offers as descriptors of one peer and hotkey.
pub(crate) struct Describer {
    network: NetworkId,
    identity: Identity,
    signer: HotkeySigner,
    binding: Binding,
}

impl Describer {
    pub(crate) fn new(network: NetworkId, identity: Identity, signer: HotkeySigner) -> Self {
        let (peer, hotkey) = (identity.peer_id(), signer.hotkey);
        let binding = Binding {
            by_peer: identity.sign(&Binding::message_for_peer(&network, &peer, &hotkey)),
            by_hotkey: (signer.sign)(&Binding::message_for_hotkey(&network, &peer, &hotkey)),
        };
        Self { network, identity, signer, binding }
    }

    /// Signed descriptors of `offers` with this `sequence`, valid from `now_ms` for `ttl_ms`; refuses what another
    /// peer would refuse.
    pub(crate) fn describe(
        &self,
        offers: &[ExpertOffer],
        addresses: &[SocketAddr],
        sequence: u64,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Result<Vec<(SubnetName, SignedDescriptor)>, AdvertiseError> {
        let mut signed = Vec::with_capacity(offers.len());
        for offer in offers {
            let in_subnet = offers.iter().filter(|o| o.subnet == offer.subnet).count();
            if in_subnet > MAX_DESCRIPTORS {
                return Err(AdvertiseError::TooMany(in_subnet));
            }
            let descriptor = ExpertDescriptor {
                network: self.network.clone(),
                subnet: offer.subnet.clone(),
                peer: self.identity.peer_id(),
                hotkey: self.signer.hotkey,
                binding: self.binding.clone(),
                name: offer.name.clone(),
                schema: offer.schema.clone(),
                checkpoint: offer.checkpoint,
                published: offer.published,
                feature_map: offer.feature_map,
                centroids: offer.centroids.clone(),
                examples: offer.examples,
                backend: offer.backend.clone(),
                capacity: offer.capacity,
                addresses: addresses.to_vec(),
                sequence,
                issued_at_ms: now_ms,
                expires_at_ms: now_ms + ttl_ms,
            };
            let record = descriptor.sign(|message| self.identity.sign(message))?;
            record.verify(&self.network, now_ms)?;
            signed.push((offer.subnet.clone(), record));
        }
        Ok(signed)
    }

    /// DHT keys under which these offers are found, each once.
    pub(crate) fn keys(&self, offers: &[ExpertOffer]) -> Vec<Vec<u8>> {
        let shard = shard_of(&self.identity.peer_id());
        let mut keys: Vec<_> = offers
            .iter()
            .flat_map(|offer| offer.regions.iter().map(|&region| dht_key(&self.network, &offer.subnet, region, shard)))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
