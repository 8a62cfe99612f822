//! The caller's side of one question.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use glia_protocol::codec::DecodeError;
use glia_protocol::forward::Message;
use glia_protocol::limits::MAX_FRAME_PAYLOAD;
use glia_protocol::{ForwardRequest, ForwardResponse, PeerId, Receipt, RequestId, frame};
use quinn::{Connection, ConnectionError, WriteError};
use tokio::time::{sleep, timeout_at};

use super::codes;
use super::pool::Pool;
use super::wire::{self, Sender, WireError};
use crate::errors::ForwardError;

/// A request that ends without any sign of the peer for this long casts doubt on the connection.
const DOUBT: Duration = Duration::from_secs(1);

/// Why one exchange failed.
enum Failure {
    /// The connection is gone; another one may work.
    Lost(ConnectionError),
    /// Final.
    Final(ForwardError),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Lost(lost) => Self::Lost(lost),
            WireError::Reset(code) if code == codes::MALFORMED => {
                Self::Final(ForwardError::Protocol("the peer does not understand the request".to_owned()))
            }
            WireError::Reset(code) => Self::Final(ForwardError::Closed(codes::name(code).to_owned())),
            other => Self::Final(ForwardError::Protocol(other.to_string())),
        }
    }
}

/// How one peer is asked.
pub(super) struct Link<'a> {
    pub(super) pool: &'a Pool,
    pub(super) peer: PeerId,
    pub(super) addresses: &'a [SocketAddr],
    /// A peer that does not acknowledge a question for this long is dead.
    pub(super) silence: Duration,
}

/// Asks for one forward pass.
///
/// # Cancel safety
/// Cancel safe: dropping the future resets the stream, and the peer drops the work.
pub(super) async fn call(
    link: Link<'_>,
    request: ForwardRequest,
    deadline: Duration,
) -> Result<ForwardResponse, ForwardError> {
    let end = tokio::time::Instant::now() + deadline;
    let question = || {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let budget_ms = if request.budget_ms == 0 { left_ms } else { request.budget_ms.min(left_ms) };
        Message::Request(ForwardRequest { budget_ms, ..request.clone() })
    };
    let answer = link.ask(request.id, MAX_FRAME_PAYLOAD, question);
    match timeout_at(end, answer).await.unwrap_or(Err(ForwardError::Timeout))? {
        Message::Response(response) if response.id == request.id && response.checkpoint == request.checkpoint => {
            match &response.receipt {
                Some(receipt) if !is_of(receipt, link.peer, &request) => {
                    Err(ForwardError::Protocol("the receipt belongs to another answer".to_owned()))
                }
                _ => Ok(response),
            }
        }
        _ => Err(foreign()),
    }
}

/// Whether a receipt is about this request to this peer. Its hashes and its signature are looked at by who relies on
/// them.
fn is_of(receipt: &Receipt, peer: PeerId, request: &ForwardRequest) -> bool {
    receipt.peer == peer
        && receipt.request == request.id
        && receipt.subnet == request.subnet
        && receipt.checkpoint == request.checkpoint
}

fn foreign() -> ForwardError {
    ForwardError::Protocol("the answer belongs to another request".to_owned())
}

impl Link<'_> {
    /// Asks `question` of this `id` and gives the answer, at most `most` bytes of payload; a refusal is an error. What
    /// kind of answer it is, and whether it fits, is left to the caller.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future resets the stream, and the peer drops the work.
    pub(super) async fn ask(
        &self,
        id: RequestId,
        most: usize,
        question: impl Fn() -> Message,
    ) -> Result<Message, ForwardError> {
        let mut first = true;
        loop {
            let pooled = self.pool.get(self.peer, self.addresses).await.map_err(ForwardError::Connect)?;
            let frame = frame::encode(&question()).map_err(|e| ForwardError::Protocol(e.to_string()))?;
            match exchange(&pooled.connection, frame, most, self.silence).await {
                // A refusal from before the request was read cannot name it.
                Ok(Message::Refusal { id: named, refusal }) if named == id || named == UNREAD => {
                    return Err(ForwardError::Refused(refusal));
                }
                Ok(Message::Refusal { .. }) => return Err(foreign()),
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Lost(lost)) => {
                    self.pool.forget(&self.peer, &pooled.connection);
                    // A connection from before can have died unnoticed, e.g. with a restart of the peer. No question
                    // has side effects, so it is safe to ask once more.
                    if !(pooled.reused && first && is_stale(&lost)) {
                        return Err(ForwardError::Closed(lost.to_string()));
                    }
                    first = false;
                }
            }
        }
    }
}

/// Whether the loss says that the peer no longer knows the connection or gave its idle place to another one, not
/// that it closed it for cause.
fn is_stale(lost: &ConnectionError) -> bool {
    match lost {
        ConnectionError::Reset | ConnectionError::TimedOut | ConnectionError::LocallyClosed => true,
        ConnectionError::ApplicationClosed(close) => close.error_code == codes::TOO_MANY,
        _ => false,
    }
}

/// One question and its answer on a stream of their own.
///
/// # Cancel safety
/// Cancel safe: dropping the future resets the stream, and the peer drops the work.
async fn exchange(
    connection: &Connection,
    frame: frame::Encoded,
    most: usize,
    silence: Duration,
) -> Result<Message, Failure> {
    let mut watch = Watch::new(connection);
    let outcome = tokio::select! {
        biased;
        outcome = converse(connection, frame, most, &watch) => outcome,
        () = watch.silent(silence) => {
            watch.condemn();
            Err(Failure::Final(ForwardError::Closed(format!("no sign of life for {silence:?}"))))
        }
    };
    watch.answered = true;
    outcome
}

/// The id in a refusal of a request that was not read.
pub(super) const UNREAD: RequestId = RequestId::UNREAD;

/// Sends the frame on a new stream and reads the answer to its end.
///
/// # Cancel safety
/// Cancel safe: dropping the future resets what is written and stops what is read of this stream; nothing is left on
/// the connection.
async fn converse(
    connection: &Connection,
    frame: frame::Encoded,
    most: usize,
    watch: &Watch<'_>,
) -> Result<Message, Failure> {
    let (send, recv) = connection.open_bi().await.map_err(Failure::Lost)?;
    let mut sender = Sender::new(send, codes::CANCELLED);
    let mut receiver = Receiver { stream: recv, done: false };
    match sender.send(frame).await {
        // The peer does not want the rest: it has answered already.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(WriteError::ConnectionLost(lost)) => return Err(Failure::Lost(lost)),
        Err(other) => return Err(Failure::Final(ForwardError::Closed(other.to_string()))),
    }
    let acknowledged = async {
        sender.stopped().await;
        watch.acknowledged.store(true, Ordering::Relaxed);
    };
    let answer = async {
        let prefix = wire::read_prefix(&mut receiver.stream).await?;
        let pending = wire::read_header(&mut receiver.stream, prefix).await?;
        if pending.payload_len() > most {
            let (got, max) = (pending.payload_len() as u64, most as u64);
            return Err(WireError::from(DecodeError::TooLong { what: "answer", got, max }).into());
        }
        let message = wire::read_payload(&mut receiver.stream, pending).await?;
        receiver.done = true;
        Ok(message)
    };
    tokio::pin!(acknowledged, answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        () = &mut acknowledged => {}
    }
    answer.await
}

/// Tells the peer to stop if the answer is not awaited to its end.
struct Receiver {
    stream: quinn::RecvStream,
    done: bool,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.done {
            // An error says that the stream is closed already.
            let _ = self.stream.stop(codes::CANCELLED);
        }
    }
}

/// Watches for signs of the peer until it has acknowledged the whole request. Without them the connection is dead,
/// long before QUIC's own idle timeout.
struct Watch<'a> {
    connection: &'a Connection,
    heard: AtomicU64,
    since: Instant,
    /// The peer has the whole request.
    acknowledged: AtomicBool,
    answered: bool,
}

impl<'a> Watch<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            heard: AtomicU64::new(connection.stats().udp_rx.datagrams),
            since: Instant::now(),
            acknowledged: AtomicBool::new(false),
            answered: false,
        }
    }

    /// Whether nothing at all arrived since this was asked last.
    fn is_silent(&self) -> bool {
        let now = self.connection.stats().udp_rx.datagrams;
        !self.acknowledged.load(Ordering::Relaxed) && self.heard.swap(now, Ordering::Relaxed) == now
    }

    /// Resolves when nothing at all arrives for `silence` while the request is not acknowledged.
    ///
    /// # Cancel safety
    /// Cancel safe: begun anew, it listens for `silence` again.
    async fn silent(&self, silence: Duration) {
        loop {
            // A late datagram from before the request may excuse the first round, but not the second.
            sleep(silence).await;
            if self.is_silent() {
                return;
            }
        }
    }

    fn condemn(&self) {
        self.connection.close(codes::SILENT, b"no acknowledgement");
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // The deadline passed and the peer was not heard: the next caller shall dial anew.
        if !self.answered && self.since.elapsed() >= DOUBT && self.is_silent() {
            self.condemn();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_gave_way_is_stale_and_one_closed_for_cause_is_not() {
        let closed = |code| {
            ConnectionError::ApplicationClosed(quinn::ApplicationClose {
                error_code: code,
                reason: bytes::Bytes::new(),
            })
        };
        assert!(is_stale(&closed(codes::TOO_MANY)));
        for cause in [codes::BANNED, codes::MALFORMED, codes::SHUTDOWN] {
            assert!(!is_stale(&closed(cause)));
        }
    }
}
