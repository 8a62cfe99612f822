//! The models of one roster and seed, and what they answer without a mesh.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use glia_experts::checkpoint::LoadedCheckpoint;
use glia_experts::data::Split;
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate::{Predictions, argmax, probabilities};
use glia_experts::roster::{Entry, Kind, Roster, subnet_of};
use glia_experts::subnet::{Subnet, VISION};
use glia_experts::train::{TrainOptions, Trained, TrainedExpert};

use super::Study;
use super::answers::Answers;
use super::runs::{DenseRun, ExpertFacts};
use crate::lab;
use crate::spec::ExpertSpec;
use crate::stats::rivals;

/// A trained roster.
pub(super) struct Models {
    pub(super) subnet: Subnet,
    pub(super) trained: Trained,
}

/// Everything the mesh is compared with, on the test items.
pub(super) struct Rivals {
    pub(super) experts: Vec<ExpertFacts>,
    pub(super) best_on_validation: usize,
    pub(super) best_on_test: usize,
    pub(super) singles: Vec<Answers>,
    pub(super) average: Answers,
    pub(super) vote: Answers,
    pub(super) any_right: Vec<bool>,
    pub(super) best_by_class: Answers,
    pub(super) dense: Option<DenseRun>,
    pub(super) dense_total: Option<DenseRun>,
}

/// The subnet whose pictures a built-in roster is about.
pub(super) fn subnet(roster: &str) -> Result<Subnet> {
    Ok(Subnet::by_name(subnet_of(roster).unwrap_or(VISION))?)
}

impl Study<'_> {
    /// Trains a roster with `seed`, or loads it; with `rivals` the dense models, too.
    pub(super) async fn models(&self, name: &str, experts: usize, seed: u64, rivals: bool) -> Result<Models> {
        let subnet = subnet(name)?;
        let roster = Roster::builtin_seeded(name, experts, seed)?;
        let options =
            TrainOptions { dense: rivals, dense_total: rivals && self.options.large_rival, ..TrainOptions::default() };
        let folder = &self.options.checkpoints;
        let trained = lab::train(&subnet, &roster, folder, &options, self.progress, self.stop).await?;
        Ok(Models { subnet, trained })
    }

    /// Checkpoints for `count` liars: good models of all training images, each from another start, so that they differ
    /// and claim to know everything. Whoever lies with them is believed at first, and colluders agree.
    pub(super) async fn liar_checkpoints(&self, count: usize, seed: u64) -> Result<Vec<PathBuf>> {
        let subnet = subnet("dirichlet")?;
        let seed = seed.wrapping_mul(1000).wrapping_add(900);
        let entry = |index: usize| Entry {
            name: format!("liar-{index}"),
            kind: Kind::All,
            seed: seed.wrapping_add(index as u64),
            split_seed: 0,
        };
        let roster = Roster { subnet: subnet.name().to_string(), seed, experts: (0..count).map(entry).collect() };
        let options = TrainOptions { dense: false, dense_total: false, ..TrainOptions::default() };
        let folder = &self.options.checkpoints;
        let trained = lab::train(&subnet, &roster, folder, &options, self.progress, self.stop).await?;
        Ok(trained.experts.into_iter().map(|expert| expert.path).collect())
    }
}

impl Models {
    /// What a testnet needs to start the experts.
    pub(super) fn specs(&self) -> Vec<ExpertSpec> {
        lab::expert_specs(&self.trained)
    }

    /// What an oracle gate knows of each image of `split`: its class, or its domain (`domains`) where the subnet shows
    /// pictures in several.
    fn groups(&self, split: &Split, domains: &[u8]) -> Vec<usize> {
        let known = if self.subnet.domains().len() > 1 { domains } else { split.classes() };
        known.iter().map(|&group| usize::from(group)).collect()
    }

    /// Lets every expert answer the test items `indices` and all validation images, alone.
    pub(super) async fn rivals(self: &Arc<Self>, indices: Vec<usize>) -> Result<Rivals> {
        let models = Arc::clone(self);
        tokio::task::spawn_blocking(move || models.rivals_now(&indices))
            .await
            .context("evaluating the experts failed")?
    }

    /// Lets a dense model answer the test items, alone.
    fn dense(&self, dense: Option<&TrainedExpert>, split: &Split) -> Result<Option<DenseRun>> {
        let Some(dense) = dense else { return Ok(None) };
        let predictions = self.predict(&dense.checkpoint, split)?;
        let meta = &dense.checkpoint.meta;
        Ok(Some(DenseRun {
            parameters: dense.checkpoint.parameters.count() as u64,
            examples: meta.examples,
            passes: meta.epochs,
            answers: Answers::from_rows(predictions.rows().map(Some), &classes_of(split)),
        }))
    }

    fn predict(&self, checkpoint: &LoadedCheckpoint, split: &Split) -> Result<Predictions> {
        let device = ComputeDevice::open(DeviceChoice::Auto)?;
        Ok(probabilities(checkpoint, &self.subnet, &device, split)?)
    }

    fn rivals_now(&self, indices: &[usize]) -> Result<Rivals> {
        let test = self.subnet.test().select(indices);
        let validation = self.subnet.validation();
        let classes = classes_of(&test);
        let known = self.groups(validation, &self.subnet.validation_domains());
        let groups = known.iter().max().map_or(0, |most| most + 1);
        let domains = self.subnet.test_domains();
        let domains: Vec<u8> = indices.iter().filter_map(|&index| domains.get(index)).copied().collect();
        let (mut experts, mut rows, mut record) = (Vec::new(), Vec::new(), Vec::new());
        for expert in &self.trained.experts {
            let on_validation = self.predict(&expert.checkpoint, validation)?;
            let mut hits = vec![0usize; groups];
            for (right, &group) in on_validation.correct(validation.classes()).into_iter().zip(&known) {
                hits[group] += usize::from(right);
            }
            let meta = &expert.checkpoint.meta;
            experts.push(ExpertFacts {
                name: expert.name.clone(),
                trained_on: lab::trained_on(meta, self.subnet.labels()),
                class_counts: meta.counts.clone(),
                passes: meta.epochs,
                validation: hits.iter().sum::<usize>() as f64 / validation.len().max(1) as f64,
            });
            record.push(hits);
            rows.push(self.predict(&expert.checkpoint, &test)?);
        }
        let singles: Vec<Answers> =
            rows.iter().map(|rows| Answers::from_rows(rows.rows().map(Some), &classes)).collect();
        let first_best =
            |of: &dyn Fn(usize) -> f64| (0..singles.len()).rev().max_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap_or(0);
        let by_group = rivals::best_by_class(&record, groups);
        let (mut average, mut vote, mut gate) = (Answers::default(), Answers::default(), Answers::default());
        let mut any_right = Vec::with_capacity(classes.len());
        let item_rows: Vec<Vec<&[f32]>> = rows.iter().map(|rows| rows.rows().collect()).collect();
        for (item, (&class, group)) in classes.iter().zip(self.groups(&test, &domains)).enumerate() {
            let said: Vec<&[f32]> = item_rows.iter().map(|rows| rows[item]).collect();
            let mean = rivals::average(&said);
            average.push(Some(&mean), Some(argmax(&mean)), class);
            let votes = rivals::vote(&said);
            vote.push(Some(&votes), rivals::majority(&said), class);
            any_right.push(said.iter().any(|row| argmax(row) == usize::from(class)));
            let chosen = by_group.get(group).and_then(|&expert| said.get(expert)).copied();
            gate.push(chosen, chosen.map(argmax), class);
        }
        Ok(Rivals {
            best_on_validation: first_best(&|i| experts[i].validation),
            best_on_test: first_best(&|i| singles[i].accuracy(&classes)),
            experts,
            singles,
            average,
            vote,
            any_right,
            best_by_class: gate,
            dense: self.dense(self.trained.dense.as_ref(), &test)?,
            dense_total: self.dense(self.trained.dense_total.as_ref(), &test)?,
        })
    }
}

/// Classes of a split as answers count them.
pub(super) fn classes_of(split: &Split) -> Vec<u16> {
    split.classes().iter().map(|&class| u16::from(class)).collect()
}
