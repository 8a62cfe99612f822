//! The other side as bare quinn, which keeps no rule that it is not told to keep.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use glia_peer::Network;
use glia_protocol::PeerId;
use glia_protocol::forward::Message;
use glia_protocol::frame::{self, MAGIC, PREFIX_LEN};
use glia_protocol::version::{DATA_ALPN, FRAME_VERSION};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use crate::support::soon;

pub(crate) fn keypair() -> libp2p::identity::Keypair {
    libp2p::identity::Keypair::generate_ed25519()
}

/// A connection to `network` from a peer that is not ours.
pub(crate) async fn connect(network: &Network) -> (Endpoint, Connection) {
    connect_with(network, |_| {}).await
}

/// The same with other settings.
pub(crate) async fn connect_with(
    network: &Network,
    change: impl FnOnce(&mut quinn::TransportConfig),
) -> (Endpoint, Connection) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut tls = libp2p_tls::make_client_config(&keypair(), None).unwrap();
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    change(&mut transport);
    config.transport_config(Arc::new(transport));
    let connection = endpoint.connect_with(config, network.data_addresses()[0], "anything").unwrap().await.unwrap();
    (endpoint, connection)
}

pub(crate) fn prefix(kind: u8, header_len: u32, payload_len: u64) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = FRAME_VERSION;
    bytes[5] = kind;
    bytes[8..12].copy_from_slice(&header_len.to_le_bytes());
    bytes[12..].copy_from_slice(&payload_len.to_le_bytes());
    bytes
}

/// Streams on which `bytes` were said and nothing more, as long as the other side listens.
pub(crate) struct Held<'a> {
    connection: &'a Connection,
    bytes: &'a [u8],
    pub(crate) streams: Vec<(SendStream, RecvStream)>,
}

impl<'a> Held<'a> {
    pub(crate) async fn new(connection: &'a Connection, bytes: &'a [u8], count: usize) -> Self {
        let mut held = Self { connection, bytes, streams: Vec::new() };
        for _ in 0..count {
            held.streams.push(held.begin().await);
        }
        held
    }

    async fn begin(&self) -> (SendStream, RecvStream) {
        let (mut send, recv) = self.connection.open_bi().await.unwrap();
        send.write_all(self.bytes).await.unwrap();
        (send, recv)
    }

    /// Begins anew where the other side has answered: a request of somebody else was faster and took the room.
    pub(crate) async fn renew(&mut self) {
        for n in 0..self.streams.len() {
            if self.streams[n].1.read(&mut [0]).now_or_never().is_some() {
                self.streams[n] = self.begin().await;
            }
        }
        tokio::task::yield_now().await;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for (send, _) in &mut self.streams {
            let _ = send.reset(VarInt::from_u32(3));
        }
    }
}

/// The kinds of the first `count` answers on `held` streams.
pub(crate) async fn answers(held: &mut Held<'_>, count: usize) -> Vec<u8> {
    let mut waiting: FuturesUnordered<_> = held
        .streams
        .iter_mut()
        .map(|(_, recv)| async move {
            let mut answer = [0; PREFIX_LEN];
            recv.read_exact(&mut answer).await.map(|()| answer[5])
        })
        .collect();
    let mut kinds = Vec::new();
    while kinds.len() < count {
        kinds.push(soon("an answer", waiting.next()).await.unwrap().unwrap());
    }
    kinds
}

/// A bare server that answers every question with `answer`, or never if that is `None`; dropping the endpoint ends it.
/// The channel tells of every question left unanswered that its caller gave up.
pub(crate) fn bare_server(
    answer: impl FnMut(Message) -> Option<Vec<u8>> + Send + 'static,
) -> (PeerId, SocketAddr, Endpoint, mpsc::Receiver<()>) {
    let key = keypair();
    let peer = PeerId::from_multihash(&key.public().to_peer_id().to_bytes()).unwrap();
    let mut tls = libp2p_tls::make_server_config(&key).unwrap();
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let (gave_up, given_up) = mpsc::channel(64);
    tokio::spawn(answer_all(endpoint.clone(), answer, gave_up));
    (peer, address, endpoint, given_up)
}

async fn answer_all(endpoint: Endpoint, mut answer: impl FnMut(Message) -> Option<Vec<u8>>, gave_up: mpsc::Sender<()>) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let Ok(bytes) = recv.read_to_end(usize::MAX).await else { continue };
            let parsed = frame::Prefix::parse(bytes[..PREFIX_LEN].try_into().unwrap()).unwrap();
            let (header, payload) = bytes[PREFIX_LEN..].split_at(parsed.header_len);
            let message = frame::decode(parsed, header, payload.to_vec().into()).unwrap();
            if let Some(bytes) = answer(message) {
                let _ = send.write_all(&bytes).await;
                let _ = send.finish();
            } else {
                let gave_up = gave_up.clone();
                tokio::spawn(async move {
                    let _ = send.stopped().await;
                    let _ = gave_up.send(()).await;
                });
            }
        }
    }
}

pub(crate) fn bytes_of(message: Message) -> Vec<u8> {
    frame::encode(&message).unwrap().into_chunks().concat()
}
