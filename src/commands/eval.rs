//! `glia eval`: the study of the collective, a report rendered again, or one router measured.

mod router;

use anyhow::{Context, ensure};
use glia_testnet::progress::Progress;
use glia_testnet::report::use_colour;
use glia_testnet::study::{self, StudyOptions, StudyReport, markdown, run_study, terminal};

use crate::cli::EvalArgs;
use crate::output::say;
use crate::process;

/// Bytes of a report that are read: one of 20 seeds has about three million.
const MAX_REPORT: u64 = 64 * 1024 * 1024;

pub(super) async fn run(args: EvalArgs) -> anyhow::Result<()> {
    match (&args.router, &args.render) {
        (Some(url), _) => router::run(&args, url).await,
        (None, Some(_)) => render(&args),
        (None, None) => measure(args).await,
    }
}

async fn measure(args: EvalArgs) -> anyhow::Result<()> {
    let stop = glia_testnet::stop_on_signals()?;
    // Before anything else, so that nothing is trained for a report that cannot be written.
    study::cache::prepare(&args.out)?;
    let home = process::home(args.data_dir.as_deref())?;
    let (checkpoints, mesh) = (home.join("checkpoints"), home.join("testnets").join("eval"));
    let usual = if args.quick { StudyOptions::quick } else { StudyOptions::full };
    let mut options = usual(std::path::absolute(&args.out)?, checkpoints, mesh);
    options.concurrency = usize::from(args.concurrency);
    if let Some(rosters) = args.rosters {
        options.rosters = rosters.into_iter().filter(|name| !name.is_empty() && name != "none").collect();
    }
    options.seeds = args.seeds.unwrap_or(options.seeds);
    options.items = args.items.or(options.items);
    if let Some(k) = args.k {
        options.ks = k.into_iter().map(usize::from).collect();
    }
    options.stress = args.stress.unwrap_or(options.stress);
    let report = run_study(&options, &std::env::current_exe()?, &Progress::auto(), &stop).await?;
    say!("{}", terminal::render(&report, use_colour()));
    say!("{}", args.out.join("report.html").display());
    ensure!(report.made.left_out.is_empty(), "not everything was measured: {}", report.made.left_out.join("; "));
    Ok(())
}

fn render(args: &EvalArgs) -> anyhow::Result<()> {
    use std::io::Read;
    let Some(path) = &args.render else { return Ok(()) };
    let cannot = || format!("cannot read {}", path.display());
    let mut text = Vec::new();
    std::fs::File::open(path).with_context(cannot)?.take(MAX_REPORT + 1).read_to_end(&mut text).with_context(cannot)?;
    ensure!(text.len() as u64 <= MAX_REPORT, "{} is larger than any report", path.display());
    let report = StudyReport::from_json(&text).with_context(cannot)?;
    if args.markdown {
        say!("{}", markdown::render(&report).trim_end());
        return Ok(());
    }
    study::cache::prepare(&args.out)?;
    study::write(&args.out, &report)?;
    say!("{}", terminal::render(&report, use_colour()));
    say!("{}", args.out.join("report.html").display());
    Ok(())
}
