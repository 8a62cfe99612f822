//! Weights in two steps: committed to near an epoch, revealed in the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use glia_chain_client::{Chain, ConnectOptions, EnrolRequest, Keypair};
use glia_chain_devnode::{DevNode, DevNodeConfig};
use glia_protocol::{ContentHash, Hotkey};
use glia_router::ChainAccess;
use glia_router::chain::ChainPort;
use glia_router::expert::ExpertKey;
use glia_router::metrics::Metrics;
use glia_router::scoring::keeper::Keeper;
use glia_router::scoring::ledger::Ledger;
use glia_router::scoring::tally::Tally;
use glia_router::subnet::Subnet;

use crate::mesh::{After, Ledgerless, Mesh, NETUID, hurried, peer, view};
use crate::scoring::{keeper, seen};

fn secret(experts: u8) -> Arc<Ledgerless> {
    let chain = Ledgerless::new(experts);
    chain.settings.lock().unwrap().commit_reveal_enabled = true;
    chain
}

#[tokio::test]
async fn a_row_is_committed_to_near_the_epoch_and_revealed_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let chain = secret(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    chain.go_near_epoch();
    keeper.look().await;
    assert_eq!((chain.commits.lock().unwrap().len(), chain.rows.lock().unwrap().len()), (1, 0));
    let saved = Ledger::open(folder.path(), NETUID, "00").unwrap();
    assert_eq!((saved.commits().len(), saved.commits()[0].epoch), (1, Some(0)));
    assert!(subnet.ledger().last_row().is_none(), "nothing is on chain yet");

    chain.pass_epoch();
    keeper.look().await;
    let rows = chain.rows.lock().unwrap().clone();
    let row = subnet.ledger().last_row().cloned().unwrap();
    assert_eq!(vec![row.pairs()], rows);
    let commit = row.commit.unwrap();
    assert_eq!((commit.block, row.block), (9, 11));
    assert_eq!((commit.extrinsic.len(), row.extrinsic.len()), (66, 66));
    assert!(subnet.ledger().commits().is_empty());
    assert!(Ledger::open(folder.path(), NETUID, "00").unwrap().commits().is_empty());
}

#[tokio::test]
async fn a_router_started_anew_reveals_what_it_committed_to() {
    let folder = tempfile::tempdir().unwrap();
    let chain = secret(4);
    let (_, mut first) = keeper(&chain, folder.path());
    *chain.after.lock().unwrap() = After::Silence;
    chain.go_near_epoch();
    tokio::select! {
        biased;
        _ = first.look() => panic!("nothing is heard of the commit"),
        () = async { crate::mesh::until("the commit landed", || !chain.commits.lock().unwrap().is_empty()).await } => {}
    }
    drop(first);
    chain.pass_epoch();
    let (subnet, mut second) = keeper(&chain, folder.path());
    assert_eq!(subnet.ledger().commits()[0].epoch, None);
    second.look().await;
    assert_eq!(chain.rows.lock().unwrap().len(), 1);
    assert_eq!(subnet.ledger().last_row().unwrap().commit.as_ref().unwrap().block, 9);
}

#[tokio::test]
async fn a_uid_that_changed_hands_is_not_paid_for_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let chain = secret(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    chain.go_near_epoch();
    keeper.look().await;
    *chain.stranger.lock().unwrap() = Some(2);
    chain.pass_epoch();
    keeper.look().await;
    assert!(chain.rows.lock().unwrap().is_empty(), "nothing is revealed");
    assert!(subnet.ledger().commits().is_empty());
    assert!(subnet.metrics.encode().contains("withheld"));

    // Uid 4 has no weight in the next row: who holds it makes no difference.
    subnet.tally.with(|tally| *tally = seen(&[(1, 50.0)], 100));
    chain.go_near_epoch();
    keeper.look().await;
    *chain.stranger.lock().unwrap() = Some(4);
    chain.pass_epoch();
    keeper.look().await;
    let rows = chain.rows.lock().unwrap().clone();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].iter().all(|(uid, _)| *uid != 2), "the newcomer has earned nothing yet: {rows:?}");
}

#[tokio::test]
async fn a_commit_whose_epoch_passed_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let chain = secret(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    chain.go_near_epoch();
    keeper.look().await;
    chain.pass_epoch();
    chain.pass_epoch();
    keeper.look().await;
    assert!(subnet.ledger().commits().is_empty() && chain.rows.lock().unwrap().is_empty());
    assert!(subnet.metrics.encode().contains("expired"));
}

#[tokio::test]
async fn a_commit_that_landed_behind_an_error_is_revealed() {
    let folder = tempfile::tempdir().unwrap();
    let chain = secret(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    *chain.after.lock().unwrap() = After::Error;
    chain.go_near_epoch();
    keeper.look().await;
    keeper.look().await;
    assert_eq!(chain.commits.lock().unwrap().len(), 1, "one commit per epoch");
    chain.pass_epoch();
    keeper.look().await;
    assert_eq!(chain.rows.lock().unwrap().len(), 1);
    assert!(subnet.ledger().commits().is_empty());
    assert_eq!(chain.block.load(Ordering::SeqCst), 10);
}

/// The whole way on the real pallet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_chain_takes_the_commit_and_the_reveal() {
    let folder = tempfile::tempdir().unwrap();
    let vision = serde_json::json!({ "tempo": 16, "commitReveal": true, "weightsSetRateLimit": 4 });
    let config = DevNodeConfig {
        block_time: Duration::from_millis(150),
        genesis_patch: serde_json::json!({ "subtensorModule": { "subnets": { "vision": vision } } }),
        ..DevNodeConfig::new(folder.path().join("chain"))
    };
    let node = DevNode::start(config).await.unwrap();
    let chain = Chain::connect(&node.rpc_url(), ConnectOptions::default()).await.unwrap();
    let (coldkey, router) = (Keypair::from_seed([1; 32]).unwrap(), Keypair::from_seed([2; 32]).unwrap());
    let stake = 100_000_000_000;
    let request = |hotkey, stake| EnrolRequest {
        netuid: NETUID,
        hotkey,
        coldkey: &coldkey,
        stake,
        development_funds: true,
        wait_for_funds: false,
    };
    let uid = chain.enrol(request(&router, stake), |_| {}).await.unwrap().uid;
    let experts = [Keypair::from_seed([3; 32]).unwrap(), Keypair::from_seed([4; 32]).unwrap()];
    let mut tally = Tally { items: 100, mass: 100.0, ..Tally::default() };
    for (n, (expert, value)) in (3..).zip(experts.iter().zip([60.0, 20.0])) {
        chain.enrol(request(expert, 0), |_| {}).await.unwrap();
        let key = ExpertKey { peer: peer(n), checkpoint: ContentHash([n; 32]) };
        let hotkey = Hotkey(expert.account().0);
        tally.enter(hotkey, "expert", key, value, 100);
        tally.look([(hotkey, "expert")]);
    }
    tally.looks = 1;

    let access = ChainAccess { chain: chain.clone(), hotkey: router.clone() };
    let ledger = Ledger::open(folder.path(), NETUID, &ChainPort::genesis(&access)).unwrap();
    let mesh = Mesh::of(&[]);
    let subnet = Subnet::new(view(80), hurried(), mesh, ledger, Arc::new(Metrics::default()), 1).unwrap();
    let subnet = Arc::new(subnet);
    subnet.tally.with(|seen| *seen = tally);
    let neurons = tokio::sync::watch::Sender::new(Arc::default());
    let mut keeper = Keeper::new(Arc::clone(&subnet), Arc::new(access), neurons);
    // Permit, commit, epoch, reveal: each within one epoch on a machine that keeps up, a few on one that does not.
    let start = std::time::Instant::now();
    while subnet.ledger().last_row().is_none() {
        assert!(start.elapsed() < Duration::from_secs(90), "{:?}", subnet.ledger().commits());
        let pause = keeper.look().await;
        tokio::time::sleep(pause).await;
    }
    let row = subnet.ledger().last_row().cloned().unwrap();
    let commit = row.commit.clone().unwrap();
    assert!(commit.block < row.block && !row.extrinsic.is_empty(), "{row:?}");
    assert_eq!(chain.weights(NETUID, uid).await.unwrap(), row.pairs());
    let weights: Vec<u16> = row.weights.iter().map(|line| line.weight).collect();
    assert_eq!(weights, [65_535, 21_845]);
    node.stop().await;
}
