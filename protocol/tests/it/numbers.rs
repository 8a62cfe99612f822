//! Numbers on the wire: once given, never given again. `SPEC.md` has the same tables.

use glia_protocol::codec;
use glia_protocol::exchange::{ControlRequest, ControlResponse, Hello};
use glia_protocol::forward::Refusal;
use glia_protocol::frame::FrameKind;
use glia_protocol::gossip::{Load, Presence};
use glia_protocol::schema::Task;
use glia_protocol::tensor::DType;
use glia_protocol::testing;
use glia_protocol::{Hotkey, SubnetName};

use crate::samples;

/// Every variant of `$enum` with its number: a match without a rest, so that a new variant must be added here.
macro_rules! numbers {
    ($enum:ident: $($number:literal = $variant:ident $value:expr;)+) => {{
        let check = |value: &$enum| match value { $($enum::$variant { .. } => ($number as u8, stringify!($variant)),)+ };
        for value in [$($value),+] {
            let (number, name) = check(&value);
            let bytes = codec::encode("variant", &value, 1 << 20).unwrap();
            assert_eq!(bytes[0], number, "{}::{name}", stringify!($enum));
        }
        (stringify!($enum), vec![$(($number as u8, stringify!($variant))),+])
    }};
}

/// Enum, and number and name of each variant.
pub(crate) fn all() -> Vec<(&'static str, Vec<(u8, &'static str)>)> {
    let hello = || Hello { network: samples::network(), versions: vec![1], agent: String::new() };
    let vision: SubnetName = testing::subnet("vision");
    let signature = samples::hotkey_signatures()[1];
    vec![
        numbers!(DType: 0 = F32 DType::F32; 1 = F16 DType::F16; 2 = BF16 DType::BF16; 3 = I64 DType::I64; 4 = U8 DType::U8;),
        numbers!(Task: 0 = Classification Task::Classification { classes: vec![] };),
        numbers!(ControlRequest:
            0 = Hello ControlRequest::Hello(hello());
            1 = DescribeExperts ControlRequest::DescribeExperts { subnet: vision };
            2 = ProvePossession ControlRequest::ProvePossession { nonce: [0; 32] };
        ),
        numbers!(ControlResponse:
            0 = Hello ControlResponse::Hello(hello());
            1 = Experts ControlResponse::Experts(vec![]);
            2 = Possession ControlResponse::Possession { hotkey: Hotkey([0; 32]), signature };
            3 = Refused ControlResponse::Refused(String::new());
        ),
        numbers!(Presence: 0 = Here Presence::Here(Load::default()); 1 = Leaving Presence::Leaving;),
        numbers!(Refusal:
            0 = Busy Refusal::Busy { retry_after_ms: 0 };
            1 = UnknownExpert Refusal::UnknownExpert;
            2 = BadShape Refusal::BadShape(String::new());
            3 = Deadline Refusal::Deadline;
            4 = TooLarge Refusal::TooLarge(String::new());
            5 = Unauthorised Refusal::Unauthorised;
            6 = Failed Refusal::Failed(String::new());
        ),
    ]
}

#[test]
fn variants_keep_their_numbers() {
    assert_eq!(all().len(), 6);
    assert_eq!(DType::ALL.map(|dtype| dtype as u8), [0, 1, 2, 3, 4]);
    assert_eq!(DType::ALL.map(DType::size), [4, 2, 2, 8, 1]);
    assert_eq!(FrameKind::ALL.map(|kind| kind as u8), [1, 2, 3, 4, 5]);
    assert_eq!([FrameKind::Request as u8, FrameKind::Response as u8, FrameKind::Refusal as u8], [1, 2, 3]);
    assert_eq!([FrameKind::CheckpointRequest as u8, FrameKind::CheckpointChunk as u8], [4, 5]);
}
