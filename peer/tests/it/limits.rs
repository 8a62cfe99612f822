//! What strangers cannot do: lie about lengths, hold memory, answer with nonsense. Here the other side is bare quinn.

use std::sync::Arc;

use futures::FutureExt as _;
use glia_peer::{ForwardError, Identity};
use glia_protocol::forward::Message;
use glia_protocol::frame::{self, PREFIX_LEN};
use glia_protocol::limits::MAX_FRAME_PAYLOAD;
use glia_protocol::version::DATA_ALPN;
use glia_protocol::{ForwardRequest, Refusal};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, ReadError, ReadExactError, VarInt};

use crate::bare::{Held, answers, bare_server, bytes_of, connect, keypair, prefix};
use crate::support::{PATIENCE, config, echo, reply, request, soon, start, until};

const MALFORMED: VarInt = VarInt::from_u32(2);
const TOO_MANY: VarInt = VarInt::from_u32(4);
const BANNED: VarInt = VarInt::from_u32(5);
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const REFUSAL: u8 = 3;

/// What the network answers to `bytes` on a new stream that is then left open.
async fn say(connection: &Connection, bytes: &[u8]) -> Result<[u8; PREFIX_LEN], ReadExactError> {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let mut answer = [0; PREFIX_LEN];
    let read = soon("an answer", recv.read_exact(&mut answer)).await;
    drop(send);
    read.map(|()| answer)
}

fn is_malformed(answer: &Result<[u8; PREFIX_LEN], ReadExactError>) -> bool {
    matches!(answer, Err(ReadExactError::ReadError(ReadError::Reset(code))) if *code == MALFORMED)
}

#[tokio::test]
async fn a_lie_about_lengths_is_refused_before_memory_is_taken() {
    let network = start(config()).await;
    network.serve(echo());
    // The announced bytes are never sent: whoever waited for them, or took memory for them, would not answer.
    for lie in [
        prefix(REQUEST, 100, u64::MAX),
        prefix(REQUEST, 100, MAX_FRAME_PAYLOAD as u64 + 1),
        prefix(REQUEST, u32::MAX, 0),
        *b"GET / HTTP/1.1\r\nHost",
    ] {
        let (_endpoint, connection) = connect(&network).await;
        let answer = say(&connection, &lie).await;
        assert!(is_malformed(&answer), "{answer:?}");
    }
    // A header that speaks of other tensors than those that follow.
    let encoded = frame::encode(&request(1, 10).into()).unwrap();
    let mut head = encoded.head.to_vec();
    head[12..20].copy_from_slice(&8u64.to_le_bytes());
    let (_endpoint, connection) = connect(&network).await;
    let answer = say(&connection, &[head, vec![0; 8]].concat()).await;
    assert!(is_malformed(&answer), "{answer:?}");
    network.stop().await;
}

#[tokio::test]
async fn a_peer_that_goes_on_with_nonsense_is_banned() {
    let network = start(config()).await;
    network.serve(echo());
    let (_endpoint, connection) = connect(&network).await;
    let banned = async {
        loop {
            // The ban closes the connection under one of the streams.
            let Ok((mut send, mut recv)) = connection.open_bi().await else { break };
            let _ = send.write_all(&prefix(REQUEST, 1, u64::MAX)).await;
            let _ = recv.read_exact(&mut [0; PREFIX_LEN]).await;
        }
    };
    soon("the ban", banned).await;
    let reason = connection.close_reason();
    assert!(
        matches!(&reason, Some(ConnectionError::ApplicationClosed(close)) if close.error_code == BANNED),
        "{reason:?}"
    );
    network.stop().await;
}

#[tokio::test]
async fn announced_payload_is_bounded_over_all_callers() {
    let mut tight = config();
    tight.limits.payload_bytes = 1024 * 1024;
    let network = start(tight).await;
    network.serve(echo());
    let router = start(config()).await;
    let (peer, addresses) = (network.peer_id(), network.data_addresses());

    let too_large = router.forward(peer, &addresses, request(1, 300_000), PATIENCE).await;
    assert!(matches!(too_large, Err(ForwardError::Refused(Refusal::TooLarge(_)))), "{too_large:?}");

    // Somebody announces 900 KiB, and never sends them.
    let (_endpoint, connection) = connect(&network).await;
    let announced = frame::encode(&request(9, 225 * 1024).into()).unwrap().head;
    let mut held = Held::new(&connection, &announced, 1).await;
    let refused = async {
        loop {
            let answer = router.forward(peer, &addresses, request(2, 100_000), PATIENCE).await;
            if matches!(answer, Err(ForwardError::Refused(Refusal::Busy { .. }))) {
                break;
            }
            held.renew().await;
        }
    };
    soon("large requests of others are refused", refused).await;
    router.forward(peer, &addresses, request(3, 100), PATIENCE).await.expect("small ones still pass");

    drop(held);
    until("the room is free again", || async {
        router.forward(peer, &addresses, request(4, 100_000), PATIENCE).await.ok()
    })
    .await;
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn requests_over_the_total_limit_are_refused_at_once() {
    let mut tight = config();
    tight.limits.requests = 2;
    let network = start(tight).await;
    network.serve(echo());
    let router = start(config()).await;
    // Requests of two peers that begin and do not go on.
    let (_endpoint, connection) = connect(&network).await;
    let (_other_endpoint, other) = connect(&network).await;
    let mut held = [Held::new(&connection, b"GLIA", 1).await, Held::new(&other, b"GLIA", 1).await];
    let (peer, addresses) = (network.peer_id(), network.data_addresses());
    let refused = async {
        loop {
            let answer = router.forward(peer, &addresses, request(1, 10), PATIENCE).await;
            if matches!(answer, Err(ForwardError::Refused(Refusal::Busy { .. }))) {
                break;
            }
            for held in &mut held {
                held.renew().await;
            }
        }
    };
    soon("a third one is refused", refused).await;
    drop(held);
    until("then there is room", || async { router.forward(peer, &addresses, request(2, 10), PATIENCE).await.ok() })
        .await;
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn one_peer_cannot_hold_the_memory_of_all() {
    let mut tight = config();
    tight.limits.payload_bytes = 8 * 1024 * 1024;
    tight.limits.request_payload = 1024 * 1024;
    let network = start(tight).await;
    network.serve(echo());
    let router = start(config()).await;
    let (_endpoint, connection) = connect(&network).await;
    // Together they announce all the memory there is, and send none of it.
    let announced = frame::encode(&request(9, 256 * 1024).into()).unwrap().head;
    let mut held = Held::new(&connection, &announced, 8).await;
    assert_eq!(answers(&mut held, 7).await, [REFUSAL; 7]);
    let answer = router.forward(network.peer_id(), &network.data_addresses(), request(1, 256 * 1024), PATIENCE).await;
    answer.expect("there is room for others");
    drop(held);
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn one_peer_cannot_hold_all_requests() {
    let mut tight = config();
    tight.limits.requests = 16;
    let network = start(tight).await;
    network.serve(echo());
    let router = start(config()).await;
    let (_endpoint, connection) = connect(&network).await;
    let mut held = Held::new(&connection, b"GLIA", 16).await;
    assert_eq!(answers(&mut held, 14).await, [REFUSAL; 14]);
    let answer = router.forward(network.peer_id(), &network.data_addresses(), request(1, 10), PATIENCE).await;
    answer.expect("there is room for others");
    drop(held);
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_request_larger_than_the_server_wants_is_refused_before_its_payload() {
    let network = start(config()).await;
    network.serve(echo());
    let router = start(config()).await;
    let elements = 2 * 1024 * 1024 + 1;
    let (_endpoint, connection) = connect(&network).await;
    // Only the head is sent: whoever waited for the payload would not answer.
    let head = frame::encode(&request(9, elements).into()).unwrap().head;
    assert_eq!(say(&connection, &head).await.unwrap()[5], REFUSAL);
    let answer = router.forward(network.peer_id(), &network.data_addresses(), request(1, elements), PATIENCE).await;
    assert!(matches!(answer, Err(ForwardError::Refused(Refusal::TooLarge(_)))), "{answer:?}");
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn in_a_full_table_the_connection_idle_longest_gives_way() {
    let mut tight = config();
    tight.limits.data_connections = 3;
    let network = start(tight).await;
    network.serve(echo());
    let (_first_endpoint, working) = connect(&network).await;
    // A request that begins and does not go on. Streams are taken in order: the answer to a later one says that the
    // server knows of it.
    let mut held = Held::new(&working, b"GLIA", 1).await;
    assert!(is_malformed(&say(&working, &[7; PREFIX_LEN]).await));
    let (_second_endpoint, idle) = connect(&network).await;
    let (_third_endpoint, later) = connect(&network).await;
    // The answers say that the server has listed both and which one is idle for longer.
    assert!(is_malformed(&say(&idle, &[7; PREFIX_LEN]).await));
    assert!(is_malformed(&say(&later, &[7; PREFIX_LEN]).await));

    let router = start(config()).await;
    let answer = router.forward(network.peer_id(), &network.data_addresses(), request(1, 10), PATIENCE).await;
    answer.expect("a newcomer finds a place");
    let reason = soon("the idle one is closed", idle.closed()).await;
    assert!(matches!(&reason, ConnectionError::ApplicationClosed(close) if close.error_code == TOO_MANY), "{reason}");
    assert!(working.close_reason().is_none() && later.close_reason().is_none());
    assert!(held.streams[0].1.read(&mut [0]).now_or_never().is_none(), "the open request goes on");
    for network in [&router, &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_caller_whose_idle_place_was_given_away_gets_a_new_one_unnoticed() {
    let mut tight = config();
    tight.limits.data_connections = 1;
    let network = start(tight).await;
    network.serve(echo());
    let routers = [start(config()).await, start(config()).await];
    for round in 0..6 {
        for router in &routers {
            let answer = until("an answer", || async {
                let answer =
                    router.forward(network.peer_id(), &network.data_addresses(), request(1, 10), PATIENCE).await;
                // The other one's request may not be over yet, seen from the server: then there is no place at all.
                answer.ok()
            })
            .await;
            assert_eq!(answer.id.0[0], 1, "round {round}");
        }
    }
    for network in [&routers[0], &routers[1], &network] {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_peer_that_connects_too_often_loses_its_oldest_connection() {
    let mut tight = config();
    tight.limits.data_connections_per_peer = 2;
    let network = start(tight).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut tls = libp2p_tls::make_client_config(&keypair(), None).unwrap();
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut connections = Vec::new();
    for _ in 0..3 {
        let connecting = endpoint.connect_with(config.clone(), network.data_addresses()[0], "x").unwrap();
        connections.push(connecting.await.unwrap());
    }
    soon("the first is closed", connections[0].closed()).await;
    assert!(connections[2].close_reason().is_none());
    network.stop().await;
}

#[tokio::test]
async fn a_caller_without_our_protocol_is_not_connected() {
    let network = start(config()).await;
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut tls = libp2p_tls::make_client_config(&keypair(), None).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let connecting = endpoint.connect_with(config, network.data_addresses()[0], "x").unwrap();
    assert!(soon("the handshake", connecting).await.is_err());
    network.stop().await;
}

async fn answered_with(answer: impl Fn(ForwardRequest) -> Vec<u8> + Send + 'static) -> ForwardError {
    let (peer, address, endpoint, _) = bare_server(move |message| {
        let Message::Request(request) = message else { panic!("not a request") };
        Some(answer(request))
    });
    let router = start(config()).await;
    let error = soon("an answer", router.forward(peer, &[address], request(1, 10), PATIENCE)).await.unwrap_err();
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
    error
}

#[tokio::test]
async fn an_expert_that_lies_about_lengths_is_not_believed() {
    for lie in [prefix(RESPONSE, 100, u64::MAX), prefix(RESPONSE, u32::MAX, 0), [7; PREFIX_LEN]] {
        let error = answered_with(move |_| lie.to_vec()).await;
        assert!(matches!(error, ForwardError::Protocol(_)), "{error}");
    }
    let error = answered_with(|request| bytes_of(reply(request).into())[..60].to_vec()).await;
    assert!(matches!(error, ForwardError::Protocol(_)), "cut short: {error}");
}

#[tokio::test]
async fn an_answer_to_another_request_is_not_believed() {
    let error = answered_with(|request| {
        let mut response = reply(request);
        response.id.0[0] ^= 1;
        bytes_of(response.into())
    })
    .await;
    assert!(matches!(error, ForwardError::Protocol(_)), "{error}");
    let error = answered_with(|request| {
        let mut response = reply(request);
        response.checkpoint = glia_protocol::ContentHash::of(b"a cheaper model");
        bytes_of(response.into())
    })
    .await;
    assert!(matches!(error, ForwardError::Protocol(_)), "{error}");
    let error = answered_with(|request| bytes_of(request.into())).await;
    assert!(matches!(error, ForwardError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn identities_prove_themselves_to_bare_tls_too() {
    // The other direction of trust: what bare TLS sees of our endpoint is our peer id.
    let identity = Identity::generate().unwrap();
    let mut named = config();
    named.identity = identity.clone();
    let network = start(named).await;
    let (_endpoint, connection) = connect(&network).await;
    let certificates =
        connection.peer_identity().unwrap().downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
    let peer = libp2p_tls::certificate::parse(&certificates[0]).unwrap().peer_id();
    assert_eq!(peer.to_string(), identity.peer_id().to_string());
    network.stop().await;
}
