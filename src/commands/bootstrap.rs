//! `glia bootstrap`: a peer without experts whose address others know.

use anyhow::Context;
use glia_peer::{Identity, Network, NetworkConfig};

use crate::cli::BootstrapArgs;
use crate::output::say;
use crate::process;

pub(super) async fn run(args: BootstrapArgs) -> anyhow::Result<()> {
    let stop = process::stop_token(&args.supervision)?;
    let dir = process::data_dir(args.data_dir.as_deref(), "bootstrap")?;
    let identity = Identity::load_or_create(&dir.join("peer"))?;
    let config = NetworkConfig::new(args.network.parse()?, identity).listen(args.listen);
    let network = Network::start(config).await.context("the peer could not start")?;
    process::announce_ready(
        &args.supervision,
        &serde_json::json!({
            "kind": "bootstrap",
            "pid": std::process::id(),
            "peer_id": network.peer_id().to_string(),
            "control": network.control_addresses(),
        }),
    )?;
    say!("bootstrap peer {} of network {}; join it with", network.peer_id(), args.network);
    for address in network.control_addresses() {
        say!("  --bootstrap {address}");
    }
    stop.cancelled().await;
    network.stop().await;
    Ok(())
}
