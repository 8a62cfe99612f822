//! What a subnet's experts take and give.

use serde::{Deserialize, Serialize};

use crate::codec::DecodeError;
use crate::limits::{MAX_CLASSES, MAX_RANK, MAX_TEXT};
use crate::tensor::{DType, Tensor};

/// One named tensor without its batch dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name of the tensor in requests and answers.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions after the batch dimension.
    pub shape: Vec<u32>,
}

impl TensorSpec {
    /// Elements of one item.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&d| d as usize).product()
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
        if classes.iter().any(|c| c.len() > MAX_TEXT) {
            return refuse(format!("a class label is longer than {MAX_TEXT} bytes"));
        }
        for spec in [&self.input, &self.output] {
            let elements = spec.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d as usize));
            if spec.shape.len() >= MAX_RANK || spec.name.len() > MAX_TEXT || elements.is_none() {
                return refuse(format!("tensor {:?} has an impossible shape", spec.shape));
            }
        }
        if self.output.shape != [classes.len() as u32] {
            return refuse(format!("output shape {:?} for {} classes", self.output.shape, classes.len()));
        }
        Ok(())
    }
}
