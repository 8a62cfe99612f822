//! Whatever is written is read back the same.

use bytes::Bytes;
use glia_protocol::codec;
use glia_protocol::exchange::{ControlRequest, ControlResponse};
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::forward::{Message, Refusal};
use glia_protocol::frame::{self, PREFIX_LEN, Prefix};
use glia_protocol::gossip::Heartbeat;
use glia_protocol::testing::{self, PeerKey};
use glia_protocol::{ContentHash, Hotkey, PeerId, RequestId};
use proptest::prelude::*;

pub(crate) fn decode_frame(bytes: &[u8]) -> Result<Message, codec::DecodeError> {
    let truncated = codec::DecodeError::Truncated { what: "frame", got: bytes.len() as u64, want: PREFIX_LEN as u64 };
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_LEN>().ok_or_else(|| truncated.clone())?;
    let prefix = Prefix::parse(prefix)?;
    let (header, payload) = rest.split_at_checked(prefix.header_len).ok_or(truncated)?;
    frame::decode(prefix, header, Bytes::copy_from_slice(payload))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_read_back(message in testing::messages()) {
        let bytes = frame::encode(&message).unwrap().into_chunks().concat();
        prop_assert_eq!(decode_frame(&bytes).unwrap(), message);
    }

    #[test]
    fn every_question_is_read_back(question in testing::control_requests()) {
        prop_assert_eq!(ControlRequest::from_bytes(&question.to_bytes().unwrap()).unwrap(), question);
    }

    #[test]
    fn every_answer_is_read_back(
        hello in testing::hellos(),
        why in testing::text(),
        hotkey in any::<[u8; 32]>(),
        signature in testing::signatures(),
    ) {
        let possession = ControlResponse::Possession { hotkey: Hotkey(hotkey), signature };
        for answer in [ControlResponse::Hello(hello), ControlResponse::Refused(why), possession] {
            prop_assert_eq!(ControlResponse::from_bytes(&answer.to_bytes().unwrap()).unwrap(), answer);
        }
    }

    #[test]
    fn every_heartbeat_is_read_back(beat in testing::heartbeats()) {
        prop_assert_eq!(Heartbeat::from_bytes(&beat.to_bytes().unwrap()).unwrap(), beat);
    }

    #[test]
    fn every_feature_map_is_read_back(map in testing::feature_maps()) {
        let bytes = map.to_bytes().unwrap();
        let read = FeatureMap::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.hash().unwrap(), ContentHash::of(&bytes));
        prop_assert_eq!(read, map);
    }

    #[test]
    fn every_descriptor_is_read_back(descriptor in testing::descriptors(3, 4, 1_000_000)) {
        let signed = descriptor.sign(|message| PeerKey::from_seed(3).sign(message)).unwrap();
        let answer = ControlResponse::Experts(vec![signed]);
        let ControlResponse::Experts(read) = ControlResponse::from_bytes(&answer.to_bytes().unwrap()).unwrap() else {
            panic!("another answer");
        };
        prop_assert_eq!(read[0].verify(&descriptor.network, 1_000_000).unwrap(), descriptor);
    }

    #[test]
    fn every_id_is_read_back_from_its_text(key in any::<[u8; 32]>(), id in any::<[u8; 16]>()) {
        prop_assert_eq!(PeerId(key).to_string().parse::<PeerId>().unwrap(), PeerId(key));
        prop_assert_eq!(PeerId::from_multihash(&PeerId(key).to_multihash()).unwrap(), PeerId(key));
        prop_assert_eq!(Hotkey(key).to_string().parse::<Hotkey>().unwrap(), Hotkey(key));
        prop_assert_eq!(ContentHash(key).to_string().parse::<ContentHash>().unwrap(), ContentHash(key));
        prop_assert_eq!(RequestId(id).to_string().parse::<RequestId>().unwrap(), RequestId(id));
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(beat) = Heartbeat::from_bytes(&bytes) {
            prop_assert_eq!(beat.to_bytes().unwrap(), bytes.clone());
        }
        if let Ok(question) = ControlRequest::from_bytes(&bytes) {
            prop_assert_eq!(question.to_bytes().unwrap(), bytes.clone());
        }
        if let Ok(answer) = ControlResponse::from_bytes(&bytes) {
            prop_assert_eq!(answer.to_bytes().unwrap(), bytes.clone());
        }
        if let Ok(map) = FeatureMap::from_bytes(&bytes) {
            prop_assert_eq!(map.to_bytes().unwrap(), bytes.clone());
        }
        prop_assert!(decode_frame(&bytes).is_err());
    }
}

#[test]
fn reason_is_cut_rather_than_unsendable() {
    let reason = format!("\u{1b}[31mpanic\n{}", "é".repeat(5000));
    let message = Message::Refusal { id: RequestId([0; 16]), refusal: Refusal::Failed(reason.clone()) };
    let bytes = frame::encode(&message).unwrap().into_chunks().concat();
    let Message::Refusal { refusal: Refusal::Failed(cut), .. } = decode_frame(&bytes).unwrap() else {
        panic!("another message");
    };
    assert!(cut.starts_with(" [31mpanic ééé") && (127..=128).contains(&cut.len()), "{cut:?}");

    let answer = ControlResponse::Refused(reason).to_bytes().unwrap();
    let ControlResponse::Refused(cut) = ControlResponse::from_bytes(&answer).unwrap() else { panic!("another answer") };
    assert!((127..=128).contains(&cut.len()));
}

#[test]
fn tensor_elements_become_f32() {
    use glia_protocol::tensor::{DType, Tensor, TensorHeader};
    let cases: [(DType, Vec<u8>); 5] = [
        (DType::F32, [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat()),
        (DType::F16, vec![0x00, 0x3e, 0x00, 0xc0]),
        (DType::BF16, vec![0xc0, 0x3f, 0x00, 0xc0]),
        (DType::I64, [3i64.to_le_bytes(), (-2i64).to_le_bytes()].concat()),
        (DType::U8, vec![7, 255]),
    ];
    let expected = [[1.5, -2.0], [1.5, -2.0], [1.5, -2.0], [3.0, -2.0], [7.0, 255.0]];
    for ((dtype, data), expected) in cases.into_iter().zip(expected) {
        let header = TensorHeader { name: "x".to_owned(), dtype, shape: vec![2] };
        assert_eq!(Tensor::new(header, data.into()).unwrap().to_f32(), expected, "{dtype:?}");
    }
}

#[test]
fn longest_hello_fits_a_question() {
    use glia_protocol::exchange::Hello;
    let network = testing::network(&"n".repeat(32));
    let hello = ControlRequest::Hello(Hello { network, versions: vec![u16::MAX; 16], agent: "a".repeat(128) });
    assert!(hello.to_bytes().unwrap().len() < 300);
}

#[test]
fn peers_speak_the_newest_version_both_know() {
    use glia_protocol::exchange::Hello;
    let hello =
        |versions: &[u16]| Hello { network: testing::network("n"), versions: versions.to_vec(), agent: String::new() };
    assert_eq!(hello(&[3, 2, 1]).common_version(&hello(&[2, 1])), Some(2));
    assert_eq!(hello(&[1, 2]).common_version(&hello(&[1, 2, 7])), Some(2));
    assert_eq!(hello(&[3]).common_version(&hello(&[2, 1])), None);
}
