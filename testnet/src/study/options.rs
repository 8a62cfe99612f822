//! What a study measures, read from a few words and checked before anything starts.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The rosters of a full study.
pub const ROSTERS: [&str; 4] = ["dirichlet", "classes", "iid", "transforms"];
/// Everything a dishonest expert may be.
pub const KINDS: [&str; 8] = ["noise", "constant", "collude", "copy", "sleeper", "uniform", "slow", "crash"];
/// Most liars beside the honest experts.
pub const MOST_LIARS: usize = 6;

/// What to measure.
#[derive(Debug, Clone)]
pub struct StudyOptions {
    /// Folder of the report and of the finished runs.
    pub out: PathBuf,
    /// Folder of trained checkpoints, kept for the next study.
    pub checkpoints: PathBuf,
    /// Folder of the mesh that is running.
    pub mesh: PathBuf,
    /// Rosters of the collective part.
    pub rosters: Vec<String>,
    /// Seeds of the collective part: 1 to this number.
    pub seeds: u64,
    /// Experts per request, one pass over the test items each.
    pub ks: Vec<usize>,
    /// Test items; all when `None`.
    pub items: Option<usize>,
    /// Experts of a roster.
    pub experts: usize,
    /// Whether to train the dense rival of the size of all experts together, which takes a while.
    pub large_rival: bool,
    /// Time a mesh routes labelled items of its own before it is measured.
    pub warm_up: Duration,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// The stress part.
    pub stress: Stress,
    /// Epochs of a stress run.
    pub epochs: u64,
    /// How long a sleeper is honest: longer than a mesh needs to start on most machines.
    pub awake_after: Duration,
    /// Blocks per epoch of a stress run.
    pub tempo: u16,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Requests per second while a stress run lasts.
    pub rate: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Whether this is the short version.
    pub quick: bool,
}

impl StudyOptions {
    /// The full study.
    #[must_use]
    pub fn full(out: PathBuf, checkpoints: PathBuf, mesh: PathBuf) -> Self {
        Self {
            out,
            checkpoints,
            mesh,
            rosters: ROSTERS.map(str::to_owned).to_vec(),
            seeds: 5,
            ks: vec![1, 2, 3, 4, 8],
            items: None,
            experts: 8,
            large_rival: true,
            warm_up: Duration::from_secs(15),
            concurrency: 8,
            stress: Stress::full(),
            epochs: 6,
            awake_after: Duration::from_secs(25),
            tempo: 20,
            block_time: Duration::from_millis(250),
            rate: 60.0,
            resamples: 1000,
            quick: false,
        }
    }

    /// About a minute on two cores: two rosters, one seed, a part of the test items, two attacks with short epochs.
    #[must_use]
    pub fn quick(out: PathBuf, checkpoints: PathBuf, mesh: PathBuf) -> Self {
        Self {
            rosters: vec!["dirichlet".to_owned(), "iid".to_owned()],
            seeds: 1,
            items: Some(500),
            large_rival: false,
            warm_up: Duration::from_secs(2),
            stress: Stress::quick(),
            epochs: 5,
            awake_after: Duration::from_secs(12),
            tempo: 15,
            block_time: Duration::from_millis(200),
            rate: 50.0,
            quick: true,
            ..Self::full(out, checkpoints, mesh)
        }
    }

    /// Refuses what cannot be measured, saying what to change.
    ///
    /// # Errors
    /// When a list is empty, a number is out of its bounds, or a roster or kind is unknown.
    pub fn validate(&self) -> Result<()> {
        ensure!((1..=50).contains(&self.seeds), "--seeds must be 1 to 50, not {}", self.seeds);
        ensure!(!self.ks.is_empty() && self.ks.iter().all(|k| (1..=8).contains(k)), "--k takes numbers from 1 to 8");
        ensure!(self.items.is_none_or(|items| items >= 20), "--items must be at least 20");
        for roster in &self.rosters {
            ensure!(
                ROSTERS.contains(&roster.as_str()),
                "{roster:?} is no roster of the study; choose among {}",
                ROSTERS.join(", ")
            );
        }
        ensure!(
            !self.rosters.is_empty() || !self.stress.is_empty(),
            "nothing to measure: name a roster or a stress kind"
        );
        Ok(())
    }

    /// The k whose figures stand for the collective: 4, which a router uses by default, or else the largest.
    #[must_use]
    pub fn main_k(&self) -> usize {
        main_k(&self.ks)
    }
}

/// 4, which a router uses by default, or else the largest; 0 when there is none.
#[must_use]
pub fn main_k(ks: &[usize]) -> usize {
    if ks.contains(&4) { 4 } else { ks.iter().copied().max().unwrap_or(0) }
}

/// The stress part: which attacks, how many attackers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stress {
    /// Attacks, each a kind and the number of attackers. 0 attackers of kind `honest` is the mesh without any.
    pub attacks: Vec<Attack>,
    /// Whether to clone an expert.
    pub clones: bool,
    /// Whether to freeze experts.
    pub frozen: bool,
}

/// So many dishonest experts of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attack {
    /// The kind, as `glia join --behave` takes it; `honest` for the mesh without liars.
    pub kind: String,
    /// How many.
    pub count: usize,
}

impl Attack {
    /// The mesh without liars.
    #[must_use]
    pub fn none() -> Self {
        Self { kind: "honest".to_owned(), count: 0 }
    }
}

impl Stress {
    /// Every kind with 2, 4 and 6 liars, one mesh without any, clones, frozen experts.
    #[must_use]
    pub fn full() -> Self {
        Self { attacks: attacks(&KINDS, &[0, 2, 4, 6]), clones: true, frozen: true }
    }

    /// 6 colluding liars, 2 sleepers; the meshes of the collective part stand for the one without liars.
    #[must_use]
    pub fn quick() -> Self {
        let attack = |kind: &str, count| Attack { kind: kind.to_owned(), count };
        Self { attacks: vec![attack("collude", 6), attack("sleeper", 2)], clones: false, frozen: false }
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attacks.is_empty() && !self.clones && !self.frozen
    }
}

fn attacks(kinds: &[&str], counts: &[usize]) -> Vec<Attack> {
    let mut all = Vec::new();
    if counts.contains(&0) {
        all.push(Attack::none());
    }
    for kind in kinds {
        let some = counts.iter().filter(|count| **count > 0);
        all.extend(some.map(|&count| Attack { kind: (*kind).to_owned(), count }));
    }
    all
}

impl std::str::FromStr for Stress {
    type Err = anyhow::Error;

    /// `none`, `all`, or KINDS[/COUNTS]: `collude,sleeper/2,6`, `clones,frozen`, `noise/0,3`. Without counts 0, 2, 4, 6.
    fn from_str(text: &str) -> Result<Self> {
        let (kinds, counts) = text.split_once('/').unwrap_or((text, "0,2,4,6"));
        let counts: Vec<usize> = counts
            .split(',')
            .map(|count| count.trim().parse().with_context(|| format!("{count:?} is no number of liars")))
            .collect::<Result<_>>()?;
        ensure!(counts.iter().all(|count| *count <= MOST_LIARS), "at most {MOST_LIARS} liars can be started");
        let (mut named, mut stress): (Vec<&str>, Self) = (Vec::new(), Self::default());
        for kind in kinds.split(',').map(str::trim) {
            match kind {
                "none" => {}
                "all" => {
                    named.extend(KINDS);
                    (stress.clones, stress.frozen) = (true, true);
                }
                "clones" => stress.clones = true,
                "frozen" => stress.frozen = true,
                kind => match KINDS.iter().find(|known| **known == kind) {
                    Some(known) => named.push(known),
                    None => bail!(
                        "{kind:?} is no stress kind; choose among {}, clones, frozen, all, none",
                        KINDS.join(", ")
                    ),
                },
            }
        }
        named.dedup();
        stress.attacks = if named.is_empty() { Vec::new() } else { attacks(&named, &counts) };
        Ok(stress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_without_liars_is_shared_by_all_kinds() {
        let full = Stress::full();
        assert_eq!(full.attacks.len(), 1 + 8 * 3);
        assert_eq!(full.attacks.iter().filter(|attack| attack.count == 0).count(), 1);
        assert_eq!("all".parse::<Stress>().unwrap(), full);
    }

    #[test]
    fn a_few_words_choose_the_stress() {
        let some: Stress = "collude,sleeper/2,6".parse().unwrap();
        let named: Vec<String> = some.attacks.iter().map(|a| format!("{}-{}", a.kind, a.count)).collect();
        assert_eq!(named, ["collude-2", "collude-6", "sleeper-2", "sleeper-6"]);
        let extra: Stress = "clones,frozen".parse().unwrap();
        assert!(extra.clones && extra.frozen && extra.attacks.is_empty());
        assert!("none".parse::<Stress>().unwrap().is_empty());
        assert!("lie".parse::<Stress>().unwrap_err().to_string().contains("collude"));
        assert!("noise/7".parse::<Stress>().is_err() && "noise/x".parse::<Stress>().is_err());
    }

    #[test]
    fn impossible_wishes_are_refused_before_anything_starts() {
        let folder = PathBuf::from("x");
        let good = StudyOptions::quick(folder.clone(), folder.clone(), folder);
        good.validate().unwrap();
        assert_eq!(good.main_k(), 4);
        let bad = |change: fn(&mut StudyOptions)| {
            let mut options = good.clone();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert!(bad(|o| o.seeds = 0).contains("--seeds"));
        assert!(bad(|o| o.ks = vec![9]).contains("--k"));
        assert!(bad(|o| o.items = Some(3)).contains("--items"));
        assert!(bad(|o| o.rosters = vec!["zipf".into()]).contains("transforms"));
    }
}
