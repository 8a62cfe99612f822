//! The seam to the chain: what a router asks of it, so that tests can put a refusing or slow chain there.

use futures::future::BoxFuture;
use glia_chain_client::{Chain, Hyperparameters, Keypair, Metagraph, OpenCommit, ReadError, Receipt, SubmitError};
use glia_protocol::Hotkey;

use crate::config::ChainAccess;

/// What the router needs of a chain.
pub trait ChainPort: Send + Sync + 'static {
    /// Who signs this router's weights.
    fn hotkey(&self) -> Hotkey;

    /// Genesis hash, hexadecimal: names the chain.
    fn genesis(&self) -> String;

    /// The best block and the block of the next epoch (`None`: epochs never run).
    fn schedule(&self, netuid: u16) -> BoxFuture<'_, Result<(u64, Option<u64>), ReadError>>;

    /// The subnet and its neurons.
    fn metagraph(&self, netuid: u16) -> BoxFuture<'_, Result<Metagraph, ReadError>>;

    /// The subnet's settings.
    fn hyperparameters(&self, netuid: u16) -> BoxFuture<'_, Result<Hyperparameters, ReadError>>;

    /// The weights a uid has set.
    fn weights(&self, netuid: u16, uid: u16) -> BoxFuture<'_, Result<Vec<(u16, u16)>, ReadError>>;

    /// Sets this router's weights.
    fn set_weights(
        &self,
        netuid: u16,
        row: Vec<(u16, u16)>,
        version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>>;

    /// This router's commits that have not been revealed.
    fn commits(&self, netuid: u16) -> BoxFuture<'_, Result<Vec<OpenCommit>, ReadError>>;

    /// Commits to weights by their hash.
    fn commit_weights(&self, netuid: u16, hash: [u8; 32]) -> BoxFuture<'_, Result<Receipt, SubmitError>>;

    /// Reveals weights that were committed to.
    fn reveal_weights(
        &self,
        netuid: u16,
        row: Vec<(u16, u16)>,
        salt: Vec<u16>,
        version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>>;
}

impl ChainPort for ChainAccess {
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.hotkey.account().0)
    }

    fn genesis(&self) -> String {
        self.chain.genesis_hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn schedule(&self, netuid: u16) -> BoxFuture<'_, Result<(u64, Option<u64>), ReadError>> {
        Box::pin(async move {
            let block = self.chain.block_number().await?;
            Ok((block, self.chain.next_epoch_block(netuid).await?))
        })
    }

    fn metagraph(&self, netuid: u16) -> BoxFuture<'_, Result<Metagraph, ReadError>> {
        Box::pin(async move { self.chain.metagraph(netuid).await })
    }

    fn hyperparameters(&self, netuid: u16) -> BoxFuture<'_, Result<Hyperparameters, ReadError>> {
        Box::pin(async move { self.chain.hyperparameters(netuid).await })
    }

    fn weights(&self, netuid: u16, uid: u16) -> BoxFuture<'_, Result<Vec<(u16, u16)>, ReadError>> {
        Box::pin(async move { self.chain.weights(netuid, uid).await })
    }

    fn set_weights(
        &self,
        netuid: u16,
        row: Vec<(u16, u16)>,
        version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        let (chain, hotkey): (&Chain, &Keypair) = (&self.chain, &self.hotkey);
        Box::pin(async move { chain.set_weights(hotkey, netuid, &row, version_key).await })
    }

    fn commits(&self, netuid: u16) -> BoxFuture<'_, Result<Vec<OpenCommit>, ReadError>> {
        Box::pin(async move { self.chain.commits(netuid, self.hotkey.account()).await })
    }

    fn commit_weights(&self, netuid: u16, hash: [u8; 32]) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        Box::pin(async move { self.chain.commit_weights(&self.hotkey, netuid, hash).await })
    }

    fn reveal_weights(
        &self,
        netuid: u16,
        row: Vec<(u16, u16)>,
        salt: Vec<u16>,
        version_key: u64,
    ) -> BoxFuture<'_, Result<Receipt, SubmitError>> {
        Box::pin(async move { self.chain.reveal_weights(&self.hotkey, netuid, &row, &salt, version_key).await })
    }
}
