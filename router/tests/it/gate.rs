//! What the gate learns from probes, measured on items it was not fitted on.

use std::sync::Arc;

use glia_protocol::descriptor::Centroid;
use glia_protocol::{ContentHash, Hotkey, PeerId};
use glia_router::aggregate::{linear_pool, sharpen, top_class};
use glia_router::expert::ExpertKey;
use glia_router::gate::{Bench, ExpertProbes, FitPolicy, GateModel, ProbeSet, Slot, fit, select, turn, weigh};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 10;
const FEATURES: usize = 6;
const POLICY: FitPolicy = FitPolicy { prior_temperature: 0.1, min_probes: 30, k: 4 };

/// Items whose φ is a noisy direction per class.
fn items(n: usize, rng: &mut ChaCha8Rng) -> ProbeSet {
    let mut directions = ChaCha8Rng::seed_from_u64(1);
    let directions: Vec<Vec<f32>> =
        (0..CLASSES).map(|_| (0..FEATURES).map(|_| directions.random_range(-1.0..1.0)).collect()).collect();
    let labels: Vec<usize> = (0..n).map(|_| rng.random_range(0..CLASSES)).collect();
    let features = labels.iter().map(|&label| {
        let noisy: Vec<f32> = directions[label].iter().map(|d| d + rng.random_range(-0.5..0.5)).collect();
        let norm = noisy.iter().map(|v| v * v).sum::<f32>().sqrt();
        noisy.iter().map(|v| v / norm).collect()
    });
    ProbeSet { features: features.collect(), labels: labels.clone(), classes: CLASSES }
}

/// An answer that puts `mass` on `class`.
fn peak(class: usize, mass: f32) -> Vec<f32> {
    (0..CLASSES).map(|c| if c == class { mass } else { (1.0 - mass) / (CLASSES - 1) as f32 }).collect()
}

#[derive(Clone)]
enum Kind {
    /// Knows some classes well, insists on one of them for all others.
    Specialist(Vec<usize>),
    /// Right with this chance, always as sure of itself.
    Generalist(f64),
    /// Always sure of the same class.
    Liar(usize),
}

fn answer(kind: &Kind, label: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    match kind {
        Kind::Specialist(classes) if classes.contains(&label) && rng.random_bool(0.95) => peak(label, 0.95),
        Kind::Specialist(classes) => peak(classes[rng.random_range(0..classes.len())], 0.8),
        Kind::Generalist(chance) => {
            let class = if rng.random_bool(*chance) { label } else { rng.random_range(0..CLASSES) };
            peak(class, 0.95)
        }
        Kind::Liar(class) => peak(*class, 0.99),
    }
}

struct World {
    kinds: Vec<Kind>,
    model: GateModel,
    centroids: Vec<Vec<Centroid>>,
}

fn key(n: usize) -> ExpertKey {
    ExpertKey { peer: PeerId([n as u8; 32]), checkpoint: ContentHash([n as u8; 32]) }
}

/// The mean of the features of the classes an expert knows.
fn claim(kind: &Kind, set: &ProbeSet) -> Vec<Centroid> {
    let all: Vec<usize> = (0..CLASSES).collect();
    let classes = if let Kind::Specialist(classes) = kind { classes } else { &all };
    let of_class = |class: usize| {
        let rows: Vec<&Vec<f32>> =
            set.features.iter().zip(&set.labels).filter(|(_, l)| **l == class).map(|(f, _)| f).collect();
        let mean = (0..FEATURES).map(|f| rows.iter().map(|row| row[f]).sum::<f32>() / rows.len() as f32).collect();
        Centroid { mean, weight: 1.0 / classes.len() as f32, radius: 0.4 }
    };
    classes.iter().take(8).map(|&class| of_class(class)).collect()
}

fn world(kinds: &[Kind]) -> World {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let set = items(600, &mut rng);
    let experts: Vec<ExpertProbes> = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| ExpertProbes {
            key: key(n),
            centroids: claim(kind, &set),
            rows: set.labels.iter().map(|&label| Some(Arc::from(answer(kind, label, &mut rng)))).collect(),
        })
        .collect();
    let model = fit(&set, &experts, &POLICY);
    World { kinds: kinds.to_vec(), model, centroids: experts.into_iter().map(|e| e.centroids).collect() }
}

/// Accuracies on fresh items: collective, each expert, mean share of the weight of each expert, mean −ln p(y).
struct Figures {
    collective: f64,
    singles: Vec<f64>,
    shares: Vec<f64>,
    log_loss: f64,
}

fn measure(world: &World, k: usize) -> Figures {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let fresh = items(1500, &mut rng);
    let n = world.kinds.len();
    let slots = (0..n).map(|i| {
        let gate = &world.model.experts[&key(i)];
        let (proven, shut_out) = (gate.proven, gate.is_shut_out());
        Slot { hotkey: Hotkey([i as u8; 32]), cluster: None, proven, shut_out, slow: false }
    });
    let bench = Bench { slots: slots.collect(), least: 1 };
    let (mut hits, mut singles, mut shares, mut loss) = (0_usize, vec![0_usize; n], vec![0.0; n], 0.0);
    for (features, &label) in fresh.features.iter().zip(&fresh.labels) {
        let rows: Vec<Vec<f32>> = world.kinds.iter().map(|kind| answer(kind, label, &mut rng)).collect();
        (0..n).for_each(|i| singles[i] += usize::from(top_class(&rows[i]) == label));
        let gate = |i: usize| &world.model.experts[&key(i)];
        let place = world.model.place(features);
        let logits: Vec<f32> =
            (0..n).map(|i| world.model.logit(Some(gate(i)), &world.centroids[i], features, &place)).collect();
        let item = hits as u64 * 7919 + singles[0] as u64;
        let turned: Vec<f32> = logits.iter().enumerate().map(|(i, l)| l + turn(item, i as u64, 0.5)).collect();
        let chosen = select::<ChaCha8Rng>(&bench, &turned, k, 0, None).members;
        let heard = chosen.iter().map(|&i| logits[i] + gate(i).reading.weigh(features, &rows[i]));
        let weights = weigh(&heard.collect::<Vec<_>>(), &vec![true; chosen.len()]);
        let calibrated: Vec<Vec<f32>> = chosen.iter().map(|&i| gate(i).reading.calibrate(&rows[i])).collect();
        let pool = sharpen(&linear_pool(&weights, &calibrated, CLASSES), world.model.pool_sharpness);
        hits += usize::from(top_class(&pool) == label);
        loss -= f64::from(pool[label].max(1e-6).ln());
        chosen.iter().zip(&weights).for_each(|(&i, w)| shares[i] += f64::from(*w) / fresh.labels.len() as f64);
    }
    let items = fresh.labels.len() as f64;
    Figures {
        collective: hits as f64 / items,
        singles: singles.iter().map(|&hits| hits as f64 / items).collect(),
        shares,
        log_loss: loss / items,
    }
}

fn best(singles: &[f64]) -> f64 {
    singles.iter().copied().fold(0.0, f64::max)
}

fn specialists() -> Vec<Kind> {
    (0..5).map(|i| Kind::Specialist(vec![2 * i, 2 * i + 1])).collect()
}

#[test]
fn specialists_together_beat_the_best_of_them_by_far() {
    let figures = measure(&world(&specialists()), 4);
    assert!(figures.collective > best(&figures.singles) + 0.4, "{} {:?}", figures.collective, figures.singles);
}

#[test]
fn equal_generalists_are_averaged_and_beat_the_best_of_them() {
    let figures = measure(&world(&vec![Kind::Generalist(0.7); 6]), 4);
    assert!(figures.collective > best(&figures.singles) + 0.05, "{} {:?}", figures.collective, figures.singles);
    // Nobody is trusted with most of it, and nobody is left out for good.
    assert!(figures.shares.iter().all(|share| (0.01..0.4).contains(share)), "{:?}", figures.shares);
}

#[test]
fn over_confidence_is_taken_back_by_temperatures() {
    let world = world(&vec![Kind::Generalist(0.7); 6]);
    assert!(world.model.experts.values().all(|gate| gate.reading.ln_sharpness < 0.0));
    let figures = measure(&world, 4);
    // A lone over-confident expert: −0.73·ln 0.95 − 0.27·ln(0.05/9) ≈ 1.4.
    assert!(figures.log_loss < 0.9, "{}", figures.log_loss);
}

#[test]
fn colluding_liars_who_claim_everything_are_shut_out() {
    let honest = measure(&world(&specialists()), 4);
    let mut kinds = specialists();
    kinds.extend((0..6).map(|_| Kind::Liar(3)));
    let lied_to = world(&kinds);
    for n in 0..kinds.len() {
        assert_eq!(lied_to.model.experts[&key(n)].is_shut_out(), n >= 5, "expert {n}");
    }
    let figures = measure(&lied_to, 4);
    assert!(figures.collective > honest.collective - 0.02, "{} {}", figures.collective, honest.collective);
}

#[test]
fn the_same_answers_give_the_same_gate() {
    assert_eq!(world(&specialists()).model, world(&specialists()).model);
}

#[test]
fn answers_outside_the_claimed_region_prove_nobody() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let set = items(600, &mut rng);
    let kind = Kind::Specialist(vec![0]);
    let centroids = claim(&kind, &set);
    let inside = |j: usize| glia_router::gate::prior::claim(&centroids, &set.features[j], 0.1);
    let gate = |asked: &dyn Fn(usize) -> bool| {
        let rows = (0..600).map(|j| asked(j).then(|| Arc::from(peak(set.labels[j], 0.9))));
        let probes = ExpertProbes { key: key(0), centroids: centroids.clone(), rows: rows.collect() };
        fit(&set, &[probes], &POLICY).experts[&key(0)].clone()
    };
    let mut best: Vec<usize> = (0..600).collect();
    best.sort_by(|&a, &b| inside(b).total_cmp(&inside(a)));
    let (few, more) = (best[..12].to_vec(), best[..45].to_vec());
    // All that lie outside, and a dozen inside.
    let around = gate(&|j| few.contains(&j) || inside(j) < 0.02);
    assert!(around.trust.probes > 30 && around.trust.evidence < 30.0, "{:?}", around.trust);
    assert!(!around.proven, "{:?}", around.trust);
    let within = gate(&|j| more.contains(&j));
    assert!(within.proven, "{:?}", within.trust);
}

#[test]
fn few_or_no_probes_are_no_error() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let set = items(5, &mut rng);
    let silent =
        ExpertProbes { key: key(0), centroids: claim(&Kind::Liar(0), &items(100, &mut rng)), rows: vec![None; 5] };
    let model = fit(&set, &[silent], &POLICY);
    assert!(!model.experts[&key(0)].proven);
    assert!(fit(&ProbeSet::default(), &[], &POLICY).experts.is_empty());
}
