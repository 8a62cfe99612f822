//! Checkpoint files: round trip, and every kind of damage refused.

use std::sync::OnceLock;

use glia_experts::checkpoint::{CheckpointError, LoadedCheckpoint, MAX_CHECKPOINT_BYTES};
use glia_experts::roster::{Entry, Kind};
use glia_experts::train::{TrainOptions, train_one};
use glia_protocol::ContentHash;
use tokio_util::sync::CancellationToken;

use crate::vision;

/// Bytes of a small sound checkpoint.
fn sound() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry { name: "liar".to_owned(), kind: Kind::Noise, seed: 1, split_seed: 0 };
        let options = TrainOptions::default();
        let trained = train_one(vision(), &entry, folder.path(), &options, &|_| {}, &CancellationToken::new()).unwrap();
        std::fs::read(trained.path).unwrap()
    })
}

fn load(bytes: &[u8]) -> Result<LoadedCheckpoint, CheckpointError> {
    LoadedCheckpoint::from_bytes(bytes, vision())
}

/// The file with its JSON header changed.
fn with_header(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let bytes = sound();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = change(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&bytes[8 + length..]);
    out
}

#[test]
fn what_was_written_is_loaded_and_named_by_its_hash() {
    let loaded = load(sound()).unwrap();
    assert_eq!(loaded.hash, ContentHash::of(sound()));
    assert_eq!(loaded.meta.name, "liar");
    assert_eq!(LoadedCheckpoint::encode(&loaded.meta, &loaded.parameters).unwrap(), sound());
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    for length in (0..sound().len()).step_by(509).chain([1, 7, 8, 9, sound().len() - 1]) {
        assert!(load(&sound()[..length]).is_err(), "{length} bytes were taken for a checkpoint");
    }
    let longer = [sound(), &[0]].concat();
    assert!(load(&longer).is_err(), "bytes after the end were ignored");
}

#[test]
fn a_lie_about_the_header_length_costs_no_memory() {
    for lie in [u64::MAX, 1 << 40, 300 * 1024] {
        let mut bytes = sound().to_vec();
        bytes[..8].copy_from_slice(&lie.to_le_bytes());
        assert!(load(&bytes).is_err(), "header length {lie}");
    }
    assert!(matches!(load(&vec![0; MAX_CHECKPOINT_BYTES + 1]), Err(CheckpointError::TooLarge)));
}

#[test]
fn impossible_shapes_and_dtypes_are_refused() {
    for (from, to) in [
        ("\"shape\":[20]", "\"shape\":[18446744073709551615,20]"),
        ("\"shape\":[784,20]", "\"shape\":[20,784]"),
        ("\"dtype\":\"F32\"", "\"dtype\":\"I32\""),
        ("head.bias", "toes.bias"),
    ] {
        let bytes = with_header(|header| {
            assert!(header.contains(from), "{header}");
            header.replacen(from, to, 1)
        });
        assert!(load(&bytes).is_err(), "{from} → {to} was accepted");
    }
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    for (from, to) in [
        ("\\\"examples\\\":5200", "\\\"examples\\\":5201"),
        ("\\\"subnet\\\":\\\"vision\\\"", "\\\"subnet\\\":\\\"smell\\\""),
        ("\\\"architecture\\\":\\\"cnn28-s2-8-16\\\"", "\\\"architecture\\\":\\\"cnn29\\\""),
        ("\\\"regions\\\":[0,", "\\\"regions\\\":[200,"),
        ("\\\"format\\\":1", "\\\"format\\\":2"),
        ("\\\"name\\\":\\\"liar\\\"", "\\\"name\\\":\\\"\\\""),
        ("\\\"feature_map\\\":\\\"", "\\\"feature_map\\\":\\\"00"),
    ] {
        let bytes = with_header(|header| {
            assert!(header.contains(from), "{from} is not in {header}");
            header.replacen(from, to, 1)
        });
        assert!(load(&bytes).is_err(), "{from} → {to} was accepted");
    }
}

#[test]
fn numbers_that_are_not_numbers_are_refused() {
    for poison in [f32::NAN, f32::INFINITY] {
        let mut bytes = sound().to_vec();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&poison.to_le_bytes());
        assert!(matches!(load(&bytes), Err(CheckpointError::Tensors(_))));
    }
}

#[test]
fn other_peoples_safetensors_are_refused() {
    let empty = b"\x02\0\0\0\0\0\0\0{}";
    assert!(matches!(load(empty), Err(CheckpointError::Metadata(_))));
    assert!(load(b"not a checkpoint at all").is_err());
}
