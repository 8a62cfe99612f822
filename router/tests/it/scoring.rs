//! From answers to the row on chain.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use glia_protocol::{ContentHash, Hotkey};
use glia_router::Router;
use glia_router::chain::ChainPort;
use glia_router::expert::ExpertKey;
use glia_router::metrics::Metrics;
use glia_router::scoring::keeper::Keeper;
use glia_router::scoring::ledger::{Basis, Hotkey58, Ledger, LedgerError, Row};
use glia_router::scoring::share::{Rules, incomes};
use glia_router::scoring::tally::Tally;
use glia_router::subnet::Subnet;

use crate::mesh::{After, Ledgerless, Manner, Mesh, NETUID, ROUTER, hotkey, hurried, parts, peer, until, view};

pub(crate) fn seen(experts: &[(u8, f64)], items: u64) -> Tally {
    let mut tally = Tally { items, mass: items as f64, ..Tally::default() };
    let names: Vec<String> = experts.iter().map(|(n, _)| format!("expert-{n}")).collect();
    for ((n, value), name) in experts.iter().zip(&names) {
        let expert = ExpertKey { peer: peer(*n), checkpoint: ContentHash([*n; 32]) };
        tally.enter(hotkey(*n), name, expert, *value, 1);
    }
    tally.look(experts.iter().zip(&names).map(|((n, _), name)| (hotkey(*n), name.as_str())));
    tally
}

/// Closes an epoch in which nobody copied and everybody is registered.
fn close(ledger: &mut Ledger, tally: &Tally) {
    close_for(ledger, tally, |_| true);
}

fn close_for(ledger: &mut Ledger, tally: &Tally, registered: impl Fn(&Hotkey) -> bool) {
    let earned = incomes(tally, &Rules { alike: &|_, _| false, committed: &|_, _| 0, now: 0 });
    ledger.close_epoch(tally, &earned, Basis::Labels, 0.25, registered);
}

/// A keeper over a ledger in `folder` that has seen no router but an epoch's worth of scores.
pub(crate) fn keeper(chain: &Arc<Ledgerless>, folder: &std::path::Path) -> (Arc<Subnet>, Keeper) {
    let mesh = Mesh::of(&Mesh::specialists());
    let ledger = Ledger::open(folder, NETUID, "00").unwrap();
    let subnet = Subnet::new(view(80), hurried(), mesh, ledger, Arc::new(Metrics::default()), 1).unwrap();
    subnet.tally.with(|tally| *tally = seen(&[(1, 50.0), (2, 20.0)], 100));
    let subnet = Arc::new(subnet);
    let neurons = tokio::sync::watch::Sender::new(Arc::default());
    let chain: Arc<dyn ChainPort> = Arc::clone(chain) as _;
    (Arc::clone(&subnet), Keeper::new(subnet, chain, neurons))
}

#[tokio::test]
async fn waiting_for_the_rate_limit_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Ledgerless::new(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    chain.go_near_epoch();
    keeper.look().await;
    assert_eq!(chain.rows.lock().unwrap().len(), 1);
    // The last row is of block 9; ten blocks must pass, and the next epoch is block 20.
    chain.settings.lock().unwrap().weights_rate_limit = 10;
    chain.pass_epoch();
    chain.go_near_epoch();
    chain.block.store(17, Ordering::SeqCst);
    for _ in 0..10 {
        keeper.look().await;
    }
    assert_eq!(chain.rows.lock().unwrap().len(), 1);
    subnet.tally.with(|tally| *tally = seen(&[(1, 50.0), (2, 20.0)], 100));
    let epochs = subnet.ledger().standing(&hotkey(1)).unwrap().epochs;
    chain.block.store(18, Ordering::SeqCst);
    keeper.look().await;
    assert_eq!(chain.rows.lock().unwrap().len(), 2, "set as soon as the limit allows it");
    assert!(subnet.ledger().standing(&hotkey(1)).unwrap().epochs <= epochs + 1);
}

#[tokio::test]
async fn a_row_that_landed_behind_an_error_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Ledgerless::new(4);
    let (subnet, mut keeper) = keeper(&chain, folder.path());
    *chain.after.lock().unwrap() = After::Error;
    chain.go_near_epoch();
    keeper.look().await;
    let row = subnet.ledger().last_row().cloned().expect("the row is on chain");
    let lines: Vec<(u16, u16)> = row.weights.iter().map(|line| (line.uid, line.weight)).collect();
    assert_eq!((vec![lines], row.block), (chain.rows.lock().unwrap().clone(), 9));
}

#[tokio::test]
async fn a_router_that_dies_while_a_row_is_sent_explains_it_after_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Ledgerless::new(4);
    let (_, mut first) = keeper(&chain, folder.path());
    *chain.after.lock().unwrap() = After::Silence;
    chain.go_near_epoch();
    tokio::select! {
        biased;
        _ = first.look() => panic!("nothing is heard of the row"),
        () = async { until("the row has landed", || chain.rows.lock().unwrap().len() == 1).await } => {}
    }
    drop(first);
    *chain.after.lock().unwrap() = After::Receipt;
    chain.pass_epoch();
    let (subnet, mut second) = keeper(&chain, folder.path());
    assert!(subnet.ledger().last_row().is_none());
    second.look().await;
    assert_eq!(subnet.ledger().last_row().unwrap().block, 9);
    let saved = Ledger::open(folder.path(), NETUID, "00").unwrap();
    assert_eq!((saved.history().count(), saved.pending().len()), (1, 0));
}

#[test]
fn those_gone_from_the_chain_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), NETUID, "00").unwrap();
    close(&mut ledger, &seen(&[(1, 50.0), (2, 50.0)], 100));
    let tally = seen(&[(1, 50.0), (3, 50.0)], 100);
    close_for(&mut ledger, &tally, |who| *who == hotkey(1));
    assert_eq!(ledger.standings().map(|(who, _)| who).collect::<Vec<_>>(), [hotkey(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advertising_the_best_experts_checkpoint_earns_nothing_and_costs_it_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    // Two that only name the checkpoint of expert 1: a registered one, and one the chain does not know.
    manners.extend([Manner::Fails, Manner::Noise]);
    let (mesh, chain) = (Mesh::of(&manners), Ledgerless::new(5));
    (5..=6).for_each(|n| mesh.change(n, |peer| peer.descriptor.checkpoint = ContentHash([1; 32])));
    let router = Router::start_with(parts(&mesh, Some(Arc::clone(&chain)), folder.path())).await.unwrap();
    scored(&router, 4).await;
    let subnet = Arc::clone(&router.subnets()[0]);
    let key = |n: u8| ExpertKey { peer: peer(n), checkpoint: ContentHash([1; 32]) };
    assert!(subnet.probes.alike(&key(1), &key(1)));
    assert!(!subnet.probes.alike(&key(1), &key(5)) && !subnet.probes.alike(&key(1), &key(6)));
    assert!(subnet.tally.with(|tally| !tally.experts.contains_key(&hotkey(6))), "the chain does not know it");
    chain.go_near_epoch();
    until("weights are set", || !chain.rows.lock().unwrap().is_empty()).await;
    let sent = chain.rows.lock().unwrap()[0].clone();
    let weight = |uid: u16| sent.iter().find(|(u, _)| *u == uid).map_or(0, |(_, w)| *w);
    assert_eq!(weight(5), 0, "{sent:?}");
    // Four equal specialists: a shared income would be half of the others'.
    assert!(u32::from(weight(1)) * 10 > u32::from(u16::MAX) * 6, "{sent:?}");
    router.stop().await;
}

fn row(uids: &[u16], ledger: &Ledger) -> Row {
    let uids: Vec<(u16, Hotkey)> = uids.iter().map(|&uid| (uid, hotkey(uid as u8))).collect();
    Row {
        netuid: NETUID,
        hotkey: Hotkey58(ROUTER),
        uid: 0,
        block: 8,
        extrinsic: "0x02".into(),
        version_key: 1,
        for_epoch: 10,
        commit: None,
        weights: ledger.row(&uids, |_| 1.0, 0, u16::MAX),
    }
}

#[test]
fn ledger_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), NETUID, "00").unwrap();
    close(&mut ledger, &seen(&[(1, 30.0), (2, -5.0)], 100));
    let sent = row(&[1, 2], &ledger);
    ledger.record(sent);
    ledger.save().unwrap();
    let again = Ledger::open(folder.path(), NETUID, "00").unwrap();
    assert_eq!(again, ledger);
    let line = &again.last_row().unwrap().weights[0];
    assert_eq!((line.uid, line.weight, line.scored), (1, 65535, 1));
    assert!(line.reason.contains("helped: scored on 1 of 100"), "{}", line.reason);
}

#[test]
fn a_ledger_of_another_chain_is_put_aside_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), NETUID, "00").unwrap();
    close(&mut ledger, &seen(&[(1, 30.0)], 100));
    ledger.save().unwrap();
    let other = Ledger::open(folder.path(), NETUID, "11").unwrap();
    assert_eq!(other.standings().count(), 0);
    assert!(folder.path().join("ledger-1.other-chain.json").exists());
    std::fs::write(folder.path().join("ledger-1.json"), "{ half a led").unwrap();
    let error = Ledger::open(folder.path(), NETUID, "00").unwrap_err();
    assert!(matches!(error, LedgerError::Unreadable { .. }));
    assert!(error.to_string().contains("ledger-1.json"), "{error}");
}

#[test]
fn silence_pulls_an_average_down_and_absence_takes_the_weight_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), NETUID, "00").unwrap();
    close(&mut ledger, &seen(&[(1, 50.0), (2, 50.0)], 100));
    assert_eq!(ledger.standing(&hotkey(1)).unwrap().worth(1.0), 0.5);
    close(&mut ledger, &seen(&[(2, 50.0)], 100));
    let silent = ledger.standing(&hotkey(1)).unwrap();
    assert!((silent.ema - 0.375).abs() < 1e-9);
    assert_eq!(silent.worth(1.0), 0.0);
    assert!(silent.reason().contains("answered none of 100"), "{}", silent.reason());
    assert_eq!(ledger.standing(&hotkey(2)).unwrap().worth(1.0), 0.5);
}

/// Everybody who is to be proven is, and an epoch's worth of labelled items was scored.
async fn scored(router: &Router, experts: usize) {
    let subnet = Arc::clone(&router.subnets()[0]);
    let calibrated = || subnet.gate().experts.values().filter(|gate| gate.calibrated).count();
    until("all experts are probed", || calibrated() == experts).await;
    subnet.tally.with(|tally| *tally = Tally::default());
    until("an epoch's worth is scored", || subnet.tally.with(|tally| tally.items) >= 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liar_ends_with_lower_weight_than_every_honest_expert_and_the_ledger_is_the_row_on_chain() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    manners.push(Manner::Noise);
    manners.push(Manner::Uniform);
    let (mesh, chain) = (Mesh::of(&manners), Ledgerless::new(6));
    let router = Router::start_with(parts(&mesh, Some(Arc::clone(&chain)), folder.path())).await.unwrap();
    scored(&router, 6).await;
    assert!(chain.rows.lock().unwrap().is_empty(), "nothing is said long before the epoch");
    chain.go_near_epoch();
    until("weights are set", || !chain.rows.lock().unwrap().is_empty()).await;

    let sent = chain.rows.lock().unwrap()[0].clone();
    let weight = |uid: u16| sent.iter().find(|(u, _)| *u == uid).map_or(0, |(_, w)| *w);
    for honest in 1..=4 {
        assert!(weight(honest) > weight(5), "noise {sent:?}");
        assert!(weight(honest) > weight(6), "uniform {sent:?}");
    }
    assert_eq!(sent.iter().map(|(_, w)| *w).max(), Some(u16::MAX));
    let subnet = Arc::clone(&router.subnets()[0]);
    until("the ledger has the row", || subnet.ledger().last_row().is_some()).await;
    let last = subnet.ledger().last_row().unwrap().clone();
    let recorded: Vec<(u16, u16)> = last.weights.iter().map(|line| (line.uid, line.weight)).collect();
    assert_eq!(recorded, sent);
    assert_eq!((last.block, last.for_epoch), (9, 10));

    // A dead expert's next weight is lower.
    let before = weight(1);
    mesh.change(1, |peer| peer.alive = false);
    let gone = || subnet.callable(tokio::time::Instant::now()).iter().all(|listed| listed.key.peer != peer(1));
    until("the dead expert is no candidate", gone).await;
    chain.pass_epoch();
    subnet.tally.with(|tally| *tally = Tally::default());
    until("an epoch's worth is scored", || subnet.tally.with(|tally| tally.items) >= 200).await;
    chain.go_near_epoch();
    until("weights are set again", || chain.rows.lock().unwrap().len() == 2).await;
    let after = chain.rows.lock().unwrap()[1].iter().find(|(uid, _)| *uid == 1).map_or(0, |(_, w)| *w);
    assert!(after < before, "{after} < {before}");
    router.stop().await;
    let reopened = Ledger::open(folder.path(), NETUID, "00").unwrap();
    assert_eq!(reopened.history().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_permit_the_router_waits_for_the_next_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (mesh, chain) = (Mesh::of(&Mesh::specialists()), Ledgerless::new(4));
    chain.permit.store(false, Ordering::SeqCst);
    let router = Router::start_with(parts(&mesh, Some(Arc::clone(&chain)), folder.path())).await.unwrap();
    scored(&router, 4).await;
    chain.go_near_epoch();
    until("the chain refused", || chain.refused.load(Ordering::SeqCst) == 1).await;
    chain.permit.store(true, Ordering::SeqCst);
    chain.pass_epoch();
    chain.go_near_epoch();
    until("weights are set", || chain.rows.lock().unwrap().len() == 1).await;
    assert_eq!(chain.refused.load(Ordering::SeqCst), 1, "one try per epoch");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_filled_up_to_what_the_chain_asks_for_without_the_router_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut manners = Mesh::specialists();
    manners.push(Manner::Noise);
    let (mesh, chain) = (Mesh::of(&manners), Ledgerless::new(5));
    chain.settings.lock().unwrap().min_allowed_weights = 200;
    let router = Router::start_with(parts(&mesh, Some(Arc::clone(&chain)), folder.path())).await.unwrap();
    scored(&router, 5).await;
    chain.go_near_epoch();
    until("weights are set", || !chain.rows.lock().unwrap().is_empty()).await;
    let uids: Vec<u16> = chain.rows.lock().unwrap()[0].iter().map(|(uid, _)| *uid).collect();
    assert_eq!(uids, [1, 2, 3, 4, 5]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_wants_a_newer_version_gets_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (mesh, chain) = (Mesh::of(&Mesh::specialists()), Ledgerless::new(4));
    chain.settings.lock().unwrap().weights_version_key = 99;
    let router = Router::start_with(parts(&mesh, Some(Arc::clone(&chain)), folder.path())).await.unwrap();
    scored(&router, 4).await;
    chain.go_near_epoch();
    let metrics = Arc::clone(&router.subnets()[0].metrics);
    until("the attempt is given up", || metrics.encode().contains("not_this_epoch")).await;
    assert!(chain.rows.lock().unwrap().is_empty());
    router.stop().await;
}

#[test]
fn hotkeys_are_written_as_addresses() {
    let text = serde_json::to_string(&Hotkey58(Hotkey([7; 32]))).unwrap();
    assert!(text.starts_with("\"5"), "{text}");
    assert_eq!(serde_json::from_str::<Hotkey58>(&text).unwrap(), Hotkey58(Hotkey([7; 32])));
}
