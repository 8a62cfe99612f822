//! Fetching the file of a published checkpoint, from honest peers and from others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glia_peer::{FetchError, ForwardHandler, Network};
use glia_protocol::forward::Message;
use glia_protocol::frame;
use glia_protocol::limits::{MAX_CHECKPOINT, MAX_CHUNK};
use glia_protocol::transfer::{CheckpointChunk, CheckpointRequest};
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Refusal, RequestId, SubnetName, Tensor};
use quinn::VarInt;
use tokio::sync::mpsc;

use crate::bare::{Held, answers, bare_server, bytes_of, connect_with};
use crate::support::{PATIENCE, config, echo, handler, reply, request, soon, start, until, vision};

const REFUSAL: u8 = 3;
const MIB: u64 = 1024 * 1024;

/// Answers with an echo, and hands out one file.
struct Library(Bytes);

impl ForwardHandler for Library {
    fn forward(
        &self,
        _caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        Box::pin(async move { Ok(reply(request)) })
    }

    fn checkpoint(&self, _caller: PeerId, subnet: &SubnetName, checkpoint: ContentHash) -> Option<Bytes> {
        (*subnet == vision() && checkpoint == ContentHash::of(&self.0)).then(|| self.0.clone())
    }
}

/// A file of `len` bytes that do not repeat, and its hash.
fn file(len: usize) -> (Bytes, ContentHash) {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"file").finalize_xof().fill(&mut bytes);
    let hash = ContentHash::of(&bytes);
    (bytes.into(), hash)
}

async fn fetch(router: &Network, from: &Network, hash: ContentHash, max: u64) -> Result<Bytes, FetchError> {
    router.fetch_checkpoint(from.peer_id(), &from.data_addresses(), &vision(), hash, max, PATIENCE).await
}

async fn stop(networks: [&Network; 2]) {
    for network in networks {
        network.stop().await;
    }
}

#[tokio::test]
async fn a_published_checkpoint_is_fetched_whole() {
    let (expert, router) = (start(config()).await, start(config()).await);
    for len in [1, 73_000, MAX_CHUNK, MAX_CHUNK + 1, 3 * MAX_CHUNK + 500_000] {
        let (bytes, hash) = file(len);
        expert.serve(Arc::new(Library(bytes.clone())));
        let fetched = fetch(&router, &expert, hash, len as u64).await.unwrap();
        assert!(fetched == bytes, "{len} bytes");
        router.forward(expert.peer_id(), &expert.data_addresses(), request(1, 10), PATIENCE).await.unwrap();
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn a_closed_or_unknown_checkpoint_is_refused() {
    let (expert, router) = (start(config()).await, start(config()).await);
    let (bytes, hash) = file(1000);
    let unknown = FetchError::Refused(Refusal::UnknownExpert);
    assert_eq!(fetch(&router, &expert, hash, MIB).await, Err(unknown.clone()), "nobody serves yet");
    expert.serve(echo());
    assert_eq!(fetch(&router, &expert, hash, MIB).await, Err(unknown.clone()), "by default nothing is handed out");
    expert.serve(Arc::new(Library(bytes)));
    assert_eq!(fetch(&router, &expert, ContentHash([7; 32]), MIB).await, Err(unknown.clone()));
    let language = "language".parse().unwrap();
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let answer = router.fetch_checkpoint(peer, &addresses, &language, hash, MIB, PATIENCE).await;
    assert_eq!(answer, Err(unknown), "of another subnet");
    router.stop().await;
    let answer = fetch(&router, &expert, hash, MIB).await;
    assert!(matches!(answer, Err(FetchError::Closed(_))), "{answer:?}");
    expert.stop().await;
}

#[tokio::test]
async fn a_checkpoint_larger_than_wanted_is_not_fetched() {
    let (expert, router) = (start(config()).await, start(config()).await);
    let (bytes, hash) = file(2 * MAX_CHUNK);
    expert.serve(Arc::new(Library(bytes)));
    for max in [0, 1, 2 * MIB - 1] {
        assert_eq!(fetch(&router, &expert, hash, max).await, Err(FetchError::TooLarge { got: 2 * MIB, max }));
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn an_offset_past_the_end_is_refused() {
    let expert = start(config()).await;
    let (bytes, hash) = file(1000);
    expert.serve(Arc::new(Library(bytes)));
    let (_endpoint, connection) = connect_with(&expert, |_| {}).await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let asked =
        CheckpointRequest { id: RequestId([1; 16]), subnet: vision(), checkpoint: hash, offset: 1000, length: 1 };
    send.write_all(&bytes_of(asked.into())).await.unwrap();
    send.finish().unwrap();
    let answer = soon("an answer", recv.read_to_end(1000)).await.unwrap();
    let refusal = Refusal::TooLarge("the file has 1000 bytes".to_owned());
    assert_eq!(answer, bytes_of(Message::Refusal { id: RequestId([1; 16]), refusal }));
    expert.stop().await;
}

/// What a fetch of at most `max` bytes says when the other side answers with `lie`.
async fn lied_to(
    hash: ContentHash,
    max: u64,
    lie: impl FnMut(CheckpointRequest) -> Option<Vec<u8>> + Send + 'static,
) -> FetchError {
    let mut lie = lie;
    let (peer, address, endpoint, _) = bare_server(move |message| {
        let Message::CheckpointRequest(asked) = message else { panic!("not a question for a checkpoint") };
        lie(asked)
    });
    let router = start(config()).await;
    let (addresses, subnet) = ([address], vision());
    let fetch = router.fetch_checkpoint(peer, &addresses, &subnet, hash, max, PATIENCE);
    let error = soon("an answer", fetch).await.unwrap_err();
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
    error
}

/// The honest answer as bytes, with `total` and `offset` (both eight bytes there) overwritten without any check.
fn forged(chunk: &CheckpointChunk, total: u64, offset: u64) -> Vec<u8> {
    let varint = |n: u64| [&[253][..], &n.to_le_bytes()].concat();
    let header = [&chunk.id.0[..], &chunk.checkpoint.0, &varint(total), &varint(offset)].concat();
    let prefix = crate::bare::prefix(5, header.len() as u32, chunk.bytes.len() as u64);
    [&prefix[..], &header, &chunk.bytes].concat()
}

#[tokio::test]
async fn a_huge_announcement_is_refused_before_memory_is_taken() {
    let (bytes, hash) = file(1000);
    for total in [1 << 40, u64::MAX] {
        let bytes = bytes.clone();
        let error =
            lied_to(hash, 2 * MIB, move |asked| Some(forged(&asked.answer(&bytes).unwrap(), total, u64::MAX / 2)))
                .await;
        assert!(matches!(error, FetchError::Protocol(_)), "{error}");
    }
    // A size that the protocol allows, but not this caller.
    let error = lied_to(hash, 2 * MIB, move |asked| {
        let chunk = CheckpointChunk {
            id: asked.id,
            checkpoint: asked.checkpoint,
            total: MAX_CHECKPOINT as u64,
            offset: 0,
            bytes: vec![0; asked.length as usize].into(),
        };
        Some(bytes_of(chunk.into()))
    })
    .await;
    assert_eq!(error, FetchError::TooLarge { got: MAX_CHECKPOINT as u64, max: 2 * MIB });
    // An answer of another kind, whose payload would be larger than the piece; it is never sent.
    let error = lied_to(hash, 1000, |asked| {
        let tensors = vec![Tensor::from_u8("x", &[2 << 20], vec![0; 2 << 20]).unwrap()];
        let (id, checkpoint) = (asked.id, asked.checkpoint);
        let answer = ForwardResponse { id, checkpoint, queue_us: 0, compute_us: 0, batch: 1, tensors, receipt: None };
        Some(frame::encode(&answer.into()).unwrap().head.to_vec())
    })
    .await;
    assert!(matches!(&error, FetchError::Protocol(why) if why.contains("at most 1000")), "{error}");
}

#[tokio::test]
async fn wrong_bytes_are_found_out() {
    let (bytes, hash) = file(2 * MAX_CHUNK);
    let mut other = bytes.to_vec();
    other[MAX_CHUNK + 7] ^= 1;
    let got = ContentHash::of(&other);
    let other = Bytes::from(other);
    let error = lied_to(hash, 2 * MIB, move |asked| Some(bytes_of(asked.answer(&other).unwrap().into()))).await;
    assert_eq!(error, FetchError::WrongContent { want: hash, got });
}

#[tokio::test]
async fn another_piece_than_the_one_asked_for_is_a_fault() {
    let (bytes, hash) = file(2 * MAX_CHUNK);
    type Spoil = fn(&mut CheckpointChunk);
    let lies: [Spoil; 5] = [
        |c| c.id.0[0] ^= 1,
        |c| c.checkpoint.0[0] ^= 1,
        |c| c.bytes = c.bytes.slice(1..),
        |c| c.offset += 1,
        // Grows while it is read, for ever.
        |c| c.total += c.offset / 2,
    ];
    for (n, spoil) in lies.into_iter().enumerate() {
        let bytes = bytes.clone();
        let error = lied_to(hash, 2 * MIB, move |asked| {
            let mut chunk = asked.answer(&bytes).unwrap();
            if n == 3 {
                chunk.total += 1;
            }
            spoil(&mut chunk);
            Some(bytes_of(chunk.into()))
        })
        .await;
        assert!(matches!(error, FetchError::Protocol(_)), "{n}: {error}");
    }
    let foreign = Message::Refusal { id: RequestId([9; 16]), refusal: Refusal::UnknownExpert };
    let error = lied_to(hash, 2 * MIB, move |_| Some(bytes_of(foreign.clone()))).await;
    assert!(matches!(error, FetchError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn a_peer_that_stalls_costs_no_more_than_the_deadline() {
    let (bytes, hash) = file(2 * MAX_CHUNK);
    // It sends the first piece, and then nothing more.
    let (peer, address, endpoint, mut given_up) = bare_server(move |message| {
        let Message::CheckpointRequest(asked) = message else { panic!("not a question for a checkpoint") };
        (asked.offset == 0).then(|| bytes_of(asked.answer(&bytes).unwrap().into()))
    });
    let router = start(config()).await;
    let subnet = vision();
    let deadline = Duration::from_millis(1500);
    let addresses = [address];
    let fetch = router.fetch_checkpoint(peer, &addresses, &subnet, hash, 2 * MIB, deadline);
    assert_eq!(soon("the deadline", fetch).await, Err(FetchError::Timeout));
    assert_eq!(soon("the peer is told", given_up.recv()).await, Some(()));
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
}

#[tokio::test]
async fn dropping_a_fetch_tells_the_peer() {
    let (asked, mut was_asked) = mpsc::channel(4);
    let (peer, address, endpoint, mut given_up) = bare_server(move |_| {
        asked.try_send(()).unwrap();
        None
    });
    let router = start(config()).await;
    let fetch = {
        let router = router.clone();
        tokio::spawn(async move {
            router.fetch_checkpoint(peer, &[address], &vision(), ContentHash([1; 32]), MIB, PATIENCE).await
        })
    };
    soon("the question", was_asked.recv()).await.unwrap();
    fetch.abort();
    assert_eq!(soon("the peer is told", given_up.recv()).await, Some(()));
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
}

#[tokio::test]
async fn a_busy_peer_is_asked_again() {
    let (bytes, hash) = file(1000);
    let mut busy = 3;
    let whole = bytes.clone();
    let (peer, address, endpoint, _) = bare_server(move |message| {
        let Message::CheckpointRequest(asked) = message else { panic!("not a question for a checkpoint") };
        if busy > 0 {
            busy -= 1;
            let refusal = Refusal::Busy { retry_after_ms: 1 };
            return Some(bytes_of(Message::Refusal { id: asked.id, refusal }));
        }
        Some(bytes_of(asked.answer(&bytes).unwrap().into()))
    });
    let router = start(config()).await;
    let fetched = router.fetch_checkpoint(peer, &[address], &vision(), hash, MIB, PATIENCE).await;
    assert_eq!(fetched.unwrap(), whole);
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");

    let (peer, address, endpoint, _) = bare_server(move |message| {
        let Message::CheckpointRequest(asked) = message else { panic!("not a question for a checkpoint") };
        let refusal = Refusal::Busy { retry_after_ms: u32::MAX };
        Some(bytes_of(Message::Refusal { id: asked.id, refusal }))
    });
    let router = start(config()).await;
    let deadline = Duration::from_secs(1);
    let answer = router.fetch_checkpoint(peer, &[address], &vision(), hash, MIB, deadline).await;
    assert_eq!(answer, Err(FetchError::Refused(Refusal::Busy { retry_after_ms: u32::MAX })), "not just a timeout");
    router.stop().await;
    endpoint.close(VarInt::from_u32(0), b"");
}

#[tokio::test]
async fn who_hoards_checkpoints_starves_neither_forwards_nor_other_fetchers() {
    let mut tight = config();
    // Room for one forward at a time: if a piece took it, nobody could ask anything.
    tight.limits.requests = 1;
    tight.limits.checkpoint_chunks = 16;
    let expert = start(tight).await;
    let (bytes, hash) = file(2 * MAX_CHUNK);
    expert.serve(Arc::new(Library(bytes.clone())));
    let router = start(config()).await;
    // It asks for as much as it can and reads nothing of it.
    let (_endpoint, connection) = connect_with(&expert, |transport| {
        transport.stream_receive_window(VarInt::from_u32(64)).receive_window(VarInt::from_u32(8192));
    })
    .await;
    let asked = CheckpointRequest {
        id: RequestId([1; 16]),
        subnet: vision(),
        checkpoint: hash,
        offset: 0,
        length: MAX_CHUNK as u32,
    };
    let asked = bytes_of(asked.into());
    let mut hoard: Vec<Held<'_>> = Vec::new();
    for _ in 0..2 {
        // One after the other, so that no two of them compete for the one place in which they are read.
        let mut held = Held::new(&connection, &asked, 1).await;
        for (send, _) in &mut held.streams {
            send.finish().unwrap();
        }
        assert_eq!(answers(&mut held, 1).await, [5], "a piece begins to come");
        hoard.push(held);
    }
    let mut third = Held::new(&connection, &asked, 1).await;
    third.streams[0].0.finish().unwrap();
    assert_eq!(answers(&mut third, 1).await, [REFUSAL], "no more than two places for one peer");

    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    for n in 1..=20 {
        // The caller sees an answer a moment before the server has given back the one place.
        until("an answer", || async { router.forward(peer, &addresses, request(n, 10), PATIENCE).await.ok() }).await;
    }
    let fetched = fetch(&router, &expert, hash, 2 * MIB).await;
    assert!(fetched.unwrap() == bytes, "others still fetch");
    assert!(connection.close_reason().is_none(), "meanwhile the hoard stood");
    drop((hoard, third));
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_pieces() {
    let expert = start(config()).await;
    let (bytes, hash) = file(MAX_CHUNK);
    expert.serve(Arc::new(Library(bytes)));
    let (_endpoint, connection) = connect_with(&expert, |transport| {
        transport.stream_receive_window(VarInt::from_u32(64)).receive_window(VarInt::from_u32(8192));
    })
    .await;
    let length = MAX_CHUNK as u32;
    let asked = CheckpointRequest { id: RequestId([1; 16]), subnet: vision(), checkpoint: hash, offset: 0, length };
    let asked = bytes_of(asked.into());
    let mut held = Held::new(&connection, &asked, 1).await;
    held.streams[0].0.finish().unwrap();
    assert_eq!(answers(&mut held, 1).await, [5]);
    let begin = std::time::Instant::now();
    soon("the stop", expert.stop()).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "less than the drain of requests");
}

#[tokio::test]
async fn a_panicking_library_costs_one_question() {
    struct Broken;
    impl ForwardHandler for Broken {
        fn forward(
            &self,
            caller: PeerId,
            request: ForwardRequest,
        ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
            handler(|_, request| async move { Ok(reply(request)) }).forward(caller, request)
        }

        fn checkpoint(&self, _: PeerId, _: &SubnetName, _: ContentHash) -> Option<Bytes> {
            panic!("expected by this test")
        }
    }
    let (expert, router) = (start(config()).await, start(config()).await);
    expert.serve(Arc::new(Broken));
    let answer = fetch(&router, &expert, ContentHash([1; 32]), MIB).await;
    assert!(matches!(answer, Err(FetchError::Closed(_))), "{answer:?}");
    router.forward(expert.peer_id(), &expert.data_addresses(), request(1, 10), PATIENCE).await.unwrap();
    stop([&router, &expert]).await;
}
