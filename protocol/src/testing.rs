//! For tests of every crate: keys, signed samples, and proptest strategies for whatever travels.
//!
//! Everything a strategy makes is valid: it encodes, and decodes to itself.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ed25519_dalek::Signer;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::descriptor::{Capacity, Centroid, ExpertDescriptor};
use crate::exchange::{ControlRequest, Hello};
use crate::feature_map::FeatureMap;
use crate::forward::{ForwardRequest, ForwardResponse, Message, Refusal};
use crate::gossip::{Heartbeat, Load, Presence};
use crate::ids::{ContentHash, Hotkey, NetworkId, PeerId, RequestId, SubnetName};
use crate::limits::{
    MAX_ADDRESSES, MAX_CENTROIDS, MAX_CHECKPOINT, MAX_CHUNK, MAX_DESCRIPTOR_LIFE_MS, MAX_RANK, MAX_SUBNETS,
    MAX_TENSORS, MAX_VERSIONS,
};
use crate::receipt::Receipt;
use crate::schema::{Task, TaskSchema, TensorSpec};
use crate::signature::{Binding, Signature};
use crate::tensor::{DType, Tensor, TensorHeader};
use crate::transfer::{CheckpointChunk, CheckpointRequest};

/// A peer's Ed25519 key made from a seed.
pub struct PeerKey(ed25519_dalek::SigningKey);

impl PeerKey {
    /// The key of `seed`; the same seed is the same peer.
    pub fn from_seed(seed: u8) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    /// Its peer id.
    pub fn id(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// Its signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// An sr25519 hotkey made from a seed.
pub struct HotKey(schnorrkel::Keypair);

impl HotKey {
    /// The key of `seed`; the same seed is the same hotkey.
    pub fn from_seed(seed: u8) -> Self {
        // Any 32 bytes are a mini secret key.
        match schnorrkel::MiniSecretKey::from_bytes(&[seed; 32]) {
            Ok(mini) => Self(mini.expand_to_keypair(schnorrkel::ExpansionMode::Ed25519)),
            Err(_) => unreachable!("a mini secret key is any 32 bytes"),
        }
    }

    /// Its public key.
    pub fn id(&self) -> Hotkey {
        Hotkey(self.0.public.to_bytes())
    }

    /// Its signature; another one each time.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign_simple(b"substrate", message).to_bytes())
    }
}

/// The binding of `peer` and `hotkey`.
pub fn bind(network: &NetworkId, peer: &PeerKey, hotkey: &HotKey) -> Binding {
    Binding {
        by_peer: peer.sign(&Binding::message_for_peer(network, &peer.id(), &hotkey.id())),
        by_hotkey: hotkey.sign(&Binding::message_for_hotkey(network, &peer.id(), &hotkey.id())),
    }
}

/// A descriptor of `peer` in which everything holds from `now_ms` for two minutes.
pub fn descriptor(network: &NetworkId, peer: &PeerKey, hotkey: &HotKey, now_ms: u64) -> ExpertDescriptor {
    ExpertDescriptor {
        network: network.clone(),
        subnet: subnet("vision"),
        peer: peer.id(),
        hotkey: hotkey.id(),
        binding: bind(network, peer, hotkey),
        name: "digits".to_owned(),
        schema: schema(3),
        checkpoint: ContentHash::of(b"checkpoint"),
        published: Some(73_000),
        feature_map: ContentHash::of(b"feature map"),
        centroids: vec![
            Centroid { mean: vec![0.5, -0.5, 0.0, 1.0], weight: 0.75, radius: 0.25 },
            Centroid { mean: vec![-1.0, 0.0, 0.25, 0.0], weight: 0.25, radius: 0.5 },
        ],
        examples: 60_000,
        backend: "flex".to_owned(),
        capacity: Capacity { max_batch: 64, max_queue: 256 },
        addresses: vec![
            SocketAddr::from((Ipv4Addr::LOCALHOST, 4001)),
            SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 4001)),
        ],
        sequence: 7,
        issued_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(120_000),
    }
}

/// A network id.
///
/// # Panics
/// When `name` is none.
pub fn network(name: &str) -> NetworkId {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// A subnet name.
///
/// # Panics
/// When `name` is none.
pub fn subnet(name: &str) -> SubnetName {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// A schema of 28×28 bytes in, `classes` probabilities out.
pub fn schema(classes: u32) -> TaskSchema {
    TaskSchema {
        task: Task::Classification { classes: (0..classes).map(|i| format!("class {i}")).collect() },
        input: TensorSpec { name: "image".to_owned(), dtype: DType::U8, shape: vec![28, 28] },
        output: TensorSpec { name: "probabilities".to_owned(), dtype: DType::F32, shape: vec![classes] },
    }
}

/// A small φ: 4×4 inputs pooled to 2×2, three features, two regions.
pub fn feature_map() -> FeatureMap {
    FeatureMap {
        input: (4, 4),
        pool: 2,
        mean: vec![0.1, 0.2, 0.3, 0.4],
        components: vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.0, 0.25, 0.25, 0.25, 0.25],
        anchors: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
}

/// Any text that may travel.
pub fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äß語🦀.:/-]{0,32}"
}

/// Any network id.
pub fn networks() -> impl Strategy<Value = NetworkId> {
    "[a-z0-9-]{1,32}".prop_map(|name| network(&name))
}

/// Any subnet name.
pub fn subnets() -> impl Strategy<Value = SubnetName> {
    "[a-z0-9-]{1,32}".prop_map(|name| subnet(&name))
}

/// Any request id.
pub fn request_ids() -> impl Strategy<Value = RequestId> {
    any::<[u8; 16]>().prop_map(RequestId)
}

/// Any content hash.
pub fn hashes() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 32]>().prop_map(ContentHash)
}

/// Any dtype.
pub fn dtypes() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::ALL.to_vec())
}

/// Any bytes of signature length (it verifies nothing).
pub fn signatures() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        Signature(bytes)
    })
}

/// Up to [`MAX_TENSORS`] tensors of different names with any bytes, NaN among them.
pub fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
    let one = (text(), dtypes(), vec(1u32..4, 0..=MAX_RANK.min(5)), any::<u64>());
    vec(one, 0..=MAX_TENSORS).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(i, (name, dtype, shape, seed))| {
                let header = TensorHeader { name: format!("{i} {name}"), dtype, shape };
                let len = header.byte_len().unwrap_or_else(|error| panic!("{error}"));
                let mut data = vec![0; len];
                blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
                Tensor::new(header, data.into()).unwrap_or_else(|error| panic!("{error}"))
            })
            .collect()
    })
}

/// Any refusal.
pub fn refusals() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u32>().prop_map(|retry_after_ms| Refusal::Busy { retry_after_ms }),
        Just(Refusal::UnknownExpert),
        text().prop_map(Refusal::BadShape),
        Just(Refusal::Deadline),
        text().prop_map(Refusal::TooLarge),
        Just(Refusal::Unauthorised),
        text().prop_map(Refusal::Failed),
    ]
}

/// Any receipt (its signature verifies nothing).
pub fn receipts() -> impl Strategy<Value = Receipt> {
    let hashes = (hashes(), hashes(), hashes());
    (request_ids(), any::<[u8; 32]>(), subnets(), hashes, any::<u64>(), signatures()).prop_map(
        |(request, peer, subnet, (checkpoint, input, output), answered_at_ms, signature)| Receipt {
            request,
            peer: PeerId(peer),
            subnet,
            checkpoint,
            input,
            output,
            answered_at_ms,
            signature,
        },
    )
}

/// Any question for a piece of a checkpoint, or a piece.
pub fn transfers() -> impl Strategy<Value = Message> {
    let offsets = 0..MAX_CHECKPOINT as u64;
    let request = (request_ids(), subnets(), hashes(), offsets.clone(), 1..=MAX_CHUNK as u32).prop_map(
        |(id, subnet, checkpoint, offset, length)| CheckpointRequest { id, subnet, checkpoint, offset, length }.into(),
    );
    let chunk = (request_ids(), hashes(), vec(any::<u8>(), 1..2000), offsets, any::<u64>()).prop_map(
        |(id, checkpoint, bytes, offset, more)| {
            let offset = offset.min((MAX_CHECKPOINT - bytes.len()) as u64);
            let end = offset + bytes.len() as u64;
            let total = end + more % (MAX_CHECKPOINT as u64 - end + 1);
            CheckpointChunk { id, checkpoint, total, offset, bytes: bytes.into() }.into()
        },
    );
    prop_oneof![request, chunk]
}

/// Any message of the data plane.
pub fn messages() -> impl Strategy<Value = Message> {
    let request = (request_ids(), subnets(), hashes(), any::<u32>(), tensors()).prop_map(
        |(id, subnet, checkpoint, budget_ms, tensors)| {
            Message::Request(ForwardRequest { id, subnet, checkpoint, budget_ms, tensors })
        },
    );
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>());
    let response = (request_ids(), hashes(), numbers, tensors(), proptest::option::of(receipts())).prop_map(
        |(id, checkpoint, (queue_us, compute_us, batch), tensors, receipt)| {
            Message::Response(ForwardResponse { id, checkpoint, queue_us, compute_us, batch, tensors, receipt })
        },
    );
    let refusal = (request_ids(), refusals()).prop_map(|(id, refusal)| Message::Refusal { id, refusal });
    prop_oneof![request, response, refusal, transfers()]
}

/// Any hello.
pub fn hellos() -> impl Strategy<Value = Hello> {
    (networks(), vec(any::<u16>(), 1..=MAX_VERSIONS), text()).prop_map(|(network, versions, agent)| Hello {
        network,
        versions,
        agent,
    })
}

/// Any question of the control plane.
pub fn control_requests() -> impl Strategy<Value = ControlRequest> {
    prop_oneof![
        hellos().prop_map(ControlRequest::Hello),
        subnets().prop_map(|subnet| ControlRequest::DescribeExperts { subnet }),
        any::<[u8; 32]>().prop_map(|nonce| ControlRequest::ProvePossession { nonce }),
    ]
}

/// Any heartbeat.
pub fn heartbeats() -> impl Strategy<Value = Heartbeat> {
    let load = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>())
        .prop_map(|(queued, served, refused, mean_us)| Load { queued, served, refused, mean_us });
    let presence = prop_oneof![load.prop_map(Presence::Here), Just(Presence::Leaving)];
    (any::<[u8; 32]>(), vec(subnets(), 0..=MAX_SUBNETS), any::<u64>(), presence)
        .prop_map(|(peer, subnets, sequence, presence)| Heartbeat { peer: PeerId(peer), subnets, sequence, presence })
}

/// Any socket address that a descriptor may carry.
pub fn addresses() -> impl Strategy<Value = SocketAddr> {
    let v4 =
        (1u8..224, any::<[u8; 3]>(), 1u16..).prop_map(|(a, [b, c, d], port)| SocketAddr::from(([a, b, c, d], port)));
    let v6 = (any::<[u16; 7]>(), 1u16..).prop_map(|([a, b, c, d, e, f, g], port)| {
        SocketAddr::from((Ipv6Addr::new(0x2000 | (a & 0xfff), b, c, d, e, f, g, 1), port))
    });
    prop_oneof![v4, v6]
}

/// Any schema of a classification.
pub fn schemas() -> impl Strategy<Value = TaskSchema> {
    let output = proptest::sample::select(vec![DType::F32, DType::F16, DType::BF16]);
    (vec(text(), 2..40), text(), text(), dtypes(), output, vec(1u32..32, 0..5)).prop_map(
        |(classes, input, name, dtype, output, shape)| TaskSchema {
            output: TensorSpec { name, dtype: output, shape: vec![classes.len() as u32] },
            task: Task::Classification { classes },
            input: TensorSpec { name: input, dtype, shape },
        },
    )
}

/// Any claimed specialisation.
pub fn centroids() -> impl Strategy<Value = Vec<Centroid>> {
    (1usize..=MAX_CENTROIDS, 1usize..40)
        .prop_flat_map(|(count, features)| {
            let one = (vec(-1e6f32..1e6, features), 0f32..=1.0, 0f32..1e6);
            vec(one, count)
        })
        .prop_map(|list| {
            let count = list.len() as f32;
            let one = |(mean, weight, radius)| Centroid { mean, weight: weight / count, radius };
            list.into_iter().map(one).collect()
        })
}

/// Any descriptor that `peer` may sign, with a binding that holds; issued at `now_ms`.
pub fn descriptors(peer: u8, hotkey: u8, now_ms: u64) -> impl Strategy<Value = ExpertDescriptor> {
    let texts = (text(), text());
    let numbers = (any::<u64>(), 1u32.., any::<u32>(), any::<u64>(), 1u64..=MAX_DESCRIPTOR_LIFE_MS);
    let lists = (schemas(), centroids(), vec(addresses(), 1..=MAX_ADDRESSES));
    let published = proptest::option::of(1..=MAX_CHECKPOINT as u64);
    (networks(), subnets(), texts, numbers, lists, (hashes(), published, hashes())).prop_map(
        move |(network, subnet, (name, backend), numbers, (schema, centroids, addresses), of)| {
            let (checkpoint, published, feature_map) = of;
            let (examples, max_batch, max_queue, sequence, life) = numbers;
            ExpertDescriptor {
                subnet,
                name,
                schema,
                checkpoint,
                published,
                feature_map,
                centroids,
                examples,
                backend,
                capacity: Capacity { max_batch, max_queue },
                addresses,
                sequence,
                expires_at_ms: now_ms.saturating_add(life),
                ..descriptor(&network, &PeerKey::from_seed(peer), &HotKey::from_seed(hotkey), now_ms)
            }
        },
    )
}

/// Any small feature map.
pub fn feature_maps() -> impl Strategy<Value = FeatureMap> {
    (1u32..5, 1u32..5, 1u32..4, 1usize..6, 1usize..6)
        .prop_flat_map(|(rows, columns, pool, features, regions)| {
            let pooled = (rows * columns) as usize;
            let number = -1e3f32..1e3;
            (
                Just((rows * pool, columns * pool)),
                Just(pool),
                vec(number.clone(), pooled),
                vec(number.clone(), pooled * features),
                vec(number, features * regions),
            )
        })
        .prop_map(|(input, pool, mean, components, anchors)| FeatureMap { input, pool, mean, components, anchors })
}
