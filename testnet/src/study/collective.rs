//! One roster and seed: its rivals alone, then its mesh at every k.

use std::sync::Arc;

use anyhow::Result;

use super::Study;
use super::mesh::{Setup, reduce};
use super::models::classes_of;
use super::runs::CollectiveRun;
use crate::lab;

impl Study<'_> {
    /// Measures one roster with one seed.
    pub(super) async fn collective(&self, roster: &str, seed: u64) -> Result<CollectiveRun> {
        let models = Arc::new(self.models(roster, self.options.experts, seed, true).await?);
        let (_, indices) = lab::test_set(&models.subnet, self.options.items)?;
        // Before the mesh runs: nothing else computes while latencies are measured.
        let step = self.progress.step("models alone", 0);
        let rivals = models.rivals(indices.clone()).await?;
        step.done(&format!("{} experts and their rivals", rivals.experts.len()));

        let experts = models.specs();
        let setup = Setup {
            honest: experts.iter().map(|expert| expert.name.clone()).collect(),
            experts,
            subnet: models.subnet.clone(),
            seed,
            tempo: 40,
            warm_up: self.options.warm_up,
        };
        let mesh = self.mesh(setup).await?;
        let mut collective = Vec::new();
        let mut asked = Ok(());
        for &k in &self.options.ks {
            match self.ask(&mesh, k).await {
                Ok(evaluation) => collective.push(reduce(&evaluation)),
                Err(error) => {
                    asked = Err(error);
                    break;
                }
            }
        }
        let (resident_bytes, start_s) = (mesh.testnet.resident_bytes(), mesh.start_s);
        mesh.testnet.stop().await?;
        asked?;
        Ok(CollectiveRun {
            roster: roster.to_owned(),
            seed,
            classes: classes_of(&models.subnet.test().select(&indices)),
            labels: models.subnet.labels().to_vec(),
            experts: rivals.experts,
            best_on_validation: rivals.best_on_validation,
            best_on_test: rivals.best_on_test,
            singles: rivals.singles,
            average: rivals.average,
            vote: rivals.vote,
            any_right: rivals.any_right,
            best_by_class: rivals.best_by_class,
            dense: rivals.dense,
            dense_total: rivals.dense_total,
            collective,
            start_s,
            resident_bytes,
        })
    }
}
