//! `glia-chain-devnode` is the embedded default chain: one process that executes the runtime natively, seals blocks on a timer, keeps them
//! durably and serves the JSON-RPC that Substrate clients speak.
//!
//! ```text
//! JSON-RPC ─▶ rpc ─▶ workers ─▶ chain ─▶ pool ──ready──▶ author ─▶ executor (runtime) ─▶ store (one commit)
//!    ▲                                                     ▲                                   │
//!    │                                                  seal (timer)                           │
//!    └────────────────────── new block, finalized at once ◀────────────────────────────────────┘
//! ```
//!
//! For development and for networks on one machine: there is no consensus and no peer. A block that was announced
//! survives a kill at any moment.
//!
//! Modules, in flow order: [`config`] and [`node`] (start, stop), `rpc`, `workers`, `chain`, `pool`, `seal`, `author`,
//! `executor`, `genesis`, `store`.

pub mod config;
pub mod node;

mod rpc;
mod workers;

mod chain;
mod pool;

mod author;
mod executor;
mod genesis;
mod seal;
mod store;
mod types;

pub use config::{DevNodeConfig, PoolLimits, RpcLimits, RunError, StartError};
pub use node::DevNode;
pub use seal::Ended;
