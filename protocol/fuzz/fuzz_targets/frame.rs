//! Any bytes as a frame of the data plane.
#![no_main]

use bytes::Bytes;
use glia_protocol::forward::Message;
use glia_protocol::frame::{self, PREFIX_LEN, Pending, Prefix};
use glia_protocol::receipt::tensors_hash;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((prefix, rest)) = data.split_first_chunk::<PREFIX_LEN>() else { return };
    let Ok(prefix) = Prefix::parse(prefix) else { return };
    let Some((header, payload)) = rest.split_at_checked(prefix.header_len) else { return };
    let Ok(pending) = Pending::parse(prefix, header) else { return };
    let Ok(message) = pending.finish(Bytes::copy_from_slice(payload)) else { return };
    if let Message::Response(response) = &message
        && let Some(receipt) = &response.receipt
    {
        let _ = receipt.verify();
        let _ = tensors_hash(&response.tensors);
    }
    let written = frame::encode(&message).expect("what is read can be written").into_chunks().concat();
    assert_eq!(written, data);
});
