//! Who is a candidate, and for how long.

use std::sync::Arc;
use std::time::Duration;

use glia_protocol::gossip::{Heartbeat, Load, Presence as Said};
use glia_protocol::{ContentHash, ExpertDescriptor};
use glia_router::Router;
use glia_router::directory::Neurons;
use glia_router::directory::table::{Table, TableRules};
use tokio::time::Instant;

use crate::mesh::{Mesh, descriptor, feature_map, hotkey, parts, peer, schema, until};

fn rules() -> TableRules {
    TableRules {
        schema: schema(),
        feature_map: feature_map().hash().unwrap(),
        features: 4,
        silence: Duration::from_secs(8),
    }
}

/// A table that has found and described expert 1 at `now`.
fn table(needs_uid: bool, described: ExpertDescriptor, now: Instant) -> Table {
    let mut table = Table::new(rules(), needs_uid);
    assert!(table.provider(peer(1), now));
    assert_eq!(table.due(now, 8), [peer(1)]);
    let now_ms = described.issued_at_ms;
    table.described(peer(1), Some(vec![described]), now, now_ms);
    table
}

fn candidates(table: &Table, now: Instant) -> usize {
    table.snapshot(now).experts.iter().filter(|listed| listed.candidate).count()
}

fn beat(sequence: u64, presence: Said) -> Heartbeat {
    Heartbeat { peer: peer(1), subnets: vec!["vision".parse().unwrap()], sequence, presence }
}

#[test]
fn a_silent_expert_is_no_candidate_after_eight_seconds() {
    let now = Instant::now();
    let mut table = table(false, descriptor(1, &[0]), now);
    assert_eq!(candidates(&table, now + Duration::from_secs(7)), 1);
    assert_eq!(candidates(&table, now + Duration::from_secs(8)), 0);
    table.heartbeat(&beat(1, Said::Here(Load::default())), now + Duration::from_secs(6));
    assert_eq!(candidates(&table, now + Duration::from_secs(13)), 1);
    // A heartbeat heard twice is no second sign of life.
    table.heartbeat(&beat(1, Said::Here(Load::default())), now + Duration::from_secs(12));
    assert_eq!(candidates(&table, now + Duration::from_secs(15)), 0);
}

#[test]
fn a_leaving_expert_is_out_at_once_and_back_with_its_next_heartbeat() {
    let now = Instant::now();
    let mut table = table(false, descriptor(1, &[0]), now);
    table.heartbeat(&beat(1, Said::Leaving), now);
    assert_eq!(candidates(&table, now), 0);
    table.heartbeat(&beat(2, Said::Here(Load::default())), now);
    assert_eq!(candidates(&table, now), 1);
}

#[test]
fn an_expired_descriptor_is_no_candidate() {
    let now = Instant::now();
    let mut table = table(false, descriptor(1, &[0]), now);
    let later = now + Duration::from_secs(121);
    table.heartbeat(&beat(1, Said::Here(Load::default())), later);
    assert_eq!(candidates(&table, later), 0);
}

#[test]
fn descriptors_of_another_schema_or_feature_map_are_refused() {
    let now = Instant::now();
    let mut wrong_schema = descriptor(1, &[0]);
    wrong_schema.schema.input.name = "picture".into();
    let wrong_map = ExpertDescriptor { feature_map: ContentHash([0; 32]), ..descriptor(1, &[0]) };
    let mut wrong_centroid = descriptor(1, &[0]);
    wrong_centroid.centroids[0].mean.push(0.0);
    let not_its_own = descriptor(2, &[0]);
    for bad in [wrong_schema, wrong_map, wrong_centroid, not_its_own] {
        assert!(table(false, bad, now).snapshot(now).experts.is_empty());
    }
}

#[test]
fn an_expert_without_a_uid_is_listed_but_no_candidate_when_there_is_a_chain() {
    let now = Instant::now();
    let mut table = table(true, descriptor(1, &[0]), now);
    assert_eq!((table.snapshot(now).experts.len(), candidates(&table, now)), (1, 0));
    let uids = [(hotkey(1), 5)].into();
    table.set_neurons(&Arc::new(Neurons { block: 9, last_epoch: 0, uids }));
    let snapshot = table.snapshot(now);
    assert_eq!((snapshot.block, snapshot.experts[0].uid, snapshot.experts[0].candidate), (9, Some(5), true));
}

#[test]
fn one_operator_lists_four_experts_at_most_and_those_who_are_there_first() {
    let now = Instant::now();
    let mut table = Table::new(rules(), false);
    for n in 1..=9 {
        let (peer, time) = (peer(n), if n <= 3 { now } else { now + Duration::from_secs(9) });
        assert!(table.provider(peer, time));
        table.due(time, 64);
        let owner = if n == 9 { 9 } else { 1 };
        let described = ExpertDescriptor { hotkey: hotkey(owner), ..descriptor(n, &[0]) };
        let now_ms = described.issued_at_ms;
        table.described(peer, Some(vec![described]), time, now_ms);
    }
    // The first three have been silent since.
    let snapshot = table.snapshot(now + Duration::from_secs(9));
    let listed: Vec<_> = snapshot.experts.iter().map(|listed| listed.key.peer).collect();
    assert_eq!(listed, [peer(4), peer(5), peer(6), peer(7), peer(9)]);
}

#[test]
fn an_older_descriptor_never_replaces_a_newer_one() {
    let now = Instant::now();
    let newer = descriptor(1, &[0]);
    let mut table = table(false, newer.clone(), now);
    let older = ExpertDescriptor { sequence: newer.sequence - 1, name: "old".into(), ..newer.clone() };
    table.described(peer(1), Some(vec![older]), now, newer.issued_at_ms);
    assert_eq!(table.snapshot(now).experts[0].descriptor.name, "expert-1");
}

#[test]
fn a_peer_that_cannot_be_described_is_asked_ever_more_rarely() {
    let start = Instant::now();
    let mut table = Table::new(rules(), false);
    table.provider(peer(1), start);
    let mut asked = 0;
    for half_second in 0..120 {
        let now = start + Duration::from_millis(500 * half_second);
        table.provider(peer(1), now);
        if !table.due(now, 8).is_empty() {
            asked += 1;
            table.described(peer(1), None, now, 0);
        }
    }
    assert!((4..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_dead_expert_leaves_the_candidates_and_a_new_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    mesh.change(4, |peer| peer.alive = false);
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    let here = |n: u8| {
        let subnet = Arc::clone(&subnet);
        move || subnet.callable(Instant::now()).iter().any(|listed| listed.key.peer == peer(n))
    };
    until("three experts are found", || (1..=3).all(|n| here(n)())).await;
    assert!(!here(4)());
    mesh.change(1, |peer| peer.alive = false);
    mesh.change(4, |peer| peer.alive = true);
    until("the dead one is gone and the new one there", || !here(1)() && here(4)()).await;
    mesh.beat(Heartbeat { peer: peer(2), ..beat(1, Said::Leaving) });
    until("the leaving one is gone", || !here(2)()).await;
    router.stop().await;
}
