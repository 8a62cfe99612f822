//! The inputs of one request: raw bytes, so that an expert's share is cut out without being understood.

use bytes::{Bytes, BytesMut};
use glia_protocol::Tensor;
use glia_protocol::codec::DecodeError;
use glia_protocol::schema::TaskSchema;
use glia_protocol::tensor::TensorHeader;

/// Items of one schema, one after the other.
#[derive(Debug, Clone)]
pub struct Inputs {
    data: Bytes,
    item: usize,
}

impl Inputs {
    /// Items in `data`; `None` unless it is a whole, positive number of them.
    #[must_use]
    pub fn new(schema: &TaskSchema, data: Bytes) -> Option<Self> {
        let item = schema.input.elements().checked_mul(schema.input.dtype.size()).filter(|&bytes| bytes > 0)?;
        (!data.is_empty() && data.len().is_multiple_of(item)).then_some(Self { data, item })
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / self.item
    }

    /// Never: there is at least one item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Raw bytes of one item; empty past the end.
    #[must_use]
    pub fn item(&self, index: usize) -> Bytes {
        let start = index.saturating_mul(self.item).min(self.data.len());
        self.data.slice(start..(start + self.item).min(self.data.len()))
    }

    /// The tensor of some items, which are indices in ascending order. Neighbours are not copied.
    pub fn gather(&self, schema: &TaskSchema, items: &[usize]) -> Result<Tensor, DecodeError> {
        let spec = &schema.input;
        let shape = std::iter::once(items.len() as u32).chain(spec.shape.iter().copied()).collect();
        let header = TensorHeader { name: spec.name.clone(), dtype: spec.dtype, shape };
        let adjacent = items.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let data = match (items.first(), adjacent) {
            (Some(&first), true) => {
                let start = first.saturating_mul(self.item).min(self.data.len());
                self.data.slice(start..(start + items.len() * self.item).min(self.data.len()))
            }
            _ => {
                let mut data = BytesMut::with_capacity(items.len() * self.item);
                items.iter().for_each(|&item| data.extend_from_slice(&self.item(item)));
                data.freeze()
            }
        };
        Tensor::new(header, data)
    }

    /// Values of one item as φ takes them: bytes scaled to 0..1, all else as it is.
    #[must_use]
    pub fn values(&self, schema: &TaskSchema, index: usize) -> Vec<f32> {
        unit_values(schema, self.item(index))
    }
}

/// Values of one raw input as φ takes them.
#[must_use]
pub fn unit_values(schema: &TaskSchema, item: Bytes) -> Vec<f32> {
    let dtype = schema.input.dtype;
    if dtype == glia_protocol::DType::U8 {
        return item.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    }
    let elements = (item.len() / dtype.size()) as u32;
    let header = TensorHeader { name: String::new(), dtype, shape: vec![elements] };
    Tensor::new(header, item).map(|tensor| tensor.to_f32()).unwrap_or_default()
}
