//! Who holds how much alpha with a hotkey: shares of one pool per (hotkey, subnet), so that a dividend for all nominators is
//! a single addition.

use polkadot_sdk_frame::prelude::*;

use crate::safe_float::SafeFloat;
use crate::types::{AlphaBalance, NetUid};
use crate::*;

impl<T: Config> Pallet<T> {
    /// Alpha a coldkey holds with a hotkey in a subnet.
    pub fn alpha_of(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: NetUid) -> AlphaBalance {
        let value = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let all = TotalHotkeySharesV2::<T>::get(hotkey, netuid);
        let mine = AlphaV2::<T>::get((hotkey, coldkey, netuid));
        // A sole holder has everything, whatever the digits say.
        let share = if mine == all { value.0 } else { SafeFloat::from(value.0).times(&mine).over(&all).floor() };
        AlphaBalance(if all.is_zero() { 0 } else { share.min(value.0) })
    }

    /// Gives a coldkey alpha with a hotkey.
    pub(crate) fn credit_alpha(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: NetUid, amount: AlphaBalance) {
        if amount.is_zero() {
            return;
        }
        let value = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let all = TotalHotkeySharesV2::<T>::get(hotkey, netuid);
        // Value without holders belongs to whoever comes first.
        let new = if value.is_zero() || all.is_zero() {
            SafeFloat::from(amount.0)
        } else {
            all.times(&SafeFloat::from(amount.0)).over(&SafeFloat::from(value.0))
        };
        AlphaV2::<T>::mutate((hotkey, coldkey, netuid), |mine| *mine = mine.plus(&new));
        TotalHotkeySharesV2::<T>::insert(hotkey, netuid, all.plus(&new));
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, value.plus(amount));
        StakingHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
    }

    /// Gives alpha to all who hold alpha with a hotkey, in proportion; its owner when nobody does.
    pub(crate) fn credit_nominators(hotkey: &T::AccountId, netuid: NetUid, amount: AlphaBalance) {
        if TotalHotkeySharesV2::<T>::get(hotkey, netuid).is_zero() {
            Self::credit_alpha(hotkey, &Owner::<T>::get(hotkey), netuid, amount);
        } else {
            TotalHotkeyAlpha::<T>::mutate(hotkey, netuid, |value| *value = value.plus(amount));
        }
    }

    /// Takes alpha from a coldkey; it must hold as much.
    pub(crate) fn debit_alpha(
        hotkey: &T::AccountId,
        coldkey: &T::AccountId,
        netuid: NetUid,
        amount: AlphaBalance,
    ) -> DispatchResult {
        let held = Self::alpha_of(hotkey, coldkey, netuid);
        ensure!(held >= amount, Error::<T>::NotEnoughStakeToWithdraw);
        let value = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let all = TotalHotkeySharesV2::<T>::get(hotkey, netuid);
        let mine = AlphaV2::<T>::get((hotkey, coldkey, netuid));
        let gone = if held == amount {
            mine.clone()
        } else {
            all.times(&SafeFloat::from(amount.0)).over(&SafeFloat::from(value.0))
        };
        let left = mine.minus(&gone);
        if left.is_zero() || held == amount {
            AlphaV2::<T>::remove((hotkey, coldkey, netuid));
        } else {
            AlphaV2::<T>::insert((hotkey, coldkey, netuid), left);
        }
        let rest = value.minus(amount);
        let shares = all.minus(&gone);
        if shares.is_zero() {
            TotalHotkeySharesV2::<T>::remove(hotkey, netuid);
        } else {
            TotalHotkeySharesV2::<T>::insert(hotkey, netuid, shares);
        }
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, rest);
        Ok(())
    }
}
