//! Descriptors are believed only when every claim holds; here a peer serves all kinds of false ones.

use std::time::{SystemTime, UNIX_EPOCH};

use glia_peer::errors::AskError;
use glia_peer::{DescribeError, Network, PossessionError};
use glia_protocol::descriptor::{DescriptorError, ExpertDescriptor};
use glia_protocol::signature::Signature;

use crate::liar::{Liar, Says, descriptor, signed};
use crate::support::{config, hotkey, network_id, soon, start, vision};

const LIAR: u8 = 11;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A liar, and a network that knows it.
async fn acquaintance() -> (Liar, Network) {
    let liar = Liar::start(LIAR, network_id()).await;
    let mut config = config();
    config.bootstrap = vec![liar.address.clone()];
    (liar, start(config).await)
}

fn honest() -> ExpertDescriptor {
    descriptor(&network_id(), LIAR, &hotkey(1), now_ms())
}

async fn refused(change: impl FnOnce(&mut ExpertDescriptor), signer: u8) -> DescriptorError {
    let (liar, network) = acquaintance().await;
    let mut descriptor = honest();
    change(&mut descriptor);
    liar.says(Says::Experts(vec![signed(&descriptor, signer)]));
    let answer = soon("an answer", network.describe(liar.peer, &vision())).await;
    network.stop().await;
    match answer {
        Err(DescribeError::Descriptor(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_honest_descriptor_is_believed() {
    let (liar, network) = acquaintance().await;
    let descriptor = honest();
    liar.says(Says::Experts(vec![signed(&descriptor, LIAR)]));
    let believed = soon("an answer", network.describe(liar.peer, &vision())).await.unwrap();
    assert_eq!(believed, vec![descriptor]);
    network.stop().await;
}

#[tokio::test]
async fn a_descriptor_that_another_key_signed_is_refused() {
    let error = refused(|_| {}, LIAR + 1).await;
    assert!(matches!(error, DescriptorError::BadSignature(_)), "{error}");
}

#[tokio::test]
async fn a_third_partys_descriptor_is_refused_although_it_is_genuine() {
    const OTHER: u8 = 12;
    let error = refused(|d| *d = descriptor(&network_id(), OTHER, &hotkey(2), now_ms()), OTHER).await;
    assert!(matches!(error, DescriptorError::NotItsOwn { .. }), "{error}");
}

#[tokio::test]
async fn a_descriptor_of_another_network_is_refused() {
    let other = "elsewhere".parse().unwrap();
    let error = refused(|d| *d = descriptor(&other, LIAR, &hotkey(1), now_ms()), LIAR).await;
    assert!(matches!(error, DescriptorError::WrongNetwork { .. }), "{error}");
}

#[tokio::test]
async fn an_expired_descriptor_is_refused() {
    let error = refused(|d| *d = descriptor(&network_id(), LIAR, &hotkey(1), now_ms() - 200_000), LIAR).await;
    assert!(matches!(error, DescriptorError::Expired { .. }), "{error}");
}

#[tokio::test]
async fn a_descriptor_that_lives_too_long_is_refused() {
    let error = refused(|d| d.expires_at_ms = d.issued_at_ms + 6 * 60 * 1000, LIAR).await;
    assert!(matches!(error, DescriptorError::BadLifetime(_)), "{error}");
}

#[tokio::test]
async fn a_hotkey_that_did_not_consent_is_refused() {
    let error = refused(|d| d.hotkey = hotkey(9).hotkey, LIAR).await;
    assert!(matches!(error, DescriptorError::BadBinding { .. }), "{error}");
    let error = refused(|d| d.binding.by_hotkey = Signature([1; 64]), LIAR).await;
    assert!(matches!(error, DescriptorError::BadBinding { .. }), "{error}");
}

#[tokio::test]
async fn an_older_descriptor_does_not_replace_a_newer_one() {
    let (liar, network) = acquaintance().await;
    let newer = honest();
    let older = ExpertDescriptor { sequence: newer.sequence - 1, ..newer.clone() };
    liar.says(Says::Experts(vec![signed(&newer, LIAR)]));
    soon("the newer one", network.describe(liar.peer, &vision())).await.unwrap();
    liar.says(Says::Experts(vec![signed(&older, LIAR)]));
    let replay = soon("the older one", network.describe(liar.peer, &vision())).await;
    assert!(matches!(replay, Err(DescribeError::Descriptor(DescriptorError::Stale { .. }))), "{replay:?}");
    liar.says(Says::Experts(vec![signed(&newer, LIAR)]));
    soon("the same again", network.describe(liar.peer, &vision())).await.unwrap();
    network.stop().await;
}

#[tokio::test]
async fn a_descriptor_of_another_subnet_answers_another_question() {
    let (liar, network) = acquaintance().await;
    liar.says(Says::Experts(vec![signed(&honest(), LIAR)]));
    let answer = soon("an answer", network.describe(liar.peer, &"language".parse().unwrap())).await;
    assert_eq!(answer, Err(DescribeError::Ask(AskError::WrongAnswer(liar.peer))));
    network.stop().await;
}

#[tokio::test]
async fn a_forger_is_banned() {
    let (liar, network) = acquaintance().await;
    liar.says(Says::Experts(vec![signed(&honest(), LIAR + 1)]));
    for _ in 0..3 {
        let forged = soon("a forgery", network.describe(liar.peer, &vision())).await;
        assert!(matches!(forged, Err(DescribeError::Descriptor(DescriptorError::BadSignature(_)))), "{forged:?}");
    }
    let banned = soon("the ban", network.describe(liar.peer, &vision())).await;
    assert_eq!(banned, Err(DescribeError::Ask(AskError::Banned(liar.peer))));
    network.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_answer_are_an_error_and_no_panic() {
    let (liar, network) = acquaintance().await;
    for bytes in [vec![], vec![0xff; 100], vec![0; 2 * 1024 * 1024]] {
        liar.says(Says::Bytes(bytes));
        let answer = soon("an answer", network.describe(liar.peer, &vision())).await;
        assert!(matches!(answer, Err(DescribeError::Ask(AskError::Unreachable { .. }))), "{answer:?}");
    }
    network.stop().await;
}

#[tokio::test]
async fn a_signature_over_another_nonce_proves_nothing() {
    let (liar, network) = acquaintance().await;
    let proof = soon("an answer", network.prove_possession(liar.peer)).await;
    assert_eq!(proof, Err(PossessionError::BadSignature(liar.peer)));
    network.stop().await;
}
