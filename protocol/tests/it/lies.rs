//! Every length that a stranger can lie about: refused, and before memory is taken for it.

use glia_protocol::codec::{self, DecodeError};
use glia_protocol::descriptor::{DescriptorError, ExpertDescriptor, SignedDescriptor};
use glia_protocol::exchange::{ControlRequest, ControlResponse};
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::frame::{FrameKind, MAGIC, PREFIX_LEN, Pending, Prefix};
use glia_protocol::gossip::Heartbeat;
use glia_protocol::limits::{
    MAX_CHECKPOINT, MAX_CHUNK, MAX_CONTROL_MESSAGE, MAX_CONTROL_REQUEST, MAX_DESCRIPTOR, MAX_DESCRIPTORS,
    MAX_FRAME_HEADER, MAX_FRAME_PAYLOAD, MAX_TENSORS,
};
use glia_protocol::schema::Task;

use crate::counting::counted;
use crate::roundtrip::decode_frame;
use crate::samples::{self, NOW_MS};

/// No refusal may take a larger piece of memory than this, whatever was announced.
const LARGEST: usize = 8 * 1024;

/// Runs a decoder on a lie.
#[track_caller]
fn refused<T>(what: &str, decode: impl FnOnce() -> Result<T, DecodeError>) -> DecodeError {
    let (result, taken) = counted(decode);
    let Err(error) = result else { panic!("{what} was believed") };
    assert!(taken.largest <= LARGEST, "{what}: {} bytes were taken before the refusal: {error}", taken.largest);
    assert!(taken.total <= 8 * LARGEST, "{what}: {} bytes in all before the refusal: {error}", taken.total);
    error
}

#[test]
fn without_a_limit_of_its_own_a_text_or_list_would_be_believed() {
    // What the bounded decoding of wire types is for, and that the counter would see its loss.
    for announced in [varint(4 << 20), varint(1 << 20)] {
        let (text, taken) = counted(|| codec::decode::<String>("text", &announced, 100));
        assert!(text.is_err() && taken.largest > LARGEST, "{taken:?}");
        let (list, taken) = counted(|| codec::decode::<Vec<u32>>("list", &announced, 100));
        assert!(list.is_err() && taken.largest > LARGEST, "{taken:?}");
    }
}

/// A number as bincode writes it.
fn varint(n: u64) -> Vec<u8> {
    match n {
        0..=250 => vec![n as u8],
        251..=0xffff => [&[251][..], &(n as u16).to_le_bytes()].concat(),
        0x1_0000..=0xffff_ffff => [&[252][..], &(n as u32).to_le_bytes()].concat(),
        _ => [&[253][..], &n.to_le_bytes()].concat(),
    }
}

fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// Counts that announce far more than what follows.
const HUGE: [u64; 6] = [300, 70_000, 1 << 20, 8 << 20, 1 << 32, u64::MAX];

fn prefix(kind: u8, header_len: u32, payload_len: u64) -> [u8; PREFIX_LEN] {
    let parts = [&MAGIC[..], &[1, kind, 0, 0], &header_len.to_le_bytes(), &payload_len.to_le_bytes()].concat();
    parts.try_into().unwrap()
}

#[test]
fn prefix_lengths_have_limits() {
    for len in [MAX_FRAME_HEADER as u32 + 1, u32::MAX] {
        let error = refused("header length", || Prefix::parse(&prefix(1, len, 0)));
        assert!(matches!(error, DecodeError::TooLong { what: "frame header", .. }), "{error}");
    }
    for len in [MAX_FRAME_PAYLOAD as u64 + 1, 1 << 40, u64::MAX] {
        let error = refused("payload length", || Prefix::parse(&prefix(1, 0, len)));
        assert!(matches!(error, DecodeError::TooLong { what: "frame payload", .. }), "{error}");
    }
    let largest = Prefix::parse(&prefix(3, MAX_FRAME_HEADER as u32, MAX_FRAME_PAYLOAD as u64)).unwrap();
    let want = Prefix { kind: FrameKind::Refusal, header_len: MAX_FRAME_HEADER, payload_len: MAX_FRAME_PAYLOAD };
    assert_eq!(largest, want);
}

#[test]
fn prefix_of_another_protocol_is_refused() {
    let good = prefix(1, 10, 10);
    assert!(Prefix::parse(&good).is_ok());
    for (offset, value) in [(0, b'X'), (3, b'a'), (4, 0), (4, 2), (5, 0), (5, 6), (5, 255), (6, 1), (7, 0x80)] {
        let mut bad = good;
        bad[offset] = value;
        refused("prefix byte", || Prefix::parse(&bad));
    }
}

/// A request header up to its tensors.
fn request_start() -> Vec<u8> {
    [vec![1; 16], text("vision"), vec![2; 32], varint(1000)].concat()
}

fn tensor(name: &str, dtype: u64, shape: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&dim| varint(dim)).collect();
    [text(name), varint(dtype), varint(shape.len() as u64), dims].concat()
}

fn pending(header: &[u8], payload_len: usize) -> Result<Pending, DecodeError> {
    Pending::parse(Prefix { kind: FrameKind::Request, header_len: header.len(), payload_len }, header)
}

#[test]
fn frame_header_cannot_lie() {
    let with = |tail: Vec<u8>| [request_start(), tail].concat();
    let one = |name: &str, dtype, shape: &[u64]| with([varint(1), tensor(name, dtype, shape)].concat());
    assert_eq!(pending(&one("x", 0, &[2, 3]), 24).unwrap().payload_len(), 24);

    for count in HUGE {
        refused("tensor count", || pending(&with(varint(count)), 0));
        refused("name length", || pending(&with([varint(1), varint(count)].concat()), 0));
        refused("rank", || pending(&with([varint(1), text("x"), varint(0), varint(count)].concat()), 0));
    }
    for count in [MAX_TENSORS as u64, 255] {
        refused("tensor count beyond the bytes", || pending(&with(varint(count)), 0));
    }
    let many: Vec<u8> = (0..17).flat_map(|i| tensor(&i.to_string(), 4, &[1])).collect();
    refused("17 tensors", || pending(&with([varint(17), many].concat()), 17));
    refused("9 dimensions", || pending(&one("x", 4, &[1; 9]), 1));
    refused("unknown dtype", || pending(&one("x", 5, &[1]), 1));
    refused("long name", || pending(&one(&"n".repeat(129), 4, &[1]), 1));
    refused("control character", || pending(&one("\u{1b}[2J", 4, &[1]), 1));

    let m = u64::from(u32::MAX);
    for shape in [&[m; 8][..], &[m, m], &[m, m, m, m, 0], &[0, m, m], &[m, 0], &[0], &[1 << 24, 2], &[1 << 20, 65]] {
        for payload_len in [0, 4, MAX_FRAME_PAYLOAD] {
            refused("shape", || pending(&one("x", 0, shape), payload_len));
        }
    }
    refused("dimension beyond u32", || pending(&one("x", 4, &[1 << 32]), 0));
    for payload_len in [0, 23, 25, MAX_FRAME_PAYLOAD] {
        refused("payload that is not the shape", || pending(&one("x", 0, &[2, 3]), payload_len));
    }
    let sum: Vec<u8> = (0..16).flat_map(|i| tensor(&i.to_string(), 4, &[64 << 20])).collect();
    refused("sum of shapes", || pending(&with([varint(16), sum].concat()), MAX_FRAME_PAYLOAD));
    let twins = [varint(2), tensor("x", 4, &[1]), tensor("x", 4, &[1])].concat();
    refused("two of one name", || pending(&with(twins), 2));
    refused("subnet length", || pending(&[vec![1; 16], varint(8 << 20)].concat(), 0));
    refused("subnet of 33", || pending(&[vec![1; 16], text(&"a".repeat(33))].concat(), 0));
    refused("trailing byte", || pending(&[one("x", 0, &[2, 3]), vec![0]].concat(), 24));
    let short = Prefix { kind: FrameKind::Request, header_len: 500, payload_len: 0 };
    assert!(matches!(refused("short header", || Pending::parse(short, &[0; 20])), DecodeError::Truncated { .. }));
    assert!(matches!(refused("long header", || Pending::parse(short, &[0; 501])), DecodeError::TooLong { .. }));
}

#[test]
fn refusal_carries_no_payload_and_a_short_reason() {
    let parse = |tail: Vec<u8>, payload_len| {
        let header = [vec![1; 16], tail].concat();
        Pending::parse(Prefix { kind: FrameKind::Refusal, header_len: header.len(), payload_len }, &header)
    };
    assert!(parse(varint(1), 0).is_ok());
    refused("payload of a refusal", || parse(varint(1), 1));
    refused("unknown refusal", || parse(varint(7), 0));
    refused("long reason", || parse([varint(6), text(&"x".repeat(129))].concat(), 0));
    for len in HUGE {
        refused("reason length", || parse([varint(6), varint(len)].concat(), 0));
    }
}

#[test]
fn receipt_cannot_lie() {
    let start = [vec![1; 16], vec![2; 32], vec![0, 0, 1, 0]].concat();
    let parse = |tail: Vec<u8>| {
        let header = [start.clone(), tail].concat();
        Pending::parse(Prefix { kind: FrameKind::Response, header_len: header.len(), payload_len: 0 }, &header)
    };
    let with = |subnet: Vec<u8>, tail: Vec<u8>| [vec![1], vec![3; 48], subnet, tail].concat();
    let rest = || [vec![4; 96], varint(1), vec![5; 64]].concat();
    assert!(parse(vec![0]).is_ok());
    assert!(parse(with(text("vision"), rest())).is_ok());
    refused("neither with nor without", || parse([vec![2], vec![3; 48], text("vision"), rest()].concat()));
    refused("no subnet", || parse(with(text(""), rest())));
    refused("subnet of another alphabet", || parse(with(text("Vision"), rest())));
    refused("cut receipt", || parse(with(text("vision"), vec![4; 96])));
    refused("time written too long", || {
        parse(with(text("vision"), [vec![4; 96], vec![253, 1, 0, 0, 0, 0, 0, 0, 0], vec![5; 64]].concat()))
    });
    for len in HUGE {
        refused("subnet length", || parse(with(varint(len), rest())));
    }
}

#[test]
fn checkpoint_request_cannot_lie() {
    let parse = |offset: u64, length: u64, payload_len| {
        let header = [vec![1; 16], text("vision"), vec![2; 32], varint(offset), varint(length)].concat();
        Pending::parse(Prefix { kind: FrameKind::CheckpointRequest, header_len: header.len(), payload_len }, &header)
    };
    assert!(parse(MAX_CHECKPOINT as u64 - 1, MAX_CHUNK as u64, 0).is_ok());
    refused("payload of a question", || parse(0, 1, 1));
    refused("nothing wanted", || parse(0, 0, 0));
    refused("offset no file has", || parse(MAX_CHECKPOINT as u64, 1, 0));
    for n in [MAX_CHUNK as u64 + 1, u64::from(u32::MAX), u64::MAX] {
        refused("length", || parse(0, n, 0));
        refused("offset", || parse(n.max(MAX_CHECKPOINT as u64), 1, 0));
    }
}

#[test]
fn chunk_cannot_lie() {
    let parse = |total: u64, offset: u64, payload_len| {
        let header = [vec![1; 16], vec![2; 32], varint(total), varint(offset)].concat();
        Pending::parse(Prefix { kind: FrameKind::CheckpointChunk, header_len: header.len(), payload_len }, &header)
    };
    let most = MAX_CHECKPOINT as u64;
    assert_eq!(parse(most, most - MAX_CHUNK as u64, MAX_CHUNK).unwrap().payload_len(), MAX_CHUNK);
    assert!(parse(1, 0, 1).is_ok());
    refused("no bytes", || parse(10, 3, 0));
    refused("a chunk over the limit", || parse(most, 0, MAX_CHUNK + 1));
    refused("a chunk as long as a frame", || parse(most, 0, MAX_FRAME_PAYLOAD));
    refused("no file", || parse(0, 0, 1));
    refused("a chunk over the end", || parse(10, 3, 8));
    refused("an offset at the end", || parse(10, 10, 1));
    refused("an offset that overflows", || parse(10, u64::MAX, 1));
    for total in [most + 1, 1 << 32, u64::MAX] {
        refused("total", || parse(total, 0, 1));
    }
}

#[test]
fn control_messages_cannot_lie() {
    let hello = |tail: Vec<u8>| [vec![0], text("local"), tail].concat();
    assert!(ControlRequest::from_bytes(&hello([varint(1), varint(1), text("glia")].concat())).is_ok());
    for count in HUGE {
        refused("network length", || ControlRequest::from_bytes(&[vec![0], varint(count)].concat()));
        refused("version count", || ControlRequest::from_bytes(&hello(varint(count))));
        refused("agent length", || ControlRequest::from_bytes(&hello([vec![1, 1], varint(count)].concat())));
        refused("subnet length", || ControlRequest::from_bytes(&[vec![1], varint(count)].concat()));
        refused("descriptor count", || ControlResponse::from_bytes(&[vec![1], varint(count)].concat()));
        refused("body length", || ControlResponse::from_bytes(&[vec![1, 1], varint(count), vec![0; 64]].concat()));
        refused("reason length", || ControlResponse::from_bytes(&[vec![3], varint(count)].concat()));
    }
    refused("17 versions", || ControlRequest::from_bytes(&hello([vec![17], vec![1; 17], text("glia")].concat())));
    refused("no version", || ControlRequest::from_bytes(&hello([vec![0], text("glia")].concat())));
    refused("long agent", || ControlRequest::from_bytes(&hello([vec![1, 1], text(&"x".repeat(129))].concat())));
    refused("unknown question", || ControlRequest::from_bytes(&[3]));
    refused("unknown answer", || ControlResponse::from_bytes(&[4]));
    let empty_descriptors = [varint(17), vec![0; 17 * 65]].concat();
    refused("17 descriptors", || ControlResponse::from_bytes(&[vec![1], empty_descriptors].concat()));
    let long = [vec![1, 1], varint(MAX_DESCRIPTOR as u64 + 1), vec![0; MAX_DESCRIPTOR + 1 + 64]].concat();
    refused("body over the limit", || ControlResponse::from_bytes(&long));
    let huge = vec![0; MAX_CONTROL_MESSAGE + 1];
    let question = &huge[..MAX_CONTROL_REQUEST + 1];
    assert!(matches!(refused("message", || ControlRequest::from_bytes(question)), DecodeError::TooLong { .. }));
    assert!(matches!(refused("message", || ControlResponse::from_bytes(&huge)), DecodeError::TooLong { .. }));
}

#[test]
fn heartbeat_cannot_lie() {
    for count in HUGE {
        refused("subnet count", || Heartbeat::from_bytes(&[vec![1; 32], varint(count)].concat()));
        refused("name length", || Heartbeat::from_bytes(&[vec![1; 32], vec![1], varint(count)].concat()));
    }
    let names: Vec<u8> = (0..17).flat_map(|i| text(&format!("s{i}"))).collect();
    refused("17 subnets", || Heartbeat::from_bytes(&[vec![1; 32], varint(17), names, vec![0, 1]].concat()));
    let huge = vec![0; 4097];
    assert!(matches!(refused("message", || Heartbeat::from_bytes(&huge)), DecodeError::TooLong { .. }));
}

#[test]
fn feature_map_cannot_lie() {
    let start = [varint(4), varint(4), varint(2)].concat();
    for count in HUGE {
        refused("mean", || FeatureMap::from_bytes(&[start.clone(), varint(count)].concat()));
        refused("components", || FeatureMap::from_bytes(&[start.clone(), vec![0], varint(count)].concat()));
        refused("anchors", || FeatureMap::from_bytes(&[start.clone(), vec![0, 0], varint(count)].concat()));
    }
}

/// A signed descriptor around `body`, whose signature does not matter here.
fn around(body: &[u8]) -> SignedDescriptor {
    let bytes = [varint(body.len() as u64), body.to_vec(), vec![0; 64]].concat();
    codec::decode("signed descriptor", &bytes, MAX_CONTROL_MESSAGE).unwrap()
}

#[test]
fn descriptor_cannot_lie() {
    let d = samples::descriptor();
    let names = (&d.network, &d.subnet, d.peer, d.hotkey, &d.binding);
    let to_name = codec::encode("part", &names, MAX_DESCRIPTOR).unwrap();
    let to_schema = [to_name.clone(), text(&d.name)].concat();
    let to_centroids = {
        let part = (&names, &d.name, &d.schema, d.checkpoint, d.published, d.feature_map);
        codec::encode("part", &part, MAX_DESCRIPTOR).unwrap()
    };
    let to_addresses = {
        let hashes = (d.checkpoint, d.published, d.feature_map);
        let part = (&names, &d.name, &d.schema, hashes, &d.centroids, d.examples, &d.backend);
        [codec::encode("part", &part, MAX_DESCRIPTOR).unwrap(), varint(64), varint(256)].concat()
    };
    let body = codec::encode("part", &d, MAX_DESCRIPTOR).unwrap();
    for part in [&to_name, &to_schema, &to_centroids, &to_addresses] {
        assert!(body.starts_with(part), "the parts of a descriptor moved");
    }
    let verify = |bytes: Vec<u8>| {
        let signed = around(&bytes);
        refused("descriptor", || match signed.verify(&samples::network(), NOW_MS) {
            Err(DescriptorError::Decode(error)) => Err(error),
            other => Ok(other),
        })
    };
    for count in HUGE {
        verify([to_name.clone(), varint(count)].concat());
        verify([to_schema.clone(), vec![0], varint(count)].concat());
        verify([to_schema.clone(), vec![0, 2], varint(count)].concat());
        verify([to_centroids.clone(), varint(count)].concat());
        verify([to_centroids.clone(), vec![1], varint(count)].concat());
        verify([to_addresses.clone(), varint(count)].concat());
    }
    verify([to_schema, vec![0], varint(4097)].concat());
    verify([to_centroids, vec![9]].concat());
    verify([to_addresses, vec![9]].concat());
    verify([body, vec![0]].concat());
    verify(Vec::new());
}

type Read = fn(&[u8]) -> Option<Vec<u8>>;

/// The decoder of each golden file, which gives what the decoded value encodes to.
fn reader(name: &str) -> Option<Read> {
    let read: Read = match name {
        n if n.starts_with("frame_") => |b| Some(samples::frame_bytes(&decode_frame(b).ok()?)),
        n if n.starts_with("control_request_") => |b| ControlRequest::from_bytes(b).ok()?.to_bytes().ok(),
        n if n.starts_with("control_response_") => |b| ControlResponse::from_bytes(b).ok()?.to_bytes().ok(),
        n if n.starts_with("heartbeat_") => |b| Heartbeat::from_bytes(b).ok()?.to_bytes().ok(),
        "feature_map" => |b| FeatureMap::from_bytes(b).ok()?.to_bytes().ok(),
        "signed_descriptor" => |b| {
            let signed: SignedDescriptor = codec::decode("signed", b, MAX_CONTROL_MESSAGE).ok()?;
            let _ = signed.verify(&samples::network(), NOW_MS);
            codec::encode("signed", &signed, MAX_CONTROL_MESSAGE).ok()
        },
        _ => return None,
    };
    Some(read)
}

fn readable() -> Vec<(String, Vec<u8>, Read)> {
    let list: Vec<_> =
        samples::all().into_iter().filter_map(|(name, bytes)| reader(&name).map(|read| (name, bytes, read))).collect();
    assert_eq!(list.len(), 23, "a wire message has no reader here");
    list
}

#[test]
fn every_cut_and_every_trailing_byte_is_refused() {
    for (name, bytes, read) in readable() {
        assert_eq!(read(&bytes).as_ref(), Some(&bytes), "{name}");
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None, "{name} cut to {cut} bytes");
        }
        assert_eq!(read(&[&bytes[..], &[0]].concat()), None, "{name} with a trailing byte");
    }
}

#[test]
fn every_spoilt_byte_is_refused_or_read_as_what_it_says() {
    for (name, bytes, read) in readable() {
        for at in 0..bytes.len() {
            for value in [0, 1, 250, 251, 252, 253, 254, 255, bytes[at] ^ 0x80, bytes[at].wrapping_add(1)] {
                let mut spoilt = bytes.clone();
                spoilt[at] = value;
                let (back, taken) = counted(|| read(&spoilt));
                assert!(back.is_none_or(|back| back == spoilt), "{name}: byte {at} = {value} has two encodings");
                assert!(taken.largest <= 64 * 1024, "{name}: byte {at} = {value} took {} bytes", taken.largest);
            }
        }
    }
}

#[test]
fn number_written_longer_than_needed_is_refused() {
    for version in [vec![1], vec![251, 1, 0]] {
        let canonical = version.len() == 1;
        let bytes = [vec![0], text("local"), vec![1], version, text("glia")].concat();
        assert_eq!(ControlRequest::from_bytes(&bytes).is_ok(), canonical);
    }
    for variant in [vec![1], vec![252, 1, 0, 0, 0]] {
        let canonical = variant.len() == 1;
        assert_eq!(ControlRequest::from_bytes(&[variant, text("vision")].concat()).is_ok(), canonical);
    }
    for len in [vec![6], vec![253, 6, 0, 0, 0, 0, 0, 0, 0]] {
        let canonical = len.len() == 1;
        let bytes = [vec![1], len, b"vision".to_vec()].concat();
        assert_eq!(ControlRequest::from_bytes(&bytes).is_ok(), canonical);
    }
}

#[test]
fn fullest_answer_of_descriptors_fits_a_control_message() {
    let mut descriptor = samples::descriptor();
    descriptor.centroids.truncate(1);
    descriptor.centroids[0].mean = vec![0.5; 256];
    let size = |d: &ExpertDescriptor| codec::encode("size", d, 1 << 20).unwrap().len();
    let set = |d: &mut ExpertDescriptor, lengths: &[usize]| {
        d.schema.output.shape = vec![lengths.len() as u32];
        d.schema.task = Task::Classification { classes: lengths.iter().map(|&n| "l".repeat(n)).collect() };
    };
    // Labels grow until the descriptor has exactly the largest size.
    let mut lengths = vec![100; 600];
    set(&mut descriptor, &lengths);
    let mut missing = MAX_DESCRIPTOR - size(&descriptor);
    for length in &mut lengths {
        let step = missing.min(28);
        *length += step;
        missing -= step;
    }
    assert_eq!(missing, 0);
    set(&mut descriptor, &lengths);
    assert_eq!(size(&descriptor), MAX_DESCRIPTOR);
    let signed = samples::signed(&descriptor);
    let answer = ControlResponse::Experts(vec![signed; MAX_DESCRIPTORS]);
    let bytes = answer.to_bytes().unwrap();
    assert!(bytes.len() > 1024 * 1024);
    assert_eq!(ControlResponse::from_bytes(&bytes).unwrap(), answer);

    descriptor.backend.push('x');
    assert!(descriptor.sign(|message| samples::peer().sign(message)).is_err(), "one byte too many");
}
