//! A small node: builds blocks with the runtime's own interface and signs transactions.

use codec::{Decode, Encode};
use glia_chain_runtime::{
    AccountId, BlockNumber, Header, Runtime, RuntimeCall, Signature, SignedPayload, System, TxExtension,
    UncheckedExtrinsic, VERSION, api, genesis,
};
use polkadot_sdk_frame::deps::frame_system;
use polkadot_sdk_frame::deps::sp_runtime::generic::Era;
use polkadot_sdk_frame::deps::sp_runtime::traits::{BlakeTwo256, Hash, Header as _};
use polkadot_sdk_frame::deps::sp_runtime::{ApplyExtrinsicResult, MultiAddress};
use polkadot_sdk_frame::runtime::prelude::{ExtrinsicInclusionMode, InherentData, Sr25519Keyring};
use polkadot_sdk_frame::testing_prelude::{H256, TestState};
use serde_json::{Value, json};
use sp_core::Pair as _;
use sp_core::sr25519::Pair;

/// Milliseconds between the blocks of the tests.
pub(crate) const BLOCK_TIME: u64 = 250;

/// A chain before its first block.
pub(crate) fn chain(overrides: &Value) -> TestState {
    TestState::new(genesis::storage("development", overrides, BLOCK_TIME).unwrap())
}

/// A chain with the development preset.
pub(crate) fn development() -> TestState {
    chain(&json!({}))
}

/// Calls the runtime by name.
pub(crate) fn ask<T: Decode>(method: &str, arguments: impl Encode) -> T {
    let answer = api::dispatch(method, &arguments.encode()).unwrap();
    T::decode(&mut answer.as_slice()).unwrap()
}

/// Hash of the genesis block as the tests pretend it.
pub(crate) fn genesis_hash() -> H256 {
    H256::repeat_byte(7)
}

/// Builds the next block from transactions; returns its header and what became of each.
pub(crate) fn build(transactions: Vec<UncheckedExtrinsic>) -> (Header, Vec<ApplyExtrinsicResult>) {
    let number: BlockNumber = System::block_number() + 1;
    let parent = if number == 1 { genesis_hash() } else { H256::repeat_byte(number as u8) };
    let header = Header::new(number, H256::zero(), H256::zero(), parent, Default::default());
    let _: ExtrinsicInclusionMode = ask("Core_initialize_block", &header);
    let mut data = InherentData::new();
    data.put_data(*b"timstap0", &(u64::from(number) * BLOCK_TIME)).unwrap();
    let inherents: Vec<UncheckedExtrinsic> = ask("BlockBuilder_inherent_extrinsics", &data);
    for inherent in inherents {
        let result: ApplyExtrinsicResult = ask("BlockBuilder_apply_extrinsic", &inherent);
        result.unwrap().unwrap();
    }
    let results = transactions.iter().map(|one| ask("BlockBuilder_apply_extrinsic", one)).collect();
    (ask("BlockBuilder_finalize_block", ()), results)
}

/// Builds empty blocks.
pub(crate) fn pass(blocks: u32) {
    for _ in 0..blocks {
        build(Vec::new());
    }
}

/// A key of its own for any name, without funds.
pub(crate) fn key(name: &str) -> Pair {
    Pair::from_string(&format!("//{name}"), None).unwrap()
}

/// The account of a key.
pub(crate) fn account_of(key: &Pair) -> AccountId {
    AccountId::new(key.public().0)
}

/// A transaction signed by a well-known key with its next nonce.
pub(crate) fn sign(key: Sr25519Keyring, call: RuntimeCall) -> UncheckedExtrinsic {
    sign_with(&key.pair(), call, System::account_nonce(key.to_account_id()))
}

/// A signed transaction.
pub(crate) fn sign_with(key: &Pair, call: RuntimeCall, nonce: u32) -> UncheckedExtrinsic {
    let extension: TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::<Runtime>::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        glia_chain_pallet::SubtensorTransactionExtension::new(),
    );
    let implicit =
        ((), VERSION.spec_version, VERSION.transaction_version, genesis_hash(), genesis_hash(), (), (), (), ());
    let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implicit);
    let signature = payload.using_encoded(|bytes| key.sign(bytes));
    UncheckedExtrinsic::new_signed(call, MultiAddress::Id(account_of(key)), Signature::Sr25519(signature), extension)
}

/// Hash of anything, to make distinct accounts.
pub(crate) fn hash(bytes: &[u8]) -> H256 {
    BlakeTwo256::hash(bytes)
}
