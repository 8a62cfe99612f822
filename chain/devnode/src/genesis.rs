//! Block 0: a preset of the runtime with the caller's patch.

use std::panic::catch_unwind;
use std::time::Duration;

use codec::Decode as _;
use glia_chain_runtime::{SlotDuration, genesis};
use serde_json::Value;
use sp_runtime::Digest;
use sp_runtime::traits::Header as _;
use sp_state_machine::{Backend, InMemoryBackend};

use crate::executor::panic_message;
use crate::store::NodeChanges;
use crate::types::{Hash, Hashing, Header, SealedBlock};

/// Builds block 0 and its state; an error says what does not fit.
pub(crate) fn build(preset: &str, patch: &Value, block_time: Duration) -> Result<(SealedBlock, NodeChanges), String> {
    let millis = u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX);
    // A patch that is no object would replace the whole preset.
    let none = Value::Object(serde_json::Map::new());
    let patch = match patch {
        Value::Null => &none,
        Value::Object(_) => patch,
        _ => return Err("the patch is not a JSON object".to_owned()),
    };
    // Pallets panic over settings that contradict each other.
    let storage =
        catch_unwind(|| genesis::storage(preset, patch, millis)).map_err(|panic| panic_message(panic.as_ref()))??;
    if !storage.children_default.is_empty() {
        return Err("child tries are not kept by this node".to_owned());
    }

    let empty = InMemoryBackend::<Hashing>::default();
    let top = &storage.top;
    let (state_root, mut nodes) = empty.storage_root(
        top.iter().map(|(key, value)| (&key[..], Some(&value[..]))),
        glia_chain_runtime::VERSION.state_version(),
    );
    let header = Header::new(
        0,
        // No extrinsics: the root of the empty trie.
        sp_trie::empty_trie_root::<sp_trie::LayoutV0<Hashing>>(),
        state_root,
        Hash::zero(),
        Digest::default(),
    );
    let block = SealedBlock {
        hash: header.hash(),
        header,
        body: Vec::new(),
        changes: storage.top.into_iter().map(|(key, value)| (key, Some(value))).collect(),
    };
    Ok((block, nodes.drain().into_iter().collect()))
}

/// The block time a chain was made with, which its clients are told.
pub(crate) fn block_time_of<B: Backend<Hashing>>(state: &B) -> Option<Duration> {
    let bytes = state.storage(SlotDuration::key()).ok()??;
    let millis = u64::decode(&mut &bytes[..]).ok()?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SLOT: Duration = Duration::from_millis(250);

    #[test]
    fn the_same_settings_give_the_same_block() {
        let (first, _) = build("development", &Value::Null, SLOT).unwrap();
        let (again, _) = build("development", &json!({}), SLOT).unwrap();
        assert_eq!(first.hash, again.hash);
        let patch = json!({"subtensorModule": {"subnets": {"vision": {"tempo": 7}}}});
        let (other, _) = build("development", &patch, SLOT).unwrap();
        assert_ne!(first.hash, other.hash);
    }

    #[test]
    fn settings_that_do_not_fit_are_a_sentence() {
        for patch in [
            json!(7),
            json!({"noSuchPallet": {}}),
            json!({"subtensorModule": {"subnets": {"vision": {"tempo": "soon"}}}}),
            json!({"subtensorModule": {"subnets": {"second": {"netuid": 1}}}}),
        ] {
            assert!(!build("development", &patch, SLOT).unwrap_err().is_empty());
        }
        assert!(build("no such preset", &Value::Null, SLOT).is_err());
    }
}
