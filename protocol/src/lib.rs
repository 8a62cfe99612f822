//! `glia-protocol` is every byte two Glia machines exchange, and nothing else: no sockets, no clocks, no models.
//!
//! ```text
//! ids ─▶ schema ─▶ descriptor ─▶ exchange, gossip      (control plane, libp2p)
//!  └───▶ tensor ─▶ forward ─▶ receipt ─▶ frame         (data plane, QUIC)
//!            transfer (checkpoint files) ──▲
//! ```
//!
//! Headers are bincode behind one size-limited [`codec`]; tensors travel raw. The normative text is `SPEC.md`
//! beside this crate. Every length is checked against [`limits`] before memory is taken for it.
//!
//! Modules, in the order a byte meets them: [`version`], [`limits`], [`codes`], [`ids`], [`signature`], [`codec`],
//! [`tensor`], [`schema`], [`feature_map`], [`descriptor`], [`exchange`], [`gossip`], [`forward`], [`receipt`],
//! [`transfer`], [`frame`].
//! With the feature `testing`: strategies and signed samples for the tests of every crate.

mod bounded;
pub mod codec;
pub mod codes;
pub mod descriptor;
pub mod exchange;
pub mod feature_map;
pub mod forward;
pub mod frame;
pub mod gossip;
pub mod ids;
pub mod limits;
pub mod receipt;
pub mod schema;
pub mod signature;
pub mod tensor;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transfer;
pub mod version;

pub use descriptor::{ExpertDescriptor, SignedDescriptor};
pub use forward::{ForwardRequest, ForwardResponse, Refusal};
pub use ids::{ContentHash, Hotkey, NetworkId, PeerId, RequestId, SubnetName};
pub use receipt::Receipt;
pub use tensor::{DType, Tensor};
