//! `GET /glia/v1/experts` and `GET /glia/v1/ledger`: what the router knows and what it told the chain.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ApiError, ApiState};
use crate::expert::{Listed, Presence};
use crate::gate::GateModel;
use crate::scoring::explain::Explanation;
use crate::subnet::Subnet;

/// Which subnet is asked about; the first when none is named.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    pub(super) subnet: Option<String>,
}

/// Everybody known, in the order of their names.
pub(super) async fn experts(
    State(state): State<ApiState>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, ApiError> {
    let subnet = state.subnet_or_first(which.subnet.as_deref())?;
    let (snapshot, gate) = (subnet.snapshot(), subnet.gate());
    let mut listed: Vec<_> = snapshot.experts.iter().collect();
    listed.sort_by(|a, b| a.descriptor.name.cmp(&b.descriptor.name).then(a.key.cmp(&b.key)));
    let experts: Vec<Value> = listed.into_iter().map(|listed| expert(subnet, &gate, listed)).collect();
    Ok(Json(json!({
        "subnet": subnet.view.name.as_str(),
        "netuid": subnet.view.netuid,
        "block": snapshot.block,
        "probe_goal": subnet.probes.goal(),
        "gate": { "fit": gate.report, "prior_scale": gate.prior_scale, "pool_sharpness": gate.pool_sharpness },
        "experts": experts,
    })))
}

fn expert(subnet: &Subnet, gate: &GateModel, listed: &Listed) -> Value {
    let figures = subnet.book.figures(&listed.key, Instant::now());
    let (known, learned) = (gate.experts.get(&listed.key), subnet.online.view());
    let (standing, weight) = {
        let ledger = subnet.ledger();
        (ledger.standing(&listed.hotkey()).cloned(), ledger.last_weight(&listed.hotkey()))
    };
    let (proven, condemned) = (known.is_some_and(|known| known.proven), subnet.audits.condemns(&listed.hotkey()));
    let state = match listed.presence {
        Presence::Leaving => "leaving",
        _ if figures.banned => "banned",
        _ if proven && figures.calls > 0 => "serving",
        _ if proven => "probed",
        _ => "found",
    };
    let presence = match listed.presence {
        Presence::Here => "here",
        Presence::Silent => "silent",
        Presence::Leaving => "leaving",
    };
    json!({
        "name": listed.descriptor.name,
        "peer_id": listed.key.peer.to_string(),
        "hotkey": listed.hotkey().to_string(),
        "checkpoint": listed.key.checkpoint.to_string(),
        "uid": listed.uid,
        "state": state,
        "presence": presence,
        "candidate": listed.candidate && !figures.banned && !condemned,
        "condemned": condemned,
        "credibility": subnet.audits.credibility(&listed.hotkey()),
        "published": listed.descriptor.published,
        "addresses": listed.descriptor.addresses,
        "backend": listed.descriptor.backend,
        "examples": listed.descriptor.examples,
        "probes": subnet.probes.answered(&listed.key),
        "calibrated": known.is_some_and(|known| known.calibrated),
        "trust": known.map_or(0.0, |known| known.trust.value),
        "shut_out": known.is_some_and(|known| known.is_shut_out()) || learned.is_shut_out(&listed.key),
        "doubted": learned.doubt(&listed.key).is_some(),
        "worse_than_probes_nats": learned.evidence(&listed.key).gap(),
        "cluster": subnet.probes.clusters().of(&listed.key),
        "suspect": figures.suspect,
        "sharpness": known.map_or(1.0, |known| known.reading.ln_sharpness.exp()),
        "claimed_accuracy": known.and_then(|known| known.trust.accuracy),
        "requests": figures.calls,
        "failures": figures.failures,
        "latency_p50_ms": figures.p50_ms,
        "latency_p95_ms": figures.p95_ms,
        "usefulness": standing.map_or(0.0, |standing| standing.ema),
        "weight": weight,
    })
}

/// What of the ledger is asked for: all of it, or what explains one uid.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    subnet: Option<String>,
    uid: Option<u16>,
}

/// The row sent last, those before it, and what every expert is held to be worth; for one `uid`, what explains its weight.
pub(super) async fn ledger(State(state): State<ApiState>, Query(page): Query<Page>) -> Result<Json<Value>, ApiError> {
    let subnet = state.subnet_or_first(page.subnet.as_deref())?;
    let broken = |error: serde_json::Error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    if let Some(uid) = page.uid {
        let explanation = Explanation::of(&subnet.ledger(), subnet.view.netuid, uid);
        return Ok(Json(serde_json::to_value(explanation).map_err(broken)?));
    }
    let (last, history, standings) = {
        let ledger = subnet.ledger();
        let standings = ledger.standings().map(|(hotkey, standing)| {
            json!({ "hotkey": hotkey.to_string(), "standing": standing, "reason": standing.reason() })
        });
        let standings: Vec<Value> = standings.collect();
        let mut history: Vec<_> = ledger.history().rev().cloned().collect();
        // Thousands of terms; those of the last row stay, and one uid's are told on request.
        history.iter_mut().flat_map(|row| &mut row.weights).for_each(|line| line.terms = None);
        (ledger.last_row().cloned(), history, standings)
    };
    let mut answer = match last {
        Some(row) => serde_json::to_value(row).map_err(broken)?,
        None => json!({
            "netuid": subnet.view.netuid,
            "hotkey": null,
            "uid": null,
            "block": null,
            "extrinsic": null,
            "weights": [],
        }),
    };
    answer["subnet"] = json!(subnet.view.name.as_str());
    answer["history"] = serde_json::to_value(history).map_err(broken)?;
    answer["standings"] = json!(standings);
    Ok(Json(answer))
}
