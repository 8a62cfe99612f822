//! Experts from `glia-experts`: trains or loads a roster, answers the test set with each model alone, no mesh between.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use glia_experts::checkpoint::{CheckpointMeta, LoadedCheckpoint};
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate::probabilities;
use glia_experts::roster::{self, Roster, USUAL_SEED};
use glia_experts::subnet::{Subnet, VISION};
use glia_experts::train::{Progress as Event, TrainError, TrainOptions, Trained, train_roster};
use glia_protocol::tensor::TensorHeader;
use tokio_util::sync::CancellationToken;

use crate::evaluate::LabelledSet;
use crate::progress::Progress;
use crate::report::{Dense, Single};
use crate::spec::ExpertSpec;
use crate::testnet::Interrupted;

/// The subnet that the built-in roster `choice` is for, or that the roster file `choice` names.
///
/// # Errors
/// When a file names no subnet this build knows.
pub fn subnet_of(choice: &str) -> Result<Subnet> {
    if !Path::new(choice).is_file() {
        return Ok(Subnet::by_name(roster::subnet_of(choice).unwrap_or(VISION))?);
    }
    let named = Roster::subnet_in(&read(choice)?).with_context(|| format!("roster {choice}"))?;
    Subnet::by_name(&named).with_context(|| format!("roster {choice}"))
}

fn read(roster: &str) -> Result<String> {
    std::fs::read_to_string(roster).with_context(|| format!("cannot read {roster}"))
}

/// A built-in roster (`classes`, `dirichlet`, `iid`, `transforms`) of `experts` experts with the usual seed, or the one
/// in a TOML file.
///
/// # Errors
/// When there is neither, the file says something impossible, or the roster is for another subnet.
pub fn roster(choice: &str, experts: usize, subnet: &Subnet) -> Result<Roster> {
    roster_seeded(choice, experts, USUAL_SEED, subnet)
}

/// The same with a seed for a built-in roster: how data is divided and where training starts.
///
/// # Errors
/// As [`roster`](fn@roster).
pub fn roster_seeded(choice: &str, experts: usize, seed: u64, subnet: &Subnet) -> Result<Roster> {
    if !Path::new(choice).is_file() {
        let roster = Roster::builtin_seeded(choice, experts, seed)
            .with_context(|| format!("{choice:?} is neither a roster file nor a built-in roster"))?;
        roster.validate(subnet).with_context(|| format!("roster {choice}"))?;
        return Ok(roster);
    }
    Roster::from_toml(&read(choice)?, subnet).with_context(|| format!("roster {choice}"))
}

/// Trains `roster` into `folder`, or loads what is already there, with one progress step for all of it.
///
/// # Errors
/// When training fails or `stop` fires.
pub async fn train(
    subnet: &Subnet,
    roster: &Roster,
    folder: &Path,
    options: &TrainOptions,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Trained> {
    let step = Arc::new(progress.step("training experts", 1));
    let report = Arc::clone(&step);
    let (subnet, roster, folder) = (subnet.clone(), roster.clone(), folder.to_owned());
    let (options, stop) = (options.clone(), stop.clone());
    let started = Instant::now();
    let trained = tokio::task::spawn_blocking(move || {
        let (planned, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let watch = |event: Event| match event {
            Event::Started { name, steps, .. } => {
                report.total(planned.fetch_add(steps as u64, Ordering::Relaxed) + steps as u64);
                report.message(&name);
            }
            Event::Step { loss, .. } => {
                report.set(done.fetch_add(1, Ordering::Relaxed) + 1);
                report.message(&format!("loss {loss:.3}"));
            }
            Event::Reused { .. } | Event::Finished { .. } => {}
        };
        train_roster(&subnet, &roster, &folder, &options, &watch, &stop)
    })
    .await
    .context("training failed")?;
    let trained = match trained {
        Err(TrainError::Stopped) => return Err(Interrupted.into()),
        other => other?,
    };
    let all = trained.all();
    let (reused, total) = (all.clone().filter(|one| one.reused).count(), all.count());
    if let Ok(step) = Arc::try_unwrap(step) {
        let took = started.elapsed().as_secs_f64();
        step.done(&match total - reused {
            0 => format!("{total} checkpoints from cache"),
            new => format!("{new} models in {took:.1} s, {reused} from cache"),
        });
    }
    Ok(trained)
}

/// What a testnet needs to start the trained experts.
#[must_use]
pub fn expert_specs(trained: &Trained) -> Vec<ExpertSpec> {
    trained.experts.iter().map(|expert| ExpertSpec::honest(&expert.name, &expert.path)).collect()
}

/// The first `limit` items of the subnet's test split, spread evenly over it; all when `None`.
///
/// # Errors
/// Never for the subnets this build knows.
pub fn test_set(subnet: &Subnet, limit: Option<usize>) -> Result<(LabelledSet, Vec<usize>)> {
    let split = subnet.test();
    let wanted = limit.unwrap_or(split.len()).clamp(1, split.len().max(1));
    let indices: Vec<usize> = (0..wanted).map(|i| i * split.len() / wanted).collect();
    let input = &subnet.schema().input;
    let mut shape = vec![1];
    shape.extend(&input.shape);
    let mut inputs = Vec::with_capacity(wanted);
    for &index in &indices {
        inputs.push(split.image(index).with_context(|| format!("test image {index}"))?.to_vec());
    }
    let set = LabelledSet {
        subnet: subnet.name().clone(),
        header: TensorHeader { name: input.name.clone(), dtype: input.dtype, shape },
        inputs,
        classes: indices.iter().map(|&index| usize::from(split.classes()[index])).collect(),
        labels: subnet.labels().to_vec(),
    };
    Ok((set, indices))
}

/// Lets every expert, and the dense model if there is one, answer the test items `indices` alone. Blocks.
///
/// # Errors
/// When the device or a model fails.
pub fn alone(
    subnet: &Subnet,
    trained: &Trained,
    indices: &[usize],
    device: DeviceChoice,
) -> Result<(Vec<Single>, Option<Dense>)> {
    let device = ComputeDevice::open(device)?;
    let split = subnet.test().select(indices);
    let answer = |checkpoint: &LoadedCheckpoint| -> Result<Vec<Vec<f32>>> {
        let predictions = probabilities(checkpoint, subnet, &device, &split)?;
        Ok(predictions.rows().map(<[f32]>::to_vec).collect())
    };
    let mut singles = Vec::with_capacity(trained.experts.len());
    for expert in &trained.experts {
        let meta = &expert.checkpoint.meta;
        let honest = meta.kind != "noise";
        singles.push(Single {
            name: expert.name.clone(),
            uid: None,
            trained_on: trained_on(meta, subnet.labels()),
            passes: meta.epochs,
            // A noise expert lists examples it only claims.
            class_counts: if honest { meta.counts.clone() } else { vec![0; meta.counts.len()] },
            probabilities: answer(&expert.checkpoint)?,
        });
    }
    let dense = match &trained.dense {
        Some(dense) => Some(Dense {
            examples: dense.checkpoint.meta.examples,
            passes: dense.checkpoint.meta.epochs,
            probabilities: answer(&dense.checkpoint)?,
        }),
        None => None,
    };
    Ok((singles, dense))
}

/// The classes a model saw most, in words.
#[must_use]
pub fn trained_on(meta: &CheckpointMeta, labels: &[String]) -> String {
    match meta.kind.as_str() {
        "noise" => return "nothing (random parameters)".to_owned(),
        "iid" => return "a random shard of all classes".to_owned(),
        "all" => return "everything".to_owned(),
        "domains" => return format!("pictures {}", meta.domains.join(", ")),
        _ => {}
    }
    let own = crate::report::own_classes(&meta.counts);
    let mut ordered = own.clone();
    ordered.sort_by_key(|&class| (std::cmp::Reverse(meta.counts[class]), class));
    let all: Vec<&str> = ordered.iter().filter_map(|&class| labels.get(class)).map(String::as_str).collect();
    // As many as fit one line of the report's table, at least one.
    for count in (1..=all.len().min(3)).rev() {
        let more = all.len() - count;
        let text = all[..count].join(", ") + &(if more == 0 { String::new() } else { format!(" +{more}") });
        if text.chars().count() <= 28 || count == 1 {
            return text;
        }
    }
    "–".to_owned()
}
