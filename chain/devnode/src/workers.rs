//! Threads for work that blocks or needs a deep stack: runtime calls and storage reads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// Native calls nest as deep as a transaction does; reserved address space only, taken as used.
pub(crate) const STACK_BYTES: usize = 256 << 20;
/// Jobs waiting for a thread; above this the node answers that it is busy.
const QUEUE: usize = 512;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed set of threads with a bounded queue. They end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Workers {
    jobs: SyncSender<Job>,
}

/// The queue is full, or the job panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("the node is busy, try again")]
    Busy,
    #[error("the node failed on this request")]
    Failed,
}

impl Workers {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("devnode-work-{index}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on a worker.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop a job that was taken up; its answer is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            if answer.is_closed() {
                return;
            }
            if let Ok(done) = catch_unwind(AssertUnwindSafe(job)) {
                answer.send(done).ok();
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => WorkError::Busy,
            TrySendError::Disconnected(_) => WorkError::Failed,
        })?;
        answered.await.map_err(|_| WorkError::Failed)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // Held while waiting: the others wait for the lock instead, which comes to the same.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
