//! The built-in rosters.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Entry, Kind, MAX_EXPERTS, Roster, RosterError};
use crate::data::CLASSES;

const SEED: u64 = 7;
/// Classes each expert of the `classes` roster knows.
const CLASSES_EACH: usize = 5;
/// Concentration of the `dirichlet` roster.
const ALPHA: f64 = 0.3;
/// Images of a shard of the `iid` roster: few, so that no expert is good alone.
const SHARD: u32 = 300;

pub(super) fn roster(name: &str, experts: usize) -> Result<Roster, RosterError> {
    if experts == 0 || experts > MAX_EXPERTS {
        return Err(RosterError::Invalid(format!("a roster has 1 to {MAX_EXPERTS} experts, not {experts}")));
    }
    let parts = experts as u32;
    let kinds: Vec<Kind> = match name {
        "classes" => classes(experts),
        "dirichlet" => (0..parts).map(|part| Kind::Dirichlet { alpha: ALPHA, part, parts }).collect(),
        "iid" => (0..parts).map(|part| Kind::Iid { examples: SHARD, part }).collect(),
        other => return Err(RosterError::UnknownBuiltin(other.chars().take(64).collect())),
    };
    let experts = kinds
        .into_iter()
        .enumerate()
        .map(|(i, kind)| Entry { name: format!("expert-{i}"), kind, seed: SEED * 1000 + i as u64, split_seed: SEED })
        .collect();
    Ok(Roster { subnet: "vision".to_owned(), experts })
}

/// Five classes each, dealt from shuffled decks, so that every class is known to about equally many experts.
fn classes(experts: usize) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
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
