//! The labelled items of a subnet, and what experts answered to those they are probed with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::config::{Labelled, Policy, SubnetView};
use crate::dispatch::inputs::unit_values;
use crate::expert::{ExpertKey, Listed};
use crate::gate::drift::Expected;
use crate::gate::prior::claim;
use crate::gate::store::KeptRows;
use crate::gate::{Clusters, ExpertProbes, ProbeSet};

/// Probabilities kept per expert; with many classes fewer items are probed.
const MAX_CELLS: usize = 1 << 20;
/// Probes of the same class that say what is to be expected of an answer.
const NEIGHBOURS: usize = 16;
/// New answers without which those kept over a restart are not confirmed.
const ENOUGH: usize = 8;
/// Mean squared Hellinger distance up to which new answers confirm those kept over a restart: the same checkpoint on
/// another backend rounds differently, no more.
const CONFIRMED: f32 = 0.01;

type Rows = Vec<Option<Arc<[f32]>>>;

/// The labelled items of a subnet, cut into two parts that never meet: three quarters to probe with, a quarter to score with.
pub struct Probes {
    pub(super) set: Arc<ProbeSet>,
    pub(super) items: Vec<Labelled>,
    /// Places of the items of each class.
    classes: Vec<Vec<usize>>,
    scoring: Vec<Labelled>,
    rows: Mutex<Answers>,
    clusters: Mutex<Arc<Clusters>>,
}

#[derive(Default)]
struct Answers {
    /// Of experts that are here.
    live: HashMap<ExpertKey, Rows>,
    /// Of experts not met yet since the start.
    kept: HashMap<ExpertKey, Rows>,
    /// Those whose kept answers are not confirmed yet.
    unconfirmed: HashMap<ExpertKey, Rows>,
}

impl Probes {
    /// Cuts the validation items of `view` by `seed`.
    #[must_use]
    pub fn new(view: &SubnetView, policy: &Policy, seed: u64) -> Self {
        let mut items = view.validation.clone();
        items.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let scoring = items.split_off(items.len().div_ceil(4) * 3);
        let classes = view.schema.classes().len();
        items.truncate(policy.probe_items.min((MAX_CELLS / classes.max(1)).max(1)));
        let features = items.iter().map(|item| {
            let values = unit_values(&view.schema, item.input.clone());
            view.feature_map.apply(&values).unwrap_or_default()
        });
        let set =
            ProbeSet { features: features.collect(), labels: items.iter().map(|item| item.class).collect(), classes };
        let of_class = |class: usize| (0..items.len()).filter(|&item| items[item].class == class).collect();
        Self {
            classes: (0..classes).map(of_class).collect(),
            set: Arc::new(set),
            items,
            scoring,
            rows: Mutex::default(),
            clusters: Mutex::default(),
        }
    }

    /// Number of items every expert is probed with.
    #[must_use]
    pub fn goal(&self) -> usize {
        self.items.len()
    }

    /// Labelled items for scoring.
    #[must_use]
    pub fn scoring(&self) -> &[Labelled] {
        &self.scoring
    }

    /// Items `key` has answered.
    #[must_use]
    pub fn answered(&self, key: &ExpertKey) -> usize {
        self.with(|rows| rows.live.get(key).map_or(0, |rows| rows.iter().filter(|row| row.is_some()).count()))
    }

    /// Whether two experts were measured to answer alike; an expert is like itself.
    #[must_use]
    pub fn alike(&self, a: &ExpertKey, b: &ExpertKey) -> bool {
        a == b || self.clusters().alike(a, b)
    }

    /// The clusters as measured last.
    #[must_use]
    pub fn clusters(&self) -> Arc<Clusters> {
        Arc::clone(&self.clusters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the clusters.
    pub fn set_clusters(&self, clusters: Clusters) {
        *self.clusters.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(clusters);
    }

    /// The probe items of class `label` that are nearest to `features`.
    #[must_use]
    pub fn neighbours(&self, features: &[f32], label: usize) -> Vec<usize> {
        let Some(items) = self.classes.get(label) else { return Vec::new() };
        let apart =
            |item: usize| -> f32 { self.set.features[item].iter().zip(features).map(|(a, b)| (a - b) * (a - b)).sum() };
        let mut near: Vec<(f32, usize)> = items.iter().map(|&item| (apart(item), item)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(NEIGHBOURS);
        near.into_iter().map(|(_, item)| item).collect()
    }

    /// What the answers of `key` to the probes `near` let expect of its answer to an input like these.
    #[must_use]
    pub fn expected(&self, key: &ExpertKey, near: &[usize]) -> Option<Expected> {
        let rights: Vec<f32> = self.with(|rows| {
            let Some(rows) = rows.live.get(key) else { return Vec::new() };
            let right = |&item: &usize| rows.get(item)?.as_ref()?.get(self.set.labels[item]).copied();
            near.iter().filter_map(right).collect()
        });
        Expected::of(&rights)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Answers) -> T) -> T {
        act(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what `key` answered to `items`. Whether that contradicts what was kept of it over a restart: then all of
    /// that is dropped, and only the new answers stand.
    pub(super) fn store(&self, key: ExpertKey, items: &[usize], answers: Vec<Vec<f32>>) -> bool {
        self.with(|all| {
            // A trial of one item confirms nothing.
            let enough = items.len() >= ENOUGH.min(self.items.len());
            let kept = if enough { all.unconfirmed.remove(&key) } else { None };
            let contradicted = kept.is_some_and(|kept| {
                let both = items.iter().zip(&answers).filter_map(|(&item, new)| Some((kept.get(item)?.as_ref()?, new)));
                let apart: Vec<f32> = both.map(|(old, new)| hellinger(old, new)).collect();
                !apart.is_empty() && apart.iter().sum::<f32>() / apart.len() as f32 > CONFIRMED
            });
            let rows = all.live.entry(key).or_insert_with(|| vec![None; self.items.len()]);
            if contradicted {
                rows.fill(None);
            }
            for (&item, answer) in items.iter().zip(answers) {
                rows[item] = Some(answer.into());
            }
            contradicted
        })
    }

    /// Puts what was kept of `key` over a restart in the place of its answers, to be confirmed by its next ones. Whether
    /// there was something.
    pub(super) fn adopt(&self, key: &ExpertKey) -> bool {
        self.with(|all| {
            let Some(rows) = all.kept.remove(key) else { return false };
            all.unconfirmed.insert(*key, rows.clone());
            all.live.insert(*key, rows);
            true
        })
    }

    /// Forgets the answers of those that `keep` does not name; those kept over a restart wait for their expert.
    pub(super) fn retain(&self, keep: impl Fn(&ExpertKey) -> bool) {
        self.with(|all| {
            all.live.retain(|key, _| keep(key));
            all.unconfirmed.retain(|key, _| keep(key));
        });
    }

    /// A hash of every probe item, in their order.
    #[must_use]
    pub fn item_hashes(&self) -> Vec<u64> {
        let hash = |item: &Labelled| {
            let hash = blake3::hash(&item.input);
            hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        self.items.iter().map(hash).collect()
    }

    /// Every expert's answers, to be kept over a restart.
    #[must_use]
    pub fn keep(&self) -> HashMap<ExpertKey, KeptRows> {
        let listed = |rows: &Rows| {
            let answered = (0..).zip(rows).filter_map(|(item, row)| Some((item, Arc::clone(row.as_ref()?))));
            answered.collect::<KeptRows>()
        };
        self.with(|all| all.kept.iter().chain(&all.live).map(|(key, rows)| (*key, listed(rows))).collect())
    }

    /// Puts back answers to items named by hashes, as far as these items are among the probes now.
    pub fn restore(&self, items: &[u64], experts: impl IntoIterator<Item = (ExpertKey, KeptRows)>) {
        // The same input may be there twice.
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, hash) in self.item_hashes().into_iter().enumerate() {
            places.entry(hash).or_default().push(at);
        }
        let of = |item: u32| items.get(item as usize).and_then(|hash| places.get(hash)).map_or(&[][..], Vec::as_slice);
        let placed = experts.into_iter().map(|(key, answered)| {
            let mut rows: Rows = vec![None; self.items.len()];
            for (item, row) in answered {
                if row.len() == self.set.classes {
                    of(item).iter().for_each(|&at| rows[at] = Some(Arc::clone(&row)));
                }
            }
            (key, rows)
        });
        let placed: Vec<(ExpertKey, Rows)> = placed.filter(|(_, rows)| rows.iter().any(Option::is_some)).collect();
        self.with(|all| all.kept.extend(placed));
    }

    /// What experts of `listed` answered, ready to be fitted on.
    pub(super) fn for_fit(&self, listed: &[Arc<Listed>]) -> Vec<ExpertProbes> {
        self.with(|all| {
            let answered = listed.iter().filter_map(|listed| {
                let rows = all.live.get(&listed.key)?.clone();
                Some(ExpertProbes { key: listed.key, centroids: listed.descriptor.centroids.clone(), rows })
            });
            answered.collect()
        })
    }

    /// In which order an expert is asked: by chance, weighted by its own claim (Efraimidis and Spirakis' keys u^(1/κ)).
    pub(super) fn order(&self, listed: &Listed, temperature: f32, seed: u64) -> Vec<usize> {
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(&listed.key.peer.0).update(&listed.key.checkpoint.0);
        let mut rng = ChaCha8Rng::from_seed(*hash.finalize().as_bytes());
        let mut keyed: Vec<(f32, usize)> = (self.set.features.iter().enumerate())
            .map(|(item, features)| {
                let kappa = claim(&listed.descriptor.centroids, features, temperature).max(1e-6);
                (rng.random_range(f32::MIN_POSITIVE..1.0).ln() / kappa, item)
            })
            .collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}

/// Squared Hellinger distance of two distributions; 1 for different lengths.
fn hellinger(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 1.0;
    }
    let overlap: f32 = a.iter().zip(b).map(|(a, b)| (a * b).max(0.0).sqrt()).sum();
    (1.0 - overlap).max(0.0)
}
