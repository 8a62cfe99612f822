//! `glia eval --router URL`: the whole test set through a running router.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use glia_experts::subnet::Subnet;
use glia_testnet::client::RouterClient;
use glia_testnet::evaluate::{EvaluateOptions, Figures, evaluate};
use glia_testnet::lab;
use glia_testnet::progress::Progress;
use glia_testnet::stats::Interval;

use crate::cli::EvalArgs;
use crate::output::say;
use crate::table;

/// Numbers of experts per request when none are named.
const USUAL: [u8; 3] = [1, 2, 4];

pub(super) async fn run(args: &EvalArgs, url: &str) -> anyhow::Result<()> {
    let stop = glia_testnet::stop_on_signals()?;
    let subnet = Subnet::by_name(&args.subnet)?;
    let client = RouterClient::new(url)?;
    // Asked first, so that a wrong address is one sentence and not 1,500 failed requests.
    client.is_ready().await?;
    if let Some(folder) = args.json.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
        ensure!(folder.is_dir(), "the folder {} for --json does not exist", folder.display());
    }
    let set = Arc::new(lab::test_set(&subnet, None)?.0);
    let progress = Progress::auto();
    let mut all: Vec<(u8, Figures)> = Vec::new();
    for &k in args.k.as_deref().unwrap_or(&USUAL) {
        let step = progress.step(&format!("test set through {k} experts"), set.len() as u64);
        let options =
            EvaluateOptions { concurrency: usize::from(args.concurrency), ..EvaluateOptions::at(usize::from(k)) };
        let routers = [client.clone()];
        let figures = evaluate(&routers, &set, &options, &|done| step.set(done as u64), &stop).await?.figures();
        step.done(&format!("{:.1} % right, {} failed", figures.accuracy.estimate * 100.0, figures.failed));
        all.push((k, figures));
    }
    let header = ["k", "accuracy (95 %)", "log-loss", "answered", "failed", "requests/s", "p50", "p95"];
    let mut table = table::new(&header, &[]);
    for (k, figures) in &all {
        table.add_row([
            k.to_string(),
            percent(&figures.accuracy),
            format!("{:.3}", figures.log_loss),
            figures.answered.to_string(),
            figures.failed.to_string(),
            format!("{:.0}", figures.requests_per_s),
            format!("{:.1} ms", figures.p50_ms),
            format!("{:.1} ms", figures.p95_ms),
        ]);
    }
    say!("{table}");
    say!("{} test images; accuracy with Wilson intervals", set.len());
    if let Some(path) = &args.json {
        let runs: Vec<_> = all.iter().map(|(k, figures)| serde_json::json!({ "k": k, "figures": figures })).collect();
        let report = serde_json::json!({ "router": url, "subnet": args.subnet, "items": set.len(), "runs": runs });
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn percent(interval: &Interval) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", interval.estimate * 100.0, interval.low * 100.0, interval.high * 100.0)
}
