//! Trains one small expert, serves it on loopback, asks it for the first ten test images over QUIC, drains.
//!
//! ```text
//! cargo run --release -p glia-experts --example serve_one
//! ```

use std::time::Duration;

use glia_experts::device::DeviceChoice;
use glia_experts::evaluate::argmax;
use glia_experts::roster::{Entry, Kind};
use glia_experts::serve::{ExpertServer, ServeConfig};
use glia_experts::subnet::Subnet;
use glia_experts::train::{Progress, TrainOptions, train_one};
use glia_peer::{Identity, Network, NetworkConfig};
use glia_protocol::{ForwardRequest, RequestId, Tensor};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let subnet = Subnet::by_name("vision")?;
    let folder = std::env::temp_dir().join("glia-serve-one");
    let entry =
        Entry { name: "example".to_owned(), kind: Kind::Iid { examples: 1000, part: 0 }, seed: 1, split_seed: 7 };
    let bar = ProgressBar::new(0);
    let show = |progress: Progress| {
        if let Progress::Step { step, steps, loss, .. } = progress {
            bar.set_length(steps as u64);
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.3}"));
        }
    };
    let options = TrainOptions::default();
    let trained = train_one(&subnet, &entry, &folder, &options, &show, &CancellationToken::new())?;
    bar.finish_and_clear();
    println!("checkpoint {} in {}", trained.checkpoint.hash, trained.path.display());

    let network =
        |identity| Network::start(NetworkConfig::new("example".parse().unwrap_or_else(|_| unreachable!()), identity));
    let expert = network(Identity::generate()?).await?;
    let client = network(Identity::generate()?).await?;
    let (checkpoint, config) = (trained.checkpoint.hash, ServeConfig::default());
    let server =
        ExpertServer::start(expert.clone(), subnet.clone(), vec![trained.checkpoint], DeviceChoice::Auto, config)
            .await?;
    println!("serving on {:?} with {}", expert.data_addresses(), server.backend());

    let images = subnet.test().select(&[0, 100, 200, 300, 400, 1000, 1100, 1200, 1300, 1400]);
    let request = ForwardRequest {
        id: RequestId([0; 16]),
        subnet: subnet.name().clone(),
        checkpoint,
        budget_ms: 2000,
        tensors: vec![Tensor::from_u8("image", &[images.len() as u32, 28, 28], images.pixels().clone())?],
    };
    let answer = client.forward(expert.peer_id(), &expert.data_addresses(), request, Duration::from_secs(2)).await?;
    for (row, example) in answer.tensors[0].to_f32().chunks_exact(subnet.labels().len()).zip(images.iter()) {
        let top = argmax(row);
        let (says, is) = (&subnet.labels()[top], &subnet.labels()[usize::from(example.class)]);
        println!("{says:>12} {:5.1} %   (is {is})", row[top] * 100.0);
    }
    println!("waited {} µs, computed {} µs", answer.queue_us, answer.compute_us);
    println!("{:?}", server.drain(Duration::from_secs(5)).await);
    client.stop().await;
    expert.stop().await;
    Ok(())
}
