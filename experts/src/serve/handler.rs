//! The server's door: checks a request, takes a place for it, waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glia_peer::ForwardHandler;
use glia_protocol::schema::TaskSchema;
use glia_protocol::{ContentHash, DType, ForwardRequest, ForwardResponse, PeerId, Refusal, SubnetName, Tensor};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::batcher::Work;
use super::pipeline::{Place, Shared};

/// What the device thread says about one request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) output: Tensor,
    pub(super) queue_us: u32,
    pub(super) compute_us: u32,
    pub(super) batch: u32,
}

/// A request on its way to the device.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) model: usize,
    pub(super) input: Tensor,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Answer, Refusal>>,
    /// Held as long as the job is inside.
    pub(super) place: Place,
}

impl Job {
    /// Ends the job. Whoever asked may have gone away, which is no fault.
    pub(super) fn finish(self, result: Result<Answer, Refusal>) {
        drop(self.place);
        let _ = self.reply.send(result);
    }
}

impl Work for Job {
    type Key = (usize, DType, Vec<u32>);

    fn key(&self) -> Self::Key {
        (self.model, self.input.dtype(), self.input.shape().get(1..).unwrap_or_default().to_vec())
    }

    fn items(&self) -> u32 {
        self.input.batch()
    }

    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

#[derive(Debug)]
struct Inner {
    subnet: SubnetName,
    schema: TaskSchema,
    checkpoints: Vec<ContentHash>,
    max_batch: u32,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// Answers forward requests for the models of one pipeline.
#[derive(Debug)]
pub(super) struct Handler(Arc<Inner>);

impl Handler {
    pub(super) fn new(
        subnet: SubnetName,
        schema: TaskSchema,
        checkpoints: Vec<ContentHash>,
        max_batch: u32,
        jobs: mpsc::Sender<Job>,
        shared: Arc<Shared>,
    ) -> Self {
        Self(Arc::new(Inner { subnet, schema, checkpoints, max_batch, jobs, shared }))
    }
}

impl ForwardHandler for Handler {
    fn forward(
        &self,
        caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        let inner = self.0.clone();
        let arrived = Instant::now();
        Box::pin(async move {
            let result = inner.answer(caller, request, arrived).await;
            let outcome = match &result {
                Ok(_) => Ok(arrived.elapsed().as_micros() as u64),
                Err(refusal) => Err(refusal.clone()),
            };
            inner.shared.answered(&outcome);
            result
        })
    }
}

impl Inner {
    async fn answer(
        &self,
        caller: PeerId,
        request: ForwardRequest,
        arrived: Instant,
    ) -> Result<ForwardResponse, Refusal> {
        let ForwardRequest { id, subnet, checkpoint, budget_ms, tensors } = request;
        let model = self.checkpoints.iter().position(|c| *c == checkpoint && subnet == self.subnet);
        let model = model.ok_or(Refusal::UnknownExpert)?;
        let input = self.check(tensors)?;
        let deadline = arrived + Duration::from_millis(u64::from(budget_ms));
        let place = self.shared.enter(caller, input.batch())?;
        let (reply, answer) = oneshot::channel();
        let job = Job { model, input, arrived, deadline, reply, place };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            // The queue has a slot for each place, so it is never full; if it were, this is what it would mean.
            Err(TrySendError::Full(_)) => return Err(Refusal::Busy { retry_after_ms: 1 }),
            Err(TrySendError::Closed(_)) => return Err(Refusal::Busy { retry_after_ms: 1000 }),
        }
        let answer = match timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(Refusal::Failed("the expert is stopping".to_owned())),
            Err(_) => return Err(Refusal::Deadline),
        };
        Ok(ForwardResponse {
            id,
            checkpoint,
            queue_us: answer.queue_us,
            compute_us: answer.compute_us,
            batch: answer.batch,
            tensors: vec![answer.output],
            receipt: None,
        })
    }

    /// The one input tensor, if it is what the schema asks for.
    fn check(&self, tensors: Vec<Tensor>) -> Result<Tensor, Refusal> {
        let spec = &self.schema.input;
        let count = tensors.len();
        let [input] = <[Tensor; 1]>::try_from(tensors)
            .map_err(|_| Refusal::BadShape(format!("{count} tensors, 1 is expected")))?;
        if !spec.accepts(&input) {
            return Err(Refusal::BadShape(format!(
                "expected {:?} {:?} [batch, {:?}], got {:?} {:?}",
                spec.name,
                spec.dtype,
                spec.shape,
                input.dtype(),
                input.shape()
            )));
        }
        if input.batch() > self.max_batch {
            return Err(Refusal::TooLarge(format!("{} inputs, at most {} at once", input.batch(), self.max_batch)));
        }
        Ok(input)
    }
}
