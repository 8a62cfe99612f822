//! A subnet as its experts see it: name, schema, φ and data.

use glia_protocol::codec::DecodeError;
use glia_protocol::descriptor::Centroid;
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::ids::IdError;
use glia_protocol::schema::{Task, TaskSchema, TensorSpec};
use glia_protocol::{ContentHash, DType, SubnetName};

use crate::data::{CLASSES, DataError, LABELS, SIDE, Split, VisionPack};

/// φ of the vision subnet.
const VISION_FEATURE_MAP: &[u8] = include_bytes!("../data/vision-feature-map.bin");
/// blake3 of the embedded φ; routers and experts that differ in it do not speak of the same space.
pub const VISION_FEATURE_MAP_HASH: &str = "5c46c4307d45e3577ff27fcecbb11451774ea69fe275fb6e51c0c81b960bff35";
/// Chain id of the vision subnet.
const VISION_NETUID: u16 = 1;

/// Why a subnet cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SubnetError {
    /// No such subnet.
    #[error("there is no subnet {0:?}; this build knows: vision")]
    Unknown(String),
    /// The name is not a subnet name.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The embedded data is damaged.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The embedded feature map is damaged.
    #[error(transparent)]
    FeatureMap(#[from] DecodeError),
    /// The embedded feature map is not the pinned one.
    #[error("the embedded feature map has hash {got}, pinned is {want}")]
    FeatureMapHash {
        /// Hash of the file.
        got: ContentHash,
        /// Hash in the source.
        want: &'static str,
    },
}

/// One task: what goes in, what comes out, φ, and labelled data. Cloning shares the data.
#[derive(Debug, Clone)]
pub struct Subnet {
    name: SubnetName,
    netuid: u16,
    schema: TaskSchema,
    feature_map: FeatureMap,
    feature_map_hash: ContentHash,
    pack: VisionPack,
}

impl Subnet {
    /// Opens a subnet this build carries (today: `vision`).
    pub fn by_name(name: &str) -> Result<Self, SubnetError> {
        match name {
            "vision" => Self::vision(),
            other => Err(SubnetError::Unknown(other.chars().take(64).collect())),
        }
    }

    fn vision() -> Result<Self, SubnetError> {
        let got = ContentHash::of(VISION_FEATURE_MAP);
        if got.to_string() != VISION_FEATURE_MAP_HASH {
            return Err(SubnetError::FeatureMapHash { got, want: VISION_FEATURE_MAP_HASH });
        }
        let side = SIDE as u32;
        Ok(Self {
            name: "vision".parse()?,
            netuid: VISION_NETUID,
            schema: TaskSchema {
                task: Task::Classification { classes: LABELS.iter().map(|&l| l.to_owned()).collect() },
                input: TensorSpec { name: "image".to_owned(), dtype: DType::U8, shape: vec![side, side] },
                output: TensorSpec { name: "probabilities".to_owned(), dtype: DType::F32, shape: vec![CLASSES as u32] },
            },
            feature_map: FeatureMap::from_bytes(VISION_FEATURE_MAP)?,
            feature_map_hash: got,
            pack: VisionPack::embedded()?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &SubnetName {
        &self.name
    }

    /// Its id on chain.
    pub fn netuid(&self) -> u16 {
        self.netuid
    }

    /// Input and output of its experts.
    pub fn schema(&self) -> &TaskSchema {
        &self.schema
    }

    /// Class labels in order.
    pub fn labels(&self) -> &[String] {
        self.schema.classes()
    }

    /// φ.
    pub fn feature_map(&self) -> &FeatureMap {
        &self.feature_map
    }

    /// blake3 of φ's canonical bytes.
    pub fn feature_map_hash(&self) -> ContentHash {
        self.feature_map_hash
    }

    /// Images to train on.
    pub fn train(&self) -> &Split {
        &self.pack.train
    }

    /// Images for probes, gates and calibration; nothing trains on them.
    pub fn validation(&self) -> &Split {
        &self.pack.validation
    }

    /// Images nothing is fitted to.
    pub fn test(&self) -> &Split {
        &self.pack.test
    }

    /// Names this exact data and its splits.
    pub fn data_hash(&self) -> ContentHash {
        self.pack.hash
    }

    /// Whether centroids have the dimensions of this subnet's φ.
    pub fn fits(&self, centroids: &[Centroid]) -> bool {
        centroids.iter().all(|c| c.mean.len() == self.feature_map.features())
    }
}
