//! `glia-router` sends each input to the few experts that know it, makes one answer of theirs, measures how much each
//! helped, and says so on chain.
//!
//! ```text
//! HTTP ─▶ api ─▶ pipeline: directory ─▶ gate ─▶ dispatch ─▶ aggregate ─▶ answer
//!                             ▲          ▲ ▲        │
//!                  DHT, heartbeats  probing learning▼
//!                                          scoring: shapley ─▶ ledger ─▶ weights ─▶ chain
//! ```
//!
//! Requests only read: who is there, what the gate has learned, who is banned. Background tasks write those, so that no
//! request waits for the DHT, a probe or the chain.
//!
//! Modules in flow order: [`config`], [`router`], [`transport`] and [`chain`] (the seams), [`expert`] and [`subnet`] (the
//! state), [`api`], [`pipeline`], [`directory`], [`gate`], [`probing`], [`learning`], [`dispatch`], [`aggregate`],
//! [`audit`], [`feedback`], [`scoring`], [`metrics`].

pub mod aggregate;
pub mod api;
pub mod audit;
pub mod chain;
pub mod config;
pub mod directory;
pub mod dispatch;
pub mod expert;
pub mod feedback;
pub mod gate;
pub mod learning;
pub mod metrics;
pub mod pipeline;
pub mod probing;
pub mod router;
pub mod scoring;
pub mod subnet;
pub mod transport;

pub use config::{ChainAccess, ConfigError, Labelled, Policy, RouterConfig, SubnetView};
pub use router::{Parts, Router, StartError};
