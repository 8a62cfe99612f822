//! Lists the experts that a network's DHT knows for one subnet.
//!
//! `cargo run -p glia-peer --example find_experts -- <bootstrap multiaddr> <network> <subnet>`

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use glia_peer::{Identity, Network, NetworkConfig};
use glia_protocol::SubnetName;
use glia_protocol::descriptor::SHARDS;

/// Regions that are searched; subnets have at most 64.
const REGIONS: u8 = 16;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let usage = "usage: find_experts <bootstrap multiaddr> <network> <subnet>";
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().context(usage)?;
    let network = arguments.next().context(usage)?.parse()?;
    let subnet: SubnetName = arguments.next().context(usage)?.parse()?;

    let mut config = NetworkConfig::new(network, Identity::generate()?).listen("0.0.0.0:0".parse()?);
    config.bootstrap = vec![bootstrap];
    let peer = Network::start(config).await?;
    let joined = async {
        while peer.connected_peers() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), joined).await.context("the bootstrap peer does not answer")?;

    let mut found = BTreeSet::new();
    for region in 0..REGIONS {
        for shard in 0..SHARDS {
            found.extend(peer.find_providers(&subnet, region, shard).await?);
        }
    }
    println!("{} peers say that they serve {subnet}", found.len());
    for expert in found {
        match peer.describe(expert, &subnet).await {
            Ok(descriptors) => {
                for d in descriptors {
                    println!(
                        "{expert}  {}  hotkey {}  {} examples  at {:?}",
                        d.name, d.hotkey, d.examples, d.addresses
                    );
                }
            }
            Err(error) => println!("{expert}  {error}"),
        }
    }
    peer.stop().await;
    Ok(())
}
