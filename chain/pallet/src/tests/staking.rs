//! Stake: what it costs, what it is worth, that nothing is lost or made.

use polkadot_sdk_frame::testing_prelude::*;

use crate::mock::*;
use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

fn add(cold: u8, hot: &AccountId, net: NetUid, amount: u64) -> DispatchResult {
    SubtensorModule::add_stake(by(&account(cold)), hot.clone(), net, TaoBalance(amount))
}

fn remove(cold: u8, hot: &AccountId, net: NetUid, amount: u64) -> DispatchResult {
    SubtensorModule::remove_stake(by(&account(cold)), hot.clone(), net, AlphaBalance(amount))
}

#[test]
fn staking_buys_alpha_from_the_pool_for_a_fee() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        let (before, issued) = (tao(&account(1)), TotalIssuance::<Test>::get().0);
        let (x, y) = (SubnetAlphaIn::<Test>::get(NET).0, SubnetTAO::<Test>::get(NET).0);
        assert_ok!(add(1, &hotkey, NET, 100 * ONE));
        let fee = 100 * ONE * 33 / 65_535;
        let spent = 100 * ONE - fee;
        let bought = (u128::from(x) * u128::from(spent) / u128::from(y + spent)) as u64;
        assert_eq!(SubtensorModule::alpha_of(&hotkey, &account(1), NET), AlphaBalance(bought));
        assert_eq!(tao(&account(1)), before - 100 * ONE);
        assert_eq!(TotalIssuance::<Test>::get().0, issued - fee, "the fee is recycled");
        assert_eq!(StakingHotkeys::<Test>::get(account(1)), vec![hotkey.clone()]);
        System::assert_last_event(
            Event::StakeAdded(account(1), hotkey, TaoBalance(100 * ONE), AlphaBalance(bought), NET, fee).into(),
        );
        check_invariants();
    });
}

#[test]
fn a_round_trip_costs_only_fees() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        let before = tao(&account(1));
        assert_ok!(add(1, &hotkey, NET, 100 * ONE));
        let held = SubtensorModule::alpha_of(&hotkey, &account(1), NET);
        assert_ok!(remove(1, &hotkey, NET, held.0));
        let lost = before - tao(&account(1));
        assert!(lost > 0 && lost <= 100 * ONE * 2 * 33 / 65_535 + 2, "lost {lost}");
        assert_eq!(TotalHotkeyAlpha::<Test>::get(&hotkey, NET), AlphaBalance::ZERO);
        check_invariants();
    });
}

#[test]
fn root_stake_is_tao_one_to_one() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        assert_ok!(add(2, &hotkey, NetUid::ROOT, 7 * ONE));
        assert_eq!(SubtensorModule::alpha_of(&hotkey, &account(2), NetUid::ROOT), AlphaBalance(7 * ONE));
        // Root TAO counts as stake weight, at 0.0527.
        let weight = SubtensorModule::stake_weight_of(&hotkey, NET);
        assert!(weight.abs_diff(7 * ONE * 527 / 10_000) < ONE / 1000, "{weight}");
        check_invariants();
        assert_ok!(remove(2, &hotkey, NetUid::ROOT, 7 * ONE));
        assert_eq!(tao(&account(2)), 10_000 * ONE);
        check_invariants();
    });
}

#[test]
fn nominators_share_what_a_hotkey_gains() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        SubtensorModule::credit_alpha(&hotkey, &account(1), NET, AlphaBalance(3 * ONE));
        SubtensorModule::credit_alpha(&hotkey, &account(2), NET, AlphaBalance(ONE));
        SubtensorModule::credit_nominators(&hotkey, NET, AlphaBalance(4 * ONE));
        let of = |number| SubtensorModule::alpha_of(&hotkey, &account(number), NET).0;
        assert!(of(1).abs_diff(6 * ONE) <= 1);
        assert!(of(2).abs_diff(2 * ONE) <= 1);
        // A later holder takes nothing from the earlier ones.
        SubtensorModule::credit_alpha(&hotkey, &account(3), NET, AlphaBalance(10 * ONE));
        assert!(of(1).abs_diff(6 * ONE) <= 2);
        assert!(of(3).abs_diff(10 * ONE) <= 2);
        assert_ok!(SubtensorModule::debit_alpha(&hotkey, &account(1), NET, AlphaBalance(of(1))));
        assert_eq!(of(1), 0);
        assert!(of(2).abs_diff(2 * ONE) <= 2);
        assert!(of(3).abs_diff(10 * ONE) <= 3);
    });
}

#[test]
fn staking_is_refused_for_the_first_reason_that_holds() {
    chain().execute_with(|| {
        let nobody = account(150);
        assert_noop!(add(99, &nobody, NetUid(9), 0), Error::<Test>::SubnetNotExists);
        SubtokenEnabled::<Test>::insert(NET, false);
        assert_noop!(add(99, &nobody, NET, 0), Error::<Test>::SubtokenDisabled);
        SubtokenEnabled::<Test>::insert(NET, true);
        assert_noop!(add(99, &nobody, NET, 1_999_999), Error::<Test>::AmountTooLow);
        assert_noop!(add(99, &nobody, NET, 1_000_001 * ONE), Error::<Test>::InsufficientLiquidity);
        assert_noop!(add(99, &nobody, NET, ONE), Error::<Test>::NotEnoughBalanceToStake);
        assert_noop!(add(1, &nobody, NET, ONE), Error::<Test>::HotKeyAccountNotExists);
        assert_noop!(remove(1, &nobody, NET, ONE), Error::<Test>::HotKeyAccountNotExists);
        let (hotkey, _) = validator(1, ONE);
        assert_noop!(remove(2, &hotkey, NET, ONE / 2), Error::<Test>::NotEnoughStakeToWithdraw);
        assert_noop!(remove(1, &hotkey, NET, 1_000), Error::<Test>::AmountTooLow);
    });
}

#[test]
fn tao_destroyed_in_the_ledger_is_out_of_issuance_and_can_be_emitted_again() {
    chain().execute_with(|| {
        let before = TotalIssuance::<Test>::get().0;
        assert_ok!(Balances::burn(by(&account(1)), 70 * ONE, false));
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), account(2).into(), 4_000 * ONE));
        SubtensorModule::on_finalize(System::block_number());
        assert_eq!(TotalIssuance::<Test>::get().0, before - 6_070 * ONE);
        check_invariants();
        assert_ok!(Balances::burn(by(&account(1)), 30 * ONE, false));
        // Emission is counted on top of what the ledger says.
        run_blocks(1);
        assert_eq!(TotalIssuance::<Test>::get().0, before - 6_100 * ONE + ONE);
    });
}
