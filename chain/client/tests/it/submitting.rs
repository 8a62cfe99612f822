//! Nonces, errors and what is refused before it is sent.

use std::time::Duration;

use futures::future::join_all;
use glia_chain_client::{Call, Chain, ConnectOptions, SubmitError, Value};
use glia_chain_devnode::{DevNode, DevNodeConfig};

use crate::world::{TAO, VISION, World, alice, connect, key};

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_one_account_from_two_handles_all_take_effect_once() {
    let world = World::new().await;
    // Another handle knows nothing of the nonces this one uses, as another process would not.
    let other = connect(&world.node.rpc_url()).await;
    let before = world.chain.balance(alice().account()).await.unwrap();
    let transfers = (0..12_u8).map(|number| {
        let chain = if number % 2 == 0 { &world.chain } else { &other };
        let to = key(50 + number).account();
        async move { chain.transfer(&alice(), to, TAO).await }
    });
    for done in join_all(transfers).await {
        done.unwrap();
    }
    for number in 0..12_u8 {
        let there = world.chain.balance(key(50 + number).account()).await;
        assert_eq!(there.unwrap(), TAO);
    }
    let spent = before - world.chain.balance(alice().account()).await.unwrap();
    assert!((12 * TAO..13 * TAO).contains(&spent), "{spent}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_named_by_the_chains_metadata() {
    let world = World::new().await;
    let chain = &world.chain;
    let hotkey = key(2).account();
    chain.burned_register(&alice(), VISION, hotkey).await.unwrap();
    let error = chain.burned_register(&alice(), VISION, hotkey).await.unwrap_err();
    assert!(error.is("SubtensorModule", "HotKeyAlreadyRegisteredInSubNet"), "{error}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_call_that_would_fail_is_refused_by_name() {
    let world = World::new().await;
    let chain = &world.chain;
    let hotkey = key(2);
    let refused = |error: SubmitError, code: u8, name: &str| {
        assert!(
            matches!(&error, SubmitError::Refused { reason, custom, .. } if *custom == Some(code) && reason.contains(name)),
            "{error}"
        );
    };
    let error = chain.set_weights(&alice(), VISION, &[(0, 1)], 0).await.unwrap_err();
    refused(error, 10, "HotKeyNotRegisteredInNetwork");
    let error = chain.set_weights(&alice(), 77, &[(0, 1)], 0).await.unwrap_err();
    refused(error, 3, "SubnetNotExists");
    chain.burned_register(&alice(), VISION, hotkey.account()).await.unwrap();
    let error = chain.set_weights(&hotkey, VISION, &[(0, 1)], 0).await.unwrap_err();
    refused(error, 255, "NeuronNoValidatorPermit");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlasts_its_deadline_is_not_given_up_while_it_can_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let config = DevNodeConfig { block_time: Duration::from_millis(1500), ..DevNodeConfig::new(dir.path()) };
    let node = DevNode::start(config).await.unwrap();
    let options = ConnectOptions { submit_deadline: Duration::from_millis(300), ..ConnectOptions::default() };
    let chain = Chain::connect(&node.rpc_url(), options).await.unwrap();
    // The first block comes long after the deadline; until then the transaction waits in the pool.
    let to = key(7).account();
    match chain.transfer(&alice(), to, TAO).await {
        Ok(_) => assert_eq!(chain.balance(to).await.unwrap(), TAO),
        // The machine was too slow to sign in time: then nothing was handed over.
        Err(error) => {
            assert!(matches!(error, SubmitError::Deadline { open_until: None, .. }), "{error}");
            chain.wait_for_block(chain.block_number().await.unwrap() + 1).await.unwrap();
            assert_eq!(chain.balance(to).await.unwrap(), 0);
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_the_chain_does_not_have_is_never_sent() {
    let world = World::new().await;
    for call in [
        Call::new("NoSuchPallet", "call"),
        Call::new("Balances", "no_such_call"),
        Call::new("Balances", "transfer_keep_alive").arg("value", Value::bool(true)),
    ] {
        let error = world.chain.submit(&call, &alice()).await.unwrap_err();
        assert!(matches!(error, SubmitError::BadCall { .. }), "{error}");
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_funds_is_refused_with_a_reason() {
    let world = World::new().await;
    let error = world.chain.transfer(&key(9), alice().account(), TAO).await.unwrap_err();
    let SubmitError::Refused { code, reason, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*code, 1010);
    assert!(reason.contains("fee"), "{reason}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_can_be_asked_to_change_a_balance() {
    let world = World::new().await;
    let to = key(8).account();
    let call = Call::new("Balances", "force_set_balance")
        .arg("who", Value::unnamed_variant("Id", [Value::from_bytes(to.0)]))
        .arg("new_free", Value::u128(u128::from(3 * TAO)));
    world.chain.submit(&call.sudo(), &alice()).await.unwrap();
    assert_eq!(world.chain.balance(to).await.unwrap(), 3 * TAO);
    world.node.stop().await;
}
