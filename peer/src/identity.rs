//! One Ed25519 key: peer id, libp2p key pair and TLS certificate of both planes.

mod key_file;

use std::path::Path;
use std::{fmt, io};

use ed25519_dalek::{Signer as _, SigningKey};
use glia_protocol::PeerId;
use glia_protocol::signature::Signature;
use libp2p::identity::{DecodingError, Keypair};

pub use key_file::load_or_create_seed;

/// Why a secret key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no key; it is left as it is.
    #[error("key file {0} is not 64 hexadecimal digits; move it away to make a new key")]
    Malformed(String),
    /// The system has no randomness.
    #[error("no randomness for a new key: {0}")]
    Randomness(String),
}

/// The secret identity of a peer. Clones share the key.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    peer: PeerId,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer)
    }
}

impl Identity {
    /// The identity of a 32-byte Ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let peer = PeerId(key.verifying_key().to_bytes());
        Self { key, peer }
    }

    /// A new identity from the system's randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self::from_seed(key_file::new_seed()?))
    }

    /// Loads the identity of `path`, or makes a new one there; see [`load_or_create_seed`].
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        Ok(Self::from_seed(load_or_create_seed(path)?))
    }

    /// The public name of this identity.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.key.sign(message).to_bytes())
    }

    /// A secret of its own for each `purpose`, derived from the key.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, self.key.as_bytes())
    }

    /// The same key in libp2p's form.
    pub(crate) fn keypair(&self) -> Result<Keypair, DecodingError> {
        Keypair::ed25519_from_bytes(self.key.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_under_the_peer_id() {
        let identity = Identity::from_seed([7; 32]);
        let signature = identity.sign(b"hello");
        assert!(glia_protocol::signature::verify_peer(&identity.peer_id(), b"hello", &signature));
        assert!(!glia_protocol::signature::verify_peer(&identity.peer_id(), b"hellO", &signature));
    }

    #[test]
    fn peer_id_is_the_one_libp2p_computes() {
        let identity = Identity::from_seed([9; 32]);
        let theirs = libp2p::PeerId::from(identity.keypair().unwrap().public());
        assert_eq!(identity.peer_id().to_string(), theirs.to_string());
    }

    #[test]
    fn both_forms_of_the_key_sign_alike() {
        let identity = Identity::from_seed([9; 32]);
        assert_eq!(identity.keypair().unwrap().sign(b"hello").unwrap(), identity.sign(b"hello").0);
    }

    #[test]
    fn an_identity_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        let first = Identity::load_or_create(&path).unwrap();
        assert_eq!(Identity::load_or_create(&path).unwrap().peer_id(), first.peer_id());
        assert_eq!(Identity::from_seed(load_or_create_seed(&path).unwrap()).peer_id(), first.peer_id());
    }

    #[test]
    fn a_damaged_identity_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        std::fs::write(&path, "zz").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Malformed(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "zz");
    }
}
