//! Weights in two steps.

use codec::Encode;
use polkadot_sdk_frame::prelude::H256;
use polkadot_sdk_frame::testing_prelude::*;
use polkadot_sdk_frame::traits::{BlakeTwo256, Hash};

use crate::genesis::SubnetGenesis;
use crate::mock::*;
use crate::*;

fn hash(who: &AccountId, uids: &[u16], values: &[u16], salt: &[u16]) -> H256 {
    BlakeTwo256::hash(&(who, 1u16, uids.to_vec(), values.to_vec(), salt.to_vec(), 0u64).encode())
}

fn commit(who: &AccountId, hash: H256) -> DispatchResult {
    SubtensorModule::commit_weights(by(who), NET, hash)
}

fn reveal(who: &AccountId, uids: &[u16], values: &[u16], salt: &[u16]) -> DispatchResult {
    SubtensorModule::reveal_weights(by(who), NET, uids.to_vec(), values.to_vec(), salt.to_vec(), 0)
}

fn secret_chain() -> TestState {
    chain_with(SubnetGenesis { commit_reveal: true, ..subnet() })
}

#[test]
fn weights_appear_one_epoch_after_their_commit() {
    secret_chain().execute_with(|| {
        let (hotkey, uid) = validator(1, 100 * ONE);
        let (_, miner) = neuron(2);
        run_epoch();
        assert_ok!(commit(&hotkey, hash(&hotkey, &[miner], &[5], &[1, 2, 3])));
        let committed_at = System::block_number();
        assert_eq!(LastUpdate::<Test>::get(1)[usize::from(uid)], committed_at);
        assert_noop!(reveal(&hotkey, &[miner], &[5], &[1, 2, 3]), Error::<Test>::RevealTooEarly);
        run_epoch();
        assert_noop!(reveal(&hotkey, &[miner], &[6], &[1, 2, 3]), Error::<Test>::InvalidRevealCommitHashNotMatch);
        assert_ok!(reveal(&hotkey, &[miner], &[5], &[1, 2, 3]));
        assert_eq!(Weights::<Test>::get(1, uid), vec![(miner, 65_535)]);
        assert_eq!(LastUpdate::<Test>::get(1)[usize::from(uid)], committed_at, "a reveal is no update");
        assert_noop!(reveal(&hotkey, &[miner], &[5], &[1, 2, 3]), Error::<Test>::NoWeightsCommitFound);
    });
}

#[test]
fn a_commit_expires() {
    secret_chain().execute_with(|| {
        let (hotkey, _) = validator(1, 100 * ONE);
        run_epoch();
        assert_ok!(commit(&hotkey, hash(&hotkey, &[0], &[5], &[])));
        run_epoch();
        run_epoch();
        assert_noop!(reveal(&hotkey, &[0], &[5], &[]), Error::<Test>::ExpiredWeightCommit);
    });
}

#[test]
fn open_commits_are_limited_and_spaced() {
    secret_chain().execute_with(|| {
        let (hotkey, _) = validator(1, 100 * ONE);
        for salt in 0..10 {
            assert_ok!(commit(&hotkey, hash(&hotkey, &[0], &[5], &[salt])));
        }
        assert_noop!(commit(&hotkey, H256::zero()), Error::<Test>::TooManyUnrevealedCommits);
        WeightsSetRateLimit::<Test>::insert(NET, 100);
        assert_noop!(commit(&hotkey, H256::zero()), Error::<Test>::CommittingWeightsTooFast);
    });
}

#[test]
fn open_subnets_take_no_commits() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        assert_noop!(commit(&hotkey, H256::zero()), Error::<Test>::CommitRevealDisabled);
        assert_noop!(reveal(&hotkey, &[0], &[1], &[]), Error::<Test>::CommitRevealDisabled);
    });
}
