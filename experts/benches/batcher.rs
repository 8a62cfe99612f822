//! Time the batcher itself takes: 256 requests of two shapes in and out.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use glia_experts::serve::batcher::{BatchLimits, Batcher, Work};

struct Fake {
    key: u8,
    arrived: Instant,
}

impl Work for Fake {
    type Key = u8;

    fn key(&self) -> u8 {
        self.key
    }

    fn items(&self) -> u32 {
        1
    }

    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn deadline(&self) -> Instant {
        self.arrived + Duration::from_secs(1)
    }

    fn abandoned(&self) -> bool {
        false
    }
}

fn through_the_batcher(c: &mut Criterion) {
    let limits = BatchLimits { max_batch: 32, max_wait: Duration::from_millis(1) };
    c.bench_function("256 requests through the batcher", |b| {
        b.iter(|| {
            let now = Instant::now();
            let mut batcher = Batcher::new(limits);
            for n in 0..=255u8 {
                batcher.push(Fake { key: n % 2, arrived: now });
            }
            let later = now + Duration::from_millis(2);
            while let Some(batch) = batcher.take(later) {
                black_box(batch.len());
            }
        });
    });
}

criterion_group!(benches, through_the_batcher);
criterion_main!(benches);
