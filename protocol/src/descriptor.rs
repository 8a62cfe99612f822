//! The signed, expiring record by which an expert advertises its specialisation.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::{ContentHash, Hotkey, NetworkId, PeerId, SubnetName};
use crate::limits::{
    MAX_ADDRESSES, MAX_CENTROIDS, MAX_CLOCK_SKEW_MS, MAX_DESCRIPTOR, MAX_DESCRIPTOR_LIFE_MS, MAX_FEATURES, MAX_TEXT,
};
use crate::schema::TaskSchema;
use crate::signature::{Binding, Signature, verify_peer};

/// A point of feature space the expert claims to know. A claim nominates; it proves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Centroid {
    /// Position in φ space.
    pub mean: Vec<f32>,
    /// Share of the expert's training data near it, 0..1.
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
    /// Name for people.
    pub name: String,
    /// Input and output.
    pub schema: TaskSchema,
    /// Hash of the parameters that answer; part of the address of a forward request.
    pub checkpoint: ContentHash,
    /// Hash of the φ its centroids live in.
    pub feature_map: ContentHash,
    /// Claimed specialisation, at most 8 points.
    pub centroids: Vec<Centroid>,
    /// Training examples it says it saw.
    pub examples: u64,
    /// Compute backend, e.g. `flex`.
    pub backend: String,
    /// Limits it sets itself.
    pub capacity: Capacity,
    /// QUIC addresses of its tensor endpoint.
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
    #[error("descriptor sequence {got} of {peer} is not newer than {known}")]
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
const DOMAIN: &[u8] = b"glia-descriptor-v1";

impl ExpertDescriptor {
    /// Bytes that the peer signs: a domain separator and the encoded descriptor.
    fn signed_message(body: &[u8]) -> Vec<u8> {
        [DOMAIN, body].concat()
    }

    /// Encodes and signs; `sign` is the peer's Ed25519 key.
    pub fn sign(&self, sign: impl FnOnce(&[u8]) -> Signature) -> Result<SignedDescriptor, EncodeError> {
        let body = codec::encode(WHAT, self, MAX_DESCRIPTOR)?;
        let signature = sign(&Self::signed_message(&body));
        Ok(SignedDescriptor { body, signature })
    }

    /// Checks counts, lengths and numbers of a decoded descriptor.
    fn validate(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::malformed(WHAT, why));
        self.schema.validate()?;
        if self.name.len() > MAX_TEXT || self.backend.len() > MAX_TEXT {
            return refuse(format!("a text is longer than {MAX_TEXT} bytes"));
        }
        if self.centroids.is_empty() || self.centroids.len() > MAX_CENTROIDS {
            return refuse(format!("{} centroids, 1 to {MAX_CENTROIDS} are allowed", self.centroids.len()));
        }
        for centroid in &self.centroids {
            let numbers = centroid.mean.iter().chain([&centroid.weight, &centroid.radius]);
            if centroid.mean.len() > MAX_FEATURES || !numbers.into_iter().all(|v| v.is_finite()) {
                return refuse("a centroid is too long or not finite".to_owned());
            }
            if !(0.0..=1.0).contains(&centroid.weight) || centroid.radius < 0.0 {
                return refuse("a centroid has a weight outside 0..1 or a negative radius".to_owned());
            }
        }
        if self.addresses.is_empty() || self.addresses.len() > MAX_ADDRESSES {
            return refuse(format!("{} addresses, 1 to {MAX_ADDRESSES} are allowed", self.addresses.len()));
        }
        if self.capacity.max_batch == 0 {
            return refuse("max_batch is 0".to_owned());
        }
        Ok(())
    }
}

/// A descriptor as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDescriptor {
    body: Vec<u8>,
    signature: Signature,
}

impl SignedDescriptor {
    /// The descriptor, if every claim it makes about itself holds: signature, network, binding, lifetime at `now_ms`.
    ///
    /// What a peer says about its skill is *not* checked here; that is what probes are for.
    pub fn verify(&self, network: &NetworkId, now_ms: u64) -> Result<ExpertDescriptor, DescriptorError> {
        let descriptor: ExpertDescriptor = codec::decode(WHAT, &self.body, MAX_DESCRIPTOR)?;
        descriptor.validate()?;
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
