//! Makes one block: inherents, then as many transactions as fit, then the header the runtime computes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use codec::{Decode as _, Encode as _};
use sp_runtime::traits::Header as _;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
use sp_runtime::{ApplyExtrinsicResult, Digest};
use sp_state_machine::OverlayedChanges;

use crate::executor::{self, CallError};
use crate::pool::PoolTx;
use crate::store::NodeChanges;
use crate::types::{Hash, Hashing, Head, Header, SealedBlock, State};

/// Under this name the Timestamp pallet looks for the wall clock.
const TIMESTAMP: [u8; 8] = *b"timstap0";
/// A full block after this many refusals for lack of room: smaller transactions get a few chances.
const REFUSALS: u32 = 8;

/// Why a block could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the runtime's own transaction {index} was refused: {reason}")]
    Inherent { index: usize, reason: String },
    #[error("the state root is {computed:?}, the runtime says {claimed:?}")]
    StateRoot { computed: Hash, claimed: Hash },
    #[error("the state could not be read: {0}")]
    State(String),
}

/// A block ready to be stored.
pub(crate) struct Made {
    pub(crate) block: SealedBlock,
    pub(crate) nodes: NodeChanges,
    /// Pool transactions in it.
    pub(crate) included: Vec<Hash>,
    /// Pool transactions that turned out to be invalid.
    pub(crate) invalid: Vec<Hash>,
}

/// Makes the block after `parent`. Takes no more transactions once `until` has passed.
pub(crate) fn make(
    parent: &Head,
    state: &State,
    now_ms: u64,
    candidates: &[Arc<PoolTx>],
    until: Instant,
) -> Result<Made, AuthorError> {
    let mut overlay = OverlayedChanges::<Hashing>::default();
    let number = parent.number() + 1;
    let draft = Header::new(number, Hash::zero(), Hash::zero(), parent.hash, Digest::default());
    executor::call(state, &mut overlay, "Core_initialize_block", &draft.encode())?;

    let mut body = inherents(state, &mut overlay, now_ms)?;
    for (index, inherent) in body.iter().enumerate() {
        let refused = |reason| AuthorError::Inherent { index, reason };
        match apply(state, &mut overlay, inherent)? {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(refused(format!("{error:?}"))),
            Err(error) => return Err(refused(format!("{error:?}"))),
        }
    }

    let mut included = Vec::new();
    let mut invalid = Vec::new();
    let mut refusals = 0;
    for candidate in candidates {
        if refusals >= REFUSALS || Instant::now() >= until {
            break;
        }
        match apply(state, &mut overlay, &candidate.bytes) {
            // A failed call is in the block as well: it paid for it.
            Ok(Ok(_)) => {
                included.push(candidate.hash);
                body.push(candidate.bytes.to_vec());
            }
            Ok(Err(TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources))) => {
                refusals += 1;
            }
            // Its predecessor did not fit; it stays for a later block.
            Ok(Err(TransactionValidityError::Invalid(InvalidTransaction::Future))) => {}
            Ok(Err(error)) => {
                tracing::debug!(hash = ?candidate.hash, ?error, "transaction is invalid");
                invalid.push(candidate.hash);
            }
            Err(error) => {
                tracing::warn!(hash = ?candidate.hash, %error, "transaction left out");
                invalid.push(candidate.hash);
            }
        }
    }

    let header: Header = executor::call_as(state, &mut overlay, "BlockBuilder_finalize_block", &[])?;
    let mut changes = overlay
        .drain_storage_changes(state, glia_chain_runtime::VERSION.state_version())
        .map_err(|error| AuthorError::State(error.to_string()))?;
    if changes.transaction_storage_root != header.state_root {
        return Err(AuthorError::StateRoot { computed: changes.transaction_storage_root, claimed: header.state_root });
    }
    Ok(Made {
        block: SealedBlock { hash: header.hash(), header, body, changes: changes.main_storage_changes },
        nodes: changes.transaction.drain().into_iter().collect(),
        included,
        invalid,
    })
}

/// What the runtime wants in every block, made from the wall clock.
fn inherents(state: &State, overlay: &mut OverlayedChanges<Hashing>, now_ms: u64) -> Result<Vec<Vec<u8>>, CallError> {
    const METHOD: &str = "BlockBuilder_inherent_extrinsics";
    // The wire form of `InherentData`: a map from identifier to encoded value.
    let data = BTreeMap::from([(TIMESTAMP, now_ms.encode())]);
    let bytes = executor::call(state, overlay, METHOD, &data.encode())?;
    let not_understood =
        |error: codec::Error| CallError::Answer { method: METHOD.to_owned(), reason: error.to_string() };
    // A vector of extrinsics, each of which begins with its own length.
    let mut input = &bytes[..];
    let count = codec::Compact::<u32>::decode(&mut input).map_err(not_understood)?.0;
    let mut out = Vec::new();
    for _ in 0..count {
        let inner = Vec::<u8>::decode(&mut input).map_err(not_understood)?;
        out.push(inner.encode());
    }
    Ok(out)
}

fn apply(
    state: &State,
    overlay: &mut OverlayedChanges<Hashing>,
    extrinsic: &[u8],
) -> Result<ApplyExtrinsicResult, CallError> {
    // The runtime leaves no trace of a refused transaction only if it did not get far: undo it here.
    overlay.start_transaction();
    let outcome: Result<ApplyExtrinsicResult, CallError> =
        executor::call_as(state, overlay, "BlockBuilder_apply_extrinsic", extrinsic);
    if matches!(outcome, Ok(Ok(_))) {
        overlay.commit_transaction().ok();
    } else {
        overlay.rollback_transaction().ok();
    }
    outcome
}
