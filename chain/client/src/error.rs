//! What can go wrong, one type per operation: connecting, reading, submitting.

use std::time::Duration;

use subxt::rpcs;

/// Why no connection to a chain could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is no `ws://` or `wss://` address.
    #[error("`{url}` is not a chain address (ws://host:port or wss://host:port): {reason}")]
    Address {
        /// The address given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing listens there.
    #[error("no chain listens at {url} ({reason}); start one there, or give the address of a running one")]
    NothingListens {
        /// The address tried.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// Something listens, but no answer came in time.
    #[error("the chain at {url} did not answer within {after:?}")]
    Deadline {
        /// The address tried.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// Something answers, but not as a chain does.
    #[error("what answers at {url} is not a chain this program understands: {reason}")]
    NotAChain {
        /// The address tried.
        url: String,
        /// What was not understood.
        reason: String,
    },
    /// After a reconnect another chain answered at the same address.
    #[error(
        "the chain at {url} is another one than before (genesis {found}, was {expected}); connect anew if that is meant"
    )]
    AnotherChain {
        /// The address.
        url: String,
        /// Genesis hash at first.
        expected: String,
        /// Genesis hash now.
        found: String,
    },
}

impl ConnectError {
    pub(crate) fn from_dial(url: &str, error: &rpcs::Error) -> Self {
        let reason = root_cause(error);
        Self::NothingListens { url: url.to_owned(), reason }
    }

    pub(crate) fn not_a_chain(url: &str, error: &rpcs::Error) -> Self {
        Self::NotAChain { url: url.to_owned(), reason: root_cause(error) }
    }

    /// Whether trying again later can help.
    pub(crate) const fn is_transient(&self) -> bool {
        // A node that restarts may answer the dial and then go away, which reads as "not a chain".
        matches!(self, Self::NothingListens { .. } | Self::Deadline { .. } | Self::NotAChain { .. })
    }
}

/// Why a read from the chain failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The connection broke.
    #[error("the connection to the chain at {url} broke: {reason}")]
    Broken {
        /// The chain's address.
        url: String,
        /// What the transport said.
        reason: String,
    },
    /// The connection could not be made again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer in time.
    #[error("the chain at {url} did not answer within {after:?}")]
    Deadline {
        /// The chain's address.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// The node refused the request.
    #[error("the node refused the request: {message} (code {code}){}", .detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Refused {
        /// JSON-RPC error code.
        code: i32,
        /// JSON-RPC error message.
        message: String,
        /// The error's `data`, when it is text.
        detail: Option<String>,
    },
    /// The runtime has no such storage item.
    #[error("this chain has no storage item {pallet}.{item}; is it a Bittensor-like chain?")]
    NoSuchItem {
        /// Pallet.
        pallet: String,
        /// Storage item.
        item: String,
    },
    /// An answer could not be understood.
    #[error("{what} could not be read: {reason}")]
    Undecodable {
        /// What was read.
        what: String,
        /// Why it could not be understood.
        reason: String,
    },
    /// A block is not known (or its state no longer kept) at this node.
    #[error("the node does not know block {0}")]
    NoSuchBlock(String),
}

impl ReadError {
    pub(crate) fn from_rpc(url: &str, error: rpcs::Error) -> Self {
        match error {
            rpcs::Error::User(error) => Self::Refused {
                code: error.code,
                message: error.message,
                detail: error.data.and_then(|data| serde_json_text(data.get())),
            },
            rpcs::Error::Deserialization(error) | rpcs::Error::Serialization(error) => {
                Self::Undecodable { what: "the node's answer".to_owned(), reason: error.to_string() }
            }
            rpcs::Error::Decode(error) => {
                Self::Undecodable { what: "the node's answer".to_owned(), reason: error.to_string() }
            }
            other => Self::Broken { url: url.to_owned(), reason: root_cause(&other) },
        }
    }

    pub(crate) fn undecodable(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Undecodable { what: what.into(), reason: reason.to_string() }
    }

    /// Whether a new connection can help.
    pub(crate) const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }
}

/// Why a transaction did not take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The call was included and failed in a pallet; the names come from the chain's metadata.
    #[error("{pallet}::{error}{}", docs_suffix(.docs))]
    Module {
        /// Pallet, such as `SubtensorModule`.
        pallet: String,
        /// Error variant, such as `SettingWeightsTooFast`.
        error: String,
        /// The error's documentation on chain (may be empty).
        docs: String,
    },
    /// The call was included and failed outside any pallet's own errors.
    #[error("the call failed: {0}")]
    Dispatch(String),
    /// The pool refused the transaction; it never took effect.
    #[error("the chain refused the transaction: {reason}")]
    Refused {
        /// JSON-RPC error code (1010 is "invalid transaction").
        code: i32,
        /// The reason, with the Subtensor name where the code is `Custom`.
        reason: String,
        /// The number of `InvalidTransaction::Custom`, if that was it.
        custom: Option<u8>,
    },
    /// The call does not exist on this chain or its arguments do not fit.
    #[error("the call {pallet}.{call} cannot be made on this chain: {reason}")]
    BadCall {
        /// Pallet.
        pallet: String,
        /// Call.
        call: String,
        /// What does not fit.
        reason: String,
    },
    /// Not finalized in time.
    #[error("the transaction was not finalized within {after:?} ({state}){}", open_suffix(*.open_until))]
    Deadline {
        /// How long was waited.
        after: Duration,
        /// The last thing known about it.
        state: String,
        /// `None` when it can not take effect any more; else the last block it may still be in, because the chain could
        /// not be asked until then.
        open_until: Option<u64>,
    },
    /// Other transactions of the same account kept taking the nonce.
    #[error("gave up after {0} attempts: other transactions of this account took the nonce each time")]
    NonceContention(u32),
    /// The chain could not be read while submitting.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl SubmitError {
    /// Whether this is the named pallet error, such as `("SubtensorModule", "SettingWeightsTooFast")`.
    #[must_use]
    pub fn is(&self, pallet: &str, error: &str) -> bool {
        matches!(self, Self::Module { pallet: p, error: e, .. } if p == pallet && e == error)
    }
}

fn open_suffix(block: Option<u64>) -> String {
    block.map_or_else(String::new, |block| format!("; it may still take effect up to block {block}"))
}

fn docs_suffix(docs: &str) -> String {
    if docs.is_empty() { String::new() } else { format!(": {docs}") }
}

/// A JSON text's content when it is a string, else the JSON itself (shortened).
fn serde_json_text(json: &str) -> Option<String> {
    let text = json.trim();
    if text == "null" {
        return None;
    }
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    Some(inner.chars().take(512).collect())
}

/// The innermost cause, which says "connection refused" rather than "client error".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    let mut boxed_source;
    loop {
        boxed_source = cause.source();
        match boxed_source {
            Some(next) => cause = next,
            None => return cause.to_string(),
        }
    }
}
