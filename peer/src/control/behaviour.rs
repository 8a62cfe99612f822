//! The libp2p behaviours and transports of one peer, with every library default that does not fit set anew.

use std::time::Duration;

use glia_protocol::limits::{MAX_GOSSIP, MAX_TEXT};
use glia_protocol::version::{CONTROL_PROTOCOL, IDENTIFY_PROTOCOL, heartbeat_topic, kad_protocol};
use libp2p::gossipsub::{self, IdentTopic};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, identify, identity, kad, noise, ping,
    tcp, yamux,
};

use super::codec::ControlCodec;
use crate::config::NetworkConfig;
use crate::errors::StartError;

/// Connections kept although nothing happens on them.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Handshakes at once.
const PENDING: u32 = 128;
/// Connections to one peer: QUIC and TCP, both directions.
const PER_PEER: u32 = 4;
/// Bytes of one gossip packet: a heartbeat, its signature, and the bookkeeping of gossipsub.
const MAX_PACKET: usize = 4 * MAX_GOSSIP;
/// Bytes of one DHT packet: 40 peers with a handful of addresses each.
const MAX_KAD_PACKET: usize = 32 * 1024;
/// Provider keys other peers may store here.
const MAX_STORED_KEYS: usize = 16 * 1024;

/// Everything the swarm does.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) questions: request_response::Behaviour<ControlCodec>,
}

/// The topic of heartbeats.
pub(super) fn topic(config: &NetworkConfig) -> IdentTopic {
    IdentTopic::new(heartbeat_topic(&config.network))
}

/// The DHT protocol of this network.
pub(super) fn kad_name(config: &NetworkConfig) -> Result<StreamProtocol, StartError> {
    StreamProtocol::try_from_owned(kad_protocol(&config.network)).map_err(|e| StartError::Setup(e.to_string()))
}

fn setup(error: impl std::fmt::Display) -> StartError {
    StartError::Setup(error.to_string())
}

/// A swarm that listens nowhere yet.
pub(super) fn swarm(config: &NetworkConfig) -> Result<Swarm<Behaviour>, StartError> {
    let keypair = config.identity.keypair().map_err(setup)?;
    let handshake = config.timing.dial;
    let quic = move |mut quic: libp2p::quic::Config| {
        quic.handshake_timeout = handshake;
        quic
    };
    let with_dns = SwarmBuilder::with_existing_identity(keypair.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(setup)?
        .with_quic_config(quic)
        .with_dns();
    let settings = |swarm: libp2p::swarm::Config| swarm.with_idle_connection_timeout(IDLE);
    match with_dns {
        Ok(builder) => {
            Ok(builder.with_behaviour(|key| behaviour(config, key)).map_err(setup)?.with_swarm_config(settings).build())
        }
        // A machine without a resolver configuration can still use addresses that are numbers.
        Err(error) => {
            tracing::warn!(%error, "names in multiaddrs will not be resolved");
            Ok(SwarmBuilder::with_existing_identity(keypair)
                .with_tokio()
                .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
                .map_err(setup)?
                .with_quic_config(quic)
                .with_behaviour(|key| behaviour(config, key))
                .map_err(setup)?
                .with_swarm_config(settings)
                .build())
        }
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn behaviour(config: &NetworkConfig, key: &identity::Keypair) -> Result<Behaviour, Failed> {
    let peer = key.public().to_peer_id();
    let connections = config.limits.control_connections;
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_pending_outgoing(Some(PENDING))
        .with_max_established(Some(connections))
        // A quarter stays free for connections this peer wants itself.
        .with_max_established_incoming(Some(connections.saturating_sub(connections / 4)))
        .with_max_established_per_peer(Some(PER_PEER));
    let agent = config.agent.chars().take(MAX_TEXT / 4).collect();
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
        .with_agent_version(agent)
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let questions =
        request_response::Config::default().with_request_timeout(config.timing.query).with_max_concurrent_streams(32);
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        blocked: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new()),
        kad: kademlia(config, peer)?,
        gossip: gossip(config, key)?,
        questions: request_response::Behaviour::new(
            [(StreamProtocol::new(CONTROL_PROTOCOL), ProtocolSupport::Full)],
            questions,
        ),
    })
}

fn kademlia(config: &NetworkConfig, peer: libp2p::PeerId) -> Result<kad::Behaviour<MemoryStore>, Failed> {
    let mut settings = kad::Config::new(kad_name(config)?);
    settings
        .set_query_timeout(config.timing.query)
        .set_substreams_timeout(config.timing.query)
        .set_max_packet_size(MAX_KAD_PACKET)
        // Provider records live for minutes here (the library's default is two days); we renew our own ourselves.
        .set_provider_record_ttl(Some(config.timing.provider_ttl))
        .set_provider_publication_interval(None)
        // Values are not used at all; provider records are checked before they are stored.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_record_ttl(Some(config.timing.provider_ttl))
        .set_replication_interval(None)
        .set_publication_interval(None)
        // Only peers of this network with addresses of an allowed kind enter the routing table.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(60)));
    let store = MemoryStore::with_config(
        peer,
        MemoryStoreConfig { max_records: 0, max_provided_keys: MAX_STORED_KEYS, ..MemoryStoreConfig::default() },
    );
    let mut kad = kad::Behaviour::with_config(peer, store, settings);
    kad.set_mode(Some(kad::Mode::Server));
    Ok(kad)
}

fn gossip(config: &NetworkConfig, key: &identity::Keypair) -> Result<gossipsub::Behaviour, Failed> {
    let topic = topic(config);
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        // Nothing is forwarded before we have checked it.
        .validate_messages()
        .max_transmit_size(MAX_PACKET)
        .heartbeat_interval(Duration::from_millis(700))
        .heartbeat_initial_delay(Duration::from_millis(100))
        .duplicate_cache_time(Duration::from_secs(60))
        .build()?;
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(key.clone()), settings)?;
    gossip.with_peer_score(scoring(&topic), gossipsub::PeerScoreThresholds::default())?;
    gossip.subscribe(&topic)?;
    Ok(gossip)
}

/// Scores mesh neighbours by what they bring: new messages count for them, invalid ones strongly against them.
fn scoring(topic: &IdentTopic) -> gossipsub::PeerScoreParams {
    let of_topic = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_cap: 100.0,
        // A quiet network is no fault of its peers.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..gossipsub::TopicScoreParams::default()
    };
    gossipsub::PeerScoreParams {
        topics: [(topic.hash(), of_topic)].into(),
        // Many peers behind one address are normal: one machine runs a whole local network.
        ip_colocation_factor_weight: 0.0,
        ..gossipsub::PeerScoreParams::default()
    }
}
