//! Accounts: 32 public-key bytes, shown in SS58 with prefix 42.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subxt::utils::AccountId32;

/// An account on the chain: the 32 bytes of an sr25519 public key.
///
/// Shown, parsed and serialised as SS58 text with prefix 42 (`5Grwva…`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub [u8; 32]);

impl AccountId {
    /// The public-key bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for AccountId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<AccountId> for [u8; 32] {
    fn from(account: AccountId) -> Self {
        account.0
    }
}

impl From<AccountId> for AccountId32 {
    fn from(account: AccountId) -> Self {
        Self(account.0)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&AccountId32(self.0), f)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an account address (SS58, like 5Grwva…): {reason}")]
pub struct ParseAccountError {
    text: String,
    reason: String,
}

impl FromStr for AccountId {
    type Err = ParseAccountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Any valid address is far shorter than 64 characters; base-58 decoding is quadratic.
        let shown: String = text.chars().take(64).collect();
        if text.len() > 64 {
            return Err(ParseAccountError { text: shown, reason: "too long".to_owned() });
        }
        AccountId32::from_str(text)
            .map(|account| Self(account.0))
            .map_err(|error| ParseAccountError { text: shown, reason: error.to_string() })
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_account_has_its_well_known_address() {
        let account: AccountId = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".parse().unwrap();
        assert_eq!(account.0[..4], [0xd4, 0x35, 0x93, 0xc7]);
        assert_eq!(account.to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn a_mistyped_or_endless_address_is_refused() {
        assert!("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ".parse::<AccountId>().is_err());
        assert!("".parse::<AccountId>().is_err());
        assert!("1".repeat(1 << 20).parse::<AccountId>().is_err());
    }
}
