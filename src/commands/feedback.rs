//! `glia feedback`: tells a router what was right.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, ensure};
use glia_testnet::client::RouterClient;

use crate::cli::FeedbackArgs;
use crate::output::say;

/// Bytes of a file of keys.
pub(super) const MAX_KEYS: u64 = 64 * 1024;

pub(super) async fn run(args: FeedbackArgs) -> anyhow::Result<()> {
    let text = read(&args.key_file)?;
    let key = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let key = key.with_context(|| format!("{} holds no key", args.key_file.display()))?;
    let counted = RouterClient::new(&args.router)?.feedback(key, &args.id, &args.label, args.item).await?;
    let verdict = match counted.answered {
        Some(answered) if answered == counted.label => "the answer was right".to_owned(),
        Some(answered) => format!("the answer was {answered}"),
        None => "the answer is not known any more".to_owned(),
    };
    say!("counted for {}: it is {}; {verdict}", counted.subnet, counted.label);
    Ok(())
}

/// The text of a file of keys.
pub(super) fn read(path: &std::path::Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEYS + 1).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.len() as u64 <= MAX_KEYS, "{} has more than {MAX_KEYS} bytes", path.display());
    Ok(text)
}
