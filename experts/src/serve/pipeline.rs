//! The pipeline: queue, batcher and device thread of a set of models that share one device.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glia_peer::ForwardHandler;
use glia_protocol::gossip::Load;
use glia_protocol::schema::TaskSchema;
use glia_protocol::{ContentHash, PeerId, Refusal, SubnetName};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::admission::{Admission, AdmissionLimits};
use super::batcher::BatchLimits;
use super::handler::Handler;
use super::{device_thread, pump};
use crate::device::DeviceError;
use crate::model::ExpertModel;

/// Limits of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Inputs computed together, and the most one request may bring (128).
    pub max_batch: u32,
    /// Longest a request waits for company (1 ms).
    pub max_wait: Duration,
    /// Requests inside before `Busy` (256).
    pub max_queue: u32,
    /// Requests inside of one caller (128).
    pub per_caller: u32,
    /// Whether the checkpoints are handed out to whoever asks (yes), so that routers can check answers by computing them
    /// anew.
    pub publish: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { max_batch: 128, max_wait: Duration::from_millis(1), max_queue: 256, per_caller: 128, publish: true }
    }
}

/// Name of the backend, and one model per checkpoint in the same order.
pub type Loaded = (&'static str, Vec<Box<dyn ExpertModel>>);

/// Why experts are not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// This build cannot run a checkpoint.
    #[error("this build cannot run architecture {0:?}")]
    Architecture(String),
    /// A model failed its first run.
    #[error("checkpoint {checkpoint} fails its first run: {why}")]
    WarmUp {
        /// Which one.
        checkpoint: ContentHash,
        /// What happened.
        why: String,
    },
    /// No checkpoint, or the same one twice.
    #[error("{0}")]
    Checkpoints(String),
    /// A limit is zero.
    #[error("max_batch, max_queue and per_caller must be at least 1")]
    Limits,
    /// The device thread cannot be made or died.
    #[error("the device thread cannot run: {0}")]
    Thread(String),
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Requests that were inside at the deadline; they are refused.
    pub unfinished: u32,
    /// Whether the device thread has ended.
    pub device_ended: bool,
}

/// Counters and admission, shared by all stages.
#[derive(Debug)]
pub(super) struct Shared {
    admission: Mutex<Admission>,
    inside: watch::Sender<u32>,
    served: AtomicU64,
    refused: AtomicU64,
    mean_us: AtomicU32,
}

impl Shared {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request; dropping it gives the place back.
    pub(super) fn enter(self: &Arc<Self>, caller: PeerId, items: u32) -> Result<Place, Refusal> {
        let mut admission = self.admission();
        admission.admit(caller, items)?;
        self.inside.send_replace(admission.requests());
        drop(admission);
        Ok(Place { shared: self.clone(), caller, items })
    }

    pub(super) fn measured(&self, items: u32, micros: u64) {
        self.admission().measured(items, micros);
    }

    pub(super) fn answered(&self, result: &Result<u64, Refusal>) {
        match result {
            Ok(micros) => {
                self.served.fetch_add(1, Ordering::Relaxed);
                let old = i64::from(self.mean_us.load(Ordering::Relaxed));
                let new = (*micros).min(u64::from(u32::MAX)) as i64;
                let mean = if old == 0 { new } else { old + (new - old) / 8 };
                self.mean_us.store(u32::try_from(mean).unwrap_or(u32::MAX), Ordering::Relaxed);
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn load(&self) -> Load {
        Load {
            queued: *self.inside.borrow(),
            served: self.served.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            mean_us: self.mean_us.load(Ordering::Relaxed),
        }
    }
}

/// A request's place inside.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    caller: PeerId,
    items: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut admission = self.shared.admission();
        admission.leave(self.caller, self.items);
        self.shared.inside.send_replace(admission.requests());
    }
}

/// Models behind a queue. Dropping it ends its task and its thread.
pub struct Pipeline {
    handler: Arc<Handler>,
    shared: Arc<Shared>,
    backend: &'static str,
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("backend", &self.backend).field("load", &self.load()).finish()
    }
}

impl Pipeline {
    /// Starts a device thread; `load` runs on it and gives the backend's name and one model per checkpoint, in the
    /// same order. Returns once every model has run once.
    ///
    /// # Errors
    /// What `load` says, or a model that fails its first run.
    pub async fn start<F>(
        subnet: SubnetName,
        schema: TaskSchema,
        checkpoints: Vec<ContentHash>,
        load: F,
        config: ServeConfig,
    ) -> Result<Self, StartError>
    where
        F: FnOnce() -> Result<Loaded, StartError> + Send + 'static,
    {
        if config.max_batch == 0 || config.max_queue == 0 || config.per_caller == 0 {
            return Err(StartError::Limits);
        }
        if checkpoints.is_empty() {
            return Err(StartError::Checkpoints("there is no checkpoint to serve".to_owned()));
        }
        if let Some((_, twice)) = checkpoints.iter().enumerate().find(|(i, c)| checkpoints[..*i].contains(c)) {
            return Err(StartError::Checkpoints(format!("checkpoint {twice} is given twice")));
        }
        let limits = AdmissionLimits { max_queue: config.max_queue, per_caller: config.per_caller };
        let shared = Arc::new(Shared {
            admission: Mutex::new(Admission::new(limits)),
            inside: watch::Sender::new(0),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            mean_us: AtomicU32::new(0),
        });
        let (jobs, waiting) = mpsc::channel(config.max_queue as usize);
        let (batches, work) = mpsc::channel(1);
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (of_thread, expected) = (shared.clone(), checkpoints.clone());
        std::thread::Builder::new()
            .name("glia-device".to_owned())
            .spawn(move || {
                device_thread::run(load, &expected, ready, work, &of_thread);
                // Nobody waits when the pipeline was dropped instead of drained.
                let _ = end.send(());
            })
            .map_err(|e| StartError::Thread(e.to_string()))?;
        let died = |_| StartError::Thread("it ended while loading the models".to_owned());
        let backend = is_ready.await.map_err(died)??;
        let stop = CancellationToken::new();
        let batching = BatchLimits { max_batch: config.max_batch, max_wait: config.max_wait };
        tokio::spawn(pump::run(waiting, batches, Arc::new(Semaphore::new(1)), batching, stop.clone()));
        let handler = Handler::new(subnet, schema, checkpoints, config.max_batch, jobs, shared.clone());
        Ok(Self { handler: Arc::new(handler), shared, backend, stop: stop.drop_guard(), ended })
    }

    /// Where forward requests go in.
    pub fn handler(&self) -> Arc<dyn ForwardHandler> {
        self.handler.clone()
    }

    /// Name of the backend that computes.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// Load at this moment.
    pub fn load(&self) -> Load {
        self.shared.load()
    }

    /// A function that tells the load whenever it is called.
    pub fn load_source(&self) -> Arc<dyn Fn() -> Load + Send + Sync> {
        let shared = self.shared.clone();
        Arc::new(move || shared.load())
    }

    /// Takes nothing new, lets what runs finish within `deadline`, then ends task and thread.
    ///
    /// # Cancel safety
    /// Dropping the future ends task and thread at once.
    pub async fn drain(self, deadline: Duration) -> DrainReport {
        self.shared.admission().close();
        let mut inside = self.shared.inside.subscribe();
        let empty = timeout(deadline, inside.wait_for(|n| *n == 0)).await.is_ok();
        let unfinished = if empty { 0 } else { *self.shared.inside.borrow() };
        drop(self.stop);
        // A running forward pass cannot be interrupted, so the thread gets as long again to end.
        let device_ended = timeout(deadline.max(Duration::from_millis(100)), self.ended).await.is_ok();
        DrainReport { unfinished, device_ended }
    }
}
