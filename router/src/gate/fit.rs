//! Learning the gate from probe answers: trust, one temperature per expert, the contextual correction, one for the pool.
//!
//! The correction climbs the log-likelihood of the mixture, Σ ln Σ_i w_i(x) p_i(y|x), over experts that answered, whose
//! gradient per logit is simply "responsibility − weight". Only measured answers enter, so no claim can steer it; a
//! penalty on the slopes, chosen by cross-validation, keeps it near uniform where experts do not differ. How the answers
//! of those chosen are then read is learned in [`super::combine`].

use std::sync::Arc;

use glia_protocol::descriptor::Centroid;

use super::climb::{Adam, golden};
use super::combine::{self, Heard, Item, Reading, negative_log};
use super::model::{ExpertGate, FitReport, GateModel, NEAR_SCALE};
use super::neighbours::{Neighbours, competence, gain};
use super::prior::{claim, prior_logit};
use super::trust::{Probe, Trust};
use super::vector::dot;
use crate::aggregate::top_class;
use crate::expert::ExpertKey;

/// Labelled items every expert is probed with.
#[derive(Debug, Clone, Default)]
pub struct ProbeSet {
    /// φ of each item.
    pub features: Vec<Vec<f32>>,
    /// Class of each item.
    pub labels: Vec<usize>,
    /// Classes of the task.
    pub classes: usize,
}

/// Answers of one expert to the items of a [`ProbeSet`].
#[derive(Debug, Clone)]
pub struct ExpertProbes {
    /// Who.
    pub key: ExpertKey,
    /// Its claim.
    pub centroids: Vec<Centroid>,
    /// Its probabilities per item; `None` where it was not asked yet.
    pub rows: Vec<Option<Arc<[f32]>>>,
}

/// Numbers of the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitPolicy {
    /// T of the prior and the claim kernel.
    pub prior_temperature: f32,
    /// Probes in the claimed region from which on an expert takes part in the fit.
    pub min_probes: usize,
    /// Experts per input, for the pool's temperature.
    pub k: usize,
}

/// Probabilities are taken as at least this before a logarithm.
const FLOOR: f32 = 1e-6;
/// Gradient steps of one climb.
const STEPS: usize = 60;
/// Penalties on the slopes that are tried on held-out items.
const PENALTIES: [f32; 4] = [1.0, 1e-1, 1e-2, 1e-3];
/// Parts the items are cut into; each is predicted by a gate fitted on the others.
const FOLDS: usize = combine::FOLDS;
/// Fewer items than this and no correction is learned.
const MIN_ITEMS: usize = 60;

/// Fits a gate to probe answers. Deterministic; takes up to half a second for 8 experts, 600 items and k = 4.
#[must_use]
pub fn fit(set: &ProbeSet, experts: &[ExpertProbes], policy: &FitPolicy) -> GateModel {
    let items = set.features.len().min(set.labels.len());
    let mut model = GateModel::new(policy.prior_temperature);
    for expert in experts {
        model.experts.insert(expert.key, measured(set, expert, policy, items));
    }
    let mut fitted: Vec<&ExpertProbes> = experts
        .iter()
        .filter(|e| model.experts.get(&e.key).is_some_and(|gate| gate.proven && !gate.is_shut_out()))
        .collect();
    fitted.sort_by_key(|e| e.key);
    if fitted.is_empty() || items == 0 {
        return model;
    }

    model.neighbours = Neighbours::new(&set.features, items);
    let mut problem = Problem::new(set, &fitted, &model, items, policy);
    problem.fit_sharpness();
    // Gates that did not see the items they are to judge; without a learned correction, all the same.
    let mut unseen = vec![problem.parameters.clone(); FOLDS];
    if items >= MIN_ITEMS {
        let (penalty, gates) = problem.choose_penalty();
        unseen = gates;
        let all: Vec<usize> = (0..items).collect();
        problem.climb(&all, penalty);
        problem.fit_sharpness();
    }
    let heard = problem.heard(&fitted, policy.k, &problem.parameters);
    let folds: Vec<Vec<Item<'_>>> = unseen.iter().map(|gate| problem.heard(&fitted, policy.k, gate)).collect();
    let start: Vec<Reading> =
        problem.sharpness.iter().map(|s| Reading { ln_sharpness: s.ln(), ..Reading::default() }).collect();
    let features = set.features.first().map_or(0, Vec::len);
    // Worth its time for those who have answered everything; the others are read as they are.
    let complete = items >= MIN_ITEMS && problem.whole.contains(&true);
    let read = combine::fit(&heard, &folds, &start, set.classes, features, complete);
    model.pool_sharpness = read.pool_sharpness;
    model.report = FitReport {
        items: heard.iter().filter(|item| !item.members.is_empty()).count(),
        experts: fitted.len(),
        log_loss: read.log_loss,
        accuracy: read.accuracy,
    };
    model.prior_scale = problem.parameters.prior_scale;
    model.near_scale = problem.parameters.near_scale;
    for ((i, expert), reading) in fitted.iter().enumerate().zip(read.readings) {
        if let Some(gate) = model.experts.get_mut(&expert.key) {
            gate.reading = reading;
            gate.bias = problem.parameters.bias[i];
            gate.slope = problem.parameters.slope[i].clone();
        }
    }
    model
}

/// Trust of one expert from its own probes.
fn measured(set: &ProbeSet, expert: &ExpertProbes, policy: &FitPolicy, items: usize) -> ExpertGate {
    let claims: Vec<f32> =
        set.features[..items].iter().map(|x| claim(&expert.centroids, x, policy.prior_temperature)).collect();
    let answered = expert.rows.iter().take(items).enumerate().filter_map(|(j, row)| Some((j, row.as_ref()?)));
    let trust = Trust::of(
        answered.map(|(j, row)| {
            let label = set.labels[j];
            let right = row.get(label).copied().unwrap_or(0.0);
            Probe { claim: claims[j], right, hit: top_class(row) == label }
        }),
        set.classes,
    );
    ExpertGate {
        // Somebody whose claim hardly covers any probe stays a newcomer.
        proven: trust.is_proven(policy.min_probes, claims.iter().sum()),
        calibrated: trust.probes >= items,
        gains: (0..items)
            .map(|j| {
                let right = expert.rows.get(j).and_then(Option::as_ref)?.get(set.labels[j]).copied();
                right.map(|right| gain(right, set.classes))
            })
            .map(|gain| gain.unwrap_or(f32::NAN))
            .collect(),
        trust,
        ..ExpertGate::default()
    }
}

#[derive(Clone)]
struct Parameters {
    prior_scale: f32,
    near_scale: f32,
    bias: Vec<f32>,
    slope: Vec<Vec<f32>>,
}

/// The likelihood to climb: indices `i` are fitted experts, `j` items.
struct Problem<'a> {
    set: &'a ProbeSet,
    items: usize,
    /// `prior[i][j]`.
    prior: Vec<Vec<f32>>,
    trust: Vec<f32>,
    /// Competence on the nearest other items, `near[i][j]`.
    near: Vec<Vec<f32>>,
    /// ln p with the floor, `logs[i][j]`; `None` where not answered.
    logs: Vec<Vec<Option<Vec<f32>>>>,
    /// Whether it answered every item; if somebody did, only they show how answers are to be read.
    whole: Vec<bool>,
    /// Calibrated p(y), `right[i][j]`; negative where not answered.
    right: Vec<Vec<f32>>,
    sharpness: Vec<f32>,
    parameters: Parameters,
}

impl<'a> Problem<'a> {
    fn new(set: &'a ProbeSet, fitted: &[&ExpertProbes], model: &GateModel, items: usize, policy: &FitPolicy) -> Self {
        let features = set.features.first().map_or(0, Vec::len);
        let ln = |row: &Arc<[f32]>| row.iter().map(|p| p.max(FLOOR).ln()).collect::<Vec<f32>>();
        let complete = |row: &&Arc<[f32]>| row.len() == set.classes;
        let places: Vec<_> = (0..items).map(|j| model.neighbours.place(&set.features[j], Some(j))).collect();
        let near = |e: &&ExpertProbes| {
            let gains = model.experts.get(&e.key).map_or(&[][..], |g| g.gains.as_slice());
            places.iter().map(|place| competence(gains, place)).collect()
        };
        Self {
            set,
            items,
            prior: fitted
                .iter()
                .map(|e| {
                    let priors = set.features[..items].iter();
                    priors.map(|x| prior_logit(&e.centroids, x, policy.prior_temperature)).collect()
                })
                .collect(),
            trust: fitted.iter().map(|e| model.experts.get(&e.key).map_or(0.0, |g| g.trust.value)).collect(),
            near: fitted.iter().map(near).collect(),
            logs: fitted
                .iter()
                .map(|e| (0..items).map(|j| e.rows.get(j)?.as_ref().filter(complete).map(ln)).collect::<Vec<_>>())
                .collect(),
            whole: fitted.iter().map(|e| model.experts.get(&e.key).is_some_and(|g| g.calibrated)).collect(),
            right: vec![Vec::new(); fitted.len()],
            sharpness: vec![1.0; fitted.len()],
            parameters: Parameters {
                prior_scale: 1.0,
                near_scale: NEAR_SCALE,
                bias: vec![0.0; fitted.len()],
                slope: vec![vec![0.0; features]; fitted.len()],
            },
        }
    }

    fn logit(&self, parameters: &Parameters, i: usize, j: usize) -> f32 {
        let x = &self.set.features[j];
        let slope = dot(&parameters.slope[i], x);
        parameters.prior_scale * self.prior[i][j]
            + parameters.near_scale * self.near[i][j]
            + self.trust[i]
            + parameters.bias[i]
            + slope
    }

    /// Weights of the experts that answered item `j`; 0 for the others.
    fn weights(&self, parameters: &Parameters, j: usize) -> Vec<f32> {
        let mut logits: Vec<f32> = (0..self.logs.len())
            .map(|i| if self.logs[i][j].is_some() { self.logit(parameters, i, j) } else { f32::NEG_INFINITY })
            .collect();
        if logits.iter().all(|l| *l == f32::NEG_INFINITY) {
            logits.fill(0.0);
            return logits;
        }
        super::softmax(&mut logits);
        logits
    }

    /// One exponent per expert, fitted where the gate uses it; then p(y) under it.
    fn fit_sharpness(&mut self) {
        let weights: Vec<Vec<f32>> = (0..self.items).map(|j| self.weights(&self.parameters, j)).collect();
        for (i, answers) in self.logs.iter().enumerate() {
            let used: Vec<(f32, &Vec<f32>, usize)> = weights
                .iter()
                .zip(answers)
                .zip(&self.set.labels)
                .filter_map(|((weights, logs), label)| Some((weights[i], logs.as_ref()?, *label)))
                .filter(|(weight, _, _)| *weight > 1e-3)
                .collect();
            let total: f32 = used.iter().map(|(weight, _, _)| weight).sum();
            let loss = |ln_sharpness: f32| {
                let sharpness = ln_sharpness.exp();
                let sum: f32 = used.iter().map(|(w, logs, y)| w * negative_log(logs, *y, sharpness)).sum();
                // A pinch of belief in the expert's own calibration where there is little evidence.
                sum + (0.01 * total + 0.5) * ln_sharpness * ln_sharpness
            };
            let sharpness = golden(loss, 0.1_f32.ln(), 4.0_f32.ln()).exp();
            let right = answers
                .iter()
                .zip(&self.set.labels)
                .map(|(logs, label)| logs.as_ref().map_or(-1.0, |logs| (-negative_log(logs, *label, sharpness)).exp()));
            self.right[i] = right.collect();
            self.sharpness[i] = sharpness;
        }
    }

    /// Σ ln Σ w p(y) over `items`.
    fn likelihood(&self, items: &[usize]) -> f32 {
        let one = |&j: &usize| {
            let weights = self.weights(&self.parameters, j);
            let mixed: f32 = weights.iter().enumerate().map(|(i, w)| w * self.right[i][j].max(0.0)).sum();
            mixed.max(FLOOR).ln()
        };
        items.iter().map(one).sum()
    }

    /// The penalty whose gates best predict items they were not fitted on, and those gates by fold. Parameters are left
    /// at their start.
    fn choose_penalty(&mut self) -> (f32, Vec<Parameters>) {
        let start = self.parameters.clone();
        let mut best: Option<(f32, f32, Vec<Parameters>)> = None;
        for penalty in PENALTIES {
            let (mut likelihood, mut gates) = (0.0, Vec::new());
            for fold in 0..FOLDS {
                let (held, rest): (Vec<usize>, Vec<usize>) = (0..self.items).partition(|j| j % FOLDS == fold);
                self.parameters = start.clone();
                self.climb(&rest, penalty);
                likelihood += self.likelihood(&held);
                gates.push(std::mem::replace(&mut self.parameters, start.clone()));
            }
            if best.as_ref().is_none_or(|(reached, _, _)| likelihood > *reached) {
                best = Some((likelihood, penalty, gates));
            }
        }
        // There is at least one penalty, so `best` is there.
        best.map_or_else(|| (PENALTIES[0], vec![start; FOLDS]), |(_, penalty, gates)| (penalty, gates))
    }

    /// Adam on the mean log-likelihood of `items` minus `penalty`/2·‖v‖².
    fn climb(&mut self, items: &[usize], penalty: f32) {
        let experts = self.logs.len();
        let features = self.parameters.slope.first().map_or(0, Vec::len);
        let mut adam = Adam::new(2 + experts * (1 + features));
        let scale = 1.0 / items.len().max(1) as f32;
        for step in 0..STEPS {
            let mut gradient = vec![0.0_f32; 2 + experts * (1 + features)];
            for &j in items {
                let weights = self.weights(&self.parameters, j);
                let mixed: f32 = weights.iter().enumerate().map(|(i, w)| w * self.right[i][j].max(0.0)).sum();
                for (i, weight) in weights.iter().enumerate().filter(|(i, _)| self.right[*i][j] >= 0.0) {
                    let pull = (weight * self.right[i][j] / mixed.max(FLOOR) - weight) * scale;
                    gradient[0] += pull * self.prior[i][j];
                    gradient[1] += pull * self.near[i][j];
                    let own = &mut gradient[2 + i * (1 + features)..][..1 + features];
                    own[0] += pull;
                    own[1..].iter_mut().zip(&self.set.features[j]).for_each(|(g, x)| *g += pull * x);
                }
            }
            let rate = 0.15 * (1.0 - 0.9 * step as f32 / STEPS as f32);
            let parameters = &mut self.parameters;
            parameters.prior_scale += adam.step(0, gradient[0], rate * 0.5);
            parameters.prior_scale = parameters.prior_scale.clamp(0.0, 10.0);
            parameters.near_scale += adam.step(1, gradient[1], rate * 0.5);
            parameters.near_scale = parameters.near_scale.clamp(0.0, 4.0);
            for i in 0..experts {
                let base = 2 + i * (1 + features);
                let bias = gradient[base] - 0.1 * penalty * parameters.bias[i];
                parameters.bias[i] += adam.step(base, bias, rate);
                for (f, v) in parameters.slope[i].iter_mut().enumerate() {
                    let slope = gradient[base + 1 + f] - penalty * *v / experts as f32;
                    *v += adam.step(base + 1 + f, slope, rate);
                }
            }
            adam.advance();
        }
    }

    /// Per item the `k` experts with the largest logits under `gate` among those that answered, as they would be asked.
    fn heard<'b>(&'b self, fitted: &[&'b ExpertProbes], k: usize, gate: &Parameters) -> Vec<Item<'b>> {
        let of = |j: usize| {
            let anybody = !self.whole.contains(&true);
            let answered =
                fitted.iter().enumerate().filter(|(i, _)| anybody || self.whole[*i]).filter_map(|(expert, probes)| {
                    let row = probes.rows.get(j)?.as_deref().filter(|row| row.len() == self.set.classes)?;
                    Some(Heard { expert, logit: self.logit(gate, expert, j), row })
                });
            let mut members: Vec<Heard<'b>> = answered.collect();
            members.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.expert.cmp(&b.expert)));
            members.truncate(k.max(1));
            Item { features: &self.set.features[j], label: self.set.labels[j], members }
        };
        (0..self.items).map(of).collect()
    }
}
