//! A live testnet: started in order, complete when every router has probed every expert, ended as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use glia_chain_client::{Chain, ConnectOptions};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::RouterClient;
use crate::commands::{self, Meeting};
use crate::process::{Launch, Process, Stopped};
use crate::progress::{Progress, Step};
use crate::spec::{Lifetime, TestnetSpec};
use crate::state::{Claim, ProcessRecord, Role, State, control_address};

/// Time a process has to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(8);
/// How often routers are asked what they found.
const ASK_EVERY: Duration = Duration::from_millis(150);
/// Time orphans of a killed parent have to end by themselves.
const ORPHANS: Duration = Duration::from_secs(10);

/// The stop signal came while something was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted; everything that was started has been stopped")]
pub struct Interrupted;

/// A running testnet. Dropping it kills every process, unless it was left running.
#[derive(Debug)]
pub struct Testnet {
    spec: TestnetSpec,
    meeting: Meeting,
    processes: BTreeMap<String, Process>,
    record: Arc<Mutex<Record>>,
    _claim: Claim,
}

impl Testnet {
    /// Starts chain, bootstrap peer, experts and routers, and waits until every expert is registered on chain, found
    /// in the DHT and probed by every router.
    ///
    /// # Errors
    /// When the spec cannot run, a testnet already runs in its folder, a process does not come up (with the last lines
    /// of its log), or `stop` fires ([`Interrupted`]). Everything started is stopped by then.
    pub async fn start(spec: TestnetSpec, progress: &Progress, stop: &CancellationToken) -> Result<Self> {
        let mut testnet = Self::begin(spec, progress, stop).await?;
        let complete = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Interrupted.into()),
            complete = testnet.wait_complete(progress) => complete,
        };
        match complete {
            Ok(()) => {
                change(&testnet.record, |state| state.complete = true)?;
                Ok(testnet)
            }
            Err(error) => {
                testnet.stop().await?;
                Err(error)
            }
        }
    }

    /// As [`Testnet::start`], but returns as soon as every process is ready; [`Testnet::wait_complete`] does the rest.
    ///
    /// # Errors
    /// As [`Testnet::start`].
    pub async fn begin(spec: TestnetSpec, progress: &Progress, stop: &CancellationToken) -> Result<Self> {
        spec.validate()?;
        let claim = Claim::take(&spec.dir)?;
        refuse_live(&spec.dir).await?;
        prepare_folders(&spec)?;
        let detached = spec.lifetime == Lifetime::Detached;
        let state = State::new(spec.name.clone(), spec.network.clone(), spec.subnet.clone(), spec.netuid, detached);
        state.save(&spec.dir)?;
        let record = Record { state, dir: spec.dir.clone(), closed: false };
        let mut testnet = Self {
            meeting: Meeting { chain: String::new(), bootstrap: String::new() },
            processes: BTreeMap::new(),
            record: Arc::new(Mutex::new(record)),
            _claim: claim,
            spec,
        };
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Interrupted.into()),
            started = testnet.start_processes(progress) => started,
        };
        match started {
            Ok(()) => Ok(testnet),
            Err(error) => {
                testnet.stop().await?;
                Err(error)
            }
        }
    }

    async fn start_processes(&mut self, progress: &Progress) -> Result<()> {
        let total = 2 + self.spec.experts.len() + self.spec.routers;
        let step = progress.step("starting processes", total as u64);
        let chain = self.start_one(Role::Chain, commands::chain(&self.spec), &step).await?;
        self.meeting.chain = text(&chain, "chain", "rpc")?;
        let bootstrap = self.start_one(Role::Bootstrap, commands::bootstrap(&self.spec), &step).await?;
        self.meeting.bootstrap =
            control_address(&bootstrap).context("the bootstrap peer named no address in its ready file")?.to_owned();

        let experts = self.spec.experts.iter().map(|one| commands::expert(&self.spec, one, &self.meeting));
        let mut waiting: Vec<(Role, Launch)> = experts.map(|launch| (Role::Expert, launch)).collect();
        let routers = self.spec.router_names();
        let routers = routers.iter().map(|name| commands::router(&self.spec, name, &self.meeting));
        waiting.extend(routers.map(|launch| (Role::Router, launch)));
        // Popped from the end, started in the order of the spec.
        waiting.reverse();
        let mut starting = JoinSet::new();
        loop {
            while starting.len() < self.spec.parallel
                && let Some((role, launch)) = waiting.pop()
            {
                let (within, record) = (self.spec.ready_within, Arc::clone(&self.record));
                starting.spawn(async move { start(role, launch, within, &record).await });
            }
            let Some(done) = starting.join_next().await else { return Ok(()) };
            let (process, _) = done.context("starting a process failed")??;
            step.message(process.name());
            self.processes.insert(process.name().to_owned(), process);
            step.set(self.processes.len() as u64);
            if self.processes.len() == total {
                step.done(&format!("{total} ready"));
                return Ok(());
            }
        }
    }

    async fn start_one(&mut self, role: Role, launch: Launch, step: &Step) -> Result<Value> {
        step.message(&launch.name);
        let (process, ready) = start(role, launch, self.spec.ready_within, &self.record).await?;
        self.processes.insert(process.name().to_owned(), process);
        step.set(self.processes.len() as u64);
        Ok(ready)
    }

    /// Waits until every expert is registered on chain, found in the DHT and probed by every router.
    ///
    /// # Errors
    /// When that takes longer than the spec allows (naming what is missing), or a process ends meanwhile.
    pub async fn wait_complete(&mut self, progress: &Progress) -> Result<()> {
        let experts = self.experts();
        let routers = self.routers();
        let total = experts.len() * (1 + routers.len());
        let step = progress.step("registered, found, probed", total as u64);
        let deadline = Instant::now() + self.spec.probed_within;
        let registered = timeout(self.spec.probed_within, self.wait_registered(&experts)).await;
        registered.context("the chain did not show every expert in time")??;
        loop {
            let mut done = experts.len();
            let mut missing = Vec::new();
            for (router, client) in &routers {
                let page = client.experts().await.with_context(|| format!("asking {} for its experts", router.name))?;
                for expert in &experts {
                    let peer = expert.text("peer_id").unwrap_or_default();
                    match page.experts.iter().find(|entry| entry.peer_id == peer) {
                        Some(entry) if entry.is_probed(page.probe_goal) && entry.uid.is_some() => done += 1,
                        Some(entry) => missing.push(format!(
                            "{} at {} ({}, {} probes, uid {})",
                            expert.name,
                            router.name,
                            entry.state,
                            entry.probes,
                            entry.uid.map_or_else(|| "unknown".to_owned(), |uid| uid.to_string())
                        )),
                        None => missing.push(format!("{} at {} (not found)", expert.name, router.name)),
                    }
                }
            }
            step.set(done as u64);
            if missing.is_empty() {
                step.done(&format!("{} experts by {} routers", experts.len(), routers.len()));
                return Ok(());
            }
            step.message(&missing[0]);
            self.refuse_dead()?;
            ensure!(
                Instant::now() < deadline,
                "after {} s these experts are not ready: {}; the logs are in {}",
                self.spec.probed_within.as_secs(),
                missing.join(", "),
                commands::logs_dir(&self.spec.dir).display()
            );
            sleep(ASK_EVERY).await;
        }
    }

    async fn wait_registered(&self, experts: &[ProcessRecord]) -> Result<()> {
        let chain = self.connect_chain().await?;
        loop {
            let metagraph = chain.metagraph(self.spec.netuid).await?;
            let on_chain: Vec<String> = metagraph.neurons.iter().map(|neuron| neuron.hotkey.to_string()).collect();
            let known = |expert: &&ProcessRecord| {
                expert.text("hotkey").is_some_and(|hotkey| on_chain.iter().any(|other| other == hotkey))
            };
            if experts.iter().filter(known).count() == experts.len() {
                return Ok(());
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// A connection to its chain.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn connect_chain(&self) -> Result<Chain> {
        Chain::connect(&self.meeting.chain, ConnectOptions::default())
            .await
            .with_context(|| format!("connecting to the testnet's chain at {}", self.meeting.chain))
    }

    /// Fails when a process has ended that nobody asked to end.
    fn refuse_dead(&mut self) -> Result<()> {
        for (name, process) in &mut self.processes {
            if let Some(status) = process.exited() {
                let log = process.launch().log_file.clone();
                let tail = crate::process::tail(&log, 12, 8192).unwrap_or_default().join("\n  ");
                bail!("{name} ended unexpectedly ({status}); the end of {}:\n  {tail}", log.display());
            }
        }
        Ok(())
    }

    /// What it was started from.
    #[must_use]
    pub const fn spec(&self) -> &TestnetSpec {
        &self.spec
    }

    /// The chain's address.
    #[must_use]
    pub fn chain_url(&self) -> &str {
        &self.meeting.chain
    }

    /// A multiaddr of the bootstrap peer.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.meeting.bootstrap
    }

    /// What is recorded of it.
    #[must_use]
    pub fn state(&self) -> State {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    /// Its experts, in the order of the spec.
    #[must_use]
    pub fn experts(&self) -> Vec<ProcessRecord> {
        let state = self.state();
        let names = self.spec.experts.iter().map(|expert| expert.name.as_str());
        names.filter_map(|name| state.process(name).cloned()).collect()
    }

    /// Its routers in order, each with a client.
    #[must_use]
    pub fn routers(&self) -> Vec<(ProcessRecord, RouterClient)> {
        let state = self.state();
        let names = self.spec.router_names();
        let records = names.iter().filter_map(|name| state.process(name).cloned());
        records
            .filter_map(|record| {
                let client = RouterClient::new(record.text("http")?).ok()?;
                Some((record, client))
            })
            .collect()
    }

    /// Bytes of memory all its processes hold now; `None` where that cannot be told.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        self.processes.values().map(|process| crate::identity::resident_bytes(process.pid())).sum()
    }

    /// Kills one process as a crash would (SIGKILL), for tests and drills.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        let mut process = self.processes.remove(name).ok_or_else(|| self.unknown(name))?;
        process.kill().await;
        Ok(())
    }

    /// Starts an expert or router again, with its old keys and data, and waits until it is ready.
    ///
    /// # Errors
    /// When it never was part of the testnet or does not come up.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        let role = self.state().process(name).map(|record| record.role).ok_or_else(|| self.unknown(name))?;
        ensure!(
            matches!(role, Role::Expert | Role::Router),
            "{name} cannot be restarted alone: the others know it by its address; stop the testnet and start it again"
        );
        let launch = match self.processes.remove(name) {
            Some(mut process) => {
                process.stop(GRACE).await;
                process.launch().clone()
            }
            None => self.launch_of(name)?,
        };
        let (process, _) = start(role, launch, self.spec.ready_within, &self.record).await?;
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    fn launch_of(&self, name: &str) -> Result<Launch> {
        if let Some(expert) = self.spec.experts.iter().find(|expert| expert.name == name) {
            return Ok(commands::expert(&self.spec, expert, &self.meeting));
        }
        ensure!(self.spec.router_names().iter().any(|router| router == name), self.unknown(name));
        Ok(commands::router(&self.spec, name, &self.meeting))
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        let state = self.state();
        let names: Vec<&str> = state.processes.iter().map(|process| process.name.as_str()).collect();
        anyhow!("no process is called {name:?}; there are {}", names.join(", "))
    }

    /// Waits until a process ends that should run; returns its name. For `testnet up` in the foreground.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn watch(&mut self) -> String {
        loop {
            for (name, process) in &mut self.processes {
                if process.exited().is_some() {
                    return name.clone();
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Stops everything in order: routers, experts, bootstrap peer, chain. Whoever does not end in time is killed.
    ///
    /// # Errors
    /// When the state file cannot be removed. The processes are gone then, too.
    pub async fn stop(mut self) -> Result<()> {
        let roles: BTreeMap<String, Role> =
            self.state().processes.into_iter().map(|record| (record.name, record.role)).collect();
        for role in [Role::Router, Role::Expert, Role::Bootstrap, Role::Chain] {
            let names: Vec<String> =
                self.processes.keys().filter(|name| roles.get(*name) == Some(&role)).cloned().collect();
            let mut ending = JoinSet::new();
            for mut process in names.iter().filter_map(|name| self.processes.remove(name)) {
                ending.spawn(async move {
                    let stopped = process.stop(GRACE).await;
                    (process.name().to_owned(), stopped)
                });
            }
            while let Some(ended) = ending.join_next().await {
                match ended {
                    Ok((name, Stopped::Killed)) => tracing::warn!(%name, "did not end in time and was killed"),
                    Ok((name, stopped)) => tracing::debug!(%name, ?stopped, "ended"),
                    Err(error) => tracing::warn!(%error, "stopping a process failed"),
                }
            }
        }
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.closed = true;
        State::remove(&self.spec.dir)
    }

    /// Leaves a detached testnet running; `glia testnet status` and `down` take it from here.
    ///
    /// # Errors
    /// When its processes are tied to this one.
    pub fn leave_running(mut self) -> Result<State> {
        ensure!(
            self.spec.lifetime == Lifetime::Detached,
            "the processes of this testnet end with the process that started them"
        );
        for process in self.processes.values_mut() {
            process.leave_running();
        }
        Ok(self.state())
    }
}

/// The state and its file, changed together.
#[derive(Debug)]
struct Record {
    state: State,
    dir: PathBuf,
    /// The testnet has been stopped: a start that was under way must not bring the file back.
    closed: bool,
}

fn change(record: &Mutex<Record>, change: impl FnOnce(&mut State)) -> Result<()> {
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(!record.closed, "the testnet has been stopped");
    change(&mut record.state);
    record.state.save(&record.dir)
}

/// Starts one process, records it at once (so that a crash of ours leaves no unknown process), waits until it is ready.
async fn start(role: Role, launch: Launch, within: Duration, record: &Mutex<Record>) -> Result<(Process, Value)> {
    let mut process = Process::spawn(launch)?;
    let name = process.name().to_owned();
    let new = ProcessRecord {
        name: name.clone(),
        role,
        pid: process.pid(),
        identity: process.identity().to_owned(),
        log: process.launch().log_file.clone(),
        ready: Value::Null,
    };
    change(record, |state| {
        state.processes.retain(|other| other.name != name);
        state.processes.push(new);
    })?;
    let ready = process.ready(within).await?;
    change(record, |state| {
        if let Some(known) = state.processes.iter_mut().find(|other| other.name == name) {
            known.ready = ready.clone();
        }
    })?;
    Ok((process, ready))
}

fn text(ready: &Value, who: &str, key: &str) -> Result<String> {
    let text = ready.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("the {who} did not name its {key:?} in its ready file"))?.to_owned())
}

/// Refuses a folder in which a testnet runs; forgets one whose processes are all gone.
async fn refuse_live(dir: &Path) -> Result<()> {
    let Some(state) = State::load(dir)? else { return Ok(()) };
    // The processes of a parent that was killed end by themselves; give them the time.
    let deadline = Instant::now() + ORPHANS;
    while !state.detached && !state.owned_by_another() && state.alive().next().is_some() && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
    }
    let alive = state.alive().count();
    ensure!(
        alive == 0,
        "testnet {:?} already runs in {} ({alive} processes); look at it with `glia testnet status` or end it with \
         `glia testnet down`, with the same --name and --data-dir",
        state.name,
        dir.display()
    );
    State::remove(dir)
}

fn prepare_folders(spec: &TestnetSpec) -> Result<()> {
    let (nodes, logs, run) =
        (commands::nodes_dir(&spec.dir), commands::logs_dir(&spec.dir), commands::run_dir(&spec.dir));
    // Logs and ready files are always of the present run; keys and chain only when a fresh start is wanted.
    let old = [Some(&logs), Some(&run), spec.fresh.then_some(&nodes)];
    for dir in old.into_iter().flatten().filter(|dir| dir.exists()) {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    for dir in [&nodes, &logs, &run] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    Ok(())
}
