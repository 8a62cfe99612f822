//! Stopping: in order, completely, and more than once.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use glia_peer::{FindError, ForwardError};
use glia_protocol::{ForwardRequest, Refusal};
use tokio::sync::mpsc;

use crate::support::{
    PATIENCE, config, echo, handler, hotkey, join, load, offer, reply, request, soon, start, until, vision,
};

#[tokio::test]
async fn a_stopped_network_leaves_no_task_and_no_socket_behind() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let bootstrap = start(config()).await;
    let expert = join(&bootstrap, |c| c.hotkey = Some(hotkey(1))).await;
    expert.serve(echo());
    expert.advertise(vec![offer("expert", &[0])], load()).await.unwrap();
    until("they meet", || async { (bootstrap.connected_peers() == 1).then_some(()) }).await;
    let (peer, data) = (expert.peer_id(), expert.data_addresses());
    bootstrap.forward(peer, &data, request(1, 10), PATIENCE).await.unwrap();
    let control = expert.control_addresses();
    assert!(alive() > before);

    for network in [&expert, &bootstrap] {
        soon("the stop", network.stop()).await;
    }
    until("all tasks have ended", || async { (alive() == before).then_some(()) }).await;
    UdpSocket::bind(data[0]).expect("the tensor socket is free");
    for address in control {
        let parts: Vec<&str> = address.split('/').collect();
        let port: u16 = parts[4].parse().unwrap();
        match parts[3] {
            "udp" => drop(UdpSocket::bind(("127.0.0.1", port)).expect("the QUIC socket is free")),
            _ => drop(TcpListener::bind(("127.0.0.1", port)).expect("the TCP socket is free")),
        }
    }
}

#[tokio::test]
async fn a_stopped_network_answers_every_call_with_an_error() {
    let network = start(config()).await;
    let clone = network.clone();
    // At once and again: all of them end.
    tokio::join!(network.stop(), clone.stop());
    network.stop().await;
    assert_eq!(network.find_providers(&vision(), 0, 0).await, Err(FindError::Stopped));
    let answer = network.forward(clone.peer_id(), &[], request(1, 10), PATIENCE).await;
    assert!(matches!(answer, Err(ForwardError::Closed(_))), "{answer:?}");
    assert!(network.describe(clone.peer_id(), &vision()).await.is_err());
    network.withdraw().await;
}

#[tokio::test]
async fn dropping_the_last_handle_ends_every_task() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let network = start(config()).await;
    let clone = network.clone();
    drop(network);
    assert!(alive() > before, "a clone keeps it alive");
    drop(clone);
    until("all tasks have ended", || async { (alive() == before).then_some(()) }).await;
}

#[tokio::test]
async fn stopping_lets_running_requests_finish_and_refuses_new_ones() {
    let expert = start(config()).await;
    let router = start(config()).await;
    let (began, mut begin) = mpsc::channel::<()>(4);
    let (release, gate) = mpsc::channel::<()>(1);
    let gate = Arc::new(tokio::sync::Mutex::new(gate));
    expert.serve(handler(move |_, request: ForwardRequest| {
        let (began, gate) = (began.clone(), gate.clone());
        async move {
            began.send(()).await.unwrap();
            gate.lock().await.recv().await;
            Ok(reply(request))
        }
    }));
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let call = {
        let (router, addresses) = (router.clone(), addresses.clone());
        tokio::spawn(async move { router.forward(peer, &addresses, request(1, 10), PATIENCE).await })
    };
    soon("the request arrives", begin.recv()).await.unwrap();
    let stopping = {
        let expert = expert.clone();
        tokio::spawn(async move { expert.stop().await })
    };
    until("new requests are refused", || async {
        // One that still got in before the stop is cancelled by its short deadline.
        let answer = router.forward(peer, &addresses, request(2, 10), Duration::from_millis(200)).await;
        matches!(answer, Err(ForwardError::Refused(Refusal::Busy { .. }))).then_some(())
    })
    .await;
    release.send(()).await.unwrap();
    assert_eq!(soon("the running one", call).await.unwrap().unwrap().id.0[0], 1);
    soon("the stop", stopping).await.unwrap();
    router.stop().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_when_the_drain_is_over() {
    let mut quick = config();
    quick.timing.drain = Duration::from_millis(100);
    let expert = start(quick).await;
    let router = start(config()).await;
    let (began, mut begin) = mpsc::channel::<()>(1);
    expert.serve(handler(move |_, _| {
        let began = began.clone();
        async move {
            began.send(()).await.unwrap();
            std::future::pending().await
        }
    }));
    let (peer, addresses) = (expert.peer_id(), expert.data_addresses());
    let call = {
        let router = router.clone();
        tokio::spawn(async move { router.forward(peer, &addresses, request(1, 10), PATIENCE).await })
    };
    soon("the request arrives", begin.recv()).await.unwrap();
    soon("the stop", expert.stop()).await;
    let answer = soon("the answer", call).await.unwrap();
    assert!(matches!(answer, Err(ForwardError::Closed(_))), "{answer:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_does_not_wait_for_a_stuck_swarm() {
    let mut impatient = config();
    impatient.timing.query = Duration::from_millis(200);
    impatient.hotkey = Some(hotkey(1));
    let expert = start(impatient).await;
    let (began, mut begin) = mpsc::channel::<()>(1);
    let (release, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    // The swarm's task asks for the load, and here it does not get it back.
    let stuck = Arc::new(move || {
        let _ = began.try_send(());
        let _ = gate.lock().unwrap().recv();
        glia_protocol::gossip::Load::default()
    });
    // The first heartbeat may come before the answer to this, and then the answer does not come.
    let advertising = expert.clone();
    let advertised = tokio::spawn(async move { advertising.advertise(vec![offer("expert", &[0])], stuck).await });
    soon("the swarm is stuck", begin.recv()).await.unwrap();
    soon("the withdrawal", expert.withdraw()).await;
    // Every later question for the load is answered at once.
    drop(release);
    soon("the stop", expert.stop()).await;
    // Whatever came of it, it is over.
    let _ = soon("the end of advertising", advertised).await;
}
