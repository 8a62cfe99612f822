//! Time of a forward pass of the small net, by batch.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::roster::{Entry, Kind};
use glia_experts::subnet::Subnet;
use glia_experts::train::{TrainOptions, train_one};
use glia_protocol::Tensor;
use tokio_util::sync::CancellationToken;

fn forward(c: &mut Criterion) {
    let subnet = Subnet::by_name("vision").expect("the embedded subnet opens");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Speed does not depend on the values of the parameters, so none are trained.
    let entry = Entry { name: "bench".to_owned(), kind: Kind::Noise, seed: 1, split_seed: 0 };
    let options = TrainOptions { device: DeviceChoice::Cpu, ..TrainOptions::default() };
    let trained = train_one(&subnet, &entry, folder.path(), &options, &|_| {}, &CancellationToken::new())
        .expect("a noise checkpoint is written");
    let device = ComputeDevice::open(DeviceChoice::Cpu).expect("there is a CPU");
    let model = trained.checkpoint.model(&subnet, &device).expect("the architecture is known");
    let mut group = c.benchmark_group("forward");
    for batch in [1usize, 8, 32, 128] {
        let pixels = subnet.test().pixels().slice(..batch * 784);
        let input = Tensor::from_u8("image", &[batch as u32, 28, 28], pixels).expect("the batch is sound");
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(BenchmarkId::from_parameter(batch), &input, |b, input| {
            b.iter(|| black_box(model.forward(input)));
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
