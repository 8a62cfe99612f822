//! Serving checkpoints to the network: server → admission → batcher → device thread → model.
//!
//! ```text
//! ForwardHandler ▶ validate ▶ admission ▶ [bounded queue] ▶ batcher ▶ device thread ▶ model
//!       ◀────────────────────── oneshot: answer or refusal ◀───────────────┘
//! ```
//! Every stage is bounded: what does not fit is refused with `Busy` and a time to come back. A caller that went away,
//! or whose deadline passed, costs no computation. Modules in flow order: `handler`, [`admission`], [`batcher`],
//! `pump`, `device_thread`; [`pipeline`] ties them together. `publish` hands out the checkpoints themselves, so that
//! anybody can compute an answer anew; [`ServeConfig::publish`] turns it off.

pub mod admission;
pub mod batcher;
mod device_thread;
mod handler;
pub mod pipeline;
mod publish;
mod pump;

use std::sync::Arc;
use std::time::Duration;

use glia_peer::{ExpertOffer, ForwardHandler, Network};
use glia_protocol::descriptor::Capacity;
use glia_protocol::gossip::Load;

use crate::checkpoint::LoadedCheckpoint;
use crate::device::{ComputeDevice, DeviceChoice};
use crate::subnet::Subnet;
pub use pipeline::{DrainReport, Loaded, Pipeline, ServeConfig, StartError};
use publish::Publisher;

/// Experts of one subnet, served from this process.
#[derive(Debug)]
pub struct ExpertServer {
    pipeline: Pipeline,
    subnet: Subnet,
    checkpoints: Vec<LoadedCheckpoint>,
    config: ServeConfig,
}

impl ExpertServer {
    /// Loads `checkpoints` onto a device, runs each once, then answers forward requests that reach `network`.
    ///
    /// It does not advertise: hand [`offers`](Self::offers) and [`load_source`](Self::load_source) to
    /// [`Network::advertise`] once this has returned.
    ///
    /// # Errors
    /// When the device cannot be had, a checkpoint cannot be run, or there is none or the same one twice.
    pub async fn start(
        network: Network,
        subnet: Subnet,
        checkpoints: Vec<LoadedCheckpoint>,
        device: DeviceChoice,
        config: ServeConfig,
    ) -> Result<Self, StartError> {
        let server = Self::local(subnet, checkpoints, device, config).await?;
        network.serve(server.handler());
        Ok(server)
    }

    /// The same without a network: requests come through [`handler`](Self::handler) only.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn local(
        subnet: Subnet,
        checkpoints: Vec<LoadedCheckpoint>,
        device: DeviceChoice,
        config: ServeConfig,
    ) -> Result<Self, StartError> {
        let hashes = checkpoints.iter().map(|c| c.hash).collect();
        let (loaded, of) = (checkpoints.clone(), subnet.clone());
        let load = move || {
            let device = ComputeDevice::open(device)?;
            let mut models = Vec::with_capacity(loaded.len());
            for checkpoint in &loaded {
                let unknown = || StartError::Architecture(checkpoint.meta.architecture.clone());
                models.push(checkpoint.model(&of, &device).ok_or_else(unknown)?);
            }
            Ok((device.backend(), models))
        };
        let pipeline =
            Pipeline::start(subnet.name().clone(), subnet.schema().clone(), hashes, load, config.clone()).await?;
        Ok(Self { pipeline, subnet, checkpoints, config })
    }

    /// Where forward requests go in, and questions for published checkpoints.
    pub fn handler(&self) -> Arc<dyn ForwardHandler> {
        let inner = self.pipeline.handler();
        if self.config.publish {
            Arc::new(Publisher::new(inner, self.subnet.name().clone(), &self.checkpoints))
        } else {
            inner
        }
    }

    /// What [`Network::advertise`] needs to know of each expert.
    pub fn offers(&self) -> Vec<ExpertOffer> {
        let capacity = Capacity { max_batch: self.config.max_batch, max_queue: self.config.max_queue };
        self.checkpoints
            .iter()
            .map(|checkpoint| ExpertOffer {
                subnet: self.subnet.name().clone(),
                name: checkpoint.meta.name.clone(),
                schema: self.subnet.schema().clone(),
                checkpoint: checkpoint.hash,
                published: self.config.publish.then_some(checkpoint.file.len() as u64),
                feature_map: self.subnet.feature_map_hash(),
                centroids: checkpoint.meta.centroids.clone(),
                regions: checkpoint.meta.regions.clone(),
                examples: checkpoint.meta.examples,
                backend: self.pipeline.backend().to_owned(),
                capacity,
            })
            .collect()
    }

    /// Load at this moment.
    pub fn load(&self) -> Load {
        self.pipeline.load()
    }

    /// A function that tells the load whenever it is called, for heartbeats.
    pub fn load_source(&self) -> Arc<dyn Fn() -> Load + Send + Sync> {
        self.pipeline.load_source()
    }

    /// Name of the backend that computes.
    pub fn backend(&self) -> &'static str {
        self.pipeline.backend()
    }

    /// Takes nothing new, lets what runs finish within `deadline`, then ends the device thread.
    ///
    /// Withdraw from the network first, so that routers stop asking.
    pub async fn drain(self, deadline: Duration) -> DrainReport {
        self.pipeline.drain(deadline).await
    }
}
