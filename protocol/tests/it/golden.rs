//! The committed bytes of every wire message.

use std::collections::BTreeSet;

use glia_protocol::codec;
use glia_protocol::descriptor::SignedDescriptor;
use glia_protocol::limits::MAX_CONTROL_MESSAGE;

use crate::samples::{self, NOW_MS, REGENERATE};

#[test]
fn the_wire_is_what_it_was() {
    for (name, bytes) in samples::all() {
        let path = samples::folder().join(format!("{name}.bin"));
        let golden = std::fs::read(&path).unwrap_or_default();
        let differs =
            golden.iter().zip(&bytes).position(|(a, b)| a != b).unwrap_or_else(|| golden.len().min(bytes.len()));
        assert!(
            golden == bytes,
            "{name}.bin has {} bytes, the code now writes {}; they differ from byte {differs} on. Running peers could \
             not read this. Where that is meant, raise the version it belongs to (see SPEC.md, Versions), then run \
             `{REGENERATE}=1 cargo test -p glia-protocol golden` and commit the files.",
            golden.len(),
            bytes.len(),
        );
    }
}

#[test]
fn no_golden_file_is_left_over() {
    let names: BTreeSet<String> = samples::all().into_iter().map(|(name, _)| format!("{name}.bin")).collect();
    let files: BTreeSet<String> = std::fs::read_dir(samples::folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, names);
}

#[test]
fn golden_descriptor_is_accepted() {
    assert!(samples::all().iter().any(|(name, _)| name == "signed_descriptor"));
    let bytes = std::fs::read(samples::folder().join("signed_descriptor.bin")).unwrap();
    let signed: SignedDescriptor = codec::decode("signed descriptor", &bytes, MAX_CONTROL_MESSAGE).unwrap();
    let peer = samples::peer().id();
    let descriptor = signed.accept(&samples::network(), &peer, |_| Some(7), NOW_MS + 1000).unwrap();
    assert_eq!(descriptor, samples::descriptor());
}
