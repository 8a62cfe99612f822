//! Any bytes as a signed descriptor, and as the body of one.
#![no_main]

use glia_protocol::codec;
use glia_protocol::descriptor::{ExpertDescriptor, SignedDescriptor};
use glia_protocol::limits::{MAX_CONTROL_MESSAGE, MAX_DESCRIPTOR};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = codec::decode::<SignedDescriptor>("signed descriptor", data, MAX_CONTROL_MESSAGE) {
        let network = "golden".parse().expect("a network id");
        let _ = signed.verify(&network, 1_800_000_000_000);
        let written = codec::encode("signed descriptor", &signed, MAX_CONTROL_MESSAGE);
        assert_eq!(written.expect("what is read can be written"), data);
    }
    if let Ok(body) = codec::decode::<ExpertDescriptor>("descriptor", data, MAX_DESCRIPTOR) {
        let _ = body.validate();
        let _ = (body.schema.input.elements(), body.schema.output.item_len());
        assert_eq!(codec::encode("descriptor", &body, MAX_DESCRIPTOR).expect("what is read can be written"), data);
    }
});
