//! What a checkpoint says about itself, as JSON in the safetensors header.

use glia_protocol::ContentHash;
use glia_protocol::descriptor::Centroid;
use glia_protocol::limits::{MAX_CENTROIDS, MAX_TEXT};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use crate::subnet::Subnet;

/// What an expert is and what it was trained on. Claims, all of them: only probes prove skill.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointMeta {
    /// Name for people.
    pub name: String,
    /// Subnet it answers in.
    pub subnet: String,
    /// Name of the architecture.
    pub architecture: String,
    /// Kind of its roster entry: `classes`, `dirichlet`, `iid`, `domains`, `noise`, `all`.
    pub kind: String,
    /// Names of the domains its images were shown in; empty in a subnet without domains.
    pub domains: Vec<String>,
    /// Training images of each class.
    pub counts: Vec<u64>,
    /// Training images.
    pub examples: u64,
    /// Seed of the training.
    pub seed: u64,
    /// Passes over its data.
    pub epochs: u32,
    /// φ its centroids and regions speak of.
    pub feature_map: ContentHash,
    /// Where its training data lies in φ space, at most 8 points.
    pub centroids: Vec<Centroid>,
    /// Regions of φ space it wants to be found under.
    pub regions: Vec<u8>,
    /// Everything that went into the training, hashed: equal keys, equal checkpoints.
    pub key: ContentHash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u32,
    name: String,
    subnet: String,
    architecture: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    domains: Vec<String>,
    counts: Vec<u64>,
    examples: u64,
    seed: u64,
    epochs: u32,
    feature_map: String,
    centroids: Vec<JsonCentroid>,
    regions: Vec<u8>,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCentroid {
    mean: Vec<f32>,
    weight: f32,
    radius: f32,
}

const FORMAT: u32 = 1;

impl CheckpointMeta {
    pub(super) fn to_json(&self) -> Result<String, CheckpointError> {
        let json = Json {
            format: FORMAT,
            name: self.name.clone(),
            subnet: self.subnet.clone(),
            architecture: self.architecture.clone(),
            kind: self.kind.clone(),
            domains: self.domains.clone(),
            counts: self.counts.clone(),
            examples: self.examples,
            seed: self.seed,
            epochs: self.epochs,
            feature_map: self.feature_map.to_string(),
            centroids: self
                .centroids
                .iter()
                .map(|c| JsonCentroid { mean: c.mean.clone(), weight: c.weight, radius: c.radius })
                .collect(),
            regions: self.regions.clone(),
            key: self.key.to_string(),
        };
        serde_json::to_string(&json).map_err(|e| CheckpointError::Metadata(e.to_string()))
    }

    pub(super) fn from_json(text: &str, subnet: &Subnet) -> Result<Self, CheckpointError> {
        let refuse = |why: String| Err(CheckpointError::Metadata(why));
        let json: Json = serde_json::from_str(text).map_err(|e| CheckpointError::Metadata(e.to_string()))?;
        let hash = |text: &str| text.parse::<ContentHash>().map_err(|e| CheckpointError::Metadata(e.to_string()));
        let meta = Self {
            feature_map: hash(&json.feature_map)?,
            key: hash(&json.key)?,
            name: json.name,
            subnet: json.subnet,
            architecture: json.architecture,
            kind: json.kind,
            domains: json.domains,
            counts: json.counts,
            examples: json.examples,
            seed: json.seed,
            epochs: json.epochs,
            centroids: json
                .centroids
                .into_iter()
                .map(|c| Centroid { mean: c.mean, weight: c.weight, radius: c.radius })
                .collect(),
            regions: json.regions,
        };
        if json.format != FORMAT {
            return refuse(format!("format {}, this build reads {FORMAT}", json.format));
        }
        if [&meta.name, &meta.subnet, &meta.architecture, &meta.kind].iter().any(|t| t.is_empty() || t.len() > MAX_TEXT)
        {
            return refuse(format!("a text is empty or longer than {MAX_TEXT} bytes"));
        }
        if meta.subnet != subnet.name().as_str() {
            return Err(CheckpointError::Foreign(format!("it is for {:?}, not {}", meta.subnet, subnet.name())));
        }
        if meta.feature_map != subnet.feature_map_hash() {
            return Err(CheckpointError::Foreign(format!("it was described with feature map {}", meta.feature_map)));
        }
        let known = subnet.domains();
        let shown = |name: &String| known.iter().any(|domain| domain.to_string() == *name);
        if meta.domains.len() > known.len() || !meta.domains.iter().all(shown) {
            return refuse("it names a domain that the subnet does not have".to_owned());
        }
        if meta.counts.len() != subnet.labels().len() {
            return refuse(format!("{} class counts for {} classes", meta.counts.len(), subnet.labels().len()));
        }
        if meta.counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n)) != Some(meta.examples) {
            return refuse("the class counts do not add up to the number of examples".to_owned());
        }
        if meta.centroids.is_empty() || meta.centroids.len() > MAX_CENTROIDS || !subnet.fits(&meta.centroids) {
            return refuse(format!("centroids must be 1 to {MAX_CENTROIDS} points of φ space"));
        }
        let sane = |c: &Centroid| {
            c.mean.iter().all(|v| v.is_finite()) && (0.0..=1.0).contains(&c.weight) && (0.0..=1e6).contains(&c.radius)
        };
        if !meta.centroids.iter().all(sane) {
            return refuse("a centroid's numbers are impossible".to_owned());
        }
        let regions = subnet.feature_map().regions();
        let ascending = meta.regions.is_sorted_by(|a, b| a < b);
        if meta.regions.is_empty() || !ascending || meta.regions.iter().any(|&r| usize::from(r) >= regions) {
            return refuse(format!("regions must be different numbers below {regions}, ascending"));
        }
        Ok(meta)
    }
}
