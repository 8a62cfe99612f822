//! Questions to the chain, each answered at its best block.

use subxt::ext::scale_decode::DecodeAsType;

use crate::account::AccountId;
use crate::chain::Chain;
use crate::error::ReadError;
use crate::metagraph::Metagraph;
use crate::view::{View, account, number};

/// The settings of a subnet that routers and experts must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hyperparameters {
    /// The block they were read at.
    pub block: u64,
    /// Blocks between epochs; 0 means epochs never run.
    pub tempo: u16,
    /// Blocks a router must leave between two `set_weights`.
    pub weights_rate_limit: u64,
    /// The lowest `version_key` the chain accepts (0 accepts all).
    pub weights_version_key: u64,
    /// The fewest weights one `set_weights` must carry.
    pub min_allowed_weights: u16,
    /// The largest share of the sum of a row that one uid may have, as a fraction of 65535.
    pub max_weight_limit: u16,
    /// Whether weights must be committed and revealed; plain `set_weights` is then refused.
    pub commit_reveal_enabled: bool,
    /// Epochs between a commit and its reveal.
    pub reveal_period_epochs: u64,
    /// How many neurons fit.
    pub max_allowed_uids: u16,
    /// How many neurons may hold a validator permit.
    pub max_allowed_validators: u16,
    /// Blocks a new neuron is safe from replacement.
    pub immunity_period: u16,
    /// Blocks between two `serve_axon`.
    pub serving_rate_limit: u64,
    /// Consensus majority, as a fraction of 65535.
    pub kappa: u16,
    /// Whether registration is open.
    pub registration_allowed: bool,
    /// Neurons registered now.
    pub neurons: u16,
    /// The present price of a registration, rao.
    pub burn: u64,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct AccountInfo {
    nonce: u64,
    data: AccountData,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct AccountData {
    free: u64,
}

/// The nonce an account had used up at a view's block.
pub(crate) async fn nonce_at(view: &View, who: AccountId) -> Result<u64, ReadError> {
    let info: Option<AccountInfo> = view.get(view.slot("System", "Account", vec![account(who)])?).await?;
    Ok(info.map_or(0, |info| info.nonce))
}

impl Chain {
    /// The number of the best block.
    ///
    /// # Errors
    /// [`ReadError`], as every read. All reads are cancel safe.
    pub async fn block_number(&self) -> Result<u64, ReadError> {
        self.read(move |session| async move { Ok(View::best(session).await?.number) }).await
    }

    /// Free balance of an account, rao; 0 for an account that does not exist.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn balance(&self, who: AccountId) -> Result<u64, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let slot = view.slot("System", "Account", vec![account(who)])?;
            let info: Option<AccountInfo> = view.get(slot).await?;
            Ok(info.map_or(0, |info| info.data.free))
        })
        .await
    }

    /// The present price of a registration in a subnet, rao.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn burn_cost(&self, netuid: u16) -> Result<u64, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            view.get_or_default(view.subtensor("Burn", vec![number(netuid)])?).await
        })
        .await
    }

    /// Whether a subnet exists.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn subnet_exists(&self, netuid: u16) -> Result<bool, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            view.get_or_default(view.subtensor("NetworksAdded", vec![number(netuid)])?).await
        })
        .await
    }

    /// The uid of a hotkey in a subnet; `None` when it is not registered there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn uid_of(&self, netuid: u16, hotkey: AccountId) -> Result<Option<u16>, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            view.get(view.subtensor("Uids", vec![number(netuid), account(hotkey)])?).await
        })
        .await
    }

    /// The coldkey that owns a hotkey; `None` when the hotkey never appeared on chain.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn owner(&self, hotkey: AccountId) -> Result<Option<AccountId>, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let owner: Option<[u8; 32]> = view.get(view.subtensor("Owner", vec![account(hotkey)])?).await?;
            // The item's default is the zero account, which owns nothing.
            Ok(owner.map(AccountId).filter(|owner| owner.0 != [0; 32]))
        })
        .await
    }

    /// Stake on a hotkey in a subnet from all coldkeys, rao of alpha.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn stake(&self, hotkey: AccountId, netuid: u16) -> Result<u64, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let keys = vec![account(hotkey), number(netuid)];
            view.get_or_default(view.subtensor("TotalHotkeyAlpha", keys)?).await
        })
        .await
    }

    /// A subnet and all its neurons, every value read at one block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn metagraph(&self, netuid: u16) -> Result<Metagraph, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            Metagraph::read(&view, netuid).await
        })
        .await
    }

    /// The weights a uid has set: `(uid, weight)`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn weights(&self, netuid: u16, uid: u16) -> Result<Vec<(u16, u16)>, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let slot = view.subtensor("Weights", vec![number(netuid), number(uid)])?;
            view.get_or_default(slot).await
        })
        .await
    }

    /// The settings of a subnet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn hyperparameters(&self, netuid: u16) -> Result<Hyperparameters, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            hyperparameters(&view, netuid).await
        })
        .await
    }

    /// The block at which a subnet's next epoch is due (at the earliest the next block); `None` when its tempo is 0.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next_epoch_block(&self, netuid: u16) -> Result<Option<u64>, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let subnet = |item| view.subtensor(item, vec![number(netuid)]);
            let slots = [subnet("Tempo")?, subnet("LastEpochBlock")?];
            let fetched = view.fetch(&slots).await?;
            let tempo: u16 = view.decode(&slots[0], &fetched)?.unwrap_or_default();
            let last: u64 = view.decode(&slots[1], &fetched)?.unwrap_or_default();
            // Not every Bittensor-like chain can pull an epoch forward.
            let pending: u64 = match subnet("PendingEpochAt") {
                Ok(slot) => view.get_or_default(slot).await?,
                Err(_) => 0,
            };
            Ok(next_epoch(view.number, tempo, last, pending))
        })
        .await
    }
}

/// When an epoch is due that was run last at `last`, asked at block `now`.
fn next_epoch(now: u64, tempo: u16, last: u64, pending: u64) -> Option<u64> {
    if tempo == 0 {
        return None;
    }
    let regular = last.saturating_add(u64::from(tempo));
    let due = if pending == 0 { regular } else { regular.min(pending) };
    Some(due.max(now.saturating_add(1)))
}

async fn hyperparameters(view: &View, netuid: u16) -> Result<Hyperparameters, ReadError> {
    let subnet = |item| view.subtensor(item, vec![number(netuid)]);
    let slots = [
        subnet("Tempo")?,
        subnet("WeightsSetRateLimit")?,
        subnet("WeightsVersionKey")?,
        subnet("MinAllowedWeights")?,
        subnet("CommitRevealWeightsEnabled")?,
        subnet("RevealPeriodEpochs")?,
        subnet("MaxAllowedUids")?,
        subnet("MaxAllowedValidators")?,
        subnet("ImmunityPeriod")?,
        subnet("ServingRateLimit")?,
        subnet("Kappa")?,
        subnet("NetworkRegistrationAllowed")?,
        subnet("SubnetworkN")?,
        subnet("Burn")?,
    ];
    let fetched = view.fetch(&slots).await?;
    let short =
        |index: usize| -> Result<u16, ReadError> { Ok(view.decode(&slots[index], &fetched)?.unwrap_or_default()) };
    let long =
        |index: usize| -> Result<u64, ReadError> { Ok(view.decode(&slots[index], &fetched)?.unwrap_or_default()) };
    let flag =
        |index: usize| -> Result<bool, ReadError> { Ok(view.decode(&slots[index], &fetched)?.unwrap_or_default()) };
    // Not every Bittensor-like chain has a limit.
    let max_weight_limit = match subnet("MaxWeightsLimit") {
        Ok(slot) => view.get(slot).await?.unwrap_or(u16::MAX),
        Err(_) => u16::MAX,
    };
    Ok(Hyperparameters {
        block: view.number,
        tempo: short(0)?,
        weights_rate_limit: long(1)?,
        weights_version_key: long(2)?,
        min_allowed_weights: short(3)?,
        max_weight_limit,
        commit_reveal_enabled: flag(4)?,
        reveal_period_epochs: long(5)?,
        max_allowed_uids: short(6)?,
        max_allowed_validators: short(7)?,
        immunity_period: short(8)?,
        serving_rate_limit: long(9)?,
        kappa: short(10)?,
        registration_allowed: flag(11)?,
        neurons: short(12)?,
        burn: long(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_follows_tempo_unless_pulled_forward_or_overdue() {
        assert_eq!(next_epoch(10, 0, 5, 0), None);
        assert_eq!(next_epoch(10, 20, 5, 0), Some(25));
        assert_eq!(next_epoch(10, 20, 5, 15), Some(15));
        assert_eq!(next_epoch(40, 20, 5, 0), Some(41));
    }
}
