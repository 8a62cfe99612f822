//! The convolutional net: two convolutions with a stride and a pooling, a linear head, 28×28 grey to 20 classes.
//!
//! The first convolution steps by two: less than half the work of one that does not, for 2 % of accuracy. Experts have
//! 8 and 16 channels (17,076 parameters); a wider net of the same shape is what they are compared with.

use burn::module::{Module, Param};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::module::{conv2d, linear, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use glia_protocol::schema::{TaskSchema, TensorSpec};
use glia_protocol::{DType, Tensor as WireTensor};
use rand::Rng;

use super::{Architecture, ExpertModel, ModelError, ParameterSpec, Parameters};
use crate::data::{CLASSES, PIXELS, SIDE};
use crate::device::ComputeDevice;

/// What every name begins with; the channels after the first and the second convolution follow.
const STEM: &str = "cnn28-s2-";
/// Width of the experts' own nets.
const USUAL_WIDTH: u16 = 8;
/// Widest net: 3.7 million parameters, which still fit a checkpoint.
const MAX_WIDTH: u16 = 400;

/// Channels after the first convolution; after the second there are twice as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Width(u16);

impl Width {
    /// The experts' own.
    pub const USUAL: Self = Self(USUAL_WIDTH);
    /// The widest.
    pub const MAX: Self = Self(MAX_WIDTH);

    /// A width of 1 to [`MAX`](Self::MAX) channels.
    pub fn new(channels: u16) -> Option<Self> {
        (1..=MAX_WIDTH).contains(&channels).then_some(Self(channels))
    }

    /// The width whose net has the number of parameters nearest to `parameters`.
    pub fn nearest(parameters: usize) -> Self {
        let distance = |width: &Self| width.parameters().abs_diff(parameters);
        (1..=MAX_WIDTH).map(Self).min_by_key(distance).unwrap_or(Self::USUAL)
    }

    /// Channels after the first convolution.
    pub fn channels(self) -> u16 {
        self.0
    }

    /// Number of parameters of a net of this width.
    pub fn parameters(self) -> usize {
        specs(self).iter().map(ParameterSpec::elements).sum()
    }

    /// Channels after each convolution, and values the head sees: the stride and the pooling each halve the side.
    fn sizes(self) -> (usize, usize, usize) {
        let first = usize::from(self.0);
        let second = 2 * first;
        (first, second, second * (SIDE / 4) * (SIDE / 4))
    }
}

pub(super) fn name(width: Width) -> String {
    let (first, second, _) = width.sizes();
    format!("{STEM}{first}-{second}")
}

/// The width in a name that [`name`] gives; `None` for any other text.
pub(super) fn by_name(text: &str) -> Option<Width> {
    let (first, _) = text.strip_prefix(STEM)?.split_once('-')?;
    let width = Width::new(first.parse().ok()?)?;
    (name(width) == text).then_some(width)
}

pub(super) fn specs(width: Width) -> Vec<ParameterSpec> {
    let (first, second, flat) = width.sizes();
    vec![
        ParameterSpec { name: "conv1.weight", shape: vec![first, 1, 5, 5] },
        ParameterSpec { name: "conv1.bias", shape: vec![first] },
        ParameterSpec { name: "conv2.weight", shape: vec![second, first, 3, 3] },
        ParameterSpec { name: "conv2.bias", shape: vec![second] },
        ParameterSpec { name: "head.weight", shape: vec![flat, CLASSES] },
        ParameterSpec { name: "head.bias", shape: vec![CLASSES] },
    ]
}

/// The net and its parameters.
#[derive(Module, Debug)]
pub(crate) struct Cnn {
    conv1_weight: Param<Tensor<4>>,
    conv1_bias: Param<Tensor<1>>,
    conv2_weight: Param<Tensor<4>>,
    conv2_bias: Param<Tensor<1>>,
    head_weight: Param<Tensor<2>>,
    head_bias: Param<Tensor<1>>,
}

fn param<const D: usize>(spec: &ParameterSpec, values: &[f32], device: &Device) -> Param<Tensor<D>> {
    Param::from_data(TensorData::new(values.to_vec(), spec.shape.clone()), device)
}

impl Cnn {
    /// The net with these parameters.
    pub(crate) fn from_parameters(parameters: &Parameters, device: &Device) -> Option<Self> {
        let Architecture::Cnn28(width) = parameters.architecture();
        let [conv1_weight, conv1_bias, conv2_weight, conv2_bias, head_weight, head_bias] = parameters.values() else {
            return None;
        };
        let [s0, s1, s2, s3, s4, s5] = <[ParameterSpec; 6]>::try_from(specs(width)).ok()?;
        Some(Self {
            conv1_weight: param(&s0, conv1_weight, device),
            conv1_bias: param(&s1, conv1_bias, device),
            conv2_weight: param(&s2, conv2_weight, device),
            conv2_bias: param(&s3, conv2_bias, device),
            head_weight: param(&s4, head_weight, device),
            head_bias: param(&s5, head_bias, device),
        })
    }

    /// Random parameters, uniform within `spread`·√(1/fan-in); 1 is the usual start of training.
    pub(crate) fn random_parameters(width: Width, spread: f32, rng: &mut impl Rng) -> Vec<Vec<f32>> {
        let (first, _, flat) = width.sizes();
        // Inputs that feed one output value, per pair of weights and bias.
        let fan_in = [25, first * 9, flat];
        specs(width)
            .iter()
            .zip(fan_in.iter().flat_map(|&fan_in| [fan_in; 2]))
            .map(|(spec, fan_in)| {
                let bound = spread / (fan_in as f32).sqrt();
                (0..spec.elements()).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect()
            })
            .collect()
    }

    /// The values of all parameters, read back from the device.
    pub(crate) fn to_values(&self) -> Result<Vec<Vec<f32>>, ModelError> {
        Ok(vec![
            read(self.conv1_weight.val())?,
            read(self.conv1_bias.val())?,
            read(self.conv2_weight.val())?,
            read(self.conv2_bias.val())?,
            read(self.head_weight.val())?,
            read(self.head_bias.val())?,
        ])
    }

    /// Logits `[batch, 20]` of images `[batch, 1, 28, 28]`.
    pub(crate) fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let x = conv2d(
            images,
            self.conv1_weight.val(),
            Some(self.conv1_bias.val()),
            ConvOptions::new([2, 2], [2, 2], [1, 1], 1),
        );
        let x = relu(max_pool2d(x, MaxPoolOptions::new([2, 2])));
        let x = relu(conv2d(
            x,
            self.conv2_weight.val(),
            Some(self.conv2_bias.val()),
            ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
        ));
        linear(x.flatten::<2>(1, 3), self.head_weight.val(), Some(self.head_bias.val()))
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor.try_into_vec_as::<f32>().map_err(|e| ModelError::Backend(e.to_string()))
}

/// Grey bytes `[batch × 784]` as a tensor of 0..1 values `[batch, 1, 28, 28]`.
pub(crate) fn images(pixels: &[u8], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 255.0).collect();
    let batch = pixels.len() / PIXELS;
    Tensor::from_data(TensorData::new(values, [batch, 1, SIDE, SIDE]), device)
}

/// The net as an expert.
pub(super) struct CnnExpert {
    net: Cnn,
    schema: TaskSchema,
    device: ComputeDevice,
}

impl CnnExpert {
    pub(super) fn new(net: Cnn, schema: TaskSchema, device: ComputeDevice) -> Self {
        Self { net, schema, device }
    }
}

impl ExpertModel for CnnExpert {
    fn input(&self) -> &TensorSpec {
        &self.schema.input
    }

    fn output(&self) -> &TensorSpec {
        &self.schema.output
    }

    fn forward(&self, batch: &WireTensor) -> Result<WireTensor, ModelError> {
        let input = &self.schema.input;
        if batch.dtype() != DType::U8 || !input.accepts(batch) || input.elements() != PIXELS {
            return Err(ModelError::Input { want: input.shape.clone(), got: batch.shape().to_vec() });
        }
        let logits = self.net.logits(images(batch.data(), self.device.burn()));
        let probabilities = read(softmax(logits, 1))?;
        if !probabilities.iter().all(|p| p.is_finite()) {
            return Err(ModelError::NotFinite);
        }
        let output = &self.schema.output;
        Ok(WireTensor::from_f32(&output.name, &[batch.batch(), CLASSES as u32], &probabilities)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_width_and_nothing_else_is_a_name() {
        for channels in [1, 8, 48, MAX_WIDTH] {
            let width = Width::new(channels).unwrap();
            assert_eq!(by_name(&name(width)), Some(width));
        }
        assert_eq!(name(Width::USUAL), "cnn28-s2-8-16");
        for odd in ["cnn28-s2-8-17", "cnn28-s2-08-16", "cnn28-s2-0-0", "cnn28-s2-401-802", "cnn28-s2-8-16-32", "cnn28"]
        {
            assert_eq!(by_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_nearest_width_is_within_one_step() {
        let one = Width::USUAL.parameters();
        assert_eq!(one, 17_076);
        assert_eq!(Width::nearest(one), Width::USUAL);
        for experts in [2, 3, 8, 14, 64] {
            let wide = Width::nearest(experts * one);
            let off = wide.parameters().abs_diff(experts * one) as f64 / (experts * one) as f64;
            assert!(off < 0.03, "{experts} experts: {} channels are {:.1} % off", wide.channels(), off * 100.0);
        }
        assert_eq!(Width::nearest(usize::MAX), Width::MAX);
    }
}
