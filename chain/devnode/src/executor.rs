//! Runs one runtime API method natively over a state, and turns its panic into a value.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use codec::{Decode, DecodeLimit as _};
use glia_chain_runtime::{UncheckedExtrinsic, api};
use sp_externalities::{Extensions, set_and_run_with_externalities};
use sp_state_machine::{Backend, Ext, OverlayedChanges};

use crate::types::Hashing;

/// How deep calls may nest in a transaction (a batch of a batch …): each level costs stack.
const MAX_CALL_DEPTH: u32 = 128;

/// Why a runtime call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the runtime has no method {0}")]
    NoSuchMethod(String),
    #[error("the runtime panicked in {method}: {message}")]
    Panicked { method: String, message: String },
    #[error("the runtime's answer to {method} was not understood: {reason}")]
    Answer { method: String, reason: String },
}

/// Calls `method` with SCALE-encoded arguments. Changes land in `overlay`; after a panic they are rolled back.
pub(crate) fn call<B: Backend<Hashing>>(
    state: &B,
    overlay: &mut OverlayedChanges<Hashing>,
    method: &str,
    data: &[u8],
) -> Result<Vec<u8>, CallError> {
    overlay.start_transaction();
    // Guards the transaction above from being closed by the runtime. Not yet inside the runtime, so it cannot fail.
    let entered = overlay.enter_runtime().is_ok();
    let outcome = {
        let mut extensions = Extensions::default();
        let mut ext = Ext::new(overlay, state, Some(&mut extensions));
        catch_unwind(AssertUnwindSafe(|| set_and_run_with_externalities(&mut ext, || api::dispatch(method, data))))
    };
    if entered {
        // Rolls back what a panic left open inside.
        overlay.exit_runtime().ok();
    }
    match outcome {
        Ok(answer) => {
            overlay.commit_transaction().ok();
            answer.ok_or_else(|| CallError::NoSuchMethod(method.to_owned()))
        }
        Err(panic) => {
            overlay.rollback_transaction().ok();
            Err(CallError::Panicked { method: method.to_owned(), message: panic_message(panic.as_ref()) })
        }
    }
}

/// As [`call`], decoding the answer.
pub(crate) fn call_as<T: Decode, B: Backend<Hashing>>(
    state: &B,
    overlay: &mut OverlayedChanges<Hashing>,
    method: &str,
    data: &[u8],
) -> Result<T, CallError> {
    let bytes = call(state, overlay, method, data)?;
    T::decode(&mut &bytes[..])
        .map_err(|error| CallError::Answer { method: method.to_owned(), reason: error.to_string() })
}

/// Asks without keeping any change.
pub(crate) fn ask<T: Decode, B: Backend<Hashing>>(state: &B, method: &str, data: &[u8]) -> Result<T, CallError> {
    call_as(state, &mut OverlayedChanges::default(), method, data)
}

/// Reads one extrinsic from the front of `data`, within the depth limit.
pub(crate) fn decode_extrinsic(data: &mut &[u8]) -> Result<UncheckedExtrinsic, codec::Error> {
    // Memory is taken for the length it claims, so that must be there.
    let mut rest = *data;
    let claimed = codec::Compact::<u32>::decode(&mut rest)?.0;
    if usize::try_from(claimed).map_or(true, |claimed| claimed > rest.len()) {
        return Err("shorter than its length prefix says".into());
    }
    UncheckedExtrinsic::decode_with_depth_limit(MAX_CALL_DEPTH, data)
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    text.chars().take(512).collect()
}
