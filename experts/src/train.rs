//! Training a roster: every entry becomes a checkpoint file, those already there are reused.
//!
//! Entries are trained side by side on a few threads. Everything random comes from the entry's seed, so the same
//! entry gives the same checkpoint wherever floating point rounds the same.
//!
//! Two rivals can be trained beside the experts, both on all training images and both for as many passes as let them
//! see as many images as all experts together: `dense` has the parameters of one expert, `dense_total` those of all
//! experts (the same net, wider; the nearest width, at most [`Width::MAX`](crate::model::Width::MAX)). Adam's steps fall
//! with the square root of the width.

mod fit;
mod job;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use glia_protocol::ContentHash;
use glia_protocol::limits::MAX_CENTROIDS;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
pub use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointError, CheckpointMeta, LoadedCheckpoint, write_atomically};
use crate::device::{ComputeDevice, DeviceChoice, DeviceError};
use crate::features;
use crate::model::{Cnn, ModelError, Parameters};
use crate::roster::{Entry, Kind, PartitionError, Roster};
use crate::subnet::Subnet;
use job::{Job, rivals};

/// Goes into the cache key: raise it when training changes, so that old checkpoints are not reused.
const CODE_VERSION: u32 = 2;
/// How much larger than usual the random parameters of a `noise` expert are.
const NOISE_SPREAD: f32 = 8.0;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder for checkpoints cannot be made.
    #[error("cannot make folder {path}: {source}")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry has no images.
    #[error("expert {name:?}: {source}")]
    Partition {
        /// Which entry.
        name: String,
        /// Why.
        source: PartitionError,
    },
    /// The backend failed.
    #[error("expert {name:?}: {source}")]
    Model {
        /// Which entry.
        name: String,
        /// Why.
        source: ModelError,
    },
    /// Training ran into NaN or infinity.
    #[error("expert {0:?}: training diverged")]
    Diverged(String),
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The stop token was cancelled.
    #[error("training was stopped")]
    Stopped,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Also train one model of the same architecture on all training images, for as many passes as let it see the
    /// images of all experts together.
    pub dense: bool,
    /// Also train one wider model with as many parameters as all experts together, on the same images for as many
    /// passes.
    pub dense_total: bool,
    /// Experts trained at the same time.
    pub threads: usize,
    /// Images of one step.
    pub batch: usize,
    /// Adam's step at the start; it falls to a tenth along a cosine.
    pub learning_rate: f64,
    /// Images each expert sees in all, as far as the limits on epochs allow.
    pub images: usize,
    /// Fewest and most passes over its data.
    pub epochs: (u32, u32),
}

impl Default for TrainOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Self {
            device: DeviceChoice::Auto,
            dense: true,
            dense_total: false,
            threads,
            batch: 32,
            learning_rate: 4e-3,
            images: 7_000,
            epochs: (4, 24),
        }
    }
}

impl TrainOptions {
    /// Passes over `examples` images.
    pub fn epochs_for(&self, examples: usize) -> u32 {
        let (fewest, most) = self.epochs;
        (self.images.div_ceil(examples.max(1)) as u32).min(most).max(fewest)
    }

    /// Passes of `entry` over its `examples` images; none for noise.
    fn epochs_of(&self, entry: &Entry, examples: usize) -> u32 {
        if entry.kind == Kind::Noise { 0 } else { self.epochs_for(examples) }
    }
}

/// What happens while a roster is trained. `index` counts the roster's entries; the dense models come after the last.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A checkpoint for this entry is already there.
    Reused {
        /// Entry.
        index: usize,
        /// Its name.
        name: String,
    },
    /// Training of an entry begins.
    Started {
        /// Entry.
        index: usize,
        /// Its name.
        name: String,
        /// Its images.
        examples: usize,
        /// Steps it will take.
        steps: usize,
    },
    /// One step is done.
    Step {
        /// Entry.
        index: usize,
        /// Pass over the data, from 0.
        epoch: u32,
        /// Steps done so far.
        step: usize,
        /// Steps it will take.
        steps: usize,
        /// Mean cross-entropy (nats) of the last few steps.
        loss: f32,
    },
    /// The checkpoint is written.
    Finished {
        /// Entry.
        index: usize,
        /// Its name.
        name: String,
        /// Time it took.
        took: Duration,
    },
}

/// A checkpoint of a roster.
#[derive(Debug, Clone)]
pub struct TrainedExpert {
    /// Name of the entry.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The file's content.
    pub checkpoint: LoadedCheckpoint,
    /// Whether it was there before.
    pub reused: bool,
    /// Time spent on it.
    pub took: Duration,
}

/// All checkpoints of a roster.
#[derive(Debug, Clone)]
pub struct Trained {
    /// In the order of the roster.
    pub experts: Vec<TrainedExpert>,
    /// The dense comparison, when asked for.
    pub dense: Option<TrainedExpert>,
    /// The dense comparison with as many parameters as all experts together, when asked for.
    pub dense_total: Option<TrainedExpert>,
}

impl Trained {
    /// All of them: the experts, then the dense comparisons.
    pub fn all(&self) -> impl Iterator<Item = &TrainedExpert> + Clone {
        self.experts.iter().chain(&self.dense).chain(&self.dense_total)
    }
}

/// Trains every entry of `roster` and writes checkpoints into `folder`; blocks until done, stopped or failed.
///
/// `progress` is called from several threads. An expert whose checkpoint is already in `folder` is not trained again.
pub fn train_roster(
    subnet: &Subnet,
    roster: &Roster,
    folder: &Path,
    options: &TrainOptions,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &CancellationToken,
) -> Result<Trained, TrainError> {
    fs::create_dir_all(folder).map_err(|source| TrainError::Folder { path: folder.to_owned(), source })?;
    let device = ComputeDevice::open(options.device)?;
    let run = Run { subnet, folder, options, device, progress, stop };
    let mut jobs = Vec::with_capacity(roster.experts.len() + 2);
    for entry in &roster.experts {
        jobs.push(Job::expert(entry, options, subnet)?);
    }
    let (dense, total) = rivals(roster, &jobs, options, subnet)?;
    let (has_dense, has_total) = (dense.is_some(), total.is_some());
    jobs.extend(dense.into_iter().chain(total));
    // The longest first, so that no thread is left alone with it at the end.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(jobs[i].work()));
    let results: Vec<Mutex<Option<Result<TrainedExpert, TrainError>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run.expert(index, &jobs[index]);
                    let failed = result.is_err();
                    if let Ok(mut slot) = results[index].lock() {
                        *slot = Some(result);
                    }
                    if failed {
                        // Nobody needs the rest of a roster that failed.
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut trained = Vec::with_capacity(jobs.len());
    let mut skipped = false;
    for slot in results {
        match slot.into_inner().ok().flatten() {
            Some(result) => trained.push(result?),
            None => skipped = true,
        }
    }
    if skipped {
        return Err(TrainError::Stopped);
    }
    let dense_total = if has_total { trained.pop() } else { None };
    let dense = if has_dense { trained.pop() } else { None };
    Ok(Trained { experts: trained, dense, dense_total })
}

/// Trains one entry alone, as [`train_roster`] would.
pub fn train_one(
    subnet: &Subnet,
    entry: &Entry,
    folder: &Path,
    options: &TrainOptions,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &CancellationToken,
) -> Result<TrainedExpert, TrainError> {
    fs::create_dir_all(folder).map_err(|source| TrainError::Folder { path: folder.to_owned(), source })?;
    let device = ComputeDevice::open(options.device)?;
    let run = Run { subnet, folder, options, device, progress, stop };
    run.expert(0, &Job::expert(entry, options, subnet)?)
}

struct Run<'a> {
    subnet: &'a Subnet,
    folder: &'a Path,
    options: &'a TrainOptions,
    device: ComputeDevice,
    progress: &'a (dyn Fn(Progress) + Sync),
    stop: &'a CancellationToken,
}

impl Run<'_> {
    /// Hash of everything the checkpoint of `job` depends on.
    fn key(&self, job: &Job) -> ContentHash {
        let o = self.options;
        let (entry, epochs) = (&job.entry, job.epochs);
        let text = format!(
            "{CODE_VERSION}\n{}\n{}\n{}\n{entry:?}\n{} {} {epochs}\n{}",
            job.architecture().name(),
            self.subnet.feature_map_hash(),
            self.subnet.data_hash(),
            o.batch,
            job.first_step(o),
            self.device.backend(),
        );
        ContentHash::of(text.as_bytes())
    }

    fn expert(&self, index: usize, job: &Job) -> Result<TrainedExpert, TrainError> {
        let started = Instant::now();
        let (entry, epochs, architecture) = (&job.entry, job.epochs, job.architecture());
        let key = self.key(job);
        let path = self.folder.join(format!("{}-{}.safetensors", entry.name, &key.to_string()[..12]));
        let name = entry.name.clone();
        if let Ok(checkpoint) = LoadedCheckpoint::load(&path, self.subnet)
            && checkpoint.meta.key == key
        {
            (self.progress)(Progress::Reused { index, name: name.clone() });
            return Ok(TrainedExpert { name, path, checkpoint, reused: true, took: started.elapsed() });
        }
        let no_data = |source| TrainError::Partition { name: name.clone(), source };
        let (data, domains) = entry.data(self.subnet).map_err(no_data)?;
        let steps = data.len().div_ceil(self.options.batch.max(1)) * epochs as usize;
        (self.progress)(Progress::Started { index, name: name.clone(), examples: data.len(), steps });
        let mut rng = ChaCha8Rng::seed_from_u64(entry.seed);
        let spread = if entry.kind == Kind::Noise { NOISE_SPREAD } else { 1.0 };
        let first = Cnn::random_parameters(job.width, spread, &mut rng);
        let diverged = || TrainError::Diverged(name.clone());
        let parameters = Parameters::new(architecture, first).ok_or_else(diverged)?;
        let parameters = if epochs == 0 {
            parameters
        } else {
            let learning_rate = job.first_step(self.options);
            let plan = fit::Plan { options: self.options, learning_rate, epochs, steps, index };
            fit::fit(&plan, &parameters, &data, self.device.burn(), &mut rng, self.progress, self.stop).map_err(
                |e| match e {
                    fit::FitError::Stopped => TrainError::Stopped,
                    fit::FitError::Diverged => diverged(),
                    fit::FitError::Model(source) => TrainError::Model { name: name.clone(), source },
                },
            )?
        };
        let described = features::describe(self.subnet.feature_map(), &data, MAX_CENTROIDS, entry.seed);
        let mut counts = vec![0u64; self.subnet.labels().len()];
        for example in data.iter() {
            counts[usize::from(example.class)] += 1;
        }
        let meta = CheckpointMeta {
            name: name.clone(),
            subnet: self.subnet.name().to_string(),
            architecture: architecture.name(),
            kind: entry.kind.name().to_owned(),
            domains,
            counts,
            examples: data.len() as u64,
            seed: entry.seed,
            epochs,
            feature_map: self.subnet.feature_map_hash(),
            centroids: described.centroids,
            regions: described.regions,
            key,
        };
        let bytes = LoadedCheckpoint::encode(&meta, &parameters)?;
        write_atomically(&path, &bytes)?;
        let checkpoint = LoadedCheckpoint::from_bytes(&bytes, self.subnet)?;
        let took = started.elapsed();
        (self.progress)(Progress::Finished { index, name: name.clone(), took });
        Ok(TrainedExpert { name, path, checkpoint, reused: false, took })
    }
}
