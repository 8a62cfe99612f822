//! Creating subnets.

use polkadot_sdk_frame::testing_prelude::*;

use crate::mock::*;
use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

const NEW: NetUid = NetUid(2);

fn register_network(cold: u8, hot: u8) -> DispatchResult {
    SubtensorModule::register_network(by(&account(cold)), account(hot))
}

#[test]
fn a_subnet_costs_its_lock_which_becomes_its_pool() {
    chain().execute_with(|| {
        let before = tao(&account(1));
        assert_ok!(register_network(1, 101));
        assert_eq!(tao(&account(1)), before - 1_000 * ONE);
        assert_eq!(SubnetTAO::<Test>::get(NEW), TaoBalance(1_000 * ONE));
        assert_eq!(SubnetAlphaIn::<Test>::get(NEW), AlphaBalance(1_000 * ONE), "at the price of the other subnet");
        assert_eq!(Keys::<Test>::get(NEW, 0), account(101));
        assert!(CommitRevealWeightsEnabled::<Test>::get(NEW));
        assert!(!SubtokenEnabled::<Test>::get(NEW));
        assert!(!SubnetEmissionEnabled::<Test>::get(NEW));
        System::assert_last_event(Event::NetworkAdded(NEW, 1).into());
        check_invariants();
        // The next one costs twice as much.
        assert_eq!(SubtensorModule::network_lock_cost(), TaoBalance(2_000 * ONE));
    });
}

#[test]
fn a_subnet_emits_alpha_but_no_tao_once_started() {
    chain().execute_with(|| {
        assert_ok!(register_network(1, 101));
        run_blocks(3);
        assert_eq!(SubnetAlphaOut::<Test>::get(NEW), AlphaBalance::ZERO);
        assert_noop!(SubtensorModule::start_call(by(&account(2)), NEW), Error::<Test>::NotSubnetOwner);
        assert_ok!(SubtensorModule::start_call(by(&account(1)), NEW));
        assert_noop!(
            SubtensorModule::start_call(by(&account(1)), NEW),
            Error::<Test>::FirstEmissionBlockNumberAlreadySet
        );
        run_blocks(3);
        assert!(SubnetAlphaOut::<Test>::get(NEW) > AlphaBalance::ZERO);
        assert_eq!(SubnetTAO::<Test>::get(NEW), TaoBalance(1_000 * ONE));
    });
}

#[test]
fn creation_is_refused_for_the_first_reason_that_holds() {
    chain().execute_with(|| {
        let pool = SubtensorModule::subnet_account(NET);
        assert_noop!(
            SubtensorModule::register_network(by(&account(99)), owner_hotkey()),
            Error::<Test>::NonAssociatedColdKey
        );
        assert_noop!(SubtensorModule::register_network(by(&account(99)), pool), Error::<Test>::CannotUseSystemAccount);
        NetworkRegistrationStartBlock::<Test>::put(5);
        assert_noop!(register_network(99, 101), Error::<Test>::SubNetRegistrationDisabled);
        NetworkRegistrationStartBlock::<Test>::put(0);
        assert_noop!(register_network(99, 101), Error::<Test>::CannotAffordLockCost);
        NetworkRateLimit::<Test>::put(100);
        assert_ok!(register_network(1, 101));
        assert_noop!(register_network(99, 102), Error::<Test>::NetworkTxRateLimitExceeded);
        NetworkRateLimit::<Test>::put(0);
        SubnetLimit::<Test>::put(2);
        assert_noop!(register_network(99, 102), Error::<Test>::SubnetLimitReached);
    });
}
