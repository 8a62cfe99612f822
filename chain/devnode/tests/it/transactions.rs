//! The way of a transaction through pool and block.

use serde_json::{Value, json};
use subxt::rpcs::client::RpcSubscription;
use subxt_signer::sr25519::dev;

use crate::world::{World, rpc_params, transfer};

async fn watch(world: &World, extrinsic: &Value) -> RpcSubscription<Value> {
    world
        .rpc
        .subscribe(
            "author_submitAndWatchExtrinsic",
            rpc_params(std::slice::from_ref(extrinsic)),
            "author_unwatchExtrinsic",
        )
        .await
        .unwrap()
}

/// Every status until the transaction is final.
async fn statuses(watched: &mut RpcSubscription<Value>) -> Vec<Value> {
    let mut out = Vec::new();
    loop {
        let status = watched.next().await.unwrap().unwrap();
        let last = status["finalized"].is_string() || status == "invalid" || status == "dropped";
        out.push(status);
        if last {
            return out;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_nonce_waits_for_the_earlier_one() {
    let world = World::new().await;
    let first = transfer(&world, &dev::alice(), [9; 32], 1_000_000, 0).await;
    let second = transfer(&world, &dev::alice(), [9; 32], 1_000_001, 1).await;
    let mut late = watch(&world, &second).await;
    assert_eq!(late.next().await.unwrap().unwrap(), "future");
    // Not offered for a block, and the next nonce is still the missing one.
    assert_eq!(world.get("author_pendingExtrinsics", &[]).await, json!([]));
    let alice = json!(subxt::utils::AccountId32(dev::alice().public_key().0).to_string());
    let next = world.get("account_nextIndex", std::slice::from_ref(&alice)).await;
    assert_eq!(next, json!(0));

    let mut early = watch(&world, &first).await;
    let early = statuses(&mut early).await;
    assert_eq!(early[0], "ready");
    let late = statuses(&mut late).await;
    assert_eq!(late[0], "ready");
    let block = &late[1]["inBlock"];
    assert_eq!(late[2], json!({"finalized": block}));

    // Both are in blocks, the first before the second.
    let body = world.get("chain_getBlock", std::slice::from_ref(block)).await;
    let extrinsics = body["block"]["extrinsics"].as_array().unwrap().clone();
    let place = extrinsics.iter().position(|e| *e == second).unwrap();
    if early[1]["inBlock"] == *block {
        assert_eq!(extrinsics[place - 1], first);
    }
    let next = world.get("account_nextIndex", &[alice]).await;
    assert_eq!(next, json!(2));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_and_a_rival_transaction_are_refused() {
    let world = World::new().await;
    // A gap keeps them in the pool.
    let first = transfer(&world, &dev::alice(), [9; 32], 1_000_000, 5).await;
    let rival = transfer(&world, &dev::alice(), [9; 32], 1_000_001, 5).await;
    world.get("author_submitExtrinsic", std::slice::from_ref(&first)).await;
    let (code, _) = world.ask("author_submitExtrinsic", &[first]).await.unwrap_err();
    assert_eq!(code, 1013);
    let (code, text) = world.ask("author_submitExtrinsic", &[rival]).await.unwrap_err();
    assert_eq!(code, 1014, "{text}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_nonce_is_outdated() {
    let world = World::new().await;
    let first = transfer(&world, &dev::alice(), [9; 32], 1_000_000, 0).await;
    let mut watched = watch(&world, &first).await;
    statuses(&mut watched).await;
    let late = transfer(&world, &dev::alice(), [9; 32], 1_000_002, 0).await;
    let (code, text) = world.ask("author_submitExtrinsic", &[late]).await.unwrap_err();
    assert_eq!(code, 1010);
    assert!(text.contains("outdated"), "{text}");
    world.node.stop().await;
}
