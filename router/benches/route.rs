//! The gate's whole part in a request of one input: 64 experts of 8 centroids, k = 4, 20 classes, φ of 32 features of a
//! 28×28 image, with learned corrections, clusters, latencies and load balance in force.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::BoxFuture;
use glia_protocol::descriptor::{Capacity, Centroid};
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::schema::{Task, TaskSchema, TensorSpec};
use glia_protocol::signature::{Binding, Signature};
use glia_protocol::{
    ContentHash, DType, ExpertDescriptor, ForwardRequest, ForwardResponse, Hotkey, PeerId, RequestId, SubnetName,
};
use glia_router::dispatch::inputs::Inputs;
use glia_router::expert::{ExpertKey, Listed, Presence};
use glia_router::gate::{ExpertProbes, FitPolicy, ProbeSet, cluster, fit};
use glia_router::metrics::Metrics;
use glia_router::pipeline::{Inquiry, Member, Routed, RoutedItem, route};
use glia_router::scoring::ledger::Ledger;
use glia_router::subnet::Subnet;
use glia_router::transport::{CallError, LookupError, Transport};
use glia_router::{Labelled, Policy, SubnetView};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::broadcast;

const EXPERTS: u8 = 64;
const FEATURES: usize = 32;
const POOLED: usize = 14 * 14;
const CLASSES: usize = 20;

struct Nowhere;

impl Transport for Nowhere {
    fn find_providers<'a>(
        &'a self,
        _: &'a SubnetName,
        _: u8,
        _: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn describe<'a>(
        &'a self,
        _: PeerId,
        _: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn forward<'a>(
        &'a self,
        _: PeerId,
        _: &'a [SocketAddr],
        _: ForwardRequest,
        _: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>> {
        Box::pin(async { Err(CallError::Timeout) })
    }

    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        broadcast::Sender::new(1).subscribe()
    }
}

fn values(n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn schema() -> TaskSchema {
    TaskSchema {
        task: Task::Classification { classes: (0..CLASSES).map(|c| format!("class-{c}")).collect() },
        input: TensorSpec { name: "image".into(), dtype: DType::U8, shape: vec![28, 28] },
        output: TensorSpec { name: "probabilities".into(), dtype: DType::F32, shape: vec![CLASSES as u32] },
    }
}

fn listed(n: u8, feature_map: ContentHash, rng: &mut ChaCha8Rng) -> Arc<Listed> {
    let centroid = |rng: &mut ChaCha8Rng| Centroid { mean: values(FEATURES, rng), weight: 0.125, radius: 0.7 };
    let descriptor = ExpertDescriptor {
        network: "bench".parse().unwrap(),
        subnet: "vision".parse().unwrap(),
        peer: PeerId([n; 32]),
        hotkey: Hotkey([n; 32]),
        binding: Binding { by_peer: Signature([0; 64]), by_hotkey: Signature([0; 64]) },
        name: format!("expert-{n}"),
        schema: schema(),
        checkpoint: ContentHash([n; 32]),
        feature_map,
        centroids: (0..8).map(|_| centroid(rng)).collect(),
        examples: 100,
        backend: "bench".into(),
        capacity: Capacity { max_batch: 64, max_queue: 64 },
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
        sequence: 1,
        issued_at_ms: 1,
        expires_at_ms: u64::MAX,
        published: None,
    };
    let key = ExpertKey { peer: descriptor.peer, checkpoint: descriptor.checkpoint };
    let descriptor = Arc::new(descriptor);
    Arc::new(Listed { key, descriptor, uid: Some(1), presence: Presence::Here, candidate: true })
}

/// A subnet whose experts are probed, fitted, clustered, measured and learned of.
fn subnet(folder: &std::path::Path, rng: &mut ChaCha8Rng) -> (Subnet, Vec<Arc<Listed>>) {
    let feature_map = FeatureMap {
        input: (28, 28),
        pool: 2,
        mean: vec![0.3; POOLED],
        components: values(FEATURES * POOLED, rng),
        anchors: values(FEATURES * 4, rng),
    };
    let hash = feature_map.hash().unwrap();
    let item = |class: usize, rng: &mut ChaCha8Rng| Labelled {
        input: (0..784).map(|_| rng.random()).collect::<Vec<u8>>().into(),
        class,
    };
    let view = SubnetView {
        name: "vision".parse().unwrap(),
        netuid: 1,
        schema: schema(),
        feature_map,
        validation: (0..400).map(|n| item(n % CLASSES, rng)).collect(),
    };
    let ledger = Ledger::open(folder, 1, "").unwrap();
    let metrics = Arc::new(Metrics::default());
    let subnet = Subnet::new(view, Policy::default(), Arc::new(Nowhere), ledger, metrics, 1).unwrap();
    let experts: Vec<Arc<Listed>> = (0..EXPERTS).map(|n| listed(n, hash, rng)).collect();

    let labels: Vec<usize> = (0..128).map(|_| rng.random_range(0..CLASSES)).collect();
    let set = ProbeSet { features: (0..128).map(|_| values(FEATURES, rng)).collect(), labels, classes: CLASSES };
    let probed: Vec<ExpertProbes> = (experts.iter())
        .map(|listed| {
            let row = |&y: &usize| {
                let mut row = vec![0.3 / (CLASSES - 1) as f32; CLASSES];
                row[if rng.random_bool(0.6) { y } else { 0 }] = 0.7;
                Some(Arc::from(row))
            };
            let rows = set.labels.iter().map(row).collect();
            ExpertProbes { key: listed.key, centroids: listed.descriptor.centroids.clone(), rows }
        })
        .collect();
    let policy = FitPolicy { prior_temperature: 0.1, min_probes: 30, k: 4 };
    subnet.set_gate(fit(&set, &probed, &policy));
    subnet.probes.set_clusters(cluster(&set, &probed, subnet.policy.alike));
    for listed in &experts {
        (0..64).for_each(|_| subnet.book.answered(&listed.key, Duration::from_millis(5), 1));
    }
    (subnet, experts)
}

/// An answer of four experts, as scoring sees it.
fn answered(experts: &[Arc<Listed>], rng: &mut ChaCha8Rng) -> Routed {
    let row = vec![1.0 / CLASSES as f32; CLASSES];
    let first = rng.random_range(0..experts.len() - 4);
    let member =
        |expert| Member { expert, call: 0, weight: 0.25, row: row.clone(), given: row.clone(), propensity: 1.0 };
    let members = (first..first + 4).map(member).collect();
    let item = RoutedItem { probabilities: row.clone(), members, features: values(FEATURES, rng) };
    Routed {
        id: RequestId([0; 16]),
        items: vec![item],
        experts: experts.to_vec(),
        calls: Vec::new(),
        routing: Duration::ZERO,
        calling: Duration::ZERO,
        pooling: Duration::ZERO,
    }
}

fn bench(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    let (subnet, experts) = subnet(folder.path(), &mut rng);
    for _ in 0..500 {
        subnet.online.learn(&answered(&experts, &mut rng), &[0], 1.0);
    }
    let image: Bytes = (0..784).map(|_| rng.random()).collect::<Vec<u8>>().into();
    let inputs = Inputs::new(&subnet.view.schema, image).unwrap();
    let inquiry = Inquiry { inputs, k: 4, deadline: Duration::from_secs(2), explore: Some((0.02, 7)) };
    let gate = subnet.gate();
    c.bench_function("route, 64 experts, k = 4, 20 classes", |b| {
        b.iter(|| route(&subnet, &gate, &experts, black_box(&inquiry)));
    });
    let lesson = answered(&experts, &mut rng);
    c.bench_function("learn from one scored answer, 64 experts, k = 4", |b| {
        b.iter(|| subnet.online.learn(black_box(&lesson), &[3], 1.0));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
