//! All that a router holds of one subnet: what requests read, and what background tasks keep up to date.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
use crate::metrics::Metrics;
use crate::probing::Probes;
use crate::scoring::ledger::Ledger;
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
    pub probes: Probes,
    /// What was seen of each expert since the last epoch.
    pub tally: SharedTally,
    /// Figures for operators.
    pub metrics: Arc<Metrics>,
    ledger: Mutex<Ledger>,
    directory: watch::Sender<Arc<Snapshot>>,
    gate: watch::Sender<Arc<GateModel>>,
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
        Ok(Self {
            probes: Probes::new(&view, &policy, seed),
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

    /// The ledger; the guard must not be held across an await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Candidates that are neither banned at `now` nor condemned by audits, in the order of their keys.
    #[must_use]
    pub fn callable(&self, now: Instant) -> Vec<Arc<Listed>> {
        let snapshot = self.snapshot();
        let free = |listed: &&Arc<Listed>| {
            listed.candidate && !self.book.is_banned(&listed.key, now) && !self.audits.condemns(&listed.hotkey())
        };
        snapshot.experts.iter().filter(free).cloned().collect()
    }

    /// Whether a request could be answered now by an expert that is no newcomer (by anybody, where nothing can be probed).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let gate = self.gate();
        let proven = |listed: &Arc<Listed>| gate.experts.get(&listed.key).is_some_and(|g| g.proven && !g.is_shut_out());
        let callable = self.callable(Instant::now());
        callable.iter().filter(|listed| self.probes.goal() == 0 || proven(listed)).count() >= self.policy.k_min
    }
}
