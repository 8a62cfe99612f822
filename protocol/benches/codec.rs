//! How long a frame takes to write and to read; tensor bytes are shared, so the size should hardly matter. And what a
//! receipt adds to each answer: to the expert (hash, sign) and to an auditor (hash, verify).

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use glia_protocol::forward::{ForwardRequest, ForwardResponse, Message};
use glia_protocol::frame::{self, PREFIX_LEN, Prefix};
use glia_protocol::receipt::{Receipt, tensors_hash};
use glia_protocol::testing::PeerKey;
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

/// An image of 784 bytes in, probabilities of 20 classes out, `batch` of each.
fn receipts(c: &mut Criterion) {
    let peer = PeerKey::from_seed(1);
    for batch in [1, 128] {
        let pixels = vec![7; 784 * batch as usize];
        let Message::Request(mut request) = request(1) else { unreachable!("made above") };
        request.tensors = vec![Tensor::from_u8("image", &[batch, 28, 28], pixels).expect("a tensor")];
        let values = vec![0.05; 20 * batch as usize];
        let mut response = ForwardResponse {
            id: request.id,
            checkpoint: request.checkpoint,
            queue_us: 1,
            compute_us: 2,
            batch,
            tensors: vec![Tensor::from_f32("probabilities", &[batch, 20], &values).expect("a tensor")],
            receipt: None,
        };
        let mut group = c.benchmark_group(format!("receipt, {batch} images"));
        let unsigned = Message::from(response.clone());
        group.bench_function("encode without", |b| b.iter(|| frame::encode(black_box(&unsigned))));
        group.bench_function("hash", |b| {
            b.iter(|| (tensors_hash(black_box(&request.tensors)), tensors_hash(black_box(&response.tensors))));
        });
        let make = || Receipt::sign(peer.id(), &request, &response, 1, |message| peer.sign(message));
        group.bench_function("hash and sign", |b| b.iter(|| black_box(make())));
        let receipt = make();
        response.receipt = Some(receipt.clone());
        let signed = Message::from(response.clone());
        group.bench_function("encode with", |b| b.iter(|| frame::encode(black_box(&signed))));
        group.bench_function("verify and cover", |b| {
            b.iter(|| receipt.verify().and_then(|()| receipt.covers(black_box(&request), black_box(&response))));
        });
        group.finish();
    }
}

criterion_group!(benches, codec, receipts);
criterion_main!(benches);
