//! Re-execution against the answers of a real server.

use std::sync::OnceLock;

use glia_experts::checkpoint::{CheckpointError, LoadedCheckpoint, MAX_CHECKPOINT_BYTES};
use glia_experts::device::DeviceChoice;
use glia_experts::evaluate::argmax;
use glia_experts::reexecute::{MAX_ITEMS, ReexecuteError, reexecute};
use glia_experts::roster::{Entry, Kind};
use glia_experts::serve::{ExpertServer, ServeConfig};
use glia_experts::train::{TrainOptions, train_one};
use glia_protocol::{ContentHash, ForwardRequest, PeerId, RequestId, Tensor};
use tokio_util::sync::CancellationToken;

use crate::vision;

/// Bytes of a trained checkpoint.
fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let kind = Kind::Iid { examples: 200, part: 0 };
        let entry = Entry { name: "audited".to_owned(), kind, seed: 3, split_seed: 7 };
        let options = TrainOptions { images: 2000, device: DeviceChoice::Cpu, ..TrainOptions::default() };
        let trained = train_one(vision(), &entry, folder.path(), &options, &|_| {}, &CancellationToken::new()).unwrap();
        std::fs::read(trained.path).unwrap()
    })
}

fn input(from: usize, count: usize) -> Tensor {
    let pixels = vision().test().pixels().slice(from * 784..(from + count) * 784);
    Tensor::from_u8("image", &[count as u32, 28, 28], pixels).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_served_answer_is_repeated_to_the_bit_alone_and_to_four_digits_in_a_batch() {
    let checkpoint = LoadedCheckpoint::from_bytes(bytes(), vision()).unwrap();
    let hash = checkpoint.hash;
    let server = ExpertServer::local(vision().clone(), vec![checkpoint], DeviceChoice::Cpu, ServeConfig::default())
        .await
        .unwrap();
    let handler = server.handler();
    let ask = async |input: Tensor| {
        let request = ForwardRequest {
            id: RequestId([1; 16]),
            subnet: vision().name().clone(),
            checkpoint: hash,
            budget_ms: 60_000,
            tensors: vec![input],
        };
        handler.forward(PeerId([1; 32]), request).await.unwrap().tensors.remove(0)
    };
    for from in [0, 500, 1499] {
        let served = ask(input(from, 1)).await;
        assert_eq!(reexecute(vision(), bytes(), hash, &input(from, 1)).unwrap(), served, "image {from}");
    }
    for batch in [2, 7, 32, 128] {
        let served = ask(input(100, batch)).await;
        let here = reexecute(vision(), bytes(), hash, &input(100, batch)).unwrap();
        assert_eq!((here.name(), here.shape()), (served.name(), served.shape()));
        let (here, served) = (here.to_f32(), served.to_f32());
        for (a, b) in here.chunks_exact(20).zip(served.chunks_exact(20)) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "batch {batch}: {a:?} {b:?}");
            assert_eq!(argmax(a), argmax(b), "batch {batch}");
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_shares_its_batch() {
    let hash = ContentHash::of(bytes());
    let together = reexecute(vision(), bytes(), hash, &input(40, 9)).unwrap().to_f32();
    for item in 0..9 {
        let alone = reexecute(vision(), bytes(), hash, &input(40 + item, 1)).unwrap().to_f32();
        assert_eq!(alone, together[item * 20..(item + 1) * 20]);
    }
}

#[test]
fn what_is_not_the_promised_checkpoint_is_refused() {
    let hash = ContentHash::of(bytes());
    let wrong = reexecute(vision(), bytes(), ContentHash([1; 32]), &input(0, 1));
    assert!(matches!(wrong, Err(ReexecuteError::Hash { got, .. }) if got == hash), "{wrong:?}");
    let mut changed = bytes().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(reexecute(vision(), &changed, hash, &input(0, 1)), Err(ReexecuteError::Hash { .. })));
    // What was promised but never was a checkpoint.
    let rubbish = b"rubbish".as_slice();
    let refused = reexecute(vision(), rubbish, ContentHash::of(rubbish), &input(0, 1));
    assert!(matches!(refused, Err(ReexecuteError::Checkpoint(CheckpointError::Metadata(_)))), "{refused:?}");
    // Too large is refused before it is hashed.
    let large = vec![0; MAX_CHECKPOINT_BYTES + 1];
    let refused = reexecute(vision(), &large, ContentHash([1; 32]), &input(0, 1));
    assert!(matches!(refused, Err(ReexecuteError::TooLarge(n)) if n == MAX_CHECKPOINT_BYTES + 1), "{refused:?}");
}

#[test]
fn inputs_the_subnet_does_not_take_are_refused() {
    let hash = ContentHash::of(bytes());
    let odd = [
        Tensor::from_u8("image", &[1, 27, 28], vec![0; 27 * 28]).unwrap(),
        Tensor::from_u8("image", &[28, 28], vec![0; 784]).unwrap(),
        Tensor::from_u8("picture", &[1, 28, 28], vec![0; 784]).unwrap(),
        Tensor::from_f32("image", &[1, 28, 28], &[0.0; 784]).unwrap(),
    ];
    for input in odd {
        let refused = reexecute(vision(), bytes(), hash, &input);
        assert!(matches!(refused, Err(ReexecuteError::Input { .. })), "{refused:?}");
    }
    let many = Tensor::from_u8("image", &[MAX_ITEMS + 1, 28, 28], vec![0; (MAX_ITEMS as usize + 1) * 784]).unwrap();
    assert!(matches!(reexecute(vision(), bytes(), hash, &many), Err(ReexecuteError::TooMany(513))));
}
