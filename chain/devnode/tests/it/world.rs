//! A chain of its own for each test, and how to talk to it.

use std::path::Path;
use std::time::Duration;

use glia_chain_devnode::{DevNode, DevNodeConfig};
use serde_json::Value;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::rpcs::client::{RpcParams, RpcSubscription};
use subxt::rpcs::{Error, RpcClient};
use subxt::{OnlineClient, SubstrateConfig};
use subxt_signer::sr25519::Keypair;
use tempfile::TempDir;

pub(crate) const BLOCK: Duration = Duration::from_millis(130);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) node: DevNode,
    pub(crate) rpc: RpcClient,
}

pub(crate) fn config(dir: &Path) -> DevNodeConfig {
    DevNodeConfig { block_time: BLOCK, ..DevNodeConfig::new(dir) }
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = config(dir.path());
        Self::with(dir, settings).await
    }

    pub(crate) async fn with(dir: TempDir, settings: DevNodeConfig) -> Self {
        let node = DevNode::start(settings).await.unwrap();
        let rpc = RpcClient::from_insecure_url(node.rpc_url()).await.unwrap();
        Self { dir, node, rpc }
    }

    /// An answer, or the error's code and whole text.
    pub(crate) async fn ask(&self, method: &str, params: &[Value]) -> Result<Value, (i32, String)> {
        let answer = self.rpc.request::<Value>(method, rpc_params(params)).await;
        answer.map_err(|error| match error {
            Error::User(error) => {
                let data = error.data.map(|data| data.get().to_owned());
                (error.code, format!("{} {}", error.message, data.unwrap_or_default()))
            }
            other => panic!("{method}: {other}"),
        })
    }

    pub(crate) async fn get(&self, method: &str, params: &[Value]) -> Value {
        self.ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    pub(crate) async fn heads(&self) -> RpcSubscription<Value> {
        self.rpc.subscribe("chain_subscribeNewHeads", rpc_params(&[]), "chain_unsubscribeNewHeads").await.unwrap()
    }
}

pub(crate) fn rpc_params(params: &[Value]) -> RpcParams {
    let mut out = RpcParams::new();
    for param in params {
        out.push(param).unwrap();
    }
    out
}

/// The number in a header's JSON.
pub(crate) fn number(header: &Value) -> u64 {
    let text = header["number"].as_str().unwrap();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// A signed transfer of `rao` with a given nonce, in hexadecimal.
pub(crate) async fn transfer(world: &World, from: &Keypair, to: [u8; 32], rao: u64, nonce: u64) -> Value {
    use subxt::dynamic::Value as Dynamic;
    let client = OnlineClient::<SubstrateConfig>::from_insecure_url(world.node.rpc_url()).await.unwrap();
    let call = subxt::dynamic::tx(
        "Balances",
        "transfer_keep_alive",
        (Dynamic::unnamed_variant("Id", [Dynamic::from_bytes(to)]), Dynamic::u128(u128::from(rao))),
    );
    let params = DefaultExtrinsicParamsBuilder::new().nonce(nonce).build();
    let mut signable = client.tx().await.unwrap().create_signable_offline(&call, params).unwrap();
    Value::String(hex(signable.sign(from).unwrap().encoded()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold("0x".to_owned(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The key of an account's balance and nonce.
pub(crate) fn account_key(account: [u8; 32]) -> String {
    use sp_io::hashing::{blake2_128, twox_128};
    let mut key = twox_128(b"System").to_vec();
    key.extend(twox_128(b"Account"));
    key.extend(blake2_128(&account));
    key.extend(account);
    hex(&key)
}
