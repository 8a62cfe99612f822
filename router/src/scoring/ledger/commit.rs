//! Rows that are committed to and not yet revealed.

use serde::{Deserialize, Serialize};

use super::{Ledger, Row, Sent};

/// Commits kept: the chain keeps ten open ones of a hotkey.
const MAX_COMMITS: usize = 10;

/// A row whose hash was committed to, with everything needed to reveal it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Hash of the commit, hexadecimal.
    pub hash: String,
    /// The salt in the hash: whoever knows it can guess the weights.
    pub salt: Vec<u16>,
    /// Epoch the chain counts the commit to; `None` until it was found on chain.
    pub epoch: Option<u64>,
    /// The row, with the hotkey behind every uid when it was made. Its `commit` is `None` until it was found on chain.
    pub row: Row,
}

impl Ledger {
    /// Notes a row that is about to be committed to.
    pub fn commit(&mut self, commit: Commit) {
        if self.file.commits.len() == MAX_COMMITS {
            self.file.commits.remove(0);
        }
        self.file.commits.push(commit);
    }

    /// Rows committed to and not yet revealed, oldest first.
    #[must_use]
    pub fn commits(&self) -> &[Commit] {
        &self.file.commits
    }

    /// The commit called `hash` is on chain in `block`, counted to `epoch`.
    pub fn committed_at(&mut self, hash: &str, epoch: u64, block: u64, extrinsic: Option<String>) {
        if let Some(commit) = self.file.commits.iter_mut().find(|commit| commit.hash == hash) {
            commit.epoch = Some(epoch);
            let known = commit.row.commit.take().map(|sent| sent.extrinsic);
            commit.row.commit = Some(Sent { block, extrinsic: extrinsic.or(known).unwrap_or_default() });
        }
    }

    /// Forgets a commit.
    pub fn drop_commit(&mut self, hash: &str) {
        self.file.commits.retain(|commit| commit.hash != hash);
    }

    /// The commit called `hash` was revealed in `block`; those before it are void then.
    pub fn revealed(&mut self, hash: &str, block: u64, extrinsic: String) {
        let Some(at) = self.file.commits.iter().position(|commit| commit.hash == hash) else { return };
        let mut void: Vec<Commit> = self.file.commits.drain(..=at).collect();
        if let Some(commit) = void.pop() {
            self.record(Row { block, extrinsic, ..commit.row });
        }
    }
}
