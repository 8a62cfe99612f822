//! How long a frame takes to write and to read; tensor bytes are shared, so the size should hardly matter.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use glia_protocol::forward::{ForwardRequest, Message};
use glia_protocol::frame::{self, PREFIX_LEN, Prefix};
use glia_protocol::{ContentHash, RequestId, Tensor};

fn request(batch: u32) -> Message {
    let values: Vec<f32> = (0..batch * 1024).map(|i| i as f32).collect();
    Message::Request(ForwardRequest {
        id: RequestId([7; 16]),
        subnet: "vision".parse().expect("a name"),
        checkpoint: ContentHash([9; 32]),
        budget_ms: 2000,
        tensors: vec![Tensor::from_f32("features", &[batch, 1024], &values).expect("a tensor")],
    })
}

fn codec(c: &mut Criterion) {
    for batch in [1, 512] {
        let message = request(batch);
        let encoded = frame::encode(&message).expect("it encodes");
        let payload = Bytes::from(encoded.payload.concat());
        let mut group = c.benchmark_group(format!("{batch}x1024 f32"));
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function("encode", |b| b.iter(|| frame::encode(black_box(&message))));
        group.bench_function("decode", |b| {
            b.iter(|| {
                let (prefix, header) = encoded.head.split_first_chunk::<PREFIX_LEN>().expect("a prefix");
                frame::decode(Prefix::parse(prefix).expect("a prefix"), black_box(header), payload.clone())
            });
        });
        group.bench_function("to_f32", |b| {
            let Message::Request(request) = &message else { unreachable!("made above") };
            b.iter(|| black_box(&request.tensors[0]).to_f32());
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
