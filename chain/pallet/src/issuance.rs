//! New TAO: how much a block makes and where it is put.

use glia_chain_rules::emission;
use polkadot_sdk_frame::token::fungible::{Inspect, Mutate};

use crate::types::{NetUid, TaoBalance};
use crate::*;

impl<T: Config> Pallet<T> {
    /// TAO this block may make, in rao.
    pub(crate) fn block_emission() -> u64 {
        let emission = emission::mintable(TotalIssuance::<T>::get().0);
        BlockEmission::<T>::put(emission);
        emission
    }

    /// Makes TAO in the account of a subnet. Returns what was made: all of it, or nothing.
    pub(crate) fn mint_tao(netuid: NetUid, amount: u64) -> u64 {
        if amount == 0 || T::Currency::mint_into(&Self::subnet_account(netuid), amount).is_err() {
            return 0;
        }
        TotalIssuance::<T>::mutate(|total| *total = total.plus(TaoBalance(amount)));
        amount
    }

    /// Writes what the ledger says is in existence: TAO can also be burnt or made there without this pallet.
    pub(crate) fn read_issuance() {
        TotalIssuance::<T>::put(TaoBalance(T::Currency::total_issuance()));
    }
}
