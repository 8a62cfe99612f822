//! Signatures: Ed25519 for peers, sr25519 for hotkeys, and the two-way binding between them.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::ids::{Hotkey, NetworkId, PeerId};

/// 64 signature bytes, Ed25519 or sr25519.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(64)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Signature;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 signature bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Signature, A::Error> {
                let mut bytes = [0; 64];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(i, &self))?;
                }
                Ok(Signature(bytes))
            }
        }
        deserializer.deserialize_tuple(64, Bytes)
    }
}

/// Whether `peer` made the Ed25519 `signature` over `message` (strict verification: no malleable or small-order keys).
pub fn verify_peer(peer: &PeerId, message: &[u8], signature: &Signature) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&peer.0) else { return false };
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
}

/// Whether `hotkey` made the sr25519 `signature` over `message` (Substrate's signing context); never for the zero key.
pub fn verify_hotkey(hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
    // The all-zero key is the identity point: every signature over every message could be forged for it.
    if hotkey.0 == [0; 32] {
        return false;
    }
    let Ok(key) = schnorrkel::PublicKey::from_bytes(&hotkey.0) else { return false };
    let Ok(signature) = schnorrkel::Signature::from_bytes(&signature.0) else { return false };
    key.verify_simple(b"substrate", message, &signature).is_ok()
}

/// Ties a peer id to a hotkey: each signs the other, so neither can be claimed by a stranger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Ed25519 by the peer over [`Binding::message_for_peer`].
    pub by_peer: Signature,
    /// sr25519 by the hotkey over [`Binding::message_for_hotkey`].
    pub by_hotkey: Signature,
}

impl Binding {
    /// What the peer signs: "this hotkey speaks for me on this network".
    pub fn message_for_peer(network: &NetworkId, peer: &PeerId, hotkey: &Hotkey) -> Vec<u8> {
        Self::message(b"glia-binding-peer-v1", network, peer, hotkey)
    }

    /// What the hotkey signs: "this peer serves for me on this network".
    pub fn message_for_hotkey(network: &NetworkId, peer: &PeerId, hotkey: &Hotkey) -> Vec<u8> {
        Self::message(b"glia-binding-hotkey-v1", network, peer, hotkey)
    }

    fn message(domain: &[u8], network: &NetworkId, peer: &PeerId, hotkey: &Hotkey) -> Vec<u8> {
        let name = network.as_str().as_bytes();
        [domain, &[name.len() as u8], name, &peer.0, &hotkey.0].concat()
    }

    /// Whether both signatures hold.
    pub fn holds(&self, network: &NetworkId, peer: &PeerId, hotkey: &Hotkey) -> bool {
        verify_peer(peer, &Self::message_for_peer(network, peer, hotkey), &self.by_peer)
            && verify_hotkey(hotkey, &Self::message_for_hotkey(network, peer, hotkey), &self.by_hotkey)
    }
}
