//! Setting weights: every check, in order.

use polkadot_sdk_frame::testing_prelude::*;

use crate::mock::*;
use crate::types::NetUid;
use crate::*;

#[test]
fn each_check_comes_in_its_place() {
    chain().execute_with(|| {
        let (hotkey, uid) = neuron(1);
        let (_, other) = neuron(2);
        let set = |who: &AccountId, net: u16, uids: &[u16], values: &[u16], key: u64| {
            SubtensorModule::set_weights(by(who), NetUid(net), uids.to_vec(), values.to_vec(), key)
        };
        let stranger = account(150);

        CommitRevealWeightsEnabled::<Test>::insert(NetUid::ROOT, false);
        CommitRevealWeightsEnabled::<Test>::insert(NET, true);
        assert_noop!(set(&stranger, 1, &[0], &[], 0), Error::<Test>::CommitRevealEnabled);
        CommitRevealWeightsEnabled::<Test>::insert(NET, false);
        assert_noop!(set(&stranger, 0, &[0], &[], 0), Error::<Test>::CanNotSetRootNetworkWeights);
        assert_noop!(set(&stranger, 1, &[0], &[], 0), Error::<Test>::WeightVecNotEqualSize);
        CommitRevealWeightsEnabled::<Test>::insert(NetUid(9), false);
        assert_noop!(set(&stranger, 9, &[0], &[1], 0), Error::<Test>::MechanismDoesNotExist);
        assert_noop!(set(&stranger, 1, &[0; 9], &[1; 9], 0), Error::<Test>::UidsLengthExceedUidsInSubNet);
        assert_noop!(set(&stranger, 1, &[0], &[1], 0), Error::<Test>::HotKeyNotRegisteredInSubNet);

        StakeThreshold::<Test>::put(5 * ONE);
        WeightsVersionKey::<Test>::insert(NET, 7);
        WeightsSetRateLimit::<Test>::insert(NET, 10);
        assert_noop!(set(&hotkey, 1, &[0, 0], &[1, 1], 6), Error::<Test>::NotEnoughStakeToSetWeights);
        StakeThreshold::<Test>::put(0);
        assert_noop!(set(&hotkey, 1, &[0, 0], &[1, 1], 6), Error::<Test>::IncorrectWeightVersionKey);
        assert_noop!(set(&hotkey, 1, &[0, 0], &[1, 1], 7), Error::<Test>::SettingWeightsTooFast);
        System::set_block_number(11);
        assert_noop!(set(&hotkey, 1, &[0, 0], &[1, 1], 8), Error::<Test>::NeuronNoValidatorPermit);
        ValidatorPermit::<Test>::mutate(NET, |permits| permits[usize::from(uid)] = true);
        assert_noop!(set(&hotkey, 1, &[0, 0], &[1, 1], 7), Error::<Test>::DuplicateUids);
        MinAllowedWeights::<Test>::insert(NET, 3);
        assert_noop!(set(&hotkey, 1, &[0, 99], &[1, 1], 7), Error::<Test>::UidVecContainInvalidOne);
        assert_noop!(set(&hotkey, 1, &[0, other], &[1, 1], 7), Error::<Test>::WeightVecLengthIsLow);
        assert_ok!(set(&hotkey, 1, &[0, uid, other], &[0, 10, 40], 7));
        assert_eq!(Weights::<Test>::get(1, uid), vec![(0, 0), (uid, 16_384), (other, 65_535)]);
        assert_eq!(LastUpdate::<Test>::get(1)[usize::from(uid)], 11);
        System::assert_last_event(Event::WeightsSet(1, uid).into());
        assert_noop!(set(&hotkey, 1, &[0], &[1], 7), Error::<Test>::SettingWeightsTooFast);
    });
}

#[test]
fn one_weight_for_oneself_needs_no_permit() {
    chain().execute_with(|| {
        let (hotkey, uid) = neuron(1);
        MinAllowedWeights::<Test>::insert(NET, 2);
        assert_ok!(set_weights(&hotkey, &[(uid, 3)]));
        assert_noop!(set_weights(&hotkey, &[(0, 3)]), Error::<Test>::NeuronNoValidatorPermit);
    });
}

#[test]
fn owner_needs_neither_permit_nor_stake() {
    chain().execute_with(|| {
        StakeThreshold::<Test>::put(5 * ONE);
        let (_, uid) = neuron(1);
        assert_ok!(set_weights(&owner_hotkey(), &[(uid, 1)]));
    });
}

#[test]
fn first_weights_of_a_genesis_uid_are_free() {
    chain().execute_with(|| {
        WeightsSetRateLimit::<Test>::insert(NET, 100);
        assert_ok!(set_weights(&owner_hotkey(), &[(0, 1)]));
        assert_noop!(set_weights(&owner_hotkey(), &[(0, 1)]), Error::<Test>::SettingWeightsTooFast);
    });
}
