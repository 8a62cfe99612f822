//! Errors with the codes Substrate nodes use, which clients look at.

use jsonrpsee::types::ErrorObjectOwned;
use sp_runtime::transaction_validity::{InvalidTransaction, UnknownTransaction};

use crate::chain::SubmitError;
use crate::executor::CallError;
use crate::pool::PoolError;
use crate::store::StoreError;
use crate::workers::WorkError;

const INVALID_PARAMS: i32 = -32602;
const INTERNAL: i32 = -32603;
const BUSY: i32 = -32000;

fn plain(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

pub(super) fn invalid_params(message: impl Into<String>) -> ErrorObjectOwned {
    plain(INVALID_PARAMS, message)
}

pub(super) fn internal(error: impl ToString) -> ErrorObjectOwned {
    plain(INTERNAL, error.to_string())
}

pub(super) fn work(error: WorkError) -> ErrorObjectOwned {
    match error {
        WorkError::Busy => plain(BUSY, error.to_string()),
        WorkError::Failed => internal(error),
    }
}

/// A count above its limit, as `state_getKeysPaged` reports it.
pub(super) fn too_many(value: usize, max: usize) -> ErrorObjectOwned {
    plain(4002, format!("count exceeds maximum value. value: {value}, max: {max}"))
}

pub(super) fn store(error: StoreError) -> ErrorObjectOwned {
    match &error {
        StoreError::UnknownBlock(hash) => plain(4003, format!("Client error: UnknownBlock: {hash:?}")),
        StoreError::Discarded(number) => {
            plain(4003, format!("Client error: UnknownBlock: State already discarded for block {number}"))
        }
        StoreError::File(_) | StoreError::Damaged(_) => {
            tracing::error!(%error, "a request met a failing store");
            plain(4003, format!("Client error: {error}"))
        }
    }
}

pub(super) fn call(error: CallError) -> ErrorObjectOwned {
    plain(4003, format!("Client error: Execution failed: {error}"))
}

pub(super) fn submit(error: SubmitError) -> ErrorObjectOwned {
    let data = |code, message: &str, data: String| ErrorObjectOwned::owned(code, message.to_owned(), Some(data));
    match error {
        SubmitError::Format(reason) => plain(1001, format!("Extrinsic has invalid format: {reason}")),
        SubmitError::Call(error) => plain(1002, format!("Verification Error: {error}")),
        SubmitError::Invalid(InvalidTransaction::Custom(code)) => {
            data(1010, "Invalid Transaction", format!("Custom error: {code}"))
        }
        SubmitError::Invalid(error) => {
            let reason: &'static str = error.into();
            data(1010, "Invalid Transaction", reason.to_owned())
        }
        SubmitError::Unknown(UnknownTransaction::Custom(code)) => {
            data(1011, "Unknown Transaction Validity", format!("Custom error: {code}"))
        }
        SubmitError::Unknown(error) => {
            let reason: &'static str = error.into();
            data(1011, "Unknown Transaction Validity", reason.to_owned())
        }
        SubmitError::Pool(PoolError::AlreadyImported(hash)) => {
            data(1013, "Transaction Already Imported", format!("{hash:?}"))
        }
        SubmitError::Pool(PoolError::TooLowPriority { old, new }) => data(
            1014,
            &format!("Priority is too low: ({old} vs {new})"),
            "The transaction has too low priority to replace another transaction already in the pool.".to_owned(),
        ),
        SubmitError::Pool(error @ (PoolError::Full | PoolError::AccountFull)) => {
            data(1016, "Immediately Dropped", error.to_string())
        }
        SubmitError::Store(error) => store(error),
    }
}
