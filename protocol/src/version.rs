//! All protocol names and numbers in one place; each ends in its version.

use crate::ids::NetworkId;

/// ALPN of the QUIC tensor plane.
pub const DATA_ALPN: &[u8] = b"glia-tensor/1";
/// Version byte of every data-plane frame.
pub const FRAME_VERSION: u8 = 1;
/// libp2p request-response protocol of the control plane.
pub const CONTROL_PROTOCOL: &str = "/glia/control/1";
/// Version spoken inside [`crate::exchange::Hello`].
pub const CONTROL_VERSION: u16 = 1;
/// libp2p identify protocol version.
pub const IDENTIFY_PROTOCOL: &str = "/glia/id/1";

/// Kademlia protocol of one network; two networks never share a routing table.
pub fn kad_protocol(network: &NetworkId) -> String {
    format!("/glia/{network}/kad/1")
}

/// Gossip topic of heartbeats of one network.
pub fn heartbeat_topic(network: &NetworkId) -> String {
    format!("glia/{network}/heartbeat/1")
}
