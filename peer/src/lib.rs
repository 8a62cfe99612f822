//! `glia-peer` is one machine's place in the network: who it is, whom it finds, and how tensors reach it.
//!
//! ```text
//!              ┌ control ── libp2p swarm: DHT, gossip, questions ─┐
//! identity ─▶ network                                             ├─ reputation
//!              └ data ───── QUIC endpoint: pool, client, server ──┘
//! ```
//!
//! A [`Network`] is the handle of both planes; clones share it. An expert calls [`Network::serve`] and
//! [`Network::advertise`], a router [`Network::find_providers`], [`Network::describe`], [`Network::forward`] and, to audit,
//! [`Network::fetch_checkpoint`]; a bootstrap node is a network that does neither. No type of libp2p or quinn appears in this crate's interface.
//!
//! Modules, in the order of a node's life: [`identity`], [`config`], [`network`], [`offer`], `control`, `data`,
//! [`reputation`], `shutdown`.

mod address;
pub mod config;
mod control;
mod data;
pub mod errors;
pub mod identity;
pub mod network;
pub mod offer;
pub mod reputation;
mod shutdown;

pub use config::{HotkeySigner, Limits, NetworkConfig, Timing};
pub use data::ForwardHandler;
pub use errors::{AdvertiseError, DescribeError, FetchError, FindError, ForwardError, PossessionError, StartError};
pub use identity::{Identity, IdentityError};
pub use network::Network;
pub use offer::ExpertOffer;
