//! The gate: which experts an input is sent to, and with what weight each answer counts.
//!
//! ```text
//! claimed centroids ─▶ prior ──┐
//! labelled probes ─▶ trust ────┤                                      cluster, balance
//!                 ├─▶ neighbours
//!                 ├─▶ fit ─────┼─▶ logit of an expert for an input ───────▶ select ─▶ members, standbys
//!                 └─▶ cluster  │                                   └─▶ weigh (those who answered)
//! scored traffic ─▶ online ────┤
//!                └─▶ drift ────┘
//! ```
//!
//! A claim only nominates: where an expert says it is skilled, it is probed, and only measured answers earn weight. Probes
//! can be recognised, so traffic has the last word: what is scored corrects the fit, and who is worse there than on its
//! probes loses the trust they earned. Everything here is pure; time and chance come in as arguments.
//!
//! Modules in flow order: [`mod@prior`], [`mod@trust`], [`mod@neighbours`], [`mod@model`], [`mod@fit`] (on `climb`, `vector`), [`mod@cluster`],
//! [`mod@online`], [`mod@drift`], [`mod@balance`], [`mod@select`], [`mod@combine`], [`mod@store`] (what outlives a restart).

pub mod balance;
mod climb;
pub mod cluster;
pub mod combine;
pub mod drift;
pub mod fit;
pub mod model;
pub mod neighbours;
pub mod online;
pub mod prior;
pub mod select;
pub mod store;
pub mod trust;
mod vector;

pub use cluster::{Clusters, cluster};
pub use combine::Reading;
pub use fit::{ExpertProbes, FitPolicy, ProbeSet, fit};
pub use model::{ExpertGate, FitReport, GateModel};
pub use neighbours::{Neighbours, Place};
pub use select::{Bench, Selection, Slot, select, turn, weigh};
pub use trust::Trust;

/// Softmax in place; an empty slice stays empty. Values below about −80 under the largest become 0.
pub(crate) fn softmax(logits: &mut [f32]) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !top.is_finite() {
        let even = 1.0 / logits.len().max(1) as f32;
        logits.fill(even);
        return;
    }
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - top).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|w| *w /= sum);
}
