//! The study behind `glia eval`: is the collective better than its members, and does it stay so among liars?
//!
//! ```text
//! options ─▶ plan ─▶ models (train, alone) ─▶ mesh ─▶ collective │ stress ─▶ runs ─▶ cache
//!                                                                              │
//!        html, markdown, terminal ◀── report.json ◀── verdict ◀── analyse, outcome
//! ```
//!
//! Every run is a real mesh of real processes. A finished run is kept in the study's folder, so that an interrupted
//! study resumes; runs of another program or of other settings are made again. The report is rendered from
//! `report.json` alone.

pub mod analyse;
pub mod answers;
pub mod cache;
mod collective;
pub mod html;
pub mod markdown;
mod mesh;
mod models;
pub mod options;
pub mod outcome;
pub mod plan;
pub mod report;
pub mod runs;
mod stress;
pub mod svg;
pub mod terminal;
#[cfg(test)]
mod tests;
mod text;
pub mod verdict;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

pub use options::{Stress, StudyOptions};
pub use report::StudyReport;

use crate::progress::Progress;
use crate::state::write_atomically;
use crate::testnet::Interrupted;
use cache::Folder;
use plan::{Clock, Run, plan};
use report::{Made, SCHEMA};
use runs::{CollectiveRun, FrozenRun, StressRun};

/// What all parts of a study share.
pub(crate) struct Study<'a> {
    options: &'a StudyOptions,
    program: &'a Path,
    progress: &'a Progress,
    stop: &'a CancellationToken,
}

/// The finished runs of a study.
#[derive(Debug, Default)]
struct Done {
    collective: Vec<CollectiveRun>,
    stress: Vec<StressRun>,
    cloned: Option<StressRun>,
    frozen: Option<FrozenRun>,
    left_out: Vec<String>,
    runs: usize,
}

/// Runs the study with `program` as the `glia` that is measured, writes `report.json` and `report.html` into the
/// study's folder and returns the report. When `stop` fires, what is done by then is written and returned.
///
/// # Errors
/// When the options are impossible, the folder cannot be written, or nothing could be measured. A run that fails is
/// named in the report instead.
pub async fn run_study(
    options: &StudyOptions,
    program: &Path,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<StudyReport> {
    options.validate()?;
    let folder = Folder::open(&options.out, program)?;
    let began = Instant::now();
    let study = Study { options, program, progress, stop };
    let runs = plan(options);
    let mut done = Done::default();
    let mut clock = Clock::new(options);
    for (index, run) in runs.iter().enumerate() {
        if stop.is_cancelled() {
            break;
        }
        progress.say(&format!("[{}/{}] {run}{}", index + 1, runs.len(), clock.left(&runs[index..])));
        let started = Instant::now();
        match study.one(run, &folder, &mut done).await {
            Ok(fresh) => {
                done.runs += 1;
                if fresh {
                    clock.took(run, started.elapsed());
                }
            }
            Err(error) if error.is::<Interrupted>() => break,
            Err(error) => {
                progress.say(&format!("{run}: {error:#}"));
                done.left_out.push(format!("{run}: {}", first_line(&format!("{error:#}"))));
            }
        }
    }
    if stop.is_cancelled() {
        done.left_out.push("the study was interrupted; the same command resumes it".to_owned());
    }
    ensure!(done.runs > 0, "nothing was measured: {}", done.left_out.join("; "));
    let step = progress.step("figures", 0);
    let made = Made {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: folder.program(),
        unix_s: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs(),
        seconds: began.elapsed().as_secs_f64(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        quick: options.quick,
        planned: runs.len(),
        done: done.runs,
        left_out: std::mem::take(&mut done.left_out),
        items: done.collective.first().map(|run| run.classes.len()).or(options.items).unwrap_or(0),
        experts: options.experts,
        concurrency: options.concurrency,
        warm_up_s: options.warm_up.as_secs_f64(),
        resamples: options.resamples,
        main_k: options.main_k(),
    };
    let (rosters, resamples) = (options.rosters.clone(), options.resamples);
    let report = tokio::task::spawn_blocking(move || assemble(made, &rosters, &done, resamples))
        .await
        .context("computing the figures failed")?;
    write(&options.out, &report)?;
    step.done(&format!("{} and report.html", options.out.join("report.json").display()));
    Ok(report)
}

/// Writes `report.json` and `report.html` into `out`.
///
/// # Errors
/// When the disk refuses.
pub fn write(out: &Path, report: &StudyReport) -> Result<()> {
    let files =
        [("report.json", serde_json::to_vec_pretty(report)?), ("report.html", html::render(report).into_bytes())];
    for (name, bytes) in files {
        let path = out.join(name);
        write_atomically(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The report of finished runs. Pure.
fn assemble(made: Made, rosters: &[String], done: &Done, resamples: usize) -> StudyReport {
    let of = &|roster: &String| {
        let runs: Vec<CollectiveRun> = done.collective.iter().filter(|run| run.roster == *roster).cloned().collect();
        analyse::roster(&runs, resamples)
    };
    let honest = done.stress.iter().find(|run| run.count == 0);
    // Without a mesh that was watched without liars, the collective part's mesh of the same experts stands for it.
    let same = done.collective.iter().find(|run| run.roster == stress::ROSTER && run.seed == stress::SEED);
    let clean = honest.map(|run| run.final_right.clone()).or_else(|| {
        let same = same?;
        let run = same.collective.iter().find(|run| run.k == made.main_k)?;
        Some(run.answers.right(&same.classes))
    });
    let stress = done.stress.iter().map(|run| {
        let clean = if run.count == 0 { None } else { clean.as_deref() };
        outcome::stress(run, clean, resamples)
    });
    // Resampling takes a while: the rosters side by side.
    let figures = std::thread::scope(|scope| {
        let threads: Vec<_> = rosters.iter().map(|roster| scope.spawn(move || of(roster))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    });
    let mut report = StudyReport {
        schema: SCHEMA,
        rosters: figures,
        stress: stress.collect(),
        clones: honest.zip(done.cloned.as_ref()).and_then(|(alone, cloned)| outcome::clones(alone, cloned)),
        frozen: done.frozen.as_ref().map(outcome::frozen),
        targets: Vec::new(),
        made,
    };
    report.targets = verdict::targets(&report);
    report
}

impl Study<'_> {
    /// Makes one run or finds it; whether it was made just now.
    async fn one(&self, run: &Run, folder: &Folder, done: &mut Done) -> Result<bool> {
        let (name, settings) = (run.name(), run.settings(self.options));
        match run {
            Run::Collective { roster, seed } => {
                let made = self.kept(folder, &name, &settings, self.collective(roster, *seed)).await?;
                done.collective.push(made.0);
                Ok(made.1)
            }
            Run::Attack(attack) => {
                let made = self.kept(folder, &name, &settings, self.attack(attack)).await?;
                done.stress.push(made.0);
                Ok(made.1)
            }
            Run::Clones => {
                let alone = done.stress.iter().find(|run| run.count == 0);
                let expert = alone.and_then(richest).context("the mesh without liars, to compare with, failed")?;
                let settings = format!("{settings} {expert}");
                let made = self.kept(folder, &name, &settings, self.cloned(&expert)).await?;
                done.cloned = Some(made.0);
                Ok(made.1)
            }
            Run::Frozen => {
                let made = self.kept(folder, &name, &settings, self.freeze()).await?;
                done.frozen = Some(made.0);
                Ok(made.1)
            }
        }
    }

    async fn kept<T: Serialize + DeserializeOwned>(
        &self,
        folder: &Folder,
        name: &str,
        settings: &str,
        make: impl Future<Output = Result<T>>,
    ) -> Result<(T, bool)> {
        if let Some(run) = folder.find(name, settings) {
            self.progress.say("  done before");
            return Ok((run, false));
        }
        let run = make.await?;
        folder.keep(name, settings, &run)?;
        Ok((run, true))
    }
}

/// The expert with the largest incentive over the last half of the epochs.
fn richest(run: &StressRun) -> Option<String> {
    let last = &run.epochs[run.epochs.len() / 2..];
    let names = last.first()?.incentive.keys();
    let earned = |name: &str| last.iter().filter_map(|seen| seen.incentive.get(name)).sum::<f64>();
    names.max_by(|a, b| earned(a).total_cmp(&earned(b))).cloned()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
