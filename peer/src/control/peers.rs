//! Connected peers: who has said hello, and who may enter the routing table.

use std::sync::atomic::Ordering;

use glia_protocol::exchange::{ControlRequest, Hello};
use glia_protocol::limits::MAX_TEXT;
use glia_protocol::version::CONTROL_VERSION;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, identify};

use super::from_libp2p;
use super::task::Task;
use crate::address::is_routable;
use crate::reputation::Misdeed;

/// Addresses kept of one peer.
const MAX_KEPT: usize = 16;
/// Attempts to say hello on one acquaintance; connections can close under a question.
const HELLOS: u8 = 3;

/// What we know of a connected peer.
#[derive(Debug)]
pub(super) struct PeerState {
    /// Where we see it.
    seen: Multiaddr,
    /// It has answered our hello and belongs here.
    pub(super) greeted: bool,
    hellos: u8,
    /// Its listen addresses if it speaks our DHT.
    routes: Vec<Multiaddr>,
}

impl Task {
    fn hello(&self) -> Hello {
        Hello {
            network: self.config.network.clone(),
            versions: vec![CONTROL_VERSION],
            agent: self.config.agent.chars().take(MAX_TEXT / 4).collect(),
        }
    }

    /// Our answer to a hello.
    pub(super) fn hello_back(&self) -> glia_protocol::exchange::ControlResponse {
        glia_protocol::exchange::ControlResponse::Hello(self.hello())
    }

    pub(super) fn belongs(&self, hello: &Hello) -> bool {
        hello.network == self.config.network && hello.versions.contains(&CONTROL_VERSION)
    }

    pub(super) fn on_connected(&mut self, peer: libp2p::PeerId, seen: Multiaddr) {
        if from_libp2p(&peer).is_none() {
            // Only Ed25519 identities belong here.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        if self.peers.contains_key(&peer) {
            return;
        }
        self.peers.insert(peer, PeerState { seen, greeted: false, hellos: 0, routes: Vec::new() });
        self.greet(peer);
    }

    fn greet(&mut self, peer: libp2p::PeerId) {
        let hello = ControlRequest::Hello(self.hello());
        if let Some(state) = self.peers.get_mut(&peer) {
            state.hellos += 1;
            let id = self.swarm.behaviour_mut().questions.send_request(&peer, hello);
            self.asks.hellos.insert(id, peer);
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: libp2p::PeerId, gone: bool, cause: Option<String>) {
        tracing::debug!(%peer, cause, "disconnected");
        self.peers.remove(&peer);
        if gone {
            self.forget_route(peer);
        }
        self.count_peers();
        if self.asks.waits_for(&peer) {
            // The questions of those who wait were not sent yet; another connection may carry them.
            self.reach_out(peer);
        }
    }

    fn count_peers(&self) {
        let greeted = self.peers.values().filter(|state| state.greeted).count();
        self.shared.connected.store(greeted, Ordering::Relaxed);
    }

    /// The peer has answered our hello.
    pub(super) fn on_greeted(&mut self, peer: libp2p::PeerId, hello: &Hello) {
        if !self.belongs(hello) {
            self.on_foreign(peer);
            return;
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.greeted = true;
            tracing::debug!(%peer, agent = hello.agent, "connected");
        }
        self.count_peers();
        self.route(peer);
        self.send_waiting(peer);
    }

    /// Our hello got no answer.
    pub(super) fn on_not_greeted(&mut self, peer: libp2p::PeerId, why: &str) {
        let Some(state) = self.peers.get(&peer) else { return };
        if state.hellos < HELLOS && self.swarm.is_connected(&peer) && !state.greeted {
            self.greet(peer);
        } else {
            tracing::debug!(%peer, why, "no hello");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// A peer of another network, or one that speaks no version of ours.
    pub(super) fn on_foreign(&mut self, peer: libp2p::PeerId) {
        self.fail_waiting(peer, super::asks::Why::Foreign);
        self.swarm.behaviour_mut().kad.remove_peer(&peer);
        if let Some(id) = from_libp2p(&peer) {
            self.report(id, Misdeed::Foreign);
        }
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    pub(super) fn on_identified(&mut self, peer: libp2p::PeerId, info: identify::Info) {
        if let Some(state) = self.peers.get_mut(&peer) {
            let speaks_kad = info.protocols.iter().any(|p| p.as_ref() == self.kad_name);
            state.routes = info.listen_addrs.into_iter().take(if speaks_kad { MAX_KEPT } else { 0 }).collect();
        }
        self.route(peer);
    }

    /// Puts a peer of this network with addresses of an allowed kind into the routing table.
    fn route(&mut self, peer: libp2p::PeerId) {
        let Some(state) = self.peers.get(&peer).filter(|state| state.greeted) else { return };
        let kad = &mut self.swarm.behaviour_mut().kad;
        for address in state.routes.iter().filter(|a| is_routable(a, &state.seen)) {
            kad.add_address(&peer, address.clone());
        }
    }

    /// Addresses in a provider record that may be handed on.
    pub(super) fn routable_of(&self, peer: &libp2p::PeerId, claimed: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let Some(state) = self.peers.get(peer) else { return Vec::new() };
        claimed.into_iter().take(MAX_KEPT).filter(|a| is_routable(a, &state.seen)).collect()
    }

    /// Dials a peer at `addresses` and at those the DHT knows, unless it is connected or being dialed.
    pub(super) fn dial(&mut self, peer: libp2p::PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        match self.swarm.dial(options) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.on_dial_failed(peer, &error),
        }
    }

    /// Takes a peer that is gone out of the routing table: whoever asks us next would wait for it in vain. It comes
    /// back with its next hello.
    fn forget_route(&mut self, peer: libp2p::PeerId) {
        if !self.swarm.is_connected(&peer) {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: libp2p::PeerId, error: &DialError) {
        tracing::debug!(%peer, %error, "dial failed");
        self.forget_route(peer);
        if !self.peers.contains_key(&peer) && self.asks.waits_for(&peer) {
            self.locate(peer, error.to_string());
        }
    }
}
