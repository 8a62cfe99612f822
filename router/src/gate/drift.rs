//! Whether an expert is as good on traffic as it was on probes. One that is not is doubted.
//!
//! Probes come in batches and can be told from requests; canaries and feedback cannot. So each scored answer is compared
//! with what the expert's own probes of the same class nearby let expect of it. The sum of the gaps is a bet against the
//! expert (an e-CUSUM): while it is as good as its probes, the bet does not grow in the mean whatever the shape of its
//! scores, so that a false alarm comes once in e^`ALARM` answers at most; a sleeper pays it within some thirty.
//!
//! Whoever is doubted has the trust that its scored traffic alone earns, and recovers when its answers have been what its
//! probes promise for long enough; each relapse is seen sooner and forgiven later.

/// A right class below this probability is no worse, as for probes.
const FLOOR: f32 = 0.01;
/// Share of the stake that is bet on each answer. The largest loss is ln 100 nats, so that the bet never breaks.
const BET: f32 = 0.15;
/// Nats by which traffic may be worse than probes: they are never quite alike.
const TOLERANCE: f32 = 0.2;
/// ln of the stake at which an expert is doubted.
const ALARM: f32 = 13.8;
/// … and at which it is after many relapses.
const ALARM_LEAST: f32 = 6.9;
/// How much of the recent past is remembered from one answer to the next.
const MEMORY: f32 = 0.97;
/// Scored answers in the claimed region without which nothing is known of a doubted expert.
const ENOUGH: f32 = 5.0;
/// Trust from traffic below which a doubted expert is called by exploration only: hardly better than ignorance.
const WORTHLESS: f32 = 0.5;
/// Mean gap, nats, below which a doubted expert is as good as its probes again …
const RECOVERED: f32 = 0.4;
/// … after this many answers, twice as many after each relapse, …
const PATIENCE: u32 = 30;
/// … and never more than this.
const PATIENCE_MOST: u32 = 480;
/// Answers without an alarm that make up for one.
const FORGIVE: u32 = 1000;

/// What an expert's own probes let expect of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Mean ln p(y) of similar probes, nats.
    pub mean: f32,
    /// Standard error of that mean, nats.
    pub error: f32,
}

impl Expected {
    /// From probabilities of the right class in similar probes; `None` of fewer than 4.
    #[must_use]
    pub fn of(rights: &[f32]) -> Option<Self> {
        if rights.len() < 4 {
            return None;
        }
        let n = rights.len() as f32;
        let mean = rights.iter().map(|&p| nats(p)).sum::<f32>() / n;
        let variance = rights.iter().map(|&p| (nats(p) - mean).powi(2)).sum::<f32>() / n;
        // A pinch of variance: a few equal answers do not prove that there are no others.
        Some(Self { mean, error: ((variance + 0.25) / n).sqrt() })
    }
}

fn nats(right: f32) -> f32 {
    right.clamp(FLOOR, 1.0).ln()
}

/// One scored answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredAnswer {
    /// Probability of the right class, as the expert gave it.
    pub right: f32,
    /// How far the input lies in the claimed region, 0..1.
    pub claim: f32,
    /// What was to be expected; `None` where its probes say nothing.
    pub expected: Option<Expected>,
    /// Classes of the task.
    pub classes: usize,
}

/// What is held of a doubted expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubt {
    /// Trust that its scored traffic earned, a logit; takes the place of the trust from probes.
    pub trust: f32,
    /// Whether only exploration may call it.
    pub shut_out: bool,
}

/// The evidence about one expert.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drift {
    /// ln of the stake.
    pub(super) stake: f32,
    /// Running mean of expected − seen, nats.
    pub(super) gap: f32,
    /// Running Σκ·ln(C·p(y)).
    pub(super) gain: f32,
    /// Running Σκ.
    pub(super) evidence: f32,
    /// Answers since it is doubted.
    pub(super) doubted: Option<u32>,
    /// Alarms that are not forgiven.
    pub(super) strikes: u32,
    /// Answers since the last alarm or pardon.
    pub(super) calm: u32,
}

impl Drift {
    /// The evidence about somebody new whose other experts had this many strikes: it is believed as little as they are.
    #[must_use]
    pub fn inherited(strikes: u32) -> Self {
        Self { strikes, ..Self::default() }
    }

    /// Alarms that are not forgiven.
    #[must_use]
    pub const fn strikes(&self) -> u32 {
        self.strikes
    }

    /// Takes in one scored answer. Whether the expert is doubted by it, or not any more: `None` when nothing changed.
    pub fn note(&mut self, answer: &ScoredAnswer) -> Option<bool> {
        let claim = if answer.claim.is_finite() { answer.claim.clamp(0.0, 1.0) } else { 0.0 };
        let seen = nats(if answer.right.is_finite() { answer.right } else { 0.0 });
        self.gain = MEMORY * self.gain + claim * ((answer.classes.max(1) as f32).ln() + seen);
        self.evidence = MEMORY * self.evidence + claim;
        let expected = answer.expected?;
        let gap = expected.mean - seen;
        match self.doubted {
            None => {
                self.gap = MEMORY * self.gap + (1.0 - MEMORY) * gap;
                let bet = BET * (gap - TOLERANCE - expected.error);
                self.stake = (self.stake + bet.max(-0.9).ln_1p()).max(0.0);
                self.calm = self.calm.saturating_add(1);
                if self.stake >= (ALARM / (1.0 + 0.5 * self.strikes as f32)).max(ALARM_LEAST) {
                    self.strikes = self.strikes.saturating_add(1);
                    // Nothing good is remembered of it.
                    (self.doubted, self.calm, self.gap) = (Some(0), 0, self.gap.max(-FLOOR.ln() / 2.0));
                    return Some(true);
                }
                if self.calm >= FORGIVE {
                    (self.strikes, self.calm) = (self.strikes.saturating_sub(1), 0);
                }
                None
            }
            Some(answers) => {
                let answers = answers.saturating_add(1);
                // A longer memory for those who relapse.
                let needed = PATIENCE.saturating_mul(1 << self.strikes.saturating_sub(1).min(4)).min(PATIENCE_MOST);
                let newest = (1.5 / needed as f32).min(1.0 - MEMORY);
                self.gap = (1.0 - newest) * self.gap + newest * gap;
                self.doubted = Some(answers);
                if answers >= needed && self.gap < RECOVERED {
                    (self.doubted, self.stake, self.calm) = (None, 0.0, 0);
                    return Some(false);
                }
                None
            }
        }
    }

    /// What is held of it, if it is doubted.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubted?;
        let trust = 2.0 * self.gain / (self.evidence + 2.0);
        Some(Doubt { trust, shut_out: self.evidence < ENOUGH || trust < WORTHLESS })
    }

    /// Running mean by which its traffic was worse than its probes, nats.
    #[must_use]
    pub const fn gap(&self) -> f32 {
        self.gap
    }

    /// How near an alarm is, 0..1.
    #[must_use]
    pub fn suspicion(&self) -> f32 {
        if self.doubted.is_some() { 1.0 } else { (self.stake / ALARM).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CLASSES: usize = 20;

    /// An expert with an accuracy per class, over-confident in its errors; probed `per_class` times in each.
    struct Expert {
        accuracy: Vec<f64>,
        probes: Vec<Vec<f32>>,
    }

    fn answer(accuracy: f64, rng: &mut ChaCha8Rng) -> f32 {
        if rng.random_bool(accuracy) { rng.random_range(0.5..1.0) } else { [0.3, 0.05, 0.001][rng.random_range(0..3)] }
    }

    impl Expert {
        fn specialist(per_class: usize, rng: &mut ChaCha8Rng) -> Self {
            // Knows a few classes well, some a little, most not at all.
            let accuracy: Vec<f64> =
                (0..CLASSES).map(|_| [0.97, 0.9, 0.7, 0.3, 0.02][rng.random_range(0..5)]).collect();
            let probes = accuracy.iter().map(|&a| (0..per_class).map(|_| answer(a, rng)).collect()).collect();
            Self { accuracy, probes }
        }

        /// The gate calls it where its probes were best: that is where luck helped it.
        fn called(&self, rng: &mut ChaCha8Rng) -> usize {
            let draw = |rng: &mut ChaCha8Rng| rng.random_range(0..CLASSES);
            let mean = |class: usize| self.probes[class].iter().map(|&p| nats(p)).sum::<f32>();
            (0..4).map(|_| draw(rng)).max_by(|&a, &b| mean(a).total_cmp(&mean(b))).unwrap_or(0)
        }

        fn scored(&self, class: usize, right: f32) -> ScoredAnswer {
            let nearest = &self.probes[class][..self.probes[class].len().min(16)];
            ScoredAnswer { right, claim: 1.0, expected: Expected::of(nearest), classes: CLASSES }
        }
    }

    #[test]
    fn honest_specialists_are_not_doubted() {
        let mut alarms = 0;
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let expert = Expert::specialist(if seed % 2 == 0 { 20 } else { 8 }, &mut rng);
            let mut drift = Drift::default();
            for _ in 0..5000 {
                let class = expert.called(&mut rng);
                let right = answer(expert.accuracy[class], &mut rng);
                alarms += usize::from(drift.note(&expert.scored(class, right)) == Some(true));
            }
        }
        // 200 experts, a million answers.
        assert!(alarms <= 1, "{alarms} false alarms");
    }

    /// Answers until the alarm, when all of them are `lie`.
    fn answers_until_doubted(lie: f32, drift: &mut Drift, rng: &mut ChaCha8Rng) -> usize {
        let mut expert = Expert::specialist(20, rng);
        while !expert.accuracy.iter().any(|&a| a > 0.9) {
            expert = Expert::specialist(20, rng);
        }
        (1..2000)
            .find(|_| {
                let class = expert.called(rng);
                drift.note(&expert.scored(class, lie)) == Some(true)
            })
            .unwrap_or(2000)
    }

    #[test]
    fn sleepers_of_every_kind_are_shut_out_within_a_hundred_answers() {
        // Confidently wrong; the uniform answer.
        for (lie, most) in [(0.0, 50), (1.0 / CLASSES as f32, 100)] {
            for seed in 0..50 {
                let mut drift = Drift::default();
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let took = answers_until_doubted(lie, &mut drift, &mut rng);
                assert!(took <= most, "{took} answers of {lie}");
                assert!(drift.doubt().unwrap().shut_out, "{:?}", drift.doubt());
            }
        }
    }

    #[test]
    fn a_sleeper_that_lies_now_and_then_has_the_trust_its_traffic_earns() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let expert = Expert { accuracy: vec![0.97; CLASSES], probes: vec![vec![0.95; 20]; CLASSES] };
        let mut drift = Drift::default();
        let took = (1..2000).find(|_| {
            let right = if rng.random_bool(0.5) { 0.0 } else { 0.95 };
            drift.note(&expert.scored(0, right)) == Some(true)
        });
        assert!(took.is_some_and(|n| n < 120), "{took:?}");
        // Its probes alone would give 2·ln(20·0.95) ≈ 5.9.
        assert!(drift.doubt().unwrap().trust < 3.0, "{:?}", drift.doubt());
    }

    #[test]
    fn who_answers_well_again_recovers_and_who_relapses_waits_longer() {
        let expert = Expert { accuracy: vec![0.97; CLASSES], probes: vec![vec![0.9; 20]; CLASSES] };
        let mut drift = Drift::default();
        let (mut alarm_after, mut back_after) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let lies = (1..1000).find(|_| drift.note(&expert.scored(0, 0.0)) == Some(true));
            let truths = (1..5000).find(|_| drift.note(&expert.scored(0, 0.9)) == Some(false));
            alarm_after.push(lies.unwrap());
            back_after.push(truths.unwrap());
        }
        assert!(back_after[0] <= 120, "{back_after:?}");
        assert!(back_after.is_sorted() && back_after[2] > back_after[0], "{back_after:?}");
        assert!(alarm_after[2] < alarm_after[0], "{alarm_after:?}");
        assert!(drift.doubt().is_none());
        (0..10 * FORGIVE).for_each(|_| assert_eq!(drift.note(&expert.scored(0, 0.9)), None));
        assert_eq!(drift.strikes, 0, "long good conduct is a clean slate");
    }

    #[test]
    fn a_new_checkpoint_of_somebody_caught_is_caught_sooner() {
        let took = |strikes| {
            let mut drift = Drift::inherited(strikes);
            answers_until_doubted(0.0, &mut drift, &mut ChaCha8Rng::seed_from_u64(1))
        };
        assert!(took(2) < took(0), "{} {}", took(2), took(0));
    }

    #[test]
    fn answers_nothing_was_promised_of_prove_nothing() {
        let mut drift = Drift::default();
        let blank = ScoredAnswer { right: f32::NAN, claim: f32::NAN, expected: Expected::of(&[0.9; 3]), classes: 0 };
        assert_eq!(blank.expected, None);
        (0..1000).for_each(|_| assert_eq!(drift.note(&blank), None));
        assert!(drift.doubt().is_none());
    }
}
