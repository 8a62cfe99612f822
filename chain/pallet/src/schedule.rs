//! What happens in every block, in order, and when epochs run.

use glia_chain_rules::schedule;
use polkadot_sdk_frame::prelude::*;

use crate::types::NetUid;
use crate::*;

impl<T: Config> Pallet<T> {
    /// Everything the pallet does at the start of a block.
    pub(crate) fn block_step() -> Weight {
        let now = Self::now();
        Self::read_issuance();
        let subnets = Self::subnets();
        for netuid in &subnets {
            Self::decay_burn(*netuid);
        }
        Self::run_coinbase(&subnets);
        let neurons = Self::run_epochs(&subnets, now);
        for netuid in &subnets {
            Self::update_prices(*netuid, now);
        }
        let count = u64::try_from(subnets.len()).unwrap_or(u64::MAX);
        T::DbWeight::get().reads_writes(
            // Two for issuance, which is read again at the end of the block.
            count.saturating_mul(40).saturating_add(neurons.saturating_mul(12)).saturating_add(2),
            count.saturating_mul(20).saturating_add(neurons.saturating_mul(8)).saturating_add(2),
        )
    }

    /// Whether the epoch of a subnet runs in this block.
    pub fn is_epoch_due(netuid: NetUid, block: u64) -> bool {
        schedule::epoch_is_due(
            LastEpochBlock::<T>::get(netuid),
            PendingEpochAt::<T>::get(netuid),
            BlocksSinceLastStep::<T>::get(netuid),
            Tempo::<T>::get(netuid),
            block,
        )
    }

    /// Runs the epochs that are due, as many as a block may run. Returns the number of neurons they had.
    fn run_epochs(subnets: &[NetUid], now: u64) -> u64 {
        let most = MaxEpochsPerBlock::<T>::get();
        let (mut ran, mut neurons) = (0u8, 0u64);
        for &netuid in subnets {
            BlocksSinceLastStep::<T>::mutate(netuid, |blocks| *blocks = blocks.saturating_add(1));
            if !Self::is_epoch_due(netuid, now) {
                continue;
            }
            if ran >= most {
                let to_block = now.saturating_add(1);
                Self::deposit_event(Event::EpochDeferred { netuid, from_block: now, to_block });
                continue;
            }
            ran = ran.saturating_add(1);
            neurons = neurons.saturating_add(u64::from(SubnetworkN::<T>::get(netuid)));
            Self::run_slot(netuid, now);
        }
        neurons
    }

    fn run_slot(netuid: NetUid, now: u64) {
        LastEpochBlock::<T>::insert(netuid, now);
        PendingEpochAt::<T>::remove(netuid);
        SubnetEpochIndex::<T>::mutate(netuid, |index| *index = index.saturating_add(1));
        BlocksSinceLastStep::<T>::insert(netuid, 0);
        if !Self::has_consistent_keys(netuid) {
            Self::deposit_event(Event::EpochSkipped { netuid, block: now });
            return;
        }
        let pending = Self::take_pending(netuid);
        let output = Self::run_yuma(netuid, now, pending.for_neurons());
        Self::distribute(netuid, &output, &pending);
        LastMechansimStepBlock::<T>::insert(netuid, now);
    }

    /// Whether every uid has a hotkey that leads back to it.
    fn has_consistent_keys(netuid: NetUid) -> bool {
        (0..SubnetworkN::<T>::get(netuid)).all(|uid| {
            Keys::<T>::contains_key(netuid, uid) && Uids::<T>::get(netuid, Keys::<T>::get(netuid, uid)) == Some(uid)
        })
    }
}
