//! Who vouches for what.

use glia_protocol::Hotkey;
use glia_protocol::exchange::possession_message;
use glia_protocol::signature::{Binding, Signature, verify_hotkey, verify_peer};
use glia_protocol::testing::{self, HotKey, PeerKey};

use crate::samples::{NONCE, hotkey, network, peer, response};

#[test]
fn binding_holds_for_its_peer_hotkey_and_network_only() {
    let binding = testing::bind(&network(), &peer(), &hotkey());
    assert!(binding.holds(&network(), &peer().id(), &hotkey().id()));
    assert!(!binding.holds(&testing::network("other"), &peer().id(), &hotkey().id()));
    assert!(!binding.holds(&network(), &PeerKey::from_seed(9).id(), &hotkey().id()));
    assert!(!binding.holds(&network(), &peer().id(), &HotKey::from_seed(9).id()));
}

#[test]
fn one_side_alone_binds_nothing() {
    let binding = testing::bind(&network(), &peer(), &hotkey());
    let foreign = testing::bind(&network(), &PeerKey::from_seed(8), &HotKey::from_seed(9));
    let halves =
        [Binding { by_peer: foreign.by_peer, ..binding.clone() }, Binding { by_hotkey: foreign.by_hotkey, ..binding }];
    for half in halves {
        assert!(!half.holds(&network(), &peer().id(), &hotkey().id()));
    }
}

#[test]
fn a_signature_for_one_purpose_serves_no_other() {
    let (peer_id, hotkey_id) = (peer().id(), hotkey().id());
    let messages = [
        Binding::message_for_peer(&network(), &peer_id, &hotkey_id),
        Binding::message_for_hotkey(&network(), &peer_id, &hotkey_id),
        possession_message(&network(), &peer_id, &NONCE),
        [&b"glia-descriptor-v1"[..], &[6], b"golden"].concat(),
        response().receipt.unwrap().message(),
    ];
    for (i, a) in messages.iter().enumerate() {
        let (by_peer, by_hotkey) = (peer().sign(a), hotkey().sign(a));
        for (j, b) in messages.iter().enumerate() {
            assert_eq!(verify_peer(&peer_id, b, &by_peer), i == j);
            assert_eq!(verify_hotkey(&hotkey_id, b, &by_hotkey), i == j);
            assert!(i == j || !a.starts_with(b));
        }
    }
}

#[test]
fn weak_keys_vouch_for_nothing() {
    // The identity of either group: a signature of zeros (with sr25519's marker bit) would hold for any message.
    let zeros = Signature([0; 64]);
    let mut marked = zeros;
    marked.0[63] = 0x80;
    assert!(!verify_hotkey(&Hotkey([0; 32]), b"anything", &marked));
    let mut small_order = [0; 32];
    small_order[0] = 1;
    let mut signature = zeros;
    signature.0[0] = 1;
    assert!(!verify_peer(&glia_protocol::PeerId(small_order), b"anything", &signature));
    assert!(!verify_peer(&glia_protocol::PeerId([0xff; 32]), b"anything", &zeros));
    assert!(!verify_hotkey(&Hotkey([0xff; 32]), b"anything", &zeros));
}

#[test]
fn identity_hotkey_would_sign_anything_if_it_were_let() {
    // Why the all-zero hotkey is refused by name: the library underneath accepts this forgery.
    let key = schnorrkel_key();
    let mut forged = [0; 64];
    forged[63] = 0x80;
    let signature = schnorrkel::Signature::from_bytes(&forged).unwrap();
    assert!(key.verify_simple(b"substrate", b"anything", &signature).is_ok());
}

fn schnorrkel_key() -> schnorrkel::PublicKey {
    schnorrkel::PublicKey::from_bytes(&[0; 32]).unwrap()
}
