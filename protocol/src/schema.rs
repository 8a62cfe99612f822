//! What a subnet's experts take and give.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::DecodeError;
use crate::limits::{MAX_CLASSES, MAX_FRAME_PAYLOAD, MAX_RANK, MAX_TEXT};
use crate::tensor::{DType, Tensor};

/// One named tensor without its batch dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name of the tensor in requests and answers.
    #[serde(deserialize_with = "bounded::text")]
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions after the batch dimension; none is 0.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_RANK>")]
    pub shape: Vec<u32>,
}

impl TensorSpec {
    /// Elements of one item; `usize::MAX` when they cannot be counted (no schema that passed `validate`).
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d as usize))
    }

    /// Bytes of one item; `usize::MAX` when they cannot be counted.
    pub fn item_len(&self) -> usize {
        self.elements().saturating_mul(self.dtype.size())
    }

    /// Whether `tensor` is a non-empty batch of this spec.
    pub fn accepts(&self, tensor: &Tensor) -> bool {
        tensor.name() == self.name
            && tensor.dtype() == self.dtype
            && tensor.shape().len() == self.shape.len() + 1
            && tensor.shape()[0] > 0
            && tensor.shape()[1..] == self.shape
    }
}

/// What the output means, and so how answers are combined and scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Output rows are probabilities of these classes, in this order.
    Classification {
        /// Labels of the classes.
        #[serde(deserialize_with = "bounded::texts::<_, MAX_CLASSES>")]
        classes: Vec<String>,
    },
}

/// Input and output of every expert of one subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSchema {
    /// Meaning of the output.
    pub task: Task,
    /// The one input tensor.
    pub input: TensorSpec,
    /// The one output tensor.
    pub output: TensorSpec,
}

impl TaskSchema {
    /// Labels of a classification.
    pub fn classes(&self) -> &[String] {
        match &self.task {
            Task::Classification { classes } => classes,
        }
    }

    /// Checks counts and lengths of a schema that came from outside.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::malformed("task schema", why));
        let Task::Classification { classes } = &self.task;
        if classes.len() < 2 || classes.len() > MAX_CLASSES {
            return refuse(format!("{} classes, 2 to {MAX_CLASSES} are allowed", classes.len()));
        }
        let mut texts = classes.iter().chain([&self.input.name, &self.output.name]);
        if !texts.all(|text| bounded::is_text(text)) {
            return refuse(format!("a label or name is longer than {MAX_TEXT} bytes or has control characters"));
        }
        for spec in [&self.input, &self.output] {
            // One item must fit a frame, with room for the batch dimension.
            let fits = spec.shape.len() < MAX_RANK && (1..=MAX_FRAME_PAYLOAD).contains(&spec.item_len());
            if !fits {
                return refuse(format!("one item of shape {:?} is empty or fits no frame", spec.shape));
            }
        }
        if !matches!(self.output.dtype, DType::F32 | DType::F16 | DType::BF16) {
            return refuse(format!("{:?} cannot hold probabilities", self.output.dtype));
        }
        if self.output.shape != [classes.len() as u32] {
            return refuse(format!("output shape {:?} for {} classes", self.output.shape, classes.len()));
        }
        Ok(())
    }
}
