//! From an answer, its receipt and its checkpoint to a verdict. Blocks for as long as the re-execution takes.

use bytes::Bytes;
use glia_protocol::{ForwardRequest, ForwardResponse, PeerId, Tensor};

use super::Recompute;
use super::compare::{Comparison, compare};

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The receipt holds and the checkpoint computes the same answer.
    Verified,
    /// The receipt holds; the expert publishes nothing to compare with.
    Signed,
    /// The receipt holds; the published checkpoint could not be had or computed, and why.
    Unchecked(String),
    /// No receipt, one that does not hold, or another answer than the checkpoint's.
    Failed(String),
}

impl Verdict {
    /// The result in a word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Signed => "signed",
            Self::Unchecked(_) => "unchecked",
            Self::Failed(_) => "failed",
        }
    }

    /// Why, where there is something to say.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Verified | Self::Signed => "",
            Self::Unchecked(why) | Self::Failed(why) => why,
        }
    }
}

/// What there is of the checkpoint behind an answer.
#[derive(Debug, Clone)]
pub enum Checkpoint {
    /// Its bytes.
    Open(Bytes),
    /// It is not published.
    Closed,
    /// It is said to be published but could not be had, and why.
    Missing(String),
}

/// A verdict and what it rests on.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What was found.
    pub verdict: Verdict,
    /// What the checkpoint computes, when that is what the answer failed by.
    pub recomputed: Option<Tensor>,
}

impl Judged {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, recomputed: None }
    }
}

/// Judges the answer that `peer` gave.
pub fn judge(
    peer: PeerId,
    request: &ForwardRequest,
    response: &ForwardResponse,
    checkpoint: &Checkpoint,
    recompute: &dyn Recompute,
) -> Judged {
    let failed = |why: String| Judged::of(Verdict::Failed(why));
    let Some(receipt) = &response.receipt else { return failed("it answered without a receipt".to_owned()) };
    if receipt.peer != peer {
        return failed(format!("its receipt is signed by {}, another peer", receipt.peer));
    }
    if let Err(error) = receipt.verify().and_then(|()| receipt.covers(request, response)) {
        return failed(format!("its receipt does not hold: {error}"));
    }
    let bytes = match checkpoint {
        Checkpoint::Open(bytes) => bytes,
        Checkpoint::Closed => return Judged::of(Verdict::Signed),
        Checkpoint::Missing(why) => return Judged::of(Verdict::Unchecked(why.clone())),
    };
    let ([input], [answered]) = (request.tensors.as_slice(), response.tensors.as_slice()) else {
        return Judged::of(Verdict::Unchecked(
            "only answers of one tensor to one tensor are computed again".to_owned(),
        ));
    };
    match recompute.recompute(&request.subnet, bytes, request.checkpoint, input) {
        Err(why) => Judged::of(Verdict::Unchecked(format!("its checkpoint could not be computed: {why}"))),
        Ok(recomputed) => match compare(answered, &recomputed) {
            Comparison::Same => Judged::of(Verdict::Verified),
            Comparison::Unclear(why) => Judged::of(Verdict::Unchecked(why)),
            Comparison::Differs(why) => Judged {
                verdict: Verdict::Failed(format!("it signed another answer than its checkpoint computes: {why}")),
                recomputed: Some(recomputed),
            },
        },
    }
}
