//! All that a router holds of one subnet: what requests read, and what background tasks keep up to date.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use glia_protocol::ContentHash;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::audit::AuditBook;
use crate::audit::tap::{Jobs, Tap};
use crate::config::{ConfigError, Policy, SubnetView};
use crate::directory::Snapshot;
use crate::dispatch::book::Book;
use crate::expert::Listed;
use crate::feedback::Feedback;
use crate::gate::GateModel;
use crate::gate::store::Header;
use crate::learning::{self, Learning};
use crate::metrics::Metrics;
use crate::probing::Probes;
use crate::scoring::ledger::Ledger;
use crate::scoring::stream::Traffic;
use crate::scoring::tally::SharedTally;
use crate::transport::Transport;

/// One subnet of a router.
pub struct Subnet {
    /// What the subnet is.
    pub view: SubnetView,
    /// Hash of its φ.
    pub feature_map: ContentHash,
    /// Tunable numbers.
    pub policy: Policy,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The network for requests whose answers may be audited; the same as [`Self::transport`] where nothing is.
    pub audited: Arc<dyn Transport>,
    /// What audits have found.
    pub audits: Arc<AuditBook>,
    /// Answers that labels may still come for.
    pub feedback: Feedback,
    /// Latencies and bans.
    pub book: Book,
    /// Labelled items and what experts answered to them.
    pub probes: Arc<Probes>,
    /// What scored traffic teaches.
    pub online: Learning,
    /// What requests look like, so that canaries look alike.
    pub traffic: Traffic,
    /// What was seen of each expert since the last epoch.
    pub tally: SharedTally,
    /// Figures for operators.
    pub metrics: Arc<Metrics>,
    ledger: Mutex<Ledger>,
    directory: watch::Sender<Arc<Snapshot>>,
    gate: watch::Sender<Arc<GateModel>>,
    /// Where and as whose what was learned is kept.
    kept_in: OnceLock<(PathBuf, Header)>,
}

impl Subnet {
    /// A subnet nobody is known in yet.
    ///
    /// # Errors
    /// When schema, φ and validation items do not fit each other.
    pub fn new(
        view: SubnetView,
        policy: Policy,
        transport: Arc<dyn Transport>,
        ledger: Ledger,
        metrics: Arc<Metrics>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let feature_map = view.validate()?;
        let probes = Arc::new(Probes::new(&view, &policy, seed));
        Ok(Self {
            online: Learning::new(Arc::clone(&probes), policy.prior_temperature),
            traffic: Traffic::default(),
            probes,
            kept_in: OnceLock::new(),
            feature_map,
            book: Book::new(policy.hedge_share),
            tally: SharedTally::default(),
            metrics,
            ledger: Mutex::new(ledger),
            directory: watch::Sender::new(Arc::default()),
            gate: watch::Sender::new(Arc::new(GateModel::new(policy.prior_temperature))),
            audited: Arc::clone(&transport),
            audits: Arc::new(AuditBook::off()),
            feedback: Feedback::default(),
            transport,
            policy,
            view,
        })
    }

    /// Audits a share of the answers from now on; where the answers to be audited come out.
    pub fn audit(&mut self, book: AuditBook) -> Jobs {
        self.audits = Arc::new(book);
        let (tap, jobs) = Tap::new(Arc::clone(&self.transport), Arc::clone(&self.audits));
        self.audited = Arc::new(tap);
        jobs
    }

    /// Everybody known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.directory.borrow())
    }

    /// Where the directory task publishes.
    #[must_use]
    pub fn directory(&self) -> watch::Sender<Arc<Snapshot>> {
        self.directory.clone()
    }

    /// The gate as fitted last.
    #[must_use]
    pub fn gate(&self) -> Arc<GateModel> {
        Arc::clone(&self.gate.borrow())
    }

    /// Replaces the gate.
    pub fn set_gate(&self, gate: GateModel) {
        self.gate.send_replace(Arc::new(gate));
    }

    /// Goes on with what a router of this subnet on `chain` learned before and kept in `folder`, and keeps it there from now
    /// on. What cannot be used is said in the log.
    pub fn resume(&self, folder: &Path, chain: &str) {
        let header = Header {
            chain: chain.to_owned(),
            netuid: self.view.netuid,
            feature_map: self.feature_map,
            features: self.view.feature_map.features(),
            classes: self.view.schema.classes().len(),
        };
        let path = learning::path(folder, self.view.netuid);
        if let Some(kept) = learning::load(&path, &header) {
            self.online.restore(kept);
        }
        // Only the first folder counts.
        let _ = self.kept_in.set((path, header));
    }

    /// Writes what was learned to the folder of [`Self::resume`], if there is one. Blocks.
    pub fn keep(&self) {
        let Some((path, header)) = self.kept_in.get() else { return };
        let kept = self.online.keep(&self.snapshot().experts, crate::directory::wall_ms());
        if let Err(error) = learning::save(path, header, &kept) {
            tracing::error!(path = %path.display(), %error, "the gate could not be kept");
        }
    }

    /// The ledger; the guard must not be held across an await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Candidates that are neither banned at `now` nor condemned by audits, in the order of their keys.
    #[must_use]
    pub fn callable(&self, now: Instant) -> Vec<Arc<Listed>> {
        let (snapshot, wall_ms) = (self.snapshot(), crate::directory::wall_ms());
        // A descriptor that ran out is no candidate, even if the directory that should have said so stands still.
        let valid = |listed: &Arc<Listed>| listed.candidate && listed.descriptor.expires_at_ms > wall_ms;
        let free = |listed: &&Arc<Listed>| {
            valid(listed) && !self.book.is_banned(&listed.key, now) && !self.audits.condemns(&listed.hotkey())
        };
        snapshot.experts.iter().filter(free).cloned().collect()
    }

    /// Whether a request could be answered now by an expert that is no newcomer (by anybody, where nothing can be probed).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let (gate, learned) = (self.gate(), self.online.view());
        let proven = |listed: &Arc<Listed>| {
            let known = gate.experts.get(&listed.key).is_some_and(|g| g.proven && !g.is_shut_out());
            known && !learned.is_shut_out(&listed.key)
        };
        let callable = self.callable(Instant::now());
        callable.iter().filter(|listed| self.probes.goal() == 0 || proven(listed)).count() >= self.policy.k_min
    }
}
