//! A whole tree of processes: a shell program that stands for `glia`, started, looked at, broken and ended.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glia_testnet::control::{Down, down, status};
use glia_testnet::spec::{ExpertSpec, Lifetime, TestnetSpec};
use glia_testnet::state::State;
use glia_testnet::testnet::{Interrupted, Testnet};
use glia_testnet::{Progress, identity::identity};
use tokio_util::sync::CancellationToken;

/// Writes a ready file of its kind and stays until it is told to end or its parent is gone. The expert `broken` ends
/// at once; `slow` is never ready.
const PROGRAM: &str = r#"#!/bin/sh
kind=$1; name=$1; tied=no
while [ $# -gt 0 ]; do
  case "$1" in
    --ready-file) ready=$2 ;;
    --name) name=$2 ;;
    --exit-with-parent) tied=yes ;;
  esac
  shift
done
echo "$name is a $kind"
[ "$name" = broken ] && { echo "the checkpoint is damaged" >&2; exit 1; }
if [ "$name" != slow ]; then
  printf '{"pid":%s,"name":"%s","rpc":"ws://127.0.0.1:1","control":["/ip4/127.0.0.1/udp/1/quic-v1"],"http":"http://127.0.0.1:1","peer_id":"p-%s","hotkey":"h-%s","uid":3}' $$ "$name" "$name" "$name" > "$ready.new"
  mv "$ready.new" "$ready"
fi
exec 3<&0
trap 'kill $child; exit 0' TERM
if [ $tied = yes ]; then cat <&3 > /dev/null & else sleep 1000 & fi
child=$!
wait $child
"#;

fn program(dir: &Path) -> PathBuf {
    let path = dir.join("glia");
    std::fs::write(&path, PROGRAM).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn spec(dir: &Path, experts: &[&str], lifetime: Lifetime) -> TestnetSpec {
    let program = program(dir);
    let checkpoint = program.clone();
    let expert = |name: &&str| ExpertSpec::honest(name, &checkpoint);
    TestnetSpec {
        experts: experts.iter().map(expert).collect(),
        routers: 2,
        lifetime,
        ready_within: Duration::from_secs(20),
        ..TestnetSpec::new("tree", &dir.join("net"), &program).unwrap()
    }
}

async fn begin(spec: TestnetSpec) -> anyhow::Result<Testnet> {
    Testnet::begin(spec, &Progress::silent(), &CancellationToken::new()).await
}

fn alive(state: &State) -> usize {
    state.alive().count()
}

#[tokio::test]
async fn everything_starts_and_ends_together() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = begin(spec(dir.path(), &["ada", "bob", "eve"], Lifetime::WithParent)).await.unwrap();
    assert_eq!(testnet.chain_url(), "ws://127.0.0.1:1");
    assert_eq!(testnet.bootstrap(), "/ip4/127.0.0.1/udp/1/quic-v1");
    let state = State::load(&testnet.spec().dir).unwrap().unwrap();
    assert_eq!(state, testnet.state(), "the file says what is");
    assert_eq!((state.processes.len(), alive(&state)), (7, 7));
    let experts: Vec<String> = testnet.experts().into_iter().map(|expert| expert.name).collect();
    assert_eq!(experts, ["ada", "bob", "eve"]);
    assert_eq!(testnet.routers()[1].0.name, "router-2");
    assert_eq!(testnet.routers()[1].1.url(), "http://127.0.0.1:1");

    let again = begin(testnet.spec().clone()).await.unwrap_err();
    assert!(again.to_string().contains("another process"), "{again}");
    let net = testnet.spec().dir.clone();
    testnet.stop().await.unwrap();
    assert_eq!(alive(&state), 0);
    assert_eq!(State::load(&net).unwrap(), None);
}

#[tokio::test]
async fn a_killed_process_can_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut testnet = begin(spec(dir.path(), &["ada"], Lifetime::WithParent)).await.unwrap();
    let old = testnet.state().process("ada").unwrap().pid;
    testnet.kill("ada").await.unwrap();
    assert_eq!(identity(old), None);
    assert!(testnet.kill("nobody").await.unwrap_err().to_string().contains("chain, bootstrap"));
    testnet.restart("ada").await.unwrap();
    let new = testnet.state().process("ada").unwrap().clone();
    assert!(new.pid != old && new.is_alive());
    testnet.restart("router-1").await.unwrap();
    testnet.stop().await.unwrap();
    assert!(!new.is_alive());
}

#[tokio::test]
async fn one_that_fails_takes_all_down_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), &["ada", "broken", "slow"], Lifetime::WithParent);
    let net = spec.dir.clone();
    let error = begin(spec).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("broken ended before it was ready") && text.contains("the checkpoint is damaged"), "{text}");
    assert_eq!(State::load(&net).unwrap(), None);
    nobody_runs(&net).await;
}

#[tokio::test]
async fn the_stop_signal_ends_a_start_that_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), &["ada", "slow"], Lifetime::WithParent);
    let net = spec.dir.clone();
    let stop = CancellationToken::new();
    let fire = stop.clone();
    let watched = net.clone();
    let watch = tokio::spawn(async move {
        // Once the one that is never ready has been started.
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if State::load(&watched).unwrap().is_some_and(|state| state.process("slow").is_some()) {
                fire.cancel();
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let error = Testnet::begin(spec, &Progress::silent(), &stop).await.unwrap_err();
    watch.await.unwrap();
    assert!(error.is::<Interrupted>(), "{error}");
    assert_eq!(State::load(&net).unwrap(), None);
    nobody_runs(&net).await;
}

/// Every process of the program carries its ready file's path in its arguments.
async fn nobody_runs(net: &Path) {
    let needle = net.display().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let out = std::process::Command::new("ps").args(["-eo", "args"]).output();
        let Ok(out) = out else { return };
        let left = String::from_utf8_lossy(&out.stdout).lines().filter(|line| line.contains(&needle)).count();
        if left == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{left} processes still run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_detached_tree_outlives_its_starter_and_is_ended_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = begin(spec(dir.path(), &["ada"], Lifetime::Detached)).await.unwrap();
    let net = testnet.spec().dir.clone();
    let again = testnet.spec().clone();
    let state = testnet.leave_running().unwrap();
    assert_eq!(alive(&state), 5);
    let refused = begin(again).await.unwrap_err().to_string();
    assert!(refused.contains("already runs") && refused.contains("glia testnet down"), "{refused}");

    let now = status(&net).await.unwrap().unwrap();
    assert!(now.processes_now.iter().all(|process| process.alive));
    assert_eq!(now.block, None);
    assert!(now.notes.iter().any(|note| note.starts_with("chain:")), "{:?}", now.notes);

    assert_eq!(down(&net).await.unwrap(), Down::Ended { processes: 5, killed: 0 });
    assert_eq!(alive(&state), 0);
    assert_eq!(down(&net).await.unwrap(), Down::Nothing);
    assert!(status(&net).await.unwrap().is_none());
}

#[tokio::test]
async fn the_state_of_processes_long_gone_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), &["ada"], Lifetime::WithParent);
    let testnet = begin(spec.clone()).await.unwrap();
    let state = testnet.state();
    testnet.stop().await.unwrap();
    // As if the starter had crashed: its file stays, its processes are gone, their ids perhaps given to others.
    state.save(&spec.dir).unwrap();
    let testnet = begin(spec).await.unwrap();
    assert_eq!(alive(&testnet.state()), 5);
    testnet.stop().await.unwrap();
}
