//! The router's own record of what it found each expert worth and of every row it sent: why a weight is what it is.

mod commit;
mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};

use glia_protocol::{ContentHash, Hotkey};
use serde::{Deserialize, Serialize};

pub use commit::Commit;
pub use standing::{Basis, Hotkey58, Row, Sent, Standing, Terms, WeightLine};

use super::share::Income;
use super::tally::{Sums, Tally};
use super::weights::{limited, scale, to_row};

/// Rows sent of which it is not known yet whether they are on chain.
const MAX_PENDING: usize = 4;
/// Rows kept.
const HISTORY: usize = 64;
/// Newest rows whose weights are kept with all their terms.
const DETAILED: usize = 8;
/// A ledger file is never larger than this.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Averages below this are forgotten when their owner is silent.
const FORGET: f64 = 1e-6;
/// Blocks within which a ledger that begins believes registrations.
const BEGINNING: u64 = 50;
/// Checkpoints of one hotkey whose commitment is remembered.
const MAX_CHECKPOINTS: usize = 16;
const FORMAT: u32 = 1;

/// Why a ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused.
    #[error("the ledger {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no ledger.
    #[error("{path} is no ledger of this version ({why}); move it away to begin a new one")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    /// Genesis hash of the chain the uids belong to, hexadecimal; empty without a chain.
    chain: String,
    netuid: u16,
    standings: BTreeMap<Hotkey58, Standing>,
    history: VecDeque<Row>,
    /// Rows that may be on chain, oldest first; written before they are sent.
    #[serde(default)]
    pending: Vec<Row>,
    /// Rows committed to and not yet revealed, oldest first; written before they are sent.
    #[serde(default)]
    commits: Vec<Commit>,
    /// Since when a hotkey is committed to a checkpoint it serves.
    #[serde(default)]
    commitments: BTreeMap<Hotkey58, BTreeMap<String, u64>>,
    /// Block at which commitments were first looked at.
    #[serde(default)]
    watching_since: Option<u64>,
}

/// The ledger of one subnet.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Who holds which uid, as read last; not in the file.
    uids: BTreeMap<u16, Hotkey>,
}

impl Ledger {
    /// Opens the ledger of `netuid` on the chain named by `chain` in `folder`, or begins a new one. A ledger of another
    /// chain is put aside, for its hotkeys and uids mean nothing here.
    ///
    /// # Errors
    /// When the file cannot be read or is no ledger.
    pub fn open(folder: &Path, netuid: u16, chain: &str) -> Result<Self, LedgerError> {
        let path = folder.join(format!("ledger-{netuid}.json"));
        let fresh = File {
            format: FORMAT,
            chain: chain.to_owned(),
            netuid,
            standings: BTreeMap::new(),
            history: VecDeque::new(),
            pending: Vec::new(),
            commits: Vec::new(),
            commitments: BTreeMap::new(),
            watching_since: None,
        };
        let io = |source| LedgerError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let text = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE => {
                let why = format!("it has {} bytes", meta.len());
                return Err(LedgerError::Unreadable { path, why });
            }
            Ok(_) => std::fs::read_to_string(&path).map_err(io)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, file: fresh, uids: BTreeMap::new() });
            }
            Err(error) => return Err(io(error)),
        };
        let file: File = serde_json::from_str(&text)
            .map_err(|error| LedgerError::Unreadable { path: path.clone(), why: error.to_string() })?;
        if file.format != FORMAT || file.netuid != netuid {
            let why = format!("format {}, netuid {}", file.format, file.netuid);
            return Err(LedgerError::Unreadable { path, why });
        }
        if file.chain != chain {
            let aside = path.with_extension("other-chain.json");
            tracing::info!(path = %path.display(), "the ledger belongs to another chain; it is put aside");
            std::fs::rename(&path, aside).map_err(io)?;
            return Ok(Self { path, file: fresh, uids: BTreeMap::new() });
        }
        Ok(Self { path, file, uids: BTreeMap::new() })
    }

    /// Moves every average on by one epoch with share `rate` for what `tally` saw and what each hotkey `earned`, known
    /// from `basis`; silence counts as 0. Whoever is not `registered` any more is forgotten, so that there are never more
    /// than uids.
    pub fn close_epoch(
        &mut self,
        tally: &Tally,
        earned: &BTreeMap<Hotkey, Income>,
        basis: Basis,
        rate: f64,
        registered: impl Fn(&Hotkey) -> bool,
    ) {
        self.file.standings.retain(|hotkey, _| registered(&hotkey.0));
        self.file.commitments.retain(|hotkey, _| registered(&hotkey.0));
        for (hotkey, sums) in tally.experts.iter().filter(|(hotkey, _)| registered(hotkey)) {
            self.file.standings.entry(Hotkey58(*hotkey)).or_insert_with(|| Standing::new(&sums.name));
        }
        for (hotkey, standing) in &mut self.file.standings {
            let sums = tally.experts.get(&hotkey.0);
            // What is no number could not be read back.
            let income = earned.get(&hotkey.0).filter(|income| income.value().is_finite());
            standing.move_on(income.cloned().unwrap_or_default(), basis, rate);
            standing.scored = sums.map_or(0, Sums::scored);
            standing.failures = sums.map_or(0, |s| s.failures);
            standing.items = tally.items;
            standing.availability = tally.availability(&hotkey.0);
            if let Some(sums) = sums {
                standing.name.clone_from(&sums.name);
            }
        }
        self.file.standings.retain(|_, s| s.scored > 0 || s.failures > 0 || s.ema.abs() > FORGET);
    }

    /// Notes who holds which uid now.
    pub fn see_uids(&mut self, uids: impl IntoIterator<Item = (u16, Hotkey)>) {
        self.uids = uids.into_iter().collect();
    }

    /// Who holds a uid, as read last.
    #[must_use]
    pub fn holder(&self, uid: u16) -> Option<Hotkey> {
        self.uids.get(&uid).copied()
    }

    /// Whether the neurons have been read since the start.
    #[must_use]
    pub fn knows_uids(&self) -> bool {
        !self.uids.is_empty()
    }

    /// Notes that `hotkey`, registered at block `registered`, serves `checkpoint` at block `now`. What is served when this
    /// ledger begins counts from the registration, for nobody knows better; whatever is first seen later counts from then,
    /// so that an old hotkey, silent until now or not, cannot take over what it copies.
    pub fn see_checkpoint(&mut self, hotkey: Hotkey, checkpoint: &ContentHash, registered: u64, now: u64) {
        let watching_since = *self.file.watching_since.get_or_insert(now);
        let known = self.file.commitments.entry(Hotkey58(hotkey)).or_default();
        let beginning = now <= watching_since.saturating_add(BEGINNING);
        let since = if known.is_empty() && beginning { registered } else { now };
        let checkpoint = checkpoint.to_string();
        if !known.contains_key(&checkpoint) {
            if known.len() >= MAX_CHECKPOINTS
                && let Some(newest) = known.iter().max_by_key(|(_, since)| **since).map(|(name, _)| name.clone())
            {
                known.remove(&newest);
            }
            known.insert(checkpoint, since);
        }
        // A uid bought anew begins anew.
        known.values_mut().for_each(|since| *since = (*since).max(registered));
    }

    /// Block since which `hotkey` is committed to `checkpoint`; the last of all when it was never seen serving it.
    #[must_use]
    pub fn committed(&self, hotkey: &Hotkey, checkpoint: &ContentHash) -> u64 {
        let known = self.file.commitments.get(&Hotkey58(*hotkey));
        known.and_then(|known| known.get(&checkpoint.to_string())).copied().unwrap_or(u64::MAX)
    }

    /// Standing of a hotkey.
    #[must_use]
    pub fn standing(&self, hotkey: &Hotkey) -> Option<&Standing> {
        self.file.standings.get(&Hotkey58(*hotkey))
    }

    /// All standings.
    pub fn standings(&self) -> impl Iterator<Item = (Hotkey, &Standing)> {
        self.file.standings.iter().map(|(hotkey, standing)| (hotkey.0, standing))
    }

    /// Notes a row that is about to be sent, so that it is explained even if nothing is heard of it again.
    pub fn propose(&mut self, row: Row) {
        if self.file.pending.len() == MAX_PENDING {
            self.file.pending.remove(0);
        }
        self.file.pending.push(row);
    }

    /// Rows that may be on chain, oldest first.
    #[must_use]
    pub fn pending(&self) -> &[Row] {
        &self.file.pending
    }

    /// The row proposed last is certainly not on chain.
    pub fn withdraw(&mut self) {
        self.file.pending.pop();
    }

    /// The row proposed last is in block `block`.
    pub fn confirm(&mut self, block: u64, extrinsic: String) {
        if let Some(row) = self.file.pending.pop() {
            self.file.pending.clear();
            self.record(Row { block, extrinsic, ..row });
        }
    }

    /// Compares what was proposed with what the chain has: `stored` for `uid`, written in block `since`. Whether a row
    /// was confirmed by it.
    pub fn settle(&mut self, uid: u16, stored: &[(u16, u16)], since: u64) -> bool {
        let mut stored = stored.to_vec();
        stored.sort_unstable();
        let same = |row: &Row| {
            // A row of zeros and one without them are the same row; the chain keeps either.
            let said = row.weights.iter().map(|line| (line.uid, line.weight)).filter(|(_, weight)| *weight > 0);
            row.uid == uid && since > row.block && said.eq(stored.iter().copied().filter(|(_, weight)| *weight > 0))
        };
        let Some(at) = self.file.pending.iter().rposition(same) else { return false };
        self.file.pending.truncate(at + 1);
        self.confirm(since, String::new());
        true
    }

    /// Records a row that is on chain.
    pub fn record(&mut self, row: Row) {
        if self.file.history.len() == HISTORY {
            self.file.history.pop_front();
        }
        self.file.history.push_back(row);
        // The terms of old rows are most of a ledger and hardly ever asked for.
        if let Some(old) = self.file.history.len().checked_sub(1 + DETAILED) {
            self.file.history[old].weights.iter_mut().for_each(|line| line.terms = None);
        }
    }

    /// Rows sent, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.file.history.iter()
    }

    /// The row sent last.
    #[must_use]
    pub fn last_row(&self) -> Option<&Row> {
        self.file.history.back()
    }

    /// Weight last sent for a hotkey.
    #[must_use]
    pub fn last_weight(&self, hotkey: &Hotkey) -> u16 {
        let line = self.last_row().and_then(|row| row.weights.iter().find(|line| line.hotkey.0 == *hotkey));
        line.map_or(0, |line| line.weight)
    }

    /// The row to send to those who hold `uids`, each weight with the terms it is the product of. Empty when nobody is
    /// worth anything. `credibility` is 0 to 1; `min_allowed` and `max_limit` are the subnet's.
    pub fn row(
        &self,
        uids: &[(u16, Hotkey)],
        credibility: impl Fn(&Hotkey) -> f64,
        min_allowed: u16,
        max_limit: u16,
    ) -> Vec<WeightLine> {
        let terms: BTreeMap<u16, Terms> = (uids.iter())
            .filter_map(|(uid, hotkey)| Some((*uid, self.standing(hotkey)?.terms(credibility(hotkey)))))
            .collect();
        let worth: Vec<(u16, f64)> = terms.iter().map(|(uid, terms)| (*uid, terms.worth)).collect();
        let cut: BTreeMap<u16, f64> = limited(&worth, max_limit).into_iter().collect();
        let largest = cut.values().copied().fold(0.0, f64::max);
        let all: Vec<u16> = uids.iter().map(|(uid, _)| *uid).collect();
        let mut row: BTreeMap<u16, u16> = to_row(&worth, min_allowed, max_limit, &all).into_iter().collect();
        if row.is_empty() {
            return Vec::new();
        }
        let line = |(uid, hotkey): &(u16, Hotkey)| {
            let weight = row.remove(uid)?;
            let standing = self.standing(hotkey);
            let limited = cut.get(uid).copied().unwrap_or(0.0);
            debug_assert_eq!(weight, scale(limited, largest));
            Some(WeightLine {
                uid: *uid,
                hotkey: Hotkey58(*hotkey),
                name: standing.map_or_else(String::new, |s| s.name.clone()),
                weight,
                usefulness_ema: standing.map_or(0.0, |s| s.ema),
                scored: standing.map_or(0, |s| s.scored),
                reason: standing
                    .map_or_else(|| "no expert here; fills the row the chain asks for".to_owned(), Standing::reason),
                terms: terms.get(uid).cloned().map(|terms| Terms { limited, largest, ..terms }),
            })
        };
        uids.iter().filter_map(line).collect()
    }

    /// The file: as many of the newest rows as fit into `most` bytes, in a form that can be read back.
    fn text(&self, most: u64) -> Result<Vec<u8>, LedgerError> {
        let unreadable = |why: String| LedgerError::Unreadable { path: self.path.clone(), why };
        let mut file = self.file.clone();
        loop {
            let text = serde_json::to_vec_pretty(&file).map_err(|error| unreadable(error.to_string()))?;
            if text.len() as u64 <= most {
                serde_json::from_slice::<File>(&text).map_err(|error| unreadable(error.to_string()))?;
                return Ok(text);
            }
            if file.history.is_empty() {
                return Err(unreadable(format!("it would have {} bytes, {most} is the most", text.len())));
            }
            file.history.drain(..file.history.len().div_ceil(4));
        }
    }

    /// Writes the ledger; after a crash the file is the old or the new one, never half of either.
    ///
    /// # Errors
    /// When the file system refuses, or when [`Self::open`] would not take the file back.
    pub fn save(&self) -> Result<(), LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        let text = self.text(MAX_FILE)?;
        let temporary = self.path.with_extension("json.new");
        let mut file = std::fs::File::create(&temporary).map_err(io)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&temporary, &self.path).map_err(io)?;
        if let Some(folder) = self.path.parent() {
            // Without it the rename may be lost with the power; some file systems cannot do it.
            let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64) -> Row {
        let line = |uid| WeightLine {
            uid,
            hotkey: Hotkey58(Hotkey([uid as u8; 32])),
            name: String::new(),
            weight: 7,
            usefulness_ema: 0.0,
            scored: 0,
            reason: "because".repeat(10),
            terms: None,
        };
        Row {
            netuid: 1,
            hotkey: Hotkey58(Hotkey([0; 32])),
            uid: 0,
            block: n,
            extrinsic: String::new(),
            version_key: 1,
            for_epoch: n + 2,
            commit: None,
            weights: (1..20).map(line).collect(),
        }
    }

    #[test]
    fn a_ledger_that_grew_too_large_loses_its_oldest_rows_and_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), 1, "00").unwrap();
        (0..40).for_each(|n| ledger.record(row(n)));
        let whole = ledger.text(u64::MAX).unwrap().len() as u64;
        let text = ledger.text(whole / 2).unwrap();
        assert!(text.len() as u64 <= whole / 2);
        let file: File = serde_json::from_slice(&text).unwrap();
        assert!(file.history.len() > 10 && file.history.back() == ledger.file.history.back());
        assert!(matches!(ledger.text(10), Err(LedgerError::Unreadable { .. })));
    }

    #[test]
    fn a_checkpoint_changed_to_later_counts_from_then_and_a_uid_bought_anew_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), 1, "00").unwrap();
        let (who, first, second) = (Hotkey([1; 32]), ContentHash([1; 32]), ContentHash([2; 32]));
        ledger.see_checkpoint(who, &first, 100, 5000);
        ledger.see_checkpoint(who, &second, 100, 6000);
        ledger.see_checkpoint(who, &second, 100, 7000);
        assert_eq!((ledger.committed(&who, &first), ledger.committed(&who, &second)), (100, 6000));
        assert_eq!(ledger.committed(&Hotkey([2; 32]), &first), u64::MAX);
        for n in 10..60 {
            ledger.see_checkpoint(who, &ContentHash([n; 32]), 100, 8000);
        }
        assert_eq!(ledger.file.commitments[&Hotkey58(who)].len(), MAX_CHECKPOINTS);
        assert_eq!(ledger.committed(&who, &first), 100, "the earliest are kept");
        // Registered before all others, and silent until now.
        let silent = Hotkey([77; 32]);
        ledger.see_checkpoint(silent, &first, 1, 8500);
        assert_eq!(ledger.committed(&silent, &first), 8500);
        ledger.see_checkpoint(who, &first, 9000, 9100);
        assert_eq!(ledger.committed(&who, &first), 9000);
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), 1, "00").unwrap();
        ledger.save().unwrap();
        let mut bad = row(1);
        bad.weights[0].usefulness_ema = f64::NAN;
        ledger.record(bad);
        assert!(matches!(ledger.save(), Err(LedgerError::Unreadable { .. })));
        assert_eq!(Ledger::open(folder.path(), 1, "00").unwrap().history().count(), 0);
    }

    #[test]
    fn a_proposed_row_is_confirmed_by_what_the_chain_has_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), 1, "00").unwrap();
        ledger.propose(row(10));
        let stored: Vec<(u16, u16)> = (1..20).rev().map(|uid| (uid, 7)).collect();
        assert!(!ledger.settle(0, &stored, 10), "the same row was there before");
        assert!(!ledger.settle(0, &stored[1..], 11), "another row");
        assert!(!ledger.settle(3, &stored, 11), "another uid");
        assert!(ledger.last_row().is_none());
        assert!(ledger.settle(0, &stored, 11));
        assert_eq!(ledger.last_row().unwrap().block, 11);
        assert!(ledger.pending().is_empty());
    }
}
