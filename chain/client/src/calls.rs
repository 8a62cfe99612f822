//! The calls experts and routers make, under their Subtensor names.

use std::net::{IpAddr, SocketAddr};

use subxt::dynamic::Value;

use crate::account::AccountId;
use crate::call::{Call, Receipt};
use crate::chain::Chain;
use crate::error::{ReadError, SubmitError};
use crate::keypair::Keypair;
use crate::view::{SUBTENSOR, View, account, number};

/// What an expert or router announces about where it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxonAnnouncement {
    /// Address and port. The public chain refuses loopback addresses.
    pub addr: SocketAddr,
    /// The serving protocol's number, free for the subnet to define.
    pub protocol: u8,
    /// The serving software's version number.
    pub version: u32,
}

/// The pool's number for every refusal without a number of its own.
const BAD_REQUEST: u8 = 255;

impl Chain {
    /// Registers `hotkey` in a subnet for the present price, paid by `coldkey`. Returns the uid and the receipt.
    ///
    /// # Errors
    /// [`SubmitError`]; `HotKeyAlreadyRegisteredInSubNet` when it is registered already.
    pub async fn burned_register(
        &self,
        coldkey: &Keypair,
        netuid: u16,
        hotkey: AccountId,
    ) -> Result<(u16, Receipt), SubmitError> {
        let call = Call::new(SUBTENSOR, "burned_register").arg("netuid", number(netuid)).arg("hotkey", account(hotkey));
        let receipt = self.submit(&call, coldkey).await?;
        let told = receipt
            .event(SUBTENSOR, "NeuronRegistered")
            .and_then(|event| event.number(1))
            .and_then(|uid| u16::try_from(uid).ok());
        let uid = match told {
            Some(uid) => uid,
            // The event was renamed or reshaped: ask the chain itself.
            None => self
                .uid_of(netuid, hotkey)
                .await?
                .ok_or_else(|| SubmitError::Dispatch("registered, but the chain knows no uid".to_owned()))?,
        };
        Ok((uid, receipt))
    }

    /// Announces where `hotkey` serves.
    ///
    /// # Errors
    /// [`SubmitError`]; `InvalidIpAddress` for an address the chain refuses, `ServingRateLimitExceeded` too soon after the last,
    /// both by the pool.
    pub async fn serve_axon(
        &self,
        hotkey: &Keypair,
        netuid: u16,
        axon: AxonAnnouncement,
    ) -> Result<Receipt, SubmitError> {
        let (ip, ip_type) = match axon.addr.ip() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 4_u8),
            IpAddr::V6(ip) => (u128::from(ip), 6),
        };
        let call = Call::new(SUBTENSOR, "serve_axon")
            .arg("netuid", number(netuid))
            .arg("version", number(axon.version))
            .arg("ip", Value::u128(ip))
            .arg("port", number(axon.addr.port()))
            .arg("ip_type", number(ip_type))
            .arg("protocol", number(axon.protocol))
            .arg("placeholder1", number(0_u8))
            .arg("placeholder2", number(0_u8));
        self.submit(&call, hotkey).await
    }

    /// Sets the expert weights of `hotkey`'s uid: `(uid, weight)`; the chain scales the largest to 65535.
    ///
    /// # Errors
    /// [`SubmitError`]; the pool refuses with `RateLimitExceeded` before the rate limit has passed, and with a reason that
    /// names `NeuronNoValidatorPermit` without a permit.
    pub async fn set_weights(
        &self,
        hotkey: &Keypair,
        netuid: u16,
        weights: &[(u16, u16)],
        version_key: u64,
    ) -> Result<Receipt, SubmitError> {
        let column =
            |pick: fn(&(u16, u16)) -> u16| Value::unnamed_composite(weights.iter().map(|pair| number(pick(pair))));
        let call = Call::new(SUBTENSOR, "set_weights")
            .arg("netuid", number(netuid))
            .arg("dests", column(|(uid, _)| *uid))
            .arg("weights", column(|(_, weight)| *weight))
            .arg("version_key", number(version_key));
        match self.submit(&call, hotkey).await {
            Err(SubmitError::Refused { code, reason, custom: Some(BAD_REQUEST) })
                if !self.has_permit(netuid, hotkey.account()).await.unwrap_or(true) =>
            {
                let reason = format!("NeuronNoValidatorPermit, {reason}");
                Err(SubmitError::Refused { code, reason, custom: Some(BAD_REQUEST) })
            }
            done => done,
        }
    }

    /// Whether a hotkey may act as validator in a subnet.
    async fn has_permit(&self, netuid: u16, hotkey: AccountId) -> Result<bool, ReadError> {
        self.read(move |session| async move {
            let view = View::best(session).await?;
            let uid: Option<u16> = view.get(view.subtensor("Uids", vec![number(netuid), account(hotkey)])?).await?;
            let permits: Vec<bool> =
                view.get_or_default(view.subtensor("ValidatorPermit", vec![number(netuid)])?).await?;
            Ok(uid.and_then(|uid| permits.get(usize::from(uid)).copied()).unwrap_or(false))
        })
        .await
    }

    /// Stakes `rao` of `coldkey`'s TAO on `hotkey` in a subnet.
    ///
    /// # Errors
    /// [`SubmitError`]; `NotEnoughBalanceToStake`, `AmountTooLow`.
    pub async fn add_stake(
        &self,
        coldkey: &Keypair,
        hotkey: AccountId,
        netuid: u16,
        rao: u64,
    ) -> Result<Receipt, SubmitError> {
        let call = Call::new(SUBTENSOR, "add_stake")
            .arg("hotkey", account(hotkey))
            .arg("netuid", number(netuid))
            .arg("amount_staked", number(rao));
        self.submit(&call, coldkey).await
    }

    /// Sends `rao` from one account to another, keeping the sender alive.
    ///
    /// # Errors
    /// [`SubmitError`]; a token error when the sender has too little.
    pub async fn transfer(&self, from: &Keypair, to: AccountId, rao: u64) -> Result<Receipt, SubmitError> {
        let call = Call::new("Balances", "transfer_keep_alive")
            .arg("dest", Value::unnamed_variant("Id", [account(to)]))
            .arg("value", number(rao));
        self.submit(&call, from).await
    }
}
