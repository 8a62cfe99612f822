//! Checkpoints: safetensors files whose metadata says what the expert was trained on.
//!
//! The file's blake3 hash names the expert on the network. Files come from strangers, so everything is checked against
//! the architecture's own shapes before memory is taken, and numbers must be finite.

mod metadata;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use glia_protocol::ContentHash;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};

use crate::device::ComputeDevice;
use crate::model::{Architecture, ExpertModel, Parameters};
use crate::subnet::Subnet;
pub use metadata::CheckpointMeta;

/// Largest checkpoint file; the widest architecture here has 3.7 million values, 15 MB.
pub const MAX_CHECKPOINT_BYTES: usize = 16 * 1024 * 1024;
/// Largest safetensors header within it.
const MAX_HEADER_BYTES: usize = 256 * 1024;
/// Key of our metadata in the safetensors header.
const META_KEY: &str = "glia";

/// Why a checkpoint is not loaded or not written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than a checkpoint may have.
    #[error("the checkpoint has more than {MAX_CHECKPOINT_BYTES} bytes")]
    TooLarge,
    /// Not a safetensors file, or a damaged one.
    #[error("not a sound safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A safetensors file, but not one of ours, or with impossible metadata.
    #[error("the checkpoint's metadata is refused: {0}")]
    Metadata(String),
    /// Tensors that are not those of the architecture.
    #[error("the checkpoint's tensors are refused: {0}")]
    Tensors(String),
    /// Made for another subnet or another φ.
    #[error("the checkpoint does not belong to this subnet: {0}")]
    Foreign(String),
}

/// A checkpoint that was checked and can be served.
#[derive(Debug, Clone)]
pub struct LoadedCheckpoint {
    /// What it says about itself.
    pub meta: CheckpointMeta,
    /// blake3 of the file.
    pub hash: ContentHash,
    /// Its parameters.
    pub parameters: Parameters,
    /// The file itself, for handing it out: encoding the parameters anew need not give a stranger's bytes again. Clones
    /// share it.
    pub file: Bytes,
}

impl LoadedCheckpoint {
    /// Reads and checks a file.
    pub fn load(path: &Path, subnet: &Subnet) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_CHECKPOINT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(&bytes, subnet)
    }

    /// Checks the bytes of a file.
    pub fn from_bytes(bytes: &[u8], subnet: &Subnet) -> Result<Self, CheckpointError> {
        if bytes.len() > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::TooLarge);
        }
        let announced = bytes.first_chunk::<8>().map(|n| u64::from_le_bytes(*n));
        if announced.is_none_or(|n| n > MAX_HEADER_BYTES as u64) {
            return Err(CheckpointError::Metadata(format!("its header has more than {MAX_HEADER_BYTES} bytes")));
        }
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let json = header.metadata().as_ref().and_then(|m| m.get(META_KEY));
        let json = json.ok_or_else(|| CheckpointError::Metadata(format!("it has no {META_KEY:?} entry")))?;
        let meta = CheckpointMeta::from_json(json, subnet)?;
        let architecture = Architecture::by_name(&meta.architecture)
            .ok_or_else(|| CheckpointError::Metadata(format!("unknown architecture {:?}", meta.architecture)))?;
        let tensors = SafeTensors::deserialize(bytes)?;
        let parameters = read_parameters(&tensors, architecture)?;
        Ok(Self { meta, hash: ContentHash::of(bytes), parameters, file: Bytes::copy_from_slice(bytes) })
    }

    /// The bytes of the file for `parameters` and `meta`: the same input gives the same bytes.
    pub fn encode(meta: &CheckpointMeta, parameters: &Parameters) -> Result<Vec<u8>, CheckpointError> {
        let specs = parameters.architecture().parameters();
        let tensors = specs.into_iter().zip(parameters.values()).map(|(spec, values)| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (spec.name, Stored { shape: spec.shape, bytes })
        });
        let info = HashMap::from([(META_KEY.to_owned(), meta.to_json()?)]);
        Ok(safetensors::serialize(tensors, Some(info))?)
    }

    /// A model that answers with these parameters; `None` when the build lacks the architecture.
    pub fn model(&self, subnet: &Subnet, device: &ComputeDevice) -> Option<Box<dyn ExpertModel>> {
        self.parameters.architecture().build(subnet.schema(), &self.parameters, device)
    }
}

/// Writes `bytes` to `path` so that the file is there completely or not at all.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::File { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.part", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        // The half-written file is of no use; that it may stay behind changes nothing about the error.
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}

fn read_parameters(tensors: &SafeTensors<'_>, architecture: Architecture) -> Result<Parameters, CheckpointError> {
    let refuse = |why: String| CheckpointError::Tensors(why);
    let specs = architecture.parameters();
    if tensors.len() != specs.len() {
        return Err(refuse(format!("{} tensors, {} has {}", tensors.len(), architecture.name(), specs.len())));
    }
    let mut values = Vec::with_capacity(specs.len());
    for spec in specs {
        let tensor = tensors.tensor(spec.name)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != spec.shape {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(refuse(format!("{} is {dtype:?} {shape:?}, must be F32 {:?}", spec.name, spec.shape)));
        }
        values.push(tensor.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect());
    }
    Parameters::new(architecture, values).ok_or_else(|| refuse("a value is not finite".to_owned()))
}

struct Stored {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
