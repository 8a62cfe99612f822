//! Frames on QUIC streams: lengths are checked before memory is taken, tensor bytes are not copied on the way out.

use bytes::Bytes;
use glia_protocol::codec::DecodeError;
use glia_protocol::forward::Message;
use glia_protocol::frame::{Encoded, PREFIX_LEN, Pending, Prefix};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};

use super::codes;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The bytes break the protocol.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The other side reset the stream.
    #[error("stream reset: {}", codes::name(*.0))]
    Reset(VarInt),
    /// The connection is gone.
    #[error("{0}")]
    Lost(quinn::ConnectionError),
}

impl From<ReadError> for WireError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code),
            ReadError::ConnectionLost(lost) => Self::Lost(lost),
            _ => Self::Truncated,
        }
    }
}

impl From<ReadExactError> for WireError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Truncated,
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}

/// Reads the fixed prefix of a frame; nothing is allocated.
///
/// # Cancel safety
/// Not cancel safe: bytes read so far are lost.
pub(super) async fn read_prefix(stream: &mut RecvStream) -> Result<Prefix, WireError> {
    let mut prefix = [0; PREFIX_LEN];
    stream.read_exact(&mut prefix).await?;
    Ok(Prefix::parse(&prefix)?)
}

/// Reads the header that follows `prefix` and checks that its tensors fill exactly the announced payload.
///
/// # Cancel safety
/// Not cancel safe: bytes read so far are lost.
pub(super) async fn read_header(stream: &mut RecvStream, prefix: Prefix) -> Result<Pending, WireError> {
    let header = read_bytes(stream, prefix.header_len).await?;
    Ok(Pending::parse(prefix, &header)?)
}

/// Reads the payload into one allocation of its announced (and checked) size, and the end of the stream.
///
/// # Cancel safety
/// Not cancel safe: bytes read so far are lost.
pub(super) async fn read_payload(stream: &mut RecvStream, pending: Pending) -> Result<Message, WireError> {
    let payload = read_bytes(stream, pending.payload_len()).await?;
    if stream.read_chunk(1, true).await?.is_some() {
        return Err(DecodeError::malformed("frame", "bytes follow it").into());
    }
    Ok(pending.finish(payload)?)
}

/// Exactly `len` bytes. The memory is reserved at once but used as bytes arrive.
///
/// # Cancel safety
/// Not cancel safe: bytes read so far are lost.
async fn read_bytes(stream: &mut RecvStream, len: usize) -> Result<Bytes, WireError> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let chunk = stream.read_chunk(len - bytes.len(), true).await?.ok_or(WireError::Truncated)?;
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(bytes.into())
}

/// Writes a whole frame and ends the stream.
///
/// # Cancel safety
/// Not cancel safe: a part of the frame may have been written; reset the stream then.
pub(super) async fn write(stream: &mut SendStream, frame: Encoded) -> Result<(), WriteError> {
    let mut chunks = frame.into_chunks();
    stream.write_all_chunks(&mut chunks).await?;
    stream.finish().map_err(|_| WriteError::ClosedStream)
}

/// A send stream that is reset, not ended, unless the whole frame was written.
pub(super) struct Sender {
    stream: SendStream,
    on_drop: Option<VarInt>,
}

impl Sender {
    /// Resets with `code` if dropped early.
    pub(super) fn new(stream: SendStream, code: VarInt) -> Self {
        Self { stream, on_drop: Some(code) }
    }

    /// Writes a whole frame and ends the stream.
    ///
    /// # Cancel safety
    /// Not cancel safe: a part may have been written; then dropping the sender resets the stream.
    pub(super) async fn send(&mut self, frame: Encoded) -> Result<(), WriteError> {
        write(&mut self.stream, frame).await?;
        self.on_drop = None;
        Ok(())
    }

    /// Resolves when the other side no longer reads or the connection is gone.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.stream.stopped();
        async move {
            let _ = stopped.await;
        }
    }

    /// Lets every other stream of the connection go first.
    pub(super) fn give_way(&self) {
        // An error says that the stream is closed already.
        let _ = self.stream.set_priority(-1);
    }

    pub(super) fn reset(mut self, code: VarInt) {
        self.on_drop = Some(code);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(code) = self.on_drop {
            // An error says that the stream is closed already.
            let _ = self.stream.reset(code);
        }
    }
}
