//! The thread that seals a block each block time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::author::{self, AuthorError, Made};
use crate::chain::Chain;
use crate::pool::PoolTx;
use crate::store::StoreError;

/// Why no block was sealed this time.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error(transparent)]
    Author(#[from] AuthorError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Seals blocks until the other end of `stop` is dropped or says so.
pub(crate) fn run(chain: &Chain, block_time: Duration, stop: &Receiver<()>) {
    let mut next = Instant::now() + block_time;
    loop {
        match stop.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let begun = Instant::now();
        match seal(chain, begun + block_time / 2) {
            Ok(transactions) => {
                let head = chain.head();
                let (ready, future) = chain.pool().len();
                tracing::debug!(
                    number = head.number(),
                    hash = ?head.hash,
                    transactions,
                    ready,
                    future,
                    took = ?begun.elapsed(),
                    "sealed a block"
                );
            }
            Err(error) => tracing::error!(%error, "no block sealed, trying again"),
        }
        // Keeps the beat, but leaves out what was missed.
        next += block_time;
        if next < Instant::now() {
            next = Instant::now() + block_time;
        }
    }
}

/// Seals one block and returns how many transactions it has.
fn seal(chain: &Chain, until: Instant) -> Result<usize, SealError> {
    let ready = chain.pool().ready();
    let made = match make(chain, &ready, until) {
        Err(SealError::Author(error)) if !ready.is_empty() => {
            // One of the transactions may be why: without them the chain goes on.
            tracing::error!(%error, "sealing without the pool's transactions, which are dropped");
            let mut made = make(chain, &[], until)?;
            made.invalid = ready.iter().map(|tx| tx.hash).collect();
            made
        }
        other => other?,
    };
    let transactions = made.included.len();
    chain.commit(made.block, &made.nodes, &made.included, &made.invalid)?;
    Ok(transactions)
}

fn make(chain: &Chain, ready: &[Arc<PoolTx>], until: Instant) -> Result<Made, SealError> {
    let (head, state) = chain.head_state()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    Ok(author::make(&head, &state, now_ms, ready, until)?)
}
