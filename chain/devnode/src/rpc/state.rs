//! `state_*`: storage at a block, runtime calls, metadata, and following storage.

use std::collections::HashSet;
use std::sync::Arc;

use jsonrpsee::server::{PendingSubscriptionSink, RegisterMethodError};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::{Value, json};
use sp_core::Bytes;
use sp_state_machine::{Backend as _, IterArgs, OverlayedChanges};
use tokio::sync::broadcast::error::RecvError;

use super::{Context, Module, error, notify, to_json};
use crate::chain::Chain;
use crate::executor;
use crate::types::{Hash, State};

/// Keys in one answer or request.
const MAX_KEYS: usize = 1000;
/// Keys in one `state_queryStorageAt`, which explorers fill freely.
const MAX_QUERIED: usize = 8192;
/// Bytes of arguments to a runtime call.
const MAX_ARGUMENTS: usize = 4 << 20;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_async_method("state_getStorage", |params, ctx, _| async move {
        let (key, at) = key_at(&params)?;
        ctx.answer(move |chain| {
            let value = read(&state(chain, at)?, &key)?;
            Ok(value.map(Bytes))
        })
        .await
    })?;
    module.register_alias("state_getStorageAt", "state_getStorage")?;

    module.register_async_method("state_getStorageHash", |params, ctx, _| async move {
        let (key, at) = key_at(&params)?;
        ctx.answer(move |chain| state(chain, at)?.storage_hash(&key).map_err(error::internal)).await
    })?;
    module.register_alias("state_getStorageHashAt", "state_getStorageHash")?;

    module.register_async_method("state_getStorageSize", |params, ctx, _| async move {
        let (key, at) = key_at(&params)?;
        ctx.answer(move |chain| {
            let value = read(&state(chain, at)?, &key)?;
            Ok(value.map(|value| value.len()))
        })
        .await
    })?;
    module.register_alias("state_getStorageSizeAt", "state_getStorageSize")?;

    module.register_async_method("state_getKeysPaged", |params, ctx, _| async move {
        let mut params = params.sequence();
        let prefix: Option<Bytes> = params.optional_next()?;
        let count: u32 = params.next()?;
        let start: Option<Bytes> = params.optional_next()?;
        let at: Option<Hash> = params.optional_next()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MAX_KEYS {
            return Err(error::too_many(count, MAX_KEYS));
        }
        ctx.answer(move |chain| {
            let prefix = prefix.unwrap_or(Bytes(Vec::new()));
            keys(&state(chain, at)?, &prefix, start.as_deref(), count)
        })
        .await
    })?;
    module.register_alias("state_getKeysPagedAt", "state_getKeysPaged")?;

    module.register_async_method("state_getPairs", |params, ctx, _| async move {
        let mut params = params.sequence();
        let prefix: Bytes = params.next()?;
        let at: Option<Hash> = params.optional_next()?;
        ctx.answer(move |chain| pairs(&state(chain, at)?, &prefix)).await
    })?;

    module.register_async_method("state_queryStorageAt", |params, ctx, _| async move {
        let mut params = params.sequence();
        let keys: Vec<Bytes> = params.next()?;
        let at: Option<Hash> = params.optional_next()?;
        if keys.len() > MAX_QUERIED {
            return Err(error::too_many(keys.len(), MAX_QUERIED));
        }
        ctx.answer(move |chain| {
            let block = at.unwrap_or_else(|| chain.head().hash);
            let state = state(chain, Some(block))?;
            let mut changes = Vec::with_capacity(keys.len());
            for key in keys {
                let value = read(&state, &key)?.map(Bytes);
                changes.push((key, value));
            }
            Ok(json!([{ "block": to_json(&block)?, "changes": to_json(&changes)? }]))
        })
        .await
    })?;

    module.register_async_method("state_call", |params, ctx, _| async move {
        let mut params = params.sequence();
        let method: String = params.next()?;
        let data: Bytes = params.next()?;
        let at: Option<Hash> = params.optional_next()?;
        ctx.answer(move |chain| {
            check_arguments(&method, &data)?;
            let state = state(chain, at)?;
            let answer =
                executor::call(&state, &mut OverlayedChanges::default(), &method, &data).map_err(error::call)?;
            to_json(&Bytes(answer))
        })
        .await
    })?;
    module.register_alias("state_callAt", "state_call")?;

    module.register_async_method("state_getMetadata", |params, ctx, _| async move {
        let at: Option<Hash> = params.sequence().optional_next()?;
        ctx.answer(move |chain| {
            let metadata: Vec<u8> = executor::ask(&state(chain, at)?, "Metadata_metadata", &[]).map_err(error::call)?;
            to_json(&Bytes(metadata))
        })
        .await
    })?;

    module.register_async_method("state_getRuntimeVersion", |params, ctx, _| async move {
        // One runtime is compiled in, but an unknown block is an error all the same.
        let at: Option<Hash> = params.sequence().optional_next()?;
        ctx.answer(move |chain| {
            if let Some(hash) = at
                && chain.store.number_of(&hash).map_err(error::store)?.is_none()
            {
                return Err(error::store(crate::store::StoreError::UnknownBlock(hash)));
            }
            to_json(&glia_chain_runtime::VERSION)
        })
        .await
    })?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;

    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, _, _| async move {
            let Ok(sink) = pending.accept().await else {
                return;
            };
            // The runtime cannot change while this process runs.
            if let Ok(version) = to_json(&glia_chain_runtime::VERSION)
                && notify(&sink, &version).await
            {
                sink.closed().await;
            }
        },
    )?;
    module.register_alias("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion")?;
    module.register_alias("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion")?;

    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, ctx, _| async move {
            let keys: Result<Option<Vec<Bytes>>, ErrorObjectOwned> = params.sequence().optional_next();
            match keys {
                Ok(Some(keys)) if keys.len() > MAX_KEYS => {
                    pending.reject(error::too_many(keys.len(), MAX_KEYS)).await;
                }
                Ok(Some(keys)) => storage(pending, ctx, keys).await,
                Ok(None) => {
                    pending.reject(error::invalid_params("name the keys to follow")).await;
                }
                Err(error) => pending.reject(error).await,
            }
        },
    )?;
    Ok(())
}

fn key_at(params: &Params<'_>) -> Result<(Vec<u8>, Option<Hash>), ErrorObjectOwned> {
    let mut params = params.sequence();
    let key: Bytes = params.next()?;
    Ok((key.0, params.optional_next()?))
}

fn state(chain: &Chain, at: Option<Hash>) -> Result<State, ErrorObjectOwned> {
    chain.state(at).map_err(error::store)
}

fn read(state: &State, key: &[u8]) -> Result<Option<Vec<u8>>, ErrorObjectOwned> {
    state.storage(key).map_err(error::internal)
}

fn keys(state: &State, prefix: &[u8], start: Option<&[u8]>, count: usize) -> Result<Vec<Bytes>, ErrorObjectOwned> {
    let mut args = IterArgs::default();
    args.prefix = Some(prefix);
    args.start_at = start;
    args.start_at_exclusive = true;
    state.keys(args).map_err(error::internal)?.take(count).map(|key| key.map(Bytes).map_err(error::internal)).collect()
}

fn pairs(state: &State, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, ErrorObjectOwned> {
    let mut args = IterArgs::default();
    args.prefix = Some(prefix);
    let mut out = Vec::new();
    for pair in state.pairs(args).map_err(error::internal)? {
        if out.len() == MAX_KEYS {
            return Err(error::too_many(MAX_KEYS + 1, MAX_KEYS));
        }
        let (key, value) = pair.map_err(error::internal)?;
        out.push((Bytes(key), Bytes(value)));
    }
    Ok(out)
}

/// Refuses what would not be a question: calls that need a block around them, and nesting without end.
fn check_arguments(method: &str, data: &[u8]) -> Result<(), ErrorObjectOwned> {
    if data.len() > MAX_ARGUMENTS {
        return Err(error::too_many(data.len(), MAX_ARGUMENTS));
    }
    let not_served = method.starts_with("BlockBuilder_")
        || method.starts_with("TransactionPaymentCallApi_")
        || method == "Core_execute_block"
        || method == "GenesisBuilder_build_state";
    if not_served {
        return Err(error::invalid_params(format!("{method} cannot be called over JSON-RPC")));
    }
    let mut extrinsic = match method {
        "TaggedTransactionQueue_validate_transaction" => data.get(1..).unwrap_or_default(),
        _ if method.starts_with("TransactionPaymentApi_query_") => {
            if method.starts_with("TransactionPaymentApi_query_weight")
                || method.starts_with("TransactionPaymentApi_query_length")
            {
                return Ok(());
            }
            data
        }
        _ => return Ok(()),
    };
    executor::decode_extrinsic(&mut extrinsic)
        .map(drop)
        .map_err(|error| error::invalid_params(format!("the extrinsic cannot be read: {error}")))
}

/// The values of `keys` now, and after each block the changed ones.
async fn storage(pending: PendingSubscriptionSink, ctx: Arc<Context>, keys: Vec<Bytes>) {
    let mut blocks = ctx.chain.blocks();
    let wanted: HashSet<Vec<u8>> = keys.into_iter().map(|key| key.0).collect();
    let all: Vec<Vec<u8>> = wanted.iter().cloned().collect();
    let first = ctx
        .answer(move |chain| {
            let head = chain.head();
            let state = state(chain, Some(head.hash))?;
            let mut changes = Vec::with_capacity(all.len());
            for key in all {
                let value = read(&state, &key)?.map(Bytes);
                changes.push((Bytes(key), value));
            }
            Ok((head.number(), change_set(&head.hash, &changes)?))
        })
        .await;
    let (mut newest, first) = match first {
        Ok(first) => first,
        Err(error) => {
            pending.reject(error).await;
            return;
        }
    };
    let Ok(sink) = pending.accept().await else {
        return;
    };
    if !notify(&sink, &first).await {
        return;
    }
    loop {
        let block = tokio::select! {
            biased;
            () = sink.closed() => return,
            block = blocks.recv() => match block {
                Ok(block) => block,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        if block.header.number <= newest {
            continue;
        }
        newest = block.header.number;
        let changes: Vec<(Bytes, Option<Bytes>)> = block
            .changes
            .iter()
            .filter(|(key, _)| wanted.contains(key))
            .map(|(key, value)| (Bytes(key.clone()), value.clone().map(Bytes)))
            .collect();
        if changes.is_empty() {
            continue;
        }
        match change_set(&block.hash, &changes) {
            Ok(set) if notify(&sink, &set).await => {}
            _ => return,
        }
    }
}

fn change_set(block: &Hash, changes: &[(Bytes, Option<Bytes>)]) -> Result<Value, ErrorObjectOwned> {
    Ok(json!({ "block": to_json(block)?, "changes": to_json(&changes)? }))
}
