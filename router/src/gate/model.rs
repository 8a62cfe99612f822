//! The fitted gate: an immutable value that requests read and the calibrator replaces.

use std::collections::HashMap;

use glia_protocol::descriptor::Centroid;

use super::combine::Reading;
use super::neighbours::{Neighbours, Place, competence};
use super::prior::prior_logit;
use super::trust::Trust;
use super::vector::dot;
use crate::expert::ExpertKey;

/// What the gate knows of one expert.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertGate {
    /// Trust from probes.
    pub trust: Trust,
    /// How its answers are read: its calibration, and what they say about their own weight.
    pub reading: Reading,
    /// Gain of each probe over ignorance, nats; NaN where it was not answered. In the order of the gate's probes.
    pub gains: Vec<f32>,
    /// Learned constant.
    pub bias: f32,
    /// Learned slope over φ; empty until fitted.
    pub slope: Vec<f32>,
    /// Whether it answered enough probes in its claimed region to be no newcomer.
    pub proven: bool,
    /// Whether every probe it was to answer is in this fit.
    pub calibrated: bool,
}

impl Default for ExpertGate {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            reading: Reading::default(),
            gains: Vec::new(),
            bias: 0.0,
            slope: Vec::new(),
            proven: false,
            calibrated: false,
        }
    }
}

impl ExpertGate {
    /// Whether only exploration may call it.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        self.proven && self.trust.is_shut_out()
    }
}

/// How well gates fitted on one half of the probes did on the other (for people).
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct FitReport {
    /// Labelled items.
    pub items: usize,
    /// Experts in the fit.
    pub experts: usize,
    /// Mean −ln p(y) of the pool.
    pub log_loss: f32,
    /// Share of right first choices of the pool.
    pub accuracy: f32,
}

/// What competence nearby counts before it is learned.
pub(super) const NEAR_SCALE: f32 = 1.0;

/// The gate of one subnet.
#[derive(Debug, Clone, PartialEq)]
pub struct GateModel {
    /// T of the prior.
    pub prior_temperature: f32,
    /// How much a claim counts, learned; 1 before the first fit.
    pub prior_scale: f32,
    /// How much competence on the nearest probes counts, learned.
    pub near_scale: f32,
    /// The probes.
    pub neighbours: Neighbours,
    /// Exponent on the pooled probabilities: above 1, for a linear pool is under-confident.
    pub pool_sharpness: f32,
    /// What is known of each expert.
    pub experts: HashMap<ExpertKey, ExpertGate>,
    /// Figures of the fit.
    pub report: FitReport,
}

impl GateModel {
    /// A gate that knows nobody.
    #[must_use]
    pub fn new(prior_temperature: f32) -> Self {
        Self {
            prior_temperature,
            prior_scale: 1.0,
            near_scale: NEAR_SCALE,
            neighbours: Neighbours::default(),
            pool_sharpness: 1.0,
            experts: HashMap::new(),
            report: FitReport::default(),
        }
    }

    /// Where an input lies among the probes.
    #[must_use]
    pub fn place(&self, features: &[f32]) -> Place {
        self.neighbours.place(features, None)
    }

    /// Logit of an expert for an input at `place`: prior, trust, competence nearby, learned correction.
    #[must_use]
    pub fn logit(
        &self,
        known: Option<&ExpertGate>,
        centroids: &[Centroid],
        features: &[f32],
        place: &[(usize, f32)],
    ) -> f32 {
        let prior = self.prior_scale * prior_logit(centroids, features, self.prior_temperature);
        known.map_or(prior, |known| {
            let nearby = self.nearby(known, place);
            prior + known.trust.value + nearby + correction(known.bias, &known.slope, features)
        })
    }

    /// The part of the logit that an expert's answers to the nearest probes make.
    #[must_use]
    pub fn nearby(&self, known: &ExpertGate, place: &[(usize, f32)]) -> f32 {
        self.near_scale * competence(&known.gains, place)
    }
}

/// b + v·φ.
fn correction(bias: f32, slope: &[f32], features: &[f32]) -> f32 {
    bias + dot(slope, features)
}
