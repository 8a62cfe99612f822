//! Forward passes over our data plane against the same bytes over bare quinn with the same TLS: what framing, pool,
//! limits and handler cost.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use glia_peer::{ForwardHandler, Identity, Network, NetworkConfig};
use glia_protocol::version::DATA_ALPN;
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Refusal, RequestId, Tensor};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint};
use tokio::runtime::Runtime;

const SIZES: [u32; 3] = [784, 256 * 1024, 3 * 1024 * 1024];

struct Echo;

impl ForwardHandler for Echo {
    fn forward(
        &self,
        _caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        Box::pin(async move {
            Ok(ForwardResponse {
                id: request.id,
                checkpoint: request.checkpoint,
                queue_us: 0,
                compute_us: 0,
                batch: 1,
                tensors: request.tensors,
                receipt: None,
            })
        })
    }
}

fn request(bytes: u32) -> ForwardRequest {
    ForwardRequest {
        id: RequestId([1; 16]),
        subnet: "vision".parse().unwrap(),
        checkpoint: ContentHash::of(b"echo"),
        budget_ms: 0,
        tensors: vec![Tensor::from_u8("x", &[1, bytes], vec![7; bytes as usize]).unwrap()],
    }
}

async fn peer() -> Network {
    Network::start(NetworkConfig::new("bench".parse().unwrap(), Identity::generate().unwrap())).await.unwrap()
}

/// A bare echo server and a connection to it.
async fn bare() -> (Endpoint, Endpoint, Connection) {
    let key = || libp2p::identity::Keypair::generate_ed25519();
    let windows = || {
        let mut transport = quinn::TransportConfig::default();
        transport
            .stream_receive_window(quinn::VarInt::from_u32(8 << 20))
            .receive_window(quinn::VarInt::from_u32(32 << 20));
        transport.send_window(32 << 20);
        Arc::new(transport)
    };
    let mut tls = libp2p_tls::make_server_config(&key()).unwrap();
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(windows());
    let server = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok(connection) = incoming.await else { continue };
            tokio::spawn(async move {
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    tokio::spawn(async move {
                        let bytes = recv.read_to_end(usize::MAX).await.unwrap();
                        send.write_chunk(bytes.into()).await.unwrap();
                        send.finish().unwrap();
                    });
                }
            });
        }
    });
    let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut tls = libp2p_tls::make_client_config(&key(), None).unwrap();
    tls.alpn_protocols = vec![DATA_ALPN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(windows());
    let connection = client.connect_with(config, server.local_addr().unwrap(), "bare").unwrap().await.unwrap();
    (server, client, connection)
}

fn round_trips(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (server, client) = runtime.block_on(async { (peer().await, peer().await) });
    server.serve(Arc::new(Echo));
    let (_server, _client, connection) = runtime.block_on(bare());
    let mut group = criterion.benchmark_group("tensor round trip");
    for bytes in SIZES {
        group.throughput(Throughput::Bytes(2 * u64::from(bytes)));
        group.bench_with_input(BenchmarkId::new("forward", bytes), &bytes, |bencher, &bytes| {
            let (request, addresses) = (request(bytes), server.data_addresses());
            bencher.iter(|| {
                let call = client.forward(server.peer_id(), &addresses, request.clone(), Duration::from_secs(10));
                runtime.block_on(call).unwrap()
            });
        });
        group.bench_with_input(BenchmarkId::new("bare quinn", bytes), &bytes, |bencher, &bytes| {
            let payload = bytes::Bytes::from(vec![7; bytes as usize]);
            bencher.iter(|| {
                runtime.block_on(async {
                    let (mut send, mut recv) = connection.open_bi().await.unwrap();
                    send.write_chunk(payload.clone()).await.unwrap();
                    send.finish().unwrap();
                    recv.read_to_end(usize::MAX).await.unwrap()
                })
            });
        });
    }
    group.finish();
    runtime.block_on(async { tokio::join!(client.stop(), server.stop()) });
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
