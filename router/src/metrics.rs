//! Figures for operators, in Prometheus' text format.

use std::time::Duration;

use glia_protocol::SubnetName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::dispatch::{Call, Cause};
use crate::feedback::LabelSource;
use crate::gate::FitReport;
use crate::pipeline::{InferError, Routed};

/// Labels of a family.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    subnet: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    subnet: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    subnet: String,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    subnet: String,
    source: &'static str,
}

type Timing = fn() -> Histogram;

/// All metrics of a router. Cheap to update; shared by all tasks.
pub struct Metrics {
    registry: Registry,
    requests: Family<OfResult, Counter>,
    items: Family<Of, Counter>,
    latency: Family<Of, Histogram, Timing>,
    stages: Family<OfStage, Histogram, Timing>,
    calls: Family<OfResult, Counter>,
    hedges: Family<Of, Counter>,
    bans: Family<Of, Gauge>,
    candidates: Family<Of, Gauge>,
    known: Family<Of, Gauge>,
    scored: Family<Of, Counter>,
    weights_set: Family<OfResult, Counter>,
    fit_loss: Family<Of, Gauge<f64, std::sync::atomic::AtomicU64>>,
    audits: Family<OfResult, Counter>,
    condemned: Family<Of, Gauge>,
    dropped: Family<Of, Gauge>,
    feedback: Family<OfResult, Counter>,
    labels: Family<OfSource, Gauge>,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            items: Family::default(),
            latency: Family::new_with_constructor(seconds),
            stages: Family::new_with_constructor(seconds),
            calls: Family::default(),
            hedges: Family::default(),
            bans: Family::default(),
            candidates: Family::default(),
            known: Family::default(),
            scored: Family::default(),
            weights_set: Family::default(),
            fit_loss: Family::default(),
            audits: Family::default(),
            condemned: Family::default(),
            dropped: Family::default(),
            feedback: Family::default(),
            labels: Family::default(),
        };
        let mut registry = Registry::with_prefix("glia_router");
        registry.register("requests", "Inference requests by result", metrics.requests.clone());
        registry.register("items", "Items answered", metrics.items.clone());
        registry.register("request_seconds", "Time of a request in the router", metrics.latency.clone());
        registry.register("stage_seconds", "Time of one stage of a request", metrics.stages.clone());
        registry.register("expert_calls", "Calls of experts by result", metrics.calls.clone());
        registry.register("hedges", "Extra calls because an expert was slow", metrics.hedges.clone());
        registry.register("bans", "Bans since the start", metrics.bans.clone());
        registry.register("candidates", "Experts that requests may go to", metrics.candidates.clone());
        registry.register("experts", "Experts known", metrics.known.clone());
        registry.register("scored_items", "Labelled items scored", metrics.scored.clone());
        registry.register("weights_set", "Attempts to set weights on chain by result", metrics.weights_set.clone());
        registry.register("gate_log_loss", "Cross-validated log-loss of the pool on probes", metrics.fit_loss.clone());
        registry.register("audits", "Answers audited by result", metrics.audits.clone());
        registry.register("audit_condemned", "Hotkeys shut out by audits", metrics.condemned.clone());
        registry.register(
            "audits_dropped",
            "Answers not audited for lack of room since the start",
            metrics.dropped.clone(),
        );
        registry.register("feedback", "Labels from applications by result", metrics.feedback.clone());
        registry.register("label_source", "1 for where labels come from now", metrics.labels.clone());
        metrics.registry = registry;
        metrics
    }
}

fn of(subnet: &SubnetName) -> Of {
    Of { subnet: subnet.to_string() }
}

impl Metrics {
    /// Counts an inference request.
    pub fn request(&self, subnet: &SubnetName, result: &Result<Routed, InferError>, took: Duration) {
        let name = match result {
            Ok(_) => "answered",
            Err(InferError::NoExperts(_)) => "no_experts",
            Err(InferError::TooFew { late: true, .. }) => "late",
            Err(InferError::TooFew { .. }) => "too_few",
        };
        self.requests.get_or_create(&OfResult { subnet: subnet.to_string(), result: name }).inc();
        self.latency.get_or_create(&of(subnet)).observe(took.as_secs_f64());
        if let Ok(routed) = result {
            self.items.get_or_create(&of(subnet)).inc_by(routed.items.len() as u64);
            let stages = [("gate", routed.routing), ("dispatch", routed.calling), ("aggregate", routed.pooling)];
            for (stage, time) in stages {
                let of = OfStage { subnet: subnet.to_string(), stage };
                self.stages.get_or_create(&of).observe(time.as_secs_f64());
            }
            self.calls(subnet, &routed.calls);
        }
    }

    fn calls(&self, subnet: &SubnetName, calls: &[Call]) {
        for call in calls {
            let result = if call.failure.is_none() { "answered" } else { "failed" };
            self.calls.get_or_create(&OfResult { subnet: subnet.to_string(), result }).inc();
            if call.cause == Cause::Hedge {
                self.hedges.get_or_create(&of(subnet)).inc();
            }
        }
    }

    /// Notes how many experts are known, may be asked, and were banned so far.
    pub fn directory(&self, subnet: &SubnetName, known: usize, candidates: usize, bans: u64) {
        self.known.get_or_create(&of(subnet)).set(known as i64);
        self.candidates.get_or_create(&of(subnet)).set(candidates as i64);
        self.bans.get_or_create(&of(subnet)).set(i64::try_from(bans).unwrap_or(i64::MAX));
    }

    /// Counts scored items.
    pub fn scored(&self, subnet: &SubnetName, items: usize) {
        self.scored.get_or_create(&of(subnet)).inc_by(items as u64);
    }

    /// Counts an attempt to set weights.
    pub fn weights(&self, subnet: &SubnetName, result: &'static str) {
        self.weights_set.get_or_create(&OfResult { subnet: subnet.to_string(), result }).inc();
    }

    /// Notes the figures of a fit.
    pub fn fitted(&self, subnet: &SubnetName, report: &FitReport) {
        self.fit_loss.get_or_create(&of(subnet)).set(f64::from(report.log_loss));
    }

    /// Counts an audit.
    pub fn audited(&self, subnet: &SubnetName, result: &'static str) {
        self.audits.get_or_create(&OfResult { subnet: subnet.to_string(), result }).inc();
    }

    /// Notes how many hotkeys are condemned and how many answers were not audited for lack of room.
    pub fn audits(&self, subnet: &SubnetName, condemned: usize, dropped: u64) {
        self.condemned.get_or_create(&of(subnet)).set(i64::try_from(condemned).unwrap_or(i64::MAX));
        self.dropped.get_or_create(&of(subnet)).set(i64::try_from(dropped).unwrap_or(i64::MAX));
    }

    /// Counts a label from an application.
    pub fn feedback(&self, subnet: &SubnetName, result: &'static str) {
        self.feedback.get_or_create(&OfResult { subnet: subnet.to_string(), result }).inc();
    }

    /// Notes where labels come from now.
    pub fn labels(&self, subnet: &SubnetName, now: LabelSource) {
        for source in LabelSource::ALL {
            let of = OfSource { subnet: subnet.to_string(), source: source.word() };
            self.labels.get_or_create(&of).set(i64::from(source == now));
        }
    }

    /// All of it as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
