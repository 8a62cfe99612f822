//! Evidence: one file with which anybody can check, offline, that an expert signed another answer than its checkpoint gives.
//!
//! It holds the receipt, the tensors it covers, the checkpoint (or its hash, when it is large) and the signatures that tie
//! peer and hotkey to each other. Nothing in it has to be believed: every hash and signature is checked again, and the
//! answer is computed again. The router does not sign it, for the proof is the expert's own signature.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use glia_protocol::signature::{Binding, Signature};
use glia_protocol::{
    ContentHash, ExpertDescriptor, ForwardRequest, ForwardResponse, Hotkey, NetworkId, PeerId, Receipt, RequestId,
    SubnetName, Tensor,
};
use serde::{Deserialize, Serialize};

use super::Recompute;
use super::book::write_atomically;
use super::compare::{Comparison, compare, tolerance};
use super::text::{TensorText, base64, display, signature, tensors};
use crate::scoring::ledger::Hotkey58;

/// What the file calls itself.
pub const FORMAT: &str = "glia-evidence-v1";
/// A checkpoint of more bytes is named by its hash only; whoever checks brings it along.
pub const MAX_CHECKPOINT: usize = 4 * 1024 * 1024;
/// An evidence file is never larger than this.
pub const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Files kept in a folder; the oldest go first.
const MAX_FILES: usize = 256;

/// Who stands behind the peer: the part of its descriptor that its two keys signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// Name for people; proves nothing.
    pub name: String,
    /// Who signed the receipt.
    #[serde(with = "display")]
    pub peer: PeerId,
    /// Who is paid for it.
    pub hotkey: Hotkey58,
    /// The peer's signature for the hotkey, base64.
    #[serde(with = "signature")]
    pub by_peer: Signature,
    /// The hotkey's signature for the peer, base64.
    #[serde(with = "signature")]
    pub by_hotkey: Signature,
}

/// A receipt in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptText {
    /// Of the request.
    #[serde(with = "display")]
    pub request: RequestId,
    /// Who answered.
    #[serde(with = "display")]
    pub peer: PeerId,
    /// In which subnet.
    pub subnet: SubnetName,
    /// With which checkpoint, as it says.
    #[serde(with = "display")]
    pub checkpoint: ContentHash,
    /// Hash of the inputs.
    #[serde(with = "display")]
    pub input: ContentHash,
    /// Hash of the outputs.
    #[serde(with = "display")]
    pub output: ContentHash,
    /// When, milliseconds since the Unix epoch by its clock.
    pub answered_at_ms: u64,
    /// The peer's signature, base64.
    #[serde(with = "signature")]
    pub signature: Signature,
}

/// A checkpoint in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointText {
    /// blake3.
    #[serde(with = "display")]
    pub hash: ContentHash,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its bytes, base64; empty when it has more than [`MAX_CHECKPOINT`].
    #[serde(with = "base64")]
    pub data: Bytes,
}

/// An evidence file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// Network of the expert.
    pub network: NetworkId,
    /// Number of the subnet on chain.
    pub netuid: u16,
    /// Who answered.
    pub author: Author,
    /// What it signed.
    pub receipt: ReceiptText,
    /// What it was asked.
    pub inputs: Vec<TensorText>,
    /// What it answered.
    pub outputs: Vec<TensorText>,
    /// What it says it answered with.
    pub checkpoint: CheckpointText,
    /// What that checkpoint answers, as the router computed it; computed again when the file is checked.
    pub recomputed: TensorText,
    /// Largest relative distance per item that would have counted as the same answer; not read when the file is checked.
    pub tolerance: f32,
    /// What the router found, for people.
    pub reason: String,
    /// When the router found it, milliseconds since the Unix epoch.
    pub found_at_ms: u64,
}

/// What a file proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Who signed.
    #[serde(with = "display")]
    pub peer: PeerId,
    /// Who is paid for it.
    pub hotkey: Hotkey58,
    /// The checkpoint it named.
    #[serde(with = "display")]
    pub checkpoint: ContentHash,
    /// When, by its own clock.
    pub answered_at_ms: u64,
    /// Where its answer differs from the checkpoint's.
    pub difference: String,
}

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// It is no evidence file.
    #[error("it is no evidence file: {0}")]
    Unreadable(String),
    /// The receipt is not what the peer signed.
    #[error("the receipt does not hold: {0}")]
    Receipt(String),
    /// Peer and hotkey do not vouch for each other.
    #[error(
        "peer {peer} and hotkey {hotkey} do not vouch for each other, so nobody is shown to stand behind the receipt"
    )]
    Binding {
        /// The peer.
        peer: PeerId,
        /// The hotkey.
        hotkey: Hotkey,
    },
    /// The checkpoint is not the one the receipt names.
    #[error("the checkpoint has hash {got}, the receipt names {want}")]
    OtherCheckpoint {
        /// Hash of the bytes.
        got: ContentHash,
        /// Hash in the receipt.
        want: ContentHash,
    },
    /// The checkpoint is not in the file.
    #[error("the checkpoint {0} is not in the file; bring it along with --checkpoint")]
    NoCheckpoint(ContentHash),
    /// The checkpoint could not be computed here.
    #[error("the answer cannot be computed again: {0}")]
    Recompute(String),
    /// The answer is right.
    #[error("the expert signed what its checkpoint computes: it is not guilty")]
    NotGuilty,
    /// The recomputation says nothing.
    #[error("the recomputation says nothing: {0}")]
    Unclear(String),
}

/// A failed re-execution, from which a bundle is made.
#[derive(Debug)]
pub struct Failed<'a> {
    /// Number of the subnet on chain.
    pub netuid: u16,
    /// Of the expert.
    pub descriptor: &'a ExpertDescriptor,
    /// What it was asked.
    pub request: &'a ForwardRequest,
    /// What it answered.
    pub response: &'a ForwardResponse,
    /// The bytes it should have answered with.
    pub checkpoint: &'a Bytes,
    /// What they compute.
    pub recomputed: &'a Tensor,
    /// What was found.
    pub reason: &'a str,
    /// When, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Bundle {
    /// The evidence of a failed re-execution; `None` without a receipt, for then nothing is proven.
    #[must_use]
    pub fn of(failed: &Failed<'_>) -> Option<Self> {
        let (receipt, descriptor) = (failed.response.receipt.as_ref()?, failed.descriptor);
        let small = failed.checkpoint.len() <= MAX_CHECKPOINT;
        Some(Self {
            format: FORMAT.to_owned(),
            network: descriptor.network.clone(),
            netuid: failed.netuid,
            author: Author {
                name: descriptor.name.clone(),
                peer: descriptor.peer,
                hotkey: Hotkey58(descriptor.hotkey),
                by_peer: descriptor.binding.by_peer,
                by_hotkey: descriptor.binding.by_hotkey,
            },
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
            inputs: failed.request.tensors.iter().map(TensorText::of).collect(),
            outputs: failed.response.tensors.iter().map(TensorText::of).collect(),
            checkpoint: CheckpointText {
                hash: failed.request.checkpoint,
                bytes: failed.checkpoint.len() as u64,
                data: if small { failed.checkpoint.clone() } else { Bytes::new() },
            },
            recomputed: TensorText::of(failed.recomputed),
            tolerance: tolerance(failed.recomputed.dtype()),
            reason: failed.reason.to_owned(),
            found_at_ms: failed.now_ms,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`NoProof::Unreadable`], also when it is larger than [`MAX_FILE`].
    pub fn read(text: &[u8]) -> Result<Self, NoProof> {
        if text.len() as u64 > MAX_FILE {
            return Err(NoProof::Unreadable(format!("it has {} bytes, {MAX_FILE} are the most", text.len())));
        }
        let bundle: Self = serde_json::from_slice(text).map_err(|error| NoProof::Unreadable(error.to_string()))?;
        if bundle.format != FORMAT {
            let shown: String = bundle.format.chars().take(64).collect();
            return Err(NoProof::Unreadable(format!("its format is {shown:?}, not {FORMAT:?}")));
        }
        Ok(bundle)
    }

    /// Checks every signature and hash, computes the answer again, and says what is proven. `checkpoint` takes the place of
    /// one that is not in the file. Blocks.
    ///
    /// # Errors
    /// Why nothing is proven.
    pub fn verify(&self, recompute: &dyn Recompute, checkpoint: Option<&[u8]>) -> Result<Proof, NoProof> {
        let unreadable = |why: String| NoProof::Unreadable(why);
        let inputs = tensors(&self.inputs).map_err(|why| unreadable(format!("its input: {why}")))?;
        let outputs = tensors(&self.outputs).map_err(|why| unreadable(format!("its output: {why}")))?;
        let receipt = self.receipt();
        if receipt.peer != self.author.peer {
            let why = format!("it is signed by {}, the evidence is about {}", receipt.peer, self.author.peer);
            return Err(NoProof::Receipt(why));
        }
        let (request, response) = self.exchange(&receipt, inputs, outputs);
        let held = receipt.verify().and_then(|()| receipt.covers(&request, &response));
        held.map_err(|error| NoProof::Receipt(error.to_string()))?;
        let (peer, hotkey) = (self.author.peer, self.author.hotkey.0);
        let binding = Binding { by_peer: self.author.by_peer, by_hotkey: self.author.by_hotkey };
        if !binding.holds(&self.network, &peer, &hotkey) {
            return Err(NoProof::Binding { peer, hotkey });
        }
        let given = checkpoint.or_else(|| (!self.checkpoint.data.is_empty()).then_some(self.checkpoint.data.as_ref()));
        let bytes = given.ok_or(NoProof::NoCheckpoint(receipt.checkpoint))?;
        let got = ContentHash::of(bytes);
        if got != receipt.checkpoint {
            return Err(NoProof::OtherCheckpoint { got, want: receipt.checkpoint });
        }
        let ([input], [answered]) = (request.tensors.as_slice(), response.tensors.as_slice()) else {
            return Err(NoProof::Recompute("only answers of one tensor to one tensor are computed again".to_owned()));
        };
        let recomputed = recompute.recompute(&receipt.subnet, bytes, receipt.checkpoint, input);
        match compare(answered, &recomputed.map_err(NoProof::Recompute)?) {
            Comparison::Same => Err(NoProof::NotGuilty),
            Comparison::Unclear(why) => Err(NoProof::Unclear(why)),
            Comparison::Differs(difference) => Ok(Proof {
                peer,
                hotkey: self.author.hotkey,
                checkpoint: receipt.checkpoint,
                answered_at_ms: receipt.answered_at_ms,
                difference,
            }),
        }
    }

    fn receipt(&self) -> Receipt {
        let text = &self.receipt;
        Receipt {
            request: text.request,
            peer: text.peer,
            subnet: text.subnet.clone(),
            checkpoint: text.checkpoint,
            input: text.input,
            output: text.output,
            answered_at_ms: text.answered_at_ms,
            signature: text.signature,
        }
    }

    /// The exchange that the receipt is said to be of.
    fn exchange(
        &self,
        receipt: &Receipt,
        inputs: Vec<Tensor>,
        outputs: Vec<Tensor>,
    ) -> (ForwardRequest, ForwardResponse) {
        let request = ForwardRequest {
            id: receipt.request,
            subnet: receipt.subnet.clone(),
            checkpoint: self.checkpoint.hash,
            budget_ms: 0,
            tensors: inputs,
        };
        let response = ForwardResponse {
            id: receipt.request,
            checkpoint: self.checkpoint.hash,
            queue_us: 0,
            compute_us: 0,
            batch: 0,
            tensors: outputs,
            receipt: Some(receipt.clone()),
        };
        (request, response)
    }

    /// Writes the bundle into `folder`, giving up the oldest file when there are too many. Its name; blocks.
    ///
    /// # Errors
    /// When the file system refuses, or the file would be too large to be read again.
    pub fn write(&self, folder: &Path) -> std::io::Result<String> {
        std::fs::create_dir_all(folder)?;
        let text = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        if text.len() as u64 > MAX_FILE {
            return Err(std::io::Error::other(format!("it would have {} bytes", text.len())));
        }
        let mut files = files(folder)?;
        files.sort();
        for oldest in files.iter().take((files.len() + 1).saturating_sub(MAX_FILES)) {
            std::fs::remove_file(oldest)?;
        }
        // Milliseconds first: names sort by age.
        let request = self.receipt.request.to_string();
        let name = format!("{:015}-{}-{request}.json", self.found_at_ms, self.netuid);
        write_atomically(&folder.join(&name), &text)?;
        Ok(name)
    }
}

/// The evidence files of a folder.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
    Ok(found)
}
