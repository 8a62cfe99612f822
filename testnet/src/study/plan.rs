//! Which runs a study is made of, in what order, and how long they will take.

use std::fmt;
use std::time::Duration;

use super::options::{Attack, StudyOptions};

/// One mesh to start and measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// A roster with a seed at every k.
    Collective {
        /// The roster.
        roster: String,
        /// The seed.
        seed: u64,
    },
    /// Liars, or none.
    Attack(Attack),
    /// An expert and its clones.
    Clones,
    /// Experts that freeze.
    Frozen,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collective { roster, seed } => write!(f, "roster {roster}, seed {seed}"),
            Self::Attack(Attack { count: 0, .. }) => f.write_str("no liars"),
            Self::Attack(Attack { kind, count }) => write!(f, "{count} × {kind} beside honest experts"),
            Self::Clones => f.write_str("one expert and three clones of it"),
            Self::Frozen => f.write_str("a fifth of the experts frozen"),
        }
    }
}

impl Run {
    /// Name of its file.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Collective { roster, seed } => format!("{roster}-{seed}"),
            Self::Attack(Attack { kind, count }) => format!("stress-{kind}-{count}"),
            Self::Clones => "stress-clones".to_owned(),
            Self::Frozen => "stress-frozen".to_owned(),
        }
    }

    /// Everything in the options that it depends on.
    #[must_use]
    pub fn settings(&self, options: &StudyOptions) -> String {
        let all = format!("{self:?} {:?} {} {:?}", options.items, options.experts, options.ks);
        let stress = format!("{:?} {} {} {:?}", options.block_time, options.tempo, options.rate, options.awake_after);
        match self {
            Self::Collective { .. } => {
                format!("{all} {} {:?} {}", options.concurrency, options.warm_up, options.large_rival)
            }
            Self::Attack(_) | Self::Clones => format!("{all} {} {stress} {}", options.concurrency, options.epochs),
            Self::Frozen => format!("{all} {stress} {:?}", options.warm_up),
        }
    }

    /// A first guess of the time it takes, in seconds.
    fn guess(&self, options: &StudyOptions) -> f64 {
        let epochs = options.block_time.as_secs_f64() * f64::from(options.tempo) * (options.epochs as f64 + 2.0);
        match self {
            Self::Collective { .. } => {
                options.warm_up.as_secs_f64()
                    + 12.0
                    + options.items.unwrap_or(1500) as f64 * options.ks.len() as f64 / 800.0
            }
            Self::Attack(Attack { count: 0, .. }) => 8.0 + 2.0 * epochs,
            Self::Attack(Attack { count, .. }) => 8.0 + *count as f64 + epochs,
            Self::Clones => 12.0 + 2.0 * epochs,
            Self::Frozen => 32.0 + options.warm_up.as_secs_f64(),
        }
    }
}

/// The runs of a study: rosters seed by seed, so that an interrupted study has a bit of everything, then the stress.
#[must_use]
pub fn plan(options: &StudyOptions) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in 1..=options.seeds {
        runs.extend(options.rosters.iter().map(|roster| Run::Collective { roster: roster.clone(), seed }));
    }
    let mut attacks = options.stress.attacks.clone();
    if options.stress.clones && !attacks.iter().any(|attack| attack.count == 0) {
        attacks.insert(0, Attack::none());
    }
    runs.extend(attacks.into_iter().map(Run::Attack));
    runs.extend(options.stress.clones.then_some(Run::Clones));
    runs.extend(options.stress.frozen.then_some(Run::Frozen));
    runs
}

/// How long the rest will take, from a guess per run and how far the runs so far were from theirs.
#[derive(Debug)]
pub struct Clock<'a> {
    options: &'a StudyOptions,
    guessed: f64,
    took: f64,
}

impl<'a> Clock<'a> {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(options: &'a StudyOptions) -> Self {
        Self { options, guessed: 0.0, took: 0.0 }
    }

    /// A run took so long.
    pub fn took(&mut self, run: &Run, time: Duration) {
        self.guessed += run.guess(self.options);
        self.took += time.as_secs_f64();
    }

    /// Words about the time that `rest` will take.
    #[must_use]
    pub fn left(&self, rest: &[Run]) -> String {
        // Training, done once, makes the first runs slower than the rest.
        let factor = if self.guessed > 0.0 { (self.took / self.guessed).clamp(0.25, 4.0) } else { 1.0 };
        let seconds = rest.iter().map(|run| run.guess(self.options)).sum::<f64>() * factor;
        match seconds {
            s if s < 90.0 => format!(", about {:.0} s left", (s / 10.0).ceil() * 10.0),
            s => format!(", about {:.0} min left", (s / 60.0).ceil()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn quick() -> StudyOptions {
        StudyOptions::quick(PathBuf::new(), PathBuf::new(), PathBuf::new())
    }

    #[test]
    fn a_quick_study_is_four_meshes() {
        let names: Vec<String> = plan(&quick()).iter().map(Run::name).collect();
        assert_eq!(names, ["dirichlet-1", "iid-1", "stress-collude-6", "stress-sleeper-2"]);
    }

    #[test]
    fn a_full_study_has_every_seed_and_attack_once() {
        let options = StudyOptions::full(PathBuf::new(), PathBuf::new(), PathBuf::new());
        let mut names: Vec<String> = plan(&options).iter().map(Run::name).collect();
        assert_eq!(names.len(), 4 * 5 + 1 + 8 * 3 + 2);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 47);
    }

    #[test]
    fn clones_need_a_mesh_without_liars() {
        let options = StudyOptions { stress: "clones".parse().unwrap(), rosters: Vec::new(), ..quick() };
        let names: Vec<String> = plan(&options).iter().map(Run::name).collect();
        assert_eq!(names, ["stress-honest-0", "stress-clones"]);
    }

    #[test]
    fn other_settings_are_another_run() {
        let (one, run) = (quick(), Run::Attack(Attack { kind: "noise".into(), count: 2 }));
        let two = StudyOptions { tempo: 99, ..one.clone() };
        assert_ne!(run.settings(&one), run.settings(&two));
        let three = StudyOptions { out: PathBuf::from("elsewhere"), resamples: 9, ..one.clone() };
        assert_eq!(run.settings(&one), run.settings(&three), "what does not change the run does not matter");
    }

    #[test]
    fn the_time_left_follows_what_runs_really_took() {
        let options = quick();
        let runs = plan(&options);
        let mut clock = Clock::new(&options);
        let first = clock.left(&runs);
        clock.took(&runs[0], Duration::from_secs(60));
        assert_ne!(clock.left(&runs), first);
        assert!(clock.left(&runs[1..]).contains("min left"));
        clock.took(&runs[1], Duration::from_secs(1_000_000));
        assert!(
            clock.left(&runs[3..]).contains("min left"),
            "one slow run is no measure of all: {}",
            clock.left(&runs)
        );
    }
}
