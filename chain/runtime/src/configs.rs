//! Settings of the pallets.

use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::runtime::prelude::*;
use polkadot_sdk_frame::token::fungible::Credit;
use polkadot_sdk_frame::traits::{Get, Imbalance, OnUnbalanced};
use sp_consensus_aura::sr25519::AuthorityId as AuraId;

use crate::{
    AccountId, Balance, Balances, Block, PalletInfo, Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason,
    RuntimeHoldReason, RuntimeOrigin, RuntimeTask, System, VERSION,
};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};

/// Extensions a transaction carries, in order.
pub type TxExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckMortality<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    glia_chain_pallet::SubtensorTransactionExtension<Runtime>,
);

/// Work a block may hold: two seconds, three quarters of it for transactions.
const BLOCK_WEIGHT: Weight = Weight::from_parts(
    2 * polkadot_sdk_frame::deps::frame_support::weights::constants::WEIGHT_REF_TIME_PER_SECOND,
    u64::MAX,
);

/// Milliseconds between blocks on the public chain; the default slot.
const PUBLIC_BLOCK_TIME: u64 = 12_000;

/// Half of the shortest block time a chain may have, 250 ms.
const MINIMUM_PERIOD: u64 = 125;

/// Storage key of the slot duration of a chain whose blocks are not 12 s apart.
const SLOT_DURATION_KEY: &[u8] = b":glia:slot_duration";

/// Milliseconds of a slot, as clients read it from the constant `Aura::SlotDuration`: what the genesis says, else 12 s.
pub struct SlotDuration;

impl SlotDuration {
    /// Where a genesis writes a slot duration (a `u64` of milliseconds in SCALE).
    pub const fn key() -> &'static [u8] {
        SLOT_DURATION_KEY
    }
}

impl Get<u64> for SlotDuration {
    fn get() -> u64 {
        // Metadata may be asked for without a state at hand.
        #[cfg(feature = "std")]
        if sp_externalities::with_externalities(|_| ()).is_none() {
            return PUBLIC_BLOCK_TIME;
        }
        polkadot_sdk_frame::deps::frame_support::storage::unhashed::get(SLOT_DURATION_KEY).unwrap_or(PUBLIC_BLOCK_TIME)
    }
}

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    pub const SubtensorPalletId: PalletId = PalletId(*b"bt/subte");
    pub RuntimeBlockWeights: frame_system::limits::BlockWeights =
        frame_system::limits::BlockWeights::with_sensible_defaults(BLOCK_WEIGHT, Perbill::from_percent(75));
    pub FeeMultiplier: Multiplier = Multiplier::from_u32(1);
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type Version = Version;
    type AccountData = pallet_balances::AccountData<Balance>;
    type BlockHashCount = ConstU32<4096>;
    type BlockWeights = RuntimeBlockWeights;
    type DbWeight = weights::constants::RocksDbWeight;
    type SS58Prefix = ConstU16<42>;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<MINIMUM_PERIOD>;
    type WeightInfo = ();
}

impl pallet_aura::Config for Runtime {
    type AuthorityId = AuraId;
    type MaxAuthorities = ConstU32<32>;
    type DisabledValidators = ();
    type AllowMultipleBlocksPerSlot = ConstBool<true>;
    type SlotDuration = SlotDuration;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type Balance = Balance;
    type AccountStore = System;
    type ExistentialDeposit = ConstU64<500>;
    type DustRemoval = Recycle;
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, Recycle>;
    type WeightToFee = WeightFee;
    type LengthToFee = LengthFee;
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightInfo = ();
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = ();
}

impl glia_chain_pallet::Config for Runtime {
    type Currency = Balances;
    type AllowLoopbackAxon = ConstBool<true>;
    type SubtensorPalletId = SubtensorPalletId;
}

/// Fees and dust leave circulation and can be emitted again: no account earns by writing blocks here.
pub struct Recycle;

impl OnUnbalanced<Credit<AccountId, Balances>> for Recycle {
    fn on_nonzero_unbalanced(amount: Credit<AccountId, Balances>) {
        glia_chain_pallet::Pallet::<Runtime>::note_recycled(amount.peek());
    }
}

/// Half a thousandth of a rao for each picosecond of work.
pub struct WeightFee;

impl weights::WeightToFee for WeightFee {
    type Balance = Balance;
    fn weight_to_fee(weight: &Weight) -> Balance {
        weight.ref_time() / 2_000
    }
}

/// One rao for each byte.
pub struct LengthFee;

impl weights::WeightToFee for LengthFee {
    type Balance = Balance;
    fn weight_to_fee(weight: &Weight) -> Balance {
        weight.ref_time()
    }
}
