//! Models: tensors in, tensors out, parameters that can be stored.

mod cnn;

use glia_protocol::Tensor;
use glia_protocol::codec::DecodeError;
use glia_protocol::schema::{TaskSchema, TensorSpec};

use crate::device::ComputeDevice;
pub use cnn::Width;
pub(crate) use cnn::{Cnn, images};

/// A model that answers for an expert.
pub trait ExpertModel: Send {
    /// What it takes, without the batch dimension.
    fn input(&self) -> &TensorSpec;

    /// What it gives, without the batch dimension.
    fn output(&self) -> &TensorSpec;

    /// One forward pass of a batch that fits [`input`](Self::input); the answer has the same batch and fits
    /// [`output`](Self::output). For a classification every row is a probability distribution.
    fn forward(&self, batch: &Tensor) -> Result<Tensor, ModelError>;
}

/// Why a forward pass gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The batch is not what the model takes.
    #[error("the model takes batches of {want:?}, not {got:?}")]
    Input {
        /// Shape of one input.
        want: Vec<u32>,
        /// Shape of the batch.
        got: Vec<u32>,
    },
    /// The answer holds NaN or infinity.
    #[error("the model's answer is not finite")]
    NotFinite,
    /// The backend failed.
    #[error("the backend failed: {0}")]
    Backend(String),
    /// The answer could not be put into a tensor.
    #[error(transparent)]
    Tensor(#[from] DecodeError),
}

/// Name and shape of one parameter tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Name in checkpoints.
    pub name: &'static str,
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
}

impl ParameterSpec {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The architectures this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// A convolutional net for 28×28 grey images and 20 classes.
    Cnn28(Width),
}

impl Architecture {
    /// What experts are trained as.
    pub const USUAL: Self = Self::Cnn28(Width::USUAL);

    /// Name in checkpoints; it says the width.
    pub fn name(self) -> String {
        match self {
            Self::Cnn28(width) => cnn::name(width),
        }
    }

    /// The architecture of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        cnn::by_name(name).map(Self::Cnn28)
    }

    /// Its parameters, in the order in which [`Parameters`] holds them.
    pub fn parameters(self) -> Vec<ParameterSpec> {
        match self {
            Self::Cnn28(width) => cnn::specs(width),
        }
    }

    /// A model with these parameters on `device`. `None` when they are not this architecture's.
    pub fn build(
        self,
        schema: &TaskSchema,
        parameters: &Parameters,
        device: &ComputeDevice,
    ) -> Option<Box<dyn ExpertModel>> {
        if parameters.architecture() != self {
            return None;
        }
        let net = Cnn::from_parameters(parameters, device.burn())?;
        Some(Box::new(cnn::CnnExpert::new(net, schema.clone(), device.clone())))
    }
}

/// Values of all parameters of one model, row-major, in the order of [`Architecture::parameters`].
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    architecture: Architecture,
    values: Vec<Vec<f32>>,
}

impl Parameters {
    /// Parameters of `architecture`; `None` when a count or a length is wrong or a value is not finite.
    pub fn new(architecture: Architecture, values: Vec<Vec<f32>>) -> Option<Self> {
        let specs = architecture.parameters();
        let fits = values.len() == specs.len()
            && values.iter().zip(&specs).all(|(v, spec)| v.len() == spec.elements())
            && values.iter().flatten().all(|v| v.is_finite());
        fits.then_some(Self { architecture, values })
    }

    /// Which architecture they are for.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Values tensor by tensor.
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}
