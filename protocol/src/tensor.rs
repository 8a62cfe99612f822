//! Tensors as they travel: dtype, shape and raw little-endian bytes.

use bytes::Bytes;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::DecodeError;
use crate::limits::{MAX_FRAME_PAYLOAD, MAX_RANK, MAX_TEXT};

/// Element type. Numbers are part of the wire: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// Two's complement 64 bit.
    I64,
    /// Unsigned byte.
    U8,
}

impl DType {
    /// All dtypes, in wire order.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::BF16, Self::I64, Self::U8];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::I64 => 8,
            Self::U8 => 1,
        }
    }
}

/// What a tensor is called and how its bytes are laid out (row-major).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHeader {
    /// Name within the request, e.g. `image`.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, slowest first; the first one is the batch. None is 0.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_RANK>")]
    pub shape: Vec<u32>,
}

impl TensorHeader {
    /// Payload bytes this header stands for; refuses too many dimensions, empty ones (a batch of four billion items in
    /// no bytes), long names and overflowing shapes.
    pub fn byte_len(&self) -> Result<usize, DecodeError> {
        let refuse = |why: String| DecodeError::malformed("tensor header", why);
        if self.shape.len() > MAX_RANK {
            return Err(refuse(format!("{} dimensions, at most {MAX_RANK} are allowed", self.shape.len())));
        }
        if !bounded::is_text(&self.name) {
            return Err(refuse(format!("its name is longer than {MAX_TEXT} bytes or has control characters")));
        }
        if self.shape.contains(&0) {
            return Err(refuse(format!("shape {:?} is empty", self.shape)));
        }
        self.shape
            .iter()
            .try_fold(self.dtype.size(), |bytes, &dim| bytes.checked_mul(dim as usize))
            .filter(|&bytes| bytes <= MAX_FRAME_PAYLOAD)
            .ok_or_else(|| refuse(format!("shape {:?} is larger than {MAX_FRAME_PAYLOAD} bytes", self.shape)))
    }
}

/// A tensor: header and raw bytes. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    header: TensorHeader,
    data: Bytes,
}

impl Tensor {
    /// A tensor over `data`; refuses a length that is not what the header says.
    pub fn new(header: TensorHeader, data: Bytes) -> Result<Self, DecodeError> {
        let want = header.byte_len()?;
        if data.len() != want {
            return Err(DecodeError::malformed(
                "tensor",
                format!("{} bytes of data for shape {:?}, which takes {want}", data.len(), header.shape),
            ));
        }
        Ok(Self { header, data })
    }

    /// An f32 tensor from values (row-major).
    pub fn from_f32(name: &str, shape: &[u32], values: &[f32]) -> Result<Self, DecodeError> {
        let mut data = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
        Self::new(TensorHeader { name: name.to_owned(), dtype: DType::F32, shape: shape.to_vec() }, data.into())
    }

    /// A u8 tensor from bytes (row-major).
    pub fn from_u8(name: &str, shape: &[u32], values: impl Into<Bytes>) -> Result<Self, DecodeError> {
        Self::new(TensorHeader { name: name.to_owned(), dtype: DType::U8, shape: shape.to_vec() }, values.into())
    }

    /// The header.
    pub fn header(&self) -> &TensorHeader {
        &self.header
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.header.dtype
    }

    /// Dimensions, slowest first.
    pub fn shape(&self) -> &[u32] {
        &self.header.shape
    }

    /// Raw little-endian bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// First dimension; 1 for a scalar.
    pub fn batch(&self) -> u32 {
        self.header.shape.first().copied().unwrap_or(1)
    }

    /// Elements widened or narrowed to f32, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let d = &self.data;
        match self.header.dtype {
            DType::F32 => d.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            DType::F16 => d.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            DType::BF16 => d.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            DType::I64 => d.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
            DType::U8 => d.iter().map(|&b| f32::from(b)).collect(),
        }
    }
}
