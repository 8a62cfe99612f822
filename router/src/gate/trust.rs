//! What labelled probes in the claimed region say about an expert.

/// Below this probability of the right class a probe is no worse: one blunder is not a life sentence.
const FLOOR: f32 = 0.01;
/// Weighted probes from which on negative trust shuts an expert out.
const ENOUGH: f32 = 5.0;
/// Share of the labelled items in its region that a small specialist must have answered.
const NEARLY_ALL: f32 = 0.95;

/// Measured trust of one expert.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Trust {
    /// 2·Σκ·ln(C·p(y))/(Σκ+2): a logit, 0 without evidence.
    pub value: f32,
    /// Σκ: probes weighted by how far they lie in the claimed region.
    pub evidence: f32,
    /// Probes answered.
    pub probes: usize,
    /// Share of right answers, weighted like the trust; `None` without evidence.
    pub accuracy: Option<f32>,
}

/// One labelled probe that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// κ: how far the input lies in the claimed region, 0..1.
    pub claim: f32,
    /// Probability the expert gave to the right class.
    pub right: f32,
    /// Whether the right class was its first choice.
    pub hit: bool,
}

impl Trust {
    /// Trust after `probes` in a task of `classes` classes.
    #[must_use]
    pub fn of(probes: impl IntoIterator<Item = Probe>, classes: usize) -> Self {
        let (mut gain, mut hits, mut evidence, mut count) = (0.0, 0.0, 0.0, 0);
        for probe in probes {
            gain += probe.claim * (classes as f32 * probe.right.clamp(FLOOR, 1.0)).ln();
            hits += if probe.hit { probe.claim } else { 0.0 };
            evidence += probe.claim;
            count += 1;
        }
        Self {
            value: 2.0 * gain / (evidence + 2.0),
            evidence,
            probes: count,
            accuracy: (evidence > 0.0).then(|| hits / evidence),
        }
    }

    /// Whether enough probes lay in the claimed region for the trust to mean something.
    #[must_use]
    pub fn is_based(&self) -> bool {
        self.evidence >= ENOUGH
    }

    /// Whether as many probes as `wanted` lay in the claimed region, or as many as can lie there: `coverage` is Σκ over all
    /// probes there are.
    #[must_use]
    pub fn is_proven(&self, wanted: usize, coverage: f32) -> bool {
        self.is_based() && self.evidence >= (wanted as f32).min(NEARLY_ALL * coverage)
    }

    /// Whether the probes speak against it clearly enough that only exploration may call it.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        self.value < 0.0 && self.is_based()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(n: usize, claim: f32, right: f32) -> Trust {
        Trust::of((0..n).map(|_| Probe { claim, right, hit: right > 0.5 }), 20)
    }

    #[test]
    fn an_expert_without_probes_has_no_trust_and_is_not_shut_out() {
        assert_eq!(probes(0, 1.0, 1.0), Trust { accuracy: None, ..Trust::default() });
        assert!(!probes(0, 1.0, 1.0).is_shut_out());
    }

    #[test]
    fn the_right_are_trusted_and_the_wrong_are_shut_out_after_enough_evidence() {
        assert!(probes(30, 1.0, 0.9).value > 5.0);
        assert!(!probes(4, 1.0, 0.0).is_shut_out());
        assert!(probes(6, 1.0, 0.0).is_shut_out());
    }

    #[test]
    fn being_wrong_where_nothing_was_claimed_costs_nothing() {
        assert!(!probes(1000, 0.0, 0.0).is_shut_out());
        assert_eq!(probes(1000, 0.0, 0.0).value, 0.0);
    }

    #[test]
    fn only_probes_in_the_claimed_region_prove_an_expert() {
        let outside = probes(1000, 0.001, 0.9);
        assert!(!outside.is_proven(30, 400.0));
        assert!(!probes(29, 1.0, 0.9).is_proven(30, 400.0));
        assert!(probes(30, 1.0, 0.9).is_proven(30, 400.0));
    }

    #[test]
    fn a_small_specialist_is_proven_by_all_there_is_in_its_region() {
        assert!(!probes(8, 1.0, 0.9).is_proven(30, 12.0));
        assert!(probes(12, 1.0, 0.9).is_proven(30, 12.0));
        // Too little to tell anything.
        assert!(!probes(3, 1.0, 0.9).is_proven(30, 3.0));
    }

    #[test]
    fn uniform_answers_earn_nothing() {
        assert!(probes(100, 1.0, 0.05).value.abs() < 1e-4);
    }
}
