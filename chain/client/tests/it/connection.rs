//! Reaching the chain, losing it and finding it again.

use std::time::Duration;

use glia_chain_client::{Chain, ConnectError, ConnectOptions};
use tokio::net::TcpListener;

use crate::world::{TAO, World, alice, key, start_at};

#[tokio::test(flavor = "multi_thread")]
async fn the_handle_and_its_block_stream_survive_a_restart_of_the_node() {
    let World { dir, node, chain } = World::new().await;
    let addr = node.local_addr();
    let mut blocks = chain.subscribe_blocks();
    let first = blocks.next().await.unwrap();
    chain.transfer(&alice(), key(1).account(), TAO).await.unwrap();
    node.stop().await;

    // Handed over while nothing listens: it takes effect, once, when the chain is back.
    let late = tokio::spawn({
        let chain = chain.clone();
        async move { chain.transfer(&alice(), key(2).account(), TAO).await }
    });
    let node = start_at(&dir, addr).await;
    late.await.unwrap().unwrap();
    assert_eq!(chain.balance(key(1).account()).await.unwrap(), TAO);
    assert_eq!(chain.balance(key(2).account()).await.unwrap(), TAO);

    let mut newest = first;
    for _ in 0..3 {
        let block = blocks.next().await.unwrap();
        assert!(block.number > newest.number);
        newest = block;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_at_the_same_address_is_not_taken_for_the_old_one() {
    let World { node, chain, .. } = World::new().await;
    let addr = node.local_addr();
    node.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let config =
        glia_chain_devnode::DevNodeConfig { rpc_addr: addr, ..glia_chain_devnode::DevNodeConfig::new(dir.path()) };
    let other = glia_chain_devnode::DevNode::start(config).await.unwrap();
    let error = chain.block_number().await.unwrap_err();
    assert!(error.to_string().contains("another one"), "{error}");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listening_is_said_in_a_sentence() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("ws://127.0.0.1:{port}");
    let error = Chain::connect(&url, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NothingListens { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_never_answers_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let options = ConnectOptions { connect_deadline: Duration::from_millis(200), ..ConnectOptions::default() };
    let error = Chain::connect(&url, options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Deadline { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_kind_is_refused() {
    let error = Chain::connect("http://127.0.0.1:1", ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Address { .. }), "{error}");
}
