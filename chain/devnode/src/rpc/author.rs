//! `author_*`: handing over transactions and following them; `payment_*`: what they cost.

use codec::{Decode as _, Encode as _};
use jsonrpsee::server::RegisterMethodError;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use sp_core::Bytes;
use tokio::sync::mpsc;

use super::{Module, error, notify, to_json};
use crate::executor;
use crate::pool::{STATUSES, TxStatus};
use crate::types::Hash;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_async_method("author_submitExtrinsic", |params, ctx, _| async move {
        let bytes: Bytes = params.sequence().next()?;
        ctx.answer(move |chain| {
            let hash = chain.submit(bytes.0, None).map_err(error::submit)?;
            to_json(&hash)
        })
        .await
    })?;

    module.register_async_method("author_pendingExtrinsics", |_, ctx, _| async move {
        ctx.answer(|chain| {
            let ready = chain.pool().ready();
            let pending: Vec<Bytes> = ready.iter().map(|tx| Bytes(tx.bytes.clone())).collect();
            Ok(pending)
        })
        .await
    })?;

    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, ctx, _| async move {
            let bytes: Result<Bytes, ErrorObjectOwned> = params.sequence().next();
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => return pending.reject(error).await,
            };
            let (watcher, mut statuses) = mpsc::channel(STATUSES);
            let taken = ctx.answer(move |chain| chain.submit(bytes.0, Some(watcher)).map_err(error::submit)).await;
            if let Err(error) = taken {
                return pending.reject(error).await;
            }
            let Ok(sink) = pending.accept().await else {
                return;
            };
            loop {
                let status = tokio::select! {
                    biased;
                    () = sink.closed() => return,
                    status = statuses.recv() => status,
                };
                match status {
                    Some(status) if notify(&sink, &told(status)).await => {}
                    _ => return,
                }
            }
        },
    )?;

    module.register_async_method("payment_queryInfo", |params, ctx, _| async move {
        let mut params = params.sequence();
        let bytes: Bytes = params.next()?;
        let at: Option<Hash> = params.optional_next()?;
        ctx.answer(move |chain| {
            let mut input = &bytes.0[..];
            executor::decode_extrinsic(&mut input)
                .map_err(|error| error::invalid_params(format!("not an extrinsic: {error}")))?;
            let length = u32::try_from(bytes.len()).map_err(error::internal)?;
            let mut data = bytes.0.clone();
            length.encode_to(&mut data);
            let state = chain.state(at).map_err(error::store)?;
            let info: Vec<u8> = executor::call(
                &state,
                &mut sp_state_machine::OverlayedChanges::default(),
                "TransactionPaymentApi_query_info",
                &data,
            )
            .map_err(error::call)?;
            fee_info(&info)
        })
        .await
    })?;
    Ok(())
}

/// A status as clients expect it.
fn told(status: TxStatus) -> Value {
    match status {
        TxStatus::Ready => json!("ready"),
        TxStatus::Future => json!("future"),
        TxStatus::InBlock(block) => json!({ "inBlock": format!("{block:?}") }),
        TxStatus::Finalized(block) => json!({ "finalized": format!("{block:?}") }),
        TxStatus::Usurped(by) => json!({ "usurped": format!("{by:?}") }),
        TxStatus::Dropped => json!("dropped"),
        TxStatus::Invalid => json!("invalid"),
    }
}

/// `RuntimeDispatchInfo`: weight, class and fee. The fee's width follows the runtime's balance type.
fn fee_info(bytes: &[u8]) -> Result<Value, ErrorObjectOwned> {
    let mut input = bytes;
    let unread = |_: codec::Error| error::internal("the runtime's fee cannot be read");
    let ref_time = codec::Compact::<u64>::decode(&mut input).map_err(unread)?.0;
    let proof_size = codec::Compact::<u64>::decode(&mut input).map_err(unread)?.0;
    let class = match u8::decode(&mut input).map_err(unread)? {
        0 => "normal",
        1 => "operational",
        _ => "mandatory",
    };
    let fee = match input.len() {
        8 => u128::from(u64::decode(&mut input).map_err(unread)?),
        _ => u128::decode(&mut input).map_err(unread)?,
    };
    Ok(json!({
        "weight": { "refTime": ref_time, "proofSize": proof_size },
        "class": class,
        "partialFee": fee.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_as_substrate_writes_them() {
        assert_eq!(told(TxStatus::Ready), json!("ready"));
        assert_eq!(told(TxStatus::InBlock(Hash::repeat_byte(1))), json!({"inBlock": format!("0x{}", "01".repeat(32))}));
    }

    #[test]
    fn a_fee_of_either_width_is_read() {
        let short = (codec::Compact(5_u64), codec::Compact(0_u64), 0_u8, 7_u64).encode();
        let long = (codec::Compact(5_u64), codec::Compact(0_u64), 0_u8, 7_u128).encode();
        assert_eq!(fee_info(&short).unwrap(), fee_info(&long).unwrap());
        assert!(fee_info(&short[..3]).is_err());
    }
}
