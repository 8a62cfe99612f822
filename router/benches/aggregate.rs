//! Pooling and scoring of one input: 20 classes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use glia_router::aggregate::{linear_pool, sharpen};
use glia_router::scoring::shapley::shapley;

fn aggregate(c: &mut Criterion) {
    let row: Vec<f32> = (0..20).map(|i| if i == 3 { 0.81 } else { 0.01 }).collect();
    let rows = vec![row; 4];
    c.bench_function("calibrate, pool and sharpen, k = 4", |b| {
        b.iter(|| {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| sharpen(black_box(row), 0.8)).collect();
            sharpen(&linear_pool(&[0.4, 0.3, 0.2, 0.1], &rows, 20), 1.3)
        });
    });
    let weights = [0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05];
    let right = [0.9, 0.8, 0.01, 0.3, 0.05, 0.6, 0.2, 0.1];
    c.bench_function("exact Shapley, k = 8, 20 classes", |b| {
        b.iter(|| shapley(black_box(&weights), black_box(&right), 20, 7));
    });
    let (weights, right) = (vec![1.0 / 12.0; 12], (1..=12).map(|i| 0.9 / i as f32).collect::<Vec<f32>>());
    c.bench_function("sampled Shapley, 12 members, 20 classes", |b| {
        b.iter(|| shapley(black_box(&weights), black_box(&right), 20, 7));
    });
}

criterion_group!(benches, aggregate);
criterion_main!(benches);
