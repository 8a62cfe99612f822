//! `glia testnet`: a mesh of real processes that stays up.

use std::path::PathBuf;

use anyhow::{Context, bail};
use glia_experts::roster::USUAL_SEED;
use glia_experts::train::TrainOptions;
use glia_testnet::control::{self, Down, ProcessStatus};
use glia_testnet::lab;
use glia_testnet::process::tail;
use glia_testnet::progress::Progress;
use glia_testnet::spec::{Lifetime, TestnetSpec};
use glia_testnet::state::State;
use glia_testnet::testnet::Testnet;

use crate::cli::{TestnetPlace, TestnetUpArgs};
use crate::output::say;
use crate::{process, table};

/// Bytes of a log that are looked at for its last lines.
const MAX_TAIL: u64 = 1024 * 1024;
/// Experts of a built-in roster when none are counted.
const USUAL_EXPERTS: u16 = 8;

fn dir(place: &TestnetPlace) -> anyhow::Result<PathBuf> {
    let home = process::home(place.data_dir.as_deref())?;
    // The same rules as for any name on the wire, so that a name is never a path.
    let name: glia_protocol::NetworkId = place.name.parse()?;
    Ok(home.join("testnets").join(name.as_str()))
}

pub(super) async fn up(args: TestnetUpArgs) -> anyhow::Result<()> {
    let stop = glia_testnet::stop_on_signals()?;
    let progress = Progress::auto();
    let dir = dir(&args.place)?;
    if State::load(&dir)?.is_some_and(|state| state.alive().count() > 0) {
        bail!(
            "testnet {:?} already runs; look at it with glia testnet status{place}, or end it with glia testnet down{place}",
            args.place.name,
            place = flags(&args.place)
        );
    }
    let subnet = lab::subnet_of(&args.roster)?;
    let experts = usize::from(args.experts.unwrap_or(USUAL_EXPERTS));
    let roster = lab::roster_seeded(&args.roster, experts, args.seed.unwrap_or(USUAL_SEED), &subnet)?;
    let checkpoints = process::home(args.place.data_dir.as_deref())?.join("checkpoints");
    let options = TrainOptions { dense: false, ..TrainOptions::default() };
    let trained = lab::train(&subnet, &roster, &checkpoints, &options, &progress, &stop).await?;
    let mut experts = lab::expert_specs(&trained);
    if let Some(count) = args.experts {
        experts.truncate(usize::from(count));
    }
    let spec = TestnetSpec {
        subnet: subnet.name().clone(),
        netuid: subnet.netuid(),
        experts,
        routers: usize::from(args.routers),
        block_time: args.block_time,
        tempo: args.tempo,
        lifetime: if args.detach { Lifetime::Detached } else { Lifetime::WithParent },
        ..TestnetSpec::new(&args.place.name, &dir, &std::env::current_exe()?)?
    };
    let network = spec.network.clone();
    let mut testnet = Testnet::start(spec, &progress, &stop).await?;
    say!("network    {network}");
    say!("chain      {}", testnet.chain_url());
    say!("bootstrap  {}", testnet.bootstrap());
    for (record, client) in testnet.routers() {
        say!("{:<10} {}", record.name, client.url());
    }
    if let Some((_, client)) = testnet.routers().first() {
        say!("\nask it:   glia infer --router {} --digits-index 7", client.url());
    }
    say!(
        "join it:  glia join --subnet {} --checkpoint FILE --network {network} --chain {} --bootstrap {}",
        testnet.spec().subnet,
        testnet.chain_url(),
        testnet.bootstrap()
    );
    let place = flags(&args.place);
    say!("watch it: glia testnet status{place}");
    say!("stop it:  glia testnet down{place}{}", if args.detach { "" } else { "  (or Ctrl-C here)" });
    if args.detach {
        testnet.leave_running()?;
        return Ok(());
    }
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        name = testnet.watch() => Some(name),
    };
    testnet.stop().await?;
    match ended {
        None => Ok(()),
        Some(name) => bail!("{name} ended by itself; its last lines: glia testnet logs {name}{place}"),
    }
}

/// The flags that name this testnet in another command.
fn flags(place: &TestnetPlace) -> String {
    let mut flags = String::new();
    if place.name != "default" {
        flags.push_str(&format!(" --name {}", place.name));
    }
    if let Some(dir) = &place.data_dir {
        flags.push_str(&format!(" --data-dir {}", dir.display()));
    }
    flags
}

pub(super) async fn status(place: &TestnetPlace, json: bool) -> anyhow::Result<()> {
    let Some(status) = control::status(&dir(place)?).await? else {
        bail!("no testnet {:?} is running; start one with `glia testnet up`", place.name);
    };
    if json {
        say!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    let block = status.block.map_or_else(|| "?".to_owned(), |block| block.to_string());
    say!("testnet {} · network {} · block {block}", status.state.name, status.state.network);
    if let (Some(chain), Some(bootstrap)) = (status.state.chain_url(), status.state.bootstrap()) {
        let state = &status.state;
        say!("join it: --subnet {} --network {} --chain {chain} --bootstrap {bootstrap}", state.subnet, state.network);
    }
    let header = ["process", "pid", "alive", "uid", "peer", "address", "served", "incentive", "memory"];
    let mut table = table::new(&header, &[0, 2, 4, 5]);
    for process in &status.processes_now {
        table.add_row(row(process));
    }
    say!("{table}");
    say!("served: requests of all routers; incentive: share of the last epoch (dividends for routers)");
    for process in status.processes_now.iter().filter(|process| !process.alive) {
        say!("{} has ended: glia testnet logs {}{} says why", process.name, process.name, flags(place));
    }
    for note in &status.notes {
        say!("note: {note}");
    }
    Ok(())
}

fn row(process: &ProcessStatus) -> [String; 9] {
    let dash = || "–".to_owned();
    let peer = process.peer_id.as_deref().map_or_else(dash, |peer| match peer.get(peer.len().saturating_sub(8)..) {
        Some(tail) => format!("…{tail}"),
        None => peer.to_owned(),
    });
    [
        process.name.clone(),
        process.pid.to_string(),
        if process.alive { "yes" } else { "NO" }.to_owned(),
        process.uid.map_or_else(dash, |uid| uid.to_string()),
        peer,
        process.address.as_deref().map_or_else(dash, short_address),
        process.requests.map_or_else(dash, |n| n.to_string()),
        process.share.map_or_else(dash, |share| format!("{:.4}", f64::from(share) / 65535.0)),
        process.resident_bytes.map_or_else(dash, |bytes| format!("{} MiB", bytes / (1024 * 1024))),
    ]
}

/// A multiaddress without its peer id, which has its own column.
fn short_address(address: &str) -> String {
    address.split("/p2p/").next().unwrap_or(address).to_owned()
}

pub(super) fn logs(place: &TestnetPlace, process: Option<&str>, lines: usize) -> anyhow::Result<()> {
    let logs = control::logs(&dir(place)?, process)?;
    for (name, path) in logs {
        if process.is_none() {
            say!("{name:<12} {}", path.display());
            continue;
        }
        for line in tail(&path, lines, MAX_TAIL).with_context(|| format!("cannot read {}", path.display()))? {
            say!("{line}");
        }
    }
    Ok(())
}

pub(super) async fn down(place: &TestnetPlace) -> anyhow::Result<()> {
    match control::down(&dir(place)?).await? {
        Down::Nothing => say!("no testnet {:?} is running", place.name),
        Down::Ended { processes, killed: 0 } => say!("{processes} processes ended"),
        Down::Ended { processes, killed } => say!("{processes} processes ended, {killed} of them only by force"),
    }
    Ok(())
}
