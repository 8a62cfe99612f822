//! Control-plane questions and answers (libp2p request-response).

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, EncodeError};
use crate::descriptor::SignedDescriptor;
use crate::ids::{Hotkey, NetworkId, SubnetName};
use crate::limits::{MAX_CONTROL_MESSAGE, MAX_DESCRIPTORS, MAX_TEXT};
use crate::signature::Signature;

/// Who speaks, and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Network; peers of another one are refused.
    pub network: NetworkId,
    /// Control-plane versions it speaks, newest first.
    pub versions: Vec<u16>,
    /// Software and version, for people.
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
    Experts(Vec<SignedDescriptor>),
    /// To `ProvePossession`.
    Possession {
        /// The hotkey.
        hotkey: Hotkey,
        /// Its signature over [`possession_message`].
        signature: Signature,
    },
    /// The question is not answered, and why.
    Refused(String),
}

/// What a hotkey signs to prove that its holder is online as this peer.
pub fn possession_message(network: &NetworkId, peer: &crate::PeerId, nonce: &[u8; 32]) -> Vec<u8> {
    let name = network.as_str().as_bytes();
    [&b"glia-possession-v1"[..], &[name.len() as u8], name, &peer.0, nonce].concat()
}

fn check_hello(hello: &Hello) -> Result<(), DecodeError> {
    if hello.versions.len() > 16 || hello.agent.len() > MAX_TEXT {
        return Err(DecodeError::malformed("hello", "too many versions or too long an agent"));
    }
    Ok(())
}

impl ControlRequest {
    /// Bytes of this question.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode("control request", self, MAX_CONTROL_MESSAGE)
    }

    /// Reads and checks a question.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request: Self = codec::decode("control request", bytes, MAX_CONTROL_MESSAGE)?;
        if let Self::Hello(hello) = &request {
            check_hello(hello)?;
        }
        Ok(request)
    }
}

impl ControlResponse {
    /// Bytes of this answer.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode("control response", self, MAX_CONTROL_MESSAGE)
    }

    /// Reads and checks an answer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response: Self = codec::decode("control response", bytes, MAX_CONTROL_MESSAGE)?;
        match &response {
            Self::Hello(hello) => check_hello(hello)?,
            Self::Experts(experts) if experts.len() > MAX_DESCRIPTORS => {
                return Err(DecodeError::malformed("control response", format!("{} descriptors", experts.len())));
            }
            Self::Refused(why) if why.len() > MAX_TEXT => {
                return Err(DecodeError::malformed("control response", "too long a refusal"));
            }
            _ => {}
        }
        Ok(response)
    }
}
