//! Pieces of a checkpoint's file.

use bytes::Bytes;
use glia_protocol::frame;
use glia_protocol::limits::{MAX_CHECKPOINT, MAX_CHUNK};
use glia_protocol::transfer::CheckpointRequest;

use crate::samples;

fn ask(offset: u64, length: u32) -> CheckpointRequest {
    CheckpointRequest { offset, length, ..samples::checkpoint_request() }
}

#[test]
fn pieces_put_together_are_the_file() {
    let file = Bytes::from((0..2500u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    for length in [1000, 2499, 2500, 2501, MAX_CHUNK as u32] {
        let mut whole = Vec::new();
        while whole.len() < file.len() {
            let asked = ask(whole.len() as u64, length);
            let chunk = asked.answer(&file).unwrap();
            assert!(asked.is_answered_by(&chunk));
            assert_eq!(chunk.total, 2500);
            whole.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(whole, file);
    }
    assert_eq!(ask(2500, 1).answer(&file), None);
    assert_eq!(ask(u64::MAX, 1).answer(&file), None);
    assert_eq!(ask(0, 1).answer(&Bytes::new()), None);
}

#[test]
fn another_piece_than_the_one_asked_for_is_no_answer() {
    let file = Bytes::from(vec![7; 2500]);
    let asked = ask(1000, 1000);
    let good = asked.answer(&file).unwrap();
    let mut others = vec![good.clone(); 6];
    others[0].id.0[0] ^= 1;
    others[1].checkpoint.0[0] ^= 1;
    others[2].offset = 0;
    others[3].bytes = good.bytes.slice(..999);
    others[4].bytes = file.slice(..1001);
    others[5].total = 1999;
    for (n, other) in others.iter().enumerate() {
        assert!(!asked.is_answered_by(other), "{n}");
    }
    assert!(asked.is_answered_by(&good));
}

#[test]
fn what_a_reader_refuses_is_not_written() {
    for (offset, length) in [(0, 0), (0, MAX_CHUNK as u32 + 1), (MAX_CHECKPOINT as u64, 1)] {
        assert!(frame::encode(&ask(offset, length).into()).is_err(), "{offset} {length}");
    }
    let chunk = samples::checkpoint_chunk();
    let mut bad = vec![chunk.clone(); 4];
    bad[0].total = 0;
    bad[1].total = MAX_CHECKPOINT as u64 + 1;
    bad[2].bytes = Bytes::new();
    bad[3].offset = chunk.total;
    for (n, chunk) in bad.into_iter().enumerate() {
        assert!(frame::encode(&chunk.into()).is_err(), "{n}");
    }
    assert!(frame::encode(&chunk.into()).is_ok());
}

#[test]
fn a_chunk_travels_without_being_copied() {
    let chunk = samples::checkpoint_chunk();
    let encoded = frame::encode(&chunk.clone().into()).unwrap();
    assert_eq!(encoded.payload[0].as_ptr(), chunk.bytes.as_ptr());
}
