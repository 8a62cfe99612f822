//! The thread that seals a block each block time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::author::{self, AuthorError, Made};
use crate::chain::Chain;
use crate::executor::panic_message;
use crate::pool::PoolTx;
use crate::store::StoreError;
use crate::workers::STACK_BYTES;

/// Without a block for so long, and for so many block times, the chain has failed.
const PATIENCE: (Duration, u32) = (Duration::from_secs(30), 10);

/// Why a node seals no more blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// It was told to stop.
    #[error("the chain was stopped")]
    Stopped,
    /// The data file could not be read or written.
    #[error("the chain cannot keep its blocks: {0}")]
    Store(String),
    /// Blocks could not be made for a long time.
    #[error("the chain could make no block for {0:?}: {1}")]
    NoBlocks(Duration, String),
    /// A fault inside.
    #[error("the chain failed inside: {0}")]
    Panicked(String),
}

/// Why no block was sealed this time.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error(transparent)]
    Author(#[from] AuthorError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The running thread. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Sealing {
    /// Dropped to stop it.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    ended: watch::Receiver<Option<Ended>>,
}

impl Sealing {
    /// Starts sealing. `failed` is called on the thread when it ends for any reason but being stopped.
    pub(crate) fn start(
        chain: Arc<Chain>,
        block_time: Duration,
        failed: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let (tell, ended) = watch::channel(None);
        let thread =
            thread::Builder::new().name("devnode-seal".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                let why = guarded(|| run(&chain, block_time, &stopped));
                // The data file must be closed when this is told.
                drop(chain);
                if why != Ended::Stopped {
                    tracing::error!(%why, "the chain has ended");
                    failed();
                }
                tell.send_replace(Some(why));
            })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), ended })
    }

    /// Resolves when the thread has ended.
    ///
    /// # Cancel safety
    /// Yes: the reason stays and is told again.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        // The thread tells why before it ends, come what may.
        why.unwrap_or_else(|| Ended::Panicked("the sealing thread vanished".to_owned()))
    }

    /// Tells the thread to stop, without waiting.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Stops the thread and waits for its end.
    pub(crate) async fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            tokio::task::spawn_blocking(move || thread.join()).await.ok();
        }
    }
}

/// Turns a panic into a reason.
fn guarded(job: impl FnOnce() -> Ended) -> Ended {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| Ended::Panicked(panic_message(panic.as_ref())))
}

/// Seals blocks until the other end of `stop` is dropped or says so, or it cannot go on.
fn run(chain: &Chain, block_time: Duration, stop: &Receiver<()>) -> Ended {
    let mut next = Instant::now() + block_time;
    let mut last_sealed = Instant::now();
    let patience = PATIENCE.0.max(block_time.saturating_mul(PATIENCE.1));
    loop {
        match stop.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ended::Stopped,
        }
        let begun = Instant::now();
        match seal(chain, block_time / 2) {
            Ok(transactions) => {
                last_sealed = Instant::now();
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
            Err(SealError::Store(error)) => return Ended::Store(error.to_string()),
            Err(SealError::Author(AuthorError::State(error))) => return Ended::Store(error),
            Err(SealError::Author(error)) if last_sealed.elapsed() > patience => {
                return Ended::NoBlocks(last_sealed.elapsed(), error.to_string());
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

/// Seals one block and returns how many transactions it has. Takes up none after `budget`.
fn seal(chain: &Chain, budget: Duration) -> Result<usize, SealError> {
    let ready = chain.pool().ready();
    let made = make(chain, &ready, budget);
    let made = match made {
        Err(SealError::Author(error)) if !ready.is_empty() => {
            tracing::error!(%error, "looking for the transaction with which no block can be made");
            let fits = |count| make(chain, ready.get(..count).unwrap_or_default(), budget);
            let (mut made, count) = longest(ready.len(), fits, |error| matches!(error, SealError::Author(_)))?;
            if let Some(culprit) = ready.get(count) {
                tracing::error!(hash = ?culprit.hash, "transaction dropped");
                made.invalid.push(culprit.hash);
            }
            made
        }
        other => other?,
    };
    let transactions = made.included.len();
    chain.commit(made.block, &made.nodes, &made.included, &made.invalid)?;
    Ok(transactions)
}

/// The largest count below `count` that can be made, found by halving, and what is made of it. `may_pass` tells the
/// failures that a smaller count may not have.
fn longest<T, E>(
    count: usize,
    mut make: impl FnMut(usize) -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<(T, usize), E> {
    let (mut best, mut good, mut bad) = (make(0)?, 0, count);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match make(middle) {
            Ok(made) => (best, good) = (made, middle),
            Err(error) if may_pass(&error) => bad = middle,
            Err(error) => return Err(error),
        }
    }
    Ok((best, good))
}

fn make(chain: &Chain, ready: &[Arc<PoolTx>], budget: Duration) -> Result<Made, SealError> {
    let (head, state) = chain.head_state()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    Ok(author::make(&head, &state, now_ms, ready, Instant::now() + budget)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::genesis;
    use crate::pool::PoolLimits;
    use crate::store::Store;

    const BLOCK: Duration = Duration::from_millis(50);

    fn chain(dir: &tempfile::TempDir) -> Chain {
        let store = Store::open(dir.path()).unwrap();
        let (block, nodes) = genesis::build("development", &serde_json::Value::Null, BLOCK).unwrap();
        store.append(&block, &nodes, 8).unwrap();
        let head = store.head().unwrap().unwrap();
        Chain::new(store, block.hash, head, PoolLimits::default(), 8).0
    }

    #[tokio::test]
    async fn a_chain_that_cannot_store_blocks_ends_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let chain = Arc::new(chain(&dir));
        // Another block lies where the next one belongs.
        let made = make(&chain, &[], BLOCK).unwrap();
        chain.store.append(&made.block, &made.nodes, 8).unwrap();
        let failed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&failed);
        let mut sealing = Sealing::start(chain, BLOCK, move || noted.store(true, Ordering::SeqCst)).unwrap();
        let why = sealing.ended().await;
        assert!(matches!(&why, Ended::Store(reason) if reason.contains("out of order")), "{why}");
        assert!(failed.load(Ordering::SeqCst));
        assert_eq!(sealing.ended().await, why);
        sealing.join().await;
    }

    #[tokio::test]
    async fn a_stopped_chain_has_not_failed() {
        let dir = tempfile::tempdir().unwrap();
        let mut sealing = Sealing::start(Arc::new(chain(&dir)), BLOCK, || panic!("it was stopped")).unwrap();
        sealing.join().await;
        assert_eq!(sealing.ended().await, Ended::Stopped);
    }

    #[test]
    fn a_panic_is_a_reason() {
        assert_eq!(guarded(|| panic!("out of luck")), Ended::Panicked("out of luck".to_owned()));
    }

    #[test]
    fn only_the_transaction_that_spoils_a_block_is_found() {
        for culprit in 0..9 {
            let mut tries = 0;
            let make = |count: usize| {
                tries += 1;
                if count > culprit { Err("spoilt") } else { Ok(count) }
            };
            assert_eq!(longest(9, make, |_| true), Ok((culprit, culprit)));
            assert!(tries <= 6, "{tries}");
        }
        // What has nothing to do with transactions ends the search.
        assert_eq!(longest(9, |_| Err::<(), _>("disk"), |_| true), Err("disk"));
        assert_eq!(longest(9, |count| if count > 0 { Err("disk") } else { Ok(()) }, |_| false), Err("disk"));
    }
}
