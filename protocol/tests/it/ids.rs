//! Ids as people write them, and names of the network.

use glia_protocol::descriptor::{SHARDS, dht_key, shard_of};
use glia_protocol::version::{heartbeat_topic, kad_protocol};
use glia_protocol::{ContentHash, Hotkey, NetworkId, PeerId, RequestId, SubnetName, testing};

#[test]
fn alice_has_the_address_every_substrate_tool_shows() {
    let alice: Hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".parse().unwrap();
    assert_eq!(alice.0[..4], [0xd4, 0x35, 0x93, 0xc7]);
    assert_eq!(alice.to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
}

#[test]
fn peer_ids_begin_as_libp2p_writes_them() {
    let id = PeerId([7; 32]);
    assert!(id.to_string().starts_with("12D3KooW"));
    assert_eq!(id.short().len(), 6);
    assert!(id.to_string().ends_with(&id.short()));
    assert_eq!(PeerId::from_multihash(&[0; 38]), None);
    assert_eq!(PeerId::from_multihash(&id.to_multihash()[..37]), None);
}

#[test]
fn wrong_texts_are_refused() {
    for name in ["", "Vision", "vi sion", "a/b", "ä", &"a".repeat(33)] {
        assert!(name.parse::<SubnetName>().is_err() && name.parse::<NetworkId>().is_err(), "{name:?}");
    }
    assert!("a".repeat(32).parse::<NetworkId>().is_ok());
    // Another checksum, another prefix (Polkadot's), no base58, far too long.
    for address in [
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
        "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
        "0OIl",
        &"5".repeat(100_000),
    ] {
        assert!(address.parse::<Hotkey>().is_err(), "{address:.60}");
    }
    assert!("12D3KooW".parse::<PeerId>().is_err());
    assert!("1".repeat(100_000).parse::<PeerId>().is_err());
    assert!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<PeerId>().is_err());
}

#[test]
fn hexadecimal_has_digits_only() {
    let plus = "+f".repeat(16);
    for text in ["", "00", &plus, &"g".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
        assert!(text.parse::<RequestId>().is_err(), "{text:?}");
    }
    assert_eq!("aB".repeat(32).parse::<ContentHash>().unwrap(), ContentHash([0xab; 32]));
}

#[test]
fn keys_and_topics_carry_network_and_version() {
    let (network, subnet) = (testing::network("local"), testing::subnet("vision"));
    assert_eq!(dht_key(&network, &subnet, 5, 3), b"/glia/local/spec/vision/5/3");
    assert_eq!(kad_protocol(&network), "/glia/local/kad/1");
    assert_eq!(heartbeat_topic(&network), "glia/local/heartbeat/1");
}

#[test]
fn peers_spread_over_all_shards() {
    let mut counts = [0; SHARDS as usize];
    for i in 0..=255 {
        counts[usize::from(shard_of(&PeerId([i; 32])))] += 1;
    }
    assert!(counts.iter().all(|&count| (32..=96).contains(&count)), "{counts:?}");
}
