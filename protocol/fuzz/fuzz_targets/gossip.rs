//! Any bytes as a heartbeat.
#![no_main]

use glia_protocol::gossip::Heartbeat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(beat) = Heartbeat::from_bytes(data) {
        assert_eq!(beat.to_bytes().expect("what is read can be written"), data);
    }
});
