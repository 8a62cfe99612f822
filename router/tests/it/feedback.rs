//! Labels from applications, and what the router says about where labels come from.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use glia_protocol::RequestId;
use glia_router::api::{ApiState, app};
use glia_router::feedback::{FeedbackKeys, LabelSource};
use glia_router::{Parts, Policy, Router};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::mesh::{Ledgerless, Mesh, hurried, image, parts, until, view};

const KEY: &str = "correct-horse-battery";
const PATH: &str = "/glia/v1/feedback";

struct Api {
    router: Router,
    app: axum::Router,
}

impl Api {
    /// A router without labelled items of its own.
    async fn start(folder: &Path, keys: bool, policy: Policy) -> Self {
        let mesh = Mesh::of(&Mesh::specialists());
        let keys = keys.then(|| FeedbackKeys::parse(KEY).unwrap());
        let parts = Parts {
            subnets: vec![view(0)],
            feedback: keys.clone(),
            policy: policy.clone(),
            ..parts(&mesh, Some(Ledgerless::new(4)), folder)
        };
        let router = Router::start_with(parts).await.unwrap();
        let subnets = router.subnets().to_vec();
        let metrics = Arc::clone(&subnets[0].metrics);
        let api = Self { app: app(ApiState::new(subnets, metrics, policy).with_feedback(keys)), router };
        let registered =
            || api.router.subnets()[0].snapshot().experts.iter().filter(|e| e.is_registered()).count() == 4;
        until("all experts are there", registered).await;
        api
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn say(&self, key: Option<&str>, body: &Value) -> (StatusCode, String) {
        let mut request = Request::post(PATH);
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let (status, answer) = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        (status, answer["error"].as_str().map_or_else(|| answer.to_string(), ToOwned::to_owned))
    }

    /// Asks about two images of class 3; the answer's name.
    async fn ask(&self) -> String {
        let data = [image(3, 1), image(3, 2)].concat();
        let body = json!({
            "id": "mine", "inputs": [{ "name": "image", "shape": [2, 4, 4], "datatype": "UINT8", "data": data }],
        });
        let request = Request::post("/v2/models/vision/infer").body(Body::from(body.to_string())).unwrap();
        let (status, answer) = self.send(request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["id"], "mine");
        answer["parameters"]["request_id"].as_str().unwrap().to_owned()
    }

    async fn labels(&self) -> Value {
        self.send(Request::get("/healthz").body(Body::empty()).unwrap()).await.1["subnets"][0]["labels"].clone()
    }

    fn scored(&self) -> u64 {
        self.router.subnets()[0].tally.with(|tally| tally.items)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_counts_once_and_moves_the_scores_of_those_who_answered() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path(), true, hurried()).await;
    let labels = api.labels().await;
    assert_eq!((&labels["source"], &labels["feedback"]), (&json!("agreement"), &json!(true)));
    assert!(labels["note"].as_str().unwrap().contains("no labels"), "{labels}");

    let (id, before) = (api.ask().await, api.scored());
    let (status, said) = api.say(Some(KEY), &json!({ "id": id, "label": "class-3" })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert!(said.contains("\"label\":\"class-3\"") && said.contains("counted"), "{said}");
    assert_eq!(api.scored(), before + 1);
    let (status, said) = api.say(Some(KEY), &json!({ "id": id, "label": "class-3" })).await;
    assert_eq!((status, api.scored()), (StatusCode::CONFLICT, before + 1), "{said}");
    // The other item, by number.
    let (status, said) = api.say(Some(KEY), &json!({ "id": id, "label": 3, "item": 1 })).await;
    assert_eq!((status, api.scored()), (StatusCode::OK, before + 2), "{said}");
    let subnet = &api.router.subnets()[0];
    let scored = subnet.tally.with(|tally| tally.experts.values().filter(|sums| sums.scored() > 0).count());
    assert!(scored > 0, "somebody was scored");
    assert_eq!(api.labels().await["source"], "feedback");
    let source = || subnet.metrics.encode().contains("label_source{subnet=\"vision\",source=\"feedback\"} 1");
    until("the figures say it too", source).await;
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_nonsense_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path(), true, hurried()).await;
    let id = api.ask().await;
    let good = json!({ "id": id, "label": 3 });
    for key in [None, Some(""), Some("wrong-horse-battery"), Some(&KEY[1..])] {
        let (status, said) = api.say(key, &good).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{said}");
        assert!(said.contains("Bearer"), "{said}");
    }
    let cases = [
        (json!({ "id": id, "label": "class-9" }), StatusCode::BAD_REQUEST, "is no class of vision"),
        (json!({ "id": id, "label": 8 }), StatusCode::BAD_REQUEST, "is no class of vision"),
        (json!({ "id": id, "label": -1 }), StatusCode::BAD_REQUEST, "no feedback"),
        (json!({ "id": id, "label": 3, "item": 2 }), StatusCode::BAD_REQUEST, "2 items"),
        (json!({ "id": id, "label": 3, "more": 2 }), StatusCode::BAD_REQUEST, "no feedback"),
        (json!({ "id": "mine", "label": 3 }), StatusCode::BAD_REQUEST, "request_id"),
        (json!({ "id": RequestId([9; 16]).to_string(), "label": 3 }), StatusCode::NOT_FOUND, "not known"),
        (json!([]), StatusCode::BAD_REQUEST, "no feedback"),
        (json!({ "id": id, "label": "x".repeat(5000) }), StatusCode::PAYLOAD_TOO_LARGE, "4096"),
    ];
    let before = api.scored();
    for (body, wanted, part) in cases {
        let (status, said) = api.say(Some(KEY), &body).await;
        assert_eq!(status, wanted, "{said}");
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(api.scored(), before);
    assert_eq!(api.say(Some(KEY), &good).await.0, StatusCode::OK, "nothing of that used the item up");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_used_too_often_has_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path(), true, Policy { feedback_rate: 0.1, ..hurried() }).await;
    let id = api.ask().await;
    let body = json!({ "id": id, "label": 3 });
    assert_eq!(api.say(Some(KEY), &body).await.0, StatusCode::OK);
    let (status, said) = api.say(Some(KEY), &json!({ "id": id, "label": 3, "item": 1 })).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{said}");
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_nobody_may_label_and_nothing_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path(), false, hurried()).await;
    let id = api.ask().await;
    let (status, said) = api.say(Some(KEY), &json!({ "id": id, "label": 3 })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(said.contains("--feedback-key-file"), "{said}");
    assert!(api.router.subnets()[0].feedback.recent.is_empty());
    api.router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_with_labelled_items_says_that_it_scores_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::of(&Mesh::specialists());
    let router = Router::start_with(parts(&mesh, None, folder.path())).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    let now = tokio::time::Instant::now();
    assert_eq!(glia_router::feedback::source(&subnet, now), LabelSource::Canaries);
    router.stop().await;
}
