//! Any bytes as a question and as an answer of the control plane.
#![no_main]

use glia_protocol::exchange::{ControlRequest, ControlResponse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(question) = ControlRequest::from_bytes(data) {
        assert_eq!(question.to_bytes().expect("what is read can be written"), data);
    }
    if let Ok(answer) = ControlResponse::from_bytes(data) {
        if let ControlResponse::Experts(experts) = &answer {
            let network = "golden".parse().expect("a network id");
            for expert in experts {
                let _ = expert.verify(&network, 1_800_000_000_000);
            }
        }
        assert_eq!(answer.to_bytes().expect("what is read can be written"), data);
    }
});
