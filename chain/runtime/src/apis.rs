//! What a node can ask the runtime. Natively these are reached by name through `api::dispatch(method, arguments)`, which must
//! run inside externalities; in wasm they are exports.

// The macro below names the runtime itself.
#![allow(clippy::use_self)]

use alloc::vec::Vec;
use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::runtime::apis;
use polkadot_sdk_frame::runtime::prelude::*;
use polkadot_sdk_frame::traits::Block as BlockT;
use sp_consensus_aura::sr25519::AuthorityId as AuraId;

use crate::{
    AccountId, Balance, Block, Header, InherentDataExt as _, Runtime, RuntimeExecutive, RuntimeGenesisConfig,
    SlotDuration, System, TransactionPayment, UncheckedExtrinsic, VERSION, genesis,
};

impl_runtime_apis! {
    impl apis::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            VERSION
        }

        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            RuntimeExecutive::execute_block(block)
        }

        fn initialize_block(header: &Header) -> ExtrinsicInclusionMode {
            RuntimeExecutive::initialize_block(header)
        }
    }

    impl apis::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Self::metadata().into())
        }

        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Self::metadata_at_version(version)
        }

        fn metadata_versions() -> Vec<u32> {
            Self::metadata_versions()
        }
    }

    impl apis::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: UncheckedExtrinsic) -> ApplyExtrinsicResult {
            RuntimeExecutive::apply_extrinsic(extrinsic)
        }

        fn finalize_block() -> Header {
            RuntimeExecutive::finalize_block()
        }

        fn inherent_extrinsics(data: InherentData) -> Vec<UncheckedExtrinsic> {
            data.create_extrinsics()
        }

        fn check_inherents(block: <Block as BlockT>::LazyBlock, data: InherentData) -> CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }

    impl apis::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: polkadot_sdk_frame::deps::sp_runtime::transaction_validity::TransactionSource,
            transaction: UncheckedExtrinsic,
            block_hash: <Block as BlockT>::Hash,
        ) -> polkadot_sdk_frame::deps::sp_runtime::transaction_validity::TransactionValidity {
            RuntimeExecutive::validate_transaction(source, transaction, block_hash)
        }
    }

    impl apis::OffchainWorkerApi<Block> for Runtime {
        fn offchain_worker(header: &Header) {
            RuntimeExecutive::offchain_worker(header)
        }
    }

    impl apis::AuraApi<Block, AuraId> for Runtime {
        fn slot_duration() -> apis::SlotDuration {
            apis::SlotDuration::from_millis(<SlotDuration as polkadot_sdk_frame::traits::Get<u64>>::get())
        }

        fn authorities() -> Vec<AuraId> {
            pallet_aura::Authorities::<Self>::get().into_inner()
        }
    }

    impl apis::AccountNonceApi<Block, AccountId, u32> for Runtime {
        fn account_nonce(account: AccountId) -> u32 {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance> for Runtime {
        fn query_info(
            extrinsic: UncheckedExtrinsic,
            len: u32,
        ) -> pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(extrinsic, len)
        }

        fn query_fee_details(
            extrinsic: UncheckedExtrinsic,
            len: u32,
        ) -> pallet_transaction_payment_rpc_runtime_api::FeeDetails<Balance> {
            TransactionPayment::query_fee_details(extrinsic, len)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl apis::GenesisBuilder<Block> for Runtime {
        fn build_state(config: Vec<u8>) -> GenesisBuilderResult {
            build_state::<RuntimeGenesisConfig>(config)
        }

        fn get_preset(id: &Option<PresetId>) -> Option<Vec<u8>> {
            get_preset::<RuntimeGenesisConfig>(id, |id| genesis::preset(id.as_ref()))
        }

        fn preset_names() -> Vec<PresetId> {
            genesis::PRESETS.iter().map(|name| PresetId::from(*name)).collect()
        }
    }
}
