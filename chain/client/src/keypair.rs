//! Hotkeys and coldkeys: sr25519 key pairs and their signatures.

use std::fmt;
use std::str::FromStr;

use rand::CryptoRng;
use subxt_signer::SecretUri;
use subxt_signer::sr25519;

use crate::account::AccountId;

/// An sr25519 key pair: a hotkey or a coldkey.
///
/// `Debug` shows the account only, never the secret.
#[derive(Clone)]
pub struct Keypair(sr25519::Keypair);

/// Why a secret could not be turned into a key pair. The secret itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a secret key (12-24 words, `0x` and 64 hexadecimal digits, or a path like //Alice): {0}")]
pub struct KeypairError(String);

impl Keypair {
    /// Reads a secret URI: a mnemonic, a `0x…` seed or a development path, with optional `//hard/soft///password`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn from_suri(suri: &str) -> Result<Self, KeypairError> {
        let uri = SecretUri::from_str(suri).map_err(|error| KeypairError(error.to_string()))?;
        sr25519::Keypair::from_uri(&uri).map(Self).map_err(|error| KeypairError(error.to_string()))
    }

    /// The key pair of a 32-byte seed (mini secret key).
    ///
    /// # Errors
    /// When the seed is refused by the curve library.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, KeypairError> {
        sr25519::Keypair::from_secret_key(seed).map(Self).map_err(|error| KeypairError(error.to_string()))
    }

    /// A new key pair and its seed (keep the seed to make the key pair again).
    ///
    /// # Errors
    /// As [`Self::from_seed`].
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<(Self, [u8; 32]), KeypairError> {
        let mut seed = [0_u8; 32];
        rng.fill_bytes(&mut seed);
        Ok((Self::from_seed(seed)?, seed))
    }

    /// The public side.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(self.0.public_key().0)
    }

    /// Signs `message` (signing context `substrate`, as the chain and its wallets do).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).0
    }

    pub(crate) const fn signer(&self) -> &sr25519::Keypair {
        &self.0
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keypair").field(&self.account()).finish()
    }
}

/// Whether `signature` over `message` was made by `account`.
#[must_use]
pub fn verify(account: &AccountId, message: &[u8], signature: &[u8; 64]) -> bool {
    sr25519::verify(&sr25519::Signature(*signature), message, &sr25519::PublicKey(account.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alice_signs_and_only_alice_verifies() {
        let alice = Keypair::from_suri("//Alice").unwrap();
        let bob = Keypair::from_suri("//Bob").unwrap();
        let signature = alice.sign(b"glia");
        assert!(verify(&alice.account(), b"glia", &signature));
        assert!(!verify(&bob.account(), b"glia", &signature));
        assert!(!verify(&alice.account(), b"glue", &signature));
    }

    #[test]
    fn a_seed_makes_the_same_keypair_again() {
        let (first, seed) = Keypair::generate(&mut rand::rng()).unwrap();
        let again = Keypair::from_seed(seed).unwrap();
        assert_eq!(first.account(), again.account());
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_shown() {
        let error = Keypair::from_suri("correct horse battery").unwrap_err();
        assert!(!error.to_string().contains("horse"));
        assert!(!format!("{:?}", Keypair::from_suri("//Alice").unwrap()).contains("Alice"));
    }
}
