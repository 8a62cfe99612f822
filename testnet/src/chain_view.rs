//! The chain's side of a report: what routers wrote, what consensus made of it, who was paid.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use glia_chain_client::{Chain, Metagraph};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::client::{LedgerPage, RouterClient};

/// How often the chain is asked while waiting.
const ASK_EVERY: Duration = Duration::from_millis(150);
/// How often ledger and storage are read again when a router wrote between the two readings.
const READINGS: usize = 20;

/// One subnet of the chain at one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainView {
    /// The chain's address.
    pub url: String,
    /// The subnet's number.
    pub netuid: u16,
    /// The block everything was read at.
    pub block: u64,
    /// The block of the last epoch.
    pub epoch_block: u64,
    /// Epochs so far.
    pub epochs: u64,
    /// Blocks between epochs.
    pub tempo: u16,
    /// What each router wrote.
    pub routers: Vec<RouterWeights>,
    /// Every neuron, by uid.
    pub neurons: Vec<NeuronView>,
}

/// The expert weights of one router, twice: as its ledger says and as the chain's storage holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterWeights {
    /// The router.
    pub name: String,
    /// Its uid.
    pub uid: Option<u16>,
    /// Its hotkey.
    pub hotkey: String,
    /// The block of its last weights.
    pub block: u64,
    /// Weight by uid, from its ledger.
    pub ledger: BTreeMap<u16, u16>,
    /// Weight by uid, read from storage.
    pub storage: BTreeMap<u16, u16>,
    /// Whether the two are equal.
    pub equal: bool,
}

/// One neuron after the epoch. Fractions are of 65535.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeuronView {
    /// Its uid.
    pub uid: u16,
    /// Its name in the testnet; `None` for a neuron the testnet did not start.
    pub name: Option<String>,
    /// Its hotkey.
    pub hotkey: String,
    /// Stake-weighted median of the weights on it.
    pub consensus: u16,
    /// Share of the miners' reward.
    pub incentive: u16,
    /// Share of the validators' reward.
    pub dividends: u16,
    /// Paid in the last epoch, in rao of alpha.
    pub emission: u64,
}

/// A router of the testnet.
#[derive(Debug, Clone)]
pub struct RouterHandle {
    /// Its name.
    pub name: String,
    /// Its hotkey in SS58.
    pub hotkey: String,
    /// Its API.
    pub client: RouterClient,
}

/// Waits until each router has weights on chain and an epoch has run after the last router's first weights that were
/// there when the wait began (or appeared during it). Returns the metagraph then.
///
/// # Errors
/// When that takes longer than `within` (saying what is missing), or the chain does not answer.
///
/// # Cancel safety
/// Yes.
pub async fn wait_for_epoch(
    chain: &Chain,
    netuid: u16,
    routers: &[RouterHandle],
    within: Duration,
) -> Result<Metagraph> {
    let deadline = Instant::now() + within;
    let mut wrote: BTreeMap<&str, u64> = BTreeMap::new();
    loop {
        let metagraph = chain.metagraph(netuid).await?;
        for router in routers {
            let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey.to_string() == router.hotkey);
            if let Some(neuron) = neuron.filter(|neuron| !neuron.weights.is_empty()) {
                wrote.entry(&router.name).or_insert(neuron.last_update);
            }
        }
        let all = wrote.len() == routers.len();
        let paid = metagraph.neurons.iter().any(|neuron| neuron.incentive > 0);
        if all && paid && wrote.values().all(|&block| block < metagraph.last_epoch_block) {
            return Ok(metagraph);
        }
        if Instant::now() >= deadline {
            let missing: Vec<&str> =
                routers.iter().map(|router| router.name.as_str()).filter(|name| !wrote.contains_key(name)).collect();
            if missing.is_empty() {
                bail!(
                    "no epoch paid anybody within {} s; the last one was block {}, the chain is at block {}",
                    within.as_secs(),
                    metagraph.last_epoch_block,
                    metagraph.block
                );
            }
            bail!("within {} s these routers set no weights on chain: {}", within.as_secs(), missing.join(", "));
        }
        sleep(ASK_EVERY).await;
    }
}

/// Reads the chain and each router's ledger at the same set of weights. `names` gives names by hotkey.
///
/// # Errors
/// When chain or routers do not answer.
pub async fn chain_view(
    chain: &Chain,
    netuid: u16,
    routers: &[RouterHandle],
    names: &BTreeMap<String, String>,
) -> Result<ChainView> {
    for reading in 1.. {
        let metagraph = chain.metagraph(netuid).await?;
        let mut ledgers = Vec::new();
        for router in routers {
            let ledger =
                router.client.ledger().await.with_context(|| format!("reading the ledger of {}", router.name))?;
            ledgers.push(ledger);
        }
        let view = compose(chain.url(), &metagraph, routers, &ledgers, names);
        // A router may have written between the two readings: its block then differs, and the next reading agrees.
        if reading == READINGS || view.routers.iter().all(|router| router.equal) {
            return Ok(view);
        }
        sleep(ASK_EVERY).await;
    }
    bail!("the chain could not be read")
}

fn compose(
    url: &str,
    metagraph: &Metagraph,
    routers: &[RouterHandle],
    ledgers: &[LedgerPage],
    names: &BTreeMap<String, String>,
) -> ChainView {
    let router_view = |(router, ledger): (&RouterHandle, &LedgerPage)| {
        let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey.to_string() == router.hotkey);
        let storage: BTreeMap<u16, u16> = neuron.map(|n| n.weights.iter().copied().collect()).unwrap_or_default();
        let ledger: BTreeMap<u16, u16> = ledger.weights.iter().map(|weight| (weight.uid, weight.weight)).collect();
        RouterWeights {
            name: router.name.clone(),
            uid: neuron.map(|neuron| neuron.uid),
            hotkey: router.hotkey.clone(),
            block: neuron.map_or(0, |neuron| neuron.last_update),
            equal: same_weights(&ledger, &storage),
            ledger,
            storage,
        }
    };
    let neurons = metagraph.neurons.iter().map(|neuron| {
        let hotkey = neuron.hotkey.to_string();
        NeuronView {
            uid: neuron.uid,
            name: names.get(&hotkey).cloned(),
            consensus: neuron.consensus,
            incentive: neuron.incentive,
            dividends: neuron.dividends,
            emission: neuron.emission,
            hotkey,
        }
    });
    ChainView {
        url: url.to_owned(),
        netuid: metagraph.netuid,
        block: metagraph.block,
        epoch_block: metagraph.last_epoch_block,
        epochs: metagraph.epoch_index,
        tempo: metagraph.tempo,
        routers: routers.iter().zip(ledgers).map(router_view).collect(),
        neurons: neurons.collect(),
    }
}

/// Equal where it matters: a ledger also explains experts of weight 0, which are not in the row that is sent.
fn same_weights(ledger: &BTreeMap<u16, u16>, storage: &BTreeMap<u16, u16>) -> bool {
    let positive = |weights: &BTreeMap<u16, u16>| -> BTreeMap<u16, u16> {
        weights.iter().filter(|(_, weight)| **weight > 0).map(|(uid, weight)| (*uid, *weight)).collect()
    };
    !storage.is_empty() && positive(ledger) == positive(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_zero_do_not_matter_and_others_do() {
        let weights = |pairs: &[(u16, u16)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
        assert!(same_weights(&weights(&[(1, 65535), (2, 0)]), &weights(&[(1, 65535)])));
        assert!(!same_weights(&weights(&[(1, 65535), (2, 1)]), &weights(&[(1, 65535)])));
        assert!(!same_weights(&weights(&[]), &weights(&[])), "nothing written is not equality");
    }
}
