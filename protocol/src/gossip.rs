//! What peers tell everybody: that they live, how loaded they are, that they leave.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::{PeerId, SubnetName};
use crate::limits::{MAX_GOSSIP, MAX_SUBNETS};

/// Load of an expert peer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Requests waiting.
    pub queued: u32,
    /// Requests answered since start.
    pub served: u64,
    /// Requests refused since start.
    pub refused: u64,
    /// Mean time in queue and model of recent requests, microseconds.
    pub mean_us: u32,
}

/// Whether the sender stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// Serving.
    Here(Load),
    /// Draining: send nothing new.
    Leaving,
}

/// A heartbeat. Gossipsub signs it; `peer` must be the signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender.
    pub peer: PeerId,
    /// Subnets it serves experts in, at most 16.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_SUBNETS>")]
    pub subnets: Vec<SubnetName>,
    /// Grows with each heartbeat of one run; starts from the clock so that it also grows over restarts.
    pub sequence: u64,
    /// Whether it stays.
    pub presence: Presence,
}

impl Heartbeat {
    fn validate(&self) -> Result<(), DecodeError> {
        if self.subnets.len() > MAX_SUBNETS {
            let why = format!("{} subnets, at most {MAX_SUBNETS} are allowed", self.subnets.len());
            return Err(DecodeError::malformed("heartbeat", why));
        }
        Ok(())
    }

    /// Bytes of this heartbeat; refuses what [`Self::from_bytes`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        self.validate()?;
        codec::encode("heartbeat", self, MAX_GOSSIP)
    }

    /// Reads and checks a heartbeat.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let beat: Self = codec::decode("heartbeat", bytes, MAX_GOSSIP)?;
        beat.validate()?;
        Ok(beat)
    }
}
