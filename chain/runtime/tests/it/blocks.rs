//! Blocks: built, executed, and what transactions in them do.

use glia_chain_pallet::types::{NetUid, TaoBalance};
use glia_chain_pallet::{Axons, Incentive, SubnetEpochIndex, TotalIssuance, Uids, ValidatorPermit, Weights};
use glia_chain_runtime::{AccountId, Balances, Runtime, RuntimeCall, System};
use polkadot_sdk_frame::deps::sp_runtime::transaction_validity::{
    InvalidTransaction, TransactionSource, TransactionValidity, TransactionValidityError,
};
use polkadot_sdk_frame::runtime::prelude::Sr25519Keyring;

use crate::support::*;

type Call = glia_chain_pallet::Call<Runtime>;

const VISION: NetUid = NetUid(1);

fn call(call: Call) -> RuntimeCall {
    RuntimeCall::SubtensorModule(call)
}

fn hotkey(name: &str) -> AccountId {
    AccountId::new(hash(name.as_bytes()).0)
}

#[test]
fn blocks_are_built_and_move_time_and_emission() {
    development().execute_with(|| {
        let issued = TotalIssuance::<Runtime>::get().0;
        pass(3);
        assert_eq!(System::block_number(), 3);
        assert_eq!(pallet_timestamp::Now::<Runtime>::get(), 3 * BLOCK_TIME);
        assert_eq!(TotalIssuance::<Runtime>::get().0, issued + 3_000_000_000);
        assert_eq!(TotalIssuance::<Runtime>::get().0, Balances::total_issuance());
    });
}

#[test]
fn expert_and_router_reach_an_epoch_through_transactions() {
    development().execute_with(|| {
        // Both hotkeys never hold any TAO; Alice is their coldkey.
        let (router_key, expert_key) = (key("router"), key("expert"));
        let (router, expert) = (account_of(&router_key), account_of(&expert_key));
        let alice = Sr25519Keyring::Alice.pair();
        let register = |hotkey: &AccountId| call(Call::burned_register { netuid: VISION, hotkey: hotkey.clone() });
        let stake = call(Call::add_stake {
            hotkey: router.clone(),
            netuid: VISION,
            amount_staked: TaoBalance(100_000_000_000),
        });
        let (_, results) = build(vec![
            sign_with(&alice, register(&router), 0),
            sign_with(&alice, register(&expert), 1),
            sign_with(&alice, stake, 2),
        ]);
        for result in results {
            result.unwrap().unwrap();
        }
        assert_eq!(Uids::<Runtime>::get(VISION, &router), Some(1));
        assert_eq!(Uids::<Runtime>::get(VISION, &expert), Some(2));
        assert_eq!(TotalIssuance::<Runtime>::get().0, Balances::total_issuance(), "fees are recycled");

        while SubnetEpochIndex::<Runtime>::get(VISION) < 1 {
            pass(1);
        }
        assert!(ValidatorPermit::<Runtime>::get(VISION)[1]);
        let weights = call(Call::set_weights { netuid: VISION, dests: vec![2], weights: vec![9], version_key: 0 });
        let (_, results) = build(vec![sign_with(&router_key, weights, 0)]);
        results[0].unwrap().unwrap();
        assert_eq!(Balances::free_balance(&router), 0, "setting weights is free");
        assert_eq!(Weights::<Runtime>::get(1, 1), vec![(2, 65_535)]);

        while SubnetEpochIndex::<Runtime>::get(VISION) < 2 {
            pass(1);
        }
        assert_eq!(Incentive::<Runtime>::get(1), vec![0, 0, 65_535]);
        assert_eq!(TotalIssuance::<Runtime>::get().0, Balances::total_issuance());
    });
}

#[test]
fn loopback_endpoints_can_be_announced() {
    development().execute_with(|| {
        let bob = Sr25519Keyring::Bob.to_account_id();
        build(vec![sign(Sr25519Keyring::Bob, call(Call::burned_register { netuid: VISION, hotkey: bob.clone() }))]);
        let serve = call(Call::serve_axon {
            netuid: VISION,
            version: 1,
            ip: 0x7f00_0001,
            port: 9944,
            ip_type: 4,
            protocol: 0,
            placeholder1: 0,
            placeholder2: 0,
        });
        let (_, results) = build(vec![sign(Sr25519Keyring::Bob, serve)]);
        results[0].unwrap().unwrap();
        assert_eq!(Axons::<Runtime>::get(VISION, &bob).unwrap().port, 9944);
    });
}

#[test]
fn transactions_are_validated_before_they_enter_a_block() {
    development().execute_with(|| {
        pass(1);
        let register = |nonce| {
            let register = call(Call::burned_register { netuid: VISION, hotkey: hotkey("a") });
            sign_with(&Sr25519Keyring::Charlie.pair(), register, nonce)
        };
        let validate = |transaction| -> TransactionValidity {
            ask("TaggedTransactionQueue_validate_transaction", (TransactionSource::External, transaction, hash(b"at")))
        };
        assert!(validate(register(0)).is_ok());
        assert!(validate(register(7)).is_ok(), "a future nonce waits");
        build(vec![register(0)]);
        assert!(validate(register(0)).is_err(), "a used nonce is stale");
    });
}

#[test]
fn a_free_call_that_would_fail_enters_neither_pool_nor_block() {
    development().execute_with(|| {
        pass(1);
        let weights = call(Call::set_weights { netuid: VISION, dests: vec![0], weights: vec![9], version_key: 0 });
        let transaction = sign_with(&Sr25519Keyring::Charlie.pair(), weights, 0);
        let refused = TransactionValidityError::Invalid(InvalidTransaction::Custom(10));
        let verdict: TransactionValidity = ask(
            "TaggedTransactionQueue_validate_transaction",
            (TransactionSource::External, transaction.clone(), hash(b"at")),
        );
        assert_eq!(verdict, Err(refused));
        let (_, results) = build(vec![transaction]);
        assert_eq!(results, [Err(refused)]);
    });
}

#[test]
fn incentive_keeps_flowing_although_experts_gather_stake() {
    development().execute_with(|| {
        let alice = Sr25519Keyring::Alice.pair();
        let routers = [key("router-1"), key("router-2")];
        let experts = [key("expert-1"), key("expert-2"), key("noise")];
        let mut transactions = Vec::new();
        let mut push = |one| {
            let nonce = u32::try_from(transactions.len()).unwrap();
            transactions.push(sign_with(&alice, call(one), nonce));
        };
        for pair in routers.iter().chain(&experts) {
            push(Call::burned_register { netuid: VISION, hotkey: account_of(pair) });
        }
        for router in &routers {
            let amount_staked = TaoBalance(500_000_000_000);
            push(Call::add_stake { hotkey: account_of(router), netuid: VISION, amount_staked });
        }
        for result in build(transactions).1 {
            result.unwrap().unwrap();
        }
        for epoch in 1..=25u64 {
            while SubnetEpochIndex::<Runtime>::get(VISION) < epoch {
                pass(1);
            }
            let weights = || {
                call(Call::set_weights {
                    netuid: VISION,
                    dests: vec![3, 4, 5],
                    weights: vec![60_000, 50_000, 40],
                    version_key: 0,
                })
            };
            let nonce = u32::try_from(epoch).unwrap() - 1;
            let set = routers.iter().map(|router| sign_with(router, weights(), nonce)).collect();
            for result in build(set).1 {
                result.unwrap().unwrap();
            }
            if epoch > 1 {
                let incentive = Incentive::<Runtime>::get(1);
                assert!(incentive[3] > 30_000 && incentive[4] > 25_000, "epoch {epoch}: {incentive:?}");
                assert!(incentive[5] < 100, "epoch {epoch}: {incentive:?}");
            }
        }
    });
}
