//! Starting and stopping: data file, genesis, RPC server, sealing thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::server::ServerHandle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::config::{DevNodeConfig, RunError, StartError};
use crate::genesis;
use crate::rpc;
use crate::seal::{Ended, Sealing};
use crate::store::{OpenError, Store};
use crate::workers::Workers;

/// Below this, blocks take longer to make than to wait for.
const SHORTEST_BLOCK: Duration = Duration::from_millis(10);

/// A running chain. Call [`DevNode::stop`] to end it in order; dropping it stops sealing and serving soon after.
#[derive(Debug)]
pub struct DevNode {
    addr: SocketAddr,
    server: ServerHandle,
    sealing: Sealing,
    /// Ends when the data file is closed.
    closed: oneshot::Receiver<()>,
}

/// Requests still being answered when the node stops may take this long.
const CLOSING: Duration = Duration::from_secs(10);

impl DevNode {
    /// Opens or makes the chain and starts sealing and serving. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave a data file with a genesis block behind, which a later start takes up.
    pub async fn start(config: DevNodeConfig) -> Result<Self, StartError> {
        if config.block_time < SHORTEST_BLOCK {
            return Err(StartError::BlockTime(config.block_time));
        }
        let workers = Workers::start(config.rpc.threads)?;
        let opening = config.clone();
        let (chain, closed) =
            workers.run(move || open(&opening)).await.map_err(|error| StartError::Internal(error.to_string()))??;
        let chain = Arc::new(chain);

        let (server, addr) = rpc::serve(&config, Arc::clone(&chain), workers).await?;
        let sealing = Sealing::start(Arc::clone(&chain), config.block_time, {
            let server = server.clone();
            // A chain that stands still must not look alive.
            move || {
                server.stop().ok();
            }
        })?;
        let head = chain.head();
        tracing::info!(%addr, number = head.number(), genesis = ?chain.genesis, "chain is running");
        Ok(Self { addr, server, sealing, closed })
    }

    /// Runs a chain until `token` is cancelled.
    ///
    /// # Errors
    /// As [`DevNode::start`], and when the chain ends by itself.
    pub async fn run(config: DevNodeConfig, token: CancellationToken) -> Result<(), RunError> {
        let node = Self::start(config).await?;
        let ended = tokio::select! {
            biased;
            () = token.cancelled() => None,
            why = node.ended() => Some(why),
        };
        node.stop().await;
        ended.map_or(Ok(()), |why| Err(RunError::Ended(why)))
    }

    /// Resolves when the chain has ended by itself: it can keep or make no more blocks. Its JSON-RPC is closed by then.
    ///
    /// # Cancel safety
    /// Yes: the reason stays and is told again.
    pub async fn ended(&self) -> Ended {
        self.sealing.ended().await
    }

    /// Where JSON-RPC is served.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address for clients: `ws://…`.
    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// Stops sealing and serving and waits until both have ended. The data file is closed then.
    pub async fn stop(mut self) {
        self.sealing.stop();
        self.server.stop().ok();
        self.sealing.join().await;
        self.server.clone().stopped().await;
        if timeout(CLOSING, &mut self.closed).await.is_err() {
            tracing::warn!("a request keeps the chain's data file open");
        }
    }
}

impl Drop for DevNode {
    fn drop(&mut self) {
        self.sealing.stop();
        self.server.stop().ok();
    }
}

/// Opens the data file and puts block 0 into a new one.
fn open(config: &DevNodeConfig) -> Result<(Chain, oneshot::Receiver<()>), StartError> {
    let path = || config.data_dir.clone();
    let corrupt = |reason: String| StartError::Corrupt { path: path(), reason };
    let store = Store::open(&config.data_dir).map_err(|error| match error {
        OpenError::Locked => StartError::Locked(path()),
        OpenError::Corrupt(reason) => corrupt(reason),
        OpenError::Io(error) => StartError::Io(error),
    })?;
    let stored = store.head().map_err(|error| corrupt(error.to_string()))?;
    let build =
        |block_time| genesis::build(&config.preset, &config.genesis_patch, block_time).map_err(StartError::Genesis);
    let (genesis, head) = match stored {
        Some(head) => {
            // The block time is part of the genesis, but may be changed later on.
            let state = store.state_at(&head.hash).map_err(|error| corrupt(error.to_string()))?;
            let block_time =
                genesis::block_time_of(&state).ok_or_else(|| corrupt("its state cannot be read".to_owned()))?;
            if block_time != config.block_time {
                tracing::warn!(
                    made_with = ?block_time,
                    now = ?config.block_time,
                    "the block time differs from what the chain tells its clients"
                );
            }
            let (block, _) = build(block_time)?;
            let first = store
                .header(0)
                .map_err(|error| corrupt(error.to_string()))?
                .ok_or_else(|| corrupt("block 0 is missing".to_owned()))?
                .hash();
            if first != block.hash {
                return Err(StartError::OtherChain {
                    path: path(),
                    stored: format!("{first:?}"),
                    configured: format!("{:?}", block.hash),
                });
            }
            (block.hash, head)
        }
        None => {
            let (block, nodes) = build(config.block_time)?;
            store.append(&block, &nodes, config.state_history.max(1)).map_err(|error| corrupt(error.to_string()))?;
            let head = store
                .head()
                .map_err(|error| corrupt(error.to_string()))?
                .ok_or_else(|| corrupt("block 0 was not kept".to_owned()))?;
            (block.hash, head)
        }
    };
    Ok(Chain::new(store, genesis, head, config.pool, config.state_history))
}
