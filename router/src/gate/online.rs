//! What scored traffic adds to the fitted gate: per expert a constant and a slope over φ.
//!
//! One labelled answer moves the logit of everybody who was called by the gradient of the mixture's log-likelihood,
//! "responsibility − weight", times the inverse of the chance with which it was called. Steps shrink with every lesson
//! down to a floor, so that the gate settles and still follows drift; a pull back to zero in proportion to the step
//! forgets what is not confirmed, and keeps the correction near the fit, which has seen more. Everything is bounded, and
//! the same lessons in the same order give the same gate.

use std::collections::HashMap;

use super::vector::dot;
use crate::expert::ExpertKey;

/// First step of the constant and of the slope; the n-th is 1/(1 + n/[`SETTLE`]) of it, never below the floor.
const STEP: (f32, f32) = (0.1, 0.3);
/// Smallest steps.
const STEP_FLOOR: (f32, f32) = (0.01, 0.03);
/// Lessons after which a step is half of the first.
const SETTLE: f32 = 20.0;
/// Pull back to zero, as a share of the step: a constant of 1 needs a lasting pull of 0.1.
const FORGET: f32 = 0.1;
/// Largest constant, and largest length of a slope.
pub(super) const BOUND: f32 = 4.0;
/// Largest factor by which a rarely called answer stands for those that were not called.
const MAX_INVERSE: f32 = 10.0;
/// Probabilities of the mixture are taken as at least this.
const FLOOR: f32 = 1e-6;

/// One expert's part in one labelled answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Voice {
    /// Who.
    pub key: ExpertKey,
    /// Its share of the pool.
    pub weight: f32,
    /// Probability it gave to the right class, calibrated as it was pooled.
    pub right: f32,
    /// Chance with which it was called.
    pub propensity: f32,
}

/// What was learned of one expert.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Correction {
    /// Added to its logit everywhere.
    pub bias: f32,
    /// Added along φ; empty before the first lesson.
    pub slope: Vec<f32>,
    /// Lessons so far.
    pub lessons: u32,
}

impl Correction {
    /// b + v·φ.
    #[must_use]
    pub fn at(&self, features: &[f32]) -> f32 {
        self.bias + dot(&self.slope, features)
    }

    /// Takes one step along `pull`, at most 1 either way.
    fn step(&mut self, pull: f32, features: &[f32]) {
        if self.slope.len() != features.len() {
            self.slope = vec![0.0; features.len()];
        }
        let shrink = 1.0 / (1.0 + self.lessons as f32 / SETTLE);
        let (bias, slope) = ((STEP.0 * shrink).max(STEP_FLOOR.0), (STEP.1 * shrink).max(STEP_FLOOR.1));
        self.bias = ((1.0 - bias * FORGET) * self.bias + bias * pull).clamp(-BOUND, BOUND);
        for (v, x) in self.slope.iter_mut().zip(features) {
            *v = (1.0 - slope * FORGET) * *v + slope * pull * x;
        }
        let length = self.slope.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > BOUND {
            self.slope.iter_mut().for_each(|v| *v *= BOUND / length);
        }
        self.lessons = self.lessons.saturating_add(1);
    }
}

/// The corrections of one subnet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OnlineGate {
    experts: HashMap<ExpertKey, Correction>,
}

impl OnlineGate {
    /// Learns from one labelled answer; `importance` says how much the label is to be believed, 0..1.
    ///
    /// Voices that are no finite number teach nothing.
    pub fn learn(&mut self, features: &[f32], voices: &[Voice], importance: f32) {
        let usable = |voice: &&Voice| voice.weight.is_finite() && voice.right.is_finite() && voice.propensity > 0.0;
        let mixed: f32 = voices.iter().filter(usable).map(|voice| voice.weight * voice.right).sum();
        if importance.is_nan() || importance <= 0.0 || !features.iter().all(|x| x.is_finite()) {
            return;
        }
        for voice in voices.iter().filter(usable) {
            let responsibility = voice.weight * voice.right / mixed.max(FLOOR);
            let inverse = (1.0 / voice.propensity).min(MAX_INVERSE);
            let pull = (responsibility - voice.weight) * importance.min(1.0) * inverse;
            self.experts.entry(voice.key).or_default().step(pull.clamp(-1.0, 1.0), features);
        }
    }

    /// What was learned of `key`.
    #[must_use]
    pub fn get(&self, key: &ExpertKey) -> Option<&Correction> {
        self.experts.get(key)
    }

    /// Everybody something was learned of, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ExpertKey, &Correction)> {
        self.experts.iter()
    }

    /// Puts back what was kept of an expert.
    pub fn restore(&mut self, key: ExpertKey, correction: Correction) {
        self.experts.insert(key, correction);
    }

    /// Forgets those that `keep` does not name.
    pub fn retain(&mut self, keep: impl Fn(&ExpertKey) -> bool) {
        self.experts.retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, PeerId};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::gate::softmax;

    fn key(n: u8) -> ExpertKey {
        ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) }
    }

    /// Two experts, each right on its own side of φ's first axis; the fitted gate has `logits` for them.
    struct World {
        logits: [f32; 2],
        online: OnlineGate,
        rng: ChaCha8Rng,
    }

    impl World {
        fn new(logits: [f32; 2], seed: u64) -> Self {
            Self { logits, online: OnlineGate::default(), rng: ChaCha8Rng::seed_from_u64(seed) }
        }

        fn input(&mut self) -> [f32; 2] {
            let angle: f32 = self.rng.random_range(0.0..std::f32::consts::TAU);
            [angle.cos(), angle.sin()]
        }

        /// Probability of the right class by each expert.
        fn right(x: [f32; 2], swapped: bool) -> [f32; 2] {
            if (x[0] > 0.0) == swapped { [0.05, 0.9] } else { [0.9, 0.05] }
        }

        fn weights(&self, x: [f32; 2]) -> Vec<f32> {
            let learned = |n: usize| self.online.get(&key(n as u8)).map_or(0.0, |c| c.at(&x));
            let mut logits: Vec<f32> = (0..2).map(|n| self.logits[n] + learned(n)).collect();
            softmax(&mut logits);
            logits
        }

        fn teach(&mut self, lessons: usize, swapped: bool) {
            for _ in 0..lessons {
                let x = self.input();
                let (weights, right) = (self.weights(x), Self::right(x, swapped));
                let voice =
                    |n: usize| Voice { key: key(n as u8), weight: weights[n], right: right[n], propensity: 1.0 };
                self.online.learn(&x, &[voice(0), voice(1)], 1.0);
            }
        }

        /// Mean −ln of the mixture's probability of the right class.
        fn loss(&mut self, swapped: bool) -> f32 {
            let mut sum = 0.0;
            for _ in 0..2000 {
                let x = self.input();
                let mixed: f32 = self.weights(x).iter().zip(Self::right(x, swapped)).map(|(w, p)| w * p).sum();
                sum -= mixed.ln();
            }
            sum / 2000.0
        }
    }

    #[test]
    fn a_gate_that_does_not_know_the_regions_learns_them_from_answers() {
        let mut world = World::new([0.0, 0.0], 1);
        let before = world.loss(false);
        world.teach(600, false);
        let after = world.loss(false);
        assert!(after < 0.75 * before, "{before} {after}");
    }

    #[test]
    fn a_wrong_fit_is_corrected_and_a_change_of_the_world_followed() {
        let mut world = World::new([2.5, 0.0], 2);
        let before = world.loss(false);
        world.teach(1500, false);
        let settled = world.loss(false);
        assert!(settled < 0.8 * before, "{before} {settled}");
        let surprised = world.loss(true);
        world.teach(3000, true);
        assert!(world.loss(true) < 0.7 * surprised, "{surprised} {}", world.loss(true));
    }

    #[test]
    fn a_fit_that_is_right_is_hardly_disturbed() {
        // Both are about equally good everywhere, by chance in each answer: there is nothing to learn.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut online = OnlineGate::default();
        let mut worst = 0.0_f32;
        for _ in 0..5000 {
            let x = [rng.random_range(-0.7..0.7), rng.random_range(-0.7..0.7)];
            let mut right = || if rng.random_bool(0.8) { 0.8 } else { 0.02 };
            let voices = [0, 1, 2, 3].map(|n| Voice { key: key(n), weight: 0.25, right: right(), propensity: 1.0 });
            online.learn(&x, &voices, 1.0);
            worst = voices.iter().filter_map(|v| online.get(&v.key)).map(|c| c.at(&x).abs()).fold(worst, f32::max);
        }
        assert!(worst < 1.0, "{worst}");
        let now: f32 = online.iter().map(|(_, c)| c.bias.abs()).fold(0.0, f32::max);
        assert!(now < 0.3, "{now}");
    }

    #[test]
    fn corrections_are_bounded_and_repeatable_whatever_is_said() {
        let lessons = |online: &mut OnlineGate| {
            for n in 0..20_000_u32 {
                let x = [1.0, (n % 3) as f32 * 100.0];
                let voices = [
                    Voice { key: key(1), weight: 0.99, right: 0.0, propensity: 1e-9 },
                    Voice { key: key(2), weight: 0.01, right: 1.0, propensity: 0.01 },
                    Voice { key: key(3), weight: f32::NAN, right: 1.0, propensity: 1.0 },
                ];
                online.learn(&x, &voices, 5.0);
            }
        };
        let (mut a, mut b) = (OnlineGate::default(), OnlineGate::default());
        lessons(&mut a);
        lessons(&mut b);
        assert_eq!(a, b);
        assert!(a.get(&key(3)).is_none());
        for (_, correction) in a.iter() {
            let length = correction.slope.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!(correction.bias.abs() <= BOUND && length <= BOUND * 1.001, "{correction:?}");
        }
    }

    #[test]
    fn a_rare_call_counts_for_those_not_made() {
        let learned = |propensity: f32| {
            let mut online = OnlineGate::default();
            let voices = [
                Voice { key: key(1), weight: 0.95, right: 0.5, propensity: 1.0 },
                Voice { key: key(2), weight: 0.05, right: 0.9, propensity },
            ];
            online.learn(&[1.0], &voices, 1.0);
            online.get(&key(2)).unwrap().bias
        };
        assert!((learned(0.1) / learned(1.0) - 10.0).abs() < 1e-3);
        assert_eq!(learned(0.001), learned(0.1));
        let mut deaf = OnlineGate::default();
        deaf.learn(&[1.0], &[Voice { key: key(1), weight: 0.5, right: 0.5, propensity: 1.0 }], 0.0);
        assert!(deaf.get(&key(1)).is_none());
    }
}
