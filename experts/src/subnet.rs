//! A subnet as its experts see it: name, schema, φ and data.
//!
//! `vision` has twenty classes of plain pictures. `vision-transforms` is the same task with the same φ and the same
//! splits, but every picture is shown in one of the eight [`Domain`]s: plain, turned, inverted, noisy. It is a variant for
//! studies, chosen by name wherever a subnet is named, so that experts, routers and evaluations see the same pictures.
//! Both have the same number on chain: one chain carries one of them at a time.
//!
//! In a variant with domains each validation and test image has its domain once and for all; the training images are
//! dealt anew by each roster's seed ([`Subnet::training`]), as the other rosters divide them anew.

use glia_protocol::codec::DecodeError;
use glia_protocol::descriptor::Centroid;
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::ids::IdError;
use glia_protocol::schema::{Task, TaskSchema, TensorSpec};
use glia_protocol::{ContentHash, DType, SubnetName};

use crate::data::{CLASSES, DataError, Domain, LABELS, SIDE, Split, VisionPack};

/// φ of the vision subnet.
const VISION_FEATURE_MAP: &[u8] = include_bytes!("../data/vision-feature-map.bin");
/// blake3 of the embedded φ; routers and experts that differ in it do not speak of the same space.
pub const VISION_FEATURE_MAP_HASH: &str = "5c46c4307d45e3577ff27fcecbb11451774ea69fe275fb6e51c0c81b960bff35";
/// Chain id of the vision subnet and its variants.
const VISION_NETUID: u16 = 1;
/// The vision subnet.
pub const VISION: &str = "vision";
/// Its variant with domains.
pub const VISION_TRANSFORMS: &str = "vision-transforms";
/// Seeds of the domains of validation and test images; part of the meaning of the variant, so they never change.
const VALIDATION_DOMAINS: u64 = 21;
const TEST_DOMAINS: u64 = 22;

/// Why a subnet cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SubnetError {
    /// No such subnet.
    #[error("there is no subnet {0:?}; this build knows: {VISION}, {VISION_TRANSFORMS}")]
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
    domains: Option<Domains>,
}

/// Number of each image's domain in a variant that has domains.
#[derive(Debug, Clone)]
struct Domains {
    validation: Vec<u8>,
    test: Vec<u8>,
}

impl Subnet {
    /// Opens a subnet this build carries: [`VISION`] or [`VISION_TRANSFORMS`].
    pub fn by_name(name: &str) -> Result<Self, SubnetError> {
        match name {
            VISION => Self::vision(),
            VISION_TRANSFORMS => Self::vision()?.with_domains(),
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
            name: VISION.parse()?,
            netuid: VISION_NETUID,
            schema: TaskSchema {
                task: Task::Classification { classes: LABELS.iter().map(|&l| l.to_owned()).collect() },
                input: TensorSpec { name: "image".to_owned(), dtype: DType::U8, shape: vec![side, side] },
                output: TensorSpec { name: "probabilities".to_owned(), dtype: DType::F32, shape: vec![CLASSES as u32] },
            },
            feature_map: FeatureMap::from_bytes(VISION_FEATURE_MAP)?,
            feature_map_hash: got,
            pack: VisionPack::embedded()?,
            domains: None,
        })
    }

    /// The same task with each validation and test image shown in a domain.
    fn with_domains(mut self) -> Result<Self, SubnetError> {
        let pack = &mut self.pack;
        let domains = Domains {
            validation: pack.validation.deal_domains(VALIDATION_DOMAINS),
            test: pack.test.deal_domains(TEST_DOMAINS),
        };
        pack.validation = pack.validation.shown_in(&domains.validation, VALIDATION_DOMAINS);
        pack.test = pack.test.shown_in(&domains.test, TEST_DOMAINS);
        let names: Vec<String> = Domain::ALL.iter().map(Domain::to_string).collect();
        let text = format!("{} {VALIDATION_DOMAINS} {TEST_DOMAINS} {}", pack.hash, names.join(" "));
        pack.hash = ContentHash::of(text.as_bytes());
        self.name = VISION_TRANSFORMS.parse()?;
        self.domains = Some(domains);
        Ok(self)
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

    /// Images to train on, not yet shown in any domain.
    pub fn train(&self) -> &Split {
        &self.pack.train
    }

    /// Images to train on as a roster with `seed` shows them, and the number of each one's domain: those of
    /// [`train`](Self::train), in the same order.
    pub fn training(&self, seed: u64) -> (Split, Vec<u8>) {
        let train = self.train();
        match self.domains {
            None => (train.clone(), vec![0; train.len()]),
            Some(_) => {
                let domains = train.deal_domains(seed);
                (train.shown_in(&domains, seed), domains)
            }
        }
    }

    /// Ways in which its pictures are shown.
    pub fn domains(&self) -> &'static [Domain] {
        const ALL: &[Domain] = &Domain::ALL;
        if self.domains.is_some() { ALL } else { &ALL[..1] }
    }

    /// For each validation image the position of its domain in [`domains`](Self::domains).
    pub fn validation_domains(&self) -> Vec<u8> {
        self.domains.as_ref().map_or_else(|| vec![0; self.validation().len()], |domains| domains.validation.clone())
    }

    /// For each test image the position of its domain in [`domains`](Self::domains).
    pub fn test_domains(&self) -> Vec<u8> {
        self.domains.as_ref().map_or_else(|| vec![0; self.test().len()], |domains| domains.test.clone())
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
