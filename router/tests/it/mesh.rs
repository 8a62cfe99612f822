//! A small world: a task of four regions, experts of every manner, and a chain of one subnet, all in memory.
//!
//! An input is a 4×4 image. Its region is the bright quadrant, which φ sees; its class within the region is told by one
//! pixel, which φ's pooling hides. So the gate can know who is competent, but only a competent expert knows the answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use glia_chain_client::{
    AccountId, Hyperparameters, Metagraph, Neuron, OpenCommit, ReadError, Receipt, SubmitError, commit_hash,
};
use glia_protocol::descriptor::{Capacity, Centroid, shard_of};
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::schema::{Task, TaskSchema, TensorSpec};
use glia_protocol::signature::{Binding, Signature};
use glia_protocol::{
    ContentHash, DType, ExpertDescriptor, ForwardRequest, ForwardResponse, Hotkey, PeerId, Refusal, SubnetName, Tensor,
};
use glia_router::chain::ChainPort;
use glia_router::transport::{CallError, LookupError, Transport};
use glia_router::{Labelled, Parts, Policy, SubnetView};
use tokio::sync::broadcast;

pub(crate) const REGIONS: usize = 4;
pub(crate) const CLASSES: usize = 2 * REGIONS;
pub(crate) const NETUID: u16 = 1;

pub(crate) fn schema() -> TaskSchema {
    TaskSchema {
        task: Task::Classification { classes: (0..CLASSES).map(|c| format!("class-{c}")).collect() },
        input: TensorSpec { name: "image".into(), dtype: DType::U8, shape: vec![4, 4] },
        output: TensorSpec { name: "probabilities".into(), dtype: DType::F32, shape: vec![CLASSES as u32] },
    }
}

pub(crate) fn feature_map() -> FeatureMap {
    let identity: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
    FeatureMap { input: (4, 4), pool: 2, mean: vec![0.0; 4], components: identity.clone(), anchors: identity }
}

/// The `n`-th image of `class`.
pub(crate) fn image(class: usize, n: usize) -> Vec<u8> {
    let (region, pattern) = (class / 2, class % 2);
    let mut pixels: Vec<u8> = (0..16).map(|i| ((n * 7 + i * 13) % 40) as u8).collect();
    let (top, left) = (region / 2 * 2, region % 2 * 2);
    for (dy, dx) in [(0, 1), (1, 0)] {
        pixels[(top + dy) * 4 + left + dx] = 200;
    }
    // One of two opposite pixels: the mean of the quadrant is the same.
    let bright = if pattern == 0 { top * 4 + left } else { (top + 1) * 4 + left + 1 };
    let dark = if pattern == 0 { (top + 1) * 4 + left + 1 } else { top * 4 + left };
    (pixels[bright], pixels[dark]) = (250, 0);
    pixels
}

/// What an image shows.
pub(crate) fn class_of(pixels: &[u8]) -> usize {
    let quadrant = |r: usize| {
        let (top, left) = (r / 2 * 2, r % 2 * 2);
        [0, 1, 4, 5].iter().map(|d| usize::from(pixels[top * 4 + left + d])).sum::<usize>()
    };
    let region = (0..REGIONS).max_by_key(|&r| quadrant(r)).unwrap();
    let (top, left) = (region / 2 * 2, region % 2 * 2);
    2 * region + usize::from(pixels[top * 4 + left] == 0)
}

pub(crate) fn view(items: usize) -> SubnetView {
    SubnetView {
        name: "vision".parse().unwrap(),
        netuid: NETUID,
        schema: schema(),
        feature_map: feature_map(),
        validation: (0..items).map(|n| Labelled { input: image(n % CLASSES, n).into(), class: n % CLASSES }).collect(),
    }
}

/// How an expert behaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manner {
    /// Right with this probability mass in these regions, confidently wrong elsewhere.
    Knows(Vec<usize>, f32),
    /// Confident in a class that has nothing to do with the input.
    Noise,
    /// Every class alike.
    Uniform,
    /// NaN.
    Nan,
    /// An answer that is no distribution.
    Unnormalised,
    /// An error of its model.
    Fails,
    /// "Busy".
    Busy,
    /// No answer, ever.
    Hangs,
    /// Right everywhere, after this time.
    Late(Duration),
    /// Right on three of four inputs, wrong on its own ones, after this time.
    Own(u8, Duration),
    /// Right everywhere in batches, like probes; noise on anything that looks like a request.
    Sleeper,
}

/// Inputs of a call that a sleeper takes for probes.
const LOOKS_LIKE_PROBES: u32 = 8;

/// What an expert of this manner answers to an image.
pub(crate) fn answer(manner: &Manner, pixels: &[u8]) -> Vec<f32> {
    let truth = class_of(pixels);
    let peak = |class: usize, mass: f32| {
        let rest = (1.0 - mass) / (CLASSES - 1) as f32;
        (0..CLASSES).map(|c| if c == class { mass } else { rest }).collect()
    };
    match manner {
        Manner::Knows(regions, mass) if regions.contains(&(truth / 2)) => peak(truth, *mass),
        Manner::Knows(regions, mass) => peak(2 * regions[0], *mass),
        Manner::Noise => peak(pixels.iter().map(|&p| usize::from(p)).sum::<usize>() * 31 % CLASSES, 0.97),
        Manner::Nan => vec![f32::NAN; CLASSES],
        Manner::Unnormalised => vec![1.0; CLASSES],
        Manner::Late(_) | Manner::Sleeper => peak(truth, 0.9),
        Manner::Own(n, _) => {
            let hash = pixels.iter().fold(u32::from(*n) + 1, |h, p| (h ^ u32::from(*p)).wrapping_mul(0x0100_0193));
            let wrong = (truth + 1 + usize::from(*n) % (CLASSES - 1)) % CLASSES;
            peak(if (hash >> 13) % 4 == 0 { wrong } else { truth }, 0.8)
        }
        _ => vec![1.0 / CLASSES as f32; CLASSES],
    }
}

pub(crate) struct Peer {
    pub(crate) manner: Manner,
    pub(crate) descriptor: ExpertDescriptor,
    pub(crate) alive: bool,
    pub(crate) calls: usize,
}

/// A network in memory.
pub(crate) struct Mesh {
    pub(crate) peers: Mutex<BTreeMap<PeerId, Peer>>,
    beats: broadcast::Sender<Heartbeat>,
    /// Calls that were dropped before their answer.
    pub(crate) cancelled: Arc<AtomicUsize>,
    pub(crate) largest_batch: AtomicUsize,
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

pub(crate) fn hotkey(n: u8) -> Hotkey {
    Hotkey([n + 100; 32])
}

pub(crate) fn centroid(region: usize) -> Centroid {
    let mean = (0..REGIONS).map(|r| if r == region { 1.0 } else { 0.0 }).collect();
    Centroid { mean, weight: 1.0, radius: 0.5 }
}

pub(crate) fn descriptor(n: u8, regions: &[usize]) -> ExpertDescriptor {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    ExpertDescriptor {
        network: "test".parse().unwrap(),
        subnet: "vision".parse().unwrap(),
        peer: peer(n),
        hotkey: hotkey(n),
        binding: Binding { by_peer: Signature([0; 64]), by_hotkey: Signature([0; 64]) },
        name: format!("expert-{n}"),
        schema: schema(),
        checkpoint: ContentHash([n; 32]),
        published: None,
        feature_map: feature_map().hash().unwrap(),
        centroids: regions.iter().map(|&r| centroid(r)).collect(),
        examples: 100,
        backend: "test".into(),
        capacity: Capacity { max_batch: 64, max_queue: 64 },
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
        sequence: now,
        issued_at_ms: now,
        expires_at_ms: now + 120_000,
    }
}

impl Mesh {
    /// A mesh of experts numbered from 1; liars of every manner claim all regions.
    pub(crate) fn of(manners: &[Manner]) -> Arc<Self> {
        let mut peers = BTreeMap::new();
        for (n, manner) in (1..).zip(manners) {
            let all: Vec<usize> = (0..REGIONS).collect();
            let claimed = if let Manner::Knows(regions, _) = manner { regions } else { &all };
            let descriptor = descriptor(n, claimed);
            peers.insert(peer(n), Peer { manner: manner.clone(), descriptor, alive: true, calls: 0 });
        }
        Arc::new(Self {
            peers: Mutex::new(peers),
            beats: broadcast::Sender::new(64),
            cancelled: Arc::default(),
            largest_batch: AtomicUsize::new(0),
        })
    }

    /// Four specialists, one per region.
    pub(crate) fn specialists() -> Vec<Manner> {
        (0..REGIONS).map(|r| Manner::Knows(vec![r], 0.9)).collect()
    }

    pub(crate) fn change(&self, n: u8, act: impl FnOnce(&mut Peer)) {
        act(self.peers.lock().unwrap().get_mut(&peer(n)).unwrap());
    }

    pub(crate) fn beat(&self, beat: Heartbeat) {
        let _ = self.beats.send(beat);
    }
}

struct CountDrop(Option<Arc<AtomicUsize>>);

impl CountDrop {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CountDrop {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Transport for Mesh {
    fn find_providers<'a>(
        &'a self,
        _subnet: &'a SubnetName,
        region: u8,
        shard: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>> {
        // A DHT goes on naming the dead for a while.
        let knows = |peer: &Peer| peer.descriptor.centroids.iter().any(|c| c.mean[usize::from(region)] == 1.0);
        let peers = self.peers.lock().unwrap();
        let found = peers.iter().filter(|(id, peer)| shard_of(id) == shard && knows(peer)).map(|(id, _)| *id);
        let found: Vec<PeerId> = found.collect();
        Box::pin(async move { Ok(found) })
    }

    fn describe<'a>(
        &'a self,
        peer: PeerId,
        _subnet: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>> {
        let peers = self.peers.lock().unwrap();
        let known = peers.get(&peer).filter(|peer| peer.alive).map(|peer| vec![peer.descriptor.clone()]);
        Box::pin(async move { known.ok_or_else(|| LookupError("nobody there".into())) })
    }

    fn forward<'a>(
        &'a self,
        peer: PeerId,
        _addresses: &'a [SocketAddr],
        request: ForwardRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>> {
        let (manner, alive) = {
            let mut peers = self.peers.lock().unwrap();
            let peer = peers.get_mut(&peer).unwrap();
            peer.calls += 1;
            (peer.manner.clone(), peer.alive)
        };
        let mut guard = CountDrop(Some(Arc::clone(&self.cancelled)));
        Box::pin(async move {
            let input = &request.tensors[0];
            self.largest_batch.fetch_max(input.batch() as usize, Ordering::SeqCst);
            if !alive {
                guard.disarm();
                return Err(CallError::Connect("connection refused".into()));
            }
            let manner = match manner {
                Manner::Sleeper if input.batch() < LOOKS_LIKE_PROBES => Manner::Noise,
                other => other,
            };
            match manner {
                Manner::Hangs => std::future::pending::<()>().await,
                Manner::Late(after) | Manner::Own(_, after) => tokio::time::sleep(after).await,
                _ => {}
            }
            guard.disarm();
            match manner {
                Manner::Fails => return Err(CallError::Refused(Refusal::Failed("out of luck".into()))),
                Manner::Busy => return Err(CallError::Refused(Refusal::Busy { retry_after_ms: 50 })),
                _ => {}
            }
            let rows: Vec<f32> = input.data().chunks_exact(16).flat_map(|item| answer(&manner, item)).collect();
            let shape = [input.batch(), CLASSES as u32];
            Ok(ForwardResponse {
                id: request.id,
                checkpoint: request.checkpoint,
                queue_us: 10,
                compute_us: 20,
                batch: input.batch(),
                tensors: vec![Tensor::from_f32("probabilities", &shape, &rows).unwrap()],
                receipt: None,
            })
        })
    }

    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        self.beats.subscribe()
    }
}

/// A chain in memory: one subnet, the router is uid 0, expert `n` is uid `n`.
pub(crate) struct Ledgerless {
    pub(crate) block: AtomicU64,
    pub(crate) tempo: u64,
    pub(crate) experts: u8,
    pub(crate) permit: AtomicBool,
    pub(crate) settings: Mutex<Hyperparameters>,
    pub(crate) rows: Mutex<Vec<Vec<(u16, u16)>>>,
    pub(crate) refused: AtomicUsize,
    /// What is heard of a row after it landed.
    pub(crate) after: Mutex<After>,
    pub(crate) last_update: AtomicU64,
    pub(crate) commits: Mutex<Vec<OpenCommit>>,
    /// A uid that belongs to somebody else now.
    pub(crate) stranger: Mutex<Option<u16>>,
}

/// What is heard of a row after it landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Receipt,
    Error,
    Silence,
}

pub(crate) const ROUTER: Hotkey = Hotkey([99; 32]);

impl Ledgerless {
    pub(crate) fn new(experts: u8) -> Arc<Self> {
        Arc::new(Self {
            block: AtomicU64::new(1),
            tempo: 10,
            experts,
            permit: AtomicBool::new(true),
            settings: Mutex::new(Hyperparameters {
                block: 0,
                tempo: 10,
                weights_rate_limit: 0,
                weights_version_key: 0,
                min_allowed_weights: 1,
                max_weight_limit: u16::MAX,
                commit_reveal_enabled: false,
                reveal_period_epochs: 1,
                max_allowed_uids: 256,
                max_allowed_validators: 64,
                immunity_period: 100,
                serving_rate_limit: 0,
                kappa: 32767,
                registration_allowed: true,
                neurons: u16::from(experts) + 1,
                burn: 0,
            }),
            rows: Mutex::default(),
            refused: AtomicUsize::new(0),
            after: Mutex::new(After::Receipt),
            last_update: AtomicU64::new(0),
            commits: Mutex::default(),
            stranger: Mutex::default(),
        })
    }

    fn last_epoch(&self) -> u64 {
        self.block.load(Ordering::SeqCst) / self.tempo * self.tempo
    }

    /// Epochs run so far.
    pub(crate) fn epoch(&self) -> u64 {
        self.block.load(Ordering::SeqCst) / self.tempo
    }

    /// Goes to two blocks before the next epoch.
    pub(crate) fn go_near_epoch(&self) {
        let next = self.last_epoch() + self.tempo;
        self.block.store(next - 2, Ordering::SeqCst);
    }

    /// Goes past the next epoch.
    pub(crate) fn pass_epoch(&self) {
        let next = self.last_epoch() + self.tempo;
        self.block.store(next, Ordering::SeqCst);
    }
}

fn neuron(uid: u16, hotkey: Hotkey) -> Neuron {
    Neuron {
        uid,
        hotkey: AccountId(hotkey.0),
        coldkey: AccountId([0; 32]),
        axon: None,
        stake: 0,
        stake_weight: 0,
        weights: Vec::new(),
        bonds: Vec::new(),
        incentive: 0,
        consensus: 0,
        dividends: 0,
        validator_trust: 0,
        validator_permit: uid == 0,
        emission: 0,
        last_update: 0,
        active: true,
        block_at_registration: 0,
    }
}

impl ChainPort for Ledgerless {
    fn hotkey(&self) -> Hotkey {
        ROUTER
    }

    fn genesis(&self) -> String {
        "00".into()
    }

    fn schedule(&self, _netuid: u16) -> BoxFuture<'_, Result<(u64, Option<u64>), ReadError>> {
        let block = self.block.load(Ordering::SeqCst);
        let next = self.last_epoch() + self.tempo;
        Box::pin(async move { Ok((block, Some(next))) })
    }

    fn metagraph(&self, netuid: u16) -> BoxFuture<'_, Result<Metagraph, ReadError>> {
        let own = Neuron { last_update: self.last_update.load(Ordering::SeqCst), ..neuron(0, ROUTER) };
        let stranger = *self.stranger.lock().unwrap();
        let holder = |n: u8| if stranger == Some(u16::from(n)) { hotkey(120) } else { hotkey(n) };
        let neurons = std::iter::once(own).chain((1..=self.experts).map(|n| neuron(u16::from(n), holder(n)))).collect();
        let metagraph = Metagraph {
            netuid,
            block: self.block.load(Ordering::SeqCst),
            tempo: self.tempo as u16,
            last_epoch_block: self.last_epoch(),
            epoch_index: self.epoch(),
            neurons,
        };
        Box::pin(async move { Ok(metagraph) })
    }

    fn hyperparameters(&self, _netuid: u16) -> BoxFuture<'_, Result<Hyperparameters, ReadError>> {
        let settings = self.settings.lock().unwrap().clone();
        Box::pin(async move { Ok(settings) })
    }

    fn weights(&self, _netuid: u16, _uid: u16) -> BoxFuture<'_, Result<Vec<(u16, u16)>, ReadError>> {
        let row = self.rows.lock().unwrap().last().cloned().unwrap_or_default();
        Box::pin(async move { Ok(row) })
    }

    fn set_weights(
        &self,
        _netuid: u16,
        row: Vec<(u16, u16)>,
        _version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        Box::pin(async move {
            if !self.permit.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return Err(SubmitError::Module {
                    pallet: "SubtensorModule".into(),
                    error: "NeuronNoValidatorPermit".into(),
                    docs: String::new(),
                });
            }
            self.rows.lock().unwrap().push(row);
            let block_number = self.block.load(Ordering::SeqCst) + 1;
            self.last_update.store(block_number, Ordering::SeqCst);
            let after = *self.after.lock().unwrap();
            match after {
                After::Receipt => {}
                After::Error => return Err(SubmitError::NonceContention(3)),
                After::Silence => std::future::pending().await,
            }
            Ok(Receipt { block_hash: [1; 32], block_number, hash: [2; 32], events: Vec::new() })
        })
    }

    fn commits(&self, _netuid: u16) -> BoxFuture<'_, Result<Vec<OpenCommit>, ReadError>> {
        let commits = self.commits.lock().unwrap().clone();
        Box::pin(async move { Ok(commits) })
    }

    fn commit_weights(&self, _netuid: u16, hash: [u8; 32]) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        Box::pin(async move {
            let block = self.block.load(Ordering::SeqCst) + 1;
            self.commits.lock().unwrap().push(OpenCommit { hash, epoch: self.epoch(), block });
            self.last_update.store(block, Ordering::SeqCst);
            let after = *self.after.lock().unwrap();
            match after {
                After::Receipt => {}
                After::Error => return Err(SubmitError::NonceContention(3)),
                After::Silence => std::future::pending().await,
            }
            Ok(Receipt { block_hash: [1; 32], block_number: block, hash: [3; 32], events: Vec::new() })
        })
    }

    fn reveal_weights(
        &self,
        netuid: u16,
        row: Vec<(u16, u16)>,
        salt: Vec<u16>,
        version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        Box::pin(async move {
            let hash = commit_hash(AccountId(ROUTER.0), netuid, 0, &row, &salt, version_key);
            let at = self.commits.lock().unwrap().iter().position(|open| open.hash == hash);
            let refuse = |reason: &str| SubmitError::Refused { code: 1010, reason: reason.into(), custom: None };
            let at = at.ok_or_else(|| refuse("CommitNotFound"))?;
            if self.commits.lock().unwrap()[at].epoch + 1 != self.epoch() {
                return Err(refuse("CommitBlockNotInRevealRange"));
            }
            self.commits.lock().unwrap().drain(..=at);
            self.rows.lock().unwrap().push(row);
            let block_number = self.block.load(Ordering::SeqCst) + 1;
            Ok(Receipt { block_hash: [1; 32], block_number, hash: [4; 32], events: Vec::new() })
        })
    }
}

/// A policy in a hurry.
pub(crate) fn hurried() -> Policy {
    Policy {
        silence: Duration::from_millis(800),
        walk_min: Duration::from_millis(20),
        walk_max: Duration::from_millis(100),
        score_every: Duration::from_millis(10),
        deadline: Duration::from_secs(5),
        ..Policy::default()
    }
}

pub(crate) fn parts(mesh: &Arc<Mesh>, chain: Option<Arc<Ledgerless>>, folder: &std::path::Path) -> Parts {
    Parts {
        subnets: vec![view(800)],
        transport: Arc::clone(mesh) as Arc<dyn Transport>,
        chain: chain.map(|chain| chain as Arc<dyn ChainPort>),
        recompute: None,
        feedback: None,
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: folder.to_owned(),
        seed: 7,
        policy: hurried(),
    }
}

/// Waits until something holds; panics with `what` when it does not within half a minute.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
