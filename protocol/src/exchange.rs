//! Control-plane questions and answers (libp2p request-response).

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, DecodeError, EncodeError};
use crate::descriptor::SignedDescriptor;
use crate::ids::{Hotkey, NetworkId, PeerId, SubnetName};
use crate::limits::{MAX_CONTROL_MESSAGE, MAX_CONTROL_REQUEST, MAX_DESCRIPTORS, MAX_TEXT, MAX_VERSIONS};
use crate::signature::Signature;

/// Who speaks, and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Network; peers of another one are refused.
    pub network: NetworkId,
    /// Control-plane versions it speaks, newest first; 1 to 16 of them.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_VERSIONS>")]
    pub versions: Vec<u16>,
    /// Software and version, for people; at most 128 bytes.
    #[serde(deserialize_with = "bounded::text")]
    pub agent: String,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// First message between two peers.
    Hello(Hello),
    /// Which experts do you serve in this subnet?
    DescribeExperts {
        /// The subnet.
        subnet: SubnetName,
    },
    /// Sign this nonce with your hotkey, now.
    ProvePossession {
        /// Random bytes of the asker.
        nonce: [u8; 32],
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlResponse {
    /// To `Hello`.
    Hello(Hello),
    /// To `DescribeExperts`: fresh descriptors, possibly none.
    Experts(#[serde(deserialize_with = "bounded::vec::<_, _, MAX_DESCRIPTORS>")] Vec<SignedDescriptor>),
    /// To `ProvePossession`.
    Possession {
        /// The hotkey.
        hotkey: Hotkey,
        /// Its signature over [`possession_message`].
        signature: Signature,
    },
    /// The question is not answered, and why; a reason of more than 128 bytes is cut when it is written.
    Refused(#[serde(serialize_with = "bounded::write_reason", deserialize_with = "bounded::text")] String),
}

/// What a hotkey signs to prove that its holder is online as this peer.
pub fn possession_message(network: &NetworkId, peer: &PeerId, nonce: &[u8; 32]) -> Vec<u8> {
    let name = network.as_str().as_bytes();
    [&b"glia-possession-v1"[..], &[name.len() as u8], name, &peer.0, nonce].concat()
}

impl Hello {
    /// The newest version that both speak.
    pub fn common_version(&self, other: &Self) -> Option<u16> {
        self.versions.iter().copied().filter(|version| other.versions.contains(version)).max()
    }

    fn validate(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::malformed("hello", why));
        if !(1..=MAX_VERSIONS).contains(&self.versions.len()) {
            return refuse(format!("{} versions, 1 to {MAX_VERSIONS} are allowed", self.versions.len()));
        }
        if !bounded::is_text(&self.agent) {
            return refuse(format!("its agent is longer than {MAX_TEXT} bytes or has control characters"));
        }
        Ok(())
    }
}

impl ControlRequest {
    fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Self::Hello(hello) => hello.validate(),
            Self::DescribeExperts { .. } | Self::ProvePossession { .. } => Ok(()),
        }
    }

    /// Bytes of this question; refuses what [`Self::from_bytes`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        self.validate()?;
        codec::encode("control request", self, MAX_CONTROL_REQUEST)
    }

    /// Reads and checks a question.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request: Self = codec::decode("control request", bytes, MAX_CONTROL_REQUEST)?;
        request.validate()?;
        Ok(request)
    }
}

impl ControlResponse {
    fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Self::Hello(hello) => hello.validate(),
            Self::Experts(experts) if experts.len() > MAX_DESCRIPTORS => {
                let why = format!("{} descriptors, at most {MAX_DESCRIPTORS} are allowed", experts.len());
                Err(DecodeError::malformed("control response", why))
            }
            Self::Experts(_) | Self::Possession { .. } | Self::Refused(_) => Ok(()),
        }
    }

    /// Bytes of this answer; refuses what [`Self::from_bytes`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        self.validate()?;
        codec::encode("control response", self, MAX_CONTROL_MESSAGE)
    }

    /// Reads and checks an answer. Descriptors in it are not verified yet: see [`SignedDescriptor::accept`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response: Self = codec::decode("control response", bytes, MAX_CONTROL_MESSAGE)?;
        response.validate()?;
        Ok(response)
    }
}
