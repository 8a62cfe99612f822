//! The device thread: the only thread that touches models. Batches in, answers out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use glia_protocol::schema::TensorSpec;
use glia_protocol::tensor::TensorHeader;
use glia_protocol::{ContentHash, Refusal, Tensor};
use tokio::sync::{mpsc, oneshot};

use super::batcher::Work;
use super::handler::{Answer, Job};
use super::pipeline::{Loaded, Shared, StartError};
use super::pump::Batch;
use crate::model::ExpertModel;

/// Loads and warms up the models, tells `ready`, then computes batches until nobody sends them.
pub(super) fn run<F>(
    load: F,
    checkpoints: &[ContentHash],
    ready: oneshot::Sender<Result<&'static str, StartError>>,
    mut work: mpsc::Receiver<Batch>,
    shared: &Shared,
) where
    F: FnOnce() -> Result<Loaded, StartError>,
{
    let (backend, models) = match load().and_then(|loaded| warm_up(loaded, checkpoints)) {
        Ok(loaded) => loaded,
        Err(error) => {
            // When nobody waits for the result there is nobody to tell.
            let _ = ready.send(Err(error));
            return;
        }
    };
    if ready.send(Ok(backend)).is_err() {
        return;
    }
    while let Some(Batch { jobs, device }) = work.blocking_recv() {
        compute(&models, jobs, shared);
        drop(device);
    }
}

/// Runs every model once on a blank input: backends compile and allocate on first use.
fn warm_up((backend, models): Loaded, checkpoints: &[ContentHash]) -> Result<Loaded, StartError> {
    if models.len() != checkpoints.len() {
        return Err(StartError::Checkpoints(format!("{} models, {} checkpoints", models.len(), checkpoints.len())));
    }
    for (model, &checkpoint) in models.iter().zip(checkpoints) {
        let failed = |why: String| StartError::WarmUp { checkpoint, why };
        let blank = blank(model.input()).map_err(|e| failed(e.to_string()))?;
        forward(model.as_ref(), &blank).map_err(|refusal| failed(refusal.to_string()))?;
    }
    Ok((backend, models))
}

fn blank(spec: &TensorSpec) -> Result<Tensor, glia_protocol::codec::DecodeError> {
    let shape = [&[1], spec.shape.as_slice()].concat();
    let header = TensorHeader { name: spec.name.clone(), dtype: spec.dtype, shape };
    let bytes = header.byte_len()?;
    Tensor::new(header, Bytes::from(vec![0; bytes]))
}

fn compute(models: &[Box<dyn ExpertModel>], jobs: Vec<Job>, shared: &Shared) {
    let began = Instant::now();
    let mut live = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.deadline <= began {
            job.finish(Err(Refusal::Deadline));
        } else if !job.abandoned() {
            live.push(job);
        }
    }
    let Some(model) = live.first().and_then(|job| models.get(job.model)) else {
        return;
    };
    let inputs: u32 = live.iter().map(Work::items).sum();
    let result = stack(&live).and_then(|batch| forward(model.as_ref(), &batch));
    let took = began.elapsed();
    shared.measured(inputs, took.as_micros() as u64);
    match result {
        Ok(output) => {
            let mut row = 0;
            for job in live {
                let part = rows(&output, row, job.items());
                row += job.items();
                let (queue_us, compute_us) = (micros(began.saturating_duration_since(job.arrived)), micros(took));
                job.finish(part.map(|output| Answer { output, queue_us, compute_us, batch: inputs }));
            }
        }
        Err(refusal) => live.into_iter().for_each(|job| job.finish(Err(refusal.clone()))),
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// A forward pass whose every failure (error, panic, wrong shape, NaN) is a refusal.
fn forward(model: &dyn ExpertModel, batch: &Tensor) -> Result<Tensor, Refusal> {
    let failed = |why: &str| Refusal::Failed(why.to_owned());
    let output = match catch_unwind(AssertUnwindSafe(|| model.forward(batch))) {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a forward pass failed");
            return Err(failed("the model gave no answer"));
        }
        Err(_) => {
            tracing::error!("a model panicked");
            return Err(failed("the model broke"));
        }
    };
    if output.batch() != batch.batch() || !model.output().accepts(&output) {
        return Err(failed("the model's answer has a wrong shape"));
    }
    if !output.to_f32().iter().all(|v| v.is_finite()) {
        return Err(failed("the model's answer is not finite"));
    }
    Ok(output)
}

/// Inputs of all jobs (equal keys) as one batch; a single job's input is used as it is.
fn stack(jobs: &[Job]) -> Result<Tensor, Refusal> {
    let [first, rest @ ..] = jobs else {
        return Err(Refusal::Failed("an empty batch".to_owned()));
    };
    if rest.is_empty() {
        return Ok(first.input.clone());
    }
    let mut data = BytesMut::with_capacity(jobs.iter().map(|job| job.input.data().len()).sum());
    jobs.iter().for_each(|job| data.extend_from_slice(job.input.data()));
    let mut header = first.input.header().clone();
    if let Some(batch) = header.shape.first_mut() {
        *batch = jobs.iter().map(Work::items).sum();
    }
    Tensor::new(header, data.freeze()).map_err(|e| Refusal::TooLarge(e.to_string()))
}

/// `count` rows of `output` from `row` on, sharing its memory.
fn rows(output: &Tensor, row: u32, count: u32) -> Result<Tensor, Refusal> {
    let row_bytes = output.data().len() / output.batch().max(1) as usize;
    let (from, to) = (row as usize * row_bytes, (row + count) as usize * row_bytes);
    let mut header = output.header().clone();
    if let Some(batch) = header.shape.first_mut() {
        *batch = count;
    }
    Tensor::new(header, output.data().slice(from..to)).map_err(|e| Refusal::Failed(e.to_string()))
}
