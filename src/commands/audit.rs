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

#[cfg(test)]
mod tests {
    use glia_chain_client::Keypair;
    use glia_experts::device::DeviceChoice;
    use glia_experts::reexecute::reexecute;
    use glia_experts::roster::{Entry, Kind};
    use glia_experts::train::{TrainOptions, train_one};
    use glia_peer::Identity;
    use glia_protocol::signature::{Binding, Signature};
    use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, Hotkey, Receipt, RequestId, Tensor};
    use glia_router::audit::evidence::{Author, CheckpointText, FORMAT, ReceiptText};
    use glia_router::audit::text::TensorText;
    use glia_router::scoring::ledger::Hotkey58;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Bytes of a trained checkpoint.
    fn checkpoint(subnet: &Subnet, folder: &Path) -> Vec<u8> {
        let kind = Kind::Iid { examples: 100, part: 0 };
        let entry = Entry { name: "audited".to_owned(), kind, seed: 3, split_seed: 7 };
        let options = TrainOptions { images: 500, device: DeviceChoice::Cpu, ..TrainOptions::default() };
        let trained = train_one(subnet, &entry, folder, &options, &|_| {}, &CancellationToken::new()).unwrap();
        std::fs::read(trained.path).unwrap()
    }

    /// Evidence about an expert that gave this answer to two images.
    fn bundle(subnet: &Subnet, file: &[u8], input: &Tensor, answer: Tensor) -> Bundle {
        let (identity, keypair) = (Identity::from_seed([1; 32]), Keypair::from_seed([2; 32]).unwrap());
        let (network, peer, hotkey) = ("glia-dev".parse().unwrap(), identity.peer_id(), Hotkey(keypair.account().0));
        let (id, checkpoint, subnet) = (RequestId([3; 16]), ContentHash::of(file), subnet.name().clone());
        let request = ForwardRequest { id, subnet, checkpoint, budget_ms: 1, tensors: vec![input.clone()] };
        let response = ForwardResponse {
            id,
            checkpoint,
            queue_us: 0,
            compute_us: 0,
            batch: 2,
            tensors: vec![answer],
            receipt: None,
        };
        let receipt = Receipt::sign(peer, &request, &response, 1_790_000_000_000, |message| identity.sign(message));
        Bundle {
            format: FORMAT.to_owned(),
            netuid: 1,
            author: Author {
                name: "audited".to_owned(),
                peer,
                hotkey: Hotkey58(hotkey),
                by_peer: identity.sign(&Binding::message_for_peer(&network, &peer, &hotkey)),
                by_hotkey: Signature(keypair.sign(&Binding::message_for_hotkey(&network, &peer, &hotkey))),
            },
            network,
            receipt: ReceiptText {
                request: receipt.request,
                peer: receipt.peer,
                subnet: receipt.subnet.clone(),
                checkpoint: receipt.checkpoint,
                input: receipt.input,
                output: receipt.output,
                answered_at_ms: receipt.answered_at_ms,
                signature: receipt.signature,
            },
            inputs: request.tensors.iter().map(TensorText::of).collect(),
            outputs: response.tensors.iter().map(TensorText::of).collect(),
            checkpoint: CheckpointText { hash: checkpoint, bytes: file.len() as u64, data: file.to_vec().into() },
            recomputed: TensorText::of(&response.tensors[0]),
            tolerance: 1e-3,
            reason: "it lied".to_owned(),
            found_at_ms: 1_790_000_000_001,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_liar_is_proven_guilty_by_its_file_and_an_honest_expert_is_not() {
        let (folder, subnet) = (tempfile::tempdir().unwrap(), Subnet::by_name("vision").unwrap());
        let file = checkpoint(&subnet, folder.path());
        let input = Tensor::from_u8("image", &[2, 28, 28], subnet.test().pixels().slice(0..2 * 784)).unwrap();
        let honest = reexecute(&subnet, &file, ContentHash::of(&file), &input).unwrap();
        let mut lie = honest.to_f32();
        lie.rotate_right(1);
        let lie = Tensor::from_f32(honest.name(), honest.shape(), &lie).unwrap();

        let path = folder.path().join("evidence.json");
        let write = |bundle: &Bundle| std::fs::write(&path, serde_json::to_vec(bundle).unwrap()).unwrap();
        let guilty = bundle(&subnet, &file, &input, lie);
        write(&guilty);
        verify(&path, None, false).await.unwrap();
        verify(&path, None, true).await.unwrap();

        let mut forged = guilty.clone();
        forged.inputs[0].data = subnet.test().pixels().slice(784..3 * 784);
        write(&forged);
        let error = verify(&path, None, false).await.unwrap_err().to_string();
        assert!(error.contains("proves nothing") && error.contains("another input"), "{error}");

        // A large checkpoint stays out of the file and is brought along.
        let mut without = guilty;
        without.checkpoint.data.clear();
        write(&without);
        let error = verify(&path, None, false).await.unwrap_err().to_string();
        assert!(error.contains("--checkpoint"), "{error}");
        let brought = folder.path().join("brought.safetensors");
        std::fs::write(&brought, &file).unwrap();
        verify(&path, Some(&brought), false).await.unwrap();

        write(&bundle(&subnet, &file, &input, honest));
        let error = verify(&path, None, true).await.unwrap_err().to_string();
        assert!(error.contains("not guilty"), "{error}");

        std::fs::write(&path, "garbage").unwrap();
        let error = verify(&path, None, false).await.unwrap_err().to_string();
        assert!(error.contains("no evidence file"), "{error}");
        assert!(verify(&folder.path().join("nothing"), None, false).await.is_err());
    }
}
