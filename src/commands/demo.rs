//! `glia demo`: the whole network on one machine, measured.

use anyhow::ensure;
use glia_testnet::demo::{DemoOptions, run_demo};
use glia_testnet::progress::Progress;

use crate::cli::DemoArgs;
use crate::process;

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let stop = glia_testnet::stop_on_signals()?;
    let home = process::home(args.data_dir.as_deref())?;
    let options = DemoOptions {
        dir: Some(home.join("testnets").join("demo")),
        checkpoints: Some(home.join("checkpoints")),
        json: args.json,
        keep: args.keep,
        roster: args.roster,
        routers: usize::from(args.routers),
        seed: args.seed,
        ..DemoOptions::default()
    };
    let report = run_demo(options, &std::env::current_exe()?, &Progress::auto(), &stop).await?;
    let faults = report.faults();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    ensure!(
        !args.check || report.collective_wins(),
        "the collective does not beat the best single expert by a margin whose 95 % interval excludes 0"
    );
    Ok(())
}
