//! The seam to the network: what a router asks of peers, so that tests can put slow, failing and lying experts there.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::{ContentHash, ExpertDescriptor, ForwardRequest, ForwardResponse, PeerId, Refusal, SubnetName};
use tokio::sync::broadcast;

/// Why a call of an expert brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The expert said why it does not answer.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It answered something that is no answer.
    #[error("broken answer: {0}")]
    Protocol(String),
    /// The connection closed under the call.
    #[error("connection closed: {0}")]
    Closed(String),
}

/// Why a question to the DHT or a peer brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(pub String);

/// What the router needs of the network.
pub trait Transport: Send + Sync + 'static {
    /// Peers that provide `region` and `shard` of `subnet` in the DHT.
    fn find_providers<'a>(
        &'a self,
        subnet: &'a SubnetName,
        region: u8,
        shard: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>>;

    /// Verified descriptors of the experts that `peer` serves in `subnet`.
    fn describe<'a>(
        &'a self,
        peer: PeerId,
        subnet: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>>;

    /// One forward pass; dropping the future cancels it.
    fn forward<'a>(
        &'a self,
        peer: PeerId,
        addresses: &'a [SocketAddr],
        request: ForwardRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>>;

    /// Heartbeats from now on.
    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat>;

    /// The file of a published checkpoint from a peer that serves it, of at most `max_bytes`. The hash of what comes is
    /// checked by whoever asks.
    fn fetch_checkpoint<'a>(
        &'a self,
        _peer: PeerId,
        _addresses: &'a [SocketAddr],
        _subnet: &'a SubnetName,
        _checkpoint: ContentHash,
        _max_bytes: u64,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Bytes, LookupError>> {
        Box::pin(async { Err(LookupError("this network hands out no checkpoints".to_owned())) })
    }
}

impl Transport for glia_peer::Network {
    fn find_providers<'a>(
        &'a self,
        subnet: &'a SubnetName,
        region: u8,
        shard: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>> {
        Box::pin(async move {
            Self::find_providers(self, subnet, region, shard).await.map_err(|e| LookupError(e.to_string()))
        })
    }

    fn describe<'a>(
        &'a self,
        peer: PeerId,
        subnet: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>> {
        Box::pin(async move { Self::describe(self, peer, subnet).await.map_err(|e| LookupError(e.to_string())) })
    }

    fn forward<'a>(
        &'a self,
        peer: PeerId,
        addresses: &'a [SocketAddr],
        request: ForwardRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>> {
        use glia_peer::ForwardError;
        Box::pin(async move {
            Self::forward(self, peer, addresses, request, deadline).await.map_err(|error| match error {
                ForwardError::Refused(refusal) => CallError::Refused(refusal),
                ForwardError::Timeout => CallError::Timeout,
                ForwardError::Connect(why) => CallError::Connect(why),
                ForwardError::Protocol(why) => CallError::Protocol(why),
                ForwardError::Closed(why) => CallError::Closed(why),
            })
        })
    }

    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        Self::heartbeats(self)
    }

    fn fetch_checkpoint<'a>(
        &'a self,
        peer: PeerId,
        addresses: &'a [SocketAddr],
        subnet: &'a SubnetName,
        checkpoint: ContentHash,
        max_bytes: u64,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Bytes, LookupError>> {
        Box::pin(async move {
            let fetched = Self::fetch_checkpoint(self, peer, addresses, subnet, checkpoint, max_bytes, deadline).await;
            fetched.map_err(|error| LookupError(error.to_string()))
        })
    }
}
