//! Experts tell everybody that they live and that they leave.

use glia_protocol::gossip::{Heartbeat, Presence};
use tokio::sync::broadcast::Receiver;

use crate::support::{config, hotkey, join, load, offer, providers, soon, start, until, vision};

async fn next(receiver: &mut Receiver<Heartbeat>) -> Heartbeat {
    soon("a heartbeat", receiver.recv()).await.unwrap()
}

#[tokio::test]
async fn heartbeats_arrive_and_leaving_follows_on_withdraw() {
    let bootstrap = start(config()).await;
    let expert = join(&bootstrap, |c| c.hotkey = Some(hotkey(1))).await;
    let client = join(&bootstrap, |_| {}).await;
    let mut beats = client.heartbeats();
    expert.advertise(vec![offer("expert", &[1])], load()).await.unwrap();

    let first = next(&mut beats).await;
    let second = next(&mut beats).await;
    for beat in [&first, &second] {
        assert_eq!(beat.peer, expert.peer_id());
        assert_eq!(beat.subnets, vec![vision()]);
        assert!(matches!(beat.presence, Presence::Here(load) if load.served == 7), "{beat:?}");
    }
    assert!(second.sequence > first.sequence);
    until("the expert is found", || async { (providers(&client, 1).await == [expert.peer_id()]).then_some(()) }).await;

    expert.withdraw().await;
    let last = loop {
        let beat = next(&mut beats).await;
        if beat.presence == Presence::Leaving {
            break beat;
        }
    };
    assert_eq!(last.peer, expert.peer_id());
    assert!(last.sequence > second.sequence);
    let described = soon("an answer", client.describe(expert.peer_id(), &vision())).await.unwrap();
    assert!(described.is_empty(), "it offers nothing any more");

    expert.advertise(vec![offer("again", &[1])], load()).await.unwrap();
    let back = next(&mut beats).await;
    assert!(matches!(back.presence, Presence::Here(_)) && back.sequence > last.sequence);
    let described = soon("an answer", client.describe(expert.peer_id(), &vision())).await.unwrap();
    assert_eq!(described[0].name, "again");
    for network in [&expert, &client, &bootstrap] {
        network.stop().await;
    }
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let bootstrap = start(config()).await;
    let expert = join(&bootstrap, |c| c.hotkey = Some(hotkey(1))).await;
    let mut beats = bootstrap.heartbeats();
    expert.advertise(vec![offer("expert", &[1])], load()).await.unwrap();
    next(&mut beats).await;
    expert.stop().await;
    loop {
        if next(&mut beats).await.presence == Presence::Leaving {
            break;
        }
    }
    until("the connection is gone", || async { (bootstrap.connected_peers() == 0).then_some(()) }).await;
    bootstrap.stop().await;
}

#[tokio::test]
async fn descriptors_are_renewed_before_they_expire() {
    let bootstrap = start(config()).await;
    let expert = join(&bootstrap, |c| {
        c.hotkey = Some(hotkey(1));
        c.timing.descriptor_ttl = std::time::Duration::from_millis(1500);
    })
    .await;
    expert.advertise(vec![offer("expert", &[1])], load()).await.unwrap();
    let first =
        until("the first descriptor", || async { bootstrap.describe(expert.peer_id(), &vision()).await.ok()?.pop() })
            .await;
    until("a descriptor from after the first one's life", || async {
        // Every answer on the way must be valid: `describe` refuses expired ones.
        let now = bootstrap.describe(expert.peer_id(), &vision()).await.unwrap().pop().unwrap();
        assert!(now.sequence >= first.sequence);
        (now.issued_at_ms > first.expires_at_ms).then_some(())
    })
    .await;
    for network in [&expert, &bootstrap] {
        network.stop().await;
    }
}
