//! What a node is told at start, and why it may refuse to start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use crate::pool::PoolLimits;

/// Settings of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct DevNodeConfig {
    /// Folder of the chain's data file; made if missing.
    pub data_dir: PathBuf,
    /// Time between two blocks: 12 s like the public chain, or less for local work (at least 10 ms). Below 125 ms the
    /// chain's clock runs ahead of the wall's, since the runtime wants that much between two blocks.
    pub block_time: Duration,
    /// Where JSON-RPC is served, over WebSocket and HTTP; port 0 takes a free one.
    pub rpc_addr: SocketAddr,
    /// Name of the runtime's genesis preset.
    pub preset: String,
    /// Laid over the preset, member by member; `Value::Null` changes nothing.
    pub genesis_patch: Value,
    /// The chain's name (`system_chain`).
    pub chain_name: String,
    /// Blocks whose state can still be asked for; older states are removed, older blocks stay.
    pub state_history: u32,
    /// Bounds of the transaction pool.
    pub pool: PoolLimits,
    /// Bounds of the JSON-RPC server.
    pub rpc: RpcLimits,
}

/// Bounds of the JSON-RPC server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcLimits {
    /// Connections at one time.
    pub connections: u32,
    /// Subscriptions of one connection.
    pub subscriptions: u32,
    /// Bytes of one request.
    pub request_bytes: u32,
    /// Bytes of one answer; a connection may have 32 of them waiting.
    pub response_bytes: u32,
    /// Requests in one batch.
    pub batch: u32,
    /// Threads that answer.
    pub threads: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            connections: 128,
            subscriptions: 256,
            // A transaction of 2 MiB in hexadecimal, and some.
            request_bytes: 5 << 20,
            // The metadata is below one mebibyte.
            response_bytes: 8 << 20,
            batch: 64,
            threads: 2,
        }
    }
}

impl DevNodeConfig {
    /// A node with 12 s blocks, on a free port of this machine, with the `development` preset.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            block_time: Duration::from_secs(12),
            rpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            preset: "development".to_owned(),
            genesis_patch: Value::Null,
            chain_name: "Glia Development".to_owned(),
            state_history: 4096,
            pool: PoolLimits::default(),
            rpc: RpcLimits::default(),
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The block time is too short to make blocks in.
    #[error("a block time of {0:?} is too short; give at least 10ms")]
    BlockTime(Duration),
    /// Another process has the data.
    #[error("the chain data in {} is in use by another process; stop that one or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// The data cannot be read.
    #[error("the chain data in {} cannot be used: {reason}; move the directory away to start a new chain", .path.display())]
    Corrupt {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data belongs to a chain with another genesis.
    #[error("the chain data in {} belongs to another chain (genesis {stored}, these settings give {configured}); give the settings it was made with, or another data directory", .path.display())]
    OtherChain {
        /// The data directory.
        path: PathBuf,
        /// Genesis hash in the data.
        stored: String,
        /// Genesis hash of these settings.
        configured: String,
    },
    /// The genesis settings are wrong.
    #[error("the genesis cannot be built: {0}")]
    Genesis(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; choose another address or port 0")]
    Listen {
        /// The address given.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Threads or files could not be made.
    #[error("the chain node could not start: {0}")]
    Io(#[from] std::io::Error),
    /// Something inside failed.
    #[error("the chain node could not start: {0}")]
    Internal(String),
}

/// Why a chain no longer runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It ended by itself.
    #[error(transparent)]
    Ended(crate::seal::Ended),
}
