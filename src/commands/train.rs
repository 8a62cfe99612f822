//! `glia train`: checkpoints for a roster.

use glia_experts::subnet::Subnet;
use glia_experts::train::TrainOptions;
use glia_testnet::lab;
use glia_testnet::progress::Progress;

use crate::cli::TrainArgs;
use crate::output::say;

pub(super) async fn run(args: TrainArgs) -> anyhow::Result<()> {
    let stop = glia_testnet::stop_on_signals()?;
    let subnet = Subnet::by_name(&args.subnet)?;
    let roster = lab::roster(&args.roster, usize::from(args.experts), &subnet)?;
    let options = TrainOptions { dense: args.dense, ..TrainOptions::default() };
    let trained = lab::train(&subnet, &roster, &args.out, &options, &Progress::auto(), &stop).await?;
    for expert in trained.experts.iter().chain(&trained.dense) {
        say!("{:<12} {}", expert.name, expert.path.display());
    }
    Ok(())
}
