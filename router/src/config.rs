//! What a router is started with: subnets, seams to the network and the chain, and every number that can be tuned.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glia_protocol::feature_map::FeatureMap;
use glia_protocol::schema::TaskSchema;
use glia_protocol::{ContentHash, SubnetName};

use crate::audit::Recompute;
use crate::feedback::FeedbackKeys;

/// A labelled input of the validation split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Raw bytes of one input in the dtype of the schema, row-major.
    pub input: Bytes,
    /// Its class.
    pub class: usize,
}

/// What a router must know of a subnet.
#[derive(Debug, Clone)]
pub struct SubnetView {
    /// Name, part of every address.
    pub name: SubnetName,
    /// Number on chain.
    pub netuid: u16,
    /// Input and output of every expert.
    pub schema: TaskSchema,
    /// φ, pinned by its hash.
    pub feature_map: FeatureMap,
    /// Labelled inputs that are neither trained nor tested on. Three quarters calibrate the gate, the rest scores.
    pub validation: Vec<Labelled>,
}

/// The chain and the key that signs this router's weights.
#[derive(Debug, Clone)]
pub struct ChainAccess {
    /// The chain.
    pub chain: glia_chain_client::Chain,
    /// The hotkey whose uid sets weights.
    pub hotkey: glia_chain_client::Keypair,
}

/// Everything a router starts from.
pub struct RouterConfig {
    /// Subnets it routes in; at least one.
    pub subnets: Vec<SubnetView>,
    /// Handle on the peer-to-peer network.
    pub network: glia_peer::Network,
    /// Chain; without one every expert found is a candidate and no weights are set.
    pub chain: Option<ChainAccess>,
    /// Computes answers again for audits; without it nothing is audited and everybody is credible.
    pub recompute: Option<Arc<dyn Recompute>>,
    /// Who may tell the router what was right; without them nobody.
    pub feedback: Option<FeedbackKeys>,
    /// Where HTTP is served; port 0 takes a free one.
    pub http: SocketAddr,
    /// Folder of the ledger, the audits and their evidence.
    pub data_dir: PathBuf,
    /// Seed of all choices made by chance (exploration, order of probes).
    pub seed: u64,
    /// Everything that can be tuned.
    pub policy: Policy,
}

impl RouterConfig {
    /// Defaults: HTTP on a free loopback port, no chain, seed 0.
    #[must_use]
    pub fn new(network: glia_peer::Network, subnets: Vec<SubnetView>, data_dir: PathBuf) -> Self {
        Self {
            subnets,
            network,
            chain: None,
            recompute: None,
            feedback: None,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir,
            seed: 0,
            policy: Policy::default(),
        }
    }
}

/// Numbers that can be tuned; the defaults are what the project measures with.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Experts asked per input, 1 to 8.
    pub k: usize,
    /// Answers without which a request fails.
    pub k_min: usize,
    /// Experts per input held back for failures and slowness.
    pub standbys: usize,
    /// Time of a request that names none.
    pub deadline: Duration,
    /// Longest time a request may ask for.
    pub max_deadline: Duration,
    /// T of the prior −‖φ−c‖²/T and of the claimed kernel.
    pub prior_temperature: f32,
    /// Chance that a scored input gives its last slot to a random other expert.
    pub exploration: f64,
    /// The same chance for inputs of users: far rarer, but without it those shut out would know that whoever calls them
    /// is checking, and feedback could not teach anything of those not chosen.
    pub traffic_exploration: f64,
    /// By how much logits are moved when members are chosen, so that equals take turns.
    pub turns: f32,
    /// Logits that a second of expected latency costs when members are chosen; never when answers are weighed.
    pub latency_cost: f32,
    /// Up to which distance of their answers two experts are one and the same ([`mod@crate::gate::cluster`]): 0 for a copy,
    /// 0.55 and more between independent experts.
    pub alike: f32,
    /// Probe answers in the claimed region (all of it, if it holds fewer) from which on an expert is no newcomer.
    pub min_probes: usize,
    /// Labelled inputs every expert is probed with, at most.
    pub probe_items: usize,
    /// Inputs per probe request.
    pub probe_batch: usize,
    /// Between two probe requests to an expert that has answered all probes once.
    pub reprobe_every: Duration,
    /// Labelled inputs sent per `score_every`, one by one or in batches like those of users, at random moments.
    pub score_batch: usize,
    /// Time in which `score_batch` labelled inputs are sent.
    pub score_every: Duration,
    /// Share of the newest epoch in the usefulness average.
    pub ema: f64,
    /// How much a label from the application counts beside one of the validation split, 0 to 1.
    pub feedback_weight: f64,
    /// How much an epoch without labels counts, in which experts are only compared with each other, 0 to 0.2.
    pub agreement_weight: f64,
    /// Without a sign of life for this long an expert is no candidate.
    pub silence: Duration,
    /// First pause between two walks of the DHT.
    pub walk_min: Duration,
    /// Longest pause between two walks, when nothing changes.
    pub walk_max: Duration,
    /// Share of calls that may be hedged, 0 to 1.
    pub hedge_share: f64,
    /// Largest batch of one request.
    pub max_batch: usize,
    /// Largest HTTP body, bytes.
    pub max_body: usize,
    /// HTTP requests worked on at the same time; more wait.
    pub max_requests: usize,
    /// Time a client has to send its body.
    pub body_patience: Duration,
    /// Bytes of a checkpoint that is fetched to audit its answers; experts with a larger one are audited like closed ones.
    pub audit_checkpoint: u64,
    /// Bytes of checkpoints that are kept for audits.
    pub audit_cache: usize,
    /// How long a hotkey is shut out after its first failed audit; twice as long each time after that, a week at most.
    pub audit_penalty: Duration,
    /// Labels per second that are taken from one feedback key, in the long run.
    pub feedback_rate: f64,
    /// `version_key` of the weights this software sets; a chain that asks for more gets none.
    pub weights_version: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            k: 4,
            k_min: 1,
            standbys: 2,
            deadline: Duration::from_secs(2),
            max_deadline: Duration::from_secs(30),
            prior_temperature: 0.1,
            exploration: 0.15,
            traffic_exploration: 0.02,
            turns: 0.5,
            latency_cost: 4.0,
            alike: 0.2,
            min_probes: 30,
            probe_items: 1024,
            probe_batch: 64,
            reprobe_every: Duration::from_secs(15),
            score_batch: 16,
            score_every: Duration::from_millis(500),
            ema: 0.25,
            feedback_weight: 0.5,
            agreement_weight: 0.2,
            silence: Duration::from_secs(8),
            walk_min: Duration::from_millis(500),
            walk_max: Duration::from_secs(10),
            hedge_share: 0.05,
            max_batch: 1024,
            max_body: 8 * 1024 * 1024,
            max_requests: 64,
            body_patience: Duration::from_secs(10),
            audit_checkpoint: 16 * 1024 * 1024,
            audit_cache: 64 * 1024 * 1024,
            audit_penalty: Duration::from_secs(3600),
            feedback_rate: 50.0,
            weights_version: 1,
        }
    }
}

/// Experts per input: exact Shapley values need 2^k coalitions.
pub const MAX_K: usize = 8;

/// A policy or subnet that cannot work, said in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Policy {
    /// Refuses numbers that cannot work together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |why: &str| Err(ConfigError(why.to_owned()));
        if !(1..=MAX_K).contains(&self.k) || self.k_min == 0 || self.k_min > self.k {
            return refuse("k must be 1 to 8 and k_min 1 to k");
        }
        if self.standbys > 16 {
            return refuse("standbys must be at most 16");
        }
        if self.deadline.is_zero() || self.deadline > self.max_deadline {
            return refuse("deadline must be above zero and not above max_deadline");
        }
        if self.prior_temperature.is_nan() || self.prior_temperature <= 0.0 {
            return refuse("prior_temperature must be above zero");
        }
        if !(0.0..=10.0).contains(&self.turns) {
            return refuse("turns must be 0 to 10");
        }
        let shares = [self.exploration, self.traffic_exploration, self.hedge_share];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return refuse("exploration, traffic_exploration and hedge_share must be 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.alike) || !(0.0..=1000.0).contains(&self.latency_cost) {
            return refuse("alike must be 0 to 1 and latency_cost 0 to 1000");
        }
        if self.audit_checkpoint == 0 || self.audit_cache == 0 || self.audit_penalty.is_zero() {
            return refuse("audit limits and audit_penalty must be above zero");
        }
        if !(self.feedback_rate > 0.0 && self.feedback_rate.is_finite()) {
            return refuse("feedback_rate must be above zero");
        }
        if !(self.ema > 0.0 && self.ema <= 1.0) {
            return refuse("ema must be above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.feedback_weight) || !(0.0..=0.2).contains(&self.agreement_weight) {
            return refuse("feedback_weight must be 0 to 1 and agreement_weight 0 to 0.2");
        }
        let counts = [self.min_probes, self.probe_items, self.probe_batch, self.score_batch, self.max_batch];
        if counts.contains(&0) || self.max_requests == 0 || self.max_body == 0 {
            return refuse("probe, score, batch, body and request limits must be above zero");
        }
        let times =
            [self.reprobe_every, self.score_every, self.silence, self.walk_min, self.walk_max, self.body_patience];
        if times.iter().any(Duration::is_zero) || self.walk_min > self.walk_max {
            return refuse("every interval and body_patience must be above zero and walk_min not above walk_max");
        }
        Ok(())
    }
}

impl SubnetView {
    /// Checks that schema, φ and validation items fit each other; returns the hash of φ.
    pub fn validate(&self) -> Result<ContentHash, ConfigError> {
        let refuse = |why: String| Err(ConfigError(format!("subnet {}: {why}", self.name)));
        if let Err(error) = self.schema.validate().and_then(|()| self.feature_map.validate()) {
            return refuse(error.to_string());
        }
        let elements = self.schema.input.elements();
        if elements != self.feature_map.input_len() {
            return refuse(format!("an input has {elements} elements, φ takes {}", self.feature_map.input_len()));
        }
        let bytes = elements * self.schema.input.dtype.size();
        let classes = self.schema.classes().len();
        if let Some(bad) = self.validation.iter().find(|item| item.input.len() != bytes || item.class >= classes) {
            return refuse(format!(
                "a validation item has {} bytes and class {}, not {bytes} bytes and a class below {classes}",
                bad.input.len(),
                bad.class
            ));
        }
        self.feature_map.hash().or_else(|error| refuse(error.to_string()))
    }
}
