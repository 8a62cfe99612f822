//! Why an operation of [`crate::Network`] failed: one enum per operation.

use std::net::SocketAddr;

use glia_protocol::codec::EncodeError;
use glia_protocol::descriptor::DescriptorError;
use glia_protocol::{ContentHash, PeerId, Refusal};

/// Why a network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A control-plane address cannot be listened on.
    #[error("cannot listen on {address} for the control plane: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
    /// The tensor endpoint cannot be opened.
    #[error("cannot listen on {address} (UDP) for tensors: {source}")]
    Data {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A bootstrap address is not a multiaddr with a peer id.
    #[error("bootstrap address {0:?} is not a multiaddr that ends in /p2p/<peer id>")]
    Bootstrap(String),
    /// A transport or behaviour refused its configuration.
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

/// Why a DHT lookup failed. Finding nobody is not a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No answer within the deadline.
    #[error("the lookup did not end in time")]
    Timeout,
    /// This network is stopped.
    #[error("the network is stopped")]
    Stopped,
}

/// Why a question to a peer got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody knows where it is, or no address answers.
    #[error("{peer} cannot be reached: {why}")]
    Unreachable {
        /// The peer.
        peer: PeerId,
        /// What failed.
        why: String,
    },
    /// No answer within the deadline.
    #[error("{0} did not answer in time")]
    Timeout(PeerId),
    /// It belongs to another network or speaks another version.
    #[error("{0} belongs to another network")]
    Foreign(PeerId),
    /// It misbehaved and is shut out for a while.
    #[error("{0} is banned for misbehaviour")]
    Banned(PeerId),
    /// It refuses to answer.
    #[error("{peer} refuses: {why}")]
    Refused {
        /// The peer.
        peer: PeerId,
        /// Its words.
        why: String,
    },
    /// It gave an answer to another question.
    #[error("{0} answers another question")]
    WrongAnswer(PeerId),
    /// Too many questions wait already.
    #[error("too many questions wait for an answer")]
    Busy,
    /// This network is stopped.
    #[error("the network is stopped")]
    Stopped,
}

/// Why a peer's descriptors are not there or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// It did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What it answered is not believed.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
}

/// Why a peer did not prove that it holds its hotkey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PossessionError {
    /// It did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Its signature does not hold.
    #[error("{0} does not hold the hotkey it names")]
    BadSignature(PeerId),
    /// The system has no randomness for a nonce.
    #[error("no randomness for a nonce: {0}")]
    Randomness(String),
}

/// Why experts are not advertised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// Descriptors name a hotkey, and none was configured.
    #[error("experts cannot be advertised without a hotkey")]
    NoHotkey,
    /// More experts than one answer carries.
    #[error("{0} experts in one subnet, at most {max} are allowed", max = glia_protocol::limits::MAX_DESCRIPTORS)]
    TooMany(usize),
    /// A descriptor does not fit on the wire.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Other peers would not believe a descriptor.
    #[error("others would refuse this offer: {0}")]
    Refused(#[from] DescriptorError),
    /// The DHT store takes no more keys.
    #[error("the DHT store refuses: {0}")]
    Store(String),
    /// This network is stopped.
    #[error("the network is stopped")]
    Stopped,
}

/// Why a forward pass gave no tensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No connection: nobody at the addresses, or somebody else.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No answer within the deadline.
    #[error("no answer within the deadline")]
    Timeout,
    /// The expert says no.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The answer breaks the protocol, or the request cannot be encoded.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The connection ended before the answer.
    #[error("connection lost: {0}")]
    Closed(String),
}

/// Why a checkpoint was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No connection: nobody at the addresses, or somebody else.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Not all of it came within the deadline.
    #[error("the checkpoint did not come within the deadline")]
    Timeout,
    /// The peer says no: it does not serve or not publish it, or it was busy until the deadline.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// It is larger than the caller wants.
    #[error("the checkpoint has {got} bytes, at most {max} are wanted")]
    TooLarge {
        /// Bytes announced.
        got: u64,
        /// The caller's limit.
        max: u64,
    },
    /// What came has another hash: the peer hands out something else than it says.
    #[error("the file has hash {got}, not {want}")]
    WrongContent {
        /// The hash asked for.
        want: ContentHash,
        /// The hash of what came.
        got: ContentHash,
    },
    /// An answer breaks the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The connection ended before the answer.
    #[error("connection lost: {0}")]
    Closed(String),
}

impl From<ForwardError> for FetchError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Connect(why) => Self::Connect(why),
            ForwardError::Timeout => Self::Timeout,
            ForwardError::Refused(refusal) => Self::Refused(refusal),
            ForwardError::Protocol(why) => Self::Protocol(why),
            ForwardError::Closed(why) => Self::Closed(why),
        }
    }
}
