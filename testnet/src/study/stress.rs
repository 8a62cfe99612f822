//! Meshes under attack: liars beside honest experts, clones, frozen experts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use glia_chain_client::Metagraph;
use nix::sys::signal::Signal;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Study;
use super::mesh::{Mesh, Setup};
use super::models::Models;
use super::options::Attack;
use super::runs::{EpochSeen, FrozenRun, StressRun};
use crate::adversary::{Behaviour, disguise};
use crate::client::InferOptions;
use crate::demo::names;
use crate::evaluate::{Outcome, one};
use crate::identity::send;
use crate::spec::ExpertSpec;
use crate::testnet::Interrupted;

/// Roster and seed of all stress meshes.
pub(super) const ROSTER: &str = "dirichlet";
pub(super) const SEED: u64 = 1;
/// Requests under way at the same time, at most.
const AT_ONCE: usize = 64;
/// How often the chain is asked for a new epoch.
const ASK_EVERY: Duration = Duration::from_millis(150);
/// Time of the mesh before experts are frozen, and while they are.
const BEFORE: Duration = Duration::from_secs(10);
const WHILE: Duration = Duration::from_secs(12);
/// Experts of the mesh in which some freeze, and one in how many does.
const FREEZING: (usize, usize) = (10, 5);

/// What was answered since the last epoch.
#[derive(Debug, Default)]
struct Window {
    items: usize,
    right: usize,
    failed: usize,
    weight: BTreeMap<String, f64>,
}

impl Study<'_> {
    /// One mesh with liars (or none), over the epochs.
    pub(super) async fn attack(&self, attack: &Attack) -> Result<StressRun> {
        let models = self.models(ROSTER, self.options.experts, SEED, false).await?;
        let mut experts = models.specs();
        let honest: Vec<String> = experts.iter().map(|expert| expert.name.clone()).collect();
        experts.extend(self.liars(attack, &models).await?);
        self.watched(attack, models, experts, honest, None).await
    }

    /// One mesh in which the owner of `original` runs three more of it.
    pub(super) async fn cloned(&self, original: &str) -> Result<StressRun> {
        const CLONES: usize = 3;
        let models = self.models(ROSTER, self.options.experts, SEED, false).await?;
        let mut experts = models.specs();
        let honest: Vec<String> = experts.iter().map(|expert| expert.name.clone()).collect();
        let of = experts.iter().find(|expert| expert.name == original).cloned();
        let of = of.with_context(|| format!("there is no expert {original}"))?;
        experts.extend((1..=CLONES).map(|n| ExpertSpec { name: format!("clone-{n}-{original}"), ..of.clone() }));
        let attack = Attack { kind: "clones".to_owned(), count: CLONES };
        self.watched(&attack, models, experts, honest, Some(original.to_owned())).await
    }

    async fn liars(&self, attack: &Attack, models: &Models) -> Result<Vec<ExpertSpec>> {
        if attack.count == 0 {
            return Ok(Vec::new());
        }
        let behaviour: Behaviour = match attack.kind.as_str() {
            "sleeper" => format!("sleeper:{}", self.options.awake_after.as_secs()).parse()?,
            kind => kind.parse()?,
        };
        let checkpoints = match attack.kind.as_str() {
            "copy" => self.copies(attack.count, models)?,
            _ => self.liar_checkpoints(attack.count, SEED).await?,
        };
        let spec = |(index, checkpoint): (usize, PathBuf)| ExpertSpec {
            name: format!("liar-{index}"),
            checkpoint,
            behave: Some(behaviour),
        };
        Ok(checkpoints.into_iter().enumerate().map(spec).collect())
    }

    /// Copies of the expert with most training images, each disguised anew.
    fn copies(&self, count: usize, models: &Models) -> Result<Vec<PathBuf>> {
        let best = models.trained.experts.iter().max_by_key(|expert| expert.checkpoint.meta.examples);
        let best = best.context("the roster has no expert")?;
        let copy = |index: usize| {
            let path = self.options.checkpoints.join(format!("liar-{index}-copy.safetensors"));
            disguise(&best.path, &path, &format!("liar-{index}"), 900 + index as u64, &models.subnet)?;
            Ok(path)
        };
        (0..count).map(copy).collect()
    }

    async fn watched(
        &self,
        attack: &Attack,
        models: Models,
        experts: Vec<ExpertSpec>,
        honest: Vec<String>,
        cloned: Option<String>,
    ) -> Result<StressRun> {
        let k = self.options.main_k();
        let tempo = self.options.tempo;
        let count = honest.len();
        // Who is compared with clones needs averages over more epochs.
        let epochs = if attack.count == 0 || cloned.is_some() { 2 } else { 1 } * self.options.epochs;
        let setup =
            Setup { experts, honest, subnet: models.subnet.clone(), seed: SEED, tempo, warm_up: Duration::ZERO };
        let mesh = self.mesh(setup).await?;
        // A sleeper is watched from the moment it wakes.
        let wait = if attack.kind == "sleeper" { self.until_awake() } else { Duration::ZERO };
        let seen = async {
            let epochs = self.epochs(&mesh, k, wait, epochs).await?;
            let last = self.ask(&mesh, k).await?;
            anyhow::Ok((epochs, last))
        };
        let seen = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Interrupted.into()),
            seen = seen => seen,
        };
        mesh.testnet.stop().await?;
        let (epochs, last) = seen?;
        Ok(StressRun {
            kind: attack.kind.clone(),
            count: attack.count,
            honest: count,
            k,
            epochs,
            final_right: last.right(),
            final_failed: last.figures().failed,
            cloned,
        })
    }

    /// Time until the first sleeper wakes: it counts from about when it was ready.
    fn until_awake(&self) -> Duration {
        let ready = crate::commands::run_dir(&self.options.mesh).join("liar-0.ready");
        let age = std::fs::metadata(ready).and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
        self.options.awake_after.saturating_sub(age.unwrap_or_default())
    }

    /// Traffic at a steady rate; what the chain says at each epoch.
    async fn epochs(&self, mesh: &Mesh, k: usize, wait: Duration, epochs: u64) -> Result<Vec<EpochSeen>> {
        let step = self.progress.step("epochs", epochs);
        let window = Arc::new(Mutex::new(Window::default()));
        let over = CancellationToken::new();
        let count = |item: usize, outcome: Outcome| {
            let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
            window.items += 1;
            match outcome {
                Outcome::Answered { predicted, experts, detail, .. } => {
                    window.right += usize::from(mesh.set.classes.get(item) == Some(&predicted));
                    for (name, share) in experts.into_iter().zip(detail.weights) {
                        *window.weight.entry(name).or_insert(0.0) += share;
                    }
                }
                Outcome::Failed(_) => window.failed += 1,
            }
        };
        let traffic = self.traffic(mesh, k, &over, |_, item, outcome| count(item, outcome));
        let watch = async {
            let seen = self.watch(mesh, wait, epochs, &window, &step).await;
            over.cancel();
            seen
        };
        let (sent, seen) = tokio::join!(traffic, watch);
        sent?;
        let seen = seen?;
        if let Some(last) = seen.last() {
            step.done(&format!("{} of {} right in the last", last.right, last.items));
        }
        Ok(seen)
    }

    async fn watch(
        &self,
        mesh: &Mesh,
        wait: Duration,
        epochs: u64,
        window: &Mutex<Window>,
        step: &crate::progress::Step,
    ) -> Result<Vec<EpochSeen>> {
        let chain = mesh.testnet.connect_chain().await?;
        let (netuid, names) = (mesh.testnet.spec().netuid, names(&mesh.testnet));
        let epoch = self.options.block_time * u32::from(self.options.tempo);
        let begin = Instant::now();
        // Twice as long as it should take, and some epochs until the first weights are set.
        let deadline = begin + wait + epoch * (2 * epochs as u32 + 6) + Duration::from_secs(30);
        let (mut seen, mut last) = (Vec::new(), None);
        loop {
            let metagraph = chain.metagraph(netuid).await?;
            let first = last.is_none();
            if last != Some(metagraph.last_epoch_block) {
                last = Some(metagraph.last_epoch_block);
                let paid = metagraph.neurons.iter().any(|neuron| neuron.incentive > 0);
                let counts = paid && !first && begin.elapsed() >= wait;
                let so_far = std::mem::take(&mut *window.lock().unwrap_or_else(PoisonError::into_inner));
                if counts {
                    seen.push(look(seen.len() as u64 + 1, &metagraph, &names, so_far));
                    step.set(seen.len() as u64);
                }
            }
            if seen.len() as u64 >= epochs {
                return Ok(seen);
            }
            ensure!(
                Instant::now() < deadline,
                "only {} of {} epochs paid anybody in time; the logs are in {}",
                seen.len(),
                epochs,
                crate::commands::logs_dir(&self.options.mesh).display()
            );
            sleep(ASK_EVERY).await;
        }
    }

    /// Sends the items, mixed, at the steady rate of the options until `over`, and tells `count` when each was sent,
    /// which item it was and what became of it. Those under way at the end are waited for.
    async fn traffic(
        &self,
        mesh: &Mesh,
        k: usize,
        over: &CancellationToken,
        mut count: impl FnMut(Instant, usize, Outcome),
    ) -> Result<()> {
        let mut tick = interval(Duration::from_secs_f64(1.0 / self.options.rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let ask = InferOptions { k: Some(k), deadline: Duration::from_secs(2), explain: true };
        let mut running = JoinSet::new();
        // Mixed, so that every epoch sees items of every class.
        let mut order: Vec<usize> = (0..mesh.set.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
        let mut next = 0;
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => break,
                ended = running.join_next(), if !running.is_empty() => {
                    if let Some(ended) = ended {
                        let (sent, item, outcome) = ended.context("a request task failed")?;
                        count(sent, item, outcome);
                    }
                }
                _ = tick.tick(), if running.len() < AT_ONCE => {
                    let item = order[next % order.len()];
                    next += 1;
                    let (client, set, ask) = (mesh.client.clone(), Arc::clone(&mesh.set), ask.clone());
                    let tensor = set.tensor(item)?;
                    let sent = Instant::now();
                    running.spawn(async move { (sent, item, one(&client, &set, item, &tensor, &ask).await) });
                }
            }
        }
        while let Some(ended) = running.join_next().await {
            let (sent, item, outcome) = ended.context("a request task failed")?;
            count(sent, item, outcome);
        }
        Ok(())
    }

    /// A mesh in which a fifth of the experts, those asked most, stop without a word in the middle of the traffic.
    pub(super) async fn freeze(&self) -> Result<FrozenRun> {
        let (size, one_in) = FREEZING;
        let models = self.models(ROSTER, size, SEED, false).await?;
        let experts = models.specs();
        let honest: Vec<String> = experts.iter().map(|expert| expert.name.clone()).collect();
        let k = self.options.main_k();
        let setup = Setup {
            experts,
            honest,
            subnet: models.subnet.clone(),
            seed: SEED,
            tempo: self.options.tempo,
            warm_up: self.options.warm_up,
        };
        let mesh = self.mesh(setup).await?;
        let outcome = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Interrupted.into()),
            outcome = self.frozen_traffic(&mesh, k, size / one_in) => outcome,
        };
        // A frozen process cannot hear that it shall end.
        for record in mesh.testnet.experts() {
            send(record.pid, Signal::SIGCONT);
        }
        mesh.testnet.stop().await?;
        outcome
    }

    async fn frozen_traffic(&self, mesh: &Mesh, k: usize, count: usize) -> Result<FrozenRun> {
        let step = self.progress.step("freezing experts", 0);
        let over = CancellationToken::new();
        let mut all: Vec<(Instant, usize, Outcome)> = Vec::new();
        let traffic = self.traffic(mesh, k, &over, |sent, item, outcome| all.push((sent, item, outcome)));
        let drill = async {
            let frozen = async {
                sleep(BEFORE).await;
                let page = mesh.client.experts().await?;
                let mut busy: Vec<(u64, String)> =
                    page.experts.iter().map(|entry| (entry.requests, entry.name.clone())).collect();
                busy.sort_unstable_by(|a, b| b.cmp(a));
                let names: Vec<String> = busy.into_iter().take(count).map(|(_, name)| name).collect();
                for record in mesh.testnet.experts().iter().filter(|record| names.contains(&record.name)) {
                    ensure!(send(record.pid, Signal::SIGSTOP), "{} could not be frozen", record.name);
                }
                let at = Instant::now();
                step.message(&names.join(", "));
                sleep(WHILE).await;
                anyhow::Ok((at, names))
            }
            .await;
            over.cancel();
            frozen
        };
        let (sent, frozen) = tokio::join!(traffic, drill);
        sent?;
        let (at, frozen) = frozen?;
        let mut failures = BTreeMap::new();
        let since = |sent: Instant| match sent.checked_duration_since(at) {
            Some(after) => after.as_secs_f64(),
            None => -at.duration_since(sent).as_secs_f64(),
        };
        let mut requests: Vec<(f64, f64, bool)> = Vec::with_capacity(all.len());
        for (sent, _, outcome) in all {
            match outcome {
                Outcome::Answered { latency, .. } => requests.push((since(sent), latency.as_secs_f64() * 1e3, true)),
                Outcome::Failed(why) => {
                    *failures.entry(why).or_insert(0) += 1;
                    requests.push((since(sent), 0.0, false));
                }
            }
        }
        requests.sort_by(|a, b| a.0.total_cmp(&b.0));
        step.done(&format!("{} requests, {} failed", requests.len(), failures.values().sum::<usize>()));
        Ok(FrozenRun { experts: mesh.testnet.spec().experts.len(), frozen, k, requests, failures })
    }
}

/// What the chain says at an epoch, and what was answered until then.
fn look(epoch: u64, metagraph: &Metagraph, names: &BTreeMap<String, String>, window: Window) -> EpochSeen {
    let name = |uid: u16| {
        let neuron = metagraph.neurons.get(usize::from(uid))?;
        names.get(&neuron.hotkey.to_string()).filter(|name| !name.starts_with("router-")).cloned()
    };
    let mut incentive: BTreeMap<String, f64> =
        metagraph.neurons.iter().filter_map(|neuron| Some((name(neuron.uid)?, f64::from(neuron.incentive)))).collect();
    let mut weight: BTreeMap<String, f64> = incentive.keys().map(|name| (name.clone(), 0.0)).collect();
    for (uid, value) in metagraph.neurons.iter().flat_map(|neuron| &neuron.weights) {
        if let Some(sum) = name(*uid).and_then(|name| weight.get_mut(&name)) {
            *sum += f64::from(*value);
        }
    }
    let Window { items, right, failed, weight: mut share } = window;
    for shares in [&mut incentive, &mut weight, &mut share] {
        let total: f64 = shares.values().sum();
        shares.values_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
    }
    EpochSeen { epoch, block: metagraph.last_epoch_block, items, right, failed, incentive, weight, share }
}
