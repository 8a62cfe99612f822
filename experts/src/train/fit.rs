//! One training run: shuffled batches, cross-entropy, Adam with a cosine schedule.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use rand::seq::SliceRandom;

use super::{CancellationToken, Progress, TrainOptions};
use crate::data::{CLASSES, Split};
use crate::model::{Cnn, ModelError, Parameters, images};

/// Steps between two reports of the loss; reading it back makes the device wait.
const REPORT_EVERY: usize = 10;

pub(super) struct Plan<'a> {
    pub(super) options: &'a TrainOptions,
    pub(super) learning_rate: f64,
    pub(super) epochs: u32,
    pub(super) steps: usize,
    pub(super) index: usize,
}

pub(super) enum FitError {
    Stopped,
    Diverged,
    Model(ModelError),
}

pub(super) fn fit(
    plan: &Plan<'_>,
    parameters: &Parameters,
    data: &Split,
    device: &Device,
    rng: &mut impl Rng,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &CancellationToken,
) -> Result<Parameters, FitError> {
    let device = device.clone().autodiff();
    let mut net = Cnn::from_parameters(parameters, &device).ok_or(FitError::Diverged)?;
    let mut adam = AdamConfig::new().init();
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut step = 0;
    for epoch in 0..plan.epochs {
        order.shuffle(rng);
        for batch in order.chunks(plan.options.batch.max(1)) {
            if stop.is_cancelled() {
                return Err(FitError::Stopped);
            }
            let batch = data.select(batch);
            let loss = cross_entropy(net.logits(images(batch.pixels(), &device)), batch.classes(), &device);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            let rate = plan.learning_rate * cosine(step, plan.steps);
            net = adam.step(rate, net, gradients);
            step += 1;
            if step % REPORT_EVERY == 0 || step == plan.steps {
                let loss = read_scalar(loss.inner())?;
                if !loss.is_finite() {
                    return Err(FitError::Diverged);
                }
                progress(Progress::Step { index: plan.index, epoch, step, steps: plan.steps, loss });
            }
        }
    }
    let values = net.valid().to_values().map_err(FitError::Model)?;
    Parameters::new(parameters.architecture(), values).ok_or(FitError::Diverged)
}

/// From 1 at the first step to 0.1 at the last.
fn cosine(step: usize, steps: usize) -> f64 {
    let along = step as f64 / steps.max(1) as f64;
    0.1 + 0.45 * (1.0 + (std::f64::consts::PI * along).cos())
}

/// Mean of −log p(class), in nats.
fn cross_entropy(logits: Tensor<2>, classes: &[u8], device: &Device) -> Tensor<1> {
    let targets: Vec<i32> = classes.iter().map(|&c| i32::from(c)).collect();
    debug_assert!(classes.iter().all(|&c| usize::from(c) < CLASSES));
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [classes.len(), 1]), device);
    log_softmax(logits, 1).gather(1, targets).mean().neg()
}

fn read_scalar(tensor: Tensor<1>) -> Result<f32, FitError> {
    let read = tensor.try_into_vec_as::<f32>();
    let values = read.map_err(|e| FitError::Model(ModelError::Backend(e.to_string())))?;
    Ok(values.first().copied().unwrap_or(f32::NAN))
}
