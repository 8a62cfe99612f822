//! What a router learns from traffic: sleepers, copies, canaries, frozen experts, and what outlives a restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use glia_protocol::{ContentHash, RequestId};
use glia_router::directory::Snapshot;
use glia_router::dispatch::inputs::Inputs;
use glia_router::expert::{ExpertKey, Listed, Presence};
use glia_router::metrics::Metrics;
use glia_router::pipeline::{Inquiry, Routed, infer};
use glia_router::scoring::ledger::Ledger;
use glia_router::subnet::Subnet;
use glia_router::{Parts, Router};

use crate::mesh::{CLASSES, Manner, Mesh, NETUID, descriptor, hurried, image, parts, peer, schema, until, view};

fn key(n: u8) -> ExpertKey {
    ExpertKey { peer: peer(n), checkpoint: ContentHash([n; 32]) }
}

/// Asks for `items` images, the first of which is the `n`-th, without exploration.
async fn ask(subnet: &Subnet, n: usize, items: usize) -> Routed {
    let data: Vec<u8> = (n..n + items).flat_map(|n| image(n % CLASSES, n)).collect();
    let inputs = Inputs::new(&schema(), data.into()).unwrap();
    let inquiry = Inquiry { inputs, k: 4, deadline: hurried().deadline, explore: None };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(n as u64).to_le_bytes());
    infer(subnet, &inquiry, RequestId(id)).await.expect("an answer")
}

async fn calibrated(router: &Router, experts: usize) -> Arc<Subnet> {
    let subnet = Arc::clone(&router.subnets()[0]);
    let count = || subnet.gate().experts.values().filter(|gate| gate.calibrated).count();
    until("all experts are probed", || count() == experts).await;
    subnet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_is_shut_out_by_canaries_and_the_honest_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    manners.push(Manner::Sleeper);
    let mesh = Mesh::of(&manners);
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let subnet = calibrated(&router, 5).await;
    assert!(!subnet.gate().experts[&key(5)].is_shut_out(), "its probes are faultless");
    until("the sleeper is shut out", || subnet.online.view().is_shut_out(&key(5))).await;
    let routed = ask(&subnet, 0, 64).await;
    let sleeper = |routed: &Routed| {
        let members = routed.items.iter().flat_map(|item| &item.members);
        members.filter(|member| routed.experts[member.expert].key == key(5)).count()
    };
    assert_eq!(sleeper(&routed), 0);
    let scored = subnet.tally.with(|tally| tally.items);
    until("more is scored", || subnet.tally.with(|tally| tally.items) > scored + 1000).await;
    assert!((1..=4).all(|n| subnet.online.view().doubt(&key(n)).is_none()));
    // Honest from now on: it is explored, and comes back.
    mesh.change(5, |peer| peer.manner = Manner::Late(Duration::ZERO));
    until("it is trusted again", || subnet.online.view().doubt(&key(5)).is_none()).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_share_one_slot_whatever_they_claim_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    // Other checkpoints, other operators, another temperature; the last only claims a checkpoint.
    manners.extend([Manner::Knows(vec![0], 0.8), Manner::Knows(vec![0], 0.95), Manner::Own(7, Duration::ZERO)]);
    let mesh = Mesh::of(&manners);
    mesh.change(7, |peer| peer.descriptor.checkpoint = ContentHash([1; 32]));
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let subnet = calibrated(&router, 7).await;
    until("copies are found", || subnet.probes.alike(&key(1), &key(5)) && subnet.probes.alike(&key(5), &key(6))).await;
    let claimant = ExpertKey { peer: peer(7), checkpoint: ContentHash([1; 32]) };
    assert!(!subnet.probes.alike(&key(1), &claimant));
    assert!(!subnet.probes.alike(&key(1), &key(2)));
    for item in ask(&subnet, 0, 64).await.items {
        let routed = subnet.callable(tokio::time::Instant::now());
        let alike =
            |member: &glia_router::pipeline::Member| [key(1), key(5), key(6)].contains(&routed[member.expert].key);
        assert!(item.members.iter().filter(|member| alike(member)).count() <= 1);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canaries_look_like_requests() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let mut parts = parts(&mesh, None, folder.path());
    parts.policy.reprobe_every = Duration::from_secs(3600);
    let router = Router::start_with(parts).await.unwrap();
    let subnet = calibrated(&router, 4).await;
    let largest_of_the_next = async |items: u64| {
        mesh.largest_batch.store(0, Ordering::SeqCst);
        let before = subnet.tally.with(|tally| tally.items);
        until("canaries were answered", || subnet.tally.with(|tally| tally.items) > before + items).await;
        mesh.largest_batch.load(Ordering::SeqCst)
    };
    assert_eq!(largest_of_the_next(200).await, 1);
    (0..100).for_each(|_| subnet.traffic.seen(3));
    largest_of_the_next(50).await;
    assert_eq!(largest_of_the_next(200).await, 3);
    router.stop().await;
}

/// Parts of a router that sends no canaries, so that all calls are probes.
fn quiet(mesh: &Arc<Mesh>, folder: &std::path::Path) -> Parts {
    let mut parts = parts(mesh, None, folder);
    parts.policy.score_every = Duration::from_secs(36_000);
    parts.policy.reprobe_every = Duration::from_secs(3600);
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_router_is_ready_after_one_batch_per_expert_and_finds_out_who_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let router = Router::start_with(quiet(&mesh, folder.path())).await.unwrap();
    calibrated(&router, 4).await;
    router.stop().await;
    let calls = |n: u8| mesh.peers.lock().unwrap()[&peer(n)].calls;
    assert!(calls(1) >= 7, "400 items are 7 batches");

    (1..=4).for_each(|n| mesh.change(n, |peer| peer.calls = 0));
    let router = Router::start_with(quiet(&mesh, folder.path())).await.unwrap();
    let subnet = calibrated(&router, 4).await;
    assert!(subnet.is_ready());
    until("what was kept is confirmed", || (1..=4).all(|n| calls(n) == 1)).await;
    router.stop().await;

    mesh.change(2, |peer| (peer.manner, peer.calls) = (Manner::Noise, 0));
    let router = Router::start_with(quiet(&mesh, folder.path())).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    let shut_out = |n: u8| subnet.gate().experts.get(&key(n)).is_some_and(|gate| gate.is_shut_out());
    until("the one that changed is found out", || shut_out(2)).await;
    assert!(calls(2) >= 2 && !shut_out(1));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubt_outlives_a_restart_and_a_broken_file_does_not_stop_a_router() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    manners.push(Manner::Sleeper);
    let mesh = Mesh::of(&manners);
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    until("the sleeper is shut out", || subnet.online.view().is_shut_out(&key(5))).await;
    router.stop().await;
    let corrections = |router: &Router| router.subnets()[0].online.view().online().iter().count();

    let router = Router::start_with(quiet(&mesh, folder.path())).await.unwrap();
    assert!(router.subnets()[0].online.view().is_shut_out(&key(5)));
    assert_eq!(corrections(&router), 5);
    router.stop().await;

    let file = folder.path().join(format!("gate-{NETUID}.bin"));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let router = Router::start_with(quiet(&mesh, folder.path())).await.unwrap();
    assert_eq!(corrections(&router), 0);
    calibrated(&router, 5).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_of_all_experts_freezing_fails_no_request_and_is_soon_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let manners: Vec<Manner> = (0..10).map(|n| Manner::Own(n, Duration::from_millis(5))).collect();
    let mesh = Mesh::of(&manners);
    let mut parts = parts(&mesh, None, folder.path());
    parts.policy.score_every = Duration::from_millis(500);
    let router = Router::start_with(parts).await.unwrap();
    let subnet = calibrated(&router, 10).await;
    let start = Instant::now();
    let (freeze, end) = (Duration::from_millis(1500), Duration::from_millis(5500));
    let mut flights = Vec::new();
    let mut frozen = false;
    for n in 0.. {
        let at = start.elapsed();
        if at > freeze && !frozen {
            frozen = true;
            [3, 8].into_iter().for_each(|n| mesh.change(n, |peer| peer.manner = Manner::Hangs));
        }
        if at > end {
            break;
        }
        let subnet = Arc::clone(&subnet);
        flights.push(tokio::spawn(async move {
            let begun = Instant::now();
            let routed = ask(&subnet, n, 1).await;
            (at, begun.elapsed(), routed.items[0].members.len())
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for flight in flights {
        // An error would have panicked.
        let (at, took, members) = flight.await.unwrap();
        if at < freeze {
            before.push(took);
        } else if at > freeze + Duration::from_secs(2) {
            after.push(took);
            assert!(members >= 3, "{members}");
        }
    }
    let p99 = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    let (before, after) = (p99(&mut before), p99(&mut after));
    // Without bans, every other request would wait 200 ms for somebody frozen.
    assert!(after <= 2 * before + Duration::from_millis(40), "{before:?} before, {after:?} after");
    router.stop().await;
}

#[tokio::test]
async fn an_expired_descriptor_is_not_called_even_if_the_directory_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path(), NETUID, "").unwrap();
    let mesh = Mesh::of(&[]);
    let subnet = Subnet::new(view(80), hurried(), mesh, ledger, Arc::new(Metrics::default()), 1).unwrap();
    let listed = |n: u8, left_ms: i64| {
        let mut descriptor = descriptor(n, &[0]);
        descriptor.expires_at_ms = descriptor.issued_at_ms.saturating_add_signed(left_ms);
        let descriptor = Arc::new(descriptor);
        Arc::new(Listed { key: key(n), descriptor, uid: None, presence: Presence::Here, candidate: true })
    };
    let experts = vec![listed(1, -1), listed(2, 60_000)];
    subnet.directory().send_replace(Arc::new(Snapshot { block: 0, experts }));
    let callable: Vec<ExpertKey> = subnet.callable(tokio::time::Instant::now()).iter().map(|l| l.key).collect();
    assert_eq!(callable, [key(2)]);
}
