//! The handle of one peer: cheap to clone, shared by everything that runs on it.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use glia_protocol::descriptor::{DescriptorError, dht_key};
use glia_protocol::exchange::{ControlRequest, ControlResponse, possession_message};
use glia_protocol::gossip::Heartbeat;
use glia_protocol::limits::MAX_ADDRESSES;
use glia_protocol::signature::verify_hotkey;
use glia_protocol::{
    ContentHash, ExpertDescriptor, ForwardRequest, ForwardResponse, Hotkey, NetworkId, PeerId, SubnetName,
};
use rand::TryRngCore as _;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::address;
use crate::config::{NetworkConfig, Timing};
use crate::control::{self, Command};
use crate::data::{DataPlane, DataSetup, ForwardHandler};
use crate::errors::{
    AdvertiseError, AskError, DescribeError, FetchError, FindError, ForwardError, PossessionError, StartError,
};
use crate::offer::{ExpertOffer, LoadSource};
use crate::reputation::{Misdeed, Reputation};
use crate::shutdown::Shutdown;

/// Heartbeats a slow subscriber may lag behind.
const HEARTBEATS: usize = 1024;
/// Commands that wait for the swarm task.
const COMMANDS: usize = 256;
/// Last wait for tasks that should have ended.
const JOIN: Duration = Duration::from_secs(5);
/// Descriptor sequences remembered.
const MAX_SEQUENCES: usize = 8192;

/// One peer of one network: control plane and data plane. Clones share it; the last one dropped stops it without
/// ceremony, [`Network::stop`] in order.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    network: NetworkId,
    peer: PeerId,
    timing: Timing,
    /// Gone once stopped, and the socket with it.
    data: Mutex<Option<Arc<DataPlane>>>,
    data_address: SocketAddr,
    commands: mpsc::Sender<Command>,
    heartbeats: broadcast::Sender<Heartbeat>,
    shared: Arc<Shared>,
    sequences: Mutex<HashMap<(PeerId, ContentHash), Known>>,
    shutdown: Shutdown,
    stopped: CancellationToken,
    stopping: Mutex<bool>,
    _on_drop: DropGuard,
}

/// What the swarm task tells the handle.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) control: Mutex<Vec<String>>,
    pub(crate) ips: Mutex<BTreeSet<IpAddr>>,
    pub(crate) connected: AtomicUsize,
    pub(crate) reputation: Arc<Mutex<Reputation>>,
}

impl Shared {
    /// What descriptors carry, at most as many as they may.
    pub(crate) fn data_addresses(&self, bound: SocketAddr) -> Vec<SocketAddr> {
        address::data_addresses(bound, &lock(&self.ips), MAX_ADDRESSES)
    }
}

/// The newest descriptor seen of one peer and checkpoint.
#[derive(Debug, Clone, Copy)]
struct Known {
    sequence: u64,
    expires_at_ms: u64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Network {
    /// Starts both planes and dials the bootstrap peers. Returns once every address is listened on; finding others
    /// goes on in the background.
    pub async fn start(config: NetworkConfig) -> Result<Self, StartError> {
        let shutdown = Shutdown::new();
        match Self::start_with(config, shutdown.clone()).await {
            Ok(network) => Ok(network),
            Err(error) => {
                shutdown.drain(JOIN).await;
                Err(error)
            }
        }
    }

    async fn start_with(config: NetworkConfig, shutdown: Shutdown) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::default());
        lock(&shared.ips).extend(config.announce.iter().copied());
        let data = DataPlane::start(
            DataSetup {
                identity: config.identity.clone(),
                listen: config.data_listen,
                timing: config.timing.clone(),
                limits: config.limits.clone(),
                reputation: shared.reputation.clone(),
            },
            &shutdown,
        )
        .map_err(|source| StartError::Data { address: config.data_listen, source })?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (heartbeats, _) = broadcast::channel(HEARTBEATS);
        let inner = Inner {
            network: config.network.clone(),
            peer: config.identity.peer_id(),
            timing: config.timing.clone(),
            commands,
            heartbeats: heartbeats.clone(),
            shared: shared.clone(),
            sequences: Mutex::default(),
            stopped: CancellationToken::new(),
            stopping: Mutex::new(false),
            _on_drop: shutdown.token().drop_guard(),
            shutdown: shutdown.clone(),
            data_address: data.local_address(),
            data: Mutex::new(Some(Arc::new(data))),
        };
        let data_address = inner.data_address;
        control::start(config, data_address, shared, inbox, heartbeats, &shutdown).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who this peer is.
    pub fn peer_id(&self) -> PeerId {
        self.inner.peer
    }

    /// The network it belongs to.
    pub fn network_id(&self) -> &NetworkId {
        &self.inner.network
    }

    /// Multiaddrs under which others can dial the control plane, each ending in `/p2p/<peer id>`.
    pub fn control_addresses(&self) -> Vec<String> {
        lock(&self.inner.shared.control).clone()
    }

    /// Addresses of the tensor endpoint, as descriptors carry them.
    pub fn data_addresses(&self) -> Vec<SocketAddr> {
        self.inner.shared.data_addresses(self.inner.data_address)
    }

    /// Peers of this network it is connected to (control plane).
    pub fn connected_peers(&self) -> usize {
        self.inner.shared.connected.load(Ordering::Relaxed)
    }

    /// Sets who answers forward requests; without one, all are refused with `UnknownExpert`.
    pub fn serve(&self, handler: Arc<dyn ForwardHandler>) {
        if let Some(data) = self.data() {
            data.serve(handler);
        }
    }

    /// Advertises `offers` (instead of any earlier ones) until [`Self::withdraw`]: signed descriptors, DHT records
    /// under every offered region, heartbeats with `load`. Returns once the offers are accepted locally; others
    /// find them a moment later.
    ///
    /// # Cancel safety
    /// Not cancel safe: whether the offers are advertised is unknown.
    pub async fn advertise(&self, offers: Vec<ExpertOffer>, load: LoadSource) -> Result<(), AdvertiseError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Advertise { offers, load, reply }).await.map_err(|_| AdvertiseError::Stopped)?;
        answer.await.map_err(|_| AdvertiseError::Stopped)?
    }

    /// Takes all offers back: no DHT records, no descriptors, a `Leaving` heartbeat. Requests are still answered.
    /// Returns after [`Timing::query`] at the latest: leaving never waits for a swarm that is stuck.
    ///
    /// # Cancel safety
    /// Cancel safe: what was begun goes on.
    pub async fn withdraw(&self) {
        let (reply, done) = oneshot::channel();
        let withdrawn = async {
            if self.send(Command::Withdraw { reply }).await.is_ok() {
                // An error says that the network stopped, which withdraws too.
                let _ = done.await;
            }
        };
        if tokio::time::timeout(self.inner.timing.query, withdrawn).await.is_err() {
            tracing::warn!("the offers were not taken back in time");
        }
    }

    /// Peers that say in the DHT that they serve experts of `subnet` for `region`; possibly none. Claims only:
    /// [`Self::describe`] each.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn find_providers(&self, subnet: &SubnetName, region: u8, shard: u8) -> Result<Vec<PeerId>, FindError> {
        let (reply, answer) = oneshot::channel();
        let key = dht_key(&self.inner.network, subnet, region, shard);
        let query = async {
            self.send(Command::FindProviders { key, reply }).await.map_err(|_| FindError::Stopped)?;
            answer.await.map_err(|_| FindError::Stopped)
        };
        // The swarm ends the query itself at the deadline, with what it has; this is the net below.
        let deadline = self.inner.timing.query + Duration::from_secs(1);
        tokio::time::timeout(deadline, query).await.unwrap_or(Err(FindError::Timeout))
    }

    /// Descriptors of the experts that `peer` serves in `subnet`, every one verified: signature, author, network,
    /// binding to the hotkey, lifetime, and not older than one seen before.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn describe(&self, peer: PeerId, subnet: &SubnetName) -> Result<Vec<ExpertDescriptor>, DescribeError> {
        let answer = self.ask(peer, ControlRequest::DescribeExperts { subnet: subnet.clone() }).await?;
        let ControlResponse::Experts(records) = answer else { return Err(AskError::WrongAnswer(peer).into()) };
        let now = now_ms();
        let mut descriptors = Vec::with_capacity(records.len());
        for record in records {
            let known = |d: &ExpertDescriptor| {
                lock(&self.inner.sequences).get(&(d.peer, d.checkpoint)).map(|known| known.sequence)
            };
            match record.accept(&self.inner.network, &peer, known, now) {
                Ok(descriptor) if descriptor.subnet == *subnet => descriptors.push(descriptor),
                Ok(_) => return Err(AskError::WrongAnswer(peer).into()),
                Err(error) => {
                    self.blame(peer, &error).await;
                    return Err(error.into());
                }
            }
        }
        self.remember(&descriptors, now);
        Ok(descriptors)
    }

    /// Notes the sequences of believed descriptors, so that older ones cannot replace them.
    fn remember(&self, descriptors: &[ExpertDescriptor], now: u64) {
        let mut sequences = lock(&self.inner.sequences);
        if sequences.len() >= MAX_SEQUENCES {
            // A replay of a descriptor older than an expired one is expired too, unless its author made it so.
            sequences.retain(|_, known| known.expires_at_ms > now);
        }
        for d in descriptors {
            let key = (d.peer, d.checkpoint);
            if sequences.len() < MAX_SEQUENCES || sequences.contains_key(&key) {
                let newest = sequences.get(&key).map_or(d.sequence, |known| known.sequence.max(d.sequence));
                sequences.insert(key, Known { sequence: newest, expires_at_ms: d.expires_at_ms });
            }
        }
    }

    async fn blame(&self, peer: PeerId, error: &DescriptorError) {
        let misdeed = match error {
            DescriptorError::BadSignature(_)
            | DescriptorError::BadBinding { .. }
            | DescriptorError::NotItsOwn { .. }
            | DescriptorError::WrongNetwork { .. } => Misdeed::Forged,
            DescriptorError::Decode(_) => Misdeed::Malformed,
            DescriptorError::Expired { .. } | DescriptorError::BadLifetime(_) | DescriptorError::Stale { .. } => {
                Misdeed::Stale
            }
        };
        // An error says that the network stops; then nobody needs to know.
        let _ = self.send(Command::Report { peer, misdeed }).await;
    }

    /// Asks `peer` to sign a fresh nonce with its hotkey, and says which hotkey it is.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn prove_possession(&self, peer: PeerId) -> Result<Hotkey, PossessionError> {
        let mut nonce = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).map_err(|e| PossessionError::Randomness(e.to_string()))?;
        let answer = self.ask(peer, ControlRequest::ProvePossession { nonce }).await?;
        let ControlResponse::Possession { hotkey, signature } = answer else {
            return Err(AskError::WrongAnswer(peer).into());
        };
        if !verify_hotkey(&hotkey, &possession_message(&self.inner.network, &peer, &nonce), &signature) {
            let _ = self.send(Command::Report { peer, misdeed: Misdeed::Forged }).await;
            return Err(PossessionError::BadSignature(peer));
        }
        Ok(hotkey)
    }

    /// Heartbeats of other peers from now on. Each one is signed by the peer it names, newer than the last one of
    /// that peer, and within its rate. A receiver that lags too far loses the oldest.
    pub fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        self.inner.heartbeats.subscribe()
    }

    /// Asks `peer` for one forward pass over its pooled tensor connection; dials `addresses` if there is none. The
    /// budget in the request is cut to what is left of `deadline` (0 means all of it).
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future resets the stream, and the expert drops the work.
    pub async fn forward(
        &self,
        peer: PeerId,
        addresses: &[SocketAddr],
        request: ForwardRequest,
        deadline: Duration,
    ) -> Result<ForwardResponse, ForwardError> {
        let Some(data) = self.data() else { return Err(ForwardError::Closed("this peer is stopped".to_owned())) };
        if lock(&self.inner.shared.reputation).is_banned(&peer, Instant::now()) {
            return Err(ForwardError::Connect(format!("{peer} is banned for misbehaviour")));
        }
        data.call(peer, addresses, request, deadline).await
    }

    /// Fetches the file of a checkpoint that `peer` publishes in `subnet`, within `deadline` for all of it. Its length
    /// is compared with `max_bytes` before memory is taken for it, and what is returned has the hash `checkpoint`. A
    /// busy peer is asked again until the deadline.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future resets the stream and drops what was fetched.
    pub async fn fetch_checkpoint(
        &self,
        peer: PeerId,
        addresses: &[SocketAddr],
        subnet: &SubnetName,
        checkpoint: ContentHash,
        max_bytes: u64,
        deadline: Duration,
    ) -> Result<Bytes, FetchError> {
        let Some(data) = self.data() else { return Err(FetchError::Closed("this peer is stopped".to_owned())) };
        if lock(&self.inner.shared.reputation).is_banned(&peer, Instant::now()) {
            return Err(FetchError::Connect(format!("{peer} is banned for misbehaviour")));
        }
        data.fetch(peer, addresses, subnet, checkpoint, max_bytes, deadline).await
    }

    /// Stops in order: withdraw, drain running requests, close tensor connections, leave the swarm, join all tasks.
    /// Later calls wait for the first one.
    ///
    /// # Cancel safety
    /// Not cancel safe: the network may be left half stopped; call it again to finish.
    pub async fn stop(&self) {
        let first = !std::mem::replace(&mut *lock(&self.inner.stopping), true);
        if !first
            && tokio::time::timeout(self.inner.timing.drain + 2 * JOIN, self.inner.stopped.cancelled()).await.is_ok()
        {
            return;
        }
        self.withdraw().await;
        let data = lock(&self.inner.data).take();
        if let Some(data) = data {
            data.drain(self.inner.timing.drain).await;
            data.close().await;
        }
        self.inner.shutdown.stop();
        let late = self.inner.shutdown.drain(JOIN).await;
        if !late.is_empty() {
            tracing::warn!(tasks = ?late, "tasks did not end in time");
        }
        self.inner.stopped.cancel();
    }

    fn data(&self) -> Option<Arc<DataPlane>> {
        lock(&self.inner.data).clone()
    }

    async fn ask(&self, peer: PeerId, question: ControlRequest) -> Result<ControlResponse, AskError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.send(Command::Ask { peer, question, reply }).await.map_err(|_| AskError::Stopped)?;
            answer.await.map_err(|_| AskError::Stopped)?
        };
        let answer =
            tokio::time::timeout(self.inner.timing.query, exchange).await.unwrap_or(Err(AskError::Timeout(peer)))?;
        match answer {
            ControlResponse::Refused(why) => Err(AskError::Refused { peer, why }),
            answer => Ok(answer),
        }
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.inner.commands.send(command).await.map_err(|_| Stopped)
    }
}

/// The swarm task takes no commands any more.
struct Stopped;

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({} in {})", self.inner.peer, self.inner.network)
    }
}
