//! What a chain starts with.

use crate::mock::*;
use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

#[test]
fn genesis_makes_root_and_the_subnet_with_its_pool() {
    chain().execute_with(|| {
        assert!(NetworksAdded::<Test>::get(NetUid::ROOT));
        assert!(NetworksAdded::<Test>::get(NET));
        assert_eq!(TotalNetworks::<Test>::get(), 2);
        assert_eq!(SubnetTAO::<Test>::get(NET), TaoBalance(1_000 * ONE));
        assert_eq!(SubnetAlphaIn::<Test>::get(NET), AlphaBalance(1_000 * ONE));
        assert_eq!(TotalIssuance::<Test>::get(), TaoBalance(601_000 * ONE));
        assert_eq!(SubnetOwner::<Test>::get(NET), owner_coldkey());
        check_invariants();
    });
}

#[test]
fn owner_hotkey_is_uid_zero() {
    chain().execute_with(|| {
        assert_eq!(SubnetworkN::<Test>::get(NET), 1);
        assert_eq!(Keys::<Test>::get(NET, 0), owner_hotkey());
        assert_eq!(Uids::<Test>::get(NET, owner_hotkey()), Some(0));
    });
}

#[test]
fn hyperparameters_of_the_genesis_are_stored() {
    let wanted = crate::genesis::SubnetGenesis { tempo: 33, min_allowed_weights: 3, max_allowed_uids: 64, ..subnet() };
    chain_with(wanted).execute_with(|| {
        assert_eq!(Tempo::<Test>::get(NET), 33);
        assert_eq!(MinAllowedWeights::<Test>::get(NET), 3);
        assert_eq!(MaxAllowedUids::<Test>::get(NET), 64);
        assert!(!CommitRevealWeightsEnabled::<Test>::get(NET));
        assert!(Yuma3On::<Test>::get(NET));
    });
}
