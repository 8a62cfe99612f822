//! The demonstration: train or load, start, measure, show the chain, stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use glia_experts::device::DeviceChoice;
use glia_experts::subnet::Subnet;
use glia_experts::train::{TrainOptions, Trained};
use tokio_util::sync::CancellationToken;

use crate::chain_view::{ChainView, RouterHandle, chain_view, wait_for_epoch};
use crate::client::RouterClient;
use crate::evaluate::{EvaluateOptions, Evaluation, LabelledSet, evaluate};
use crate::lab;
use crate::progress::Progress;
use crate::report::{self, Measured, Report, Settings, Times};
use crate::spec::{Lifetime, TestnetSpec, data_home, default_dir};
use crate::state::{Role, write_atomically};
use crate::testnet::{Interrupted, Testnet};

/// What to demonstrate.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Folder of the testnet; the user's data folder when `None`.
    pub dir: Option<PathBuf>,
    /// Folder of trained checkpoints, kept for the next run; the user's data folder when `None`.
    pub checkpoints: Option<PathBuf>,
    /// Also write the report here as JSON.
    pub json: Option<PathBuf>,
    /// Leave the mesh running.
    pub keep: bool,
    /// A built-in roster (`dirichlet`, `classes`, `iid`, `transforms`) or a TOML file.
    pub roster: String,
    /// Experts of a built-in roster.
    pub experts: usize,
    /// Routers.
    pub routers: usize,
    /// Seed of a built-in roster and of the bootstrap intervals.
    pub seed: u64,
    /// Experts asked per request, one evaluation each.
    pub ks: Vec<usize>,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// Test items; all when `None`.
    pub items: Option<usize>,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Blocks between two epochs.
    pub tempo: u16,
    /// Compute device: `auto`, `cpu` or `wgpu`.
    pub device: String,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// How to train.
    pub train: TrainOptions,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            dir: None,
            checkpoints: None,
            json: None,
            keep: false,
            roster: "dirichlet".to_owned(),
            experts: 8,
            routers: 2,
            seed: 7,
            ks: vec![1, 2, 4],
            concurrency: 8,
            items: None,
            block_time: Duration::from_millis(250),
            tempo: 20,
            device: "auto".to_owned(),
            resamples: 2000,
            train: TrainOptions::default(),
        }
    }
}

/// Runs the demonstration with `program` as the `glia` to spawn, prints the tables on standard output and returns the
/// report. Everything is stopped afterwards, unless `keep` is set.
///
/// # Errors
/// When a part fails or `stop` fires ([`Interrupted`]); everything is stopped then, too.
pub async fn run_demo(
    options: DemoOptions,
    program: &Path,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Report> {
    let began = Instant::now();
    ensure!(!options.ks.is_empty(), "name at least one k to evaluate");
    let subnet = lab::subnet_of(&options.roster)?;
    let roster = lab::roster_seeded(&options.roster, options.experts, options.seed, &subnet)?;
    let checkpoints = match &options.checkpoints {
        Some(folder) => folder.clone(),
        None => data_home()?.join("checkpoints"),
    };
    let trained = lab::train(&subnet, &roster, &checkpoints, &options.train, progress, stop).await?;
    let trained = Arc::new(trained);
    let mut times =
        Times { train: began.elapsed().as_secs_f64(), from_cache: from_cache(&trained), ..Times::default() };

    // The models answer alone while the processes start.
    let (set, indices) = lab::test_set(&subnet, options.items)?;
    let set = Arc::new(set);
    let device: DeviceChoice = options.device.parse()?;
    let (alone_subnet, alone_trained) = (subnet.clone(), Arc::clone(&trained));
    let alone = tokio::task::spawn_blocking(move || lab::alone(&alone_subnet, &alone_trained, &indices, device));

    let started = Instant::now();
    let testnet = Testnet::start(spec(&options, program, &trained, &subnet)?, progress, stop).await?;
    times.start = started.elapsed().as_secs_f64();

    let measured = async {
        // Done before the first request: nothing else computes while latencies are measured.
        let alone = alone.await.context("evaluating the experts alone failed")??;
        let (evaluations, chain) = measure(&testnet, &options, &set, progress, stop, &mut times).await?;
        anyhow::Ok((alone, evaluations, chain))
    };
    let measured = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Interrupted.into()),
        measured = measured => measured,
    };
    let resident_bytes = testnet.resident_bytes();
    let ((mut singles, dense), evaluations, chain) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            testnet.stop().await?;
            return Err(error);
        }
    };

    let assembled = (|| {
        for single in &mut singles {
            single.uid = chain.neurons.iter().find(|n| n.name.as_deref() == Some(&single.name)).map(|n| n.uid);
        }
        let settings = Settings {
            subnet: subnet.name().to_string(),
            roster: options.roster.clone(),
            seed: options.seed,
            routers: options.routers,
            items: set.len(),
            concurrency: options.concurrency,
            resamples: options.resamples,
        };
        times.total = began.elapsed().as_secs_f64();
        let report = report::assemble(Measured {
            settings,
            labels: &set.labels,
            classes: &set.classes,
            singles: &singles,
            dense: dense.as_ref(),
            evaluations: &evaluations,
            chain: Some(chain),
            times,
            resident_bytes,
        });
        if let Some(path) = &options.json {
            write_atomically(path, &serde_json::to_vec_pretty(&report)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        anyhow::Ok(report)
    })();
    let report = match assembled {
        Ok(report) => report,
        Err(error) => {
            testnet.stop().await?;
            return Err(error);
        }
    };
    println!("{}", report::render(&report, report::use_colour()));
    if options.keep {
        println!("{}", how_to_talk(testnet)?);
    } else {
        let step = progress.step("stopping", 0);
        testnet.stop().await?;
        step.done("all processes ended");
    }
    Ok(report)
}

fn from_cache(trained: &Trained) -> bool {
    trained.all().all(|one| one.reused)
}

fn spec(options: &DemoOptions, program: &Path, trained: &Trained, subnet: &Subnet) -> Result<TestnetSpec> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => default_dir("demo")?,
    };
    Ok(TestnetSpec {
        subnet: subnet.name().clone(),
        netuid: subnet.netuid(),
        experts: lab::expert_specs(trained),
        routers: options.routers,
        block_time: options.block_time,
        tempo: options.tempo,
        device: options.device.clone(),
        lifetime: if options.keep { Lifetime::Detached } else { Lifetime::WithParent },
        // Each demonstration begins with a chain that knows nobody.
        fresh: true,
        ..TestnetSpec::new("demo", &dir, program)?
    })
}

async fn measure(
    testnet: &Testnet,
    options: &DemoOptions,
    set: &Arc<LabelledSet>,
    progress: &Progress,
    stop: &CancellationToken,
    times: &mut Times,
) -> Result<(Vec<Evaluation>, ChainView)> {
    let routers = router_handles(testnet);
    let clients: Vec<RouterClient> = routers.iter().take(1).map(|router| router.client.clone()).collect();
    let began = Instant::now();
    let mut evaluations = Vec::with_capacity(options.ks.len());
    for &k in &options.ks {
        let step = progress.step(&format!("test set through {k} experts"), set.len() as u64);
        let ask = EvaluateOptions { concurrency: options.concurrency, ..EvaluateOptions::at(k) };
        let evaluation = evaluate(&clients, set, &ask, &|done| step.set(done as u64), stop).await?;
        let figures = evaluation.figures();
        step.done(&format!("{:.1} % right, {} failed", figures.accuracy.estimate * 100.0, figures.failed));
        evaluations.push(evaluation);
    }
    times.evaluate = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let step = progress.step("epoch on chain", 0);
    let chain = testnet.connect_chain().await?;
    let netuid = testnet.spec().netuid;
    // Two epochs after the first weights are enough; the rest is room for a slow machine.
    let within = options.block_time * u32::from(options.tempo) * 4 + Duration::from_secs(30);
    wait_for_epoch(&chain, netuid, &routers, within).await?;
    let view = chain_view(&chain, netuid, &routers, &names(testnet)).await?;
    step.done(&format!("block {}", view.epoch_block));
    times.epoch = began.elapsed().as_secs_f64();
    Ok((evaluations, view))
}

/// The routers of a testnet, for the chain's view.
#[must_use]
pub fn router_handles(testnet: &Testnet) -> Vec<RouterHandle> {
    let handle = |(record, client): (crate::state::ProcessRecord, RouterClient)| RouterHandle {
        hotkey: record.text("hotkey").unwrap_or_default().to_owned(),
        name: record.name,
        client,
    };
    testnet.routers().into_iter().map(handle).collect()
}

/// Names of a testnet's experts and routers by hotkey.
#[must_use]
pub fn names(testnet: &Testnet) -> BTreeMap<String, String> {
    let state = testnet.state();
    let processes = state.processes.iter().filter(|process| matches!(process.role, Role::Expert | Role::Router));
    processes.filter_map(|process| Some((process.text("hotkey")?.to_owned(), process.name.clone()))).collect()
}

fn how_to_talk(testnet: Testnet) -> Result<String> {
    let dir = testnet.spec().dir.clone();
    let chain = testnet.chain_url().to_owned();
    let bootstrap = testnet.bootstrap().to_owned();
    let router = testnet.routers().first().map_or_else(String::new, |(_, client)| client.url().to_owned());
    let (network, subnet) = (testnet.spec().network.clone(), testnet.spec().subnet.clone());
    testnet.leave_running()?;
    let place = place(&dir);
    let dir = dir.display();
    Ok(format!(
        "The mesh keeps running in {dir}.\n\n  \
         glia infer --router {router} --digits-index 3\n  \
         glia chain metagraph --chain {chain} --netuid 1\n  \
         glia testnet status{place}\n  \
         glia testnet logs router-1{place}\n  \
         glia join --subnet {subnet} --checkpoint FILE --bootstrap {bootstrap} --chain {chain} --network {network}\n  \
         glia testnet down{place}\n"
    ))
}

/// The flags by which `glia testnet` finds the testnet in HOME/testnets/NAME.
fn place(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    match dir.parent().and_then(Path::parent) {
        Some(home) if data_home().is_ok_and(|usual| usual != home) => {
            format!(" --name {name} --data-dir {}", home.display())
        }
        _ => format!(" --name {name}"),
    }
}
