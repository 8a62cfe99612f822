//! Who leaves a full subnet, and what the newcomer must not inherit.

use polkadot_sdk_frame::testing_prelude::*;

use crate::genesis::SubnetGenesis;
use crate::mock::*;
use crate::types::{AlphaBalance, AxonInfo};
use crate::*;

/// Owner and three neurons fill the subnet.
fn full() -> TestState {
    let small = SubnetGenesis { max_allowed_uids: 4, min_non_immune_uids: 0, immunity_period: 50, ..subnet() };
    let mut state = chain_with(small);
    state.execute_with(|| {
        for number in 1..=3 {
            neuron(number);
            run_blocks(1);
        }
    });
    state
}

fn earn(emission: [u64; 4]) {
    Emission::<Test>::insert(NET, emission.map(AlphaBalance).to_vec());
}

#[test]
fn least_earning_unprotected_uid_goes() {
    full().execute_with(|| {
        System::set_block_number(200);
        earn([0, 30, 10, 20]);
        assert_eq!(SubtensorModule::uid_to_replace(NET), Some(2));
        // Among equals the oldest, then the lowest uid.
        earn([0, 10, 10, 10]);
        assert_eq!(SubtensorModule::uid_to_replace(NET), Some(1));
    });
}

#[test]
fn protected_uids_go_only_when_too_few_others_remain() {
    full().execute_with(|| {
        // Uid 1 was registered in block 1, uid 2 in block 2, uid 3 in block 3.
        System::set_block_number(51);
        earn([0, 30, 20, 10]);
        assert_eq!(SubtensorModule::uid_to_replace(NET), Some(1), "only uid 1 has lost protection");
        MinNonImmuneUids::<Test>::insert(NET, 1);
        assert_eq!(SubtensorModule::uid_to_replace(NET), Some(3), "uid 1 must remain, so the protected are asked");
    });
}

#[test]
fn owner_is_never_replaced() {
    full().execute_with(|| {
        System::set_block_number(200);
        earn([0, 1, 1, 1]);
        assert_ne!(SubtensorModule::uid_to_replace(NET), Some(0));
        ImmuneOwnerUidsLimit::<Test>::insert(NET, 0);
        assert_eq!(SubtensorModule::uid_to_replace(NET), Some(0));
    });
}

#[test]
fn newcomer_inherits_nothing() {
    full().execute_with(|| {
        System::set_block_number(200);
        earn([5, 5, 1, 5]);
        let old = Keys::<Test>::get(NET, 2);
        Weights::<Test>::insert(1, 2, vec![(1, 65_535)]);
        Weights::<Test>::insert(1, 1, vec![(2, 65_535), (3, 100)]);
        Bonds::<Test>::insert(1, 2, vec![(1, 7)]);
        Axons::<Test>::insert(NET, &old, AxonInfo::default());
        Incentive::<Test>::insert(1, vec![1, 2, 3, 4]);
        ValidatorPermit::<Test>::insert(NET, vec![true; 4]);

        let (hotkey, uid) = neuron(4);
        assert_eq!(uid, 2);
        assert_eq!(SubnetworkN::<Test>::get(NET), 4);
        assert_eq!(Uids::<Test>::get(NET, &old), None);
        assert!(!IsNetworkMember::<Test>::get(&old, NET));
        assert_eq!(Keys::<Test>::get(NET, 2), hotkey);
        assert!(Axons::<Test>::get(NET, &old).is_none());
        assert!(Weights::<Test>::get(1, 2).is_empty());
        assert!(Bonds::<Test>::get(1, 2).is_empty());
        assert_eq!(Weights::<Test>::get(1, 1), vec![(2, 0), (3, 100)]);
        assert_eq!(Incentive::<Test>::get(1), vec![1, 2, 0, 4]);
        assert_eq!(ValidatorPermit::<Test>::get(NET), vec![true, true, false, true]);
        assert_eq!(Emission::<Test>::get(NET)[2], AlphaBalance::ZERO);
        assert_eq!(BlockAtRegistration::<Test>::get(NET, 2), 200);
        assert_eq!(LastUpdate::<Test>::get(1)[2], 200);
        check_invariants();
    });
}
