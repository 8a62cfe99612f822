//! From sums to what each hotkey is held to have earned: experts that answer alike share one income.
//!
//! Experts are taken in the order of their commitment, the earliest first. Each joins the first cluster whose founder it
//! was measured to answer alike, else it founds one. A cluster earns what one of its experts would have earned alone:
//!
//! ```text
//! cluster = Σ_m (chosen_m + explored_m / size) / (1 + Σ_b together(m, b) / scored_m) / mass
//! ```
//!
//! Copies that take turns answer different items, so their sums add up to those of one expert; copies that answer the
//! same item are each paid a part of the same gain; and each copy is explored on its own, so that what is explored stands
//! for the same items once per copy.
//!
//! The founder's hotkey gets it all but ε, which the others divide: whoever copies gets at most ε however many copies it
//! runs, and the one that was copied loses at most ε. As in the subnet for pretraining (SN9, whose margin makes the
//! earlier upload win ties) ε falls from 0.5 % to 0.05 % in seven days of blocks after the founder's commitment. A loss is
//! its author's alone: shared, a copy that lies could charge it to the original. An expert that did not answer is in no cluster, so the next in line
//! is paid while the founder is away.

use std::collections::BTreeMap;

use glia_protocol::Hotkey;
use serde::{Deserialize, Serialize};

use super::ledger::Hotkey58;
use super::tally::{Earned, Tally};
use crate::expert::ExpertKey;

/// ε at the commitment and [`FALL`] blocks later.
const MARGIN: (f64, f64) = (0.005, 0.0005);
/// Blocks in which ε falls: seven days of twelve-second blocks.
const FALL: u64 = 50_400;

/// What must be known beside the tally.
pub struct Rules<'a> {
    /// Whether two experts were measured to answer alike.
    pub alike: &'a dyn Fn(&ExpertKey, &ExpertKey) -> bool,
    /// Block since which a hotkey is committed to an expert.
    pub committed: &'a dyn Fn(&Hotkey, &ExpertKey) -> u64,
    /// Block of this epoch.
    pub now: u64,
}

/// One hotkey's part of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Checkpoint of its expert that is in the cluster.
    pub checkpoint: String,
    /// Hotkeys of the cluster, earliest commitment first.
    pub members: Vec<Hotkey58>,
    /// Block of the founder's commitment.
    pub since: u64,
    /// What the cluster earned, nats per item.
    pub cluster: f64,
    /// Part of it that is this hotkey's: 1 − ε for the founder of a shared cluster, a part of ε for the others.
    pub fraction: f64,
    /// The product of the two.
    pub value: f64,
}

/// What one hotkey earned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Income {
    /// Mean Shapley value on the items it was scored on, nats.
    pub shapley_mean: f64,
    /// Mean per item of the epoch, corrected for how rarely it was asked, before anything is shared; nats.
    pub corrected: f64,
    /// Its parts of clusters.
    pub shares: Vec<Share>,
}

impl Income {
    /// What it earned per item, nats.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.shares.iter().map(|share| share.value).sum()
    }
}

/// One expert that answered.
struct Candidate {
    since: u64,
    hotkey: Hotkey,
    key: ExpertKey,
    earned: Earned,
}

/// ε for a cluster founded at `since`.
#[must_use]
pub fn margin(since: u64, now: u64) -> f64 {
    let age = now.saturating_sub(since).min(FALL) as f64 / FALL as f64;
    MARGIN.0 + (MARGIN.1 - MARGIN.0) * age
}

/// What each hotkey of a tally earned.
#[must_use]
pub fn incomes(tally: &Tally, rules: &Rules<'_>) -> BTreeMap<Hotkey, Income> {
    let mass = tally.mass.max(f64::MIN_POSITIVE);
    let income = |(hotkey, sums): (&Hotkey, &super::tally::Sums)| {
        let plain: f64 = sums.experts.values().map(|earned| earned.plain).sum();
        let sum: f64 = sums.experts.values().map(Earned::sum).sum();
        let shapley_mean = plain / sums.scored().max(1) as f64;
        (*hotkey, Income { shapley_mean, corrected: sum / mass, shares: Vec::new() })
    };
    let mut incomes: BTreeMap<Hotkey, Income> = tally.experts.iter().map(income).collect();
    for cluster in clusters(tally, rules) {
        let Some(founder) = cluster.first() else { continue };
        // Whoever earns nothing where it was explored stands for nobody.
        let size = cluster.iter().filter(|member| member.earned.explored > 0.0).count().max(1) as f64;
        let part = |member: &Candidate| {
            let scored = member.earned.scored.max(1) as f64;
            let others = cluster.iter().filter(|other| other.key != member.key);
            let with: u64 = others.map(|other| tally.together(&member.key, &other.key)).sum();
            let explored = member.earned.explored;
            let explored = if explored > 0.0 { explored / size } else { explored };
            (member.earned.certain + explored) / (1.0 + with as f64 / scored)
        };
        // Gains are pooled; a loss is its author's alone, or copies could charge their lies to the original.
        let value = cluster.iter().map(|member| part(member).max(0.0)).sum::<f64>() / mass;
        let mut owners: Vec<Hotkey> = Vec::new();
        cluster.iter().for_each(|member| {
            if !owners.contains(&member.hotkey) {
                owners.push(member.hotkey);
            }
        });
        let epsilon = margin(founder.since, rules.now);
        let others = owners.len().saturating_sub(1) as f64;
        for owner in &owners {
            let fraction = match (others, *owner == founder.hotkey) {
                (0.0, _) => 1.0,
                (_, true) => 1.0 - epsilon,
                (others, false) => epsilon / others,
            };
            let checkpoint = cluster.iter().find(|member| member.hotkey == *owner).map(|member| member.key.checkpoint);
            incomes.entry(*owner).or_default().shares.push(Share {
                checkpoint: checkpoint.map_or_else(String::new, |checkpoint| checkpoint.to_string()),
                members: owners.iter().copied().map(Hotkey58).collect(),
                since: founder.since,
                cluster: value,
                fraction,
                value: value * fraction,
            });
            let own = cluster.iter().filter(|member| member.hotkey == *owner);
            let loss = own.map(|member| part(member).min(0.0)).sum::<f64>() / mass;
            if loss < 0.0 {
                incomes.entry(*owner).or_default().shares.push(Share {
                    checkpoint: checkpoint.map_or_else(String::new, |checkpoint| checkpoint.to_string()),
                    members: vec![Hotkey58(*owner)],
                    since: founder.since,
                    cluster: loss,
                    fraction: 1.0,
                    value: loss,
                });
            }
        }
    }
    incomes
}

/// Experts that answered, by likeness; in each cluster the earliest commitment first.
fn clusters(tally: &Tally, rules: &Rules<'_>) -> Vec<Vec<Candidate>> {
    let mut candidates: Vec<Candidate> = (tally.experts.iter())
        .flat_map(|(hotkey, sums)| sums.experts.iter().map(move |(key, earned)| (*hotkey, *key, *earned)))
        .filter(|(.., earned)| earned.scored > 0)
        .map(|(hotkey, key, earned)| Candidate { since: (rules.committed)(&hotkey, &key), hotkey, key, earned })
        .collect();
    // Of commitments in one block the hotkey decides, so that every router decides alike.
    candidates.sort_by_key(|candidate| (candidate.since, candidate.hotkey, candidate.key));
    let mut clusters: Vec<Vec<Candidate>> = Vec::new();
    for candidate in candidates {
        let like = |cluster: &&mut Vec<Candidate>| {
            cluster.first().is_some_and(|founder| (rules.alike)(&founder.key, &candidate.key))
        };
        match clusters.iter_mut().find(like) {
            Some(cluster) => cluster.push(candidate),
            None => clusters.push(vec![candidate]),
        }
    }
    clusters
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, PeerId};

    use super::*;
    use crate::scoring::tally::Scored;

    fn key(n: u8) -> ExpertKey {
        ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) }
    }

    fn hotkey(n: u8) -> Hotkey {
        Hotkey([n; 32])
    }

    fn scored(n: u8, value: f64, propensity: f32) -> Scored {
        Scored { hotkey: hotkey(n), expert: key(n), name: String::new(), value, propensity }
    }

    /// Those up to 4 answer alike; the commitment is the number times 100.
    fn pay(tally: &Tally) -> BTreeMap<Hotkey, Income> {
        let alike = |a: &ExpertKey, b: &ExpertKey| a.peer.0[0] <= 4 && b.peer.0[0] <= 4;
        let committed = |hotkey: &Hotkey, _: &ExpertKey| u64::from(hotkey.0[0]) * 100;
        incomes(tally, &Rules { alike: &alike, committed: &committed, now: 1_000_000 })
    }

    fn value(incomes: &BTreeMap<Hotkey, Income>, n: u8) -> f64 {
        incomes[&hotkey(n)].value()
    }

    #[test]
    fn copies_that_take_turns_earn_together_what_one_would_and_the_earliest_gets_it() {
        let mut tally = Tally::default();
        for item in 0..90 {
            tally.answered(1.0, &[scored(2 + item % 3, 0.5, 1.0), scored(7, 0.3, 1.0)]);
        }
        let paid = pay(&tally);
        assert!((value(&paid, 2) - 0.5 * 0.9995).abs() < 1e-9, "{paid:?}");
        assert!((value(&paid, 3) - 0.5 * 0.000_25).abs() < 1e-9);
        assert!((value(&paid, 7) - 0.3).abs() < 1e-9);
        let share = &paid[&hotkey(3)].shares[0];
        assert_eq!((share.members[0].0, share.since), (hotkey(2), 200));
    }

    #[test]
    fn copies_that_answer_the_same_items_share_one_gain() {
        let mut tally = Tally::default();
        (0..50).for_each(|_| tally.answered(1.0, &[scored(1, 0.2, 1.0), scored(2, 0.2, 1.0)]));
        assert!((value(&pay(&tally), 1) - 0.2 * 0.9995).abs() < 1e-9);
    }

    #[test]
    fn exploring_every_copy_does_not_pay_them_once_each() {
        let mut tally = Tally::default();
        for item in 0..100 {
            // Each of four copies is explored on one item in ten.
            let members: Vec<Scored> = (1..=4).filter(|n| item % 10 == *n).map(|n| scored(n, 0.4, 0.1)).collect();
            tally.answered(1.0, &members);
        }
        assert!((value(&pay(&tally), 1) - 0.4 * 0.9995).abs() < 1e-6);
    }

    #[test]
    fn one_owner_of_two_copies_does_not_share_with_itself() {
        let mut tally = Tally::default();
        tally.answered(1.0, &[scored(1, 2.0, 1.0)]);
        tally.answered(1.0, &[Scored { hotkey: hotkey(1), ..scored(2, 2.0, 1.0) }]);
        assert!((value(&pay(&tally), 1) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_loss_is_its_authors_alone() {
        let mut tally = Tally::default();
        (0..10).for_each(|item| tally.answered(1.0, &[scored(1 + item % 2, -1.0, 1.0)]));
        let paid = pay(&tally);
        assert_eq!((value(&paid, 1), value(&paid, 2)), (-0.5, -0.5));
        // A copy that lies on traffic takes nothing from the original.
        let mut tally = Tally::default();
        (0..10).for_each(|item| {
            tally.answered(1.0, &[scored(1 + item % 2, if item % 2 == 0 { 1.0 } else { -3.0 }, 1.0)]);
        });
        let paid = pay(&tally);
        assert!(value(&paid, 1) > 0.49 && value(&paid, 2) < -1.4, "{} {}", value(&paid, 1), value(&paid, 2));
    }

    #[test]
    fn somebody_silent_takes_nothing_and_the_next_in_line_is_paid_meanwhile() {
        let mut tally = Tally::default();
        tally.look([(hotkey(1), "first")]);
        tally.failed(hotkey(1), "first");
        (0..10).for_each(|_| tally.answered(1.0, &[scored(2, 0.5, 1.0)]));
        let paid = pay(&tally);
        assert_eq!((value(&paid, 1), value(&paid, 2)), (0.0, 0.5));
    }

    #[test]
    fn likeness_does_not_reach_from_one_to_another_over_a_third() {
        let mut tally = Tally::default();
        tally.answered(1.0, &[scored(1, 0.3, 1.0), scored(2, 0.2, 1.0), scored(3, 0.1, 1.0)]);
        let near = |a: &ExpertKey, b: &ExpertKey| a.peer.0[0].abs_diff(b.peer.0[0]) <= 1;
        let committed = |hotkey: &Hotkey, _: &ExpertKey| u64::from(hotkey.0[0]);
        let paid = incomes(&tally, &Rules { alike: &near, committed: &committed, now: 0 });
        assert_eq!(paid[&hotkey(3)].shares[0].members, [Hotkey58(hotkey(3))]);
    }

    #[test]
    fn the_margin_falls_from_half_a_percent_to_a_tenth_of_it() {
        assert_eq!(margin(100, 50), MARGIN.0);
        assert!((margin(0, FALL / 2) - 0.002_75).abs() < 1e-12);
        assert!((margin(0, 10 * FALL) - MARGIN.1).abs() < 1e-12);
    }
}
