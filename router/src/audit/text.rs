//! How ids, bytes and tensors are written in JSON files: ids as their text, bytes in base64.

use bytes::Bytes;
use glia_protocol::limits::MAX_TENSORS;
use glia_protocol::tensor::TensorHeader;
use glia_protocol::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// `#[serde(with)]` for what has a text: written with `Display`, read with `FromStr`.
pub(crate) mod display {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `#[serde(with)]` for bytes in base64.
pub(crate) mod base64 {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(|error| D::Error::custom(format!("not base64: {error}")))?;
        Ok(bytes.into())
    }
}

/// `#[serde(with)]` for signatures in base64.
pub(crate) mod signature {
    use bytes::Bytes;
    use glia_protocol::signature::Signature;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(signature: &Signature, serializer: S) -> Result<S::Ok, S::Error> {
        super::base64::serialize(&Bytes::copy_from_slice(&signature.0), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
        let bytes = super::base64::deserialize(deserializer)?;
        let bytes: [u8; 64] = bytes.as_ref().try_into().map_err(|_| D::Error::custom("a signature has 64 bytes"))?;
        Ok(Signature(bytes))
    }
}

/// A tensor in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorText {
    /// Name within the request.
    pub name: String,
    /// `F32`, `F16`, `BF16`, `I64` or `U8`.
    pub dtype: DType,
    /// Dimensions, the batch first.
    pub shape: Vec<u32>,
    /// Raw little-endian bytes, base64.
    #[serde(with = "base64")]
    pub data: Bytes,
}

impl TensorText {
    /// The text of a tensor.
    #[must_use]
    pub fn of(tensor: &Tensor) -> Self {
        Self {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data: tensor.data().clone(),
        }
    }

    /// The tensor; a sentence when name, shape and bytes are none.
    pub fn tensor(&self) -> Result<Tensor, String> {
        let header = TensorHeader { name: self.name.clone(), dtype: self.dtype, shape: self.shape.clone() };
        Tensor::new(header, self.data.clone()).map_err(|error| error.to_string())
    }
}

/// The tensors of a request or response.
pub(crate) fn tensors(texts: &[TensorText]) -> Result<Vec<Tensor>, String> {
    if texts.len() > MAX_TENSORS {
        return Err(format!("{} tensors, {MAX_TENSORS} are the most", texts.len()));
    }
    texts.iter().map(TensorText::tensor).collect()
}
