//! `glia-chain-runtime` is the runtime of the Glia chain: which pallets it has, at which index, with which settings.
//!
//! ```text
//! extrinsic ─▶ extensions (era, nonce, weight, fee, would it fail) ─▶ call of a pallet ─▶ storage
//! block     ─▶ SubtensorModule: prices, emission, epochs ──────────────▶ storage
//! node      ─▶ runtime API (module `api` natively, exports in wasm) ───▶ the same functions
//! ```
//!
//! Pallets have the indices of the public Bittensor chain: System 0, Timestamp 2, Aura 3, Balances 5, TransactionPayment 6,
//! SubtensorModule 7, Sudo 12. The SS58 prefix is 42, one TAO has 10^9 rao, an account needs 500 rao to exist.
//!
//! - `configs`: settings of each pallet, and what becomes of fees and dust.
//! - `apis`: what a node can ask; natively through [`api::dispatch`].
//! - [`genesis`]: presets of the first block, and how they are patched.

#![cfg_attr(not(feature = "std"), no_std)]
// The macros that assemble a runtime write items here without documentation, and wider visibility than needed.
#![allow(missing_docs, unreachable_pub)]
// Call and event enums of the pallets are what they are.
#![allow(clippy::large_enum_variant)]

extern crate alloc;

mod apis;
#[warn(missing_docs)]
mod configs;
#[warn(missing_docs)]
pub mod genesis;

pub use apis::RUNTIME_API_VERSIONS;
#[cfg(feature = "std")]
pub use apis::api;
pub use configs::{SlotDuration, TxExtension};

use alloc::borrow::Cow;
use polkadot_sdk_frame::prelude::frame_system;
use polkadot_sdk_frame::runtime::prelude::*;
use polkadot_sdk_frame::runtime::types_common::BlockOf;

pub use polkadot_sdk_frame::runtime::types_common::{AccountId, BlockNumber, Signature};

/// An amount of TAO in rao.
pub type Balance = u64;

/// Which runtime this is.
#[runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("glia"),
    impl_name: Cow::Borrowed("glia"),
    authoring_version: 1,
    spec_version: 1,
    impl_version: 1,
    apis: RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// A block of this chain.
pub type Block = BlockOf<Runtime, TxExtension>;
/// Header of a block.
pub type Header = HeaderFor<Runtime>;
/// A transaction or an inherent.
pub type UncheckedExtrinsic = ExtrinsicFor<Runtime>;
/// What is signed.
pub type SignedPayload = polkadot_sdk_frame::deps::sp_runtime::generic::SignedPayload<RuntimeCall, TxExtension>;
/// Runs blocks.
pub type RuntimeExecutive =
    Executive<Runtime, Block, frame_system::ChainContext<Runtime>, Runtime, AllPalletsWithSystem>;

#[frame_construct_runtime]
mod runtime {
    /// The runtime.
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system::Pallet<Runtime>;

    #[runtime::pallet_index(2)]
    pub type Timestamp = pallet_timestamp::Pallet<Runtime>;

    #[runtime::pallet_index(3)]
    pub type Aura = pallet_aura::Pallet<Runtime>;

    #[runtime::pallet_index(5)]
    pub type Balances = pallet_balances::Pallet<Runtime>;

    #[runtime::pallet_index(6)]
    pub type TransactionPayment = pallet_transaction_payment::Pallet<Runtime>;

    #[runtime::pallet_index(7)]
    pub type SubtensorModule = glia_chain_pallet::Pallet<Runtime>;

    #[runtime::pallet_index(12)]
    pub type Sudo = pallet_sudo::Pallet<Runtime>;
}
