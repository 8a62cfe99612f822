//! `glia route`: a router, its HTTP API and its hand on the chain.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use glia_chain_client::{Chain, ConnectOptions, EnrolRequest};
use glia_experts::subnet::Subnet;
use glia_peer::Network;
use glia_router::feedback::FeedbackKeys;
use glia_router::{ChainAccess, Labelled, Policy, Router, RouterConfig, SubnetView};

use crate::output::say;
use tokio::net::TcpListener;

use crate::cli::RouteArgs;
use crate::mesh::{Claim, Entrance};
use crate::recompute::Cpu;
use crate::{keys, mesh, process};

const RAO_PER_TAO: u64 = 1_000_000_000;
/// TAO staked on a development chain when nothing is said: well above what experts earn in a day of local epochs, so
/// that routers, not experts, decide the consensus.
const DEVELOPMENT_STAKE: u64 = 1000;

pub(super) async fn run(args: RouteArgs) -> anyhow::Result<()> {
    ensure!(
        args.http.ip().is_loopback(),
        "the HTTP API has no authentication yet, so it listens on loopback only: use --http 127.0.0.1:{} and put an \
         authenticating proxy in front of it",
        args.http.port()
    );
    let stop = process::stop_token(&args.supervision)?;
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        started = start(&args) => {
            let (router, network, _claim) = started?;
            stop.cancelled().await;
            say!("leaving");
            router.stop().await;
            network.stop().await;
            Ok(())
        }
    }
}

async fn start(args: &RouteArgs) -> anyhow::Result<(Router, Network, Claim)> {
    let subnet = Subnet::by_name(&args.subnet)?;
    let feedback = args.feedback_key_file.as_deref().map(feedback_keys).transpose()?;
    mesh::check_name(&args.name)?;
    let dir = process::data_dir(args.data_dir.as_deref(), &args.name)?;
    let claim = mesh::claim(&dir)?;
    let keys = keys::load_or_create(&dir)?;
    // Everything that can be wrong is tried before anything is paid.
    let free = TcpListener::bind(args.http).await;
    drop(free.with_context(|| format!("--http {} cannot be used", args.http))?);
    let chain = Chain::connect(&args.chain, ConnectOptions::default()).await?;
    let network = mesh::enter(Entrance {
        network: &args.network,
        bootstrap: &args.bootstrap,
        listen: args.listen,
        dir: &dir,
        hotkey: Some(process::hotkey_signer(&keys.hotkey)),
    })
    .await?;
    let stake = args.stake.unwrap_or_else(|| if chain.is_development() { DEVELOPMENT_STAKE } else { 0 });
    let enrolled = chain
        .enrol(
            EnrolRequest {
                netuid: subnet.netuid(),
                hotkey: &keys.hotkey,
                coldkey: &keys.coldkey,
                stake: stake.saturating_mul(RAO_PER_TAO),
                development_funds: true,
                wait_for_funds: args.wait_for_funds,
            },
            |step| process::tell_enrolment(&args.name, step),
        )
        .await?;

    let hotkey = keys.hotkey.account();
    let router = Router::start(RouterConfig {
        subnets: vec![view(&subnet)],
        network: network.clone(),
        chain: Some(ChainAccess { chain, hotkey: keys.hotkey }),
        recompute: Some(Arc::new(Cpu(subnet))),
        feedback,
        http: args.http,
        data_dir: dir,
        seed: args.seed,
        policy: Policy { k: usize::from(args.k), ..Policy::default() },
    })
    .await?;
    let http = format!("http://{}", router.http_address());
    process::announce_ready(
        &args.supervision,
        &serde_json::json!({
            "kind": "router",
            "pid": std::process::id(),
            "name": args.name,
            "peer_id": network.peer_id().to_string(),
            "hotkey": hotkey,
            "uid": enrolled.uid,
            "http": http,
        }),
    )?;
    say!("{} routes {} as uid {} at {http}; ask it with", args.name, args.subnet, enrolled.uid);
    say!("  glia infer --router {http} --digits-index 7");
    Ok((router, network, claim))
}

/// Who may tell the router what was right.
fn feedback_keys(path: &Path) -> anyhow::Result<FeedbackKeys> {
    let text = super::feedback::read(path)?;
    FeedbackKeys::parse(&text).with_context(|| path.display().to_string())
}

/// What the router may know of a subnet: its schema, φ and labelled validation inputs, never a model or the test split.
fn view(subnet: &Subnet) -> SubnetView {
    let split = subnet.validation();
    let labelled =
        |(index, &class): (usize, &u8)| Some(Labelled { input: split.image(index)?, class: usize::from(class) });
    let validation = split.classes().iter().enumerate().filter_map(labelled).collect();
    SubnetView {
        name: subnet.name().clone(),
        netuid: subnet.netuid(),
        schema: subnet.schema().clone(),
        feature_map: subnet.feature_map().clone(),
        validation,
    }
}
