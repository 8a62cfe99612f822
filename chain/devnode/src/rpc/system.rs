//! `system_*` and `account_*`: what this node is, and the next nonce of an account.

use codec::Encode as _;
use jsonrpsee::server::RegisterMethodError;
use serde_json::json;
use sp_core::crypto::AccountId32;

use super::{Module, error};
use crate::executor;

pub(super) fn register(module: &mut Module) -> Result<(), RegisterMethodError> {
    module.register_method("system_chain", |_, ctx, _| ctx.chain_name.clone())?;
    module.register_method("system_name", |_, _, _| "Glia embedded chain")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method("system_chainType", |_, _, _| "Development")?;
    module.register_method("system_nodeRoles", |_, _, _| json!(["Authority"]))?;
    module.register_method(
        "system_properties",
        |_, _, _| json!({ "tokenDecimals": 9, "tokenSymbol": "TAO", "ss58Format": 42 }),
    )?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method("system_peers", |_, _, _| json!([]))?;
    // There is no network of nodes, hence no peer id.
    module.register_method("system_localPeerId", |_, _, _| "")?;
    module.register_method("system_localListenAddresses", |_, _, _| json!([]))?;
    module.register_method("system_syncState", |_, ctx, _| {
        let number = ctx.chain.head().number();
        json!({ "startingBlock": 0, "currentBlock": number, "highestBlock": number })
    })?;

    module.register_async_method("system_accountNextIndex", |params, ctx, _| async move {
        let account: AccountId32 = params.sequence().next()?;
        ctx.answer(move |chain| {
            let (_, state) = chain.head_state().map_err(error::store)?;
            let mut nonce: u32 =
                executor::ask(&state, "AccountNonceApi_account_nonce", &account.encode()).map_err(error::call)?;
            let pool = chain.pool();
            while pool.provides(&(&account, nonce).encode()) {
                nonce = nonce.saturating_add(1);
            }
            Ok(nonce)
        })
        .await
    })?;
    module.register_alias("account_nextIndex", "system_accountNextIndex")?;
    Ok(())
}
