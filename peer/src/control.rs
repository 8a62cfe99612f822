//! The control plane: one task owns the libp2p swarm; everybody else sends it commands.
//!
//! ```text
//! commands ─▶ task ─▶ swarm: kad (who serves what) · gossipsub (who lives) · questions (descriptors) · identify, ping
//!              ▲  └─▶ replies, heartbeats, addresses
//!              └ ticks: heartbeat, renew descriptors and records, redial, forgive
//! ```

mod advert;
mod asks;
mod behaviour;
mod codec;
mod gossip;
mod lookup;
mod peers;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;

use glia_protocol::PeerId;
use glia_protocol::exchange::{ControlRequest, ControlResponse};
use glia_protocol::gossip::Heartbeat;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::config::NetworkConfig;
use crate::errors::{AdvertiseError, AskError, StartError};
use crate::network::Shared;
use crate::offer::{ExpertOffer, LoadSource};
use crate::reputation::Misdeed;
use crate::shutdown::Shutdown;

/// What the handle asks of the swarm task.
pub(crate) enum Command {
    /// Advertise these offers instead of the earlier ones.
    Advertise { offers: Vec<ExpertOffer>, load: LoadSource, reply: oneshot::Sender<Result<(), AdvertiseError>> },
    /// Take all offers back.
    Withdraw { reply: oneshot::Sender<()> },
    /// Who provides this DHT key?
    FindProviders { key: Vec<u8>, reply: oneshot::Sender<Vec<PeerId>> },
    /// Ask a peer, wherever it is.
    Ask { peer: PeerId, question: ControlRequest, reply: oneshot::Sender<Result<ControlResponse, AskError>> },
    /// A peer misbehaved.
    Report { peer: PeerId, misdeed: Misdeed },
}

/// The libp2p form of a peer id.
pub(crate) fn to_libp2p(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_multihash()).ok()
}

/// Our form of a libp2p peer id; `None` unless it is an Ed25519 key.
pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&peer.to_bytes())
}

/// Reads a bootstrap address: a multiaddr that ends in `/p2p/<peer id>`.
fn parse_bootstrap(text: &str) -> Result<(libp2p::PeerId, Multiaddr), StartError> {
    let refused = || StartError::Bootstrap(text.chars().take(256).collect());
    let mut address: Multiaddr = text.parse().map_err(|_| refused())?;
    match address.pop() {
        Some(Protocol::P2p(peer)) if address.iter().next().is_some() => Ok((peer, address)),
        _ => Err(refused()),
    }
}

/// Builds the swarm, listens on every address, and leaves it to its task.
pub(crate) async fn start(
    config: NetworkConfig,
    data_address: SocketAddr,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Command>,
    heartbeats: broadcast::Sender<Heartbeat>,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let bootstrap = config.bootstrap.iter().map(|text| parse_bootstrap(text)).collect::<Result<Vec<_>, _>>()?;
    let swarm = behaviour::swarm(&config)?;
    let mut task = task::Task::new(config, swarm, bootstrap, data_address, shared, heartbeats);
    task.listen().await?;
    shutdown.spawn("swarm", task.run(inbox, shutdown.token()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_addresses_need_a_peer_id() {
        let id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        for good in [format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{id}"), format!("/dns4/a.example/tcp/1/p2p/{id}")] {
            assert!(parse_bootstrap(&good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:1", "/ip4/127.0.0.1/tcp/1", &format!("/p2p/{id}")] {
            assert!(matches!(parse_bootstrap(bad), Err(StartError::Bootstrap(_))), "{bad}");
        }
    }
}
