//! Fits φ of the vision subnet to its training split and writes `experts/data/vision-feature-map.bin`.
//!
//! ```text
//! cargo run --release -p glia-experts --example fit_feature_map [FILE]
//! ```
//! Prints the blake3 hash, which `subnet::VISION_FEATURE_MAP_HASH` pins. A new φ is a new subnet to all peers: experts
//! and routers that differ in it do not work together.

use glia_experts::data::VisionPack;
use glia_experts::features;
use glia_protocol::ContentHash;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/data/vision-feature-map.bin");
    let path = std::env::args().nth(1).unwrap_or_else(|| default.to_owned());
    let pack = VisionPack::embedded()?;
    let map = features::fit(&pack.train);
    map.validate()?;
    let bytes = map.to_bytes()?;
    std::fs::write(&path, &bytes)?;
    println!("{path}: {} bytes, blake3 {}", bytes.len(), ContentHash::of(&bytes));
    println!("{} features, {} regions, fitted to {} images", map.features(), map.regions(), pack.train.len());
    Ok(())
}
