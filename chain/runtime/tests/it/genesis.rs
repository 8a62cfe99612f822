//! Presets and their overrides.

use glia_chain_pallet::types::{NetUid, TaoBalance};
use glia_chain_pallet::{Burn, Keys, NetworksAdded, SubnetOwner, Tempo, TotalIssuance};
use glia_chain_runtime::{Balances, Runtime, genesis};
use serde_json::{Value, json};

use crate::support::*;

const VISION: NetUid = NetUid(1);

#[test]
fn development_has_the_vision_subnet_and_balanced_books() {
    development().execute_with(|| {
        assert!(NetworksAdded::<Runtime>::get(VISION));
        assert_eq!(SubnetOwner::<Runtime>::get(VISION), genesis::SUBNET_OWNER.to_account_id());
        assert_eq!(Keys::<Runtime>::get(VISION, 0), genesis::SUBNET_OWNER_HOTKEY.to_account_id());
        assert_eq!(Tempo::<Runtime>::get(VISION), 20);
        assert_eq!(TotalIssuance::<Runtime>::get(), TaoBalance(Balances::total_issuance()));
    });
}

#[test]
fn overrides_change_single_fields() {
    let overrides = json!({ "subtensorModule": { "subnets": { "vision": { "tempo": 40, "burn": 5 } } } });
    chain(&overrides).execute_with(|| {
        assert_eq!(Tempo::<Runtime>::get(VISION), 40);
        assert_eq!(Burn::<Runtime>::get(VISION), TaoBalance(5));
        assert_eq!(SubnetOwner::<Runtime>::get(VISION), genesis::SUBNET_OWNER.to_account_id());
    });
}

#[test]
fn overrides_can_add_subnets() {
    let owner = genesis::SUBNET_OWNER.to_account_id();
    let hotkey = genesis::SUBNET_OWNER_HOTKEY.to_account_id();
    let overrides = json!({ "subtensorModule": { "subnets": {
        "language": { "netuid": 2, "name": "language", "ownerColdkey": owner, "ownerHotkey": hotkey, "tempo": 30 }
    } } });
    chain(&overrides).execute_with(|| {
        assert_eq!(Tempo::<Runtime>::get(NetUid(2)), 30);
        assert!(NetworksAdded::<Runtime>::get(VISION));
    });
}

#[test]
fn misspelt_overrides_are_refused() {
    let misspelt = json!({ "subtensorModule": { "subnets": { "vision": { "tempi": 40 } } } });
    let error = genesis::storage("development", &misspelt, BLOCK_TIME).err().unwrap();
    assert!(error.contains("tempi"), "{error}");
    assert!(genesis::storage("mainnet", &json!({}), BLOCK_TIME).is_err());
}

#[test]
fn a_node_can_build_the_same_state_through_the_interface() {
    let config: Value = genesis::config("development", &json!({})).unwrap();
    let mut state = polkadot_sdk_frame::testing_prelude::TestState::new_empty();
    state.execute_with(|| {
        let result: Result<(), String> = ask("GenesisBuilder_build_state", config.to_string().into_bytes());
        assert_eq!(result, Ok(()));
        assert!(NetworksAdded::<Runtime>::get(VISION));
        let names: Vec<String> = ask("GenesisBuilder_preset_names", ());
        assert_eq!(names, ["development"]);
        let preset: Option<Vec<u8>> = ask("GenesisBuilder_get_preset", Some("development"));
        assert!(preset.is_some_and(|json| serde_json::from_slice::<Value>(&json).is_ok()));
    });
}
