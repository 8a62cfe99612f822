//! From a pair of keys to a neuron: funds, registration, stake. Safe to repeat; it does only what is missing.

use crate::account::AccountId;
use crate::chain::Chain;
use crate::error::{ReadError, SubmitError};
use crate::keypair::{Keypair, KeypairError};

/// What is kept beyond the price for fees and the existential deposit: 0.01 TAO in rao.
const FEE_MARGIN: u64 = 10_000_000;
/// Registrations by others may raise the price while ours is under way: funds for this many times the price are asked for.
const PRICE_HEADROOM: u64 = 4;
/// The account that holds the funds of every local development chain.
const DEVELOPMENT_SURI: &str = "//Alice";

/// What to enrol.
#[derive(Debug, Clone, Copy)]
pub struct EnrolRequest<'a> {
    /// The subnet.
    pub netuid: u16,
    /// Operates the neuron.
    pub hotkey: &'a Keypair,
    /// Pays and owns.
    pub coldkey: &'a Keypair,
    /// Stake wanted on the hotkey, in rao of TAO to spend; 0 for experts, above for routers.
    pub stake: u64,
    /// Whether the development account may pay, on a development chain.
    pub development_funds: bool,
    /// Whether to wait for funds that nobody has sent yet.
    pub wait_for_funds: bool,
}

/// What happens on the way, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrolStep {
    /// The coldkey got funds from the development account.
    Funded {
        /// The amount in rao.
        rao: u64,
    },
    /// The coldkey needs funds and this waits for them.
    WaitingForFunds {
        /// Who needs them.
        coldkey: AccountId,
        /// How much is missing, in rao.
        missing: u64,
    },
    /// Registered just now.
    Registered {
        /// The uid.
        uid: u16,
    },
    /// Staked just now.
    Staked {
        /// The TAO spent, in rao.
        rao: u64,
    },
}

/// The neuron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// Its uid in the subnet.
    pub uid: u16,
}

/// Why there is no neuron.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The subnet does not exist.
    #[error("this chain has no subnet {0}")]
    NoSuchSubnet(u16),
    /// The coldkey cannot pay.
    #[error(
        "the coldkey {coldkey} needs {} TAO more to register: send them and run this again (or add --wait-for-funds)",
        tao(*.missing)
    )]
    NeedsFunds {
        /// Who needs them.
        coldkey: AccountId,
        /// How much is missing, in rao.
        missing: u64,
    },
    /// The hotkey belongs to another coldkey.
    #[error("the hotkey {hotkey} belongs to coldkey {owner}, not to this one: use that coldkey or another hotkey")]
    AnotherOwner {
        /// The hotkey.
        hotkey: AccountId,
        /// Its owner.
        owner: AccountId,
    },
    /// The chain refused a call.
    #[error("{what} failed: {source}")]
    Submit {
        /// Which call.
        what: &'static str,
        /// Why.
        source: SubmitError,
    },
    /// The chain could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The development account could not be derived.
    #[error(transparent)]
    Key(#[from] KeypairError),
}

/// Rao as a decimal number of TAO.
#[must_use]
pub fn tao(rao: u64) -> String {
    let (whole, part) = (rao / 1_000_000_000, rao % 1_000_000_000);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Chain {
    /// Makes sure that `hotkey` has a uid in the subnet and at least the stake asked for, telling each step taken.
    ///
    /// On a development chain missing funds come from the development account; elsewhere they are asked for.
    ///
    /// # Errors
    /// [`EnrolError`]; every call already made stays made, and repeating continues from there. Only where the chain went
    /// away in the middle ([`SubmitError::Deadline`] with `open_until`) is it wise to wait for that block first.
    ///
    /// # Cancel safety
    /// Safe to drop: a call under way may still take effect, and repeating finds it done.
    pub async fn enrol(
        &self,
        request: EnrolRequest<'_>,
        mut told: impl FnMut(EnrolStep) + Send,
    ) -> Result<Enrolled, EnrolError> {
        let EnrolRequest { netuid, hotkey, coldkey, stake, .. } = request;
        if !self.subnet_exists(netuid).await? {
            return Err(EnrolError::NoSuchSubnet(netuid));
        }
        if let Some(owner) = self.owner(hotkey.account()).await?
            && owner != coldkey.account()
        {
            return Err(EnrolError::AnotherOwner { hotkey: hotkey.account(), owner });
        }
        let known = self.uid_of(netuid, hotkey.account()).await?;
        let missing_stake = if stake > 0 && self.stake(hotkey.account(), netuid).await? == 0 { stake } else { 0 };
        let price = match known {
            Some(_) => 0,
            None => self.burn_cost(netuid).await?.saturating_mul(PRICE_HEADROOM),
        };
        let need = price.saturating_add(missing_stake);
        if need > 0 {
            self.fund(&request, need.saturating_add(FEE_MARGIN), &mut told).await?;
        }
        let uid = match known {
            Some(uid) => uid,
            None => {
                let (uid, _) = self
                    .burned_register(coldkey, netuid, hotkey.account())
                    .await
                    .map_err(|source| EnrolError::Submit { what: "burned_register", source })?;
                told(EnrolStep::Registered { uid });
                uid
            }
        };
        if missing_stake > 0 {
            self.add_stake(coldkey, hotkey.account(), netuid, missing_stake)
                .await
                .map_err(|source| EnrolError::Submit { what: "add_stake", source })?;
            told(EnrolStep::Staked { rao: missing_stake });
        }
        Ok(Enrolled { uid })
    }

    async fn fund(
        &self,
        request: &EnrolRequest<'_>,
        need: u64,
        told: &mut (impl FnMut(EnrolStep) + Send),
    ) -> Result<(), EnrolError> {
        let coldkey = request.coldkey.account();
        let missing = need.saturating_sub(self.balance(coldkey).await?);
        if missing == 0 {
            return Ok(());
        }
        if request.development_funds && self.is_development() {
            let bank = Keypair::from_suri(DEVELOPMENT_SURI)?;
            self.transfer(&bank, coldkey, missing)
                .await
                .map_err(|source| EnrolError::Submit { what: "funding from the development account", source })?;
            told(EnrolStep::Funded { rao: missing });
            return Ok(());
        }
        if !request.wait_for_funds {
            return Err(EnrolError::NeedsFunds { coldkey, missing });
        }
        told(EnrolStep::WaitingForFunds { coldkey, missing });
        loop {
            self.wait_for_block(self.block_number().await?.saturating_add(1)).await?;
            if self.balance(coldkey).await? >= need {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tao;

    #[test]
    fn rao_are_shown_as_tao_without_needless_zeros() {
        assert_eq!(tao(0), "0");
        assert_eq!(tao(1), "0.000000001");
        assert_eq!(tao(1_500_000_000), "1.5");
        assert_eq!(tao(u64::MAX), "18446744073.709551615");
    }
}
