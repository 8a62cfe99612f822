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
//! name = "dot"
//! kind = "domains"     # images shown in some domains (subnet vision-transforms)
//! domains = ["inverted", "turned-90"]
//! part = 0             # default 0: which part of them, when several experts share a domain
//! parts = 2            # default 1
//!
//! [[expert]]
//! name = "mallory"
//! kind = "noise"       # large random parameters, never trained: a liar for tests
//! ```
//!
//! The roster's seed (7 when none is given) decides how data is divided and where training starts, nothing else.

mod builtin;
mod partition;

use serde::{Deserialize, Serialize};

use crate::data::{Domain, Split};
use crate::subnet::Subnet;
pub use builtin::{BUILTIN, subnet_of};
pub use partition::{DIRICHLET_MIN, PartitionError};

/// Most experts one roster may have.
pub const MAX_EXPERTS: usize = 256;
/// Seed of a roster when nothing is said.
pub const USUAL_SEED: u64 = 7;
/// Kinds a roster file may name.
pub const KINDS: [&str; 6] = ["classes", "dirichlet", "iid", "domains", "noise", "all"];
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
    #[error("there is no built-in roster {0:?}; choose one of {known}, or give a file", known = BUILTIN.join(", "))]
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
    /// Images shown in some domains of a subnet that has domains.
    Domains {
        /// Positions in [`Subnet::domains`].
        domains: Vec<u8>,
        /// Which part of them, from 0.
        part: u32,
        /// Into how many parts they are divided.
        parts: u32,
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
            Self::Domains { .. } => "domains",
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
    /// Seed of all of it: of the division of the data and, unless an entry has its own, of first parameters.
    pub seed: u64,
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
    USUAL_SEED
}

fn too_long(text: &str) -> RosterError {
    RosterError::Invalid(format!("the roster has {} bytes, at most {MAX_ROSTER_BYTES} are allowed", text.len()))
}

/// Seed of the first parameters of expert `index` of a roster.
fn entry_seed(roster: u64, index: usize) -> u64 {
    roster.wrapping_mul(1000).wrapping_add(index as u64)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    kind: Option<toml::Value>,
    seed: Option<u64>,
    classes: Option<Vec<ClassName>>,
    domains: Option<Vec<String>>,
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
            return Err(too_long(text));
        }
        let file: FileRoster = toml::from_str(text)?;
        if file.subnet != subnet.name().as_str() {
            return invalid(format!("the roster is for subnet {:?}, not for {}", file.subnet, subnet.name()));
        }
        let kinds = file.experts.iter().map(FileEntry::kind).collect::<Result<Vec<_>, _>>()?;
        let dirichlets = kinds.iter().filter(|kind| **kind == "dirichlet").count() as u32;
        let (mut next_dirichlet, mut next_iid) = (0, 0);
        let mut experts = Vec::new();
        for (index, (entry, kind)) in file.experts.iter().zip(kinds).enumerate() {
            entry.refuse_foreign_fields(kind)?;
            let kind = match kind {
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
                "domains" => Kind::Domains {
                    domains: entry.domain_numbers(subnet)?,
                    part: entry.part.unwrap_or(0),
                    parts: entry.parts.unwrap_or(1),
                },
                "noise" => Kind::Noise,
                _ => Kind::All,
            };
            let seed = entry.seed.unwrap_or_else(|| entry_seed(file.seed, index));
            experts.push(Entry { name: entry.name.clone(), kind, seed, split_seed: file.seed });
        }
        let roster = Self { subnet: file.subnet, seed: file.seed, experts };
        roster.validate(subnet)?;
        Ok(roster)
    }

    /// The subnet that a roster file names.
    pub fn subnet_in(text: &str) -> Result<String, RosterError> {
        #[derive(Deserialize)]
        struct Head {
            subnet: String,
        }
        if text.len() > MAX_ROSTER_BYTES {
            return Err(too_long(text));
        }
        Ok(toml::from_str::<Head>(text)?.subnet)
    }

    /// A built-in roster, one of [`BUILTIN`] (`dirichlet` is the default), with `experts` experts (8 is usual).
    pub fn builtin(name: &str, experts: usize) -> Result<Self, RosterError> {
        Self::builtin_seeded(name, experts, USUAL_SEED)
    }

    /// The same with another seed: the data is divided and training started in another way. A study runs over several.
    pub fn builtin_seeded(name: &str, experts: usize, seed: u64) -> Result<Self, RosterError> {
        builtin::roster(name, experts, seed)
    }

    /// Adds an expert with large random parameters that claims to know everything.
    pub fn with_noise(mut self, name: &str) -> Self {
        let seed = 900 + self.experts.len() as u64;
        self.experts.push(Entry { name: name.to_owned(), kind: Kind::Noise, seed, split_seed: 0 });
        self
    }

    /// Checks subnet, names, counts and numbers.
    pub fn validate(&self, subnet: &Subnet) -> Result<(), RosterError> {
        let invalid = |why: String| Err(RosterError::Invalid(why));
        if self.subnet != subnet.name().as_str() {
            return invalid(format!("the roster is for subnet {:?}, not for {}", self.subnet, subnet.name()));
        }
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
    /// The dense comparison of `roster`: one expert for all training images, shown as its experts see them.
    pub fn dense(roster: &Roster) -> Self {
        // Seed 1 for the usual roster. Where images have domains they are dealt by the roster's seed; where they have
        // none the second seed means nothing.
        let split_seed = if roster.subnet == crate::subnet::VISION { 0 } else { roster.seed };
        let seed = roster.seed.wrapping_sub(USUAL_SEED).wrapping_add(1);
        Self { name: "dense".to_owned(), kind: Kind::All, seed, split_seed }
    }

    /// Indices into the subnet's training split that this expert is trained on (for noise: that it claims).
    pub fn examples(&self, subnet: &Subnet) -> Result<Vec<usize>, PartitionError> {
        partition::examples(&self.kind, self.split_seed, subnet)
    }

    /// The images it is trained on, shown as it sees them, and the names of the domains they are shown in (none in a
    /// subnet without domains).
    pub fn data(&self, subnet: &Subnet) -> Result<(Split, Vec<String>), PartitionError> {
        let examples = self.examples(subnet)?;
        let (training, domains) = subnet.training(self.split_seed);
        let mut seen: Vec<u8> = examples.iter().map(|&index| domains[index]).collect();
        seen.sort_unstable();
        seen.dedup();
        let known = subnet.domains();
        let names = seen.iter().filter_map(|&number| known.get(usize::from(number))).map(Domain::to_string);
        let names = if known.len() > 1 { names.collect() } else { Vec::new() };
        Ok((training.select(&examples), names))
    }
}

impl FileEntry {
    /// Its kind, one of [`KINDS`].
    fn kind(&self) -> Result<&'static str, RosterError> {
        let text = self.kind.as_ref().and_then(toml::Value::as_str);
        if let Some(kind) = KINDS.into_iter().find(|known| Some(*known) == text) {
            return Ok(kind);
        }
        let got = match &self.kind {
            None => "no `kind`".to_owned(),
            Some(value) => format!("kind {}", value.to_string().chars().take(64).collect::<String>()),
        };
        Err(RosterError::Invalid(format!("expert {:?} has {got}; known kinds are {}", self.name, KINDS.join(", "))))
    }

    fn refuse_foreign_fields(&self, kind: &str) -> Result<(), RosterError> {
        let allowed: &[&str] = match kind {
            "classes" => &["classes"],
            "dirichlet" => &["alpha", "part", "parts"],
            "iid" => &["examples", "part"],
            "domains" => &["domains", "part", "parts"],
            _ => &[],
        };
        let given = [
            ("classes", self.classes.is_some()),
            ("alpha", self.alpha.is_some()),
            ("part", self.part.is_some()),
            ("parts", self.parts.is_some()),
            ("examples", self.examples.is_some()),
            ("domains", self.domains.is_some()),
        ];
        match given.iter().find(|(field, given)| *given && !allowed.contains(field)) {
            Some((field, _)) => {
                Err(RosterError::Invalid(format!("expert {:?} of kind {kind:?} has no use for `{field}`", self.name)))
            }
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

    fn domain_numbers(&self, subnet: &Subnet) -> Result<Vec<u8>, RosterError> {
        let invalid = |why: String| RosterError::Invalid(format!("expert {:?}: {why}", self.name));
        let named = self.domains.as_deref().ok_or_else(|| invalid("kind domains needs a list `domains`".to_owned()))?;
        let known = subnet.domains();
        let position = |name: &String| known.iter().position(|domain| domain.to_string() == *name);
        let names = || known.iter().map(Domain::to_string).collect::<Vec<_>>().join(", ");
        named
            .iter()
            .map(|name| match position(name) {
                Some(index) => Ok(index as u8),
                None => Err(invalid(format!("{} has no domain {name:?}; its domains are {}", subnet.name(), names()))),
            })
            .collect()
    }
}
