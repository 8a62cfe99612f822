//! Identities: networks, subnets, peers, hotkeys, requests, content.

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2b512, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded;
use crate::limits::MAX_NAME;

/// Why a textual id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 1 to 32 characters of `a-z`, `0-9`, `-`.
    #[error("{what} must be 1 to {MAX_NAME} characters of a-z, 0-9 and '-', got {got:?}")]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// A shortened copy of the text.
        got: String,
    },
    /// Not a base58 Ed25519 peer id.
    #[error("{0:?} is not an Ed25519 libp2p peer id (12D3Koo…)")]
    PeerId(String),
    /// Not an SS58 address with prefix 42.
    #[error("{0:?} is not an SS58 address with prefix 42 (5…)")]
    Hotkey(String),
    /// Not the right number of hexadecimal digits.
    #[error("{0:?} is not {1} bytes of hexadecimal")]
    Hex(String, usize),
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = bounded::text_of::<D, MAX_NAME>(deserializer)?;
                Self::try_from(text).map_err(serde::de::Error::custom)
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let fits = (1..=MAX_NAME).contains(&text.len());
                let clean = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if fits && clean {
                    Ok(Self(text))
                } else {
                    Err(IdError::Name { what: $what, got: shorten(&text) })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() > MAX_NAME {
                    return Err(IdError::Name { what: $what, got: shorten(text) });
                }
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// Which network a peer belongs to; part of every protocol id and signature.
    NetworkId, "a network id"
);
name_type!(
    /// One task of the network, e.g. `vision`.
    SubnetName, "a subnet name"
);

/// Protobuf prefix of an Ed25519 key in an identity multihash: the bytes every such libp2p peer id starts with.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A libp2p peer id of an Ed25519 identity; it *is* the 32-byte public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 32]);

impl PeerId {
    /// The multihash bytes libp2p uses for this id (38 bytes).
    pub fn to_multihash(&self) -> Vec<u8> {
        [&PEER_ID_PREFIX[..], &self.0].concat()
    }

    /// The id from libp2p's multihash bytes; `None` unless it is an inlined Ed25519 key.
    pub fn from_multihash(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// The last 6 characters: enough to tell peers apart in a table.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len().saturating_sub(6)..].to_owned()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_multihash()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::PeerId(shorten(text));
        if text.len() > 64 {
            return Err(refused());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| refused())?;
        Self::from_multihash(&bytes).ok_or_else(refused)
    }
}

/// SS58 prefix of generic Substrate and Bittensor addresses.
const SS58_PREFIX: u8 = 42;

/// An sr25519 public key that operates a neuron on chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hotkey(pub [u8; 32]);

fn ss58_checksum(payload: &[u8]) -> [u8; 2] {
    let mut hasher = Blake2b512::new();
    hasher.update(b"SS58PRE");
    hasher.update(payload);
    let digest = hasher.finalize();
    [digest[0], digest[1]]
}

impl fmt::Display for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [&[SS58_PREFIX][..], &self.0].concat();
        let checksum = ss58_checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Hotkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hotkey({self})")
    }
}

impl FromStr for Hotkey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Hotkey(shorten(text));
        if text.len() > 64 {
            return Err(refused());
        }
        let bytes: [u8; 35] = bs58::decode(text).into_vec().ok().and_then(|b| b.try_into().ok()).ok_or_else(refused)?;
        let (payload, checksum) = bytes.split_at(33);
        if payload[0] != SS58_PREFIX || ss58_checksum(payload) != checksum {
            return Err(refused());
        }
        let mut key = [0; 32];
        key.copy_from_slice(&payload[1..]);
        Ok(Self(key))
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let refused = || IdError::Hex(shorten(text), N);
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refused());
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| refused())?;
    }
    Ok(bytes)
}

macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; $n]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

hex_type!(
    /// Names one forward request end to end (16 random bytes).
    RequestId, 16
);
hex_type!(
    /// blake3 hash of a checkpoint, feature map or tensor.
    ContentHash, 32
);

impl RequestId {
    /// The id in a refusal of a request that was not read; no caller may choose it.
    pub const UNREAD: Self = Self([0; 16]);
}

impl ContentHash {
    /// blake3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}
