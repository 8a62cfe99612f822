//! What an expert's owner earns on chain alone and with clones: from items to incentive, by the chain's own rules.

use glia_chain_rules::epoch::{EpochInput, Hyperparameters, epoch};
use glia_protocol::{ContentHash, Hotkey};
use glia_router::expert::ExpertKey;
use glia_router::scoring::ledger::{Basis, Ledger};
use glia_router::scoring::shapley::shapley;
use glia_router::scoring::share::{Rules, incomes};
use glia_router::scoring::tally::{Scored, Tally};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::mesh::{NETUID, hotkey, peer};

const CLASSES: usize = 20;
/// Honest experts of different strength; number 1 is the one that is cloned, clones come after them.
const HONEST: u8 = 6;
const K: usize = 4;

fn key(n: u8) -> ExpertKey {
    ExpertKey { peer: peer(n), checkpoint: ContentHash([n; 32]) }
}

fn original(n: u8) -> u8 {
    if n > HONEST { 1 } else { n }
}

/// How a router asks a mesh that holds copies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dispatch {
    /// One slot per cluster: copies take turns.
    Turns,
    /// Copies are asked side by side, as before they are known to be copies.
    SideBySide,
}

/// An epoch's items, answered by a mesh in which expert 1 has `clones`.
fn items(clones: u8, dispatch: Dispatch, seed: u64) -> Tally {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let everybody: Vec<u8> = (1..=HONEST + clones).collect();
    for _ in 0..2000 {
        let copies = |n: u8| everybody.iter().copied().filter(|m| original(*m) == n).collect::<Vec<u8>>();
        let mut members: Vec<u8> = match dispatch {
            Dispatch::SideBySide => everybody.clone(),
            // An input fits four of the honest, and of a cluster whoever's turn it is answers.
            Dispatch::Turns => {
                let mut fitting: Vec<u8> = (1..=HONEST).collect();
                fitting.shuffle(&mut rng);
                let turn = |n: &u8, rng: &mut ChaCha8Rng| copies(*n).choose(rng).copied().unwrap_or(*n);
                fitting[..K].iter().map(|n| turn(n, &mut rng)).collect()
            }
        };
        // The last slot is sometimes given to one by chance, and that chance is known.
        let mut propensity = vec![1.0_f32; members.len()];
        if dispatch == Dispatch::Turns {
            let clash = |n: &u8| members[..K - 1].iter().any(|m| original(*m) == original(*n));
            let others: Vec<u8> = everybody.iter().copied().filter(|n| !members.contains(n) && !clash(n)).collect();
            if rng.random_bool(0.15) && !others.is_empty() {
                members[K - 1] = others[rng.random_range(0..others.len())];
                propensity[K - 1] = 0.15 / others.len() as f32;
            } else {
                propensity[K - 1] = 0.85;
            }
        }
        let weights = vec![1.0 / members.len() as f32; members.len()];
        // The same item finds the original and its copies equally sure.
        let sure: Vec<f32> = (0..=HONEST).map(|_| rng.random_range(0.2..0.9)).collect();
        let right: Vec<f32> = members.iter().map(|n| sure[usize::from(original(*n))]).collect();
        let values = shapley(&weights, &right, CLASSES, 0);
        let scored = members.iter().zip(values).zip(propensity).map(|((n, value), propensity)| Scored {
            hotkey: hotkey(*n),
            expert: key(*n),
            name: format!("expert-{n}"),
            value,
            propensity,
        });
        tally.answered(1.0, &scored.collect::<Vec<_>>());
    }
    tally.look(everybody.iter().map(|n| (hotkey(*n), "expert")));
    tally
}

/// Share of the incentive that goes to expert 1 and its clones after five epochs.
fn owners_share(clones: u8, dispatch: Dispatch) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), NETUID, "00").unwrap();
    for seed in 0..5 {
        let tally = items(clones, dispatch, seed);
        let alike = |a: &ExpertKey, b: &ExpertKey| original(a.peer.0[0]) == original(b.peer.0[0]);
        let committed = |who: &Hotkey, _: &ExpertKey| u64::from(who.0[0]);
        let earned = incomes(&tally, &Rules { alike: &alike, committed: &committed, now: 1_000 });
        ledger.close_epoch(&tally, &earned, Basis::Labels, 0.25, |_| true);
    }
    let uids: Vec<(u16, Hotkey)> = (1..=HONEST + clones).map(|n| (u16::from(n), hotkey(n))).collect();
    let row = ledger.row(&uids, |_| 1.0, 1, u16::MAX);
    let neurons = uids.len() + 1;
    let mut weights = vec![Vec::new(); neurons];
    weights[0] = row.iter().map(|line| (line.uid, line.weight)).collect();
    let input = EpochInput {
        block: 1_000,
        last_step_block: 900,
        emission: 1_000_000_000,
        stake: (0..neurons).map(|uid| if uid == 0 { 1_000_000_000_000 } else { 0 }).collect(),
        last_update: vec![990; neurons],
        block_at_registration: vec![1; neurons],
        validator_permit: (0..neurons).map(|uid| uid == 0).collect(),
        weights,
        bonds: vec![Vec::new(); neurons],
        commit_block: None,
        hyperparameters: Hyperparameters::default(),
    };
    let incentive = epoch(&input).incentive;
    let all: f64 = incentive.iter().map(|share| f64::from(*share)).sum();
    let own = (1..=HONEST + clones).filter(|n| original(*n) == 1).map(|n| f64::from(incentive[usize::from(n)]));
    own.sum::<f64>() / all
}

#[test]
fn an_owner_earns_no_more_with_three_clones_than_alone() {
    let alone = owners_share(0, Dispatch::Turns);
    assert!((0.1..0.25).contains(&alone), "six about equal experts: {alone}");
    let cloned = owners_share(3, Dispatch::Turns);
    assert!(cloned >= 0.9 * alone && cloned <= 1.1 * alone, "one slot: {alone} alone, {cloned} with clones");
}

#[test]
fn clones_that_are_asked_side_by_side_share_one_gain() {
    let alone = owners_share(0, Dispatch::SideBySide);
    let cloned = owners_share(3, Dispatch::SideBySide);
    assert!(cloned >= 0.9 * alone && cloned <= 1.1 * alone, "{alone} alone, {cloned} with clones");
}

#[test]
fn a_strangers_clones_earn_at_most_the_margin_and_cost_the_original_no_more() {
    // The clones of expert 1 belong to somebody else now: what all of them have together is what expert 1 has lost.
    let tally = items(3, Dispatch::Turns, 1);
    let alike = |a: &ExpertKey, b: &ExpertKey| original(a.peer.0[0]) == original(b.peer.0[0]);
    let committed = |who: &Hotkey, _: &ExpertKey| u64::from(who.0[0]);
    let earned = incomes(&tally, &Rules { alike: &alike, committed: &committed, now: 1_000 });
    let value = |n: u8| earned[&hotkey(n)].value();
    let clones: f64 = (HONEST + 1..=HONEST + 3).map(value).sum();
    let all = clones + value(1);
    assert!(clones > 0.0 && clones <= 0.005 * all, "{clones} of {all}");
}
