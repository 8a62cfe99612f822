//! What an expert signs for every answer: which input it turned into which output, with which checkpoint, and when.
//!
//! A receipt ties an answer to its author for good. Whoever holds the request, the answer and the checkpoint can compute
//! the answer anew; if it differs, the receipt is the proof.

use serde::{Deserialize, Serialize};

use crate::forward::{ForwardRequest, ForwardResponse};
use crate::ids::{ContentHash, PeerId, RequestId, SubnetName};
use crate::signature::{Signature, verify_peer};
use crate::tensor::Tensor;

/// An expert's signed word for one answer. It names hashes, so it can be kept and shown without the tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Request that was answered.
    pub request: RequestId,
    /// Who answered (and signs this).
    pub peer: PeerId,
    /// Subnet of the request.
    pub subnet: SubnetName,
    /// Checkpoint that answered, by its own word.
    pub checkpoint: ContentHash,
    /// [`tensors_hash`] of the request's tensors.
    pub input: ContentHash,
    /// [`tensors_hash`] of the answer's tensors.
    pub output: ContentHash,
    /// Milliseconds since the Unix epoch by the expert's clock, which may be wrong.
    pub answered_at_ms: u64,
    /// Ed25519 by `peer` over [`Receipt::message`].
    pub signature: Signature,
}

/// Why a receipt proves nothing, or not what it is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Its Ed25519 signature does not hold.
    #[error("the receipt is not signed by {0}")]
    BadSignature(PeerId),
    /// It is for another request.
    #[error("the receipt is for another request")]
    Request,
    /// It is for another subnet.
    #[error("the receipt is for another subnet")]
    Subnet,
    /// It is for another checkpoint.
    #[error("the receipt is for another checkpoint")]
    Checkpoint,
    /// It is for another input.
    #[error("the receipt is for another input")]
    Input,
    /// It is for another output.
    #[error("the receipt is for another output")]
    Output,
}

const DOMAIN: &[u8] = b"glia-receipt-v1";
const TENSORS_DOMAIN: &[u8] = b"glia-tensors-v1";

impl Receipt {
    /// Makes the receipt of `peer` for its `response` to `request`; `sign` is the peer's Ed25519 key. The checkpoint is
    /// the one the response names.
    pub fn sign(
        peer: PeerId,
        request: &ForwardRequest,
        response: &ForwardResponse,
        answered_at_ms: u64,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Self {
        let mut receipt = Self {
            request: request.id,
            peer,
            subnet: request.subnet.clone(),
            checkpoint: response.checkpoint,
            input: tensors_hash(&request.tensors),
            output: tensors_hash(&response.tensors),
            answered_at_ms,
            signature: Signature([0; 64]),
        };
        receipt.signature = sign(&receipt.message());
        receipt
    }

    /// What the peer signs: a domain separator, the length of the subnet's name and the name, peer, request,
    /// checkpoint, input, output, and the time as eight little-endian bytes.
    pub fn message(&self) -> Vec<u8> {
        let subnet = self.subnet.as_str().as_bytes();
        [
            DOMAIN,
            &[subnet.len() as u8],
            subnet,
            &self.peer.0,
            &self.request.0,
            &self.checkpoint.0,
            &self.input.0,
            &self.output.0,
            &self.answered_at_ms.to_le_bytes(),
        ]
        .concat()
    }

    /// Whether `peer` signed it. Says nothing about which request and response it is for: [`Self::covers`] does.
    pub fn verify(&self) -> Result<(), ReceiptError> {
        if verify_peer(&self.peer, &self.message(), &self.signature) {
            Ok(())
        } else {
            Err(ReceiptError::BadSignature(self.peer))
        }
    }

    /// Whether it is for exactly this request and response: ids, subnet, checkpoint, input and output. The caller
    /// checks that `peer` is the one it asked, and [`Self::verify`] that it signed.
    pub fn covers(&self, request: &ForwardRequest, response: &ForwardResponse) -> Result<(), ReceiptError> {
        let holds = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
        holds(self.request == request.id && self.request == response.id, ReceiptError::Request)?;
        holds(self.subnet == request.subnet, ReceiptError::Subnet)?;
        let checkpoint = self.checkpoint == request.checkpoint && self.checkpoint == response.checkpoint;
        holds(checkpoint, ReceiptError::Checkpoint)?;
        holds(self.input == tensors_hash(&request.tensors), ReceiptError::Input)?;
        holds(self.output == tensors_hash(&response.tensors), ReceiptError::Output)
    }
}

/// One hash for a list of tensors: blake3 of a domain, their number, and of each its name, dtype, shape and bytes. Every
/// part has a fixed length or is preceded by its length, so two lists with one hash are the same list.
pub fn tensors_hash(tensors: &[Tensor]) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(TENSORS_DOMAIN);
    hasher.update(&(tensors.len() as u32).to_le_bytes());
    for tensor in tensors {
        let header = tensor.header();
        hasher.update(&(header.name.len() as u32).to_le_bytes());
        hasher.update(header.name.as_bytes());
        hasher.update(&[header.dtype as u8]);
        hasher.update(&(header.shape.len() as u32).to_le_bytes());
        for dim in &header.shape {
            hasher.update(&dim.to_le_bytes());
        }
        hasher.update(&(tensor.data().len() as u64).to_le_bytes());
        hasher.update(tensor.data());
    }
    ContentHash(*hasher.finalize().as_bytes())
}
