//! The router on the real network: experts found in the DHT, described, probed and called over QUIC on loopback.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use glia_chain_client::Keypair;
use glia_peer::{ExpertOffer, ForwardHandler, HotkeySigner, Identity, Network, NetworkConfig};
use glia_protocol::descriptor::Capacity;
use glia_protocol::gossip::Load;
use glia_protocol::signature::Signature;
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, Hotkey, PeerId, Refusal, RequestId, Tensor};
use glia_router::dispatch::inputs::Inputs;
use glia_router::pipeline::{Inquiry, infer};
use glia_router::{Router, RouterConfig};

use crate::mesh::{CLASSES, Manner, REGIONS, answer, centroid, feature_map, hurried, image, schema, until, view};

struct Expert(Manner);

impl ForwardHandler for Expert {
    fn forward(
        &self,
        _caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        let input = &request.tensors[0];
        let rows: Vec<f32> = input.data().chunks_exact(16).flat_map(|item| answer(&self.0, item)).collect();
        let output = Tensor::from_f32("probabilities", &[input.batch(), CLASSES as u32], &rows).unwrap();
        let (id, checkpoint, batch) = (request.id, request.checkpoint, input.batch());
        let tensors = vec![output];
        let response = ForwardResponse { id, checkpoint, queue_us: 1, compute_us: 2, batch, tensors, receipt: None };
        Box::pin(async move { Ok(response) })
    }
}

async fn node(seed: u8, bootstrap: &[String], hotkey: Option<HotkeySigner>) -> Network {
    let mut config = NetworkConfig::new("router-test".parse().unwrap(), Identity::from_seed([seed; 32]));
    config.bootstrap = bootstrap.to_vec();
    config.hotkey = hotkey;
    Network::start(config).await.unwrap()
}

async fn expert(region: usize, bootstrap: &[String]) -> Network {
    let seed = 10 + region as u8;
    let keypair = Keypair::from_seed([seed; 32]).unwrap();
    let hotkey = Hotkey(keypair.account().0);
    let signer = HotkeySigner { hotkey, sign: Arc::new(move |message| Signature(keypair.sign(message))) };
    let network = node(seed, bootstrap, Some(signer)).await;
    network.serve(Arc::new(Expert(Manner::Knows(vec![region], 0.9))));
    let offer = ExpertOffer {
        subnet: "vision".parse().unwrap(),
        name: format!("expert-{region}"),
        schema: schema(),
        checkpoint: ContentHash([seed; 32]),
        published: None,
        feature_map: feature_map().hash().unwrap(),
        centroids: vec![centroid(region)],
        regions: vec![region as u8],
        examples: 10,
        backend: "test".into(),
        capacity: Capacity { max_batch: 64, max_queue: 64 },
    };
    network.advertise(vec![offer], Arc::new(Load::default)).await.unwrap();
    network
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn experts_are_found_probed_asked_and_let_go_on_the_real_network() {
    let folder = tempfile::tempdir().unwrap();
    let first = node(1, &[], None).await;
    let bootstrap = first.control_addresses();
    let mut experts = Vec::new();
    for region in 0..REGIONS {
        experts.push(expert(region, &bootstrap).await);
    }
    let own = node(2, &bootstrap, None).await;
    let mut config = RouterConfig::new(own.clone(), vec![view(400)], folder.path().to_owned());
    config.policy = hurried();
    config.policy.silence = Duration::from_secs(8);
    let router = Router::start(config).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    let calibrated = || subnet.gate().experts.values().filter(|gate| gate.calibrated).count();
    until("all experts are found and probed", || calibrated() == REGIONS).await;

    let data: Vec<u8> = (0..16).flat_map(|n| image(n % CLASSES, n)).collect();
    let inputs = Inputs::new(&schema(), data.into()).unwrap();
    let inquiry = Inquiry { inputs, k: 2, deadline: Duration::from_secs(5), explore: None };
    let routed = infer(&subnet, &inquiry, RequestId([1; 16])).await.unwrap();
    for (n, item) in routed.items.iter().enumerate() {
        assert_eq!(glia_router::aggregate::top_class(&item.probabilities), n % CLASSES);
    }

    let left = experts[0].peer_id();
    experts[0].withdraw().await;
    let gone = || subnet.callable(tokio::time::Instant::now()).iter().all(|listed| listed.key.peer != left);
    until("the expert that withdrew is no candidate", gone).await;
    router.stop().await;
    for network in experts.iter().chain([&own, &first]) {
        network.stop().await;
    }
}
