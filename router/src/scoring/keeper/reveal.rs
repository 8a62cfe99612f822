//! Commit and reveal: near an epoch the row's hash is committed to, one reveal period later the row is revealed.
//!
//! ```text
//! row ─▶ ledger (salt, row, hotkey of each uid) ─▶ commit ─▶ … epochs … ─▶ hotkeys as before? ─▶ reveal ─▶ ledger's history
//!                                                                            └ no: withheld, dropped
//! ```
//!
//! The commit is in the ledger before it is sent, so a router that was started anew reveals what it committed to. What is
//! revealed must be what was hashed; so when a uid with a weight changed hands in between, the whole row is withheld
//! rather than paying a newcomer for somebody else's work. The next row follows in the same epoch. A commit that was not
//! revealed in its epoch is void on chain and forgotten here.

use glia_chain_client::{AccountId, Metagraph, SubmitError, commit_hash};

use super::{Attempt, Keeper, TOO_FAST, hexadecimal, says};
use crate::scoring::ledger::{Commit, Row};

/// Numbers in a salt: 128 bits, so that a row cannot be found by trying.
const SALT: usize = 8;
/// Blocks after which a commit that never came on chain is forgotten: no signature stays valid for longer.
const LOST: u64 = 300;
/// What the pool says when the rate limit has not passed.
const RATE_LIMIT: &str = "RateLimitExceeded";
const COMMIT_TOO_FAST: &str = "CommittingWeightsTooFast";

impl Keeper {
    /// Commits to a row.
    pub(super) async fn commit(&mut self, row: Row) -> Attempt {
        let (netuid, before) = (row.netuid, row.block);
        let salt = rand::random::<[u16; SALT]>();
        let who = AccountId(self.chain.hotkey().0);
        let hash = commit_hash(who, netuid, 0, &row.pairs(), &salt, row.version_key);
        let name = hexadecimal(&hash);
        self.subnet.ledger().commit(Commit { hash: name.clone(), salt: salt.to_vec(), epoch: None, row });
        if !self.save().await {
            self.subnet.ledger().drop_commit(&name);
            return Attempt::Again("the ledger could not be saved, and nothing is committed to without it".to_owned());
        }
        let sent = self.chain.commit_weights(netuid, hash).await;
        let open = self.chain.commits(netuid).await.unwrap_or_default();
        let extrinsic = sent.as_ref().ok().map(|receipt| hexadecimal(&receipt.hash));
        let landed = open.iter().find(|open| open.hash == hash);
        if let Some(open) = landed {
            self.subnet.ledger().committed_at(&name, open.epoch, open.block, extrinsic);
            tracing::info!(subnet = %self.subnet.view.name, block = open.block, epoch = open.epoch, "weights committed");
            self.save().await;
        }
        match sent {
            Ok(_) => Attempt::Committed,
            Err(_) if landed.is_some() => Attempt::Committed,
            // It may still take effect; should it, it is found and revealed.
            Err(error @ (SubmitError::Read(_) | SubmitError::Deadline { open_until: Some(_), .. })) => {
                Attempt::Again(error.to_string())
            }
            Err(error) => {
                self.subnet.ledger().drop_commit(&name);
                self.save().await;
                if [RATE_LIMIT, COMMIT_TOO_FAST, TOO_FAST].iter().any(|name| says(&error, name)) {
                    Attempt::Wait { until: before.saturating_add(1), why: error.to_string() }
                } else {
                    Attempt::Again(error.to_string())
                }
            }
        }
    }

    /// Reveals what is due, forgets what is void.
    pub(super) async fn reveal(&mut self) {
        let netuid = self.subnet.view.netuid;
        let Some(metagraph) = self.read_neurons().await else { return };
        let (Ok(settings), Ok(open)) = (self.chain.hyperparameters(netuid).await, self.chain.commits(netuid).await)
        else {
            return;
        };
        let commits = self.subnet.ledger().commits().to_vec();
        let mut changed = false;
        for mut commit in commits {
            let name = commit.hash.clone();
            let Some(found) = open.iter().find(|open| hexadecimal(&open.hash) == name) else {
                changed |= self.missing(&commit, &metagraph, settings.reveal_period_epochs).await;
                continue;
            };
            if commit.epoch != Some(found.epoch) {
                self.subnet.ledger().committed_at(&name, found.epoch, found.block, None);
                commit.epoch = Some(found.epoch);
                changed = true;
            }
            let due = found.epoch.saturating_add(settings.reveal_period_epochs);
            if metagraph.epoch_index < due {
                continue;
            }
            changed = true;
            if metagraph.epoch_index > due {
                self.forget(&name, "expired", "it was not revealed in its epoch");
            } else if let Some(why) = changed_hands(&commit.row, &metagraph) {
                self.forget(&name, "withheld", &why);
            } else {
                self.reveal_one(&commit, &metagraph).await;
            }
        }
        if changed {
            self.save().await;
        }
    }

    async fn reveal_one(&mut self, commit: &Commit, metagraph: &Metagraph) {
        let (row, subnet) = (&commit.row, &self.subnet);
        match self.chain.reveal_weights(row.netuid, row.pairs(), commit.salt.clone(), row.version_key).await {
            Ok(receipt) => {
                let block = receipt.block_number;
                tracing::info!(subnet = %subnet.view.name, block, weights = row.weights.len(), "weights revealed");
                subnet.metrics.weights(&subnet.view.name, "revealed");
                subnet.ledger().revealed(&commit.hash, block, hexadecimal(&receipt.hash));
            }
            Err(error) => {
                // Tried again until the epoch is over.
                subnet.metrics.weights(&subnet.view.name, "failed");
                tracing::warn!(subnet = %subnet.view.name, %error, "weights not revealed");
                let pause = (u64::from(metagraph.tempo) / 20).clamp(1, 10);
                self.reveal_at = metagraph.block.saturating_add(pause);
            }
        }
    }

    /// A commit the chain does not hold: revealed behind an error, not there yet, or gone. Whether the ledger changed.
    async fn missing(&self, commit: &Commit, metagraph: &Metagraph, period: u64) -> bool {
        if let Some(epoch) = commit.epoch {
            // One look that does not show it proves nothing: the best block may be another in a moment.
            let Ok(mut stored) = self.chain.weights(commit.row.netuid, commit.row.uid).await else { return false };
            stored.sort_unstable();
            if stored == commit.row.pairs() {
                self.subnet.ledger().revealed(&commit.hash, metagraph.block, String::new());
            } else if metagraph.epoch_index > epoch.saturating_add(period) {
                self.forget(&commit.hash, "expired", "the chain holds it no longer");
            } else {
                return false;
            }
            return true;
        }
        let lost = metagraph.block > commit.row.block.saturating_add(LOST);
        if lost {
            self.forget(&commit.hash, "expired", "it never came on chain");
        }
        lost
    }

    fn forget(&self, hash: &str, result: &'static str, why: &str) {
        self.subnet.metrics.weights(&self.subnet.view.name, result);
        tracing::warn!(subnet = %self.subnet.view.name, commit = hash, "committed weights are dropped: {why}");
        self.subnet.ledger().drop_commit(hash);
    }
}

/// Which uid with a weight is no longer whose it was, in a sentence.
fn changed_hands(row: &Row, metagraph: &Metagraph) -> Option<String> {
    let weighty = row.weights.iter().filter(|line| line.weight > 0);
    let holder = |uid: u16| metagraph.neurons.iter().find(|n| n.uid == uid).map(|n| n.hotkey.0);
    let mut gone = weighty.filter(|line| holder(line.uid) != Some(line.hotkey.0.0));
    gone.next()
        .map(|line| format!("uid {} was {}'s and is no more; its weight is not a newcomer's", line.uid, line.hotkey.0))
}
