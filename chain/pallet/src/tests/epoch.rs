//! Epochs: permits, consensus, and that 41/41/18 reaches those it should.

use polkadot_sdk_frame::testing_prelude::*;

use crate::genesis::SubnetGenesis;
use crate::mock::*;
use crate::types::{AlphaBalance, RecycleOrBurnEnum};
use crate::*;

/// Two validators with stake and permit, and three miners: uids 1, 2 and 3, 4, 5.
fn staffed() -> TestState {
    let mut state = chain();
    state.execute_with(|| {
        validator(1, 300 * ONE);
        validator(2, 200 * ONE);
        neuron(3);
        neuron(4);
        neuron(5);
        run_epoch();
    });
    state
}

fn alpha(number: u8) -> u64 {
    SubtensorModule::alpha_of(&account(number + 100), &account(number), NET).0
}

#[test]
fn stake_brings_a_permit_at_the_next_epoch() {
    chain().execute_with(|| {
        let (hotkey, uid) = validator(1, 100 * ONE);
        let (_, miner) = neuron(2);
        assert_noop!(set_weights(&hotkey, &[(miner, 1)]), Error::<Test>::NeuronNoValidatorPermit);
        run_epoch();
        assert!(ValidatorPermit::<Test>::get(NET)[usize::from(uid)]);
        assert!(!ValidatorPermit::<Test>::get(NET)[usize::from(miner)]);
        assert_ok!(set_weights(&hotkey, &[(miner, 1)]));
    });
}

#[test]
fn epochs_run_every_tempo() {
    chain().execute_with(|| {
        run_blocks(100);
        assert_eq!(SubnetEpochIndex::<Test>::get(NET), 10);
        assert_eq!(LastEpochBlock::<Test>::get(NET), 100);
        Tempo::<Test>::insert(NET, 0);
        run_blocks(30);
        assert_eq!(SubnetEpochIndex::<Test>::get(NET), 10);
    });
}

#[test]
fn an_epoch_pays_41_41_18() {
    staffed().execute_with(|| {
        let weights = [(3, 3), (4, 2), (5, 1)];
        assert_ok!(set_weights(&account(101), &weights));
        assert_ok!(set_weights(&account(102), &weights));
        run_epoch();
        run_epoch();
        let before: Vec<u64> = (1..=5).map(alpha).collect();
        let owner_before = SubtensorModule::alpha_of(&owner_hotkey(), &owner_coldkey(), NET).0;
        run_epoch();
        let gained: Vec<u64> = (1..=5).map(alpha).zip(before).map(|(after, before)| after - before).collect();
        let owner = SubtensorModule::alpha_of(&owner_hotkey(), &owner_coldkey(), NET).0 - owner_before;
        let (validators, miners) = (gained[0] + gained[1], gained[2] + gained[3] + gained[4]);
        let total = 10 * ONE;
        assert!(owner.abs_diff(total * 18 / 100) < total / 1000, "owner {owner}");
        assert!(validators.abs_diff(total * 41 / 100) < total / 1000, "validators {validators}");
        assert!(miners.abs_diff(total * 41 / 100) < total / 1000, "miners {miners}");
        // Miners by weight, 3:2:1.
        assert!(gained[2].abs_diff(3 * gained[4]) < total / 1000, "{gained:?}");
        assert!(gained[3].abs_diff(2 * gained[4]) < total / 1000, "{gained:?}");
        // Validators by stake, 3:2 when they agree; a little less sharp since alpha grew dearer between their purchases.
        assert!(gained[0] > gained[1], "{gained:?}");
    });
}

#[test]
fn weights_stay_in_storage_as_they_were_set() {
    staffed().execute_with(|| {
        assert_ok!(set_weights(&account(101), &[(3, 65_535), (4, 1_234), (5, 0)]));
        run_epoch();
        assert_eq!(Weights::<Test>::get(1, 1), vec![(3, 65_535), (4, 1_234), (5, 0)]);
    });
}

#[test]
fn a_miner_the_validators_shun_earns_least() {
    staffed().execute_with(|| {
        assert_ok!(set_weights(&account(101), &[(3, 60_000), (4, 50_000), (5, 300)]));
        assert_ok!(set_weights(&account(102), &[(3, 55_000), (4, 58_000), (5, 0)]));
        run_epoch();
        let incentive = Incentive::<Test>::get(1);
        assert!(incentive[5] < incentive[3] && incentive[5] < incentive[4], "{incentive:?}");
        let emission = Emission::<Test>::get(NET);
        assert!(emission[5] < emission[3] && emission[5] < emission[4], "{emission:?}");
        assert!(alpha(5) < alpha(3) && alpha(5) < alpha(4));
    });
}

#[test]
fn what_only_a_minority_supports_is_clipped() {
    staffed().execute_with(|| {
        // Validator 2 has less than half of the stake and praises miner 5, whom nobody else knows.
        assert_ok!(set_weights(&account(101), &[(3, 1), (4, 1)]));
        assert_ok!(set_weights(&account(102), &[(5, 1)]));
        run_epoch();
        assert_eq!(Incentive::<Test>::get(1)[5], 0);
        assert_eq!(Consensus::<Test>::get(NET)[5], 0);
        assert!(ValidatorTrust::<Test>::get(NET)[1] > 65_000);
        assert_eq!(ValidatorTrust::<Test>::get(NET)[2], 0);
    });
}

#[test]
fn without_miners_to_pay_validators_get_both_parts() {
    staffed().execute_with(|| {
        // The owner's uid holds its cut as stake and earns on it like a validator.
        let holders = || alpha(1) + alpha(2) + SubtensorModule::alpha_of(&owner_hotkey(), &owner_coldkey(), NET).0;
        let before = (holders(), alpha(1) + alpha(2));
        run_epoch();
        let total = 10 * ONE;
        assert!((holders() - before.0).abs_diff(total) < total / 1000, "everything is paid");
        let gained = alpha(1) + alpha(2) - before.1;
        assert!(gained.abs_diff(total * 82 / 100) < total / 200, "{gained}");
    });
}

#[test]
fn the_owner_earns_no_incentive() {
    staffed().execute_with(|| {
        assert_ok!(set_weights(&account(101), &[(0, 1), (3, 1)]));
        assert_ok!(set_weights(&account(102), &[(0, 1), (3, 1)]));
        let before = SubtensorModule::alpha_of(&owner_hotkey(), &owner_coldkey(), NET).0;
        run_epoch();
        let gained = SubtensorModule::alpha_of(&owner_hotkey(), &owner_coldkey(), NET).0 - before;
        assert!(gained < 10 * ONE * 19 / 100, "only the cut: {gained}");
        let burned = MinerBurned::<Test>::get(NET).bits;
        assert!(burned.abs_diff(1 << 31) < 1 << 20, "half of the incentive: {burned}");

        RecycleOrBurn::<Test>::insert(NET, RecycleOrBurnEnum::Recycle);
        let out = || SubnetAlphaOut::<Test>::get(NET).0 - SubnetProtocolAlpha::<Test>::get(NET).0;
        let before = out();
        run_epoch();
        let grown = out() - before;
        assert!(grown < 10 * ONE * 81 / 100, "a fifth was taken back: {grown}");
    });
}

#[test]
fn a_delegate_takes_its_part_and_nominators_get_the_rest() {
    staffed().execute_with(|| {
        SubtensorModule::add_stake(by(&account(9)), account(101), NET, types::TaoBalance(300 * ONE)).unwrap();
        Delegates::<Test>::insert(account(101), 0);
        let of = |number: u8| SubtensorModule::alpha_of(&account(101), &account(number), NET).0;
        let (own, theirs) = (of(1), of(9));
        run_epoch();
        let (own_gain, their_gain) = (of(1) - own, of(9) - theirs);
        let expected = u128::from(own_gain) * u128::from(theirs) / u128::from(own);
        assert!(u128::from(their_gain).abs_diff(expected) < 100, "without take all grow alike");

        Delegates::<Test>::insert(account(101), 32_768);
        let (own, theirs) = (of(1), of(9));
        run_epoch();
        let (own_gain, their_gain) = (of(1) - own, of(9) - theirs);
        assert!(own_gain > 2 * their_gain, "half goes to the delegate first: {own_gain} {their_gain}");
    });
}

#[test]
fn a_vote_older_than_a_registration_does_not_count_for_the_newcomer() {
    chain_with(SubnetGenesis { max_allowed_uids: 4, min_non_immune_uids: 0, immunity_period: 0, ..subnet() })
        .execute_with(|| {
            validator(1, 300 * ONE);
            neuron(2);
            neuron(3);
            run_epoch();
            assert_ok!(set_weights(&account(101), &[(2, 1), (3, 2)]));
            run_epoch();
            assert!(Incentive::<Test>::get(1)[2] > 0);
            Emission::<Test>::mutate(NET, |emission| emission[2] = AlphaBalance::ZERO);
            let (_, uid) = neuron(4);
            assert_eq!(uid, 2);
            run_epoch();
            assert_eq!(Incentive::<Test>::get(1), vec![0, 0, 0, 65_535]);
            assert_ok!(set_weights(&account(101), &[(2, 2), (3, 2)]));
            run_epoch();
            assert!(Incentive::<Test>::get(1)[2] > 30_000);
        });
}

#[test]
fn at_most_two_epochs_run_in_one_block() {
    chain().execute_with(|| {
        MaxEpochsPerBlock::<Test>::put(1);
        NetworkRateLimit::<Test>::put(0);
        SubtensorModule::register_network(by(&account(1)), account(101)).unwrap();
        let second = types::NetUid(2);
        Tempo::<Test>::insert(second, 10);
        LastEpochBlock::<Test>::insert(second, LastEpochBlock::<Test>::get(NET));
        run_epoch();
        assert_eq!(SubnetEpochIndex::<Test>::get(second), 0);
        run_blocks(1);
        assert_eq!(SubnetEpochIndex::<Test>::get(second), 1);
    });
}

#[test]
fn inconsistent_keys_skip_the_epoch_and_keep_its_emission() {
    staffed().execute_with(|| {
        Uids::<Test>::remove(NET, account(103));
        run_blocks(9);
        let pending = PendingServerEmission::<Test>::get(NET);
        assert!(pending.0 > 3 * ONE);
        run_epoch();
        assert!(PendingServerEmission::<Test>::get(NET) > pending);
    });
}

#[test]
fn a_block_mints_one_tao_and_one_alpha() {
    chain().execute_with(|| {
        let (tao, alpha) = (TotalIssuance::<Test>::get().0, SubnetAlphaOut::<Test>::get(NET).0);
        let pool_alpha = SubnetAlphaIn::<Test>::get(NET).0;
        run_blocks(1);
        assert_eq!(TotalIssuance::<Test>::get().0, tao + ONE);
        let out = SubnetAlphaOut::<Test>::get(NET).0 - alpha;
        let bought = pool_alpha - SubnetAlphaIn::<Test>::get(NET).0;
        assert_eq!(out, ONE + bought, "one for participants, and what the chain bought");
        assert_eq!(SubnetProtocolAlpha::<Test>::get(NET).0, bought);
    });
}
