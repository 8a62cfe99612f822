//! Creation of subnets: the account that holds their TAO, their price, what is written when one is born and when it starts.

use alloc::vec::Vec;
use glia_chain_rules::fixed::I32F32;
use glia_chain_rules::{price, schedule};
use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::token::Preservation;
use polkadot_sdk_frame::token::fungible::Mutate;

use crate::types::{AlphaBalance, NetUid, RateLimitKey, TaoBalance};
use crate::*;

impl<T: Config> Pallet<T> {
    /// The present block as the pallet stores it.
    pub fn now() -> u64 {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Account that holds the TAO of a subnet.
    pub fn subnet_account(netuid: NetUid) -> T::AccountId {
        T::SubtensorPalletId::get().into_sub_account_truncating(netuid.0)
    }

    /// Price of a new subnet now: falls linearly from twice the last price to the floor.
    pub fn network_lock_cost() -> TaoBalance {
        let interval =
            price::lock_reduction_interval(NetworkLockReductionInterval::<T>::get(), BlockEmission::<T>::get());
        TaoBalance(price::lock_cost(
            NetworkMinLockCost::<T>::get().0,
            NetworkLastLockCost::<T>::get().0,
            LastRateLimitedBlock::<T>::get(RateLimitKey::NetworkLastRegistered),
            interval,
            Self::now(),
        ))
    }

    /// Alpha a new pool gets for its TAO: at the median price of the subnets that exist, one to one when there is none.
    fn alpha_for_new_pool(tao: TaoBalance) -> AlphaBalance {
        let mut prices: Vec<I32F32> = Self::subnets()
            .into_iter()
            .filter(|netuid| Self::is_dynamic(*netuid))
            .map(Self::alpha_price)
            .filter(|price| *price > I32F32::ZERO)
            .collect();
        prices.sort_unstable();
        let median = prices.get(prices.len() / 2).copied().unwrap_or(I32F32::ONE);
        let bits = u128::try_from(median.to_bits()).unwrap_or(1).max(1);
        AlphaBalance(u64::try_from((u128::from(tao.0) << 32) / bits).unwrap_or(u64::MAX))
    }

    /// Subnets that exist except root, in order.
    pub fn subnets() -> Vec<NetUid> {
        let mut all: Vec<NetUid> = NetworksAdded::<T>::iter()
            .filter_map(|(netuid, exists)| (exists && !netuid.is_root()).then_some(netuid))
            .collect();
        all.sort_unstable();
        all
    }

    /// `register_network`.
    pub(crate) fn do_register_network(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        ensure!(Self::owns_or_free(coldkey, hotkey), Error::<T>::NonAssociatedColdKey);
        ensure!(!Self::is_system_account(hotkey), Error::<T>::CannotUseSystemAccount);
        let now = Self::now();
        ensure!(now >= NetworkRegistrationStartBlock::<T>::get(), Error::<T>::SubNetRegistrationDisabled);
        let last = LastRateLimitedBlock::<T>::get(RateLimitKey::NetworkLastRegistered);
        ensure!(
            last == 0 || now.saturating_sub(last) >= NetworkRateLimit::<T>::get(),
            Error::<T>::NetworkTxRateLimitExceeded
        );
        let limit = SubnetLimit::<T>::get();
        ensure!(TotalNetworks::<T>::get() <= limit, Error::<T>::SubnetLimitReached);
        let netuid = (1..=limit)
            .map(NetUid)
            .find(|netuid| !NetworksAdded::<T>::get(netuid))
            .ok_or(Error::<T>::SubnetLimitReached)?;
        let cost = Self::network_lock_cost();
        ensure!(Self::free_tao(coldkey) >= cost.0, Error::<T>::CannotAffordLockCost);

        let alpha = Self::alpha_for_new_pool(cost);
        T::Currency::transfer(coldkey, &Self::subnet_account(netuid), cost.0, Preservation::Preserve)
            .map_err(|_| Error::<T>::CannotAffordLockCost)?;
        NetworkLastLockCost::<T>::put(cost);
        LastRateLimitedBlock::<T>::insert(RateLimitKey::NetworkLastRegistered, now);
        SubnetLocked::<T>::insert(netuid, cost);
        Self::create_subnet(netuid, coldkey, hotkey, cost, alpha);
        Self::deposit_event(Event::NetworkAdded(netuid, 1));
        Ok(())
    }

    /// `start_call`.
    pub(crate) fn do_start_call(coldkey: &T::AccountId, netuid: NetUid) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubnetOwner::<T>::get(netuid) == *coldkey, Error::<T>::NotSubnetOwner);
        ensure!(FirstEmissionBlockNumber::<T>::get(netuid).is_none(), Error::<T>::FirstEmissionBlockNumberAlreadySet);
        let earliest = NetworkRegisteredAt::<T>::get(netuid).saturating_add(StartCallDelay::<T>::get());
        let now = Self::now();
        ensure!(now >= earliest, Error::<T>::NeedWaitingMoreBlocksToStarCall);
        let first = now.saturating_add(1);
        FirstEmissionBlockNumber::<T>::insert(netuid, first);
        SubtokenEnabled::<T>::insert(netuid, true);
        Self::deposit_event(Event::FirstEmissionBlockNumberSet(netuid, first));
        Ok(())
    }

    /// Writes the root subnet, once.
    pub(crate) fn create_root() {
        let root = NetUid::ROOT;
        NetworksAdded::<T>::insert(root, true);
        TotalNetworks::<T>::put(1);
        SubnetMechanism::<T>::insert(root, 0);
        MaxAllowedUids::<T>::insert(root, 64);
        MaxAllowedValidators::<T>::insert(root, 64);
        MinAllowedWeights::<T>::insert(root, 0);
        MaxRegistrationsPerBlock::<T>::insert(root, 1);
        NetworkRegistrationAllowed::<T>::insert(root, true);
        SubtokenEnabled::<T>::insert(root, true);
    }

    /// Writes a new subnet with the values the public chain gives it, and its owner as uid 0. The TAO of the pool must lie
    /// in the subnet's account already.
    pub(crate) fn create_subnet(
        netuid: NetUid,
        coldkey: &T::AccountId,
        hotkey: &T::AccountId,
        tao: TaoBalance,
        alpha: AlphaBalance,
    ) {
        let now = Self::now();
        NetworksAdded::<T>::insert(netuid, true);
        TotalNetworks::<T>::mutate(|n| *n = n.saturating_add(1));
        NetworkRegisteredAt::<T>::insert(netuid, now);
        RegisteredSubnetCounter::<T>::mutate(netuid, |n| *n = n.saturating_add(1));
        SubnetworkN::<T>::insert(netuid, 0);
        SubnetMechanism::<T>::insert(netuid, 1);
        SubnetOwner::<T>::insert(netuid, coldkey);
        SubnetOwnerHotkey::<T>::insert(netuid, hotkey);
        SubnetTAO::<T>::insert(netuid, tao);
        SubnetAlphaIn::<T>::insert(netuid, alpha);
        TotalStake::<T>::mutate(|total| *total = total.plus(tao));

        Tempo::<T>::insert(netuid, 360);
        MinAllowedWeights::<T>::insert(netuid, 1);
        MaxAllowedUids::<T>::insert(netuid, 256);
        MaxAllowedValidators::<T>::insert(netuid, 64);
        ImmunityPeriod::<T>::insert(netuid, 5000);
        Burn::<T>::insert(netuid, TaoBalance(1_000_000_000));
        Yuma3On::<T>::insert(netuid, true);
        CommitRevealWeightsEnabled::<T>::insert(netuid, true);
        NetworkRegistrationAllowed::<T>::insert(netuid, true);
        SubnetEmissionEnabled::<T>::insert(netuid, false);
        SubtokenEnabled::<T>::insert(netuid, false);
        let tempo = Tempo::<T>::get(netuid);
        LastEpochBlock::<T>::insert(netuid, schedule::first_epoch_block(now, netuid.0, tempo));

        Self::own(coldkey, hotkey);
        Self::append_neuron(netuid, hotkey, now);
    }
}
