//! The embedded image pack and its three named splits: train, validation, test.
//!
//! 20 classes: digits 0–9 (classes 0–9) and the ten fashion classes (10–19). *Validation* is cut out of the training
//! files, [`VALIDATION_PER_CLASS`] images of each class chosen by a fixed seed, and never trained on; *test* is the
//! test files and never trained, fitted or calibrated on. A subnet may show the images in several [`Domain`]s.

mod domain;
pub mod idx;
mod split;

use bytes::{Bytes, BytesMut};
use glia_protocol::ContentHash;

pub use domain::Domain;
use idx::IdxError;
pub use split::{Example, Split};

/// Image height and width in pixels.
pub const SIDE: usize = 28;
/// Bytes of one image.
pub const PIXELS: usize = SIDE * SIDE;
/// Classes of the vision pack.
pub const CLASSES: usize = 20;
/// Images of each class that validation takes from the training files.
pub const VALIDATION_PER_CLASS: usize = 40;

/// Labels in class order.
pub const LABELS: [&str; CLASSES] = [
    "digit 0",
    "digit 1",
    "digit 2",
    "digit 3",
    "digit 4",
    "digit 5",
    "digit 6",
    "digit 7",
    "digit 8",
    "digit 9",
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];

/// Seed of the choice of validation images; part of the meaning of the split, so it never changes.
const VALIDATION_SEED: u64 = 20;

struct Part {
    name: &'static str,
    images: &'static [u8],
    labels: &'static [u8],
    first_class: u8,
}

macro_rules! part {
    ($stem:literal, $first:literal) => {
        Part {
            name: $stem,
            images: include_bytes!(concat!("../data/", $stem, "-images.idx3.gz")),
            labels: include_bytes!(concat!("../data/", $stem, "-labels.idx1.gz")),
            first_class: $first,
        }
    };
}

const TRAIN: [Part; 2] = [part!("mnist-train", 0), part!("fashion-train", 10)];
const TEST: [Part; 2] = [part!("mnist-test", 0), part!("fashion-test", 10)];

/// Why the pack could not be read (only possible when the embedded files were changed).
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is not what it should be.
    #[error("embedded {file}: {source}")]
    Idx {
        /// Which part.
        file: &'static str,
        /// What is wrong.
        source: IdxError,
    },
    /// Images and labels do not belong together.
    #[error("embedded {file}: {why}")]
    Mismatch {
        /// Which part.
        file: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// All images of the vision subnet.
#[derive(Debug, Clone)]
pub struct VisionPack {
    /// 5,200 images to train on.
    pub train: Split,
    /// 800 images for probes, calibration and gates.
    pub validation: Split,
    /// 1,500 images nothing was ever fitted to.
    pub test: Split,
    /// blake3 over the embedded files and the validation seed: names this exact data.
    pub hash: ContentHash,
}

impl VisionPack {
    /// Unpacks the embedded files (about 6 MB of pixels).
    pub fn embedded() -> Result<Self, DataError> {
        let (train, validation) = read(&TRAIN)?.hold_out(CLASSES, VALIDATION_PER_CLASS, VALIDATION_SEED);
        let test = read(&TEST)?;
        let mut hasher = blake3::Hasher::new();
        for part in TRAIN.iter().chain(&TEST) {
            hasher.update(part.images);
            hasher.update(part.labels);
        }
        hasher.update(&VALIDATION_SEED.to_le_bytes());
        hasher.update(&(VALIDATION_PER_CLASS as u64).to_le_bytes());
        Ok(Self { train, validation, test, hash: ContentHash(*hasher.finalize().as_bytes()) })
    }
}

fn read(parts: &[Part]) -> Result<Split, DataError> {
    let mut pixels = BytesMut::new();
    let mut classes = Vec::new();
    for part in parts {
        let idx = |source| DataError::Idx { file: part.name, source };
        let images = idx::read_gzip(part.images, 64 * 1024 * 1024).map_err(idx)?;
        let labels = idx::read_gzip(part.labels, 1024 * 1024).map_err(idx)?;
        let mismatch = |why: String| Err(DataError::Mismatch { file: part.name, why });
        if images.shape.len() != 3 || images.shape[1..] != [SIDE, SIDE] {
            return mismatch(format!("images of shape {:?}, not n×{SIDE}×{SIDE}", images.shape));
        }
        if labels.shape != [images.shape[0]] {
            return mismatch(format!("{:?} labels for {:?} images", labels.shape, images.shape));
        }
        if labels.data.iter().any(|&label| label > 9) {
            return mismatch("a label is larger than 9".to_owned());
        }
        pixels.extend_from_slice(&images.data);
        classes.extend(labels.data.iter().map(|label| label + part.first_class));
    }
    Ok(Split::new(Bytes::from(pixels), classes))
}
