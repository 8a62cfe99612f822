//! A tensor forward pass: request, response, refusal.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::ids::{ContentHash, RequestId, SubnetName};
use crate::receipt::Receipt;
use crate::tensor::Tensor;
use crate::transfer::{CheckpointChunk, CheckpointRequest};

/// Asks one expert for one forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardRequest {
    /// Follows the request through logs and receipts.
    pub id: RequestId,
    /// Subnet of the expert.
    pub subnet: SubnetName,
    /// Checkpoint that must answer.
    pub checkpoint: ContentHash,
    /// Milliseconds the caller will wait, counted from arrival (relative, so clocks need not agree).
    pub budget_ms: u32,
    /// Inputs.
    pub tensors: Vec<Tensor>,
}

/// The answer of an expert.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardResponse {
    /// Of the request.
    pub id: RequestId,
    /// Checkpoint that answered.
    pub checkpoint: ContentHash,
    /// Microseconds spent waiting for a batch.
    pub queue_us: u32,
    /// Microseconds of the batch's forward pass.
    pub compute_us: u32,
    /// Inputs computed together.
    pub batch: u32,
    /// Outputs.
    pub tensors: Vec<Tensor>,
    /// The expert's signed word for this answer. `None` only inside the expert: its server signs before it sends.
    pub receipt: Option<Receipt>,
}

/// Why an expert does not answer. A refusal is a value, not a failure of the connection.
///
/// A reason of more than 128 bytes is cut when it is written, and its control characters become spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Its queue is full.
    #[error("busy, retry after {retry_after_ms} ms")]
    Busy {
        /// When a place is likely free.
        retry_after_ms: u32,
    },
    /// It serves no such checkpoint in this subnet, or does not hand out its file.
    #[error("it does not serve this checkpoint")]
    UnknownExpert,
    /// The input does not fit the schema.
    #[error("bad shape: {0}")]
    BadShape(#[serde(serialize_with = "bounded::write_reason", deserialize_with = "bounded::text")] String),
    /// The answer would come too late.
    #[error("the deadline passed before the work began")]
    Deadline,
    /// More than it takes in one request.
    #[error("too large: {0}")]
    TooLarge(#[serde(serialize_with = "bounded::write_reason", deserialize_with = "bounded::text")] String),
    /// The caller may not ask.
    #[error("not authorised")]
    Unauthorised,
    /// The model failed; the message names no internals.
    #[error("the expert failed: {0}")]
    Failed(#[serde(serialize_with = "bounded::write_reason", deserialize_with = "bounded::text")] String),
}

impl Refusal {
    /// Whether another try at the same expert can succeed soon.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Deadline)
    }
}

/// Any message of the data plane.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one lives per stream, and only for as long as it is read or written")]
pub enum Message {
    /// Caller to expert.
    Request(ForwardRequest),
    /// Expert to caller.
    Response(ForwardResponse),
    /// Expert to caller.
    Refusal {
        /// Of the request.
        id: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// Caller to expert.
    CheckpointRequest(CheckpointRequest),
    /// Expert to caller.
    CheckpointChunk(CheckpointChunk),
}

impl From<ForwardRequest> for Message {
    fn from(request: ForwardRequest) -> Self {
        Self::Request(request)
    }
}

impl From<ForwardResponse> for Message {
    fn from(response: ForwardResponse) -> Self {
        Self::Response(response)
    }
}

impl From<CheckpointRequest> for Message {
    fn from(request: CheckpointRequest) -> Self {
        Self::CheckpointRequest(request)
    }
}

impl From<CheckpointChunk> for Message {
    fn from(chunk: CheckpointChunk) -> Self {
        Self::CheckpointChunk(chunk)
    }
}
