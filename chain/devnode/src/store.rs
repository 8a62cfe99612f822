//! Everything durable, in one file: blocks and state trie nodes, one write transaction per block.
//!
//! A block that was announced is on disk; a kill at any moment leaves the last committed block and its state.
//! A trie node that a block made obsolete is kept while a state that needs it is within the history, then removed.

mod prune;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use codec::{Decode as _, DecodeAll as _, Encode as _};
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
};
use sp_state_machine::{TrieBackendBuilder, TrieBackendStorage};
use sp_trie::cache::{CacheSize, SharedTrieCache};

use crate::types::{Hash, Hashing, Head, Header, SealedBlock, State};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEADERS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("headers");
const BODIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("bodies");
const NUMBERS: TableDefinition<'_, &[u8], u32> = TableDefinition::new("numbers");
/// Trie nodes by path prefix and hash.
const NODES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("nodes");

/// Raised when the layout changes.
const FORMAT: u32 = 1;
/// Pages kept in memory.
const CACHE_BYTES: usize = 64 << 20;
/// Decoded trie nodes and values kept in memory.
const TRIE_CACHE_BYTES: usize = 32 << 20;

/// Trie nodes of a block: key, value and whether it was added (> 0) or made obsolete (< 0).
pub(crate) type NodeChanges = HashMap<Vec<u8>, (Vec<u8>, i32)>;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("locked")]
    Locked,
    #[error("{0}")]
    Corrupt(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why a read or write failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the chain's data file failed: {0}")]
    File(#[from] redb::Error),
    #[error("the chain's data file is damaged: {0}")]
    Damaged(&'static str),
    #[error("block {0} is not known")]
    UnknownBlock(Hash),
    #[error("the state of block {0} is no longer kept")]
    Discarded(u32),
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::File(error.into())
            }
        })+
    };
}
from_redb!(redb::TransactionError, redb::TableError, redb::CommitError, StorageError);

/// The data file.
pub(crate) struct Store {
    db: Database,
    cache: SharedTrieCache<Hashing>,
}

/// The trie nodes as they were when a read began.
pub(crate) struct Nodes {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl TrieBackendStorage<Hashing> for Nodes {
    fn get(&self, key: &Hash, prefix: (&[u8], Option<u8>)) -> Result<Option<Vec<u8>>, String> {
        let key = sp_trie_key(key, prefix);
        self.table
            .get(key.as_slice())
            .map(|found| found.map(|value| value.value().to_vec()))
            .map_err(|error| error.to_string())
    }
}

/// The key under which the trie library hands over a node: path nibbles, then hash.
fn sp_trie_key(key: &Hash, prefix: (&[u8], Option<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(prefix.0.len() + 33);
    out.extend_from_slice(prefix.0);
    out.extend(prefix.1);
    out.extend_from_slice(key.as_bytes());
    out
}

impl Store {
    /// Opens or creates the data file in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir)?;
        let path: PathBuf = dir.join("chain.redb");
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked,
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
                OpenError::Io(error)
            }
            error => OpenError::Corrupt(error.to_string()),
        })?;
        let store = Self { db, cache: SharedTrieCache::new(CacheSize::new(TRIE_CACHE_BYTES), None) };
        store.prepare().map_err(|error| OpenError::Corrupt(error.to_string()))?;
        Ok(store)
    }

    /// Makes the tables and checks the format.
    fn prepare(&self) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let format = read_u32(meta.get("format")?.map(|v| v.value().to_vec()))?;
            match format {
                None => {
                    meta.insert("format", FORMAT.encode().as_slice())?;
                }
                Some(FORMAT) => {}
                Some(_) => return Err(StoreError::Damaged("it has another format version")),
            }
            write.open_table(HEADERS)?;
            write.open_table(BODIES)?;
            write.open_table(NUMBERS)?;
            write.open_table(NODES)?;
            prune::prepare(&write)?;
        }
        write.commit()?;
        Ok(())
    }

    /// The newest block; `None` in a new file.
    pub(crate) fn head(&self) -> Result<Option<Head>, StoreError> {
        let read = self.db.begin_read()?;
        let number = read_u32(read.open_table(META)?.get("head")?.map(|v| v.value().to_vec()))?;
        let Some(number) = number else {
            return Ok(None);
        };
        let header = self.header(number)?.ok_or(StoreError::Damaged("the newest header is missing"))?;
        let hash = header.hash();
        if header.number != number || self.number_of(&hash)? != Some(number) {
            return Err(StoreError::Damaged("the newest header is not the right one"));
        }
        Ok(Some(Head { header: header.into(), hash }))
    }

    /// The header of a block.
    pub(crate) fn header(&self, number: u32) -> Result<Option<Header>, StoreError> {
        let table = self.db.begin_read()?.open_table(HEADERS)?;
        table
            .get(number)?
            .map(|bytes| {
                Header::decode_all(&mut bytes.value()).map_err(|_| StoreError::Damaged("a header cannot be read"))
            })
            .transpose()
    }

    /// The extrinsics of a block.
    pub(crate) fn body(&self, number: u32) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let table = self.db.begin_read()?.open_table(BODIES)?;
        table
            .get(number)?
            .map(|bytes| {
                Vec::<Vec<u8>>::decode_all(&mut bytes.value())
                    .map_err(|_| StoreError::Damaged("a block body cannot be read"))
            })
            .transpose()
    }

    /// The number of a block.
    pub(crate) fn number_of(&self, hash: &Hash) -> Result<Option<u32>, StoreError> {
        let table = self.db.begin_read()?.open_table(NUMBERS)?;
        Ok(table.get(hash.as_bytes())?.map(|number| number.value()))
    }

    /// The state after a block.
    pub(crate) fn state_at(&self, hash: &Hash) -> Result<State, StoreError> {
        let number = self.number_of(hash)?.ok_or(StoreError::UnknownBlock(*hash))?;
        let header = self.header(number)?.ok_or(StoreError::Damaged("a header is missing"))?;
        // The snapshot is taken before looking how far pruning went, so a state found to be kept stays whole.
        let read = self.db.begin_read()?;
        let table = read.open_table(NODES)?;
        let meta = read.open_table(META)?;
        let oldest = read_u32(meta.get("oldest_state")?.map(|v| v.value().to_vec()))?;
        if number < oldest.unwrap_or(0) {
            return Err(StoreError::Discarded(number));
        }
        let cache = self.cache.local_cache_untrusted();
        let nodes = Nodes { table };
        Ok(TrieBackendBuilder::new_with_cache(nodes, header.state_root, cache).build())
    }

    /// Appends a block with its state changes, and lets go of states older than `history` blocks.
    /// When this returns `Ok`, the block survives a kill.
    pub(crate) fn append(&self, block: &SealedBlock, nodes: &NodeChanges, history: u32) -> Result<(), StoreError> {
        let number = block.header.number;
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let before = read_u32(meta.get("head")?.map(|v| v.value().to_vec()))?;
            if before.map_or(0, |before| before + 1) != number {
                return Err(StoreError::Damaged("a block was sealed out of order"));
            }
            meta.insert("head", number.encode().as_slice())?;
            write.open_table(HEADERS)?.insert(number, block.header.encode().as_slice())?;
            write.open_table(BODIES)?.insert(number, block.body.encode().as_slice())?;
            write.open_table(NUMBERS)?.insert(block.hash.as_bytes(), number)?;
            let mut table = write.open_table(NODES)?;
            prune::apply(&write, &mut table, number, nodes)?;
            if let Some(oldest) = number.checked_sub(history) {
                prune::forget_before(&write, &mut table, oldest)?;
                meta.insert("oldest_state", oldest.encode().as_slice())?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// How many trie nodes are stored.
    #[cfg(test)]
    pub(crate) fn node_count(&self) -> Result<u64, StoreError> {
        use redb::ReadableTableMetadata as _;
        Ok(self.db.begin_read()?.open_table(NODES)?.len()?)
    }
}

fn read_u32(bytes: Option<Vec<u8>>) -> Result<Option<u32>, StoreError> {
    bytes
        .map(|bytes| u32::decode(&mut &bytes[..]).map_err(|_| StoreError::Damaged("a number cannot be read")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use sp_runtime::Digest;
    use sp_runtime::StateVersion;
    use sp_runtime::traits::Header as _;
    use sp_state_machine::{Backend as _, InMemoryBackend};

    use super::*;

    /// A block that sets `keys[i]` to a value of 40 bytes made from `values[i]` (kept as a node of its own).
    fn block(store: &Store, number: u32, parent: Hash, values: &[u8]) -> (SealedBlock, NodeChanges) {
        let pairs: Vec<(Vec<u8>, Vec<u8>)> =
            values.iter().enumerate().map(|(index, value)| (vec![0, index as u8, 7], vec![*value; 40])).collect();
        let delta = || pairs.iter().map(|(k, v)| (&k[..], Some(&v[..])));
        let (root, mut nodes) = if number == 0 {
            InMemoryBackend::<Hashing>::default().storage_root(delta(), StateVersion::V1)
        } else {
            let state = store.state_at(&parent).unwrap();
            state.storage_root(delta(), StateVersion::V1)
        };
        let header = Header::new(number, Hash::zero(), root, parent, Digest::default());
        let block = SealedBlock { hash: header.hash(), header, body: vec![vec![number as u8]], changes: Vec::new() };
        (block, nodes.drain().into_iter().collect())
    }

    fn read(store: &Store, hash: &Hash, index: u8) -> Vec<u8> {
        // From the file, not from memory.
        store.cache.reset();
        let state = store.state_at(hash).unwrap();
        state.storage(&[0, index, 7]).unwrap().unwrap()
    }

    #[test]
    fn states_within_the_history_stay_whole_and_older_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut hashes = Vec::new();
        let mut most = 0;
        for number in 0..60_u32 {
            // Values come and go and come back, so nodes die and live again within the history.
            let values: Vec<u8> = (0..20).map(|i| ((number / 2 + i) % 3) as u8).collect();
            let parent = hashes.last().copied().unwrap_or_default();
            let (block, nodes) = block(&store, number, parent, &values);
            hashes.push(block.hash);
            store.append(&block, &nodes, 4).unwrap();
            for kept in number.saturating_sub(4)..=number {
                for index in 0..20_u8 {
                    let value = ((kept / 2 + u32::from(index)) % 3) as u8;
                    let hash = &hashes[kept as usize];
                    assert_eq!(read(&store, hash, index), vec![value; 40]);
                }
            }
            if number == 20 {
                most = store.node_count().unwrap() * 2;
            }
        }
        assert!(store.node_count().unwrap() <= most);
        assert!(matches!(store.state_at(&hashes[50]), Err(StoreError::Discarded(50))));
        // Blocks are kept for ever.
        assert_eq!(store.body(1).unwrap().unwrap(), vec![vec![1]]);
        assert_eq!(store.header(1).unwrap().unwrap().hash(), hashes[1]);
    }

    #[test]
    fn a_reopened_store_has_the_last_block() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.head().unwrap().is_none());
        let (first, nodes) = block(&store, 0, Hash::zero(), &[1, 2]);
        store.append(&first, &nodes, 4).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(OpenError::Locked)));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.head().unwrap().unwrap().hash, first.hash);
        assert_eq!(read(&store, &first.hash, 1), vec![2; 40]);
        let (second, nodes) = block(&store, 1, first.hash, &[3]);
        store.append(&second, &nodes, 4).unwrap();
        assert_eq!(read(&store, &second.hash, 0), vec![3; 40]);
        assert_eq!(read(&store, &second.hash, 1), vec![2; 40]);
    }

    #[test]
    fn a_block_out_of_order_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (first, nodes) = block(&store, 0, Hash::zero(), &[1]);
        store.append(&first, &nodes, 4).unwrap();
        assert!(store.append(&first, &nodes, 4).is_err());
        assert_eq!(store.head().unwrap().unwrap().number(), 0);
    }

    #[test]
    fn a_file_of_something_else_is_called_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("chain.redb"), [7_u8; 9000]).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(OpenError::Corrupt(_))));
    }
}
