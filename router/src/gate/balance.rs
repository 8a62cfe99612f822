//! Spreads calls among experts that are about equally good, without touching how their answers are weighed.
//!
//! The gate's own weights say how often an expert ought to be called: k times its weight, at most always. An expert that
//! is called less than that has its logit raised a little when members are *chosen*, one that is called more has it
//! lowered; the bound keeps this from ever preferring somebody who is clearly worse. The turn of an item
//! ([`turn`](super::turn)) mixes who is called together; the balance corrects what turns leave uneven in the long run.
//!
//! It is not kept across restarts: it is learned again within some hundred items, and the load of yesterday is no load.

use std::collections::HashMap;

use super::softmax;
use crate::expert::ExpertKey;

/// Change of a bias for an item that an expert should have had and did not.
const STEP: f32 = 0.01;
/// Share of a bias that an item leaves.
const KEEP: f32 = 0.999;
/// Largest bias, a logit: differences beyond twice this are never overturned.
pub const WIDEST: f32 = 0.25;

/// How often each expert ought to be among `k` members, by the gate's own logits; `eligible` says who can be chosen.
#[must_use]
pub fn due(logits: &[f32], eligible: impl Fn(usize) -> bool, k: usize) -> Vec<f32> {
    let mut shares: Vec<f32> =
        logits.iter().enumerate().map(|(i, l)| if eligible(i) { *l } else { f32::NEG_INFINITY }).collect();
    if !shares.iter().any(|l| l.is_finite()) {
        return vec![0.0; logits.len()];
    }
    softmax(&mut shares);
    shares.iter_mut().for_each(|share| *share = (*share * k as f32).min(1.0));
    shares
}

/// Selection biases by expert.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Balance {
    biases: HashMap<ExpertKey, f32>,
}

impl Balance {
    /// What is added to an expert's logit when members are chosen, never when answers are weighed.
    #[must_use]
    pub fn bias(&self, key: &ExpertKey) -> f32 {
        self.biases.get(key).copied().unwrap_or(0.0)
    }

    /// Takes in how often an expert ought to have been called and how often it was, summed over the items of a request.
    pub fn note(&mut self, key: ExpertKey, due: f32, called: f32) {
        if !due.is_finite() || !called.is_finite() {
            return;
        }
        let bias = self.biases.entry(key).or_default();
        *bias = (KEEP * *bias + STEP * (due - called)).clamp(-WIDEST, WIDEST);
    }

    /// Forgets those that `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(&ExpertKey) -> bool) {
        self.biases.retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, Hotkey, PeerId};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::gate::{Bench, Slot, select};

    fn key(n: usize) -> ExpertKey {
        ExpertKey { peer: PeerId([n as u8; 32]), checkpoint: ContentHash([n as u8; 32]) }
    }

    /// Share of 4000 items that each expert is a member of, with and without balance.
    fn shares(logits: &[f32], k: usize, balanced: bool) -> Vec<f32> {
        let slots = (0..logits.len()).map(|n| Slot {
            hotkey: Hotkey([n as u8; 32]),
            cluster: None,
            proven: true,
            shut_out: false,
            slow: false,
        });
        let bench = Bench { slots: slots.collect(), least: 1 };
        let mut balance = Balance::default();
        let mut calls = vec![0.0; logits.len()];
        for _ in 0..4000 {
            let swayed: Vec<f32> = logits.iter().enumerate().map(|(n, l)| l + balance.bias(&key(n))).collect();
            let chosen = select::<ChaCha8Rng>(&bench, &swayed, k, 0, None).members;
            let ought = due(logits, |_| true, k);
            for n in 0..logits.len() {
                let called = f32::from(u8::from(chosen.contains(&n)));
                calls[n] += called / 4000.0;
                if balanced {
                    balance.note(key(n), ought[n], called);
                }
            }
        }
        calls
    }

    #[test]
    fn nearly_equal_experts_are_called_about_as_often_as_they_are_worth() {
        let logits = [0.10, 0.0, -0.05, 0.05, -0.1, 0.02, -0.02, 0.0];
        assert_eq!(shares(&logits, 4, false).iter().filter(|share| **share == 0.0).count(), 4);
        let balanced = shares(&logits, 4, true);
        assert!(balanced.iter().all(|share| (0.4..0.6).contains(share)), "{balanced:?}");
    }

    #[test]
    fn somebody_clearly_worse_is_never_preferred() {
        let balanced = shares(&[3.0, 2.9, 2.0, 0.0], 2, true);
        assert!(balanced[0] > 0.99 && balanced[1] > 0.99, "{balanced:?}");
        assert_eq!(balanced[3], 0.0);
    }

    #[test]
    fn biases_are_bounded_and_those_who_cannot_be_chosen_are_due_nothing() {
        let mut balance = Balance::default();
        (0..10_000).for_each(|_| balance.note(key(1), 1.0, 0.0));
        assert_eq!(balance.bias(&key(1)), WIDEST);
        balance.note(key(1), f32::NAN, 0.0);
        assert_eq!(balance.bias(&key(1)), WIDEST);
        assert_eq!(due(&[5.0, 1.0, 1.0], |i| i > 0, 2), [0.0, 1.0, 1.0]);
        assert_eq!(due(&[5.0], |_| false, 2), [0.0]);
    }
}
