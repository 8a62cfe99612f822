//! Fetching the file of a published checkpoint, chunk by chunk.
//!
//! The caller asks for a piece, the expert sends it and says how long the whole file is. The hash in the request names
//! the content, so who was lied to finds out at the end at the latest.

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::ids::{ContentHash, RequestId, SubnetName};
use crate::limits::{MAX_CHECKPOINT, MAX_CHUNK};

/// Asks an expert for a piece of the file of a checkpoint that it publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// Follows the request through logs and answers.
    pub id: RequestId,
    /// Subnet of the expert.
    pub subnet: SubnetName,
    /// blake3 of the wanted file.
    pub checkpoint: ContentHash,
    /// First wanted byte.
    pub offset: u64,
    /// Bytes wanted, 1 to [`MAX_CHUNK`]; the end of the file gives fewer.
    pub length: u32,
}

/// A piece of a checkpoint's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointChunk {
    /// Of the request.
    pub id: RequestId,
    /// Of the request.
    pub checkpoint: ContentHash,
    /// Bytes of the whole file, 1 to [`MAX_CHECKPOINT`].
    pub total: u64,
    /// Of the request.
    pub offset: u64,
    /// The bytes from `offset`, as many as were asked for or as there are.
    pub bytes: Bytes,
}

impl CheckpointRequest {
    /// Checks that the piece can exist.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::malformed("checkpoint request", why));
        if self.length == 0 || self.length as usize > MAX_CHUNK {
            return refuse(format!("{} bytes are wanted, 1 to {MAX_CHUNK} can be", self.length));
        }
        if self.offset >= MAX_CHECKPOINT as u64 {
            return refuse(format!("no checkpoint has a byte {}", self.offset));
        }
        Ok(())
    }

    /// The answer out of `file`; `None` when it ends before the offset.
    pub fn answer(&self, file: &Bytes) -> Option<CheckpointChunk> {
        let from = usize::try_from(self.offset).ok().filter(|&from| from < file.len())?;
        let to = from.saturating_add(self.length as usize).min(file.len());
        Some(CheckpointChunk {
            id: self.id,
            checkpoint: self.checkpoint,
            total: file.len() as u64,
            offset: self.offset,
            bytes: file.slice(from..to),
        })
    }

    /// Whether `chunk` is the piece that was asked for: id, checkpoint and offset are those of the request, and it is
    /// as long as the request and the announced total allow.
    pub fn is_answered_by(&self, chunk: &CheckpointChunk) -> bool {
        let left = chunk.total.saturating_sub(self.offset);
        chunk.id == self.id
            && chunk.checkpoint == self.checkpoint
            && chunk.offset == self.offset
            && chunk.bytes.len() as u64 == left.min(u64::from(self.length))
    }
}

/// Checks the numbers of a chunk of `len` bytes before memory is taken for it.
pub(crate) fn check_chunk(total: u64, offset: u64, len: usize) -> Result<(), DecodeError> {
    let refuse = |why: String| Err(DecodeError::malformed("checkpoint chunk", why));
    if total == 0 || total > MAX_CHECKPOINT as u64 {
        return refuse(format!("a file of {total} bytes, 1 to {MAX_CHECKPOINT} are allowed"));
    }
    if len == 0 || len > MAX_CHUNK {
        return refuse(format!("{len} bytes, 1 to {MAX_CHUNK} are allowed"));
    }
    match offset.checked_add(len as u64) {
        Some(end) if end <= total => Ok(()),
        _ => refuse(format!("{len} bytes at {offset} of a file of {total}")),
    }
}
