//! What a router goes on learning from scored traffic: the shared state around [`crate::gate::online`],
//! [`crate::gate::drift`] and [`crate::gate::balance`], and the file it is kept in over restarts.
//!
//! Requests take a snapshot and never wait; canaries and feedback teach.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::expert::{ExpertKey, Listed};
use crate::gate::balance::Balance;
use crate::gate::drift::{Doubt, Drift, ScoredAnswer};
use crate::gate::online::{OnlineGate, Voice};
use crate::gate::prior::claim;
use crate::gate::store::{self, Header, Kept, KeptExpert, KeptRows, MAX_EXPERTS, MAX_FILE};
use crate::pipeline::{Routed, RoutedItem};
use crate::probing::Probes;

/// Labels believed less than this are no evidence against anybody's honesty.
const EVIDENCE: f32 = 0.5;
/// Items of one request that count for the balance, at most.
const LOAD_ITEMS: usize = 16;
/// Experts not seen for this long are not kept, milliseconds.
const OBLIVION_MS: u64 = 7 * 24 * 3600 * 1000;

/// What was learned from traffic, as requests see it.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    online: OnlineGate,
    drift: HashMap<ExpertKey, Drift>,
}

impl Learned {
    /// What is added to the fitted logit of an expert whose probes earned it `trust`.
    #[must_use]
    pub fn shift(&self, key: &ExpertKey, trust: f32, features: &[f32]) -> f32 {
        let correction = self.online.get(key).map_or(0.0, |learned| learned.at(features));
        correction + self.doubt(key).map_or(0.0, |doubt| doubt.trust - trust)
    }

    /// What is held of `key`, if its traffic contradicted its probes.
    #[must_use]
    pub fn doubt(&self, key: &ExpertKey) -> Option<Doubt> {
        self.drift.get(key)?.doubt()
    }

    /// Whether only exploration may call it, for it is worse in traffic than on its probes.
    #[must_use]
    pub fn is_shut_out(&self, key: &ExpertKey) -> bool {
        self.doubt(key).is_some_and(|doubt| doubt.shut_out)
    }

    /// The evidence about `key`.
    #[must_use]
    pub fn evidence(&self, key: &ExpertKey) -> Drift {
        self.drift.get(key).copied().unwrap_or_default()
    }

    /// The corrections.
    #[must_use]
    pub const fn online(&self) -> &OnlineGate {
        &self.online
    }
}

/// Shared by all tasks of one subnet.
pub struct Learning {
    probes: Arc<Probes>,
    /// T of the claimed kernel.
    temperature: f32,
    learned: watch::Sender<Arc<Learned>>,
    /// When an expert was last learned of or kept, milliseconds since the Unix epoch.
    seen: Mutex<HashMap<ExpertKey, u64>>,
    balance: Mutex<Balance>,
}

impl Learning {
    /// Nothing learned yet; what is to be expected of an expert comes from `probes`, its claim has this temperature.
    #[must_use]
    pub fn new(probes: Arc<Probes>, temperature: f32) -> Self {
        Self {
            probes,
            temperature,
            learned: watch::Sender::default(),
            seen: Mutex::default(),
            balance: Mutex::default(),
        }
    }

    /// What is learned so far.
    #[must_use]
    pub fn view(&self) -> Arc<Learned> {
        Arc::clone(&self.learned.borrow())
    }

    /// Learns from an answered request whose labels became known: `weight` says how much they are to be believed, 0..1 (1 for
    /// canaries). From 0.5 on they are also evidence of whether an expert is as good as its probes.
    pub fn learn(&self, routed: &Routed, labels: &[usize], weight: f32) {
        if weight.is_nan() || weight <= 0.0 {
            return;
        }
        let now = crate::directory::wall_ms();
        self.learned.send_modify(|learned| {
            let learned = Arc::make_mut(learned);
            for (item, &label) in routed.items.iter().zip(labels) {
                learned.online.learn(&item.features, &voices(routed, item, label), weight);
                if weight >= EVIDENCE {
                    self.note(learned, routed, item, label);
                }
            }
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(routed.items.iter().flat_map(|item| &item.members).map(|m| (routed.experts[m.expert].key, now)));
        if seen.len() > 2 * MAX_EXPERTS {
            self.forget(&mut seen);
        }
    }

    /// Evidence of drift from one item.
    fn note(&self, learned: &mut Learned, routed: &Routed, item: &RoutedItem, label: usize) {
        let near = self.probes.neighbours(&item.features, label);
        for member in &item.members {
            let listed = &routed.experts[member.expert];
            let answer = ScoredAnswer {
                right: member.given.get(label).copied().unwrap_or(0.0),
                claim: claim(&listed.descriptor.centroids, &item.features, self.temperature),
                expected: self.probes.expected(&listed.key, &near),
                classes: member.given.len(),
            };
            if !learned.drift.contains_key(&listed.key) {
                let others = learned.drift.iter().filter(|(key, _)| key.peer == listed.key.peer);
                let strikes = others.map(|(_, drift)| drift.strikes()).max().unwrap_or(0);
                learned.drift.insert(listed.key, Drift::inherited(strikes));
            }
            let drift = learned.drift.entry(listed.key).or_default();
            let name = &listed.descriptor.name;
            match drift.note(&answer) {
                Some(true) => tracing::warn!(%name, expert = %listed.key, gap = drift.gap(), "worse than its probes"),
                Some(false) => tracing::info!(%name, expert = %listed.key, "as good as its probes again"),
                None => {}
            }
        }
    }

    /// Keeps the half of all experts that was seen last.
    fn forget(&self, seen: &mut HashMap<ExpertKey, u64>) {
        let mut times: Vec<u64> = seen.values().copied().collect();
        times.sort_unstable();
        let oldest = times[times.len() / 2];
        seen.retain(|_, at| *at >= oldest);
        self.learned.send_modify(|learned| {
            let learned = Arc::make_mut(learned);
            learned.online.retain(|key| seen.contains_key(key));
            learned.drift.retain(|key, _| seen.contains_key(key));
        });
        self.balance().retain(|key| seen.contains_key(key));
    }

    /// Selection biases; the guard must not be held across an await.
    pub fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the load of a request of `items` items: per expert how often it ought to have been chosen, and was.
    pub fn used(&self, experts: &[Arc<Listed>], load: &[(f32, f32)], items: usize) {
        // Within one request the balance stands still, so that a large one must not swing it.
        let scale = items.min(LOAD_ITEMS) as f32 / items.max(1) as f32;
        let mut balance = self.balance();
        for (listed, (due, called)) in experts.iter().zip(load) {
            balance.note(listed.key, scale * due, scale * called);
        }
    }

    /// What is to be kept over a restart at `now_ms`; those `here` are seen now.
    #[must_use]
    pub fn keep(&self, here: &[Arc<Listed>], now_ms: u64) -> Kept {
        let mut rows = self.probes.keep();
        let learned = self.view();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(here.iter().filter(|listed| listed.candidate).map(|listed| (listed.key, now_ms)));
        let experts =
            seen.iter().filter(|(_, at)| now_ms.saturating_sub(**at) < OBLIVION_MS).map(|(key, at)| KeptExpert {
                key: *key,
                seen_ms: *at,
                correction: learned.online.get(key).cloned().unwrap_or_default(),
                drift: learned.evidence(key),
                rows: rows.remove(key).unwrap_or_default(),
            });
        let experts = experts.collect();
        Kept { items: self.probes.item_hashes(), experts }
    }

    /// Puts back what [`Self::keep`] gave.
    pub fn restore(&self, kept: Kept) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<(ExpertKey, KeptRows)> = Vec::new();
        self.learned.send_modify(|learned| {
            let learned = Arc::make_mut(learned);
            for expert in kept.experts {
                seen.insert(expert.key, expert.seen_ms);
                learned.online.restore(expert.key, expert.correction);
                learned.drift.insert(expert.key, expert.drift);
                rows.push((expert.key, expert.rows));
            }
        });
        self.probes.restore(&kept.items, rows);
    }
}

fn voices(routed: &Routed, item: &RoutedItem, label: usize) -> Vec<Voice> {
    let voice = |member: &crate::pipeline::Member| Voice {
        key: routed.experts[member.expert].key,
        weight: member.weight,
        right: member.row.get(label).copied().unwrap_or(0.0),
        propensity: member.propensity,
    };
    item.members.iter().map(voice).collect()
}

/// Where the gate of subnet `netuid` is kept.
#[must_use]
pub fn path(folder: &Path, netuid: u16) -> PathBuf {
    folder.join(format!("gate-{netuid}.bin"))
}

/// Reads the file at `path`. What is not this router's past is said in the log and left alone: it begins anew.
#[must_use]
pub fn load(path: &Path, header: &Header) -> Option<Kept> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() <= MAX_FILE as u64 => {}
        Ok(meta) => {
            tracing::warn!(path = %shown, bytes = meta.len(), "the kept gate is too large; it is not read");
            return None;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %shown, %error, "the kept gate cannot be read");
            return None;
        }
    }
    let read = std::fs::read(path).map_err(|error| error.to_string());
    match read.and_then(|bytes| store::decode(header, &bytes).map_err(|error| error.to_string())) {
        Ok(kept) => {
            tracing::info!(path = %shown, experts = kept.experts.len(), "the gate goes on where it was");
            Some(kept)
        }
        Err(why) => {
            tracing::warn!(path = %shown, %why, "the kept gate is not used");
            None
        }
    }
}

/// Writes the file at `path` in one piece: a reader finds the old one or the new one.
///
/// # Errors
/// What the file system says.
pub fn save(path: &Path, header: &Header, kept: &Kept) -> std::io::Result<()> {
    let temporary = path.with_extension("bin.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(&store::encode(header, kept))?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
