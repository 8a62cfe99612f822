//! Metadata in the versions clients ask for.

use codec::Decode;
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};
use polkadot_sdk_frame::deps::sp_core::OpaqueMetadata;

use crate::support::*;

fn metadata(version: u32) -> RuntimeMetadata {
    let bytes: Option<OpaqueMetadata> = ask("Metadata_metadata_at_version", version);
    RuntimeMetadataPrefixed::decode(&mut bytes.unwrap().as_slice()).unwrap().1
}

#[test]
fn versions_14_15_and_16_decode() {
    development().execute_with(|| {
        assert!(matches!(metadata(14), RuntimeMetadata::V14(_)));
        assert!(matches!(metadata(15), RuntimeMetadata::V15(_)));
        assert!(matches!(metadata(16), RuntimeMetadata::V16(_)));
        let plain: OpaqueMetadata = ask("Metadata_metadata", ());
        let plain = RuntimeMetadataPrefixed::decode(&mut plain.as_slice()).unwrap().1;
        assert!(matches!(plain, RuntimeMetadata::V14(_)));
    });
}

#[test]
fn pallets_have_the_indices_of_the_public_chain() {
    development().execute_with(|| {
        let RuntimeMetadata::V14(metadata) = metadata(14) else { panic!("not version 14") };
        let pallets: Vec<(u8, &str)> =
            metadata.pallets.iter().map(|pallet| (pallet.index, pallet.name.as_str())).collect();
        for expected in [
            (0, "System"),
            (2, "Timestamp"),
            (3, "Aura"),
            (5, "Balances"),
            (6, "TransactionPayment"),
            (7, "SubtensorModule"),
            (12, "Sudo"),
        ] {
            assert!(pallets.contains(&expected), "{expected:?} is not in {pallets:?}");
        }
        assert_eq!(metadata.extrinsic.version, 4);
    });
}

#[test]
fn calls_have_the_numbers_and_argument_names_of_the_public_chain() {
    development().execute_with(|| {
        let RuntimeMetadata::V14(metadata) = metadata(14) else { panic!("not version 14") };
        let pallet = metadata.pallets.iter().find(|pallet| pallet.name == "SubtensorModule").unwrap();
        let calls = metadata.types.resolve(pallet.calls.as_ref().unwrap().ty.id).unwrap();
        let scale_info::TypeDef::Variant(calls) = &calls.type_def else { panic!("calls are no enum") };
        let expected: [(u8, &str, &[&str]); 9] = [
            (0, "set_weights", &["netuid", "dests", "weights", "version_key"]),
            (2, "add_stake", &["hotkey", "netuid", "amount_staked"]),
            (3, "remove_stake", &["hotkey", "netuid", "amount_unstaked"]),
            (
                4,
                "serve_axon",
                &["netuid", "version", "ip", "port", "ip_type", "protocol", "placeholder1", "placeholder2"],
            ),
            (7, "burned_register", &["netuid", "hotkey"]),
            (59, "register_network", &["hotkey"]),
            (92, "start_call", &["netuid"]),
            (96, "commit_weights", &["netuid", "commit_hash"]),
            (97, "reveal_weights", &["netuid", "uids", "values", "salt", "version_key"]),
        ];
        for (index, name, arguments) in expected {
            let call = calls.variants.iter().find(|call| call.name == name).unwrap();
            assert_eq!(call.index, index, "{name}");
            let names: Vec<&str> = call.fields.iter().filter_map(|field| field.name.as_deref()).collect();
            assert_eq!(names, arguments, "{name}");
        }
        // A netuid is a plain u16 to clients.
        let set_weights = calls.variants.iter().find(|call| call.name == "set_weights").unwrap();
        let netuid = metadata.types.resolve(set_weights.fields[0].ty.id).unwrap();
        assert!(matches!(netuid.type_def, scale_info::TypeDef::Primitive(scale_info::TypeDefPrimitive::U16)));
    });
}

#[test]
fn clients_can_read_the_slot_duration() {
    development().execute_with(|| {
        let RuntimeMetadata::V14(metadata) = metadata(14) else { panic!("not version 14") };
        let aura = metadata.pallets.iter().find(|pallet| pallet.name == "Aura").unwrap();
        let constant = aura.constants.iter().find(|constant| constant.name == "SlotDuration").unwrap();
        assert_eq!(u64::decode(&mut constant.value.as_slice()), Ok(BLOCK_TIME));
        let api: u64 = ask("AuraApi_slot_duration", ());
        assert_eq!(api, BLOCK_TIME);
    });
}
