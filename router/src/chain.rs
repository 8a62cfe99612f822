//! The seam to the chain: what a router asks of it, so that tests can put a refusing or slow chain there.

use futures::future::BoxFuture;
use glia_chain_client::{Chain, Hyperparameters, Keypair, Metagraph, ReadError, Receipt, SubmitError};
use glia_protocol::Hotkey;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

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
}

/// Runs a read whose future cannot move between threads on a thread of its own; dropping this ends the read.
async fn aside<T, F>(read: impl FnOnce() -> F + Send + 'static) -> Result<T, ReadError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ReadError>>,
{
    let broken = |why: &str| ReadError::Broken { url: "the chain".to_owned(), reason: why.to_owned() };
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    let runtime = Handle::current();
    let task = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => None,
                done = read() => Some(done),
            }
        })
    });
    match task.await {
        Ok(Some(done)) => done,
        Ok(None) => Err(broken("the read was cut short")),
        Err(error) => Err(broken(&error.to_string())),
    }
}

impl ChainPort for ChainAccess {
    fn hotkey(&self) -> Hotkey {
        Hotkey(self.hotkey.account().0)
    }

    fn genesis(&self) -> String {
        self.chain.genesis_hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn schedule(&self, netuid: u16) -> BoxFuture<'_, Result<(u64, Option<u64>), ReadError>> {
        let chain = self.chain.clone();
        Box::pin(aside(move || async move {
            let block = chain.block_number().await?;
            Ok((block, chain.next_epoch_block(netuid).await?))
        }))
    }

    fn metagraph(&self, netuid: u16) -> BoxFuture<'_, Result<Metagraph, ReadError>> {
        let chain = self.chain.clone();
        Box::pin(aside(move || async move { chain.metagraph(netuid).await }))
    }

    fn hyperparameters(&self, netuid: u16) -> BoxFuture<'_, Result<Hyperparameters, ReadError>> {
        let chain = self.chain.clone();
        Box::pin(aside(move || async move { chain.hyperparameters(netuid).await }))
    }

    fn weights(&self, netuid: u16, uid: u16) -> BoxFuture<'_, Result<Vec<(u16, u16)>, ReadError>> {
        let chain = self.chain.clone();
        Box::pin(aside(move || async move { chain.weights(netuid, uid).await }))
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
}
