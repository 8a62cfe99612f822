//! The built-in rosters.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Entry, Kind, MAX_EXPERTS, Roster, RosterError};
use crate::data::{CLASSES, Domain};
use crate::subnet::{VISION, VISION_TRANSFORMS};

/// Names of the built-in rosters.
pub const BUILTIN: [&str; 4] = ["classes", "dirichlet", "iid", "transforms"];
/// Classes each expert of the `classes` roster knows.
const CLASSES_EACH: usize = 5;
/// Concentration of the `dirichlet` roster.
const ALPHA: f64 = 0.3;
/// Images of a shard of the `iid` roster: few, so that no expert is good alone.
const SHARD: u32 = 300;

/// The subnet a built-in roster is for; `None` when there is none of that name.
pub fn subnet_of(builtin: &str) -> Option<&'static str> {
    let known = BUILTIN.contains(&builtin);
    known.then_some(if builtin == "transforms" { VISION_TRANSFORMS } else { VISION })
}

pub(super) fn roster(name: &str, experts: usize, seed: u64) -> Result<Roster, RosterError> {
    if experts == 0 || experts > MAX_EXPERTS {
        return Err(RosterError::Invalid(format!("a roster has 1 to {MAX_EXPERTS} experts, not {experts}")));
    }
    let parts = experts as u32;
    let kinds: Vec<Kind> = match name {
        "classes" => classes(experts, seed),
        "dirichlet" => (0..parts).map(|part| Kind::Dirichlet { alpha: ALPHA, part, parts }).collect(),
        "iid" => (0..parts).map(|part| Kind::Iid { examples: SHARD, part }).collect(),
        "transforms" => transforms(experts),
        other => return Err(RosterError::UnknownBuiltin(other.chars().take(64).collect())),
    };
    let subnet = subnet_of(name).unwrap_or(VISION).to_owned();
    let experts = kinds
        .into_iter()
        .enumerate()
        .map(|(i, kind)| Entry {
            name: format!("expert-{i}"),
            kind,
            seed: super::entry_seed(seed, i),
            split_seed: seed,
        })
        .collect();
    Ok(Roster { subnet, seed, experts })
}

/// Five classes each, dealt from shuffled decks, so that every class is known to about equally many experts.
fn classes(experts: usize, seed: u64) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut deck: Vec<u8> = Vec::new();
    (0..experts)
        .map(|_| {
            let mut hand = Vec::with_capacity(CLASSES_EACH);
            while hand.len() < CLASSES_EACH {
                if deck.is_empty() {
                    deck = (0..CLASSES as u8).filter(|class| !hand.contains(class)).collect();
                    deck.shuffle(&mut rng);
                }
                hand.extend(deck.pop());
            }
            hand.sort_unstable();
            Kind::Classes { classes: hand }
        })
        .collect()
}

/// One domain each when there are as many experts as domains; fewer experts have several, of more some share one.
fn transforms(experts: usize) -> Vec<Kind> {
    let all = Domain::ALL.len();
    (0..experts)
        .map(|expert| {
            let first = expert % all;
            let domains: Vec<u8> = if experts < all {
                (expert..all).step_by(experts).map(|domain| domain as u8).collect()
            } else {
                vec![first as u8]
            };
            let sharing = (first..experts).step_by(all).count().max(1);
            Kind::Domains { domains, part: (expert / all) as u32, parts: sharing as u32 }
        })
        .collect()
}
