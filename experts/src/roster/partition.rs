//! From an entry to the images it is trained on. Pure: the same entry always gets the same images.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Kind, MAX_EXPERTS};
use crate::data::Split;
use crate::subnet::{Subnet, VISION_TRANSFORMS};

/// Fewest images a Dirichlet part may get; unluckier draws are drawn again.
pub const DIRICHLET_MIN: usize = 100;
/// Draws before giving up.
const DRAWS: u64 = 200;

/// Why no images could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The description is impossible.
    #[error("{0}")]
    Impossible(String),
}

/// Checks a kind's numbers against the subnet.
pub(super) fn check(kind: &Kind, subnet: &Subnet) -> Result<(), String> {
    let train = subnet.train().len();
    match kind {
        Kind::Classes { classes } => {
            let known = subnet.labels().len();
            if classes.is_empty() {
                return Err("it needs at least one class".to_owned());
            }
            for (index, class) in classes.iter().enumerate() {
                if usize::from(*class) >= known {
                    return Err(format!("class {class} does not exist; classes are 0 to {}", known - 1));
                }
                if classes[..index].contains(class) {
                    return Err(format!("class {class} is listed twice"));
                }
            }
        }
        Kind::Dirichlet { alpha, part, parts } => {
            if !(0.01..=1000.0).contains(alpha) {
                return Err(format!("alpha must be between 0.01 and 1000, not {alpha}"));
            }
            if *parts == 0 || *parts as usize > MAX_EXPERTS || part >= parts {
                return Err(format!("part {part} of {parts} parts does not exist"));
            }
            if *parts as usize * DIRICHLET_MIN > train {
                return Err(format!("{parts} parts of {train} images are too many: each needs {DIRICHLET_MIN}"));
            }
        }
        Kind::Iid { examples, part } => {
            if *examples == 0 {
                return Err(format!("`examples` must be at least 1: a shard is 1 to {train} images"));
            }
            let end = (u64::from(*part) + 1) * u64::from(*examples);
            if end > train as u64 {
                return Err(format!("shard {part} of {examples} images needs {end} images, there are {train}"));
            }
        }
        Kind::Domains { domains, part, parts } => {
            let known = subnet.domains().len();
            if known < 2 {
                return Err(format!("{} shows its images in no domains; {VISION_TRANSFORMS} does", subnet.name()));
            }
            if domains.is_empty() {
                return Err("it needs at least one domain".to_owned());
            }
            for (index, domain) in domains.iter().enumerate() {
                if usize::from(*domain) >= known {
                    return Err(format!("domain {domain} does not exist; domains are 0 to {}", known - 1));
                }
                if domains[..index].contains(domain) {
                    return Err(format!("domain {} is listed twice", subnet.domains()[usize::from(*domain)]));
                }
            }
            if *parts == 0 || *parts as usize > MAX_EXPERTS || part >= parts {
                return Err(format!("part {part} of {parts} parts does not exist"));
            }
        }
        Kind::Noise | Kind::All => {}
    }
    Ok(())
}

/// Indices into the training split, ascending.
pub(super) fn examples(kind: &Kind, split_seed: u64, subnet: &Subnet) -> Result<Vec<usize>, PartitionError> {
    check(kind, subnet).map_err(PartitionError::Impossible)?;
    let train = subnet.train();
    let mut chosen = match kind {
        Kind::Classes { classes } => classes.iter().flat_map(|&class| train.of_class(class)).collect(),
        Kind::Dirichlet { alpha, part, parts } => {
            let mut all = dirichlet(train, subnet.labels().len(), *alpha, *parts as usize, split_seed)?;
            all.swap_remove(*part as usize)
        }
        Kind::Iid { examples, part } => {
            let mut order: Vec<usize> = (0..train.len()).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(split_seed));
            let (size, part) = (*examples as usize, *part as usize);
            order[part * size..(part + 1) * size].to_vec()
        }
        Kind::Domains { domains, part, parts } => {
            let dealt = train.deal_domains(split_seed);
            let mut members: Vec<usize> = (0..train.len()).filter(|&index| domains.contains(&dealt[index])).collect();
            members.shuffle(&mut ChaCha8Rng::seed_from_u64(split_seed));
            members.into_iter().skip(*part as usize).step_by(*parts as usize).collect()
        }
        Kind::Noise | Kind::All => (0..train.len()).collect(),
    };
    chosen.sort_unstable();
    Ok(chosen)
}

/// Divides each class among `parts` by a Dirichlet(α) draw; draws again while a part has too few images.
fn dirichlet(
    train: &Split,
    classes: usize,
    alpha: f64,
    parts: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    for draw in 0..DRAWS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(draw);
        let mut all = vec![Vec::new(); parts];
        for class in 0..classes {
            let mut members = train.of_class(class as u8);
            members.shuffle(&mut rng);
            let shares: Vec<f64> = (0..parts).map(|_| gamma(alpha, &mut rng)).collect();
            let total: f64 = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let (mut sum, mut from) = (0.0, 0);
            for (part, share) in all.iter_mut().zip(&shares) {
                sum += share / total;
                let to = ((sum * members.len() as f64).round() as usize).clamp(from, members.len());
                part.extend_from_slice(&members[from..to]);
                from = to;
            }
        }
        if all.iter().all(|part| part.len() >= DIRICHLET_MIN) {
            return Ok(all);
        }
    }
    Err(PartitionError::Impossible(format!(
        "no division of the classes among {parts} parts with alpha {alpha} gave each {DIRICHLET_MIN} images; \
         use fewer parts or a larger alpha"
    )))
}

/// A Gamma(shape, 1) draw: Marsaglia and Tsang's squeeze-free rejection, boosted for shapes below one.
fn gamma(shape: f64, rng: &mut impl Rng) -> f64 {
    if shape < 1.0 {
        let u: f64 = 1.0 - rng.random::<f64>();
        return gamma(shape + 1.0, rng) * u.powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        let u: f64 = 1.0 - rng.random::<f64>();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A standard normal draw (Box and Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_draws_have_the_right_mean() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for shape in [0.3, 1.0, 4.0] {
            let mean = (0..20_000).map(|_| gamma(shape, &mut rng)).sum::<f64>() / 20_000.0;
            assert!((mean - shape).abs() < 0.05 * shape.max(1.0), "shape {shape}, mean {mean}");
        }
    }
}
