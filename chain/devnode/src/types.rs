//! The few types all of the node speaks.

use std::sync::Arc;

use sp_runtime::generic;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::TrieBackend;

use crate::store::Nodes;

/// The chain's hashing, also of its state trie.
pub(crate) type Hashing = BlakeTwo256;
/// A block or transaction hash.
pub(crate) type Hash = sp_core::H256;
/// A block header with 32-bit numbers.
pub(crate) type Header = generic::Header<u32, Hashing>;
/// The state at one block.
pub(crate) type State = TrieBackend<Nodes, Hashing>;
/// A storage key and its new value; `None` when removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// A block as it was sealed.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) header: Header,
    pub(crate) hash: Hash,
    /// Encoded extrinsics, length prefix included.
    pub(crate) body: Vec<Vec<u8>>,
    /// What it changed in state.
    pub(crate) changes: Vec<Change>,
}

/// The newest sealed block. Finality is instant: it is also the finalized one.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) header: Arc<Header>,
    pub(crate) hash: Hash,
}

impl Head {
    pub(crate) fn number(&self) -> u32 {
        self.header.number
    }
}
