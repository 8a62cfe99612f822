//! Setting weights: the checks in the order of the public chain, scaling, writing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use glia_chain_rules::math::vec_u16_max_upscale_to_u16;
use polkadot_sdk_frame::prelude::*;

use crate::types::{MechId, NetUid};
use crate::*;

impl<T: Config> Pallet<T> {
    /// `set_weights`.
    pub(crate) fn do_set_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        uids: Vec<u16>,
        values: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        let uid = Self::check_set_weights(hotkey, netuid, mechanism, &uids, &values, version_key)?;
        Self::write_weights(netuid, mechanism, uid, uids, &values);
        Ok(())
    }

    /// Every reason to refuse `set_weights`, in order; else the uid that sets them.
    pub(crate) fn check_set_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        uids: &[u16],
        values: &[u16],
        version_key: u64,
    ) -> Result<u16, Error<T>> {
        ensure!(!CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealEnabled);
        Self::check_weights(hotkey, netuid, mechanism, uids, values, version_key)
    }

    /// Every reason to refuse weights, set or revealed, in order; else the uid whose weights they are.
    pub(crate) fn check_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        uids: &[u16],
        values: &[u16],
        version_key: u64,
    ) -> Result<u16, Error<T>> {
        ensure!(!netuid.is_root(), Error::<T>::CanNotSetRootNetworkWeights);
        ensure!(uids.len() == values.len(), Error::<T>::WeightVecNotEqualSize);
        Self::ensure_mechanism(netuid, mechanism)?;
        let n = SubnetworkN::<T>::get(netuid);
        ensure!(uids.len() <= usize::from(n), Error::<T>::UidsLengthExceedUidsInSubNet);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        let is_owner = SubnetOwnerHotkey::<T>::get(netuid) == *hotkey;
        ensure!(is_owner || Self::has_enough_stake(hotkey, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        let wanted = WeightsVersionKey::<T>::get(netuid);
        ensure!(wanted == 0 || version_key >= wanted, Error::<T>::IncorrectWeightVersionKey);
        let commit_reveal = CommitRevealWeightsEnabled::<T>::get(netuid);
        ensure!(commit_reveal || Self::may_update_weights(netuid, mechanism, uid), Error::<T>::SettingWeightsTooFast);
        let only_self = *uids == [uid];
        let permit = ValidatorPermit::<T>::get(netuid).get(usize::from(uid)).copied().unwrap_or(false);
        ensure!(permit || only_self || is_owner, Error::<T>::NeuronNoValidatorPermit);
        let distinct: BTreeSet<u16> = uids.iter().copied().collect();
        ensure!(distinct.len() == uids.len(), Error::<T>::DuplicateUids);
        ensure!(uids.iter().all(|uid| *uid < n), Error::<T>::UidVecContainInvalidOne);
        let shortest = usize::from(MinAllowedWeights::<T>::get(netuid).min(n));
        ensure!(uids.len() >= shortest || only_self, Error::<T>::WeightVecLengthIsLow);
        Ok(uid)
    }

    /// Writes weights that passed every check.
    pub(crate) fn write_weights(netuid: NetUid, mechanism: MechId, uid: u16, uids: Vec<u16>, values: &[u16]) {
        let index = netuid.index(mechanism);
        let scaled = vec_u16_max_upscale_to_u16(values);
        Weights::<T>::insert(index, uid, uids.into_iter().zip(scaled).collect::<Vec<_>>());
        if !CommitRevealWeightsEnabled::<T>::get(netuid) {
            Self::note_update(netuid, mechanism, uid);
        }
        Self::deposit_event(Event::WeightsSet(index, uid));
    }

    /// Fails when a subnet or one of its mechanisms does not exist.
    pub(crate) fn ensure_mechanism(netuid: NetUid, mechanism: MechId) -> Result<(), Error<T>> {
        let known = NetworksAdded::<T>::get(netuid) && mechanism < MechanismCountCurrent::<T>::get(netuid);
        ensure!(known, Error::<T>::MechanismDoesNotExist);
        Ok(())
    }

    /// Whether the stake weight of a hotkey reaches the threshold.
    pub(crate) fn has_enough_stake(hotkey: &T::AccountId, netuid: NetUid) -> bool {
        let threshold = StakeThreshold::<T>::get();
        threshold == 0 || Self::stake_weight_of(hotkey, netuid) >= threshold
    }

    /// Whether the last weights (or commit) of a uid are old enough.
    pub(crate) fn may_update_weights(netuid: NetUid, mechanism: MechId, uid: u16) -> bool {
        let last = LastUpdate::<T>::get(netuid.index(mechanism)).get(usize::from(uid)).copied().unwrap_or(0);
        last == 0 || Self::now().saturating_sub(last) >= WeightsSetRateLimit::<T>::get(netuid)
    }

    /// Remembers that a uid set weights (or committed) now.
    pub(crate) fn note_update(netuid: NetUid, mechanism: MechId, uid: u16) {
        let now = Self::now();
        LastUpdate::<T>::mutate(netuid.index(mechanism), |updates| {
            if let Some(slot) = updates.get_mut(usize::from(uid)) {
                *slot = now;
            }
        });
    }
}
