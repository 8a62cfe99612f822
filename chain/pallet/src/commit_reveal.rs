//! Commit-reveal in hash mode: a hash now, the weights a number of epochs later.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use codec::Encode;
use polkadot_sdk_frame::hashing::{BlakeTwo256, H256, Hash};
use polkadot_sdk_frame::prelude::*;

use crate::types::{MechId, NetUid, NetUidStorageIndex};
use crate::*;

/// Open commits a hotkey may have.
const MAX_OPEN_COMMITS: usize = 10;

/// Commits of one hotkey, oldest first: hash, epoch and block of the commit, and a zero.
type Commits = VecDeque<(H256, u64, u64, u64)>;

/// A reveal that passed every check.
pub(crate) struct Revealed {
    /// Whose weights.
    uid: u16,
    /// What had been committed.
    hash: H256,
    /// The commits that stay.
    later: Commits,
}

impl<T: Config> Pallet<T> {
    /// Epoch that commits made now belong to.
    pub fn current_epoch(netuid: NetUid) -> u64 {
        let due = u64::from(Self::is_epoch_due(netuid, Self::now()));
        SubnetEpochIndex::<T>::get(netuid).saturating_add(due)
    }

    /// `commit_weights`.
    pub(crate) fn do_commit_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        hash: H256,
    ) -> DispatchResult {
        let (uid, mut commits) = Self::check_commit(hotkey, netuid, mechanism)?;
        let index = netuid.index(mechanism);
        commits.push_back((hash, Self::current_epoch(netuid), Self::now(), 0));
        WeightCommits::<T>::insert(index, hotkey, commits);
        Self::note_update(netuid, mechanism, uid);
        Self::deposit_event(Event::WeightsCommitted(hotkey.clone(), index, hash));
        Ok(())
    }

    /// Every reason to refuse a commit, in order; else the uid and its open commits.
    pub(crate) fn check_commit(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
    ) -> Result<(u16, Commits), Error<T>> {
        Self::ensure_mechanism(netuid, mechanism)?;
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        let is_owner = SubnetOwnerHotkey::<T>::get(netuid) == *hotkey;
        ensure!(is_owner || Self::has_enough_stake(hotkey, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        ensure!(Self::may_update_weights(netuid, mechanism, uid), Error::<T>::CommittingWeightsTooFast);
        let epoch = Self::current_epoch(netuid);
        let commits = Self::open_commits(netuid, netuid.index(mechanism), hotkey, epoch);
        ensure!(commits.len() < MAX_OPEN_COMMITS, Error::<T>::TooManyUnrevealedCommits);
        Ok((uid, commits))
    }

    /// `reveal_weights`.
    pub(crate) fn do_reveal_weights(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        uids: Vec<u16>,
        values: Vec<u16>,
        salt: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        let revealed = Self::check_reveal(hotkey, netuid, mechanism, &uids, &values, &salt, version_key)?;
        let Revealed { uid, hash, later } = revealed;
        let index = netuid.index(mechanism);
        Self::write_weights(netuid, mechanism, uid, uids, &values);
        if later.is_empty() {
            WeightCommits::<T>::remove(index, hotkey);
        } else {
            WeightCommits::<T>::insert(index, hotkey, later);
        }
        Self::deposit_event(Event::WeightsRevealed(hotkey.clone(), index, hash));
        Ok(())
    }

    /// Every reason to refuse a reveal, in order; else what it reveals.
    pub(crate) fn check_reveal(
        hotkey: &T::AccountId,
        netuid: NetUid,
        mechanism: MechId,
        uids: &[u16],
        values: &[u16],
        salt: &[u16],
        version_key: u64,
    ) -> Result<Revealed, Error<T>> {
        Self::ensure_mechanism(netuid, mechanism)?;
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let index = netuid.index(mechanism);
        let mut commits = WeightCommits::<T>::get(index, hotkey).ok_or(Error::<T>::NoWeightsCommitFound)?;
        let hash: H256 = BlakeTwo256::hash(&(hotkey, index, uids, values, salt, version_key).encode());
        let epoch = Self::current_epoch(netuid);
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let Some(position) = commits.iter().position(|(known, ..)| *known == hash) else {
            let all_expired = commits.iter().all(|(_, at, ..)| epoch > at.saturating_add(period));
            return Err(if all_expired {
                Error::<T>::ExpiredWeightCommit
            } else {
                Error::<T>::InvalidRevealCommitHashNotMatch
            });
        };
        let due = commits.get(position).map_or(0, |(_, at, ..)| at.saturating_add(period));
        ensure!(epoch <= due, Error::<T>::ExpiredWeightCommit);
        ensure!(epoch == due, Error::<T>::RevealTooEarly);
        let uid = Self::check_weights(hotkey, netuid, mechanism, uids, values, version_key)?;
        commits.drain(..=position);
        Ok(Revealed { uid, hash, later: commits })
    }

    /// Commits of a hotkey that can still be revealed in or after `epoch`.
    pub(crate) fn open_commits(
        netuid: NetUid,
        index: NetUidStorageIndex,
        hotkey: &T::AccountId,
        epoch: u64,
    ) -> Commits {
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let mut commits = WeightCommits::<T>::get(index, hotkey).unwrap_or_default();
        commits.retain(|(_, at, ..)| epoch <= at.saturating_add(period));
        commits
    }
}
