//! The HTTP interface, asked without a socket.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use glia_router::api::{ApiState, app};
use glia_router::{Parts, Router};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::mesh::{Ledgerless, Manner, Mesh, hurried, image, parts, peer, until, view};

struct Api {
    router: Router,
    app: axum::Router,
}

async fn start(mesh: &Arc<Mesh>, folder: &Path) -> Api {
    start_with(parts(mesh, None, folder)).await
}

async fn start_with(parts: Parts) -> Api {
    let router = Router::start_with(parts).await.unwrap();
    let subnets = router.subnets().to_vec();
    let metrics = Arc::clone(&subnets[0].metrics);
    let policy = glia_router::Policy { max_body: 100_000, max_batch: 32, ..hurried() };
    Api { app: app(ApiState::new(subnets, metrics, policy)), router }
}

impl Api {
    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let (status, text) = self.send(Request::post(path).body(body.into()).unwrap()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn infer(&self, body: &Value) -> (StatusCode, Value) {
        self.post("/v2/models/vision/infer", body.to_string()).await
    }

    async fn calibrated(&self, experts: usize) {
        let subnet = &self.router.subnets()[0];
        until("all experts are probed", || {
            subnet.gate().experts.values().filter(|gate| gate.calibrated).count() == experts
        })
        .await;
    }
}

fn request(batch: usize) -> Value {
    let data: Vec<u8> = (0..batch).flat_map(|n| image(n % 8, n)).collect();
    json!({ "inputs": [{ "name": "image", "shape": [batch, 4, 4], "datatype": "UINT8", "data": data }] })
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut body = request(1);
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_answered_rightly_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let api = start(&mesh, folder.path()).await;
    api.calibrated(4).await;
    for class in 0..8 {
        let body = json!({
            "id": "seven", "parameters": { "explain": true, "k": 2 },
            "inputs": [{ "name": "image", "shape": [1, 4, 4], "datatype": "UINT8", "data": [image(class, 5)] }],
        });
        let (status, answer) = api.infer(&body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!((&answer["model_name"], &answer["id"]), (&json!("vision"), &json!("seven")));
        let output = &answer["outputs"][0];
        assert_eq!((&output["shape"], &output["datatype"]), (&json!([1, 8]), &json!("FP32")));
        let data: Vec<f64> = serde_json::from_value(output["data"].clone()).unwrap();
        assert!((data.iter().sum::<f64>() - 1.0).abs() < 1e-3);
        let top = (0..8).max_by(|&a, &b| data[a].total_cmp(&data[b])).unwrap();
        assert_eq!(top, class);
        let experts = answer["parameters"]["experts"].as_array().unwrap();
        assert_eq!(experts.len(), 2);
        assert_eq!(experts[0]["name"], format!("expert-{}", class / 2 + 1));
        assert_eq!(experts[0]["top_class"], class);
        assert_eq!(experts[0]["status"], "answered");
        let weights: f64 = experts.iter().map(|e| e["weight"].as_f64().unwrap()).sum();
        assert!((weights - 1.0).abs() < 1e-3);
        assert!(experts[0]["weight"].as_f64().unwrap() > 0.8);
    }
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_item_by_item() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let api = start(&mesh, folder.path()).await;
    api.calibrated(4).await;
    let mut body = request(20);
    body["parameters"] = json!({ "explain": true });
    let (status, answer) = api.infer(&body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let data: Vec<f64> = serde_json::from_value(answer["outputs"][0]["data"].clone()).unwrap();
    for (n, row) in data.chunks(8).enumerate() {
        assert_eq!((0..8).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap(), n % 8);
    }
    assert_eq!(answer["parameters"]["experts"].as_array().unwrap().len(), 20);
    assert!(answer["parameters"]["calls"].as_u64().unwrap() <= 4, "one call per expert");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let api = start(&Mesh::of(&Mesh::specialists()), folder.path()).await;
    let cases = [
        (json!([]), "no inference request"),
        (json!({}), "no inference request"),
        (json!({ "inputs": [] }), "exactly one input"),
        (changed("/inputs/0/name", json!("picture")), "must be called \"image\""),
        (changed("/inputs/0/datatype", json!("FP32")), "UINT8"),
        (changed("/inputs/0/shape", json!([1, 4])), "[B, 4, 4]"),
        (changed("/inputs/0/shape", json!([0, 4, 4])), "[B, 4, 4]"),
        (changed("/inputs/0/shape", json!([2, 4, 4])), "32 values"),
        (changed("/inputs/0/data", json!([256, 0])), "16 values"),
        (changed("/inputs/0/data", json!(vec![256; 16])), "256 is no UINT8"),
        (changed("/inputs/0/data", json!(["a"])), "no inference request"),
        (changed("/inputs/0/shape", json!([u64::MAX, 4, 4])), "at most"),
    ];
    for (body, part) in cases {
        let (status, answer) = api.infer(&body).await;
        let wanted = if part == "at most" { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, wanted, "{body} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    for (parameter, value) in [("k", 0), ("k", 9), ("deadline_ms", 0), ("deadline_ms", 600_000)] {
        let mut body = request(1);
        body["parameters"] = json!({ parameter: value });
        let (status, answer) = api.infer(&body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().unwrap().contains(parameter), "{answer}");
    }
    let (status, _) = api.post("/v2/models/vision/infer", "{ half").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, answer) = api.post("/v2/models/vision/infer", " ".repeat(100_001)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    let (status, answer) = api.post("/v2/models/speech/infer", request(1).to_string()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["error"].as_str().unwrap().contains("vision"), "{answer}");
    let (status, answer) = api.post("/nowhere", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["error"].is_string());
    let (status, answer) = api.post("/healthz", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer["error"].is_string());
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_given_up_and_holds_others_off_before_theirs_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&[]);
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let (subnets, metrics) = (router.subnets().to_vec(), Arc::clone(&router.subnets()[0].metrics));
    let policy = glia_router::Policy {
        max_requests: 1,
        body_patience: Duration::from_millis(400),
        deadline: Duration::from_millis(50),
        ..hurried()
    };
    let api = Api { app: app(ApiState::new(subnets, metrics, policy)), router };
    let never = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let read = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&read);
    let watched = Body::from_stream(futures::stream::once(async move {
        seen.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>(b"{}".to_vec())
    }));
    let path = "/v2/models/vision/infer";
    let ((slow, why), (busy, _)) = tokio::join!(biased; api.post(path, never()), api.post(path, watched));
    assert_eq!((slow, busy), (StatusCode::REQUEST_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE));
    assert!(why["error"].as_str().unwrap().contains("0.4 seconds"), "{why}");
    assert!(!read.load(Ordering::SeqCst), "no body is read before there is room");
    assert_eq!(api.post(path, "{}").await.0, StatusCode::BAD_REQUEST, "the room is free again");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_experts_the_router_lives_but_is_not_ready_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let api = start(&Mesh::of(&[]), folder.path()).await;
    assert_eq!(api.get("/v2/health/live").await.0, StatusCode::OK);
    assert_eq!(api.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(api.get("/v2/health/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(api.get("/v2/models/vision/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, answer) = api.infer(&request(1)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer["error"].as_str().unwrap().contains("none has been found in the DHT"), "{answer}");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_fail_the_error_names_every_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let api = start(&mesh, folder.path()).await;
    api.calibrated(4).await;
    (1..=4).for_each(|n| mesh.change(n, |peer| peer.manner = Manner::Fails));
    let (status, answer) = api.infer(&request(1)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let sentence = answer["error"].as_str().unwrap();
    // The scoring stream may have met some of them first; those are banned and not asked again.
    assert!(sentence.contains("the expert failed: out of luck") || sentence.contains("banned"), "{sentence}");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_an_expert_fails_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let api = start(&mesh, folder.path()).await;
    api.calibrated(4).await;
    for n in 0..60 {
        if n == 20 {
            mesh.change(2, |peer| peer.alive = false);
        }
        let (status, answer) = api.infer(&request(3)).await;
        assert_eq!(status, StatusCode::OK, "request {n}: {answer}");
    }
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_experts_ledger_and_metrics_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let chain = Ledgerless::new(4);
    let router = Router::start_with(parts(&mesh, Some(chain), folder.path())).await.unwrap();
    let subnets = router.subnets().to_vec();
    let metrics = Arc::clone(&subnets[0].metrics);
    let api = Api { app: app(ApiState::new(subnets, metrics, hurried())), router };
    api.calibrated(4).await;
    assert_eq!(api.infer(&request(1)).await.0, StatusCode::OK);

    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let model = json(api.get("/v2/models/vision").await.1);
    assert_eq!(model["inputs"][0]["shape"], json!([-1, 4, 4]));
    assert_eq!(model["outputs"][0]["datatype"], "FP32");
    assert_eq!(api.get("/v2/health/ready").await.0, StatusCode::OK);
    assert_eq!(json(api.get("/v2").await.1)["name"], "glia");

    let experts = json(api.get("/glia/v1/experts").await.1);
    let list = experts["experts"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    for (n, expert) in (1..).zip(list) {
        assert_eq!(expert["name"], format!("expert-{n}"));
        assert_eq!((&expert["uid"], &expert["candidate"]), (&json!(n), &json!(true)));
        assert_eq!(expert["peer_id"], peer(n).to_string());
        assert!(["probed", "serving"].contains(&expert["state"].as_str().unwrap()), "{expert}");
        assert_eq!(expert["probes"], experts["probe_goal"]);
        assert!(expert["claimed_accuracy"].as_f64().unwrap() > 0.9, "{expert}");
    }
    let ledger = json(api.get("/glia/v1/ledger").await.1);
    assert_eq!((&ledger["netuid"], &ledger["weights"]), (&json!(1), &json!([])));
    let (_, text) = api.get("/metrics").await;
    for name in ["glia_router_requests_total", "glia_router_request_seconds_bucket", "glia_router_candidates"] {
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(api.get("/glia/v1/experts?subnet=speech").await.0, StatusCode::NOT_FOUND);
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_all_tasks_and_frees_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let address = router.http_address();
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    router.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert_eq!(Arc::strong_count(&mesh), 1, "no task holds the network any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_labels_experts_are_paid_for_agreeing_and_every_weight_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let all = || Manner::Knows((0..4).collect(), 0.9);
    let mesh = Mesh::of(&[all(), all(), all(), Manner::Uniform]);
    let chain = Ledgerless::new(5);
    let unlabelled = Parts { subnets: vec![view(0)], ..parts(&mesh, Some(Arc::clone(&chain)), folder.path()) };
    let api = start_with(unlabelled).await;
    let subnet = Arc::clone(&api.router.subnets()[0]);
    let registered = || subnet.snapshot().experts.iter().filter(|listed| listed.is_registered()).count();
    until("all experts are registered", || registered() == 4).await;
    for _ in 0..4 {
        assert_eq!(api.infer(&request(32)).await.0, StatusCode::OK);
    }
    chain.go_near_epoch();
    until("weights are set", || !chain.rows.lock().unwrap().is_empty()).await;
    until("the ledger has the row", || subnet.ledger().last_row().is_some()).await;
    let sent = chain.rows.lock().unwrap()[0].clone();
    assert_eq!(sent.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [1, 2, 3], "who says nothing agrees with nobody");

    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let (status, text) = api.get("/glia/v1/ledger?uid=2").await;
    assert_eq!(status, StatusCode::OK);
    let explanation = json(text);
    assert_eq!(explanation["line"]["weight"], json!(sent[1].1));
    assert_eq!(explanation["line"]["terms"]["basis"], json!("agreement"));
    // A quarter of an epoch with labels, of which a fifth.
    let terms = &explanation["line"]["terms"];
    assert!((terms["ema"].as_f64().unwrap() - 0.05 * terms["last"].as_f64().unwrap()).abs() < 1e-9, "{terms}");
    let nobody = json(api.get("/glia/v1/ledger?uid=77").await.1);
    assert!(nobody["summary"].as_str().unwrap().contains("nobody is registered as uid 77"));
    assert_eq!(api.get("/glia/v1/ledger?uid=many").await.0, StatusCode::BAD_REQUEST);
    api.router.stop().await;
}
