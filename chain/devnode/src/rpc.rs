//! The legacy Substrate JSON-RPC over one port, WebSocket and HTTP.

mod author;
mod chain;
mod error;
mod state;
mod system;

use std::net::SocketAddr;
use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::server::{
    BatchRequestConfig, RandomStringIdProvider, RegisterMethodError, Server, ServerConfig, ServerHandle,
    SubscriptionMessage, SubscriptionSink,
};
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::config::{DevNodeConfig, StartError};
use crate::workers::Workers;

/// Messages waiting for one slow connection; above this its subscriptions wait.
const MESSAGES_KEPT: u32 = 32;

/// What every method has at hand.
pub(crate) struct Context {
    chain: Arc<Chain>,
    workers: Workers,
    chain_name: String,
}

impl Context {
    /// Answers a request on a worker thread.
    async fn answer<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Chain) -> Result<T, ErrorObjectOwned> + Send + 'static,
    ) -> Result<T, ErrorObjectOwned> {
        let chain = Arc::clone(&self.chain);
        self.workers.run(move || job(&chain)).await.map_err(error::work)?
    }
}

type Module = RpcModule<Context>;

/// Listens and serves.
pub(crate) async fn serve(
    config: &DevNodeConfig,
    chain: Arc<Chain>,
    workers: Workers,
) -> Result<(ServerHandle, SocketAddr), StartError> {
    let limits = config.rpc;
    let settings = ServerConfig::builder()
        .max_connections(limits.connections)
        .max_subscriptions_per_connection(limits.subscriptions)
        .max_request_body_size(limits.request_bytes)
        .max_response_body_size(limits.response_bytes)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
        .set_message_buffer_capacity(MESSAGES_KEPT)
        .set_id_provider(RandomStringIdProvider::new(16))
        .build();
    let listen = |source| StartError::Listen { addr: config.rpc_addr, source };
    let server = Server::builder().set_config(settings).build(config.rpc_addr).await.map_err(listen)?;
    let addr = server.local_addr().map_err(listen)?;
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "JSON-RPC is open to other machines, without a password: anybody who reaches it can use it");
    }
    let context = Context { chain, workers, chain_name: config.chain_name.clone() };
    let module = methods(context).map_err(|error| StartError::Internal(error.to_string()))?;
    Ok((server.start(module), addr))
}

fn methods(context: Context) -> Result<Module, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    chain::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    system::register(&mut module)?;
    let mut names: Vec<&'static str> = module.method_names().collect();
    names.push("rpc_methods");
    names.sort_unstable();
    let names = json!({ "methods": names });
    module.register_method("rpc_methods", move |_, _, _| names.clone())?;
    Ok(module)
}

/// Sends one notification; `false` when nobody listens any more.
///
/// # Cancel safety
/// A notification may or may not have been sent when the future is dropped.
async fn notify(sink: &SubscriptionSink, value: &Value) -> bool {
    let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), value);
    match message {
        Ok(message) => sink.send(message).await.is_ok(),
        Err(_) => false,
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, ErrorObjectOwned> {
    serde_json::to_value(value).map_err(error::internal)
}
