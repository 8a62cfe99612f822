//! A running router: its tasks, its HTTP server, its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiState};
use crate::audit::{self, AuditBook, AuditError, Recompute};
use crate::chain::ChainPort;
use crate::config::{ConfigError, Policy, RouterConfig, SubnetView};
use crate::directory::table::TableRules;
use crate::directory::{self, DirectoryConfig, Neurons};
use crate::dispatch::load;
use crate::feedback::{self, FeedbackKeys};
use crate::metrics::Metrics;
use crate::probing;
use crate::scoring::ledger::{Ledger, LedgerError};
use crate::scoring::{keeper, stream};
use crate::subnet::Subnet;
use crate::transport::Transport;

/// How long requests in flight may take when the router stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How often what was learned is written to disk.
const KEEP_EVERY: Duration = Duration::from_secs(30);

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something in the configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The book of audits cannot be used.
    #[error(transparent)]
    Audits(#[from] AuditError),
    /// The HTTP address cannot be used.
    #[error("cannot serve HTTP on {address}: {source}; is another program using this port?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The parts a router is built on, with the network and the chain behind their seams.
pub struct Parts {
    /// Subnets it routes in.
    pub subnets: Vec<SubnetView>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The chain, if any.
    pub chain: Option<Arc<dyn ChainPort>>,
    /// Computes answers again for audits; without it nothing is audited.
    pub recompute: Option<Arc<dyn Recompute>>,
    /// Who may tell what was right.
    pub feedback: Option<FeedbackKeys>,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Folder of the ledger.
    pub data_dir: PathBuf,
    /// Seed of all chance.
    pub seed: u64,
    /// Tunable numbers.
    pub policy: Policy,
}

impl From<RouterConfig> for Parts {
    fn from(config: RouterConfig) -> Self {
        Self {
            subnets: config.subnets,
            transport: Arc::new(config.network),
            chain: config.chain.map(|access| Arc::new(access) as Arc<dyn ChainPort>),
            recompute: config.recompute,
            feedback: config.feedback,
            http: config.http,
            data_dir: config.data_dir,
            seed: config.seed,
            policy: config.policy,
        }
    }
}

/// A running router. Dropping it without [`Router::stop`] cancels its tasks without waiting for them.
pub struct Router {
    http: SocketAddr,
    subnets: Vec<Arc<Subnet>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Router {
    /// Starts the directory, the prober, the scorer and the HTTP server.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: RouterConfig) -> Result<Self, StartError> {
        Self::start_with(config.into()).await
    }

    /// As [`Self::start`], on any network and chain that fit the seams.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(parts: Parts) -> Result<Self, StartError> {
        parts.policy.validate()?;
        if parts.subnets.is_empty() {
            return Err(ConfigError("a router needs at least one subnet".to_owned()).into());
        }
        let metrics = Arc::new(Metrics::default());
        let genesis = parts.chain.as_ref().map(|chain| chain.genesis()).unwrap_or_default();
        let (mut subnets, mut jobs) = (Vec::new(), Vec::new());
        for view in parts.subnets {
            let ledger = Ledger::open(&parts.data_dir, view.netuid, &genesis)?;
            let transport = Arc::clone(&parts.transport);
            let metrics = Arc::clone(&metrics);
            let mut subnet = Subnet::new(view, parts.policy.clone(), transport, ledger, metrics, parts.seed)?;
            if parts.recompute.is_some() {
                let penalty = parts.policy.audit_penalty;
                let book = AuditBook::open(&parts.data_dir, subnet.view.netuid, &genesis, penalty)?;
                jobs.push(subnet.audit(book));
            }
            subnet.resume(&parts.data_dir, &genesis);
            subnet.feedback.open(parts.feedback.is_some());
            subnets.push(Arc::new(subnet));
        }
        let listen = |source| StartError::Listen { address: parts.http, source };
        let listener = TcpListener::bind(parts.http).await.map_err(listen)?;
        let http = listener.local_addr().map_err(listen)?;

        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for subnet in &subnets {
            spawn_subnet(subnet, parts.chain.clone(), parts.seed, &stop, &tasks);
        }
        if let Some(recompute) = &parts.recompute {
            for (subnet, jobs) in subnets.iter().zip(jobs) {
                let (subnet, recompute) = (Arc::clone(subnet), Arc::clone(recompute));
                let evidence = parts.data_dir.join("evidence");
                tasks.spawn(audit::worker::run(subnet, jobs, recompute, evidence, stop.clone()));
            }
        }
        let app = api::app(ApiState::new(subnets.clone(), metrics, parts.policy).with_feedback(parts.feedback));
        let stopped = stop.clone();
        tasks.spawn(async move {
            let serve = axum::serve(listener, app).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = serve.await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        tracing::info!(%http, "router serves HTTP");
        Ok(Self { http, subnets, stop, tasks })
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Its subnets, for tests and embedding.
    #[must_use]
    pub fn subnets(&self) -> &[Arc<Subnet>] {
        &self.subnets
    }

    /// Stops accepting, lets requests in flight finish for a while, ends all tasks, saves the ledgers.
    ///
    /// # Cancel safety
    /// Not cancel safe; call it to its end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        for subnet in &self.subnets {
            if let Err(error) = subnet.ledger().save() {
                tracing::error!(%error, "the ledger could not be saved");
            }
            subnet.keep();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn spawn_subnet(
    subnet: &Arc<Subnet>,
    chain: Option<Arc<dyn ChainPort>>,
    seed: u64,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let neurons = watch::Sender::new(Arc::new(Neurons::default()));
    let config = DirectoryConfig {
        subnet: subnet.view.name.clone(),
        // At most 64, checked with the feature map.
        regions: u8::try_from(subnet.view.feature_map.regions()).unwrap_or(u8::MAX),
        rules: TableRules {
            schema: subnet.view.schema.clone(),
            feature_map: subnet.feature_map,
            features: subnet.view.feature_map.features(),
            silence: subnet.policy.silence,
        },
        walk_min: subnet.policy.walk_min,
        walk_max: subnet.policy.walk_max,
    };
    let uids = chain.is_some().then(|| neurons.subscribe());
    tasks.spawn(directory::run(config, Arc::clone(&subnet.transport), uids, subnet.directory(), stop.clone()));
    tasks.spawn(probing::run(Arc::clone(subnet), seed, stop.clone()));
    tasks.spawn(load::watch(Arc::clone(subnet), stop.clone()));
    tasks.spawn(stream::run(Arc::clone(subnet), seed, stop.clone()));
    tasks.spawn(keep(Arc::clone(subnet), stop.clone()));
    tasks.spawn(watch_figures(Arc::clone(subnet), stop.clone()));
    if let Some(chain) = chain {
        tasks.spawn(keeper::run(Arc::clone(subnet), chain, neurons, stop.clone()));
    }
}

/// Keeps on disk what was learned; the last time when the router stops ([`Router::stop`]).
async fn keep(subnet: Arc<Subnet>, stop: CancellationToken) {
    let mut tick = interval_at(Instant::now() + KEEP_EVERY, KEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let kept = Arc::clone(&subnet);
        if let Err(error) = tokio::task::spawn_blocking(move || kept.keep()).await {
            tracing::error!(%error, "keeping the gate failed");
        }
    }
}

/// Keeps gauges up to date and forgets what was remembered of experts long gone.
async fn watch_figures(subnet: Arc<Subnet>, stop: CancellationToken) {
    let mut tick = interval(Duration::from_secs(1));
    let mut labels = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            now = tick.tick() => {
                let snapshot = subnet.snapshot();
                let candidates = subnet.callable(now).len();
                subnet.metrics.directory(&subnet.view.name, snapshot.experts.len(), candidates, subnet.book.totals().0);
                feedback::tell(&subnet, &mut labels, now);
                subnet.metrics.audits(&subnet.view.name, subnet.audits.condemned(), subnet.audits.dropped());
                subnet.book.forget(now, |key| snapshot.experts.iter().any(|listed| listed.key == *key));
            }
        }
    }
}
