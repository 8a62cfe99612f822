//! The tap on the way of answers: a transport that passes everything on and copies a sampled share into a bounded queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::{ContentHash, ExpertDescriptor, ForwardRequest, ForwardResponse, PeerId, SubnetName, Tensor};
use tokio::sync::{broadcast, mpsc};

use super::book::AuditBook;
use crate::expert::ExpertKey;
use crate::transport::{CallError, LookupError, Transport};

/// Answers that wait for their audit.
pub const QUEUE: usize = 64;
/// Items of an answer that is audited, at most: what re-execution takes at once.
const MAX_ITEMS: u32 = 512;
/// Bytes of an answer with its input; a larger one is not audited.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of all answers that wait or are being audited.
const MAX_HELD: usize = 32 * 1024 * 1024;

/// An answer to be audited.
#[derive(Debug)]
pub struct Job {
    /// Who answered.
    pub key: ExpertKey,
    /// What it was asked.
    pub request: ForwardRequest,
    /// What it answered.
    pub response: ForwardResponse,
    _held: Held,
}

/// Gives back the room of a job.
#[derive(Debug)]
struct Held {
    room: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Where the jobs come out.
pub type Jobs = mpsc::Receiver<Job>;

/// The transport of audited calls.
pub struct Tap {
    inner: Arc<dyn Transport>,
    book: Arc<AuditBook>,
    queue: mpsc::Sender<Job>,
    held: Arc<AtomicUsize>,
}

impl Tap {
    /// A tap on `inner`, and where its jobs come out.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, book: Arc<AuditBook>) -> (Self, Jobs) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        (Self { inner, book, queue, held: Arc::default() }, jobs)
    }

    /// Queues an answer; drops and counts it when there is no room. Never waits.
    fn offer(&self, key: ExpertKey, request: ForwardRequest, response: &ForwardResponse) {
        let size = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.data().len()).sum::<usize>();
        let bytes = size(&request.tensors) + size(&response.tensors);
        let reserve = |held: usize| held.checked_add(bytes).filter(|&held| held <= MAX_HELD);
        let items = request.tensors.first().map_or(0, Tensor::batch);
        let offered = items <= MAX_ITEMS
            && bytes <= MAX_BYTES
            && self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, reserve).is_ok()
            && {
                let held = Held { room: Arc::clone(&self.held), bytes };
                self.queue.try_send(Job { key, request, response: response.clone(), _held: held }).is_ok()
            };
        if !offered {
            self.book.drop_one();
        }
    }
}

impl Transport for Tap {
    fn find_providers<'a>(
        &'a self,
        subnet: &'a SubnetName,
        region: u8,
        shard: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>> {
        self.inner.find_providers(subnet, region, shard)
    }

    fn describe<'a>(
        &'a self,
        peer: PeerId,
        subnet: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>> {
        self.inner.describe(peer, subnet)
    }

    fn forward<'a>(
        &'a self,
        peer: PeerId,
        addresses: &'a [SocketAddr],
        request: ForwardRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>> {
        let key = ExpertKey { peer, checkpoint: request.checkpoint };
        if !self.book.samples(&key, rand::random()) {
            return self.inner.forward(peer, addresses, request, deadline);
        }
        Box::pin(async move {
            // Tensors share their bytes, so this copies names and shapes.
            let copy = request.clone();
            let response = self.inner.forward(peer, addresses, request, deadline).await?;
            self.offer(key, copy, &response);
            Ok(response)
        })
    }

    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        self.inner.heartbeats()
    }

    fn fetch_checkpoint<'a>(
        &'a self,
        peer: PeerId,
        addresses: &'a [SocketAddr],
        subnet: &'a SubnetName,
        checkpoint: ContentHash,
        max_bytes: u64,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Bytes, LookupError>> {
        self.inner.fetch_checkpoint(peer, addresses, subnet, checkpoint, max_bytes, deadline)
    }
}
