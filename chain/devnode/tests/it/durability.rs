//! What survives: a kill at any moment, a restart, and mistakes with the data directory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use glia_chain_devnode::{DevNode, DevNodeConfig, StartError};
use serde_json::{Value, json};
use subxt::rpcs::RpcClient;
use subxt_signer::sr25519::dev;

use crate::world::{World, account_key, config, number, rpc_params, transfer};

/// Set for the child process of the kill test: where it keeps its chain.
const CHILD_DIR: &str = "GLIA_DEVNODE_TEST_CHILD_DIR";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the kill test starts and kills"]
async fn child_process_runs_a_chain_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let node = DevNode::start(config(dir)).await.unwrap();
    std::fs::write(dir.join("url.part"), node.rpc_url()).unwrap();
    std::fs::rename(dir.join("url.part"), dir.join("url")).unwrap();
    std::future::pending::<()>().await;
}

fn spawn_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["durability::child_process_runs_a_chain_until_killed", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The address the child wrote.
async fn url_of(child: &mut Child, dir: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(url) = std::fs::read_to_string(dir.join("url")) {
            return url;
        }
        assert!(child.try_wait().unwrap().is_none(), "the child ended");
        assert!(Instant::now() < deadline, "the child does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_chain_goes_on_from_the_last_block_it_announced() {
    let dir = tempfile::tempdir().unwrap();
    let mut announced: Vec<(u64, Value)> = Vec::new();
    for round in 0..3 {
        let mut child = spawn_child(dir.path());
        let url = url_of(&mut child, dir.path()).await;
        std::fs::remove_file(dir.path().join("url")).unwrap();
        let rpc = RpcClient::from_insecure_url(url).await.unwrap();
        let mut heads = rpc
            .subscribe::<Value>("chain_subscribeNewHeads", rpc_params(&[]), "chain_unsubscribeNewHeads")
            .await
            .unwrap();
        let first = heads.next().await.unwrap().unwrap();
        if let Some((last, _)) = announced.last() {
            assert!(number(&first) >= *last, "round {round} lost blocks");
        }
        announced.push((number(&first), first));
        for _ in 0..4 {
            let header = heads.next().await.unwrap().unwrap();
            announced.push((number(&header), header));
        }
        // SIGKILL: nothing in the process can tidy up.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let settings = config(dir.path());
    let world = World::with(dir, settings).await;
    let head = world.get("chain_getHeader", &[]).await;
    assert!(number(&head) >= announced.last().unwrap().0);
    for (number, header) in &announced {
        let hash = world.get("chain_getBlockHash", &[json!(number)]).await;
        assert_eq!(&world.get("chain_getHeader", &[hash]).await, header);
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_and_nonces_are_there_after_a_restart() {
    let mut world = World::new().await;
    let to = dev::two().public_key().0;
    let key = json!(account_key(to));
    let before = world.get("state_getStorage", std::slice::from_ref(&key)).await;
    let extrinsic = transfer(&world, &dev::alice(), to, 1_000_000, 0).await;
    let mut heads = world.heads().await;
    world.get("author_submitExtrinsic", &[extrinsic]).await;
    let after = loop {
        heads.next().await.unwrap().unwrap();
        let now = world.get("state_getStorage", std::slice::from_ref(&key)).await;
        if now != before {
            break now;
        }
    };
    world.node.stop().await;
    let settings = config(world.dir.path());
    world = World::with(world.dir, settings).await;
    assert_eq!(world.get("state_getStorage", &[key]).await, after);
    let alice = subxt::utils::AccountId32(dev::alice().public_key().0).to_string();
    assert_eq!(world.get("system_accountNextIndex", &[json!(alice)]).await, json!(1));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_data_is_refused() {
    let world = World::new().await;
    let error = DevNode::start(config(world.dir.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Locked(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_genesis_is_refused() {
    let world = World::new().await;
    world.node.stop().await;
    let settings = DevNodeConfig {
        genesis_patch: json!({"subtensorModule": {"subnets": {"vision": {"tempo": 9}}}}),
        ..config(world.dir.path())
    };
    let error = DevNode::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::OtherChain { .. }), "{error}");
    // Another block time is fine.
    let settings = DevNodeConfig { block_time: Duration::from_millis(300), ..config(world.dir.path()) };
    DevNode::start(settings).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_and_bad_settings_are_sentences() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chain.redb"), b"not a data file").unwrap();
    let error = DevNode::start(config(dir.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Corrupt { .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let settings = DevNodeConfig { preset: "no such preset".to_owned(), ..config(dir.path()) };
    let error = DevNode::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::Genesis(_)), "{error}");
    let settings = DevNodeConfig { block_time: Duration::ZERO, ..config(dir.path()) };
    let error = DevNode::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::BlockTime(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = DevNodeConfig { rpc_addr: taken.local_addr().unwrap(), ..config(dir.path()) };
    let error = DevNode::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_states_are_let_go_and_old_blocks_stay() {
    let dir = tempfile::tempdir().unwrap();
    let settings = DevNodeConfig { state_history: 3, ..config(dir.path()) };
    let world = World::with(dir, settings).await;
    let mut heads = world.heads().await;
    while number(&heads.next().await.unwrap().unwrap()) < 6 {}
    let first = world.get("chain_getBlockHash", &[json!(1)]).await;
    let key = json!(account_key(dev::alice().public_key().0));
    let (code, text) = world.ask("state_getStorage", &[key.clone(), first.clone()]).await.unwrap_err();
    assert_eq!(code, 4003);
    assert!(text.contains("discarded"), "{text}");
    assert!(!world.get("chain_getBlock", &[first]).await.is_null());
    assert!(!world.get("state_getStorage", &[key]).await.is_null());
    world.node.stop().await;
}
