//! `glia audit`: what audits found, and whether an evidence file proves what it says.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use glia_experts::subnet::Subnet;
use glia_router::audit::evidence::MAX_FILE;
use glia_router::audit::{Bundle, NoProof, Proof};
use glia_testnet::client::RouterClient;

use crate::output::say;
use crate::recompute::Cpu;
use crate::table;

/// Bytes of a checkpoint that is brought along.
const MAX_CHECKPOINT: u64 = 256 * 1024 * 1024;

pub(super) async fn verify(file: &Path, checkpoint: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let text = read(file, MAX_FILE)?;
    let brought = checkpoint.map(|path| read(path, MAX_CHECKPOINT)).transpose()?;
    let shown = file.display().to_string();
    let checked = tokio::task::spawn_blocking(move || check(&text, brought.as_deref())).await?;
    if json {
        let value = match &checked {
            Ok(proof) => serde_json::json!({ "guilty": true, "proof": proof }),
            Err(why) => serde_json::json!({ "guilty": false, "why": why.to_string() }),
        };
        say!("{}", serde_json::to_string_pretty(&value)?);
    }
    match checked {
        Ok(proof) => {
            if !json {
                say!("guilty: {} ({}) signed an answer that its checkpoint does not give", proof.hotkey.0, proof.peer);
                say!("  checkpoint {}", proof.checkpoint);
                say!("  {}", proof.difference);
                say!("every signature and hash in the file holds, and the answer was computed again here");
            }
            Ok(())
        }
        Err(why) => bail!("{shown} proves nothing: {why}"),
    }
}

/// What the file proves.
fn check(text: &[u8], checkpoint: Option<&[u8]>) -> Result<Proof, NoProof> {
    let bundle = Bundle::read(text)?;
    let subnet = Subnet::by_name(bundle.receipt.subnet.as_str());
    let subnet = subnet.map_err(|error| NoProof::Recompute(error.to_string()))?;
    bundle.verify(&Cpu(subnet), checkpoint)
}

/// A file of at most `most` bytes.
fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() as u64 <= most, "{} has more than {most} bytes", path.display());
    Ok(bytes)
}

pub(super) async fn list(router: &str, json: bool) -> anyhow::Result<()> {
    let page = RouterClient::new(router)?.audits().await?;
    if json {
        say!("{}", serde_json::to_string_pretty(&page)?);
        return Ok(());
    }
    if !page.on {
        say!("this router does not audit");
        return Ok(());
    }
    let header = ["expert", "tier", "audits", "failed", "credibility", "rate", "last", "condemned", "evidence"];
    let mut table = table::new(&header, &[0, 1, 6, 7, 8]);
    for expert in &page.experts {
        let last = expert.last.as_ref().map_or_else(|| "–".to_owned(), |last| last.result.clone());
        table.add_row([
            expert.name.clone(),
            expert.tier.clone(),
            expert.audits.to_string(),
            expert.failures.to_string(),
            format!("{:.2}", expert.credibility),
            format!("{:.0} %", expert.rate * 100.0),
            last,
            if expert.condemned { "yes" } else { "no" }.to_owned(),
            expert.evidence.last().cloned().unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    say!("{table}");
    let reasons = page.experts.iter().filter_map(|expert| {
        let last = expert.last.as_ref().filter(|last| !last.reason.is_empty())?;
        Some(format!("{}: {}", expert.name, last.reason))
    });
    reasons.for_each(|reason| say!("{reason}"));
    say!("{} answers were not audited for lack of room", page.dropped);
    Ok(())
}
