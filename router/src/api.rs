//! HTTP: the Open Inference Protocol in JSON, health, figures, and what the router knows of experts and weights.
//!
//! Errors are `{"error": "a sentence"}` with a fitting status. Bodies, batches and requests at the same time are limited.
//!
//! Modules in flow order: [`tensor`] (numbers in, bytes out), `body`, [`infer`], [`feedback`], [`mesh`] (experts,
//! ledger), [`audits`].

pub mod audits;
mod body;
pub mod feedback;
pub mod infer;
pub mod mesh;
pub mod tensor;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::Policy;
use crate::feedback::keys::Door;
use crate::feedback::{FeedbackKeys, source};
use crate::metrics::Metrics;
use crate::subnet::Subnet;

/// What handlers share.
#[derive(Clone)]
pub struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    subnets: Vec<Arc<Subnet>>,
    metrics: Arc<Metrics>,
    policy: Policy,
    /// Requests that are worked on.
    room: Semaphore,
    /// Who may give feedback.
    door: Option<Door>,
}

impl ApiState {
    /// State over the subnets of a router.
    #[must_use]
    pub fn new(subnets: Vec<Arc<Subnet>>, metrics: Arc<Metrics>, policy: Policy) -> Self {
        let room = Semaphore::new(policy.max_requests);
        Self { inner: Arc::new(Inner { subnets, metrics, policy, room, door: None }) }
    }

    /// The same state, letting those with one of `keys` give feedback. Must be called before the state is shared.
    #[must_use]
    pub fn with_feedback(mut self, keys: Option<FeedbackKeys>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            let rate = inner.policy.feedback_rate;
            inner.door = keys.map(|keys| Door::new(keys, rate, Instant::now()));
        }
        self
    }

    fn door(&self) -> Option<&Door> {
        self.inner.door.as_ref()
    }

    fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    fn subnets(&self) -> &[Arc<Subnet>] {
        &self.inner.subnets
    }

    /// The subnet called `name`.
    fn subnet(&self, name: &str) -> Result<&Arc<Subnet>, ApiError> {
        let found = self.inner.subnets.iter().find(|subnet| subnet.view.name.as_str() == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.inner.subnets.iter().map(|subnet| subnet.view.name.as_str()).collect();
            let shown: String = name.chars().take(64).collect();
            ApiError::not_found(format!("there is no model {shown:?} here, only {}", known.join(", ")))
        })
    }

    /// The subnet called `name`, or the first.
    fn subnet_or_first(&self, name: Option<&str>) -> Result<&Arc<Subnet>, ApiError> {
        match (name, self.inner.subnets.first()) {
            (None, Some(first)) => Ok(first),
            (name, _) => self.subnet(name.unwrap_or_default()),
        }
    }
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ApiError {
    status: StatusCode,
    sentence: String,
}

impl ApiError {
    /// An error with its status.
    pub(crate) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    fn bad(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.sentence }))).into_response()
    }
}

/// All routes.
pub fn app(state: ApiState) -> Router {
    let limit = DefaultBodyLimit::max(state.inner.policy.max_body);
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/glia/v1/experts", get(mesh::experts))
        .route("/glia/v1/ledger", get(mesh::ledger))
        .route("/glia/v1/audits", get(audits::audits))
        .route("/glia/v1/feedback", post(feedback::feedback))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::not_found("there is nothing at this path; begin at /v2"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not answer that method")
        })
        .layer(limit)
        .with_state(state)
}

async fn server(State(state): State<ApiState>) -> Json<Value> {
    let models: Vec<&str> = state.inner.subnets.iter().map(|subnet| subnet.view.name.as_str()).collect();
    Json(json!({ "name": "glia", "version": env!("CARGO_PKG_VERSION"), "extensions": [], "models": models }))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

fn readiness(ready: bool) -> (StatusCode, Json<Value>) {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
}

async fn ready(State(state): State<ApiState>) -> impl IntoResponse {
    readiness(state.inner.subnets.iter().all(|subnet| subnet.is_ready()))
}

async fn model_ready(State(state): State<ApiState>, Path(name): Path<String>) -> Result<impl IntoResponse, ApiError> {
    Ok(readiness(state.subnet(&name)?.is_ready()))
}

async fn model(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let subnet = state.subnet(&name)?;
    let schema = &subnet.view.schema;
    let describe = |spec: &glia_protocol::schema::TensorSpec| {
        let shape: Vec<i64> = std::iter::once(-1).chain(spec.shape.iter().map(|&d| i64::from(d))).collect();
        json!([{ "name": spec.name, "datatype": tensor::datatype(spec.dtype), "shape": shape }])
    };
    // What is given back is always FP32, whatever experts answer in.
    let mut outputs = describe(&schema.output);
    outputs[0]["datatype"] = json!("FP32");
    Ok(Json(json!({
        "name": subnet.view.name.as_str(),
        "versions": ["1"],
        "platform": "glia",
        "inputs": describe(&schema.input),
        "outputs": outputs,
        "parameters": {
            "labels": schema.classes(),
            "feature_map": subnet.feature_map.to_string(),
            "netuid": subnet.view.netuid,
            "max_batch": state.inner.policy.max_batch,
        },
    })))
}

async fn health(State(state): State<ApiState>) -> Json<Value> {
    let now = Instant::now();
    let subnets = state.inner.subnets.iter().map(|subnet| {
        let (snapshot, labels) = (subnet.snapshot(), source(subnet, now));
        json!({
            "subnet": subnet.view.name.as_str(),
            "ready": subnet.is_ready(),
            "experts": snapshot.experts.len(),
            "candidates": subnet.callable(now).len(),
            "block": snapshot.block,
            "labels": {
                "source": labels.word(),
                "note": labels.sentence(),
                "items": subnet.probes.scoring().len(),
                "feedback": state.inner.door.is_some(),
            },
        })
    });
    Json(json!({ "status": "ok", "subnets": subnets.collect::<Vec<_>>() }))
}

async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], state.inner.metrics.encode())
}
