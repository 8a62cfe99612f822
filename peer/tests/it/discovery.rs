//! Strangers find each other through one common peer.

use std::sync::Arc;
use std::time::Duration;

use glia_peer::errors::AskError;
use glia_peer::{AdvertiseError, DescribeError, StartError};

use crate::liar::Liar;
use crate::support::{config, hotkey, join, load, offer, providers, soon, start, until, vision};

#[tokio::test]
async fn experts_are_found_through_a_bootstrap_peer() {
    let bootstrap = start(config()).await;
    let mut experts = Vec::new();
    for n in 1..=3u8 {
        let expert = join(&bootstrap, |c| c.hotkey = Some(hotkey(n))).await;
        expert.advertise(vec![offer(&format!("expert-{n}"), &[0, n])], load()).await.unwrap();
        experts.push(expert);
    }
    let client = join(&bootstrap, |_| {}).await;

    let mut want: Vec<_> = experts.iter().map(|e| e.peer_id()).collect();
    want.sort_unstable();
    until("all three are found in their common region", || async {
        (providers(&client, 0).await == want).then_some(())
    })
    .await;
    until("only the second is found in its own region", || async {
        (providers(&client, 2).await == [experts[1].peer_id()]).then_some(())
    })
    .await;

    for (n, expert) in (1u8..).zip(&experts) {
        let described = soon("a description", client.describe(expert.peer_id(), &vision())).await.unwrap();
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].name, format!("expert-{n}"));
        assert_eq!(described[0].hotkey, hotkey(n).hotkey);
        assert_eq!(described[0].addresses, expert.data_addresses());
        assert_eq!(soon("a proof", client.prove_possession(expert.peer_id())).await, Ok(hotkey(n).hotkey));
    }
    assert!(client.connected_peers() >= 3);
    for network in experts.iter().chain([&client, &bootstrap]) {
        network.stop().await;
    }
}

#[tokio::test]
async fn an_expert_that_advertises_before_it_has_neighbours_is_found_later() {
    // The expert starts first and alone; the others come to it.
    let expert = start({
        let mut config = config();
        config.hotkey = Some(hotkey(1));
        config
    })
    .await;
    expert.advertise(vec![offer("early", &[7])], load()).await.unwrap();
    let bootstrap = join(&expert, |_| {}).await;
    let client = join(&bootstrap, |_| {}).await;
    until("the early expert is found", || async { (providers(&client, 7).await == [expert.peer_id()]).then_some(()) })
        .await;
    for network in [&client, &bootstrap, &expert] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_lonely_peer_finds_nobody_and_says_so() {
    let lonely = start(config()).await;
    assert_eq!(soon("the lookup", lonely.find_providers(&vision(), 0, 0)).await, Ok(Vec::new()));
    let nobody = glia_peer::Identity::generate().unwrap().peer_id();
    let answer = soon("the question", lonely.describe(nobody, &vision())).await;
    assert!(matches!(answer, Err(DescribeError::Ask(AskError::Unreachable { .. }))), "{answer:?}");
    lonely.stop().await;
}

#[tokio::test]
async fn a_peer_of_another_network_is_shut_out() {
    let foreign = Liar::start(21, "elsewhere".parse().unwrap()).await;
    let mut config = config();
    config.bootstrap = vec![foreign.address.clone()];
    let network = start(config).await;
    until("the foreigner is shut out", || async {
        match network.describe(foreign.peer, &vision()).await {
            Err(DescribeError::Ask(AskError::Foreign(_) | AskError::Banned(_))) => Some(()),
            Err(DescribeError::Ask(AskError::Unreachable { .. })) => None,
            other => panic!("talked to a foreigner: {other:?}"),
        }
    })
    .await;
    assert_eq!(network.connected_peers(), 0);
    network.stop().await;
}

#[tokio::test]
async fn two_networks_do_not_mix() {
    let here = start(config()).await;
    let there = join(&here, |c| c.network = "elsewhere".parse().unwrap()).await;
    let friend = join(&here, |_| {}).await;
    until("the friend is connected", || async { (here.connected_peers() == 1).then_some(()) }).await;
    until("the foreigner is told so", || async {
        let answer = there.describe(here.peer_id(), &vision()).await;
        matches!(answer, Err(DescribeError::Ask(AskError::Foreign(_) | AskError::Banned(_)))).then_some(())
    })
    .await;
    assert_eq!((here.connected_peers(), there.connected_peers(), friend.connected_peers()), (1, 0, 1));
    for network in [&friend, &there, &here] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_bootstrap_peer_that_comes_back_is_dialed_again() {
    let identity = glia_peer::Identity::generate().unwrap();
    let mut first = config();
    first.identity = identity.clone();
    let bootstrap = start(first).await;
    let addresses = bootstrap.control_addresses();
    let ports: Vec<u16> = addresses.iter().filter_map(|a| a.split('/').nth(4)?.parse().ok()).collect();
    let member = join(&bootstrap, |_| {}).await;
    until("they meet", || async { (member.connected_peers() == 1).then_some(()) }).await;
    bootstrap.stop().await;
    until("they part", || async { (member.connected_peers() == 0).then_some(()) }).await;
    // QUIC and TCP were given different ports; each of the two comes back on one of them.
    let mut second = config();
    second.identity = identity;
    second.control_listen = ports.iter().map(|&port| ([127, 0, 0, 1], port).into()).collect();
    let bootstrap = start(second).await;
    until("they meet again", || async { (member.connected_peers() == 1).then_some(()) }).await;
    member.stop().await;
    bootstrap.stop().await;
}

#[tokio::test]
async fn offers_that_others_would_refuse_are_refused_at_home() {
    let without_hotkey = start(config()).await;
    let refused = without_hotkey.advertise(vec![offer("x", &[0])], load()).await;
    assert_eq!(refused, Err(AdvertiseError::NoHotkey));
    without_hotkey.stop().await;

    let mut config = config();
    config.hotkey = Some(hotkey(1));
    let network = start(config).await;
    let mut bad = offer("x", &[0]);
    bad.centroids.clear();
    let refused = network.advertise(vec![bad], load()).await;
    assert!(matches!(refused, Err(AdvertiseError::Encode(_) | AdvertiseError::Refused(_))), "{refused:?}");
    let many = (0..17).map(|n| offer(&n.to_string(), &[0])).collect();
    assert_eq!(network.advertise(many, load()).await, Err(AdvertiseError::TooMany(17)));
    network.stop().await;
}

#[tokio::test]
async fn a_taken_port_and_a_bad_bootstrap_address_are_start_errors() {
    let first = start(config()).await;
    let mut taken = config();
    taken.data_listen = first.data_addresses()[0];
    assert!(matches!(glia_peer::Network::start(taken).await, Err(StartError::Data { .. })));
    let mut bad = config();
    bad.bootstrap = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
    assert!(matches!(glia_peer::Network::start(bad).await, Err(StartError::Bootstrap(_))));
    first.stop().await;
}

#[tokio::test]
async fn a_peer_that_starts_alone_does_not_complain() {
    let said = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(said.reopen().unwrap());
    let logger = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(writer).with_ansi(false);
    let _guard = tracing::subscriber::set_default(logger.finish());
    let network = start(config()).await;
    // The DHT library waits half a second before it complains about an empty routing table.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    network.stop().await;
    assert_eq!(std::fs::read_to_string(said.path()).unwrap(), "");
}
