//! An expert behind a real loopback network: QUIC in, probabilities out.

use std::time::Duration;

use glia_experts::checkpoint::LoadedCheckpoint;
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate;
use glia_experts::roster::{Entry, Kind};
use glia_experts::serve::{ExpertServer, ServeConfig};
use glia_experts::train::{TrainOptions, train_one};
use glia_peer::{ForwardError, Identity, Network, NetworkConfig};
use glia_protocol::{ContentHash, ForwardRequest, Refusal, RequestId, Tensor};
use tokio_util::sync::CancellationToken;

use crate::vision;

const DEADLINE: Duration = Duration::from_secs(30);

fn trained() -> LoadedCheckpoint {
    let folder = tempfile::tempdir().unwrap();
    let entry = Entry { name: "shard".to_owned(), kind: Kind::Iid { examples: 200, part: 0 }, seed: 3, split_seed: 7 };
    let options = TrainOptions { images: 1000, device: DeviceChoice::Cpu, ..TrainOptions::default() };
    train_one(vision(), &entry, folder.path(), &options, &|_| {}, &CancellationToken::new()).unwrap().checkpoint
}

async fn network(seed: u8) -> Network {
    let config = NetworkConfig::new("experts-test".parse().unwrap(), Identity::from_seed([seed; 32]));
    Network::start(config).await.unwrap()
}

fn request(checkpoint: ContentHash, from: usize, count: usize) -> ForwardRequest {
    let pixels = vision().test().pixels().slice(from * 784..(from + count) * 784);
    ForwardRequest {
        id: RequestId([from as u8; 16]),
        subnet: vision().name().clone(),
        checkpoint,
        budget_ms: 0,
        tensors: vec![Tensor::from_u8("image", &[count as u32, 28, 28], pixels).unwrap()],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trained_expert_answers_over_the_network_exactly_as_it_does_at_home() {
    let checkpoint = trained();
    let (expert, caller) = (network(1).await, network(2).await);
    let server = ExpertServer::start(
        expert.clone(),
        vision().clone(),
        vec![checkpoint.clone()],
        DeviceChoice::Cpu,
        ServeConfig::default(),
    )
    .await
    .unwrap();
    let offers = server.offers();
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].checkpoint, offers[0].backend.as_str()), (checkpoint.hash, "flex"));
    assert_eq!(offers[0].feature_map, vision().feature_map_hash());

    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = vision().test().select(&(0..24).collect::<Vec<_>>());
    let local = evaluate::probabilities(&checkpoint, vision(), &device, &split).unwrap();
    let addresses = expert.data_addresses();
    let asked: Vec<_> = (0..24)
        .step_by(4)
        .map(|from| {
            let (caller, addresses, to) = (caller.clone(), addresses.clone(), expert.peer_id());
            let request = request(checkpoint.hash, from, 4);
            tokio::spawn(async move { caller.forward(to, &addresses, request, DEADLINE).await })
        })
        .collect();
    for (index, answer) in asked.into_iter().enumerate() {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.checkpoint, checkpoint.hash);
        let want = &local.values()[index * 80..(index + 1) * 80];
        for (got, want) in answer.tensors[0].to_f32().iter().zip(want) {
            assert!((got - want).abs() < 1e-4, "answer {got}, at home {want}");
        }
        let receipt = answer.receipt.clone().expect("every answer is signed");
        assert_eq!(receipt.verify(), Ok(()));
        assert_eq!(receipt.covers(&request(checkpoint.hash, index * 4, 4), &answer), Ok(()));
    }
    assert_eq!(server.load().served, 6);

    // Anybody can have the model that answered.
    let length = offers[0].published.expect("published unless told otherwise");
    let (to, subnet) = (expert.peer_id(), vision().name());
    let file = caller.fetch_checkpoint(to, &addresses, subnet, checkpoint.hash, length, DEADLINE).await.unwrap();
    assert_eq!(file.len() as u64, length);
    let fetched = LoadedCheckpoint::from_bytes(&file, vision()).unwrap();
    assert_eq!((fetched.hash, &fetched.file), (checkpoint.hash, &checkpoint.file));
    let closed = ServeConfig { publish: false, ..ServeConfig::default() };
    let private = ExpertServer::local(vision().clone(), vec![checkpoint.clone()], DeviceChoice::Cpu, closed);
    let private = private.await.unwrap();
    assert_eq!(private.offers()[0].published, None);
    assert_eq!(private.handler().checkpoint(caller.peer_id(), subnet, checkpoint.hash), None);

    let unknown = caller.forward(expert.peer_id(), &addresses, request(ContentHash([9; 32]), 0, 1), DEADLINE).await;
    assert_eq!(unknown, Err(ForwardError::Refused(Refusal::UnknownExpert)));

    let report = server.drain(Duration::from_secs(10)).await;
    assert_eq!((report.unfinished, report.device_ended), (0, true));
    let after = caller.forward(expert.peer_id(), &addresses, request(checkpoint.hash, 0, 1), DEADLINE).await;
    assert!(matches!(after, Err(ForwardError::Refused(Refusal::Busy { .. }))), "{after:?}");
    caller.stop().await;
    expert.stop().await;
}
