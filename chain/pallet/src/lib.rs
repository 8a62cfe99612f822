//! `glia-chain-pallet` is the consensus pallet, shown as `SubtensorModule`: subnets, neurons, stake, weights, epochs and rewards, with the
//! public names, argument names and encodings of the Bittensor chain.
//!
//! What happens, in the order a participant meets it:
//!
//! ```text
//! coldkey ── burned_register ─▶ registration ─▶ replacement (when full) ─▶ uid
//! hotkey  ── serve_axon ──────▶ serving                                     │
//! coldkey ── add_stake ───────▶ staking ─▶ pool (TAO↔alpha) ─▶ shares       │
//! hotkey  ── set_weights ─────▶ weights  (or commit_reveal)                 ▼
//! every block: prices decay ─▶ issuance ─▶ coinbase ─▶ schedule ─▶ epoch ─▶ distribution
//! ```
//!
//! All arithmetic of consensus lives in `glia-chain-rules`; this crate reads its inputs from storage and writes its results back.
//!
//! Modules: [`types`] and [`safe_float`] are what storage holds; [`genesis`] is what a chain starts with; `registration`,
//! `replacement`, `subnet`, `serving`, `staking`, `shares`, `pool`, `weights`, `commit_reveal` stand behind the calls;
//! `extension` refuses calls before they enter a block; `issuance`, `coinbase`, `schedule`, `epoch`, `distribution` run in every
//! block.

#![cfg_attr(not(feature = "std"), no_std)]
// Calls have the arguments of the public chain.
#![allow(clippy::too_many_arguments)]

extern crate alloc;

mod calls;
mod coinbase;
mod commit_reveal;
mod distribution;
mod epoch;
mod errors;
mod events;
mod extension;
pub mod genesis;
mod issuance;
mod pool;
mod registration;
mod replacement;
pub mod safe_float;
mod schedule;
mod serving;
mod shares;
mod staking;
mod storage;
mod subnet;
pub mod types;
mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use extension::SubtensorTransactionExtension;
pub use pallet::*;

use polkadot_sdk_frame::pallet_macros::import_section;

/// The pallet itself.
// The macros of FRAME write items without documentation.
#[allow(missing_docs)]
#[import_section(storage::chain::chain)]
#[import_section(storage::accounts::accounts)]
#[import_section(storage::subnets::subnets)]
#[import_section(storage::hyperparameters::hyperparameters)]
#[import_section(storage::neurons::neurons)]
#[import_section(errors::errors)]
#[import_section(events::events)]
#[import_section(calls::calls)]
#[polkadot_sdk_frame::pallet]
pub mod pallet {
    use alloc::collections::{BTreeMap, VecDeque};
    use alloc::string::String;
    use alloc::vec::Vec;
    use polkadot_sdk_frame::prelude::*;
    use polkadot_sdk_frame::token::fungible;
    use polkadot_sdk_frame::traits::ConstBool;
    use polkadot_sdk_frame::traits::{ConstU16, ConstU32, ConstU64};

    use crate::genesis::SubnetGenesis;
    use crate::safe_float::SafeFloat;
    use crate::storage::defaults::*;
    use crate::types::*;

    /// The pallet.
    #[pallet::pallet]
    #[pallet::without_storage_info]
    pub struct Pallet<T>(_);

    /// What the pallet needs from its runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> {
        /// The ledger of TAO in rao.
        type Currency: fungible::Inspect<Self::AccountId, Balance = u64> + fungible::Mutate<Self::AccountId>;

        /// Whether endpoints on loopback may be announced; only sensible on a chain of one machine.
        #[pallet::constant]
        type AllowLoopbackAxon: Get<bool>;

        /// Id from which the accounts that hold the TAO of subnets are derived.
        #[pallet::constant]
        type SubtensorPalletId: Get<PalletId>;
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            Self::block_step()
        }

        fn on_finalize(_: BlockNumberFor<T>) {
            Self::read_issuance();
        }
    }

    /// What the pallet starts with.
    #[pallet::genesis_config]
    #[derive(DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Stake weight a hotkey needs to set weights, in rao.
        pub stake_threshold: u64,
        /// Blocks between two registrations of subnets.
        pub network_rate_limit: u64,
        /// Floor of the price of a new subnet, in rao.
        pub network_min_lock_cost: u64,
        /// Subnets that exist from the start, by any name.
        pub subnets: BTreeMap<String, SubnetGenesis<T::AccountId>>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Pallet::<T>::build_genesis(self);
        }
    }
}
