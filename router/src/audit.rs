//! Audits: a sampled share of answers is checked against the receipt that the expert signed and, where its checkpoint is
//! published, computed again; who answered something else than its checkpoint says is out, with proof.
//!
//! ```text
//! answer ─▶ tap (sampled?) ─▶ bounded queue ─▶ worker: receipt ─▶ checkpoint (fetched by hash) ─▶ recompute ─▶ compare
//!                                │ full: dropped, counted                                                    │
//!                                                  evidence file ◀── failed ── book (credibility, condemned) ◀─┘
//! ```
//!
//! **How often.** Each expert's first 10 answers, then a share of 1/n of them after n good audits in a row, never under
//! 2 %; one failure begins anew (BOINC's adaptive replication). The share is drawn from the system's randomness after the
//! request has been written, so that nobody can behave for audits only. Answers to users, to labelled items and to
//! nobody in particular are drawn alike; those to probes are not audited, for whoever recognises a probe would earn
//! trust with it.
//!
//! **What an audit finds.** *Verified*: the receipt holds and the checkpoint computes the same answer. *Signed*: the
//! receipt holds, but the expert publishes nothing. *Unchecked*: it says that it publishes, but the checkpoint could not
//! be had or computed. *Failed*: no receipt, a receipt that does not hold, or another answer than the checkpoint's.
//!
//! **Credibility** is an average per hotkey that begins at 0 and moves by 15 % per audit towards 1 for *verified* and
//! towards [`record::CLOSED`] for *signed* and *unchecked*: whoever cannot be re-executed stays at a lower tier. It
//! multiplies usefulness as credibility^2.5 when weights are made. Ten good audits give 0.80.
//!
//! **A failure** sets it to 0 and condemns the hotkey: none of its experts is called, whatever peer or checkpoint it
//! shows up with, for [`crate::config::Policy::audit_penalty`], doubled with every further failure up to a week. After that its first
//! 10 answers are audited again. A failed re-execution leaves an [`evidence`] bundle that anybody can check.
//!
//! **Equal** means equal to the bit, or per item a relative L2 distance of at most [`compare::TOLERANCE`], because sums
//! of floats depend on the size of a batch and on the backend. See [`compare`] for what that says of the first class.
//!
//! **Limits.** Answers of more than 4 MiB with their input, and those that find the queue full, are not audited. A missing
//! or false receipt is a failure for this router alone: nothing is signed, so nothing can be proven to others. A receipt
//! proves what its peer signed, no more: a router cannot invent one, and it cannot prove that a peer stayed silent.
//!
//! Modules in flow order: [`tap`], [`worker`], [`cache`], [`compare`], [`judge`], [`record`], [`mod@book`], [`evidence`].

pub mod book;
pub mod cache;
pub mod compare;
pub mod evidence;
pub mod judge;
pub mod record;
pub mod tap;
pub mod text;
pub mod worker;

use glia_protocol::{ContentHash, SubnetName, Tensor};

pub use book::{AuditBook, AuditError};
pub use evidence::{Bundle, NoProof, Proof};
pub use judge::Verdict;

/// Computes what a checkpoint answers. The router knows no models; whoever starts it brings this.
pub trait Recompute: Send + Sync {
    /// The answer of `checkpoint`, whose hash is checked against `expected`, to `input` in `subnet`. Blocks.
    ///
    /// # Errors
    /// A sentence, when the bytes are no checkpoint of that hash or subnet, or the input does not fit.
    fn recompute(
        &self,
        subnet: &SubnetName,
        checkpoint: &[u8],
        expected: ContentHash,
        input: &Tensor,
    ) -> Result<Tensor, String>;
}
