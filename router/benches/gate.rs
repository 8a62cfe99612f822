//! Gate and selection for one input: 64 experts of 8 centroids, 32 features, 20 classes, k = 4.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use glia_protocol::descriptor::Centroid;
use glia_protocol::{ContentHash, Hotkey, PeerId};
use glia_router::expert::ExpertKey;
use glia_router::gate::{Bench, ExpertProbes, FitPolicy, ProbeSet, Slot, fit, select, weigh};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FEATURES: usize = 32;
const CLASSES: usize = 20;

fn unit(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let raw: Vec<f32> = (0..FEATURES).map(|_| rng.random_range(-1.0..1.0)).collect();
    let norm = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.iter().map(|v| v / norm).collect()
}

fn experts(n: usize, items: usize, rng: &mut ChaCha8Rng) -> (ProbeSet, Vec<ExpertProbes>) {
    let set = ProbeSet {
        features: (0..items).map(|_| unit(rng)).collect(),
        labels: (0..items).map(|_| rng.random_range(0..CLASSES)).collect(),
        classes: CLASSES,
    };
    let experts = (0..n).map(|i| ExpertProbes {
        key: ExpertKey { peer: PeerId([i as u8; 32]), checkpoint: ContentHash([i as u8; 32]) },
        centroids: (0..8).map(|_| Centroid { mean: unit(rng), weight: 0.125, radius: 0.7 }).collect(),
        rows: set
            .labels
            .iter()
            .map(|&y| {
                let mut row = vec![0.3 / (CLASSES - 1) as f32; CLASSES];
                row[if rng.random_bool(0.6) { y } else { 0 }] = 0.7;
                Some(Arc::from(row))
            })
            .collect(),
    });
    let experts = experts.collect();
    (set, experts)
}

fn gate(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (set, probed) = experts(64, 128, &mut rng);
    let policy = FitPolicy { prior_temperature: 0.1, min_probes: 30, k: 4 };
    let model = fit(&set, &probed, &policy);
    let slots = (0..64_u8).map(|i| Slot {
        hotkey: Hotkey([i; 32]),
        cluster: Some(u32::from(i)),
        proven: true,
        shut_out: false,
        slow: false,
    });
    let bench = Bench { slots: slots.collect(), least: 1 };
    let x = unit(&mut rng);
    c.bench_function("gate, select and weigh, 64 experts", |b| {
        b.iter(|| {
            let place = model.place(black_box(&x));
            let logit = |e: &ExpertProbes| model.logit(model.experts.get(&e.key), &e.centroids, black_box(&x), &place);
            let logits: Vec<f32> = probed.iter().map(logit).collect();
            let chosen = select::<ChaCha8Rng>(&bench, &logits, 4, 2, None);
            let members: Vec<f32> = chosen.members.iter().map(|&i| logits[i]).collect();
            weigh(&members, &[true; 4])
        });
    });
    let (set, probed) = experts(8, 1024, &mut rng);
    let mut group = c.benchmark_group("fit");
    group.sample_size(10);
    group.bench_function("8 experts, 1024 probes", |b| b.iter(|| fit(&set, &probed, &policy)));
}

criterion_group!(benches, gate);
criterion_main!(benches);
