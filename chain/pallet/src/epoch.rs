//! One epoch of a subnet: reads what Yuma needs, runs `glia_chain_rules::epoch`, writes what came out.

use alloc::vec::Vec;
use glia_chain_rules::epoch::{EpochInput, EpochOutput, Hyperparameters, epoch};
use glia_chain_rules::schedule;

use crate::types::{AlphaBalance, NetUid};
use crate::*;

impl<T: Config> Pallet<T> {
    /// Runs Yuma for a subnet and writes its results; `emission` is shared among miners and validators.
    pub(crate) fn run_yuma(netuid: NetUid, now: u64, emission: u64) -> EpochOutput {
        let output = epoch(&Self::epoch_input(netuid, now, emission));
        Self::write_epoch(netuid, &output);
        output
    }

    /// What an epoch of a subnet would read in this block.
    pub fn epoch_input(netuid: NetUid, now: u64, emission: u64) -> EpochInput {
        let index = netuid.index(0);
        let uids = 0..SubnetworkN::<T>::get(netuid);
        let hotkeys: Vec<T::AccountId> = uids.clone().map(|uid| Keys::<T>::get(netuid, uid)).collect();
        EpochInput {
            block: now,
            last_step_block: LastMechansimStepBlock::<T>::get(netuid),
            emission,
            stake: hotkeys.iter().map(|hotkey| Self::stake_weight_of(hotkey, netuid)).collect(),
            last_update: LastUpdate::<T>::get(index),
            block_at_registration: uids.clone().map(|uid| BlockAtRegistration::<T>::get(netuid, uid)).collect(),
            validator_permit: ValidatorPermit::<T>::get(netuid),
            weights: uids.clone().map(|uid| Weights::<T>::get(index, uid)).collect(),
            bonds: uids.map(|uid| Bonds::<T>::get(index, uid)).collect(),
            commit_block: CommitRevealWeightsEnabled::<T>::get(netuid)
                .then(|| hotkeys.iter().map(|hotkey| Self::earliest_commit(netuid, hotkey)).collect()),
            hyperparameters: Self::hyperparameters(netuid),
        }
    }

    fn hyperparameters(netuid: NetUid) -> Hyperparameters {
        let tempo = Tempo::<T>::get(netuid);
        let (alpha_low, alpha_high) = AlphaValues::<T>::get(netuid);
        Hyperparameters {
            tempo,
            activity_cutoff_blocks: schedule::activity_cutoff(ActivityCutoffFactorMilli::<T>::get(netuid), tempo),
            kappa: Kappa::<T>::get(netuid),
            bonds_penalty: BondsPenalty::<T>::get(netuid),
            bonds_moving_average: BondsMovingAverage::<T>::get(netuid),
            max_allowed_validators: MaxAllowedValidators::<T>::get(netuid),
            yuma3: Yuma3On::<T>::get(netuid),
            liquid_alpha: LiquidAlphaOn::<T>::get(netuid),
            alpha_low,
            alpha_high,
            steepness: AlphaSigmoidSteepness::<T>::get(netuid),
            stake_threshold: StakeThreshold::<T>::get(),
            owner_uid: Uids::<T>::get(netuid, SubnetOwnerHotkey::<T>::get(netuid)),
        }
    }

    /// Stake of a hotkey as consensus counts it: its alpha, and its root TAO by weight.
    pub fn stake_weight_of(hotkey: &T::AccountId, netuid: NetUid) -> u64 {
        let alpha = TotalHotkeyAlpha::<T>::get(hotkey, netuid).0;
        let root = TotalHotkeyAlpha::<T>::get(hotkey, NetUid::ROOT).0;
        let weighted = (u128::from(root) * u128::from(TaoWeight::<T>::get())) >> 64;
        alpha.saturating_add(u64::try_from(weighted).unwrap_or(u64::MAX))
    }

    /// Block of the earliest commit of a hotkey that is still open; the end of time when it has none.
    fn earliest_commit(netuid: NetUid, hotkey: &T::AccountId) -> u64 {
        let epoch = SubnetEpochIndex::<T>::get(netuid);
        let commits = Self::open_commits(netuid, netuid.index(0), hotkey, epoch);
        commits.iter().map(|(_, _, block, _)| *block).min().unwrap_or(u64::MAX)
    }

    fn write_epoch(netuid: NetUid, output: &EpochOutput) {
        let index = netuid.index(0);
        Active::<T>::insert(netuid, &output.active);
        Consensus::<T>::insert(netuid, &output.consensus);
        Incentive::<T>::insert(index, &output.incentive);
        Dividends::<T>::insert(netuid, &output.dividends);
        ValidatorTrust::<T>::insert(netuid, &output.validator_trust);
        StakeWeight::<T>::insert(netuid, &output.stake_weight);
        ValidatorPermit::<T>::insert(netuid, &output.validator_permit);
        let emission: Vec<AlphaBalance> = output.emission.iter().copied().map(AlphaBalance).collect();
        Emission::<T>::insert(netuid, emission);
        for (uid, row) in (0..SubnetworkN::<T>::get(netuid)).zip(&output.bonds) {
            if row.is_empty() {
                Bonds::<T>::remove(index, uid);
            } else {
                Bonds::<T>::insert(index, uid, row);
            }
        }
    }
}
