//! One live connection: the RPC methods, the chain's identity and the metadata in force.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codec::{Decode as _, Encode as _};
use subxt::client::{OfflineClient, OfflineClientAtBlock};
use subxt::config::substrate::{SpecVersionForRange, SubstrateConfig, SubstrateHeader};
use subxt::metadata::Metadata;
use subxt::rpcs::{self, LegacyRpcMethods, RpcClient, RpcConfig};
use subxt::utils::{AccountId32, H256};

use crate::error::{ConnectError, ReadError};

/// The types the node speaks over JSON-RPC.
pub(crate) enum Wire {}

impl RpcConfig for Wire {
    type Header = SubstrateHeader<H256>;
    type Hash = H256;
    type AccountId = AccountId32;
}

pub(crate) type Methods = LegacyRpcMethods<Wire>;

/// Call indices, storage hashers and types of one runtime version.
pub(crate) struct Runtime {
    pub(crate) spec_version: u32,
    pub(crate) offline: OfflineClientAtBlock<SubstrateConfig>,
    /// Between two blocks, as the chain says.
    pub(crate) block_time: Duration,
}

/// One connection. Replaced, never repaired, when it breaks.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) url: Arc<str>,
    pub(crate) methods: Methods,
    pub(crate) genesis: H256,
    pub(crate) chain_name: String,
    pub(crate) chain_type: String,
    /// Set when a deadline passed on this connection: the next user replaces it.
    suspect: AtomicBool,
    runtime: Mutex<Arc<Runtime>>,
}

impl Session {
    /// Connects and learns what chain this is. Cancel safe: nothing is kept of a half-made connection.
    pub(crate) async fn open(id: u64, url: Arc<str>) -> Result<Self, ConnectError> {
        let rpc =
            RpcClient::from_insecure_url(url.as_ref()).await.map_err(|error| ConnectError::from_dial(&url, &error))?;
        let methods = Methods::new(rpc);
        let told = |error: rpcs::Error| ConnectError::not_a_chain(&url, &error);
        let genesis = methods.genesis_hash().await.map_err(told)?;
        let chain_name = methods.system_chain().await.map_err(told)?;
        // Some nodes leave the type out; the name decides then.
        let chain_type = methods.system_chain_type().await.unwrap_or_default();
        let runtime = load_runtime(&methods, genesis).await.map_err(|error| ConnectError::not_a_chain(&url, &error))?;
        Ok(Self {
            id,
            url,
            methods,
            genesis,
            chain_name,
            chain_type,
            suspect: AtomicBool::new(false),
            runtime: Mutex::new(Arc::new(runtime)),
        })
    }

    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// The metadata in force, loaded again when the node reports another version.
    pub(crate) async fn runtime(&self) -> Result<Arc<Runtime>, ReadError> {
        let known = Arc::clone(&self.runtime.lock().unwrap_or_else(PoisonError::into_inner));
        let version = self.methods.state_get_runtime_version(None).await.map_err(|error| self.failed(error))?;
        if version.spec_version == known.spec_version {
            return Ok(known);
        }
        let fresh = Arc::new(load_runtime(&self.methods, self.genesis).await.map_err(|error| self.failed(error))?);
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }

    /// Sorts an RPC failure: broken connection, refusal by the node, or nonsense.
    pub(crate) fn failed(&self, error: rpcs::Error) -> ReadError {
        ReadError::from_rpc(&self.url, error)
    }
}

/// The hash of a header, as the chain computes it.
pub(crate) fn header_hash(runtime: &Runtime, header: &SubstrateHeader<H256>) -> H256 {
    use subxt::config::Hasher as _;
    runtime.offline.hasher().hash(&header.encode())
}

async fn load_runtime(methods: &Methods, genesis: H256) -> Result<Runtime, rpcs::Error> {
    let version = methods.state_get_runtime_version(None).await?;
    let metadata = load_metadata(methods).await?;
    let config = SubstrateConfig::builder()
        .set_genesis_hash(genesis)
        .set_metadata_for_spec_versions([(version.spec_version, metadata.arc())])
        .set_spec_version_for_block_ranges([SpecVersionForRange {
            block_range: 0..u64::MAX,
            spec_version: version.spec_version,
            transaction_version: version.transaction_version,
        }])
        .build();
    let offline = OfflineClient::new_with_config(config)
        .at_block(0_u64)
        .map_err(|error| rpcs::Error::Client(error.to_string().into()))?;
    let block_time = block_time(&offline);
    Ok(Runtime { spec_version: version.spec_version, offline, block_time })
}

/// Between two blocks, by the constants of the consensus pallet in use; the 12 s of Bittensor where there is none.
fn block_time(offline: &OfflineClientAtBlock<SubstrateConfig>) -> Duration {
    let constant = |pallet: &str, name: &str| -> Option<u64> {
        let value = offline.metadata_ref().pallet_by_name(pallet)?.constant_by_name(name)?.value();
        u64::decode(&mut &value[..]).ok().filter(|millis| *millis > 0)
    };
    let millis = constant("Aura", "SlotDuration").or_else(|| constant("Babe", "ExpectedBlockTime"));
    Duration::from_millis(millis.unwrap_or(12_000))
}

/// Metadata version 15 where the runtime offers it, else what `state_getMetadata` says.
async fn load_metadata(methods: &Methods) -> Result<Metadata, rpcs::Error> {
    let asked = methods.state_call("Metadata_metadata_at_version", Some(&15_u32.encode()), None).await;
    let offered = match asked {
        // A node without this runtime API says so as an error of the user's.
        Err(rpcs::Error::User(_)) => None,
        Err(error) => return Err(error),
        Ok(bytes) => Option::<Vec<u8>>::decode(&mut &bytes[..]).map_err(rpcs::Error::Decode)?,
    };
    let bytes = match offered {
        Some(bytes) => bytes,
        None => methods.state_get_metadata(None).await?.into_raw(),
    };
    Metadata::decode_from(&bytes).map_err(rpcs::Error::Decode)
}
