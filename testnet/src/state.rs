//! `testnet.json`: what runs, so that another process can show, read and end it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use glia_protocol::{NetworkId, SubnetName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{identity, is_alive};

/// Format of the file; a newer program refuses an older one's file instead of guessing.
const VERSION: u32 = 1;
/// Bytes of a state file that are believed: 200 experts need about 200 KB.
const MAX_STATE: u64 = 4 * 1024 * 1024;

/// What a process of a testnet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The embedded chain.
    Chain,
    /// The peer that others find each other through.
    Bootstrap,
    /// Serves a model.
    Expert,
    /// Asks experts.
    Router,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chain => "chain",
            Self::Bootstrap => "bootstrap",
            Self::Expert => "expert",
            Self::Router => "router",
        })
    }
}

/// One process as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Process id.
    pub pid: u32,
    /// What tells it from a later process with the same id.
    pub identity: String,
    /// Its log.
    pub log: PathBuf,
    /// What it said of itself when it was ready; null until then.
    pub ready: Value,
}

impl ProcessRecord {
    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        is_alive(self.pid, &self.identity)
    }

    /// A text of its ready file, e.g. `http`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.ready.get(key)?.as_str()
    }

    /// Its uid on chain.
    #[must_use]
    pub fn uid(&self) -> Option<u16> {
        self.ready.get("uid")?.as_u64()?.try_into().ok()
    }
}

/// A testnet as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Its name.
    pub name: String,
    /// Its network id.
    pub network: NetworkId,
    /// The subnet it serves.
    pub subnet: SubnetName,
    /// That subnet's number on chain.
    pub netuid: u16,
    /// Whether it outlives the process that started it.
    pub detached: bool,
    /// The process that started it: its id and identity.
    pub owner: (u32, String),
    /// Whether every expert was found and probed.
    pub complete: bool,
    /// Its processes, in the order they were started.
    pub processes: Vec<ProcessRecord>,
}

impl State {
    /// A testnet without processes, owned by this process.
    #[must_use]
    pub fn new(name: String, network: NetworkId, subnet: SubnetName, netuid: u16, detached: bool) -> Self {
        let pid = std::process::id();
        let owner = (pid, identity(pid).unwrap_or_default());
        Self {
            version: VERSION,
            name,
            network,
            subnet,
            netuid,
            detached,
            owner,
            complete: false,
            processes: Vec::new(),
        }
    }

    /// Reads DIR/testnet.json; `None` when no testnet is recorded there.
    ///
    /// # Errors
    /// When the file cannot be read or was damaged.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = state_path(dir);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_STATE + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
        let damaged = || {
            format!(
                "{} is damaged; end the processes of that testnet by hand if any still run, then remove the file",
                path.display()
            )
        };
        ensure!(bytes.len() as u64 <= MAX_STATE, "{} (it is larger than {MAX_STATE} bytes)", damaged());
        let state: Self = serde_json::from_slice(&bytes).with_context(damaged)?;
        ensure!(
            state.version == VERSION,
            "{} was written by another version of glia ({} instead of {VERSION}); stop that testnet with it first",
            path.display(),
            state.version
        );
        Ok(Some(state))
    }

    /// Writes DIR/testnet.json: whoever reads it sees the old or the new state, never half of one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = state_path(dir);
        write_atomically(&path, &serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes DIR/testnet.json, if there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(dir: &Path) -> Result<()> {
        match std::fs::remove_file(state_path(dir)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", state_path(dir).display()))
            }
            _ => Ok(()),
        }
    }

    /// Processes that still run.
    pub fn alive(&self) -> impl Iterator<Item = &ProcessRecord> {
        self.processes.iter().filter(|process| process.is_alive())
    }

    /// Whether the process that started it still runs and is not this one.
    #[must_use]
    pub fn owned_by_another(&self) -> bool {
        self.owner.0 != std::process::id() && is_alive(self.owner.0, &self.owner.1)
    }

    /// The process called `name`.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<&ProcessRecord> {
        self.processes.iter().find(|process| process.name == name)
    }

    /// Processes of a role, in order.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &ProcessRecord> {
        self.processes.iter().filter(move |process| process.role == role)
    }

    /// The chain's address.
    #[must_use]
    pub fn chain_url(&self) -> Option<&str> {
        self.of_role(Role::Chain).next()?.text("rpc")
    }

    /// An address of the bootstrap peer.
    #[must_use]
    pub fn bootstrap(&self) -> Option<&str> {
        control_address(&self.of_role(Role::Bootstrap).next()?.ready)
    }
}

/// A control-plane address from a ready file: QUIC before others, it connects with fewer round trips.
#[must_use]
pub fn control_address(ready: &Value) -> Option<&str> {
    let all: Vec<&str> = ready.get("control")?.as_array()?.iter().filter_map(Value::as_str).collect();
    all.iter().find(|address| address.contains("/quic")).or_else(|| all.first()).copied()
}

fn state_path(dir: &Path) -> PathBuf {
    dir.join("testnet.json")
}

/// Replaces a file as a whole.
///
/// # Errors
/// When the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    if written.is_err() {
        // The error at hand matters more than the leftover.
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// The claim on a folder: one process at a time starts or ends the testnet in it.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

impl Claim {
    /// Claims `dir`, making it if need be.
    ///
    /// # Errors
    /// When another process holds it, or the folder holds something that is no testnet.
    pub fn take(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let path = dir.join("testnet.lock");
        if !path.exists() {
            let mut entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
            // Checkpoints are trained before the testnet starts, perhaps into the same folder.
            let foreign = entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "checkpoints"));
            ensure!(
                !foreign,
                "{} is not empty and holds no testnet; name an empty or new folder with --data-dir",
                dir.display()
            );
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another process is starting, running or stopping the testnet in {}; wait for it, end it with Ctrl-C, \
                 or name another folder with --data-dir",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new("t".into(), "testnet-x".parse().unwrap(), "vision".parse().unwrap(), 1, true);
        let pid = std::process::id();
        let record = |name: &str, identity: String| ProcessRecord {
            name: name.into(),
            role: Role::Chain,
            pid,
            identity,
            log: "/tmp/x.log".into(),
            ready: serde_json::json!({"rpc": "ws://127.0.0.1:1", "uid": 3}),
        };
        state.processes = vec![record("chain", identity(pid).unwrap()), record("old", "stale:0".into())];
        state
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), None);
        state().save(dir.path()).unwrap();
        let loaded = State::load(dir.path()).unwrap().unwrap();
        assert_eq!(loaded, state());
        assert_eq!(loaded.chain_url(), Some("ws://127.0.0.1:1"));
        assert_eq!(loaded.process("chain").unwrap().uid(), Some(3));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_quic_address_is_preferred() {
        let ready = serde_json::json!({"control": ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/2/quic-v1"]});
        assert_eq!(control_address(&ready), Some("/ip4/127.0.0.1/udp/2/quic-v1"));
        assert_eq!(
            control_address(&serde_json::json!({"control": ["/ip4/127.0.0.1/tcp/1"]})),
            Some("/ip4/127.0.0.1/tcp/1")
        );
        assert_eq!(control_address(&serde_json::json!({"control": []})), None);
    }

    #[test]
    fn a_reused_pid_is_not_alive() {
        let alive: Vec<String> = state().alive().map(|process| process.name.clone()).collect();
        assert_eq!(alive, ["chain"]);
    }

    #[test]
    fn a_damaged_or_foreign_state_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("testnet.json"), b"{\"version\":1,").unwrap();
        assert!(format!("{:#}", State::load(dir.path()).unwrap_err()).contains("is damaged"));
        let mut other = serde_json::to_value(state()).unwrap();
        other["version"] = 99.into();
        std::fs::write(dir.path().join("testnet.json"), other.to_string()).unwrap();
        assert!(State::load(dir.path()).unwrap_err().to_string().contains("another version"));
        std::fs::write(dir.path().join("testnet.json"), vec![b' '; MAX_STATE as usize + 1]).unwrap();
        assert!(State::load(dir.path()).unwrap_err().to_string().contains("larger than"));
    }

    #[test]
    fn a_folder_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::take(dir.path()).unwrap();
        assert!(Claim::take(dir.path()).unwrap_err().to_string().contains("another process"));
        drop(claim);
        Claim::take(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), b"years of work").unwrap();
        assert!(Claim::take(dir.path()).unwrap_err().to_string().contains("not empty"));
    }
}
