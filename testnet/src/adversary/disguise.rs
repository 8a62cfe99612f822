//! A copy of a checkpoint that its hash does not give away.

use std::path::Path;

use anyhow::{Context, Result};
use glia_experts::checkpoint::LoadedCheckpoint;
use glia_experts::model::Parameters;
use glia_experts::subnet::Subnet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Largest relative change of a parameter.
const CHANGE: f32 = 1e-5;

/// Writes the checkpoint `original` to `copy` under the name `name`, every parameter changed by at most a hundred
/// thousandth: another hash, the same answers to four digits. The claims (centroids, regions, counts) stay.
///
/// # Errors
/// When `original` cannot be read or `copy` not written.
pub fn disguise(original: &Path, copy: &Path, name: &str, seed: u64, subnet: &Subnet) -> Result<()> {
    let loaded = LoadedCheckpoint::load(original, subnet)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut change = |value: &f32| value * (1.0 + CHANGE * (2.0 * rng.random::<f32>() - 1.0));
    let values = loaded.parameters.values().iter().map(|tensor| tensor.iter().map(&mut change).collect()).collect();
    let parameters = Parameters::new(loaded.parameters.architecture(), values)
        .with_context(|| format!("{} cannot be changed", original.display()))?;
    let mut meta = loaded.meta;
    name.clone_into(&mut meta.name);
    let bytes = LoadedCheckpoint::encode(&meta, &parameters)?;
    std::fs::write(copy, bytes).with_context(|| format!("cannot write {}", copy.display()))
}
