//! The JSON-RPC subset that subxt, the Bittensor SDK and explorers rely on.

use serde_json::{Value, json};
use subxt::{OnlineClient, SubstrateConfig};
use subxt_signer::sr25519::dev;

use crate::world::{World, account_key, number, rpc_params, transfer};

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_subxt_client_connects_and_transfers() {
    let world = World::new().await;
    let client = OnlineClient::<SubstrateConfig>::from_insecure_url(world.node.rpc_url()).await.unwrap();
    use subxt::dynamic::Value as Dynamic;
    let call = subxt::dynamic::tx(
        "Balances",
        "transfer_keep_alive",
        (Dynamic::unnamed_variant("Id", [Dynamic::from_bytes(dev::bob().public_key().0)]), Dynamic::u128(5_000_000)),
    );
    let events = client
        .tx()
        .await
        .unwrap()
        .sign_and_submit_then_watch_default(&call, &dev::alice())
        .await
        .unwrap()
        .wait_for_finalized_success()
        .await
        .unwrap();
    assert!(events.iter().any(|event| event.unwrap().event_name() == "Transfer"));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_methods_agree_with_each_other() {
    let world = World::new().await;
    let mut heads = world.heads().await;
    while number(&heads.next().await.unwrap().unwrap()) < 2 {}
    let genesis = world.get("chain_getBlockHash", &[json!(0)]).await;
    assert_eq!(world.get("chain_getBlockHash", &[json!("0x0")]).await, genesis);
    let two = world.get("chain_getBlockHash", &[json!([0, 1])]).await;
    assert_eq!(two[0], genesis);
    assert_eq!(world.get("chain_getBlockHash", &[json!(1_000_000)]).await, Value::Null);
    let header = world.get("chain_getHeader", &[two[1].clone()]).await;
    assert_eq!(header["parentHash"], genesis);
    assert_eq!(number(&header), 1);
    let block = world.get("chain_getBlock", &[two[1].clone()]).await;
    assert_eq!(block["block"]["header"], header);
    // The clock's transaction.
    assert_eq!(block["block"]["extrinsics"].as_array().unwrap().len(), 1);
    for method in ["chain_getHead", "chain_getFinalizedHead"] {
        let hash = world.get(method, &[]).await;
        assert!(!world.get("chain_getHeader", &[hash]).await.is_null());
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_methods_answer_at_a_block() {
    let world = World::new().await;
    let genesis = world.get("chain_getBlockHash", &[json!(0)]).await;
    let key = account_key(dev::alice().public_key().0);
    let value = world.get("state_getStorage", &[json!(key), genesis.clone()]).await;
    let bytes = (value.as_str().unwrap().len() - 2) / 2;
    assert_eq!(world.get("state_getStorageSize", &[json!(key), genesis.clone()]).await, json!(bytes));
    let hash = world.get("state_getStorageHash", &[json!(key), genesis.clone()]).await;
    assert_eq!(hash.as_str().unwrap().len(), 66);
    assert_eq!(world.get("state_getStorage", &[json!("0x00")]).await, Value::Null);

    // Pages of keys begin after the key given.
    let prefix = json!(&key[..2 + 64]);
    let all = world.get("state_getKeysPaged", &[prefix.clone(), json!(1000)]).await;
    let all = all.as_array().unwrap();
    assert!(all.len() > 5);
    let page = world.get("state_getKeysPaged", &[prefix.clone(), json!(2), all[1].clone(), genesis.clone()]).await;
    assert_eq!(page.as_array().unwrap()[..], all[2..4]);
    // As the Bittensor SDK asks: the prefix itself is the first start key.
    let page = world.get("state_getKeysPaged", &[prefix.clone(), json!(1), prefix.clone()]).await;
    assert_eq!(page.as_array().unwrap()[..], all[..1]);
    let pairs = world.get("state_getPairs", &[prefix]).await;
    assert_eq!(pairs.as_array().unwrap().len(), all.len());

    let queried = world.get("state_queryStorageAt", &[json!([key, "0x00"]), genesis.clone()]).await;
    assert_eq!(queried[0]["block"], genesis);
    assert_eq!(queried[0]["changes"][0], json!([key, value]));
    assert_eq!(queried[0]["changes"][1], json!(["0x00", null]));

    let version = world.get("state_getRuntimeVersion", &[Value::Null]).await;
    assert!(version["specVersion"].is_u64() && version["transactionVersion"].is_u64());
    assert!(world.get("state_getMetadata", &[]).await.as_str().unwrap().starts_with("0x6d657461"));
    // The Bittensor SDK's first question: metadata version 15.
    let metadata =
        world.get("state_call", &[json!("Metadata_metadata_at_version"), json!("0x0f000000"), Value::Null]).await;
    assert!(metadata.as_str().unwrap().starts_with("0x01"));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_methods_say_what_this_is() {
    let world = World::new().await;
    assert_eq!(
        world.get("system_properties", &[]).await,
        json!({"tokenDecimals": 9, "tokenSymbol": "TAO", "ss58Format": 42})
    );
    assert_eq!(world.get("system_chainType", &[]).await, "Development");
    assert_eq!(world.get("system_health", &[]).await["isSyncing"], json!(false));
    let methods = world.get("rpc_methods", &[]).await;
    let methods = methods["methods"].as_array().unwrap();
    for name in [
        "account_nextIndex",
        "author_pendingExtrinsics",
        "author_submitAndWatchExtrinsic",
        "author_submitExtrinsic",
        "chain_subscribeAllHeads",
        "chain_subscribeFinalizedHeads",
        "payment_queryInfo",
        "state_getStorageAt",
        "state_subscribeRuntimeVersion",
        "state_subscribeStorage",
        "system_chain",
        "system_localPeerId",
        "system_name",
        "system_nodeRoles",
        "system_peers",
        "system_syncState",
        "system_version",
    ] {
        assert!(methods.contains(&json!(name)), "{name}");
    }
    let extrinsic = transfer(&world, &dev::alice(), [9; 32], 1_000_000, 0).await;
    let info = world.get("payment_queryInfo", &[extrinsic]).await;
    assert_eq!(info["class"], "normal");
    assert!(info["partialFee"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_follow_heads_storage_and_version() {
    let world = World::new().await;
    for (subscribe, unsubscribe) in [
        ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads"),
        ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads"),
    ] {
        let mut heads = world.rpc.subscribe::<Value>(subscribe, rpc_params(&[]), unsubscribe).await.unwrap();
        let first = heads.next().await.unwrap().unwrap();
        let second = heads.next().await.unwrap().unwrap();
        assert_eq!(number(&second), number(&first) + 1);
    }
    // The number of blocks changes in each block.
    let key = crate::world::hex(&[sp_io::hashing::twox_128(b"System"), sp_io::hashing::twox_128(b"Number")].concat());
    let mut storage = world
        .rpc
        .subscribe::<Value>("state_subscribeStorage", rpc_params(&[json!([key])]), "state_unsubscribeStorage")
        .await
        .unwrap();
    let first = storage.next().await.unwrap().unwrap();
    let second = storage.next().await.unwrap().unwrap();
    assert_ne!(first["changes"][0][1], second["changes"][0][1]);
    let mut version = world
        .rpc
        .subscribe::<Value>("state_subscribeRuntimeVersion", rpc_params(&[]), "state_unsubscribeRuntimeVersion")
        .await
        .unwrap();
    assert!(version.next().await.unwrap().unwrap()["specVersion"].is_u64());
    world.node.stop().await;
}
