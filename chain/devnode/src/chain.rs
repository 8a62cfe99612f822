//! The chain in this process: its store, head and pool, shared by the sealing thread and the RPC workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use codec::Encode as _;
use sp_runtime::generic::Preamble;
use sp_runtime::traits::Hash as _;
use sp_runtime::transaction_validity::{
    InvalidTransaction, TransactionSource, TransactionValidity, TransactionValidityError, UnknownTransaction,
    ValidTransaction,
};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::executor::{self, CallError};
use crate::pool::{Pool, PoolError, PoolLimits, PoolTx, TxStatus};
use crate::store::{NodeChanges, Store, StoreError};
use crate::types::{Hash, Hashing, Head, SealedBlock, State};

/// Blocks a slow subscriber may fall behind before it loses some.
const BLOCKS_KEPT: usize = 64;
/// Bytes of one transaction.
const MAX_TRANSACTION: usize = 2 << 20;
/// Waiting transactions validated anew after each block.
const REVALIDATIONS: usize = 256;

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error("it cannot be read: {0}")]
    Format(String),
    #[error("{0:?}")]
    Invalid(InvalidTransaction),
    #[error("{0:?}")]
    Unknown(UnknownTransaction),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shared by everything in the node.
pub(crate) struct Chain {
    pub(crate) store: Store,
    pub(crate) genesis: Hash,
    head: RwLock<Head>,
    pool: Mutex<Pool>,
    sealed: broadcast::Sender<Arc<SealedBlock>>,
    history: u32,
    /// The last field, so that whoever hears of its end finds the data file closed.
    _open: oneshot::Sender<()>,
}

impl Chain {
    /// The chain, and a receiver that ends when the last user of it is gone and its data file is closed.
    pub(crate) fn new(
        store: Store,
        genesis: Hash,
        head: Head,
        pool: PoolLimits,
        history: u32,
    ) -> (Self, oneshot::Receiver<()>) {
        let (open, closed) = oneshot::channel();
        let chain = Self {
            store,
            genesis,
            head: RwLock::new(head),
            pool: Mutex::new(Pool::new(pool)),
            sealed: broadcast::channel(BLOCKS_KEPT).0,
            history: history.max(1),
            _open: open,
        };
        (chain, closed)
    }

    /// The newest block.
    pub(crate) fn head(&self) -> Head {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state after the newest block.
    pub(crate) fn head_state(&self) -> Result<(Head, State), StoreError> {
        let head = self.head();
        let state = self.store.state_at(&head.hash)?;
        Ok((head, state))
    }

    /// The state after a given block, or the newest.
    pub(crate) fn state(&self, at: Option<Hash>) -> Result<State, StoreError> {
        self.store.state_at(&at.unwrap_or_else(|| self.head().hash))
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks as they are sealed from now on.
    pub(crate) fn blocks(&self) -> broadcast::Receiver<Arc<SealedBlock>> {
        self.sealed.subscribe()
    }

    /// Makes a block durable, then tells everybody.
    pub(crate) fn commit(
        &self,
        block: SealedBlock,
        nodes: &NodeChanges,
        included: &[Hash],
        invalid: &[Hash],
    ) -> Result<(), StoreError> {
        self.store.append(&block, nodes, self.history)?;
        let head = Head { header: Arc::new(block.header.clone()), hash: block.hash };
        let (number, hash) = (head.number(), head.hash);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        // Before the pool, so that who hears of inclusion finds the block announced.
        self.sealed.send(Arc::new(block)).ok();
        let again = self.pool().sealed(hash, number, included, invalid, REVALIDATIONS);
        self.revalidate(&again)
    }

    fn revalidate(&self, again: &[Arc<PoolTx>]) -> Result<(), StoreError> {
        if again.is_empty() {
            return Ok(());
        }
        let (head, state) = self.head_state()?;
        let verdicts: Vec<(Hash, Option<ValidTransaction>)> = again
            .iter()
            .map(|tx| match validate(&state, &head, &tx.bytes) {
                Ok(valid) => (tx.hash, Some(valid)),
                Err(error) => {
                    tracing::debug!(hash = ?tx.hash, %error, "transaction leaves the pool");
                    (tx.hash, None)
                }
            })
            .collect();
        self.pool().revalidated(head.number(), verdicts);
        Ok(())
    }

    /// Checks a transaction at the newest block and takes it into the pool.
    pub(crate) fn submit(&self, bytes: Vec<u8>, watcher: Option<mpsc::Sender<TxStatus>>) -> Result<Hash, SubmitError> {
        if bytes.len() > MAX_TRANSACTION {
            return Err(SubmitError::Format(format!("{} bytes, more than {MAX_TRANSACTION}", bytes.len())));
        }
        let hash = Hashing::hash(&bytes);
        if self.pool().contains(&hash) {
            return Err(PoolError::AlreadyImported(hash).into());
        }
        let mut input = &bytes[..];
        let extrinsic =
            executor::decode_extrinsic(&mut input).map_err(|error| SubmitError::Format(error.to_string()))?;
        if !input.is_empty() {
            return Err(SubmitError::Format(format!("{} bytes too many", input.len())));
        }
        let sender = match &extrinsic.preamble {
            Preamble::Signed(address, ..) => address.encode(),
            _ => Vec::new(),
        };
        let (head, state) = self.head_state()?;
        let valid = validate(&state, &head, &bytes)?;
        let tx = PoolTx { hash, bytes, sender };
        self.pool().insert(tx, valid, head.number(), watcher)?;
        Ok(hash)
    }
}

fn validate(state: &State, head: &Head, bytes: &[u8]) -> Result<ValidTransaction, SubmitError> {
    let mut data = TransactionSource::External.encode();
    data.extend_from_slice(bytes);
    data.extend_from_slice(head.hash.as_bytes());
    let verdict: TransactionValidity = executor::ask(state, "TaggedTransactionQueue_validate_transaction", &data)?;
    verdict.map_err(|error| match error {
        TransactionValidityError::Invalid(error) => SubmitError::Invalid(error),
        TransactionValidityError::Unknown(error) => SubmitError::Unknown(error),
    })
}
