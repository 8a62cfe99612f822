//! `GET /glia/v1/audits`: what audits have found.

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::mesh::Which;
use super::{ApiError, ApiState};
use crate::audit::book::Line;
use crate::audit::record::{CLOSED, FIRST, FLOOR};

/// Every expert audited so far, in the order of their names.
pub(super) async fn audits(State(state): State<ApiState>, Query(which): Query<Which>) -> Result<Json<Value>, ApiError> {
    let subnet = state.subnet_or_first(which.subnet.as_deref())?;
    let mut lines = subnet.audits.lines();
    lines.sort_by(|a, b| a.record.name.cmp(&b.record.name).then(a.key.cmp(&b.key)));
    Ok(Json(json!({
        "subnet": subnet.view.name.as_str(),
        "netuid": subnet.view.netuid,
        "on": subnet.audits.is_on(),
        "first": FIRST,
        "floor": FLOOR,
        "closed_credibility": CLOSED,
        "dropped": subnet.audits.dropped(),
        "condemned": subnet.audits.condemned(),
        "experts": lines.iter().map(line).collect::<Vec<_>>(),
    })))
}

fn line(line: &Line) -> Value {
    let (record, account) = (&line.record, &line.account);
    json!({
        "name": record.name,
        "peer_id": line.key.peer.to_string(),
        "hotkey": line.hotkey.to_string(),
        "checkpoint": line.key.checkpoint.to_string(),
        "tier": record.tier,
        "audits": record.audits,
        "failures": record.failures,
        "streak": record.streak,
        "rate": line.rate,
        "credibility": account.credibility,
        "condemned": account.condemned_until_ms.is_some(),
        "condemned_until_ms": account.condemned_until_ms,
        "last": record.last,
        "evidence": account.evidence,
    })
}
