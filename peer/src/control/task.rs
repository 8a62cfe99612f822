//! The task that owns the swarm: its state, its loop, and the events that concern no single part.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use glia_protocol::gossip::Heartbeat;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionError, SwarmEvent};
use libp2p::{Multiaddr, Swarm, identify, kad, ping};
use tokio::sync::{broadcast, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::advert::Advert;
use super::asks::Asks;
use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::gossip::{Fault, HeartbeatBook, Verdict};
use super::lookup::Lookups;
use super::peers::PeerState;
use super::{Command, from_libp2p, to_libp2p};
use crate::address::{Observations, TransportKind, data_addresses, ip_of, multiaddr, reach, transport_of};
use crate::config::NetworkConfig;
use crate::errors::StartError;
use crate::network::{Shared, lock, now_ms};
use crate::reputation::Misdeed;

/// Resolution of all timers.
const TICK: Duration = Duration::from_millis(100);
/// Longest wait for listeners to stand.
const LISTEN: Duration = Duration::from_secs(5);
/// Time for the last messages to leave before connections are closed.
const FLUSH: Duration = Duration::from_millis(150);
/// Longest goodbye to connected peers.
const GOODBYE: Duration = Duration::from_millis(500);
/// First wait before a bootstrap peer is dialed again; doubles up to [`REDIAL_MAX`].
const REDIAL_MIN: Duration = Duration::from_millis(500);
const REDIAL_MAX: Duration = Duration::from_secs(30);
/// Between two sweeps over expired records and ended bans.
const SWEEP: Duration = Duration::from_secs(1);

/// The state of the control plane.
pub(super) struct Task {
    pub(super) config: NetworkConfig,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) shared: Arc<Shared>,
    pub(super) data_address: SocketAddr,
    pub(super) topic: IdentTopic,
    pub(super) kad_name: String,
    pub(super) peers: HashMap<libp2p::PeerId, PeerState>,
    pub(super) asks: Asks,
    pub(super) lookups: Lookups,
    pub(super) advert: Option<Advert>,
    /// The last sequence given to a heartbeat or to descriptors.
    pub(super) sequence: u64,
    pub(super) bootstrap: Vec<(libp2p::PeerId, Multiaddr)>,
    heartbeats: broadcast::Sender<Heartbeat>,
    book: HeartbeatBook,
    observations: Observations,
    listening: HashSet<Multiaddr>,
    redial_at: Instant,
    redial_wait: Duration,
    sweep_at: Instant,
    advertised: bool,
}

impl Task {
    pub(super) fn new(
        config: NetworkConfig,
        swarm: Swarm<Behaviour>,
        bootstrap: Vec<(libp2p::PeerId, Multiaddr)>,
        data_address: SocketAddr,
        shared: Arc<Shared>,
        heartbeats: broadcast::Sender<Heartbeat>,
    ) -> Self {
        let local = *swarm.local_peer_id();
        let now = Instant::now();
        Self {
            topic: behaviour::topic(&config),
            kad_name: glia_protocol::version::kad_protocol(&config.network),
            book: HeartbeatBook::new(config.timing.heartbeat),
            lookups: Lookups::default(),
            asks: Asks::default(),
            peers: HashMap::new(),
            advert: None,
            sequence: 0,
            observations: Observations::default(),
            listening: HashSet::new(),
            bootstrap: bootstrap.into_iter().filter(|(peer, _)| *peer != local).collect(),
            redial_at: now,
            redial_wait: REDIAL_MIN,
            sweep_at: now,
            advertised: false,
            config,
            swarm,
            shared,
            data_address,
            heartbeats,
        }
    }

    /// Listens on every configured address and waits until each one stands.
    pub(super) async fn listen(&mut self) -> Result<(), StartError> {
        let mut waiting: HashMap<ListenerId, SocketAddr> = HashMap::new();
        for &address in &self.config.control_listen {
            for kind in [TransportKind::Quic, TransportKind::Tcp] {
                let listener = self
                    .swarm
                    .listen_on(multiaddr(kind, address))
                    .map_err(|e| StartError::Listen { address, why: e.to_string() })?;
                waiting.insert(listener, address);
            }
        }
        let deadline = tokio::time::Instant::now() + LISTEN;
        while let Some(&address) = waiting.values().next() {
            let event = tokio::time::timeout_at(deadline, self.swarm.select_next_some())
                .await
                .map_err(|_| StartError::Listen { address, why: format!("nothing stood within {LISTEN:?}") })?;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(e), .. }
                | SwarmEvent::ListenerError { listener_id, error: e } => {
                    if let Some(address) = waiting.remove(listener_id) {
                        return Err(StartError::Listen { address, why: e.to_string() });
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        for ip in self.config.announce.clone() {
            self.announce(ip);
        }
        Ok(())
    }

    /// Runs until the token is cancelled or the last handle is gone, then says goodbye.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, token: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                _ = tick.tick() => self.on_tick(Instant::now()),
                command = inbox.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        inbox.close();
        self.leave().await;
    }

    /// Withdraws, lets the last messages out, and closes every connection.
    async fn leave(mut self) {
        self.withdraw();
        if self.advertised && !self.peers.is_empty() {
            self.turn_for(FLUSH, |_| false).await;
        }
        let connected: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.turn_for(GOODBYE, |task| task.peers.is_empty()).await;
        self.shared.connected.store(0, Ordering::Relaxed);
    }

    /// Goes on with the swarm for `time` or until `done`.
    async fn turn_for(&mut self, time: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + time;
        while !done(self) {
            match tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await {
                Ok(event) => self.on_event(event),
                Err(_) => return,
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Advertise { offers, load, reply } => {
                self.advertised = true;
                let accepted = self.advertise(offers, load, Instant::now());
                // Nobody waits any more: the offers are advertised all the same.
                let _ = reply.send(accepted);
            }
            Command::Withdraw { reply } => {
                self.withdraw();
                let _ = reply.send(());
            }
            Command::FindProviders { key, reply } => self.find_providers(key, reply),
            Command::Ask { peer, question, reply } => self.ask(peer, question, reply),
            Command::Report { peer, misdeed } => self.report(peer, misdeed),
        }
    }

    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                self.on_connected(peer_id, endpoint.get_remote_address().clone());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                // A connection nobody needed is closed on both sides; any other end means that the peer is gone.
                let gone = !matches!(cause, None | Some(ConnectionError::KeepAliveTimeout));
                self.on_disconnected(peer_id, gone, cause.map(|c| c.to_string()));
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_dial_failed(peer, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::debug!(%address, "listening");
                self.calm_bootstrap();
                self.listening.insert(address);
                self.on_addresses();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.on_addresses();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                for address in &addresses {
                    self.listening.remove(address);
                }
                if let Err(error) = reason {
                    tracing::warn!(%error, "a listener closed");
                }
                self.on_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "listener"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Questions(event) => self.on_question_event(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.on_gossip(propagation_source, &message_id, &message);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_observed(peer_id, &info.observed_addr);
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Ping(ping::Event { connection, result: Err(ping::Failure::Timeout), .. }) => {
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_query(id, result, step.last);
            }
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
                self.on_provider_record(record, Instant::now());
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => self.on_new_neighbour(Instant::now()),
            _ => {}
        }
    }

    fn on_gossip(&mut self, via: libp2p::PeerId, id: &gossipsub::MessageId, message: &gossipsub::Message) {
        let author = message.source.as_ref().and_then(from_libp2p);
        let verdict = match author {
            _ if message.topic != self.topic.hash() => Verdict::Ignore,
            None => Verdict::Reject(Fault::Forged),
            Some(author) => self.book.judge(author, &message.data, Instant::now(), now_ms()),
        };
        let acceptance = match &verdict {
            Verdict::Accept(_) => MessageAcceptance::Accept,
            Verdict::Ignore | Verdict::Flood => MessageAcceptance::Ignore,
            Verdict::Reject(_) => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &via, acceptance);
        match verdict {
            Verdict::Accept(beat) => {
                // An error says that nobody listens.
                let _ = self.heartbeats.send(beat);
            }
            Verdict::Ignore => {}
            Verdict::Flood => {
                if let Some(author) = author {
                    self.report(author, Misdeed::Flood);
                }
            }
            Verdict::Reject(fault) => {
                let misdeed = match fault {
                    Fault::Forged => Misdeed::Forged,
                    Fault::Malformed(_) => Misdeed::Malformed,
                };
                // Whoever passed it on had to check it, and no clock or race can excuse it; the author, who signed
                // it, is to blame as well.
                let blamed: HashSet<_> = from_libp2p(&via).into_iter().chain(author).collect();
                for peer in blamed {
                    self.report(peer, misdeed);
                }
            }
        }
    }

    /// Notes at which address `witness` sees us; three witnesses make a public address believable.
    fn on_observed(&mut self, witness: libp2p::PeerId, address: &Multiaddr) {
        let wildcard = self.config.control_listen.iter().any(|a| a.ip().is_unspecified());
        let (Some(witness), Some(ip)) = (from_libp2p(&witness), ip_of(address)) else { return };
        if wildcard && self.observations.note(witness, ip) {
            tracing::info!(%ip, "others see us here");
            self.announce(ip);
        }
    }

    /// Tells others to reach us at `ip` on the ports we listen on.
    fn announce(&mut self, ip: std::net::IpAddr) {
        lock(&self.shared.ips).insert(ip);
        let ports: HashSet<_> =
            self.listening.iter().filter_map(transport_of).filter(|_| reach(ip).is_some()).collect();
        for (kind, port) in ports {
            self.swarm.add_external_address(multiaddr(kind, SocketAddr::new(ip, port)));
        }
        self.on_addresses();
    }

    /// Publishes our addresses to the handle; descriptors are renewed if theirs changed.
    fn on_addresses(&mut self) {
        let local = *self.swarm.local_peer_id();
        let mut dialable: Vec<_> = self
            .swarm
            .external_addresses()
            .chain(&self.listening)
            .filter(|a| ip_of(a).and_then(reach).is_some() && transport_of(a).is_some())
            .map(|a| a.clone().with(Protocol::P2p(local)).to_string())
            .collect();
        dialable.sort_unstable();
        dialable.dedup();
        *lock(&self.shared.control) = dialable;
        let known = {
            let mut ips = lock(&self.shared.ips);
            let announced = self.config.announce.iter().copied();
            let external = self.swarm.external_addresses().filter_map(ip_of);
            *ips = self.listening.iter().filter_map(ip_of).chain(announced).chain(external).collect();
            ips.clone()
        };
        let addresses = data_addresses(self.data_address, &known, glia_protocol::limits::MAX_ADDRESSES);
        if let Some(advert) = &mut self.advert
            && advert.addresses != addresses
        {
            advert.renew_at = Instant::now();
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.tend_advert(now);
        if now >= self.redial_at {
            self.redial(now);
        }
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.sweep(now);
        }
    }

    /// Dials the bootstrap peers while none of them is connected, ever more slowly.
    fn redial(&mut self, now: Instant) {
        let connected =
            self.bootstrap.is_empty() || self.bootstrap.iter().any(|(peer, _)| self.peers.contains_key(peer));
        if connected {
            self.redial_wait = REDIAL_MIN;
            self.redial_at = now + REDIAL_MIN;
            return;
        }
        self.redial_at = now + self.redial_wait;
        self.redial_wait = (self.redial_wait * 2).min(REDIAL_MAX);
        for (peer, address) in self.bootstrap.clone() {
            self.dial(peer, vec![address]);
        }
    }

    /// Takes back the DHT's wish to refresh its routing table while nobody is in it: it would only complain. The
    /// first peer that enters the table wakes the wish again.
    fn calm_bootstrap(&mut self) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        if kad.kbuckets().all(|bucket| bucket.num_entries() == 0) {
            // With an empty table this resets the timers and fails.
            let _ = kad.bootstrap();
        }
    }

    /// Drops what nobody waits for, expired records and ended bans.
    fn sweep(&mut self, now: Instant) {
        self.calm_bootstrap();
        self.sweep_asks();
        self.sweep_records(now);
        let banned: HashSet<_> = lock(&self.shared.reputation).banned(now).iter().filter_map(to_libp2p).collect();
        let blocked = self.swarm.behaviour().blocked.blocked_peers().clone();
        let list = &mut self.swarm.behaviour_mut().blocked;
        for peer in blocked.difference(&banned) {
            list.unblock_peer(*peer);
        }
        for peer in banned.difference(&blocked) {
            list.block_peer(*peer);
        }
    }

    /// Writes down a misdeed; a peer that is banned by it is disconnected at once.
    pub(super) fn report(&mut self, peer: glia_protocol::PeerId, misdeed: Misdeed) {
        tracing::debug!(%peer, ?misdeed, "misdeed");
        let banned = lock(&self.shared.reputation).report(peer, misdeed, Instant::now());
        if banned && let Some(id) = to_libp2p(&peer) {
            tracing::info!(%peer, ?misdeed, "banned");
            self.swarm.behaviour_mut().blocked.block_peer(id);
        }
    }
}
