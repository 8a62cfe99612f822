//! Questions to peers, wherever they are, and answers to theirs.

use std::collections::HashMap;
use std::time::Instant;

use glia_protocol::PeerId;
use glia_protocol::exchange::{ControlRequest, ControlResponse, possession_message};
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::oneshot;

use super::task::Task;
use super::{from_libp2p, to_libp2p};
use crate::errors::AskError;
use crate::network::lock;
use crate::reputation::Misdeed;

/// Questions that wait for a connection to one peer.
const MAX_WAITING_PER_PEER: usize = 64;
/// Peers that questions wait for.
const MAX_AWAITED: usize = 1024;

type Reply = oneshot::Sender<Result<ControlResponse, AskError>>;

/// Questions to one peer that is not reached yet.
#[derive(Debug, Default)]
struct Waiting {
    questions: Vec<(ControlRequest, Reply)>,
    /// The DHT was already asked where the peer is.
    located: bool,
}

/// Questions on their way.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: HashMap<libp2p::PeerId, Waiting>,
    sent: HashMap<OutboundRequestId, Reply>,
    pub(super) hellos: HashMap<OutboundRequestId, libp2p::PeerId>,
}

/// Why questions to a peer cannot be asked.
pub(super) enum Why {
    Unreachable(String),
    Foreign,
}

impl Asks {
    pub(super) fn waits_for(&self, peer: &libp2p::PeerId) -> bool {
        self.waiting.contains_key(peer)
    }
}

impl Task {
    /// Asks `peer`; connects to it first if need be.
    pub(super) fn ask(&mut self, peer: PeerId, question: ControlRequest, reply: Reply) {
        // Whoever asked may have given up meanwhile: errors of `send` are of no interest below.
        let unreachable = |why: &str| AskError::Unreachable { peer, why: why.to_owned() };
        let Some(id) = to_libp2p(&peer) else {
            let _ = reply.send(Err(unreachable("it is no valid key")));
            return;
        };
        if id == *self.swarm.local_peer_id() {
            let _ = reply.send(Err(unreachable("it is this peer")));
            return;
        }
        if lock(&self.shared.reputation).is_banned(&peer, Instant::now()) {
            let _ = reply.send(Err(AskError::Banned(peer)));
            return;
        }
        if self.peers.get(&id).is_some_and(|state| state.greeted) {
            self.send_question(id, question, reply);
            return;
        }
        let known = self.asks.waiting.contains_key(&id);
        if !known && self.asks.waiting.len() >= MAX_AWAITED {
            let _ = reply.send(Err(AskError::Busy));
            return;
        }
        let waiting = self.asks.waiting.entry(id).or_default();
        if waiting.questions.len() >= MAX_WAITING_PER_PEER {
            let _ = reply.send(Err(AskError::Busy));
            return;
        }
        waiting.questions.push((question, reply));
        if !known {
            self.reach_out(id);
        }
    }

    /// Dials a peer that questions wait for, unless it is connected and only its hello is outstanding.
    pub(super) fn reach_out(&mut self, peer: libp2p::PeerId) {
        if !self.peers.contains_key(&peer) {
            let known = self.bootstrap.iter().filter(|(id, _)| *id == peer).map(|(_, address)| address.clone());
            self.dial(peer, known.collect());
        }
    }

    fn send_question(&mut self, peer: libp2p::PeerId, question: ControlRequest, reply: Reply) {
        let id = self.swarm.behaviour_mut().questions.send_request(&peer, question);
        self.asks.sent.insert(id, reply);
    }

    /// Sends what waited for this peer.
    pub(super) fn send_waiting(&mut self, peer: libp2p::PeerId) {
        let Some(waiting) = self.asks.waiting.remove(&peer) else { return };
        for (question, reply) in waiting.questions {
            if !reply.is_closed() {
                self.send_question(peer, question, reply);
            }
        }
    }

    /// Tells everybody who waits for this peer that it cannot be asked.
    pub(super) fn fail_waiting(&mut self, peer: libp2p::PeerId, why: Why) {
        let Some(waiting) = self.asks.waiting.remove(&peer) else { return };
        let Some(id) = from_libp2p(&peer) else { return };
        for (_, reply) in waiting.questions {
            let error = match &why {
                Why::Unreachable(why) => AskError::Unreachable { peer: id, why: why.clone() },
                Why::Foreign => AskError::Foreign(id),
            };
            let _ = reply.send(Err(error));
        }
    }

    /// Whether the DHT may still be asked where `peer` is; once per wait.
    pub(super) fn may_locate(&mut self, peer: &libp2p::PeerId) -> bool {
        self.asks.waiting.get_mut(peer).is_some_and(|waiting| !std::mem::replace(&mut waiting.located, true))
    }

    /// Forgets questions whose askers have given up.
    pub(super) fn sweep_asks(&mut self) {
        for waiting in self.asks.waiting.values_mut() {
            waiting.questions.retain(|(_, reply)| !reply.is_closed());
        }
        self.asks.waiting.retain(|_, waiting| !waiting.questions.is_empty());
    }

    pub(super) fn on_question_event(&mut self, event: Event<ControlRequest, ControlResponse>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_question(peer, request, channel);
            }
            Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                self.on_answer(peer, request_id, response);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => self.on_no_answer(peer, request_id, &error),
            Event::InboundFailure { peer, error, .. } => {
                if let libp2p::request_response::InboundFailure::Io(e) = &error {
                    self.on_bad_bytes(peer, e);
                }
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_question(
        &mut self,
        peer: libp2p::PeerId,
        question: ControlRequest,
        channel: ResponseChannel<ControlResponse>,
    ) {
        let answer = match question {
            ControlRequest::Hello(hello) => {
                if !self.belongs(&hello) {
                    // It learns from its own hello, which we answer, that it is wrong here.
                    tracing::debug!(%peer, network = %hello.network, "a peer of another network");
                }
                self.hello_back()
            }
            ControlRequest::DescribeExperts { subnet } => {
                let experts = self.advert.as_ref().map(|advert| advert.descriptors(&subnet)).unwrap_or_default();
                ControlResponse::Experts(experts)
            }
            ControlRequest::ProvePossession { nonce } => match &self.config.hotkey {
                Some(signer) => {
                    let message = possession_message(&self.config.network, &self.config.identity.peer_id(), &nonce);
                    ControlResponse::Possession { hotkey: signer.hotkey, signature: (signer.sign)(&message) }
                }
                None => ControlResponse::Refused("this peer has no hotkey".to_owned()),
            },
        };
        // An error says that the connection is gone.
        let _ = self.swarm.behaviour_mut().questions.send_response(channel, answer);
    }

    fn on_answer(&mut self, peer: libp2p::PeerId, id: OutboundRequestId, answer: ControlResponse) {
        if let Some(peer) = self.asks.hellos.remove(&id) {
            match answer {
                ControlResponse::Hello(hello) => self.on_greeted(peer, &hello),
                _ => self.on_not_greeted(peer, "it answers hello with something else"),
            }
        } else if let Some(reply) = self.asks.sent.remove(&id) {
            let _ = reply.send(Ok(answer));
        } else {
            tracing::debug!(%peer, "an answer to no question");
        }
    }

    fn on_no_answer(&mut self, peer: libp2p::PeerId, id: OutboundRequestId, error: &OutboundFailure) {
        if let OutboundFailure::Io(e) = error {
            self.on_bad_bytes(peer, e);
        }
        if let Some(peer) = self.asks.hellos.remove(&id) {
            self.on_not_greeted(peer, &error.to_string());
        }
        let Some(reply) = self.asks.sent.remove(&id) else { return };
        let Some(peer) = from_libp2p(&peer) else { return };
        let _ = reply.send(Err(match error {
            OutboundFailure::Timeout => AskError::Timeout(peer),
            other => AskError::Unreachable { peer, why: other.to_string() },
        }));
    }

    /// Bytes that the codec refused are the sender's fault; other I/O errors are nobody's.
    fn on_bad_bytes(&mut self, peer: libp2p::PeerId, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::InvalidData
            && let Some(peer) = from_libp2p(&peer)
        {
            self.report(peer, Misdeed::Malformed);
        }
    }
}
