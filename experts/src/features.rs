//! Fitting φ, and describing a data set in φ's space by a few centroids.
//!
//! φ of the vision subnet was fitted once on the training split and is shipped as `data/vision-feature-map.bin`;
//! `cargo run --release -p glia-experts --example fit_feature_map` makes that file again, byte for byte. Everything is
//! plain sequential f64 arithmetic, so that it comes out the same on every machine.

pub mod kmeans;
mod pca;

use glia_protocol::descriptor::Centroid;
use glia_protocol::feature_map::FeatureMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::data::{SIDE, Split};
use kmeans::Clusters;

/// Principal components φ keeps.
pub const COMPONENTS: usize = 32;
/// Regions the anchors cut feature space into.
pub const REGIONS: usize = 8;
/// Side of the square of pixels that is averaged first.
const POOL: usize = 2;
/// Share of its data an expert needs in a region to offer it.
const OFFER_SHARE: f32 = 0.05;
const SEED: u64 = 1;

/// Grey bytes as 0..1 values, the form in which φ takes an image.
pub fn to_unit(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&p| f32::from(p) / 255.0).collect()
}

/// Fits φ to `split`: pooling, [`COMPONENTS`] principal components, [`REGIONS`] k-means anchors.
pub fn fit(split: &Split) -> FeatureMap {
    let columns = SIDE / POOL;
    let pooled: Vec<Vec<f64>> = split.iter().map(|example| pool(example.pixels, columns)).collect();
    let basis = pca::principal_components(&pooled, COMPONENTS);
    let mut map = FeatureMap {
        input: (SIDE as u32, SIDE as u32),
        pool: POOL as u32,
        mean: basis.mean.iter().map(|&v| v as f32).collect(),
        components: basis.components.iter().flatten().map(|&v| v as f32).collect(),
        anchors: vec![0.0; COMPONENTS],
    };
    let points = features_of(&map, split);
    let clusters = Clusters::fit(&points, REGIONS, &mut ChaCha8Rng::seed_from_u64(SEED));
    map.anchors = clusters.means.into_iter().flatten().collect();
    map
}

fn pool(pixels: &[u8], columns: usize) -> Vec<f64> {
    (0..columns * columns)
        .map(|cell| {
            let (top, left) = (cell / columns * POOL, cell % columns * POOL);
            let sum: u32 = (0..POOL * POOL).map(|i| u32::from(pixels[(top + i / POOL) * SIDE + left + i % POOL])).sum();
            f64::from(sum) / (255 * POOL * POOL) as f64
        })
        .collect()
}

/// φ of every image of `split`, in order; images φ cannot take are left out.
pub fn features_of(map: &FeatureMap, split: &Split) -> Vec<Vec<f32>> {
    split.iter().filter_map(|example| map.apply(&to_unit(example.pixels))).collect()
}

/// Where a data set lies in φ's space.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// At most 8 points, heaviest first; weights sum to 1.
    pub centroids: Vec<Centroid>,
    /// Regions that hold a fair share of the data, ascending; at least one unless the data set is empty.
    pub regions: Vec<u8>,
}

/// Describes `split` by at most `centroids` k-means centres and by the regions it fills.
pub fn describe(map: &FeatureMap, split: &Split, centroids: usize, seed: u64) -> Description {
    let points = features_of(map, split);
    let clusters = Clusters::fit(&points, centroids, &mut ChaCha8Rng::seed_from_u64(seed));
    let total = points.len().max(1) as f32;
    let mut described: Vec<Centroid> = clusters
        .means
        .into_iter()
        .zip(clusters.counts.iter().zip(clusters.radii))
        .filter(|(_, (count, _))| **count > 0)
        .map(|(mean, (&count, radius))| Centroid { mean, weight: count as f32 / total, radius })
        .collect();
    described.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut shares = vec![0.0f32; map.regions()];
    for point in &points {
        shares[usize::from(map.region(point))] += 1.0 / total;
    }
    let most = shares.iter().copied().fold(0.0, f32::max);
    let offered = shares.iter().enumerate().filter(|&(_, &s)| s > 0.0 && (s >= OFFER_SHARE || s == most));
    Description { centroids: described, regions: offered.map(|(region, _)| region as u8).collect() }
}
