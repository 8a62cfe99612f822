//! What is to be trained: the experts of a roster and the models they are compared with.

use super::{TrainError, TrainOptions};
use crate::model::{Architecture, Width};
use crate::roster::{Entry, Kind, Roster};
use crate::subnet::Subnet;

/// One model to train.
pub(super) struct Job {
    /// What on, and from which seed.
    pub(super) entry: Entry,
    /// How wide.
    pub(super) width: Width,
    /// Its images.
    pub(super) examples: usize,
    /// Passes over them.
    pub(super) epochs: u32,
}

impl Job {
    /// An expert of a roster.
    pub(super) fn expert(entry: &Entry, options: &TrainOptions, subnet: &Subnet) -> Result<Self, TrainError> {
        let failed = |source| TrainError::Partition { name: entry.name.clone(), source };
        let examples = entry.examples(subnet).map_err(failed)?.len();
        let epochs = options.epochs_of(entry, examples);
        Ok(Self { entry: entry.clone(), width: Width::USUAL, examples, epochs })
    }

    /// What it becomes.
    pub(super) fn architecture(&self) -> Architecture {
        Architecture::Cnn28(self.width)
    }

    /// Adam's first step: a wider net takes smaller ones.
    pub(super) fn first_step(&self, options: &TrainOptions) -> f64 {
        options.learning_rate * (f64::from(Width::USUAL.channels()) / f64::from(self.width.channels())).sqrt()
    }

    /// Steps in all, weighed by what one costs.
    pub(super) fn work(&self) -> usize {
        self.seen().saturating_mul(self.width.parameters())
    }

    /// Images it sees in all.
    fn seen(&self) -> usize {
        self.examples * self.epochs as usize
    }
}

/// The rivals that `options` ask for, for the experts of `jobs`.
pub(super) fn rivals(
    roster: &Roster,
    jobs: &[Job],
    options: &TrainOptions,
    subnet: &Subnet,
) -> Result<(Option<Job>, Option<Job>), TrainError> {
    let dense = || {
        let mut job = Job::expert(&Entry::dense(roster), options, subnet)?;
        // Fair: it sees as many images as all experts together.
        let seen: usize = jobs.iter().map(Job::seen).sum();
        let all = job.examples.max(1);
        job.epochs = ((seen + all / 2) / all).max(1) as u32;
        Ok::<_, TrainError>(job)
    };
    let total = || {
        let mut job = dense()?;
        job.entry.name = "dense-total".to_owned();
        let trained = jobs.iter().filter(|job| job.entry.kind != Kind::Noise);
        job.width = Width::nearest(trained.map(|job| job.width.parameters()).sum());
        Ok::<_, TrainError>(job)
    };
    Ok((options.dense.then(dense).transpose()?, options.dense_total.then(total).transpose()?))
}
