//! Two peers in one process: one serves tensors back, the other measures the round trip.
//!
//! `cargo run --release -p glia-peer --example tensor_echo -- 3000000`  (bytes per request)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use glia_peer::{ForwardHandler, Identity, Network, NetworkConfig};
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Refusal, RequestId, Tensor};

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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let bytes: u32 = match std::env::args().nth(1) {
        Some(text) => text.parse().context("the argument is the number of bytes per request")?,
        None => 3_000_000,
    };
    let server = Network::start(NetworkConfig::new("demo".parse()?, Identity::generate()?)).await?;
    let client = Network::start(NetworkConfig::new("demo".parse()?, Identity::generate()?)).await?;
    server.serve(Arc::new(Echo));

    let mut times = Vec::new();
    for n in 0..50u8 {
        let request = ForwardRequest {
            id: RequestId([n; 16]),
            subnet: "vision".parse()?,
            checkpoint: ContentHash::of(b"echo"),
            budget_ms: 0,
            tensors: vec![Tensor::from_u8("x", &[1, bytes], vec![n; bytes as usize])?],
        };
        let sent = request.tensors.clone();
        let begin = Instant::now();
        let answer =
            client.forward(server.peer_id(), &server.data_addresses(), request, Duration::from_secs(10)).await?;
        times.push(begin.elapsed());
        anyhow::ensure!(answer.tensors == sent, "the echo is not what was sent");
    }
    println!(
        "{bytes} bytes there and back over QUIC between {} and {}",
        client.peer_id().short(),
        server.peer_id().short()
    );
    println!("first, with the handshake: {:?}", times[0]);
    times.sort_unstable();
    println!("median: {:?}, 95th percentile: {:?}", times[times.len() / 2], times[times.len() * 95 / 100]);
    client.stop().await;
    server.stop().await;
    Ok(())
}
