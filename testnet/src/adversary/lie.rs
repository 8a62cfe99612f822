//! What a lie makes of one row of probabilities. Pure: randomness is an argument.

use rand::Rng;

use crate::stats::argmax;

/// Share of the class that a confident liar names.
const CONFIDENT: f32 = 0.95;
/// Largest relative change of a share by a copier, before all are scaled to sum to 1: twice this stays below the
/// rounding that re-execution on another machine must allow (10⁻³).
const BLUR: f32 = 4e-4;

/// One way of lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Random shares.
    Noise,
    /// This class.
    Constant(u16),
    /// The most probable class, moved on.
    Shifted(u16),
    /// Every share a little off.
    Blurred,
    /// Every class alike.
    Uniform,
}

impl Lie {
    /// Replaces the probabilities in `row`; they sum to 1 again.
    pub(super) fn tell(self, row: &mut [f32], rng: &mut impl Rng) {
        let classes = row.len();
        match self {
            Self::Noise => {
                // 1/u has a heavy tail: the largest of twenty is often as large as all others together.
                row.iter_mut().for_each(|p| *p = 1.0 / (1.0 - rng.random::<f32>()));
                scale(row);
            }
            Self::Constant(class) => name(row, usize::from(class) % classes.max(1)),
            Self::Shifted(shift) => {
                let Some(honest) = argmax(row) else { return };
                let shift = match usize::from(shift) % classes {
                    0 => 1,
                    shift => shift,
                };
                name(row, (honest + shift) % classes);
            }
            Self::Blurred => {
                row.iter_mut().for_each(|p| *p *= 1.0 + BLUR * (2.0 * rng.random::<f32>() - 1.0));
                scale(row);
            }
            Self::Uniform => row.fill(1.0 / classes.max(1) as f32),
        }
    }
}

/// [`CONFIDENT`] for `class`, the rest alike.
fn name(row: &mut [f32], class: usize) {
    let others = row.len().saturating_sub(1).max(1) as f32;
    row.fill((1.0 - CONFIDENT) / others);
    if let Some(named) = row.get_mut(class) {
        *named = CONFIDENT;
    }
}

fn scale(row: &mut [f32]) {
    let sum: f32 = row.iter().sum();
    if sum > 0.0 {
        row.iter_mut().for_each(|p| *p /= sum);
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Twenty classes, class 3 the most probable.
    fn honest() -> Vec<f32> {
        let mut row = vec![0.02; 20];
        row[3] = 0.62;
        row
    }

    fn told(lie: Lie, seed: u64) -> Vec<f32> {
        let mut row = honest();
        lie.tell(&mut row, &mut ChaCha8Rng::seed_from_u64(seed));
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{lie:?} leaves the simplex: {row:?}");
        assert!(row.iter().all(|p| (0.0..=1.0).contains(p)), "{lie:?}: {row:?}");
        row
    }

    #[test]
    fn colluders_agree_on_one_wrong_class_and_are_sure() {
        let (one, other) = (told(Lie::Shifted(1), 1), told(Lie::Shifted(1), 2));
        assert_eq!(one, other, "they do not depend on their random numbers");
        assert_eq!((argmax(&one), one[4]), (Some(4), 0.95));
        // Round the number of classes, and never the truth.
        assert_eq!(argmax(&told(Lie::Shifted(18), 1)), Some(1));
        assert_eq!(argmax(&told(Lie::Shifted(20), 1)), Some(4));
        assert_eq!(argmax(&told(Lie::Shifted(40), 1)), Some(4));
    }

    #[test]
    fn a_constant_liar_ignores_its_model() {
        assert_eq!(argmax(&told(Lie::Constant(0), 1)), Some(0));
        assert_eq!(argmax(&told(Lie::Constant(27), 1)), Some(7));
    }

    #[test]
    fn a_copy_cannot_be_seen_but_is_never_the_same() {
        let worst = (0..500)
            .map(|seed| {
                let copy = told(Lie::Blurred, seed);
                assert_ne!(copy, honest());
                assert_eq!(argmax(&copy), Some(3));
                let off: f32 = copy.iter().zip(honest()).map(|(a, b)| (a - b).powi(2)).sum();
                off.sqrt() / honest().iter().map(|b| b * b).sum::<f32>().sqrt()
            })
            .fold(0.0, f32::max);
        assert!(worst < 1e-3, "relative distance {worst}");
        assert_ne!(told(Lie::Blurred, 1), told(Lie::Blurred, 2));
    }

    #[test]
    fn noise_names_every_class_now_and_then_and_sounds_sure() {
        let rows: Vec<Vec<f32>> = (0..2000).map(|seed| told(Lie::Noise, seed)).collect();
        let mut named = [0; 20];
        rows.iter().filter_map(|row| argmax(row)).for_each(|class| named[class] += 1);
        assert!(named.iter().all(|&n| (50..160).contains(&n)), "{named:?}");
        let top = rows.iter().map(|row| row.iter().copied().fold(0.0, f32::max)).sum::<f32>() / 2000.0;
        assert!(top > 0.3, "{top}");
    }

    #[test]
    fn a_free_rider_says_nothing() {
        assert!(told(Lie::Uniform, 1).iter().all(|p| *p == 0.05));
    }
}
