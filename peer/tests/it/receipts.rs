//! Every answer comes with its author's signature.

use std::time::{SystemTime, UNIX_EPOCH};

use glia_peer::ForwardError;
use glia_protocol::forward::Message;
use glia_protocol::signature::Signature;
use glia_protocol::{ContentHash, ForwardResponse, PeerId, Receipt, RequestId};
use quinn::VarInt;

use crate::bare::{bare_server, bytes_of};
use crate::support::{PATIENCE, config, handler, reply, request, soon, start};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A receipt over nothing that nobody signed.
fn bogus(request: &glia_protocol::ForwardRequest, peer: PeerId) -> Receipt {
    Receipt {
        request: request.id,
        peer,
        subnet: request.subnet.clone(),
        checkpoint: request.checkpoint,
        input: ContentHash([0; 32]),
        output: ContentHash([0; 32]),
        answered_at_ms: 0,
        signature: Signature([0; 64]),
    }
}

#[tokio::test]
async fn every_answer_is_signed_by_its_author() {
    let (expert, router) = (start(config()).await, start(config()).await);
    let peer = expert.peer_id();
    expert.serve(handler(move |_, request| async move {
        // What a handler says about receipts is not believed by its own server.
        let receipt = Some(bogus(&request, peer));
        Ok(ForwardResponse { receipt, ..reply(request) })
    }));
    for n in 1..=3u8 {
        let asked = request(n, 100 * u32::from(n));
        let before = now_ms();
        let answer = router.forward(peer, &expert.data_addresses(), asked.clone(), PATIENCE).await.unwrap();
        let receipt = answer.receipt.clone().expect("a receipt");
        assert_eq!(receipt.peer, peer);
        assert_eq!(receipt.verify(), Ok(()));
        assert_eq!(receipt.covers(&asked, &answer), Ok(()));
        assert!((before..=now_ms()).contains(&receipt.answered_at_ms));
    }
    for network in [&router, &expert] {
        network.stop().await;
    }
}

/// What becomes of an answer with this receipt.
async fn received(spoil: impl Fn(&mut Receipt) + Send + 'static) -> Result<ForwardResponse, ForwardError> {
    // The server learns its own id only after it was made.
    let (tell, told) = tokio::sync::watch::channel(PeerId([0; 32]));
    let (peer, address, endpoint, _) = bare_server(move |message| {
        let Message::Request(request) = message else { panic!("not a request") };
        let mut receipt = bogus(&request, *told.borrow());
        spoil(&mut receipt);
        Some(bytes_of(ForwardResponse { receipt: Some(receipt), ..reply(request) }.into()))
    });
    tell.send(peer).unwrap();
    let router = start(config()).await;
    let answer = soon("an answer", router.forward(peer, &[address], request(1, 10), PATIENCE)).await;
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
    answer
}

#[tokio::test]
async fn a_receipt_for_another_answer_is_a_fault_and_a_false_one_is_evidence() {
    type Spoil = fn(&mut Receipt);
    let wrong: [Spoil; 4] = [
        |r| r.peer = PeerId([9; 32]),
        |r| r.request = RequestId([9; 16]),
        |r| r.subnet = "language".parse().unwrap(),
        |r| r.checkpoint = ContentHash([9; 32]),
    ];
    for spoil in wrong {
        let error = received(spoil).await.unwrap_err();
        assert!(matches!(&error, ForwardError::Protocol(why) if why.contains("receipt")), "{error}");
    }
    // Hashes and signature are for the auditor to judge, who must get to see them.
    let answer = received(|_| {}).await.unwrap();
    assert!(answer.receipt.unwrap().verify().is_err());
}
