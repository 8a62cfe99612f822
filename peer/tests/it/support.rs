//! Peers, hotkeys, offers and handlers for tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use glia_peer::{ExpertOffer, ForwardHandler, HotkeySigner, Identity, Network, NetworkConfig};
use glia_protocol::descriptor::{Capacity, Centroid, SHARDS};
use glia_protocol::gossip::Load;
use glia_protocol::schema::{Task, TaskSchema, TensorSpec};
use glia_protocol::signature::Signature;
use glia_protocol::{
    ContentHash, DType, ForwardRequest, ForwardResponse, Hotkey, NetworkId, PeerId, Refusal, RequestId, SubnetName,
    Tensor,
};

/// Longer than anything takes on a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn network_id() -> NetworkId {
    "test".parse().unwrap()
}

pub(crate) fn vision() -> SubnetName {
    "vision".parse().unwrap()
}

pub(crate) fn hotkey(seed: u8) -> HotkeySigner {
    let secret = schnorrkel::MiniSecretKey::from_bytes(&[seed; 32]).unwrap();
    let pair = secret.expand_to_keypair(schnorrkel::ExpansionMode::Ed25519);
    HotkeySigner {
        hotkey: Hotkey(pair.public.to_bytes()),
        sign: Arc::new(move |message| Signature(pair.sign_simple(b"substrate", message).to_bytes())),
    }
}

pub(crate) fn config() -> NetworkConfig {
    let mut config = NetworkConfig::new(network_id(), Identity::generate().unwrap());
    config.timing.heartbeat = Duration::from_millis(200);
    config.timing.query = Duration::from_secs(10);
    config.timing.dial = Duration::from_secs(10);
    config.timing.silence = Duration::from_secs(20);
    config
}

pub(crate) async fn start(config: NetworkConfig) -> Network {
    Network::start(config).await.unwrap()
}

/// A peer that joins through `bootstrap`.
pub(crate) async fn join(bootstrap: &Network, change: impl FnOnce(&mut NetworkConfig)) -> Network {
    let mut config = config();
    config.bootstrap = bootstrap.control_addresses();
    change(&mut config);
    start(config).await
}

pub(crate) fn schema() -> TaskSchema {
    let classes = vec!["cat".to_owned(), "dog".to_owned()];
    TaskSchema {
        input: TensorSpec { name: "image".to_owned(), dtype: DType::U8, shape: vec![28, 28] },
        output: TensorSpec { name: "probabilities".to_owned(), dtype: DType::F32, shape: vec![2] },
        task: Task::Classification { classes },
    }
}

pub(crate) fn offer(name: &str, regions: &[u8]) -> ExpertOffer {
    ExpertOffer {
        subnet: vision(),
        name: name.to_owned(),
        schema: schema(),
        checkpoint: ContentHash::of(name.as_bytes()),
        published: None,
        feature_map: ContentHash::of(b"phi"),
        centroids: vec![Centroid { mean: vec![0.0, 1.0], weight: 1.0, radius: 0.5 }],
        regions: regions.to_vec(),
        examples: 1000,
        backend: "flex".to_owned(),
        capacity: Capacity { max_batch: 64, max_queue: 256 },
    }
}

pub(crate) fn load() -> Arc<dyn Fn() -> Load + Send + Sync> {
    Arc::new(|| Load { served: 7, ..Load::default() })
}

/// Every provider of a region, over all shards.
pub(crate) async fn providers(network: &Network, region: u8) -> Vec<PeerId> {
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        found.extend(network.find_providers(&vision(), region, shard).await.unwrap());
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Tries `attempt` until it gives a value.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let tries = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap_or_else(|_| panic!("never came true: {what}"))
}

/// Waits for `future`, at most [`PATIENCE`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("too slow: {what}"))
}

/// A request of `elements` f32 values.
pub(crate) fn request(id: u8, elements: u32) -> ForwardRequest {
    let values: Vec<f32> = (0..elements).map(|n| n as f32).collect();
    ForwardRequest {
        id: RequestId([id; 16]),
        subnet: vision(),
        checkpoint: ContentHash::of(b"expert"),
        budget_ms: 0,
        tensors: vec![Tensor::from_f32("x", &[1, elements], &values).unwrap()],
    }
}

struct Handler<F>(F);

impl<F, A> ForwardHandler for Handler<F>
where
    F: Fn(PeerId, ForwardRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<ForwardResponse, Refusal>> + Send + 'static,
{
    fn forward(
        &self,
        caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        Box::pin((self.0)(caller, request))
    }
}

/// A handler from an asynchronous function.
pub(crate) fn handler<F, A>(answer: F) -> Arc<dyn ForwardHandler>
where
    F: Fn(PeerId, ForwardRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<ForwardResponse, Refusal>> + Send + 'static,
{
    Arc::new(Handler(answer))
}

/// A handler that sends every tensor back.
pub(crate) fn echo() -> Arc<dyn ForwardHandler> {
    handler(|_, request| async move { Ok(reply(request)) })
}

pub(crate) fn reply(request: ForwardRequest) -> ForwardResponse {
    ForwardResponse {
        id: request.id,
        checkpoint: request.checkpoint,
        queue_us: 1,
        compute_us: 2,
        batch: 1,
        tensors: request.tensors,
        receipt: None,
    }
}
