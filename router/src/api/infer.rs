//! `POST /v2/models/{subnet}/infer`.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use glia_protocol::RequestId;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::body::{Body, BodyLimits};
use super::tensor::{datatype, to_bytes};
use super::{ApiError, ApiState};
use crate::aggregate::top_class;
use crate::config::MAX_K;
use crate::dispatch::inputs::Inputs;
use crate::dispatch::{Cause, Failure};
use crate::pipeline::{InferError, Inquiry, Routed, RoutedItem, infer as ask};
use crate::scoring::outcome::{Source, record};
use crate::subnet::Subnet;

/// Longest request id that is given back.
const MAX_ID: usize = 256;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'static str,
    id: String,
    outputs: [OutputTensor<'a>; 1],
    parameters: Value,
}

#[derive(Debug, Serialize)]
struct OutputTensor<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 2],
    data: Vec<f32>,
}

/// Answers an inference request.
pub(super) async fn infer(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let start = Instant::now();
    let subnet = state.subnet(&name)?;
    let (most, patience) = (state.inner.policy.max_body, state.inner.policy.body_patience);
    let busy =
        || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are being answered; try again soon");
    let wait = state.inner.policy.deadline;
    // Before the body is read: those who wait hold no memory.
    let _room = timeout(wait, state.inner.room.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
    let late = || {
        let seconds = patience.as_secs_f32();
        ApiError::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {seconds} seconds"))
    };
    let body = timeout(patience, Bytes::from_request(request, &())).await.map_err(|_| late())?;
    let body = body.map_err(|error: BytesRejection| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes"))
        }
        _ => ApiError::bad(format!("the body could not be read: {error}")),
    })?;

    let elements = subnet.view.schema.input.elements();
    let limits = BodyLimits { numbers: elements.saturating_mul(subnet.policy.max_batch) };
    let body =
        limits.read(&body).map_err(|error| ApiError::bad(format!("the body is no inference request: {error}")))?;
    let inquiry = read(subnet, &body)?;
    subnet.traffic.seen(inquiry.inputs.len());
    let id = RequestId(rand::random());
    let result = ask(subnet, &inquiry, id).await;
    subnet.metrics.request(&subnet.view.name, &result, start.elapsed());
    let routed = result.map_err(refusal)?;
    if subnet.probes.scoring().is_empty() {
        // No canaries: what users ask is all there is.
        record(subnet, &routed, &[], Source::Agreement);
    }

    let classes = subnet.view.schema.classes().len();
    let mut parameters = json!({
        "route_us": micros(routed.routing),
        "dispatch_us": micros(routed.calling),
        "aggregate_us": micros(routed.pooling),
        "calls": routed.calls.len(),
        // By this name the answer can be labelled; the id above may be the client's own.
        "request_id": id.to_string(),
    });
    if body.parameters.explain {
        parameters["experts"] = explain(subnet, &routed);
    }
    let answer = Answer {
        model_name: subnet.view.name.as_str(),
        model_version: "1",
        id: body.id.unwrap_or_else(|| id.to_string()),
        outputs: [OutputTensor {
            name: &subnet.view.schema.output.name,
            datatype: "FP32",
            shape: [routed.items.len(), classes],
            data: routed.items.iter().flat_map(|item| item.probabilities.iter().copied()).collect(),
        }],
        parameters,
    };
    let response = Json(answer).into_response();
    subnet.feedback.remember(routed, Instant::now());
    Ok(response)
}

/// Checks a request against the subnet's schema and limits.
fn read(subnet: &Subnet, body: &Body) -> Result<Inquiry, ApiError> {
    let (schema, policy) = (&subnet.view.schema, &subnet.policy);
    if body.id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
        return Err(ApiError::bad(format!("the id is longer than {MAX_ID} bytes")));
    }
    let (Some(input), 1) = (&body.input, body.inputs) else {
        return Err(ApiError::bad(format!(
            "this model takes exactly one input called {:?}, not {} inputs",
            schema.input.name, body.inputs
        )));
    };
    let wanted = datatype(schema.input.dtype);
    if input.name != schema.input.name {
        return Err(ApiError::bad(format!("the input must be called {:?}", schema.input.name)));
    }
    if input.datatype != wanted {
        return Err(ApiError::bad(format!("the input {:?} must have datatype {wanted}", input.name)));
    }
    let item: Vec<u64> = schema.input.shape.iter().map(|&d| u64::from(d)).collect();
    let (batch, rest) = match input.shape.split_first() {
        Some((batch, rest)) if rest == item && *batch > 0 => (*batch, rest),
        // One item without its batch dimension is understood too.
        _ if input.shape == item => (1, item.as_slice()),
        _ => {
            return Err(ApiError::bad(format!("the shape must be [B, {}] with B at least 1", join(&item))));
        }
    };
    if batch > policy.max_batch as u64 {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request may have {} items at most, this one has {batch}", policy.max_batch),
        ));
    }
    let elements = batch * rest.iter().product::<u64>();
    if input.count as u64 != elements || input.data.0.len() != input.count {
        return Err(ApiError::bad(format!(
            "shape {:?} means {elements} values, the data has {}",
            input.shape, input.count
        )));
    }
    let bytes = to_bytes(&input.data.0, schema.input.dtype).map_err(ApiError::bad)?;
    let inputs = Inputs::new(schema, bytes).ok_or_else(|| ApiError::bad("the input is empty"))?;
    let k = body.parameters.k.unwrap_or(policy.k as u64);
    if !(1..=MAX_K as u64).contains(&k) || k < policy.k_min as u64 {
        return Err(ApiError::bad(format!("k must be {} to {MAX_K}", policy.k_min)));
    }
    let deadline = body.parameters.deadline_ms.map_or(policy.deadline, Duration::from_millis);
    if deadline.is_zero() || deadline > policy.max_deadline {
        return Err(ApiError::bad(format!("deadline_ms must be 1 to {}", policy.max_deadline.as_millis())));
    }
    // At most 8, checked above.
    let explore = Some((policy.traffic_exploration, rand::random()));
    Ok(Inquiry { inputs, k: k as usize, deadline, explore })
}

fn join(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn refusal(error: InferError) -> ApiError {
    let status = match &error {
        InferError::TooFew { late: true, .. } => StatusCode::GATEWAY_TIMEOUT,
        InferError::TooFew { .. } | InferError::NoExperts(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    ApiError::new(status, error.to_string())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Who answered, with what weight, how fast: a list for one item, a list of lists for more.
fn explain(subnet: &Subnet, routed: &Routed) -> Value {
    let mut lists: Vec<Value> =
        routed.items.iter().enumerate().map(|(item, answer)| explain_item(subnet, routed, item, answer)).collect();
    if lists.len() == 1 { lists.swap_remove(0) } else { Value::Array(lists) }
}

fn explain_item(subnet: &Subnet, routed: &Routed, item: usize, answer: &RoutedItem) -> Value {
    let line = |expert: usize, call: usize, weight: f32, row: Option<&[f32]>, status: String| {
        let (listed, call) = (&routed.experts[expert], &routed.calls[call]);
        let top = row.map(top_class);
        json!({
            "name": listed.descriptor.name,
            "uid": listed.uid,
            "peer_id": listed.key.peer.to_string(),
            "hotkey": listed.hotkey().to_string(),
            "weight": weight,
            "latency_us": micros(call.latency),
            "queue_us": call.queue_us,
            "compute_us": call.compute_us,
            "top_class": top,
            "top_label": top.and_then(|top| subnet.view.schema.classes().get(top)),
            "top_probability": row.and_then(|row| row.get(top?)),
            "status": status,
        })
    };
    let mut lines: Vec<Value> = answer
        .members
        .iter()
        .map(|member| {
            let status = match routed.calls[member.call].cause {
                Cause::Chosen => "answered",
                Cause::Retry => "answered as standby",
                Cause::Hedge => "answered as hedge",
            };
            line(member.expert, member.call, member.weight, Some(&member.row), status.to_owned())
        })
        .collect();
    for (index, call) in routed.calls.iter().enumerate().filter(|(_, call)| call.items.contains(&item)) {
        let status = match &call.failure {
            None => continue,
            Some(Failure::Unfinished) => "not waited for".to_owned(),
            Some(failure) => failure.to_string(),
        };
        lines.push(line(call.expert, index, 0.0, None, status));
    }
    Value::Array(lines)
}
