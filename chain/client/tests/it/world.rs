//! A chain of its own for each test.

use std::net::SocketAddr;
use std::time::Duration;

use glia_chain_client::{Chain, ConnectOptions, Keypair};
use glia_chain_devnode::{DevNode, DevNodeConfig};
use serde_json::json;
use tempfile::TempDir;

pub(crate) const VISION: u16 = 1;
pub(crate) const TAO: u64 = 1_000_000_000;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) node: DevNode,
    pub(crate) chain: Chain,
}

pub(crate) fn config(dir: &TempDir) -> DevNodeConfig {
    DevNodeConfig {
        block_time: Duration::from_millis(150),
        genesis_patch: json!({"subtensorModule": {"subnets": {"vision": {"tempo": 5}}}}),
        ..DevNodeConfig::new(dir.path())
    }
}

/// Starts again where another node has just stopped: the port may take a moment to be free.
pub(crate) async fn start_at(dir: &TempDir, addr: SocketAddr) -> DevNode {
    let config = DevNodeConfig { rpc_addr: addr, ..config(dir) };
    DevNode::start(config).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(json!({"tempo": 5})).await
    }

    /// A chain whose subnet has these settings.
    pub(crate) async fn with(vision: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patch = json!({"subtensorModule": {"subnets": {"vision": vision}}});
        let node = DevNode::start(DevNodeConfig { genesis_patch: patch, ..config(&dir) }).await.unwrap();
        let chain = connect(&node.rpc_url()).await;
        Self { dir, node, chain }
    }
}

pub(crate) async fn connect(url: &str) -> Chain {
    Chain::connect(url, ConnectOptions::default()).await.unwrap()
}

pub(crate) fn alice() -> Keypair {
    Keypair::from_suri("//Alice").unwrap()
}

/// A key of its own for each number.
pub(crate) fn key(number: u8) -> Keypair {
    Keypair::from_seed([number; 32]).unwrap()
}
