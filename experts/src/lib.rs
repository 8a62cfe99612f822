//! `glia-experts` is what an expert is made of: data, training, checkpoints and the serving path of a Burn model.
//!
//! ```text
//! data ─▶ subnet (schema, φ) ─▶ roster ─▶ train ─▶ checkpoint ─▶ evaluate
//!                                                       │
//!  glia-peer ─▶ serve: server ▶ admission ▶ batcher ▶ device thread ▶ model
//!
//!  another's checkpoint ─▶ reexecute ─▶ what it should have answered
//! ```
//!
//! A roster says who is trained on what; training turns each entry into a checkpoint (a safetensors file named by its
//! blake3 hash); [`serve::ExpertServer`] answers forward requests with checkpoints. Nothing here knows the router, its
//! gate or the chain.
//!
//! Modules, in the order data flows: [`data`], [`features`], [`subnet`], [`roster`], [`device`], [`model`],
//! [`checkpoint`], [`train`], [`evaluate`], [`serve`], [`mod@reexecute`].

pub mod checkpoint;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod features;
pub mod model;
pub mod reexecute;
pub mod roster;
pub mod serve;
pub mod subnet;
pub mod train;
