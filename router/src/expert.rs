//! How the parts of a router name one expert.

use std::fmt;
use std::sync::Arc;

use glia_protocol::{ContentHash, ExpertDescriptor, Hotkey, PeerId};
use serde::Serialize;

/// One checkpoint served by one peer. A new checkpoint is a new expert: nothing measured of the old one holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ExpertKey {
    /// Who serves it.
    pub peer: PeerId,
    /// What it serves.
    pub checkpoint: ContentHash,
}

impl fmt::Display for ExpertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:.8}", self.peer.short(), self.checkpoint.to_string())
    }
}

/// Where an expert is in its life with us, as far as its own messages tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It gave a sign of life lately.
    Here,
    /// It gave none for too long, or its descriptor ran out.
    Silent,
    /// It said that it leaves.
    Leaving,
}

/// An expert of the directory at one moment.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name among the parts of the router.
    pub key: ExpertKey,
    /// Its verified descriptor.
    pub descriptor: Arc<ExpertDescriptor>,
    /// Number of its hotkey on chain.
    pub uid: Option<u16>,
    /// Whether it is there.
    pub presence: Presence,
    /// Whether requests may go to it (bans are not looked at here).
    pub candidate: bool,
}

impl Listed {
    /// Who is paid for it.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        self.descriptor.hotkey
    }

    /// Whether requests may go to it and the chain knows whom to pay.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.candidate && self.uid.is_some()
    }
}
