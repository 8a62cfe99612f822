//! `SPEC.md` says what the code does.

use std::collections::BTreeMap;

use glia_protocol::descriptor::SHARDS;
use glia_protocol::frame::FrameKind;
use glia_protocol::receipt::tensors_hash;
use glia_protocol::tensor::DType;
use glia_protocol::version::{CONTROL_PROTOCOL, CONTROL_VERSION, DATA_ALPN, FRAME_VERSION, IDENTIFY_PROTOCOL};
use glia_protocol::{ContentHash, codes, limits};

use crate::{numbers, samples};

const SPEC: &str = include_str!("../../SPEC.md");

/// Cells of the table rows in the section under `heading`.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = SPEC.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("SPEC.md has no {heading}")).1;
    section
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .skip(1)
        .collect()
}

fn unquoted(cell: &str) -> &str {
    cell.trim_matches('`')
}

macro_rules! values {
    ($module:ident: $($name:ident)+) => { BTreeMap::from([$((stringify!($name), $module::$name.to_string()),)+]) };
}

/// Names of the constants in a source file, in order.
fn constants(source: &str) -> Vec<&str> {
    source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect()
}

#[test]
fn limits_are_the_constants() {
    let values = values!(limits:
        MAX_FRAME_HEADER MAX_FRAME_PAYLOAD MAX_TENSORS MAX_RANK MAX_CONTROL_REQUEST MAX_CONTROL_MESSAGE MAX_DESCRIPTOR MAX_DESCRIPTORS
        MAX_CENTROIDS MAX_FEATURES MAX_CLASSES MAX_ADDRESSES MAX_NAME MAX_TEXT MAX_GOSSIP MAX_DESCRIPTOR_LIFE_MS
        MAX_CLOCK_SKEW_MS MAX_FEATURE_MAP MAX_CHECKPOINT MAX_CHUNK MAX_VERSIONS MAX_SUBNETS MAX_REGIONS MAX_SIDE
    );
    let rows = rows("## 4. Limits");
    let said: Vec<(&str, &str)> = rows.iter().map(|row| (unquoted(row[0]), row[1])).collect();
    let names: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, constants(include_str!("../../src/limits.rs")), "limits.rs and SPEC.md list other constants");
    for (name, value) in said {
        assert_eq!(values[name], value, "{name}");
    }
    assert!(rows.iter().all(|row| row[2].len() > 10), "a limit has no reason");
}

#[test]
fn codes_are_the_constants() {
    let values = values!(codes: DONE SHUTDOWN MALFORMED CANCELLED TOO_MANY BANNED FAILED SILENT);
    let rows = rows("### 5.2 Codes");
    let names: Vec<&str> = rows.iter().map(|row| unquoted(row[1])).collect();
    assert_eq!(names, constants(include_str!("../../src/codes.rs")));
    for row in rows {
        assert_eq!(values[unquoted(row[1])], row[0], "{row:?}");
    }
}

#[test]
fn variant_numbers_are_those_of_the_wire() {
    for (name, variants) in numbers::all() {
        let said: Vec<(u8, &str)> =
            rows(&format!("#### {name}")).iter().map(|row| (row[0].parse().unwrap(), unquoted(row[1]))).collect();
        assert_eq!(said, variants, "{name}");
    }
    let kinds: Vec<_> = rows("#### FrameKind").iter().map(|row| [row[0], unquoted(row[1])]).collect();
    let numbers = ["1", "2", "3", "4", "5"];
    let names = FrameKind::ALL.map(|kind| format!("{kind:?}"));
    let expected: Vec<_> = numbers.into_iter().zip(names.iter().map(String::as_str)).map(|(n, k)| [n, k]).collect();
    assert_eq!(kinds, expected);
    for (row, dtype) in rows("#### DType").iter().zip(DType::ALL) {
        assert_eq!(row[2].parse(), Ok(dtype.size()), "{dtype:?}");
    }
}

#[test]
fn names_are_the_constants() {
    let values: Vec<&str> = rows("## 2. Names of the network").iter().map(|row| unquoted(row[1])).collect();
    let network = glia_protocol::testing::network("network");
    let subnet = glia_protocol::testing::subnet("subnet");
    let key = String::from_utf8(glia_protocol::descriptor::dht_key(&network, &subnet, 17, 19)).unwrap();
    let expected = [
        String::from_utf8(DATA_ALPN.to_vec()).unwrap(),
        FRAME_VERSION.to_string(),
        CONTROL_PROTOCOL.to_owned(),
        CONTROL_VERSION.to_string(),
        IDENTIFY_PROTOCOL.to_owned(),
        glia_protocol::version::kad_protocol(&network).replace("network", "<network>"),
        glia_protocol::version::heartbeat_topic(&network).replace("network", "<network>"),
        key.replace("network", "<network>")
            .replace("subnet", "<subnet>")
            .replace("17", "<region>")
            .replace("19", "<shard>"),
        SHARDS.to_string(),
    ];
    assert_eq!(values, expected);
}

#[test]
fn frame_layout_is_that_of_the_golden_request() {
    let bytes = samples::frame_bytes(&samples::request().into());
    let rows = rows("### 5.1 Frame");
    let field = |name: &str| {
        let row = rows.iter().find(|row| row[2] == name).unwrap_or_else(|| panic!("no {name}"));
        let (at, len): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        let mut value = [0; 8];
        value[..len].copy_from_slice(&bytes[at..at + len]);
        u64::from_le_bytes(value)
    };
    assert_eq!(field("magic"), u64::from(u32::from_le_bytes(*b"GLIA")));
    assert_eq!((field("version"), field("kind"), field("flags")), (1, 1, 0));
    let (header, payload) = (field("header length"), field("payload length"));
    assert_eq!(20 + header + payload, bytes.len() as u64);
    let tensors: usize = samples::request().tensors.iter().map(|tensor| tensor.data().len()).sum();
    assert_eq!(payload, tensors as u64);
}

#[test]
fn signed_messages_are_written_as_the_table_says() {
    let files = samples::all();
    let read = |name: &str| {
        let name = format!("message_{name}");
        files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| bytes.clone()).unwrap()
    };
    let (peer, hotkey) = (samples::peer().id().0, samples::hotkey().id().0);
    let expected = [
        ("binding_peer", "glia-binding-peer-v1", [peer, hotkey]),
        ("binding_hotkey", "glia-binding-hotkey-v1", [peer, hotkey]),
        ("possession", "glia-possession-v1", [peer, samples::NONCE]),
    ];
    for (file, domain, [a, b]) in expected {
        assert!(SPEC.contains(&format!("`{domain}` \\|")), "{domain} is not in the table");
        assert_eq!(read(file), [domain.as_bytes(), &[6], b"golden", &a, &b].concat(), "{domain}");
    }
    // By hand from section 5.4, with no help of the code but blake3.
    let domain = b"glia-receipt-v1";
    let values: Vec<u8> = [0.25f32, 0.75, 1.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let output = [
        &b"glia-tensors-v1"[..],
        &[1, 0, 0, 0, 13, 0, 0, 0],
        b"probabilities",
        &[0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0],
        &values,
    ];
    let output = ContentHash::of(&output.concat()).0;
    let input = tensors_hash(&samples::request().tensors).0;
    let time = samples::NOW_MS.to_le_bytes();
    let expected = [&domain[..], &[6], b"vision", &peer, &[0x11; 16], &[0x22; 32], &input, &output, &time].concat();
    assert_eq!(read("receipt"), expected);
    assert!(SPEC.contains("`glia-receipt-v1` \\|") && SPEC.contains("`glia-tensors-v1`"));
}
