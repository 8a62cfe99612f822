//! `glia demo`: the whole network on one machine, measured.

use glia_testnet::demo::{DemoOptions, run_demo};
use glia_testnet::progress::Progress;

use crate::cli::DemoArgs;
use crate::process;

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let stop = process::on_signal()?;
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
    run_demo(options, &std::env::current_exe()?, &Progress::auto(), &stop).await?;
    Ok(())
}
