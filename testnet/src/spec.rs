//! What a testnet shall be: its name, its folder, its processes and the pace of its chain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use glia_protocol::{ContentHash, NetworkId, SubnetName};

use crate::adversary::Behaviour;

/// One expert process to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpertSpec {
    /// Its name: file names and tables use it (`a-z`, `0-9`, `-`).
    pub name: String,
    /// The checkpoint it serves.
    pub checkpoint: PathBuf,
    /// How it misbehaves; honest when `None`.
    pub behave: Option<Behaviour>,
}

impl ExpertSpec {
    /// An honest expert.
    #[must_use]
    pub fn honest(name: &str, checkpoint: &Path) -> Self {
        Self { name: name.to_owned(), checkpoint: checkpoint.to_owned(), behave: None }
    }

    /// A liar.
    #[must_use]
    pub fn liar(name: &str, checkpoint: &Path, behave: Behaviour) -> Self {
        Self { behave: Some(behave), ..Self::honest(name, checkpoint) }
    }
}

/// How long the processes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the process that started them: each ends when its standard input closes.
    WithParent,
    /// Until `down`.
    Detached,
}

/// Everything needed to start a testnet.
#[derive(Debug, Clone)]
pub struct TestnetSpec {
    /// Name for people and of the default folder.
    pub name: String,
    /// Folder of state, logs and keys.
    pub dir: PathBuf,
    /// The `glia` program to spawn.
    pub program: PathBuf,
    /// Subnet the experts serve.
    pub subnet: SubnetName,
    /// Its number on chain.
    pub netuid: u16,
    /// Experts, each a process.
    pub experts: Vec<ExpertSpec>,
    /// Router processes.
    pub routers: usize,
    /// Seed of the routers' random choices.
    pub router_seed: u64,
    /// Time between two blocks.
    pub block_time: Duration,
    /// Blocks between two epochs.
    pub tempo: u16,
    /// Network id; derived from the folder, so that testnets on one machine never mix.
    pub network: NetworkId,
    /// How long the processes live.
    pub lifetime: Lifetime,
    /// Forget keys, chain and logs of an earlier run first.
    pub fresh: bool,
    /// Compute device the experts are asked for: `auto`, `cpu` or `wgpu`.
    pub device: String,
    /// How many experts and routers start at the same time.
    pub parallel: usize,
    /// How long one process may take to be ready.
    pub ready_within: Duration,
    /// How long the routers may take to find and probe every expert.
    pub probed_within: Duration,
}

impl TestnetSpec {
    /// A spec with one router, blocks of 250 ms and an epoch every 20 blocks; add experts to it.
    ///
    /// # Errors
    /// When the name is none, or `dir` cannot be made absolute.
    pub fn new(name: &str, dir: &Path, program: &Path) -> Result<Self> {
        check_name("a testnet name", name)?;
        let dir = std::path::absolute(dir).with_context(|| format!("cannot resolve the folder {}", dir.display()))?;
        Ok(Self {
            network: network_of(&dir)?,
            name: name.to_owned(),
            dir,
            program: program.to_owned(),
            subnet: "vision".parse()?,
            netuid: 1,
            experts: Vec::new(),
            routers: 1,
            router_seed: 42,
            block_time: Duration::from_millis(250),
            tempo: 20,
            lifetime: Lifetime::WithParent,
            fresh: false,
            device: "auto".to_owned(),
            parallel: 4,
            ready_within: Duration::from_secs(60),
            probed_within: Duration::from_secs(60),
        })
    }

    /// Refuses a spec that cannot run, saying what to change.
    ///
    /// # Errors
    /// When it has no expert or router, names clash, a checkpoint or the program is missing, or the pace is impossible.
    pub fn validate(&self) -> Result<()> {
        ensure!(!self.experts.is_empty(), "a testnet needs at least one expert");
        ensure!(self.experts.len() <= 200, "{} experts: one machine takes at most 200", self.experts.len());
        ensure!((1..=20).contains(&self.routers), "{} routers: 1 to 20 are possible", self.routers);
        ensure!(self.tempo > 0, "the tempo must be at least 1 block");
        ensure!(self.block_time >= Duration::from_millis(20), "the block time must be at least 20 ms");
        ensure!(self.parallel > 0, "at least one process must start at a time");
        ensure!(self.program.is_file(), "the program {} does not exist", self.program.display());
        let mut names: Vec<&str> = self.experts.iter().map(|e| e.name.as_str()).collect();
        for expert in &self.experts {
            check_name("an expert name", &expert.name)?;
            let taken = expert.name == "chain" || expert.name == "bootstrap" || expert.name.starts_with("router-");
            ensure!(!taken, "an expert cannot be called {:?}: another process has that name", expert.name);
            ensure!(
                expert.checkpoint.is_file(),
                "checkpoint {} of {} does not exist; make one with `glia train`",
                expert.checkpoint.display(),
                expert.name
            );
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two experts are called {:?}; names must differ", pair[0]);
        }
        Ok(())
    }

    /// Names of the router processes.
    #[must_use]
    pub fn router_names(&self) -> Vec<String> {
        (1..=self.routers).map(|n| format!("router-{n}")).collect()
    }
}

/// The folder of testnet `name`: `$XDG_DATA_HOME/glia/testnets/NAME`, or below `~/.local/share`.
///
/// # Errors
/// When the name is none or there is no home.
pub fn default_dir(name: &str) -> Result<PathBuf> {
    check_name("a testnet name", name)?;
    Ok(data_home()?.join("testnets").join(name))
}

/// Where glia keeps what belongs to the user: `$GLIA_DATA_DIR`, `$XDG_DATA_HOME/glia` or `~/.local/share/glia`.
///
/// # Errors
/// When neither `XDG_DATA_HOME` nor `HOME` is set.
pub fn data_home() -> Result<PathBuf> {
    let set = |key| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("GLIA_DATA_DIR") {
        return Ok(home);
    }
    if let Some(home) = set("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
        return Ok(home.join("glia"));
    }
    let home = set("HOME").context("neither XDG_DATA_HOME nor HOME is set; name a folder with --data-dir")?;
    Ok(home.join(".local/share/glia"))
}

/// `testnet-` and 12 hexadecimal digits of the folder's hash.
fn network_of(dir: &Path) -> Result<NetworkId> {
    let hash = ContentHash::of(dir.as_os_str().as_encoded_bytes()).to_string();
    Ok(format!("testnet-{}", &hash[..12]).parse()?)
}

/// File names are made of names, so only these characters.
fn check_name(what: &str, name: &str) -> Result<()> {
    let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure!(
        clean && (1..=32).contains(&name.len()) && !name.starts_with('-'),
        "{name:?} cannot be {what}: use 1 to 32 characters of a-z, 0-9 and '-'"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_are_two_networks() {
        let one = TestnetSpec::new("a", Path::new("/tmp/one"), Path::new("/bin/sh")).unwrap();
        let two = TestnetSpec::new("a", Path::new("/tmp/two"), Path::new("/bin/sh")).unwrap();
        assert_ne!(one.network, two.network);
        let again = TestnetSpec::new("b", Path::new("/tmp/one"), Path::new("/bin/sh")).unwrap();
        assert_eq!(one.network, again.network);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", "../up", "a/b", "Big", "-x", &"a".repeat(33)] {
            assert!(TestnetSpec::new(name, Path::new("/tmp/x"), Path::new("/bin/sh")).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_spec_that_cannot_run_says_why() {
        let mut spec = TestnetSpec::new("a", Path::new("/tmp/x"), Path::new("/bin/sh")).unwrap();
        assert!(spec.validate().unwrap_err().to_string().contains("at least one expert"));
        let expert = |name: &str| ExpertSpec::honest(name, Path::new("/bin/sh"));
        spec.experts = vec![expert("one"), expert("one")];
        assert!(spec.validate().unwrap_err().to_string().contains("two experts are called \"one\""));
        spec.experts = vec![expert("router-1")];
        assert!(spec.validate().unwrap_err().to_string().contains("another process"));
        spec.experts = vec![ExpertSpec::honest("one", Path::new("/nowhere"))];
        assert!(spec.validate().unwrap_err().to_string().contains("glia train"));
    }
}
