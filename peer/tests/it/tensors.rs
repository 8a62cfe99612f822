//! Forward passes between two peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use glia_peer::{ForwardError, Network, NetworkConfig};
use glia_protocol::Refusal;
use tokio::sync::{Barrier, mpsc};

use crate::support::{PATIENCE, config, echo, handler, reply, request, soon, start};

async fn pair() -> (Network, Network) {
    (start(config()).await, start(config()).await)
}

async fn stop(networks: [&Network; 2]) {
    for network in networks {
        network.stop().await;
    }
}

/// Tells on drop.
struct Tell(mpsc::Sender<&'static str>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.try_send("dropped");
    }
}

/// A handler that never answers and tells when it begins and when it is dropped.
fn stubborn() -> (Arc<dyn glia_peer::ForwardHandler>, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel(64);
    let handler = handler(move |_, _| {
        let tell = Tell(tell.clone());
        async move {
            tell.0.try_send("began").unwrap();
            std::future::pending().await
        }
    });
    (handler, told)
}

#[tokio::test]
async fn three_megabytes_make_the_round_trip() {
    let (expert, router) = pair().await;
    let caller = router.peer_id();
    expert.serve(handler(move |peer, request| {
        assert_eq!(peer, caller, "the handler knows who asks");
        async move { Ok(reply(request)) }
    }));
    let request = request(1, 786_432);
    assert_eq!(request.tensors[0].data().len(), 3 * 1024 * 1024);
    for _ in 0..3 {
        let answer =
            router.forward(expert.peer_id(), &expert.data_addresses(), request.clone(), PATIENCE).await.unwrap();
        assert_eq!(answer.tensors, request.tensors);
        assert_eq!((answer.id, answer.checkpoint), (request.id, request.checkpoint));
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn requests_to_one_peer_run_side_by_side() {
    const AT_ONCE: usize = 32;
    let (expert, router) = pair().await;
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    expert.serve(handler(move |_, request| {
        let barrier = barrier.clone();
        async move {
            // Opens only when all requests are here at once.
            barrier.wait().await;
            Ok(reply(request))
        }
    }));
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let calls = (0..AT_ONCE).map(|n| router.forward(peer, &addresses, request(n as u8 + 1, 10), PATIENCE));
    for (n, answer) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().id.0[0], n as u8 + 1);
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn a_refusal_travels() {
    let (expert, router) = pair().await;
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let answer = router.forward(peer, &addresses, request(1, 10), PATIENCE).await;
    assert_eq!(answer, Err(ForwardError::Refused(Refusal::UnknownExpert)), "nobody serves yet");
    for refusal in [
        Refusal::Busy { retry_after_ms: 12 },
        Refusal::BadShape("[1, 10] is not [1, 28, 28]".to_owned()),
        Refusal::Failed("out of memory".to_owned()),
        Refusal::Unauthorised,
    ] {
        let says = refusal.clone();
        expert.serve(handler(move |_, _| {
            let says = says.clone();
            async move { Err(says) }
        }));
        let answer = router.forward(peer, &addresses, request(1, 10), PATIENCE).await;
        assert_eq!(answer, Err(ForwardError::Refused(refusal)));
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn the_expert_stops_working_when_the_budget_is_spent() {
    let (expert, router) = pair().await;
    let (handler, mut told) = stubborn();
    expert.serve(handler);
    let mut request = request(1, 10);
    request.budget_ms = 100;
    let answer = router.forward(expert.peer_id(), &expert.data_addresses(), request, PATIENCE).await;
    assert_eq!(answer, Err(ForwardError::Refused(Refusal::Deadline)));
    assert_eq!(soon("the work began", told.recv()).await, Some("began"));
    assert_eq!(soon("the work ended", told.recv()).await, Some("dropped"));
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn the_caller_does_not_wait_past_its_deadline() {
    let (expert, router) = pair().await;
    let (handler, mut told) = stubborn();
    expert.serve(handler);
    let begin = Instant::now();
    let answer =
        router.forward(expert.peer_id(), &expert.data_addresses(), request(1, 10), Duration::from_millis(300)).await;
    assert!(begin.elapsed() < PATIENCE / 2);
    // The expert's clock runs too: whichever rings first.
    assert!(matches!(answer, Err(ForwardError::Timeout | ForwardError::Refused(Refusal::Deadline))), "{answer:?}");
    if soon("the work began", told.recv()).await == Some("began") {
        assert_eq!(soon("the work ended", told.recv()).await, Some("dropped"));
    }
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn cancelling_drops_the_work() {
    let (expert, router) = pair().await;
    let (handler, mut told) = stubborn();
    expert.serve(handler);
    let call = {
        let (router, peer, addresses) = (router.clone(), expert.peer_id(), expert.data_addresses());
        tokio::spawn(async move { router.forward(peer, &addresses, request(1, 10), PATIENCE).await })
    };
    assert_eq!(soon("the work began", told.recv()).await, Some("began"));
    call.abort();
    assert_eq!(soon("the work was dropped", told.recv()).await, Some("dropped"));
    // The connection survives.
    expert.serve(echo());
    router.forward(expert.peer_id(), &expert.data_addresses(), request(2, 10), PATIENCE).await.unwrap();
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn a_panicking_handler_costs_one_request() {
    let (expert, router) = pair().await;
    expert.serve(handler(|_, _| async { panic!("expected by this test") }));
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let answer = router.forward(peer, &addresses, request(1, 10), PATIENCE).await;
    assert!(matches!(answer, Err(ForwardError::Closed(_))), "{answer:?}");
    expert.serve(echo());
    router.forward(peer, &addresses, request(2, 10), PATIENCE).await.unwrap();
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn another_peer_at_the_address_is_refused() {
    let (expert, router) = pair().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    expert.serve(handler(move |_, request| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(reply(request)) }
    }));
    let expected = glia_peer::Identity::generate().unwrap().peer_id();
    let answer = router.forward(expected, &expert.data_addresses(), request(1, 10), PATIENCE).await;
    assert!(matches!(answer, Err(ForwardError::Connect(_))), "{answer:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 0, "not a byte of the request was handed over");
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn the_right_address_is_found_among_dead_ones() {
    let (expert, router) = pair().await;
    expert.serve(echo());
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut addresses = vec![silent.local_addr().unwrap()];
    addresses.extend(expert.data_addresses());
    let begin = Instant::now();
    router.forward(expert.peer_id(), &addresses, request(1, 10), PATIENCE).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(9), "it did not wait for the dead address");
    stop([&router, &expert]).await;
}

#[tokio::test]
async fn many_callers_share_one_failing_dial() {
    let router = start({
        let mut config = config();
        config.timing.dial = Duration::from_millis(500);
        config
    })
    .await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap()];
    let peer = glia_peer::Identity::generate().unwrap().peer_id();
    let begin = Instant::now();
    let calls = (0..20).map(|n| router.forward(peer, &addresses, request(n + 1, 10), PATIENCE));
    for answer in futures::future::join_all(calls).await {
        assert!(matches!(answer, Err(ForwardError::Connect(_))), "{answer:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(8), "one dial of half a second, not twenty after each other");
    router.stop().await;
}

/// An expert that can be killed like a process: its runtime goes, and nobody is told.
struct Mortal {
    runtime: Option<tokio::runtime::Runtime>,
    network: Network,
}

impl Mortal {
    async fn start(config: NetworkConfig) -> Self {
        tokio::task::spawn_blocking(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let network = runtime.block_on(Network::start(config)).unwrap();
            network.serve(echo());
            Self { runtime: Some(runtime), network }
        })
        .await
        .unwrap()
    }

    async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        drop(self.network);
    }
}

#[tokio::test]
async fn a_dead_expert_fails_fast_and_a_restarted_one_is_reached_again() {
    let router = start({
        let mut config = config();
        config.timing.silence = Duration::from_millis(1500);
        config.timing.dial = Duration::from_secs(20);
        config
    })
    .await;
    let mut expert_config = config();
    let expert = Mortal::start(expert_config.clone()).await;
    let (peer, addresses) = (expert.network.peer_id(), expert.network.data_addresses());
    router.forward(peer, &addresses, request(1, 10), PATIENCE).await.unwrap();

    expert.kill().await;
    let begin = Instant::now();
    let answer = router.forward(peer, &addresses, request(2, 10), PATIENCE).await;
    assert!(matches!(answer, Err(ForwardError::Closed(_))), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "long before the deadline");

    expert_config.data_listen = addresses[0];
    let expert = Mortal::start(expert_config).await;
    let answer = router.forward(peer, &addresses, request(3, 10), PATIENCE).await.unwrap();
    assert_eq!(answer.id.0[0], 3);
    router.stop().await;
    expert.kill().await;
}

#[tokio::test]
async fn an_expert_that_restarted_unnoticed_answers_at_once() {
    // The caller's patience with silence is a minute: only the expert's own reset can tell it in time.
    let router = start({
        let mut config = config();
        config.timing.silence = PATIENCE;
        config
    })
    .await;
    let mut expert_config = config();
    let expert = Mortal::start(expert_config.clone()).await;
    let (peer, addresses) = (expert.network.peer_id(), expert.network.data_addresses());
    router.forward(peer, &addresses, request(1, 10), PATIENCE).await.unwrap();
    expert.kill().await;
    expert_config.data_listen = addresses[0];
    let expert = Mortal::start(expert_config).await;
    let answer = soon("an answer", router.forward(peer, &addresses, request(2, 10), Duration::from_secs(30))).await;
    assert_eq!(answer.unwrap().id.0[0], 2);
    router.stop().await;
    expert.kill().await;
}
