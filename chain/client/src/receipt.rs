//! What a transaction did: its events, or the error the runtime gave, named by the metadata.

use std::sync::Arc;

use subxt::config::Hasher as _;
use subxt::error::DispatchError;
use subxt::events::Phase;
use subxt::ext::scale_value::Composite;
use subxt::utils::H256;

use crate::call::{ChainEvent, Receipt};
use crate::error::{ReadError, SubmitError};
use crate::session::{Runtime, Session};
use crate::view::View;

/// Reads the receipt of transaction `hash` in `block`.
///
/// # Errors
/// [`SubmitError::Module`] or [`SubmitError::Dispatch`] when the call failed; [`SubmitError::Read`] otherwise.
pub(crate) async fn read_receipt(session: &Arc<Session>, block: H256, hash: H256) -> Result<Receipt, SubmitError> {
    let view = View::at(Arc::clone(session), block).await?;
    let body = session
        .methods
        .chain_get_block(Some(block))
        .await
        .map_err(|error| session.failed(error))?
        .ok_or_else(|| ReadError::NoSuchBlock(format!("{block:?}")))?;
    let hasher = view.runtime.offline.hasher();
    let index = body
        .block
        .extrinsics
        .iter()
        .position(|extrinsic| hasher.hash(&extrinsic.0) == hash)
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| ReadError::undecodable(format!("block {block:?}"), "the transaction is not in it"))?;
    let bytes = session
        .methods
        .state_get_storage(&system_events_key(&view)?, Some(block))
        .await
        .map_err(|error| session.failed(error))?
        .unwrap_or_default();

    let mut events = Vec::new();
    for event in view.runtime.offline.events().from_bytes(bytes).iter() {
        let event = event.map_err(|error| ReadError::undecodable("System.Events", error))?;
        if event.phase() != Phase::ApplyExtrinsic(index) {
            continue;
        }
        if (event.pallet_name(), event.event_name()) == ("System", "ExtrinsicFailed") {
            return Err(dispatch_error(event.field_bytes(), &view.runtime));
        }
        let fields = event
            .decode_fields_unchecked_as::<Composite<()>>()
            .map_err(|error| ReadError::undecodable("an event", error))?;
        events.push(ChainEvent { pallet: event.pallet_name().to_owned(), name: event.event_name().to_owned(), fields });
    }
    Ok(Receipt { block_hash: block.0, block_number: view.number, hash: hash.0, events })
}

fn system_events_key(view: &View) -> Result<Vec<u8>, ReadError> {
    view.runtime
        .offline
        .storage()
        .entry(("System", "Events"))
        .and_then(|entry| entry.fetch_key(Vec::new()))
        .map_err(|error| ReadError::undecodable("the key of System.Events", error))
}

/// Names the error at the beginning of an `ExtrinsicFailed` event.
fn dispatch_error(bytes: &[u8], runtime: &Runtime) -> SubmitError {
    match DispatchError::decode_from(bytes, runtime.offline.metadata()) {
        Ok(DispatchError::Module(module)) => match module.details() {
            Ok(details) => SubmitError::Module {
                pallet: details.pallet.name().to_owned(),
                error: details.variant.name.clone(),
                docs: details.variant.docs.join(" ").trim().to_owned(),
            },
            Err(error) => SubmitError::Dispatch(error.to_string()),
        },
        Ok(other) => SubmitError::Dispatch(other.to_string()),
        Err(error) => SubmitError::Dispatch(error.to_string()),
    }
}
