//! `POST /glia/v1/feedback`: what was right.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use glia_protocol::RequestId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{ApiError, ApiState};
use crate::aggregate::top_class;
use crate::feedback::ClaimError;
use crate::feedback::keys::{Barred, Door, MAX_KEY};
use crate::scoring::outcome::{Source, record};
use crate::subnet::Subnet;

/// Bytes of a body: an id, a label and a number.
const MAX_BODY: usize = 4096;

/// What was right, by name or by number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Label {
    Index(u64),
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    id: String,
    label: Label,
    #[serde(default)]
    item: usize,
}

/// Takes a label.
pub(super) async fn feedback(State(state): State<ApiState>, request: Request) -> Result<Json<Value>, ApiError> {
    let now = Instant::now();
    let Some(door) = state.door() else {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "this router takes no feedback; start it with --feedback-key-file FILE to let those with a key in",
        ));
    };
    // Before the body is read: strangers cost nothing.
    enter(door, request.headers(), now)?;
    let patience = state.policy().body_patience;
    let late = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let body = timeout(patience, Bytes::from_request(request, &())).await.map_err(|_| late())?;
    let body = body.map_err(|error: BytesRejection| ApiError::new(error.status(), "the body could not be read"))?;
    if body.len() > MAX_BODY {
        let why = format!("the body is larger than {MAX_BODY} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let body: Body =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad(format!("the body is no feedback: {error}")))?;
    let id: RequestId = body.id.parse().map_err(|_| {
        ApiError::bad("the id must be the request_id among the parameters of an answer: 32 hexadecimal digits")
    })?;
    label(&state, &id, &body, now)
}

/// Whether whoever asks has a key and has not used it too often.
fn enter(door: &Door, headers: &HeaderMap, now: Instant) -> Result<(), ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let key = match given.split_first_chunk::<7>() {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") && key.len() <= MAX_KEY => key.trim_ascii(),
        _ => b"",
    };
    door.enter(key, now).map_err(|barred| match barred {
        Barred::Unknown => ApiError::new(
            StatusCode::UNAUTHORIZED,
            "feedback needs a key that this router knows, as `Authorization: Bearer KEY`",
        ),
        Barred::TooFast => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "this key has sent too many labels; try again in a second")
        }
    })
}

/// Scores one item of a remembered answer.
fn label(state: &ApiState, id: &RequestId, body: &Body, now: Instant) -> Result<Json<Value>, ApiError> {
    let unknown = || ApiError::not_found(ClaimError::Unknown.to_string());
    let subnet = state.subnets().iter().find(|subnet| subnet.feedback.recent.knows(id, now)).ok_or_else(unknown)?;
    let result = count(subnet, id, body, now);
    subnet.metrics.feedback(&subnet.view.name, if result.is_ok() { "counted" } else { "refused" });
    result
}

fn count(subnet: &Subnet, id: &RequestId, body: &Body, now: Instant) -> Result<Json<Value>, ApiError> {
    // The label is understood before the item is used up.
    let class = class_of(subnet, &body.label)?;
    let routed = subnet.feedback.recent.claim(id, body.item, now).map_err(|error| {
        let status = match error {
            ClaimError::Unknown => StatusCode::NOT_FOUND,
            ClaimError::NoItem(_) => StatusCode::BAD_REQUEST,
            ClaimError::Again => StatusCode::CONFLICT,
        };
        ApiError::new(status, error.to_string())
    })?;
    subnet.feedback.heard(now);
    record(subnet, &routed, &[class], Source::Feedback);
    let answered = routed.items.first().map(|item| top_class(&item.probabilities));
    let name = |class: Option<usize>| class.and_then(|class| subnet.view.schema.classes().get(class));
    Ok(Json(json!({
        "counted": true,
        "subnet": subnet.view.name.as_str(),
        "label": name(Some(class)),
        "answered": name(answered),
    })))
}

/// The class that a label names.
fn class_of(subnet: &Subnet, label: &Label) -> Result<usize, ApiError> {
    let classes = subnet.view.schema.classes();
    let class = match label {
        Label::Index(index) => usize::try_from(*index).ok().filter(|&index| index < classes.len()),
        // On a command line a number is a text too; where it is the name of a class, that is meant.
        Label::Name(name) => {
            let index = || name.parse().ok().filter(|&index| index < classes.len());
            classes.iter().position(|class| class == name).or_else(index)
        }
    };
    class.ok_or_else(|| {
        let shown: String = match label {
            Label::Index(index) => index.to_string(),
            Label::Name(name) => name.chars().take(64).collect(),
        };
        let first: Vec<&str> = classes.iter().take(32).map(String::as_str).collect();
        let name = &subnet.view.name;
        ApiError::bad(format!("{shown:?} is no class of {name}, which has {}", first.join(", ")))
    })
}
