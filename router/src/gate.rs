//! The gate: which experts an input is sent to, and with what weight each answer counts.
//!
//! ```text
//! claimed centroids ─▶ prior ─┐
//! labelled probes ─▶ trust ───┼─▶ logit of an expert for an input ─▶ select ─▶ members, standbys
//!                 └─▶ fit ────┘                                        └─▶ weigh (those who answered)
//! ```
//!
//! A claim only nominates: where an expert says it is skilled, it is probed, and only measured answers earn weight.
//! Everything here is pure; chance comes in as an argument.
//!
//! Modules in flow order: [`mod@prior`], [`mod@trust`], [`mod@model`], [`mod@fit`] (on `climb`), [`mod@select`],
//! [`mod@combine`].

mod climb;
pub mod combine;
pub mod fit;
pub mod model;
pub mod prior;
pub mod select;
pub mod trust;

pub use combine::Reading;
pub use fit::{ExpertProbes, FitPolicy, ProbeSet, fit};
pub use model::{ExpertGate, FitReport, GateModel};
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
