//! A chain of System, Balances and this pallet for the tests, with one subnet, and the invariants every block must keep.

use polkadot_sdk_frame::testing_prelude::*;
use polkadot_sdk_frame::token::fungible::Inspect;

use crate::genesis::SubnetGenesis;
use crate::types::{AlphaBalance, NetUid, TaoBalance};

pub(crate) type AccountId = polkadot_sdk_frame::runtime::types_common::AccountId;
type Block = MockBlock<Test>;

construct_runtime!(
    pub struct Test {
        System: frame_system,
        Balances: pallet_balances,
        SubtensorModule: crate,
    }
);

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountData = pallet_balances::AccountData<u64>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type ExistentialDeposit = ConstU64<500>;
}

parameter_types! {
    pub const SubtensorPalletId: PalletId = PalletId(*b"bt/subte");
    pub static AllowLoopbackAxon: bool = true;
}

impl crate::Config for Test {
    type Currency = Balances;
    type AllowLoopbackAxon = AllowLoopbackAxon;
    type SubtensorPalletId = SubtensorPalletId;
}

/// One TAO, or one alpha.
pub(crate) const ONE: u64 = 1_000_000_000;
/// The subnet of the tests.
pub(crate) const NET: NetUid = NetUid(1);

/// The account with this number; 0 owns nothing.
pub(crate) fn account(number: u8) -> AccountId {
    AccountId::new([number; 32])
}

/// Coldkey of the subnet's owner.
pub(crate) fn owner_coldkey() -> AccountId {
    account(201)
}

/// Hotkey of the subnet's owner: uid 0.
pub(crate) fn owner_hotkey() -> AccountId {
    account(202)
}

/// Signed by this account.
pub(crate) fn by(account: &AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(account.clone())
}

/// The subnet most tests use: open, started, epochs every 10 blocks, no limits on setting weights.
pub(crate) fn subnet() -> SubnetGenesis<AccountId> {
    SubnetGenesis {
        owner_coldkey: Some(owner_coldkey()),
        owner_hotkey: Some(owner_hotkey()),
        tempo: 10,
        burn: ONE / 10,
        commit_reveal: false,
        weights_set_rate_limit: 0,
        serving_rate_limit: 5,
        ..Default::default()
    }
}

/// A chain at block 1 with this subnet.
pub(crate) fn chain_with(subnet: SubnetGenesis<AccountId>) -> TestState {
    let genesis = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: (1..=60).map(|number| (account(number), 10_000 * ONE)).collect(),
            ..Default::default()
        },
        subtensor_module: crate::GenesisConfig {
            subnets: [("test".into(), subnet)].into(),
            network_min_lock_cost: 1_000 * ONE,
            ..Default::default()
        },
        ..Default::default()
    };
    let mut state = TestState::new(genesis.build_storage().unwrap());
    state.execute_with(|| System::set_block_number(1));
    state
}

/// A chain with the usual subnet.
pub(crate) fn chain() -> TestState {
    chain_with(subnet())
}

/// Runs so many blocks, checking the invariants after each.
pub(crate) fn run_blocks(count: u64) {
    for _ in 0..count {
        System::set_block_number(System::block_number() + 1);
        SubtensorModule::on_initialize(System::block_number());
        check_invariants();
    }
}

/// Runs blocks until the next epoch of the subnet has been paid.
pub(crate) fn run_epoch() {
    let before = crate::SubnetEpochIndex::<Test>::get(NET);
    while crate::SubnetEpochIndex::<Test>::get(NET) == before {
        run_blocks(1);
    }
}

/// Registers a hotkey of a coldkey and returns its uid.
pub(crate) fn register(coldkey: &AccountId, hotkey: &AccountId) -> u16 {
    SubtensorModule::burned_register(by(coldkey), NET, hotkey.clone()).unwrap();
    crate::Uids::<Test>::get(NET, hotkey).unwrap()
}

/// Registers a neuron whose coldkey is `account(n)` and whose hotkey is `account(n + 100)`.
pub(crate) fn neuron(number: u8) -> (AccountId, u16) {
    let hotkey = account(number + 100);
    let uid = register(&account(number), &hotkey);
    (hotkey, uid)
}

/// A neuron with stake of its own coldkey.
pub(crate) fn validator(number: u8, tao: u64) -> (AccountId, u16) {
    let (hotkey, uid) = neuron(number);
    SubtensorModule::add_stake(by(&account(number)), hotkey.clone(), NET, TaoBalance(tao)).unwrap();
    (hotkey, uid)
}

/// Sets weights.
pub(crate) fn set_weights(hotkey: &AccountId, weights: &[(u16, u16)]) -> DispatchResult {
    let (uids, values) = weights.iter().copied().unzip();
    SubtensorModule::set_weights(by(hotkey), NET, uids, values, 0)
}

/// TAO an account has.
pub(crate) fn tao(account: &AccountId) -> u64 {
    Balances::total_balance(account)
}

/// All alpha anyone holds with any hotkey in a subnet.
pub(crate) fn alpha_held(netuid: NetUid) -> u64 {
    crate::TotalHotkeyAlpha::<Test>::iter().filter(|(_, net, _)| *net == netuid).map(|(_, _, amount)| amount.0).sum()
}

/// What must hold after every block: TAO is where the books say, and nobody holds alpha that was not issued.
pub(crate) fn check_invariants() {
    assert_eq!(Balances::total_issuance(), crate::TotalIssuance::<Test>::get().0, "issuance and ledger differ");
    let mut reserves = 0;
    for (netuid, reserve) in crate::SubnetTAO::<Test>::iter() {
        assert_eq!(tao(&SubtensorModule::subnet_account(netuid)), reserve.0, "TAO of subnet {netuid} is elsewhere");
        reserves += reserve.0;
    }
    assert_eq!(crate::TotalStake::<Test>::get().0, reserves, "TotalStake is not the sum of reserves");
    for netuid in SubtensorModule::subnets() {
        let known = [
            AlphaBalance(alpha_held(netuid)),
            crate::SubnetProtocolAlpha::<Test>::get(netuid),
            crate::PendingServerEmission::<Test>::get(netuid),
            crate::PendingValidatorEmission::<Test>::get(netuid),
            crate::PendingRootAlphaDivs::<Test>::get(netuid),
            crate::PendingOwnerCut::<Test>::get(netuid),
        ];
        let known: u64 = known.iter().map(|amount| amount.0).sum();
        let out = crate::SubnetAlphaOut::<Test>::get(netuid).0;
        assert!(known <= out, "subnet {netuid} holds {known} alpha of {out} outside its pool");
    }
    for (hotkey, netuid, total) in crate::TotalHotkeyAlpha::<Test>::iter() {
        let held: u64 = crate::StakingHotkeys::<Test>::iter()
            .filter(|(_, hotkeys)| hotkeys.contains(&hotkey))
            .map(|(coldkey, _)| SubtensorModule::alpha_of(&hotkey, &coldkey, netuid).0)
            .sum();
        assert!(held <= total.0, "holders of one hotkey claim {held} of {total}");
    }
}
