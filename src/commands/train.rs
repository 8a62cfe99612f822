//! `glia train`: checkpoints for a roster.

use std::path::Path;

use anyhow::ensure;
use glia_experts::roster::USUAL_SEED;
use glia_experts::subnet::Subnet;
use glia_experts::train::TrainOptions;
use glia_testnet::lab;
use glia_testnet::progress::Progress;

use crate::cli::TrainArgs;
use crate::output::say;

/// Experts of a built-in roster when none are counted.
const USUAL_EXPERTS: u8 = 8;

pub(super) async fn run(args: TrainArgs) -> anyhow::Result<()> {
    if Path::new(&args.roster).is_file() {
        let file = &args.roster;
        ensure!(args.experts.is_none(), "--experts is only for built-in rosters: {file} lists its own experts");
        ensure!(args.seed.is_none(), "--seed is only for built-in rosters: {file} has its own `seed`");
    }
    let stop = glia_testnet::stop_on_signals()?;
    let subnet = match &args.subnet {
        Some(name) => Subnet::by_name(name)?,
        None => lab::subnet_of(&args.roster)?,
    };
    let experts = usize::from(args.experts.unwrap_or(USUAL_EXPERTS));
    let roster = lab::roster_seeded(&args.roster, experts, args.seed.unwrap_or(USUAL_SEED), &subnet)?;
    let options = TrainOptions { dense: args.dense, dense_total: args.dense_total, ..TrainOptions::default() };
    let trained = lab::train(&subnet, &roster, &args.out, &options, &Progress::auto(), &stop).await?;
    for expert in trained.all() {
        say!("{:<12} {}", expert.name, expert.path.display());
    }
    Ok(())
}
