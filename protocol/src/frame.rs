//! Framing of the data plane: a fixed little-endian prefix, a bincode header, raw tensor bytes.
//!
//! ```text
//! offset  0     4        5     6      8           12             20
//!         magic version  kind  flags  header_len  payload_len    header … payload …
//!         u8×4  u8       u8    u16    u32         u64
//! ```
//!
//! A reader takes [`PREFIX_LEN`] bytes, gets a checked [`Prefix`], and only then takes memory for the rest.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, EncodeError};
use crate::forward::{ForwardRequest, ForwardResponse, Message, Refusal, too_many_tensors};
use crate::ids::{ContentHash, RequestId, SubnetName};
use crate::limits::{MAX_FRAME_HEADER, MAX_FRAME_PAYLOAD, MAX_TENSORS};
use crate::tensor::{Tensor, TensorHeader};
use crate::version::FRAME_VERSION;

/// First four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"GLIA";
/// Bytes of the fixed prefix.
pub const PREFIX_LEN: usize = 20;

/// What a frame carries. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// [`ForwardRequest`].
    Request = 1,
    /// [`ForwardResponse`].
    Response = 2,
    /// [`Refusal`].
    Refusal = 3,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Request, Self::Response, Self::Refusal].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A checked frame prefix: both lengths are within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// What follows.
    pub kind: FrameKind,
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes of the payload.
    pub payload_len: usize,
}

impl Prefix {
    /// Reads and checks a prefix; nothing is allocated.
    pub fn parse(bytes: &[u8; PREFIX_LEN]) -> Result<Self, DecodeError> {
        let mut rest = &bytes[..];
        let mut magic = [0; 4];
        rest.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return Err(DecodeError::malformed("frame", "it does not begin with GLIA"));
        }
        let version = rest.get_u8();
        if version != FRAME_VERSION {
            return Err(DecodeError::malformed("frame", format!("version {version}, this speaks {FRAME_VERSION}")));
        }
        let kind = rest.get_u8();
        let kind = FrameKind::from_byte(kind)
            .ok_or_else(|| DecodeError::malformed("frame", format!("unknown kind {kind}")))?;
        let flags = rest.get_u16_le();
        if flags != 0 {
            return Err(DecodeError::malformed("frame", format!("unknown flags {flags:#06x}")));
        }
        let header_len = rest.get_u32_le();
        let payload_len = rest.get_u64_le();
        if header_len as usize > MAX_FRAME_HEADER {
            let (got, max) = (u64::from(header_len), MAX_FRAME_HEADER as u64);
            return Err(DecodeError::TooLong { what: "frame header", got, max });
        }
        if payload_len > MAX_FRAME_PAYLOAD as u64 {
            let max = MAX_FRAME_PAYLOAD as u64;
            return Err(DecodeError::TooLong { what: "frame payload", got: payload_len, max });
        }
        Ok(Self { kind, header_len: header_len as usize, payload_len: payload_len as usize })
    }

    fn to_bytes(self) -> [u8; PREFIX_LEN] {
        let mut bytes = [0; PREFIX_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = FRAME_VERSION;
        bytes[5] = self.kind as u8;
        bytes[8..12].copy_from_slice(&(self.header_len as u32).to_le_bytes());
        bytes[12..20].copy_from_slice(&(self.payload_len as u64).to_le_bytes());
        bytes
    }
}

#[derive(Serialize, Deserialize)]
struct RequestHeader {
    id: RequestId,
    subnet: SubnetName,
    checkpoint: ContentHash,
    budget_ms: u32,
    tensors: Vec<TensorHeader>,
}

#[derive(Serialize, Deserialize)]
struct ResponseHeader {
    id: RequestId,
    checkpoint: ContentHash,
    queue_us: u32,
    compute_us: u32,
    batch: u32,
    tensors: Vec<TensorHeader>,
}

#[derive(Serialize, Deserialize)]
struct RefusalHeader {
    id: RequestId,
    refusal: Refusal,
}

/// An encoded message: `head` (prefix and header) and the payload parts, written one after the other, never copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Prefix and header.
    pub head: Bytes,
    /// Raw tensor bytes, one part per tensor.
    pub payload: Vec<Bytes>,
}

impl Encoded {
    /// All bytes in order, for writers that take a list of chunks.
    pub fn into_chunks(self) -> Vec<Bytes> {
        let mut chunks = Vec::with_capacity(1 + self.payload.len());
        chunks.push(self.head);
        chunks.extend(self.payload);
        chunks
    }
}

fn encode_parts<H: Serialize>(kind: FrameKind, header: &H, tensors: &[Tensor]) -> Result<Encoded, EncodeError> {
    let refuse = |max: usize, why: String| EncodeError { what: "frame", max, why };
    if tensors.len() > MAX_TENSORS {
        return Err(refuse(MAX_TENSORS, format!("{} tensors", tensors.len())));
    }
    let payload_len: usize = tensors.iter().map(|t| t.data().len()).sum();
    if payload_len > MAX_FRAME_PAYLOAD {
        return Err(refuse(MAX_FRAME_PAYLOAD, format!("{payload_len} payload bytes")));
    }
    let header = codec::encode("frame header", header, MAX_FRAME_HEADER)?;
    let prefix = Prefix { kind, header_len: header.len(), payload_len };
    let mut head = Vec::with_capacity(PREFIX_LEN + header.len());
    head.extend_from_slice(&prefix.to_bytes());
    head.extend_from_slice(&header);
    Ok(Encoded { head: head.into(), payload: tensors.iter().map(|t| t.data().clone()).collect() })
}

fn headers(tensors: &[Tensor]) -> Vec<TensorHeader> {
    tensors.iter().map(|t| t.header().clone()).collect()
}

/// Encodes a message without copying tensor bytes.
pub fn encode(message: &Message) -> Result<Encoded, EncodeError> {
    match message {
        Message::Request(r) => {
            let header = RequestHeader {
                id: r.id,
                subnet: r.subnet.clone(),
                checkpoint: r.checkpoint,
                budget_ms: r.budget_ms,
                tensors: headers(&r.tensors),
            };
            encode_parts(FrameKind::Request, &header, &r.tensors)
        }
        Message::Response(r) => {
            let header = ResponseHeader {
                id: r.id,
                checkpoint: r.checkpoint,
                queue_us: r.queue_us,
                compute_us: r.compute_us,
                batch: r.batch,
                tensors: headers(&r.tensors),
            };
            encode_parts(FrameKind::Response, &header, &r.tensors)
        }
        Message::Refusal { id, refusal } => {
            encode_parts(FrameKind::Refusal, &RefusalHeader { id: *id, refusal: refusal.clone() }, &[])
        }
    }
}

/// Cuts `payload` into tensors; refuses counts, shapes and sums that do not fit, before anything is allocated for them.
fn split(tensors: Vec<TensorHeader>, mut payload: Bytes) -> Result<Vec<Tensor>, DecodeError> {
    if tensors.len() > MAX_TENSORS {
        return Err(too_many_tensors(tensors.len()));
    }
    let mut parts = Vec::with_capacity(tensors.len());
    for header in tensors {
        let len = header.byte_len()?;
        if len > payload.len() {
            let (got, want) = (payload.len() as u64, len as u64);
            return Err(DecodeError::Truncated { what: "tensor", got, want });
        }
        let data = payload.split_to(len);
        parts.push(Tensor::new(header, data)?);
    }
    if !payload.is_empty() {
        return Err(DecodeError::malformed("frame", format!("{} payload bytes belong to no tensor", payload.len())));
    }
    Ok(parts)
}

/// Decodes the rest of a frame whose prefix was parsed. Tensors share `payload`'s memory.
pub fn decode(prefix: Prefix, header: &[u8], payload: Bytes) -> Result<Message, DecodeError> {
    for (what, got, want) in
        [("frame header", header.len(), prefix.header_len), ("frame payload", payload.len(), prefix.payload_len)]
    {
        if got != want {
            return Err(DecodeError::Truncated { what, got: got as u64, want: want as u64 });
        }
    }
    match prefix.kind {
        FrameKind::Request => {
            let h: RequestHeader = codec::decode("request header", header, MAX_FRAME_HEADER)?;
            let tensors = split(h.tensors, payload)?;
            let (id, subnet, checkpoint, budget_ms) = (h.id, h.subnet, h.checkpoint, h.budget_ms);
            Ok(Message::Request(ForwardRequest { id, subnet, checkpoint, budget_ms, tensors }))
        }
        FrameKind::Response => {
            let h: ResponseHeader = codec::decode("response header", header, MAX_FRAME_HEADER)?;
            let tensors = split(h.tensors, payload)?;
            Ok(Message::Response(ForwardResponse {
                id: h.id,
                checkpoint: h.checkpoint,
                queue_us: h.queue_us,
                compute_us: h.compute_us,
                batch: h.batch,
                tensors,
            }))
        }
        FrameKind::Refusal => {
            let h: RefusalHeader = codec::decode("refusal header", header, MAX_FRAME_HEADER)?;
            split(Vec::new(), payload)?;
            Ok(Message::Refusal { id: h.id, refusal: h.refusal })
        }
    }
}
