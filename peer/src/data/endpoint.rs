//! The tensor endpoint: one UDP socket for both directions.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, SubnetName};
use quinn::{Endpoint, TokioRuntime};

use super::client::{self, Link};
use super::fetch::{self, Wanted};
use super::pool::Pool;
use super::server::{ForwardHandler, Server};
use super::{codes, tls};
use crate::config::{Limits, Timing};
use crate::errors::{FetchError, ForwardError};
use crate::identity::Identity;
use crate::reputation::Reputation;
use crate::shutdown::Shutdown;

/// Longest goodbye to connected peers.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the data plane is made of.
pub(crate) struct DataSetup {
    pub(crate) identity: Identity,
    pub(crate) listen: SocketAddr,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) reputation: Arc<Mutex<Reputation>>,
}

/// Serves and calls forward passes.
pub(crate) struct DataPlane {
    endpoint: Endpoint,
    local: SocketAddr,
    pool: Pool,
    server: Arc<Server>,
    silence: Duration,
}

impl DataPlane {
    /// Opens the socket and begins to accept; without a handler every request is refused.
    pub(crate) fn start(setup: DataSetup, shutdown: &Shutdown) -> io::Result<Self> {
        let DataSetup { identity, listen, timing, limits, reputation } = setup;
        let server_config =
            tls::server(&identity, tls::transport(limits.streams_per_connection)).map_err(io::Error::other)?;
        let socket = UdpSocket::bind(listen)?;
        let endpoint = Endpoint::new(tls::endpoint(&identity), Some(server_config), socket, Arc::new(TokioRuntime))?;
        let local = endpoint.local_addr()?;
        let pool = Pool::new(endpoint.clone(), identity.clone(), timing.dial, shutdown.clone());
        let silence = timing.silence;
        let server = Server::new(identity, timing, limits, reputation, shutdown.clone());
        shutdown.spawn("tensor accept", server.clone().accept(endpoint.clone()));
        Ok(Self { endpoint, local, pool, server, silence })
    }

    /// The bound address.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Sets who answers requests.
    pub(crate) fn serve(&self, handler: Arc<dyn ForwardHandler>) {
        *self.server.handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// Asks `peer` for one forward pass; see [`crate::Network::forward`].
    pub(crate) async fn call(
        &self,
        peer: PeerId,
        addresses: &[SocketAddr],
        request: ForwardRequest,
        deadline: Duration,
    ) -> Result<ForwardResponse, ForwardError> {
        client::call(self.link(peer, addresses), request, deadline).await
    }

    /// Fetches the file of a published checkpoint; see [`crate::Network::fetch_checkpoint`].
    pub(crate) async fn fetch(
        &self,
        peer: PeerId,
        addresses: &[SocketAddr],
        subnet: &SubnetName,
        checkpoint: ContentHash,
        max_bytes: u64,
        deadline: Duration,
    ) -> Result<Bytes, FetchError> {
        fetch::fetch(self.link(peer, addresses), Wanted { subnet, checkpoint, max_bytes }, deadline).await
    }

    fn link<'a>(&'a self, peer: PeerId, addresses: &'a [SocketAddr]) -> Link<'a> {
        Link { pool: &self.pool, peer, addresses, silence: self.silence }
    }

    /// Refuses new requests and lets running ones finish until `deadline`.
    pub(crate) async fn drain(&self, deadline: Duration) {
        self.server.draining.store(true, Ordering::Relaxed);
        // Past the deadline the rest is reset by the stop token.
        let _ = tokio::time::timeout(deadline, self.server.idle()).await;
    }

    /// Closes all connections with a code and tells the peers.
    pub(crate) async fn close(&self) {
        self.endpoint.close(codes::SHUTDOWN, b"stopping");
        self.server.handler.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }
}
