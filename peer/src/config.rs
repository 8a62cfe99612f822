//! What a network needs to start, with defaults that fit a small machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use glia_protocol::signature::Signature;
use glia_protocol::{Hotkey, NetworkId};

use crate::identity::Identity;

/// Signs a message.
pub type Sign = Arc<dyn Fn(&[u8]) -> Signature + Send + Sync>;

/// Signs with an sr25519 hotkey that lives elsewhere. Clones share the key.
#[derive(Clone)]
pub struct HotkeySigner {
    /// The public key.
    pub hotkey: Hotkey,
    /// sr25519 in Substrate's signing context over the given message.
    pub sign: Sign,
}

impl fmt::Debug for HotkeySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HotkeySigner({})", self.hotkey)
    }
}

/// Periods and deadlines.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between two heartbeats of an expert (2 s).
    pub heartbeat: Duration,
    /// Life of a descriptor; it is renewed at a third (120 s; at most 5 minutes).
    pub descriptor_ttl: Duration,
    /// Life of a provider record in the DHT; it is renewed at a third (6 minutes).
    pub provider_ttl: Duration,
    /// Longest a DHT query or a question to a peer may take (5 s).
    pub query: Duration,
    /// Longest a tensor connection may take to open (4 s).
    pub dial: Duration,
    /// A peer that does not acknowledge a tensor request for this long is dead (3 s).
    pub silence: Duration,
    /// Longest a caller may take to send its whole request (15 s).
    pub request_read: Duration,
    /// How long running requests may finish while stopping (5 s).
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            descriptor_ttl: Duration::from_secs(120),
            provider_ttl: Duration::from_secs(6 * 60),
            query: Duration::from_secs(5),
            dial: Duration::from_secs(4),
            silence: Duration::from_secs(3),
            request_read: Duration::from_secs(15),
            drain: Duration::from_secs(5),
        }
    }
}

/// What strangers may take from this peer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Control-plane connections, both directions together.
    pub control_connections: u32,
    /// Tensor connections it accepts; of a full table the one that is idle longest gives way.
    pub data_connections: usize,
    /// Tensor connections it accepts of one peer.
    pub data_connections_per_peer: usize,
    /// Requests at once on one tensor connection.
    pub streams_per_connection: u32,
    /// Requests at once over all tensor connections; one peer gets an eighth of them, at least one.
    pub requests: usize,
    /// Payload bytes of requests that are being read or answered, over all connections; one peer gets an eighth of
    /// them, or [`Self::request_payload`] if that is more.
    pub payload_bytes: usize,
    /// Pieces of published checkpoints on their way at once, at most 1 MiB each; one peer gets an eighth of them, at
    /// least one. They take nothing of the room for requests.
    pub checkpoint_chunks: usize,
    /// Payload bytes of one request (8 MiB); more is refused as too large. The protocol's own bound
    /// (`MAX_FRAME_PAYLOAD`) holds in any case.
    pub request_payload: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            control_connections: 512,
            data_connections: 256,
            data_connections_per_peer: 4,
            streams_per_connection: 128,
            requests: 1024,
            payload_bytes: 512 * 1024 * 1024,
            checkpoint_chunks: 16,
            request_payload: 8 * 1024 * 1024,
        }
    }
}

/// Everything [`crate::Network::start`] needs.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Network to join; peers of another one are refused.
    pub network: NetworkId,
    /// Who this peer is.
    pub identity: Identity,
    /// Addresses of the control plane: QUIC (UDP) and TCP on each; port 0 lets the system choose.
    pub control_listen: Vec<SocketAddr>,
    /// UDP address of the tensor endpoint; not one of `control_listen` unless its port is 0.
    pub data_listen: SocketAddr,
    /// Addresses under which the world reaches this peer although it does not see them itself (port forwarding).
    pub announce: Vec<IpAddr>,
    /// Multiaddrs of peers to begin with, each ending in `/p2p/<peer id>`.
    pub bootstrap: Vec<String>,
    /// Software and version, for people.
    pub agent: String,
    /// Needed to advertise experts.
    pub hotkey: Option<HotkeySigner>,
    /// Periods and deadlines.
    pub timing: Timing,
    /// What strangers may take.
    pub limits: Limits,
}

impl NetworkConfig {
    /// A configuration that listens on the loopback interface, on ports that the system chooses.
    pub fn new(network: NetworkId, identity: Identity) -> Self {
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        Self {
            network,
            identity,
            control_listen: vec![loopback],
            data_listen: loopback,
            announce: Vec::new(),
            bootstrap: Vec::new(),
            agent: concat!("glia/", env!("CARGO_PKG_VERSION")).to_owned(),
            hotkey: None,
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }

    /// Listens on `address` with the control plane, and with the tensor endpoint on the same interface one port
    /// higher (port 0: the system chooses both).
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.control_listen = vec![address];
        self.data_listen =
            SocketAddr::new(address.ip(), if address.port() == 0 { 0 } else { address.port().saturating_add(1) });
        self
    }
}
