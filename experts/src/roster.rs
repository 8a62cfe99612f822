//! Rosters: who is trained on what.
//!
//! ```toml
//! subnet = "vision"
//! seed = 7
//!
//! [[expert]]
//! name = "ada"
//! kind = "classes"
//! classes = ["digit 0", "digit 1", "sandal"]
//!
//! [[expert]]
//! name = "bob"
//! kind = "dirichlet"   # one part of a split of each class by a Dirichlet(α) draw
//! alpha = 0.3
//! part = 0             # default: counts up over the entries of this kind
//! parts = 8            # default: the number of entries of this kind
//!
//! [[expert]]
//! name = "eve"
//! kind = "iid"         # a random shard of all classes
//! examples = 300
//!
//! [[expert]]
//! name = "mallory"
//! kind = "noise"       # large random parameters, never trained: a liar for tests
//! ```

mod builtin;
mod partition;

use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;
pub use partition::{DIRICHLET_MIN, PartitionError};

/// Most experts one roster may have.
pub const MAX_EXPERTS: usize = 256;
/// Largest roster file in bytes.
pub const MAX_ROSTER_BYTES: usize = 256 * 1024;

/// Why a roster is refused.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// Not the TOML a roster is made of.
    #[error("the roster cannot be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// Well formed but meaningless.
    #[error("{0}")]
    Invalid(String),
    /// There is no built-in roster of that name.
    #[error("there is no built-in roster {0:?}; choose classes, dirichlet or iid, or give a file")]
    UnknownBuiltin(String),
}

/// What one expert is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// All training images of some classes.
    Classes {
        /// Class numbers.
        classes: Vec<u8>,
    },
    /// One part of the training images, each class divided by a Dirichlet draw.
    Dirichlet {
        /// Concentration: small means specialists.
        alpha: f64,
        /// Which part, from 0.
        part: u32,
        /// How many parts.
        parts: u32,
    },
    /// A random shard; shards of one seed do not overlap.
    Iid {
        /// Images of a shard.
        examples: u32,
        /// Which shard, from 0.
        part: u32,
    },
    /// Large random parameters, never trained; it claims to know everything.
    Noise,
    /// All training images: the dense comparison.
    All,
}

impl Kind {
    /// Its name in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Classes { .. } => "classes",
            Self::Dirichlet { .. } => "dirichlet",
            Self::Iid { .. } => "iid",
            Self::Noise => "noise",
            Self::All => "all",
        }
    }
}

/// One expert of a roster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique in the roster: `a-z`, `0-9`, `-`.
    pub name: String,
    /// What it is trained on.
    pub kind: Kind,
    /// Seed of its first parameters and the order of its images.
    pub seed: u64,
    /// Seed that all entries share: how data is divided among them.
    pub split_seed: u64,
}

/// Experts of one subnet.
#[derive(Debug, Clone, PartialEq)]
pub struct Roster {
    /// Name of the subnet.
    pub subnet: String,
    /// The experts, in order.
    pub experts: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoster {
    subnet: String,
    #[serde(default = "default_seed")]
    seed: u64,
    #[serde(rename = "expert")]
    experts: Vec<FileEntry>,
}

fn default_seed() -> u64 {
    7
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    kind: String,
    seed: Option<u64>,
    classes: Option<Vec<ClassName>>,
    alpha: Option<f64>,
    part: Option<u32>,
    parts: Option<u32>,
    examples: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ClassName {
    Number(u8),
    Label(String),
}

impl Roster {
    /// Reads a roster; every mistake is named in a sentence.
    pub fn from_toml(text: &str, subnet: &Subnet) -> Result<Self, RosterError> {
        let invalid = |why: String| Err(RosterError::Invalid(why));
        if text.len() > MAX_ROSTER_BYTES {
            return invalid(format!("the roster has {} bytes, at most {MAX_ROSTER_BYTES} are allowed", text.len()));
        }
        let file: FileRoster = toml::from_str(text)?;
        if file.subnet != subnet.name().as_str() {
            return invalid(format!("the roster is for subnet {:?}, not for {}", file.subnet, subnet.name()));
        }
        let of_kind = |kind: &str| file.experts.iter().filter(|e| e.kind == kind).count() as u32;
        let dirichlets = of_kind("dirichlet");
        let (mut next_dirichlet, mut next_iid) = (0, 0);
        let mut experts = Vec::new();
        for (index, entry) in file.experts.iter().enumerate() {
            entry.refuse_foreign_fields()?;
            let name = &entry.name;
            let kind = match entry.kind.as_str() {
                "classes" => Kind::Classes { classes: entry.class_numbers(subnet)? },
                "dirichlet" => {
                    let part = entry.part.unwrap_or(next_dirichlet);
                    next_dirichlet = part.saturating_add(1);
                    Kind::Dirichlet {
                        alpha: entry.alpha.unwrap_or(0.3),
                        part,
                        parts: entry.parts.unwrap_or(dirichlets),
                    }
                }
                "iid" => {
                    let part = entry.part.unwrap_or(next_iid);
                    next_iid = part.saturating_add(1);
                    Kind::Iid { examples: entry.examples.unwrap_or(300), part }
                }
                "noise" => Kind::Noise,
                "all" => Kind::All,
                other => {
                    return invalid(format!(
                        "expert {name:?} has kind {other:?}; known kinds are classes, dirichlet, iid, noise and all"
                    ));
                }
            };
            let seed = entry.seed.unwrap_or_else(|| file.seed.wrapping_mul(1000).wrapping_add(index as u64));
            experts.push(Entry { name: name.clone(), kind, seed, split_seed: file.seed });
        }
        let roster = Self { subnet: file.subnet, experts };
        roster.validate(subnet)?;
        Ok(roster)
    }

    /// A built-in roster: `classes`, `dirichlet` (the default) or `iid`, with `experts` experts (8 is usual).
    pub fn builtin(name: &str, experts: usize) -> Result<Self, RosterError> {
        builtin::roster(name, experts)
    }

    /// Adds an expert with large random parameters that claims to know everything.
    pub fn with_noise(mut self, name: &str) -> Self {
        let seed = 900 + self.experts.len() as u64;
        self.experts.push(Entry { name: name.to_owned(), kind: Kind::Noise, seed, split_seed: 0 });
        self
    }

    /// Checks names, counts and numbers.
    pub fn validate(&self, subnet: &Subnet) -> Result<(), RosterError> {
        let invalid = |why: String| Err(RosterError::Invalid(why));
        if self.experts.is_empty() || self.experts.len() > MAX_EXPERTS {
            return invalid(format!("a roster has 1 to {MAX_EXPERTS} experts, this one has {}", self.experts.len()));
        }
        for (index, entry) in self.experts.iter().enumerate() {
            let name = &entry.name;
            let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !(1..=32).contains(&name.len()) || !clean {
                return invalid(format!("expert name {name:?} must be 1 to 32 characters of a-z, 0-9 and '-'"));
            }
            if self.experts[..index].iter().any(|other| other.name == *name) {
                return invalid(format!("two experts are called {name:?}"));
            }
            partition::check(&entry.kind, subnet)
                .map_err(|why| RosterError::Invalid(format!("expert {name:?}: {why}")))?;
        }
        Ok(())
    }
}

impl Entry {
    /// The dense comparison: one expert for all training images.
    pub fn dense() -> Self {
        Self { name: "dense".to_owned(), kind: Kind::All, seed: 1, split_seed: 0 }
    }

    /// Indices into the subnet's training split that this expert is trained on (for noise: that it claims).
    pub fn examples(&self, subnet: &Subnet) -> Result<Vec<usize>, PartitionError> {
        partition::examples(&self.kind, self.split_seed, subnet)
    }
}

impl FileEntry {
    fn refuse_foreign_fields(&self) -> Result<(), RosterError> {
        let allowed: &[&str] = match self.kind.as_str() {
            "classes" => &["classes"],
            "dirichlet" => &["alpha", "part", "parts"],
            "iid" => &["examples", "part"],
            _ => &[],
        };
        let given = [
            ("classes", self.classes.is_some()),
            ("alpha", self.alpha.is_some()),
            ("part", self.part.is_some()),
            ("parts", self.parts.is_some()),
            ("examples", self.examples.is_some()),
        ];
        match given.iter().find(|(field, given)| *given && !allowed.contains(field)) {
            Some((field, _)) => Err(RosterError::Invalid(format!(
                "expert {:?} of kind {:?} has no use for `{field}`",
                self.name, self.kind
            ))),
            None => Ok(()),
        }
    }

    fn class_numbers(&self, subnet: &Subnet) -> Result<Vec<u8>, RosterError> {
        let invalid = |why: String| RosterError::Invalid(format!("expert {:?}: {why}", self.name));
        let named = self.classes.as_deref().ok_or_else(|| invalid("kind classes needs a list `classes`".to_owned()))?;
        named
            .iter()
            .map(|class| match class {
                ClassName::Number(number) => Ok(*number),
                ClassName::Label(label) => {
                    subnet.labels().iter().position(|l| l == label).map(|index| index as u8).ok_or_else(|| {
                        invalid(format!("no class is called {label:?}; classes are {}", subnet.labels().join(", ")))
                    })
                }
            })
            .collect()
    }
}
