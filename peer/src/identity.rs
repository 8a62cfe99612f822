//! One Ed25519 key: peer id, libp2p key pair and TLS certificate of both planes.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

use glia_protocol::PeerId;
use glia_protocol::signature::Signature;
use libp2p::identity::ed25519;
use rand::TryRngCore as _;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("identity file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an identity; it is left as it is.
    #[error("identity file {0} is not 64 hexadecimal digits; move it away to make a new identity")]
    Malformed(String),
    /// The system has no randomness.
    #[error("no randomness for a new key: {0}")]
    Randomness(String),
}

/// The secret identity of a peer. Clones share the key.
#[derive(Clone)]
pub struct Identity {
    key: ed25519::Keypair,
    peer: PeerId,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer)
    }
}

impl Identity {
    /// The identity of a 32-byte Ed25519 seed.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        // Proof: any 32 bytes are an Ed25519 secret key, and the array has 32.
        let secret = ed25519::SecretKey::try_from_bytes(&mut seed).expect("32 bytes are a secret key");
        let key = ed25519::Keypair::from(secret);
        let peer = PeerId(key.public().to_bytes());
        Self { key, peer }
    }

    /// A new identity from the system's randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self::from_seed(Self::new_seed()?))
    }

    fn new_seed() -> Result<[u8; 32], IdentityError> {
        let mut seed = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|e| IdentityError::Randomness(e.to_string()))?;
        Ok(seed)
    }

    /// Loads the identity of `path`, or makes a new one there (mode 0600). The file appears whole or not at all, and
    /// of two processes that make it at once both get the same identity.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::File { path: path.display().to_string(), source };
        match fs::read_to_string(path) {
            Ok(text) => return Self::parse(path, &text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let seed = Self::new_seed()?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let suffix: String = Self::new_seed()?[..8].iter().map(|b| format!("{b:02x}")).collect();
        let temporary = folder.join(format!(".identity-{suffix}"));
        let made = write_secret(&temporary, &seed).and_then(|()| fs::hard_link(&temporary, path));
        let removed = fs::remove_file(&temporary);
        match made {
            Ok(()) => {
                removed.map_err(failed)?;
                Ok(Self::from_seed(seed))
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(path).map_err(failed)?;
                Self::parse(path, &text)
            }
            Err(e) => Err(failed(e)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Malformed(path.display().to_string());
        let text = text.trim_end();
        if text.len() != 64 || !text.is_ascii() {
            return Err(malformed());
        }
        let mut seed = [0; 32];
        for (i, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| malformed())?;
        }
        Ok(Self::from_seed(seed))
    }

    /// The public name of this identity.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        for (to, from) in signature.iter_mut().zip(self.key.sign(message)) {
            *to = from;
        }
        Signature(signature)
    }

    /// A secret of its own for each `purpose`, derived from the key.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, self.key.secret().as_ref())
    }

    pub(crate) fn keypair(&self) -> libp2p::identity::Keypair {
        self.key.clone().into()
    }
}

fn write_secret(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let text: String = seed.iter().map(|b| format!("{b:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()
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
        let theirs = libp2p::PeerId::from(identity.keypair().public());
        assert_eq!(identity.peer_id().to_string(), theirs.to_string());
    }

    #[test]
    fn an_identity_survives_a_restart_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("peer.key");
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.peer_id(), second.peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_identity_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peer.key");
        fs::write(&path, "zz").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Malformed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "zz");
    }
}
