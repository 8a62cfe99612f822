//! `glia join`: a checkpoint becomes an expert of the mesh.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use glia_chain_client::{AxonAnnouncement, Chain, ConnectOptions, EnrolRequest};
use glia_experts::checkpoint::LoadedCheckpoint;
use glia_experts::device::DeviceChoice;
use glia_experts::serve::{ExpertServer, ServeConfig};
use glia_experts::subnet::Subnet;
use glia_peer::{ForwardHandler, Network};
use glia_protocol::ContentHash;
use glia_testnet::adversary::{Adversary, Behaviour};

use crate::cli::{DeviceArg, JoinArgs};
use crate::mesh::{Claim, Entrance};
use crate::output::say;
use crate::{keys, mesh, process};

/// How long answers under way may take after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(3);
/// How long leaving may take in all; who supervises processes waits a little longer before it kills.
const LEAVE: Duration = Duration::from_secs(7);

pub(super) async fn run(args: JoinArgs) -> anyhow::Result<()> {
    let stop = process::stop_token(&args.supervision)?;
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        joined = start(&args) => {
            let expert = joined?;
            stop.cancelled().await;
            say!("leaving: out of the DHT, finishing what has begun");
            tokio::time::timeout(LEAVE, expert.leave()).await.context("leaving took too long")
        }
    }
}

struct Joined {
    network: Network,
    server: ExpertServer,
    _claim: Claim,
}

impl Joined {
    /// Out of the DHT first, so that nobody new comes; then the answers under way; then the connections.
    async fn leave(self) {
        self.network.withdraw().await;
        self.server.drain(DRAIN).await;
        self.network.stop().await;
    }
}

async fn start(args: &JoinArgs) -> anyhow::Result<Joined> {
    let subnet = Subnet::by_name(&args.subnet)?;
    let mut loaded = LoadedCheckpoint::load(&args.checkpoint, &subnet)
        .with_context(|| format!("cannot serve {}", args.checkpoint.display()))?;
    if let Some(name) = &args.name {
        loaded.meta.name.clone_from(name);
    }
    let name = loaded.meta.name.clone();
    mesh::check_name(&name)?;
    let dir = process::data_dir(args.data_dir.as_deref(), &format!("expert-{name}"))?;
    let claim = mesh::claim(&dir)?;
    let keys = keys::load_or_create(&dir)?;

    let chain = Chain::connect(&args.chain, ConnectOptions::default()).await?;
    let network = mesh::enter(Entrance {
        network: &args.network,
        bootstrap: &args.bootstrap,
        listen: args.listen,
        dir: &dir,
        hotkey: Some(process::hotkey_signer(&keys.hotkey)),
    })
    .await?;
    let enrolled = chain
        .enrol(
            EnrolRequest {
                netuid: subnet.netuid(),
                hotkey: &keys.hotkey,
                coldkey: &keys.coldkey,
                stake: 0,
                development_funds: true,
                wait_for_funds: args.wait_for_funds,
            },
            |step| process::tell_enrolment(&name, step),
        )
        .await?;

    let device = match args.device {
        DeviceArg::Auto => DeviceChoice::Auto,
        DeviceArg::Cpu => DeviceChoice::Cpu,
        DeviceArg::Wgpu => DeviceChoice::Wgpu,
    };
    let config = ServeConfig { publish: !args.private, ..ServeConfig::default() };
    let server = ExpertServer::local(subnet.clone(), vec![loaded], device, config).await?;
    network.serve(match args.behave {
        None => server.handler(),
        Some(behaviour) => misbehaving(server.handler(), behaviour, &name),
    });
    network.advertise(server.offers(), server.load_source()).await?;

    let addresses = network.data_addresses();
    let data = *addresses.first().context("the tensor endpoint has no address")?;
    announce_axon(&chain, &keys, subnet.netuid(), data).await;
    process::announce_ready(
        &args.supervision,
        &serde_json::json!({
            "kind": "expert",
            "pid": std::process::id(),
            "name": name,
            "peer_id": network.peer_id().to_string(),
            "hotkey": keys.hotkey.account(),
            "uid": enrolled.uid,
            "control": network.control_addresses(),
            "data": data,
        }),
    )?;
    say!(
        "{name} serves {} as uid {} (hotkey {}, peer {}) at {data}",
        args.subnet,
        enrolled.uid,
        keys.hotkey.account(),
        network.peer_id()
    );
    Ok(Joined { network, server, _claim: claim })
}

/// A liar of the testnet in front of the honest `handler`; its random numbers come from its name.
fn misbehaving(handler: Arc<dyn ForwardHandler>, behaviour: Behaviour, name: &str) -> Arc<dyn ForwardHandler> {
    tracing::warn!("{name} misbehaves as it was told to: {behaviour}");
    let [a, b, c, d, e, f, g, h, ..] = ContentHash::of(name.as_bytes()).0;
    let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    // A crash is not an orderly end.
    Arc::new(Adversary::new(handler, behaviour, seed).ends_by(|| std::process::abort()))
}

/// The axon on chain is a courtesy to other clients; the mesh itself finds experts in the DHT.
async fn announce_axon(chain: &Chain, keys: &keys::NeuronKeys, netuid: u16, addr: std::net::SocketAddr) {
    let known =
        chain.metagraph(netuid).await.ok().and_then(|graph| {
            graph.neuron_of(&keys.hotkey.account()).and_then(|neuron| neuron.axon).map(|axon| axon.addr)
        });
    if known == Some(addr) {
        return;
    }
    let axon = AxonAnnouncement { addr, protocol: 4, version: 1 };
    if let Err(error) = chain.serve_axon(&keys.hotkey, netuid, axon).await {
        tracing::warn!(%error, "the chain did not take the axon address; routers still find this expert in the DHT");
    }
}
