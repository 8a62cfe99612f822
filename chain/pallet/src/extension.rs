//! Refusing free calls in the pool: what would fail in a block must not get into one, since nobody pays for it.

use core::marker::PhantomData;

use codec::{Decode, DecodeWithMemTracking, Encode};
use polkadot_sdk_frame::deps::frame_support::traits::OriginTrait;
use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::traits::IsSubType;
use scale_info::TypeInfo;

use crate::types::{AxonInfo, NetUid};
use crate::*;

/// Reads of the largest check.
const READS: u64 = 20;

/// Finds out whether a free call of this pallet would fail, and refuses it with the number the public chain gives.
#[derive(Clone, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
#[scale_info(skip_type_params(T))]
pub struct SubtensorTransactionExtension<T>(PhantomData<T>);

impl<T> SubtensorTransactionExtension<T> {
    /// The extension has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for SubtensorTransactionExtension<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> core::fmt::Debug for SubtensorTransactionExtension<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SubtensorTransactionExtension")
    }
}

/// What a refusal in the pool is called on the public chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Refusal {
    StakeAmountTooLow = 1,
    SubnetNotExists = 3,
    RateLimitExceeded = 6,
    HotKeyNotRegisteredInNetwork = 10,
    InvalidIpAddress = 11,
    ServingRateLimitExceeded = 12,
    InvalidPort = 13,
    CommitNotFound = 16,
    CommitBlockNotInRevealRange = 17,
    InputLengthsUnequal = 18,
    UidNotFound = 19,
    BadRequest = 255,
}

impl<T> From<Error<T>> for Refusal {
    fn from(error: Error<T>) -> Self {
        match error {
            Error::NotEnoughStakeToSetWeights => Self::StakeAmountTooLow,
            Error::SubnetNotExists | Error::MechanismDoesNotExist => Self::SubnetNotExists,
            Error::SettingWeightsTooFast | Error::CommittingWeightsTooFast => Self::RateLimitExceeded,
            Error::HotKeyNotRegisteredInSubNet | Error::HotKeyNotRegisteredInNetwork => {
                Self::HotKeyNotRegisteredInNetwork
            }
            Error::InvalidIpType | Error::InvalidIpAddress => Self::InvalidIpAddress,
            Error::ServingRateLimitExceeded => Self::ServingRateLimitExceeded,
            Error::InvalidPort => Self::InvalidPort,
            Error::NoWeightsCommitFound | Error::InvalidRevealCommitHashNotMatch => Self::CommitNotFound,
            Error::ExpiredWeightCommit | Error::RevealTooEarly => Self::CommitBlockNotInRevealRange,
            Error::WeightVecNotEqualSize => Self::InputLengthsUnequal,
            Error::UidVecContainInvalidOne => Self::UidNotFound,
            _ => Self::BadRequest,
        }
    }
}

/// Why the call of this hotkey would fail now; calls that cost a fee are not looked at.
fn check<T: Config>(hotkey: &T::AccountId, call: &Call<T>) -> Result<(), Refusal> {
    let exists = |netuid: &NetUid| NetworksAdded::<T>::get(netuid).then_some(()).ok_or(Refusal::SubnetNotExists);
    match call {
        Call::set_weights { netuid, dests, weights, version_key } => {
            exists(netuid)?;
            Pallet::<T>::check_set_weights(hotkey, *netuid, 0, dests, weights, *version_key)?;
        }
        Call::commit_weights { netuid, .. } => {
            exists(netuid)?;
            Pallet::<T>::check_commit(hotkey, *netuid, 0)?;
        }
        Call::reveal_weights { netuid, uids, values, salt, version_key } => {
            exists(netuid)?;
            // Before the hash of what may be megabytes.
            Uids::<T>::get(netuid, hotkey).ok_or(Refusal::HotKeyNotRegisteredInNetwork)?;
            Pallet::<T>::check_reveal(hotkey, *netuid, 0, uids, values, salt, *version_key)?;
        }
        Call::serve_axon { netuid, version, ip, port, ip_type, protocol, placeholder1, placeholder2 } => {
            exists(netuid)?;
            let axon = AxonInfo {
                block: Pallet::<T>::now(),
                version: *version,
                ip: *ip,
                port: *port,
                ip_type: *ip_type,
                protocol: *protocol,
                placeholder1: *placeholder1,
                placeholder2: *placeholder2,
            };
            Pallet::<T>::check_axon(hotkey, *netuid, &axon)?;
        }
        _ => {}
    }
    Ok(())
}

impl<T> TransactionExtension<T::RuntimeCall> for SubtensorTransactionExtension<T>
where
    T: Config<RuntimeCall: IsSubType<Call<T>>> + Send + Sync,
{
    const IDENTIFIER: &'static str = "SubtensorTransactionExtension";
    type Implicit = ();
    type Val = ();
    type Pre = ();

    fn weight(&self, call: &T::RuntimeCall) -> Weight {
        match call.is_sub_type() {
            Some(
                Call::set_weights { .. }
                | Call::commit_weights { .. }
                | Call::reveal_weights { .. }
                | Call::serve_axon { .. },
            ) => T::DbWeight::get().reads(READS),
            _ => Weight::zero(),
        }
    }

    fn validate(
        &self,
        origin: T::RuntimeOrigin,
        call: &T::RuntimeCall,
        _info: &DispatchInfoOf<T::RuntimeCall>,
        _len: usize,
        _self_implicit: Self::Implicit,
        _inherited_implication: &impl Encode,
        _source: TransactionSource,
    ) -> ValidateResult<Self::Val, T::RuntimeCall> {
        if let (Some(hotkey), Some(call)) = (origin.as_signer(), call.is_sub_type()) {
            check::<T>(hotkey, call).map_err(|refusal| InvalidTransaction::Custom(refusal as u8))?;
        }
        Ok((ValidTransaction::default(), (), origin))
    }

    impl_tx_ext_default!(T::RuntimeCall; prepare);
}
