//! A peer that is not ours: it speaks the control protocol, byte for byte, and answers what a test tells it to.

use std::io;
use std::sync::{Arc, Mutex};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use glia_peer::{HotkeySigner, Identity};
use glia_protocol::descriptor::ExpertDescriptor;
use glia_protocol::exchange::{ControlRequest, ControlResponse, Hello};
use glia_protocol::signature::Binding;
use glia_protocol::version::{CONTROL_PROTOCOL, CONTROL_VERSION};
use glia_protocol::{NetworkId, PeerId, SignedDescriptor};
use libp2p::request_response::{self, Codec, Event, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, SwarmBuilder};

use crate::support::{offer, vision};

/// Written from the specification alone: one message, then the end of the stream.
#[derive(Clone, Default)]
struct PlainCodec;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.close().await
}

impl Codec for PlainCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes).await
    }
}

/// What the liar says about its experts: descriptors, or bytes that are no message.
#[derive(Clone)]
pub(crate) enum Says {
    Experts(Vec<SignedDescriptor>),
    Bytes(Vec<u8>),
}

pub(crate) struct Liar {
    pub(crate) peer: PeerId,
    /// Multiaddr with its peer id.
    pub(crate) address: String,
    pub(crate) says: Arc<Mutex<Says>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    /// Begins to lie as the peer of `seed`, in `network`.
    pub(crate) async fn start(seed: u8, network: NetworkId) -> Self {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_quic()
            .with_behaviour(|_| {
                let protocol = (StreamProtocol::new(CONTROL_PROTOCOL), ProtocolSupport::Full);
                request_response::Behaviour::<PlainCodec>::new([protocol], request_response::Config::default())
            })
            .unwrap()
            .with_swarm_config(|c| c.with_idle_connection_timeout(crate::support::PATIENCE))
            .build();
        swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let peer = *swarm.local_peer_id();
        let says = Arc::new(Mutex::new(Says::Experts(Vec::new())));
        let words = says.clone();
        let task = tokio::spawn(async move {
            loop {
                let event = swarm.select_next_some().await;
                let SwarmEvent::Behaviour(Event::Message {
                    message: Message::Request { request, channel, .. }, ..
                }) = event
                else {
                    continue;
                };
                let answer = match ControlRequest::from_bytes(&request).unwrap() {
                    ControlRequest::Hello(_) => {
                        let hello = Hello {
                            network: network.clone(),
                            versions: vec![CONTROL_VERSION],
                            agent: "liar".to_owned(),
                        };
                        ControlResponse::Hello(hello).to_bytes().unwrap()
                    }
                    ControlRequest::DescribeExperts { .. } => match words.lock().unwrap().clone() {
                        Says::Experts(experts) => ControlResponse::Experts(experts).to_bytes().unwrap(),
                        Says::Bytes(bytes) => bytes,
                    },
                    ControlRequest::ProvePossession { .. } => {
                        let signer = crate::support::hotkey(1);
                        // A signature over something else than the nonce.
                        let signature = (signer.sign)(b"not what you asked");
                        ControlResponse::Possession { hotkey: signer.hotkey, signature }.to_bytes().unwrap()
                    }
                };
                let _ = swarm.behaviour_mut().send_response(channel, answer);
            }
        });
        Self { peer: peer.to_string().parse().unwrap(), address: format!("{address}/p2p/{peer}"), says, task }
    }

    pub(crate) fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

/// An honest descriptor of the peer of `seed`, issued at `now_ms`.
pub(crate) fn descriptor(network: &NetworkId, seed: u8, signer: &HotkeySigner, now_ms: u64) -> ExpertDescriptor {
    let identity = Identity::from_seed([seed; 32]);
    let (peer, hotkey) = (identity.peer_id(), signer.hotkey);
    let offer = offer("honest", &[0]);
    ExpertDescriptor {
        network: network.clone(),
        subnet: vision(),
        peer,
        hotkey,
        binding: Binding {
            by_peer: identity.sign(&Binding::message_for_peer(network, &peer, &hotkey)),
            by_hotkey: (signer.sign)(&Binding::message_for_hotkey(network, &peer, &hotkey)),
        },
        name: offer.name,
        schema: offer.schema,
        checkpoint: offer.checkpoint,
        published: offer.published,
        feature_map: offer.feature_map,
        centroids: offer.centroids,
        examples: offer.examples,
        backend: offer.backend,
        capacity: offer.capacity,
        addresses: vec!["127.0.0.1:1".parse().unwrap()],
        sequence: now_ms,
        issued_at_ms: now_ms,
        expires_at_ms: now_ms + 120_000,
    }
}

/// Signed by the peer of `seed`, whatever it says.
pub(crate) fn signed(descriptor: &ExpertDescriptor, seed: u8) -> SignedDescriptor {
    let identity = Identity::from_seed([seed; 32]);
    descriptor.sign(|message| identity.sign(message)).unwrap()
}
