//! What other processes can do with a running testnet: show it, read its logs, end it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use glia_chain_client::{Chain, ConnectOptions};
use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::RouterClient;
use crate::commands::logs_dir;
use crate::identity::{resident_bytes, send};
use crate::process::{Stopped, stop_stranger};
use crate::state::{Claim, Role, State, control_address};

/// Time a process has to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(8);
/// Time the process that started a testnet has to end it.
const OWNER_GRACE: Duration = Duration::from_secs(40);
/// Time for the chain to answer a status question.
const CHAIN_WITHIN: Duration = Duration::from_secs(5);

/// A testnet as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// What is recorded of it.
    #[serde(flatten)]
    pub state: State,
    /// The chain's best block, when it answers.
    pub block: Option<u64>,
    /// One line per process, in the order they were started.
    pub processes_now: Vec<ProcessStatus>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// A process as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its process id.
    pub pid: u32,
    /// Whether it runs.
    pub alive: bool,
    /// Its uid on chain.
    pub uid: Option<u16>,
    /// Its peer id.
    pub peer_id: Option<String>,
    /// Where it is reached: RPC, HTTP, or its data plane.
    pub address: Option<String>,
    /// Requests sent to it by all routers (experts only).
    pub requests: Option<u64>,
    /// Its share of the miners' reward, of 65535 (experts), or of the validators' (routers).
    pub share: Option<u16>,
    /// Its memory in bytes.
    pub resident_bytes: Option<u64>,
}

/// Looks at the testnet in `dir`; `None` when there is none.
///
/// # Errors
/// When its state cannot be read. A part that does not answer is a note, not an error.
pub async fn status(dir: &Path) -> Result<Option<Status>> {
    let Some(state) = State::load(dir)? else { return Ok(None) };
    let mut notes = Vec::new();
    let mut requests: BTreeMap<String, u64> = BTreeMap::new();
    for router in state.of_role(Role::Router).filter(|router| router.is_alive()) {
        let page = match router.text("http").map(RouterClient::new) {
            Some(Ok(client)) => client.experts().await,
            Some(Err(error)) => Err(error),
            None => continue,
        };
        match page {
            Ok(page) => {
                page.experts
                    .iter()
                    .for_each(|entry| *requests.entry(entry.peer_id.clone()).or_insert(0) += entry.requests);
            }
            Err(error) => notes.push(format!("{}: {error}", router.name)),
        }
    }
    let metagraph = match state.chain_url() {
        Some(url) => match metagraph(url, state.netuid).await {
            Ok(metagraph) => Some(metagraph),
            Err(error) => {
                notes.push(format!("chain: {error:#}"));
                None
            }
        },
        None => None,
    };
    let processes_now = state
        .processes
        .iter()
        .map(|process| {
            let text = |key| process.text(key).map(ToOwned::to_owned);
            let neuron = process.uid().and_then(|uid| metagraph.as_ref()?.neurons.get(usize::from(uid)));
            let alive = process.is_alive();
            ProcessStatus {
                name: process.name.clone(),
                role: process.role,
                pid: process.pid,
                alive,
                uid: process.uid(),
                peer_id: text("peer_id"),
                address: text("rpc")
                    .or_else(|| text("http"))
                    .or_else(|| text("data"))
                    .or_else(|| control_address(&process.ready).map(ToOwned::to_owned)),
                requests: process.text("peer_id").and_then(|peer| requests.get(peer).copied()),
                share: neuron.map(|neuron| match process.role {
                    Role::Router => neuron.dividends,
                    _ => neuron.incentive,
                }),
                resident_bytes: alive.then(|| resident_bytes(process.pid)).flatten(),
            }
        })
        .collect();
    Ok(Some(Status { block: metagraph.map(|metagraph| metagraph.block), state, processes_now, notes }))
}

async fn metagraph(url: &str, netuid: u16) -> Result<glia_chain_client::Metagraph> {
    let options =
        ConnectOptions { connect_deadline: CHAIN_WITHIN, read_deadline: CHAIN_WITHIN, ..ConnectOptions::default() };
    Ok(Chain::connect(url, options).await?.metagraph(netuid).await?)
}

/// What `down` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// No testnet is recorded in the folder.
    Nothing,
    /// So many processes were ended; `killed` of them only with force.
    Ended {
        /// Processes that ran.
        processes: usize,
        /// Processes that did not end in time.
        killed: usize,
    },
}

/// Ends the testnet in `dir`: asks the process that started it, or ends its processes in order itself. Only
/// processes whose start time is the recorded one are signalled.
///
/// # Errors
/// When the state cannot be read or removed, or another process is starting a testnet there.
pub async fn down(dir: &Path) -> Result<Down> {
    let Some(state) = State::load(dir)? else { return Ok(Down::Nothing) };
    let processes = state.alive().count();
    if state.owned_by_another() {
        send(state.owner.0, Signal::SIGTERM);
        let deadline = Instant::now() + OWNER_GRACE;
        while state.owned_by_another() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
    }
    let _claim = Claim::take(dir)?;
    let mut killed = 0;
    // Between reading and claiming, the owner may have recorded more or removed the file.
    let state = State::load(dir)?.unwrap_or(state);
    for role in [Role::Router, Role::Expert, Role::Bootstrap, Role::Chain] {
        let mut ending = JoinSet::new();
        for process in state.of_role(role) {
            let (pid, identity) = (process.pid, process.identity.clone());
            ending.spawn(async move { stop_stranger(pid, &identity, GRACE).await });
        }
        while let Some(ended) = ending.join_next().await {
            killed += usize::from(ended.context("stopping a process failed")? == Stopped::Killed);
        }
    }
    State::remove(dir)?;
    Ok(Down::Ended { processes, killed })
}

/// The logs of the testnet in `dir`: all of them, or the one of process `name`, as (name, file).
///
/// # Errors
/// When there is no such log; the error names those that exist.
pub fn logs(dir: &Path, name: Option<&str>) -> Result<Vec<(String, PathBuf)>> {
    let folder = logs_dir(dir);
    let entries = std::fs::read_dir(&folder).map_err(|error| {
        anyhow!("no testnet has run in {} ({error}); start one with `glia testnet up`", dir.display())
    })?;
    let mut all: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?.to_owned();
            Some((name, path))
        })
        .collect();
    all.sort();
    let Some(name) = name else { return Ok(all) };
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    all.retain(|(other, _)| other == name);
    ensure!(!all.is_empty(), "no process is called {name:?}; there are logs of {}", names.join(", "));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_log_names_the_known_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert!(logs(dir.path(), None).unwrap_err().to_string().contains("glia testnet up"));
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        std::fs::write(dir.path().join("logs/chain.log"), "").unwrap();
        std::fs::write(dir.path().join("logs/expert-1.log"), "").unwrap();
        assert_eq!(logs(dir.path(), None).unwrap().len(), 2);
        assert_eq!(logs(dir.path(), Some("chain")).unwrap()[0].0, "chain");
        let error = logs(dir.path(), Some("../secret")).unwrap_err().to_string();
        assert!(error.contains("chain, expert-1"), "{error}");
    }
}
