//! What a receipt proves, and what it does not.

use glia_protocol::receipt::{Receipt, ReceiptError, tensors_hash};
use glia_protocol::tensor::{DType, Tensor, TensorHeader};
use glia_protocol::testing::{self, PeerKey};
use glia_protocol::{ContentHash, RequestId};
use proptest::prelude::*;

use crate::roundtrip::decode_frame;
use crate::samples::{self, NOW_MS, peer, request, response};

fn receipt() -> Receipt {
    response().receipt.unwrap()
}

#[test]
fn honest_receipt_is_signed_and_covers_its_answer() {
    let receipt = receipt();
    assert_eq!((receipt.peer, receipt.request, receipt.answered_at_ms), (peer().id(), request().id, NOW_MS));
    assert_eq!(receipt.verify(), Ok(()));
    assert_eq!(receipt.covers(&request(), &response()), Ok(()));
    // The budget is rewritten on its way, and the times of the answer are no part of what was computed.
    let (mut request, mut response) = (request(), samples::unsigned_response());
    (request.budget_ms, response.queue_us, response.compute_us, response.batch) = (1, 2, 3, 4);
    assert_eq!(receipt.covers(&request, &response), Ok(()));
}

#[test]
fn every_field_is_signed() {
    let other = ContentHash([9; 32]);
    type Spoil = fn(&mut Receipt, ContentHash);
    let bad: [(&str, Spoil); 10] = [
        ("request", |r, _| r.request.0[3] ^= 1),
        ("peer", |r, _| r.peer = PeerKey::from_seed(9).id()),
        ("subnet", |r, _| r.subnet = testing::subnet("visiom")),
        ("longer subnet", |r, _| r.subnet = testing::subnet("vision-2")),
        ("checkpoint", |r, other| r.checkpoint = other),
        ("input", |r, other| r.input = other),
        ("output", |r, other| r.output = other),
        ("time", |r, _| r.answered_at_ms += 1),
        ("signature", |r, _| r.signature.0[7] ^= 1),
        ("swapped hashes", |r, _| std::mem::swap(&mut r.input, &mut r.output)),
    ];
    for (what, spoil) in bad {
        let mut receipt = receipt();
        spoil(&mut receipt, other);
        assert_eq!(receipt.verify(), Err(ReceiptError::BadSignature(receipt.peer)), "{what}");
    }
}

#[test]
fn a_receipt_signed_by_a_stranger_is_not_the_peers() {
    let forged = Receipt::sign(peer().id(), &request(), &response(), NOW_MS, |m| PeerKey::from_seed(9).sign(m));
    assert_eq!(forged.verify(), Err(ReceiptError::BadSignature(peer().id())));
}

#[test]
fn receipt_of_another_answer_does_not_cover_this_one() {
    let (asked, answered, receipt) = (request(), response(), receipt());
    let mut other = asked.clone();
    other.id = RequestId([7; 16]);
    assert_eq!(receipt.covers(&other, &answered), Err(ReceiptError::Request));
    other = asked.clone();
    other.subnet = testing::subnet("language");
    assert_eq!(receipt.covers(&other, &answered), Err(ReceiptError::Subnet));
    other = asked.clone();
    other.checkpoint = ContentHash([7; 32]);
    assert_eq!(receipt.covers(&other, &answered), Err(ReceiptError::Checkpoint));
    other = asked.clone();
    other.tensors.swap(0, 1);
    assert_eq!(receipt.covers(&other, &answered), Err(ReceiptError::Input));
    let mut changed = answered.clone();
    changed.tensors = vec![Tensor::from_f32("probabilities", &[2, 2], &[0.25, 0.75, 1.0, -0.0]).unwrap()];
    assert_eq!(receipt.covers(&asked, &changed), Err(ReceiptError::Output), "even the sign of a zero");
    changed = answered.clone();
    changed.id = RequestId([7; 16]);
    assert_eq!(receipt.covers(&asked, &changed), Err(ReceiptError::Request));
    changed = answered;
    changed.checkpoint = ContentHash([7; 32]);
    assert_eq!(receipt.covers(&asked, &changed), Err(ReceiptError::Checkpoint));
}

#[test]
fn every_part_of_a_tensor_is_hashed() {
    let tensor = |name: &str, dtype, shape: &[u32], byte: u8| {
        let header = TensorHeader { name: name.to_owned(), dtype, shape: shape.to_vec() };
        let len = header.byte_len().unwrap();
        Tensor::new(header, vec![byte; len].into()).unwrap()
    };
    let lists = [
        vec![],
        vec![tensor("a", DType::U8, &[4], 0)],
        vec![tensor("b", DType::U8, &[4], 0)],
        vec![tensor("a", DType::U8, &[4], 1)],
        vec![tensor("a", DType::U8, &[2, 2], 0)],
        vec![tensor("a", DType::U8, &[4, 1], 0)],
        vec![tensor("a", DType::F16, &[2], 0)],
        vec![tensor("a", DType::BF16, &[2], 0)],
        vec![tensor("a", DType::F32, &[1], 0)],
        vec![tensor("a", DType::F32, &[], 0)],
        vec![tensor("", DType::U8, &[4], 0)],
        vec![tensor("a", DType::U8, &[2], 0), tensor("b", DType::U8, &[2], 0)],
        vec![tensor("b", DType::U8, &[2], 0), tensor("a", DType::U8, &[2], 0)],
    ];
    for (i, a) in lists.iter().enumerate() {
        for (j, b) in lists.iter().enumerate() {
            assert_eq!(tensors_hash(a) == tensors_hash(b), i == j, "{i} {j}");
        }
    }
}

#[test]
fn a_receipt_adds_224_bytes_to_an_answer() {
    let with = samples::frame_bytes(&response().into());
    let without = samples::frame_bytes(&samples::unsigned_response().into());
    assert_eq!(with.len() - without.len(), 16 + 32 + 7 + 3 * 32 + 9 + 64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_here_is_verified_there(tensors in testing::tensors(), time in any::<u64>()) {
        let mut asked = request();
        asked.tensors = tensors;
        let mut answered = samples::unsigned_response();
        answered.receipt = Some(Receipt::sign(peer().id(), &asked, &answered, time, |m| peer().sign(m)));
        let travelled = decode_frame(&samples::frame_bytes(&answered.into())).unwrap();
        let glia_protocol::forward::Message::Response(answered) = travelled else { panic!("another message") };
        let receipt = answered.receipt.clone().unwrap();
        prop_assert_eq!(receipt.verify(), Ok(()));
        prop_assert_eq!(receipt.covers(&asked, &answered), Ok(()));
    }
}
