//! Framing of the data plane: a fixed little-endian prefix, a bincode header, raw tensor bytes.
//!
//! ```text
//! offset  0     4        5     6      8           12             20
//!         magic version  kind  flags  header_len  payload_len    header … payload …
//!         u8×4  u8       u8    u16    u32         u64
//! ```
//!
//! A reader takes [`PREFIX_LEN`] bytes and gets a checked [`Prefix`]; takes the header (16 KiB at most) and gets a
//! [`Pending`] message, whose tensor shapes add up to exactly the announced payload; and only then takes memory for
//! the payload, better as it arrives than all at once.

use std::cmp::Ordering;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, DecodeError, EncodeError};
use crate::forward::{ForwardRequest, ForwardResponse, Message, Refusal};
use crate::ids::{ContentHash, RequestId, SubnetName};
use crate::limits::{MAX_FRAME_HEADER, MAX_FRAME_PAYLOAD, MAX_TENSORS};
use crate::receipt::Receipt;
use crate::tensor::{Tensor, TensorHeader};
use crate::transfer::{CheckpointChunk, CheckpointRequest, check_chunk};
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
    /// [`CheckpointRequest`].
    CheckpointRequest = 4,
    /// [`CheckpointChunk`].
    CheckpointChunk = 5,
}

impl FrameKind {
    /// All kinds, by number.
    pub const ALL: [Self; 5] =
        [Self::Request, Self::Response, Self::Refusal, Self::CheckpointRequest, Self::CheckpointChunk];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
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
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_TENSORS>")]
    tensors: Vec<TensorHeader>,
}

#[derive(Serialize, Deserialize)]
struct ResponseHeader {
    id: RequestId,
    checkpoint: ContentHash,
    queue_us: u32,
    compute_us: u32,
    batch: u32,
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_TENSORS>")]
    tensors: Vec<TensorHeader>,
    receipt: Option<Receipt>,
}

#[derive(Serialize, Deserialize)]
struct RefusalHeader {
    id: RequestId,
    refusal: Refusal,
}

#[derive(Serialize, Deserialize)]
struct ChunkRequestHeader {
    id: RequestId,
    subnet: SubnetName,
    checkpoint: ContentHash,
    offset: u64,
    length: u32,
}

#[derive(Serialize, Deserialize)]
struct ChunkHeader {
    id: RequestId,
    checkpoint: ContentHash,
    total: u64,
    offset: u64,
}

/// An encoded message: `head` (prefix and header) and the payload parts, written one after the other, never copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Prefix and header.
    pub head: Bytes,
    /// Raw bytes: one part per tensor, or the piece of a checkpoint.
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

fn refuse(max: usize, why: String) -> EncodeError {
    EncodeError { what: "frame", max, why }
}

fn encode_tensors<H: Serialize>(kind: FrameKind, header: &H, tensors: &[Tensor]) -> Result<Encoded, EncodeError> {
    if tensors.len() > MAX_TENSORS {
        return Err(refuse(MAX_TENSORS, format!("{} tensors", tensors.len())));
    }
    check_names(tensors.iter().map(Tensor::header))?;
    encode_parts(kind, header, tensors.iter().map(|t| t.data().clone()).collect())
}

fn encode_parts<H: Serialize>(kind: FrameKind, header: &H, payload: Vec<Bytes>) -> Result<Encoded, EncodeError> {
    let payload_len: usize = payload.iter().map(Bytes::len).sum();
    if payload_len > MAX_FRAME_PAYLOAD {
        return Err(refuse(MAX_FRAME_PAYLOAD, format!("{payload_len} payload bytes")));
    }
    let header = codec::encode("frame header", header, MAX_FRAME_HEADER)?;
    let prefix = Prefix { kind, header_len: header.len(), payload_len };
    let mut head = Vec::with_capacity(PREFIX_LEN + header.len());
    head.extend_from_slice(&prefix.to_bytes());
    head.extend_from_slice(&header);
    Ok(Encoded { head: head.into(), payload })
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
            encode_tensors(FrameKind::Request, &header, &r.tensors)
        }
        Message::Response(r) => {
            let header = ResponseHeader {
                id: r.id,
                checkpoint: r.checkpoint,
                queue_us: r.queue_us,
                compute_us: r.compute_us,
                batch: r.batch,
                tensors: headers(&r.tensors),
                receipt: r.receipt.clone(),
            };
            encode_tensors(FrameKind::Response, &header, &r.tensors)
        }
        Message::Refusal { id, refusal } => {
            encode_parts(FrameKind::Refusal, &RefusalHeader { id: *id, refusal: refusal.clone() }, vec![])
        }
        Message::CheckpointRequest(r) => {
            r.validate()?;
            let header = ChunkRequestHeader {
                id: r.id,
                subnet: r.subnet.clone(),
                checkpoint: r.checkpoint,
                offset: r.offset,
                length: r.length,
            };
            encode_parts(FrameKind::CheckpointRequest, &header, vec![])
        }
        Message::CheckpointChunk(c) => {
            check_chunk(c.total, c.offset, c.bytes.len())?;
            let header = ChunkHeader { id: c.id, checkpoint: c.checkpoint, total: c.total, offset: c.offset };
            encode_parts(FrameKind::CheckpointChunk, &header, vec![c.bytes.clone()])
        }
    }
}

/// Refuses two tensors of one name: readers would disagree on which one is meant.
fn check_names<'a>(headers: impl Iterator<Item = &'a TensorHeader> + Clone) -> Result<(), DecodeError> {
    let twice = headers.clone().enumerate().any(|(i, header)| headers.clone().take(i).any(|h| h.name == header.name));
    if twice { Err(DecodeError::malformed("frame", "two tensors have the same name")) } else { Ok(()) }
}

/// Refuses shapes that do not add up to exactly `payload_len` bytes.
fn check_tensors(headers: &[TensorHeader], payload_len: usize) -> Result<(), DecodeError> {
    check_names(headers.iter())?;
    let mut sum = 0usize;
    for header in headers {
        // At most MAX_TENSORS times MAX_FRAME_PAYLOAD.
        sum = sum.saturating_add(header.byte_len()?);
    }
    if sum != payload_len {
        return Err(DecodeError::malformed("frame", format!("shapes of {sum} bytes, a payload of {payload_len}")));
    }
    Ok(())
}

#[allow(clippy::large_enum_variant, reason = "one lives per stream, and only until its payload is there")]
enum Header {
    Request(RequestHeader),
    Response(ResponseHeader),
    Refusal(RefusalHeader),
    CheckpointRequest(CheckpointRequest),
    CheckpointChunk(ChunkHeader),
}

/// A message whose header was read and fits its payload, which is still to come.
pub struct Pending {
    header: Header,
    payload_len: usize,
}

impl Pending {
    /// Reads and checks the header that follows `prefix`.
    pub fn parse(prefix: Prefix, header: &[u8]) -> Result<Self, DecodeError> {
        check_len("frame header", header.len(), prefix.header_len)?;
        let header = match prefix.kind {
            FrameKind::Request => Header::Request(codec::decode("request header", header, MAX_FRAME_HEADER)?),
            FrameKind::Response => Header::Response(codec::decode("response header", header, MAX_FRAME_HEADER)?),
            FrameKind::Refusal => Header::Refusal(codec::decode("refusal header", header, MAX_FRAME_HEADER)?),
            FrameKind::CheckpointRequest => {
                let h: ChunkRequestHeader = codec::decode("checkpoint request header", header, MAX_FRAME_HEADER)?;
                let ChunkRequestHeader { id, subnet, checkpoint, offset, length } = h;
                let request = CheckpointRequest { id, subnet, checkpoint, offset, length };
                request.validate()?;
                Header::CheckpointRequest(request)
            }
            FrameKind::CheckpointChunk => {
                Header::CheckpointChunk(codec::decode("checkpoint chunk header", header, MAX_FRAME_HEADER)?)
            }
        };
        let pending = Self { header, payload_len: prefix.payload_len };
        match &pending.header {
            Header::CheckpointChunk(h) => check_chunk(h.total, h.offset, pending.payload_len)?,
            _ => check_tensors(pending.tensors(), pending.payload_len)?,
        }
        Ok(pending)
    }

    /// Headers of the tensors in the payload.
    pub fn tensors(&self) -> &[TensorHeader] {
        match &self.header {
            Header::Request(h) => &h.tensors,
            Header::Response(h) => &h.tensors,
            Header::Refusal(_) | Header::CheckpointRequest(_) | Header::CheckpointChunk(_) => &[],
        }
    }

    /// Which request this is or answers.
    pub fn id(&self) -> RequestId {
        match &self.header {
            Header::Request(h) => h.id,
            Header::Response(h) => h.id,
            Header::Refusal(h) => h.id,
            Header::CheckpointRequest(h) => h.id,
            Header::CheckpointChunk(h) => h.id,
        }
    }

    /// Bytes of payload still to come.
    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    /// The message. Its tensors share `payload`'s memory.
    pub fn finish(self, payload: Bytes) -> Result<Message, DecodeError> {
        check_len("frame payload", payload.len(), self.payload_len)?;
        Ok(match self.header {
            Header::Request(h) => Message::Request(ForwardRequest {
                id: h.id,
                subnet: h.subnet,
                checkpoint: h.checkpoint,
                budget_ms: h.budget_ms,
                tensors: split(h.tensors, payload)?,
            }),
            Header::Response(h) => Message::Response(ForwardResponse {
                id: h.id,
                checkpoint: h.checkpoint,
                queue_us: h.queue_us,
                compute_us: h.compute_us,
                batch: h.batch,
                tensors: split(h.tensors, payload)?,
                receipt: h.receipt,
            }),
            Header::Refusal(h) => Message::Refusal { id: h.id, refusal: h.refusal },
            Header::CheckpointRequest(request) => Message::CheckpointRequest(request),
            Header::CheckpointChunk(h) => Message::CheckpointChunk(CheckpointChunk {
                id: h.id,
                checkpoint: h.checkpoint,
                total: h.total,
                offset: h.offset,
                bytes: payload,
            }),
        })
    }
}

fn check_len(what: &'static str, got: usize, want: usize) -> Result<(), DecodeError> {
    match got.cmp(&want) {
        Ordering::Less => Err(DecodeError::Truncated { what, got: got as u64, want: want as u64 }),
        Ordering::Greater => Err(DecodeError::TooLong { what, got: got as u64, max: want as u64 }),
        Ordering::Equal => Ok(()),
    }
}

/// Cuts `payload` into tensors whose lengths were checked to add up to it.
fn split(headers: Vec<TensorHeader>, mut payload: Bytes) -> Result<Vec<Tensor>, DecodeError> {
    let mut tensors = Vec::with_capacity(headers.len());
    for header in headers {
        let len = header.byte_len()?;
        if len > payload.len() {
            let (got, want) = (payload.len() as u64, len as u64);
            return Err(DecodeError::Truncated { what: "tensor", got, want });
        }
        tensors.push(Tensor::new(header, payload.split_to(len))?);
    }
    Ok(tensors)
}

/// Decodes the rest of a frame whose prefix was parsed. Tensors share `payload`'s memory.
pub fn decode(prefix: Prefix, header: &[u8], payload: Bytes) -> Result<Message, DecodeError> {
    Pending::parse(prefix, header)?.finish(payload)
}
