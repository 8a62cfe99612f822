//! `glia-chain-client` is a handle on the chain: it reads subnets and neurons, signs and sends calls, follows blocks.
//!
//! ```text
//! Chain::connect ─▶ session (RPC, metadata) ─▶ view (storage at one block) ─▶ metagraph, hyperparameters …
//!                        │
//!                        └─ call ─▶ submit (nonce, retry, exactly once) ─▶ receipt
//! ```
//!
//! Nothing here is compiled against one chain: names are resolved in the metadata of the chain connected to, so the
//! same handle serves the embedded chain, the project's node and the public Bittensor chain.
//!
//! Modules, in flow order: [`account`] and [`keypair`] (who), [`chain`] (the connection), [`reads`] and [`metagraph`]
//! (questions), [`blocks`] (following), [`call`], [`calls`], [`commit`] and [`submit`] (changes), [`error`].

pub mod account;
pub mod keypair;

pub mod chain;
mod session;

mod view;

pub mod metagraph;
pub mod reads;

pub mod blocks;

pub mod call;
pub mod calls;
pub mod commit;
pub mod enrol;
mod receipt;
pub mod submit;

pub mod error;

pub use account::{AccountId, ParseAccountError};
pub use blocks::{BlockHead, BlockStream};
pub use call::{Call, ChainEvent, Receipt};
pub use calls::AxonAnnouncement;
pub use chain::{Chain, ConnectOptions};
pub use commit::{OpenCommit, commit_hash};
pub use enrol::{EnrolError, EnrolRequest, EnrolStep, Enrolled};
pub use error::{ConnectError, ReadError, SubmitError};
pub use keypair::{Keypair, KeypairError, verify};
pub use metagraph::{Axon, Metagraph, Neuron};
pub use reads::Hyperparameters;
/// A dynamic argument or field of a [`Call`] or [`ChainEvent`].
pub use subxt::dynamic::Value;
