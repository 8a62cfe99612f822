//! The one place where bincode is used: bounded in, bounded out, one encoding per value.
//!
//! bincode's own limit counts what it *reads*, not what it *takes*: it would take memory for a text of the announced
//! length before it looks whether the bytes are there. Lists and texts of wire types are therefore decoded with a
//! limit each, which the whole-message limit here only backs up.
//!
//! bincode also reads integers that are written longer than needed. [`decode`] does not: a value has one encoding,
//! so that a hash of the bytes names the value.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the message may have.
    #[error("{what} has {got} bytes, at most {max} are allowed")]
    TooLong {
        /// Which message.
        what: &'static str,
        /// Bytes announced or received.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// Fewer bytes than announced.
    #[error("{what} is truncated: {got} bytes of {want}")]
    Truncated {
        /// Which message.
        what: &'static str,
        /// Bytes there.
        got: u64,
        /// Bytes needed.
        want: u64,
    },
    /// The bytes are not such a message.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl From<DecodeError> for EncodeError {
    /// For writers that refuse what a reader would refuse.
    fn from(error: DecodeError) -> Self {
        let (what, max) = match &error {
            DecodeError::TooLong { what, max, .. } => (*what, usize::try_from(*max).unwrap_or(usize::MAX)),
            DecodeError::Truncated { what, .. } | DecodeError::Malformed { what, .. } => (*what, CEILING),
        };
        Self { what, max, why: error.to_string() }
    }
}

impl DecodeError {
    /// A [`DecodeError::Malformed`].
    pub fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed { what, why: why.into() }
    }
}

/// Why a value could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be encoded within {max} bytes: {why}")]
pub struct EncodeError {
    /// Which message.
    pub what: &'static str,
    /// Its limit.
    pub max: usize,
    /// The reason.
    pub why: String,
}

/// Never decode more than this through bincode, whatever a caller asks for.
const CEILING: usize = 8 * 1024 * 1024;

fn config() -> Configuration<LittleEndian, Varint, Limit<CEILING>> {
    bincode::config::standard().with_little_endian().with_variable_int_encoding().with_limit::<CEILING>()
}

/// Encodes `value` into at most `max` bytes.
pub fn encode<T: Serialize>(what: &'static str, value: &T, max: usize) -> Result<Vec<u8>, EncodeError> {
    let bytes =
        bincode::serde::encode_to_vec(value, config()).map_err(|e| EncodeError { what, max, why: e.to_string() })?;
    if bytes.len() > max {
        return Err(EncodeError { what, max, why: format!("it takes {} bytes", bytes.len()) });
    }
    Ok(bytes)
}

/// Compares what is written with the bytes it should be; keeps nothing.
struct Compare<'a> {
    rest: &'a [u8],
}

impl Writer for &mut Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(bincode::error::EncodeError::UnexpectedEnd)?;
        Ok(())
    }
}

/// Whether `bytes` are the encoding of `value`; takes no memory.
fn is_canonical<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let mut compare = Compare { rest: bytes };
    bincode::serde::encode_into_writer(value, &mut compare, config()).is_ok() && compare.rest.is_empty()
}

/// Decodes a `T` from exactly `bytes`; refuses more than `max` bytes, trailing bytes, and bytes that [`encode`] would
/// not have written for the value.
pub fn decode<T: Serialize + DeserializeOwned>(what: &'static str, bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max.min(CEILING) {
        return Err(DecodeError::TooLong { what, got: bytes.len() as u64, max: max.min(CEILING) as u64 });
    }
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|e| DecodeError::malformed(what, e.to_string()))?;
    if used != bytes.len() {
        return Err(DecodeError::malformed(what, format!("{} trailing bytes", bytes.len() - used)));
    }
    if !is_canonical(&value, bytes) {
        return Err(DecodeError::malformed(what, "it is not written the canonical way"));
    }
    Ok(value)
}
