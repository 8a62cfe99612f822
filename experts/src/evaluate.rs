//! Evaluating a checkpoint here, without a network: probabilities over a split, and how many are right.

use glia_protocol::Tensor;
use glia_protocol::codec::DecodeError;

use crate::checkpoint::LoadedCheckpoint;
use crate::data::{CLASSES, SIDE, Split};
use crate::device::ComputeDevice;
use crate::model::{ExpertModel, ModelError};
use crate::subnet::Subnet;

/// Images computed at once.
const BATCH: usize = 256;

/// Why an evaluation gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The build lacks the checkpoint's architecture.
    #[error("this build cannot run architecture {0:?}")]
    Architecture(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A batch could not be made.
    #[error(transparent)]
    Tensor(#[from] DecodeError),
}

/// Probabilities of every image of a split: one row per image.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    classes: usize,
    values: Vec<f32>,
}

impl Predictions {
    /// Rows of `classes` values, one after the other; an incomplete last row is left out.
    pub fn new(classes: usize, mut values: Vec<f32>) -> Self {
        let classes = classes.max(1);
        values.truncate(values.len() / classes * classes);
        Self { classes, values }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.values.len() / self.classes
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Probabilities image by image.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes)
    }

    /// All probabilities, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Most probable class of each image.
    pub fn top(&self) -> Vec<usize> {
        self.rows().map(argmax).collect()
    }

    /// For each image, whether the most probable class is the right one.
    pub fn correct(&self, classes: &[u8]) -> Vec<bool> {
        self.rows().zip(classes).map(|(row, &class)| argmax(row) == usize::from(class)).collect()
    }

    /// Right answers over all images.
    pub fn accuracy(&self, classes: &[u8]) -> Accuracy {
        Accuracy::of(self.correct(classes))
    }
}

/// Index of the largest value (the first of equals).
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// A share with the counts it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accuracy {
    /// Right answers.
    pub correct: usize,
    /// All answers.
    pub total: usize,
}

impl Accuracy {
    /// Counts.
    pub fn of(correct: impl IntoIterator<Item = bool>) -> Self {
        let mut counts = Self { correct: 0, total: 0 };
        for right in correct {
            counts.total += 1;
            counts.correct += usize::from(right);
        }
        counts
    }

    /// The share, 0..1; 0 when there is nothing.
    pub fn share(&self) -> f64 {
        self.correct as f64 / self.total.max(1) as f64
    }
}

/// Probabilities of `checkpoint` for every image of `split`, computed in batches on `device`.
pub fn probabilities(
    checkpoint: &LoadedCheckpoint,
    subnet: &Subnet,
    device: &ComputeDevice,
    split: &Split,
) -> Result<Predictions, EvaluateError> {
    let model = checkpoint
        .model(subnet, device)
        .ok_or_else(|| EvaluateError::Architecture(checkpoint.meta.architecture.clone()))?;
    run(model.as_ref(), split)
}

/// Probabilities of `model` for every image of `split`.
pub fn run(model: &dyn ExpertModel, split: &Split) -> Result<Predictions, EvaluateError> {
    let side = SIDE as u32;
    let bytes = SIDE * SIDE;
    let mut values = Vec::with_capacity(split.len() * CLASSES);
    for from in (0..split.len()).step_by(BATCH) {
        let to = (from + BATCH).min(split.len());
        let pixels = split.pixels().slice(from * bytes..to * bytes);
        let batch = Tensor::from_u8(&model.input().name, &[(to - from) as u32, side, side], pixels)?;
        values.extend(model.forward(&batch)?.to_f32());
    }
    Ok(Predictions::new(CLASSES, values))
}

/// The region of φ space each image of `split` falls into.
pub fn regions(subnet: &Subnet, split: &Split) -> Vec<u8> {
    let map = subnet.feature_map();
    crate::features::features_of(map, split).iter().map(|features| map.region(features)).collect()
}
