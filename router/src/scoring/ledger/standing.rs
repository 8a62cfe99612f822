//! What the ledger holds of one hotkey, of one weight, of one row.

use glia_protocol::Hotkey;
use serde::{Deserialize, Serialize};

use crate::scoring::share::{Income, Share};

/// Power to which credibility is raised: half of it is worth less than a fifth.
const CREDIBILITY_POWER: f64 = 2.5;

/// What an epoch's figures rest on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Labels, of the validation split or of applications.
    #[default]
    Labels,
    /// No labels: how experts agreed with each other.
    Agreement,
}

/// Long-term standing of one hotkey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Name for people.
    pub name: String,
    /// Average usefulness per item, nats; may be negative.
    pub ema: f64,
    /// Usefulness in the last epoch.
    pub last: f64,
    /// Average before the last epoch.
    pub before: f64,
    /// Items it was scored on in the last epoch.
    pub scored: u64,
    /// Labelled items in the last epoch.
    pub items: u64,
    /// Calls without an answer in the last epoch.
    pub failures: u64,
    /// Share of the last epoch in which it was there.
    pub availability: f64,
    /// Epochs that entered the average.
    pub epochs: u64,
    /// What the last epoch's figures rest on.
    #[serde(default)]
    pub basis: Basis,
    /// Share of the last epoch in the average.
    #[serde(default)]
    pub rate: f64,
    /// Mean Shapley value on the items it was scored on in the last epoch, nats.
    #[serde(default)]
    pub shapley_mean: f64,
    /// The same per item of the epoch, corrected for how rarely it was asked, before anything is shared.
    #[serde(default)]
    pub corrected: f64,
    /// Its parts of clusters of experts that answer alike, in the last epoch.
    #[serde(default)]
    pub shares: Vec<Share>,
}

impl Standing {
    /// Of somebody seen for the first time.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ema: 0.0,
            last: 0.0,
            before: 0.0,
            scored: 0,
            items: 0,
            failures: 0,
            availability: 0.0,
            epochs: 0,
            basis: Basis::Labels,
            rate: 0.0,
            shapley_mean: 0.0,
            corrected: 0.0,
            shares: Vec::new(),
        }
    }

    /// One epoch more, with share `rate`. The first epoch is the average, but one without labels counts less.
    pub(super) fn move_on(&mut self, income: Income, basis: Basis, rate: f64) {
        self.rate = if self.epochs == 0 && basis == Basis::Labels { 1.0 } else { rate };
        self.before = self.ema;
        self.last = income.value();
        self.ema = (1.0 - self.rate) * self.before + self.rate * self.last;
        self.epochs = self.epochs.saturating_add(1);
        self.basis = basis;
        (self.shapley_mean, self.corrected, self.shares) = (income.shapley_mean, income.corrected, income.shares);
    }

    /// What its weight is proportional to: the average, clamped at 0, times `credibility` (0 to 1) to its power, times the
    /// share of the time it was there.
    #[must_use]
    pub fn worth(&self, credibility: f64) -> f64 {
        self.ema.max(0.0) * credibility.clamp(0.0, 1.0).powf(CREDIBILITY_POWER) * self.availability
    }

    /// Everything its weight is made of, but for the row it stands in.
    pub(super) fn terms(&self, credibility: f64) -> Terms {
        Terms {
            basis: self.basis,
            items: self.items,
            scored: self.scored,
            shapley_mean: self.shapley_mean,
            corrected: self.corrected,
            shares: self.shares.clone(),
            last: self.last,
            before: self.before,
            rate: self.rate,
            ema: self.ema,
            credibility: credibility.clamp(0.0, 1.0),
            power: CREDIBILITY_POWER,
            availability: self.availability,
            worth: self.worth(credibility),
            limited: 0.0,
            largest: 0.0,
        }
    }

    /// Why the weight is what it is, in a sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.scored == 0 {
            return format!(
                "answered none of {} labelled items ({} calls failed, there {:.0} % of the time); its average went from {:.4} to {:.4} nats",
                self.items,
                self.failures,
                100.0 * self.availability,
                self.before,
                self.ema
            );
        }
        let verdict = if self.ema > 0.0 { "helped" } else { "did not help" };
        format!(
            "{verdict}: scored on {} of {} labelled items ({} calls failed, there {:.0} % of the time), {:+.4} nats per item this epoch, average {:.4}",
            self.scored,
            self.items,
            self.failures,
            100.0 * self.availability,
            self.last,
            self.ema
        )
    }
}

/// One weight of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightLine {
    /// Its uid.
    pub uid: u16,
    /// Its hotkey.
    pub hotkey: Hotkey58,
    /// Name for people; empty for a uid that is no known expert.
    pub name: String,
    /// What was sent.
    pub weight: u16,
    /// Average usefulness behind it, nats per item.
    pub usefulness_ema: f64,
    /// Items it was scored on in the last epoch.
    pub scored: u64,
    /// Why.
    pub reason: String,
    /// What the weight is the product of; `None` for somebody who only fills the row.
    #[serde(default)]
    pub terms: Option<Terms>,
}

/// Everything a weight was made of, in the order in which it was made. Each line follows from those above it:
///
/// ```text
/// ema     = (1 − rate)·before + rate·last          (the first epoch: rate·last)
/// worth   = max(ema, 0) · credibility^power · availability
/// limited = worth, lowered to the share the subnet allows one uid
/// weight  = round(limited / largest · 65535)
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// What last epoch's figures rest on.
    pub basis: Basis,
    /// Labelled items of the last epoch (unlabelled ones, when agreement decided).
    pub items: u64,
    /// Items it was scored on.
    pub scored: u64,
    /// Mean Shapley value on those, nats.
    pub shapley_mean: f64,
    /// Mean per item of the epoch, corrected by inverse propensity, nats.
    pub corrected: f64,
    /// Its parts of clusters of experts that answer alike; their values sum to `last`.
    pub shares: Vec<Share>,
    /// What it earned in the last epoch, nats per item.
    pub last: f64,
    /// Average before the last epoch.
    pub before: f64,
    /// Share of the last epoch in the average.
    pub rate: f64,
    /// Average.
    pub ema: f64,
    /// What audits found, 0 to 1.
    pub credibility: f64,
    /// Power it is raised to.
    pub power: f64,
    /// Share of the last epoch in which it was there.
    pub availability: f64,
    /// Product of average (0 if negative), credibility to its power, availability.
    pub worth: f64,
    /// The same after the subnet's limit for one uid.
    pub limited: f64,
    /// The largest of the row, which is sent as 65535.
    pub largest: f64,
}

/// A transaction that is in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The block.
    pub block: u64,
    /// Hash of the transaction, 0x…; empty when it was found in storage without its receipt.
    pub extrinsic: String,
}

/// One row as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Subnet on chain.
    pub netuid: u16,
    /// Who signed.
    pub hotkey: Hotkey58,
    /// Uid of the signer.
    pub uid: u16,
    /// Block that holds it; while that is not known, the best block before it was sent.
    pub block: u64,
    /// Hash of the transaction, 0x…; empty when it was found in storage without its receipt.
    pub extrinsic: String,
    /// `version_key` it was sent with.
    pub version_key: u64,
    /// Block of the epoch it was meant for.
    pub for_epoch: u64,
    /// The commit that hid it until it was revealed in `block`; `None` for a row that was set openly.
    #[serde(default)]
    pub commit: Option<Sent>,
    /// The weights, ascending by uid: exactly what was sent.
    pub weights: Vec<WeightLine>,
}

impl Row {
    /// What was sent: `(uid, weight)`, ascending by uid.
    #[must_use]
    pub fn pairs(&self) -> Vec<(u16, u16)> {
        self.weights.iter().map(|line| (line.uid, line.weight)).collect()
    }
}

/// A hotkey that is written as SS58 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hotkey58(pub Hotkey);

impl Serialize for Hotkey58 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hotkey58 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}
