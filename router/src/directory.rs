//! The live list of experts, kept in the background so that no request ever waits for the DHT.
//!
//! ```text
//! walk (DHT keys) ─▶ providers ─▶ describe ─▶ table ─▶ snapshot ─▶ requests
//!                       heartbeats, uids ──────┘
//! ```
//!
//! Modules in flow order: [`walk`] (which keys when), [`table`] (what is known), this file (the task).

pub mod table;
pub mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use glia_protocol::{ExpertDescriptor, Hotkey, PeerId, SubnetName};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::expert::Listed;
use crate::transport::{LookupError, Transport};
use table::{Table, TableRules};
use walk::Walk;

/// Uids of a subnet's hotkeys at one block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neurons {
    /// The block they were read at.
    pub block: u64,
    /// The block of the last epoch.
    pub last_epoch: u64,
    /// Uid by hotkey.
    pub uids: HashMap<Hotkey, u16>,
}

/// Every expert known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Block of the uids, 0 without a chain.
    pub block: u64,
    /// Experts, in the order of their keys.
    pub experts: Vec<Arc<Listed>>,
}

/// What the directory of one subnet is started with.
pub struct DirectoryConfig {
    /// The subnet.
    pub subnet: SubnetName,
    /// Regions of its φ.
    pub regions: u8,
    /// What a descriptor must agree with.
    pub rules: TableRules,
    /// First pause between walks.
    pub walk_min: Duration,
    /// Longest pause between walks.
    pub walk_max: Duration,
}

/// DHT queries at the same time.
const QUERIES: usize = 8;
/// `DescribeExperts` at the same time.
const DESCRIBES: usize = 16;
/// A DHT query or a description that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the table is looked through.
const TICK: Duration = Duration::from_millis(250);

/// Keeps a directory until `stop`; publishes a snapshot at every change and at every tick.
///
/// `neurons` is `None` when no chain is configured.
pub async fn run(
    config: DirectoryConfig,
    transport: Arc<dyn Transport>,
    neurons: Option<watch::Receiver<Arc<Neurons>>>,
    publish: watch::Sender<Arc<Snapshot>>,
    stop: CancellationToken,
) {
    let mut heartbeats = transport.heartbeats();
    let mut heard = true;
    let mut table = Table::new(config.rules.clone(), neurons.is_some());
    let mut walk = Walk::new(config.regions, config.walk_min, config.walk_max);
    let mut queries = FuturesUnordered::new();
    let mut describes = FuturesUnordered::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            beat = heartbeats.recv(), if heard => match beat {
                Ok(beat) => table.heartbeat(&beat, Instant::now()),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "heartbeats were missed");
                }
                Err(broadcast::error::RecvError::Closed) => heard = false,
            },
            Some((peer, described)) = describes.next(), if !describes.is_empty() => {
                let described: Result<Vec<ExpertDescriptor>, LookupError> = described;
                match &described {
                    Ok(experts) => tracing::debug!(%peer, experts = experts.len(), "peer described its experts"),
                    Err(error) => tracing::debug!(%peer, %error, "peer could not be described"),
                }
                let now = Instant::now();
                if table.described(peer, described.ok(), now, wall_ms()) {
                    walk.changed(now);
                }
            }
            Some(found) = queries.next(), if !queries.is_empty() => {
                let found: Result<Vec<PeerId>, LookupError> = found;
                let news = found.unwrap_or_else(|error| {
                    tracing::debug!(%error, "DHT query failed");
                    Vec::new()
                });
                let now = Instant::now();
                let fresh = news.into_iter().filter(|peer| table.provider(*peer, now)).count();
                if fresh > 0 {
                    tracing::debug!(fresh, "new providers in the DHT");
                    walk.changed(now);
                }
                walk.answered(now);
            }
            _ = tick.tick() => {}
        }
        if let Some(neurons) = &neurons {
            table.set_neurons(&neurons.borrow());
        }
        let now = Instant::now();
        while queries.len() < QUERIES
            && let Some((region, shard)) = walk.next(now)
        {
            let (transport, subnet) = (Arc::clone(&transport), config.subnet.clone());
            queries.push(async move {
                timeout(PATIENCE, transport.find_providers(&subnet, region, shard))
                    .await
                    .unwrap_or_else(|_| Err(LookupError("the DHT did not answer in time".to_owned())))
            });
        }
        for peer in table.due(now, DESCRIBES - describes.len().min(DESCRIBES)) {
            let (transport, subnet) = (Arc::clone(&transport), config.subnet.clone());
            describes.push(async move {
                let answer = timeout(PATIENCE, transport.describe(peer, &subnet))
                    .await
                    .unwrap_or_else(|_| Err(LookupError("the peer did not answer in time".to_owned())));
                (peer, answer)
            });
        }
        publish.send_replace(Arc::new(table.snapshot(now)));
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
