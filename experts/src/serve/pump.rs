//! The thin timer around the batcher: jobs in, due batches out whenever the device is free.

use std::sync::Arc;
use std::time::Instant;

use glia_protocol::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::batcher::{BatchLimits, Batcher};
use super::handler::Job;

/// Jobs computed together; the device is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    pub(super) device: OwnedSemaphorePermit,
}

/// Runs until `stop` is cancelled or nobody can send jobs any more. `device` has one permit: a batch is put together
/// as late as possible, when the device has nothing else to do.
pub(super) async fn run(
    mut jobs: mpsc::Receiver<Job>,
    batches: mpsc::Sender<Batch>,
    device: Arc<Semaphore>,
    limits: BatchLimits,
    stop: CancellationToken,
) {
    let mut batcher: Batcher<Job> = Batcher::new(limits);
    let mut free: Option<OwnedSemaphorePermit> = None;
    loop {
        let now = Instant::now();
        for expired in batcher.sweep(now) {
            expired.finish(Err(Refusal::Deadline));
        }
        let due_at = batcher.due_at();
        let due = due_at.is_some_and(|at| at <= now);
        if due && let Some(permit) = free.take() {
            if let Some(jobs) = batcher.take(now) {
                // One permit, one slot: the channel has room. When the thread is gone the jobs are dropped, which
                // their callers see as a failure.
                let _ = batches.try_send(Batch { jobs, device: permit });
            }
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            job = jobs.recv() => match job {
                Some(job) => batcher.push(job),
                None => break,
            },
            permit = device.clone().acquire_owned(), if due && free.is_none() => match permit {
                Ok(permit) => free = Some(permit),
                Err(_) => break,
            },
            () = sleep_until(due_at.unwrap_or(now).into()), if due_at.is_some() && !due => {}
        }
    }
    for job in batcher.into_waiting() {
        job.finish(Err(Refusal::Failed("the expert is stopping".to_owned())));
    }
}
