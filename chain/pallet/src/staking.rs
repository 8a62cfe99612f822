//! Staking: TAO of a coldkey becomes alpha with a hotkey and back, through the pool of the subnet.

use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::token::fungible::{Inspect, Mutate};
use polkadot_sdk_frame::token::{Fortitude, Precision, Preservation};

use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

/// Smallest amount that can be staked or taken out, in rao, without the fee.
pub(crate) const MIN_STAKE: u64 = 2_000_000;

impl<T: Config> Pallet<T> {
    /// TAO a coldkey can spend without its account being removed.
    pub(crate) fn free_tao(coldkey: &T::AccountId) -> u64 {
        T::Currency::reducible_balance(coldkey, Preservation::Preserve, Fortitude::Polite)
    }

    /// Whether a hotkey exists.
    pub fn hotkey_exists(hotkey: &T::AccountId) -> bool {
        Owner::<T>::contains_key(hotkey)
    }

    /// Whether a hotkey belongs to this coldkey or to nobody.
    pub(crate) fn owns_or_free(coldkey: &T::AccountId, hotkey: &T::AccountId) -> bool {
        !Self::hotkey_exists(hotkey) || Owner::<T>::get(hotkey) == *coldkey
    }

    /// Makes a coldkey the owner of a hotkey that belongs to nobody.
    pub(crate) fn own(coldkey: &T::AccountId, hotkey: &T::AccountId) {
        if Self::hotkey_exists(hotkey) {
            return;
        }
        Owner::<T>::insert(hotkey, coldkey);
        // A hotkey signs without holding TAO. The reference is never given back: an account that vanished would start again at
        // nonce 0, and its old transactions could be replayed.
        frame_system::Pallet::<T>::inc_providers(hotkey);
        OwnedHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
    }

    /// Whether an account holds the TAO of a subnet.
    pub(crate) fn is_system_account(account: &T::AccountId) -> bool {
        (0..=SubnetLimit::<T>::get()).any(|netuid| Self::subnet_account(NetUid(netuid)) == *account)
    }

    /// Destroys TAO of an account and takes it out of issuance.
    pub(crate) fn recycle_tao(account: &T::AccountId, amount: u64) -> DispatchResult {
        let burned =
            T::Currency::burn_from(account, amount, Preservation::Preserve, Precision::Exact, Fortitude::Polite)?;
        Self::note_recycled(burned);
        Ok(())
    }

    /// Takes TAO that the ledger has destroyed already out of issuance.
    pub fn note_recycled(amount: u64) {
        TotalIssuance::<T>::mutate(|total| *total = total.minus(TaoBalance(amount)));
    }

    /// `add_stake`.
    pub(crate) fn do_add_stake(
        coldkey: &T::AccountId,
        hotkey: &T::AccountId,
        netuid: NetUid,
        tao: TaoBalance,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubtokenEnabled::<T>::get(netuid), Error::<T>::SubtokenDisabled);
        let fee = Self::fee_of(netuid, tao.0);
        ensure!(tao.0 >= MIN_STAKE.saturating_add(fee), Error::<T>::AmountTooLow);
        let trade = Self::quote_buy(netuid, tao, 0)?;
        ensure!(trade.output > 0, Error::<T>::InsufficientLiquidity);
        ensure!(Self::free_tao(coldkey) >= tao.0, Error::<T>::NotEnoughBalanceToStake);
        ensure!(Self::hotkey_exists(hotkey), Error::<T>::HotKeyAccountNotExists);

        let (alpha, fee) = Self::buy_alpha(coldkey, netuid, tao)?;
        Self::credit_alpha(hotkey, coldkey, netuid, alpha);
        Self::deposit_event(Event::StakeAdded(coldkey.clone(), hotkey.clone(), tao, alpha, netuid, fee));
        Ok(())
    }

    /// `remove_stake`.
    pub(crate) fn do_remove_stake(
        coldkey: &T::AccountId,
        hotkey: &T::AccountId,
        netuid: NetUid,
        alpha: AlphaBalance,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubtokenEnabled::<T>::get(netuid), Error::<T>::SubtokenDisabled);
        ensure!(Self::hotkey_exists(hotkey), Error::<T>::HotKeyAccountNotExists);
        ensure!(Self::alpha_of(hotkey, coldkey, netuid) >= alpha, Error::<T>::NotEnoughStakeToWithdraw);
        ensure!(Self::value_of(netuid, alpha)?.0 >= MIN_STAKE, Error::<T>::AmountTooLow);

        Self::debit_alpha(hotkey, coldkey, netuid, alpha)?;
        let (tao, fee) = Self::sell_alpha(coldkey, netuid, alpha)?;
        Self::deposit_event(Event::StakeRemoved(coldkey.clone(), hotkey.clone(), tao, alpha, netuid, fee));
        Ok(())
    }
}
