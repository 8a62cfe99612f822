//! Transactions waiting for a block: bounded, ordered by what they require and by priority.
//!
//! The runtime says of each transaction which tags it requires and provides (account and nonce, as a rule). A
//! transaction is *ready* when all it requires is on chain or provided by another ready one, else it is *future*.
//! Pure: it calls no runtime and reads no clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use sp_runtime::transaction_validity::ValidTransaction;
use tokio::sync::mpsc;

use crate::types::Hash;

type Tag = Vec<u8>;

/// Bounds of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub transactions: usize,
    /// Their bytes in all.
    pub bytes: usize,
    /// Transactions of one account.
    pub per_account: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { transactions: 4096, bytes: 64 << 20, per_account: 256 }
    }
}

/// A transaction as it came in.
#[derive(Debug)]
pub(crate) struct PoolTx {
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
    /// Who signed, encoded; empty for unsigned ones, which count as one account together.
    pub(crate) sender: Vec<u8>,
}

/// What a watcher of a transaction is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TxStatus {
    Ready,
    Future,
    InBlock(Hash),
    Finalized(Hash),
    Usurped(Hash),
    Dropped,
    Invalid,
}

/// Room for every status one transaction can go through, so that telling never waits.
pub(crate) const STATUSES: usize = 16;

/// Why a transaction was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("the transaction is in the pool already")]
    AlreadyImported(Hash),
    #[error("another transaction provides the same with priority {old}, this one has {new}")]
    TooLowPriority { old: u64, new: u64 },
    #[error("the pool is full")]
    Full,
    #[error("the account has too many transactions in the pool")]
    AccountFull,
}

struct Entry {
    tx: Arc<PoolTx>,
    /// Tags that are not on chain yet.
    requires: HashSet<Tag>,
    provides: Vec<Tag>,
    priority: u64,
    /// The last block it may be in.
    valid_till: u64,
    /// Order of arrival.
    seq: u64,
    /// The block it was validated at.
    validated_at: u32,
    ready: bool,
    watchers: Vec<mpsc::Sender<TxStatus>>,
}

impl Entry {
    fn tell(&mut self, status: TxStatus) {
        self.watchers.retain(|watcher| watcher.try_send(status).is_ok());
    }
}

/// The pool.
pub(crate) struct Pool {
    limits: PoolLimits,
    entries: HashMap<Hash, Entry>,
    provider: HashMap<Tag, Hash>,
    per_account: HashMap<Vec<u8>, usize>,
    bytes: usize,
    seq: u64,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            provider: HashMap::new(),
            per_account: HashMap::new(),
            bytes: 0,
            seq: 0,
        }
    }

    pub(crate) fn contains(&self, hash: &Hash) -> bool {
        self.entries.contains_key(hash)
    }

    /// Takes in a transaction the runtime found valid at block `at`.
    pub(crate) fn insert(
        &mut self,
        tx: PoolTx,
        valid: ValidTransaction,
        at: u32,
        watcher: Option<mpsc::Sender<TxStatus>>,
    ) -> Result<(), PoolError> {
        if self.contains(&tx.hash) {
            return Err(PoolError::AlreadyImported(tx.hash));
        }
        // Those it would replace.
        let rivals: HashSet<Hash> = valid.provides.iter().filter_map(|tag| self.provider.get(tag).copied()).collect();
        for rival in &rivals {
            let old = self.entries.get(rival).map_or(0, |entry| entry.priority);
            if old >= valid.priority {
                return Err(PoolError::TooLowPriority { old, new: valid.priority });
            }
        }
        let of_account = self.per_account.get(&tx.sender).copied().unwrap_or(0);
        let replaced_of_account = rivals
            .iter()
            .filter(|rival| self.entries.get(*rival).is_some_and(|entry| entry.tx.sender == tx.sender))
            .count();
        if of_account - replaced_of_account.min(of_account) >= self.limits.per_account {
            return Err(PoolError::AccountFull);
        }
        let before = self.entries.len();
        self.make_room(&tx, valid.priority, rivals.len())?;
        let removed = before > self.entries.len() || !rivals.is_empty();

        for rival in rivals {
            self.remove(&rival, Some(TxStatus::Usurped(tx.hash)));
        }
        self.seq += 1;
        *self.per_account.entry(tx.sender.clone()).or_default() += 1;
        self.bytes += tx.bytes.len();
        for tag in &valid.provides {
            self.provider.insert(tag.clone(), tx.hash);
        }
        let hash = tx.hash;
        self.entries.insert(
            hash,
            Entry {
                tx: Arc::new(tx),
                requires: valid.requires.into_iter().collect(),
                provides: valid.provides,
                priority: valid.priority,
                valid_till: u64::from(at).saturating_add(valid.longevity),
                seq: self.seq,
                validated_at: at,
                ready: false,
                watchers: watcher.into_iter().collect(),
            },
        );
        // Only a removal can take readiness away from another.
        if removed {
            self.refresh();
        } else {
            self.promote();
        }
        if let Some(entry) = self.entries.get_mut(&hash)
            && !entry.ready
        {
            entry.tell(TxStatus::Future);
        }
        Ok(())
    }

    /// Makes those ready whose last requirement has just come in, and those that waited for them.
    fn promote(&mut self) {
        loop {
            let now_ready: Vec<Hash> = self
                .entries
                .iter()
                .filter(|(_, entry)| !entry.ready && entry.requires.iter().all(|tag| self.provides(tag)))
                .map(|(hash, _)| *hash)
                .collect();
            if now_ready.is_empty() {
                return;
            }
            for hash in now_ready {
                if let Some(entry) = self.entries.get_mut(&hash) {
                    entry.ready = true;
                    entry.tell(TxStatus::Ready);
                }
            }
        }
    }

    /// Drops the least important transaction when there is no room, if that is not the new one.
    fn make_room(&mut self, tx: &PoolTx, priority: u64, freed: usize) -> Result<(), PoolError> {
        if tx.bytes.len() > self.limits.bytes {
            return Err(PoolError::Full);
        }
        while self.entries.len() >= self.limits.transactions + freed || self.bytes + tx.bytes.len() > self.limits.bytes
        {
            // Future ones go first, then low priority, then the newest.
            let least = self
                .entries
                .values()
                .min_by_key(|entry| (entry.ready, entry.priority, Reverse(entry.seq)))
                .map(|entry| (entry.tx.hash, entry.ready, entry.priority));
            match least {
                Some((hash, ready, old)) if !ready || old < priority => {
                    self.remove(&hash, Some(TxStatus::Dropped));
                }
                _ => return Err(PoolError::Full),
            }
        }
        Ok(())
    }

    /// The ready transactions in the order they may be applied.
    pub(crate) fn ready(&self) -> Vec<Arc<PoolTx>> {
        self.order().into_iter().filter_map(|hash| self.entries.get(&hash).map(|entry| Arc::clone(&entry.tx))).collect()
    }

    /// Whether a transaction in the pool provides a tag, as "account, nonce" does.
    pub(crate) fn provides(&self, tag: &[u8]) -> bool {
        self.provider.get(tag).and_then(|hash| self.entries.get(hash)).is_some_and(|entry| entry.ready)
    }

    /// How many are ready, and how many are future.
    pub(crate) fn len(&self) -> (usize, usize) {
        let ready = self.entries.values().filter(|entry| entry.ready).count();
        (ready, self.entries.len() - ready)
    }

    /// Takes note of a sealed block and returns the transactions most in need of validation, `most` at most.
    pub(crate) fn sealed(
        &mut self,
        block: Hash,
        number: u32,
        included: &[Hash],
        invalid: &[Hash],
        most: usize,
    ) -> Vec<Arc<PoolTx>> {
        let mut on_chain: HashSet<Tag> = HashSet::new();
        let mut touched: HashSet<Vec<u8>> = HashSet::new();
        for hash in included {
            if let Some(mut entry) = self.take(hash) {
                entry.tell(TxStatus::InBlock(block));
                entry.tell(TxStatus::Finalized(block));
                on_chain.extend(entry.provides);
                touched.insert(entry.tx.sender.clone());
            }
        }
        for hash in invalid {
            if let Some(mut entry) = self.take(hash) {
                entry.tell(TxStatus::Invalid);
                touched.insert(entry.tx.sender.clone());
            }
        }
        let expired: Vec<Hash> = self
            .entries
            .values()
            .filter(|entry| entry.valid_till < u64::from(number) + 1)
            .map(|entry| entry.tx.hash)
            .collect();
        for hash in expired {
            self.remove(&hash, Some(TxStatus::Invalid));
        }
        for entry in self.entries.values_mut() {
            entry.requires.retain(|tag| !on_chain.contains(tag));
        }
        self.refresh();

        let mut again: Vec<&Entry> = self.entries.values().collect();
        again.sort_by_key(|entry| (!touched.contains(&entry.tx.sender), entry.validated_at, entry.seq));
        again.into_iter().take(most).map(|entry| Arc::clone(&entry.tx)).collect()
    }

    /// Takes note of new validations at block `at`; `None` is for those that are invalid now.
    pub(crate) fn revalidated(
        &mut self,
        at: u32,
        verdicts: impl IntoIterator<Item = (Hash, Option<ValidTransaction>)>,
    ) {
        for (hash, valid) in verdicts {
            let Some(valid) = valid else {
                self.remove(&hash, Some(TxStatus::Invalid));
                continue;
            };
            let Some(entry) = self.entries.get_mut(&hash) else {
                continue;
            };
            entry.validated_at = at;
            entry.valid_till = u64::from(at).saturating_add(valid.longevity);
            entry.priority = valid.priority;
            entry.requires = valid.requires.into_iter().collect();
        }
        self.refresh();
    }

    /// Recomputes who is ready and tells those who became so.
    fn refresh(&mut self) {
        let ready: HashSet<Hash> = self.order().into_iter().collect();
        for (hash, entry) in &mut self.entries {
            let now = ready.contains(hash);
            if now != entry.ready {
                entry.ready = now;
                entry.tell(if now { TxStatus::Ready } else { TxStatus::Future });
            }
        }
    }

    /// Ready transactions: best priority first, then oldest, each after those it requires.
    fn order(&self) -> Vec<Hash> {
        let mut missing: HashMap<Hash, usize> = HashMap::with_capacity(self.entries.len());
        let mut waiting: HashMap<&Tag, Vec<Hash>> = HashMap::new();
        let mut heap = BinaryHeap::new();
        for (hash, entry) in &self.entries {
            if entry.requires.is_empty() {
                heap.push((entry.priority, Reverse(entry.seq), *hash));
            } else {
                missing.insert(*hash, entry.requires.len());
                for tag in &entry.requires {
                    waiting.entry(tag).or_default().push(*hash);
                }
            }
        }
        let mut out = Vec::with_capacity(self.entries.len());
        while let Some((_, _, hash)) = heap.pop() {
            out.push(hash);
            let Some(entry) = self.entries.get(&hash) else {
                continue;
            };
            for follower in entry.provides.iter().filter_map(|tag| waiting.remove(tag)) {
                for hash in follower {
                    let Some(count) = missing.get_mut(&hash) else {
                        continue;
                    };
                    *count -= 1;
                    if *count == 0
                        && let Some(entry) = self.entries.get(&hash)
                    {
                        heap.push((entry.priority, Reverse(entry.seq), hash));
                    }
                }
            }
        }
        out
    }

    fn remove(&mut self, hash: &Hash, status: Option<TxStatus>) {
        if let (Some(mut entry), Some(status)) = (self.take(hash), status) {
            entry.tell(status);
        }
    }

    fn take(&mut self, hash: &Hash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        self.bytes -= entry.tx.bytes.len();
        for tag in &entry.provides {
            if self.provider.get(tag) == Some(hash) {
                self.provider.remove(tag);
            }
        }
        if let Some(count) = self.per_account.get_mut(&entry.tx.sender) {
            *count -= 1;
            if *count == 0 {
                self.per_account.remove(&entry.tx.sender);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx(sender: u8, nonce: u8, salt: u8) -> PoolTx {
        PoolTx {
            hash: Hash::from([sender, nonce, salt, 0].repeat(8).try_into().unwrap_or([0; 32])),
            bytes: vec![sender, nonce, salt],
            sender: vec![sender],
        }
    }

    /// As the runtime says when the account's nonce on chain is 0.
    fn valid(sender: u8, nonce: u8, priority: u64) -> ValidTransaction {
        ValidTransaction {
            priority,
            requires: if nonce == 0 { Vec::new() } else { vec![vec![sender, nonce - 1]] },
            provides: vec![vec![sender, nonce]],
            longevity: 64,
            propagate: true,
        }
    }

    fn pool() -> Pool {
        Pool::new(PoolLimits { transactions: 6, bytes: 1024, per_account: 3 })
    }

    fn bytes(pool: &Pool) -> Vec<Vec<u8>> {
        pool.ready().iter().map(|tx| tx.bytes.clone()).collect()
    }

    #[test]
    fn nonces_are_kept_in_order_whatever_order_they_arrive_in() {
        let mut pool = pool();
        pool.insert(tx(1, 2, 0), valid(1, 2, 9), 1, None).unwrap();
        pool.insert(tx(1, 1, 0), valid(1, 1, 5), 1, None).unwrap();
        assert_eq!(pool.len(), (0, 2));
        pool.insert(tx(1, 0, 0), valid(1, 0, 1), 1, None).unwrap();
        assert_eq!(bytes(&pool), [vec![1, 0, 0], vec![1, 1, 0], vec![1, 2, 0]]);
    }

    #[test]
    fn higher_priority_goes_first_between_accounts() {
        let mut pool = pool();
        pool.insert(tx(1, 0, 0), valid(1, 0, 1), 1, None).unwrap();
        pool.insert(tx(2, 0, 0), valid(2, 0, 9), 1, None).unwrap();
        assert_eq!(bytes(&pool), [vec![2, 0, 0], vec![1, 0, 0]]);
    }

    #[test]
    fn a_rival_needs_a_higher_priority_to_replace() {
        let mut pool = pool();
        let (watcher, mut watched) = mpsc::channel(STATUSES);
        pool.insert(tx(1, 0, 0), valid(1, 0, 5), 1, Some(watcher)).unwrap();
        assert_eq!(
            pool.insert(tx(1, 0, 1), valid(1, 0, 5), 1, None),
            Err(PoolError::TooLowPriority { old: 5, new: 5 })
        );
        let better = tx(1, 0, 2);
        let usurper = better.hash;
        pool.insert(better, valid(1, 0, 6), 1, None).unwrap();
        assert_eq!(bytes(&pool), [vec![1, 0, 2]]);
        assert_eq!(watched.try_recv(), Ok(TxStatus::Ready));
        assert_eq!(watched.try_recv(), Ok(TxStatus::Usurped(usurper)));
    }

    #[test]
    fn an_account_and_the_pool_are_bounded() {
        let mut pool = pool();
        for nonce in 0..3 {
            pool.insert(tx(1, nonce, 0), valid(1, nonce, 5), 1, None).unwrap();
        }
        assert_eq!(pool.insert(tx(1, 3, 0), valid(1, 3, 5), 1, None), Err(PoolError::AccountFull));
        for sender in 2..5 {
            pool.insert(tx(sender, 0, 0), valid(sender, 0, 5), 1, None).unwrap();
        }
        assert_eq!(pool.insert(tx(9, 0, 0), valid(9, 0, 5), 1, None), Err(PoolError::Full));
        pool.insert(tx(9, 0, 0), valid(9, 0, 6), 1, None).unwrap();
        assert_eq!(pool.len().0 + pool.len().1, 6);
    }

    #[test]
    fn a_sealed_block_takes_its_transactions_out_and_frees_their_followers() {
        let mut pool = pool();
        let (watcher, mut watched) = mpsc::channel(STATUSES);
        let first = tx(1, 0, 0);
        let hash = first.hash;
        pool.insert(first, valid(1, 0, 5), 1, Some(watcher)).unwrap();
        pool.insert(tx(1, 1, 0), valid(1, 1, 5), 1, None).unwrap();
        let block = Hash::repeat_byte(7);
        let again = pool.sealed(block, 2, &[hash], &[], 10);
        assert_eq!(again.len(), 1);
        assert_eq!(bytes(&pool), [vec![1, 1, 0]]);
        assert_eq!(watched.try_recv(), Ok(TxStatus::Ready));
        assert_eq!(watched.try_recv(), Ok(TxStatus::InBlock(block)));
        assert_eq!(watched.try_recv(), Ok(TxStatus::Finalized(block)));
    }

    #[test]
    fn an_old_or_invalid_transaction_leaves_and_its_followers_wait() {
        let mut pool = pool();
        let first = tx(1, 0, 0);
        let hash = first.hash;
        pool.insert(first, valid(1, 0, 5), 1, None).unwrap();
        pool.insert(tx(1, 1, 0), valid(1, 1, 5), 1, None).unwrap();
        pool.revalidated(2, [(hash, None)]);
        assert_eq!(pool.len(), (0, 1));
        pool.sealed(Hash::zero(), 100, &[], &[], 10);
        assert_eq!(pool.len(), (0, 0));
    }
}
