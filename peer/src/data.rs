//! The data plane: tensors over QUIC, one pooled connection per peer, one stream per request.
//!
//! ```text
//! caller: client, fetch ─▶ pool ─▶ connection ─▶ stream: request ▶ …… ▶ response, or refusal, or reset
//! expert: server ─▶ table, shares ─▶ wire ─▶ ForwardHandler ─▶ receipt ─▶ wire
//!                                       └──▶ handout (checkpoints) ───────▶┘
//! ```

mod client;
mod codes;
mod endpoint;
mod fetch;
mod handout;
mod pool;
mod server;
mod shares;
mod table;
mod tls;
mod wire;

pub(crate) use endpoint::{DataPlane, DataSetup};
pub use server::ForwardHandler;
