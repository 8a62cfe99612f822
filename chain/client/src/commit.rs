//! Weights in two steps, in hash mode: commit to a hash now, reveal the weights a number of epochs later.
//!
//! Which epoch a commit belongs to is decided by the chain; [`Chain::commits`] tells.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use codec::Encode;
use subxt::dynamic::Value;

use crate::account::AccountId;
use crate::call::{Call, Receipt};
use crate::chain::Chain;
use crate::error::{ReadError, SubmitError};
use crate::keypair::Keypair;
use crate::view::{SUBTENSOR, View, account, number};

/// A commit that has not been revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCommit {
    /// Its hash.
    pub hash: [u8; 32],
    /// The epoch it counts to: it can be revealed in that epoch plus the subnet's reveal period, neither earlier nor later.
    pub epoch: u64,
    /// The block it is in.
    pub block: u64,
}

/// A commit as the chain keeps it: hash, epoch, block, and a zero.
type Stored = ([u8; 32], u64, u64, u64);

/// What `who` commits to: Blake2-256 over the SCALE encoding of hotkey, index, uids, values, salt and version key. The index
/// is `netuid + 4096 · mechanism`, so a commit for one mechanism of a subnet is none for another; mechanism 0 is the one
/// that calls without a mechanism mean.
#[must_use]
pub fn commit_hash(
    who: AccountId,
    netuid: u16,
    mechanism: u8,
    weights: &[(u16, u16)],
    salt: &[u16],
    version_key: u64,
) -> [u8; 32] {
    let index = netuid.saturating_add(u16::from(mechanism).saturating_mul(4096));
    let (uids, values): (Vec<u16>, Vec<u16>) = weights.iter().copied().unzip();
    Blake2b::<U32>::digest((who.0, index, uids, values, salt, version_key).encode()).into()
}

impl Chain {
    /// Commits `hotkey`'s uid to weights it will reveal; `hash` is that of [`commit_hash`].
    ///
    /// # Errors
    /// [`SubmitError`]; the pool refuses with `RateLimitExceeded` before the rate limit has passed.
    pub async fn commit_weights(&self, hotkey: &Keypair, netuid: u16, hash: [u8; 32]) -> Result<Receipt, SubmitError> {
        let call = Call::new(SUBTENSOR, "commit_weights")
            .arg("netuid", number(netuid))
            .arg("commit_hash", Value::from_bytes(hash));
        self.submit(&call, hotkey).await
    }

    /// Reveals weights that `hotkey` committed to; everything must be as it was hashed.
    ///
    /// # Errors
    /// [`SubmitError`]; the pool refuses with `CommitBlockNotInRevealRange` too early and too late, and with
    /// `CommitNotFound` what was not committed to.
    pub async fn reveal_weights(
        &self,
        hotkey: &Keypair,
        netuid: u16,
        weights: &[(u16, u16)],
        salt: &[u16],
        version_key: u64,
    ) -> Result<Receipt, SubmitError> {
        let list = |values: Vec<u16>| Value::unnamed_composite(values.into_iter().map(number));
        let (uids, values): (Vec<u16>, Vec<u16>) = weights.iter().copied().unzip();
        let call = Call::new(SUBTENSOR, "reveal_weights")
            .arg("netuid", number(netuid))
            .arg("uids", list(uids))
            .arg("values", list(values))
            .arg("salt", list(salt.to_vec()))
            .arg("version_key", number(version_key));
        self.submit(&call, hotkey).await
    }

    /// Commits of a hotkey that have not been revealed, oldest first; expired ones may be among them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn commits(&self, netuid: u16, hotkey: AccountId) -> Result<Vec<OpenCommit>, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let slot = view.subtensor("WeightCommits", vec![number(netuid), account(hotkey)])?;
            let open: Option<Vec<Stored>> = view.get(slot).await?;
            let open = open.unwrap_or_default().into_iter();
            Ok(open.map(|(hash, epoch, block, _)| OpenCommit { hash, epoch, block }).collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_revealed_is_in_the_hash_in_scale() {
        let who = AccountId([7; 32]);
        let hash = |netuid, mechanism, weights: &[(u16, u16)], salt: &[u16], key| {
            commit_hash(who, netuid, mechanism, weights, salt, key)
        };
        let weights = [(1, 65_535), (258, 2)];
        let plain = hash(1, 0, &weights, &[3], 9);
        // Written out: account, index, two uids, two values, one salt, key; lists with their length times four before.
        let mut bytes = vec![7; 32];
        bytes.extend([1, 0, 8, 1, 0, 2, 1, 8, 255, 255, 2, 0, 4, 3, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(plain, <[u8; 32]>::from(Blake2b::<U32>::digest(bytes)));
        let others = [
            hash(2, 0, &weights, &[3], 9),
            hash(1, 1, &weights, &[3], 9),
            hash(1, 0, &weights[..1], &[3], 9),
            hash(1, 0, &weights, &[4], 9),
            hash(1, 0, &weights, &[3], 8),
            commit_hash(AccountId([8; 32]), 1, 0, &weights, &[3], 9),
        ];
        assert!(others.iter().all(|other| *other != plain));
        assert_eq!(hash(1, 1, &weights, &[3], 9), hash(4097, 0, &weights, &[3], 9));
    }
}
