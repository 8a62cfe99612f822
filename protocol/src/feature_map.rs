//! φ: the small frozen map from an input to the feature vector that gating speaks about.
//!
//! Routers and experts of a subnet use the same φ, pinned by the hash of its bytes, so that a centroid means the same
//! to both. Here: average pooling, a linear projection fitted once (PCA), unit length. Plain f32 loops in a fixed
//! order, so that every machine computes the same numbers.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::ContentHash;
use crate::limits::{MAX_FEATURE_MAP, MAX_FEATURES, MAX_REGIONS, MAX_SIDE};

/// Numbers in one list of a feature map: what its bytes could hold.
const MAX_VALUES: usize = MAX_FEATURE_MAP / size_of::<f32>();

/// Pooled principal components of a grey image, scaled to unit length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureMap {
    /// Input height and width.
    pub input: (u32, u32),
    /// Side of the square that is averaged to one pixel; divides both.
    pub pool: u32,
    /// Mean of the pooled training inputs, `(h/pool)·(w/pool)` values.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_VALUES>")]
    pub mean: Vec<f32>,
    /// Row-major projection, `features × pooled`.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_VALUES>")]
    pub components: Vec<f32>,
    /// Public reference points that cut feature space into regions, `regions × features`, row-major.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_VALUES>")]
    pub anchors: Vec<f32>,
}

impl FeatureMap {
    /// Pooled pixels.
    pub fn pooled(&self) -> usize {
        self.mean.len()
    }

    /// Dimensions of a feature vector.
    pub fn features(&self) -> usize {
        self.components.len().checked_div(self.pooled()).unwrap_or(0)
    }

    /// Number of regions.
    pub fn regions(&self) -> usize {
        self.anchors.len().checked_div(self.features()).unwrap_or(0)
    }

    /// Elements of one input.
    pub fn input_len(&self) -> usize {
        self.input.0 as usize * self.input.1 as usize
    }

    /// Checks that all sizes fit each other and all numbers are finite.
    pub fn validate(&self) -> Result<(), DecodeError> {
        self.check_sizes()?;
        if !self.mean.iter().chain(&self.components).chain(&self.anchors).all(|v| v.is_finite()) {
            return Err(DecodeError::malformed("feature map", "a value is not finite"));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), DecodeError> {
        let refuse = |why: &str| Err(DecodeError::malformed("feature map", why));
        let (h, w) = self.input;
        if self.pool == 0
            || h == 0
            || w == 0
            || h > MAX_SIDE
            || w > MAX_SIDE
            || h % self.pool != 0
            || w % self.pool != 0
        {
            return refuse("the input is empty or too large, or pool does not divide it");
        }
        if self.pooled() != ((h / self.pool) * (w / self.pool)) as usize {
            return refuse("mean does not have one value per pooled pixel");
        }
        if !self.components.len().is_multiple_of(self.pooled()) || !(1..=MAX_FEATURES).contains(&self.features()) {
            return refuse("components are not features × pooled");
        }
        if !self.anchors.len().is_multiple_of(self.features()) || !(1..=MAX_REGIONS).contains(&self.regions()) {
            return refuse("anchors are not regions × features");
        }
        Ok(())
    }

    /// φ of one input of `input_len` values in 0..1: a vector of `features` values and length 1 (or all zero).
    /// `None` when the input has another length, or when it or the map is such that the result is not finite.
    pub fn apply(&self, input: &[f32]) -> Option<Vec<f32>> {
        if input.len() != self.input_len() || self.check_sizes().is_err() {
            return None;
        }
        let (pool, width) = (self.pool as usize, self.input.1 as usize);
        let columns = width / pool;
        let scale = 1.0 / (pool * pool) as f32;
        let centred: Vec<f32> = (0..self.pooled())
            .map(|cell| {
                let (row, column) = (cell / columns * pool, cell % columns * pool);
                let sum: f32 = (row..row + pool)
                    .map(|y| input[y * width + column..y * width + column + pool].iter().sum::<f32>())
                    .sum();
                sum * scale - self.mean[cell]
            })
            .collect();
        let mut features: Vec<f32> = self
            .components
            .chunks_exact(self.pooled())
            .map(|row| row.iter().zip(&centred).map(|(a, b)| a * b).sum())
            .collect();
        let norm = features.iter().map(|v| v * v).sum::<f32>().sqrt();
        if !norm.is_finite() {
            return None;
        }
        if norm > 0.0 {
            features.iter_mut().for_each(|v| *v /= norm);
        }
        Some(features)
    }

    /// The region whose anchor is nearest to `features`.
    pub fn region(&self, features: &[f32]) -> u8 {
        let distance = |anchor: &[f32]| anchor.iter().zip(features).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let nearest = self
            .anchors
            .chunks_exact(self.features().max(1))
            .take(MAX_REGIONS)
            .enumerate()
            .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        nearest.map_or(0, |(region, _)| region as u8)
    }

    /// Canonical bytes; their hash pins φ. Refuses what [`Self::from_bytes`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        self.validate()?;
        codec::encode("feature map", self, MAX_FEATURE_MAP)
    }

    /// Reads and checks canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let map: Self = codec::decode("feature map", bytes, MAX_FEATURE_MAP)?;
        map.validate()?;
        Ok(map)
    }

    /// blake3 of the canonical bytes.
    pub fn hash(&self) -> Result<ContentHash, EncodeError> {
        Ok(ContentHash::of(&self.to_bytes()?))
    }
}
