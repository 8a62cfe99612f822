//! `glia route`: a router, its HTTP API and its hand on the chain.

use anyhow::{Context, ensure};
use glia_chain_client::{Chain, ConnectOptions, EnrolRequest};
use glia_experts::subnet::Subnet;
use glia_peer::{Identity, Network, NetworkConfig};
use glia_router::{ChainAccess, Labelled, Policy, Router, RouterConfig, SubnetView};

use crate::cli::RouteArgs;
use crate::{keys, process};

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
            let (router, network) = started?;
            stop.cancelled().await;
            router.stop().await;
            network.stop().await;
            Ok(())
        }
    }
}

async fn start(args: &RouteArgs) -> anyhow::Result<(Router, Network)> {
    let subnet = Subnet::by_name(&args.subnet)?;
    let dir = process::data_dir(args.data_dir.as_deref(), &args.name)?;
    let keys = keys::load_or_create(&dir)?;
    let chain = Chain::connect(&args.chain, ConnectOptions::default()).await?;
    let stake = args.stake.unwrap_or(if chain.is_development() { DEVELOPMENT_STAKE } else { 0 });
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

    let mut config =
        NetworkConfig::new(args.network.parse()?, Identity::load_or_create(&dir.join("peer"))?).listen(args.listen);
    config.bootstrap.clone_from(&args.bootstrap);
    config.hotkey = Some(process::hotkey_signer(&keys.hotkey));
    let network = Network::start(config).await.context("the peer could not start")?;

    let hotkey = keys.hotkey.account();
    let router = Router::start(RouterConfig {
        subnets: vec![view(&subnet)],
        network: network.clone(),
        chain: Some(ChainAccess { chain, hotkey: keys.hotkey }),
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
    println!("{} routes {} as uid {} at {http}; ask it with", args.name, args.subnet, enrolled.uid);
    println!("  glia infer --router {http} --digits-index 7");
    Ok((router, network))
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
