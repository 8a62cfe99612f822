//! The expert's side: connections, limits, and one task per request that ends with its caller.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use glia_protocol::forward::Message;
use glia_protocol::frame::{self, FrameKind, Prefix};
use glia_protocol::transfer::CheckpointRequest;
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Receipt, Refusal, RequestId, SubnetName};
use quinn::{Connection, Endpoint, Incoming, RecvStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep_until, timeout};

use super::client::UNREAD;
use super::handout::Handout;
use super::shares::{Share, Shares};
use super::table::Table;
use super::wire::{self, Sender, WireError};
use super::{codes, tls};
use crate::config::{Limits, Timing};
use crate::identity::Identity;
use crate::network::now_ms;
use crate::reputation::{Misdeed, Reputation};
use crate::shutdown::Shutdown;

/// What an expert does with a request. The future is dropped when the caller cancels, its budget is spent or the
/// peer stops, so it must hold what it took in guards.
pub trait ForwardHandler: Send + Sync + 'static {
    /// Answers one request of `caller`, whose identity the connection has proved. The server signs a receipt for the
    /// answer, whatever receipt is in it.
    fn forward(
        &self,
        caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>>;

    /// The file of a checkpoint, if it is served in this subnet and handed out to `caller`; `None` keeps it closed.
    /// Called for every piece of it, so it must not block: clone a [`Bytes`] that is kept. A handler that wraps another
    /// one passes this on.
    fn checkpoint(&self, caller: PeerId, subnet: &SubnetName, checkpoint: ContentHash) -> Option<Bytes> {
        let _ = (caller, subnet, checkpoint);
        None
    }
}

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest a caller may take to receive its answer.
const RESPONSE_WRITE: Duration = Duration::from_secs(30);
/// Longest budget a caller may ask for.
const MAX_BUDGET: Duration = Duration::from_secs(120);
/// Handshakes at once.
const HANDSHAKES: usize = 256;
/// Handshakes at once before callers must prove their address.
const TRUSTING_HANDSHAKES: usize = 32;
/// Unit of the payload budget, bytes.
const UNIT: usize = 1024;
/// When a peer at its limits will likely have room.
const RETRY_MS: u32 = 50;

/// State shared by the accepting task, connections and requests.
pub(super) struct Server {
    pub(super) handler: Mutex<Option<Arc<dyn ForwardHandler>>>,
    pub(super) draining: AtomicBool,
    identity: Identity,
    timing: Timing,
    limits: Limits,
    reputation: Arc<Mutex<Reputation>>,
    requests: Semaphore,
    memory: Semaphore,
    shares: Shares,
    handout: Handout,
    table: Table,
    handshakes: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Server {
    pub(super) fn new(
        identity: Identity,
        timing: Timing,
        limits: Limits,
        reputation: Arc<Mutex<Reputation>>,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        Arc::new(Self {
            handler: Mutex::default(),
            draining: AtomicBool::new(false),
            requests: Semaphore::new(limits.requests),
            memory: Semaphore::new(limits.payload_bytes / UNIT),
            shares: Shares::new(&limits),
            handout: Handout::new(&limits),
            table: Table::new(&limits),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            identity,
            timing,
            limits,
            reputation,
            shutdown,
        })
    }

    /// Waits until no request is in work; pieces of checkpoints do not count.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(self.limits.requests).unwrap_or(u32::MAX);
        // An error says that the semaphore is closed, which never happens.
        let _ = self.requests.acquire_many(all).await;
    }

    /// Takes connections until the token is cancelled or the endpoint is closed.
    ///
    /// # Cancel safety
    /// Cancel safe: connections taken so far go on.
    pub(super) async fn accept(self: Arc<Self>, endpoint: Endpoint) {
        let token = self.shutdown.token();
        loop {
            let incoming = tokio::select! {
                biased;
                () = token.cancelled() => return,
                incoming = endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { return };
            self.on_incoming(incoming);
        }
    }

    fn on_incoming(self: &Arc<Self>, incoming: Incoming) {
        let handshake = self.handshakes.clone().try_acquire_owned().ok().filter(|_| self.table.has_room());
        let Some(handshake) = handshake else {
            incoming.refuse();
            return;
        };
        let trusting = HANDSHAKES - self.handshakes.available_permits() <= TRUSTING_HANDSHAKES;
        if !trusting && incoming.may_retry() {
            // Cannot fail: the address was not validated.
            let _ = incoming.retry();
            return;
        }
        let server = self.clone();
        self.shutdown.spawn("tensor connection", async move {
            let token = server.shutdown.token();
            let established = async {
                match incoming.accept() {
                    Ok(connecting) => timeout(HANDSHAKE, connecting).await.ok()?.ok(),
                    Err(_) => None,
                }
            };
            let connection = tokio::select! {
                biased;
                () = token.cancelled() => return,
                connection = established => connection,
            };
            drop(handshake);
            if let Some(connection) = connection {
                server.on_connection(connection).await;
            }
        });
    }

    async fn on_connection(self: &Arc<Self>, connection: Connection) {
        let Some(peer) = tls::remote_peer(&connection) else {
            connection.close(codes::MALFORMED, b"no peer id");
            return;
        };
        if self.is_banned(&peer) {
            connection.close(codes::BANNED, b"banned");
            return;
        }
        let Some(activity) = self.table.enter(peer, &connection) else {
            connection.close(codes::TOO_MANY, b"no room");
            return;
        };
        let token = self.shutdown.token();
        loop {
            let stream = tokio::select! {
                biased;
                () = token.cancelled() => break,
                stream = connection.accept_bi() => stream,
            };
            let Ok((send, recv)) = stream else { break };
            let busy = activity.begin();
            let (server, connection, token) = (self.clone(), connection.clone(), token.clone());
            self.shutdown.spawn("tensor request", async move {
                let _busy = busy;
                let sender = Sender::new(send, codes::FAILED);
                tokio::select! {
                    biased;
                    () = token.cancelled() => {}
                    () = server.on_stream(peer, &connection, sender, recv) => {}
                }
            });
        }
        self.table.leave(&connection);
    }

    fn handler(&self) -> Option<Arc<dyn ForwardHandler>> {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_banned(&self, peer: &PeerId) -> bool {
        self.reputation.lock().unwrap_or_else(PoisonError::into_inner).is_banned(peer, Instant::now())
    }

    fn on_malformed(&self, peer: PeerId, connection: &Connection, sender: Sender, mut recv: RecvStream, why: &str) {
        tracing::debug!(%peer, why, "malformed tensor message");
        sender.reset(codes::MALFORMED);
        // An error says that the stream is closed already.
        let _ = recv.stop(codes::MALFORMED);
        let mut book = self.reputation.lock().unwrap_or_else(PoisonError::into_inner);
        if book.report(peer, Misdeed::Malformed, Instant::now()) {
            connection.close(codes::BANNED, b"banned");
        }
    }

    /// Reads a request, has it answered and writes the answer.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future drops the handler's work, gives back its room and resets the stream.
    async fn on_stream(&self, peer: PeerId, connection: &Connection, mut sender: Sender, mut recv: RecvStream) {
        let place = self.requests.try_acquire().ok().and_then(|place| Some((place, self.shares.enter(peer)?)));
        let Some((place, mut share)) = place else {
            return refuse(sender, recv, UNREAD, busy()).await;
        };
        let read = timeout(self.timing.request_read, self.read(&mut recv, &mut share)).await;
        let (request, _memory, arrival) = match read {
            Ok(Ok(Question::Forward(request, memory, arrival))) => (request, memory, arrival),
            Ok(Ok(Question::Checkpoint(request))) => {
                // Pieces have room of their own.
                drop((place, share));
                return self.handout.send(peer, self.handler(), request, sender).await;
            }
            Ok(Err(Unread::Refused(id, refusal))) => return refuse(sender, recv, id, refusal).await,
            Ok(Err(Unread::Malformed(why))) => return self.on_malformed(peer, connection, sender, recv, &why),
            // The caller is gone, or far too slow: the stream is reset on drop.
            Ok(Err(Unread::Gone)) | Err(_) => return,
        };
        let id = request.id;
        // Shares the tensors' bytes, which are in the budget until the answer is written.
        let asked = request.clone();
        let message = match self.answer(peer, request, &sender, arrival).await {
            Some(Ok(response)) => Message::Response(self.sign(&asked, response)),
            Some(Err(refusal)) => Message::Refusal { id, refusal },
            None => return sender.reset(codes::CANCELLED),
        };
        let encoded = frame::encode(&message).or_else(|e| {
            tracing::warn!(error = %e, "an answer does not fit into a frame");
            frame::encode(&Message::Refusal { id, refusal: Refusal::Failed("its answer is too large".to_owned()) })
        });
        let Ok(encoded) = encoded else { return };
        // Whoever does not take the answer in time loses it: the stream is reset on drop.
        if let Ok(Err(e)) = timeout(RESPONSE_WRITE, sender.send(encoded)).await {
            tracing::debug!(%peer, error = %e, "the answer was not taken");
        }
    }

    /// The answer with its receipt. Only answers are hashed, never what is refused, and for the largest that takes a
    /// few milliseconds: less than reading them took.
    fn sign(&self, request: &ForwardRequest, mut response: ForwardResponse) -> ForwardResponse {
        let sign = |message: &[u8]| self.identity.sign(message);
        response.receipt = Some(Receipt::sign(self.identity.peer_id(), request, &response, now_ms(), sign));
        response
    }

    /// Reads a question; memory for its payload is taken from the caller's share and from the common budget before a
    /// byte of it is read.
    ///
    /// # Cancel safety
    /// Not cancel safe: bytes read so far are lost; reset the stream then.
    async fn read(&self, recv: &mut RecvStream, share: &mut Share<'_>) -> Result<Question<'_>, Unread> {
        let prefix = wire::read_prefix(recv).await?;
        let arrival = tokio::time::Instant::now();
        if !matches!(prefix.kind, FrameKind::Request | FrameKind::CheckpointRequest) {
            return Err(Unread::Malformed("not a request".to_owned()));
        }
        let pending = wire::read_header(recv, prefix).await?;
        let id = pending.id();
        let most = self.limits.request_payload.min(self.limits.payload_bytes);
        if prefix.payload_len > most {
            let refusal = Refusal::TooLarge(format!("{} bytes of payload, at most {most} fit", prefix.payload_len));
            return Err(Unread::Refused(id, refusal));
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(Unread::Refused(id, busy()));
        }
        if !share.hold(prefix.payload_len) {
            return Err(Unread::Refused(id, busy()));
        }
        let memory = self.memory.try_acquire_many(units(prefix)).map_err(|_| Unread::Refused(id, busy()))?;
        match wire::read_payload(recv, pending).await? {
            Message::Request(request) => Ok(Question::Forward(request, memory, arrival)),
            Message::CheckpointRequest(request) => Ok(Question::Checkpoint(request)),
            _ => Err(Unread::Malformed("not a request".to_owned())),
        }
    }

    /// The handler's answer; `None` when the caller is gone.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future drops the handler's work.
    async fn answer(
        &self,
        peer: PeerId,
        request: ForwardRequest,
        sender: &Sender,
        arrival: tokio::time::Instant,
    ) -> Option<Result<ForwardResponse, Refusal>> {
        let deadline = arrival + Duration::from_millis(request.budget_ms.into()).min(MAX_BUDGET);
        let Some(handler) = self.handler() else { return Some(Err(Refusal::UnknownExpert)) };
        tokio::select! {
            biased;
            () = sender.stopped() => None,
            () = sleep_until(deadline) => Some(Err(Refusal::Deadline)),
            answer = handler.forward(peer, request) => Some(answer),
        }
    }
}

fn busy() -> Refusal {
    Refusal::Busy { retry_after_ms: RETRY_MS }
}

/// Units of the payload budget one request takes; at least one.
fn units(prefix: Prefix) -> u32 {
    u32::try_from(prefix.payload_len.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

/// What a caller wants.
enum Question<'a> {
    /// A forward pass; its payload is in the budget. And when it arrived.
    Forward(ForwardRequest, SemaphorePermit<'a>, tokio::time::Instant),
    /// A piece of a checkpoint.
    Checkpoint(CheckpointRequest),
}

/// Why a request was not read.
enum Unread {
    /// It is refused for its size or for want of room.
    Refused(RequestId, Refusal),
    /// It is none.
    Malformed(String),
    /// Its caller is gone.
    Gone,
}

impl From<WireError> for Unread {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Malformed(e) => Self::Malformed(e.to_string()),
            WireError::Truncated | WireError::Reset(_) | WireError::Lost(_) => Self::Gone,
        }
    }
}

/// Refuses a request that was not read to its end.
///
/// # Cancel safety
/// Cancel safe: dropping the future resets the stream.
async fn refuse(mut sender: Sender, mut recv: RecvStream, id: RequestId, refusal: Refusal) {
    // An error says that the stream is closed already.
    let _ = recv.stop(codes::DONE);
    if let Ok(frame) = frame::encode(&Message::Refusal { id, refusal }) {
        let _ = timeout(RESPONSE_WRITE, sender.send(frame)).await;
    }
}
