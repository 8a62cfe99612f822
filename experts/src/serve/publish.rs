//! Hands out the files of the checkpoints that are served, beside answering.
//!
//! The bytes are those that were loaded, kept in memory: a piece is a slice of them, so that strangers cause no reading
//! of files, and a file that is replaced while it is served changes nothing. That costs at most
//! [`MAX_CHECKPOINT_BYTES`](crate::checkpoint::MAX_CHECKPOINT_BYTES) per expert.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use glia_peer::ForwardHandler;
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Refusal, SubnetName};

use crate::checkpoint::LoadedCheckpoint;

/// A handler that also knows the files.
pub(super) struct Publisher {
    inner: Arc<dyn ForwardHandler>,
    subnet: SubnetName,
    files: Vec<(ContentHash, Bytes)>,
}

impl Publisher {
    pub(super) fn new(inner: Arc<dyn ForwardHandler>, subnet: SubnetName, of: &[LoadedCheckpoint]) -> Self {
        Self { inner, subnet, files: of.iter().map(|c| (c.hash, c.file.clone())).collect() }
    }
}

impl ForwardHandler for Publisher {
    fn forward(
        &self,
        caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        self.inner.forward(caller, request)
    }

    fn checkpoint(&self, _caller: PeerId, subnet: &SubnetName, checkpoint: ContentHash) -> Option<Bytes> {
        let (_, file) = self.files.iter().find(|(hash, _)| *hash == checkpoint && *subnet == self.subnet)?;
        Some(file.clone())
    }
}
