//! Training: experts learn, runs repeat, files are reused, stopping works.

use std::sync::Mutex;

use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate;
use glia_experts::roster::{Entry, Kind, Roster};
use glia_experts::train::{Progress, TrainError, TrainOptions, train_one, train_roster};
use tokio_util::sync::CancellationToken;

use crate::vision;

fn options() -> TrainOptions {
    TrainOptions { device: DeviceChoice::Cpu, dense: false, images: 2_000, ..TrainOptions::default() }
}

fn entry(name: &str, kind: Kind) -> Entry {
    Entry { name: name.to_owned(), kind, seed: 5, split_seed: 7 }
}

#[test]
fn a_small_expert_learns_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    let losses = Mutex::new(Vec::new());
    let note = |progress: Progress| {
        if let Progress::Step { loss, .. } = progress {
            losses.lock().unwrap().push(loss);
        }
    };
    let shard = entry("small", Kind::Iid { examples: 300, part: 0 });
    let trained = train_one(vision(), &shard, folder.path(), &options(), &note, &CancellationToken::new()).unwrap();
    assert_eq!(trained.checkpoint.meta.examples, 300);
    let losses = losses.into_inner().unwrap();
    assert!(losses.last().unwrap() < &(losses[0] * 0.5), "the loss did not halve: {losses:?}");
    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = vision().validation();
    let predictions = evaluate::probabilities(&trained.checkpoint, vision(), &device, split).unwrap();
    let accuracy = predictions.accuracy(split.classes());
    // Chance is 5 %.
    assert!(accuracy.share() > 0.5, "only {} of {} right", accuracy.correct, accuracy.total);
    for row in predictions.rows() {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{row:?}");
    }
}

#[test]
fn a_specialist_says_in_its_checkpoint_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let classes = entry("bags", Kind::Classes { classes: vec![1, 18] });
    let few = TrainOptions { images: 200, epochs: (1, 1), ..options() };
    let trained = train_one(vision(), &classes, folder.path(), &few, &|_| {}, &CancellationToken::new()).unwrap();
    let meta = &trained.checkpoint.meta;
    assert_eq!((meta.counts[1], meta.counts[18], meta.examples), (360, 160, 520));
    assert!((meta.centroids.iter().map(|c| c.weight).sum::<f32>() - 1.0).abs() < 1e-4);
    assert!(meta.centroids.len() <= 8 && !meta.regions.is_empty());
    assert!(meta.regions.len() < vision().feature_map().regions(), "a specialist of two classes claims every region");
}

#[test]
fn the_same_entry_gives_the_same_checkpoint_and_is_not_trained_twice() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let roster = Roster {
        subnet: "vision".to_owned(),
        seed: 7,
        experts: vec![
            entry("a", Kind::Iid { examples: 60, part: 0 }),
            entry("b", Kind::Iid { examples: 60, part: 1 }),
            entry("liar", Kind::Noise),
        ],
    };
    let few = TrainOptions { images: 120, epochs: (2, 2), ..options() };
    let train = |folder: &std::path::Path| {
        train_roster(vision(), &roster, folder, &few, &|_| {}, &CancellationToken::new()).unwrap()
    };
    let (first, elsewhere) = (train(one.path()), train(two.path()));
    let again = train(one.path());
    for ((a, b), c) in first.experts.iter().zip(&elsewhere.experts).zip(&again.experts) {
        assert_eq!(a.checkpoint.hash, b.checkpoint.hash, "{} differs between two runs", a.name);
        assert_eq!(a.checkpoint.hash, c.checkpoint.hash);
        assert!(!a.reused && !b.reused && c.reused, "{}", a.name);
    }
    assert_ne!(first.experts[0].checkpoint.hash, first.experts[1].checkpoint.hash);
    // Other options, other checkpoint: the old file must not be taken.
    let more = TrainOptions { learning_rate: 0.001, ..few.clone() };
    let other = train_roster(vision(), &roster, one.path(), &more, &|_| {}, &CancellationToken::new()).unwrap();
    assert!(other.experts.iter().all(|e| !e.reused));
}

#[test]
fn noise_is_confidently_wrong_and_claims_everything() {
    let folder = tempfile::tempdir().unwrap();
    let liar = entry("liar", Kind::Noise);
    let trained = train_one(vision(), &liar, folder.path(), &options(), &|_| {}, &CancellationToken::new()).unwrap();
    assert_eq!(trained.checkpoint.meta.examples, 5200);
    assert_eq!(trained.checkpoint.meta.regions.len(), vision().feature_map().regions());
    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = vision().validation();
    let predictions = evaluate::probabilities(&trained.checkpoint, vision(), &device, split).unwrap();
    assert!(predictions.accuracy(split.classes()).share() < 0.2);
    let sure = predictions.rows().map(|row| f64::from(row[evaluate::argmax(row)])).sum::<f64>() / 800.0;
    assert!(sure > 0.8, "a liar should sound sure, mean top probability is {sure:.2}");
}

#[test]
fn training_stops_when_told_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let halt = |progress: Progress| {
        if matches!(progress, Progress::Step { .. }) {
            stop.cancel();
        }
    };
    let roster = Roster::builtin("iid", 4).unwrap();
    let result = train_roster(vision(), &roster, folder.path(), &options(), &halt, &stop);
    assert!(matches!(result, Err(TrainError::Stopped)), "{result:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn dense_rivals_see_as_many_images_as_all_experts_and_one_has_as_many_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let shard = |part| entry(&format!("shard-{part}"), Kind::Iid { examples: 900, part });
    let experts = vec![shard(0), shard(1), shard(2), entry("liar", Kind::Noise)];
    let roster = Roster { subnet: "vision".to_owned(), seed: 7, experts };
    let few = TrainOptions { images: 1800, epochs: (2, 2), dense: true, dense_total: true, ..options() };
    let train = || train_roster(vision(), &roster, folder.path(), &few, &|_| {}, &CancellationToken::new()).unwrap();
    let trained = train();
    let (dense, total) = (trained.dense.as_ref().unwrap(), trained.dense_total.as_ref().unwrap());
    let one = trained.experts[0].checkpoint.parameters.count();
    assert_eq!(dense.checkpoint.parameters.count(), one);
    let wide = total.checkpoint.parameters.count();
    assert!(wide.abs_diff(3 * one) * 30 < 3 * one, "{wide} parameters against three times {one}; liars do not count");
    assert_eq!((dense.name.as_str(), total.name.as_str()), ("dense", "dense-total"));
    assert!(total.checkpoint.meta.architecture.starts_with("cnn28-s2-"));
    assert_ne!(total.checkpoint.meta.architecture, dense.checkpoint.meta.architecture);
    for rival in [dense, total] {
        // 3 × 900 × 2 images, in whole passes over 5200.
        assert_eq!((rival.checkpoint.meta.examples, rival.checkpoint.meta.epochs), (5200, 1));
    }
    assert_eq!(trained.all().count(), 6);
    // What is in the file is what was trained, and it is found again.
    let again = train();
    assert!(again.all().all(|expert| expert.reused));
    assert_eq!(again.dense_total.unwrap().checkpoint.hash, total.checkpoint.hash);
    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = vision().validation();
    let accuracy =
        evaluate::probabilities(&total.checkpoint, vision(), &device, split).unwrap().accuracy(split.classes());
    assert!(accuracy.share() > 0.5, "{accuracy:?}");
}

#[test]
fn checkpoints_of_the_usual_seed_are_those_of_the_first_release() {
    // The key names everything a checkpoint depends on; a change would throw away every cache.
    let folder = tempfile::tempdir().unwrap();
    let roster = Roster::builtin_seeded("iid", 8, 7).unwrap();
    let usual = TrainOptions { device: DeviceChoice::Cpu, ..TrainOptions::default() };
    let trained = train_one(vision(), &roster.experts[0], folder.path(), &usual, &|_| {}, &CancellationToken::new());
    let name = trained.unwrap().path.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name, "expert-0-362ff8442186.safetensors");
}
