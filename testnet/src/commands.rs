//! The command lines of a testnet's processes, and where each keeps its files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::process::Launch;
use crate::spec::{ExpertSpec, Lifetime, TestnetSpec};

/// Loopback with a free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// Where a process finds the others.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// The chain's address.
    pub chain: String,
    /// A multiaddr of the bootstrap peer.
    pub bootstrap: String,
}

/// Data folders of the processes.
#[must_use]
pub fn nodes_dir(dir: &Path) -> PathBuf {
    dir.join("nodes")
}

/// Logs of the processes.
#[must_use]
pub fn logs_dir(dir: &Path) -> PathBuf {
    dir.join("logs")
}

/// Ready files of the processes.
#[must_use]
pub fn run_dir(dir: &Path) -> PathBuf {
    dir.join("run")
}

/// `glia chain serve`.
#[must_use]
pub fn chain(spec: &TestnetSpec) -> Launch {
    let mut args = words(&["chain", "serve", "--rpc", ANY_PORT]);
    args.extend(words(&["--block-time", &format!("{}ms", spec.block_time.as_millis())]));
    args.extend(words(&["--tempo", &spec.tempo.to_string()]));
    launch(spec, "chain", args)
}

/// `glia bootstrap`.
#[must_use]
pub fn bootstrap(spec: &TestnetSpec) -> Launch {
    let args = words(&["bootstrap", "--listen", ANY_PORT, "--network", spec.network.as_str()]);
    launch(spec, "bootstrap", args)
}

/// `glia join` for one expert.
#[must_use]
pub fn expert(spec: &TestnetSpec, expert: &ExpertSpec, meet: &Meeting) -> Launch {
    let mut args = words(&["join", "--subnet", spec.subnet.as_str(), "--checkpoint"]);
    args.push(expert.checkpoint.clone().into_os_string());
    args.extend(words(&["--bootstrap", &meet.bootstrap, "--chain", &meet.chain, "--listen", ANY_PORT]));
    args.extend(words(&["--network", spec.network.as_str(), "--name", &expert.name, "--device", &spec.device]));
    if let Some(behaviour) = expert.behave {
        args.extend(words(&["--behave", &behaviour.to_string()]));
    }
    launch(spec, &expert.name, args)
}

/// `glia route`.
#[must_use]
pub fn router(spec: &TestnetSpec, name: &str, meet: &Meeting) -> Launch {
    let mut args = words(&["route", "--subnet", spec.subnet.as_str(), "--http", ANY_PORT, "--listen", ANY_PORT]);
    args.extend(words(&["--name", name, "--seed", &spec.router_seed.to_string()]));
    args.extend(words(&["--bootstrap", &meet.bootstrap, "--chain", &meet.chain]));
    args.extend(words(&["--network", spec.network.as_str()]));
    launch(spec, name, args)
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Adds what every process gets: its data folder, its ready file and the tie to its parent.
fn launch(spec: &TestnetSpec, name: &str, mut args: Vec<OsString>) -> Launch {
    let ready_file = run_dir(&spec.dir).join(format!("{name}.ready"));
    args.push("--data-dir".into());
    args.push(nodes_dir(&spec.dir).join(name).into_os_string());
    args.push("--ready-file".into());
    args.push(ready_file.clone().into_os_string());
    if spec.lifetime == Lifetime::WithParent {
        args.push("--exit-with-parent".into());
    }
    // Logs are files: no colours in them.
    let mut env = vec![("NO_COLOR".to_owned(), "1".to_owned())];
    if std::env::var_os("RUST_LOG").is_none() {
        env.push(("RUST_LOG".to_owned(), "info".to_owned()));
    }
    Launch {
        name: name.to_owned(),
        program: spec.program.clone(),
        args,
        env,
        ready_file,
        log_file: logs_dir(&spec.dir).join(format!("{name}.log")),
        lifetime: spec.lifetime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_process_is_not_tied_to_its_parent() {
        let mut spec = TestnetSpec::new("t", Path::new("/tmp/t"), Path::new("/bin/sh")).unwrap();
        assert!(chain(&spec).args.contains(&"--exit-with-parent".into()));
        spec.lifetime = Lifetime::Detached;
        assert!(!chain(&spec).args.contains(&"--exit-with-parent".into()));
    }

    #[test]
    fn an_expert_is_told_everything_it_needs() {
        let spec = TestnetSpec::new("t", Path::new("/tmp/t"), Path::new("/bin/sh")).unwrap();
        let meet = Meeting { chain: "ws://127.0.0.1:1".into(), bootstrap: "/ip4/127.0.0.1/udp/2/quic-v1".into() };
        let one = ExpertSpec::honest("expert-1", Path::new("/tmp/a b.safetensors"));
        let launch = expert(&spec, &one, &meet);
        let line: Vec<_> = launch.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let line = line.join("|");
        assert!(line.starts_with(
            "join|--subnet|vision|--checkpoint|/tmp/a b.safetensors|--bootstrap|/ip4/127.0.0.1/udp/2/quic-v1|--chain|\
             ws://127.0.0.1:1|--listen|127.0.0.1:0|--network|testnet-"
        ));
        assert!(line.contains("|--data-dir|/tmp/t/nodes/expert-1|--ready-file|/tmp/t/run/expert-1.ready|"));
        assert!(!line.contains("--behave"));
        let liar = ExpertSpec { behave: "collude:2".parse().ok(), ..one };
        let args = expert(&spec, &liar, &meet).args;
        let at = args.iter().position(|arg| arg == "--behave").unwrap();
        assert_eq!(args[at + 1], "collude:2");
    }
}
