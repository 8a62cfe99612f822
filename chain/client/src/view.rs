//! Storage at one block: keys made from the metadata, values asked for in batches.

use std::collections::HashMap;
use std::sync::Arc;

use subxt::dynamic::Value;
use subxt::ext::frame_decode::storage::StorageTypeInfo as _;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::utils::H256;

use crate::account::AccountId;
use crate::error::ReadError;
use crate::session::{Runtime, Session};

/// The pallet that mirrors Bittensor's.
pub(crate) const SUBTENSOR: &str = "SubtensorModule";

/// Keys asked for in one request: an answer of 256 weight rows stays below the usual 10 MiB limit.
const KEYS_PER_REQUEST: usize = 256;

/// The chain as it was at one block.
pub(crate) struct View {
    session: Arc<Session>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) hash: H256,
    pub(crate) number: u64,
}

/// One storage value to fetch: its key, its type, and what it is when absent.
pub(crate) struct Slot {
    name: String,
    key: Vec<u8>,
    value_type: u32,
    default: Option<Vec<u8>>,
}

impl View {
    /// The newest block on the best chain.
    pub(crate) async fn best(session: Arc<Session>) -> Result<Self, ReadError> {
        let hash = session
            .methods
            .chain_get_block_hash(None)
            .await
            .map_err(|error| session.failed(error))?
            .ok_or_else(|| ReadError::NoSuchBlock("best".to_owned()))?;
        Self::at(session, hash).await
    }

    /// The newest finalized block.
    pub(crate) async fn finalized(session: Arc<Session>) -> Result<Self, ReadError> {
        let hash = session.methods.chain_get_finalized_head().await.map_err(|error| session.failed(error))?;
        Self::at(session, hash).await
    }

    /// A given block.
    pub(crate) async fn at(session: Arc<Session>, hash: H256) -> Result<Self, ReadError> {
        let header = session.methods.chain_get_header(Some(hash));
        let (header, runtime) = futures::join!(header, session.runtime());
        let header = header
            .map_err(|error| session.failed(error))?
            .ok_or_else(|| ReadError::NoSuchBlock(format!("{hash:?}")))?;
        Ok(Self { runtime: runtime?, hash, number: header.number, session })
    }

    /// Where a storage value lies.
    pub(crate) fn slot(&self, pallet: &str, item: &str, keys: Vec<Value>) -> Result<Slot, ReadError> {
        let missing = || ReadError::NoSuchItem { pallet: pallet.to_owned(), item: item.to_owned() };
        let info = self.runtime.offline.metadata_ref().storage_info(pallet, item).map_err(|_| missing())?;
        let value_type = info.value_id;
        let default = info.default_value.as_ref().map(|bytes| bytes.to_vec());
        let name = format!("{pallet}.{item}");
        let key = self
            .runtime
            .offline
            .storage()
            .entry((pallet, item))
            .and_then(|entry| entry.fetch_key(keys))
            .map_err(|error| ReadError::undecodable(format!("the key of {name}"), error))?;
        Ok(Slot { name, key, value_type, default })
    }

    /// As [`Self::slot`] in the Subtensor pallet.
    pub(crate) fn subtensor(&self, item: &str, keys: Vec<Value>) -> Result<Slot, ReadError> {
        self.slot(SUBTENSOR, item, keys)
    }

    /// One value; `None` when absent without a default.
    pub(crate) async fn get<T: DecodeAsType>(&self, slot: Slot) -> Result<Option<T>, ReadError> {
        let fetched = self.fetch(std::slice::from_ref(&slot)).await?;
        self.decode(&slot, &fetched)
    }

    /// One value that has a default.
    pub(crate) async fn get_or_default<T: DecodeAsType + Default>(&self, slot: Slot) -> Result<T, ReadError> {
        Ok(self.get(slot).await?.unwrap_or_default())
    }

    /// Fetches many values of this block, in as few requests as the limits allow.
    pub(crate) async fn fetch(&self, slots: &[Slot]) -> Result<HashMap<Vec<u8>, Vec<u8>>, ReadError> {
        let mut found = HashMap::with_capacity(slots.len());
        for chunk in slots.chunks(KEYS_PER_REQUEST) {
            let keys = chunk.iter().map(|slot| slot.key.as_slice());
            let sets = self
                .session
                .methods
                .state_query_storage_at(keys, Some(self.hash))
                .await
                .map_err(|error| self.session.failed(error))?;
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                if let Some(value) = value {
                    found.insert(key.0, value.0);
                }
            }
        }
        Ok(found)
    }

    /// Reads a slot out of what [`Self::fetch`] brought.
    pub(crate) fn decode<T: DecodeAsType>(
        &self,
        slot: &Slot,
        fetched: &HashMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Option<T>, ReadError> {
        let Some(bytes) = fetched.get(&slot.key).or(slot.default.as_ref()) else {
            return Ok(None);
        };
        let types = self.runtime.offline.metadata_ref().types();
        let mut input = bytes.as_slice();
        let value = T::decode_as_type(&mut input, slot.value_type, types)
            .map_err(|error| ReadError::undecodable(&slot.name, error))?;
        if !input.is_empty() {
            return Err(ReadError::undecodable(&slot.name, format!("{} bytes too many", input.len())));
        }
        Ok(Some(value))
    }
}

/// A number as a storage key or call argument.
pub(crate) fn number(number: impl Into<u128>) -> Value {
    Value::u128(number.into())
}

/// An account as a storage key or call argument.
pub(crate) fn account(account: AccountId) -> Value {
    Value::from_bytes(account.0)
}
