//! Paying an epoch: incentive to miners, dividends to validators and their nominators, the cut to the owner.

use alloc::vec::Vec;
use glia_chain_rules::emission;
use glia_chain_rules::epoch::EpochOutput;
use polkadot_sdk_frame::prelude::*;

use crate::types::{AlphaBalance, I96F32, NetUid, RecycleOrBurnEnum, U96F32};
use crate::*;

/// Alpha a subnet has gathered since its last epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    server: u64,
    validator: u64,
    root: u64,
    owner: u64,
}

impl Pending {
    /// What miners and validators share.
    pub(crate) fn for_neurons(&self) -> u64 {
        self.server.saturating_add(self.validator).saturating_add(self.root)
    }
}

/// `amount * part / whole`, rounded down; nothing of nothing.
fn pro_rata(amount: u64, part: u64, whole: u64) -> u64 {
    let share = (u128::from(amount) * u128::from(part)).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl<T: Config> Pallet<T> {
    /// Empties what a subnet has gathered.
    pub(crate) fn take_pending(netuid: NetUid) -> Pending {
        Pending {
            server: PendingServerEmission::<T>::take(netuid).0,
            validator: PendingValidatorEmission::<T>::take(netuid).0,
            root: PendingRootAlphaDivs::<T>::take(netuid).0,
            owner: PendingOwnerCut::<T>::take(netuid).0,
        }
    }

    /// Pays one epoch.
    pub(crate) fn distribute(netuid: NetUid, output: &EpochOutput, pending: &Pending) {
        let hotkeys: Vec<T::AccountId> =
            (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect();
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        let owner = SubnetOwner::<T>::get(netuid);
        Self::credit_alpha(&owner_hotkey, &owner, netuid, AlphaBalance(pending.owner));
        Self::pay_incentive(netuid, &hotkeys, &output.server_emission);
        // Without miners to pay, theirs is the validators'.
        let any_incentive = output.incentive.iter().any(|share| *share > 0);
        let validators =
            if any_incentive { pending.validator } else { pending.validator.saturating_add(pending.server) };
        Self::pay_dividends(netuid, &hotkeys, &output.validator_emission, validators, pending.root);
        for (hotkey, amount) in hotkeys.iter().zip(&output.emission) {
            LastHotkeyEmissionOnNetuid::<T>::insert(hotkey, netuid, AlphaBalance(*amount));
            TotalHotkeyAlphaLastEpoch::<T>::insert(hotkey, netuid, TotalHotkeyAlpha::<T>::get(hotkey, netuid));
        }
    }

    fn pay_incentive(netuid: NetUid, hotkeys: &[T::AccountId], amounts: &[u64]) {
        let owner = SubnetOwner::<T>::get(netuid);
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        let (mut all, mut unpaid) = (0u64, 0u64);
        for (hotkey, amount) in hotkeys.iter().zip(amounts).filter(|(_, amount)| **amount > 0) {
            all = all.saturating_add(*amount);
            let coldkey = Owner::<T>::get(hotkey);
            if *hotkey == owner_hotkey || coldkey == owner {
                unpaid = unpaid.saturating_add(*amount);
                continue;
            }
            let amount = AlphaBalance(*amount);
            match AutoStakeDestination::<T>::get(&coldkey, netuid) {
                Some(destination) => {
                    Self::credit_alpha(&destination, &coldkey, netuid, amount);
                    Self::deposit_event(Event::AutoStakeAdded {
                        netuid,
                        destination,
                        hotkey: hotkey.clone(),
                        owner: coldkey,
                        incentive: amount,
                    });
                }
                None => Self::credit_alpha(hotkey, &coldkey, netuid, amount),
            }
        }
        if RecycleOrBurn::<T>::get(netuid) == RecycleOrBurnEnum::Recycle {
            SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.minus(AlphaBalance(unpaid)));
        }
        let burned = (u128::from(unpaid) << 32).checked_div(u128::from(all)).unwrap_or(0);
        MinerBurned::<T>::insert(netuid, U96F32::from_bits(burned));
        Self::deposit_event(Event::IncentiveAlphaEmittedToMiners {
            netuid: netuid.index(0),
            emissions: amounts.iter().copied().map(AlphaBalance).collect(),
        });
    }

    /// Divides each dividend into what alpha and what root stake earned, and pays the two pots in these proportions.
    fn pay_dividends(netuid: NetUid, hotkeys: &[T::AccountId], dividends: &[u64], validators: u64, root: u64) {
        let weight = TaoWeight::<T>::get();
        let parts: Vec<(&T::AccountId, u64, u64)> = hotkeys
            .iter()
            .zip(dividends)
            .filter(|(_, dividend)| **dividend > 0)
            .map(|(hotkey, dividend)| {
                let root_stake = TotalHotkeyAlpha::<T>::get(hotkey, NetUid::ROOT).0;
                let alpha_stake = TotalHotkeyAlpha::<T>::get(hotkey, netuid).0;
                let by_root = emission::root_proportion(root_stake, weight, alpha_stake).of_amount(*dividend);
                (hotkey, dividend.saturating_sub(by_root), by_root)
            })
            .collect();
        let all_alpha = parts.iter().fold(0u64, |sum, (_, alpha, _)| sum.saturating_add(*alpha));
        let all_root = parts.iter().fold(0u64, |sum, (_, _, root)| sum.saturating_add(*root));
        let _ = AlphaDividendsPerSubnet::<T>::clear_prefix(netuid, u32::MAX, None);
        let _ = RootAlphaDividendsPerSubnet::<T>::clear_prefix(netuid, u32::MAX, None);
        for (hotkey, by_alpha, by_root) in parts {
            Self::pay_alpha_dividend(netuid, hotkey, pro_rata(validators, by_alpha, all_alpha));
            Self::pay_root_dividend(netuid, hotkey, pro_rata(root, by_root, all_root));
        }
    }

    /// The take of a hotkey goes to its owner's own stake, the rest to all who hold alpha with it.
    fn pay_alpha_dividend(netuid: NetUid, hotkey: &T::AccountId, amount: u64) {
        if amount == 0 {
            return;
        }
        let (take, rest) = emission::split_take(amount, Delegates::<T>::get(hotkey));
        Self::credit_nominators(hotkey, netuid, AlphaBalance(rest));
        Self::credit_alpha(hotkey, &Owner::<T>::get(hotkey), netuid, AlphaBalance(take));
        AlphaDividendsPerSubnet::<T>::insert(netuid, hotkey, AlphaBalance(rest));
    }

    /// The take goes to the owner's own stake, the rest becomes claimable for each unit of root stake.
    fn pay_root_dividend(netuid: NetUid, hotkey: &T::AccountId, amount: u64) {
        let root_stake = TotalHotkeyAlpha::<T>::get(hotkey, NetUid::ROOT).0;
        if amount == 0 || root_stake == 0 {
            return;
        }
        let (take, rest) = emission::split_take(amount, Delegates::<T>::get(hotkey));
        Self::credit_alpha(hotkey, &Owner::<T>::get(hotkey), netuid, AlphaBalance(take));
        let per_unit = (u128::from(rest) << 32).checked_div(u128::from(root_stake)).unwrap_or(0);
        let per_unit = i128::try_from(per_unit).unwrap_or(i128::MAX);
        RootClaimable::<T>::mutate(hotkey, |claimable| {
            let entry = claimable.entry(netuid).or_insert(I96F32::from_bits(0));
            *entry = I96F32::from_bits(entry.bits.saturating_add(per_unit));
        });
        RootAlphaDividendsPerSubnet::<T>::insert(netuid, hotkey, AlphaBalance(rest));
    }
}
