//! `glia chain`: run the embedded chain, read it, calculate an epoch by hand.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use glia_chain_client::{Chain, ConnectOptions, Metagraph};
use glia_chain_devnode::{DevNode, DevNodeConfig};

use crate::cli::ChainServeArgs;
use crate::output::say;
use crate::{process, table};

pub(super) async fn serve(args: ChainServeArgs) -> anyhow::Result<()> {
    let stop = process::stop_token(&args.supervision)?;
    let data_dir = process::data_dir(args.data_dir.as_deref(), "chain")?;
    let config = DevNodeConfig {
        block_time: args.block_time,
        rpc_addr: args.rpc,
        genesis_patch: serde_json::json!({ "subtensorModule": { "subnets": { "vision": { "tempo": args.tempo } } } }),
        // A local chain makes many blocks; nobody asks for the state of old ones.
        state_history: 1024,
        ..DevNodeConfig::new(data_dir)
    };
    let node = DevNode::start(config).await.context("the chain could not start")?;
    process::announce_ready(
        &args.supervision,
        &serde_json::json!({ "kind": "chain", "pid": std::process::id(), "rpc": node.rpc_url() }),
    )?;
    say!("chain at {}, a block every {}", node.rpc_url(), humantime::format_duration(args.block_time));
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        why = node.ended() => Some(why),
    };
    node.stop().await;
    ended.map_or(Ok(()), |why| Err(why.into()))
}

/// The largest case file: 65535 neurons with full rows would be gigabytes; nobody calculates that by hand.
const MAX_CASE_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn epoch(input: &Path) -> anyhow::Result<()> {
    let mut text = String::new();
    let read = if input.as_os_str() == "-" {
        std::io::stdin().take(MAX_CASE_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(input).and_then(|file| file.take(MAX_CASE_BYTES).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", input.display()))?;
    let output = glia_chain_rules::case::run_json(&text).with_context(|| format!("{}", input.display()))?;
    say!("{output}");
    Ok(())
}

pub(super) async fn metagraph(url: &str, netuid: u16, json: bool) -> anyhow::Result<()> {
    let chain = Chain::connect(url, ConnectOptions::default()).await?;
    anyhow::ensure!(chain.subnet_exists(netuid).await?, "the chain at {url} has no subnet {netuid}");
    let graph = chain.metagraph(netuid).await?;
    if json {
        say!("{}", serde_json::to_string_pretty(&as_json(&graph))?);
    } else {
        print_table(&graph);
    }
    Ok(())
}

fn as_json(graph: &Metagraph) -> serde_json::Value {
    let neurons: Vec<_> = graph
        .neurons
        .iter()
        .map(|n| {
            serde_json::json!({
                "uid": n.uid,
                "hotkey": n.hotkey,
                "coldkey": n.coldkey,
                "axon": n.axon.map(|axon| axon.addr),
                "stake": n.stake,
                "incentive": n.incentive,
                "consensus": n.consensus,
                "dividends": n.dividends,
                "validator_trust": n.validator_trust,
                "validator_permit": n.validator_permit,
                "emission": n.emission,
                "active": n.active,
                "last_update": n.last_update,
                "block_at_registration": n.block_at_registration,
                "weights": n.weights,
                "bonds": n.bonds,
            })
        })
        .collect();
    serde_json::json!({
        "netuid": graph.netuid,
        "block": graph.block,
        "tempo": graph.tempo,
        "last_epoch_block": graph.last_epoch_block,
        "epoch_index": graph.epoch_index,
        "neurons": neurons,
    })
}

fn print_table(graph: &Metagraph) {
    say!(
        "subnet {} at block {}: {} neurons, tempo {}, epoch {} at block {}",
        graph.netuid,
        graph.block,
        graph.neurons.len(),
        graph.tempo,
        graph.epoch_index,
        graph.last_epoch_block
    );
    let header =
        ["uid", "hotkey", "axon", "stake α", "permit", "trust", "consensus", "incentive", "dividends", "emission α"];
    let mut table = table::new(&header, &[1, 2, 4]);
    for neuron in &graph.neurons {
        table.add_row([
            neuron.uid.to_string(),
            short(&neuron.hotkey.to_string()),
            neuron.axon.map_or_else(|| "–".to_owned(), |axon| axon.addr.to_string()),
            tokens(neuron.stake),
            if neuron.validator_permit { "yes" } else { "–" }.to_owned(),
            fraction(neuron.validator_trust),
            fraction(neuron.consensus),
            fraction(neuron.incentive),
            fraction(neuron.dividends),
            tokens(neuron.emission),
        ]);
    }
    say!("{table}");
}

fn short(text: &str) -> String {
    match (text.get(..6), text.get(text.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if text.len() > 12 => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

fn tokens(rao: u64) -> String {
    format!("{:.3}", rao as f64 / 1e9)
}

fn fraction(value: u16) -> String {
    format!("{:.4}", f64::from(value) / 65535.0)
}
