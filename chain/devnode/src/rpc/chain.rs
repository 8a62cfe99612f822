//! `chain_*`: headers, blocks, and following them.

use std::sync::Arc;

use jsonrpsee::server::{PendingSubscriptionSink, RegisterMethodError};
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use sp_core::Bytes;
use tokio::sync::broadcast::error::RecvError;

use super::{Context, Module, error, notify, to_json};
use crate::chain::Chain;
use crate::types::Hash;

/// Block numbers asked for in one request.
const MAX_NUMBERS: usize = 1024;

/// A block number as clients write it: a number, or text in hexadecimal.
///
/// Read from the JSON value by hand: untagged enums see no numbers when serde_json keeps arbitrary precision, which
/// Substrate's crates switch on.
fn block_number(value: &Value) -> Result<u32, ErrorObjectOwned> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        _ => None,
    };
    let number = number.ok_or_else(|| error::invalid_params("not a block number"))?;
    u32::try_from(number).map_err(|_| error::invalid_params(format!("{number} is above the block numbers")))
}

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_async_method("chain_getBlockHash", |params, ctx, _| async move {
        let wanted: Option<Value> = params.sequence().optional_next()?;
        ctx.answer(move |chain| match wanted {
            None => to_json(&chain.head().hash),
            Some(Value::Array(numbers)) if numbers.len() > MAX_NUMBERS => {
                Err(error::too_many(numbers.len(), MAX_NUMBERS))
            }
            Some(Value::Array(numbers)) => {
                let hashes: Result<Vec<Option<Hash>>, ErrorObjectOwned> =
                    numbers.iter().map(|number| hash_of(chain, block_number(number)?)).collect();
                to_json(&hashes?)
            }
            Some(number) => to_json(&hash_of(chain, block_number(&number)?)?),
        })
        .await
    })?;
    module.register_alias("chain_getHead", "chain_getBlockHash")?;

    module.register_async_method("chain_getHeader", |params, ctx, _| async move {
        let at: Option<Hash> = params.sequence().optional_next()?;
        ctx.answer(move |chain| {
            let Some(hash) = at else {
                return to_json(&*chain.head().header);
            };
            let Some(number) = chain.store.number_of(&hash).map_err(error::store)? else {
                return Ok(Value::Null);
            };
            to_json(&chain.store.header(number).map_err(error::store)?)
        })
        .await
    })?;

    module.register_async_method("chain_getBlock", |params, ctx, _| async move {
        let at: Option<Hash> = params.sequence().optional_next()?;
        ctx.answer(move |chain| block(chain, at)).await
    })?;

    module
        .register_async_method("chain_getFinalizedHead", |_, ctx, _| async move { to_json(&ctx.chain.head().hash) })?;
    module.register_alias("chain_getFinalisedHead", "chain_getFinalizedHead")?;

    module.register_subscription(
        "chain_subscribeNewHeads",
        "chain_newHead",
        "chain_unsubscribeNewHeads",
        |_, pending, ctx, _| heads(pending, ctx),
    )?;
    module.register_alias("chain_subscribeNewHead", "chain_subscribeNewHeads")?;
    module.register_alias("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads")?;
    module.register_alias("subscribe_newHead", "chain_subscribeNewHeads")?;
    module.register_alias("unsubscribe_newHead", "chain_unsubscribeNewHeads")?;
    module.register_subscription(
        "chain_subscribeAllHeads",
        "chain_allHead",
        "chain_unsubscribeAllHeads",
        |_, pending, ctx, _| heads(pending, ctx),
    )?;
    module.register_subscription(
        "chain_subscribeFinalizedHeads",
        "chain_finalizedHead",
        "chain_unsubscribeFinalizedHeads",
        |_, pending, ctx, _| heads(pending, ctx),
    )?;
    module.register_alias("chain_subscribeFinalisedHeads", "chain_subscribeFinalizedHeads")?;
    module.register_alias("chain_unsubscribeFinalisedHeads", "chain_unsubscribeFinalizedHeads")?;
    Ok(())
}

fn hash_of(chain: &Chain, number: u32) -> Result<Option<Hash>, ErrorObjectOwned> {
    let header = chain.store.header(number).map_err(error::store)?;
    Ok(header.map(|header| header.hash()))
}

fn block(chain: &Chain, at: Option<Hash>) -> Result<Value, ErrorObjectOwned> {
    let hash = at.unwrap_or_else(|| chain.head().hash);
    let Some(number) = chain.store.number_of(&hash).map_err(error::store)? else {
        return Ok(Value::Null);
    };
    let header = chain.store.header(number).map_err(error::store)?;
    let body = chain.store.body(number).map_err(error::store)?;
    let (Some(header), Some(body)) = (header, body) else {
        return Ok(Value::Null);
    };
    let extrinsics: Vec<Bytes> = body.into_iter().map(Bytes).collect();
    Ok(json!({
        "block": { "header": to_json(&header)?, "extrinsics": to_json(&extrinsics)? },
        "justifications": null,
    }))
}

/// The newest header now, and each new one. Every block is best and final at once.
async fn heads(pending: PendingSubscriptionSink, ctx: Arc<Context>) {
    let mut blocks = ctx.chain.blocks();
    let Ok(sink) = pending.accept().await else {
        return;
    };
    let head = ctx.chain.head();
    let mut newest = head.number();
    match to_json(&*head.header) {
        Ok(header) if notify(&sink, &header).await => {}
        _ => return,
    }
    loop {
        let block = tokio::select! {
            biased;
            () = sink.closed() => return,
            block = blocks.recv() => match block {
                Ok(block) => block,
                // Too slow: the blocks in between are lost to this subscriber.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        if block.header.number <= newest {
            continue;
        }
        newest = block.header.number;
        match to_json(&block.header) {
            Ok(header) if notify(&sink, &header).await => {}
            _ => return,
        }
    }
}
