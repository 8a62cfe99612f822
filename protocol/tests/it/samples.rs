//! One fixed sample of every wire message, and its file under `tests/golden/v1`.

use std::path::PathBuf;
use std::sync::OnceLock;

use glia_protocol::codec;
use glia_protocol::descriptor::{ExpertDescriptor, SignedDescriptor};
use glia_protocol::exchange::{ControlRequest, ControlResponse, Hello, possession_message};
use glia_protocol::forward::{ForwardRequest, ForwardResponse, Message, Refusal};
use glia_protocol::frame;
use glia_protocol::gossip::{Heartbeat, Load, Presence};
use glia_protocol::limits::{MAX_CONTROL_MESSAGE, MAX_DESCRIPTOR};
use glia_protocol::receipt::Receipt;
use glia_protocol::signature::{Binding, Signature, verify_hotkey};
use glia_protocol::tensor::{DType, Tensor, TensorHeader};
use glia_protocol::testing::{self, HotKey, PeerKey};
use glia_protocol::transfer::{CheckpointChunk, CheckpointRequest};
use glia_protocol::version::CONTROL_VERSION;
use glia_protocol::{ContentHash, NetworkId, RequestId};

pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
pub(crate) const NONCE: [u8; 32] = [0x5a; 32];

/// Set to rewrite the files, after a deliberate change of the wire.
pub(crate) const REGENERATE: &str = "GLIA_REGENERATE_GOLDEN";

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

pub(crate) fn network() -> NetworkId {
    testing::network("golden")
}

pub(crate) fn peer() -> PeerKey {
    PeerKey::from_seed(1)
}

pub(crate) fn hotkey() -> HotKey {
    HotKey::from_seed(2)
}

/// sr25519 signatures are different each time they are made, so two are kept in a file: of the binding, and of the
/// proof of possession.
pub(crate) fn hotkey_signatures() -> [Signature; 2] {
    static KEPT: OnceLock<[Signature; 2]> = OnceLock::new();
    *KEPT.get_or_init(read_hotkey_signatures)
}

fn read_hotkey_signatures() -> [Signature; 2] {
    let messages = [
        Binding::message_for_hotkey(&network(), &peer().id(), &hotkey().id()),
        possession_message(&network(), &peer().id(), &NONCE),
    ];
    let path = folder().join("hotkey_signatures.bin");
    let kept = std::fs::read(&path).ok().and_then(|bytes| {
        let (a, b) = bytes.split_at_checked(64)?;
        Some([Signature(a.try_into().ok()?), Signature(b.try_into().ok()?)])
    });
    let holds = |kept: &[Signature; 2]| {
        kept.iter().zip(&messages).all(|(signature, message)| verify_hotkey(&hotkey().id(), message, signature))
    };
    match kept.filter(holds) {
        Some(kept) => kept,
        None if std::env::var_os(REGENERATE).is_some() => {
            let made = messages.map(|message| hotkey().sign(&message));
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, [made[0].0, made[1].0].concat()).unwrap();
            made
        }
        None => panic!("{} does not hold signatures over today's messages: the wire changed", path.display()),
    }
}

pub(crate) fn descriptor() -> ExpertDescriptor {
    let mut descriptor = testing::descriptor(&network(), &peer(), &hotkey(), NOW_MS);
    descriptor.binding.by_hotkey = hotkey_signatures()[0];
    descriptor
}

pub(crate) fn signed(descriptor: &ExpertDescriptor) -> SignedDescriptor {
    descriptor.sign(|message| peer().sign(message)).unwrap()
}

fn tensor(name: &str, dtype: DType, shape: &[u32]) -> Tensor {
    let header = TensorHeader { name: name.to_owned(), dtype, shape: shape.to_vec() };
    let data: Vec<u8> = (0..header.byte_len().unwrap()).map(|i| i as u8).collect();
    Tensor::new(header, data.into()).unwrap()
}

pub(crate) fn request() -> ForwardRequest {
    ForwardRequest {
        id: RequestId([0x11; 16]),
        subnet: testing::subnet("vision"),
        checkpoint: ContentHash([0x22; 32]),
        budget_ms: 2000,
        tensors: vec![
            tensor("image", DType::U8, &[2, 3]),
            tensor("f32", DType::F32, &[1, 2]),
            tensor("f16", DType::F16, &[2]),
            tensor("bf16", DType::BF16, &[2]),
            tensor("i64", DType::I64, &[1]),
            tensor("scalar", DType::F32, &[]),
            tensor("wide", DType::U8, &[300]),
        ],
    }
}

/// The answer to [`request`], with its receipt.
pub(crate) fn response() -> ForwardResponse {
    let mut response = unsigned_response();
    let receipt = Receipt::sign(peer().id(), &request(), &response, NOW_MS, |message| peer().sign(message));
    response.receipt = Some(receipt);
    response
}

pub(crate) fn unsigned_response() -> ForwardResponse {
    ForwardResponse {
        id: RequestId([0x11; 16]),
        checkpoint: ContentHash([0x22; 32]),
        queue_us: 250,
        compute_us: 70_000,
        batch: 2,
        tensors: vec![Tensor::from_f32("probabilities", &[2, 2], &[0.25, 0.75, 1.0, 0.0]).unwrap()],
        receipt: None,
    }
}

pub(crate) fn checkpoint_request() -> CheckpointRequest {
    CheckpointRequest {
        id: RequestId([0x11; 16]),
        subnet: testing::subnet("vision"),
        checkpoint: ContentHash([0x22; 32]),
        offset: 1024 * 1024,
        length: 70_000,
    }
}

pub(crate) fn checkpoint_chunk() -> CheckpointChunk {
    let file: Vec<u8> = (0..1024 * 1024 + 300).map(|i| i as u8).collect();
    checkpoint_request().answer(&file.into()).unwrap()
}

pub(crate) fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Busy { retry_after_ms: 300 },
        Refusal::UnknownExpert,
        Refusal::BadShape("image is [2, 3], not [n, 28, 28]".to_owned()),
        Refusal::Deadline,
        Refusal::TooLarge("batch of 100, at most 64".to_owned()),
        Refusal::Unauthorised,
        Refusal::Failed("the device is gone".to_owned()),
    ]
}

pub(crate) fn frame_bytes(message: &Message) -> Vec<u8> {
    frame::encode(message).unwrap().into_chunks().concat()
}

/// Every file's name and bytes; writes the files when asked to.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let files = make_all();
        if std::env::var_os(REGENERATE).is_some() {
            for (name, bytes) in &files {
                std::fs::write(folder().join(format!("{name}.bin")), bytes).unwrap();
            }
        }
        files
    });
    files.clone()
}

fn make_all() -> Vec<(String, Vec<u8>)> {
    let hello = Hello { network: network(), versions: vec![CONTROL_VERSION], agent: "glia 0.1.0".to_owned() };
    let [by_hotkey, possession] = hotkey_signatures();
    let mut files = vec![
        ("hotkey_signatures".to_owned(), [by_hotkey.0, possession.0].concat()),
        ("frame_request".to_owned(), frame_bytes(&request().into())),
        ("frame_response".to_owned(), frame_bytes(&response().into())),
        ("frame_response_unsigned".to_owned(), frame_bytes(&unsigned_response().into())),
        ("frame_checkpoint_request".to_owned(), frame_bytes(&checkpoint_request().into())),
        ("frame_checkpoint_chunk".to_owned(), frame_bytes(&checkpoint_chunk().into())),
    ];
    for refusal in refusals() {
        let name = format!("{refusal:?}").split(['(', ' ']).next().unwrap().to_lowercase();
        let message = Message::Refusal { id: RequestId([0x11; 16]), refusal };
        files.push((format!("frame_refusal_{name}"), frame_bytes(&message)));
    }
    let questions = [
        ("hello", ControlRequest::Hello(hello.clone())),
        ("describe_experts", ControlRequest::DescribeExperts { subnet: testing::subnet("vision") }),
        ("prove_possession", ControlRequest::ProvePossession { nonce: NONCE }),
    ];
    for (name, question) in questions {
        files.push((format!("control_request_{name}"), question.to_bytes().unwrap()));
    }
    let answers = [
        ("hello", ControlResponse::Hello(hello)),
        ("experts", ControlResponse::Experts(vec![signed(&descriptor())])),
        ("possession", ControlResponse::Possession { hotkey: hotkey().id(), signature: possession }),
        ("refused", ControlResponse::Refused("another network".to_owned())),
    ];
    for (name, answer) in answers {
        files.push((format!("control_response_{name}"), answer.to_bytes().unwrap()));
    }
    let load = Load { queued: 3, served: 1_000_000, refused: 70_000, mean_us: 1500 };
    for (name, presence) in [("here", Presence::Here(load)), ("leaving", Presence::Leaving)] {
        let subnets = vec![testing::subnet("vision"), testing::subnet("language")];
        let beat = Heartbeat { peer: peer().id(), subnets, sequence: NOW_MS, presence };
        files.push((format!("heartbeat_{name}"), beat.to_bytes().unwrap()));
    }
    let descriptor = descriptor();
    files.push(("descriptor".to_owned(), codec::encode("descriptor", &descriptor, MAX_DESCRIPTOR).unwrap()));
    files.push((
        "signed_descriptor".to_owned(),
        codec::encode("signed descriptor", &signed(&descriptor), MAX_CONTROL_MESSAGE).unwrap(),
    ));
    files.push(("feature_map".to_owned(), testing::feature_map().to_bytes().unwrap()));
    let (peer, hotkey) = (peer().id(), hotkey().id());
    files.push(("message_binding_peer".to_owned(), Binding::message_for_peer(&network(), &peer, &hotkey)));
    files.push(("message_binding_hotkey".to_owned(), Binding::message_for_hotkey(&network(), &peer, &hotkey)));
    let receipt = response().receipt.unwrap();
    files.push(("message_receipt".to_owned(), receipt.message()));
    files.push(("message_possession".to_owned(), possession_message(&network(), &peer, &NONCE)));
    files
}
