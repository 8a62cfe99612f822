//! A whole mesh of real processes: chain, bootstrap peer, experts, routers, and what happens to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use glia_experts::roster::Roster;
use glia_experts::subnet::Subnet;
use glia_experts::train::TrainOptions;
use glia_testnet::chain_view::{chain_view, wait_for_epoch};
use glia_testnet::client::RouterClient;
use glia_testnet::demo::{names, router_handles};
use glia_testnet::state::State;
use glia_testnet::{EvaluateOptions, LabelledSet, Progress, Testnet, TestnetSpec, evaluate, lab};
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Two cores carry one mesh at a time.
static ONE_MESH: Semaphore = Semaphore::const_new(1);

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_glia"))
}

/// A mesh of a roster with two routers and an epoch every 3 s.
async fn mesh(dir: &Path, subnet: &Subnet, roster: &Roster) -> Testnet {
    let stop = CancellationToken::new();
    let train = TrainOptions { dense: false, images: 1500, epochs: (1, 6), ..TrainOptions::default() };
    let trained =
        lab::train(subnet, roster, &dir.join("checkpoints"), &train, &Progress::silent(), &stop).await.unwrap();
    let spec = TestnetSpec {
        experts: lab::expert_specs(&trained),
        routers: 2,
        block_time: Duration::from_millis(200),
        tempo: 15,
        device: "cpu".to_owned(),
        ready_within: Duration::from_secs(120),
        probed_within: Duration::from_secs(120),
        ..TestnetSpec::new("it", &dir.join("net"), &program()).unwrap()
    };
    Testnet::start(spec, &Progress::silent(), &stop).await.unwrap_or_else(|error| panic!("{error:#}"))
}

fn test_items(subnet: &Subnet, count: usize) -> Arc<LabelledSet> {
    Arc::new(lab::test_set(subnet, Some(count)).unwrap().0)
}

/// Asks until it is so.
async fn until(what: &str, within: Duration, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < within, "after {} s it is still not so that {what}", within.as_secs());
        sleep(Duration::from_millis(100)).await;
    }
}

async fn is_candidate(router: &RouterClient, peer: &str) -> bool {
    let page = router.experts().await.unwrap();
    page.experts.iter().any(|expert| expert.peer_id == peer && expert.candidate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_an_expert_loses_no_request_and_costs_it_its_weight() {
    let _turn = ONE_MESH.acquire().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let subnet = Subnet::by_name("vision").unwrap();
    let roster = Roster::builtin("iid", 3).unwrap();
    let mut mesh = mesh(dir.path(), &subnet, &roster).await;
    let routers = router_handles(&mesh);
    let chain = mesh.connect_chain().await.unwrap();
    let metagraph = wait_for_epoch(&chain, 1, &routers, Duration::from_secs(60)).await.unwrap();

    // The expert that the first router holds to be worth most.
    let router = metagraph.neurons.iter().find(|neuron| neuron.hotkey.to_string() == routers[0].hotkey).unwrap();
    let (victim_uid, before) = router.weights.iter().copied().max_by_key(|&(_, weight)| weight).unwrap();
    let router_uid = router.uid;
    let victim = mesh.experts().into_iter().find(|expert| expert.uid() == Some(victim_uid)).unwrap();
    let peer = victim.text("peer_id").unwrap().to_owned();
    assert!(before > 0 && is_candidate(&routers[0].client, &peer).await);

    let set = test_items(&subnet, 240);
    let options = EvaluateOptions { concurrency: 4, deadline: Duration::from_secs(5), ..EvaluateOptions::at(2) };
    let (clients, stop) = ([routers[0].client.clone()], CancellationToken::new());
    let third = Notify::new();
    let watch = |done: usize| {
        if done == 80 {
            third.notify_one();
        }
    };
    let (evaluation, killed) = tokio::join!(evaluate(&clients, &set, &options, &watch, &stop), async {
        third.notified().await;
        mesh.kill(&victim.name).await.unwrap();
        Instant::now()
    });
    let figures = evaluation.unwrap().figures();
    assert_eq!((figures.answered, figures.failed), (240, 0), "{:?}", figures.failures);

    let left = Duration::from_secs(15).saturating_sub(killed.elapsed());
    for router in &routers {
        until("the dead expert is no candidate", left, async || !is_candidate(&router.client, &peer).await).await;
    }
    until("its next weight is lower", Duration::from_secs(45), async || {
        let weights = chain.weights(1, router_uid).await.unwrap();
        !weights.is_empty() && weights.iter().find(|(uid, _)| *uid == victim_uid).is_none_or(|(_, now)| *now < before)
    })
    .await;
    // The others still answer.
    let after = evaluate(&clients, &test_items(&subnet, 20), &options, &|_| {}, &stop).await.unwrap().figures();
    assert_eq!(after.failed, 0, "{:?}", after.failures);
    mesh.stop().await.unwrap();
}

const WITH_A_LIAR: &str = r#"
subnet = "vision"
[[expert]]
name = "digits"
kind = "classes"
classes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
[[expert]]
name = "fashion"
kind = "classes"
classes = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
[[expert]]
name = "liar"
kind = "noise"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_holds_the_ledgers_weights_and_noise_earns_least() {
    let _turn = ONE_MESH.acquire().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let subnet = Subnet::by_name("vision").unwrap();
    let roster = Roster::from_toml(WITH_A_LIAR, &subnet).unwrap();
    let mesh = mesh(dir.path(), &subnet, &roster).await;
    let routers = router_handles(&mesh);
    let chain = mesh.connect_chain().await.unwrap();
    wait_for_epoch(&chain, 1, &routers, Duration::from_secs(60)).await.unwrap();

    let view = chain_view(&chain, 1, &routers, &names(&mesh)).await.unwrap();
    assert_eq!(view.routers.len(), 2);
    for router in &view.routers {
        assert!(router.equal && !router.storage.is_empty(), "{}: {router:?}", router.name);
        assert!(router.storage.values().any(|&weight| weight == u16::MAX), "the largest weight is full scale");
    }
    let incentive = |name: &str| {
        view.neurons.iter().find(|neuron| neuron.name.as_deref() == Some(name)).map(|neuron| neuron.incentive).unwrap()
    };
    for honest in ["digits", "fashion"] {
        assert!(incentive("liar") < incentive(honest), "{honest}: {:?}", view.neurons);
    }

    // With the liar among them, two experts are still right far more often than a coin.
    let set = test_items(&subnet, 100);
    let options = EvaluateOptions { concurrency: 4, deadline: Duration::from_secs(5), ..EvaluateOptions::at(2) };
    let clients = [routers[0].client.clone(), routers[1].client.clone()];
    let figures = evaluate(&clients, &set, &options, &|_| {}, &CancellationToken::new()).await.unwrap().figures();
    assert_eq!(figures.failed, 0, "{:?}", figures.failures);
    assert!(figures.accuracy.low > 0.4, "{:?}", figures.accuracy);
    mesh.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_survives_a_killed_glia_and_ctrl_c_leaves_in_order() {
    let _turn = ONE_MESH.acquire().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let roster = dir.path().join("roster.toml");
    std::fs::write(&roster, WITH_A_LIAR).unwrap();
    let home = dir.path().join("home");
    let net = home.join("testnets").join("default");
    let up = || {
        Command::new(program())
            .args(["testnet", "up", "--routers", "1", "--block-time", "200ms", "--tempo", "15", "--roster"])
            .arg(&roster)
            .arg("--data-dir")
            .arg(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let running = |count: usize| {
        State::load(&net).unwrap().filter(|state| state.processes.len() == count && state.alive().count() == count)
    };

    let mut first = up();
    until("some processes run", Duration::from_secs(120), async || {
        assert_eq!(first.try_wait().unwrap(), None, "it ended by itself");
        State::load(&net).unwrap().is_some_and(|state| state.alive().count() >= 2)
    })
    .await;
    first.kill().unwrap();
    first.wait().unwrap();
    let state = State::load(&net).unwrap().unwrap();
    until("all children have ended", Duration::from_secs(30), async || state.alive().next().is_none()).await;

    // What the killed one left behind does not hinder the next.
    let mut second = up();
    until("the mesh is complete", Duration::from_secs(120), async || {
        assert_eq!(second.try_wait().unwrap(), None, "it ended by itself");
        running(6).is_some_and(|state| state.complete)
    })
    .await;
    let state = State::load(&net).unwrap().unwrap();
    let asked = Command::new("kill").args(["-INT", &second.id().to_string()]).status().unwrap();
    assert!(asked.success());
    until("it has ended", Duration::from_secs(40), async || second.try_wait().unwrap().is_some()).await;
    assert!(second.wait().unwrap().success());
    assert_eq!(state.alive().count(), 0);
    assert_eq!(State::load(&net).unwrap(), None);
}
