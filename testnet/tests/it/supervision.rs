//! One process: ready, late, dying early, stopped, killed, orphaned.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use glia_testnet::identity::identity;
use glia_testnet::process::{Launch, Process, ReadyError, Stopped, stop_stranger, tail};
use glia_testnet::spec::Lifetime;

const LONG: Duration = Duration::from_secs(20);

fn launch(dir: &Path, script: &str, lifetime: Lifetime) -> Launch {
    let ready_file = dir.join("one.ready");
    Launch {
        name: "one".into(),
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("READY".into(), ready_file.display().to_string())],
        ready_file,
        log_file: dir.join("one.log"),
        lifetime,
    }
}

/// Says that it is ready as `glia` does: the whole file at once.
const READY: &str = r#"printf '{"pid":%s,"rpc":"ws://x"}' $$ > "$READY.new"; mv "$READY.new" "$READY";"#;

async fn gone(pid: u32) {
    let deadline = Instant::now() + LONG;
    while identity(pid).is_some() {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_process_is_ready_when_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.ready"), r#"{"pid":1,"rpc":"ws://old"}"#).unwrap();
    let script = format!("echo starting; {READY} exec cat");
    let mut process = Process::spawn(launch(dir.path(), &script, Lifetime::WithParent)).unwrap();
    let ready = process.ready(LONG).await.unwrap();
    assert_eq!(ready["rpc"], "ws://x", "an old ready file is not believed");
    assert_eq!(ready["pid"], process.pid());
    assert_eq!(process.identity(), identity(process.pid()).unwrap());
    process.kill().await;
    assert_eq!(std::fs::read_to_string(dir.path().join("one.log")).unwrap(), "starting\n");
}

#[tokio::test]
async fn a_process_that_dies_early_gives_its_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let script = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; echo no such chain >&2; exit 3";
    let mut process = Process::spawn(launch(dir.path(), script, Lifetime::WithParent)).unwrap();
    let began = Instant::now();
    let error = process.ready(LONG).await.unwrap_err();
    assert!(began.elapsed() < LONG / 2, "it does not wait for the deadline");
    let ReadyError::Exited { tail, status, .. } = &error else { panic!("{error}") };
    assert!(status.contains('3'), "{status}");
    assert!(tail.ends_with("no such chain") && tail.contains("line 39") && !tail.contains("line 20"), "{tail}");
    assert!(error.to_string().contains("one ended before it was ready"));
}

#[tokio::test]
async fn a_process_that_is_never_ready_meets_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::spawn(launch(dir.path(), "echo thinking; exec cat", Lifetime::WithParent)).unwrap();
    // Until it has spoken: the error quotes it.
    let deadline = Instant::now() + LONG;
    while tail(&dir.path().join("one.log"), 1, 100).unwrap().is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = process.ready(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ReadyError::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("thinking"), "{error}");
}

#[tokio::test]
async fn a_ready_file_of_another_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"printf '{"pid":1}' > "$READY"; exec cat"#;
    let mut process = Process::spawn(launch(dir.path(), script, Lifetime::WithParent)).unwrap();
    // The file may be seen while it is empty: that, too, is refused, since ready files come at once.
    let error = process.ready(LONG).await.unwrap_err();
    assert!(matches!(error, ReadyError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut launch = launch(dir.path(), "", Lifetime::WithParent);
    launch.program = PathBuf::from("/nowhere/glia");
    assert!(Process::spawn(launch).unwrap_err().to_string().contains("/nowhere/glia"));
}

#[tokio::test]
async fn stopping_is_in_order_first_and_by_force_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let polite = format!("trap 'kill $!; exit 0' TERM; sleep 100 & {READY} wait");
    let mut process = Process::spawn(launch(dir.path(), &polite, Lifetime::WithParent)).unwrap();
    process.ready(LONG).await.unwrap();
    assert_eq!(process.stop(LONG).await, Stopped::InOrder);
    assert_eq!(process.stop(LONG).await, Stopped::Already);

    let stubborn = format!("trap '' TERM; {READY} while true; do read line || exec sleep 100; done");
    let mut process = Process::spawn(launch(dir.path(), &stubborn, Lifetime::WithParent)).unwrap();
    process.ready(LONG).await.unwrap();
    assert_eq!(process.stop(Duration::from_millis(100)).await, Stopped::Killed);
    assert_eq!(identity(process.pid()), None);
}

#[tokio::test]
async fn a_restarted_process_keeps_its_log_and_gets_a_new_pid() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("echo run; {READY} exec cat");
    let mut first = Process::spawn(launch(dir.path(), &script, Lifetime::WithParent)).unwrap();
    first.ready(LONG).await.unwrap();
    let old = first.pid();
    let mut second = first.restart().await.unwrap();
    second.ready(LONG).await.unwrap();
    assert_ne!(second.pid(), old);
    assert_eq!(identity(old), None);
    assert_eq!(tail(&dir.path().join("one.log"), 10, 1000).unwrap(), ["run", "run"]);
}

#[tokio::test]
async fn dropping_a_process_ends_it_unless_it_was_left_running() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{READY} exec sleep 100");
    let mut process = Process::spawn(launch(dir.path(), &script, Lifetime::Detached)).unwrap();
    process.ready(LONG).await.unwrap();
    let pid = process.pid();
    drop(process);
    gone(pid).await;

    let mut process = Process::spawn(launch(dir.path(), &script, Lifetime::Detached)).unwrap();
    process.ready(LONG).await.unwrap();
    process.leave_running();
    let (pid, who) = (process.pid(), process.identity().to_owned());
    drop(process);
    assert_eq!(identity(pid).as_deref(), Some(who.as_str()));
    assert_eq!(stop_stranger(pid, "somebody else", LONG).await, Stopped::Already, "another identity is not signalled");
    assert_eq!(identity(pid).as_deref(), Some(who.as_str()));
    assert_eq!(stop_stranger(pid, &who, LONG).await, Stopped::InOrder);
    gone(pid).await;
}

#[tokio::test]
async fn killing_the_parent_ends_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "supervision::a_parent_that_waits_to_be_killed"])
        .env("GLIA_TEST_PARENT_DIR", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = dir.path().join("child.pid");
    let deadline = Instant::now() + LONG;
    while !told.exists() {
        assert!(Instant::now() < deadline, "the parent did not start its child");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let child: u32 = std::fs::read_to_string(&told).unwrap().parse().unwrap();
    assert!(identity(child).is_some());
    parent.kill().unwrap();
    parent.wait().unwrap();
    gone(child).await;
}

/// The parent in [`killing_the_parent_ends_the_child`]; does nothing on its own.
#[tokio::test]
#[ignore = "is run by killing_the_parent_ends_the_child"]
async fn a_parent_that_waits_to_be_killed() {
    let Some(dir) = std::env::var_os("GLIA_TEST_PARENT_DIR").map(PathBuf::from) else { return };
    // As `--exit-with-parent`: ends when its standard input closes.
    let script = format!("{READY} exec cat");
    let mut process = Process::spawn(launch(&dir, &script, Lifetime::WithParent)).unwrap();
    process.ready(LONG).await.unwrap();
    std::fs::write(dir.join("new.pid"), process.pid().to_string()).unwrap();
    std::fs::rename(dir.join("new.pid"), dir.join("child.pid")).unwrap();
    std::future::pending::<()>().await;
}
