//! The signed, expiring record by which an expert advertises its specialisation.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::{ContentHash, Hotkey, NetworkId, PeerId, SubnetName};
use crate::limits::{
    MAX_ADDRESSES, MAX_CENTROIDS, MAX_CHECKPOINT, MAX_CLOCK_SKEW_MS, MAX_DESCRIPTOR, MAX_DESCRIPTOR_LIFE_MS,
    MAX_FEATURES, MAX_TEXT,
};
use crate::schema::TaskSchema;
use crate::signature::{Binding, Signature, verify_peer};

/// A point of feature space the expert claims to know. A claim nominates; it proves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Centroid {
    /// Position in φ space: 1 to 256 finite numbers, as many in every centroid of a descriptor.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_FEATURES>")]
    pub mean: Vec<f32>,
    /// Share of the expert's training data near it, 0..1; the shares of a descriptor sum to at most 1.
    pub weight: f32,
    /// Root mean square distance of that data to `mean`.
    pub radius: f32,
}

/// How much the expert says it can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Largest batch of one request.
    pub max_batch: u32,
    /// Requests it holds before it answers `Busy`.
    pub max_queue: u32,
}

/// Everything a router must know to choose and call an expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertDescriptor {
    /// Network it belongs to.
    pub network: NetworkId,
    /// Subnet it serves.
    pub subnet: SubnetName,
    /// Who serves it (and signs this).
    pub peer: PeerId,
    /// Who is paid for it on chain.
    pub hotkey: Hotkey,
    /// Peer and hotkey vouch for each other.
    pub binding: Binding,
    /// Name for people, at most 128 bytes.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Input and output.
    pub schema: TaskSchema,
    /// Hash of the parameters that answer; part of the address of a forward request.
    pub checkpoint: ContentHash,
    /// Bytes of the checkpoint's file, which this peer hands out to whoever asks; `None`: a closed model.
    pub published: Option<u64>,
    /// Hash of the φ its centroids live in.
    pub feature_map: ContentHash,
    /// Claimed specialisation, 1 to 8 points.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CENTROIDS>")]
    pub centroids: Vec<Centroid>,
    /// Training examples it says it saw.
    pub examples: u64,
    /// Compute backend, e.g. `flex`.
    #[serde(deserialize_with = "bounded::text")]
    pub backend: String,
    /// Limits it sets itself.
    pub capacity: Capacity,
    /// QUIC addresses of its tensor endpoint, 1 to 8. IPv6 flow labels and scopes do not travel.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ADDRESSES>")]
    pub addresses: Vec<SocketAddr>,
    /// Grows with every new version; an older one never replaces a newer one.
    pub sequence: u64,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
    /// Milliseconds since the Unix epoch; at most 5 minutes after `issued_at_ms`.
    pub expires_at_ms: u64,
}

/// Why a descriptor is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The bytes are not a descriptor.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It belongs to another network.
    #[error("descriptor of network {got}, this is {want}")]
    WrongNetwork {
        /// Its network.
        got: NetworkId,
        /// Ours.
        want: NetworkId,
    },
    /// Its Ed25519 signature does not hold.
    #[error("descriptor of {0} is not signed by it")]
    BadSignature(PeerId),
    /// Peer and hotkey do not vouch for each other.
    #[error("descriptor of {peer} claims hotkey {hotkey} without proof")]
    BadBinding {
        /// The peer.
        peer: PeerId,
        /// The claimed hotkey.
        hotkey: Hotkey,
    },
    /// It is past its expiry.
    #[error("descriptor of {peer} expired {ago_ms} ms ago")]
    Expired {
        /// The peer.
        peer: PeerId,
        /// How long ago.
        ago_ms: u64,
    },
    /// Its lifetime is impossible or it comes from the future.
    #[error("descriptor of {0} has an impossible lifetime (check both clocks)")]
    BadLifetime(PeerId),
    /// It came from somebody who is not its author.
    #[error("descriptor of {author} was served by {server}")]
    NotItsOwn {
        /// Signed by.
        author: PeerId,
        /// Served by.
        server: PeerId,
    },
    /// An older version than the one already known.
    #[error("descriptor sequence {got} of {peer} is older than {known}")]
    Stale {
        /// The peer.
        peer: PeerId,
        /// Its sequence.
        got: u64,
        /// The one we hold.
        known: u64,
    },
}

const WHAT: &str = "expert descriptor";
/// What rounding may add to a sum of weights.
const WEIGHT_TOLERANCE: f32 = 1e-3;
const DOMAIN: &[u8] = b"glia-descriptor-v1";

impl ExpertDescriptor {
    /// Bytes that the peer signs: a domain separator and the encoded descriptor.
    fn signed_message(body: &[u8]) -> Vec<u8> {
        [DOMAIN, body].concat()
    }

    /// Encodes and signs; `sign` is the peer's Ed25519 key. Refuses what every reader would refuse.
    pub fn sign(&self, sign: impl FnOnce(&[u8]) -> Signature) -> Result<SignedDescriptor, EncodeError> {
        self.validate()?;
        let body = codec::encode(WHAT, self, MAX_DESCRIPTOR)?;
        let signature = sign(&Self::signed_message(&body));
        Ok(SignedDescriptor { body, signature })
    }

    /// Checks counts, lengths, numbers and addresses; signatures and times are checked by [`SignedDescriptor::verify`].
    pub fn validate(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::malformed(WHAT, why));
        self.schema.validate()?;
        if !bounded::is_text(&self.name) || !bounded::is_text(&self.backend) {
            return refuse(format!("a text is longer than {MAX_TEXT} bytes or has control characters"));
        }
        if let Some(bytes) = self.published
            && !(1..=MAX_CHECKPOINT as u64).contains(&bytes)
        {
            return refuse(format!("a published checkpoint of {bytes} bytes, 1 to {MAX_CHECKPOINT} are allowed"));
        }
        if self.centroids.is_empty() || self.centroids.len() > MAX_CENTROIDS {
            return refuse(format!("{} centroids, 1 to {MAX_CENTROIDS} are allowed", self.centroids.len()));
        }
        let features = self.centroids[0].mean.len();
        for centroid in &self.centroids {
            let numbers = centroid.mean.iter().chain([&centroid.weight, &centroid.radius]);
            if !(1..=MAX_FEATURES).contains(&features) || centroid.mean.len() != features {
                return refuse(format!("centroids need the same 1 to {MAX_FEATURES} dimensions each"));
            }
            if !numbers.into_iter().all(|v| v.is_finite()) {
                return refuse("a centroid is not finite".to_owned());
            }
            if !(0.0..=1.0).contains(&centroid.weight) || centroid.radius < 0.0 {
                return refuse("a centroid has a weight outside 0..1 or a negative radius".to_owned());
            }
        }
        if self.centroids.iter().map(|c| c.weight).sum::<f32>() > 1.0 + WEIGHT_TOLERANCE {
            return refuse("the weights of the centroids sum to more than 1".to_owned());
        }
        if self.addresses.is_empty() || self.addresses.len() > MAX_ADDRESSES {
            return refuse(format!("{} addresses, 1 to {MAX_ADDRESSES} are allowed", self.addresses.len()));
        }
        if let Some(address) = self.addresses.iter().find(|address| !is_dialable(address)) {
            return refuse(format!("nobody can be reached at {address}"));
        }
        if self.capacity.max_batch == 0 {
            return refuse("max_batch is 0".to_owned());
        }
        Ok(())
    }
}

/// Whether one machine can listen there. Loopback and private addresses can: local networks use them.
fn is_dialable(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// A descriptor as it travels: the signature covers the bytes that came, not a re-encoding of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDescriptor {
    #[serde(serialize_with = "bounded::write_bytes", deserialize_with = "bounded::bytes::<_, MAX_DESCRIPTOR>")]
    body: Vec<u8>,
    signature: Signature,
}

impl SignedDescriptor {
    /// The descriptor, if every claim it makes about itself holds: signature, network, binding, lifetime at `now_ms`.
    ///
    /// What a peer says about its skill is *not* checked here; that is what probes are for.
    pub fn verify(&self, network: &NetworkId, now_ms: u64) -> Result<ExpertDescriptor, DescriptorError> {
        self.check(self.read()?, network, now_ms)
    }

    /// [`Self::verify`] for a router: the descriptor must also come from its author (`server` is the peer that sent
    /// it), and be no older than the one already `known`, which answers with a sequence for a descriptor that claims
    /// to be of the same expert. The same sequence again is a refetch and fine.
    pub fn accept(
        &self,
        network: &NetworkId,
        server: &PeerId,
        known: impl FnOnce(&ExpertDescriptor) -> Option<u64>,
        now_ms: u64,
    ) -> Result<ExpertDescriptor, DescriptorError> {
        let descriptor = self.read()?;
        // Before any signature: a stranger's descriptors must not cost three verifications each.
        if descriptor.peer != *server {
            return Err(DescriptorError::NotItsOwn { author: descriptor.peer, server: *server });
        }
        let descriptor = self.check(descriptor, network, now_ms)?;
        match known(&descriptor) {
            Some(known) if descriptor.sequence < known => {
                Err(DescriptorError::Stale { peer: descriptor.peer, got: descriptor.sequence, known })
            }
            _ => Ok(descriptor),
        }
    }

    /// Decodes the body; nothing it says is believed yet.
    fn read(&self) -> Result<ExpertDescriptor, DecodeError> {
        let descriptor: ExpertDescriptor = codec::decode(WHAT, &self.body, MAX_DESCRIPTOR)?;
        descriptor.validate()?;
        Ok(descriptor)
    }

    fn check(
        &self,
        descriptor: ExpertDescriptor,
        network: &NetworkId,
        now_ms: u64,
    ) -> Result<ExpertDescriptor, DescriptorError> {
        let peer = descriptor.peer;
        if descriptor.network != *network {
            return Err(DescriptorError::WrongNetwork { got: descriptor.network, want: network.clone() });
        }
        if !verify_peer(&peer, &ExpertDescriptor::signed_message(&self.body), &self.signature) {
            return Err(DescriptorError::BadSignature(peer));
        }
        let life = descriptor.expires_at_ms.checked_sub(descriptor.issued_at_ms);
        let from_future = descriptor.issued_at_ms > now_ms.saturating_add(MAX_CLOCK_SKEW_MS);
        if from_future || life.is_none_or(|life| life == 0 || life > MAX_DESCRIPTOR_LIFE_MS) {
            return Err(DescriptorError::BadLifetime(peer));
        }
        if descriptor.expires_at_ms <= now_ms {
            return Err(DescriptorError::Expired { peer, ago_ms: now_ms - descriptor.expires_at_ms });
        }
        if !descriptor.binding.holds(network, &peer, &descriptor.hotkey) {
            return Err(DescriptorError::BadBinding { peer, hotkey: descriptor.hotkey });
        }
        Ok(descriptor)
    }
}

/// Shards of one region's DHT key: Kademlia keeps at most 20 providers under one key, so four shards carry 80.
pub const SHARDS: u8 = 4;

/// The DHT key under which experts of `subnet` that know `region` provide themselves.
pub fn dht_key(network: &NetworkId, subnet: &SubnetName, region: u8, shard: u8) -> Vec<u8> {
    format!("/glia/{network}/spec/{subnet}/{region}/{shard}").into_bytes()
}

/// The shard a peer belongs to.
pub fn shard_of(peer: &PeerId) -> u8 {
    ContentHash::of(&peer.0).0[0] % SHARDS
}
