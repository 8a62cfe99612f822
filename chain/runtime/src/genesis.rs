//! Presets of the first block.
//!
//! A preset is a patch in JSON over the default genesis. A node merges it, then its own overrides, and builds the state:
//! natively [`storage`] does all of this. Fields of a subnet are those of
//! [`glia_chain_pallet::genesis::SubnetGenesis`]; an override of the tempo of the vision subnet reads
//! `{"subtensorModule": {"subnets": {"vision": {"tempo": 20}}}}`.

use alloc::string::ToString;
use alloc::vec::Vec;
use polkadot_sdk_frame::runtime::prelude::{DEV_RUNTIME_PRESET, Sr25519Keyring};
use serde_json::{Value, json};

/// One TAO in rao.
const TAO: u64 = 1_000_000_000;

/// Presets this runtime knows.
pub const PRESETS: [&str; 1] = [DEV_RUNTIME_PRESET];

/// Coldkey that may call anything as root and pays newcomers of a local chain.
pub const FAUCET: Sr25519Keyring = Sr25519Keyring::Alice;

/// Coldkey that owns the subnets of a local chain; hotkeys of it earn no incentive.
pub const SUBNET_OWNER: Sr25519Keyring = Sr25519Keyring::Ferdie;

/// Hotkey of [`SUBNET_OWNER`]: uid 0 of each subnet of a local chain.
pub const SUBNET_OWNER_HOTKEY: Sr25519Keyring = Sr25519Keyring::FerdieStash;

/// JSON of a preset by name.
pub fn preset(name: &str) -> Option<Vec<u8>> {
    (name == DEV_RUNTIME_PRESET).then(|| development().to_string().into_bytes())
}

/// A local chain for development: well-known accounts with funds and the subnet `vision`, open and emitting, without
/// commit-reveal, with short limits.
pub fn development() -> Value {
    let faucet = FAUCET.to_account_id();
    let balances: Vec<Value> = Sr25519Keyring::well_known()
        .map(|key| {
            let amount = if key == FAUCET { 5_000_000 * TAO } else { 10_000 * TAO };
            json!([key.to_account_id(), amount])
        })
        .collect();
    json!({
        "balances": { "balances": balances },
        "sudo": { "key": faucet },
        "aura": { "authorities": [FAUCET.public().to_string()] },
        "subtensorModule": {
            "stakeThreshold": 0,
            "networkRateLimit": 0,
            "networkMinLockCost": 1_000 * TAO,
            "subnets": {
                "vision": {
                    "netuid": 1,
                    "name": "vision",
                    "symbol": "v",
                    "ownerColdkey": SUBNET_OWNER.to_account_id(),
                    "ownerHotkey": SUBNET_OWNER_HOTKEY.to_account_id(),
                    "taoReserve": 100_000 * TAO,
                    "alphaReserve": 100_000 * TAO,
                    "tempo": 20,
                    "burn": TAO / 100,
                    "minBurn": TAO / 2_000,
                    "maxBurn": 100 * TAO,
                    "burnHalfLife": 20,
                    "immunityPeriod": 200,
                    "minNonImmuneUids": 10,
                    "maxAllowedUids": 256,
                    "maxAllowedValidators": 64,
                    "minAllowedWeights": 1,
                    // Experts hold stake as soon as they are paid, but set no weights: their silence must not outvote routers.
                    "activityCutoffFactorMilli": 3_000,
                    "weightsSetRateLimit": 0,
                    "servingRateLimit": 0,
                    "commitReveal": false,
                    "yuma3": true,
                    "liquidAlpha": false,
                    "emissionEnabled": true,
                    "started": true
                }
            }
        }
    })
}

/// The complete genesis of a preset, patched: each override replaces what it names, `null` removes it.
///
/// # Errors
/// A sentence, when the preset does not exist.
#[cfg(feature = "std")]
pub fn config(preset_name: &str, overrides: &Value) -> Result<Value, std::string::String> {
    let patch = preset(preset_name).ok_or_else(|| std::format!("there is no preset {preset_name}"))?;
    let patch: Value = serde_json::from_slice(&patch).map_err(|error| error.to_string())?;
    let mut config = serde_json::to_value(crate::RuntimeGenesisConfig::default()).map_err(|error| error.to_string())?;
    merge(&mut config, &patch);
    merge(&mut config, overrides);
    Ok(config)
}

/// The state of the first block: a preset with overrides, built, and the slot duration clients are told.
///
/// # Errors
/// A sentence, when the preset does not exist or an override does not fit.
///
/// # Panics
/// When the genesis contradicts itself, for example two subnets with one netuid.
#[cfg(feature = "std")]
pub fn storage(
    preset_name: &str,
    overrides: &Value,
    block_time_ms: u64,
) -> Result<polkadot_sdk_frame::deps::sp_core::storage::Storage, std::string::String> {
    use codec::Encode;
    use polkadot_sdk_frame::deps::sp_runtime::BuildStorage;

    let config = config(preset_name, overrides)?;
    let config: crate::RuntimeGenesisConfig =
        serde_json::from_value(config).map_err(|error| std::format!("the genesis does not fit: {error}"))?;
    let mut storage = config.build_storage()?;
    storage.top.insert(crate::SlotDuration::key().to_vec(), block_time_ms.encode());
    Ok(storage)
}

/// Merges a patch into a value as RFC 7396 says.
#[cfg(feature = "std")]
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
