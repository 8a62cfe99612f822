//! Follows the chain for one subnet: keeps uids fresh, and says once per epoch, shortly before it, what experts are worth.
//! Where the subnet wants it, what is said is a commit, revealed in a later epoch: see `reveal`.

mod reveal;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use glia_chain_client::{Metagraph, SubmitError};
use glia_protocol::Hotkey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Basis, Hotkey58, Row};
use super::share::{Rules, incomes};
use super::tally::Tally;
use crate::audit::record::CLOSED;
use crate::chain::ChainPort;
use crate::directory::Neurons;
use crate::expert::ExpertKey;
use crate::subnet::Subnet;

/// Labelled items without which an epoch is not closed.
const MIN_ITEMS: u64 = 64;
/// Between two reads of all neurons, unless an epoch passed.
const NEURONS_EVERY: Duration = Duration::from_secs(2);
/// Shortest and longest pause between two looks at the chain.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(6));
/// How long a look at the chain may go on when the router stops.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// Attempts per epoch after errors that may pass.
const ATTEMPTS: u32 = 3;
/// Blocks by which a commitment comes later while no audit has verified who made it.
const UNVERIFIED: u64 = 1 << 40;
/// A Subtensor error that means: not before the next epoch.
const NO_PERMIT: &str = "NeuronNoValidatorPermit";
const TOO_FAST: &str = "SettingWeightsTooFast";

/// What became of an attempt to set weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The row is on chain.
    Set,
    /// The row's hash is on chain; the row follows in a later epoch.
    Committed,
    /// Not in this epoch, and why.
    NotThisEpoch(String),
    /// Not before block `until`, and why; that is no failure.
    Wait {
        /// The block.
        until: u64,
        /// Why.
        why: String,
    },
    /// It may work in a moment.
    Again(String),
}

/// Follows the chain until `stop`.
pub async fn run(
    subnet: Arc<Subnet>,
    chain: Arc<dyn ChainPort>,
    neurons: watch::Sender<Arc<Neurons>>,
    stop: CancellationToken,
) {
    let mut keeper = Keeper::new(subnet, chain, neurons);
    loop {
        let look = keeper.look();
        tokio::pin!(look);
        let pause = tokio::select! {
            biased;
            () = stop.cancelled() => {
                // A row that is being sent is to be in the ledger.
                let _ = timeout(LAST_LOOK, look).await;
                break;
            }
            pause = &mut look => pause,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
        }
    }
}

/// The state of following one subnet.
pub struct Keeper {
    subnet: Arc<Subnet>,
    chain: Arc<dyn ChainPort>,
    neurons: watch::Sender<Arc<Neurons>>,
    read_at: Option<Instant>,
    /// Best block and when it was first seen.
    block: Option<(u64, Instant)>,
    block_time: Duration,
    /// Epoch that is dealt with.
    done: Option<u64>,
    attempts: u32,
    /// Epoch whose tally is in the ledger.
    closed: Option<u64>,
    /// Block before which nothing is attempted.
    wait_until: u64,
    /// Whether all that was proposed has been compared with the chain.
    settled: bool,
    /// Block before which commits need no look.
    reveal_at: u64,
    reachable: bool,
}

impl Keeper {
    /// A keeper that has not looked yet.
    #[must_use]
    pub fn new(subnet: Arc<Subnet>, chain: Arc<dyn ChainPort>, neurons: watch::Sender<Arc<Neurons>>) -> Self {
        Self {
            subnet,
            chain,
            neurons,
            read_at: None,
            block: None,
            block_time: Duration::from_secs(1),
            done: None,
            attempts: 0,
            closed: None,
            wait_until: 0,
            settled: false,
            reveal_at: 0,
            reachable: true,
        }
    }

    /// One look at the chain; sets weights when an epoch is near. Returns how long to wait before the next look.
    pub async fn look(&mut self) -> Duration {
        let netuid = self.subnet.view.netuid;
        let (block, next) = match self.chain.schedule(netuid).await {
            Ok(schedule) => schedule,
            Err(error) => {
                if std::mem::replace(&mut self.reachable, false) {
                    tracing::warn!(%error, "the chain cannot be read; uids stay as they are");
                }
                return PAUSE.1.min(Duration::from_secs(2));
            }
        };
        if !std::mem::replace(&mut self.reachable, true) {
            tracing::info!(block, "the chain can be read again");
        }
        self.clock(block);
        self.look_at_directory();
        if self.read_at.is_none_or(|at| at.elapsed() >= NEURONS_EVERY.max(self.block_time)) {
            self.read_neurons().await;
            if !self.settled {
                self.settle().await;
            }
        }
        if block >= self.reveal_at && !self.subnet.ledger().commits().is_empty() {
            self.reveal_at = block + 1;
            self.reveal().await;
        }
        if let Some(next) = next
            && self.done != Some(next)
            && self.wait_until <= block
            && next.saturating_sub(block) <= self.lead(next)
        {
            self.attempt(next).await;
        }
        (self.block_time / 2).clamp(PAUSE.0, PAUSE.1)
    }

    /// Learns how long a block takes.
    fn clock(&mut self, block: u64) {
        let now = Instant::now();
        match self.block {
            Some((seen, at)) if block > seen => {
                let each = (now - at) / u32::try_from(block - seen).unwrap_or(u32::MAX);
                self.block_time = (self.block_time + each) / 2;
                self.block = Some((block, now));
            }
            Some(_) => {}
            None => self.block = Some((block, now)),
        }
    }

    /// Blocks before an epoch at which weights are set: a fifth of a tempo, 2 to 20.
    fn lead(&self, next: u64) -> u64 {
        let last = self.neurons.borrow().last_epoch;
        (next.saturating_sub(last) / 5).clamp(2, 20)
    }

    fn look_at_directory(&self) {
        let snapshot = self.subnet.snapshot();
        let here = snapshot.experts.iter().filter(|listed| listed.is_registered());
        let mut present: HashMap<Hotkey, _> = HashMap::new();
        for listed in here {
            present.entry(listed.hotkey()).or_insert_with(|| Arc::clone(listed));
        }
        self.subnet.tally.with(|tally| {
            tally.look(present.iter().map(|(hotkey, listed)| (*hotkey, listed.descriptor.name.as_str())));
        });
    }

    /// Notes who holds which uid, and since when each hotkey serves what it serves.
    fn look_at_commitments(&self, metagraph: &Metagraph) {
        let registered: HashMap<Hotkey, u64> =
            metagraph.neurons.iter().map(|n| (Hotkey(n.hotkey.0), n.block_at_registration)).collect();
        let snapshot = self.subnet.snapshot();
        let mut ledger = self.subnet.ledger();
        ledger.see_uids(metagraph.neurons.iter().map(|n| (n.uid, Hotkey(n.hotkey.0))));
        for listed in &snapshot.experts {
            if let Some(block) = registered.get(&listed.hotkey()) {
                ledger.see_checkpoint(listed.hotkey(), &listed.key.checkpoint, *block, metagraph.block);
            }
        }
    }

    async fn read_neurons(&mut self) -> Option<Metagraph> {
        match self.chain.metagraph(self.subnet.view.netuid).await {
            Ok(metagraph) => {
                self.read_at = Some(Instant::now());
                let uids = metagraph.neurons.iter().map(|n| (Hotkey(n.hotkey.0), n.uid)).collect();
                let neurons = Neurons { block: metagraph.block, last_epoch: metagraph.last_epoch_block, uids };
                self.neurons.send_replace(Arc::new(neurons));
                self.look_at_commitments(&metagraph);
                Some(metagraph)
            }
            Err(error) => {
                tracing::warn!(%error, "the neurons could not be read");
                None
            }
        }
    }

    async fn attempt(&mut self, epoch: u64) {
        let name = self.subnet.view.name.clone();
        let result = self.set_weights(epoch).await;
        match result {
            Attempt::Set => {
                self.subnet.metrics.weights(&name, "set");
                (self.done, self.attempts) = (Some(epoch), 0);
            }
            Attempt::Committed => {
                self.subnet.metrics.weights(&name, "committed");
                (self.done, self.attempts) = (Some(epoch), 0);
            }
            Attempt::NotThisEpoch(why) => {
                self.subnet.metrics.weights(&name, "not_this_epoch");
                tracing::info!(subnet = %name, epoch, "no weights in this epoch: {why}");
                (self.done, self.attempts) = (Some(epoch), 0);
            }
            Attempt::Wait { until, why } => {
                tracing::debug!(subnet = %name, epoch, until, "weights wait: {why}");
                self.wait_until = until;
            }
            Attempt::Again(why) => {
                self.attempts += 1;
                self.subnet.metrics.weights(&name, "failed");
                tracing::warn!(subnet = %name, epoch, attempt = self.attempts, "weights not set: {why}");
                if self.attempts >= ATTEMPTS {
                    (self.done, self.attempts) = (Some(epoch), 0);
                }
            }
        }
    }

    /// Moves the ledger on by what was seen since the last epoch; whether enough was.
    fn close(&self, metagraph: &Metagraph) -> bool {
        let subnet = &self.subnet;
        let (tally, basis) = match subnet.tally.take(MIN_ITEMS) {
            Some(tally) => (tally, Basis::Labels),
            None => match subnet.tally.with(|tally| agreed(subnet, tally, metagraph)) {
                Some(tally) => (tally, Basis::Agreement),
                None => return false,
            },
        };
        let rate = match basis {
            Basis::Labels => subnet.policy.ema,
            Basis::Agreement => {
                let share = 100.0 * subnet.policy.agreement_weight;
                tracing::warn!(
                    subnet = %subnet.view.name, items = tally.items,
                    "fewer than {MIN_ITEMS} labels in this epoch: experts are compared with each other, which counts {share:.0} % of labels"
                );
                subnet.policy.ema * subnet.policy.agreement_weight
            }
        };
        let registered: HashSet<Hotkey> = metagraph.neurons.iter().map(|n| Hotkey(n.hotkey.0)).collect();
        // Comparing all experts takes a while; nobody is to wait for the ledger meanwhile.
        let known = subnet.ledger().clone();
        let earned = incomes(
            &tally,
            &Rules {
                alike: &|a, b| subnet.probes.alike(a, b),
                // Whose answers were never computed again may have served anything under that hash: it comes last.
                committed: &|hotkey, key| {
                    let verified = self.subnet.audits.credibility(hotkey) > CLOSED;
                    known.committed(hotkey, &key.checkpoint).saturating_add(if verified { 0 } else { UNVERIFIED })
                },
                now: metagraph.block,
            },
        );
        subnet.ledger().close_epoch(&tally, &earned, basis, rate, |hotkey| registered.contains(hotkey));
        true
    }

    /// Closes the epoch in the ledger and sends the row that follows from it.
    pub async fn set_weights(&mut self, epoch: u64) -> Attempt {
        let (netuid, hotkey) = (self.subnet.view.netuid, self.chain.hotkey());
        let settings = match self.chain.hyperparameters(netuid).await {
            Ok(settings) => settings,
            Err(error) => return Attempt::Again(error.to_string()),
        };
        // Read anew: a uid may have changed hands since the last look.
        let Some(metagraph) = self.read_neurons().await else {
            return Attempt::Again("the neurons could not be read".to_owned());
        };
        if self.closed != Some(epoch) && self.close(&metagraph) {
            self.closed = Some(epoch);
            // A ledger that cannot be saved is said so; the row that follows from it is not sent then, see below.
            self.save().await;
        }
        let Some(me) = metagraph.neurons.iter().find(|n| n.hotkey.0 == hotkey.0) else {
            return Attempt::NotThisEpoch(format!("hotkey {hotkey} is not registered in subnet {netuid}"));
        };
        let version_key = self.subnet.policy.weights_version;
        if settings.weights_version_key > version_key {
            let wanted = settings.weights_version_key;
            return Attempt::NotThisEpoch(format!(
                "the subnet wants weights of version {wanted}, this is {version_key}"
            ));
        }
        let sent_before = {
            let ledger = self.subnet.ledger();
            ledger.last_row().is_some() || !ledger.pending().is_empty() || !ledger.commits().is_empty()
        };
        let since = metagraph.block.saturating_add(1).saturating_sub(me.last_update);
        let limit = settings.weights_rate_limit;
        if sent_before && since < limit {
            let why = format!("only {since} blocks since the last weights, the subnet asks for {limit}");
            let until = metagraph.block.saturating_add(limit - since);
            return if until < epoch { Attempt::Wait { until, why } } else { Attempt::NotThisEpoch(why) };
        }
        let uids: Vec<(u16, Hotkey)> =
            metagraph.neurons.iter().map(|n| (n.uid, Hotkey(n.hotkey.0))).filter(|(uid, _)| *uid != me.uid).collect();
        let lines = {
            let credibility = |hotkey: &Hotkey| self.subnet.audits.credibility(hotkey);
            self.subnet.ledger().row(&uids, credibility, settings.min_allowed_weights, settings.max_weight_limit)
        };
        if lines.is_empty() {
            return Attempt::NotThisEpoch("nobody has been found useful yet".to_owned());
        }
        let row = Row {
            netuid,
            hotkey: Hotkey58(hotkey),
            uid: me.uid,
            block: metagraph.block,
            extrinsic: String::new(),
            version_key,
            for_epoch: epoch,
            commit: None,
            weights: lines,
        };
        if settings.commit_reveal_enabled { self.commit(row).await } else { self.set_openly(row).await }
    }

    /// Sends a row as it is.
    async fn set_openly(&mut self, row: Row) -> Attempt {
        let (netuid, version_key, weights) = (row.netuid, row.version_key, row.pairs());
        let (before, count) = (row.block, weights.len());
        // Written before it is sent: whatever happens then, no row is on chain without its explanation.
        self.subnet.ledger().propose(row);
        if !self.save().await {
            self.subnet.ledger().withdraw();
            return Attempt::Again("the ledger could not be saved, and no row is sent without it".to_owned());
        }
        self.settled = false;
        match self.chain.set_weights(netuid, weights, version_key).await {
            Ok(receipt) => {
                let block = receipt.block_number;
                tracing::info!(subnet = %self.subnet.view.name, block, weights = count, "weights set");
                self.subnet.ledger().confirm(block, hexadecimal(&receipt.hash));
                self.settled = true;
                self.save().await;
                Attempt::Set
            }
            Err(error) if says(&error, NO_PERMIT) => {
                self.withdraw().await;
                Attempt::NotThisEpoch("this hotkey has no validator permit yet; trying again next epoch".to_owned())
            }
            Err(error) if says(&error, TOO_FAST) => {
                self.withdraw().await;
                Attempt::Wait { until: before.saturating_add(1), why: error.to_string() }
            }
            Err(error @ (SubmitError::Module { .. } | SubmitError::Dispatch(_) | SubmitError::BadCall { .. })) => {
                self.withdraw().await;
                Attempt::Again(error.to_string())
            }
            // It may have taken effect all the same.
            Err(_) if self.settle().await => Attempt::Set,
            Err(error) => Attempt::Again(error.to_string()),
        }
    }

    /// Compares what was proposed with what the chain has; whether a row was confirmed by it.
    async fn settle(&mut self) -> bool {
        if self.subnet.ledger().pending().is_empty() {
            self.settled = true;
            return false;
        }
        let (netuid, hotkey) = (self.subnet.view.netuid, self.chain.hotkey());
        let Some(metagraph) = self.read_neurons().await else { return false };
        let Some(me) = metagraph.neurons.iter().find(|n| n.hotkey.0 == hotkey.0) else { return false };
        let Ok(stored) = self.chain.weights(netuid, me.uid).await else { return false };
        let confirmed = self.subnet.ledger().settle(me.uid, &stored, me.last_update);
        if confirmed {
            tracing::info!(subnet = %self.subnet.view.name, block = me.last_update, "weights found on chain");
            self.settled = true;
            self.save().await;
        }
        confirmed
    }

    async fn withdraw(&mut self) {
        self.subnet.ledger().withdraw();
        self.settled = self.subnet.ledger().pending().is_empty();
        self.save().await;
    }

    /// Whether the ledger was saved.
    async fn save(&self) -> bool {
        let ledger = self.subnet.ledger().clone();
        let saved = tokio::task::spawn_blocking(move || ledger.save()).await;
        match saved {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::error!(%error, "the ledger could not be saved"),
            Err(error) => tracing::error!(%error, "saving the ledger failed"),
        }
        false
    }
}

/// What experts' agreement shows where labels are missing; `None` when too little was seen. Takes the agreement; labels
/// too few for an epoch stay for the next.
fn agreed(subnet: &Subnet, tally: &mut Tally, metagraph: &Metagraph) -> Option<Tally> {
    if tally.agreement.items < MIN_ITEMS {
        return None;
    }
    let seen = std::mem::take(&mut tally.agreement);
    let owned = metagraph.neurons.iter().filter(|n| n.coldkey.0 != [0; 32]);
    let owners: HashMap<Hotkey, _> = owned.map(|n| (Hotkey(n.hotkey.0), n.coldkey)).collect();
    // Full agreement is worth what a sure and right answer is: ln C.
    let scale = (subnet.view.schema.classes().len().max(2) as f64).ln();
    let independent = |a: (&Hotkey, &ExpertKey), b: (&Hotkey, &ExpertKey)| {
        let one_owner = owners.get(a.0).is_some_and(|owner| owners.get(b.0) == Some(owner));
        !one_owner && !subnet.probes.alike(a.1, b.1)
    };
    let mut agreed = seen.tally(scale, independent);
    agreed.looks = std::mem::take(&mut tally.looks);
    for (hotkey, sums) in &mut tally.experts {
        let entry = agreed.experts.entry(*hotkey).or_default();
        // Of this epoch, as the looks are.
        (entry.present, entry.failures) = (std::mem::take(&mut sums.present), std::mem::take(&mut sums.failures));
        entry.name.clone_from(&sums.name);
    }
    Some(agreed)
}

/// A hash, 0x….
fn hexadecimal(hash: &[u8; 32]) -> String {
    hash.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Whether the chain gave this Subtensor error, as a failed call or as a refusal of the pool.
fn says(error: &SubmitError, name: &str) -> bool {
    match error {
        SubmitError::Refused { reason, .. } => reason.contains(name),
        other => other.is("SubtensorModule", name),
    }
}
