//! Scalars and records as the chain encodes them: newtypes that look like plain integers in metadata, fixed point numbers
//! kept as raw bits, and the records of neurons and subnets.

use alloc::vec::Vec;
use codec::{CompactAs, Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk_frame::derive::{Deserialize, Serialize};
use scale_info::{Path, Type, TypeInfo, build::Fields};

/// A number that metadata shows as the integer it wraps.
macro_rules! transparent {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, CompactAs, Serialize, Deserialize,
        )]
        #[serde(crate = "polkadot_sdk_frame::derive::serde", transparent)]
        pub struct $name(pub $inner);

        impl TypeInfo for $name {
            type Identity = $inner;
            fn type_info() -> Type {
                <$inner as TypeInfo>::type_info()
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

transparent! {
    /// Number of a subnet; 0 is root.
    NetUid(u16)
}
transparent! {
    /// An amount of TAO in rao (1e-9 TAO).
    TaoBalance(u64)
}
transparent! {
    /// An amount of one subnet's alpha in its smallest unit (1e-9 alpha).
    AlphaBalance(u64)
}

impl NetUid {
    /// The root subnet: no miners, stake is plain TAO.
    pub const ROOT: Self = Self(0);

    /// Whether this is the root subnet.
    pub fn is_root(self) -> bool {
        self == Self::ROOT
    }

    /// Key of the per-mechanism maps: `netuid + 4096 * mechanism`.
    pub fn index(self, mechanism: MechId) -> NetUidStorageIndex {
        self.0.saturating_add(u16::from(mechanism).saturating_mul(4096))
    }
}

macro_rules! amount {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The sum, or the largest amount.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, or nothing.
            #[must_use]
            pub fn minus(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// Whether there is nothing.
            pub fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}
amount!(TaoBalance);
amount!(AlphaBalance);

/// Number of a mechanism inside a subnet.
pub type MechId = u8;

/// Key of maps kept per mechanism: `netuid + 4096 * mechanism`.
pub type NetUidStorageIndex = u16;

/// A fixed point number stored as raw bits, `FRAC` of them after the point.
macro_rules! fixed {
    ($(#[$doc:meta])* $name:ident, $bits:ty, $shown:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord,
            Encode, Decode, DecodeWithMemTracking, MaxEncodedLen,
        )]
        pub struct $name<const FRAC: u32> {
            /// The number times `2^FRAC`.
            pub bits: $bits,
        }

        impl<const FRAC: u32> TypeInfo for $name<FRAC> {
            type Identity = $name<0>;
            fn type_info() -> Type {
                Type::builder()
                    .path(Path::new($shown, "substrate_fixed"))
                    .composite(Fields::named().field(|f| f.ty::<$bits>().name("bits").type_name(stringify!($bits))))
            }
        }

        impl<const FRAC: u32> $name<FRAC> {
            /// The number with these raw bits.
            pub const fn from_bits(bits: $bits) -> Self {
                Self { bits }
            }
        }
    };
}

fixed! {
    /// Signed 128-bit fixed point.
    FixedI128, i128, "FixedI128"
}
fixed! {
    /// Unsigned 128-bit fixed point.
    FixedU128, u128, "FixedU128"
}

/// 96 bits before the point (signed), 32 after.
pub type I96F32 = FixedI128<32>;
/// 96 bits before the point, 32 after.
pub type U96F32 = FixedU128<32>;
/// 64 bits before the point, 64 after.
pub type U64F64 = FixedU128<64>;

/// The endpoint a hotkey announced in a subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, MaxEncodedLen)]
pub struct AxonInfo {
    /// Block of the announcement.
    pub block: u64,
    /// Version the server says it runs.
    pub version: u32,
    /// Address; IPv4 sits in the low 32 bits.
    pub ip: u128,
    /// Port.
    pub port: u16,
    /// 4 or 6.
    pub ip_type: u8,
    /// Free for the subnet.
    pub protocol: u8,
    /// Free for the subnet.
    pub placeholder1: u8,
    /// Free for the subnet.
    pub placeholder2: u8,
}

/// Name, links and description of a subnet, in UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SubnetIdentityV3 {
    /// Name.
    pub subnet_name: Vec<u8>,
    /// Source repository.
    pub github_repo: Vec<u8>,
    /// Contact.
    pub subnet_contact: Vec<u8>,
    /// Web page.
    pub subnet_url: Vec<u8>,
    /// Discord server.
    pub discord: Vec<u8>,
    /// Description.
    pub description: Vec<u8>,
    /// Link to a picture.
    pub logo_url: Vec<u8>,
    /// Anything else.
    pub additional: Vec<u8>,
}

/// What happens to incentive of hotkeys of the subnet owner.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, MaxEncodedLen,
)]
pub enum RecycleOrBurnEnum {
    /// It stays issued but belongs to nobody.
    #[default]
    Burn,
    /// It is taken out of issuance and can be emitted again.
    Recycle,
}

/// Key of `LastRateLimitedBlock`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, MaxEncodedLen)]
pub enum RateLimitKey<AccountId> {
    /// Change of the owner's hotkey of a subnet.
    SetSNOwnerHotkey(NetUid),
    /// Change of one hyperparameter of a subnet by its owner.
    OwnerHyperparamUpdate(NetUid, u8),
    /// Registration of a subnet.
    NetworkLastRegistered,
    /// Last limited transaction of an account.
    LastTxBlock(AccountId),
    /// Last change of the child take of an account.
    LastTxBlockChildKeyTake(AccountId),
    /// Last increase of the take of an account.
    LastTxBlockDelegateTake(AccountId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newtypes_look_like_integers() {
        assert_eq!(NetUid(7).encode(), 7u16.encode());
        assert_eq!(TaoBalance(7).encode(), 7u64.encode());
        assert_eq!(NetUid::type_info(), u16::type_info());
        assert_eq!(codec::Compact(NetUid(300)).encode(), codec::Compact(300u16).encode());
        assert_eq!(U64F64::from_bits(3).encode(), 3u128.encode());
    }

    #[test]
    fn mechanisms_have_their_own_index() {
        assert_eq!(NetUid(3).index(0), 3);
        assert_eq!(NetUid(3).index(2), 3 + 8192);
    }
}
