//! Following the chain: a stream of finalized blocks that survives a restart of the node.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::chain::Chain;
use crate::error::ReadError;
use crate::session::{Session, header_hash};

/// Heads kept for a slow reader; the node's own buffer takes over above this.
const HEADS_KEPT: usize = 64;

/// A finalized block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Finalized blocks, in order, without repeats. Blocks finalized while the connection was
/// broken are left out.
///
/// Ends only when dropped, or when another chain appears at the address.
#[derive(Debug)]
pub struct BlockStream {
    heads: mpsc::Receiver<BlockHead>,
}

impl BlockStream {
    /// The next finalized block; `None` when the chain at the address became another one.
    ///
    /// # Cancel safety
    /// Yes: a block is taken from the stream only when it is returned.
    pub async fn next(&mut self) -> Option<BlockHead> {
        self.heads.recv().await
    }
}

impl Stream for BlockStream {
    type Item = BlockHead;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.heads.poll_recv(cx)
    }
}

impl Chain {
    /// Follows finalized blocks, beginning with the present one. Must be called inside a tokio runtime;
    /// a task lives as long as the stream.
    #[must_use]
    pub fn subscribe_blocks(&self) -> BlockStream {
        let (tx, heads) = mpsc::channel(HEADS_KEPT);
        let chain = self.clone();
        tokio::spawn(async move { follow(&chain, &tx).await });
        BlockStream { heads }
    }

    /// Waits until block `number` is finalized and returns the newest finalized block. No deadline of its own.
    ///
    /// # Errors
    /// When another chain appears at the address.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn wait_for_block(&self, number: u64) -> Result<BlockHead, ReadError> {
        let mut blocks = self.subscribe_blocks();
        while let Some(head) = blocks.next().await {
            if head.number >= number {
                return Ok(head);
            }
        }
        Err(ReadError::NoSuchBlock(number.to_string()))
    }
}

/// Feeds heads into `tx` until its receiver is dropped, over as many connections as it takes.
async fn follow(chain: &Chain, tx: &mpsc::Sender<BlockHead>) {
    let mut newest = None;
    let mut pause = Duration::from_millis(50);
    loop {
        let session = chain.current();
        let session = if session.is_suspect() {
            let fresh = tokio::select! {
                biased;
                () = tx.closed() => return,
                fresh = chain.reconnect(&session) => fresh,
            };
            match fresh {
                Ok(fresh) => fresh,
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "waiting for the chain");
                    tokio::select! {
                        biased;
                        () = tx.closed() => return,
                        () = sleep(pause) => {}
                    }
                    pause = (pause * 2).min(Duration::from_secs(2));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "no longer following blocks");
                    return;
                }
            }
        } else {
            session
        };
        tokio::select! {
            biased;
            () = tx.closed() => return,
            before = heads_of(&session, tx, &mut newest) => {
                tracing::debug!(error = %before, "block subscription ended");
            }
        }
        session.suspect();
        pause = Duration::from_millis(50);
    }
}

/// Feeds the heads of one connection; returns what ended it.
async fn heads_of(session: &Session, tx: &mpsc::Sender<BlockHead>, newest: &mut Option<u64>) -> ReadError {
    let ended = |reason: &str| ReadError::Broken { url: session.url.to_string(), reason: reason.to_owned() };
    let runtime = match session.runtime().await {
        Ok(runtime) => runtime,
        Err(error) => return error,
    };
    let mut heads = match session.methods.chain_subscribe_finalized_heads().await {
        Ok(heads) => heads,
        Err(error) => return session.failed(error),
    };
    while let Some(head) = heads.next().await {
        let header = match head {
            Ok(header) => header,
            Err(error) => return session.failed(error),
        };
        if newest.is_some_and(|newest| header.number <= newest) {
            continue;
        }
        *newest = Some(header.number);
        let head = BlockHead { number: header.number, hash: header_hash(&runtime, &header).0 };
        if tx.send(head).await.is_err() {
            return ended("nobody reads the blocks");
        }
    }
    ended("the node ended the subscription")
}
