//! Liars in front of an honest handler.

use glia_protocol::{ContentHash, RequestId};
use tokio::sync::Notify;

use super::*;
use crate::stats::argmax;

/// Answers class 3 of 20 with 62 %, unless asked for another checkpoint.
struct Honest;

const MINE: ContentHash = ContentHash([1; 32]);

impl ForwardHandler for Honest {
    fn forward(
        &self,
        _: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        Box::pin(async move {
            if request.checkpoint != MINE {
                return Err(Refusal::UnknownExpert);
            }
            let items = request.tensors[0].batch();
            let mut row = [0.02; 20];
            row[3] = 0.62;
            let values = row.repeat(items as usize);
            let tensor = Tensor::from_f32("probabilities", &[items, 20], &values).unwrap();
            Ok(answer(request, tensor))
        })
    }

    fn checkpoint(&self, _: PeerId, _: &SubnetName, checkpoint: ContentHash) -> Option<Bytes> {
        (checkpoint == MINE).then(|| Bytes::from_static(b"the file"))
    }
}

fn answer(request: ForwardRequest, tensor: Tensor) -> ForwardResponse {
    ForwardResponse {
        id: request.id,
        checkpoint: request.checkpoint,
        queue_us: 1,
        compute_us: 2,
        batch: 1,
        tensors: vec![tensor],
        receipt: None,
    }
}

fn request(items: u32) -> ForwardRequest {
    ForwardRequest {
        id: RequestId([7; 16]),
        subnet: "vision".parse().unwrap(),
        checkpoint: MINE,
        budget_ms: 1000,
        tensors: vec![Tensor::from_u8("image", &[items, 28, 28], vec![0; items as usize * 784]).unwrap()],
    }
}

fn adversary(kind: &str) -> Adversary {
    Adversary::new(Arc::new(Honest), kind.parse().unwrap(), 5)
}

async fn rows(adversary: &Adversary, items: u32) -> Vec<Vec<f32>> {
    let response = adversary.forward(PeerId([1; 32]), request(items)).await.unwrap();
    assert_eq!((response.id, response.checkpoint), (RequestId([7; 16]), MINE));
    let tensor = &response.tensors[0];
    assert_eq!((tensor.name(), tensor.shape()), ("probabilities", [items, 20].as_slice()));
    tensor.to_f32().chunks_exact(20).map(<[f32]>::to_vec).collect()
}

async fn classes(adversary: &Adversary, items: u32) -> Vec<usize> {
    rows(adversary, items).await.iter().filter_map(|row| argmax(row)).collect()
}

#[tokio::test]
async fn every_lie_keeps_the_form_of_an_answer() {
    for behaviour in Behaviour::ALL.into_iter().filter(|behaviour| behaviour.kind() != "slow") {
        for row in rows(&adversary(&behaviour.to_string()), 3).await {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{behaviour}: {row:?}");
        }
    }
}

#[tokio::test]
async fn what_the_honest_handler_refuses_stays_refused() {
    for kind in ["noise", "constant", "collude", "copy", "sleeper", "uniform", "slow:1", "crash"] {
        let foreign = ForwardRequest { checkpoint: ContentHash([9; 32]), ..request(1) };
        let refused = adversary(kind).forward(PeerId([1; 32]), foreign).await;
        assert_eq!(refused.unwrap_err(), Refusal::UnknownExpert, "{kind}");
    }
}

#[test]
fn a_liar_hands_out_the_true_checkpoint() {
    let (peer, subnet) = (PeerId([1; 32]), "vision".parse().unwrap());
    assert_eq!(adversary("collude").checkpoint(peer, &subnet, MINE).unwrap(), "the file");
    assert!(adversary("collude").checkpoint(peer, &subnet, ContentHash([9; 32])).is_none());
}

#[tokio::test]
async fn liars_lie_about_every_item() {
    assert_eq!(classes(&adversary("constant:6"), 4).await, [6; 4]);
    assert_eq!(classes(&adversary("collude"), 4).await, [4; 4]);
    assert_eq!(classes(&adversary("collude:5"), 1).await, [8]);
    assert_eq!(classes(&adversary("copy"), 4).await, [3; 4]);
    let noise = rows(&adversary("noise"), 2).await;
    assert_ne!(noise[0], noise[1], "each item gets its own noise");
    let copies = (rows(&adversary("copy"), 1).await, rows(&adversary("copy"), 1).await);
    assert_eq!(copies.0, copies.1, "a liar of the same seed repeats itself");
}

#[tokio::test]
async fn a_sleeper_is_honest_to_probes_and_at_first() {
    let young = adversary("sleeper").aged_by(|| SLEEP - Duration::from_millis(1));
    assert_eq!(classes(&young, 1).await, [3]);
    let awake = adversary("sleeper").aged_by(|| SLEEP);
    assert_eq!(classes(&awake, 1).await, [4]);
    assert_eq!(classes(&awake, 2).await, [3, 3], "two items look like a probe");
}

#[tokio::test]
async fn a_slow_expert_is_late_and_honest() {
    let slow = adversary("slow:20");
    let asked = Instant::now();
    assert_eq!(classes(&slow, 1).await, [3]);
    assert!(asked.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_crashing_expert_refuses_then_falls_silent_then_ends() {
    let crash = adversary("crash:3").aged_by(|| Duration::ZERO);
    let ask = |items| crash.forward(PeerId([1; 32]), request(items));
    for _ in 0..2 {
        assert!(ask(1).await.is_ok());
    }
    assert!(matches!(ask(1).await, Err(Refusal::Failed(_))), "the third is refused");
    for _ in 0..2 {
        assert!(ask(1).await.is_ok());
    }
    // Silence: the answer does not come, however often it is asked for.
    let mut silent = ask(1);
    let polled = futures_poll(&mut silent).await;
    assert!(polled.is_none(), "the sixth is never answered");

    let ended = Arc::new(Notify::new());
    let end = Arc::clone(&ended);
    let old = adversary("crash:1").aged_by(|| LIFE).ends_by(move || end.notify_one());
    assert!(old.forward(PeerId([1; 32]), request(1)).await.is_err());
    ended.notified().await;
}

/// The outcome of a future if it has one at once.
async fn futures_poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T> {
    tokio::select! {
        biased;
        outcome = future => Some(outcome),
        () = std::future::ready(()) => None,
    }
}

#[test]
fn a_disguised_copy_has_another_hash_and_gives_the_same_answers() {
    use glia_experts::checkpoint::LoadedCheckpoint;
    use glia_experts::device::{ComputeDevice, DeviceChoice};
    use glia_experts::evaluate::probabilities;
    use glia_experts::roster::{Entry, Kind};
    use glia_experts::subnet::Subnet;
    use glia_experts::train::{CancellationToken, TrainOptions, train_one};

    let dir = tempfile::tempdir().unwrap();
    let subnet = Subnet::by_name("vision").unwrap();
    let entry = Entry { name: "good".into(), kind: Kind::Iid { examples: 60, part: 0 }, seed: 1, split_seed: 7 };
    let options = TrainOptions { images: 240, device: DeviceChoice::Cpu, ..TrainOptions::default() };
    let good = train_one(&subnet, &entry, dir.path(), &options, &|_| {}, &CancellationToken::new()).unwrap();
    let path = dir.path().join("copy.safetensors");
    disguise(&good.path, &path, "mallory", 3, &subnet).unwrap();
    let copy = LoadedCheckpoint::load(&path, &subnet).unwrap();
    assert_eq!(copy.meta.name, "mallory");
    assert_ne!(copy.hash, good.checkpoint.hash);
    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = subnet.validation().select(&(0..40).collect::<Vec<_>>());
    let (a, b) = (
        probabilities(&good.checkpoint, &subnet, &device, &split).unwrap(),
        probabilities(&copy, &subnet, &device, &split).unwrap(),
    );
    for (a, b) in a.values().iter().zip(b.values()) {
        assert!((a - b).abs() < 1e-4, "{a} became {b}");
    }
}
