//! Mutual TLS whose identity is the peer id, and the QUIC settings of both directions.

use std::sync::Arc;
use std::time::Duration;

use glia_protocol::PeerId;
use glia_protocol::version::DATA_ALPN;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rand::RngCore as _;
use rustls::pki_types::CertificateDer;

use crate::identity::Identity;

/// Name in the TLS handshake; the certificate, not the name, says who answers.
pub(crate) const SERVER_NAME: &str = "glia";
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const IDLE_MS: u32 = 5 * 60 * 1000;
/// Bytes one stream may have in flight: enough for 8 Gbit/s at 8 ms.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes one connection may have in flight.
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Incoming handshakes that wait to be taken.
const MAX_INCOMING: usize = 256;

/// Settings of one connection.
pub(crate) fn transport(streams: u32) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// How a connection to exactly `peer` is made.
pub(crate) fn client(
    identity: &Identity,
    peer: &PeerId,
    transport: Arc<TransportConfig>,
) -> Result<quinn::ClientConfig, String> {
    let expected = libp2p::PeerId::from_bytes(&peer.to_multihash()).map_err(|e| e.to_string())?;
    let keypair = identity.keypair().map_err(|e| e.to_string())?;
    let mut tls = libp2p_tls::make_client_config(&keypair, Some(expected)).map_err(|e| e.to_string())?;
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::NoKeyLog);
    // A resumed session shows no certificate, so the other side would not know who calls.
    tls.resumption = rustls::client::Resumption::disabled();
    let quic = QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(transport);
    Ok(config)
}

/// How connections are accepted; callers must show a certificate.
pub(crate) fn server(identity: &Identity, transport: Arc<TransportConfig>) -> Result<quinn::ServerConfig, String> {
    let keypair = identity.keypair().map_err(|e| e.to_string())?;
    let mut tls = libp2p_tls::make_server_config(&keypair).map_err(|e| e.to_string())?;
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::NoKeyLog);
    tls.send_tls13_tickets = 0;
    let quic = QuicServerConfig::try_from(tls).map_err(|e| e.to_string())?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    config.transport_config(transport);
    config.max_incoming(MAX_INCOMING);
    Ok(config)
}

/// Who is at the other end of an established connection.
pub(crate) fn remote_peer(connection: &quinn::Connection) -> Option<PeerId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let certificate = libp2p_tls::certificate::parse(identity.first()?).ok()?;
    PeerId::from_multihash(&certificate.peer_id().to_bytes())
}

/// Endpoint settings that survive a restart: a peer that comes back under the same identity can tell old
/// connections at once that they are gone (stateless reset), instead of leaving them to time out.
pub(crate) fn endpoint(identity: &Identity) -> EndpointConfig {
    let key = ResetKey(identity.derive("glia-peer data plane stateless reset v1"));
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Keyed blake3 as the MAC of stateless reset tokens.
struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mac = blake3::keyed_hash(&self.0, data);
        for (to, from) in signature_out.iter_mut().zip(mac.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let mac = blake3::keyed_hash(&self.0, data);
        // blake3's hash comparison takes constant time.
        let given: [u8; 32] = signature.try_into().map_err(|_| quinn::crypto::CryptoError)?;
        if mac == given { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Random connection ids. The default generator ignores packets with ids of an earlier run; this one lets them be
/// answered by a stateless reset.
struct RandomIds;

const ID_LEN: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_LEN];
        rand::rng().fill_bytes(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
