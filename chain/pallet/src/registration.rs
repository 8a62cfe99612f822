//! Buying a uid.

use alloc::vec::Vec;
use codec::FullCodec;
use glia_chain_rules::price;
use polkadot_sdk_frame::prelude::*;

use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

impl<T: Config> Pallet<T> {
    /// `burned_register`.
    pub(crate) fn do_burned_register(coldkey: &T::AccountId, netuid: NetUid, hotkey: &T::AccountId) -> DispatchResult {
        ensure!(!netuid.is_root(), Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(NetworkRegistrationAllowed::<T>::get(netuid), Error::<T>::SubNetRegistrationDisabled);
        ensure!(!Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        let cost = Burn::<T>::get(netuid);
        ensure!(Self::free_tao(coldkey) >= cost.0, Error::<T>::NotEnoughBalanceToStake);
        ensure!(Self::owns_or_free(coldkey, hotkey), Error::<T>::NonAssociatedColdKey);
        let n = SubnetworkN::<T>::get(netuid);
        let replaced = if n < MaxAllowedUids::<T>::get(netuid) {
            None
        } else {
            Some(Self::uid_to_replace(netuid).ok_or(Error::<T>::NoNeuronIdAvailable)?)
        };

        Self::burn_for_registration(coldkey, netuid, cost)?;
        Self::own(coldkey, hotkey);
        let now = Self::now();
        let uid = match replaced {
            Some(uid) => {
                Self::replace_neuron(netuid, uid, hotkey, now);
                uid
            }
            None => Self::append_neuron(netuid, hotkey, now),
        };
        Self::raise_burn(netuid);
        RegistrationsThisBlock::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    /// Gives a hotkey the next uid of a subnet.
    pub(crate) fn append_neuron(netuid: NetUid, hotkey: &T::AccountId, now: u64) -> u16 {
        let uid = SubnetworkN::<T>::get(netuid);
        SubnetworkN::<T>::insert(netuid, uid.saturating_add(1));
        Self::put_neuron(netuid, uid, hotkey, now);
        uid
    }

    /// Writes a newborn neuron at a uid: keys, registration block and its place in every vector.
    pub(crate) fn put_neuron(netuid: NetUid, uid: u16, hotkey: &T::AccountId, now: u64) {
        let index = netuid.index(0);
        Active::<T>::mutate(netuid, |v| place(v, uid, true));
        Consensus::<T>::mutate(netuid, |v| place(v, uid, 0));
        Dividends::<T>::mutate(netuid, |v| place(v, uid, 0));
        ValidatorTrust::<T>::mutate(netuid, |v| place(v, uid, 0));
        StakeWeight::<T>::mutate(netuid, |v| place(v, uid, 0));
        Emission::<T>::mutate(netuid, |v| place(v, uid, AlphaBalance::ZERO));
        ValidatorPermit::<T>::mutate(netuid, |v| place(v, uid, false));
        Incentive::<T>::mutate(index, |v| place(v, uid, 0));
        LastUpdate::<T>::mutate(index, |v| place(v, uid, now));
        Uids::<T>::insert(netuid, hotkey, uid);
        Keys::<T>::insert(netuid, uid, hotkey);
        BlockAtRegistration::<T>::insert(netuid, uid, now);
        IsNetworkMember::<T>::insert(hotkey, netuid, true);
    }

    /// Raises the price of a uid after a registration.
    fn raise_burn(netuid: NetUid) {
        let raised = price::increased_burn(
            Burn::<T>::get(netuid).0,
            BurnIncreaseMult::<T>::get(netuid).bits,
            MinBurn::<T>::get(netuid).0,
            MaxBurn::<T>::get(netuid).0,
        );
        Burn::<T>::insert(netuid, TaoBalance(raised));
    }

    /// Lets the price of a uid fall by one block.
    pub(crate) fn decay_burn(netuid: NetUid) {
        let decayed = price::decayed_burn(
            Burn::<T>::get(netuid).0,
            BurnHalfLife::<T>::get(netuid),
            MinBurn::<T>::get(netuid).0,
            MaxBurn::<T>::get(netuid).0,
        );
        Burn::<T>::insert(netuid, TaoBalance(decayed));
        RegistrationsThisBlock::<T>::remove(netuid);
    }
}

/// Writes the value of a uid into a vector, which grows when it is too short.
fn place<V: FullCodec + Clone + Default>(values: &mut Vec<V>, uid: u16, value: V) {
    let position = usize::from(uid);
    if values.len() <= position {
        values.resize(position.saturating_add(1), V::default());
    }
    if let Some(slot) = values.get_mut(position) {
        *slot = value;
    }
}
