//! Defaults of storage that are not plain constants.

use codec::Decode;
use core::marker::PhantomData;
use polkadot_sdk_frame::prelude::TrailingZeroInput;
use polkadot_sdk_frame::traits::Get;

use crate::Config;
use crate::types::{I96F32, MechId, TaoBalance, U64F64};

/// The account of zeros, which owns nothing: what maps of accounts give for keys they do not hold.
pub struct DefaultAccount<T>(PhantomData<T>);

impl<T: Config> Get<T::AccountId> for DefaultAccount<T> {
    fn get() -> T::AccountId {
        // Unreachable: an account id has a largest length (`MaxEncodedLen`) and the input never ends, so that only a type whose
        // zeros are no valid value could fail here, and no `AccountId` of a runtime is one.
        #[allow(clippy::expect_used)]
        T::AccountId::decode(&mut TrailingZeroInput::zeroes()).expect("account ids decode from zeros")
    }
}

/// An amount of rao.
pub struct DefaultTao<const RAO: u64>;

impl<const RAO: u64> Get<TaoBalance> for DefaultTao<RAO> {
    fn get() -> TaoBalance {
        TaoBalance(RAO)
    }
}

macro_rules! default {
    ($(#[$doc:meta])* $name:ident: $ty:ty = $value:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Get<$ty> for $name {
            fn get() -> $ty {
                $value
            }
        }
    };
}

default! {
    /// 0.000003.
    DefaultMovingAlpha: I96F32 = I96F32::from_bits((3i128 << 32) / 1_000_000)
}
default! {
    /// Two epochs.
    DefaultMaxEpochsPerBlock: u8 = 2
}
default! {
    /// Two mechanisms.
    DefaultMaxMechanismCount: MechId = 2
}
default! {
    /// One mechanism.
    DefaultMechanismCount: MechId = 1
}
default! {
    /// 10.
    DefaultSigmoidSteepness: i16 = 1000
}
default! {
    /// 0.7 and 0.9.
    DefaultAlphaValues: (u16, u16) = (45_875, 58_982)
}
default! {
    /// 1.26.
    DefaultBurnIncrease: U64F64 = U64F64::from_bits((126u128 << 64) / 100)
}
