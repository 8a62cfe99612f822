//! Buying a uid: price, refusals in order, what is written.

use polkadot_sdk_frame::testing_prelude::*;

use crate::mock::*;
use crate::types::{NetUid, TaoBalance};
use crate::*;

#[test]
fn registration_costs_the_burn_and_destroys_the_alpha_it_buys() {
    chain().execute_with(|| {
        let (cost, before) = (Burn::<Test>::get(NET).0, tao(&account(1)));
        let out = SubnetAlphaOut::<Test>::get(NET);
        let reserve = SubnetTAO::<Test>::get(NET).0;
        let (hotkey, uid) = neuron(1);
        assert_eq!(uid, 1);
        assert_eq!(tao(&account(1)), before - cost);
        assert_eq!(SubnetTAO::<Test>::get(NET).0, reserve + cost);
        assert_eq!(SubnetAlphaOut::<Test>::get(NET), out);
        assert_eq!(RAORecycledForRegistration::<Test>::get(NET), TaoBalance(cost));
        assert_eq!(Owner::<Test>::get(&hotkey), account(1));
        assert_eq!(OwnedHotkeys::<Test>::get(account(1)), vec![hotkey.clone()]);
        assert!(IsNetworkMember::<Test>::get(&hotkey, NET));
        assert_eq!(BlockAtRegistration::<Test>::get(NET, uid), 1);
        assert_eq!(LastUpdate::<Test>::get(1), vec![0, 1]);
        System::assert_last_event(Event::NeuronRegistered(NET, 1, hotkey).into());
        check_invariants();
    });
}

#[test]
fn price_rises_with_each_registration_and_halves_in_its_half_life() {
    chain().execute_with(|| {
        neuron(1);
        // 0.1 TAO * 1.26, cut.
        assert!(Burn::<Test>::get(NET).0.abs_diff(126_000_000) <= 1);
        neuron(2);
        let price = Burn::<Test>::get(NET).0;
        assert!(price.abs_diff(158_760_000) <= 2);
        run_blocks(360);
        assert!(Burn::<Test>::get(NET).0.abs_diff(price / 2) <= price / 500);
        run_blocks(3_500);
        assert_eq!(Burn::<Test>::get(NET), MinBurn::<Test>::get(NET));
    });
}

#[test]
fn registration_is_refused_for_the_first_reason_that_holds() {
    chain().execute_with(|| {
        let call = |netuid: u16, cold: u8, hot: u8| {
            SubtensorModule::burned_register(by(&account(cold)), NetUid(netuid), account(hot))
        };
        assert_noop!(call(0, 1, 101), Error::<Test>::RegistrationNotPermittedOnRootSubnet);
        assert_noop!(call(9, 1, 101), Error::<Test>::SubnetNotExists);
        NetworkRegistrationAllowed::<Test>::insert(NET, false);
        assert_noop!(call(1, 1, 101), Error::<Test>::SubNetRegistrationDisabled);
        NetworkRegistrationAllowed::<Test>::insert(NET, true);
        neuron(1);
        // Already registered comes before the missing funds of account 99.
        assert_noop!(call(1, 99, 101), Error::<Test>::HotKeyAlreadyRegisteredInSubNet);
        assert_noop!(call(1, 99, 102), Error::<Test>::NotEnoughBalanceToStake);
        // An existing hotkey of another coldkey: the owner's second one.
        Owner::<Test>::insert(account(150), account(3));
        assert_noop!(call(1, 2, 150), Error::<Test>::NonAssociatedColdKey);
        MaxAllowedUids::<Test>::insert(NET, 2);
        MinNonImmuneUids::<Test>::insert(NET, 10);
        ImmunityPeriod::<Test>::insert(NET, 0);
        assert_noop!(call(1, 2, 102), Error::<Test>::NoNeuronIdAvailable);
    });
}

#[test]
fn unsigned_calls_are_refused() {
    chain().execute_with(|| {
        let call = SubtensorModule::burned_register(RuntimeOrigin::none(), NET, account(101));
        assert_noop!(call, DispatchError::BadOrigin);
    });
}

#[test]
fn a_registered_hotkey_can_sign_without_funds() {
    chain().execute_with(|| {
        assert_eq!(System::providers(&account(101)), 0);
        neuron(1);
        assert_eq!(tao(&account(101)), 0);
        assert_eq!(System::providers(&account(101)), 1);
    });
}
