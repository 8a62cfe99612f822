//! Re-execution: what a published checkpoint answers to an input, computed here, to audit the answer of its server.
//!
//! The CPU backend computes the inputs one by one, so that an answer depends on its input and the checkpoint alone and
//! not on what shared its batch. A server that computed an input alone with the same build gives the same bits; one
//! that computed it in a batch, on another machine or another backend differs by rounding: compare with a tolerance
//! (relative L2 distance of 10⁻³, same most probable class).
//!
//! The checkpoint and the input come from strangers: size, hash, shapes and numbers are checked before anything runs.

use glia_protocol::codec::DecodeError;
use glia_protocol::{ContentHash, Tensor};

use crate::checkpoint::{CheckpointError, LoadedCheckpoint, MAX_CHECKPOINT_BYTES};
use crate::device::{ComputeDevice, DeviceChoice, DeviceError};
use crate::model::ModelError;
use crate::subnet::Subnet;

/// Most inputs of one re-execution; a request has no more than its expert takes, 128 by default.
pub const MAX_ITEMS: u32 = 512;

/// Why nothing was re-executed.
#[derive(Debug, thiserror::Error)]
pub enum ReexecuteError {
    /// More bytes than a checkpoint may have.
    #[error("the checkpoint has {0} bytes, more than {MAX_CHECKPOINT_BYTES}")]
    TooLarge(usize),
    /// The bytes are not the checkpoint that was promised.
    #[error("the checkpoint has hash {got}, not {expected}")]
    Hash {
        /// What was promised.
        expected: ContentHash,
        /// What came.
        got: ContentHash,
    },
    /// The bytes are what was promised, but no checkpoint of this subnet.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The input is not what the subnet takes.
    #[error("the input is {got}; the subnet takes {want}")]
    Input {
        /// What the subnet takes.
        want: String,
        /// What came.
        got: String,
    },
    /// More inputs than [`MAX_ITEMS`].
    #[error("{0} inputs, more than {MAX_ITEMS}")]
    TooMany(u32),
    /// This build has no CPU backend.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// This build cannot run the checkpoint's architecture.
    #[error("this build cannot run architecture {0:?}")]
    Architecture(String),
    /// The model failed; a server could not have answered either.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] DecodeError),
}

/// What the checkpoint in the bytes `checkpoint`, whose hash must be `expected`, answers to `input`, a batch of the
/// subnet's input: a batch of its output. Blocks while it computes, about 0.2 ms for each input.
///
/// # Errors
/// When bytes or input are refused; see [`ReexecuteError`].
pub fn reexecute(
    subnet: &Subnet,
    checkpoint: &[u8],
    expected: ContentHash,
    input: &Tensor,
) -> Result<Tensor, ReexecuteError> {
    if checkpoint.len() > MAX_CHECKPOINT_BYTES {
        return Err(ReexecuteError::TooLarge(checkpoint.len()));
    }
    let spec = &subnet.schema().input;
    if !spec.accepts(input) {
        let want = format!("{:?} {:?} [batch, {:?}]", spec.name, spec.dtype, spec.shape);
        let got = format!("{:?} {:?} {:?}", input.name(), input.dtype(), input.shape());
        return Err(ReexecuteError::Input { want, got });
    }
    let items = input.batch();
    if items > MAX_ITEMS {
        return Err(ReexecuteError::TooMany(items));
    }
    let got = ContentHash::of(checkpoint);
    if got != expected {
        return Err(ReexecuteError::Hash { expected, got });
    }
    let loaded = LoadedCheckpoint::from_bytes(checkpoint, subnet)?;
    let device = ComputeDevice::open(DeviceChoice::Cpu)?;
    let model = loaded.model(subnet, &device);
    let model = model.ok_or_else(|| ReexecuteError::Architecture(loaded.meta.architecture.clone()))?;
    let mut header = input.header().clone();
    header.shape[0] = 1;
    let length = spec.item_len();
    let mut values = Vec::with_capacity(items as usize * subnet.schema().output.elements());
    for item in 0..items as usize {
        let one = Tensor::new(header.clone(), input.data().slice(item * length..(item + 1) * length))?;
        values.extend(model.forward(&one)?.to_f32());
    }
    let output = &subnet.schema().output;
    let shape = [&[items], output.shape.as_slice()].concat();
    Ok(Tensor::from_f32(&output.name, &shape, &values)?)
}
